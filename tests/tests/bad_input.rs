//! Whatever is passed to Talon: an error with a code and a text, and the connection goes on.

use rusqlite::{Error, ErrorCode};
use talon_tests::{Db, GUARD_SALES, SALES};

fn guarded() -> Db {
    let db = Db::memory();
    db.run(&format!(
        "{SALES} {GUARD_SALES} BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1), (2, 'B', 2);
         INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1), (2, 2, 1, 'y', 1); COMMIT; DELETE FROM sale_line WHERE sale_id = 1"
    ));
    db
}

/// Values that no function expects.
const VALUES: [&str; 16] = [
    "NULL",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "1.5",
    "9e999",
    "''",
    "' '",
    "'sale'",
    "x''",
    "x'00ff'",
    "char(0)",
    "CAST(x'ff' AS TEXT)",
    "'\"; DROP TABLE sale_piece; --'",
    "hex(zeroblob(100000))",
];

#[test]
fn no_value_makes_a_function_panic() {
    let db = guarded();
    let functions = [
        ("talon_guard", 2..=4),
        ("talon_unguard", 1..=2),
        ("talon_baseline", 1..=2),
        ("talon_station", 1..=2),
        ("talon_absorb", 1..=1),
        ("talon_dismiss", 2..=3),
        ("talon_derive", 2..=3),
        ("talon_edit_begin", 2..=3),
        ("talon_edit_end", 2..=3),
        ("talon_edit_release", 2..=3),
        ("talon_clock", 1..=1),
        ("talon_daily", 1..=1),
        ("talon_repair", 1..=2),
        ("talon_check", 2..=3),
        ("talon_stage", 3..=4),
    ];
    db.run("SELECT talon_station('till 2', 'marie')");
    for (function, arities) in functions {
        for arity in arities {
            for (place, value) in (0..arity).flat_map(|place| VALUES.map(|value| (place, value))) {
                let mut arguments = vec!["'sale'", "'1'", "'main'", "'main'"][..arity].to_vec();
                arguments[place] = value;
                let call = format!("SELECT {function}({})", arguments.join(", "));
                db.run("SAVEPOINT before");
                if let Err(text) = db.try_run(&call) {
                    assert!(text.starts_with(&format!("{function}: ")), "{call}: {text}");
                    assert!(
                        !text.contains("panic") && text.chars().count() <= 1001,
                        "{call}: {text}"
                    );
                }
                db.run("ROLLBACK TO before; RELEASE before");
            }
        }
    }
    assert_eq!(db.rows("SELECT kind, triggers FROM talon_guards"), ["sale|whole"]);
}

#[test]
fn no_value_makes_a_table_panic() {
    let db = guarded();
    let filters = [
        ("talon_guards", &["kind", "schema"][..]),
        ("talon_snapshots", &["id", "kind", "piece", "schema"]),
        ("talon_lost", &["kind", "piece", "schema"]),
        ("talon_audit", &["kind", "piece", "finding", "schema"]),
        ("talon_restore", &["id", "kind", "piece", "schema"]),
        ("talon_purge", &["id", "schema"]),
        ("talon_edits", &["kind", "piece", "schema"]),
        ("talon_releases", &["id", "kind", "piece", "schema"]),
        ("talon_image", &["snapshot", "schema"]),
        ("talon_rules", &["name", "schema"]),
        ("talon_gaps", &["name", "key", "schema"]),
    ];
    for (table, columns) in filters {
        for (column, value) in columns.iter().flat_map(|column| VALUES.map(|value| (column, value)))
        {
            let and = if table == "talon_image" && *column != "snapshot" {
                "AND snapshot = 1"
            } else {
                ""
            };
            let query = format!("SELECT * FROM {table} WHERE {column} = {value} {and}");
            if let Err(text) = db.try_rows(&query) {
                assert!(
                    text.starts_with(&format!("{table}: ")) && !text.contains("panic"),
                    "{query}: {text}"
                );
            }
        }
    }
}

#[test]
fn no_row_makes_an_insert_panic() {
    let db = guarded();
    let columns = [
        "kind", "piece", "snapshot", "dry_run", "schema", "id", "at", "lines", "outcome", "note",
        "station", "user",
    ];
    for (column, value) in columns.iter().flat_map(|column| VALUES.map(|value| (column, value))) {
        let given: Vec<&str> =
            ["kind", "piece"].into_iter().filter(|given| given != column).collect();
        let values: Vec<&str> =
            given.iter().map(|given| if *given == "kind" { "'sale'" } else { "1" }).collect();
        let insert = format!(
            "INSERT INTO talon_restore({column}, {}) VALUES ({value}, {})",
            given.join(", "),
            values.join(", ")
        );
        db.run("SAVEPOINT before");
        if let Err(text) = db.try_run(&insert) {
            assert!(
                text.starts_with("talon_restore: ")
                    && !text.contains("panic")
                    && text.chars().count() <= 1001,
                "{insert}: {text}"
            );
        }
        db.run("ROLLBACK TO before; RELEASE before");
    }
    for (column, value) in ["before", "keep_last", "schema", "purged"]
        .iter()
        .flat_map(|column| VALUES.map(|value| (column, value)))
    {
        let before = if *column == "before" { "" } else { ", before" };
        let day = if *column == "before" { "" } else { ", '2000-01-01'" };
        let insert = format!("INSERT INTO talon_purge({column}{before}) VALUES ({value}{day})");
        if let Err(text) = db.try_run(&insert) {
            assert!(
                text.starts_with("talon_purge: ")
                    && !text.contains("panic")
                    && text.chars().count() <= 1001,
                "{insert}: {text}"
            );
        }
    }
}

#[test]
fn too_many_or_too_few_arguments_are_an_error() {
    let db = guarded();
    for call in [
        "talon_version(1)",
        "talon_guard('a')",
        "talon_guard('a', 'b', 'c', 'd', 'e')",
        "talon_unguard()",
        "talon_baseline()",
        "talon_station()",
        "talon_station('a', 'b', 'c')",
        "talon_absorb('main', 1)",
        "talon_dismiss('a')",
        "talon_dismiss('a', 1, 'main', 2)",
        "talon_derive('a')",
        "talon_repair()",
        "talon_check('a')",
        "talon_check('a', '{}', 'main', 1)",
        "talon_repair('a', 'main', 1)",
        "talon_derive('a', '{}', 'main', 2)",
        "talon_edit_begin('a')",
        "talon_edit_begin('a', 1, 'main', 2)",
        "talon_edit_end('a')",
        "talon_edit_release('a')",
        "talon_clock(1, 2)",
        "talon_daily(1, 2)",
        "talon_stage('a', 1)",
        "talon_stage('a', 1, '{}', 'main', 2)",
    ] {
        let name = &call[..call.find('(').unwrap_or(0)];
        let text = db.error(&format!("SELECT {call}"));
        assert!(
            text.starts_with(&format!("wrong number of arguments to function {name}()")),
            "{call}: {text}"
        );
    }
    assert!(
        db.error("SELECT * FROM talon_image(1, 'main', 3)")
            .starts_with("too many arguments on talon_image() - max 2")
    );
    assert_eq!(
        db.error("SELECT * FROM talon_image"),
        "talon_image: name a snapshot: SELECT * FROM talon_image(17)"
    );
    assert_eq!(
        db.error("SELECT * FROM talon_image('x')"),
        "talon_image: x is no snapshot's id: give an integer"
    );
    assert_eq!(
        db.error("SELECT * FROM talon_image(99)"),
        "talon_image: there is no snapshot 99 in \"main\"; talon_snapshots lists those there are"
    );
    assert_eq!(
        db.error("SELECT * FROM talon_snapshots AS s, talon_image(s.id + 99)"),
        "talon_image: there is no snapshot 100 in \"main\"; talon_snapshots lists those there are"
    );
}

#[test]
fn tables_that_are_looked_at_cannot_be_written() {
    let db = guarded();
    for table in [
        "talon_guards",
        "talon_snapshots",
        "talon_image",
        "talon_lost",
        "talon_audit",
        "talon_rules",
        "talon_gaps",
        "talon_edits",
        "talon_releases",
    ] {
        for write in
            ["INSERT INTO %s DEFAULT VALUES", "UPDATE %s SET schema = 'x'", "DELETE FROM %s"]
        {
            assert_eq!(
                db.error(&write.replace("%s", table)).split(" in ").next(),
                Some(format!("table {table} may not be modified").as_str())
            );
        }
    }
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1); INSERT INTO talon_purge(before) VALUES ('2000-01-01')");
    for table in ["talon_restore", "talon_purge"] {
        for write in ["UPDATE %s SET note = 'x'", "DELETE FROM %s"] {
            let error =
                db.connection.execute(&write.replace("%s", table), []).expect_err("no write");
            let Error::SqliteFailure(failure, Some(text)) = error else { panic!("{error:?}") };
            assert_eq!(
                (failure.code, text.as_str()),
                (
                    ErrorCode::ReadOnly,
                    format!("{table}: it takes INSERT only; its rows are a journal").as_str()
                ),
                "{write}"
            );
        }
    }
    assert_eq!(db.rows("SELECT piece FROM talon_restore"), ["1"]);
}

#[test]
fn the_hosts_own_date_is_the_hosts_own() {
    let (with, without) =
        (Db::memory(), Db { connection: rusqlite::Connection::open_in_memory().expect("memory") });
    let seven = "'+1 day', '+1 day', '+1 day', '+1 day', '+1 day', '+1 day', '+1 day'";
    for call in [
        format!("date('2026-01-01', {seven})"),
        format!("date(NULL, {seven})"),
        format!("date('talon', {seven})"),
        format!("date('talon', 1, 4096, {})", ["1"; 3].join(", ")),
        format!("date('talon', 1, 4096, {})", ["1"; 5].join(", ")),
        format!("date('nonsense', {seven})"),
        "date('2026-01-01')".to_owned(),
        "date()= date('now')".to_owned(),
        format!("date('talon', 9e999, x'00', {})", ["NULL"; 13].join(", ")),
        format!("date('talon', {})", ["NULL"; 31].join(", ")),
    ] {
        assert_eq!(
            with.try_rows(&format!("SELECT {call}")),
            without.try_rows(&format!("SELECT {call}")),
            "{call}"
        );
    }
}
