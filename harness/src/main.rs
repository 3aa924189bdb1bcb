//! The program: arguments to a run, its outcome to an exit code.

use harness::record::{self, Source};
use harness::replay::{self, Options};
use harness::scenario::Scenario;
use harness::simulate::runs;
use harness::{fuzz, process, sites, vfs, workers};
use lexopt::prelude::*;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
harness replay [PATH…]   runs scenarios: files, or folders of them; all of harness/scenarios where no path is given
  --seed N         chooses what survives power cuts and which snapshots are restored (default 1)
  --only TEXT      only faults whose name contains TEXT, as a line of output names them
  --settings TEXT  only combinations of settings whose name contains TEXT, such as wal-full
  --list           counts the calls that could fail in each scenario, and fails none
  --thorough       every fault in every combination of settings
  --most N         at most N calls of a kind in a combination of settings, spread over all (default 0: every call)
  --jobs N         so many scenarios at once (default: as many as there are processors)
  --library PATH   the extension (default: the one built beside this program)

harness simulate   makes hosts up, each from a seed, and fails them at random moments
  --seconds N      for so long (default 60)
  --from N         beginning with this seed (default: one that nobody has chosen)
  --seed N         only the host of this seed, as it was
  --write DIR      writes hosts that fail, made small, to DIR as scenarios (default: here); with --seed, that host
  --jobs N, --library PATH   as above

harness record LOG   makes a scenario of a log: of `.trace FILE --expanded` in SQLite's shell, or any script; a line may
                     begin with [name], the connection of what follows
  --schema FILE    the host's tables (default: the CREATE statements that the log begins with)
  --guard FILE     what declares the guards (default: the calls of talon_guard in the log)
  --last N         faults are tried on the last N statements, from the start of a transaction on (default 30)
  --write DIR      where the scenario is written, as the log is called (default: here)

harness sites   lives through months of a central database and five remote ones, whose exchanges go wrong in every way
  --from N, --hosts N   that many seeds from this one (default: as long as --seconds says)
  --seed N         only the month of this seed, told in full
  --seconds N, --jobs N, --library PATH   as above

harness fuzz   tries hostile inputs, mutated from harness/corpus
  --target NAME    definition, rule, check, stage, payload, payload_hashed, calls, flow or flow_lines (default: one
                   after the other)
  --seconds N, --seed N, --library PATH   as above";

type Problem = Box<dyn std::error::Error>;

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

struct Arguments {
    command: String,
    paths: Vec<PathBuf>,
    options: Options,
    jobs: usize,
    lists: bool,
    seconds: u64,
    /// How many hosts a simulation makes at most, and how many months sites live through.
    hosts: u64,
    /// The seed that a simulation or the months begin with.
    from: Option<u64>,
    write: Option<PathBuf>,
    schema: Option<PathBuf>,
    guard: Option<PathBuf>,
    last: usize,
    target: Option<String>,
    /// What a worker is told: the options again, as they were given.
    passed_on: Vec<String>,
}

impl Arguments {
    /// Where scenarios are written.
    fn folder(&self) -> PathBuf {
        self.write.clone().unwrap_or_else(|| PathBuf::from("."))
    }

    /// Whether one seed is asked for.
    fn is_seed_chosen(&self) -> bool {
        self.passed_on.iter().any(|word| word == "--seed")
    }

    /// The seed to begin with: one that nobody has chosen, where none was. Never so large that it could not be typed.
    fn first_seed(&self) -> u64 {
        self.from.unwrap_or_else(|| u64::from(fastrand::u32(..)))
    }
}

fn run() -> Result<bool, Problem> {
    vfs::install()?;
    let Some(arguments) = arguments()? else {
        println!("{HELP}");
        return Ok(true);
    };
    let Arguments { command, paths, options, .. } = &arguments;
    match (command.as_str(), paths.as_slice()) {
        ("replay", _) => replay_scenarios(&arguments),
        ("simulate" | "simulating", _) => simulate(&arguments),
        ("record", _) => record_log(&arguments),
        ("sites" | "living", _) => live(&arguments),
        ("fuzz" | "fuzzing", _) => try_inputs(&arguments),
        // What this program starts of itself, as `simulating`, `living` and `fuzzing` are: a scenario's worker, a host to be
        // killed, and what makes one that fails small.
        ("work", [path]) => workers::work(path, options),
        ("host", [path, setting, folder]) => {
            let scenario = Scenario::read(path)?;
            process::host(&scenario, &setting.to_string_lossy(), folder, options)
        }
        ("shrinking", _) => runs::write_shrunk(options, &arguments.folder()),
        (other, _) => Err(format!("there is no command {other:?}\n{HELP}").into()),
    }
}

fn replay_scenarios(arguments: &Arguments) -> Result<bool, Problem> {
    let files = scenario_files(&arguments.paths)?;
    // A file that cannot be read is told before the others run.
    files.iter().try_for_each(|path| Scenario::read(path).map(drop))?;
    if arguments.lists {
        return list(&files, &arguments.options);
    }
    let files: Vec<PathBuf> = files.into_iter().collect();
    let total = workers::replay_all(&files, &arguments.passed_on, arguments.jobs);
    if total.faults + total.wrong == 0 {
        println!("no fault was tried: names are such as 'save_again wal-full-4096 power-torn@17'");
    }
    if total.unfired > 0 {
        println!("{} faults never happened", total.unfired);
    }
    println!(
        "faults={} states={} lost={} wrong={}",
        total.faults, total.states, total.lost, total.wrong
    );
    Ok(total.faults > 0 && total.lost + total.wrong == 0)
}

fn simulate(arguments: &Arguments) -> Result<bool, Problem> {
    let Arguments { options, seconds, hosts, write, .. } = arguments;
    if arguments.command == "simulating" {
        return runs::work(options, *hosts, *seconds);
    }
    let chosen = arguments.is_seed_chosen();
    let from = if chosen { options.seed } else { arguments.first_seed() };
    if let (true, Some(folder)) = (chosen, write) {
        println!("{}", runs::write(&harness::simulate::scenario(from), folder)?.display());
    }
    let plan = runs::Plan {
        length: std::time::Duration::from_secs(*seconds),
        from,
        hosts: if chosen { 1 } else { *hosts },
        jobs: if chosen { 1 } else { arguments.jobs },
        write: arguments.folder(),
        program: std::env::current_exe()?,
    };
    let sum = runs::simulate_all(&plan, &options.library);
    println!("{sum} from={from}");
    Ok(sum.runs > 0 && sum.total.lost + sum.total.wrong == 0)
}

fn record_log(arguments: &Arguments) -> Result<bool, Problem> {
    let [log] = arguments.paths.as_slice() else {
        return Err(format!("record takes one log\n{HELP}").into());
    };
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let name = log.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let source = Source {
        name: name.unwrap_or_default(),
        log: read(log)?,
        schema: arguments.schema.as_ref().map(read).transpose()?,
        guard: arguments.guard.as_ref().map(read).transpose()?,
        last: arguments.last,
    };
    let recorded = record::record(&source, &arguments.options.library)?;
    let path = runs::write(&recorded.scenario, &arguments.folder())?;
    let (before, steps) = (recorded.scenario.before.len(), recorded.scenario.steps.len());
    println!(
        "{}: {} statements in {before} steps before the faults and {steps} with them",
        path.display(),
        recorded.statements
    );
    if recorded.commands > 0 {
        println!(
            "left out: {} commands of the shell, and settings that the runs have",
            recorded.commands
        );
    }
    if recorded.talons > 0 {
        println!("left out of the schema: {} statements on Talon's own tables", recorded.talons);
    }
    for kind in &recorded.records {
        println!("not compared: {kind}, which has no lines");
    }
    for changing in &recorded.changing {
        println!("differs from run to run: {changing}");
    }
    for failing in &recorded.failing {
        println!("fails as it did: {failing}");
    }
    println!("$ cargo run --release -p harness -- replay {}", path.display());
    Ok(true)
}

fn live(arguments: &Arguments) -> Result<bool, Problem> {
    let Arguments { options, hosts, .. } = arguments;
    let library = &options.library;
    if arguments.is_seed_chosen() {
        return sites::runs::work(options.seed..options.seed + 1, library, true);
    }
    let from = arguments.first_seed();
    let seeds = from..from.saturating_add(*hosts);
    if arguments.command == "living" {
        return sites::runs::work(seeds, library, false);
    }
    let length = match hosts {
        &u64::MAX => std::time::Duration::from_secs(arguments.seconds),
        _ => std::time::Duration::MAX,
    };
    let sum = sites::runs::live_all(seeds, length, arguments.jobs, library);
    println!("{sum} from={from}");
    Ok(sum.months > 0 && sum.wrong == 0)
}

fn try_inputs(arguments: &Arguments) -> Result<bool, Problem> {
    let Arguments { options, seconds, target, .. } = arguments;
    let chosen = target.as_deref();
    if let Some(unknown) = chosen.filter(|name| !fuzz::TARGETS.contains(name)) {
        return Err(format!("no target {unknown:?}; there are {}", fuzz::TARGETS.join(", ")).into());
    }
    match (arguments.command.as_str(), chosen) {
        ("fuzzing", Some(target)) => fuzz::work(target, options.seed, *seconds, &options.library),
        _ => {
            let targets = chosen.map_or(fuzz::TARGETS.to_vec(), |target| vec![target]);
            let length = std::time::Duration::from_secs(*seconds);
            let tried = fuzz::fuzz(&targets, options.seed, length, &options.library)?;
            println!("inputs={} wrong={}", tried.inputs, tried.wrong);
            Ok(tried.inputs > 0 && tried.wrong == 0)
        }
    }
}

/// None where help is asked for.
fn arguments() -> Result<Option<Arguments>, Problem> {
    let mut given = lexopt::Parser::from_env();
    let mut command = None;
    let mut paths = Vec::new();
    let mut library = None;
    let mut jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut lists = false;
    let (mut seconds, mut hosts, mut from, mut write, mut target) =
        (60, u64::MAX, None, None, None);
    let (mut schema, mut guard, mut last) = (None, None, 30);
    let mut passed_on = Vec::new();
    let mut options = Options { seed: 1, ..Options::default() };
    let mut names = BTreeSet::new();
    while let Some(argument) = given.next()? {
        if let Long(name) = argument {
            names.insert(name.to_owned());
        }
        match argument {
            Long(name @ ("seed" | "only" | "settings" | "most" | "library")) => {
                let name = name.to_owned();
                let value = given.value()?.string()?;
                passed_on.extend([format!("--{name}"), value.clone()]);
                match name.as_str() {
                    "seed" => options.seed = number(&name, &value)?,
                    "only" => options.only = Some(value),
                    "settings" => options.settings = Some(value),
                    "most" => options.most = number(&name, &value)?,
                    _ => library = Some(PathBuf::from(value)),
                }
            }
            Long("thorough") => {
                options.thorough = true;
                passed_on.push("--thorough".to_owned());
            }
            Long(name @ ("jobs" | "seconds" | "hosts" | "from" | "last")) => {
                let name = name.to_owned();
                let value = given.value()?.string()?;
                match name.as_str() {
                    "jobs" => jobs = number(&name, &value)?,
                    "seconds" => seconds = number(&name, &value)?,
                    "hosts" => hosts = number(&name, &value)?,
                    "from" => from = Some(number(&name, &value)?),
                    _ => last = number(&name, &value)?,
                }
            }
            Long("write") => write = Some(PathBuf::from(given.value()?)),
            Long("schema") => schema = Some(PathBuf::from(given.value()?)),
            Long("guard") => guard = Some(PathBuf::from(given.value()?)),
            Long("target") => target = Some(given.value()?.string()?),
            Long("list") => lists = true,
            Long("help") | Short('h') => return Ok(None),
            Value(value) if command.is_none() => command = Some(value.string()?),
            Value(value) => paths.push(PathBuf::from(value)),
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(command) = command else { return Ok(None) };
    check(&command, &names, &paths)?;
    if jobs == 0 {
        return Err("--jobs takes a number from 1 on".into());
    }
    options.program = Some(std::env::current_exe()?);
    options.library = library
        .or_else(harness::built_library)
        .ok_or("there is no libtalon beside this program; name one with --library")?;
    if !options.library.is_file() {
        return Err(format!("there is no library {}", options.library.display()).into());
    }
    Ok(Some(Arguments {
        command,
        paths,
        options,
        jobs,
        lists,
        seconds,
        hosts,
        from,
        write,
        schema,
        guard,
        last,
        target,
        passed_on,
    }))
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Problem> {
    value.parse().map_err(|_| format!("--{name} takes a number, not {value:?}").into())
}

/// Refuses options and words that a command has not.
fn check(command: &str, names: &BTreeSet<String>, paths: &[PathBuf]) -> Result<(), Problem> {
    if let Some(name) = names.iter().find(|name| !takes(command, name)) {
        return Err(format!("{command} takes no --{name}; see --help").into());
    }
    let takes_none = matches!(command, "simulate" | "sites" | "fuzz");
    if let Some(word) = paths.first().filter(|_| takes_none) {
        return Err(format!("{command} takes no {}; see --help", word.display()).into());
    }
    let is_range = names.contains("from") || names.contains("hosts");
    if names.contains("seed") && is_range && command != "simulating" {
        return Err("--seed is one seed: not with --from or --hosts".into());
    }
    Ok(())
}

/// Whether a command has an option of this name. What the program starts of itself is given what it needs.
fn takes(command: &str, name: &str) -> bool {
    let named: &[&str] = match command {
        "replay" => &["seed", "only", "settings", "list", "thorough", "most", "jobs"],
        "simulate" => &["seconds", "from", "seed", "hosts", "write", "jobs"],
        "record" => &["schema", "guard", "last", "write"],
        "sites" => &["from", "hosts", "seed", "seconds", "jobs"],
        "fuzz" => &["target", "seconds", "seed"],
        _ => return true,
    };
    name == "library" || named.contains(&name)
}

fn list(files: &BTreeSet<PathBuf>, options: &Options) -> Result<bool, Problem> {
    let mut out = std::io::stdout().lock();
    for path in files {
        let scenario = Scenario::read(path)?;
        writeln!(out, "{}: {}", scenario.name, scenario.about)?;
        for (setting, counted) in replay::count(&scenario, options)? {
            let counted: Vec<String> =
                counted.iter().map(|(kind, calls)| format!("{kind} {calls}")).collect();
            writeln!(out, "  {setting}: {}", counted.join(", "))?;
        }
    }
    Ok(!files.is_empty())
}

/// The scenario files that paths name, each once, by name.
fn scenario_files(paths: &[PathBuf]) -> Result<BTreeSet<PathBuf>, Problem> {
    let own = [Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")];
    let mut found = BTreeSet::new();
    for path in if paths.is_empty() { &own[..] } else { paths } {
        if !path.is_dir() {
            found.insert(path.clone());
            continue;
        }
        let before = found.len();
        let entries =
            std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                found.insert(path);
            }
        }
        if found.len() == before {
            return Err(format!("there is no scenario (.toml) in {}", path.display()).into());
        }
    }
    Ok(found)
}
