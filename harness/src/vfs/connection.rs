//! SQLite's C interface as the harness needs it: exact result codes, values to the bit, nothing that allocates behind
//! a fault's back or takes a missing text for granted.

use super::VFS_NAME;
use libsqlite3_sys as ffi;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::path::Path;

/// A value with its storage class, compared to the bit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A real, as its bits.
    Real(u64),
    /// Text, whatever its bytes.
    Text(Vec<u8>),
    /// A blob.
    Blob(Vec<u8>),
}

impl Value {
    /// The integer, where it is one.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Value::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }
}

/// As SQL spells it.
impl fmt::Display for Value {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => to.write_str("NULL"),
            Value::Integer(integer) => write!(to, "{integer}"),
            Value::Real(bits) => match f64::from_bits(*bits) {
                real if real.is_finite() => write!(to, "{real:?}"),
                real if real > 0.0 => to.write_str("9e999"),
                _ => to.write_str("-9e999"),
            },
            Value::Text(text) => match std::str::from_utf8(text) {
                Ok(text) if !text.contains('\0') => write!(to, "'{}'", text.replace('\'', "''")),
                _ => write!(to, "CAST({} AS TEXT)", Value::Blob(text.clone())),
            },
            Value::Blob(blob) => {
                to.write_str("x'")?;
                blob.iter().try_for_each(|byte| write!(to, "{byte:02x}"))?;
                to.write_str("'")
            }
        }
    }
}

/// What SQLite reported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({code})")]
pub struct Failure {
    /// The extended result code.
    pub code: i32,
    /// Its text.
    pub text: String,
}

impl Failure {
    /// The result code without its extension.
    pub fn primary(&self) -> i32 {
        self.code & 0xff
    }
}

/// What a statement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its rows, as far as it came.
    pub rows: Vec<Vec<Value>>,
    /// Why it did not come to its end.
    pub failure: Option<Failure>,
}

/// A connection.
pub struct Connection {
    handle: *mut ffi::sqlite3,
}

/// How the texts of failed loads begin. Their code says nothing: SQLite makes SQLITE_ERROR of all.
pub const LOADING: &str = "loading the extension: ";

fn c_string(text: &str) -> Result<CString, Failure> {
    let failure = |_| Failure { code: ffi::SQLITE_MISUSE, text: "a NUL in SQL".to_owned() };
    CString::new(text).map_err(failure)
}

impl Connection {
    /// Opens a file of a [`super::Disk`] by its path there.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn open(path: &str) -> Result<Connection, Failure> {
        Connection::open_by(path, VFS_NAME.as_ptr())
    }

    /// Opens a file of the machine's own file system.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn open_file(path: &Path) -> Result<Connection, Failure> {
        Connection::open_by(&path.to_string_lossy(), std::ptr::null())
    }

    fn open_by(path: &str, vfs: *const c_char) -> Result<Connection, Failure> {
        let path = c_string(path)?;
        let mut handle = std::ptr::null_mut();
        let flags = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE;
        // SAFETY: C strings, and a pointer to fill in; a handle that comes back with an error is closed by Drop.
        let code = unsafe { ffi::sqlite3_open_v2(path.as_ptr(), &raw mut handle, flags, vfs) };
        let connection = Connection { handle };
        if code != ffi::SQLITE_OK {
            return Err(connection.failure(code));
        }
        // SAFETY: an open connection.
        unsafe { ffi::sqlite3_extended_result_codes(handle, 1) };
        super::interrupts::watch(handle);
        Ok(connection)
    }

    fn failure(&self, code: c_int) -> Failure {
        // SAFETY: the handle may be null, for which SQLite has a text; the text is copied at once.
        let text = unsafe {
            let text = ffi::sqlite3_errmsg(self.handle);
            if text.is_null() {
                String::new()
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        };
        Failure { code, text }
    }

    /// Loads a library.
    ///
    /// # Errors
    /// What SQLite or the library reports.
    pub fn load(&self, library: &Path) -> Result<(), Failure> {
        let path = c_string(&library.to_string_lossy())?;
        let mut message: *mut c_char = std::ptr::null_mut();
        // SAFETY: an open connection and C strings; the message is SQLite's memory and freed here.
        unsafe {
            ffi::sqlite3_db_config(
                self.handle,
                ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION,
                1 as c_int,
                std::ptr::null_mut::<c_int>(),
            );
            let entry = std::ptr::null();
            let code =
                ffi::sqlite3_load_extension(self.handle, path.as_ptr(), entry, &raw mut message);
            let text = if message.is_null() {
                None
            } else {
                Some(CStr::from_ptr(message).to_string_lossy().into_owned())
            };
            ffi::sqlite3_free(message.cast());
            if code == ffi::SQLITE_OK {
                return Ok(());
            }
            let text = text.unwrap_or_else(|| self.failure(code).text);
            Err(Failure { code, text: format!("{LOADING}{text}") })
        }
    }

    /// Has a locked file waited for.
    pub fn busy_timeout(&self, milliseconds: i32) {
        // SAFETY: an open connection.
        unsafe { ffi::sqlite3_busy_timeout(self.handle, milliseconds) };
    }

    /// Switches the connection's triggers on or off, as a host may.
    pub fn enable_triggers(&self, on: bool) {
        // SAFETY: an open connection; the option takes a number and a pointer that may be null.
        unsafe {
            ffi::sqlite3_db_config(
                self.handle,
                ffi::SQLITE_DBCONFIG_ENABLE_TRIGGER,
                c_int::from(on),
                std::ptr::null_mut::<c_int>(),
            );
        }
    }

    /// Whether no transaction is open.
    pub fn is_autocommit(&self) -> bool {
        // SAFETY: an open connection.
        unsafe { ffi::sqlite3_get_autocommit(self.handle) != 0 }
    }

    /// Whether a foreign key is violated that must be mended before the transaction commits.
    pub fn has_pending_foreign_keys(&self) -> bool {
        let (mut now, mut highest) = (0, 0);
        // SAFETY: an open connection, two integers to fill in.
        unsafe {
            let asked = ffi::SQLITE_DBSTATUS_DEFERRED_FKS;
            ffi::sqlite3_db_status(self.handle, asked, &raw mut now, &raw mut highest, 0);
        }
        now != 0
    }

    /// Rows that the last statement changed.
    pub fn changes(&self) -> i64 {
        // SAFETY: an open connection.
        unsafe { ffi::sqlite3_changes64(self.handle) }
    }

    /// The rowid inserted last.
    pub fn last_insert_rowid(&self) -> i64 {
        // SAFETY: an open connection.
        unsafe { ffi::sqlite3_last_insert_rowid(self.handle) }
    }

    /// Runs one statement to its end; what follows it in the text is not looked at.
    pub fn execute(&self, sql: &str) -> Executed {
        let mut rows = Vec::new();
        let failure = self.run_statement(sql, &mut |row| rows.push(row)).err();
        Executed { rows, failure }
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Value>>, Failure> {
        let executed = self.execute(sql);
        executed.failure.map_or(Ok(executed.rows), Err)
    }

    /// Runs every statement of a script.
    ///
    /// # Errors
    /// What SQLite reports of the first that fails.
    pub fn run(&self, script: &str) -> Result<(), Failure> {
        split_script(script).iter().try_for_each(|sql| self.run_statement(sql, &mut |_| ()))
    }

    /// How many parameters a statement has; none where it cannot be prepared.
    pub fn parameters(&self, sql: &str) -> i32 {
        let Ok(sql) = c_string(sql) else { return 0 };
        let mut statement = std::ptr::null_mut();
        // SAFETY: an open connection, a C string, a pointer to fill in; the statement, or null, is finalized once.
        unsafe {
            let rest = std::ptr::null_mut();
            ffi::sqlite3_prepare_v2(self.handle, sql.as_ptr(), -1, &raw mut statement, rest);
            let count = ffi::sqlite3_bind_parameter_count(statement);
            ffi::sqlite3_finalize(statement);
            count
        }
    }

    fn run_statement(&self, sql: &str, take: &mut dyn FnMut(Vec<Value>)) -> Result<(), Failure> {
        let sql = c_string(sql)?;
        let mut statement = std::ptr::null_mut();
        // SAFETY: an open connection, a C string, a pointer to fill in.
        let code = unsafe {
            ffi::sqlite3_prepare_v2(
                self.handle,
                sql.as_ptr(),
                -1,
                &raw mut statement,
                std::ptr::null_mut(),
            )
        };
        if code != ffi::SQLITE_OK {
            return Err(self.failure(code));
        }
        let mut result = Ok(());
        loop {
            let code = match statement.is_null() {
                // A text without a statement.
                true => ffi::SQLITE_DONE,
                // SAFETY: a statement of this connection.
                false => unsafe { ffi::sqlite3_step(statement) },
            };
            match code {
                ffi::SQLITE_ROW => match row_of(statement) {
                    Some(row) => take(row),
                    None => {
                        let text = "out of memory while reading a row".to_owned();
                        result = Err(Failure { code: ffi::SQLITE_NOMEM, text });
                        break;
                    }
                },
                ffi::SQLITE_DONE => break,
                code => {
                    result = Err(self.failure(code));
                    break;
                }
            }
        }
        // SAFETY: a statement of this connection, or null, finalized once.
        unsafe { ffi::sqlite3_finalize(statement) };
        result
    }

    /// Closes the connection.
    ///
    /// # Errors
    /// What SQLite reports; BUSY means that somebody has left a statement over.
    pub fn close(self) -> Result<(), Failure> {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: an open connection that nobody uses after this.
        let code = unsafe { ffi::sqlite3_close(this.handle) };
        if code == ffi::SQLITE_OK {
            return Ok(());
        }
        let failure = this.failure(code);
        close_by_force(this.handle);
        Err(failure)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        close_by_force(self.handle);
    }
}

/// Closes a connection, with the statements that are left over.
fn close_by_force(handle: *mut ffi::sqlite3) {
    // SAFETY: an open connection or null; a close that is refused leaves it as it was, and each statement that SQLite
    // lists is finalized once.
    unsafe {
        while ffi::sqlite3_close(handle) == ffi::SQLITE_BUSY {
            let left_over = ffi::sqlite3_next_stmt(handle, std::ptr::null_mut());
            if left_over.is_null() {
                break;
            }
            ffi::sqlite3_finalize(left_over);
        }
    }
}

/// The current row; None where memory for a value could not be had.
fn row_of(statement: *mut ffi::sqlite3_stmt) -> Option<Vec<Value>> {
    // SAFETY: a statement that stands on a row; bytes are copied before the next call on that column.
    unsafe {
        let columns = ffi::sqlite3_column_count(statement);
        let bytes = |memory: *const u8, column: c_int| {
            let length = ffi::sqlite3_column_bytes(statement, column) as usize;
            if length == 0 {
                return Some(Vec::new());
            }
            if memory.is_null() {
                return None;
            }
            Some(std::slice::from_raw_parts(memory, length).to_vec())
        };
        let mut row = Vec::with_capacity(columns as usize);
        for column in 0..columns {
            row.push(match ffi::sqlite3_column_type(statement, column) {
                ffi::SQLITE_INTEGER => Value::Integer(ffi::sqlite3_column_int64(statement, column)),
                ffi::SQLITE_FLOAT => {
                    Value::Real(ffi::sqlite3_column_double(statement, column).to_bits())
                }
                ffi::SQLITE_TEXT => {
                    Value::Text(bytes(ffi::sqlite3_column_text(statement, column), column)?)
                }
                ffi::SQLITE_BLOB => {
                    Value::Blob(bytes(ffi::sqlite3_column_blob(statement, column).cast(), column)?)
                }
                _ => Value::Null,
            });
        }
        Some(row)
    }
}

/// Whether a text ends where a statement ends.
pub fn is_complete(text: &str) -> bool {
    CString::new(text).is_ok_and(|text| {
        // SAFETY: a C string.
        unsafe { ffi::sqlite3_complete(text.as_ptr()) == 1 }
    })
}

/// The statements of a script, as SQLite's shell would cut it; the bodies of triggers stay whole.
pub fn split_script(script: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut start = 0;
    for (place, _) in script.match_indices(';') {
        let text = &script[start..=place];
        if is_complete(text) {
            found.push(text.trim().to_owned());
            start = place + 1;
        }
    }
    let rest = script[start..].trim();
    if !rest.is_empty() {
        found.push(rest.to_owned());
    }
    found.retain(|sql| !is_blank(sql));
    found
}

/// Whether nothing but comments, spaces and semicolons is there.
fn is_blank(sql: &str) -> bool {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
        } else {
            return rest.is_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_cut_into_statements() {
        let script = "-- a; comment\nSELECT ';';\nCREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END;; SELECT 2";
        let found = split_script(script);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[1].ends_with("END;"));
    }
}
