//! Loads that are cut off, said twice, taken back, in somebody's way, or damaged.

use talon_tests::loads::*;
use talon_tests::tills::*;
use talon_tests::*;

#[test]
fn a_load_said_twice_is_answered_once_and_does_nothing_twice() {
    let sites = stocked();
    let (a, b) = (sites.at('A'), sites.at('B'));
    let first = chunks(b, &b.one("SELECT talon_load('anna', 'full')"));
    let second = chunks(b, &b.one("SELECT talon_load('anna', 'changes')"));
    for request in [&first, &second] {
        sites.receive('A', request);
    }
    assert_eq!(a.one("SELECT talon_process()"), r#"{"applied":2,"freed":0,"answered":1}"#);
    let answer = chunks(a, &a.one("SELECT max(id) FROM talon_flows WHERE from_site = 'ASOC'"));
    let all = ["till", "customer", "article", "sale", "sale_line"];
    let before = b.contents(&all);
    let changes = b.one("SELECT max(seq) FROM talon_change");
    assert_eq!(taken(b, &answer), r#"{"documents":7,"applied":7,"set_aside":0,"removed":0}"#);
    assert_eq!(b.contents(&all), before);
    assert_eq!(b.one("SELECT max(seq) FROM talon_change"), changes);
    assert_eq!(taken(b, &answer), r#"{"documents":0,"applied":0,"set_aside":0}"#);
    is_sound(b);
    // And all over again.
    assert_eq!(
        loaded(&sites, b, "'anna'", "full"),
        r#"{"documents":7,"applied":7,"set_aside":0,"removed":0}"#
    );
}

#[test]
fn a_load_that_the_host_takes_back_was_never_asked_for() {
    let sites = stocked();
    let (_shop, d) = new_till(&schema(), &declare());
    let nothing =
        || d.contents(&["talon_meta", "talon_site", "talon_flow", "talon_change", "talon_chunk"]);
    let before = nothing();
    d.run("BEGIN; INSERT INTO customer VALUES (1, 'Eve', NULL, NULL)");
    d.run("SELECT talon_load('dora', 'full')");
    assert_eq!(d.rows("SELECT code FROM talon_sites WHERE this"), ["DSOC"]);
    d.run("ROLLBACK");
    assert_eq!(nothing(), before);
    assert_eq!(d.rows("SELECT code FROM talon_sites WHERE this"), NONE);
    d.run("BEGIN; SELECT talon_load('dora', 'full'); COMMIT");
    sites.at('A').run("SELECT talon_site('DSOC', 'remote')");
    // Applied inside a transaction, it is taken back with it.
    let answer = asked(&sites, &d, "'dora'", "full");
    let tables = ["till", "article", "sale", "talon_listed", "talon_piece", "talon_table"];
    let flow = receive(&d, &answer[0]).expect("it is sound");
    let before = d.contents(&tables);
    d.run(&format!("BEGIN; SELECT talon_apply({flow})"));
    assert_ne!(d.contents(&tables), before);
    d.run("ROLLBACK");
    assert_eq!(d.contents(&tables), before);
    d.run(&format!("BEGIN; SELECT talon_apply({flow}); COMMIT"));
    assert_eq!(d.rows(ALL_SALES), sites.at('A').rows(ALL_SALES));
    is_sound(&d);
}

/// So many customers at central, and a till that has as many others, which central does not know.
fn crowded(count: usize) -> (Tills, Vec<Vec<u8>>) {
    let sites = stocked();
    let (a, b) = (sites.at('A'), sites.at('B'));
    let made = format!(
        "BEGIN; WITH RECURSIVE n(n) AS (VALUES (10) UNION ALL SELECT n + 1 FROM n WHERE n < {} + 10)
           INSERT INTO customer SELECT n, 'c' || n, printf('%0600d', n), NULL FROM n; COMMIT",
        count
    );
    a.run(&made);
    sites.send('A', 'B');
    // Central lost half of them, and has as many others by now.
    lose_customers(a, "id >= 10 AND id % 2");
    a.run(&made.replace("VALUES (10)", "VALUES (10010)").replace("+ 10)", "+ 10010)"));
    b.run("INSERT INTO customer VALUES (3, 'Eve', NULL, NULL)");
    let answer = asked(&sites, b, "'anna'", "full");
    (sites, answer)
}

const CROWD: &str =
    "SELECT count(*), count(*) FILTER (WHERE id % 2), sum(length(address)) FROM customer";

#[test]
fn a_load_that_is_cut_off_goes_on_wherever_that_was() {
    let (sites, answer) = crowded(3000);
    assert!(answer.len() > 1, "{}", answer.len());
    // In the middle of receiving: the rest comes later, in any order, some of it twice.
    for chunk in answer.iter().rev().chain(&answer) {
        receive(sites.at('B'), chunk).expect("a chunk");
    }
    let b = sites.at('B');
    let flow = b.one("SELECT max(id) FROM talon_flows WHERE to_site = 'BSOC'");
    let whole = copy(b, &sites.shop('B').file("whole.db"));
    whole.run("SELECT talon_clock('2026-11-20T08:00:00+01:00')");
    whole.run(&format!("SELECT talon_apply({flow})"));
    let all = ["till", "customer", "article", "sale", "sale_line", "talon_table"];
    // In the middle of applying, again and again: sooner or later it is through.
    let (mut runs, mut listed, mut half_removed) = (0, false, false);
    for patience in (1..).map(|runs| 60 + 15 * runs) {
        let mut db = sites.shop('B').open();
        db.run("SELECT talon_clock('2026-11-20T08:00:00+01:00')");
        let mut asked = 0;
        let stop = move || {
            asked += 1;
            asked > patience
        };
        db.connection.progress_handler(1000, Some(stop)).expect("a handler");
        let applied = db.try_rows(&format!("SELECT talon_apply({flow})"));
        db.connection.progress_handler(0, None::<fn() -> bool>).expect("none");
        runs += 1;
        let is_over = applied.is_ok();
        assert!(is_over || applied == Err("talon_apply: interrupted".to_owned()), "{applied:?}");
        let left = db.one("SELECT count(*) FROM customer WHERE id % 2 AND id BETWEEN 10 AND 9999");
        let count = db.one("SELECT count(*) FROM talon_listed");
        listed |= count != "0";
        half_removed |= left != "0" && left != "1500";
        if is_over {
            break;
        }
    }
    assert!(runs > 2 && listed && half_removed, "{runs} {listed} {half_removed}");
    assert_eq!(b.contents(&all), whole.contents(&all));
    assert_eq!(b.one(CROWD), whole.one(CROWD));
    assert_eq!(b.rows("SELECT name FROM customer WHERE id = 3"), ["Eve"]);
    is_sound(b);
    is_sound(&whole);
}

#[test]
fn what_is_in_use_stays_and_what_central_has_open_too() {
    let sites = stocked();
    let (a, b) = (sites.at('A'), sites.at('B'));
    a.run("INSERT INTO customer VALUES (5, 'Gone', NULL, NULL), (6, 'Used', NULL, NULL), (7, 'Free', NULL, NULL)");
    sites.send('A', 'B');
    lose_customers(a, "id > 4");
    // Central has a sale open; the till has a customer open, and one in a sale that it did not send.
    a.run("SELECT talon_station('desk', 'paul'), talon_edit_begin('sale', 1)");
    b.run("SELECT talon_station('till', 'anna'), talon_edit_begin('customer', 5)");
    b.run(
        "BEGIN; INSERT INTO sale VALUES (9, 'B9', 6, 1.0); INSERT INTO sale_line VALUES (9, 9, 1, 1, 1.0, NULL); COMMIT",
    );
    let answer = asked(&sites, b, "'anna'", "full");
    let waits = flows::lines(&answer.concat());
    assert!(waits.contains(
        &r#"{"document":{"kind":"sale","key":1,"origin":"BSOC","waits":true}}"#.to_owned()
    ));
    let done = taken(b, &answer);
    assert!(done.ends_with(r#""removed":1}"#), "{done}");
    assert_eq!(b.rows("SELECT name FROM customer WHERE id > 4"), ["Gone", "Used"]);
    assert_eq!(b.rows("SELECT number FROM sale ORDER BY number"), ["B1", "B9", "C1"]);
    let reasons = b.rows("SELECT origin_key, reason FROM talon_quarantine ORDER BY origin_key");
    assert!(reasons[0].starts_with("5|it is open at till by anna since "), "{reasons:?}");
    assert_eq!(reasons[1], "6|it is to leave BSOC, and sale 9 refers to it by sale.customer_id");
    // They go once nothing is in the way.
    b.run("SELECT talon_edit_end('customer', 5)");
    b.run("BEGIN; DELETE FROM sale_line WHERE sale_id = 9; DELETE FROM sale WHERE id = 9; COMMIT");
    b.run("SELECT talon_process()");
    assert_eq!(b.rows("SELECT name FROM customer WHERE id > 4"), NONE);
    assert_eq!(b.rows("SELECT * FROM talon_quarantine WHERE direction = 'in'"), NONE);
}

#[test]
fn what_came_after_a_load_does_not_go_by_it() {
    let sites = stocked();
    let (a, b) = (sites.at('A'), sites.at('B'));
    let answer = asked(&sites, b, "'anna'", "full");
    let load = answer.iter().map(|chunk| receive(b, chunk).expect("sound")).next_back();
    a.run("INSERT INTO customer VALUES (5, 'New', NULL, NULL)");
    let later = sites.receive('B', &sites.emit('A', 'B', "changes", "none"));
    b.run(&format!("SELECT talon_apply({later})"));
    b.run(&format!("SELECT talon_apply({})", load.expect("a flow")));
    assert_eq!(b.rows("SELECT name FROM customer"), ["Ada", "Bob", "New"]);
    assert_eq!(
        b.rows("SELECT kind, version FROM talon_tables WHERE kind = 'customer'"),
        ["customer|10"]
    );
    is_sound(b);
}

#[test]
fn heads_that_speak_of_loads_wrongly_change_nothing() {
    let sites = stocked();
    let b = sites.at('B');
    let answer = asked(&sites, b, "'anna'", "full");
    let all = ["talon_flow", "talon_chunk", "talon_site", "talon_table", "talon_meta", "customer"];
    let before = b.contents(&all);
    for (was, is, problem) in [
        (r#""mode":"full""#, r#""mode":"return""#, "is a full load, and has not all in it"),
        (r#""load":"full""#, r#""load":"half""#, r#""half" is no load: "full" or "changes""#),
        (r#""load":"full""#, r#""load":7"#, "a line cannot be read"),
        (r#""tables":["#, r#""tables":[7,"#, "a line cannot be read"),
        (r#""tables":["#, r#""tables":[{"kind":"sale"},"#, "a table's version is missing"),
        (r#""tables":["#, r#""tables":[{"version":7},"#, "a table's kind is missing"),
        (
            r#""tables":["#,
            r#""tables":[{"kind":"sale","version":-7},"#,
            "-7 is no version of a table",
        ),
        (r#""tables":["#, r#""tables":[{"kind":"sale","version":"7"},"#, "is no integer"),
        (r#""tables":["#, r#""tables":{"kind":["#, "a line cannot be read"),
    ] {
        let bytes = flows::rewritten(&answer.concat(), was, is);
        let error = b.receive(&bytes).expect_err(is);
        assert!(error.contains(problem), "{is}: {error}");
        assert_eq!(b.contents(&all), before, "{is}");
    }
    // Kinds that nobody has, and versions that cannot be, do no harm.
    let odd = r#""tables":[{"kind":"","version":9223372036854775807},{"kind":"sale","version":1},{"kind":"sale","version":2},"#;
    let flow = b.receive(&flows::rewritten(&answer.concat(), r#""tables":["#, odd)).expect("sound");
    b.run(&format!("SELECT talon_apply({flow})"));
    assert_eq!(b.rows("SELECT number FROM sale ORDER BY number"), ["B1", "C1"]);
    is_sound(b);
}

#[test]
fn what_a_row_that_goes_stood_in_the_way_of_comes_after_it() {
    let sites = stocked();
    let (_shop, d) = new_till(&schema(), "SELECT 1");
    sites.at('A').run("SELECT talon_site('DSOC', 'remote')");
    // Codes are unique, and an old database has them under other numbers; a column is missing for the tills.
    d.run(
        "INSERT INTO article VALUES (7, 'c', 'old coffee', 2.0), (8, 'x', 'gone', 2.0);
         ALTER TABLE till DROP COLUMN name; INSERT INTO till VALUES ('DSOC'), ('CSOC')",
    );
    d.run(&declare());
    let done = loaded(&sites, &d, "'dora'", "full");
    assert_eq!(done, r#"{"documents":7,"applied":6,"set_aside":1,"removed":3}"#);
    assert_eq!(d.rows("SELECT id, code, label FROM article"), ["1|c|coffee", "2|f|filter"]);
    assert_eq!(d.rows(ALL_SALES), sites.at('A').rows(ALL_SALES));
    // Of what central has named and cannot be written, what is here stays.
    assert_eq!(d.rows("SELECT code FROM till"), ["DSOC"]);
    assert_eq!(
        d.rows("SELECT kind, reason FROM talon_quarantine"),
        ["till|till has no column name here"]
    );
    d.run("ALTER TABLE till ADD COLUMN name TEXT; SELECT talon_process()");
    assert_eq!(d.rows("SELECT * FROM till"), ["DSOC|Station"]);
    assert_eq!(d.rows("SELECT * FROM talon_quarantine"), NONE);
}
