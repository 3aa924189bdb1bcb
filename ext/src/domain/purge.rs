//! Old snapshots go, but never the last one of a piece that has lost its lines, or its header by no DELETE.

use super::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Room, RoomForKeys, Value, ValueRef};
use crate::storage::shape::quote_identifier;
use std::collections::{HashMap, HashSet};

/// What a purge did. All counts but the first are snapshots.
#[derive(Debug, Default)]
pub(super) struct Purged {
    /// Pieces that it found without their lines.
    pub(super) lost: i64,
    pub(super) purged: i64,
    pub(super) kept_lost: i64,
    pub(super) kept_edited: i64,
    kept_last: i64,
    pub(super) notes: Vec<String>,
}

/// It belongs to a piece that has lost its lines or its header, or was deposited and is yet to be written.
const KEPT: &str = "EXISTS (SELECT 1 FROM {s}.talon_piece AS p WHERE p.kind = s.kind AND p.saved = 1 AND p.key = s.key
    AND (p.lost_at IS NOT NULL OR p.version < 0))";
/// It is the newest of a living piece.
const NEWEST: &str = "EXISTS (SELECT 1 FROM {s}.talon_piece AS p WHERE p.kind = s.kind AND p.saved = 1 AND p.key = s.key
    AND p.last = s.id AND p.gone_at IS NULL)";

/// The open transaction has touched its piece, and it says what that was before.
const TOUCHED: &str = "s.id IN (SELECT -t.id FROM {s}.talon_tally AS t WHERE t.id < 0)";

/// A station has its piece open, and it was not deleted meanwhile.
const EDITED: &str = "EXISTS (SELECT 1 FROM {s}.talon_edit AS e WHERE e.kind = s.kind AND e.key = s.key) AND NOT EXISTS
    (SELECT 1 FROM {s}.talon_piece AS p WHERE p.kind = s.kind AND p.saved = 1 AND p.key = s.key AND p.gone_at IS NOT NULL)";

/// Four digits, two and two, and such a day in the calendar: days are compared as texts.
fn is_day(text: &str) -> bool {
    let is_shaped = text.len() == 10
        && text.bytes().enumerate().all(|(place, byte)| match place {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_shaped && chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

impl Talon {
    /// Removes the snapshots of the days before `before`, except those of lost pieces (all of them) and, with
    /// `keep_last`, the newest of each living piece; gives the journal row.
    ///
    /// # Errors
    /// [`Error::Argument`] when `before` is no day.
    pub fn purge(&self, schema: &str, before: &str, keep_last: bool) -> Result<i64> {
        if !is_day(before) {
            return Err(Error::Argument(format!(
                "before is no day: {before:?}; give one such as '2026-11-21'"
            )));
        }
        let place = self.database_to_write(schema)?;
        let result = self.atomically(schema, || self.purge_database(place, before, keep_last));
        self.course.borrow_mut().forget_states();
        Ok(result?.0)
    }

    /// The same in a transaction that is open; gives the journal row, and what was done.
    pub(super) fn purge_database(
        &self,
        place: usize,
        before: &str,
        keep_last: bool,
    ) -> Result<(i64, Purged)> {
        let mut purged = Purged::default();
        self.release_edits_of_deleted(place, before)?;
        let databases = self.databases()?;
        let schema = quote_identifier(&databases[place].schema);
        drop(databases);
        let fill = |sql: &str| sql.replace("{s}", &schema);
        let day = ValueRef::Text(before.as_bytes());
        let number = |sql: &str, values: &[ValueRef<'_>]| -> Result<i64> {
            match self.connection.value(&fill(sql), values)? {
                Some(Value::Integer(number)) => Ok(number),
                _ => Ok(0),
            }
        };
        let newest_id = number("SELECT max(id) FROM {s}.talon_snapshot", &[])?;
        // Looked at from the young end: the first old one ends the search.
        let newest_old = number(
            "SELECT id FROM {s}.talon_snapshot WHERE day < ?1 ORDER BY id DESC LIMIT 1",
            &[day],
        )?;
        let kept_kinds = self.mark_lost(place, newest_old, &mut purged)?;
        let kinds: Vec<String> = kept_kinds.iter().map(i64::to_string).collect();
        let old = format!("s.day < ?1 AND s.kind > 0 AND s.kind NOT IN ({})", kinds.join(", "));
        let some_lost = number(
            "SELECT count(*) FROM {s}.talon_piece WHERE saved = 1 AND (lost_at IS NOT NULL OR version < 0)",
            &[],
        )? > 0;
        let mut condition = old.clone();
        let any_touched = self.note_touched(place)?;
        let is_any_edited = number("SELECT EXISTS (SELECT 1 FROM {s}.talon_edit)", &[])? > 0;
        if any_touched || is_any_edited {
            let edited = format!("({TOUCHED} OR {EDITED})");
            purged.kept_edited = number(
                &format!("SELECT count(*) FROM {{s}}.talon_snapshot AS s WHERE {old} AND {edited}"),
                &[day],
            )?;
            condition.push_str(&format!(" AND NOT {edited}"));
        }
        // What is kept for two reasons is counted once.
        let old = condition.clone();
        if some_lost {
            purged.kept_lost = number(
                &format!("SELECT count(*) FROM {{s}}.talon_snapshot AS s WHERE {old} AND {KEPT}"),
                &[day],
            )?;
            condition.push_str(&format!(" AND NOT {KEPT}"));
            let staged = number(
                "SELECT count(*) FROM {s}.talon_piece AS p JOIN {s}.talon_snapshot AS s ON s.id = p.last
                 WHERE p.saved = 1 AND p.version < 0 AND s.day < ?1",
                &[day],
            )?;
            if staged > 0 {
                purged
                    .notes
                    .push(format!("deposited and never written: {staged}, see talon_audit"));
            }
        }
        let unsent = self.databases()?[place].unsent_condition()?;
        if let Some(unsent) = unsent {
            let count = number(
                &format!(
                    "SELECT count(*) FROM {{s}}.talon_snapshot AS s WHERE {condition} AND {unsent}"
                ),
                &[day],
            )?;
            if count > 0 {
                purged.notes.push(format!("kept what other sites are yet to get: {count}"));
                condition.push_str(&format!(" AND NOT {unsent}"));
            }
        }
        if keep_last {
            purged.kept_last = number(
                &format!(
                    "SELECT count(*) FROM {{s}}.talon_snapshot AS s WHERE {condition} AND {NEWEST}"
                ),
                &[day],
            )?;
            condition.push_str(&format!(" AND NOT {NEWEST}"));
        }
        self.connection.run(
            &fill(&format!("DELETE FROM {{s}}.talon_snapshot AS s WHERE {condition}")),
            &[day],
        )?;
        purged.purged = i64::from(self.connection.changes());
        if purged.purged > 0 {
            self.connection.run(
                &fill(
                    // What other sites know is told by its hash from what they do not.
                    "UPDATE {s}.talon_piece AS p SET saved = 0, last = NULL,
                       hash = CASE WHEN change IS NULL THEN NULL ELSE hash END
                     WHERE saved = 1 AND NOT EXISTS (SELECT 1 FROM {s}.talon_snapshot AS s WHERE s.id = p.last)",
                ),
                &[],
            )?;
            self.keep_ids_growing(&schema, newest_id)?;
        }
        self.connection.run(&fill("DELETE FROM {s}.talon_unguarded WHERE day < ?1"), &[day])?;
        if any_touched {
            self.connection.run(&fill("DELETE FROM {s}.talon_tally WHERE id < 0"), &[])?;
        }
        let younger = number(
            "SELECT EXISTS (SELECT 1 FROM {s}.talon_snapshot WHERE day >= ?1 AND id < ?2)",
            &[day, ValueRef::Integer(newest_old)],
        )?;
        if purged.purged > 0 && younger == 1 {
            self.relink(&schema)?;
        }
        let journal = self.journal_purge(place, &schema, before, keep_last, &purged)?;
        Ok((journal, purged))
    }

    fn release_edits_of_deleted(&self, place: usize, before: &str) -> Result<()> {
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        for kind in database.guarded_kinds() {
            if database.fits(kind)? {
                self.release_deleted(database, kind, before)?;
            }
        }
        Ok(())
    }

    /// Notes the newest snapshots of the pieces that the open transaction has touched, all that says what they were before,
    /// as negative rows of `talon_tally`, which are gone again when the purge is over; false when there are none.
    fn note_touched(&self, place: usize) -> Result<bool> {
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        let mut any = false;
        for (kind, key) in self.course.borrow().touched_in(place) {
            let id = database.kinds[kind].id;
            let state = database.store()?.piece(id, &key.shown()?)?;
            if let Some(last) = state.and_then(|state| state.last) {
                let note = "INSERT OR IGNORE INTO {s}.talon_tally(id, value) VALUES (-?1, 0)";
                database.own_statement(note)?.run(&[ValueRef::Integer(last)])?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Notes on every piece whether it is lost today, or its header is gone and its last snapshot would be now; gives the kinds whose pieces cannot be looked at, which keep all.
    fn mark_lost(&self, place: usize, newest_old: i64, purged: &mut Purged) -> Result<Vec<i64>> {
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        let schema = quote_identifier(&database.schema);
        let mut kept = vec![0];
        let at = self.clock.now_ms();
        for kind in database.guarded_kinds() {
            let id = database.kinds[kind].id;
            if let Err(error) = database.fitted(kind) {
                if error.is_fatal() {
                    return Err(error);
                }
                purged.notes.push(format!("kept all of {}: {error}", database.kinds[kind].name));
                kept.push(id);
                continue;
            }
            let mut lost: HashSet<Value> = HashSet::new();
            for piece in self.lost(database, kind, None)? {
                lost.make_room(1)?;
                lost.insert(piece.key.shown()?);
            }
            purged.lost += lost.len() as i64;
            for key in database.vanished(kind, newest_old)? {
                lost.make_room(1)?;
                lost.insert(key.shown()?);
            }
            let mut known = HashSet::new();
            {
                let mut scan = self.connection.prepare(&format!(
                    "SELECT key FROM {schema}.talon_piece WHERE kind = ?1 AND saved = 1 AND lost_at IS NOT NULL"
                ))?;
                let mut rows = scan.query(&[ValueRef::Integer(id)])?;
                while rows.next()? {
                    known.make_room(1)?;
                    known.insert(rows.column(0).to_value()?);
                }
            }
            let mut set = self.connection.prepare(&format!(
                "UPDATE {schema}.talon_piece SET lost_at = ?3 WHERE kind = ?1 AND saved = 1 AND key = ?2"
            ))?;
            for key in lost.difference(&known) {
                set.run(&[ValueRef::Integer(id), key.as_ref(), ValueRef::Integer(at)])?;
            }
            for key in known.difference(&lost) {
                set.run(&[ValueRef::Integer(id), key.as_ref(), ValueRef::Null])?;
            }
        }
        let unguarded = self.unguarded_kinds(&schema)?;
        for (id, name) in unguarded {
            purged.notes.push(format!(
                "kept all of {name}: it is not guarded, so nobody can tell which are lost"
            ));
            kept.push(id);
        }
        Ok(kept)
    }

    fn unguarded_kinds(&self, schema: &str) -> Result<Vec<(i64, String)>> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT id, kind FROM {schema}.talon_kind AS k WHERE guarded = 0
               AND EXISTS (SELECT 1 FROM {schema}.talon_piece AS p WHERE p.kind = k.id AND p.saved = 1)"
        ))?;
        let mut rows = statement.query(&[])?;
        let mut found = Vec::new();
        while rows.next()? {
            let name = rows.column(1).as_str().unwrap_or_default().to_owned();
            found.push((rows.column(0).as_integer().unwrap_or(0), name));
        }
        Ok(found)
    }

    /// An id is never given twice: where the newest snapshot went, an empty row keeps its id.
    fn keep_ids_growing(&self, schema: &str, newest: i64) -> Result<()> {
        self.connection.run(
            &format!("DELETE FROM {schema}.talon_snapshot WHERE kind = 0 AND id < ?1"),
            &[ValueRef::Integer(newest)],
        )?;
        self.connection.run(
            &format!(
                "INSERT INTO {schema}.talon_snapshot(id, kind) SELECT ?1, 0
                 WHERE NOT EXISTS (SELECT 1 FROM {schema}.talon_snapshot WHERE id >= ?1)"
            ),
            &[ValueRef::Integer(newest)],
        )?;
        Ok(())
    }

    /// After a clock went back, a purge may take snapshots out of the middle of a piece's chain: closes the gaps.
    fn relink(&self, schema: &str) -> Result<()> {
        let mut newest: HashMap<(i64, Value), i64> = HashMap::new();
        let mut scan = self.connection.prepare(&format!(
            "SELECT id, kind, key, previous FROM {schema}.talon_snapshot WHERE kind > 0 ORDER BY id"
        ))?;
        let mut changes = Vec::new();
        let mut rows = scan.query(&[])?;
        while rows.next()? {
            let id = rows.column(0).as_integer().unwrap_or(0);
            let piece = (rows.column(1).as_integer().unwrap_or(0), rows.column(2).to_value()?);
            newest.make_room(1)?;
            let previous = newest.insert(piece, id);
            if previous != rows.column(3).as_integer() {
                changes.try_push((id, previous))?;
            }
        }
        drop(rows);
        let mut set = self
            .connection
            .prepare(&format!("UPDATE {schema}.talon_snapshot SET previous = ?2 WHERE id = ?1"))?;
        for (id, previous) in changes {
            set.run(&[ValueRef::Integer(id), previous.map_or(ValueRef::Null, ValueRef::Integer)])?;
        }
        Ok(())
    }

    fn journal_purge(
        &self,
        place: usize,
        schema: &str,
        before: &str,
        keep_last: bool,
        purged: &Purged,
    ) -> Result<i64> {
        let station = self.databases()?[place].station(self.station().as_ref())?;
        let note = purged.notes.join("; ");
        self.connection.run(
            &format!(
                "INSERT INTO {schema}.talon_purged(at, before, keep_last, purged, kept_lost, kept_edited, kept_last,
                   note, station) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, nullif(?8, ''), ?9)"
            ),
            &[
                ValueRef::Integer(self.clock.now_ms()),
                ValueRef::Text(before.as_bytes()),
                ValueRef::Integer(i64::from(keep_last)),
                ValueRef::Integer(purged.purged),
                ValueRef::Integer(purged.kept_lost),
                ValueRef::Integer(purged.kept_edited),
                ValueRef::Integer(purged.kept_last),
                ValueRef::Text(note.as_bytes()),
                station.map_or(ValueRef::Null, ValueRef::Integer),
            ],
        )?;
        Ok(self.connection.last_insert_rowid())
    }
}
