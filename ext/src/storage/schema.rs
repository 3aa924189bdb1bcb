//! Talon's own tables: made at a file's first guard, upgraded when a newer library meets them.

use super::shape::quote_identifier;
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Value, ValueRef, code};

/// What each format adds to the one before it, the first one to an empty file.
const FORMATS: [&str; 3] = [
    include_str!("../../../sql/create_tables.sql"),
    include_str!("../../../sql/create_tables_2.sql"),
    include_str!("../../../sql/create_tables_3.sql"),
];

/// The format of the tables that this library writes.
pub const FORMAT: i64 = FORMATS.len() as i64;
/// The format that brought the tables of edits, days and rules.
pub const EDITS_SINCE: i64 = 2;
/// The format that brought the tables of synchronisation, and what `talon_piece` says of it.
pub const SYNC_SINCE: i64 = 3;

/// What a file says of itself.
pub struct Facts {
    /// The number that its triggers call it by.
    pub number: i64,
    /// The format of its tables.
    pub format: i64,
}

/// What the file behind a schema says of itself; None where nothing was ever guarded.
///
/// # Errors
/// [`Error::NewerFormat`] when the tables are of a later library.
pub fn facts(connection: Connection, schema: &str) -> Result<Option<Facts>> {
    let quoted = quote_identifier(schema);
    let found = connection.value(
        &format!(
            "SELECT 1 FROM {quoted}.sqlite_schema WHERE type = 'table' AND name = 'talon_meta'"
        ),
        &[],
    )?;
    if found.is_none() {
        return Ok(None);
    }
    let sql = format!("SELECT value FROM {quoted}.talon_meta WHERE name = ?1");
    let mut statement = match connection.prepare(&sql) {
        Ok(statement) => statement,
        // A table of the application's that is called so.
        Err(failure) if failure.primary() == code::ERROR => return Ok(None),
        Err(failure) => return Err(failure.into()),
    };
    let mut fact = |name: &str| {
        statement.first(&[ValueRef::Text(name.as_bytes())], |row| Ok(row.column(0).as_integer()))
    };
    let format = fact("format")?.flatten().unwrap_or(0);
    if format > FORMAT {
        return Err(Error::NewerFormat { schema: schema.to_owned(), found: format, known: FORMAT });
    }
    Ok(fact("database")?.flatten().map(|number| Facts { number, format }))
}

/// Makes Talon's tables in a schema and gives its file a number. Run inside a savepoint.
///
/// # Errors
/// What SQLite reports.
pub fn install(connection: Connection, schema: &str) -> Result<i64> {
    // Positive, and short enough for every trigger to have it in an instruction's own operand.
    let number = i64::from(connection.random_i64() as i32 & i32::MAX);
    upgrade(connection, schema, 0)?;
    set_fact(connection, schema, "database", number)?;
    Ok(number)
}

/// Brings the tables of a file of an older format up to date. Run inside a savepoint.
///
/// # Errors
/// [`Error::NameTaken`], or what SQLite reports.
pub fn upgrade(connection: Connection, schema: &str, format: i64) -> Result<()> {
    let missing = FORMATS.iter().skip(usize::try_from(format).unwrap_or(0));
    for script in missing.clone() {
        refuse_names_taken(connection, schema, script)?;
    }
    for script in missing {
        connection.run_script(&script.replace("{schema}", &quote_identifier(schema)))?;
    }
    set_fact(connection, schema, "format", FORMAT)
}

/// The application may have tables that are called as Talon's are to be.
fn refuse_names_taken(connection: Connection, schema: &str, script: &str) -> Result<()> {
    let mut find = connection.prepare(&format!(
        "SELECT type, name FROM {}.sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type <> 'trigger'",
        quote_identifier(schema)
    ))?;
    let created = ["TABLE", "INDEX"].into_iter().flat_map(|what| {
        script.split('\n').filter_map(move |line| {
            let (before, name) = line.split_once(" {schema}.")?;
            (before.starts_with("CREATE") && before.ends_with(what)).then_some(name)
        })
    });
    for name in created.filter_map(|rest| rest.split(['(', ' ']).next()) {
        let taken = find.first(&[ValueRef::Text(name.trim().as_bytes())], |row| {
            let what = row.column(0).as_str().unwrap_or_default();
            let article = if what == "index" { "an" } else { "a" };
            Ok(format!("{article} {what} {}", row.column(1).to_value()?))
        })?;
        if let Some(taken) = taken {
            return Err(Error::NameTaken { schema: schema.to_owned(), taken });
        }
    }
    Ok(())
}

/// A number that the file keeps under a name.
///
/// # Errors
/// What SQLite reports.
pub fn fact(connection: Connection, schema: &str, name: &str) -> Result<Option<i64>> {
    let sql = format!("SELECT value FROM {}.talon_meta WHERE name = ?1", quote_identifier(schema));
    match connection.value(&sql, &[ValueRef::Text(name.as_bytes())])? {
        Some(Value::Integer(value)) => Ok(Some(value)),
        _ => Ok(None),
    }
}

/// Keeps a number under a name.
///
/// # Errors
/// What SQLite reports.
pub fn set_fact(connection: Connection, schema: &str, name: &str, value: i64) -> Result<()> {
    let sql = format!(
        "INSERT OR REPLACE INTO {}.talon_meta(name, value) VALUES (?1, ?2)",
        quote_identifier(schema)
    );
    Ok(connection.run(&sql, &[ValueRef::Text(name.as_bytes()), ValueRef::Integer(value)])?)
}

/// Keeps nothing under a name any more.
///
/// # Errors
/// What SQLite reports.
pub fn forget_fact(connection: Connection, schema: &str, name: &str) -> Result<()> {
    let sql = format!("DELETE FROM {}.talon_meta WHERE name = ?1", quote_identifier(schema));
    Ok(connection.run(&sql, &[ValueRef::Text(name.as_bytes())])?)
}

/// The schemas of the connection that a file can stand behind: all but `temp`.
///
/// # Errors
/// What SQLite reports.
pub fn schemas(connection: Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA database_list")?;
    let mut rows = statement.query(&[])?;
    let mut names = Vec::new();
    while rows.next()? {
        if let Some(name) = rows.column(1).as_str().filter(|name| *name != "temp") {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// The number that changes with every change of a schema.
///
/// # Errors
/// What SQLite reports.
pub fn schema_version(connection: Connection, schema: &str) -> Result<i64> {
    let sql = format!("PRAGMA {}.schema_version", quote_identifier(schema));
    match connection.value(&sql, &[])? {
        Some(Value::Integer(version)) => Ok(version),
        _ => Ok(0),
    }
}
