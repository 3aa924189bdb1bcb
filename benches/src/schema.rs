//! The shop's tables, and how its database is opened and filled.

use std::path::Path;

use rusqlite::{Connection, fallible_iterator::FallibleIterator};

use crate::{
    report::Outcome,
    workload::{Host, Random},
};

pub const CREATE_SHOP: &str = include_str!("../sql/create_shop.sql");
pub const CREATE_AUDIT: &str = include_str!("../sql/create_audit.sql");
pub const CREATE_FLOOR: &str = include_str!("../sql/create_floor.sql");
pub const CREATE_IDLE: &str = include_str!("../sql/create_idle.sql");
#[cfg(session_extension)]
pub const CREATE_CHANGESET: &str = include_str!("../sql/create_changeset.sql");

/// How long a commit waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    Normal,
    Full,
}

impl Synchronous {
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Full => "FULL",
        }
    }

    /// Sets it on a connection.
    pub fn apply(self, connection: &Connection) -> Outcome {
        Ok(connection.pragma_update(None, "synchronous", self.name())?)
    }
}

/// Opens a file as a host would: WAL, NORMAL, everything else as SQLite has it. Foreign keys are off unless a
/// host asks for them; the bundled SQLite alone has them on, which would make bare slower and every ratio kinder.
pub fn open(path: &Path) -> Outcome<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    Synchronous::Normal.apply(&connection)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    Ok(connection)
}

/// Runs a script to the last row of each statement, whose functions may do something row by row: `execute_batch` reads one.
pub fn run_script(connection: &Connection, script: &str) -> Outcome {
    let mut batch = rusqlite::Batch::new(connection, script);
    while let Some(mut statement) = batch.next()? {
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {}
    }
    Ok(())
}

/// Makes a bare shop of `pieces` pieces, each of `lines` lines, whose keys are those of `Host::create`.
pub fn build_shop(path: &Path, pieces: u32, lines: u32) -> Outcome {
    let connection = Connection::open(path)?;
    // Nothing to lose yet: neither journal nor waiting.
    connection.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536; PRAGMA foreign_keys = OFF;",
    )?;
    connection.execute_batch(CREATE_SHOP)?;
    let mut random = Random::new(u64::from(pieces));
    let mut host = Host::new(&connection)?;
    host.begin()?;
    for _ in 0..pieces {
        host.create(lines, &mut random)?;
    }
    host.commit()?;
    drop(host);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    Ok(())
}

/// Gives the pieces of a shop text keys in place of numbers.
pub fn use_text_keys(path: &Path) -> Outcome {
    let connection = Connection::open(path)?;
    Ok(connection.execute_batch(include_str!("../sql/use_text_keys.sql"))?)
}

/// Bytes of the database file as its header counts them, whatever still lies in the WAL.
pub fn database_bytes(connection: &Connection) -> Outcome<i64> {
    let sql = "SELECT (page_count - freelist_count) * page_size
               FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// Brings the whole WAL into the file.
pub fn checkpoint(connection: &Connection) -> Outcome {
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy == 0 { Ok(()) } else { Err("the checkpoint found the database busy".into()) }
}
