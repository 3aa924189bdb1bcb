//! Upstream chains: after a restore the pieces that it was made from say again how much of them was turned on.

use talon_tests::{Db, Shop};

/// The sample shop with its guards and rules, and a host that keeps its chains itself.
fn shop() -> (Shop, Db) {
    let shop = Shop::with(include_str!("../../sql/sample/schema.sql"));
    shop.bare().run(
        "INSERT INTO customers(id, code, name) VALUES (1, 'C1', 'Boulangerie');
         INSERT INTO articles VALUES (1, 'A', 'Article A', 'pc', 1234, 700, 20.0, 0), (2, 'B', 'Article B', 'kg', 99, 50, 5.5, 0);
         INSERT INTO stock(article_id) VALUES (1), (2);",
    );
    let db = shop.open();
    db.run(include_str!("../../sql/sample/guard.sql"));
    db.run(include_str!("../../sql/sample/rules.sql"));
    (shop, db)
}

const LOST: &str = "INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost";

/// How the application makes a piece, line by line: (line, article, quantity, the line it was made from).
fn make(db: &Db, piece: i64, stage: &str, lines: &[(i64, i64, f64, Option<i64>)]) {
    db.run(&format!(
        "BEGIN; INSERT INTO sale_piece(id, number, stage, date, customer_id) VALUES ({piece}, 'N{piece}', '{stage}', '2026-11-20', 1)"
    ));
    for (line, article, quantity, upstream) in lines {
        let upstream = upstream.map_or("NULL".to_owned(), |line| line.to_string());
        db.run(&format!(
            "INSERT INTO sale_line(id, piece_id, position, article_id, quantity, unit_price_cents, vat_percent,
               amount_excl_tax_cents, amount_incl_tax_cents, upstream_line_id)
             SELECT {line}, {piece}, {line} % 10, id, {quantity}, unit_price_cents, vat_percent,
               CAST(round({quantity} * unit_price_cents) AS INTEGER),
               CAST(round({quantity} * unit_price_cents * (1 + vat_percent / 100)) AS INTEGER), {upstream}
             FROM articles WHERE id = {article}"
        ));
    }
    recompute(db);
    db.run("COMMIT");
}

/// How the application keeps its stored values; it knows no Talon.
fn recompute(db: &Db) {
    db.run(
        "UPDATE sale_line SET transformed_quantity =
           (SELECT total(d.quantity) FROM sale_line AS d WHERE d.upstream_line_id = sale_line.id);
         UPDATE sale_line SET untransformed_quantity = quantity - transformed_quantity;
         UPDATE sale_piece SET (untransformed_quantity, untransformed_excl_tax_cents, untransformed_incl_tax_cents) =
           (SELECT total(untransformed_quantity),
              coalesce(sum(CAST(round(amount_excl_tax_cents * untransformed_quantity / quantity) AS INTEGER)), 0),
              coalesce(sum(CAST(round(amount_incl_tax_cents * untransformed_quantity / quantity) AS INTEGER)), 0)
            FROM sale_line WHERE piece_id = sale_piece.id);
         UPDATE stock SET on_hand_quantity = -(SELECT total(quantity) FROM sale_line JOIN sale_piece AS p ON p.id = piece_id
           WHERE sale_line.article_id = stock.article_id AND stage = 'delivery');",
    );
}

/// The application saves a line with another quantity, and what it was made from with it.
fn edit(db: &Db, line: i64, quantity: f64) {
    db.run(&format!("UPDATE sale_line SET quantity = {quantity} WHERE id = {line}"));
    recompute(db);
}

fn lose(db: &Db, piece: i64) {
    db.run(&format!("DELETE FROM sale_line WHERE piece_id = {piece}"));
}

/// A line as `quantity|transformed|untransformed`.
fn line(db: &Db, line: i64) -> String {
    db.one(&format!(
        "SELECT quantity, transformed_quantity, untransformed_quantity FROM sale_line WHERE id = {line}"
    ))
}

/// What is left of a piece, as `quantity|excl. tax|incl. tax`.
fn rest(db: &Db, piece: i64) -> String {
    db.one(&format!(
        "SELECT untransformed_quantity, untransformed_excl_tax_cents, untransformed_incl_tax_cents FROM sale_piece WHERE id = {piece}"
    ))
}

fn notes(db: &Db) -> Vec<String> {
    let note = db.one("SELECT note FROM talon_restore ORDER BY id DESC LIMIT 1");
    // The header's own values are another story.
    let notes = note.split("; ").filter(|note| !note.starts_with("the header's"));
    notes.map(str::to_owned).collect()
}

/// Nothing differs, nothing is lost, and every piece is as its last image says.
fn all_is_well(db: &Db) {
    assert_eq!(db.rows("SELECT * FROM talon_gaps"), [""; 0]);
    assert_eq!(db.rows("SELECT kind, piece, finding, detail FROM talon_audit"), [""; 0]);
}

/// The quote of the source, 10 of article A, and the order of 6 made from it.
fn quote_and_order() -> (Shop, Db) {
    let (shop, db) = shop();
    make(&db, 1, "quote", &[(11, 1, 10.0, None)]);
    make(&db, 2, "order", &[(21, 1, 6.0, Some(11))]);
    assert_eq!((line(&db, 11), rest(&db, 1)), ("10.0|6.0|4.0".into(), "4.0|4936|5923".into()));
    (shop, db)
}

const CORRECTED: [&str; 5] = [
    "sale_line 11.transformed_quantity from 4.0 to 6.0",
    "sale_line 11.untransformed_quantity from 6.0 to 4.0",
    "sale_piece 1.untransformed_quantity from 6.0 to 4.0",
    "sale_piece 1.untransformed_excl_tax_cents from 7404 to 4936",
    "sale_piece 1.untransformed_incl_tax_cents from 8885 to 5923",
];

/// "On a un devis avec un article A de quantité 10, transformé en commande et quantité dans la commande = 6 …
/// la quantité commandée qui passe de 6 à 4. Puis perte des lignes dans la commande."
#[test]
fn the_sources_example_comes_out_to_the_cent() {
    let (_shop, db) = quote_and_order();
    db.run("BEGIN");
    edit(&db, 21, 4.0);
    assert_eq!((line(&db, 11), rest(&db, 1)), ("10.0|4.0|6.0".into(), "6.0|7404|8885".into()));
    db.run("DELETE FROM sale_line WHERE piece_id = 2; COMMIT");
    let lost = db.contents(&["sale_piece", "sale_line", "talon_snapshot", "talon_piece"]);

    db.run("INSERT INTO talon_restore(kind, piece, dry_run) VALUES ('sale', 2, 1)");
    assert_eq!(notes(&db), CORRECTED.map(|row| format!("would correct {row}")));
    let tables = ["sale_piece", "sale_line", "talon_snapshot", "talon_piece"];
    assert_eq!(db.contents(&tables), lost);

    db.run(LOST);
    assert_eq!(db.one("SELECT outcome FROM talon_restore WHERE NOT dry_run"), "restored");
    assert_eq!(notes(&db), CORRECTED.map(|row| format!("corrected {row}")));
    assert_eq!(line(&db, 21), "6.0|0.0|6.0");
    assert_eq!((line(&db, 11), rest(&db, 1)), ("10.0|6.0|4.0".into(), "4.0|4936|5923".into()));
    all_is_well(&db);
}

#[test]
fn where_four_was_committed_first_the_earlier_snapshot_is_named() {
    let (_shop, db) = quote_and_order();
    let six = db.one("SELECT max(id) FROM talon_snapshots WHERE kind = 'sale' AND piece = 2");
    db.run("BEGIN");
    edit(&db, 21, 4.0);
    db.run("COMMIT");
    lose(&db, 2);
    // Without a name it is the newest: four.
    db.run("INSERT INTO talon_restore(kind, piece, dry_run) VALUES ('sale', 2, 1)");
    assert_eq!(notes(&db), ["NULL"]);
    db.run(&format!("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 2, {six})"));
    assert_eq!(
        notes(&db).iter().filter(|note| note.starts_with("corrected")).count(),
        CORRECTED.len()
    );
    assert_eq!((line(&db, 21), line(&db, 11)), ("6.0|0.0|6.0".into(), "10.0|6.0|4.0".into()));
    assert_eq!(rest(&db, 1), "4.0|4936|5923");
    all_is_well(&db);
}

#[test]
fn an_order_made_from_two_quotes_corrects_both() {
    let (_shop, db) = shop();
    make(&db, 1, "quote", &[(11, 1, 10.0, None), (12, 2, 3.0, None)]);
    make(&db, 3, "quote", &[(31, 2, 2.5, None)]);
    make(&db, 2, "order", &[(21, 1, 6.0, Some(11)), (22, 2, 2.0, Some(31))]);
    let before = db.contents(&["sale_piece", "sale_line"]);
    db.run("BEGIN");
    edit(&db, 21, 4.0);
    edit(&db, 22, 1.0);
    db.run("DELETE FROM sale_line WHERE piece_id = 2; COMMIT");
    assert_eq!((rest(&db, 1), rest(&db, 3)), ("9.0|7701|9198".into(), "1.5|149|157".into()));
    db.run(LOST);
    assert_eq!(db.contents(&["sale_piece", "sale_line"]), before);
    assert_eq!((rest(&db, 1), rest(&db, 3)), ("7.0|5233|6236".into(), "0.5|50|52".into()));
    assert_eq!(notes(&db).len(), 10);
    all_is_well(&db);
}

#[test]
fn a_quote_delivered_by_two_orders_keeps_what_the_other_one_took() {
    let (_shop, db) = shop();
    make(&db, 1, "quote", &[(11, 1, 10.0, None)]);
    make(&db, 2, "order", &[(21, 1, 6.0, Some(11))]);
    make(&db, 3, "order", &[(31, 1, 3.0, Some(11))]);
    assert_eq!(line(&db, 11), "10.0|9.0|1.0");
    db.run("BEGIN");
    edit(&db, 21, 4.0);
    db.run("DELETE FROM sale_line WHERE piece_id = 2; COMMIT");
    assert_eq!(line(&db, 11), "10.0|7.0|3.0");
    db.run(LOST);
    assert_eq!((line(&db, 11), rest(&db, 1)), ("10.0|9.0|1.0".into(), "1.0|1234|1481".into()));
    all_is_well(&db);
}

#[test]
fn two_orders_of_one_quote_that_were_lost_together_come_out_right() {
    let (_shop, db) = shop();
    make(&db, 1, "quote", &[(11, 1, 10.0, None)]);
    make(&db, 2, "order", &[(21, 1, 6.0, Some(11))]);
    make(&db, 3, "order", &[(31, 1, 3.0, Some(11))]);
    let before = db.contents(&["sale_piece", "sale_line"]);
    db.run("DELETE FROM sale_line WHERE piece_id IN (2, 3)");
    assert_eq!(db.one("SELECT talon_restore_all()"), r#"{"lost":2,"restored":2}"#);
    assert_eq!(db.contents(&["sale_piece", "sale_line"]), before);
    all_is_well(&db);
}

#[test]
fn a_chain_is_followed_over_any_number_of_levels() {
    let (_shop, db) = shop();
    make(&db, 1, "quote", &[(11, 1, 10.0, None)]);
    make(&db, 2, "order", &[(21, 1, 6.0, Some(11))]);
    make(&db, 3, "delivery", &[(31, 1, 5.0, Some(21))]);
    make(&db, 4, "invoice", &[(41, 1, 5.0, Some(31))]);
    let before = db.contents(&["sale_piece", "sale_line"]);
    // The crash took the invoice's lines, and what was written upstream before it was never finished.
    db.run(
        "BEGIN; UPDATE sale_line SET transformed_quantity = 0, untransformed_quantity = 5 WHERE id = 31;
         UPDATE sale_piece SET untransformed_quantity = 5 WHERE id = 3;
         UPDATE sale_line SET transformed_quantity = 1 WHERE id = 11;
         UPDATE sale_piece SET untransformed_excl_tax_cents = 1 WHERE id = 2;
         DELETE FROM sale_line WHERE piece_id = 4; COMMIT",
    );
    db.run(LOST);
    assert_eq!(db.contents(&["sale_piece", "sale_line"]), before);
    assert_eq!(
        notes(&db),
        [
            "corrected sale_line 31.transformed_quantity from 0.0 to 5.0",
            "corrected sale_line 11.transformed_quantity from 1.0 to 6.0",
            "corrected sale_line 31.untransformed_quantity from 5.0 to 0.0",
            "corrected sale_piece 3.untransformed_quantity from 5.0 to 0.0",
            "corrected sale_piece 2.untransformed_excl_tax_cents from 1 to 1234",
        ]
    );
    all_is_well(&db);
}

#[test]
fn a_whole_chain_that_was_lost_comes_back_in_any_order() {
    for order in ["piece", "piece DESC"] {
        let (_shop, db) = shop();
        make(&db, 1, "quote", &[(11, 1, 10.0, None)]);
        make(&db, 2, "order", &[(21, 1, 6.0, Some(11))]);
        make(&db, 3, "delivery", &[(31, 1, 5.0, Some(21))]);
        let before = db.contents(&["sale_piece", "sale_line"]);
        // As such applications run: with foreign keys on, a line comes back only once what it was made from is there.
        db.run("PRAGMA foreign_keys = OFF; DELETE FROM sale_line");
        db.run(&format!("{LOST} ORDER BY {order}"));
        assert_eq!(db.contents(&["sale_piece", "sale_line"]), before, "{order}");
        all_is_well(&db);
    }
}

#[test]
fn where_nothing_differs_nothing_is_written() {
    let (_shop, db) = quote_and_order();
    let snapshots = "SELECT count(*) FROM talon_snapshots WHERE piece = 1";
    let before = db.one(snapshots);
    lose(&db, 2);
    db.run(LOST);
    assert_eq!(db.one("SELECT outcome, note FROM talon_restore"), "restored|NULL");
    assert_eq!(db.one(snapshots), before);
    all_is_well(&db);
}

#[test]
fn a_line_that_a_point_in_time_takes_away_frees_what_it_was_made_from() {
    let (_shop, db) = quote_and_order();
    make(&db, 3, "quote", &[(31, 1, 5.0, None)]);
    let alone = db.one("SELECT max(id) FROM talon_snapshots WHERE kind = 'sale' AND piece = 2");
    db.run(
        "BEGIN; INSERT INTO sale_line(id, piece_id, position, article_id, quantity, unit_price_cents, vat_percent,
           amount_excl_tax_cents, amount_incl_tax_cents, upstream_line_id) VALUES (22, 2, 2, 1, 5, 1234, 20, 6170, 7404, 31)",
    );
    recompute(&db);
    db.run("COMMIT");
    assert_eq!(rest(&db, 3), "0.0|0|0");
    db.run(&format!(
        "INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 2, {alone})"
    ));
    assert_eq!((line(&db, 31), rest(&db, 3)), ("5.0|0.0|5.0".into(), "5.0|6170|7404".into()));
    all_is_well(&db);
}

#[test]
fn what_a_corrected_piece_was_and_is_can_be_had_back() {
    let (_shop, db) = quote_and_order();
    db.run("BEGIN");
    edit(&db, 21, 4.0);
    db.run("DELETE FROM sale_line WHERE piece_id = 2; COMMIT");
    // A purge has left the quote without a snapshot: the correction takes one first.
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-12-31')");
    assert_eq!(db.snapshots("1"), [""; 0]);
    db.run(LOST);
    assert_eq!(db.snapshots("1"), ["before|1", "edit|1"]);
    let before = db.one("SELECT min(id) FROM talon_snapshots WHERE kind = 'sale' AND piece = 1");
    db.run(&format!(
        "INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, {before})"
    ));
    assert_eq!((line(&db, 11), rest(&db, 1)), ("10.0|4.0|6.0".into(), "6.0|7404|8885".into()));
}

#[test]
fn a_rollback_takes_corrections_back_with_the_restore() {
    let (_shop, db) = quote_and_order();
    db.run("BEGIN");
    edit(&db, 21, 4.0);
    db.run("DELETE FROM sale_line WHERE piece_id = 2; COMMIT");
    let tables = ["sale_piece", "sale_line", "talon_snapshot", "talon_piece", "talon_restored"];
    let before = db.contents(&tables);
    db.run(&format!("BEGIN; {LOST}; ROLLBACK"));
    assert_eq!(db.contents(&tables), before);
    db.run(&format!("BEGIN; SAVEPOINT a; {LOST}; ROLLBACK TO a; COMMIT"));
    assert_eq!(db.contents(&tables), before);
    db.run(LOST);
    all_is_well(&db);
}

#[test]
fn the_hosts_triggers_stay_quiet_while_corrections_are_made() {
    for on in ["sale_line", "sale_piece"] {
        let (_shop, db) = quote_and_order();
        db.run("BEGIN");
        edit(&db, 21, 4.0);
        db.run("DELETE FROM sale_line WHERE piece_id = 2; COMMIT");
        db.run(&format!(
            "CREATE TABLE heard(what); CREATE TRIGGER host AFTER UPDATE ON {on} BEGIN INSERT INTO heard VALUES (NEW.id); END"
        ));
        db.run(LOST);
        assert_eq!(db.rows("SELECT * FROM heard"), [""; 0], "{on}");
        assert_eq!(line(&db, 11), "10.0|6.0|4.0", "{on}");
        all_is_well(&db);
        db.run("UPDATE sale_piece SET note = 'x'; UPDATE sale_line SET description = 'x'");
        assert_eq!(db.one("SELECT count(*) FROM heard"), "2", "{on}");
    }
}

#[test]
fn a_piece_that_another_station_has_open_is_left_and_named() {
    let (_shop, db) = quote_and_order();
    db.run("BEGIN");
    edit(&db, 21, 4.0);
    db.run("DELETE FROM sale_line WHERE piece_id = 2; COMMIT");
    db.run(
        "INSERT INTO talon_station(id, station, user) VALUES (70, 'till 7', 'marie'), (71, 'office', 'paul');
         INSERT INTO talon_edit SELECT id, 1, 70, 1795248000123 FROM talon_kind WHERE kind = 'sale';
         SELECT talon_station('office', 'anna')",
    );
    db.run("SAVEPOINT before");
    db.run(LOST);
    assert_eq!(db.one("SELECT outcome FROM talon_restore"), "restored");
    let note = db.one("SELECT note FROM talon_restore");
    let expected = "check: sale_line 11.transformed_quantity is 4.0, computed 6.0; not corrected, sale 1 is being edited at till 7 by marie since 2026-";
    assert!(note.contains(expected), "{note}");
    assert_eq!((line(&db, 11), rest(&db, 1)), ("10.0|4.0|6.0".into(), "6.0|7404|8885".into()));
    // Its own edits do not stand in a station's way, whoever sits there.
    db.run("ROLLBACK TO before; RELEASE before; UPDATE talon_edit SET station = 71");
    db.run(LOST);
    assert_eq!(line(&db, 11), "10.0|6.0|4.0");
}

#[test]
fn a_circle_in_damaged_data_ends() {
    let (_shop, db) = quote_and_order();
    db.run("PRAGMA foreign_keys = OFF; UPDATE sale_line SET upstream_line_id = 21 WHERE id = 11");
    lose(&db, 2);
    db.run(LOST);
    assert_eq!(db.one("SELECT outcome FROM talon_restore"), "restored");
    // One that does not end by itself is ended.
    db.run(
        "SELECT talon_derive('transformed', json_set(definition, '$.after_restore.sale',
           'WITH RECURSIVE up(id) AS (SELECT upstream_line_id FROM sale_line WHERE piece_id = :piece
              UNION ALL SELECT upstream_line_id FROM up JOIN sale_line USING (id)) SELECT id FROM up'))
         FROM talon_rules WHERE name = 'transformed'",
    );
    lose(&db, 2);
    db.run(LOST);
    assert_eq!(
        db.one("SELECT outcome, note FROM talon_restore ORDER BY id DESC LIMIT 1"),
        "restored|the derived value transformed was not corrected: it asks for more than 100000 rows"
    );
}

#[test]
fn a_rule_that_fails_leaves_the_restore_and_the_other_rules() {
    let (_shop, db) = quote_and_order();
    db.run("BEGIN");
    edit(&db, 21, 4.0);
    db.run("DELETE FROM sale_line WHERE piece_id = 2; COMMIT");
    for (rule, problem) in [
        ("'value', 'json_extract(''{'', ''$'')'", "malformed JSON"),
        ("'value', 'NULL'", "NOT NULL constraint failed: sale_line.transformed_quantity"),
    ] {
        db.run(&format!(
            "SAVEPOINT before; SELECT talon_derive('transformed', json_object('table', 'sale_line',
               'column', 'transformed_quantity', {rule}, 'after_restore', json_object('sale', 'SELECT 11')))"
        ));
        db.run(LOST);
        assert_eq!(db.one("SELECT outcome FROM talon_restore"), "restored");
        let expected = format!("the derived value transformed was not corrected: {problem}");
        assert_eq!(notes(&db), [expected]);
        assert_eq!(line(&db, 21), "6.0|0.0|6.0");
        assert_eq!(line(&db, 11), "10.0|4.0|6.0");
        db.run("ROLLBACK TO before; RELEASE before");
    }
}
