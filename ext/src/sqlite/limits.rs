//! Limits that a host sets for statements that others write: Talon's own are made without them.

use super::connection::Connection;
use core::ffi::c_int;
use sqlite3ext_sys as sys;

/// What the text, the program or a value of a statement may be too large for
/// (<https://sqlite.org/c3ref/c_limit_attached.html>). A host's SQLite passes over what it does not know.
const LIFTED: [u32; 9] = [
    sys::SQLITE_LIMIT_LENGTH,
    sys::SQLITE_LIMIT_SQL_LENGTH,
    sys::SQLITE_LIMIT_COLUMN,
    sys::SQLITE_LIMIT_EXPR_DEPTH,
    sys::SQLITE_LIMIT_COMPOUND_SELECT,
    sys::SQLITE_LIMIT_VDBE_OP,
    sys::SQLITE_LIMIT_FUNCTION_ARG,
    sys::SQLITE_LIMIT_VARIABLE_NUMBER,
    sys::SQLITE_LIMIT_PARSER_DEPTH,
];

/// Limits at what this SQLite was built for; dropped, they are again what the host has set.
pub struct LiftedLimits {
    connection: Connection,
    host: [c_int; LIFTED.len()],
}

impl Connection {
    /// Lifts the limits on statements for as long as the result lives.
    pub fn lift_limits(self) -> LiftedLimits {
        LiftedLimits { connection: self, host: LIFTED.map(|limit| set(self, limit, c_int::MAX)) }
    }
}

impl Drop for LiftedLimits {
    fn drop(&mut self) {
        for (limit, host) in LIFTED.into_iter().zip(self.host) {
            set(self.connection, limit, host);
        }
    }
}

/// Gives what the limit was. One above the built-in limit is cut down to that, a negative one changes nothing.
fn set(connection: Connection, limit: u32, value: c_int) -> c_int {
    // SAFETY: the connection is open; any limit and any value are accepted.
    unsafe { sys::sqlite3_limit(connection.raw(), limit as c_int, value) }
}
