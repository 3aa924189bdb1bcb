//! Two stations at once: two processes that edit, lose, restore and purge on one file.

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use talon_tests::{Db, MARKS, Shop};

/// A piece says in its header what its lines must be: how many, and the quantity of each.
const WRONG_PIECES: &str = "
    SELECT h.id, h.line_count, count(l.id), h.total, group_concat(l.quantity) FROM sale_piece h
      LEFT JOIN sale_line l ON l.sale_id = h.id GROUP BY h.id
    HAVING count(l.id) <> h.line_count OR count(l.id) <> sum(l.quantity = h.total)";

fn shop(journal_mode: &str) -> Shop {
    let shop = Shop::new();
    let db = shop.open();
    db.run(&format!(
        "PRAGMA journal_mode = {journal_mode};
         CREATE TABLE sale_piece(id INTEGER PRIMARY KEY, number TEXT UNIQUE, total REAL, line_count INTEGER);
         -- A lost line's key is not given to another line: that would be a conflict, and no restore could help it.
         CREATE TABLE sale_line(id INTEGER PRIMARY KEY AUTOINCREMENT, sale_id INTEGER NOT NULL REFERENCES sale_piece(id),
           position INTEGER, label TEXT, quantity REAL);
         CREATE INDEX sale_line_sale ON sale_line(sale_id);
         SELECT talon_guard('sale', 'sale_piece', 'sale_line');
         BEGIN;
         WITH RECURSIVE i(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM i WHERE i < 139)
         INSERT INTO sale_piece SELECT i, 'N' || i, i, 2 FROM i;
         INSERT INTO sale_line(sale_id, position, label, quantity)
           SELECT id, n, 'l', total FROM sale_piece, (SELECT 1 AS n UNION SELECT 2);
         COMMIT"
    ));
    shop
}

/// Both stations at once, and what they said.
fn run_both(shop: &Shop, seed: u64) -> String {
    let file = shop.file("shop.db");
    let stations: Vec<_> = ["till 1", "till 2"]
        .into_iter()
        .zip([2 * seed + 1, 2 * seed + 2])
        .map(|(name, seed)| {
            Command::new(env!("CARGO_BIN_EXE_station"))
                .arg(&file)
                .args([name, &seed.to_string(), "1000", "6000"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("a station starts")
        })
        .collect();
    let mut said = String::new();
    for station in stations {
        let Output { status, stdout, stderr } = station.wait_with_output().expect("it ends");
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        said += &String::from_utf8_lossy(&stdout);
    }
    said
}

fn nothing_is_lost(journal_mode: &str, seed: u64) {
    let shop = shop(journal_mode);
    let said = run_both(&shop, seed);
    assert!(!said.contains("wrong"), "{journal_mode}, seed {seed}:\n{said}");
    for work in
        ["rewrite", "lose", "deposit, and lose", "edit", "daily", "restore", "restore all", "purge"]
    {
        let done = format!("{work}, done");
        assert!(said.contains(&done), "{journal_mode}, seed {seed}: no {done}:\n{said}");
    }
    println!("{said}");
    assert_eq!(shop.bare().one("PRAGMA integrity_check"), "ok");
    let db = shop.open();
    let lost = db.rows("SELECT piece, restorable FROM talon_lost ORDER BY piece");
    let wrong: Vec<String> = db
        .rows(WRONG_PIECES)
        .iter()
        .map(|row| format!("{}|1", row.split('|').next().unwrap_or_default()))
        .collect();
    assert_eq!(wrong, lost, "{journal_mode}, seed {seed}: {:?}", db.rows(WRONG_PIECES));
    db.run("SELECT talon_edit_release(kind, piece) FROM talon_edits");
    db.run("SELECT talon_restore_all()");
    let outcomes =
        db.rows("SELECT piece, outcome, note FROM talon_restore WHERE outcome <> 'restored'");
    assert_eq!(db.rows(WRONG_PIECES), [""; 0], "{journal_mode}, seed {seed}: {outcomes:?}");
    assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0]);
    let findings = "SELECT piece, finding, detail FROM talon_audit
                    WHERE finding NOT IN ('unguarded', 'unprotected', 'staged')";
    assert_eq!(db.rows(findings), [""; 0], "{journal_mode}, seed {seed}");
    // One station may restore what the other has listed, or have it open.
    let is_expected = |row: &String| row.contains("|not needed|") || row.contains("|being edited|");
    assert!(outcomes.iter().all(is_expected), "{outcomes:?}");
    assert_eq!(db.one(MARKS), "0");
}

#[test]
fn two_processes_lose_nothing_in_wal_mode() {
    nothing_is_lost("WAL", 1);
}

#[test]
fn two_processes_lose_nothing_with_a_rollback_journal() {
    nothing_is_lost("DELETE", 2);
}

static HAS_WAITED: AtomicBool = AtomicBool::new(false);

/// SQLite waits for a lock only where nothing was read yet in that file.
#[test]
fn a_restore_and_a_purge_in_an_attached_file_wait_for_its_writer() {
    let (shop, owner) = Shop::of_sales();
    owner.run("PRAGMA journal_mode = WAL; DELETE FROM sale_line");
    let mut db = Db::open(&shop.file("main.db"));
    talon_tests::load(&db.connection);
    db.run(&format!("ATTACH '{}' AS shop", shop.file("shop.db").display()));
    let wait = |times: i32| {
        HAS_WAITED.store(true, Ordering::Relaxed);
        times < 3
    };
    db.connection.busy_handler(Some(wait)).expect("a handler");
    for work in [
        "INSERT INTO talon_restore(kind, piece, schema) VALUES ('sale', 1, 'shop')",
        "INSERT INTO talon_purge(before, schema) VALUES ('2999-01-01', 'shop')",
        "SELECT talon_restore_all('sale', 'shop')",
    ] {
        owner.run("BEGIN IMMEDIATE");
        HAS_WAITED.store(false, Ordering::Relaxed);
        assert!(db.error(work).contains("database is locked"), "{work}");
        assert!(HAS_WAITED.load(Ordering::Relaxed), "{work} has not waited");
        owner.run("ROLLBACK");
        db.run(work);
    }
}

/// The images of an attached file's pieces are told of by way of `main`, where the host may only be reading.
#[test]
fn a_main_file_that_has_moved_on_does_not_stop_a_write_to_an_attached_one() {
    let (shop, owner) = Shop::of_sales();
    owner.run("PRAGMA journal_mode = WAL");
    let other = Db::open(&shop.file("main.db"));
    other.run("PRAGMA journal_mode = WAL; CREATE TABLE note(text)");
    let db = Db::open(&shop.file("main.db"));
    talon_tests::load(&db.connection);
    db.run(&format!("ATTACH '{}' AS shop", shop.file("shop.db").display()));
    db.run("BEGIN; SELECT * FROM note");
    other.run("INSERT INTO note VALUES ('moved on')");
    db.run("UPDATE sale_line SET quantity = 7 WHERE sale_id = 1; COMMIT");
    assert_eq!(owner.one(MARKS), "2");
    assert_eq!(owner.rows("SELECT piece, finding FROM talon_audit"), ["1|unguarded"]);
    owner.run("DELETE FROM sale_line; SELECT talon_restore_all()");
    assert_eq!(owner.rows("SELECT DISTINCT quantity FROM sale_line WHERE sale_id = 1"), ["7.0"]);
}
