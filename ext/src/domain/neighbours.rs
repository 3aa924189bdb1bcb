//! Pieces of other kinds that own the same rows: a line of an order and of its delivery, at once.
//!
//! A restore writes with touches uncounted, so what it changes of them is said here.

use super::clock::Clock;
use super::database::Database;
use super::settle::{Circumstances, Reason};
use super::snapshot::Stored;
use super::talon::{Place, Talon};
use crate::error::{Error, Result};
use crate::sqlite::{Room, RoomForKeys, Value, ValueRef};
use crate::storage::guard::HEADER;
use crate::storage::key::Key;
use crate::storage::shape::{quote_equal, quote_list};
use crate::storage::store::PieceState;
use std::collections::HashSet;
use std::rc::Rc;

impl Database {
    /// The living piece of another kind that a row belongs to by now, where it no longer belongs to a piece of `kind`:
    /// kinds that share a table are told apart by a condition, or by which column refers to a header. `stored` gives the
    /// value that the image has in a column; a row that belonged to both all along is no obstacle.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn owner_of_another_kind<'v>(
        &mut self,
        kind: usize,
        place: usize,
        key: &[Value],
        stored: impl Fn(&str) -> Option<&'v Value>,
    ) -> Result<Option<(String, Key)>> {
        let guard = self.guard(kind)?;
        let part = &guard.parts[place];
        let values: Vec<ValueRef<'_>> = key.iter().map(Value::as_ref).collect();
        for other in (0..self.kinds.len()).filter(|other| *other != kind) {
            if !self.fits(other)? {
                continue;
            }
            let other_guard = self.guard(other)?;
            let shared =
                other_guard.parts.iter().enumerate().filter(|(other_place, other_part)| {
                    *other_place != HEADER
                        && other_part.parent == HEADER
                        && other_part.table.name.eq_ignore_ascii_case(&part.table.name)
                });
            for (_, other_part) in shared {
                let prefix = format!("{}.", other_part.alias);
                let sql = format!(
                    "SELECT {} FROM {} WHERE {}{}",
                    quote_list(&prefix, &other_part.link),
                    other_part.from_clause(&self.schema),
                    quote_equal(&prefix, &part.key, 1),
                    other_part.and_condition()
                );
                let width = other_part.link.len();
                let link: Option<Vec<Value>> =
                    self.statement(other, &sql)?.first(&values, |row| row.values(0..width))?;
                let Some(link) =
                    link.filter(|link| !link.iter().any(|value| value.as_ref().is_null()))
                else {
                    continue;
                };
                let was_shared = other_part.link != part.link
                    && other_part
                        .link
                        .iter()
                        .zip(&link)
                        .all(|(column, value)| stored(column) == Some(value));
                if !was_shared && let Some(owner) = self.own_key(other, &Key::of(link))? {
                    return Ok(Some((other_guard.kind.clone(), owner)));
                }
            }
        }
        Ok(None)
    }

    /// The pieces of other kinds that own rows of `stored`, and that have lost all of their lines.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn emptied_neighbours(
        &mut self,
        kind: usize,
        stored: &Stored,
    ) -> Result<Vec<(usize, Key)>> {
        let mut emptied = Vec::new();
        for (other, link, part) in self.neighbours(kind, stored, &[])? {
            let Some(key) = self.owner(other, part, link)? else { continue };
            if self.read(other, &key)?
                && self.image.lines == 0
                && !emptied.contains(&(other, key.clone()))
            {
                emptied.push((other, key));
            }
        }
        Ok(emptied)
    }

    /// Records that a piece has lost its lines, where a snapshot has some and nobody has accepted that.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn lose(&mut self, kind: usize, key: &Key, at_ms: i64) -> Result<()> {
        let (id, shown) = (self.kinds[kind].id, key.shown()?);
        let Some(was) = self.store()?.piece(id, &shown)? else { return Ok(()) };
        if was.lines == 0 || was.lost_at.is_some() || was.dismissed_at.is_some() {
            return Ok(());
        }
        let now = PieceState { version: was.version + 1, lost_at: Some(at_ms), ..was.clone() };
        self.store()?.put_piece(id, &shown, Some(&was), Some(&now))
    }

    /// The piece that a row of a part belongs to, by what the row says of it.
    fn owner(&mut self, kind: usize, part: usize, link: Vec<Value>) -> Result<Option<Key>> {
        match self.piece_of(kind, part, link)? {
            Some(piece) => self.own_key(kind, &Key::of(piece)),
            None => Ok(None),
        }
    }

    /// Images the pieces of other kinds that own rows written for a piece of `kind`: those of `stored`, and those that
    /// `before` says were changed or removed (their part, and their values in the order of its columns).
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn settle_neighbours(
        &mut self,
        clock: &Clock,
        who: Option<&(String, String)>,
        kind: usize,
        stored: &Stored,
        before: &[(usize, Vec<Value>)],
    ) -> Result<()> {
        for (other, link, part) in self.neighbours(kind, stored, before)? {
            let Some(key) = self.owner(other, part, link)? else { continue };
            // One that was lost as well has got back a part of its lines, perhaps all: that is no image of it, and its
            // own restore is yet to make it whole.
            let id = self.kinds[other].id;
            let state = self.store()?.piece(id, &key.shown()?)?;
            if state.is_some_and(|state| state.lost_at.is_some()) {
                continue;
            }
            let about = Circumstances::of(Reason::Edit, clock.now_ms());
            self.settle(clock, who, other, &key, None, about)?;
        }
        Ok(())
    }

    /// Other kinds, what the rows say of their owner there, and the part that says it; each once.
    fn neighbours(
        &mut self,
        kind: usize,
        stored: &Stored,
        before: &[(usize, Vec<Value>)],
    ) -> Result<Vec<(usize, Vec<Value>, usize)>> {
        let mut found: Vec<(usize, Vec<Value>, usize)> = Vec::new();
        let mut known: HashSet<(usize, Vec<Value>, usize)> = HashSet::new();
        let guard = self.guard(kind)?;
        for other in (0..self.kinds.len()).filter(|other| *other != kind) {
            let other_guard = match self.guard(other) {
                Ok(guard) => Rc::clone(&guard),
                Err(Error::Definition { .. }) => continue,
                Err(error) => return Err(error),
            };
            for (place, part) in guard.parts.iter().enumerate() {
                for (other_place, shared) in other_guard.parts.iter().enumerate() {
                    if shared.table.name != part.table.name {
                        continue;
                    }
                    let wanted = if other_place == HEADER { &shared.key } else { &shared.link };
                    let mut note = |columns: &[String], row: &[Value]| -> Result<()> {
                        let link: Option<Vec<Value>> = wanted
                            .iter()
                            .map(|name| {
                                let at = columns.iter().position(|column| column == name)?;
                                row.get(at).filter(|value| !value.as_ref().is_null()).cloned()
                            })
                            .collect();
                        if let Some(link) = link {
                            let owner = (other, link, other_place);
                            known.make_room(1)?;
                            if known.insert(owner.clone()) {
                                found.try_push(owner)?;
                            }
                        }
                        Ok(())
                    };
                    if let Some(stored) = stored.part(&part.name) {
                        for row in &stored.rows {
                            note(&stored.columns, row)?;
                        }
                    }
                    for (_, row) in before.iter().filter(|(of, _)| *of == place) {
                        note(&part.columns, row)?;
                    }
                }
            }
        }
        Ok(found)
    }
}

impl Talon {
    /// Notes which pieces have lost their lines and get back some that they share with the one that is restored.
    pub(super) fn half_restore(
        &self,
        database: &mut Database,
        place: &Place,
        key: &Key,
        emptied: Vec<(usize, Key)>,
    ) -> Result<()> {
        let note = |kind: usize, key: &Key, half_restored: bool| {
            let mut course = self.course.borrow_mut();
            let known = course.find(Database::slot(place.database, kind), key);
            if let Some(entry) = known.and_then(|known| course.entry_mut(known)) {
                entry.half_restored = half_restored;
            }
        };
        note(place.kind, key, false);
        // The next touch of one of them is none that was counted already.
        self.latest.set(None);
        for (kind, key) in emptied {
            database.lose(kind, &key, self.clock.now_ms())?;
            note(kind, &key, true);
        }
        Ok(())
    }
}
