//! Eponymous virtual tables: read, written, and told of transactions.
//!
//! A table exists under its module's name in every connection, without CREATE VIRTUAL TABLE
//! (<https://sqlite.org/vtab.html#eponymous_virtual_tables>).

use super::connection::Connection;
use super::entry::copy_text;
use super::function::{give_bytes, give_failure};
use super::panic_guard::guarded;
use super::value::{Argument, Value, ValueRef};
use super::{Failure, code};
use core::ffi::{c_char, c_int, c_void};
use sqlite_loadable::ext;
use sqlite3ext_sys as sys;
use std::ffi::{CStr, CString};
use std::rc::Rc;

/// What a virtual table is. `Data` is the connection's.
pub trait Table: Sized + 'static {
    /// Shared by everything registered on one connection.
    type Data: 'static;
    /// A scan.
    type Cursor: Cursor;

    /// `CREATE TABLE x(…)`: columns, hidden ones included; at most 16.
    const DECLARATION: &'static str;
    /// Columns whose `=` and `IS` are handed to [`Table::open`], which alone answers for them; at most 8.
    const PUSHED: &'static [usize] = &[];
    /// A pushed column without which there is no answer: the argument of a table-valued function.
    const REQUIRED: Option<usize> = None;
    /// Whether INSERT works.
    const WRITABLE: bool = false;
    /// Whether `begin` to `rollback_to` are called.
    const TRANSACTIONAL: bool = false;

    /// Begins a scan.
    ///
    /// # Errors
    /// The text that the SQL user reads, with its code.
    fn open(data: &Rc<Self::Data>, constraints: &Constraints<'_>) -> Result<Self::Cursor, Failure>;

    /// Takes a row of an INSERT, gives its rowid.
    ///
    /// # Errors
    /// The text that the SQL user reads, with its code.
    fn insert(_data: &Rc<Self::Data>, _row: &Row<'_>) -> Result<i64, Failure> {
        Err(Failure::with_code(code::READONLY, "this table is read-only"))
    }

    /// The connection lets go of the table: it closes, or may be about to.
    fn disconnected(_data: &Rc<Self::Data>) {}
}

/// A transaction's course, for tables that are [`Table::TRANSACTIONAL`]; called on the connection's data once a
/// statement has written to such a table in the transaction.
pub trait Transaction {
    /// The table takes part in the transaction from here on.
    ///
    /// # Errors
    /// Fails the statement that wrote.
    fn begin(&self) -> Result<(), Failure>;
    /// The transaction is about to commit.
    ///
    /// # Errors
    /// Refuses the commit; any code but BUSY rolls back.
    fn sync(&self) -> Result<(), Failure>;
    /// The transaction has committed.
    fn commit(&self);
    /// The transaction was rolled back, or the connection is being closed.
    fn rollback(&self);
    /// Savepoint `number` was opened, by the host or around one of its statements.
    fn savepoint(&self, number: i32);
    /// Savepoint `number` and those above it were released.
    ///
    /// # Errors
    /// Fails the statement or the RELEASE.
    fn release(&self, number: i32) -> Result<(), Failure>;
    /// What happened since savepoint `number` was undone.
    fn rollback_to(&self, number: i32);
}

/// A scan over the rows of a virtual table.
pub trait Cursor {
    /// Whether there is no current row.
    fn eof(&self) -> bool;
    /// Steps to the next row.
    ///
    /// # Errors
    /// The text that the SQL user reads, with its code.
    fn next(&mut self) -> Result<(), Failure>;
    /// Column `index` of the current row, counted from 0.
    ///
    /// # Errors
    /// The text that the SQL user reads, with its code.
    fn column(&self, index: usize) -> Result<Value, Failure>;
    /// The current row's id.
    fn rowid(&self) -> i64;
}

/// What a scan was asked for.
pub struct Constraints<'a> {
    pushed: &'static [usize],
    mask: u32,
    used: u32,
    values: &'a [Argument],
}

impl Constraints<'_> {
    /// The value that `column` must equal, where the query says so.
    pub fn equal(&self, column: usize) -> Option<ValueRef<'_>> {
        let index = self.pushed.iter().position(|pushed| *pushed == column)?;
        if self.mask & (1 << index) == 0 {
            return None;
        }
        let place = (self.mask & ((1 << index) - 1)).count_ones() as usize;
        self.values.get(place).map(Argument::get)
    }

    /// Whether the query reads `column`.
    pub fn uses(&self, column: usize) -> bool {
        self.used & (1 << column) != 0
    }
}

/// A row given to INSERT.
pub struct Row<'a>(&'a [Argument]);

impl Row<'_> {
    /// Column `index`, counted from 0; NULL where the INSERT does not name it.
    pub fn column(&self, index: usize) -> ValueRef<'_> {
        self.0.get(index).map_or(ValueRef::Null, Argument::get)
    }
}

#[repr(C)]
struct Instance<T: Table> {
    base: sys::sqlite3_vtab,
    /// What the table is called.
    name: String,
    connection: Connection,
    data: Rc<T::Data>,
}

#[repr(C)]
struct OpenCursor<T: Table> {
    base: sys::sqlite3_vtab_cursor,
    cursor: Option<T::Cursor>,
}

struct Methods<T: Table>(std::marker::PhantomData<T>);

impl<T: Table> Methods<T>
where
    T::Data: Transaction,
{
    const MODULE: sys::sqlite3_module = sys::sqlite3_module {
        iVersion: 2,
        xCreate: None,
        xConnect: Some(connect::<T>),
        xBestIndex: Some(best_index::<T>),
        xDisconnect: Some(disconnect::<T>),
        xDestroy: None,
        xOpen: Some(open::<T>),
        xClose: Some(close::<T>),
        xFilter: Some(filter::<T>),
        xNext: Some(next::<T>),
        xEof: Some(eof::<T>),
        xColumn: Some(column::<T>),
        xRowid: Some(rowid::<T>),
        xUpdate: if T::WRITABLE { Some(update::<T>) } else { None },
        xBegin: if T::TRANSACTIONAL { Some(begin::<T>) } else { None },
        xSync: if T::TRANSACTIONAL { Some(sync::<T>) } else { None },
        xCommit: if T::TRANSACTIONAL { Some(commit::<T>) } else { None },
        xRollback: if T::TRANSACTIONAL { Some(rollback::<T>) } else { None },
        xFindFunction: None,
        xRename: None,
        xSavepoint: if T::TRANSACTIONAL { Some(savepoint::<T>) } else { None },
        xRelease: if T::TRANSACTIONAL { Some(release::<T>) } else { None },
        xRollbackTo: if T::TRANSACTIONAL { Some(rollback_to::<T>) } else { None },
        xShadowName: None,
    };
    const STATIC: &'static sys::sqlite3_module = &Self::MODULE;
}

/// Registers the table under `name`.
///
/// # Errors
/// What SQLite reports.
pub fn create_module<T: Table>(
    connection: Connection,
    name: &str,
    data: &Rc<T::Data>,
) -> Result<(), Failure>
where
    T::Data: Transaction,
{
    let name = CString::new(name).map_err(|_| Failure::new("a name with NUL"))?;
    let data = Box::into_raw(Box::new(Rc::clone(data)));
    // SAFETY: the module is a constant; SQLite owns `data` from here on and frees it with `destroy`, also on failure.
    let result = unsafe {
        ext::sqlite3ext_create_module_v2(
            connection.raw(),
            name.as_ptr(),
            Methods::<T>::STATIC,
            data.cast(),
            Some(destroy::<T>),
        )
    };
    if result == code::OK { Ok(()) } else { Err(connection.failure(result)) }
}

unsafe extern "C" fn destroy<T: Table>(data: *mut c_void) {
    // SAFETY: boxed by create_module, destroyed once.
    let boxed = unsafe { Box::from_raw(data.cast::<Rc<T::Data>>()) };
    let _ = guarded(|| {
        drop(boxed);
        Ok(())
    });
}

unsafe extern "C" fn connect<T: Table>(
    db: *mut sys::sqlite3,
    data: *mut c_void,
    _count: c_int,
    arguments: *const *const c_char,
    table: *mut *mut sys::sqlite3_vtab,
    error: *mut *mut c_char,
) -> c_int {
    let declared = CString::new(T::DECLARATION).unwrap_or_default();
    // SAFETY: the connection is open, and outlives the tables that are connected to it.
    let Some(connection) = (unsafe { Connection::from_raw(db) }) else {
        return code::INTERNAL;
    };
    let _lifted = connection.lift_limits();
    // SAFETY: called by SQLite while it connects the table; the text is copied by SQLite.
    let result = unsafe { ext::sqlitex_declare_vtab(db, declared.as_ptr()) };
    if result != code::OK {
        // SAFETY: SQLite frees the text.
        unsafe { *error = copy_text(T::DECLARATION) };
        return result;
    }
    // SAFETY: the first argument is always the name that the module was registered under, as a C string.
    let name = unsafe { CStr::from_ptr(*arguments) }.to_string_lossy().into_owned();
    // SAFETY: the data is what create_module boxed.
    let data = unsafe { Rc::clone(&*data.cast::<Rc<T::Data>>()) };
    let instance = Box::new(Instance::<T> {
        base: sys::sqlite3_vtab {
            pModule: std::ptr::null(),
            nRef: 0,
            zErrMsg: std::ptr::null_mut(),
        },
        name,
        connection,
        data,
    });
    // SAFETY: `base` is the first field of a repr(C) struct, so the pointer serves as both.
    unsafe { *table = Box::into_raw(instance).cast() };
    code::OK
}

unsafe extern "C" fn disconnect<T: Table>(table: *mut sys::sqlite3_vtab) -> c_int {
    // SAFETY: boxed by `connect`, disconnected once.
    let instance = unsafe { Box::from_raw(table.cast::<Instance<T>>()) };
    let _ = guarded(|| {
        T::disconnected(&instance.data);
        Ok(())
    });
    code::OK
}

/// Whether a constraint compares under BINARY, as tables here do.
///
/// # Safety
/// `info` is what SQLite passed to xBestIndex, and `index` is one of its constraints.
unsafe fn is_binary(info: *mut sys::sqlite3_index_info, index: c_int) -> bool {
    // SAFETY: the caller's promise; the name lives as long as the call.
    unsafe {
        let name = sys::sqlite3_vtab_collation(info, index);
        name.is_null() || CStr::from_ptr(name).to_bytes().eq_ignore_ascii_case(b"BINARY")
    }
}

unsafe extern "C" fn best_index<T: Table>(
    _table: *mut sys::sqlite3_vtab,
    info: *mut sys::sqlite3_index_info,
) -> c_int {
    // SAFETY: SQLite passes arrays of nConstraint entries, the usages to be written.
    let (byte_by_byte, info, constraints, usages) = unsafe {
        let byte_by_byte: Vec<bool> =
            (0..(*info).nConstraint).map(|index| is_binary(info, index)).collect();
        let info = &mut *info;
        let count = info.nConstraint as usize;
        if count == 0 {
            (byte_by_byte, info, &[][..], &mut [][..])
        } else {
            let constraints = std::slice::from_raw_parts(info.aConstraint, count);
            let usages = std::slice::from_raw_parts_mut(info.aConstraintUsage, count);
            (byte_by_byte, info, constraints, usages)
        }
    };
    let mut chosen = [None; 8];
    for (index, constraint) in constraints.iter().enumerate() {
        let equality = matches!(
            u32::from(constraint.op),
            sys::SQLITE_INDEX_CONSTRAINT_EQ | sys::SQLITE_INDEX_CONSTRAINT_IS
        );
        let pushed = T::PUSHED.iter().position(|column| *column as c_int == constraint.iColumn);
        let (true, Some(pushed)) = (equality, pushed) else {
            continue;
        };
        // `kind = 'SALE' COLLATE NOCASE` is for SQLite to tell, from all rows.
        if !byte_by_byte[index] && T::REQUIRED != Some(T::PUSHED[pushed]) {
            continue;
        }
        if constraint.usable == 0 {
            if T::REQUIRED == Some(T::PUSHED[pushed]) {
                return code::CONSTRAINT;
            }
        } else if chosen[pushed].is_none() {
            chosen[pushed] = Some(index);
        }
    }
    let mut mask: c_int = 0;
    let mut place = 0;
    let mut rows = 1_000_000.0;
    for (pushed, index) in chosen.iter().enumerate() {
        if let Some(index) = index {
            place += 1;
            mask |= 1 << pushed;
            usages[*index].argvIndex = place;
            usages[*index].omit = 1;
            rows /= 100.0;
        }
    }
    info.idxNum = mask | ((info.colUsed & 0xffff) as c_int) << 8;
    info.estimatedCost = rows;
    info.estimatedRows = rows as i64;
    code::OK
}

unsafe extern "C" fn open<T: Table>(
    _table: *mut sys::sqlite3_vtab,
    cursor: *mut *mut sys::sqlite3_vtab_cursor,
) -> c_int {
    let opened = Box::new(OpenCursor::<T> {
        base: sys::sqlite3_vtab_cursor { pVtab: std::ptr::null_mut() },
        cursor: None,
    });
    // SAFETY: `base` is the first field of a repr(C) struct; SQLite fills pVtab in.
    unsafe { *cursor = Box::into_raw(opened).cast() };
    code::OK
}

unsafe extern "C" fn close<T: Table>(cursor: *mut sys::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: boxed by `open`, closed once.
    let opened = unsafe { Box::from_raw(cursor.cast::<OpenCursor<T>>()) };
    let _ = guarded(|| {
        drop(opened);
        Ok(())
    });
    code::OK
}

/// # Safety
/// `table` is live.
unsafe fn report(table: *mut sys::sqlite3_vtab, result: Result<(), Failure>) -> c_int {
    match result {
        Ok(()) => code::OK,
        Err(failure) => {
            // SAFETY: zErrMsg is SQLite's memory, freed before it is replaced.
            unsafe {
                sys::sqlite3_free((*table).zErrMsg.cast());
                (*table).zErrMsg = copy_text(&failure.message);
            }
            failure.code
        }
    }
}

unsafe extern "C" fn filter<T: Table>(
    cursor: *mut sys::sqlite3_vtab_cursor,
    number: c_int,
    _text: *const c_char,
    count: c_int,
    values: *mut *mut sys::sqlite3_value,
) -> c_int {
    // SAFETY: boxed by `open`; pVtab is the instance that `connect` boxed; `count` live values are passed.
    unsafe {
        let table = (*cursor).pVtab;
        let data = &(*table.cast::<Instance<T>>()).data;
        let _lifted = (*table.cast::<Instance<T>>()).connection.lift_limits();
        let opened = &mut *cursor.cast::<OpenCursor<T>>();
        let values = if count == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(values.cast::<Argument>(), count as usize)
        };
        let constraints = Constraints {
            pushed: T::PUSHED,
            mask: (number & 0xff) as u32,
            used: (number >> 8) as u32,
            values,
        };
        opened.cursor = None;
        let result = guarded(|| {
            opened.cursor = Some(T::open(data, &constraints)?);
            Ok(())
        });
        report(table, result)
    }
}

unsafe extern "C" fn next<T: Table>(cursor: *mut sys::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: boxed by `open`; pVtab is live.
    unsafe {
        let opened = &mut *cursor.cast::<OpenCursor<T>>();
        let _lifted = (*(*cursor).pVtab.cast::<Instance<T>>()).connection.lift_limits();
        let result = guarded(|| match &mut opened.cursor {
            Some(cursor) => cursor.next(),
            None => Ok(()),
        });
        report((*cursor).pVtab, result)
    }
}

unsafe extern "C" fn eof<T: Table>(cursor: *mut sys::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: boxed by `open`.
    let opened = unsafe { &*cursor.cast::<OpenCursor<T>>() };
    let at_end = guarded(|| Ok(opened.cursor.as_ref().is_none_or(Cursor::eof)));
    c_int::from(at_end.unwrap_or(true))
}

unsafe extern "C" fn column<T: Table>(
    cursor: *mut sys::sqlite3_vtab_cursor,
    context: *mut sys::sqlite3_context,
    index: c_int,
) -> c_int {
    // SAFETY: boxed by `open`; the context belongs to this call; SQLite copies the bytes.
    unsafe {
        let opened = &*cursor.cast::<OpenCursor<T>>();
        let result = guarded(|| match &opened.cursor {
            Some(cursor) => cursor.column(index as usize),
            None => Ok(Value::Null),
        });
        match result {
            Ok(Value::Null) => ext::sqlite3ext_result_null(context),
            Ok(Value::Integer(integer)) => ext::sqlite3ext_result_int64(context, integer),
            Ok(Value::Real(real)) => ext::sqlite3ext_result_double(context, real),
            Ok(Value::Text(text)) => give_bytes(context, &text),
            Ok(Value::Blob(blob)) => {
                let length = c_int::try_from(blob.len()).unwrap_or(c_int::MAX);
                ext::sqlite3ext_result_blob(context, blob.as_ptr().cast(), length);
            }
            Err(failure) => {
                give_failure(context, &failure);
                return failure.code;
            }
        }
    }
    code::OK
}

unsafe extern "C" fn rowid<T: Table>(
    cursor: *mut sys::sqlite3_vtab_cursor,
    rowid: *mut sys::sqlite3_int64,
) -> c_int {
    // SAFETY: boxed by `open`; `rowid` is written once.
    unsafe {
        let opened = &*cursor.cast::<OpenCursor<T>>();
        *rowid = guarded(|| Ok(opened.cursor.as_ref().map_or(0, Cursor::rowid))).unwrap_or(0);
    }
    code::OK
}

unsafe extern "C" fn update<T: Table>(
    table: *mut sys::sqlite3_vtab,
    count: c_int,
    values: *mut *mut sys::sqlite3_value,
    rowid: *mut sys::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes `count` live values: the old rowid, and for INSERT a new one and the columns.
    unsafe {
        let Instance { name, connection, data, .. } = &*table.cast::<Instance<T>>();
        let _lifted = connection.lift_limits();
        let values = std::slice::from_raw_parts(values.cast::<Argument>(), count as usize);
        let result = guarded(|| {
            if values.len() < 2 || !values[0].get().is_null() {
                let text = format!("{name}: it takes INSERT only; its rows are a journal");
                return Err(Failure::with_code(code::READONLY, text));
            }
            *rowid = T::insert(data, &Row(&values[2..]))?;
            Ok(())
        });
        report(table, result)
    }
}

/// # Safety
/// `table` was boxed by `connect`.
unsafe fn data<'a, T: Table>(table: *mut sys::sqlite3_vtab) -> &'a T::Data {
    // SAFETY: the caller's promise.
    unsafe { &(*table.cast::<Instance<T>>()).data }
}

unsafe extern "C" fn begin<T: Table>(table: *mut sys::sqlite3_vtab) -> c_int
where
    T::Data: Transaction,
{
    // SAFETY: a live instance.
    unsafe { report(table, guarded(|| data::<T>(table).begin())) }
}

unsafe extern "C" fn sync<T: Table>(table: *mut sys::sqlite3_vtab) -> c_int
where
    T::Data: Transaction,
{
    // SAFETY: a live instance.
    unsafe { report(table, guarded(|| data::<T>(table).sync())) }
}

unsafe extern "C" fn commit<T: Table>(table: *mut sys::sqlite3_vtab) -> c_int
where
    T::Data: Transaction,
{
    // SAFETY: a live instance. SQLite ignores what xCommit returns.
    unsafe {
        let _ = guarded(|| {
            data::<T>(table).commit();
            Ok(())
        });
    }
    code::OK
}

unsafe extern "C" fn rollback<T: Table>(table: *mut sys::sqlite3_vtab) -> c_int
where
    T::Data: Transaction,
{
    // SAFETY: a live instance. SQLite ignores what xRollback returns.
    unsafe {
        let _ = guarded(|| {
            data::<T>(table).rollback();
            Ok(())
        });
    }
    code::OK
}

unsafe extern "C" fn savepoint<T: Table>(table: *mut sys::sqlite3_vtab, number: c_int) -> c_int
where
    T::Data: Transaction,
{
    // SAFETY: a live instance.
    unsafe {
        let result = guarded(|| {
            data::<T>(table).savepoint(number);
            Ok(())
        });
        report(table, result)
    }
}

unsafe extern "C" fn release<T: Table>(table: *mut sys::sqlite3_vtab, number: c_int) -> c_int
where
    T::Data: Transaction,
{
    // SAFETY: a live instance.
    unsafe { report(table, guarded(|| data::<T>(table).release(number))) }
}

unsafe extern "C" fn rollback_to<T: Table>(table: *mut sys::sqlite3_vtab, number: c_int) -> c_int
where
    T::Data: Transaction,
{
    // SAFETY: a live instance.
    unsafe {
        let result = guarded(|| {
            data::<T>(table).rollback_to(number);
            Ok(())
        });
        report(table, result)
    }
}
