//! References that keep a document from being applied, by name: who refers to a piece that is to go, and what one refers to
//! that is not here.

use super::arrival::Arrivals;
use super::incoming::Fitting;
use super::localize::{LocalRows, document_name};
use super::taking_over::Taken;
use crate::domain::database::Database;
use crate::domain::fitted::Reference;
use crate::domain::rebuild_rows::BrokenReference;
use crate::error::Result;
use crate::sqlite::{Value, ValueRef, gather};
use crate::storage::guard::{HEADER, Part};
use crate::storage::key::Key;
use crate::storage::payload_reader::PartRows;
use crate::storage::shape::{Found, quote_equal, quote_identifier, quote_list, read_table};

/// Rows of a piece that go, all columns, by the places of their parts in the guard: what others may refer to.
pub type Gone = Vec<(usize, PartRows)>;

impl Database {
    /// Reads the rows of a piece, before they go.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn rows_of(&mut self, kind: usize, key: &Key) -> Result<Gone> {
        let guard = self.guard(kind)?;
        let mut parts = Vec::new();
        for place in 0..guard.parts.len() {
            parts.push((place, self.part_rows(kind, &guard, place, key)?));
        }
        Ok(parts)
    }

    /// Who refers to one of these rows, now that they have gone, and by what: `sale 1`, `sale.customer_id`.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn who_refers(
        &mut self,
        kind: usize,
        gone: &Gone,
    ) -> Result<Option<(String, String)>> {
        let guard = self.guard(kind)?;
        for (place, rows) in gone {
            let part = &guard.parts[*place];
            for reference in self.references_to(kind, *place)? {
                let to: Option<Vec<usize>> =
                    reference.to.iter().map(|to| place_of(part, to)).collect();
                let Some(to) = to.filter(|to| to.len() == reference.from.len()) else { continue };
                for row in rows {
                    let values: Vec<ValueRef<'_>> = to.iter().map(|at| row[*at].as_ref()).collect();
                    if let Some(name) = self.referrer(&reference, &values)? {
                        let columns = reference.from.join(", ");
                        return Ok(Some((name, format!("{}.{columns}", reference.table))));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The name of a row that refers to these values: its piece's where it belongs to one.
    fn referrer(
        &mut self,
        reference: &Reference,
        values: &[ValueRef<'_>],
    ) -> Result<Option<String>> {
        let Found::Table(table) = read_table(self.connection, &self.schema, &reference.table)?
        else {
            return Ok(None);
        };
        let key = table.key();
        let sql = format!(
            "SELECT {} FROM {}.{} WHERE {} LIMIT 1",
            if key.is_empty() { "NULL".to_owned() } else { quote_list("", &key) },
            quote_identifier(&self.schema),
            quote_identifier(&table.name),
            quote_equal("", &reference.from, 1)
        );
        let mut asked = self.connection.prepare(&sql)?;
        let found = asked.first(values, |row| row.values(0..key.len().max(1)))?;
        let Some(found) = found else { return Ok(None) };
        for kind in self.guarded_kinds() {
            let Ok(guard) = self.guard(kind) else { continue };
            let is_it = |part: &Part| part.table.name.eq_ignore_ascii_case(&table.name);
            let Some(place) = guard.parts.iter().position(is_it) else { continue };
            let piece = match (place, found.as_slice()) {
                (HEADER, _) if guard.header().key == key => {
                    Some(Key::of(gather(found.iter().cloned())?).shown()?)
                }
                (place, [Value::Integer(number)]) if place != HEADER => {
                    self.piece_of_row(kind, place, *number)?
                }
                _ => None,
            };
            if let Some(piece) = piece {
                return Ok(Some(format!("{} {piece}", guard.kind)));
            }
        }
        Ok(Some(format!("{} {}", table.name, Key::of(found))))
    }
}

impl Arrivals {
    /// Says which reference of a document's rows nothing here answers to, or who refers to one that it has no more:
    /// `sale 42 of BSOC refers to customer 7 of CSOC by sale.customer_id, which is not here`.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn broken_reference(
        &mut self,
        database: &mut Database,
        fitting: &Fitting,
        key: &Value,
        rows: &LocalRows,
        taken: &Taken<'_>,
    ) -> Result<String> {
        let code = self.identities.code(taken.origin);
        let name = document_name(&fitting.layout.guard.kind, taken.origin_key, &code);
        let Some(broken) = database.broken_reference_in(fitting, key, rows)? else {
            return Ok(match database.who_refers(fitting.kind, &rows.gone)? {
                Some((who, by)) => format!("{who} refers by {by} to a row that {name} has no more"),
                None => format!("{name}: a foreign key would be violated"),
            });
        };
        let BrokenReference { table, columns, values, parent } = broken;
        let shown: Vec<String> = values.iter().map(Value::to_string).collect();
        let mut what = format!("{parent} {}", shown.join(", "));
        let mut why = "";
        if let [Value::Integer(number)] = values.as_slice() {
            for kind in database.guarded_kinds() {
                let Ok(guard) = database.guard(kind) else { continue };
                if !guard.header().table.name.eq_ignore_ascii_case(&parent) {
                    continue;
                }
                let number = *number;
                if let Some(known) = self.identities.identity(database, (kind, HEADER, number))? {
                    let origin = self.identities.code(known.origin);
                    what = document_name(&guard.kind, &Value::Integer(known.key), &origin);
                    why = ": it was deleted";
                }
            }
        }
        Ok(format!("{name} refers to {what} by {table}.{columns}, which is not here{why}"))
    }
}

fn place_of(part: &Part, column: &str) -> Option<usize> {
    part.columns.iter().position(|name| name == column)
}
