//! A host at work: a scenario's connections to one disk, opened when first used.

use crate::older;
pub use crate::scenario::DATABASE;
use crate::scenario::{Host, Journal, Scenario, Setting, Synchronous};
use crate::sql;
use crate::vfs::{Connection, Disk, Executed, Failure, Value, split_script};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One statement of a scenario.
#[derive(Debug, Clone)]
pub struct Act {
    /// Place of the connection in [`Script::hosts`].
    pub on: usize,
    /// The statement.
    pub sql: String,
    /// What the run without Talon does in its place.
    pub instead: Option<Vec<String>>,
    /// A part of the error that it must end with.
    pub error: Option<String>,
    /// What it purges.
    pub purges: Option<crate::scenario::Purge>,
    /// What it restores is in Talon's journal.
    pub journaled: Option<crate::scenario::Journaled>,
    /// Whatever is still open after it is rolled back.
    pub rolls_back: bool,
    /// The connection is closed after it.
    pub closes: bool,
    /// Under which name its first column is kept.
    pub keeps: Option<String>,
}

impl Act {
    /// Whether it needs Talon: without it, something else is done or nothing.
    pub fn is_talons(&self) -> bool {
        self.instead.is_some() || self.journaled.is_some()
    }
}

/// A scenario cut into statements.
#[derive(Debug, Clone)]
pub struct Script {
    /// The connections.
    pub hosts: Vec<(String, Host)>,
    /// All statements: those before the faults, those that faults are tried on, those that are done again.
    pub acts: Vec<Act>,
    /// How many of them come before the faults.
    pub setup: usize,
    /// Where those that are done again begin.
    pub again: usize,
}

impl Script {
    /// Cuts a scenario into statements.
    pub fn of(scenario: &Scenario) -> Script {
        let mut script = Script { hosts: Vec::new(), acts: Vec::new(), setup: 0, again: 0 };
        for step in &scenario.before {
            script.add(scenario, step);
        }
        script.setup = script.acts.len();
        for step in &scenario.steps {
            script.add(scenario, step);
        }
        script.again = script.acts.len();
        for step in &scenario.again {
            script.add(scenario, step);
        }
        script
    }

    /// What faults are tried on.
    pub fn steps(&self) -> &[Act] {
        &self.acts[self.setup..self.again]
    }

    fn add(&mut self, scenario: &Scenario, step: &crate::scenario::Step) {
        if let Some(format) = step.format {
            for step in older::steps(step, format) {
                self.add(scenario, &step);
            }
            return;
        }
        let on = self.hosts.iter().position(|(name, _)| *name == step.on).unwrap_or_else(|| {
            self.hosts.push((step.on.clone(), scenario.host(&step.on)));
            self.hosts.len() - 1
        });
        let statements = split_script(&step.sql);
        let last = statements.len().saturating_sub(1);
        for (place, sql) in statements.into_iter().enumerate() {
            let is_last = place == last;
            self.acts.push(Act {
                on,
                sql,
                instead: step.instead.as_deref().map(split_script),
                error: step.error.clone().filter(|_| is_last),
                purges: step.purges.filter(|_| is_last),
                journaled: step.journaled,
                rolls_back: step.rolls_back && is_last,
                closes: step.closes && is_last,
                keeps: step.keeps.clone().filter(|_| is_last),
            });
        }
    }
}

/// Where a host's database lies.
#[derive(Clone)]
pub enum Place {
    /// On a disk in memory.
    Disk(Arc<Disk>),
    /// In a folder of the machine's.
    Folder(PathBuf),
}

impl From<&Arc<Disk>> for Place {
    fn from(disk: &Arc<Disk>) -> Place {
        Place::Disk(Arc::clone(disk))
    }
}

impl From<&Path> for Place {
    fn from(folder: &Path) -> Place {
        Place::Folder(folder.to_owned())
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Place {
        place.clone()
    }
}

/// Values that earlier statements gave, by name, as SQL spells them.
pub type Kept = BTreeMap<String, String>;

/// A host's connections.
pub struct Session<'a> {
    place: Place,
    setting: Setting,
    library: Option<&'a Path>,
    script: &'a Script,
    connections: Vec<Option<Connection>>,
    /// What its statements may name.
    pub kept: Kept,
}

impl<'a> Session<'a> {
    /// A host without a connection yet; without a library no connection loads Talon.
    pub fn new(
        place: impl Into<Place>,
        setting: Setting,
        library: Option<&'a Path>,
        script: &'a Script,
    ) -> Session<'a> {
        let connections = script.hosts.iter().map(|_| None).collect();
        let kept = Kept::new();
        Session { place: place.into(), setting, library, script, connections, kept }
    }

    /// The connection, opened when it is not.
    ///
    /// # Errors
    /// What SQLite or the library reports.
    pub fn connection(&mut self, on: usize) -> Result<&Connection, Failure> {
        if self.connections[on].is_none() {
            let (_, host) = &self.script.hosts[on];
            let library = self.library.filter(|_| host.talon);
            self.connections[on] = Some(open(&self.place, self.setting, library, host)?);
        }
        self.connections[on].as_ref().ok_or_else(|| Failure { code: 1, text: String::new() })
    }

    /// Opens every connection that the steps use.
    ///
    /// # Errors
    /// What SQLite or the library reports.
    pub fn open_all(&mut self) -> Result<(), Failure> {
        for act in self.script.steps() {
            self.connection(act.on)?;
        }
        Ok(())
    }

    /// Runs a statement of the scenario.
    pub fn execute(&mut self, act: &Act) -> Executed {
        let is_bare = self.library.is_none();
        let connection = match self.connection(act.on) {
            Ok(connection) => connection,
            Err(failure) => return Executed { rows: Vec::new(), failure: Some(failure) },
        };
        match &act.instead {
            _ if is_bare && act.error.is_some() => {
                let text = "left out: Talon refuses it".to_owned();
                Executed { rows: Vec::new(), failure: Some(Failure { code: 1, text }) }
            }
            Some(instead) if is_bare => {
                let mut executed = Executed { rows: Vec::new(), failure: None };
                for sql in instead {
                    // As Talon does: SQLite would forget with it what is still to be mended.
                    if sql == FOREIGN_KEYS_AT_ONCE && connection.has_pending_foreign_keys() {
                        continue;
                    }
                    executed = connection.execute(sql);
                    if executed.failure.is_some() {
                        break;
                    }
                }
                executed
            }
            _ => self.execute_with_kept(act),
        }
    }

    /// Runs a statement with the kept values that it names, and keeps what it is to keep. Where nothing was kept under a
    /// name, there is nothing to be done.
    fn execute_with_kept(&mut self, act: &Act) -> Executed {
        let mut executed = Executed { rows: Vec::new(), failure: None };
        let Some(sql) = self.with_kept(&act.sql) else { return executed };
        let sql = sql.into_owned();
        match self.connection(act.on) {
            Ok(connection) => executed = connection.execute(&sql),
            Err(failure) => executed.failure = Some(failure),
        }
        if let (Some(name), None) = (&act.keeps, &executed.failure) {
            match in_one(&executed.rows) {
                Some(value) => self.kept.insert(name.clone(), value.to_string()),
                None => self.kept.remove(name),
            };
        }
        executed
    }

    /// A statement with the kept values in place of their names; none where one of them is missing.
    fn with_kept<'s>(&self, sql: &'s str) -> Option<Cow<'s, str>> {
        let mut sql = Cow::Borrowed(sql);
        for name in self.script.acts.iter().filter_map(|act| act.keeps.as_deref()) {
            while let Some(place) = place_of(&sql, name) {
                let end = place + 1 + name.len();
                sql = format!("{}{}{}", &sql[..place], self.kept.get(name)?, &sql[end..]).into();
            }
        }
        Some(sql)
    }

    /// What the scenario calls a connection.
    pub fn name(&self, on: usize) -> &str {
        &self.script.hosts[on].0
    }

    /// The connection, where it is open.
    pub fn opened(&self, on: usize) -> Option<&Connection> {
        self.connections[on].as_ref()
    }

    /// Whether no transaction is open on a connection.
    pub fn is_autocommit(&self, on: usize) -> bool {
        self.opened(on).is_none_or(Connection::is_autocommit)
    }

    /// What a host does after an error that it did not expect, and again where it finds no memory for it at first.
    pub fn roll_back(&self, on: usize) {
        let Some(connection) = self.opened(on) else { return };
        let roll_back = || {
            if !connection.is_autocommit() {
                // What fails even then, SQLite has said before.
                drop(connection.execute("ROLLBACK"));
            }
        };
        roll_back();
        crate::vfs::undisturbed(roll_back);
    }

    /// Closes a connection.
    ///
    /// # Errors
    /// BUSY when somebody has left a statement over.
    pub fn close(&mut self, on: usize) -> Result<(), Failure> {
        self.connections[on].take().map_or(Ok(()), Connection::close)
    }

    /// Closes all connections.
    ///
    /// # Errors
    /// The first one's.
    pub fn close_all(&mut self) -> Result<(), Failure> {
        let closed: Vec<_> =
            self.connections.iter_mut().filter_map(Option::take).map(Connection::close).collect();
        closed.into_iter().collect()
    }
}

/// Ends what a restore does before all of its rows are there.
pub(crate) const FOREIGN_KEYS_AT_ONCE: &str = "PRAGMA defer_foreign_keys = OFF";

/// Where a statement says `:name`.
fn place_of(sql: &str, name: &str) -> Option<usize> {
    let marked = format!(":{name}");
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut places = sql.match_indices(&marked).map(|(place, _)| place);
    places.find(|place| !sql.as_bytes().get(place + marked.len()).is_some_and(is_part))
}

/// The first column of rows: its one value, or the blobs of all rows in one; none where it says nothing.
fn in_one(rows: &[Vec<Value>]) -> Option<Value> {
    let mut joined = Vec::new();
    for row in rows {
        match row.first()? {
            Value::Blob(bytes) => joined.extend_from_slice(bytes),
            Value::Null => return None,
            other => return Some(other.clone()),
        }
    }
    (!joined.is_empty()).then_some(Value::Blob(joined))
}

/// Time stands still, so that the same run leaves the same files.
const CLOCK: &str = "SELECT talon_clock('2026-11-21T08:00:00+01:00')";

/// Opens a connection as a host would.
///
/// # Errors
/// What SQLite or the library reports.
pub fn open(
    place: impl Into<Place>,
    setting: Setting,
    library: Option<&Path>,
    host: &Host,
) -> Result<Connection, Failure> {
    let connection = match place.into() {
        Place::Disk(disk) => Connection::open(&disk.path(&host.file))?,
        Place::Folder(folder) => Connection::open_file(&folder.join(&host.file))?,
    };
    connection.busy_timeout(host.busy_timeout_ms);
    let level = match setting.synchronous {
        Synchronous::Normal => "NORMAL",
        Synchronous::Full => "FULL",
    };
    connection.query(&format!("PRAGMA synchronous = {level}"))?;
    // The file itself says that it has a write-ahead log.
    if matches!(setting.journal, Journal::Truncate | Journal::Persist) {
        connection.query(&format!("PRAGMA journal_mode = {}", setting.journal_name()))?;
    }
    if let Some(library) = library {
        connection.load(library)?;
        connection.query(CLOCK)?;
    }
    connection.enable_triggers(host.triggers);
    for sql in split_script(&host.opens_with) {
        // A host's calls of Talon are left out where there is none.
        if library.is_some() || !sql::is_talons(&sql) {
            connection.run(&sql)?;
        }
    }
    Ok(connection)
}
