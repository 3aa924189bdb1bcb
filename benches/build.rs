//! Asks the SQLite that is about to be linked whether it has the session extension.
//!
//! rusqlite's `session` feature would bring bindgen and so libclang. `LIBSQLITE3_FLAGS` compiles the
//! extension in without them, but only where that variable is set: without it the bench builds all the
//! same and leaves that peer out, where a missing symbol would stop the whole workspace at the link.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(session_extension)");
    println!("cargo::rerun-if-env-changed=LIBSQLITE3_FLAGS");
    println!("cargo::rerun-if-changed=build.rs");
    let Ok(folder) = env::var("DEP_SQLITE3_LIB_DIR") else {
        return;
    };
    let archive = Path::new(&folder).join("libsqlite3.a");
    println!("cargo::rerun-if-changed={}", archive.display());
    let symbol = b"sqlite3session_create\0";
    if fs::read(&archive).is_ok_and(|bytes| bytes.windows(symbol.len()).any(|part| part == symbol))
    {
        println!("cargo::rustc-cfg=session_extension");
    }
}
