//! What the tests share: a database in a folder of its own, connections with and without the built extension, and
//! answers as text.

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};

/// The shared library that this workspace built: beside the test program, where cargo leaves a dependency's.
pub fn extension_path() -> PathBuf {
    let program = std::env::current_exe().expect("a test program has a path");
    let name = if cfg!(target_os = "macos") {
        "libtalon.dylib"
    } else {
        "libtalon.so"
    };
    program
        .ancestors()
        .flat_map(|folder| [folder.join(name), folder.join("deps").join(name)])
        .find(|path| path.is_file())
        .expect("cargo builds the extension, a dependency of this crate")
}

/// Loads the extension on a connection.
pub fn load(connection: &Connection) {
    try_load(connection).expect("the extension loads");
}

/// Loads the extension on a connection, or says why not.
pub fn try_load(connection: &Connection) -> rusqlite::Result<()> {
    // SAFETY: the library is the one this workspace has just built.
    unsafe {
        connection.load_extension_enable()?;
        let loaded = connection.load_extension(extension_path(), None::<&str>);
        connection.load_extension_disable()?;
        loaded
    }
}

/// A database in a folder that is removed with it.
pub struct Shop {
    folder: tempfile::TempDir,
}

impl Default for Shop {
    fn default() -> Self {
        Shop::new()
    }
}

impl Shop {
    /// An empty one.
    pub fn new() -> Shop {
        Shop {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// One with this schema, made without Talon.
    pub fn with(schema: &str) -> Shop {
        let shop = Shop::new();
        shop.bare().run(schema);
        shop
    }

    /// The path of a database file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A connection with Talon to `shop.db`.
    pub fn open(&self) -> Db {
        let db = self.bare();
        load(&db.connection);
        db
    }

    /// A connection without Talon to `shop.db`.
    pub fn bare(&self) -> Db {
        Db::open(&self.file("shop.db"))
    }
}

/// A connection whose answers are text: columns joined by `|`, as the sqlite3 shell shows them, NULL as `NULL`, blobs as
/// `x'…'`.
pub struct Db {
    /// The connection itself.
    pub connection: Connection,
}

impl Db {
    /// Opens a file, made when missing. No busy timeout: a test that waits says so.
    pub fn open(path: &Path) -> Db {
        let connection =
            Connection::open_with_flags(path, OpenFlags::default()).expect("the database opens");
        connection
            .busy_timeout(std::time::Duration::ZERO)
            .expect("a timeout is set");
        Db { connection }
    }

    /// A database in memory, with Talon.
    pub fn memory() -> Db {
        let db = Db {
            connection: Connection::open_in_memory().expect("memory"),
        };
        load(&db.connection);
        db
    }

    /// Runs a script; rows are thrown away.
    pub fn run(&self, script: &str) {
        if let Err(error) = self.try_run(script) {
            panic!("{error}\nin {script}");
        }
    }

    /// Runs a script, or gives the error's text.
    pub fn try_run(&self, script: &str) -> Result<(), String> {
        let mut batch = rusqlite::Batch::new(&self.connection, script);
        while let Some(mut statement) = batch.next().map_err(|error| error.to_string())? {
            let mut rows = statement.raw_query();
            while rows.next().map_err(|error| error.to_string())?.is_some() {}
        }
        Ok(())
    }

    /// The text of the error that a script must end with.
    pub fn error(&self, script: &str) -> String {
        match self.try_run(script) {
            Ok(()) => panic!("no error in {script}"),
            Err(error) => error,
        }
    }

    /// The rows of a query as text.
    pub fn rows(&self, query: &str) -> Vec<String> {
        self.try_rows(query)
            .unwrap_or_else(|error| panic!("{error}\nin {query}"))
    }

    /// The rows of a query as text, or the error's text.
    pub fn try_rows(&self, query: &str) -> Result<Vec<String>, String> {
        let mut statement = self
            .connection
            .prepare(query)
            .map_err(|error| error.to_string())?;
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(|error| error.to_string())? {
            let cells: Vec<String> = (0..columns)
                .map(|column| shown(row.get_ref(column).expect("a column")))
                .collect();
            found.push(cells.join("|"));
        }
        Ok(found)
    }

    /// The single answer of a query.
    pub fn one(&self, query: &str) -> String {
        let rows = self.rows(query);
        assert_eq!(rows.len(), 1, "{query} gave {rows:?}");
        rows.into_iter().next().unwrap_or_default()
    }
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Real(real) => format!("{real:?}"),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(blob) => {
            let hex: Vec<String> = blob.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{}'", hex.concat())
        }
    }
}

/// Headers and lines as most tests need them.
pub const SALES: &str = "
    CREATE TABLE sale_piece(id INTEGER PRIMARY KEY, number TEXT UNIQUE, total REAL);
    CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale_piece(id),
      position INTEGER, label TEXT, quantity REAL);
    CREATE INDEX sale_line_sale ON sale_line(sale_id);
";

/// Guards them.
pub const GUARD_SALES: &str = "SELECT talon_guard('sale', 'sale_piece', 'sale_line');";
