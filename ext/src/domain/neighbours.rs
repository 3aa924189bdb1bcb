//! Pieces of other kinds that own the same rows: a line of an order and of its delivery, at once.
//!
//! A restore writes with touches uncounted, so what it changes of them is said here.

use super::clock::Clock;
use super::database::Database;
use super::settle::{Circumstances, Reason};
use super::snapshot::Stored;
use crate::error::{Error, Result};
use crate::sqlite::Value;
use crate::storage::guard::HEADER;
use crate::storage::key::Key;
use std::rc::Rc;

impl Database {
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
            let piece = self.piece_of(other, part, link)?;
            let own = match piece {
                Some(piece) => self.own_key(other, &Key::of(piece))?,
                None => None,
            };
            let Some(key) = own else { continue };
            let about = Circumstances {
                created: false,
                deleted: false,
                reason: Reason::Edit,
                at: clock.now_ms(),
            };
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
                    let mut note = |columns: &[String], row: &[Value]| {
                        let link: Option<Vec<Value>> = wanted
                            .iter()
                            .map(|name| {
                                let at = columns.iter().position(|column| column == name)?;
                                row.get(at).filter(|value| !value.as_ref().is_null()).cloned()
                            })
                            .collect();
                        if let Some(link) = link {
                            let owner = (other, link, other_place);
                            if !found.contains(&owner) {
                                found.push(owner);
                            }
                        }
                    };
                    if let Some(stored) = stored.part(&part.name) {
                        stored.rows.iter().for_each(|row| note(&stored.columns, row));
                    }
                    for (_, row) in before.iter().filter(|(of, _)| *of == place) {
                        note(&part.columns, row);
                    }
                }
            }
        }
        Ok(found)
    }
}
