//! What the host's schema has beside the guarded tables' columns: triggers of its own, and tables that refer to others.

use super::database::Database;
use super::fitted::Reference;
use crate::error::Result;
use crate::sqlite::ValueRef;
use crate::storage::shape::{Found, read_table};

impl Database {
    /// Whether the host has triggers of its own on a kind's tables.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn has_host_triggers(&mut self, place: usize) -> Result<bool> {
        let guard = self.guard(place)?;
        for part in &guard.parts {
            if self.has_triggers_on(&part.table.name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the host has triggers of its own on a table.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn has_triggers_on(&mut self, table: &str) -> Result<bool> {
        let name = [ValueRef::Text(table.as_bytes())];
        let version = self.schema_version;
        let known = self.triggered.get(table).filter(|(at, _)| *at == version);
        let persistent = match known {
            Some((_, known)) => *known,
            None => {
                let asked = self.own_statement(
                    "SELECT 1 FROM {s}.sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = lower(?1)
                       AND name NOT GLOB 'talon_[0-9]*'",
                )?;
                let found = asked.first(&name, |_| Ok(()))?.is_some();
                self.triggered.insert(table.to_owned(), (version, found));
                found
            }
        };
        let temporary = "SELECT 1 FROM sqlite_temp_schema WHERE type = 'trigger' AND lower(tbl_name) = lower(?1)";
        Ok(persistent || self.own_statement(temporary)?.first(&name, |_| Ok(()))?.is_some())
    }

    /// Foreign keys of the schema's tables to the table of a part.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn references_to(&mut self, kind: usize, part: usize) -> Result<Vec<Reference>> {
        if let Some(known) = self.fitted(kind)?.references.get(&part) {
            return Ok(known.clone());
        }
        let guard = self.guard(kind)?;
        let target = &guard.parts[part].table;
        let mut names = Vec::new();
        {
            let tables = self.own_statement(
                "SELECT name FROM {s}.sqlite_schema WHERE type = 'table' AND name NOT GLOB 'talon_*'",
            )?;
            let mut rows = tables.query(&[])?;
            while rows.next()? {
                names.push(rows.column(0).as_str().unwrap_or_default().to_owned());
            }
        }
        let mut found = Vec::new();
        for name in names {
            let Found::Table(table) = read_table(self.connection, &self.schema, &name)? else {
                continue;
            };
            for foreign_key in table.foreign_keys {
                if foreign_key.parent.eq_ignore_ascii_case(&target.name) {
                    let to = if foreign_key.to.is_empty() { target.key() } else { foreign_key.to };
                    let to: Vec<String> = to
                        .iter()
                        .filter_map(|name| target.column(name).map(|column| column.name.clone()))
                        .collect();
                    let acts_on_delete = foreign_key.acts_on_delete;
                    let from = foreign_key.from;
                    found.push(Reference { table: name.clone(), from, to, acts_on_delete });
                }
            }
        }
        self.fitted(kind)?.references.insert(part, found.clone());
        Ok(found)
    }
}
