//! What is stored of pieces whose headers got other keys goes with them.

use super::absorb::DELETED;
use super::clock::Clock;
use super::database::Database;
use super::edit::Edit;
use super::identity::{Identities, Rename, Whereabouts};
use super::marks::gathered_values;
use super::settle::Weighed;
use super::sync::changes::Telling;
use crate::error::Result;
use crate::sqlite::{Room, RoomForKeys, Value, ValueRef, gather_set, try_gather};
use crate::storage::change_store::MOVE_CHANGE;
use crate::storage::guard::HEADER;
use crate::storage::key::Key;
use crate::storage::policy::Keys;
use crate::storage::schema::SYNC_SINCE;
use crate::storage::shape::quote_identifier;
use crate::storage::store::PieceState;
use crate::storage::trigger::{Code, Event};
use std::collections::HashSet;

const MOVE_SNAPSHOT: &str = "UPDATE {s}.talon_snapshot SET key = ?3 WHERE id = ?1 AND kind = ?2";

/// What there is to be written of pieces whose headers got other keys: all of it is read before any of it is written,
/// which is why keys may be swapped.
#[derive(Default)]
struct Following {
    /// Pieces that were deleted under another key.
    gone: Vec<Gone>,
    /// Pieces that are at another key.
    moved: Vec<Moved>,
    /// Their snapshots, one piece after the other.
    snapshots: Vec<i64>,
    edits: Vec<(Rename, Edit)>,
}

struct Gone {
    key: Key,
    now: PieceState,
    telling: Telling,
}

struct Moved {
    rename: Rename,
    /// What was known of it under its old key.
    was: PieceState,
    /// What is under its new one.
    state: PieceState,
    /// How many of the snapshots are its own.
    snapshots: usize,
}

impl Database {
    /// Moves what is stored of renamed pieces to their new keys, and records the deletion of those that were deleted under
    /// them or had the key of a new one.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn follow(
        &mut self,
        clock: &Clock,
        kind: usize,
        whereabouts: &mut Whereabouts,
    ) -> Result<()> {
        let following = self.plan_following(clock, kind, whereabouts)?;
        self.prepare_following()?;
        self.together(|database| database.run_following(kind, &following))
    }

    /// Moves what is stored of one piece to its header's own spelling of the key.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn follow_spelling(&mut self, kind: usize, rename: Rename) -> Result<()> {
        let mut following = Following::default();
        self.plan_moves(None, kind, vec![rename], &HashSet::new(), &mut following)?;
        self.prepare_following()?;
        self.together(|database| database.run_following(kind, &following))
    }

    fn plan_following(
        &mut self,
        clock: &Clock,
        kind: usize,
        whereabouts: &mut Whereabouts,
    ) -> Result<Following> {
        let mut following = Following::default();
        let taken = gather_set(whereabouts.moved.iter().map(|rename| rename.new.clone()))?;
        for rename in std::mem::take(&mut whereabouts.deleted) {
            if !taken.contains(&rename.new) && self.own_key(kind, &rename.new)?.is_some() {
                whereabouts.moved.try_push(rename)?;
                continue;
            }
            self.plan_burial(clock, kind, rename.old, &mut following)?;
        }
        let renames = std::mem::take(&mut whereabouts.moved);
        self.plan_moves(Some(clock), kind, renames, &whereabouts.begun, &mut following)?;
        if !whereabouts.begun.is_empty() {
            let moved =
                following.moved.iter().flat_map(|moved| [&moved.rename.old, &moved.rename.new]);
            let gone = following.gone.iter().map(|gone| &gone.key);
            let settled = gather_set(moved.chain(gone).cloned())?;
            // Whoever's images are still under the key of a new piece has made room for it.
            for key in whereabouts.begun.iter().filter(|key| !settled.contains(*key)) {
                self.plan_burial(clock, kind, key.clone(), &mut following)?;
            }
        }
        Ok(following)
    }

    /// A piece was deleted, if one is known to live under this key.
    fn plan_burial(
        &mut self,
        clock: &Clock,
        kind: usize,
        key: Key,
        following: &mut Following,
    ) -> Result<()> {
        let id = self.kinds[kind].id;
        let known = self.store()?.piece(id, &key.shown()?)?;
        if let Some(was) = known.filter(|was| was.gone_at.is_none()) {
            let gone = self.buried(clock, kind, key, was)?;
            following.gone.try_push(gone)?;
        }
        Ok(())
    }

    fn buried(&mut self, clock: &Clock, kind: usize, key: Key, was: PieceState) -> Result<Gone> {
        let at_ms = clock.now_ms();
        let now = PieceState {
            version: was.version + 1,
            gone_at: Some(at_ms),
            lost_at: None,
            ..was.clone()
        };
        let weighed = Weighed::of_state(key, was, now, at_ms);
        let telling = match self.kinds[kind].definition.sync {
            Some(_) => self.telling(clock, kind, &weighed, None)?,
            None => Telling::Nothing,
        };
        let Weighed { key, now, .. } = weighed;
        Ok(Gone { key, now: now.unwrap_or_default(), telling })
    }

    /// What other sites know of a piece that gets another key: the same one where keys are translated; elsewhere one that
    /// is gone, and one that is new to them.
    fn moved_state(
        &mut self,
        clock: Option<&Clock>,
        kind: usize,
        rename: &Rename,
        was: &PieceState,
        following: &mut Following,
    ) -> Result<PieceState> {
        let mut state = was.clone();
        if was.change().is_none() {
            return Ok(state);
        }
        let guard = self.guard(kind)?;
        let translates = guard.sync.as_ref().is_some_and(|sync| sync.keys == Keys::Translated);
        match (&rename.old, &rename.new, clock) {
            (Key::Single(Value::Integer(old)), Key::Single(Value::Integer(new)), _)
                if translates =>
            {
                let there = was.origin_key().unwrap_or(*old);
                state.sync_mut().origin_key = (there != *new).then_some(there);
            }
            // The same key under another spelling.
            (_, _, None) => {}
            (_, _, Some(clock)) if was.gone_at.is_none() => {
                let gone = PieceState { saved: false, last: None, hash: None, ..was.clone() };
                let gone = self.buried(clock, kind, rename.old.clone(), gone)?;
                following.gone.try_push(gone)?;
                state.sync = None;
            }
            _ => {}
        }
        Ok(state)
    }

    /// `begun` are keys that headers of their own were inserted under since.
    fn plan_moves(
        &mut self,
        clock: Option<&Clock>,
        kind: usize,
        renames: Vec<Rename>,
        begun: &HashSet<Key>,
        following: &mut Following,
    ) -> Result<()> {
        let id = self.kinds[kind].id;
        let taken = gather_set(renames.iter().map(|rename| rename.new.clone()))?;
        for rename in renames {
            // Only where the piece is at its new key now.
            if self.own_key(kind, &rename.new)?.is_none() {
                continue;
            }
            // Found under another spelling (NOCASE), it is the renamed piece itself.
            let is_free = taken.contains(&rename.old) || begun.contains(&rename.old);
            if !is_free && self.own_key(kind, &rename.old)?.as_ref() == Some(&rename.old) {
                continue;
            }
            if let Some(edit) = self.edit(kind, &rename.old)? {
                following.edits.try_push((rename.clone(), edit))?;
            }
            if let Some(was) = self.store()?.piece(id, &rename.old.shown()?)? {
                let state = self.moved_state(clock, kind, &rename, &was, following)?;
                let own = self.chain(was.last)?;
                let snapshots = own.len();
                following.snapshots.make_room(snapshots)?;
                following.snapshots.extend(own);
                following.moved.try_push(Moved { rename, was, state, snapshots })?;
            }
        }
        Ok(())
    }

    /// Prepares what is run by [`Database::run_following`], as far as that can be.
    fn prepare_following(&mut self) -> Result<()> {
        self.own_statement(MOVE_SNAPSHOT)?;
        if self.format >= SYNC_SINCE {
            self.own_statement(MOVE_CHANGE)?;
        }
        self.store()?.prepare_unguarded().map(|_| ())
    }

    fn run_following(&mut self, kind: usize, following: &Following) -> Result<()> {
        let id = self.kinds[kind].id;
        for (rename, _) in &following.edits {
            self.remove_edit(kind, &rename.old)?;
        }
        for (rename, edit) in &following.edits {
            self.put_edit(kind, &rename.new, edit.who, edit.since_ms)?;
        }
        for moved in &following.moved {
            let old = moved.rename.old.shown()?;
            self.store()?.put_piece(id, &old, Some(&moved.was), None)?;
        }
        for gone in &following.gone {
            let (key, mut now) = (gone.key.shown()?, gone.now.clone());
            self.tell(id, &key, &mut now, &gone.telling)?;
            self.store()?.remove_piece(id, &key)?;
            self.store()?.put_piece(id, &key, None, Some(&now))?;
        }
        let mut snapshots = following.snapshots.iter();
        for moved in &following.moved {
            let new = moved.rename.new.shown()?;
            for snapshot in snapshots.by_ref().take(moved.snapshots) {
                let values = [ValueRef::Integer(*snapshot), ValueRef::Integer(id), new.as_ref()];
                self.own_statement(MOVE_SNAPSHOT)?.run(&values)?;
            }
            if let Some(change) = moved.state.change() {
                self.own_statement(MOVE_CHANGE)?.run(&[ValueRef::Integer(change), new.as_ref()])?;
            }
            if let Some(gone) = self.store()?.piece(id, &new)?
                && let Some(room) = self.room_for_deleted(kind, &moved.rename.new, &gone)?
            {
                self.displace(id, &new, &gone, room)?;
            }
            self.store()?.remove_piece(id, &new)?;
            self.store()?.put_piece(id, &new, None, Some(&moved.state))?;
        }
        Ok(())
    }

    /// Ids of a piece's snapshots, newest first.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn chain(&mut self, last: Option<i64>) -> Result<Vec<i64>> {
        let statement =
            self.own_statement("SELECT previous FROM {s}.talon_snapshot WHERE id = ?1")?;
        let mut ids = Vec::new();
        let mut next = last;
        while let Some(id) = next {
            let found =
                statement.first(&[ValueRef::Integer(id)], |row| Ok(row.column(0).as_integer()))?;
            let Some(previous) = found else { break };
            ids.try_push(id)?;
            // Each is older than the one before; anything else would be a damaged file.
            next = previous.filter(|previous| *previous < id);
        }
        Ok(ids)
    }

    /// Follows the renames that marks speak of, all at once and in their order, and leaves of each the mark of a change;
    /// gives how many pieces were deleted under another key, which are listed.
    ///
    /// # Errors
    /// What SQLite reports, or [`Error::Memory`].
    pub fn follow_marks(&mut self, clock: &Clock) -> Result<usize> {
        let at_ms = clock.now_ms();
        let day = &clock.day(at_ms);
        let mut gone = 0;
        for kind in self.guarded_kinds() {
            // A guard that does not fit any more keeps its marks until it is declared anew.
            if !self.fits(kind)? {
                continue;
            }
            let id = self.kinds[kind].id;
            let width = self.guard(kind)?.header().key.len();
            let named = self.renamed_keys(kind, width)?;
            if named.is_empty() {
                continue;
            }
            let mut whereabouts = self.marked_whereabouts(kind, width, &named)?;
            let following = self.plan_following(clock, kind, &mut whereabouts)?;
            self.prepare_following()?;
            let mut forget = self.connection.prepare(&self.forgetting(width))?;
            let mut begin = self.gathered_mark()?;
            let code = |event| Code { kind: id, part: HEADER, event }.number();
            let [touch, renamed] =
                [Event::Touch, Event::Renamed].map(|event| ValueRef::Integer(code(event)));
            self.together(|database| {
                database.run_following(kind, &following)?;
                for Gone { key, .. } in &following.gone {
                    database.store()?.insert_unguarded(id, &key.shown()?, at_ms, day, DELETED)?;
                }
                // A piece that was new under another key is so under its own.
                for key in &whereabouts.begun {
                    begin.run(&gathered_values(code(Event::Inserted), &[key]))?;
                }
                Ok(forget.run(&[touch, renamed])?)
            })?;
            gone += following.gone.len();
        }
        Ok(gone)
    }

    /// The keys that marks of renames name.
    fn renamed_keys(&mut self, kind: usize, width: usize) -> Result<HashSet<Key>> {
        let mut named = HashSet::new();
        self.header_marks(kind, &[Event::Renamed], |_, values| {
            for columns in values.chunks_exact(width).take(2) {
                let key = Key::of(try_gather(columns.iter().map(|value| value.to_value()))?);
                if !key.has_null() {
                    named.make_room(1)?;
                    named.insert(key);
                }
            }
            Ok(())
        })?;
        Ok(named)
    }

    fn marked_whereabouts(
        &mut self,
        kind: usize,
        width: usize,
        named: &HashSet<Key>,
    ) -> Result<Whereabouts> {
        let id = self.kinds[kind].id;
        // What is stored says which pieces were there before; it is asked beforehand, for the keys that matter.
        let mut known = HashSet::new();
        for key in named {
            let state = self.store()?.piece(id, &key.shown()?)?;
            if state.is_some_and(|state| state.gone_at.is_none()) {
                known.make_room(1)?;
                known.insert(key.clone());
            }
        }
        let mut identities = Identities::default();
        let events = [Event::Inserted, Event::Renamed, Event::Deleting];
        self.header_marks(kind, &events, |event, values| {
            let mut keys = values.chunks_exact(width).take(2).map(|columns| -> Result<Key> {
                Ok(Key::of(try_gather(columns.iter().map(|value| value.to_value()))?))
            });
            let (first, second) = (keys.next().transpose()?, keys.next().transpose()?);
            let Some(first) = first else { return Ok(()) };
            match (event, second) {
                (Event::Renamed, Some(new)) if first != new && !new.has_null() => {
                    if first.has_null() {
                        // A key that was NULL was nobody's: the piece begins here.
                        identities.inserted(&new, || known.contains(&new))?;
                    } else {
                        identities.renamed(&first, &new)?;
                    }
                }
                (Event::Inserted, _) if named.contains(&first) => {
                    identities.inserted(&first, || known.contains(&first))?;
                }
                (Event::Deleting, _) if named.contains(&first) => identities.deleted(&first),
                _ => {}
            }
            Ok(())
        })?;
        identities.come_to()
    }

    /// Hands over the marks of a kind's headers for some events, in their order.
    fn header_marks(
        &mut self,
        kind: usize,
        events: &[Event],
        mut each: impl FnMut(Event, &[ValueRef<'_>]) -> Result<()>,
    ) -> Result<()> {
        let id = self.kinds[kind].id;
        let code = |event| Code { kind: id, part: HEADER, event }.number();
        let codes: Vec<String> = events.iter().map(|event| code(*event).to_string()).collect();
        let mut statement = self.connection.prepare(&format!(
            "SELECT code, k1, k2, k3, k4, k5, k6, k7, k8 FROM {}.talon_touched WHERE code IN ({}) ORDER BY rowid",
            quote_identifier(&self.schema),
            codes.join(", ")
        ))?;
        let mut rows = statement.query(&[])?;
        while rows.next()? {
            let event = rows.column(0).as_integer().and_then(Code::from_number);
            let values: [ValueRef<'_>; 8] = std::array::from_fn(|place| rows.column(place + 1));
            if let Some(code) = event {
                each(code.event, &values)?;
            }
        }
        Ok(())
    }

    /// Leaves of the marks of renames (?2) that the piece at the new key has changed (?1); the old one has a mark of its
    /// own.
    fn forgetting(&self, width: usize) -> String {
        let set: Vec<String> = (1..=8)
            .map(|place| {
                let from = place + width;
                let value = if place <= width { format!("k{from}") } else { "NULL".to_owned() };
                format!("k{place} = {value}")
            })
            .collect();
        format!(
            "UPDATE {}.talon_touched SET code = ?1, {} WHERE code = ?2",
            quote_identifier(&self.schema),
            set.join(", ")
        )
    }
}
