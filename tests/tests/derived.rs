//! Derived values: declared, compared, corrected after a restore, or refused with what would fit.

use talon_tests::{Db, Shop};

const TOTALS: &str =
    "SELECT talon_derive('total', '{\"table\": \"sale_piece\", \"column\": \"total\",
    \"value\": \"(SELECT total(quantity) FROM sale_line WHERE sale_id = t.id)\"}')";

/// The definition of a derived value of sale_piece.total, with some settings more.
fn of_total(value: &str, more: &str) -> String {
    let value = value.replace('\'', "''").replace('"', "\\\"");
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(
        "SELECT talon_derive('total', '{{\"table\": \"sale_piece\", \"column\": \"total\", \"value\": \"{value}\"{}}}')",
        more.replace('\'', "''")
    )
}

fn restore_one(db: &Db) -> String {
    db.run("DELETE FROM sale_line WHERE sale_id = 1; INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
    db.one("SELECT note FROM talon_restore ORDER BY id DESC LIMIT 1")
}

#[test]
fn gaps_are_where_stored_and_computed_differ() {
    let (_shop, db) = Shop::of_sales();
    assert_eq!(db.one(TOTALS), "total is derived: sale_piece.total, corrected by talon_repair");
    assert_eq!(
        db.rows("SELECT name, \"table\", key, stored, computed FROM talon_gaps"),
        ["total|sale_piece|1|1.5|3.0", "total|sale_piece|2|2.5|3.0"]
    );
    db.run("UPDATE sale_piece SET total = 3");
    assert_eq!(db.rows("SELECT * FROM talon_gaps"), [""; 0]);
    // An integer that equals a real is no gap; NULL is one.
    db.run("UPDATE sale_piece SET total = NULL WHERE id = 2");
    assert_eq!(db.rows("SELECT key, stored, computed FROM talon_gaps"), ["2|NULL|3.0"]);
    db.run("SELECT talon_derive('label', '{\"table\": \"sale_line\", \"column\": \"label\", \"value\": \"upper(label)\"}')");
    assert_eq!(
        db.rows("SELECT key, computed FROM talon_gaps WHERE name = 'label'"),
        ["10|X", "11|Y", "12|Z"]
    );
    assert_eq!(db.one("SELECT count(*) FROM talon_gaps"), "4");
    assert_eq!(db.rows("SELECT * FROM talon_gaps WHERE name = 'nothing'"), [""; 0]);
    assert_eq!(db.rows("SELECT * FROM talon_gaps WHERE name IS NULL"), [""; 0]);
}

#[test]
fn rules_are_listed_in_the_order_declared_and_taken_back() {
    let (shop, db) = Shop::of_sales();
    db.run(TOTALS);
    db.run("SELECT talon_derive('label', '{\"table\": \"sale_line\", \"column\": \"label\", \"value\": \"upper(label)\", \"correct\": \"repair\"}')");
    // Replaced, it keeps its place; another connection sees it at once.
    let other = shop.open();
    let listed =
        "SELECT place, name, type, \"table\", \"column\", correct, problem FROM talon_rules";
    let expected = [
        "1|total|derived|sale_piece|total|repair|NULL",
        "2|label|derived|sale_line|label|repair|NULL",
    ];
    assert_eq!(other.rows(listed), expected);
    db.run(&of_total("7", ""));
    assert_eq!(other.rows(listed), expected);
    db.run(&of_total("7", "\"after_restore\": \"SELECT :piece\""));
    assert_eq!(other.rows(listed)[0], "1|total|derived|sale_piece|total|restore|NULL");
    assert_eq!(
        other.rows("SELECT key, computed FROM talon_gaps WHERE name = 'total'"),
        ["1|7", "2|7"]
    );
    assert_eq!(db.one("SELECT talon_derive('total', NULL)"), "total is no longer a derived value");
    assert_eq!(other.rows("SELECT place, name FROM talon_rules"), ["1|label"]);
    assert_eq!(
        db.error("SELECT talon_derive('total', NULL)"),
        "talon_derive: \"total\" is not a derived value; there are: label"
    );
    db.run("BEGIN; SELECT talon_derive('label', NULL)");
    assert_eq!(db.rows("SELECT * FROM talon_rules"), [""; 0]);
    db.run("ROLLBACK");
    assert_eq!(db.rows("SELECT name FROM talon_rules"), ["label"]);
}

#[test]
fn a_definition_that_does_not_fit_is_refused_with_what_would() {
    let (_shop, db) = Shop::of_sales();
    db.run("CREATE VIEW v AS SELECT 1 AS a; CREATE TABLE loose(a, b); CREATE TABLE computed(id INTEGER PRIMARY KEY, a, b AS (a * 2))");
    for (definition, error) in [
        ("[]", "total: the definition cannot be read: "),
        ("{", "total: the definition cannot be read: "),
        (
            r#"{"table":"sale_piece"}"#,
            "total: the definition cannot be read: missing field `column`",
        ),
        (
            r#"{"table":"sale_piece","column":"total","value":"1","corect":"repair"}"#,
            "total: the definition cannot be read: unknown field `corect`, expected one of `table`, `column`",
        ),
        (
            r#"{"table":"sale_piece","column":"total","value":"1","correct":"never"}"#,
            "total: the definition cannot be read: unknown variant `never`, expected `restore` or `repair`",
        ),
        (
            r#"{"table":"sale","column":"total","value":"1"}"#,
            "total: no table \"sale\" in \"main\"; there are: computed, loose, sale_line, sale_piece",
        ),
        (
            r#"{"table":"v","column":"a","value":"1"}"#,
            "total: \"v\" is a view: only a table holds a value that can be corrected",
        ),
        (
            r#"{"table":"talon_piece","column":"lines","value":"1"}"#,
            "total: \"talon_piece\" is Talon's own table: name a table of the application",
        ),
        (
            r#"{"table":"sale_piece","column":"sum","value":"1"}"#,
            "total: \"sale_piece\" has no column \"sum\"; it has: id, number, total",
        ),
        (
            r#"{"table":"sale_piece","column":"id","value":"1"}"#,
            "total: \"sale_piece\".\"id\" identifies its row: it cannot be derived",
        ),
        (
            r#"{"table":"computed","column":"b","value":"1"}"#,
            "total: \"computed\".\"b\" is a generated column: SQLite keeps it right by itself",
        ),
        (
            r#"{"table":"loose","column":"a","value":"1"}"#,
            "total: \"loose\" has no primary key: name columns that identify a row with \"key\"",
        ),
        (
            r#"{"table":"sale_line","column":"label","value":"1","key":["sale_id","position"]}"#,
            "total: key: sale_id, position of \"sale_line\" is not unique",
        ),
    ] {
        let found = db.error(&format!("SELECT talon_derive('total', '{definition}')"));
        assert!(found.starts_with(&format!("talon_derive: {error}")), "{definition}: {found}");
    }
    for (value, error) in [
        ("h.id", "no such column: h.id in \"h.id\""),
        ("count(*)", "misuse of aggregate"),
        ("(1, 2)", "row value misused in"),
        ("SELECT 1, 2", "sub-select returns 2 columns - expected 1 in"),
        (":piece", "it is about the row t and has no parameter, not :piece either"),
    ] {
        let found = db.error(&of_total(value, ""));
        let wanted = format!("talon_derive: total: value: {error}");
        assert!(found.starts_with(&wanted), "{value}: {found}");
    }
    let only_piece = "its only parameter is :piece, the piece that was restored, not";
    for (select, error) in [
        (r#"{"order":"SELECT 1"}"#, "after_restore: \"order\" is not guarded; guarded: sale"),
        (
            r#""SELECT 1, 2""#,
            "after_restore of sale: it gives 2 columns, the key of \"sale_piece\" has 1: id",
        ),
        (r#""SELECT :other""#, &format!("after_restore of sale: {only_piece} :other")),
        (r#""SELECT ?""#, &format!("after_restore of sale: {only_piece} ?")),
        (
            "7",
            "the definition cannot be read: after_restore is a SELECT, or an object with a SELECT for each kind",
        ),
    ] {
        let found = db.error(&of_total("1", &format!("\"after_restore\":{select}")));
        let wanted = format!("talon_derive: total: {error}");
        assert!(found.starts_with(&wanted), "{select}: {found}");
    }
    assert_eq!(db.rows("SELECT * FROM talon_rules"), [""; 0]);
}

#[test]
fn with_several_kinds_the_select_says_of_which() {
    let (_shop, db) = Shop::of_sales();
    db.run("CREATE TABLE h(id INTEGER PRIMARY KEY); CREATE TABLE l(id INTEGER PRIMARY KEY, h REFERENCES h);
        SELECT talon_guard('other', 'h', 'l')");
    assert_eq!(
        db.error(&of_total("1", "\"after_restore\": \"SELECT :piece\"")),
        "talon_derive: total: after_restore: say after a restore of which kind: {\"kind\": \"SELECT …\"}; guarded: sale, other"
    );
    db.run(&of_total("1", "\"after_restore\": {\"sale\": \"SELECT :piece\"}"));
}

#[test]
fn hostile_sql_is_refused_by_name() {
    let (_shop, db) = Shop::of_sales();
    let before = db.contents(&["sale_piece", "sale_line", "sqlite_schema"]);
    for hostile in [
        "1); DROP TABLE sale_line; SELECT (1",
        "1; DROP TABLE sale_line",
        "1) OR (1",
        "1 /* open",
        "'open",
        "DELETE FROM sale_line",
        "INSERT INTO sale_line DEFAULT VALUES RETURNING 1",
        "DROP TABLE sale_line",
        "PRAGMA user_version = 7",
        "ATTACH ':memory:' AS other",
        "DETACH main",
        "VACUUM",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "EXPLAIN SELECT 1",
        "WITH x AS (DELETE FROM sale_line RETURNING id) SELECT id FROM x",
        "SELECT 1 UNION DELETE FROM sale_line",
        "SELECT load_extension('x')",
        "SELECT \"load_extension\" ('x')",
        "SELECT talon_unguard('sale')",
        "SELECT [talon_unguard]/**/('sale')",
        "SELECT lines FROM talon_piece",
        "SELECT lines FROM 'talon_piece'",
        "SELECT id FROM talon_restore",
        "sale_line",
        "",
        " ",
        "\\u0000",
    ] {
        let more = format!("\"after_restore\": \"{}\"", hostile.replace('"', "\\\""));
        for (setting, call) in [
            ("value", of_total(&hostile.replace("\\u", "\\\\u"), "")),
            ("after_restore of sale", of_total("1", &more)),
        ] {
            let error = db.error(&call);
            assert!(
                error.starts_with(&format!("talon_derive: total: {setting}: ")),
                "{hostile}: {error}"
            );
        }
    }
    assert_eq!(db.contents(&["sale_piece", "sale_line", "sqlite_schema"]), before);
    assert_eq!(db.rows("SELECT * FROM talon_rules"), [""; 0]);
    // Texts that only look like it are none.
    db.run(&of_total("CASE 'DROP TABLE x; --' WHEN '(' THEN 1 ELSE 2 /* ; ( */ END -- )", ""));
}

#[test]
fn a_definition_that_somebody_else_wrote_into_the_file_is_checked_like_a_declared_one() {
    let (_shop, db) = Shop::of_sales();
    db.run("INSERT INTO talon_rule(name, type, definition) VALUES
        ('evil', 'derived', '{\"table\":\"sale_piece\",\"column\":\"total\",\"value\":\"load_extension(''x'')\",\"after_restore\":{\"sale\":\"SELECT 1\"}}'),
        ('odd', 'prophecy', '{}'), ('worse', 'derived', x'00ff')");
    assert_eq!(
        db.rows("SELECT name, problem FROM talon_rules WHERE name <> 'worse'"),
        [
            "evil|value: load_extension() does more than compute a value and cannot be used in a definition",
            "odd|it is of a later version of Talon"
        ]
    );
    assert_eq!(db.one("SELECT problem IS NULL FROM talon_rules WHERE name = 'worse'"), "0");
    let note = restore_one(&db);
    assert!(
        note.starts_with(
            "the derived value evil was not looked at, it does not fit any more: value: "
        ),
        "{note}"
    );
    assert!(note.contains("; the derived value worse was not looked at"), "{note}");
    assert!(
        db.try_rows("SELECT * FROM talon_gaps")
            .unwrap_err()
            .starts_with("talon_gaps: evil: it does not fit any more: value: "),
    );
}

#[test]
fn what_a_restore_may_only_check_is_said_in_its_note() {
    let (_shop, db) = Shop::of_sales();
    db.run(&of_total(
        "(SELECT total(quantity) FROM sale_line WHERE sale_id = t.id)",
        "\"correct\": \"repair\", \"after_restore\": \"SELECT :piece\"",
    ));
    assert_eq!(restore_one(&db), "check: sale_piece 1.total is 1.5, computed 3.0");
    assert_eq!(db.one("SELECT total FROM sale_piece WHERE id = 1"), "1.5");
    db.run("UPDATE sale_piece SET total = 3");
    assert_eq!(restore_one(&db), "NULL");
    assert_eq!(db.one("SELECT total FROM sale_piece WHERE id = 1"), "3.0");
}

#[test]
fn a_restored_piece_may_be_corrected_itself_and_its_image_says_so() {
    let (_shop, db) = Shop::of_sales();
    db.run(&of_total(
        "(SELECT total(quantity) FROM sale_line WHERE sale_id = t.id)",
        "\"after_restore\": \"SELECT :piece\"",
    ));
    assert_eq!(restore_one(&db), "corrected sale_piece 1.total from 1.5 to 3.0");
    assert_eq!(db.snapshots("1"), ["create|2", "restore|2"]);
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(db.one("SELECT json_extract(row, '$.total') FROM talon_image((SELECT max(id) FROM talon_snapshots)) WHERE part = 'header'"), "3.0");
}

#[test]
fn rows_are_corrected_in_the_order_that_the_select_gives_them() {
    let (_shop, db) = Shop::of_sales();
    db.run("CREATE TABLE running(id INTEGER PRIMARY KEY, n INTEGER, at INTEGER UNIQUE); INSERT INTO running VALUES (1, 1, 30), (2, 1, 20), (3, 1, 10)");
    // Each is one more than its predecessor, so that the order shows.
    let running = "SELECT talon_derive('running', '{\"table\": \"running\", \"column\": \"n\",
        \"value\": \"1 + coalesce((SELECT n FROM running AS r WHERE r.at > t.at ORDER BY r.at LIMIT 1), 0)\",
        \"key\": \"at\", \"after_restore\": \"SELECT at FROM running ORDER BY at DESC\"}')";
    db.run(running);
    assert_eq!(
        restore_one(&db),
        "corrected running 20.n from 1 to 2; corrected running 10.n from 1 to 3"
    );
    db.run("UPDATE running SET n = 1");
    db.run(&running.replace("DESC", "ASC"));
    assert_eq!(
        restore_one(&db),
        "corrected running 10.n from 1 to 2; corrected running 20.n from 1 to 2; \
         check: running 10.n is 2, computed 3; values declared after it have changed it"
    );
}

#[test]
fn a_select_that_two_rules_share_is_asked_again_once_the_first_has_corrected_something() {
    let (_shop, db) = Shop::of_sales();
    db.run("CREATE TABLE chain(id INTEGER PRIMARY KEY, next INTEGER, n INTEGER); INSERT INTO chain VALUES (1, NULL, 0), (2, NULL, 0)");
    for (column, value) in [("next", "CASE id WHEN 1 THEN 2 END"), ("n", "id * 10")] {
        db.run(&format!(
            "SELECT talon_derive('{column}', '{{\"table\": \"chain\", \"column\": \"{column}\", \"value\": \"{value}\",
             \"after_restore\": \"SELECT 1 UNION ALL SELECT next FROM chain\"}}')"
        ));
    }
    assert_eq!(
        restore_one(&db),
        "corrected chain 1.next from NULL to 2; corrected chain 1.n from 0 to 10; corrected chain 2.n from 0 to 20"
    );
    db.run("UPDATE chain SET n = 0");
    assert_eq!(
        restore_one(&db),
        "corrected chain 1.n from 0 to 10; corrected chain 2.n from 0 to 20"
    );
}

#[test]
fn rules_that_depend_on_each_other_in_a_circle_end_and_say_so() {
    let (_shop, db) = Shop::of_sales();
    db.run("CREATE TABLE pair(id INTEGER PRIMARY KEY, a, b); INSERT INTO pair VALUES (1, 0, 0)");
    for (one, other) in [("a", "b"), ("b", "a")] {
        db.run(&format!(
            "SELECT talon_derive('{one}', '{{\"table\": \"pair\", \"column\": \"{one}\", \"value\": \"{other} + 1\", \"after_restore\": \"SELECT 1\"}}')"
        ));
    }
    assert_eq!(
        restore_one(&db),
        "corrected pair 1.a from 0 to 1; corrected pair 1.b from 0 to 2; \
         check: pair 1.a is 1, computed 3; values declared after it have changed it"
    );
}

#[test]
fn a_rule_that_does_not_fit_any_more_is_named_and_the_restore_stands() {
    let (_shop, db) = Shop::of_sales();
    db.run("CREATE TABLE sums(id INTEGER PRIMARY KEY, n REAL); INSERT INTO sums VALUES (1, 0)");
    db.run("SELECT talon_derive('sums', '{\"table\": \"sums\", \"column\": \"n\", \"value\": \"(SELECT total(quantity) FROM sale_line)\", \"after_restore\": \"SELECT 1\"}')");
    db.run("ALTER TABLE sums RENAME COLUMN n TO m");
    assert_eq!(
        restore_one(&db),
        "the derived value sums was not looked at, it does not fit any more: \"sums\" has no column \"n\"; it has: id, m"
    );
    assert_eq!(
        db.one("SELECT problem FROM talon_rules"),
        "\"sums\" has no column \"n\"; it has: id, m"
    );
    db.run("DROP TABLE sums");
    assert!(restore_one(&db).contains("no table \"sums\""));
    assert_eq!(db.one("SELECT count(*) FROM sale_line WHERE sale_id = 1"), "2");
}

#[test]
fn composite_keys_are_json_arrays_for_pieces_and_rows() {
    let shop = Shop::with(
        "CREATE TABLE h(y INTEGER, n TEXT, total REAL, PRIMARY KEY (y, n)) WITHOUT ROWID;
         CREATE TABLE l(id INTEGER PRIMARY KEY, y INTEGER, n TEXT, q REAL, FOREIGN KEY (y, n) REFERENCES h(y, n));
         CREATE INDEX l_h ON l(y, n);",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('piece', 'h', 'l');
         BEGIN; INSERT INTO h VALUES (26, 'a', 0); INSERT INTO l VALUES (1, 26, 'a', 2.5); COMMIT;
         SELECT talon_derive('total', '{\"table\": \"h\", \"column\": \"total\", \"value\": \"(SELECT total(q) FROM l WHERE (l.y, l.n) = (t.y, t.n))\",
           \"after_restore\": \"SELECT json_extract(:piece, ''$[0]''), json_extract(:piece, ''$[1]'')\"}');
         DELETE FROM l",
    );
    assert_eq!(db.rows("SELECT key, stored FROM talon_gaps"), [""; 0]);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('piece', '[26,\"a\"]')");
    assert_eq!(
        db.one("SELECT note FROM talon_restore"),
        "corrected h [26,\"a\"].total from 0.0 to 2.5"
    );
    db.run("UPDATE h SET total = 1");
    assert_eq!(db.rows("SELECT key, stored, computed FROM talon_gaps"), ["[26,\"a\"]|1.0|2.5"]);
}

#[test]
fn an_attached_file_is_read_by_its_own_names() {
    let (shop, db) = Shop::of_sales();
    drop(db);
    let db = Db::memory();
    // The file in front has tables of the same names, with nothing in them that counts.
    db.run(&format!(
        "{} INSERT INTO sale_piece VALUES (1, 'M', 77); INSERT INTO sale_line VALUES (1, 1, 1, 'm', 99);
         ATTACH '{}' AS shop",
        talon_tests::SALES,
        shop.file("shop.db").display()
    ));
    let derive = of_total(
        "WITH RECURSIVE own(q) AS (SELECT quantity FROM sale_line WHERE sale_id = t.id) SELECT total(q) FROM own",
        "\"after_restore\": \"SELECT sale_id FROM sale_line WHERE sale_id = :piece ORDER BY 1\"",
    );
    db.run(&derive.replace("}')", "}', 'shop')"));
    assert_eq!(db.rows("SELECT * FROM talon_gaps"), [""; 0]);
    assert_eq!(
        db.rows("SELECT key, stored, computed FROM talon_gaps WHERE schema = 'shop'"),
        ["1|1.5|3.0", "2|2.5|3.0"]
    );
    db.run("DELETE FROM shop.sale_line WHERE sale_id = 1; INSERT INTO talon_restore(kind, piece, schema) VALUES ('sale', 1, 'shop')");
    assert_eq!(
        db.one("SELECT note FROM talon_restore WHERE schema = 'shop'"),
        "corrected sale_piece 1.total from 1.5 to 3.0"
    );
    assert_eq!(
        db.rows("SELECT total FROM main.sale_piece UNION ALL SELECT total FROM shop.sale_piece"),
        ["77.0", "3.0", "2.5"]
    );
    assert_eq!(
        db.one("SELECT talon_derive('total', NULL, 'shop')"),
        "total is no longer a derived value"
    );
}

#[test]
fn nothing_can_be_derived_where_nothing_is_guarded() {
    let db = Db::memory();
    db.run("CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    assert_eq!(
        db.error("SELECT talon_derive('a', '{\"table\":\"t\",\"column\":\"a\",\"value\":\"1\"}')"),
        "talon_derive: nothing is guarded in \"main\" yet: SELECT talon_guard(kind, header table, lines table)"
    );
    assert_eq!(db.rows("SELECT * FROM talon_rules"), [""; 0]);
    assert_eq!(db.rows("SELECT * FROM talon_gaps"), [""; 0]);
    assert_eq!(
        db.error("SELECT * FROM talon_gaps WHERE schema = 'nowhere'"),
        "talon_gaps: no database \"nowhere\" is attached to this connection"
    );
}

#[test]
fn an_error_while_gaps_are_computed_names_the_rule() {
    let (_shop, db) = Shop::of_sales();
    db.run(&of_total("json_extract(number, '$')", ""));
    assert_eq!(db.error("SELECT * FROM talon_gaps"), "talon_gaps: total: malformed JSON");
    db.run(&of_total("(SELECT group_concat(label) FROM sale_line)", ""));
    assert_eq!(db.rows("SELECT computed FROM talon_gaps"), ["x,y,z", "x,y,z"]);
}
