//! The host's connection, as the callbacks see it.

use super::statement::Statement;
use super::{Failure, ValueRef, code};
use core::ffi::{CStr, c_int, c_void};
use sqlite3ext_sys as sys;
use std::ffi::CString;
use std::ptr::NonNull;

/// The name that a connection's loaded version is noted under.
const LOADED: &CStr = c"talon";

/// A handle on the host's open connection.
///
/// It is never owned: it lives in objects that SQLite destroys while it closes the connection (function data, modules,
/// virtual tables), so it does not outlive it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connection(NonNull<sys::sqlite3>);

impl Connection {
    /// # Safety
    /// `db` is an open connection, and the handle is dropped before it is closed.
    pub(super) unsafe fn from_raw(db: *mut sys::sqlite3) -> Option<Connection> {
        NonNull::new(db).map(Connection)
    }

    #[inline]
    pub(super) fn raw(self) -> *mut sys::sqlite3 {
        self.0.as_ptr()
    }

    /// The connection's last error, under the code that a call returned.
    pub(super) fn failure(self, result: c_int) -> Failure {
        if result & 0xff == code::NOMEM {
            return Failure::no_memory();
        }
        // SAFETY: errmsg gives a text that lives until the next call on the connection; it is copied at once.
        let message = unsafe { CStr::from_ptr(sys::sqlite3_errmsg(self.raw())) };
        Failure { code: result, message: message.to_string_lossy().into_owned() }
    }

    /// Prepares a statement for use within one call.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn prepare(self, sql: &str) -> Result<Statement, Failure> {
        Statement::prepare(self, sql, false)
    }

    /// Prepares a statement to be kept across calls. Its owner must drop it while the connection closes.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn prepare_kept(self, sql: &str) -> Result<Statement, Failure> {
        Statement::prepare(self, sql, true)
    }

    /// Runs one statement, ignoring rows.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn run(self, sql: &str, values: &[ValueRef<'_>]) -> Result<(), Failure> {
        self.prepare(sql)?.run(values)
    }

    /// Runs a script of statements without parameters. They end with `;` at the end of a line, as in the files of `sql/`.
    ///
    /// # Errors
    /// What SQLite reports for the first statement that fails.
    pub fn run_script(self, script: &str) -> Result<(), Failure> {
        for statement in script.split_inclusive(";\n") {
            let code_only = statement
                .lines()
                .filter(|line| !line.trim_start().starts_with("--") && !line.trim().is_empty())
                .count();
            if code_only > 0 {
                self.run(statement, &[])?;
            }
        }
        Ok(())
    }

    /// Asks for one value, in the first column of the first row.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn value(
        self,
        sql: &str,
        values: &[ValueRef<'_>],
    ) -> Result<Option<super::Value>, Failure> {
        self.prepare(sql)?.first(values, |row| row.column(0).to_value())
    }

    /// Compiles a statement and throws it away. Switch pragmas act while they are compiled; unlike running them,
    /// that does not expire the statements that are running.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn compile_only(self, sql: &str) -> Result<(), Failure> {
        self.prepare(sql).map(drop)
    }

    /// Rows that the host's last finished INSERT, UPDATE or DELETE changed.
    #[inline]
    pub fn changes(self) -> i32 {
        // SAFETY: the connection is open.
        unsafe { sys::sqlite3_changes(self.raw()) }
    }

    /// Rows that all statements have changed, also those undone since: it differs once something was written.
    #[inline]
    pub fn total_changes(self) -> i32 {
        // SAFETY: the connection is open.
        unsafe { sys::sqlite3_total_changes(self.raw()) }
    }

    /// The rowid of the last row inserted.
    #[inline]
    pub fn last_insert_rowid(self) -> i64 {
        // SAFETY: the connection is open.
        unsafe { sys::sqlite3_last_insert_rowid(self.raw()) }
    }

    /// Sets what `last_insert_rowid()` answers.
    #[inline]
    pub fn set_last_insert_rowid(self, rowid: i64) {
        // SAFETY: the connection is open.
        unsafe { sys::sqlite3_set_last_insert_rowid(self.raw(), rowid) }
    }

    /// Whether no explicit transaction is open.
    pub fn is_autocommit(self) -> bool {
        // SAFETY: the connection is open.
        unsafe { sys::sqlite3_get_autocommit(self.raw()) != 0 }
    }

    /// Whether any schema has a write transaction open.
    pub fn is_writing(self) -> bool {
        self.transaction_state() == sys::SQLITE_TXN_WRITE as c_int
    }

    /// Whether no schema has even a read transaction open.
    pub fn is_idle(self) -> bool {
        self.transaction_state() == sys::SQLITE_TXN_NONE as c_int
    }

    /// Whether this schema has a write transaction open.
    pub fn is_writing_to(self, schema: &str) -> bool {
        let Ok(name) = CString::new(schema) else {
            return false;
        };
        // SAFETY: the name is a C string.
        let state = unsafe { sys::sqlite3_txn_state(self.raw(), name.as_ptr()) };
        state == sys::SQLITE_TXN_WRITE as c_int
    }

    fn transaction_state(self) -> c_int {
        // SAFETY: a null schema asks for the highest state of all schemas.
        unsafe { sys::sqlite3_txn_state(self.raw(), std::ptr::null()) }
    }

    /// The version of SQLite that runs the connection, as `3040001`.
    pub fn sqlite_version(self) -> c_int {
        // SAFETY: takes nothing.
        unsafe { sys::sqlite3_libversion_number() }
    }

    /// A number that changes with every commit to the file of a schema, by this connection or another; exact inside a
    /// transaction (<https://sqlite.org/c3ref/c_fcntl_begin_atomic_write.html>, `SQLITE_FCNTL_DATA_VERSION`).
    pub fn data_version(self, schema: &CStr) -> Option<u32> {
        let mut version: u32 = 0;
        // SAFETY: the operation writes one unsigned int.
        let result = unsafe {
            sys::sqlite3_file_control(
                self.raw(),
                schema.as_ptr(),
                sys::SQLITE_FCNTL_DATA_VERSION as c_int,
                (&raw mut version).cast::<c_void>(),
            )
        };
        (result == code::OK).then_some(version)
    }

    /// Whether [`Connection::lock_to_write`] can be called: not where SQLite was built with `SQLITE_OMIT_INCRBLOB`.
    pub fn can_lock_to_write(self) -> bool {
        sys::has_blob_open()
    }

    /// Takes the write lock of a schema as a statement that writes would, waiting for another writer as long as the busy
    /// timeout says, but counts no change: `changes()` stays what it was. A row of the table, which has integer keys from
    /// 1 on, is opened as if its column were to be written, and there is none of that number
    /// (<https://sqlite.org/c3ref/blob_open.html>).
    ///
    /// # Errors
    /// ERROR always where the lock was taken, or there is no such table; otherwise what SQLite reports.
    pub fn lock_to_write(self, schema: &str, table: &CStr, column: &CStr) -> Result<(), Failure> {
        const NO_ROW: i64 = -1;
        let schema =
            CString::new(schema).map_err(|_| Failure::with_code(code::ERROR, "no such schema"))?;
        let mut blob = std::ptr::null_mut();
        // SAFETY: three C strings; what is opened, if anything, is closed at once, and null is none.
        let result = unsafe {
            let result = sys::sqlite3_blob_open(
                self.raw(),
                schema.as_ptr(),
                table.as_ptr(),
                column.as_ptr(),
                NO_ROW,
                1,
                &mut blob,
            );
            sys::sqlite3_blob_close(blob);
            result
        };
        if result == code::OK { Ok(()) } else { Err(self.failure(result)) }
    }

    /// Whether the file of a schema was opened for reading only.
    pub fn is_readonly(self, schema: &str) -> bool {
        let Ok(name) = CString::new(schema) else {
            return false;
        };
        // SAFETY: the name is a C string.
        unsafe { sys::sqlite3_db_readonly(self.raw(), name.as_ptr()) == 1 }
    }

    /// The name of the schema at `index` (0 main, 1 temp, then what is attached). Only for hosts from 3.39 on.
    fn schema_name(self, index: usize) -> Option<&'static CStr> {
        // SAFETY: since 3.39 the table has this entry; out of range gives null. The name lives until the schema is
        // detached, and is compared or copied before anything else is called.
        unsafe {
            let name = sys::sqlite3_db_name(self.raw(), index as c_int);
            (!name.is_null()).then(|| CStr::from_ptr(name))
        }
    }

    /// The names of all schemas; None where the host's SQLite is too old to say without being asked in SQL.
    pub fn schema_names(self) -> Option<Vec<String>> {
        if self.sqlite_version() < 3_039_000 {
            return None;
        }
        let names = (0..).map_while(|index| self.schema_name(index));
        Some(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    /// Whether exactly these schemas are there; false where that cannot be said.
    pub fn has_schemas(self, names: &[String]) -> bool {
        self.sqlite_version() >= 3_039_000
            && !names.is_empty()
            && self.schema_name(names.len()).is_none()
            && names.iter().enumerate().all(|(index, known)| {
                self.schema_name(index).is_some_and(|name| name.to_bytes() == known.as_bytes())
            })
    }

    /// The version of Talon that is loaded on this connection already.
    pub fn loaded_version(self) -> Option<String> {
        if self.sqlite_version() < 3_044_000 {
            // Newer hosts read the whole schema before they compile any SELECT, which a load should not cost.
            return match self.value("SELECT talon_version()", &[]) {
                Ok(Some(super::Value::Text(version))) => {
                    Some(String::from_utf8_lossy(&version).into_owned())
                }
                _ => None,
            };
        }
        // SAFETY: since 3.44 the table has this entry; what stands under our name is a static C string of ours.
        unsafe {
            let version: *const core::ffi::c_char =
                sys::sqlite3_get_clientdata(self.raw(), LOADED.as_ptr()).cast_const().cast();
            (!version.is_null()).then(|| CStr::from_ptr(version).to_string_lossy().into_owned())
        }
    }

    /// Notes that this version of Talon is loaded.
    ///
    /// # Errors
    /// When memory is short.
    pub fn note_loaded(self, version: &'static CStr) -> Result<(), Failure> {
        if self.sqlite_version() < 3_044_000 {
            return Ok(());
        }
        // SAFETY: as above; a static string needs no destructor.
        let result = unsafe {
            let data = version.as_ptr().cast_mut().cast();
            sys::sqlite3_set_clientdata(self.raw(), LOADED.as_ptr(), data, None)
        };
        if result == code::OK { Ok(()) } else { Err(self.failure(result)) }
    }

    /// Turns triggers on or off, and gives what they were. Every statement of the connection expires when this changes
    /// something: a running one cannot open another cursor.
    pub fn set_triggers(self, enabled: bool) -> bool {
        let mut was: c_int = 0;
        let mut now: c_int = 0;
        let switch = sys::SQLITE_DBCONFIG_ENABLE_TRIGGER as c_int;
        // SAFETY: the switch takes (int, int *).
        unsafe {
            sys::sqlite3_db_config_switch(self.raw(), switch, -1, &mut was);
            if (was != 0) != enabled {
                sys::sqlite3_db_config_switch(self.raw(), switch, c_int::from(enabled), &mut now);
            }
        }
        was != 0
    }

    /// Whether a foreign key is violated that must be mended before the transaction commits.
    pub fn has_pending_foreign_keys(self) -> bool {
        let (mut current, mut highest): (c_int, c_int) = (0, 0);
        // SAFETY: the counter writes two ints.
        unsafe {
            sys::sqlite3_db_status(
                self.raw(),
                sys::SQLITE_DBSTATUS_DEFERRED_FKS as c_int,
                &mut current,
                &mut highest,
                0,
            );
        }
        current != 0
    }

    /// The connection's statements.
    fn statements(self) -> impl Iterator<Item = *mut sys::sqlite3_stmt> {
        let next = move |statement| {
            // SAFETY: the list is walked on the connection's own thread, from a statement that is in it.
            let next = unsafe { sys::sqlite3_next_stmt(self.raw(), statement) };
            (!next.is_null()).then_some(next)
        };
        std::iter::successors(next(std::ptr::null_mut()), move |statement| next(*statement))
    }

    fn running(self) -> impl Iterator<Item = *mut sys::sqlite3_stmt> {
        // SAFETY: the statement is one of the connection's.
        self.statements().filter(|statement| unsafe { sys::sqlite3_stmt_busy(*statement) } != 0)
    }

    /// A running statement of the host that writes: its text.
    pub fn running_write(self) -> Option<String> {
        // SAFETY: the statement is one of the connection's.
        let writes = |statement: &_| unsafe { sys::sqlite3_stmt_readonly(*statement) } == 0;
        let statement = self.running().find(writes)?;
        // SAFETY: as above; the text is copied.
        unsafe {
            let sql = sys::sqlite3_sql(statement);
            if sql.is_null() {
                return Some(String::new());
            }
            Some(CStr::from_ptr(sql).to_string_lossy().into_owned())
        }
    }

    /// Whether other statements run beside the one that calls.
    pub fn has_running_beside_one(self) -> bool {
        self.running().nth(1).is_some()
    }

    /// Whether the connection still has this statement.
    pub(super) fn has_statement(self, wanted: *mut sys::sqlite3_stmt) -> bool {
        self.statements().any(|statement| statement == wanted)
    }

    /// Random bytes from SQLite's generator.
    pub fn random_i64(self) -> i64 {
        let mut bytes = [0u8; 8];
        // SAFETY: exactly the buffer's length is written.
        unsafe { sys::sqlite3_randomness(8, bytes.as_mut_ptr().cast()) };
        i64::from_ne_bytes(bytes)
    }
}

/// The version of the SQLite that loaded the extension, as `3.40.1`.
pub(super) fn sqlite_version_text() -> String {
    // SAFETY: a static text of SQLite.
    unsafe { CStr::from_ptr(sys::sqlite3_libversion()) }.to_string_lossy().into_owned()
}
