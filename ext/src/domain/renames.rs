//! What is stored of pieces whose headers got other keys goes with them.

use super::database::Database;
use super::identity::{Identities, Rename, Whereabouts};
use crate::error::Result;
use crate::sqlite::{Room, RoomForKeys, Value, ValueRef, gather_set, try_gather};
use crate::storage::guard::HEADER;
use crate::storage::key::Key;
use crate::storage::shape::quote_identifier;
use crate::storage::store::PieceState;
use crate::storage::trigger::{Code, Event};
use std::collections::HashSet;

impl Database {
    /// Moves what is stored of renamed pieces to their new keys, and records the deletion of those that were deleted under
    /// them or had the key of a new one; gives the keys of these.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn follow(
        &mut self,
        kind: usize,
        whereabouts: &mut Whereabouts,
        at_ms: i64,
    ) -> Result<Vec<Key>> {
        let mut gone = Vec::new();
        let taken = gather_set(whereabouts.moved.iter().map(|rename| rename.new.clone()))?;
        for rename in std::mem::take(&mut whereabouts.deleted) {
            if !taken.contains(&rename.new) && self.own_key(kind, &rename.new)?.is_some() {
                whereabouts.moved.try_push(rename)?;
                continue;
            }
            if self.bury(kind, &rename.old, at_ms)? {
                gone.try_push(rename.old)?;
            }
        }
        self.move_pieces(kind, &whereabouts.moved, &whereabouts.begun)?;
        // Whoever's images are still under the key of a new piece has made room for it.
        for key in &whereabouts.begun {
            if self.bury(kind, key, at_ms)? {
                gone.try_push(key.clone())?;
            }
        }
        Ok(gone)
    }

    /// Records that a piece was deleted; false where none is known to live under this key.
    fn bury(&mut self, kind: usize, key: &Key, at_ms: i64) -> Result<bool> {
        let (id, shown) = (self.kinds[kind].id, key.shown()?);
        let Some(was) = self.store()?.piece(id, &shown)?.filter(|was| was.gone_at.is_none()) else {
            return Ok(false);
        };
        let now = PieceState {
            version: was.version + 1,
            gone_at: Some(at_ms),
            lost_at: None,
            ..was.clone()
        };
        self.store()?.put_piece(id, &shown, Some(&was), Some(&now))?;
        Ok(true)
    }

    /// Moves what is stored of renamed pieces to their new keys. `begun` are keys that headers of their own were inserted
    /// under since.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn move_pieces(
        &mut self,
        kind: usize,
        renames: &[Rename],
        begun: &HashSet<Key>,
    ) -> Result<()> {
        let id = self.kinds[kind].id;
        let taken = gather_set(renames.iter().map(|rename| &rename.new))?;
        let mut moved = Vec::new();
        let mut followed = Vec::new();
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
            followed.try_push(rename)?;
            let old = rename.old.shown()?;
            if let Some(state) = self.store()?.piece(id, &old)? {
                self.store()?.put_piece(id, &old, Some(&state), None)?;
                moved.try_push((rename, state))?;
            }
        }
        self.move_edits(kind, &followed)?;
        // Snapshots are taken along by way of a place that no piece has, because keys may be swapped.
        let sql = format!(
            "UPDATE {}.talon_snapshot SET kind = ?3, key = ?4 WHERE id = ?1 AND kind = ?2",
            quote_identifier(&self.schema)
        );
        for (pass, (from, to)) in [(id, -id), (-id, id)].into_iter().enumerate() {
            for (rename, state) in &moved {
                let new = rename.new.shown()?;
                for snapshot in self.chain(state.last)? {
                    self.connection.run(
                        &sql,
                        &[
                            ValueRef::Integer(snapshot),
                            ValueRef::Integer(from),
                            ValueRef::Integer(to),
                            new.as_ref(),
                        ],
                    )?;
                }
                if pass == 1 {
                    let there = self.store()?.piece(id, &new)?;
                    self.store()?.put_piece(id, &new, there.as_ref(), None)?;
                    self.store()?.put_piece(id, &new, None, Some(state))?;
                }
            }
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
    /// gives the kinds and keys of pieces that were deleted under another key.
    ///
    /// # Errors
    /// What SQLite reports, or [`Error::Memory`].
    pub fn follow_marks(&mut self, at_ms: i64) -> Result<Vec<(usize, Key)>> {
        let mut gone = Vec::new();
        for kind in self.guarded_kinds() {
            // A guard that does not fit any more keeps its marks until it is declared anew.
            let Ok(guard) = self.guard(kind) else { continue };
            let width = guard.header().key.len();
            let named = self.renamed_keys(kind, width)?;
            if named.is_empty() {
                continue;
            }
            let mut whereabouts = self.marked_whereabouts(kind, width, &named)?;
            let deleted = self.follow(kind, &mut whereabouts, at_ms)?;
            // A piece that was new under another key is so under its own.
            let id = self.kinds[kind].id;
            let code = Code { kind: id, part: HEADER, event: Event::Inserted }.number();
            for key in &whereabouts.begun {
                self.leave_gathered_mark(code, &[key])?;
            }
            gone.make_room(deleted.len())?;
            gone.extend(deleted.into_iter().map(|key| (kind, key)));
            self.forget_renames(kind, width)?;
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

    /// Leaves of the marks of renames that the piece at the new key has changed; the old one has a mark of its own.
    fn forget_renames(&mut self, kind: usize, width: usize) -> Result<()> {
        let id = self.kinds[kind].id;
        let code = |event| Value::Integer(Code { kind: id, part: HEADER, event }.number());
        let set: Vec<String> = (1..=8)
            .map(|place| {
                let from = place + width;
                let value = if place <= width { format!("k{from}") } else { "NULL".to_owned() };
                format!("k{place} = {value}")
            })
            .collect();
        let sql = format!(
            "UPDATE {}.talon_touched SET code = ?1, {} WHERE code = ?2",
            quote_identifier(&self.schema),
            set.join(", ")
        );
        let (touch, renamed) = (code(Event::Touch), code(Event::Renamed));
        Ok(self.connection.run(&sql, &[touch.as_ref(), renamed.as_ref()])?)
    }
}
