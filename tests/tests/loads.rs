//! A till loads: all that it is to have, or what is newer than what it has. What it had and is not to have goes; what it did
//! not send yet stays.

use talon_tests::loads::*;
use talon_tests::tills::*;
use talon_tests::*;

#[test]
fn a_new_till_gets_everything_that_its_filters_allow() {
    let sites = stocked();
    let (_shop, d) = new_till(&schema(), &declare());
    d.run("PRAGMA foreign_keys = ON");
    sites.at('A').run("SELECT talon_site('DSOC', 'remote')");
    let done = loaded(&sites, &d, "'dora'", "full");
    assert_eq!(done, r#"{"documents":7,"applied":7,"set_aside":0,"removed":0}"#);
    assert_eq!(d.rows("SELECT code, role FROM talon_sites WHERE this"), ["DSOC|remote"]);
    assert_eq!(d.rows("SELECT * FROM till"), ["DSOC|Station"]);
    assert_eq!(d.rows(ALL_SALES), sites.at('A').rows(ALL_SALES));
    assert_eq!(d.one("SELECT count(*) FROM customer"), "2");
    is_sound(&d);
    // It takes part from here on.
    d.run("INSERT INTO customer(name) VALUES ('Eve')");
    let flow = d.flow("ASOC", "changes", "none");
    assert_eq!(flows::documents(&flow), ["customer 3"]);
}

#[test]
fn an_old_till_loses_what_it_is_not_to_have_and_keeps_what_it_did_not_send() {
    let sites = stocked();
    let b = sites.at('B');
    assert_eq!(b.rows("SELECT code FROM till"), ["BSOC"]);
    lose_customers(sites.at('A'), "id = 2");
    b.run(
        "UPDATE customer SET phone = '99' WHERE id = 1; INSERT INTO customer VALUES (3, 'Eve', NULL, NULL);
         BEGIN; INSERT INTO sale VALUES (9, 'B9', 3, 1.0); INSERT INTO sale_line VALUES (9, 9, 1, 1, 1.0, NULL); COMMIT",
    );
    let answer = asked(&sites, b, "'anna'", "full");
    // What is made while the load is under way stays as well.
    b.run("INSERT INTO customer VALUES (4, 'Late', NULL, NULL); UPDATE customer SET name = 'Ada L' WHERE id = 1");
    assert!(taken(b, &answer).ends_with(r#""set_aside":0,"removed":1}"#));
    assert_eq!(
        b.rows("SELECT name, phone FROM customer ORDER BY name"),
        ["Ada L|99", "Eve|NULL", "Late|NULL"]
    );
    assert_eq!(b.rows("SELECT number FROM sale ORDER BY number"), ["B1", "B9", "C1"]);
    // Its snapshot is kept, and nobody is told of a deletion.
    let kept = "SELECT reason FROM talon_snapshots WHERE kind = 'customer' AND +piece = 2";
    assert_eq!(b.rows(kept), ["sync"]);
    is_sound(b);
    assert_eq!(b.sends("ASOC"), ["customer 4", "customer 1"]);
}

#[test]
fn the_other_tills_rows_go_and_so_does_what_a_filter_no_longer_allows() {
    let sites = Tills::with(&schema(), DECLARE, 1);
    let (a, b) = (sites.at('A'), sites.at('B'));
    let all = "INSERT INTO till VALUES ('BSOC', 'Mill'), ('CSOC', 'Bank'), ('DSOC', 'Station')";
    a.run(all);
    // The till has the table from before, with all its rows.
    b.run(all);
    b.run("UPDATE till SET name = 'Old mill' WHERE code = 'BSOC'");
    for db in [a, b] {
        db.run(DECLARE_TILLS);
    }
    let done = loaded(&sites, b, "'anna'", "full");
    assert_eq!(done, r#"{"documents":1,"applied":1,"set_aside":0,"removed":2}"#);
    assert_eq!(b.rows("SELECT * FROM till"), ["BSOC|Mill"]);
    // What was there is kept: of its own row as what lost.
    assert_eq!(
        b.rows("SELECT piece, count(*) FROM talon_snapshots WHERE kind = 'till' GROUP BY piece"),
        ["BSOC|2", "CSOC|1", "DSOC|1"]
    );
    assert_eq!(b.rows("SELECT kind, piece FROM talon_conflicts"), ["till|BSOC"]);
    assert_eq!(b.sends("ASOC"), NONE);
    assert_eq!(a.rows("SELECT code FROM till"), ["BSOC", "CSOC", "DSOC"]);
}

#[test]
fn a_copy_of_central_s_tables_is_taken_for_what_it_is() {
    let sites = stocked();
    let a = sites.at('A');
    let (_shop, d) = new_till(&schema(), "SELECT 1");
    a.run("SELECT talon_site('DSOC', 'remote')");
    for table in ["till", "customer", "article", "sale", "sale_line"] {
        for row in a.rows(&format!("SELECT * FROM {table}")) {
            let values: Vec<String> = row
                .split('|')
                .map(|value| if value == "NULL" { value.into() } else { format!("'{value}'") })
                .collect();
            d.run(&format!("INSERT INTO {table} VALUES ({})", values.join(", ")));
        }
    }
    // Its own work before, and an article that is out of date.
    d.run("INSERT INTO customer VALUES (5, 'Zoe', NULL, NULL); UPDATE article SET price = 9 WHERE id = 2");
    d.run(&declare());
    let request = d.one("SELECT talon_load('dora', 'full')");
    let request = chunks(&d, &request);
    assert_eq!(flows::documents(&request.concat()), NONE);
    // Nothing else that is sent meanwhile makes a second one of them either.
    assert_eq!(d.sends("ASOC"), NONE);
    let done = loaded(&sites, &d, "'dora'", "full");
    assert!(done.ends_with(r#""set_aside":0,"removed":2}"#), "{done}");
    assert_eq!(d.rows("SELECT code FROM till"), ["DSOC"]);
    assert_eq!(d.rows("SELECT id, price FROM article"), ["1|2.5", "2|1.0"]);
    assert_eq!(d.rows("SELECT kind, piece FROM talon_conflicts"), ["article|2"]);
    assert_eq!(d.rows("SELECT id, name FROM customer"), ["1|Ada", "2|Bob", "5|Zoe"]);
    assert_eq!(d.sends("ASOC").iter().filter(|sent| sent.starts_with("customer")).count(), 1);
}

#[test]
fn a_new_machine_gets_back_what_the_till_made_on_the_old_one() {
    let sites = stocked();
    let before = sites.at('B').rows(ALL_SALES);
    let (_shop, b) = new_till(&schema(), &declare());
    b.run("SELECT talon_clock('2026-11-20T20:00:00+01:00')");
    let done = loaded(&sites, &b, "'anna'", "full");
    assert_eq!(done, r#"{"documents":7,"applied":7,"set_aside":0,"removed":0}"#);
    assert_eq!(b.rows(ALL_SALES), before);
    assert_eq!(
        b.rows("SELECT kind, piece, origin FROM talon_stamps WHERE kind = 'sale'"),
        ["sale|1|BSOC", "sale|2|CSOC"]
    );
    is_sound(&b);
    // What central accepted stays so, before anything else is exchanged.
    assert_eq!(
        b.error("UPDATE sale SET total = 0 WHERE id = 1"),
        "talon: sale 1 was sent to central and is no longer editable at BSOC"
    );
    b.run("INSERT INTO customer VALUES (7, 'Eve', NULL, NULL)");
    let next = chunks(&b, &b.emit("ASOC", "changes", "none").to_string());
    sites.receive('A', &next);
    sites.at('A').run("SELECT talon_process()");
    assert_eq!(sites.at('A').rows("SELECT name FROM customer WHERE name = 'Eve'"), ["Eve"]);
    // The old machine is told from it.
    sites.at('B').run("SELECT talon_clock('2026-11-21T08:00:00+01:00')");
    let old = sites.emit('B', 'A', "changes", "none");
    let error = receive(sites.at('A'), &old[0]).expect_err("another database");
    assert!(error.contains("comes from another database of BSOC"), "{error}");
}

#[test]
fn who_loads_is_known_by_the_query_or_nothing_is_done() {
    let sites = stocked();
    let (_shop, d) = new_till(&schema(), DECLARE);
    let nothing = || d.contents(&["talon_meta", "talon_site", "talon_flow", "talon_change"]);
    let before = nothing();
    let refused = |sql: &str| d.error(sql).replace("talon_load: ", "");
    assert_eq!(
        refused("SELECT talon_load('dora', 'full')"),
        "no query says which till dora has: SELECT talon_till('SELECT … = :user'), or load with NULL in place of the user once \
         talon_origin was said"
    );
    assert_eq!(
        refused("SELECT talon_load(NULL, 'full')"),
        "this database has not said which site it is: SELECT talon_origin(code), or talon_till(query) and load as a user"
    );
    assert_eq!(
        refused("SELECT talon_load(NULL, 'all')"),
        "\"all\" is no mode of a load: 'full' or 'changes'"
    );
    assert_eq!(before, nothing());
    d.run(DECLARE_TILLS);
    let before = nothing();
    for user in ["'nobody'", "'eve'", "NULL"] {
        assert_eq!(
            refused(&format!("SELECT talon_load({user}, 'full')")),
            format!(
                "{} has no till by \"SELECT till FROM app_user WHERE login = :user\"",
                user.trim_matches('\'')
            )
        );
    }
    d.run("INSERT INTO app_user VALUES ('boss', 'ASOC'), ('odd', 'B/SOC'), ('blob', x'00')");
    assert_eq!(
        refused("SELECT talon_load('boss', 'full')"),
        "the till of boss is ASOC, which is the central site: tills are remote ones"
    );
    assert!(refused("SELECT talon_load('odd', 'full')").contains("is no code for a site"));
    assert!(
        refused("SELECT talon_load('blob', 'full')").contains("gives no code of a site for blob")
    );
    d.run(
        "SELECT talon_till('SELECT till FROM app_user WHERE login = :user OR till LIKE ''_SOC''')",
    );
    assert!(refused("SELECT talon_load('dora', 'full')").starts_with("dora has several tills by"));
    d.run(DECLARE_TILLS);
    assert_eq!(before, nothing());
    // The wrong till, and the central site itself.
    assert_eq!(
        sites.at('B').error("SELECT talon_load('carl', 'full')"),
        "talon_load: this database is BSOC, and the till of carl is CSOC: load as a user of BSOC, or on a database of CSOC's"
    );
    assert_eq!(
        sites.at('A').error("SELECT talon_load('anna', 'full')"),
        "talon_load: ASOC is the central site: remote ones load from it"
    );
    let (_shop, alone) = site_of_nobody();
    assert_eq!(
        alone.error("SELECT talon_load('anna', 'full')"),
        "talon_load: no site is central: SELECT talon_site(code, 'central')"
    );
    assert_eq!(
        alone.error("SELECT talon_load('anna', 'full', 'elsewhere')"),
        "talon_load: no database \"elsewhere\" is attached to this connection"
    );
}

fn site_of_nobody() -> (Shop, Db) {
    let shop = Shop::with(&schema());
    let db = shop.open();
    db.run(&declare());
    (shop, db)
}

#[test]
fn a_till_that_central_does_not_know_gets_nothing() {
    let sites = stocked();
    let (_shop, d) = new_till(&schema(), &declare());
    let flow = d.one("SELECT talon_load('dora', 'full')");
    let request = chunks(&d, &flow);
    let a = sites.at('A');
    let all = ["talon_flow", "talon_site", "talon_chunk", "talon_meta", "customer"];
    let before = a.contents(&all);
    let error = receive(a, &request[0]).expect_err("an unknown site");
    assert!(error.contains("\"DSOC\"") && error.contains("ASOC, BSOC, CSOC"), "{error}");
    assert_eq!(a.contents(&all), before);
    // Once it is registered, the same flow is taken.
    a.run("SELECT talon_site('DSOC', 'remote')");
    sites.receive('A', &request);
    a.run("SELECT talon_process()");
    let answer = chunks(a, &a.one("SELECT max(id) FROM talon_flows WHERE from_site = 'ASOC'"));
    assert!(taken(&d, &answer).starts_with(r#"{"documents":7,"#));
}

#[test]
fn the_query_of_the_tills_is_held_against_the_schema() {
    let (_shop, db) = site_of_nobody();
    let refused = |query: &str| db.error(&format!("SELECT talon_till('{query}')"));
    assert_eq!(
        refused("SELECT till FROM app_user WHERE login = :u"),
        "talon_till: query: its only parameter is :user, the user who loads, not :u"
    );
    assert_eq!(
        refused("SELECT till, login FROM app_user WHERE login = :user"),
        "talon_till: query: it gives 2 columns, and is to give one, the code of the user''s till"
            .replace("''", "'")
    );
    assert!(refused("SELECT till FROM nowhere").contains("no such table: nowhere"));
    assert!(refused("DELETE FROM app_user").contains("talon_till: query: "));
    assert!(refused("SELECT 1; SELECT 2").contains("is not one SQL SELECT"));
    assert!(refused("SELECT talon_version()").contains("Talon''s own".replace("''", "'").as_str()));
    assert_eq!(
        db.rows("SELECT name, type, definition, problem FROM talon_rules"),
        [r#"talon_till|till|{"query":"SELECT till FROM app_user WHERE login = :user"}|NULL"#]
    );
    assert_eq!(db.one("SELECT talon_till('SELECT ''BSOC''')"), "SELECT 'BSOC'");
    assert_eq!(db.rows("SELECT count(*) FROM talon_rules"), ["1"]);
    db.run("SELECT talon_site('ASOC', 'central'), talon_load('whoever', 'changes')");
    assert_eq!(db.rows("SELECT code FROM talon_sites WHERE this"), ["BSOC"]);
    // A migration takes its table away.
    db.run(DECLARE_TILLS);
    db.run("DROP TABLE app_user");
    assert!(db.error("SELECT talon_load('anna', 'full')").contains("does not fit any more"));
    assert_eq!(db.one("SELECT talon_till(NULL)"), "talon_till is no longer the query of the tills");
    assert_eq!(
        db.error("SELECT talon_till(NULL)"),
        "talon_till: \"talon_till\" is not the query of the tills; there are: none"
    );
    db.run("SELECT talon_load(NULL, 'full')");
}

const TABLES: &str = "SELECT kind, version, newest FROM talon_tables";

#[test]
fn versions_are_central_s_and_known_before_anything_is_applied() {
    let sites = stocked();
    let (a, b) = (sites.at('A'), sites.at('B'));
    assert_eq!(
        a.rows("SELECT * FROM talon_tables WHERE kind IN ('sale', 'till')"),
        [
            "sale|sale, sale_line|both|9|9|2026-11-20T08:00:00.000+01:00",
            "till|till|down|3|3|2026-11-20T08:00:00.000+01:00"
        ]
    );
    let known = ["article|5|5", "customer|7|7", "sale|9|9", "till|3|3", "till_closing|0|0"];
    assert_eq!(a.rows(TABLES), known);
    assert_eq!(b.rows(TABLES), known);
    a.run("UPDATE article SET price = 3 WHERE id = 1; INSERT INTO customer(name) VALUES ('Eve')");
    let chunks = sites.emit('A', 'B', "changes", "none");
    let flow = sites.receive('B', &chunks);
    assert_eq!(
        b.rows(TABLES),
        ["article|5|10", "customer|7|11", "sale|9|9", "till|3|3", "till_closing|0|0"]
    );
    b.run("SELECT talon_clock('2026-11-20T09:00:00+01:00')");
    b.run(&format!("SELECT talon_apply({flow})"));
    assert_eq!(
        b.rows("SELECT kind, version, as_of FROM talon_tables WHERE kind < 'd'"),
        ["article|10|2026-11-20T09:00:00.000+01:00", "customer|11|2026-11-20T09:00:00.000+01:00"]
    );
    // What central has and this till does not is listed, and what does not come down has no version.
    a.run(
        r#"CREATE TABLE tariff(id INTEGER PRIMARY KEY, price REAL); INSERT INTO tariff VALUES (1, 2.0);
           SELECT talon_track('tariff', '{"record": {"table": "tariff"}, "sync": "article"}')"#,
    );
    let up = r#"CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT);
           SELECT talon_track('note', '{"record": {"table": "note"}, "sync": {"direction": "up"}}')"#;
    for db in [a, b] {
        db.run(up);
    }
    sites.send('A', 'B');
    let new = "SELECT kind, tables, direction, version, newest, as_of FROM talon_tables WHERE kind IN ('note', 'tariff')";
    assert_eq!(b.rows(new), ["note|note|up|NULL|NULL|NULL", "tariff|NULL|NULL|0|12|NULL"]);
    // It waits in quarantine, and is there once it is declared.
    b.run(
        r#"CREATE TABLE tariff(id INTEGER PRIMARY KEY, price REAL);
           SELECT talon_track('tariff', '{"record": {"table": "tariff"}, "sync": "article"}'); SELECT talon_process()"#,
    );
    assert_eq!(b.rows("SELECT * FROM tariff"), ["1|2.0"]);
}

#[test]
fn a_load_of_changes_brings_only_what_is_newer() {
    let sites = stocked();
    let (a, b) = (sites.at('A'), sites.at('B'));
    // Nothing is newer: a valid flow, with nothing in it.
    let answer = asked(&sites, b, "'anna'", "changes");
    assert_eq!(flows::documents(&answer.concat()), NONE);
    assert_eq!(taken(b, &answer), r#"{"documents":0,"applied":0,"set_aside":0}"#);
    a.run("UPDATE article SET price = 3 WHERE id = 1");
    // Nor does it bring what it has itself just sent.
    b.run("INSERT INTO customer VALUES (3, 'Eve', NULL, NULL)");
    let answer = asked(&sites, b, "'anna'", "changes");
    assert_eq!(flows::documents(&answer.concat()), ["article 1"]);
    taken(b, &answer);
    assert_eq!(b.rows("SELECT name FROM customer"), ["Ada", "Bob", "Eve"]);
    // Central believes that this has come; the till says that it has not.
    let lost = sites.emit('A', 'B', "changes", "none");
    drop(lost);
    a.run("UPDATE customer SET name = 'Ada L' WHERE id = 1");
    b.run("UPDATE talon_table SET version = 0 WHERE kind = 'article'");
    let answer = asked(&sites, b, "'anna'", "changes");
    assert_eq!(flows::documents(&answer.concat()), ["article 2", "article 1", "customer 1"]);
    taken(b, &answer);
    is_sound(b);
    assert_eq!(
        b.rows("SELECT load, mode, answer FROM talon_flows WHERE load IS NOT NULL AND from_site = 'ASOC'"),
        ["changes|return|none"; 3]
    );
}

#[test]
fn a_till_that_went_back_to_a_backup_gets_all_that_it_lost() {
    let sites = stocked();
    let b = sites.at('B');
    let backup = sites.shop('B').file("backup.db");
    let back = copy(b, &backup);
    b.run(
        "BEGIN; INSERT INTO sale VALUES (9, 'B9', 1, 1.0); INSERT INTO sale_line VALUES (9, 9, 1, 1, 1.0, NULL); COMMIT",
    );
    sites.send('B', 'A');
    sites.at('A').run("UPDATE article SET price = 3 WHERE id = 1");
    sites.send('A', 'B');
    sites.send('B', 'A');
    let all = b.rows(ALL_SALES);
    let flow = back.one("SELECT talon_load('anna', 'changes')");
    let request = chunks(&back, &flow);
    let error = receive(sites.at('A'), &request[0]).expect_err("it went back");
    assert!(error.contains("at BSOC, SELECT talon_rejoin()"), "{error}");
    back.run("SELECT talon_rejoin()");
    let answer = asked(&sites, &back, "'anna'", "changes");
    assert_eq!(flows::documents(&answer.concat()), ["article 1", "sale 9"]);
    taken(&back, &answer);
    assert_eq!(back.rows(ALL_SALES), all);
    assert_eq!(back.rows("SELECT price FROM article WHERE id = 1"), ["3.0"]);
    is_sound(&back);
}

#[test]
fn a_load_that_was_asked_for_is_asked_for_until_it_came() {
    let sites = stocked();
    let b = sites.at('B');
    let heads = |flow: &[Vec<u8>]| {
        let lines = flows::lines(&flow.concat());
        lines[0].contains(r#","load":"full","tables":[{"kind":"customer","version":7},"#)
    };
    // The flow that asks is lost.
    let flow = b.one("SELECT talon_load('anna', 'full')");
    assert!(heads(&chunks(b, &flow)));
    // One that wants no answer cannot ask; the next one does.
    assert!(!heads(&sites.emit('B', 'A', "changes", "none")));
    let again = sites.emit('B', 'A', "changes", "now");
    assert!(heads(&again));
    assert_eq!(
        b.rows("SELECT load FROM talon_flows WHERE from_site = 'BSOC' ORDER BY id DESC LIMIT 3"),
        ["full", "NULL", "full"]
    );
    sites.receive('A', &again);
    // However central comes to answer: by hand as well.
    let a = sites.at('A');
    let flow = a.one("SELECT max(id) FROM talon_flows WHERE to_site = 'ASOC'");
    a.run(&format!("SELECT talon_apply({flow})"));
    let answer = chunks(a, &a.emit("BSOC", "return", "none").to_string());
    assert!(
        flows::lines(&answer.concat())[0].contains(r#""mode":"full","answer":"none","answers":"#)
    );
    assert!(taken(b, &answer).ends_with(r#""removed":0}"#));
    assert!(!heads(&sites.emit('B', 'A', "changes", "now")));
}
