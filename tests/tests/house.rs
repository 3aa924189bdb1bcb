//! The rules of the house that a compiler does not check.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Rust sources below a folder of the workspace, by their path in it.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push((name, std::fs::read_to_string(&path).expect("a source")));
            }
        }
    }
    found
}

/// The part of a source that ships: without its unit tests.
fn shipped(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap_or_default()
}

fn code_lines(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source
        .lines()
        .enumerate()
        .map(|(place, line)| (place + 1, line.trim()))
        .filter(|(_, line)| !line.starts_with("//"))
}

#[test]
fn unsafe_lives_in_the_fence_only() {
    let fence = ["ext/src/sqlite/", "ext/sys/", "harness/src/vfs/"];
    let mut offenders = Vec::new();
    for (name, source) in [sources("ext"), sources("driver"), sources("harness")].concat() {
        if fence.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        for (line, text) in code_lines(&source) {
            if text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                offenders.push(format!("{name}:{line}: {text}"));
            }
        }
    }
    assert!(offenders.is_empty(), "{offenders:#?}");
}

#[test]
fn the_extension_does_not_panic_on_purpose() {
    let mut offenders = Vec::new();
    let all = sources("ext/src");
    // A file may be a module of tests as a whole.
    let is_of_tests = |name: &str| {
        let stem = Path::new(name).file_stem().unwrap_or_default().display();
        let declared = format!("#[cfg(test)]\nmod {stem};");
        all.iter().any(|(_, source)| source.contains(&declared))
    };
    for (name, source) in all.iter().filter(|(name, _)| !is_of_tests(name)) {
        for (line, text) in code_lines(shipped(source)) {
            let words = [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!("];
            if words.iter().any(|word| text.contains(word)) {
                offenders.push(format!("{name}:{line}: {text}"));
            }
        }
    }
    assert!(offenders.is_empty(), "{offenders:#?}");
}

#[test]
fn imports_point_down() {
    // A layer may name itself and what stands to its right.
    let layers = ["surface", "domain", "storage", "sqlite"];
    let mut offenders = Vec::new();
    for (place, layer) in layers.iter().enumerate() {
        for (name, source) in sources(&format!("ext/src/{layer}")) {
            for (line, text) in code_lines(&source) {
                for above in &layers[..place] {
                    if text.contains(&format!("crate::{above}::")) {
                        offenders.push(format!("{name}:{line}: {text}"));
                    }
                }
            }
        }
    }
    assert!(offenders.is_empty(), "{offenders:#?}");
}

#[test]
fn a_file_is_one_idea() {
    let long: Vec<String> = ["ext/src", "tests", "benches", "harness", "driver"]
        .into_iter()
        .flat_map(sources)
        .filter(|(_, source)| source.lines().count() > 600)
        .map(|(name, source)| format!("{name}: {} lines", source.lines().count()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// `docs/procedure.md` says in which file which test shows a paragraph.
#[test]
fn the_map_of_the_procedure_names_tests_that_exist() {
    let map = std::fs::read_to_string(root().join("docs/procedure.md")).expect("the map");
    let mut source = String::new();
    let mut named = Vec::new();
    for word in map.split('`').skip(1).step_by(2) {
        if word.ends_with(".rs") {
            let path = root().join("tests/tests").join(word);
            source =
                std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{word}: {error}"));
        } else if word.matches('_').count() > 3 && !word.contains(' ') {
            assert!(source.contains(&format!("fn {word}(")), "there is no {word}");
            named.push(word);
        }
    }
    let procedure = root().join("tests/tests/procedure.rs");
    let procedure = std::fs::read_to_string(procedure).expect("the situations");
    let tests = procedure.split("#[test]\nfn ").skip(1).filter_map(|text| text.split('(').next());
    let missing: Vec<&str> = tests.filter(|test| !named.contains(test)).collect();
    assert!(missing.is_empty(), "the map has no {missing:?}");
}
