//! The fence: SQLite's file system, allocator and C interface, and the only `unsafe` of the harness.
//!
//! [`install`] comes before anything else that uses SQLite in a process: the allocator can only be set then.

mod calls;
mod connection;
mod disk;
mod interrupts;
mod locks;
mod memory;
mod shared;

pub use connection::{Connection, Executed, Failure, LOADING, Value, is_complete, split_script};
pub(crate) use disk::add_files;
pub use disk::{Content, Disk, Files, SECTOR_BYTES};
pub use interrupts::{Interrupts, arm_interrupts, disarm_interrupts, interrupts};
pub use memory::{Memory, arm_memory, disarm_memory, memory};

use std::sync::OnceLock;

/// By which SQLite knows the file system.
const VFS_NAME: &std::ffi::CStr = c"talon-harness";

/// Puts the file system and the allocator under this process's SQLite; more calls change nothing.
///
/// # Errors
/// A text that says what SQLite refused: something used it before.
pub fn install() -> Result<(), String> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            memory::install()?;
            calls::install()
        })
        .clone()
}

/// Does something that no fault of memory and no interrupt reaches, and that is not counted.
pub fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    interrupts::without_interrupts(|| memory::without_memory_faults(work))
}

/// Has SQLite's random numbers begin anew, so that a run is the same whatever ran before it.
pub fn seed(seed: u64) {
    // Zero would mean the system's randomness.
    let seed = (seed as u32 | 1) as std::ffi::c_int;
    let database = std::ptr::null_mut::<libsqlite3_sys::sqlite3>();
    // SAFETY: this control takes a number and a connection that may be null.
    unsafe {
        libsqlite3_sys::sqlite3_test_control(
            libsqlite3_sys::SQLITE_TESTCTRL_PRNG_SEED,
            seed,
            database,
        );
    }
}
