//! Keys that are given twice. Hosts use the key of a deleted row again, and change keys; what a piece is called at other sites
//! stays. Of one that is gone the state makes room, under a number that no row has; one whose key another was known by is
//! known by such a number.

use crate::domain::database::Database;
use crate::error::Result;
use crate::sqlite::{Value, ValueRef};
use crate::storage::change_store::MOVE_CHANGE;
use crate::storage::key::Key;
use crate::storage::policy::Keys;
use crate::storage::store::PieceState;

/// Numbers below this one are no host's.
const LOWEST_OF_HOSTS: i64 = i64::MIN / 2;

const LOWEST: &str = "SELECT min(low) FROM (
      SELECT min(key) AS low FROM {s}.talon_piece WHERE kind = ?1 AND saved = 0 AND key < ?2
      UNION ALL SELECT min(origin_key) FROM {s}.talon_piece WHERE kind = ?1 AND origin IS NULL AND origin_key < ?2)";
const KNOWN_BY: &str =
    "SELECT 1 FROM {s}.talon_piece WHERE kind = ?1 AND origin IS NULL AND origin_key = ?2";
const FORGET: &str = "DELETE FROM {s}.talon_piece
    WHERE kind = ?1 AND saved = 0 AND origin IS ?2 AND origin_key = ?3 AND key < ?4";

/// Whether no row has this key, but what is known of a piece that is gone.
pub(super) fn is_of_nobody(key: &Value) -> bool {
    matches!(key, Value::Integer(number) if *number < LOWEST_OF_HOSTS)
}

impl Database {
    /// Whether a kind's keys are numbers that each site gives by itself.
    fn translates(&mut self, kind: usize) -> Result<bool> {
        let guard = self.guard(kind)?;
        Ok(guard.sync.as_ref().is_some_and(|policy| policy.keys == Keys::Translated))
    }

    /// A number that no row has, for what is known of a piece that is gone.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn number_of_nobody(&mut self, kind: usize) -> Result<i64> {
        let values = [self.kinds[kind].id, LOWEST_OF_HOSTS].map(ValueRef::Integer);
        let lowest = self.own_statement(LOWEST)?;
        let lowest = lowest.first(&values, |row| Ok(row.column(0).as_integer()))?.flatten();
        Ok(lowest.unwrap_or(LOWEST_OF_HOSTS).saturating_sub(1))
    }

    /// Where the state of a deleted piece is to go when another one takes its key; None where that is the same piece to
    /// other sites, or they know nothing of it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(in crate::domain) fn room_for_deleted(
        &mut self,
        kind: usize,
        key: &Key,
        gone: &PieceState,
    ) -> Result<Option<i64>> {
        let is_told = gone.gone_at.is_some() && gone.change().is_some();
        let is_number = matches!(key, Key::Single(Value::Integer(_)));
        if !is_told || !is_number || !self.translates(kind)? {
            return Ok(None);
        }
        self.own_statement(MOVE_CHANGE)?;
        self.store()?.prepare_synchronised()?;
        self.number_of_nobody(kind).map(Some)
    }

    /// Moves the state of a deleted piece out of its key.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(in crate::domain) fn displace(
        &mut self,
        kind: i64,
        key: &Value,
        gone: &PieceState,
        room: i64,
    ) -> Result<()> {
        let mut state = PieceState { saved: false, last: None, hash: None, ..gone.clone() };
        if let (None, Value::Integer(key)) = (gone.origin_key(), key) {
            state.sync_mut().origin_key = Some(*key);
        }
        let room = Value::Integer(room);
        self.store()?.remove_piece(kind, key)?;
        self.store()?.put_piece(kind, &room, None, Some(&state))?;
        let Some(change) = gone.change() else { return Ok(()) };
        Ok(self.own_statement(MOVE_CHANGE)?.run(&[ValueRef::Integer(change), room.as_ref()])?)
    }

    /// Undoes that, but for the state under its own key.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(in crate::domain) fn undo_displace(
        &mut self,
        kind: i64,
        key: &Value,
        gone: &PieceState,
    ) -> Result<()> {
        let (Some(change), Value::Integer(number)) = (gone.change(), key) else { return Ok(()) };
        let integer = |value: Option<i64>| value.map_or(ValueRef::Null, ValueRef::Integer);
        self.own_statement(FORGET)?.run(&[
            ValueRef::Integer(kind),
            integer(gone.origin()),
            ValueRef::Integer(gone.origin_key().unwrap_or(*number)),
            ValueRef::Integer(LOWEST_OF_HOSTS),
        ])?;
        Ok(self.own_statement(MOVE_CHANGE)?.run(&[ValueRef::Integer(change), key.as_ref()])?)
    }

    /// What a new piece is known by at other sites, where its key is what another of this site is known by.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn name_of_new(&mut self, kind: usize, key: &Key) -> Result<Option<i64>> {
        let Key::Single(Value::Integer(number)) = key else { return Ok(None) };
        if !self.translates(kind)? {
            return Ok(None);
        }
        let values = [self.kinds[kind].id, *number].map(ValueRef::Integer);
        match self.own_statement(KNOWN_BY)?.first(&values, |_| Ok(()))? {
            Some(()) => self.number_of_nobody(kind).map(Some),
            None => Ok(None),
        }
    }
}
