//! The main job: lose, find, restore.

use talon_tests::{GUARD_SALES, SALES, Shop};

#[test]
fn lost_lines_are_found_and_restored_exactly() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(GUARD_SALES);
    db.run(
        "INSERT INTO sale_piece VALUES (1, 'A', 1.5), (2, 'B', 2.5);
         INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0), (11, 1, 2, 'y', 2.0), (12, 2, 1, 'z', 3.0)",
    );
    let before = db.rows("SELECT *, typeof(quantity) FROM sale_line");
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    assert_eq!(
        db.rows("SELECT kind, piece, saved_lines, restorable FROM talon_lost"),
        ["sale|1|2|1"]
    );
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.rows("SELECT *, typeof(quantity) FROM sale_line"), before);
    assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0]);
    assert_eq!(
        db.one("SELECT kind, piece, lines, outcome, note, dry_run FROM talon_restore"),
        "sale|1|2|restored|NULL|0"
    );
}
