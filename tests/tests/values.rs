//! What an image keeps, it keeps to the bit; and what becomes of it when the tables change.

use talon_tests::{Db, GUARD_SALES, SALES, Shop};

const ANYTHING: &str = "
    CREATE TABLE piece(id INTEGER PRIMARY KEY, a, b);
    CREATE TABLE line(id INTEGER PRIMARY KEY, piece INTEGER NOT NULL REFERENCES piece, value)";

#[test]
fn values_come_back_with_their_storage_class_and_every_bit() {
    let values = [
        "9223372036854775807",
        "-9223372036854775808",
        "9007199254740993",
        "0",
        "-1",
        "NULL",
        "0.1",
        "-0.0",
        "5e-324",
        "2.2250738585072014e-308",
        "1.7976931348623157e308",
        "9e999",
        "-9e999",
        "9007199254740993.0",
        "9.9e22",
        "1e23",
        "0.30000000000000004",
        "1.0",
        "123456789012345678.0",
        "2.2250738585072011e-308",
        "8.41e21",
        "9223372036854775807.0",
        "6.02214076e23",
        "''",
        "'O''Brien \"x\" \\ / \u{1}\u{7f} \u{2028} é 💶'",
        "'a' || char(0) || 'b'",
        "char(0)",
        "char(10, 13, 9)",
        "CAST(x'ff00fe' AS TEXT)",
        "CAST(x'c3' AS TEXT)",
        "CAST(x'eda080' AS TEXT)",
        "'7'",
        "'7.0'",
        "'{\"blob\":\"00\"}'",
        "x''",
        "x'00'",
        "x'ff00fe'",
        "zeroblob(5000)",
        "'null'",
        "char(65535, 65534, 1114111)",
    ];
    let shop = Shop::with(ANYTHING);
    let db = shop.open();
    db.run("SELECT talon_guard('p', 'piece', 'line'); BEGIN; INSERT INTO piece VALUES (1, CAST(x'fe' AS TEXT), -9e999)");
    for value in values {
        db.run(&format!("INSERT INTO line(piece, value) VALUES (1, {value})"));
    }
    db.run("COMMIT");
    db.lose_and_recover(
        &["piece", "line"],
        "DELETE FROM line",
        &[&format!("p|1|{}", values.len())],
    );
    let image = db.one("SELECT payload FROM talon_snapshot ORDER BY id LIMIT 1");
    for written in [
        ",9007199254740993]",
        "-0.0]",
        r#"{"real":"inf"}"#,
        r#"{"text":"ff00fe"}"#,
        r#"{"blob":"ff00fe"}"#,
    ] {
        assert!(image.contains(written), "{written} in {image}");
    }
    assert_eq!(db.one("SELECT json_valid(payload) AND bytes = length(CAST(payload AS BLOB)) FROM talon_snapshot LIMIT 1"), "1");
}

#[test]
fn random_reals_come_back_to_the_bit() {
    let shop = Shop::with(ANYTHING);
    let db = shop.open();
    db.run("SELECT talon_guard('p', 'piece', 'line'); BEGIN; INSERT INTO piece VALUES (1, 0, 0)");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..3000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let real = f64::from_bits(state);
        db.connection
            .execute(
                "INSERT INTO line(piece, value) VALUES (1, ?1)",
                [if real.is_nan() { 0.5 } else { real }],
            )
            .expect("a real");
    }
    db.run("COMMIT");
    db.lose_and_recover(&["line"], "DELETE FROM line", &["p|1|3000"]);
}

#[test]
fn values_that_a_column_would_convert_come_back_as_they_were() {
    let shop = Shop::with(
        "CREATE TABLE piece(id INTEGER PRIMARY KEY, a REAL);
         CREATE TABLE line(id INTEGER PRIMARY KEY, piece INTEGER REFERENCES piece, i INTEGER, r REAL, t TEXT, n NUMERIC, b BLOB)",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('p', 'piece', 'line');
         BEGIN; INSERT INTO piece VALUES (1, 5);
         INSERT INTO line VALUES (1, 1, 'text', 3, 7, '1e3', '8'), (2, 1, 1.5, 'text', 1.5, 'x', 8), (3, 1, x'31', x'31', x'31', x'31', 1.0),
           (4, 1, 3.0, 9223372036854775807, '', '9007199254740993', NULL); COMMIT",
    );
    db.lose_and_recover(&["piece", "line"], "DELETE FROM line", &["p|1|4"]);
}

#[test]
fn a_database_in_utf16_keeps_its_texts() {
    for encoding in ["UTF-16le", "UTF-16be"] {
        let shop = Shop::with(&format!("PRAGMA encoding = '{encoding}'; {SALES}"));
        let db = shop.open();
        db.run(&format!(
            "{GUARD_SALES} BEGIN; INSERT INTO sale_piece VALUES (1, 'é💶', 1);
             INSERT INTO sale_line VALUES (1, 1, 1, 'a' || char(0) || 'ü', 1), (2, 1, 2, '', 2); COMMIT"
        ));
        assert_eq!(db.one("PRAGMA encoding"), encoding);
        db.lose_and_recover(&["sale_piece", "sale_line"], "DELETE FROM sale_line", &["sale|1|2"]);
        assert_eq!(
            db.one("SELECT number FROM talon_lost UNION ALL SELECT number FROM sale_piece"),
            "é💶"
        );
    }
}

/// A guarded sale 1 with lines 1 and 2.
fn sale_of_two_lines() -> (Shop, Db) {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(&format!(
        "{GUARD_SALES} BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1);
         INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1), (2, 1, 2, 'y', 2); COMMIT"
    ));
    (shop, db)
}

/// Changes the schema on a connection of its own.
fn change(shop: &Shop, with_talon: bool, change: &str) {
    let db = if with_talon { shop.open() } else { shop.bare() };
    db.run(change);
}

/// Loses the lines without Talon and restores them as they were; gives the outcome and its note.
fn lose_and_restore(shop: &Shop, db: &Db) -> String {
    let before = db.contents(&["sale_line"]);
    shop.bare().run("DELETE FROM sale_line");
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.contents(&["sale_line"]), before);
    db.one("SELECT outcome, note FROM talon_restore")
}

#[test]
fn a_column_added_since_gets_its_default_and_the_note_names_it() {
    for with_talon in [true, false] {
        let (shop, _db) = sale_of_two_lines();
        change(
            &shop,
            with_talon,
            "ALTER TABLE sale_line ADD COLUMN unit TEXT NOT NULL DEFAULT 'pc'",
        );
        let db = shop.open();
        let note = lose_and_restore(&shop, &db);
        assert_eq!(note, "restored|columns new in sale_line, with their default: unit");
        // From here on images have the column.
        db.run("UPDATE sale_line SET unit = 'kg' WHERE id = 1");
        assert_eq!(db.one("SELECT row ->> 'unit' FROM talon_image((SELECT max(id) FROM talon_snapshots)) WHERE part = 'lines' AND position = 1"), "kg");
    }
}

#[test]
fn a_column_dropped_since_is_named_and_the_rest_comes_back() {
    for with_talon in [true, false] {
        let (shop, _db) = sale_of_two_lines();
        change(&shop, with_talon, "ALTER TABLE sale_line DROP COLUMN label");
        let db = shop.open();
        let note = lose_and_restore(&shop, &db);
        assert_eq!(note, "restored|columns gone from sale_line: label");
        assert_eq!(
            db.one("SELECT row FROM talon_image(1) WHERE part = 'lines' AND position = 2"),
            r#"{"id":2,"sale_id":1,"position":2,"label":"y","quantity":2.0}"#
        );
    }
}

#[test]
fn renamed_tables_and_key_columns_stay_guarded() {
    for with_talon in [true, false] {
        let (shop, _db) = sale_of_two_lines();
        let changes = [
            "ALTER TABLE sale_piece RENAME TO sales",
            "ALTER TABLE sale_line RENAME TO \"sales line\"",
            "ALTER TABLE sales RENAME COLUMN id TO sale_number",
            "ALTER TABLE \"sales line\" RENAME COLUMN sale_id TO sale",
        ];
        for step in changes {
            change(&shop, with_talon, step);
        }
        let db = shop.open();
        db.run("UPDATE \"sales line\" SET label = 'new' WHERE id = 2");
        assert_eq!(
            db.rows("SELECT kind, header, lines FROM talon_guards"),
            ["sale|sales|sales line"]
        );
        assert_eq!(db.rows("SELECT version, lines, reason FROM talon_snapshots WHERE kind = 'sale' AND piece = 1 ORDER BY id"), ["1|2|create", "2|2|edit"]);
        db.lose_and_recover(
            &["sales", "\"sales line\""],
            "DELETE FROM \"sales line\"",
            &["sale|1|2"],
        );
    }
}

#[test]
fn an_image_older_than_a_rename_of_its_key_columns_is_restored() {
    let (_shop, db) = sale_of_two_lines();
    db.run(
        "ALTER TABLE sale_piece RENAME COLUMN id TO sale_number; ALTER TABLE sale_line RENAME COLUMN sale_id TO sale;
         ALTER TABLE sale_line RENAME COLUMN id TO line",
    );
    let before = db.contents(&["sale_piece", "sale_line"]);
    db.run("DELETE FROM sale_line; INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.rows("SELECT outcome, note FROM talon_restore"), ["restored|NULL"]);
    assert_eq!(db.contents(&["sale_piece", "sale_line"]), before);
}

#[test]
fn a_rebuilt_table_keeps_its_snapshots() {
    let (_shop, db) = sale_of_two_lines();
    db.run(
        "PRAGMA foreign_keys = OFF;
         BEGIN; CREATE TABLE new_line(quantity REAL, label TEXT, id INTEGER PRIMARY KEY, sale_id INTEGER REFERENCES sale_piece, position INTEGER);
         INSERT INTO new_line(id, sale_id, position, label, quantity) SELECT id, sale_id, position, label, quantity FROM sale_line;
         DROP TABLE sale_line; ALTER TABLE new_line RENAME TO sale_line; COMMIT;",
    );
    db.lose_and_recover(&["sale_piece", "sale_line"], "DELETE FROM sale_line", &["sale|1|2"]);
}
