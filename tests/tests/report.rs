//! The report of pieces without lines: its columns, and its order.

use talon_tests::{Db, Shop};

/// The sample shop, where some pieces were saved without their lines on the 20th of November.
fn sample() -> (Shop, Db) {
    let shop = Shop::with(include_str!("../../sql/sample/schema.sql"));
    let bare = shop.bare();
    bare.run("CREATE TEMP TABLE shop_size AS SELECT 60 AS pieces");
    bare.run(include_str!("../../sql/sample/generate.sql"));
    let db = shop.open();
    db.run("SELECT talon_clock('2026-11-20T08:00:00+01:00')");
    db.run(include_str!("../../sql/sample/guard.sql"));
    db.run("PRAGMA foreign_keys = OFF; DELETE FROM sale_line WHERE piece_id IN (4, 9, 12); DELETE FROM purchase_line WHERE piece_id = 2");
    (shop, db)
}

const SOURCE: &str = "kind, number, date, saved_at, party, type, validated";

// « pour chaque pièce on a le type de pièce, le n° pièce, la date pièce, la date de la sauvegarde avant perte des lignes, le
// nom du client ou du fournisseur, le type si facture ou avoir ou bon de retour (F ou A ou R), et le statut … validée »
#[test]
fn the_report_has_the_columns_that_a_person_knows_a_piece_by() {
    let (_shop, db) = sample();
    let expected = db.rows(
        "SELECT 'sale', number, date, '2026-11-20T08:00:00.000+01:00', (SELECT name FROM customers AS c WHERE c.id = customer_id), type, validated
         FROM sale_piece WHERE id IN (4, 9, 12)
         UNION ALL SELECT 'purchase', number, date, '2026-11-20T08:00:00.000+01:00', (SELECT name FROM suppliers AS s WHERE s.id = supplier_id), type, validated
         FROM purchase_piece WHERE id = 2",
    );
    assert_eq!(db.rows(&format!("SELECT {SOURCE} FROM talon_lost")), expected);
    let types = db.rows("SELECT DISTINCT type IN ('F', 'A', 'R') OR type IS NULL FROM sale_piece");
    assert_eq!(types, ["1"]);
    let missing = "SELECT count(*) FROM talon_lost WHERE number IS NULL OR date IS NULL OR party IS NULL OR validated IS NULL";
    assert_eq!(db.one(missing), "0");
}

// « Le tri des colonnes … [est] possible sur cette liste »
#[test]
fn the_report_is_sorted_by_any_column() {
    let (_shop, db) = sample();
    for column in SOURCE.split(", ") {
        let sorted = db.rows(&format!("SELECT {column} FROM talon_lost ORDER BY {column}"));
        let copied = db.rows(&format!(
            "WITH copy AS MATERIALIZED (SELECT {column} AS c FROM talon_lost) SELECT c FROM copy ORDER BY c"
        ));
        assert_eq!(sorted, copied, "{column}");
        let down = db.rows(&format!("SELECT {column} FROM talon_lost ORDER BY {column} DESC"));
        assert_eq!(down, sorted.into_iter().rev().collect::<Vec<_>>(), "{column}");
    }
}
