//! Months of a central database and five remote ones; `harness sites` is for more of them.

// A test that lacks what it needs ends there and then: expect and panic are its way of saying so.
#![allow(clippy::expect_used)]

use harness::sites::live;
use std::process::Command;
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
    // Each in a process of its own, as whoever looks into a seed lives through it: nothing is left of another run.
    let told = || {
        let mut sites = Command::new(env!("CARGO_BIN_EXE_harness"));
        let output = sites.args(["sites", "--seed", "7"]).output().expect("it runs");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let first = told();
    assert!(first.lines().count() > 300, "{first}");
    assert_eq!(first, told());
}
