//! Flows are applied whole document by whole document: what one site has, the other gets, and applying again does nothing.

use talon_tests::Db;
use talon_tests::flows::{lines, sealed};
use talon_tests::tills::{Tills, receive};

/// Central has two articles and a customer.
fn stocked() -> Tills {
    let sites = Tills::new();
    sites.at('A').run(
        "INSERT INTO article VALUES (1, 'c', 'coffee', 2.5), (2, 'f', 'filter', 1.0);
         INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane', '11')",
    );
    sites.send('A', 'B');
    sites.send('A', 'C');
    sites
}

const SALES: &str = "SELECT s.id, s.number, s.customer_id, l.id, l.article_id, l.quantity, l.upstream_line_id FROM sale AS s
    LEFT JOIN sale_line AS l ON l.sale_id = s.id ORDER BY s.id, l.id";

#[test]
fn what_one_site_has_made_the_other_gets() {
    let sites = stocked();
    let b = sites.at('B');
    assert_eq!(b.rows("SELECT * FROM article"), ["1|c|coffee|2.5", "2|f|filter|1.0"]);
    assert_eq!(b.rows("SELECT * FROM customer"), ["1|Ada|Mill Lane|11"]);
    b.run(
        "BEGIN; INSERT INTO sale VALUES (1, 'B1', 1, 7.5);
         INSERT INTO sale_line VALUES (1, 1, 1, 3, 2.5, NULL); COMMIT",
    );
    sites.send('B', 'A');
    let a = sites.at('A');
    assert_eq!(a.rows(SALES), ["1|B1|1|1|1|3.0|NULL"]);
    assert_eq!(
        a.rows("SELECT reason, version, lines FROM talon_snapshots WHERE kind = 'sale'"),
        ["sync|1|1"]
    );
    assert_eq!(a.findings(), [""; 0]);
    assert_eq!(a.rows("SELECT * FROM talon_quarantine"), [""; 0]);
    b.run(
        "UPDATE sale_line SET quantity = 4 WHERE id = 1; UPDATE sale SET total = 10 WHERE id = 1",
    );
    b.run("INSERT INTO sale_line VALUES (2, 1, 2, 1, 1.0, 1)");
    sites.send('B', 'A');
    assert_eq!(a.rows(SALES), ["1|B1|1|1|1|4.0|NULL", "1|B1|1|2|2|1.0|1"]);
    b.run("BEGIN; DELETE FROM sale_line; DELETE FROM sale; COMMIT");
    sites.send('B', 'A');
    assert_eq!(a.rows(SALES), [""; 0]);
    assert_eq!(a.rows("SELECT * FROM talon_conflicts"), [""; 0]);
    assert_eq!(a.rows("SELECT * FROM talon_quarantine"), [""; 0]);
}

/// So many sales of BSOC's, in one flow for central.
fn many(sites: &Tills, count: usize) -> Vec<Vec<u8>> {
    sites.at('B').run(&format!(
        "BEGIN; WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {count})
           INSERT INTO sale SELECT n, 'B' || n, NULL, n FROM n;
         INSERT INTO sale_line(sale_id, quantity) SELECT id, 1 FROM sale; COMMIT"
    ));
    sites.emit('B', 'A', "changes", "none")
}

#[test]
fn a_flow_that_was_applied_does_nothing_again() {
    let sites = stocked();
    let chunks = many(&sites, 3);
    let flow = sites.receive('A', &chunks);
    let a = sites.at('A');
    let apply = format!("SELECT talon_apply({flow})");
    assert_eq!(a.one(&apply), r#"{"documents":3,"applied":3,"set_aside":0}"#);
    let all = ["sale", "sale_line", "talon_piece", "talon_change", "talon_snapshot", "talon_flow"];
    let before = a.contents(&all);
    assert_eq!(a.one(&apply), r#"{"documents":0,"applied":0,"set_aside":0}"#);
    sites.receive('A', &chunks);
    assert_eq!(a.one("SELECT talon_process()"), r#"{"applied":0,"freed":0,"answered":0}"#);
    assert_eq!(a.contents(&all), before);
    assert_eq!(
        a.rows("SELECT runs, ended IS NOT NULL FROM talon_flows WHERE from_site = 'BSOC'"),
        ["1|1"]
    );
}

#[test]
fn a_flow_that_was_cut_off_runs_again_and_goes_on_where_it_was() {
    let sites = stocked();
    let chunks = many(&sites, 1200);
    let flow = sites.receive('A', &chunks);
    let mut a = sites.shop('A').open();
    // The host's own handler stops it amidst.
    let steps = std::cell::Cell::new(0);
    a.connection
        .progress_handler(
            2000,
            Some(move || {
                steps.set(steps.get() + 1);
                steps.get() > 60
            }),
        )
        .expect("a handler");
    let error = a.error(&format!("SELECT talon_apply({flow})"));
    assert_eq!(error, "talon_apply: interrupted");
    a.connection.progress_handler(0, None::<fn() -> bool>).expect("none");
    assert_eq!(a.one("PRAGMA wal_autocheckpoint"), "1000");
    let done: usize = a.one("SELECT count(*) FROM sale").parse().expect("a number");
    assert!(done > 0 && done < 1200 && done.is_multiple_of(500), "{done}");
    assert_eq!(
        a.one(&format!("SELECT progress FROM talon_flow WHERE id = {flow}")),
        done.to_string()
    );
    assert_eq!(
        a.one(&format!("SELECT talon_apply({flow})")),
        format!(r#"{{"documents":{0},"applied":{0},"set_aside":0}}"#, 1200 - done)
    );
    assert_eq!(a.one("SELECT count(*) FROM sale"), "1200");
    assert_eq!(a.one("SELECT runs FROM talon_flows WHERE from_site = 'BSOC'"), "2");
    assert_eq!(a.rows("SELECT * FROM talon_conflicts"), [""; 0]);
    assert_eq!(a.findings(), [""; 0]);
}

#[test]
fn a_document_that_cannot_be_applied_keeps_none_of_its_batch_back_nor_of_those_around_it() {
    let sites = stocked();
    let chunks = many(&sites, 1700);
    let flow = sites.receive('A', &chunks);
    let a = sites.at('A');
    a.run("CREATE UNIQUE INDEX number_once ON sale(number); INSERT INTO sale VALUES (9000, 'B777', NULL, 0)");
    assert_eq!(
        a.one(&format!("SELECT talon_apply({flow})")),
        r#"{"documents":1700,"applied":1699,"set_aside":1}"#
    );
    assert_eq!(a.one("SELECT count(*), sum(id = 777) FROM sale"), "1700|0");
    assert_eq!(a.one("SELECT count(*) FROM sale_line"), "1699");
    assert_eq!(
        a.rows("SELECT origin_key, tries, reason FROM talon_quarantine"),
        ["777|2|sale: UNIQUE constraint failed: sale.number"]
    );
    assert_eq!(a.one("SELECT runs FROM talon_flows WHERE from_site = 'BSOC'"), "1");
    assert_eq!(a.findings(), [""; 0]);
    a.run("UPDATE sale SET number = 'A9000' WHERE id = 9000; SELECT talon_process()");
    assert_eq!(a.one("SELECT count(*), sum(id = 777) FROM sale"), "1701|1");
}

#[test]
fn the_log_is_copied_more_rarely_while_a_flow_is_applied_and_at_its_end_as_the_host_has_it() {
    for (pages, in_file) in [(30, "1200"), (0, "0")] {
        let sites = stocked();
        let chunks = many(&sites, 1200);
        let flow = sites.receive('A', &chunks);
        let (shop, a) = (sites.shop('A'), sites.at('A'));
        a.one("PRAGMA journal_mode = WAL");
        a.one(&format!("PRAGMA wal_autocheckpoint = {pages}"));
        a.one("PRAGMA wal_checkpoint(TRUNCATE)");
        a.one(&format!("SELECT talon_apply({flow})"));
        assert_eq!(a.one("PRAGMA wal_autocheckpoint"), pages.to_string());
        let without_log = shop.file("without_log.db");
        std::fs::copy(shop.file("shop.db"), &without_log).expect("a copy");
        assert_eq!(Db::open(&without_log).one("SELECT count(*) FROM sale"), in_file);
        let log = std::fs::metadata(shop.file("shop.db-wal")).expect("a log").len();
        let grown = log / (4096 + 24);
        assert!(grown > 3 * pages, "{grown}");
    }
}

#[test]
fn what_another_connection_does_to_the_tables_between_two_batches_is_seen() {
    let sites = stocked();
    let chunks = many(&sites, 1200);
    let a = sites.at('A');
    // One of the sales gets another number here, and is read back therefore.
    a.run("PRAGMA journal_mode = WAL; INSERT INTO sale(id) VALUES (700), (5000)");
    let flow = sites.receive('A', &chunks);
    let (other, mut applying) = (sites.shop('A').open(), sites.shop('A').open());
    let mut commits = 0;
    let alter = move |_: &mut rusqlite::hooks::Wal, _| {
        commits += 1;
        if commits == 2 {
            other.run("ALTER TABLE sale ADD COLUMN note TEXT DEFAULT 'none'");
        }
        Ok(())
    };
    applying.connection.wal_hook(Some(alter)).expect("a hook");
    assert_eq!(
        applying.one(&format!("SELECT talon_apply({flow})")),
        r#"{"documents":1200,"applied":1200,"set_aside":0}"#
    );
    let of_columns =
        "SELECT json_array_length(s.payload, '$.header') || ' of ' || json_array_length(c.columns, '$.header'), count(*)
         FROM talon_snapshot AS s JOIN talon_shape AS c ON c.id = s.shape
         WHERE s.kind = (SELECT id FROM talon_kind WHERE kind = 'sale') GROUP BY 1";
    assert_eq!(a.rows(of_columns), ["4 of 4|502", "5 of 5|700"]);
    assert_eq!(a.one("SELECT count(*) FROM sale"), "1202");
    assert_eq!(a.findings(), [""; 0]);
}

#[test]
fn what_is_changed_without_talon_between_two_batches_is_not_lost() {
    let sites = Tills::new();
    let (a, b) = (sites.at('A'), sites.at('B'));
    a.run(
        "PRAGMA journal_mode = WAL;
         WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 1200)
           INSERT INTO customer SELECT n, 'c' || n, NULL, '1' FROM n",
    );
    sites.settle(1);
    b.run("UPDATE customer SET phone = '2'");
    let flow = sites.receive('A', &sites.emit('B', 'A', "changes", "none"));
    let (other, mut applying) =
        (Db::open(&sites.shop('A').file("shop.db")), sites.shop('A').open());
    let mut commits = 0;
    let change = move |_: &mut rusqlite::hooks::Wal, _| {
        commits += 1;
        if commits == 2 {
            other.run("UPDATE customer SET phone = '3' WHERE id = 900");
        }
        Ok(())
    };
    applying.connection.wal_hook(Some(change)).expect("a hook");
    applying.run(&format!("SELECT talon_clock('2026-11-20T09:00:00+01:00'), talon_apply({flow})"));
    assert_eq!(a.rows("SELECT phone, count(*) FROM customer GROUP BY 1"), ["2|1199", "3|1"]);
    let lost = "SELECT kind, piece, field, lost_value, won_value FROM talon_conflicts";
    assert_eq!(a.rows(lost), ["customer|900|phone|2|3"]);
    sites.settle(1);
    sites.all_show("SELECT phone FROM customer WHERE id = 900", &["3"]);
}

#[test]
fn a_number_that_is_given_again_between_two_batches_is_not_taken_for_what_it_was() {
    let sites = stocked();
    let (a, b) = (sites.at('A'), sites.at('B'));
    a.run("PRAGMA journal_mode = WAL");
    b.run("INSERT INTO customer VALUES (70, 'Ada', NULL, NULL)");
    sites.settle(1);
    b.run(
        "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 1200)
         INSERT INTO sale SELECT n, 'B' || n, 70, n FROM n",
    );
    let flow = sites.receive('A', &sites.emit('B', 'A', "changes", "none"));
    let (other, mut applying) = (sites.shop('A').open(), sites.shop('A').open());
    let mut commits = 0;
    let change = move |_: &mut rusqlite::hooks::Wal, _| {
        commits += 1;
        if commits == 2 {
            other.run(
                "UPDATE sale SET customer_id = NULL; DELETE FROM customer WHERE id = 70;
                 INSERT INTO customer VALUES (70, 'Zoe', NULL, NULL)",
            );
        }
        Ok(())
    };
    applying.connection.wal_hook(Some(change)).expect("a hook");
    assert_eq!(
        applying.one(&format!("SELECT talon_apply({flow})")),
        r#"{"documents":1200,"applied":500,"set_aside":700}"#
    );
    assert_eq!(a.rows("SELECT customer_id, count(*) FROM sale GROUP BY 1"), ["NULL|500"]);
}

#[test]
fn three_connections_that_apply_the_same_flows_at_once_end_as_one_would() {
    let sites = stocked();
    let chunks = many(&sites, 2200);
    sites.receive('A', &chunks);
    sites.at('C').run("INSERT INTO customer VALUES (500, 'from the till', NULL, NULL)");
    let other = sites.emit('C', 'A', "changes", "none");
    sites.receive('A', &other);
    let shop = sites.shop('A');
    let process = || {
        let db = shop.open();
        db.connection.busy_timeout(std::time::Duration::from_secs(60)).expect("a timeout");
        db.one("SELECT talon_process()");
    };
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(process);
        }
    });
    let a = sites.at('A');
    assert_eq!(a.one("SELECT count(*) FROM sale"), "2200");
    assert_eq!(a.one("SELECT count(*) FROM sale_line"), "2200");
    assert_eq!(
        a.rows("SELECT DISTINCT ended IS NOT NULL, refused, error FROM talon_flows WHERE to_site = 'ASOC'"),
        ["1|NULL|NULL"]
    );
    assert_eq!(a.rows("SELECT * FROM talon_conflicts"), [""; 0]);
    assert_eq!(a.rows("SELECT * FROM talon_quarantine"), [""; 0]);
    assert_eq!(a.findings(), [""; 0]);
}

#[test]
fn the_host_does_not_notice() {
    let sites = stocked();
    let chunks = many(&sites, 3);
    let flow = sites.receive('A', &chunks);
    let a = sites.at('A');
    a.run(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, text TEXT);
         CREATE TRIGGER noted AFTER INSERT ON sale BEGIN INSERT INTO log(text) VALUES ('a sale'); END;
         INSERT INTO log VALUES (77, 'a'), (78, 'b')",
    );
    let asked = "SELECT last_insert_rowid(), changes()";
    for foreign_keys in ["0", "1"] {
        a.run(&format!("PRAGMA foreign_keys = {foreign_keys}"));
        assert_eq!(a.one(asked), "78|2");
        a.run(&format!("SELECT talon_apply({flow})"));
        a.run("SELECT talon_process()");
        assert_eq!(a.one(asked), "78|2");
        assert_eq!(a.one("PRAGMA foreign_keys"), foreign_keys);
        assert_eq!(a.one("PRAGMA defer_foreign_keys"), "0");
        assert!(a.connection.is_autocommit());
    }
    assert_eq!(a.rows("SELECT id FROM log"), ["77", "78"]);
    // Its triggers are its own again.
    a.run("INSERT INTO sale VALUES (99, 'A1', NULL, 1)");
    assert_eq!(a.rows("SELECT id FROM log"), ["77", "78", "79"]);
}

#[test]
fn inside_a_transaction_of_the_host_s_a_flow_is_undone_with_it() {
    let sites = stocked();
    let chunks = many(&sites, 3);
    let flow = sites.receive('A', &chunks);
    let a = sites.at('A');
    let all = ["sale", "sale_line", "talon_piece", "talon_change", "talon_snapshot", "talon_flow"];
    let before = a.contents(&all);
    a.run(&format!("BEGIN; SELECT talon_apply({flow})"));
    assert_eq!(a.one("SELECT count(*) FROM sale"), "3");
    a.run("ROLLBACK");
    assert_eq!(a.contents(&all), before);
    a.run(&format!("BEGIN; SELECT talon_apply({flow}); COMMIT"));
    assert_eq!(a.one("SELECT count(*) FROM sale"), "3");
    a.run("BEGIN; UPDATE sale SET total = 0 WHERE id = 1");
    assert_eq!(
        a.error(&format!("SELECT talon_apply({flow})")),
        "talon_apply: the open transaction has changed pieces: COMMIT it first"
    );
    a.run("ROLLBACK");
}

#[test]
fn what_cannot_be_applied_is_said_by_name() {
    let sites = stocked();
    let a = sites.at('A');
    assert_eq!(a.error("SELECT talon_apply(99)"), "talon_apply: there is no flow 99");
    assert_eq!(
        a.error("SELECT talon_apply('x')"),
        "talon_apply: x is no flow: give its id in talon_flows"
    );
    assert_eq!(
        a.error("SELECT talon_apply(1)"),
        "talon_apply: flow 1 was written here, for another site"
    );
    let chunks = many(&sites, 3);
    let flow = sites.receive('A', &chunks);
    a.run(&format!("SELECT talon_refuse({flow}, 'wrong day')"));
    assert_eq!(
        a.error(&format!("SELECT talon_apply({flow})")),
        format!("talon_apply: flow {flow} was refused")
    );
}

#[test]
fn a_flow_that_cannot_be_read_is_refused_and_the_others_do_not_wait_for_it() {
    let sites = stocked();
    let a = sites.at('A');
    for till in ['B', 'C'] {
        sites.at(till).run("INSERT INTO customer VALUES (500, 'from the till', NULL, NULL)");
        let flow = sites.emit(till, 'A', "changes", "none");
        sites.receive('A', &flow);
    }
    let damaged = "SELECT id FROM talon_flows WHERE from_site = 'BSOC' ORDER BY id DESC LIMIT 1";
    let damaged = a.one(damaged);
    a.run(&format!("UPDATE talon_chunk SET bytes = zeroblob(99) WHERE flow = {damaged}"));
    assert_eq!(
        a.error(&format!("SELECT talon_apply({damaged})")),
        "talon_apply: these bytes are no flow: no chunk begins where one is wanted"
    );
    assert_eq!(a.one("SELECT talon_process()"), r#"{"applied":1,"freed":0,"answered":0}"#);
    let named = "SELECT count(*) FROM customer WHERE name = 'from the till'";
    assert_eq!(a.one(named), "1");
    assert_eq!(
        a.rows(&format!("SELECT refused IS NOT NULL, error FROM talon_flows WHERE id = {damaged}")),
        ["1|these bytes are no flow: no chunk begins where one is wanted"]
    );
    // What it held comes with the next one.
    sites.exchange('B', 'A', "changes", "none");
    assert_eq!(a.one(named), "2");
}

#[test]
fn answers_are_written_at_once_or_at_the_common_hour() {
    let sites = stocked();
    let a = sites.at('A');
    assert_eq!(a.one("SELECT talon_return_at('23:00')"), "23:00");
    assert_eq!(
        a.error("SELECT talon_return_at('25:00')"),
        "talon_return_at: \"25:00\" is no time of day: '23:00'"
    );
    let answers = "SELECT from_site, to_site, mode, link FROM talon_flows WHERE mode = 'return'";
    sites.clock("2026-11-20T21:00:00+01:00");
    sites.exchange('B', 'A', "changes", "later");
    sites.clock("2026-11-20T22:59:00+01:00");
    a.run("SELECT talon_process()");
    assert_eq!(a.rows(answers), [""; 0]);
    sites.clock("2026-11-20T23:00:00+01:00");
    assert_eq!(a.one("SELECT talon_process()"), r#"{"applied":0,"freed":0,"answered":1}"#);
    let asked = a.one("SELECT id FROM talon_flows WHERE answer = 'later'");
    assert_eq!(a.rows(answers), [format!("ASOC|BSOC|return|{asked}")]);
    sites.exchange('C', 'A', "changes", "now");
    assert_eq!(a.rows(&format!("{answers} AND to_site = 'CSOC'")).len(), 1);
    assert_eq!(a.one("SELECT talon_process()"), r#"{"applied":0,"freed":0,"answered":0}"#);
    assert_eq!(a.one("SELECT talon_return_at(NULL)"), "NULL");
}

#[test]
fn a_piece_says_why_it_is_what_it_is() {
    let sites = stocked();
    sites.at('B').run(
        "BEGIN; INSERT INTO sale VALUES (1, 'B1', 1, 7.5); INSERT INTO sale_line VALUES (1, 1, 1, 3, 2.5, NULL); COMMIT",
    );
    sites.send('B', 'A');
    sites.at('A').run("UPDATE sale SET total = 8 WHERE id = 1");
    sites.send('A', 'B');
    let why = "SELECT version, site, via, flow, sent_in, owner, rule, origin, origin_key FROM talon_why('sale', 1)";
    let rule = "its origin or central|goes both ways; the later change wins; a remote no longer changes what central has|BSOC|1";
    assert_eq!(
        sites.at('A').rows(why),
        [format!("2|ASOC|NULL|NULL|4 to BSOC|{rule}"), format!("1|BSOC|BSOC|3|NULL|{rule}")]
    );
    assert_eq!(sites.at('A').rows("SELECT * FROM talon_why('sale', 9)"), [""; 0]);
    assert_eq!(
        sites.at('A').error("SELECT * FROM talon_why('sale')"),
        "talon_why: name a kind and a piece: talon_why(kind, piece)"
    );
}

#[test]
fn a_flow_is_applied_in_the_transaction_that_has_taken_it_in() {
    let sites = stocked();
    let chunks = many(&sites, 3);
    let a = sites.at('A');
    a.run("BEGIN IMMEDIATE");
    let flow = sites.receive('A', &chunks);
    let read = a.connection.prepare("SELECT id FROM customer UNION ALL SELECT 1");
    let mut read = read.expect("a statement");
    let mut rows = read.query([]).expect("a scan");
    rows.next().expect("a row");
    assert_eq!(
        a.error(&format!("SELECT talon_apply({flow})")),
        "talon_apply: a query is reading: finish it, and call SELECT talon_apply(flow) without FROM"
    );
    drop(rows);
    a.run(&format!("SELECT talon_apply({flow}); COMMIT"));
    assert_eq!(a.one("SELECT count(*) FROM sale"), "3");
}

#[test]
fn a_flow_that_says_what_cannot_be_is_not_believed() {
    let sites = stocked();
    let (a, b) = (sites.at('A'), sites.at('B'));
    b.run("INSERT INTO sale VALUES (7, 'B7', NULL, 1); INSERT INTO sale_line VALUES (7, 7, NULL, 1, 1, NULL)");
    let sound = lines(&sites.emit('B', 'A', "changes", "none").concat());
    let stamp = b.one("SELECT stamp FROM talon_change ORDER BY seq DESC LIMIT 1");
    let at = |stamp: &str| format!("\"stamp\":{stamp},\"site\"");
    let refusal = "SELECT error FROM talon_flows WHERE from_site = 'BSOC' ORDER BY id DESC LIMIT 1";
    let aside = "SELECT reason FROM talon_quarantine";
    let before = a.contents(&["sale", "sale_line", "talon_flow", "talon_chunk"]);
    for (said, instead, asked, answer) in [
        (
            &*at(&stamp),
            &*at("9223372036854775807"),
            refusal,
            "a line cannot be read: 9223372036854775807 is no stamp, in",
        ),
        (&at(&stamp), &at("-1"), refusal, "a line cannot be read: -1 is no stamp, in"),
        (
            "\"version\":2",
            "\"version\":9223372036854775807",
            refusal,
            "a line cannot be read: 9223372036854775807 is no version of a document, in",
        ),
        (
            "\"documents\":1",
            "\"documents\":9",
            refusal,
            "it is said to have 9 documents, and has 1",
        ),
        ("\"lines\":1", "\"lines\":9", aside, "it is said to have 9 lines, and its image has 1"),
        ("{\"kind\":\"sale\"", "{\"kind\":\"customer\"", aside, "its shape is one of sale"),
        ("\"number\",", "\"id\",", aside, "its rows of sale have id twice"),
    ] {
        let told: Vec<String> = sound.iter().map(|line| line.replace(said, instead)).collect();
        assert_ne!(told, sound, "{said}");
        a.run("SAVEPOINT before_it");
        receive(a, &sealed(&told)).unwrap();
        a.run("SELECT talon_process()");
        let answered = a.one(asked);
        assert!(answered.starts_with(answer), "{answered}");
        assert_eq!(a.one("SELECT count(*) FROM sale WHERE number = 'B7'"), "0", "{answer}");
        a.run("ROLLBACK TO before_it; RELEASE before_it");
    }
    assert_eq!(a.contents(&["sale", "sale_line", "talon_flow", "talon_chunk"]), before);
    for (said, error) in [
        ("\"mode\":\"changes\"", "\"some\" is no mode: 'changes', 'full' or 'return'"),
        ("\"answer\":\"none\"", "\"some\" is no answer to ask for: 'now', 'later' or 'none'"),
    ] {
        let (name, _) = said.split_once(':').unwrap();
        let told = sound.iter().map(|line| line.replace(said, &format!("{name}:\"some\"")));
        let told: Vec<String> = told.collect();
        assert_eq!(receive(a, &sealed(&told)), Err(format!("talon_receive: {error}")));
    }
    receive(a, &sealed(&sound)).unwrap();
    a.run("SELECT talon_process()");
    assert_eq!(a.one("SELECT count(*) FROM sale WHERE number = 'B7'"), "1");
}
