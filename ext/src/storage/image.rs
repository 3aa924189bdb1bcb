//! Reads a piece, whole, and writes it down.

use super::guard::{Guard, HEADER, LINES};
use super::key::Key;
use super::payload::{put, write_value};
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Statement, Value, ValueRef};
use std::cmp::Ordering;

/// An image and the room it is made in, to be used again for the next one.
#[derive(Default)]
pub struct Image {
    /// The text, as `payload` describes it.
    pub payload: Vec<u8>,
    /// How many lines it has.
    pub lines: i64,
    /// The piece's key as the header spells it.
    pub key: Option<Key>,
    room: Vec<u8>,
}

/// What reading a piece gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// The image is taken.
    Taken,
    /// There is no such header, or it is of another kind.
    Absent,
    /// The schema has changed since the reader was prepared: make a new one.
    Stale,
}

/// The prepared statements that read a kind's pieces.
pub struct ImageReader {
    header: Statement,
    header_columns: usize,
    key_places: Vec<usize>,
    children: Vec<ChildReader>,
    /// Column names of all parts, as `talon_shape` keeps them.
    pub columns: String,
}

struct ChildReader {
    is_lines: bool,
    opening: Vec<u8>,
    statement: Statement,
    columns: usize,
    /// Key columns to sort by, where SQLite does not deliver rows in the key's order by itself.
    sort: Option<Vec<usize>>,
}

impl ImageReader {
    /// Prepares the statements, to be kept for the connection's life or for one call.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn prepare(
        connection: Connection,
        schema: &str,
        guard: &Guard,
        kept: bool,
    ) -> Result<ImageReader> {
        let prepare = |sql: &str| {
            if kept { connection.prepare_kept(sql) } else { connection.prepare(sql) }
        };
        let header = guard.header();
        let header_sql = format!(
            "SELECT {} FROM {} WHERE {}{}",
            header.select_list(),
            header.from_clause(schema),
            guard.header_is(),
            header.and_condition()
        );
        let mut children = Vec::new();
        for (place, part) in guard.parts.iter().enumerate().skip(LINES) {
            let select = format!(
                "SELECT {} FROM {} WHERE {}{}",
                part.select_list(),
                part.from_clause(schema),
                guard.belongs(place, schema),
                part.and_condition()
            );
            // Integers sort alike everywhere; other keys are sorted here, so that an image does not depend on
            // collations, on the file's encoding, or on which indexes there are today.
            let mut sort = Some(part.places(&part.key));
            let mut sql = select.clone();
            if part.table.key_is_rowid && part.table.key() == part.key {
                let ordered =
                    format!("{select} ORDER BY {}.{}", part.alias, super::shape::quote_identifier(&part.key[0]));
                if !sorts_by_itself(connection, &ordered)? {
                    sql = ordered;
                    sort = None;
                }
            }
            let mut opening = b",".to_vec();
            let name = serde_json::to_string(&part.name).unwrap_or_default();
            opening.extend_from_slice(name.as_bytes());
            opening.extend_from_slice(b":[");
            children.push(ChildReader {
                is_lines: place == LINES,
                opening,
                statement: prepare(&sql)?,
                columns: part.columns.len(),
                sort,
            });
        }
        Ok(ImageReader {
            header: prepare(&header_sql)?,
            header_columns: header.columns.len(),
            key_places: header.places(&header.key),
            children,
            columns: shape_columns(guard),
        })
    }

    /// Reads the piece with this key into `image`.
    ///
    /// # Errors
    /// What SQLite reports, or [`Error::Memory`].
    pub fn read(&mut self, key: &Key, image: &mut Image) -> Result<Reading> {
        image.payload.clear();
        image.lines = 0;
        image.key = None;
        {
            let bound = Bound::of(key);
            let mut rows = self.header.query(bound.values())?;
            let found = rows.next()?;
            if found {
                put(&mut image.payload, b"{\"header\":")?;
                write_columns(&mut image.payload, &rows, self.header_columns)?;
                let own = self.key_places.iter().map(|place| rows.column(*place).to_value());
                image.key = Some(Key::of(own.collect()));
            }
        }
        if self.header.was_reprepared() {
            return Ok(Reading::Stale);
        }
        let Some(own) = &image.key else {
            return Ok(Reading::Absent);
        };
        let bound = Bound::of(own);
        for child in &mut self.children {
            put(&mut image.payload, &child.opening)?;
            let count = child.read(bound.values(), &mut image.payload, &mut image.room)?;
            if child.is_lines {
                image.lines = count;
            }
            put(&mut image.payload, b"]")?;
        }
        put(&mut image.payload, b"}")?;
        Ok(Reading::Taken)
    }
}

/// A key's columns, borrowed for binding.
struct Bound<'a>([ValueRef<'a>; super::guard::MOST_KEY_COLUMNS], usize);

impl<'a> Bound<'a> {
    fn of(key: &'a Key) -> Bound<'a> {
        let mut bound = [ValueRef::Null; super::guard::MOST_KEY_COLUMNS];
        let values = key.values();
        for (place, value) in bound.iter_mut().zip(values) {
            *place = value.as_ref();
        }
        Bound(bound, values.len().min(super::guard::MOST_KEY_COLUMNS))
    }

    fn values(&self) -> &[ValueRef<'a>] {
        &self.0[..self.1]
    }
}

#[inline]
fn write_columns(
    buffer: &mut Vec<u8>,
    rows: &crate::sqlite::Rows<'_>,
    columns: usize,
) -> Result<()> {
    put(buffer, b"[")?;
    for column in 0..columns {
        if column > 0 {
            put(buffer, b",")?;
        }
        write_value(buffer, rows.column(column))?;
    }
    put(buffer, b"]")
}

impl ChildReader {
    /// Appends the rows, separated by commas, in the key's order; gives their number.
    fn read(
        &mut self,
        key: &[ValueRef<'_>],
        payload: &mut Vec<u8>,
        room: &mut Vec<u8>,
    ) -> Result<i64> {
        let mut rows = self.statement.query(key)?;
        let mut count = 0;
        let Some(sort) = &self.sort else {
            while rows.next()? {
                if count > 0 {
                    put(payload, b",")?;
                }
                write_columns(payload, &rows, self.columns)?;
                count += 1;
            }
            return Ok(count);
        };
        room.clear();
        let mut found: Vec<(Vec<Value>, std::ops::Range<usize>)> = Vec::new();
        while rows.next()? {
            let start = room.len();
            write_columns(room, &rows, self.columns)?;
            let key = sort.iter().map(|place| rows.column(*place).to_value()).collect();
            found.try_reserve(1).map_err(|_| Error::Memory)?;
            found.push((key, start..room.len()));
        }
        found.sort_by(|(a, _), (b, _)| compare_keys(a, b));
        for (_, range) in found {
            if count > 0 {
                put(payload, b",")?;
            }
            put(payload, &room[range])?;
            count += 1;
        }
        Ok(count)
    }
}

/// As SQLite orders values of any storage class under BINARY.
pub fn compare_keys(a: &[Value], b: &[Value]) -> Ordering {
    let class = |value: &Value| match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    };
    let one = |a: &Value, b: &Value| match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Real(a), Value::Real(b)) => a.total_cmp(b),
        (Value::Integer(a), Value::Real(b)) => (*a as f64).total_cmp(b).then(Ordering::Less),
        (Value::Real(a), Value::Integer(b)) => a.total_cmp(&(*b as f64)).then(Ordering::Greater),
        (Value::Text(a), Value::Text(b)) | (Value::Blob(a), Value::Blob(b)) => a.cmp(b),
        _ => class(a).cmp(&class(b)),
    };
    a.iter().zip(b).map(|(a, b)| one(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Whether SQLite would sort the rows itself to put them in order.
fn sorts_by_itself(connection: Connection, sql: &str) -> Result<bool> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let mut rows = statement.query(&[])?;
    while rows.next()? {
        if rows.column(3).as_str().is_some_and(|step| step.contains("TEMP B-TREE")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The column names of a guard's parts, as JSON: `{"header":["id",…],"lines":[…]}`.
fn shape_columns(guard: &Guard) -> String {
    let mut json = String::from("{");
    for (place, part) in guard.parts.iter().enumerate() {
        if place > HEADER {
            json.push(',');
        }
        json.push_str(&serde_json::to_string(&part.name).unwrap_or_default());
        json.push(':');
        json.push_str(&serde_json::to_string(&part.columns).unwrap_or_default());
    }
    json.push('}');
    json
}
