//! Flows come in whole or change nothing, in any order, any number of times; copies and backups are told by them.

use talon_tests::flows::{lines, site};
use talon_tests::tills::Tills;
use talon_tests::{Db, Shop, installed};

/// BSOC with two sales, and the central database.
fn pair() -> ((Shop, Db), (Shop, Db)) {
    let till = site("BSOC");
    till.1.run(
        "INSERT INTO sale VALUES (1, 'B1', 'B', NULL), (2, 'B2', 'B', NULL);
         INSERT INTO sale_line VALUES (10, 1, NULL, 1.5), (11, 1, NULL, 2.0), (12, 2, NULL, 3.0)",
    );
    (till, site("ASOC"))
}

/// One whose flow takes several chunks.
fn large() -> ((Shop, Db), (Shop, Db)) {
    let (till, central) = pair();
    till.1.run(
        "WITH RECURSIVE n(n) AS (VALUES (3) UNION ALL SELECT n + 1 FROM n WHERE n < 40)
         INSERT INTO sale SELECT n, 'B' || n, hex(randomblob(50000)), NULL FROM n",
    );
    (till, central)
}

/// All that a flow may change.
fn state(db: &Db) -> Vec<String> {
    db.contents(&["talon_flow", "talon_chunk", "talon_site", "talon_meta", "sale", "sale_line"])
}

/// As if all that came in had been applied.
fn applied(db: &Db) {
    db.run(
        "UPDATE talon_flow SET ended = ready, runs = 1 WHERE sender <> (SELECT value FROM talon_meta WHERE name = 'site') AND ready IS NOT NULL;
         UPDATE talon_site SET applied = coalesce((SELECT max(until) FROM talon_flow WHERE sender = talon_site.id AND ended IS NOT NULL), 0)",
    );
}

#[test]
fn a_flow_is_listed_on_both_sides_with_what_it_holds() {
    let ((_b, till), (_a, central)) = pair();
    till.run("SELECT talon_clock('2026-11-20T21:00:00+01:00')");
    central.run("SELECT talon_clock('2026-11-20T21:01:00+01:00')");
    let bytes = till.flow("ASOC", "changes", "now");
    let id = central.receive(&bytes).unwrap();
    let listed = "SELECT id, link, from_site, to_site, mode, answer, ready, begun, ended, runs, refused, superseded, acknowledged, rows, bytes, error, number FROM talon_flows";
    let size = bytes.len();
    assert_eq!(
        till.rows(listed),
        [format!(
            "1|NULL|BSOC|ASOC|changes|now|2026-11-20T21:00:00.000+01:00|NULL|NULL|0|NULL|NULL|NULL|5|{size}|NULL|1"
        )]
    );
    assert_eq!(
        central.rows(listed),
        [format!(
            "{id}|NULL|BSOC|ASOC|changes|now|2026-11-20T21:01:00.000+01:00|NULL|NULL|0|NULL|NULL|NULL|5|{size}|NULL|1"
        )]
    );
    assert_eq!(central.one(&format!("SELECT count(*) FROM talon_flows WHERE id = {id}")), "1");
    assert_eq!(
        central.one("SELECT received, clock_off_s FROM talon_sites WHERE code = 'BSOC'"),
        "1|-60"
    );
}

#[test]
fn chunks_come_in_any_order_and_any_number_of_times() {
    let ((_b, till), (_a, central)) = large();
    let chunks = till.chunks(till.emit("ASOC", "changes", "none"));
    assert!(chunks.len() > 3, "{}", chunks.len());
    for chunk in chunks.iter().skip(1).rev().chain(&chunks[2..]) {
        central.receive(chunk).unwrap();
        assert_eq!(central.one("SELECT ready FROM talon_flows"), "NULL");
    }
    let id = central.receive(&chunks[0]).unwrap();
    assert_eq!(
        central.one("SELECT ready IS NOT NULL, mode, rows FROM talon_flows"),
        "1|changes|43"
    );
    assert_eq!(central.chunks(id), chunks);
    let before = state(&central);
    assert_eq!(central.receive(&chunks.concat()), Ok(id));
    assert_eq!(central.receive(&chunks[1]), Ok(id));
    assert_eq!(state(&central), before);
    assert_eq!(
        central.rows("SELECT number, last FROM talon_chunks").last().unwrap(),
        &format!("{}|1", chunks.len() - 1)
    );
}

#[test]
fn chunks_of_two_flows_of_one_number_do_not_mix_whichever_comes_first() {
    let ((shop, till), (_a, central)) = pair();
    let copy = copy_of(&shop, "copy.db");
    let chunks = [&till, &copy].map(|site| {
        site.run(
            "WITH RECURSIVE n(n) AS (VALUES (3) UNION ALL SELECT n + 1 FROM n WHERE n < 40)
             INSERT INTO sale SELECT n, 'B' || n, hex(randomblob(50000)), NULL FROM n",
        );
        site.chunks(site.emit("ASOC", "changes", "none"))
    });
    let [own, other] = &chunks;
    central.receive(&own[2]).unwrap();
    let before = state(&central);
    for (strange, named) in [(1, 2), (3, 3)] {
        let error = format!(
            "talon_receive: chunk {named} of flow 1 from BSOC to ASOC does not follow the one before it: \
             they are of two flows of one number"
        );
        assert_eq!(central.receive(&other[strange]), Err(error));
    }
    assert_eq!(state(&central), before);
    for chunk in own {
        central.receive(chunk).unwrap();
    }
    assert_eq!(central.one("SELECT ready IS NOT NULL FROM talon_flows"), "1");
    applied(&central);
}

#[test]
fn a_flow_that_is_cut_off_or_damaged_changes_nothing() {
    let ((_b, till), (_a, central)) = pair();
    let bytes = till.flow("ASOC", "changes", "none");
    let before = state(&central);
    for length in 0..bytes.len() {
        let error = central.receive(&bytes[..length]).expect_err("it is cut off");
        assert!(error.starts_with("talon_receive: the"), "{length}: {error}");
    }
    let mut seed = 17_u64;
    for _ in 0..500 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = (seed >> 33) as usize % (bytes.len() * 8);
        let mut turned = bytes.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        assert!(central.receive(&turned).is_err(), "bit {bit}");
    }
    assert_eq!(state(&central), before);
    assert_eq!(
        central.error("SELECT talon_receive('a text'), talon_receive(NULL)"),
        "talon_receive: a flow is a blob, not a text"
    );
    assert!(
        central
            .receive(b"PK\x03\x04")
            .unwrap_err()
            .starts_with("talon_receive: these bytes are no flow")
    );
}

#[test]
fn a_flow_of_a_newer_format_names_both_versions() {
    let (_a, central) = site("ASOC");
    let head = br#"{"talon":9,"program":"9.1.0"}"#;
    let bytes = [&[0x54, 0x2a, 0x4d, 0x18][..], &(head.len() as u32).to_le_bytes(), head].concat();
    assert_eq!(
        central.receive(&bytes).unwrap_err(),
        "talon_receive: the flow has format 9, written by talon 9.1.0; this is talon 0.1.0, which reads up to 1: load a \
         newer libtalon here, or write the flow with an older one"
    );
}

#[test]
fn a_flow_from_or_for_somebody_else_is_refused() {
    let ((_b, till), (_a, central)) = pair();
    let bytes = till.flow("ASOC", "changes", "none");
    assert_eq!(
        till.receive(&bytes).unwrap_err(),
        "talon_receive: flow 1 from BSOC to ASOC was written by BSOC itself"
    );
    let (_c, other) = site("CSOC");
    assert_eq!(
        other.receive(&bytes).unwrap_err(),
        "talon_receive: this database is CSOC, and flow 1 from BSOC to ASOC is not for it"
    );
    let stranger = Shop::with(talon_tests::flows::TILL);
    let stranger = stranger.open();
    stranger.run(
        "SELECT talon_site('ASOC', 'central'), talon_site('DSOC', 'remote'), talon_origin('ASOC')",
    );
    let error = stranger.receive(&bytes).unwrap_err();
    assert!(error.contains("BSOC") && error.contains("DSOC"), "{error}");
    assert_eq!(stranger.one("SELECT count(*) FROM talon_flows"), "0");
    // Two flows at once: which one would be answered?
    central.receive(&bytes).unwrap();
    let both = [bytes, till.flow("ASOC", "changes", "none")].concat();
    assert_eq!(
        central.receive(&both).unwrap_err(),
        "talon_receive: flow 1 from BSOC to ASOC and flow 2 from BSOC to ASOC are in one: receive each by itself"
    );
}

#[test]
fn a_flow_that_comes_after_a_newer_one_is_listed_and_not_applied() {
    let ((_b, till), (_a, central)) = pair();
    let first = till.flow("ASOC", "changes", "none");
    till.run("UPDATE sale_line SET quantity = 9 WHERE id = 10");
    let second = till.flow("ASOC", "changes", "none");
    central.receive(&second).unwrap();
    let late = central.receive(&first).unwrap();
    assert_eq!(
        central
            .rows("SELECT number, ready IS NULL, superseded IS NULL FROM talon_flows ORDER BY id"),
        ["2|0|1", "1|1|0"]
    );
    assert_eq!(central.chunks(late).len(), 0);
    assert_eq!(central.receive(&first), Ok(late));
}

/// The file behind a shop, as it is now, as a database of its own.
fn copy_of(shop: &Shop, name: &str) -> Db {
    std::fs::copy(shop.file("shop.db"), shop.file(name)).expect("a copy");
    let db = Db::open(&shop.file(name));
    talon_tests::load(&db.connection);
    db
}

#[test]
fn a_copied_database_is_told_by_its_flows() {
    let ((shop, till), (_a, central)) = pair();
    central.receive(&till.flow("ASOC", "changes", "none")).unwrap();
    applied(&central);
    let copy = copy_of(&shop, "copy.db");
    till.run("INSERT INTO sale VALUES (3, 'B3', 'B', NULL)");
    copy.run("INSERT INTO sale VALUES (3, 'C3', 'B', NULL)");
    central.receive(&till.flow("ASOC", "changes", "none")).unwrap();
    let before = state(&central);
    let error = central.receive(&copy.flow("ASOC", "changes", "none")).unwrap_err();
    assert!(
        error.starts_with(
            "talon_receive: flow 2 from BSOC to ASOC was here before with other content: BSOC went back to an older state, or \
             its database was copied and both are in use."
        ),
        "{error}"
    );
    assert_eq!(state(&central), before);
}

#[test]
fn a_database_that_went_back_to_a_backup_is_told_and_takes_part_again_anew() {
    let ((shop, till), (_a, central)) = pair();
    central.receive(&till.flow("ASOC", "changes", "none")).unwrap();
    applied(&central);
    let backup = copy_of(&shop, "backup.db");
    backup.run("SELECT talon_clock('2026-11-20T20:00:00+01:00')");
    for id in 3..6 {
        till.run(&format!("INSERT INTO sale VALUES ({id}, 'B{id}', 'B', NULL)"));
        central.receive(&till.flow("ASOC", "changes", "none")).unwrap();
    }
    applied(&central);
    // What central answers speaks of flows that the backup has not written.
    let answer = central.flow("BSOC", "return", "none");
    assert!(till.receive(&answer).is_ok());
    let error = backup.receive(&answer).unwrap_err();
    assert!(
        error.contains("speaks of flows from BSOC that this database has not written")
            && error
                .ends_with("at BSOC, SELECT talon_rejoin(), then exchange full flows with central"),
        "{error}"
    );
    // The rows that it writes now have numbers that were used.
    backup.run("INSERT INTO sale VALUES (3, 'X3', 'B', NULL)");
    let in_vain = backup.flow("ASOC", "changes", "none");
    let error = central.receive(&in_vain).unwrap_err();
    assert!(error.contains("was here before with other content"), "{error}");
    // Until it says that it begins anew.
    backup.run("SELECT talon_rejoin()");
    let anew = backup.flow("ASOC", "full", "now");
    assert!(lines(&anew)[0].contains("\"rejoins\":true"));
    central.receive(&anew).unwrap();
    assert_eq!(
        central.one("SELECT received, acknowledged FROM talon_sites WHERE code = 'BSOC'"),
        "3|NULL"
    );
    // What was refused before is not the business of the one that began anew.
    let error = central.receive(&in_vain).unwrap_err();
    assert!(error.contains("was written before BSOC began anew"), "{error}");
    // The one that it replaces is refused from now on.
    till.run("SELECT talon_clock('2026-11-21T08:00:00+01:00')");
    till.run("INSERT INTO sale VALUES (9, 'B9', 'B', NULL)");
    let error = central.receive(&till.flow("ASOC", "changes", "none")).unwrap_err();
    assert!(
        error.contains("comes from another database of BSOC than flows before it did"),
        "{error}"
    );
}

#[test]
fn a_flow_that_is_here_in_part_waits_for_its_rest_when_an_older_one_is_complete() {
    let ((_b, till), (_a, central)) = large();
    let older = till.chunks(till.emit("ASOC", "changes", "none"));
    till.run("UPDATE sale SET shop = shop || '.'");
    let newer = till.chunks(till.emit("ASOC", "changes", "none"));
    central.receive(&newer[0]).unwrap();
    central.receive(&older.concat()).unwrap();
    central.receive(&newer[1..].concat()).unwrap();
    let listed =
        "SELECT number, ready IS NULL, superseded IS NULL FROM talon_flows ORDER BY number";
    assert_eq!(central.rows(listed), ["1|0|1", "2|0|1"]);
    assert_eq!(central.one("SELECT received FROM talon_sites WHERE code = 'BSOC'"), "2");
}

#[test]
fn what_is_still_to_come_of_a_former_database_says_nothing_of_the_one_that_began_anew() {
    let ((shop, till), (_a, central)) = pair();
    central.receive(&till.flow("ASOC", "changes", "none")).unwrap();
    applied(&central);
    let backup = copy_of(&shop, "backup.db");
    let fill = |site: &Db| {
        site.run(
            "WITH RECURSIVE n(n) AS (VALUES (3) UNION ALL SELECT n + 1 FROM n WHERE n < 40)
             INSERT INTO sale SELECT n, 'B' || n, hex(randomblob(50000)), NULL FROM n",
        );
    };
    till.run("INSERT INTO sale VALUES (50, 'B50', 'B', NULL)");
    central.receive(&till.flow("ASOC", "changes", "none")).unwrap();
    applied(&central);
    fill(&till);
    let former = till.chunks(till.emit("ASOC", "changes", "none"));
    central.receive(&former[0]).unwrap();
    backup.run("SELECT talon_rejoin()");
    fill(&backup);
    let anew = backup.chunks(backup.emit("ASOC", "full", "none"));
    central.receive(&anew[0]).unwrap();
    central.receive(&former[1..].concat()).unwrap();
    central.receive(&anew[1..].concat()).unwrap();
    assert_eq!(
        central
            .rows("SELECT number, ready IS NULL, superseded IS NULL FROM talon_flows ORDER BY id"),
        ["1|0|1", "2|0|1", "3|0|1", "2|0|1"]
    );
    assert_eq!(central.one("SELECT received FROM talon_sites WHERE code = 'BSOC'"), "2");
    backup.run("INSERT INTO sale VALUES (60, 'X60', 'B', NULL)");
    assert!(central.receive(&backup.flow("ASOC", "changes", "none")).is_ok());
}

#[test]
fn a_receiver_that_went_back_notices_the_gap() {
    let ((_b, till), (shop, central)) = pair();
    central.receive(&till.flow("ASOC", "changes", "none")).unwrap();
    applied(&central);
    let backup = copy_of(&shop, "backup.db");
    till.run("INSERT INTO sale VALUES (3, 'B3', 'B', NULL)");
    central.receive(&till.flow("ASOC", "changes", "none")).unwrap();
    applied(&central);
    till.run("UPDATE talon_site SET acknowledged = (SELECT max(seq) FROM talon_change) WHERE code = 'ASOC'; INSERT INTO sale VALUES (4, 'B4', 'B', NULL)");
    let error = backup.receive(&till.flow("ASOC", "changes", "none")).unwrap_err();
    assert!(
        error.contains("flow 3 from BSOC to ASOC begins after change ")
            && error.contains("at ASOC, SELECT talon_rejoin()"),
        "{error}"
    );
    assert!(backup.receive(&till.flow("ASOC", "full", "none")).is_ok());
}

#[test]
fn a_flow_that_is_not_applied_yet_can_be_refused() {
    let ((_b, till), (_a, central)) = pair();
    central.run("SELECT talon_clock('2026-11-20T23:40:00+01:00')");
    let bytes = till.flow("ASOC", "changes", "none");
    let id = central.receive(&bytes).unwrap();
    assert_eq!(
        central.one(&format!("SELECT talon_refuse({id}, 'of the wrong day')")),
        id.to_string()
    );
    assert_eq!(
        central.one("SELECT refused, error FROM talon_flows"),
        "2026-11-20T23:40:00.000+01:00|of the wrong day"
    );
    assert_eq!(central.chunks(id).len(), 0);
    // It stays refused, however often it comes.
    assert_eq!(central.receive(&bytes), Ok(id));
    assert_eq!(central.chunks(id).len(), 0);
    for (call, problem) in [
        (format!("{id}, 'x'"), format!("flow {id} was refused already")),
        ("77, 'x'".to_owned(), "flow 77 is not here".to_owned()),
        ("'all', 'x'".to_owned(), "all is no flow: give its id in talon_flows".to_owned()),
        (format!("{id}, ''"), "the reason is empty".to_owned()),
    ] {
        assert_eq!(
            central.error(&format!("SELECT talon_refuse({call})")),
            format!("talon_refuse: {problem}")
        );
    }
    let own = till.one("SELECT id FROM talon_flows");
    assert!(till.error(&format!("SELECT talon_refuse({own}, 'x')")).contains("was written here"));
}

#[test]
fn a_refused_flow_is_told_to_its_sender_who_sends_what_it_had_again() {
    let sites = Tills::new();
    let (a, b) = (sites.at('A'), sites.at('B'));
    a.run("INSERT INTO customer VALUES (1, 'Ada', NULL, NULL)");
    let refused = sites.receive('B', &sites.emit('A', 'B', "return", "none"));
    sites.clock("2026-11-20T23:41:00+01:00");
    b.run(&format!("SELECT talon_refuse({refused}, 'of the wrong day')"));
    let follow_up = "SELECT mode, refused, error, acknowledged IS NOT NULL FROM talon_flows WHERE from_site = 'ASOC'";
    assert_eq!(a.rows(follow_up), ["return|NULL|NULL|0"]);
    // Two flows of the till's, of which one is lost: it says so until central has heard it.
    sites.emit('B', 'A', "changes", "none");
    sites.send('B', 'A');
    let told = "return|2026-11-20T23:41:00.000+01:00|of the wrong day|0";
    assert_eq!(a.rows(follow_up), [told]);
    sites.send('A', 'B');
    assert_eq!(b.rows("SELECT name FROM customer"), ["Ada"]);
    sites.clock("2026-11-20T23:50:00+01:00");
    sites.send('B', 'A');
    assert_eq!(a.rows(follow_up), [told, "changes|NULL|NULL|1"]);
    sites.send('A', 'B');
    let head = |till: &Db| lines(&till.flow("ASOC", "changes", "none"))[0].contains("wrong day");
    assert!(!head(b), "it is said for ever");
}

#[test]
fn a_clock_that_is_ahead_by_more_than_a_day_is_reported() {
    let ((_b, till), (_a, central)) = pair();
    till.run("SELECT talon_clock('2038-01-19T03:14:07+00:00')");
    central.run("SELECT talon_clock('2026-11-20T21:00:00+01:00')");
    central.receive(&till.flow("ASOC", "changes", "none")).unwrap();
    let error = central.one("SELECT error FROM talon_flows");
    assert!(
        error.starts_with("the clock of BSOC is ") && error.ends_with(" hours ahead of this one"),
        "{error}"
    );
    central.run("SELECT talon_process()");
    assert_eq!(central.one("SELECT error FROM talon_flows WHERE ended NOT NULL"), error);
}

#[test]
fn a_flow_is_read_with_common_tools() {
    installed("zstd", "zstd");
    let ((shop, till), _) = pair();
    let path = shop.file("flow.talon");
    std::fs::write(&path, till.flow("ASOC", "changes", "now")).expect("a file");
    let output = std::process::Command::new("zstd").arg("-dc").arg(&path).output().expect("zstd");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().collect::<Vec<_>>(), lines(&std::fs::read(&path).expect("the file")));
    assert!(text.ends_with("{\"end\":{\"documents\":2,\"rows\":5}}\n"), "{text}");
}

#[test]
fn flows_of_an_attached_database_are_its_own() {
    let ((shop, till), _) = pair();
    till.flow("ASOC", "changes", "none");
    let db = Db::memory();
    db.run(&format!("ATTACH '{}' AS till", shop.file("shop.db").display()));
    assert_eq!(db.one("SELECT talon_emit('ASOC', 'changes', 'none', 'till')"), "2");
    assert_eq!(db.one("SELECT count(*) FROM talon_flows WHERE schema = 'till'"), "2");
    assert_eq!(db.one("SELECT count(*) FROM talon_chunks WHERE schema = 'till' AND flow = 2"), "1");
    assert_eq!(db.one("SELECT count(*) FROM talon_flows"), "0");
}

#[test]
fn the_flow_that_the_page_about_the_format_shows_is_one() {
    let (_b, till) = site("BSOC");
    till.run(
        "UPDATE talon_meta SET value = 7 WHERE name = 'incarnation';
         BEGIN; INSERT INTO sale VALUES (42, 'B42', 'B', NULL); INSERT INTO sale_line VALUES (10, 42, NULL, 1.5); COMMIT",
    );
    let again = Db::open(std::path::Path::new(
        &till.one("SELECT file FROM pragma_database_list WHERE name = 'main'"),
    ));
    talon_tests::load(&again.connection);
    again.run("SELECT talon_clock('2026-11-20T21:00:00+01:00')");
    let page = include_str!("../../docs/flow-format.md");
    let shown = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let written = lines(&again.flow("ASOC", "changes", "now")).join("\n") + "\n";
    assert_eq!(shown.unwrap_or_default(), written);
}
