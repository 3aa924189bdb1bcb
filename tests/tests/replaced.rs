//! A till's database is copied, goes back to a backup, or is replaced: what was there before is never lost without a word.

use std::path::PathBuf;
use talon_tests::tills::{Tills, chunks, receive};
use talon_tests::{Db, Shop};

const CONFLICTS: &str =
    "SELECT kind, piece, lost_site, won_site FROM talon_conflicts ORDER BY kind, piece";
const NONE: [&str; 0] = [];

/// A sale of BSOC's under this key.
fn sell(db: &Db, key: i64, number: &str) {
    db.run(&format!(
        "BEGIN; INSERT INTO sale VALUES ({key}, '{number}', NULL, 5);
         INSERT INTO sale_line VALUES ({key}, {key}, NULL, 1, 5, NULL); COMMIT"
    ));
}

/// B's database as it is now, under another name.
fn backup(sites: &Tills) -> (Db, PathBuf) {
    let shop: &Shop = sites.shop('B');
    let path = shop.file("backup.db");
    sites.at('B').run(&format!("VACUUM INTO '{}'", path.display()));
    let db = Db::open(&path);
    talon_tests::load(&db.connection);
    db.run("SELECT talon_clock('2026-11-20T09:00:00+01:00')");
    (db, path)
}

/// Its next flow, taken by central.
fn send(from: &Db, to: &Db, mode: &str) -> Result<(), String> {
    let flow = from.one(&format!("SELECT talon_emit('ASOC', '{mode}', 'now')"));
    for chunk in chunks(from, &flow) {
        receive(to, &chunk)?;
    }
    to.run("SELECT talon_process()");
    Ok(())
}

#[test]
fn after_a_flow_of_a_number_that_was_used_those_with_higher_numbers_are_refused_too() {
    let sites = Tills::new();
    sites.exchange('B', 'A', "changes", "now");
    let (back, _) = backup(&sites);
    sell(sites.at('B'), 1, "B1");
    sites.exchange('B', 'A', "changes", "now");
    sell(&back, 1, "X1");
    let a = sites.at('A');
    let error = send(&back, a, "changes").unwrap_err();
    assert!(error.contains("was here before with other content"), "{error}");
    for _ in 0..2 {
        let error = send(&back, a, "changes").unwrap_err();
        assert!(error.contains("BSOC went back to an older state"), "{error}");
        assert!(error.contains("at BSOC, SELECT talon_rejoin()"), "{error}");
    }
    assert_eq!(a.rows("SELECT number FROM sale"), ["B1"]);
}

#[test]
fn what_a_backup_sells_under_a_used_key_leaves_the_former_sale_in_the_conflicts() {
    let sites = Tills::new();
    sites.exchange('B', 'A', "changes", "now");
    let (back, _) = backup(&sites);
    sell(sites.at('B'), 1, "B1");
    sites.exchange('B', 'A', "changes", "now");
    let a = sites.at('A');
    sell(&back, 1, "X1");
    back.run("SELECT talon_rejoin()");
    send(&back, a, "full").expect("it is taken anew");
    assert_eq!(a.rows("SELECT number FROM sale"), ["X1"]);
    assert_eq!(a.rows(CONFLICTS), ["sale|1|BSOC|BSOC"]);
    assert_eq!(a.one("SELECT lost_value ->> '$.header[1]' FROM talon_conflicts"), "B1");
    // What was not sold again is no conflict.
    assert_eq!(a.rows("SELECT * FROM talon_quarantine"), NONE);
}

#[test]
fn what_a_clock_that_is_behind_says_is_not_taken_for_what_was_here_once() {
    let sites = Tills::new();
    sites.exchange('B', 'A', "changes", "now");
    let (back, _) = backup(&sites);
    sites.clock("2026-11-20T12:00:00+01:00");
    sell(sites.at('B'), 1, "B1");
    sites.exchange('B', 'A', "changes", "now");
    let a = sites.at('A');
    sell(&back, 1, "X1");
    back.run("SELECT talon_rejoin()");
    send(&back, a, "full").expect("it is taken anew");
    assert_eq!(a.rows("SELECT number FROM sale"), ["B1"]);
    assert_eq!(a.one("SELECT lost_value ->> '$.header[1]' FROM talon_conflicts"), "X1");
}

#[test]
fn what_only_goes_up_is_not_overwritten_by_a_new_till_without_a_word() {
    let declare = talon_tests::tills::DECLARE.replace(
        r#"{"record": {"table": "till_closing"}, "sync": "till"}"#,
        r#"{"record": {"table": "till_closing"}, "sync": {"preset": "till", "direction": "up"}}"#,
    );
    let sites = Tills::with(talon_tests::tills::SCHEMA, &declare, 1);
    sites.at('B').run("INSERT INTO till_closing VALUES (1, 'B', '2026-11-20', 100)");
    sites.exchange('B', 'A', "changes", "now");
    // Another machine in its place, with nothing in it.
    let shop = Shop::with(talon_tests::tills::SCHEMA);
    let new = shop.open();
    new.run("SELECT talon_clock('2026-11-21T08:00:00+01:00')");
    new.run("SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote')");
    new.run(&declare);
    new.run("SELECT talon_origin('BSOC'), talon_load(NULL, 'full')");
    let a = sites.at('A');
    for chunk in chunks(&new, &new.one("SELECT max(id) FROM talon_flows")) {
        receive(a, &chunk).expect("its request is taken");
    }
    a.run("SELECT talon_process()");
    for chunk in chunks(a, &a.one("SELECT max(id) FROM talon_flows WHERE to_site = 'BSOC'")) {
        receive(&new, &chunk).expect("the load is taken");
    }
    new.run("SELECT talon_process()");
    new.run("INSERT INTO till_closing(till, day, total) VALUES ('B', '2026-11-21', 200)");
    send(&new, a, "changes").expect("it is taken");
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
