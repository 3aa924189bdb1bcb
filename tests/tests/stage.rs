//! Creation from memory: a piece is deposited before its first row is written, and had back when it never arrives.

use talon_tests::{Db, SALES, Shop};

const IMAGE: &str = r#"{"header":{"id":3,"number":"C","total":4.5},
    "lines":[{"id":31,"position":2,"label":"b","quantity":2},{"id":30,"position":1,"label":"a","quantity":1}]}"#;
const ROWS: [&str; 3] = ["3|C|4.5", "30|3|1|a|1.0", "31|3|2|b|2.0"];
const RESTORE: &str = "INSERT INTO talon_restore(kind, piece) VALUES ('sale', 3)";
const STATED: &str = "SELECT kind, piece, finding FROM talon_audit WHERE piece = 3";

fn stage(db: &Db, piece: &str, image: &str) -> Result<String, String> {
    let call = format!("SELECT talon_stage('sale', {piece}, '{}')", image.replace('\'', "''"));
    db.try_rows(&call).map(|rows| rows.join(""))
}

fn refusal(db: &Db, image: &str) -> String {
    let text = stage(db, "3", image).expect_err(image);
    let prefix = "talon_stage: the image is refused: ";
    text.strip_prefix(prefix).unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Sale 3 is deposited and not yet written.
fn deposited() -> (Shop, Db) {
    let (shop, db) = Shop::of_sales();
    db.run("SELECT talon_clock('2026-11-21T08:00:00+01:00'), talon_station('till 2', 'marie')");
    assert_eq!(stage(&db, "3", IMAGE), Ok("3".to_owned()));
    (shop, db)
}

fn written(db: &Db) -> Vec<String> {
    let mut rows = db.rows("SELECT * FROM sale_piece WHERE id = 3");
    rows.extend(db.rows("SELECT * FROM sale_line WHERE sale_id = 3 ORDER BY id"));
    rows
}

// « Ce traitement sauve les données … telles qu'elles existent dans les tables mémoire, avant que débutent les
// enregistrements sur les tables disques »
#[test]
fn a_piece_that_is_deposited_is_saved_before_its_first_row_is_written() {
    let (_shop, db) = deposited();
    assert_eq!(
        db.rows("SELECT id, kind, piece, version, day, reason, station, user, lines FROM talon_snapshots WHERE kind = 'sale' AND piece = 3"),
        ["3|sale|3|0|2026-11-21|stage|till 2|marie|2"]
    );
    assert_eq!(
        db.rows("SELECT part, position, row FROM talon_image(3)"),
        [
            r#"header|1|{"id":3,"number":"C","total":4.5}"#,
            r#"lines|1|{"id":30,"sale_id":3,"position":1,"label":"a","quantity":1.0}"#,
            r#"lines|2|{"id":31,"sale_id":3,"position":2,"label":"b","quantity":2.0}"#
        ]
    );
    assert_eq!(written(&db), [""; 0]);
    assert_eq!(db.one("SELECT pieces FROM talon_guards"), "2", "it is none yet");
}

#[test]
fn lines_that_never_arrive_are_lost_and_come_back_from_the_deposit() {
    let (_shop, db) = deposited();
    db.run("INSERT INTO sale_piece VALUES (3, 'C', 4.5)");
    assert_eq!(db.rows(STATED), ["sale|3|lost"]);
    assert_eq!(
        db.rows("SELECT piece, number, saved_at, saved_lines, restorable FROM talon_lost"),
        ["3|C|2026-11-21T08:00:00.000+01:00|2|1"]
    );
    db.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(
        db.rows("SELECT snapshot, lines, outcome, note FROM talon_restore"),
        ["3|2|restored|NULL"]
    );
    assert_eq!(written(&db), ROWS);
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(db.snapshots("3"), ["stage|2", "restore|2"]);
}

#[test]
fn a_header_that_was_written_by_halves_goes_back_to_the_deposit_too() {
    let (_shop, db) = deposited();
    db.run("INSERT INTO sale_piece VALUES (3, 'C', 0)");
    db.run(RESTORE);
    assert_eq!(
        db.rows("SELECT outcome, note FROM talon_restore"),
        ["restored|the header's total went back as well"]
    );
    assert_eq!(written(&db), ROWS);
}

#[test]
fn lines_that_arrive_in_the_next_commit_end_the_loss() {
    let (_shop, db) = deposited();
    db.run("INSERT INTO sale_piece VALUES (3, 'C', 4.5)");
    db.run("INSERT INTO sale_line VALUES (30, 3, 1, 'a', 1), (31, 3, 2, 'b', 2)");
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(db.snapshots("3"), ["stage|2"], "it says what the piece is");
    db.run("UPDATE sale_line SET label = 'c' WHERE id = 30");
    assert_eq!(db.snapshots("3"), ["stage|2", "edit|2"]);
}

#[test]
fn a_piece_of_which_nothing_arrives_is_listed_and_comes_back_with_its_header() {
    let (_shop, db) = deposited();
    assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0]);
    let finding = "sale|3|staged|deposited 2026-11-21T08:00:00.000+01:00 at till 2, and none of it was written";
    for filter in ["", "WHERE finding = 'staged'", "WHERE kind = 'sale' AND piece = '3'"] {
        let query = format!("SELECT kind, piece, finding, detail FROM talon_audit {filter}");
        assert_eq!(db.rows(&query), [finding], "{filter}");
    }
    assert_eq!(db.rows("SELECT * FROM talon_audit WHERE finding = 'vanished'"), [""; 0]);
    db.run("INSERT INTO talon_restore(kind, piece, dry_run) VALUES ('sale', 3, 1)");
    assert_eq!(db.rows("SELECT outcome FROM talon_restore"), ["would restore"]);
    assert_eq!(written(&db), [""; 0]);
    assert_eq!(db.rows(STATED), ["sale|3|staged"]);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', '3')");
    assert_eq!(written(&db), ROWS);
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(db.rows("SELECT version, reason FROM talon_snapshots WHERE kind = 'sale' AND piece = 3 ORDER BY id"), ["0|stage", "1|restore"]);
}

#[test]
fn a_deposit_can_be_named() {
    let (_shop, db) = deposited();
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 3, 3)");
    assert_eq!(written(&db), ROWS);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_piece_that_arrives_is_imaged_as_any_other() {
    for label in ["a", "other"] {
        let (_shop, db) = deposited();
        db.run(&format!(
            "BEGIN; INSERT INTO sale_piece VALUES (3, 'C', 4.5);
             INSERT INTO sale_line VALUES (30, 3, 1, '{label}', 1), (31, 3, 2, 'b', 2); COMMIT"
        ));
        assert_eq!(db.snapshots("3"), ["stage|2", "create|2"], "{label}");
        assert_eq!(db.findings(), [""; 0]);
        db.run("DELETE FROM sale_line WHERE sale_id = 3");
        db.run(RESTORE);
        assert_eq!(db.one("SELECT label FROM sale_line WHERE id = 30"), label);
    }
}

#[test]
fn a_commit_that_was_busy_and_is_tried_again_takes_the_deposit_once() {
    let (shop, db) = deposited();
    db.run("PRAGMA journal_mode = DELETE");
    let reader = shop.bare();
    reader.run("BEGIN; SELECT count(*) FROM sale_piece");
    db.run("BEGIN; INSERT INTO sale_piece VALUES (3, 'C', 4.5)");
    assert!(db.error("COMMIT").contains("locked"));
    reader.run("COMMIT");
    db.run("INSERT INTO sale_line VALUES (30, 3, 1, 'a', 1); COMMIT");
    assert_eq!(db.snapshots("3"), ["stage|2", "create|1"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_creation_that_is_rolled_back_leaves_the_deposit_waiting() {
    let (_shop, db) = deposited();
    for undone in [
        "BEGIN; INSERT INTO sale_piece VALUES (3, 'C', 4.5); ROLLBACK",
        "BEGIN; INSERT INTO sale_piece VALUES (3, 'C', 4.5); DELETE FROM sale_piece WHERE id = 3; COMMIT",
    ] {
        db.run(undone);
        assert_eq!(db.rows(STATED), ["sale|3|staged"], "{undone}");
    }
    db.run("BEGIN; SELECT talon_stage('sale', 4, '{\"header\":{\"id\":4},\"lines\":[{\"id\":40}]}'); ROLLBACK");
    assert_eq!(db.findings(), ["sale|3|staged"], "a deposit in a transaction goes with it");
}

#[test]
fn a_piece_that_was_written_and_deleted_waits_for_nothing() {
    let (_shop, db) = deposited();
    db.run("INSERT INTO sale_piece VALUES (3, 'C', 4.5); DELETE FROM sale_piece WHERE id = 3");
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_deposit_that_nobody_expects_any_more_is_dismissed() {
    let (_shop, db) = deposited();
    assert_eq!(db.one("SELECT talon_dismiss('sale', '3')"), "sale 3 is not expected any more");
    assert_eq!(db.findings(), [""; 0]);
    assert_eq!(
        db.error(RESTORE),
        "talon_restore: sale 3 was deleted; to bring it back all the same, name one of its snapshots"
    );
    assert_eq!(db.error("SELECT talon_dismiss('sale', 3)"), "talon_dismiss: there is no sale 3");
    db.run("INSERT INTO sale_piece VALUES (3, 'D', 0)");
    assert_eq!(db.snapshots("3"), ["stage|2", "create|0"]);
    assert_eq!(db.findings(), [""; 0], "it is a new piece, and has no lines to lose");
}

#[test]
fn a_purge_keeps_a_deposit_until_it_is_written_restored_or_dismissed() {
    let (_shop, db) = deposited();
    let morning = |day: &str| {
        db.run(&format!("SELECT talon_clock('2026-11-{day}T08:00:00+01:00')"));
        db.one("SELECT talon_daily()")
    };
    db.run("UPDATE talon_snapshot SET day = '2026-11-21'");
    assert_eq!(
        morning("22"),
        r#"{"ran":1,"day":"2026-11-22","lost":0,"purged":2,"kept_lost":1,"kept_edited":0,"note":"deposited and never written: 1, see talon_audit"}"#
    );
    db.run(RESTORE);
    assert_eq!(
        morning("23"),
        r#"{"ran":1,"day":"2026-11-23","lost":0,"purged":2,"kept_lost":0,"kept_edited":0}"#
    );
    assert_eq!(written(&db), ROWS);
}

#[test]
fn a_second_deposit_of_a_station_replaces_the_first() {
    let (shop, db) = deposited();
    assert_eq!(stage(&db, "3", IMAGE), Ok("3".to_owned()), "the same again is the same");
    assert_eq!(stage(&db, "3", &IMAGE.replace("4.5", "9")), Ok("4".to_owned()));
    assert_eq!(db.rows("SELECT id FROM talon_snapshots WHERE kind = 'sale' AND piece = 3"), ["4"]);
    let other = shop.open();
    other.run("SELECT talon_station('till 3')");
    assert_eq!(stage(&other, "3", &IMAGE.replace("4.5", "8")), Ok("5".to_owned()));
    assert_eq!(
        db.rows("SELECT id FROM talon_snapshots WHERE kind = 'sale' AND piece = 3"),
        ["5", "4"]
    );
    db.run(RESTORE);
    assert_eq!(db.one("SELECT total FROM sale_piece WHERE id = 3"), "8.0");
    db.run("INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 3, 4)");
    assert_eq!(db.one("SELECT total FROM sale_piece WHERE id = 3"), "9.0");
}

#[test]
fn a_piece_that_is_there_is_not_deposited() {
    let (_shop, db) = Shop::of_sales();
    let there = "is there already: a piece is deposited before its first row is written";
    assert_eq!(stage(&db, "1", IMAGE), Err(format!("talon_stage: sale 1 {there}")));
    db.run("INSERT INTO sale_piece VALUES (3, 'C', 0)");
    assert_eq!(stage(&db, "3", IMAGE), Err(format!("talon_stage: sale 3 {there}")));
}

#[test]
fn the_key_of_a_deleted_piece_is_deposited_anew_and_older_images_stay_apart() {
    let (_shop, db) = Shop::of_sales();
    db.run("DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale_piece WHERE id = 1");
    let image = r#"{"header":{"id":1,"number":"new"},"lines":[{"id":50,"label":"n"}]}"#;
    assert_eq!(stage(&db, "1", image), Ok("3".to_owned()));
    assert_eq!(db.findings(), ["sale|1|staged"]);
    db.run("INSERT INTO sale_piece VALUES (1, 'new', NULL)");
    assert_eq!(db.rows("SELECT piece, saved_lines FROM talon_lost"), ["1|1"]);
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
    assert_eq!(db.rows("SELECT id FROM sale_line WHERE sale_id = 1"), ["50"]);
    assert_eq!(
        db.rows("SELECT version, reason FROM talon_snapshots WHERE kind = 'sale' AND piece = 1 ORDER BY id"),
        ["1|create", "3|stage", "5|restore"]
    );
}

#[test]
fn what_arrives_by_a_connection_without_talon_is_found_too() {
    let (shop, db) = deposited();
    shop.bare().run("INSERT INTO sale_piece VALUES (3, 'C', 4.5)");
    assert_eq!(db.rows(STATED), ["sale|3|lost", "sale|3|unguarded"]);
    let (shop, db) = deposited();
    shop.bare().run("INSERT INTO sale_piece VALUES (3, 'C', 4.5); INSERT INTO sale_line VALUES (30, 3, 1, 'a', 1), (31, 3, 2, 'b', 2)");
    assert_eq!(db.rows(STATED), ["sale|3|unguarded"]);
    assert_eq!(db.snapshots("3"), ["stage|2", "unguarded|2"]);
}

// « Création par une saisie manuelle ou par la transformation de pièces »
#[test]
fn an_image_is_built_from_the_parts_of_another_piece() {
    let (_shop, db) = Shop::of_sales();
    db.run("UPDATE sale_line SET label = x'00ff', quantity = 9e999 WHERE id = 10");
    let id = db.one("SELECT max(id) FROM talon_snapshots WHERE kind = 'sale' AND piece = 1");
    let rows = format!("(SELECT json_group_array(json(row)) FROM talon_image({id}) WHERE part = ");
    db.run("DELETE FROM sale_line WHERE sale_id = 1; DELETE FROM sale_piece WHERE id = 1");
    db.run(&format!(
        "SELECT talon_stage('sale', 1, json_object('header', json({rows} 'header') -> '$[0]'), 'lines', json({rows} 'lines'))))"
    ));
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)");
    assert_eq!(db.rows("SELECT * FROM sale_piece WHERE id = 1"), ["1|A|1.5"]);
    assert_eq!(
        db.rows("SELECT * FROM sale_line WHERE sale_id = 1"),
        ["10|1|1|x'00ff'|inf", "11|1|2|y|2.0"]
    );
}

#[test]
fn a_deposit_may_have_as_many_columns_and_rows_as_the_tables() {
    let columns: Vec<String> = (0..1_500).map(|n| format!("c{n}")).collect();
    let shop = Shop::with(&format!(
        "CREATE TABLE h(id INTEGER PRIMARY KEY);
         CREATE TABLE l(id INTEGER PRIMARY KEY, h REFERENCES h, {})",
        columns.join(", ")
    ));
    let db = shop.open();
    db.run("SELECT talon_guard('wide', 'h', 'l')");
    let cells: Vec<String> = columns.iter().rev().map(|name| format!("\"{name}\":7")).collect();
    let rows: Vec<String> =
        (1..=100).map(|id| format!("{{{},\"ID\":{id}}}", cells.join(","))).collect();
    let image = format!("{{\"header\":{{\"id\":1}},\"lines\":[{}]}}", rows.join(","));
    db.run(&format!("SELECT talon_stage('wide', 1, '{image}')"));
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('wide', 1)");
    assert_eq!(db.one("SELECT count(*), sum(c0), sum(c1499), sum(h) FROM l"), "100|700|700|100");
}

#[test]
fn what_the_host_asks_of_its_last_statement_is_unchanged() {
    let (_shop, db) = Shop::of_sales();
    db.run("INSERT INTO sale_line VALUES (77, 2, 2, 'a', 1), (78, 2, 3, 'b', 1)");
    stage(&db, "3", IMAGE).expect("a deposit");
    assert_eq!(db.one("SELECT last_insert_rowid(), changes()"), "78|2");
    refusal(&db, "{}");
    assert_eq!(db.one("SELECT last_insert_rowid(), changes()"), "78|2");
}

// What is checked.

const HEADER: &str = r#""header":{"id":3}"#;

#[test]
fn wrong_shapes_are_refused_by_name() {
    let (_shop, db) = Shop::of_sales();
    for (image, problem) in [
        ("[1]", r#"it is no JSON object: give {"header": {…}, "lines": [{…}, …]}"#.to_owned()),
        ("x", r#"it is no JSON object: give {"header": {…}, "lines": [{…}, …]}"#.to_owned()),
        ("{", "'\"' is wanted at byte 1, not its end".to_owned()),
        (r#"{"lines":[{"id":1}]}"#, "it has no header".to_owned()),
        (&format!("{{{HEADER}}}"), "it has no lines".to_owned()),
        (&format!("{{{HEADER},\"lines\":[]}}"), "it has no lines".to_owned()),
        (&format!("{{{HEADER},\"lines\":{{}}}}"), "lines is no array of rows".to_owned()),
        (
            &format!("{{{HEADER},\"lines\":[[1]]}}"),
            "lines row 1 is no object of columns and values".to_owned(),
        ),
        (r#"{"header":[3]}"#, "header is no object of columns and values".to_owned()),
        (
            &format!("{{{HEADER},\"lines\":[{{\"id\":1}}],\"payments\":[]}}"),
            "\"payments\" is no part of sale; it has: header, lines".to_owned(),
        ),
        (
            r#"{"header":{"id":3,"number":{"a":1}},"lines":[{"id":1}]}"#,
            "header, number: a text is wanted at byte 32, not \"1}},\\\"lines\\\":[{\\\"id\\\":1\""
                .to_owned(),
        ),
        (
            &format!("{{{HEADER},\"lines\":[{{\"id\":1,\"label\":[]}}]}}"),
            "lines row 1, label: a value is wanted at byte 44, not \"[]}]}\"".to_owned(),
        ),
    ] {
        assert_eq!(refusal(&db, image), problem, "{image}");
    }
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn unknown_columns_and_missing_or_contradicting_keys_are_refused_by_name() {
    let (_shop, db) = Shop::of_sales();
    let lines = |row: &str| format!("{{{HEADER},\"lines\":[{{\"id\":1}},{row}]}}");
    for (image, problem) in [
        (
            lines(r#"{"id":2,"qty":1}"#),
            r#"lines row 2: "sale_line" has no column "qty"; it has: id, sale_id, position, label, quantity"#,
        ),
        (
            r#"{"header":{"id":3,"Nummer":1},"lines":[{"id":1}]}"#.to_owned(),
            r#"header: "sale_piece" has no column "Nummer"; it has: id, number, total"#,
        ),
        (lines("{}"), "lines row 2 has no id: the key of every row is given"),
        (lines(r#"{"id":null}"#), "lines row 2: id must not be NULL"),
        (lines(r#"{"id":"1"}"#), "lines row 2: another row has the id 1 already"),
        (
            r#"{"header":{"number":"C"},"lines":[{"id":1}]}"#.to_owned(),
            "header has no id: the key of every row is given",
        ),
        (
            r#"{"header":{"id":4},"lines":[{"id":1}]}"#.to_owned(),
            "header: id is 4, and the piece is 3",
        ),
        (lines(r#"{"id":2,"sale_id":1}"#), "lines row 2: sale_id is 1, and the piece is 3"),
        (lines(r#"{"id":2,"sale_id":null}"#), "lines row 2: sale_id is NULL, and the piece is 3"),
    ] {
        assert_eq!(refusal(&db, &image), problem, "{image}");
    }
    let ok = r#"{"header":{"ID":"3"},"lines":[{"id":1,"SALE_ID":"3"}]}"#;
    assert_eq!(stage(&db, "'3'", ok), Ok("3".to_owned()), "as SQLite compares them");
}

#[test]
fn columns_that_are_left_out_take_their_defaults_of_now() {
    let shop = Shop::with(
        "CREATE TABLE sale_piece(id INTEGER PRIMARY KEY, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, state TEXT DEFAULT 'open',
           n INTEGER DEFAULT (1 + 1), word TEXT DEFAULT plain, twice AS (n * 2), raw BLOB DEFAULT x'00ff', total REAL DEFAULT 3,
           must TEXT NOT NULL);
         CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER REFERENCES sale_piece, flag BOOLEAN DEFAULT TRUE, less REAL DEFAULT -1.5)",
    );
    let db = shop.open();
    db.run(talon_tests::GUARD_SALES);
    let image = |more: &str| format!(r#"{{"header":{{"id":3{more}}},"lines":[{{"id":1}}]}}"#);
    assert_eq!(
        refusal(&db, &image("")),
        "header has no must, which must not be NULL and has no default"
    );
    assert_eq!(refusal(&db, &image(r#","must":null"#)), "header: must must not be NULL");
    assert_eq!(
        refusal(&db, &image(r#","must":"x","twice":4"#)),
        "header: twice is computed by SQLite"
    );
    assert_eq!(stage(&db, "3", &image(r#","must":"x""#)), Ok("1".to_owned()));
    db.run(RESTORE);
    assert_eq!(
        db.rows("SELECT at GLOB '20*', state, n, word, twice, raw, total, must FROM sale_piece"),
        ["1|open|2|plain|4|x'00ff'|3.0|x"]
    );
    assert_eq!(db.rows("SELECT * FROM sale_line"), ["1|3|1|-1.5"]);
    assert_eq!(db.rows("SELECT note FROM talon_restore"), ["NULL"]);
}

#[test]
fn rows_below_the_lines_say_which_line_they_belong_to() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(
        r#"CREATE TABLE tax(line INTEGER REFERENCES sale_line(id), code TEXT, PRIMARY KEY (line, code)) WITHOUT ROWID;
           CREATE TABLE payment(id INTEGER PRIMARY KEY, sale INTEGER REFERENCES sale_piece(id), amount REAL);
           SELECT talon_guard('sale', '{"header":{"table":"sale_piece"},"lines":{"table":"sale_line"},
             "details":[{"table":"tax","of":"lines"},{"table":"payment"}]}')"#,
    );
    let image = |lines: &str, taxes: &str| {
        format!(
            r#"{{{HEADER},"lines":[{lines}],"tax":[{taxes}],"payment":[{{"id":1,"amount":2}}]}}"#
        )
    };
    let (one, two) = (r#"{"id":30}"#, r#"{"id":30},{"id":31}"#);
    assert_eq!(
        refusal(&db, &image(two, r#"{"code":"a"}"#)),
        "tax row 1 has no line: there are several lines that it may belong to"
    );
    assert_eq!(
        refusal(&db, &image(two, r#"{"line":99,"code":"a"}"#)),
        "tax row 1: its line is none of lines"
    );
    assert!(stage(&db, "3", &image(one, r#"{"code":"a"}"#)).is_ok());
    assert!(
        stage(&db, "3", &image(two, r#"{"line":31,"code":"a"},{"line":30,"code":"a"}"#)).is_ok()
    );
    db.run(RESTORE);
    assert_eq!(db.rows("SELECT * FROM tax"), ["30|a", "31|a"]);
    assert_eq!(db.rows("SELECT * FROM payment"), ["1|3|2.0"]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn thousands_of_rows_below_the_lines_find_theirs_also_spelt_otherwise() {
    let shop = Shop::with(
        "CREATE TABLE piece(id INTEGER PRIMARY KEY);
         CREATE TABLE line(code TEXT COLLATE NOCASE PRIMARY KEY, piece INTEGER NOT NULL REFERENCES piece(id)) WITHOUT ROWID;
         CREATE TABLE serial(id INTEGER PRIMARY KEY, line TEXT NOT NULL REFERENCES line(code));",
    );
    let db = shop.open();
    db.run(
        r#"SELECT talon_guard('sale', '{"header":{"table":"piece"},"lines":{"table":"line"},
             "details":[{"table":"serial","of":"lines"}]}')"#,
    );
    let count = 5_000;
    let rows = |row: &dyn Fn(i32) -> String| (0..count).map(row).collect::<Vec<_>>().join(",");
    let lines = rows(&|n| format!(r#"{{"code":"a{n}"}}"#));
    let letter = |n: i32| if n % 500 == 0 { 'A' } else { 'a' };
    let serials = rows(&|n| format!(r#"{{"id":{n},"line":"{}{n}"}}"#, letter(n)));
    let image = format!(r#"{{{HEADER},"lines":[{lines}],"serial":[{serials}]}}"#);
    stage(&db, "3", &image).expect("a deposit");
    db.run(RESTORE);
    assert_eq!(
        db.one("SELECT count(*), sum(code = 'a' || serial.id), sum(serial.line GLOB 'A*') FROM line JOIN serial ON line.code = serial.line"),
        format!("{count}|{count}|{}", count / 500)
    );
}

#[test]
fn a_row_that_the_guards_condition_leaves_out_is_refused() {
    let shop = Shop::with(
        "CREATE TABLE document(id INTEGER PRIMARY KEY, type TEXT);
         CREATE TABLE document_line(id INTEGER PRIMARY KEY, document INTEGER REFERENCES document, deleted INTEGER DEFAULT 0)",
    );
    let db = shop.open();
    db.run(
        r#"SELECT talon_guard('sale', '{"header":{"table":"document","where":"h.type = 5"},
             "lines":{"table":"document_line","where":"l.deleted = ''0''"}}')"#,
    );
    assert_eq!(
        refusal(&db, r#"{"header":{"id":3,"type":"order"},"lines":[{"id":1}]}"#),
        "header is none of sale: h.type = 5 does not hold"
    );
    assert_eq!(
        refusal(&db, r#"{"header":{"id":3,"type":"5"},"lines":[{"id":1},{"id":2,"deleted":1}]}"#),
        "lines row 2 is none of sale: l.deleted = '0' does not hold"
    );
    assert!(stage(&db, "3", r#"{"header":{"id":3,"type":5},"lines":[{"id":1}]}"#).is_ok());
    db.run(RESTORE);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn composite_keys_and_attached_files_are_deposited_too() {
    let shop = Shop::new();
    let db = shop.open();
    db.run(&format!(
        "ATTACH '{}' AS side;
         CREATE TABLE side.h(a TEXT COLLATE NOCASE, b INTEGER, PRIMARY KEY (a, b)); CREATE TABLE side.l(a TEXT, b INTEGER, n INTEGER,
           PRIMARY KEY (a, b, n), FOREIGN KEY (a, b) REFERENCES h(a, b));
         SELECT talon_guard('note', 'h', 'l', 'side')",
        shop.file("side.db").display()
    ));
    let image = r#"{"header":{"a":"x","b":7},"lines":[{"n":1},{"n":2,"a":"X","b":7}]}"#;
    db.run(&format!("SELECT talon_stage('note', '[\"x\",\"7\"]', '{image}', 'side')"));
    assert_eq!(
        db.rows("SELECT piece, finding FROM talon_audit WHERE schema = 'side'"),
        [r#"["x",7]|staged"#]
    );
    db.run(r#"INSERT INTO talon_restore(kind, piece, schema) VALUES ('note', '["x",7]', 'side')"#);
    assert_eq!(db.rows("SELECT * FROM side.l ORDER BY n"), ["x|7|1", "X|7|2"]);
    assert_eq!(db.rows("SELECT * FROM talon_audit WHERE schema = 'side'"), [""; 0]);
}
