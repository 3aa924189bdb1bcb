//! Values: as SQLite gives them, as SQL says them, as an image holds them.

use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

/// A value with its storage class; a real by its bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    Null,
    Integer(i64),
    Real(u64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

pub type Row = Vec<Cell>;

pub fn text(text: &str) -> Cell {
    Cell::Text(text.as_bytes().to_vec())
}

pub fn real(real: f64) -> Cell {
    Cell::Real(real.to_bits())
}

impl Cell {
    fn of(value: ValueRef<'_>) -> Cell {
        match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(integer) => Cell::Integer(integer),
            ValueRef::Real(value) => real(value),
            ValueRef::Text(text) => Cell::Text(text.to_vec()),
            ValueRef::Blob(blob) => Cell::Blob(blob.to_vec()),
        }
    }

    /// As SQL text, so that a failing script can be pasted.
    pub fn literal(&self) -> String {
        match self {
            Cell::Null => "NULL".to_owned(),
            Cell::Integer(integer) => integer.to_string(),
            Cell::Real(bits) => match f64::from_bits(*bits) {
                f64::INFINITY => "9e999".to_owned(),
                f64::NEG_INFINITY => "-9e999".to_owned(),
                real => format!("{real:e}"),
            },
            Cell::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if !text.contains('\0') => format!("'{}'", text.replace('\'', "''")),
                _ => format!("CAST(x'{}' AS TEXT)", hex(bytes)),
            },
            Cell::Blob(bytes) => format!("x'{}'", hex(bytes)),
        }
    }

    /// As a key: 1 and 1.0 are one.
    pub fn identity(self) -> Cell {
        match self {
            Cell::Real(bits)
                if f64::from_bits(bits).fract() == 0.0 && f64::from_bits(bits).abs() < 1e18 =>
            {
                Cell::Integer(f64::from_bits(bits) as i64)
            }
            other => other,
        }
    }

    /// From JSON, by the table in `storage/payload.rs`.
    pub fn from_json(json: &serde_json::Value) -> Cell {
        match json {
            serde_json::Value::Null => Cell::Null,
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => Cell::Integer(integer),
                None => real(number.as_f64().expect("a number")),
            },
            serde_json::Value::String(string) => text(string),
            tagged => {
                let (tag, value) = tagged
                    .as_object()
                    .and_then(|tagged| tagged.iter().next())
                    .expect("a tagged value");
                let value = value.as_str().expect("a text behind the tag");
                match tag.as_str() {
                    "real" => real(value.parse().expect("an infinity")),
                    "text" => Cell::Text(unhex(value)),
                    "blob" => Cell::Blob(unhex(value)),
                    other => panic!("an unknown tag {other}"),
                }
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// Any value: the corners as often as the rest.
pub fn any_cell() -> impl Strategy<Value = Cell> {
    let corners = vec![
        Cell::Integer(i64::MIN),
        Cell::Integer(i64::MAX),
        Cell::Integer(1 << 53 | 1),
        real(-0.0),
        real(5e-324),
        real(f64::MAX),
        real(0.1 + 0.2),
        real(f64::INFINITY),
        real(f64::NEG_INFINITY),
        real(1e16),
        text(""),
        text("it's \"quoted\" \\ \u{1}\n é \u{10ffff}"),
        text("a\0b"),
        Cell::Text(vec![0xff, 0, b'a', 0xc3]),
        Cell::Blob(vec![]),
        Cell::Blob(vec![0, 0xff, b'"']),
    ];
    prop_oneof![
        2 => Just(Cell::Null),
        4 => prop::sample::select(corners),
        1 => any::<i64>().prop_map(Cell::Integer),
        1 => any::<f64>().prop_filter("SQLite has no NaN", |real| !real.is_nan()).prop_map(real),
        1 => any::<String>().prop_map(|string| text(&string)),
        1 => prop::collection::vec(any::<u8>(), 0..6).prop_map(Cell::Text),
        1 => prop::collection::vec(any::<u8>(), 0..6).prop_map(Cell::Blob),
    ]
}

/// What a statement came to: its rows, and its error with code and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub rows: Vec<Row>,
    pub error: Option<String>,
}

/// Runs one statement.
pub fn run(connection: &Connection, sql: &str) -> Answer {
    let mut rows = Vec::new();
    let error = collect(connection, sql, &mut rows).err().map(|error| format!("{error:?}"));
    Answer { rows, error }
}

fn collect(connection: &Connection, sql: &str, found: &mut Vec<Row>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        found.push(
            (0..columns)
                .map(|column| row.get_ref(column).map(Cell::of))
                .collect::<rusqlite::Result<_>>()?,
        );
    }
    Ok(())
}

/// The rows of a statement that must succeed.
pub fn query(connection: &Connection, sql: &str) -> Result<Vec<Row>, String> {
    let answer = run(connection, sql);
    match answer.error {
        None => Ok(answer.rows),
        Some(error) => Err(format!("{error}\nin {sql}")),
    }
}
