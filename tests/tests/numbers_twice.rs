//! A till goes back to a backup and gives numbers again, before anybody notices: what was lost and what is new meet under one
//! identity, and neither is overwritten without a trace.

use talon_tests::Db;
use talon_tests::tills::{DECLARE, SCHEMA, Tills};

const NONE: [&str; 0] = [];
const CONFLICTS: &str = "SELECT kind, lost_site, won_site, lost_value ->> '$.header[1]', won_value ->> '$.header[1]' FROM talon_conflicts";

#[test]
fn numbers_given_again_after_a_backup_overwrite_nothing_silently() {
    let sites = Tills::with(SCHEMA, DECLARE, 1);
    let (a, b) = (sites.at('A'), sites.at('B'));
    b.run("BEGIN; INSERT INTO sale VALUES (1, 'B1', NULL, 1); INSERT INTO sale_line VALUES (1, 1, NULL, 1, 1, NULL); COMMIT");
    sites.settle(1);
    let backup = sites.shop('B').file("backup.db");
    b.run(&format!("VACUUM INTO '{}'", backup.display()));
    b.run("BEGIN; INSERT INTO sale VALUES (2, 'lost', NULL, 2); INSERT INTO sale_line VALUES (2, 2, NULL, 2, 1, NULL); COMMIT");
    sites.settle(1);
    assert_eq!(a.rows("SELECT number FROM sale"), ["B1", "lost"]);
    // The backup goes on, and its next sale has the number of the one that it does not know.
    let back = Db::open(&backup);
    talon_tests::load(&back.connection);
    back.run("SELECT talon_clock('2026-11-21T08:00:00+01:00')");
    back.run("BEGIN; INSERT INTO sale VALUES (2, 'new', NULL, 3); INSERT INTO sale_line VALUES (2, 2, NULL, 3, 1, NULL); COMMIT");
    let taken = a.receive(&back.flow("ASOC", "changes", "none"));
    assert!(taken.clone().is_err_and(|error| error.contains("SELECT talon_rejoin()")), "{taken:?}");
    assert_eq!(a.rows("SELECT number FROM sale"), ["B1", "lost"]);

    back.run("SELECT talon_rejoin()");
    let exchange = |from: &Db, to: &Db, code: &str| {
        to.receive(&from.flow(code, "full", "none")).expect("a sound flow");
        to.run("SELECT talon_process()");
    };
    for _ in 0..2 {
        exchange(&back, a, "ASOC");
        exchange(a, &back, "BSOC");
    }
    // The later one stands at both, and the other one is listed with all that it was.
    for db in [a, &back] {
        assert_eq!(db.rows("SELECT number FROM sale ORDER BY id"), ["B1", "new"]);
        assert_eq!(db.rows("SELECT reason FROM talon_quarantine"), NONE);
        assert_eq!(db.findings(), NONE);
    }
    assert_eq!(a.rows(CONFLICTS), ["sale|BSOC|BSOC|lost|new"]);
    let lines = "SELECT lost_value ->> '$.lines[0][3]' FROM talon_conflicts";
    assert_eq!(a.rows(lines), ["2.0"]);
}
