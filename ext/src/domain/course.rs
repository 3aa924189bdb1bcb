//! The course of a transaction: which pieces it has touched, and what a rollback makes of that.

use super::identity::{Identities, Whereabouts};
use crate::storage::key::Key;
use crate::storage::store::PieceState;
use std::collections::HashMap;

/// Where a kind stands on this connection: the database's place, and the kind's place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Place among the connection's databases.
    pub database: u32,
    /// Place among the database's kinds.
    pub kind: u32,
}

/// A piece that the transaction has touched.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its kind.
    pub slot: Slot,
    /// Its key.
    pub key: Key,
    /// Its header was inserted in this transaction.
    pub created: bool,
    /// Its header was deleted by DELETE in this transaction.
    pub deleted: bool,
    /// Its header was there before this transaction inserted or deleted it.
    pub existed: bool,
    /// What was known of it when it was touched (and its before-image taken); None when that was not looked up.
    pub state: Option<Option<PieceState>>,
    /// What a COMMIT that then failed has written.
    pub written: Option<Written>,
}

/// What was written for a piece by a commit that did not come to pass.
#[derive(Debug, Clone)]
pub struct Written {
    /// The key it was written under.
    pub key: Key,
    /// The snapshot stored.
    pub snapshot: Option<i64>,
    /// What was known before.
    pub was: Option<PieceState>,
    /// What was written.
    pub now: Option<PieceState>,
}

/// A header that got another key, and what was known of the keys then.
#[derive(Debug, Clone)]
pub struct KeyChange {
    /// Its kind.
    pub slot: Slot,
    /// The key before.
    pub old: Key,
    /// The key since.
    pub new: Key,
    /// The transaction had made the piece.
    pub is_new: bool,
    /// The transaction had deleted the piece that was at the new key.
    pub makes_up: bool,
}

#[derive(Debug, Clone, Copy)]
struct Savepoint {
    number: i32,
    entries: usize,
    names: usize,
    renames: usize,
}

/// Touched pieces in the order of their first touch, so that undoing is cutting the list short.
#[derive(Default)]
pub struct Course {
    entries: Vec<Entry>,
    /// Every spelling that a piece was touched under, and where it is in `entries`.
    index: HashMap<(Slot, Key), usize>,
    /// The keys of `index` in the order they came, to take them out again.
    names: Vec<(Slot, Key)>,
    renames: Vec<KeyChange>,
    /// How many of them a commit that was tried has followed already.
    followed: usize,
    savepoints: Vec<Savepoint>,
    /// Savepoints open when a commit was tried: going back to one of them undoes what that wrote.
    synced_above: Option<i32>,
}

impl Course {
    /// The piece that was touched under this spelling of its key.
    pub fn find(&self, slot: Slot, key: &Key) -> Option<usize> {
        // A look-up by reference to the parts would need another map; keys are small.
        self.index.get(&(slot, key.clone())).copied()
    }

    /// Adds a piece, or a further spelling of one.
    pub fn add(&mut self, entry: Entry, spelling: Option<Key>) -> usize {
        let place = match self.find(entry.slot, &entry.key) {
            Some(place) => place,
            None => {
                let place = self.entries.len();
                self.name(entry.slot, entry.key.clone(), place);
                self.entries.push(entry);
                place
            }
        };
        if let Some(spelling) = spelling {
            let slot = self.entries[place].slot;
            self.name(slot, spelling, place);
        }
        place
    }

    /// Notes a further spelling of a piece; false when it was not touched yet.
    pub fn spelt(&mut self, slot: Slot, key: &Key, spelling: &Key) -> bool {
        let known = self.find(slot, key);
        if let Some(place) = known {
            self.name(slot, spelling.clone(), place);
        }
        known.is_some()
    }

    fn name(&mut self, slot: Slot, key: Key, place: usize) {
        if self.index.insert((slot, key.clone()), place).is_none() {
            self.names.push((slot, key));
        }
    }

    /// The piece at a place.
    pub fn entry_mut(&mut self, place: usize) -> Option<&mut Entry> {
        self.entries.get_mut(place)
    }

    /// Notes that a header got another key.
    pub fn rename(&mut self, slot: Slot, old: Key, new: Key) {
        // The old key is free for another piece; whether this one is new goes with it.
        let place = self.find(slot, &old);
        let is_new = place.and_then(|place| self.entries.get_mut(place)).is_some_and(|entry| {
            entry.existed = false;
            std::mem::take(&mut entry.created)
        });
        let place = self.find(slot, &new);
        let makes_up = place.and_then(|place| self.entries.get_mut(place)).is_some_and(|entry| {
            entry.created |= is_new;
            entry.existed |= !is_new;
            entry.deleted
        });
        self.renames.push(KeyChange { slot, old, new, is_new, makes_up });
    }

    /// Where the pieces are that got other keys, each kind's apart, as the touched pieces tell; what was followed already is
    /// left out.
    pub fn whereabouts(&self, entries: &[Entry]) -> Vec<(Slot, Whereabouts)> {
        let mut slots: Vec<(Slot, Identities)> = Vec::new();
        for change in &self.renames[self.followed.min(self.renames.len())..] {
            let known = slots.iter().position(|(slot, _)| *slot == change.slot);
            let place = known.unwrap_or_else(|| {
                slots.push((change.slot, Identities::default()));
                slots.len() - 1
            });
            let identities = &mut slots[place].1;
            if change.is_new {
                identities.inserted(&change.old, || false);
            }
            if change.makes_up {
                identities.deleted(&change.new);
            }
            identities.renamed(&change.old, &change.new);
        }
        if slots.is_empty() {
            return Vec::new();
        }
        for entry in entries {
            let Some((_, identities)) = slots.iter_mut().find(|(slot, _)| *slot == entry.slot)
            else {
                continue;
            };
            if entry.created {
                identities.inserted(&entry.key, || true);
            }
            if entry.deleted {
                identities.deleted(&entry.key);
            }
        }
        slots.into_iter().map(|(slot, identities)| (slot, identities.come_to())).collect()
    }

    /// What is stored of renamed pieces was moved to their new keys.
    pub fn renames_followed(&mut self) {
        self.followed = self.renames.len();
    }

    /// Takes the touched pieces out, to work on them while nothing is borrowed.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// Puts them back after a commit was tried, with what was written.
    pub fn put_back(&mut self, entries: Vec<Entry>) {
        self.entries = entries;
        self.synced_above = self.savepoints.last().map(|savepoint| savepoint.number);
    }

    /// The pieces touched, in the order of their first touch.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The headers that got other keys, in their order.
    pub fn renames(&self) -> &[KeyChange] {
        &self.renames
    }

    /// The pieces touched in one of the connection's databases: their kinds' places and their keys.
    pub fn touched_in(&self, database: usize) -> impl Iterator<Item = (usize, &Key)> {
        self.entries
            .iter()
            .filter(move |entry| entry.slot.database as usize == database)
            .map(|entry| (entry.slot.kind as usize, &entry.key))
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What was looked up of pieces may be out of date: somebody else wrote in between.
    pub fn forget_states(&mut self) {
        for entry in &mut self.entries {
            entry.state = None;
        }
    }

    /// Savepoint `number` was opened.
    pub fn savepoint(&mut self, number: i32) {
        self.savepoints.retain(|savepoint| savepoint.number < number);
        self.savepoints.push(Savepoint {
            number,
            entries: self.entries.len(),
            names: self.names.len(),
            renames: self.renames.len(),
        });
    }

    /// Savepoint `number` and all above were released.
    pub fn release(&mut self, number: i32) {
        self.savepoints.retain(|savepoint| savepoint.number < number);
        if self.synced_above.is_some_and(|above| above >= number) {
            self.synced_above = self.savepoints.last().map(|savepoint| savepoint.number);
        }
    }

    /// What happened since savepoint `number` was undone; the savepoint stays open.
    pub fn rollback_to(&mut self, number: i32) {
        // A savepoint that was open before the first touch was not told of: all touches came after it.
        let known = self.savepoints.iter().position(|savepoint| savepoint.number >= number);
        let savepoint =
            known.map_or(Savepoint { number, entries: 0, names: 0, renames: 0 }, |place| {
                Savepoint { number, ..self.savepoints[place] }
            });
        self.savepoints.truncate(known.unwrap_or(0));
        self.savepoints.push(savepoint);
        for name in self.names.drain(savepoint.names.min(self.names.len())..) {
            self.index.remove(&name);
        }
        self.entries.truncate(savepoint.entries);
        self.renames.truncate(savepoint.renames);
        self.followed = self.followed.min(self.renames.len());
        if self.synced_above.is_some_and(|above| above >= number) {
            for entry in &mut self.entries {
                entry.written = None;
            }
            self.followed = 0;
            self.synced_above = None;
        }
    }

    /// The transaction is over.
    pub fn clear(&mut self) {
        *self = Course::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::Value;

    const SLOT: Slot = Slot { database: 0, kind: 0 };

    fn key(number: i64) -> Key {
        Key::Single(Value::Integer(number))
    }

    fn touch(course: &mut Course, number: i64) {
        let entry = Entry {
            slot: SLOT,
            key: key(number),
            created: false,
            deleted: false,
            existed: false,
            state: None,
            written: None,
        };
        course.add(entry, None);
    }

    fn touched(course: &Course) -> Vec<String> {
        course.entries.iter().map(|entry| entry.key.to_string()).collect()
    }

    #[test]
    fn a_rollback_forgets_what_was_touched_since_the_savepoint() {
        let mut course = Course::default();
        touch(&mut course, 1);
        course.savepoint(0);
        touch(&mut course, 2);
        course.savepoint(1);
        touch(&mut course, 3);
        touch(&mut course, 1);
        course.rollback_to(1);
        assert_eq!(touched(&course), ["1", "2"]);
        touch(&mut course, 4);
        course.release(1);
        course.rollback_to(0);
        assert_eq!(touched(&course), ["1"]);
        assert_eq!(course.find(SLOT, &key(4)), None);
        touch(&mut course, 4);
        course.rollback_to(0);
        assert_eq!(touched(&course), ["1"]);
    }

    #[test]
    fn savepoints_older_than_the_first_touch_undo_everything_again_and_again() {
        let mut course = Course::default();
        course.savepoint(3);
        touch(&mut course, 1);
        course.release(3);
        course.rollback_to(2);
        assert!(course.is_empty());
        touch(&mut course, 1);
        course.rollback_to(2);
        assert!(course.is_empty());
        touch(&mut course, 1);
        course.rollback_to(0);
        assert!(course.is_empty());
    }

    #[test]
    fn going_back_before_a_failed_commit_undoes_what_it_wrote() {
        let mut course = Course::default();
        course.savepoint(0);
        touch(&mut course, 1);
        course.savepoint(1);
        let mut entries = course.take_entries();
        entries[0].written = Some(Written { key: key(1), snapshot: Some(9), was: None, now: None });
        course.put_back(entries);
        course.savepoint(2);
        course.rollback_to(2);
        assert!(course.entries[0].written.is_some());
        course.rollback_to(1);
        assert!(course.entries[0].written.is_none());
    }
}
