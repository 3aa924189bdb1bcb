//! Numbers that nobody has: for rows whose own one is taken here.

use crate::domain::database::Database;
use crate::domain::fitted::Purpose;
use crate::error::Result;
use crate::sqlite::{Value, ValueRef};
use crate::storage::guard::HEADER;
use crate::storage::shape::quote_identifier;

impl Database {
    /// Whether a row of a part's table has this number.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn has_number(&mut self, kind: usize, part: usize, number: i64) -> Result<bool> {
        let guard = self.guard(kind)?;
        let [column] = guard.parts[part].key.as_slice() else { return Ok(false) };
        let asked = self.part_statement(kind, part, Purpose::Find, |guard, schema| {
            let from = guard.parts[part].from_clause(schema);
            format!("SELECT 1 FROM {from} WHERE {} = ?1", quote_identifier(column))
        })?;
        Ok(asked.first(&[ValueRef::Integer(number)], |_| Ok(()))?.is_some())
    }

    /// The next number behind all that are, or were: what SQLite keeps for AUTOINCREMENT counts, and so do pieces that
    /// are gone, and all up to `taken`.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn free_number(
        &mut self,
        kind: usize,
        part: usize,
        taken: i64,
    ) -> Result<std::result::Result<i64, String>> {
        let guard = self.guard(kind)?;
        let own = &guard.parts[part];
        let [column] = own.key.as_slice() else {
            return Ok(Err(format!("{} has no key of one column", own.table.name)));
        };
        let sql = format!(
            "SELECT max({}) FROM {}",
            quote_identifier(column),
            own.from_clause(&self.schema)
        );
        let mut highest = [0; 4];
        let integer = |row: &crate::sqlite::Rows<'_>| Ok(row.column(0).as_integer());
        highest[0] = self.statement(kind, &sql)?.first(&[], integer)?.flatten().unwrap_or(0);
        highest[1] = self.sequence_of(&own.table.name)?;
        if part == HEADER {
            for other in self.guarded_kinds() {
                let is_same = self.guard(other).is_ok_and(|guard| {
                    guard.header().table.name.eq_ignore_ascii_case(&own.table.name)
                });
                if is_same {
                    let id = ValueRef::Integer(self.kinds[other].id);
                    // Each half of the key has its own end.
                    for saved in [0, 1] {
                        let known = self.own_statement(
                            "SELECT max(key) FROM {s}.talon_piece
                             WHERE kind = ?1 AND saved = ?2 AND key <= 9223372036854775807",
                        )?;
                        let found = known.first(&[id, ValueRef::Integer(saved)], integer)?;
                        highest[2] = highest[2].max(found.flatten().unwrap_or(0));
                    }
                }
            }
        } else {
            let id = ValueRef::Integer(self.kinds[kind].id);
            let known = self.own_statement(
                "SELECT max(key) FROM {s}.talon_alias WHERE kind = ?1 AND part = ?2",
            )?;
            let name = ValueRef::Text(own.name.as_bytes());
            highest[2] = known.first(&[id, name], integer)?.flatten().unwrap_or(0);
        }
        highest[3] = taken;
        let highest = highest.into_iter().max().unwrap_or(0);
        Ok(highest.checked_add(1).ok_or_else(|| {
            format!("{} has no free number: its highest is {highest} already", own.table.name)
        }))
    }

    fn sequence_of(&mut self, table: &str) -> Result<i64> {
        let schema = quote_identifier(&self.schema);
        let there = format!("SELECT 1 FROM {schema}.sqlite_schema WHERE name = 'sqlite_sequence'");
        if self.connection.value(&there, &[])?.is_none() {
            return Ok(0);
        }
        let sql = format!("SELECT seq FROM {schema}.sqlite_sequence WHERE lower(name) = lower(?1)");
        match self.connection.value(&sql, &[ValueRef::Text(table.as_bytes())])? {
            Some(Value::Integer(highest)) => Ok(highest),
            _ => Ok(0),
        }
    }
}
