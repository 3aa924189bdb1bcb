//! Two sites change the same: the later change wins, and what loses is kept with both values.

use talon_tests::tills::{NONE, Tills};

const CONFLICTS: &str = "SELECT kind, piece, field, lost_value, lost_site, won_value, won_site FROM talon_conflicts ORDER BY id";
const SOLD: &str =
    "SELECT s.total, l.quantity FROM sale AS s JOIN sale_line AS l ON l.sale_id = s.id";

/// Everybody has customer 1, and BSOC's sale 1 with its line 1.
fn shared() -> Tills {
    let sites = Tills::new();
    sites.at('A').run("INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11')");
    sites.at('B').run(
        "BEGIN; INSERT INTO sale VALUES (1, 'B1', NULL, 5); INSERT INTO sale_line VALUES (1, 1, NULL, 1, 5, NULL); COMMIT",
    );
    sites.settle(1);
    sites
}

/// The same field of customer 1 is changed at B, and an hour later at C.
fn both_change_the_phone(sites: &Tills) {
    sites.at('B').run("UPDATE customer SET phone = '21' WHERE id = 1");
    changed_later_at_c(sites);
}

fn changed_later_at_c(sites: &Tills) {
    sites.at('C').run("SELECT talon_clock('2026-11-20T09:00:00+01:00')");
    sites.at('C').run("UPDATE customer SET phone = '22' WHERE id = 1");
}

/// Every site has customer 1 like this.
fn all_have(sites: &Tills, customer: &str) {
    sites.all_show("SELECT * FROM customer", &[customer]);
}

#[test]
fn two_fields_changed_by_two_people_both_keep_their_change() {
    let sites = shared();
    sites.at('B').run("UPDATE customer SET address = 'Hill Road' WHERE id = 1");
    sites.at('C').run("UPDATE customer SET phone = '22' WHERE id = 1");
    sites.settle(2);
    all_have(&sites, "1|Ada|Hill Road|22");
    sites.all_show(CONFLICTS, &NONE);
}

#[test]
fn of_two_changes_of_one_stamp_the_one_that_wins_at_central_reaches_who_has_the_other() {
    let sites = Tills::new();
    sites.clock("2026-11-20T08:00:00+01:00");
    sites.at('C').run(
        "BEGIN; INSERT INTO sale VALUES (1, 'C1', NULL, 5); INSERT INTO sale_line VALUES (1, 1, NULL, 1, 5, NULL); COMMIT",
    );
    sites.send('C', 'A');
    sites.at('A').run("UPDATE sale SET total = 6");
    // What central has received has moved its clock on by one.
    sites.at('C').run("INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11')");
    sites.at('C').run("UPDATE sale SET total = 7");
    let stamp = "SELECT stamp FROM talon_stamps WHERE kind = 'sale'";
    assert_eq!(sites.at('A').one(stamp), sites.at('C').one(stamp));
    sites.send('A', 'B');
    assert_eq!(sites.at('B').rows(SOLD), ["6.0|1.0"]);
    sites.send('C', 'A');
    sites.settle(1);
    sites.all_show(SOLD, &["7.0|1.0"]);
}

#[test]
fn a_deletion_that_loses_is_listed_also_where_a_line_s_number_was_given_again() {
    let sites = Tills::new();
    sites.at('B').run(
        "BEGIN; INSERT INTO sale VALUES (1, 'B1', NULL, 5); INSERT INTO sale_line VALUES (1, 1, NULL, 1, 5, NULL); COMMIT",
    );
    sites.send('B', 'A');
    sites.at('A').run(
        "BEGIN; DELETE FROM sale_line; DELETE FROM sale; COMMIT;
         BEGIN; INSERT INTO sale VALUES (9, 'A9', NULL, 2); INSERT INTO sale_line VALUES (1, 9, NULL, 1, 2, NULL); COMMIT",
    );
    sites.at('B').run("SELECT talon_clock('2026-11-20T09:00:00+01:00')");
    sites.at('B').run("UPDATE sale SET total = 7");
    sites.send('B', 'A');
    assert_eq!(sites.at('A').rows("SELECT total FROM sale ORDER BY id"), ["7.0", "2.0"]);
    let lost = "SELECT kind, piece, lost_value, lost_site, won_site FROM talon_conflicts";
    assert_eq!(sites.at('A').rows(lost), ["sale|1|NULL|ASOC|BSOC"]);
}

/// B's change of the name at twenty past eight and C's of the address at `moment` have come together at A; B has changed `set` at nine, before
/// it hears of that.
fn put_together(moment: &str, set: &str) -> Tills {
    let sites = shared();
    sites.at('B').run("SELECT talon_clock('2026-11-20T08:20:00+01:00')");
    sites.at('B').run("UPDATE customer SET name = 'Eve' WHERE id = 1");
    sites.at('C').run(&format!("SELECT talon_clock('2026-11-20T{moment}:00+01:00')"));
    sites.at('C').run("UPDATE customer SET address = 'Hill Road' WHERE id = 1");
    sites.send('B', 'A');
    sites.send('C', 'A');
    sites.at('B').run("SELECT talon_clock('2026-11-20T09:00:00+01:00')");
    sites.at('B').run(&format!("UPDATE customer SET {set} WHERE id = 1"));
    sites
}

#[test]
fn what_came_together_elsewhere_is_new_here_though_its_newest_field_is_not() {
    for moment in ["08:10", "08:30"] {
        let sites = put_together(moment, "phone = '21'");
        sites.send('A', 'B');
        assert_eq!(
            sites.at('B').rows("SELECT * FROM customer"),
            ["1|Eve|Hill Road|21"],
            "{moment}"
        );
        sites.settle(2);
        all_have(&sites, "1|Eve|Hill Road|21");

        let sites = put_together(moment, "address = 'Old Bridge'");
        sites.send('A', 'B');
        sites.settle(2);
        all_have(&sites, "1|Eve|Old Bridge|11");
        let listed = ["customer|1|address|Hill Road|CSOC|Old Bridge|BSOC"];
        assert_eq!(sites.at('B').rows(CONFLICTS), listed, "{moment}");
        assert_eq!(sites.at('A').rows(CONFLICTS), NONE, "{moment}");
    }
}

#[test]
fn what_somebody_wrote_over_at_the_same_till_is_no_conflict_when_it_comes_back() {
    let sites = put_together("08:30", "name = 'Eva'");
    sites.send('A', 'B');
    sites.settle(2);
    all_have(&sites, "1|Eva|Hill Road|11");
    sites.all_show(CONFLICTS, &NONE);
}

#[test]
fn the_later_change_of_a_field_wins_and_the_other_is_listed_where_they_met() {
    let sites = shared();
    sites.at('B').run("UPDATE customer SET phone = '21', name = 'Eve' WHERE id = 1");
    changed_later_at_c(&sites);
    sites.settle(2);
    all_have(&sites, "1|Eve|Mill Lane|22");
    assert_eq!(sites.at('A').rows(CONFLICTS), ["customer|1|phone|21|BSOC|22|CSOC"]);
    assert_eq!(sites.at('B').rows(CONFLICTS), NONE);
    assert_eq!(sites.at('C').rows(CONFLICTS), NONE);
}

#[test]
fn what_lost_comes_back_as_a_new_change() {
    let sites = shared();
    both_change_the_phone(&sites);
    sites.settle(2);
    let a = sites.at('A');
    assert_eq!(a.one("SELECT talon_reinstate(id) FROM (SELECT 1 AS id)"), "customer 1");
    assert_eq!(
        a.error("SELECT talon_reinstate(1)"),
        "talon_reinstate: conflict 1 was reinstated already"
    );
    assert_eq!(a.error("SELECT talon_reinstate(9)"), "talon_reinstate: there is no conflict 9");
    assert_eq!(a.rows("SELECT reinstated_at IS NOT NULL FROM talon_conflicts"), ["1"]);
    sites.settle(2);
    sites.all_show("SELECT phone FROM customer", &["21"]);
}

#[test]
fn of_two_versions_of_a_piece_the_later_one_stands_and_the_other_can_be_had_back() {
    let sites = shared();
    // Central had nothing of it yet when the till changed it again.
    sites.at('A').run("UPDATE sale_line SET quantity = 2 WHERE sale_id = 1");
    sites.at('B').run("UPDATE talon_site SET acknowledged = 0");
    sites.at('B').run("SELECT talon_clock('2026-11-20T09:00:00+01:00')");
    sites.at('B').run("UPDATE sale SET total = 6 WHERE id = 1");
    sites.send('B', 'A');
    let a = sites.at('A');
    assert_eq!(a.rows(SOLD), ["6.0|1.0"]);
    assert_eq!(
        a.rows("SELECT kind, piece, field, lost_site, won_site, lost_value ->> '$.lines[0][3]' FROM talon_conflicts"),
        ["sale|1|NULL|ASOC|BSOC|2.0"]
    );
    assert_eq!(a.one("SELECT talon_reinstate(1)"), "sale 1");
    assert_eq!(a.rows(SOLD), ["5.0|2.0"]);
    sites.settle(2);
    sites.all_show(SOLD, &["5.0|2.0"]);
}

#[test]
fn a_deletion_and_a_change_that_did_not_know_of_each_other() {
    let sites = shared();
    sites.at('B').run("DELETE FROM customer WHERE id = 1");
    changed_later_at_c(&sites);
    sites.settle(2);
    all_have(&sites, "1|Ada|Mill Lane|22");
    assert_eq!(sites.at('A').rows(CONFLICTS).len(), 1);
    assert_eq!(
        sites.at('A').rows("SELECT lost_value, lost_site, won_site FROM talon_conflicts"),
        ["NULL|BSOC|CSOC"]
    );
}

#[test]
fn the_same_flow_again_lists_nothing_again() {
    let sites = shared();
    both_change_the_phone(&sites);
    sites.send('C', 'A');
    let first = sites.emit('B', 'A', "changes", "none");
    sites.receive('A', &first);
    sites.at('A').run("SELECT talon_process()");
    sites.receive('A', &first);
    sites.at('A').run("SELECT talon_process()");
    sites.exchange('B', 'A', "full", "none");
    assert_eq!(sites.at('A').rows(CONFLICTS), ["customer|1|phone|21|BSOC|22|CSOC"]);
}

#[test]
fn what_lost_comes_back_only_where_it_may_be_written() {
    let sites = shared();
    // The till's change of its sale and central's cross: the till's loses, and is listed at the till, which has it no more.
    sites.at('B').run("UPDATE talon_site SET acknowledged = 0");
    sites.at('B').run("UPDATE sale SET total = 6 WHERE id = 1");
    sites.clock("2026-11-20T09:00:00+01:00");
    sites.at('A').run("UPDATE sale SET total = 7 WHERE id = 1");
    sites.send('A', 'B');
    let b = sites.at('B');
    assert_eq!(b.rows("SELECT total FROM sale"), ["7.0"]);
    assert_eq!(
        b.rows("SELECT id, kind, lost_site, won_site FROM talon_conflicts"),
        ["1|sale|BSOC|ASOC"]
    );
    sites.settle(2);
    let before = b.contents(&["sale", "sale_line", "talon_change", "talon_conflict"]);
    let refused =
        "talon: sale 1 was sent to central on 2026-11-20 and is no longer editable at BSOC";
    assert_eq!(b.error("UPDATE sale SET total = 6 WHERE id = 1"), refused);
    assert_eq!(b.error("SELECT talon_reinstate(1)"), refused.replace("talon:", "talon_reinstate:"));
    assert_eq!(b.contents(&["sale", "sale_line", "talon_change", "talon_conflict"]), before);
    assert!(b.connection.is_autocommit());
}

#[test]
fn what_lost_waits_until_nobody_has_the_piece_open() {
    let sites = shared();
    sites.at('B').run("UPDATE customer SET phone = '21' WHERE id = 1");
    sites.at('C').run("SELECT talon_clock('2026-11-20T09:00:00+01:00')");
    sites.at('C').run("UPDATE customer SET phone = '22' WHERE id = 1");
    sites.settle(2);
    let a = sites.at('A');
    let other = sites.shop('A').open();
    other.be("till 2", "marie", "2026-11-20T09:00:00+01:00");
    other.run("SELECT talon_edit_begin('customer', 1)");
    a.be("till 1", "anna", "2026-11-20T09:01:00+01:00");
    assert_eq!(
        a.error("SELECT talon_reinstate(1)"),
        "talon_reinstate: customer 1: being edited at till 2 by marie since 2026-11-20T09:00:00.000+01:00"
    );
    other.run("SELECT talon_edit_end('customer', 1)");
    assert_eq!(a.one("SELECT talon_reinstate(1)"), "customer 1");
    assert_eq!(a.one("SELECT phone FROM customer"), "21");
}

#[test]
fn what_loses_of_records_made_apart_under_one_key_is_listed_field_by_field() {
    let sites = Tills::with(
        "CREATE TABLE customer(code TEXT PRIMARY KEY, name TEXT, phone TEXT)",
        "SELECT talon_track('customer', '{\"record\": {\"table\": \"customer\"}, \"sync\": \"customer\"}')",
        2,
    );
    sites.at('B').run("INSERT INTO customer VALUES ('K', 'Ada', '11')");
    sites.at('C').run("SELECT talon_clock('2026-11-20T09:00:00+01:00')");
    sites.at('C').run("INSERT INTO customer VALUES ('K', 'Carl', '11')");
    sites.at('B').run("SELECT talon_clock('2026-11-20T10:00:00+01:00')");
    sites.at('B').run("UPDATE customer SET phone = '21'");
    sites.settle(3);
    let fields = ["customer|K|name|Carl|CSOC|Ada|BSOC", "customer|K|phone|11|CSOC|21|BSOC"];
    for letter in sites.letters() {
        let db = sites.at(letter);
        assert_eq!(db.rows("SELECT * FROM customer"), ["K|Ada|21"], "{letter}");
        let listed = db.rows(CONFLICTS);
        assert_eq!(listed, if letter == 'A' { &fields[..] } else { &[] }, "{letter}");
    }
    assert_eq!(sites.at('A').one("SELECT talon_reinstate(1)"), "customer K");
    sites.settle(2);
    assert_eq!(sites.at('B').rows("SELECT * FROM customer"), ["K|Carl|21"]);
}

#[test]
fn what_lost_and_whose_number_was_given_again_is_brought_back_under_none_that_no_host_gives() {
    let sites = Tills::new();
    sites.at('B').run("INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11')");
    sites.settle(1);
    sites.clock("2026-11-20T09:00:00+01:00");
    sites.at('B').run("UPDATE customer SET phone = '99'");
    sites.clock("2026-11-20T10:00:00+01:00");
    let a = sites.at('A');
    a.run("DELETE FROM customer; INSERT INTO customer VALUES (1, 'Zoe', NULL, '22')");
    sites.send('B', 'A');
    assert_eq!(a.rows("SELECT lost_value ->> '$.header[3]' FROM talon_conflicts"), ["99"]);
    assert_eq!(
        a.error("SELECT talon_reinstate(id) FROM talon_conflicts"),
        "talon_reinstate: customer -4611686018427387905: its number was given to another one: enter anew what it lost"
    );
    assert_eq!(a.rows("SELECT id, name FROM customer"), ["1|Zoe"]);
}
