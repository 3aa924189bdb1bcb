//! What an SQL user sees: functions and virtual tables. Each decodes its arguments, calls the domain, and turns errors
//! into SQL errors.

mod arguments;
mod audit;
mod capture;
mod guards;
mod journals;
mod lost;
mod snapshots;
mod touch;

use crate::domain::talon::Talon;
use crate::sqlite::{Connection, Failure, Value};
use std::rc::Rc;

/// Registers everything on a connection. Loading a second time does nothing.
///
/// # Errors
/// When another version is loaded on the connection already, or SQLite refuses a registration.
pub fn register(connection: Connection) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if let Ok(Some(Value::Text(loaded))) = connection.value("SELECT talon_version()", &[]) {
        let loaded = String::from_utf8_lossy(&loaded).into_owned();
        return if loaded == version {
            Ok(())
        } else {
            Err(Failure::new(format!(
                "talon {loaded} is loaded on this connection already, this is {version}"
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
    journals::register(connection, &talon)
}
