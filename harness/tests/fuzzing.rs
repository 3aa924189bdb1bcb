//! Some hostile inputs for each target; `harness fuzz` is for more of them.

// A test that lacks what it needs ends there and then: expect and panic are its way of saying so.
#![allow(clippy::expect_used)]

use harness::fuzz::{self, Fuzz, TARGETS};
use harness::vfs;

#[test]
fn no_input_panics_leaks_or_harms_the_file() {
    vfs::install().expect("nothing has used SQLite before");
    let library = harness::built_library().expect("cargo builds the extension, a dependency");
    let shop = Fuzz::new(&library).expect("a shop");
    for target in TARGETS {
        let corpus = fuzz::corpus(target).expect("inputs in the repository");
        let mut random = fastrand::Rng::with_seed(1);
        for place in 0..40 {
            let input = fuzz::input(&corpus, place, &mut random);
            let findings = shop.tries(target, &input);
            assert!(findings.is_empty(), "{target} {}: {findings:?}", input.escape_ascii());
        }
    }
}
