//! The session extension on the same work: one session a transaction, its changeset stored before COMMIT, or one session
//! over all of it, which keeps in memory what no crash may happen to.
//!
//! SQLite's bindings declare these functions whether they were compiled in or not; build.rs says which.

use std::{
    ffi::{CStr, c_int, c_void},
    marker::PhantomData,
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

/// A session, on the connection that it watches.
struct Session<'c> {
    raw: *mut ffi::sqlite3_session,
    connection: PhantomData<&'c Connection>,
}

impl<'c> Session<'c> {
    fn new(connection: &'c Connection) -> Outcome<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: the connection outlives the session, which Drop deletes; the name ends in NUL, the out-pointer is live.
        check(unsafe {
            ffi::sqlite3session_create(connection.handle(), c"main".as_ptr(), &mut raw)
        })?;
        Ok(Self { raw, connection: PhantomData })
    }

    /// Watches a table, or all of them.
    fn watch(&self, table: Option<&CStr>) -> Outcome {
        // SAFETY: the session is live; the name ends in NUL, and null means all.
        check(unsafe {
            ffi::sqlite3session_attach(self.raw, table.map_or(ptr::null(), CStr::as_ptr))
        })
    }

    /// What was recorded.
    fn changeset(&self) -> Outcome<Changeset> {
        let mut changeset = Changeset::default();
        // SAFETY: the session is live, and the out-pointers are.
        check(unsafe {
            ffi::sqlite3session_changeset(self.raw, &mut changeset.length, &mut changeset.bytes)
        })?;
        Ok(changeset)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and deleted once, while the connection is open.
        unsafe { ffi::sqlite3session_delete(self.raw) };
    }
}

/// Records the changes of one transaction at a time.
pub struct Recorder<'c> {
    connection: &'c Connection,
    append: RawStatement<'c>,
    session: Option<Session<'c>>,
}

impl<'c> Recorder<'c> {
    /// Prepares the append; the table must exist.
    pub fn new(connection: &'c Connection) -> Outcome<Self> {
        let append = RawStatement::prepare(
            connection,
            "INSERT INTO changeset(piece, at, bytes) VALUES (?1, ?2, ?3)",
        )?;
        Ok(Self { connection, append, session: None })
    }

    /// Starts watching both tables, before the first change.
    pub fn begin(&mut self) -> Outcome {
        self.end();
        let session = Session::new(self.connection)?;
        session.watch(Some(c"sale_piece"))?;
        session.watch(Some(c"sale_line"))?;
        self.session = Some(session);
        Ok(())
    }

    /// Stores what was recorded, inside the host's transaction.
    pub fn store(&mut self, piece: i64) -> Outcome {
        let Some(session) = &self.session else { return Err("nothing was recorded".into()) };
        let changeset = session.changeset()?;
        let values =
            [Bound::Integer(piece), Bound::Integer(now_ms()?), Bound::Blob(changeset.as_bytes()?)];
        self.append.execute(&values)
    }

    /// Stops watching.
    pub fn end(&mut self) {
        self.session = None;
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
    session: Option<Session<'c>>,
}

impl<'c> Unkept<'c> {
    /// Between two databases.
    pub fn new(ends: &'c Ends) -> Self {
        Self { ends, session: None }
    }
}

impl<'c> Way<'c> for Unkept<'c> {
    fn ends(&self) -> &'c Ends {
        self.ends
    }

    fn before_work(&mut self) -> Outcome {
        self.session = None;
        let session = Session::new(&self.ends.from)?;
        session.watch(None)?;
        self.session = Some(session);
        Ok(())
    }

    fn bring(&mut self, trip: &mut Trip) -> Outcome {
        let start = Instant::now();
        let Some(session) = self.session.take() else { return Err("nothing was recorded".into()) };
        let changeset = session.changeset()?;
        drop(session);
        trip.pack = start.elapsed().as_secs_f64();
        changeset.apply(&self.ends.to, trip)
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
    fn as_bytes(&self) -> Outcome<&[u8]> {
        if self.bytes.is_null() {
            return Ok(&[]);
        }
        // SAFETY: SQLite gave `length` bytes, which live as long as this.
        Ok(unsafe { slice::from_raw_parts(self.bytes.cast(), usize::try_from(self.length)?) })
    }

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
