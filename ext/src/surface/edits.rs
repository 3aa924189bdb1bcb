//! `talon_edit_begin` and its kin: who has which piece open, and who ended somebody else's edit.

use super::arguments::{piece, schema, text};
use super::journals::Journal;
use super::rows::Rows;
use crate::domain::database::Database;
use crate::domain::lost::labels;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Argument, Caller, Connection, Constraints, Failure, Function, Output, Room, Table, Value,
    create_function, create_module,
};
use crate::storage::schema::EDITS_SINCE;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    let functions: [(&str, Function<Talon>); 3] =
        [("talon_edit_begin", begin), ("talon_edit_end", end), ("talon_edit_release", release)];
    for (name, function) in functions {
        create_function(connection, name, 2..=3, Caller::Application, talon, function)?;
    }
    create_module::<EditsTable>(connection, "talon_edits", talon)?;
    create_module::<Releases>(connection, "talon_releases", talon)
}

fn begin(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let kind = text(arguments, 0, "the kind")?;
        let opened = talon.begin_edit(&schema(arguments, 2)?, kind, piece(arguments, 1)?)?;
        Ok(Output::Text(opened.text().to_owned()))
    };
    run().map_err(|error: Error| error.into_failure("talon_edit_begin"))
}

fn end(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let kind = text(arguments, 0, "the kind")?;
        talon.end_edit(&schema(arguments, 2)?, kind, piece(arguments, 1)?)?;
        Ok(Output::Text("ended".to_owned()))
    };
    run().map_err(|error: Error| error.into_failure("talon_edit_end"))
}

fn release(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let kind = text(arguments, 0, "the kind")?;
        let whose = talon.release_edit(&schema(arguments, 2)?, kind, piece(arguments, 1)?)?;
        Ok(Output::Text(whose))
    };
    run().map_err(|error: Error| error.into_failure("talon_edit_release"))
}

/// `talon_edits`: the edits that are open.
struct EditsTable;

const KIND: usize = 0;
const PIECE: usize = 1;
const NUMBER: usize = 2;
const STATION: usize = 3;
const USER: usize = 4;
const SINCE: usize = 5;
const AGE_S: usize = 6;
const DELETED: usize = 7;
const SCHEMA: usize = 8;

impl Table for EditsTable {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str =
        "CREATE TABLE x(kind TEXT, piece, number, station TEXT, user TEXT, since TEXT,
        age_s INTEGER, deleted INTEGER, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[KIND, SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        Rows::by_kind(
            talon,
            constraints,
            [KIND, SCHEMA],
            &[KIND, PIECE, SCHEMA],
            |database, kind, rows| list(talon, constraints, database, kind, rows),
        )
        .map_err(|error| error.into_failure("talon_edits"))
    }
}

fn list(
    talon: &Talon,
    constraints: &Constraints<'_>,
    database: &mut Database,
    kind: usize,
    rows: &mut Vec<Vec<Value>>,
) -> Result<()> {
    let now_ms = talon.clock.now_ms();
    for (key, edit) in database.edits(kind)? {
        let mut row = vec![Value::Null; SCHEMA + 1];
        row[KIND] = Value::text(&database.kinds[kind].name);
        row[PIECE] = key.shown()?;
        match database.guard(kind) {
            Ok(guard) => {
                if constraints.uses(NUMBER) {
                    row.splice(
                        NUMBER..=NUMBER,
                        labels(database, &guard, &key)?.into_iter().take(1),
                    );
                }
                row[DELETED] = Value::Integer(i64::from(database.is_deleted(kind, &key)?));
            }
            // A guard that does not fit any more: who has the piece open can be told all the same.
            Err(Error::Definition { .. }) => {}
            Err(error) => return Err(error),
        }
        row[STATION] = Value::text(&edit.station);
        row[USER] = if edit.user.is_empty() { Value::Null } else { Value::text(&edit.user) };
        row[SINCE] = Value::text(&talon.clock.shown(edit.since_ms));
        row[AGE_S] = Value::Integer(now_ms.saturating_sub(edit.since_ms).max(0) / 1000);
        row[SCHEMA] = Value::text(&database.schema);
        rows.try_push(row)?;
    }
    Ok(())
}

/// `talon_releases`: the journal of edits that somebody else ended.
struct Releases;

mod releases {
    pub const ID: usize = 0;
    pub const AT: usize = 1;
    pub const KIND: usize = 2;
    pub const PIECE: usize = 3;
    pub const SINCE: usize = 6;
    pub const SCHEMA: usize = 9;
}

impl Table for Releases {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str =
        "CREATE TABLE x(id INTEGER, at TEXT, kind TEXT, piece, station TEXT, user TEXT,
        since TEXT, released_by TEXT, released_by_user TEXT, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] =
        &[releases::ID, releases::KIND, releases::PIECE, releases::SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        let read = Journal {
            select: "SELECT j.id, j.at, j.kind, j.piece, t.station, nullif(t.user, ''), j.since, b.station,
                nullif(b.user, '') FROM {s}.talon_released AS j
                LEFT JOIN {s}.talon_station AS t ON t.id = j.station
                LEFT JOIN {s}.talon_station AS b ON b.id = j.released_by",
            conditions: &[
                (releases::ID, "j.id"),
                (releases::KIND, "j.kind"),
                (releases::PIECE, "j.piece"),
            ],
            moments: &[releases::AT, releases::SINCE],
            schema: releases::SCHEMA,
            identity: &[releases::ID, releases::SCHEMA],
            since_format: EDITS_SINCE,
        };
        read.rows(talon, constraints).map_err(|error| error.into_failure("talon_releases"))
    }
}
