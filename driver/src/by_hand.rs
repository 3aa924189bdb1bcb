//! `talon export` and `talon import`: a flow in a file of its own, for a key or a letter. The file is the flow's chunks, one
//! after the other.

use crate::arguments::{Export, Import};
use crate::database::{Database, Flow, Site};
use crate::error::{Error, Result};
use crate::layout;
use crate::report::{Report, Way};
use crate::sync::default_answer;
use crate::taking::{self, Findings, counted};
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

/// Runs `talon export`.
///
/// # Errors
/// What the extension says, or [`Error::File`]; then there is no file.
pub fn export(options: &Export, report: &mut dyn Report) -> Result<Findings> {
    let (database, _lock) = Database::open_to_write(&options.place)?;
    let this = database.this()?;
    let flow = match chosen(options, &database, &this)? {
        Some(flow) => flow,
        None => {
            refuse_to_replace(&options.file)?;
            let answer = options.wanted.answer.unwrap_or(default_answer(&this));
            let id = database.emit(&options.to, options.wanted.mode, answer)?;
            database.flow(id)?.ok_or_else(|| gone(options, id))?
        }
    };
    let path = path_of(&options.file, &flow);
    let bytes = flow.bytes.and_then(|bytes| u64::try_from(bytes).ok());
    report.begin("writing", bytes);
    let written = write_new(&path, |file| {
        let mut number = 0;
        while let Some(bytes) = database.chunk(flow.id, number)? {
            file.write_all(&bytes).map_err(|error| failed(&path, &error))?;
            report.moved(Way::Out, &format!("chunk {number}"), bytes.len() as u64);
            number += 1;
        }
        match number {
            0 => Err(failed(
                &path,
                &format!(
                    "flow {} has no bytes any more: it is acknowledged, or a later one stands for it",
                    flow.id
                ),
            )),
            _ => Ok(()),
        }
    });
    report.end();
    written?;
    let rows = flow.rows.unwrap_or_default();
    report.say(&format!(
        "wrote flow {} to {}: {}, in {}",
        flow.number,
        flow.to,
        counted(rows, "row"),
        path.display()
    ));
    Ok(Findings::default())
}

/// The flow that was asked for by its id, or, at central, the answer that the site waits for.
fn chosen(options: &Export, database: &Database, this: &Site) -> Result<Option<Flow>> {
    let is_for_it = |flow: &Flow| flow.to.eq_ignore_ascii_case(&options.to);
    let mut flows = database.to_send(this)?;
    if let Some(id) = options.flow {
        flows.retain(|flow| flow.id == id);
        let flow = flows.pop().ok_or_else(|| gone(options, id))?;
        if !is_for_it(&flow) {
            return Err(Error::Usage(format!(
                "flow {id} is for {}, not for {}",
                flow.to, options.to
            )));
        }
        return Ok(Some(flow));
    }
    flows.retain(|flow| flow.link.is_some() && is_for_it(flow));
    Ok(flows.pop())
}

fn gone(options: &Export, id: i64) -> Error {
    Error::Usage(format!(
        "there is no flow {id} to send to {}; talon flows lists those that are not acknowledged",
        options.to
    ))
}

/// Runs `talon import`.
///
/// # Errors
/// What the extension says. A file that cannot be read is named, and the others are taken.
pub fn import(options: &Import, report: &mut dyn Report) -> Result<Findings> {
    let (database, _lock) = Database::open_to_write(&options.place)?;
    let mut findings = Findings::default();
    let mut missing: Option<Error> = None;
    let this = database.this()?;
    let written = database.to_send(&this)?.last().map(|flow| flow.id);
    for path in &options.files {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => {
                // The last of them is what the run ends with.
                if let Some(earlier) = missing.replace(failed(path, &error)) {
                    report.warn(&earlier.to_string());
                }
                continue;
            }
        };
        let bytes = file.metadata().ok().map(|found| found.len());
        let name = path.display().to_string();
        report.begin("reading", bytes);
        let taken =
            taking::take_file(&database, &name, BufReader::new(file), report, &mut findings);
        report.end();
        taking::say_over(&database, &taken?, report)?;
    }
    taking::process(&database, report, &mut findings)?;
    for flow in database.to_send(&this)?.iter().filter(|flow| Some(flow.id) > written) {
        report.say(&format!(
            "flow {} to {} is the answer: talon export --to {} FILE, or talon sync",
            flow.number, flow.to, flow.to
        ));
    }
    taking::count_quarantine(&database, report, &mut findings)?;
    match missing {
        Some(error) => Err(error),
        None => Ok(findings),
    }
}

/// The file that was named, or one in the folder that was named: `BSOC-to-ASOC-00000012.talon`.
fn path_of(file: &Path, flow: &Flow) -> PathBuf {
    if !file.is_dir() {
        return file.to_owned();
    }
    let (from, to) = (layout::spelled(&flow.from), layout::spelled(&flow.to));
    file.join(format!("{from}-to-{to}-{:08}.talon", flow.number))
}

/// Writes a file that gets its name when it is whole and on the disk, and is not there otherwise.
fn write_new(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    refuse_to_replace(path)?;
    let mut unfinished = path.to_owned().into_os_string();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let written =
        File::create(&unfinished).map_err(|error| failed(path, &error)).and_then(|mut file| {
            write(&mut file)?;
            file.sync_all().map_err(|error| failed(path, &error))?;
            std::fs::rename(&unfinished, path).map_err(|error| failed(path, &error))
        });
    if written.is_err() {
        // What is left of a file that has failed is of no use, and no harm.
        let _ = std::fs::remove_file(&unfinished);
    }
    written
}

/// A file that is there is not replaced; in a folder each flow has a name of its own.
fn refuse_to_replace(path: &Path) -> Result<()> {
    match path.exists() && !path.is_dir() {
        true => Err(failed(path, &"is there already; name another file, or remove it")),
        false => Ok(()),
    }
}

fn failed(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::File { path: path.to_owned(), reason: reason.to_string() }
}
