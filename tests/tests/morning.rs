//! The session that the README shows is what the sqlite3 shell answers.

use std::path::Path;
use std::process::Command;
use talon_tests::{extension_path, installed, readme_shows};

/// As the README calls it.
const SCRIPT: &str = "sql/sample/morning.sh";

#[test]
fn the_readme_shows_the_morning_as_the_shell_plays_it() {
    installed("sqlite3", "sqlite3");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let played = Command::new("sh")
        .arg(root.join(SCRIPT))
        .env("TALON_LIBRARY", extension_path())
        .output()
        .expect("the script runs");
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    assert_eq!(String::from_utf8_lossy(&played.stderr), "");
    let played = String::from_utf8(played.stdout).expect("UTF-8");
    readme_shows(SCRIPT, &played, "cargo test -p talon-tests --test morning");
}
