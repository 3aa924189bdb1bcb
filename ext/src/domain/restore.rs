//! Restoring a piece from a snapshot: verbatim, whole or not at all.
//!
//! A restore runs inside the INSERT that asks for it, where SQLite allows no savepoint. So each step notes what undoes
//! it, and a piece that cannot be restored whole is put back as it was while the others go on.

use super::database::Database;
use super::derived::{Asker, Corrections};
use super::rebuild::{Obstacle, Undo, Work};
use super::rebuild_rows::BrokenReference;
use super::settle::{Circumstances, Reason};
use super::snapshot::{Head, Stored};
use super::talon::{Place, Talon};
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Room, Value, ValueRef, gather};
use crate::storage::key::Key;
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
        Outcome { text, snapshot, lines: None, notes: vec![note] }
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
        self.wait_to_write(schema)?;
        let place =
            self.look(schema, Some(kind))?.ok_or_else(|| Error::NotInstalled(schema.to_owned()))?;
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
        let silenced = database.writes_under_triggers(place.kind)?;
        if silenced && self.reads_on() {
            // Silencing the host's triggers would end the query that names the pieces.
            drop(databases);
            self.enlist()?;
            self.waiting.borrow_mut().try_push(request)?;
            return Ok(0);
        }
        // So that a rollback is told to us: rows that the restore makes are remembered.
        drop(databases);
        self.enlist()?;
        let mut databases = self.databases()?;
        let database = &mut databases[place.database];
        let result = self.quietly(|| self.restore(database, &place, &request, choice, silenced));
        drop(databases);
        self.course.borrow_mut().forget_states();
        Ok(result?.0)
    }

    /// Gives a piece that was found without lines its lines back, in the transaction that is open; false when that cannot
    /// be done. The journal says why.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn recover(&self, place: &Place, key: &Key) -> Result<bool> {
        let touched = self.is_touched(place, key);
        let mut databases = self.databases()?;
        let database = &mut databases[place.database];
        let choice = match choose(database, place.kind, key, None, touched) {
            Ok(choice) => choice,
            Err(Error::NoSnapshot { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let silenced = database.writes_under_triggers(place.kind)?;
        if silenced && self.connection.running_write().is_some() {
            return Err(Error::Argument(
                "it restores a piece here, which a statement that writes does not allow: SELECT it"
                    .to_owned(),
            ));
        }
        let request = Request {
            schema: database.schema.clone(),
            kind: database.kinds[place.kind].name.clone(),
            key: key.clone(),
            snapshot: None,
            dry_run: false,
        };
        drop(databases);
        self.enlist()?;
        let mut databases = self.databases()?;
        let database = &mut databases[place.database];
        let (_, outcome) = self.restore(database, place, &request, choice, silenced)?;
        Ok(outcome.starts_with("restored"))
    }

    /// Whether the open transaction has changed the piece.
    pub(super) fn is_touched(&self, place: &Place, key: &Key) -> bool {
        self.course.borrow().has_changed(Database::slot(place.database, place.kind), key)
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
            self.restore_laid_by(&request, true)?;
        }
        Ok(())
    }

    /// Carries out a request that was in order when it was laid by; gives its outcome.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn restore_laid_by(
        &self,
        request: &Request,
        silenced: bool,
    ) -> Result<&'static str> {
        let place = self.kind_place(&request.schema, &request.kind)?;
        let mut databases = self.databases()?;
        let database = &mut databases[place.database];
        let touched = self.is_touched(&place, &request.key);
        let outcome = match choose(database, place.kind, &request.key, request.snapshot, touched) {
            Ok(choice) => self.restore(database, &place, request, choice, silenced)?.1,
            Err(error) if error.is_fatal() => return Err(error),
            // Somebody has restored, filled or deleted it since.
            Err(error) => {
                let outcome = Outcome::failed("not needed", None, error.to_string());
                self.journal(database, request, &outcome)?;
                outcome.text
            }
        };
        drop(databases);
        self.course.borrow_mut().forget_states();
        Ok(outcome)
    }

    /// Restores from the first sound snapshot; gives the journal row and the outcome.
    fn restore(
        &self,
        database: &mut Database,
        place: &Place,
        request: &Request,
        choice: Choice,
        silenced: bool,
    ) -> Result<(i64, &'static str)> {
        if let Some(edit) = self.edit_of_another(database, place.kind, &request.key)? {
            // What that station has on its screen would be written over what is restored.
            let note = format!("being edited {}", edit.describe(&self.clock));
            let outcome = Outcome::failed("being edited", None, note);
            return Ok((self.journal(database, request, &outcome)?, outcome.text));
        }
        let mut passed = Vec::new();
        let mut sound = None;
        for head in &choice.candidates {
            match database.stored(head.id) {
                Ok(mut stored) => {
                    let guard = database.guard(place.kind)?;
                    stored.follow_renames(&guard);
                    stored.belong_to(&request.key, &guard)?;
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
            None => Outcome { text: "unreadable", snapshot: None, lines: None, notes: passed },
            Some(stored) => {
                let mut outcome =
                    self.restore_from(database, place, request, &stored, choice.named, silenced)?;
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
        Ok((self.journal(database, request, &outcome)?, outcome.text))
    }

    fn restore_from(
        &self,
        database: &mut Database,
        place: &Place,
        request: &Request,
        stored: &Stored,
        exactly: bool,
        silenced: bool,
    ) -> Result<Outcome> {
        let kind = place.kind;
        let guard = database.guard(kind)?;
        let who = self.station().clone();
        let emptied = database.emptied_neighbours(kind, stored)?;
        let header_now = database.present_header(kind, &request.key)?;
        if exactly && !request.dry_run {
            // What a point in time replaces can be had back.
            let about = Circumstances::of(Reason::Before, self.clock.now_ms());
            database.settle(&self.clock, who.as_ref(), kind, &request.key, None, about)?;
        }
        let asker = Asker { clock: &self.clock, who: who.as_ref() };
        let mut corrections = Corrections::begin(database, kind, &request.key, request.dry_run)?;
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
            let broken = work.broken_reference(stored)?;
            result = Ok(Err(Obstacle::constraint(match broken {
                Some(BrokenReference { table, columns, values, parent }) => {
                    let shown: Vec<String> = values.iter().map(Value::to_string).collect();
                    format!("{table} {columns} {} is not in {parent} any more", shown.join(", "))
                }
                None => "a foreign key would be violated".to_owned(),
            })));
        }
        if matches!(result, Ok(Ok(()))) {
            corrections.apply(work.database, &asker)?;
        }
        let undone = match &result {
            Ok(Ok(())) => request.dry_run,
            Ok(Err(_)) => true,
            Err(_) => false,
        };
        if undone {
            corrections.take_back(work.database, 0)?;
            work.take_back()?;
        }
        let (notes, lines) = (std::mem::take(&mut work.notes), work.lines);
        let before =
            gather(std::mem::take(&mut work.undo).into_iter().filter_map(Undo::row_before))?;
        drop(silence);
        let mut notes = notes;
        if let Some(header) = &header_now {
            notes.extend(header.overwritten(stored, &guard));
        }
        notes.append(&mut corrections.notes);
        match result? {
            Err(obstacle) => Ok(Outcome::failed(obstacle.outcome, Some(stored.id), obstacle.note)),
            Ok(()) => {
                if !request.dry_run {
                    if let Some(header) = header_now
                        && header.overwritten(stored, &guard).is_some()
                    {
                        // The piece had no lines, and so no image since: what its header said is kept here.
                        let at = self.clock.now_ms();
                        database.keep_header(
                            &self.clock,
                            who.as_ref(),
                            kind,
                            &request.key,
                            header,
                            at,
                        )?;
                    }
                    let about = Circumstances::of(Reason::Restore, self.clock.now_ms());
                    database.settle(&self.clock, who.as_ref(), kind, &request.key, None, about)?;
                    self.half_restore(database, place, &request.key, emptied)?;
                    database.settle_neighbours(&self.clock, who.as_ref(), kind, stored, &before)?;
                    corrections.settle(database, &asker)?;
                }
                let text = if request.dry_run { "would restore" } else { "restored" };
                Ok(Outcome { text, snapshot: Some(stored.id), lines: Some(lines), notes })
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
        let shown = request.key.shown()?;
        let optional = |value: Option<i64>| value.map_or(ValueRef::Null, ValueRef::Integer);
        let insert = database.own_statement(
            "INSERT INTO {s}.talon_restored(at, kind, piece, snapshot, lines, outcome, note, station, dry_run)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, nullif(?7, ''), ?8, ?9)",
        )?;
        insert.run(&[
            ValueRef::Integer(self.clock.now_ms()),
            ValueRef::Text(request.kind.as_bytes()),
            shown.as_ref(),
            optional(outcome.snapshot),
            optional(outcome.lines),
            ValueRef::Text(outcome.text.as_bytes()),
            ValueRef::Text(note.as_bytes()),
            optional(station),
            ValueRef::Integer(i64::from(request.dry_run)),
        ])?;
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
    let is_record = database.guard(kind)?.is_of_records();
    let id = database.kinds[kind].id;
    let state = database.store()?.piece(id, &key.shown()?)?;
    if !is_there && state.is_none() {
        return Err(Error::UnknownPiece { kind: kind_name, piece });
    }
    let last = state.as_ref().and_then(|state| state.last);
    if let Some(named) = snapshot {
        let chain = database.chain(last)?;
        let Some(place) = chain.iter().position(|id| *id == named) else {
            // Of a piece that had this key before another one took it.
            if let Some(head) = database.head_under(kind, key, named)? {
                return Ok(Choice { candidates: vec![head], named: true });
            }
            let known: Vec<String> = chain.iter().map(i64::to_string).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Error::NoSnapshot {
                kind: kind_name,
                piece,
                detail: format!(" {named}; it has: {known}"),
            });
        };
        let mut candidates = Vec::new();
        for id in &chain[place..] {
            // In place of a damaged one an older image may be taken, but never one without lines.
            let head = database.head(*id)?;
            candidates.extend(head.filter(|head| *id == named || is_record || head.lines > 0));
        }
        return Ok(Choice { candidates, named: true });
    }
    // Lines that it shares with another piece came back with that one: it is still to be made whole.
    let is_lost = !touched && state.as_ref().is_some_and(|state| state.lost_at.is_some());
    if lines > 0 && !is_lost {
        return Err(Error::HasLines { kind: kind_name, piece, lines });
    }
    if !is_there && state.as_ref().is_some_and(|state| state.gone_at.is_some()) {
        return Err(Error::Deleted { kind: kind_name, piece });
    }
    if is_record && is_there {
        return Err(Error::NothingLost { kind: kind_name, piece });
    }
    let candidates = database.candidates(kind, last)?;
    if candidates.is_empty() {
        let detail = if last.is_some() { " with lines" } else { "" };
        return Err(Error::NoSnapshot { kind: kind_name, piece, detail: detail.to_owned() });
    }
    Ok(Choice { candidates, named: false })
}

/// Foreign keys wait until a piece is whole; the host's triggers stay quiet where it has some.
struct Silence {
    connection: Connection,
    deferred: bool,
    _triggers: Option<TriggersOff>,
}

impl Silence {
    fn begin(connection: Connection, silenced: bool) -> Result<Silence> {
        let deferred =
            matches!(connection.value("PRAGMA defer_foreign_keys", &[])?, Some(Value::Integer(1)));
        if !deferred {
            connection.compile_only("PRAGMA defer_foreign_keys = 1")?;
        }
        let triggers = silenced.then(|| TriggersOff::begin(connection));
        Ok(Silence { connection, deferred, _triggers: triggers })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // With the flag SQLite drops its count of what is still to be mended before COMMIT, newer ones also of keys that are
        // declared deferred: where the host has left something, all stay deferred to the end of its transaction.
        if !self.deferred && !self.connection.has_pending_foreign_keys() {
            // Compiling a pragma that was compiled before cannot fail for want of anything but memory; the flag then
            // falls with the transaction.
            let _ = self.connection.compile_only("PRAGMA defer_foreign_keys = 0");
        }
    }
}

/// The host's triggers stay quiet as long as this lives.
pub(super) struct TriggersOff {
    connection: Connection,
    enabled: bool,
}

impl TriggersOff {
    pub(super) fn begin(connection: Connection) -> TriggersOff {
        TriggersOff { connection, enabled: connection.set_triggers(false) }
    }
}

impl Drop for TriggersOff {
    fn drop(&mut self) {
        self.connection.set_triggers(self.enabled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_of_values_is_told_from_a_query_and_from_several_rows() {
        assert!(inserts_one_row(
            "INSERT INTO talon_restore(kind, piece) VALUES ('a(', (SELECT max(id) FROM t));"
        ));
        assert!(!inserts_one_row(
            "INSERT INTO talon_restore(kind, piece) VALUES ('a', 1), ('b', (SELECT 2))"
        ));
        assert!(!inserts_one_row(
            "INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost"
        ));
        assert!(!inserts_one_row(
            "INSERT INTO talon_restore(\"values\", piece) SELECT 'it''s', (1)"
        ));
    }
}
