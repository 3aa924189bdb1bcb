//! `talon_stamps`: which change of each synchronised piece or record is the newest, and whose it is.

use super::arguments::kinds_asked;
use super::rows::row_id;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Connection, Constraints, Cursor, Failure, Room, Statement, Table, Value, ValueRef,
    create_module,
};
use crate::storage::key::Key;
use crate::storage::policy::Owner;
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
    type Cursor = Newest;
    const DECLARATION: &'static str =
        "CREATE TABLE x(kind TEXT, piece, field TEXT, origin TEXT, origin_key, version INTEGER,
        stamp TEXT, site TEXT, changed_at TEXT, gone INTEGER, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[KIND, PIECE, SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Newest, Failure> {
        let asked =
            asked(talon, constraints).map_err(|error| error.into_failure("talon_stamps"))?;
        let mut newest = Newest {
            talon: Rc::clone(talon),
            asked: asked.into_iter(),
            reading: None,
            row: None,
            fields: serde_json::Map::new().into_iter(),
            field: None,
        };
        newest.next()?;
        Ok(newest)
    }
}

/// A kind that is asked about.
struct Asked {
    kind: Value,
    id: i64,
    is_of_central: bool,
    /// The only piece that is asked about, as it is shown.
    piece: Option<Value>,
    schema: String,
}

/// Kinds are read one after the other, row by row: there may be millions of pieces.
struct Newest {
    talon: Rc<Talon>,
    asked: std::vec::IntoIter<Asked>,
    reading: Option<(Asked, Statement)>,
    /// What stands for the whole piece or record; None at the end.
    row: Option<Vec<Value>>,
    fields: serde_json::map::IntoIter,
    /// The same for the field that is shown of it.
    field: Option<Vec<Value>>,
}

impl Newest {
    fn current(&self) -> Option<&Vec<Value>> {
        self.field.as_ref().or(self.row.as_ref())
    }

    fn read(&mut self) -> std::result::Result<(), Failure> {
        self.row = None;
        loop {
            if let Some((asked, statement)) = &mut self.reading
                && statement.step()?
            {
                let (row, fields) = read_row(&self.talon, asked, statement)?;
                (self.row, self.fields) = (Some(row), fields.into_iter());
                return Ok(());
            }
            let Some(asked) = self.asked.next() else {
                self.reading = None;
                return Ok(());
            };
            let one = if asked.piece.is_some() { " AND p.key = ?3" } else { "" };
            let sql = SELECT.replace("{s}", &quote_identifier(&asked.schema));
            let mut statement =
                self.talon.connection.prepare(&format!("{sql}{one} ORDER BY p.key"))?;
            let mut values = vec![
                ValueRef::Integer(asked.id),
                ValueRef::Integer(i64::from(asked.is_of_central)),
            ];
            values.extend(asked.piece.as_ref().map(Value::as_ref));
            statement.start(&values)?;
            self.reading = Some((asked, statement));
        }
    }
}

impl Cursor for Newest {
    fn eof(&self) -> bool {
        self.row.is_none()
    }
    fn next(&mut self) -> std::result::Result<(), Failure> {
        self.field = None;
        if let (Some(row), Some((field, mark))) = (&self.row, self.fields.next()) {
            let mut row = row.clone();
            row[FIELD] = Value::text(&field);
            row[SITE] = mark[1].as_str().map_or(Value::Null, Value::text);
            show(&self.talon, &mut row, mark[0].as_i64().unwrap_or(0));
            self.field = Some(row);
            return Ok(());
        }
        self.read()
    }
    fn column(&self, index: usize) -> std::result::Result<Value, Failure> {
        Ok(self.current().and_then(|row| row.get(index)).cloned().unwrap_or(Value::Null))
    }
    fn rowid(&self) -> i64 {
        let Some(row) = self.current() else { return 0 };
        row_id(&[&row[KIND], &row[PIECE], &row[FIELD], &row[SCHEMA]])
    }
}

/// The kinds that a query is about.
fn asked(talon: &Rc<Talon>, constraints: &Constraints<'_>) -> Result<Vec<Asked>> {
    let asked = kinds_asked(talon, constraints, KIND, SCHEMA)?;
    let Some(place) = asked.place else { return Ok(Vec::new()) };
    let mut databases = talon.databases()?;
    let database = &mut databases[place];
    let mut found = Vec::new();
    if database.format < SYNC_SINCE {
        return Ok(found);
    }
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
        found.try_push(Asked {
            kind: Value::text(&guard.kind),
            id: database.kinds[kind].id,
            is_of_central: policy.owner == Owner::Central,
            piece,
            schema: database.schema.clone(),
        })?;
    }
    Ok(found)
}

type Fields = serde_json::Map<String, serde_json::Value>;

fn read_row(
    talon: &Talon,
    asked: &Asked,
    scan: &Statement,
) -> std::result::Result<(Vec<Value>, Fields), Failure> {
    let mut row = vec![Value::Null; SCHEMA + 1];
    row[KIND] = asked.kind.clone();
    row[PIECE] = scan.column(0).to_value()?;
    row[ORIGIN] = scan.column(1).to_value()?;
    row[ORIGIN_KEY] = scan.column(2).to_value()?;
    row[VERSION] = scan.column(3).to_value()?;
    row[SITE] = scan.column(5).to_value()?;
    row[GONE] = scan.column(6).to_value()?;
    row[SCHEMA] = Value::text(&asked.schema);
    show(talon, &mut row, scan.column(4).as_integer().unwrap_or(0));
    let fields = scan.column(7).as_str().map(serde_json::from_str);
    Ok((row, fields.and_then(std::result::Result::ok).unwrap_or_default()))
}

fn show(talon: &Talon, row: &mut [Value], of: i64) {
    row[STAMP] = Value::text(&stamp::shown(of));
    row[CHANGED_AT] = Value::text(&talon.clock.shown(stamp::ms(of)));
}
