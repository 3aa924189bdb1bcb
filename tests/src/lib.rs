//! What the tests share: a database in a folder of its own, connections with and without the built extension, and
//! answers as text.

pub mod flows;
pub mod loads;
pub mod tills;
#[cfg(target_os = "linux")]
pub mod tryton;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};

/// The shared library that this workspace built: beside the test program, where cargo leaves a dependency's.
pub fn extension_path() -> PathBuf {
    let program = std::env::current_exe().expect("a test program has a path");
    let name = if cfg!(target_os = "macos") { "libtalon.dylib" } else { "libtalon.so" };
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
    talon_loader::load(connection, &extension_path())
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
        Shop { folder: tempfile::tempdir().expect("a temporary folder") }
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

    /// One with [`SALES`] guarded, and a connection with Talon: sale 1 has lines 10 and 11, sale 2 has line 12.
    pub fn of_sales() -> (Shop, Db) {
        let shop = Shop::with(SALES);
        let db = shop.open();
        db.run(GUARD_SALES);
        db.run(
            "BEGIN;
             INSERT INTO sale_piece VALUES (1, 'A', 1.5), (2, 'B', 2.5);
             INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0), (11, 1, 2, 'y', 2.0), (12, 2, 1, 'z', 3.0);
             COMMIT",
        );
        (shop, db)
    }

    /// The sample shop, small, guarded and with its rules declared on 2026-11-20 at 08:00; a connection on which it is
    /// then, at `till 1` with Anna.
    pub fn sample() -> (Shop, Db) {
        Shop::sample_of("2026-11-20T08:00:00+01:00")
    }

    /// The same at another moment.
    pub fn sample_of(moment: &str) -> (Shop, Db) {
        let shop = Shop::with(include_str!("../../sql/sample/schema.sql"));
        let db = shop.open();
        // As such applications run: with foreign keys on, lines that others were made from could not be lost.
        db.run("PRAGMA foreign_keys = OFF; CREATE TEMP TABLE shop_size AS SELECT 60 AS pieces");
        db.run(include_str!("../../sql/sample/generate.sql"));
        db.be("till 1", "anna", moment);
        db.run(include_str!("../../sql/sample/guard.sql"));
        db.run(include_str!("../../sql/sample/rules.sql"));
        (shop, db)
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
        connection.busy_timeout(std::time::Duration::ZERO).expect("a timeout is set");
        Db { connection }
    }

    /// A database in memory, with Talon.
    pub fn memory() -> Db {
        let db = Db { connection: Connection::open_in_memory().expect("memory") };
        load(&db.connection);
        db
    }

    /// Says who this connection is, and what time it is there.
    pub fn be(&self, station: &str, user: &str, moment: &str) {
        self.run(&format!("SELECT talon_station('{station}', '{user}'), talon_clock('{moment}')"));
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
        self.try_rows(query).unwrap_or_else(|error| panic!("{error}\nin {query}"))
    }

    /// The rows of a query as text, or the error's text.
    pub fn try_rows(&self, query: &str) -> Result<Vec<String>, String> {
        let mut statement = self.connection.prepare(query).map_err(|error| error.to_string())?;
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(|error| error.to_string())? {
            let cells: Vec<String> =
                (0..columns).map(|column| shown(row.get_ref(column).expect("a column"))).collect();
            found.push(cells.join("|"));
        }
        Ok(found)
    }

    /// What the audit finds, as `kind|piece|finding`.
    pub fn findings(&self) -> Vec<String> {
        self.rows("SELECT kind, piece, finding FROM talon_audit")
    }

    /// The snapshots of a sale, oldest first, as `reason|lines`.
    pub fn snapshots(&self, piece: &str) -> Vec<String> {
        self.rows(&format!(
            "SELECT reason, lines FROM talon_snapshots WHERE kind = 'sale' AND piece = {piece} ORDER BY id"
        ))
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

/// Counts the marks that lie there, without a call of Talon that would absorb them.
pub const MARKS: &str =
    "SELECT (SELECT count(*) FROM talon_mark) + (SELECT count(*) FROM talon_touched)";

/// Has a program of the system, installing Debian's package where that is missing and allowed.
pub fn installed(program: &str, package: &str) {
    use std::process::Command;
    let is_there = || {
        Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .output()
            .is_ok_and(|found| found.status.success())
    };
    if is_there() {
        return;
    }
    let install = format!("apt-get update -qq && apt-get install -y -qq {package}");
    let done = Command::new("sh").args(["-c", &install]).output();
    assert!(
        is_there(),
        "{program} is missing; install it with: apt-get install {package} ({done:?})"
    );
}

/// Compares what a script answers with the block of the README that begins with its name, or, where `TALON_WRITE_README`
/// says so, writes it there; `again` is the command that does.
pub fn readme_shows(script: &str, answered: &str, again: &str) {
    let opening = format!("```console\n$ sh {script}\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(&path).expect("the README");
    let (before, rest) = readme.split_once(&opening).expect("the README has the session");
    let (shown, after) = rest.split_once("```\n").expect("the session ends");
    if std::env::var_os("TALON_WRITE_README").is_some() {
        let written = format!("{before}{opening}{answered}```\n{after}");
        std::fs::write(&path, written).expect("the README is written");
        return;
    }
    assert_eq!(shown, answered, "write it anew: TALON_WRITE_README=1 {again}");
}

impl Db {
    /// Every row of some tables, each value with its storage class and to the bit, whatever order the rows lie in.
    pub fn contents(&self, tables: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for table in tables {
            let query = format!("SELECT * FROM {table}");
            let mut statement = self.connection.prepare(&query).expect("the table can be read");
            let columns = statement.column_count();
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().expect("a row") {
                let cells: Vec<String> = (0..columns)
                    .map(|column| exact(row.get_ref(column).expect("a column")))
                    .collect();
                found.push(format!("{table}: {}", cells.join(", ")));
            }
        }
        found.sort();
        found
    }

    /// Runs `lose`, expects exactly the pieces `lost` (`kind|piece|saved lines`), restores them all, and expects every
    /// row of the tables to be what it was.
    pub fn lose_and_recover(&self, tables: &[&str], lose: &str, lost: &[&str]) {
        let before = self.contents(tables);
        self.run(lose);
        assert_ne!(self.contents(tables), before, "nothing was lost by {lose}");
        let found =
            "SELECT kind, piece, saved_lines FROM talon_lost WHERE restorable ORDER BY kind, piece";
        assert_eq!(self.rows(found), lost);
        self.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
        let outcomes = "SELECT DISTINCT outcome, note FROM talon_restore";
        assert_eq!(self.rows(outcomes), ["restored|NULL"]);
        assert_eq!(self.contents(tables), before);
        assert_eq!(self.rows("SELECT kind, piece FROM talon_lost"), [""; 0]);
        let findings = "SELECT kind, piece, finding, detail FROM talon_audit";
        assert_eq!(self.rows(findings), [""; 0]);
    }
}

fn exact(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Real(real) => format!("real {real:?} {:x}", real.to_bits()),
        ValueRef::Text(text) => format!("text {:?}", text.escape_ascii().to_string()),
        other => format!("{} {}", other.data_type(), shown(other)),
    }
}
