//! What a person meets on a bad morning: damaged snapshots, headers changed since, definitions taken back.

use talon_tests::{Db, GUARD_SALES, MARKS, SALES, Shop};

fn two_images() -> Db {
    let db = Db::memory();
    db.run(SALES);
    db.run(GUARD_SALES);
    db.run(
        "INSERT INTO sale_piece VALUES (1, 'A', 1.5);
         INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1), (2, 1, 2, 'y', 2);",
    );
    db
}

#[test]
fn a_damaged_snapshot_that_is_named_is_never_replaced_by_one_without_lines() {
    let db = two_images();
    db.run("UPDATE talon_snapshot SET payload = replace(payload, 'x', 'z') WHERE lines = 2");
    let lines = db.rows("SELECT * FROM sale_line");
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) SELECT kind, piece, id FROM talon_snapshots WHERE lines = 2");
    assert_eq!(db.rows("SELECT outcome FROM talon_restore"), ["unreadable"]);
    assert_eq!(db.rows("SELECT * FROM sale_line"), lines);
}

#[test]
fn header_values_that_a_restore_takes_back_are_named_and_kept() {
    let db = two_images();
    db.run("DELETE FROM sale_line; UPDATE sale_piece SET number = 'corrected', total = 9");
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(
        db.one("SELECT outcome, note FROM talon_restore"),
        "restored|the header's number, total went back as well"
    );
    assert_eq!(db.one("SELECT number, total FROM sale_piece"), "A|1.5");
    assert_eq!(
        db.one(
            "SELECT reason, i.row FROM talon_snapshots AS s, talon_image(s.id) AS i
              WHERE s.lines = 0 AND s.reason = 'before' AND i.part = 'header'"
        ),
        r#"before|{"id":1,"number":"corrected","total":9.0}"#
    );
    // What is kept so does not stand in the way of the next loss.
    db.run("DELETE FROM sale_line; INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
    assert_eq!(db.one("SELECT count(*) FROM sale_line"), "2");
}

#[test]
fn a_guard_that_was_rolled_back_guards_nothing_and_one_that_was_replaced_is_as_before() {
    let db = two_images();
    db.run(
        r#"BEGIN;
           SELECT talon_guard('sale', '{"header":{"table":"sale_piece","where":"h.id > 5"},"lines":{"table":"sale_line"}}');
           SELECT talon_guard('other', 'sale_piece', 'sale_line');
           ROLLBACK;
           DELETE FROM sale_line;
           CREATE TABLE something(a);"#,
    );
    assert_eq!(db.rows("SELECT kind, piece FROM talon_lost"), ["sale|1"]);
    assert_eq!(db.rows("SELECT kind FROM talon_guards"), ["sale"]);
    assert_eq!(db.rows("SELECT name FROM sqlite_schema WHERE name GLOB 'talon_2_*'"), [""; 0]);
    db.run(
        r#"BEGIN; SAVEPOINT a;
           SELECT talon_guard('sale', '{"header":{"table":"sale_piece","where":"h.id > 5"},"lines":{"table":"sale_line"}}');
           ROLLBACK TO a;
           INSERT INTO sale_line VALUES (7, 1, 1, 'n', 1);
           COMMIT;"#,
    );
    assert_eq!(db.rows("SELECT kind, piece FROM talon_lost"), [""; 0]);
    assert_eq!(
        db.one("SELECT reason, lines FROM talon_snapshots ORDER BY id DESC LIMIT 1"),
        "edit|1"
    );
}

#[test]
fn a_line_without_a_whole_key_is_named_instead_of_restored() {
    let db = Db::memory();
    db.run(
        "CREATE TABLE h(id INTEGER PRIMARY KEY); CREATE TABLE l(id TEXT PRIMARY KEY, h INTEGER REFERENCES h);
         SELECT talon_guard('k', 'h', 'l');
         INSERT INTO h VALUES (1); INSERT INTO l VALUES (NULL, 1), ('a', 1); DELETE FROM l;
         INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost;",
    );
    assert_eq!(
        db.one("SELECT outcome, note FROM talon_restore"),
        "constraint|a row of l has NULL in its key id: nothing tells it from others"
    );
    assert_eq!(db.one("SELECT count(*) FROM l"), "0");
}

#[test]
fn calls_that_write_wait_for_another_writer_as_long_as_the_timeout_says() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run("INSERT INTO sale_piece VALUES (1, 'A', 1)");
    db.connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    let other = shop.bare();
    other.run("BEGIN IMMEDIATE");
    let writer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        other.run("COMMIT");
    });
    // Without waiting this is "database is locked".
    assert_eq!(db.one("SELECT talon_baseline('sale')"), "0");
    assert_eq!(db.one("SELECT talon_dismiss('sale', 1)"), "sale 1 is accepted without lines");
    writer.join().unwrap();
}

#[test]
fn rows_that_nobody_declared_are_never_taken_along() {
    for action in ["CASCADE", "SET NULL"] {
        let db = Db::memory();
        db.run(&format!(
            "PRAGMA foreign_keys = ON;
             CREATE TABLE h(id INTEGER PRIMARY KEY); CREATE TABLE l(id INTEGER PRIMARY KEY, h INTEGER REFERENCES h, x);
             CREATE TABLE shipment(id INTEGER PRIMARY KEY, l INTEGER REFERENCES l ON DELETE {action});
             SELECT talon_guard('k', 'h', 'l');
             BEGIN; INSERT INTO h VALUES (1); INSERT INTO l VALUES (10, 1, 'a'); COMMIT;
             INSERT INTO l VALUES (11, 1, 'b'); INSERT INTO shipment VALUES (1, 10), (2, 11);"
        ));
        for dry_run in [1, 0] {
            db.run(&format!(
                "INSERT INTO talon_restore(kind, piece, snapshot, dry_run) VALUES ('k', 1, 1, {dry_run})"
            ));
            assert_eq!(db.rows("SELECT * FROM shipment"), ["1|10", "2|11"]);
            assert_eq!(db.rows("SELECT * FROM l"), ["10|1|a", "11|1|b"]);
        }
        assert_eq!(
            db.rows("SELECT outcome, note FROM talon_restore"),
            ["constraint|l 11 would have to go, and rows of shipment refer to it"; 2]
        );
    }
}

#[test]
fn a_commit_that_sqlite_has_rolled_back_is_never_called_done() {
    let mut db = two_images();
    db.run(
        "CREATE TRIGGER x BEFORE INSERT ON talon_snapshot BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
    );
    db.run("BEGIN; UPDATE sale_line SET label = 'w'");
    assert!(!db.error("COMMIT").is_empty());
    assert_eq!(db.one("SELECT count(*) FROM sale_line WHERE label = 'w'"), "0");
    // A progress handler that stops the images at any point: done and there, or an error and undone.
    db.run("DROP TRIGGER x");
    for stop_at in 1..2_000 {
        db.run(&format!("BEGIN; UPDATE sale_line SET label = 'n{stop_at}'"));
        let mut steps = 0;
        db.connection
            .progress_handler(
                1,
                Some(move || {
                    steps += 1;
                    steps == stop_at
                }),
            )
            .unwrap();
        let ended = db.try_run("COMMIT");
        db.connection.progress_handler(0, None::<fn() -> bool>).unwrap();
        if !db.connection.is_autocommit() {
            db.run("ROLLBACK");
        }
        let there = db.one(&format!("SELECT count(*) FROM sale_line WHERE label = 'n{stop_at}'"));
        if ended == Err("interrupted".to_owned()) && there == "2" {
            // COMMIT's own last step, when all is done: SQLite says so in any database.
            return;
        }
        assert_eq!(there, if ended.is_ok() { "2" } else { "0" }, "stopped at step {stop_at}");
    }
    panic!("no commit was stopped at its last step");
}

#[test]
fn a_look_that_costs_the_host_its_transaction_says_so() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run("CREATE TABLE other(x); INSERT INTO other VALUES (1); INSERT INTO sale_piece VALUES (1, 'A', 1)");
    let bare = shop.bare();
    bare.run("BEGIN");
    for line in 0..200 {
        bare.run(&format!("INSERT INTO sale_line VALUES ({line}, 1, 1, hex(randomblob(100)), 1)"));
    }
    bare.run("COMMIT");
    let pages = db.one("PRAGMA page_count");
    db.run(&format!("PRAGMA max_page_count = {pages}; BEGIN; UPDATE other SET x = 2"));
    let looked = db.try_rows("SELECT count(*) FROM talon_lost");
    assert!(looked.is_err() || !db.connection.is_autocommit(), "{looked:?}");
}

#[test]
fn a_full_disk_does_not_hide_from_a_restore_what_was_lost_elsewhere() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(&format!(
        "{GUARD_SALES} INSERT INTO sale_piece VALUES (1, 'A', 1), (2, 'B', 1); INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1)"
    ));
    let bare = shop.bare();
    bare.run(
        "PRAGMA foreign_keys = OFF; BEGIN; UPDATE sale_piece SET id = 9 WHERE id = 1; DELETE FROM sale_line;
         WITH RECURSIVE i(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM i WHERE i < 200)
         INSERT INTO sale_line SELECT i, 2, i, hex(randomblob(100)), 1 FROM i; COMMIT",
    );
    let pages = db.one("PRAGMA page_count");
    db.run(&format!("PRAGMA max_page_count = {pages}"));
    let answer = db.error("SELECT talon_restore_all()");
    assert!(answer.contains("database or disk is full"), "{answer}");
    db.run("PRAGMA max_page_count = 1000000");
    assert_eq!(db.one("SELECT talon_restore_all()"), r#"{"lost":1,"restored":1}"#);
    assert_eq!(db.rows("SELECT * FROM sale_line WHERE id = 1"), ["1|9|1|x|1.0"]);
}

#[test]
fn a_definition_that_cannot_be_read_concerns_its_own_kind_only() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run(
        "CREATE TABLE h(id INTEGER PRIMARY KEY); CREATE TABLE l(id INTEGER PRIMARY KEY, h INTEGER REFERENCES h);
         SELECT talon_guard('two', 'h', 'l'); UPDATE talon_kind SET definition = '{' WHERE kind = 'two'",
    );
    let db = shop.open();
    db.run("INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1); DELETE FROM sale_line");
    assert_eq!(db.rows("SELECT kind, piece FROM talon_lost"), ["sale|1"]);
    db.run("SELECT talon_guard('two', 'h', 'l')");
    assert_eq!(db.rows("SELECT kind, triggers FROM talon_guards"), ["sale|whole", "two|whole"]);
}

#[test]
fn a_table_that_hides_our_own_leaves_marks() {
    let db = two_images();
    db.run("CREATE TEMP TABLE talon_capture(touched); UPDATE sale_line SET label = 'w'");
    assert_ne!(db.one(MARKS), "0");
}
