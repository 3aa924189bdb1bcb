//! SQL functions.

use super::connection::Connection;
use super::panic_guard::guarded;
use super::value::Argument;
use super::{Failure, code};
use core::ffi::{c_int, c_void};
use sqlite_loadable::{FunctionFlags, ext};
use sqlite3ext_sys as sys;
use std::ffi::CString;
use std::ops::RangeInclusive;
use std::rc::Rc;

/// What a function answers.
pub enum Output {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A text.
    Text(String),
}

/// A function's body: the connection's data and the arguments to an answer.
pub type Function<T> = fn(&T, &[Argument]) -> Result<Output, Failure>;

/// Who calls a function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Triggers too, in any schema.
    Trigger,
    /// Statements that the application itself runs: it must not be reached from a schema that somebody else wrote. The
    /// limits that the application has set do not hold inside.
    Application,
    /// Talon's own statements.
    Talon,
}

struct Registered<T> {
    name: &'static str,
    least: usize,
    most: usize,
    connection: Connection,
    caller: Caller,
    data: Rc<T>,
    function: Function<T>,
}

/// Registers an SQL function of as many arguments as `counts` says.
///
/// It is registered once, whatever the counts: SQLite keeps each registration in the connection's lookaside memory, of
/// which there is little, and what does not fit there any more makes every statement of the host slower.
///
/// # Errors
/// What SQLite reports: [`code::BUSY`] when another function of this name and arity is in use.
pub fn create_function<T>(
    connection: Connection,
    name: &'static str,
    counts: RangeInclusive<usize>,
    caller: Caller,
    data: &Rc<T>,
    function: Function<T>,
) -> Result<(), Failure> {
    let reach = match caller {
        Caller::Trigger => FunctionFlags::INNOCUOUS,
        Caller::Application | Caller::Talon => FunctionFlags::DIRECTONLY,
    };
    let flags = FunctionFlags::UTF8 | reach;
    let c_name = CString::new(name).map_err(|_| Failure::new("a name with NUL"))?;
    let (least, most) = counts.into_inner();
    let arity = if least == most { least as c_int } else { -1 };
    let data = Rc::clone(data);
    let registered = Registered { name, least, most, connection, caller, data, function };
    let registered = Box::into_raw(Box::new(registered));
    // SAFETY: the connection is open; SQLite owns `registered` from here on and frees it with `destroy`, also when it
    // refuses the registration.
    let result = unsafe {
        ext::sqlite3ext_create_function_v2(
            connection.raw(),
            c_name.as_ptr(),
            arity,
            flags.bits(),
            registered.cast(),
            Some(call::<T>),
            None,
            None,
            Some(destroy::<T>),
        )
    };
    if result == code::OK { Ok(()) } else { Err(connection.failure(result)) }
}

unsafe extern "C" fn call<T>(
    context: *mut sys::sqlite3_context,
    count: c_int,
    values: *mut *mut sys::sqlite3_value,
) {
    // SAFETY: SQLite passes `count` live values; Argument is a transparent wrapper of a value pointer.
    let arguments = unsafe {
        if count == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(values.cast::<Argument>(), count as usize)
        }
    };
    // SAFETY: the data is what create_function boxed, alive until `destroy`.
    let registered = unsafe { &*sys::sqlite3_user_data(context).cast::<Registered<T>>() };
    let is_asked = registered.caller == Caller::Application;
    let lifted = is_asked.then(|| registered.connection.lift_limits());
    let result = guarded(|| {
        if arguments.len() < registered.least || arguments.len() > registered.most {
            // As SQLite says it of functions that it counts for.
            let name = registered.name;
            return Err(Failure::new(format!("wrong number of arguments to function {name}()")));
        }
        (registered.function)(&registered.data, arguments)
    });
    drop(lifted);
    // SAFETY: the context is the one of this call.
    unsafe { give(context, result) };
}

unsafe extern "C" fn destroy<T>(data: *mut c_void) {
    // SAFETY: boxed by create_function, destroyed once by SQLite.
    let boxed = unsafe { Box::from_raw(data.cast::<Registered<T>>()) };
    // A panic in a destructor has nowhere to go: the connection is closing.
    let _ = guarded(|| {
        drop(boxed);
        Ok(())
    });
}

/// # Safety
/// `context` belongs to the running call.
pub(super) unsafe fn give(context: *mut sys::sqlite3_context, result: Result<Output, Failure>) {
    // SAFETY: the caller's promise; texts are copied by SQLite (SQLITE_TRANSIENT) before the call returns.
    unsafe {
        match result {
            Ok(Output::Null) => ext::sqlite3ext_result_null(context),
            Ok(Output::Integer(integer)) => ext::sqlite3ext_result_int64(context, integer),
            Ok(Output::Text(text)) => give_bytes(context, text.as_bytes()),
            Err(failure) => give_failure(context, &failure),
        }
    }
}

/// # Safety
/// `context` belongs to the running call.
pub(super) unsafe fn give_bytes(context: *mut sys::sqlite3_context, text: &[u8]) {
    let Ok(length) = c_int::try_from(text.len()) else {
        // SAFETY: the caller's promise.
        return unsafe { ext::sqlite3ext_result_error_code(context, code::TOOBIG) };
    };
    // SAFETY: -1 is SQLITE_TRANSIENT: SQLite copies the bytes before it returns.
    unsafe {
        let transient: sys::Destructor = std::mem::transmute(-1_isize);
        ext::sqlite3ext_result_text(context, text.as_ptr().cast(), length, transient);
    }
}

/// # Safety
/// `context` belongs to the running call.
pub(super) unsafe fn give_failure(context: *mut sys::sqlite3_context, failure: &Failure) {
    let length = c_int::try_from(failure.message.len()).unwrap_or(c_int::MAX);
    // SAFETY: the caller's promise; the message is copied. First the text, then the code: the other way round the text
    // would reset the code.
    unsafe {
        ext::sqlite3ext_result_error(context, failure.message.as_ptr().cast(), length);
        ext::sqlite3ext_result_error_code(context, failure.code);
    }
}
