//! How many pieces are restored, and how many snapshots purged, in a second.

use std::time::Instant;

use rusqlite::Connection;

use crate::{
    detect,
    library::{Library, number},
    options::Options,
    report::{Outcome, Table, grouped, median, progress},
    schema,
    workload::LINES,
};

const ROUNDS: u32 = 3;

/// Restores part of a shop and purges all of it, several times.
pub fn run(options: &Options, library: &Library) -> Outcome {
    progress("restore and purge");
    let folder = options.folder()?;
    let path = folder.path().join("guarded.db");
    schema::build_shop(&path, options.touched, LINES)?;
    let connection = schema::open(&path)?;
    library.guard(&connection)?;
    let (mut restored, mut purged) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // The purge has taken what there was.
        number(&connection, "SELECT talon_baseline('sale')")?;
        restored.push(restore(&connection, options.restored)?);
        purged.push(detect::purge(&connection)?);
    }
    let table =
        Table::start("Recovery, `synchronous = NORMAL`", &["a second".into(), "to reach".into()]);
    table.row(
        &format!("pieces of {LINES} lines restored"),
        &[grouped(median(&restored)), grouped(5_000.0)],
    );
    table.row("snapshots purged", &[grouped(median(&purged)), grouped(100_000.0)]);
    Ok(())
}

/// Loses the first `pieces` and restores them in one statement; returns pieces a second.
fn restore(connection: &Connection, pieces: u32) -> Outcome<f64> {
    let before = fingerprint(connection)?;
    connection.execute("DELETE FROM sale_line WHERE sale_id <= ?1", [pieces])?;
    let start = Instant::now();
    connection
        .execute("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost", [])?;
    let seconds = start.elapsed().as_secs_f64();
    let after = fingerprint(connection)?;
    if before != after {
        return Err(format!("restored lines differ: {before} before, {after} after").into());
    }
    Ok(f64::from(pieces) / seconds)
}

/// A sum that changes when a line is missing or its values have moved to another.
fn fingerprint(connection: &Connection) -> Outcome<String> {
    let sql = "SELECT count(*) || '/' || sum(id * position + sale_id * article_id) || '/' ||
                      sum(quantity * id + unit_price + discount + tax_rate + total + length(label)) FROM sale_line";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}
