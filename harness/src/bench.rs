//! A scenario in one combination of settings, run without a fault: without Talon, and with it, which the host must not
//! notice.

use crate::guarded;
use crate::judge::{Allowed, Judge};
use crate::model::{self, Duty, Excluded, Outcome, Reference, Units};
use crate::observe::{Observed, Reader};
use crate::replay::Options;
use crate::scenario::{Host, Scenario, Setting};
use crate::session::{self, Act, Script, Session};
use crate::sql;
use crate::vfs::{self, Disk, Files};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What is known of runs in which some transactions did not come to pass.
pub(crate) struct Known {
    pub reference: Reference,
    /// Its transactions, by statement.
    pub units: Units,
    /// By number of commits.
    pub duties: Vec<Duty>,
    /// As Talon sees it, by number of commits.
    pub observed: Vec<Observed>,
}

impl Known {
    /// The statements of some of its transactions.
    pub fn statements_of(&self, is_meant: impl Fn(usize) -> bool) -> Excluded {
        let places = self.units.iter().enumerate();
        places.filter(|(_, unit)| is_meant(**unit)).map(|(place, _)| place).collect()
    }
}

/// A scenario in one combination of settings.
pub(crate) struct Bench<'a> {
    pub scenario: &'a Scenario,
    pub script: &'a Script,
    pub setting: Setting,
    pub options: &'a Options,
    /// The disk as the faults find it.
    pub base: Files,
    /// How long a host takes for the steps, where that was measured.
    pub worked: Option<Duration>,
    pub known: BTreeMap<Excluded, Rc<Known>>,
    pub judge: Judge<'a>,
    /// What was judged before and held, with the images compared.
    pub judged: HashMap<blake3::Hash, u64>,
}

impl<'a> Bench<'a> {
    /// Runs it without a fault.
    ///
    /// # Errors
    /// What does not hold even then.
    pub fn new(
        scenario: &'a Scenario,
        script: &'a Script,
        setting: Setting,
        options: &'a Options,
    ) -> Result<Bench<'a>, String> {
        let library = options.library.as_path();
        guarded::agrees(scenario, setting, library)?;
        let judge = Judge { scenario, setting, library, reader: Reader::default() };
        let mut bench = Bench {
            scenario,
            script,
            setting,
            options,
            base: Files::new(),
            worked: None,
            known: BTreeMap::new(),
            judge,
            judged: HashMap::new(),
        };
        bench.known(&Excluded::new())?;
        Ok(bench)
    }

    /// The run without a fault and without some statements, without Talon and with it.
    pub fn known(&mut self, excluded: &Excluded) -> Result<Rc<Known>, String> {
        if let Some(known) = self.known.get(excluded) {
            return Ok(Rc::clone(known));
        }
        let told = self.told(excluded)?;
        let reference = model::reference(self.scenario, self.script, self.setting, excluded, &told)
            .map_err(|failure| format!("without Talon: {failure}"))?;
        let units = model::units(self.script, &reference.outcomes);
        let observed =
            self.with_talon(&reference, excluded.is_empty()).map_err(|mut problem| {
                let failing = self.script.failing(&reference);
                for failing in failing.iter().filter(|_| excluded.is_empty()) {
                    problem.push_str(&format!("\n      fails without Talon, too: {failing}"));
                }
                problem
            })?;
        let duties = (0..=reference.commits.len()).map(|commits| reference.duty(commits)).collect();
        let known = Rc::new(Known { reference, units, duties, observed });
        self.known.insert(excluded.clone(), Rc::clone(&known));
        Ok(known)
    }

    /// A disk on which nothing has happened but the guards.
    pub fn guarded(&self) -> Result<Arc<Disk>, String> {
        vfs::seed(self.options.seed);
        let files = model::schema_files(self.scenario, self.setting)
            .map_err(|failure| failure.to_string())?;
        let disk = Disk::new(&files);
        let library = Some(self.judge.library);
        let guards =
            session::open(&disk, self.setting, library, &Host::default()).and_then(|connection| {
                connection.run(&self.scenario.guard)?;
                connection.close()
            });
        guards.map_err(|failure| format!("the guard: {failure}"))?;
        Ok(disk)
    }

    /// Runs what the reference ran, with Talon: the host must not notice.
    fn with_talon(
        &mut self,
        reference: &Reference,
        is_whole: bool,
    ) -> Result<Vec<Observed>, String> {
        let mut observed = vec![Observed::default()];
        let disk = self.guarded()?;
        let library = Some(self.judge.library);
        observed.push(self.judge.observe(&disk.files())?);
        let mut session = Session::new(&disk, self.setting, library, self.script);
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
            if outcome.commits {
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
}

pub(crate) fn is_expected(act: &Act, outcome: &Outcome, expected: &Outcome) -> bool {
    match (&act.error, &outcome.executed.failure) {
        (Some(text), Some(failure)) => failure.text.contains(text),
        (Some(_), None) => false,
        (None, _) => outcome.code() == expected.code(),
    }
}

/// What a host would notice of Talon; none where it notices nothing.
fn difference(
    act: &Act,
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
    if act.is_talons() || outcome.code() != 0 {
        return None;
    }
    // So is VACUUM, which Talon does not hear of.
    let kept =
        if sql::is_vacuum(&act.sql) { [(outcome.rowid, expected.rowid), kept[1]] } else { kept };
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
