//! Scenarios that say what is done again after a fault: whatever failed, and wherever, the databases end as they do
//! where nothing fails.

use crate::bench::is_expected;
use crate::fault::{Fault, Kind};
use crate::faulted::{arm, complaint, disarm, has_fired};
use crate::judge::{Verdict, answers, daily_again, look_after};
use crate::model::{self, Outcome};
use crate::observe::{lines_of, only};
use crate::process::Beginning;
use crate::replay::{Counted, Options, Trial, counted, killing, leak};
use crate::scenario::{Check, Host, Scenario, Setting};
use crate::session::{self, Act, Kept, Script, Session};
use crate::tables;
use crate::vfs::{self, Connection, Disk, Failure, Files};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// What a database holds, without what depends on the number of its flows: these may differ, what they brought may not.
type Contents = Vec<String>;

/// What is compared of what Talon keeps.
const CONTENTS: [&str; 11] = [
    // A change that an interrupt kept Talon from seeing is listed, and imaged from its mark: the image counts.
    "SELECT 'finding', kind, piece, finding FROM talon_audit WHERE finding <> 'unguarded'",
    "SELECT 'lost', kind, piece, saved_lines, restorable FROM talon_lost",
    "SELECT 'edit', kind, piece, station, user FROM talon_edits",
    "SELECT 'guard', kind, triggers, marks, suspect_since IS NULL FROM talon_guards",
    "SELECT 'mark', code FROM talon_mark UNION ALL SELECT 'touched', code FROM talon_touched",
    "SELECT 'snapshot', kind, piece, version, lines, hash FROM talon_snapshots AS s
     WHERE version = (SELECT max(version) FROM talon_snapshots WHERE kind = s.kind AND piece = s.piece)",
    "SELECT 'stamp', kind, piece, field, origin, origin_key, version, stamp, site, gone FROM talon_stamps",
    "SELECT 'alias', kind, part, piece, origin_key, key FROM talon_alias",
    "SELECT 'conflict', kind, piece, field, lost_value, lost_site, lost_stamp, won_value, won_site, won_stamp,
       reinstated_at IS NULL FROM talon_conflicts",
    "SELECT 'quarantine', direction, kind, origin, origin_key, stamp, site, reason, document FROM talon_quarantine",
    "SELECT 'site', code, role FROM talon_sites UNION ALL SELECT 'held', kind, key FROM talon_held",
];

/// A scenario in one combination of settings.
pub(crate) struct Again<'a> {
    scenario: &'a Scenario,
    script: &'a Script,
    setting: Setting,
    options: &'a Options,
    /// The disk as the faults find it.
    base: Files,
    /// Values kept until then.
    kept: Kept,
    /// How the databases end, by name.
    ended: BTreeMap<String, Contents>,
    /// How long a host takes for the steps, where that was measured.
    worked: Option<Duration>,
    /// What was left and ended well, with the images compared.
    judged: HashMap<blake3::Hash, u64>,
}

/// What a run with a fault, or without one, has come to when its steps are over.
struct Worked<'a> {
    session: Session<'a>,
    problems: Vec<String>,
    /// Errors that the host was told of.
    told: Vec<String>,
}

impl<'a> Again<'a> {
    /// Runs it without a fault.
    ///
    /// # Errors
    /// What does not hold even then.
    pub fn new(
        scenario: &'a Scenario,
        script: &'a Script,
        setting: Setting,
        options: &'a Options,
    ) -> Result<Again<'a>, String> {
        let mut again = Again {
            scenario,
            script,
            setting,
            options,
            base: Files::new(),
            kept: Kept::new(),
            ended: BTreeMap::new(),
            worked: None,
            judged: HashMap::new(),
        };
        again.set_up()?;
        let disk = Disk::new(&again.base);
        let mut worked = again.work(&disk, None)?;
        disarm(&disk);
        again.do_again(&mut worked.session)?;
        worked.session.close_all().map_err(|failure| format!("closing: {failure}"))?;
        let files = disk.files();
        let mut verdict = Verdict { wrong: worked.problems, ..Verdict::default() };
        again.check_always(&files, &mut verdict);
        again.ended = again.contents(&files, &mut verdict)?;
        if verdict.is_clean() { Ok(again) } else { Err(verdict.wrong.join("; ")) }
    }

    /// The databases with what happened before.
    fn set_up(&mut self) -> Result<(), String> {
        vfs::seed(self.options.seed);
        let schema = model::schema_files(self.scenario, self.setting);
        let schema = schema.map_err(|failure| failure.to_string())?;
        let empty = schema.get(session::DATABASE).ok_or("the schema made no database")?;
        let databases = self.scenario.databases().into_iter();
        let disk = Disk::new(&databases.map(|name| (name, empty.clone())).collect());
        for file in self.scenario.databases() {
            self.open(&disk, &file)
                .and_then(|connection| {
                    connection.run(&self.scenario.guard)?;
                    connection.close()
                })
                .map_err(|failure| format!("the guard: {failure}"))?;
        }
        let mut session = self.session(&disk);
        for act in &self.script.acts[..self.script.setup] {
            do_one(&mut session, act)?;
        }
        session.close_all().map_err(|failure| format!("closing: {failure}"))?;
        self.kept = std::mem::take(&mut session.kept);
        self.base = disk.files();
        Ok(())
    }

    /// A connection with Talon to one of the databases.
    fn open(&self, disk: &Arc<Disk>, file: &str) -> Result<Connection, Failure> {
        let host = Host { file: file.to_owned(), ..Host::default() };
        session::open(disk, self.setting, Some(&self.options.library), &host)
    }

    fn session(&self, disk: &Arc<Disk>) -> Session<'a> {
        let mut session =
            Session::new(disk, self.setting, Some(&self.options.library), self.script);
        session.kept = self.kept.clone();
        session
    }

    /// Does the steps, with a fault and the seed that it takes, or counting calls; ends with the first one that fails.
    fn work(&self, disk: &Arc<Disk>, fault: Option<(Fault, u64)>) -> Result<Worked<'a>, String> {
        let mut session = self.session(disk);
        if !self.scenario.cold {
            session.open_all().map_err(|failure| failure.to_string())?;
        }
        arm(disk, fault);
        let fault = fault.map(|(fault, _)| fault);
        let (mut problems, mut told) = (Vec::new(), Vec::new());
        for act in self.script.steps() {
            let had_fired = has_fired(disk);
            let outcome = Outcome::of(&mut session, act);
            if let Some(failure) = &outcome.executed.failure {
                told.push(format!("{}: {failure}", act.sql));
            }
            if is_as_meant(act, &outcome) {
                if act.closes {
                    session.close(act.on).map_err(|failure| format!("closing: {failure}"))?;
                }
                continue;
            }
            if !disk.is_dead() {
                problems.extend(complaint(disk, fault, had_fired, act, &outcome));
                session.roll_back(act.on);
            }
            break;
        }
        Ok(Worked { session, problems, told })
    }

    /// Does what is done again, without a fault.
    fn do_again(&self, session: &mut Session<'_>) -> Result<(), String> {
        let acts = &self.script.acts[self.script.again..];
        acts.iter().try_for_each(|act| do_one(session, act))
    }

    /// What must hold of files whatever has failed: asked without Talon.
    fn check_always(&self, files: &Files, verdict: &mut Verdict) {
        let disk = Disk::new(files);
        for file in self.scenario.databases() {
            let opened = Connection::open(&disk.path(&file));
            let looked = opened.and_then(|connection| {
                look_after(&connection, verdict)?;
                self.check(&connection, &file, &self.scenario.always, verdict);
                connection.close()
            });
            if let Err(failure) = looked {
                verdict.wrong.push(format!("{file} cannot be read: {failure}"));
            }
        }
    }

    /// Asks one of the databases what is expected of it.
    fn check(&self, connection: &Connection, file: &str, checks: &[Check], verdict: &mut Verdict) {
        let file_of = |check: &Check| match &check.on {
            Some(name) => self.scenario.host(name).file,
            None => session::DATABASE.to_owned(),
        };
        for check in checks.iter().filter(|check| file_of(check) == file) {
            if let Err(problem) = answers(connection, check) {
                verdict.wrong.push(format!("{file}: {problem}"));
            }
        }
    }

    /// What the databases hold at the end, where also what must hold then is asked.
    fn contents(
        &self,
        files: &Files,
        verdict: &mut Verdict,
    ) -> Result<BTreeMap<String, Contents>, String> {
        let disk = Disk::new(files);
        let mut found = BTreeMap::new();
        for file in self.scenario.databases() {
            let contents = self.contents_of(&disk, &file, verdict);
            found.insert(file.clone(), contents.map_err(|failure| format!("{file}: {failure}"))?);
        }
        Ok(found)
    }

    fn contents_of(
        &self,
        disk: &Arc<Disk>,
        file: &str,
        verdict: &mut Verdict,
    ) -> Result<Contents, Failure> {
        let connection = self.open(disk, file)?;
        look_after(&connection, verdict)?;
        let mut contents = tables::dump(&connection)?;
        for sql in CONTENTS {
            contents.extend(lines_of(&connection, sql)?);
        }
        self.check(&connection, file, &self.scenario.after, verdict);
        verdict.wrong.extend(daily_again(disk, &connection)?);
        connection.close()?;
        Ok(contents)
    }

    /// Opens what a fault has left as after a restart, does it again, and compares the end.
    fn judge(&mut self, files: &Files, kept: Kept) -> Verdict {
        let left = fingerprint(files, &self.base, &kept);
        if let Some(images) = self.judged.get(&left) {
            return Verdict { images: *images, ..Verdict::default() };
        }
        let mut verdict = Verdict::default();
        self.check_always(files, &mut verdict);
        let disk = Disk::new(files);
        let mut session = self.session(&disk);
        session.kept = kept;
        self.judge_again(&disk, session, &mut verdict);
        if verdict.is_clean() {
            self.judged.insert(left, verdict.images);
        }
        verdict
    }

    /// Does it again and compares the end.
    fn judge_again(&self, disk: &Arc<Disk>, mut session: Session<'_>, verdict: &mut Verdict) {
        let done = self.do_again(&mut session);
        let closed = session.close_all().map_err(|failure| format!("closing: {failure}"));
        let found = done.and(closed).and_then(|()| self.contents(&disk.files(), verdict));
        match found {
            Ok(found) => {
                for (file, contents) in &found {
                    let expected = self.ended.get(file).map_or(&[][..], Vec::as_slice);
                    verdict.images += contents.len() as u64;
                    verdict.wrong.extend(difference(file, contents, expected));
                }
            }
            Err(problem) => verdict.wrong.push(problem),
        }
    }

    /// Kills a host at a moment that the seed chooses.
    fn kill(&mut self, seed: u64) -> Option<Result<Verdict, String>> {
        let killing = killing(self.scenario, self.options)?;
        let from = Beginning {
            files: &self.base,
            kept: &self.kept,
            setting: self.setting,
            library: &self.options.library,
        };
        Some(killing.kill(&from, &mut self.worked, seed).map(|killed| {
            let mut kept = self.kept.clone();
            kept.extend(killed.kept);
            self.judge(&killed.files, kept)
        }))
    }
}

impl Trial for Again<'_> {
    /// Statements that fail are judged here.
    fn failing(&self) -> Vec<String> {
        Vec::new()
    }

    fn count(&mut self) -> Result<Counted, String> {
        vfs::seed(self.options.seed);
        let disk = Disk::new(&self.base);
        let worked = self.work(&disk, None)?;
        drop(worked);
        Ok(counted(self.scenario, self.setting, &disk, self.options))
    }

    fn inject(&mut self, fault: Fault, seed: u64) -> Result<Option<Verdict>, String> {
        if fault.kind == Kind::Kill
            && let Some(killed) = self.kill(seed)
        {
            return killed.map(Some);
        }
        vfs::seed(self.options.seed);
        let disk = Disk::new(&self.base);
        let held = vfs::memory().held_bytes;
        let Worked { mut session, problems, told } = self.work(&disk, Some((fault, seed)))?;
        let mut fired = has_fired(&disk);
        let kept = session.kept.clone();
        // Half of the hosts that live on go on with the connections that they have; the others open anew.
        let goes_on = fired && !disk.is_dead() && !fault.lasting && fault.call.is_multiple_of(2);
        let mut verdict = Verdict::default();
        if goes_on {
            disarm(&disk);
            self.check_always(&disk.files(), &mut verdict);
            self.judge_again(&disk, session, &mut verdict);
        } else {
            if let Err(failure) = session.close_all() {
                verdict.wrong.push(format!("closing: {failure}"));
            }
            drop(session);
            fired = has_fired(&disk);
            disarm(&disk);
        }
        if disk.open_files() > 0 {
            verdict.wrong.push(format!("{} files are still open", disk.open_files()));
        }
        verdict.wrong.extend(leak(vfs::memory().held_bytes - held));
        if !fired {
            return Ok(None);
        }
        if !goes_on {
            let Verdict { lost, wrong, images, .. } = self.judge(&disk.files(), kept);
            verdict.lost.extend(lost);
            verdict.wrong.extend(wrong);
            verdict.images += images;
        }
        verdict.wrong.extend(problems);
        verdict.told = told;
        Ok(Some(verdict))
    }
}

/// Whether a statement came to what it comes to without a fault.
fn is_as_meant(act: &Act, outcome: &Outcome) -> bool {
    match &act.error {
        Some(_) => is_expected(act, outcome, outcome),
        None => outcome.code() == 0,
    }
}

/// Does a statement that must do as it should.
fn do_one(session: &mut Session<'_>, act: &Act) -> Result<(), String> {
    let outcome = Outcome::of(session, act);
    if !is_as_meant(act, &outcome) {
        let on = session.name(act.on);
        return Err(match (&outcome.executed.failure, &act.error) {
            (Some(failure), _) => format!("{on}: {}: {failure}", act.sql),
            (None, error) => format!("{on}: {}: no error, expected {error:?}", act.sql),
        });
    }
    if act.closes {
        session.close(act.on).map_err(|failure| format!("closing: {failure}"))?;
    }
    Ok(())
}

fn fingerprint(files: &Files, base: &Files, kept: &Kept) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    vfs::add_files(&mut hasher, files, base);
    for (name, value) in kept {
        hasher.update(name.as_bytes()).update(&[0]).update(value.as_bytes()).update(&[0]);
    }
    hasher.finalize()
}

/// In which words a database differs from what it should be; none where it does not.
fn difference(file: &str, found: &[String], expected: &[String]) -> Option<String> {
    if found == expected {
        return None;
    }
    let (missing, surplus) = (only(expected, found), only(found, expected));
    Some(format!(
        "{file} does not end as without a fault: missing {missing:?}, too many {surplus:?}, {} lines instead of {}",
        found.len(),
        expected.len()
    ))
}
