//! The session of two tills that the README shows is what the sqlite3 shell and the program answer.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that lacks what it needs ends there and then"
)]

use std::path::Path;
use std::process::Command;
use talon_tests::{extension_path, installed};

/// What opens the README's block, whose end is that of the code.
const OPENING: &str = "```console\n$ sh sql/sample/two_tills.sh\n";

#[test]
fn the_readme_shows_two_tills_as_they_exchange_what_they_sold() {
    installed("sqlite3", "sqlite3");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let played = Command::new("sh")
        .arg(root.join("sql/sample/two_tills.sh"))
        .env("TALON_LIBRARY", extension_path())
        .env("TALON_PROGRAM", env!("CARGO_BIN_EXE_talon"))
        .output()
        .expect("the script runs");
    assert!(played.status.success(), "{played:?}");
    assert_eq!(String::from_utf8_lossy(&played.stderr), "");
    let played = String::from_utf8(played.stdout).expect("UTF-8");
    let path = root.join("README.md");
    let readme = std::fs::read_to_string(&path).expect("the README");
    let (before, rest) = readme.split_once(OPENING).expect("the README has the session");
    let (shown, after) = rest.split_once("```\n").expect("the session ends");
    if std::env::var_os("TALON_WRITE_README").is_some() {
        std::fs::write(&path, format!("{before}{OPENING}{played}```\n{after}")).expect("written");
        return;
    }
    assert_eq!(
        shown, played,
        "write it anew: TALON_WRITE_README=1 cargo test -p talon-driver --test sample"
    );
}
