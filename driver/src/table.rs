//! Rows as text in columns, and as JSON.

use crate::error::Result;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params};
use serde_json::{Map, Value, json};

/// A row of an answer: JSON values by column.
pub type Record = Map<String, Value>;

/// The rows of a query.
///
/// # Errors
/// What SQLite says.
pub fn records(connection: &Connection, query: &str, values: impl Params) -> Result<Vec<Record>> {
    let mut statement = connection.prepare(query)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query(values)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let mut record = Map::new();
        for (place, column) in columns.iter().enumerate() {
            record.insert(column.clone(), value(row.get_ref(place)?));
        }
        records.push(record);
    }
    Ok(records)
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => json!(integer),
        ValueRef::Real(real) => json!(real),
        ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
        ValueRef::Blob(blob) => {
            let hexadecimal: String = blob.iter().map(|byte| format!("{byte:02x}")).collect();
            json!(format!("x'{hexadecimal}'"))
        }
    }
}

/// A value of a record as a person reads it: nothing for NULL.
pub fn shown(record: &Record, column: &str) -> String {
    match record.get(column) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Cells under their titles, in columns as wide as they must be; numbers stand at the right.
pub fn columns(titles: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width_of = |place: usize| {
        let cells = rows.iter().filter_map(|row| row.get(place));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or_default();
        widest.max(titles.get(place).map_or(0, |title| title.chars().count()))
    };
    let widths: Vec<usize> = (0..titles.len()).map(width_of).collect();
    let is_number = |place: usize| {
        let mut cells =
            rows.iter().filter_map(|row| row.get(place)).filter(|cell| !cell.is_empty());
        cells.all(|cell| cell.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let numbers: Vec<bool> = (0..titles.len()).map(is_number).collect();
    let line = |cells: Vec<&str>| {
        let cells =
            cells.iter().zip(&widths).zip(&numbers).map(
                |((cell, width), is_number)| match is_number {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                },
            );
        cells.collect::<Vec<String>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(titles.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines =
            columns(&["id", "site", "error"], &[row(["7", "Été", ""]), row(["12", "B", "x"])]);
        assert_eq!(lines, ["id  site  error", " 7  Été", "12  B     x"]);
    }
}
