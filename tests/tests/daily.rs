//! The morning: the first call of a day looks for pieces without lines and purges the days before, later ones report.

use rusqlite::ErrorCode;
use std::time::Duration;
use talon_tests::{Db, GUARD_SALES, SALES, Shop, load};

/// Sets a connection's clock.
fn at(db: &Db, moment: &str) {
    db.run(&format!("SELECT talon_clock('{moment}')"));
}

fn daily(db: &Db) -> String {
    db.one("SELECT talon_daily()")
}

/// What the routine answers: `ran|lost|purged|kept_lost|kept_edited`.
fn answer(ran: i64, day: &str, lost: i64, purged: i64, kept_lost: i64, kept_edited: i64) -> String {
    format!(
        r#"{{"ran":{ran},"day":"{day}","lost":{lost},"purged":{purged},"kept_lost":{kept_lost},"kept_edited":{kept_edited}}}"#
    )
}

/// Sale 1 with lines 10 and 11, sale 2 with line 12, made on Friday the 20th and edited there once.
fn friday() -> (Shop, Db) {
    let shop = Shop::with(SALES);
    let db = shop.open();
    at(&db, "2026-11-20T08:00:00+01:00");
    db.run(GUARD_SALES);
    db.run(
        "BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1.5), (2, 'B', 2.5);
         INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0), (11, 1, 2, 'y', 2.0), (12, 2, 1, 'z', 3.0); COMMIT;
         UPDATE sale_line SET quantity = 7",
    );
    (shop, db)
}

// « Tous les matins au 1er lancement du menu … détection des pièces sans ligne parmi celles sauvées auparavant,
// correction des pièces, et vidage des données sauvées des jours précédents »
#[test]
fn the_first_call_of_a_day_does_it_and_later_ones_only_report() {
    let (shop, db) = friday();
    assert_eq!(daily(&db), answer(1, "2026-11-20", 0, 0, 0, 0));
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    at(&db, "2026-11-21T08:00:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-11-21", 1, 2, 2, 0));
    assert_eq!(daily(&db), answer(0, "2026-11-21", 1, 2, 2, 0));
    let other = shop.open();
    at(&other, "2026-11-21T23:59:59+01:00");
    assert_eq!(daily(&other), answer(0, "2026-11-21", 1, 2, 2, 0));
    assert_eq!(db.rows("SELECT piece FROM talon_snapshots"), ["1", "1"]);
    other.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(daily(&db), answer(0, "2026-11-21", 0, 2, 2, 0), "what is lost is asked anew");
    at(&other, "2026-11-22T00:00:00+01:00");
    assert_eq!(daily(&other), answer(1, "2026-11-22", 0, 3, 0, 0));
    assert_eq!(
        db.rows("SELECT before, purged, kept_lost FROM talon_purge"),
        ["2026-11-20|0|0", "2026-11-21|2|2", "2026-11-22|3|0"]
    );
}

// « le lundi matin, si vous n'avez pas utilisé Oxygène pendant le week-end, cela va traiter les pièces sauvées le vendredi »
#[test]
fn on_monday_what_was_saved_on_friday_goes() {
    let (_shop, db) = friday();
    at(&db, "2026-11-23T08:00:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-11-23", 0, 4, 0, 0));
    assert_eq!(db.rows("SELECT id FROM talon_snapshots"), [""; 0]);
}

// « ou à une date plus ancienne si par exemple vous n'utilisez pas tous les jours l'application »
#[test]
fn after_a_week_without_use_a_lost_piece_is_still_found_and_restored() {
    let (_shop, db) = friday();
    daily(&db);
    db.run("DELETE FROM sale_line WHERE sale_id = 2");
    at(&db, "2026-12-01T08:00:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-12-01", 1, 2, 2, 0));
    at(&db, "2026-12-09T08:00:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-12-09", 1, 0, 2, 0), "kept until it is corrected");
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.rows("SELECT id, quantity FROM sale_line WHERE sale_id = 2"), ["12|7.0"]);
}

// « Si pièce en cours de modification sur un autre poste : on conserve ses données sauvées, elles seront vidées le jour suivant »
#[test]
fn the_snapshots_of_a_piece_that_is_open_stay_until_the_next_day() {
    let (shop, db) = friday();
    let till = shop.open();
    at(&till, "2026-11-20T19:00:00+01:00");
    till.run("SELECT talon_station('till 2', 'marie'), talon_edit_begin('sale', 1)");
    at(&db, "2026-11-21T08:00:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-11-21", 0, 2, 0, 2));
    till.run("SELECT talon_edit_end('sale', 1)");
    assert_eq!(daily(&db), answer(0, "2026-11-21", 0, 2, 0, 2));
    at(&db, "2026-11-22T08:00:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-11-22", 0, 2, 0, 0));
}

// « En cas d'une pièce qui n'existerait plus car supprimée par un utilisateur : vidage des données sauvées »
#[test]
fn the_snapshots_of_a_deleted_piece_go() {
    let (_shop, db) = friday();
    db.run("DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale_piece WHERE id = 1");
    at(&db, "2026-11-21T08:00:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-11-21", 0, 4, 0, 0));
}

#[test]
fn what_was_saved_today_stays() {
    let (_shop, db) = friday();
    at(&db, "2026-11-21T07:00:00+01:00");
    db.run("UPDATE sale_line SET quantity = 8 WHERE id = 10");
    at(&db, "2026-11-21T08:00:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-11-21", 0, 4, 0, 0));
    assert_eq!(db.snapshots("1"), ["edit|2"]);
}

#[test]
fn the_day_is_the_stations_own() {
    let (_shop, db) = friday();
    at(&db, "2026-11-21T00:30:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-11-21", 0, 4, 0, 0));
    at(&db, "2026-11-21T23:30:00Z");
    assert_eq!(daily(&db), answer(0, "2026-11-21", 0, 4, 0, 0));
    at(&db, "2026-11-22T00:30:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-11-22", 0, 0, 0, 0));
}

#[test]
fn a_clock_that_went_back_only_reports_and_says_so() {
    let (_shop, db) = friday();
    at(&db, "2026-11-21T08:00:00+01:00");
    daily(&db);
    at(&db, "2026-11-20T08:00:00+01:00");
    assert_eq!(
        daily(&db),
        r#"{"ran":0,"day":"2026-11-21","lost":0,"purged":4,"kept_lost":0,"kept_edited":0,"note":"the clock says 2026-11-20, and 2026-11-21 is done already: nothing is done before the day after that"}"#
    );
    at(&db, "2026-11-22T08:00:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-11-22", 0, 0, 0, 0));
}

#[test]
fn of_stations_that_begin_the_day_at_the_same_moment_one_does_it() {
    for journal in ["WAL", "DELETE"] {
        let (shop, db) = friday();
        db.run(&format!(
            "PRAGMA journal_mode = {journal}; DELETE FROM sale_line WHERE sale_id = 1"
        ));
        let mut answers: Vec<String> = std::thread::scope(|scope| {
            let tills: Vec<_> = (0..4)
                .map(|_| {
                    let shop = &shop;
                    scope.spawn(move || {
                        let db = shop.open();
                        db.connection.busy_timeout(Duration::from_secs(60)).expect("a timeout");
                        at(&db, "2026-11-21T08:00:00+01:00");
                        daily(&db)
                    })
                })
                .collect();
            tills.into_iter().map(|till| till.join().expect("a till")).collect()
        });
        answers.sort();
        assert_eq!(answers.pop(), Some(answer(1, "2026-11-21", 1, 2, 2, 0)));
        assert_eq!(answers, vec![answer(0, "2026-11-21", 1, 2, 2, 0); 3]);
        assert_eq!(db.one("SELECT count(*) FROM talon_purge"), "1");
    }
}

#[test]
fn while_another_station_writes_the_first_call_is_busy_and_later_ones_report() {
    let (shop, db) = friday();
    let other = shop.open();
    at(&db, "2026-11-21T08:00:00+01:00");
    other.run("BEGIN IMMEDIATE");
    let error = db.connection.query_row("SELECT talon_daily()", [], |_| Ok(())).expect_err("busy");
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
    assert_eq!(error.to_string(), "talon_daily: database is locked");
    other.run("COMMIT");
    daily(&db);
    other.run("BEGIN IMMEDIATE");
    assert_eq!(daily(&db), answer(0, "2026-11-21", 0, 4, 0, 0));
}

#[test]
fn a_morning_that_is_rolled_back_is_yet_to_come() {
    let (_shop, db) = friday();
    at(&db, "2026-11-21T08:00:00+01:00");
    db.run("BEGIN");
    assert_eq!(daily(&db), answer(1, "2026-11-21", 0, 4, 0, 0));
    assert_eq!(daily(&db), answer(0, "2026-11-21", 0, 4, 0, 0));
    db.run("ROLLBACK");
    assert_eq!(daily(&db), answer(1, "2026-11-21", 0, 4, 0, 0));
}

#[test]
fn what_connections_without_talon_lost_is_found_in_the_morning() {
    let (shop, db) = friday();
    shop.bare().run("DELETE FROM sale_line WHERE sale_id = 1");
    at(&db, "2026-11-21T08:00:00+01:00");
    assert_eq!(daily(&db), answer(1, "2026-11-21", 1, 2, 2, 0));
}

#[test]
fn a_kind_that_cannot_be_looked_at_keeps_all_and_is_named() {
    let (_shop, db) = friday();
    db.run("PRAGMA foreign_keys = OFF; DROP TABLE sale_line");
    at(&db, "2026-11-21T08:00:00+01:00");
    for (ran, note) in [(1, "kept all of sale: "), (0, "sale is not checked: ")] {
        let answer = daily(&db);
        assert!(answer.contains(&format!(r#"{{"ran":{ran},"#)), "{answer}");
        assert!(answer.contains(note), "{answer}");
    }
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshot"), "4");
}

#[test]
fn what_the_host_asks_of_its_last_statement_is_unchanged() {
    let (_shop, db) = friday();
    at(&db, "2026-11-21T08:00:00+01:00");
    db.run("INSERT INTO sale_line VALUES (77, 2, 2, 'a', 1), (78, 2, 3, 'b', 1)");
    daily(&db);
    assert_eq!(db.one("SELECT last_insert_rowid(), changes()"), "78|2");
}

#[test]
fn each_file_has_its_own_morning() {
    let (shop, db) = friday();
    db.run(&format!(
        "ATTACH '{}' AS side; CREATE TABLE side.h(id INTEGER PRIMARY KEY); CREATE TABLE side.l(id INTEGER PRIMARY KEY, h REFERENCES h);
         SELECT talon_guard('note', 'h', 'l', 'side'); INSERT INTO side.h VALUES (1); INSERT INTO side.l VALUES (1, 1)",
        shop.file("side.db").display()
    ));
    at(&db, "2026-11-21T08:00:00+01:00");
    assert_eq!(db.one("SELECT talon_daily('side')"), answer(1, "2026-11-21", 0, 2, 0, 0));
    assert_eq!(daily(&db), answer(1, "2026-11-21", 0, 4, 0, 0));
}

#[test]
fn where_it_cannot_be_done_the_error_says_why() {
    let (shop, db) = friday();
    assert_eq!(
        Db::memory().error("SELECT talon_daily()"),
        "talon_daily: nothing is guarded in \"main\" yet: SELECT talon_guard(kind, header table, lines table)"
    );
    assert_eq!(
        db.error("SELECT talon_daily('nowhere')"),
        "talon_daily: no database \"nowhere\" is attached to this connection"
    );
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(shop.file("shop.db"), flags);
    let reader = Db { connection: connection.expect("the file opens") };
    load(&reader.connection);
    at(&reader, "2026-11-21T08:00:00+01:00");
    assert_eq!(
        reader.error("SELECT talon_daily()"),
        "talon_daily: attempt to write a readonly database"
    );
    at(&db, "2026-11-21T08:00:00+01:00");
    daily(&db);
    assert_eq!(daily(&reader), answer(0, "2026-11-21", 0, 4, 0, 0));
}
