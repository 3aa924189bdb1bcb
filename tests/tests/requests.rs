//! What a caller got wrong is said in words.

use rusqlite::ErrorCode;
use talon_tests::{Db, GUARD_SALES, SALES};

fn guarded() -> Db {
    let db = Db::memory();
    db.run(&format!(
        "{SALES} {GUARD_SALES} BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1), (2, 'B', 2);
         INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1), (2, 2, 1, 'y', 1); COMMIT; DELETE FROM sale_line WHERE sale_id = 1"
    ));
    db
}

#[test]
fn functions_say_what_they_were_given() {
    let db = guarded();
    let cases = [
        ("talon_guard(NULL, 'a', 'b')", "talon_guard: the kind must be a text, not NULL"),
        ("talon_guard('', 'a', 'b')", "talon_guard: the kind is empty"),
        (
            "talon_guard('  ', 'sale_piece', 'sale_line')",
            "talon_guard: \"  \" is no name for a kind: give it a word such as 'sale'",
        ),
        (
            "talon_guard('a' || char(10), 'sale_piece', 'sale_line')",
            "talon_guard: \"a\\n\" is no name for a kind: give it a word such as 'sale'",
        ),
        (
            "talon_guard('a' || char(0), 'sale_piece', 'sale_line')",
            "talon_guard: the kind contains a NUL character",
        ),
        (
            "talon_guard(7, 'sale_piece', 'sale_line')",
            "talon_guard: the kind must be a text, not 7",
        ),
        ("talon_guard(x'ff', 'a', 'b')", "talon_guard: the kind must be a text, not x'ff'"),
        (
            "talon_guard('k', NULL, 'b')",
            "talon_guard: the header table, or the definition, must be a text, not NULL",
        ),
        (
            "talon_guard('k', 'sale_piece', NULL)",
            "talon_guard: the lines table must be a text, not NULL",
        ),
        (
            "talon_guard('k', '{}', 'main', 'x')",
            "talon_guard: a definition in JSON is followed by the schema only",
        ),
        (
            "talon_guard('k', 'sale_piece', 'sale_line', 'nowhere')",
            "talon_guard: no database \"nowhere\" is attached to this connection",
        ),
        (
            "talon_guard('k', 'sale_piece', 'sale_line', 1.5)",
            "talon_guard: the schema must be a text, not 1.5",
        ),
        ("talon_unguard('invoice')", "talon_unguard: \"invoice\" is not guarded; guarded: sale"),
        ("talon_baseline('invoice')", "talon_baseline: \"invoice\" is not guarded; guarded: sale"),
        (
            "talon_baseline(zeroblob(100))",
            "talon_baseline: the kind must be a text, not x'0000000000000000000000000000000000000000000000000000000000…",
        ),
        ("talon_station(NULL)", "talon_station: the station must be a text, not NULL"),
        ("talon_station('till', 5)", "talon_station: the user must be a text, not 5"),
        (
            "talon_absorb('nowhere')",
            "talon_absorb: no database \"nowhere\" is attached to this connection",
        ),
        ("talon_dismiss('sale', NULL)", "talon_dismiss: the piece is NULL"),
        ("talon_dismiss('sale', 99)", "talon_dismiss: there is no sale 99"),
        ("talon_dismiss('sale', 2)", "talon_dismiss: sale 2 has 1 line, nothing to recover"),
        ("talon_row(1)", "talon: talon_row is called by Talon only"),
    ];
    for (call, text) in cases {
        assert_eq!(db.error(&format!("SELECT {call}")), text, "{call}");
        let error = db
            .connection
            .query_row(&format!("SELECT {call}"), [], |_| Ok(()))
            .expect_err("an error");
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::Unknown), "SQLITE_ERROR of {call}");
    }
}

#[test]
fn restores_say_what_is_wrong_with_the_request() {
    let db = guarded();
    let cases = [
        ("(kind, piece) VALUES (NULL, 1)", "kind must be a text, not NULL"),
        ("(piece) VALUES (1)", "kind must be a text, not NULL"),
        ("(kind) VALUES ('sale')", "piece is NULL: name the piece to restore"),
        ("(kind, piece) VALUES ('invoice', 1)", "\"invoice\" is not guarded; guarded: sale"),
        ("(kind, piece) VALUES ('sale', 99)", "there is no sale 99"),
        ("(kind, piece) VALUES ('sale', x'00')", "there is no sale x'00'"),
        ("(kind, piece) VALUES ('sale', 2)", "sale 2 has 1 line, nothing to recover"),
        ("(kind, piece, snapshot) VALUES ('sale', 1, 99)", "sale 1 has no snapshot 99; it has: 1"),
        ("(kind, piece, snapshot) VALUES ('sale', 1, 2)", "sale 1 has no snapshot 2; it has: 1"),
        (
            "(kind, piece, snapshot) VALUES ('sale', 1, 'x')",
            "snapshot is no snapshot's id: x; give an integer of talon_snapshots.id",
        ),
        ("(kind, piece, dry_run) VALUES ('sale', 1, 2)", "dry_run is 0 or 1, not 2"),
        (
            "(kind, piece, outcome) VALUES ('sale', 1, 'restored')",
            "INSERT takes kind, piece, snapshot and dry_run; the other columns are the journal's",
        ),
        (
            "(kind, piece, schema) VALUES ('sale', 1, 'nowhere')",
            "no database \"nowhere\" is attached to this connection",
        ),
    ];
    for (insert, text) in cases {
        assert_eq!(
            db.error(&format!("INSERT INTO talon_restore{insert}")),
            format!("talon_restore: {text}")
        );
    }
    assert_eq!(db.rows("SELECT * FROM talon_restore"), [""; 0]);
    db.run("DELETE FROM sale_line; DELETE FROM sale_piece WHERE id = 2");
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 2)"),
        "talon_restore: sale 2 was deleted; to bring it back all the same, name one of its snapshots"
    );
    db.run("INSERT INTO sale_piece VALUES (3, 'C', 3)");
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 3)"),
        "talon_restore: sale 3 has no snapshot with lines"
    );
}

#[test]
fn a_database_without_guards_says_how_to_begin() {
    let db = Db::memory();
    let begin =
        "nothing is guarded in \"main\" yet: SELECT talon_guard(kind, header table, lines table)";
    for (call, speaker) in [
        ("SELECT talon_unguard('sale')", "talon_unguard"),
        ("SELECT talon_baseline('sale')", "talon_baseline"),
        ("SELECT talon_absorb()", "talon_absorb"),
        ("SELECT talon_dismiss('sale', 1)", "talon_dismiss"),
        ("SELECT * FROM talon_image(1)", "talon_image"),
        ("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)", "talon_restore"),
        ("INSERT INTO talon_purge(before) VALUES ('2026-11-21')", "talon_purge"),
    ] {
        assert_eq!(db.error(call), format!("{speaker}: {begin}"));
    }
    for table in [
        "talon_guards",
        "talon_snapshots",
        "talon_lost",
        "talon_audit",
        "talon_restore",
        "talon_purge",
    ] {
        assert_eq!(db.rows(&format!("SELECT * FROM {table}")), [""; 0]);
    }
    assert_eq!(db.rows("SELECT name FROM sqlite_schema"), [""; 0]);
}

#[test]
fn purges_say_what_is_wrong_with_the_request() {
    let db = guarded();
    for (day, shown) in [
        ("'yesterday'", "yesterday"),
        ("'2026-02-30'", "2026-02-30"),
        ("'2026-2-3'", "2026-2-3"),
        ("'2026-11-21 10:00'", "2026-11-21 10:00"),
    ] {
        assert_eq!(
            db.error(&format!("INSERT INTO talon_purge(before) VALUES ({day})")),
            format!("talon_purge: before is no day: {shown:?}; give one such as '2026-11-21'")
        );
    }
    let cases = [
        ("(before) VALUES (NULL)", "before must be a text, not NULL"),
        ("(before) VALUES (20261121)", "before must be a text, not 20261121"),
        ("(before, keep_last) VALUES ('2026-11-21', 'yes')", "keep_last is 0 or 1, not yes"),
        (
            "(before, purged) VALUES ('2026-11-21', 1)",
            "INSERT takes before and keep_last; the other columns are the journal's",
        ),
    ];
    for (insert, text) in cases {
        assert_eq!(
            db.error(&format!("INSERT INTO talon_purge{insert}")),
            format!("talon_purge: {text}")
        );
    }
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshots"), "2");
}
