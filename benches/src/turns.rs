//! Variants by turns in one process, so that whatever else the machine does meets all of them alike.

use std::{path::Path, time::Instant};

use rusqlite::Connection;

use crate::{
    library::Library,
    options::Options,
    raw::pages_written,
    report::{Outcome, median, us},
    schema,
    variants::{Subject, Variant},
    workload::{LINES, Work},
};

/// A little more than SQLite lets the WAL hold before it begins again from the start.
const CHECKPOINT_PAGES: i64 = 1_200;

/// How often the variants take turns, and with how many transactions.
#[derive(Clone, Copy)]
pub struct Turns {
    pub rounds: u32,
    pub batch: u32,
}

/// What one variant took for one kind of work.
pub struct Sample {
    pub variant: Variant,
    /// Median of all transactions, µs.
    pub median_us: f64,
    /// All time by all transactions, µs: the checkpoints that some of them had to do are in it.
    pub mean_us: f64,
    /// Pages written to the WAL by one transaction.
    pub pages: f64,
    /// What the database grew by with one transaction.
    pub bytes: f64,
    /// Median of the transactions of each round, µs.
    rounds_us: Vec<f64>,
}

impl Sample {
    /// How many times as long as `other` took: the median over the rounds. A processor that slows down for
    /// some seconds slows both sides of a round, so this is steadier than the quotient of two medians.
    pub fn by(&self, other: &Self) -> f64 {
        let quotients: Vec<_> = self
            .rounds_us
            .iter()
            .zip(&other.rounds_us)
            .map(|(above, below)| above / below)
            .collect();
        median(&quotients)
    }
}

/// Runs `step` for all subjects by turns, another one first in each round.
pub fn interleave<'c>(
    subjects: &mut [Subject<'c>],
    turns: Turns,
    mut step: impl FnMut(&mut Subject<'c>) -> Outcome,
) -> Outcome<Vec<Sample>> {
    for subject in &mut *subjects {
        warm_up(subject, turns, &mut step)?;
    }
    let before =
        subjects.iter().map(|subject| state(subject.connection)).collect::<Outcome<Vec<_>>>()?;
    let mut times_us = vec![Vec::new(); subjects.len()];
    for round in 0..turns.rounds as usize {
        for turn in 0..subjects.len() {
            let index = (round + turn) % subjects.len();
            for _ in 0..turns.batch {
                let start = Instant::now();
                step(&mut subjects[index])?;
                times_us[index].push(us(start.elapsed()));
            }
        }
    }
    let mut samples = Vec::new();
    for ((subject, before), times_us) in subjects.iter().zip(before).zip(&times_us) {
        let after = state(subject.connection)?;
        let count = times_us.len() as f64;
        samples.push(Sample {
            variant: subject.variant,
            median_us: median(times_us),
            mean_us: times_us.iter().sum::<f64>() / count,
            pages: (after.0 - before.0) as f64 / count,
            bytes: (after.1 - before.1) as f64 / count,
            rounds_us: times_us.chunks(turns.batch as usize).map(median).collect(),
        });
    }
    Ok(samples)
}

/// Fills caches, and lets the WAL reach the length that it keeps in a till that has been running for a while: a
/// file that still grows is slower to write, and slowest for the variant that writes least.
fn warm_up<'c>(
    subject: &mut Subject<'c>,
    turns: Turns,
    step: &mut impl FnMut(&mut Subject<'c>) -> Outcome,
) -> Outcome {
    let start = pages_written(subject.connection)?;
    while pages_written(subject.connection)? < start + CHECKPOINT_PAGES {
        for _ in 0..turns.batch {
            step(subject)?;
        }
    }
    Ok(())
}

/// Pages written and bytes so far.
fn state(connection: &Connection) -> Outcome<(i64, i64)> {
    Ok((pages_written(connection)?, schema::database_bytes(connection)?))
}

/// Makes one database a variant in `folder`, with the same `pieces`, kept by the variant itself.
pub fn open_all(
    options: &Options,
    library: &Library,
    folder: &Path,
    variants: &[Variant],
    pieces: u32,
) -> Outcome<Vec<Connection>> {
    let open = |variant: &Variant| {
        let connection = schema::open(&folder.join(format!("{}.db", variant.word())))?;
        connection.execute_batch(schema::CREATE_SHOP)?;
        variant.install(&connection, library)?;
        if !options.peer_index {
            connection.execute_batch("DROP INDEX IF EXISTS peer_index")?;
        }
        let mut subject = Subject::new(*variant, &connection)?;
        for _ in 0..pieces {
            subject.transaction(Work::Create(LINES), 0)?;
        }
        drop(subject);
        Ok(connection)
    };
    variants.iter().map(open).collect()
}

/// One subject on each connection.
pub fn subjects<'c>(
    variants: &[Variant],
    connections: &'c [Connection],
) -> Outcome<Vec<Subject<'c>>> {
    variants
        .iter()
        .zip(connections)
        .map(|(variant, connection)| Subject::new(*variant, connection))
        .collect()
}
