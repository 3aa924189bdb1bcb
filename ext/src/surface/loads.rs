//! Loads: `talon_till` says which till a user has, `talon_load` asks central for one, `talon_tables` lists how far the kinds are
//! here and there.

use super::arguments::{place_asked, schema, schema_asked, text};
use super::rows::Rows;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Argument, Caller, Connection, Constraints, Failure, Function, Output, Room, Table, Value,
    ValueRef, create_function, create_module,
};
use crate::storage::document::Load;
use crate::storage::rule::RuleType;
use crate::storage::till::NAME;
use std::ops::RangeInclusive;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    let functions: [(&str, RangeInclusive<usize>, Function<Talon>); 2] =
        [("talon_till", 1..=2, till), ("talon_load", 2..=3, load)];
    for (name, counts, function) in functions {
        create_function(connection, name, counts, Caller::Application, talon, function)?;
    }
    create_module::<Tables>(connection, "talon_tables", talon)
}

/// `talon_till(query[, schema])`; NULL takes it back.
fn till(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let schema = schema(arguments, 1)?;
        if arguments.first().is_none_or(|query| query.get().is_null()) {
            return talon.take_back_rule(&schema, NAME, RuleType::Till, |_, _| Ok(()));
        }
        talon.declare_till(&schema, text(arguments, 0, "the query")?)
    };
    run().map(Output::Text).map_err(|error: Error| error.into_failure("talon_till"))
}

/// `talon_load(user, mode[, schema])`.
fn load(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let mode = text(arguments, 1, "the mode")?;
        let mode = Load::from_text(mode).ok_or_else(|| {
            Error::Argument(format!("{mode:?} is no mode of a load: 'full' or 'changes'"))
        })?;
        let user = arguments.first().map_or(ValueRef::Null, Argument::get);
        talon.load(&schema(arguments, 2)?, user, mode)
    };
    run().map(Output::Integer).map_err(|error: Error| error.into_failure("talon_load"))
}

/// `talon_tables`: one row a kind that travels.
struct Tables;

const KIND: usize = 0;
const TABLES: usize = 1;
const DIRECTION: usize = 2;
const VERSION: usize = 3;
const NEWEST: usize = 4;
const AS_OF: usize = 5;
const SCHEMA: usize = 6;

impl Table for Tables {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str =
        "CREATE TABLE x(kind TEXT, tables TEXT, direction TEXT, version INTEGER, newest INTEGER,
        as_of TEXT, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        rows(talon, constraints).map_err(|error| error.into_failure("talon_tables"))
    }
}

fn rows(talon: &Rc<Talon>, constraints: &Constraints<'_>) -> Result<Rows> {
    let schema = schema_asked(constraints, SCHEMA)?;
    let Some(place) = place_asked(talon, &schema)? else { return Ok(Rows::none()) };
    let mut rows = Vec::new();
    for table in talon.tables(place)? {
        let mut row = vec![Value::Null; SCHEMA + 1];
        row[KIND] = Value::text(&table.kind);
        row[SCHEMA] = Value::text(&schema);
        if let Some((tables, direction)) = &table.here {
            row[TABLES] = Value::text(tables);
            row[DIRECTION] = Value::text(direction.text());
        }
        if let Some(known) = &table.row {
            row[VERSION] = Value::Integer(known.version);
            row[NEWEST] = known.newest.map_or(Value::Null, Value::Integer);
            row[AS_OF] = known.as_of.map_or(Value::Null, |at| Value::text(&talon.clock.shown(at)));
        }
        rows.try_push(row)?;
    }
    Ok(Rows::new(rows, &[KIND, SCHEMA]))
}
