//! A till's database is copied, goes back to a backup, or is replaced: what was there before is never lost without a word.

use talon_tests::Db;
use talon_tests::loads::{copy, loaded};
use talon_tests::tills::{DECLARE, NONE, SCHEMA, Tills, new_till};

const CONFLICTS: &str =
    "SELECT kind, piece, lost_site, won_site FROM talon_conflicts ORDER BY kind, piece";

/// A sale of BSOC's under this key.
fn sell(db: &Db, key: i64, number: &str) {
    db.run(&format!(
        "BEGIN; INSERT INTO sale VALUES ({key}, '{number}', NULL, 5);
         INSERT INTO sale_line VALUES ({key}, {key}, NULL, 1, 5, NULL); COMMIT"
    ));
}

/// B's database as it is now, a day later.
fn backup(sites: &Tills) -> Db {
    copy(sites.at('B'), &sites.shop('B').file("backup.db"))
}

/// B's backup has sold X1 under the key under which B has sold B1, at a moment, and sent it.
fn sold_twice(moment: &str) -> (Tills, Db) {
    let sites = Tills::new();
    sites.exchange('B', 'A', "changes", "now");
    let back = backup(&sites);
    sites.clock(moment);
    sell(sites.at('B'), 1, "B1");
    sites.exchange('B', 'A', "changes", "now");
    sell(&back, 1, "X1");
    (sites, back)
}

/// A database's next flow to a site, applied there.
fn send(from: &Db, to: (&Db, &str), mode: &str) -> Result<(), String> {
    let (db, code) = to;
    db.receive(&from.flow(code, mode, "now"))?;
    db.run("SELECT talon_process()");
    Ok(())
}

#[test]
fn after_a_flow_of_a_number_that_was_used_those_with_higher_numbers_are_refused_too() {
    let (sites, back) = sold_twice("2026-11-20T09:00:00+01:00");
    let a = sites.at('A');
    let error = send(&back, (a, "ASOC"), "changes").unwrap_err();
    assert!(error.contains("was here before with other content"), "{error}");
    for _ in 0..2 {
        let error = send(&back, (a, "ASOC"), "changes").unwrap_err();
        assert!(error.contains("BSOC went back to an older state"), "{error}");
        assert!(error.contains("at BSOC, SELECT talon_rejoin()"), "{error}");
    }
    assert_eq!(a.rows("SELECT number FROM sale"), ["B1"]);
}

#[test]
fn what_a_backup_sells_under_a_used_key_leaves_the_former_sale_in_the_conflicts() {
    let (sites, back) = sold_twice("2026-11-20T09:00:00+01:00");
    let a = sites.at('A');
    back.run("SELECT talon_rejoin()");
    send(&back, (a, "ASOC"), "full").expect("it is taken anew");
    assert_eq!(a.rows("SELECT number FROM sale"), ["X1"]);
    assert_eq!(a.rows(CONFLICTS), ["sale|1|BSOC|BSOC"]);
    assert_eq!(a.one("SELECT lost_value ->> '$.header[1]' FROM talon_conflicts"), "B1");
    // What was not sold again is no conflict.
    assert_eq!(a.rows("SELECT * FROM talon_quarantine"), NONE);
}

#[test]
fn what_central_wrote_for_the_former_database_is_not_taken_for_what_the_new_one_has() {
    let sites = Tills::new();
    sites.settle(1);
    let back = backup(&sites);
    sell(sites.at('B'), 1, "B1");
    sites.exchange('B', 'A', "changes", "none");
    let a = sites.at('A');
    // It says nothing of B1, which came from there.
    let on_its_way = a.flow("BSOC", "changes", "none");
    sell(&back, 1, "X1");
    back.run("SELECT talon_rejoin()");
    back.receive(&on_its_way).unwrap();
    back.run("SELECT talon_process()");
    assert_eq!(back.rows("SELECT superseded IS NULL FROM talon_flows WHERE from_site = 'ASOC' ORDER BY id DESC LIMIT 1"), ["0"]);
    for _ in 0..2 {
        send(&back, (a, "ASOC"), "changes").unwrap();
        send(a, (&back, "BSOC"), "changes").unwrap();
    }
    assert_eq!(a.rows(CONFLICTS), ["sale|1|BSOC|BSOC"]);
    assert_eq!(a.rows("SELECT number FROM sale"), back.rows("SELECT number FROM sale"));
}

#[test]
fn what_a_clock_that_is_behind_says_is_not_taken_for_what_was_here_once() {
    let (sites, back) = sold_twice("2026-11-21T12:00:00+01:00");
    let a = sites.at('A');
    back.run("SELECT talon_rejoin()");
    send(&back, (a, "ASOC"), "full").expect("it is taken anew");
    assert_eq!(a.rows("SELECT number FROM sale"), ["B1"]);
    assert_eq!(a.one("SELECT lost_value ->> '$.header[1]' FROM talon_conflicts"), "X1");
}

#[test]
fn numbers_given_again_after_a_backup_overwrite_nothing_silently_on_either_side() {
    let sites = Tills::with(SCHEMA, DECLARE, 1);
    let (a, b) = (sites.at('A'), sites.at('B'));
    sell(b, 1, "B1");
    sites.settle(1);
    let back = backup(&sites);
    b.run("BEGIN; INSERT INTO sale VALUES (2, 'lost', NULL, 2); INSERT INTO sale_line VALUES (2, 2, NULL, 2, 1, NULL); COMMIT");
    sites.settle(1);
    assert_eq!(a.rows("SELECT number FROM sale"), ["B1", "lost"]);
    // The backup goes on, and its next sale has the number of the one that it does not know.
    sell(&back, 2, "new");
    let taken = send(&back, (a, "ASOC"), "changes");
    assert!(taken.clone().is_err_and(|error| error.contains("SELECT talon_rejoin()")), "{taken:?}");
    assert_eq!(a.rows("SELECT number FROM sale"), ["B1", "lost"]);

    back.run("SELECT talon_rejoin()");
    for _ in 0..2 {
        send(&back, (a, "ASOC"), "full").expect("a sound flow");
        send(a, (&back, "BSOC"), "full").expect("a sound flow");
    }
    // The later one stands at both, and the other one is listed with all that it was.
    for db in [a, &back] {
        assert_eq!(db.rows("SELECT number FROM sale ORDER BY id"), ["B1", "new"]);
        assert_eq!(db.rows("SELECT reason FROM talon_quarantine"), NONE);
        assert_eq!(db.findings(), NONE);
    }
    assert_eq!(a.rows(CONFLICTS), ["sale|2|BSOC|BSOC"]);
    let values = "SELECT lost_value ->> '$.header[1]', won_value ->> '$.header[1]', lost_value ->> '$.lines[0][3]'
        FROM talon_conflicts";
    assert_eq!(a.rows(values), ["lost|new|2.0"]);
}

#[test]
fn what_only_goes_up_is_not_overwritten_by_a_new_till_without_a_word() {
    let declare = DECLARE.replace(
        r#"{"record": {"table": "till_closing"}, "sync": "till"}"#,
        r#"{"record": {"table": "till_closing"}, "sync": {"preset": "till", "direction": "up"}}"#,
    );
    let sites = Tills::with(SCHEMA, &declare, 1);
    sites.at('B').run("INSERT INTO till_closing VALUES (1, 'B', '2026-11-20', 100)");
    sites.exchange('B', 'A', "changes", "now");
    // Another machine in its place, with nothing in it.
    let (_shop, new) = new_till(SCHEMA, &declare);
    new.run("SELECT talon_site('BSOC', 'remote'), talon_origin('BSOC')");
    loaded(&sites, &new, "NULL", "full");
    let a = sites.at('A');
    new.run("INSERT INTO till_closing(till, day, total) VALUES ('B', '2026-11-21', 200)");
    send(&new, (a, "ASOC"), "changes").expect("it is taken");
    assert_eq!(a.rows("SELECT total FROM till_closing"), ["200.0"]);
    assert_eq!(a.rows(CONFLICTS), ["till_closing|1|BSOC|BSOC"]);
    assert_eq!(a.one("SELECT lost_value ->> '$.header[3]' FROM talon_conflicts"), "100.0");
}

#[test]
fn what_was_held_back_is_over_when_central_s_state_has_come() {
    let sites = Tills::new();
    sell(sites.at('B'), 1, "B1");
    sites.settle(1);
    sites.shop('B').bare().run("UPDATE sale_line SET quantity = 99 WHERE id = 1");
    sites.exchange('B', 'A', "changes", "now");
    let b = sites.at('B');
    assert_eq!(b.rows("SELECT direction, kind FROM talon_quarantine"), ["out|sale"]);
    sites.clock("2026-11-20T12:00:00+01:00");
    sites.at('A').run("UPDATE sale_line SET quantity = 3 WHERE id = 1");
    sites.exchange('B', 'A', "changes", "now");
    sites.settle(1);
    assert_eq!(b.rows("SELECT quantity FROM sale_line"), ["3.0"]);
    assert_eq!(b.rows("SELECT * FROM talon_quarantine"), NONE);
}

#[test]
fn what_central_had_of_a_former_database_is_not_taken_for_the_next_one_s() {
    let schema = "CREATE TABLE customer(code TEXT PRIMARY KEY, name TEXT, phone TEXT)";
    let declare = r#"SELECT talon_track('customer', '{"record": {"table": "customer"}, "sync": "customer"}')"#;
    let sites = Tills::with(schema, declare, 1);
    sites.at('B').run("INSERT INTO customer VALUES ('I', 'Ida', '1'), ('J', 'Jo', '2')");
    let a = sites.at('A');
    a.run("SELECT talon_clock('2026-11-20T09:00:00+01:00')");
    a.run("INSERT INTO customer VALUES ('K', 'Ada', '11')");
    sites.exchange('B', 'A', "changes", "now");
    let full = a.flow("BSOC", "full", "none");
    // Another machine in its place, on which somebody has typed before that flow comes.
    let (_shop, new) = new_till(schema, declare);
    new.run("SELECT talon_clock('2026-11-20T08:30:00+01:00')");
    new.run("SELECT talon_site('BSOC', 'remote'), talon_origin('BSOC')");
    new.run("INSERT INTO customer VALUES ('K', 'Karl', '12')");
    new.receive(&full).expect("a full flow is taken");
    new.run("SELECT talon_process()");
    assert_eq!(new.rows("SELECT name FROM customer WHERE code = 'K'"), ["Ada"]);
    assert_eq!(
        new.rows("SELECT field, lost_value, lost_site FROM talon_conflicts ORDER BY field"),
        ["name|Karl|BSOC", "phone|12|BSOC"]
    );
}
