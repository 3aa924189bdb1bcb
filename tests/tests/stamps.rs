//! Each committed change of a synchronised piece or record has an origin, a version and a stamp that sorts.

use talon_tests::tills::{DECLARE, SCHEMA, Tills};
use talon_tests::*;

const STAMPS: &str =
    "SELECT kind, piece, origin, version, stamp, site, gone FROM talon_stamps WHERE field IS NULL";
const CHANGES: &str = "SELECT count(*) FROM talon_change";

fn change_rows(db: &Db) -> i64 {
    db.one(CHANGES).parse().expect("a number")
}

#[test]
fn each_commit_has_one_stamp() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run(
        "BEGIN; INSERT INTO customer(name) VALUES ('Ada'); INSERT INTO sale VALUES (1, 'B1', 1, 2.5);
         INSERT INTO sale_line(sale_id, quantity) VALUES (1, 2); COMMIT",
    );
    assert_eq!(
        db.rows(STAMPS),
        [
            "customer|1|BSOC|1|2026-11-20T07:00:00.000Z/00000|BSOC|0",
            "sale|1|BSOC|1|2026-11-20T07:00:00.000Z/00000|BSOC|0"
        ]
    );
    db.run("UPDATE sale_line SET quantity = 3");
    assert_eq!(
        db.rows(&format!("{STAMPS} AND kind = 'sale' AND piece = '1'")),
        ["sale|1|BSOC|2|2026-11-20T07:00:00.000Z/00001|BSOC|0"]
    );
    assert_eq!(
        db.one("SELECT changed_at FROM talon_stamps WHERE kind = 'sale'"),
        "2026-11-20T08:00:00.000+01:00"
    );
    assert_eq!(change_rows(db), 3);
}

#[test]
fn what_changes_nothing_is_not_stamped() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO customer VALUES (1, 'Ada', NULL, NULL); INSERT INTO sale(id) VALUES (1)");
    let before = change_rows(db);
    db.run(
        "UPDATE sale SET number = number; BEGIN; DELETE FROM sale; DELETE FROM customer; ROLLBACK",
    );
    // Central has it, and its images are purged.
    db.run("UPDATE talon_site SET acknowledged = 99 WHERE code = 'ASOC'");
    db.run(
        "INSERT INTO talon_purge(before) VALUES ('9999-01-01'); UPDATE customer SET name = name",
    );
    assert_eq!(change_rows(db), before);
    assert_eq!(
        db.rows("SELECT s.reason, s.id = c.snapshot FROM talon_snapshots AS s, talon_change AS c WHERE c.kind = 1"),
        ["before|1"]
    );
}

#[test]
fn a_lost_piece_is_no_change_and_neither_is_its_return() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("BEGIN; INSERT INTO sale(id) VALUES (1); INSERT INTO sale_line(sale_id, quantity) VALUES (1, 2); COMMIT");
    db.run("DELETE FROM sale_line");
    assert_eq!(db.rows("SELECT kind FROM talon_lost"), ["sale"]);
    assert_eq!(change_rows(db), 1);
    db.run("SELECT talon_restore_all()");
    assert_eq!(change_rows(db), 1);
    db.run("UPDATE sale_line SET quantity = 5");
    assert_eq!(change_rows(db), 2);
}

#[test]
fn a_deletion_is_a_change_and_a_key_used_again_the_same_piece() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO customer(id, name) VALUES (1, 'Ada'); DELETE FROM customer");
    assert_eq!(db.rows(STAMPS), ["customer|1|BSOC|2|2026-11-20T07:00:00.000Z/00001|BSOC|1"]);
    assert_eq!(db.one("SELECT snapshot FROM talon_change ORDER BY seq DESC LIMIT 1"), "NULL");
    db.run("INSERT INTO customer(id, name) VALUES (1, 'Ada')");
    assert_eq!(db.rows(STAMPS), ["customer|1|BSOC|3|2026-11-20T07:00:00.000Z/00002|BSOC|0"]);
    db.run("BEGIN; INSERT INTO customer(id) VALUES (2); DELETE FROM customer WHERE id = 2; COMMIT");
    assert_eq!(change_rows(db), 3);
}

#[test]
fn a_record_merged_by_field_has_a_stamp_for_each_changed_field() {
    let sites = Tills::new();
    let db = sites.at('B');
    let fields = "SELECT field, site, substr(stamp, 12, 8), substr(stamp, -5) FROM talon_stamps WHERE field IS NOT NULL ORDER BY field";
    db.run("INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11')");
    assert_eq!(db.rows(fields), [""; 0]);
    db.run("UPDATE customer SET phone = '12'");
    db.run("SELECT talon_clock('2026-11-20T09:30:00+01:00'); UPDATE customer SET address = 'High Street'");
    assert_eq!(db.rows(fields), ["address|BSOC|08:30:00|00000", "phone|BSOC|07:00:00|00001"]);
    assert_eq!(
        db.one("SELECT json_extract(fields, '$.phone[2]'), json_extract(fields, '$.address[2]') FROM talon_change ORDER BY seq DESC LIMIT 1"),
        "2|3"
    );
    db.run("ALTER TABLE customer ADD COLUMN email TEXT; UPDATE customer SET email = 'a@b'");
    assert_eq!(db.one("SELECT count(*) FROM talon_stamps WHERE field = 'email'"), "1");
}

#[test]
fn stamps_go_on_whatever_the_clock_says() {
    let sites = Tills::new();
    let db = sites.at('B');
    let stamps = "SELECT stamp FROM talon_change ORDER BY seq";
    for (clock, name) in [
        ("2026-11-20T08:00:00+01:00", "right"),
        ("2038-01-19T03:14:08Z", "far ahead"),
        ("2026-11-20T08:00:01+01:00", "right again"),
        ("1970-01-01T00:00:00Z", "long ago"),
        ("9998-12-31T00:00:00Z", "at the end"),
        ("2026-11-20T08:00:02+01:00", "right at last"),
    ] {
        db.run(&format!("SELECT talon_clock('{clock}')"));
        db.run(&format!("INSERT INTO customer(name) VALUES ('{name}')"));
    }
    let found: Vec<i64> =
        db.rows(stamps).iter().map(|stamp| stamp.parse().expect("a stamp")).collect();
    assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
    assert_eq!(found.len(), 6);
    let shown = db.rows("SELECT stamp FROM talon_stamps ORDER BY piece");
    assert!(shown.is_sorted_by(|a, b| a < b), "{shown:?}");
}

#[test]
fn a_stamp_is_behind_those_of_other_connections() {
    let sites = Tills::new();
    let db = sites.at('B');
    let other = sites.shop('B').open();
    for (connection, clock) in [
        (db, "2026-11-20T08:00:00+01:00"),
        (&other, "2038-01-19T03:14:08Z"),
        (db, "2026-11-20T08:00:01+01:00"),
        (&other, "2026-11-20T08:00:02+01:00"),
        (db, "2026-11-20T08:00:03+01:00"),
    ] {
        connection.run(&format!("SELECT talon_clock('{clock}')"));
        connection.run("INSERT INTO customer(name) VALUES ('Ada')");
    }
    let shown = db.rows("SELECT stamp FROM talon_stamps ORDER BY piece");
    assert!(shown.is_sorted_by(|a, b| a < b), "{shown:?}");
    assert_eq!(shown[4], "2038-01-19T03:14:08.000Z/00003");
}

#[test]
fn a_stamp_is_behind_those_of_others_after_a_statement_that_took_no_piece() {
    for nothing in [
        "INSERT INTO sale_line(id, sale_id) VALUES (9, NULL)",
        "CREATE TEMP TABLE talon_capture(touched); UPDATE sale SET total = 1",
    ] {
        let sites = Tills::new();
        let (db, other) = (sites.at('B'), sites.shop('B').open());
        db.run("INSERT INTO sale(id) VALUES (1)");
        db.run("INSERT INTO customer(name) VALUES ('Ada')");
        let _ = db.try_run(nothing);
        other.run("SELECT talon_clock('2038-01-19T03:14:08Z')");
        other.run("INSERT INTO customer(name) VALUES ('Bob')");
        sites.shop('B').bare().run("INSERT INTO customer(name) VALUES ('Carl')");
        db.run("SELECT talon_absorb()");
        let shown =
            db.rows("SELECT stamp FROM talon_stamps WHERE kind = 'customer' ORDER BY piece");
        assert_eq!(shown.len(), 3);
        assert!(shown.is_sorted_by(|a, b| a < b), "{nothing}: {shown:?}");
    }
}

#[test]
fn a_stamp_is_behind_what_was_received() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO talon_meta VALUES ('clock', (2147483648000 << 16) + 7)");
    db.run("INSERT INTO customer(name) VALUES ('Ada')");
    assert_eq!(db.one("SELECT stamp FROM talon_stamps"), "2038-01-19T03:14:08.000Z/00008");
}

#[test]
fn what_was_there_before_is_told_once() {
    let shop = Shop::with(SCHEMA);
    let bare = shop.bare();
    bare.run(
        "INSERT INTO customer(name) VALUES ('Ada'), ('Ben'); INSERT INTO sale(id) VALUES (1), (2)",
    );
    bare.run("INSERT INTO sale_line(sale_id, quantity) VALUES (1, 2)");
    let db = shop.open();
    db.run(
        "SELECT talon_track('customer', 'customer'); UPDATE customer SET phone = '1' WHERE id = 1",
    );
    // Declared before anybody has said which site this is.
    db.run(DECLARE);
    assert_eq!(change_rows(&db), 0);
    db.run("SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote'); SELECT talon_origin('BSOC')");
    assert_eq!(change_rows(&db), 4);
    assert_eq!(db.one("SELECT count(DISTINCT stamp) FROM talon_change"), "1");
    assert_eq!(
        db.rows("SELECT kind, piece, version FROM talon_stamps"),
        ["customer|1|2", "customer|2|1", "sale|1|1", "sale|2|1"]
    );
    db.run(DECLARE);
    assert_eq!(change_rows(&db), 4);
    bare.run("INSERT INTO till_closing(till) VALUES ('1')");
    assert_eq!(db.findings(), ["till_closing|1|unguarded"]);
    assert_eq!(change_rows(&db), 5);
    assert_eq!(
        db.error("SELECT talon_origin('ASOC')"),
        "talon_origin: this database is BSOC, and has changes or flows of its own: it stays BSOC; begin ASOC on a database of its own"
    );
}

#[test]
fn what_is_not_synchronised_is_not_stamped() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("SELECT talon_track('line', 'sale_line'); INSERT INTO sale(id) VALUES (1); INSERT INTO sale_line(sale_id) VALUES (1)");
    assert_eq!(db.rows("SELECT DISTINCT kind FROM talon_stamps"), ["sale"]);
    assert_eq!(db.one("SELECT count(*) FROM talon_piece WHERE change IS NULL"), "1");
}

#[test]
fn a_commit_that_was_busy_is_stamped_once() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO customer VALUES (1, 'Ada', NULL, NULL)");
    let other = sites.shop('B').bare();
    other.run("BEGIN; SELECT * FROM customer");
    db.run("BEGIN; UPDATE customer SET phone = '1'; INSERT INTO customer(name) VALUES ('Ben')");
    assert!(db.error("COMMIT").contains("locked"));
    db.run("UPDATE customer SET phone = '2' WHERE id = 1");
    assert!(db.error("COMMIT").contains("locked"));
    other.run("COMMIT");
    db.run("COMMIT");
    assert_eq!(
        db.rows("SELECT piece, version FROM talon_stamps WHERE field IS NULL"),
        ["1|2", "2|1"]
    );
    assert_eq!(change_rows(db), 3);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_piece_is_known_by_its_first_key_after_it_got_another() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO customer VALUES (1, 'Ada', NULL, NULL); UPDATE customer SET id = 7");
    let known =
        "SELECT piece, origin, origin_key, version, gone FROM talon_stamps WHERE field IS NULL";
    assert_eq!(db.rows(known), ["7|BSOC|1|2|0"]);
    // Whoever comes by the first key is another one.
    db.run("INSERT INTO customer VALUES (1, 'Ben', NULL, NULL)");
    let rows = db.rows(known);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows[0].starts_with("1|BSOC|-") && rows[1] == "7|BSOC|1|2|0", "{rows:?}");
    db.run("DELETE FROM customer WHERE id = 1; UPDATE customer SET id = 1");
    assert_eq!(db.one(&format!("{known} AND NOT gone")), "1|BSOC|1|3|0");
    assert_eq!(db.one("SELECT count(*) FROM talon_stamps WHERE gone"), "1");
}

#[test]
fn a_key_that_is_shared_goes_with_its_deletion_when_it_changes() {
    let schema = "CREATE TABLE tariff(code TEXT PRIMARY KEY, price REAL)";
    let guards = r#"SELECT talon_track('tariff', '{"record": {"table": "tariff"}, "sync": {"owner": "anyone"}}')"#;
    let sites = Tills::with(schema, guards, 2);
    let db = sites.at('B');
    db.run("INSERT INTO tariff VALUES ('A', 1.0); UPDATE tariff SET code = 'B'");
    assert_eq!(
        db.rows("SELECT piece, origin_key, version, gone FROM talon_stamps ORDER BY piece"),
        ["A|A|2|1", "B|B|2|0"]
    );
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(
        db.rows(
            "SELECT reason FROM talon_snapshots WHERE kind = 'tariff' AND piece = 'B' ORDER BY id"
        ),
        ["create", "edit"]
    );
}

#[test]
fn a_restore_to_an_older_state_is_a_new_change() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO customer VALUES (1, 'Ada', NULL, '11'); UPDATE customer SET phone = '12'");
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) SELECT kind, piece, min(id) FROM talon_snapshots");
    assert_eq!(change_rows(db), 3);
    assert_eq!(db.one("SELECT version FROM talon_stamps WHERE field IS NULL"), "3");
}

#[test]
fn the_host_does_not_notice_stamps() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO sale(id) VALUES (5), (6)");
    assert_eq!(db.one("SELECT last_insert_rowid(), changes()"), "6|2");
    db.run("BEGIN; INSERT INTO customer(id) VALUES (9); UPDATE sale SET number = 'x'; COMMIT");
    assert_eq!(db.one("SELECT last_insert_rowid(), changes()"), "9|2");
}

#[test]
fn a_purge_keeps_what_other_sites_are_yet_to_get() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO customer VALUES (1, 'Ada', NULL, '11'), (2, 'Ben', NULL, NULL); UPDATE customer SET phone = '12' WHERE id = 1");
    db.run("UPDATE talon_site SET acknowledged = 2 WHERE code = 'ASOC'");
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-01-01')");
    assert_eq!(
        db.rows("SELECT purged, note FROM talon_purge"),
        ["2|kept what other sites are yet to get: 1"]
    );
    assert_eq!(db.rows("SELECT piece, reason FROM talon_snapshots"), ["1|edit"]);
    // What waits for the next flow is kept as well.
    db.run("UPDATE talon_site SET acknowledged = 3 WHERE code = 'ASOC'");
    db.run("INSERT INTO talon_held(site, kind, key, flow) SELECT s.id, p.kind, p.key, NULL FROM talon_site AS s, talon_piece AS p WHERE s.code = 'ASOC' AND p.key = 1");
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-01-01')");
    assert_eq!(db.rows("SELECT piece FROM talon_snapshots"), ["1"]);
    db.run("DELETE FROM talon_held; INSERT INTO talon_purge(before) VALUES ('9999-01-01')");
    assert_eq!(db.rows("SELECT piece FROM talon_snapshots"), [""; 0]);
}

#[test]
fn central_keeps_what_any_remote_is_yet_to_get() {
    let sites = Tills::new();
    let db = sites.at('A');
    db.run("INSERT INTO article(code) VALUES ('A'); UPDATE talon_site SET acknowledged = 1 WHERE code = 'BSOC'");
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-01-01')");
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshots"), "1");
    db.run("UPDATE talon_site SET acknowledged = 1 WHERE code = 'CSOC'");
    db.run("INSERT INTO talon_purge(before) VALUES ('9999-01-01')");
    assert_eq!(db.one("SELECT count(*) FROM talon_snapshots"), "0");
}

#[test]
fn the_daily_routine_removes_changes_that_everybody_has_and_newer_ones_have_followed() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO customer VALUES (1, 'Ada', NULL, NULL), (2, 'Ben', NULL, NULL)");
    for phone in 1..=4 {
        db.run(&format!("UPDATE customer SET phone = '{phone}' WHERE id = 1"));
    }
    let changes = "SELECT seq FROM talon_change";
    assert_eq!(db.rows(changes), ["1", "2", "3", "4", "5", "6"]);
    db.run("UPDATE talon_site SET acknowledged = 4 WHERE code = 'ASOC'; SELECT talon_daily()");
    assert_eq!(db.rows(changes), ["2", "4", "5", "6"]);
    db.run("UPDATE talon_site SET acknowledged = 6 WHERE code = 'ASOC'");
    db.run("SELECT talon_clock('2026-11-21T08:00:00+01:00'), talon_daily()");
    assert_eq!(db.rows(changes), ["2", "6"]);
    db.run("UPDATE customer SET phone = '5'");
    assert_eq!(db.rows(changes), ["2", "6", "7", "8"]);
    assert_eq!(
        db.rows("SELECT piece, version FROM talon_stamps WHERE field IS NULL"),
        ["1|7", "2|3"]
    );
}

#[test]
fn a_record_that_vanished_is_deleted_elsewhere_once_that_is_accepted() {
    let sites = Tills::with(
        "CREATE TABLE customer(id INTEGER PRIMARY KEY, number TEXT UNIQUE)",
        r#"SELECT talon_track('customer', '{"record": {"table": "customer"}, "sync": "customer"}')"#,
        2,
    );
    let db = sites.at('B');
    db.run(
        "INSERT INTO customer VALUES (1, 'C1'); INSERT OR REPLACE INTO customer VALUES (2, 'C1')",
    );
    assert_eq!(db.findings(), ["customer|1|vanished"]);
    assert_eq!(db.rows("SELECT piece, gone FROM talon_stamps"), ["1|0", "2|0"]);
    db.run("SELECT talon_dismiss('customer', 1)");
    assert_eq!(db.rows("SELECT piece, gone FROM talon_stamps"), ["1|1", "2|0"]);
}

/// As if a customer had been created at another site, under this key there.
fn make_foreign(db: &Db, key: i64, origin_key: i64) {
    db.run(&format!(
        "UPDATE talon_piece SET origin = (SELECT id FROM talon_site WHERE code = 'CSOC'), origin_key = {origin_key}
         WHERE kind = 1 AND key = {key}"
    ));
}

const KNOWN: &str = "SELECT iif(piece < 0, 'nobody', piece), origin, origin_key, version, gone FROM talon_stamps WHERE field IS NULL";

#[test]
fn whoever_gets_the_key_of_another_sites_deleted_piece_is_another_one() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO customer(id, name) VALUES (1, 'Ada')");
    make_foreign(db, 1, 5);
    db.run("DELETE FROM customer; INSERT INTO customer(id, name) VALUES (1, 'Ben')");
    assert_eq!(db.rows(KNOWN), ["nobody|CSOC|5|2|1", "1|BSOC|1|1|0"]);
    assert_eq!(db.one("SELECT count(*) FROM talon_change AS c JOIN talon_piece AS p ON p.kind = c.kind AND p.key = c.key WHERE p.change = c.seq"), "2");
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn room_made_by_a_commit_that_was_busy_is_made_once() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO customer(id, name) VALUES (1, 'Ada')");
    make_foreign(db, 1, 5);
    db.run("DELETE FROM customer");
    let other = sites.shop('B').bare();
    other.run("BEGIN; SELECT * FROM customer");
    db.run("BEGIN; INSERT INTO customer(id, name) VALUES (1, 'Ben')");
    assert!(db.error("COMMIT").contains("locked"));
    other.run("COMMIT");
    db.run("COMMIT");
    assert_eq!(db.rows(KNOWN), ["nobody|CSOC|5|2|1", "1|BSOC|1|1|0"]);
    other.run("BEGIN; SELECT * FROM customer");
    db.run("BEGIN; DELETE FROM customer");
    assert!(db.error("COMMIT").contains("locked"));
    db.run("ROLLBACK");
    assert_eq!(db.rows(KNOWN), ["nobody|CSOC|5|2|1", "1|BSOC|1|1|0"]);
}

#[test]
fn a_piece_that_takes_a_deleted_ones_key_leaves_the_deletion_to_be_told() {
    let sites = Tills::new();
    let db = sites.at('B');
    db.run("INSERT INTO customer(id, name) VALUES (7, 'Ada'), (8, 'Ben'); DELETE FROM customer WHERE id = 8");
    db.run("UPDATE customer SET id = 8 WHERE id = 7");
    assert_eq!(db.rows(KNOWN), ["nobody|BSOC|8|2|1", "8|BSOC|7|2|0"]);
}
