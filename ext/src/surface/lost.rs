//! `talon_lost`: pieces whose header is there, whose lines are not, and that a snapshot has lines of.

use super::rows::Rows;
use crate::domain::database::Database;
use crate::domain::lost::labels;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Constraints, Failure, Room, Table, Value, create_module};
use crate::storage::key::Key;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    create_module::<LostTable>(connection, "talon_lost", talon)
}

struct LostTable;

const KIND: usize = 0;
const PIECE: usize = 1;
const NUMBER: usize = 2;
const VALIDATED: usize = 6;
const LOST_AT: usize = 7;
const SAVED_AT: usize = 8;
const SAVED_LINES: usize = 9;
const RESTORABLE: usize = 10;
const SCHEMA: usize = 11;

impl Table for LostTable {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str =
        "CREATE TABLE x(kind TEXT, piece, number, date, party, type, validated, lost_at TEXT,
        saved_at TEXT, saved_lines INTEGER, restorable INTEGER, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[KIND, PIECE, SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        // The whole list is made before its first row is given: restoring from it does not change it.
        Rows::by_kind(
            talon,
            constraints,
            [KIND, SCHEMA],
            &[KIND, PIECE, SCHEMA],
            |database, kind, rows| list(talon, constraints, database, kind, rows),
        )
        .map_err(|error| error.into_failure("talon_lost"))
    }
}

fn list(
    talon: &Talon,
    constraints: &Constraints<'_>,
    database: &mut Database,
    kind: usize,
    rows: &mut Vec<Vec<Value>>,
) -> Result<()> {
    let guard = match database.guard(kind) {
        Ok(guard) => guard,
        // A kind that cannot be looked at does not stop the others; asked for by name it must not pass for one that
        // has lost nothing. The audit names it in any case.
        Err(Error::Definition { .. }) if constraints.equal(KIND).is_none() => return Ok(()),
        Err(error) => return Err(error),
    };
    let piece = match constraints.equal(PIECE) {
        // A person may write '42' for 42, of a kind that is named; of all kinds it is the value that counts.
        Some(piece) => {
            let key = match constraints.equal(KIND) {
                Some(_) => database.piece_asked(kind, piece)?,
                None => Key::from_shown(piece, guard.header().key.len())?,
            };
            let Some(key) = key else { return Ok(()) };
            Some(key)
        }
        None => None,
    };
    let moment = |at: Option<i64>| at.map_or(Value::Null, |at| Value::text(&talon.clock.shown(at)));
    for lost in talon.lost(database, kind, piece.as_ref())? {
        let mut row = vec![Value::Null; SCHEMA + 1];
        row[KIND] = Value::text(&database.kinds[kind].name);
        row[PIECE] = lost.key.shown()?;
        if (NUMBER..=VALIDATED).any(|column| constraints.uses(column)) {
            row.splice(NUMBER..=VALIDATED, labels(database, &guard, &lost.key)?);
        }
        row[LOST_AT] = moment(lost.lost_at);
        if constraints.uses(SAVED_AT) {
            let head = lost.last.map(|last| database.head(last)).transpose()?.flatten();
            row[SAVED_AT] = moment(head.map(|head| head.taken_at));
        }
        row[SAVED_LINES] = Value::Integer(lost.lines);
        if constraints.uses(RESTORABLE) {
            let is_sound = has_sound_candidate(database, kind, lost.last)?;
            row[RESTORABLE] = Value::Integer(i64::from(is_sound));
        }
        row[SCHEMA] = Value::text(&database.schema);
        rows.try_push(row)?;
    }
    Ok(())
}

/// Whether a snapshot that a restore may take reads back as it was stored.
fn has_sound_candidate(database: &mut Database, kind: usize, last: Option<i64>) -> Result<bool> {
    for head in &database.candidates(kind, last)? {
        match database.stored(head.id) {
            Ok(_) => return Ok(true),
            Err(Error::Unreadable { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
