//! Replays what takes lines away in real shops against the built extension, and judges the database afterwards.
//!
//! A [`scenario`] says what a host does. [`replay`] runs it once without Talon and without a fault, which gives the
//! [`model`] of what was committed; then with Talon and with each [`fault`], on a disk in memory that [`vfs`] puts under
//! SQLite. [`judge`] holds what is left against the model.

pub(crate) mod again;
pub(crate) mod bench;
pub mod fault;
pub(crate) mod faulted;
pub mod figures;
pub mod fuzz;
pub mod guarded;
pub mod judge;
pub mod model;
pub mod observe;
pub(crate) mod older;
pub mod process;
pub mod record;
pub mod replay;
pub mod scenario;
pub mod session;
pub mod simulate;
pub mod sites;
pub(crate) mod sound;
pub(crate) mod sql;
pub mod tables;
pub mod told;
pub mod vfs;
pub mod workers;

use std::path::PathBuf;

/// The extension that this workspace built: beside the program, where cargo leaves a dependency's.
pub fn built_library() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let name = if cfg!(target_os = "macos") { "libtalon.dylib" } else { "libtalon.so" };
    let beside = |folder: &std::path::Path| [folder.join("deps").join(name), folder.join(name)];
    program.ancestors().flat_map(beside).find(|path| path.is_file())
}
