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
use crate::storage::shape::{Found, quote_equal, quote_identifier, quote_list, read_table};

/// The rows of a piece, all columns of its parts: what others may refer to.
pub(super) struct Rows(Vec<Vec<Vec<Value>>>);

impl Database {
    /// Reads the rows of a piece, before they go.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn rows_of(&mut self, kind: usize, key: &Key) -> Result<Rows> {
        let guard = self.guard(kind)?;
        let mut parts = Vec::new();
        for place in 0..guard.parts.len() {
            parts.push(self.part_rows(kind, &guard, place, key)?);
        }
        Ok(Rows(parts))
    }

    /// Says which row refers to one of these, now that they have gone: `sale 1 refers to it by sale.customer_id`.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn who_refers(&mut self, kind: usize, rows: &Rows) -> Result<String> {
        let guard = self.guard(kind)?;
        for (place, rows) in rows.0.iter().enumerate() {
            let part = &guard.parts[place];
            for reference in self.references_to(kind, place)? {
                let to: Option<Vec<usize>> =
                    reference.to.iter().map(|to| place_of(part, to)).collect();
                let Some(to) = to.filter(|to| to.len() == reference.from.len()) else { continue };
                for row in rows {
                    let values: Vec<ValueRef<'_>> = to.iter().map(|at| row[*at].as_ref()).collect();
                    if let Some(name) = self.referrer(&reference, &values)? {
                        let columns = reference.from.join(", ");
                        return Ok(format!("{name} refers to it by {}.{columns}", reference.table));
                    }
                }
            }
        }
        Ok("a foreign key refers to it".to_owned())
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
    /// Says which reference of a document's rows nothing here answers to:
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
            return Ok(format!("{name}: a foreign key would be violated"));
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
