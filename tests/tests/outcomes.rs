//! What a restore meets that nobody got wrong: an outcome in the journal, and the other pieces go on.

use talon_tests::{Db, GUARD_SALES, Shop};

fn lose(db: &Db, piece: i64) {
    db.run(&format!("DELETE FROM sale_line WHERE sale_id = {piece}"));
}

fn restore_lost(db: &Db) {
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
}

fn journal(db: &Db) -> Vec<String> {
    db.rows("SELECT piece, lines, outcome, note, dry_run FROM talon_restore")
}

#[test]
fn a_line_key_that_belongs_to_another_living_piece_is_a_conflict_and_the_others_go_on() {
    let (_shop, db) = Shop::of_sales();
    db.run("DELETE FROM sale_line; INSERT INTO sale_piece VALUES (3, 'C', 0); INSERT INTO sale_line VALUES (11, 3, 1, 'c', 1)");
    restore_lost(&db);
    assert_eq!(
        journal(&db),
        ["1|NULL|conflict|sale_line 11 belongs to sale 3 now|0", "2|1|restored|NULL|0"]
    );
    assert_eq!(db.rows("SELECT id, sale_id FROM sale_line ORDER BY id"), ["11|3", "12|2"]);
}

#[test]
fn a_line_key_that_belongs_to_another_kind_now_is_a_conflict() {
    let shop = Shop::with(
        "CREATE TABLE sale(id INTEGER PRIMARY KEY); CREATE TABLE purchase(id INTEGER PRIMARY KEY);
         CREATE TABLE line(id INTEGER PRIMARY KEY, sale_id INTEGER REFERENCES sale, purchase_id INTEGER REFERENCES purchase,
           label TEXT);",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('sale', 'sale', 'line'), talon_guard('purchase', 'purchase', 'line')",
    );
    db.run(
        "INSERT INTO sale VALUES (1); INSERT INTO purchase VALUES (1); INSERT INTO line VALUES (10, 1, NULL, 'x');
         DELETE FROM line; INSERT INTO line VALUES (10, NULL, 1, 'p')",
    );
    restore_lost(&db);
    assert_eq!(journal(&db), ["1|NULL|conflict|line 10 belongs to purchase 1 now|0"]);
    assert_eq!(db.rows("SELECT * FROM line"), ["10|NULL|1|p"]);
}

#[test]
fn a_line_key_that_counts_for_another_kind_now_is_a_conflict() {
    let shop = Shop::with(
        "CREATE TABLE piece(id INTEGER PRIMARY KEY, kind TEXT);
         CREATE TABLE line(id INTEGER PRIMARY KEY, piece_id INTEGER REFERENCES piece, kind TEXT, label TEXT);",
    );
    let db = shop.open();
    for kind in ["sale", "purchase"] {
        db.run(&format!(
            "SELECT talon_guard('{kind}', '{{\"header\": {{\"table\": \"piece\"}},
               \"lines\": {{\"table\": \"line\", \"where\": \"l.kind = ''{kind}''\"}}}}')"
        ));
    }
    db.run(
        "INSERT INTO piece VALUES (1, 'both'); INSERT INTO line VALUES (10, 1, 'sale', 'x'), (20, 1, 'purchase', 'p');
         DELETE FROM line WHERE id = 10; INSERT INTO line VALUES (10, 1, 'purchase', 'q')",
    );
    restore_lost(&db);
    assert_eq!(journal(&db), ["1|NULL|conflict|line 10 belongs to purchase 1 now|0"]);
    assert_eq!(db.rows("SELECT * FROM line"), ["10|1|purchase|q", "20|1|purchase|p"]);
}

#[test]
fn a_constraint_that_no_longer_holds_is_an_outcome() {
    let (_shop, db) = Shop::of_sales();
    lose(&db, 1);
    lose(&db, 2);
    db.run(
        "CREATE UNIQUE INDEX labels ON sale_line(label); INSERT INTO sale_piece VALUES (3, 'C', 0);
        INSERT INTO sale_line VALUES (30, 3, 1, 'y', 1)",
    );
    restore_lost(&db);
    assert_eq!(
        journal(&db),
        [
            "1|NULL|constraint|sale_line 11: UNIQUE constraint failed: sale_line.label|0",
            "2|1|restored|NULL|0"
        ]
    );
    assert_eq!(db.rows("SELECT id FROM sale_line"), ["12", "30"]);
    assert_eq!(db.rows("SELECT piece, finding FROM talon_audit"), ["1|lost"]);
}

#[test]
fn a_foreign_key_that_nothing_answers_to_is_named() {
    let shop = Shop::with(
        "CREATE TABLE article(code TEXT PRIMARY KEY); CREATE TABLE sale_piece(id INTEGER PRIMARY KEY);
         CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER REFERENCES sale_piece, article TEXT REFERENCES article);",
    );
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run(
        "INSERT INTO article VALUES ('tea'), ('salt'); INSERT INTO sale_piece VALUES (1), (2);
         INSERT INTO sale_line VALUES (10, 1, 'tea'), (11, 1, 'salt'), (20, 2, 'salt');
         DELETE FROM sale_line; DELETE FROM article WHERE code = 'tea'",
    );
    restore_lost(&db);
    assert_eq!(
        journal(&db),
        [
            "1|NULL|constraint|sale_line article tea is not in article any more|0",
            "2|1|restored|NULL|0"
        ]
    );
    assert_eq!(db.rows("SELECT * FROM sale_line"), ["20|2|salt"]);
    assert_eq!(db.rows("PRAGMA foreign_key_check"), [""; 0]);
}

#[test]
fn columns_that_came_and_went_since_are_named() {
    let (_shop, db) = Shop::of_sales();
    lose(&db, 1);
    db.run("ALTER TABLE sale_line ADD COLUMN unit TEXT DEFAULT 'kg'; ALTER TABLE sale_line DROP COLUMN position");
    restore_lost(&db);
    assert_eq!(
        db.rows("SELECT * FROM sale_line WHERE sale_id = 1"),
        ["10|1|x|1.0|kg", "11|1|y|2.0|kg"]
    );
    assert_eq!(
        journal(&db),
        [
            "1|2|restored|columns gone from sale_line: position; columns new in sale_line, with their default: unit|0"
        ]
    );
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_the_next_older_one() {
    let (_shop, db) = Shop::of_sales();
    db.run("UPDATE sale_line SET label = 'v2' WHERE id = 10");
    lose(&db, 1);
    db.run("UPDATE talon_snapshot SET payload = replace(payload, 'v2', 'v3') WHERE id = 3");
    restore_lost(&db);
    assert_eq!(
        journal(&db),
        ["1|2|restored older|snapshot 3 was passed over: its hash does not match|0"]
    );
    assert_eq!(db.rows("SELECT label FROM sale_line WHERE sale_id = 1"), ["x", "y"]);
}

#[test]
fn when_all_snapshots_are_damaged_nothing_is_restored() {
    let (_shop, db) = Shop::of_sales();
    lose(&db, 1);
    db.run("UPDATE talon_snapshot SET payload = payload || ' '");
    restore_lost(&db);
    assert_eq!(
        journal(&db),
        ["1|NULL|unreadable|snapshot 1 was passed over: its hash does not match|0"]
    );
    assert_eq!(db.rows("SELECT piece FROM talon_lost"), ["1"]);
}

#[test]
fn a_vanished_header_whose_number_is_taken_is_a_constraint() {
    let (_shop, db) = Shop::of_sales();
    db.run("PRAGMA foreign_keys = OFF; INSERT OR REPLACE INTO sale_piece VALUES (7, 'A', 0)");
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, 1)");
    assert_eq!(
        journal(&db),
        ["1|NULL|constraint|sale_piece 1: UNIQUE constraint failed: sale_piece.number|0"]
    );
}

#[test]
fn tables_without_rowid_and_with_replace_in_their_schema_are_restored_without_replacing() {
    let shop = Shop::with(
        "CREATE TABLE sale_piece(code TEXT PRIMARY KEY, total) WITHOUT ROWID;
         CREATE TABLE sale_line(code TEXT REFERENCES sale_piece, nr INTEGER, tag TEXT UNIQUE ON CONFLICT REPLACE, label,
           PRIMARY KEY (code, nr) ON CONFLICT REPLACE) WITHOUT ROWID;",
    );
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run(
        "INSERT INTO sale_piece VALUES ('A', 1), ('B', 2); INSERT INTO sale_line VALUES ('A', 1, 't1', 'x'), ('A', 2, 't2', 'y'),
           ('B', 1, 't3', 'z'); DELETE FROM sale_line; INSERT INTO sale_piece VALUES ('C', 3);
         INSERT INTO sale_line VALUES ('C', 1, 't2', 'has the tag now')",
    );
    restore_lost(&db);
    assert_eq!(
        journal(&db),
        [
            "A|NULL|constraint|sale_line [\"A\",2]: UNIQUE constraint failed: sale_line.tag|0",
            "B|1|restored|NULL|0"
        ]
    );
    assert_eq!(db.rows("SELECT * FROM sale_line"), ["B|1|t3|z", "C|1|t2|has the tag now"]);
}
