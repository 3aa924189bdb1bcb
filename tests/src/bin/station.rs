//! One station of two: works on a file that another process works on too, for a number of turns or until its time is
//! over, and says on its standard output what it did, and what was not as promised (`wrong: …`).
//!
//!     station FILE NAME SEED TURNS MILLISECONDS

use rusqlite::{Connection, Error};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use talon_tests::load;

/// How often a statement has waited for its whole busy timeout.
static GIVEN_UP: AtomicU32 = AtomicU32::new(0);
/// Waits of a millisecond that make up a busy timeout.
const PATIENCE: i32 = 150;

fn wait(times: i32) -> bool {
    if times >= PATIENCE {
        GIVEN_UP.fetch_add(1, Ordering::Relaxed);
        return false;
    }
    std::thread::sleep(Duration::from_millis(1));
    true
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

struct Station {
    talon: Connection,
    bare: Connection,
    random: Random,
    next: u64,
    turns: u64,
    /// What was done, by its name and how it ended.
    tally: BTreeMap<String, u32>,
}

fn open(path: &Path, with_talon: bool) -> Connection {
    let mut connection = Connection::open(path).expect("the file opens");
    connection.busy_handler(Some(wait)).expect("a busy handler");
    // No power is cut here.
    connection.execute_batch("PRAGMA synchronous = OFF").expect("a pragma");
    if with_talon {
        load(&connection);
    }
    connection
}

/// What each turn is: its name and its statements. `{piece}`, `{new}`, `{n}` and `{days}` stand for a piece that is there, a key
/// that is free, a number, and how many days this station has been at work.
const WORK: [(&str, &[&str]); 16] = [
    (
        "deposit, and lose",
        &[
            r#"SELECT talon_stage('sale', {new}, '{"header": {"id": {new}, "number": "N{new}", "total": {n}, "line_count": 1},
                 "lines": [{"id": -{new}, "position": 1, "quantity": {n}}]}')"#,
            "INSERT INTO sale_piece VALUES ({new}, 'N{new}', {n}, 1)",
        ],
    ),
    (
        "edit",
        &[
            "SELECT talon_edit_begin('sale', {piece})",
            "BEGIN IMMEDIATE",
            "UPDATE sale_piece SET total = {n} WHERE id = {piece} AND id IN (SELECT sale_id FROM sale_line)",
            "UPDATE sale_line SET quantity = {n} WHERE sale_id = {piece}",
            "COMMIT",
            "SELECT talon_edit_end('sale', {piece})",
        ],
    ),
    // The station forgets the edit: it is released by whoever comes by, or ended by its own next one.
    (
        "lose in an edit",
        &["SELECT talon_edit_begin('sale', {piece})", "DELETE FROM sale_line WHERE sale_id = {piece}"],
    ),
    (
        "daily",
        &[
            "SELECT talon_clock(strftime('%Y-%m-%dT08:00:00+00:00', '2026-01-01', '+{days} days'))",
            "SELECT talon_daily()",
            "SELECT talon_edit_release('sale', {piece})",
        ],
    ),
    (
        "create",
        &[
            "BEGIN",
            "INSERT INTO sale_piece VALUES ({new}, 'N{new}', 1.0, 2)",
            "INSERT INTO sale_line(sale_id, position, label, quantity) VALUES ({new}, 1, 'x', 1.0), ({new}, 2, 'y', 1.0)",
            "COMMIT",
        ],
    ),
    (
        "rewrite",
        &[
            "BEGIN IMMEDIATE",
            "DELETE FROM sale_line WHERE sale_id = {piece}",
            "UPDATE sale_piece SET total = {n}, line_count = 3 WHERE id = {piece}",
            "INSERT INTO sale_line(sale_id, position, label, quantity) SELECT id, n, 'r', {n} FROM sale_piece,
               (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3) WHERE id = {piece}",
            "COMMIT",
        ],
    ),
    // One statement a table, the header first: deferred, so that the lock is taken by a write.
    (
        "change",
        &[
            "BEGIN",
            "UPDATE sale_piece SET total = {n} WHERE id = {piece} AND id IN (SELECT sale_id FROM sale_line)",
            "UPDATE sale_line SET quantity = {n} WHERE sale_id = {piece}",
            "COMMIT",
        ],
    ),
    ("lose", &["DELETE FROM sale_line WHERE sale_id IN ({piece}, {piece} + 1, {piece} + 2)"]),
    ("undo", &["BEGIN", "DELETE FROM sale_line WHERE sale_id = {piece}", "ROLLBACK"]),
    ("list", &["SELECT * FROM talon_lost"]),
    ("restore", &["INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost LIMIT 3"]),
    ("restore all", &["SELECT talon_restore_all('sale')"]),
    ("purge", &["INSERT INTO talon_purge(before) VALUES ('2999-01-01')"]),
    ("purge but the last", &["INSERT INTO talon_purge(before, keep_last) VALUES ('2999-01-01', 1)"]),
    ("audit", &["SELECT * FROM talon_audit"]),
    // The same without Talon, which leaves marks.
    (
        "bare change",
        &[
            "BEGIN IMMEDIATE",
            "UPDATE sale_piece SET total = {n} WHERE id = {piece} AND id IN (SELECT sale_id FROM sale_line)",
            "UPDATE sale_line SET quantity = {n} WHERE sale_id = {piece}",
            "COMMIT",
        ],
    ),
];

impl Station {
    fn turn(&mut self) {
        let (name, statements) = WORK[self.random.below(WORK.len() as u64) as usize];
        let known = 100 + self.random.below(40);
        let number = format!("{}.5", self.random.below(1_000_000));
        self.next += 1;
        self.turns += 1;
        let new = self.next.to_string();
        let connection = if name.starts_with("bare") { &self.bare } else { &self.talon };
        let mut end = "done".to_owned();
        for statement in statements {
            let sql = statement
                .replace("{piece}", &known.to_string())
                .replace("{new}", &new)
                .replace("{n}", &number)
                .replace("{days}", &(self.turns / 20).to_string());
            GIVEN_UP.store(0, Ordering::Relaxed);
            let result = run(connection, &sql);
            let given_up = GIVEN_UP.load(Ordering::Relaxed);
            if given_up > 1 {
                println!("wrong: {sql}: waited {given_up} times as long as its busy timeout");
            }
            match result {
                Ok(()) => {}
                Err(Error::SqliteFailure(error, _)) if error.extended_code == 5 => {
                    end = "busy".to_owned();
                    if !connection.is_autocommit() {
                        run(connection, "ROLLBACK").expect("a rollback");
                    }
                    break;
                }
                // The other station holds it, or has ended what was thought to be open.
                Err(error)
                    if [" is being edited at ", " is not being edited"]
                        .iter()
                        .any(|text| error.to_string().contains(text)) =>
                {
                    end = "the other's".to_owned();
                    break;
                }
                Err(error) => {
                    println!("wrong: {sql}: {error} {error:?}");
                    end = "wrong".to_owned();
                    let _ = run(connection, "ROLLBACK");
                    break;
                }
            }
        }
        if !connection.is_autocommit() {
            println!("wrong: {name} leaves a transaction open");
        }
        *self.tally.entry(format!("{name}, {end}")).or_default() += 1;
    }
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, name, seed, turns, milliseconds] = arguments.as_slice() else {
        panic!("station FILE NAME SEED TURNS MILLISECONDS");
    };
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let talon = open(Path::new(file), true);
    run(&talon, &format!("SELECT talon_station('{name}', 'a process')")).expect("a name");
    let mut station = Station {
        talon,
        bare: open(Path::new(file), false),
        random: Random(number(seed)),
        // Free keys of its own.
        next: number(seed) * 1_000_000,
        turns: 0,
        tally: BTreeMap::new(),
    };
    let end = Instant::now() + Duration::from_millis(number(milliseconds));
    for _ in 0..number(turns) {
        if Instant::now() > end {
            break;
        }
        station.turn();
    }
    for (what, count) in &station.tally {
        println!("{what}: {count}");
    }
}
