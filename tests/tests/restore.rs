//! Restoring: exactly, whole or not at all.

use talon_tests::{Db, GUARD_SALES, SALES, Shop};

fn lose(db: &Db, piece: i64) {
    db.run(&format!("DELETE FROM sale_line WHERE sale_id = {piece}"));
}

fn restore_lost(db: &Db) {
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
}

fn journal(db: &Db) -> Vec<String> {
    db.rows("SELECT piece, lines, outcome, note, dry_run FROM talon_restore")
}

/// All tables of the file but the journal, as text.
fn contents(db: &Db) -> Vec<String> {
    let tables = db.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'talon_restored' ORDER BY name");
    let rows = |name: &String| db.rows(&format!("SELECT '{name}', * FROM {name}"));
    tables.iter().flat_map(rows).collect()
}

#[test]
fn what_the_caller_got_wrong_is_an_error() {
    let (_shop, db) = Shop::of_sales();
    db.run("INSERT INTO sale_piece VALUES (3, 'C', 0)");
    for (values, error) in [
        ("('order', 1)", "\"order\" is not guarded; guarded: sale"),
        ("('sale', 77)", "there is no sale 77"),
        ("('sale', 1)", "sale 1 has 2 lines, nothing to recover"),
        ("('sale', 2)", "sale 2 has 1 line, nothing to recover"),
        ("('sale', 3)", "sale 3 has no snapshot with lines"),
        ("('sale', NULL)", "piece is NULL: name the piece to restore"),
        ("(NULL, 1)", "kind must be a text, not NULL"),
    ] {
        let statement = format!("INSERT INTO talon_restore(kind, piece) VALUES {values}");
        assert_eq!(db.error(&statement), format!("talon_restore: {error}"));
    }
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, 99)"),
        "talon_restore: sale 1 has no snapshot 99; it has: 1"
    );
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, 2)"),
        "talon_restore: sale 1 has no snapshot 2; it has: 1"
    );
    assert_eq!(journal(&db), [""; 0]);
}

#[test]
fn a_piece_without_any_snapshot_is_an_error() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run("INSERT INTO sale_piece VALUES (1, 'A', 1)");
    db.run(GUARD_SALES);
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)"),
        "talon_restore: sale 1 has no snapshot"
    );
}

#[test]
fn an_error_for_one_piece_takes_back_the_whole_statement() {
    let (_shop, db) = Shop::of_sales();
    lose(&db, 1);
    db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1), ('sale', 2)");
    assert_eq!(db.rows("SELECT piece FROM talon_lost"), ["1"]);
    assert_eq!(journal(&db), [""; 0]);
}

#[test]
fn a_dry_run_changes_nothing_but_its_journal() {
    for host_trigger in
        ["", "CREATE TRIGGER host AFTER INSERT ON sale_line BEGIN DELETE FROM sale_piece; END;"]
    {
        let (_shop, db) = Shop::of_sales();
        db.run("UPDATE sale_line SET label = 'v2'");
        lose(&db, 1);
        db.run(host_trigger);
        db.run("SELECT * FROM talon_guards");
        let before = contents(&db);
        db.run(
            "INSERT INTO talon_restore(kind, piece, dry_run) SELECT kind, piece, 1 FROM talon_lost",
        );
        db.run(
            "INSERT INTO talon_restore(kind, piece, snapshot, dry_run) VALUES ('sale', 2, 2, 1)",
        );
        assert_eq!(
            journal(&db),
            ["1|2|would restore|NULL|1", "2|1|would restore|NULL|1"],
            "{host_trigger}"
        );
        assert_eq!(contents(&db), before, "{host_trigger}");
    }
}

#[test]
fn a_snapshot_named_brings_a_point_in_time_back() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "BEGIN; UPDATE sale_line SET label = 'v2' WHERE id = 10; DELETE FROM sale_line WHERE id = 11;
         INSERT INTO sale_line VALUES (15, 1, 3, 'more', 1); UPDATE sale_piece SET total = 99 WHERE id = 1; COMMIT",
    );
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, 1)");
    assert_eq!(db.rows("SELECT id, label FROM sale_line WHERE sale_id = 1"), ["10|x", "11|y"]);
    assert_eq!(db.one("SELECT total FROM sale_piece WHERE id = 1"), "1.5");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2", "restore|2"]);
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, 3)");
    assert_eq!(db.rows("SELECT id, label FROM sale_line WHERE sale_id = 1"), ["10|v2", "15|more"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn an_edit_and_a_loss_in_one_transaction_give_the_state_before_the_edit() {
    let (_shop, db) = Shop::of_sales();
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-12-31')");
    db.run("BEGIN; UPDATE sale_line SET label = 'half'; DELETE FROM sale_line WHERE sale_id = 1; COMMIT");
    restore_lost(&db);
    assert_eq!(db.rows("SELECT label FROM sale_line WHERE sale_id = 1"), ["x", "y"]);
}

#[test]
fn the_headers_values_come_back_with_the_lines() {
    let (_shop, db) = Shop::of_sales();
    db.run("BEGIN; DELETE FROM sale_line WHERE sale_id = 1; UPDATE sale_piece SET total = 0 WHERE id = 1; COMMIT");
    restore_lost(&db);
    assert_eq!(db.one("SELECT total FROM sale_piece WHERE id = 1"), "1.5");
}

const HOST_TRIGGERS: &str = "
    CREATE TABLE log(what);
    CREATE TRIGGER host_insert AFTER INSERT ON sale_line BEGIN INSERT INTO log VALUES ('insert');
      UPDATE sale_piece SET total = total + 100 WHERE id = NEW.sale_id; END;
    CREATE TRIGGER host_update AFTER UPDATE ON sale_piece BEGIN INSERT INTO log VALUES ('update'); END;";

/// A correlated subquery opens cursors long after the first piece is restored.
const CORRELATED: &str =
    "INSERT INTO talon_restore(kind, piece) SELECT 'sale', h.id FROM sale_piece AS h
    WHERE NOT EXISTS (SELECT 1 FROM sale_line AS l WHERE l.sale_id = h.id)
      AND (SELECT count(*) FROM talon_snapshot AS s WHERE s.key = h.id) > 0";

#[test]
fn the_hosts_triggers_are_silent_during_a_restore_and_on_afterwards() {
    for (begin, statement, end) in [
        ("", "INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1), ('sale', 2)", ""),
        ("", CORRELATED, ""),
        ("BEGIN", CORRELATED, "COMMIT"),
        ("SAVEPOINT a; SAVEPOINT b", CORRELATED, "RELEASE b; RELEASE a"),
        ("BEGIN; SAVEPOINT a", CORRELATED, "RELEASE a; COMMIT"),
        (
            "BEGIN",
            "INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost",
            "COMMIT",
        ),
        (
            "BEGIN",
            "INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1), ('sale', (SELECT 2))",
            "COMMIT",
        ),
    ] {
        let (_shop, db) = Shop::of_sales();
        let lines = db.rows("SELECT * FROM sale_line");
        db.run(HOST_TRIGGERS);
        db.run("DELETE FROM sale_line");
        db.run(begin);
        db.run(statement);
        assert_eq!(db.rows("SELECT * FROM sale_line"), lines, "{begin}; {statement}");
        db.run(end);
        assert_eq!(db.rows("SELECT * FROM log"), [""; 0], "{begin}; {statement}");
        assert_eq!(
            journal(&db),
            ["1|2|restored|NULL|0", "2|1|restored|NULL|0"],
            "{begin}; {statement}"
        );
        db.run("INSERT INTO sale_line VALUES (50, 1, 3, 'n', 1)");
        assert_eq!(db.rows("SELECT * FROM log"), ["insert", "update"]);
        assert_eq!(db.findings(), [""; 0]);
    }
}

#[test]
fn a_piece_named_by_a_subquery_is_restored_by_the_statement_that_names_it() {
    let (_shop, db) = Shop::of_sales();
    db.run(HOST_TRIGGERS);
    lose(&db, 1);
    db.run("BEGIN; INSERT INTO talon_restore(kind, piece) VALUES ('sale', (SELECT piece FROM talon_lost))");
    assert_eq!(db.one("SELECT count(*) FROM sale_line WHERE sale_id = 1"), "2");
    db.run("COMMIT");
    assert_eq!(db.rows("SELECT * FROM log"), [""; 0]);
}

#[test]
fn a_restore_that_is_rolled_back_never_was() {
    for host_triggers in ["", HOST_TRIGGERS] {
        for (begin, undo) in
            [("BEGIN", "ROLLBACK"), ("BEGIN; SAVEPOINT a", "ROLLBACK TO a; COMMIT")]
        {
            let (_shop, db) = Shop::of_sales();
            db.run(host_triggers);
            lose(&db, 1);
            let before = contents(&db);
            db.run(begin);
            restore_lost(&db);
            assert_eq!(db.one("SELECT count(*) FROM sale_line"), "3");
            db.run(undo);
            assert_eq!(contents(&db), before);
            assert_eq!(journal(&db), [""; 0]);
            restore_lost(&db);
            assert_eq!(db.findings(), [""; 0]);
        }
    }
}

#[test]
fn a_vanished_header_comes_back_with_its_lines() {
    let (_shop, db) = Shop::of_sales();
    db.run("PRAGMA foreign_keys = OFF; DELETE FROM sale_line WHERE sale_id = 1; PRAGMA recursive_triggers = OFF");
    db.run("INSERT OR REPLACE INTO sale_piece VALUES (7, 'A', 0)");
    assert_eq!(db.findings(), ["sale|1|vanished"]);
    db.run("DELETE FROM sale_piece WHERE id = 7; INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
    assert_eq!(db.rows("SELECT * FROM sale_piece WHERE id = 1"), ["1|A|1.5"]);
    assert_eq!(db.one("SELECT count(*) FROM sale_line WHERE sale_id = 1"), "2");
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_deleted_piece_comes_back_only_by_a_snapshot_named() {
    let (_shop, db) = Shop::of_sales();
    db.run("DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale_piece WHERE id = 1");
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)"),
        "talon_restore: sale 1 was deleted; to bring it back all the same, name one of its snapshots"
    );
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, 1)");
    assert_eq!(db.rows("SELECT id, label FROM sale_line WHERE sale_id = 1"), ["10|x", "11|y"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_thousand_lost_pieces_are_restored_from_one_list() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "BEGIN; WITH RECURSIVE n(n) AS (VALUES (100) UNION ALL SELECT n + 1 FROM n WHERE n < 1099)
         INSERT INTO sale_piece SELECT n, n, 0 FROM n; INSERT INTO sale_line SELECT id, id, 1, 'n', 1 FROM sale_piece WHERE id > 99; COMMIT;
         DELETE FROM sale_line",
    );
    let host_rowid = db.connection.last_insert_rowid();
    restore_lost(&db);
    assert_eq!(
        db.one("SELECT count(*), min(outcome), max(outcome) FROM talon_restore"),
        "1002|restored|restored"
    );
    assert_ne!(host_rowid, 0);
    assert_eq!(db.findings(), [""; 0]);
}
