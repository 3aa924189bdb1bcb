//! Guards on attached databases: the hidden column `schema`, the trailing schema argument.

use talon_tests::{Db, SALES, Shop, load};

/// `main` without guards, and the shop's file attached as `pos`, guarded.
fn attached(shop: &Shop) -> Db {
    let db = Db::open(&shop.file("main.db"));
    load(&db.connection);
    db.run(&format!("ATTACH '{}' AS pos", shop.file("shop.db").display()));
    db
}

const GUARD: &str = "SELECT talon_guard('sale', 'sale_piece', 'sale_line', 'pos');";
const FILL: &str = "
    BEGIN; INSERT INTO pos.sale_piece VALUES (1, 'A', 1), (2, 'B', 2);
    INSERT INTO pos.sale_line VALUES (10, 1, 1, 'x', 1), (11, 1, 2, 'y', 2), (20, 2, 1, 'z', 3); COMMIT;";

#[test]
fn the_main_job_is_done_on_an_attached_database() {
    let shop = Shop::with(SALES);
    let db = attached(&shop);
    assert_eq!(
        db.one(GUARD),
        "sale is guarded in pos: header sale_piece (key id); lines sale_line (sale_id -> header, key id)"
    );
    db.run(FILL);
    let before = db.contents(&["pos.sale_piece", "pos.sale_line"]);
    db.run("DELETE FROM pos.sale_line WHERE sale_id = 1");
    for table in [
        "talon_guards",
        "talon_snapshots",
        "talon_lost",
        "talon_audit",
        "talon_restore",
        "talon_purge",
    ] {
        assert_eq!(db.rows(&format!("SELECT * FROM {table}")), [""; 0], "{table} is of main");
    }
    assert_eq!(
        db.rows("SELECT kind, piece, saved_lines, schema FROM talon_lost WHERE schema = 'pos'"),
        ["sale|1|2|pos"]
    );
    assert_eq!(db.rows("SELECT piece, finding, schema FROM talon_audit('pos')"), ["1|lost|pos"]);
    assert_eq!(db.rows("SELECT kind, piece, schema FROM talon_lost('pos')"), ["sale|1|pos"]);
    assert_eq!(
        db.rows("SELECT part, position FROM talon_image(1, 'pos')"),
        ["header|1", "lines|1", "lines|2"]
    );
    assert_eq!(db.rows("SELECT id, schema FROM talon_snapshots WHERE schema = 'pos' AND kind = 'sale' AND piece = 2"), ["2|pos"]);
    db.run("INSERT INTO talon_restore(kind, piece, schema) SELECT kind, piece, schema FROM talon_lost WHERE schema = 'pos'");
    assert_eq!(db.contents(&["pos.sale_piece", "pos.sale_line"]), before);
    assert_eq!(
        db.rows("SELECT piece, outcome, schema FROM talon_restore WHERE schema = 'pos'"),
        ["1|restored|pos"]
    );
    db.run("INSERT INTO talon_purge(before, schema) VALUES ('9999-12-31', 'pos')");
    assert_eq!(
        db.rows("SELECT purged, kept_lost, schema FROM talon_purge WHERE schema = 'pos'"),
        ["3|0|pos"]
    );
    assert_eq!(
        db.rows("SELECT kind, pieces, snapshots, schema FROM talon_guards WHERE schema = 'pos'"),
        ["sale|2|0|pos"]
    );
    assert_eq!(db.rows("SELECT name FROM main.sqlite_schema"), [""; 0]);
}

#[test]
fn functions_take_the_schema_last() {
    let shop = Shop::with(SALES);
    let db = attached(&shop);
    db.run(&format!("INSERT INTO pos.sale_piece VALUES (1, 'A', 1); INSERT INTO pos.sale_line VALUES (1, 1, 1, 'x', 1); {GUARD}"));
    assert_eq!(db.one("SELECT talon_baseline('sale', 'pos')"), "1");
    assert_eq!(
        db.error("SELECT talon_baseline('sale')"),
        "talon_baseline: nothing is guarded in \"main\" yet: SELECT talon_guard(kind, header table, lines table)"
    );
    db.run("DELETE FROM pos.sale_line");
    assert_eq!(
        db.one("SELECT talon_dismiss('sale', 1, 'pos')"),
        "sale 1 is accepted without lines"
    );
    assert_eq!(db.rows("SELECT * FROM talon_lost('pos')"), [""; 0]);
    shop.bare().run("UPDATE sale_piece SET total = 9");
    assert_eq!(db.one("SELECT talon_absorb('pos')"), "0");
    assert_eq!(
        db.one("SELECT talon_unguard('sale', 'POS')"),
        "sale is no longer guarded; its snapshots stay"
    );
    assert_eq!(db.rows("SELECT name FROM pos.sqlite_schema WHERE type = 'trigger'"), [""; 0]);
}

#[test]
fn one_kind_may_be_guarded_in_main_and_in_an_attached_database() {
    let shop = Shop::with(SALES);
    let db = attached(&shop);
    db.run(SALES);
    db.run(&format!("SELECT talon_guard('sale', 'sale_piece', 'sale_line'); {GUARD} {FILL}"));
    db.run("BEGIN; INSERT INTO main.sale_piece VALUES (1, 'M', 1); INSERT INTO main.sale_line VALUES (1, 1, 1, 'main', 1); COMMIT");
    assert_eq!(db.rows("SELECT piece, lines FROM talon_snapshots"), ["1|1"]);
    assert_eq!(db.rows("SELECT piece, lines FROM talon_snapshots('pos')"), ["1|2", "2|1"]);
    // One transaction over both files.
    db.run("BEGIN; DELETE FROM main.sale_line; DELETE FROM pos.sale_line; COMMIT");
    assert_eq!(db.rows("SELECT schema, piece FROM talon_lost"), ["main|1"]);
    assert_eq!(
        db.rows(
            "SELECT schema, piece FROM talon_lost WHERE schema IN ('main', 'pos') ORDER BY 1, 2"
        ),
        ["main|1", "pos|1", "pos|2"]
    );
    // One id is another snapshot in another file.
    assert_eq!(db.rows("SELECT schema, id FROM talon_snapshots WHERE schema = 'main' OR schema = 'pos' ORDER BY 1, 2"), ["main|1", "pos|1", "pos|2"]);
    db.run("INSERT INTO talon_restore(kind, piece, schema) SELECT kind, piece, schema FROM talon_lost WHERE schema IN ('main', 'pos')");
    assert_eq!(
        db.rows("SELECT label FROM main.sale_line UNION ALL SELECT label FROM pos.sale_line"),
        ["main", "x", "y", "z"]
    );
}

#[test]
fn a_schema_may_have_any_name() {
    let shop = Shop::with(SALES);
    let db = Db::open(&shop.file("main.db"));
    load(&db.connection);
    db.run(&format!("ATTACH '{}' AS \"my 'pos\"\" 1\"", shop.file("shop.db").display()));
    db.run("SELECT talon_guard('sale', 'sale_piece', 'sale_line', 'my ''pos\" 1')");
    db.run(&FILL.replace("pos.", "\"my 'pos\"\" 1\"."));
    db.run("DELETE FROM \"my 'pos\"\" 1\".sale_line");
    assert_eq!(db.rows("SELECT piece FROM talon_lost WHERE schema = 'my ''pos\" 1'"), ["1", "2"]);
    db.run("INSERT INTO talon_restore(kind, piece, schema) SELECT kind, piece, schema FROM talon_lost('my ''pos\" 1')");
    assert_eq!(db.rows("SELECT label FROM \"my 'pos\"\" 1\".sale_line"), ["x", "y", "z"]);
}

#[test]
fn a_copy_attached_beside_its_original_has_snapshots_of_its_own() {
    let shop = Shop::with(SALES);
    attached(&shop).run(&format!("{GUARD} {FILL}"));
    std::fs::copy(shop.file("shop.db"), shop.file("copy.db")).expect("a copy");
    let db = attached(&shop);
    db.run(&format!("ATTACH '{}' AS copy", shop.file("copy.db").display()));
    db.run("UPDATE copy.sale_line SET label = 'copied' WHERE id = 10");
    assert_eq!(db.rows("SELECT id FROM talon_snapshots('pos')"), ["1", "2"]);
    assert_eq!(
        db.rows("SELECT id, reason FROM talon_snapshots('copy')"),
        ["1|create", "2|create", "3|edit"]
    );
    db.run("UPDATE pos.sale_line SET label = 'original' WHERE id = 10; DELETE FROM copy.sale_line");
    assert_eq!(db.rows("SELECT * FROM talon_lost('pos')"), [""; 0]);
    assert_eq!(db.rows("SELECT piece FROM talon_lost('copy')"), ["1", "2"]);
    db.run("INSERT INTO talon_restore(kind, piece, schema) SELECT kind, piece, 'copy' FROM talon_lost('copy')");
    assert_eq!(db.rows("SELECT label FROM copy.sale_line"), ["copied", "y", "z"]);
    assert_eq!(db.rows("SELECT label FROM pos.sale_line"), ["original", "y", "z"]);
    assert_eq!(
        db.rows("SELECT * FROM talon_audit('pos') UNION ALL SELECT * FROM talon_audit('copy')"),
        [""; 0]
    );
}

#[test]
fn another_file_under_the_same_name_is_another_file() {
    let shop = Shop::with(SALES);
    Db::open(&shop.file("other.db")).run(&format!(
        "{SALES} CREATE TABLE invoice(id TEXT PRIMARY KEY); CREATE TABLE invoice_line(id INTEGER PRIMARY KEY, invoice TEXT REFERENCES invoice)"
    ));
    let db = attached(&shop);
    db.run(&format!(
        "{GUARD} {FILL} DETACH pos; ATTACH '{}' AS pos",
        shop.file("other.db").display()
    ));
    assert_eq!(db.rows("SELECT kind FROM talon_guards('pos')"), [""; 0]);
    db.run("SELECT talon_guard('invoice', 'invoice', 'invoice_line', 'pos')");
    db.run("BEGIN; INSERT INTO pos.invoice VALUES ('I'); INSERT INTO pos.invoice_line VALUES (1, 'I'); INSERT INTO pos.sale_piece VALUES (1, 'O', 1); COMMIT");
    assert_eq!(db.rows("SELECT kind, piece FROM talon_snapshots('pos')"), ["invoice|I"]);
    db.run(&format!(
        "DETACH pos; ATTACH '{}' AS pos; DELETE FROM pos.sale_line WHERE sale_id = 1",
        shop.file("shop.db").display()
    ));
    assert_eq!(db.rows("SELECT kind, piece FROM talon_lost('pos')"), ["sale|1"]);
    db.run("INSERT INTO talon_restore(kind, piece, schema) VALUES ('sale', 1, 'pos'); DETACH pos");
    assert_eq!(
        db.error("SELECT * FROM talon_lost('pos')"),
        "talon_lost: no database \"pos\" is attached to this connection"
    );
    db.run(&format!(
        "ATTACH '{}' AS pos; DELETE FROM pos.invoice_line",
        shop.file("other.db").display()
    ));
    assert_eq!(db.rows("SELECT kind, piece FROM talon_lost('pos')"), ["invoice|I"]);
}

#[test]
fn a_file_attached_under_another_name_keeps_its_guards() {
    let shop = Shop::with(SALES);
    let db = attached(&shop);
    db.run(&format!(
        "{GUARD} {FILL} DETACH pos; ATTACH '{}' AS till",
        shop.file("shop.db").display()
    ));
    db.run("UPDATE till.sale_line SET label = 'new' WHERE id = 20; DELETE FROM till.sale_line WHERE id = 20");
    assert_eq!(db.rows("SELECT piece FROM talon_lost('till')"), ["2"]);
    let alone = shop.open();
    alone.run("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.rows("SELECT label FROM till.sale_line WHERE id = 20"), ["new"]);
}

#[test]
fn a_database_that_cannot_be_written_is_looked_at_all_the_same() {
    let shop = Shop::with(SALES);
    attached(&shop).run(&format!("{GUARD} {FILL} DELETE FROM pos.sale_line WHERE sale_id = 1"));
    shop.bare().run("DELETE FROM sale_line");
    let db = Db {
        connection: rusqlite::Connection::open_with_flags(
            shop.file("shop.db"),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        )
        .expect("it opens"),
    };
    load(&db.connection);
    assert_eq!(db.rows("SELECT piece, restorable FROM talon_lost"), ["1|1", "2|1"]);
    assert_eq!(db.rows("SELECT kind, marks, triggers FROM talon_guards"), ["sale|1|whole"]);
    assert_eq!(db.rows("SELECT piece, finding FROM talon_audit"), ["1|lost", "2|lost"]);
    for write in [
        "INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1)",
        "INSERT INTO talon_purge(before) VALUES ('9999-12-31')",
        "SELECT talon_absorb()",
        "SELECT talon_dismiss('sale', 1)",
        "SELECT talon_guard('sale', 'sale_piece', 'sale_line')",
        "SELECT talon_unguard('sale')",
    ] {
        let text = db.error(write);
        assert!(text.ends_with("attempt to write a readonly database"), "{write}: {text}");
    }
    assert_eq!(db.one("SELECT talon_baseline('sale')"), "0");
}

#[test]
fn a_read_only_main_leaves_marks_in_an_attached_database() {
    let shop = Shop::with(SALES);
    Db::open(&shop.file("main.db")).run(SALES);
    attached(&shop).run(GUARD);
    let read_only = rusqlite::Connection::open_with_flags(
        format!("file:{}?immutable=1", shop.file("main.db").display()),
        rusqlite::OpenFlags::SQLITE_OPEN_URI | rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE,
    );
    let db = Db { connection: read_only.expect("it opens") };
    load(&db.connection);
    db.run(&format!("ATTACH 'file:{}' AS pos; {FILL}", shop.file("shop.db").display()));
    assert_eq!(db.rows("SELECT DISTINCT key FROM pos.talon_mark"), ["1", "2"]);
    assert_eq!(
        db.rows("SELECT piece, lines, reason FROM talon_snapshots('pos')"),
        ["1|2|unguarded", "2|1|unguarded"]
    );
    assert_eq!(db.rows("SELECT DISTINCT finding FROM talon_audit('pos')"), ["unguarded"]);
    db.run("DELETE FROM pos.sale_line");
    assert_eq!(db.rows("SELECT piece FROM talon_lost('pos')"), ["1", "2"]);
    assert!(
        db.error("SELECT talon_guard('sale', 'sale_piece', 'sale_line')")
            .ends_with("attempt to write a readonly database")
    );
    // SQLite counts an INSERT into any virtual table as a write to main.
    let restore = "INSERT INTO talon_restore(kind, piece, schema) SELECT kind, piece, schema FROM talon_lost('pos')";
    assert_eq!(db.error(restore), "attempt to write a readonly database");
    attached(&shop).run(restore);
    assert_eq!(db.rows("SELECT label FROM pos.sale_line"), ["x", "y", "z"]);
}
