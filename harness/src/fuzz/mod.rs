//! Hostile inputs: definitions, deposits, payloads, calls and flows, mutated from a corpus and tried on a small shop.
//!
//! What must hold: no panic comes to light, the file stays whole, the connection closes, and nothing stays allocated. A
//! process of its own tries them, and says each before it does: one that dies has named its input.

mod flow;
mod mutation;

use crate::scenario::{Host, Journal, Setting, Synchronous};
use crate::session;
use crate::vfs::{self, Connection, Disk, Failure, Files, Value};
use crate::workers::Said;
use fastrand::Rng;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What an input is given to. The names of `harness/corpus`.
pub const TARGETS: [&str; 9] = [
    "definition",
    "rule",
    "check",
    "stage",
    "payload",
    "payload_hashed",
    "calls",
    "flow",
    "flow_lines",
];

const SETTING: Setting =
    Setting { journal: Journal::Delete, synchronous: Synchronous::Normal, page_size: 4096 };
const BEGINS: &str = "\u{1}input ";
/// How many inputs a process tries.
const INPUTS_A_PROCESS: u64 = 2000;

const SHOP: &str = "
CREATE TABLE sale_piece(id INTEGER PRIMARY KEY, number TEXT, total REAL, type TEXT);
CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale_piece(id), label TEXT,
  quantity REAL, upstream INTEGER, transformed REAL);
CREATE INDEX sale_line_sale ON sale_line(sale_id);
CREATE TABLE payment(id BLOB PRIMARY KEY, sale_id INTEGER REFERENCES sale_piece(id), amount);
CREATE TABLE product(id INTEGER PRIMARY KEY, name TEXT UNIQUE, unit TEXT);
";
const GUARD: &str = r#"
SELECT talon_guard('sale', '{"header": {"table": "sale_piece"}, "lines": {"table": "sale_line"}, "details": [{"table": "payment"}]}');
INSERT INTO sale_piece VALUES (42, 'S-42', 30.0, 'F');
BEGIN; INSERT INTO sale_line VALUES (1, 42, 'coffee', 2, NULL, 0), (2, 42, NULL, 9e999, 1, 0);
INSERT INTO payment VALUES (x'00ff', 42, 12.5); COMMIT;
"#;
/// Reads all that there is to read, and does what a morning does.
const LOOK: &str = "
UPDATE sale_line SET label = 'after' WHERE id = 1;
DELETE FROM sale_line WHERE sale_id = 42;
SELECT * FROM talon_guards; SELECT * FROM talon_snapshots; SELECT * FROM talon_image(1); SELECT * FROM talon_image(2);
SELECT * FROM talon_lost; SELECT * FROM talon_audit; SELECT * FROM talon_rules; SELECT * FROM talon_gaps;
INSERT INTO talon_restore(kind, piece, dry_run) SELECT kind, piece, 1 FROM talon_lost;
INSERT INTO talon_restore(kind, piece, snapshot) VALUES ('sale', 42, 1);
SELECT talon_restore_all();
INSERT INTO talon_restore(kind, piece) VALUES ('sale', 43);
SELECT talon_daily();
INSERT INTO talon_purge(before) VALUES ('2999-01-01');
";

/// A shop that inputs are tried on.
pub struct Fuzz {
    library: PathBuf,
    base: Files,
}

fn quoted(input: &[u8]) -> String {
    Value::Text(input.to_vec()).to_string()
}

impl Fuzz {
    /// # Errors
    /// What SQLite or the library reports.
    pub fn new(library: &Path) -> Result<Fuzz, Failure> {
        let disk = Disk::new(&Files::new());
        let connection = session::open(&disk, SETTING, Some(library), &Host::default())?;
        connection.run(SHOP)?;
        connection.run(GUARD)?;
        connection.close()?;
        Ok(Fuzz { library: library.to_owned(), base: disk.files() })
    }

    /// Tries an input; what does not hold.
    pub fn tries(&self, target: &str, input: &[u8]) -> Vec<String> {
        let held = vfs::memory().held_bytes;
        let mut findings = Vec::new();
        if let Err(failure) = self.tries_on_disk(target, input, &mut findings) {
            findings.push(failure.to_string());
        }
        let leak = vfs::memory().held_bytes - held;
        if leak != 0 {
            findings.push(format!("{leak} bytes are not freed after the last close"));
        }
        findings
    }

    fn tries_on_disk(
        &self,
        target: &str,
        input: &[u8],
        findings: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let disk = Disk::new(&self.base);
        let connection = session::open(&disk, SETTING, Some(&self.library), &Host::default())?;
        let text = quoted(input);
        let script = match target {
            "definition" => format!("SELECT talon_guard('sale', {text});"),
            "rule" => format!("SELECT talon_derive('r', {text}); SELECT talon_repair('r');"),
            "check" => format!("SELECT talon_check('c', {text});"),
            "stage" => {
                format!("SELECT talon_station('t'); SELECT talon_stage('sale', 43, {text});")
            }
            "payload" => format!("UPDATE talon_snapshot SET payload = {text};"),
            "payload_hashed" => {
                let hash = Value::Blob(blake3::hash(input).as_bytes().to_vec());
                format!("UPDATE talon_snapshot SET payload = {text}, hash = {hash};")
            }
            "flow" | "flow_lines" => {
                let bytes = if target == "flow" { input.to_vec() } else { flow::packed(input) };
                let receive = format!("SELECT talon_receive({});", Value::Blob(bytes));
                [flow::SITES, &receive, &receive, flow::APPLY].concat()
            }
            _ => String::from_utf8_lossy(input).replace('\0', ""),
        };
        let mut tells = |failure: Option<Failure>| {
            if let Some(failure) = failure.filter(|failure| failure.text.contains("panicked")) {
                findings.push(failure.to_string());
            }
        };
        for sql in vfs::split_script(&script).iter().chain(&vfs::split_script(LOOK)) {
            tells(connection.execute(sql).failure);
        }
        connection.close()?;
        // A call may have been given other tables than the host's; the file must be whole whatever was called.
        let connection = Connection::open(&disk.path(session::DATABASE))?;
        let rows = connection.query("PRAGMA integrity_check")?;
        if rows != [[Value::from("ok")]] {
            findings.push(format!("integrity_check: {rows:?}"));
        }
        connection.close()
    }
}

/// The inputs of a target that the repository holds, in the order of their names.
///
/// # Errors
/// What the file system reports.
pub fn corpus(target: &str) -> std::io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    paths.iter().map(std::fs::read).collect()
}

/// The inputs one by one: the corpus first, then what is made of it.
pub fn input(corpus: &[Vec<u8>], place: u64, random: &mut Rng) -> Vec<u8> {
    let whole = usize::try_from(place).ok().and_then(|place| corpus.get(place));
    whole.cloned().unwrap_or_else(|| mutation::mutated(random, corpus))
}

/// Tries inputs and tells each on standard output before: what [`fuzz`] starts.
///
/// # Errors
/// A corpus that cannot be read, an output that cannot be written.
pub fn work(target: &str, seed: u64, seconds: u64, library: &Path) -> Result<bool, Box<dyn Error>> {
    let start = Instant::now();
    let corpus = corpus(target)?;
    let fuzz = Fuzz::new(library)?;
    let mut random = Rng::with_seed(seed);
    let mut say = Said::default();
    let mut is_clean = true;
    for place in 0..INPUTS_A_PROCESS {
        if start.elapsed() > Duration::from_secs(seconds) {
            break;
        }
        let input = input(&corpus, place, &mut random);
        say.line(&format!("{BEGINS}{}", Value::Blob(input.clone())));
        for finding in fuzz.tries(target, &input) {
            is_clean = false;
            say.line(&format!("WRONG {target}: {finding}"));
        }
    }
    say.end()?;
    Ok(is_clean)
}

/// Inputs tried, and how many of them were findings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    /// Inputs.
    pub inputs: u64,
    /// Findings.
    pub wrong: u64,
}

/// An input as SQL: bytes, or the text that it was tried as.
fn as_tried(target: &str, blob: &str) -> String {
    if target == "flow" { blob.to_owned() } else { format!("CAST({blob} AS TEXT)") }
}

/// Tries inputs for some time, target by target; prints what does not hold, with the input.
///
/// # Errors
/// A process that cannot be started.
pub fn fuzz(
    targets: &[&str],
    seed: u64,
    length: Duration,
    library: &Path,
) -> std::io::Result<Tried> {
    let start = Instant::now();
    let mut tried = Tried::default();
    for turn in 0.. {
        let target = targets[turn as usize % targets.len()];
        let left = length.saturating_sub(start.elapsed());
        if left.is_zero() && turn >= targets.len() as u64 {
            break;
        }
        // Every target has its share of a short run.
        let share = (length / targets.len() as u32).min(left).as_secs().max(1);
        let mut child = Command::new(std::env::current_exe()?)
            .args(["fuzzing", "--target", target, "--seed", &(seed + turn).to_string()])
            .args(["--seconds", &share.to_string(), "--library"])
            .arg(library)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut input = String::new();
        if let Some(out) = child.stdout.take() {
            for line in BufReader::new(out).split(b'\n') {
                let line = String::from_utf8_lossy(&line?).into_owned();
                match line.strip_prefix(BEGINS) {
                    Some(next) => {
                        next.clone_into(&mut input);
                        tried.inputs += 1;
                    }
                    None => {
                        tried.wrong += 1;
                        println!("{line}\n  input: {}", as_tried(target, &input));
                    }
                }
            }
        }
        let status = child.wait()?;
        if input.is_empty() {
            return Err(std::io::Error::other(format!(
                "{target}: nothing could be tried ({status})"
            )));
        }
        // Findings end a process with 1; anything else is its death.
        if !matches!(status.code(), Some(0 | 1)) {
            tried.wrong += 1;
            println!(
                "WRONG {target}: the process ended ({status})\n  input: {}",
                as_tried(target, &input)
            );
        }
    }
    Ok(tried)
}
