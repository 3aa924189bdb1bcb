//! Time, pages and bytes of a transaction, for every kind of work and every variant.

use crate::{
    library::Library,
    options::Options,
    report::{Outcome, Table, figure, grouped, note, progress, ratio},
    schema::Synchronous,
    turns::{Sample, Turns, interleave, open_all, subjects},
    variants::{Subject, Variant},
    workload::{LINES, Work},
};

/// Pieces in every database before the measurement.
const PIECES: u32 = 1_000;

/// The main table: one column a kind of work, for both kinds of waiting.
pub fn run(options: &Options, library: &Library) -> Outcome {
    let mut normal = Vec::new();
    for (synchronous, reach) in [
        (Synchronous::Normal, ["2.0", "1.95", "1.95", "3.4", "1.75"]),
        (Synchronous::Full, ["1.4", "1.5", "1.7", "1.65", "1.5"]),
    ] {
        let mut columns = Vec::new();
        for work in Work::ALL {
            columns.push(measure(options, library, work, synchronous)?);
        }
        print_times(synchronous, &columns, &reach);
        if synchronous == Synchronous::Normal {
            normal = columns;
        }
    }
    print_sizes(&normal);
    if options.peer_index {
        note(
            "Both peers have one index, by which they find the history of a piece; `--bare-peers` leaves it out.",
        );
    }
    #[cfg(not(session_extension))]
    note("Without the session extension: SQLite was compiled without it, see `benches/build.rs`.");
    Ok(())
}

/// Measures one kind of work on fresh databases.
fn measure(
    options: &Options,
    library: &Library,
    work: Work,
    synchronous: Synchronous,
) -> Outcome<Vec<Sample>> {
    progress(format_args!("{}, synchronous = {}", work.title(), synchronous.name()));
    let folder = options.folder()?;
    let connections = open_all(options, library, folder.path(), &options.variants, PIECES)?;
    for connection in &connections {
        synchronous.apply(connection)?;
    }
    let turns = Turns { rounds: options.rounds, batch: work.batch() };
    let mut subjects = subjects(&options.variants, &connections)?;
    let samples = interleave(&mut subjects, turns, |subject| subject.transaction(work, PIECES))?;
    let least = i64::from(turns.rounds * turns.batch);
    for (variant, connection) in options.variants.iter().zip(&connections) {
        if variant.kept(connection)?.is_some_and(|kept| kept < least) {
            return Err(format!("{} kept less than one row a transaction", variant.name()).into());
        }
    }
    Ok(samples)
}

fn titles() -> Vec<String> {
    Work::ALL.iter().map(|work| work.title()).collect()
}

fn find(column: &[Sample], variant: Variant) -> Option<&Sample> {
    column.iter().find(|sample| sample.variant == variant)
}

/// One cell a column: how `above` compares to `below`, where both were measured.
fn quotients(
    columns: &[Vec<Sample>],
    above: Variant,
    below: Variant,
    by: fn(&Sample, &Sample) -> f64,
) -> Vec<String> {
    let quotient = |column: &Vec<Sample>| Some(by(find(column, above)?, find(column, below)?));
    columns.iter().map(|column| ratio(quotient(column).unwrap_or(f64::NAN))).collect()
}

fn print_times(synchronous: Synchronous, columns: &[Vec<Sample>], reach: &[&str]) {
    let title = format!(
        "Time of a transaction in µs (and by bare), `synchronous = {}`",
        synchronous.name()
    );
    let table = Table::start(&title, &titles());
    for index in 0..columns.first().map_or(0, Vec::len) {
        let cell = |column: &Vec<Sample>| {
            let sample = &column[index];
            match find(column, Variant::Bare) {
                Some(bare) if sample.variant != Variant::Bare => {
                    format!("{} ({})", figure(sample.median_us), ratio(sample.by(bare)))
                }
                _ => figure(sample.median_us),
            }
        };
        table.row(columns[0][index].variant.name(), &columns.iter().map(cell).collect::<Vec<_>>());
    }
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    table.row(
        "**guarded / bare**",
        &quotients(columns, Variant::Guarded, Variant::Bare, Sample::by),
    );
    table.row("to reach", &texts(reach));
    table.row(
        "**guarded / floor**",
        &quotients(columns, Variant::Guarded, Variant::Floor, Sample::by),
    );
    table.row("to reach", &texts(&["1.2", "1.2", "1.3", "1.2", "1.2"]));
    let by_mean = |above: &Sample, below: &Sample| above.mean_us / below.mean_us;
    table.row(
        "guarded / bare, mean with checkpoints",
        &quotients(columns, Variant::Guarded, Variant::Bare, by_mean),
    );
}

fn print_sizes(columns: &[Vec<Sample>]) {
    type Field = (&'static str, fn(&Sample) -> f64, fn(f64) -> String);
    let fields: [Field; 2] = [
        ("Pages written by a transaction (frames of the WAL)", |sample| sample.pages, figure),
        ("Bytes that the database grows by with a transaction", |sample| sample.bytes, grouped),
    ];
    for (title, get, format) in fields {
        let table = Table::start(title, &titles());
        for index in 0..columns.first().map_or(0, Vec::len) {
            let cells: Vec<_> = columns.iter().map(|column| format(get(&column[index]))).collect();
            table.row(columns[0][index].variant.name(), &cells);
        }
    }
}

/// Creates by a host that prepares every statement anew, as PHP or Python without a cache do.
pub fn run_anew(options: &Options, library: &Library) -> Outcome {
    progress("create 20, every statement prepared anew");
    // The other two work around the host's statements, which nothing prepares anew.
    let wanted = [Variant::Bare, Variant::Guarded, Variant::Audit];
    let variants: Vec<_> =
        options.variants.iter().copied().filter(|variant| wanted.contains(variant)).collect();
    let folder = options.folder()?;
    let connections = open_all(options, library, folder.path(), &variants, PIECES)?;
    let turns = Turns { rounds: options.rounds, batch: Work::Create(LINES).batch() / 2 };
    let mut subjects: Vec<_> = variants
        .iter()
        .zip(&connections)
        .map(|(variant, connection)| Subject::keeping_nothing(*variant, connection))
        .collect();
    let samples = interleave(&mut subjects, turns, |subject| subject.create_anew(LINES))?;
    let table = Table::start(
        "Create 20, every statement prepared anew, `synchronous = NORMAL`",
        &["µs".into(), "by bare".into()],
    );
    for sample in &samples {
        let by_bare = find(&samples, Variant::Bare).map_or(f64::NAN, |bare| sample.by(bare));
        table.row(sample.variant.name(), &[figure(sample.median_us), ratio(by_bare)]);
    }
    note("To reach: guarded under 2.4 times bare, and under the JSON audit triggers.");
    Ok(())
}
