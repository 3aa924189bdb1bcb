//! Where memory ends, the statement fails with SQLite's own "out of memory": the host goes on, and nothing is half done.
#![cfg(unix)]

use std::io::Write;
use std::process::{Command, Output, Stdio};
use talon_tests::{Db, Shop, extension_path, installed};

/// Headers with text keys.
const DOCUMENTS: &str = "
    CREATE TABLE document(id TEXT PRIMARY KEY, number TEXT);
    CREATE TABLE document_line(id INTEGER PRIMARY KEY, document TEXT NOT NULL REFERENCES document(id), label TEXT);
    CREATE INDEX document_line_document ON document_line(document);";

/// Some of them, guarded, each with a line of this label.
fn documents(pieces: usize, label: &str) -> Shop {
    let shop = Shop::with(DOCUMENTS);
    let db = shop.open();
    db.run("SELECT talon_guard('document', 'document', 'document_line')");
    db.run(&format!(
        "BEGIN;
         WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {pieces})
         INSERT INTO document SELECT printf('%036d', n), n FROM n;
         INSERT INTO document_line SELECT rowid, id, {label} FROM document;
         COMMIT"
    ));
    shop
}

/// The system's sqlite3 shell with an address space of so many KiB.
fn shell(shop: &Shop, kib: u64, script: &str) -> Output {
    let limited = format!("ulimit -v {kib}; exec sqlite3 shop.db 2>&1");
    let mut child = Command::new("sh")
        .args(["-c", &limited])
        .current_dir(shop.file("."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let library = extension_path();
    let script = format!(
        ".bail on\n.load {}\nSELECT 'loaded ' || talon_version();\n{script}\nSELECT 'done';\n",
        library.display()
    );
    let mut input = child.stdin.take().expect("its input");
    // One that has no memory to begin with does not read it all.
    let _ = input.write_all(script.as_bytes());
    drop(input);
    child.wait_with_output().expect("the shell ends")
}

/// Runs a script with less memory than it needs, then with more and more until it has enough; `check` looks at what each
/// run has left, and is told whether the script came to its end.
fn with_little_memory(shop: &Shop, script: &str, check: impl Fn(&Db, bool)) {
    installed("sqlite3", "sqlite3");
    let (mut refused, mut kib) = (0, 8_000);
    loop {
        let output = shell(shop, kib, script);
        let answers = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code().is_some(), "{kib} KiB: {}\n{answers}", output.status);
        let (loaded, done) = (answers.contains("loaded "), answers.contains("done"));
        if loaded {
            assert!(done || answers.contains("out of memory"), "{kib} KiB: {answers}");
            refused += usize::from(!done);
            check(&shop.open(), done);
        }
        if done {
            break;
        }
        kib += kib / 25;
        assert!(kib < 1_000_000, "that much does not suffice: {answers}");
    }
    assert!(refused > 2, "memory was short only {refused} times");
}

#[test]
fn a_transaction_too_large_for_memory_fails_whole() {
    let shop = documents(4_000, "'x'");
    let script = "BEGIN; UPDATE document_line SET label = 'y'; COMMIT;";
    with_little_memory(&shop, script, |db, done| {
        let labels = db.one("SELECT group_concat(DISTINCT label) FROM document_line");
        assert_eq!(labels, if done { "y" } else { "x" });
        let snapshots = if done { "8000" } else { "4000" };
        assert_eq!(db.one("SELECT count(*) FROM talon_snapshot"), snapshots);
    });
    assert_eq!(shop.open().findings(), [""; 0]);
}

#[test]
fn many_keys_changed_in_one_transaction_are_changed_whole_or_not_at_all() {
    let shop = documents(4_000, "'x'");
    let script = "BEGIN; UPDATE document SET id = 'b' || id; UPDATE document_line SET document = 'b' || document; COMMIT;";
    with_little_memory(&shop, script, |db, done| {
        let wanted = if done { "4000" } else { "0" };
        assert_eq!(db.one("SELECT count(*) FROM document WHERE id GLOB 'b*'"), wanted);
        assert_eq!(db.one("SELECT count(*) FROM talon_piece WHERE key GLOB 'b*'"), wanted);
    });
    assert_eq!(shop.open().findings(), [""; 0]);
}

#[test]
fn an_image_too_large_for_memory_is_neither_compared_nor_restored_in_part() {
    let shop = documents(2, "hex(zeroblob(3000000))");
    let db = shop.open();
    db.run("DELETE FROM document_line WHERE id = 1");
    drop(db);
    shop.bare()
        .run("DROP TRIGGER talon_1_1_updating; UPDATE document_line SET label = label || 'x'");
    let script = "SELECT kind, piece, restorable FROM talon_lost; SELECT * FROM talon_audit;
        INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost;";
    with_little_memory(&shop, script, |db, done| {
        let lines = db.one("SELECT count(*) FROM document_line WHERE length(label) >= 6000000");
        assert_eq!(lines, if done { "2" } else { "1" });
    });
}
