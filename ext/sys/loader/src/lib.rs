//! Loads the built library on a connection of `rusqlite`'s: the one thing for which a program that uses it needs `unsafe`.

use rusqlite::Connection;
use std::path::Path;

/// Loads a library on a connection. Its code becomes code of this process: who names it vouches for it.
///
/// # Errors
/// SQLite's, or the library's own.
pub fn load(connection: &Connection, library: &Path) -> rusqlite::Result<()> {
    // SAFETY: the caller chose the library; SQL cannot load any other, because loading is forbidden again before the
    // next statement runs.
    unsafe {
        connection.load_extension_enable()?;
        let loaded = connection.load_extension(library, None::<&str>);
        connection.load_extension_disable().and(loaded)
    }
}
