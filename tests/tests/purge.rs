//! Purging old snapshots by day, never the last copy of a lost piece.

use talon_tests::{Db, Shop};

/// What the purge of the days before `before` says: `purged|kept_lost|kept_edited|kept_last`.
fn purge(db: &Db, before: &str) -> String {
    db.run(&format!("INSERT INTO talon_purge(before) VALUES ('{before}')"));
    last_entry(db)
}

fn last_entry(db: &Db) -> String {
    db.one("SELECT purged, kept_lost, kept_edited, kept_last FROM talon_purge ORDER BY id DESC LIMIT 1")
}

fn ids(db: &Db) -> Vec<String> {
    db.rows("SELECT id, piece FROM talon_snapshots ORDER BY id")
}

/// Sale 1 has snapshots 1 and 3, sale 2 has 2 and 4, of the days 1, 1, 2 and 3 of January 2026.
fn days() -> (Shop, Db) {
    let (shop, db) = Shop::of_sales();
    db.run("UPDATE sale_line SET label = 'v2' WHERE sale_id = 1; UPDATE sale_line SET label = 'v2' WHERE sale_id = 2");
    db.run("UPDATE talon_snapshot SET day = '2026-01-0' || CASE id WHEN 3 THEN 2 WHEN 4 THEN 3 ELSE 1 END");
    (shop, db)
}

#[test]
fn the_snapshots_of_days_before_go() {
    let (_shop, db) = days();
    assert_eq!(purge(&db, "2026-01-01"), "0|0|0|0");
    assert_eq!(purge(&db, "2026-01-02"), "2|0|0|0");
    assert_eq!(ids(&db), ["3|1", "4|2"]);
    assert_eq!(purge(&db, "2026-01-03"), "1|0|0|0");
    assert_eq!(ids(&db), ["4|2"]);
    assert_eq!(db.findings(), ["sale|1|unprotected"]);
}

#[test]
fn what_is_no_day_is_refused() {
    let (_shop, db) = days();
    for before in ["'tomorrow'", "'2026-1-2'", "'2026-02-30'", "'2026-01-02 10:00'"] {
        let error = db.error(&format!("INSERT INTO talon_purge(before) VALUES ({before})"));
        assert!(error.starts_with("talon_purge: before is no day: "), "{error}");
    }
    assert_eq!(
        db.error("INSERT INTO talon_purge(before) VALUES (NULL)"),
        "talon_purge: before must be a text, not NULL"
    );
    assert_eq!(
        db.error("INSERT INTO talon_purge(before, keep_last) VALUES ('2026-01-02', 7)"),
        "talon_purge: keep_last is 0 or 1, not 7"
    );
    assert_eq!(ids(&db).len(), 4);
}

#[test]
fn a_lost_piece_keeps_its_snapshots_until_it_is_restored() {
    let (_shop, db) = days();
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    assert_eq!(purge(&db, "2026-02-01"), "2|2|0|0");
    assert_eq!(ids(&db), ["1|1", "3|1"]);
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.rows("SELECT label FROM sale_line WHERE sale_id = 1"), ["v2", "v2"]);
    assert_eq!(purge(&db, "2026-02-01"), "2|0|0|0");
    assert_eq!(db.snapshots("1"), ["restore|2"]);
}

#[test]
fn a_lost_piece_keeps_its_snapshots_until_it_is_dismissed() {
    let (_shop, db) = days();
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    assert_eq!(purge(&db, "2026-02-01"), "2|2|0|0");
    db.run("SELECT talon_dismiss('sale', 1)");
    assert_eq!(purge(&db, "2026-02-01"), "2|0|0|0");
    assert_eq!(ids(&db), [""; 0]);
}

#[test]
fn lines_lost_where_nobody_watched_are_looked_for_before_anything_goes() {
    let (_shop, db) = days();
    db.run("PRAGMA foreign_keys = OFF; DROP TABLE sale_line; CREATE TABLE sale_line(id INTEGER PRIMARY KEY,
        sale_id INTEGER REFERENCES sale_piece, position INTEGER, label TEXT, quantity REAL)");
    assert_eq!(purge(&db, "2026-02-01"), "0|4|0|0");
    assert_eq!(db.rows("SELECT piece, restorable FROM talon_lost"), ["1|1", "2|1"]);
}

#[test]
fn the_snapshots_of_a_deleted_piece_go() {
    let (_shop, db) = days();
    db.run("DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale_piece WHERE id = 1");
    db.run("INSERT INTO talon_purge(before, keep_last) VALUES ('2026-02-01', 1)");
    assert_eq!(last_entry(&db), "3|0|0|1");
    assert_eq!(ids(&db), ["4|2"]);
}

#[test]
fn keep_last_keeps_the_newest_image_of_every_living_piece() {
    let (_shop, db) = days();
    db.run("INSERT INTO talon_purge(before, keep_last) VALUES ('2026-02-01', 1)");
    assert_eq!(last_entry(&db), "2|0|0|2");
    assert_eq!(ids(&db), ["3|1", "4|2"]);
    assert_eq!(db.findings(), [""; 0]);
    db.run("DELETE FROM sale_line; INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.one("SELECT count(*) FROM sale_line WHERE label = 'v2'"), "3");
}

#[test]
fn after_a_purge_the_next_edits_before_image_is_taken_again() {
    let (_shop, db) = days();
    assert_eq!(purge(&db, "2026-02-01"), "4|0|0|0");
    db.run("UPDATE sale_line SET label = 'v3' WHERE id = 10; UPDATE sale_line SET label = 'v4' WHERE id = 10");
    assert_eq!(db.snapshots("1"), ["before|2", "edit|2", "edit|2"]);
}

#[test]
fn versions_go_on_counting_after_a_purge() {
    let (_shop, db) = days();
    purge(&db, "2026-02-01");
    db.run("UPDATE sale_line SET label = 'v3' WHERE id = 10");
    assert_eq!(db.rows("SELECT version FROM talon_snapshots ORDER BY id"), ["3", "4"]);
}

#[test]
fn ids_are_never_given_twice() {
    let (_shop, db) = days();
    purge(&db, "2026-02-01");
    purge(&db, "2026-02-02");
    db.run("UPDATE sale_line SET label = 'v3' WHERE id = 10");
    assert_eq!(ids(&db), ["5|1", "6|1"]);
    assert_eq!(db.one("SELECT snapshots FROM talon_guards"), "2");
    purge(&db, "9999-12-31");
    db.run("UPDATE sale_line SET label = 'v4' WHERE id = 10");
    assert_eq!(ids(&db), ["7|1", "8|1"]);
}

#[test]
fn when_the_clock_went_back_the_older_snapshots_of_a_later_day_stay_within_reach() {
    let (_shop, db) = days();
    db.run("UPDATE sale_line SET label = 'v3' WHERE sale_id = 1");
    db.run("UPDATE talon_snapshot SET day = '2026-01-05' WHERE id IN (1, 5)");
    assert_eq!(purge(&db, "2026-01-03"), "2|0|0|0");
    assert_eq!(ids(&db), ["1|1", "4|2", "5|1"]);
    assert_eq!(
        db.rows("SELECT id FROM talon_snapshots WHERE kind = 'sale' AND piece = 1 ORDER BY id"),
        ["1", "5"]
    );
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, 1)");
    assert_eq!(db.rows("SELECT label FROM sale_line WHERE sale_id = 1"), ["x", "y"]);
}

#[test]
fn when_the_clock_went_back_and_the_newest_goes_the_piece_is_still_protected_by_what_stays() {
    let (_shop, db) = days();
    db.run("UPDATE talon_snapshot SET day = '2025-12-31' WHERE id = 3");
    assert_eq!(purge(&db, "2026-01-01"), "1|0|0|0");
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    assert_eq!(db.rows("SELECT piece, restorable FROM talon_lost"), ["1|1"]);
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.rows("SELECT label FROM sale_line WHERE sale_id = 1"), ["v2", "v2"]);
}

#[test]
fn a_kind_that_is_no_longer_guarded_keeps_all() {
    let (_shop, db) = days();
    db.run("SELECT talon_unguard('sale')");
    assert_eq!(purge(&db, "2026-02-01"), "0|0|0|0");
    assert_eq!(
        db.one("SELECT note FROM talon_purge"),
        "kept all of sale: it is not guarded, so nobody can tell which are lost"
    );
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshot"), "4");
}

#[test]
fn a_kind_whose_tables_are_gone_keeps_all() {
    let (_shop, db) = days();
    db.run("PRAGMA foreign_keys = OFF; DROP TABLE sale_line");
    assert_eq!(purge(&db, "2026-02-01"), "0|0|0|0");
    let note = db.one("SELECT note FROM talon_purge");
    assert!(note.starts_with("kept all of sale: "), "{note}");
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshot"), "4");
}

#[test]
fn a_purge_that_is_rolled_back_never_was() {
    let (_shop, db) = days();
    db.run("BEGIN");
    assert_eq!(purge(&db, "2026-02-01"), "4|0|0|0");
    db.run("ROLLBACK; UPDATE sale_line SET label = 'v3' WHERE id = 10");
    assert_eq!(ids(&db), ["1|1", "2|2", "3|1", "4|2", "5|1"]);
    assert_eq!(db.rows("SELECT * FROM talon_purge"), [""; 0]);
}

#[test]
fn a_purge_between_two_edits_of_one_transaction_loses_no_before_image() {
    let (_shop, db) = days();
    db.run("BEGIN; UPDATE sale_line SET label = 'half' WHERE id = 10; DELETE FROM sale_line WHERE id = 11");
    assert_eq!(purge(&db, "2026-02-01"), "3|0|1|0");
    db.run("DELETE FROM sale_line WHERE id = 10; COMMIT");
    assert_eq!(db.rows("SELECT piece FROM talon_lost"), ["1"]);
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.rows("SELECT id, label FROM sale_line WHERE sale_id = 1"), ["10|v2", "11|v2"]);
    assert_eq!(db.rows("SELECT id, value FROM talon_tally"), ["1|0"]);
}

#[test]
fn the_journal_says_who_purged() {
    let (_shop, db) = days();
    db.run("SELECT talon_station('till 2', 'anna')");
    purge(&db, "2026-01-02");
    assert_eq!(
        db.rows("SELECT before, purged, station, at > '2000' FROM talon_purge"),
        ["2026-01-02|2|till 2|1"]
    );
}

#[test]
fn a_vanished_piece_keeps_its_snapshots_until_it_is_restored_or_dismissed() {
    let (_shop, db) = days();
    let replace = "PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = OFF; DELETE FROM sale_line WHERE sale_id = 1;
        INSERT OR REPLACE INTO sale_piece VALUES (7, 'A', 0)";
    db.run(replace);
    assert_eq!(purge(&db, "2026-02-01"), "2|2|0|0");
    assert_eq!(ids(&db)[..2], ["1|1", "3|1"]);
    assert_eq!(db.findings(), ["sale|1|vanished", "sale|2|unprotected"]);
    assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0]);
    db.run("DELETE FROM sale_piece WHERE id = 7; INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
    assert_eq!(db.one("SELECT label FROM sale_line WHERE id = 10"), "v2");
    assert_eq!(purge(&db, "2026-02-01"), "2|0|0|0");

    let (_shop, db) = days();
    db.run(replace);
    assert_eq!(db.one("SELECT talon_dismiss('sale', 1)"), "sale 1 is accepted as deleted");
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(purge(&db, "2026-02-01"), "4|0|0|0");
    assert_eq!(db.error("SELECT talon_dismiss('sale', 1)"), "talon_dismiss: there is no sale 1");
}

#[test]
fn a_vanished_piece_with_a_composite_key_keeps_its_snapshots() {
    let shop = Shop::with(
        "CREATE TABLE sale(shop TEXT, id INTEGER, number TEXT UNIQUE, PRIMARY KEY (shop, id));
         CREATE TABLE line(id INTEGER PRIMARY KEY, shop TEXT, sale INTEGER, FOREIGN KEY (shop, sale) REFERENCES sale)",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('sale', 'sale', 'line'); PRAGMA foreign_keys = OFF;
         BEGIN; INSERT INTO sale VALUES ('a', 1, 'x'), ('a', 2, 'y'); INSERT INTO line VALUES (1, 'a', 1), (2, 'a', 2); COMMIT;
         INSERT OR REPLACE INTO sale VALUES ('b', 1, 'x');
         UPDATE talon_snapshot SET day = '2026-01-01'",
    );
    assert_eq!(purge(&db, "2026-02-01"), "2|1|0|0");
    assert_eq!(ids(&db)[..1], ["1|[\"a\",1]"]);
}

#[test]
fn a_day_is_four_digits_two_and_two() {
    let (_shop, db) = Shop::of_sales();
    for day in [
        "+020-01-01",
        " 2020-1-01",
        "2020-1-01 ",
        "-020-01-01",
        "20200-1-1",
        "2021-02-29",
        "２021-01-0",
    ] {
        assert_eq!(
            db.error(&format!("INSERT INTO talon_purge(before) VALUES ('{day}')")),
            format!("talon_purge: before is no day: {day:?}; give one such as '2026-11-21'")
        );
    }
    db.run("INSERT INTO talon_purge(before) VALUES ('2020-02-29')");
}
