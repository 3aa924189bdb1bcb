//! Each till numbers its sales 1, 2, 3: at the others they get free numbers, and everything that refers to them follows.

use talon_tests::tills::{DECLARE, NONE, SCHEMA, Tills};

const SALES: &str =
    "SELECT s.id, s.number, s.customer_id, l.id, l.article_id, l.upstream_line_id FROM sale AS s
    LEFT JOIN sale_line AS l ON l.sale_id = s.id ORDER BY s.id, l.id";

/// Both tills have sale 1 with lines 1 and 2, to their own customer 1, the second line made from the first.
fn two_tills() -> Tills {
    let sites = Tills::new();
    sites.at('A').run("INSERT INTO article VALUES (7, 'c', 'coffee', 2.5)");
    sites.send('A', 'B');
    sites.send('A', 'C');
    for (till, name) in [('B', "Ben"), ('C', "Cleo")] {
        sites.at(till).run(&format!(
            "BEGIN; INSERT INTO customer VALUES (1, '{name}', NULL, NULL);
             INSERT INTO sale VALUES (1, '{till}1', 1, 5);
             INSERT INTO sale_line VALUES (1, 1, 7, 1, 2.5, NULL), (2, 1, 7, 1, 2.5, 1); COMMIT"
        ));
    }
    sites
}

#[test]
fn what_two_tills_number_alike_stands_side_by_side_at_central() {
    let sites = two_tills();
    sites.send('B', 'A');
    sites.send('C', 'A');
    let a = sites.at('A');
    assert_eq!(a.rows("SELECT id, name FROM customer"), ["1|Ben", "2|Cleo"]);
    assert_eq!(
        a.rows(SALES),
        ["1|B1|1|1|7|NULL", "1|B1|1|2|7|1", "2|C1|2|3|7|NULL", "2|C1|2|4|7|3"]
    );
    assert_eq!(a.rows("SELECT reason FROM talon_quarantine"), NONE);
    // It goes on to each other till, and back to nobody.
    sites.send('A', 'B');
    sites.send('A', 'C');
    assert_eq!(
        sites.at('B').rows(SALES),
        ["1|B1|1|1|7|NULL", "1|B1|1|2|7|1", "2|C1|2|3|7|NULL", "2|C1|2|4|7|3"]
    );
    assert_eq!(
        sites.at('C').rows(SALES),
        ["1|C1|1|1|7|NULL", "1|C1|1|2|7|1", "2|B1|2|3|7|NULL", "2|B1|2|4|7|3"]
    );
}

#[test]
fn what_central_changes_comes_back_under_the_till_s_own_numbers() {
    let sites = two_tills();
    sites.send('B', 'A');
    sites.send('C', 'A');
    sites.at('A').run(
        "BEGIN; UPDATE sale SET number = 'C1 corrected' WHERE id = 2; UPDATE sale_line SET quantity = 9 WHERE id = 4;
         INSERT INTO sale_line VALUES (5, 2, 7, 3, 2.5, 3); COMMIT",
    );
    sites.send('A', 'C');
    let c = sites.at('C');
    assert_eq!(
        c.rows("SELECT id, number, customer_id FROM sale WHERE number LIKE 'C%'"),
        ["1|C1 corrected|1"]
    );
    assert_eq!(
        c.rows("SELECT id, sale_id, quantity, upstream_line_id FROM sale_line WHERE sale_id = 1"),
        ["1|1|1.0|NULL", "2|1|9.0|1", "5|1|3.0|1"]
    );
    // And what the till makes of that arrives where it belongs.
    c.run("UPDATE sale_line SET quantity = 10 WHERE id = 5; DELETE FROM sale_line WHERE id = 2");
    sites.send('C', 'A');
    assert_eq!(
        sites
            .at('A')
            .rows("SELECT id, quantity, upstream_line_id FROM sale_line WHERE sale_id = 2"),
        ["3|1.0|NULL", "5|10.0|3"]
    );
    for letter in ['A', 'C'] {
        assert_eq!(sites.at(letter).rows("SELECT reason FROM talon_quarantine"), NONE);
    }
}

#[test]
fn a_line_added_where_its_number_means_another_line_gets_a_free_one_for_the_others() {
    let sites = two_tills();
    sites.send('B', 'A');
    sites.send('C', 'A');
    let a = sites.at('A');
    // Sale 2 is C1: its lines are 3 and 4 here, 1 and 2 there. Lines 1 and 2 move over to make room.
    a.run("BEGIN; DELETE FROM sale_line WHERE sale_id = 1; INSERT INTO sale_line VALUES (9, 1, 7, 1, 2.5, NULL); COMMIT");
    a.run("INSERT INTO sale_line VALUES (1, 2, 7, 3, 2.5, 4)");
    sites.send('A', 'C');
    let lines =
        "SELECT quantity, upstream_line_id FROM sale_line AS l JOIN sale AS s ON s.id = l.sale_id
                 WHERE s.number = 'C1' ORDER BY l.id";
    let c = sites.at('C');
    assert_eq!(c.rows(lines), ["1.0|NULL", "1.0|1", "3.0|2"]);
    assert_eq!(c.rows("SELECT reason FROM talon_quarantine"), NONE);
}

#[test]
fn a_reference_to_a_line_of_another_piece_follows_that_piece() {
    let sites = two_tills();
    sites.send('B', 'A');
    sites.send('C', 'A');
    sites.at('C').run(
        "BEGIN; INSERT INTO sale VALUES (2, 'C2', 1, 5); INSERT INTO sale_line VALUES (3, 2, 7, 1, 2.5, 2); COMMIT",
    );
    sites.send('C', 'A');
    let upstream = "SELECT s.number, l.quantity, u.id, o.number FROM sale_line AS l JOIN sale AS s ON s.id = l.sale_id
        JOIN sale_line AS u ON u.id = l.upstream_line_id JOIN sale AS o ON o.id = u.sale_id WHERE s.number = 'C2'";
    assert_eq!(sites.at('A').rows(upstream), ["C2|1.0|4|C1"]);
    sites.send('A', 'B');
    assert_eq!(sites.at('B').rows(upstream), ["C2|1.0|4|C1"]);
}

/// Moves of stock that say in a text where they come from.
fn tills_with_moves() -> Tills {
    let schema =
        format!("{SCHEMA} CREATE TABLE move(id INTEGER PRIMARY KEY, origin TEXT, note TEXT);");
    let declare = format!(
        r#"{DECLARE} SELECT talon_track('move', '{{"record": {{"table": "move"}}, "sync": {{"owner": "either",
             "references": {{"origin": {{"sale,": "sale", "sale.line,": "sale.lines", "article,": "article"}}}}}}}}');"#
    );
    let sites = Tills::with(&schema, &declare, 2);
    sites.at('A').run("INSERT INTO article VALUES (7, 'c', 'coffee', 2.5)");
    sites.settle(1);
    for till in ['B', 'C'] {
        sites.at(till).run(&format!(
            "BEGIN; INSERT INTO sale VALUES (1, '{till}1', NULL, 5);
             INSERT INTO sale_line VALUES (1, 1, 7, 1, 2.5, NULL), (2, 1, 7, 1, 2.5, 1);
             INSERT INTO move VALUES (1, 'sale.line,2', '{till}'), (2, 'sale,1', '{till}'), (3, 'article,7', '{till}'),
               (4, 'sale.line,02', '{till}'), (5, 'sale.line,99', '{till}'), (6, 'loan,1', '{till}'), (7, NULL, '{till}');
             COMMIT"
        ));
    }
    sites
}

#[test]
fn a_reference_that_is_a_text_is_translated_as_numbers_are() {
    let sites = tills_with_moves();
    let moves = "SELECT coalesce(origin, 'none') FROM move WHERE note LIKE 'C%' ORDER BY id";
    let at_c =
        ["sale.line,2", "sale,1", "article,7", "sale.line,02", "sale.line,99", "loan,1", "none"];
    let elsewhere =
        ["sale.line,4", "sale,2", "article,7", "sale.line,02", "sale.line,99", "loan,1", "none"];
    sites.settle(2);
    for (site, wanted) in [('A', elsewhere), ('B', elsewhere), ('C', at_c)] {
        assert_eq!(sites.at(site).rows(moves), wanted, "{site}");
        assert_eq!(sites.at(site).rows("SELECT reason FROM talon_quarantine"), NONE);
    }
    // What central changes comes back in the till's own numbers.
    sites.at('A').run(
        "UPDATE move SET note = 'C, seen' WHERE note = 'C';
         UPDATE move SET origin = 'sale.line,3' WHERE origin = 'sale.line,4'",
    );
    sites.settle(2);
    let back = [&["sale.line,1"], &at_c[1..]].concat();
    assert_eq!(sites.at('C').rows(moves), back);
    let forth = [&["sale.line,3"], &elsewhere[1..]].concat();
    assert_eq!(sites.at('B').rows(moves), forth);
}

#[test]
fn a_text_that_refers_to_what_is_not_here_waits_for_it() {
    let sites = tills_with_moves();
    sites.settle(2);
    // Its sale is open at central when it comes, the move is not.
    sites.at('B').run(
        "INSERT INTO sale VALUES (9, 'B9', NULL, 5); INSERT INTO move VALUES (90, 'sale,9', 'B9');
         SELECT talon_station('till', 'ben'); SELECT talon_edit_begin('sale', 9)",
    );
    sites.send('B', 'A');
    let set_aside = "SELECT kind, reason FROM talon_quarantine";
    assert_eq!(
        sites.at('A').rows(set_aside),
        ["move|move 90 of BSOC refers to sale 9 of BSOC by move.origin, which is not here"]
    );
    sites.at('B').run("SELECT talon_edit_end('sale', 9)");
    sites.send('B', 'A');
    assert_eq!(sites.at('A').rows(set_aside), NONE);
    assert_eq!(sites.at('A').rows("SELECT origin FROM move WHERE note = 'B9'"), ["sale,9"]);
}

#[test]
fn lines_keep_their_order_where_some_of_their_numbers_are_taken() {
    let sites = Tills::new();
    let lines = "SELECT l.id, l.quantity, l.upstream_line_id FROM sale_line AS l JOIN sale AS s ON s.id = l.sale_id
        WHERE s.number = 'B1' ORDER BY l.id";
    sites.at('A').run(
        "INSERT INTO sale VALUES (1, 'A1', NULL, 5);
         INSERT INTO sale_line VALUES (1, 1, NULL, 1, 1, NULL), (99, 1, NULL, 1, 1, NULL)",
    );
    // Number 1 is taken at central, 2 and 3 are not.
    sites.at('B').run(
        "INSERT INTO sale VALUES (1, 'B1', NULL, 5);
         INSERT INTO sale_line VALUES (1, 1, NULL, 10, 1, NULL), (2, 1, NULL, 20, 1, NULL), (3, 1, NULL, 30, 1, 2)",
    );
    sites.send('B', 'A');
    assert_eq!(sites.at('A').rows(lines), ["100|10.0|NULL", "101|20.0|NULL", "102|30.0|101"]);
    // One that is added goes behind them, though its own number is free there.
    sites.at('B').run("INSERT INTO sale_line VALUES (4, 1, NULL, 40, 1, 3)");
    sites.send('B', 'A');
    assert_eq!(sites.at('A').rows(lines)[3..], ["103|40.0|102"]);
    // What comes back is in B's own numbers.
    sites.at('A').run("UPDATE sale_line SET quantity = 50 WHERE id = 103");
    sites.send('A', 'B');
    assert_eq!(sites.at('B').rows(lines), ["1|10.0|NULL", "2|20.0|NULL", "3|30.0|2", "4|50.0|3"]);
}

#[test]
fn a_number_that_sqlite_keeps_for_itself_is_not_given_away() {
    let schema = talon_tests::tills::SCHEMA.replace(
        "till_closing(id INTEGER PRIMARY KEY",
        "till_closing(id INTEGER PRIMARY KEY AUTOINCREMENT",
    );
    let sites = Tills::with(&schema, talon_tests::tills::DECLARE, 2);
    sites.at('A').run(
        "INSERT INTO till_closing VALUES (1, 'A', '2026-11-20', 1); INSERT INTO till_closing VALUES (50, 'A', 'x', 1);
         DELETE FROM till_closing WHERE id = 50",
    );
    sites.at('B').run("INSERT INTO till_closing VALUES (1, 'B', '2026-11-20', 2)");
    sites.send('B', 'A');
    assert_eq!(sites.at('A').rows("SELECT id, till FROM till_closing"), ["1|A", "51|B"]);
}

#[test]
fn where_no_number_is_free_the_piece_is_set_aside_and_comes_when_there_is_one() {
    let sites = Tills::new();
    let highest = i64::MAX;
    sites
        .at('A')
        .run(&format!("INSERT INTO customer(id, name) VALUES (1, 'Ada'), ({highest}, 'Zoe')"));
    sites.at('B').run("INSERT INTO customer(id, name) VALUES (1, 'Ben')");
    sites.send('B', 'A');
    let a = sites.at('A');
    assert_eq!(
        a.rows("SELECT kind, origin, origin_key, reason FROM talon_quarantine"),
        [format!("customer|BSOC|1|customer has no free number: its highest is {highest} already")]
    );
    assert_eq!(a.rows("SELECT name FROM customer ORDER BY id"), ["Ada", "Zoe"]);
}

#[test]
fn keys_that_are_texts_are_the_same_everywhere() {
    let sites = Tills::with(
        "CREATE TABLE tariff(code TEXT PRIMARY KEY, price REAL, note TEXT);",
        r#"SELECT talon_track('tariff', '{"record": {"table": "tariff"}, "sync": "customer"}')"#,
        2,
    );
    sites.at('B').run("INSERT INTO tariff VALUES ('x', 1, 'b')");
    sites.at('C').run("INSERT INTO tariff VALUES ('y', 2, 'c')");
    sites.settle(2);
    sites.all_show("SELECT * FROM tariff ORDER BY code", &["x|1.0|b", "y|2.0|c"]);
}

#[test]
fn a_number_that_is_given_again_after_a_deletion_is_another_piece() {
    let sites = two_tills();
    let b = sites.at('B');
    // Nobody has heard of the first one; the one after it has its number, as SQLite gives the highest one again.
    b.run("BEGIN; DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale WHERE id = 1; COMMIT");
    b.run(
        "BEGIN; INSERT INTO sale VALUES (NULL, 'B2', 1, 5);
         INSERT INTO sale_line VALUES (NULL, 1, 7, 4, 2.5, NULL); COMMIT",
    );
    sites.settle(2);
    for (site, sales) in [('A', ["1|B2", "2|C1"]), ('B', ["1|B2", "2|C1"]), ('C', ["1|C1", "2|B2"])]
    {
        assert_eq!(sites.at(site).rows("SELECT id, number FROM sale ORDER BY id"), sales, "{site}");
    }
    // Put back as it was, it is the piece that it was.
    let b = sites.at('B');
    let put = "INSERT INTO sale VALUES (9, 'B9', 1, 5)";
    b.run(put);
    b.run("DELETE FROM sale WHERE id = 9");
    b.run(put);
    let known_by = "SELECT origin_key FROM talon_stamps WHERE kind = 'sale' AND piece = 9";
    assert_eq!(b.one(known_by), "9");
}

#[test]
fn a_line_that_is_not_here_is_not_the_one_that_has_its_number_here() {
    let sites = two_tills();
    sites.send('B', 'A');
    sites.send('C', 'A');
    let (a, c) = (sites.at('A'), sites.at('C'));
    // C1 has lines 1 and 2 there, 3 and 4 here. Its line 3 does not come here, as the article is not known here.
    sites.shop('C').bare().run("INSERT INTO article VALUES (9, 'o', 'own', 1)");
    c.run("INSERT INTO sale_line VALUES (3, 1, 9, 1, 1, NULL)");
    c.run(
        "BEGIN; INSERT INTO sale VALUES (2, 'C2', 1, 5); INSERT INTO sale_line VALUES (4, 2, 7, 1, 2.5, 3); COMMIT",
    );
    sites.send('C', 'A');
    assert_eq!(a.rows("SELECT id FROM sale WHERE number = 'C2'"), NONE);
    assert_eq!(
        a.rows("SELECT reason FROM talon_quarantine ORDER BY id"),
        [
            "sale 1 of CSOC refers to article 9 of ASOC by sale_line.article_id, which is not here",
            "sale 2 of CSOC refers to line 3 of sale 1 of CSOC by sale_line.upstream_line_id, which is not here"
        ]
    );
    a.run("INSERT INTO article VALUES (9, 'o', 'own', 1); SELECT talon_process()");
    let upstream = "SELECT u.article_id, o.number FROM sale_line AS l JOIN sale AS s ON s.id = l.sale_id
        JOIN sale_line AS u ON u.id = l.upstream_line_id JOIN sale AS o ON o.id = u.sale_id WHERE s.number = 'C2'";
    assert_eq!(a.rows(upstream), ["9|C1"]);
    assert_eq!(a.rows("SELECT reason FROM talon_quarantine"), NONE);
}

#[test]
fn what_refers_to_a_record_that_came_back_under_another_number_finds_it_there() {
    let sites = Tills::with(
        "CREATE TABLE shelf(id INTEGER PRIMARY KEY, name TEXT, parent_id INTEGER)",
        r#"SELECT talon_track('shelf', '{"record": {"table": "shelf"},
             "sync": {"preset": "customer", "references": {"parent_id": "shelf"}}}')"#,
        1,
    );
    let (a, b) = (sites.at('A'), sites.at('B'));
    b.run("INSERT INTO shelf VALUES (7, 'seven', NULL)");
    sites.settle(1);
    a.run("DELETE FROM shelf; INSERT INTO shelf VALUES (7, 'another', NULL)");
    sites.clock("2026-11-20T09:00:00+01:00");
    // What comes first looks up whose number it refers to.
    b.run("INSERT INTO shelf VALUES (10, 'ten', 7)");
    b.run("UPDATE shelf SET name = 'SEVEN' WHERE id = 7");
    b.run("INSERT INTO shelf VALUES (11, 'eleven', 7)");
    sites.send('B', 'A');
    let of = "SELECT p.name FROM shelf AS s JOIN shelf AS p ON p.id = s.parent_id WHERE s.name = 'eleven'";
    assert_eq!(a.rows(of), ["SEVEN"]);
}
