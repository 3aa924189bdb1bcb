//! Flows are applied whole document by whole document: what one site has, the other gets, and applying again does nothing.

use talon_tests::tills::Tills;

/// Central has two articles and a customer.
fn stocked() -> Tills {
    let sites = Tills::new();
    sites.at('A').run(
        "INSERT INTO article VALUES (1, 'c', 'coffee', 2.5), (2, 'f', 'filter', 1.0);
         INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11')",
    );
    sites.send('A', 'B');
    sites.send('A', 'C');
    sites
}

const SALES: &str = "SELECT s.id, s.number, s.customer_id, l.id, l.article_id, l.quantity, l.upstream_line_id FROM sale AS s
    LEFT JOIN sale_line AS l ON l.sale_id = s.id ORDER BY s.id, l.id";

#[test]
fn what_one_site_has_made_the_other_gets() {
    let sites = stocked();
    let b = sites.at('B');
    assert_eq!(b.rows("SELECT * FROM article"), ["1|c|coffee|2.5", "2|f|filter|1.0"]);
    assert_eq!(b.rows("SELECT * FROM customer"), ["1|Ada|Mill Lane|11"]);
    b.run(
        "BEGIN; INSERT INTO sale VALUES (1, 'B1', 1, 7.5);
         INSERT INTO sale_line VALUES (1, 1, 1, 3, 2.5, NULL); COMMIT",
    );
    sites.send('B', 'A');
    let a = sites.at('A');
    assert_eq!(a.rows(SALES), ["1|B1|1|1|1|3.0|NULL"]);
    assert_eq!(
        a.rows("SELECT reason, version, lines FROM talon_snapshots WHERE kind = 'sale'"),
        ["sync|1|1"]
    );
    assert_eq!(a.findings(), [""; 0]);
    assert_eq!(a.rows("SELECT * FROM talon_quarantine"), [""; 0]);
    b.run(
        "UPDATE sale_line SET quantity = 4 WHERE id = 1; UPDATE sale SET total = 10 WHERE id = 1",
    );
    b.run("INSERT INTO sale_line VALUES (2, 1, 2, 1, 1.0, 1)");
    sites.send('B', 'A');
    assert_eq!(a.rows(SALES), ["1|B1|1|1|1|4.0|NULL", "1|B1|1|2|2|1.0|1"]);
    b.run("BEGIN; DELETE FROM sale_line; DELETE FROM sale; COMMIT");
    sites.send('B', 'A');
    assert_eq!(a.rows(SALES), [""; 0]);
    assert_eq!(a.rows("SELECT * FROM talon_conflicts"), [""; 0]);
    assert_eq!(a.rows("SELECT * FROM talon_quarantine"), [""; 0]);
}
