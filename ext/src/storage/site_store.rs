//! The databases that exchange flows: statements on `talon_site`, and what a file says of itself.

use super::schema::{fact, set_fact};
use super::shape::quote_identifier;
use crate::error::Result;
use crate::sqlite::{Connection, Room, Rows, ValueRef};

/// The fact that says which site a file is.
const SITE: &str = "site";
/// The fact that tells a file from one that began anew under the same code.
const INCARNATION: &str = "incarnation";
/// The fact that keeps the highest stamp ever received.
const CLOCK: &str = "clock";

/// What a site is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that all others exchange flows with.
    Central,
    /// One that works by itself and meets central now and then.
    Remote,
}

impl Role {
    /// As `talon_site` takes it.
    pub fn text(self) -> &'static str {
        match self {
            Role::Central => "central",
            Role::Remote => "remote",
        }
    }

    /// What `talon_site` takes.
    pub fn from_text(text: &str) -> Option<Role> {
        [Role::Central, Role::Remote].into_iter().find(|role| role.text() == text)
    }
}

/// A row of `talon_site`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its row.
    pub id: i64,
    /// What it is called everywhere.
    pub code: String,
    /// What it is to the others.
    pub role: Role,
    /// What people call it.
    pub name: Option<String>,
    /// Of its database, as its flows say.
    pub incarnation: Option<i64>,
    /// The newest of our flows to it.
    pub number_out: i64,
    /// The newest of its flows to us.
    pub number_in: i64,
    /// Its clock when it wrote that one.
    pub stamp_in: i64,
    /// Our changes up to here are there.
    pub acknowledged: i64,
    /// Its changes up to here are here.
    pub applied: i64,
    /// By how much its clock was off when last heard of, in ms.
    pub clock_off_ms: Option<i64>,
}

/// Which site a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSite {
    /// Its row of `talon_site`.
    pub id: i64,
    /// Its code: the origin of what is created there.
    pub code: String,
    /// What it is to the others.
    pub role: Role,
    /// Told apart from an earlier database of the same code.
    pub incarnation: i64,
}

/// The sites of one file.
pub struct SiteStore<'a> {
    connection: Connection,
    schema: &'a str,
}

const COLUMNS: &str = "id, code, role, name, incarnation, number_out, number_in, stamp_in, acknowledged, applied, clock_off";

fn site(row: &Rows<'_>) -> Site {
    let integer = |place: usize| row.column(place).as_integer();
    let text = |place: usize| row.column(place).as_str().map(str::to_owned);
    Site {
        id: integer(0).unwrap_or(0),
        code: text(1).unwrap_or_default(),
        role: row.column(2).as_str().and_then(Role::from_text).unwrap_or(Role::Remote),
        name: text(3),
        incarnation: integer(4),
        number_out: integer(5).unwrap_or(0),
        number_in: integer(6).unwrap_or(0),
        stamp_in: integer(7).unwrap_or(0),
        acknowledged: integer(8).unwrap_or(0),
        applied: integer(9).unwrap_or(0),
        clock_off_ms: integer(10),
    }
}

impl<'a> SiteStore<'a> {
    /// Of the file behind a schema, whose tables have the format of synchronisation.
    pub fn new(connection: Connection, schema: &'a str) -> SiteStore<'a> {
        SiteStore { connection, schema }
    }

    /// All sites, in the order registered.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn all(&self) -> Result<Vec<Site>> {
        self.find("1", &[])
    }

    /// The site of this code, whatever its case.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn by_code(&self, code: &str) -> Result<Option<Site>> {
        Ok(self.find("code = ?1", &[ValueRef::Text(code.as_bytes())])?.pop())
    }

    /// The site of this row.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn by_id(&self, id: i64) -> Result<Option<Site>> {
        Ok(self.find("id = ?1", &[ValueRef::Integer(id)])?.pop())
    }

    /// The central site, where it is registered.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn central(&self) -> Result<Option<Site>> {
        Ok(self.find("role = 'central'", &[])?.pop())
    }

    fn find(&self, condition: &str, values: &[ValueRef<'_>]) -> Result<Vec<Site>> {
        let schema = quote_identifier(self.schema);
        let mut statement = self.connection.prepare(&format!(
            "SELECT {COLUMNS} FROM {schema}.talon_site WHERE {condition} ORDER BY id"
        ))?;
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while rows.next()? {
            found.try_push(site(&rows))?;
        }
        Ok(found)
    }

    /// Registers a site.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn insert(&self, code: &str, role: Role, name: Option<&str>) -> Result<()> {
        let values = [
            ValueRef::Text(code.as_bytes()),
            ValueRef::Text(role.text().as_bytes()),
            name.map_or(ValueRef::Null, |name| ValueRef::Text(name.as_bytes())),
        ];
        let schema = quote_identifier(self.schema);
        let sql = format!("INSERT INTO {schema}.talon_site(code, role, name) VALUES (?1, ?2, ?3)");
        Ok(self.connection.run(&sql, &values)?)
    }

    /// Gives a site another name.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn rename(&self, id: i64, name: &str) -> Result<()> {
        let values = [ValueRef::Integer(id), ValueRef::Text(name.as_bytes())];
        let schema = quote_identifier(self.schema);
        let sql = format!("UPDATE {schema}.talon_site SET name = ?2 WHERE id = ?1");
        Ok(self.connection.run(&sql, &values)?)
    }

    /// Which site the file is, where that was said.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn own(&self) -> Result<Option<OwnSite>> {
        let Some(id) = fact(self.connection, self.schema, SITE)? else { return Ok(None) };
        let incarnation = fact(self.connection, self.schema, INCARNATION)?.unwrap_or(0);
        let site = self.by_id(id)?;
        Ok(site.map(|site| OwnSite { id, code: site.code, role: site.role, incarnation }))
    }

    /// Says which site the file is, and tells it from any other that was called so.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn set_own(&self, id: i64) -> Result<()> {
        set_fact(self.connection, self.schema, SITE, id)?;
        let incarnation = self.connection.random_i64() & i64::MAX;
        set_fact(self.connection, self.schema, INCARNATION, incarnation)
    }

    /// The highest stamp ever received.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn clock(&self) -> Result<i64> {
        Ok(fact(self.connection, self.schema, CLOCK)?.unwrap_or(0))
    }

    /// Notes the highest stamp ever received.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn set_clock(&self, stamp: i64) -> Result<()> {
        set_fact(self.connection, self.schema, CLOCK, stamp)
    }

    /// Whether anything was stamped here, or any flow sent or received.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn has_work(&self) -> Result<bool> {
        let schema = quote_identifier(self.schema);
        let sql = format!(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM {schema}.talon_change) OR EXISTS (SELECT 1 FROM {schema}.talon_flow)"
        );
        Ok(self.connection.value(&sql, &[])?.is_some())
    }
}
