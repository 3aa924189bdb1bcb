//! The session extension on the same work: one session a transaction, its changeset stored before COMMIT.
//!
//! SQLite's bindings declare these functions whether they were compiled in or not; build.rs says which.

use std::{ffi::c_int, ptr, slice};

use rusqlite::{Connection, ffi};

use crate::{
    floor::now_ms,
    raw::{Bound, RawStatement, check},
    report::Outcome,
};

/// Records the changes of one transaction at a time.
pub struct Recorder<'c> {
    connection: &'c Connection,
    append: RawStatement<'c>,
    session: *mut ffi::sqlite3_session,
}

impl<'c> Recorder<'c> {
    /// Prepares the append; the table must exist.
    pub fn new(connection: &'c Connection) -> Outcome<Self> {
        let append = RawStatement::prepare(
            connection,
            "INSERT INTO changeset(piece, at, bytes) VALUES (?1, ?2, ?3)",
        )?;
        Ok(Self { connection, append, session: ptr::null_mut() })
    }

    /// Starts watching both tables, before the first change.
    pub fn begin(&mut self) -> Outcome {
        self.end();
        // SAFETY: the connection outlives the session, which `end` deletes; the names end in NUL.
        unsafe {
            check(ffi::sqlite3session_create(
                self.connection.handle(),
                c"main".as_ptr(),
                &mut self.session,
            ))?;
            check(ffi::sqlite3session_attach(self.session, c"sale_piece".as_ptr()))?;
            check(ffi::sqlite3session_attach(self.session, c"sale_line".as_ptr()))
        }
    }

    /// Stores what was recorded, inside the host's transaction.
    pub fn store(&mut self, piece: i64) -> Outcome {
        let mut length: c_int = 0;
        let mut changeset = ptr::null_mut();
        // SAFETY: `begin` made the session; both out-pointers are live. On success SQLite gives `length` bytes,
        // which are freed here after the insert has read them.
        unsafe {
            check(ffi::sqlite3session_changeset(self.session, &mut length, &mut changeset))?;
            let bytes: &[u8] = if changeset.is_null() {
                &[]
            } else {
                slice::from_raw_parts(changeset.cast(), usize::try_from(length)?)
            };
            let stored = self.append.execute(&[
                Bound::Integer(piece),
                Bound::Integer(now_ms()?),
                Bound::Blob(bytes),
            ]);
            ffi::sqlite3_free(changeset);
            stored
        }
    }

    /// Stops watching.
    pub fn end(&mut self) {
        if !self.session.is_null() {
            // SAFETY: created by `begin`, deleted once, while the connection is open.
            unsafe { ffi::sqlite3session_delete(self.session) };
            self.session = ptr::null_mut();
        }
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
