//! The SQL surface in the `sqlite3` shell under Valgrind: no invalid access, no use of what was never set, no leak.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use talon_tests::{extension_path, installed};

#[test]
fn the_whole_surface_runs_clean_under_a_memory_checker() {
    installed("valgrind", "valgrind");
    installed("sqlite3", "sqlite3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/surface.sql");
    let script = std::fs::read_to_string(script).expect("the script");
    let script = script.replace("LIBRARY", &extension_path().display().to_string());
    let mut shell = Command::new("valgrind")
        .args([
            "--quiet",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect",
            "--error-exitcode=99",
            "sqlite3",
            ":memory:",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("valgrind starts");
    let mut input = shell.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || input.write_all(script.as_bytes()));
    let output = shell.wait_with_output().expect("valgrind ends");
    writer.join().expect("the writer ends").expect("the script is read");
    let answers = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(answers.trim_end().ends_with("the end was reached"), "{answers}\n{errors}");
    assert_ne!(output.status.code(), Some(99), "{errors}");
    assert!(!errors.contains("internal error"), "{errors}");
}
