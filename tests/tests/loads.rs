//! A till loads: all that it is to have, or what is newer than what it has. What it had and is not to have goes; what it did
//! not send yet stays.

use talon_tests::tills::*;
use talon_tests::*;

fn schema() -> String {
    format!("{SCHEMA}{TILL_TABLES}")
}

fn declare() -> String {
    format!("{DECLARE}{DECLARE_TILLS}")
}

/// Central and two tills; there are three tills' rows, two articles, two customers and a sale of each till.
fn stocked() -> Tills {
    let sites = Tills::with(&schema(), &declare(), 2);
    sites.at('A').run(
        "INSERT INTO till VALUES ('BSOC', 'Mill'), ('CSOC', 'Bank'), ('DSOC', 'Station');
         INSERT INTO article VALUES (1, 'c', 'coffee', 2.5), (2, 'f', 'filter', 1.0);
         INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11'), (2, 'Bob', NULL, '22')",
    );
    sites.settle(1);
    for (letter, quantity) in [('B', 3), ('C', 4)] {
        sites.at(letter).run(&format!(
            "BEGIN; INSERT INTO sale VALUES (1, '{letter}1', 1, 7.5);
             INSERT INTO sale_line VALUES (1, 1, 1, {quantity}, 2.5, NULL), (2, 1, 2, 1, 1.0, 1); COMMIT"
        ));
    }
    sites.settle(1);
    sites
}

/// Asks for a load and has central answer it; gives the answer's chunks.
fn asked(sites: &Tills, till: &Db, user: &str, mode: &str) -> Vec<Vec<u8>> {
    let flow = till.one(&format!("SELECT talon_load({user}, '{mode}')"));
    let request = chunks(till, &flow);
    sites.receive('A', &request);
    let a = sites.at('A');
    a.run("SELECT talon_process()");
    let answer = a.one("SELECT max(id) FROM talon_flows WHERE from_site = 'ASOC'");
    assert_ne!(a.one(&format!("SELECT link FROM talon_flows WHERE id = {answer}")), "NULL");
    chunks(a, &answer)
}

fn taken(till: &Db, answer: &[Vec<u8>]) -> String {
    let mut flow = String::new();
    for chunk in answer {
        flow = receive(till, chunk).unwrap_or_else(|error| panic!("{error}"));
    }
    till.one(&format!("SELECT talon_apply({flow})"))
}

/// Loads; gives what became of the documents.
fn load(sites: &Tills, till: &Db, user: &str, mode: &str) -> String {
    let answer = asked(sites, till, user, mode);
    taken(till, &answer)
}

const SALES: &str = "SELECT s.number, c.name, a.code, l.quantity, u.article_id IS NOT NULL FROM sale AS s
    JOIN sale_line AS l ON l.sale_id = s.id LEFT JOIN customer AS c ON c.id = s.customer_id
    LEFT JOIN article AS a ON a.id = l.article_id LEFT JOIN sale_line AS u ON u.id = l.upstream_line_id
    ORDER BY s.number, a.code";
const NOTHING: [&str; 0] = [];

/// Nothing is set aside, at odds, or found by the audit.
fn is_sound(db: &Db) {
    assert_eq!(db.rows("SELECT kind, origin_key, reason FROM talon_quarantine"), NOTHING);
    assert_eq!(db.rows("SELECT kind, piece, field FROM talon_conflicts"), NOTHING);
    assert_eq!(db.findings(), NOTHING);
    assert_eq!(db.rows("SELECT * FROM pragma_foreign_key_check"), NOTHING);
    assert_eq!(db.rows("SELECT * FROM talon_listed"), NOTHING);
}

#[test]
fn a_new_till_gets_everything_that_its_filters_allow() {
    let sites = stocked();
    let (_shop, d) = new_till(&schema(), &declare());
    d.run("PRAGMA foreign_keys = ON");
    sites.at('A').run("SELECT talon_site('DSOC', 'remote')");
    let done = load(&sites, &d, "'dora'", "full");
    assert_eq!(done, r#"{"documents":7,"applied":7,"set_aside":0,"removed":0}"#);
    assert_eq!(d.rows("SELECT code, role FROM talon_sites WHERE this"), ["DSOC|remote"]);
    assert_eq!(d.rows("SELECT * FROM till"), ["DSOC|Station"]);
    assert_eq!(d.rows(SALES), sites.at('A').rows(SALES));
    assert_eq!(d.one("SELECT count(*) FROM customer"), "2");
    is_sound(&d);
    // It takes part from here on.
    d.run("INSERT INTO customer(name) VALUES ('Eve')");
    let flow = d.flow("ASOC", "changes", "none");
    assert_eq!(flows::documents(&flow), ["customer 3"]);
}
