//! The rows of a restore: found, written, taken back, named.

use super::rebuild::{Undo, Work};
use super::snapshot::Stored;
use crate::error::Result;
use crate::sqlite::{Failure, Value, ValueRef, code, gather};
use crate::storage::guard::{Part, parameters};
use crate::storage::key::Key;
use crate::storage::shape::{quote_assign, quote_equal, quote_identifier, quote_list};
use std::rc::Rc;

impl Work<'_> {
    /// The row with this key, whoever it belongs to: all stored columns.
    pub(super) fn find(&mut self, place: usize, key: &[Value]) -> Result<Option<Vec<Value>>> {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        let sql = format!(
            "SELECT {} FROM {} WHERE {}",
            part.select_list(),
            part.from_clause(&self.database.schema),
            key_is(part, 1)
        );
        let key: Vec<ValueRef<'_>> = key.iter().map(Value::as_ref).collect();
        Ok(self
            .database
            .statement(self.kind, &sql)?
            .first(&key, |row| row.values(0..part.columns.len()))?)
    }

    /// The statement that inserts these columns of a part's rows, the same for all of them.
    pub(super) fn insert_text(&self, place: usize, columns: &[String]) -> String {
        let part = &self.guard.parts[place];
        // OR ABORT overrides a conflict clause of the schema, which might take another piece's row away.
        format!(
            "INSERT OR ABORT INTO {}.{}({}) VALUES ({})",
            quote_identifier(&self.database.schema),
            quote_identifier(&part.table.name),
            quote_list("", columns),
            parameters(columns.len()).join(", ")
        )
    }

    pub(super) fn update(
        &mut self,
        place: usize,
        columns: &[String],
        values: &[Value],
        key: &[Value],
    ) -> Result<std::result::Result<(), Failure>> {
        let part = &self.guard.parts[place];
        let sql = format!(
            "UPDATE OR ABORT {} SET {} WHERE {}",
            part.from_clause(&self.database.schema),
            quote_assign(columns),
            key_is(part, columns.len() + 1)
        );
        let values = gather(values.iter().chain(key).cloned())?;
        self.try_run(&sql, &values)
    }

    pub(super) fn delete(
        &mut self,
        place: usize,
        key: &[Value],
    ) -> Result<std::result::Result<(), Failure>> {
        let part = &self.guard.parts[place];
        let sql = format!(
            "DELETE FROM {} WHERE {}",
            part.from_clause(&self.database.schema),
            key_is(part, 1)
        );
        self.try_run(&sql, key)
    }

    /// Runs a change; a violated constraint comes back as what it is, anything else is an error.
    pub(super) fn try_run(
        &mut self,
        sql: &str,
        values: &[Value],
    ) -> Result<std::result::Result<(), Failure>> {
        let values: Vec<ValueRef<'_>> = values.iter().map(Value::as_ref).collect();
        refused(self.database.statement(self.kind, sql)?.run(&values))
    }

    /// Undoes every step, the last one first.
    pub(super) fn take_back(&mut self) -> Result<()> {
        let guard = Rc::clone(&self.guard);
        while let Some(undo) = self.undo.pop() {
            let done = match undo {
                Undo::Delete { part, key } => self.delete(part, &key)?,
                Undo::Update { part, key, values } => {
                    self.update(part, &guard.parts[part].columns, &values, &key)?
                }
                Undo::Insert { part, values } => {
                    let insert = self.insert_text(part, &guard.parts[part].columns);
                    self.try_run(&insert, &values)?
                }
            };
            done?;
        }
        Ok(())
    }

    /// Finds the reference that nothing answers to, to name it.
    pub(super) fn broken_reference(&mut self, stored: &Stored) -> Result<Option<BrokenReference>> {
        let guard = Rc::clone(&self.guard);
        let schema = quote_identifier(&self.database.schema);
        for part in &guard.parts {
            let Some(stored_part) = stored.part(&part.name) else {
                continue;
            };
            for foreign_key in &part.table.foreign_keys {
                let to = if foreign_key.to.is_empty() {
                    match crate::storage::shape::read_table(
                        self.database.connection,
                        &self.database.schema,
                        &foreign_key.parent,
                    )? {
                        crate::storage::shape::Found::Table(table) => table.key(),
                        _ => continue,
                    }
                } else {
                    foreign_key.to.clone()
                };
                let sql = format!(
                    "SELECT 1 FROM {schema}.{} WHERE {}",
                    quote_identifier(&foreign_key.parent),
                    quote_equal("", &to, 1)
                );
                let at: Vec<usize> = foreign_key
                    .from
                    .iter()
                    .filter_map(|name| stored_part.columns.iter().position(|column| column == name))
                    .collect();
                for row in &stored_part.rows {
                    let values: Vec<ValueRef<'_>> = at.iter().map(|at| row[*at].as_ref()).collect();
                    if values.len() != to.len() || values.iter().any(|value| value.is_null()) {
                        continue;
                    }
                    if self.database.connection.value(&sql, &values)?.is_none() {
                        return Ok(Some(BrokenReference {
                            table: part.table.name.clone(),
                            columns: foreign_key.from.join(", "),
                            values: gather(at.iter().map(|at| row[*at].clone()))?,
                            parent: foreign_key.parent.clone(),
                        }));
                    }
                }
            }
        }
        Ok(None)
    }

    pub(super) fn row_name(&self, place: usize, key: &[Value]) -> String {
        let part = &self.guard.parts[place];
        format!("{} {}", part.table.name, Key::of(key.to_vec()))
    }
}

/// A foreign key of a piece's rows that nothing answers to.
pub(in crate::domain) struct BrokenReference {
    /// The table that refers,
    pub(in crate::domain) table: String,
    /// by these columns,
    pub(in crate::domain) columns: String,
    /// with these values,
    pub(in crate::domain) values: Vec<Value>,
    /// to this table.
    pub(in crate::domain) parent: String,
}

/// `key = ?first AND …`, as an alias of the part.
pub(super) fn key_is(part: &Part, first: usize) -> String {
    quote_equal(&format!("{}.", part.alias), &part.key, first)
}

/// A violated constraint, or a value that a column does not take, comes back as what it is; anything else is an error.
pub(super) fn refused(
    result: std::result::Result<(), Failure>,
) -> Result<std::result::Result<(), Failure>> {
    match result {
        Ok(()) => Ok(Ok(())),
        Err(failure)
            if matches!(
                failure.primary(),
                code::CONSTRAINT | code::MISMATCH | code::TOOBIG | code::ERROR
            ) =>
        {
            Ok(Err(failure))
        }
        Err(failure) => Err(failure.into()),
    }
}
