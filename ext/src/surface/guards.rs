//! `talon_guard` and its kin, and the table of guards.

use super::arguments::{piece, schema, text};
use super::rows::Rows;
use crate::domain::database::Database;
use crate::domain::declare::missing_triggers;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Argument, Caller, Connection, Constraints, Failure, Function, Output, Room, Table, Value,
    ValueRef, create_function, create_module,
};
use crate::storage::definition::Definition;
use crate::storage::guard::Guard;
use crate::storage::shape::{quote_identifier, quote_list};
use std::ops::RangeInclusive;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    let functions: [(&str, RangeInclusive<usize>, Function<Talon>); 8] = [
        ("talon_version", 0..=0, version),
        ("talon_guard", 2..=4, guard),
        ("talon_track", 2..=3, track),
        ("talon_unguard", 1..=2, unguard),
        ("talon_baseline", 1..=2, baseline),
        ("talon_station", 1..=2, station),
        ("talon_absorb", 0..=1, absorb),
        ("talon_dismiss", 2..=3, dismiss),
    ];
    for (name, counts, function) in functions {
        create_function(connection, name, counts, Caller::Application, talon, function)?;
    }
    create_module::<Guards>(connection, "talon_guards", talon)
}

fn answer(speaker: &str, result: Result<Output>) -> std::result::Result<Output, Failure> {
    result.map_err(|error| error.into_failure(speaker))
}

fn version(_: &Talon, _: &[Argument]) -> std::result::Result<Output, Failure> {
    Ok(Output::Text(env!("CARGO_PKG_VERSION").to_owned()))
}

fn guard(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let kind = text(arguments, 0, "the kind")?;
        let second = text(arguments, 1, "the header table, or the definition,")?;
        // (kind, definition[, schema]) or (kind, header table, lines table[, schema]).
        let is_json = arguments.len() == 2 || second.trim_start().starts_with('{');
        let (definition, schema) = if is_json {
            if arguments.len() == 4 {
                return Err(Error::Argument(
                    "a definition in JSON is followed by the schema only".to_owned(),
                ));
            }
            (Definition::of_pieces(kind, second)?, schema(arguments, 2)?)
        } else {
            let lines = text(arguments, 2, "the lines table")?;
            (Definition::of_tables(second, lines), schema(arguments, 3)?)
        };
        Ok(Output::Text(talon.declare(&schema, kind, &definition)?))
    };
    answer("talon_guard", run())
}

fn track(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let kind = text(arguments, 0, "the kind")?;
        let definition =
            Definition::of_records(kind, text(arguments, 1, "the table, or the definition,")?)?;
        Ok(Output::Text(talon.declare(&schema(arguments, 2)?, kind, &definition)?))
    };
    answer("talon_track", run())
}

fn unguard(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let kind = text(arguments, 0, "the kind")?;
        Ok(Output::Text(talon.undeclare(&schema(arguments, 1)?, kind)?))
    };
    answer("talon_unguard", run())
}

fn baseline(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let kind = text(arguments, 0, "the kind")?;
        Ok(Output::Integer(talon.baseline(&schema(arguments, 1)?, kind)?))
    };
    answer("talon_baseline", run())
}

fn station(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let name = text(arguments, 0, "the station")?;
        let user = if arguments.len() > 1 { text(arguments, 1, "the user")? } else { "" };
        talon.set_station(name, user)?;
        Ok(Output::Text(name.to_owned()))
    };
    answer("talon_station", run())
}

fn absorb(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let place = talon.database_place(&schema(arguments, 0)?)?;
        Ok(Output::Integer(talon.absorb_everything(place)?))
    };
    answer("talon_absorb", run())
}

fn dismiss(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let kind = text(arguments, 0, "the kind")?;
        Ok(Output::Text(talon.dismiss(&schema(arguments, 2)?, kind, piece(arguments, 1)?)?))
    };
    answer("talon_dismiss", run())
}

/// `talon_guards`: one row a kind.
struct Guards;

const KIND: usize = 0;
const HEADER: usize = 1;
const LINES: usize = 2;
const DETAILS: usize = 3;
const PIECES: usize = 4;
const SNAPSHOTS: usize = 5;
const BYTES: usize = 6;
const TRIGGERS: usize = 7;
const MARKS: usize = 8;
const ADVICE: usize = 9;
const SUSPECT_SINCE: usize = 10;
const DEFINITION: usize = 11;
const SCHEMA: usize = 12;

impl Table for Guards {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str = "CREATE TABLE x(kind TEXT, header TEXT, lines TEXT, details TEXT, pieces INTEGER,
        snapshots INTEGER, bytes INTEGER, triggers TEXT, marks INTEGER, advice TEXT, suspect_since TEXT, definition TEXT,
        schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[KIND, SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        Rows::by_kind(
            talon,
            constraints,
            [KIND, SCHEMA],
            &[KIND, SCHEMA],
            |database, kind, rows| Ok(rows.try_push(row(talon, constraints, database, kind)?)?),
        )
        .map_err(|error| error.into_failure("talon_guards"))
    }
}

fn row(
    talon: &Talon,
    constraints: &Constraints<'_>,
    database: &mut Database,
    kind: usize,
) -> Result<Vec<Value>> {
    let schema = quote_identifier(&database.schema);
    let id = database.kinds[kind].id;
    let ask = |used: usize, sql: &str| -> Result<Value> {
        if !constraints.uses(used) {
            return Ok(Value::Null);
        }
        let sql = sql.replace("{s}", &schema);
        let answer = talon.connection.value(&sql, &[ValueRef::Integer(id)])?;
        Ok(answer.unwrap_or(Value::Null))
    };
    let mut row = vec![Value::Null; SCHEMA + 1];
    row[KIND] = Value::text(&database.kinds[kind].name);
    row[PIECES] = ask(
        PIECES,
        "SELECT count(*) FROM {s}.talon_piece WHERE kind = ?1 AND gone_at IS NULL AND version >= 0",
    )?;
    row[SNAPSHOTS] = ask(SNAPSHOTS, "SELECT count(*) FROM {s}.talon_snapshot WHERE kind = ?1")?;
    row[BYTES] =
        ask(BYTES, "SELECT coalesce(sum(bytes), 0) FROM {s}.talon_snapshot WHERE kind = ?1")?;
    row[MARKS] = match constraints.uses(MARKS) {
        true => Value::Integer(database.count_marks(id)?),
        false => Value::Null,
    };
    row[DEFINITION] = ask(DEFINITION, "SELECT definition FROM {s}.talon_kind WHERE id = ?1")?;
    row[SUSPECT_SINCE] = database.kinds[kind]
        .suspect_since
        .map_or(Value::Null, |at| Value::text(&talon.clock.shown(at)));
    row[SCHEMA] = Value::text(&database.schema);
    match database.guard(kind) {
        Ok(guard) => {
            row[HEADER] = Value::text(&guard.header().table.name);
            row[LINES] = guard.lines().map_or(Value::Null, |lines| Value::text(&lines.table.name));
            let details = guard.parts.iter().skip(2);
            let details: Vec<&str> = details.map(|part| part.table.name.as_str()).collect();
            row[DETAILS] =
                if details.is_empty() { Value::Null } else { Value::text(&details.join(", ")) };
            let missing = missing_triggers(talon, &guard, database)?;
            row[TRIGGERS] = Value::text(&if missing.is_empty() {
                "whole".to_owned()
            } else {
                format!("missing: {}", missing.join(", "))
            });
            let advice = advice(&guard, database.kinds[kind].reduced.as_deref(), &schema);
            row[ADVICE] =
                if advice.is_empty() { Value::Null } else { Value::text(&advice.join("; ")) };
        }
        Err(Error::Definition { problem, .. }) => {
            row[TRIGGERS] = Value::text(&format!("does not fit any more: {problem}"));
        }
        Err(error) => return Err(error),
    }
    Ok(row)
}

/// What would make it faster, or whole again; `reduced` is why labels and order are left out.
fn advice(guard: &Guard, reduced: Option<&str>, schema: &str) -> Vec<String> {
    let anew = reduced
        .map(|problem| format!("declare the guard anew, labels and order are left out: {problem}"));
    let indexes = guard.parts.iter().filter(|part| !part.link_is_indexed()).map(|part| {
        format!(
            "CREATE INDEX {schema}.{} ON {}({})",
            quote_identifier(&format!("{}_{}", part.table.name, part.link.join("_"))),
            quote_identifier(&part.table.name),
            quote_list("", &part.link)
        )
    });
    indexes.chain(anew).collect()
}
