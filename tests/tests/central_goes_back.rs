//! Central goes back to a backup and goes on: what the tills had from it before is not taken for what it has now.

use talon_tests::tills::{DECLARE, SCHEMA, Tills};
use talon_tests::{Db, load};

const NONE: [&str; 0] = [];
const ARTICLES: &str = "SELECT * FROM article ORDER BY id";
const LOST: &str = "SELECT kind, piece, lost_value ->> '$.header[2]', won_value ->> '$.header[2]' FROM talon_conflicts";

/// Central as it was when it had only the first of two articles, which the till knows both; it has begun anew and met the till.
fn gone_back() -> (Tills, Db) {
    let sites = Tills::with(SCHEMA, DECLARE, 1);
    sites.at('A').run("INSERT INTO article VALUES (1, 'K1', 'Tea', 3)");
    sites.settle(1);
    let path = sites.shop('A').file("backup.db");
    sites.at('A').run(&format!("VACUUM INTO '{}'", path.display()));
    sites.at('A').run("INSERT INTO article VALUES (2, 'K2', 'Milk', 1)");
    sites.settle(1);
    let back = Db::open(&path);
    load(&back.connection);
    back.run("SELECT talon_clock('2026-11-21T08:00:00+01:00'), talon_rejoin()");
    meet(&back, sites.at('B'), "full");
    meet(&back, sites.at('B'), "changes");
    (sites, back)
}

/// A flow each way.
fn meet(central: &Db, till: &Db, mode: &str) {
    for (from, to, code) in [(till, central, "ASOC"), (central, till, "BSOC")] {
        to.receive(&from.flow(code, mode, "none")).expect("a sound flow");
        to.run("SELECT talon_process()");
    }
}

#[test]
fn a_number_that_it_gives_again_leaves_what_it_was_before_in_the_conflicts() {
    let (sites, back) = gone_back();
    let b = sites.at('B');
    assert_eq!(b.rows(ARTICLES), ["1|K1|Tea|3.0", "2|K2|Milk|1.0"]);
    back.run("INSERT INTO article VALUES (2, 'K3', 'Salt', 2)");
    meet(&back, b, "changes");
    assert_eq!(b.rows(ARTICLES), ["1|K1|Tea|3.0", "2|K3|Salt|2.0"]);
    assert_eq!(b.rows(LOST), ["article|2|Milk|Salt"]);
}

#[test]
fn what_it_still_had_and_changes_is_no_conflict() {
    let (sites, back) = gone_back();
    back.run("UPDATE article SET label = 'Green tea' WHERE id = 1");
    meet(&back, sites.at('B'), "changes");
    assert_eq!(sites.at('B').rows("SELECT label FROM article WHERE id = 1"), ["Green tea"]);
    assert_eq!(sites.at('B').rows(LOST), NONE);
}

#[test]
fn what_a_till_sent_before_it_went_back_is_in_the_conflicts_where_its_number_is_given_again() {
    let sites = Tills::with(SCHEMA, DECLARE, 1);
    let (a, b) = (sites.at('A'), sites.at('B'));
    b.run("INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11')");
    sites.settle(1);
    let path = sites.shop('B').file("backup.db");
    b.run(&format!("VACUUM INTO '{}'", path.display()));
    b.run("INSERT INTO sale VALUES (1, 'B1', NULL, 5), (2, 'B2', NULL, 6)");
    let before = b.flow("ASOC", "changes", "none");
    let back = Db::open(&path);
    load(&back.connection);
    back.run("SELECT talon_clock('2026-11-21T08:00:00+01:00'), talon_rejoin()");
    back.run("INSERT INTO sale VALUES (1, 'X1', NULL, 7)");
    let anew = back.flow("ASOC", "full", "none");
    for flow in [before, anew] {
        a.receive(&flow).expect("a sound flow");
    }
    a.run("SELECT talon_process()");
    assert_eq!(a.rows("SELECT number FROM sale ORDER BY id"), ["X1", "B2"]);
    let lost = "SELECT piece, lost_value ->> '$.header[1]', won_value ->> '$.header[1]' FROM talon_conflicts";
    assert_eq!(a.rows(lost), ["1|B1|X1"]);
}
