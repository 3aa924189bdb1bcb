//! Marks that connections without Talon leave: their pieces are imaged and listed.

use super::course::Entry;
use super::database::Database;
use super::settle::{Circumstances, Reason};
use super::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Room, Value, ValueRef};
use crate::storage::guard::HEADER;
use crate::storage::key::Key;
use crate::storage::shape::quote_identifier;
use crate::storage::trigger::{Code, Event};

/// How a deletion that marks tell of is listed.
pub(super) const DELETED: &str = "deleted on a connection without Talon";

struct Mark {
    rowid: i64,
    code: Option<Code>,
    values: Vec<Value>,
}

/// A piece that marks speak of.
struct Marked {
    kind: usize,
    key: Key,
    deleted: bool,
    created: bool,
    /// A mark speaks of it; otherwise it is compared because it may have changed.
    marked: bool,
}

impl Talon {
    /// Absorbs all marks in a schema; gives how many pieces were imaged or found lost or gone.
    ///
    /// # Errors
    /// What SQLite reports; the marks then stay.
    pub fn absorb(&self, place: usize) -> Result<i64> {
        let schema = self.databases()?[place].schema.clone();
        let result = self.atomically(&schema, || {
            let mut databases = self.databases()?;
            let database = &mut databases[place];
            database.refresh()?;
            let mut count = 0;
            loop {
                let (absorbed, marks) = self.absorb_batch(database, 1000)?;
                count += absorbed;
                if marks < 1000 {
                    return Ok(count);
                }
            }
        });
        // Another hand than the transaction's own has written what its pieces are compared with.
        self.course.borrow_mut().forget_states();
        result
    }

    /// Absorbs some marks, as part of a commit.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn absorb_some(&self, database: &mut Database, most: usize) -> Result<()> {
        if database.has_marks()? {
            self.absorb_batch(database, most)?;
        }
        Ok(())
    }

    /// An image could not be taken for a reason that is no reason to refuse the host's commit: leaves a mark instead.
    pub(super) fn owe(&self, database: &mut Database, entry: &Entry, why: &Error) -> Result<()> {
        let id = database.kinds[entry.slot.kind as usize].id;
        let at = self.clock.now_ms();
        let day = self.clock.day(at);
        let detail = format!("not imaged at commit: {why}");
        let shown = entry.key.shown()?;
        self.own_marks.set(true);
        // The mark first: what it says alone is listed when it is absorbed.
        let noted = database
            .leave_mark(id, Event::Touch, &[&entry.key])
            .and_then(|()| database.store())
            .and_then(|store| store.insert_unguarded(id, &shown, at, &day, &detail));
        match noted {
            // Not even that can be written (an authorizer, a table that is gone): left to the audit.
            Err(error) if !error.is_fatal() => {
                self.incomplete.set(true);
                Ok(())
            }
            other => other,
        }
    }

    /// Whether the commit may go on without what this error has stopped: it concerns the image alone, and SQLite has not
    /// rolled the transaction back over it.
    pub(super) fn may_go_on(&self, error: &Error) -> bool {
        !error.is_fatal() && !error.is_readonly() && self.connection.is_writing()
    }

    /// Absorbs marks so that what is done when it is stopped is whole: renames are followed all at once, pieces are
    /// stored one by one, and the marks go last. What was stored already is found unchanged the next time.
    fn absorb_batch(&self, database: &mut Database, most: usize) -> Result<(i64, usize)> {
        database.gather_marks()?;
        let gone = database.follow_marks(&self.clock)?;
        let marks = database.marks(most)?;
        let mut pieces: Vec<Marked> = Vec::new();
        let mut done: Vec<i64> = Vec::new();
        for mark in &marks {
            let Some(code) = mark.code else {
                done.push(mark.rowid);
                continue;
            };
            let Some(kind) = database.place_of(code.kind) else {
                // Unguarded since: nobody asks for these pieces any more.
                done.push(mark.rowid);
                continue;
            };
            // A guard that does not fit any more keeps its marks until it is declared anew.
            if !database.fits(kind)? {
                continue;
            }
            database.pieces_of(kind, code, &mark.values, &mut pieces)?;
            done.push(mark.rowid);
        }
        let mut count = gone as i64;
        for piece in pieces {
            count += i64::from(self.absorb_piece(database, &piece)?);
        }
        database.remove_marks(&done)?;
        // Marks that stay must not be read over and over.
        Ok((count, if done.len() < marks.len() { 0 } else { marks.len() }))
    }

    fn absorb_piece(&self, database: &mut Database, piece: &Marked) -> Result<bool> {
        let at = self.clock.now_ms();
        let about = Circumstances {
            created: piece.created,
            deleted: piece.deleted,
            reason: Reason::Unguarded,
            at,
        };
        let weighed =
            database.weigh(self.station().as_ref(), piece.kind, &piece.key, None, about)?;
        if !weighed.changes() {
            return Ok(false);
        }
        if weighed.reason == Some(Reason::Before) && !piece.marked {
            database.keep(&self.clock, piece.kind, weighed, None)?;
            return Ok(true);
        }
        let mut detail = match (weighed.reason, &weighed.now) {
            (Some(_), _) => "changed on a connection without Talon",
            (None, Some(now)) if now.gone_at.is_some() => DELETED,
            (None, Some(now)) if now.lost_at.is_some() => {
                "lost its lines on a connection without Talon"
            }
            _ => "changed and changed back on a connection without Talon",
        }
        .to_owned();
        if database.kinds[piece.kind].definition.enforces_edits()
            && let Some(edit) = database.edit(piece.kind, &weighed.key)?
        {
            // Whoever it was, on such a connection it was not the station that has the piece.
            detail.push_str(&format!(", while it was being edited {}", edit.describe(&self.clock)));
        }
        database.keep(&self.clock, piece.kind, weighed, Some(&detail))?;
        Ok(true)
    }
}

impl Database {
    fn marks(&self, most: usize) -> Result<Vec<Mark>> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT rowid, code, k1, k2, k3, k4, k5, k6, k7, k8 FROM {}.talon_touched ORDER BY rowid LIMIT ?1",
            quote_identifier(&self.schema)
        ))?;
        let mut rows = statement.query(&[ValueRef::Integer(most as i64)])?;
        let mut marks = Vec::new();
        while rows.next()? {
            marks.try_push(Mark {
                rowid: rows.column(0).as_integer().unwrap_or(0),
                code: rows.column(1).as_integer().and_then(Code::from_number),
                values: rows.values(2..10)?,
            })?;
        }
        Ok(marks)
    }

    fn remove_marks(&self, rowids: &[i64]) -> Result<()> {
        let mut statement = self.connection.prepare(&format!(
            "DELETE FROM {}.talon_touched WHERE rowid = ?1",
            quote_identifier(&self.schema)
        ))?;
        for rowid in rowids {
            statement.run(&[ValueRef::Integer(*rowid)])?;
        }
        Ok(())
    }

    /// Which pieces a mark speaks of.
    fn pieces_of(
        &mut self,
        kind: usize,
        code: Code,
        values: &[Value],
        pieces: &mut Vec<Marked>,
    ) -> Result<()> {
        let guard = self.guard(kind)?;
        let Some(part) = guard.parts.get(code.part) else {
            return Ok(());
        };
        let width = if code.part == HEADER { guard.header().key.len() } else { part.link.len() };
        let is_deep = code.part != HEADER && part.parent != HEADER;
        let mut keys: Vec<Option<Key>> = Vec::new();
        for columns in values.chunks_exact(width).take(2) {
            let columns = columns.to_vec();
            if columns.iter().any(|value| value.as_ref().is_null()) {
                keys.push(None);
                continue;
            }
            let columns =
                if is_deep { self.piece_of(kind, code.part, columns)? } else { Some(columns) };
            keys.push(columns.map(Key::of));
        }
        let two = code.part != HEADER || code.event == Event::Renamed;
        for key in keys.into_iter().take(if two { 2 } else { 1 }).flatten() {
            let key = self.own_key(kind, &key)?.unwrap_or(key);
            let place = pieces.iter().position(|piece| piece.kind == kind && piece.key == key);
            let place = place.unwrap_or_else(|| {
                pieces.push(Marked { kind, key, deleted: false, created: false, marked: true });
                pieces.len() - 1
            });
            pieces[place].deleted |= code.event == Event::Deleting;
            pieces[place].created |= code.part == HEADER && code.event == Event::Inserted;
        }
        Ok(())
    }
}

impl Talon {
    /// Absorbs all marks, and compares every piece of a kind that may have changed unseen with its last image; gives how
    /// many pieces were imaged or found lost or gone.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn absorb_everything(&self, place: usize) -> Result<i64> {
        self.mend_triggers(place)?;
        let absorbed = self.absorb(place)?;
        let schema = self.databases()?[place].schema.clone();
        let compared = self.atomically(&schema, || {
            let mut databases = self.databases()?;
            let database = &mut databases[place];
            let mut count = 0;
            for kind in database.guarded_kinds() {
                if database.kinds[kind].suspect_since.is_some() && database.fits(kind)? {
                    count += self.compare_kind(database, kind)?;
                }
            }
            Ok(count)
        })?;
        self.course.borrow_mut().forget_states();
        Ok(absorbed + compared)
    }

    fn compare_kind(&self, database: &mut Database, kind: usize) -> Result<i64> {
        let id = database.kinds[kind].id;
        let columns = database.guard(kind)?.header().key.len();
        let schema = quote_identifier(&database.schema);
        let mut keys = Vec::new();
        {
            let mut scan = database.connection.prepare(&format!(
                "SELECT key FROM {schema}.talon_piece WHERE kind = ?1 AND saved = 1 AND gone_at IS NULL"
            ))?;
            let mut rows = scan.query(&[ValueRef::Integer(id)])?;
            while rows.next()? {
                if let Some(key) = Key::from_shown(rows.column(0), columns)? {
                    keys.try_push(key)?;
                }
            }
        }
        let mut count = 0;
        for key in keys {
            let piece = Marked { kind, key, deleted: false, created: false, marked: false };
            count += i64::from(self.absorb_piece(database, &piece)?);
        }
        database.connection.run(
            &format!("UPDATE {schema}.talon_kind SET suspect_since = NULL WHERE id = ?1"),
            &[ValueRef::Integer(id)],
        )?;
        database.kinds[kind].suspect_since = None;
        Ok(count)
    }
}
