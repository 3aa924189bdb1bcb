//! Whether SQLite shall go on, which it asks every so many operations: counted, and answered with no when told to. What is
//! counted is the thread's own.

use crate::fault::Fault;
use libsqlite3_sys as ffi;
use std::cell::Cell;
use std::ffi::{c_int, c_void};

/// After how many operations of a statement SQLite asks.
const PERIOD: c_int = 25;

/// What was asked since it was armed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interrupts {
    /// How often.
    pub seen: u64,
    /// How often the answer was no.
    pub fired: u64,
}

thread_local! {
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    static STATE: Cell<Interrupts> = const { Cell::new(Interrupts { seen: 0, fired: 0 }) };
}

/// Counts questions from here on, and interrupts at those at which the fault strikes.
pub fn arm_interrupts(fault: Option<Fault>) {
    FAULT.set(fault);
    STATE.set(Interrupts::default());
}

/// Interrupts nothing any more.
pub fn disarm_interrupts() {
    FAULT.set(None);
}

/// What happened so far.
pub fn interrupts() -> Interrupts {
    STATE.get()
}

/// Does something that is neither interrupted nor counted.
pub(super) fn without_interrupts<T>(work: impl FnOnce() -> T) -> T {
    let (fault, before) = (FAULT.take(), STATE.get());
    let result = work();
    STATE.set(before);
    FAULT.set(fault);
    result
}

unsafe extern "C" fn asked(_data: *mut c_void) -> c_int {
    let mut state = STATE.get();
    state.seen += 1;
    let stops = FAULT.get().is_some_and(|fault| fault.strikes_at(state.seen));
    state.fired += u64::from(stops);
    STATE.set(state);
    c_int::from(stops)
}

/// Has a connection ask.
pub(super) fn watch(connection: *mut ffi::sqlite3) {
    // SAFETY: an open connection, a function without data.
    unsafe {
        ffi::sqlite3_progress_handler(connection, PERIOD, Some(asked), std::ptr::null_mut());
    }
}
