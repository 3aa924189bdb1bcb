//! Documents that refer to each other pass together, and lines that refer to lines of their own piece at once.

use talon_tests::Shop;
use talon_tests::tills::{NONE, SET_ASIDE, Tills};

/// Customers who are recommended by customers and have a last sale; sales of customers, whose lines are made from others.
const SCHEMA: &str = "
    CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, adviser_id INTEGER UNIQUE CHECK (adviser_id > 0) REFERENCES customer(id),
      last_sale_id INTEGER REFERENCES sale(id), last_line_id INTEGER REFERENCES sale_line(id));
    CREATE TABLE sale(id INTEGER PRIMARY KEY, number TEXT, customer_id INTEGER NOT NULL REFERENCES customer(id));
    CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale(id), quantity REAL,
      upstream_line_id INTEGER REFERENCES sale_line(id));
    CREATE INDEX sale_line_sale ON sale_line(sale_id);";
const DECLARE: &str = r#"
    SELECT talon_track('customer', '{"record": {"table": "customer"}, "sync": "customer"}');
    SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line"}, "sync": "piece"}');"#;

const ALL: &str = "SELECT c.name, a.name, s.number, l.quantity FROM customer AS c
    LEFT JOIN customer AS a ON a.id = c.adviser_id LEFT JOIN sale AS s ON s.id = c.last_sale_id
    LEFT JOIN sale_line AS l ON l.id = c.last_line_id ORDER BY c.name";

/// Central has customers 1 to 3 and a sale 1 with lines of its own already.
fn busy() -> Tills {
    let sites = Tills::with(SCHEMA, DECLARE, 2);
    sites.at('A').run(
        "BEGIN; INSERT INTO customer(id, name) VALUES (1, 'x'), (2, 'y'), (3, 'z');
         INSERT INTO sale VALUES (1, 'A1', 1); INSERT INTO sale_line VALUES (1, 1, 1, NULL), (2, 1, 1, NULL); COMMIT",
    );
    sites
}

#[test]
fn two_documents_that_refer_to_each_other_pass_together() {
    let sites = busy();
    sites.at('B').run(
        "BEGIN; PRAGMA defer_foreign_keys = 1;
         INSERT INTO customer VALUES (1, 'Ada', 2, 1, 2), (2, 'Bea', 1, NULL, NULL);
         INSERT INTO sale VALUES (1, 'B1', 1); INSERT INTO sale_line VALUES (1, 1, 7, 2), (2, 1, 8, 1); COMMIT",
    );
    let of_b = ["Ada|Bea|B1|8.0", "Bea|Ada|NULL|NULL"];
    sites.send('B', 'A');
    let a = sites.at('A');
    assert_eq!(a.rows(SET_ASIDE), NONE);
    assert_eq!(a.rows(ALL)[..2], of_b);
    let lines =
        "SELECT l.quantity, u.quantity FROM sale AS s JOIN sale_line AS l ON l.sale_id = s.id
        LEFT JOIN sale_line AS u ON u.id = l.upstream_line_id WHERE s.number = 'B1' ORDER BY l.id";
    assert_eq!(a.rows(lines), ["7.0|8.0", "8.0|7.0"]);
    assert_eq!(a.findings(), NONE);
    assert_eq!(
        a.one("SELECT rows || ' ' || runs FROM talon_flows WHERE from_site = 'BSOC'"),
        "5 1"
    );
    sites.settle(2);
    for site in sites.letters() {
        let db = sites.at(site);
        assert_eq!(db.rows(ALL)[..2], of_b, "{site}");
        assert_eq!(db.rows(lines), ["7.0|8.0", "8.0|7.0"], "{site}");
        assert_eq!(db.rows(SET_ASIDE), NONE, "{site}");
        assert_eq!(db.rows("SELECT * FROM talon_conflicts"), NONE, "{site}");
        assert_eq!(db.rows("PRAGMA foreign_key_check"), NONE, "{site}");
    }
    // All know them by the same content.
    let of = |site: char| {
        sites.at(site).rows("SELECT kind, origin, origin_key, version, stamp FROM talon_stamps WHERE field IS NULL ORDER BY 1, 2, 3")
    };
    assert_eq!(of('A'), of('B'));
    assert_eq!(of('A'), of('C'));
}

#[test]
fn of_those_that_refer_to_each_other_all_wait_or_none() {
    let sites = busy();
    sites.at('A').run(
        "CREATE UNIQUE INDEX name ON customer(name); UPDATE customer SET name = 'Bea' WHERE id = 3",
    );
    sites.at('B').run(
        "BEGIN; PRAGMA defer_foreign_keys = 1;
         INSERT INTO customer VALUES (1, 'Ada', 2, NULL, NULL), (2, 'Bea', 1, NULL, NULL), (3, 'Cy', 4, NULL, NULL),
           (4, 'Di', 3, NULL, NULL); COMMIT",
    );
    sites.send('B', 'A');
    let a = sites.at('A');
    // Cy and Di know only each other. There is another Bea, so that Ada waits too.
    assert_eq!(a.rows("SELECT name FROM customer ORDER BY name"), ["Bea", "Cy", "Di", "x", "y"]);
    assert_eq!(
        a.rows(SET_ASIDE),
        [
            "customer|BSOC|1|customer 1 of BSOC refers to customer 2 of BSOC by customer.adviser_id, which is not here",
            "customer|BSOC|2|customer 2 of BSOC refers to customer 1 of BSOC by customer.adviser_id, which is not here",
        ]
    );
    assert_eq!(a.rows("PRAGMA foreign_key_check"), NONE);
    a.run("UPDATE customer SET name = 'Beatrice' WHERE id = 3");
    assert_eq!(a.one("SELECT talon_process()"), r#"{"applied":0,"freed":2,"answered":0}"#);
    assert_eq!(a.rows(ALL)[..2], ["Ada|Bea|NULL|NULL", "Bea|Ada|NULL|NULL"]);
    assert_eq!(a.rows(SET_ASIDE), NONE);
}

#[test]
fn records_with_text_keys_that_refer_to_each_other_pass_together() {
    let sites = Tills::with(
        "CREATE TABLE tariff(code TEXT PRIMARY KEY, after TEXT REFERENCES tariff(code))",
        r#"SELECT talon_track('tariff', '{"record": {"table": "tariff"}, "sync": "customer"}')"#,
        1,
    );
    sites.at('B').run(
        "BEGIN; PRAGMA defer_foreign_keys = 1; INSERT INTO tariff VALUES ('x', 'y'), ('y', 'x'), ('self', 'self'); COMMIT",
    );
    sites.send('B', 'A');
    let a = sites.at('A');
    assert_eq!(a.rows(SET_ASIDE), NONE);
    assert_eq!(a.rows("SELECT * FROM tariff ORDER BY code"), ["self|self", "x|y", "y|x"]);
}

#[test]
fn those_that_cannot_pass_together_do_not_keep_others_back() {
    let sites = busy();
    // Of one sale Cy and Di cannot both be the last customers here.
    sites.at('A').run("CREATE UNIQUE INDEX last_sale ON customer(last_sale_id)");
    sites.at('B').run(
        "BEGIN; PRAGMA defer_foreign_keys = 1;
         INSERT INTO customer VALUES (1, 'Ada', 2, NULL, NULL), (2, 'Bea', 1, NULL, NULL), (3, 'Cy', 4, 1, NULL),
           (4, 'Di', 3, 1, NULL); INSERT INTO sale VALUES (1, 'B1', 3); COMMIT",
    );
    sites.send('B', 'A');
    let a = sites.at('A');
    assert_eq!(a.rows("SELECT name FROM customer ORDER BY name"), ["Ada", "Bea", "x", "y", "z"]);
    assert_eq!(a.rows("PRAGMA foreign_key_check"), NONE);
}

#[test]
fn what_is_missing_for_some_that_refer_to_each_other_does_not_keep_others_back() {
    let schema = format!(
        "CREATE TABLE country(code TEXT PRIMARY KEY);
         {}",
        SCHEMA.replacen("name TEXT,", "name TEXT, country TEXT REFERENCES country(code),", 1)
    );
    let sites = Tills::with(&schema, DECLARE, 1);
    let (a, b) = (sites.at('A'), sites.at('B'));
    b.run(
        "BEGIN; PRAGMA defer_foreign_keys = 1; INSERT INTO country VALUES ('FR');
         INSERT INTO customer VALUES (1, 'Ada', NULL, 2, NULL, NULL), (2, 'Bea', NULL, 1, NULL, NULL),
           (3, 'Cy', 'FR', 4, NULL, NULL), (4, 'Di', NULL, 3, NULL, NULL); COMMIT",
    );
    sites.send('B', 'A');
    assert_eq!(a.rows("SELECT name FROM customer ORDER BY name"), ["Ada", "Bea"]);
    assert_eq!(a.rows("PRAGMA foreign_key_check"), NONE);
    a.run("INSERT INTO country VALUES ('FR'); SELECT talon_process()");
    assert_eq!(a.rows("SELECT name FROM customer ORDER BY name"), ["Ada", "Bea", "Cy", "Di"]);
    assert_eq!(a.rows(SET_ASIDE), NONE);
}

#[test]
fn codes_of_sites_that_are_written_otherwise_elsewhere_are_the_same() {
    let shops = [Shop::with(SCHEMA), Shop::with(SCHEMA)];
    let site = |shop: &Shop, own: &str, codes: [&str; 2]| {
        let [central, till] = codes;
        let db = shop.open();
        db.run("SELECT talon_clock('2026-11-20T08:00:00+01:00')");
        db.run(&format!(
            "SELECT talon_site('{central}', 'central'), talon_site('{till}', 'remote')"
        ));
        db.run(&format!("SELECT talon_origin('{own}')"));
        db.run(DECLARE);
        db
    };
    let a = site(&shops[0], "ASOC", ["ASOC", "BSOC"]);
    let b = site(&shops[1], "bsoc", ["asoc", "bsoc"]);
    b.run(
        "BEGIN; PRAGMA defer_foreign_keys = 1;
         INSERT INTO customer VALUES (1, 'Ada', 2, NULL, NULL), (2, 'Bea', 1, NULL, NULL); COMMIT",
    );
    a.receive(&b.flow("asoc", "changes", "none")).expect("a sound flow");
    a.run("SELECT talon_process()");
    assert_eq!(a.rows(SET_ASIDE), NONE);
    assert_eq!(a.rows(ALL), ["Ada|Bea|NULL|NULL", "Bea|Ada|NULL|NULL"]);
}
