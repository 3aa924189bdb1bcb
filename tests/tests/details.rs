//! Further child tables of a piece: payments beside the lines, taxes and lots below them, a row one to one.

use talon_tests::{Db, Shop};

const SCHEMA: &str = "
    CREATE TABLE sale(id INTEGER PRIMARY KEY, number TEXT);
    CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale INTEGER NOT NULL REFERENCES sale, what TEXT);
    CREATE TABLE payment(id INTEGER PRIMARY KEY, sale INTEGER NOT NULL REFERENCES sale, amount REAL);
    CREATE TABLE delivery_address(sale INTEGER PRIMARY KEY REFERENCES sale, street TEXT);
    CREATE TABLE line_tax(line INTEGER REFERENCES sale_line, code TEXT, amount REAL, PRIMARY KEY (line, code)) WITHOUT ROWID;
    CREATE TABLE line_lot(id INTEGER PRIMARY KEY, sale_line INTEGER REFERENCES sale_line ON DELETE CASCADE, lot TEXT);
    CREATE TABLE lot_serial(serial TEXT PRIMARY KEY, line_lot INTEGER REFERENCES line_lot ON DELETE CASCADE);
";
const TABLES: [&str; 7] =
    ["sale", "sale_line", "payment", "delivery_address", "line_tax", "line_lot", "lot_serial"];

fn shop_with_details() -> (Shop, Db) {
    let shop = Shop::with(SCHEMA);
    let db = shop.open();
    assert_eq!(
        db.one(
            r#"SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line"}, "details": [
              {"table": "payment"}, {"table": "delivery_address", "name": "address"},
              {"table": "line_tax", "of": "lines", "line": "line", "name": "taxes"}, {"table": "line_lot", "of": "lines", "name": "lots"},
              {"table": "lot_serial", "of": "lots"}]}')"#
        ),
        "sale is guarded: header sale (key id); lines sale_line (sale -> header, key id); payment payment (sale -> header, key id); \
         address delivery_address (sale -> header, key sale); taxes line_tax (line -> lines, key line, code); \
         lots line_lot (sale_line -> lines, key id); lot_serial lot_serial (line_lot -> lots, key serial)"
    );
    db.run(
        "BEGIN;
         INSERT INTO sale VALUES (1, 'A'), (2, 'B');
         INSERT INTO sale_line VALUES (10, 1, 'x'), (11, 1, 'y'), (20, 2, 'z');
         INSERT INTO payment VALUES (1, 1, 9.99), (2, 1, 0.01);
         INSERT INTO delivery_address VALUES (1, 'rue'), (2, NULL);
         INSERT INTO line_tax VALUES (10, 'vat', 1), (10, 'eco', 0.5), (11, 'vat', 2), (20, 'vat', 3);
         INSERT INTO line_lot VALUES (5, 10, 'L1'), (6, 11, 'L2'), (7, 20, 'L3');
         INSERT INTO lot_serial VALUES ('s1', 5), ('s2', 5), ('s3', 7);
         COMMIT",
    );
    (shop, db)
}

#[test]
fn an_image_holds_every_part() {
    let (_shop, db) = shop_with_details();
    assert_eq!(
        db.rows("SELECT part, position, row FROM talon_image WHERE snapshot = (SELECT id FROM talon_snapshots WHERE kind = 'sale' AND piece = 1)"),
        [
            r#"header|1|{"id":1,"number":"A"}"#,
            r#"lines|1|{"id":10,"sale":1,"what":"x"}"#,
            r#"lines|2|{"id":11,"sale":1,"what":"y"}"#,
            r#"address|1|{"sale":1,"street":"rue"}"#,
            r#"lot_serial|1|{"serial":"s1","line_lot":5}"#,
            r#"lot_serial|2|{"serial":"s2","line_lot":5}"#,
            r#"lots|1|{"id":5,"sale_line":10,"lot":"L1"}"#,
            r#"lots|2|{"id":6,"sale_line":11,"lot":"L2"}"#,
            r#"payment|1|{"id":1,"sale":1,"amount":9.99}"#,
            r#"payment|2|{"id":2,"sale":1,"amount":0.01}"#,
            r#"taxes|1|{"line":10,"code":"eco","amount":0.5}"#,
            r#"taxes|2|{"line":10,"code":"vat","amount":1.0}"#,
            r#"taxes|3|{"line":11,"code":"vat","amount":2.0}"#
        ]
    );
    assert_eq!(
        db.one("SELECT details FROM talon_guards"),
        "payment, delivery_address, line_tax, line_lot, lot_serial"
    );
}

#[test]
fn a_change_of_a_detail_at_any_depth_is_an_edit_of_its_piece() {
    let (_shop, db) = shop_with_details();
    let changes = [
        ("UPDATE payment SET amount = 10 WHERE id = 1", "1"),
        ("UPDATE delivery_address SET street = 'via' WHERE sale = 2", "2"),
        ("INSERT INTO line_tax VALUES (20, 'eco', 1)", "2"),
        ("DELETE FROM line_tax WHERE line = 10", "1"),
        ("UPDATE line_lot SET lot = 'L9' WHERE id = 6", "1"),
        ("INSERT INTO lot_serial VALUES ('s4', 7)", "2"),
        ("DELETE FROM lot_serial WHERE serial = 's1'", "1"),
        ("UPDATE lot_serial SET line_lot = 6 WHERE serial = 's2'", "1"),
    ];
    for (change, piece) in changes {
        let last = db.one("SELECT max(id) FROM talon_snapshots");
        db.run(change);
        assert_eq!(
            db.rows(&format!("SELECT piece, reason FROM talon_snapshots WHERE id > {last}")),
            [format!("{piece}|edit")],
            "{change}"
        );
    }
    // Moved from one piece to another: both.
    db.run("UPDATE lot_serial SET line_lot = 7 WHERE serial = 's2'");
    assert_eq!(db.rows("SELECT piece FROM talon_snapshots ORDER BY id DESC LIMIT 2").len(), 2);
    assert_eq!(db.rows("SELECT * FROM talon_audit"), [""; 0]);
}

#[test]
fn details_are_lost_and_restored_with_the_lines() {
    let (_shop, db) = shop_with_details();
    // Whatever hangs below a line goes by cascade; the rest goes by hand.
    db.lose_and_recover(
        &TABLES,
        "BEGIN; DELETE FROM line_tax; DELETE FROM payment; DELETE FROM delivery_address WHERE sale = 1; DELETE FROM sale_line; COMMIT",
        &["sale|1|2", "sale|2|1"],
    );
}

#[test]
fn details_that_stayed_when_the_lines_went_are_left_as_they_are() {
    let (_shop, db) = shop_with_details();
    db.lose_and_recover(
        &TABLES,
        "BEGIN; DELETE FROM line_tax WHERE line = 20; DELETE FROM sale_line WHERE sale = 2; COMMIT",
        &["sale|2|1"],
    );
}

#[test]
fn a_snapshot_named_puts_every_part_back_as_it_was() {
    let (_shop, db) = shop_with_details();
    let before = db.contents(&TABLES);
    db.run(
        "BEGIN; DELETE FROM payment WHERE id = 2; INSERT INTO payment VALUES (3, 1, 1); UPDATE delivery_address SET street = 'x' WHERE sale = 1;
         INSERT INTO sale_line VALUES (12, 1, 'new'); INSERT INTO line_tax VALUES (12, 'vat', 9); INSERT INTO line_lot VALUES (8, 12, 'L');
         INSERT INTO lot_serial VALUES ('s9', 8); UPDATE lot_serial SET line_lot = 8 WHERE serial = 's1';
         UPDATE sale SET number = 'A2' WHERE id = 1; COMMIT;
         INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, 1)",
    );
    assert_eq!(db.one("SELECT outcome, note FROM talon_restore"), "restored|NULL");
    assert_eq!(db.contents(&TABLES), before);
    assert_eq!(db.rows("SELECT * FROM talon_audit"), [""; 0]);
}

#[test]
fn marks_of_details_lead_to_their_piece() {
    let (shop, db) = shop_with_details();
    let bare = shop.bare();
    bare.run("UPDATE payment SET amount = 7 WHERE id = 1; UPDATE line_tax SET amount = 8 WHERE line = 20; UPDATE lot_serial SET serial = 's7' WHERE serial = 's3'");
    assert_eq!(
        db.rows("SELECT piece, finding FROM talon_audit ORDER BY piece"),
        ["1|unguarded", "2|unguarded"]
    );
    assert_eq!(
        db.rows("SELECT piece, reason FROM talon_snapshots WHERE id > 2 ORDER BY piece"),
        ["1|unguarded", "2|unguarded"]
    );
}

#[test]
fn a_restore_to_a_point_in_time_removes_details_of_lines_that_hung_elsewhere_meanwhile() {
    let shop =
        Shop::with(&SCHEMA.replace("sale INTEGER NOT NULL REFERENCES", "sale INTEGER REFERENCES"));
    let db = shop.open();
    db.run(
        r#"SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line"}, "details": [
            {"table": "line_tax", "of": "lines"}, {"table": "line_lot", "of": "lines", "name": "lots"},
            {"table": "lot_serial", "of": "lots"}]}');
         BEGIN; INSERT INTO sale VALUES (1, 'A'); INSERT INTO sale_line VALUES (10, 1, 'x'), (11, 1, 'y');
         INSERT INTO line_tax VALUES (10, 'vat', 1); INSERT INTO line_lot VALUES (5, 10, 'L1');
         INSERT INTO lot_serial VALUES ('s1', 5); COMMIT"#,
    );
    let tables = ["sale", "sale_line", "line_tax", "line_lot", "lot_serial"];
    let before = db.contents(&tables);
    db.run(
        "UPDATE sale_line SET sale = NULL WHERE id = 10;
         INSERT INTO line_tax VALUES (10, 'eco', 0.5); INSERT INTO line_lot VALUES (6, 10, 'L2');
         UPDATE lot_serial SET line_lot = 6; INSERT INTO lot_serial VALUES ('s2', 6), ('s3', 5)",
    );
    db.run("INSERT INTO talon_restore(kind, piece, snapshot, dry_run) SELECT 'sale', 1, min(id), 1 FROM talon_snapshots");
    assert_eq!(db.one("SELECT count(*) FROM lot_serial"), "3");
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) SELECT 'sale', 1, min(id) FROM talon_snapshots");
    assert_eq!(db.contents(&tables), before);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_dry_run_to_a_point_in_time_gives_back_rows_that_a_cascade_takes() {
    let (_shop, db) = shop_with_details();
    db.run("INSERT INTO sale_line VALUES (12, 1, 'new'); INSERT INTO line_lot VALUES (8, 12, 'L8'); UPDATE lot_serial SET line_lot = 8 WHERE serial = 's1'");
    let before = db.contents(&TABLES);
    let to_the_first =
        "INSERT INTO talon_restore(kind, piece, snapshot, dry_run) SELECT 'sale', 1, min(id), ";
    db.run(&format!("{to_the_first} 1 FROM talon_snapshots WHERE piece = 1"));
    assert_eq!(db.one("SELECT outcome FROM talon_restore"), "would restore");
    assert_eq!(db.contents(&TABLES), before);
    db.run(&format!("{to_the_first} 0 FROM talon_snapshots WHERE piece = 1"));
    assert_eq!(db.rows("SELECT * FROM lot_serial ORDER BY serial"), ["s1|5", "s2|5", "s3|7"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_line_that_a_line_of_another_piece_hangs_on_by_a_cascade_does_not_go() {
    let shop = Shop::with(
        "CREATE TABLE sale(id INTEGER PRIMARY KEY);
         CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale INTEGER REFERENCES sale, origin INTEGER REFERENCES sale_line ON DELETE CASCADE)",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('sale', 'sale', 'sale_line'); PRAGMA foreign_keys = ON;
         BEGIN; INSERT INTO sale VALUES (1), (2); INSERT INTO sale_line VALUES (10, 1, NULL); COMMIT;
         INSERT INTO sale_line VALUES (11, 1, NULL); INSERT INTO sale_line VALUES (12, 1, 11); INSERT INTO sale_line VALUES (20, 2, 12)",
    );
    let before = db.contents(&["sale", "sale_line"]);
    let restore = "INSERT INTO talon_restore(kind, piece, snapshot) SELECT 'sale', 1, min(id) FROM talon_snapshots WHERE piece = 1";
    db.run(restore);
    assert_eq!(
        db.one("SELECT outcome, note FROM talon_restore"),
        "constraint|sale_line 12 would have to go, and rows of sale_line refer to it"
    );
    assert_eq!(db.contents(&["sale", "sale_line"]), before);
    db.run("DELETE FROM sale_line WHERE id = 20");
    db.run(restore);
    assert_eq!(db.rows("SELECT id FROM sale_line"), ["10"]);
}

#[test]
fn what_hangs_on_lines_follows_a_piece_that_has_another_key_by_now() {
    for (key, was, is) in [("TEXT", "'A'", "'B'"), ("INTEGER", "1", "2")] {
        let shop = Shop::with(&format!(
            "CREATE TABLE h(k {key} PRIMARY KEY, label TEXT);
             CREATE TABLE l(hk {key}, rank INTEGER, label TEXT, PRIMARY KEY (hk, rank));
             CREATE TABLE d(p0 TEXT, p1 INTEGER, label TEXT, PRIMARY KEY (p0, p1));"
        ));
        let db = shop.open();
        db.run(
            r#"SELECT talon_guard('doc', '{"header": {"table": "h"}, "lines": {"table": "l", "piece": ["hk"]},
                 "details": [{"table": "d", "of": "lines", "piece": ["p0", "p1"]}]}')"#,
        );
        db.run(&format!(
            "BEGIN; INSERT INTO h VALUES ({was}, 'x'); INSERT INTO l VALUES ({was}, 1, 'one'), ({was}, 2, 'two');
             INSERT INTO d VALUES ({was}, 1, 'of one'), ({was}, 2, 'of two'); COMMIT;
             UPDATE h SET k = {is}; DELETE FROM l; DELETE FROM d;
             INSERT INTO talon_restore(kind, piece) VALUES ('doc', {is})"
        ));
        let is = is.trim_matches('\'');
        assert_eq!(db.rows("SELECT outcome, lines FROM talon_restore"), ["restored|2"]);
        assert_eq!(db.rows("SELECT * FROM l"), [format!("{is}|1|one"), format!("{is}|2|two")]);
        let details = [format!("{is}|1|of one"), format!("{is}|2|of two")];
        assert_eq!(db.rows("SELECT * FROM d"), details);
        assert_eq!(db.findings(), [""; 0]);
        // And to a point in time before, whichever rows are there.
        db.run("UPDATE l SET label = 'other'; DELETE FROM d WHERE p1 = 2");
        db.run("INSERT INTO talon_restore(kind, piece, snapshot) SELECT kind, piece, min(id) FROM talon_snapshots");
        assert_eq!(db.rows("SELECT * FROM d"), details);
        assert_eq!(db.rows("SELECT label FROM l"), ["one", "two"]);
    }
}
