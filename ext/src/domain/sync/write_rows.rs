//! Documents into tables: new pieces are inserted, others are brought from what they are to what they should be, row by row.
//! All of it happens in a savepoint of the caller's, with triggers off and foreign keys waiting.

use super::incoming::{Fitting, FittingPart};
use super::localize::{Attempt, LocalRows};
use crate::domain::database::Database;
use crate::domain::rebuild::Work;
use crate::domain::rebuild_rows::{BrokenReference, key_is, refused};
use crate::domain::snapshot::{Stored, StoredPart};
use crate::error::Result;
use crate::sqlite::{Failure, Room, RoomForKeys, Value, ValueRef, gather};
use crate::storage::guard::{Guard, HEADER, Part};
use crate::storage::key::Key;
use crate::storage::shape::quote_identifier;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// What became of inserting a piece as it came.
pub enum Inserted {
    /// All rows are in.
    Whole,
    /// A constraint stopped it: perhaps a number that is taken.
    Stopped,
}

type Row = Vec<Value>;

/// What a part has of a piece, by the rows' keys: all of the guard's columns.
type Present = HashMap<Row, Row>;

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

    /// Brings a piece to these rows; `is_there` when its header stands already.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn write_rows(
        &mut self,
        fitting: &Fitting,
        key: &Key,
        rows: &LocalRows,
        is_there: bool,
    ) -> Attempt<()> {
        let guard = &fitting.layout.guard;
        let mut present = Vec::new();
        for part in &fitting.parts {
            let found = if is_there {
                self.present(fitting.kind, guard, part, key)?
            } else {
                HashMap::new()
            };
            present.push(found);
        }
        for (at, part) in fitting.parts.iter().enumerate().rev() {
            let mut wanted: HashSet<Row> = HashSet::new();
            wanted.make_room(rows.parts[at].len())?;
            for row in &rows.parts[at] {
                wanted.insert(key_of(part, row)?);
            }
            let surplus: Vec<&Row> =
                present[at].keys().filter(|key| !wanted.contains(*key)).collect();
            let surplus = gather(surplus.into_iter().cloned())?;
            if surplus.is_empty() {
                continue;
            }
            if let Err(reason) = self.delete_rows(fitting.kind, part.part, key, &surplus)? {
                return Ok(Err(reason));
            }
            // Others may have gone with them.
            present[at] = self.present(fitting.kind, guard, part, key)?;
        }
        for (at, part) in fitting.parts.iter().enumerate() {
            if let Err(reason) = self.write_part(fitting, part, &rows.parts[at], &present[at])? {
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
        present: &Present,
    ) -> Attempt<()> {
        let guard = &fitting.layout.guard;
        let mut waiting: Vec<&Row> = gather(rows)?;
        let mut is_cleared = false;
        loop {
            let (mut stuck, mut last) = (Vec::new(), None);
            let count = waiting.len();
            for row in waiting {
                let key = key_of(part, row)?;
                let standing = present.get(&key).filter(|_| !is_cleared || part.part == HEADER);
                let done = match standing {
                    Some(standing) => self.update_row(fitting, part, row, standing, &key)?,
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
                let key = key_of(part, row)?;
                if !present.contains_key(&key) {
                    continue;
                }
                if let Some(other) = self.rows_that_go_with(fitting.kind, part.part, &key, None)? {
                    return Ok(Err(format!("{table}: {failure}; rows of {other} refer to it")));
                }
                if let Err(failure) =
                    self.delete_row(fitting.kind, &guard.parts[part.part], &key)?
                {
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
        key: &[Value],
    ) -> Result<std::result::Result<(), Failure>> {
        let own = &fitting.layout.guard.parts[part.part];
        let (mut set, mut values) = (Vec::new(), Vec::new());
        for (column, value) in part.columns.iter().zip(row) {
            let place = own.columns.iter().position(|name| name == column);
            if place.and_then(|place| standing.get(place)) != Some(value) {
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
        values.extend(key.iter().cloned());
        refused(self.statement(fitting.kind, &sql)?.run_values(&values))
    }

    /// Deletes a piece with all that belongs to it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn delete_piece(&mut self, kind: usize, key: &Key) -> Attempt<()> {
        let guard = self.guard(kind)?;
        for place in (0..guard.parts.len()).rev() {
            let present = self.present_keys(kind, &guard, place, key)?;
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
            if let Err(failure) = self.delete_row(kind, part, key)? {
                let name = Key::of(key.clone());
                return Ok(Err(format!("{} {name}: {failure}", part.table.name)));
            }
        }
        Ok(Ok(()))
    }

    fn delete_row(
        &mut self,
        kind: usize,
        part: &Part,
        key: &[Value],
    ) -> Result<std::result::Result<(), Failure>> {
        let sql =
            format!("DELETE FROM {} WHERE {}", part.from_clause(&self.schema), key_is(part, 1));
        refused(self.statement(kind, &sql)?.run_values(key))
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

    fn present(
        &mut self,
        kind: usize,
        guard: &Guard,
        part: &FittingPart,
        key: &Key,
    ) -> Result<Present> {
        let own = &guard.parts[part.part];
        let (columns, places) = (own.columns.len(), own.places(&own.key));
        let mut present = HashMap::new();
        self.scan(kind, guard, part.part, key, |row| {
            let values = row.values(0..columns)?;
            present.make_room(1)?;
            present.insert(gather(places.iter().map(|at| values[*at].clone()))?, values);
            Ok(())
        })?;
        Ok(present)
    }

    fn present_keys(
        &mut self,
        kind: usize,
        guard: &Guard,
        place: usize,
        key: &Key,
    ) -> Result<Vec<Row>> {
        let own = &guard.parts[place];
        let (columns, places) = (own.columns.len(), own.places(&own.key));
        let mut keys = Vec::new();
        self.scan(kind, guard, place, key, |row| {
            let values = row.values(0..columns)?;
            keys.try_push(gather(places.iter().map(|at| values[*at].clone()))?)
        })?;
        Ok(keys)
    }

    pub(super) fn scan(
        &mut self,
        kind: usize,
        guard: &Guard,
        place: usize,
        key: &Key,
        mut take: impl FnMut(&crate::sqlite::Rows<'_>) -> std::result::Result<(), Failure>,
    ) -> Result<()> {
        let part = &guard.parts[place];
        let belongs =
            if place == HEADER { guard.header_is() } else { guard.belongs(place, &self.schema) };
        let sql = format!(
            "SELECT {} FROM {} WHERE {belongs}{}",
            part.select_list(),
            part.from_clause(&self.schema),
            part.and_condition()
        );
        let values: Vec<ValueRef<'_>> = key.values().iter().map(Value::as_ref).collect();
        let mut rows = self.statement(kind, &sql)?.query(&values)?;
        while rows.next()? {
            take(&rows)?;
        }
        Ok(())
    }
}

fn key_of(part: &FittingPart, row: &[Value]) -> Result<Row> {
    Ok(gather(part.key.iter().map(|at| row[*at].clone()))?)
}
