//! Puts a stored image back into the tables, step by step, each with what undoes it.

use super::database::Database;
use super::rebuild_rows::key_is;
use super::snapshot::{Stored, StoredPart};
use crate::error::Result;
use crate::sqlite::{Room, Value, ValueRef, gather};
use crate::storage::guard::{Guard, HEADER, LINES, Part};
use crate::storage::key::Key;
use std::rc::Rc;

/// The outcome of a piece that a rule of its tables, or a row that is not there, keeps from coming back.
pub(super) const CONSTRAINT: &str = "constraint";

/// Why a piece cannot be restored, though nobody asked for anything wrong.
pub(super) struct Obstacle {
    pub(super) outcome: &'static str,
    pub(super) note: String,
}

impl Obstacle {
    pub(super) fn conflict(note: String) -> Obstacle {
        Obstacle { outcome: "conflict", note }
    }
    pub(super) fn constraint(note: String) -> Obstacle {
        Obstacle { outcome: CONSTRAINT, note }
    }
}

/// What undoes a step.
pub(super) enum Undo {
    /// Delete the row that was inserted.
    Delete { part: usize, key: Vec<Value> },
    /// Give a row its values back.
    Update { part: usize, key: Vec<Value>, values: Vec<Value> },
    /// Insert the row that was deleted.
    Insert { part: usize, values: Vec<Value> },
}

impl Undo {
    /// The row as it was, where there was one.
    pub(super) fn row_before(self) -> Option<(usize, Vec<Value>)> {
        match self {
            Undo::Update { part, values, .. } | Undo::Insert { part, values } => {
                Some((part, values))
            }
            Undo::Delete { .. } => None,
        }
    }
}

pub(super) struct Work<'a> {
    pub(super) database: &'a mut Database,
    pub(super) kind: usize,
    pub(super) guard: Rc<Guard>,
    pub(super) key: &'a Key,
    pub(super) undo: Vec<Undo>,
    pub(super) notes: Vec<String>,
    pub(super) lines: i64,
}

pub(super) type Step = Result<std::result::Result<(), Obstacle>>;

/// A stored row fitted to today's table.
pub(super) struct FittedRow<'a> {
    /// Today's columns that the image has values for.
    pub(super) columns: &'a [String],
    /// The statement that inserts them.
    pub(super) insert: &'a str,
    pub(super) values: Vec<Value>,
    pub(super) key: Vec<Value>,
}

impl Work<'_> {
    pub(super) fn restore(&mut self, stored: &Stored, exactly: bool) -> Step {
        let guard = Rc::clone(&self.guard);
        for part in &stored.parts {
            if !guard.parts.iter().any(|today| today.name == part.name) {
                self.notes.push(format!("{} is no longer a part of {}", part.name, guard.kind));
            }
        }
        let missing = |place: usize| stored.part(&guard.parts[place].name);
        let Some(header) = missing(HEADER) else {
            return Ok(Err(Obstacle {
                outcome: "unreadable",
                note: "the snapshot has no header".to_owned(),
            }));
        };
        if exactly && let Err(obstacle) = self.remove_what_is_not_in(stored)? {
            return Ok(Err(obstacle));
        }
        // A header that is gone comes back first; one that is there gets its values last.
        let is_there = self.database.own_key(self.kind, self.key)?.is_some();
        if !is_there && let Err(obstacle) = self.restore_part(HEADER, header)? {
            return Ok(Err(obstacle));
        }
        for (place, part) in guard.parts.iter().enumerate().skip(LINES) {
            match stored.part(&part.name) {
                Some(stored_part) => {
                    if let Err(obstacle) = self.restore_part(place, stored_part)? {
                        return Ok(Err(obstacle));
                    }
                    if place == LINES {
                        self.lines = stored_part.rows.len() as i64;
                    }
                }
                None => {
                    self.notes.push(format!("the snapshot is older than the part {}", part.name))
                }
            }
        }
        if is_there { self.restore_part(HEADER, header) } else { Ok(Ok(())) }
    }

    /// Restores the rows of one part.
    pub(super) fn restore_part(&mut self, place: usize, stored: &StoredPart) -> Step {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        let columns = self.columns_in_common(part, stored);
        let from: Vec<usize> = columns
            .iter()
            .filter_map(|column| stored.columns.iter().position(|name| name == column))
            .collect();
        let insert = self.insert_text(place, &columns);
        for row in &stored.rows {
            let values = gather(from.iter().map(|place| row[*place].clone()))?;
            let key: Option<Vec<Value>> = part
                .key
                .iter()
                .map(|name| {
                    columns.iter().position(|column| column == name).map(|at| values[at].clone())
                })
                .collect();
            let Some(key) = key else {
                return Ok(Err(Obstacle::constraint(format!(
                    "the snapshot has no values for the key {} of {}",
                    part.key.join(", "),
                    part.table.name
                ))));
            };
            if key.iter().any(|value| value.as_ref().is_null()) {
                return Ok(Err(Obstacle::constraint(format!(
                    "a row of {} has NULL in its key {}: nothing tells it from others",
                    part.table.name,
                    part.key.join(", ")
                ))));
            }
            if let Some(link) = part.link.iter().find(|link| !columns.contains(link)) {
                return Ok(Err(Obstacle::constraint(format!(
                    "the snapshot does not say in {link} what rows of {} belong to",
                    part.table.name
                ))));
            }
            let row = FittedRow { columns: &columns, insert: &insert, values, key };
            if let Err(obstacle) = self.restore_row(place, &row)? {
                return Ok(Err(obstacle));
            }
        }
        Ok(Ok(()))
    }

    /// Columns that image and table both have; the others are noted.
    pub(super) fn columns_in_common(&mut self, part: &Part, stored: &StoredPart) -> Vec<String> {
        let gone: Vec<&String> =
            stored.columns.iter().filter(|name| !part.columns.contains(name)).collect();
        let added: Vec<&String> =
            part.columns.iter().filter(|name| !stored.columns.contains(name)).collect();
        let list = |names: &[&String]| {
            names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        if !gone.is_empty() && !stored.rows.is_empty() {
            self.notes.push(format!("columns gone from {}: {}", part.table.name, list(&gone)));
        }
        if !added.is_empty() && !stored.rows.is_empty() {
            self.notes.push(format!(
                "columns new in {}, with their default: {}",
                part.table.name,
                list(&added)
            ));
        }
        part.columns.iter().filter(|name| stored.columns.contains(name)).cloned().collect()
    }

    pub(super) fn restore_row(&mut self, place: usize, row: &FittedRow<'_>) -> Step {
        let is_header_update =
            place == HEADER && self.database.own_key(self.kind, self.key)?.is_some();
        if !is_header_update {
            match self.try_run(row.insert, &row.values)? {
                Ok(()) => {
                    let key = gather(row.key.iter().cloned())?;
                    self.undo.try_push(Undo::Delete { part: place, key })?;
                    return Ok(Ok(()));
                }
                Err(failure) => {
                    // Something is in the way: a row with this key, or a rule of the table.
                    if self.find(place, &row.key)?.is_none() {
                        let note = format!("{}: {failure}", self.row_name(place, &row.key));
                        return Ok(Err(Obstacle::constraint(note)));
                    }
                }
            }
        }
        let Some(present) = self.find(place, &row.key)? else {
            return Ok(Err(Obstacle::constraint(format!(
                "{} is not there",
                self.row_name(place, &row.key)
            ))));
        };
        if place != HEADER {
            let owner = match self.owned_by_another(place, row, &present)? {
                Some(note) => Some(note),
                None => self.owned_by_another_kind(place, row, &present)?,
            };
            if let Some(note) = owner {
                return Ok(Err(Obstacle::conflict(note)));
            }
        }
        let wanted: Vec<&Value> = row.values.iter().collect();
        let part = &self.guard.parts[place];
        let now: Vec<&Value> = row
            .columns
            .iter()
            .filter_map(|name| part.columns.iter().position(|column| column == name))
            .map(|at| &present[at])
            .collect();
        if wanted == now {
            return Ok(Ok(()));
        }
        match self.update(place, row.columns, &row.values, &row.key)? {
            Ok(()) => {
                let key = gather(row.key.iter().cloned())?;
                self.undo.try_push(Undo::Update { part: place, key, values: present })?;
                Ok(Ok(()))
            }
            Err(failure) => {
                let note = format!("{}: {failure}", self.row_name(place, &row.key));
                Ok(Err(Obstacle::constraint(note)))
            }
        }
    }

    /// When a row with this key belongs to another living piece: says so.
    pub(super) fn owned_by_another(
        &mut self,
        place: usize,
        row: &FittedRow<'_>,
        present: &[Value],
    ) -> Result<Option<String>> {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        let link: Vec<Value> =
            part.places(&part.link).iter().map(|at| present[*at].clone()).collect();
        if link.iter().any(|value| value.as_ref().is_null()) {
            return Ok(None);
        }
        let wanted: Vec<Value> = part
            .link
            .iter()
            .filter_map(|name| row.columns.iter().position(|column| column == name))
            .map(|at| row.values[at].clone())
            .collect();
        if link == wanted {
            return Ok(None);
        }
        let Some(piece) = self.database.piece_of(self.kind, place, link)? else {
            return Ok(None);
        };
        let owner = self.database.own_key(self.kind, &Key::of(piece))?;
        Ok(owner.filter(|owner| owner != self.key).map(|owner| {
            format!("{} belongs to {} {owner} now", self.row_name(place, &row.key), guard.kind)
        }))
    }

    /// When a row with this key belongs to a living piece of another kind, and to none of this one: says so.
    pub(super) fn owned_by_another_kind(
        &mut self,
        place: usize,
        row: &FittedRow<'_>,
        present: &[Value],
    ) -> Result<Option<String>> {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        let stored = |column: &str| {
            let at = row.columns.iter().position(|name| name == column);
            at.map(|at| &row.values[at])
        };
        let is_own = part
            .link
            .iter()
            .zip(part.places(&part.link))
            .all(|(column, at)| stored(column) == Some(&present[at]));
        if is_own && (part.parent != HEADER || self.still_counts(place, &row.key)?) {
            return Ok(None);
        }
        let owner = self.database.owner_of_another_kind(self.kind, place, &row.key, stored)?;
        Ok(owner.map(|(kind, owner)| {
            format!("{} belongs to {kind} {owner} now", self.row_name(place, &row.key))
        }))
    }

    /// Whether a row that is there satisfies the part's condition.
    pub(super) fn still_counts(&mut self, place: usize, key: &[Value]) -> Result<bool> {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        if part.condition.is_none() {
            return Ok(true);
        }
        let sql = format!(
            "SELECT 1 FROM {} WHERE {}{}",
            part.from_clause(&self.database.schema),
            key_is(part, 1),
            part.and_condition()
        );
        let key: Vec<ValueRef<'_>> = key.iter().map(Value::as_ref).collect();
        let found = self.database.statement(self.kind, &sql)?.first(&key, |_| Ok(()))?;
        Ok(found.is_some())
    }
}
