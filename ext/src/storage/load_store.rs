//! How far the kinds that come down are here, and which load is under way: statements on `talon_table` and facts of the file.

use super::document::{Load, TableLine};
use super::schema::{fact, forget_fact, set_fact};
use super::shape::quote_identifier;
use crate::error::Result;
use crate::sqlite::{Connection, Room, Statement, ValueRef, gather};

/// The fact that says up to which change versions are counted at central.
const COUNTED: &str = "counted";
/// The fact that says which load a remote has asked for and not got yet.
const LOAD: &str = "load";
/// The fact that says that this is the first thing that a database asks of central.
const FIRST: &str = "load_first";

/// A row of `talon_table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRow {
    /// The kind.
    pub kind: String,
    /// The newest of central's changes to it that is here.
    pub version: i64,
    /// The newest that central has told of; None where it does not have the kind.
    pub newest: Option<i64>,
    /// When `version` was reached, in ms since 1970.
    pub as_of: Option<i64>,
}

/// The versions and loads of one file.
#[derive(Clone, Copy)]
pub struct LoadStore<'a> {
    connection: Connection,
    schema: &'a str,
}

impl<'a> LoadStore<'a> {
    /// Of the file behind a schema, whose tables have the format of synchronisation.
    pub fn new(connection: Connection, schema: &'a str) -> LoadStore<'a> {
        LoadStore { connection, schema }
    }

    fn prepare(&self, sql: &str) -> Result<Statement> {
        Ok(self.connection.prepare(&sql.replace("{s}", &quote_identifier(self.schema)))?)
    }

    /// All rows, by the kinds' names.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn tables(&self) -> Result<Vec<TableRow>> {
        let mut asked =
            self.prepare("SELECT kind, version, newest, as_of FROM {s}.talon_table ORDER BY kind")?;
        let (mut rows, mut found) = (asked.query(&[])?, Vec::new());
        while rows.next()? {
            found.try_push(TableRow {
                kind: rows.column(0).as_str().unwrap_or_default().to_owned(),
                version: rows.column(1).as_integer().unwrap_or(0),
                newest: rows.column(2).as_integer(),
                as_of: rows.column(3).as_integer(),
            })?;
        }
        Ok(found)
    }

    /// How far each kind is here.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn versions(&self) -> Result<Vec<TableLine>> {
        let lines = self.tables()?.into_iter();
        Ok(gather(lines.map(|row| TableLine { kind: row.kind, version: row.version }))?)
    }

    /// Takes in what central says of its versions.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn heard(&self, tables: &[TableLine]) -> Result<()> {
        self.prepare("UPDATE {s}.talon_table SET newest = NULL")?.run(&[])?;
        let mut put = self.prepare(
            "INSERT INTO {s}.talon_table(kind, newest) VALUES (?1, ?2)
             ON CONFLICT (kind) DO UPDATE SET newest = excluded.newest",
        )?;
        for table in tables {
            put.run(&[ValueRef::Text(table.kind.as_bytes()), ValueRef::Integer(table.version)])?;
        }
        Ok(())
    }

    /// Notes how far a kind is here now.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn brought(&self, table: &TableLine, at_ms: i64) -> Result<()> {
        let mut put = self.prepare(
            "INSERT INTO {s}.talon_table(kind, version, as_of) VALUES (?1, ?2, ?3)
             ON CONFLICT (kind) DO UPDATE SET version = excluded.version, as_of = excluded.as_of
             WHERE excluded.version >= version",
        )?;
        Ok(put.run(&[
            ValueRef::Text(table.kind.as_bytes()),
            ValueRef::Integer(table.version),
            ValueRef::Integer(at_ms),
        ])?)
    }

    /// Central's database is another one, whose changes have other numbers.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn forget(&self) -> Result<()> {
        Ok(self.prepare("DELETE FROM {s}.talon_table")?.run(&[])?)
    }

    /// The versions of all kinds by the changes that this database has made or taken: those that were counted before,
    /// and what has come since, up to which change.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn count(&self) -> Result<(Vec<TableLine>, i64)> {
        let counted = fact(self.connection, self.schema, COUNTED)?.unwrap_or(0);
        let mut found = self.versions()?;
        let mut asked = self.prepare(
            "SELECT k.kind, max(c.seq) FROM {s}.talon_change AS c JOIN {s}.talon_kind AS k ON k.id = c.kind
             WHERE c.seq > ?1 GROUP BY c.kind",
        )?;
        let (mut newest, counted) = (counted, [ValueRef::Integer(counted)]);
        let mut rows = asked.query(&counted)?;
        while rows.next()? {
            let kind = rows.column(0).as_str().unwrap_or_default();
            let version = rows.column(1).as_integer().unwrap_or(0);
            newest = newest.max(version);
            match found.iter_mut().find(|known: &&mut TableLine| known.kind == kind) {
                Some(known) => known.version = version,
                None => found.try_push(TableLine { kind: kind.to_owned(), version })?,
            }
        }
        Ok((found, newest))
    }

    /// The same, kept, so that the next count has less to look at.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn count_and_keep(&self) -> Result<Vec<TableLine>> {
        let (found, counted) = self.count()?;
        let mut put = self.prepare(
            "INSERT INTO {s}.talon_table(kind, version) VALUES (?1, ?2)
             ON CONFLICT (kind) DO UPDATE SET version = excluded.version",
        )?;
        for table in &found {
            put.run(&[ValueRef::Text(table.kind.as_bytes()), ValueRef::Integer(table.version)])?;
        }
        set_fact(self.connection, self.schema, COUNTED, counted)?;
        Ok(found)
    }

    /// The load that was asked for and did not come yet.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn asked(&self) -> Result<Option<Load>> {
        Ok(match fact(self.connection, self.schema, LOAD)? {
            Some(1) => Some(Load::Changes),
            Some(2) => Some(Load::Full),
            _ => None,
        })
    }

    /// Notes that a load is asked for. A full one brings what the other would.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn ask(&self, load: Load) -> Result<()> {
        if self.asked()? == Some(Load::Full) {
            return Ok(());
        }
        set_fact(self.connection, self.schema, LOAD, if load == Load::Full { 2 } else { 1 })
    }

    /// This database has told central nothing yet, and is to tell it nothing before the load.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn begin_first(&self) -> Result<()> {
        set_fact(self.connection, self.schema, FIRST, 1)
    }

    /// Whether what there is here waits for the load.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn is_first(&self) -> Result<bool> {
        Ok(fact(self.connection, self.schema, FIRST)?.is_some())
    }

    /// A load has come.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn came(&self, load: Load) -> Result<()> {
        if load == Load::Full || self.asked()? == Some(Load::Changes) {
            forget_fact(self.connection, self.schema, LOAD)?;
        }
        forget_fact(self.connection, self.schema, FIRST)
    }

    /// What was listed of a flow is not needed any more.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn drop_listed(&self, flow: i64) -> Result<()> {
        let mut drop = self.prepare("DELETE FROM {s}.talon_listed WHERE flow = ?1")?;
        Ok(drop.run(&[ValueRef::Integer(flow)])?)
    }
}
