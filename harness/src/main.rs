//! The program: `harness replay PATH…`.

use harness::replay::{Event, Figures, Options};
use harness::scenario::Scenario;
use harness::{replay, vfs};
use lexopt::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

const HELP: &str = "\
harness replay [PATH…]   runs scenarios: files, or folders of them; all of harness/scenarios where no path is given
  --seed N        chooses what survives power cuts and which snapshots are restored (default 1)
  --only TEXT     only faults whose name contains TEXT, as a line of output names them
  --list          names scenarios, settings and numbers of faults, and runs nothing
  --thorough      every fault in every combination of settings
  --most N        at most N faults of a kind in a combination of settings, spread over all calls
  --library PATH  the extension (default: the one built beside this program)";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("harness: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Box<dyn std::error::Error>> {
    vfs::install()?;
    let mut arguments = lexopt::Parser::from_env();
    let mut command = None;
    let mut paths = Vec::new();
    let mut library = None;
    let mut options =
        Options { library: PathBuf::new(), seed: 1, only: None, thorough: false, most: 0 };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("seed") => options.seed = arguments.value()?.parse()?,
            Long("only") => options.only = Some(arguments.value()?.string()?),
            Long("thorough") => options.thorough = true,
            Long("most") => options.most = arguments.value()?.parse()?,
            Long("library") => library = Some(PathBuf::from(arguments.value()?)),
            Long("help") | Short('h') => {
                println!("{HELP}");
                return Ok(true);
            }
            Value(value) if command.is_none() => command = Some(value.string()?),
            Value(value) => paths.push(PathBuf::from(value)),
            other => return Err(other.unexpected().into()),
        }
    }
    if command.as_deref() != Some("replay") {
        return Err(format!("which command?\n{HELP}").into());
    }
    options.library = match library.or_else(harness::built_library) {
        Some(library) => library,
        None => {
            return Err("there is no libtalon beside this program; name one with --library".into());
        }
    };
    replay_all(&paths, &options)
}

fn replay_all(paths: &[PathBuf], options: &Options) -> Result<bool, Box<dyn std::error::Error>> {
    let mut total = Figures::default();
    let mut distinct = 0;
    for path in scenario_files(paths)? {
        let scenario = Scenario::read(&path)?;
        let start = Instant::now();
        let mut listen = |event: Event<'_>| match event {
            Event::Begins(_) => {}
            Event::Problem(name, verdict) => {
                for lost in &verdict.lost {
                    println!("LOST  {name}: {lost}");
                }
                for wrong in &verdict.wrong {
                    println!("WRONG {name}: {wrong}");
                }
            }
            Event::Unfired(name) => println!("never happened: {name}"),
        };
        let figures = replay::scenario(&scenario, options, &mut listen);
        let families: Vec<String> =
            figures.families.iter().map(|(family, count)| format!("{family} {count}")).collect();
        println!(
            "{} {}: faults={} distinct={} ({}) states={} images={} lost={} wrong={} unfired={} {:.1}s",
            if figures.lost + figures.wrong == 0 { "ok  " } else { "FAIL" },
            scenario.name,
            figures.injected,
            figures.distinct.len(),
            families.join(", "),
            figures.states,
            figures.images,
            figures.lost,
            figures.wrong,
            figures.unfired,
            start.elapsed().as_secs_f64()
        );
        distinct += figures.distinct.len();
        total.injected += figures.injected;
        total.states += figures.states;
        total.lost += figures.lost;
        total.wrong += figures.wrong;
    }
    println!("faults={distinct} states={} lost={} wrong={}", total.states, total.lost, total.wrong);
    Ok(total.lost + total.wrong == 0)
}

/// The scenario files that paths name, each once, by name.
fn scenario_files(paths: &[PathBuf]) -> std::io::Result<BTreeSet<PathBuf>> {
    let own = [Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")];
    let mut found = BTreeSet::new();
    for path in if paths.is_empty() { &own[..] } else { paths } {
        if !path.is_dir() {
            found.insert(path.clone());
            continue;
        }
        for entry in std::fs::read_dir(path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                found.insert(path);
            }
        }
    }
    Ok(found)
}
