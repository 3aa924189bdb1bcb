//! Every scenario, with some faults of each kind; all of them are `harness replay`'s work.

// A test that lacks what it needs ends there and then: expect and panic are its way of saying so.
#![allow(clippy::expect_used, clippy::panic)]

use harness::figures::Figures;
use harness::replay::{self, Event, Options};
use harness::scenario::Scenario;
use harness::vfs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn scenarios() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let entries = std::fs::read_dir(folder).expect("the scenarios");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths
}

/// Runs a scenario; what does not hold fails the test.
fn replayed(path: &Path, settings: &str, only: Option<&str>, most: u64) -> Figures {
    vfs::install().expect("nothing has used SQLite before");
    let options = Options {
        library: harness::built_library().expect("cargo builds the extension, a dependency"),
        program: Some(env!("CARGO_BIN_EXE_harness").into()),
        seed: 1,
        only: only.map(str::to_owned),
        settings: Some(settings.to_owned()),
        thorough: false,
        most,
    };
    let scenario = Scenario::read(path).unwrap_or_else(|error| panic!("{error}"));
    let mut problems = Vec::new();
    let figures = replay::scenario(&scenario, &options, &mut |event| match event {
        Event::Begins(_) | Event::Note(..) => {}
        Event::Problem(name, verdict) => problems.push(format!("{name}: {verdict:?}")),
        Event::Unfired(name) => problems.push(format!("{name} never happened")),
    });
    assert!(problems.is_empty(), "{problems:#?}");
    figures
}

#[test]
fn nothing_is_lost_in_any_scenario() {
    // One combination of settings each, another one for the next.
    let settings = ["wal-full-4096", "persist-full-1024", "delete-normal-4096", "wal-normal-65536"];
    for (place, path) in scenarios().iter().enumerate() {
        let scenario = Scenario::read(path).unwrap_or_else(|error| panic!("{error}"));
        let names: Vec<String> = scenario.settings().iter().map(ToString::to_string).collect();
        let mut turns = settings.iter().cycle().skip(place).take(settings.len());
        let chosen = turns.find(|one| names.iter().any(|name| name == *one));
        let figures = replayed(path, chosen.expect("one of them fits"), None, 3);
        assert!(figures.injected > 20, "{}: {figures:?}", path.display());
    }
}

#[test]
fn a_replay_that_tries_no_fault_does_not_pass() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/save_again.toml");
    let outcome = |only| {
        let mut replay = Command::new(env!("CARGO_BIN_EXE_harness"));
        replay.args([
            "replay",
            path,
            "--settings",
            "delete-full-4096",
            "--most",
            "1",
            "--only",
            only,
        ]);
        replay.output().expect("it runs").status.code()
    };
    assert_eq!(outcome("power-kept@"), Some(0));
    assert_eq!(outcome("no such fault"), Some(1));
}

#[test]
fn a_touch_that_cannot_read_leaves_nothing_behind_for_the_next_transaction() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/key_renamed.toml"));
    let figures = replayed(path, "persist-full-4096", Some("io-read@"), 0);
    assert!(figures.injected >= 20, "{figures:?}");
}

#[test]
fn a_call_that_is_refused_leaves_no_transaction_open_on_a_full_disk() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/refused_call.toml"));
    let figures = replayed(path, "persist-full-4096", Some("full@"), 0);
    assert!(figures.injected >= 8, "{figures:?}");
}

/// A scenario of one sale, with something in it replaced.
fn of_one_sale(from: &str, to: &str) -> String {
    let text = r#"
about = "A sale is entered and changed."
sample = "sales"
[connections.till]
busy_timeout_ms = 0
[[steps]]
sql = "BEGIN; INSERT INTO sale_piece VALUES (1, 'A', 1); INSERT INTO sale_line VALUES (1, 1, 1, 'x', 1); COMMIT;"
[[steps]]
sql = "UPDATE sale_line SET label = 'y';"
[[after]]
on = "till"
sql = "SELECT label FROM sale_line"
rows = ["'y'"]
[runs]
journal = ["delete"]
synchronous = ["full"]
page_size = [4096]
"#;
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

#[test]
fn a_file_that_says_what_there_is_not_is_refused_by_name() {
    let problem = |from: &str, to: &str| match Scenario::parse("one", &of_one_sale(from, to)) {
        Ok(_) => "none".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(problem("'A'", "'B'"), "none");
    assert_eq!(
        problem("[connections.till]", "[connections.tlil]"),
        "one: [connections] has \"tlil\", and no step is on it"
    );
    assert_eq!(
        problem("on = \"till\"", "on = \"tlil\""),
        "one: a check is on \"tlil\", and no step is"
    );
    assert_eq!(
        problem("[4096]", "[4000]"),
        "one: there is no page_size 4000; there are 512, 1024, … 65536"
    );
    assert_eq!(problem("[4096]", "[]"), "one: [runs] leaves no combination of settings");
    assert_eq!(
        problem("[[steps]]\nsql = \"BEGIN", "[[steps]]\non = \"ofice\"\nsql = \"BEGIN"),
        "one: a step is on \"ofice\", and there is no [connections.\"ofice\"]"
    );
    assert_eq!(
        problem("SET label = 'y'", "SET label = 'y'; ATTACH 'other.db' AS other"),
        "one: a run has files of its own, and none outside: ATTACH 'other.db' AS other;"
    );
    assert_eq!(
        problem("busy_timeout_ms = 0", "opens_with = \"PRAGMA synchronous = OFF\""),
        "one: [runs] says which settings there are: PRAGMA synchronous = OFF"
    );
    assert_eq!(
        problem("UPDATE sale_line SET label = 'y';", "SELECT talon_absorb();"),
        "one: a step that calls Talon says by `instead` what it comes to in the host's tables (\"\" where that is nothing), \
         or has `journaled`, or the `error` that it ends with: SELECT talon_absorb();"
    );
    assert_eq!(
        problem("UPDATE sale_line SET label = 'y';", ""),
        "one: a step on \"till\" has no `sql`"
    );
    let again = "[[pieces]]\nkind = 'sale'\nheader = 'sale_piece'\nkey = ['id']\nlines = 'sale_line'\npiece = ['sale_id']\n[[steps]]";
    assert_eq!(problem("[[steps]]", again), "one: there are two [[pieces]] of kind sale");
}

/// What `harness` answers: its exit code, and all that it says.
fn harness(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_harness")).args(arguments).output();
    let output = output.expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// What a replay of a scenario's text says, with few faults.
fn said(text: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("one.toml");
    std::fs::write(&path, text).expect("a file");
    harness(&["replay", &path.to_string_lossy(), "--most", "1"])
}

#[test]
fn a_replay_says_what_its_scenario_may_not_have_meant() {
    let (code, text) = said(&of_one_sale("SET label = 'y'", "SET lable = 'y'"));
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("\n      fails without Talon, too: UPDATE sale_line SET lable = 'y';: no such column: lable"),
        "{text}"
    );
    let both = "SET label = 'y'; UPDATE sale_line SET lable = 'z'";
    let (code, text) = said(&of_one_sale("SET label = 'y'", both));
    let note = "note  one: fails without Talon, too: UPDATE sale_line SET lable = 'z';: no such column: lable";
    assert!(code == Some(0) && text.contains(note), "{text}");
    let (code, text) =
        said(&of_one_sale("busy_timeout_ms = 0", "opens_with = \"PRGMA foreign_keys = ON;\""));
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("[connections.\"till\"] opens_with: near \"PRGMA\": syntax error"),
        "{text}"
    );
    let (code, text) = said(&of_one_sale("SET label = 'y'", "SET label = :label"));
    let parameter = "a parameter without its value in UPDATE sale_line SET label = :label;";
    assert!(code == Some(1) && text.contains(parameter), "{text}");
    let station = "opens_with = \"PRAGMA foreign_keys = ON; SELECT talon_station('till 1');\"";
    let (code, text) = said(&of_one_sale("busy_timeout_ms = 0", station));
    assert_eq!(code, Some(0), "{text}");
    let own =
        "guard = \"SELECT talon_guard('order', 'sale_piece', 'sale_line');\"\n[connections.till]";
    let (code, text) = said(&of_one_sale("[connections.till]", own));
    assert!(
        code == Some(1) && text.contains("kind order is guarded, but has no [[pieces]]"),
        "{text}"
    );
    let nothing = of_one_sale("[[steps]]\nsql = \"BEGIN", "[[before]]\nsql = \"BEGIN");
    let without = nothing
        .replace("[connections.till]", "[connections.till]\ntalon = false\ntriggers = false")
        .replace("UPDATE sale_line SET label = 'y'", "SELECT 1")
        .replace("\"'y'\"", "\"'x'\"");
    let (code, text) = said(&without);
    assert!(code == Some(1) && text.contains("no image would be compared"), "{text}");
}

#[test]
fn pieces_that_say_something_else_than_the_guard_are_refused() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/details_and_host_triggers.toml");
    let whole = std::fs::read_to_string(path).expect("the scenario");
    let problem = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        let (code, text) = said(&whole.replacen(from, to, 1));
        assert_eq!(code, Some(1), "{text}");
        let line = text.lines().find(|line| line.starts_with("WRONG")).unwrap_or_default();
        line.split_once(": ").map(|(_, problem)| problem.to_owned()).unwrap_or_default()
    };
    assert_eq!(
        problem("header = \"orders\"\nkey", "header = \"order_line\"\nkey"),
        "[[pieces]] of kind order has order_line as `header`, its guard orders"
    );
    assert_eq!(
        problem("key = [\"shop\", \"no\"]", "key = [\"shop\"]"),
        "[[pieces]] of kind order has shop as `key`, its guard shop, no"
    );
    assert_eq!(
        problem("  { name = \"payment\", table = \"payment\", piece = [\"shop\", \"no\"] },\n", ""),
        "[[pieces]] of kind order has taxes (table line_tax, shop, no, rank refers to lines by shop, no, rank) as `details`, \
         its guard payment (table payment, shop, no refers to the header), taxes (table line_tax, shop, no, rank refers to lines by shop, no, rank)"
    );
}

#[test]
fn options_that_do_not_fit_are_refused_by_name() {
    let refused = |arguments: &[&str], text: &str| {
        let (code, said) = harness(arguments);
        assert!(code == Some(2) && said.contains(text), "{arguments:?}: {said}");
    };
    refused(&["replay", "--most", "x"], "--most takes a number, not \"x\"");
    refused(&["simulate", "--most", "3"], "simulate takes no --most; see --help");
    refused(&["replay", "--library", "/no/such.so"], "there is no library /no/such.so");
    refused(&["replay", "/no/such.toml"], "/no/such.toml: No such file or directory");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/save_again.toml");
    let (code, said) = harness(&["replay", path, "--settings", "wal-fll"]);
    assert!(
        code == Some(1)
            && said.contains("note  save_again: no such settings; it has wal-normal-4096, "),
        "{said}"
    );
}
