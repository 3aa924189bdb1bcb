//! Statements on SQLite's own C interface, for the floor and for storing changesets.
//!
//! rusqlite reads a column with two typed calls, each of which looks the column up again; the floor has
//! to read as fast as anybody can, so it takes `sqlite3_column_value` once and asks the value from there.

use std::{ffi::c_int, marker::PhantomData, ptr::NonNull, slice};

use rusqlite::{Connection, ffi};

use talon::sqlite::ValueRef;

use crate::report::Outcome;

/// A parameter that is only borrowed while the statement runs.
pub enum Bound<'a> {
    Integer(i64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

/// A prepared statement that cannot outlive its connection.
pub struct RawStatement<'c> {
    pointer: NonNull<ffi::sqlite3_stmt>,
    connection: PhantomData<&'c Connection>,
}

impl<'c> RawStatement<'c> {
    /// Prepares one statement, to be kept for long.
    pub fn prepare(connection: &'c Connection, sql: &str) -> Outcome<Self> {
        let mut pointer = std::ptr::null_mut();
        // SAFETY: the handle is open for as long as `connection` is borrowed; the text is passed with its length.
        let code = unsafe {
            ffi::sqlite3_prepare_v3(
                connection.handle(),
                sql.as_ptr().cast(),
                c_int::try_from(sql.len())?,
                ffi::SQLITE_PREPARE_PERSISTENT,
                &mut pointer,
                std::ptr::null_mut(),
            )
        };
        match NonNull::new(pointer) {
            Some(pointer) if code == ffi::SQLITE_OK => {
                Ok(Self { pointer, connection: PhantomData })
            }
            _ => Err(format!("{sql}: {}", ffi::code_to_str(code)).into()),
        }
    }

    /// Binds the first parameter, for statements that have one.
    pub fn bind_key(&mut self, key: i64) -> Outcome {
        // SAFETY: the statement is live and not running: `rows` resets it.
        check(unsafe { ffi::sqlite3_bind_int64(self.pointer.as_ptr(), 1, key) })
    }

    /// Calls `each` for every row, then resets.
    pub fn rows(&mut self, mut each: impl FnMut(&Row<'_>) -> Outcome) -> Outcome<u32> {
        let mut written = Ok(());
        let mut rows = 0;
        // SAFETY: the statement is live; a row is read only between two steps.
        let columns = unsafe { ffi::sqlite3_column_count(self.pointer.as_ptr()) };
        let code = loop {
            // SAFETY: as above.
            match unsafe { ffi::sqlite3_step(self.pointer.as_ptr()) } {
                ffi::SQLITE_ROW => {
                    written = each(&Row { pointer: self.pointer, columns, statement: PhantomData });
                    rows += 1;
                    if written.is_err() {
                        break ffi::SQLITE_DONE;
                    }
                }
                code => break code,
            }
        };
        // SAFETY: as above.
        unsafe { ffi::sqlite3_reset(self.pointer.as_ptr()) };
        written?;
        if code == ffi::SQLITE_DONE { Ok(rows) } else { check(code).map(|()| rows) }
    }

    /// Runs a statement that returns no row.
    pub fn execute(&mut self, values: &[Bound<'_>]) -> Outcome {
        for (index, value) in (1..).zip(values) {
            // SAFETY: the bytes live until this function has stepped, reset and cleared the bindings, so that
            // SQLite need not copy them.
            check(unsafe { self.bind(index, value) })?;
        }
        let rows = self.rows(|_| Ok(()));
        // SAFETY: the statement is live and reset; after this it holds no pointer to the values.
        unsafe { ffi::sqlite3_clear_bindings(self.pointer.as_ptr()) };
        rows.map(|_| ())
    }

    /// # Safety
    /// The value's bytes must live until the bindings are cleared.
    unsafe fn bind(&mut self, index: c_int, value: &Bound<'_>) -> c_int {
        let statement = self.pointer.as_ptr();
        // SAFETY: the statement is live; the caller keeps the bytes.
        unsafe {
            match value {
                Bound::Integer(integer) => ffi::sqlite3_bind_int64(statement, index, *integer),
                Bound::Text(text) => ffi::sqlite3_bind_text64(
                    statement,
                    index,
                    text.as_ptr().cast(),
                    text.len() as u64,
                    ffi::SQLITE_STATIC(),
                    ffi::SQLITE_UTF8 as u8,
                ),
                Bound::Blob(blob) => ffi::sqlite3_bind_blob64(
                    statement,
                    index,
                    blob.as_ptr().cast(),
                    blob.len() as u64,
                    ffi::SQLITE_STATIC(),
                ),
            }
        }
    }
}

impl Drop for RawStatement<'_> {
    fn drop(&mut self) {
        // SAFETY: prepared by us, finalized once.
        unsafe { ffi::sqlite3_finalize(self.pointer.as_ptr()) };
    }
}

/// The row a statement stands on.
pub struct Row<'s> {
    pointer: NonNull<ffi::sqlite3_stmt>,
    columns: c_int,
    statement: PhantomData<&'s ()>,
}

impl Row<'_> {
    /// The values from left to right.
    pub fn values(&self) -> impl Iterator<Item = ValueRef<'_>> {
        (0..self.columns).map(|column| {
            // SAFETY: the statement stands on a row and the column exists. The value is read by the thread
            // that owns the connection, before the next step.
            unsafe { read(ffi::sqlite3_column_value(self.pointer.as_ptr(), column)) }
        })
    }
}

/// # Safety
/// `value` must be a live value; what is returned must not outlive its row.
unsafe fn read<'r>(value: *mut ffi::sqlite3_value) -> ValueRef<'r> {
    // SAFETY: by the contract above; `bytes` is asked after the pointer, as SQLite wants it.
    unsafe {
        match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_INTEGER => ValueRef::Integer(ffi::sqlite3_value_int64(value)),
            ffi::SQLITE_FLOAT => ValueRef::Real(ffi::sqlite3_value_double(value)),
            ffi::SQLITE_TEXT => ValueRef::Text(bytes(ffi::sqlite3_value_text(value), value)),
            ffi::SQLITE_BLOB => ValueRef::Blob(bytes(ffi::sqlite3_value_blob(value).cast(), value)),
            _ => ValueRef::Null,
        }
    }
}

/// # Safety
/// `start` must be the text or blob of the live `value`.
unsafe fn bytes<'r>(start: *const u8, value: *mut ffi::sqlite3_value) -> &'r [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: SQLite gives as many bytes at `start` as it says.
    unsafe { slice::from_raw_parts(start, ffi::sqlite3_value_bytes(value) as usize) }
}

/// Pages that this connection's cache has written so far. In WAL mode each is one frame, as long as a transaction
/// fits into the cache: a page that had to leave it early and changes again overwrites its frame.
pub fn pages_written(connection: &Connection) -> Outcome<i64> {
    let (mut now, mut unused) = (0, 0);
    // SAFETY: the handle is open; both out-pointers are live.
    check(unsafe {
        ffi::sqlite3_db_status(
            connection.handle(),
            ffi::SQLITE_DBSTATUS_CACHE_WRITE,
            &mut now,
            &mut unused,
            0,
        )
    })?;
    Ok(i64::from(now))
}

/// Turns a result code into an error.
pub fn check(code: c_int) -> Outcome {
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(ffi::code_to_str(code).into()) }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::pages_written;

    #[test]
    fn the_pages_counted_are_the_frames_of_the_wal() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("a.db")).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
            .unwrap();
        let before = pages_written(&connection).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t(a, b); CREATE INDEX i ON t(b);
                 WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
                 INSERT INTO t SELECT i, hex(randomblob(500)) FROM n;
                 DELETE FROM t WHERE a % 2; UPDATE t SET b = 1 WHERE a = 4;",
            )
            .unwrap();
        let counted = pages_written(&connection).unwrap() - before;
        let bytes = std::fs::metadata(folder.path().join("a.db-wal")).unwrap().len();
        assert_eq!(counted, i64::try_from((bytes - 32) / (4096 + 24)).unwrap());
    }
}
