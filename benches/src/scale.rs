//! Whether a transaction costs more beside many pieces; the largest shop then serves the detection.

use std::{fs, path::Path, time::Instant};

use rusqlite::Connection;

use crate::{
    detect,
    library::{Library, number},
    options::Options,
    report::{Outcome, Table, figure, grouped, note, progress, ratio},
    schema,
    turns::{Turns, interleave, subjects},
    variants::Variant,
    workload::{LINES, Work},
};

const WORKS: [Work; 2] = [Work::Create(LINES), Work::EditLine];

/// What was measured beside one number of pieces: for each kind of work bare µs, guarded µs and their ratio.
struct Measured {
    pieces: u32,
    works: Vec<[f64; 3]>,
}

/// What was asked of the largest shop besides.
struct Detected {
    findings: Vec<detect::Finding>,
    baselines_per_second: f64,
    purges_per_second: f64,
}

/// Measures all sizes, and detection in the largest.
pub fn run(options: &Options, library: &Library) -> Outcome {
    let mut sizes = vec![options.pieces];
    if options.wants("scale") {
        sizes = vec![1_000, options.pieces / 10, options.pieces];
        sizes.dedup();
    }
    let (mut measured, mut detected) = (Vec::new(), None);
    for pieces in sizes {
        let (one, found) = measure_shop(options, library, pieces)?;
        measured.extend(one);
        detected = found;
    }
    if !measured.is_empty() {
        print(&measured);
    }
    if let Some(detected) = detected {
        detect::print(&detected.findings);
        note(format_args!(
            "Beside {} pieces: {} baselines and {} purged snapshots a second.",
            grouped(f64::from(options.pieces)),
            grouped(detected.baselines_per_second),
            grouped(detected.purges_per_second)
        ));
    }
    Ok(())
}

/// One shop from its first guard to its purge, in the order in which its pieces become known.
fn measure_shop(
    options: &Options,
    library: &Library,
    pieces: u32,
) -> Outcome<(Option<Measured>, Option<Detected>)> {
    let folder = options.folder()?;
    let connections = build(library, folder.path(), pieces)?;
    let guarded = &connections[1];
    let detect = options.wants("detect") && pieces == options.pieces;
    let mut findings = Vec::new();
    if detect {
        findings.push(detect::day(guarded, pieces, "never saved")?);
    }
    let start = Instant::now();
    let count = number(guarded, "SELECT talon_baseline('sale')")?;
    let baselines_per_second = count as f64 / start.elapsed().as_secs_f64();
    connections.iter().try_for_each(schema::checkpoint)?;
    let measured = match options.wants("scale") {
        true => Some(Measured { pieces, works: measure(options, &connections, pieces)? }),
        false => None,
    };
    if !detect {
        return Ok((measured, None));
    }
    findings.push(detect::all(guarded, pieces)?);
    let purges_per_second = detect::purge(guarded)?;
    findings.push(detect::day(guarded, pieces, "saved before and purged")?);
    Ok((measured, Some(Detected { findings, baselines_per_second, purges_per_second })))
}

/// A bare shop and its guarded copy, nothing saved yet.
fn build(library: &Library, folder: &Path, pieces: u32) -> Outcome<[Connection; 2]> {
    progress(format_args!("building shops of {} pieces", grouped(f64::from(pieces))));
    let (bare, guarded) = (folder.join("bare.db"), folder.join("guarded.db"));
    schema::build_shop(&bare, pieces, LINES)?;
    fs::copy(&bare, &guarded)?;
    let connections = [schema::open(&bare)?, schema::open(&guarded)?];
    library.guard(&connections[1])?;
    Ok(connections)
}

fn measure(
    options: &Options,
    connections: &[Connection; 2],
    pieces: u32,
) -> Outcome<Vec<[f64; 3]>> {
    let mut works = Vec::new();
    for work in WORKS {
        progress(format_args!("{} beside {} pieces", work.title(), grouped(f64::from(pieces))));
        let mut subjects = subjects(&[Variant::Bare, Variant::Guarded], connections)?;
        let turns = Turns { rounds: options.rounds, batch: work.batch() };
        let samples =
            interleave(&mut subjects, turns, |subject| subject.transaction(work, pieces))?;
        works.push([samples[0].median_us, samples[1].median_us, samples[1].by(&samples[0])]);
    }
    Ok(works)
}

fn print(measured: &[Measured]) {
    let titles = WORKS.iter().flat_map(|work| {
        ["bare", "guarded", "ratio", "growth"].map(|column| format!("{}: {column}", work.title()))
    });
    let table = Table::start(
        "Time of a transaction in µs beside so many pieces, `synchronous = NORMAL`",
        &titles.collect::<Vec<_>>(),
    );
    for one in measured {
        let cells = one.works.iter().zip(&measured[0].works).flat_map(
            |([bare, guarded, by_bare], smallest)| {
                [figure(*bare), figure(*guarded), ratio(*by_bare), ratio(by_bare / smallest[2])]
            },
        );
        table.row(&grouped(f64::from(one.pieces)), &cells.collect::<Vec<_>>());
    }
    note("To reach: a growth of the ratio of at most 1.15. Edits go to any of the pieces.");
}
