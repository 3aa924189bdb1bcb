//! Runs a scenario: once without a fault, then with each.

use crate::fault::{Fault, Kind, Plan, Survival};
use crate::figures::Figures;
use crate::judge::{Allowed, Judge, Verdict};
use crate::model::{self, Duty, Excluded, Outcome, Reference, Units};
use crate::observe::{Observed, Reader};
use crate::scenario::{Journal, Scenario, Setting, Synchronous};
use crate::session::{self, Script, Session};
use crate::vfs::{self, Disk, Files};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The extension.
    pub library: PathBuf,
    /// Chooses what survives power cuts, and which snapshots are restored.
    pub seed: u64,
    /// Only faults whose name (`wal-full-4096 power-torn@17`) contains this.
    pub only: Option<String>,
    /// Only combinations of settings whose name contains this.
    pub settings: Option<String>,
    /// Every fault in every combination of settings; otherwise power cuts in each, and the calls of the other faults
    /// dealt out among them.
    pub thorough: bool,
    /// At most so many faults of a kind in a combination of settings, spread over all calls; 0 for no limit.
    pub most: u64,
}

/// What a run tells while it goes on.
pub enum Event<'a> {
    /// A run begins.
    Begins(&'a str),
    /// Something does not hold.
    Problem(&'a str, &'a Verdict),
    /// A fault never happened.
    Unfired(&'a str),
}

/// Who hears it.
pub type Listener<'a> = dyn FnMut(Event<'_>) + 'a;

/// What is known of runs in which some transactions did not come to pass.
struct Known {
    reference: Reference,
    /// By number of commits.
    duties: Vec<Duty>,
    /// As Talon sees it, by number of commits.
    observed: Vec<Observed>,
}

/// A scenario in one combination of settings.
pub(crate) struct Bench<'a> {
    scenario: &'a Scenario,
    script: &'a Script,
    setting: Setting,
    options: &'a Options,
    units: Units,
    /// The disk as the faults find it.
    base: Files,
    known: BTreeMap<Excluded, Rc<Known>>,
    judge: Judge<'a>,
}

/// Which run of the reference a faulted one may have come to.
struct Candidate {
    excluded: Excluded,
    known: Rc<Known>,
}

/// What a faulted run came to.
struct Faulted {
    fired: bool,
    files: Files,
    candidates: Vec<Candidate>,
    /// After a power cut, how many commits there may be; otherwise all of a candidate's.
    commits: Option<RangeInclusive<usize>>,
    problems: Vec<String>,
    /// Errors that the host was told of.
    told: Vec<String>,
}

/// Runs a scenario in all its settings.
pub fn scenario(scenario: &Scenario, options: &Options, listen: &mut Listener<'_>) -> Figures {
    let mut figures = Figures::default();
    let script = Script::of(scenario);
    let mut settings = scenario.settings();
    if let Some(chosen) = &options.settings {
        settings.retain(|setting| setting.to_string().contains(chosen));
    }
    for (place, setting) in settings.iter().enumerate() {
        let name = format!("{} {setting}", scenario.name);
        let mut bench = match Bench::new(scenario, &script, *setting, options) {
            Ok(bench) => bench,
            Err(problem) => {
                figures.problem(&name, problem, listen);
                continue;
            }
        };
        let turn = if options.thorough { (0, 1) } else { (place as u64, settings.len() as u64) };
        bench.run_all(&name, turn, &mut figures, listen);
    }
    figures
}

/// Kinds of faults, each with the number of calls that it could strike.
pub type Counted = Vec<(Kind, u64)>;

/// How many calls of each kind of fault the steps make, in each combination of settings.
///
/// # Errors
/// What does not hold even without a fault.
pub fn count(scenario: &Scenario, options: &Options) -> Result<Vec<(Setting, Counted)>, String> {
    let script = Script::of(scenario);
    let settings = scenario.settings().into_iter();
    settings
        .map(|setting| {
            let counted = Bench::new(scenario, &script, setting, options)?.count()?;
            Ok((setting, counted))
        })
        .collect()
}

fn fault_seed(seed: u64, fault: Fault) -> u64 {
    let mut random =
        fastrand::Rng::with_seed(seed ^ fault.call.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    random.u64(..)
}

impl<'a> Bench<'a> {
    pub(crate) fn new(
        scenario: &'a Scenario,
        script: &'a Script,
        setting: Setting,
        options: &'a Options,
    ) -> Result<Bench<'a>, String> {
        let library = options.library.as_path();
        let judge = Judge { scenario, setting, library, reader: Reader::default() };
        let none = Excluded::new();
        let first = model::reference(scenario, script, setting, None, &none)
            .map_err(|failure| format!("without Talon: {failure}"))?;
        let units = model::units(script, &first.outcomes);
        let mut bench = Bench {
            scenario,
            script,
            setting,
            options,
            units,
            base: Files::new(),
            known: BTreeMap::new(),
            judge,
        };
        bench.known(&none)?;
        Ok(bench)
    }

    /// The run without a fault and without some transactions, without Talon and with it.
    fn known(&mut self, excluded: &Excluded) -> Result<Rc<Known>, String> {
        if let Some(known) = self.known.get(excluded) {
            return Ok(Rc::clone(known));
        }
        let reference =
            model::reference(self.scenario, self.script, self.setting, Some(&self.units), excluded)
                .map_err(|failure| format!("without Talon: {failure}"))?;
        let observed = self.with_talon(&reference, excluded.is_empty())?;
        let duties = (0..=reference.commits.len()).map(|commits| reference.duty(commits)).collect();
        let known = Rc::new(Known { reference, duties, observed });
        self.known.insert(excluded.clone(), Rc::clone(&known));
        Ok(known)
    }

    /// Runs what the reference ran, with Talon: the host must not notice.
    fn with_talon(
        &mut self,
        reference: &Reference,
        is_whole: bool,
    ) -> Result<Vec<Observed>, String> {
        vfs::seed(self.options.seed);
        let mut observed = vec![Observed::default()];
        let files = model::schema_files(self.scenario, self.setting)
            .map_err(|failure| failure.to_string())?;
        let disk = Disk::new(&files);
        let library = Some(self.judge.library);
        let guards = session::open(&disk, self.setting, library, &crate::scenario::Host::default())
            .and_then(|connection| {
                connection.run(&self.scenario.guard)?;
                connection.close()
            });
        guards.map_err(|failure| format!("the guard: {failure}"))?;
        observed.push(self.judge.observe(&disk.files())?);
        let mut session = Session::new(Arc::clone(&disk), self.setting, library, self.script);
        // last_insert_rowid() and changes() before each statement, by connection, with Talon and without.
        let mut kept = vec![[(0, 0); 2]; self.script.hosts.len()];
        let acts = self.script.acts.iter().zip(&reference.outcomes).enumerate();
        for (place, (act, expected)) in acts {
            if place == self.script.setup {
                session.close_all().map_err(|failure| failure.to_string())?;
                self.base = disk.files();
                kept.fill([(0, 0); 2]);
            }
            let Some(expected) = expected else { continue };
            let outcome = Outcome::of(&mut session, act);
            if let Some(difference) = difference(act, &outcome, expected, kept[act.on]) {
                return Err(format!("with Talon, {}: {difference}", act.sql));
            }
            kept[act.on] = [(outcome.rowid, expected.rowid), (outcome.changes, expected.changes)];
            if act.closes {
                session.close(act.on).map_err(|failure| format!("closing: {failure}"))?;
                kept[act.on] = [(0, 0); 2];
            }
            if outcome.code() == 0 && outcome.ends {
                observed.push(self.judge.observe(&disk.files())?);
            }
        }
        session.close_all().map_err(|failure| format!("closing: {failure}"))?;
        if observed.len() != reference.commits.len() + 1 {
            return Err(format!(
                "{} commits with Talon, {} without",
                observed.len() - 1,
                reference.commits.len()
            ));
        }
        let commits = reference.commits.len();
        if is_whole
            && let (Some(commit), Some(observed)) = (reference.commits.last(), observed.last())
        {
            let duty = &reference.duty(commits);
            let allowed = Allowed { dump: &commit.dump, duty, observed };
            self.judge.judge_whole(&disk.files(), &allowed, self.options.seed)?;
        }
        Ok(observed)
    }

    fn run_all(
        &mut self,
        name: &str,
        (turn, turns): (u64, u64),
        figures: &mut Figures,
        listen: &mut Listener<'_>,
    ) {
        listen(Event::Begins(name));
        let totals = match self.count() {
            Ok(totals) => totals,
            Err(problem) => return figures.problem(name, problem, listen),
        };
        for (kind, total) in totals {
            let is_power = matches!(kind, Kind::Power(_));
            let (from, step) = if is_power { (1, 1) } else { (turn + 1, turns) };
            let count = (total + step).saturating_sub(from) / step;
            let stride = match self.options.most {
                0 => step,
                most => step * count.div_ceil(most).max(1),
            };
            let lastings: &[bool] = if kind.can_last() { &[false, true] } else { &[false] };
            for call in (from..=total).step_by(stride as usize) {
                for lasting in lastings {
                    let fault = Fault { kind, call, lasting: *lasting };
                    let name = format!("{name} {fault}");
                    let chosen = self.options.only.as_ref().is_none_or(|only| name.contains(only));
                    if chosen {
                        self.run_fault(&name, fault, figures, listen);
                    }
                }
            }
        }
    }

    /// How many calls of each kind the steps make.
    pub(crate) fn count(&mut self) -> Result<Counted, String> {
        vfs::seed(self.options.seed);
        let disk = Disk::new(&self.base);
        self.work(&disk, None).map(drop)?;
        let memory = vfs::disarm_memory();
        let kinds =
            Kind::all().into_iter().filter(|kind| self.scenario.tries(*kind)).filter(|kind| {
                // Where one sync a commit is asked for, SQLite does not promise to survive sectors out of order.
                *kind != Kind::Power(Survival::Torn)
                    || self.setting.journal == Journal::Wal
                    || self.setting.synchronous == Synchronous::Full
            });
        Ok(kinds
            .map(|kind| (kind, if kind == Kind::Memory { memory.seen } else { disk.calls(kind) }))
            .collect())
    }

    pub(crate) fn run_fault(
        &mut self,
        name: &str,
        fault: Fault,
        figures: &mut Figures,
        listen: &mut Listener<'_>,
    ) {
        listen(Event::Begins(name));
        let seed = fault_seed(self.options.seed, fault);
        vfs::seed(self.options.seed);
        let disk = Disk::new(&self.base);
        let held = vfs::memory().held_bytes;
        let worked = self.work(&disk, Some((fault, seed)));
        let memory = vfs::disarm_memory();
        let mut verdict = Verdict::default();
        match worked {
            Err(problem) => verdict.wrong.push(problem),
            Ok(faulted) => {
                if !faulted.fired {
                    figures.unfired += 1;
                    return listen(Event::Unfired(name));
                }
                verdict = self.judge_faulted(&faulted, seed);
                verdict.wrong.extend(faulted.problems);
                verdict.told = faulted.told;
                if memory.held_bytes != held {
                    let leak = memory.held_bytes - held;
                    verdict.wrong.push(format!("{leak} bytes are not freed after the last close"));
                }
            }
        }
        figures.injected += 1;
        *figures.families.entry(fault.kind.family()).or_default() += 1;
        figures.distinct.insert(fault);
        figures.states += 1;
        figures.images += verdict.images;
        figures.lost += verdict.lost.len() as u64;
        figures.wrong += verdict.wrong.len() as u64;
        if !verdict.is_clean() {
            listen(Event::Problem(name, &verdict));
        }
    }

    fn judge_faulted(&mut self, faulted: &Faulted, seed: u64) -> Verdict {
        let mut allowed = Vec::new();
        for candidate in &faulted.candidates {
            let known = &candidate.known;
            let last = known.reference.commits.len();
            for commits in faulted.commits.clone().unwrap_or(last..=last) {
                let Some(commit) = known.reference.commits.get(commits.wrapping_sub(1)) else {
                    continue;
                };
                allowed.push(Allowed {
                    dump: &commit.dump,
                    duty: &known.duties[commits],
                    observed: &known.observed[commits],
                });
            }
        }
        self.judge.judge(&faulted.files, &allowed, seed)
    }

    /// Does the steps, with a fault and the seed that it takes, or counting calls.
    fn work(&mut self, disk: &Arc<Disk>, fault: Option<(Fault, u64)>) -> Result<Faulted, String> {
        let script = self.script;
        let library = self.options.library.as_path();
        let mut session = Session::new(Arc::clone(disk), self.setting, Some(library), script);
        if !self.scenario.cold {
            session.open_all().map_err(|failure| failure.to_string())?;
        }
        let none = Excluded::new();
        let mut candidates = vec![Candidate { known: self.known(&none)?, excluded: none }];
        disk.arm(fault.map(|(fault, seed)| Plan::new(fault, seed)));
        let fault = fault.map(|(fault, _)| fault);
        match fault.filter(|fault| fault.kind == Kind::Memory) {
            Some(fault) => vfs::arm_memory(fault.call, fault.lasting),
            None => vfs::arm_memory(0, false),
        }
        let setup = candidates[0].known.reference.setup;
        let mut failed = BTreeSet::new();
        let mut problems = Vec::new();
        let mut told = Vec::new();
        let mut committed = setup;
        let mut in_doubt = false;
        for (place, act) in script.acts.iter().enumerate().skip(script.setup) {
            let unit = self.units[place];
            if failed.contains(&unit) {
                continue;
            }
            let had_fired = disk.has_fired() || vfs::memory().fired > 0;
            let outcome = Outcome::of(&mut session, act);
            if let Some(failure) = &outcome.executed.failure {
                told.push(format!("{}: {failure}", act.sql));
            }
            if disk.is_dead() && outcome.code() != 0 {
                in_doubt = self.is_last(place);
                break;
            }
            let fits = candidates.iter().any(|candidate| {
                let expected = candidate.known.reference.outcomes[place].as_ref();
                expected.is_some_and(|expected| is_expected(act, &outcome, expected))
            });
            if fits {
                if outcome.code() != 0 && self.units.iter().filter(|one| **one == unit).count() == 1
                {
                    // It failed on what another transaction holds, and did so even if that one fails later.
                    failed.insert(unit);
                }
                committed += usize::from(outcome.code() == 0 && outcome.ends);
                if act.closes {
                    session.close(act.on).map_err(|failure| format!("closing: {failure}"))?;
                }
                continue;
            }
            problems.extend(complaint(disk, fault, had_fired, act, &outcome));
            session.roll_back(act.on);
            failed.insert(unit);
            let before = candidates.len();
            candidates =
                vfs::without_memory_faults(|| self.without(unit, &failed, candidates, disk))?;
            if candidates.len() > before {
                // It may come back when the file is opened anew, after what the host did meanwhile: it stops here.
                let rest = self.units[place..].iter().copied().filter(|other| *other != unit);
                let rest = rest.collect::<BTreeSet<_>>();
                candidates = vfs::without_memory_faults(|| self.without_all(candidates, &rest))?;
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
        let plan = disk.disarm();
        let fired = match fault.map(|fault| fault.kind) {
            Some(Kind::Memory) => vfs::disarm_memory().fired > 0,
            _ => plan.is_some_and(|plan| plan.fired > 0),
        };
        let commits = is_dead.then(|| {
            let certain = match (self.setting.journal, self.setting.synchronous) {
                // SQLite does not sync these commits: any number of the last may be gone.
                (Journal::Wal, Synchronous::Normal) => setup,
                // Nor the end of the journal, which undoes the last commit when it comes back.
                (Journal::Delete, _) | (Journal::Truncate, Synchronous::Normal) => {
                    let commits = &candidates[0].known.reference.commits;
                    commits[..committed].iter().rposition(|one| one.writes).unwrap_or(setup)
                }
                _ => committed,
            };
            certain.max(setup)..=committed + usize::from(in_doubt)
        });
        Ok(Faulted { fired, files: disk.files(), candidates, commits, problems, told })
    }

    /// The candidates without what the host did not come to.
    fn without_all(
        &mut self,
        candidates: Vec<Candidate>,
        rest: &BTreeSet<usize>,
    ) -> Result<Vec<Candidate>, String> {
        candidates
            .into_iter()
            .map(|candidate| {
                let excluded: Excluded = candidate.excluded.union(rest).copied().collect();
                Ok(Candidate { known: self.known(&excluded)?, excluded })
            })
            .collect()
    }

    /// Whether a statement is the last of its transaction.
    fn is_last(&self, place: usize) -> bool {
        !self.units[place + 1..].contains(&self.units[place])
    }

    /// The candidates once a transaction has failed: all that have `failed` are left out, the last one unless the file shows that it may have come to pass.
    fn without(
        &mut self,
        unit: usize,
        failed: &BTreeSet<usize>,
        candidates: Vec<Candidate>,
        disk: &Disk,
    ) -> Result<Vec<Candidate>, String> {
        let now = model::look(&disk.files(), self.scenario).map(|(dump, _)| dump);
        let mut found = Vec::new();
        for Candidate { excluded, known } in candidates {
            let commits = &known.reference.commits;
            let may_stand = commits
                .iter()
                .position(|commit| commit.unit == unit)
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
fn complaint(
    disk: &Disk,
    fault: Option<Fault>,
    had_fired: bool,
    act: &session::Act,
    outcome: &Outcome,
) -> Option<String> {
    let (sql, code) = (&act.sql, outcome.code());
    let Some(failure) = &outcome.executed.failure else {
        return Some(format!("no error in {sql}"));
    };
    let problem = || Some(format!("{sql} gave {failure}"));
    let Some(fault) = fault else { return problem() };
    let has_fired = disk.has_fired() || vfs::memory().fired > 0;
    let fits = match fault.kind {
        Kind::Memory => code == NOMEM || failure.code == IOERR_NOMEM,
        Kind::Full => matches!(code, FULL | IOERR | CANTOPEN),
        // A journal that cannot be looked at may be hot: SQLite then wants the file for itself.
        Kind::Io(_) | Kind::Power(_) => {
            matches!(code, IOERR | CANTOPEN | FULL | PROTOCOL | BUSY)
        }
    };
    if had_fired && !fault.lasting {
        return Some(format!("{sql} gave {failure}, although the fault was over"));
    }
    let fits = fits || failure.text.starts_with(vfs::LOADING);
    if has_fired && fits { None } else { problem() }
}

const BUSY: i32 = 5;
const NOMEM: i32 = 7;
const IOERR: i32 = 10;
const IOERR_NOMEM: i32 = 3082;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;

fn is_expected(act: &session::Act, outcome: &Outcome, expected: &Outcome) -> bool {
    match (&act.error, &outcome.executed.failure) {
        (Some(text), Some(failure)) => failure.text.contains(text),
        (Some(_), None) => false,
        (None, _) => outcome.code() == expected.code(),
    }
}

/// What a host would notice of Talon; none where it notices nothing.
fn difference(
    act: &session::Act,
    outcome: &Outcome,
    expected: &Outcome,
    kept: [(i64, i64); 2],
) -> Option<String> {
    let shown = |outcome: &Outcome| match &outcome.executed.failure {
        Some(failure) => failure.to_string(),
        None => "no error".to_owned(),
    };
    if !is_expected(act, outcome, expected) {
        let wanted = act.error.clone().unwrap_or_else(|| shown(expected));
        return Some(format!("{}; expected {wanted}", shown(outcome)));
    }
    // After a statement that fails, last_insert_rowid() is a stated limit.
    if act.instead.is_some() || outcome.code() != 0 {
        return None;
    }
    // What a statement leaves as it was, it leaves as a step of Talon's has made it.
    let [rowid, changes] = kept
        .map(|before| move |found, wanted| if (found, wanted) == before { found } else { wanted });
    let pairs = [
        ("changes()", outcome.changes, changes(outcome.changes, expected.changes)),
        ("last_insert_rowid()", outcome.rowid, rowid(outcome.rowid, expected.rowid)),
        ("transaction", i64::from(!outcome.ends), i64::from(!expected.ends)),
    ];
    if let Some((name, found, wanted)) = pairs.into_iter().find(|(_, a, b)| a != b) {
        return Some(format!("{name} is {found}, without Talon {wanted}"));
    }
    let (found, wanted) = (&outcome.executed.rows, &expected.executed.rows);
    (found != wanted).then(|| format!("rows {found:?}, without Talon {wanted:?}"))
}
