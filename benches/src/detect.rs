//! Finding lost pieces, against the anti-join that anybody can write by hand.

use std::time::Instant;

use rusqlite::Connection;

use crate::{
    library::number,
    report::{Outcome, Table, figure, grouped, median, progress, ratio},
    workload::LINES,
};

/// Pieces that are saved in a day.
const DAY: u32 = 10_000;
/// Pieces that lose their lines before each detection.
const LOST: u32 = 100;
const ROUNDS: usize = 11;

const RESTORE_ALL: &str =
    "INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost";
/// All days before tomorrow: everything saved so far.
const PURGE_ALL: &str =
    "INSERT INTO talon_purge(before) VALUES (date('now', 'localtime', '+1 day'))";

/// One question, asked of Talon and in plain SQL.
pub struct Finding {
    question: String,
    talon_ms: f64,
    plain_ms: f64,
    /// Median over the rounds.
    by_plain: f64,
    /// How many times as long as plain Talon may take.
    reach: f64,
}

/// Saves a day's pieces, spread over all, loses some of them and asks for the lost.
pub fn day(connection: &Connection, pieces: u32, rest: &str) -> Outcome<Finding> {
    progress(format_args!("talon_lost, the other pieces {rest}"));
    connection.execute_batch(
        "DROP TABLE IF EXISTS temp.day_piece; CREATE TEMP TABLE day_piece(piece INTEGER PRIMARY KEY)",
    )?;
    let stride = pieces / DAY;
    let mut insert = connection.prepare("INSERT INTO temp.day_piece VALUES (?1)")?;
    let mut update =
        connection.prepare("UPDATE sale_line SET discount = discount + 1.5 WHERE id = ?1")?;
    for number in 0..DAY {
        let before = number * stride;
        insert.execute([before + 1])?;
        update.execute([before * LINES + 1])?;
    }
    lose(connection, stride)?;
    let finding = compare(
        connection,
        format!("lost of a day's {} pieces, the others {rest}", grouped(f64::from(DAY))),
        "SELECT * FROM talon_lost WHERE kind = 'sale'",
        "SELECT p.* FROM temp.day_piece d JOIN sale_piece p ON p.id = d.piece
         WHERE NOT EXISTS (SELECT 1 FROM sale_line l WHERE l.sale_id = d.piece)",
        1.3,
    )?;
    restore(connection)?;
    Ok(finding)
}

/// Loses some pieces and asks the audit for them, all pieces being known.
pub fn all(connection: &Connection, pieces: u32) -> Outcome<Finding> {
    progress("talon_audit, finding = 'lost'");
    lose(connection, pieces / DAY)?;
    let finding = compare(
        connection,
        "lost of all pieces, all saved".into(),
        "SELECT kind, piece FROM talon_audit WHERE finding = 'lost'",
        "SELECT p.id FROM sale_piece p WHERE NOT EXISTS (SELECT 1 FROM sale_line l WHERE l.sale_id = p.id)",
        1.5,
    )?;
    restore(connection)?;
    Ok(finding)
}

/// Purges whatever is saved; returns snapshots a second.
pub fn purge(connection: &Connection) -> Outcome<f64> {
    progress("purge");
    let count = || number(connection, "SELECT count(*) FROM talon_snapshots");
    let before = count()?;
    let start = Instant::now();
    connection.execute(PURGE_ALL, [])?;
    let seconds = start.elapsed().as_secs_f64();
    match count()? {
        0 => Ok(before as f64 / seconds),
        left => {
            Err(format!("the purge left {left} of {before} snapshots, and no piece is lost").into())
        }
    }
}

/// Prints the table.
pub fn print(findings: &[Finding]) {
    let columns = ["Talon, ms", "plain anti-join, ms", "ratio", "to reach"].map(String::from);
    let table = Table::start("Detection", &columns);
    for finding in findings {
        let cells = [
            figure(finding.talon_ms),
            figure(finding.plain_ms),
            ratio(finding.by_plain),
            ratio(finding.reach),
        ];
        table.row(&finding.question, &cells);
    }
}

/// Deletes the lines of some pieces, one transaction each; `stride` keeps to the day's.
fn lose(connection: &Connection, stride: u32) -> Outcome {
    let mut delete = connection.prepare("DELETE FROM sale_line WHERE sale_id = ?1")?;
    for number in 0..LOST {
        let piece = number * (DAY / LOST) * stride + 1;
        if delete.execute([piece])? == 0 {
            return Err(format!("piece {piece} had no lines to lose").into());
        }
    }
    Ok(())
}

fn restore(connection: &Connection) -> Outcome {
    connection.execute(RESTORE_ALL, [])?;
    match number(connection, "SELECT count(*) FROM talon_lost")? {
        0 => Ok(()),
        left => Err(format!("{left} pieces are lost after {RESTORE_ALL}").into()),
    }
}

/// Asks both by turns and checks that both find what was lost.
fn compare(
    connection: &Connection,
    question: String,
    talon: &str,
    plain: &str,
    reach: f64,
) -> Outcome<Finding> {
    let mut times_ms = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (sql, times_ms) in [talon, plain].into_iter().zip(&mut times_ms) {
            let start = Instant::now();
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.raw_query();
            let mut count = 0;
            while rows.next()?.is_some() {
                count += 1;
            }
            if count != LOST {
                return Err(format!("{sql}: {count} rows, but {LOST} pieces are lost").into());
            }
            // The first round warms up.
            if round > 0 {
                times_ms.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let [talon_ms, plain_ms] = times_ms;
    let quotients: Vec<_> =
        talon_ms.iter().zip(&plain_ms).map(|(talon, plain)| talon / plain).collect();
    Ok(Finding {
        question,
        talon_ms: median(&talon_ms),
        plain_ms: median(&plain_ms),
        by_plain: median(&quotients),
        reach,
    })
}
