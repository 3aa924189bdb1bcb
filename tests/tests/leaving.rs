//! What a till no longer gets because its filter does not hold any more: it goes from there without being deleted, and comes
//! back as it was.

use talon_tests::tills::{NONE, SCHEMA, SET_ASIDE, Tills};

const CONFLICTS: &str = "SELECT * FROM talon_conflicts";

/// Customers of a shop and sales of a shop: a till gets those whose address names it, or which have none.
fn filtered() -> Tills {
    let declare = r#"
        SELECT talon_track('customer', '{"record": {"table": "customer"},
          "sync": {"preset": "customer", "filter": "h.address IS NULL OR h.address = :site"}}');
        SELECT talon_track('article', '{"record": {"table": "article"}, "sync": "article"}');
        SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line"},
          "sync": {"preset": "piece", "freeze": false, "filter": "h.number LIKE :site || ''%''"}}');
    "#;
    Tills::with(SCHEMA, declare, 2)
}

/// The same, where BSOC has got a customer.
fn with_a_customer() -> Tills {
    let sites = filtered();
    sites.at('A').run("INSERT INTO customer VALUES (1, 'Ada', 'BSOC', '11')");
    sites.send('A', 'B');
    sites
}

/// She is to leave BSOC, which hears of it.
fn move_away(sites: &Tills) {
    sites.at('A').run("UPDATE customer SET address = 'CSOC' WHERE id = 1");
    sites.send('A', 'B');
}

#[test]
fn a_record_that_leaves_the_filter_goes_and_comes_back_when_it_holds_again() {
    let sites = filtered();
    let (a, b, c) = (sites.at('A'), sites.at('B'), sites.at('C'));
    a.run("INSERT INTO customer VALUES (1, 'Ada', 'BSOC', '11'), (2, 'Bea', NULL, '12')");
    sites.settle(1);
    let names = "SELECT name FROM customer ORDER BY id";
    assert_eq!(b.rows(names), ["Ada", "Bea"]);
    assert_eq!(c.rows(names), ["Bea"]);
    a.run("UPDATE customer SET address = 'CSOC' WHERE id = 1");
    sites.settle(2);
    assert_eq!(a.rows(names), ["Ada", "Bea"]);
    assert_eq!(b.rows(names), ["Bea"]);
    assert_eq!(c.rows(names), ["Ada", "Bea"]);
    // Nothing of it is a deletion: nobody is told of one, and nothing is lost.
    for nothing in [SET_ASIDE, CONFLICTS, "SELECT * FROM talon_audit"] {
        sites.all_show(nothing, &NONE);
    }
    assert_eq!(b.rows("SELECT * FROM talon_lost"), NONE);
    c.run("UPDATE customer SET address = NULL, phone = '99' WHERE id = 1");
    sites.settle(2);
    let customers = "SELECT name, address, phone FROM customer ORDER BY name";
    sites.all_show(customers, &["Ada|NULL|99", "Bea|NULL|12"]);
    sites.all_show(SET_ASIDE, &NONE);
}

#[test]
fn a_piece_leaves_with_its_lines_and_comes_back_with_them() {
    let sites = filtered();
    let (a, b) = (sites.at('A'), sites.at('B'));
    // C's sale 1 is another one at each other site.
    for till in ['B', 'C'] {
        sites.at(till).run(&format!(
            "BEGIN; INSERT INTO sale VALUES (1, '{till}SOC 1', NULL, 5);
             INSERT INTO sale_line VALUES (1, 1, NULL, 1, 5, NULL), (2, 1, NULL, 2, 5, 1); COMMIT"
        ));
    }
    sites.settle(1);
    let sales = "SELECT s.id, s.number, l.id, l.quantity, l.upstream_line_id FROM sale AS s
      LEFT JOIN sale_line AS l ON l.sale_id = s.id ORDER BY s.id, l.id";
    let own = ["1|BSOC 1|1|1.0|NULL", "1|BSOC 1|2|2.0|1"];
    assert_eq!(b.rows(sales), own);
    let there = a.one("SELECT id FROM sale WHERE number = 'CSOC 1'");
    a.run(&format!("UPDATE sale SET number = 'BSOC moved' WHERE id = {there}"));
    sites.send('A', 'B');
    assert_eq!(
        b.rows(sales),
        [own.as_slice(), &["2|BSOC moved|3|1.0|NULL", "2|BSOC moved|4|2.0|3"]].concat()
    );
    a.run(&format!("UPDATE sale SET number = 'moved on' WHERE id = {there}"));
    sites.send('A', 'B');
    assert_eq!(b.rows(sales), own);
    assert_eq!(b.findings(), NONE);
    assert_eq!(b.rows("SELECT * FROM talon_lost"), NONE);
    // Its number and its lines' are free, and the till gives them again.
    b.run(
        "BEGIN; INSERT INTO sale(number) VALUES ('BSOC 2'); INSERT INTO sale_line(sale_id, quantity) VALUES (2, 7); COMMIT",
    );
    a.run(&format!("UPDATE sale SET number = 'BSOC again' WHERE id = {there}"));
    sites.settle(2);
    assert_eq!(
        b.rows("SELECT s.number, l.quantity, u.quantity FROM sale AS s JOIN sale_line AS l ON l.sale_id = s.id
          LEFT JOIN sale_line AS u ON u.id = l.upstream_line_id ORDER BY s.number, l.id"),
        [
            "BSOC 1|1.0|NULL",
            "BSOC 1|2.0|1.0",
            "BSOC 2|7.0|NULL",
            "BSOC again|1.0|NULL",
            "BSOC again|2.0|1.0"
        ]
    );
    // Where it was made it is what it was, whatever the filter says.
    assert_eq!(sites.at('C').rows("SELECT id, number FROM sale"), ["1|BSOC again"]);
    sites.all_show(SET_ASIDE, &NONE);
    sites.all_show(CONFLICTS, &NONE);
}

#[test]
fn what_others_refer_to_stays_until_nobody_does() {
    let sites = with_a_customer();
    let (a, b) = (sites.at('A'), sites.at('B'));
    b.run("INSERT INTO sale VALUES (1, 'BSOC 1', 1, 5)");
    move_away(&sites);
    assert_eq!(b.rows("SELECT name, address FROM customer"), ["Ada|BSOC"]);
    assert_eq!(
        b.rows(SET_ASIDE),
        ["customer|ASOC|1|it is to leave BSOC, and sale 1 refers to it by sale.customer_id"]
    );
    assert_eq!(b.findings(), NONE);
    // What is told of it in the meantime is not lost, and the sale arrives.
    sites.settle(1);
    assert_eq!(a.rows("SELECT number, customer_id FROM sale"), ["BSOC 1|1"]);
    b.run("UPDATE sale SET customer_id = NULL");
    b.run("SELECT talon_process()");
    assert_eq!(b.rows("SELECT name FROM customer"), NONE);
    assert_eq!(b.rows(SET_ASIDE), NONE);
    sites.settle(2);
    assert_eq!(a.rows("SELECT name FROM customer"), ["Ada"]);
    assert_eq!(a.rows("SELECT number, customer_id FROM sale"), ["BSOC 1|NULL"]);
}

#[test]
fn what_was_changed_at_the_till_and_not_sent_yet_is_sent_before_it_leaves() {
    let sites = with_a_customer();
    let (a, b) = (sites.at('A'), sites.at('B'));
    b.run("UPDATE customer SET phone = '21' WHERE id = 1");
    move_away(&sites);
    assert_eq!(b.rows("SELECT name, phone FROM customer"), ["Ada|21"]);
    assert_eq!(
        b.rows(SET_ASIDE),
        ["customer|ASOC|1|it was changed here, and central does not have that yet"]
    );
    sites.settle(2);
    assert_eq!(a.rows("SELECT address, phone FROM customer"), ["CSOC|21"]);
    assert_eq!(sites.at('C').rows("SELECT address, phone FROM customer"), ["CSOC|21"]);
    assert_eq!(b.rows("SELECT name FROM customer"), NONE);
    assert_eq!(b.rows(SET_ASIDE), NONE);
}

#[test]
fn what_is_open_at_the_till_stays_until_it_is_closed() {
    let sites = with_a_customer();
    let b = sites.at('B');
    b.be("till 2", "marie", "2026-11-20T09:00:00+01:00");
    b.run("SELECT talon_edit_begin('customer', 1)");
    move_away(&sites);
    assert_eq!(
        b.rows(SET_ASIDE),
        ["customer|ASOC|1|it is open at till 2 by marie since 2026-11-20T09:00:00.000+01:00"]
    );
    b.run("SELECT talon_edit_end('customer', 1); SELECT talon_process()");
    assert_eq!(b.rows("SELECT name FROM customer"), NONE);
}

#[test]
fn what_left_and_is_deleted_at_central_leaves_nothing_behind() {
    let sites = with_a_customer();
    let a = sites.at('A');
    a.run("UPDATE customer SET address = 'CSOC' WHERE id = 1");
    a.run("DELETE FROM customer");
    sites.settle(2);
    sites.all_show("SELECT * FROM customer", &NONE);
    sites.all_show(SET_ASIDE, &NONE);
    assert_eq!(sites.at('B').rows(CONFLICTS), NONE);
}
