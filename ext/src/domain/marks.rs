//! The tables that marks are left in: `talon_mark` for those of one or two values, `talon_touched` for others, and for all of
//! a header whose key has several columns.

use super::database::Database;
use crate::error::Result;
use crate::sqlite::{Statement, Value, ValueRef};
use crate::storage::guard::HEADER;
use crate::storage::key::Key;
use crate::storage::shape::quote_identifier;
use crate::storage::trigger::{Code, Event, NARROW};

/// The values of a mark: its code and some keys.
fn values<'k>(code: i64, keys: &'k [&Key], width: usize) -> Vec<ValueRef<'k>> {
    let keys = keys.iter().flat_map(|key| key.values()).map(Value::as_ref);
    let mut values: Vec<ValueRef<'_>> =
        std::iter::once(ValueRef::Integer(code)).chain(keys).collect();
    values.resize(width, ValueRef::Null);
    values
}

/// The values of a mark among those that have been brought together.
pub(super) fn gathered_values<'k>(code: i64, keys: &'k [&Key]) -> Vec<ValueRef<'k>> {
    values(code, keys, 9)
}

impl Database {
    /// Leaves a mark, as a trigger does.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn leave_mark(&mut self, kind: i64, event: Event, keys: &[&Key]) -> Result<()> {
        let code = Code { kind, part: HEADER, event }.number();
        // All marks of a kind's headers lie in one table, so that their order is known.
        let is_narrow =
            self.has_narrow_marks() && keys.iter().all(|key| 2 * key.values().len() <= NARROW);
        if !is_narrow {
            return Ok(self.gathered_mark()?.run(&gathered_values(code, keys))?);
        }
        let values = values(code, keys, 1 + NARROW);
        let insert = "INSERT INTO {s}.talon_mark VALUES (?1, ?2, ?3)";
        let sql = insert.replace("{s}", &quote_identifier(&self.schema));
        Ok(self.connection.run(&sql, &values)?)
    }

    /// What leaves a mark of a header among those that have been brought together: it is given [`gathered_values`].
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn gathered_mark(&self) -> Result<Statement> {
        Ok(self.connection.prepare(&format!(
            "INSERT INTO {}.talon_touched VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            quote_identifier(&self.schema)
        ))?)
    }

    /// Whether connections without Talon have left marks.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn has_marks(&mut self) -> Result<bool> {
        let statement = self.own_statement(if self.has_narrow_marks() {
            "SELECT 1 FROM {s}.talon_mark UNION ALL SELECT 1 FROM {s}.talon_touched LIMIT 1"
        } else {
            "SELECT 1 FROM {s}.talon_touched LIMIT 1"
        })?;
        Ok(statement.first(&[], |_| Ok(()))?.is_some())
    }

    /// How many marks speak of a kind.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn count_marks(&mut self, kind: i64) -> Result<i64> {
        let statement = self.own_statement(if self.has_narrow_marks() {
            "SELECT (SELECT count(*) FROM {s}.talon_mark WHERE code >> 12 = ?1)
                  + (SELECT count(*) FROM {s}.talon_touched WHERE code >> 12 = ?1)"
        } else {
            "SELECT count(*) FROM {s}.talon_touched WHERE code >> 12 = ?1"
        })?;
        let count =
            statement.first(&[ValueRef::Integer(kind)], |row| Ok(row.column(0).as_integer()))?;
        Ok(count.flatten().unwrap_or(0))
    }

    /// Brings all marks together in `talon_touched`, those of a kind in the order they were left.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn gather_marks(&mut self) -> Result<()> {
        if self.has_narrow_marks() {
            let gather = "INSERT INTO {s}.talon_touched(code, k1, k2)
                 SELECT code, key, other FROM {s}.talon_mark WHERE code IS NOT NULL ORDER BY rowid";
            let remove = "DELETE FROM {s}.talon_mark";
            self.own_statement(remove)?;
            self.together(|database| {
                database.own_statement(gather)?.run(&[])?;
                Ok(database.own_statement(remove)?.run(&[])?)
            })?;
        }
        Ok(())
    }

    fn has_narrow_marks(&self) -> bool {
        self.format > 1
    }
}
