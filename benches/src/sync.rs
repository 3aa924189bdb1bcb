//! What it costs to bring a day's changes to another database: capture, emit and apply against the session extension's record,
//! changeset and apply on the same work; bytes on the wire; memory; and what stamps cost at the till.

use std::{path::Path, time::Instant};

use rusqlite::Connection;

use crate::{
    library::{Library, call, number},
    memory,
    options::Options,
    report::{Outcome, Table, figure, grouped, note, progress, ratio, us},
    schema,
    workload::{Host, Random},
};

/// Lines of the pieces that travel.
const LINES: u32 = 10;
/// Transactions of one host before the next one has its turn.
const TURN: u32 = 500;
/// How often those that compare stamped with unstamped commits have theirs.
const TURNS: u32 = 40;
/// Where the till's database lies.
const TILL: &str = "till.db";

/// What is done to the pieces before they are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Each is new.
    Create,
    /// One line of each has changed.
    Edit,
}

impl Work {
    fn title(self) -> &'static str {
        match self {
            Self::Create => "new pieces",
            Self::Edit => "pieces with one line changed",
        }
    }
}

/// The databases at both ends.
pub struct Ends {
    pub from: Connection,
    pub to: Connection,
}

impl Ends {
    fn open(folder: &Path, name: &str) -> Outcome<Self> {
        let open = |end: &str| -> Outcome<Connection> {
            let connection = schema::open(&folder.join(format!("{name}_{end}.db")))?;
            connection.execute_batch(schema::CREATE_SHOP)?;
            Ok(connection)
        };
        Ok(Self { from: open("from")?, to: open("to")? })
    }
}

/// A way to bring changes from one database to another.
pub trait Way<'c> {
    fn ends(&self) -> &'c Ends;

    /// What it has to be told of the host's work, in advance and transaction by transaction.
    fn before_work(&mut self) -> Outcome {
        Ok(())
    }

    fn before_transaction(&mut self) -> Outcome {
        Ok(())
    }

    fn before_commit(&mut self, _piece: i64) -> Outcome {
        Ok(())
    }

    fn after_commit(&mut self) {}

    /// Brings what was done since, and says how long each step took.
    fn bring(&mut self, trip: &mut Trip) -> Outcome;
}

/// A host at work on the database that changes are brought from.
struct Worker<'c> {
    host: Host<'c>,
    random: Random,
    next: u32,
}

impl<'c> Worker<'c> {
    fn new(connection: &'c Connection) -> Outcome<Self> {
        // One seed for all: each does the same work.
        Ok(Self { host: Host::new(connection)?, random: Random::new(7), next: 0 })
    }

    /// One transaction a piece.
    fn run(&mut self, work: Work, pieces: u32, way: &mut dyn Way<'c>) -> Outcome {
        for _ in 0..pieces {
            way.before_transaction()?;
            self.host.begin()?;
            match work {
                Work::Create => self.host.create(LINES, &mut self.random).map(drop)?,
                Work::Edit => self.host.edit_line_of(self.next, LINES, &mut self.random)?,
            }
            self.next += 1;
            way.before_commit(i64::from(self.next))?;
            self.host.commit()?;
            way.after_commit();
        }
        Ok(())
    }
}

/// Seconds of each step, and the bytes that travelled.
#[derive(Clone, Copy, Default)]
pub struct Trip {
    pub record: f64,
    pub pack: f64,
    pub apply: f64,
    pub bytes: f64,
}

impl Trip {
    fn seconds(&self) -> f64 {
        self.record + self.pack + self.apply
    }
}

/// Sends new pieces, then one-line edits of them, by Talon and by the session extension.
pub fn run(options: &Options, library: &Library) -> Outcome {
    let pieces = options.touched;
    progress(format_args!(
        "bringing {} pieces of {LINES} lines to another database",
        grouped(f64::from(pieces))
    ));
    let folder = options.folder()?;
    let columns = [
        "record, s",
        "pack, s",
        "apply, s",
        "together, s",
        "by kept",
        "by in memory",
        "to reach",
        "bytes a piece",
        "by session",
        "to reach",
    ];
    let title = format!(
        "{} pieces of {LINES} lines brought to another database",
        grouped(f64::from(pieces))
    );
    let table = Table::start(&title, &columns.map(String::from));
    let sites = sites(folder.path(), library)?;
    #[cfg(session_extension)]
    let ends = (Ends::open(folder.path(), "kept")?, Ends::open(folder.path(), "unkept")?);
    let mut ways: Vec<(&str, Box<dyn Way<'_> + '_>)> =
        vec![("Talon", Box::new(Flows { ends: &sites }))];
    #[cfg(session_extension)]
    {
        use crate::session::{Kept, Unkept};
        ways.push(("session extension, kept at each commit", Box::new(Kept::new(&ends.0)?)));
        ways.push(("session extension, in memory only", Box::new(Unkept::new(&ends.1))));
    }
    let mut speeds = [0.0; 2];
    for work in [Work::Create, Work::Edit] {
        let trips = carry(&mut ways, work, pieces)?;
        for ((name, _), trip) in ways.iter().zip(&trips) {
            row(&table, &format!("{name}: {}", work.title()), *trip, &trips, work, pieces);
        }
        if work == Work::Create {
            speeds = [trips[0].pack, trips[0].apply].map(|seconds| f64::from(pieces) / seconds);
        }
    }
    let [emitted, applied] = speeds.map(grouped);
    note(format_args!(
        "A second: {emitted} new pieces emitted and {applied} received and applied."
    ));
    drop(ways);
    check(&sites)?;
    measure_memory(folder.path(), library)?;
    compare_stamps(folder.path(), library)
}

/// The hosts work by turns, so that all have the machine's good and bad moments; then each way brings what was done.
fn carry(
    ways: &mut [(&str, Box<dyn Way<'_> + '_>)],
    work: Work,
    pieces: u32,
) -> Outcome<Vec<Trip>> {
    let mut trips = vec![Trip::default(); ways.len()];
    let mut workers = Vec::new();
    for (_, way) in ways.iter_mut() {
        way.before_work()?;
        workers.push(Worker::new(&way.ends().from)?);
    }
    let mut left = pieces;
    while left > 0 {
        let turn = left.min(TURN);
        for ((worker, (_, way)), trip) in workers.iter_mut().zip(ways.iter_mut()).zip(&mut trips) {
            let start = Instant::now();
            worker.run(work, turn, way.as_mut())?;
            trip.record += start.elapsed().as_secs_f64();
        }
        left -= turn;
    }
    drop(workers);
    for ((_, way), trip) in ways.iter_mut().zip(&mut trips) {
        way.bring(trip)?;
    }
    Ok(trips)
}

/// `trips` are all that did this work: Talon's, then the session extension's, kept and in memory, where it was built in.
fn row(table: &Table, name: &str, trip: Trip, trips: &[Trip], work: Work, pieces: u32) {
    let [record, pack, apply, seconds] =
        [trip.record, trip.pack, trip.apply, trip.seconds()].map(|seconds| format!("{seconds:.2}"));
    let by = |place: usize, of: fn(&Trip) -> f64| {
        ratio(trips.get(place).map_or(f64::NAN, |other| of(&trip) / of(other)))
    };
    let (by_kept, by_unkept) = (by(1, Trip::seconds), by(2, Trip::seconds));
    let bytes = figure(trip.bytes / f64::from(pieces));
    let reach = if work == Work::Create { "0.50" } else { "" };
    let times = [record, pack, apply, seconds, by_kept, by_unkept, "1.00".into()];
    let sizes = [bytes, by(2, |trip| trip.bytes), reach.into()];
    table.row(name, &[times.as_slice(), &sizes].concat());
}

const SYNCHRONISED: &str = r#"SELECT talon_guard('sale', '{"header": {"table": "sale_piece"}, "lines": {"table": "sale_line"},
    "sync": {"preset": "piece", "freeze": false}}')"#;

fn site(path: &Path, library: &Library, code: &str) -> Outcome<Connection> {
    let connection = schema::open(path)?;
    connection.execute_batch(schema::CREATE_SHOP)?;
    library.load(&connection)?;
    call(&connection, "SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote')")?;
    call(&connection, SYNCHRONISED)?;
    call(&connection, &format!("SELECT talon_origin('{code}')"))?;
    Ok(connection)
}

/// A till and the central database.
fn sites(folder: &Path, library: &Library) -> Outcome<Ends> {
    Ok(Ends {
        from: site(&folder.join(TILL), library, "BSOC")?,
        to: site(&folder.join("central.db"), library, "ASOC")?,
    })
}

/// Talon's way.
struct Flows<'c> {
    ends: &'c Ends,
}

impl<'c> Way<'c> for Flows<'c> {
    fn ends(&self) -> &'c Ends {
        self.ends
    }

    fn bring(&mut self, trip: &mut Trip) -> Outcome {
        let Ends { from: till, to: central } = self.ends;
        let start = Instant::now();
        let flow = number(till, "SELECT talon_emit('ASOC', 'changes', 'now')")?;
        trip.pack = start.elapsed().as_secs_f64();
        let start = Instant::now();
        trip.bytes = send(till, central, flow)? as f64;
        call(central, "SELECT talon_process()")?;
        trip.apply = start.elapsed().as_secs_f64();
        // The answer acknowledges, so that the next flow has only what is new.
        let answer =
            number(central, "SELECT id FROM talon_flows WHERE mode = 'return' ORDER BY id DESC")?;
        send(central, till, answer)?;
        call(till, "SELECT talon_process()")
    }
}

/// Hands a flow over chunk by chunk; how many bytes it had.
fn send(from: &Connection, to: &Connection, flow: i64) -> Outcome<usize> {
    let mut receive = to.prepare("SELECT talon_receive(?1)")?;
    let mut size = 0;
    for bytes in chunks(from, flow)? {
        size += bytes.len();
        receive.query_row([bytes], |_| Ok(()))?;
    }
    Ok(size)
}

/// Both hold the same, or nothing was measured.
fn check(ends: &Ends) -> Outcome {
    let sql = "SELECT count(*) || '/' || sum(id * position + sale_id * article_id) || '/' || sum(quantity * id + total) FROM sale_line";
    let ask = |connection: &Connection| -> Outcome<String> {
        Ok(connection.query_row(sql, [], |row| row.get(0))?)
    };
    let (here, there) = (ask(&ends.from)?, ask(&ends.to)?);
    if here == there {
        Ok(())
    } else {
        Err(format!("{here} at the till, {there} at central").into())
    }
}

fn chunks(connection: &Connection, flow: i64) -> Outcome<Vec<Vec<u8>>> {
    let mut statement =
        connection.prepare("SELECT bytes FROM talon_chunks WHERE flow = ?1 ORDER BY number")?;
    let rows = statement.query_map([flow], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Peak memory of processes that emit everything, and that receive and apply it.
fn measure_memory(folder: &Path, library: &Library) -> Outcome {
    let table = Table::start(
        "Peak memory of a process, MiB",
        &["opened only", "", "to reach"].map(String::from),
    );
    let (till, fresh) = (folder.join(TILL), folder.join("fresh.db"));
    let idle = memory::child("idle", &till, Some(library))?;
    let emitting = memory::child("emit", &till, Some(library))?;
    table.row("emitting all of it", &[figure(idle), figure(emitting), "64".into()]);
    drop(site(&fresh, library, "ASOC")?);
    let applying = memory::child("apply", &fresh, Some(library))?;
    table.row("receiving and applying it", &[figure(idle), figure(applying), "64".into()]);
    Ok(())
}

/// What a child process does here.
pub fn child(work: &str, connection: &Connection, path: &Path) -> Outcome {
    match work {
        "emit" => call(connection, "SELECT talon_emit('ASOC', 'full', 'none')"),
        "apply" => {
            let source = Connection::open(path.with_file_name(TILL))?;
            let mut ask = source.prepare("SELECT bytes FROM talon_chunk WHERE flow = (SELECT max(flow) FROM talon_chunk) ORDER BY number")?;
            let mut receive = connection.prepare("SELECT talon_receive(?1)")?;
            let mut rows = ask.query([])?;
            while let Some(row) = rows.next()? {
                receive.query_row([row.get::<_, Vec<u8>>(0)?], |_| Ok(()))?;
            }
            call(connection, "SELECT talon_process()")
        }
        _ => Ok(()),
    }
}

/// Creates pieces by turns with and without stamps; Talon guards them both times.
fn compare_stamps(folder: &Path, library: &Library) -> Outcome {
    progress("what stamps cost");
    let plain = schema::open(&folder.join("plain.db"))?;
    plain.execute_batch(schema::CREATE_SHOP)?;
    library.guard(&plain)?;
    let stamped = site(&folder.join("stamped.db"), library, "BSOC")?;
    let mut hosts = [Host::new(&plain)?, Host::new(&stamped)?];
    let mut random = Random::new(3);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (host, times) in hosts.iter_mut().zip(&mut times) {
            let start = Instant::now();
            for _ in 0..TURN {
                host.begin()?;
                host.create(LINES, &mut random)?;
                host.commit()?;
            }
            times.push(us(start.elapsed()) / f64::from(TURN));
        }
    }
    let [plain, stamped] = times.map(|times| crate::report::median(&times));
    let table = Table::start(
        "Stamps, µs a transaction",
        &["guarded", "synchronised too", "ratio"].map(String::from),
    );
    table
        .row(&format!("create {LINES}"), &[figure(plain), figure(stamped), ratio(stamped / plain)]);
    Ok(())
}
