//! Reads the JSON of a deposit: `{"header":{"column":value,…},"lines":[{…},…],"taxes":[{…}]}`, parts and values named and
//! written as `talon_image` gives them.

use super::json_reader::{Reader, Result, Unread, owned};
use crate::sqlite::{Room, RoomForKeys, Value};
use std::collections::HashSet;

/// A row as it was given: columns by name, in the order they came.
pub type Row = Vec<(String, Value)>;

/// A part as it was given.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// `header`, `lines`, or a detail's name.
    pub name: String,
    /// Its rows; the header has one.
    pub rows: Vec<Row>,
}

/// Reads a deposit.
///
/// # Errors
/// [`Unread`]: what is not as it should be, and where.
pub fn read(json: &[u8]) -> Result<Vec<Part>> {
    let mut reader = Reader::new(json);
    if reader.peek() != Some(b'{') {
        return damaged(r#"it is no JSON object: give {"header": {…}, "lines": [{…}, …]}"#);
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut names = Names::default();
    reader.list(b'{', b'}', |reader| {
        let name = owned(reader.name()?)?;
        if !names.take(&name)? {
            return damaged(&format!("{name} is given twice"));
        }
        let mut rows = Vec::new();
        if name == "header" {
            if reader.peek() != Some(b'{') {
                return damaged("header is no object of columns and values");
            }
            rows.try_push(row(reader, "header")?)?;
        } else {
            if reader.peek() != Some(b'[') {
                return damaged(&format!("{name} is no array of rows"));
            }
            reader.list(b'[', b']', |reader| {
                let row_name = format!("{name} row {}", rows.len() + 1);
                if reader.peek() != Some(b'{') {
                    return damaged(&format!("{row_name} is no object of columns and values"));
                }
                Ok(rows.try_push(row(reader, &row_name)?)?)
            })?;
        }
        Ok(parts.try_push(Part { name, rows })?)
    })?;
    reader.end()?;
    Ok(parts)
}

fn row(reader: &mut Reader<'_>, row_name: &str) -> Result<Row> {
    let mut row: Row = Vec::new();
    let mut names = Names::default();
    reader.list(b'{', b'}', |reader| {
        let column = owned(reader.name()?)?;
        // Whatever its case: to SQLite it is the same column.
        if !names.take(&column.to_ascii_lowercase())? {
            return damaged(&format!("{row_name}: {column} is given twice"));
        }
        let value = reader.value().map_err(|unread| match unread {
            Unread::Damaged(problem) => Unread::Damaged(format!("{row_name}, {column}: {problem}")),
            Unread::Memory => Unread::Memory,
        })?;
        Ok(row.try_push((column, value))?)
    })?;
    Ok(row)
}

/// Names of one object, of which there may be many.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    /// False when it was there already.
    fn take(&mut self, name: &str) -> Result<bool> {
        self.0.make_room(1)?;
        Ok(self.0.insert(name.to_owned()))
    }
}

fn damaged<T>(problem: &str) -> Result<T> {
    Err(Unread::Damaged(problem.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_with_their_rows() {
        let json =
            br#" {"header": {"id": 1, "name": "x"}, "lines": [{"id": 7}, {}], "aside": []} "#;
        let parts = read(json).unwrap();
        assert_eq!(parts[0].rows[0][1], ("name".to_owned(), Value::text("x")));
        assert_eq!(parts[1].rows.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
        assert!(parts[2].rows.is_empty());
    }

    #[test]
    fn a_wrong_shape_is_named() {
        for (json, problem) in [
            ("[]", "it is no JSON object: give {\"header\": {…}, \"lines\": [{…}, …]}"),
            (r#"{"header":[1]}"#, "header is no object of columns and values"),
            (r#"{"lines":{}}"#, "lines is no array of rows"),
            (r#"{"lines":[{},7]}"#, "lines row 2 is no object of columns and values"),
            (r#"{"lines":[],"lines":[]}"#, "lines is given twice"),
            (r#"{"lines":[{"a":1,"a":2}]}"#, "lines row 1: a is given twice"),
            (r#"{"lines":[{"a":1,"A":2}]}"#, "lines row 1: A is given twice"),
            (r#"{"header":{"a":true}}"#, "header, a: a value is wanted at byte 15, not \"true}}\""),
            (r#"{"header":{}} x"#, "the end is wanted at byte 14, not \"x\""),
        ] {
            assert_eq!(read(json.as_bytes()), Err(Unread::Damaged(problem.to_owned())), "{json}");
        }
    }
}
