//! The tables that are looked at: their columns, their filters, what the audit finds and how it says so.

use rusqlite::config::DbConfig;
use talon_tests::{Db, GUARD_SALES, SALES, Shop};

const PURCHASES: &str = "
    CREATE TABLE purchase(id TEXT PRIMARY KEY, supplier TEXT);
    CREATE TABLE purchase_line(id INTEGER PRIMARY KEY, purchase TEXT REFERENCES purchase);";
const FILL: &str = "
    BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1), (2, 'B', 2), (3, 'C', 3);
    INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1), (11, 1, 2, 'y', 2), (20, 2, 1, 'z', 3), (30, 3, 1, 'w', 4); COMMIT;";

fn guarded() -> Db {
    let db = Db::memory();
    db.run(&format!("PRAGMA foreign_keys = OFF; {SALES} {PURCHASES} {GUARD_SALES} SELECT talon_guard('purchase', 'purchase', 'purchase_line'); {FILL}"));
    db.run("BEGIN; INSERT INTO purchase VALUES ('1', 'S'), ('P2', 'T'); INSERT INTO purchase_line VALUES (1, '1'), (2, 'P2'); COMMIT");
    db
}

/// The columns that `SELECT *` shows of a table.
fn columns(db: &Db, table: &str) -> String {
    let statement = db.connection.prepare(&format!("SELECT * FROM {table}")).expect("a query");
    let names: Vec<&str> = statement.column_names().collect();
    names.join(" ")
}

/// Changes that no trigger sees.
fn unseen(db: &Db, script: &str) {
    let set = |enabled| {
        db.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, enabled)
            .expect("a setting")
    };
    set(false);
    db.run(script);
    set(true);
}

#[test]
fn a_snapshot_says_who_when_why_and_how_much() {
    let db = Db::memory();
    db.run(&format!("{SALES} {GUARD_SALES}"));
    assert_eq!(
        columns(&db, "talon_snapshots"),
        "id kind piece version taken_at day reason station user lines bytes hash"
    );
    db.run(&format!("SELECT talon_station('till 1', 'zoé'); {FILL} SELECT talon_station('till 2'); UPDATE sale_line SET label = 'q' WHERE id = 30"));
    assert_eq!(
        db.rows("SELECT id, kind, piece, version, reason, station, user, lines FROM talon_snapshots ORDER BY id"),
        ["1|sale|1|1|create|till 1|zoé|2", "2|sale|2|1|create|till 1|zoé|1", "3|sale|3|1|create|till 1|zoé|1", "4|sale|3|2|edit|till 2|NULL|1"]
    );
    assert_eq!(
        db.one("SELECT count(*) FROM talon_snapshots WHERE length(hash) = 64 AND hash = lower(hash) AND day = date('now', 'localtime')
           AND abs(julianday(taken_at) - julianday('now')) < 1e-3 AND bytes > 40"),
        "4"
    );
}

#[test]
fn a_lost_piece_is_shown_by_what_people_know_it_by() {
    let db = Db::memory();
    db.run(
        r#"CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT);
           CREATE TABLE sale(id INTEGER PRIMARY KEY, number TEXT, customer INTEGER REFERENCES customer, day TEXT, kind TEXT, state INTEGER);
           CREATE TABLE line(id INTEGER PRIMARY KEY, sale INTEGER REFERENCES sale);
           SELECT talon_guard('sale', '{"header": {"table": "sale", "labels": {"date": "substr(h.day, 1, 10)",
             "party": "(SELECT c.name FROM customer AS c WHERE c.id = h.customer)", "type": "h.kind", "validated": "h.state > 1"}},
             "lines": {"table": "line"}}');
           INSERT INTO customer VALUES (7, 'Ada');
           BEGIN; INSERT INTO sale VALUES (1, 'F-1', 7, '2026-11-21T10:00', 'F', 2), (2, NULL, NULL, NULL, NULL, NULL);
           INSERT INTO line VALUES (1, 1), (2, 1), (3, 2); COMMIT; DELETE FROM line"#,
    );
    assert_eq!(
        columns(&db, "talon_lost"),
        "kind piece number date party type validated lost_at saved_at saved_lines restorable"
    );
    assert_eq!(
        db.rows("SELECT kind, piece, number, date, party, type, validated, saved_lines, restorable FROM talon_lost"),
        ["sale|1|F-1|2026-11-21|Ada|F|1|2|1", "sale|2|NULL|NULL|NULL|NULL|NULL|1|1"]
    );
    assert_eq!(db.one("SELECT count(*) FROM talon_lost WHERE lost_at >= saved_at AND abs(julianday(lost_at) - julianday('now')) < 1e-3"), "2");
}

#[test]
fn what_is_deleted_dismissed_or_never_had_lines_is_not_lost() {
    let db = guarded();
    db.run("INSERT INTO sale_piece VALUES (4, 'D', 0); BEGIN; DELETE FROM sale_line WHERE sale_id = 2; DELETE FROM sale_piece WHERE id = 2; COMMIT");
    db.run("DELETE FROM sale_line");
    assert_eq!(db.rows("SELECT piece FROM talon_lost WHERE kind = 'sale'"), ["1", "3"]);
    assert_eq!(db.one("SELECT talon_dismiss('sale', '3')"), "sale 3 is accepted without lines");
    assert_eq!(db.rows("SELECT piece FROM talon_lost"), ["1"]);
    assert_eq!(db.rows("SELECT piece, finding FROM talon_audit"), ["1|lost"]);
    // Once it has lines again, losing them is a loss again.
    db.run("INSERT INTO sale_line VALUES (31, 3, 1, 'new', 1); DELETE FROM sale_line WHERE sale_id = 3");
    assert_eq!(db.rows("SELECT piece, saved_lines FROM talon_lost"), ["1|2", "3|1"]);
}

#[test]
fn every_finding_of_the_audit_says_what_happened() {
    let db = guarded();
    db.run("INSERT INTO sale_piece VALUES (4, 'D', 4), (5, 'E', 5); DELETE FROM sale_piece WHERE id = 5");
    assert_eq!(db.rows("SELECT * FROM talon_audit"), [""; 0]);
    assert_eq!(columns(&db, "talon_audit"), "kind piece finding detail");
    db.run("DELETE FROM sale_line WHERE sale_id = 2");
    unseen(
        &db,
        "DELETE FROM sale_line WHERE id = 10; INSERT INTO sale_line VALUES (12, 1, 3, 'new', 1);
         UPDATE sale_line SET label = 'a label that is longer than anybody would want to read here', quantity = NULL WHERE id = 30;
         UPDATE sale_piece SET total = 99 WHERE id = 3;
         INSERT INTO sale_piece VALUES (6, 'F', 6);
         INSERT INTO sale_line VALUES (90, 900, 1, 'nobody''s', 1), (91, 900, 2, 'nobody''s', 1);
         DELETE FROM purchase WHERE id = 'P2'",
    );
    assert_eq!(
        db.rows("SELECT kind, piece, finding, detail FROM talon_audit"),
        [
            "sale|2|lost|its last image has 1 line",
            "sale|1|partial|lines added: 12; lines missing: 10",
            "sale|3|drifted|header 3: total was 3.0, is 99.0; lines 30: label was w, is a label that is longer than anybody woul…; lines 30: quantity was 4.0, is NULL",
            "sale|900|orphaned|2 lines whose header is gone",
            "sale|6|unprotected|it has no snapshot",
            "purchase|P2|vanished|its header is gone, and no DELETE was seen",
            "purchase|P2|orphaned|1 line whose header is gone",
        ]
    );
    for finding in [
        "lost",
        "partial",
        "drifted",
        "vanished",
        "orphaned",
        "unguarded",
        "unprotected",
        "LOST",
        "nothing",
    ] {
        let all = db.rows("SELECT finding, piece FROM talon_audit");
        let expected: Vec<String> =
            all.into_iter().filter(|row| row.starts_with(&format!("{finding}|"))).collect();
        assert_eq!(
            db.rows(&format!("SELECT finding, piece FROM talon_audit WHERE finding = '{finding}'")),
            expected,
            "{finding}"
        );
    }
}

#[test]
fn a_header_that_was_replaced_away_has_vanished() {
    let db = guarded();
    db.run("INSERT OR REPLACE INTO sale_piece VALUES (9, 'A', 9)");
    assert_eq!(
        db.rows("SELECT piece, finding, detail FROM talon_audit"),
        [
            "1|vanished|its header is gone, and no DELETE was seen",
            "1|orphaned|2 lines whose header is gone"
        ]
    );
}

#[test]
fn what_was_changed_without_talon_is_listed_until_it_is_purged() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(&format!("{GUARD_SALES} {FILL}"));
    shop.bare().run(
        "UPDATE sale_line SET label = 'bare' WHERE id = 10; DELETE FROM sale_line WHERE sale_id = 2;
         BEGIN; DELETE FROM sale_line WHERE sale_id = 3; DELETE FROM sale_piece WHERE id = 3; COMMIT;
         BEGIN; INSERT INTO sale_piece VALUES (4, 'D', 4); INSERT INTO sale_line VALUES (40, 4, 1, 'd', 1); COMMIT",
    );
    assert_eq!(
        db.rows("SELECT piece, finding, substr(detail, 1, instr(detail, ', seen 20') - 1) FROM talon_audit WHERE finding = 'unguarded' ORDER BY piece"),
        [
            "1|unguarded|changed on a connection without Talon",
            "2|unguarded|lost its lines on a connection without Talon",
            "3|unguarded|deleted on a connection without Talon",
            "4|unguarded|changed on a connection without Talon",
        ]
    );
    assert_eq!(db.rows("SELECT piece, lost_at IS NOT NULL FROM talon_lost"), ["2|1"]);
    assert_eq!(db.one("SELECT marks FROM talon_guards"), "0");
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 2)");
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-12-31')");
    assert_eq!(
        db.rows("SELECT piece, finding FROM talon_audit"),
        ["1|unprotected", "2|unprotected", "4|unprotected"]
    );
}

#[test]
fn a_new_column_or_part_is_no_change_behind_anybodys_back() {
    for change in [
        "ALTER TABLE sale_line ADD COLUMN unit TEXT DEFAULT 'pc'",
        "ALTER TABLE sale_line DROP COLUMN label",
        r#"CREATE TABLE tax(id INTEGER PRIMARY KEY, sale INTEGER REFERENCES sale_piece);
           SELECT talon_guard('sale', '{"header": {"table": "sale_piece"}, "lines": {"table": "sale_line"}, "details": [{"table": "tax"}]}')"#,
    ] {
        let shop = Shop::with(SALES);
        shop.open().run(&format!("{GUARD_SALES} {FILL}"));
        shop.open().run(change);
        let db = shop.open();
        assert_eq!(db.rows("SELECT * FROM talon_audit"), [""; 0], "{change}");
        db.run("UPDATE sale_line SET quantity = 7 WHERE id = 20");
        assert_eq!(db.rows("SELECT * FROM talon_audit"), [""; 0], "{change}");
        assert_eq!(
            db.rows("SELECT reason FROM talon_snapshots WHERE id > 3"),
            ["before", "edit"],
            "{change}"
        );
    }
}

#[test]
fn a_damaged_image_is_named() {
    let db = guarded();
    db.run("UPDATE talon_snapshot SET payload = replace(payload, '\"x\"', '\"X\"') WHERE id = 1; UPDATE sale_line SET label = 'unlike' WHERE id < 0");
    unseen(&db, "UPDATE sale_line SET quantity = 8 WHERE id = 10");
    assert_eq!(
        db.rows("SELECT piece, finding, detail FROM talon_audit"),
        ["1|drifted|its last image, snapshot 1, is damaged: its hash does not match"]
    );
    assert_eq!(
        db.error("SELECT * FROM talon_image(1)"),
        "talon_image: snapshot 1 cannot be read: its hash does not match"
    );
    db.run("DELETE FROM sale_line WHERE sale_id = 2; UPDATE talon_snapshot SET payload = '' WHERE id = 2");
    assert_eq!(db.rows("SELECT piece, restorable FROM talon_lost"), ["2|0"]);
}

/// Conditions over the columns that are pushed down, and over some that are not.
const CONDITIONS: [&str; 34] = [
    "kind = 'sale'",
    "kind IS 'sale'",
    "'sale' = kind",
    "kind = 'nothing'",
    "kind = NULL",
    "kind IS NULL",
    "kind = 'SALE'",
    "kind <> 'sale'",
    "kind = 'SALE' COLLATE NOCASE",
    "kind IN ('sale', 'purchase')",
    "kind IN ('purchase')",
    "kind IN ()",
    "kind LIKE 'SA%'",
    "kind > 'q'",
    "piece = 1",
    "piece IN (1, 2)",
    "piece IS 1",
    "piece IS NULL",
    "piece = 'P2'",
    "piece = 1.0",
    "piece BETWEEN 1 AND 2",
    "piece = 99",
    "kind = 'sale' AND piece = 1",
    "kind = 'purchase' AND piece = 'P2'",
    "kind = 'sale' AND piece IN (1, 3)",
    "kind = 'sale' OR piece = 'P2'",
    "kind = 'sale' AND kind = 'purchase'",
    "piece = 1 AND piece = 2",
    "NOT (kind = 'sale' AND piece = 1)",
    "kind IN (SELECT 'sale') AND piece > 1",
    "kind = (SELECT max(kind) FROM talon_guards)",
    "kind IN ('sale', 'purchase') AND piece IN (2, 'P2')",
    "kind = 'sale' AND 1 = 0",
    "kind || '' = 'sale' AND piece = 1",
];

#[test]
fn filters_give_what_they_would_give_on_an_ordinary_table() {
    let db = guarded();
    db.run("UPDATE sale_line SET label = 'e' WHERE id = 20; DELETE FROM sale_line WHERE sale_id < 3; DELETE FROM purchase_line");
    db.run("INSERT INTO talon_restore(kind, piece, dry_run) SELECT kind, piece, 1 FROM talon_lost");
    let more: [(&str, &[&str]); 4] = [
        (
            "talon_snapshots",
            &[
                "id = 2",
                "id IN (1, 3)",
                "id = 2 AND kind = 'sale'",
                "id = 2 AND piece = 2",
                "id = 4 AND kind = 'sale' AND piece = 1",
                "id = '2'",
                "id = 2.5",
                "id IS NULL",
                "id > 2 AND kind = 'sale'",
                "id = 1 OR id = 2 OR kind = 'purchase'",
                "lines = 2 AND kind = 'sale'",
                "reason = 'edit'",
            ],
        ),
        ("talon_lost", &["number = 'A'", "kind = 'sale' AND number = 'A'", "saved_lines = 2"]),
        (
            "talon_audit",
            &[
                "finding = 'lost'",
                "finding = 'LOST' COLLATE NOCASE",
                "finding IN ('lost', 'partial')",
                "finding = 'lost' AND kind = 'sale'",
                "finding = 'lost' AND piece = 2",
                "finding = 'partial' OR piece = 'P2'",
                "finding <> 'lost'",
                "finding IS NULL",
            ],
        ),
        (
            "talon_restore",
            &[
                "id = 1",
                "id IN (1, 2)",
                "id = 1 AND kind = 'sale' AND piece = 2",
                "dry_run",
                "snapshot = 1",
            ],
        ),
    ];
    for (table, conditions) in more {
        db.run(&format!("CREATE TEMP TABLE plain AS SELECT * FROM {table}"));
        assert!(db.one("SELECT count(*) > 2 FROM plain") == "1", "{table}");
        for condition in CONDITIONS.iter().chain(conditions) {
            let mut got = db.rows(&format!("SELECT * FROM {table} WHERE {condition}"));
            let mut expected = db.rows(&format!("SELECT * FROM plain WHERE {condition}"));
            got.sort();
            expected.sort();
            assert_eq!(got, expected, "{table} WHERE {condition}");
        }
        db.run("DROP TABLE plain");
    }
}

#[test]
fn tables_are_joined_as_ordinary_ones_are() {
    let db = guarded();
    db.run(
        "UPDATE sale_line SET label = 'e' WHERE id = 20; DELETE FROM sale_line WHERE sale_id < 3",
    );
    assert_eq!(
        db.rows("SELECT p.number, s.id FROM sale_piece AS p JOIN talon_snapshots AS s ON s.piece = p.id AND s.kind = 'sale' ORDER BY 1, 2"),
        ["A|1", "B|2", "B|6", "C|3"]
    );
    assert_eq!(
        db.rows("SELECT p.number, l.saved_lines FROM sale_piece AS p LEFT JOIN talon_lost AS l ON l.kind = 'sale' AND l.piece = p.id ORDER BY 1"),
        ["A|2", "B|1", "C|NULL"]
    );
    assert_eq!(db.rows("SELECT number FROM sale_piece WHERE EXISTS (SELECT 1 FROM talon_lost WHERE kind = 'sale' AND piece = sale_piece.id)"), ["A", "B"]);
    assert_eq!(
        db.rows("SELECT l.piece, i.part, i.position FROM talon_lost AS l JOIN talon_snapshots AS s USING (kind, piece) JOIN talon_image AS i ON i.snapshot = s.id
           WHERE l.piece = 1 ORDER BY 2, 3"),
        ["1|header|1", "1|lines|1", "1|lines|2"]
    );
    assert_eq!(
        db.rows(
            "SELECT a.id FROM talon_snapshots AS a JOIN talon_snapshots AS b ON b.id = a.id - 4"
        ),
        ["5", "6"]
    );
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshots AS a, talon_snapshots AS b"), "36");
    assert_eq!(db.rows("SELECT id FROM talon_snapshots ORDER BY id DESC LIMIT 2"), ["6", "5"]);
}

#[test]
fn a_person_may_write_a_key_as_text_where_the_kind_is_named() {
    let db = guarded();
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    assert_eq!(
        db.rows("SELECT id FROM talon_snapshots WHERE kind = 'sale' AND piece = '1'"),
        ["1"]
    );
    assert_eq!(db.rows("SELECT piece FROM talon_lost WHERE kind = 'sale' AND piece = '1'"), ["1"]);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', '1')");
    assert_eq!(db.one("SELECT piece, typeof(piece) FROM talon_restore"), "1|integer");
}
