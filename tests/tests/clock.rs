//! A connection's clock can be set, so that days can be tested and replayed.

use talon_tests::Shop;

const EIGHT: &str = "2026-11-21T08:00:00.000+01:00";

#[test]
fn a_clock_that_was_set_stands_still_until_it_is_set_again() {
    let (_shop, db) = Shop::of_sales();
    assert_eq!(db.one("SELECT talon_clock('2026-11-21T08:00:00+01:00')"), EIGHT);
    assert_eq!(db.one("SELECT talon_clock()"), EIGHT);
    db.run("UPDATE sale_line SET label = 'v2' WHERE id = 10");
    db.run("SELECT talon_clock('2026-11-22 08:00:00.5Z')");
    db.run("UPDATE sale_line SET label = 'v3' WHERE id = 10");
    assert_eq!(
        db.rows("SELECT day, taken_at FROM talon_snapshots WHERE kind = 'sale' AND piece = 1 AND reason = 'edit' ORDER BY id"),
        ["2026-11-21|2026-11-21T07:00:00.000+00:00", "2026-11-22|2026-11-22T08:00:00.500+00:00"]
    );
}

#[test]
fn null_lets_the_systems_clock_go_on() {
    let (_shop, db) = Shop::of_sales();
    let year = |query: &str| db.one(&format!("SELECT substr({query}, 1, 4)"));
    db.run("SELECT talon_clock('1987-01-02T03:04:05Z')");
    assert_eq!(year("talon_clock()"), "1987");
    assert_eq!(year("talon_clock(NULL)"), db.one("SELECT strftime('%Y', 'now', 'localtime')"));
    assert_eq!(year("talon_clock()"), db.one("SELECT strftime('%Y', 'now', 'localtime')"));
}

#[test]
fn every_time_that_is_shown_is_in_the_zone_of_the_clock() {
    let (shop, db) = Shop::of_sales();
    db.run("SELECT talon_clock('2026-11-21T23:30:00-05:00'), talon_station('till 2', 'marie')");
    db.run("DELETE FROM sale_line WHERE sale_id = 1");
    shop.bare().run("UPDATE sale_line SET label = 'bare' WHERE sale_id = 2");
    db.run("SELECT talon_edit_begin('sale', 2); INSERT INTO talon_restore(kind, piece, dry_run) VALUES ('sale', 1, 1)");
    db.run("INSERT INTO talon_purge(before) VALUES ('2000-01-01')");
    let shown = [
        "SELECT lost_at FROM talon_lost",
        "SELECT max(taken_at) FROM talon_snapshots WHERE reason = 'unguarded'",
        "SELECT since FROM talon_edits",
        "SELECT at FROM talon_restore",
        "SELECT at FROM talon_purge",
        "SELECT substr(detail, -29) FROM talon_audit WHERE finding = 'unguarded'",
    ];
    for query in shown {
        assert_eq!(db.one(query), "2026-11-21T23:30:00.000-05:00", "{query}");
    }
    db.run("SELECT talon_clock('2026-11-22T08:00:00+01:00')");
    for query in shown {
        assert_eq!(db.one(query), "2026-11-22T05:30:00.000+01:00", "{query}");
    }
}

#[test]
fn another_connection_goes_by_its_own_clock() {
    let (shop, db) = Shop::of_sales();
    let other = shop.open();
    other.run("SELECT talon_clock('1987-01-02T03:04:05Z')");
    assert_ne!(db.one("SELECT substr(talon_clock(), 1, 4)"), "1987");
    other.run("UPDATE sale_line SET label = 'v2' WHERE id = 10");
    db.run("UPDATE sale_line SET label = 'v3' WHERE id = 10");
    assert_eq!(
        db.rows("SELECT day = '1987-01-02' FROM talon_snapshots WHERE kind = 'sale' AND piece = 1 ORDER BY id"),
        ["0", "1", "0"]
    );
}

#[test]
fn what_is_no_moment_with_its_offset_is_refused() {
    let (_shop, db) = Shop::of_sales();
    for bad in [
        "2026-11-21",
        "2026-11-21T08:00:00",
        "noon",
        "2026-02-30T08:00:00Z",
        "0000-01-01T00:00:00Z",
    ] {
        assert_eq!(
            db.error(&format!("SELECT talon_clock('{bad}')")),
            format!(
                "talon_clock: {bad:?} is no moment with its offset: give one such as '2026-11-21T08:00:00+01:00', or NULL for the system's clock"
            )
        );
    }
    assert_eq!(
        db.error("SELECT talon_clock(20261121)"),
        "talon_clock: the moment must be a text, not 20261121"
    );
    assert_ne!(db.one("SELECT substr(talon_clock(), 1, 4)"), "0000");
}
