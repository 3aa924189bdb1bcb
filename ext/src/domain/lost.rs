//! Pieces that have lost their lines.

use super::database::Database;
use super::talon::Talon;
use crate::error::Result;
use crate::sqlite::{Room, Statement, Value, ValueRef};
use crate::storage::guard::{Guard, LINES};
use crate::storage::key::Key;
use crate::storage::shape::quote_identifier;
use std::rc::Rc;

/// A piece whose header is there, whose lines are not, and that once had some.
#[derive(Debug, Clone)]
pub struct Lost {
    /// Its key.
    pub key: Key,
    /// The commit since which it has no lines, in ms since 1970; None when nobody saw it.
    pub lost_at: Option<i64>,
    /// Its newest snapshot.
    pub last: Option<i64>,
    /// Lines in that.
    pub lines: i64,
}

/// Finds lost pieces of one kind, one by one.
pub struct LostSearch {
    scan: Statement,
    columns: usize,
    /// For composite keys: does it have lines, is its header there.
    probes: Option<(Statement, Statement)>,
}

impl LostSearch {
    /// Prepares the search over the saved pieces of a kind, or over one of them; None for records, which have no lines to
    /// lose.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn begin(
        database: &mut Database,
        kind: usize,
        piece: Option<&Key>,
    ) -> Result<Option<LostSearch>> {
        let guard = database.guard(kind)?;
        let schema = database.schema.clone();
        let Some(lines) = guard.lines() else { return Ok(None) };
        let header = guard.header();
        let columns = header.key.len();
        let has_lines = |values: &[String]| {
            format!(
                "SELECT 1 FROM {} WHERE {}{}",
                lines.from_clause(&schema),
                guard.linked(LINES, values, &schema),
                lines.and_condition()
            )
        };
        let has_header = |values: &[String]| {
            format!(
                "SELECT 1 FROM {} WHERE {}{}",
                header.from_clause(&schema),
                guard.header_matches(values),
                header.and_condition()
            )
        };
        let mut sql = format!(
            "SELECT p.key, p.lost_at, p.last, p.lines FROM {}.talon_piece AS p
             WHERE p.kind = ?1 AND p.saved = 1 AND p.lines > 0 AND p.dismissed_at IS NULL AND p.gone_at IS NULL",
            quote_identifier(&schema)
        );
        if piece.is_some() {
            sql.push_str(" AND p.key = ?2");
        }
        let mut probes = None;
        if columns == 1 {
            let key = ["p.key".to_owned()];
            sql.push_str(&format!(
                " AND NOT EXISTS ({}) AND EXISTS ({})",
                has_lines(&key),
                has_header(&key)
            ));
        } else {
            let bound = crate::storage::guard::parameters(columns);
            probes = Some((
                database.connection.prepare(&has_lines(&bound))?,
                database.connection.prepare(&has_header(&bound))?,
            ));
        }
        let mut scan = database.connection.prepare(&sql)?;
        let shown = piece.map(Key::shown).transpose()?;
        let mut values = vec![ValueRef::Integer(database.kinds[kind].id)];
        values.extend(shown.as_ref().map(Value::as_ref));
        scan.start(&values)?;
        Ok(Some(LostSearch { scan, columns, probes }))
    }

    /// The next lost piece.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn find_next(&mut self) -> Result<Option<Lost>> {
        while self.scan.step()? {
            let Some(key) = Key::from_shown(self.scan.column(0), self.columns)? else {
                continue;
            };
            if let Some((lines, header)) = &mut self.probes {
                let values: Vec<ValueRef<'_>> = key.values().iter().map(Value::as_ref).collect();
                if lines.first(&values, |_| Ok(()))?.is_some()
                    || header.first(&values, |_| Ok(()))?.is_none()
                {
                    continue;
                }
            }
            return Ok(Some(Lost {
                lost_at: self.scan.column(1).as_integer(),
                last: self.scan.column(2).as_integer(),
                lines: self.scan.column(3).as_integer().unwrap_or(0),
                key,
            }));
        }
        Ok(None)
    }
}

impl Talon {
    /// All lost pieces of a kind.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn lost(
        &self,
        database: &mut Database,
        kind: usize,
        piece: Option<&Key>,
    ) -> Result<Vec<Lost>> {
        let mut found = Vec::new();
        let Some(mut search) = LostSearch::begin(database, kind, piece)? else {
            return Ok(found);
        };
        while let Some(lost) = search.find_next()? {
            found.try_push(lost)?;
        }
        Ok(found)
    }
}

impl Database {
    /// Pieces of a kind whose header is gone, where no DELETE was seen, and whose newest snapshot is no younger than
    /// `newest_id`. Deposits that wait for theirs are none.
    ///
    /// # Errors
    /// What SQLite reports, or [`crate::error::Error::Memory`].
    pub fn vanished(&mut self, kind: usize, newest_id: i64) -> Result<Vec<Key>> {
        let guard = self.guard(kind)?;
        let header = guard.header();
        let columns = header.key.len();
        let mut sql = format!(
            "SELECT p.key FROM {}.talon_piece AS p
             WHERE p.kind = ?1 AND p.saved = 1 AND p.last <= ?2 AND p.version >= 0
               AND p.dismissed_at IS NULL AND p.gone_at IS NULL",
            quote_identifier(&self.schema)
        );
        if columns == 1 {
            sql.push_str(&format!(
                " AND NOT EXISTS (SELECT 1 FROM {} WHERE {})",
                header.from_clause(&self.schema),
                guard.header_matches(&["p.key".to_owned()])
            ));
        }
        let mut scan = self.connection.prepare(&sql)?;
        let values = [ValueRef::Integer(self.kinds[kind].id), ValueRef::Integer(newest_id)];
        let mut rows = scan.query(&values)?;
        let mut found = Vec::new();
        while rows.next()? {
            let Some(key) = Key::from_shown(rows.column(0), columns)? else { continue };
            if columns == 1 || self.own_key(kind, &key)?.is_none() {
                found.make_room(1)?;
                found.push(key);
            }
        }
        Ok(found)
    }
}

/// What a person knows a piece by: number, date, party, type, validated.
///
/// # Errors
/// What SQLite reports.
pub fn labels(database: &Database, guard: &Rc<Guard>, key: &Key) -> Result<Vec<Value>> {
    let header = guard.header();
    let expressions: Vec<String> = guard
        .labels
        .iter()
        .map(|label| label.as_ref().map_or("NULL".to_owned(), |label| format!("({label}\n)")))
        .collect();
    let sql = format!(
        "SELECT {} FROM {} WHERE {}",
        expressions.join(", "),
        header.from_clause(&database.schema),
        guard.header_is()
    );
    let values: Vec<ValueRef<'_>> = key.values().iter().map(Value::as_ref).collect();
    let found = database
        .connection
        .prepare(&sql)?
        .first(&values, |row| row.values(0..expressions.len()))?;
    Ok(found.unwrap_or_else(|| vec![Value::Null; expressions.len()]))
}
