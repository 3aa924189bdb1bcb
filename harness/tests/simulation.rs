//! Hosts made up from seeds; `harness simulate` is for more of them.

// A test that lacks what it needs ends there and then: expect and panic are its way of saying so.
#![allow(clippy::expect_used)]

use harness::figures::Figures;
use harness::replay::{Event, Options};
use harness::simulate::{self, runs};
use harness::vfs;
use std::time::Duration;

/// Simulates the host of a seed; gives what does not hold, too.
fn simulated(seed: u64) -> (Figures, Vec<String>) {
    vfs::install().expect("nothing has used SQLite before");
    let library = harness::built_library().expect("cargo builds the extension, a dependency");
    let options = Options { library, seed, ..Options::default() };
    let mut problems = Vec::new();
    let figures = simulate::run(&simulate::scenario(seed), &options, &mut |event| match event {
        Event::Problem(name, verdict) => problems.push(format!("{name}: {verdict:?}")),
        Event::Begins(_) | Event::Unfired(_) | Event::Note(..) => {}
    });
    (figures, problems)
}

#[test]
fn a_minute_of_hosts_made_up_from_seeds_loses_nothing() {
    // The seeds are the same each time, as far as a minute goes; TALON_SIMULATE_FROM chooses other ones.
    let from = std::env::var("TALON_SIMULATE_FROM").map_or(Ok(1), |text| text.parse());
    let plan = runs::Plan {
        length: Duration::from_secs(60),
        from: from.expect("a number"),
        hosts: u64::MAX,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        write: env!("CARGO_TARGET_TMPDIR").into(),
        program: env!("CARGO_BIN_EXE_harness").into(),
    };
    let library = harness::built_library().expect("cargo builds the extension, a dependency");
    let sum = runs::simulate_all(&plan, &library);
    eprintln!("{sum} from={}", plan.from);
    // What does not hold is printed above, with the seed and the commands that replay it.
    assert!(sum.total.lost + sum.total.wrong == 0, "{sum} from={}", plan.from);
    assert!(sum.runs > 0 && sum.total.faults > 5, "{sum}: next to nothing happened");
}

#[test]
fn a_seed_makes_the_same_host_and_fails_it_at_the_same_moments() {
    let host = |seed| toml::to_string(&simulate::scenario(seed)).expect("a scenario's file");
    assert_eq!(host(7), host(7));
    assert_ne!(host(7), host(8));
    let (first, again) = (simulated(7).0, simulated(7).0);
    assert_eq!(first.distinct, again.distinct);
    assert_eq!((first.images, first.states), (again.images, again.states));
}

#[test]
fn a_host_made_up_reads_back_from_its_scenario_file() {
    for seed in 0..200 {
        let scenario = simulate::scenario(seed);
        let text = toml::to_string(&scenario).expect("a scenario's file");
        let read = harness::scenario::Scenario::parse(&scenario.name, &text);
        assert_eq!(toml::to_string(&read.expect("it reads back")).expect("its file"), text);
    }
}
