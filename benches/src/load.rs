//! What a host pays that opens a connection for each request.

use std::{path::Path, time::Instant};

use rusqlite::Connection;

use crate::{
    library::{Library, call},
    options::Options,
    report::{Outcome, Table, median, progress},
    schema,
};

const GUARDS: u32 = 10;
const ROUNDS: u32 = 300;

/// How far a connection goes before it is closed.
const USES: [(&str, Option<&str>); 3] = [
    ("open, load, close", None),
    ("… and read a row", Some("SELECT number FROM sale_piece_1 WHERE id = 1")),
    (
        "… and change a line",
        Some(
            "PRAGMA synchronous = NORMAL; UPDATE sale_line_1 SET discount = discount + 1 WHERE id = 1",
        ),
    ),
];

/// Opens, uses and closes connections to a bare and to a guarded database by turns.
pub fn run(options: &Options, library: &Library) -> Outcome {
    progress("opening and closing connections");
    let folder = options.folder()?;
    let (bare, guarded) = (folder.path().join("bare.db"), folder.path().join("guarded.db"));
    let keeper = build(&bare, None)?;
    drop(build(&guarded, Some(library))?);
    // The last close of a database takes its WAL away; these two leave that to nobody measured. The one of the
    // guarded database is opened without Talon: else the library would stay in memory and look cheap to load.
    let keepers = [keeper, Connection::open(&guarded)?];
    for keeper in &keepers {
        keeper.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    }
    let columns = ["bare, ms", "guarded, ms", "extra, ms", "to reach"].map(String::from);
    let table = Table::start(&format!("A connection to a database with {GUARDS} guards"), &columns);
    for (title, sql) in USES {
        let (mut bare_ms, mut guarded_ms) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare_ms.push(cycle(&bare, None, sql)?);
            guarded_ms.push(cycle(&guarded, Some(library), sql)?);
        }
        let (bare_ms, guarded_ms) = (median(&bare_ms), median(&guarded_ms));
        // Reach is given for loading and closing; what follows shows where the rest of it is paid.
        let reach = if sql.is_none() { "0.300" } else { "" };
        let [bare_ms, guarded_ms, extra_ms] =
            [bare_ms, guarded_ms, guarded_ms - bare_ms].map(|ms| format!("{ms:.3}"));
        table.row(title, &[bare_ms, guarded_ms, extra_ms, reach.into()]);
    }
    Ok(())
}

/// Ten shops in one file, each with one piece.
fn build(path: &Path, library: Option<&Library>) -> Outcome<Connection> {
    let connection = schema::open(path)?;
    if let Some(library) = library {
        library.load(&connection)?;
    }
    for number in 1..=GUARDS {
        let tables = schema::CREATE_SHOP
            .replace("sale_piece", &format!("sale_piece_{number}"))
            .replace("sale_line", &format!("sale_line_{number}"));
        connection.execute_batch(&tables)?;
        if library.is_some() {
            let guard = format!(
                "SELECT talon_guard('sale_{number}', 'sale_piece_{number}', 'sale_line_{number}')"
            );
            call(&connection, &guard)?;
        }
        connection.execute_batch(&format!(
            "INSERT INTO sale_piece_{number}(number, date, type, total) VALUES ('F1', '2026-11-21', 'F', 1.5);
             INSERT INTO sale_line_{number}(sale_id, position, discount) VALUES (1, 1, 0);"
        ))?;
    }
    Ok(connection)
}

/// Milliseconds of one connection's life.
fn cycle(path: &Path, library: Option<&Library>, sql: Option<&str>) -> Outcome<f64> {
    let start = Instant::now();
    let connection = Connection::open(path)?;
    if let Some(library) = library {
        library.load(&connection)?;
    }
    if let Some(sql) = sql {
        connection.execute_batch(sql)?;
    }
    connection.close().map_err(|(_, error)| error)?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
