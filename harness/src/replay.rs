//! Runs a scenario: once without a fault, then with each.

use crate::again::Again;
use crate::bench::{Bench, Known};
use crate::fault::{Fault, Kind, Survival};
use crate::faulted::{Faulted, disarm};
use crate::figures::Figures;
use crate::judge::{Allowed, Verdict};
use crate::model::Excluded;
use crate::process::Killing;
use crate::scenario::{Journal, Scenario, Setting, Synchronous};
use crate::session::Script;
use crate::sql;
use crate::vfs::{self, Disk};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Moments at which a host is killed, in each combination of settings.
const KILLS: u64 = 2;
/// From how many snapshots the one is chosen that is restored after a fault.
const SNAPSHOTS: u64 = 6;

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The extension.
    pub library: PathBuf,
    /// This program, to be started as the hosts that are killed; where there is none, no host is killed.
    pub program: Option<PathBuf>,
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
    /// Something that whoever wrote a scenario may not have meant.
    Note(&'a str, &'a str),
}

/// Who hears it.
pub type Listener<'a> = dyn FnMut(Event<'_>) + 'a;

/// Runs a scenario in all its settings.
pub fn scenario(scenario: &Scenario, options: &Options, listen: &mut Listener<'_>) -> Figures {
    let mut figures = Figures::default();
    let script = Script::of(scenario);
    let settings = chosen(scenario, options);
    if settings.is_empty() {
        let names: Vec<String> = scenario.settings().iter().map(Setting::to_string).collect();
        let note = format!("no such settings; it has {}", names.join(", "));
        listen(Event::Note(&scenario.name, &note));
    }
    let mut told = String::new();
    for (place, setting) in settings.iter().enumerate() {
        let name = format!("{} {setting}", scenario.name);
        let mut trial = match trial(scenario, &script, *setting, options) {
            Ok(trial) => trial,
            // What is wrong with the file is so in all settings.
            Err(problem) if problem == told => continue,
            Err(problem) => {
                told.clone_from(&problem);
                figures.problem(&name, problem, listen);
                continue;
            }
        };
        if place == 0 {
            for act in script.acts.iter().filter(|act| sql::is_changing(&act.sql)) {
                let note = format!("differs from run to run: {}", act.sql);
                listen(Event::Note(&scenario.name, &note));
            }
            for failing in trial.failing() {
                let note = format!("fails without Talon, too: {failing}");
                listen(Event::Note(&scenario.name, &note));
            }
        }
        let deal = if options.thorough { Deal::ALL } else { Deal::of(&settings, place) };
        let run = Run { name: &name, options, deal };
        run.all(trial.as_mut(), &mut figures, listen);
    }
    figures
}

/// The combinations of settings that are asked for.
fn chosen(scenario: &Scenario, options: &Options) -> Vec<Setting> {
    let mut settings = scenario.settings();
    if let Some(chosen) = &options.settings {
        settings.retain(|setting| setting.to_string().contains(chosen));
    }
    settings
}

/// A scenario in one combination of settings, as something that can be run with a fault.
pub(crate) trait Trial {
    /// How many calls of each kind the steps make.
    fn count(&mut self) -> Result<Counted, String>;
    /// Runs with a fault and judges what is left; none where it did not happen.
    fn inject(&mut self, fault: Fault, seed: u64) -> Result<Option<Verdict>, String>;
    /// The host's statements that fail even without a fault, where that is not judged.
    fn failing(&self) -> Vec<String>;
}

fn trial<'a>(
    scenario: &'a Scenario,
    script: &'a Script,
    setting: Setting,
    options: &'a Options,
) -> Result<Box<dyn Trial + 'a>, String> {
    if !scenario.again.is_empty() {
        return Ok(Box::new(Again::new(scenario, script, setting, options)?));
    }
    let bench = Bench::new(scenario, script, setting, options)?;
    let known = bench.known.get(&Excluded::new());
    let mut observed = known.into_iter().flat_map(|known| &known.observed);
    if observed.all(|observed| observed.snapshots.is_empty()) {
        let text = "no image would be compared: no step changes a piece where Talon sees it";
        return Err(text.to_owned());
    }
    Ok(Box::new(bench))
}

/// Kinds of faults, each with the number of calls that it could strike.
pub type Counted = Vec<(Kind, u64)>;

/// How many calls of each kind of fault the steps make, in each combination of settings.
///
/// # Errors
/// What does not hold even without a fault.
pub fn count(scenario: &Scenario, options: &Options) -> Result<Vec<(Setting, Counted)>, String> {
    let script = Script::of(scenario);
    chosen(scenario, options)
        .into_iter()
        .map(|setting| {
            let counted = trial(scenario, &script, setting, options)?.count()?;
            Ok((setting, counted))
        })
        .collect()
}

/// Which calls of a kind are failed in a combination of settings: the others are failed in other ones.
#[derive(Clone, Copy)]
struct Deal {
    /// This combination's turn, and among how many they go round.
    turn: (u64, u64),
    /// The same for power cuts.
    power: (u64, u64),
}

impl Deal {
    /// Every call.
    const ALL: Deal = Deal { turn: (0, 1), power: (0, 1) };

    /// Cuts are tried at every call with the first page size. With the others the calls are the same ones but for the
    /// number of pages: they go round among these.
    fn of(settings: &[Setting], place: usize) -> Deal {
        let first = settings[0].page_size;
        let others = settings.iter().filter(|setting| setting.page_size != first).count();
        let before = settings[..place].iter().filter(|setting| setting.page_size != first).count();
        let power = match settings[place].page_size == first {
            true => (0, 1),
            false => (before as u64, others as u64),
        };
        Deal { turn: (place as u64, settings.len() as u64), power }
    }

    fn turn(self, kind: Kind) -> (u64, u64) {
        if matches!(kind, Kind::Power(_)) { self.power } else { self.turn }
    }
}

fn fault_seed(seed: u64, fault: Fault) -> u64 {
    let mut random =
        fastrand::Rng::with_seed(seed ^ fault.call.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    random.u64(..)
}

/// Faults to be tried in a combination of settings.
struct Run<'a> {
    name: &'a str,
    options: &'a Options,
    deal: Deal,
}

impl Run<'_> {
    fn all(&self, trial: &mut dyn Trial, figures: &mut Figures, listen: &mut Listener<'_>) {
        let Run { name, options, deal } = self;
        listen(Event::Begins(name));
        let totals = match trial.count() {
            Ok(totals) => totals,
            Err(problem) => return figures.problem(name, problem, listen),
        };
        for (kind, total) in totals {
            let (turn, step) = deal.turn(kind);
            let from = turn + 1;
            let count = (total + step).saturating_sub(from) / step;
            let stride = match options.most {
                0 => step,
                most => step * count.div_ceil(most).max(1),
            };
            let lastings: &[bool] = if kind.can_last() { &[false, true] } else { &[false] };
            for call in (from..=total).step_by(stride as usize) {
                for lasting in lastings {
                    let fault = Fault { kind, call, lasting: *lasting };
                    let name = format!("{name} {fault}");
                    let chosen = options.only.as_ref().is_none_or(|only| name.contains(only));
                    if chosen {
                        run_fault(trial, options, &name, fault, figures, listen);
                    }
                }
            }
        }
    }
}

/// Tries one fault, counts it and tells what does not hold.
pub(crate) fn run_fault(
    trial: &mut dyn Trial,
    options: &Options,
    name: &str,
    fault: Fault,
    figures: &mut Figures,
    listen: &mut Listener<'_>,
) {
    listen(Event::Begins(name));
    let verdict = match trial.inject(fault, fault_seed(options.seed, fault)) {
        Ok(Some(verdict)) => verdict,
        Ok(None) => {
            figures.unfired += 1;
            return listen(Event::Unfired(name));
        }
        Err(problem) => Verdict { wrong: vec![problem], ..Verdict::default() },
    };
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

/// How many calls of each kind of fault were made since it was armed; hosts are killed where there is what it takes.
pub(crate) fn counted(
    scenario: &Scenario,
    setting: Setting,
    disk: &Disk,
    options: &Options,
) -> Counted {
    let is_killing = killing(scenario, options).is_some();
    let kinds = Kind::all().into_iter().filter(|kind| scenario.tries(*kind)).filter(|kind| {
        // Where one sync a commit is asked for, SQLite does not promise to survive sectors out of order.
        *kind != Kind::Power(Survival::Torn)
            || setting.journal == Journal::Wal
            || setting.synchronous == Synchronous::Full
    });
    let calls = |kind| match kind {
        Kind::Memory => vfs::memory().seen,
        Kind::Interrupt => vfs::interrupts().seen,
        Kind::Kill if is_killing => KILLS * scenario.settings().len() as u64,
        Kind::Kill => 0,
        kind => disk.calls(kind),
    };
    kinds.map(|kind| (kind, calls(kind))).collect()
}

/// What it takes to kill hosts, where there is a program and a file to start them with.
pub(crate) fn killing(scenario: &Scenario, options: &Options) -> Option<Killing> {
    Some(Killing { program: options.program.clone()?, path: scenario.path.clone()? })
}

impl Trial for Bench<'_> {
    fn failing(&self) -> Vec<String> {
        let known = self.known.get(&Excluded::new());
        known.map(|known| self.script.failing(&known.reference)).unwrap_or_default()
    }

    fn count(&mut self) -> Result<Counted, String> {
        vfs::seed(self.options.seed);
        let disk = Disk::new(&self.base);
        self.work(&disk, None).map(drop)?;
        Ok(counted(self.scenario, self.setting, &disk, self.options))
    }

    fn inject(&mut self, fault: Fault, seed: u64) -> Result<Option<Verdict>, String> {
        if let (Kind::Kill, Some(killing)) = (fault.kind, killing(self.scenario, self.options)) {
            return self.kill(&killing, seed).map(Some);
        }
        vfs::seed(self.options.seed);
        let disk = Disk::new(&self.base);
        let held = vfs::memory().held_bytes;
        let worked = self.work(&disk, Some((fault, seed)));
        disarm(&disk);
        let memory = vfs::memory();
        let faulted = worked?;
        if !faulted.fired {
            return Ok(None);
        }
        let mut verdict = self.judge_faulted(&faulted, seed);
        verdict.wrong.extend(faulted.problems);
        verdict.told = faulted.told;
        verdict.wrong.extend(leak(memory.held_bytes - held));
        Ok(Some(verdict))
    }
}

/// What is wrong where not all memory came back.
pub(crate) fn leak(bytes: i64) -> Option<String> {
    (bytes != 0).then(|| format!("{bytes} bytes are not freed after the last close"))
}

impl Bench<'_> {
    /// What is left of many faults is the same to the byte, above all where memory ran out: it is judged once for each
    /// of some snapshots to restore.
    fn judge_faulted(&mut self, faulted: &Faulted, seed: u64) -> Verdict {
        let seed = seed % SNAPSHOTS;
        let left = self.fingerprint(faulted, seed);
        if let Some(images) = self.judged.get(&left) {
            return Verdict { images: *images, ..Verdict::default() };
        }
        let verdict = self.judge_anew(faulted, seed);
        if verdict.is_clean() {
            self.judged.insert(left, verdict.images);
        }
        verdict
    }

    /// The files that are left, and what they are allowed to be.
    fn fingerprint(&self, faulted: &Faulted, seed: u64) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        vfs::add_files(&mut hasher, &faulted.files, &self.base);
        for candidate in &faulted.candidates {
            for place in &candidate.excluded {
                hasher.update(&place.to_le_bytes());
            }
            hasher.update(b".");
        }
        hasher.update(format!("{:?} {seed}", faulted.commits).as_bytes());
        hasher.finalize()
    }

    fn judge_anew(&mut self, faulted: &Faulted, seed: u64) -> Verdict {
        let mut allowed = Vec::new();
        for candidate in &faulted.candidates {
            let last = candidate.known.reference.commits.len();
            let commits = faulted.commits.clone().unwrap_or(last..=last);
            allowed.extend(allowed_of(&candidate.known, commits));
        }
        self.judge.judge(&faulted.files, &allowed, seed)
    }
}

/// The states of a run after these numbers of commits.
pub(crate) fn allowed_of(known: &Known, commits: RangeInclusive<usize>) -> Vec<Allowed<'_>> {
    let state = |commits: usize| {
        Some(Allowed {
            dump: &known.reference.commits.get(commits.checked_sub(1)?)?.dump,
            duty: known.duties.get(commits)?,
            observed: known.observed.get(commits)?,
        })
    };
    commits.filter_map(state).collect()
}
