//! What becomes of captures when transactions, savepoints and statements fail, wait or are tried again.

use rusqlite::limits::Limit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use talon_tests::{Db, GUARD_SALES, SALES, Shop};

fn counts(db: &Db) -> String {
    format!("{}|{}", db.connection.changes(), db.connection.last_insert_rowid())
}

/// Makes all snapshots go, as a purge does.
fn purge(db: &Db) {
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-12-31')");
}

#[test]
fn an_explicit_commit_leaves_changes_and_the_last_rowid_as_the_host_made_them() {
    for (statement, expected) in [
        ("UPDATE sale_line SET quantity = 5 WHERE id = 10", "1|12"),
        ("UPDATE sale_line SET quantity = 5", "3|12"),
        ("UPDATE sale_line SET quantity = 5; DELETE FROM sale_line WHERE id = 777", "0|12"),
        ("INSERT INTO sale_line SELECT NULL, 1, 1, 'm', value FROM json_each('[1,2,3,4,5,6,7]')", "7|19"),
        ("UPDATE sale_line SET quantity = 5; SELECT 1", "3|12"),
    ] {
        for end in ["COMMIT", "END", "RELEASE s"] {
            let (_shop, db) = Shop::of_sales();
            db.run(if end == "RELEASE s" { "SAVEPOINT s" } else { "BEGIN" });
            db.run(statement);
            db.run(end);
            assert_eq!(counts(&db), expected, "{statement}; {end}");
            assert_eq!(db.findings(), [""; 0]);
        }
    }
}

#[test]
fn thousands_of_changes_are_still_counted_after_a_commit() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "BEGIN; WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
         INSERT INTO sale_line SELECT NULL, 1, n, 'm', 1 FROM n; COMMIT",
    );
    assert_eq!(counts(&db), "5000|5012");
}

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
    assert_eq!(counts(&db), "2|12");
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
fn keys_swapped_in_a_busy_commit_are_swapped_once() {
    let (_shop, db, reader) = busy_sales();
    begin_reading(&reader);
    db.run(
        "BEGIN; PRAGMA defer_foreign_keys = ON; UPDATE sale_piece SET id = 99 WHERE id = 1;
         UPDATE sale_piece SET id = 1 WHERE id = 2; UPDATE sale_piece SET id = 2 WHERE id = 99;
         UPDATE sale_line SET sale_id = 3 - sale_id",
    );
    commit_is_busy(&db);
    commit_is_busy(&db);
    db.run("UPDATE sale_piece SET id = 8 WHERE id = 2; UPDATE sale_line SET sale_id = 8 WHERE sale_id = 2");
    commit_is_busy(&db);
    reader.run("COMMIT");
    db.run("COMMIT");
    assert_eq!(db.snapshots("1"), ["create|1", "edit|1"]);
    assert_eq!(db.snapshots("8"), ["create|2", "edit|2"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_failed_statement_undoes_its_before_image() {
    let (_shop, db) = Shop::of_sales();
    purge(&db);
    db.run("BEGIN; INSERT INTO sale_piece VALUES (3, 'C', 0)");
    assert_eq!(
        db.error("UPDATE sale_line SET id = 5 WHERE sale_id = 1"),
        "UNIQUE constraint failed: sale_line.id"
    );
    db.run("UPDATE sale_line SET label = 'changed' WHERE sale_id = 1; COMMIT");
    assert_eq!(db.snapshots("1"), ["before|2", "edit|2"]);
}

#[test]
fn rolling_back_to_a_savepoint_undoes_a_before_image() {
    let (_shop, db) = Shop::of_sales();
    purge(&db);
    db.run(
        "BEGIN; SAVEPOINT a; SAVEPOINT b; UPDATE sale_line SET label = 'undone' WHERE sale_id = 1; ROLLBACK TO b;
         UPDATE sale_line SET label = 'undone' WHERE sale_id = 1; RELEASE b; ROLLBACK TO a;
         UPDATE sale_line SET label = 'kept' WHERE sale_id = 1; COMMIT",
    );
    assert_eq!(db.snapshots("1"), ["before|2", "edit|2"]);
    assert_eq!(
        db.rows("SELECT DISTINCT json_extract(row, '$.label') FROM talon_image((SELECT min(id) FROM talon_snapshots))
            WHERE part = 'lines'"),
        ["x", "y"]
    );
}

#[test]
fn a_statement_that_fails_halfway_keeps_what_or_fail_keeps() {
    let (_shop, db) = Shop::of_sales();
    db.run("BEGIN; INSERT INTO sale_piece VALUES (3, 'C', 0)");
    db.error("INSERT OR FAIL INTO sale_line VALUES (30, 1, 9, 'kept', 1), (31, 2, 9, 'kept', 1), (10, 3, 9, 'no', 1)");
    db.run("COMMIT");
    assert_eq!(db.one("SELECT count(*) FROM sale_line WHERE label = 'kept'"), "2");
    assert_eq!((db.snapshots("1").len(), db.snapshots("2").len()), (2, 2));
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_statement_that_rolls_back_leaves_nothing_behind() {
    let (_shop, db) = Shop::of_sales();
    db.run("BEGIN; UPDATE sale_line SET label = 'undone'");
    db.error("INSERT OR ROLLBACK INTO sale_piece VALUES (1, 'dup', 0)");
    assert!(db.connection.is_autocommit());
    db.run("UPDATE sale_line SET quantity = 4 WHERE id = 12");
    assert_eq!((db.snapshots("1").len(), db.snapshots("2").len()), (1, 2));
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn the_outer_conflict_clause_does_not_reach_what_talon_writes() {
    for clause in ["OR IGNORE", "OR REPLACE", "OR FAIL", "OR ABORT", "OR ROLLBACK"] {
        let (_shop, db) = Shop::of_sales();
        purge(&db);
        db.run(&format!("UPDATE {clause} sale_line SET label = 'v2' WHERE id = 10"));
        db.run(&format!("INSERT {clause} INTO sale_line VALUES (40, 1, 4, 'v3', 1)"));
        assert_eq!(db.snapshots("1"), ["before|2", "edit|2", "edit|3"], "{clause}");
        assert_eq!(db.findings(), ["sale|2|unprotected"], "{clause}");
    }
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
    purge(&db);
    db.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 2000).expect("a limit");
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    db.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 1_000_000_000).expect("a limit");
    assert_eq!(db.snapshots("1"), ["before|303"]);
}

#[test]
fn a_transaction_of_savepoints_only_is_captured_at_its_outermost_release() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "SAVEPOINT a; UPDATE sale_line SET label = 'v2' WHERE id = 10; SAVEPOINT b;
         UPDATE sale_line SET label = 'undone' WHERE id = 12; ROLLBACK TO b; RELEASE b",
    );
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshot"), "2");
    db.run("RELEASE a");
    assert_eq!((db.snapshots("1").len(), db.snapshots("2").len()), (2, 1));
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn savepoints_of_one_name_nest() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "SAVEPOINT s; UPDATE sale_line SET label = 'kept' WHERE id = 10;
         SAVEPOINT s; INSERT INTO sale_piece VALUES (3, 'C', 1); SAVEPOINT s; INSERT INTO sale_piece VALUES (4, 'D', 1);
         ROLLBACK TO s; RELEASE s; ROLLBACK TO s; INSERT INTO sale_piece VALUES (5, 'E', 1); RELEASE s; RELEASE s",
    );
    assert_eq!(db.rows("SELECT piece FROM talon_snapshots WHERE reason = 'create'"), ["1", "2", "5"]);
    assert_eq!(db.findings(), [""; 0]);
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

#[test]
fn several_databases_in_one_transaction_are_captured_in_their_own_files() {
    let (shop, db) = Shop::of_sales();
    Db::open(&shop.file("other.db")).run(SALES);
    let other = shop.file("other.db");
    db.run(&format!("ATTACH '{}' AS other", other.display()));
    db.run("SELECT talon_guard('sale', 'sale_piece', 'sale_line', 'other')");
    db.run(
        "BEGIN; INSERT INTO other.sale_piece VALUES (1, 'O', 0); INSERT INTO other.sale_line VALUES (1, 1, 1, 'o', 1);
         UPDATE main.sale_line SET label = 'v2' WHERE id = 10; COMMIT",
    );
    assert_eq!(counts(&db), "1|1");
    assert_eq!(db.rows("SELECT piece, lines FROM talon_snapshots WHERE schema = 'other'"), ["1|1"]);
    assert_eq!(db.snapshots("1").len(), 2);
    db.run("DELETE FROM other.sale_line");
    assert_eq!(db.rows("SELECT piece, finding FROM talon_audit WHERE schema = 'other'"), ["1|lost"]);
    db.run("INSERT INTO talon_restore(kind, piece, schema) SELECT kind, piece, 'other' FROM talon_lost WHERE schema = 'other'");
    assert_eq!(db.rows("SELECT * FROM other.sale_line"), ["1|1|1|o|1.0"]);
}

#[test]
fn another_file_attached_under_the_same_name_is_captured_too() {
    let (_shop, db) = Shop::of_sales();
    let folder = Shop::new();
    for name in ["a.db", "b.db"] {
        let made = Db::open(&folder.file(name));
        talon_tests::load(&made.connection);
        made.run(SALES);
        made.run(GUARD_SALES);
    }
    for name in ["a.db", "b.db"] {
        db.run(&format!("ATTACH '{}' AS extra", folder.file(name).display()));
        db.run("INSERT INTO extra.sale_piece VALUES (1, 'O', 0); INSERT INTO extra.sale_line VALUES (1, 1, 1, 'o', 1)");
        assert_eq!(db.one("SELECT count(*) FROM extra.talon_touched"), "0", "{name}");
        assert_eq!(db.rows("SELECT piece, lines FROM talon_snapshots WHERE schema = 'extra'"), ["1|0", "1|1"]);
        db.run("DETACH extra");
    }
}

#[test]
fn a_copy_attached_beside_its_original_is_captured_and_stores_no_equal_image_twice() {
    let (shop, db) = Shop::of_sales();
    db.run(&format!("VACUUM INTO '{}'", shop.file("copy.db").display()));
    db.run(&format!("ATTACH '{}' AS copy", shop.file("copy.db").display()));
    db.run("UPDATE copy.sale_line SET label = 'copy' WHERE id = 10");
    assert_eq!(db.rows("SELECT piece, lines FROM talon_snapshots WHERE schema = 'copy'"), ["1|2", "2|1", "1|2"]);
    assert_eq!(db.snapshots("1"), ["create|2"]);
    assert_eq!(db.rows("SELECT finding FROM talon_audit WHERE schema = 'copy'"), [""; 0]);
}
