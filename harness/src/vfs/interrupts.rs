//! Whether SQLite shall go on, which it asks every so many operations: counted, and answered with no when told to. What is
//! counted is the thread's own.

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

#[derive(Clone, Copy)]
struct Plan {
    at: u64,
    lasting: bool,
}

thread_local! {
    static PLAN: Cell<Plan> = const { Cell::new(Plan { at: 0, lasting: false }) };
    static STATE: Cell<Interrupts> = const { Cell::new(Interrupts { seen: 0, fired: 0 }) };
}

/// Counts from here on; interrupts at the question numbered `at` (0: none), and with `lasting` at all that follow.
pub fn arm_interrupts(at: u64, lasting: bool) {
    PLAN.set(Plan { at, lasting });
    STATE.set(Interrupts::default());
}

/// Interrupts nothing any more; gives what happened.
pub fn disarm_interrupts() -> Interrupts {
    PLAN.set(Plan { at: 0, lasting: false });
    STATE.get()
}

/// What happened so far.
pub fn interrupts() -> Interrupts {
    STATE.get()
}

/// Does something that is neither interrupted nor counted.
pub(super) fn without_interrupts<T>(work: impl FnOnce() -> T) -> T {
    let (plan, before) = (PLAN.replace(Plan { at: 0, lasting: false }), STATE.get());
    let result = work();
    STATE.set(before);
    PLAN.set(plan);
    result
}

unsafe extern "C" fn asked(_data: *mut c_void) -> c_int {
    let (mut state, plan) = (STATE.get(), PLAN.get());
    state.seen += 1;
    let stops = plan.at > 0 && (state.seen == plan.at || plan.lasting && state.seen > plan.at);
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
