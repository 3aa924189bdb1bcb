//! Checks: queries that must give no row, listed by the audit, asked before a piece is validated.

use rusqlite::ffi;
use talon_tests::{Db, Shop};

/// Sales that can be validated, with lots of their lines that outlive them.
fn shop() -> (Shop, Db) {
    let shop = Shop::with(
        "CREATE TABLE sale_piece(id INTEGER PRIMARY KEY, number TEXT, validated INTEGER NOT NULL DEFAULT 0);
         CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER REFERENCES sale_piece(id), quantity REAL);
         CREATE INDEX sale_line_sale ON sale_line(sale_id);
         CREATE TABLE lots(id INTEGER PRIMARY KEY, line INTEGER, quantity REAL)",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('sale', 'sale_piece', 'sale_line');
         BEGIN; INSERT INTO sale_piece(id, number) VALUES (1, 'A'), (2, 'B');
         INSERT INTO sale_line VALUES (10, 1, 6), (11, 1, 2), (20, 2, 3);
         INSERT INTO lots(line, quantity) VALUES (10, 4), (10, 2), (11, 2), (20, 3); COMMIT",
    );
    (shop, db)
}

const QUERY: &str =
    "SELECT l.id AS line, l.quantity, (SELECT total(quantity) FROM lots WHERE line = l.id) AS lots
    FROM sale_line AS l WHERE l.sale_id = :piece AND lots <> l.quantity";

fn declare(more: &str) -> String {
    format!(
        "SELECT talon_check('lots', json_object('kind', 'sale', 'query', '{QUERY}',
           'text', 'the lots of a line do not add up to its quantity'{more}))"
    )
}

const BLOCKS: &str = ", 'blocks', 'OLD.validated = 0 AND NEW.validated = 1'";
const VALIDATE: &str = "UPDATE sale_piece SET validated = 1 WHERE id = 1";
const TEXT: &str = "the lots of a line do not add up to its quantity";

fn checks(db: &Db) -> Vec<String> {
    db.rows("SELECT kind, piece, detail FROM talon_audit WHERE finding = 'check'")
}

#[test]
fn the_audit_lists_each_row_that_a_check_gives() {
    let (_shop, db) = shop();
    assert_eq!(db.one(&declare("")), "lots is checked for every sale");
    assert_eq!(checks(&db), [""; 0]);
    db.run("UPDATE lots SET quantity = 1 WHERE line IN (10, 11) AND id < 4");
    assert_eq!(
        checks(&db),
        [
            format!("sale|1|lots: {TEXT} (line 10, quantity 6.0, lots 2.0)"),
            format!("sale|1|lots: {TEXT} (line 11, quantity 2.0, lots 1.0)"),
        ]
    );
    assert_eq!(db.findings(), ["sale|1|check", "sale|1|check"]);
    let of_piece = |piece: &str| {
        db.rows(&format!("SELECT detail FROM talon_audit WHERE kind = 'sale' AND piece = {piece} AND finding = 'check'"))
    };
    assert_eq!(of_piece("1").len(), 2);
    assert_eq!(of_piece("'1'").len(), 2);
    assert_eq!(of_piece("2"), [""; 0]);
    assert_eq!(of_piece("'nothing'"), [""; 0]);
    assert_eq!(of_piece("NULL"), [""; 0]);
    assert_eq!(
        db.rows("SELECT place, name, type, problem FROM talon_rules"),
        ["1|lots|check|NULL"]
    );
    assert_eq!(db.one("SELECT talon_check('lots', NULL)"), "lots is no longer a check");
    assert_eq!(checks(&db), [""; 0]);
}

/// "Si on omet de rectifier la cohérence entre les quantités des lignes et les lots, la validation définitive de la pièce
/// sera impossible."
#[test]
fn a_piece_whose_lots_do_not_match_cannot_be_validated() {
    let (_shop, db) = shop();
    assert_eq!(db.one(&declare(BLOCKS)), "lots is checked for every sale, and blocks");
    db.run(&format!("{VALIDATE}; UPDATE sale_piece SET validated = 0"));
    db.run("UPDATE sale_line SET quantity = 5 WHERE id = 10");
    let error = db.connection.execute(VALIDATE, []).expect_err("no validation");
    let rusqlite::Error::SqliteFailure(failure, Some(text)) = error else { panic!("{error:?}") };
    assert_eq!((failure.extended_code, text.as_str()), (ffi::SQLITE_CONSTRAINT_TRIGGER, TEXT));
    // Whatever the statement says about conflicts, and however many pieces it is about.
    for statement in [
        "UPDATE OR IGNORE sale_piece SET validated = 1 WHERE id = 1",
        "UPDATE OR REPLACE sale_piece SET validated = 1",
        "INSERT INTO sale_piece(id) VALUES (1) ON CONFLICT (id) DO UPDATE SET validated = 1",
    ] {
        assert_eq!(db.error(statement), TEXT, "{statement}");
    }
    assert_eq!(db.rows("SELECT validated FROM sale_piece"), ["0", "0"]);
    // Anything else may be changed, and other pieces validated.
    db.run("UPDATE sale_piece SET number = 'A2' WHERE id = 1; UPDATE sale_piece SET validated = 1 WHERE id = 2");
    // The lots are right, the line is corrected; the statement that does it may be the one before in the transaction.
    db.run(&format!("BEGIN; UPDATE sale_line SET quantity = 6 WHERE id = 10; {VALIDATE}; COMMIT"));
    assert_eq!(checks(&db), [""; 0]);
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_refused_update_leaves_the_transaction_as_it_was() {
    let (_shop, db) = shop();
    db.run(&declare(BLOCKS));
    db.run("BEGIN; UPDATE sale_line SET quantity = 5 WHERE id = 10; UPDATE sale_piece SET number = 'X' WHERE id = 2");
    assert_eq!(db.error("UPDATE sale_piece SET validated = 1, number = 'Y'"), TEXT);
    assert_eq!(db.rows("SELECT number, validated FROM sale_piece"), ["A|0", "X|0"]);
    db.run("COMMIT");
    assert_eq!(db.rows("SELECT number FROM sale_piece"), ["A", "X"]);
    assert_eq!(db.snapshots("1"), ["create|2", "edit|2"]);
    assert_eq!(db.findings(), ["sale|1|check"]);
}

#[test]
fn without_talon_nothing_is_refused_and_the_audit_tells() {
    let (shop, db) = shop();
    db.run(&declare(BLOCKS));
    drop(db);
    let bare = shop.bare();
    bare.run(
        "UPDATE sale_line SET quantity = 5 WHERE id = 10; UPDATE sale_piece SET validated = 1",
    );
    bare.run("ALTER TABLE lots RENAME TO batches; ALTER TABLE batches RENAME TO lots; ALTER TABLE sale_line ADD COLUMN more; DROP TABLE lots");
    bare.run("UPDATE sale_piece SET validated = 0; UPDATE sale_piece SET validated = 1");
    bare.run("CREATE TABLE lots(id INTEGER PRIMARY KEY, line INTEGER, quantity REAL)");
    let db = shop.open();
    assert_eq!(checks(&db).len(), 3);
    assert!(db.findings().contains(&"sale|1|unguarded".to_owned()));
}

#[test]
fn a_restore_is_never_blocked_and_says_what_its_checks_find() {
    let (_shop, db) = shop();
    db.run(&declare(BLOCKS));
    db.run("UPDATE sale_piece SET validated = 1 WHERE id = 1");
    let validated = db.one("SELECT max(id) FROM talon_snapshots WHERE piece = 1");
    // Lots are typed before the piece is saved; then the lines are lost.
    db.run("UPDATE sale_piece SET validated = 0 WHERE id = 1; UPDATE lots SET quantity = 3 WHERE line = 10 AND id = 1; DELETE FROM sale_line WHERE sale_id = 1");
    let lots = db.contents(&["lots"]);
    db.run(&format!(
        "INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 1, {validated})"
    ));
    assert_eq!(db.contents(&["lots"]), lots);
    assert_eq!(db.one("SELECT validated FROM sale_piece WHERE id = 1"), "1");
    let note = db.one("SELECT note FROM talon_restore");
    assert!(
        note.ends_with(&format!("check: lots: {TEXT} (line 10, quantity 6.0, lots 5.0)")),
        "{note}"
    );
    assert_eq!(checks(&db), [format!("sale|1|lots: {TEXT} (line 10, quantity 6.0, lots 5.0)")]);
}

#[test]
fn a_definition_that_does_not_fit_is_refused_with_what_would() {
    let (_shop, db) = shop();
    db.run("SELECT talon_derive('sum', '{\"table\":\"sale_line\",\"column\":\"quantity\",\"value\":\"1\"}')");
    let condition = |condition: &str| {
        format!(
            "{{\"kind\":\"sale\",\"query\":\"SELECT 1\",\"text\":\"x\",\"blocks\":\"{condition}\"}}"
        )
    };
    let query = |query: &str| format!("{{\"kind\":\"sale\",\"query\":\"{query}\",\"text\":\"x\"}}");
    let table = "it reads a table: it is about OLD and NEW of the header only";
    for (definition, error) in [
        ("{}".to_owned(), "lots: the definition cannot be read: missing field `kind`".to_owned()),
        (
            query("SELECT 1").replace("text", "txt"),
            "lots: the definition cannot be read: unknown field `txt`".into(),
        ),
        (
            query("SELECT 1").replace("sale", "order"),
            "\"order\" is not guarded; guarded: sale".into(),
        ),
        (
            query("SELECT 1").replace("\"x\"", "\" \""),
            "lots: text: say in a few words what is wrong".into(),
        ),
        (query("DELETE FROM lots"), "lots: query: near \"DELETE\": syntax error".into()),
        (
            query("SELECT 1; SELECT 2"),
            "lots: query: \"SELECT 1; SELECT 2\" is not one SQL SELECT".into(),
        ),
        (query("SELECT ?"), "lots: query: its only parameter is :piece".into()),
        (
            query("SELECT load_extension(1)"),
            "lots: query: load_extension() does more than compute".into(),
        ),
        (
            query("SELECT 1 FROM PRAGMA_optimize(0x10002)"),
            "lots: query: pragma_optimize runs ANALYZE, which writes, and cannot be used".into(),
        ),
        (query("SELECT * FROM talon_lost"), "lots: query: talon_lost is Talon's own".into()),
        (query("SELECT * FROM nowhere"), "lots: query: no such table: nowhere in".into()),
        (condition("validated = 1"), "lots: blocks: ambiguous column name: validated".into()),
        (condition("NEW.valid = 1"), "lots: blocks: no such column: NEW.valid".into()),
        (condition("1) OR (1"), "lots: blocks: \"1) OR (1\" is not one SQL expression".into()),
        (condition("EXISTS (SELECT 1 FROM lots)"), format!("lots: blocks: {table} (SELECT)")),
        (condition("NEW.id IN lots"), format!("lots: blocks: {table} (IN)")),
        (
            condition("NEW.number REGEXP 1"),
            "lots: blocks: a connection without Talon may not have the function for it (REGEXP)"
                .into(),
        ),
        (
            condition("NEW.number = 1 COLLATE special"),
            "lots: blocks: a connection without Talon may not have the collation (COLLATE)".into(),
        ),
        (
            condition("NEW.number ->> 0 = 1"),
            "lots: blocks: SQLite knows -> from 3.38 on only: use json_extract()".into(),
        ),
        (
            condition("NEW.id IS DISTINCT FROM OLD.id"),
            "lots: blocks: SQLite knows it here from 3.39 on only: use IS or IS NOT (DISTINCT)"
                .into(),
        ),
        (
            condition("NEW.id = 1_000"),
            "lots: blocks: SQLite knows such numbers from 3.46 on only: leave the _ out (1_000)"
                .into(),
        ),
        (
            condition("talon_version() = NEW.id"),
            "lots: blocks: talon_version is Talon's own".into(),
        ),
        (
            condition("NEW.id = :piece"),
            "lots: blocks: it is about OLD and NEW, it has no parameter".into(),
        ),
        (
            condition("RAISE(ABORT, 1)"),
            "lots: blocks: RAISE() may only be used within a trigger".into(),
        ),
    ] {
        let found = db.error(&format!("SELECT talon_check('lots', '{definition}')"));
        assert!(found.starts_with(&format!("talon_check: {error}")), "{definition}: {found}");
    }
    let of_the_host = rusqlite::functions::FunctionFlags::SQLITE_UTF8;
    db.connection.create_scalar_function("is_big", 1, of_the_host, |_| Ok(1)).expect("a function");
    let found = db.error(&format!("SELECT talon_check('lots', '{}')", condition("is_big(NEW.id)")));
    assert_eq!(
        found,
        "talon_check: lots: blocks: a connection without Talon may not have the function (is_big)"
    );
    assert_eq!(
        db.error(&format!("SELECT talon_check('sum', '{}')", query("SELECT 1"))),
        "talon_check: sum: sum is a derived value already: give this another name"
    );
    assert_eq!(
        db.error("SELECT talon_check('sum', NULL)"),
        "talon_check: \"sum\" is not a check; there are: none"
    );
    assert_eq!(db.one("SELECT count(*) FROM sqlite_schema WHERE name GLOB '*check*'"), "0");
    // What SQLite brings along may be used.
    db.run(&format!("SELECT talon_check('lots', '{}')", condition("coalesce(NEW.validated, 0) IN (1, 2) AND lower(NEW.number) = ''x'' COLLATE NOCASE -- why")));
    db.run("UPDATE sale_piece SET number = 'y'");
    assert_eq!(db.error("UPDATE sale_piece SET number = 'X', validated = 2"), "x");
}

#[test]
fn triggers_that_ask_checks_are_mended_and_follow_renames() {
    let (_shop, db) = shop();
    db.run(&declare(BLOCKS));
    db.run("UPDATE lots SET quantity = 1 WHERE line = 10");
    let triggers = "SELECT triggers FROM talon_guards";
    // A migration makes the header's table anew, and its triggers go.
    db.run(
        "PRAGMA foreign_keys = OFF; CREATE TABLE made(id INTEGER PRIMARY KEY, number TEXT, validated INTEGER NOT NULL DEFAULT 0);
         INSERT INTO made SELECT * FROM sale_piece; DROP TABLE sale_piece; ALTER TABLE made RENAME TO sale_piece",
    );
    assert_eq!(db.one(triggers), "whole");
    assert_eq!(db.error(VALIDATE), TEXT);
    db.run("ALTER TABLE sale_piece RENAME COLUMN validated TO is_validated");
    let validate = VALIDATE.replace("validated", "is_validated");
    assert_eq!(db.error(&validate), TEXT);
    assert_eq!(db.one(triggers), "whole");
    assert_eq!(db.rows("SELECT problem FROM talon_rules"), ["NULL"]);
    // Mended after that, it still knows the new name.
    db.run("DROP TRIGGER talon_1_0_deleting");
    assert_eq!(db.one(triggers), "whole");
    assert_eq!(db.error(&validate), TEXT);
    assert_eq!(checks(&db).len(), 1);
    db.run("SELECT talon_guard('sale', 'sale_piece', 'sale_line')");
    assert_eq!(db.error(&validate), TEXT);
    db.run("SELECT talon_unguard('sale')");
    db.run(&validate);
    assert_eq!(db.one("SELECT count(*) FROM sqlite_schema WHERE name GLOB '*check*'"), "0");
    assert_eq!(db.rows("SELECT problem FROM talon_rules"), ["\"sale\" is not guarded"]);
    db.run("UPDATE sale_piece SET is_validated = 0; SELECT talon_guard('sale', 'sale_piece', 'sale_line')");
    // The old name is gone with the trigger that knew it: this is said, and forbids nothing.
    db.run(&validate);
    assert!(
        db.one("SELECT problem FROM talon_rules")
            .starts_with("blocks: no such column: OLD.validated")
    );
    let findings = db.rows("SELECT piece, detail FROM talon_audit WHERE finding = 'check'");
    assert!(
        findings.len() == 1 && findings[0].starts_with("NULL|lots: it cannot be asked: blocks: "),
        "{findings:?}"
    );
}

#[test]
fn a_table_may_be_called_what_stands_in_the_trigger_that_asks() {
    let shop = Shop::with(
        r#"CREATE TABLE "x WHEN (""y"(id INTEGER PRIMARY KEY, done INTEGER);
           CREATE TABLE line(id INTEGER PRIMARY KEY, x INTEGER REFERENCES "x WHEN (""y"(id));"#,
    );
    let db = shop.open();
    db.run(
        r#"SELECT talon_guard('x', 'x WHEN ("y', 'line');
           INSERT INTO "x WHEN (""y" VALUES (1, 0); INSERT INTO line VALUES (7, 1);
           SELECT talon_check('none', '{"kind":"x","query":"SELECT id FROM line WHERE x = :piece","text":"it has lines",
             "blocks":"NEW.done = 1"}')"#,
    );
    let update = |table: &str| db.error(&format!("UPDATE {table} SET done = 1"));
    assert_eq!(update(r#""x WHEN (""y""#), "it has lines");
    assert_eq!(db.rows("SELECT name, problem FROM talon_rules"), ["none|NULL"]);
    db.run(r#"ALTER TABLE "x WHEN (""y" RENAME COLUMN done TO "ON ""a";"#);
    assert_eq!(db.error(r#"UPDATE "x WHEN (""y" SET "ON ""a" = 1"#), "it has lines");
    assert_eq!(db.rows("SELECT name, problem FROM talon_rules"), ["none|NULL"]);
}

#[test]
fn a_check_that_cannot_be_asked_forbids_nothing_and_is_listed() {
    let (_shop, db) = shop();
    db.run(&declare(BLOCKS));
    db.run("SELECT talon_check('odd', json_object('kind', 'sale', 'query', 'SELECT json_extract(number, ''$'') FROM sale_piece WHERE id = :piece', 'text', 'odd', 'blocks', 'NEW.validated = 1'))");
    db.run("ALTER TABLE lots RENAME TO batches");
    db.run(VALIDATE);
    assert_eq!(
        checks(&db),
        [
            "sale|NULL|lots: it cannot be asked: query: no such table: lots in \"".to_owned()
                + &QUERY.replace('\n', "\\n")
                + "\"",
            "sale|1|odd: it cannot be asked: malformed JSON".to_owned(),
        ]
    );
    let problem = db.one("SELECT problem FROM talon_rules WHERE name = 'lots'");
    assert!(problem.starts_with("query: no such table: lots"), "{problem}");
}

#[test]
fn a_copy_beside_its_original_is_not_asked_about_it() {
    let (shop, db) = shop();
    db.run(&declare(BLOCKS));
    db.run(&format!("VACUUM INTO '{}'", shop.file("copy.db").display()));
    db.run(&format!(
        "ATTACH '{}' AS copy; UPDATE copy.lots SET quantity = 1",
        shop.file("copy.db").display()
    ));
    db.run(VALIDATE);
    assert_eq!(db.error("UPDATE copy.sale_piece SET validated = 1"), TEXT);
    assert_eq!(
        db.rows("SELECT piece FROM talon_audit WHERE schema = 'copy' AND finding = 'check'"),
        ["1", "1", "2"]
    );
}

#[test]
fn a_check_that_moves_to_another_kind_takes_its_trigger_along() {
    let (_shop, db) = shop();
    db.run("CREATE TABLE h(id INTEGER PRIMARY KEY, validated); CREATE TABLE l(id INTEGER PRIMARY KEY, h REFERENCES h(id));
        SELECT talon_guard('other', 'h', 'l')");
    db.run(&declare(BLOCKS));
    db.run("UPDATE lots SET quantity = 1");
    assert_eq!(db.error(VALIDATE), TEXT);
    db.run("SELECT talon_check('lots', json_object('kind', 'other', 'query', 'SELECT :piece', 'text', 'never', 'blocks', 'NEW.validated = 1'))");
    db.run(VALIDATE);
    db.run("INSERT INTO h VALUES (1, 0)");
    assert_eq!(db.error("UPDATE h SET validated = 1"), "never");
    assert_eq!(
        db.rows("SELECT kind, piece, detail FROM talon_audit WHERE finding = 'check'"),
        ["other|1|lots: never (:piece 1)"]
    );
    db.run("BEGIN; SELECT talon_check('lots', NULL); UPDATE h SET validated = 1; ROLLBACK");
    assert_eq!(db.error("UPDATE h SET validated = 1"), "never");
    assert_eq!(db.one("SELECT group_concat(triggers) FROM talon_guards"), "whole,whole");
}

#[test]
fn composite_keys_are_checked_as_json_arrays() {
    let shop = Shop::with(
        "CREATE TABLE h(y INTEGER, n TEXT, validated INTEGER, PRIMARY KEY (y, n)) WITHOUT ROWID;
         CREATE TABLE l(id INTEGER PRIMARY KEY, y INTEGER, n TEXT, q REAL, FOREIGN KEY (y, n) REFERENCES h(y, n));
         CREATE INDEX l_h ON l(y, n);",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('piece', 'h', 'l');
         SELECT talon_check('q', json_object('kind', 'piece', 'text', 'negative', 'blocks', 'NEW.validated',
           'query', 'SELECT q FROM l WHERE y = json_extract(:piece, ''$[0]'') AND n = json_extract(:piece, ''$[1]'') AND q < 0'));
         INSERT INTO h VALUES (26, 'a', 0), (26, 'b', 0); INSERT INTO l VALUES (1, 26, 'a', -2.5), (2, 26, 'b', 1)",
    );
    assert_eq!(checks(&db), ["piece|[26,\"a\"]|q: negative (q -2.5)"]);
    assert_eq!(db.rows("SELECT piece FROM talon_audit WHERE kind = 'piece' AND piece = '[26,\"a\"]' AND finding = 'check'"), ["[26,\"a\"]"]);
    assert_eq!(db.error("UPDATE h SET validated = 1"), "negative");
    db.run("UPDATE h SET validated = 1 WHERE n = 'b'");
}

#[test]
fn asked_for_alone_checks_read_no_image() {
    let (_shop, db) = shop();
    db.run(&declare(""));
    db.run("UPDATE lots SET quantity = 1 WHERE line = 10; UPDATE talon_snapshot SET payload = 'damaged', hash = x'00'");
    assert_eq!(checks(&db).len(), 1);
    assert!(db.findings().iter().any(|finding| finding.ends_with("drifted")));
}
