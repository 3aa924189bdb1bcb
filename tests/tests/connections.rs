//! Loading, sharing, closing: a connection's life with Talon.

use rusqlite::ffi;
use std::ptr::null_mut;
use talon_tests::{Db, MARKS, Shop, extension_path, load};

#[test]
fn loading_twice_does_nothing() {
    let (_shop, db) = Shop::of_sales();
    db.run("UPDATE sale_line SET label = 'v2'");
    load(&db.connection);
    db.run("BEGIN; UPDATE sale_line SET label = 'v3'");
    load(&db.connection);
    db.run("COMMIT");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2", "edit|2"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn loading_again_by_sql_inside_a_statement_does_nothing() {
    let (_shop, db) = Shop::of_sales();
    // SAFETY: only this test's own script runs.
    unsafe { db.connection.load_extension_enable().expect("loading is allowed") };
    let call = format!("load_extension('{}')", extension_path().display());
    db.run(&format!("SELECT {call}"));
    db.run(&format!("UPDATE sale_line SET label = 'v2' WHERE {call} IS NULL"));
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2"]);
    db.run("UPDATE sale_line SET label = 'v3'");
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn loading_by_sql_works_the_first_time_too() {
    let (shop, db) = Shop::of_sales();
    drop(db);
    let db = shop.bare();
    // SAFETY: only this test's own script runs.
    unsafe { db.connection.load_extension_enable().expect("loading is allowed") };
    db.run(&format!("SELECT load_extension('{}')", extension_path().display()));
    db.run("UPDATE sale_line SET label = 'v2'");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2"]);
}

#[test]
fn connections_in_turn_capture_each_others_pieces_once() {
    let (shop, first) = Shop::of_sales();
    let second = shop.open();
    for round in 0..5 {
        for db in [&first, &second] {
            db.run(&format!("UPDATE sale_line SET quantity = {round} WHERE id = 10; UPDATE sale_line SET quantity = -1 - {round} WHERE id = 10"));
        }
    }
    assert_eq!(first.snapshots("1").len(), 21);
    assert_eq!(first.rows("SELECT DISTINCT reason FROM talon_snapshots"), ["create", "edit"]);
    assert_eq!(second.findings(), [""; 0]);
}

#[test]
fn threads_each_with_a_connection_of_their_own_lose_nothing() {
    let (shop, db) = Shop::of_sales();
    db.run("PRAGMA journal_mode = WAL");
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let shop = &shop;
            scope.spawn(move || {
                for turn in 0..15 {
                    let db = shop.open();
                    db.connection.busy_timeout(std::time::Duration::from_secs(60)).expect("a timeout");
                    let id = 1000 + thread * 100 + turn;
                    db.run(&format!(
                        "BEGIN IMMEDIATE; INSERT INTO sale_piece VALUES ({id}, {id}, 0);
                         INSERT INTO sale_line VALUES ({id}, {id}, 1, 'n', 1); UPDATE sale_line SET quantity = quantity + 1 WHERE id = 10; COMMIT"
                    ));
                }
            });
        }
    });
    assert_eq!(db.one("SELECT quantity FROM sale_line WHERE id = 10"), "91.0");
    assert_eq!(db.snapshots("1").len(), 91);
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshots WHERE reason = 'create'"), "92");
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn closing_in_a_transaction_rolls_it_back() {
    let (shop, db) = Shop::of_sales();
    db.run("BEGIN; UPDATE sale_line SET label = 'undone'");
    db.connection.close().expect("no statement of ours is left");
    let db = shop.open();
    assert_eq!(db.snapshots("1"), ["create|2"]);
    assert_eq!(db.one(MARKS), "0");
    assert_eq!(db.findings(), [""; 0]);
}

/// A connection by hand, whose `sqlite3_close` is the host's to call.
struct Raw(*mut ffi::sqlite3);

impl Raw {
    fn open(shop: &Shop) -> Raw {
        let name =
            std::ffi::CString::new(shop.file("shop.db").display().to_string()).expect("a path");
        let mut db = null_mut();
        // SAFETY: the name is a C string, `db` receives the connection.
        let result = unsafe { ffi::sqlite3_open(name.as_ptr(), &mut db) };
        assert_eq!(result, ffi::SQLITE_OK);
        // SAFETY: the connection is open and outlives the borrowed wrapper, which does not close it.
        let borrowed = unsafe { rusqlite::Connection::from_handle(db) }.expect("a handle");
        load(&borrowed);
        Raw(db)
    }

    fn prepare(&self, sql: &str) -> *mut ffi::sqlite3_stmt {
        let sql = std::ffi::CString::new(sql).expect("a statement");
        let mut statement = null_mut();
        // SAFETY: the connection is open.
        let result = unsafe {
            ffi::sqlite3_prepare_v2(self.0, sql.as_ptr(), -1, &mut statement, null_mut())
        };
        assert_eq!(result, ffi::SQLITE_OK, "{sql:?}");
        statement
    }

    fn run(&self, sql: &str) {
        let sql = std::ffi::CString::new(sql).expect("a script");
        // SAFETY: the connection is open.
        let result =
            unsafe { ffi::sqlite3_exec(self.0, sql.as_ptr(), None, null_mut(), null_mut()) };
        assert_eq!(result, ffi::SQLITE_OK, "{sql:?}");
    }

    fn close(&self) -> i32 {
        // SAFETY: the connection is open; after OK it is not used again.
        unsafe { ffi::sqlite3_close(self.0) }
    }

    /// How many statements `sqlite3_next_stmt` shows; they are finalized.
    fn finalize_everything(&self) -> usize {
        let mut count = 0;
        loop {
            // SAFETY: the connection is open, and each statement is finalized once by this loop.
            unsafe {
                let statement = ffi::sqlite3_next_stmt(self.0, null_mut());
                if statement.is_null() {
                    return count;
                }
                ffi::sqlite3_finalize(statement);
            }
            count += 1;
        }
    }
}

#[test]
fn a_host_that_finalizes_every_statement_it_finds_closes_cleanly() {
    let (shop, _db) = Shop::of_sales();
    let raw = Raw::open(&shop);
    raw.run("UPDATE sale_line SET label = 'v2'; SELECT * FROM talon_lost");
    assert!(raw.finalize_everything() > 0, "Talon keeps statements");
    assert_eq!(raw.close(), ffi::SQLITE_OK);
    let raw = Raw::open(&shop);
    raw.run("UPDATE sale_line SET label = 'v3'");
    assert_eq!(raw.close(), ffi::SQLITE_OK);
}

#[test]
fn a_close_that_fails_for_the_hosts_own_statement_leaves_a_connection_that_captures() {
    let (shop, db) = Shop::of_sales();
    let raw = Raw::open(&shop);
    raw.run("UPDATE sale_line SET label = 'v2'");
    let statement = raw.prepare("SELECT 1");
    assert_eq!(raw.close(), ffi::SQLITE_BUSY);
    raw.run("UPDATE sale_line SET label = 'v3'");
    // SAFETY: prepared above, finalized once.
    unsafe { ffi::sqlite3_finalize(statement) };
    assert_eq!(raw.close(), ffi::SQLITE_OK);
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2", "edit|2"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_transaction_that_goes_on_after_a_failed_close_is_not_lost_silently() {
    for further in [
        "",
        "UPDATE sale_line SET label = 'v3' WHERE id = 12; UPDATE sale_line SET label = 'v3' WHERE id = 10;",
    ] {
        let (shop, db) = Shop::of_sales();
        let raw = Raw::open(&shop);
        let statement = raw.prepare("SELECT 1");
        raw.run("BEGIN; UPDATE sale_line SET label = 'v2' WHERE id = 10");
        assert_eq!(raw.close(), ffi::SQLITE_BUSY);
        raw.run(further);
        raw.run("COMMIT");
        assert_eq!(db.one("SELECT count(*) > 0 FROM talon_snapshots WHERE kind = 'sale' AND piece = 1 AND reason <> 'create'"), "1");
        let others: Vec<String> =
            db.findings().into_iter().filter(|finding| !finding.ends_with("unguarded")).collect();
        assert_eq!(others, [""; 0], "all is imaged, after {further:?}");
        // SAFETY: prepared above, finalized once.
        unsafe { ffi::sqlite3_finalize(statement) };
        assert_eq!(raw.close(), ffi::SQLITE_OK);
    }
}

#[test]
fn a_transaction_rolled_back_after_a_failed_close_leaves_nothing_that_the_next_would_believe() {
    let (shop, db) = Shop::of_sales();
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-12-31')");
    let raw = Raw::open(&shop);
    let statement = raw.prepare("SELECT 1");
    raw.run("BEGIN; UPDATE sale_line SET label = 'undone' WHERE id = 10");
    assert_eq!(raw.close(), ffi::SQLITE_BUSY);
    raw.run("ROLLBACK; UPDATE sale_line SET label = 'v2' WHERE id = 10");
    assert_eq!(db.snapshots("1"), ["before|2", "edit|2"]);
    // SAFETY: prepared above, finalized once.
    unsafe { ffi::sqlite3_finalize(statement) };
    assert_eq!(raw.close(), ffi::SQLITE_OK);
}

#[test]
fn a_database_in_memory_is_guarded_like_a_file() {
    let db = Db::memory();
    db.run(talon_tests::SALES);
    db.run(talon_tests::GUARD_SALES);
    db.run("INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1); DELETE FROM sale_line");
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.rows("SELECT id FROM sale_line"), ["10"]);
}

#[test]
fn a_guard_declared_by_another_connection_is_obeyed_by_those_that_are_open() {
    let shop = Shop::with(talon_tests::SALES);
    let first = shop.open();
    first.run("INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1)");
    let second = shop.open();
    second.run(talon_tests::GUARD_SALES);
    first.run("UPDATE sale_line SET label = 'v2'");
    assert_eq!(second.snapshots("1"), ["before|1", "edit|1"]);
    second.run("SELECT talon_unguard('sale')");
    first.run("UPDATE sale_line SET label = 'v3'");
    second.run("CREATE TABLE more(id INTEGER PRIMARY KEY, sale_id REFERENCES sale_piece)");
    second.run("SELECT talon_guard('sale', 'sale_piece', 'more')");
    first.run("INSERT INTO more VALUES (1, 1)");
    second.run(talon_tests::GUARD_SALES);
    first.run("UPDATE sale_line SET label = 'v4'");
    assert_eq!(second.rows("SELECT * FROM talon_audit WHERE finding <> 'unguarded'"), [""; 0]);
}

#[test]
fn a_hardened_connection_captures() {
    let (_shop, db) = Shop::of_sales();
    db.run("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; UPDATE sale_line SET label = 'v2'");
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2"]);
    assert_eq!(db.one(MARKS), "0");
}

#[test]
fn what_is_hidden_from_triggers_is_found_by_the_audit() {
    let (_shop, db) = Shop::of_sales();
    let switch = rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
    db.connection.set_db_config(switch, false).expect("a switch");
    db.run(
        "UPDATE sale_line SET label = 'unseen' WHERE id = 12; DELETE FROM sale_line WHERE id = 11",
    );
    db.connection.set_db_config(switch, true).expect("a switch");
    assert_eq!(db.findings(), ["sale|1|partial", "sale|2|drifted"]);
    assert_eq!(
        db.rows("SELECT detail FROM talon_audit"),
        ["lines missing: 11", "lines 12: label was z, is unseen"]
    );
    db.run("DELETE FROM sale_line WHERE id = 10");
    assert_eq!(db.findings(), ["sale|1|lost", "sale|2|drifted", "sale|1|unguarded"]);
}
