//! Simulations side by side, in processes of their own: one that dies is named by its seed, and the next ones go on.

use super::{named, run, scenario, shrink};
use crate::figures::Total;
use crate::replay::Options;
use crate::scenario::Scenario;
use crate::workers::{BEGINS, ENDS, Said};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(30);
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
    let start = Instant::now();
    let next = AtomicU64::new(plan.from);
    let sum = Mutex::new((Sum::default(), Instant::now()));
    std::thread::scope(|threads| {
        for _ in 0..plan.jobs.max(1) {
            threads.spawn(|| {
                let end = plan.from.saturating_add(plan.hosts);
                loop {
                    let left = plan.length.saturating_sub(start.elapsed());
                    let from = next.fetch_add(HOSTS_A_PROCESS, Ordering::Relaxed);
                    if left.is_zero() || from >= end {
                        return;
                    }
                    let batch = Batch { from, end: end.min(from.saturating_add(HOSTS_A_PROCESS)) };
                    batch.run(plan, library, start, &|total| {
                        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                        sum.0.runs += 1;
                        sum.0.total.add(total);
                        if sum.1.elapsed() > PROGRESS {
                            sum.1 = Instant::now();
                            eprintln!("… {} s: {}", start.elapsed().as_secs(), sum.0);
                        }
                    });
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner).0
}

/// Seeds that one process after another works off.
struct Batch {
    from: u64,
    end: u64,
}

impl Batch {
    fn run(&self, plan: &Plan, library: &Path, start: Instant, add: &dyn Fn(Total)) {
        let mut from = self.from;
        while from < self.end {
            let left = plan.length.saturating_sub(start.elapsed());
            let begun = self.run_from(from, left, plan, library, add).unwrap_or_else(|error| {
                println!("WRONG {}: {error}", named(from));
                add(Total { wrong: 1, ..Total::default() });
                from
            });
            if left.is_zero() {
                return;
            }
            from = begun + 1;
        }
    }

    /// Gives the last seed that was begun.
    fn run_from(
        &self,
        from: u64,
        left: Duration,
        plan: &Plan,
        library: &Path,
        add: &dyn Fn(Total),
    ) -> std::io::Result<u64> {
        let mut child = Command::new(&plan.program)
            .args(["simulating", "--seed", &from.to_string()])
            .args(["--hosts", &(self.end - from).to_string()])
            .args(["--seconds", &left.as_secs().to_string(), "--library"])
            .arg(library)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut at = String::new();
        let mut seed = from;
        let mut begun = 0;
        let mut ended = 0;
        if let Some(out) = child.stdout.take() {
            for line in BufReader::new(out).split(b'\n') {
                let line = String::from_utf8_lossy(&line?).into_owned();
                if let Some(name) = line.strip_prefix(BEGINS) {
                    at = name.to_owned();
                    if !name.contains(' ') {
                        seed = from + begun;
                        begun += 1;
                    }
                } else if let Some(total) = line.strip_prefix(ENDS).and_then(Total::parse) {
                    ended += 1;
                    if total.lost + total.wrong > 0 {
                        plan.name_failing(seed, library);
                    }
                    add(total);
                } else {
                    println!("{line}");
                }
            }
        }
        let status = child.wait()?;
        if ended < begun || begun == 0 {
            println!("WRONG {at}: the process ended ({status})");
            plan.name_failing(seed, library);
            add(Total { wrong: 1, ..Total::default() });
        } else if plan.length.is_zero() || begun < self.end - from {
            // The time was up.
            return Ok(self.end);
        }
        Ok(seed)
    }
}

impl Plan {
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
    std::fs::write(&path, toml::to_string_pretty(host)?)?;
    Ok(path)
}
