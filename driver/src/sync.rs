//! `talon sync`: receive, apply, answer, send. Every step can be cut off and done again: a chunk that is here already is
//! received without effect, and one that lies in the mailbox is not written again.

use crate::arguments::{Answer, Mode, Sync};
use crate::chunk::{Chunk, Chunks, head_bytes};
use crate::database::{Database, Flow, Site};
use crate::error::{Error, Result};
use crate::layout;
use crate::mailbox::Mailbox;
use crate::report::{Report, Way};
use crate::taking::{self, Findings, counted};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often the mailbox is looked at while an answer is waited for.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs it.
///
/// # Errors
/// What kept it from its end; what was carried before stays carried.
pub fn run(options: &Sync, report: &mut dyn Report) -> Result<Findings> {
    let (database, _lock) = Database::open_to_write(&options.place)?;
    let mailbox = Mailbox::open(&options.mailbox)?;
    let exchange = Exchange { database, mailbox, wait: options.place.wait() };
    let mut findings = Findings::default();
    let sent = {
        let _lock = exchange.mailbox.lock(exchange.wait)?;
        exchange.receive(report, &mut findings)?;
        taking::process(&exchange.database, report, &mut findings)?;
        exchange.send(options, report)?
    };
    if options.patience > 0 {
        exchange.await_answers(&sent, options.patience, report, &mut findings)?;
    }
    taking::count_quarantine(&exchange.database, report, &mut findings)?;
    Ok(findings)
}

/// A database and a mailbox.
pub struct Exchange {
    /// The one.
    pub database: Database,
    /// The other.
    pub mailbox: Mailbox,
    /// How long to wait for another process.
    pub wait: Duration,
}

impl Exchange {
    /// Takes what lies in the mailbox for this site.
    ///
    /// # Errors
    /// What every object would meet; what is wrong with one is reported, and the others are taken.
    pub fn receive(&self, report: &mut dyn Report, findings: &mut Findings) -> Result<()> {
        let sites = self.database.sites()?;
        let this = self.database.this()?;
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        for path in self.mailbox.lying_for(&this.code)? {
            if !findings.files.contains(&path) && !self.is_passed_over(&path, &sites, &this)? {
                bytes += self.mailbox.length(&path)?.unwrap_or_default();
                waiting.push(path);
            }
        }
        let newest = self.database.newest_flow()?;
        let mut came = BTreeSet::new();
        report.begin("receiving", Some(bytes));
        for path in waiting {
            let source = self.mailbox.read(&path);
            let taken = taking::take_file(&self.database, &path, source, report, findings);
            if taken.is_err() {
                report.end();
            }
            came.extend(taken?);
        }
        report.end();
        // Of what was here before nothing is said again.
        came.retain(|flow| Some(*flow) > newest);
        taking::say_over(&self.database, &came, report)
    }

    /// Is there nothing to be had of an object, by its name? A flow that has come already is known again by its first chunk,
    /// which is read nevertheless: a database that went back to a backup uses its numbers again, with other content, and the
    /// extension says so. A name of a file by hand says nothing: it is read.
    fn is_passed_over(&self, path: &str, sites: &[Site], this: &Site) -> Result<bool> {
        for sender in sites {
            let Some(named) = layout::named(path, &sender.code) else { continue };
            return Ok(named.chunk > 0 && self.database.is_known(sender, this, &named)?);
        }
        Ok(false)
    }

    /// Writes into the mailbox what is not there yet, and makes new flows where they are asked for; gives their ids.
    ///
    /// # Errors
    /// What the mailbox or the extension says.
    pub fn send(&self, options: &Sync, report: &mut dyn Report) -> Result<Vec<i64>> {
        let sites = self.database.sites()?;
        let this = self.database.this()?;
        self.remove_acknowledged(&sites, &this, report)?;
        let mut made = Vec::new();
        for to in targets(options, &sites, &this)? {
            if let Some(cut_off) = self.cut_off(&to, &this, options.wanted.mode)? {
                report.say(&format!(
                    "flow {} to {to} was cut off: its rest is sent now, what changed since goes with the next talon sync",
                    cut_off.number
                ));
                made.push(cut_off.id);
                continue;
            }
            let answer = options.wanted.answer.unwrap_or(default_answer(&this));
            made.push(self.database.emit(&to, options.wanted.mode, answer)?);
        }
        for flow in self.database.to_send(&this)? {
            self.send_flow(&flow, report)?;
        }
        Ok(made)
    }

    /// The flow to a site that lies in the mailbox in part: a process was ended while it wrote.
    fn cut_off(&self, to: &str, this: &Site, mode: Mode) -> Result<Option<Flow>> {
        let mut flows = self.database.to_send(this)?;
        flows.retain(|flow| flow.to.eq_ignore_ascii_case(to));
        let Some(flow) = flows.pop() else { return Ok(None) };
        // Who asks for everything gets everything that there is now.
        if mode == Mode::Full {
            return Ok(None);
        }
        let mut lying = false;
        for number in 0.. {
            let Some(bytes) = self.database.chunk(flow.id, number)? else { break };
            let path = self.path_of(&bytes, &flow)?;
            match self.mailbox.length(&path)? {
                Some(_) => lying = true,
                None if lying => return Ok(Some(flow)),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Writes the chunks of a flow that are not in the mailbox.
    ///
    /// # Errors
    /// What the mailbox or the extension says.
    pub fn send_flow(&self, flow: &Flow, report: &mut dyn Report) -> Result<()> {
        let bytes = flow.bytes.and_then(|bytes| u64::try_from(bytes).ok());
        report.begin(&format!("sending flow {} to {}", flow.number, flow.to), bytes);
        let mut written = 0;
        for number in 0.. {
            let Some(bytes) = self.database.chunk(flow.id, number)? else { break };
            let length = bytes.len() as u64;
            let path = self.path_of(&bytes, flow)?;
            let lies = self.mailbox.length(&path)?;
            if lies.is_some() && self.is_anothers(&path, &bytes)? {
                let from = &flow.from;
                return Err(self.mailbox.fault(format!(
                    "{path} lies there with other content: {from} went back to an older state, or its database was copied and \
                     both are in use. A copy that stays in use needs a code of its own; for the other: at {from}, SELECT \
                     talon_rejoin(), then exchange full flows"
                )));
            }
            if lies == Some(length) {
                continue;
            }
            self.mailbox.write(&path, bytes)?;
            report.moved(Way::Out, &path, length);
            written += 1;
        }
        report.end();
        if written > 0 {
            let rows = flow.rows.unwrap_or_default();
            report.say(&format!(
                "sent flow {} to {}: {}, {}",
                flow.number,
                flow.to,
                counted(rows, "row"),
                counted(written, "chunk")
            ));
        }
        Ok(())
    }

    /// Whether what lies where a chunk of ours belongs is a chunk that somebody else has written: one of the same flow that
    /// says something else of itself. What is cut off or damaged is none.
    fn is_anothers(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        let lying = match Chunks::new(self.mailbox.read(path)).take() {
            Ok(Some(Chunk { head: Some(_), bytes })) => bytes,
            _ => return Ok(false),
        };
        Ok(head_bytes(&lying) != head_bytes(bytes))
    }

    /// Where a chunk of ours belongs.
    fn path_of(&self, bytes: &[u8], flow: &Flow) -> Result<String> {
        let chunk = Chunks::new(bytes).take().ok().flatten();
        match chunk.and_then(|chunk| chunk.head) {
            Some(head) => Ok(layout::object(&head)),
            None => Err(Error::Database {
                path: self.database.path().to_owned(),
                reason: format!(
                    "flow {} to {} has a chunk that this talon cannot read: is the library newer than the program?",
                    flow.number, flow.to
                ),
            }),
        }
    }

    /// Removes our own objects that their receiver has acknowledged, or that an acknowledged later flow stands for.
    fn remove_acknowledged(
        &self,
        sites: &[Site],
        this: &Site,
        report: &mut dyn Report,
    ) -> Result<()> {
        for to in sites.iter().filter(|site| !site.is_this) {
            let Some(newest) = self.database.newest_acknowledged(this, to)? else { continue };
            let mut removed = 0;
            for path in self.mailbox.lying_for(&to.code)? {
                let Some(named) = layout::named(&path, &this.code) else { continue };
                let is_ours = this.incarnation.as_deref() == Some(named.incarnation.as_str());
                if is_ours && named.number <= newest {
                    self.mailbox.remove(&path)?;
                    removed += 1;
                }
            }
            if removed > 0 {
                let removed = counted(removed, "chunk");
                report.say(&format!("removed {removed} that {} has acknowledged", to.code));
            }
        }
        Ok(())
    }

    /// Looks into the mailbox until the flows are answered and the answers applied.
    ///
    /// # Errors
    /// [`Error::NoAnswer`]; what the mailbox or the extension says.
    pub fn await_answers(
        &self,
        sent: &[i64],
        patience_seconds: u64,
        report: &mut dyn Report,
        findings: &mut Findings,
    ) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(patience_seconds);
        for flow in sent {
            while !self.database.is_answered(*flow)? {
                if Instant::now() >= until {
                    return Err(Error::NoAnswer { flow: *flow, waited_seconds: patience_seconds });
                }
                std::thread::sleep(PAUSE);
                // In between the mailbox belongs to whoever answers.
                let _lock = self.mailbox.lock(self.wait)?;
                self.receive(report, findings)?;
                taking::process(&self.database, report, findings)?;
            }
        }
        Ok(())
    }
}

/// For whom new flows are made.
fn targets(options: &Sync, sites: &[Site], this: &Site) -> Result<Vec<String>> {
    if options.fetch {
        return Ok(Vec::new());
    }
    if options.to.is_empty() && this.is_central && options.wanted.mode == Mode::Full {
        return Err(Error::Usage(
            "central makes full flows for whom it is told only: --to SITE, as often as needed"
                .to_owned(),
        ));
    }
    if !options.to.is_empty() || this.is_central {
        return Ok(options.to.clone());
    }
    match sites.iter().find(|site| site.is_central) {
        Some(central) => Ok(vec![central.code.clone()]),
        None => Err(Error::Usage(
            "no site is central: SELECT talon_site(code, 'central'), or say for whom (--to SITE)"
                .to_owned(),
        )),
    }
}

/// A remote site wants to hear from central; central wants no answer unless it says so.
pub fn default_answer(this: &Site) -> Answer {
    if this.is_central { Answer::None } else { Answer::Now }
}
