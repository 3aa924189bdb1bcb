//! What stands in the host's tables: everything, to compare; and piece by piece, as images.

use crate::scenario::Pieces;
use crate::vfs::{Connection, Failure, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Every row of every table of the host's, and their definitions, in an order of their own.
pub type Dump = Vec<String>;

/// A piece's rows in one text: equal texts are equal pieces.
pub type Image = String;

/// A piece as a scenario's run knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// All its rows.
    pub image: Image,
    /// How many are lines.
    pub lines: usize,
}

/// A piece's kind (its place in the scenario) and key.
pub type PieceKey = (usize, Vec<Value>);

/// Pieces by kind and key.
pub type PieceMap = BTreeMap<PieceKey, Piece>;

/// A name as SQL quotes it.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The host's tables.
///
/// # Errors
/// What SQLite reports.
pub fn dump(connection: &Connection) -> Result<Dump, Failure> {
    let mut found = Vec::new();
    let objects = connection.query(
        "SELECT type, name, sql FROM sqlite_schema
         WHERE name NOT LIKE 'talon%' AND name NOT LIKE 'sqlite_%' AND tbl_name NOT LIKE 'talon%'",
    )?;
    for object in objects {
        let [kind, name, sql] = object.as_slice() else { continue };
        found.push(format!("{kind} {name} {sql}"));
        if kind.text() == Some("table")
            && let Some(name) = name.text()
        {
            for row in connection.query(&format!("SELECT * FROM {}", quote(name)))? {
                found.push(format!("{name}: {}", joined(&row)));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn joined(row: &[Value]) -> String {
    let mut text = String::new();
    for value in row {
        // Writing to a string does not fail.
        let _ = write!(text, "{value}, ");
    }
    text
}

/// Columns that a table stores, in order: none that it computes.
///
/// # Errors
/// What SQLite reports.
pub fn stored_columns(connection: &Connection, table: &str) -> Result<Vec<String>, Failure> {
    let rows = connection.query(&format!(
        "SELECT name FROM pragma_table_xinfo('{}') WHERE hidden = 0 ORDER BY cid",
        table.replace('\'', "''")
    ))?;
    Ok(rows.iter().filter_map(|row| row.first()?.text()).map(str::to_owned).collect())
}

/// The columns of a table's primary key, in its order; none where it has none.
///
/// # Errors
/// What SQLite reports.
pub fn primary_key(connection: &Connection, table: &str) -> Result<Vec<String>, Failure> {
    let table = Value::from(table);
    let rows = connection
        .query(&format!("SELECT name FROM pragma_table_info({table}) WHERE pk > 0 ORDER BY pk"))?;
    Ok(rows.iter().filter_map(|row| row.first()?.text()).map(str::to_owned).collect())
}

/// The columns by which a table refers to the key of another, in the order of that key, by its foreign key.
///
/// # Errors
/// What SQLite reports.
pub fn reference(
    connection: &Connection,
    table: &str,
    to: &str,
    key: &[String],
) -> Result<Vec<String>, Failure> {
    let (table, to) = (Value::from(table), Value::from(to));
    let rows = connection.query(&format!(
        "SELECT \"from\", \"to\" FROM pragma_foreign_key_list({table})
         WHERE \"table\" = {to} COLLATE NOCASE ORDER BY id, seq"
    ))?;
    // A foreign key that names no columns refers to the primary key.
    let column = |(place, name): (usize, &String)| {
        let named = rows.iter().find(|row| {
            row.get(1).and_then(Value::text).is_some_and(|to| to.eq_ignore_ascii_case(name))
        });
        let row = named.or_else(|| rows.get(place).filter(|row| row.get(1) == Some(&Value::Null)));
        row.and_then(|row| row.first()?.text()).map(str::to_owned)
    };
    Ok(key.iter().enumerate().filter_map(column).collect())
}

/// The rows of a piece in one table: what images call the table, its columns, the rows.
pub type Rows = (String, Vec<String>, Vec<Vec<Value>>);

/// Puts the parts of a piece together, whatever their order.
pub fn image(parts: &[Rows]) -> Image {
    let mut text = String::new();
    let mut parts: Vec<_> = parts.iter().collect();
    parts.sort_by_key(|(name, ..)| name);
    for (name, columns, rows) in parts {
        let mut shown: Vec<String> = rows.iter().map(|row| joined(row)).collect();
        shown.sort_unstable();
        let _ = writeln!(text, "{name}({})", columns.join(", "));
        for row in shown {
            let _ = writeln!(text, "  {row}");
        }
    }
    text
}

fn condition(columns: &[String], alias: &str, values: &[Value]) -> String {
    let terms: Vec<String> = columns
        .iter()
        .zip(values)
        .map(|(column, value)| format!("{alias}.{} = {value}", quote(column)))
        .collect();
    terms.join(" AND ")
}

struct Part {
    columns: Vec<String>,
    select: String,
}

fn part(connection: &Connection, table: &str, alias: &str) -> Result<Part, Failure> {
    let columns = stored_columns(connection, table)?;
    let list: Vec<String> = columns.iter().map(|name| format!("{alias}.{}", quote(name))).collect();
    let select = format!("SELECT {} FROM {} AS {alias} WHERE ", list.join(", "), quote(table));
    Ok(Part { columns, select })
}

/// The values of some columns of a row.
pub(crate) fn values_of(columns: &[String], wanted: &[String], row: &[Value]) -> Vec<Value> {
    let place = |name: &String| columns.iter().position(|column| column.eq_ignore_ascii_case(name));
    wanted.iter().filter_map(|name| row.get(place(name)?)).cloned().collect()
}

/// The rows of a kind's further tables, whatever they belong to, as images show them.
///
/// # Errors
/// What SQLite reports.
pub fn detail_rows(connection: &Connection, kind: &Pieces) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for detail in &kind.details {
        let rows =
            connection.query(&format!("{}1", part(connection, &detail.table, "d")?.select))?;
        found.extend(rows.iter().map(|row| format!("  {}", joined(row))));
    }
    Ok(found)
}

/// All pieces that are there.
///
/// # Errors
/// What SQLite reports.
pub fn pieces(connection: &Connection, kinds: &[Pieces]) -> Result<PieceMap, Failure> {
    let mut found = PieceMap::new();
    for (kind, tables) in kinds.iter().enumerate() {
        let header = part(connection, &tables.header, "h")?;
        let lines = part(connection, &tables.lines, "l")?;
        // A table may be on its way through a migration.
        if header.columns.is_empty() || lines.columns.is_empty() {
            continue;
        }
        let header_where = tables.header_where.as_deref().unwrap_or("1");
        for row in connection.query(&format!("{}({header_where})", header.select))? {
            let key = values_of(&header.columns, &tables.key, &row);
            let lines_where = tables.lines_where.as_deref().unwrap_or("1");
            let of_piece = condition(&tables.piece, "l", &key);
            let query = format!("{}{of_piece} AND ({lines_where})", lines.select);
            let rows = connection.query(&query)?;
            let count = rows.len();
            let mut details = Vec::new();
            for detail in &tables.details {
                let shape = part(connection, &detail.table, "d")?;
                let mut held = Vec::new();
                let parents: Vec<Vec<Value>> = if detail.line_key.is_empty() {
                    vec![key.clone()]
                } else {
                    let key_of =
                        |row: &Vec<Value>| values_of(&lines.columns, &detail.line_key, row);
                    rows.iter().map(key_of).collect()
                };
                for parent in parents {
                    let of_parent = condition(&detail.piece, "d", &parent);
                    held.extend(connection.query(&format!("{}{of_parent}", shape.select))?);
                }
                details.push((detail.name.clone(), shape.columns, held));
            }
            let mut parts = vec![
                ("header".to_owned(), header.columns.clone(), vec![row]),
                ("lines".to_owned(), lines.columns.clone(), rows),
            ];
            parts.extend(details);
            found.insert((kind, key), Piece { image: image(&parts), lines: count });
        }
    }
    Ok(found)
}
