//! What comes from other sites: `talon_apply` applies a flow, `talon_process` all that is due, `talon_return_at` says when
//! late answers are, `talon_reinstate` brings back what lost a conflict.

use super::arguments::{schema, shortened, text};
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{
    Argument, Caller, Connection, Failure, Function, Output, ValueRef, create_function,
};
use std::ops::RangeInclusive;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    let functions: [(&str, RangeInclusive<usize>, Function<Talon>); 4] = [
        ("talon_apply", 1..=2, apply),
        ("talon_process", 0..=1, process),
        ("talon_return_at", 1..=2, return_at),
        ("talon_reinstate", 1..=2, reinstate),
    ];
    for (name, counts, function) in functions {
        create_function(connection, name, counts, Caller::Application, talon, function)?;
    }
    Ok(())
}

fn id(arguments: &[Argument], what: &str, listed_in: &str) -> Result<i64> {
    let asked = arguments.first().map_or(ValueRef::Null, Argument::get);
    asked.as_integer().ok_or_else(|| {
        Error::Argument(format!("{} is no {what}: give its id in {listed_in}", shortened(asked)))
    })
}

/// `talon_apply(flow[, schema])`.
fn apply(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || talon.apply(&schema(arguments, 1)?, id(arguments, "flow", "talon_flows")?);
    run().map(Output::Text).map_err(|error| error.into_failure("talon_apply"))
}

/// `talon_process([schema])`.
fn process(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || talon.process(&schema(arguments, 0)?);
    run().map(Output::Text).map_err(|error| error.into_failure("talon_process"))
}

/// `talon_return_at(time[, schema])`; NULL for at once.
fn return_at(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || {
        let is_null = arguments.first().is_none_or(|time| time.get().is_null());
        let time = if is_null { None } else { Some(text(arguments, 0, "the time of day")?) };
        let said = talon.set_return_at(&schema(arguments, 1)?, time)?;
        Ok(said.map_or(Output::Null, Output::Text))
    };
    run().map_err(|error: Error| error.into_failure("talon_return_at"))
}

/// `talon_reinstate(conflict[, schema])`.
fn reinstate(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run =
        || talon.reinstate(&schema(arguments, 1)?, id(arguments, "conflict", "talon_conflicts")?);
    run().map(Output::Text).map_err(|error| error.into_failure("talon_reinstate"))
}
