//! Every shape of table that holds pieces: several kinds, shared tables, lines of lines, names, as hosts have them.

use talon_tests::{Db, GUARD_SALES, SALES, Shop};

/// Invoices and orders in one header table, subscriptions beside them, and one lines table for all.
const DOCUMENTS: &str = "
    CREATE TABLE document(id INTEGER PRIMARY KEY, type TEXT NOT NULL, number TEXT);
    CREATE TABLE document_line(id INTEGER PRIMARY KEY, document_id INTEGER NOT NULL REFERENCES document, what TEXT);
    CREATE INDEX document_line_document ON document_line(document_id);
";

fn guard_documents(db: &Db) {
    for (kind, letter) in [("invoice", 'F'), ("order", 'C')] {
        db.run(&format!(
            r#"SELECT talon_guard('{kind}', '{{"header": {{"table": "document", "where": "h.type = ''{letter}''"}},
              "lines": {{"table": "document_line"}}}}')"#
        ));
    }
    db.run(
        "BEGIN; INSERT INTO document VALUES (1, 'F', 'F1'), (2, 'C', 'C1'), (3, 'A', 'subscription');
         INSERT INTO document_line VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 2, 'c'), (4, 3, 'd'); COMMIT",
    );
}

#[test]
fn several_kinds_share_a_header_table() {
    let shop = Shop::with(DOCUMENTS);
    let db = shop.open();
    guard_documents(&db);
    assert_eq!(
        db.rows("SELECT kind, piece, lines FROM talon_snapshots"),
        ["invoice|1|1", "order|2|2"]
    );
    db.lose_and_recover(
        &["document", "document_line"],
        "DELETE FROM document_line WHERE id < 4",
        &["invoice|1|1", "order|2|2"],
    );
    assert_eq!(
        db.error("INSERT INTO talon_restore(kind, piece) VALUES ('invoice', 3)"),
        "talon_restore: there is no invoice 3"
    );
}

#[test]
fn a_piece_that_becomes_another_kind_goes_on_as_that_kind() {
    let shop = Shop::with(DOCUMENTS);
    let db = shop.open();
    guard_documents(&db);
    db.run("UPDATE document SET type = 'F' WHERE id = 2");
    assert_eq!(
        db.rows("SELECT kind, piece, lines FROM talon_snapshots WHERE id > 2"),
        ["invoice|2|2"]
    );
    assert_eq!(db.rows("SELECT * FROM talon_audit"), [""; 0]);
    db.lose_and_recover(
        &["document", "document_line"],
        "DELETE FROM document_line WHERE document_id = 2",
        &["invoice|2|2"],
    );
}

#[test]
fn kinds_that_share_a_lines_table_are_told_apart_by_where() {
    let shop = Shop::with(
        "CREATE TABLE sale(id INTEGER PRIMARY KEY, n); CREATE TABLE purchase(id INTEGER PRIMARY KEY, n);
         CREATE TABLE line(id INTEGER PRIMARY KEY, owner_type TEXT, owner INTEGER, what TEXT)",
    );
    let db = shop.open();
    for kind in ["sale", "purchase"] {
        db.run(&format!(
            r#"SELECT talon_guard('{kind}', '{{"header": {{"table": "{kind}"}},
              "lines": {{"table": "line", "piece": "owner", "where": "l.owner_type = ''{kind}''"}}}}')"#
        ));
    }
    db.run(
        "INSERT INTO sale VALUES (1, 'S'); INSERT INTO purchase VALUES (1, 'P');
         INSERT INTO line VALUES (1, 'sale', 1, 'a'), (2, 'purchase', 1, 'b'), (3, 'purchase', 1, 'c')",
    );
    assert_eq!(
        db.rows("SELECT kind, max(lines) FROM talon_snapshots GROUP BY kind"),
        ["purchase|2", "sale|1"]
    );
    db.lose_and_recover(
        &["sale", "purchase", "line"],
        "DELETE FROM line WHERE owner_type = 'purchase'",
        &["purchase|1|2"],
    );
    db.lose_and_recover(
        &["sale", "purchase", "line"],
        "DELETE FROM line",
        &["purchase|1|2", "sale|1|1"],
    );
}

#[test]
fn a_line_may_belong_to_two_pieces_at_once() {
    let shop = Shop::with(
        "CREATE TABLE sale(id INTEGER PRIMARY KEY, n); CREATE TABLE delivery(id INTEGER PRIMARY KEY, n);
         CREATE TABLE line(id INTEGER PRIMARY KEY, sale INTEGER REFERENCES sale, delivery INTEGER REFERENCES delivery, what)",
    );
    let db = shop.open();
    db.run(
        "PRAGMA foreign_keys = ON;
         SELECT talon_guard('sale', 'sale', 'line'); SELECT talon_guard('delivery', 'delivery', 'line');
         BEGIN; INSERT INTO sale VALUES (1, 's'), (2, 't'); INSERT INTO delivery VALUES (7, 'd');
         INSERT INTO line VALUES (1, 1, NULL, 'a'), (2, 1, NULL, 'b'), (3, NULL, NULL, 'nobody''s'), (4, 2, 7, 'both');
         COMMIT",
    );
    assert_eq!(
        db.rows("SELECT kind, piece, lines FROM talon_snapshots ORDER BY kind, piece"),
        ["delivery|7|1", "sale|1|2", "sale|2|1"]
    );
    // Attached to a delivery later on.
    db.run("UPDATE line SET delivery = 7 WHERE id = 2");
    assert_eq!(
        db.rows("SELECT kind, piece, lines FROM talon_snapshots WHERE id > 3 ORDER BY kind, piece"),
        ["delivery|7|2", "sale|1|2"]
    );
    db.lose_and_recover(
        &["sale", "delivery", "line"],
        "UPDATE line SET delivery = NULL",
        &["delivery|7|2"],
    );
    let before = db.contents(&["line"]);
    db.run("DELETE FROM line WHERE id IN (2, 4)");
    assert_eq!(
        db.rows("SELECT kind, piece FROM talon_lost ORDER BY kind, piece"),
        ["delivery|7", "sale|2"]
    );
    // What is restored of one piece is there for the other too.
    db.run("INSERT INTO talon_restore(kind, piece) VALUES ('delivery', 7)");
    assert_eq!(db.contents(&["line"]), before);
    assert_eq!(db.rows("SELECT * FROM talon_lost"), [""; 0]);
    assert_eq!(db.rows("SELECT * FROM talon_audit"), [""; 0]);
}

#[test]
fn pieces_that_share_lines_are_lost_and_restored_in_one_open_transaction() {
    let shop = Shop::with(
        "CREATE TABLE sale(id INTEGER PRIMARY KEY); CREATE TABLE delivery(id INTEGER PRIMARY KEY);
         CREATE TABLE line(id INTEGER PRIMARY KEY, sale INTEGER REFERENCES sale, delivery INTEGER REFERENCES delivery)",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('sale', 'sale', 'line'); SELECT talon_guard('delivery', 'delivery', 'line');
         BEGIN; INSERT INTO sale VALUES (1); INSERT INTO delivery VALUES (7);
         INSERT INTO line VALUES (1, 1, NULL), (2, 1, 7), (3, NULL, 7); COMMIT",
    );
    let before = db.contents(&["line"]);
    let restore = |kind: &str, piece: i64| {
        format!("INSERT INTO talon_restore(kind, piece) VALUES ('{kind}', {piece})")
    };
    db.run("BEGIN; DELETE FROM line");
    db.run(&restore("sale", 1));
    db.run(&restore("delivery", 7));
    db.run("COMMIT");
    assert_eq!(db.contents(&["line"]), before);
    assert_eq!(db.findings(), [""; 0]);
    // Restored by halves and left so, it can be made whole later; what the host does itself is an edit.
    db.run("BEGIN; DELETE FROM line");
    db.run(&restore("sale", 1));
    db.run("COMMIT");
    assert_eq!(db.findings(), ["delivery|7|partial"]);
    db.run(&restore("delivery", 7));
    assert_eq!(db.contents(&["line"]), before);
    db.run("BEGIN; DELETE FROM line");
    db.run(&restore("sale", 1));
    db.run("UPDATE line SET id = 9 WHERE id = 2");
    assert_eq!(
        db.error(&restore("delivery", 7)),
        "talon_restore: delivery 7 has 1 line, nothing to recover"
    );
    db.run("COMMIT");
    assert_eq!(db.findings(), [""; 0]);
    // Undone, a restore has restored nothing by halves.
    db.run("BEGIN; UPDATE line SET id = 2 WHERE id = 9; SAVEPOINT a; DELETE FROM line");
    db.run(&restore("sale", 1));
    db.run("ROLLBACK TO a");
    assert_eq!(
        db.error(&restore("delivery", 7)),
        "talon_restore: delivery 7 has 1 line, nothing to recover"
    );
    db.run("COMMIT");
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn lines_may_refer_to_lines() {
    let shop = Shop::with(
        "CREATE TABLE piece(id INTEGER PRIMARY KEY, n);
         CREATE TABLE line(id INTEGER PRIMARY KEY, piece INTEGER REFERENCES piece,
           parent INTEGER REFERENCES line ON DELETE CASCADE, what)",
    );
    let db = shop.open();
    db.run(
        "PRAGMA foreign_keys = ON;
         SELECT talon_guard('p', 'piece', 'line');
         INSERT INTO piece VALUES (1, 'x');
         INSERT INTO line VALUES (9, 1, NULL, 'set'), (2, 1, 9, 'part'), (3, 1, 2, 'part of part')",
    );
    // The child's key is smaller than its parent's, so that it comes back first.
    db.lose_and_recover(&["piece", "line"], "DELETE FROM line WHERE id = 9", &["p|1|3"]);
}

#[test]
fn soft_deleted_lines_are_lost_and_come_back() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run(
        r#"ALTER TABLE sale_line ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
           SELECT talon_guard('sale', '{"header": {"table": "sale_piece"},
             "lines": {"table": "sale_line", "where": "NOT l.deleted"}}');
           BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1);
           INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1, 0), (2, 1, 2, 'y', 2, 0), (3, 1, 3, 'z', 3, 1); COMMIT"#,
    );
    assert_eq!(db.one("SELECT lines FROM talon_snapshots"), "2");
    db.lose_and_recover(
        &["sale_piece", "sale_line"],
        "UPDATE sale_line SET deleted = 1",
        &["sale|1|2"],
    );
}

#[test]
fn header_and_lines_may_lie_in_one_table() {
    let shop = Shop::with(
        "CREATE TABLE entry(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES entry, label TEXT, amount REAL)",
    );
    let db = shop.open();
    db.run(
        r#"PRAGMA foreign_keys = ON;
           SELECT talon_guard('entry', '{"header": {"table": "entry", "where": "h.parent IS NULL"},
             "lines": {"table": "entry", "piece": "parent"}}');
           INSERT INTO entry VALUES (1, NULL, 'piece', NULL), (2, 1, 'a', 1), (3, 1, 'b', 2), (4, NULL, 'other', 0), (5, 4, 'c', 1)"#,
    );
    assert_eq!(db.rows("SELECT piece, lines FROM talon_snapshots"), ["1|2", "4|1"]);
    db.run("UPDATE entry SET amount = 7 WHERE id = 3");
    assert_eq!(db.rows("SELECT piece, lines FROM talon_snapshots WHERE id > 2"), ["1|2"]);
    db.lose_and_recover(&["entry"], "DELETE FROM entry WHERE parent = 1", &["entry|1|2"]);
}

#[test]
fn generated_columns_are_computed_again_and_strict_tables_keep_their_types() {
    let shop = Shop::with(
        "CREATE TABLE piece(id INTEGER PRIMARY KEY, net REAL, gross REAL AS (net * 1.2) STORED) STRICT;
         CREATE TABLE line(id INTEGER PRIMARY KEY, piece INTEGER REFERENCES piece, any ANY, price REAL, quantity INTEGER,
           amount REAL GENERATED ALWAYS AS (price * quantity) VIRTUAL, code BLOB) STRICT",
    );
    let db = shop.open();
    db.run(
        "SELECT talon_guard('p', 'piece', 'line');
         BEGIN; INSERT INTO piece(id, net) VALUES (1, 10);
         INSERT INTO line(id, piece, any, price, quantity, code) VALUES (1, 1, '007', 2, 3, x'00'), (2, 1, 7, 0.1, 3, NULL),
           (3, 1, 7.0, NULL, NULL, x''); COMMIT",
    );
    assert_eq!(
        db.rows("SELECT row FROM talon_image WHERE snapshot = 1 AND position = 1"),
        [
            r#"{"id":1,"net":10.0}"#,
            r#"{"id":1,"piece":1,"any":"007","price":2.0,"quantity":3,"code":{"blob":"00"}}"#
        ]
    );
    db.lose_and_recover(&["piece", "line"], "DELETE FROM line", &["p|1|3"]);
}

#[test]
fn names_may_be_anything_that_sqlite_takes() {
    let tables = [
        ("order", "order line"),
        ("Quotation Item", "Quotation 'Item' Line"),
        (r#"a"b"#, "x;--"),
        ("зака́з", "订单行"),
        ("select", "[from]"),
    ];
    for (header, lines) in tables {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let text = |name: &str| name.replace('\'', "''");
        let (h, l) = (quoted(header), quoted(lines));
        let shop = Shop::with(&format!(
            r#"CREATE TABLE {h}("group" INTEGER PRIMARY KEY, "tot""al" REAL, "per cent" TEXT, "ключ'" TEXT, UNIQUE ("ключ'"));
               CREATE TABLE {l}("where" TEXT PRIMARY KEY, "of the ""piece""" INTEGER REFERENCES {h}, "NEW.""x""" TEXT, "[a]" BLOB)"#
        ));
        let db = shop.open();
        let kind = format!("{header}'s");
        db.run(&format!(
            r#"SELECT talon_guard('{}', '{}', '{}');
               INSERT INTO {h} VALUES (1, 1.5, '%', 'k');
               INSERT INTO {l} VALUES ('one', 1, 'é', x'01'), ('two', 1, '"', NULL);
               UPDATE {l} SET "[a]" = 1 WHERE "where" = 'two'"#,
            text(&kind),
            text(header),
            text(lines)
        ));
        db.lose_and_recover(&[&h, &l], &format!("DELETE FROM {l}"), &[&format!("{kind}|1|2")]);
        db.run(&format!(
            "PRAGMA foreign_keys = OFF; INSERT OR REPLACE INTO {h} VALUES (2, 2.5, '%', 'k')"
        ));
        assert_eq!(
            db.rows("SELECT piece, finding FROM talon_audit ORDER BY 1, 2"),
            ["1|orphaned", "1|vanished"]
        );
    }
}

#[test]
fn a_table_of_many_columns_is_imaged_whole() {
    let columns: Vec<String> = (0..300).map(|column| format!("c{column}")).collect();
    let values: Vec<String> = (0..300).map(|value| value.to_string()).collect();
    let shop = Shop::with(&format!(
        "CREATE TABLE piece(id INTEGER PRIMARY KEY);
         CREATE TABLE line(id INTEGER PRIMARY KEY, piece INTEGER REFERENCES piece, {})",
        columns.join(", ")
    ));
    let db = shop.open();
    db.run(&format!(
        "{GUARD} INSERT INTO piece VALUES (1);
         INSERT INTO line VALUES (1, 1, {0}), (2, 1, {0})",
        values.join(", ")
    ));
    db.lose_and_recover(&["piece", "line"], "DELETE FROM line", &["p|1|2"]);
}

const GUARD: &str = "SELECT talon_guard('p', 'piece', 'line');";

#[test]
fn the_plainest_shop_needs_only_its_two_tables() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    assert_eq!(
        db.one(GUARD_SALES),
        "sale is guarded: header sale_piece (key id); lines sale_line (sale_id -> header, key id)"
    );
    db.run(
        "INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1)",
    );
    db.lose_and_recover(&["sale_piece", "sale_line"], "DELETE FROM sale_line", &["sale|1|1"]);
}
