//! What cannot be applied is set aside alone, with its reason, and applied when its cause is gone.

use talon_tests::tills::{DECLARE, NONE, SCHEMA, SET_ASIDE, Tills};

#[test]
fn a_broken_reference_is_named_and_waits_for_what_it_refers_to() {
    let sites = Tills::new();
    let b = sites.at('B');
    // The article is of the till's own making, which goes to nobody.
    sites.shop('B').bare().run("INSERT INTO article VALUES (5, 'x', 'own', 1)");
    b.run(
        "BEGIN; INSERT INTO sale VALUES (1, 'B1', NULL, 1); INSERT INTO sale_line VALUES (1, 1, 5, 1, 1, NULL); COMMIT;
         BEGIN; INSERT INTO sale VALUES (2, 'B2', NULL, 1); INSERT INTO sale_line VALUES (2, 2, NULL, 1, 1, NULL); COMMIT",
    );
    sites.send('B', 'A');
    let a = sites.at('A');
    assert_eq!(a.rows("SELECT number FROM sale"), ["B2"]);
    assert_eq!(
        a.rows(SET_ASIDE),
        [
            "sale|BSOC|1|sale 1 of BSOC refers to article 5 of ASOC by sale_line.article_id, which is not here"
        ]
    );
    a.run("INSERT INTO article VALUES (5, 'x', 'made later', 1)");
    assert_eq!(a.one("SELECT talon_process()"), r#"{"applied":0,"freed":1,"answered":0}"#);
    assert_eq!(a.rows("SELECT number FROM sale ORDER BY id"), ["B1", "B2"]);
    assert_eq!(a.rows(SET_ASIDE), NONE);
}

#[test]
fn a_missing_column_and_a_missing_kind_are_named() {
    let sites = Tills::new();
    sites.at('B').run("ALTER TABLE customer ADD COLUMN email TEXT; INSERT INTO customer VALUES (1, 'Ben', NULL, NULL, 'b@b')");
    sites.at('B').run("INSERT INTO till_closing VALUES (1, 'B', 'd', 1)");
    sites.at('A').run("SELECT talon_unguard('till_closing')");
    sites.send('B', 'A');
    let a = sites.at('A');
    assert_eq!(
        a.rows(SET_ASIDE),
        [
            "customer|BSOC|1|customer has no column email here",
            "till_closing|BSOC|1|till_closing is not guarded or tracked here"
        ]
    );
    a.run("ALTER TABLE customer ADD COLUMN email TEXT");
    a.run(r#"SELECT talon_track('till_closing', '{"record": {"table": "till_closing"}, "sync": "till"}')"#);
    a.run("SELECT talon_process()");
    assert_eq!(a.rows("SELECT name, email FROM customer"), ["Ben|b@b"]);
    assert_eq!(a.rows("SELECT till FROM till_closing"), ["B"]);
    assert_eq!(a.rows(SET_ASIDE), NONE);
}

#[test]
fn what_two_sites_have_made_of_one_record_waits_side_by_side_and_what_loses_is_listed() {
    for late in ['B', 'C'] {
        let declare = DECLARE.replace(
            r#""customer"}, "sync": "customer""#,
            r#""customer"}, "sync": {"direction": "both", "owner": "anyone", "merge": "row"}"#,
        );
        let sites = Tills::with(SCHEMA, &declare, 2);
        let a = sites.at('A');
        a.run("INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11')");
        sites.settle(1);
        a.be("till 2", "marie", "2026-11-20T08:30:00+01:00");
        a.run("SELECT talon_edit_begin('customer', 1)");
        for (letter, hour) in [('B', 10), ('C', if late == 'C' { 11 } else { 9 })] {
            let site = sites.at(letter);
            site.run(&format!("SELECT talon_clock('2026-11-20T{hour:02}:00:00+01:00')"));
            site.run(&format!("UPDATE customer SET phone = 'of {letter}' WHERE id = 1"));
        }
        for till in ['B', 'C'] {
            sites.exchange(till, 'A', "changes", "none");
            sites.send('A', till);
        }
        assert_eq!(a.rows(SET_ASIDE).len(), 2);
        a.run("SELECT talon_edit_end('customer', 1); SELECT talon_process()");
        assert_eq!(a.rows(SET_ASIDE), NONE);
        assert_eq!(a.one("SELECT phone FROM customer"), format!("of {late}"));
        let early = if late == 'B' { 'C' } else { 'B' };
        assert_eq!(
            a.rows("SELECT lost_site, won_site FROM talon_conflicts"),
            [format!("{early}SOC|{late}SOC")]
        );
        sites.settle(2);
        sites.all_show("SELECT phone FROM customer", &[&format!("of {late}")]);
    }
}

#[test]
fn a_piece_that_is_open_waits_until_it_is_closed() {
    let sites = Tills::new();
    sites.at('B').run(
        "BEGIN; INSERT INTO sale VALUES (1, 'B1', NULL, 1); INSERT INTO sale_line VALUES (1, 1, NULL, 1, 1, NULL); COMMIT",
    );
    sites.send('B', 'A');
    let a = sites.at('A');
    a.be("till 2", "marie", "2026-11-20T09:00:00+01:00");
    a.run("SELECT talon_edit_begin('sale', 1)");
    sites.at('B').run(
        "UPDATE talon_site SET acknowledged = 0; SELECT talon_clock('2026-11-20T09:05:00+01:00')",
    );
    sites.at('B').run("UPDATE sale SET total = 2 WHERE id = 1");
    sites.send('B', 'A');
    assert_eq!(
        a.rows(SET_ASIDE),
        ["sale|BSOC|1|it is open at till 2 by marie since 2026-11-20T09:00:00.000+01:00"]
    );
    assert_eq!(a.one("SELECT total FROM sale"), "1.0");
    a.run("SELECT talon_edit_end('sale', 1); SELECT talon_process()");
    assert_eq!(a.one("SELECT total FROM sale"), "2.0");
    assert_eq!(a.rows(SET_ASIDE), NONE);
}

#[test]
fn a_record_that_is_open_waits_only_for_what_changes_it() {
    let sites = Tills::new();
    sites.at('A').run("INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11')");
    sites.settle(1);
    let (a, b) = (sites.at('A'), sites.at('B'));
    sites.at('C').run("UPDATE customer SET phone = '22' WHERE id = 1");
    b.be("till 2", "marie", "2026-11-20T09:00:00+01:00");
    b.run("SELECT talon_edit_begin('customer', 1); UPDATE customer SET phone = '21' WHERE id = 1");
    // What was here before, and what loses, leave it as it is.
    sites.exchange('A', 'B', "full", "none");
    assert_eq!(b.rows(SET_ASIDE), NONE);
    sites.send('C', 'A');
    sites.send('A', 'B');
    assert_eq!(b.rows(SET_ASIDE), NONE);
    let lost = "SELECT field, lost_value, lost_site, won_value FROM talon_conflicts";
    assert_eq!(b.rows(lost), ["phone|22|CSOC|21"]);
    a.run("UPDATE customer SET address = 'Hill Road' WHERE id = 1");
    sites.send('A', 'B');
    assert_eq!(
        b.rows(SET_ASIDE),
        ["customer|ASOC|1|it is open at till 2 by marie since 2026-11-20T09:00:00.000+01:00"]
    );
    assert_eq!(b.rows("SELECT * FROM customer"), ["1|Ada|Mill Lane|21"]);
    b.run("SELECT talon_edit_end('customer', 1); SELECT talon_process()");
    assert_eq!(b.rows("SELECT * FROM customer"), ["1|Ada|Hill Road|21"]);
    assert_eq!(b.rows(SET_ASIDE), NONE);
    sites.settle(2);
    assert_eq!(a.rows("SELECT * FROM customer"), ["1|Ada|Hill Road|21"]);
    assert_eq!(b.rows(lost).len(), 1);
}

#[test]
fn a_newer_state_of_a_document_takes_the_older_one_s_place() {
    let sites = Tills::new();
    sites.at('A').run("CREATE UNIQUE INDEX name ON customer(name); INSERT INTO customer(id, name) VALUES (1, 'Ada')");
    sites.at('B').run("INSERT INTO customer(id, name) VALUES (1, 'Ada')");
    sites.send('B', 'A');
    let a = sites.at('A');
    assert_eq!(
        a.rows(SET_ASIDE),
        ["customer|BSOC|1|customer: UNIQUE constraint failed: customer.name"]
    );
    sites.at('B').run("UPDATE customer SET name = 'Adam' WHERE id = 1");
    sites.send('B', 'A');
    assert_eq!(a.rows(SET_ASIDE), NONE);
    assert_eq!(a.rows("SELECT name FROM customer ORDER BY id"), ["Ada", "Adam"]);
}

#[test]
fn what_would_take_somebody_else_s_rows_with_it_does_not_go() {
    let schema = "CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE note(id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer(id) ON DELETE CASCADE, text TEXT);";
    let declare = r#"SELECT talon_track('customer', '{"record": {"table": "customer"}, "sync": "customer"}')"#;
    let sites = Tills::with(schema, declare, 1);
    sites.at('B').run("INSERT INTO customer VALUES (1, 'Ada')");
    sites.send('B', 'A');
    let a = sites.at('A');
    a.run("INSERT INTO note VALUES (1, 1, 'pays late')");
    sites.at('B').run("DELETE FROM customer");
    sites.send('B', 'A');
    assert_eq!(a.rows("SELECT * FROM note"), ["1|1|pays late"]);
    assert_eq!(
        a.rows(SET_ASIDE),
        [
            "customer|BSOC|1|customer 1 would have to go, and rows of note that refer to it would change with it"
        ]
    );
    a.run("DELETE FROM note; SELECT talon_process()");
    assert_eq!(a.rows("SELECT * FROM customer"), NONE);
}

#[test]
fn which_ones_a_remote_may_create_is_asked_of_the_row() {
    let declare = talon_tests::tills::DECLARE.replace(
        r#"{"table": "till_closing"}, "sync": "till""#,
        r#"{"table": "till_closing"}, "sync": {"preset": "till", "when": "h.total >= 0"}"#,
    );
    let sites = Tills::with(talon_tests::tills::SCHEMA, &declare, 1);
    let b = sites.at('B');
    // As a host without Talon may have done it.
    b.run("INSERT INTO till_closing VALUES (1, 'B', 'd', 1)");
    sites.shop('B').bare().run("INSERT INTO till_closing VALUES (2, 'B', 'd', -1)");
    b.run("SELECT talon_absorb()");
    sites.send('B', 'A');
    assert_eq!(sites.at('A').rows("SELECT id FROM till_closing"), ["1"]);
}

#[test]
fn references_to_a_record_a_line_and_a_text_key_are_each_named() {
    let schema = "CREATE TABLE tariff(code TEXT PRIMARY KEY, price REAL);
        CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, tariff TEXT REFERENCES tariff(code));
        CREATE TABLE sale(id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer(id));
        CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER REFERENCES sale(id), upstream INTEGER REFERENCES sale_line(id));
        CREATE INDEX sale_line_sale ON sale_line(sale_id);";
    let declare = r#"
        SELECT talon_track('customer', '{"record": {"table": "customer"}, "sync": "customer"}');
        SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line"}, "sync": "piece"}');"#;
    let sites = Tills::with(schema, declare, 1);
    let b = sites.at('B');
    // Tariffs do not travel.
    b.run("INSERT INTO tariff VALUES ('gold', 1); INSERT INTO customer VALUES (7, 'Ada', 'gold');
           BEGIN; INSERT INTO sale VALUES (42, 7); INSERT INTO sale_line VALUES (3, 42, NULL); COMMIT;
           BEGIN; INSERT INTO sale VALUES (43, NULL); INSERT INTO sale_line VALUES (4, 43, 3); COMMIT");
    sites.send('B', 'A');
    assert_eq!(
        sites.at('A').rows("SELECT reason FROM talon_quarantine ORDER BY id"),
        [
            "customer 7 of BSOC refers to tariff gold by customer.tariff, which is not here",
            "sale 42 of BSOC refers to customer 7 of BSOC by sale.customer_id, which is not here",
            "sale 43 of BSOC refers to line 3 of sale 42 of BSOC by sale_line.upstream, which is not here"
        ]
    );
    sites.at('A').run("INSERT INTO tariff VALUES ('gold', 1); SELECT talon_process()");
    assert_eq!(sites.at('A').rows(SET_ASIDE), NONE);
    assert_eq!(
        sites.at('A').rows("SELECT id, sale_id, upstream FROM sale_line"),
        ["3|42|NULL", "4|43|3"]
    );
}

#[test]
fn a_deletion_of_what_is_referred_to_names_who_refers_and_waits() {
    let sites = Tills::new();
    let (a, b) = (sites.at('A'), sites.at('B'));
    a.run("INSERT INTO customer VALUES (1, 'Ada', NULL, NULL), (2, 'Bea', NULL, NULL)");
    sites.settle(1);
    a.run("DELETE FROM customer");
    b.run("INSERT INTO sale VALUES (1, 'B1', 1, 5); INSERT INTO sale VALUES (2, 'B2', 2, 5)");
    sites.settle(1);
    // Neither side loses anything, and each says why: here the sale, there the deletion.
    let reasons =
        "SELECT direction, kind, origin_key, reason FROM talon_quarantine ORDER BY id LIMIT 1";
    assert_eq!(
        a.rows(reasons),
        [
            "in|sale|1|sale 1 of BSOC refers to customer 1 of ASOC by sale.customer_id, which is not here: it was deleted"
        ]
    );
    assert_eq!(b.rows("SELECT kind, origin_key, reason FROM talon_quarantine WHERE direction = 'in' ORDER BY id"), [
        "customer|1|sale 1 refers to it by sale.customer_id",
        "customer|2|sale 2 refers to it by sale.customer_id",
    ]);
    assert_eq!(b.rows("SELECT name FROM customer"), ["Ada", "Bea"]);
    // The till mends its first sale, central the other one: it makes the customer again.
    b.run("UPDATE sale SET customer_id = NULL WHERE id = 1");
    b.run("UPDATE customer SET phone = '22' WHERE id = 2");
    sites.settle(3);
    sites.all_show("SELECT name, phone FROM customer", &["Bea|22"]);
    let sales = "SELECT s.number, c.name FROM sale AS s LEFT JOIN customer AS c ON c.id = s.customer_id ORDER BY 1";
    sites.all_show(sales, &["B1|NULL", "B2|Bea"]);
    sites.all_show(SET_ASIDE, &NONE);
}

/// A central database whose rule is stricter than the till's: no closing below zero is to come from a remote.
fn stricter() -> Tills {
    let rule = |when: &str| {
        talon_tests::tills::DECLARE.replace(
            r#"{"table": "till_closing"}, "sync": "till""#,
            &format!(
                r#"{{"table": "till_closing"}}, "sync": {{"preset": "till", "when": "{when}"}}"#
            ),
        )
    };
    let sites = Tills::with(talon_tests::tills::SCHEMA, &rule("h.total >= -100"), 2);
    sites.at('A').run(&rule("h.total >= 0"));
    sites
}

#[test]
fn what_central_does_not_take_is_told_to_its_sender_who_mends_it() {
    let sites = stricter();
    let (a, b) = (sites.at('A'), sites.at('B'));
    b.run("INSERT INTO till_closing VALUES (1, 'B', 'd', 1), (2, 'B', 'd', -1)");
    sites.send('B', 'A');
    assert_eq!(a.rows("SELECT id FROM till_closing"), ["1"]);
    let reason = "a remote may not create it: h.total >= 0";
    assert_eq!(a.rows(SET_ASIDE), [format!("till_closing|BSOC|2|{reason}")]);
    sites.send('A', 'B');
    let told = "SELECT direction, kind, origin, origin_key, site, at, reason FROM talon_quarantine";
    assert_eq!(
        b.rows(told),
        [format!("refused|till_closing|BSOC|2|ASOC|2026-11-20T08:00:00.000+01:00|{reason}")]
    );
    assert_eq!(b.rows("SELECT id FROM till_closing"), ["1", "2"]);
    // As long as nobody mends it, it goes with each flow, and says the same.
    sites.settle(1);
    assert_eq!(b.rows(told).len(), 1);
    assert_eq!(a.rows(SET_ASIDE).len(), 1);
    b.run("UPDATE till_closing SET total = 5 WHERE id = 2");
    sites.settle(1);
    assert_eq!(a.rows("SELECT id, total FROM till_closing"), ["1|1.0", "2|5.0"]);
    sites.all_show(told, &NONE);
    // And nothing of it waits any more.
    sites.settle(1);
    assert_eq!(b.rows("SELECT count(*) FROM talon_held"), ["0"]);
}

#[test]
fn what_central_does_not_take_passes_when_its_rule_is_loosened() {
    let sites = stricter();
    let (a, b) = (sites.at('A'), sites.at('B'));
    b.run("INSERT INTO till_closing VALUES (2, 'B', 'd', -1)");
    sites.settle(1);
    a.run(
        r#"SELECT talon_track('till_closing', '{"record": {"table": "till_closing"}, "sync": "till"}'); SELECT talon_process()"#,
    );
    assert_eq!(a.rows("SELECT id FROM till_closing"), ["2"]);
    sites.settle(2);
    sites.all_show(SET_ASIDE, &NONE);
    assert_eq!(sites.at('C').rows("SELECT total FROM till_closing"), ["-1.0"]);
    // It was taken in the end: where it was made it is not told of any more.
    assert_eq!(b.rows("SELECT count(*) FROM talon_held"), ["0"]);
}

#[test]
fn a_piece_that_central_does_not_take_can_be_changed_where_it_was_made() {
    let declare = talon_tests::tills::DECLARE.replace(
        r#""lines": {"table": "sale_line"}, "sync": "piece""#,
        r#""lines": {"table": "sale_line"}, "sync": {"preset": "piece", "when": "h.total >= 0"}"#,
    );
    assert_ne!(declare, talon_tests::tills::DECLARE);
    let sites = Tills::with(talon_tests::tills::SCHEMA, talon_tests::tills::DECLARE, 1);
    sites.at('A').run(&declare);
    let b = sites.at('B');
    b.run(
        "INSERT INTO sale VALUES (1, 'B1', NULL, 5); INSERT INTO sale VALUES (2, 'B2', NULL, -5)",
    );
    sites.settle(1);
    assert!(
        b.error("UPDATE sale SET total = 1 WHERE id = 1")
            .contains("was sent to central on 2026-11-20")
    );
    b.run("UPDATE sale SET total = 1 WHERE id = 2");
    sites.settle(1);
    assert_eq!(sites.at('A').rows("SELECT number, total FROM sale"), ["B1|5.0", "B2|1.0"]);
    assert_eq!(b.rows(SET_ASIDE), NONE);
    assert!(
        b.error("UPDATE sale SET total = 2 WHERE id = 2")
            .contains("was sent to central on 2026-11-20")
    );
}

#[test]
fn what_is_damaged_in_quarantine_stays_there_and_flows_are_applied_all_the_same() {
    let sites = Tills::new();
    let (a, b) = (sites.at('A'), sites.at('B'));
    b.run("PRAGMA foreign_keys = 0; INSERT INTO sale VALUES (1, 'B1', 7, 5), (2, 'B2', 7, 5), (3, 'B3', 7, 5)");
    sites.send('B', 'A');
    a.run(
        "UPDATE talon_quarantined SET document = '{' WHERE key = 1;
         UPDATE talon_quarantined SET columns = '{' WHERE key = 2;
         UPDATE talon_quarantined SET document = NULL WHERE key = 3",
    );
    sites.at('C').run("INSERT INTO sale VALUES (4, 'C4', NULL, 5)");
    sites.send('C', 'A');
    assert_eq!(a.rows("SELECT number FROM sale"), ["C4"]);
    assert_eq!(a.rows("SELECT refused FROM talon_flows WHERE from_site = 'CSOC'"), ["NULL"]);
    let cut_off = "a line cannot be read: '\"' is wanted at byte 1, not its end, in {…";
    assert_eq!(
        a.rows("SELECT origin_key, reason FROM talon_quarantine"),
        [
            format!("1|{cut_off}"),
            format!("2|{cut_off}"),
            "3|a line cannot be read: '{' is wanted at byte 0, not its end, in …".to_owned(),
        ]
    );
}

#[test]
fn who_refers_to_a_line_that_has_gone_elsewhere_is_named() {
    let sites = Tills::new();
    let (a, b) = (sites.at('A'), sites.at('B'));
    a.run(
        "INSERT INTO sale(id) VALUES (1); INSERT INTO sale_line(id, sale_id) VALUES (1, 1), (2, 1)",
    );
    sites.send('A', 'B');
    b.run("BEGIN; INSERT INTO sale(id) VALUES (7); INSERT INTO sale_line(id, sale_id, upstream_line_id) VALUES (9, 7, 2); COMMIT");
    a.run("DELETE FROM sale_line WHERE id = 2");
    sites.send('A', 'B');
    assert_eq!(
        b.rows(SET_ASIDE),
        [
            "sale|ASOC|1|sale 7 refers by sale_line.upstream_line_id to a row that sale 1 of ASOC has no more"
        ]
    );
    b.run("UPDATE sale_line SET upstream_line_id = 1 WHERE id = 9; SELECT talon_process()");
    assert_eq!(b.rows(SET_ASIDE), NONE);
    assert_eq!(b.rows("SELECT id FROM sale_line"), ["1", "9"]);
}
