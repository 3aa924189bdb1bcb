//! Restoring a piece from a snapshot: verbatim, whole or not at all.
//!
//! A restore runs inside the INSERT that asks for it, where SQLite allows no savepoint. So each step notes what undoes
//! it, and a piece that cannot be restored whole is put back as it was while the others go on.

use super::database::Database;
use super::settle::{Circumstances, Reason};
use super::snapshot::{Head, Stored, StoredPart};
use super::talon::{Place, Talon};
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Failure, Value, ValueRef, code};
use crate::storage::guard::{Guard, HEADER, LINES, Part, parameters};
use crate::storage::key::Key;
use crate::storage::shape::{quote_identifier, quote_list};
use std::rc::Rc;

/// A row of `INSERT INTO talon_restore`.
#[derive(Debug, Clone)]
pub struct Request {
    /// The schema's name.
    pub schema: String,
    /// The kind's name.
    pub kind: String,
    /// The piece as its header spells it.
    pub key: Key,
    /// The snapshot named, if one was.
    pub snapshot: Option<i64>,
    /// Only find out what would happen.
    pub dry_run: bool,
}

/// What became of one piece.
#[derive(Debug, Clone)]
struct Outcome {
    text: &'static str,
    snapshot: Option<i64>,
    lines: Option<i64>,
    notes: Vec<String>,
}

impl Outcome {
    fn failed(text: &'static str, snapshot: Option<i64>, note: String) -> Outcome {
        Outcome {
            text,
            snapshot,
            lines: None,
            notes: vec![note],
        }
    }
}

/// Where a piece stands and what can be taken for it: the facts that the choice of a snapshot is made on.
struct Choice {
    /// Newest first.
    candidates: Vec<Head>,
    named: bool,
}

impl Talon {
    /// Checks a request and carries it out, or lays it by until the statement that makes it ends; gives the journal row.
    ///
    /// # Errors
    /// What the caller got wrong: [`Error::UnknownKind`], [`Error::UnknownPiece`], [`Error::HasLines`],
    /// [`Error::NoSnapshot`], [`Error::Deleted`].
    pub fn ask_restore(
        &self,
        schema: &str,
        kind: &str,
        piece: ValueRef<'_>,
        snapshot: Option<i64>,
        dry_run: bool,
    ) -> Result<i64> {
        let place = self
            .look(schema, Some(kind))?
            .ok_or_else(|| Error::NotInstalled(schema.to_owned()))?;
        let mut databases = self.databases()?;
        let database = &mut databases[place.database];
        let key = database.named_piece(place.kind, piece)?;
        let touched = self.is_touched(&place, &key);
        let choice = choose(database, place.kind, &key, snapshot, touched)?;
        let request = Request {
            schema: database.schema.clone(),
            kind: kind.to_owned(),
            key,
            snapshot,
            dry_run,
        };
        let silenced = database.has_host_triggers(place.kind)?;
        if silenced && self.reads_on() {
            // Silencing the host's triggers would end the query that names the pieces.
            drop(databases);
            self.enlist()?;
            self.waiting.borrow_mut().push(request);
            return Ok(0);
        }
        let result =
            self.quietly(|| self.restore(database, place.kind, &request, choice, silenced));
        drop(databases);
        self.course.borrow_mut().forget_states();
        result
    }

    /// Whether the open transaction has changed the piece.
    fn is_touched(&self, place: &Place, key: &Key) -> bool {
        let slot = Database::slot(place.database, place.kind);
        self.course.borrow().find(slot, key).is_some()
    }

    /// Whether the statement that is running may yet open a cursor: an INSERT … SELECT.
    fn reads_on(&self) -> bool {
        let running = self.connection.running_write().unwrap_or_default();
        running.to_ascii_lowercase().contains("select") && !inserts_one_row(&running)
    }

    /// Carries out what was laid by.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn run_waiting(&self) -> Result<()> {
        let waiting = self.waiting.take();
        for request in waiting {
            let place = self.kind_place(&request.schema, &request.kind)?;
            let mut databases = self.databases()?;
            let database = &mut databases[place.database];
            let touched = self.is_touched(&place, &request.key);
            match choose(database, place.kind, &request.key, request.snapshot, touched) {
                Ok(choice) => {
                    self.restore(database, place.kind, &request, choice, true)?;
                }
                Err(error) if error.is_fatal() => return Err(error),
                // It was in order when it was asked for; an earlier one of the same statement has changed that.
                Err(error) => {
                    let outcome = Outcome::failed("not needed", None, error.to_string());
                    self.journal(database, &request, &outcome)?;
                }
            }
            drop(databases);
            self.course.borrow_mut().forget_states();
        }
        Ok(())
    }

    fn restore(
        &self,
        database: &mut Database,
        kind: usize,
        request: &Request,
        choice: Choice,
        silenced: bool,
    ) -> Result<i64> {
        let mut passed = Vec::new();
        let mut sound = None;
        for head in &choice.candidates {
            match database.stored(head.id) {
                Ok(mut stored) => {
                    stored.follow_renames(&*database.guard(kind)?);
                    sound = Some(stored);
                    break;
                }
                Err(Error::Unreadable { snapshot, problem }) => {
                    passed.push(format!("snapshot {snapshot} was passed over: {problem}"));
                }
                Err(error) => return Err(error),
            }
        }
        let outcome = match sound {
            None => Outcome {
                text: "unreadable",
                snapshot: None,
                lines: None,
                notes: passed,
            },
            Some(stored) => {
                let mut outcome =
                    self.restore_from(database, kind, request, &stored, choice.named, silenced)?;
                if !passed.is_empty() {
                    outcome.text = match outcome.text {
                        "restored" => "restored older",
                        "would restore" => "would restore older",
                        other => other,
                    };
                    outcome.notes.splice(0..0, passed);
                }
                outcome
            }
        };
        self.journal(database, request, &outcome)
    }

    fn restore_from(
        &self,
        database: &mut Database,
        kind: usize,
        request: &Request,
        stored: &Stored,
        exactly: bool,
        silenced: bool,
    ) -> Result<Outcome> {
        let guard = database.guard(kind)?;
        let who = self.station().clone();
        if exactly && !request.dry_run {
            // What a point in time replaces can be had back.
            let about = Circumstances {
                created: false,
                deleted: false,
                reason: Reason::Before,
                at: self.clock.now_ms(),
            };
            database.settle(&self.clock, who.as_ref(), kind, &request.key, None, about)?;
        }
        let silence = Silence::begin(self.connection, silenced)?;
        let mut work = Work {
            database,
            kind,
            guard: Rc::clone(&guard),
            key: &request.key,
            undo: Vec::new(),
            notes: Vec::new(),
            lines: 0,
        };
        let pending = self.connection.has_pending_foreign_keys();
        let mut result = work.restore(stored, exactly);
        if matches!(result, Ok(Ok(()))) && !pending && self.connection.has_pending_foreign_keys() {
            result = Ok(Err(Obstacle::constraint(work.broken_reference(stored)?)));
        }
        let undone = match &result {
            Ok(Ok(())) => request.dry_run,
            Ok(Err(_)) => true,
            Err(_) => false,
        };
        if undone {
            work.take_back()?;
        }
        let (notes, lines) = (std::mem::take(&mut work.notes), work.lines);
        let before: Vec<(usize, Vec<Value>)> = std::mem::take(&mut work.undo)
            .into_iter()
            .filter_map(Undo::row_before)
            .collect();
        drop(silence);
        match result? {
            Err(obstacle) => Ok(Outcome::failed(
                obstacle.outcome,
                Some(stored.id),
                obstacle.note,
            )),
            Ok(()) => {
                if !request.dry_run {
                    let about = Circumstances {
                        created: false,
                        deleted: false,
                        reason: Reason::Restore,
                        at: self.clock.now_ms(),
                    };
                    database.settle(&self.clock, who.as_ref(), kind, &request.key, None, about)?;
                    database.settle_neighbours(&self.clock, who.as_ref(), kind, stored, &before)?;
                }
                let text = if request.dry_run {
                    "would restore"
                } else {
                    "restored"
                };
                Ok(Outcome {
                    text,
                    snapshot: Some(stored.id),
                    lines: Some(lines),
                    notes,
                })
            }
        }
    }

    fn journal(
        &self,
        database: &mut Database,
        request: &Request,
        outcome: &Outcome,
    ) -> Result<i64> {
        let station = database.station(self.station().as_ref())?;
        let note = outcome.notes.join("; ");
        let shown = request.key.shown();
        let optional = |value: Option<i64>| value.map_or(ValueRef::Null, ValueRef::Integer);
        let insert = database.own_statement(
            "INSERT INTO {s}.talon_restored(at, kind, piece, snapshot, lines, outcome, note, station, dry_run)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, nullif(?7, ''), ?8, ?9)",
        )?;
        insert.run(
            &[
                ValueRef::Integer(self.clock.now_ms()),
                ValueRef::Text(request.kind.as_bytes()),
                shown.as_ref(),
                optional(outcome.snapshot),
                optional(outcome.lines),
                ValueRef::Text(outcome.text.as_bytes()),
                ValueRef::Text(note.as_bytes()),
                optional(station),
                ValueRef::Integer(i64::from(request.dry_run)),
            ],
        )?;
        Ok(self.connection.last_insert_rowid())
    }
}

/// Whether an INSERT has a single row of VALUES: its subqueries have all been read by the time the row is given, and
/// SQLite would not tell us of its end before the transaction's.
fn inserts_one_row(sql: &str) -> bool {
    let (mut depth, mut rows, mut in_values) = (0, 0, false);
    let mut word = String::new();
    let mut characters = sql.chars().chain([' ']);
    while let Some(character) = characters.next() {
        if character.is_alphanumeric() || character == '_' {
            word.push(character.to_ascii_lowercase());
            continue;
        }
        if depth == 0 {
            match word.as_str() {
                "values" => in_values = true,
                "select" | "returning" => return false,
                _ => {}
            }
        }
        word.clear();
        match character {
            '(' => {
                rows += usize::from(depth == 0 && in_values);
                depth += 1;
            }
            ')' => depth -= 1,
            // A doubled quote inside reads as two quoted pieces, which comes to the same.
            '\'' | '"' | '`' => while characters.next().is_some_and(|next| next != character) {},
            _ => {}
        }
    }
    rows == 1
}

/// Finds the snapshots that a request may be met from, or what the caller got wrong.
fn choose(
    database: &mut Database,
    kind: usize,
    key: &Key,
    snapshot: Option<i64>,
    touched: bool,
) -> Result<Choice> {
    let name = database.kinds[kind].name.clone();
    let (kind_name, piece) = (name.clone(), key.to_string());
    let is_there = database.read(kind, key)?;
    let lines = database.image.lines;
    let id = database.kinds[kind].id;
    let state = database.store()?.piece(id, &key.shown())?;
    if !is_there && state.is_none() {
        return Err(Error::UnknownPiece {
            kind: kind_name,
            piece,
        });
    }
    let last = state.as_ref().and_then(|state| state.last);
    if let Some(named) = snapshot {
        let chain = database.chain(last)?;
        let Some(place) = chain.iter().position(|id| *id == named) else {
            let known: Vec<String> = chain.iter().map(i64::to_string).collect();
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            return Err(Error::NoSnapshot {
                kind: kind_name,
                piece,
                detail: format!(" {named}; it has: {known}"),
            });
        };
        let mut candidates = Vec::new();
        for id in &chain[place..] {
            candidates.extend(database.head(*id)?);
        }
        return Ok(Choice {
            candidates,
            named: true,
        });
    }
    // Lines that it shares with another piece came back with that one: it is still to be made whole.
    let is_lost = !touched && state.as_ref().is_some_and(|state| state.lost_at.is_some());
    if lines > 0 && !is_lost {
        return Err(Error::HasLines {
            kind: kind_name,
            piece,
            lines,
        });
    }
    if !is_there && state.as_ref().is_some_and(|state| state.gone_at.is_some()) {
        return Err(Error::Deleted {
            kind: kind_name,
            piece,
        });
    }
    let candidates = database.candidates(last)?;
    if candidates.is_empty() {
        let detail = if last.is_some() { " with lines" } else { "" };
        return Err(Error::NoSnapshot {
            kind: kind_name,
            piece,
            detail: detail.to_owned(),
        });
    }
    Ok(Choice {
        candidates,
        named: false,
    })
}

/// Foreign keys wait until a piece is whole; the host's triggers stay quiet where it has some.
struct Silence {
    connection: Connection,
    triggers: Option<bool>,
    deferred: bool,
}

impl Silence {
    fn begin(connection: Connection, silenced: bool) -> Result<Silence> {
        let deferred = matches!(
            connection.value("PRAGMA defer_foreign_keys", &[])?,
            Some(Value::Integer(1))
        );
        if !deferred {
            connection.compile_only("PRAGMA defer_foreign_keys = 1")?;
        }
        let triggers = silenced.then(|| connection.set_triggers(false));
        Ok(Silence {
            connection,
            triggers,
            deferred,
        })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(enabled) = self.triggers {
            self.connection.set_triggers(enabled);
        }
        if !self.deferred {
            // Compiling a pragma that was compiled before cannot fail for want of anything but memory; the flag then
            // falls with the transaction.
            let _ = self
                .connection
                .compile_only("PRAGMA defer_foreign_keys = 0");
        }
    }
}

/// Why a piece cannot be restored, though nobody asked for anything wrong.
struct Obstacle {
    outcome: &'static str,
    note: String,
}

impl Obstacle {
    fn conflict(note: String) -> Obstacle {
        Obstacle {
            outcome: "conflict",
            note,
        }
    }
    fn constraint(note: String) -> Obstacle {
        Obstacle {
            outcome: "constraint",
            note,
        }
    }
}

/// What undoes a step.
enum Undo {
    /// Delete the row that was inserted.
    Delete { part: usize, key: Vec<Value> },
    /// Give a row its values back.
    Update {
        part: usize,
        key: Vec<Value>,
        values: Vec<Value>,
    },
    /// Insert the row that was deleted.
    Insert { part: usize, values: Vec<Value> },
}

impl Undo {
    /// The row as it was, where there was one.
    fn row_before(self) -> Option<(usize, Vec<Value>)> {
        match self {
            Undo::Update { part, values, .. } | Undo::Insert { part, values } => {
                Some((part, values))
            }
            Undo::Delete { .. } => None,
        }
    }
}

struct Work<'a> {
    database: &'a mut Database,
    kind: usize,
    guard: Rc<Guard>,
    key: &'a Key,
    undo: Vec<Undo>,
    notes: Vec<String>,
    lines: i64,
}

type Step = Result<std::result::Result<(), Obstacle>>;

/// A stored row fitted to today's table.
struct FittedRow<'a> {
    /// Today's columns that the image has values for.
    columns: &'a [String],
    values: Vec<Value>,
    key: Vec<Value>,
}

impl Work<'_> {
    fn restore(&mut self, stored: &Stored, exactly: bool) -> Step {
        let guard = Rc::clone(&self.guard);
        for part in &stored.parts {
            if !guard.parts.iter().any(|today| today.name == part.name) {
                self.notes.push(format!(
                    "{} is no longer a part of {}",
                    part.name, guard.kind
                ));
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
        if !is_there && let Err(obstacle) = self.restore_part(HEADER, header, stored)? {
            return Ok(Err(obstacle));
        }
        for (place, part) in guard.parts.iter().enumerate().skip(LINES) {
            match stored.part(&part.name) {
                Some(stored_part) => {
                    if let Err(obstacle) = self.restore_part(place, stored_part, stored)? {
                        return Ok(Err(obstacle));
                    }
                    if place == LINES {
                        self.lines = stored_part.rows.len() as i64;
                    }
                }
                None => self
                    .notes
                    .push(format!("the snapshot is older than the part {}", part.name)),
            }
        }
        if is_there {
            self.restore_part(HEADER, header, stored)
        } else {
            Ok(Ok(()))
        }
    }

    /// Restores the rows of one part.
    fn restore_part(&mut self, place: usize, stored: &StoredPart, image: &Stored) -> Step {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        let columns = self.columns_in_common(part, stored);
        let from: Vec<usize> = columns
            .iter()
            .filter_map(|column| stored.columns.iter().position(|name| name == column))
            .collect();
        let renamed = self.renamed_from(image);
        for row in &stored.rows {
            let mut values: Vec<Value> = from.iter().map(|place| row[*place].clone()).collect();
            let owner: &[String] = if place == HEADER {
                &part.key
            } else {
                &part.link
            };
            if renamed && (place == HEADER || part.parent == HEADER) {
                // The piece has another key by now: what is restored belongs to that.
                for (column, value) in owner.iter().zip(self.key.values()) {
                    if let Some(at) = columns.iter().position(|name| name == column) {
                        values[at] = value.clone();
                    }
                }
            }
            let key: Option<Vec<Value>> = part
                .key
                .iter()
                .map(|name| {
                    columns
                        .iter()
                        .position(|column| column == name)
                        .map(|at| values[at].clone())
                })
                .collect();
            let Some(key) = key else {
                return Ok(Err(Obstacle::constraint(format!(
                    "the snapshot has no values for the key {} of {}",
                    part.key.join(", "),
                    part.table.name
                ))));
            };
            if let Some(link) = part.link.iter().find(|link| !columns.contains(link)) {
                return Ok(Err(Obstacle::constraint(format!(
                    "the snapshot does not say in {link} what rows of {} belong to",
                    part.table.name
                ))));
            }
            let row = FittedRow {
                columns: &columns,
                values,
                key,
            };
            if let Err(obstacle) = self.restore_row(place, &row)? {
                return Ok(Err(obstacle));
            }
        }
        Ok(Ok(()))
    }

    /// Columns that image and table both have; the others are noted.
    fn columns_in_common(&mut self, part: &Part, stored: &StoredPart) -> Vec<String> {
        let gone: Vec<&String> = stored
            .columns
            .iter()
            .filter(|name| !part.columns.contains(name))
            .collect();
        let added: Vec<&String> = part
            .columns
            .iter()
            .filter(|name| !stored.columns.contains(name))
            .collect();
        let list = |names: &[&String]| {
            names
                .iter()
                .map(|name| name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        if !gone.is_empty() && !stored.rows.is_empty() {
            self.notes.push(format!(
                "columns gone from {}: {}",
                part.table.name,
                list(&gone)
            ));
        }
        if !added.is_empty() && !stored.rows.is_empty() {
            self.notes.push(format!(
                "columns new in {}, with their default: {}",
                part.table.name,
                list(&added)
            ));
        }
        part.columns
            .iter()
            .filter(|name| stored.columns.contains(name))
            .cloned()
            .collect()
    }

    /// Whether the image was taken while the piece had another key.
    fn renamed_from(&self, image: &Stored) -> bool {
        let Some(header) = image.part("header") else {
            return false;
        };
        let Some(row) = header.rows.first() else {
            return false;
        };
        let key: Vec<&Value> = self
            .guard
            .header()
            .key
            .iter()
            .filter_map(|name| header.columns.iter().position(|column| column == name))
            .filter_map(|at| row.get(at))
            .collect();
        !key.iter().copied().eq(self.key.values())
    }

    fn restore_row(&mut self, place: usize, row: &FittedRow<'_>) -> Step {
        let is_header_update =
            place == HEADER && self.database.own_key(self.kind, self.key)?.is_some();
        if !is_header_update {
            match self.insert(place, row)? {
                Ok(()) => {
                    self.undo.push(Undo::Delete {
                        part: place,
                        key: row.key.clone(),
                    });
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
                self.undo.push(Undo::Update {
                    part: place,
                    key: row.key.clone(),
                    values: present,
                });
                Ok(Ok(()))
            }
            Err(failure) => {
                let note = format!("{}: {failure}", self.row_name(place, &row.key));
                Ok(Err(Obstacle::constraint(note)))
            }
        }
    }

    /// When a row with this key belongs to another living piece: says so.
    fn owned_by_another(
        &mut self,
        place: usize,
        row: &FittedRow<'_>,
        present: &[Value],
    ) -> Result<Option<String>> {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        let link: Vec<Value> = part
            .places(&part.link)
            .iter()
            .map(|at| present[*at].clone())
            .collect();
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
            format!(
                "{} belongs to {} {owner} now",
                self.row_name(place, &row.key),
                guard.kind
            )
        }))
    }

    /// When a row with this key belongs to a living piece of another kind, and to none of this one: says so.
    fn owned_by_another_kind(
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
        if is_own && part.parent != HEADER || is_own && self.still_counts(place, &row.key)? {
            return Ok(None);
        }
        let owner = self.database.owner_of_another_kind(self.kind, place, &row.key, stored)?;
        Ok(owner.map(|(kind, owner)| {
            format!("{} belongs to {kind} {owner} now", self.row_name(place, &row.key))
        }))
    }

    /// Whether a row that is there satisfies the part's condition.
    fn still_counts(&mut self, place: usize, key: &[Value]) -> Result<bool> {
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

    /// Removes rows that the piece has today and the image has not, from the bottom up.
    fn remove_what_is_not_in(&mut self, stored: &Stored) -> Step {
        let guard = Rc::clone(&self.guard);
        for (place, part) in guard.parts.iter().enumerate().skip(LINES).rev() {
            let Some(stored_part) = stored.part(&part.name) else {
                continue;
            };
            let key_at: Vec<usize> = part
                .key
                .iter()
                .filter_map(|name| stored_part.columns.iter().position(|column| column == name))
                .collect();
            let kept: Vec<Vec<Value>> = stored_part
                .rows
                .iter()
                .map(|row| key_at.iter().map(|at| row[*at].clone()).collect())
                .collect();
            for values in self.present_rows(place)? {
                let key: Vec<Value> = part
                    .places(&part.key)
                    .iter()
                    .map(|at| values[*at].clone())
                    .collect();
                if kept.contains(&key) {
                    continue;
                }
                let name = self.row_name(place, &key);
                match self.delete(place, &key)? {
                    Ok(()) => self.undo.push(Undo::Insert {
                        part: place,
                        values,
                    }),
                    Err(failure) => {
                        return Ok(Err(Obstacle::constraint(format!("{name}: {failure}"))));
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    fn present_rows(&mut self, place: usize) -> Result<Vec<Vec<Value>>> {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        let schema = self.database.schema.clone();
        let sql = format!(
            "SELECT {} FROM {} WHERE {}{}",
            part.select_list(),
            part.from_clause(&schema),
            guard.belongs(place, &schema),
            part.and_condition()
        );
        let key: Vec<ValueRef<'_>> = self.key.values().iter().map(Value::as_ref).collect();
        let statement = self.database.statement(self.kind, &sql)?;
        let mut rows = statement.query(&key)?;
        let mut found = Vec::new();
        while rows.next()? {
            found.push(
                (0..part.columns.len())
                    .map(|column| rows.column(column).to_value())
                    .collect(),
            );
        }
        Ok(found)
    }

    /// The row with this key, whoever it belongs to: all stored columns.
    fn find(&mut self, place: usize, key: &[Value]) -> Result<Option<Vec<Value>>> {
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
            .first(&key, |row| {
                Ok((0..part.columns.len())
                    .map(|column| row.column(column).to_value())
                    .collect())
            })?)
    }

    fn insert(
        &mut self,
        place: usize,
        row: &FittedRow<'_>,
    ) -> Result<std::result::Result<(), Failure>> {
        let part = &self.guard.parts[place];
        // OR ABORT overrides a conflict clause of the schema, which might take another piece's row away.
        let sql = format!(
            "INSERT OR ABORT INTO {}.{}({}) VALUES ({})",
            quote_identifier(&self.database.schema),
            quote_identifier(&part.table.name),
            quote_list("", row.columns),
            parameters(row.columns.len()).join(", ")
        );
        self.try_run(&sql, &row.values)
    }

    fn update(
        &mut self,
        place: usize,
        columns: &[String],
        values: &[Value],
        key: &[Value],
    ) -> Result<std::result::Result<(), Failure>> {
        let part = &self.guard.parts[place];
        let set: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| format!("{} = ?{}", quote_identifier(column), at + 1))
            .collect();
        let sql = format!(
            "UPDATE OR ABORT {} SET {} WHERE {}",
            part.from_clause(&self.database.schema),
            set.join(", "),
            key_is(part, columns.len() + 1)
        );
        let values: Vec<Value> = values.iter().chain(key).cloned().collect();
        self.try_run(&sql, &values)
    }

    fn delete(&mut self, place: usize, key: &[Value]) -> Result<std::result::Result<(), Failure>> {
        let part = &self.guard.parts[place];
        let sql = format!(
            "DELETE FROM {} WHERE {}",
            part.from_clause(&self.database.schema),
            key_is(part, 1)
        );
        self.try_run(&sql, key)
    }

    /// Runs a change; a violated constraint comes back as what it is, anything else is an error.
    fn try_run(&mut self, sql: &str, values: &[Value]) -> Result<std::result::Result<(), Failure>> {
        let values: Vec<ValueRef<'_>> = values.iter().map(Value::as_ref).collect();
        match self.database.statement(self.kind, sql)?.run(&values) {
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

    /// Undoes every step, the last one first.
    fn take_back(&mut self) -> Result<()> {
        let guard = Rc::clone(&self.guard);
        while let Some(undo) = self.undo.pop() {
            let done = match undo {
                Undo::Delete { part, key } => self.delete(part, &key)?,
                Undo::Update { part, key, values } => {
                    self.update(part, &guard.parts[part].columns, &values, &key)?
                }
                Undo::Insert { part, values } => {
                    let row = FittedRow {
                        columns: &guard.parts[part].columns,
                        values,
                        key: Vec::new(),
                    };
                    self.insert(part, &row)?
                }
            };
            done?;
        }
        Ok(())
    }

    /// Finds the reference that nothing answers to, to name it.
    fn broken_reference(&mut self, stored: &Stored) -> Result<String> {
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
                let terms: Vec<String> = to
                    .iter()
                    .enumerate()
                    .map(|(at, column)| format!("{} = ?{}", quote_identifier(column), at + 1))
                    .collect();
                let sql = format!(
                    "SELECT 1 FROM {schema}.{} WHERE {}",
                    quote_identifier(&foreign_key.parent),
                    terms.join(" AND ")
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
                        let shown: Vec<String> =
                            values.iter().map(|value| value.describe()).collect();
                        return Ok(format!(
                            "{} {} {} is not in {} any more",
                            part.table.name,
                            foreign_key.from.join(", "),
                            shown.join(", "),
                            foreign_key.parent
                        ));
                    }
                }
            }
        }
        Ok("a foreign key would be violated".to_owned())
    }

    fn row_name(&self, place: usize, key: &[Value]) -> String {
        let part = &self.guard.parts[place];
        format!("{} {}", part.table.name, Key::of(key.to_vec()))
    }
}

/// `key = ?first AND …`, as an alias of the part.
fn key_is(part: &Part, first: usize) -> String {
    let terms: Vec<String> = part
        .key
        .iter()
        .enumerate()
        .map(|(at, column)| {
            format!(
                "{}.{} = ?{}",
                part.alias,
                quote_identifier(column),
                first + at
            )
        })
        .collect();
    terms.join(" AND ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_of_values_is_told_from_a_query_and_from_several_rows() {
        assert!(inserts_one_row("INSERT INTO talon_restore(kind, piece) VALUES ('a(', (SELECT max(id) FROM t));"));
        assert!(!inserts_one_row("INSERT INTO talon_restore(kind, piece) VALUES ('a', 1), ('b', (SELECT 2))"));
        assert!(!inserts_one_row("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost"));
        assert!(!inserts_one_row("INSERT INTO talon_restore(\"values\", piece) SELECT 'it''s', (1)"));
    }
}
