//! Commits that have to wait, are tried again, or meet a limit that the host has set for itself.

use rusqlite::limits::Limit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use talon_tests::{Db, Shop};

/// A database in rollback-journal mode, where a reader keeps a COMMIT waiting.
fn busy_sales() -> (Shop, Db, Db) {
    let (shop, db) = Shop::of_sales();
    let reader = shop.bare();
    (shop, db, reader)
}

fn begin_reading(reader: &Db) {
    reader.run("BEGIN; SELECT * FROM sale_line");
}

fn commit_is_busy(db: &Db) {
    assert_eq!(db.error("COMMIT"), "database is locked");
    assert!(!db.connection.is_autocommit());
}

#[test]
fn a_commit_that_was_busy_and_is_tried_again_stores_one_snapshot_of_what_was_committed() {
    let (_shop, db, reader) = busy_sales();
    begin_reading(&reader);
    db.run("BEGIN; UPDATE sale_line SET label = 'first' WHERE id = 10");
    commit_is_busy(&db);
    commit_is_busy(&db);
    db.run("UPDATE sale_line SET label = 'second' WHERE id IN (10, 12)");
    commit_is_busy(&db);
    reader.run("COMMIT");
    db.run("COMMIT");
    assert_eq!((db.connection.changes(), db.connection.last_insert_rowid()), (2, 12));
    assert_eq!((db.snapshots("1").len(), db.snapshots("2").len()), (2, 2));
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(db.one("SELECT group_concat(version, ' ') FROM talon_snapshots WHERE kind = 'sale' AND piece = 1"), "2 1");
}

#[test]
fn a_busy_commit_followed_by_rollback_to_stores_what_is_left() {
    let (_shop, db, reader) = busy_sales();
    begin_reading(&reader);
    db.run(
        "BEGIN; UPDATE sale_line SET label = 'kept' WHERE id = 12;
         SAVEPOINT s; UPDATE sale_line SET label = 'undone' WHERE id = 10",
    );
    commit_is_busy(&db);
    db.run("ROLLBACK TO s");
    reader.run("COMMIT");
    db.run("UPDATE sale_piece SET total = 77 WHERE id = 2; COMMIT");
    assert_eq!(db.snapshots("1"), ["create|2"]);
    assert_eq!(db.snapshots("2"), ["create|1", "edit|1"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_busy_commit_followed_by_a_rollback_leaves_nothing() {
    let (_shop, db, reader) = busy_sales();
    begin_reading(&reader);
    db.run("BEGIN; UPDATE sale_line SET label = 'undone'");
    commit_is_busy(&db);
    db.run("ROLLBACK");
    reader.run("COMMIT");
    db.run("UPDATE sale_line SET label = 'kept' WHERE id = 10");
    assert_eq!((db.snapshots("1").len(), db.snapshots("2").len()), (2, 1));
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn query_only_set_before_commit_costs_nothing() {
    let (_shop, db) = Shop::of_sales();
    db.run("BEGIN; UPDATE sale_line SET label = 'v2'; PRAGMA query_only = ON; COMMIT");
    assert_eq!(db.one("PRAGMA query_only"), "1");
    db.run("PRAGMA query_only = OFF");
    assert_eq!((db.snapshots("1").len(), db.snapshots("2").len()), (2, 2));
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_progress_handler_that_stops_at_commit_does_not_cost_the_host_its_work() {
    let (_shop, mut db) = Shop::of_sales();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    db.connection.progress_handler(20, Some(move || flag.load(Relaxed))).expect("a handler");
    db.run("BEGIN; UPDATE sale_line SET label = 'v2'");
    stop.store(true, Relaxed);
    db.run("COMMIT");
    stop.store(false, Relaxed);
    assert_eq!(db.one("SELECT count(*) FROM sale_line WHERE label = 'v2'"), "3");
    let findings = db.findings();
    assert!(!findings.is_empty() || db.snapshots("1").len() == 2, "{findings:?}");
    db.run("UPDATE sale_line SET label = 'v3'");
    let newest = "SELECT max(id) FROM talon_snapshots WHERE kind = 'sale' AND piece = 1";
    assert_eq!(
        db.rows(&format!("SELECT DISTINCT json_extract(row, '$.label') FROM talon_image(({newest})) WHERE part = 'lines'")),
        ["v3"]
    );
    db.run("DELETE FROM sale_line; INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.one("SELECT group_concat(label, ' ') FROM sale_line"), "v3 v3 v3");
}

#[test]
fn an_image_above_the_hosts_length_limit_is_stored() {
    let (_shop, db) = Shop::of_sales();
    db.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 2000).expect("a limit");
    db.run(
        "WITH RECURSIVE n(n) AS (VALUES (100) UNION ALL SELECT n + 1 FROM n WHERE n < 400)
         INSERT INTO sale_line SELECT n, 1, n, 'a label of some length', 1 FROM n",
    );
    assert_eq!(db.connection.limit(Limit::SQLITE_LIMIT_LENGTH).expect("a limit"), 2000);
    db.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 1_000_000_000).expect("a limit");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|303"]);
}

#[test]
fn a_before_image_above_the_hosts_length_limit_is_stored() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "WITH RECURSIVE n(n) AS (VALUES (100) UNION ALL SELECT n + 1 FROM n WHERE n < 400)
         INSERT INTO sale_line SELECT n, 1, n, 'a label of some length', 1 FROM n",
    );
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-12-31')");
    db.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 2000).expect("a limit");
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    db.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 1_000_000_000).expect("a limit");
    assert_eq!(db.snapshots("1"), ["before|303"]);
}

#[test]
fn a_restore_does_not_make_a_foreign_key_forgotten_that_fails_at_commit() {
    let db = Db::memory();
    db.run(
        "CREATE TABLE o(id INTEGER PRIMARY KEY);
         CREATE TABLE l(id INTEGER PRIMARY KEY, o INTEGER REFERENCES o DEFERRABLE INITIALLY DEFERRED);
         SELECT talon_guard('o', 'o', 'l'); INSERT INTO o VALUES (1), (2); INSERT INTO l VALUES (1, 1), (2, 2);
         DELETE FROM l WHERE o = 2",
    );
    for dry_run in [1, 0] {
        db.run("BEGIN; UPDATE o SET id = 9 WHERE id = 1");
        db.run(&format!(
            "INSERT INTO talon_restore(kind, piece, dry_run) VALUES ('o', 2, {dry_run})"
        ));
        assert_eq!(db.error("COMMIT"), "FOREIGN KEY constraint failed");
        db.run("UPDATE o SET id = 1 WHERE id = 9; COMMIT");
        assert_eq!(db.one("PRAGMA defer_foreign_keys"), "0");
    }
    assert_eq!(db.rows("SELECT outcome FROM talon_restore"), ["would restore", "restored"]);
    assert_eq!(db.rows("SELECT * FROM l"), ["1|1", "2|2"]);
}

#[test]
fn a_foreign_key_that_fails_at_commit_leaves_the_transaction_to_be_mended() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "BEGIN; PRAGMA defer_foreign_keys = ON; INSERT INTO sale_line VALUES (50, 9, 1, 'early', 1);
         UPDATE sale_line SET label = 'v2' WHERE id = 10",
    );
    assert_eq!(db.error("COMMIT"), "FOREIGN KEY constraint failed");
    assert!(!db.connection.is_autocommit());
    db.run("INSERT INTO sale_piece VALUES (9, 'I', 0); COMMIT");
    assert_eq!((db.snapshots("9"), db.snapshots("1").len()), (vec!["create|1".to_owned()], 2));
    assert_eq!(db.findings(), [""; 0]);
}
