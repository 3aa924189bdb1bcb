//! A derived value fitted to the schema, or what does not fit and what would.

use super::expression::names_of;
use super::fit::host_table;
use super::rule::{AfterRestore, Correct, DerivedDefinition};
use super::rule_fitting::RuleFitting;
use super::shape::{HostTable, quote_equal, quote_identifier, quote_list};
use crate::error::{Error, Result};
use crate::sqlite::Connection;
use std::collections::BTreeMap;

/// A derived value, with the statements that look at it.
#[derive(Debug)]
pub struct Derived {
    /// Its name.
    pub name: String,
    /// The table that holds it.
    pub table: HostTable,
    /// The column.
    pub column: String,
    /// The columns that identify a row.
    pub key: Vec<String>,
    /// When it is corrected: no restore corrects what is not looked at after one.
    pub correct: Correct,
    /// Kinds and the SELECT of the keys to look at after a restore.
    pub after_restore: BTreeMap<String, String>,
    /// Stored and computed value of the row whose key is bound, where they differ.
    pub compare: String,
    /// Key, stored and computed value of every row where they differ.
    pub gaps: String,
    /// Writes the first parameter to the row whose key the others are.
    pub update: String,
}

/// Fits a definition to the schema.
///
/// # Errors
/// [`Error::Definition`] naming what does not fit and what would.
pub fn fit_derived(
    connection: Connection,
    schema: &str,
    name: &str,
    definition: &DerivedDefinition,
) -> Result<Derived> {
    let fitting = RuleFitting { connection, schema, name };
    let table = fitting.table(&definition.table)?;
    let key = fitting.key(&table, definition)?;
    let column = fitting.column(&table, &definition.column, &key)?;
    fitting.value(&table, &definition.value)?;
    let mut after_restore = BTreeMap::new();
    if let Some(AfterRestore::Kinds(kinds)) = &definition.after_restore {
        for (kind, select) in kinds {
            let composed = fitting.select(
                select,
                &format!("after_restore of {kind}"),
                Some((&key, &table.name)),
            )?;
            after_restore.insert(kind.clone(), composed);
        }
    }
    let names = names_of(connection, schema, &[&definition.value])?;
    let value = format!("({}\n)", definition.value);
    let stored = format!("t.{}", quote_identifier(&column));
    let quoted = format!("{}.{}", quote_identifier(schema), quote_identifier(&table.name));
    Ok(Derived {
        compare: format!(
            "{names}SELECT {stored}, {value} FROM {quoted} AS t WHERE {} AND {stored} IS NOT {value}",
            quote_equal("t.", &key, 1)
        ),
        gaps: format!(
            "{names}SELECT {}, {stored}, {value} FROM {quoted} AS t WHERE {stored} IS NOT {value}",
            quote_list("t.", &key)
        ),
        // OR ABORT overrides a conflict clause of the schema.
        update: format!(
            "UPDATE OR ABORT {quoted} AS t SET {} = ?1 WHERE {}",
            quote_identifier(&column),
            quote_equal("t.", &key, 2)
        ),
        name: name.to_owned(),
        table,
        column,
        key,
        correct: if after_restore.is_empty() { Correct::Repair } else { definition.correct },
        after_restore,
    })
}

impl RuleFitting<'_> {
    fn table(&self, name: &str) -> Result<HostTable> {
        let otherwise = "only a table holds a value that can be corrected";
        host_table(self.connection, self.schema, name, otherwise)?
            .map_err(|problem| self.problem(problem))
    }

    fn key(&self, table: &HostTable, definition: &DerivedDefinition) -> Result<Vec<String>> {
        let key = match &definition.key {
            None => table.key(),
            Some(given) => {
                let mut key: Vec<String> = Vec::new();
                for name in given.names() {
                    let column = table.column(name).ok_or_else(|| self.no_column(table, name))?;
                    if key.contains(&column.name) {
                        return Err(self.problem(format!("key: {name:?} is named twice")));
                    }
                    key.push(column.name.clone());
                }
                key
            }
        };
        match table.why_no_key(&key, "key", "\"key\"") {
            Some(problem) => Err(self.problem(problem)),
            None => Ok(key),
        }
    }

    fn no_column(&self, table: &HostTable, name: &str) -> Error {
        self.problem(format!(
            "{:?} has no column {name:?}; it has: {}",
            table.name,
            table.column_names()
        ))
    }

    fn column(&self, table: &HostTable, name: &str, key: &[String]) -> Result<String> {
        let column = table.column(name).ok_or_else(|| self.no_column(table, name))?;
        if column.generated {
            return Err(self.problem(format!(
                "{:?}.{name:?} is a generated column: SQLite keeps it right by itself",
                table.name
            )));
        }
        if key.contains(&column.name) || column.key_place > 0 {
            return Err(self.problem(format!(
                "{:?}.{name:?} identifies its row: it cannot be derived",
                table.name
            )));
        }
        Ok(column.name.clone())
    }

    /// Compiles the value alone, so that an error names it.
    fn value(&self, table: &HostTable, value: &str) -> Result<()> {
        self.screen(value, "value", "expression")?;
        let sql = format!(
            // In a WHERE, because what counts or ranks rows belongs nowhere here.
            "{}SELECT 1 FROM {}.{} AS t WHERE ({value}\n)",
            names_of(self.connection, self.schema, &[value])?,
            quote_identifier(self.schema),
            quote_identifier(&table.name),
        );
        let statement = self
            .connection
            .prepare(&sql)
            .map_err(|failure| self.refused("value", value, failure))?;
        match statement.parameters().first() {
            Some(name) => Err(self.problem(format!(
                "value: it is about the row t and has no parameter, not {} either",
                if name.is_empty() { "?" } else { name }
            ))),
            None => Ok(()),
        }
    }
}
