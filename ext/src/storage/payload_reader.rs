//! Reads back the JSON that `payload` writes.

use super::json_reader::{Reader, Result, owned};
use crate::sqlite::{Room, Value};

/// The rows of a part.
pub type PartRows = Vec<Vec<Value>>;

/// A payload read back: the parts by name, in their order, each with its rows. The header has one row.
pub type Parts = Vec<(String, PartRows)>;

/// Columns that room is made for where no row has told how many there are.
const COLUMNS_EXPECTED: usize = 16;

/// Reads a payload.
///
/// # Errors
/// [`super::json_reader::Unread`].
pub fn read(payload: &[u8]) -> Result<Parts> {
    let mut reader = Reader::new(payload);
    let mut parts = Vec::new();
    reader.list(b'{', b'}', |reader| {
        let name = owned(reader.name()?)?;
        let mut rows = Vec::new();
        reader.part_over(&name, &mut rows)?;
        parts.try_push((name, rows))?;
        Ok(())
    })?;
    reader.end()?;
    Ok(parts)
}

/// Reads a payload over the rows of another one, whose memory is used again. `place` says where among `parts` the rows of
/// a part go by its name; those of others are passed over. A place that nothing goes to is empty then.
///
/// # Errors
/// [`super::json_reader::Unread`].
pub fn read_over(
    payload: &[u8],
    parts: &mut [PartRows],
    place: impl Fn(&str) -> Option<usize>,
) -> Result<()> {
    let mut reader = Reader::new(payload);
    let mut is_filled = Vec::new();
    is_filled.make_room(parts.len())?;
    is_filled.resize(parts.len(), false);
    reader.list(b'{', b'}', |reader| {
        let name = reader.name()?;
        let place = place(&name).filter(|place| is_filled.get(*place) == Some(&false));
        let Some(place) = place else { return reader.raw().map(drop) };
        is_filled[place] = true;
        reader.part_over(&name, &mut parts[place])
    })?;
    let empty = parts.iter_mut().zip(is_filled).filter(|(_, is_filled)| !is_filled);
    empty.for_each(|(rows, _)| rows.clear());
    reader.end()
}

/// Reads one row.
///
/// # Errors
/// [`super::json_reader::Unread`].
pub fn read_row(json: &[u8]) -> Result<Vec<Value>> {
    let mut reader = Reader::new(json);
    let mut row = Vec::new();
    reader.row_over(&mut row, 0)?;
    reader.end()?;
    Ok(row)
}

impl Reader<'_> {
    /// A part of this name, over the rows of another one.
    fn part_over(&mut self, name: &str, rows: &mut PartRows) -> Result<()> {
        let (mut count, mut columns) = (0, COLUMNS_EXPECTED);
        let mut row = |reader: &mut Self| {
            if count == rows.len() {
                rows.try_push(Vec::new())?;
            }
            let row = &mut rows[count];
            reader.row_over(row, columns)?;
            (count, columns) = (count + 1, row.len());
            Ok(())
        };
        match name {
            "header" => row(self)?,
            _ => self.list(b'[', b']', row)?,
        }
        rows.truncate(count);
        Ok(())
    }

    /// A row that probably has so many columns, over another one.
    fn row_over(&mut self, row: &mut Vec<Value>, columns: usize) -> Result<()> {
        let mut count = 0;
        row.make_room(columns.saturating_sub(row.len()))?;
        self.list(b'[', b']', |reader| {
            match row.get_mut(count) {
                Some(value) => reader.value_over(value)?,
                None => row.try_push(reader.value()?)?,
            }
            count += 1;
            Ok(())
        })?;
        row.truncate(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::json_reader::Unread;

    fn problem(json: &str) -> String {
        match read(json.as_bytes()) {
            Err(Unread::Damaged(problem)) => problem,
            other => panic!("{other:?} from {json}"),
        }
    }

    #[test]
    fn parts_keep_their_order_and_the_header_is_one_row() {
        let parts = read(br#" {"header": [1 , "A"], "lines":[[1],[2]],"aside":[]} "#).unwrap();
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["header", "lines", "aside"]);
        assert_eq!(parts[0].1, [[Value::Integer(1), Value::text("A")]]);
        assert_eq!(parts[1].1.len(), 2);
    }

    #[test]
    fn nothing_is_left_of_what_is_read_over() {
        let mut parts = [Vec::new(), Vec::new()];
        let place = |name: &str| ["header", "lines"].iter().position(|known| *known == name);
        let first = br#"{"header":[1,"A","x"],"lines":[[1,"long"],[2,"b"],[3,null]]}"#;
        read_over(first, &mut parts, place).unwrap();
        assert_eq!(parts[1].len(), 3);
        let kept = parts[1][0][1].clone();
        let second = br#"{"aside":[[1]],"lines":[["c\n","d"]],"header":["B",2],"lines":[[9]]}"#;
        read_over(second, &mut parts, place).unwrap();
        assert_eq!(parts[0], [[Value::text("B"), Value::Integer(2)]]);
        assert_eq!(parts[1], [[Value::text("c\n"), Value::text("d")]]);
        assert_eq!(kept, Value::text("long"));
        read_over(br#"{"header":["e\u0000","f","g"]}"#, &mut parts, place).unwrap();
        assert_eq!(parts[0], [[Value::text("e\0"), Value::text("f"), Value::text("g")]]);
        assert!(parts[1].is_empty());
        assert!(read_over(br#"{"header":["\x"]}"#, &mut parts, place).is_err());
    }

    #[test]
    fn what_is_no_payload_is_refused_with_the_place() {
        assert_eq!(problem(""), "'{' is wanted at byte 0, not its end");
        assert_eq!(problem(r#"{"lines":7}"#), "'[' is wanted at byte 9, not \"7}\"");
        assert_eq!(problem(r#"{"lines":[7]}"#), "'[' is wanted at byte 10, not \"7]}\"");
        assert_eq!(
            problem(r#"{"lines":[[true]]}"#),
            "a value is wanted at byte 11, not \"true]]}\""
        );
        assert!(problem(r#"{"lines":[[{"blob":"x"}]]}"#).starts_with("a tagged value is wanted"));
        assert!(problem(r#"{"lines":[[{"blob":"x","a":1}]]}"#).starts_with("'}' is wanted"));
        assert!(problem(r#"{"lines":[]} x"#).starts_with("the end is wanted"));
        assert!(problem(r#"{"lines":[["a"#).starts_with("the end of a text is wanted"));
        assert!(problem(r#"{"lines":[["a\"#).starts_with("the end of a text is wanted"));
        assert!(problem(r#"{"lines":[[1],]}"#).starts_with("'[' is wanted"));
    }
}
