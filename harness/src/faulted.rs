//! A run with a fault: the host does what it can, and what may have become of its transactions is kept in mind.

use crate::bench::{Bench, Known, is_expected};
use crate::fault::{Fault, Kind, Plan};
use crate::model::{self, Excluded, Outcome};
use crate::scenario::{Journal, Synchronous};
use crate::session::{Act, Session};
use crate::vfs::{self, Disk, Files};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

/// Which run of the reference a faulted one may have come to.
pub(crate) struct Candidate {
    pub excluded: Excluded,
    pub known: Rc<Known>,
}

/// What a faulted run came to.
pub(crate) struct Faulted {
    pub fired: bool,
    pub files: Files,
    pub candidates: Vec<Candidate>,
    /// After a power cut, how many commits there may be; otherwise all of a candidate's.
    pub commits: Option<RangeInclusive<usize>>,
    pub problems: Vec<String>,
    /// Errors that the host was told of.
    pub told: Vec<String>,
}

/// Has a fault wait for its moment, with the seed that it takes, and counts calls from here on.
pub(crate) fn arm(disk: &Disk, fault: Option<(Fault, u64)>) {
    disk.arm(fault.map(|(fault, seed)| Plan::new(fault, seed)));
    let of = |kind| fault.map(|(fault, _)| fault).filter(|fault| fault.kind == kind);
    vfs::arm_memory(of(Kind::Memory));
    vfs::arm_interrupts(of(Kind::Interrupt));
}

/// Whether the fault has happened.
pub(crate) fn has_fired(disk: &Disk) -> bool {
    disk.has_fired() || vfs::memory().fired > 0 || vfs::interrupts().fired > 0
}

/// Ends the fault.
pub(crate) fn disarm(disk: &Disk) {
    disk.disarm();
    vfs::disarm_memory();
    vfs::disarm_interrupts();
}

impl Bench<'_> {
    /// Does the steps, with a fault and the seed that it takes, or counting calls.
    pub fn work(
        &mut self,
        disk: &Arc<Disk>,
        fault: Option<(Fault, u64)>,
    ) -> Result<Faulted, String> {
        let script = self.script;
        let library = self.options.library.as_path();
        let mut session = Session::new(disk, self.setting, Some(library), script);
        if !self.scenario.cold {
            session.open_all().map_err(|failure| failure.to_string())?;
        }
        let none = Excluded::new();
        let mut candidates = vec![Candidate { known: self.known(&none)?, excluded: none }];
        arm(disk, fault);
        let fault = fault.map(|(fault, _)| fault);
        let setup = candidates[0].known.reference.setup;
        let mut failed = Excluded::new();
        let mut problems = Vec::new();
        let mut told = Vec::new();
        let mut committed = setup;
        // How often something was synced up to the end of each commit.
        let mut syncs = Vec::new();
        let mut in_doubt = false;
        for (place, act) in script.acts.iter().enumerate().skip(script.setup) {
            if failed.contains(&place) {
                continue;
            }
            let known = Rc::clone(&candidates[0].known);
            let unit = known.units[place];
            let had_fired = has_fired(disk);
            let outcome = Outcome::of(&mut session, act);
            if let Some(failure) = &outcome.executed.failure {
                told.push(format!("{}: {failure}", act.sql));
            }
            if disk.is_dead() && outcome.code() != 0 {
                in_doubt = !known.units[place + 1..].contains(&unit);
                break;
            }
            let fits = candidates.iter().any(|candidate| {
                let expected = candidate.known.reference.outcomes[place].as_ref();
                expected.is_some_and(|expected| is_expected(act, &outcome, expected))
            });
            if fits {
                problems.extend(self.left_open(&candidates, place, &outcome));
                if outcome.code() == BUSY {
                    // Another transaction was in its way, and was so even if that one fails later.
                    failed.insert(place);
                }
                if outcome.commits {
                    committed += 1;
                    syncs.push(disk.syncs());
                }
                if act.closes {
                    session.close(act.on).map_err(|failure| format!("closing: {failure}"))?;
                }
                continue;
            }
            problems.extend(complaint(disk, fault, had_fired, act, &outcome));
            session.roll_back(act.on);
            failed.extend(known.statements_of(|one| one == unit));
            let before = candidates.len();
            candidates = vfs::undisturbed(|| self.without(unit, &failed, candidates, disk))?;
            if candidates.len() > before {
                // It may come back when the file is opened anew, after what the host did meanwhile: it stops here.
                let open = &known.units[place..];
                let rest = known.statements_of(|one| one != unit && open.contains(&one));
                candidates = vfs::undisturbed(|| self.without_all(candidates, &rest))?;
                break;
            }
        }
        if let Err(failure) = session.close_all() {
            problems.push(format!("closing: {failure}"));
        }
        drop(session);
        let is_dead = disk.is_dead();
        if disk.open_files() > 0 {
            problems.push(format!("{} files are still open", disk.open_files()));
        }
        let fired = has_fired(disk);
        disarm(disk);
        let commits = is_dead.then(|| {
            let certain = match (self.setting.journal, self.setting.synchronous) {
                // SQLite does not sync these commits: any number of the last may be gone.
                (Journal::Wal, Synchronous::Normal) => setup,
                // Nor the end of the journal, which undoes the commit when it comes back: the next journal's sync does that.
                (Journal::Delete, _) | (Journal::Truncate, Synchronous::Normal) => {
                    setup + syncs.iter().filter(|syncs| **syncs < disk.syncs()).count()
                }
                _ => committed,
            };
            certain.max(setup)..=committed + usize::from(in_doubt)
        });
        Ok(Faulted { fired, files: disk.files(), candidates, commits, problems, told })
    }

    /// Says where a statement that did as it should has left another transaction open than it should.
    fn left_open(
        &self,
        candidates: &[Candidate],
        place: usize,
        outcome: &Outcome,
    ) -> Option<String> {
        let mut expected =
            candidates.iter().filter_map(|one| one.known.reference.outcomes[place].as_ref());
        let is_open = |ends: bool| if ends { "no transaction is" } else { "a transaction is" };
        expected.all(|expected| expected.ends != outcome.ends).then(|| {
            format!("{} open after {}", is_open(outcome.ends), self.script.acts[place].sql)
        })
    }

    /// The candidates without what the host did not come to.
    fn without_all(
        &mut self,
        candidates: Vec<Candidate>,
        rest: &Excluded,
    ) -> Result<Vec<Candidate>, String> {
        candidates
            .into_iter()
            .map(|candidate| {
                let excluded: Excluded = candidate.excluded.union(rest).copied().collect();
                Ok(Candidate { known: self.known(&excluded)?, excluded })
            })
            .collect()
    }

    /// The candidates once a transaction has failed: all that have `failed` are left out, the last one unless the file shows that it may have come to pass.
    fn without(
        &mut self,
        unit: usize,
        failed: &Excluded,
        candidates: Vec<Candidate>,
        disk: &Disk,
    ) -> Result<Vec<Candidate>, String> {
        let now = model::look(&disk.files(), self.scenario).map(|(dump, _)| dump);
        let mut found = Vec::new();
        for Candidate { excluded, known } in candidates {
            let commits = &known.reference.commits;
            let may_stand = commits
                .iter()
                .position(|commit| commit.place.is_some_and(|place| known.units[place] == unit))
                .is_some_and(|place| now.as_ref().is_ok_and(|now| commits[place].dump == *now));
            let shorter: Excluded = excluded.union(failed).copied().collect();
            found.push(Candidate { known: self.known(&shorter)?, excluded: shorter });
            if may_stand {
                found.push(Candidate { excluded, known });
            }
        }
        Ok(found)
    }
}

/// What is wrong with an error that was not expected, where something is.
pub(crate) fn complaint(
    disk: &Disk,
    fault: Option<Fault>,
    had_fired: bool,
    act: &Act,
    outcome: &Outcome,
) -> Option<String> {
    let (sql, code) = (&act.sql, outcome.code());
    let Some(failure) = &outcome.executed.failure else {
        return Some(format!("no error in {sql}"));
    };
    let problem = || Some(format!("{sql} gave {failure}"));
    let Some(fault) = fault else { return problem() };
    let fits = match fault.kind {
        // A refusal whose own text found no memory is one all the same: SQLite has one of its own then.
        Kind::Memory => {
            code == NOMEM
                || failure.code == IOERR_NOMEM
                || act.error.is_some() && failure.text == "constraint failed"
        }
        Kind::Interrupt => code == INTERRUPT,
        Kind::Full => matches!(code, FULL | IOERR | CANTOPEN),
        // A journal that cannot be looked at may be hot: SQLite then wants the file for itself.
        Kind::Io(_) | Kind::Power(_) | Kind::Kill => {
            matches!(code, IOERR | CANTOPEN | FULL | PROTOCOL | BUSY)
        }
    };
    if had_fired && !fault.lasting {
        return Some(format!("{sql} gave {failure}, although the fault was over"));
    }
    let fits = fits || failure.text.starts_with(vfs::LOADING);
    if has_fired(disk) && fits { None } else { problem() }
}

const BUSY: i32 = 5;
const NOMEM: i32 = 7;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const IOERR_NOMEM: i32 = 3082;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
