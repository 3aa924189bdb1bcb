//! Deposits: a piece is stored before the host writes its first row, so that what never arrives can be had back.

use super::database::Database;
use super::named::kept;
use super::settle::Reason;
use super::talon::{Place, Talon};
use crate::error::{Error, Result};
use crate::sqlite::{Room, RoomForKeys, Value, ValueRef, gather};
use crate::storage::deposit::{self, Row};
use crate::storage::expression::{forbidden, is_one_expression};
use crate::storage::guard::{Guard, HEADER, LINES, Part};
use crate::storage::image::compare_keys;
use crate::storage::json_reader::Unread;
use crate::storage::key::Key;
use crate::storage::payload::{put, write_row};
use crate::storage::shape::{Affinity, Column, quote_identifier};
use crate::storage::store::PieceState;
use std::collections::{HashMap, HashSet};

impl Talon {
    /// Deposits a piece that is yet to be written, over an earlier deposit of this station; gives the snapshot.
    ///
    /// # Errors
    /// [`Error::Argument`] with what in the image does not fit the guard, or when the piece is there already.
    pub fn stage(&self, schema: &str, kind: &str, piece: ValueRef<'_>, image: &str) -> Result<i64> {
        let place = self.place_to_write(schema, kind)?;
        let result = self.atomically(schema, || {
            let mut databases = self.databases()?;
            let database = &mut databases[place.database];
            let key = database.named_piece(place.kind, piece)?;
            if database.own_key(place.kind, &key)?.is_some() {
                return Err(Error::Argument(format!(
                    "{kind} {key} is there already: a piece is deposited before its first row is written"
                )));
            }
            let rows = database.deposited_rows(place.kind, &key, image)?;
            self.store_deposit(database, &place, &key, &rows)
        });
        self.course.borrow_mut().forget_states();
        result
    }

    fn store_deposit(
        &self,
        database: &mut Database,
        place: &Place,
        key: &Key,
        rows: &[Vec<Vec<Value>>],
    ) -> Result<i64> {
        let guard = database.guard(place.kind)?;
        let id = database.kinds[place.kind].id;
        let shown = key.shown()?;
        let was = database.store()?.piece(id, &shown)?;
        let payload = payload_of(&guard, rows)?;
        let hash = *blake3::hash(&payload).as_bytes();
        let before = was.as_ref().filter(|was| was.staged);
        if let Some(same) = before.filter(|was| was.hash == Some(hash)).and_then(|was| was.last) {
            return Ok(same);
        }
        let who = self.station().clone();
        let station = database.station(who.as_ref())?;
        // Another station's deposit under the same key is another piece, and stays in the chain.
        let replaced = match before.and_then(|was| was.last) {
            Some(last) => database.deposit(last)?.filter(|deposit| deposit.station_id == station),
            None => None,
        };
        let mut now = PieceState {
            saved: true,
            staged: true,
            version: was.as_ref().map_or(0, |was| was.version),
            last: match &replaced {
                Some(replaced) => replaced.previous,
                None => was.as_ref().and_then(|was| was.last),
            },
            lines: rows.get(LINES).map_or(0, Vec::len) as i64,
            hash: Some(hash),
            lost_at: None,
            gone_at: None,
            dismissed_at: None,
            ..was.clone().unwrap_or_default()
        };
        database.image.payload = payload;
        let at = self.clock.now_ms();
        let snapshot = database.store_image(
            &self.clock,
            who.as_ref(),
            place.kind,
            &shown,
            &now,
            Reason::Stage,
            at,
        )?;
        now.last = Some(snapshot);
        if let Some(replaced) = replaced {
            database.store()?.delete_snapshot(replaced.id)?;
        }
        database.store()?.put_piece(id, &shown, was.as_ref(), Some(&now))?;
        Ok(snapshot)
    }
}

/// The image, as a reader of the tables would have written it.
fn payload_of(guard: &Guard, rows: &[Vec<Vec<Value>>]) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    for (place, (part, rows)) in guard.parts.iter().zip(rows).enumerate() {
        let name = serde_json::to_string(&part.name).unwrap_or_default();
        put(&mut payload, if place == HEADER { b"{" } else { b"," })?;
        put(&mut payload, name.as_bytes())?;
        put(&mut payload, if place == HEADER { b":" } else { b":[" })?;
        let key = part.places(&part.key);
        let key_of = |row: &[Value]| -> Vec<Value> {
            key.iter().filter_map(|at| row.get(*at).cloned()).collect()
        };
        let mut sorted: Vec<(Vec<Value>, &Vec<Value>)> = Vec::new();
        for row in rows {
            sorted.try_push((key_of(row), row))?;
        }
        sorted.sort_by(|(a, _), (b, _)| compare_keys(a, b));
        for (at, (_, row)) in sorted.into_iter().enumerate() {
            if at > 0 {
                put(&mut payload, b",")?;
            }
            write_row(&mut payload, row.iter().map(Value::as_ref))?;
        }
        if place != HEADER {
            put(&mut payload, b"]")?;
        }
    }
    put(&mut payload, b"}")?;
    Ok(payload)
}

/// A deposit that is stored.
pub struct Deposit {
    id: i64,
    previous: Option<i64>,
    station_id: Option<i64>,
    taken_at_ms: i64,
    station: Option<String>,
}

impl Deposit {
    /// Since when it waits, for the audit.
    pub fn describe(&self, talon: &Talon) -> String {
        let at = talon.clock.shown(self.taken_at_ms);
        let station = self.station.as_ref().map_or_else(String::new, |name| format!(" at {name}"));
        format!("deposited {at}{station}, and none of it was written")
    }
}

impl Database {
    /// A deposit by its snapshot.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn deposit(&mut self, id: i64) -> Result<Option<Deposit>> {
        let statement = self.own_statement(
            "SELECT s.previous, s.station, s.taken_at, t.station FROM {s}.talon_snapshot AS s
             LEFT JOIN {s}.talon_station AS t ON t.id = s.station WHERE s.id = ?1",
        )?;
        Ok(statement.first(&[ValueRef::Integer(id)], |row| {
            Ok(Deposit {
                id,
                previous: row.column(0).as_integer(),
                station_id: row.column(1).as_integer(),
                taken_at_ms: row.column(2).as_integer().unwrap_or(0),
                station: row.column(3).as_str().map(str::to_owned),
            })
        })?)
    }

    /// The rows of a deposit by part, each with all columns in their order.
    fn deposited_rows(
        &mut self,
        kind: usize,
        key: &Key,
        image: &str,
    ) -> Result<Vec<Vec<Vec<Value>>>> {
        let guard = self.guard(kind)?;
        if guard.is_of_records() {
            return Err(Error::Argument(format!(
                "{} are records: deposits are for pieces, which are written in several steps",
                guard.kind
            )));
        }
        let given = deposit::read(image.as_bytes()).map_err(|unread| match unread {
            Unread::Memory => Error::Memory,
            Unread::Damaged(problem) => refused(&problem),
        })?;
        if let Some(unknown) =
            given.iter().find(|given| !guard.parts.iter().any(|part| part.name == given.name))
        {
            let known: Vec<&str> = guard.parts.iter().map(|part| part.name.as_str()).collect();
            let (name, kind) = (&unknown.name, &guard.kind);
            return Err(refused(&format!(
                "{name:?} is no part of {kind}; it has: {}",
                known.join(", ")
            )));
        }
        let mut rows: Vec<Vec<Vec<Value>>> = Vec::new();
        for (place, part) in guard.parts.iter().enumerate() {
            let given: &[Row] = given
                .iter()
                .find(|given| given.name == part.name)
                .map_or(&[], |given| given.rows.as_slice());
            if given.is_empty() && place <= LINES {
                return Err(refused(&format!("it has no {}", part.name)));
            }
            let mut filling = Filling::begin(self, &guard, place, key, &rows)?;
            let filled = filling.rows(given)?;
            rows.try_push(filled)?;
        }
        Ok(rows)
    }
}

fn refused(problem: &str) -> Error {
    Error::Argument(format!("the image is refused: {problem}"))
}

fn keys_of(part: &Part, rows: &[Vec<Value>]) -> Result<HashSet<Key>> {
    let places = part.places(&part.key);
    let mut keys = HashSet::new();
    keys.make_room(rows.len())?;
    keys.extend(rows.iter().map(|row| Key::of(places.iter().map(|at| row[*at].clone()).collect())));
    Ok(keys)
}

/// Makes whole rows of what was given of a part.
struct Filling<'a> {
    database: &'a Database,
    guard: &'a Guard,
    place: usize,
    key: &'a Key,
    /// The parts before, filled.
    above: &'a [Vec<Vec<Value>>],
    /// The keys of the rows that those of this part belong to, where these are not the header's.
    owners: HashSet<Key>,
    /// What its rows hold, in order.
    columns: Vec<Filled<'a>>,
    /// Places among these by the column's name in small letters: what is given is found by name.
    places: HashMap<String, usize>,
}

/// A column of the rows.
struct Filled<'a> {
    column: &'a Column,
    /// Its place in the reference to what the row belongs to.
    link: Option<usize>,
    is_key: bool,
}

impl<'a> Filling<'a> {
    fn begin(
        database: &'a Database,
        guard: &'a Guard,
        place: usize,
        key: &'a Key,
        above: &'a [Vec<Vec<Value>>],
    ) -> Result<Filling<'a>> {
        let part = &guard.parts[place];
        let owners = match part.parent {
            HEADER => HashSet::new(),
            parent => keys_of(&guard.parts[parent], &above[parent])?,
        };
        let (mut columns, mut places) = (Vec::new(), HashMap::new());
        places.make_room(part.columns.len())?;
        // The part's columns are the table's in its order, without those that SQLite computes.
        for column in part.table.columns.iter().filter(|column| !column.generated) {
            let link = part.link.iter().position(|link| *link == column.name);
            let is_key = part.key.contains(&column.name);
            places.insert(column.name.to_ascii_lowercase(), columns.len());
            columns.try_push(Filled { column, link, is_key })?;
        }
        Ok(Filling { database, guard, place, key, above, owners, columns, places })
    }
}

impl Filling<'_> {
    fn part(&self) -> &Part {
        &self.guard.parts[self.place]
    }

    fn rows(&mut self, given: &[Row]) -> Result<Vec<Vec<Value>>> {
        let key_places = self.part().places(&self.part().key);
        let mut seen = HashSet::new();
        let mut rows = Vec::new();
        for (at, given) in given.iter().enumerate() {
            let name = match self.place {
                HEADER => "header".to_owned(),
                _ => format!("{} row {}", self.part().name, at + 1),
            };
            let row = self.row(&name, given)?;
            let key: Vec<Value> = key_places.iter().map(|at| row[*at].clone()).collect();
            seen.make_room(1)?;
            if !seen.insert(Key::of(key.clone())) {
                let (part, key) = (self.part(), Key::of(key));
                return Err(refused(&format!(
                    "{name}: another row has the {} {key} already",
                    part.key.join(", ")
                )));
            }
            rows.try_push(row)?;
        }
        Ok(rows)
    }

    fn row(&self, name: &str, given: &Row) -> Result<Vec<Value>> {
        let mut values = gather(self.columns.iter().map(|_| None))?;
        for (column, value) in given {
            match self.places.get(&column.to_ascii_lowercase()) {
                Some(place) => values[*place] = Some(value),
                None => return Err(self.no_such_column(name, column)),
            }
        }
        let owner = self.owner(name, given)?;
        let mut row = Vec::new();
        for (Filled { column, link, is_key }, given) in self.columns.iter().zip(values) {
            let value = match (given, link) {
                (Some(value), _) => column.kept(value.clone()),
                (None, Some(at)) => {
                    owner.get(*at).map_or(Value::Null, |key| column.kept(key.clone()))
                }
                (None, None) if *is_key => {
                    return Err(refused(&format!(
                        "{name} has no {}: the key of every row is given",
                        column.name
                    )));
                }
                (None, None) => self.default(name, column)?,
            };
            if value.as_ref().is_null() && (column.not_null || *is_key) {
                return Err(refused(&format!("{name}: {} must not be NULL", column.name)));
            }
            row.try_push(value)?;
        }
        self.check_condition(name, &row)?;
        Ok(row)
    }

    fn no_such_column(&self, name: &str, column: &str) -> Error {
        let part = self.part();
        if part.table.column(column).is_some() {
            return refused(&format!("{name}: {column} is computed by SQLite"));
        }
        let (table, known) = (&part.table.name, part.columns.join(", "));
        refused(&format!("{name}: {table:?} has no column {column:?}; it has: {known}"))
    }

    /// The key of what a row belongs to, which its reference must not contradict; for a header its own.
    fn owner(&self, name: &str, given: &Row) -> Result<Vec<Value>> {
        let part = self.part();
        let parent = &self.guard.parts[part.parent];
        let columns = if self.place == HEADER { &part.key } else { &part.link };
        let of = |column: &String| {
            given.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)).map(|(_, value)| value)
        };
        // Values that are given must be those of this key.
        let fits = |key: &[Value]| {
            columns.iter().zip(&parent.key).zip(key).find_map(|((column, of_key), key)| {
                let given = of(column)?;
                let collation = parent.table.collation(of_key);
                (!is_same(&kept(parent, of_key, given), key, collation)).then_some((column, given))
            })
        };
        if part.parent == HEADER {
            return match fits(self.key.values()) {
                Some((column, given)) => Err(refused(&format!(
                    "{name}: {column} is {given}, and the piece is {}",
                    self.key
                ))),
                None => Ok(self.key.values().to_vec()),
            };
        }
        // Mostly the whole reference is given, as its row is spelt; what is not found so is looked for row by row.
        let whole = columns.iter().zip(&parent.key);
        let whole = whole.map(|(column, of_key)| Some(kept(parent, of_key, of(column)?)));
        if let Some(whole) = whole.collect::<Option<Vec<Value>>>().map(Key::of)
            && self.owners.contains(&whole)
        {
            return Ok(whole.values().to_vec());
        }
        let places = parent.places(&parent.key);
        let keys = self.above[part.parent].iter();
        let mut fitting = keys
            .map(|row| places.iter().map(|at| row[*at].clone()).collect::<Vec<Value>>())
            .filter(|key| fits(key).is_none());
        match (fitting.next(), fitting.next()) {
            (Some(owner), None) => Ok(owner),
            (None, _) => Err(refused(&format!(
                "{name}: its {} is none of {}",
                columns.join(", "),
                parent.name
            ))),
            (Some(_), Some(_)) => Err(refused(&format!(
                "{name} has no {}: there are several {} that it may belong to",
                columns.join(", "),
                parent.name
            ))),
        }
    }

    /// What a column that was left out holds: its default, as SQLite would fill it in now.
    fn default(&self, name: &str, column: &Column) -> Result<Value> {
        let Some(default) = &column.default else {
            if column.not_null {
                return Err(refused(&format!(
                    "{name} has no {}, which must not be NULL and has no default",
                    column.name
                )));
            }
            return Ok(Value::Null);
        };
        let connection = self.database.connection;
        if !is_one_expression(default) || forbidden(connection, default)?.is_some() {
            return Err(refused(&format!("{name} has no {}: give a value", column.name)));
        }
        let value = match connection.value(&format!("SELECT ({default}\n)"), &[]) {
            Ok(value) => value.unwrap_or(Value::Null),
            // A bare word is a text to SQLite where it stands for a default.
            Err(failure) if failure.primary() == crate::sqlite::code::ERROR => {
                Value::text(default.trim_matches('"'))
            }
            Err(failure) => return Err(failure.into()),
        };
        Ok(column.kept(value))
    }

    /// A row that the guard's condition leaves out would be no part of the piece once it is written. What a condition says
    /// of other tables, or of columns that SQLite computes, is not known beforehand.
    fn check_condition(&self, name: &str, row: &[Value]) -> Result<()> {
        let part = self.part();
        let Some(condition) = &part.condition else {
            return Ok(());
        };
        let columns: Vec<String> = self
            .columns
            .iter()
            .zip(row)
            .enumerate()
            .map(|(at, (Filled { column, .. }, value))| {
                // A CAST that changes nothing gives the value the column's way to compare.
                let cast = match (column.affinity(), value) {
                    (Affinity::Text, Value::Text(_)) => Some("TEXT"),
                    (Affinity::Numeric, Value::Integer(_) | Value::Real(_)) => Some("NUMERIC"),
                    _ => None,
                };
                let place = format!("?{}", at + 1);
                let value = cast.map_or(place.clone(), |cast| format!("CAST({place} AS {cast})"));
                format!("{value} AS {}", quote_identifier(&column.name))
            })
            .collect();
        let sql = format!(
            "SELECT ({condition}\n) IS TRUE FROM (SELECT {}) AS {}",
            columns.join(", "),
            part.alias
        );
        let mut statement = match self.database.connection.prepare(&sql) {
            Ok(statement) => statement,
            Err(failure) if failure.primary() == crate::sqlite::code::ERROR => return Ok(()),
            Err(failure) => return Err(failure.into()),
        };
        let values: Vec<ValueRef<'_>> = row.iter().map(Value::as_ref).collect();
        let holds = statement.first(&values, |row| Ok(row.column(0).as_integer()))?;
        if holds.flatten() == Some(0) {
            return Err(refused(&format!(
                "{name} is none of {}: {condition} does not hold",
                self.guard.kind
            )));
        }
        Ok(())
    }
}

/// Whether two values are the same to a foreign key.
fn is_same(a: &Value, b: &Value, collation: Option<&str>) -> bool {
    match (a, b) {
        (Value::Text(a), Value::Text(b))
            if collation.is_some_and(|name| name.eq_ignore_ascii_case("NOCASE")) =>
        {
            a.eq_ignore_ascii_case(b)
        }
        _ => a.as_ref().equals(b.as_ref()),
    }
}
