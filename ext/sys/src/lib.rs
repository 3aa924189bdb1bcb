//! SQLite's extension API table, without libclang and without an SQLite of its own.
//!
//! An extension reaches SQLite through a table of functions that the host hands to its entry point
//! (<https://sqlite.org/loadext.html>). This crate stands in for the published `sqlite3ext-sys`: the types are
//! generated ahead of time (`regenerate.sh`), and each `sqlite3_*` function here goes through the table, so that the
//! library has no symbol of SQLite left to resolve in the host.
//!
//! [`set_table`] must have succeeded before any other function is called.
#![allow(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    clippy::missing_safety_doc,
    clippy::too_many_arguments,
    clippy::type_complexity
)]

mod bindings;
pub use bindings::*;

use core::ffi::{c_char, c_int, c_uchar, c_uint, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

static TABLE: AtomicPtr<sqlite3_api_routines> = AtomicPtr::new(core::ptr::null_mut());

/// A destructor that SQLite calls on a pointer it was given.
pub type Destructor = Option<unsafe extern "C" fn(*mut c_void)>;

/// Takes the host's API table. Every connection of one SQLite hands over the same table.
///
/// # Errors
/// Gives back the earlier table when another copy of SQLite in the same process has loaded this library before:
/// its connections must not be driven by the functions of this one.
///
/// # Safety
/// `table` is the pointer that SQLite passed to the entry point.
pub unsafe fn set_table(table: *mut sqlite3_api_routines) -> Result<(), *mut sqlite3_api_routines> {
    match TABLE.compare_exchange(core::ptr::null_mut(), table, Ordering::AcqRel, Ordering::Acquire)
    {
        Ok(_) => Ok(()),
        Err(earlier) if earlier == table => Ok(()),
        Err(earlier) => Err(earlier),
    }
}

#[inline(always)]
unsafe fn table() -> &'static sqlite3_api_routines {
    // SAFETY: set_table() came first, and SQLite's table lives as long as the process.
    unsafe { &*TABLE.load(Ordering::Relaxed) }
}

/// The host's SQLite was built without this function. The panic ends at the extension's panic guard.
#[cold]
fn absent(name: &str) -> ! {
    panic!("this SQLite was built without sqlite3_{name}")
}

macro_rules! routines {
    ($($name:ident = $field:ident ( $($argument:ident : $type:ty),* ) $(-> $result:ty)? ;)*) => {$(
        #[inline]
        pub unsafe fn $name($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller keeps SQLite's own contract for this function.
            unsafe {
                match table().$field {
                    Some(routine) => routine($($argument),*),
                    None => absent(stringify!($field)),
                }
            }
        }
    )*};
}

routines! {
    sqlite3_bind_blob64 = bind_blob64(statement: *mut sqlite3_stmt, index: c_int, blob: *const c_void, length: sqlite3_uint64, destructor: Destructor) -> c_int;
    sqlite3_bind_double = bind_double(statement: *mut sqlite3_stmt, index: c_int, real: f64) -> c_int;
    sqlite3_bind_int64 = bind_int64(statement: *mut sqlite3_stmt, index: c_int, integer: sqlite3_int64) -> c_int;
    sqlite3_bind_null = bind_null(statement: *mut sqlite3_stmt, index: c_int) -> c_int;
    sqlite3_bind_text = bind_text(statement: *mut sqlite3_stmt, index: c_int, text: *const c_char, length: c_int, destructor: Destructor) -> c_int;
    sqlite3_bind_text64 = bind_text64(statement: *mut sqlite3_stmt, index: c_int, text: *const c_char, length: sqlite3_uint64, destructor: Destructor, encoding: c_uchar) -> c_int;
    sqlite3_bind_value = bind_value(statement: *mut sqlite3_stmt, index: c_int, value: *const sqlite3_value) -> c_int;
    sqlite3_bind_parameter_count = bind_parameter_count(statement: *mut sqlite3_stmt) -> c_int;
    sqlite3_bind_parameter_name = bind_parameter_name(statement: *mut sqlite3_stmt, index: c_int) -> *const c_char;
    sqlite3_blob_close = blob_close(blob: *mut sqlite3_blob) -> c_int;
    sqlite3_blob_open = blob_open(db: *mut sqlite3, schema: *const c_char, table: *const c_char, column: *const c_char, rowid: sqlite3_int64, flags: c_int, blob: *mut *mut sqlite3_blob) -> c_int;
    sqlite3_changes = changes(db: *mut sqlite3) -> c_int;
    sqlite3_clear_bindings = clear_bindings(statement: *mut sqlite3_stmt) -> c_int;
    sqlite3_column_count = column_count(statement: *mut sqlite3_stmt) -> c_int;
    sqlite3_column_name = column_name(statement: *mut sqlite3_stmt, column: c_int) -> *const c_char;
    sqlite3_column_text = column_text(statement: *mut sqlite3_stmt, column: c_int) -> *const c_uchar;
    sqlite3_column_value = column_value(statement: *mut sqlite3_stmt, column: c_int) -> *mut sqlite3_value;
    sqlite3_context_db_handle = context_db_handle(context: *mut sqlite3_context) -> *mut sqlite3;
    sqlite3_create_function_v2 = create_function_v2(db: *mut sqlite3, name: *const c_char, arity: c_int, flags: c_int, data: *mut c_void, function: Option<unsafe extern "C" fn(*mut sqlite3_context, c_int, *mut *mut sqlite3_value)>, step: Option<unsafe extern "C" fn(*mut sqlite3_context, c_int, *mut *mut sqlite3_value)>, finish: Option<unsafe extern "C" fn(*mut sqlite3_context)>, destructor: Destructor) -> c_int;
    sqlite3_create_module_v2 = create_module_v2(db: *mut sqlite3, name: *const c_char, module: *const sqlite3_module, data: *mut c_void, destructor: Destructor) -> c_int;
    sqlite3_db_filename = db_filename(db: *mut sqlite3, schema: *const c_char) -> *const c_char;
    sqlite3_db_name = db_name(db: *mut sqlite3, index: c_int) -> *const c_char;
    sqlite3_db_readonly = db_readonly(db: *mut sqlite3, schema: *const c_char) -> c_int;
    sqlite3_declare_vtab = declare_vtab(db: *mut sqlite3, declaration: *const c_char) -> c_int;
    sqlite3_errcode = errcode(db: *mut sqlite3) -> c_int;
    sqlite3_errmsg = errmsg(db: *mut sqlite3) -> *const c_char;
    sqlite3_extended_errcode = extended_errcode(db: *mut sqlite3) -> c_int;
    sqlite3_file_control = file_control(db: *mut sqlite3, schema: *const c_char, operation: c_int, argument: *mut c_void) -> c_int;
    sqlite3_finalize = finalize(statement: *mut sqlite3_stmt) -> c_int;
    sqlite3_free = free(memory: *mut c_void);
    sqlite3_get_autocommit = get_autocommit(db: *mut sqlite3) -> c_int;
    sqlite3_get_auxdata = get_auxdata(context: *mut sqlite3_context, argument: c_int) -> *mut c_void;
    sqlite3_get_clientdata = get_clientdata(db: *mut sqlite3, name: *const c_char) -> *mut c_void;
    sqlite3_set_clientdata = set_clientdata(db: *mut sqlite3, name: *const c_char, data: *mut c_void, destructor: Destructor) -> c_int;
    sqlite3_last_insert_rowid = last_insert_rowid(db: *mut sqlite3) -> sqlite3_int64;
    sqlite3_libversion = libversion() -> *const c_char;
    sqlite3_libversion_number = libversion_number() -> c_int;
    sqlite3_limit = limit(db: *mut sqlite3, which: c_int, value: c_int) -> c_int;
    sqlite3_malloc64 = malloc64(size: sqlite3_uint64) -> *mut c_void;
    sqlite3_next_stmt = next_stmt(db: *mut sqlite3, after: *mut sqlite3_stmt) -> *mut sqlite3_stmt;
    sqlite3_prepare_v2 = prepare_v2(db: *mut sqlite3, sql: *const c_char, length: c_int, statement: *mut *mut sqlite3_stmt, tail: *mut *const c_char) -> c_int;
    sqlite3_prepare_v3 = prepare_v3(db: *mut sqlite3, sql: *const c_char, length: c_int, flags: c_uint, statement: *mut *mut sqlite3_stmt, tail: *mut *const c_char) -> c_int;
    sqlite3_randomness = randomness(length: c_int, bytes: *mut c_void);
    sqlite3_reset = reset(statement: *mut sqlite3_stmt) -> c_int;
    sqlite3_result_blob = result_blob(context: *mut sqlite3_context, blob: *const c_void, length: c_int, destructor: Destructor);
    sqlite3_result_double = result_double(context: *mut sqlite3_context, real: f64);
    sqlite3_result_error = result_error(context: *mut sqlite3_context, text: *const c_char, length: c_int);
    sqlite3_result_error_code = result_error_code(context: *mut sqlite3_context, code: c_int);
    sqlite3_result_int = result_int(context: *mut sqlite3_context, integer: c_int);
    sqlite3_result_int64 = result_int64(context: *mut sqlite3_context, integer: sqlite3_int64);
    sqlite3_result_null = result_null(context: *mut sqlite3_context);
    sqlite3_result_pointer = result_pointer(context: *mut sqlite3_context, pointer: *mut c_void, name: *const c_char, destructor: Destructor);
    sqlite3_result_text = result_text(context: *mut sqlite3_context, text: *const c_char, length: c_int, destructor: Destructor);
    sqlite3_result_value = result_value(context: *mut sqlite3_context, value: *mut sqlite3_value);
    sqlite3_set_auxdata = set_auxdata(context: *mut sqlite3_context, argument: c_int, data: *mut c_void, destructor: Destructor);
    sqlite3_set_last_insert_rowid = set_last_insert_rowid(db: *mut sqlite3, rowid: sqlite3_int64);
    sqlite3_sql = sql(statement: *mut sqlite3_stmt) -> *const c_char;
    sqlite3_step = step(statement: *mut sqlite3_stmt) -> c_int;
    sqlite3_stmt_busy = stmt_busy(statement: *mut sqlite3_stmt) -> c_int;
    sqlite3_stmt_readonly = stmt_readonly(statement: *mut sqlite3_stmt) -> c_int;
    sqlite3_stmt_status = stmt_status(statement: *mut sqlite3_stmt, counter: c_int, reset: c_int) -> c_int;
    sqlite3_total_changes = total_changes(db: *mut sqlite3) -> c_int;
    sqlite3_txn_state = txn_state(db: *mut sqlite3, schema: *const c_char) -> c_int;
    sqlite3_user_data = user_data(context: *mut sqlite3_context) -> *mut c_void;
    sqlite3_value_blob = value_blob(value: *mut sqlite3_value) -> *const c_void;
    sqlite3_value_bytes = value_bytes(value: *mut sqlite3_value) -> c_int;
    sqlite3_value_double = value_double(value: *mut sqlite3_value) -> f64;
    sqlite3_value_int = value_int(value: *mut sqlite3_value) -> c_int;
    sqlite3_value_int64 = value_int64(value: *mut sqlite3_value) -> sqlite3_int64;
    sqlite3_value_pointer = value_pointer(value: *mut sqlite3_value, name: *const c_char) -> *mut c_void;
    sqlite3_value_text = value_text(value: *mut sqlite3_value) -> *const c_uchar;
    sqlite3_value_bytes16 = value_bytes16(value: *mut sqlite3_value) -> c_int;
    sqlite3_value_text16 = value_text16(value: *mut sqlite3_value) -> *const c_void;
    sqlite3_vtab_collation = vtab_collation(info: *mut sqlite3_index_info, constraint: c_int) -> *const c_char;
    sqlite3_value_type = value_type(value: *mut sqlite3_value) -> c_int;
}

/// Whether the host's SQLite was built with incremental blobs (not with `SQLITE_OMIT_INCRBLOB`).
pub fn has_blob_open() -> bool {
    // SAFETY: set_table() came first.
    unsafe { table().blob_open.is_some() }
}

/// Reads or sets a switch of the connection that takes an int and gives an int back, such as
/// `SQLITE_DBCONFIG_ENABLE_TRIGGER` (<https://sqlite.org/c3ref/c_dbconfig_defensive.html>): -1 only reads.
pub unsafe fn sqlite3_db_config_switch(
    db: *mut sqlite3,
    switch: c_int,
    value: c_int,
    result: *mut c_int,
) -> c_int {
    // SAFETY: these switches take exactly (int, int *), as passed here.
    unsafe {
        match table().db_config {
            Some(routine) => routine(db, switch, value, result),
            None => absent("db_config"),
        }
    }
}

/// Reads a counter of the connection (<https://sqlite.org/c3ref/c_dbstatus_options.html>).
pub unsafe fn sqlite3_db_status(
    db: *mut sqlite3,
    counter: c_int,
    current: *mut c_int,
    highest: *mut c_int,
    reset: c_int,
) -> c_int {
    // SAFETY: the caller keeps SQLite's own contract for this function.
    unsafe {
        match table().db_status {
            Some(routine) => routine(db, counter, current, highest, reset),
            None => absent("db_status"),
        }
    }
}

/// Copies a text without conversion specifiers into memory of SQLite's own.
///
/// Declared for sqlite-loadable, which passes one argument; a `%` in `text` would read arguments that are not there.
pub unsafe fn sqlite3_mprintf(text: *const c_char) -> *mut c_char {
    // SAFETY: the text is passed as an argument of "%s", so nothing in it is a specifier.
    unsafe {
        match table().mprintf {
            Some(routine) => routine(c"%s".as_ptr(), text),
            None => absent("mprintf"),
        }
    }
}
