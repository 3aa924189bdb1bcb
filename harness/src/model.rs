//! The reference: the same steps without Talon and without a fault, and what was committed after each of them.

use crate::scenario::{Purge, Scenario, Setting};
use crate::session::{Act, DATABASE, Script, Session};
use crate::sql;
use crate::tables::{self, Dump, PieceKey, PieceMap};
use crate::told::Told;
use crate::vfs::{Connection, Disk, Executed, Failure, Files, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Statements that did not come to pass, by their place: those of transactions that failed.
pub type Excluded = BTreeSet<usize>;

/// What a statement came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Rows and error.
    pub executed: Executed,
    /// `changes()` after it.
    pub changes: i64,
    /// `last_insert_rowid()` after it.
    pub rowid: i64,
    /// No transaction was open after it.
    pub ends: bool,
    /// It has committed what was done: a transaction, or itself.
    pub commits: bool,
}

impl Outcome {
    /// The result code without its extension, 0 for none.
    pub fn code(&self) -> i32 {
        self.executed.failure.as_ref().map_or(0, Failure::primary)
    }

    /// Runs a statement and says what it came to.
    pub fn of(session: &mut Session<'_>, act: &Act) -> Outcome {
        let is_alone = session.is_autocommit(act.on);
        let executed = session.execute(act);
        let is_open = act.rolls_back && !session.is_autocommit(act.on);
        if is_open {
            session.roll_back(act.on);
        }
        let is_given_up = is_open || sql::is_rollback(&act.sql);
        let ends = session.is_autocommit(act.on);
        let (changes, rowid) = session
            .opened(act.on)
            .map_or((0, 0), |connection| (connection.changes(), connection.last_insert_rowid()));
        // What OR FAIL does before it fails stays: of Talon's, the image of what was to be changed.
        let is_kept = executed.failure.is_none() || is_alone && act.sql.contains(" OR FAIL ");
        Outcome { executed, changes, rowid, ends, commits: ends && is_kept && !is_given_up }
    }
}

/// What stood in the file after a transaction.
#[derive(Debug)]
pub struct Commit {
    /// The place of the statement that ended the transaction; none for the schema.
    pub place: Option<usize>,
    /// Its connection loads Talon and has its triggers on.
    pub is_watched: bool,
    /// What it purged.
    pub purges: Option<Purge>,
    /// The host's tables.
    pub dump: Dump,
    /// The pieces in them.
    pub pieces: PieceMap,
    /// What it restored on the way.
    pub restores: Restores,
}

/// What Talon restored in a transaction.
#[derive(Debug, Default)]
pub struct Restores {
    /// The pieces as the transaction saw them before and after it: Talon stores what it replaces, and what it restores.
    pub seen: Vec<PieceMap>,
    /// Which were restored.
    pub pieces: BTreeSet<PieceKey>,
}

/// A run without Talon.
#[derive(Debug)]
pub struct Reference {
    /// By statement; none where it was left out.
    pub outcomes: Vec<Option<Outcome>>,
    /// In the order of the commits. The first stands for the schema, before any statement.
    pub commits: Vec<Commit>,
    /// How many commits came before the faults.
    pub setup: usize,
}

impl Script {
    /// The statements that failed in a run without Talon, and that no step expects to.
    pub fn failing(&self, reference: &Reference) -> Vec<String> {
        let outcomes = self.acts.iter().zip(&reference.outcomes);
        let failing = outcomes.filter_map(|(act, outcome)| {
            let failure = outcome.as_ref()?.executed.failure.as_ref()?;
            act.error.is_none().then(|| format!("{}: {failure}", act.sql))
        });
        failing.collect()
    }
}

/// Which transaction each statement belongs to, by statement.
pub type Units = Vec<usize>;

/// Numbers the transactions of a run. A statement that was left out stands alone.
pub fn units(script: &Script, outcomes: &[Option<Outcome>]) -> Units {
    let mut open: BTreeMap<usize, usize> = BTreeMap::new();
    let mut next = 1;
    let mut units = Vec::new();
    for (place, (act, outcome)) in script.acts.iter().zip(outcomes).enumerate() {
        if place == script.setup {
            // The connections are closed there: what they had begun is over.
            open.clear();
        }
        let unit = *open.entry(act.on).or_insert_with(|| {
            next += 1;
            next - 1
        });
        units.push(unit);
        if outcome.as_ref().is_none_or(|outcome| outcome.ends) || act.closes {
            open.remove(&act.on);
        }
    }
    units
}

/// An empty database in these settings, with the scenario's tables.
///
/// # Errors
/// What SQLite reports.
pub fn schema_files(scenario: &Scenario, setting: Setting) -> Result<Files, Failure> {
    let disk = Disk::new(&Files::new());
    let connection = Connection::open(&disk.path(DATABASE))?;
    connection.query(&format!("PRAGMA page_size = {}", setting.page_size))?;
    connection.query(&format!("PRAGMA journal_mode = {}", setting.journal_name()))?;
    connection.run(&scenario.schema)?;
    connection.close()?;
    Ok(disk.files())
}

/// What a process that opens the files now finds in the host's tables.
///
/// # Errors
/// What SQLite reports.
pub fn look(files: &Files, scenario: &Scenario) -> Result<(Dump, PieceMap), Failure> {
    let disk = Disk::new(files);
    let connection = Connection::open(&disk.path(DATABASE))?;
    Ok((tables::dump(&connection)?, tables::pieces(&connection, &scenario.pieces)?))
}

/// Runs the script without Talon, without the excluded statements; journaled ones come to what was `told` of them.
///
/// # Errors
/// What SQLite reports where nothing should fail: of the schema, or of looking at the file.
pub fn reference(
    scenario: &Scenario,
    script: &Script,
    setting: Setting,
    excluded: &Excluded,
    told: &Told,
) -> Result<Reference, Failure> {
    let files = schema_files(scenario, setting)?;
    let disk = Disk::new(&files);
    let (dump, pieces) = look(&files, scenario)?;
    let restores = Restores::default();
    let start = Commit { place: None, is_watched: false, purges: None, dump, pieces, restores };
    let mut reference = Reference { outcomes: Vec::new(), commits: vec![start], setup: 0 };
    let mut session = Session::new(&disk, setting, None, script);
    let mut purges = None;
    let mut restores: BTreeMap<usize, Restores> = BTreeMap::new();
    for (place, act) in script.acts.iter().enumerate() {
        if place == script.setup {
            session.close_all()?;
            reference.setup = reference.commits.len();
        }
        if excluded.contains(&place) {
            reference.outcomes.push(None);
            continue;
        }
        let outcome = match told.get(&place) {
            Some(told) => {
                let restores = restores.entry(act.on).or_default();
                restores.pieces.extend(told.restored.iter().cloned());
                let mut look = |session: &mut Session<'_>| -> Result<(), Failure> {
                    if !session.is_autocommit(act.on) {
                        let connection = session.connection(act.on)?;
                        restores.seen.push(tables::pieces(connection, &scenario.pieces)?);
                    }
                    Ok(())
                };
                look(&mut session)?;
                let outcome = told.outcome(&mut session, act);
                look(&mut session)?;
                outcome
            }
            None => Outcome::of(&mut session, act),
        };
        purges = purges.or(act.purges.filter(|_| outcome.code() == 0));
        if act.closes {
            session.close(act.on)?;
        }
        if outcome.commits {
            let (dump, pieces) = look(&disk.files(), scenario)?;
            let (_, host) = &script.hosts[act.on];
            let is_watched = host.talon && host.triggers;
            let purges = purges.take();
            let place = Some(place);
            let restores = restores.remove(&act.on).unwrap_or_default();
            let commit = Commit { place, is_watched, purges, dump, pieces, restores };
            reference.commits.push(commit);
        } else if outcome.ends {
            restores.remove(&act.on);
        }
        reference.outcomes.push(Some(outcome));
    }
    session.close_all()?;
    Ok(reference)
}

/// What must be restorable, and what may have been stored, after some commits of a run.
#[derive(Debug, Default)]
pub struct Duty {
    /// Images, by kind, that a snapshot must hold.
    pub required: BTreeSet<(usize, String)>,
    /// Images, by kind, that a snapshot may hold, and the keys that their pieces had.
    pub committed: BTreeMap<(usize, String), BTreeSet<Vec<Value>>>,
    /// The newest image with lines of each piece, where a connection with Talon committed it.
    pub newest: BTreeMap<PieceKey, String>,
}

impl Commit {
    /// How the host's tables are defined.
    fn definitions(&self) -> Vec<&str> {
        let tables = self.dump.iter().filter(|line| line.starts_with("'table' "));
        tables.map(String::as_str).collect()
    }
}

impl Reference {
    /// What must be restorable when the first `commits` of the run have come to pass.
    pub fn duty(&self, commits: usize) -> Duty {
        let mut duty = Duty::default();
        let mut before = &PieceMap::new();
        let mut definitions = Vec::new();
        for commit in self.commits.iter().take(commits) {
            // No trigger sees the rows that a migration copies or gives new columns: an older image restores them.
            let now = commit.definitions();
            let is_migrated = definitions != now;
            definitions = now;
            if !is_migrated {
                // A header that is made anew under the key of a deleted one is another piece, which never had lines.
                duty.newest.retain(|at, _| commit.pieces.contains_key(at));
            }
            for ((kind, key), piece) in &commit.pieces {
                let image = (*kind, piece.image.clone());
                let is_changed = before.get(&(*kind, key.clone())) != Some(piece);
                if piece.lines > 0 && is_changed {
                    let at = (*kind, key.clone());
                    // A lost piece may get lines that it shares with one that is restored: that is no image of it.
                    let is_beside = !commit.restores.pieces.is_empty()
                        && !commit.restores.pieces.contains(&at)
                        && before.get(&at).is_none_or(|before| before.lines == 0);
                    if commit.is_watched && !is_migrated && !is_beside {
                        duty.required.insert(image.clone());
                    }
                    match commit.is_watched && !is_beside {
                        true => duty.newest.insert(at, piece.image.clone()),
                        // It may have gone before anybody with Talon saw it.
                        false => duty.newest.remove(&at),
                    };
                }
                duty.committed.entry(image).or_default().insert(key.clone());
            }
            for at in &commit.restores.pieces {
                // What was restored and lost again in one transaction was there last.
                let is_lost = commit.pieces.get(at).is_some_and(|piece| piece.lines == 0);
                let mut seen = commit.restores.seen.iter().rev().filter_map(|seen| seen.get(at));
                if is_lost && let Some(last) = seen.find(|piece| piece.lines > 0) {
                    duty.newest.insert(at.clone(), last.image.clone());
                }
            }
            for ((kind, key), piece) in commit.restores.seen.iter().flatten() {
                let image = (*kind, piece.image.clone());
                duty.committed.entry(image).or_default().insert(key.clone());
            }
            if let Some(purge) = commit.purges {
                duty.purge(purge, commit);
            }
            before = &commit.pieces;
        }
        duty
    }
}

impl Duty {
    fn purge(&mut self, purge: Purge, commit: &Commit) {
        let lost = commit.pieces.iter().filter(|(_, piece)| piece.lines == 0);
        let kept: Vec<_> = match purge {
            Purge::All => lost.map(|(at, _)| at).collect(),
            Purge::KeepLast => commit.pieces.keys().collect(),
        };
        let newest = kept.into_iter().filter_map(|at| Some((at.0, self.newest.get(at)?.clone())));
        let newest: BTreeSet<_> = newest.collect();
        self.required.retain(|image| newest.contains(image));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scenario of one table and these steps, on one connection.
    fn of_steps(steps: &str) -> Scenario {
        let text = "about = 'One connection.'
            guard = 'SELECT 1'
            schema = 'CREATE TABLE t(id INTEGER PRIMARY KEY, of); INSERT INTO t VALUES (2, 2);'
            [[pieces]]
            kind = 'sale'
            header = 't'
            key = ['id']
            lines = 't'
            piece = ['of']";
        Scenario::parse("steps", &format!("{text}\n{steps}")).unwrap()
    }

    #[test]
    fn what_was_left_open_before_the_faults_is_another_transaction() {
        let scenario = "[[before]]
            sql = 'BEGIN'
            [[steps]]
            sql = 'DELETE FROM t; DELETE FROM t'";
        let script = Script::of(&of_steps(scenario));
        let outcome = |ends| {
            let executed = Executed { rows: Vec::new(), failure: None };
            Some(Outcome { executed, changes: 0, rowid: 0, ends, commits: ends })
        };
        let outcomes = [outcome(false), outcome(true), outcome(true)];
        assert_eq!(units(&script, &outcomes), [1, 2, 3]);
    }

    /// The statements that commit in a run, by their place.
    fn commits(steps: &str) -> Vec<usize> {
        crate::vfs::install().unwrap();
        let scenario = of_steps(steps);
        let script = Script::of(&scenario);
        let setting = scenario.settings()[0];
        let run = reference(&scenario, &script, setting, &Excluded::new(), &Told::new()).unwrap();
        run.commits.iter().filter_map(|commit| commit.place).collect()
    }

    #[test]
    fn what_or_fail_has_done_is_committed_where_it_stands_alone() {
        let steps = "[[steps]]
            sql = 'INSERT OR FAIL INTO t(id) VALUES (1), (2); BEGIN; INSERT OR FAIL INTO t(id) VALUES (3), (2)'
            rolls_back = true";
        assert_eq!(commits(steps), [0]);
    }

    #[test]
    fn a_transaction_that_is_given_up_commits_nothing() {
        let steps = "[[steps]]
            sql = 'BEGIN; DELETE FROM t; ROLLBACK; DELETE FROM t; BEGIN; SAVEPOINT s; ROLLBACK TO s; RELEASE s; COMMIT'
            [[steps]]
            sql = 'BEGIN; DELETE FROM t'
            rolls_back = true";
        assert_eq!(commits(steps), [3, 8]);
    }
}
