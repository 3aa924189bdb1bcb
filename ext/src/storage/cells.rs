//! Picks certain cells out of a payload's text, and puts other numbers in their places, without reading all the rest.

use super::image::compare_keys;
use super::json_reader::{Reader, Result, Unread};
use super::payload::{put, write_value};
use crate::error::Error;
use crate::sqlite::{Room, RoomForKeys, Value};
use std::collections::HashMap;
use std::ops::Range;

/// Which columns of a part are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The part's name.
    pub part: String,
    /// Their places, ascending.
    pub columns: Vec<usize>,
    /// Places of the columns that its rows are in the order of, all among those wanted.
    pub key: Vec<usize>,
}

/// A cell of a payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Place of its part among those wanted.
    pub part: usize,
    /// Its row in that part, from 0.
    pub row: usize,
    /// Its column.
    pub column: usize,
    /// What stands there.
    pub value: Value,
    text: Range<usize>,
}

/// The cells wanted, in the order of the text, and where the rows are that they stand in.
#[derive(Debug, Default)]
pub struct Cells {
    /// The cells.
    pub cells: Vec<Cell>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    part: usize,
    place: usize,
    cells: Range<usize>,
    text: Range<usize>,
}

/// Finds the cells.
///
/// # Errors
/// [`Unread`]: the text is no payload.
pub fn find(payload: &[u8], wanted: &[Wanted], found: &mut Cells) -> Result<()> {
    found.cells.clear();
    found.rows.clear();
    let mut reader = Reader::new(payload);
    reader.list(b'{', b'}', |reader| {
        let name = reader.string()?;
        reader.want(b':')?;
        let place = wanted.iter().position(|wanted| *wanted.part == *name);
        let Some(part) = place.filter(|part| !wanted[*part].columns.is_empty()) else {
            reader.raw()?;
            return Ok(());
        };
        let columns = &wanted[part].columns;
        if name == "header" {
            return row(reader, part, 0, columns, found);
        }
        let mut at = 0;
        reader.list(b'[', b']', |reader| {
            row(reader, part, at, columns, found)?;
            at += 1;
            Ok(())
        })
    })?;
    reader.end()
}

fn row(
    reader: &mut Reader<'_>,
    part: usize,
    row: usize,
    columns: &[usize],
    found: &mut Cells,
) -> Result<()> {
    reader.peek();
    let (start, first) = (reader.place(), found.cells.len());
    let (mut column, mut next) = (0, 0);
    reader.list(b'[', b']', |reader| {
        if columns.get(next) == Some(&column) {
            next += 1;
            reader.peek();
            let start = reader.place();
            let value = reader.value()?;
            let text = start..reader.place();
            found.cells.try_push(Cell { part, row, column, value, text })?;
        } else {
            reader.raw()?;
        }
        column += 1;
        Ok(())
    })?;
    if next < columns.len() {
        return Err(Unread::Damaged(format!("a row has {column} values, which is too few")));
    }
    let row =
        Row { part, place: row, cells: first..found.cells.len(), text: start..reader.place() };
    Ok(found.rows.try_push(row)?)
}

impl Cells {
    /// Appends the payload with these values in the places of the cells, the rows of each part in the order of their keys
    /// as they are then.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn put_in(
        &self,
        payload: &[u8],
        wanted: &[Wanted],
        values: &[Value],
        text: &mut Vec<u8>,
    ) -> std::result::Result<(), Error> {
        let mut at = 0;
        let mut rows = self.rows.as_slice();
        while let Some(first) = rows.first() {
            let count = rows.iter().take_while(|row| row.part == first.part).count();
            let (part, rest) = rows.split_at(count);
            rows = rest;
            for (place, row) in part.iter().zip(self.in_order(part, wanted, values)?) {
                put(text, &payload[at..place.text.start])?;
                at = place.text.end;
                let mut within = row.text.start;
                for cell in row.cells.clone() {
                    let place = &self.cells[cell].text;
                    put(text, &payload[within..place.start])?;
                    write_value(text, values[cell].as_ref())?;
                    within = place.end;
                }
                put(text, &payload[within..row.text.end])?;
            }
        }
        put(text, &payload[at..])
    }
}

impl Cells {
    /// Where [`Cells::put_in`] puts each row: by its part and place before, its place then.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn places(
        &self,
        wanted: &[Wanted],
        values: &[Value],
    ) -> std::result::Result<HashMap<(usize, usize), usize>, Error> {
        let mut places = HashMap::new();
        places.make_room(self.rows.len())?;
        for part in self.rows.chunk_by(|a, b| a.part == b.part) {
            for (place, row) in self.in_order(part, wanted, values)?.into_iter().enumerate() {
                places.insert((row.part, row.place), place);
            }
        }
        Ok(places)
    }

    /// The rows of one part in the order of the keys that they are to have.
    fn in_order<'r>(
        &self,
        part: &'r [Row],
        wanted: &[Wanted],
        values: &[Value],
    ) -> std::result::Result<Vec<&'r Row>, Error> {
        let mut keyed = Vec::new();
        keyed.make_room(part.len())?;
        for row in part {
            let mut key = Vec::new();
            for column in &wanted[row.part].key {
                let mut cells = row.cells.clone();
                let cell = cells.find(|cell| self.cells[*cell].column == *column);
                key.extend(cell.map(|cell| values[cell].clone()));
            }
            keyed.push((key, row));
        }
        keyed.sort_unstable_by(|(a, first), (b, second)| {
            compare_keys(a, b).then(first.text.start.cmp(&second.text.start))
        });
        let mut rows = Vec::new();
        rows.make_room(keyed.len())?;
        rows.extend(keyed.into_iter().map(|(_, row)| row));
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &[u8] =
        br#"{"header":[7,"a,]\"",3],"lines":[[1,7,"x"],[2,7,null]],"aside":[[5]]}"#;

    fn wanted() -> Vec<Wanted> {
        let wanted = |part: &str, columns: &[usize], key: &[usize]| Wanted {
            part: part.to_owned(),
            columns: columns.to_vec(),
            key: key.to_vec(),
        };
        vec![wanted("header", &[0, 2], &[0]), wanted("lines", &[0, 1], &[0])]
    }

    #[test]
    fn wanted_cells_are_found_and_replaced_and_the_rest_stays_byte_for_byte() {
        let mut cells = Cells::default();
        find(PAYLOAD, &wanted(), &mut cells).unwrap();
        let values: Vec<Value> = cells.cells.iter().map(|cell| cell.value.clone()).collect();
        let integers = |list: &[i64]| list.iter().map(|n| Value::Integer(*n)).collect::<Vec<_>>();
        assert_eq!(values, integers(&[7, 3, 1, 7, 2, 7]));
        let mut text = Vec::new();
        cells.put_in(PAYLOAD, &wanted(), &values, &mut text).unwrap();
        assert_eq!(text, PAYLOAD);
        text.clear();
        cells.put_in(PAYLOAD, &wanted(), &integers(&[70, 3, 11, 70, 2, 70]), &mut text).unwrap();
        let moved = r#"{"header":[70,"a,]\"",3],"lines":[[2,70,null],[11,70,"x"]],"aside":[[5]]}"#;
        assert_eq!(String::from_utf8(text).unwrap(), moved);
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        for bad in ["", "{", r#"{"header":[1]}"#, r#"{"header":7}"#, r#"{"header":[1,2,3]} x"#] {
            assert!(find(bad.as_bytes(), &wanted(), &mut Cells::default()).is_err(), "{bad}");
        }
    }
}
