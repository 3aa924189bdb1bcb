//! `talon_stamps`: which change of each synchronised piece or record is the newest, and whose it is.

use super::arguments::kinds_asked;
use super::rows::Rows;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Connection, Constraints, Failure, Room, Table, Value, ValueRef, create_module,
};
use crate::storage::key::Key;
use crate::storage::schema::SYNC_SINCE;
use crate::storage::shape::quote_identifier;
use crate::storage::stamp;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    create_module::<Stamps>(connection, "talon_stamps", talon)
}

struct Stamps;

const KIND: usize = 0;
const PIECE: usize = 1;
const FIELD: usize = 2;
const ORIGIN: usize = 3;
const ORIGIN_KEY: usize = 4;
const VERSION: usize = 5;
const STAMP: usize = 6;
const SITE: usize = 7;
const CHANGED_AT: usize = 8;
const GONE: usize = 9;
const SCHEMA: usize = 10;

/// The pieces of a kind that have a change, and that change.
const SELECT: &str = "SELECT p.key, coalesce(o.code, CASE WHEN ?2 THEN z.code ELSE w.code END),
      coalesce(p.origin_key, p.key), c.version, c.stamp, s.code, c.snapshot IS NULL, c.fields
    FROM {s}.talon_piece AS p JOIN {s}.talon_change AS c ON c.seq = p.change
    LEFT JOIN {s}.talon_site AS s ON s.id = c.site
    LEFT JOIN {s}.talon_site AS o ON o.id = p.origin
    LEFT JOIN {s}.talon_site AS z ON z.role = 'central'
    LEFT JOIN {s}.talon_site AS w ON w.id = (SELECT value FROM {s}.talon_meta WHERE name = 'site')
    WHERE p.kind = ?1 AND p.saved IN (0, 1)";

impl Table for Stamps {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str =
        "CREATE TABLE x(kind TEXT, piece, field TEXT, origin TEXT, origin_key, version INTEGER,
        stamp TEXT, site TEXT, changed_at TEXT, gone INTEGER, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[KIND, PIECE, SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        rows(talon, constraints).map_err(|error| error.into_failure("talon_stamps"))
    }
}

fn rows(talon: &Rc<Talon>, constraints: &Constraints<'_>) -> Result<Rows> {
    let asked = kinds_asked(talon, constraints, KIND, SCHEMA)?;
    let Some(place) = asked.place else { return Ok(Rows::none()) };
    let mut databases = talon.databases()?;
    let database = &mut databases[place];
    if database.format < SYNC_SINCE {
        return Ok(Rows::none());
    }
    let schema = quote_identifier(&database.schema);
    let mut rows = Vec::new();
    for kind in asked.kinds {
        let guard = match database.guard(kind) {
            Ok(guard) => guard,
            Err(Error::Definition { .. }) if constraints.equal(KIND).is_none() => continue,
            Err(error) => return Err(error),
        };
        let Some(policy) = &guard.sync else { continue };
        let piece = match constraints.equal(PIECE) {
            // A person may write '42' for 42, of a kind that is named.
            Some(piece) => {
                let key = match constraints.equal(KIND) {
                    Some(_) => database.piece_asked(kind, piece)?,
                    None => Key::from_shown(piece, guard.header().key.len())?,
                };
                let Some(key) = key else { continue };
                Some(key.shown()?)
            }
            None => None,
        };
        let one = if piece.is_some() { " AND p.key = ?3" } else { "" };
        let mut statement = talon
            .connection
            .prepare(&format!("{}{one} ORDER BY p.key", SELECT.replace("{s}", &schema)))?;
        let of_central = policy.owner == crate::storage::policy::Owner::Central;
        let mut values = vec![
            ValueRef::Integer(database.kinds[kind].id),
            ValueRef::Integer(i64::from(of_central)),
        ];
        values.extend(piece.as_ref().map(Value::as_ref));
        let mut scan = statement.query(&values)?;
        while scan.next()? {
            let mut row = vec![Value::Null; SCHEMA + 1];
            row[KIND] = Value::text(&guard.kind);
            row[PIECE] = scan.column(0).to_value()?;
            row[ORIGIN] = scan.column(1).to_value()?;
            row[ORIGIN_KEY] = scan.column(2).to_value()?;
            row[VERSION] = scan.column(3).to_value()?;
            row[SITE] = scan.column(5).to_value()?;
            row[GONE] = scan.column(6).to_value()?;
            row[SCHEMA] = Value::text(&database.schema);
            show(talon, &mut row, scan.column(4).as_integer().unwrap_or(0));
            let fields = scan.column(7).as_str().map(serde_json::from_str);
            let fields: serde_json::Map<String, serde_json::Value> =
                fields.and_then(std::result::Result::ok).unwrap_or_default();
            let whole = row.clone();
            rows.try_push(row)?;
            for (field, mark) in fields {
                let mut row = whole.clone();
                row[FIELD] = Value::text(&field);
                row[SITE] = mark[1].as_str().map_or(Value::Null, Value::text);
                show(talon, &mut row, mark[0].as_i64().unwrap_or(0));
                rows.try_push(row)?;
            }
        }
    }
    Ok(Rows::new(rows, &[KIND, PIECE, FIELD, SCHEMA]))
}

fn show(talon: &Talon, row: &mut [Value], of: i64) {
    row[STAMP] = Value::text(&stamp::shown(of));
    row[CHANGED_AT] = Value::text(&talon.clock.shown(stamp::ms(of)));
}
