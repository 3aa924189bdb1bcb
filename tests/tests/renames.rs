//! Headers that get another key: images go along, and no two pieces' images are mixed up.

use talon_tests::{GUARD_SALES, Shop};

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
