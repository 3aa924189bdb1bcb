//! Edits: a station has a piece open for modification. One at a time; whoever else asks is told who it is.

use super::clock::Clock;
use super::database::Database;
use super::talon::{Place, Talon};
use crate::error::{Error, Result};
use crate::sqlite::{Room, Rows, Value, ValueRef};
use crate::storage::key::Key;
use crate::storage::schema::EDITS_SINCE;

/// A piece that a station has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The station.
    pub station: String,
    /// Its user; empty when none was said.
    pub user: String,
    /// Row of `talon_station`.
    pub who: i64,
    /// In ms since 1970.
    pub since_ms: i64,
}

impl Edit {
    /// `at till 2 by marie since 2026-11-21T08:00:00.000+01:00`.
    pub fn describe(&self, clock: &Clock) -> String {
        let by = if self.user.is_empty() { String::new() } else { format!(" by {}", self.user) };
        format!("at {}{by} since {}", self.station, clock.shown(self.since_ms))
    }
}

/// What a station finds that opens a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It has lines, and its image is stored.
    Open,
    /// It had lost its lines; they are back.
    Restored,
    /// It has no lines, and none can be given back: they are to be entered again.
    Empty,
}

impl Opened {
    /// As `talon_edit_begin` answers.
    pub fn text(self) -> &'static str {
        match self {
            Opened::Open => "open",
            Opened::Restored => "restored",
            Opened::Empty => "empty",
        }
    }
}

impl Talon {
    /// Reserves a piece for this station and user, and takes its image as it is now; gives a piece without lines its lines
    /// back, where that can be done.
    ///
    /// # Errors
    /// [`Error::Argument`] when the station was not said, [`Error::BeingEdited`], [`Error::UnknownPiece`],
    /// [`Error::Deleted`].
    pub fn begin_edit(&self, schema: &str, kind: &str, piece: ValueRef<'_>) -> Result<Opened> {
        let who = self.said_station()?;
        let place = self.place_to_write(schema, kind)?;
        // A limit that a host has set for its own statements does not hold for an image.
        let _lifted = self.connection.lift_limits();
        let result = self.atomically(schema, || {
            let key = self.databases()?[place.database].named_piece(place.kind, piece)?;
            self.open_piece(&place, &key, &who)
        });
        self.course.borrow_mut().forget_states();
        result
    }

    fn open_piece(&self, place: &Place, key: &Key, who: &(String, String)) -> Result<Opened> {
        let is_touched = self.is_touched(place, key);
        let mut databases = self.databases()?;
        let database = &mut databases[place.database];
        let is_there = database.read(place.kind, key)?;
        let lines = database.image.lines;
        let is_record = database.guard(place.kind)?.is_of_records();
        let id = database.kinds[place.kind].id;
        let state = database.store()?.piece(id, &key.shown()?)?;
        if !is_there {
            let (kind, piece) = (database.kinds[place.kind].name.clone(), key.to_string());
            let is_recorded = state.is_some_and(|state| state.gone_at.is_some());
            return Err(if is_recorded {
                Error::Deleted { kind, piece }
            } else {
                Error::UnknownPiece { kind, piece }
            });
        }
        let edit = database.edit(place.kind, key)?;
        if edit.as_ref().is_some_and(|edit| edit.station != who.0) {
            return Err(self.being_edited(database, place.kind, key, edit));
        }
        let now = self.clock.now_ms();
        let since_ms = edit.filter(|edit| edit.user == who.1).map_or(now, |edit| edit.since_ms);
        let station = database.station(Some(who))?.unwrap_or(0);
        database.put_edit(place.kind, key, station, since_ms)?;
        // Lines that it shares with another piece may have come back with that one.
        let is_lost = !is_touched && state.as_ref().is_some_and(|state| state.lost_at.is_some());
        if is_record || lines > 0 && !is_lost {
            if !is_touched {
                let is_known = state.as_ref().is_some_and(|state| state.saved);
                self.take_before_image(database, place.kind, key, state, is_known)?;
            }
            return Ok(Opened::Open);
        }
        let is_meant = state.is_some_and(|state| state.dismissed_at.is_some());
        drop(databases);
        Ok(if !is_meant && self.recover(place, key)? {
            Opened::Restored
        } else if lines > 0 {
            Opened::Open
        } else {
            Opened::Empty
        })
    }

    /// Ends this station's edit of a piece.
    ///
    /// # Errors
    /// [`Error::Argument`] when the station was not said, [`Error::NotEdited`], [`Error::BeingEdited`].
    pub fn end_edit(&self, schema: &str, kind: &str, piece: ValueRef<'_>) -> Result<()> {
        let who = self.said_station()?;
        let place = self.place_to_write(schema, kind)?;
        self.atomically(schema, || {
            let mut databases = self.databases()?;
            let database = &mut databases[place.database];
            let key = database.named_piece(place.kind, piece)?;
            match database.edit(place.kind, &key)? {
                Some(edit) if edit.station == who.0 => database.remove_edit(place.kind, &key),
                Some(edit) => Err(self.being_edited(database, place.kind, &key, Some(edit))),
                None => Err(not_edited(database, place.kind, &key)),
            }
        })
    }

    /// Ends anybody's edit of a piece, and journals whose it was; gives that in words.
    ///
    /// # Errors
    /// [`Error::NotEdited`].
    pub fn release_edit(&self, schema: &str, kind: &str, piece: ValueRef<'_>) -> Result<String> {
        let place = self.place_to_write(schema, kind)?;
        self.atomically(schema, || {
            let mut databases = self.databases()?;
            let database = &mut databases[place.database];
            let key = database.named_piece(place.kind, piece)?;
            let Some(edit) = database.edit(place.kind, &key)? else {
                return Err(not_edited(database, place.kind, &key));
            };
            self.journal_release(database, place.kind, &key, &edit)?;
            Ok(format!("{kind} {key} was being edited {}", edit.describe(&self.clock)))
        })
    }

    /// Ends every edit of a kind, journaled: nobody could end them once it is not guarded any more.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn release_all(&self, database: &mut Database, kind: usize) -> Result<()> {
        for (key, edit) in database.edits(kind)? {
            self.journal_release(database, kind, &key, &edit)?;
        }
        Ok(())
    }

    /// Ends the edits of deleted pieces that were begun before a day, journaled: their stations have nothing to end any
    /// more.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn release_deleted(
        &self,
        database: &mut Database,
        kind: usize,
        before: &str,
    ) -> Result<()> {
        for (key, edit) in database.edits(kind)? {
            if self.clock.day(edit.since_ms).as_str() < before && database.is_deleted(kind, &key)? {
                self.journal_release(database, kind, &key, &edit)?;
            }
        }
        Ok(())
    }

    fn journal_release(
        &self,
        database: &mut Database,
        kind: usize,
        key: &Key,
        edit: &Edit,
    ) -> Result<()> {
        let by = database.station(self.station().as_ref())?;
        let name = database.kinds[kind].name.clone();
        let shown = key.shown()?;
        database
            .own_statement(
                "INSERT INTO {s}.talon_released(at, kind, piece, station, since, released_by)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .run(&[
                ValueRef::Integer(self.clock.now_ms()),
                ValueRef::Text(name.as_bytes()),
                shown.as_ref(),
                ValueRef::Integer(edit.who),
                ValueRef::Integer(edit.since_ms),
                by.map_or(ValueRef::Null, ValueRef::Integer),
            ])?;
        database.remove_edit(kind, key)
    }

    /// The edit of a piece by somebody else than this connection's station.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn edit_of_another(
        &self,
        database: &mut Database,
        kind: usize,
        key: &Key,
    ) -> Result<Option<Edit>> {
        let own = self.station();
        database.edit_of_another(kind, key, own.as_ref().map(|own| own.0.as_str()))
    }

    /// Refuses a write to a piece that somebody else has open, where the guard asks for that.
    ///
    /// # Errors
    /// [`Error::BeingEdited`].
    #[inline]
    pub fn check_edit(&self, database: &mut Database, kind: usize, key: &Key) -> Result<()> {
        if !database.kinds[kind].definition.enforces_edits() {
            return Ok(());
        }
        match self.edit_of_another(database, kind, key)? {
            None => Ok(()),
            edit => Err(self.being_edited(database, kind, key, edit)),
        }
    }

    fn being_edited(
        &self,
        database: &Database,
        kind: usize,
        key: &Key,
        edit: Option<Edit>,
    ) -> Error {
        Error::BeingEdited {
            kind: database.kinds[kind].name.clone(),
            piece: key.to_string(),
            holder: edit.map_or_else(String::new, |edit| edit.describe(&self.clock)),
        }
    }

    fn said_station(&self) -> Result<(String, String)> {
        self.station().clone().ok_or_else(|| {
            Error::Argument(
                "this connection has not said who it is: SELECT talon_station('till 2', 'marie')"
                    .to_owned(),
            )
        })
    }
}

fn not_edited(database: &Database, kind: usize, key: &Key) -> Error {
    Error::NotEdited { kind: database.kinds[kind].name.clone(), piece: key.to_string() }
}

fn edit_of(row: &Rows<'_>, from: usize) -> Edit {
    let text = |index: usize| row.column(from + index).as_str().unwrap_or_default().to_owned();
    let integer = |index: usize| row.column(from + index).as_integer().unwrap_or(0);
    Edit { station: text(0), user: text(1), who: integer(2), since_ms: integer(3) }
}

impl Database {
    /// Whether the file has the table of edits: an older library's has not until it may be written.
    fn has_edits(&self) -> bool {
        self.format >= EDITS_SINCE
    }

    /// The edit of a piece, where one is open.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn edit(&mut self, kind: usize, key: &Key) -> Result<Option<Edit>> {
        self.edit_of_shown(kind, &key.shown()?)
    }

    /// The same of a piece whose key is as Talon's tables have it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn edit_of_shown(&mut self, kind: usize, shown: &Value) -> Result<Option<Edit>> {
        if !self.has_edits() {
            return Ok(None);
        }
        let id = self.kinds[kind].id;
        let statement = self.own_statement(
            "SELECT t.station, t.user, e.station, e.since FROM {s}.talon_edit AS e
             LEFT JOIN {s}.talon_station AS t ON t.id = e.station WHERE e.kind = ?1 AND e.key = ?2",
        )?;
        Ok(statement.first(&[ValueRef::Integer(id), shown.as_ref()], |row| Ok(edit_of(row, 0)))?)
    }

    /// The edit of a piece by another station than `own`, or by any where that was not said.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn edit_of_another(
        &mut self,
        kind: usize,
        key: &Key,
        own: Option<&str>,
    ) -> Result<Option<Edit>> {
        Ok(self.edit(kind, key)?.filter(|edit| own != Some(edit.station.as_str())))
    }

    /// The edits of a kind, the oldest first.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn edits(&mut self, kind: usize) -> Result<Vec<(Key, Edit)>> {
        if !self.has_edits() {
            return Ok(Vec::new());
        }
        let columns = if self.fits(kind)? { self.guard(kind)?.header().key.len() } else { 1 };
        let id = self.kinds[kind].id;
        let statement = self.own_statement(
            "SELECT e.key, t.station, t.user, e.station, e.since FROM {s}.talon_edit AS e
             LEFT JOIN {s}.talon_station AS t ON t.id = e.station WHERE e.kind = ?1 ORDER BY e.since",
        )?;
        let mut rows = statement.query(&[ValueRef::Integer(id)])?;
        let mut found = Vec::new();
        while rows.next()? {
            let key = match Key::from_shown(rows.column(0), columns)? {
                Some(key) => key,
                None => Key::Single(rows.column(0).to_value()?),
            };
            found.try_push((key, edit_of(&rows, 1)))?;
        }
        Ok(found)
    }

    /// Notes the edit of a piece, over one that was noted.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn put_edit(
        &mut self,
        kind: usize,
        key: &Key,
        station: i64,
        since_ms: i64,
    ) -> Result<()> {
        let (id, shown) = (self.kinds[kind].id, key.shown()?);
        let statement = self.own_statement(
            "INSERT OR REPLACE INTO {s}.talon_edit(kind, key, station, since) VALUES (?1, ?2, ?3, ?4)",
        )?;
        Ok(statement.run(&[
            ValueRef::Integer(id),
            shown.as_ref(),
            ValueRef::Integer(station),
            ValueRef::Integer(since_ms),
        ])?)
    }

    /// Removes the edit of a piece, if there is one.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn remove_edit(&mut self, kind: usize, key: &Key) -> Result<()> {
        let (id, shown) = (self.kinds[kind].id, key.shown()?);
        let statement =
            self.own_statement("DELETE FROM {s}.talon_edit WHERE kind = ?1 AND key = ?2")?;
        Ok(statement.run(&[ValueRef::Integer(id), shown.as_ref()])?)
    }

    /// Whether a piece was deleted, and it is recorded.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn is_deleted(&mut self, kind: usize, key: &Key) -> Result<bool> {
        let id = self.kinds[kind].id;
        let state = self.store()?.piece(id, &key.shown()?)?;
        Ok(state.is_none_or(|state| state.gone_at.is_some()) && self.own_key(kind, key)?.is_none())
    }
}
