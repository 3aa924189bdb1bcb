//! What a commit says to other sites: each change of a piece or record of a synchronised kind gets a number and a stamp.

use super::breaches::Breach;
use super::field_marks::{FieldMark, FieldMarks};
use crate::domain::clock::Clock;
use crate::domain::database::Database;
use crate::domain::settle::{Reason, Weighed};
use crate::error::{Error, Result};
use crate::sqlite::{Value, ValueRef};
use crate::storage::change_store::{
    BRING_CHANGE, Change, DELETE_CHANGE, INSERT_CHANGE, NewChange, SELECT_CHANGE, SELECT_LATEST,
    SELECT_NEWEST, SHOW_CHANGE, change,
};
use crate::storage::payload_reader::read;
use crate::storage::policy::Merge;
use crate::storage::schema::SYNC_SINCE;
use crate::storage::site_store::{OwnSite, SiteStore};
use crate::storage::stamp::tick;
use crate::storage::store::PieceState;
use std::rc::Rc;

/// What changes are stamped with, as far as it is known.
#[derive(Default)]
pub struct Stamping {
    site: Option<Option<Rc<OwnSite>>>,
    /// The highest stamp that this file has seen.
    latest: Option<i64>,
    /// The open transaction's.
    stamp: Option<i64>,
    /// Whether there are changes that are not sent because they broke a rule.
    pub(super) holds_back: Option<bool>,
}

impl Stamping {
    /// The transaction is over: the next one has a stamp of its own.
    pub fn ended(&mut self) {
        self.stamp = None;
    }

    /// Others may have written.
    pub fn doubt(&mut self) {
        (self.site, self.latest, self.holds_back) = (None, None, None);
    }
}

/// What is to be told of a change that is about to be stored.
pub enum Telling {
    /// Nothing: other sites know that state, or are not to know it.
    Nothing,
    /// Nothing: the image is what this change, which other sites know, says already.
    Known(i64),
    /// It is a change.
    Change(ToTell),
    /// It is one that broke a rule: kept here, listed, not sent.
    HeldBack(Breach),
}

/// A change to be told.
pub struct ToTell {
    site: i64,
    stamp: i64,
    previous: Option<i64>,
    is_gone: bool,
    fields: Option<String>,
    /// What it is known by at other sites, where its key is what another is known by.
    name: Option<i64>,
    /// It follows one that was held back.
    pub(super) releases: Option<Breach>,
}

/// What a transition means to other sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Nothing new.
    None,
    /// It was deleted.
    Gone,
    /// Its image is new to them.
    Image,
}

/// What a transition means to other sites: pure. What they know stays so where a piece without lines is but lost.
fn meaning(was: Option<&PieceState>, now: &PieceState, is_image: bool) -> Meaning {
    let was_told = was.filter(|was| was.change().is_some());
    let was_gone = was.is_some_and(|was| was.gone_at.is_some());
    if now.gone_at.is_some() {
        // What nobody knows needs no burial.
        return if was_told.is_some() && !was_gone { Meaning::Gone } else { Meaning::None };
    }
    let is_same = was_told.is_some_and(|was| was.hash.is_some() && was.hash == now.hash);
    if is_image && (!is_same || was_gone) || was_told.is_some() && was_gone {
        Meaning::Image
    } else {
        Meaning::None
    }
}

impl Database {
    /// Which site this is, where that was said.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn own_site(&mut self) -> Result<Option<Rc<OwnSite>>> {
        if self.format < SYNC_SINCE {
            return Ok(None);
        }
        if let Some(known) = &self.stamping.site {
            return Ok(known.clone());
        }
        let site = SiteStore::new(self.connection, &self.schema).own()?.map(Rc::new);
        self.stamping.site = Some(site.clone());
        Ok(site)
    }

    /// Which site this is has been said anew.
    pub fn forget_site(&mut self) {
        self.stamping = Stamping::default();
    }

    /// The highest stamp that this file has seen, made here or received.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn latest_stamp(&mut self) -> Result<i64> {
        if let Some(known) = self.stamping.latest {
            return Ok(known);
        }
        let found = self.own_statement(SELECT_LATEST)?.first(&[], |row| {
            let integer = |place: usize| row.column(place).as_integer().unwrap_or(0);
            Ok(integer(0).max(integer(1)))
        })?;
        Ok(*self.stamping.latest.insert(found.unwrap_or(0)))
    }

    /// The number that the next change gets.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn next_change(&mut self) -> Result<i64> {
        let newest =
            self.own_statement(SELECT_NEWEST)?.first(&[], |row| Ok(row.column(0).as_integer()))?;
        Ok(newest.flatten().unwrap_or(0).saturating_add(1))
    }

    /// The stamp of the open transaction: behind all that was seen, and by the clock where that goes right.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn stamp(&mut self, clock: &Clock) -> Result<i64> {
        if let Some(stamp) = self.stamping.stamp {
            return Ok(stamp);
        }
        let stamp = tick(self.latest_stamp()?, clock.now_ms());
        (self.stamping.latest, self.stamping.stamp) = (Some(stamp), Some(stamp));
        Ok(stamp)
    }

    /// Notes that a stamp of another site was seen: before its changes are stored, so that none made here goes below what
    /// was made or seen here before.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn advance_clock(&mut self, seen: i64) -> Result<()> {
        let latest = self.latest_stamp()?;
        SiteStore::new(self.connection, &self.schema).set_clock(latest.max(seen))?;
        self.stamping.latest = Some(latest.max(seen));
        if self.stamping.stamp.is_some_and(|stamp| stamp <= seen) {
            self.stamping.stamp = None;
        }
        Ok(())
    }

    /// A stored change.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn change(&mut self, seq: i64) -> Result<Option<Change>> {
        let statement = self.own_statement(SELECT_CHANGE)?;
        Ok(statement.first(&[ValueRef::Integer(seq)], |row| Ok(change(row)))?)
    }

    /// Notes that a flow brought a change again.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn bring_change(&mut self, seq: i64, flow: i64) -> Result<()> {
        let noted = self.own_statement(BRING_CHANGE)?;
        Ok(noted.run(&[ValueRef::Integer(seq), ValueRef::Integer(flow)])?)
    }

    /// Stores a change; gives its number. `last_insert_rowid()` is left at it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn insert_change(&mut self, new: &NewChange<'_>) -> Result<i64> {
        self.own_statement(INSERT_CHANGE)?.run(&new.values())?;
        self.stamping.latest = self.stamping.latest.map(|latest| latest.max(new.stamp));
        match self.connection.changes() {
            1 => Ok(self.connection.last_insert_rowid()),
            _ => Err(Error::Argument("a trigger on talon_change keeps rows out of it".to_owned())),
        }
    }

    /// Takes back a change that the same transaction stored.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_change(&mut self, seq: i64) -> Result<()> {
        Ok(self.own_statement(DELETE_CHANGE)?.run(&[ValueRef::Integer(seq)])?)
    }

    /// What other sites are told of what is about to be stored of the piece read last; all that it needs is read and
    /// prepared here. `room` is where the state of a deleted piece goes whose key it takes.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn telling(
        &mut self,
        clock: &Clock,
        kind: usize,
        weighed: &Weighed,
        room: Option<i64>,
    ) -> Result<Telling> {
        let (Some(site), Some(now)) = (self.own_site()?, &weighed.now) else {
            return Ok(Telling::Nothing);
        };
        let was = weighed.was.as_ref();
        let meaning = meaning(was, now, weighed.reason.is_some());
        if meaning == Meaning::None {
            return match now.change() {
                Some(change) if weighed.reason.is_some() => {
                    self.own_statement(SHOW_CHANGE)?;
                    Ok(Telling::Known(change))
                }
                _ => Ok(Telling::Nothing),
            };
        }
        // What was there before anybody watched is no breach, and no change either where it could not be one.
        let is_old = matches!(weighed.reason, Some(Reason::Before | Reason::Baseline));
        let key = &weighed.key;
        // Nobody was asked whether that may be created here.
        let is_unasked = weighed.is_unseen || is_old;
        if let Some(breach) = self.breach(clock, &site, kind, key, was, is_unasked)? {
            return Ok(match is_old {
                true => Telling::Nothing,
                false => Telling::HeldBack(breach),
            });
        }
        // Another site's is another one wherever its state goes.
        let is_foreign = weighed.deleted_before().is_some_and(|gone| gone.origin().is_some());
        let room = room.filter(|_| !is_foreign);
        let is_new = room.is_some() || is_foreign;
        let was = was.filter(|_| !is_new);
        let previous = was.and_then(PieceState::change);
        let name = match (previous, room) {
            // Its key is what other sites know the deleted one by.
            (_, Some(room)) => Some(room.saturating_sub(1)),
            (None, None) => self.name_of_new(kind, key)?,
            (Some(_), None) => None,
        };
        let stamp = self.stamp(clock)?;
        let fields = match (meaning, was, previous) {
            (Meaning::Image, Some(was), Some(previous)) => {
                self.fields(kind, &site, stamp, was, previous)?
            }
            _ => None,
        };
        let releases = match self.holds_back()? {
            true => Some(self.released(&site, kind, key, was)?),
            false => None,
        };
        self.own_statement(INSERT_CHANGE)?;
        self.store()?.prepare_synchronised()?;
        let is_gone = meaning == Meaning::Gone;
        let site = site.id;
        Ok(Telling::Change(ToTell { site, stamp, previous, is_gone, fields, name, releases }))
    }

    /// Stores what [`Database::telling`] came to; the state that goes with it names the change.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn tell(
        &mut self,
        kind: i64,
        key: &Value,
        now: &mut PieceState,
        telling: &Telling,
    ) -> Result<()> {
        let tell = match telling {
            Telling::Nothing => return Ok(()),
            Telling::Known(change) => {
                let values = [
                    ValueRef::Integer(*change),
                    now.last.map_or(ValueRef::Null, ValueRef::Integer),
                ];
                return Ok(self.own_statement(SHOW_CHANGE)?.run(&values)?);
            }
            Telling::HeldBack(breach) => return self.hold_back(breach),
            Telling::Change(tell) => tell,
        };
        let seq = self.insert_change(&NewChange {
            kind,
            key,
            version: now.version,
            stamp: tell.stamp,
            site: tell.site,
            snapshot: if tell.is_gone { None } else { now.last },
            previous: tell.previous,
            via: None,
            flow: None,
            fields: tell.fields.as_deref(),
        })?;
        let sync = now.sync_mut();
        sync.change = Some(seq);
        sync.origin_key = tell.name.or(sync.origin_key);
        match &tell.releases {
            Some(released) => self.release(released),
            None => Ok(()),
        }
    }

    /// The stamps of a record's columns, as JSON: of those that the record read last has changed, and of those that it had
    /// changed before. None where whole records are compared.
    fn fields(
        &mut self,
        kind: usize,
        site: &OwnSite,
        stamp: i64,
        was: &PieceState,
        previous: i64,
    ) -> Result<Option<String>> {
        let guard = self.guard(kind)?;
        if guard.sync.as_ref().is_none_or(|policy| policy.merge != Merge::Field) {
            return Ok(None);
        }
        let before = match was.last.map(|last| self.stored(last)) {
            Some(Ok(stored)) => Some(stored),
            None | Some(Err(Error::Unreadable { .. })) => None,
            Some(Err(error)) => return Err(error),
        };
        let before = before.as_ref().and_then(|stored| stored.part("header"));
        let now = read(&self.image.payload).map_err(|unread| unread.of_snapshot(0))?;
        let now = now.iter().find(|(name, _)| name == "header").and_then(|(_, rows)| rows.first());
        let known = self.change(previous)?.and_then(|change| change.fields);
        let mut fields = match known {
            // What cannot be read is as it was created.
            Some(known) => FieldMarks::read(&known).unwrap_or_default(),
            None => FieldMarks::default(),
        };
        for (place, column) in guard.header().columns.iter().enumerate() {
            let was = before.and_then(|part| {
                let at = part.columns.iter().position(|name| name == column)?;
                part.rows.first()?.get(at)
            });
            let is = now.and_then(|row| row.get(place));
            if was.is_none() || was != is {
                let mark = FieldMark { stamp, site: site.code.clone(), seq: None };
                fields.set(column, Some(mark));
            }
        }
        Ok(Some(fields.to_json(self.next_change()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(hash: u8) -> PieceState {
        let mut state = PieceState { saved: true, hash: Some([hash; 32]), ..PieceState::new() };
        state.sync_mut().change = Some(7);
        state
    }

    #[test]
    fn an_image_is_told_once() {
        let new = PieceState { hash: Some([1; 32]), ..PieceState::new() };
        assert_eq!(meaning(None, &new, true), Meaning::Image);
        assert_eq!(meaning(Some(&told(1)), &told(2), true), Meaning::Image);
        // Its snapshots were purged, and it is imaged as it was.
        assert_eq!(meaning(Some(&told(1)), &told(1), true), Meaning::None);
    }

    #[test]
    fn a_loss_is_not_told() {
        let lost = PieceState { lost_at: Some(1), ..told(1) };
        assert_eq!(meaning(Some(&told(1)), &lost, false), Meaning::None);
        assert_eq!(meaning(Some(&lost), &told(1), false), Meaning::None);
    }

    #[test]
    fn a_deletion_is_told_to_those_who_know_the_piece() {
        let gone = PieceState { gone_at: Some(1), ..told(1) };
        assert_eq!(meaning(Some(&told(1)), &gone, false), Meaning::Gone);
        assert_eq!(meaning(Some(&gone), &told(1), false), Meaning::Image);
        assert_eq!(meaning(Some(&gone), &told(1), true), Meaning::Image);
        let unknown = PieceState { sync: None, ..gone.clone() };
        assert_eq!(meaning(Some(&PieceState::new()), &unknown, false), Meaning::None);
    }
}
