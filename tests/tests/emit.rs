//! What a flow holds: what the receiver is to have and does not have yet, in an order that it can be applied in.

use talon_tests::flows::{documents, lines, site};
use talon_tests::{Db, Shop, extension_path, installed};

fn till() -> (Shop, Db) {
    let (shop, db) = site("BSOC");
    db.run(
        "INSERT INTO sale VALUES (1, 'B1', 'B', NULL), (2, 'B2', 'B', NULL);
         INSERT INTO sale_line VALUES (10, 1, NULL, 1.5), (11, 1, NULL, 2.0), (12, 2, NULL, 3.0)",
    );
    (shop, db)
}

/// As if the receiver had applied and acknowledged all that it was sent so far.
fn acknowledge(db: &Db, site: &str) {
    db.emit(site, "changes", "none");
    db.run(&format!(
        "UPDATE talon_site SET acknowledged = (SELECT max(seq) FROM talon_change) WHERE code = '{site}'"
    ));
}

#[test]
fn a_flow_holds_what_changed_since_the_last_one_that_was_acknowledged() {
    let (_shop, db) = till();
    assert_eq!(db.sends("ASOC"), ["sale 1", "sale 2"]);
    db.run("UPDATE sale_line SET quantity = 4 WHERE id = 12");
    // The first one may be lost.
    assert_eq!(db.sends("ASOC"), ["sale 1", "sale 2"]);
    acknowledge(&db, "ASOC");
    assert_eq!(db.sends("ASOC"), [""; 0]);
    db.run("UPDATE sale_line SET quantity = 5 WHERE id = 10; UPDATE sale_line SET quantity = 6 WHERE id = 10");
    assert_eq!(db.sends("ASOC"), ["sale 1"]);
    assert_eq!(documents(&db.flow("ASOC", "full", "none")), ["sale 2", "sale 1"]);
}

#[test]
fn a_document_says_whose_it_is_and_carries_its_image_as_it_is_stored() {
    let (_shop, db) = till();
    db.run("SELECT talon_clock('2026-11-20T21:00:00+01:00')");
    db.run("INSERT INTO sale VALUES (3, 'B3', 'B', NULL); UPDATE sale SET number = 'B3''' WHERE id = 3");
    acknowledge(&db, "ASOC");
    db.run("UPDATE sale_line SET quantity = 1e300 WHERE id = 12");
    let lines = lines(&db.flow("ASOC", "changes", "now"));
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let head = db.rows(&format!(
        "SELECT h ->> 'from', h ->> 'to', h ->> 'mode', h ->> 'answer', h ->> 'stamp' >> 16 = unixepoch('2026-11-20T20:00:00') * 1000
         FROM (SELECT '{}' -> 'flow' AS h)",
        lines[0]
    ));
    assert_eq!(head, ["BSOC|ASOC|changes|now|1"]);
    let document = db.rows(&format!(
        "SELECT d ->> 'key', d ->> 'origin', d ->> 'site', d ->> 'version', d ->> 'lines', d -> 'image' = s.payload,
           d ->> 'hash' = lower(hex(s.hash)), d ->> 'stamp' = c.stamp
         FROM (SELECT '{}' -> 'document' AS d), talon_piece AS p JOIN talon_snapshot AS s ON s.id = p.last
           JOIN talon_change AS c ON c.seq = p.change
         WHERE p.key = 2",
        lines[2]
    ));
    assert_eq!(document, ["2|BSOC|BSOC|3|1|1|1|1"]);
    assert_eq!(lines[3], r#"{"end":{"documents":1,"rows":2}}"#);
}

#[test]
fn what_is_referred_to_comes_first_and_deletions_come_last_the_other_way_round() {
    let (_shop, db) = till();
    db.run("INSERT INTO customer VALUES (7, 'Anna', NULL), (8, 'Paul', NULL)");
    db.run("UPDATE sale SET customer_id = 7 WHERE id = 2");
    assert_eq!(db.sends("ASOC"), ["customer 7", "customer 8", "sale 1", "sale 2"]);
    acknowledge(&db, "ASOC");
    db.run("DELETE FROM customer WHERE id = 8; DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale WHERE id = 1");
    db.run("INSERT INTO customer VALUES (9, 'Eva', NULL)");
    assert_eq!(db.sends("ASOC"), ["customer 9", "sale 1 gone", "customer 8 gone"]);
}

#[test]
fn a_piece_that_is_open_waits_for_the_flow_after_it_was_closed() {
    let (_shop, db) = till();
    db.run("SELECT talon_station('till 2', 'marie'), talon_edit_begin('sale', 1)");
    assert_eq!(db.sends("ASOC"), ["sale 2"]);
    acknowledge(&db, "ASOC");
    assert_eq!(db.sends("ASOC"), [""; 0]);
    db.run("SELECT talon_edit_end('sale', 1)");
    assert_eq!(db.sends("ASOC"), ["sale 1"]);
    // Until it was acknowledged it goes with every flow.
    assert_eq!(db.sends("ASOC"), ["sale 1"]);
}

#[test]
fn a_flow_goes_the_way_that_its_kinds_go() {
    let (_central, db) = site("ASOC");
    db.run("INSERT INTO article VALUES (1, 'coffee', 3.5)");
    db.run("SELECT talon_track('customer', '{\"record\": {\"table\": \"customer\"}, \"sync\": {\"direction\": \"up\"}}')");
    db.run("INSERT INTO customer VALUES (1, 'Anna', NULL)");
    assert_eq!(db.sends("BSOC"), ["article 1"]);
}

#[test]
fn a_site_gets_what_its_filter_lets_through_and_is_told_what_has_left_it() {
    let (_central, db) = site("ASOC");
    let guard = r#"SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line"},
        "sync": {"preset": "piece", "freeze": false, "filter": "h.shop = :site"}}')"#;
    db.run(guard);
    db.run("INSERT INTO sale VALUES (1, 'S1', 'BSOC', NULL), (2, 'S2', 'CSOC', NULL)");
    assert_eq!(
        (db.sends("BSOC"), db.sends("CSOC")),
        (vec!["sale 1".to_owned()], vec!["sale 2".to_owned()])
    );
    acknowledge(&db, "BSOC");
    acknowledge(&db, "CSOC");
    db.run("UPDATE sale SET shop = 'CSOC' WHERE id = 1");
    assert_eq!(db.sends("CSOC"), ["sale 1"]);
    // That it has left is said until it was heard.
    assert_eq!(db.sends("BSOC"), ["sale 1 left"]);
    assert_eq!(db.sends("BSOC"), ["sale 1 left"]);
    db.run("DELETE FROM sale WHERE id = 2");
    assert_eq!(db.sends("CSOC"), ["sale 1", "sale 2 gone"]);
    assert_eq!(db.sends("BSOC"), ["sale 1 left"]);
}

#[test]
fn what_came_from_the_receiver_does_not_go_back_unless_all_is_asked_for() {
    let (_central, db) = site("ASOC");
    db.run("INSERT INTO sale VALUES (1, 'S1', 'B', NULL), (2, 'S2', 'B', NULL)");
    db.emit("CSOC", "changes", "none");
    db.run("UPDATE talon_change SET via = (SELECT id FROM talon_site WHERE code = 'BSOC') WHERE key = 1");
    assert_eq!(db.sends("BSOC"), ["sale 2"]);
    assert_eq!(db.sends("CSOC"), ["sale 1", "sale 2"]);
    assert_eq!(documents(&db.flow("BSOC", "full", "none")), ["sale 1", "sale 2"]);
}

#[test]
fn a_piece_whose_snapshots_were_purged_travels_all_the_same() {
    let (_shop, db) = till();
    let before = lines(&db.flow("ASOC", "full", "none"));
    acknowledge(&db, "ASOC");
    db.run("INSERT INTO talon_purge(before, keep_last) VALUES ('9999-01-01', 0)");
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshots"), "0");
    let after = lines(&db.flow("ASOC", "full", "none"));
    assert_eq!(before[1..], after[1..]);
    assert_eq!(after.len(), 5);
}

#[test]
fn a_kind_whose_guard_does_not_fit_any_more_waits_until_it_does() {
    let (_shop, db) = till();
    db.run(
        r#"INSERT INTO customer VALUES (7, 'Anna', NULL);
        SELECT talon_guard('sale', '{"header": {"table": "sale", "where": "h.shop <> 0"}, "lines": {"table": "sale_line"},
          "sync": "piece"}')"#,
    );
    db.run("ALTER TABLE sale RENAME COLUMN shop TO branch");
    assert_eq!(db.sends("ASOC"), ["customer 7"]);
    acknowledge(&db, "ASOC");
    db.run("ALTER TABLE sale RENAME COLUMN branch TO shop");
    assert_eq!(db.sends("ASOC"), ["sale 1", "sale 2"]);
}

#[test]
fn a_later_flow_supersedes_one_that_was_not_acknowledged() {
    let (_shop, db) = till();
    db.run("SELECT talon_clock('2026-11-20T21:00:00+01:00')");
    let first = db.emit("ASOC", "changes", "later");
    db.run("SELECT talon_clock('2026-11-20T21:30:00+01:00')");
    let second = db.emit("ASOC", "changes", "now");
    assert_eq!(db.chunks(first).len(), 0);
    assert_eq!(db.chunks(second).len(), 1);
    assert_eq!(
        db.rows("SELECT number, answer, from_site, to_site, ready, superseded FROM talon_flows"),
        [
            "1|later|BSOC|ASOC|2026-11-20T21:00:00.000+01:00|2026-11-20T21:30:00.000+01:00",
            "2|now|BSOC|ASOC|2026-11-20T21:30:00.000+01:00|NULL"
        ]
    );
}

#[test]
fn what_cannot_be_emitted_says_why() {
    let shop = Shop::of_sales().0;
    let nobody = shop.open();
    nobody.run("SELECT talon_site('ASOC', 'central')");
    assert_eq!(
        nobody.error("SELECT talon_emit('ASOC', 'changes')"),
        "talon_emit: this database has not said which site it is: SELECT talon_origin(code)"
    );
    let (_shop, db) = till();
    for (call, problem) in [
        ("'XSOC', 'changes'", "XSOC"),
        ("'BSOC', 'changes'", "BSOC is this database itself"),
        ("'CSOC', 'changes'", "CSOC is remote, as BSOC is: both exchange flows with ASOC"),
        ("'ASOC', 'all'", "\"all\" is no mode: 'changes', 'full' or 'return'"),
        ("'ASOC', 'full', 'soon'", "\"soon\" is no answer to ask for: 'now', 'later' or 'none'"),
        ("NULL, 'full'", "the site must be a text, not NULL"),
    ] {
        let error = db.error(&format!("SELECT talon_emit({call})"));
        assert!(error.starts_with("talon_emit: ") && error.contains(problem), "{error}");
    }
    assert_eq!(db.one("SELECT count(*) FROM talon_flows"), "0");
}

#[test]
fn an_emission_that_is_rolled_back_leaves_nothing() {
    let (_shop, db) = till();
    db.run("BEGIN");
    let flow = db.emit("ASOC", "changes", "none");
    assert_eq!(db.chunks(flow).len(), 1);
    db.run("ROLLBACK");
    assert_eq!(db.one("SELECT count(*) FROM talon_flows"), "0");
    assert_eq!(db.sends("ASOC"), ["sale 1", "sale 2"]);
    assert_eq!(db.one("SELECT number FROM talon_flows"), "1");
}

#[test]
fn the_host_does_not_notice_an_emission() {
    let (_shop, db) = till();
    db.run("INSERT INTO customer VALUES (70, 'Anna', NULL), (71, 'Paul', NULL)");
    db.run("SELECT talon_emit('ASOC', 'changes')");
    assert_eq!(db.one("SELECT changes(), last_insert_rowid()"), "2|71");
}

/// A million rows take no more memory than these: chunks are written as they fill.
#[test]
fn memory_does_not_grow_with_the_number_of_documents() {
    installed("sqlite3", "sqlite3");
    let (shop, db) = site("BSOC");
    db.run(
        "BEGIN;
         WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 12000)
         INSERT INTO sale SELECT n, 'B' || n, hex(randomblob(300)), NULL FROM n;
         INSERT INTO sale_line SELECT id * 10 + k, id, NULL, k FROM sale, (SELECT 1 AS k UNION SELECT 2 UNION SELECT 3 UNION SELECT 4);
         COMMIT",
    );
    let sent = db.emit("ASOC", "changes", "none");
    assert!(db.chunks(sent).len() > 9);
    let script = format!(
        ".bail on\n.load {}\nSELECT talon_emit('ASOC', 'changes', 'none');\nSELECT sum(length(bytes)) > 3000000, count(*) > 9 FROM talon_chunks;\n",
        extension_path().display()
    );
    // Code, stack and libraries count too.
    let limited = "ulimit -v 65536; exec sqlite3 shop.db 2>&1";
    let mut child = std::process::Command::new("sh")
        .args(["-c", limited])
        .current_dir(shop.file("."))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a shell");
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), script.as_bytes())
        .expect("a script");
    let output = child.wait_with_output().expect("the shell ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2\n1|1\n");
}
