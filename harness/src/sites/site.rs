//! One database of the month, on a disk of its own whose power may fail.

use super::schema::{DECLARATIONS, SCHEMA, SITES};
use crate::fault::{Fault, Kind, Plan};
use crate::scenario::DATABASE;
use crate::vfs::{Connection, Disk, Executed, Failure, Files, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A site: its disk, and the one connection that works on it.
pub struct Site {
    /// Its place in [`SITES`].
    pub place: usize,
    library: PathBuf,
    disk: Arc<Disk>,
    connection: Option<Connection>,
    /// By how much its clock is off, in ms.
    pub clock_off_ms: i64,
    now_ms: i64,
    /// The newest of its flows that was taken to the post.
    pub posted: i64,
}

impl Site {
    /// A site with its tables and nothing in them.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn new(place: usize, library: &Path) -> Result<Site, Failure> {
        let mut site = Site {
            place,
            library: library.to_owned(),
            disk: Disk::new(&Files::new()),
            connection: None,
            clock_off_ms: 0,
            now_ms: 0,
            posted: 0,
        };
        site.open()?;
        let connection = site.connection()?;
        connection.run(if place.is_multiple_of(2) {
            "PRAGMA journal_mode = WAL"
        } else {
            "PRAGMA journal_mode = DELETE"
        })?;
        connection.run(SCHEMA)?;
        for (other, code) in SITES.iter().enumerate() {
            let role = if other == 0 { "central" } else { "remote" };
            connection.run(&format!("SELECT talon_site('{code}', '{role}')"))?;
        }
        connection.run(&format!("SELECT talon_origin('{}')", site.code()))?;
        for declaration in DECLARATIONS {
            connection.run(declaration)?;
        }
        Ok(site)
    }

    /// Its code.
    pub fn code(&self) -> &'static str {
        SITES[self.place]
    }

    /// Whether it is the central one.
    pub fn is_central(&self) -> bool {
        self.place == 0
    }

    fn open(&mut self) -> Result<(), Failure> {
        let connection = Connection::open(&self.disk.path(DATABASE))?;
        // What was sent may not be forgotten when the power fails.
        connection.query("PRAGMA synchronous = EXTRA")?;
        connection.run("PRAGMA foreign_keys = ON")?;
        connection.load(&self.library)?;
        self.connection = Some(connection);
        self.set_clock(self.now_ms)
    }

    /// The connection.
    ///
    /// # Errors
    /// When there is none.
    pub fn connection(&self) -> Result<&Connection, Failure> {
        let missing = || Failure { code: 14, text: "the site is down".to_owned() };
        self.connection.as_ref().ok_or_else(missing)
    }

    /// Tells the site what time it is, which it believes with its own error.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn set_clock(&mut self, now_ms: i64) -> Result<(), Failure> {
        self.now_ms = now_ms;
        let seconds = (now_ms + self.clock_off_ms) / 1000;
        let sql =
            format!("SELECT talon_clock(strftime('%Y-%m-%dT%H:%M:%SZ', {seconds}, 'unixepoch'))");
        self.query(&sql).map(drop)
    }

    /// Runs one statement.
    pub fn execute(&self, sql: &str) -> Executed {
        match self.connection() {
            Ok(connection) => connection.execute(sql),
            Err(failure) => Executed { rows: Vec::new(), failure: Some(failure) },
        }
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Value>>, Failure> {
        let executed = self.execute(sql);
        executed.failure.map_or(Ok(executed.rows), Err)
    }

    /// Runs statements as one transaction: all of it, or nothing and why not.
    ///
    /// # Errors
    /// What SQLite reports of the first that fails.
    pub fn transaction(&self, statements: &[String]) -> Result<(), Failure> {
        let connection = self.connection()?;
        connection.run("BEGIN IMMEDIATE")?;
        let mut done = statements.iter().try_for_each(|sql| connection.run(sql));
        if done.is_ok() {
            done = connection.run("COMMIT");
        }
        if done.is_err() && !connection.is_autocommit() {
            connection.run("ROLLBACK")?;
        }
        done
    }

    /// Does something while a fault waits for its moment; true when it struck: whoever was at work is dead, or was told.
    ///
    /// # Errors
    /// What SQLite reports when the site comes up again.
    pub fn at_risk(
        &mut self,
        fault: Fault,
        seed: u64,
        work: impl FnOnce(&Site),
    ) -> Result<bool, Failure> {
        self.disk.arm(Some(Plan::new(fault, seed)));
        work(self);
        let has_fired = self.disk.has_fired();
        if matches!(fault.kind, Kind::Power(_)) && self.disk.is_dead() {
            // The connection is of a process that is no more; closing it writes nothing.
            drop(self.connection.take());
            self.disk = Disk::new(&self.disk.files());
            self.open()?;
        } else {
            self.disk.disarm();
            if !self.connection()?.is_autocommit() {
                self.connection()?.run("ROLLBACK")?;
            }
        }
        Ok(has_fired)
    }
}
