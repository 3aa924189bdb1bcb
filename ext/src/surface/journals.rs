//! `talon_restore` and `talon_purge`: an INSERT asks for the work, a SELECT reads the journal of it. And
//! `talon_restore_all`, which asks for much of it at once.

use super::arguments::{place_asked, schema, schema_asked, schema_of, shortened, text, text_of};
use super::rows::Rows;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Argument, Caller, Connection, Constraints, Failure, Output, Room, Row, Table, Value, ValueRef,
    create_function, create_module,
};
use crate::storage::shape::quote_identifier;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    let caller = Caller::Application;
    create_function(connection, "talon_restore_all", 0..=2, caller, talon, restore_all)?;
    create_module::<Restore>(connection, "talon_restore", talon)?;
    create_module::<Purge>(connection, "talon_purge", talon)
}

/// `talon_restore_all([kind[, schema]])`; all kinds where the kind is NULL.
fn restore_all(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let is_null = arguments.first().is_none_or(|kind| kind.get().is_null());
        let kind = if is_null { None } else { Some(text(arguments, 0, "the kind")?) };
        Ok(Output::Text(talon.restore_all(&schema(arguments, 1)?, kind)?))
    };
    run().map_err(|error: Error| error.into_failure("talon_restore_all"))
}

/// `talon_restore`.
struct Restore;

mod restore {
    pub const ID: usize = 0;
    pub const AT: usize = 1;
    pub const KIND: usize = 2;
    pub const PIECE: usize = 3;
    pub const SNAPSHOT: usize = 4;
    pub const DRY_RUN: usize = 10;
    pub const SCHEMA: usize = 11;
}

impl Table for Restore {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str = "CREATE TABLE x(id INTEGER, at TEXT, kind TEXT, piece, snapshot INTEGER,
        lines INTEGER, outcome TEXT, note TEXT, station TEXT, user TEXT, dry_run INTEGER, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[restore::ID, restore::KIND, restore::PIECE, restore::SCHEMA];
    const WRITABLE: bool = true;

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        let read = Journal {
            select: "SELECT j.id, j.at, j.kind, j.piece, j.snapshot, j.lines, j.outcome, j.note, t.station,
                nullif(t.user, ''), j.dry_run FROM {s}.talon_restored AS j
                LEFT JOIN {s}.talon_station AS t ON t.id = j.station",
            conditions: &[
                (restore::ID, "j.id"),
                (restore::KIND, "j.kind"),
                (restore::PIECE, "j.piece"),
            ],
            moments: &[restore::AT],
            schema: restore::SCHEMA,
            identity: &[restore::ID, restore::SCHEMA],
            since_format: 1,
        };
        read.rows(talon, constraints).map_err(|error| error.into_failure("talon_restore"))
    }

    fn insert(talon: &Rc<Talon>, row: &Row<'_>) -> std::result::Result<i64, Failure> {
        let run = || {
            let kind = text_of(row.column(restore::KIND), "kind")?;
            let piece = row.column(restore::PIECE);
            if piece.is_null() {
                return Err(Error::Argument("piece is NULL: name the piece to restore".to_owned()));
            }
            let snapshot = match row.column(restore::SNAPSHOT) {
                ValueRef::Null => None,
                ValueRef::Integer(id) => Some(id),
                other => {
                    return Err(Error::Argument(format!(
                        "snapshot is no snapshot's id: {}; give an integer of talon_snapshots.id",
                        shortened(other)
                    )));
                }
            };
            let dry_run = flag(row.column(restore::DRY_RUN), "dry_run")?;
            refuse_others(
                row,
                &[
                    restore::KIND,
                    restore::PIECE,
                    restore::SNAPSHOT,
                    restore::DRY_RUN,
                    restore::SCHEMA,
                ],
                restore::SCHEMA,
                "kind, piece, snapshot and dry_run",
            )?;
            let schema = schema_of(row.column(restore::SCHEMA))?;
            talon.ask_restore(&schema, kind, piece, snapshot, dry_run)
        };
        run().map_err(|error| error.into_failure("talon_restore"))
    }
}

/// `talon_purge`.
struct Purge;

mod purge {
    pub const ID: usize = 0;
    pub const AT: usize = 1;
    pub const BEFORE: usize = 2;
    pub const KEEP_LAST: usize = 9;
    pub const SCHEMA: usize = 10;
}

impl Table for Purge {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str = "CREATE TABLE x(id INTEGER, at TEXT, before TEXT, purged INTEGER, kept_lost INTEGER,
        kept_edited INTEGER, kept_last INTEGER, note TEXT, station TEXT, keep_last INTEGER HIDDEN, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[purge::ID, purge::SCHEMA];
    const WRITABLE: bool = true;

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        let read = Journal {
            select: "SELECT j.id, j.at, j.before, j.purged, j.kept_lost, j.kept_edited, j.kept_last, j.note, t.station,
                j.keep_last FROM {s}.talon_purged AS j LEFT JOIN {s}.talon_station AS t ON t.id = j.station",
            conditions: &[(purge::ID, "j.id")],
            moments: &[purge::AT],
            schema: purge::SCHEMA,
            identity: &[purge::ID, purge::SCHEMA],
            since_format: 1,
        };
        read.rows(talon, constraints).map_err(|error| error.into_failure("talon_purge"))
    }

    fn insert(talon: &Rc<Talon>, row: &Row<'_>) -> std::result::Result<i64, Failure> {
        let run = || {
            let before = text_of(row.column(purge::BEFORE), "before")?;
            let keep_last = flag(row.column(purge::KEEP_LAST), "keep_last")?;
            refuse_others(
                row,
                &[purge::BEFORE, purge::KEEP_LAST, purge::SCHEMA],
                purge::SCHEMA,
                "before and keep_last",
            )?;
            let schema = schema_of(row.column(purge::SCHEMA))?;
            talon.purge(&schema, before, keep_last)
        };
        run().map_err(|error| error.into_failure("talon_purge"))
    }
}

fn flag(value: ValueRef<'_>, name: &str) -> Result<bool> {
    match value {
        ValueRef::Null | ValueRef::Integer(0) => Ok(false),
        ValueRef::Integer(1) => Ok(true),
        other => Err(Error::Argument(format!("{name} is 0 or 1, not {}", shortened(other)))),
    }
}

/// What the journal fills in cannot be asked for.
fn refuse_others(row: &Row<'_>, asked: &[usize], last: usize, wanted: &str) -> Result<()> {
    if (0..=last).any(|column| !asked.contains(&column) && !row.column(column).is_null()) {
        return Err(Error::Argument(format!(
            "INSERT takes {wanted}; the other columns are the journal's"
        )));
    }
    Ok(())
}

/// How a journal is read.
pub(super) struct Journal {
    pub(super) select: &'static str,
    pub(super) conditions: &'static [(usize, &'static str)],
    pub(super) moments: &'static [usize],
    pub(super) schema: usize,
    pub(super) identity: &'static [usize],
    /// The format of Talon's tables that brought it.
    pub(super) since_format: i64,
}

impl Journal {
    pub(super) fn rows(&self, talon: &Rc<Talon>, constraints: &Constraints<'_>) -> Result<Rows> {
        let schema = schema_asked(constraints, self.schema)?;
        let Some(place) = place_asked(talon, &schema)? else { return Ok(Rows::none()) };
        if talon.databases()?[place].format < self.since_format {
            // An older library's file that may not be written: nothing can be in it yet.
            return Ok(Rows::none());
        }
        let mut sql = format!("{} WHERE 1", self.select.replace("{s}", &quote_identifier(&schema)));
        let mut values = Vec::new();
        for (column, name) in self.conditions {
            if let Some(value) = constraints.equal(*column) {
                values.push(value);
                sql.push_str(&format!(" AND {name} = ?{}", values.len()));
            }
        }
        sql.push_str(" ORDER BY j.id");
        let mut statement = talon.connection.prepare(&sql)?;
        let mut scan = statement.query(&values)?;
        let mut rows = Vec::new();
        while scan.next()? {
            let mut row = scan.values(0..scan.column_count())?;
            for moment in self.moments {
                if let Some(at) = scan.column(*moment).as_integer() {
                    row[*moment] = Value::text(&talon.clock.shown(at));
                }
            }
            row.try_push(Value::text(&schema))?;
            rows.try_push(row)?;
        }
        Ok(Rows::new(rows, self.identity))
    }
}
