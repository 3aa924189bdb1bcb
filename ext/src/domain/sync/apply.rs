//! Applying a flow: in batches that are committed one by one, so that others are let in between and whatever stops the work
//! leaves done what was done; inside a transaction of the host's all of it is in that one. Again and again it ends the same.

use super::arrival::{Arrivals, Mode};
use super::lines::FlowLines;
use super::surplus::Surplus;
use crate::domain::database::Database;
use crate::domain::restore::TriggersOff;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Value, ValueRef};
use crate::storage::document::{End, Head, Line, Load, Refused};
use crate::storage::document_reader::read;
use crate::storage::flow_store::{Flow, FlowStore};
use crate::storage::load_store::LoadStore;
use crate::storage::site_store::SiteStore;

/// Documents that are applied in one transaction.
const BATCH: i64 = 500;

/// A flow that is being applied.
struct Run {
    flow: Flow,
    head: Head,
    lines: FlowLines,
    arrivals: Arrivals,
    /// Documents that an earlier run has dealt with, or another connection that is at it, too.
    done_before: i64,
    /// Documents that were read.
    read: i64,
    /// Those that this run has dealt with,
    done: i64,
    /// and of these, what was set aside.
    set_aside: i64,
    /// All lines of the flow were read.
    is_read: bool,
    /// What is to go after them, where the flow is a full load.
    surplus: Option<Surplus>,
    /// The schema's version that all of this is made for.
    schema_version: i64,
    /// Changes with each commit of another connection.
    data_version: Option<i64>,
}

impl Run {
    fn summary(&self) -> String {
        let Run { done, set_aside, .. } = self;
        let applied = done - set_aside;
        let removed = match &self.surplus {
            Some(surplus) => format!(",\"removed\":{}", surplus.removed),
            None => String::new(),
        };
        format!("{{\"documents\":{done},\"applied\":{applied},\"set_aside\":{set_aside}{removed}}}")
    }
}

impl Talon {
    /// Applies a flow that is here, whole; gives what became of its documents, as JSON.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is nothing to apply, or it could not commit; [`Error::Flow`] where the flow is
    /// damaged; what SQLite reports.
    pub fn apply(&self, schema: &str, flow: i64) -> Result<String> {
        let rowid = self.connection.last_insert_rowid();
        self.may_apply()?;
        let place = self.database_to_write(schema)?;
        let found = self.flow_to_apply(schema, flow)?;
        let Some(flow) = found else {
            return Ok("{\"documents\":0,\"applied\":0,\"set_aside\":0}".to_owned());
        };
        let is_ours = self.connection.is_autocommit();
        let keys = is_ours.then(|| ForeignKeysOn::begin(self.connection)).transpose()?;
        let triggers = TriggersOff::begin(self.connection);
        let mut applied = Ok(String::new());
        if is_ours {
            applied = self.apply_in_batches(schema, place, &flow);
            if let Err(error) = &applied {
                self.note_stop(schema, &flow, error);
            }
            self.connection.set_last_insert_rowid(rowid);
        } else {
            let work = || {
                self.enlist()?;
                self.begin_run(place, &flow)?;
                let mut run = self.run_of(place, &flow)?;
                while !self.batch(place, &mut run)? {}
                self.finish(place, &mut run)
            };
            applied = applied.and_then(|_| self.atomically(schema, work));
        }
        drop(triggers);
        drop(keys);
        self.course.borrow_mut().forget_states();
        applied
    }

    /// A transaction that has changed pieces hides what it made of them until it commits.
    fn may_apply(&self) -> Result<()> {
        let problem = if self.connection.running_write().is_some() {
            "the statement that calls it writes: call it by a SELECT of its own"
        } else if !self.connection.is_autocommit() && !self.course.borrow().is_empty() {
            "the open transaction has changed pieces: COMMIT it first"
        } else if match self.connection.is_autocommit() {
            true => !self.connection.is_idle(),
            // What the transaction has read before tells nothing of now.
            false => self.connection.has_running_beside_one(),
        } {
            "a query is reading: finish it, and call SELECT talon_apply(flow) without FROM"
        } else {
            return Ok(());
        };
        Err(Error::Argument(problem.to_owned()))
    }

    /// The flow, unless it was applied already.
    fn flow_to_apply(&self, schema: &str, id: i64) -> Result<Option<Flow>> {
        let refused = |problem: String| Err(Error::Argument(problem));
        let flows = FlowStore::new(self.connection, schema);
        let Some(flow) = flows.by_id(id)? else { return refused(format!("there is no flow {id}")) };
        let own = SiteStore::new(self.connection, schema).own()?;
        if own.is_none_or(|own| own.id != flow.receiver) {
            return refused(format!("flow {id} was written here, for another site"));
        }
        if flow.is_refused {
            return refused(format!("flow {id} was refused"));
        }
        if flow.is_ended || flow.is_superseded {
            return Ok(None);
        }
        if !flow.is_ready {
            return refused(format!("flow {id} is not here whole yet"));
        }
        Ok(Some(flow))
    }

    fn apply_in_batches(&self, schema: &str, place: usize, flow: &Flow) -> Result<String> {
        self.transaction(schema, || self.begin_run(place, flow))?;
        let mut run = self.run_of(place, flow)?;
        run.arrivals.mode = Mode::AllOrNone;
        let mut rarely = Some(RareCheckpoints::begin(self.connection));
        loop {
            let mut summary = None;
            let counted = (run.done, run.set_aside);
            let is_over = self.transaction(schema, || {
                self.keep_up(place, &mut run)?;
                if !self.is_to_do(place, &mut run)? {
                    summary = Some(run.summary());
                    return Ok(true);
                }
                let is_over = self.batch(place, &mut run)?;
                if is_over {
                    summary = Some(self.finish(place, &mut run)?);
                    // The last commit leaves a log that is no longer than the host's own commits do.
                    rarely = None;
                }
                Ok(is_over)
            });
            if is_over.is_err() && run.arrivals.mode == Mode::Failed {
                (run.done, run.set_aside) = counted;
                self.go_on(place, &mut run, Mode::OneByOne)?;
                continue;
            }
            if is_over? {
                return Ok(summary.unwrap_or_default());
            }
        }
    }

    /// One transaction of our own: all of it is committed, or none.
    pub(super) fn transaction<T>(
        &self,
        schema: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let (way_out, changes) = (self.way_out()?, self.connection.changes());
        // Interrupted, it may have begun all the same.
        let begun = self.connection.run("BEGIN", &[]);
        let result = self.quietly(|| {
            begun?;
            self.wait_to_write(schema)?;
            self.enlist()?;
            work()
        });
        let result = self.counting_as(schema, changes, result).and_then(|value| {
            self.connection.run("COMMIT", &[])?;
            Ok(value)
        });
        if result.is_err() && !self.connection.is_autocommit() {
            self.undo(&[], true, way_out);
        }
        result
    }

    fn begin_run(&self, place: usize, flow: &Flow) -> Result<()> {
        let mut databases = self.databases()?;
        let now = ValueRef::Integer(self.clock.now_ms());
        let begin = databases[place].own_statement(
            "UPDATE {s}.talon_flow SET runs = runs + 1, begun = coalesce(begun, ?2),
               error = CASE runs WHEN 0 THEN error END
             WHERE id = ?1 AND ended IS NULL",
        )?;
        begin.run(&[ValueRef::Integer(flow.id), now])?;
        let database = &mut databases[place];
        database.refresh()?;
        if let Some((sender, head)) = database.flow_head(flow.id)? {
            database.take_head(sender, &head, self.clock.now_ms())?;
        }
        Ok(())
    }

    fn run_of(&self, place: usize, flow: &Flow) -> Result<Run> {
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        let data_version = database.data_version()?;
        let Some((mut arrivals, head)) = Arrivals::of_flow(database, flow.id, self.clock.now_ms())?
        else {
            return Err(Error::Argument(format!("there is no flow {}", flow.id)));
        };
        let progress = database
            .own_statement("SELECT progress FROM {s}.talon_flow WHERE id = ?1")?
            .first(&[ValueRef::Integer(flow.id)], |row| Ok(row.column(0).as_integer()))?;
        let schema = database.schema.clone();
        let is_full_load = head.load == Some(Load::Full)
            && arrivals.identities.central == Some(arrivals.sender)
            && !arrivals.identities.is_central();
        let surplus = match is_full_load {
            true => Some(Surplus::begin(database, &mut arrivals, flow.id, &head)?),
            false => None,
        };
        Ok(Run {
            flow: flow.clone(),
            head,
            lines: FlowLines::begin(&FlowStore::new(self.connection, &schema), flow.id)?,
            arrivals,
            done_before: progress.flatten().unwrap_or(0),
            read: 0,
            done: 0,
            set_aside: 0,
            is_read: false,
            surplus,
            schema_version: databases[place].schema_version,
            data_version,
        })
    }

    /// What connections without Talon have changed since the last batch is imaged and told before it is written over. Where
    /// tables or guards were changed, what was made for them is made anew; where anything was, rows are looked up again.
    fn keep_up(&self, place: usize, run: &mut Run) -> Result<()> {
        self.absorb_first(place)?;
        let (version, data_version) = {
            let mut databases = self.databases()?;
            databases[place].refresh()?;
            (databases[place].schema_version, databases[place].data_version()?)
        };
        if version == run.schema_version {
            if std::mem::replace(&mut run.data_version, data_version) != data_version {
                run.arrivals.identities.forget();
            }
            return Ok(());
        }
        let mode = run.arrivals.mode;
        self.go_on(place, run, mode)
    }

    /// Goes on where the last batch ended, with nothing remembered of what is here.
    fn go_on(&self, place: usize, run: &mut Run, mode: Mode) -> Result<()> {
        let mut anew = self.run_of(place, &run.flow)?;
        (anew.done, anew.set_aside) = (run.done, run.set_aside);
        anew.arrivals.highest_stamp = run.arrivals.highest_stamp;
        anew.arrivals.mode = mode;
        if let (Some(anew), Some(surplus)) = (&mut anew.surplus, &run.surplus) {
            anew.removed = surplus.removed;
        }
        *run = anew;
        Ok(())
    }

    /// False where another connection has brought the flow to its end; what it has dealt with so far is not done again.
    fn is_to_do(&self, place: usize, run: &mut Run) -> Result<bool> {
        let mut databases = self.databases()?;
        let asked = databases[place].own_statement(
            "SELECT progress FROM {s}.talon_flow WHERE id = ?1 AND ended IS NULL AND refused IS NULL",
        )?;
        let progress = asked
            .first(&[ValueRef::Integer(run.flow.id)], |row| Ok(row.column(0).as_integer()))?
            .flatten();
        run.done_before = run.done_before.max(progress.unwrap_or(0));
        Ok(progress.is_some())
    }

    /// Applies the next documents, or removes what they leave over; true when that was the last of it.
    fn batch(&self, place: usize, run: &mut Run) -> Result<bool> {
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        self.connection.compile_only("PRAGMA defer_foreign_keys = 1")?;
        // What is stored next may be older than what was made here: the clock keeps what the newest change no longer says.
        database.advance_clock(run.head.stamp.max(run.arrivals.highest_stamp))?;
        if run.is_read {
            return match &mut run.surplus {
                Some(surplus) => surplus.remove(self, database, &mut run.arrivals),
                None => Ok(true),
            };
        }
        let until = run.done + BATCH;
        run.is_read = loop {
            let Some(line) = run.lines.next_line()? else { break true };
            match read(line)? {
                Line::Head(_) => {}
                Line::End(end) if end.documents != run.read => {
                    let End { documents, .. } = end;
                    let problem =
                        format!("it is said to have {documents} documents, and has {}", run.read);
                    return Err(Error::Flow { problem });
                }
                Line::End(_) => {}
                Line::Shape(shape) => run.arrivals.shape(database, &shape, line)?,
                Line::Refused(refused) => run.arrivals.refused(database, &refused)?,
                Line::Document(document) => {
                    run.read += 1;
                    if run.read <= run.done_before {
                        continue;
                    }
                    let is_applied = run.arrivals.document(self, database, &document, line)?;
                    if let Some(surplus) = &run.surplus {
                        surplus.list(database, &mut run.arrivals, &document)?;
                    }
                    run.set_aside += i64::from(!is_applied);
                    run.done += 1;
                    if run.done >= until {
                        break false;
                    }
                }
            }
        };
        database
            .own_statement("UPDATE {s}.talon_flow SET progress = ?2 WHERE id = ?1")?
            .run(&[ValueRef::Integer(run.flow.id), ValueRef::Integer(run.read)])?;
        Ok(run.is_read && run.surplus.is_none())
    }

    /// What waited for something that has come is tried again, and the flow is over.
    fn finish(&self, place: usize, run: &mut Run) -> Result<String> {
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        if run.arrivals.has_quarantine {
            let freed = self.retry(database, Some(run.flow.id))?;
            run.set_aside = (run.set_aside - freed).max(0);
        }
        let flow = ValueRef::Integer(run.flow.id);
        let ended = database.own_statement("UPDATE {s}.talon_flow SET ended = ?2 WHERE id = ?1")?;
        ended.run(&[flow, ValueRef::Integer(self.clock.now_ms())])?;
        database.advance_clock(run.arrivals.highest_stamp)?;
        // Of a database that its sender has begun anew since, the numbers say nothing any more, and the new one may not have
        // what came.
        let of = [run.arrivals.sender, run.head.until, run.head.flow.incarnation];
        let reach = database.own_statement(
            "UPDATE {s}.talon_site SET applied = iif(incarnation = ?3, max(applied, ?2), applied),
               begun = iif(incarnation = ?3, begun, coalesce((SELECT max(seq) FROM {s}.talon_change), 0))
             WHERE id = ?1",
        )?;
        reach.run(&of.map(ValueRef::Integer))?;
        database.own_statement("DELETE FROM {s}.talon_chunk WHERE flow = ?1")?.run(&[flow])?;
        if run.arrivals.identities.central == Some(run.arrivals.sender) {
            self.note_load(database, run)?;
        }
        Ok(run.summary())
    }

    /// A flow of central's is here as a whole: so far are its kinds, and the load that it is has come.
    fn note_load(&self, database: &mut Database, run: &Run) -> Result<()> {
        let schema = database.schema.clone();
        let loads = LoadStore::new(self.connection, &schema);
        let sender = SiteStore::new(self.connection, &schema).by_id(run.arrivals.sender)?;
        let is_of_today =
            sender.is_some_and(|sender| sender.incarnation == Some(run.head.flow.incarnation));
        for table in run.head.tables.iter().filter(|_| is_of_today) {
            // Of a kind that is not declared here nothing has come.
            if database.place_of_name(&table.kind).is_some() {
                loads.brought(table, self.clock.now_ms())?;
            }
        }
        let Some(load) = run.head.load else { return Ok(()) };
        loads.came(load)?;
        loads.drop_listed(run.flow.id)
    }

    /// Tries again what was set aside, as long as anything gets through; gives how many of a flow's documents did.
    pub(super) fn retry(&self, database: &mut Database, of: Option<i64>) -> Result<i64> {
        self.connection.compile_only("PRAGMA defer_foreign_keys = 1")?;
        database.advance_clock(0)?;
        let mut freed = 0;
        loop {
            let mut is_moved = false;
            for (id, flow) in database.quarantined()? {
                if self.try_again(database, id)? {
                    is_moved = true;
                    freed += i64::from(of.is_some() && flow == of);
                }
            }
            if !is_moved {
                let flows = self.try_together(database)?;
                if flows.is_empty() {
                    return Ok(freed);
                }
                let brought = |flow: &&Option<i64>| of.is_some() && **flow == of;
                freed += flows.iter().filter(brought).count() as i64;
            }
        }
    }

    /// Says in the follow-up why a run ended before its time. If that cannot be written either, the error itself says it.
    fn note_stop(&self, schema: &str, flow: &Flow, error: &Error) {
        let sql = format!(
            "UPDATE {}.talon_flow SET error = ?2 WHERE id = ?1 AND ended IS NULL",
            crate::storage::shape::quote_identifier(schema)
        );
        let text = error.to_string();
        let values = [ValueRef::Integer(flow.id), ValueRef::Text(text.as_bytes())];
        let _ = self.connection.run(&sql, &values);
    }
}

impl Database {
    /// A number that changes with each commit of another connection, unlike [`Connection::data_version`] not with our own.
    fn data_version(&mut self) -> Result<Option<i64>> {
        let asked = self.own_statement("PRAGMA {s}.data_version")?;
        Ok(asked.first(&[], |row| Ok(row.column(0).as_integer()))?.flatten())
    }
}

impl Arrivals {
    /// The sender did not take a document of ours.
    fn refused(&mut self, database: &mut Database, refused: &Refused<'_>) -> Result<()> {
        let kind = database.place_of_name(&refused.kind);
        let (Some(kind), Some(origin)) = (kind, self.identities.site(&refused.origin)) else {
            return Ok(());
        };
        if let Some((key, _)) = self.identities.find(database, kind, origin, &refused.key)? {
            let id = database.kinds[kind].id;
            let (reason, at_ms) = (&refused.reason, self.at);
            database.take_refused(self.sender, id, key.as_ref(), reason, at_ms)?;
        }
        Ok(())
    }
}

/// SQLite copies the write-ahead log into the database less often as long as this lives: each time it waits for the disk
/// twice, and batches fill the log as fast as a host never does.
struct RareCheckpoints {
    connection: Connection,
    /// After how many pages of the log the host has it copied; None where that is not SQLite's to decide.
    pages: Option<i64>,
}

impl RareCheckpoints {
    /// How many times longer the log may grow.
    const LONGER: i64 = 8;

    fn begin(connection: Connection) -> RareCheckpoints {
        // A host that sees to it in a hook of its own is told 0 here, and goes on doing so. Without an answer all goes as before.
        let pages = match connection.value("PRAGMA wal_autocheckpoint", &[]) {
            Ok(Some(Value::Integer(pages))) if pages > 0 => Some(pages),
            _ => None,
        };
        let rarely = RareCheckpoints { connection, pages };
        rarely.set(Self::LONGER);
        rarely
    }

    fn set(&self, times: i64) {
        if let Some(pages) = self.pages {
            let pages = pages.saturating_mul(times).min(i64::from(i32::MAX));
            // It can fail for want of memory only: then the log goes on growing as it did.
            let _ = self.connection.compile_only(&format!("PRAGMA wal_autocheckpoint = {pages}"));
        }
    }
}

impl Drop for RareCheckpoints {
    fn drop(&mut self) {
        self.set(1);
    }
}

/// Foreign keys are enforced as long as this lives.
struct ForeignKeysOn {
    connection: Connection,
    were_on: bool,
}

impl ForeignKeysOn {
    fn begin(connection: Connection) -> Result<ForeignKeysOn> {
        let were_on =
            matches!(connection.value("PRAGMA foreign_keys", &[])?, Some(Value::Integer(1)));
        if !were_on {
            connection.compile_only("PRAGMA foreign_keys = 1")?;
        }
        Ok(ForeignKeysOn { connection, were_on })
    }
}

impl Drop for ForeignKeysOn {
    fn drop(&mut self) {
        if !self.were_on {
            // It can fail for want of memory only: then they stay on, which harms nobody's data.
            let _ = self.connection.compile_only("PRAGMA foreign_keys = 0");
        }
    }
}
