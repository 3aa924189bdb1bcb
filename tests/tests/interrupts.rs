//! A call that is interrupted, after whatever step of SQLite: it is an error, or it has done all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use talon_tests::{Db, GUARD_SALES, SALES, Shop};

/// Calls `attempt` with a connection that is interrupted at its first step, its second, and so on, until one attempt
/// ends before it is reached; `check` is told what the attempt came to.
fn interrupted_at_every_step<T>(
    mut attempt: impl FnMut(&Db) -> Result<T, String>,
    open: impl Fn() -> Db,
    mut check: impl FnMut(&Db, Result<T, String>),
) {
    let mut refused = 0;
    for step in 1.. {
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
    let (shop, db) = Shop::of_sales();
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    for (look, wanted) in [
        ("SELECT piece, restorable FROM talon_lost", "1|1"),
        ("SELECT piece, finding FROM talon_audit", "1|lost"),
        ("SELECT kind, triggers FROM talon_guards", "sale|whole"),
        ("SELECT piece, reason FROM talon_snapshots WHERE piece = 1", "1|create"),
    ] {
        interrupted_at_every_step(
            |db| db.try_rows(look),
            || shop.open(),
            |_, found| match found {
                Ok(found) => assert_eq!(found, [wanted], "{look}"),
                Err(text) => assert!(text.contains("interrupted"), "{text}"),
            },
        );
    }
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
