//! What an SQL user sees: functions and virtual tables. Each decodes its arguments, calls the domain, and turns errors
//! into SQL errors.

mod applying;
mod arguments;
mod audit;
mod capture;
mod daily;
mod edits;
mod findings;
mod flows;
mod guards;
mod journals;
mod loads;
mod lost;
mod rows;
mod rules;
mod scan;
mod sites;
mod snapshots;
mod stage;
mod stamps;
mod touch;

use crate::domain::talon::Talon;
use crate::sqlite::{Connection, Failure};
use std::ffi::CStr;
use std::rc::Rc;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"?",
    };

/// Registers everything on a connection. Loading a second time does nothing.
///
/// # Errors
/// When another version is loaded on the connection already, or SQLite refuses a registration.
pub fn register(connection: Connection) -> Result<(), Failure> {
    if let Some(loaded) = connection.loaded_version() {
        return if loaded == env!("CARGO_PKG_VERSION") {
            Ok(())
        } else {
            Err(Failure::new(format!(
                "talon {loaded} is loaded on this connection already, this is {}",
                env!("CARGO_PKG_VERSION")
            )))
        };
    }
    let talon = Rc::new(Talon::new(connection));
    capture::register(connection, &talon)?;
    touch::register(connection, &talon)?;
    guards::register(connection, &talon)?;
    snapshots::register(connection, &talon)?;
    lost::register(connection, &talon)?;
    audit::register(connection, &talon)?;
    journals::register(connection, &talon)?;
    rules::register(connection, &talon)?;
    edits::register(connection, &talon)?;
    daily::register(connection, &talon)?;
    stage::register(connection, &talon)?;
    sites::register(connection, &talon)?;
    flows::register(connection, &talon)?;
    applying::register(connection, &talon)?;
    findings::register(connection, &talon)?;
    stamps::register(connection, &talon)?;
    loads::register(connection, &talon)?;
    connection.note_loaded(VERSION)
}
