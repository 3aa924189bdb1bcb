//! Every scenario, with some faults of each kind in each of its settings; all of them are `harness replay`'s work.

use harness::replay::{self, Event, Options};
use harness::scenario::Scenario;
use harness::vfs;

#[test]
fn nothing_is_lost_in_any_scenario() {
    vfs::install().expect("nothing has used SQLite before");
    let library = harness::built_library().expect("cargo builds the extension, a dependency");
    let options = Options { library, seed: 1, only: None, thorough: false, most: 1 };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut problems = Vec::new();
    let mut faults = 0;
    for entry in std::fs::read_dir(folder).expect("the scenarios") {
        let path = entry.expect("a file").path();
        let scenario = Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let mut listen = |event: Event<'_>| match event {
            Event::Begins(_) => {}
            Event::Problem(name, verdict) => problems.push(format!("{name}: {verdict:?}")),
            Event::Unfired(name) => problems.push(format!("{name} never happened")),
        };
        faults += replay::scenario(&scenario, &options, &mut listen).injected;
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(faults > 100, "only {faults} faults happened");
}
