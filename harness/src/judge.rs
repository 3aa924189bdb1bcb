//! The properties that must hold of a database after a fault.

use crate::model::Duty;
use crate::observe::{Observed, Reader, Snapshot, line, lines_of, only};
use crate::scenario::{Check, Host, Scenario, Setting};
use crate::session;
use crate::tables::{self, Dump, detail_rows};
use crate::vfs::{self, Connection, Disk, Failure, Files, Value};
use std::path::Path;
use std::sync::Arc;

/// A state that the file may be in, and what is expected of it then.
#[derive(Clone, Copy)]
pub struct Allowed<'a> {
    /// The host's tables.
    pub dump: &'a Dump,
    /// What must be restorable, and what may be stored.
    pub duty: &'a Duty,
    /// What Talon says when the same is done without a fault.
    pub observed: &'a Observed,
}

/// What the judge has to say.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Committed states that cannot be restored any more, and commits that the host was told of and that are gone.
    pub lost: Vec<String>,
    /// Everything else that does not hold.
    pub wrong: Vec<String>,
    /// Images compared with what was committed.
    pub images: u64,
    /// Errors that the host was told of.
    pub told: Vec<String>,
}

impl Verdict {
    /// Whether all held.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.wrong.is_empty()
    }

    fn sqlite(&mut self, what: &str, failure: &Failure) {
        self.wrong.push(format!("{what}: {failure}"));
    }
}

/// Judges files as a process finds them that opens them after the fault.
pub struct Judge<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Its settings.
    pub setting: Setting,
    /// The extension.
    pub library: &'a Path,
    /// Payloads read before.
    pub reader: Reader,
}

impl Judge<'_> {
    /// A connection with Talon.
    fn open(&self, disk: &Arc<Disk>) -> Result<Connection, Failure> {
        session::open(disk, self.setting, Some(self.library), &Host::default())
    }

    /// What Talon says of files.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn observe(&mut self, files: &Files) -> Result<Observed, String> {
        let disk = Disk::new(files);
        let connection = self.open(&disk).map_err(|failure| failure.to_string())?;
        self.reader.observe(&connection, self.scenario)
    }

    /// Judges files. They must be in one of the `allowed` states. `seed` chooses which snapshot is restored.
    pub fn judge(&mut self, files: &Files, allowed: &[Allowed<'_>], seed: u64) -> Verdict {
        let mut verdict = Verdict::default();
        let disk = Disk::new(files);
        let path = disk.path(session::DATABASE);
        let opened = Connection::open(&path).and_then(|connection| {
            look_after(&connection, &mut verdict)?;
            Ok((tables::dump(&connection)?, connection))
        });
        let (dump, connection) = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                verdict.sqlite("the file cannot be read", &failure);
                return verdict;
            }
        };
        let fitting: Vec<&Allowed<'_>> =
            allowed.iter().filter(|state| *state.dump == dump).collect();
        if fitting.is_empty() {
            verdict.lost.push(unlike(&dump, allowed));
            return verdict;
        }
        let found = match self.look_with_talon(&connection) {
            Ok(found) => found,
            Err(problem) => {
                verdict.wrong.push(problem);
                return verdict;
            }
        };
        // Transactions may have left the host's tables as they were: the last state that fits in everything counts.
        let mut best: Option<(Verdict, &Allowed<'_>)> = None;
        for state in fitting.into_iter().rev() {
            let one = compare(&found, state);
            let is_clean = one.is_clean();
            if best.is_none() || is_clean {
                best = Some((one, state));
            }
            if is_clean {
                break;
            }
        }
        if let Some((compared, state)) = best {
            verdict.lost.extend(compared.lost);
            verdict.wrong.extend(compared.wrong);
            verdict.images += compared.images;
            self.restore(&connection, state, &found.0, seed, &mut verdict);
        }
        match daily_again(&disk, &connection) {
            Ok(problem) => verdict.wrong.extend(problem),
            Err(failure) => verdict.sqlite("the daily routine", &failure),
        }
        if let Err(failure) =
            look_after(&connection, &mut verdict).and_then(|()| connection.close())
        {
            verdict.sqlite("after restoring", &failure);
        }
        verdict
    }

    /// Judges what is left when nothing failed: that, and what the scenario itself says must hold.
    ///
    /// # Errors
    /// All that does not hold.
    pub fn judge_whole(
        &mut self,
        files: &Files,
        allowed: &Allowed<'_>,
        seed: u64,
    ) -> Result<(), String> {
        self.check_after(files)?;
        let verdict = self.judge(files, std::slice::from_ref(allowed), seed);
        let problems: Vec<String> = verdict.lost.into_iter().chain(verdict.wrong).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    fn check_after(&self, files: &Files) -> Result<(), String> {
        let disk = Disk::new(files);
        let connection = self.open(&disk).map_err(|failure| failure.to_string())?;
        self.scenario.after.iter().try_for_each(|check| answers(&connection, check))
    }

    /// What Talon says of the file, and the snapshots as they lie in it once it has absorbed what it did not see.
    fn look_with_talon(
        &mut self,
        connection: &Connection,
    ) -> Result<(Vec<Snapshot>, Observed), String> {
        connection.load(self.library).map_err(|failure| failure.to_string())?;
        let observed = self.reader.observe(connection, self.scenario)?;
        let snapshots = self.reader.snapshots(connection, self.scenario)?;
        let marks = connection
            .query("SELECT code FROM talon_mark UNION ALL SELECT code FROM talon_touched")
            .map_err(|failure| format!("the marks: {failure}"))?;
        if !marks.is_empty() {
            return Err(format!("{} marks are not absorbed", marks.len()));
        }
        Ok((snapshots, observed))
    }

    /// Restores what is lost, and one snapshot as it was.
    fn restore(
        &self,
        connection: &Connection,
        state: &Allowed<'_>,
        snapshots: &[Snapshot],
        seed: u64,
        verdict: &mut Verdict,
    ) {
        if let Err(failure) = self.restore_lost(connection, state, verdict) {
            verdict.sqlite("restoring what is lost", &failure);
        }
        let with_lines: Vec<&Snapshot> =
            snapshots.iter().filter(|snapshot| snapshot.lines > 0).collect();
        if with_lines.is_empty() {
            return;
        }
        let chosen = with_lines[seed as usize % with_lines.len()];
        if let Err(failure) = self.restore_one(connection, chosen, state, verdict) {
            verdict.sqlite(&format!("restoring snapshot {}", chosen.id), &failure);
        }
    }

    fn restore_lost(
        &self,
        connection: &Connection,
        state: &Allowed<'_>,
        verdict: &mut Verdict,
    ) -> Result<(), Failure> {
        let before = tables::pieces(connection, &self.scenario.pieces)?;
        let details = self.scenario.pieces.iter().map(|kind| detail_rows(connection, kind));
        let details = details.collect::<Result<Vec<_>, _>>()?;
        connection
            .query("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost")?;
        let pieces = tables::pieces(connection, &self.scenario.pieces)?;
        for ((kind, key), newest) in &state.duty.newest {
            let at = (*kind, key.clone());
            let (Some(before), Some(piece)) = (before.get(&at), pieces.get(&at)) else { continue };
            let was_lost = state.observed.lost.iter().any(|lost| {
                lost.starts_with(&format!(
                    "{}|{}|",
                    Value::from(self.scenario.pieces[*kind].kind.as_str()),
                    shown(key)
                ))
            });
            if !was_lost {
                continue;
            }
            verdict.images += 1;
            let is_left = piece == before || self.shares_lines(*kind);
            let is_withheld = is_left && self.is_withheld(connection, *kind, key)?;
            if !is_withheld && !is_given_back(&piece.image, newest, &details[*kind]) {
                verdict.wrong.push(format!("restored {} instead of {newest}", piece.image));
            }
        }
        Ok(())
    }

    /// Whether its lines may come back with a piece of another kind.
    fn shares_lines(&self, kind: usize) -> bool {
        let pieces = &self.scenario.pieces;
        let mut others = pieces.iter().enumerate().filter(|(other, _)| *other != kind);
        others.any(|(_, other)| other.lines == pieces[kind].lines)
    }

    /// Whether a restore said why it left a piece as it is: others have its lines or its number by now, what it refers to
    /// is gone, or a station has it open.
    fn is_withheld(
        &self,
        connection: &Connection,
        kind: usize,
        key: &[Value],
    ) -> Result<bool, Failure> {
        let (kind, piece) = (&self.scenario.pieces[kind].kind, shown(key));
        let kind = Value::from(kind.as_str());
        let said = lines_of(
            connection,
            &format!(
                "SELECT outcome IN ('conflict', 'being edited')
                     OR outcome = 'constraint'
                        AND (note LIKE '%: UNIQUE constraint failed: %' OR note LIKE '% any more')
                   FROM talon_restore WHERE kind = {kind} AND piece = {piece} ORDER BY id DESC LIMIT 1"
            ),
        )?;
        Ok(said == ["1"])
    }

    fn restore_one(
        &self,
        connection: &Connection,
        snapshot: &Snapshot,
        state: &Allowed<'_>,
        verdict: &mut Verdict,
    ) -> Result<(), Failure> {
        let Snapshot { id, kind, piece, image, .. } = snapshot;
        let kind_name = Value::from(self.scenario.pieces[*kind].kind.as_str());
        connection.query(&format!(
            "INSERT INTO talon_restore(kind, piece, snapshot) VALUES ({kind_name}, {piece}, {id})"
        ))?;
        let said = connection
            .query("SELECT outcome, note FROM talon_restore ORDER BY id DESC LIMIT 1")?
            .pop();
        let outcome = said.as_ref().and_then(|row| row.first()?.text()).unwrap_or_default();
        let note = said.as_ref().and_then(|row| row.get(1)?.text()).unwrap_or_default();
        // Another piece has a line's key by now, or the table has other columns: said so, and nothing was done by halves.
        if outcome != "restored" || note.contains("column") {
            return Ok(());
        }
        // A piece whose key was changed since keeps its new one.
        let keys = state.duty.committed.get(&(*kind, image.clone()));
        if keys.is_none_or(|keys| keys.iter().all(|key| shown(key) != piece.to_string())) {
            return Ok(());
        }
        verdict.images += 1;
        let pieces = tables::pieces(connection, &self.scenario.pieces)?;
        if !pieces.iter().any(|((of, _), piece)| of == kind && piece.image == *image) {
            verdict.wrong.push(format!("snapshot {id} was not restored as it is: {image}"));
        }
        Ok(())
    }
}

/// What is stored against what must be and may be.
fn compare((snapshots, observed): &(Vec<Snapshot>, Observed), state: &Allowed<'_>) -> Verdict {
    let mut verdict = Verdict { images: snapshots.len() as u64, ..Verdict::default() };
    for (kind, image) in &state.duty.required {
        if !snapshots.iter().any(|one| one.kind == *kind && one.image == *image) {
            verdict.lost.push(format!("no snapshot holds the committed {image}"));
        }
    }
    // A deposit is no state that anybody committed.
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.reason != "stage") {
        if !state.duty.committed.contains_key(&(snapshot.kind, snapshot.image.clone())) {
            verdict.wrong.push(format!(
                "snapshot {} ({}) of {} was never committed: {}",
                snapshot.id, snapshot.reason, snapshot.piece, snapshot.image
            ));
        }
    }
    verdict.wrong.extend(observed.difference(state.observed));
    verdict
}

/// Whether a restored piece is as it was: all of its image is there, and nothing else but details that were there before.
fn is_given_back(now: &str, image: &str, details: &[String]) -> bool {
    let [now, image] =
        [now, image].map(|image| image.lines().map(str::to_owned).collect::<Vec<_>>());
    only(&image, &now).is_empty() && only(&only(&now, &image), details).is_empty()
}

/// A key as Talon shows it.
fn shown(key: &[Value]) -> String {
    match key {
        [one] => one.to_string(),
        several => {
            let parts: Vec<String> = several
                .iter()
                .map(|value| match value {
                    Value::Text(_) => format!("{:?}", value.text().unwrap_or_default()),
                    other => other.to_string(),
                })
                .collect();
            format!("'[{}]'", parts.join(","))
        }
    }
}

/// Asks a database what is expected of it.
///
/// # Errors
/// In which words its answer is another one.
pub(crate) fn answers(connection: &Connection, check: &Check) -> Result<(), String> {
    let sql = &check.sql;
    let found = lines_of(connection, sql).map_err(|failure| format!("{sql}: {failure}"))?;
    let mut rows = check.rows.clone();
    rows.sort_unstable();
    if found == rows { Ok(()) } else { Err(format!("{sql} gives {found:?}, expected {rows:?}")) }
}

/// Does the daily routine of a later day, and once more: what the second one has written, where it has.
///
/// # Errors
/// What SQLite reports.
pub(crate) fn daily_again(disk: &Disk, connection: &Connection) -> Result<Option<String>, Failure> {
    connection.query("SELECT talon_clock('2999-12-31T08:00:00+01:00'), talon_daily()")?;
    let once = written(disk.files());
    let answers = lines_of(connection, "SELECT talon_daily()")?;
    let is_same = once == written(disk.files());
    Ok((!is_same).then(|| format!("a second daily routine writes: {}", answers.join(", "))))
}

/// All files, as a hash, but what connections share in memory.
fn written(mut files: Files) -> blake3::Hash {
    files.retain(|name, _| !name.ends_with("-shm"));
    let mut hasher = blake3::Hasher::new();
    vfs::add_files(&mut hasher, &files, &Files::new());
    hasher.finalize()
}

/// What SQLite itself finds wrong in a file.
///
/// # Errors
/// What SQLite reports.
pub(crate) fn look_after(connection: &Connection, verdict: &mut Verdict) -> Result<(), Failure> {
    for check in ["integrity_check", "foreign_key_check"] {
        let rows = connection.query(&format!("PRAGMA {check}"))?;
        let is_fine = match rows.as_slice() {
            [] => true,
            [row] => row.first().and_then(Value::text) == Some("ok"),
            _ => false,
        };
        if !is_fine {
            let rows: Vec<String> = rows.iter().map(|row| line(row)).collect();
            verdict.wrong.push(format!("{check}: {}", rows.join(", ")));
        }
    }
    Ok(())
}

fn unlike(dump: &Dump, allowed: &[Allowed<'_>]) -> String {
    let Some(nearest) = allowed.last() else { return "no state is allowed".to_owned() };
    format!(
        "the host's tables are in none of the {} states that they may be in; against the last: missing {:?}, too many {:?}",
        allowed.len(),
        only(nearest.dump, dump),
        only(dump, nearest.dump)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_piece_has_all_of_its_image_and_of_the_rest_what_was_there_before() {
        let image = "lines(id)\n  1, \n  2, \nnote(id)\n  3, \n";
        let before = ["  4, ".to_owned()];
        let now = |rows: &str| format!("lines(id)\n{rows}");
        assert!(is_given_back(&now("  1, \n  2, \nnote(id)\n  3, \n"), image, &before));
        assert!(is_given_back(&now("  1, \n  2, \nnote(id)\n  3, \n  4, \n"), image, &before));
        assert!(!is_given_back(&now("  1, \nnote(id)\n  3, \n  4, \n"), image, &before));
        assert!(!is_given_back(&now("  1, \n  2, \nnote(id)\n  3, \n  5, \n"), image, &before));
        assert!(!is_given_back(&now("  1, \n  1, \n  2, \nnote(id)\n  3, \n"), image, &before));
    }
}
