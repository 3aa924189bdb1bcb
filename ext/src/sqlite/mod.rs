//! The fence: the only place in the extension with `unsafe`.
//!
//! Above this module there are connections, statements, values, functions and virtual tables with lifetimes and
//! `Result`s; below it is SQLite's C interface, reached through the API table of the host
//! (`sqlite3ext-sys`, `sqlite-loadable`). Every callback that C makes runs behind [`panic_guard`].

mod connection;
mod entry;
mod function;
mod limits;
mod memory;
mod module;
mod panic_guard;
mod reserve;
mod statement;
mod value;

pub use connection::Connection;
pub(crate) use entry::entry_point;
pub use entry::load;
pub use function::{Caller, Function, Output, create_function};
pub use limits::LiftedLimits;
pub use memory::{Bytes, Room, RoomForKeys, gather, gather_set, try_gather};
pub use module::{Constraints, Cursor, Row, Table, Transaction, create_module};
pub use reserve::is_memory_short;
pub use statement::{Rows, Statement};
pub use value::{Argument, Value, ValueRef};

use core::ffi::c_int;

/// A failure that SQLite reported, or that we report to SQLite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Primary or extended result code (<https://sqlite.org/rescode.html>).
    pub code: c_int,
    /// What an SQL user reads.
    pub message: String,
}

impl Failure {
    /// A failure of our own, with SQLite's general code.
    pub fn new(message: impl Into<String>) -> Self {
        Failure { code: code::ERROR, message: message.into() }
    }

    /// A failure with a code of its own.
    pub fn with_code(code: c_int, message: impl Into<String>) -> Self {
        Failure { code, message: message.into() }
    }

    /// Memory ran out.
    pub fn no_memory() -> Self {
        Failure::with_code(code::NOMEM, "out of memory")
    }

    /// The code without its extended bits.
    pub fn primary(&self) -> c_int {
        self.code & 0xff
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The result codes that decisions are made on, as `c_int`.
#[allow(missing_docs)]
pub mod code {
    use core::ffi::c_int;

    pub const OK: c_int = 0;
    pub const ERROR: c_int = 1;
    pub const INTERNAL: c_int = 2;
    pub const ABORT: c_int = 4;
    pub const BUSY: c_int = 5;
    pub const LOCKED: c_int = 6;
    pub const NOMEM: c_int = 7;
    pub const READONLY: c_int = 8;
    pub const INTERRUPT: c_int = 9;
    pub const IOERR: c_int = 10;
    pub const CORRUPT: c_int = 11;
    pub const FULL: c_int = 13;
    pub const CANTOPEN: c_int = 14;
    pub const PROTOCOL: c_int = 15;
    pub const TOOBIG: c_int = 18;
    pub const CONSTRAINT: c_int = 19;
    pub const MISMATCH: c_int = 20;
    pub const NOTADB: c_int = 26;
    pub const CONSTRAINT_TRIGGER: c_int = CONSTRAINT | 7 << 8;
}
