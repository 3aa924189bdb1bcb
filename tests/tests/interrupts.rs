//! A call that is interrupted, after whatever step of SQLite: it is an error, or it has done all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use talon_tests::{Db, GUARD_SALES, MARKS, SALES, Shop};

/// Calls `attempt` with a connection that is interrupted at its first step, its second, and so on, until one attempt
/// ends before it is reached; `check` is told what the attempt came to.
fn interrupted_at_every_step<T>(
    attempt: impl FnMut(&Db) -> Result<T, String>,
    open: impl Fn() -> Db,
    check: impl FnMut(&Db, Result<T, String>),
) {
    interrupted_every(1, attempt, open, check);
}

/// The same for one step out of `stride`.
fn interrupted_every<T>(
    stride: usize,
    mut attempt: impl FnMut(&Db) -> Result<T, String>,
    open: impl Fn() -> Db,
    mut check: impl FnMut(&Db, Result<T, String>),
) {
    let mut refused = 0;
    for step in (1..).step_by(stride) {
        assert!(step < 20_000, "it never ends");
        let mut db = open();
        let steps = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&steps);
        let tick = move || counted.fetch_add(1, Relaxed) + 1 == step;
        db.connection.progress_handler(1, Some(tick)).expect("a handler");
        let result = attempt(&db);
        db.connection.progress_handler(0, None::<fn() -> bool>).expect("no handler");
        refused += usize::from(result.is_err());
        check(&db, result);
        if steps.load(Relaxed) < step {
            break;
        }
    }
    assert!(refused > 10, "only {refused} attempts were interrupted");
}

#[test]
fn a_look_that_is_interrupted_does_not_pass_for_one_that_found_nothing() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run("CREATE UNIQUE INDEX line_place ON sale_line(sale_id, position)");
    db.run(GUARD_SALES);
    db.run(
        "BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 0);
         INSERT INTO sale_line VALUES (10, 1, 2, 'x', 1), (11, 1, 1, 'y', 1); COMMIT;
         DELETE FROM sale_line WHERE sale_id = 1",
    );
    for (look, wanted) in [
        ("SELECT piece, restorable FROM talon_lost", "1|1"),
        ("SELECT piece, finding FROM talon_audit", "1|lost"),
        ("SELECT kind, triggers FROM talon_guards", "sale|whole"),
        ("SELECT piece, reason FROM talon_snapshots WHERE piece = 1", "1|create"),
        ("SELECT piece, number FROM talon_lost WHERE kind = 'sale' AND piece = '1'", "1|A"),
        ("SELECT piece, finding FROM talon_audit WHERE kind = 'sale' AND piece = '1'", "1|lost"),
        (
            "SELECT piece, reason FROM talon_snapshots WHERE kind = 'sale' AND piece = '1'",
            "1|create",
        ),
        (
            "SELECT group_concat(json_extract(row, '$.id'), ' ') FROM talon_image(1) WHERE part = 'lines'",
            "11 10",
        ),
    ] {
        interrupted_every(
            3,
            |db| db.try_rows(look),
            || shop.open(),
            |db, found| {
                match found {
                    Ok(found) => assert_eq!(found, [wanted], "{look}"),
                    Err(text) => assert!(text.contains("interrupted"), "{text}"),
                }
                // Nor does the next look believe anything that the interrupt has made of it.
                assert_eq!(db.rows(look), [wanted], "{look}");
            },
        );
    }
}

#[test]
fn what_a_piece_is_after_a_touch_was_interrupted_is_no_image_of_it() {
    let (shop, db) = Shop::of_sales();
    db.run("INSERT INTO sale_line VALUES (15, 1, 3, 'z', 1)");
    let lines = "SELECT * FROM sale_line ORDER BY id";
    let whole = db.rows(lines);
    drop(db);
    interrupted_every(
        3,
        |db| db.try_rows("DELETE FROM sale_line WHERE sale_id = 1"),
        || shop.open(),
        |db, _| {
            // SQLite may say that it was interrupted when all was done: whoever was told so looks.
            if db.rows(lines) != whole {
                db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
            }
            assert_eq!(db.rows(lines), whole);
        },
    );
}

#[test]
fn a_guard_that_is_interrupted_is_not_there() {
    let shop = Shop::with(SALES);
    let installed = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'talon_*'";
    interrupted_at_every_step(
        |db| db.try_rows(GUARD_SALES),
        || shop.open(),
        |db, result| {
            assert_eq!(db.one(installed) == "0", result.is_err(), "{result:?}");
            assert_eq!(db.rows("SELECT kind FROM talon_guards").is_empty(), result.is_err());
        },
    );
}

/// What is stored of every sale but the one that the interrupted transaction itself changes.
fn absorbed(db: &Db) -> Vec<String> {
    db.run("SELECT talon_absorb()");
    let mut found = db.rows(
        "SELECT kind, key, reason, lines, payload FROM talon_snapshot WHERE key IS NOT 9 ORDER BY id",
    );
    found.extend(db.rows(
        "SELECT kind, saved, key, version, lines, hash, lost_at IS NULL, gone_at IS NULL FROM talon_piece WHERE key <> 9",
    ));
    found.extend(
        db.rows("SELECT kind, key, detail FROM talon_unguarded WHERE key <> 9 ORDER BY key"),
    );
    found.extend(db.rows("SELECT kind, key FROM talon_edit ORDER BY kind, key"));
    found.push(db.one(MARKS));
    found
}

/// A shop where a connection without Talon has swapped, moved, deleted, emptied and made pieces.
fn visited_shop() -> Shop {
    let (shop, db) = Shop::of_sales();
    db.run(
        "SELECT talon_station('till 1', 'anna');
         INSERT INTO sale_piece VALUES (3, 'C', 0), (4, 'D', 0), (9, 'Z', 0);
         INSERT INTO sale_line VALUES (30, 3, 1, 'n', 1), (40, 4, 1, 'n', 1), (90, 9, 1, 'n', 1);
         SELECT talon_edit_begin('sale', 1), talon_edit_begin('sale', 2)",
    );
    let bare = shop.bare();
    bare.run(
        "PRAGMA foreign_keys = OFF; CREATE TEMP TRIGGER lines_follow AFTER UPDATE OF id ON sale_piece
         BEGIN UPDATE sale_line SET sale_id = NEW.id WHERE sale_id = OLD.id; END;
         UPDATE sale_piece SET id = 99 WHERE id = 1; UPDATE sale_piece SET id = 1 WHERE id = 2;
         UPDATE sale_piece SET id = 2 WHERE id = 99; UPDATE sale_piece SET id = 5 WHERE id = 4;
         DELETE FROM sale_line WHERE sale_id = 5; DELETE FROM sale_piece WHERE id = 5;
         DELETE FROM sale_line WHERE sale_id = 3;
         INSERT INTO sale_piece VALUES (7, 'G', 0), (4, 'H', 0);
         INSERT INTO sale_line VALUES (70, 7, 1, 'n', 1), (41, 4, 1, 'n', 1)",
    );
    shop
}

/// Makes one shop what another one is, and opens it.
fn copy(template: &Shop, shop: &Shop) -> Db {
    std::fs::copy(template.file("shop.db"), shop.file("shop.db")).expect("a copy");
    let db = shop.open();
    db.run("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF");
    db
}

#[test]
fn marks_whose_absorbing_is_interrupted_are_absorbed_whole_by_the_next_call() {
    let (template, shop) = (visited_shop(), Shop::new());
    let open = || copy(&template, &shop);
    let expected = absorbed(&open());
    assert_eq!(expected.last().map(String::as_str), Some("0"), "{expected:?}");
    interrupted_every(
        3,
        |db| db.try_run("UPDATE sale_piece SET total = total + 1 WHERE id = 9"),
        open,
        |db, result| assert_eq!(absorbed(db), expected, "{result:?}"),
    );
}

#[test]
fn keys_that_change_in_an_interrupted_commit_take_all_their_images_along_or_none() {
    let (template, shop) = (visited_shop(), Shop::new());
    template.open().run("SELECT talon_absorb()");
    let open = || copy(&template, &shop);
    let swap =
        "BEGIN; UPDATE sale_piece SET id = 99 WHERE id = 1; UPDATE sale_piece SET id = 1 WHERE id = 2;
        UPDATE sale_piece SET id = 2 WHERE id = 99; COMMIT";
    let images = |db: &Db| {
        let mut found = db.rows(
            "SELECT key, group_concat(id, ' ') FROM talon_snapshot WHERE id <= 7 GROUP BY kind, key",
        );
        found.extend(db.rows("SELECT key FROM talon_edit ORDER BY key"));
        found
    };
    let before = images(&open());
    let after = {
        let db = open();
        db.run(swap);
        images(&db)
    };
    assert_ne!(before, after);
    interrupted_every(
        3,
        |db| db.try_run(swap),
        open,
        |db, result| {
            if !db.connection.is_autocommit() {
                db.run("ROLLBACK");
            }
            let found = images(db);
            assert!(found == before || found == after, "{result:?}: {found:?}");
        },
    );
}

#[test]
fn a_handler_that_goes_on_interrupting_leaves_no_transaction_open() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "SELECT talon_station('till 1', 'paul');
         SELECT talon_derive('t', '{\"table\":\"sale_piece\",\"column\":\"total\",\"value\":\"t.id\"}')",
    );
    let mut db = db;
    let mut refused = 0;
    for call in [
        "SELECT talon_edit_begin('sale', 1)",
        "SELECT talon_edit_end('sale', 2)",
        r#"SELECT talon_stage('sale', 9, '{"header":{"id":9},"lines":[{"id":90}]}')"#,
        "SELECT talon_daily()",
        "SELECT talon_repair('t')",
        "SELECT talon_restore_all()",
    ] {
        for period in [1, 2, 3, 7] {
            for first in 0..60 {
                db.run(
                    "DELETE FROM talon_edit; DELETE FROM talon_day; DELETE FROM sale_line WHERE sale_id = 1;
                     UPDATE sale_piece SET total = 0",
                );
                let asked = AtomicUsize::new(0);
                let tick = move || asked.fetch_add(1, Relaxed) >= first;
                db.connection.progress_handler(period, Some(tick)).expect("a handler");
                let result = db.try_rows(call);
                db.connection.progress_handler(0, None::<fn() -> bool>).expect("no handler");
                assert!(db.connection.is_autocommit(), "{call}, {period}, {first}: {result:?}");
                refused += usize::from(result.is_err());
            }
        }
    }
    assert!(refused > 100, "only {refused} calls were interrupted");
}
