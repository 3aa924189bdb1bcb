//! Connections that do not load Talon: they work, they leave marks, and what they did is found.

use rusqlite::OpenFlags;
use talon_tests::{Db, GUARD_SALES, MARKS, SALES, Shop, load};

fn marks(shop: &Shop) -> String {
    shop.bare().one(MARKS)
}

const VISIT: &str = "UPDATE sale_line SET label = 'bare' WHERE id = 10";

#[test]
fn every_write_works_without_talon_and_leaves_marks() {
    let (shop, db) = Shop::of_sales();
    let bare = shop.bare();
    bare.run(
        "INSERT INTO sale_piece VALUES (3, 'C', 0); INSERT INTO sale_line VALUES (30, 3, 1, 'n', 1);
         UPDATE sale_line SET label = 'bare' WHERE id = 10;
         INSERT INTO sale_line VALUES (12, 2, 1, 'u', 1) ON CONFLICT (id) DO UPDATE SET label = 'upsert';
         DELETE FROM sale_line WHERE id = 11; INSERT OR IGNORE INTO sale_piece VALUES (1, 'dup', 0)",
    );
    assert_ne!(marks(&shop), "0");
    assert_eq!(db.one("SELECT marks FROM talon_guards"), "0");
    assert_eq!(db.findings(), ["sale|3|unguarded", "sale|1|unguarded", "sale|2|unguarded"]);
    assert_eq!(db.snapshots("1"), ["create|2", "unguarded|1"]);
    assert_eq!(db.snapshots("3"), ["unguarded|1"]);
}

#[test]
fn tables_can_be_altered_without_talon() {
    let (shop, db) = Shop::of_sales();
    shop.bare().run(
        "ALTER TABLE sale_line ADD COLUMN note TEXT DEFAULT 'n'; ALTER TABLE sale_line RENAME COLUMN label TO text;
         ALTER TABLE sale_line RENAME COLUMN sale_id TO parent; ALTER TABLE sale_line DROP COLUMN position;
         ALTER TABLE sale_line RENAME TO line; ALTER TABLE sale_piece RENAME TO piece;
         UPDATE line SET text = 'bare' WHERE id = 10; CREATE TABLE unrelated(a); ALTER TABLE unrelated RENAME TO related",
    );
    assert_eq!(db.one("SELECT header, lines, triggers FROM talon_guards"), "piece|line|whole");
    assert_eq!(db.findings(), ["sale|1|unguarded"]);
    db.run(
        "DELETE FROM line WHERE id < 12; INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)",
    );
    assert_eq!(db.rows("SELECT * FROM line WHERE parent = 1"), ["10|1|bare|1.0|n", "11|1|y|2.0|n"]);
}

#[test]
fn the_next_transaction_that_touches_a_guarded_piece_absorbs_the_marks() {
    let (shop, db) = Shop::of_sales();
    shop.bare().run(VISIT);
    db.run("UPDATE sale_piece SET total = 3 WHERE id = 2");
    assert_eq!(marks(&shop), "0");
    assert_eq!(db.snapshots("1"), ["create|2", "unguarded|2"]);
    assert_eq!(db.findings(), ["sale|1|unguarded"]);
}

#[test]
fn a_touch_of_the_marked_piece_itself_keeps_what_the_visitor_left() {
    let (shop, db) = Shop::of_sales();
    shop.bare().run(VISIT);
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
    assert_eq!(db.rows("SELECT label FROM sale_line WHERE sale_id = 1"), ["bare", "y"]);
    assert_eq!(db.findings(), ["sale|1|unguarded"]);
}

#[test]
fn every_call_that_looks_absorbs_the_marks() {
    for call in [
        "SELECT * FROM talon_lost",
        "SELECT * FROM talon_snapshots",
        "SELECT * FROM talon_guards",
        "SELECT * FROM talon_audit",
        "SELECT * FROM talon_restore",
        "SELECT * FROM talon_purge",
        "SELECT talon_baseline('sale')",
        "SELECT talon_absorb()",
        "INSERT INTO talon_purge(before) VALUES ('2000-01-01')",
        "SELECT talon_unguard('sale')",
    ] {
        let (shop, db) = Shop::of_sales();
        shop.bare().run(VISIT);
        db.run(call);
        assert_eq!(marks(&shop), "0", "{call}");
    }
}

#[test]
fn talon_absorb_counts_the_pieces_that_it_imaged() {
    let (shop, db) = Shop::of_sales();
    assert_eq!(db.one("SELECT talon_absorb()"), "0");
    shop.bare().run("UPDATE sale_line SET label = 'bare'; UPDATE sale_line SET quantity = 9; UPDATE sale_piece SET total = 1");
    assert_eq!(db.one("SELECT talon_absorb()"), "2");
    assert_eq!(db.one("SELECT talon_absorb()"), "0");
    shop.bare().run("UPDATE sale_line SET label = label");
    assert_eq!(db.one("SELECT talon_absorb()"), "0");
}

#[test]
fn lines_lost_without_talon_are_lost_pieces() {
    let (shop, db) = Shop::of_sales();
    shop.bare().run("DELETE FROM sale_line WHERE sale_id = 1");
    assert_eq!(db.rows("SELECT piece, saved_lines FROM talon_lost"), ["1|2"]);
    assert_eq!(db.findings(), ["sale|1|lost", "sale|1|unguarded"]);
    assert!(
        db.one("SELECT detail FROM talon_audit WHERE finding = 'unguarded'")
            .starts_with("lost its lines on a connection")
    );
}

#[test]
fn a_delete_without_talon_is_a_recorded_delete() {
    let (shop, db) = Shop::of_sales();
    shop.bare().run("DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale_piece WHERE id = 1");
    assert_eq!(db.findings(), ["sale|1|unguarded"]);
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)"),
        "talon_restore: sale 1 was deleted; to bring it back all the same, name one of its snapshots"
    );
}

#[test]
fn a_piece_made_and_deleted_without_talon_leaves_nothing() {
    let (shop, db) = Shop::of_sales();
    shop.bare().run(
        "INSERT INTO sale_piece VALUES (3, 'C', 0); INSERT INTO sale_line VALUES (30, 3, 1, 'n', 1);
         DELETE FROM sale_line WHERE id = 30; DELETE FROM sale_piece WHERE id = 3",
    );
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(db.snapshots("3"), [""; 0]);
}

#[test]
fn a_key_used_again_without_talon_is_lost_until_that_is_dismissed() {
    let (shop, db) = Shop::of_sales();
    shop.bare().run(
        "DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale_piece WHERE id = 1; INSERT INTO sale_piece VALUES (1, 'N', 0)",
    );
    assert_eq!(db.rows("SELECT piece, number FROM talon_lost"), ["1|N"]);
    db.run("SELECT talon_dismiss('sale', 1)");
    assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0]);
}

#[test]
fn a_key_changed_without_talon_takes_its_images_along() {
    let (shop, db) = Shop::of_sales();
    shop.bare().run("PRAGMA foreign_keys = OFF; UPDATE sale_piece SET id = 5 WHERE id = 1; UPDATE sale_line SET sale_id = 5 WHERE sale_id = 1");
    assert_eq!(db.one("SELECT talon_absorb()"), "1");
    assert_eq!(db.snapshots("5"), ["create|2", "unguarded|2"]);
    assert_eq!(db.findings(), ["sale|5|unguarded"]);
}

#[test]
fn a_detail_below_the_lines_changed_without_talon_marks_its_piece() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(
        "CREATE TABLE tax(id INTEGER PRIMARY KEY, line_id INTEGER REFERENCES sale_line(id), rate REAL);
         SELECT talon_guard('sale', '{\"header\": {\"table\": \"sale_piece\"}, \"lines\": {\"table\": \"sale_line\"},
           \"details\": [{\"table\": \"tax\", \"of\": \"lines\"}]}');
         BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1);
         INSERT INTO tax VALUES (100, 10, 0.2); COMMIT",
    );
    shop.bare().run("UPDATE tax SET rate = 0.1");
    assert_eq!(db.findings(), ["sale|1|unguarded"]);
    shop.bare().run("DELETE FROM tax");
    assert_eq!(db.one("SELECT talon_absorb()"), "1");
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) SELECT 'sale', 1, id FROM talon_snapshots WHERE reason = 'create'");
    assert_eq!(db.rows("SELECT * FROM tax"), ["100|10|0.2"]);
}

#[test]
fn a_guard_may_ask_for_refusal() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(
        "SELECT talon_guard('sale', '{\"header\": {\"table\": \"sale_piece\"}, \"lines\": {\"table\": \"sale_line\"},
           \"unloaded\": \"refuse\"}'); INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1)",
    );
    let bare = shop.bare();
    assert_eq!(
        bare.error("DELETE FROM sale_line"),
        "talon: sale is guarded, load libtalon to write to sale_line"
    );
    assert_eq!(
        bare.error("INSERT INTO sale_piece VALUES (2, 'B', 1)"),
        "talon: sale is guarded, load libtalon to write to sale_piece"
    );
    assert_eq!(bare.one("SELECT count(*) FROM sale_line"), "1");
    bare.run("ALTER TABLE sale_line ADD COLUMN note");
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(marks(&shop), "0");
    db.run(GUARD_SALES);
    shop.bare().run("UPDATE sale_line SET label = 'now it may'");
}

#[test]
fn a_read_only_connection_looks_and_leaves_the_marks_for_others() {
    let (shop, db) = Shop::of_sales();
    let reader = rusqlite::Connection::open_with_flags(
        shop.file("shop.db"),
        OpenFlags::SQLITE_OPEN_READ_ONLY,
    );
    let reader = Db { connection: reader.expect("the database opens") };
    load(&reader.connection);
    shop.bare().run("DELETE FROM sale_line WHERE sale_id = 1");
    assert_eq!(reader.rows("SELECT piece, saved_lines FROM talon_lost"), ["1|2"]);
    assert_eq!(reader.rows("SELECT count(*) FROM talon_snapshots"), ["2"]);
    assert_eq!(reader.one("SELECT marks FROM talon_guards"), "2");
    assert_eq!(reader.findings(), ["sale|1|lost"]);
    assert!(reader.error("SELECT talon_absorb()").contains("readonly"));
    drop(reader);
    assert_eq!(db.one("SELECT talon_absorb()"), "1");
}

#[test]
fn looking_works_while_another_writer_holds_the_lock() {
    let (shop, db) = Shop::of_sales();
    let writer = shop.bare();
    writer
        .run("PRAGMA journal_mode = WAL; DELETE FROM sale_line WHERE sale_id = 1; BEGIN IMMEDIATE");
    assert_eq!(db.rows("SELECT piece FROM talon_lost"), ["1"]);
    assert_eq!(db.error("SELECT talon_absorb()"), "talon_absorb: database is locked");
    writer.run("COMMIT");
    assert_eq!(db.one("SELECT talon_absorb()"), "1");
}

#[test]
fn marks_absorbed_in_a_transaction_that_is_rolled_back_stay() {
    let (shop, db) = Shop::of_sales();
    shop.bare().run(VISIT);
    db.run("BEGIN; UPDATE sale_line SET label = 'undone'; SELECT talon_absorb(); ROLLBACK");
    assert_eq!(db.snapshots("1"), ["create|2", "unguarded|2"]);
    assert_eq!(db.findings(), ["sale|1|unguarded"]);
}

#[test]
fn thousands_of_marks_are_absorbed_by_one_call() {
    let (shop, db) = Shop::of_sales();
    shop.bare().run(
        "BEGIN; WITH RECURSIVE n(n) AS (VALUES (100) UNION ALL SELECT n + 1 FROM n WHERE n < 1600)
         INSERT INTO sale_piece SELECT n, n, 0 FROM n; INSERT INTO sale_line SELECT id, id, 1, 'n', 1 FROM sale_piece WHERE id > 99; COMMIT",
    );
    assert_eq!(db.one("SELECT talon_absorb()"), "1501");
    assert_eq!(marks(&shop), "0");
    assert_eq!(db.rows("SELECT * FROM talon_audit WHERE finding <> 'unguarded'"), [""; 0]);
}
