//! Records are rows of their own: tracked with the same capture as pieces, and never lost, because they have no lines.

use talon_tests::*;

const CUSTOMERS: &str = "
    CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, address TEXT, phone TEXT);
";

/// A shop whose customers are tracked: 1 is Ada, 2 is Ben.
fn tracked() -> (Shop, Db) {
    let shop = Shop::with(CUSTOMERS);
    let db = shop.open();
    db.run("SELECT talon_track('customer', 'customer')");
    db.run("INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11'), (2, 'Ben', NULL, NULL)");
    (shop, db)
}

fn snapshots(db: &Db, piece: &str) -> Vec<String> {
    db.rows(&format!(
        "SELECT reason, version FROM talon_snapshots WHERE kind = 'customer' AND piece = {piece} ORDER BY id"
    ))
}

#[test]
fn each_committed_change_of_a_record_is_imaged() {
    let (_shop, db) = tracked();
    db.run("UPDATE customer SET phone = '12' WHERE id = 1; UPDATE customer SET phone = '12' WHERE id = 1");
    db.run("BEGIN; UPDATE customer SET phone = '13' WHERE id = 1; UPDATE customer SET name = 'Ava' WHERE id = 1; COMMIT");
    assert_eq!(snapshots(&db, "1"), ["create|1", "edit|2", "edit|3"]);
    assert_eq!(
        db.rows("SELECT i.part, i.row FROM talon_snapshots AS s, talon_image(s.id) AS i WHERE s.piece = 2"),
        [r#"header|{"id":2,"name":"Ben","address":null,"phone":null}"#]
    );
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_record_is_declared_by_its_table_or_in_json() {
    let shop = Shop::with(CUSTOMERS);
    let db = shop.open();
    assert_eq!(
        db.one("SELECT talon_track('customer', 'customer')"),
        "customer is tracked: customer (key id)"
    );
    let json = r#"{"record": {"table": "customer", "key": "id", "where": "h.name <> ''nobody''",
        "labels": {"number": "h.phone"}}, "sync": {"preset": "customer", "filter": "h.address = :site"}}"#;
    db.run(&format!("SELECT talon_track('customer', '{json}')"));
    db.run("INSERT INTO customer(name) VALUES ('Ada'), ('nobody')");
    assert_eq!(
        db.rows("SELECT header, lines, details, pieces, triggers, advice FROM talon_guards"),
        ["customer|NULL|NULL|1|whole|NULL"]
    );
    let json = r#"{"header": {"table": "customer"}}"#;
    db.run(&format!("SELECT talon_track('customer', '{json}')"));
}

#[test]
fn what_is_no_record_is_refused() {
    let (_shop, db) = tracked();
    let refused = |sql: &str, text: &str| assert_eq!(db.error(&format!("SELECT {sql}")), text);
    refused(
        r#"talon_track('x', '{"record": {"table": "customer"}, "lines": {"table": "y"}}')"#,
        "talon_track: x: a record is a row of its own: what has lines or details is guarded by talon_guard",
    );
    refused(
        r#"talon_guard('x', '{"header": {"table": "customer"}}')"#,
        "talon_guard: x: it has no \"lines\": name their table, or track records without lines by talon_track",
    );
    refused(
        "talon_track('x', 'nowhere')",
        "talon_track: x: no table \"nowhere\" in \"main\"; there are: customer",
    );
    refused(
        r#"talon_track('x', '{"record": {"tabel": "customer"}}')"#,
        "talon_track: x: the definition cannot be read: unknown field `tabel`, expected one of `table`, `key`, `where`, `labels` at line 1 column 19",
    );
    db.run("CREATE TABLE wide(a, b, c, d, e, PRIMARY KEY (a, b, c, d, e))");
    refused(
        "talon_track('x', 'wide')",
        "talon_track: x: the key of \"wide\" has 5 columns; one that other tables refer to has at most 4",
    );
    refused(
        "talon_stage('customer', 3, '{}')",
        "talon_stage: customer are records: deposits are for pieces, which are written in several steps",
    );
    refused(
        "talon_dismiss('customer', 1)",
        "talon_dismiss: customer 1 is there, and a record has no lines to miss: there is nothing to dismiss",
    );
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('customer', 1)"),
        "talon_restore: customer 1 is there, and a record has no lines to lose; to bring an older state back, name its snapshot"
    );
}

#[test]
fn pieces_do_not_become_records_nor_records_pieces() {
    let (_shop, db) = Shop::of_sales();
    assert_eq!(
        db.error("SELECT talon_track('sale', 'sale_piece')"),
        "talon_track: sale: there are pieces of this kind: what is to be tracked as records needs another"
    );
    db.run(
        "SELECT talon_track('line', 'sale_line'); UPDATE sale_line SET label = 'new' WHERE id = 10",
    );
    assert_eq!(
        db.error("SELECT talon_guard('line', 'sale_piece', 'sale_line')"),
        "talon_guard: line: there are records of this kind: what is to be guarded as pieces needs another"
    );
    // A line may be a record of its own beside: both are imaged.
    assert_eq!(
        db.rows("SELECT kind, reason FROM talon_snapshots ORDER BY id DESC LIMIT 3"),
        ["sale|edit", "line|edit", "line|before"]
    );
}

#[test]
fn a_record_is_never_lost() {
    let (_shop, db) = tracked();
    db.run("DELETE FROM customer WHERE id = 2");
    assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0]);
    assert_eq!(db.rows("SELECT * FROM talon_lost WHERE kind = 'customer' AND piece = 1"), [""; 0]);
    assert_eq!(db.rows("SELECT * FROM talon_audit WHERE finding = 'lost'"), [""; 0]);
    assert_eq!(db.one("SELECT talon_restore_all('customer')"), r#"{"lost":0,"restored":0}"#);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn an_older_state_of_a_record_comes_back_from_its_snapshot() {
    let (_shop, db) = tracked();
    db.run("UPDATE customer SET phone = '12', address = 'High Street' WHERE id = 1");
    let restore = "INSERT INTO talon_restore(kind, piece, snapshot) SELECT kind, piece, min(id) FROM talon_snapshots WHERE piece = 1";
    db.run(restore);
    assert_eq!(db.rows("SELECT outcome, lines, note FROM talon_restore"), ["restored|0|NULL"]);
    assert_eq!(db.one("SELECT * FROM customer WHERE id = 1"), "1|Ada|Mill Lane|11");
    assert_eq!(snapshots(&db, "1"), ["create|1", "edit|2", "restore|3"]);
    db.run("DELETE FROM customer WHERE id = 1");
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('customer', 1)"),
        "talon_restore: customer 1 was deleted; to bring it back all the same, name one of its snapshots"
    );
    db.run(restore);
    assert_eq!(db.one("SELECT * FROM customer WHERE id = 1"), "1|Ada|Mill Lane|11");
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_record_that_vanished_is_found_and_comes_back() {
    let shop = Shop::with(CUSTOMERS);
    shop.bare().run("CREATE UNIQUE INDEX customer_number ON customer(phone || '')");
    let db = shop.open();
    db.run("SELECT talon_track('customer', 'customer')");
    db.run("INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11'), (2, 'Ben', NULL, '12')");
    // A collision on an expression is one that nobody is told of.
    db.run("UPDATE OR REPLACE customer SET phone = '12' WHERE id = 1");
    assert_eq!(
        db.rows("SELECT piece, finding, detail FROM talon_audit"),
        ["2|vanished|it is gone, and no DELETE was seen"]
    );
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-01-01')");
    db.run("UPDATE customer SET phone = '11' WHERE id = 1");
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('customer', 2)");
    assert_eq!(db.rows("SELECT id, phone FROM customer"), ["1|11", "2|12"]);
    assert_eq!(db.findings(), [""; 0]);
    db.run("UPDATE OR REPLACE customer SET phone = '12' WHERE id = 1; SELECT talon_dismiss('customer', 2)");
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_record_changed_behind_talons_back_is_found() {
    let (shop, db) = tracked();
    let bare = shop.bare();
    bare.run("UPDATE customer SET phone = '99' WHERE id = 1; INSERT INTO customer VALUES (3, 'Cy', NULL, NULL)");
    bare.run("DELETE FROM customer WHERE id = 2");
    assert_eq!(
        db.rows("SELECT piece, finding FROM talon_audit"),
        ["1|unguarded", "3|unguarded", "2|unguarded"]
    );
    assert_eq!(snapshots(&db, "1"), ["create|1", "unguarded|2"]);
    db.run("DELETE FROM talon_unguarded");
    let silent = shop.bare();
    silent
        .connection
        .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .expect("triggers are switched off");
    silent.run("UPDATE customer SET phone = '0' WHERE id = 1; INSERT INTO customer(id) VALUES (4)");
    assert_eq!(
        db.rows("SELECT piece, finding, detail FROM talon_audit"),
        ["1|drifted|header 1: phone was 99, is 0", "4|unprotected|it has no snapshot"]
    );
    assert_eq!(db.one("SELECT talon_baseline('customer')"), "1");
    assert_eq!(db.rows("SELECT piece FROM talon_audit WHERE finding = 'unprotected'"), [""; 0]);
}

#[test]
fn a_record_keeps_its_images_under_another_key() {
    let (_shop, db) = tracked();
    db.run("UPDATE customer SET id = 7 WHERE id = 1");
    assert_eq!(snapshots(&db, "7"), ["create|1", "edit|2"]);
    assert_eq!(snapshots(&db, "1"), [""; 0]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_record_that_is_being_edited_is_imaged_as_it_was() {
    let (shop, db) = tracked();
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-01-01'); SELECT talon_station('till 1')");
    assert_eq!(db.one("SELECT talon_edit_begin('customer', 1)"), "open");
    assert_eq!(snapshots(&db, "1"), ["before|2"]);
    let other = shop.open();
    other.run("SELECT talon_station('till 2')");
    assert!(
        other.error("SELECT talon_edit_begin('customer', 1)").contains("being edited at till 1")
    );
    assert_eq!(db.one("SELECT talon_edit_end('customer', 1)"), "ended");
}

#[test]
fn records_are_purged_and_unguarded_as_pieces_are() {
    let (_shop, db) = tracked();
    db.run("UPDATE customer SET phone = '12' WHERE id = 1");
    db.run("INSERT INTO talon_purge(before, keep_last) VALUES ('9999-01-01', 1)");
    assert_eq!(db.one("SELECT purged, kept_lost, kept_last FROM talon_purge"), "1|0|2");
    assert_eq!(
        db.one("SELECT talon_unguard('customer')"),
        "customer is no longer guarded; its snapshots stay"
    );
    db.run("UPDATE customer SET phone = '13' WHERE id = 1");
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshots"), "2");
}

#[test]
fn the_table_of_records_may_be_renamed() {
    let (_shop, db) = tracked();
    db.run("ALTER TABLE customer RENAME TO client; ALTER TABLE client RENAME COLUMN id TO code");
    db.run("UPDATE client SET phone = '12' WHERE code = 1");
    assert_eq!(snapshots(&db, "1"), ["create|1", "edit|2"]);
    assert_eq!(db.rows("SELECT header, triggers FROM talon_guards"), ["client|whole"]);
    assert_eq!(db.findings(), [""; 0]);
}
