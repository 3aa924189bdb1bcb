//! From a trigger's touch to the images at commit.

use super::course::{Entry, Slot, Written};
use super::database::Database;
use super::latest::Latest;
use super::settle::{Circumstances, Reason};
use super::taking::Taking;
use super::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Argument, Failure, Statement, Value, ValueRef, code, try_gather};
use crate::storage::guard::HEADER;
use crate::storage::key::Key;
use crate::storage::store::{PieceState, Store, leaving_changes};
use crate::storage::trigger::{Code, Event, FIXED_ARGUMENTS};

impl Talon {
    /// A trigger reports a change: `('talon', database, code, values…)`. True when the touch was taken; otherwise the
    /// trigger leaves a mark, as it does on a connection without Talon.
    ///
    /// # Errors
    /// Only what leaves SQLite itself unable to go on.
    pub fn touch(&self, arguments: &[Argument]) -> std::result::Result<bool, Failure> {
        if self.quiet.get() {
            return Ok(true);
        }
        let touched = self.touch_or_miss(arguments);
        if !self.enlisted.get()
            && let Some(mut databases) = self.known_databases()
        {
            // It took nothing, so that nobody tells when the transaction ends.
            databases.iter_mut().for_each(Database::leave);
        }
        touched
    }

    fn touch_or_miss(&self, arguments: &[Argument]) -> std::result::Result<bool, Failure> {
        match self.try_touch(arguments) {
            Ok(true) => Ok(true),
            Ok(false) => {
                self.own_marks.set(true);
                Ok(false)
            }
            Err(error) => {
                let is_refused = matches!(
                    error,
                    Error::BeingEdited { .. }
                        | Error::Forbidden(_)
                        | Error::NotEditable(_)
                        | Error::HalfWritten(_)
                );
                let failure = error.into_failure("talon");
                if is_refused
                    || matches!(
                        failure.primary(),
                        code::NOMEM | code::IOERR | code::FULL | code::CANTOPEN | code::CORRUPT
                    )
                {
                    return Err(failure);
                }
                self.own_marks.set(true);
                self.course.borrow_mut().miss();
                // What is remembered lasts as long as the transaction: somebody has to tell its end.
                let _ = self.enlist();
                Ok(false)
            }
        }
    }

    /// Whether a trigger reports nothing but another touch of the piece touched last, which mostly it does.
    #[inline]
    pub fn is_touched_again(&self, arguments: &[Argument]) -> bool {
        self.latest.get().is_some_and(|latest| latest.is_again(arguments))
    }

    fn try_touch(&self, arguments: &[Argument]) -> Result<bool> {
        let integer =
            |index: usize| arguments.get(index).and_then(|value| value.get().as_integer());
        let (Some(number), Some(code)) = (integer(1), integer(2).and_then(Code::from_number))
        else {
            return Ok(false);
        };
        let values: Vec<ValueRef<'_>> =
            arguments[FIXED_ARGUMENTS..].iter().map(Argument::get).collect();
        if !self.enlisted.get() && self.schemas_changed() || !self.knows(number)? {
            self.discover()?;
        }
        let mut databases = self.databases()?;
        let mut taken = false;
        for place in 0..databases.len() {
            let database = &mut databases[place];
            if database.live && database.number == number {
                taken = self.touch_database(place, database, code, &values)?;
                if !taken {
                    return Ok(false);
                }
            }
        }
        Ok(taken)
    }

    /// Whether a file of this number is attached as far as is known: another one may have taken its schema's name.
    fn knows(&self, number: i64) -> Result<bool> {
        let databases = self.databases()?;
        Ok(databases.iter().any(|database| database.live && database.number == number))
    }

    fn touch_database(
        &self,
        place: usize,
        database: &mut Database,
        code: Code,
        values: &[ValueRef<'_>],
    ) -> Result<bool> {
        database.begin(self.enlisted.get())?;
        // A mark of this transaction's own is absorbed when it is over.
        let has_missed = self.course.borrow().has_missed();
        if !std::mem::replace(&mut database.absorbed, true)
            && !has_missed
            && database.has_marks()?
        {
            // What others changed is imaged and listed before this transaction's own changes mix with it; marks that
            // cannot be absorbed now stay for later. Enlisted first: the statement may fail and take the images back.
            self.enlist()?;
            match self.absorb_some(database, 1000) {
                Err(error) if error.is_fatal() => return Err(error),
                _ => {}
            }
        }
        let Some(kind) = database.place_of(code.kind) else {
            return Ok(false);
        };
        let guard = database.guard(kind)?;
        let slot = Database::slot(place, kind);
        let width = guard.header().key.len();
        if code.part >= guard.parts.len() {
            return Ok(false);
        }
        let parent = guard.parts[code.part].parent;
        if code.part != HEADER && parent != HEADER {
            let width = guard.parts[code.part].link.len();
            for link in values.chunks_exact(width).take(2) {
                if link.iter().any(|value| value.is_null()) {
                    continue;
                }
                let link = try_gather(link.iter().map(|value| value.to_value()))?;
                if let Some(piece) = database.piece_of(kind, code.part, link)? {
                    self.take(slot, database, Key::of(piece), Taking::Touch)?;
                }
            }
            return Ok(true);
        }
        let key = |from: usize| -> Result<Option<Key>> {
            let Some(columns) = values.get(from..from + width) else { return Ok(None) };
            let key = Key::of(try_gather(columns.iter().map(|value| value.to_value()))?);
            Ok((!key.has_null()).then_some(key))
        };
        match code.event {
            Event::Touch => {
                let both = code.part != HEADER;
                let first = key(0)?;
                let second = if both { key(width)? } else { None };
                for key in
                    first.iter().chain(second.iter().filter(|key| Some(*key) != first.as_ref()))
                {
                    self.take(slot, database, key.clone(), Taking::Touch)?;
                }
                if let (Some(Key::Single(Value::Integer(key))), true) =
                    (&first, guard.key_is_rowid())
                {
                    self.remember(database.number, &guard, *key);
                }
            }
            Event::Inserting | Event::Replacing => {
                let mut found = database.colliding(kind, values)?;
                // -1 also stands for a rowid that SQLite has yet to assign; a header that has it is there before as well.
                if let Some(key) = key(0)? {
                    found.extend(database.own_key(kind, &key)?);
                }
                for key in found {
                    self.take(slot, database, key, Taking::Replaced)?;
                }
            }
            Event::Inserted => {
                // A row beside the header is in already: what the piece is now is no before-image.
                let taking = if code.part == HEADER { Taking::Created } else { Taking::Changed };
                if let Some(key) = key(0)? {
                    if taking == Taking::Created {
                        let is_known = self.course.borrow().find(slot, &key).is_some();
                        self.check_creation(database, kind, &key, is_known)?;
                    }
                    self.take(slot, database, key, taking)?;
                }
            }
            Event::Renamed => {
                let (old, new) = (key(0)?, key(width)?);
                if let (Some(old), Some(new)) = (&old, &new)
                    && old != new
                {
                    self.take(slot, database, old.clone(), Taking::Touch)?;
                    self.take(slot, database, new.clone(), Taking::Renamed)?;
                    let (old, new) = (old.clone(), new.clone());
                    self.course.borrow_mut().rename(slot, old, new)?;
                    self.latest.set(None);
                } else if let (None, Some(new)) = (old, new) {
                    // A key that was NULL was nobody's: the piece begins here.
                    self.take(slot, database, new, Taking::Created)?;
                }
            }
            Event::Checked => {
                if let (Some(piece), Some(check)) = (key(0)?, values.get(width)) {
                    self.ask_check(database, check.as_integer().unwrap_or(0), &piece)?;
                }
            }
            Event::Deleting => {
                if let Some(key) = key(0)? {
                    self.take(slot, database, key, Taking::Deleted)?;
                }
            }
        }
        Ok(true)
    }

    fn remember(&self, number: i64, guard: &crate::storage::guard::Guard, key: i64) {
        let mut direct_parts = 0;
        for (place, part) in guard.parts.iter().enumerate().take(64) {
            if part.parent == HEADER {
                direct_parts |= 1 << place;
            }
        }
        self.latest.set(Some(Latest { number, kind: guard.id, direct_parts, key }));
    }

    /// Counts a piece as touched; at its first touch makes sure that what it was before is stored.
    pub(super) fn take(
        &self,
        slot: Slot,
        database: &mut Database,
        key: Key,
        taking: Taking,
    ) -> Result<()> {
        let known = self.course.borrow().find(slot, &key);
        if let Some(place) = known {
            taking.note(&mut self.course.borrow_mut(), place);
            return Ok(());
        }
        let kind = slot.kind as usize;
        // What refers to a header may spell its key otherwise: the header's own spelling is the piece.
        let exact = taking != Taking::Touch
            || matches!(key, Key::Single(Value::Integer(_)))
                && database.guard(kind)?.key_is_rowid();
        let own = if exact { None } else { database.own_key(kind, &key)? };
        let (key, spelling) = match own {
            Some(own) if own != key => (own, Some(key)),
            _ => (key, None),
        };
        if let Some(spelling) = &spelling {
            let mut course = self.course.borrow_mut();
            // Touched before, spelt otherwise: what it is by now is no before-image.
            if course.spelt(slot, &key, spelling)? {
                return Ok(());
            }
        }
        self.check_edit(database, kind, &key)?;
        let known = match taking {
            Taking::Created | Taking::Renamed | Taking::Changed => None,
            Taking::Touch | Taking::Replaced | Taking::Deleted => {
                let id = database.kinds[kind].id;
                Some(database.store()?.piece(id, &key.shown()?)?)
            }
        };
        // What an INSERT may replace it may also leave alone: known once it has been made.
        if !matches!(taking, Taking::Replaced | Taking::Renamed) {
            self.check_owner(database, kind, &key, known.as_ref().and_then(Option::as_ref))?;
        }
        self.enlist()?;
        let state = match known {
            None => Ok(None),
            Some(known) => self.before_image(database, kind, &key, known).map(Some),
        };
        // A piece whose before-image failed counts as touched all the same: at its next touch it is too late for one.
        let (state, missed) = match state {
            Ok(state) => (state, Ok(())),
            // SQLite has rolled the transaction back over it, and told us: nothing is touched any more.
            Err(error) if !self.enlisted.get() => return Err(error),
            Err(error) => (None, Err(error)),
        };
        let entry = Entry {
            slot,
            key,
            created: false,
            deleted: false,
            existed: false,
            half_restored: false,
            state,
            written: None,
        };
        let mut course = self.course.borrow_mut();
        let place = course.add(entry, spelling)?;
        taking.note(&mut course, place);
        missed
    }

    /// Stores what a piece is before its first change, unless that is stored already; gives what is known of it then.
    fn before_image(
        &self,
        database: &mut Database,
        kind: usize,
        key: &Key,
        state: Option<PieceState>,
    ) -> Result<Option<PieceState>> {
        let is_known = state.as_ref().is_some_and(|state| state.saved);
        let is_trusted =
            is_known && database.trusted && database.kinds[kind].suspect_since.is_none();
        // After a touch that was missed, lines may be gone already: that is nothing to be restored.
        if is_trusted || self.course.borrow().has_missed() {
            return Ok(state);
        }
        let _lifted = self.connection.lift_limits();
        self.take_before_image(database, kind, key, state, is_known)
    }

    pub(super) fn take_before_image(
        &self,
        database: &mut Database,
        kind: usize,
        key: &Key,
        state: Option<PieceState>,
        is_known: bool,
    ) -> Result<Option<PieceState>> {
        let is_imaged = database.read(kind, key)?
            && (database.image.lines > 0 || database.guard(kind)?.is_of_records());
        if !is_imaged {
            return Ok(state);
        }
        let at = self.clock.now_ms();
        let reason = if is_known { Reason::Unguarded } else { Reason::Before };
        let about = Circumstances::of(reason, at);
        let weighed = database.weigh(self.station().as_ref(), kind, key, Some(state), about)?;
        let listed = (weighed.reason == Some(Reason::Unguarded))
            .then_some("changed unseen before this transaction");
        Ok(database.keep(&self.clock, kind, weighed, listed)?.now)
    }

    /// Takes the images of everything touched. Run by xSync: it reads and writes ordinary tables only.
    pub(super) fn capture(&self) -> Result<()> {
        let mut databases = self.databases()?;
        let changes = self.connection.changes();
        let rowid = self.connection.last_insert_rowid();
        let mut entries = self.course.borrow_mut().take_entries();
        let mut result = begin_anew(&mut databases, &entries)
            .and_then(|()| take_back(&mut databases, &mut entries))
            .and_then(|()| self.apply_renames(&mut databases, &mut entries));
        if result.is_ok() {
            let mut respelt = false;
            for entry in &mut entries {
                let database = &mut databases[entry.slot.database as usize];
                if respelt {
                    // Written under another entry's spelling of its key: what was known before is out of date.
                    entry.state = None;
                }
                result = match self.capture_entry(database, entry) {
                    Ok(is_respelt) => {
                        respelt |= is_respelt;
                        Ok(())
                    }
                    Err(error) if self.may_go_on(&error) => self.owe(database, entry, &error),
                    Err(error) => Err(error),
                };
                if result.is_err() {
                    break;
                }
            }
        }
        self.course.borrow_mut().put_back(entries);
        if result.is_ok() {
            for database in databases.iter_mut().filter(|database| database.has_begun()) {
                if !database.trusted || self.own_marks.get() {
                    // Marks that cannot be absorbed now stay for later.
                    match self.absorb_some(database, 1000) {
                        Err(error) if !self.may_go_on(&error) => result = Err(error),
                        _ => {}
                    }
                }
                // The transaction itself may have made a table anew.
                let moved = database.store().is_ok_and(Store::was_reprepared);
                if !database.trusted || moved {
                    // The triggers of a table that was made anew since; if not now, then at the next call.
                    match self.mend_at_commit(database) {
                        Err(error) if !self.may_go_on(&error) => result = Err(error),
                        _ => {}
                    }
                }
                if result.is_err() {
                    break;
                }
            }
            self.own_marks.set(false);
        }
        if result.is_ok()
            && self.connection.changes() != changes
            && let Some(database) = databases.iter_mut().find(|database| database.has_begun())
        {
            // Only counts for an explicit COMMIT; a statement of its own sets its count after this.
            let (sql, values) = leaving_changes(changes);
            let leave = |statement: &mut Statement| Ok(statement.run(values.as_slice())?);
            match database.own_statement(sql).and_then(leave) {
                Err(error) if !self.may_go_on(&error) => result = Err(error),
                _ => {}
            }
        }
        self.connection.set_last_insert_rowid(rowid);
        result
    }

    /// True when the header spells its key otherwise than what touched it.
    fn capture_entry(&self, database: &mut Database, entry: &mut Entry) -> Result<bool> {
        if entry.half_restored {
            // Known to have lost its lines: what has come back of them is no image of it.
            return Ok(false);
        }
        let kind = entry.slot.kind as usize;
        let about = Circumstances {
            created: entry.created,
            deleted: entry.deleted,
            reason: Reason::Edit,
            at: self.clock.now_ms(),
        };
        let state = entry.state.take();
        let settled = database.settle(
            &self.clock,
            self.station().as_ref(),
            kind,
            &entry.key,
            state,
            about,
        )?;
        let is_respelt = settled.key != entry.key;
        let changed = settled.changed();
        let saved = settled.now.map(|now| now.saved);
        let respelt = if is_respelt {
            Some(Box::new((settled.key, settled.was)))
        } else {
            entry.state = Some(settled.was);
            None
        };
        if changed {
            entry.written = Some(Written { snapshot: settled.snapshot, saved, respelt });
        }
        Ok(is_respelt)
    }

    /// A header's new key inherits the images of the old one.
    fn apply_renames(&self, databases: &mut [Database], entries: &mut [Entry]) -> Result<()> {
        // `entries` are taken out: their flags are what tells who was deleted.
        let whereabouts = self.course.borrow().whereabouts(entries)?;
        if whereabouts.is_empty() {
            return Ok(());
        }
        for (slot, mut whereabouts) in whereabouts {
            let database = &mut databases[slot.database as usize];
            database.follow(&self.clock, slot.kind as usize, &mut whereabouts)?;
        }
        self.course.borrow_mut().renames_followed();
        for entry in entries.iter_mut() {
            entry.state = None;
        }
        Ok(())
    }
}

/// Where the definitions were read anew since the touches, or are to be, the transaction begins again.
fn begin_anew(databases: &mut [Database], entries: &[Entry]) -> Result<()> {
    for entry in entries {
        databases[entry.slot.database as usize].begin(true)?;
    }
    Ok(())
}

/// Takes back what a commit wrote that was tried and did not come to pass: this one says it anew, the last first, because
/// a piece that was renamed since has an entry under each key.
fn take_back(databases: &mut [Database], entries: &mut [Entry]) -> Result<()> {
    for entry in entries.iter_mut().rev() {
        let Some(written) = entry.written.take() else {
            continue;
        };
        let database = &mut databases[entry.slot.database as usize];
        let id = database.kinds[entry.slot.kind as usize].id;
        let known = entry.state.clone().flatten();
        let own = || (entry.key.clone(), known);
        let (key, was) = written.respelt.map_or_else(own, |respelt| *respelt);
        let key = key.shown()?;
        let now = written.saved.map(|saved| PieceState { saved, ..PieceState::new() });
        let told = match database.kinds[entry.slot.kind as usize].definition.sync {
            Some(_) => database.store()?.piece(id, &key)?.and_then(|told| told.change()),
            None => None,
        };
        let told = told.filter(|told| was.as_ref().and_then(PieceState::change) != Some(*told));
        database.together(|database| {
            if let Some(change) = told {
                database.delete_change(change)?;
                if let Some(gone) = was.as_ref().filter(|was| was.gone_at.is_some()) {
                    database.undo_displace(id, &key, gone)?;
                }
            }
            let store = database.store()?;
            if let Some(snapshot) = written.snapshot {
                store.delete_snapshot(snapshot)?;
            }
            store.put_piece(id, &key, now.as_ref(), was.as_ref())
        })?;
    }
    Ok(())
}
