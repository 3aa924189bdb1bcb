//! Pages of the lines' table are destroyed in the file: what the shell's `.dump` or `.recover` saves is completed from the
//! snapshots. Debian's own shell has no `.recover`; the one in its package `fossil` does.

use std::process::Command;
use talon_tests::*;

/// The leaf pages of a table, as its root page lists them.
fn leaves(file: &[u8], page_bytes: usize, root: usize) -> Vec<usize> {
    let page = &file[(root - 1) * page_bytes..root * page_bytes];
    let short = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    assert_eq!(page[0], 5, "the root is an interior page");
    let cells = (0..short(3)).map(|cell| short(12 + 2 * cell));
    let child =
        |at: usize| u32::from_be_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
    cells.map(|cell| child(cell) as usize).collect()
}

#[test]
fn lines_whose_pages_are_destroyed_are_restored_after_a_dump() {
    installed("sqlite3", "sqlite3");
    are_restored_after("sqlite3 $FILE .dump | sed 's/^ROLLBACK; -- due to errors/COMMIT;/'");
}

#[test]
fn lines_whose_pages_are_destroyed_are_restored_after_a_recovery() {
    installed("sqlite3", "sqlite3");
    installed("fossil", "fossil");
    are_restored_after("fossil sqlite3 --no-repository $FILE .recover");
}

/// Three pages of lines are destroyed; `saves` prints what it can read of `$FILE` as a script.
fn are_restored_after(saves: &str) {
    let shop = Shop::with(&format!("PRAGMA page_size = 1024; {SALES}"));
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run(
        "BEGIN;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12)
         INSERT INTO sale_piece SELECT i, 'N' || i, i FROM n;
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 239)
         INSERT INTO sale_line SELECT i, 1 + i / 20, i % 20, printf('line %d %.*c', i, 30, 'x'), i + 0.5 FROM n;
         COMMIT",
    );
    let tables = ["sale_piece", "sale_line"];
    let before = db.contents(&tables);
    let root = db.one("SELECT rootpage FROM sqlite_schema WHERE name = 'sale_line'");
    db.connection.close().expect("no statement is left");

    let path = shop.file("shop.db");
    let mut file = std::fs::read(&path).expect("the file");
    let leaves = leaves(&file, 1024, root.parse().expect("a page"));
    // Three in a row: one piece loses all of its lines, its neighbours some of theirs.
    for page in &leaves[4..7] {
        file[(page - 1) * 1024..page * 1024].fill(0xa5);
    }
    std::fs::write(&path, &file).expect("the file is written");

    let said = Command::new("sh")
        .args(["-c", &format!("{saves} | sqlite3 $RECOVERED")])
        .env("FILE", &path)
        .env("RECOVERED", shop.file("recovered.db"))
        .output()
        .expect("a shell");
    assert!(said.status.success(), "{said:?}");
    std::fs::rename(shop.file("recovered.db"), &path).expect("the recovered file takes its place");

    let db = shop.open();
    assert_eq!(db.one("PRAGMA integrity_check"), "ok");
    assert_ne!(db.contents(&tables), before);
    let findings = db.findings();
    assert!(findings.iter().any(|finding| finding.ends_with("|lost")), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.ends_with("|partial")), "{findings:?}");
    db.run(
        "INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost;
         INSERT INTO talon_restore(kind, piece, snapshot)
         SELECT kind, piece, (SELECT max(s.id) FROM talon_snapshots AS s WHERE s.kind = a.kind AND s.piece = a.piece)
         FROM talon_audit AS a WHERE finding = 'partial'",
    );
    assert_eq!(db.rows("SELECT DISTINCT outcome FROM talon_restore"), ["restored"]);
    assert_eq!(db.contents(&tables), before);
    assert_eq!(db.findings(), [""; 0]);
}
