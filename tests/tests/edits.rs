//! Edits: a station opens a piece, the others are told; a piece that has lost its lines gets them back when it is opened.

use rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER;
use std::time::Duration;
use talon_tests::{Db, SALES, Shop};

const LOSE: &str = "DELETE FROM sale_line WHERE sale_id = 1";
const RESTORE: &str = "INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)";
const LAST_RESTORE: &str =
    "SELECT piece, outcome, note FROM talon_restore ORDER BY id DESC LIMIT 1";
const EDITS: &str = "SELECT piece, station, user FROM talon_edits ORDER BY piece";
const HELD: &str = "is being edited at till 2 by marie since 2026-11-21T08:00:00.000+01:00";

/// A connection of a station, whose clock stands at eight in the morning.
fn station(shop: &Shop, station: &str, user: &str) -> Db {
    let db = shop.open();
    db.run(&format!(
        "SELECT talon_clock('2026-11-21T08:00:00+01:00'), talon_station('{station}', '{user}')"
    ));
    db
}

fn begin(db: &Db, piece: &str) -> String {
    db.one(&format!("SELECT talon_edit_begin('sale', {piece})"))
}

fn end(db: &Db, piece: &str) -> String {
    db.one(&format!("SELECT talon_edit_end('sale', {piece})"))
}

/// Marie at till 2 has sale 1 open, and there is a till 3.
fn two_stations() -> (Shop, Db, Db) {
    let (shop, db) = Shop::of_sales();
    drop(db);
    let (marie, paul) = (station(&shop, "till 2", "marie"), station(&shop, "till 3", "paul"));
    assert_eq!(begin(&marie, "1"), "open");
    (shop, marie, paul)
}

/// The same where only the station that has a piece open may write to it.
fn enforced() -> (Shop, Db, Db) {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(
        r#"SELECT talon_guard('sale', '{"header":{"table":"sale_piece"},"lines":{"table":"sale_line"},"edit":"enforced"}');
           BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1.5), (2, 'B', 2.5);
           INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0), (11, 1, 2, 'y', 2.0), (12, 2, 1, 'z', 3.0); COMMIT"#,
    );
    let (marie, paul) = (station(&shop, "till 2", "marie"), station(&shop, "till 3", "paul"));
    assert_eq!(begin(&marie, "1"), "open");
    (shop, marie, paul)
}

// « à chaque fois qu'un utilisateur commence une modification, le traitement va sauver toutes les données »
#[test]
fn a_piece_called_for_modification_is_saved_as_it_is_whatever_its_status() {
    let (shop, db) = Shop::of_sales();
    db.run(
        "ALTER TABLE sale_piece ADD COLUMN validated INTEGER DEFAULT 1;
         INSERT INTO talon_purge(before) VALUES ('9999-12-31')",
    );
    let marie = station(&shop, "till 2", "marie");
    assert_eq!(begin(&marie, "1"), "open");
    assert_eq!(
        marie.rows("SELECT reason, lines, day, station, user FROM talon_snapshots WHERE kind = 'sale' AND piece = 1"),
        ["before|2|2026-11-21|till 2|marie"]
    );
    assert_eq!(marie.rows(EDITS), ["1|till 2|marie"]);
}

#[test]
fn an_image_that_is_stored_already_is_not_stored_again() {
    let (_shop, marie, _) = two_stations();
    assert_eq!(begin(&marie, "1"), "open");
    assert_eq!(marie.snapshots("1"), ["create|2"]);
}

#[test]
fn what_was_changed_unseen_before_the_edit_is_saved_and_listed() {
    let (shop, db) = Shop::of_sales();
    let switch = rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
    db.connection.set_db_config(switch, false).expect("a switch");
    db.run("UPDATE sale_line SET label = 'unseen' WHERE id = 10");
    let marie = station(&shop, "till 2", "marie");
    assert_eq!(begin(&marie, "1"), "open");
    assert_eq!(marie.snapshots("1"), ["create|2", "unguarded|2"]);
    assert_eq!(marie.findings(), ["sale|1|unguarded"]);
}

#[test]
fn another_station_is_told_who_has_the_piece() {
    let (_shop, _marie, paul) = two_stations();
    let told = paul.error("SELECT talon_edit_begin('sale', 1)");
    assert_eq!(told, format!("talon_edit_begin: sale 1 {HELD}"));
    let code = paul
        .connection
        .query_row("SELECT talon_edit_begin('sale', 1)", [], |_| Ok(()))
        .expect_err("refused");
    let rusqlite::Error::SqliteFailure(failure, _) = code else { panic!("{code:?}") };
    assert_eq!(failure.extended_code, SQLITE_CONSTRAINT_TRIGGER);
    assert_eq!(begin(&paul, "2"), "open");
    assert_eq!(paul.rows(EDITS), ["1|till 2|marie", "2|till 3|paul"]);
}

#[test]
fn the_same_station_opens_again_and_its_user_is_the_one_who_asked_last() {
    let (shop, marie, _) = two_stations();
    let other = shop.open();
    other.run("SELECT talon_clock('2026-11-21T09:30:00+01:00'), talon_station('till 2', 'marie')");
    assert_eq!(begin(&other, "1"), "open");
    let since = "SELECT user, since, age_s FROM talon_edits";
    assert_eq!(other.one(since), "marie|2026-11-21T08:00:00.000+01:00|5400");
    other.run("SELECT talon_station('till 2', 'anna')");
    assert_eq!(begin(&other, "1"), "open");
    assert_eq!(other.one(since), "anna|2026-11-21T09:30:00.000+01:00|0");
    assert_eq!(end(&marie, "1"), "ended");
}

#[test]
fn a_connection_says_first_which_station_it_is() {
    let (_shop, db) = Shop::of_sales();
    let wanted = "this connection has not said who it is: SELECT talon_station('till 2', 'marie')";
    for function in ["talon_edit_begin", "talon_edit_end"] {
        let error = db.error(&format!("SELECT {function}('sale', 1)"));
        assert_eq!(error, format!("{function}: {wanted}"));
    }
}

// « Si on demande la modification d'une pièce qui n'a aucune ligne … le traitement de récupération est lancé »
#[test]
fn a_piece_without_lines_is_recovered_alone_when_it_is_called_for_modification() {
    let (shop, db) = Shop::of_sales();
    db.run("DELETE FROM sale_line");
    let marie = station(&shop, "till 2", "marie");
    assert_eq!(begin(&marie, "1"), "restored");
    assert_eq!(marie.rows("SELECT id, label FROM sale_line"), ["10|x", "11|y"]);
    assert_eq!(marie.rows("SELECT piece FROM talon_lost"), ["2"]);
    assert_eq!(marie.snapshots("1"), ["create|2", "restore|2"]);
    assert_eq!(
        marie.rows("SELECT piece, lines, outcome, station, user FROM talon_restore"),
        ["1|2|restored|till 2|marie"]
    );
    assert_eq!(marie.rows(EDITS), ["1|till 2|marie"]);
    assert_eq!(begin(&marie, "1"), "open");
}

// « si la récupération ne s'effectue pas … vous devez refaire la saisie des lignes »
#[test]
fn a_piece_that_cannot_be_recovered_is_reserved_all_the_same_and_its_lines_are_entered_again() {
    let (shop, db) = Shop::of_sales();
    db.run("INSERT INTO sale_piece VALUES (3, 'C', 0)");
    let (marie, paul) = (station(&shop, "till 2", "marie"), station(&shop, "till 3", "paul"));
    assert_eq!(begin(&marie, "3"), "empty");
    assert_eq!(begin(&marie, "3"), "empty");
    assert_eq!(marie.rows("SELECT * FROM talon_restore"), [""; 0]);
    let told = paul.error("SELECT talon_edit_begin('sale', 3)");
    assert_eq!(told, format!("talon_edit_begin: sale 3 {HELD}"));
    marie.run("INSERT INTO sale_line VALUES (30, 3, 1, 'again', 1)");
    assert_eq!(begin(&marie, "3"), "open");
}

#[test]
fn a_line_that_another_piece_has_taken_leaves_it_empty_and_the_journal_says_why() {
    let (shop, db) = Shop::of_sales();
    db.run(LOSE);
    db.run("INSERT INTO sale_line VALUES (10, 2, 2, 'taken', 1)");
    let marie = station(&shop, "till 2", "marie");
    assert_eq!(begin(&marie, "1"), "empty");
    assert_eq!(marie.one(LAST_RESTORE), "1|conflict|sale_line 10 belongs to sale 2 now");
    assert_eq!(marie.rows(EDITS), ["1|till 2|marie"]);
}

#[test]
fn a_piece_accepted_without_lines_stays_empty() {
    let (shop, db) = Shop::of_sales();
    db.run(LOSE);
    db.run("SELECT talon_dismiss('sale', 1)");
    assert_eq!(begin(&station(&shop, "till 2", "marie"), "1"), "empty");
    assert_eq!(db.one("SELECT count(*) FROM sale_line WHERE sale_id = 1"), "0");
}

#[test]
fn a_piece_that_is_not_there_cannot_be_opened() {
    let (shop, db) = Shop::of_sales();
    db.run("DELETE FROM sale_line WHERE sale_id = 2; DELETE FROM sale_piece WHERE id = 2");
    let marie = station(&shop, "till 2", "marie");
    assert_eq!(
        marie.error("SELECT talon_edit_begin('sale', 9)"),
        "talon_edit_begin: there is no sale 9"
    );
    assert_eq!(
        marie.error("SELECT talon_edit_begin('sale', 2)"),
        "talon_edit_begin: sale 2 was deleted; to bring it back all the same, name one of its snapshots"
    );
    assert_eq!(marie.rows(EDITS), [""; 0]);
}

#[test]
fn the_holder_ends_its_edit_and_nobody_elses() {
    let (_shop, marie, paul) = two_stations();
    assert_eq!(
        paul.error("SELECT talon_edit_end('sale', 1)"),
        format!("talon_edit_end: sale 1 {HELD}")
    );
    assert_eq!(
        paul.error("SELECT talon_edit_end('sale', 2)"),
        "talon_edit_end: sale 2 is not being edited"
    );
    assert_eq!(end(&marie, "'1'"), "ended");
    assert_eq!(marie.rows(EDITS), [""; 0]);
    assert_eq!(begin(&paul, "1"), "open");
}

#[test]
fn a_dead_stations_edit_is_released_and_the_journal_says_by_whom() {
    let (_shop, marie, paul) = two_stations();
    drop(marie);
    paul.run("SELECT talon_clock('2026-11-21T18:00:00+01:00')");
    assert_eq!(
        paul.one(
            "SELECT kind, piece, number, station, user, since, age_s, deleted FROM talon_edits"
        ),
        "sale|1|A|till 2|marie|2026-11-21T08:00:00.000+01:00|36000|0"
    );
    assert_eq!(
        paul.one("SELECT talon_edit_release('sale', 1)"),
        "sale 1 was being edited at till 2 by marie since 2026-11-21T08:00:00.000+01:00"
    );
    assert_eq!(
        paul.rows("SELECT * FROM talon_releases WHERE kind = 'sale' AND piece = 1"),
        [
            "1|2026-11-21T18:00:00.000+01:00|sale|1|till 2|marie|2026-11-21T08:00:00.000+01:00|till 3|paul"
        ]
    );
    assert_eq!(
        paul.error("SELECT talon_edit_release('sale', 1)"),
        "talon_edit_release: sale 1 is not being edited"
    );
    assert_eq!(begin(&paul, "1"), "open");
}

#[test]
fn an_edit_begun_in_a_transaction_that_is_rolled_back_never_was() {
    let (_shop, marie, paul) = two_stations();
    marie.run(LOSE);
    paul.run("BEGIN");
    assert_eq!(begin(&paul, "2"), "open");
    paul.run("ROLLBACK");
    assert_eq!(paul.rows(EDITS), ["1|till 2|marie"]);
    marie.run("SAVEPOINT a");
    assert_eq!(begin(&marie, "1"), "restored");
    marie.run("ROLLBACK TO a; RELEASE a");
    assert_eq!(marie.rows("SELECT piece FROM talon_lost"), ["1"]);
    assert_eq!(begin(&marie, "1"), "restored");
}

#[test]
fn what_the_host_asks_of_its_last_statement_is_unchanged() {
    let (shop, db) = Shop::of_sales();
    db.run(LOSE);
    let marie = station(&shop, "till 2", "marie");
    marie.run(
        "INSERT INTO sale_line VALUES (77, 2, 2, 'a', 1), (78, 2, 3, 'b', 1), (79, 2, 4, 'c', 1)",
    );
    let answers = "SELECT last_insert_rowid(), changes()";
    assert_eq!(begin(&marie, "1"), "restored");
    assert_eq!(marie.one(answers), "79|3");
    assert_eq!(end(&marie, "1"), "ended");
    assert_eq!(marie.one(answers), "79|3");
    marie.error("SELECT talon_edit_end('sale', 1)");
    assert_eq!(marie.one(answers), "79|3", "a call that fails is no statement of the host's");
    marie.error("BEGIN; SELECT talon_edit_begin('sale', 99)");
    assert_eq!(marie.one(answers), "79|3");
    marie.run("COMMIT");
}

#[test]
fn triggers_of_the_host_stay_quiet_while_an_opened_piece_is_recovered() {
    let (shop, db) = Shop::of_sales();
    db.run(
        "CREATE TABLE seen(id);
         CREATE TRIGGER host AFTER INSERT ON sale_line BEGIN INSERT INTO seen VALUES (NEW.id); END",
    );
    db.run(LOSE);
    let marie = station(&shop, "till 2", "marie");
    assert_eq!(
        marie.error("INSERT INTO seen SELECT talon_edit_begin('sale', 1)"),
        "talon_edit_begin: it restores a piece here, which a statement that writes does not allow: SELECT it"
    );
    assert_eq!(marie.rows(EDITS), [""; 0]);
    assert_eq!(begin(&marie, "1"), "restored");
    assert_eq!(marie.rows("SELECT * FROM seen"), [""; 0]);
    marie.run("INSERT INTO sale_line VALUES (90, 1, 3, 'n', 1)");
    assert_eq!(marie.rows("SELECT * FROM seen"), ["90"]);
}

#[test]
fn of_two_stations_that_open_a_piece_at_the_same_moment_one_gets_it() {
    for journal in ["WAL", "DELETE"] {
        let (shop, db) = Shop::of_sales();
        db.run(&format!("PRAGMA journal_mode = {journal}"));
        let answers: Vec<Result<(), String>> = std::thread::scope(|scope| {
            let tills: Vec<_> = (0..4)
                .map(|till| {
                    let shop = &shop;
                    scope.spawn(move || {
                        let db = shop.open();
                        db.connection.busy_timeout(Duration::from_secs(60)).expect("a timeout");
                        db.run(&format!("SELECT talon_station('till {till}')"));
                        db.try_run("SELECT talon_edit_begin('sale', 1)")
                    })
                })
                .collect();
            tills.into_iter().map(|till| till.join().expect("a till")).collect()
        });
        let refused: Vec<&String> =
            answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert_eq!(refused.len(), 3, "{answers:?}");
        assert!(
            refused.iter().all(|text| text.contains("sale 1 is being edited at till")),
            "{answers:?}"
        );
    }
}

// Who may write.

#[test]
fn a_write_to_a_piece_that_another_station_has_open_is_refused_and_says_who_has_it() {
    let (shop, marie, paul) = enforced();
    let unsaid = shop.open();
    for write in [
        "UPDATE sale_line SET quantity = 9 WHERE id = 10",
        "UPDATE sale_piece SET total = 9 WHERE id = 1",
        "DELETE FROM sale_line WHERE id = 11",
        "INSERT INTO sale_line VALUES (20, 1, 3, 'n', 1)",
        "UPDATE sale_line SET sale_id = 1 WHERE id = 12",
        "UPDATE sale_line SET sale_id = 2 WHERE id = 11",
        "DELETE FROM sale_piece WHERE id = 1",
        "REPLACE INTO sale_piece VALUES (7, 'A', 0)",
        "UPDATE OR IGNORE sale_line SET quantity = 9 WHERE id = 10",
        "UPDATE sale_piece SET id = 5 WHERE id = 1",
    ] {
        let before = marie.contents(&["sale_piece", "sale_line"]);
        for db in [&paul, &unsaid] {
            let error = db.connection.execute(write, []).expect_err(write);
            let rusqlite::Error::SqliteFailure(failure, Some(text)) = error else {
                panic!("{error:?}")
            };
            assert_eq!(text, told(db), "{write}");
            assert_eq!(failure.extended_code, SQLITE_CONSTRAINT_TRIGGER, "{write}");
        }
        assert_eq!(marie.contents(&["sale_piece", "sale_line"]), before, "{write}");
    }
    assert_eq!(marie.findings(), [""; 0]);
    marie.run("UPDATE sale_line SET quantity = 9 WHERE id = 10");
    assert_eq!(end(&marie, "1"), "ended");
    paul.run("UPDATE sale_line SET quantity = 10 WHERE id = 10");
    unsaid.run("UPDATE sale_line SET quantity = 11 WHERE id = 10");
    assert_eq!(marie.snapshots("1").len(), 4);
}

/// What a connection reads when it is refused sale 1, in its own time zone.
fn told(db: &Db) -> String {
    let since = db.one("SELECT since FROM talon_edits");
    format!("talon: sale 1 is being edited at till 2 by marie since {since}")
}

#[test]
fn a_statement_over_several_pieces_of_which_one_is_refused_changes_none() {
    let (_shop, _marie, paul) = enforced();
    paul.run("BEGIN; UPDATE sale_piece SET total = 7 WHERE id = 2");
    let error = paul.error("UPDATE sale_line SET quantity = 0 WHERE id IN (12, 11)");
    assert!(error.starts_with("talon: sale 1 is being edited"), "{error}");
    paul.run("COMMIT");
    assert_eq!(paul.rows("SELECT quantity FROM sale_line"), ["1.0", "2.0", "3.0"]);
    assert_eq!(paul.one("SELECT total FROM sale_piece WHERE id = 2"), "7.0");
    assert_eq!(paul.findings(), [""; 0]);
}

#[test]
fn a_piece_that_is_not_open_is_free() {
    let (_shop, marie, paul) = enforced();
    for db in [&paul, &marie] {
        db.run("UPDATE sale_line SET quantity = quantity + 1 WHERE id = 12");
    }
    assert_eq!(paul.one("SELECT quantity FROM sale_line WHERE id = 12"), "5.0");
}

#[test]
fn an_edit_begun_elsewhere_between_two_transactions_counts_from_the_next_one_on() {
    let (_shop, marie, paul) = enforced();
    end(&marie, "1");
    paul.run("UPDATE sale_line SET quantity = 5 WHERE id = 10; SAVEPOINT a; UPDATE sale_line SET quantity = 6 WHERE id = 10");
    assert_eq!(
        marie.error("SELECT talon_edit_begin('sale', 1)"),
        "talon_edit_begin: database is locked"
    );
    paul.run("ROLLBACK TO a; RELEASE a");
    assert_eq!(begin(&marie, "1"), "open");
    let error = paul.error("UPDATE sale_line SET quantity = 6 WHERE id = 10");
    assert!(error.starts_with("talon: sale 1 is being edited"), "{error}");
    end(&marie, "1");
    paul.run("UPDATE sale_line SET quantity = 7 WHERE id = 10");
    assert_eq!(paul.snapshots("1"), ["create|2", "edit|2", "edit|2"]);
}

#[test]
fn savepoints_do_not_open_a_way_around() {
    let (_shop, marie, paul) = enforced();
    paul.run("BEGIN; SAVEPOINT a");
    for _ in 0..2 {
        assert!(paul.try_run("UPDATE sale_line SET quantity = 6 WHERE id = 10").is_err());
        paul.run("ROLLBACK TO a");
    }
    paul.run("UPDATE sale_line SET quantity = 6 WHERE id = 12; RELEASE a");
    assert!(paul.try_run("UPDATE sale_line SET quantity = 6 WHERE id IN (12, 10)").is_err());
    paul.run("COMMIT");
    assert_eq!(marie.rows("SELECT quantity FROM sale_line"), ["1.0", "2.0", "6.0"]);
}

#[test]
fn rows_below_the_lines_belong_to_the_piece_too() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(
        r#"CREATE TABLE tax(id INTEGER PRIMARY KEY, line INTEGER REFERENCES sale_line(id), rate);
           SELECT talon_guard('sale', '{"header":{"table":"sale_piece"},"lines":{"table":"sale_line"},
             "details":[{"table":"tax","of":"lines"}],"edit":"enforced"}');
           INSERT INTO sale_piece VALUES (1, 'A', 1.5); INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0);
           INSERT INTO tax VALUES (1, 10, 20)"#,
    );
    let (marie, paul) = (station(&shop, "till 2", "marie"), station(&shop, "till 3", "paul"));
    assert_eq!(begin(&marie, "1"), "open");
    assert_eq!(paul.error("UPDATE tax SET rate = 10"), format!("talon: sale 1 {HELD}"));
    marie.run("UPDATE tax SET rate = 10");
}

#[test]
fn where_edits_are_free_the_host_sees_to_it() {
    let (_shop, marie, paul) = two_stations();
    paul.run("UPDATE sale_line SET quantity = 9 WHERE id = 10");
    assert_eq!(marie.snapshots("1"), ["create|2", "edit|2"]);
}

#[test]
fn what_a_connection_without_talon_writes_to_an_open_piece_is_listed() {
    let (shop, marie, _) = enforced();
    shop.bare().run("UPDATE sale_line SET quantity = 9 WHERE id = 10; UPDATE sale_line SET quantity = 9 WHERE id = 12");
    let listed: Vec<String> = marie
        .rows("SELECT piece, detail FROM talon_audit WHERE finding = 'unguarded' ORDER BY piece")
        .into_iter()
        .map(|row| row.split(", seen ").next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        listed,
        [
            "1|changed on a connection without Talon, while it was being edited at till 2 by marie since 2026-11-21T08:00:00.000+01:00",
            "2|changed on a connection without Talon"
        ]
    );
}

#[test]
fn a_definition_says_who_may_write() {
    let (_shop, db) = Shop::of_sales();
    let error = db.error(
        r#"SELECT talon_guard('sale', '{"header":{"table":"sale_piece"},"lines":{"table":"sale_line"},"edit":"mine"}')"#,
    );
    assert!(error.contains("unknown variant `mine`, expected `free` or `enforced`"), "{error}");
}

// Edits beside restores and purges.

#[test]
fn a_piece_that_another_station_has_open_is_not_restored_and_the_others_go_on() {
    let (_shop, marie, paul) = two_stations();
    marie.run("DELETE FROM sale_line");
    paul.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(
        paul.rows("SELECT piece, snapshot, lines, outcome, note FROM talon_restore"),
        [
            "1|NULL|NULL|being edited|being edited at till 2 by marie since 2026-11-21T08:00:00.000+01:00",
            "2|2|1|restored|NULL"
        ]
    );
    paul.run("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, 1)");
    assert!(paul.one(LAST_RESTORE).starts_with("1|being edited|"));
    assert_eq!(paul.rows("SELECT piece FROM talon_lost"), ["1"]);
    marie.run(RESTORE);
    assert_eq!(marie.one(LAST_RESTORE), "1|restored|NULL");
}

// « qu'elle n'est pas en cours de modification sur un autre poste … elles seront vidées le jour suivant »
#[test]
fn the_snapshots_of_an_open_piece_are_kept_and_go_the_next_day() {
    let (_shop, marie, paul) = two_stations();
    marie.run("UPDATE sale_line SET label = label || '!'");
    let purge = |db: &Db, before: &str| {
        db.run(&format!("INSERT INTO talon_purge(before) VALUES ('{before}')"));
        db.one("SELECT purged, kept_lost, kept_edited, kept_last FROM talon_purge ORDER BY id DESC LIMIT 1")
    };
    assert_eq!(purge(&paul, "2099-01-01"), "2|0|2|0");
    assert_eq!(paul.rows("SELECT piece FROM talon_snapshots"), ["1", "1"]);
    assert_eq!(purge(&marie, "2099-01-02"), "0|0|2|0");
    end(&marie, "1");
    assert_eq!(purge(&paul, "2099-01-02"), "2|0|0|0");
}

#[test]
fn a_piece_that_is_open_and_has_lost_its_lines_is_counted_once() {
    let (_shop, marie, paul) = two_stations();
    marie.run(LOSE);
    paul.run("INSERT INTO talon_purge(before) VALUES ('2099-01-01')");
    assert_eq!(paul.one("SELECT purged, kept_lost, kept_edited FROM talon_purge"), "1|0|1");
}

#[test]
fn an_edit_follows_a_header_that_gets_another_key() {
    let (shop, marie, paul) = two_stations();
    assert_eq!(begin(&paul, "2"), "open");
    marie.run(
        "PRAGMA foreign_keys = OFF; BEGIN; UPDATE sale_piece SET id = 99 WHERE id = 1; UPDATE sale_piece SET id = 1 WHERE id = 2;
         UPDATE sale_piece SET id = 2 WHERE id = 99; UPDATE sale_line SET sale_id = 3 - sale_id; COMMIT",
    );
    assert_eq!(marie.rows(EDITS), ["1|till 3|paul", "2|till 2|marie"]);
    shop.bare().run("PRAGMA foreign_keys = OFF; UPDATE sale_line SET sale_id = 8 WHERE sale_id = 2; UPDATE sale_piece SET id = 8 WHERE id = 2");
    assert_eq!(marie.rows("SELECT piece FROM talon_lost"), [""; 0]);
    assert_eq!(marie.rows(EDITS), ["1|till 3|paul", "8|till 2|marie"]);
}

#[test]
fn an_edit_of_a_piece_without_a_snapshot_follows_it_too() {
    let (shop, db) = Shop::of_sales();
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-12-31'); INSERT INTO sale_piece VALUES (3, 'C', 0);
        INSERT INTO talon_purge(before) VALUES ('9999-12-31')");
    let marie = station(&shop, "till 2", "marie");
    assert_eq!(begin(&marie, "3"), "empty");
    marie.run("UPDATE sale_piece SET id = 4 WHERE id = 3");
    assert_eq!(marie.rows(EDITS), ["4|till 2|marie"]);
}

// « En cas d'une pièce qui n'existerait plus car supprimée par un utilisateur : vidage des données sauvées »
#[test]
fn the_edit_of_a_deleted_piece_is_listed_as_such_and_keeps_no_snapshots() {
    let (_shop, marie, paul) = two_stations();
    marie.run("DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale_piece WHERE id = 1");
    assert_eq!(paul.one("SELECT piece, number, deleted FROM talon_edits"), "1|NULL|1");
    assert_eq!(end(&marie, "1"), "ended");
    let (_shop, marie, paul) = two_stations();
    marie.run("DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale_piece WHERE id = 1");
    paul.run("INSERT INTO talon_purge(before) VALUES ('2026-11-21')");
    assert_eq!(paul.rows(EDITS), ["1|till 2|marie"], "it was begun today");
    paul.run("INSERT INTO talon_purge(before) VALUES ('2099-01-01')");
    assert_eq!(paul.one("SELECT sum(purged), sum(kept_edited) FROM talon_purge"), "2|0");
    assert_eq!(paul.rows(EDITS), [""; 0]);
    assert_eq!(
        paul.one("SELECT piece, station, released_by FROM talon_releases"),
        "1|till 2|till 3"
    );
}

#[test]
fn a_kind_that_is_no_longer_guarded_has_no_edits() {
    let (_shop, marie, paul) = two_stations();
    paul.run("SELECT talon_unguard('sale')");
    paul.run("SELECT talon_guard('sale', 'sale_piece', 'sale_line')");
    assert_eq!(marie.rows(EDITS), [""; 0]);
    assert_eq!(
        marie.one("SELECT piece, station, released_by FROM talon_releases"),
        "1|till 2|till 3"
    );
}

#[test]
fn composite_keys_and_attached_files_have_edits_of_their_own() {
    let shop = Shop::with("CREATE TABLE unrelated(a)");
    let db = station(&shop, "till 2", "marie");
    db.run(&format!(
        "ATTACH '{}' AS side;
         CREATE TABLE side.h(a TEXT, b INTEGER, PRIMARY KEY (a, b)); CREATE TABLE side.l(a TEXT, b INTEGER, n INTEGER,
           PRIMARY KEY (a, b, n), FOREIGN KEY (a, b) REFERENCES h(a, b));
         SELECT talon_guard('note', 'h', 'l', 'side'); INSERT INTO side.h VALUES ('x', 7); INSERT INTO side.l VALUES ('x', 7, 1)",
        shop.file("side.db").display()
    ));
    assert_eq!(db.one(r#"SELECT talon_edit_begin('note', '["x",7]', 'side')"#), "open");
    assert_eq!(
        db.one("SELECT kind, piece, schema FROM talon_edits WHERE schema = 'side'"),
        r#"note|["x",7]|side"#
    );
    assert_eq!(db.rows(EDITS), [""; 0]);
    assert_eq!(
        db.error("SELECT talon_edit_begin('note', 'x', 'side')"),
        "talon_edit_begin: x is no piece of note: give a JSON array of a, b"
    );
    assert_eq!(db.one(r#"SELECT talon_edit_end('note', '["x",7]', 'side')"#), "ended");
    assert_eq!(db.rows("SELECT * FROM talon_releases WHERE schema = 'side'"), [""; 0]);
}
