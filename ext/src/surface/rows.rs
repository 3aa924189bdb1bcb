//! Rows made ready when a scan begins, and the ids of rows that have none of their own.

use super::arguments::kinds_asked;
use crate::domain::database::Database;
use crate::domain::talon::Talon;
use crate::error::Result;
use crate::sqlite::{Constraints, Cursor, Failure, Value};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Rows made ready when the scan begins.
pub struct Rows {
    rows: std::vec::IntoIter<Vec<Value>>,
    current: Option<Vec<Value>>,
    identity: &'static [usize],
}

impl Rows {
    /// A scan over these rows; `identity` are the columns that tell one from another.
    pub fn new(rows: Vec<Vec<Value>>, identity: &'static [usize]) -> Rows {
        let mut rows = rows.into_iter();
        Rows { current: rows.next(), rows, identity }
    }

    /// A scan over what there is of each kind that a query is about; `list` adds the rows of one. The columns of the kind
    /// and of the schema tell what is asked.
    ///
    /// # Errors
    /// As [`kinds_asked`], and what `list` reports.
    pub fn by_kind(
        talon: &Talon,
        constraints: &Constraints<'_>,
        [kind, schema]: [usize; 2],
        identity: &'static [usize],
        list: impl Fn(&mut Database, usize, &mut Vec<Vec<Value>>) -> Result<()>,
    ) -> Result<Rows> {
        let asked = kinds_asked(talon, constraints, kind, schema)?;
        let Some(place) = asked.place else { return Ok(Rows::none()) };
        let mut databases = talon.databases()?;
        let mut rows = Vec::new();
        for kind in asked.kinds {
            list(&mut databases[place], kind, &mut rows)?;
        }
        Ok(Rows::new(rows, identity))
    }

    /// A scan over nothing.
    pub fn none() -> Rows {
        Rows::new(Vec::new(), &[])
    }
}

impl Cursor for Rows {
    fn eof(&self) -> bool {
        self.current.is_none()
    }
    fn next(&mut self) -> std::result::Result<(), Failure> {
        self.current = self.rows.next();
        Ok(())
    }
    fn column(&self, index: usize) -> std::result::Result<Value, Failure> {
        Ok(self.current.as_ref().and_then(|row| row.get(index)).cloned().unwrap_or(Value::Null))
    }
    fn rowid(&self) -> i64 {
        let Some(row) = &self.current else { return 0 };
        let identity: Vec<&Value> = self.identity.iter().filter_map(|at| row.get(*at)).collect();
        row_id(&identity)
    }
}

/// The id of a row that these values tell from all others: the same in every scan, because SQLite answers an OR with
/// several scans and takes rows of one id for one row. An id in `main` stays what it is.
pub fn row_id(identity: &[&Value]) -> i64 {
    if let [Value::Integer(id), Value::Text(schema)] = identity
        && **schema == *b"main"
    {
        return *id;
    }
    let mut hasher = DefaultHasher::new();
    for value in identity {
        std::mem::discriminant(*value).hash(&mut hasher);
        value.hash(&mut hasher);
    }
    hasher.finish() as i64
}
