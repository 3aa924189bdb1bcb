//! The session of two tills that the README shows is what the sqlite3 shell and the program answer.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that lacks what it needs ends there and then"
)]

use std::path::Path;
use std::process::Command;
use talon_tests::{extension_path, installed, readme_shows};

/// As the README calls it.
const SCRIPT: &str = "sql/sample/two_tills.sh";

#[test]
fn the_readme_shows_two_tills_as_they_exchange_what_they_sold() {
    installed("sqlite3", "sqlite3");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let played = Command::new("sh")
        .arg(root.join(SCRIPT))
        .env("TALON_LIBRARY", extension_path())
        .env("TALON_PROGRAM", env!("CARGO_BIN_EXE_talon"))
        .output()
        .expect("the script runs");
    assert!(played.status.success(), "{played:?}");
    assert_eq!(String::from_utf8_lossy(&played.stderr), "");
    let played = String::from_utf8(played.stdout).expect("UTF-8");
    readme_shows(SCRIPT, &played, "cargo test -p talon-driver --test sample");
}
