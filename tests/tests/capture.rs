//! What is captured, however a piece comes to be changed.

use talon_tests::{Db, GUARD_SALES, SALES, Shop};

/// Nothing that was committed is unprotected.
fn all_protected(db: &Db) {
    assert_eq!(db.findings(), [""; 0]);
}

/// The labels in a piece's newest snapshot.
fn newest_labels(db: &Db, piece: &str) -> Vec<String> {
    db.rows(&format!(
        "SELECT json_extract(i.row, '$.label') FROM (SELECT max(id) AS id FROM talon_snapshots
           WHERE kind = 'sale' AND piece = {piece}) AS s, talon_image(s.id) AS i
         WHERE i.part = 'lines' ORDER BY i.position"
    ))
}

#[test]
fn a_piece_gets_one_snapshot_a_transaction_however_many_rows_change() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "BEGIN; UPDATE sale_line SET quantity = 7; UPDATE sale_line SET quantity = 8;
         UPDATE sale_piece SET total = 9; INSERT INTO sale_line VALUES (13, 1, 3, 'w', 1.0); COMMIT",
    );
    assert_eq!(db.snapshots("1"), ["create|2", "edit|3"]);
    assert_eq!(db.snapshots("2"), ["create|1", "edit|1"]);
    all_protected(&db);
}

#[test]
fn a_created_piece_has_no_before_image() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "BEGIN; INSERT INTO sale_piece VALUES (3, 'C', 0); INSERT INTO sale_line VALUES (14, 3, 1, 'n', 1.0);
         UPDATE sale_line SET label = 'm' WHERE id = 14; COMMIT",
    );
    assert_eq!(db.snapshots("3"), ["create|1"]);
    assert_eq!(newest_labels(&db, "3"), ["m"]);
}

#[test]
fn a_piece_older_than_its_guard_gets_its_before_image_at_the_first_touch() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run("INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0)");
    db.run(GUARD_SALES);
    assert_eq!(db.findings(), ["sale|1|unprotected"]);
    db.run("UPDATE sale_line SET label = 'y'");
    assert_eq!(db.snapshots("1"), ["before|1", "edit|1"]);
    db.run("DELETE FROM sale_line");
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
    assert_eq!(db.rows("SELECT label FROM sale_line"), ["y"]);
}

#[test]
fn an_unchanged_image_stores_nothing() {
    let (_shop, db) = Shop::of_sales();
    db.run("UPDATE sale_line SET label = label; UPDATE sale_piece SET total = total + 0");
    db.run("BEGIN; DELETE FROM sale_line WHERE id = 10; INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0); COMMIT");
    db.run("BEGIN; UPDATE sale_piece SET total = 99; UPDATE sale_piece SET total = 1.5 WHERE id = 1; COMMIT");
    assert_eq!(db.snapshots("1"), ["create|2"]);
    all_protected(&db);
}

#[test]
fn an_image_without_lines_never_replaces_one_that_has_some() {
    let (_shop, db) = Shop::of_sales();
    db.run("DELETE FROM sale_line WHERE sale_id = 1; UPDATE sale_piece SET total = 0 WHERE id = 1");
    assert_eq!(db.snapshots("1"), ["create|2"]);
    assert_eq!(db.findings(), ["sale|1|lost"]);
    db.run("INSERT INTO sale_line VALUES (20, 1, 1, 'new', 1.0)");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|1"]);
    all_protected(&db);
}

#[test]
fn a_key_used_again_after_a_delete_is_a_new_piece() {
    let (_shop, db) = Shop::of_sales();
    db.run("DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale_piece WHERE id = 1");
    all_protected(&db);
    db.run("INSERT INTO sale_piece VALUES (1, 'N', 0)");
    assert_eq!(db.snapshots("1"), ["create|2", "create|0"]);
    assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0]);
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)"),
        "talon_restore: sale 1 has no snapshot with lines"
    );
    db.run("INSERT INTO sale_line VALUES (30, 1, 1, 'n', 1.0)");
    assert_eq!(newest_labels(&db, "1"), ["n"]);
    all_protected(&db);
}

#[test]
fn a_header_replaced_by_its_key_is_captured() {
    for recursive in ["OFF", "ON"] {
        let shop = Shop::with(SALES);
        let db = shop.open();
        db.run(&format!("PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = {recursive}"));
        db.run("INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0)");
        db.run(GUARD_SALES);
        db.run("INSERT OR REPLACE INTO sale_piece VALUES (1, 'A2', 2)");
        assert_eq!(db.snapshots("1"), ["before|1", "edit|1"], "recursive_triggers {recursive}");
        all_protected(&db);
    }
}

#[test]
fn a_header_replaced_by_its_number_vanishes_with_its_before_image_kept() {
    for statement in [
        "INSERT OR REPLACE INTO sale_piece VALUES (7, 'A', 2)",
        "REPLACE INTO sale_piece(number, total) VALUES ('A', 2)",
        "UPDATE OR REPLACE sale_piece SET number = 'A' WHERE id = 2",
    ] {
        let shop = Shop::with(SALES);
        let db = shop.open();
        db.run("PRAGMA foreign_keys = OFF");
        db.run(
            "INSERT INTO sale_piece VALUES (1, 'A', 1), (2, 'B', 1);
             INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0), (20, 2, 1, 'y', 1.0)",
        );
        db.run(GUARD_SALES);
        db.run("SELECT talon_baseline('sale')");
        db.run("UPDATE talon_piece SET saved = 0, last = NULL, hash = NULL; DELETE FROM talon_snapshot");
        db.run(statement);
        assert_eq!(db.snapshots("1"), ["before|1"], "{statement}");
        let findings = db.findings();
        assert!(findings.contains(&"sale|1|vanished".to_owned()), "{statement}: {findings:?}");
        assert!(findings.contains(&"sale|1|orphaned".to_owned()), "{statement}: {findings:?}");
    }
}

#[test]
fn a_header_replaced_by_the_schemas_conflict_clause_is_captured() {
    let shop = Shop::with(
        "CREATE TABLE sale_piece(id INTEGER PRIMARY KEY ON CONFLICT REPLACE, number TEXT UNIQUE ON CONFLICT REPLACE);
         CREATE TABLE sale_line(id INTEGER PRIMARY KEY ON CONFLICT REPLACE, sale_id INTEGER REFERENCES sale_piece(id),
           label TEXT);
         PRAGMA foreign_keys = OFF;
         INSERT INTO sale_piece VALUES (1, 'A'), (2, 'B'); INSERT INTO sale_line VALUES (10, 1, 'x'), (20, 2, 'y');",
    );
    let db = shop.open();
    db.run("PRAGMA foreign_keys = OFF");
    db.run(GUARD_SALES);
    db.run("INSERT INTO sale_piece VALUES (3, 'A')");
    assert_eq!(db.snapshots("1"), ["before|1"]);
    db.run("INSERT INTO sale_piece VALUES (2, 'B')");
    assert_eq!(db.snapshots("2"), ["before|1"]);
    db.run("INSERT INTO sale_line VALUES (20, 3, 'taken')");
    assert_eq!(db.snapshots("3"), ["create|0", "edit|1"]);
    let findings = db.findings();
    assert!(findings.contains(&"sale|2|lost".to_owned()), "{findings:?}");
}

#[test]
fn a_line_replaced_from_another_piece_is_found_by_the_audit() {
    let (_shop, db) = Shop::of_sales();
    db.run("INSERT OR REPLACE INTO sale_line VALUES (10, 2, 1, 'stolen', 1.0)");
    assert_eq!(db.findings(), ["sale|1|partial"]);
    assert_eq!(db.one("SELECT detail FROM talon_audit"), "lines missing: 10");
    assert_eq!(db.snapshots("2"), ["create|1", "edit|2"]);
}

#[test]
fn a_line_replaced_with_recursive_triggers_is_captured_on_both_sides() {
    let (_shop, db) = Shop::of_sales();
    db.run("PRAGMA recursive_triggers = ON; INSERT OR REPLACE INTO sale_line VALUES (10, 2, 1, 'moved', 1.0)");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|1"]);
    all_protected(&db);
}

#[test]
fn an_insert_that_is_ignored_changes_nothing() {
    let (_shop, db) = Shop::of_sales();
    db.run("INSERT OR IGNORE INTO sale_piece VALUES (1, 'Z', 0); INSERT OR IGNORE INTO sale_piece VALUES (9, 'A', 0)");
    db.run("INSERT OR IGNORE INTO sale_line VALUES (10, 2, 1, 'Z', 0)");
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshots"), "2");
    all_protected(&db);
}

#[test]
fn an_upsert_is_captured_on_both_sides() {
    let (_shop, db) = Shop::of_sales();
    db.run("INSERT INTO sale_line VALUES (10, 2, 1, 'u', 5.0) ON CONFLICT (id) DO UPDATE SET sale_id = 2, label = 'u'");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|1"]);
    assert_eq!(db.snapshots("2"), ["create|1", "edit|2"]);
    db.run("INSERT INTO sale_piece VALUES (2, 'B', 7) ON CONFLICT (id) DO UPDATE SET total = excluded.total");
    db.run(
        "INSERT INTO sale_piece VALUES (5, 'B', 8) ON CONFLICT (number) DO UPDATE SET total = 8",
    );
    db.run("INSERT INTO sale_piece VALUES (2, 'B', 9) ON CONFLICT DO NOTHING");
    assert_eq!(db.snapshots("2"), ["create|1", "edit|2", "edit|2", "edit|2"]);
    all_protected(&db);
}

#[test]
fn a_line_moved_between_pieces_is_captured_on_both_sides() {
    let (_shop, db) = Shop::of_sales();
    db.run("UPDATE sale_line SET sale_id = 2 WHERE id = 10");
    assert_eq!(
        (db.snapshots("1"), db.snapshots("2")),
        (
            vec!["create|2".to_owned(), "edit|1".to_owned()],
            vec!["create|1".to_owned(), "edit|2".to_owned()],
        )
    );
    all_protected(&db);
}

const LOOSE: &str = "
    CREATE TABLE sale_piece(id INTEGER PRIMARY KEY, number TEXT UNIQUE);
    CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER REFERENCES sale_piece(id) ON UPDATE CASCADE
      ON DELETE CASCADE, label TEXT);";

#[test]
fn a_line_attached_later_from_null_is_captured() {
    let shop = Shop::with(LOOSE);
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run("INSERT INTO sale_piece VALUES (1, 'A'); INSERT INTO sale_line VALUES (10, NULL, 'x')");
    db.run("UPDATE sale_line SET sale_id = 1");
    assert_eq!(db.snapshots("1"), ["create|0", "edit|1"]);
    db.run("UPDATE sale_line SET sale_id = NULL");
    assert_eq!(db.findings(), ["sale|1|lost"]);
}

#[test]
fn a_cascading_delete_leaves_a_deleted_piece_that_can_be_had_back() {
    let shop = Shop::with(LOOSE);
    let db = shop.open();
    db.run("INSERT INTO sale_piece VALUES (1, 'A'); INSERT INTO sale_line VALUES (10, 1, 'x'), (11, 1, 'y')");
    db.run(GUARD_SALES);
    db.run("DELETE FROM sale_piece WHERE id = 1");
    all_protected(&db);
    assert_eq!(db.snapshots("1"), ["before|2"]);
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) SELECT kind, piece, id FROM talon_snapshots");
    assert_eq!(db.rows("SELECT * FROM sale_line"), ["10|1|x", "11|1|y"]);
    assert_eq!(db.rows("SELECT * FROM sale_piece"), ["1|A"]);
    all_protected(&db);
}

#[test]
fn a_header_deleted_before_its_lines_keeps_its_before_image() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run("PRAGMA foreign_keys = OFF");
    db.run("INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0)");
    db.run(GUARD_SALES);
    db.run("BEGIN; DELETE FROM sale_piece; DELETE FROM sale_line; COMMIT");
    assert_eq!(db.snapshots("1"), ["before|1"]);
    all_protected(&db);
}

#[test]
fn a_line_of_two_headers_at_once_is_captured_for_both() {
    let shop = Shop::with(
        "CREATE TABLE sale(id INTEGER PRIMARY KEY); CREATE TABLE purchase(id INTEGER PRIMARY KEY);
         CREATE TABLE line(id INTEGER PRIMARY KEY, sale_id INTEGER REFERENCES sale, purchase_id INTEGER REFERENCES purchase,
           label TEXT);",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('sale', 'sale', 'line'), talon_guard('purchase', 'purchase', 'line')",
    );
    db.run("INSERT INTO sale VALUES (1); INSERT INTO purchase VALUES (1); INSERT INTO line VALUES (10, 1, 1, 'x')");
    db.run("UPDATE line SET label = 'y'");
    assert_eq!(
        db.rows("SELECT kind, reason, lines FROM talon_snapshots ORDER BY kind, id"),
        [
            "purchase|create|0",
            "purchase|edit|1",
            "purchase|edit|1",
            "sale|create|0",
            "sale|edit|1",
            "sale|edit|1"
        ]
    );
    all_protected(&db);
}

#[test]
fn the_headers_own_spelling_of_a_key_is_the_piece() {
    let shop = Shop::with(
        "CREATE TABLE sale_piece(code TEXT COLLATE NOCASE PRIMARY KEY, total);
         CREATE TABLE sale_line(id INTEGER PRIMARY KEY, code TEXT COLLATE NOCASE REFERENCES sale_piece, label);",
    );
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run("INSERT INTO sale_piece VALUES ('Ab1', 1); INSERT INTO sale_line VALUES (10, 'AB1', 'x'), (11, 'ab1', 'y')");
    assert_eq!(db.rows("SELECT piece, lines FROM talon_snapshots"), ["Ab1|0", "Ab1|2"]);
    db.run("DELETE FROM sale_line WHERE code = 'aB1'");
    assert_eq!(
        db.rows("SELECT piece FROM talon_lost WHERE kind = 'sale' AND piece = 'ab1'"),
        ["Ab1"]
    );
}

#[test]
fn a_header_whose_key_sqlite_assigns_is_captured_under_that_key() {
    let (_shop, db) = Shop::of_sales();
    db.run("INSERT INTO sale_piece(number, total) VALUES ('C', 1), ('D', 2)");
    assert_eq!(
        (db.snapshots("3"), db.snapshots("4")),
        (vec!["create|0".to_owned()], vec!["create|0".to_owned()])
    );
    db.run(
        "INSERT INTO sale_piece VALUES (-1, 'M', 1); UPDATE sale_piece SET total = 3 WHERE id = -1",
    );
    assert_eq!(db.snapshots("-1"), ["create|0", "edit|0"]);
    all_protected(&db);
}

#[test]
fn identity_is_the_declared_key_and_survives_vacuum() {
    let shop = Shop::with(
        "CREATE TABLE sale_piece(code TEXT PRIMARY KEY); CREATE TABLE sale_line(uid TEXT PRIMARY KEY,
           code TEXT REFERENCES sale_piece, label); INSERT INTO sale_piece VALUES ('gone'), ('A');
         INSERT INTO sale_line VALUES ('g', 'gone', 'g'), ('x', 'A', 'x'); ",
    );
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run("SELECT talon_baseline('sale'); DELETE FROM sale_line WHERE uid = 'g'; VACUUM");
    assert_eq!(db.findings(), ["sale|gone|lost"]);
    db.run("UPDATE sale_line SET label = 'after'");
    assert_eq!(db.snapshots("'A'"), ["baseline|1", "edit|1"]);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 'gone')");
    all_protected(&db);
}

const REBUILD: &str = "BEGIN; PRAGMA defer_foreign_keys = ON;
    CREATE TABLE new_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale_piece(id), position INTEGER,
      label TEXT, quantity REAL);
    INSERT INTO new_line SELECT * FROM sale_line;
    DROP TABLE sale_line; ALTER TABLE new_line RENAME TO sale_line; COMMIT;";

#[test]
fn a_table_rebuild_is_noticed_by_the_next_call_and_its_window_audited() {
    let (_shop, db) = Shop::of_sales();
    db.run(REBUILD);
    db.run("UPDATE sale_line SET label = 'unseen' WHERE id = 12");
    assert_eq!(db.one("SELECT triggers, suspect_since IS NOT NULL FROM talon_guards"), "whole|1");
    assert_eq!(db.findings(), ["sale|2|drifted"]);
    db.run("SELECT talon_absorb()");
    assert_eq!(db.findings(), ["sale|2|unguarded"]);
    db.run("UPDATE sale_line SET label = 'seen' WHERE id = 12");
    assert_eq!(newest_labels(&db, "2"), ["seen"]);
}

#[test]
fn a_table_rebuild_is_noticed_by_the_next_touch() {
    let (shop, db) = Shop::of_sales();
    db.run(REBUILD);
    db.run("UPDATE sale_piece SET total = 4 WHERE id = 1");
    assert_eq!(
        shop.bare().one(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'sale_line'"
        ),
        "3"
    );
    db.run("UPDATE sale_line SET label = 'seen' WHERE id = 10");
    assert_eq!(newest_labels(&db, "1"), ["seen", "y"]);
}

#[test]
fn a_table_rebuilt_by_a_transaction_that_touches_pieces_is_noticed_at_its_commit() {
    let (_shop, db) = Shop::of_sales();
    db.run("BEGIN; UPDATE sale_piece SET total = 4 WHERE id = 1");
    db.run(REBUILD.trim_start_matches("BEGIN;"));
    db.run("UPDATE sale_line SET label = 'seen' WHERE id = 12");
    assert_eq!(newest_labels(&db, "2"), ["seen"]);
    assert_eq!(db.snapshots("2"), ["create|1", "edit|1"]);
}

#[test]
fn columns_added_renamed_and_dropped_are_followed() {
    let (_shop, db) = Shop::of_sales();
    db.run("ALTER TABLE sale_line ADD COLUMN note TEXT; UPDATE sale_line SET note = 'n'");
    db.run(
        "ALTER TABLE sale_line RENAME COLUMN sale_id TO parent; UPDATE sale_line SET note = 'm'",
    );
    db.run("ALTER TABLE sale_line DROP COLUMN position; UPDATE sale_line SET note = 'o'");
    db.run("ALTER TABLE sale_line RENAME TO line; UPDATE line SET note = 'p'");
    db.run("ALTER TABLE sale_piece RENAME COLUMN id TO nr; UPDATE line SET note = 'q'");
    assert_eq!(
        db.snapshots("1"),
        ["create|2", "before|2", "edit|2", "edit|2", "before|2", "edit|2", "edit|2", "edit|2"],
        "every new shape is imaged before it is edited"
    );
    all_protected(&db);
    db.run("DELETE FROM line; INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.rows("SELECT id, parent, note FROM line"), ["10|1|q", "11|1|q", "12|2|q"]);
}

#[test]
fn a_header_with_the_rowid_minus_one_has_a_before_image_when_it_is_replaced() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run("INSERT INTO sale_piece VALUES (-1, 'M', 1); INSERT INTO sale_line VALUES (10, -1, 1, 'x', 1)");
    db.run(GUARD_SALES);
    db.run("INSERT OR REPLACE INTO sale_piece VALUES (-1, 'N', 2)");
    assert_eq!(db.snapshots("-1"), ["before|1", "edit|1"]);
    db.run("UPDATE OR REPLACE sale_piece SET id = -1, number = 'O' WHERE id = -1; INSERT INTO sale_piece(number) VALUES ('P')");
    assert_eq!(db.snapshots("-1"), ["before|1", "edit|1", "edit|1"]);
}
