//! `talon_snapshots`, one row a snapshot, and `talon_image(snapshot)`, one row a row of it.

use super::arguments::{place_asked, schema_asked, shortened};
use super::rows::Rows;
use super::scan::{Layout, Scan};
use crate::domain::database::Database;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Bytes, Connection, Constraints, Failure, Room, Table, Value, ValueRef, create_module, gather,
};
use crate::storage::image::compare_keys;
use crate::storage::payload::{put, write_value};
use crate::storage::shape::quote_identifier;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    create_module::<Snapshots>(connection, "talon_snapshots", talon)?;
    create_module::<ImageTable>(connection, "talon_image", talon)
}

struct Snapshots;

const ID: usize = 0;
const KIND: usize = 1;
const PIECE: usize = 2;
const TAKEN_AT: usize = 4;
const SCHEMA: usize = 12;

impl Table for Snapshots {
    type Data = Talon;
    type Cursor = Scan;
    const DECLARATION: &'static str = "CREATE TABLE x(id INTEGER, kind TEXT, piece, version INTEGER, taken_at TEXT,
        day TEXT, reason TEXT, station TEXT, user TEXT, lines INTEGER, bytes INTEGER, hash TEXT, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[ID, KIND, PIECE, SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Scan, Failure> {
        scan(talon, constraints).map_err(|error| error.into_failure("talon_snapshots"))
    }
}

const LAYOUT: Layout = Layout { schema: SCHEMA, moments: &[TAKEN_AT], identity: &[ID] };

fn scan(talon: &Rc<Talon>, constraints: &Constraints<'_>) -> Result<Scan> {
    let schema = schema_asked(constraints, SCHEMA)?;
    if place_asked(talon, &schema)?.is_none() {
        return Ok(Scan::none(talon, &schema, &LAYOUT));
    }
    let quoted = quote_identifier(&schema);
    // With a piece named, its chain of snapshots is followed; its row is found under either value of `saved`.
    let source = if constraints.equal(PIECE).is_some() {
        format!(
            "WITH RECURSIVE chain(id) AS (
               SELECT p.last FROM {quoted}.talon_kind AS c CROSS JOIN {quoted}.talon_piece AS p
               WHERE p.kind = c.id AND p.saved = 1 AND p.key = ?3
               UNION ALL
               SELECT s.previous FROM chain JOIN {quoted}.talon_snapshot AS s ON s.id = chain.id
               WHERE s.previous < s.id)
             SELECT s.id, k.kind, s.key, s.version, s.taken_at, s.day, s.reason, t.station, nullif(t.user, ''), s.lines,
               s.bytes, lower(hex(s.hash))
             FROM chain CROSS JOIN {quoted}.talon_snapshot AS s ON s.id = chain.id"
        )
    } else {
        // Up to what there is now: the query may feed an INSERT INTO talon_restore, which stores further ones.
        format!(
            "SELECT s.id, k.kind, s.key, s.version, s.taken_at, s.day, s.reason, t.station, nullif(t.user, ''), s.lines,
               s.bytes, lower(hex(s.hash))
             FROM (SELECT * FROM {quoted}.talon_snapshot WHERE id <= (SELECT max(id) FROM {quoted}.talon_snapshot)) AS s"
        )
    };
    let id_condition = if constraints.equal(ID).is_some() { "s.id = ?1" } else { "?1 IS NULL" };
    let kind_condition =
        if constraints.equal(KIND).is_some() { "k.kind = ?2" } else { "?2 IS NULL" };
    let piece_condition =
        if constraints.equal(PIECE).is_some() { "s.key = ?3" } else { "?3 IS NULL" };
    let sql = format!(
        "{source} JOIN {quoted}.talon_kind AS k ON k.id = s.kind
         LEFT JOIN {quoted}.talon_station AS t ON t.id = s.station
         WHERE {id_condition} AND {kind_condition} AND {piece_condition}"
    );
    let value = |column: usize| constraints.equal(column).unwrap_or(ValueRef::Null);
    let piece = own_spelling(talon, &schema, value(KIND), value(PIECE))?;
    let values = [value(ID), value(KIND), piece.as_ref()];
    Ok(Scan::begin(talon, &schema, &LAYOUT, &sql, &values)?)
}

/// The piece as its header spells it, where the kind is named too: a person may write '42' for 42.
fn own_spelling(
    talon: &Talon,
    schema: &str,
    kind: ValueRef<'_>,
    piece: ValueRef<'_>,
) -> Result<Value> {
    let (Some(kind), false) = (kind.as_str(), piece.is_null()) else {
        return Ok(piece.to_value()?);
    };
    let place = match talon.kind_place(schema, kind) {
        Ok(place) => place,
        // Its snapshots are kept, its tables are nobody's to look into.
        Err(Error::UnknownKind { .. }) => return Ok(piece.to_value()?),
        Err(error) => return Err(error),
    };
    let mut databases = talon.databases()?;
    let database = &mut databases[place.database];
    let own = match database.fits(place.kind)? {
        true => database.piece_asked(place.kind, piece)?,
        false => None,
    };
    own.map_or_else(|| Ok(piece.to_value()?), |key| key.shown())
}

/// `talon_image(snapshot)`.
struct ImageTable;

const IMAGE_PART: usize = 0;
const IMAGE_POSITION: usize = 1;
const IMAGE_SNAPSHOT: usize = 3;
const IMAGE_SCHEMA: usize = 4;

impl Table for ImageTable {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str = "CREATE TABLE x(part TEXT, position INTEGER, row TEXT, snapshot INTEGER HIDDEN, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[IMAGE_SNAPSHOT, IMAGE_SCHEMA];
    const REQUIRED: Option<usize> = Some(IMAGE_SNAPSHOT);

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        image(talon, constraints).map_err(|error| error.into_failure("talon_image"))
    }
}

fn image(talon: &Rc<Talon>, constraints: &Constraints<'_>) -> Result<Rows> {
    let asked = constraints.equal(IMAGE_SNAPSHOT).ok_or_else(|| {
        Error::Argument("name a snapshot: SELECT * FROM talon_image(17)".to_owned())
    })?;
    let Some(id) = asked.as_integer() else {
        return Err(Error::Argument(format!(
            "{} is no snapshot's id: give an integer",
            shortened(asked)
        )));
    };
    let schema = schema_asked(constraints, IMAGE_SCHEMA)?;
    let place = talon.database_place(&schema)?;
    let mut databases = talon.databases()?;
    let database = &mut databases[place];
    if database.head(id)?.is_none() {
        return Err(Error::Argument(format!(
            "there is no snapshot {id} in {schema:?}; talon_snapshots lists those there are"
        )));
    }
    let stored = database.stored(id)?;
    let orders = orders(database, id)?;
    let asked_schema = constraints.equal(IMAGE_SCHEMA).unwrap_or(ValueRef::Null).to_value()?;
    let mut rows = Vec::new();
    // Header and lines first; details follow by name.
    let mut parts: Vec<_> = stored.parts.iter().collect();
    parts.sort_by_key(|part| match part.name.as_str() {
        "header" => (0, ""),
        "lines" => (1, ""),
        name => (2, name),
    });
    for part in parts {
        let order: Vec<usize> = orders
            .iter()
            .find(|(name, _)| *name == part.name)
            .map(|(_, order)| {
                order
                    .iter()
                    .filter_map(|name| part.columns.iter().position(|column| column == name))
                    .collect()
            })
            .unwrap_or_default();
        let mut shown = gather(&part.rows)?;
        let key = |row: &Vec<Value>| -> Vec<Value> {
            order.iter().map(|place| row[*place].clone()).collect()
        };
        shown.sort_by(|a, b| compare_keys(&key(a), &key(b)));
        for (position, row) in shown.into_iter().enumerate() {
            rows.try_push(vec![
                Value::text(&part.name),
                Value::Integer(position as i64 + 1),
                Value::Text(Bytes::from(object(&part.columns, row)?)),
                Value::Integer(id),
                asked_schema.clone(),
            ])?;
        }
    }
    Ok(Rows::new(rows, &[IMAGE_PART, IMAGE_POSITION, IMAGE_SNAPSHOT, IMAGE_SCHEMA]))
}

/// The order that each part of the snapshot's kind is shown in, as far as it is still guarded.
fn orders(database: &mut Database, id: i64) -> Result<Vec<(String, Vec<String>)>> {
    let sql = format!(
        "SELECT kind FROM {}.talon_snapshot WHERE id = ?1",
        quote_identifier(&database.schema)
    );
    let kind = match database.connection.value(&sql, &[ValueRef::Integer(id)])? {
        Some(Value::Integer(kind)) => database.place_of(kind),
        _ => None,
    };
    match kind {
        Some(kind) if database.fits(kind)? => {
            let guard = database.guard(kind)?;
            Ok(guard.parts.iter().map(|part| (part.name.clone(), part.order.clone())).collect())
        }
        _ => Ok(Vec::new()),
    }
}

fn object(columns: &[String], row: &[Value]) -> Result<Vec<u8>> {
    let mut json = Vec::new();
    put(&mut json, b"{")?;
    for (place, (column, value)) in columns.iter().zip(row).enumerate() {
        if place > 0 {
            put(&mut json, b",")?;
        }
        write_value(&mut json, ValueRef::Text(column.as_bytes()))?;
        put(&mut json, b":")?;
        write_value(&mut json, value.as_ref())?;
    }
    put(&mut json, b"}")?;
    Ok(json)
}
