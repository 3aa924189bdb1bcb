//! Guards are declared, replaced, taken away, looked at.

use talon_tests::{GUARD_SALES, MARKS, SALES, Shop};

const SCHEMA: &str = "
    CREATE TABLE sale(id INTEGER PRIMARY KEY, number TEXT);
    CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale INTEGER REFERENCES sale, origin INTEGER REFERENCES sale, what);
    CREATE TABLE note(id INTEGER PRIMARY KEY, sale_line INTEGER REFERENCES sale_line, text);
    CREATE TABLE alone(id INTEGER PRIMARY KEY, sale INTEGER, what);
";

/// A definition with this header, these lines, and more.
fn definition(header: &str, lines: &str, more: &str) -> String {
    format!(r#"{{"header": {{{header}}}, "lines": {{{lines}}}{more}}}"#).replace('\'', "''")
}

#[test]
fn a_guard_that_is_replaced_keeps_its_snapshots() {
    let shop = Shop::with(SCHEMA);
    let db = shop.open();
    let line = r#""table": "sale_line", "piece": "sale""#;
    db.run(&format!(
        "SELECT talon_guard('sale', '{}')",
        definition(r#""table": "sale""#, line, "")
    ));
    db.run("BEGIN; INSERT INTO sale(id, number) VALUES (1, 'A'); INSERT INTO sale_line(id, sale) VALUES (1, 1), (2, 1); COMMIT");
    let snapshots = db.rows("SELECT * FROM talon_snapshots");
    let more = r#", "details": [{"table": "note", "of": "lines", "name": "notes"}]"#;
    assert_eq!(
        db.one(&format!(
            "SELECT talon_guard('sale', '{}')",
            definition(r#""table": "sale""#, line, more)
        )),
        "sale is guarded: header sale (key id); lines sale_line (sale -> header, key id); notes note (sale_line -> lines, key id)"
    );
    assert_eq!(db.rows("SELECT * FROM talon_snapshots"), snapshots);
    db.run("INSERT INTO note(id, sale_line, text) VALUES (1, 2, 'n')");
    assert_eq!(
        db.rows("SELECT part, row FROM talon_image(3) WHERE part = 'notes'"),
        [r#"notes|{"id":1,"sale_line":2,"text":"n"}"#]
    );
    db.lose_and_recover(
        &["sale", "sale_line", "note"],
        "BEGIN; DELETE FROM note; DELETE FROM sale_line; COMMIT",
        &["sale|1|2"],
    );
    // A definition that is refused leaves the one there is at work.
    db.error("SELECT talon_guard('sale', 'sale', 'alone')");
    db.run("UPDATE note SET text = 'm'");
    assert_eq!(
        db.one(
            "SELECT reason FROM talon_snapshots WHERE id = (SELECT max(id) FROM talon_snapshots)"
        ),
        "edit"
    );
}

#[test]
fn a_kind_that_was_unguarded_keeps_its_snapshots_and_finds_what_changed_meanwhile() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(&format!(
        "{GUARD_SALES} BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1), (2, 'B', 2);
         INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1), (2, 2, 1, 'y', 1); COMMIT"
    ));
    assert_eq!(
        db.one("SELECT talon_unguard('sale')"),
        "sale is no longer guarded; its snapshots stay"
    );
    assert_eq!(db.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'"), [""; 0]);
    assert_eq!(db.rows("SELECT kind FROM talon_guards"), [""; 0]);
    assert_eq!(db.rows("SELECT kind, piece FROM talon_snapshots"), ["sale|1", "sale|2"]);
    assert_eq!(
        db.error("SELECT talon_unguard('sale')"),
        r#"talon_unguard: "sale" is not guarded; guarded: nothing"#
    );
    assert_eq!(
        db.error("SELECT talon_baseline('sale')"),
        r#"talon_baseline: "sale" is not guarded; guarded: nothing"#
    );
    db.run("DELETE FROM sale_line WHERE sale_id = 1; UPDATE sale_line SET label = 'changed' WHERE sale_id = 2");
    db.run(GUARD_SALES);
    assert_eq!(db.rows("SELECT kind, piece FROM talon_lost"), ["sale|1"]);
    assert_eq!(
        db.rows("SELECT piece, finding, detail FROM talon_audit"),
        ["1|lost|its last image has 1 line", "2|drifted|lines 2: label was y, is changed"]
    );
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
    assert_eq!(db.one("SELECT label FROM sale_line WHERE sale_id = 1"), "x");
}

#[test]
fn kinds_are_unguarded_one_after_the_other_right_after_they_were_guarded() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(
        "CREATE TABLE ticket(id TEXT PRIMARY KEY, number TEXT);
         CREATE TABLE ticket_line(id TEXT PRIMARY KEY, ticket TEXT REFERENCES ticket(id));",
    );
    db.run(GUARD_SALES);
    assert_eq!(
        db.one("SELECT talon_guard('ticket', 'ticket', 'ticket_line')"),
        "ticket is guarded: header ticket (key id); lines ticket_line (ticket -> header, key id)"
    );
    assert_eq!(
        db.one("SELECT talon_unguard('sale')"),
        "sale is no longer guarded; its snapshots stay"
    );
    assert_eq!(
        db.one("SELECT talon_unguard('ticket')"),
        "ticket is no longer guarded; its snapshots stay"
    );
    assert_eq!(db.rows("SELECT kind FROM talon_guards"), [""; 0]);
    assert_eq!(db.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'"), [""; 0]);
}

#[test]
fn the_table_of_guards_says_what_there_is() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    assert_eq!(db.rows("SELECT * FROM talon_guards"), [""; 0]);
    db.run(&format!(
        "DROP INDEX sale_line_sale;
         {GUARD_SALES} BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1), (2, 'B', 2);
         INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1), (2, 2, 1, 'y', 1); COMMIT"
    ));
    assert_eq!(
        db.one("SELECT kind, header, lines, details, pieces, snapshots, bytes > 50, triggers, marks, suspect_since, definition FROM talon_guards"),
        r#"sale|sale_piece|sale_line|NULL|2|2|1|whole|0|NULL|{"header":{"table":"sale_piece","labels":{}},"lines":{"table":"sale_line"},"unloaded":"mark"}"#
    );
    let advice = db.one("SELECT advice FROM talon_guards");
    assert!(
        advice.contains("CREATE INDEX")
            && advice.contains("sale_line")
            && advice.contains("sale_id"),
        "{advice}"
    );
    db.run(&advice[advice.find("CREATE INDEX").unwrap_or(0)..]);
    assert_eq!(db.one("SELECT advice FROM talon_guards"), "NULL");
}

#[test]
fn triggers_that_are_gone_are_made_again_and_the_time_between_is_noted() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(&format!(
        "{GUARD_SALES} BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1); COMMIT"
    ));
    let triggers = db.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY 1");
    db.run("DROP TRIGGER talon_1_1_updating; UPDATE sale_line SET label = 'unseen'");
    assert_eq!(db.one("SELECT triggers, suspect_since IS NOT NULL FROM talon_guards"), "whole|1");
    assert_eq!(
        db.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY 1"),
        triggers
    );
    assert_eq!(
        db.rows("SELECT finding, detail FROM talon_audit"),
        ["drifted|lines 1: label was x, is unseen"]
    );
    assert_eq!(db.one("SELECT talon_absorb()"), "1");
    assert_eq!(db.one("SELECT suspect_since FROM talon_guards"), "NULL");
    assert_eq!(db.rows("SELECT lines, reason FROM talon_snapshots"), ["1|create", "1|unguarded"]);
}

#[test]
fn a_guard_whose_table_is_gone_says_so_and_the_others_go_on() {
    let shop = Shop::with(&format!(
        "{SALES} CREATE TABLE other(id INTEGER PRIMARY KEY); CREATE TABLE other_line(id INTEGER PRIMARY KEY, other INTEGER REFERENCES other)"
    ));
    let db = shop.open();
    db.run(&format!(
        "{GUARD_SALES} SELECT talon_guard('other', 'other', 'other_line');
         BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1);
         INSERT INTO other VALUES (1); INSERT INTO other_line VALUES (1, 1); COMMIT;
         DROP TABLE sale_line"
    ));
    let triggers = db.one("SELECT triggers FROM talon_guards WHERE kind = 'sale'");
    assert!(triggers.contains(r#"no table "sale_line""#), "{triggers}");
    db.run("DELETE FROM other_line");
    assert_eq!(db.rows("SELECT kind, piece FROM talon_lost"), ["other|1"]);
    let error = db.error("SELECT * FROM talon_lost WHERE kind = 'sale'");
    assert!(error.starts_with(r#"talon_lost: sale: no table "sale_line" in "main""#), "{error}");
    assert_eq!(
        db.rows("SELECT kind, piece, finding FROM talon_audit"),
        ["sale|NULL|unprotected", "other|1|lost"]
    );
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost; UPDATE sale_piece SET total = 2");
    let error = db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
    assert!(error.starts_with(r#"talon_restore: sale: no table "sale_line" in "main""#), "{error}");
    db.run("SELECT talon_unguard('sale')");
    assert_eq!(db.rows("SELECT kind FROM talon_guards"), ["other"]);
}

#[test]
fn a_guard_may_refuse_writes_without_talon() {
    let shop = Shop::with(SALES);
    shop.open().run(
        r#"SELECT talon_guard('sale', '{"header": {"table": "sale_piece"}, "lines": {"table": "sale_line"}, "unloaded": "refuse"}');
           INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1)"#,
    );
    let bare = shop.bare();
    let writes = [
        ("INSERT INTO sale_piece VALUES (2, 'B', 1)", "sale_piece"),
        ("UPDATE sale_piece SET total = 2", "sale_piece"),
        ("DELETE FROM sale_line", "sale_line"),
        ("INSERT OR REPLACE INTO sale_line VALUES (1, 1, 1, 'y', 1)", "sale_line"),
        ("INSERT OR IGNORE INTO sale_line VALUES (9, 1, 1, 'y', 1)", "sale_line"),
    ];
    for (write, table) in writes {
        assert_eq!(
            bare.error(write),
            format!("talon: sale is guarded, load libtalon to write to {table}")
        );
    }
    assert_eq!(bare.rows("SELECT label FROM sale_line"), ["x"]);
    let db = shop.open();
    db.run("UPDATE sale_line SET label = 'z'");
    assert_eq!(db.rows("SELECT reason FROM talon_snapshots"), ["create", "edit", "edit"]);
    assert_eq!(db.one(MARKS), "0");
}

#[test]
fn a_hundred_kinds_stand_side_by_side() {
    let shop = Shop::new();
    let db = shop.open();
    db.run("BEGIN");
    for kind in 0..100 {
        db.run(&format!(
            "CREATE TABLE h{kind}(id INTEGER PRIMARY KEY); CREATE TABLE l{kind}(id INTEGER PRIMARY KEY, h INTEGER REFERENCES h{kind});
             SELECT talon_guard('kind {kind}', 'h{kind}', 'l{kind}')"
        ));
    }
    db.run("COMMIT; BEGIN");
    for kind in 0..100 {
        db.run(&format!("INSERT INTO h{kind} VALUES (1); INSERT INTO l{kind} VALUES (1, 1)"));
    }
    db.run("COMMIT; DELETE FROM l42");
    assert_eq!(
        db.one("SELECT count(*), sum(snapshots), sum(triggers = 'whole') FROM talon_guards"),
        "100|100|100"
    );
    assert_eq!(db.rows("SELECT kind, piece FROM talon_lost"), ["kind 42|1"]);
}

#[test]
fn a_new_guard_does_not_hide_that_anothers_triggers_are_gone() {
    let (shop, db) = Shop::of_sales();
    db.run(
        "CREATE TABLE other(id INTEGER PRIMARY KEY); CREATE TABLE other_line(id INTEGER PRIMARY KEY, other_id REFERENCES other)",
    );
    drop(db);
    let bare = shop.bare();
    let triggers =
        bare.rows("SELECT 'DROP TRIGGER ' || name FROM sqlite_schema WHERE type = 'trigger'");
    bare.run(&triggers.join(";"));
    bare.run("UPDATE sale_line SET label = 'unseen' WHERE id = 10");
    let db = shop.open();
    db.run("SELECT talon_guard('other', 'other', 'other_line')");
    db.run("UPDATE sale_line SET label = 'seen' WHERE id = 12");
    assert_eq!(
        db.rows("SELECT kind, triggers, suspect_since IS NULL FROM talon_guards ORDER BY kind"),
        ["other|whole|1", "sale|whole|0"]
    );
    assert_eq!(db.snapshots("2"), ["create|1", "edit|1"]);
    db.run("SELECT talon_absorb()");
    assert_eq!(db.findings(), ["sale|1|unguarded"]);
}
