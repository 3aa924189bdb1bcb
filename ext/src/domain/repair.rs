//! Correcting a derived value everywhere: work for a maintenance window, with the database to itself.

use super::database::Database;
use super::derived::Owner;
use super::restore::TriggersOff;
use super::taking::Taking;
use super::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Failure, Room, code};
use crate::storage::derived::Derived;
use crate::storage::key::Key;
use crate::storage::rule::RuleType;
use crate::storage::trigger::Event;

/// Edits that an error names.
const MOST_NAMED: usize = 5;

impl Talon {
    /// Corrects every row where a derived value is not what it should be; gives how many.
    ///
    /// # Errors
    /// [`Error::UnknownRule`], [`Error::Definition`] when it does not fit any more; [`Error::Argument`] where it cannot have
    /// a transaction of its own, or a piece is being edited; BUSY when another connection uses the database.
    pub fn repair(&self, schema: &str, name: &str) -> Result<i64> {
        self.may_begin()?;
        let place = match self.look(schema, None).and_then(|_| self.database_place(schema)) {
            Err(Error::Sqlite(failure)) => return Err(self.in_the_way(None, failure)),
            other => other?,
        };
        let (rowid, changes) = (self.connection.last_insert_rowid(), self.connection.changes());
        let way_out = self.way_out()?;
        if let Err(failure) = self.connection.run("BEGIN EXCLUSIVE", &[]) {
            // Interrupted, it may have begun all the same.
            self.undo(&[], true, way_out);
            return Err(self.in_the_way(Some(place), failure));
        }
        let repaired = self.repair_alone(place, name);
        let result = self.counting_as(schema, changes, repaired).and_then(|count| {
            self.connection.run("COMMIT", &[])?;
            Ok(count)
        });
        if result.is_err() && !self.connection.is_autocommit() {
            self.undo(&[], true, way_out);
        }
        self.connection.set_last_insert_rowid(rowid);
        result
    }

    fn may_begin(&self) -> Result<()> {
        let problem = if !self.connection.is_autocommit() {
            "a transaction is open: COMMIT it first"
        } else if self.connection.running_write().is_some() {
            "the statement that calls it writes: call it by a SELECT"
        } else {
            return Ok(());
        };
        Err(Error::Argument(format!("it needs the database to itself, but {problem}")))
    }

    fn repair_alone(&self, place: usize, name: &str) -> Result<i64> {
        let mut databases = self.databases()?;
        let edits = self.open_edits(&mut databases[place])?;
        if !edits.is_empty() {
            return Err(Error::Argument(format!(
                "it needs the database to itself, but {}",
                named(&edits)
            )));
        }
        let database = &mut databases[place];
        database.refresh()?;
        let rule = database.rule(name, RuleType::Derived)?;
        let derived = match &rule.body {
            Err(problem) => {
                return Err(Error::Definition {
                    kind: name.to_owned(),
                    problem: format!("it does not fit any more: {problem}"),
                });
            }
            Ok(_) => rule.derived().ok_or(Error::Memory)?,
        };
        let silenced = database.has_triggers_on(&derived.table.name)?;
        let triggers = silenced.then(|| TriggersOff::begin(self.connection));
        let result = self.quietly(|| self.correct_all(place, database, derived));
        drop(triggers);
        result.map_err(|error| match error {
            Error::Sqlite(failure) => rule.failed(failure),
            other => other,
        })
    }

    /// The rows are listed before the first is corrected, because a statement that reads a table while it is written may
    /// see a row twice.
    fn correct_all(&self, place: usize, database: &mut Database, derived: &Derived) -> Result<i64> {
        let mut keys: Vec<Key> = Vec::new();
        {
            let width = derived.key.len();
            let mut statement = self.connection.prepare(&derived.gaps)?;
            let mut rows = statement.query(&[])?;
            while rows.next()? {
                keys.try_push(Key::of(rows.values(0..width)?))?;
            }
        }
        let mut count = 0;
        for key in &keys {
            // Looked at again: what was corrected before may have corrected this.
            let Some(gap) = database.gap(derived, key)? else { continue };
            for owner in database.owners(derived, key)? {
                self.touch_piece(place, database, owner)?;
            }
            database.write_derived(derived, key, &gap.computed)?;
            for owner in database.owners(derived, key)? {
                self.touch_piece(place, database, owner)?;
            }
            count += 1;
        }
        Ok(count)
    }

    /// The edits that are open, in words.
    fn open_edits(&self, database: &mut Database) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for kind in database.guarded_kinds() {
            let name = database.kinds[kind].name.clone();
            for (key, edit) in database.edits(kind)? {
                let by = edit.describe(&self.clock);
                found.try_push(format!("{name} {key} is being edited {by}"))?;
            }
        }
        Ok(found)
    }

    /// Counts a piece as touched, as a trigger does.
    fn touch_piece(&self, place: usize, database: &mut Database, (kind, key): Owner) -> Result<()> {
        self.enlist()?;
        database.begin(true)?;
        match self.take(Database::slot(place, kind), database, key.clone(), Taking::Touch) {
            Err(error) if !error.is_fatal() => {
                // As everywhere: what cannot be imaged now is marked, and listed when it is.
                let id = database.kinds[kind].id;
                self.own_marks.set(true);
                database.leave_mark(id, Event::Touch, &[&key])
            }
            other => other,
        }
    }

    /// Why the database cannot be had alone, with the stations that have pieces open, as far as that can be read.
    fn in_the_way(&self, place: Option<usize>, failure: Failure) -> Error {
        if !matches!(failure.primary(), code::BUSY | code::LOCKED) {
            return failure.into();
        }
        let read = |place: usize| self.open_edits(&mut self.databases()?[place]);
        let edits = place.and_then(|place| read(place).ok()).filter(|edits| !edits.is_empty());
        let edits = edits.map_or_else(String::new, |edits| format!("; {}", named(&edits)));
        Error::Sqlite(Failure::with_code(
            failure.code,
            format!("it needs the database to itself, but another connection is using it{edits}"),
        ))
    }
}

fn named(edits: &[String]) -> String {
    let mut shown: Vec<String> = edits.iter().take(MOST_NAMED).cloned().collect();
    if edits.len() > MOST_NAMED {
        shown.push(format!("{} more", edits.len() - MOST_NAMED));
    }
    shown.join(", ")
}
