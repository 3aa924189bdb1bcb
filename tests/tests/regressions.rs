//! Cases that the property tests found, shrunk and named.

use talon_tests::{Db, GUARD_SALES, SALES, Shop};

const NOCASE: &str = "
    CREATE TABLE sale(code TEXT COLLATE NOCASE PRIMARY KEY, note);
    CREATE TABLE line(id INTEGER PRIMARY KEY, sale TEXT REFERENCES sale(code), label);
    SELECT talon_guard('sale', 'sale', 'line');
    INSERT INTO sale VALUES ('A', 1);
    INSERT INTO line VALUES (1, 'a', 'x');
";

#[test]
fn a_key_that_is_spelt_otherwise_keeps_its_images() {
    for respell in [
        "UPDATE sale SET code = 'a'",
        "INSERT OR REPLACE INTO sale VALUES ('a', 2)",
        "PRAGMA foreign_keys = OFF; BEGIN; DELETE FROM sale; INSERT INTO sale VALUES ('a', 2); COMMIT",
    ] {
        let db = Db::memory();
        db.run(NOCASE);
        db.run(respell);
        let snapshots = db.rows("SELECT piece, version, lines FROM talon_snapshots ORDER BY id");
        assert_eq!(snapshots.len(), 3, "{respell}: {snapshots:?}");
        assert!(
            snapshots.iter().all(|snapshot| snapshot.starts_with("a|")),
            "{respell}: {snapshots:?}"
        );
        assert_eq!(db.rows("SELECT piece, finding, detail FROM talon_audit"), [""; 0], "{respell}");
    }
}

#[test]
fn a_spelling_that_was_deleted_once_may_be_taken_again() {
    let db = Db::memory();
    db.run(NOCASE);
    db.run(
        "DELETE FROM line; DELETE FROM sale;
         INSERT INTO sale VALUES ('a', 2);
         INSERT OR REPLACE INTO sale VALUES ('A', 3);",
    );
    assert_eq!(db.rows("SELECT piece, finding, detail FROM talon_audit"), [""; 0]);
}

#[test]
fn lines_that_spell_their_header_in_two_ways_before_it_is_there_are_of_one_piece() {
    let db = Db::memory();
    db.run(
        "CREATE TABLE sale(code TEXT COLLATE NOCASE PRIMARY KEY);
         CREATE TABLE line(id INTEGER PRIMARY KEY, sale TEXT);
         SELECT talon_guard('sale', '{\"header\":{\"table\":\"sale\"},\"lines\":{\"table\":\"line\",\"piece\":\"sale\"}}');
         BEGIN; INSERT INTO line VALUES (1, 'A'), (2, 'a'); INSERT INTO sale VALUES ('a'); COMMIT;",
    );
    assert_eq!(db.rows("SELECT piece, lines FROM talon_snapshots"), ["a|2"]);
    assert_eq!(db.rows("SELECT piece, finding, detail FROM talon_audit"), [""; 0]);
}

#[test]
fn a_piece_made_without_talon_is_listed_though_the_next_transaction_touches_it_first() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run("INSERT INTO sale_piece VALUES (1, 'A', 1)");
    shop.bare().run(
        "INSERT INTO sale_piece VALUES (2, 'B', 2); INSERT INTO sale_line(sale_id) VALUES (2)",
    );
    db.run("UPDATE sale_piece SET total = 3 WHERE id = 2");
    assert_eq!(
        db.rows("SELECT piece, reason FROM talon_snapshots ORDER BY id"),
        ["1|create", "2|unguarded", "2|edit"]
    );
    assert_eq!(db.rows("SELECT piece FROM talon_audit WHERE finding = 'unguarded'"), ["2"]);
}

#[test]
fn what_a_failed_statement_has_absorbed_is_absorbed_again() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(GUARD_SALES);
    shop.bare().run(
        "INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line(sale_id) VALUES (1)",
    );
    db.run("BEGIN");
    // The first row takes the marks, the second one fails and gives them back.
    db.error("INSERT INTO sale_piece VALUES (2, 'B', 2), (3, 'A', 3)");
    db.run("UPDATE sale_piece SET total = 4; COMMIT");
    assert_eq!(db.rows("SELECT piece FROM talon_audit WHERE finding = 'unguarded'"), ["1"]);
    assert_eq!(
        db.rows("SELECT s.piece, s.reason, count(*) FROM talon_snapshots AS s, talon_image(s.id) GROUP BY s.id"),
        ["1|unguarded|2", "1|edit|2"]
    );
}

#[test]
fn a_touch_of_no_piece_does_not_make_the_next_transaction_trust_what_it_knows() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run(
        "CREATE TABLE tax(id INTEGER PRIMARY KEY, line, rate);
         SELECT talon_guard('sale', '{\"header\":{\"table\":\"sale_piece\"},\"lines\":{\"table\":\"sale_line\"},
           \"details\":[{\"table\":\"tax\",\"of\":\"lines\",\"piece\":\"line\"}]}');
         INSERT INTO sale_piece VALUES (1, 'A', 1);
         INSERT INTO sale_line(id, sale_id) VALUES (7, 1);
         INSERT INTO tax VALUES (1, 99, 0.2);",
    );
    shop.bare().run("UPDATE sale_piece SET total = 2");
    db.run("UPDATE sale_piece SET total = 3");
    assert_eq!(
        db.rows(
            "SELECT json_extract(i.row, '$.total') FROM talon_snapshots AS s, talon_image(s.id) AS i
             WHERE i.part = 'header' AND s.lines = 1 ORDER BY s.id"
        ),
        ["1.0", "2.0", "3.0"]
    );
}

#[test]
fn a_line_of_two_headers_that_came_back_with_one_does_not_keep_the_other_from_being_restored() {
    let db = Db::memory();
    db.run(
        "CREATE TABLE sale(id INTEGER PRIMARY KEY);
         CREATE TABLE delivery(id INTEGER PRIMARY KEY);
         CREATE TABLE line(id INTEGER PRIMARY KEY, sale REFERENCES sale, delivery REFERENCES delivery);
         SELECT talon_guard('sale', 'sale', 'line'), talon_guard('delivery', 'delivery', 'line');
         INSERT INTO sale VALUES (1);
         INSERT INTO delivery VALUES (2);
         INSERT INTO line VALUES (1, 1, NULL), (2, 1, 2), (3, NULL, 2);
         DELETE FROM line;
         INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost;",
    );
    assert_eq!(db.rows("SELECT * FROM line"), ["1|1|NULL", "2|1|2", "3|NULL|2"]);
    assert_eq!(
        db.rows("SELECT kind, outcome FROM talon_restore"),
        ["sale|restored", "delivery|restored"]
    );
    db.run("DELETE FROM line WHERE id <> 2; DELETE FROM line");
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.rows("SELECT * FROM line"), ["2|1|2"]);
    assert_eq!(db.rows("SELECT * FROM talon_audit"), [""; 0]);
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)"),
        "talon_restore: sale 1 has 1 line, nothing to recover"
    );
}

#[test]
fn a_row_beside_the_header_whose_key_sqlite_assigns_is_captured() {
    let db = Db::memory();
    db.run(SALES);
    db.run(
        "CREATE TABLE extra(sale_id INTEGER PRIMARY KEY REFERENCES sale_piece, note);
         SELECT talon_guard('sale', '{\"header\":{\"table\":\"sale_piece\"},\"lines\":{\"table\":\"sale_line\"},
           \"details\":[{\"table\":\"extra\"}]}');
         INSERT INTO sale_piece VALUES (1, 'A', 1);
         INSERT INTO extra(note) VALUES ('x');",
    );
    assert_eq!(
        db.rows("SELECT s.reason, i.row FROM talon_snapshots AS s, talon_image(s.id) AS i WHERE i.part = 'extra'"),
        [r#"edit|{"sale_id":1,"note":"x"}"#]
    );
}

#[test]
fn a_header_that_gets_its_key_by_an_update_is_captured() {
    let db = Db::memory();
    db.run(
        "CREATE TABLE sale(code TEXT PRIMARY KEY);
         CREATE TABLE line(id INTEGER PRIMARY KEY, sale TEXT REFERENCES sale);
         SELECT talon_guard('sale', 'sale', 'line');
         INSERT INTO sale VALUES (NULL);
         UPDATE sale SET code = 'A';",
    );
    assert_eq!(db.rows("SELECT piece, reason FROM talon_snapshots"), ["A|create"]);
}

#[test]
fn minus_one_is_a_key_like_any_other_where_no_rowid_is_assigned() {
    let db = Db::memory();
    db.run(
        "CREATE TABLE sale(number bigint PRIMARY KEY, note);
         CREATE TABLE line(id INTEGER PRIMARY KEY, sale bigint REFERENCES sale);
         PRAGMA foreign_keys = OFF;
         INSERT INTO sale VALUES (-1, 'old');
         INSERT INTO line VALUES (1, -1);
         SELECT talon_guard('sale', 'sale', 'line');
         INSERT OR REPLACE INTO sale VALUES (-1, 'new');",
    );
    assert_eq!(
        db.rows("SELECT piece, reason FROM talon_snapshots ORDER BY id"),
        ["-1|before", "-1|edit"]
    );
}

#[test]
fn a_piece_of_very_many_lines_is_compared_and_restored_line_by_line() {
    let (shop, db) = Shop::of_sales();
    db.run(
        "WITH RECURSIVE n(n) AS (VALUES (100) UNION ALL SELECT n + 1 FROM n WHERE n < 20099)
         INSERT INTO sale_line SELECT n, 1, n, 'label', n FROM n",
    );
    let before = db.contents(&["sale_line"]);
    let snapshot = db.one("SELECT max(id) FROM talon_snapshot");
    shop.bare().run(
        "UPDATE sale_line SET id = id + 1000000 WHERE id % 2 AND sale_id = 1;
         UPDATE sale_line SET quantity = -1 WHERE id < 100000 AND sale_id = 1; DELETE FROM talon_mark",
    );
    let found = db.one("SELECT finding, detail FROM talon_audit WHERE piece = 1");
    assert!(found.starts_with("partial|lines added: 1000011; 1000101; "), "{found}");
    assert!(found.contains("; and 9991 more; lines missing: 11; 101; "), "{found}");
    assert!(found.ends_with("and 9993 more"), "{found}");
    db.run(&format!(
        "INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, {snapshot})"
    ));
    assert_eq!(db.contents(&["sale_line"]), before);
}
