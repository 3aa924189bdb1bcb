//! How many pieces `talon_restore_all` restores in a second where each was made from a piece that was made from another:
//! the sample shop's deliveries, with orders and quotes above them and an invoice below.

use std::time::Instant;

use rusqlite::Connection;

use crate::{
    library::Library,
    options::Options,
    report::{Outcome, Table, grouped, progress},
    schema,
};

const SCHEMA: &str = include_str!("../../sql/sample/schema.sql");
const GENERATE: &str = include_str!("../../sql/sample/generate.sql");
const GUARD: &str = include_str!("../../sql/sample/guard.sql");
const RULES: &str = include_str!("../../sql/sample/rules.sql");

/// Outstanding amounts and stocks add up all that a customer or an article ever had: their cost is the shop's, not a chain's.
const CHAINS_ONLY: &str =
    "SELECT talon_derive(name, NULL) FROM talon_rules WHERE correct = 'repair'";

/// What the crash takes.
const LOSE: &str = "DELETE FROM sale_line
    WHERE piece_id IN (SELECT id FROM sale_piece WHERE stage = 'delivery' AND type IS NULL)";
/// And what it leaves wrong above: the orders of every second of them say that nothing was delivered.
const DISTURB: &str = "
    UPDATE sale_line SET transformed_quantity = 0, untransformed_quantity = quantity
      WHERE piece_id IN (SELECT id FROM sale_piece WHERE stage = 'order' AND id / 11 % 2)
        AND transformed_quantity > 0;
    UPDATE sale_piece SET untransformed_quantity =
        (SELECT total(untransformed_quantity) FROM sale_line WHERE piece_id = sale_piece.id)
      WHERE stage = 'order' AND id / 11 % 2";

/// Loses and restores every delivery of the sample shop.
pub fn run(options: &Options, library: &Library) -> Outcome {
    progress("restore chains");
    let folder = options.folder()?;
    let connection = schema::open(&folder.path().join("chains.db"))?;
    // One sale in eleven is a delivery with an order and a quote above it; four pieces in five are sales.
    let pieces = options.restored * 11 * 5 / 4;
    connection.execute_batch(SCHEMA)?;
    connection
        .execute_batch(&format!("CREATE TEMP TABLE shop_size AS SELECT {pieces} AS pieces"))?;
    connection.execute_batch(GENERATE)?;
    library.load(&connection)?;
    for script in [GUARD, RULES, CHAINS_ONLY] {
        schema::run_script(&connection, script)?;
    }
    let before = fingerprint(&connection)?;
    let intact = restore(&connection, LOSE, &before)?;
    let disturbed = restore(&connection, &format!("{LOSE}; {DISTURB}"), &before)?;
    let table = Table::start(
        "Recovery of chains, `talon_restore_all`, `synchronous = NORMAL`",
        &["pieces a second".into()],
    );
    table.row("two levels above, all right there", &[grouped(intact)]);
    table.row("two levels above, every second wrong there", &[grouped(disturbed)]);
    Ok(())
}

/// Loses what `lose` takes and restores it; pieces a second.
fn restore(connection: &Connection, lose: &str, before: &str) -> Outcome<f64> {
    connection.execute_batch(lose)?;
    let start = Instant::now();
    let answer: String =
        connection.query_row("SELECT talon_restore_all('sale')", [], |row| row.get(0))?;
    let seconds = start.elapsed().as_secs_f64();
    let restored = answer
        .split_once("\"restored\":")
        .and_then(|(_, rest)| rest.split([',', '}']).next()?.parse::<f64>().ok())
        .ok_or_else(|| format!("no count in {answer}"))?;
    let after = fingerprint(connection)?;
    if before != after {
        return Err(format!("{answer}, but {before} before is {after} after").into());
    }
    Ok(restored / seconds)
}

/// Changes when a line is missing or a derived value of the sales is another.
fn fingerprint(connection: &Connection) -> Outcome<String> {
    let sql = "SELECT (SELECT count(*) || '/' || sum(id % 1009 * transformed_quantity) || '/' ||
                         sum(id % 997 * untransformed_quantity) FROM sale_line) || '/' ||
                      (SELECT sum(id % 991 * untransformed_quantity) || '/' || sum(id % 983 * untransformed_excl_tax_cents) FROM sale_piece)";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}
