//! Who may change what holds where a host writes: the statement fails; what was written without Talon is listed and not sent.

use talon_tests::tills::{DECLARE, SCHEMA, Tills};
use talon_tests::*;

const HELD_BACK: &str =
    "SELECT kind, origin, key, site, reason FROM talon_quarantined WHERE direction = 'out'";

/// As if central had everything, carried by a flow of that day.
fn acknowledge(db: &Db) {
    db.run(
        "INSERT INTO talon_flow(sender, receiver, incarnation, number, mode, answer, stamp, since, until, head, ready)
         SELECT m.value, s.id, 1, 1, 'changes', 'none', 0, 0, (SELECT max(seq) FROM talon_change), '{}', 1795190400000
         FROM talon_site AS s, talon_meta AS m WHERE s.code = 'ASOC' AND m.name = 'site';
         UPDATE talon_site SET acknowledged = (SELECT max(seq) FROM talon_change) WHERE code = 'ASOC'",
    );
}

/// As if a piece had been created at another site.
fn make_foreign(db: &Db, kind: &str, piece: i64, site: &str) {
    db.run(&format!(
        "UPDATE talon_piece SET origin = (SELECT id FROM talon_site WHERE code = '{site}')
         WHERE kind = (SELECT id FROM talon_kind WHERE kind = '{kind}') AND key = {piece}"
    ));
}

fn refused(db: &Db, statement: &str, text: &str) {
    let before = db.contents(&["customer", "article", "sale", "sale_line", "till_closing"]);
    assert_eq!(db.error(statement), text);
    assert_eq!(db.contents(&["customer", "article", "sale", "sale_line", "till_closing"]), before);
}

const SALE: &str = "BEGIN; INSERT INTO sale(id, number) VALUES (42, 'S42'); INSERT INTO sale_line(sale_id, quantity) VALUES (42, 1); COMMIT";

#[test]
fn a_piece_that_was_sent_is_no_longer_editable_at_its_site() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run(SALE);
    db.run("UPDATE sale SET number = 'S42a'");
    acknowledge(db);
    let text = "talon: sale 42 was sent to central on 2026-11-20 and is no longer editable at BSOC";
    for statement in [
        "UPDATE sale SET number = 'S42b'",
        "UPDATE sale_line SET quantity = 2",
        "INSERT INTO sale_line(sale_id, quantity) VALUES (42, 1)",
        "DELETE FROM sale_line",
        "DELETE FROM sale",
        "UPDATE sale SET id = 43",
        "INSERT INTO sale_line(sale_id) VALUES (42) ON CONFLICT DO NOTHING",
        "INSERT OR REPLACE INTO sale(id, number) VALUES (42, 'again')",
    ] {
        refused(db, &format!("PRAGMA foreign_keys = OFF; {statement}"), text);
    }
    // Unless central did not take it.
    db.run("INSERT INTO talon_held(site, kind, key, flow) SELECT s.id, p.kind, p.key, NULL FROM talon_site AS s, talon_piece AS p WHERE s.code = 'ASOC'");
    db.run("UPDATE sale SET number = 'corrected'");
    db.run("INSERT INTO sale(id) VALUES (43); UPDATE sale SET number = 'new' WHERE id = 43");
    assert_eq!(db.rows(HELD_BACK), [""; 0]);
}

#[test]
fn a_statement_that_leaves_a_sent_piece_alone_is_not_refused() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run(SALE);
    acknowledge(db);
    db.run("INSERT OR IGNORE INTO sale(id, number) VALUES (42, 'other')");
    db.run("INSERT INTO sale(id, number) VALUES (42, 'other') ON CONFLICT DO NOTHING");
    assert_eq!(db.one("SELECT number FROM sale"), "S42");
    assert!(db.error("INSERT INTO sale(id) VALUES (42)").contains("UNIQUE"));
    assert_eq!(db.one("SELECT count(*) FROM talon_change"), "1");
}

#[test]
fn an_article_is_changed_at_central_only() {
    let sites = Tills::new();
    sites.at('A').run(
        "INSERT INTO article(code) VALUES ('A'); UPDATE article SET price = 2; DELETE FROM article",
    );
    assert_eq!(sites.at('A').one("SELECT version FROM talon_stamps"), "3");
    let db = sites.at('B');
    let text = "talon: article 1 is central's and not editable at BSOC";
    refused(db, "INSERT INTO article(id, code) VALUES (1, 'A')", text);
    let bare = sites.shop('B').bare();
    bare.run("INSERT INTO article(id, code) VALUES (1, 'A')");
    refused(db, "UPDATE article SET price = 2", text);
    assert_eq!(db.error("UPDATE article SET price = 2"), text);
}

#[test]
fn a_closing_is_changed_where_it_was_opened_only() {
    let sites = Tills::new();
    for letter in ['A', 'B'] {
        let db = sites.at(letter);
        db.run(
            "INSERT INTO till_closing(id, till) VALUES (3, '1'); UPDATE till_closing SET total = 5",
        );
        make_foreign(db, "till_closing", 3, "CSOC");
        let text = format!(
            "talon: till_closing 3 was created at CSOC and is editable there only, not at {letter}SOC"
        );
        refused(db, "UPDATE till_closing SET total = 6", &text);
        refused(db, "DELETE FROM till_closing", &text);
    }
}

#[test]
fn a_piece_is_changed_where_it_was_created_or_at_central() {
    let sites = Tills::new();
    for letter in ['A', 'B'] {
        sites.at(letter).run(SALE);
        make_foreign(sites.at(letter), "sale", 42, "CSOC");
    }
    sites.at('A').run("UPDATE sale_line SET quantity = 2");
    refused(
        sites.at('B'),
        "UPDATE sale_line SET quantity = 2",
        "talon: sale 42 was created at CSOC and is editable there and at central, not at BSOC",
    );
}

#[test]
fn customers_are_changed_everywhere() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO customer(id, name) VALUES (1, 'Ada')");
    make_foreign(db, "customer", 1, "CSOC");
    acknowledge(db);
    db.run("UPDATE customer SET phone = '1'; DELETE FROM customer");
    assert_eq!(db.one("SELECT count(*) FROM talon_change"), "3");
}

#[test]
fn what_only_goes_up_is_read_at_central() {
    let guards = DECLARE.replace("\"sync\": \"till\"", "\"sync\": {\"direction\": \"up\"}");
    let sites = Tills::with(SCHEMA, &guards, 2);
    let db = sites.at('A');
    db.run("INSERT INTO till_closing(id) VALUES (3)");
    make_foreign(db, "till_closing", 3, "BSOC");
    refused(
        db,
        "UPDATE till_closing SET total = 1",
        "talon: till_closing 3 came up from BSOC and is only read at ASOC",
    );
}

#[test]
fn a_remote_creates_only_those_that_it_may() {
    let guards = DECLARE.replace(
        "\"sync\": \"piece\"",
        "\"sync\": {\"preset\": \"piece\", \"when\": \"h.number LIKE ''T%''\"}",
    );
    let sites = Tills::with(SCHEMA, &guards, 2);
    sites.at('A').run("INSERT INTO sale(id, number) VALUES (1, 'S1')");
    let db = sites.at('B');
    let text = "talon: sale 1 may not be created at BSOC: \"when\" is h.number LIKE 'T%'";
    refused(db, "INSERT INTO sale(id, number) VALUES (1, 'S1')", text);
    refused(db, "INSERT INTO sale(id, number) VALUES (1, NULL)", text);
    db.run("INSERT INTO sale(id, number) VALUES (1, 'T1'); UPDATE sale SET number = 'S1'");
    refused(db, "INSERT OR REPLACE INTO sale(id, number) VALUES (1, 'S1')", text);
    sites.shop('B').bare().run("INSERT INTO sale(id, number) VALUES (2, 'S2')");
    assert_eq!(db.one("SELECT talon_absorb()"), "1");
    assert_eq!(
        db.rows(HELD_BACK),
        ["sale|BSOC|2|BSOC|sale 2 may not be created at BSOC: \"when\" is h.number LIKE 'T%'"]
    );
    db.run("UPDATE sale SET number = 'T2' WHERE id = 2");
    assert_eq!(db.rows(HELD_BACK), [""; 0]);
    assert_eq!(db.rows("SELECT piece FROM talon_stamps"), ["1", "2"]);
}

#[test]
fn what_broke_a_rule_without_talon_is_listed_and_not_sent() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run(SALE);
    acknowledge(db);
    let changes = db.rows("SELECT seq, snapshot FROM talon_change");
    let bare = sites.shop('B').bare();
    bare.run("UPDATE sale_line SET quantity = 9; INSERT INTO article(id, code) VALUES (1, 'A')");
    let why = "sale 42 was sent to central on 2026-11-20 and is no longer editable at BSOC";
    assert_eq!(
        db.rows("SELECT kind, piece, finding, substr(detail, 1, instr(detail, ', seen') - 1) FROM talon_audit"),
        [
            "article|1|unguarded|changed on a connection without Talon; article 1 is central's and not editable at BSOC".to_owned(),
            format!("sale|42|unguarded|changed on a connection without Talon; {why}"),
        ]
    );
    assert_eq!(
        db.rows(HELD_BACK),
        [
            "article|ASOC|1|BSOC|article 1 is central's and not editable at BSOC".to_owned(),
            format!("sale|BSOC|42|BSOC|{why}")
        ]
    );
    assert_eq!(db.rows("SELECT seq, snapshot FROM talon_change"), changes);
    // That it waits makes it no more editable.
    db.run("SELECT talon_emit('ASOC', 'full')");
    assert_eq!(db.one("SELECT count(*) FROM talon_held"), "1");
    assert!(db.error("UPDATE sale_line SET quantity = 3").ends_with(why));
    bare.run("PRAGMA foreign_keys = OFF; DELETE FROM sale; DELETE FROM sale_line");
    assert_eq!(db.one("SELECT talon_absorb()"), "1");
    assert_eq!(db.one("SELECT tries FROM talon_quarantined WHERE kind = 'sale'"), "2");
    assert_eq!(db.rows("SELECT seq, snapshot FROM talon_change"), changes);
}

#[test]
fn a_sent_piece_that_a_replace_has_taken_away_is_not_deleted_elsewhere() {
    let schema = SCHEMA.replace("number TEXT,", "number TEXT UNIQUE,");
    let sites = Tills::with(&schema, DECLARE, 2);
    let db = sites.at('B');
    db.run(SALE);
    acknowledge(db);
    db.run("PRAGMA foreign_keys = OFF; INSERT OR REPLACE INTO sale(id, number) VALUES (50, 'S42')");
    assert_eq!(db.rows("SELECT piece FROM talon_audit WHERE finding = 'vanished'"), ["42"]);
    db.run("SELECT talon_dismiss('sale', 42)");
    assert_eq!(
        db.rows(HELD_BACK),
        [
            "sale|BSOC|42|BSOC|sale 42 was sent to central on 2026-11-20 and is no longer editable at BSOC"
        ]
    );
    assert_eq!(db.rows("SELECT piece, gone FROM talon_stamps"), ["42|0", "50|0"]);
}

#[test]
fn rules_hold_once_a_database_has_said_which_site_it_is() {
    let shop = Shop::with(SCHEMA);
    let db = shop.open();
    db.run("SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote')");
    db.run(DECLARE);
    db.run("INSERT INTO article(id, code) VALUES (1, 'A')");
    db.run("SELECT talon_origin('BSOC')");
    assert!(db.error("UPDATE article SET price = 1").contains("article 1 is central's"));
    // Articles that are there already are nobody's breach, and not told.
    assert_eq!(db.rows("SELECT * FROM talon_stamps"), [""; 0]);
    assert_eq!(db.rows(HELD_BACK), [""; 0]);
    let other = shop.open();
    assert!(other.error("DELETE FROM article").contains("article 1 is central's"));
}

#[test]
fn a_refused_write_leaves_the_transaction_as_it_was() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run(SALE);
    acknowledge(db);
    db.run("BEGIN; INSERT INTO customer(id, name) VALUES (1, 'Ada')");
    assert!(db.error("UPDATE sale SET number = 'x'").contains("no longer editable"));
    db.run("INSERT INTO sale(id) VALUES (43); COMMIT");
    assert_eq!(
        db.rows("SELECT kind, piece, version FROM talon_stamps"),
        ["customer|1|1", "sale|42|1", "sale|43|1"]
    );
    assert_eq!(db.findings(), [""; 0]);
}
