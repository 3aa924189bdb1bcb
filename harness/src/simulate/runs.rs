//! Simulations side by side, in processes of their own: one that dies is named by its seed, and the next ones go on.

use super::{named, run, scenario, shrink};
use crate::figures::Total;
use crate::replay::Options;
use crate::scenario::Scenario;
use crate::workers::{BEGINS, ENDS, Said, Tally, in_batches};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many hosts a process simulates: a new one begins with fresh memory.
const HOSTS_A_PROCESS: u64 = 50;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long new hosts are begun.
    pub length: Duration,
    /// The first seed.
    pub from: u64,
    /// How many at most.
    pub hosts: u64,
    /// So many at once.
    pub jobs: usize,
    /// Where hosts that fail are written.
    pub write: PathBuf,
    /// This program.
    pub program: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    /// Hosts.
    pub runs: u64,
    /// Their figures.
    pub total: Total,
}

impl Sum {
    /// Adds one more host's.
    fn add(&mut self, total: Total) {
        self.runs += 1;
        self.total.add(total);
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Total { faults, states, lost, wrong, .. } = self.total;
        write!(to, "runs={} faults={faults} states={states} lost={lost} wrong={wrong}", self.runs)
    }
}

/// Simulates hosts one after the other and tells on standard output what happens: what [`simulate_all`] starts.
///
/// # Errors
/// An output that cannot be written.
pub fn work(options: &Options, hosts: u64, seconds: u64) -> Result<bool, Box<dyn Error>> {
    let start = Instant::now();
    let mut say = Said::default();
    let mut is_clean = true;
    for seed in options.seed..options.seed.saturating_add(hosts) {
        if seed > options.seed && start.elapsed() > Duration::from_secs(seconds) {
            break;
        }
        say.line(&format!("{BEGINS}{}", named(seed)));
        let options = Options { seed, ..options.clone() };
        let figures = run(&scenario(seed), &options, &mut |event| say.event(&event));
        is_clean &= figures.is_clean();
        say.line(&format!("{ENDS}{}", figures.total()));
    }
    say.end()?;
    Ok(is_clean)
}

/// Simulates hosts until the time is up.
pub fn simulate_all(plan: &Plan, library: &Path) -> Sum {
    let seeds = plan.from..plan.from.saturating_add(plan.hosts);
    let tally: Tally<Sum> = Tally::new(plan.length);
    in_batches(seeds, HOSTS_A_PROCESS, plan.jobs, &tally, &|seeds| {
        let from = seeds.start;
        plan.run(seeds, library, &tally).unwrap_or_else(|error| {
            println!("WRONG {}: {error}", named(from));
            tally.add(|sum| sum.add(Total { wrong: 1, ..Total::default() }));
            from + 1
        })
    });
    tally.sum()
}

impl Plan {
    /// One process; gives the seed after the last that it began.
    fn run(&self, seeds: Range<u64>, library: &Path, tally: &Tally<Sum>) -> std::io::Result<u64> {
        let mut child = Command::new(&self.program)
            .args(["simulating", "--seed", &seeds.start.to_string()])
            .args(["--hosts", &(seeds.end - seeds.start).to_string()])
            .args(["--seconds", &tally.left().as_secs().to_string(), "--library"])
            .arg(library)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut at = String::new();
        let (mut begun, mut ended) = (seeds.start, seeds.start);
        if let Some(out) = child.stdout.take() {
            for line in BufReader::new(out).split(b'\n') {
                let line = String::from_utf8_lossy(&line?).into_owned();
                if let Some(name) = line.strip_prefix(BEGINS) {
                    at = name.to_owned();
                    // A host has its name, its faults have more.
                    begun += u64::from(!name.contains(' '));
                } else if let Some(total) = line.strip_prefix(ENDS).and_then(Total::parse) {
                    ended = begun;
                    if total.lost + total.wrong > 0 {
                        self.name_failing(begun - 1, library);
                    }
                    tally.add(|sum| sum.add(total));
                } else {
                    println!("{line}");
                }
            }
        }
        let status = child.wait()?;
        if ended < begun || begun == seeds.start {
            let failing = begun.max(seeds.start + 1) - 1;
            println!("WRONG {at}: the process ended ({status})");
            self.name_failing(failing, library);
            tally.add(|sum| sum.add(Total { wrong: 1, ..Total::default() }));
            return Ok(failing + 1);
        }
        Ok(begun)
    }

    /// Says how to repeat a host that fails, and has it written as a scenario: whole, and then, by a process of its own
    /// that may die of it too, as small as it can be made.
    fn name_failing(&self, seed: u64, library: &Path) {
        println!("$ cargo run --release -p harness -- simulate --seed {seed}");
        let shrinking = || -> Result<(), Box<dyn Error>> {
            let path = write(&scenario(seed), &self.write)?;
            let status = Command::new(&self.program)
                .args(["shrinking", "--seed", &seed.to_string(), "--library"])
                .args([library, Path::new("--write"), &self.write])
                .status()?;
            match status.success() {
                true => Ok(()),
                false => Err(format!("{} is not shrunk ({status})", path.display()).into()),
            }
        };
        if let Err(error) = shrinking() {
            println!("{error}");
        }
    }
}

/// Writes the host of a seed as a small scenario that fails as it does, and prints the command that replays it: what a
/// simulation starts when a host fails.
///
/// # Errors
/// The host does not fail, or what the file system reports.
pub fn write_shrunk(options: &Options, folder: &Path) -> Result<bool, Box<dyn Error>> {
    let seed = options.seed;
    let Some((host, failing)) = shrink::shrunk(&scenario(seed), options) else {
        return Err(format!("{} does not fail", named(seed)).into());
    };
    let about = format!("From the host of seed {seed}, which fails with {}.", failing.name);
    let path = write(&Scenario { about, ..host }, folder)?;
    println!(
        "$ cargo run --release -p harness -- replay {} --seed {seed} --only '{}'",
        path.display(),
        failing.name
    );
    Ok(true)
}

/// Writes a host as a scenario.
///
/// # Errors
/// What the file system reports.
pub fn write(host: &Scenario, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(&host.name).with_extension("toml");
    std::fs::write(&path, toml::to_string_pretty(&host.clone().without_idle_connections())?)?;
    Ok(path)
}
