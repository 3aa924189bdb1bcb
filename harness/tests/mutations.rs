//! The deliberate breaks of `harness/mutations` still fit the extension; `harness/mutations/run.sh` shows that each is
//! noticed.

// A test that lacks what it needs ends there and then: expect and panic are its way of saying so.
#![allow(clippy::expect_used, clippy::panic)]

use harness::scenario::Scenario;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The lines that each hunk of a patch expects, by the file that it changes.
fn expected(patch: &str) -> Vec<(&str, String)> {
    let mut file = "";
    let mut hunks: Vec<(&str, String)> = Vec::new();
    for line in patch.lines().skip_while(|line| !line.starts_with("--- a/")) {
        if let Some(name) = line.strip_prefix("--- a/") {
            file = name;
        } else if line.starts_with("@@") {
            hunks.push((file, String::new()));
        } else if let (Some(rest), Some((_, hunk))) =
            (line.strip_prefix([' ', '-']), hunks.last_mut())
        {
            hunk.push_str(rest);
            hunk.push('\n');
        }
    }
    hunks
}

#[test]
fn every_break_still_applies_and_names_a_scenario() {
    let folder = root().join("harness/mutations");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the mutations") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        count += 1;
        let shown = path.display();
        let patch = std::fs::read_to_string(&path).expect("a patch");
        let named = patch.lines().find_map(|line| line.strip_prefix("Scenario: "));
        let named = named.unwrap_or_else(|| panic!("{shown} names no scenario"));
        let scenario = root().join(format!("harness/scenarios/{named}.toml"));
        Scenario::read(&scenario).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let hunks = expected(&patch);
        assert!(!hunks.is_empty(), "{shown} changes nothing");
        for (file, lines) in hunks {
            let source = std::fs::read_to_string(root().join(file)).expect("the patched file");
            let found = source.matches(&lines).count();
            assert_eq!(found, 1, "{shown} fits {file} in {found} places:\n{lines}");
        }
    }
    assert!(count >= 12, "only {count} breaks");
}
