//! Flows: `talon_emit` writes one, `talon_receive` takes one in, `talon_refuse` sets one aside, `talon_flows` lists them, and
//! `talon_chunks` gives their bytes.

use super::arguments::{place_asked, schema, schema_asked, shortened, text};
use super::scan::{Layout, Scan};
use crate::domain::sync::emit::{Answer, Mode, Order};
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Argument, Caller, Connection, Constraints, Failure, Function, Output, Table, ValueRef,
    create_function, create_module,
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
        let order = Order { mode, answer, answers: None };
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
    pub const SCHEMA: usize = 19;
    /// Moments: ready, begun, ended, and refused, superseded, acknowledged.
    pub const LAYOUT: super::Layout =
        super::Layout { schema: SCHEMA, moments: &[6, 7, 8, 10, 11, 12], identity: &[ID] };
}

impl Table for Flows {
    type Data = Talon;
    type Cursor = Scan;
    const DECLARATION: &'static str = "CREATE TABLE x(id INTEGER, link INTEGER, from_site TEXT, to_site TEXT, mode TEXT,
        answer TEXT, ready TEXT, begun TEXT, ended TEXT, runs INTEGER, refused TEXT, superseded TEXT, acknowledged TEXT,
        rows INTEGER, bytes INTEGER, error TEXT, number INTEGER, load TEXT, incarnation TEXT, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[flow_columns::ID, flow_columns::SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Scan, Failure> {
        let select = "SELECT f.id, f.link, s.code, r.code, f.mode, f.answer, f.ready, f.begun, f.ended, f.runs, f.refused,
              f.superseded, f.acknowledged, f.rows, f.bytes, f.error, f.number, f.load, printf('%016x', f.incarnation)
            FROM {s}.talon_flow AS f LEFT JOIN {s}.talon_site AS s ON s.id = f.sender
            LEFT JOIN {s}.talon_site AS r ON r.id = f.receiver
            WHERE ?1 IS NULL OR f.id = ?1 ORDER BY f.id";
        scan(talon, constraints, select, &[flow_columns::ID], &flow_columns::LAYOUT)
            .map_err(|error| error.into_failure("talon_flows"))
    }
}

/// `talon_chunks`: the bytes of flows, as they travel.
struct Chunks;

mod chunk_columns {
    pub const FLOW: usize = 0;
    pub const NUMBER: usize = 1;
    pub const SCHEMA: usize = 4;
    pub const LAYOUT: super::Layout =
        super::Layout { schema: SCHEMA, moments: &[], identity: &[FLOW, NUMBER] };
}

impl Table for Chunks {
    type Data = Talon;
    type Cursor = Scan;
    const DECLARATION: &'static str = "CREATE TABLE x(flow INTEGER, number INTEGER, last INTEGER, bytes BLOB, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] =
        &[chunk_columns::FLOW, chunk_columns::NUMBER, chunk_columns::SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Scan, Failure> {
        let select = "SELECT c.flow, c.number, f.ready IS NOT NULL AND c.number = (SELECT max(m.number) FROM {s}.talon_chunk AS m
                WHERE m.flow = c.flow), c.bytes
            FROM {s}.talon_chunk AS c JOIN {s}.talon_flow AS f ON f.id = c.flow
            WHERE (?1 IS NULL OR c.flow = ?1) AND (?2 IS NULL OR c.number = ?2) ORDER BY c.flow, c.number";
        // One chunk of a known flow is looked up: whoever carries a long flow asks for one after the other.
        let one = select.replace(
            "(?1 IS NULL OR c.flow = ?1) AND (?2 IS NULL OR c.number = ?2)",
            "c.flow = ?1 AND c.number = ?2",
        );
        let asked = [chunk_columns::FLOW, chunk_columns::NUMBER];
        let is_one = asked.iter().all(|column| constraints.equal(*column).is_some());
        let select = if is_one { &one } else { select };
        scan(talon, constraints, select, &asked, &chunk_columns::LAYOUT)
            .map_err(|error| error.into_failure("talon_chunks"))
    }
}

/// A scan over a table that came with synchronisation; `asked` are the columns that the query's parameters are.
fn scan(
    talon: &Rc<Talon>,
    constraints: &Constraints<'_>,
    select: &str,
    asked: &[usize],
    layout: &'static Layout,
) -> Result<Scan> {
    let schema = schema_asked(constraints, layout.schema)?;
    match place_asked(talon, &schema)? {
        Some(place) if talon.databases()?[place].format >= SYNC_SINCE => {
            let sql = select.replace("{s}", &quote_identifier(&schema));
            let values: Vec<ValueRef<'_>> = asked
                .iter()
                .map(|column| constraints.equal(*column).unwrap_or(ValueRef::Null))
                .collect();
            Ok(Scan::begin(talon, &schema, layout, &sql, &values)?)
        }
        _ => Ok(Scan::none(talon, &schema, layout)),
    }
}
