//! A scan that goes from row to row of Talon's own tables.

use super::rows::row_id;
use crate::domain::talon::Talon;
use crate::sqlite::{Cursor, Failure, Statement, Value, ValueRef};
use std::rc::Rc;

/// What the columns of such a table are, beside those that stand there as they are read.
pub struct Layout {
    /// The hidden column with the schema, the last one.
    pub schema: usize,
    /// Moments, shown in the time of the reading station.
    pub moments: &'static [usize],
    /// Integers that tell one row from another.
    pub identity: &'static [usize],
}

/// The scan.
pub struct Scan {
    talon: Rc<Talon>,
    statement: Option<Statement>,
    schema: Value,
    layout: &'static Layout,
}

impl Scan {
    /// A scan over nothing.
    pub fn none(talon: &Rc<Talon>, schema: &str, layout: &'static Layout) -> Scan {
        Scan { talon: Rc::clone(talon), statement: None, schema: Value::text(schema), layout }
    }

    /// A scan over the rows of a query.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn begin(
        talon: &Rc<Talon>,
        schema: &str,
        layout: &'static Layout,
        sql: &str,
        values: &[ValueRef<'_>],
    ) -> Result<Scan, Failure> {
        let mut scan = Scan::none(talon, schema, layout);
        let statement = scan.statement.insert(talon.connection.prepare(sql)?);
        statement.start(values)?;
        scan.next()?;
        Ok(scan)
    }
}

impl Cursor for Scan {
    fn eof(&self) -> bool {
        self.statement.is_none()
    }
    fn next(&mut self) -> Result<(), Failure> {
        if let Some(statement) = &mut self.statement
            && !statement.step()?
        {
            self.statement = None;
        }
        Ok(())
    }
    fn column(&self, index: usize) -> Result<Value, Failure> {
        let Some(statement) = &self.statement else {
            return Ok(Value::Null);
        };
        if index == self.layout.schema {
            return Ok(self.schema.clone());
        }
        match statement.column(index) {
            ValueRef::Integer(at) if self.layout.moments.contains(&index) => {
                Ok(Value::text(&self.talon.clock.shown(at)))
            }
            other => other.to_value(),
        }
    }
    fn rowid(&self) -> i64 {
        let Some(statement) = &self.statement else { return 0 };
        let numbers: Vec<Value> = self
            .layout
            .identity
            .iter()
            .map(|at| Value::Integer(statement.column(*at).as_integer().unwrap_or(0)))
            .collect();
        let identity: Vec<&Value> = numbers.iter().chain([&self.schema]).collect();
        row_id(&identity)
    }
}
