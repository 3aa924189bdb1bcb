//! The load entry point.

use super::connection::{Connection, sqlite_version_text};
use super::panic_guard::guarded;
use super::{Failure, code};
use core::ffi::{c_char, c_int};
use sqlite3ext_sys as sys;

/// The oldest host, for `sqlite3_txn_state` (3.34) and what the trigger dialect relies on.
const OLDEST_HOST: c_int = 3_035_000;

/// Defines the symbol that `sqlite3_load_extension` looks up, which calls `$register` with the connection.
macro_rules! entry_point {
    ($symbol:ident, $register:path) => {
        /// Called by `sqlite3_load_extension`; the name follows from the library's file name.
        ///
        /// # Safety
        /// Called by SQLite only.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol(
            db: *mut sqlite3ext_sys::sqlite3,
            error: *mut *mut core::ffi::c_char,
            table: *mut sqlite3ext_sys::sqlite3_api_routines,
        ) -> core::ffi::c_int {
            // SAFETY: the arguments are SQLite's own, passed on.
            unsafe { $crate::sqlite::load(db, error, table, $register) }
        }
    };
}
pub(crate) use entry_point;

/// Takes the API table and registers everything; an error's text becomes the load error.
///
/// # Safety
/// The arguments are those that SQLite passed to the entry point.
pub unsafe fn load(
    db: *mut sys::sqlite3,
    error: *mut *mut c_char,
    table: *mut sys::sqlite3_api_routines,
    register: fn(Connection) -> Result<(), Failure>,
) -> c_int {
    // SAFETY: the caller's promise.
    let result = unsafe { sys::set_table(table) };
    if let Err(earlier) = result {
        // SAFETY: both tables belong to loaded copies of SQLite; only the error text is written, by this copy's malloc.
        return unsafe { refuse_second_copy(error, table, earlier) };
    }
    let result = guarded(|| {
        // SAFETY: the connection is open while it loads the extension, and what `register` keeps is dropped at its close.
        let connection = unsafe { Connection::from_raw(db) };
        let connection = connection.ok_or_else(|| Failure::new("talon: no connection"))?;
        if connection.sqlite_version() < OLDEST_HOST {
            return Err(Failure::new(format!(
                "talon {} needs SQLite 3.35.0 or newer, this is {}",
                env!("CARGO_PKG_VERSION"),
                sqlite_version_text()
            )));
        }
        register(connection)
    });
    match result {
        Ok(()) => code::OK,
        Err(failure) => {
            // SAFETY: SQLite frees the text with its own free.
            unsafe { *error = copy_text(&failure.message) };
            failure.code
        }
    }
}

/// A text in memory of SQLite's own, or null when there is none left.
pub(super) fn copy_text(text: &str) -> *mut c_char {
    let bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    // SAFETY: length + 1 bytes are allocated and written.
    unsafe {
        let memory = sys::sqlite3_malloc64(bytes.len() as u64 + 1).cast::<u8>();
        if !memory.is_null() {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory, bytes.len());
            *memory.add(bytes.len()) = 0;
        }
        memory.cast()
    }
}

/// Two copies of SQLite in one process (a program's own and its runtime's) share the one library that the system
/// loads for a path, but must not share the functions it calls.
///
/// # Safety
/// Both tables are live.
unsafe fn refuse_second_copy(
    error: *mut *mut c_char,
    table: *mut sys::sqlite3_api_routines,
    earlier: *mut sys::sqlite3_api_routines,
) -> c_int {
    // SAFETY: the caller's promise; mprintf copies the texts it is given.
    unsafe {
        let version = |table: *mut sys::sqlite3_api_routines| {
            (*table).libversion.map_or(c"?".as_ptr(), |libversion| libversion())
        };
        if let Some(print) = (*table).mprintf {
            *error = print(
                c"talon is loaded in this process by another copy of SQLite (%s); load a copy of the library's file under another name for this one (%s)".as_ptr(),
                version(earlier),
                version(table),
            );
        }
    }
    code::ERROR
}
