//! Months of a central database and five remote ones; `harness sites` is for more of them.

// A test that lacks what it needs ends there and then: expect and panic are its way of saying so.
#![allow(clippy::expect_used)]

use harness::sites::live;
use std::time::{Duration, Instant};

/// How long new months are begun.
const LENGTH: Duration = Duration::from_secs(60);

#[test]
fn months_of_flows_that_go_wrong_end_with_the_same_everywhere_or_say_why_not() {
    harness::vfs::install().expect("nothing has used SQLite before");
    let library = harness::built_library().expect("cargo builds the extension, a dependency");
    let start = Instant::now();
    let (mut months, mut faults) = (0, 0);
    for seed in 1.. {
        let month = live(seed, &library);
        assert!(
            month.problems.is_empty(),
            "cargo run --release -p harness -- sites --seed {seed}\n{:#?}",
            month.problems
        );
        (months, faults) = (months + 1, faults + month.faults);
        if start.elapsed() > LENGTH {
            break;
        }
    }
    println!("months={months} faults={faults}");
    assert!(faults > months, "only {faults} faults happened in {months} months");
}

#[test]
fn a_seed_makes_the_same_month() {
    harness::vfs::install().expect("nothing has used SQLite before");
    let library = harness::built_library().expect("cargo builds the extension, a dependency");
    let [first, again] = [7, 7].map(|seed| live(seed, &library));
    assert!(first.events > 300, "{} events", first.events);
    assert_eq!((first.events, first.writes), (again.events, again.writes));
}
