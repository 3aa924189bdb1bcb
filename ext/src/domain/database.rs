//! One file with guarded kinds, as the connection sees it: its guards fitted to today's schema, its statements.

use super::course::Slot;
use super::fitted::{Fitted, Purpose, fit_followed};
use super::rules::Rules;
use super::sync::changes::Stamping;
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Statement, Value, ValueRef, code};
use crate::storage::definition::Definition;
use crate::storage::guard::{Guard, HEADER};
use crate::storage::image::{Collector, Image, Reading};
use crate::storage::key::Key;
use crate::storage::schema::{Facts, facts, schema_version};
use crate::storage::shape::quote_identifier;
use crate::storage::store::Store;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::CString;
use std::rc::Rc;

/// A guarded kind on this connection.
pub struct Kind {
    /// Row of `talon_kind`.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Since when its pieces may have changed unseen, in ms since 1970; None when they may not.
    pub suspect_since: Option<i64>,
    /// What was declared.
    pub definition: Definition,
    fitted: Option<Fitted>,
    /// It is guarded; one that no longer is keeps its place.
    pub guarded: bool,
    /// Why the definition does not fit the schema any more.
    pub broken: Option<String>,
    /// Why labels and order are left out: they do not fit the schema any more, the rest does.
    pub reduced: Option<String>,
}

/// A database with Talon's tables.
pub struct Database {
    /// The connection it is attached to.
    pub connection: Connection,
    collector: Rc<Collector>,
    /// Its schema name there.
    pub schema: String,
    schema_text: CString,
    /// What triggers call the file by.
    pub number: i64,
    /// The format of Talon's tables in it.
    pub format: i64,
    /// It is still attached under this name.
    pub live: bool,
    /// The kinds, guarded ones only.
    pub kinds: Vec<Kind>,
    store: Option<Store>,
    /// Found by where their text lies: hashing that would take as long as running most of them.
    statements: HashMap<(*const u8, usize), Statement>,
    /// The image read last.
    pub image: Image,
    begun: bool,
    /// Nobody has committed since this connection's own last capture: stored images are what the tables hold.
    pub trusted: bool,
    /// No marks of others are left to be absorbed before this transaction changes anything.
    pub absorbed: bool,
    committed_version: Option<u32>,
    /// The schema's version that the guards are fitted to.
    pub schema_version: i64,
    /// The schema's version at which all triggers were seen to be whole.
    pub whole_at: Option<i64>,
    station: Option<i64>,
    /// Whether the host has triggers of its own on a table, as of a version of the schema.
    pub(super) triggered: HashMap<String, (i64, bool)>,
    /// What is declared beside the guards.
    pub(super) rules: Rules,
    /// What the open transaction stamps its changes with.
    pub(super) stamping: Stamping,
}

impl Kind {
    fn retire(&mut self) {
        self.guarded = false;
        self.fitted = None;
        self.broken = Some("it is not guarded".to_owned());
    }
}

impl Database {
    /// Opens the database behind a schema name.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn open(
        connection: Connection,
        schema: &str,
        facts: &Facts,
        collector: &Rc<Collector>,
    ) -> Result<Database> {
        let mut database = Database {
            connection,
            collector: Rc::clone(collector),
            schema: schema.to_owned(),
            schema_text: CString::new(schema).unwrap_or_default(),
            number: facts.number,
            format: facts.format,
            live: true,
            kinds: Vec::new(),
            store: None,
            statements: HashMap::new(),
            image: Image::default(),
            begun: false,
            trusted: false,
            absorbed: false,
            committed_version: None,
            schema_version: schema_version(connection, schema)?,
            whole_at: None,
            station: None,
            triggered: HashMap::new(),
            rules: Rules::default(),
            stamping: Stamping::default(),
        };
        database.load_kinds()?;
        Ok(database)
    }

    fn load_kinds(&mut self) -> Result<()> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT id, kind, definition, suspect_since FROM {}.talon_kind WHERE guarded = 1 ORDER BY id",
            quote_identifier(&self.schema)
        ))?;
        let mut rows = statement.query(&[])?;
        let mut found = Vec::new();
        while rows.next()? {
            let text = |index: usize| rows.column(index).as_str().unwrap_or_default().to_owned();
            let name = text(1);
            // One that cannot be read (a newer library's, a damaged one) concerns its own kind only.
            let (definition, broken) = match Definition::from_json(&name, &text(2)) {
                Ok(definition) => (definition, None),
                Err(error) => (Definition::of_tables("", ""), Some(error.to_string())),
            };
            found.push(Kind {
                id: rows.column(0).as_integer().unwrap_or(0),
                name,
                suspect_since: rows.column(3).as_integer(),
                definition,
                fitted: None,
                guarded: true,
                broken,
                reduced: None,
            });
        }
        // Places of kinds stay, because touched pieces refer to them.
        for known in &mut self.kinds {
            if !found.iter().any(|kind| kind.id == known.id) {
                known.retire();
            }
        }
        for kind in found {
            match self.kinds.iter_mut().find(|known| known.id == kind.id) {
                Some(known) => *known = kind,
                None => self.kinds.push(kind),
            }
        }
        Ok(())
    }

    /// Begins to take part in a transaction: is what was known before still so? Unless `enlisted`, nobody tells when the
    /// transaction ends: then it begins anew each time.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn begin(&mut self, enlisted: bool) -> Result<()> {
        if self.begun && enlisted {
            return Ok(());
        }
        let version = self.connection.data_version(&self.schema_text);
        self.trusted = version.is_some() && version == self.committed_version;
        if !self.trusted {
            // Of one that nobody told the end of, all is doubted that others may have changed since.
            self.begun = false;
            self.refresh()?;
        }
        self.store()?;
        self.begun = true;
        self.absorbed = self.trusted;
        Ok(())
    }

    /// Takes no part in the open transaction after all: others may write before it is begun again.
    pub fn leave(&mut self) {
        self.begun = false;
    }

    /// Whether a transaction has begun here.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Fits the guards anew when the schema has changed.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn refresh(&mut self) -> Result<()> {
        if !self.begun {
            self.stamping.doubt();
        }
        let asked = self.own_statement("PRAGMA {s}.schema_version")?;
        let version = asked.first(&[], |row| Ok(row.column(0).as_integer()))?;
        let version = version.flatten().unwrap_or(0);
        if version != self.schema_version {
            // Another connection may have upgraded the tables.
            if let Some(facts) = facts(self.connection, &self.schema)? {
                self.is_of_format(facts.format);
            }
            self.refit()?;
            self.schema_version = version;
        }
        Ok(())
    }

    /// Talon's tables have this format: statements that were made for another one are made anew.
    pub fn is_of_format(&mut self, format: i64) {
        if std::mem::replace(&mut self.format, format) != format {
            self.store = None;
        }
    }

    /// A transaction that had changed the guards was undone: they are read again before they are used again.
    pub fn forget_definitions(&mut self) {
        self.schema_version = -1;
        self.whole_at = None;
        self.committed_version = None;
        self.begun = false;
        self.kinds.iter_mut().for_each(Kind::retire);
    }

    /// Reads the guards again.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn refit(&mut self) -> Result<()> {
        for kind in &mut self.kinds {
            kind.fitted = None;
            kind.broken = None;
            kind.reduced = None;
        }
        self.load_kinds()
    }

    /// The transaction is over; `committed` when it was.
    pub fn end(&mut self, committed: bool) {
        if committed && self.begun {
            self.committed_version = self.connection.data_version(&self.schema_text);
        }
        if !committed {
            self.committed_version = None;
            self.forget_rows();
        }
        self.stamping.ended();
        self.begun = false;
    }

    /// Rows that this connection made may have been undone.
    pub fn forget_rows(&mut self) {
        self.stamping = Stamping::default();
        self.absorbed = self.trusted;
        self.station = None;
        for kind in &mut self.kinds {
            if let Some(fitted) = &mut kind.fitted {
                fitted.shape = None;
            }
        }
    }

    /// Drops every kept statement.
    pub fn release_statements(&mut self) {
        self.store = None;
        self.statements.clear();
        self.rules.release();
        for kind in &mut self.kinds {
            kind.fitted = None;
        }
        self.begun = false;
        self.committed_version = None;
    }

    /// The statements on Talon's tables.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn store(&mut self) -> Result<&mut Store> {
        let store = match self.store.take() {
            Some(store) => store,
            None => Store::prepare(self.connection, &self.schema, self.format)?,
        };
        Ok(self.store.insert(store))
    }

    /// Places of the kinds that are guarded.
    pub fn guarded_kinds(&self) -> Vec<usize> {
        let places = self.kinds.iter().enumerate();
        places.filter(|(_, kind)| kind.guarded).map(|(place, _)| place).collect()
    }

    /// The place of a kind by its row.
    pub fn place_of(&self, id: i64) -> Option<usize> {
        self.kinds.iter().position(|kind| kind.guarded && kind.id == id)
    }

    /// The place of a kind by its name.
    pub fn place_of_name(&self, name: &str) -> Option<usize> {
        self.kinds.iter().position(|kind| kind.guarded && kind.name == name)
    }

    /// A kind's guard and statements, fitted when they are not.
    ///
    /// # Errors
    /// [`Error::Definition`] when the schema has moved away from under the definition.
    pub fn fitted(&mut self, place: usize) -> Result<&mut Fitted> {
        let kind = &mut self.kinds[place];
        if kind.fitted.is_none() {
            if let Some(problem) = &kind.broken {
                return Err(Error::Definition {
                    kind: kind.name.clone(),
                    problem: problem.clone(),
                });
            }
            match fit_followed(self.connection, &self.schema, kind, &self.collector) {
                Ok(fitted) => kind.fitted = Some(fitted),
                Err(error) => {
                    if let Error::Definition { problem, .. } = &error {
                        kind.broken = Some(problem.clone());
                    }
                    return Err(error);
                }
            }
        }
        kind.fitted.as_mut().ok_or_else(|| Error::Argument("no guard".to_owned()))
    }

    /// Whether a kind's definition fits the schema as it is.
    ///
    /// # Errors
    /// What SQLite reports: a fault while it is fitted does not mean that it does not fit.
    pub fn fits(&mut self, place: usize) -> Result<bool> {
        match self.fitted(place) {
            Ok(_) => Ok(true),
            Err(error) if error.is_fatal() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// The guard of a kind.
    ///
    /// # Errors
    /// As [`Database::fitted`].
    pub fn guard(&mut self, place: usize) -> Result<Rc<Guard>> {
        Ok(Rc::clone(&self.fitted(place)?.guard))
    }

    /// Reads a piece into [`Database::image`]; false when it is not there, or not of this kind.
    ///
    /// # Errors
    /// What SQLite reports, or [`Error::Memory`].
    pub fn read(&mut self, place: usize, key: &Key) -> Result<bool> {
        let mut image = std::mem::take(&mut self.image);
        let mut reading = self.fitted(place)?.reader.read(key, &mut image);
        if matches!(reading, Ok(Reading::Stale)) {
            // Compiled anew: after a change of the schema the columns may be others.
            self.refresh()?;
            reading = self.fitted(place)?.reader.read(key, &mut image);
            if matches!(reading, Ok(Reading::Stale)) {
                reading = self.fitted(place)?.reader.read(key, &mut image);
            }
        }
        self.image = image;
        Ok(reading? == Reading::Taken)
    }

    /// The header's own spelling of a key that something refers to.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn own_key(&mut self, place: usize, key: &Key) -> Result<Option<Key>> {
        let fitted = self.fitted(place)?;
        let columns = fitted.guard.header().key.len();
        let values: Vec<ValueRef<'_>> = key.values().iter().map(Value::as_ref).collect();
        Ok(fitted.own_key.first(&values, |row| Ok(Key::of(row.values(0..columns)?)))?)
    }

    /// Keys of headers that hold any of these unique values: the key's columns first, then each further unique index.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn colliding(&mut self, place: usize, values: &[ValueRef<'_>]) -> Result<Vec<Key>> {
        let fitted = self.fitted(place)?;
        let columns = fitted.guard.header().key.len();
        let mut found = Vec::new();
        let mut from = columns;
        for (count, statement) in &mut fitted.unique {
            let Some(wanted) = values.get(from..from + *count) else {
                break;
            };
            from += *count;
            if wanted.iter().any(|value| value.is_null()) {
                continue;
            }
            let key = statement.first(wanted, |row| Ok(Key::of(row.values(0..columns)?)))?;
            found.extend(key);
        }
        Ok(found)
    }

    /// Climbs from the link of a row of `part` to the piece's key.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn piece_of(
        &mut self,
        place: usize,
        part: usize,
        link: Vec<Value>,
    ) -> Result<Option<Vec<Value>>> {
        let fitted = self.fitted(place)?;
        let (mut part, mut link) = (part, link);
        while fitted.guard.parts[part].parent != HEADER {
            let parent = fitted.guard.parts[part].parent;
            let columns = fitted.guard.parts[parent].link.len();
            let Some(statement) = &mut fitted.upward[part] else {
                return Ok(None);
            };
            let values: Vec<ValueRef<'_>> = link.iter().map(Value::as_ref).collect();
            let up = statement.first(&values, |row| row.values(0..columns))?;
            match up {
                Some(up) => link = up,
                None => return Ok(None),
            }
            part = parent;
        }
        Ok(Some(link))
    }

    /// Makes writes that belong together. No savepoint can be opened inside a statement or a commit: so what they need is
    /// read and prepared before, and an interrupt among them makes SQLite undo them all. What stops them otherwise is an
    /// error that undoes the statement, or refuses the commit.
    ///
    /// # Errors
    /// What `write` reports, as [`Error::HalfWritten`] where something was written before.
    pub fn together<T>(&mut self, write: impl FnOnce(&mut Database) -> Result<T>) -> Result<T> {
        let before = self.connection.total_changes();
        let result = write(self);
        let is_begun = self.connection.total_changes() != before;
        result.map_err(|error| if is_begun { error.between_writes() } else { error })
    }

    /// A statement on Talon's own tables, prepared once; `{s}` stands for the schema.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn own_statement(&mut self, sql: &'static str) -> Result<&mut Statement> {
        match self.statements.entry((sql.as_ptr(), sql.len())) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(room) => {
                let text = sql.replace("{s}", &quote_identifier(&self.schema));
                Ok(room.insert(self.connection.prepare_kept(&text)?))
            }
        }
    }

    /// Whether the schema still stands for the file it stood for: a file may be detached and another attached.
    ///
    /// # Errors
    /// What SQLite reports: a file that could not be asked must not pass for one without guards.
    pub fn is_same_file(&mut self) -> Result<bool> {
        let number = self.number;
        let asked = self
            .own_statement("SELECT value FROM {s}.talon_meta WHERE name = 'database'")
            .and_then(|statement| Ok(statement.first(&[], |row| Ok(row.column(0).as_integer()))?));
        match asked {
            Ok(found) => Ok(found.flatten() == Some(number)),
            // It has no such table.
            Err(Error::Sqlite(failure)) if failure.primary() == code::ERROR => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A statement on the kind's tables, prepared once.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn statement(&mut self, place: usize, sql: &str) -> Result<&mut Statement> {
        let connection = self.connection;
        let statements = &mut self.fitted(place)?.statements;
        if !statements.contains_key(sql) {
            statements.insert(sql.to_owned(), connection.prepare_kept(sql)?);
        }
        statements.get_mut(sql).ok_or(Error::Memory)
    }

    /// A statement on the rows of a part, whose text is made once.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn part_statement(
        &mut self,
        place: usize,
        part: usize,
        purpose: Purpose,
        text: impl FnOnce(&Guard, &str) -> String,
    ) -> Result<&mut Statement> {
        let (connection, schema) = (self.connection, self.schema.clone());
        let Fitted { guard, part_statements, .. } = self.fitted(place)?;
        match part_statements.entry((part, purpose)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(room) => Ok(room.insert(connection.prepare_kept(&text(guard, &schema))?)),
        }
    }

    /// The row of `talon_shape` for a kind's columns today.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn shape(&mut self, place: usize) -> Result<i64> {
        let fitted = self.fitted(place)?;
        if let Some(shape) = fitted.shape {
            return Ok(shape);
        }
        let columns = fitted.reader.columns.clone();
        let shape = self.store()?.shape(&columns)?;
        self.fitted(place)?.shape = Some(shape);
        Ok(shape)
    }

    /// The row of `talon_station` for who this connection says it is.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn station(&mut self, who: Option<&(String, String)>) -> Result<Option<i64>> {
        let Some((station, user)) = who else {
            return Ok(None);
        };
        if self.station.is_none() {
            self.station = Some(self.store()?.station(station, user)?);
        }
        Ok(self.station)
    }

    /// This connection says it is somebody else from here on.
    pub fn forget_station(&mut self) {
        self.station = None;
    }

    /// Where a kind stands, for the course of a transaction.
    pub fn slot(database: usize, kind: usize) -> Slot {
        Slot { database: database as u32, kind: kind as u32 }
    }
}
