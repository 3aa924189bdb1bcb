//! Files that an older library made are brought up to date by the first call that may write.

use talon_tests::*;

const FORMAT: &str = "SELECT value FROM talon_meta WHERE name = 'format'";
const TABLES: &str = "SELECT name FROM sqlite_schema WHERE name GLOB 'talon_[a-z]*' AND type = 'table' ORDER BY name";

const TRIGGERS: &str = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name";

/// Takes away what format 3 added.
fn downgrade_to_2(db: &Db) {
    db.run("DROP INDEX talon_translated");
    for column in ["change", "origin", "origin_key"] {
        db.run(&format!("ALTER TABLE talon_piece DROP COLUMN {column}"));
    }
    drop_tables(db, include_str!("../../sql/create_tables_3.sql"));
    db.run("UPDATE talon_meta SET value = 2 WHERE name = 'format'");
}

fn drop_tables(db: &Db, added: &str) {
    let names = added.split("CREATE TABLE {schema}.").skip(1);
    for name in names.filter_map(|rest| rest.split('(').next()) {
        db.run(&format!("DROP TABLE {name}"));
    }
}

/// Takes away what formats 2 and 3 added, and gives triggers the wording of format 1.
fn downgrade(db: &Db) {
    downgrade_to_2(db);
    for sql in db.rows(TRIGGERS) {
        let name = sql.split('"').nth(1).expect("a name");
        let first = sql.replace(") IS NULL\n", ", NULL, NULL) IS NULL\n");
        let first = match first.strip_suffix(", NULL); END") {
            Some(one) => {
                one.replace("talon_mark VALUES", "talon_touched(code, k1) VALUES") + "); END"
            }
            None => first.replace("talon_mark VALUES", "talon_touched(code, k1, k2) VALUES"),
        };
        assert!(first.contains("talon_touched"), "{first}");
        db.run(&format!("DROP TRIGGER {name}; {first}"));
    }
    drop_tables(db, include_str!("../../sql/create_tables_2.sql"));
    db.run("UPDATE talon_meta SET value = 1 WHERE name = 'format'");
}

#[test]
fn the_tables_of_an_older_format_are_upgraded_by_the_first_look() {
    let (shop, db) = Shop::of_sales();
    let tables = db.rows(TABLES);
    drop(db);
    let bare = shop.bare();
    downgrade(&bare);
    assert_ne!(bare.rows(TABLES), tables);
    let db = shop.open();
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    assert_eq!(db.one("SELECT kind || piece FROM talon_lost"), "sale1");
    assert_eq!(bare.one(FORMAT), "3");
    assert_eq!(bare.rows(TABLES), tables);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn triggers_of_an_older_format_are_heeded_and_written_anew() {
    let (shop, db) = Shop::of_sales();
    let triggers = db.rows(TRIGGERS);
    drop(db);
    let bare = shop.bare();
    downgrade(&bare);
    assert_ne!(bare.rows(TRIGGERS), triggers);
    let db = shop.open();
    db.run("UPDATE sale_line SET label = 'seen' WHERE id = 10");
    bare.run("UPDATE sale_line SET label = 'bare' WHERE id = 11");
    assert_eq!(bare.one("SELECT count(*) FROM talon_touched"), "1");
    db.run("ALTER TABLE sale_piece ADD COLUMN more");
    db.run("UPDATE sale_line SET label = 'again' WHERE id = 10");
    assert_eq!(bare.one(FORMAT), "1");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2", "unguarded|2", "edit|2"]);
    assert_eq!(
        db.rows("SELECT triggers, marks, suspect_since FROM talon_guards"),
        ["whole|0|NULL"]
    );
    assert_eq!(bare.rows(TRIGGERS), triggers);
    bare.run("UPDATE sale_line SET label = 'bare again' WHERE id = 11");
    assert_eq!(bare.one("SELECT count(*) FROM talon_mark"), "1");
    assert_eq!(db.findings(), ["sale|1|unguarded"; 2]);
}

#[test]
fn an_upgrade_that_is_rolled_back_is_made_again() {
    let (shop, db) = Shop::of_sales();
    drop(db);
    downgrade(&shop.bare());
    let db = shop.open();
    db.run("BEGIN; SELECT talon_guard('sale', 'sale_piece', 'sale_line')");
    assert_eq!(db.one(FORMAT), "3");
    db.run("ROLLBACK");
    assert_eq!(db.one(FORMAT), "1");
    db.run("BEGIN; SELECT * FROM talon_lost; ROLLBACK");
    assert_eq!(db.one(FORMAT), "1");
    db.run("SELECT * FROM talon_lost");
    assert_eq!(db.one(FORMAT), "3");
}

#[test]
fn two_connections_upgrade_once() {
    let (shop, db) = Shop::of_sales();
    drop(db);
    downgrade(&shop.bare());
    let (one, other) = (shop.open(), shop.open());
    for db in [&one, &other] {
        db.run("UPDATE sale_line SET label = label || '!' WHERE id = 10");
    }
    for db in [&one, &other] {
        db.run("SELECT * FROM talon_audit");
        assert_eq!(db.one(FORMAT), "3");
    }
    assert_eq!(one.snapshots("1"), ["create|2", "edit|2", "edit|2"]);
}

#[test]
fn an_older_file_that_may_not_be_written_has_no_edits_and_says_what_it_lacks() {
    let (shop, db) = Shop::of_sales();
    drop(db);
    downgrade(&shop.bare());
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(shop.file("shop.db"), flags);
    let db = Db { connection: connection.expect("the file opens") };
    load(&db.connection);
    db.run("SELECT talon_station('till 2', 'marie')");
    assert_eq!(
        db.error("SELECT talon_edit_begin('sale', 1)"),
        "talon_edit_begin: Talon's tables in \"main\" have format 1, this needs 3: call it once where the file may be written"
    );
    for table in ["talon_edits", "talon_releases", "talon_lost"] {
        assert_eq!(db.rows(&format!("SELECT * FROM {table}")), [""; 0]);
    }
}

#[test]
fn an_older_file_is_upgraded_by_the_first_edit() {
    let (shop, db) = Shop::of_sales();
    drop(db);
    downgrade(&shop.bare());
    let db = shop.open();
    db.run("UPDATE sale_piece SET id = 7 WHERE id = 2 AND 0; UPDATE sale_line SET sale_id = 1; UPDATE sale_piece SET id = 7 WHERE id = 2");
    assert_eq!(db.one(FORMAT), "1");
    db.run("BEGIN; SELECT talon_station('till 2', 'marie'); SELECT talon_edit_begin('sale', 1); COMMIT");
    assert_eq!(db.one("SELECT piece FROM talon_edits"), "1");
    assert_eq!(db.one(FORMAT), "3");
}

#[test]
fn a_file_of_the_format_before_is_upgraded_by_the_first_look() {
    let (shop, db) = Shop::of_sales();
    let shapes = "SELECT sql FROM sqlite_schema WHERE name GLOB 'talon_[a-z]*' ORDER BY name";
    let (triggers, before) = (db.rows(TRIGGERS), db.rows(shapes));
    drop(db);
    let bare = shop.bare();
    downgrade_to_2(&bare);
    let db = shop.open();
    db.run("UPDATE sale_line SET label = 'seen' WHERE id = 10; DELETE FROM sale_line WHERE sale_id = 2");
    assert_eq!(bare.one(FORMAT), "2");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2"]);
    assert_eq!(bare.one(FORMAT), "3");
    assert_eq!((db.rows(TRIGGERS), db.rows(shapes)), (triggers, before));
    db.run("UPDATE sale_line SET label = 'again' WHERE id = 10");
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2", "edit|2"]);
    assert_eq!(db.snapshots("2"), ["create|1", "restore|1"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_connection_goes_on_when_another_upgrades_the_file_under_it() {
    let (shop, db) = Shop::of_sales();
    drop(db);
    downgrade_to_2(&shop.bare());
    let (one, other) = (shop.open(), shop.open());
    one.run("UPDATE sale_line SET label = 'old' WHERE id = 10");
    assert_eq!(one.one(FORMAT), "2");
    other.run("SELECT * FROM talon_lost");
    assert_eq!(one.one(FORMAT), "3");
    one.run(
        "UPDATE sale_line SET label = 'new' WHERE id = 10; INSERT INTO sale_piece(id) VALUES (3)",
    );
    assert_eq!(one.snapshots("1"), ["create|2", "edit|2", "edit|2"]);
    assert_eq!(one.snapshots("3"), ["create|0"]);
}

#[test]
fn a_file_of_the_format_before_that_may_not_be_written_can_be_looked_at() {
    let (shop, db) = Shop::of_sales();
    db.run("DELETE FROM sale_line WHERE sale_id = 2");
    drop(db);
    downgrade_to_2(&shop.bare());
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(shop.file("shop.db"), flags);
    let db = Db { connection: connection.expect("the file opens") };
    load(&db.connection);
    assert_eq!(db.rows("SELECT piece FROM talon_lost"), ["2"]);
    assert_eq!(db.findings(), ["sale|2|lost"]);
}

#[test]
fn an_upgrade_names_a_table_of_the_application_that_stands_in_its_way() {
    let (shop, db) = Shop::of_sales();
    drop(db);
    let bare = shop.bare();
    downgrade_to_2(&bare);
    bare.run("CREATE INDEX talon_translated ON sale_line(label)");
    let db = shop.open();
    assert_eq!(
        db.error("SELECT talon_guard('sale', 'sale_piece', 'sale_line')"),
        "talon_guard: \"main\" has an index talon_translated already that is none of Talon's: rename it, names with talon_ are Talon's own"
    );
    assert_eq!(db.one(FORMAT), "2");
}
