//! Which piece stands under which key, once headers were given other keys, deleted and inserted: pure.

use crate::error::Result;
use crate::sqlite::{Room, RoomForKeys};
use crate::storage::key::Key;
use std::collections::{HashMap, HashSet};

/// A header that got another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The key before.
    pub old: Key,
    /// The key since.
    pub new: Key,
}

/// A piece that is followed from key to key.
struct Followed {
    /// The key that its images are stored under; None when it is new.
    origin: Option<Key>,
    place: Key,
    deleted: bool,
    /// REPLACE gave its key to another one.
    replaced: bool,
}

/// Follows pieces through what happens to their headers, in order. Keys that no rename names need not be told of.
#[derive(Default)]
pub struct Identities {
    pieces: Vec<Followed>,
    /// Who was last at a key; None when whoever was there has left it for another one.
    at: HashMap<Key, Option<usize>>,
}

/// What it all comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Pieces that live under another key than the one their images are stored under.
    pub moved: Vec<Rename>,
    /// Pieces that were deleted under another key, as far as was heard: one that is there under it lives all the same.
    pub deleted: Vec<Rename>,
    /// Keys that a new piece has now.
    pub begun: HashSet<Key>,
}

impl Identities {
    /// A header got another key.
    ///
    /// # Errors
    /// When memory is short.
    pub fn renamed(&mut self, old: &Key, new: &Key) -> Result<()> {
        self.at.make_room(2)?;
        let piece = match self.at.insert(old.clone(), None) {
            Some(Some(piece)) => piece,
            // Whoever has come to a key that was left, unheard, is new.
            Some(None) => self.add(None, old)?,
            None => self.add(Some(old.clone()), old)?,
        };
        if let Some(Some(there)) = self.at.insert(new.clone(), Some(piece))
            && there != piece
            && let Some(there) = self.pieces.get_mut(there)
        {
            there.replaced = !there.deleted || there.origin.is_none();
        }
        if let Some(piece) = self.pieces.get_mut(piece) {
            piece.place = new.clone();
            // One that is renamed is there, whatever was heard.
            piece.deleted = false;
        }
        Ok(())
    }

    /// A header was inserted. One that was there before goes on as the same piece, whether REPLACE or DELETE made room;
    /// `is_known` says whether one was, where nothing has happened to the key yet.
    ///
    /// # Errors
    /// When memory is short.
    pub fn inserted(&mut self, key: &Key, is_known: impl FnOnce() -> bool) -> Result<()> {
        match self.at.get(key) {
            Some(Some(piece)) => {
                if let Some(piece) = self.pieces.get_mut(*piece) {
                    piece.deleted = false;
                }
                return Ok(());
            }
            Some(None) => {}
            None if is_known() => return Ok(()),
            None => {}
        }
        let piece = self.add(None, key)?;
        self.at.make_room(1)?;
        self.at.insert(key.clone(), Some(piece));
        Ok(())
    }

    /// A header was deleted.
    pub fn deleted(&mut self, key: &Key) {
        let piece = self.at.get(key).copied().flatten();
        if let Some(piece) = piece.and_then(|piece| self.pieces.get_mut(piece)) {
            piece.deleted = true;
        }
    }

    fn add(&mut self, origin: Option<Key>, place: &Key) -> Result<usize> {
        let place = place.clone();
        self.pieces.try_push(Followed { origin, place, deleted: false, replaced: false })?;
        Ok(self.pieces.len() - 1)
    }

    /// What it all comes to.
    ///
    /// # Errors
    /// When memory is short.
    pub fn come_to(self) -> Result<Whereabouts> {
        let mut found = Whereabouts::default();
        for piece in self.pieces {
            match piece.origin {
                // It stays where it was, so that the audit finds it gone.
                Some(_) if piece.replaced => {}
                Some(origin) if origin == piece.place => {}
                Some(old) => {
                    let list = if piece.deleted { &mut found.deleted } else { &mut found.moved };
                    list.try_push(Rename { old, new: piece.place })?;
                }
                None if !piece.replaced => {
                    found.begun.make_room(1)?;
                    found.begun.insert(piece.place);
                }
                None => {}
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::Value;

    fn key(number: i64) -> Key {
        Key::Single(Value::Integer(number))
    }

    /// `1>2` renames, `+1` inserts, `-1` deletes; gives moves, deletions and beginnings in the same words. Images are
    /// known of pieces 1 to 9.
    fn come_to(story: &str) -> String {
        let mut identities = Identities::default();
        let number = |text: &str| text.parse::<i64>().unwrap();
        for word in story.split(' ') {
            if let Some((old, new)) = word.split_once('>') {
                identities.renamed(&key(number(old)), &key(number(new))).unwrap();
            } else if let Some(inserted) = word.strip_prefix('+') {
                identities.inserted(&key(number(inserted)), || number(inserted) < 10).unwrap();
            } else if let Some(deleted) = word.strip_prefix('-') {
                identities.deleted(&key(number(deleted)));
            }
        }
        let found = identities.come_to().unwrap();
        let moved = found.moved.iter().map(|rename| format!("{}>{}", rename.old, rename.new));
        let deleted = found.deleted.iter().map(|rename| format!("-{}", rename.old));
        let mut begun: Vec<String> = found.begun.iter().map(|key| format!("+{key}")).collect();
        begun.sort();
        moved.chain(deleted).chain(begun).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn chains_and_swaps_come_to_one_rename_a_piece() {
        assert_eq!(come_to("1>2 2>3"), "1>3");
        assert_eq!(come_to("1>99 2>1 99>2 5>6 6>5"), "1>2 2>1");
        assert_eq!(come_to("2>3 1>2"), "2>3 1>2");
    }

    #[test]
    fn whoever_comes_to_a_key_that_was_left_is_new() {
        assert_eq!(come_to("1>5 +1"), "1>5 +1");
        assert_eq!(come_to("1>5 +1 1>6"), "1>5 +6");
        assert_eq!(come_to("+10 10>11"), "+11");
    }

    #[test]
    fn one_that_is_deleted_under_another_key_is_deleted_under_its_own() {
        assert_eq!(come_to("1>2 -2"), "-1");
        assert_eq!(come_to("1>2 -2 +1"), "-1 +1");
        assert_eq!(come_to("1>2 -2 3>2"), "3>2 -1");
        assert_eq!(come_to("+10 10>11 -11 12>11"), "12>11");
    }

    #[test]
    fn one_that_is_replaced_or_put_back_goes_on_as_the_same() {
        assert_eq!(come_to("1>2 +2"), "1>2");
        assert_eq!(come_to("1>2 -2 +2"), "1>2");
        assert_eq!(come_to("+1 1>2"), "1>2");
    }

    #[test]
    fn one_whose_key_another_takes_by_replace_stays_to_be_found_gone() {
        assert_eq!(come_to("1>2 3>2"), "3>2");
    }
}
