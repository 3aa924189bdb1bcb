//! The database, asked in SQL: whatever is decided of flows, the extension decides.

use crate::arguments::{Answer, Mode, Place};
use crate::error::{Error, Result};
use crate::extension;
use crate::layout::Named;
use crate::lock::{self, Lock};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, named_params};
use std::path::{Path, PathBuf};

/// An open database with the extension.
pub struct Database {
    connection: Connection,
    path: PathBuf,
}

/// A site, as far as carrying flows needs it.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its code.
    pub code: String,
    /// Is it the central one?
    pub is_central: bool,
    /// Is it this database?
    pub is_this: bool,
    /// Of its database, in hexadecimal, as far as that is known here.
    pub incarnation: Option<String>,
}

/// A flow, as far as carrying it needs that.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its id in this database.
    pub id: i64,
    /// Counted for each receiver.
    pub number: i64,
    /// Whose.
    pub from: String,
    /// For whom.
    pub to: String,
    /// Rows in it.
    pub rows: Option<i64>,
    /// Bytes of it.
    pub bytes: Option<i64>,
    /// What went wrong.
    pub error: Option<String>,
    /// The flow of this database that it answers.
    pub link: Option<i64>,
    /// Was it refused?
    pub is_refused: bool,
    /// Was it applied?
    pub is_ended: bool,
    /// Is it not wanted any more?
    pub is_superseded: bool,
}

impl Database {
    /// Opens it, loads the extension, and keeps other processes of this program away from it until the lock is dropped.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Extension`], [`Error::Busy`].
    pub fn open_to_write(place: &Place) -> Result<(Database, Lock)> {
        let (database, lock) = Database::open_to_load(place)?;
        database.sites()?;
        Ok((database, lock))
    }

    /// The same where the database may not have said yet which site it is.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Extension`], [`Error::Busy`].
    pub fn open_to_load(place: &Place) -> Result<(Database, Lock)> {
        let library = extension::find(place.extension.as_deref())?;
        let database = Database::open(&place.db, &library, place)?;
        let lock = lock::of_database(&place.db, place.wait())?;
        Ok((database, lock))
    }

    /// Opens it to look.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Extension`].
    pub fn open_to_look(place: &Place) -> Result<Database> {
        let library = extension::find(place.extension.as_deref())?;
        let database = Database::open(&place.db, &library, place)?;
        database.sites()?;
        Ok(database)
    }

    fn open(path: &Path, library: &Path, place: &Place) -> Result<Database> {
        let refused = |reason: String| Error::Database { path: path.to_owned(), reason };
        if !path.is_file() {
            return Err(refused("there is no such file".to_owned()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags);
        let connection = opened.map_err(|error| refused(error.to_string()))?;
        connection.busy_timeout(place.wait())?;
        extension::load(&connection, library)?;
        // What was received is acknowledged, and what was sent is counted: neither may be undone by a power cut.
        connection
            .execute_batch("PRAGMA synchronous = FULL; SELECT talon_station('talon');")
            .map_err(|error| refused(error.to_string()))?;
        if let Some(moment) = &place.clock {
            connection.query_row("SELECT talon_clock(?1)", [moment], |_| Ok(()))?;
        }
        Ok(Database { connection, path: path.to_owned() })
    }

    /// Has it said which site it is?
    ///
    /// # Errors
    /// What the extension says.
    pub fn is_site(&self) -> Result<bool> {
        let statement = "SELECT count(*) FROM talon_sites WHERE this";
        let count: i64 = self.connection.query_row(statement, [], |row| row.get(0))?;
        Ok(count > 0)
    }

    /// The sites that are registered.
    ///
    /// # Errors
    /// [`Error::Database`] when there are none.
    pub fn sites(&self) -> Result<Vec<Site>> {
        let mut statement = self
            .connection
            .prepare("SELECT code, role = 'central', this, incarnation FROM talon_sites")?;
        let sites = statement.query_map([], |row| {
            Ok(Site {
                code: row.get(0)?,
                is_central: row.get(1)?,
                is_this: row.get::<_, Option<bool>>(2)? == Some(true),
                incarnation: row.get(3)?,
            })
        })?;
        let sites = sites.collect::<rusqlite::Result<Vec<Site>>>()?;
        if sites.iter().any(|site| site.is_this) {
            return Ok(sites);
        }
        Err(Error::Database {
            path: self.path.clone(),
            reason: "is no site yet; register all sites (SELECT talon_site(code, role)) and say which one this is \
                     (SELECT talon_origin(code)), or begin it as a till by a load (talon load)"
                .to_owned(),
        })
    }

    /// Which site this is.
    ///
    /// # Errors
    /// As [`Database::sites`].
    pub fn this(&self) -> Result<Site> {
        let this = self.sites()?.into_iter().find(|site| site.is_this);
        this.ok_or_else(|| Error::Database {
            path: self.path.clone(),
            reason: "is no site yet: SELECT talon_origin(code)".to_owned(),
        })
    }

    /// Gives the extension a chunk; the flow's id here. A text where it was refused, and nothing changed.
    ///
    /// # Errors
    /// What the machine, not the chunk, is to blame for.
    pub fn receive(&self, chunk: &[u8]) -> Result<std::result::Result<i64, String>> {
        let received =
            self.connection.query_row("SELECT talon_receive(?1)", [chunk], |row| row.get(0));
        match received {
            Ok(flow) => Ok(Ok(flow)),
            Err(error) if is_of_the_data(&error) => Ok(Err(text_of(&error))),
            Err(error) => Err(error.into()),
        }
    }

    /// Applies all that is ready, and writes the answers that are due.
    ///
    /// # Errors
    /// What the extension says.
    pub fn process(&self) -> Result<()> {
        self.connection.query_row("SELECT talon_process()", [], |_| Ok(()))?;
        Ok(())
    }

    /// Makes a flow; its id.
    ///
    /// # Errors
    /// What the extension says.
    pub fn emit(&self, to: &str, mode: Mode, answer: Answer) -> Result<i64> {
        let statement = "SELECT talon_emit(?1, ?2, ?3)";
        let values = (to, mode.text(), answer.text());
        Ok(self.connection.query_row(statement, values, |row| row.get(0))?)
    }

    /// Asks for a load; the id of the flow that does.
    ///
    /// # Errors
    /// What the extension says.
    pub fn load(&self, user: Option<&str>, mode: Mode) -> Result<i64> {
        let statement = "SELECT talon_load(?1, ?2)";
        Ok(self.connection.query_row(statement, (user, mode.text()), |row| row.get(0))?)
    }

    /// The newest flow of central's by which such a load came; a full one brings what the other would.
    ///
    /// # Errors
    /// What the extension says.
    pub fn newest_load(&self, mode: Mode) -> Result<Option<i64>> {
        let statement = "SELECT max(f.id) FROM talon_flows AS f JOIN talon_sites AS s ON s.code = f.from_site
                          WHERE s.role = 'central' AND f.ended IS NOT NULL AND f.load IN ('full', ?1)";
        Ok(self.connection.query_row(statement, [mode.text()], |row| row.get(0))?)
    }

    /// A chunk of a flow that this database has; none past the last one.
    ///
    /// # Errors
    /// What the extension says.
    pub fn chunk(&self, flow: i64, number: i64) -> Result<Option<Vec<u8>>> {
        let statement = "SELECT bytes FROM talon_chunks WHERE flow = ?1 AND number = ?2";
        let mut statement = self.connection.prepare_cached(statement)?;
        Ok(statement.query_row([flow, number], |row| row.get(0)).optional()?)
    }

    /// A flow by its id.
    ///
    /// # Errors
    /// What the extension says.
    pub fn flow(&self, id: i64) -> Result<Option<Flow>> {
        let statement = format!("SELECT {FLOW} FROM talon_flows WHERE id = ?1");
        Ok(self.connection.query_row(&statement, [id], flow).optional()?)
    }

    /// The newest flow of all, sent or received.
    ///
    /// # Errors
    /// What the extension says.
    pub fn newest_flow(&self) -> Result<Option<i64>> {
        let statement = "SELECT max(id) FROM talon_flows";
        Ok(self.connection.query_row(statement, [], |row| row.get(0))?)
    }

    /// How many documents of a flow that came in wait in quarantine.
    ///
    /// # Errors
    /// What the extension says.
    pub fn set_aside(&self, flow: i64) -> Result<i64> {
        let statement =
            "SELECT count(*) FROM talon_quarantine WHERE flow = ?1 AND direction = 'in'";
        Ok(self.connection.query_row(statement, [flow], |row| row.get(0))?)
    }

    /// Flows of this site that are not known to have arrived, the oldest first.
    ///
    /// # Errors
    /// What the extension says.
    pub fn to_send(&self, this: &Site) -> Result<Vec<Flow>> {
        self.flows_where(
            "from_site = :this AND acknowledged IS NULL AND superseded IS NULL AND refused IS NULL",
            this,
        )
    }

    /// Flows for this site that are here as a whole or in part, and have not been applied, the oldest first.
    ///
    /// # Errors
    /// What the extension says.
    pub fn to_apply(&self, this: &Site) -> Result<Vec<Flow>> {
        self.flows_where(
            "to_site = :this AND ended IS NULL AND refused IS NULL AND superseded IS NULL",
            this,
        )
    }

    fn flows_where(&self, condition: &str, this: &Site) -> Result<Vec<Flow>> {
        let statement = format!("SELECT {FLOW} FROM talon_flows WHERE {condition} ORDER BY id");
        let mut statement = self.connection.prepare(&statement)?;
        let flows = statement.query_map(named_params! {":this": this.code}, flow)?;
        Ok(flows.collect::<rusqlite::Result<_>>()?)
    }

    /// The newest of our flows to a site that it has acknowledged: what it has of older ones, too, it needs no more.
    ///
    /// # Errors
    /// What the extension says.
    pub fn newest_acknowledged(&self, this: &Site, to: &Site) -> Result<Option<i64>> {
        let statement = "SELECT max(number) FROM talon_flows
                          WHERE from_site = ?1 AND to_site = ?2 AND acknowledged IS NOT NULL";
        Ok(self.connection.query_row(statement, (&this.code, &to.code), |row| row.get(0))?)
    }

    /// Has a flow come as a whole, or is it not wanted any more? Numbers are those of one database of a sender's, told by its
    /// incarnation: a till that gets another one counts from 1 again.
    ///
    /// # Errors
    /// What the extension says.
    pub fn is_known(&self, from: &Site, to: &Site, named: &Named) -> Result<bool> {
        let statement = "SELECT count(*) FROM talon_flows
                          WHERE from_site = ?1 AND to_site = ?2 AND number = ?3 AND incarnation = ?4
                            AND (ready IS NOT NULL OR refused IS NOT NULL OR superseded IS NOT NULL)";
        let mut statement = self.connection.prepare_cached(statement)?;
        let values = (&from.code, &to.code, named.number, &named.incarnation);
        let count: i64 = statement.query_row(values, |row| row.get(0))?;
        Ok(count > 0)
    }

    /// Has a flow of ours been answered, and the answer applied?
    ///
    /// # Errors
    /// What the extension says.
    pub fn is_answered(&self, flow: i64) -> Result<bool> {
        let statement =
            "SELECT count(*) FROM talon_flows WHERE link = ?1 AND id <> ?1 AND ended IS NOT NULL";
        let count: i64 = self.connection.query_row(statement, [flow], |row| row.get(0))?;
        Ok(count > 0)
    }

    /// How many rows a table of findings has.
    ///
    /// # Errors
    /// What the extension says.
    pub fn count(&self, counted: Counted) -> Result<i64> {
        let table = match counted {
            Counted::Quarantine => "talon_quarantine",
            Counted::Conflicts => "talon_conflicts WHERE reinstated_at IS NULL",
        };
        let statement = format!("SELECT count(*) FROM {table}");
        Ok(self.connection.query_row(&statement, [], |row| row.get(0))?)
    }

    /// The connection, for those who only show what is there.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Where it lies, as the user calls it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What can be counted.
#[derive(Clone, Copy, Debug)]
pub enum Counted {
    /// Documents that could not be applied or sent.
    Quarantine,
    /// What lost a conflict, and was not brought back.
    Conflicts,
}

/// What [`flow`] reads.
const FLOW: &str = "id, number, from_site, to_site, rows, bytes, error, link, refused IS NOT NULL, ended IS NOT NULL, superseded IS NOT NULL";

fn flow(row: &Row<'_>) -> rusqlite::Result<Flow> {
    Ok(Flow {
        id: row.get(0)?,
        number: row.get(1)?,
        from: row.get(2)?,
        to: row.get(3)?,
        rows: row.get(4)?,
        bytes: row.get(5)?,
        error: row.get(6)?,
        link: row.get(7)?,
        is_refused: row.get(8)?,
        is_ended: row.get(9)?,
        is_superseded: row.get(10)?,
    })
}

/// Is an error about what was given, and not about a lock, a disk or memory, which would meet the next chunk as well?
fn is_of_the_data(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return false };
    matches!(
        failure.code,
        ErrorCode::Unknown
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig
            | ErrorCode::NotADatabase
    )
}

/// The extension's own words.
pub fn text_of(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}
