//! A transaction's course as SQLite tells of it: begun, about to commit, over, or undone in part.

use super::course::{Entry, Slot};
use super::database::Database;
use super::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Failure, Transaction, Value, code};
use crate::storage::key::Key;
use crate::storage::trigger::Event;

impl Transaction for Talon {
    fn begin(&self) -> std::result::Result<(), Failure> {
        self.enlisted.set(true);
        Ok(())
    }

    fn sync(&self) -> std::result::Result<(), Failure> {
        let was_writing = self.connection.is_writing();
        let result =
            self.quietly(|| self.run_waiting().and_then(|()| self.capture_despite_limits()));
        // A write of ours that is interrupted, or finds the disk full, makes SQLite roll back the whole transaction: then
        // there is nothing left to commit, and nobody may be told that it was.
        let is_whole = !was_writing || self.connection.is_writing();
        match result {
            Ok(()) if is_whole => Ok(()),
            Ok(()) => Err(Failure::with_code(
                code::ABORT,
                "talon: the transaction was rolled back while its pieces were imaged",
            )),
            // An interrupt or a progress handler that stops our reading: the host's commit goes on, and what is
            // missing is found by the audit.
            Err(Error::Sqlite(failure)) if failure.primary() == code::INTERRUPT && is_whole => {
                self.incomplete.set(true);
                Ok(())
            }
            Err(error) => Err(error.into_failure("talon")),
        }
    }

    fn commit(&self) {
        self.end(true);
    }

    fn rollback(&self) {
        if self.connection.is_writing() {
            // A close that may yet fail, no rollback. Nobody will tell us of the transaction's end, so it carries marks
            // from here on: they are committed with its changes, or undone with them.
            self.quietly(|| self.mark_touched());
        }
        self.end(false);
    }

    fn savepoint(&self, number: i32) {
        self.course.borrow_mut().savepoint(number);
    }

    fn release(&self, number: i32) -> std::result::Result<(), Failure> {
        self.course.borrow_mut().release(number);
        self.quietly(|| self.run_waiting()).map_err(|error| error.into_failure("talon_restore"))
    }

    fn rollback_to(&self, number: i32) {
        self.course.borrow_mut().rollback_to(number);
        self.latest.set(None);
        self.waiting.borrow_mut().clear();
        if let Ok(mut databases) = self.databases() {
            databases.iter_mut().for_each(Database::forget_rows);
        }
        self.forget_declared(true, false);
    }
}

impl Talon {
    /// Leaves a mark of everything touched, as far as that can be written.
    fn mark_touched(&self) {
        let Some(mut databases) = self.known_databases() else {
            return;
        };
        let course = self.course.borrow();
        let mut mark = |slot: Slot, event: Event, keys: &[&Key]| {
            let database = &mut databases[slot.database as usize];
            let id = database.kinds[slot.kind as usize].id;
            // The connection is closing: there is nobody to tell.
            let _ = database.leave_mark(id, event, keys);
        };
        for change in course.renames() {
            if change.is_new {
                mark(change.slot, Event::Inserted, &[&change.old]);
            }
            if change.makes_up {
                mark(change.slot, Event::Deleting, &[&change.new]);
            }
            mark(change.slot, Event::Renamed, &[&change.old, &change.new]);
        }
        for entry in course.entries() {
            let event = match entry {
                Entry { deleted: true, .. } => Event::Deleting,
                Entry { created: true, .. } => Event::Inserted,
                _ => Event::Touch,
            };
            mark(entry.slot, event, &[&entry.key]);
        }
    }

    fn end(&self, committed: bool) {
        self.course.borrow_mut().clear();
        self.enlisted.set(false);
        self.latest.set(None);
        self.waiting.borrow_mut().clear();
        if let Some(mut databases) = self.known_databases() {
            let complete = committed && !self.incomplete.replace(false);
            databases.iter_mut().for_each(|database| database.end(complete));
        } else {
            self.ended_at_work.set(true);
        }
        self.forget_declared(!committed, true);
    }

    /// Limits that a host may have set for itself do not hold for what its commit needs.
    fn capture_despite_limits(&self) -> Result<()> {
        let _lifted = self.connection.lift_limits();
        let mut result = self.capture();
        if let Err(Error::Sqlite(failure)) = &result
            && failure.primary() == code::READONLY
            && self.is_query_only()
        {
            // Set between the last statement and COMMIT, it would refuse the images, not the commit.
            self.connection.compile_only("PRAGMA query_only = 0")?;
            result = self.capture();
            self.connection.compile_only("PRAGMA query_only = 1")?;
        }
        result
    }

    fn is_query_only(&self) -> bool {
        matches!(self.connection.value("PRAGMA query_only", &[]), Ok(Some(Value::Integer(1))))
    }
}
