//! Months side by side, in processes of their own: one that dies is named by its seed, and the next ones go on.

use super::month::{Month, Sum, live};
use crate::workers::{BEGINS, ENDS, Said};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(30);
/// How many months a process lives through: a new one begins with fresh memory.
const MONTHS_A_PROCESS: u64 = 25;

/// Lives through the months of some seeds and tells on standard output what happens: what [`live_all`] starts. With
/// `tells` everything that happens in them, too.
///
/// # Errors
/// An output that cannot be written.
pub fn work(seeds: Range<u64>, library: &Path, tells: bool) -> Result<bool, Box<dyn Error>> {
    let mut say = Said::default();
    let mut is_clean = true;
    for seed in seeds {
        say.line(&format!("{BEGINS}{seed}"));
        let month = live(seed, library);
        if tells {
            month.log.iter().for_each(|line| say.line(line));
        }
        is_clean &= month.problems.is_empty();
        for problem in &month.problems {
            say.line(&format!("WRONG seed {seed}: {problem}"));
        }
        if !month.problems.is_empty() {
            say.line(&format!("$ cargo run --release -p harness -- sites --seed {seed}"));
        }
        let Month { events, writes, faults, problems, .. } = month;
        say.line(&format!("{ENDS}{events} {writes} {faults} {}", u8::from(!problems.is_empty())));
    }
    say.end()?;
    Ok(is_clean)
}

/// Lives through the months of these seeds until the time is up.
pub fn live_all(seeds: Range<u64>, length: Duration, jobs: usize, library: &Path) -> Sum {
    let start = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new((Sum::default(), Instant::now()));
    let add = |figures: [u64; 4]| {
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.0.add(figures);
        if sum.1.elapsed() > PROGRESS {
            sum.1 = Instant::now();
            eprintln!("… {} s: {}", start.elapsed().as_secs(), sum.0);
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..jobs.max(1) {
            threads.spawn(|| {
                while start.elapsed() < length {
                    let from = next.fetch_add(MONTHS_A_PROCESS, Ordering::Relaxed);
                    if from >= seeds.end {
                        return;
                    }
                    let mut rest = from..seeds.end.min(from + MONTHS_A_PROCESS);
                    while !rest.is_empty() && start.elapsed() < length {
                        let until = || start.elapsed() >= length;
                        rest.start =
                            run(rest.clone(), library, &add, &until).unwrap_or_else(|error| {
                                println!("WRONG seed {}: {error}", rest.start);
                                add([0, 0, 0, 1]);
                                rest.start + 1
                            });
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner).0
}

/// One process; gives the seed after the last that it began.
fn run(
    seeds: Range<u64>,
    library: &Path,
    add: &dyn Fn([u64; 4]),
    is_late: &dyn Fn() -> bool,
) -> std::io::Result<u64> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["living", "--from", &seeds.start.to_string()])
        .args(["--hosts", &(seeds.end - seeds.start).to_string(), "--library"])
        .arg(library)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut begun = seeds.start;
    let mut is_living = false;
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line?;
            if let Some(seed) = line.strip_prefix(BEGINS) {
                begun = seed.parse().unwrap_or(begun);
                is_living = true;
            } else if let Some(figures) = line.strip_prefix(ENDS) {
                let mut numbers = figures.split(' ').map(|number| number.parse().unwrap_or(0));
                add([0; 4].map(|_| numbers.next().unwrap_or(0)));
                is_living = false;
                if is_late() {
                    child.kill()?;
                    break;
                }
            } else {
                println!("{line}");
            }
        }
    }
    let status = child.wait()?;
    if is_living && !is_late() {
        println!("WRONG seed {begun}: the process ended ({status})");
        add([0, 0, 0, 1]);
    }
    Ok(begun + 1)
}
