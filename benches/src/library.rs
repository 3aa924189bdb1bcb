//! The built extension: where it lies, and loading it as a host does.

use std::{
    env::{
        self,
        consts::{DLL_PREFIX, DLL_SUFFIX},
    },
    path::PathBuf,
};

use rusqlite::Connection;

use crate::report::Outcome;

/// The shared library.
#[derive(Clone)]
pub struct Library {
    pub path: PathBuf,
}

impl Library {
    /// Takes the given file, or else the one that was built together with this program.
    pub fn find(given: Option<PathBuf>) -> Outcome<Self> {
        if let Some(path) = given {
            return Ok(Self {
                path: path
                    .canonicalize()
                    .map_err(|error| format!("{}: {error}", path.display()))?,
            });
        }
        let program = env::current_exe()?;
        let folder = program.parent().ok_or("this program lies in no folder")?;
        let name = format!("{DLL_PREFIX}talon{DLL_SUFFIX}");
        // Built as a dependency it lies in deps/; the copy beside the program may be of another build.
        let places = [folder.join("deps").join(&name), folder.join(&name)];
        let path = places.iter().find(|path| path.exists()).ok_or_else(|| {
            format!(
                "{name} is not beside {}: run `cargo build --release -p talon`",
                program.display()
            )
        })?;
        Ok(Self { path: path.clone() })
    }

    /// Loads it into one connection.
    pub fn load(&self, connection: &Connection) -> Outcome {
        let fail = |error| format!("cannot load {}: {error}", self.path.display());
        talon_loader::load(connection, &self.path).map_err(fail)?;
        Ok(())
    }

    /// Loads it and guards the shop.
    pub fn guard(&self, connection: &Connection) -> Outcome {
        self.load(connection)?;
        call(connection, "SELECT talon_guard('sale', 'sale_piece', 'sale_line')")
    }
}

/// Runs a statement for its effect, whatever it returns.
pub fn call(connection: &Connection, sql: &str) -> Outcome {
    connection.query_row(sql, [], |_| Ok(())).map_err(|error| format!("{sql}: {error}").into())
}

/// The one number that a query gives.
pub fn number(connection: &Connection, sql: &str) -> Outcome<i64> {
    connection
        .query_row(sql, [], |row| row.get(0))
        .map_err(|error| format!("{sql}: {error}").into())
}
