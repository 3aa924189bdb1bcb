//! What was there at several sites before they knew of each other: copies of one database that become sites.

use talon_tests::tills::{DECLARE, NONE, SCHEMA, SET_ASIDE, Tills};

const CONFLICTS: &str =
    "SELECT kind, piece, lost_value IS NOT NULL, lost_site, won_site FROM talon_conflicts";

/// Sites that began as copies of one database.
fn copies() -> Tills {
    let schema = format!(
        "{SCHEMA}
         INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11');
         INSERT INTO article VALUES (7, 'c', 'coffee', 2.5), (8, 't', 'tea', 3);"
    );
    Tills::with(&schema, DECLARE, 2)
}

#[test]
fn what_copies_have_in_common_is_the_same_once_central_has_sent_it() {
    let sites = copies();
    for till in ['B', 'C'] {
        sites.exchange('A', till, "full", "none");
        assert_eq!(sites.at(till).rows(SET_ASIDE), NONE);
        assert_eq!(sites.at(till).rows(CONFLICTS), NONE);
        assert_eq!(
            sites.at(till).rows("SELECT kind, piece, origin, site FROM talon_stamps ORDER BY 1, 2"),
            ["article|7|ASOC|ASOC", "article|8|ASOC|ASOC", "customer|1|ASOC|ASOC"]
        );
    }
    // From then on each change finds its row.
    sites.at('A').run("UPDATE article SET price = 2.75 WHERE id = 7");
    sites.at('B').run("UPDATE customer SET phone = '12' WHERE id = 1");
    sites.settle(2);
    sites.all_show("SELECT id, price FROM article ORDER BY id", &["7|2.75", "8|3.0"]);
    sites.all_show("SELECT id, phone FROM customer", &["1|12"]);
    sites.all_show(SET_ASIDE, &NONE);
}

#[test]
fn what_only_central_may_change_becomes_what_central_has_and_what_it_was_is_kept() {
    let sites = copies();
    let till = sites.at('B');
    // An application that has not loaded Talon changed the copy.
    sites.shop('B').bare().run("UPDATE article SET price = 1 WHERE id = 8");
    sites.exchange('A', 'B', "full", "none");
    assert_eq!(till.rows("SELECT id, price FROM article ORDER BY id"), ["7|2.5", "8|3.0"]);
    assert_eq!(till.rows(CONFLICTS), ["article|8|1|BSOC|ASOC"]);
}

/// Copies with a sale that no till may create.
fn copies_with_a_sale_of_the_office() -> Tills {
    let declare = DECLARE.replace(
        "\"sync\": \"piece\"",
        "\"sync\": {\"preset\": \"piece\", \"when\": \"h.number LIKE ''T%''\"}",
    );
    let schema = format!(
        "{SCHEMA} INSERT INTO sale VALUES (1, 'O1', NULL, 5); INSERT INTO sale_line VALUES (1, 1, NULL, 1, 5, NULL);"
    );
    Tills::with(&schema, &declare, 1)
}

#[test]
fn what_a_remote_may_not_create_and_had_before_is_not_told_but_known_by_central_s() {
    let sites = copies_with_a_sale_of_the_office();
    let till = sites.at('B');
    assert_eq!(till.rows("SELECT piece FROM talon_stamps"), NONE);
    sites.exchange('A', 'B', "full", "none");
    assert_eq!(till.rows("SELECT id, number FROM sale"), ["1|O1"]);
    assert_eq!(till.rows("SELECT piece, origin FROM talon_stamps"), ["1|ASOC"]);
}

#[test]
fn a_baseline_tells_nobody_of_what_a_remote_may_not_create() {
    let sites = copies_with_a_sale_of_the_office();
    let till = sites.at('B');
    till.run("SELECT talon_baseline('sale')");
    assert_eq!(
        till.rows("SELECT piece, reason FROM talon_snapshots WHERE kind = 'sale'"),
        ["1|baseline"]
    );
    assert_eq!(till.rows("SELECT piece FROM talon_stamps"), NONE);
    sites.exchange('B', 'A', "changes", "none");
    assert_eq!(sites.at('A').rows(SET_ASIDE), NONE);
    sites.exchange('A', 'B', "full", "none");
    assert_eq!(till.rows("SELECT piece, origin FROM talon_stamps"), ["1|ASOC"]);
}
