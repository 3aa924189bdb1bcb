//! What Talon keeps for one connection.

use super::clock::Clock;
use super::course::Course;
use super::database::Database;
use super::latest::Latest;
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Statement, code};
use crate::storage::image::Collector;
use crate::storage::schema::{facts, schemas};
use crate::storage::shape::quote_identifier;
use crate::storage::store::leave_changes;
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::rc::Rc;

/// One connection's Talon: shared by all functions and tables registered on it, gone when it is closed.
pub struct Talon {
    /// The host's connection.
    pub connection: Connection,
    /// Its clock.
    pub clock: Clock,
    /// Where rows are written down while a piece is read.
    pub collector: Rc<Collector>,
    station: RefCell<Option<(String, String)>>,
    databases: RefCell<Vec<Database>>,
    /// What was attached when files with guarded kinds were last looked for.
    schemas_seen: RefCell<Vec<String>>,
    /// Pieces touched by the open transaction.
    pub course: RefCell<Course>,
    /// The transaction's end will be told to us.
    pub enlisted: Cell<bool>,
    /// SQLite rolled back while Talon was at work on the databases, which do not know yet.
    pub ended_at_work: Cell<bool>,
    enlist: RefCell<Option<Statement>>,
    /// Somebody holds our statements who gives them back when the connection closes.
    home: Cell<bool>,
    /// Talon itself is writing: touches are not counted.
    pub quiet: Cell<bool>,
    /// This connection has left marks itself, because a touch could not be taken.
    pub own_marks: Cell<bool>,
    /// The open transaction has declared a guard, or taken one back.
    declared: Cell<bool>,
    /// The commit under way goes on without all of its images.
    pub incomplete: Cell<bool>,
    /// The touch taken last, to be recognized at a glance.
    pub latest: Cell<Option<Latest>>,
    /// Restores that wait for the end of the statement that asked for them.
    pub waiting: RefCell<Vec<super::restore::Request>>,
}

/// What a name that a connection may be asked about leads to.
pub struct Place {
    /// Place among the connection's databases.
    pub database: usize,
    /// Place of the kind in it.
    pub kind: usize,
}

impl Talon {
    /// For a connection that has just loaded the extension.
    pub fn new(connection: Connection) -> Talon {
        Talon {
            connection,
            clock: Clock::default(),
            collector: Rc::default(),
            station: RefCell::default(),
            databases: RefCell::default(),
            schemas_seen: RefCell::default(),
            course: RefCell::default(),
            enlisted: Cell::new(false),
            ended_at_work: Cell::new(false),
            enlist: RefCell::default(),
            home: Cell::new(false),
            quiet: Cell::new(false),
            own_marks: Cell::new(false),
            declared: Cell::new(false),
            incomplete: Cell::new(false),
            latest: Cell::new(None),
            waiting: RefCell::default(),
        }
    }

    /// Says who this connection is. As the first call that many hosts make, it also sees to triggers that a migration
    /// has taken away; what cannot be written now is left for the next call.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn set_station(&self, station: &str, user: &str) -> Result<()> {
        // While Talon stores something, who it says it is stays the same.
        let mut said = self.station.try_borrow_mut().map_err(|_| at_work())?;
        *said = Some((station.to_owned(), user.to_owned()));
        drop(said);
        self.discover()?;
        let count = self.databases()?.len();
        for place in 0..count {
            self.databases()?[place].forget_station();
            self.mend_softly(place)?;
        }
        Ok(())
    }

    /// Who this connection is, where it was said.
    pub fn station(&self) -> Ref<'_, Option<(String, String)>> {
        self.station.borrow()
    }

    /// The databases, for reading and writing.
    ///
    /// # Errors
    /// When Talon is called from within itself (a host's function in a guard's expression, for instance).
    pub fn databases(&self) -> Result<RefMut<'_, Vec<Database>>> {
        self.come_home()?;
        let mut databases = self.databases.try_borrow_mut().map_err(|_| at_work())?;
        if self.ended_at_work.replace(false) {
            for database in databases.iter_mut() {
                database.end(false);
                database.forget_definitions();
            }
        }
        Ok(databases)
    }

    /// The databases as they are, also while the connection closes; None when Talon is at work on them.
    pub fn known_databases(&self) -> Option<RefMut<'_, Vec<Database>>> {
        self.databases.try_borrow_mut().ok()
    }

    /// Connects the virtual table whose disconnection tells us to let go of our statements.
    fn come_home(&self) -> Result<()> {
        if !self.home.get() {
            // Prepared as if to be kept: SQLite makes the table then, and what it makes so is not in its lookaside.
            drop(self.connection.prepare_kept("SELECT 1 FROM talon_connection")?);
            self.home.set(true);
        }
        Ok(())
    }

    /// The connection closes, or may be about to: lets go of every statement.
    pub fn leave_home(&self) {
        self.home.set(false);
        if let Ok(mut databases) = self.databases.try_borrow_mut() {
            databases.iter_mut().for_each(Database::release_statements);
        }
        self.enlist.borrow_mut().take();
        self.latest.set(None);
    }

    /// Has the transaction's end told to us.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn enlist(&self) -> Result<()> {
        if self.enlisted.get() {
            return Ok(());
        }
        self.come_home()?;
        let mut enlist = self.enlist.borrow_mut();
        let statement = match enlist.take() {
            Some(statement) => statement,
            None => {
                self.connection.prepare_kept("INSERT INTO talon_capture(touched) VALUES (1)")?
            }
        };
        enlist.insert(statement).run(&[])?;
        if self.enlisted.get() {
            Ok(())
        } else {
            // A table of the host has that name: nobody would tell us of the commit. Marks do without.
            Err(Error::Argument("a table called talon_capture hides Talon's own".to_owned()))
        }
    }

    /// Finds the files with guarded kinds among what is attached now.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn discover(&self) -> Result<()> {
        let mut databases = self.databases()?;
        for database in databases.iter_mut() {
            database.live = false;
        }
        for schema in schemas(self.connection)? {
            let Some(facts) = facts(self.connection, &schema)? else {
                continue;
            };
            let known = databases
                .iter_mut()
                .find(|known| known.number == facts.number && known.schema == schema);
            match known {
                Some(known) => {
                    known.live = true;
                    known.is_of_format(facts.format);
                }
                None => databases.push(Database::open(
                    self.connection,
                    &schema,
                    &facts,
                    &self.collector,
                )?),
            }
        }
        if self.course.borrow().is_empty() {
            databases.retain(|database| database.live);
        }
        *self.schemas_seen.borrow_mut() = self.connection.schema_names().unwrap_or_default();
        Ok(())
    }

    /// Whether files were attached or detached since they were last looked for, or may have been.
    pub fn schemas_changed(&self) -> bool {
        !self.connection.has_schemas(&self.schemas_seen.borrow())
    }

    /// The place of a schema with guarded kinds.
    ///
    /// # Errors
    /// [`Error::UnknownSchema`], [`Error::NotInstalled`].
    pub fn database_place(&self, schema: &str) -> Result<usize> {
        let find = || -> Result<Option<usize>> {
            for (place, database) in self.databases()?.iter_mut().enumerate() {
                let is_named = database.live && database.schema.eq_ignore_ascii_case(schema);
                if is_named && database.is_same_file()? {
                    return Ok(Some(place));
                }
            }
            Ok(None)
        };
        let known = if self.schemas_changed() { None } else { find()? };
        let found = match known {
            Some(place) => Some(place),
            None => {
                self.discover()?;
                find()?
            }
        };
        match found {
            Some(place) => Ok(place),
            None if self.has_schema(schema)? => Err(Error::NotInstalled(schema.to_owned())),
            None => Err(Error::UnknownSchema(schema.to_owned())),
        }
    }

    /// Whether a schema of this name is attached.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn has_schema(&self, schema: &str) -> Result<bool> {
        Ok(schemas(self.connection)?.iter().any(|name| name.eq_ignore_ascii_case(schema)))
    }

    /// The place of a guarded kind.
    ///
    /// # Errors
    /// [`Error::UnknownKind`] with the kinds there are.
    pub fn kind_place(&self, schema: &str, kind: &str) -> Result<Place> {
        let database = self.database_place(schema)?;
        let databases = self.databases()?;
        match databases[database].place_of_name(kind) {
            Some(kind) => Ok(Place { database, kind }),
            None => {
                let known: Vec<&str> = databases[database]
                    .kinds
                    .iter()
                    .filter(|kind| kind.guarded)
                    .map(|kind| kind.name.as_str())
                    .collect();
                let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
                Err(Error::UnknownKind { kind: kind.to_owned(), known })
            }
        }
    }

    /// Runs `work` with Talon's own writes uncounted.
    pub fn quietly<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = self.quiet.replace(true);
        let result = work();
        self.quiet.set(before);
        result
    }

    /// Runs `work` so that it happens whole or not at all, and leaves `last_insert_rowid()` and `changes()` as they were
    /// after the host's own last statement. Inside a running INSERT no savepoint can be opened; SQLite then undoes that
    /// statement if it fails.
    ///
    /// # Errors
    /// What `work` reports.
    pub fn atomically<T>(&self, schema: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let rowid = self.connection.last_insert_rowid();
        let changes = self.connection.changes();
        let result = self.at_once(schema, || self.counting_as(schema, changes, work()));
        self.connection.set_last_insert_rowid(rowid);
        // Where the transaction's end is not told to us, nothing that it made may be remembered.
        if !self.enlisted.get()
            && let Some(mut databases) = self.known_databases()
        {
            databases.iter_mut().for_each(Database::forget_rows);
        }
        result
    }

    /// The same for what declares something or takes it back: should the host undo it, it is read anew. Said beforehand,
    /// because it may fail.
    ///
    /// # Errors
    /// What `work` reports.
    pub fn declaring<T>(&self, schema: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let is_open = !self.connection.is_autocommit();
        self.atomically(schema, || {
            if is_open {
                self.enlist()?;
                self.declared.set(true);
            }
            work()
        })
    }

    /// Has `changes()` answer what it did before work that is done, or that has failed and is about to be undone, which
    /// the count survives.
    pub(super) fn counting_as<T>(&self, schema: &str, changes: i32, done: Result<T>) -> Result<T> {
        if self.connection.changes() == changes || done.as_ref().is_err_and(Error::is_fatal) {
            return done;
        }
        let left = leave_changes(self.connection, schema, changes);
        let value = done?;
        left.map(|()| value)
    }

    fn at_once<T>(&self, schema: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.connection.running_write().is_some() {
            return self.quietly(work);
        }
        let way_out = self.way_out()?;
        let was_autocommit = self.connection.is_autocommit();
        if let Err(failure) = self.connection.run("SAVEPOINT talon", &[]) {
            // Interrupted, it may be there all the same.
            self.undo(&["RELEASE talon"], was_autocommit, way_out);
            return Err(failure.into());
        }
        let result = self.wait_to_write(schema).and_then(|()| self.quietly(work));
        let result = result.and_then(|value| {
            self.release(was_autocommit)?;
            Ok(value)
        });
        if result.is_err() {
            self.undo(&["ROLLBACK TO talon", "RELEASE talon"], was_autocommit, way_out);
        }
        result
    }

    /// Releases the savepoint. SQLite asks a progress handler once more when a statement has done its work: one that was
    /// interrupted there is done all the same, and nothing could undo it.
    fn release(&self, was_autocommit: bool) -> Result<()> {
        let is_gone = || {
            self.connection.is_autocommit() == was_autocommit
                && (was_autocommit || self.connection.run("ROLLBACK TO talon", &[]).is_err())
        };
        match self.connection.run("RELEASE talon", &[]) {
            Err(failure) if failure.primary() == code::INTERRUPT && is_gone() => Ok(()),
            other => Ok(other?),
        }
    }

    /// Takes the write lock before anything is read: only then does SQLite wait for another writer as long as the
    /// connection's busy timeout says.
    pub(super) fn wait_to_write(&self, schema: &str) -> Result<()> {
        let locked = match self.connection.can_lock_to_write() {
            true => self.connection.lock_to_write(schema, c"talon_tally", c"value"),
            false => self.connection.run(
                &format!("DELETE FROM {}.talon_tally WHERE id < 0", quote_identifier(schema)),
                &[],
            ),
        };
        match locked {
            // Before the first guard there is no such table, and nothing that could be waited for by it.
            // A file that cannot be written says so where it has to be.
            Err(failure) if matches!(failure.primary(), code::ERROR | code::READONLY) => Ok(()),
            other => Ok(other?),
        }
    }

    /// What ends a transaction while an interrupt stands: SQLite then compiles nothing and runs no ROLLBACK, which would
    /// leave the host in a transaction that it did not open. But a statement that writes and is interrupted takes the
    /// whole transaction back (<https://sqlite.org/c3ref/interrupt.html>), and this one counts as such; where nothing
    /// interrupts it, it only fails, because a transaction is open.
    pub(super) fn way_out(&self) -> Result<Statement> {
        Ok(self.connection.prepare("BEGIN IMMEDIATE")?)
    }

    /// Everything is read anew before it is used again.
    pub fn forget_definitions(&self) {
        self.latest.set(None);
        self.schemas_seen.borrow_mut().clear();
        if let Some(mut databases) = self.known_databases() {
            databases.iter_mut().for_each(Database::forget_definitions);
        }
    }

    /// The transaction is over, or was undone in part: definitions are read anew where it had changed some.
    pub fn forget_declared(&self, undone: bool, over: bool) {
        if undone && self.declared.get() {
            self.forget_definitions();
        }
        if over {
            self.declared.set(false);
        }
    }

    /// Undoes what was begun, by these statements; no transaction is open after it where there `was_autocommit`.
    pub(super) fn undo(&self, statements: &[&str], was_autocommit: bool, mut way_out: Statement) {
        let is_interrupted = |sql: &&str| {
            let done = self.connection.run(sql, &[]);
            matches!(done, Err(failure) if failure.primary() == code::INTERRUPT)
        };
        let is_open = || was_autocommit && !self.connection.is_autocommit();
        // All of them are said: SQLite may have undone a part by itself, and a progress handler that is asked when a
        // statement has done its work fails one that was done.
        let mut interrupted = statements.iter().filter(|sql| is_interrupted(sql)).count() > 0;
        if is_open() {
            // A RELEASE that cannot commit leaves the transaction open, with nothing in it.
            interrupted = is_interrupted(&"ROLLBACK");
        } else if interrupted && !was_autocommit {
            // Where it was done, there is no such savepoint any more.
            interrupted = statements.last().is_some_and(is_interrupted);
        }
        if interrupted && (is_open() || !was_autocommit) {
            let _ = way_out.run(&[]);
        }
        if let Ok(mut databases) = self.databases() {
            databases.iter_mut().for_each(Database::forget_rows);
        }
    }
}

/// Talon is called from within itself: by a host's function in a guard's expression, for instance.
fn at_work() -> Error {
    Error::Argument("Talon is at work on this connection already".to_owned())
}
