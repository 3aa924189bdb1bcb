//! The recovery procedure that Talon was conceived from, situation by situation, in its order, on the sample shop.
//! `docs/procedure.md` says which statement meets which paragraph.

use talon_tests::{Db, Shop};

/// A crash in the middle of a save: the lines are gone, and nobody has noticed.
fn lose(db: &Db, pieces: &str) {
    db.run(&format!("DELETE FROM sale_line WHERE piece_id IN ({pieces})"));
}

fn lines(db: &Db, piece: i64) -> Vec<String> {
    db.rows(&format!("SELECT * FROM sale_line WHERE piece_id = {piece} ORDER BY position"))
}

fn lost(db: &Db) -> Vec<String> {
    db.rows("SELECT kind || ' ' || piece FROM talon_lost ORDER BY 1")
}

const NOBODY: [&str; 0] = [];

// Modification.

#[test]
fn a_piece_called_for_modification_is_saved_before_anything_is_changed_whatever_its_status() {
    let (_shop, db) = Shop::sample();
    db.run("INSERT INTO talon_purge(before) VALUES ('2026-11-21')");
    db.be("till 1", "anna", "2026-11-21T09:00:00+01:00");
    // A quote, a transformed order, a delivery, a validated invoice, a credit note, a return; a purchase order.
    for (kind, piece) in [
        ("sale", 5),
        ("sale", 2),
        ("sale", 3),
        ("sale", 4),
        ("sale", 9),
        ("sale", 10),
        ("purchase", 3),
    ] {
        let asked = format!("SELECT talon_edit_begin('{kind}', {piece})");
        assert_eq!(db.one(&asked), "open", "{kind} {piece}");
        let saved = format!(
            "SELECT day, lines = (SELECT count(*) FROM {kind}_line WHERE piece_id = {piece}) FROM talon_snapshots
             WHERE kind = '{kind}' AND piece = {piece}"
        );
        assert_eq!(db.rows(&saved), ["2026-11-21|1"], "{kind} {piece}");
        // Header and lines, as they are in the tables.
        let image = "SELECT part, count(*) FROM talon_image((SELECT max(id) FROM talon_snapshots)) GROUP BY part";
        assert_eq!(db.rows(image)[0], "header|1", "{kind} {piece}");
    }
}

#[test]
fn a_subscription_is_left_out() {
    let (_shop, db) = Shop::sample();
    assert_eq!(
        db.error("SELECT talon_edit_begin('sale', 11)"),
        "talon_edit_begin: there is no sale 11"
    );
    lose(&db, "11");
    assert_eq!(lost(&db), NOBODY);
}

#[test]
fn a_piece_without_lines_called_for_modification_is_not_saved_but_recovered_alone() {
    let (_shop, db) = Shop::sample();
    let before = lines(&db, 28);
    lose(&db, "28, 36");
    assert_eq!(db.one("SELECT talon_edit_begin('sale', 28)"), "restored");
    assert_eq!(lines(&db, 28), before);
    // Nothing is said of the other, and nothing done to it.
    assert_eq!(lost(&db), ["sale 36"]);
    assert_eq!(db.rows("SELECT DISTINCT piece FROM talon_restore"), ["28"]);
    let images = "SELECT count(*) FROM talon_snapshots WHERE lines = 0";
    assert_eq!(db.one(images), "0");
}

#[test]
fn a_piece_that_cannot_be_recovered_is_entered_again() {
    let (_shop, db) = Shop::sample();
    // Its lines were lost before anything was saved.
    db.run("INSERT INTO talon_purge(before) VALUES ('2026-11-21'); SELECT talon_unguard('sale')");
    let before = lines(&db, 5);
    lose(&db, "5");
    db.run(include_str!("../../sql/sample/guard.sql"));
    assert_eq!(db.one("SELECT talon_edit_begin('sale', 5)"), "empty");
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 5)"),
        "talon_restore: sale 5 has no snapshot with lines"
    );
    db.run(
        "INSERT INTO sale_line(piece_id, position, article_id, quantity, unit_price_cents, vat_percent,
           amount_excl_tax_cents, amount_incl_tax_cents) VALUES (5, 1, 13, 8, 3146, 20, 25168, 30202)",
    );
    assert_ne!(lines(&db, 5), before);
    lose(&db, "5");
    assert_eq!(lost(&db), ["sale 5"]);
}

// Creation.

/// An order of two lines as the application has it in memory, and its header as it is written first.
const CREATED: &str = r#"SELECT talon_stage('sale', 900, '{
    "header": {"id": 900, "number": "O900", "stage": "order", "date": "2026-11-20", "customer_id": 1},
    "lines": [{"id": 90001, "position": 1, "article_id": 9, "quantity": 6, "unit_price_cents": 100, "vat_percent": 20,
               "amount_excl_tax_cents": 600, "amount_incl_tax_cents": 720, "upstream_line_id": 2703},
              {"id": 90002, "position": 2, "article_id": 6, "quantity": 0.5, "unit_price_cents": 100, "vat_percent": 5.5,
               "amount_excl_tax_cents": 50, "amount_incl_tax_cents": 53}]}')"#;
const HEADER: &str = "INSERT INTO sale_piece(id, number, stage, date, customer_id)
    VALUES (900, 'O900', 'order', '2026-11-20', 1)";

#[test]
fn a_new_piece_is_saved_from_memory_before_its_first_row_is_written() {
    let (_shop, db) = Shop::sample();
    db.run(CREATED);
    let saved = "SELECT day, lines FROM talon_snapshots WHERE kind = 'sale' AND piece = 900";
    assert_eq!(db.rows(saved), ["2026-11-20|2"]);
    db.run(HEADER);
    assert_eq!(lost(&db), ["sale 900"]);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 900)");
    assert_eq!(
        db.rows("SELECT id, quantity, amount_incl_tax_cents FROM sale_line WHERE piece_id = 900"),
        ["90001|6.0|720", "90002|0.5|53"]
    );
}

#[test]
fn a_piece_made_from_another_is_saved_from_memory_too_and_its_restore_is_seen_above() {
    let (_shop, db) = Shop::sample();
    // Of quote 27, line 2703, 6 of 10 were ordered before.
    db.run(&format!("{CREATED}; {HEADER}"));
    db.run("SELECT talon_restore_all('sale')");
    let above = "SELECT quantity, transformed_quantity, untransformed_quantity FROM sale_line WHERE id = 2703";
    assert_eq!(db.one(above), "10.0|12.0|-2.0");
    let note = db.one("SELECT note FROM talon_restore");
    assert!(
        note.contains("corrected sale_line 2703.transformed_quantity from 6.0 to 12.0"),
        "{note}"
    );
}

#[test]
fn a_piece_of_which_nothing_was_written_is_had_back_as_well() {
    let (_shop, db) = Shop::sample();
    db.run(CREATED);
    assert_eq!(db.rows("SELECT piece FROM talon_audit WHERE finding = 'staged'"), ["900"]);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 900)");
    assert_eq!(db.one("SELECT number FROM sale_piece WHERE id = 900"), "O900");
    assert_eq!(lines(&db, 900).len(), 2);
}

// A piece has lost its lines, and somebody looks at it the same day.

#[test]
fn a_piece_that_a_person_looks_at_is_corrected_alone_and_its_lines_are_seen_again() {
    let (_shop, db) = Shop::sample();
    let before = lines(&db, 28);
    lose(&db, "28, 36");
    assert_eq!(lines(&db, 28), NOBODY);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 28)");
    assert_eq!(lines(&db, 28), before);
    assert_eq!(lost(&db), ["sale 36"]);
}

#[test]
fn asked_by_mistake_of_a_piece_with_lines_it_says_so_and_does_nothing() {
    let (_shop, db) = Shop::sample();
    let before = lines(&db, 28);
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 28)"),
        "talon_restore: sale 28 has 4 lines, nothing to recover"
    );
    assert_eq!(lines(&db, 28), before);
    assert_eq!(db.rows("SELECT * FROM talon_restore"), NOBODY);
}

// Nobody looks at it that day.

#[test]
fn unnoticed_the_loss_is_announced_at_the_first_start_of_the_next_day() {
    let (shop, db) = Shop::sample();
    lose(&db, "28");
    db.be("till 1", "anna", "2026-11-21T08:00:00+01:00");
    let answer = db.one("SELECT talon_daily()");
    assert!(answer.contains(r#""ran":1"#) && answer.contains(r#""lost":1"#), "{answer}");
    // Whoever starts later is told too, and the routine is not run again.
    let later = shop.open();
    later.be("till 2", "marie", "2026-11-21T10:00:00+01:00");
    let answer = later.one("SELECT talon_daily()");
    assert!(answer.contains(r#""ran":0"#) && answer.contains(r#""lost":1"#), "{answer}");
}

#[test]
fn a_shop_that_was_closed_for_days_is_told_of_what_was_saved_before() {
    let (_shop, db) = Shop::sample();
    let before = lines(&db, 28);
    lose(&db, "28");
    db.be("till 1", "anna", "2026-12-07T08:00:00+01:00");
    assert!(db.one("SELECT talon_daily()").contains(r#""lost":1"#));
    assert_eq!(
        db.rows("SELECT piece, substr(saved_at, 1, 10), restorable FROM talon_lost"),
        ["28|2026-11-20|1"]
    );
    db.run("SELECT talon_restore_all()");
    assert_eq!(lines(&db, 28), before);
}

// The report of pieces without lines.

#[test]
fn the_report_names_each_piece_as_a_person_knows_it_and_sorts_by_any_column() {
    let (_shop, db) = Shop::sample();
    lose(&db, "28, 4, 9, 10");
    db.run("DELETE FROM purchase_line WHERE piece_id = 6");
    let report = "SELECT kind, number, date, substr(saved_at, 1, 10), party, type, validated FROM talon_lost ORDER BY ";
    assert_eq!(
        db.rows(&format!("{report} date")),
        [
            "sale|F0000004|2026-01-11|2026-11-20|L'Épicerie d'Angelo|F|1",
            "sale|A0000009|2026-01-26|2026-11-20|Garage Ó Briain|A|1",
            "sale|R0000010|2026-01-29|2026-11-20|Café Roux|R|1",
            "purchase|PF0000006|2026-08-03|2026-11-20|Papeterie Générale 3|F|0",
            "sale|O0000028|2026-09-12|2026-11-20|Boulangerie Petit|NULL|0",
        ]
    );
    assert_eq!(db.rows("SELECT number FROM talon_lost ORDER BY number DESC")[0], "R0000010");
}

#[test]
fn leaving_the_report_corrects_nothing() {
    let (shop, db) = Shop::sample();
    lose(&db, "28");
    let before = shop.bare().contents(&["sale_piece", "sale_line"]);
    db.rows("SELECT * FROM talon_lost");
    assert_eq!(shop.bare().contents(&["sale_piece", "sale_line"]), before);
    assert_eq!(lost(&db), ["sale 28"]);
}

#[test]
fn correcting_the_list_restores_every_piece_of_it() {
    let (_shop, db) = Shop::sample();
    let tables = ["sale_piece", "sale_line", "purchase_piece", "purchase_line"];
    let before = db.contents(&tables);
    lose(&db, "28, 36, 4, 5");
    db.run("DELETE FROM purchase_line WHERE piece_id = 6");
    assert_eq!(db.one("SELECT talon_restore_all()"), r#"{"lost":5,"restored":5}"#);
    assert_eq!(db.contents(&tables), before);
    assert_eq!(lost(&db), NOBODY);
}

#[test]
fn a_piece_of_the_list_is_looked_at_and_restored_by_itself() {
    let (_shop, db) = Shop::sample();
    lose(&db, "28, 36");
    let image = "SELECT part, count(*) FROM talon_image((SELECT max(id) FROM talon_snapshots
                   WHERE kind = 'sale' AND piece = 36)) GROUP BY part";
    assert_eq!(db.rows(image), ["header|1", "lines|3"]);
    let dry = "INSERT INTO talon_restore(kind, piece, dry_run) VALUES ('sale', 36, 1)";
    db.run(dry);
    assert_eq!(db.one("SELECT outcome, lines FROM talon_restore"), "would restore|3");
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 36)");
    assert_eq!(lost(&db), ["sale 28"]);
}

// The recovery of one piece.

#[test]
fn a_piece_that_was_never_saved_is_refused_by_name() {
    let (_shop, db) = Shop::sample();
    db.run("INSERT INTO sale_piece(id, number, stage, date, customer_id) VALUES (900, 'Q900', 'quote', '2026-11-20', 1)");
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 900)"),
        "talon_restore: sale 900 has no snapshot with lines"
    );
}

#[test]
fn lines_and_header_come_back_as_saved_and_nothing_is_recomputed() {
    let (_shop, db) = Shop::sample();
    // A total that is not the sum of the lines was saved so, and the host's own trigger would recompute it.
    db.run(
        "UPDATE sale_piece SET total_incl_tax_cents = 1, note = 'agreed by telephone' WHERE id = 28;
         CREATE TRIGGER host AFTER INSERT ON sale_line BEGIN
           UPDATE sale_piece SET total_incl_tax_cents = 2 WHERE id = NEW.piece_id; END",
    );
    let before = db.contents(&["sale_piece", "sale_line"]);
    lose(&db, "28");
    db.run("UPDATE sale_piece SET note = NULL, total_incl_tax_cents = 0 WHERE id = 28");
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 28)");
    assert_eq!(db.contents(&["sale_piece", "sale_line"]), before);
}

// Upstream chains.

/// Order 28 was made from quote 27: of article line 2703, 10 were quoted and 6 ordered.
const CHAIN: &str = "SELECT quantity, transformed_quantity, untransformed_quantity FROM sale_line WHERE id IN (2703, 2803)";

#[test]
fn the_quote_above_a_restored_order_says_again_how_much_of_it_was_ordered() {
    let (_shop, db) = Shop::sample();
    let before = db.contents(&["sale_piece", "sale_line"]);
    assert_eq!(db.rows(CHAIN), ["10.0|6.0|4.0", "6.0|0.0|6.0"]);
    db.run("SELECT talon_edit_begin('sale', 28)");
    // The order is changed to 4 and loses its lines in that save; the quote was written before.
    db.run(
        "UPDATE sale_line SET transformed_quantity = 4, untransformed_quantity = 6 WHERE id = 2703;
         UPDATE sale_piece SET (untransformed_quantity, untransformed_excl_tax_cents, untransformed_incl_tax_cents) =
           (SELECT total(untransformed_quantity),
              sum(CAST(round(amount_excl_tax_cents * untransformed_quantity / quantity) AS INTEGER)),
              sum(CAST(round(amount_incl_tax_cents * untransformed_quantity / quantity) AS INTEGER))
            FROM sale_line WHERE piece_id = 27) WHERE id = 27",
    );
    lose(&db, "28");
    assert_eq!(db.rows(CHAIN), ["10.0|4.0|6.0"]);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 28)");
    assert_eq!(db.rows(CHAIN), ["10.0|6.0|4.0", "6.0|0.0|6.0"]);
    // The untransformed quantity and both untransformed amounts of the quote's header too, to the cent.
    assert_eq!(db.contents(&["sale_piece", "sale_line"]), before);
    let note = db.one("SELECT note FROM talon_restore");
    for corrected in [
        "corrected sale_line 2703.transformed_quantity from 4.0 to 6.0",
        "corrected sale_line 2703.untransformed_quantity from 6.0 to 4.0",
        "corrected sale_piece 27.untransformed_quantity from",
        "corrected sale_piece 27.untransformed_excl_tax_cents from",
        "corrected sale_piece 27.untransformed_incl_tax_cents from",
    ] {
        assert!(note.contains(corrected), "{note}");
    }
}

#[test]
fn a_quote_that_is_right_is_left_alone() {
    let (_shop, db) = Shop::sample();
    let images = "SELECT count(*) FROM talon_snapshots WHERE kind = 'sale' AND piece = 27";
    let before = db.one(images);
    lose(&db, "28");
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 28)");
    assert_eq!(db.one("SELECT outcome, note FROM talon_restore"), "restored|NULL");
    assert_eq!(db.one(images), before);
}

// Lots and serial numbers.

/// Return 32 brings back two of an article that has lots: line 3203. Three were typed and their lots recorded, and then the
/// lines were lost.
fn lots_of_three() -> (Shop, Db) {
    let (shop, db) = Shop::sample();
    db.run(
        "UPDATE sale_piece SET validated = 0 WHERE id = 32; SELECT talon_edit_begin('sale', 32);
         UPDATE lots SET quantity = -3 WHERE sale_line_id = 3203",
    );
    lose(&db, "32");
    (shop, db)
}

#[test]
fn lots_outlive_the_lines_and_tell_their_quantities_after_a_restore() {
    let (_shop, db) = lots_of_three();
    let lots = db.contents(&["lots"]);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 32)");
    assert_eq!(db.contents(&["lots"]), lots);
    let both = "SELECT line.quantity, lots.quantity FROM sale_line AS line JOIN lots ON sale_line_id = line.id WHERE piece_id = 32";
    assert_eq!(db.rows(both), ["-2.0|-3.0"]);
    let listed = "SELECT piece, detail FROM talon_audit WHERE finding = 'check'";
    assert_eq!(
        db.rows(listed),
        [
            "32|sale lots: the lots of a line do not add up to its quantity (line 3203, quantity -2.0, lots -3.0)"
        ]
    );
}

#[test]
fn a_piece_whose_lots_do_not_match_cannot_be_validated_until_its_lines_are_corrected() {
    let (_shop, db) = lots_of_three();
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 32)");
    let validate = "UPDATE sale_piece SET validated = 1 WHERE id = 32";
    assert_eq!(db.error(validate), "the lots of a line do not add up to its quantity");
    assert_eq!(db.one("SELECT validated FROM sale_piece WHERE id = 32"), "0");
    db.run("UPDATE sale_line SET quantity = -3 WHERE id = 3203");
    db.run(validate);
    assert_eq!(db.rows("SELECT * FROM talon_audit WHERE finding = 'check'"), NOBODY);
}

// Outstanding amounts and stock.

#[test]
fn an_outstanding_amount_is_reported_after_a_restore_and_corrected_by_its_own_tool() {
    let (shop, db) = Shop::sample();
    lose(&db, "4");
    // What the crash left: the customer owes nothing for the invoice.
    db.run(
        "UPDATE customers SET outstanding_cents = outstanding_cents - (SELECT total_incl_tax_cents FROM sale_piece WHERE id = 4)
         WHERE id = (SELECT customer_id FROM sale_piece WHERE id = 4)",
    );
    let owed = "SELECT outstanding_cents FROM customers WHERE id = (SELECT customer_id FROM sale_piece WHERE id = 4)";
    let wrong = db.one(owed);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 4)");
    let note = db.one("SELECT note FROM talon_restore");
    assert!(
        note.contains("check: customers ") && note.contains(".outstanding_cents is "),
        "{note}"
    );
    assert_eq!(db.one(owed), wrong);
    let gap = db.one("SELECT name, stored FROM talon_gaps");
    assert_eq!(gap, format!("customer outstanding|{wrong}"));
    // It needs the database to itself: nobody may have a piece open.
    let other = shop.open();
    other.be("till 2", "marie", "2026-11-20T18:00:00+01:00");
    other.run("SELECT talon_edit_begin('sale', 5)");
    let refused = db.error("SELECT talon_repair('customer outstanding')");
    assert!(refused.contains("sale 5 is being edited at till 2 by marie"), "{refused}");
    other.run("SELECT talon_edit_end('sale', 5)");
    assert_eq!(db.one("SELECT talon_repair('customer outstanding')"), "1");
    assert_ne!(db.one(owed), wrong);
    assert_eq!(db.rows("SELECT * FROM talon_gaps"), NOBODY);
}

#[test]
fn a_stock_is_reported_after_a_restore_and_corrected_by_its_own_tool() {
    let (_shop, db) = Shop::sample();
    let before = db.contents(&["stock"]);
    db.run("UPDATE stock SET on_hand_quantity = on_hand_quantity + 2 WHERE article_id = (SELECT article_id FROM sale_line WHERE id = 3602)");
    lose(&db, "36");
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 36)");
    let note = db.one("SELECT note FROM talon_restore");
    assert!(note.contains("check: stock ") && note.contains(".on_hand_quantity is "), "{note}");
    assert_ne!(db.contents(&["stock"]), before);
    assert_eq!(db.one("SELECT talon_repair('stock')"), "1");
    assert_eq!(db.contents(&["stock"]), before);
}

// Emptying what was saved.

#[test]
fn on_monday_what_was_saved_on_friday_goes_where_the_piece_has_lines_and_nobody_has_it_open() {
    let (_shop, db) = Shop::sample();
    let saved = db.one("SELECT count(*) FROM talon_snapshots");
    db.be("till 1", "anna", "2026-11-23T08:00:00+01:00");
    assert_eq!(
        db.one("SELECT talon_daily()"),
        format!(
            r#"{{"ran":1,"day":"2026-11-23","lost":0,"purged":{saved},"kept_lost":0,"kept_edited":0}}"#
        )
    );
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshots"), "0");
}

#[test]
fn what_was_saved_of_a_piece_without_lines_is_kept_until_it_is_recovered_and_it_is_announced() {
    let (_shop, db) = Shop::sample();
    let before = lines(&db, 28);
    lose(&db, "28");
    for day in ["2026-11-23", "2026-11-24", "2026-11-30"] {
        db.be("till 1", "anna", &format!("{day}T08:00:00+01:00"));
        let answer = db.one("SELECT talon_daily()");
        assert!(answer.contains(r#""lost":1"#) && answer.contains(r#""kept_lost":1"#), "{answer}");
    }
    db.run("SELECT talon_restore_all()");
    assert_eq!(lines(&db, 28), before);
    db.be("till 1", "anna", "2026-12-01T08:00:00+01:00");
    assert!(db.one("SELECT talon_daily()").contains(r#""lost":0"#));
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshots"), "0");
}

#[test]
fn what_was_saved_of_a_piece_that_another_station_has_open_goes_the_day_after() {
    let (shop, db) = Shop::sample();
    let other = shop.open();
    other.be("till 2", "marie", "2026-11-20T18:00:00+01:00");
    other.run("SELECT talon_edit_begin('sale', 5)");
    db.be("till 1", "anna", "2026-11-23T08:00:00+01:00");
    assert!(db.one("SELECT talon_daily()").contains(r#""kept_edited":1"#));
    assert_eq!(db.rows("SELECT piece FROM talon_snapshots"), ["5"]);
    other.run("SELECT talon_edit_end('sale', 5)");
    db.be("till 1", "anna", "2026-11-24T08:00:00+01:00");
    assert!(db.one("SELECT talon_daily()").contains(r#""purged":1"#));
    assert_eq!(db.rows("SELECT piece FROM talon_snapshots"), NOBODY);
}

#[test]
fn what_was_saved_of_a_piece_that_somebody_has_deleted_goes() {
    let (_shop, db) = Shop::sample();
    lose(&db, "5");
    db.run("DELETE FROM sale_piece WHERE id = 5");
    assert_eq!(lost(&db), NOBODY);
    db.be("till 1", "anna", "2026-11-23T08:00:00+01:00");
    let answer = db.one("SELECT talon_daily()");
    assert!(answer.contains(r#""kept_lost":0"#), "{answer}");
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshots"), "0");
}

#[test]
fn it_brings_nothing_back_by_itself_that_was_deleted_on_purpose() {
    let (_shop, db) = Shop::sample();
    lose(&db, "5");
    db.run("DELETE FROM sale_piece WHERE id = 5");
    assert_eq!(db.one("SELECT talon_restore_all()"), r#"{"lost":0,"restored":0}"#);
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 5)"),
        "talon_restore: sale 5 was deleted; to bring it back all the same, name one of its snapshots"
    );
}
