//! Restoring everything that is lost, in batches that are committed one by one: other stations are let in between, and
//! whatever stops the work (an interrupt, a lock, a kill) leaves done what was committed and listed what was not.

use super::lost::LostSearch;
use super::rebuild::CONSTRAINT;
use super::restore::{Request, TriggersOff};
use super::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::Room;
use crate::storage::key::Key;

/// Pieces that are restored in one transaction.
const BATCH: usize = 100;

/// The lost pieces of one kind.
struct Listed {
    kind: String,
    keys: Vec<Key>,
}

/// What became of the pieces.
#[derive(Default)]
struct Summary {
    listed: usize,
    /// In the order they first came.
    outcomes: Vec<(&'static str, usize)>,
    /// Kinds that nobody can look at: their guards do not fit their tables any more.
    not_checked: Vec<String>,
}

impl Talon {
    /// Restores all lost pieces of a kind, or of all kinds; gives what became of them, as JSON.
    ///
    /// # Errors
    /// [`Error::Argument`] where it could not commit; [`Error::UnknownKind`]; [`Error::Stopped`] with what SQLite
    /// reported when some pieces were committed, or might have been.
    pub fn restore_all(&self, schema: &str, kind: Option<&str>) -> Result<String> {
        self.may_commit()?;
        let rowid = self.connection.last_insert_rowid();
        let mut summary = Summary::default();
        let result = self
            .list_lost(schema, kind, &mut summary)
            .and_then(|listed| self.restore_listed(schema, listed, &mut summary));
        self.connection.set_last_insert_rowid(rowid);
        result?;
        Ok(summary.to_json())
    }

    /// A transaction that is not ours to end, or a query that would read on through all of them, keeps it from committing
    /// or other stations from working.
    fn may_commit(&self) -> Result<()> {
        let problem = if !self.connection.is_autocommit() {
            "a transaction is open: COMMIT it first, or restore inside it with INSERT INTO talon_restore"
        } else if self.connection.running_write().is_some() {
            "the statement that calls it writes: call it by a SELECT of its own"
        } else if !self.connection.is_idle() {
            "a query is reading: finish it, and call SELECT talon_restore_all(kind) without FROM"
        } else {
            return Ok(());
        };
        Err(Error::Argument(format!("it commits every {BATCH} pieces, but {problem}")))
    }

    /// The list is fixed before the first restore.
    fn list_lost(
        &self,
        schema: &str,
        kind: Option<&str>,
        summary: &mut Summary,
    ) -> Result<Vec<Listed>> {
        let asked = self.look(schema, kind)?;
        let place = self.database_place(schema)?;
        self.absorb_first(place)?;
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        let kinds = asked.map_or_else(|| database.guarded_kinds(), |asked| vec![asked.kind]);
        let mut listed = Vec::new();
        for place in kinds {
            let name = database.kinds[place].name.clone();
            match database.guard(place) {
                Ok(_) => {}
                Err(Error::Definition { .. }) if kind.is_none() => {
                    summary.not_checked.push(name);
                    continue;
                }
                Err(error) => return Err(error),
            }
            let mut keys = Vec::new();
            let mut search = LostSearch::begin(database, place, None)?;
            while let Some(search) = &mut search
                && let Some(lost) = search.find_next()?
            {
                keys.try_push(lost.key)?;
            }
            summary.listed += keys.len();
            listed.push(Listed { kind: name, keys });
        }
        Ok(listed)
    }

    /// A piece whose lines refer to lines of another lost one (an order to its quote) must wait for that: what a
    /// constraint stopped is tried again as long as something else came back meanwhile.
    fn restore_listed(
        &self,
        schema: &str,
        mut listed: Vec<Listed>,
        summary: &mut Summary,
    ) -> Result<()> {
        loop {
            let (mut waiting, mut restored) = (Vec::new(), false);
            for Listed { kind, keys } in listed {
                let mut stopped = Vec::new();
                for batch in keys.chunks(BATCH) {
                    let outcomes = self.restore_batch(schema, &kind, batch).map_err(|error| {
                        let failure = error.into_failure(&kind);
                        Error::Stopped { done: summary.done(), listed: summary.listed, failure }
                    })?;
                    for (key, outcome) in batch.iter().zip(outcomes) {
                        if outcome == CONSTRAINT {
                            stopped.try_push(key.clone())?;
                        } else {
                            summary.count(outcome, 1);
                            restored = true;
                        }
                    }
                }
                waiting.push(Listed { kind, keys: stopped });
            }
            let count = waiting.iter().map(|listed| listed.keys.len()).sum();
            if count == 0 || !restored {
                summary.count(CONSTRAINT, count);
                return Ok(());
            }
            listed = waiting;
        }
    }

    /// One transaction: all of it is committed, or none.
    fn restore_batch(&self, schema: &str, kind: &str, batch: &[Key]) -> Result<Vec<&'static str>> {
        let silenced = {
            let place = self.kind_place(schema, kind)?;
            let database = &mut self.databases()?[place.database];
            database.refresh()?;
            database.writes_under_triggers(place.kind)?
        };
        // Once for all of them: each switch has SQLite compile every statement anew, which the way out would not survive.
        let changes = self.connection.changes();
        let triggers = silenced.then(|| TriggersOff::begin(self.connection));
        let way_out = self.way_out()?;
        // Interrupted, it may have begun all the same.
        let begun = self.connection.run("BEGIN", &[]);
        let result: Result<Vec<_>> = self.quietly(|| {
            begun?;
            self.wait_to_write(schema)?;
            self.enlist()?;
            batch.iter().map(|key| self.restore_one(schema, kind, key, silenced)).collect()
        });
        let result = self.counting_as(schema, changes, result).and_then(|outcomes| {
            self.connection.run("COMMIT", &[])?;
            Ok(outcomes)
        });
        if result.is_err() && !self.connection.is_autocommit() {
            self.undo(&[], true, way_out);
        }
        drop(triggers);
        result
    }

    fn restore_one(
        &self,
        schema: &str,
        kind: &str,
        key: &Key,
        silenced: bool,
    ) -> Result<&'static str> {
        let request = Request {
            schema: schema.to_owned(),
            kind: kind.to_owned(),
            key: key.clone(),
            snapshot: None,
            dry_run: false,
        };
        self.restore_laid_by(&request, silenced)
    }
}

impl Summary {
    fn count(&mut self, outcome: &'static str, pieces: usize) {
        match self.outcomes.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, count)) => *count += pieces,
            None if pieces > 0 => self.outcomes.push((outcome, pieces)),
            None => {}
        }
    }

    /// Pieces that are through.
    fn done(&self) -> usize {
        self.outcomes.iter().map(|(_, count)| count).sum()
    }

    fn to_json(&self) -> String {
        let restored = "restored";
        let of = |wanted: &str| {
            let known = self.outcomes.iter().find(|(outcome, _)| *outcome == wanted);
            known.map_or(0, |(_, count)| *count)
        };
        let mut json = format!("{{\"lost\":{},\"{restored}\":{}", self.listed, of(restored));
        for (outcome, count) in self.outcomes.iter().filter(|(outcome, _)| *outcome != restored) {
            json.push_str(&format!(",\"{outcome}\":{count}"));
        }
        if !self.not_checked.is_empty() {
            let kinds = serde_json::Value::from(self.not_checked.clone());
            json.push_str(&format!(",\"not checked\":{kinds}"));
        }
        json + "}"
    }
}
