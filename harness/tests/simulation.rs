//! Hosts made up from seeds; `harness simulate` is for more of them.

// A test that lacks what it needs ends there and then: expect and panic are its way of saying so.
#![allow(clippy::expect_used)]

use harness::figures::Figures;
use harness::replay::{Event, Options};
use harness::{simulate, vfs};

/// Simulates the host of a seed; gives what does not hold, too.
fn simulated(seed: u64) -> (Figures, Vec<String>) {
    vfs::install().expect("nothing has used SQLite before");
    let library = harness::built_library().expect("cargo builds the extension, a dependency");
    let options = Options { library, seed, ..Options::default() };
    let mut problems = Vec::new();
    let figures = simulate::run(&simulate::scenario(seed), &options, &mut |event| match event {
        Event::Problem(name, verdict) => problems.push(format!("{name}: {verdict:?}")),
        Event::Begins(_) | Event::Unfired(_) => {}
    });
    (figures, problems)
}

#[test]
fn hosts_made_up_from_seeds_lose_nothing() {
    let mut injected = 0;
    for seed in SEEDS {
        let (figures, problems) = simulated(seed);
        assert!(problems.is_empty(), "{problems:#?}");
        injected += figures.injected;
    }
    assert!(injected > 20, "only {injected} faults happened");
}

const SEEDS: std::ops::Range<u64> = 100..104;

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
