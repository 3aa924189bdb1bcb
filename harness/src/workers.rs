//! Scenarios side by side, each in a process of its own: one that dies takes no other along, and says by its last words
//! which fault killed it.

use crate::figures::Total;
use crate::replay::{Event, Options};
use crate::scenario::Scenario;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a worker's line says that a fault begins, for its parent alone.
pub(crate) const BEGINS: &str = "\u{1}begins ";
/// What a worker's last line begins with.
pub(crate) const ENDS: &str = "\u{1}ends ";
/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Runs one scenario and tells on standard output what happens: what [`replay_all`] starts.
///
/// # Errors
/// A scenario that cannot be read, an output that cannot be written.
pub fn work(path: &Path, options: &Options) -> Result<bool, Box<dyn std::error::Error>> {
    let scenario = Scenario::read(path)?;
    let start = Instant::now();
    let mut say = Said::default();
    let figures = crate::replay::scenario(&scenario, options, &mut |event| say.event(&event));
    say.line(&figures.line(&scenario.name, start.elapsed()));
    say.line(&format!("{ENDS}{}", figures.total()));
    say.end()?;
    Ok(figures.is_clean())
}

/// How often a sum says how far it is.
const TALLY: Duration = Duration::from_secs(30);

/// What the work on many seeds has come to, and how long it has taken.
pub(crate) struct Tally<S> {
    start: Instant,
    length: Duration,
    /// With when it was last told.
    sum: Mutex<(S, Instant)>,
}

impl<S: Default + Display> Tally<S> {
    /// Nothing yet, of work that is begun for so long.
    pub fn new(length: Duration) -> Tally<S> {
        let start = Instant::now();
        Tally { start, length, sum: Mutex::new((S::default(), start)) }
    }

    /// How long work is still begun.
    pub fn left(&self) -> Duration {
        self.length.saturating_sub(self.start.elapsed())
    }

    /// Adds to it, and tells it now and then.
    pub fn add(&self, add: impl FnOnce(&mut S)) {
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut sum.0);
        if sum.1.elapsed() > TALLY {
            sum.1 = Instant::now();
            eprintln!("… {} s: {}", self.start.elapsed().as_secs(), sum.0);
        }
    }

    /// The whole.
    pub fn sum(self) -> S {
        self.sum.into_inner().unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Has seeds worked off in batches, so many at once, until the time is up. `work` is given what is left of a batch, has a
/// process work it off, and says with which seed to go on: a process that dies leaves a rest.
pub(crate) fn in_batches<S: Default + Display + Send>(
    seeds: Range<u64>,
    batch: u64,
    jobs: usize,
    tally: &Tally<S>,
    work: &(dyn Fn(Range<u64>) -> u64 + Sync),
) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|threads| {
        for _ in 0..jobs.max(1) {
            threads.spawn(|| {
                while !tally.left().is_zero() {
                    let from = next.fetch_add(batch, Ordering::Relaxed);
                    if from >= seeds.end {
                        return;
                    }
                    let mut rest = from..seeds.end.min(from.saturating_add(batch));
                    while !rest.is_empty() && !tally.left().is_zero() {
                        rest.start = work(rest.clone());
                    }
                }
            });
        }
    });
}

/// What a worker has told its parent on standard output.
#[derive(Default)]
pub struct Said {
    broken: Option<std::io::Error>,
}

impl Said {
    /// Tells a line at once: the next one may never come.
    pub fn line(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
            self.broken = Some(error);
        }
    }

    /// Tells what happens in a run.
    pub fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Begins(name) => self.line(&format!("{BEGINS}{name}")),
            Event::Problem(name, verdict) => {
                for lost in &verdict.lost {
                    self.line(&format!("LOST  {name}: {lost}"));
                }
                for wrong in &verdict.wrong {
                    self.line(&format!("WRONG {name}: {wrong}"));
                }
                for told in &verdict.told {
                    self.line(&format!("      the host was told: {told}"));
                }
            }
            Event::Unfired(name) => self.line(&format!("never happened: {name}")),
            Event::Note(name, note) => self.line(&format!("note  {name}: {note}")),
        }
    }

    /// # Errors
    /// The parent is gone.
    pub fn end(self) -> std::io::Result<()> {
        self.broken.map_or(Ok(()), Err)
    }
}

/// Runs scenarios, so many at once, and prints what they say; gives the sum.
pub fn replay_all(paths: &[PathBuf], arguments: &[String], jobs: usize) -> Total {
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Total::default());
    std::thread::scope(|threads| {
        for _ in 0..jobs.clamp(1, paths.len().max(1)) {
            threads.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = replay_one(path, arguments).unwrap_or_else(|error| {
                        println!("WRONG {}: {error}", path.display());
                        Total { wrong: 1, ..Total::default() }
                    });
                    total.lock().unwrap_or_else(PoisonError::into_inner).add(one);
                }
            });
        }
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn replay_one(path: &Path, arguments: &[String]) -> std::io::Result<Total> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("work")
        .arg(path)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut at = path.display().to_string();
    let mut total = None;
    let mut faults = 0;
    let mut said = Instant::now();
    // A scenario's lines stay together.
    let mut lines = Vec::new();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if let Some(name) = line.strip_prefix(BEGINS) {
                at = name.to_owned();
                faults += 1;
                if said.elapsed() > PROGRESS {
                    said = Instant::now();
                    eprintln!("… {at} ({faults} runs)");
                }
            } else if let Some(figures) = line.strip_prefix(ENDS) {
                total = Total::parse(figures);
            } else {
                lines.push(line);
            }
        }
    }
    let status = child.wait()?;
    let total = total.unwrap_or_else(|| {
        lines.push(format!("WRONG {at}: the process ended ({status})"));
        Total { wrong: 1, ..Total::default() }
    });
    println!("{}", lines.join("\n"));
    Ok(total)
}
