//! One connection a thread, all on one file: transactions, savepoints, rollbacks, each as the others go on.

use std::time::Duration;
use talon_tests::{Db, Shop};

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

const PIECES: u64 = 3;

/// A piece as it is now: its header's total and its lines; nothing where it has none.
fn image(db: &Db, piece: u64) -> Option<String> {
    let lines =
        db.rows(&format!("SELECT id, quantity FROM sale_line WHERE sale_id = {piece} ORDER BY id"));
    let total = db.one(&format!("SELECT total FROM sale_piece WHERE id = {piece}"));
    (!lines.is_empty()).then(|| format!("{total}: {}", lines.join(" ")))
}

/// The same of a snapshot.
fn stored(db: &Db, snapshot: &str) -> String {
    let total = db.one(&format!(
        "SELECT row ->> '$.total' FROM talon_image({snapshot}) WHERE part = 'header'"
    ));
    let lines = db.rows(&format!(
        "SELECT row ->> '$.id', row ->> '$.quantity' FROM talon_image({snapshot}) WHERE part = 'lines' ORDER BY 1"
    ));
    format!("{total}: {}", lines.join(" "))
}

/// One change; some fail, some change nothing.
fn change(dice: &mut Dice, piece: u64) -> String {
    let line = piece * 10 + dice.below(4);
    let number = dice.below(50);
    match dice.below(6) {
        0 => format!("DELETE FROM sale_line WHERE sale_id = {piece}"),
        1 => format!("DELETE FROM sale_line WHERE id = {line}"),
        2 => format!("UPDATE sale_piece SET total = {number} WHERE id = {piece}"),
        3 => format!("UPDATE sale_line SET quantity = {number} WHERE id = {line}"),
        4 => format!("INSERT OR REPLACE INTO sale_line VALUES ({line}, {piece}, 1, 'n', {number})"),
        _ => format!("INSERT INTO sale_line VALUES ({line}, {piece}, 1, 'n', {number})"),
    }
}

/// A thread's work; gives the images that it has committed, piece by piece.
fn work(shop: &Shop, thread: u64, turns: u32) -> Vec<(u64, Vec<String>)> {
    let db = shop.open();
    db.connection.busy_timeout(Duration::from_secs(60)).expect("a timeout");
    db.run("PRAGMA synchronous = OFF");
    let mut dice = Dice(thread);
    let mut committed: Vec<(u64, Vec<String>)> = Vec::new();
    for place in 0..PIECES {
        let piece = 100 * (thread + 1) + place;
        db.run(&format!("INSERT INTO sale_piece VALUES ({piece}, 'N{piece}', 0)"));
        committed.push((piece, Vec::new()));
    }
    for _ in 0..turns {
        // A transaction that begins by reading may find the file locked, or changed, when it writes.
        let begin = ["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT whole"][dice.below(3) as usize];
        let whole = begin == "SAVEPOINT whole";
        db.run(begin);
        let mut open = Vec::new();
        for step in 0..1 + dice.below(8) {
            let piece = committed[dice.below(PIECES) as usize].0;
            let sql = match (dice.below(8), open.last()) {
                (0 | 1, _) => {
                    open.push(step);
                    format!("SAVEPOINT s{step}")
                }
                (2, Some(name)) => format!("ROLLBACK TO s{name}"),
                (3, Some(name)) => {
                    let sql = format!("RELEASE s{name}");
                    open.pop();
                    sql
                }
                (4, _) => "UPDATE sale_line SET quantity = quantity + 1 WHERE id = 12".to_owned(),
                _ => change(&mut dice, piece),
            };
            let _ = db.connection.execute_batch(&sql);
        }
        let end = match dice.below(4) {
            0 if whole => "ROLLBACK TO whole; RELEASE whole",
            0 => "ROLLBACK",
            _ if whole => "RELEASE whole",
            _ => "COMMIT",
        };
        if db.connection.execute_batch(end).is_err() {
            db.run("ROLLBACK");
        }
        assert!(db.connection.is_autocommit(), "{end}");
        for (piece, images) in &mut committed {
            let now = image(&db, *piece);
            images.extend(now.filter(|now| images.last() != Some(now)));
        }
    }
    committed
}

#[test]
fn every_commit_of_every_thread_is_imaged_once_and_nothing_that_was_undone() {
    let (shop, db) = Shop::of_sales();
    db.run("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
    let shop = &shop;
    let committed: Vec<(u64, Vec<String>)> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|thread| scope.spawn(move || work(shop, thread, 60))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    });
    let mut images = 0;
    for (piece, expected) in committed {
        let snapshots = db.rows(&format!(
            "SELECT id FROM talon_snapshots WHERE kind = 'sale' AND piece = {piece} AND lines > 0 ORDER BY id"
        ));
        let found: Vec<String> = snapshots.iter().map(|id| stored(&db, id)).collect();
        assert_eq!(found, expected, "sale {piece}");
        images += found.len();
    }
    assert!(images > 100, "{images} images");
    // All threads have written to it; what a transaction undid is in no image.
    let shared = "SELECT max(row ->> '$.quantity'), count(DISTINCT row ->> '$.quantity') = count(*)
                  FROM talon_snapshots AS s, talon_image(s.id) WHERE s.piece = 2 AND part = 'lines'";
    let now = db.one("SELECT quantity, 1 FROM sale_line WHERE id = 12");
    assert_eq!(db.one(shared), now);
    assert_eq!(db.findings().iter().filter(|one| !one.ends_with("lost")).count(), 0);
}
