//! Documents into tables: new pieces are inserted, others are brought from what they are to what they should be, row by row.
//! All of it happens in what the caller undoes where it fails, with triggers off and foreign keys waiting.

use super::incoming::{Fitting, FittingPart};
use super::localize::{Attempt, LocalRows};
use crate::domain::database::Database;
use crate::domain::fitted::Purpose;
use crate::domain::keyed_rows::KeyedRows;
use crate::domain::rebuild::Work;
use crate::domain::rebuild_rows::{BrokenReference, key_is, refused};
use crate::domain::snapshot::{Stored, StoredPart};
use crate::error::Result;
use crate::sqlite::{Failure, Room, Value, ValueRef, gather, gather_set, try_gather};
use crate::storage::guard::{Guard, HEADER, Part};
use crate::storage::key::Key;
use crate::storage::shape::quote_identifier;
use std::collections::HashSet;
use std::rc::Rc;

/// What became of inserting a piece as it came.
pub enum Inserted {
    /// All rows are in.
    Whole,
    /// A constraint stopped it: perhaps a number that is taken.
    Stopped,
}

type Row = Vec<Value>;

/// What is here of a piece: by the parts of a fitting, all of the guard's columns.
#[derive(Debug)]
pub struct Present {
    parts: Vec<Vec<Row>>,
}

impl Present {
    /// Of a piece that is not here.
    pub fn none(fitting: &Fitting) -> Present {
        Present { parts: fitting.parts.iter().map(|_| Vec::new()).collect() }
    }

    /// The header's row.
    pub fn header(&self) -> Option<&Row> {
        self.parts.first()?.first()
    }

    /// The numbers of the rows of a part, which is the one at this place of the fitting.
    ///
    /// # Errors
    /// When memory is short.
    pub fn numbers(&self, part: &FittingPart, at: usize) -> Result<HashSet<i64>> {
        let rows = self.parts.get(at).map(Vec::as_slice).unwrap_or_default();
        let places = part.own_key_places();
        let number = |row: &Row| row.get(*places.first()?)?.as_ref().as_integer();
        Ok(gather_set(rows.iter().filter_map(number))?)
    }
}

impl Database {
    /// The piece's key as a header has it.
    pub(super) fn key_of(&mut self, kind: usize, shown: &Value) -> Result<Option<Key>> {
        let width = self.guard(kind)?.header().key.len();
        Key::from_shown(shown.as_ref(), width)
    }

    /// Finds the reference of a document's rows that nothing here answers to.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn broken_reference_in(
        &mut self,
        fitting: &Fitting,
        key: &Value,
        rows: &LocalRows,
    ) -> Result<Option<BrokenReference>> {
        let Some(key) = self.key_of(fitting.kind, key)? else { return Ok(None) };
        let mut stored = Stored { id: 0, parts: Vec::new() };
        for (part, rows) in fitting.parts.iter().zip(&rows.parts) {
            stored.parts.push(StoredPart {
                name: part.name.clone(),
                columns: part.columns.clone(),
                rows: gather(rows.iter().cloned())?,
            });
        }
        let guard = Rc::clone(&fitting.layout.guard);
        let mut work = Work {
            database: self,
            kind: fitting.kind,
            guard,
            key: &key,
            undo: Vec::new(),
            notes: Vec::new(),
            lines: 0,
        };
        work.broken_reference(&stored)
    }

    /// Inserts a piece that is new here.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn insert_rows(&mut self, fitting: &Fitting, rows: &LocalRows) -> Result<Inserted> {
        for (part, rows) in fitting.parts.iter().zip(&rows.parts) {
            let statement = self.statement(fitting.kind, &part.insert)?;
            for row in rows {
                if refused(statement.run_values(row))?.is_err() {
                    return Ok(Inserted::Stopped);
                }
            }
        }
        Ok(Inserted::Whole)
    }

    /// Brings a piece from what is there of it to these rows, which get to know those that have gone for them.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn write_rows(
        &mut self,
        fitting: &Fitting,
        key: &Key,
        rows: &mut LocalRows,
        mut present: Present,
    ) -> Attempt<()> {
        let guard = &fitting.layout.guard;
        for (at, part) in fitting.parts.iter().enumerate().rev() {
            let places = part.own_key_places();
            let wanted = KeyedRows::new(&rows.parts[at], part.key.clone())?;
            let surplus =
                present.parts[at].iter().filter(|row| wanted.find(row, &places).is_none());
            let gone = gather(surplus.cloned())?;
            if gone.is_empty() {
                continue;
            }
            let surplus = try_gather(gone.iter().map(|row| values_at(row, &places)))?;
            rows.gone.try_push((part.part, gone))?;
            if let Err(reason) = self.delete_rows(fitting.kind, part.part, key, &surplus)? {
                return Ok(Err(reason));
            }
            // Others may have gone with them.
            present.parts[at] = self.part_rows(fitting.kind, guard, part.part, key)?;
        }
        for (at, part) in fitting.parts.iter().enumerate() {
            if let Err(reason) =
                self.write_part(fitting, part, &rows.parts[at], &present.parts[at])?
            {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(()))
    }

    /// Writes the rows of one part. What a constraint stops is tried again while others get through: two lines may swap
    /// their positions. At last those that are in each other's way are taken out first.
    fn write_part(
        &mut self,
        fitting: &Fitting,
        part: &FittingPart,
        rows: &[Row],
        present: &[Row],
    ) -> Attempt<()> {
        let guard = &fitting.layout.guard;
        let present = KeyedRows::new(present, part.own_key_places())?;
        let mut waiting: Vec<&Row> = gather(rows)?;
        let mut is_cleared = false;
        loop {
            let (mut stuck, mut last) = (Vec::new(), None);
            let count = waiting.len();
            for row in waiting {
                let standing = present.find(row, &part.key);
                let done = match standing.filter(|_| !is_cleared || part.part == HEADER) {
                    Some(standing) => self.update_row(fitting, part, row, standing)?,
                    None => {
                        let statement = self.statement(fitting.kind, &part.insert)?;
                        refused(statement.run_values(row))?
                    }
                };
                if let Err(failure) = done {
                    last = Some(failure);
                    stuck.try_push(row)?;
                }
            }
            let Some(failure) = last else { return Ok(Ok(())) };
            if stuck.len() < count {
                waiting = stuck;
                continue;
            }
            let table = &guard.parts[part.part].table.name;
            if is_cleared || part.part == HEADER || stuck.len() < 2 {
                return Ok(Err(format!("{table}: {failure}")));
            }
            is_cleared = true;
            for row in &stuck {
                if present.find(row, &part.key).is_none() {
                    continue;
                }
                let key = values_at(row, &part.key)?;
                if let Some(other) = self.rows_that_go_with(fitting.kind, part.part, &key, None)? {
                    return Ok(Err(format!("{table}: {failure}; rows of {other} refer to it")));
                }
                if let Err(failure) = self.delete_row(fitting.kind, part.part, &key)? {
                    return Ok(Err(format!("{table}: {failure}")));
                }
            }
            waiting = stuck;
        }
    }

    fn update_row(
        &mut self,
        fitting: &Fitting,
        part: &FittingPart,
        row: &Row,
        standing: &Row,
    ) -> Result<std::result::Result<(), Failure>> {
        let own = &fitting.layout.guard.parts[part.part];
        let (mut set, mut values) = (Vec::new(), Vec::new());
        for ((column, value), place) in part.columns.iter().zip(row).zip(&part.own_places) {
            if standing.get(*place) != Some(value) {
                values.try_push(value.clone())?;
                set.push(format!("{} = ?{}", quote_identifier(column), values.len()));
            }
        }
        if set.is_empty() {
            return Ok(Ok(()));
        }
        let sql = format!(
            "UPDATE OR ABORT {} SET {} WHERE {}",
            own.from_clause(&self.schema),
            set.join(", "),
            key_is(own, values.len() + 1)
        );
        for place in &part.key {
            values.try_push(row[*place].clone())?;
        }
        refused(self.statement(fitting.kind, &sql)?.run_values(&values))
    }

    /// Deletes a piece with all that belongs to it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn delete_piece(&mut self, kind: usize, key: &Key) -> Attempt<()> {
        let guard = self.guard(kind)?;
        for place in (0..guard.parts.len()).rev() {
            let places = guard.parts[place].places(&guard.parts[place].key);
            let present = self.part_rows(kind, &guard, place, key)?;
            let present = try_gather(present.iter().map(|row| values_at(row, &places)))?;
            if let Err(reason) = self.delete_rows(kind, place, key, &present)? {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(()))
    }

    fn delete_rows(&mut self, kind: usize, place: usize, piece: &Key, keys: &[Row]) -> Attempt<()> {
        let guard = self.guard(kind)?;
        let part = &guard.parts[place];
        for key in keys {
            if let Some(table) = self.rows_that_go_with(kind, place, key, Some(piece))? {
                let name = Key::of(key.clone());
                return Ok(Err(format!(
                    "{} {name} would have to go, and rows of {table} that refer to it would change with it",
                    part.table.name
                )));
            }
        }
        for key in keys {
            if let Err(failure) = self.delete_row(kind, place, key)? {
                let name = Key::of(key.clone());
                return Ok(Err(format!("{} {name}: {failure}", part.table.name)));
            }
        }
        Ok(Ok(()))
    }

    fn delete_row(
        &mut self,
        kind: usize,
        place: usize,
        key: &[Value],
    ) -> Result<std::result::Result<(), Failure>> {
        let guard = self.guard(kind)?;
        let statement = self.part_statement(kind, place, Purpose::Delete, |_, schema| {
            let part = &guard.parts[place];
            format!("DELETE FROM {} WHERE {}", part.from_clause(schema), key_is(part, 1))
        })?;
        refused(statement.run_values(key))
    }

    /// A table with rows that deleting a row would delete or change too, other than the piece's own: those are
    /// somebody else's, and nobody would know.
    fn rows_that_go_with(
        &mut self,
        kind: usize,
        place: usize,
        key: &[Value],
        piece: Option<&Key>,
    ) -> Result<Option<String>> {
        let guard = self.guard(kind)?;
        let part = &guard.parts[place];
        for reference in self.references_to(kind, place)? {
            if !reference.acts_on_delete {
                continue;
            }
            // The piece's own rows below this one have gone before.
            let own = guard.parts.iter().position(|own| {
                own.table.name == reference.table
                    && own.parent == place
                    && own.link == reference.from
            });
            if own.is_some_and(|own| own != HEADER) && piece.is_some() {
                continue;
            }
            let wanted: Vec<&Value> = reference
                .to
                .iter()
                .filter_map(|to| part.key.iter().position(|column| column == to))
                .filter_map(|at| key.get(at))
                .collect();
            if wanted.len() != reference.from.len() {
                // It refers to other columns than the key: look at the row itself.
                let Some(table) = self.refers_otherwise(kind, part, &reference, key)? else {
                    continue;
                };
                return Ok(Some(table));
            }
            let is_same_table = reference.table.eq_ignore_ascii_case(&part.table.name);
            let columns: Vec<String> = match is_same_table {
                true => part.key.iter().map(|column| quote_identifier(column)).collect(),
                false => vec!["1".to_owned()],
            };
            let terms: Vec<String> = reference
                .from
                .iter()
                .enumerate()
                .map(|(at, column)| format!("{} = ?{}", quote_identifier(column), at + 1))
                .collect();
            let sql = format!(
                "SELECT {} FROM {}.{} WHERE {}",
                columns.join(", "),
                quote_identifier(&self.schema),
                quote_identifier(&reference.table),
                terms.join(" AND ")
            );
            let values: Vec<ValueRef<'_>> = wanted.iter().map(|value| value.as_ref()).collect();
            let mut found = Vec::new();
            {
                let mut rows = self.statement(kind, &sql)?.query(&values)?;
                while rows.next()? {
                    if !is_same_table {
                        return Ok(Some(reference.table));
                    }
                    found.try_push(rows.values(0..part.key.len())?)?;
                }
            }
            for row in found {
                if row != key && !self.is_row_of(kind, place, &row, piece)? {
                    return Ok(Some(reference.table));
                }
            }
        }
        Ok(None)
    }

    fn is_row_of(
        &mut self,
        kind: usize,
        place: usize,
        row: &[Value],
        piece: Option<&Key>,
    ) -> Result<bool> {
        let ([Value::Integer(number)], Some(piece), true) = (row, piece, place != HEADER) else {
            return Ok(false);
        };
        Ok(self.piece_of_row(kind, place, *number)? == Some(piece.shown()?))
    }

    fn refers_otherwise(
        &mut self,
        kind: usize,
        part: &Part,
        reference: &crate::domain::fitted::Reference,
        key: &[Value],
    ) -> Result<Option<String>> {
        let terms: Vec<String> = reference
            .from
            .iter()
            .zip(&reference.to)
            .map(|(from, to)| {
                format!("r.{} = {}.{}", quote_identifier(from), part.alias, quote_identifier(to))
            })
            .collect();
        let sql = format!(
            "SELECT 1 FROM {}, {}.{} AS r WHERE {} AND {} LIMIT 1",
            part.from_clause(&self.schema),
            quote_identifier(&self.schema),
            quote_identifier(&reference.table),
            key_is(part, 1),
            terms.join(" AND ")
        );
        let values: Vec<ValueRef<'_>> = key.iter().map(Value::as_ref).collect();
        let found = self.statement(kind, &sql)?.first(&values, |_| Ok(()))?;
        Ok(found.map(|()| reference.table.clone()))
    }

    /// What is here of a piece, by the parts of a fitting.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn present(&mut self, fitting: &Fitting, key: &Key) -> Result<Present> {
        let (kind, guard) = (fitting.kind, &fitting.layout.guard);
        let parts = fitting.parts.iter().map(|part| self.part_rows(kind, guard, part.part, key));
        Ok(Present { parts: try_gather(parts)? })
    }

    /// The rows that a part has of a piece: all of the guard's columns.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn part_rows(
        &mut self,
        kind: usize,
        guard: &Guard,
        place: usize,
        key: &Key,
    ) -> Result<Vec<Row>> {
        let part = &guard.parts[place];
        let reading = self.part_statement(kind, place, Purpose::Read, |guard, schema| {
            let belongs = match place {
                HEADER => guard.header_is(),
                _ => guard.belongs(place, schema),
            };
            format!(
                "SELECT {} FROM {} WHERE {belongs}{}",
                part.select_list(),
                part.from_clause(schema),
                part.and_condition()
            )
        })?;
        let values: Vec<ValueRef<'_>> = key.values().iter().map(Value::as_ref).collect();
        let (mut rows, mut found) = (reading.query(&values)?, Vec::new());
        while rows.next()? {
            found.try_push(rows.values(0..part.columns.len())?)?;
        }
        Ok(found)
    }
}

fn values_at(row: &[Value], places: &[usize]) -> Result<Row> {
    Ok(gather(places.iter().filter_map(|place| row.get(*place).cloned()))?)
}
