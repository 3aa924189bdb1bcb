//! Limits that a host sets for statements that others write do not hold for Talon's own.

use rusqlite::Connection;
use rusqlite::limits::Limit;
use talon_tests::{GUARD_SALES, SALES, Shop};

/// The limits on a statement's text and shape.
const LIMITS: [Limit; 5] = [
    Limit::SQLITE_LIMIT_SQL_LENGTH,
    Limit::SQLITE_LIMIT_COLUMN,
    Limit::SQLITE_LIMIT_EXPR_DEPTH,
    Limit::SQLITE_LIMIT_COMPOUND_SELECT,
    Limit::SQLITE_LIMIT_VARIABLE_NUMBER,
];

/// Runs a statement that was made before the limit was set to 2; gives its rows' first columns.
fn run_limited(connection: &Connection, limit: Limit, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).expect("a statement");
    let before = connection.limit(limit).expect("a limit");
    connection.set_limit(limit, 2).expect("a limit");
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    loop {
        match rows.next() {
            Ok(Some(row)) => found.push(row.get::<_, String>(0).expect("a text")),
            Ok(None) => break,
            Err(error) => panic!("{error} under {limit:?} in {sql}"),
        }
    }
    assert_eq!(connection.limit(limit).expect("a limit"), 2, "{sql}");
    connection.set_limit(limit, before).expect("a limit");
    found
}

#[test]
fn a_host_that_limits_its_statements_is_guarded_all_the_same() {
    for limit in LIMITS {
        let shop = Shop::with(SALES);
        let run = |sql: &str| run_limited(&shop.open().connection, limit, sql);
        run(GUARD_SALES);
        run("INSERT INTO sale_piece VALUES (1, 'A', 1.5)");
        run("INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0), (11, 1, 2, 'y', 2.0)");
        shop.bare().run("UPDATE sale_line SET label = 'bare' WHERE id = 10");
        run("UPDATE sale_line SET label = 'v2' WHERE id = 11");
        run("DELETE FROM sale_line");
        let lost = "SELECT kind || piece || '|' || saved_lines || restorable FROM talon_lost";
        assert_eq!(run(lost), ["sale1|21"], "{limit:?}");
        assert_eq!(run("SELECT finding FROM talon_audit"), ["lost", "unguarded"], "{limit:?}");
        run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
        let labels = "SELECT group_concat(label) FROM sale_line";
        assert_eq!(run(labels), ["bare,v2"], "{limit:?}");
        run("INSERT INTO talon_purge(before) VALUES ('2000-01-01')");
        assert_eq!(run("SELECT triggers FROM talon_guards"), ["whole"], "{limit:?}");
    }
}
