//! `talon_restore_all`: many pieces in batches, whatever stops it.

use rusqlite::{Connection, Error, ErrorCode};
use std::sync::{Arc, Mutex};
use talon_tests::{Db, GUARD_SALES, SALES, Shop};

/// Sales 1 to `count` of two lines each, all lost; the file's lines before.
fn lost_sales(count: u32, journal_mode: &str) -> (Shop, Db, Vec<String>) {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(&format!(
        "PRAGMA journal_mode = {journal_mode}; {GUARD_SALES} BEGIN;
         WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < {count})
         INSERT INTO sale_piece SELECT i, 'N' || i, i / 8.0 FROM i;
         INSERT INTO sale_line SELECT id * 2 + n, id, n, 'label ' || id, id / 8.0
           FROM sale_piece, (SELECT 0 AS n UNION SELECT 1);
         COMMIT"
    ));
    let before = db.contents(&["sale_piece", "sale_line"]);
    db.run("DELETE FROM sale_line");
    (shop, db, before)
}

fn code(result: rusqlite::Result<String>) -> (ErrorCode, i32, String) {
    match result {
        Err(Error::SqliteFailure(error, text)) => {
            (error.code, error.extended_code, text.unwrap_or_default())
        }
        other => panic!("{other:?}"),
    }
}

fn restore_all(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT talon_restore_all('sale')", [], |row| row.get(0))
}

/// Does `work` on a connection that is interrupted once SQLite has asked `after` times, every so many steps, whether to go
/// on.
fn interrupted<T>(db: &mut Db, every: i32, after: usize, work: impl FnOnce(&Db) -> T) -> T {
    let handle = db.connection.get_interrupt_handle();
    let mut left = after;
    let tick = move || {
        left -= 1;
        if left == 0 {
            handle.interrupt();
        }
        false
    };
    db.connection.progress_handler(every, Some(tick)).expect("a handler");
    let result = work(db);
    db.connection.progress_handler(0, None::<fn() -> bool>).expect("no handler");
    result
}

const JOURNALED: &str = "SELECT count(*) FROM talon_restored";

#[test]
fn everything_lost_comes_back_and_the_answer_counts_it() {
    let (_shop, db, before) = lost_sales(250, "DELETE");
    db.run("INSERT INTO sale_piece(number) VALUES ('another')");
    let rowid = db.connection.last_insert_rowid();
    assert_eq!(db.one("SELECT talon_restore_all('sale')"), r#"{"lost":250,"restored":250}"#);
    assert_eq!(db.connection.last_insert_rowid(), rowid);
    db.run("DELETE FROM sale_piece WHERE number = 'another'");
    assert_eq!(db.contents(&["sale_piece", "sale_line"]), before);
    assert_eq!(
        db.rows("SELECT outcome, dry_run, count(*), sum(lines) FROM talon_restore GROUP BY 1, 2"),
        ["restored|0|250|500"]
    );
    assert_eq!(db.one("SELECT talon_restore_all('sale')"), r#"{"lost":0,"restored":0}"#);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn without_a_kind_all_kinds_are_restored_and_one_that_cannot_be_looked_at_is_named() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "CREATE TABLE other(id INTEGER PRIMARY KEY); CREATE TABLE other_line(id INTEGER PRIMARY KEY, other_id REFERENCES other);
         SELECT talon_guard('other', 'other', 'other_line');
         CREATE TABLE third(id INTEGER PRIMARY KEY); CREATE TABLE third_line(id INTEGER PRIMARY KEY, third_id REFERENCES third);
         SELECT talon_guard('third \"kind\"', 'third', 'third_line');
         INSERT INTO other VALUES (1); INSERT INTO other_line VALUES (1, 1);
         DELETE FROM other_line; DELETE FROM sale_line; DROP TABLE third_line; CREATE TABLE third_line(unused)",
    );
    for call in
        ["talon_restore_all()", "talon_restore_all(NULL)", "talon_restore_all(NULL, 'main')"]
    {
        let found = db.one(&format!("SELECT {call}"));
        let count = if call == "talon_restore_all()" { 3 } else { 0 };
        assert_eq!(
            found,
            format!(r#"{{"lost":{count},"restored":{count},"not checked":["third \"kind\""]}}"#)
        );
    }
    let text = db.error("SELECT talon_restore_all('third \"kind\"')");
    assert!(text.starts_with("talon_restore_all: third \"kind\": "), "{text}");
}

#[test]
fn what_cannot_be_restored_is_counted_journaled_and_stays_listed() {
    let (_shop, db, _) = lost_sales(5, "DELETE");
    db.run(
        "UPDATE talon_snapshot SET payload = '{}' WHERE key = 2;
         INSERT INTO sale_piece VALUES (77, 'living', 0); INSERT INTO sale_line VALUES (6, 77, 1, 'mine now', 1)",
    );
    assert_eq!(
        db.one("SELECT talon_restore_all('sale')"),
        r#"{"lost":5,"restored":3,"unreadable":1,"conflict":1}"#
    );
    assert_eq!(
        db.rows("SELECT piece, outcome FROM talon_restore WHERE outcome <> 'restored'"),
        ["2|unreadable", "3|conflict"]
    );
    assert_eq!(db.rows("SELECT piece, restorable FROM talon_lost"), ["2|0", "3|1"]);
}

#[test]
fn it_works_on_an_attached_database() {
    let (shop, db, before) = lost_sales(3, "DELETE");
    drop(db);
    let db = Db::memory();
    db.run(&format!("ATTACH '{}' AS shop", shop.file("shop.db").display()));
    assert_eq!(db.one("SELECT talon_restore_all('sale', 'shop')"), r#"{"lost":3,"restored":3}"#);
    assert_eq!(shop.bare().contents(&["sale_piece", "sale_line"]), before);
}

#[test]
fn it_is_refused_where_it_could_not_commit_or_would_hold_others_up() {
    let (_shop, db, _) = lost_sales(2, "DELETE");
    let speaks = |text: &str| format!("talon_restore_all: it commits every 100 pieces, but {text}");
    let open = speaks(
        "a transaction is open: COMMIT it first, or restore inside it with INSERT INTO talon_restore",
    );
    for script in ["BEGIN", "SAVEPOINT s", "BEGIN IMMEDIATE"] {
        db.run(script);
        assert_eq!(db.error("SELECT talon_restore_all('sale')"), open);
        db.run("ROLLBACK");
    }
    let writes = speaks("the statement that calls it writes: call it by a SELECT of its own");
    for script in [
        "CREATE TEMP TABLE answer AS SELECT talon_restore_all('sale')",
        "INSERT INTO sale_piece(number) VALUES (talon_restore_all('sale'))",
        "UPDATE sale_piece SET number = talon_restore_all('sale')",
    ] {
        let text = db.error(script);
        assert!(text == writes || text == open, "{script}: {text}");
    }
    let reads = speaks(
        "a query is reading: finish it, and call SELECT talon_restore_all(kind) without FROM",
    );
    assert_eq!(db.error("SELECT talon_restore_all(kind) FROM talon_guards"), reads);
    {
        let mut scan = db.connection.prepare("SELECT * FROM sale_piece").expect("a query");
        let mut rows = scan.raw_query();
        rows.next().expect("a row");
        assert_eq!(code(restore_all(&db.connection)).2, reads);
    }
    assert!(db.connection.is_autocommit());
    assert_eq!(db.one(JOURNALED), "0");
    assert_eq!(db.one("SELECT count(*) FROM talon_lost"), "2");
}

#[test]
fn no_value_makes_it_panic() {
    let (_shop, db, _) = lost_sales(1, "DELETE");
    for value in [
        "0",
        "1.5",
        "''",
        "x''",
        "x'00ff'",
        "char(0)",
        "CAST(x'ff' AS TEXT)",
        "'\"; DROP TABLE sale_piece; --'",
    ] {
        for call in
            [format!("talon_restore_all({value})"), format!("talon_restore_all('sale', {value})")]
        {
            let text = db.error(&format!("SELECT {call}"));
            assert!(text.starts_with("talon_restore_all: "), "{call}: {text}");
        }
    }
    let text = db.error("SELECT talon_restore_all('sael')");
    assert_eq!(text, "talon_restore_all: \"sael\" is not guarded; guarded: sale");
    assert_eq!(db.one("SELECT count(*) FROM talon_lost"), "1");
}

#[test]
fn every_hundred_pieces_another_connection_sees_the_journal_grow() {
    for journal_mode in ["WAL", "DELETE"] {
        let (shop, mut db, _) = lost_sales(250, journal_mode);
        let other = Mutex::new(shop.bare().connection);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let see = move |_, _: &str, table: &str, _| {
            if table == "talon_restored" {
                let other = other.lock().expect("alone");
                let count = other.query_row(JOURNALED, [], |row| row.get::<_, i64>(0));
                noted.lock().expect("alone").push(count.expect("readers go on"));
            }
        };
        db.connection.update_hook(Some(see)).expect("a hook");
        restore_all(&db.connection).expect("all of them");
        let seen = seen.lock().expect("alone");
        let expected: Vec<i64> = (0..250).map(|piece| piece / 100 * 100).collect();
        assert_eq!(*seen, expected, "{journal_mode}");
    }
}

#[test]
fn an_interrupt_keeps_what_was_committed_and_leaves_the_rest_listed() {
    let (_shop, mut db, before) = lost_sales(250, "DELETE");
    let handle = db.connection.get_interrupt_handle();
    let mut pieces = 0;
    let interrupt = move |_, _: &str, table: &str, _| {
        pieces += i32::from(table == "talon_restored");
        if pieces == 150 && table == "talon_restored" {
            handle.interrupt();
        }
    };
    db.connection.update_hook(Some(interrupt)).expect("a hook");
    let (code, _, text) = code(restore_all(&db.connection));
    assert_eq!(code, ErrorCode::OperationInterrupted);
    assert_eq!(
        text,
        "talon_restore_all: stopped after 100 of 250 lost pieces, the others stay listed: sale: interrupted"
    );
    assert!(db.connection.is_autocommit());
    assert_eq!(db.one(JOURNALED), "100");
    assert_eq!(db.one("SELECT count(*), min(piece) FROM talon_lost"), "150|101");
    assert_eq!(db.one("SELECT talon_restore_all('sale')"), r#"{"lost":150,"restored":150}"#);
    assert_eq!(db.contents(&["sale_piece", "sale_line"]), before);
    assert_eq!(db.findings(), [""; 0]);
}

/// An interrupt that stands forbids even ROLLBACK; and where the host has triggers, all statements are compiled anew.
#[test]
fn an_interrupt_at_any_moment_leaves_no_transaction_open() {
    for host_trigger in
        ["", "CREATE TEMP TRIGGER host AFTER INSERT ON sale_line BEGIN SELECT 1; END"]
    {
        for after in (1..60).step_by(4).map(|round| round * round) {
            let (_shop, mut db, before) = lost_sales(6, "WAL");
            db.run(host_trigger);
            let result = interrupted(&mut db, 2, after, |db| restore_all(&db.connection));
            assert!(db.connection.is_autocommit(), "after {after}");
            if let Err(error) = result {
                assert!(error.to_string().ends_with("interrupted"), "{error}");
                assert_eq!(db.one(JOURNALED), "0", "after {after}");
                assert_eq!(db.one("SELECT count(*) FROM talon_lost"), "6", "after {after}");
                restore_all(&db.connection).expect("all of them");
            }
            assert_eq!(db.contents(&["sale_piece", "sale_line"]), before, "after {after}");
            assert_eq!(db.findings(), [""; 0]);
        }
    }
}

#[test]
fn an_interrupted_baseline_leaves_no_transaction_open() {
    for after in (1..40).map(|round| round * 7) {
        let shop = Shop::with(SALES);
        let mut db = shop.open();
        db.run(
            "INSERT INTO sale_piece VALUES (1, 'A', 1), (2, 'B', 2);
             INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1), (2, 2, 1, 'y', 1)",
        );
        db.run(GUARD_SALES);
        let result =
            interrupted(&mut db, 1, after, |db| db.try_rows("SELECT talon_baseline('sale')"));
        assert!(db.connection.is_autocommit(), "after {after}");
        let left = if result.is_ok() { "0" } else { "2" };
        assert_eq!(db.one("SELECT talon_baseline('sale')"), left, "after {after}");
        assert_eq!(db.findings(), [""; 0]);
    }
}

#[test]
fn a_lock_in_between_is_busy_and_what_was_committed_stays() {
    let (shop, mut db, before) = lost_sales(250, "DELETE");
    let other = Arc::new(Mutex::new(Some(shop.bare().connection)));
    let reader = Arc::clone(&other);
    let mut pieces = 0;
    let read_on = move |_, _: &str, table: &str, _| {
        pieces += i32::from(table == "talon_restored");
        if pieces == 150 && table == "talon_restored" {
            let other = reader.lock().expect("alone");
            let other = other.as_ref().expect("open");
            other.execute_batch("BEGIN; SELECT * FROM sale_piece").expect("a reader");
        }
    };
    db.connection.update_hook(Some(read_on)).expect("a hook");
    let (code, extended, text) = code(restore_all(&db.connection));
    assert_eq!((code, extended), (ErrorCode::DatabaseBusy, 5));
    assert_eq!(
        text,
        "talon_restore_all: stopped after 100 of 250 lost pieces, the others stay listed: sale: database is locked"
    );
    assert!(db.connection.is_autocommit());
    drop(other.lock().expect("alone").take());
    assert_eq!(db.one(JOURNALED), "100");
    assert_eq!(db.one("SELECT talon_restore_all('sale')"), r#"{"lost":150,"restored":150}"#);
    assert_eq!(db.contents(&["sale_piece", "sale_line"]), before);
}

#[test]
fn a_piece_that_another_station_fills_in_between_is_left_alone() {
    let (shop, db, _) = lost_sales(250, "WAL");
    let other = shop.open();
    let mut commits = 0;
    let fill = move |_: &mut rusqlite::hooks::Wal, _| {
        commits += 1;
        if commits == 1 {
            other.run("INSERT INTO sale_line VALUES (9000, 250, 1, 'typed in', 1); DELETE FROM sale_piece WHERE id = 249");
        }
        Ok(())
    };
    let mut db = db;
    db.connection.wal_hook(Some(fill)).expect("a hook");
    assert_eq!(
        restore_all(&db.connection).expect("an answer"),
        r#"{"lost":250,"restored":248,"not needed":2}"#
    );
    assert_eq!(
        db.rows("SELECT piece, note FROM talon_restore WHERE outcome = 'not needed'"),
        [
            "249|sale 249 was deleted; to bring it back all the same, name one of its snapshots",
            "250|sale 250 has 1 line, nothing to recover"
        ]
    );
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_piece_whose_lines_refer_to_those_of_another_lost_one_comes_after_it() {
    let shop = Shop::with(
        "CREATE TABLE piece(id INTEGER PRIMARY KEY);
         CREATE TABLE line(id INTEGER PRIMARY KEY, piece_id REFERENCES piece(id), upstream_id REFERENCES line(id));
         CREATE INDEX line_piece ON line(piece_id)",
    );
    let db = shop.open();
    // Each is made from the next one, and comes before it in the list; the last one's upstream is gone for good.
    db.run(
        "PRAGMA foreign_keys = ON; SELECT talon_guard('piece', 'piece', 'line');
         INSERT INTO piece VALUES (1), (2), (3), (9);
         INSERT INTO line VALUES (90, 9, NULL); INSERT INTO line VALUES (30, 3, NULL), (31, 3, 90);
         INSERT INTO piece VALUES (0); INSERT INTO line VALUES (1, 0, 90);
         INSERT INTO line VALUES (20, 2, 30); INSERT INTO line VALUES (10, 1, 20);
         UPDATE line SET upstream_id = NULL WHERE id = 31",
    );
    let before = db.contents(&["line WHERE piece_id > 0 AND piece_id < 9"]);
    db.run(
        "PRAGMA foreign_keys = OFF; DELETE FROM line; DELETE FROM piece WHERE id = 9; PRAGMA foreign_keys = ON",
    );
    assert_eq!(db.one("SELECT talon_restore_all()"), r#"{"lost":4,"restored":3,"constraint":1}"#);
    assert_eq!(db.contents(&["line WHERE piece_id > 0 AND piece_id < 9"]), before);
    assert_eq!(
        db.rows("SELECT piece, outcome FROM talon_restore WHERE outcome = 'restored' ORDER BY id"),
        ["3|restored", "2|restored", "1|restored"]
    );
    assert_eq!(db.rows("SELECT piece FROM talon_lost"), ["0"]);
}
