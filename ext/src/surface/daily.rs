//! The daily routine, and the clock that a connection goes by.

use super::arguments::{schema, text};
use crate::domain::clock;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Argument, Caller, Connection, Failure, Output, create_function};
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    create_function(connection, "talon_clock", 0..=1, Caller::Application, talon, clock)?;
    create_function(connection, "talon_daily", 0..=1, Caller::Application, talon, daily)
}

fn daily(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || Ok(Output::Text(talon.daily(&schema(arguments, 0)?)?.to_json()));
    run().map_err(|error: Error| error.into_failure("talon_daily"))
}

fn clock(talon: &Talon, arguments: &[Argument]) -> std::result::Result<Output, Failure> {
    let run = || -> Result<Output> {
        match arguments.first().map(Argument::get) {
            None => {}
            Some(value) if value.is_null() => talon.clock.set(None),
            Some(_) => {
                let given = text(arguments, 0, "the moment")?;
                let moment = clock::read(given).ok_or_else(|| {
                    Error::Argument(format!(
                        "{given:?} is no moment with its offset: give one such as '2026-11-21T08:00:00+01:00', or NULL \
                         for the system's clock"
                    ))
                })?;
                talon.clock.set(Some(moment));
            }
        }
        Ok(Output::Text(talon.clock.shown(talon.clock.now_ms())))
    };
    run().map_err(|error| error.into_failure("talon_clock"))
}
