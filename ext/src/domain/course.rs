//! The course of a transaction: which pieces it has touched, and what a rollback makes of that.

use super::identity::{Identities, Whereabouts};
use crate::error::Result;
use crate::sqlite::{Failure, Room};
use crate::storage::key::Key;
use crate::storage::store::PieceState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

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
    /// It has lost its lines, and the restore of another piece has given it those that the two share; nobody has changed
    /// it since.
    pub half_restored: bool,
    /// What was known of it when it was touched (and its before-image taken); None when that was not looked up. Once a
    /// commit was tried that has written: what was known before.
    pub state: Option<Option<PieceState>>,
    /// What a COMMIT that then failed has written.
    pub written: Option<Written>,
}

/// What was written for a piece by a commit that did not come to pass. Every touched piece has one by the end of a
/// commit, so it is small.
#[derive(Debug, Clone)]
pub struct Written {
    /// The snapshot stored.
    pub snapshot: Option<i64>,
    /// Whether the piece's row is one that has snapshots; None when it has no row.
    pub saved: Option<bool>,
    /// The key it was written under and what was known there before, where that is not the entry's own key.
    pub respelt: Option<Box<(Key, Option<PieceState>)>>,
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

/// A spelling that a piece was touched under.
#[derive(Debug)]
struct Name {
    /// Where the piece is among the entries.
    place: usize,
    /// None: as the entry itself has it.
    spelling: Option<Box<Key>>,
}

/// Touched pieces in the order of their first touch, so that undoing is cutting the list short. A transaction may touch
/// very many, so each key is held once.
#[derive(Default)]
pub struct Course {
    entries: Vec<Entry>,
    /// Every spelling, in the order they came, to take them out again.
    names: Vec<Name>,
    /// Places in `names`, found by the hash of the spelling.
    index: HashTable<usize>,
    hasher: RandomState,
    renames: Vec<KeyChange>,
    /// How many of them a commit that was tried has followed already.
    followed: usize,
    savepoints: Vec<Savepoint>,
    /// Savepoints open when a commit was tried: going back to one of them undoes what that wrote.
    synced_above: Option<i32>,
    /// A touch was not taken, so that nobody knows what has changed already.
    has_missed: bool,
}

/// A spelling by its place among the names; None while the entries are taken out.
fn spelling<'a>(entries: &'a [Entry], names: &'a [Name], name: usize) -> Option<(Slot, &'a Key)> {
    let name = names.get(name)?;
    let entry = entries.get(name.place)?;
    Some((entry.slot, name.spelling.as_deref().unwrap_or(&entry.key)))
}

impl Course {
    /// The piece that was touched under this spelling of its key.
    pub fn find(&self, slot: Slot, key: &Key) -> Option<usize> {
        let hash = self.hasher.hash_one(Some((slot, key)));
        let is_it = |name: &usize| {
            self.spelling(*name).is_some_and(|(of, known)| of == slot && known == key)
        };
        self.index.find(hash, is_it).and_then(|name| self.names.get(*name)).map(|name| name.place)
    }

    fn spelling(&self, name: usize) -> Option<(Slot, &Key)> {
        spelling(&self.entries, &self.names, name)
    }

    /// Adds a piece, or a further spelling of one.
    ///
    /// # Errors
    /// When memory is short; nothing is added then.
    pub fn add(&mut self, entry: Entry, further: Option<Key>) -> Result<usize> {
        self.make_room()?;
        let slot = entry.slot;
        let place = match self.find(slot, &entry.key) {
            Some(place) => place,
            None => {
                let place = self.entries.len();
                self.entries.push(entry);
                self.name(Name { place, spelling: None });
                place
            }
        };
        if let Some(further) = further
            && self.find(slot, &further).is_none()
        {
            self.name(Name { place, spelling: Some(Box::new(further)) });
        }
        Ok(place)
    }

    /// Notes a further spelling of a piece; false when it was not touched yet.
    ///
    /// # Errors
    /// When memory is short.
    pub fn spelt(&mut self, slot: Slot, key: &Key, further: &Key) -> Result<bool> {
        let Some(place) = self.find(slot, key) else {
            return Ok(false);
        };
        if self.find(slot, further).is_none() {
            self.make_room()?;
            self.name(Name { place, spelling: Some(Box::new(further.clone())) });
        }
        Ok(true)
    }

    /// Room for a piece and two spellings of it.
    fn make_room(&mut self) -> Result<()> {
        self.entries.make_room(1)?;
        self.names.make_room(2)?;
        let Course { entries, names, index, hasher, .. } = self;
        let hash_of = |name: &usize| hasher.hash_one(spelling(entries, names, *name));
        index.try_reserve(2, |name| hash_of(name)).map_err(|_| Failure::no_memory())?;
        Ok(())
    }

    /// Where there is room for it.
    fn name(&mut self, name: Name) {
        let place = self.names.len();
        self.names.push(name);
        let Course { entries, names, index, hasher, .. } = self;
        let hash_of = |name: &usize| hasher.hash_one(spelling(entries, names, *name));
        index.insert_unique(hash_of(&place), place, |name| hash_of(name));
    }

    /// Forgets the spellings noted last, while their pieces are still there.
    fn forget_names(&mut self, from: usize) {
        while self.names.len() > from {
            let last = self.names.len() - 1;
            let hash = self.hasher.hash_one(self.spelling(last));
            if let Ok(found) = self.index.find_entry(hash, |name| *name == last) {
                found.remove();
            }
            self.names.pop();
        }
    }

    /// Whether the transaction has changed a piece otherwise than by restoring another one that shares lines with it.
    pub fn has_changed(&self, slot: Slot, key: &Key) -> bool {
        let place = self.find(slot, key);
        place.and_then(|place| self.entries.get(place)).is_some_and(|entry| !entry.half_restored)
    }

    /// The piece at a place.
    pub fn entry_mut(&mut self, place: usize) -> Option<&mut Entry> {
        self.entries.get_mut(place)
    }

    /// Notes that a header got another key.
    ///
    /// # Errors
    /// When memory is short.
    pub fn rename(&mut self, slot: Slot, old: Key, new: Key) -> Result<()> {
        self.renames.make_room(1)?;
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
        Ok(())
    }

    /// Where the pieces are that got other keys, each kind's apart, as the touched pieces tell; what was followed already is
    /// left out.
    ///
    /// # Errors
    /// When memory is short.
    pub fn whereabouts(&self, entries: &[Entry]) -> Result<Vec<(Slot, Whereabouts)>> {
        let mut slots: Vec<(Slot, Identities)> = Vec::new();
        for change in &self.renames[self.followed.min(self.renames.len())..] {
            let known = slots.iter().position(|(slot, _)| *slot == change.slot);
            let place = known.unwrap_or_else(|| {
                slots.push((change.slot, Identities::default()));
                slots.len() - 1
            });
            let identities = &mut slots[place].1;
            if change.is_new {
                identities.inserted(&change.old, || false)?;
            }
            if change.makes_up {
                identities.deleted(&change.new);
            }
            identities.renamed(&change.old, &change.new)?;
        }
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        for entry in entries {
            let Some((_, identities)) = slots.iter_mut().find(|(slot, _)| *slot == entry.slot)
            else {
                continue;
            };
            if entry.created {
                identities.inserted(&entry.key, || true)?;
            }
            if entry.deleted {
                identities.deleted(&entry.key);
            }
        }
        let come_to = |(slot, identities): (Slot, Identities)| Ok((slot, identities.come_to()?));
        slots.into_iter().map(come_to).collect()
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

    /// A touch could not be taken.
    pub fn miss(&mut self) {
        self.has_missed = true;
    }

    /// Whether a touch could not be taken: what a piece is by now may then not be what it was before.
    pub fn has_missed(&self) -> bool {
        self.has_missed
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What was looked up of pieces may be out of date: somebody else wrote in between.
    pub fn forget_states(&mut self) {
        // What a commit has written is taken back to what was known before.
        for entry in self.entries.iter_mut().filter(|entry| entry.written.is_none()) {
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
        self.forget_names(savepoint.names);
        self.entries.truncate(savepoint.entries);
        // The restore may be among what was undone.
        self.entries.iter_mut().for_each(|entry| entry.half_restored = false);
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
            half_restored: false,
            state: None,
            written: None,
        };
        course.add(entry, None).unwrap();
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
        entries[0].written = Some(Written { snapshot: Some(9), saved: None, respelt: None });
        course.put_back(entries);
        course.savepoint(2);
        course.rollback_to(2);
        assert!(course.entries[0].written.is_some());
        course.rollback_to(1);
        assert!(course.entries[0].written.is_none());
    }

    #[test]
    fn every_spelling_of_a_piece_leads_to_it_until_it_is_undone() {
        let mut course = Course::default();
        for number in 0..1000 {
            touch(&mut course, number);
            if number == 499 {
                course.savepoint(0);
            }
            assert!(course.spelt(SLOT, &key(number), &key(-1 - number)).unwrap());
        }
        for number in 0..1000 {
            assert_eq!(course.find(SLOT, &key(number)), Some(number as usize));
            assert_eq!(course.find(SLOT, &key(-1 - number)), Some(number as usize));
        }
        assert_eq!(course.find(Slot { kind: 1, ..SLOT }, &key(1)), None);
        course.rollback_to(0);
        assert_eq!(course.find(SLOT, &key(499)), Some(499));
        assert_eq!(course.find(SLOT, &key(-500)), None);
        assert_eq!(course.find(SLOT, &key(-499)), Some(498));
        assert_eq!(course.find(SLOT, &key(500)), None);
        assert!(!course.spelt(SLOT, &key(500), &key(0)).unwrap());
    }

    #[test]
    fn a_touched_piece_takes_little_memory() {
        assert!(size_of::<Entry>() <= 200, "{}", size_of::<Entry>());
        assert!(size_of::<Name>() <= 16, "{}", size_of::<Name>());
    }
}
