//! What it costs to bring a day's changes to another database: capture, emit and apply against the session extension's record,
//! changeset and apply on the same work; bytes on the wire; memory; and what stamps cost at the till.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

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
/// One line a batch of the workload that compares stamped with unstamped commits.
const TURN: u32 = 500;
const TURNS: u32 = 40;

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

    /// Does it, one transaction a piece.
    fn run(self, connection: &Connection, pieces: u32) -> Outcome {
        let mut random = Random::new(7);
        let mut host = Host::new(connection)?;
        for piece in 0..pieces {
            host.begin()?;
            match self {
                Self::Create => host.create(LINES, &mut random).map(drop)?,
                Self::Edit => host.edit_line_of(piece, LINES, &mut random)?,
            }
            host.commit()?;
        }
        Ok(())
    }
}

/// Seconds of each step, and the bytes that travelled.
#[derive(Clone, Copy, Default)]
struct Trip {
    record: f64,
    pack: f64,
    apply: f64,
    bytes: f64,
}

impl Trip {
    fn seconds(self) -> f64 {
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
        "by session",
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
    let talon = Sites::new(folder.path(), library)?;
    #[cfg(session_extension)]
    let peer = crate::session::Pair::new(folder.path())?;
    for work in [Work::Create, Work::Edit] {
        let own = talon.carry(work, pieces)?;
        #[cfg(session_extension)]
        let other = {
            let [record, pack, apply, bytes] =
                peer.carry(|connection| work.run(connection, pieces))?;
            Trip { record, pack, apply, bytes }
        };
        #[cfg(not(session_extension))]
        let other = Trip { record: f64::NAN, ..Trip::default() };
        let is_new = work == Work::Create;
        row(&table, &format!("Talon, {}", work.title()), own, other, is_new, pieces);
        row(&table, &format!("session extension, {}", work.title()), other, other, is_new, pieces);
    }
    note(format_args!(
        "A second: {} pieces emitted and {} applied, of new ones.",
        grouped(f64::from(pieces) / talon.emitted.get()),
        grouped(f64::from(pieces) / talon.applied.get())
    ));
    talon.check()?;
    measure_memory(&talon, folder.path(), library)?;
    compare_stamps(folder.path(), library)
}

fn row(table: &Table, name: &str, own: Trip, other: Trip, is_new: bool, pieces: u32) {
    let [record, pack, apply, seconds] =
        [own.record, own.pack, own.apply, own.seconds()].map(|seconds| format!("{seconds:.2}"));
    let by_time = ratio(own.seconds() / other.seconds());
    let by_bytes = ratio(own.bytes / other.bytes);
    let bytes = figure(own.bytes / f64::from(pieces));
    let reach = if is_new { "0.50" } else { "" };
    table.row(
        name,
        &[record, pack, apply, seconds, by_time, "1.00".into(), bytes, by_bytes, reach.into()],
    );
}

/// A till and the central database.
struct Sites {
    till: Connection,
    central: Connection,
    till_path: PathBuf,
    emitted: std::cell::Cell<f64>,
    applied: std::cell::Cell<f64>,
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

impl Sites {
    fn new(folder: &Path, library: &Library) -> Outcome<Self> {
        let till_path = folder.join("till.db");
        Ok(Self {
            till: site(&till_path, library, "BSOC")?,
            central: site(&folder.join("central.db"), library, "ASOC")?,
            till_path,
            emitted: 0.0.into(),
            applied: 0.0.into(),
        })
    }

    fn carry(&self, work: Work, pieces: u32) -> Outcome<Trip> {
        let mut trip = Trip::default();
        let start = Instant::now();
        work.run(&self.till, pieces)?;
        trip.record = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let flow = number(&self.till, "SELECT talon_emit('ASOC', 'changes', 'now')")?;
        trip.pack = start.elapsed().as_secs_f64();
        let start = Instant::now();
        trip.bytes = self.send(flow)? as f64;
        call(&self.central, "SELECT talon_process()")?;
        trip.apply = start.elapsed().as_secs_f64();
        if work == Work::Create {
            self.emitted.set(trip.pack);
            self.applied.set(trip.apply);
        }
        // The answer acknowledges, so that the next flow has only what is new.
        let answer = number(
            &self.central,
            "SELECT id FROM talon_flows WHERE mode = 'return' ORDER BY id DESC",
        )?;
        let mut receive = self.till.prepare("SELECT talon_receive(?1)")?;
        for bytes in chunks(&self.central, answer)? {
            receive.query_row([bytes], |_| Ok(()))?;
        }
        call(&self.till, "SELECT talon_process()")?;
        Ok(trip)
    }

    /// Hands a flow over chunk by chunk; how many bytes it had.
    fn send(&self, flow: i64) -> Outcome<usize> {
        let mut receive = self.central.prepare("SELECT talon_receive(?1)")?;
        let mut size = 0;
        for bytes in chunks(&self.till, flow)? {
            size += bytes.len();
            receive.query_row([bytes], |_| Ok(()))?;
        }
        Ok(size)
    }

    /// Both hold the same, or nothing was measured.
    fn check(&self) -> Outcome {
        let sql = "SELECT count(*) || '/' || sum(id * position + sale_id * article_id) || '/' || sum(quantity * id + total) FROM sale_line";
        let ask = |connection: &Connection| -> Outcome<String> {
            Ok(connection.query_row(sql, [], |row| row.get(0))?)
        };
        let (here, there) = (ask(&self.till)?, ask(&self.central)?);
        if here == there {
            Ok(())
        } else {
            Err(format!("{here} at the till, {there} at central").into())
        }
    }
}

fn chunks(connection: &Connection, flow: i64) -> Outcome<Vec<Vec<u8>>> {
    let mut statement =
        connection.prepare("SELECT bytes FROM talon_chunks WHERE flow = ?1 ORDER BY number")?;
    let rows = statement.query_map([flow], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Peak memory of processes that emit everything, and that receive and apply it.
fn measure_memory(talon: &Sites, folder: &Path, library: &Library) -> Outcome {
    let table = Table::start(
        "Peak memory of a process, MiB",
        &["opened only", "", "to reach"].map(String::from),
    );
    let (till, fresh) = (&talon.till_path, folder.join("fresh.db"));
    let idle = memory::child("idle", till, Some(library))?;
    let emitting = memory::child("emit", till, Some(library))?;
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
            let source = Connection::open(path.with_file_name("till.db"))?;
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
