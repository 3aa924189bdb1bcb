//! A definition that does not fit is refused with a text that helps, and nothing is left of it.

use talon_tests::{Db, GUARD_SALES, SALES, Shop};

const SCHEMA: &str = "
    CREATE TABLE sale(id INTEGER PRIMARY KEY, number TEXT, total REAL, twice REAL AS (total * 2));
    CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale INTEGER REFERENCES sale, origin INTEGER REFERENCES sale, what);
    CREATE TABLE note(id INTEGER PRIMARY KEY, sale_line INTEGER REFERENCES sale_line, text);
    CREATE TABLE alone(id INTEGER PRIMARY KEY, sale INTEGER, what);
    CREATE TABLE keyless(sale INTEGER REFERENCES sale, what);
    CREATE TABLE wide(a, b, c, d, e, PRIMARY KEY (a, b, c, d, e));
    CREATE VIEW every_sale AS SELECT * FROM sale;
    CREATE VIRTUAL TABLE words USING fts5(word);
";

/// A definition with this header, these lines, and more.
fn definition(header: &str, lines: &str, more: &str) -> String {
    format!(r#"{{"header": {{{header}}}, "lines": {{{lines}}}{more}}}"#).replace('\'', "''")
}

/// The text that refuses a definition, which leaves nothing behind.
fn refusal(db: &Db, definition: &str) -> String {
    let before = db.rows("SELECT type, name, sql FROM sqlite_schema ORDER BY name");
    let version = db.one("PRAGMA schema_version");
    let error = db.error(&format!("SELECT talon_guard('sale', '{definition}')"));
    assert_eq!(
        db.rows("SELECT type, name, sql FROM sqlite_schema ORDER BY name"),
        before,
        "{error}"
    );
    assert_eq!(db.one("PRAGMA schema_version"), version, "{error}");
    assert!(db.connection.is_autocommit());
    error
}

#[test]
fn a_definition_that_does_not_fit_is_refused_by_name_and_leaves_nothing() {
    let sale = r#""table": "sale""#;
    let line = r#""table": "sale_line", "piece": "sale""#;
    let cases = [
        (
            r#""table": "sales""#,
            line,
            "",
            r#"no table "sales" in "main"; there are: alone, keyless, note, sale, sale_line, wide, words, words_config, words_content, words_data, words_docsize, words_idx"#,
        ),
        (
            r#""table": "every_sale""#,
            line,
            "",
            r#""every_sale" is a view: only tables can be guarded, name the table behind it"#,
        ),
        (
            r#""table": "words""#,
            line,
            "",
            r#""words" is a virtual table: only tables can be guarded, name the table behind it"#,
        ),
        (
            sale,
            r#""table": "keyless""#,
            "",
            r#""keyless" has no primary key: name columns that identify a row with lines.key (a unique index over them is needed)"#,
        ),
        (
            sale,
            r#""table": "keyless", "key": "what""#,
            "",
            r#"lines.key: what of "keyless" is not unique: a key needs a primary key or a unique index over exactly these columns"#,
        ),
        (
            r#""table": "sale", "key": "number""#,
            line,
            "",
            r#"header.key: number of "sale" is not unique: a key needs a primary key or a unique index over exactly these columns"#,
        ),
        (
            r#""table": "sale", "key": "twice""#,
            line,
            "",
            r#"header.key: "sale"."twice" is a generated column: name a stored one"#,
        ),
        (r#""table": "sale", "key": ["id", "ID"]"#, line, "", r#"header.key: "ID" is named twice"#),
        (r#""table": "sale", "key": []"#, line, "", "header.key: no column is named"),
        (
            r#""table": "wide""#,
            line,
            "",
            r#"the key of "wide" has 5 columns; one that other tables refer to has at most 4"#,
        ),
        (
            sale,
            r#""table": "alone""#,
            "",
            r#""alone" has no foreign key to "sale"(id): name the columns that refer to it with lines.piece; "alone" has: id, sale, what"#,
        ),
        (
            sale,
            r#""table": "sale_line""#,
            "",
            r#""sale_line" refers to "sale" more than once (origin; sale): say which with lines.piece"#,
        ),
        (
            sale,
            r#""table": "alone", "piece": "sail""#,
            "",
            r#"lines.piece: "alone" has no column "sail"; it has: id, sale, what"#,
        ),
        (
            sale,
            r#""table": "alone", "piece": ["sale", "what"]"#,
            "",
            r#"lines.piece names 2 columns, the key of "sale" has 1: id"#,
        ),
        (
            sale,
            r#""table": "alone", "piece": "sale", "order": "rank""#,
            "",
            r#"lines.order: "alone" has no column "rank"; it has: id, sale, what"#,
        ),
        (
            sale,
            line,
            r#", "details": [{"table": "note"}]"#,
            r#""note" has no foreign key to "sale"(id): name the columns that refer to it with the detail's "piece"; "note" has: id, sale_line, text"#,
        ),
        (
            sale,
            line,
            r#", "details": [{"table": "note", "of": "taxes"}]"#,
            r#"detail "note" is "of" "taxes", which is none of: header, lines"#,
        ),
        (
            sale,
            line,
            r#", "details": [{"table": "note", "of": "lines"}, {"table": "note", "of": "lines"}]"#,
            r#"two parts are called "note": give the detail another "name""#,
        ),
        (
            sale,
            line,
            r#", "unloaded": "panic""#,
            r#"the definition cannot be read: unknown variant `panic`, expected `mark` or `refuse` at line 1 column 99"#,
        ),
        (
            r#""tabel": "sale""#,
            line,
            "",
            "the definition cannot be read: unknown field `tabel`, expected one of `table`, `key`, `where`, `labels` at line 1 column 19",
        ),
        (
            r#""table": "sale", "labels": {"nmber": "1"}"#,
            line,
            "",
            "the definition cannot be read: unknown field `nmber`, expected one of `number`, `date`, `party`, `type`, `validated` at line 1 column 47",
        ),
        (sale, "", "", "the definition cannot be read: missing field `table` at line 1 column 41"),
        (
            r#""table": "sale", "key": 7"#,
            line,
            "",
            "the definition cannot be read: a column's name or an array of names at line 1 column 38",
        ),
    ];
    let shop = Shop::with(SCHEMA);
    let db = shop.open();
    for (header, lines, more, problem) in cases {
        assert_eq!(
            refusal(&db, &definition(header, lines, more)),
            format!("talon_guard: sale: {problem}")
        );
    }
}

#[test]
fn malformed_json_is_refused_with_its_place() {
    let shop = Shop::with(SCHEMA);
    let db = shop.open();
    let cases = [
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("{} {}", "missing field `header` at line 1 column 2"),
        (
            r#"{"header": "sale"}"#,
            "invalid type: string \"sale\", expected struct HeaderDefinition at line 1 column 17",
        ),
    ];
    for (json, problem) in cases {
        assert_eq!(
            refusal(&db, json),
            format!("talon_guard: sale: the definition cannot be read: {problem}")
        );
    }
    for text in ["sale", "[]", "null"] {
        assert_eq!(
            refusal(&db, text),
            format!(
                "talon_guard: sale: {text:?} is no definition: name the header table and the lines table, or give JSON: \
                 {{\"header\": {{\"table\": …}}, \"lines\": {{\"table\": …}}}}"
            )
        );
    }
}

#[test]
fn hostile_sql_in_a_definition_is_one_expression_or_nothing() {
    let shop = Shop::with(SCHEMA);
    let db = shop.open();
    let not_one = "is not one SQL expression (unbalanced quotes or parentheses, or a semicolon)";
    let cases = [
        ("1) OR (1", format!(r#""1) OR (1" {not_one}"#)),
        ("1; DROP TABLE sale", format!(r#""1; DROP TABLE sale" {not_one}"#)),
        ("", format!(r#""" {not_one}"#)),
        ("h.id = ?1", r#"it has a parameter in "h.id = ?1""#.to_owned()),
        ("h.absent = 1", r#"no such column: h.absent in "h.absent = 1""#.to_owned()),
        ("count(*) > 1", r#"misuse of aggregate function count() in "count(*) > 1""#.to_owned()),
        ("h.id, 1", r#"row value misused in "h.id, 1""#.to_owned()),
        ("(h.id", format!(r#""(h.id" {not_one}"#)),
        ("1 /* open", format!(r#""1 /* open" {not_one}"#)),
        (
            "row_number() OVER () = 1",
            r#"misuse of window function row_number() in "row_number() OVER () = 1""#.to_owned(),
        ),
        ("random() > 0 AND", r#"near ")": syntax error in "random() > 0 AND""#.to_owned()),
    ];
    let line = r#""table": "sale_line", "piece": "sale""#;
    for (sql, problem) in &cases {
        let header = format!(r#""table": "sale", "where": "{sql}""#);
        assert_eq!(
            refusal(&db, &definition(&header, line, "")),
            format!("talon_guard: sale: header.where: {problem}")
        );
        let header = format!(r#""table": "sale", "labels": {{"number": "{sql}"}}"#);
        assert_eq!(
            refusal(&db, &definition(&header, line, "")),
            format!("talon_guard: sale: label \"number\": {problem}")
        );
    }
    // A comment at the end does not swallow what follows it.
    db.run(&format!(
        "SELECT talon_guard('sale', '{}')",
        definition(r#""table": "sale", "where": "h.id > 0 -- all""#, line, "")
    ));
    db.run("INSERT INTO sale(id) VALUES (1); INSERT INTO sale_line(id, sale) VALUES (1, 1); DELETE FROM sale_line");
    assert_eq!(db.rows("SELECT kind, piece FROM talon_lost"), ["sale|1"]);
}

#[test]
fn talons_own_tables_cannot_be_guarded() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(GUARD_SALES);
    assert_eq!(
        db.error("SELECT talon_guard('x', 'talon_snapshot', 'sale_line')"),
        r#"talon_guard: x: "talon_snapshot" is Talon's own table: name a table of the application"#
    );
    assert_eq!(
        db.error("SELECT talon_guard('x', 'sale_piece', 'TALON_piece')"),
        r#"talon_guard: x: "TALON_piece" is Talon's own table: name a table of the application"#
    );
}

#[test]
fn an_index_over_some_rows_makes_no_key() {
    let shop = Shop::with(
        "CREATE TABLE piece(id, n); CREATE UNIQUE INDEX piece_id ON piece(id) WHERE n > 0;
         CREATE TABLE line(id INTEGER PRIMARY KEY, piece)",
    );
    let error = refusal(
        &shop.open(),
        &definition(r#""table": "piece", "key": "id""#, r#""table": "line", "piece": "piece""#, ""),
    );
    assert_eq!(
        error,
        r#"talon_guard: sale: header.key: id of "piece" is not unique: a key needs a primary key or a unique index over exactly these columns"#
    );
}

#[test]
fn a_table_of_the_application_that_is_called_like_one_of_talons_is_named() {
    for (made, what) in [
        ("CREATE TABLE talon_piece(id INTEGER PRIMARY KEY)", "table talon_piece"),
        ("CREATE TABLE TALON_META(id INTEGER PRIMARY KEY)", "table TALON_META"),
        ("CREATE TABLE talon_meta(name, value)", "table talon_meta"),
        ("CREATE VIEW talon_edit AS SELECT 1", "view talon_edit"),
    ] {
        let db = Db::memory();
        db.run(&format!("{SALES} {made}"));
        assert_eq!(
            db.error(GUARD_SALES),
            format!(
                "talon_guard: \"main\" has a {what} already that is none of Talon's: rename it, names with talon_ are \
                 Talon's own"
            )
        );
        assert_eq!(db.rows("SELECT kind FROM talon_guards"), [""; 0], "{made}");
        assert_eq!(
            db.one("SELECT count(*) FROM sqlite_schema WHERE name GLOB 'talon_*'"),
            if made.contains("TALON") { "0" } else { "1" }
        );
    }
}
