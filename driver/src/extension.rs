//! Where libtalon lies, and loading it.

use crate::error::{Error, Result};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// What the library is called on this system.
pub const NAME: &str = if cfg!(windows) {
    "talon.dll"
} else if cfg!(target_os = "macos") {
    "libtalon.dylib"
} else {
    "libtalon.so"
};

/// The library that was named, or the one beside the program.
///
/// # Errors
/// [`Error::Extension`] names where it was looked for.
pub fn find(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named {
        return match std::fs::canonicalize(named) {
            Ok(path) => Ok(path),
            Err(error) => Err(Error::Extension(format!("extension {}: {error}", named.display()))),
        };
    }
    let program = std::env::current_exe().and_then(std::fs::canonicalize);
    let beside = program.ok().and_then(|program| Some(program.parent()?.join(NAME)));
    match beside {
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(Error::Extension(format!(
            "there is no {}; put the library beside this program, or say where it is: --extension PATH",
            path.display()
        ))),
        None => Err(Error::Extension(
            "this program cannot tell where it lies; say where the library is: --extension PATH"
                .to_owned(),
        )),
    }
}

/// Loads it on a connection.
///
/// # Errors
/// [`Error::Extension`] with SQLite's or the library's own text.
pub fn load(connection: &Connection, library: &Path) -> Result<()> {
    talon_loader::load(connection, library)
        .map_err(|error| Error::Extension(format!("extension {}: {error}", library.display())))
}
