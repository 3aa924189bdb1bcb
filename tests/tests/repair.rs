//! `talon_repair`: corrects a derived value everywhere, with the database to itself.

use rusqlite::ErrorCode;
use talon_tests::{Db, Shop};

const TOTAL: &str = "SELECT talon_derive('total', '{\"table\": \"sale_piece\", \"column\": \"total\",
    \"value\": \"(SELECT total(quantity) FROM sale_line WHERE sale_id = t.id)\", \"correct\": \"repair\"}')";
const REPAIR: &str = "SELECT talon_repair('total')";

/// Sales 1 and 2 have totals that are wrong.
fn wrong_totals() -> (Shop, Db) {
    let (shop, db) = Shop::of_sales();
    db.run(TOTAL);
    (shop, db)
}

fn totals(db: &Db) -> Vec<String> {
    db.rows("SELECT total FROM sale_piece ORDER BY id")
}

fn code(db: &Db, query: &str) -> ErrorCode {
    let error = db.connection.query_row(query, [], |_| Ok(())).expect_err("an error");
    error.sqlite_error_code().expect("a code")
}

#[test]
fn every_gap_is_closed_and_the_pieces_are_imaged() {
    let (_shop, db) = wrong_totals();
    db.run("INSERT INTO sale_piece VALUES (3, 'C', 0)");
    assert_eq!(db.one(REPAIR), "2");
    assert_eq!(totals(&db), ["3.0", "3.0", "0.0"]);
    assert_eq!(db.rows("SELECT * FROM talon_gaps"), [""; 0]);
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2"]);
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(db.one(REPAIR), "0");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2"]);
    assert!(db.connection.is_autocommit());
}

#[test]
fn a_piece_without_a_snapshot_gets_one_of_what_it_was() {
    let (_shop, db) = wrong_totals();
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-12-31')");
    db.run(REPAIR);
    assert_eq!(db.snapshots("2"), ["before|1", "edit|1"]);
}

#[test]
fn several_rules_are_repaired_one_after_the_other() {
    let (_shop, db) = wrong_totals();
    db.run("SELECT talon_derive('label', '{\"table\": \"sale_line\", \"column\": \"label\", \"value\": \"upper(label)\"}')");
    assert_eq!(db.rows("SELECT name, talon_repair(name) FROM talon_rules"), ["total|2", "label|3"]);
    assert_eq!(db.rows("SELECT * FROM talon_gaps"), [""; 0]);
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2", "edit|2"]);
}

#[test]
fn an_open_edit_is_in_the_way_and_is_named() {
    let (_shop, db) = wrong_totals();
    db.run(
        "INSERT INTO talon_station(id, station, user) VALUES (70, 'till 7', 'marie'), (71, 'office', '');
         INSERT INTO talon_edit SELECT id, 2, 70, 1795248000123 FROM talon_kind",
    );
    let one = db.error(REPAIR);
    assert!(
        one.starts_with(
            "talon_repair: it needs the database to itself, but sale 2 is being edited at till 7"
        ),
        "{one}"
    );
    assert!(one.contains("marie") && one.contains("since 2026-"), "{one}");
    db.run("INSERT INTO talon_edit SELECT k.id, p.id, 71, 1795248000123 + p.id FROM talon_kind AS k, (SELECT 100 AS id UNION SELECT 101 UNION SELECT 102 UNION SELECT 103 UNION SELECT 104) AS p");
    let many = db.error(REPAIR);
    assert!(
        many.contains("sale 100 is being edited at office since") && many.ends_with(", 1 more"),
        "{many}"
    );
    assert_eq!(totals(&db), ["1.5", "2.5"]);
    assert!(db.connection.is_autocommit());
    db.run("DELETE FROM talon_edit");
    assert_eq!(db.one(REPAIR), "2");
}

#[test]
fn another_connection_at_work_is_busy_and_says_so() {
    for mode in ["DELETE", "WAL"] {
        let (shop, db) = wrong_totals();
        db.run(&format!("PRAGMA journal_mode = {mode}"));
        let other = shop.open();
        other.run("BEGIN IMMEDIATE; UPDATE sale_line SET label = 'w' WHERE id = 12");
        assert_eq!(code(&db, REPAIR), ErrorCode::DatabaseBusy, "{mode}");
        let alone =
            "talon_repair: it needs the database to itself, but another connection is using it";
        assert_eq!(db.error(REPAIR), alone);
        other.run("ROLLBACK; INSERT INTO talon_station(id, station, user) VALUES (70, 'till 7', '');
            INSERT INTO talon_edit SELECT id, 2, 70, 1795248000123 FROM talon_kind; BEGIN IMMEDIATE");
        let edited = db.error(REPAIR);
        assert!(
            edited.starts_with(&format!("{alone}; sale 2 is being edited at till 7 since ")),
            "{edited}"
        );
        assert_eq!(code(&db, REPAIR), ErrorCode::DatabaseBusy, "{mode}");
        other.run("COMMIT; DELETE FROM talon_edit");
        if mode == "DELETE" {
            // Somebody who only reads is in the way as well, and one who keeps everybody out.
            other.run("BEGIN; SELECT * FROM sale_line");
            assert_eq!(db.error(REPAIR), alone);
            other.run("COMMIT; BEGIN EXCLUSIVE");
            assert_eq!(db.error(REPAIR), alone);
            assert_eq!(code(&db, REPAIR), ErrorCode::DatabaseBusy);
            other.run("COMMIT");
        }
        assert!(db.connection.is_autocommit());
        assert_eq!(db.one(REPAIR), "2", "{mode}");
    }
}

#[test]
fn it_has_a_transaction_of_its_own_or_none() {
    let (_shop, db) = wrong_totals();
    let alone = "talon_repair: it needs the database to itself, but";
    db.run("BEGIN");
    assert_eq!(db.error(REPAIR), format!("{alone} a transaction is open: COMMIT it first"));
    db.run("ROLLBACK; SAVEPOINT a");
    assert_eq!(db.error(REPAIR), format!("{alone} a transaction is open: COMMIT it first"));
    db.run("RELEASE a; CREATE TABLE log(n)");
    assert_eq!(
        db.error("INSERT INTO log SELECT talon_repair('total')"),
        format!("{alone} the statement that calls it writes: call it by a SELECT")
    );
    assert_eq!(totals(&db), ["1.5", "2.5"]);
    assert_eq!(db.one(REPAIR), "2");
}

#[test]
fn a_row_that_cannot_be_corrected_leaves_all_as_they_were() {
    let (_shop, db) = wrong_totals();
    db.run("CREATE UNIQUE INDEX once ON sale_piece(total)");
    let before = db.contents(&["sale_piece", "talon_snapshot", "talon_piece"]);
    assert_eq!(db.error(REPAIR), "talon_repair: total: UNIQUE constraint failed: sale_piece.total");
    assert_eq!(db.contents(&["sale_piece", "talon_snapshot", "talon_piece"]), before);
    assert!(db.connection.is_autocommit());
    db.run("DROP INDEX once");
    assert_eq!(db.one(REPAIR), "2");
}

#[test]
fn what_is_not_there_or_does_not_fit_any_more_is_an_error() {
    let (_shop, db) = wrong_totals();
    assert_eq!(
        db.error("SELECT talon_repair('sum')"),
        "talon_repair: \"sum\" is not a derived value; there are: total"
    );
    assert_eq!(
        db.error("SELECT talon_repair(NULL)"),
        "talon_repair: the name must be a text, not NULL"
    );
    assert_eq!(
        db.error("SELECT talon_repair('total', 'nowhere')"),
        "talon_repair: no database \"nowhere\" is attached to this connection"
    );
    db.run("ALTER TABLE sale_piece RENAME COLUMN total TO sum");
    assert_eq!(
        db.error(REPAIR),
        "talon_repair: total: it does not fit any more: \"sale_piece\" has no column \"total\"; it has: id, number, sum"
    );
    assert!(db.connection.is_autocommit());
}

#[test]
fn the_host_hears_nothing_of_it() {
    let (_shop, db) = wrong_totals();
    db.run(
        "CREATE TABLE heard(id INTEGER PRIMARY KEY, what);
         CREATE TRIGGER host AFTER UPDATE ON sale_piece BEGIN INSERT INTO heard(what) VALUES (NEW.id); END;
         INSERT INTO heard(id, what) VALUES (500, 'mine')",
    );
    assert_eq!(db.one("SELECT talon_repair('total') || ' ' || last_insert_rowid()"), "2 500");
    assert_eq!(db.rows("SELECT what FROM heard"), ["mine"]);
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2"]);
    db.run("UPDATE sale_piece SET total = 4");
    assert_eq!(db.one("SELECT count(*) FROM heard"), "3");
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn an_attached_file_is_repaired_by_name() {
    let (shop, db) = wrong_totals();
    drop(db);
    let db = Db::memory();
    db.run(&format!("ATTACH '{}' AS shop", shop.file("shop.db").display()));
    assert_eq!(db.one("SELECT talon_repair('total', 'shop')"), "2");
    assert_eq!(db.rows("SELECT total FROM shop.sale_piece"), ["3.0", "3.0"]);
    assert_eq!(db.rows("SELECT * FROM talon_audit WHERE schema = 'shop'"), [""; 0]);
}

#[test]
fn a_value_that_is_computed_from_its_own_column_is_corrected_row_by_row() {
    let (_shop, db) = wrong_totals();
    db.run("CREATE TABLE sums(id INTEGER PRIMARY KEY, n); INSERT INTO sums VALUES (1, 5), (2, 5), (3, 5)");
    db.run("SELECT talon_derive('sums', '{\"table\": \"sums\", \"column\": \"n\", \"value\": \"1 + coalesce((SELECT n FROM sums AS s WHERE s.id = t.id - 1), 0)\"}')");
    assert_eq!(db.one("SELECT talon_repair('sums')"), "3");
    assert_eq!(db.rows("SELECT n FROM sums"), ["1", "2", "3"]);
    assert_eq!(db.rows("SELECT * FROM talon_gaps WHERE name = 'sums'"), [""; 0]);
}

/// Runs a maintenance script in the `sqlite3` shell; gives whether it went through, and what it printed.
fn run_script(shop: &Shop, name: &str) -> (bool, String) {
    talon_tests::installed("sqlite3", "sqlite3");
    let library = talon_tests::extension_path();
    let script =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/maintenance").join(name);
    let output = std::process::Command::new("sqlite3")
        .arg("-init")
        .arg("/dev/null")
        .arg(shop.file("shop.db"))
        .env("LD_LIBRARY_PATH", library.parent().expect("a folder"))
        .stdin(std::fs::File::open(script).expect("the script"))
        .output()
        .expect("the shell runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
}

/// "Vérifier l'encours du client … lancer l'outil de maintenance de recalcul", "même chose pour le suivi du stock".
#[test]
#[cfg(target_os = "linux")]
fn the_scripts_check_and_repair_outstanding_and_stock() {
    let shop = Shop::with(include_str!("../../sql/sample/schema.sql"));
    let bare = shop.bare();
    bare.run("CREATE TEMP TABLE shop_size AS SELECT 60 AS pieces");
    bare.run(include_str!("../../sql/sample/generate.sql"));
    let (done, text) = run_script(&shop, "repair.sql");
    assert!(!done && text.contains("this database guards no piece"), "{text}");
    let db = shop.open();
    db.run(include_str!("../../sql/sample/guard.sql"));
    let (done, text) = run_script(&shop, "gaps.sql");
    assert!(!done && text.contains("this database declares no derived value"), "{text}");
    db.run(include_str!("../../sql/sample/rules.sql"));
    let (done, text) = run_script(&shop, "gaps.sql");
    assert!(done && text.contains("Every value that was compared is what it should be."), "{text}");
    let before = db.contents(&["customers", "suppliers", "stock", "sale_piece", "sale_line"]);
    db.run(
        "PRAGMA foreign_keys = OFF; UPDATE stock SET on_hand_quantity = 1.5 WHERE article_id = 3;
         UPDATE customers SET outstanding_cents = 7 WHERE id = 2; DELETE FROM sale_line WHERE piece_id = 4",
    );
    let (done, text) = run_script(&shop, "gaps.sql");
    assert!(done && text.contains("pieces without lines: 1"), "{text}");
    let (done, text) = run_script(&shop, "repair.sql");
    assert!(!done && text.contains("pieces have lost their lines"), "{text}");
    assert!(run_script(&shop, "restore_all.sql").0);
    db.run("SELECT talon_derive('odd', '{\"table\":\"suppliers\",\"column\":\"city\",\"value\":\"code\"}'); ALTER TABLE suppliers RENAME COLUMN city TO town");
    let (done, text) = run_script(&shop, "repair.sql");
    assert!(done && text.contains("Values corrected: 2. All are what they should be."), "{text}");
    assert!(text.contains("ATTENTION: odd is not corrected"), "{text}");
    assert_eq!(
        db.contents(&["customers", "suppliers", "stock", "sale_piece", "sale_line"]),
        before
    );
    let (done, text) = run_script(&shop, "repair.sql");
    assert!(done && text.contains("nothing to correct"), "{text}");
    // Nobody else corrects a value that no restore looks at.
    db.run("SELECT talon_derive('odd', '{\"table\":\"suppliers\",\"column\":\"town\",\"value\":\"code\"}')");
    let (done, text) = run_script(&shop, "repair.sql");
    assert!(done && text.contains("All are what they should be."), "{text}");
    assert_eq!(db.one("SELECT count(*) FROM suppliers WHERE town IS NOT code"), "0");
}
