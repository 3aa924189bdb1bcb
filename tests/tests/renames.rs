//! Headers that get another key: images go along, and no two pieces' images are mixed up.

use talon_tests::{Db, GUARD_SALES, MARKS, Shop};

const LOOSE: &str = "
    CREATE TABLE sale_piece(id INTEGER PRIMARY KEY, number TEXT UNIQUE);
    CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER REFERENCES sale_piece(id) ON UPDATE CASCADE
      ON DELETE CASCADE, label TEXT);";

#[test]
fn a_new_key_inherits_the_images_of_the_old_one() {
    let shop = Shop::with(LOOSE);
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run("BEGIN; INSERT INTO sale_piece VALUES (1, 'A'); INSERT INTO sale_line VALUES (10, 1, 'x'); COMMIT");
    db.run("UPDATE sale_piece SET id = 5");
    assert_eq!(db.snapshots("5"), ["create|1", "edit|1"]);
    assert_eq!(db.snapshots("1"), [""; 0]);
    db.run("UPDATE sale_piece SET id = 6; UPDATE sale_piece SET id = 7");
    assert_eq!(db.snapshots("7"), ["create|1", "edit|1", "edit|1", "edit|1"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn swapped_keys_take_their_images_along() {
    let shop = Shop::with(LOOSE);
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run(
        "BEGIN; INSERT INTO sale_piece VALUES (1, 'A'), (2, 'B'); INSERT INTO sale_line VALUES (10, 1, 'x'), (20, 2, 'y');
         COMMIT;
         BEGIN; UPDATE sale_piece SET id = 99 WHERE id = 1; UPDATE sale_piece SET id = 1 WHERE id = 2;
         UPDATE sale_piece SET id = 2 WHERE id = 99; COMMIT",
    );
    assert_eq!(db.findings(), [""; 0]);
    let numbers = "SELECT DISTINCT json_extract(i.row, '$.number') FROM talon_snapshots AS s, talon_image(s.id) AS i
        WHERE i.part = 'header' AND s.kind = 'sale' AND s.piece = ";
    assert_eq!(db.rows(&format!("{numbers}1")), ["B"]);
    assert_eq!(db.rows(&format!("{numbers}2")), ["A"]);
}

#[test]
fn a_key_changed_alone_orphans_the_lines_until_a_restore_attaches_them_again() {
    let (_shop, db) = Shop::of_sales();
    db.run("PRAGMA foreign_keys = OFF; UPDATE sale_piece SET id = 5 WHERE id = 1");
    assert_eq!(db.findings(), ["sale|5|lost", "sale|1|orphaned"]);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 5)");
    assert_eq!(db.rows("SELECT id, sale_id FROM sale_line WHERE id < 12"), ["10|5", "11|5"]);
    assert_eq!(db.one("SELECT outcome, lines FROM talon_restore"), "restored|2");
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn keys_swapped_in_a_busy_commit_are_swapped_once() {
    let (shop, db) = Shop::of_sales();
    let reader = shop.bare();
    reader.run("BEGIN; SELECT * FROM sale_line");
    let commit_is_busy = || assert_eq!(db.error("COMMIT"), "database is locked");
    db.run(
        "BEGIN; PRAGMA defer_foreign_keys = ON; UPDATE sale_piece SET id = 99 WHERE id = 1;
         UPDATE sale_piece SET id = 1 WHERE id = 2; UPDATE sale_piece SET id = 2 WHERE id = 99;
         UPDATE sale_line SET sale_id = 3 - sale_id",
    );
    commit_is_busy();
    commit_is_busy();
    db.run("UPDATE sale_piece SET id = 8 WHERE id = 2; UPDATE sale_line SET sale_id = 8 WHERE sale_id = 2");
    commit_is_busy();
    reader.run("COMMIT");
    db.run("COMMIT");
    assert_eq!(db.snapshots("1"), ["create|1", "edit|1"]);
    assert_eq!(db.snapshots("8"), ["create|2", "edit|2"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_new_piece_under_a_key_that_another_has_just_left_is_a_piece_of_its_own() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "BEGIN; PRAGMA defer_foreign_keys = ON; UPDATE sale_piece SET id = 5 WHERE id = 1;
         UPDATE sale_line SET sale_id = 5 WHERE sale_id = 1; INSERT INTO sale_piece VALUES (1, 'N', 0);
         INSERT INTO sale_line VALUES (30, 1, 1, 'n', 1); COMMIT",
    );
    assert_eq!(db.snapshots("5"), ["create|2", "edit|2"]);
    assert_eq!(db.snapshots("1"), ["create|1"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_piece_made_and_given_another_key_in_one_transaction_is_a_new_piece() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "BEGIN; INSERT INTO sale_piece VALUES (3, 'C', 0); UPDATE sale_piece SET id = 4 WHERE id = 3;
         INSERT INTO sale_line VALUES (40, 4, 1, 'n', 1); COMMIT",
    );
    assert_eq!((db.snapshots("3"), db.snapshots("4")), (vec![], vec!["create|1".to_owned()]));
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_key_changed_to_one_that_was_deleted_before_keeps_its_own_images() {
    let (_shop, db) = Shop::of_sales();
    db.run("DELETE FROM sale_line WHERE sale_id = 2; DELETE FROM sale_piece WHERE id = 2");
    db.run(
        "BEGIN; PRAGMA defer_foreign_keys = ON; UPDATE sale_piece SET id = 2 WHERE id = 1;
         UPDATE sale_line SET sale_id = 2 WHERE sale_id = 1; COMMIT",
    );
    assert_eq!(db.snapshots("2"), ["create|2", "edit|2"]);
    assert_eq!(db.findings(), [""; 0]);
}

/// What the snapshots of a sale call it, oldest first.
fn numbers(db: &Db, piece: i64) -> Vec<String> {
    db.rows(&format!(
        "SELECT json_extract(i.row, '$.number') FROM talon_snapshots AS s, talon_image(s.id) AS i
         WHERE s.kind = 'sale' AND s.piece = {piece} AND i.part = 'header' ORDER BY s.id"
    ))
}

const CHANGE_KEYS: &str =
    "PRAGMA foreign_keys = OFF; CREATE TEMP TRIGGER lines_follow AFTER UPDATE OF id ON sale_piece
    BEGIN UPDATE sale_line SET sale_id = NEW.id WHERE sale_id = OLD.id; END;";

#[test]
fn keys_changed_twice_without_talon_take_their_images_along() {
    let (shop, db) = Shop::of_sales();
    let bare = shop.bare();
    bare.run(CHANGE_KEYS);
    bare.run(
        "UPDATE sale_piece SET id = 3 WHERE id = 2; UPDATE sale_piece SET id = 2 WHERE id = 1",
    );
    bare.run(
        "UPDATE sale_piece SET id = 7 WHERE id = 3; UPDATE sale_piece SET id = 8 WHERE id = 7",
    );
    assert_eq!(db.one("SELECT talon_absorb()"), "2");
    assert_eq!((numbers(&db, 1), numbers(&db, 3), numbers(&db, 7)), (vec![], vec![], vec![]));
    assert_eq!(numbers(&db, 2), ["A", "A"]);
    assert_eq!(numbers(&db, 8), ["B", "B"]);
    assert_eq!(db.findings(), ["sale|2|unguarded", "sale|8|unguarded"]);
}

#[test]
fn keys_swapped_without_talon_take_their_images_along() {
    let (shop, db) = Shop::of_sales();
    shop.bare().run(
        "PRAGMA foreign_keys = OFF; UPDATE sale_piece SET id = 99 WHERE id = 1;
         UPDATE sale_piece SET id = 1 WHERE id = 2; UPDATE sale_piece SET id = 2 WHERE id = 99;
         UPDATE sale_line SET sale_id = 3 - sale_id",
    );
    assert_eq!(db.one("SELECT talon_absorb()"), "2");
    assert_eq!(
        (numbers(&db, 1), numbers(&db, 2)),
        (vec!["B".into(), "B".into()], vec!["A".into(), "A".into()])
    );
    assert_eq!(db.findings(), ["sale|1|unguarded", "sale|2|unguarded"]);
}

#[test]
fn a_new_piece_under_a_key_that_was_left_without_talon_has_no_images_of_the_old_one() {
    let (shop, db) = Shop::of_sales();
    let bare = shop.bare();
    bare.run(CHANGE_KEYS);
    bare.run(
        "UPDATE sale_piece SET id = 5 WHERE id = 1; INSERT INTO sale_piece VALUES (1, 'N', 0)",
    );
    assert_eq!(db.findings(), ["sale|5|unguarded", "sale|1|unguarded"]);
    assert_eq!(numbers(&db, 5), ["A", "A"]);
    assert_eq!(numbers(&db, 1), ["N"]);
    assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0]);
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)"),
        "talon_restore: sale 1 has no snapshot with lines"
    );
}

#[test]
fn key_changes_among_thousands_of_marks_are_followed_before_anything_else() {
    let (shop, db) = Shop::of_sales();
    let bare = shop.bare();
    bare.run(
        "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 1500)
         INSERT INTO sale_piece SELECT 1000 + n, 1000 + n, 0 FROM n; UPDATE sale_line SET label = 'bare' WHERE id = 12;",
    );
    bare.run(CHANGE_KEYS);
    bare.run(
        "UPDATE sale_piece SET id = 5 WHERE id = 1; UPDATE sale_piece SET id = 6 WHERE id = 5",
    );
    // Absorbs some of the marks, and changes a piece that the others speak of.
    db.run("UPDATE sale_line SET label = 'talon' WHERE id = 10");
    assert_ne!(db.one(MARKS), "0");
    assert_eq!(db.snapshots("6"), ["create|2", "unguarded|2", "edit|2"]);
    assert_eq!(
        db.rows("SELECT * FROM talon_audit WHERE finding NOT IN ('unguarded', 'unprotected')"),
        [""; 0]
    );
}

#[test]
fn a_piece_given_another_key_and_deleted_is_a_recorded_delete() {
    let gone = "talon_restore: sale 1 was deleted; to bring it back all the same, name one of its snapshots";
    let script =
        "BEGIN; UPDATE sale_piece SET id = 5 WHERE id = 1; DELETE FROM sale_line WHERE sale_id = 1;
         DELETE FROM sale_piece WHERE id = 5; COMMIT";
    let (_shop, db) = Shop::of_sales();
    db.run("PRAGMA foreign_keys = OFF");
    db.run(script);
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)"), gone);
    let (shop, db) = Shop::of_sales();
    let bare = shop.bare();
    bare.run("PRAGMA foreign_keys = OFF");
    bare.run(script);
    assert_eq!(db.findings(), ["sale|1|unguarded"]);
    assert_eq!(db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)"), gone);
}

#[test]
fn a_piece_given_another_key_and_deleted_leaves_its_key_to_a_new_one() {
    for hand in ["talon", "bare"] {
        let (shop, db) = Shop::of_sales();
        let bare = shop.bare();
        let writer = if hand == "talon" { &db } else { &bare };
        writer.run("PRAGMA foreign_keys = OFF");
        writer.run(
            "BEGIN; UPDATE sale_piece SET id = 5 WHERE id = 1; DELETE FROM sale_line WHERE sale_id = 1;
             DELETE FROM sale_piece WHERE id = 5; INSERT INTO sale_piece VALUES (1, 'N', 0); COMMIT",
        );
        assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0], "{hand}");
        assert_eq!(numbers(&db, 1), ["A", "N"], "{hand}");
    }
}

#[test]
fn a_piece_whose_new_key_another_takes_by_replace_is_found_gone() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "PRAGMA foreign_keys = OFF; BEGIN; UPDATE sale_piece SET id = 5 WHERE id = 1;
         UPDATE OR REPLACE sale_piece SET id = 5 WHERE id = 2; UPDATE sale_line SET sale_id = 5 WHERE sale_id = 2; COMMIT",
    );
    assert_eq!(numbers(&db, 5), ["B", "B"]);
    assert_eq!(db.findings(), ["sale|1|vanished", "sale|1|orphaned"]);
}

#[test]
fn a_key_that_a_deleted_piece_had_passes_no_images_on_to_a_piece_made_and_renamed() {
    let (_shop, db) = Shop::of_sales();
    db.run("DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale_piece WHERE id = 1");
    db.run("BEGIN; INSERT INTO sale_piece VALUES (1, 'N', 0); UPDATE sale_piece SET id = 4 WHERE id = 1; COMMIT");
    assert_eq!((numbers(&db, 1), numbers(&db, 4)), (vec!["A".to_owned()], vec!["N".to_owned()]));
}

#[test]
fn the_snapshots_of_a_piece_whose_key_another_took_can_still_be_named() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "PRAGMA foreign_keys = OFF; DELETE FROM sale_line WHERE sale_id = 2;
         BEGIN; UPDATE OR REPLACE sale_piece SET id = 2 WHERE id = 1; UPDATE sale_line SET sale_id = 2; COMMIT",
    );
    assert_eq!(
        db.rows("SELECT id FROM talon_snapshots WHERE +piece = 2 ORDER BY id"),
        ["1", "2", "3"]
    );
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 2, 2)");
    assert_eq!(db.rows("SELECT * FROM sale_piece"), ["2|B|2.5"]);
    assert_eq!(db.rows("SELECT id, sale_id FROM sale_line"), ["12|2"]);
    assert_eq!(db.findings(), [""; 0]);
    assert!(
        db.error("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 2, 99)")
            .starts_with("talon_restore: sale 2 has no snapshot 99; it has: ")
    );
}

#[test]
fn a_new_piece_that_is_given_the_key_of_a_deleted_one_is_a_piece_of_its_own() {
    for hand in ["talon", "bare"] {
        let (shop, db) = Shop::of_sales();
        let bare = shop.bare();
        let writer = if hand == "talon" { &db } else { &bare };
        writer.run(
            "BEGIN; INSERT INTO sale_piece VALUES (4, 'N', 0); DELETE FROM sale_line WHERE sale_id = 1;
             DELETE FROM sale_piece WHERE id = 1; UPDATE sale_piece SET id = 1 WHERE id = 4; COMMIT",
        );
        assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0], "{hand}");
        assert_eq!(numbers(&db, 1), ["A", "N"], "{hand}");
        writer.run("BEGIN; INSERT INTO sale_piece VALUES (3, 'M', 0); DELETE FROM sale_line; DELETE FROM sale_piece WHERE id < 3");
        writer.run("COMMIT; BEGIN; UPDATE sale_piece SET id = 2 WHERE id = 3; COMMIT");
        assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0], "{hand}");
    }
}

#[test]
fn the_order_of_what_happened_to_composite_keys_without_talon_is_known() {
    let shop = Shop::with(
        "CREATE TABLE sale(shop TEXT, id INTEGER, number TEXT, PRIMARY KEY (shop, id));
         CREATE TABLE line(id INTEGER PRIMARY KEY, shop TEXT, sale INTEGER, FOREIGN KEY (shop, sale) REFERENCES sale ON DELETE CASCADE)",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('sale', 'sale', 'line'); BEGIN; INSERT INTO sale VALUES ('a', 1, 'A'), ('a', 2, 'B');
         INSERT INTO line VALUES (1, 'a', 1), (2, 'a', 2); COMMIT; DELETE FROM sale WHERE id = 1",
    );
    // New under one key, it gets the keys of one deleted before and of one deleted now.
    shop.bare().run(
        "PRAGMA foreign_keys = ON; INSERT INTO sale VALUES ('n', 1, 'N'), ('n', 2, 'M'); DELETE FROM sale WHERE number = 'B';
         UPDATE sale SET shop = 'a'",
    );
    assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0]);
    assert_eq!(
        db.rows("SELECT piece, finding FROM talon_audit WHERE finding <> 'unguarded'"),
        [""; 0]
    );
    assert_eq!(
        db.rows("SELECT lines FROM talon_snapshots WHERE piece = '[\"a\",2]' ORDER BY id"),
        ["1", "0"]
    );
}
