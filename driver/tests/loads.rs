//! A till is loaded through a folder.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that lacks what it needs ends there and then"
)]

mod shops;

use shops::{Ran, Shops};
use std::process::Command;
use talon_tests::Db;

/// A database with the schema and its guards that is no site yet, of a shop where eve has the till DSOC.
fn new_till(shops: &Shops) -> Db {
    let db = shops.db("DSOC");
    db.run(shops::SCHEMA);
    db.run("SELECT talon_site('ASOC', 'central')");
    db.run(shops::GUARDS);
    db.run(
        "CREATE TABLE app_user(login TEXT, till TEXT); INSERT INTO app_user VALUES ('eve', 'DSOC'), ('carl', 'CSOC');
         SELECT talon_till('SELECT till FROM app_user WHERE login = :user')",
    );
    db
}

fn loading(shops: &Shops, site: &str, more: &[&str]) -> Command {
    let mut run = shops.talon("load", site);
    run.arg("--mailbox").arg(shops.path("mailbox")).args(more);
    run
}

fn load(shops: &Shops, site: &str, more: &[&str]) -> Ran {
    Ran::of(&loading(shops, site, more).output().expect("it runs"))
}

#[test]
fn a_new_till_asks_and_takes_what_it_is_to_have() {
    let shops = Shops::new();
    shops.sell("BSOC", 3);
    shops.sync("BSOC", &[]).well();
    shops.sync("ASOC", &[]).well();
    shops.db("ASOC").run("SELECT talon_site('DSOC', 'remote')");
    new_till(&shops);
    let out = load(&shops, "DSOC", &["--user", "eve"]).well();
    assert!(
        out.contains("DSOC asks for a load: full\nsent flow 1 to ASOC: 0 rows, 1 chunk"),
        "{out}"
    );
    assert!(out.contains("the load comes when talon sync has run at central"), "{out}");
    let out = shops.sync("ASOC", &[]).well();
    assert!(out.contains("sent flow 1 to DSOC: 9 rows, 1 chunk"), "{out}");
    let out = load(&shops, "DSOC", &["--user", "eve"]).well();
    assert!(
        out.contains("applied flow 1 of ASOC: 9 rows") && out.contains("loaded (full)"),
        "{out}"
    );
    assert_eq!(shops.sales("DSOC"), shops.sales("BSOC"));
    // It takes part as the others do.
    shops.sell("DSOC", 1);
    shops.sync("DSOC", &[]).well();
    shops.sync("ASOC", &[]).well();
    assert_eq!(shops.sales("ASOC").len(), 4);
    shops.sync("DSOC", &["--fetch"]).well();
    let out = load(&shops, "DSOC", &["--user", "eve", "--changes"]).well();
    assert!(out.contains("DSOC asks for a load: changes"), "{out}");
}

#[test]
fn a_load_is_waited_for() {
    let shops = Shops::new();
    shops.sell("BSOC", 1);
    let out = shops.answered(loading(&shops, "BSOC", &["--patience", "60"])).well();
    assert!(out.contains("loaded (full)"), "{out}");
    let text = "no answer to flow";
    load(&shops, "BSOC", &["--patience", "1"]).ends(7, text);
}

#[test]
fn a_load_that_cannot_be_stops_with_its_reason() {
    let shops = Shops::new();
    new_till(&shops);
    load(&shops, "DSOC", &["--user", "paul"]).ends(
        5,
        "talon_load: paul has no till by \"SELECT till FROM app_user WHERE login = :user\"",
    );
    load(&shops, "DSOC", &[]).ends(5, "talon_load: NULL has no till by");
    load(&shops, "ASOC", &[]).ends(5, "talon_load: ASOC is the central site");
    load(&shops, "DSOC", &["--full", "--changes"]).ends(2, "cannot be used with");
    // Central does not know the till: it says so, and gives nothing.
    load(&shops, "DSOC", &["--user", "eve"]).well();
    shops.sync("ASOC", &[]).ends(3, "\"DSOC\" is no site; there are: ASOC, BSOC, CSOC");
    load(&shops, "DSOC", &["--user", "carl"])
        .ends(5, "talon_load: this database is DSOC, and the till of carl is CSOC");
    assert!(shops.lying("DSOC").is_empty());
    assert_eq!(shops.db("DSOC").one("SELECT count(*) FROM sale"), "0");
}

/// BSOC gets a database that knows nothing of the one it had.
fn replace_machine(shops: &Shops) {
    shops.remove("BSOC");
    let db = shops.db("BSOC");
    db.run(shops::SCHEMA);
    db.run(
        "SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote'), talon_origin('BSOC')",
    );
    db.run(shops::GUARDS);
}

#[test]
fn a_new_machine_for_an_old_till_is_not_held_up_by_what_lies_there_for_the_old_one() {
    let shops = Shops::new();
    shops.sell("BSOC", 2);
    for site in ["BSOC", "ASOC", "BSOC", "ASOC", "BSOC"] {
        shops.sync(site, &[]).well();
    }
    shops.db("ASOC").run("INSERT INTO article VALUES (1, 'c', 'coffee', 2.5)");
    shops.sync("ASOC", &["--to", "BSOC"]).well();
    let sales = shops.sales("BSOC");
    replace_machine(&shops);
    let out = load(&shops, "BSOC", &[]).well();
    let passed = " of ASOC is passed over: a later one has all of it, or it was written for an earlier database of BSOC";
    assert!(out.contains(passed), "{out}");
    // It lies there until the load has come, and is said once.
    let out = shops.sync("BSOC", &["--fetch"]).well();
    assert_eq!(out.matches(passed).count(), 0, "{out}");
    shops.sync("ASOC", &[]).well();
    load(&shops, "BSOC", &[]).well();
    assert_eq!(shops.sales("BSOC"), sales);
    assert_eq!(shops.db("BSOC").rows("SELECT label FROM article"), ["coffee"]);
}

#[test]
fn flows_of_a_new_machine_are_taken_though_their_numbers_were_used_before() {
    let shops = Shops::new();
    for _ in 0..4 {
        shops.sell("BSOC", 1);
        shops.sync("BSOC", &[]).well();
        shops.sync("ASOC", &[]).well();
    }
    replace_machine(&shops);
    load(&shops, "BSOC", &[]).well();
    shops.sync("ASOC", &[]).well();
    load(&shops, "BSOC", &[]).well();
    // One of them has several chunks.
    let mut sold = 4;
    for count in [1, 120, 1] {
        shops.sell_large("BSOC", count);
        sold += count as usize;
        shops.sync("BSOC", &[]).well();
        let lying = shops.lying("ASOC").len();
        assert!(lying > 2 || count == 1, "{lying}");
        let out = shops.sync("ASOC", &[]).well();
        assert!(out.contains("applied flow"), "{out}");
        assert_eq!(shops.sales("ASOC").len(), sold);
    }
}
