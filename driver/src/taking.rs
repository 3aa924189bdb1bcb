//! Flow files and the database: one chunk after the other, into it and out of it.

use crate::chunk::{Chunk, Chunks, Head};
use crate::database::{Counted, Database};
use crate::error::Result;
use crate::report::{Report, Way};
use std::collections::BTreeSet;
use std::io::Read;

/// What a run found that wants a look.
#[derive(Debug, Default)]
pub struct Findings {
    /// Files that are no sound flows for this site.
    pub files: BTreeSet<String>,
    /// Flows that were refused, or report something.
    pub flows: BTreeSet<i64>,
    /// Documents in quarantine.
    pub quarantined: i64,
}

impl Findings {
    /// Is there anything to look at?
    pub fn are_there(&self) -> bool {
        !self.files.is_empty() || !self.flows.is_empty() || self.quarantined > 0
    }
}

/// Gives the extension every chunk of a file. What is no sound chunk is named, and left where it is; the chunks before it
/// are taken. Gives the flows that it has something of.
///
/// # Errors
/// What another file would meet as well.
pub fn take_file(
    database: &Database,
    name: &str,
    source: impl Read,
    report: &mut dyn Report,
    findings: &mut Findings,
) -> Result<BTreeSet<i64>> {
    let mut chunks = Chunks::new(source);
    let mut flows = BTreeSet::new();
    let problem = loop {
        let chunk = match chunks.take() {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(flows),
            Err(fault) => break fault.to_string(),
        };
        // The chunks after a refused one are of the same flow, which cannot become whole.
        match database.receive(&chunk.bytes)? {
            Ok(flow) => {
                flows.insert(flow);
                report.moved(Way::In, &shown(&chunk), chunk.bytes.len() as u64);
            }
            Err(problem) => break problem,
        }
    };
    report.warn(&format!("{name}: {problem}"));
    findings.files.insert(name.to_owned());
    Ok(flows)
}

/// Says of flows that came in what nothing will be done with, and why.
///
/// # Errors
/// What the extension says.
pub fn say_over(database: &Database, flows: &BTreeSet<i64>, report: &mut dyn Report) -> Result<()> {
    for id in flows {
        let Some(flow) = database.flow(*id)? else { continue };
        let name = format!("flow {} of {}", flow.number, flow.from);
        if flow.is_ended {
            report.say(&format!("{name} was applied already"));
        } else if flow.is_superseded {
            report.say(&format!(
                "{name} is passed over: a later one has all of it, or it was written for an earlier database of {}",
                flow.to
            ));
        }
    }
    Ok(())
}

/// Applies what is ready, writes the answers that are wanted, and says what became of each flow.
///
/// # Errors
/// What the extension says.
pub fn process(
    database: &Database,
    report: &mut dyn Report,
    findings: &mut Findings,
) -> Result<()> {
    let this = database.this()?;
    let pending = database.to_apply(&this)?;
    report.begin("applying", None);
    let processed = database.process();
    report.end();
    processed?;
    let left = database.to_apply(&this)?;
    for before in pending {
        let Some(flow) = database.flow(before.id)? else { continue };
        let name = format!("flow {} of {}", flow.number, flow.from);
        let is_left = left.iter().any(|left| left.id == flow.id);
        match (&flow.error, is_left) {
            (None, true) => report.say(&format!("{name} is not here as a whole yet")),
            (None, false) if !flow.is_refused => {
                let rows = flow.rows.unwrap_or_default();
                let aside = match database.set_aside(flow.id)? {
                    0 => String::new(),
                    count => format!(", {} set aside", counted(count, "document")),
                };
                report.say(&format!("applied {name}: {}{aside}", counted(rows, "row")));
            }
            (problem, _) => {
                // A clock that is far off keeps nothing from being applied.
                if flow.is_ended {
                    report.say(&format!("applied {name}"));
                }
                let problem = problem.as_deref().unwrap_or("is refused");
                report.warn(&format!("{name}: {problem}"));
                findings.flows.insert(flow.id);
            }
        }
    }
    Ok(())
}

/// Says how many documents wait in quarantine.
///
/// # Errors
/// What the extension says.
pub fn count_quarantine(
    database: &Database,
    report: &mut dyn Report,
    findings: &mut Findings,
) -> Result<()> {
    findings.quarantined = database.count(Counted::Quarantine)?;
    if findings.quarantined > 0 {
        report.warn(&format!(
            "{} in quarantine; talon status names them",
            counted(findings.quarantined, "document")
        ));
    }
    Ok(())
}

/// So many, in words.
pub fn counted(count: i64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What people call a chunk.
pub fn shown(chunk: &Chunk) -> String {
    match &chunk.head {
        Some(Head { from, to, number, chunk, last, .. }) => {
            let last = if *last { ", the last" } else { "" };
            format!("flow {number} from {from} to {to}, chunk {chunk}{last}")
        }
        None => "a chunk".to_owned(),
    }
}
