//! Reads a piece, whole, and writes it down.

use super::guard::{Guard, HEADER, LINES, MOST_KEY_COLUMNS, Part};
use super::key::Key;
use super::payload::{put, reserve, write_value};
use super::shape::quote_identifier;
use crate::error::{Error, Result};
use crate::sqlite::{Argument, Connection, Room, Statement, Value, ValueRef, gather};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

/// An image, whose room is used again for the next one.
#[derive(Default)]
pub struct Image {
    /// The text, as `payload` describes it.
    pub payload: Vec<u8>,
    /// How many lines it has.
    pub lines: i64,
    /// The piece's key as the header spells it.
    pub key: Option<Key>,
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

/// Where rows are written down.
///
/// A reader's statements hand their columns to an SQL function, `talon_row`, all at once: SQLite runs through a part in
/// one step, and no value is fetched by a call of its own, which would cost more than writing it down.
#[derive(Default)]
pub struct Collector {
    /// The rows of the statement that is running.
    running: RefCell<Option<Rows>>,
    /// Room to be used again.
    room: RefCell<Rows>,
}

#[derive(Default)]
struct Rows {
    text: Vec<u8>,
    /// Each row's key and place in the text.
    places: Vec<(RowKey, usize, usize)>,
    sorted: bool,
    /// Where the key's columns are among a row's.
    key_places: Vec<usize>,
    key: Vec<Value>,
    column: usize,
    start: usize,
}

/// A row's key; integers apart, because most are.
#[derive(Debug, PartialEq)]
enum RowKey {
    Integer(i64),
    Other(Vec<Value>),
}

impl RowKey {
    fn compare(&self, other: &RowKey) -> Ordering {
        let values = |key: &RowKey| match key {
            RowKey::Integer(integer) => vec![Value::Integer(*integer)],
            RowKey::Other(values) => values.clone(),
        };
        match (self, other) {
            (RowKey::Integer(a), RowKey::Integer(b)) => a.cmp(b),
            (RowKey::Other(a), RowKey::Other(b)) => compare_keys(a, b),
            (a, b) => compare_keys(&values(a), &values(b)),
        }
    }
}

/// Columns that one call of `talon_row` takes: SQLite allows no function more than a hundred arguments everywhere.
const MOST_COLUMNS: usize = 96;
/// The call begins a row.
const BEGINS: i64 = 1;
/// The call ends a row.
const ENDS: i64 = 2;

impl Collector {
    /// `talon_row(flags, column…)`, called by a reader's own statement: true when the row is complete.
    ///
    /// # Errors
    /// [`Error::Argument`] when anybody else calls it, [`Error::Memory`].
    pub fn row(&self, arguments: &[Argument]) -> Result<bool> {
        let mut running = self.running.borrow_mut();
        let (Some(rows), Some((flags, columns))) = (running.as_mut(), arguments.split_first())
        else {
            return Err(Error::Argument("talon_row is called by Talon only".to_owned()));
        };
        let flags = flags.get().as_integer().unwrap_or(0);
        if flags & BEGINS != 0 {
            rows.begin()?;
        }
        for column in columns {
            rows.column(column.get())?;
        }
        if flags & ENDS != 0 {
            rows.end()?;
        }
        Ok(flags & ENDS != 0)
    }

    /// Runs a statement that hands its rows over, and appends them to `payload` in the key's order, separated by commas;
    /// gives their number, and the key of the last one.
    fn collect(
        &self,
        statement: &mut Statement,
        values: &[ValueRef<'_>],
        key_places: &[usize],
        payload: &mut Vec<u8>,
    ) -> Result<(i64, Vec<Value>)> {
        let mut rows = self.room.take();
        rows.places.clear();
        rows.key_places.clear();
        rows.key_places.extend_from_slice(key_places);
        rows.key.resize(key_places.len(), Value::Null);
        rows.sorted = true;
        rows.text = std::mem::take(payload);
        let start = rows.text.len();
        self.running.replace(Some(rows));
        let result = statement.run(values);
        let mut rows = self.running.take().unwrap_or_default();
        let sorted = if rows.sorted || result.is_err() { Ok(()) } else { rows.sort(start) };
        *payload = std::mem::take(&mut rows.text);
        let collected = (rows.places.len() as i64, rows.key.clone());
        self.room.replace(rows);
        result?;
        sorted?;
        Ok(collected)
    }
}

impl Rows {
    fn begin(&mut self) -> Result<()> {
        if !self.places.is_empty() {
            put(&mut self.text, b",")?;
        }
        self.start = self.text.len();
        self.column = 0;
        put(&mut self.text, b"[")
    }

    #[inline]
    fn column(&mut self, value: ValueRef<'_>) -> Result<()> {
        if self.column > 0 {
            reserve(&mut self.text, 1)?;
            self.text.push(b',');
        }
        write_value(&mut self.text, value)?;
        if let [place] = self.key_places[..] {
            if place == self.column {
                self.key[0] = value.to_value()?;
            }
        } else {
            for (place, key) in self.key_places.iter().zip(&mut self.key) {
                if *place == self.column {
                    *key = value.to_value()?;
                }
            }
        }
        self.column += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        put(&mut self.text, b"]")?;
        let key = match self.key.as_slice() {
            [Value::Integer(integer)] => RowKey::Integer(*integer),
            values => RowKey::Other(gather(values.iter().cloned())?),
        };
        if let Some((last, ..)) = self.places.last() {
            self.sorted &= last.compare(&key).is_lt();
        }
        Ok(self.places.try_push((key, self.start, self.text.len()))?)
    }

    /// Puts the rows from `start` on in the order of their keys: so an image depends neither on which indexes there are
    /// today, nor on collations, nor on the file's encoding.
    fn sort(&mut self, start: usize) -> Result<()> {
        // In place: a stable sort would take memory of its own.
        self.places.sort_unstable_by(|(a, a_start, _), (b, b_start, _)| {
            a.compare(b).then(a_start.cmp(b_start))
        });
        let mut sorted = Vec::new();
        sorted.try_reserve(self.text.len() - start).map_err(|_| Error::Memory)?;
        for (_, from, to) in &self.places {
            if !sorted.is_empty() {
                put(&mut sorted, b",")?;
            }
            put(&mut sorted, &self.text[*from..*to])?;
        }
        self.text.truncate(start);
        put(&mut self.text, &sorted)
    }
}

/// The prepared statements that read a kind's pieces.
pub struct ImageReader {
    collector: Rc<Collector>,
    header: PartReader,
    children: Vec<PartReader>,
    /// Column names of all parts, as `talon_shape` keeps them.
    pub columns: String,
}

struct PartReader {
    is_lines: bool,
    /// What stands before the rows in the payload.
    opening: Vec<u8>,
    statement: Statement,
    key_places: Vec<usize>,
}

impl ImageReader {
    /// Prepares the statements, to be kept for the connection's life.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn prepare(
        connection: Connection,
        schema: &str,
        guard: &Guard,
        collector: &Rc<Collector>,
    ) -> Result<ImageReader> {
        let mut readers = Vec::new();
        for (place, part) in guard.parts.iter().enumerate() {
            let belongs =
                if place == HEADER { guard.header_is() } else { guard.belongs(place, schema) };
            // CASE, because SQLite is free to evaluate the terms of an AND in any order.
            let condition = part.condition.as_deref().unwrap_or("1");
            let sql = format!(
                "SELECT 1 FROM {} WHERE {belongs} AND CASE WHEN ({condition}\n) THEN {} IS NULL ELSE 0 END",
                part.from_clause(schema),
                handing_over(part)
            );
            let name = serde_json::to_string(&part.name).unwrap_or_default();
            readers.push(PartReader {
                is_lines: place == LINES,
                opening: match place {
                    HEADER => b"{\"header\":".to_vec(),
                    _ => format!(",{name}:[").into_bytes(),
                },
                statement: connection.prepare_kept(&sql)?,
                key_places: part.places(&part.key),
            });
        }
        let children = readers.split_off(LINES);
        let header = readers.pop().ok_or(Error::Memory)?;
        let parts = guard.parts.iter().map(|part| (part.name.as_str(), part.columns.as_slice()));
        let columns = shape_columns(parts);
        Ok(ImageReader { collector: Rc::clone(collector), header, children, columns })
    }

    /// Reads the piece with this key into `image`.
    ///
    /// # Errors
    /// What SQLite reports, or [`Error::Memory`].
    pub fn read(&mut self, key: &Key, image: &mut Image) -> Result<Reading> {
        image.payload.clear();
        image.lines = 0;
        image.key = None;
        let (count, own) = self.header.read(&self.collector, key, &mut image.payload)?;
        if self.header.statement.was_reprepared() {
            return Ok(Reading::Stale);
        }
        if count == 0 {
            return Ok(Reading::Absent);
        }
        let own = Key::of(own);
        for child in &mut self.children {
            let (count, _) = child.read(&self.collector, &own, &mut image.payload)?;
            if child.is_lines {
                image.lines = count;
            }
            put(&mut image.payload, b"]")?;
        }
        image.key = Some(own);
        put(&mut image.payload, b"}")?;
        Ok(Reading::Taken)
    }
}

impl PartReader {
    fn read(
        &mut self,
        collector: &Collector,
        key: &Key,
        payload: &mut Vec<u8>,
    ) -> Result<(i64, Vec<Value>)> {
        put(payload, &self.opening)?;
        let mut bound = [ValueRef::Null; MOST_KEY_COLUMNS];
        let values = key.values();
        for (place, value) in bound.iter_mut().zip(values) {
            *place = value.as_ref();
        }
        let bound = &bound[..values.len().min(MOST_KEY_COLUMNS)];
        collector.collect(&mut self.statement, bound, &self.key_places, payload)
    }
}

/// The expression that hands a row over: not NULL, so that the statement itself gives no row.
fn handing_over(part: &Part) -> String {
    let columns: Vec<String> = part
        .columns
        .iter()
        .map(|column| format!("{}.{}", part.alias, quote_identifier(column)))
        .collect();
    let chunks: Vec<&[String]> = columns.chunks(MOST_COLUMNS).collect();
    let calls: Vec<String> = chunks
        .iter()
        .enumerate()
        .map(|(place, chunk)| {
            let begins = if place == 0 { BEGINS } else { 0 };
            let ends = if place + 1 == chunks.len() { ENDS } else { 0 };
            format!("talon_row({}, {})", begins | ends, chunk.join(", "))
        })
        .collect();
    match calls.as_slice() {
        [call] => call.clone(),
        // All but the last give NULL, so all are called, in order.
        calls => format!("coalesce({})", calls.join(", ")),
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

/// The column names of parts, as `talon_shape` keeps them: `{"header":["id",…],"lines":[…]}`.
pub fn shape_columns<'a>(parts: impl Iterator<Item = (&'a str, &'a [String])>) -> String {
    let mut json = String::from("{");
    for (name, columns) in parts {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&serde_json::to_string(name).unwrap_or_default());
        json.push(':');
        json.push_str(&serde_json::to_string(columns).unwrap_or_default());
    }
    json.push('}');
    json
}
