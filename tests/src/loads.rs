//! Tills that load, as tests play them.

use crate::tills::*;
use crate::{Db, load};
use std::path::Path;

/// The tables of a till, and those that say which tills there are.
pub fn schema() -> String {
    format!("{SCHEMA}{TILL_TABLES}")
}

/// Their declarations.
pub fn declare() -> String {
    format!("{DECLARE}{DECLARE_TILLS}")
}

/// Central and two tills; there are three tills' rows, two articles, two customers and a sale of each till.
pub fn stocked() -> Tills {
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
pub fn asked(sites: &Tills, till: &Db, user: &str, mode: &str) -> Vec<Vec<u8>> {
    let flow = till.one(&format!("SELECT talon_load({user}, '{mode}')"));
    let request = chunks(till, &flow);
    sites.receive('A', &request);
    let a = sites.at('A');
    a.run("SELECT talon_process()");
    let answer = a.one("SELECT max(id) FROM talon_flows WHERE from_site = 'ASOC'");
    assert_ne!(a.one(&format!("SELECT link FROM talon_flows WHERE id = {answer}")), "NULL");
    chunks(a, &answer)
}

/// Takes an answer in; gives what became of the documents.
pub fn taken(till: &Db, answer: &[Vec<u8>]) -> String {
    let mut flow = String::new();
    for chunk in answer {
        flow = receive(till, chunk).unwrap_or_else(|error| panic!("{error}"));
    }
    till.one(&format!("SELECT talon_apply({flow})"))
}

/// Loads; gives what became of the documents.
pub fn loaded(sites: &Tills, till: &Db, user: &str, mode: &str) -> String {
    let answer = asked(sites, till, user, mode);
    taken(till, &answer)
}

/// Central loses the customers of which a condition holds, and tells nobody.
pub fn lose_customers(central: &Db, condition: &str) {
    central.run(&format!(
        "SELECT talon_unguard('customer'); CREATE TEMP TABLE lost AS SELECT id FROM customer WHERE {condition};
         DELETE FROM customer WHERE id IN lost; DELETE FROM talon_piece WHERE kind = 1 AND key IN lost; DROP TABLE lost;
         SELECT talon_track('customer', '{{\"record\": {{\"table\": \"customer\"}}, \"sync\": \"customer\"}}')"
    ));
}

/// What the sales of a till are, whatever their numbers.
pub const ALL_SALES: &str = "SELECT s.number, c.name, a.code, l.quantity, u.article_id IS NOT NULL FROM sale AS s
    JOIN sale_line AS l ON l.sale_id = s.id LEFT JOIN customer AS c ON c.id = s.customer_id
    LEFT JOIN article AS a ON a.id = l.article_id LEFT JOIN sale_line AS u ON u.id = l.upstream_line_id
    ORDER BY s.number, a.code";

/// Nothing is set aside, at odds, or found by the audit.
pub fn is_sound(db: &Db) {
    assert_eq!(db.rows("SELECT kind, origin_key, reason FROM talon_quarantine"), NONE);
    assert_eq!(db.rows("SELECT kind, piece, field FROM talon_conflicts"), NONE);
    assert_eq!(db.findings(), NONE);
    assert_eq!(db.rows("SELECT * FROM pragma_foreign_key_check"), NONE);
    assert_eq!(db.rows("SELECT * FROM talon_listed"), NONE);
}

/// A copy of a database, opened with Talon a day later.
pub fn copy(db: &Db, file: &Path) -> Db {
    db.run(&format!("VACUUM INTO '{}'", file.display()));
    let copy = Db::open(file);
    load(&copy.connection);
    copy.run("SELECT talon_clock('2026-11-21T08:00:00+01:00')");
    copy
}
