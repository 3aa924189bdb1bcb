//! The session extension on the same work: one session a transaction, its changeset stored before COMMIT, or one session
//! over all of it, which keeps in memory what no crash may happen to.
//!
//! SQLite's bindings declare these functions whether they were compiled in or not; build.rs says which.

use std::{
    ffi::{c_int, c_void},
    ptr, slice,
    time::Instant,
};

use rusqlite::{Connection, ffi};

use crate::{
    floor::now_ms,
    raw::{Bound, RawStatement, check},
    report::Outcome,
    schema,
    sync::{Ends, Trip, Way},
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

/// The changeset of each transaction is stored before it commits, and all are put together when they are sent: a crash
/// takes nothing away.
pub struct Kept<'c> {
    ends: &'c Ends,
    recorder: Recorder<'c>,
    sent: i64,
}

impl<'c> Kept<'c> {
    /// Makes room for the changesets.
    pub fn new(ends: &'c Ends) -> Outcome<Self> {
        // Nobody looks for the changesets of one piece here.
        ends.from.execute_batch(schema::CREATE_CHANGESET)?;
        ends.from.execute_batch("DROP INDEX peer_index")?;
        Ok(Self { ends, recorder: Recorder::new(&ends.from)?, sent: 0 })
    }

    /// All changesets that were not sent yet, as one.
    fn put_together(&mut self) -> Outcome<Changeset> {
        let mut group = Group::new()?;
        let mut asked =
            self.ends.from.prepare("SELECT id, bytes FROM changeset WHERE id > ?1 ORDER BY id")?;
        let mut rows = asked.query([self.sent])?;
        while let Some(row) = rows.next()? {
            self.sent = row.get(0)?;
            group.add(row.get_ref(1)?.as_blob()?)?;
        }
        group.output()
    }
}

impl<'c> Way<'c> for Kept<'c> {
    fn ends(&self) -> &'c Ends {
        self.ends
    }

    fn before_transaction(&mut self) -> Outcome {
        self.recorder.begin()
    }

    fn before_commit(&mut self, piece: i64) -> Outcome {
        self.recorder.store(piece)
    }

    fn after_commit(&mut self) {
        self.recorder.end();
    }

    fn bring(&mut self, trip: &mut Trip) -> Outcome {
        let start = Instant::now();
        let changeset = self.put_together()?;
        trip.pack = start.elapsed().as_secs_f64();
        changeset.apply(&self.ends.to, trip)
    }
}

/// One session has it all in memory until it is sent: a crash, or the end of the process, takes it away.
pub struct Unkept<'c> {
    ends: &'c Ends,
    session: *mut ffi::sqlite3_session,
}

impl<'c> Unkept<'c> {
    /// Between two databases.
    pub fn new(ends: &'c Ends) -> Self {
        Self { ends, session: ptr::null_mut() }
    }

    fn end(&mut self) {
        if !self.session.is_null() {
            // SAFETY: created by `before_work`, deleted once, while the connection is open.
            unsafe { ffi::sqlite3session_delete(self.session) };
            self.session = ptr::null_mut();
        }
    }
}

impl<'c> Way<'c> for Unkept<'c> {
    fn ends(&self) -> &'c Ends {
        self.ends
    }

    fn before_work(&mut self) -> Outcome {
        self.end();
        // SAFETY: the connection outlives the session, which `end` deletes; the name ends in NUL.
        unsafe {
            check(ffi::sqlite3session_create(
                self.ends.from.handle(),
                c"main".as_ptr(),
                &mut self.session,
            ))?;
            check(ffi::sqlite3session_attach(self.session, ptr::null()))
        }
    }

    fn bring(&mut self, trip: &mut Trip) -> Outcome {
        let start = Instant::now();
        let mut changeset = Changeset::default();
        // SAFETY: the session is the one of `before_work`, the out-pointers are live.
        check(unsafe {
            ffi::sqlite3session_changeset(self.session, &mut changeset.length, &mut changeset.bytes)
        })?;
        self.end();
        trip.pack = start.elapsed().as_secs_f64();
        changeset.apply(&self.ends.to, trip)
    }
}

impl Drop for Unkept<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Changesets being put together.
struct Group(*mut ffi::sqlite3_changegroup);

impl Group {
    fn new() -> Outcome<Self> {
        let mut group = Self(ptr::null_mut());
        // SAFETY: the out-pointer is live.
        check(unsafe { ffi::sqlite3changegroup_new(&mut group.0) })?;
        Ok(group)
    }

    fn add(&mut self, changeset: &[u8]) -> Outcome {
        let length = c_int::try_from(changeset.len())?;
        let start = changeset.as_ptr().cast_mut().cast();
        // SAFETY: the group is live; the bytes are only read, before this returns.
        check(unsafe { ffi::sqlite3changegroup_add(self.0, length, start) })
    }

    fn output(self) -> Outcome<Changeset> {
        let mut whole = Changeset::default();
        // SAFETY: the group is live, and the out-pointers are.
        check(unsafe {
            ffi::sqlite3changegroup_output(self.0, &mut whole.length, &mut whole.bytes)
        })?;
        Ok(whole)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: made by `new` and deleted once, or null, which is no group.
        unsafe { ffi::sqlite3changegroup_delete(self.0) };
    }
}

/// A changeset as SQLite allocated it.
struct Changeset {
    length: c_int,
    bytes: *mut c_void,
}

impl Default for Changeset {
    fn default() -> Self {
        Self { length: 0, bytes: ptr::null_mut() }
    }
}

impl Changeset {
    fn apply(&self, to: &Connection, trip: &mut Trip) -> Outcome {
        let start = Instant::now();
        // SAFETY: the changeset has `length` bytes; no filter; the callback takes no notice of its arguments.
        check(unsafe {
            ffi::sqlite3changeset_apply(
                to.handle(),
                self.length,
                self.bytes,
                None,
                Some(give_up),
                ptr::null_mut(),
            )
        })?;
        trip.apply = start.elapsed().as_secs_f64();
        trip.bytes = f64::from(self.length);
        Ok(())
    }
}

impl Drop for Changeset {
    fn drop(&mut self) {
        // SAFETY: SQLite allocated the bytes, or the pointer is null, which is nothing to be freed.
        unsafe { ffi::sqlite3_free(self.bytes) };
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
