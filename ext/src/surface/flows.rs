//! Flows: `talon_emit` writes one, `talon_receive` takes one in, `talon_refuse` sets one aside, `talon_flows` lists them, and
//! `talon_chunks` gives their bytes.

use super::arguments::{schema, schema_of, shortened, text};
use super::rows::row_id;
use crate::domain::sync::emit::{Answer, Mode, Order};
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Argument, Caller, Connection, Constraints, Cursor, Failure, Function, Output, Statement, Table,
    Value, ValueRef, create_function, create_module,
};
use crate::storage::schema::SYNC_SINCE;
use crate::storage::shape::quote_identifier;
use std::ops::RangeInclusive;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    let functions: [(&str, RangeInclusive<usize>, Function<Talon>); 4] = [
        ("talon_emit", 2..=4, emit),
        ("talon_receive", 1..=2, receive),
        ("talon_refuse", 2..=3, refuse),
        ("talon_rejoin", 0..=1, rejoin),
    ];
    for (name, counts, function) in functions {
        create_function(connection, name, counts, Caller::Application, talon, function)?;
    }
    create_module::<Flows>(connection, "talon_flows", talon)?;
    create_module::<Chunks>(connection, "talon_chunks", talon)
}

/// `talon_emit(site, mode[, answer[, schema]])`.
fn emit(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let mode = Mode::from_text(text(arguments, 1, "the mode")?)?;
        let asks = arguments.get(2).is_some_and(|answer| !answer.get().is_null());
        let answer = match asks {
            true => Answer::from_text(text(arguments, 2, "the answer")?)?,
            false => Answer::None,
        };
        let order = Order { mode, answer, answers: None, tables: None };
        talon.emit(&schema(arguments, 3)?, text(arguments, 0, "the site")?, &order)
    };
    run().map(Output::Integer).map_err(|error: Error| error.into_failure("talon_emit"))
}

/// `talon_receive(bytes[, schema])`.
fn receive(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || match arguments.first().map_or(ValueRef::Null, Argument::get) {
        ValueRef::Blob(bytes) => talon.receive(&schema(arguments, 1)?, bytes),
        other => Err(Error::Argument(format!("a flow is a blob, not {}", shortened(other)))),
    };
    run().map(Output::Integer).map_err(|error: Error| error.into_failure("talon_receive"))
}

/// `talon_refuse(flow, why[, schema])`.
fn refuse(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let asked = arguments.first().map_or(ValueRef::Null, Argument::get);
        let flow = asked.as_integer().ok_or_else(|| {
            Error::Argument(format!("{} is no flow: give its id in talon_flows", shortened(asked)))
        })?;
        talon.refuse_flow(&schema(arguments, 2)?, flow, text(arguments, 1, "the reason")?)?;
        Ok(Output::Integer(flow))
    };
    run().map_err(|error: Error| error.into_failure("talon_refuse"))
}

/// `talon_rejoin([schema])`.
fn rejoin(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || talon.rejoin(&schema(arguments, 0)?);
    run().map(|()| Output::Null).map_err(|error: Error| error.into_failure("talon_rejoin"))
}

/// `talon_flows`: one row a flow, sent or received.
struct Flows;

mod flow_columns {
    pub const ID: usize = 0;
    /// Columns that are moments: ready, begun, ended, and refused, superseded, acknowledged.
    pub const MOMENTS: [usize; 6] = [6, 7, 8, 10, 11, 12];
    pub const SCHEMA: usize = 17;
}

impl Table for Flows {
    type Data = Talon;
    type Cursor = Scan;
    const DECLARATION: &'static str = "CREATE TABLE x(id INTEGER, link INTEGER, from_site TEXT, to_site TEXT, mode TEXT,
        answer TEXT, ready TEXT, begun TEXT, ended TEXT, runs INTEGER, refused TEXT, superseded TEXT, acknowledged TEXT,
        rows INTEGER, bytes INTEGER, error TEXT, number INTEGER, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[flow_columns::ID, flow_columns::SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Scan, Failure> {
        let select = "SELECT f.id, f.link, s.code, r.code, f.mode, f.answer, f.ready, f.begun, f.ended, f.runs, f.refused,
              f.superseded, f.acknowledged, f.rows, f.bytes, f.error, f.number
            FROM {s}.talon_flow AS f LEFT JOIN {s}.talon_site AS s ON s.id = f.sender
            LEFT JOIN {s}.talon_site AS r ON r.id = f.receiver
            WHERE ?1 IS NULL OR f.id = ?1 ORDER BY f.id";
        Scan::begin(
            talon,
            constraints,
            select,
            flow_columns::ID,
            flow_columns::SCHEMA,
            &flow_columns::MOMENTS,
        )
        .map_err(|error| error.into_failure("talon_flows"))
    }
}

/// `talon_chunks`: the bytes of flows, as they travel.
struct Chunks;

mod chunk_columns {
    pub const FLOW: usize = 0;
    pub const SCHEMA: usize = 4;
}

impl Table for Chunks {
    type Data = Talon;
    type Cursor = Scan;
    const DECLARATION: &'static str = "CREATE TABLE x(flow INTEGER, number INTEGER, last INTEGER, bytes BLOB, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[chunk_columns::FLOW, chunk_columns::SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Scan, Failure> {
        let select = "SELECT c.flow, c.number, f.ready IS NOT NULL AND c.number = (SELECT max(m.number) FROM {s}.talon_chunk AS m
                WHERE m.flow = c.flow), c.bytes
            FROM {s}.talon_chunk AS c JOIN {s}.talon_flow AS f ON f.id = c.flow
            WHERE ?1 IS NULL OR c.flow = ?1 ORDER BY c.flow, c.number";
        Scan::begin(talon, constraints, select, chunk_columns::FLOW, chunk_columns::SCHEMA, &[])
            .map_err(|error| error.into_failure("talon_chunks"))
    }
}

/// A scan that goes from row to row in Talon's own tables.
struct Scan {
    talon: Rc<Talon>,
    statement: Option<Statement>,
    row: bool,
    schema: String,
    schema_column: usize,
    moments: &'static [usize],
}

impl Scan {
    fn begin(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
        select: &str,
        id: usize,
        schema_column: usize,
        moments: &'static [usize],
    ) -> Result<Scan> {
        let schema = match constraints.equal(schema_column) {
            Some(schema) => schema_of(schema)?,
            None => "main".to_owned(),
        };
        let mut scan = Scan {
            talon: Rc::clone(talon),
            statement: None,
            row: false,
            schema,
            schema_column,
            moments,
        };
        match talon.look(&scan.schema, None) {
            Err(Error::NotInstalled(_)) => return Ok(scan),
            other => other?,
        };
        let place = talon.database_place(&scan.schema)?;
        if talon.databases()?[place].format < SYNC_SINCE {
            return Ok(scan);
        }
        let sql = select.replace("{s}", &quote_identifier(&scan.schema));
        let mut statement = talon.connection.prepare(&sql)?;
        statement.start(&[constraints.equal(id).unwrap_or(ValueRef::Null)])?;
        scan.row = statement.step()?;
        scan.statement = Some(statement);
        Ok(scan)
    }
}

impl Cursor for Scan {
    fn eof(&self) -> bool {
        !self.row
    }
    fn next(&mut self) -> std::result::Result<(), Failure> {
        if let Some(statement) = &mut self.statement {
            self.row = statement.step()?;
        }
        Ok(())
    }
    fn column(&self, index: usize) -> std::result::Result<Value, Failure> {
        let Some(statement) = &self.statement else {
            return Ok(Value::Null);
        };
        if index == self.schema_column {
            return Ok(Value::text(&self.schema));
        }
        match statement.column(index) {
            ValueRef::Integer(at) if self.moments.contains(&index) => {
                Ok(Value::text(&self.talon.clock.shown(at)))
            }
            other => other.to_value(),
        }
    }
    fn rowid(&self) -> i64 {
        let Some(statement) = &self.statement else { return 0 };
        let number =
            |index: usize| Value::Integer(statement.column(index).as_integer().unwrap_or(0));
        let schema = Value::text(&self.schema);
        match self.moments.is_empty() {
            true => row_id(&[&number(0), &number(1), &schema]),
            false => row_id(&[&number(0), &schema]),
        }
    }
}
