//! Prepared statements.

use super::connection::Connection;
use super::memory::try_gather;
use super::value::{Value, ValueRef, value_ref};
use super::{Failure, code};
use core::ffi::{CStr, c_int};
use sqlite3ext_sys as sys;
use std::ptr::NonNull;

/// A prepared statement, finalized when dropped.
pub struct Statement {
    raw: NonNull<sys::sqlite3_stmt>,
    connection: Connection,
    /// Kept across calls: by the time it is dropped the host may have finalized it itself, as some do with everything
    /// that `sqlite3_next_stmt` shows before they close.
    kept: bool,
    reprepared_seen: c_int,
}

impl Statement {
    pub(super) fn prepare(
        connection: Connection,
        sql: &str,
        kept: bool,
    ) -> Result<Statement, Failure> {
        let flags = if kept { sys::SQLITE_PREPARE_PERSISTENT } else { 0 };
        let length = c_int::try_from(sql.len()).map_err(|_| Failure::no_memory())?;
        let _lifted = connection.lift_limits();
        let mut raw = std::ptr::null_mut();
        // SAFETY: the text is passed with its length, the connection is open, and `raw` receives the statement.
        let result = unsafe {
            sys::sqlite3_prepare_v3(
                connection.raw(),
                sql.as_ptr().cast(),
                length,
                flags,
                &mut raw,
                std::ptr::null_mut(),
            )
        };
        if result != code::OK {
            return Err(connection.failure(result));
        }
        let raw =
            NonNull::new(raw).ok_or_else(|| Failure::new(format!("no statement in {sql:?}")))?;
        Ok(Statement { raw, connection, kept, reprepared_seen: 0 })
    }

    /// Binds parameter `index`, counted from 1. Text and blobs are not copied: they must stay until the next step,
    /// and [`Statement::query`] and [`Statement::run`], which bind and step in one call, are what keeps that true.
    ///
    /// # Safety
    /// The bytes behind `value` live until the statement is stepped for the last time or bound anew.
    #[inline]
    unsafe fn bind(&mut self, index: c_int, value: ValueRef<'_>) -> Result<(), Failure> {
        let raw = self.raw.as_ptr();
        // SAFETY: a null destructor is SQLITE_STATIC; the caller keeps the bytes alive.
        let result = unsafe {
            match value {
                ValueRef::Null => sys::sqlite3_bind_null(raw, index),
                ValueRef::Integer(integer) => sys::sqlite3_bind_int64(raw, index, integer),
                ValueRef::Real(real) => sys::sqlite3_bind_double(raw, index, real),
                ValueRef::Text(text) => sys::sqlite3_bind_text64(
                    raw,
                    index,
                    start(text).cast(),
                    text.len() as u64,
                    None,
                    sys::SQLITE_UTF8 as u8,
                ),
                ValueRef::Blob(blob) => sys::sqlite3_bind_blob64(
                    raw,
                    index,
                    start(blob).cast(),
                    blob.len() as u64,
                    None,
                ),
            }
        };
        if result == code::OK { Ok(()) } else { Err(self.connection.failure(result)) }
    }

    /// Runs the statement to its end, ignoring rows, and resets it.
    ///
    /// # Errors
    /// What SQLite reports; the statement is reset all the same.
    pub fn run(&mut self, values: &[ValueRef<'_>]) -> Result<(), Failure> {
        let mut rows = self.query(values)?;
        while rows.next()? {}
        Ok(())
    }

    /// Runs the statement to its end with values of one's own.
    ///
    /// # Errors
    /// What SQLite reports; the statement is reset all the same.
    pub fn run_values(&mut self, values: &[super::Value]) -> Result<(), Failure> {
        for (index, value) in values.iter().enumerate() {
            // SAFETY: the values outlive this call, which resets the statement before it returns.
            if let Err(failure) = unsafe { self.bind(index as c_int + 1, value.as_ref()) } {
                self.reset();
                return Err(failure);
            }
        }
        let mut rows = Rows { statement: self };
        while rows.next()? {}
        Ok(())
    }

    /// Runs the statement and gives its rows one by one.
    ///
    /// # Errors
    /// What SQLite reports when a value cannot be bound (too big, out of range).
    pub fn query<'s>(&'s mut self, values: &[ValueRef<'s>]) -> Result<Rows<'s>, Failure> {
        for (index, value) in values.iter().enumerate() {
            // SAFETY: Rows borrows the statement and the values for 's, and resets the statement when dropped.
            if let Err(failure) = unsafe { self.bind(index as c_int + 1, *value) } {
                self.reset();
                return Err(failure);
            }
        }
        Ok(Rows { statement: self })
    }

    /// The first row's only answer: `read` is given the row, or the result is None.
    ///
    /// # Errors
    /// What SQLite reports, or what `read` does.
    pub fn first<T>(
        &mut self,
        values: &[ValueRef<'_>],
        read: impl FnOnce(&Rows<'_>) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let mut rows = self.query(values)?;
        if rows.next()? { read(&rows).map(Some) } else { Ok(None) }
    }

    fn reset(&mut self) {
        // SAFETY: the statement is live; the code that reset repeats was reported by step.
        unsafe { sys::sqlite3_reset(self.raw.as_ptr()) };
    }

    /// Starts a scan that the caller steps by hand and that outlives this call; the values are copied into SQLite.
    ///
    /// # Errors
    /// What SQLite reports when a value cannot be bound.
    pub fn start(&mut self, values: &[ValueRef<'_>]) -> Result<(), Failure> {
        self.reset();
        for (index, value) in values.iter().enumerate() {
            let position = index as c_int + 1;
            // SQLITE_TRANSIENT: SQLite copies before it returns.
            // SAFETY: -1 is SQLite's own marker for that destructor; it is never called.
            let transient: sys::Destructor = unsafe { std::mem::transmute(-1_isize) };
            let raw = self.raw.as_ptr();
            let result = match *value {
                // SAFETY: as in bind, with bytes that SQLite copies.
                ValueRef::Text(text) => unsafe {
                    let bytes = start(text).cast();
                    let length = text.len() as u64;
                    let utf8 = sys::SQLITE_UTF8 as u8;
                    sys::sqlite3_bind_text64(raw, position, bytes, length, transient, utf8)
                },
                // SAFETY: as above.
                ValueRef::Blob(blob) => unsafe {
                    let bytes = start(blob).cast();
                    sys::sqlite3_bind_blob64(raw, position, bytes, blob.len() as u64, transient)
                },
                // SAFETY: nothing of these is kept by reference.
                other => unsafe { self.bind(position, other).map(|()| code::OK)? },
            };
            if result != code::OK {
                return Err(self.connection.failure(result));
            }
        }
        Ok(())
    }

    /// Steps a scan begun with [`Statement::start`]: true when there is a row.
    ///
    /// # Errors
    /// What SQLite reports; the statement is reset.
    #[inline]
    pub fn step(&mut self) -> Result<bool, Failure> {
        // SAFETY: the statement is live.
        match unsafe { sys::sqlite3_step(self.raw.as_ptr()) } as u32 {
            sys::SQLITE_ROW => Ok(true),
            sys::SQLITE_DONE => Ok(false),
            other => {
                let failure = self.connection.failure(other as c_int);
                self.reset();
                Err(failure)
            }
        }
    }

    /// Column `index` of the current row, counted from 0, in place.
    #[inline]
    pub fn column(&self, index: usize) -> ValueRef<'_> {
        // SAFETY: out of range gives a NULL value; the value lives until the next step, and `step` needs `&mut self`.
        unsafe { value_ref(sys::sqlite3_column_value(self.raw.as_ptr(), index as c_int)) }
    }

    /// Ends a scan begun with [`Statement::start`] before its end.
    pub fn stop(&mut self) {
        self.reset();
    }

    /// The name of column `index`, counted from 0, as the query gives it.
    pub fn column_name(&self, index: usize) -> String {
        // SAFETY: the name lives until the statement is compiled anew, and is copied at once; null when memory is short.
        unsafe {
            let name = sys::sqlite3_column_name(self.raw.as_ptr(), index as c_int);
            if name.is_null() {
                String::new()
            } else {
                CStr::from_ptr(name).to_string_lossy().into_owned()
            }
        }
    }

    /// Copies of these columns of the current row.
    ///
    /// # Errors
    /// [`Failure::no_memory`].
    pub fn values(&self, columns: std::ops::Range<usize>) -> Result<Vec<Value>, Failure> {
        try_gather(columns.map(|index| self.column(index).to_value()))
    }

    /// How many columns a row has.
    pub fn column_count(&self) -> usize {
        // SAFETY: the statement is live.
        unsafe { sys::sqlite3_column_count(self.raw.as_ptr()) as usize }
    }

    /// The names of its parameters, `:piece` for instance, by their numbers from 1; empty for one without a name.
    pub fn parameters(&self) -> Vec<String> {
        // SAFETY: the statement is live.
        let count = unsafe { sys::sqlite3_bind_parameter_count(self.raw.as_ptr()) };
        (1..=count)
            .map(|index| {
                // SAFETY: the name lives as long as the statement, and is copied at once.
                unsafe {
                    let name = sys::sqlite3_bind_parameter_name(self.raw.as_ptr(), index);
                    if name.is_null() {
                        String::new()
                    } else {
                        CStr::from_ptr(name).to_string_lossy().into_owned()
                    }
                }
            })
            .collect()
    }

    /// Whether SQLite compiled the statement anew since this was last asked: the schema changed, a file was detached.
    #[inline]
    pub fn was_reprepared(&mut self) -> bool {
        // SAFETY: the statement is live; the counter is read and left.
        let count = unsafe {
            sys::sqlite3_stmt_status(
                self.raw.as_ptr(),
                sys::SQLITE_STMTSTATUS_REPREPARE as c_int,
                0,
            )
        };
        std::mem::replace(&mut self.reprepared_seen, count) != count
    }

    /// Whether the statement only reads.
    pub fn is_readonly(&self) -> bool {
        // SAFETY: the statement is live.
        unsafe { sys::sqlite3_stmt_readonly(self.raw.as_ptr()) != 0 }
    }
}

/// An empty slice may dangle; SQLite takes a null pointer for NULL, so it gets a pointer to something.
#[inline]
fn start(bytes: &[u8]) -> *const u8 {
    if bytes.is_empty() { c"".as_ptr().cast() } else { bytes.as_ptr() }
}

impl Drop for Statement {
    fn drop(&mut self) {
        if self.kept && !self.connection.has_statement(self.raw.as_ptr()) {
            return;
        }
        // SAFETY: the statement is live (looked up just now when the host may have finalized it) and ours.
        unsafe { sys::sqlite3_finalize(self.raw.as_ptr()) };
    }
}

/// The rows of a running statement, which is reset when this is dropped.
pub struct Rows<'s> {
    statement: &'s mut Statement,
}

impl Rows<'_> {
    /// Steps to the next row; false at the end.
    ///
    /// # Errors
    /// What SQLite reports.
    #[inline]
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<bool, Failure> {
        self.statement.step()
    }

    /// Column `index` of the current row, counted from 0.
    #[inline]
    pub fn column(&self, index: usize) -> ValueRef<'_> {
        self.statement.column(index)
    }

    /// Copies of these columns of the current row.
    ///
    /// # Errors
    /// [`Failure::no_memory`].
    pub fn values(&self, columns: std::ops::Range<usize>) -> Result<Vec<Value>, Failure> {
        self.statement.values(columns)
    }

    /// How many columns a row has.
    pub fn column_count(&self) -> usize {
        self.statement.column_count()
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        self.statement.reset();
    }
}
