//! What becomes of captures when transactions, savepoints and statements fail, wait or are tried again.

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
        (
            "INSERT INTO sale_line SELECT NULL, 1, 1, 'm', value FROM json_each('[1,2,3,4,5,6,7]')",
            "7|19",
        ),
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
    assert_eq!(
        db.rows("SELECT piece FROM talon_snapshots WHERE reason = 'create'"),
        ["1", "2", "5"]
    );
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
    assert_eq!(
        db.rows("SELECT piece, finding FROM talon_audit WHERE schema = 'other'"),
        ["1|lost"]
    );
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
        assert_eq!(db.one("SELECT count(*) FROM extra.talon_mark"), "0", "{name}");
        assert_eq!(
            db.rows("SELECT piece, lines FROM talon_snapshots WHERE schema = 'extra'"),
            ["1|0", "1|1"]
        );
        db.run("DETACH extra");
    }
}

#[test]
fn a_copy_attached_beside_its_original_is_captured_and_stores_no_equal_image_twice() {
    let (shop, db) = Shop::of_sales();
    db.run(&format!("VACUUM INTO '{}'", shop.file("copy.db").display()));
    db.run(&format!("ATTACH '{}' AS copy", shop.file("copy.db").display()));
    db.run("UPDATE copy.sale_line SET label = 'copy' WHERE id = 10");
    assert_eq!(
        db.rows("SELECT piece, lines FROM talon_snapshots WHERE schema = 'copy'"),
        ["1|2", "2|1", "1|2"]
    );
    assert_eq!(db.snapshots("1"), ["create|2"]);
    assert_eq!(db.rows("SELECT finding FROM talon_audit WHERE schema = 'copy'"), [""; 0]);
}

/// Every stored image reads back.
fn all_readable(db: &Db) {
    let unread =
        "SELECT s.id FROM talon_snapshots AS s WHERE NOT EXISTS (SELECT 1 FROM talon_image(s.id))";
    assert_eq!(db.rows(unread), [""; 0]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn what_a_rolled_back_call_of_talon_noted_is_not_believed_afterwards() {
    for call in [
        "SELECT talon_baseline('sale')",
        "INSERT INTO talon_restore(kind, piece, snapshot, dry_run) SELECT 'sale', 1, id, 1 FROM talon_snapshots",
        "SELECT talon_absorb()",
        "UPDATE sale_line SET label = 'undone'",
    ] {
        for (begin, undo) in
            [("BEGIN", "ROLLBACK"), ("BEGIN; SAVEPOINT a", "ROLLBACK TO a; COMMIT")]
        {
            let shop = Shop::with(SALES);
            let db = shop.open();
            db.run("INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0)");
            db.run(GUARD_SALES);
            shop.bare().run("UPDATE sale_line SET label = 'bare'");
            db.run("SELECT talon_station('till 1', 'anna')");
            db.run(begin);
            db.run(call);
            db.run(undo);
            db.run("UPDATE sale_line SET label = 'kept'");
            all_readable_but_unguarded(&db);
            assert_eq!(
                db.rows("SELECT DISTINCT station, user FROM talon_snapshots"),
                ["till 1|anna"],
                "{call}; {undo}"
            );
        }
    }
}

/// The mark of the visitor is listed, and every stored image reads back.
fn all_readable_but_unguarded(db: &Db) {
    db.run("DELETE FROM talon_unguarded");
    all_readable(db);
}

#[test]
fn a_guarded_file_beside_a_main_file_that_is_locked_keeps_at_least_its_marks() {
    let (shop, db) = Shop::of_sales();
    let folder = Shop::new();
    let main = Db::open(&folder.file("main.db"));
    main.run("CREATE TABLE t(a)");
    let locking = Db::open(&folder.file("main.db"));
    talon_tests::load(&main.connection);
    main.run(&format!("ATTACH '{}' AS shop", shop.file("shop.db").display()));
    locking.run("BEGIN IMMEDIATE");
    main.run("UPDATE shop.sale_line SET label = 'v2' WHERE id = 10");
    assert_eq!(main.connection.changes(), 1);
    locking.run("COMMIT");
    db.run("SELECT talon_absorb(); DELETE FROM talon_unguarded");
    assert_eq!(db.snapshots("1").len(), 2);
    all_readable(&db);
}
