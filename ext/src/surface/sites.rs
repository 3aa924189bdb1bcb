//! `talon_site` and `talon_origin`: which databases exchange flows, and which of them this is.

use super::arguments::{place_asked, schema, schema_asked, text};
use super::rows::Rows;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Argument, Caller, Connection, Constraints, Failure, Function, Output, Room, Table, Value,
    create_function, create_module,
};
use crate::storage::schema::SYNC_SINCE;
use crate::storage::shape::quote_identifier;
use std::ops::RangeInclusive;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    let functions: [(&str, RangeInclusive<usize>, Function<Talon>); 2] =
        [("talon_site", 2..=4, site), ("talon_origin", 1..=2, origin)];
    for (name, counts, function) in functions {
        create_function(connection, name, counts, Caller::Application, talon, function)?;
    }
    create_module::<Sites>(connection, "talon_sites", talon)
}

/// `talon_site(code, role[, name[, schema]])`.
fn site(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let (code, role) = (text(arguments, 0, "the code")?, text(arguments, 1, "the role")?);
        let is_named = arguments.get(2).is_some_and(|name| !name.get().is_null());
        let name = if is_named { Some(text(arguments, 2, "the name")?) } else { None };
        talon.register_site(&schema(arguments, 3)?, code, role, name)
    };
    run().map(Output::Text).map_err(|error: Error| error.into_failure("talon_site"))
}

/// `talon_origin(code[, schema])`.
fn origin(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || talon.set_origin(&schema(arguments, 1)?, text(arguments, 0, "the code")?);
    run().map(Output::Text).map_err(|error: Error| error.into_failure("talon_origin"))
}

/// `talon_sites`: the sites, with the last flows exchanged with each.
struct Sites;

mod column {
    pub const CODE: usize = 0;
    pub const INCARNATION: usize = 4;
    pub const SENT_AT: usize = 6;
    pub const RECEIVED_AT: usize = 8;
    pub const ACKNOWLEDGED_AT: usize = 10;
    pub const SCHEMA: usize = 12;
}

/// What is asked of each site, in the order of the table's columns.
const SELECT: &str = "SELECT s.code, s.role, s.name, s.id = o.value,
      CASE s.id WHEN o.value THEN i.value ELSE s.incarnation END,
      nullif(s.number_out, 0),
      (SELECT max(f.ready) FROM {s}.talon_flow AS f WHERE f.sender = o.value AND f.receiver = s.id),
      nullif(s.number_in, 0),
      (SELECT max(f.ready) FROM {s}.talon_flow AS f WHERE f.sender = s.id AND f.receiver = o.value),
      (SELECT max(f.number) FROM {s}.talon_flow AS f
       WHERE f.sender = o.value AND f.receiver = s.id AND f.acknowledged IS NOT NULL),
      (SELECT max(f.acknowledged) FROM {s}.talon_flow AS f WHERE f.sender = o.value AND f.receiver = s.id),
      s.clock_off / 1000
    FROM {s}.talon_site AS s LEFT JOIN {s}.talon_meta AS o ON o.name = 'site'
    LEFT JOIN {s}.talon_meta AS i ON i.name = 'incarnation' ORDER BY s.id";

impl Table for Sites {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str = "CREATE TABLE x(code TEXT, role TEXT, name TEXT, this INTEGER, incarnation TEXT,
        sent INTEGER, sent_at TEXT, received INTEGER, received_at TEXT, acknowledged INTEGER, acknowledged_at TEXT,
        clock_off_s INTEGER, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[column::SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        rows(talon, constraints).map_err(|error| error.into_failure("talon_sites"))
    }
}

fn rows(talon: &Rc<Talon>, constraints: &Constraints<'_>) -> Result<Rows> {
    let schema = schema_asked(constraints, column::SCHEMA)?;
    let Some(place) = place_asked(talon, &schema)? else { return Ok(Rows::none()) };
    if talon.databases()?[place].format < SYNC_SINCE {
        return Ok(Rows::none());
    }
    let mut statement =
        talon.connection.prepare(&SELECT.replace("{s}", &quote_identifier(&schema)))?;
    let mut scan = statement.query(&[])?;
    let mut rows = Vec::new();
    while scan.next()? {
        let mut row = scan.values(0..scan.column_count())?;
        for moment in [column::SENT_AT, column::RECEIVED_AT, column::ACKNOWLEDGED_AT] {
            if let Some(at) = scan.column(moment).as_integer() {
                row[moment] = Value::text(&talon.clock.shown(at));
            }
        }
        if let Some(incarnation) = scan.column(column::INCARNATION).as_integer() {
            row[column::INCARNATION] = Value::text(&format!("{incarnation:016x}"));
        }
        row.try_push(Value::text(&schema))?;
        rows.try_push(row)?;
    }
    Ok(Rows::new(rows, &[column::CODE, column::SCHEMA]))
}
