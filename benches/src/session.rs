//! The session extension on the same work: one session a transaction, its changeset stored before COMMIT.
//!
//! SQLite's bindings declare these functions whether they were compiled in or not; build.rs says which.

use std::{
    ffi::{c_int, c_void},
    path::Path,
    ptr, slice,
    time::Instant,
};

use rusqlite::{Connection, ffi};

use crate::{
    floor::now_ms,
    raw::{Bound, RawStatement, check},
    report::Outcome,
    schema,
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

/// Two databases, the second one brought up to date by changesets of the first.
pub struct Pair {
    from: Connection,
    to: Connection,
}

impl Pair {
    /// Makes both, empty.
    pub fn new(folder: &Path) -> Outcome<Self> {
        let open = |name: &str| -> Outcome<Connection> {
            let connection = schema::open(&folder.join(name))?;
            connection.execute_batch(schema::CREATE_SHOP)?;
            Ok(connection)
        };
        Ok(Self { from: open("recorded.db")?, to: open("applied.db")? })
    }

    /// Records what `work` does in one session, and applies its changeset: seconds of recording, making and applying
    /// it, and its bytes.
    pub fn carry(&self, work: impl FnOnce(&Connection) -> Outcome) -> Outcome<[f64; 4]> {
        let mut session = ptr::null_mut();
        // SAFETY: the connection outlives the session; the names end in NUL.
        unsafe {
            check(ffi::sqlite3session_create(self.from.handle(), c"main".as_ptr(), &mut session))?;
            check(ffi::sqlite3session_attach(session, ptr::null()))?;
        }
        let start = Instant::now();
        let done = work(&self.from);
        let record = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let mut length: c_int = 0;
        let mut changeset = ptr::null_mut();
        // SAFETY: as in `store`; the session is deleted once.
        let made = unsafe {
            let made = check(ffi::sqlite3session_changeset(session, &mut length, &mut changeset));
            ffi::sqlite3session_delete(session);
            made
        };
        let pack = start.elapsed().as_secs_f64();
        let start = Instant::now();
        // SAFETY: the changeset has `length` bytes and is freed after; no filter; the callback takes no notice of its arguments.
        let applied = unsafe {
            let applied = check(ffi::sqlite3changeset_apply(
                self.to.handle(),
                length,
                changeset,
                None,
                Some(give_up),
                ptr::null_mut(),
            ));
            ffi::sqlite3_free(changeset);
            applied
        };
        let apply = start.elapsed().as_secs_f64();
        done.and(made).and(applied)?;
        Ok([record, pack, apply, f64::from(length)])
    }
}

/// Both databases hold the same: a conflict is an error of the bench.
unsafe extern "C" fn give_up(
    _: *mut c_void,
    _: c_int,
    _: *mut ffi::sqlite3_changeset_iter,
) -> c_int {
    ffi::SQLITE_CHANGESET_ABORT
}
