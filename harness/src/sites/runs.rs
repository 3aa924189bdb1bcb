//! Months side by side, in processes of their own: one that dies is named by its seed, and the next ones go on.

use super::month::{Month, Sum, live};
use crate::workers::{BEGINS, ENDS, Said, Tally, in_batches};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

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
        if !tells {
            say.line(&format!("{BEGINS}{seed}"));
        }
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
        let figures = [events, writes, faults, u64::from(!problems.is_empty())];
        if tells {
            let mut sum = Sum::default();
            sum.add(figures);
            say.line(&format!("{sum} from={seed}"));
        } else {
            say.line(&format!("{ENDS}{}", figures.map(|figure| figure.to_string()).join(" ")));
        }
    }
    say.end()?;
    Ok(is_clean)
}

/// Lives through the months of these seeds until the time is up.
pub fn live_all(seeds: Range<u64>, length: Duration, jobs: usize, library: &Path) -> Sum {
    let tally: Tally<Sum> = Tally::new(length);
    in_batches(seeds, MONTHS_A_PROCESS, jobs, &tally, &|seeds| {
        let from = seeds.start;
        run(seeds, library, &tally).unwrap_or_else(|error| {
            println!("WRONG seed {from}: {error}");
            tally.add(|sum| sum.add([0, 0, 0, 1]));
            from + 1
        })
    });
    tally.sum()
}

/// One process; gives the seed after the last that it began.
fn run(seeds: Range<u64>, library: &Path, tally: &Tally<Sum>) -> std::io::Result<u64> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["living", "--from", &seeds.start.to_string()])
        .args(["--hosts", &(seeds.end - seeds.start).to_string(), "--library"])
        .arg(library)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut begun = seeds.start;
    let mut is_over = false;
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line?;
            if let Some(seed) = line.strip_prefix(BEGINS) {
                begun = seed.parse().unwrap_or(begun);
            } else if let Some(figures) = line.strip_prefix(ENDS) {
                let mut numbers = figures.split(' ').map(|number| number.parse().unwrap_or(0));
                tally.add(|sum| sum.add([0; 4].map(|_| numbers.next().unwrap_or(0))));
                is_over = tally.left().is_zero();
                if is_over {
                    child.kill()?;
                    break;
                }
            } else {
                println!("{line}");
            }
        }
    }
    let status = child.wait()?;
    // Months in which something did not hold end a process with 1; anything else is its death.
    if !is_over && !matches!(status.code(), Some(0 | 1)) {
        println!("WRONG seed {begun}: the process ended ({status})");
        tally.add(|sum| sum.add([0, 0, 0, 1]));
    }
    Ok(begun + 1)
}
