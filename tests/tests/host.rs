//! The host does not notice: every statement gives the same with Talon and without.

use rusqlite::{Batch, Error};
use talon_tests::{Db, GUARD_SALES, MARKS, SALES, Shop};

const ROWS: &str = "
    INSERT INTO sale_piece VALUES (1, 'A', 1.5), (2, 'B', 2.5), (3, 'C', NULL);
    INSERT INTO sale_line VALUES (10, 1, 1, 'x', 1.0), (11, 1, 2, 'y', 2.0), (12, 2, 1, 'z', 3.0);";

/// What a host sees of each statement: its rows or its error's codes and text, then changes(), last_insert_rowid() and
/// whether a transaction is open.
fn course(db: &Db, script: &str) -> Vec<String> {
    let mut seen = Vec::new();
    // Batch stops at a statement that does not compile, so scripts end with such a one.
    for statement in script.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        let mut rows = Vec::new();
        let result = (|| -> rusqlite::Result<()> {
            let mut batch = Batch::new(&db.connection, statement);
            while let Some(mut prepared) =
                rusqlite::fallible_iterator::FallibleIterator::next(&mut batch)?
            {
                let columns = prepared.column_count();
                let mut scan = prepared.raw_query();
                while let Some(row) = scan.next()? {
                    let row: Vec<String> =
                        (0..columns).map(|column| format!("{:?}", row.get_ref(column))).collect();
                    rows.push(row.join("|"));
                }
            }
            Ok(())
        })();
        let result = match result {
            Ok(()) => "ok".to_owned(),
            Err(Error::SqliteFailure(error, text)) => format!("{} {text:?}", error.extended_code),
            Err(Error::SqlInputError { error, msg, .. }) => {
                format!("{} {msg}", error.extended_code)
            }
            Err(other) => format!("{other:?}"),
        };
        seen.push(format!(
            "{statement}: {rows:?} {result}, {} changes, rowid {}, autocommit {}",
            db.connection.changes(),
            db.connection.last_insert_rowid(),
            db.connection.is_autocommit()
        ));
    }
    seen
}

fn same_with_and_without(schema: &str, guard: &str, script: &str) {
    let (with, without) = (Shop::with(schema), Shop::with(schema));
    let guarded = with.open();
    guarded.run(guard);
    // What a host does before it runs its script is not compared: Talon's own set-up has changed rows of its own.
    let (guarded, bare) = (with.open(), without.bare());
    for (seen, expected) in course(&guarded, script).iter().zip(course(&bare, script)) {
        assert_eq!(*seen, expected, "in {script}");
    }
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'talon%' ORDER BY name";
    for table in bare.rows(tables) {
        let all = format!("SELECT *, typeof(1) FROM \"{table}\"");
        assert_eq!(guarded.rows(&all), bare.rows(&all), "in {script}");
    }
    assert_eq!(guarded.one("PRAGMA integrity_check"), "ok");
}

#[test]
fn scripts_of_every_sort_run_the_same() {
    for script in [
        // Plain changes, by statement.
        "INSERT INTO sale_piece(number) VALUES ('D'); INSERT INTO sale_line(sale_id, label) VALUES (4, 'n'), (4, 'm');
         UPDATE sale_line SET quantity = 1; DELETE FROM sale_line WHERE sale_id = 4; DELETE FROM sale_piece WHERE id = 4",
        // An explicit transaction that changes none, one and many rows last.
        "BEGIN; UPDATE sale_line SET quantity = 9; COMMIT; BEGIN; DELETE FROM sale_line WHERE id = 10; COMMIT;
         BEGIN; INSERT INTO sale_piece(number) VALUES ('E'); UPDATE sale_line SET quantity = 1 WHERE id = 777; COMMIT;
         BEGIN; COMMIT; BEGIN; SELECT * FROM sale_line; COMMIT",
        // Constraints of each sort.
        "INSERT INTO sale_piece VALUES (1, 'dup', 0); INSERT INTO sale_piece VALUES (9, 'A', 0);
         INSERT INTO sale_line VALUES (50, NULL, 1, 'n', 1); UPDATE sale_line SET sale_id = 99;
         DELETE FROM sale_piece WHERE id = 1; UPDATE sale_piece SET id = 'no integer' WHERE id = 1;
         UPDATE sale_line SET id = 12; SELECT * FROM sale_line",
        // The same inside a transaction, where a failed statement leaves the others.
        "BEGIN; INSERT INTO sale_piece VALUES (4, 'D', 0); INSERT INTO sale_piece VALUES (5, 'E', 0), (1, 'dup', 0);
         UPDATE sale_line SET id = 12 WHERE id < 12; SELECT count(*) FROM sale_piece; COMMIT; SELECT count(*) FROM sale_piece",
        // Every conflict clause.
        "INSERT OR IGNORE INTO sale_piece VALUES (4, 'D', 0), (1, 'dup', 0), (5, 'E', 0); INSERT OR FAIL INTO sale_line VALUES
           (60, 1, 1, 'f', 1), (10, 1, 1, 'f', 1), (61, 1, 1, 'f', 1); SELECT id FROM sale_line;
         BEGIN; INSERT INTO sale_piece VALUES (6, 'F', 0); INSERT OR ROLLBACK INTO sale_piece VALUES (6, 'G', 0); SELECT id FROM sale_piece;
         INSERT OR REPLACE INTO sale_line VALUES (10, 2, 1, 'r', 1), (11, 2, 1, 'r', 1); UPDATE OR REPLACE sale_line SET id = 12 WHERE id = 10;
         UPDATE OR IGNORE sale_line SET id = 11 WHERE id = 12; REPLACE INTO sale_line(sale_id) VALUES (1); SELECT * FROM sale_line",
        // REPLACE of a header under foreign keys.
        "INSERT OR REPLACE INTO sale_piece VALUES (1, 'A', 7); INSERT OR REPLACE INTO sale_piece VALUES (8, 'C', 7);
         PRAGMA recursive_triggers = ON; INSERT OR REPLACE INTO sale_piece VALUES (9, 'C', 7); SELECT * FROM sale_piece",
        // Upserts and RETURNING.
        "INSERT INTO sale_line VALUES (10, 2, 1, 'u', 1) ON CONFLICT (id) DO UPDATE SET label = excluded.label RETURNING id, label;
         INSERT INTO sale_piece VALUES (1, 'A', 1) ON CONFLICT DO NOTHING; INSERT INTO sale_piece VALUES (7, 'A', 1)
           ON CONFLICT (number) DO UPDATE SET total = 70 RETURNING *; DELETE FROM sale_line WHERE id = 11 RETURNING *;
         UPDATE sale_line SET quantity = quantity + 1 RETURNING id, quantity",
        // Savepoints.
        "SAVEPOINT a; INSERT INTO sale_piece VALUES (4, 'D', 0); SAVEPOINT b; DELETE FROM sale_line; ROLLBACK TO b;
         UPDATE sale_line SET label = 's' WHERE id = 10; RELEASE b; SELECT count(*) FROM sale_line; RELEASE a; RELEASE a;
         SAVEPOINT a; UPDATE sale_line SET label = 't'; ROLLBACK TO a; RELEASE a; SELECT label FROM sale_line",
        // Deferred foreign keys.
        "BEGIN; PRAGMA defer_foreign_keys = ON; INSERT INTO sale_line VALUES (70, 7, 1, 'd', 1); COMMIT;
         INSERT INTO sale_piece VALUES (7, 'G', 0); COMMIT; SELECT * FROM sale_line WHERE id = 70",
        // The host's own triggers, views and common table expressions.
        "CREATE TEMP TABLE log(line INTEGER, n INTEGER); CREATE VIEW joined AS SELECT h.number, l.label FROM sale_piece h JOIN sale_line l ON l.sale_id = h.id;
         SELECT * FROM joined ORDER BY 1, 2; WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 30)
           INSERT INTO sale_line SELECT 100 + n, 1 + n % 3, n, 'bulk', n FROM n; SELECT count(*), sum(quantity) FROM sale_line;
         DELETE FROM sale_line; SELECT changes(), last_insert_rowid()",
        // changes() and last_insert_rowid() as SQL functions around a commit.
        "BEGIN; INSERT INTO sale_line SELECT id + 100, sale_id, 1, 'c', 1 FROM sale_line; COMMIT; SELECT changes(), last_insert_rowid();
         INSERT INTO sale_piece(number) VALUES (last_insert_rowid()); SELECT number FROM sale_piece WHERE id = last_insert_rowid()",
        // Statements that are errors in themselves.
        "SELECT nothing FROM sale_line; INSERT INTO sale_line(nosuch) VALUES (1); COMMIT; ROLLBACK; BEGIN; BEGIN; ROLLBACK TO nowhere; ROLLBACK",
        // Schema changes between writes.
        "ALTER TABLE sale_line ADD COLUMN note TEXT DEFAULT 'n'; UPDATE sale_line SET note = 'm' WHERE id = 10; CREATE INDEX i ON sale_line(note);
         ALTER TABLE sale_line RENAME COLUMN label TO caption; UPDATE sale_line SET caption = 'c'; ALTER TABLE sale_line DROP COLUMN note;
         BEGIN; ALTER TABLE sale_piece ADD COLUMN more; UPDATE sale_piece SET more = 1; ROLLBACK; UPDATE sale_piece SET total = 5;
         DROP INDEX i; SELECT * FROM sale_line; UPDATE sale_line SET caption = 'v'",
        // Pragmas that harden or loosen.
        "PRAGMA trusted_schema = OFF; UPDATE sale_line SET label = 'safe'; PRAGMA query_only = ON; UPDATE sale_line SET label = 'no';
         PRAGMA query_only = OFF; PRAGMA foreign_keys = OFF; DELETE FROM sale_piece WHERE id = 1; PRAGMA foreign_key_check",
    ] {
        same_with_and_without(&format!("{SALES}{ROWS}"), GUARD_SALES, script);
    }
}

/// A limit: a trigger on the table makes SQLite check the reference after the row is in, and the row's id stays.
#[test]
fn an_insert_that_fails_on_a_foreign_key_fails_the_same() {
    let (_shop, db) = Shop::of_sales();
    db.run("PRAGMA foreign_keys = ON");
    assert_eq!(
        db.error("INSERT INTO sale_line VALUES (50, 99, 1, 'n', 1)"),
        "FOREIGN KEY constraint failed"
    );
    assert_eq!((db.connection.changes(), db.connection.last_insert_rowid()), (0, 50));
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn cascades_and_keys_that_change_run_the_same() {
    let schema = "
        CREATE TABLE sale_piece(code TEXT PRIMARY KEY, total) WITHOUT ROWID;
        CREATE TABLE sale_line(id INTEGER PRIMARY KEY, code TEXT REFERENCES sale_piece ON DELETE CASCADE ON UPDATE CASCADE, label);
        CREATE TABLE log(what);
        CREATE TRIGGER host AFTER DELETE ON sale_line BEGIN INSERT INTO log VALUES ('gone ' || OLD.id); END;
        INSERT INTO sale_piece VALUES ('a', 1), ('b', 2); INSERT INTO sale_line VALUES (1, 'a', 'x'), (2, 'a', 'y'), (3, 'b', 'z');";
    for script in [
        "UPDATE sale_piece SET code = 'c' WHERE code = 'a'; SELECT * FROM sale_line; DELETE FROM sale_piece WHERE code = 'c';
         SELECT * FROM log; INSERT INTO sale_piece VALUES ('a', 9); SELECT * FROM sale_piece",
        "BEGIN; UPDATE sale_piece SET code = code || '2'; DELETE FROM sale_piece; COMMIT; SELECT * FROM log",
        "INSERT OR REPLACE INTO sale_piece VALUES ('a', 5); SELECT * FROM sale_line; UPDATE OR REPLACE sale_piece SET code = 'a'; SELECT * FROM sale_piece",
        "UPDATE sale_line SET code = NULL; DELETE FROM sale_piece; UPDATE sale_line SET code = 'nobody'; SELECT * FROM sale_line",
    ] {
        same_with_and_without(schema, GUARD_SALES, script);
    }
}

#[test]
fn the_hosts_own_date_at_the_triggers_number_of_arguments_is_sqlites() {
    let (_shop, db) = Shop::of_sales();
    let bare = Db { connection: rusqlite::Connection::open_in_memory().expect("memory") };
    let zeros = |count: usize| ", '+0 days'".repeat(count);
    for arguments in [
        format!("'2026-11-21', '+1 day'{}", zeros(4)),
        format!("'talon', 1, 2{}", zeros(3)),
        format!("'2026-11-21', '+1 day'{}", zeros(6)),
        format!("'2026-11-21 23:30', '+1 hour'{}", zeros(14)),
        format!("'2026-01-31', '+1 month'{}", zeros(30)),
        format!("1795248000, 'unixepoch'{}", zeros(6)),
        format!("NULL{}", zeros(7)),
        format!("'talon'{}", zeros(7)),
        format!("'2026-11-21', 'no modifier'{}", zeros(6)),
        "'2026-11-21'".to_owned(),
    ] {
        let query = format!("SELECT date({arguments})");
        assert_eq!(db.try_rows(&query), bare.try_rows(&query), "{query}");
    }
    assert_eq!(db.one(MARKS), "0");
}

#[test]
fn the_update_of_a_running_query_goes_on_while_pieces_are_captured() {
    let (_shop, db) = Shop::of_sales();
    let mut seen = Vec::new();
    let mut scan = db.connection.prepare("SELECT id FROM sale_line ORDER BY id").expect("a query");
    let mut rows = scan.raw_query();
    while let Some(row) = rows.next().expect("a row") {
        let id: i64 = row.get(0).expect("an id");
        seen.push(id);
        db.run(&format!("UPDATE sale_line SET quantity = quantity + 1 WHERE id = {id}"));
    }
    drop(rows);
    assert_eq!(seen, [10, 11, 12]);
    assert_eq!((db.snapshots("1").len(), db.snapshots("2").len()), (3, 2));
    assert_eq!(db.findings(), [""; 0]);
}

#[test]
fn a_host_function_that_calls_talon_while_it_works_gets_an_error_with_a_text() {
    use rusqlite::functions::FunctionFlags;
    let db = Db::memory();
    let said = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = std::sync::Arc::clone(&said);
    db.connection
        .create_scalar_function("says", 0, FunctionFlags::SQLITE_UTF8, move |context| {
            // SAFETY: the connection is used while the function runs, and not closed.
            let connection = unsafe { context.get_connection()? };
            let answer = connection.query_row("SELECT talon_station('till 2')", [], |_| Ok(()));
            heard.lock().unwrap().extend(answer.err().map(|error| error.to_string()));
            Ok(1)
        })
        .unwrap();
    db.run(SALES);
    db.run("PRAGMA trusted_schema = ON; SELECT talon_station('till 1')");
    db.run(
        r#"SELECT talon_guard('sale', '{"header": {"table": "sale_piece"},
        "lines": {"table": "sale_line", "where": "says() = 1"}}')"#,
    );
    db.run(
        "INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1)",
    );
    let said = said.lock().unwrap();
    assert!(!said.is_empty());
    assert!(
        said.iter()
            .all(|text| text == "talon_station: Talon is at work on this connection already"),
        "{said:?}"
    );
    assert_eq!(db.one("SELECT DISTINCT station FROM talon_snapshots"), "till 1");
}

#[test]
fn a_host_trigger_that_keeps_snapshots_out_is_said_and_corrupts_nothing() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "CREATE TRIGGER away BEFORE INSERT ON talon_snapshot BEGIN SELECT RAISE(IGNORE); END;
         UPDATE sale_line SET label = 'v2' WHERE id = 10",
    );
    assert_eq!(db.one("SELECT label FROM sale_line WHERE id = 10"), "v2");
    let found =
        db.rows("SELECT piece, finding, detail FROM talon_audit WHERE finding = 'unguarded'");
    assert_eq!(found.len(), 1, "{found:?}");
    let text = "1|unguarded|not imaged at commit: a trigger on talon_snapshot keeps rows out of it";
    assert!(found[0].starts_with(text), "{found:?}");
    db.run(
        "DROP TRIGGER away; SELECT talon_absorb(); UPDATE sale_line SET label = 'v3' WHERE id = 10",
    );
    db.run("DELETE FROM sale_line; INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost");
    assert_eq!(db.one("SELECT group_concat(label) FROM sale_line"), "v3,y,z");
}

#[test]
fn changes_after_a_commit_are_counted_up_to_a_hundred_thousand() {
    let (_shop, db) = Shop::of_sales();
    db.run("CREATE TABLE other(a)");
    for (rows, counted) in [(99_999, 99_999), (100_001, 100_000)] {
        db.run(&format!(
            "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {rows}) INSERT INTO other SELECT n FROM n"
        ));
        db.run("BEGIN; UPDATE sale_line SET quantity = quantity + 1; DELETE FROM other");
        assert_eq!(db.connection.changes(), rows);
        db.run("COMMIT");
        assert_eq!(db.connection.changes(), counted);
    }
}

/// What a call does, and whether it does it, is not to be seen in what the host asks of its own last statement.
#[test]
fn no_call_of_talon_shows_in_what_the_host_asks_of_its_last_statement() {
    const CHECK: &str = "'{\"kind\": \"sale\", \"text\": \"t\", \"query\": \"SELECT 1 WHERE 0\"}'";
    const DERIVED: &str = "'{\"table\": \"sale_piece\", \"column\": \"total\", \"value\": \"7\"}'";
    const IMAGE: &str = "'{\"header\": {\"number\": \"N\", \"id\": 50}, \"lines\": [{\"id\": 500, \"position\": 1}]}'";
    let calls = [
        "SELECT talon_guard('sale', 'sale_piece', 'sale_line')".to_owned(),
        "SELECT talon_guard('sale', 'sale_piece', 'nothing')".to_owned(),
        "SELECT talon_guard('other', 'other_piece', 'other_line')".to_owned(),
        "SELECT talon_baseline('other')".to_owned(),
        "SELECT talon_baseline('nothing')".to_owned(),
        "SELECT talon_unguard('other')".to_owned(),
        "SELECT talon_unguard('nothing')".to_owned(),
        "SELECT talon_station('till 1', 'anna')".to_owned(),
        format!("SELECT talon_check('c', {CHECK})"),
        format!("SELECT talon_check('c', replace({CHECK}, 'sale', 'nothing'))"),
        "SELECT talon_check('c', NULL)".to_owned(),
        "SELECT talon_check('c', NULL)".to_owned(),
        format!("SELECT talon_derive('d', {DERIVED})"),
        "SELECT talon_derive('d', '{}')".to_owned(),
        "SELECT talon_derive('nothing', NULL)".to_owned(),
        "SELECT talon_repair('nothing')".to_owned(),
        "SELECT talon_repair('d')".to_owned(),
        "SELECT talon_derive('d', NULL)".to_owned(),
        format!("SELECT talon_stage('sale', 50, {IMAGE})"),
        "SELECT talon_stage('sale', 50, '{}')".to_owned(),
        format!("SELECT talon_stage('nothing', 50, {IMAGE})"),
        "SELECT talon_dismiss('sale', 50)".to_owned(),
        "SELECT talon_dismiss('sale', 1)".to_owned(),
        "SELECT talon_dismiss('nothing', 1)".to_owned(),
        "SELECT talon_edit_begin('sale', 1)".to_owned(),
        "SELECT talon_edit_begin('nothing', 1)".to_owned(),
        "SELECT talon_edit_end('nothing', 1)".to_owned(),
        "SELECT talon_edit_end('sale', 1)".to_owned(),
        "SELECT talon_edit_end('sale', 1)".to_owned(),
        "SELECT talon_edit_release('nothing', 1)".to_owned(),
        "SELECT talon_absorb()".to_owned(),
        "SELECT talon_absorb('nowhere')".to_owned(),
        "SELECT * FROM talon_lost".to_owned(),
        "SELECT * FROM talon_audit".to_owned(),
        "SELECT * FROM talon_guards".to_owned(),
        "SELECT talon_restore_all()".to_owned(),
        "SELECT talon_restore_all('nothing')".to_owned(),
        "SELECT talon_daily()".to_owned(),
        "SELECT talon_daily()".to_owned(),
    ];
    for around in [["", ""], ["BEGIN", "COMMIT"], ["SAVEPOINT a", "RELEASE a"]] {
        let (shop, db) = Shop::of_sales();
        db.run(
            "CREATE TABLE other_piece(id INTEGER PRIMARY KEY);
             CREATE TABLE other_line(id INTEGER PRIMARY KEY, piece REFERENCES other_piece);
             INSERT INTO other_piece VALUES (1)",
        );
        for call in &calls {
            // Something to absorb, and something to restore.
            shop.bare().run("UPDATE sale_piece SET total = total + 1 WHERE id = 2; DELETE FROM sale_line WHERE sale_id = 1");
            db.run(around[0]);
            db.run("UPDATE sale_line SET quantity = 2; INSERT INTO other_piece VALUES (77), (78); DELETE FROM other_piece WHERE id > 76");
            let asked = (db.connection.changes(), db.connection.last_insert_rowid());
            assert_eq!(asked, (2, 78));
            let answer = db.try_rows(call);
            let asked = (db.connection.changes(), db.connection.last_insert_rowid());
            assert_eq!(asked, (2, 78), "{call} {around:?} {answer:?}");
            db.run(around[1]);
        }
    }
}
