//! What nobody can beat with whole images: no trigger, no look-up, no state. Before COMMIT the benchmark,
//! which knows what it has changed, reads the piece back, encodes it, hashes it and appends it.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use talon::storage::payload;

use crate::{
    raw::{Bound, RawStatement, Row},
    report::Outcome,
};

/// The statements and the one buffer that every image is written into.
pub struct Floor<'c> {
    header: RawStatement<'c>,
    lines: RawStatement<'c>,
    append: RawStatement<'c>,
    json: Vec<u8>,
}

impl<'c> Floor<'c> {
    /// Prepares the reading and the append; the table must exist.
    pub fn new(connection: &'c Connection) -> Outcome<Self> {
        let prepare = |sql| RawStatement::prepare(connection, sql);
        Ok(Self {
            header: prepare("SELECT * FROM sale_piece WHERE id = ?1")?,
            // The index on sale_id ends in the key: this order costs nothing.
            lines: prepare("SELECT * FROM sale_line WHERE sale_id = ?1 ORDER BY id")?,
            append: prepare(
                "INSERT INTO floor_snapshot(piece, taken_at, lines, hash, payload) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            json: Vec::with_capacity(32 * 1024),
        })
    }

    /// Stores the image of one piece, inside the host's transaction.
    pub fn snapshot(&mut self, piece: i64) -> Outcome {
        let json = &mut self.json;
        json.clear();
        json.extend_from_slice(b"{\"header\":[");
        self.header.bind_key(piece)?;
        self.header.rows(|row| write_row(json, row))?;
        end_rows(json);
        json.extend_from_slice(b",\"lines\":[");
        self.lines.bind_key(piece)?;
        let lines = self.lines.rows(|row| write_row(json, row))?;
        end_rows(json);
        json.push(b'}');
        let hash = blake3::hash(json);
        self.append.execute(&[
            Bound::Integer(piece),
            Bound::Integer(now_ms()?),
            Bound::Integer(i64::from(lines)),
            Bound::Blob(hash.as_bytes()),
            Bound::Text(json),
        ])
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> Outcome<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// Appends `[…],`: the very text that the extension stores; the last comma is taken back by `end_rows`.
fn write_row(json: &mut Vec<u8>, row: &Row<'_>) -> Outcome {
    payload::write_row(json, row.values())?;
    json.push(b',');
    Ok(())
}

fn end_rows(json: &mut Vec<u8>) {
    if json.last() == Some(&b',') {
        json.pop();
    }
    json.push(b']');
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::Floor;

    #[test]
    fn an_image_is_json_that_sqlite_reads_back() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(crate::schema::CREATE_SHOP).unwrap();
        connection.execute_batch(crate::schema::CREATE_FLOOR).unwrap();
        connection
            .execute_batch(
                "INSERT INTO sale_piece VALUES (7, 'F\"7\\', '2026-11-21', 1, 2, 'F', 12.5, 0, NULL, x'00ff');
                 INSERT INTO sale_line VALUES (1, 7, 1, 5, 'é' || char(10), 2.0, 1e300, 0, 20, 3);
                 INSERT INTO sale_line VALUES (2, 7, 2, 5, '', 2, 3, 4, 5, 6);",
            )
            .unwrap();
        Floor::new(&connection).unwrap().snapshot(7).unwrap();
        let read =
            |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(
            read("SELECT payload FROM floor_snapshot"),
            concat!(
                r#"{"header":[[7,"F\"7\\","2026-11-21",1,2,"F",12.5,0,null,{"blob":"00ff"}]],"#,
                r#""lines":[[1,7,1,5,"é\n",2.0,1e+300,0.0,20.0,3.0],[2,7,2,5,"",2.0,3.0,4.0,5.0,6.0]]}"#
            )
        );
        assert_eq!(read("SELECT json_valid(payload) || lines FROM floor_snapshot"), "12");
    }
}
