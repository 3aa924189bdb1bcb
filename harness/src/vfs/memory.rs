//! SQLite's allocator, wrapped: it counts, and gives nothing when told to. What is counted is the thread's own.

use crate::fault::Fault;
use libsqlite3_sys as ffi;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

/// What the allocator did since it was armed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Allocations asked for.
    pub seen: u64,
    /// How many of them failed.
    pub fired: u64,
    /// Bytes that this thread has allocated and not freed, since it began.
    pub held_bytes: i64,
}

thread_local! {
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    static STATE: Cell<Memory> =
        const { Cell::new(Memory { seen: 0, fired: 0, held_bytes: 0 }) };
}

static SYSTEM: OnceLock<Methods> = OnceLock::new();

struct Methods(ffi::sqlite3_mem_methods);
// SAFETY: a table of functions of SQLite's own that any thread may call; nothing in it is ever changed.
unsafe impl Send for Methods {}
// SAFETY: as above.
unsafe impl Sync for Methods {}

/// Counts allocations from here on, and lets those fail at which the fault strikes.
pub fn arm_memory(fault: Option<Fault>) {
    FAULT.set(fault);
    STATE.set(Memory { held_bytes: STATE.get().held_bytes, ..Memory::default() });
}

/// Lets every allocation succeed again.
pub fn disarm_memory() {
    FAULT.set(None);
}

/// What happened so far.
pub fn memory() -> Memory {
    STATE.get()
}

/// Does something that no memory fault reaches and that is not counted.
pub(super) fn without_memory_faults<T>(work: impl FnOnce() -> T) -> T {
    let (fault, before) = (FAULT.take(), STATE.get());
    let result = work();
    STATE.set(Memory { held_bytes: STATE.get().held_bytes, ..before });
    FAULT.set(fault);
    result
}

fn may_allocate() -> bool {
    let mut state = STATE.get();
    state.seen += 1;
    let fails = FAULT.get().is_some_and(|fault| fault.strikes_at(state.seen));
    state.fired += u64::from(fails);
    STATE.set(state);
    !fails
}

fn hold(bytes: c_int) {
    let mut state = STATE.get();
    state.held_bytes += i64::from(bytes);
    STATE.set(state);
}

fn size(methods: &ffi::sqlite3_mem_methods, memory: *mut c_void) -> c_int {
    // SAFETY: SQLite asks about its own allocations only.
    methods.xSize.map_or(0, |size| unsafe { size(memory) })
}

unsafe extern "C" fn allocate(bytes: c_int) -> *mut c_void {
    let Some(Methods(methods)) = SYSTEM.get() else { return std::ptr::null_mut() };
    if !may_allocate() {
        return std::ptr::null_mut();
    }
    let Some(allocate) = methods.xMalloc else { return std::ptr::null_mut() };
    // SAFETY: handed on as SQLite asked for it.
    let memory = unsafe { allocate(bytes) };
    if !memory.is_null() {
        hold(size(methods, memory));
    }
    memory
}

unsafe extern "C" fn free(memory: *mut c_void) {
    let Some(Methods(methods)) = SYSTEM.get() else { return };
    hold(-size(methods, memory));
    if let Some(free) = methods.xFree {
        // SAFETY: allocated by the same methods.
        unsafe { free(memory) };
    }
}

unsafe extern "C" fn reallocate(memory: *mut c_void, bytes: c_int) -> *mut c_void {
    let Some(Methods(methods)) = SYSTEM.get() else { return std::ptr::null_mut() };
    if !may_allocate() {
        return std::ptr::null_mut();
    }
    let Some(reallocate) = methods.xRealloc else { return std::ptr::null_mut() };
    let before = size(methods, memory);
    // SAFETY: allocated by the same methods.
    let moved = unsafe { reallocate(memory, bytes) };
    if !moved.is_null() {
        hold(size(methods, moved) - before);
    }
    moved
}

unsafe extern "C" fn measure(memory: *mut c_void) -> c_int {
    SYSTEM.get().map_or(0, |Methods(methods)| size(methods, memory))
}

unsafe extern "C" fn round_up(bytes: c_int) -> c_int {
    let method = SYSTEM.get().and_then(|Methods(methods)| methods.xRoundup);
    // SAFETY: a pure function of SQLite's own.
    method.map_or(bytes, |round_up| unsafe { round_up(bytes) })
}

unsafe extern "C" fn begin(_data: *mut c_void) -> c_int {
    let Some(Methods(methods)) = SYSTEM.get() else { return ffi::SQLITE_ERROR };
    // SAFETY: as SQLite would have called it.
    methods.xInit.map_or(ffi::SQLITE_OK, |begin| unsafe { begin(methods.pAppData) })
}

unsafe extern "C" fn end(_data: *mut c_void) {
    if let Some(Methods(methods)) = SYSTEM.get()
        && let Some(end) = methods.xShutdown
    {
        // SAFETY: as SQLite would have called it.
        unsafe { end(methods.pAppData) };
    }
}

/// Wraps the allocator, and has every small allocation go through it too.
pub(super) fn install() -> Result<(), String> {
    let mut methods = ffi::sqlite3_mem_methods {
        xMalloc: None,
        xFree: None,
        xRealloc: None,
        xSize: None,
        xRoundup: None,
        xInit: None,
        xShutdown: None,
        pAppData: std::ptr::null_mut(),
    };
    // SAFETY: the options take a pointer to such a table; SQLite copies it.
    let found = unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut methods) };
    if found != ffi::SQLITE_OK {
        return Err(format!("SQLite does not give its allocator ({found})"));
    }
    SYSTEM.get_or_init(|| Methods(methods));
    let mut wrapped = ffi::sqlite3_mem_methods {
        xMalloc: Some(allocate),
        xFree: Some(free),
        xRealloc: Some(reallocate),
        xSize: Some(measure),
        xRoundup: Some(round_up),
        xInit: Some(begin),
        xShutdown: Some(end),
        pAppData: std::ptr::null_mut(),
    };
    // SAFETY: as above; the second takes two numbers: no lookaside memory, which would hide allocations from us.
    let set = unsafe {
        [
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw mut wrapped),
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_LOOKASIDE, 0 as c_int, 0 as c_int),
        ]
    };
    if set.iter().any(|code| *code != ffi::SQLITE_OK) {
        return Err(format!("SQLite keeps its allocator ({set:?}): something used it before"));
    }
    Ok(())
}
