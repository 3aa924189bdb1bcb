//! A till's database that was there before Talon: filled from a copy of central's data by the shops' own program.

use talon_tests::tills::{DECLARE, NONE, SCHEMA, SET_ASIDE, Tills};

const DATA: &str = "
    INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11'), (2, 'Bea', NULL, '12');
    INSERT INTO article VALUES (1, 'c', 'coffee', 2.5);
    INSERT INTO sale VALUES (1, 'A1', 1, 5), (2, 'A2', 2, 7);
    INSERT INTO sale_line VALUES (1, 1, 1, 1, 5, NULL), (2, 2, 1, 2, 3.5, NULL), (3, 2, 1, 2, 3.5, 2);";

/// Sites whose tables are filled by these statements before Talon is declared there: central, BSOC, CSOC.
fn filled(data: [&str; 3]) -> Tills {
    let sites = Tills::with(SCHEMA, "", 2);
    for (site, data) in sites.letters().into_iter().zip(data) {
        sites.at(site).run(data);
        sites.at(site).run(DECLARE);
    }
    sites
}

#[test]
fn equal_rows_are_one_on_all_sites() {
    let sites = filled([DATA, DATA, DATA]);
    sites.settle(2);
    sites.all_show("SELECT id, name FROM customer", &["1|Ada", "2|Bea"]);
    sites.all_show("SELECT id, number FROM sale", &["1|A1", "2|A2"]);
    sites.all_show("SELECT id FROM sale_line", &["1", "2", "3"]);
    sites.all_show("SELECT label FROM article", &["coffee"]);
    sites.all_show(SET_ASIDE, &NONE);
    sites.all_show("SELECT * FROM talon_conflicts", &NONE);
    sites.at('A').run(
        "UPDATE customer SET phone = '99' WHERE id = 1; UPDATE sale SET total = 9 WHERE id = 2",
    );
    sites.at('B').run("UPDATE customer SET address = 'Hill Road' WHERE id = 2");
    sites.settle(2);
    let customers = "SELECT id, phone, address FROM customer";
    sites.all_show(customers, &["1|99|Mill Lane", "2|12|Hill Road"]);
    sites.all_show("SELECT id, total FROM sale", &["1|5.0", "2|9.0"]);
}

#[test]
fn what_is_not_equal_is_another_one_and_both_stay() {
    let other = DATA
        .replace("'Bea', NULL, '12'", "'Ben', NULL, '13'")
        .replace("(2, 'A2', 2, 7)", "(2, 'B2', 2, 8)");
    let sites = filled([DATA, &other, DATA]);
    sites.settle(2);
    sites.all_show("SELECT name FROM customer ORDER BY name", &["Ada", "Bea", "Ben"]);
    let sales =
        "SELECT s.number, c.name, count(*) FROM sale AS s JOIN customer AS c ON c.id = s.customer_id
         JOIN sale_line AS l ON l.sale_id = s.id GROUP BY 1 ORDER BY 1";
    sites.all_show(sales, &["A1|Ada|1", "A2|Bea|2", "B2|Ben|2"]);
    sites.all_show(SET_ASIDE, &NONE);
}

#[test]
fn what_the_till_did_before_its_first_exchange_is_kept() {
    let sites = filled([DATA, DATA, DATA]);
    let (a, b) = (sites.at('A'), sites.at('B'));
    b.run("UPDATE customer SET phone = '21' WHERE id = 1");
    b.run(
        "BEGIN; INSERT INTO sale VALUES (3, 'B3', 2, 4); INSERT INTO sale_line VALUES (4, 3, 1, 1, 4, NULL); COMMIT",
    );
    sites.send('B', 'A');
    // The sale refers to a customer of whom nobody knows yet whose it is.
    assert_eq!(
        a.rows(SET_ASIDE),
        [
            "sale|BSOC|3|sale 3 of BSOC refers to customer 2 of BSOC by sale.customer_id, which is not here"
        ]
    );
    sites.settle(2);
    sites.all_show("SELECT id, name, phone FROM customer", &["1|Ada|21", "2|Bea|12"]);
    let sales = "SELECT id, number, customer_id FROM sale";
    sites.all_show(sales, &["1|A1|1", "2|A2|2", "3|B3|2"]);
    sites.all_show(SET_ASIDE, &NONE);
    sites.all_show("SELECT * FROM talon_conflicts", &NONE);
    assert_eq!(b.rows("SELECT count(*) FROM talon_held"), ["0"]);
}

#[test]
fn what_is_made_alike_at_two_sites_afterwards_is_not_one() {
    let sites = filled(["", "", ""]);
    for site in ['A', 'B'] {
        sites.at(site).run("INSERT INTO sale(id) VALUES (1)");
    }
    sites.send('A', 'B');
    sites.settle(2);
    sites.all_show("SELECT count(*) FROM sale", &["2"]);
}

#[test]
fn what_is_imaged_for_a_document_that_is_set_aside_leaves_nothing_behind() {
    let articles = "INSERT INTO article VALUES (1, 'x', 'old', 1), (2, 'y', 'old', 1)";
    let sites = filled([articles, articles, ""]);
    // The first of the two needs a code that the second one still has at the till.
    sites.at('A').run(
        "UPDATE article SET code = 'on its way' WHERE id = 2;
         UPDATE article SET code = 'y' WHERE id = 1;
         UPDATE article SET code = 'z', label = 'new' WHERE id = 2",
    );
    sites.send('A', 'B');
    let b = sites.at('B');
    assert_eq!(b.rows("SELECT code FROM article ORDER BY id"), ["y", "z"]);
    assert_eq!(b.rows(SET_ASIDE), NONE);
    let without_shape = "SELECT count(*) FROM talon_snapshot AS s WHERE NOT EXISTS (SELECT 1 FROM talon_shape WHERE id = s.shape)";
    assert_eq!(b.one(without_shape), "0");
    b.run("INSERT INTO talon_restore(kind, piece, snapshot) SELECT kind, piece, min(id) FROM talon_snapshots WHERE piece = 2");
    assert_eq!(b.findings(), [""; 0]);
}

#[test]
fn what_central_has_deleted_is_not_left_where_it_was_from_the_beginning() {
    let schema = "CREATE TABLE article(id INTEGER PRIMARY KEY, code TEXT);
        CREATE TABLE unit(code TEXT PRIMARY KEY);
        INSERT INTO article VALUES (1, 'x'), (2, 'y'); INSERT INTO unit VALUES ('kg'), ('lb')";
    let declare = r#"SELECT talon_track('article', '{"record": {"table": "article"}, "sync": "article"}');
        SELECT talon_track('unit', '{"record": {"table": "unit"}, "sync": "article"}')"#;
    let sites = Tills::with(schema, declare, 2);
    sites.at('A').run("DELETE FROM article WHERE id = 2; DELETE FROM unit WHERE code = 'lb'");
    sites.settle(1);
    sites.all_show("SELECT code FROM article", &["x"]);
    sites.all_show("SELECT code FROM unit", &["kg"]);
    // It leaves an image, as any other does.
    let b = sites.at('B');
    assert_eq!(b.findings(), [""; 0]);
    let images = "SELECT kind, piece FROM talon_snapshots WHERE piece IN (2, 'lb')";
    assert_eq!(b.rows(images), ["article|2", "unit|lb"]);
}
