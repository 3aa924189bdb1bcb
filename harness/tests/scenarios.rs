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
        Event::Begins(_) => {}
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
