//! What identifies a piece, and how its lines refer to it.

use talon_tests::Shop;

#[test]
fn a_key_of_any_type_identifies_a_piece() {
    let cases = [
        ("INTEGER", "1", "2", "integer"),
        ("bigint", "9007199254740993", "-9223372036854775808", "integer"),
        ("NUMERIC(10,2)", "10.25", "-3.5", "real"),
        ("TEXT", "'A/1'", "'été ''26'", "text"),
        ("TEXT COLLATE NOCASE", "'Abc'", "'Déf'", "text"),
        (
            "CHAR(36)",
            "'6f9619ff-8b86-d011-b42d-00c04fc964ff'",
            "'6F9619FF-8B86-D011-B42D-00C04FC964FE'",
            "text",
        ),
        ("BLOB", "x'00ff10'", "x''", "blob"),
        ("", "'7'", "'07'", "text"),
    ];
    for ((key, one, two, class), rowid) in
        cases.into_iter().flat_map(|case| [(case, ""), (case, "WITHOUT ROWID")])
    {
        let shop = Shop::with(&format!(
            "CREATE TABLE piece(id {key} PRIMARY KEY, total) {rowid};
             CREATE TABLE line(id INTEGER PRIMARY KEY, piece {key} REFERENCES piece, what)"
        ));
        let db = shop.open();
        db.run(&format!(
            "SELECT talon_guard('p', 'piece', 'line');
             BEGIN; INSERT INTO piece VALUES ({one}, 10), ({two}, 20);
             INSERT INTO line VALUES (1, {one}, 'a'), (2, {one}, 'b'), (3, {two}, 'c'); COMMIT;
             UPDATE line SET what = 'changed' WHERE id = 2"
        ));
        let shown = |literal: &str| db.one(&format!("SELECT id FROM piece WHERE id = {literal}"));
        let mut lost = [format!("p|{}|2", shown(one)), format!("p|{}|1", shown(two))];
        let first =
            db.one("SELECT piece FROM talon_snapshots GROUP BY piece ORDER BY piece LIMIT 1");
        if lost[1] == format!("p|{first}|1") {
            lost.swap(0, 1);
        }
        db.lose_and_recover(&["piece", "line"], "DELETE FROM line", &[&lost[0], &lost[1]]);
        let classes = db.rows("SELECT DISTINCT typeof(piece) FROM talon_snapshots");
        assert_eq!(classes, [class], "{key} {rowid}");
        assert_eq!(
            db.rows(&format!(
                "SELECT count(*) FROM talon_snapshots WHERE kind = 'p' AND piece = {two}"
            )),
            ["2"]
        );
    }
}

#[test]
fn an_untyped_key_tells_an_integer_from_the_same_digits_as_text() {
    let shop = Shop::with(
        "CREATE TABLE piece(id PRIMARY KEY, total); CREATE TABLE line(id INTEGER PRIMARY KEY, piece REFERENCES piece)",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('p', 'piece', 'line');
         INSERT INTO piece VALUES (7, 1), ('7', 2), (x'37', 3);
         INSERT INTO line VALUES (1, 7), (2, '7'), (3, x'37'), (4, x'37')",
    );
    db.lose_and_recover(
        &["piece", "line"],
        "DELETE FROM line WHERE typeof(piece) <> 'integer'",
        &["p|7|1", "p|x'37'|2"],
    );
}

#[test]
fn lines_may_refer_to_a_nocase_key_in_another_case() {
    let shop = Shop::with(
        "CREATE TABLE piece(code TEXT PRIMARY KEY COLLATE NOCASE, total);
         CREATE TABLE line(id INTEGER PRIMARY KEY, piece TEXT REFERENCES piece(code))",
    );
    let db = shop.open();
    db.run(
        "PRAGMA foreign_keys = ON;
         SELECT talon_guard('p', 'piece', 'line');
         BEGIN; INSERT INTO piece VALUES ('Ab', 1), ('Cd', 2);
         INSERT INTO line VALUES (1, 'Ab'), (2, 'AB'), (3, 'aB'), (4, 'CD'); COMMIT",
    );
    assert_eq!(db.rows("SELECT piece, lines FROM talon_snapshots"), ["Ab|3", "Cd|1"]);
    db.run("UPDATE line SET piece = 'cd' WHERE id = 3");
    assert_eq!(db.rows("SELECT piece, lines FROM talon_snapshots WHERE id > 2"), ["Ab|2", "Cd|2"]);
    db.lose_and_recover(&["piece", "line"], "DELETE FROM line", &["p|Ab|2", "p|Cd|2"]);
    db.run("DELETE FROM line WHERE piece = 'ab' COLLATE NOCASE");
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('p', 'CD')"),
        "talon_restore: p Cd has 2 lines, nothing to recover"
    );
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('p', 'AB')");
    assert_eq!(db.rows("SELECT id, piece FROM line ORDER BY id"), ["1|Ab", "2|AB", "3|cd", "4|CD"]);
}

#[test]
fn a_composite_key_is_shown_as_a_json_array() {
    for rowid in ["", "WITHOUT ROWID"] {
        let shop = Shop::with(&format!(
            "CREATE TABLE ticket(till TEXT, day TEXT, number INTEGER, total REAL, PRIMARY KEY (till, day, number)) {rowid};
             CREATE TABLE ticket_line(till TEXT, day TEXT, number INTEGER, place INTEGER, what TEXT,
               PRIMARY KEY (till, day, number, place), FOREIGN KEY (till, day, number) REFERENCES ticket) {rowid}"
        ));
        let db = shop.open();
        db.run(
            "SELECT talon_guard('ticket', 'ticket', 'ticket_line');
             INSERT INTO ticket VALUES ('A\"1', '2026-01-01', 1, 5), ('A\"1', '2026-01-01', 2, 6), ('B', '2026-01-02', 1, 7);
             INSERT INTO ticket_line VALUES ('A\"1', '2026-01-01', 1, 1, 'x'), ('A\"1', '2026-01-01', 2, 2, 'y'),
               ('A\"1', '2026-01-01', 2, 1, 'z'), ('B', '2026-01-02', 1, 1, 'w')",
        );
        db.lose_and_recover(
            &["ticket", "ticket_line"],
            "DELETE FROM ticket_line WHERE till = 'A\"1'",
            &[r#"ticket|["A\"1","2026-01-01",1]|1"#, r#"ticket|["A\"1","2026-01-01",2]|2"#],
        );
        db.run(
            r#"DELETE FROM ticket_line WHERE till = 'B';
               INSERT INTO talon_restore(kind, piece) VALUES ('ticket', '["B", "2026-01-02", 1]')"#,
        );
        assert_eq!(db.one("SELECT what FROM ticket_line WHERE till = 'B'"), "w");
        assert_eq!(
            db.error("INSERT INTO talon_restore(kind, piece) VALUES ('ticket', 1)"),
            "talon_restore: 1 is no piece of ticket: give a JSON array of till, day, number"
        );
    }
}

#[test]
fn a_table_without_declared_foreign_keys_is_guarded_by_naming_the_columns() {
    let shop = Shop::with(
        "CREATE TABLE doc(site, no, x, UNIQUE (site, no));
         CREATE TABLE doc_line(doc_no, doc_site, rank, what, UNIQUE (doc_no, doc_site, rank))",
    );
    let db = shop.open();
    assert_eq!(
        db.one(
            r#"SELECT talon_guard('doc', '{"header": {"table": "DOC", "key": ["site", "NO"]},
              "lines": {"table": "doc_line", "piece": ["doc_site", "doc_no"], "key": ["doc_site", "doc_no", "rank"],
                "order": "rank"}}')"#
        ),
        "doc is guarded: header doc (key site, no); lines doc_line (doc_site, doc_no -> header, key doc_site, doc_no, rank)"
    );
    db.run(
        "BEGIN; INSERT INTO doc VALUES ('S', 1, 'h'), ('S', 2, 'i');
         INSERT INTO doc_line VALUES (1, 'S', 2, 'b'), (1, 'S', 1, 'a'), (2, 'S', 1, 'c'); COMMIT",
    );
    assert_eq!(
        db.rows("SELECT position, row FROM talon_image WHERE snapshot = 1 AND part = 'lines'"),
        [
            r#"1|{"doc_no":1,"doc_site":"S","rank":1,"what":"a"}"#,
            r#"2|{"doc_no":1,"doc_site":"S","rank":2,"what":"b"}"#
        ]
    );
    db.lose_and_recover(
        &["doc", "doc_line"],
        "DELETE FROM doc_line WHERE doc_no = 1",
        &[r#"doc|["S",1]|2"#],
    );
}

#[test]
fn lines_whose_foreign_key_has_another_affinity_are_the_pieces_all_the_same() {
    let cases = [
        ("INTEGER", "TEXT", "'0042'"),
        ("TEXT", "INTEGER", "42"),
        ("INTEGER", "", "'42'"),
        ("", "INTEGER", "42"),
    ];
    for (header, line, reference) in cases {
        let shop = Shop::with(&format!(
            "CREATE TABLE piece(id {header} PRIMARY KEY, n);
             CREATE TABLE line(id INTEGER PRIMARY KEY, piece {line} REFERENCES piece, what)"
        ));
        let db = shop.open();
        let reference = if header == "INTEGER" && line == "TEXT" { "'42'" } else { reference };
        db.run(&format!(
            "PRAGMA foreign_keys = ON;
             SELECT talon_guard('p', 'piece', 'line');
             BEGIN; INSERT INTO piece VALUES (42, 'x'), (43, 'y');
             INSERT INTO line VALUES (1, {reference}, 'a'), (2, {reference}, 'b'); COMMIT;
             UPDATE line SET what = 'c' WHERE id = 2"
        ));
        assert_eq!(
            db.rows("SELECT piece, version, lines FROM talon_snapshots WHERE piece IN (42, '42') ORDER BY id"),
            ["42|1|2", "42|2|2"],
            "{header} {line}"
        );
        db.lose_and_recover(&["piece", "line"], "DELETE FROM line", &["p|42|2"]);
    }
}

#[test]
fn a_foreign_key_to_a_unique_column_decides_the_pieces_key() {
    let shop = Shop::with(
        "CREATE TABLE piece(id INTEGER PRIMARY KEY, number TEXT NOT NULL UNIQUE);
         CREATE TABLE line(id INTEGER PRIMARY KEY, number TEXT REFERENCES piece(number), what)",
    );
    let db = shop.open();
    assert_eq!(
        db.one("SELECT talon_guard('p', 'piece', 'line')"),
        "p is guarded: header piece (key number); lines line (number -> header, key id)"
    );
    db.run("INSERT INTO piece VALUES (5, 'A'), (6, 'B'); INSERT INTO line VALUES (1, 'A', 'x'), (2, 'B', 'y')");
    db.lose_and_recover(&["piece", "line"], "DELETE FROM line WHERE number = 'A'", &["p|A|1"]);
    // The rowid may change: the number is what the piece is known by.
    db.run("UPDATE piece SET id = 99 WHERE number = 'A'");
    db.lose_and_recover(&["piece", "line"], "DELETE FROM line WHERE number = 'A'", &["p|A|1"]);
}
