//! Guards are declared, replaced, taken away, looked after.

use super::database::Database;
use super::settle::{Circumstances, Reason, Weighed};
use super::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Value, ValueRef};
use crate::storage::check::checking_triggers;
use crate::storage::definition::Definition;
use crate::storage::fit;
use crate::storage::guard::Guard;
use crate::storage::key::Key;
use crate::storage::schema::{FORMAT, facts, install, schema_version, upgrade};
use crate::storage::shape::quote_identifier;
use crate::storage::store::PieceState;
use crate::storage::trigger;

impl Talon {
    /// Declares a guard, or replaces the one of this kind; gives a line that says what is guarded.
    ///
    /// # Errors
    /// [`Error::Definition`] when it does not fit the schema; nothing is left half installed.
    pub fn declare(&self, schema: &str, kind: &str, definition: &Definition) -> Result<String> {
        if !self.has_schema(schema)? {
            return Err(Error::UnknownSchema(schema.to_owned()));
        }
        if kind.trim().is_empty() || kind.chars().any(char::is_control) {
            return Err(Error::Argument(format!(
                "{kind:?} is no name for a kind: give it a word such as 'sale'"
            )));
        }
        // Fitted once before anything is written, so that a mistake costs nothing.
        fit::fit(self.connection, schema, 0, kind, definition)?;
        // Tables with more columns than a host allows itself are read into the schema as they are made.
        let _lifted = self.connection.lift_limits();
        let guard = self.declaring(schema, || {
            let number = self.have_tables(schema)?;
            self.check_nature(schema, kind, definition)?;
            let id = self.kind_row(schema, kind, definition)?;
            let guard = fit::fit(self.connection, schema, id, kind, definition)?;
            let installed = trigger::installed(self.connection, schema, id)?;
            self.drop_triggers(schema, id)?;
            self.create_triggers(&guard, schema, number, FORMAT)?;
            self.create_checking_triggers(&guard, schema, number, &installed)?;
            self.note_schema_version(schema)?;
            if definition.sync.is_some() {
                self.forget_definitions();
                self.tell_kind(schema, kind)?;
            }
            Ok(guard)
        })?;
        self.forget_definitions();
        Ok(described(&guard, schema))
    }

    /// Makes Talon's tables in a file that has none, brings older ones up to date; gives the file's number. Run inside a
    /// savepoint.
    pub(super) fn have_tables(&self, schema: &str) -> Result<i64> {
        self.discover()?;
        match self.database_place(schema) {
            Ok(place) => {
                let database = &mut self.databases()?[place];
                self.upgrade_tables(database)?;
                // Before it is noted that all triggers are whole.
                self.mend_at_commit(database)?;
                Ok(database.number)
            }
            Err(Error::NotInstalled(_)) => install(self.connection, schema),
            Err(error) => Err(error),
        }
    }

    /// Pieces do not become records, nor records pieces: what is stored of them speaks of lines, or does not.
    fn check_nature(&self, schema: &str, kind: &str, definition: &Definition) -> Result<()> {
        let quoted = quote_identifier(schema);
        let sql = format!(
            "SELECT k.definition FROM {quoted}.talon_kind AS k WHERE k.kind = ?1
               AND EXISTS (SELECT 1 FROM {quoted}.talon_piece AS p WHERE p.kind = k.id)"
        );
        let known = self.connection.value(&sql, &[ValueRef::Text(kind.as_bytes())])?;
        let known = known.as_ref().and_then(|known| known.as_ref().as_str());
        let Some(known) = known.and_then(|known| Definition::from_json(kind, known).ok()) else {
            return Ok(());
        };
        if known.is_of_records() == definition.is_of_records() {
            return Ok(());
        }
        let (are, other) = match known.is_of_records() {
            true => ("records", "guarded as pieces"),
            false => ("pieces", "tracked as records"),
        };
        Err(Error::Definition {
            kind: kind.to_owned(),
            problem: format!("there are {are} of this kind: what is to be {other} needs another"),
        })
    }

    fn kind_row(&self, schema: &str, kind: &str, definition: &Definition) -> Result<i64> {
        let quoted = quote_identifier(schema);
        let json = definition.to_json();
        let (kind, json) = (ValueRef::Text(kind.as_bytes()), ValueRef::Text(json.as_bytes()));
        self.connection.run(
            &format!(
                "INSERT INTO {quoted}.talon_kind(kind, definition, guarded, schema_version) VALUES (?1, ?2, 1, 0)
                 ON CONFLICT (kind) DO UPDATE SET definition = excluded.definition,
                   suspect_since = CASE guarded WHEN 1 THEN suspect_since ELSE ?3 END, guarded = 1"
            ),
            &[kind, json, ValueRef::Integer(self.clock.now_ms())],
        )?;
        let id = self
            .connection
            .value(&format!("SELECT id FROM {quoted}.talon_kind WHERE kind = ?1"), &[kind])?;
        match id {
            Some(Value::Integer(id)) => Ok(id),
            _ => Err(Error::Argument("the kind's row is not there".to_owned())),
        }
    }

    /// Takes a guard's triggers away and keeps its snapshots.
    ///
    /// # Errors
    /// [`Error::UnknownKind`].
    pub fn undeclare(&self, schema: &str, kind: &str) -> Result<String> {
        // A declaration just before has left the kinds to be read again.
        let database = self.database_place(schema)?;
        self.databases()?[database].refresh()?;
        let place = self.kind_place(schema, kind)?;
        let (schema, id) = {
            let databases = self.databases()?;
            (
                databases[place.database].schema.clone(),
                databases[place.database].kinds[place.kind].id,
            )
        };
        // What marks speak of is imaged while the guard still says how.
        self.absorb(place.database)?;
        self.declaring(&schema, || {
            self.release_all(&mut self.databases()?[place.database], place.kind)?;
            self.drop_triggers(&schema, id)?;
            let sql = format!(
                "UPDATE {}.talon_kind SET guarded = 0 WHERE id = ?1",
                quote_identifier(&schema)
            );
            Ok(self.connection.run(&sql, &[ValueRef::Integer(id)])?)
        })?;
        self.forget_databases();
        Ok(format!("{kind} is no longer guarded; its snapshots stay"))
    }

    /// Creates the triggers that ask the checks of a kind; `installed` are those that were there before.
    fn create_checking_triggers(
        &self,
        guard: &Guard,
        schema: &str,
        number: i64,
        installed: &[trigger::Installed],
    ) -> Result<()> {
        for trigger in checking_triggers(self.connection, schema, number, guard, installed)? {
            self.connection.run(&trigger.sql, &[])?;
        }
        Ok(())
    }

    fn drop_triggers(&self, schema: &str, id: i64) -> Result<()> {
        for installed in trigger::installed(self.connection, schema, id)? {
            self.connection.run(
                &format!(
                    "DROP TRIGGER {}.{}",
                    quote_identifier(schema),
                    quote_identifier(&installed.name)
                ),
                &[],
            )?;
        }
        Ok(())
    }

    fn create_triggers(&self, guard: &Guard, schema: &str, number: i64, format: i64) -> Result<()> {
        for trigger in trigger::triggers(guard, schema, number, format) {
            self.connection.run(&trigger.sql, &[])?;
        }
        Ok(())
    }

    /// Notes that all triggers of a schema are whole as the schema stands now.
    pub(super) fn note_schema_version(&self, schema: &str) -> Result<()> {
        let version = schema_version(self.connection, schema)?;
        let sql = format!(
            "UPDATE {}.talon_kind SET schema_version = ?1 WHERE guarded = 1",
            quote_identifier(schema)
        );
        Ok(self.connection.run(&sql, &[ValueRef::Integer(version)])?)
    }

    /// A kind is not guarded any more. What the open transaction has touched of it is imaged all the same.
    fn forget_databases(&self) {
        if self.course.borrow().is_empty() {
            self.forget_definitions();
        }
    }

    /// Snapshots every piece of a kind that has none; gives how many.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn baseline(&self, schema: &str, kind: &str) -> Result<i64> {
        let place = self.place_to_write(schema, kind)?;
        let result = self.atomically(schema, || {
            let mut databases = self.databases()?;
            let database = &mut databases[place.database];
            let guard = database.guard(place.kind)?;
            let header = guard.header();
            let columns = header.key.len();
            let mut scan = self.connection.prepare(&header.select_keys(&database.schema))?;
            let about = Circumstances::of(Reason::Baseline, self.clock.now_ms());
            let id = database.kinds[place.kind].id;
            let mut count = 0;
            let mut rows = scan.query(&[])?;
            while rows.next()? {
                let key = Key::of(rows.values(0..columns)?);
                if key.has_null() {
                    continue;
                }
                let state = database.store()?.piece(id, &key.shown()?)?;
                if state.as_ref().is_some_and(|state| state.saved) {
                    continue;
                }
                let who = self.station();
                let settled = database.settle(
                    &self.clock,
                    who.as_ref(),
                    place.kind,
                    &key,
                    Some(state),
                    about,
                )?;
                count += i64::from(settled.snapshot.is_some());
            }
            Ok(count)
        });
        self.course.borrow_mut().forget_states();
        result
    }

    /// Accepts that a piece has no lines.
    ///
    /// # Errors
    /// [`Error::UnknownPiece`]; [`Error::Argument`] when it has lines.
    pub fn dismiss(&self, schema: &str, kind: &str, piece: ValueRef<'_>) -> Result<String> {
        let place =
            self.look(schema, Some(kind))?.ok_or_else(|| Error::NotInstalled(schema.to_owned()))?;
        let result = self.atomically(schema, || {
            let mut databases = self.databases()?;
            let database = &mut databases[place.database];
            let key = database.named_piece(place.kind, piece)?;
            let unknown = || Error::UnknownPiece { kind: kind.to_owned(), piece: key.to_string() };
            if !database.read(place.kind, &key)? {
                return self.accept_as_deleted(database, place.kind, &key)?.ok_or_else(unknown);
            }
            if database.guard(place.kind)?.is_of_records() {
                return Err(Error::Argument(format!(
                    "{kind} {key} is there, and a record has no lines to miss: there is nothing to dismiss"
                )));
            }
            if database.image.lines > 0 {
                return Err(Error::HasLines {
                    kind: kind.to_owned(),
                    piece: key.to_string(),
                    lines: database.image.lines,
                });
            }
            let id = database.kinds[place.kind].id;
            let shown = key.shown()?;
            let was = database.store()?.piece(id, &shown)?.ok_or_else(unknown)?;
            let mut now = was.clone();
            now.dismissed_at = Some(self.clock.now_ms());
            now.lost_at = None;
            database.store()?.put_piece(id, &shown, Some(&was), Some(&now))?;
            Ok(format!("{kind} {key} is accepted without lines"))
        });
        self.course.borrow_mut().forget_states();
        result
    }

    /// A piece whose header is gone, nobody knows how, is deleted from here on, and one that was deposited is expected no
    /// more; None when it is no such piece.
    fn accept_as_deleted(
        &self,
        database: &mut Database,
        kind: usize,
        key: &Key,
    ) -> Result<Option<String>> {
        let (id, shown) = (database.kinds[kind].id, key.shown()?);
        let Some(was) = database.store()?.piece(id, &shown)? else { return Ok(None) };
        if was.gone_at.is_some() || database.own_key(kind, key)?.is_some() {
            return Ok(None);
        }
        let gone_at = Some(self.clock.now_ms());
        let now = PieceState { staged: false, gone_at, lost_at: None, ..was.clone() };
        let is_staged = was.staged;
        let at = self.clock.now_ms();
        database.keep(&self.clock, kind, Weighed::of_state(key.clone(), was, now, at), None)?;
        let accepted = if is_staged { "not expected any more" } else { "accepted as deleted" };
        Ok(Some(format!("{} {key} is {accepted}", database.kinds[kind].name)))
    }

    /// What every call that looks does first: finds the files, mends triggers that are gone, absorbs marks. What cannot
    /// be written now (another writer, a read-only file) is left for the next call.
    ///
    /// # Errors
    /// [`Error::UnknownSchema`], [`Error::NotInstalled`], [`Error::UnknownKind`].
    pub fn look(&self, schema: &str, kind: Option<&str>) -> Result<Option<super::talon::Place>> {
        let place = self.database_place(schema)?;
        self.databases()?[place].refresh()?;
        self.tend(place)?;
        match kind {
            Some(kind) => self.kind_place(schema, kind).map(Some),
            None => Ok(None),
        }
    }

    /// The place of a kind for a call that writes.
    ///
    /// # Errors
    /// As [`Talon::database_to_write`], and [`Error::UnknownKind`].
    pub fn place_to_write(&self, schema: &str, kind: &str) -> Result<super::talon::Place> {
        self.database_to_write(schema)?;
        self.kind_place(schema, kind)
    }

    /// The database behind a schema for a call that writes: its tables are this library's, its marks absorbed.
    ///
    /// # Errors
    /// As [`Talon::look`], [`Talon::need_tables`] and [`Talon::absorb_first`].
    pub fn database_to_write(&self, schema: &str) -> Result<usize> {
        // What a look cannot do for want of the lock it leaves for later, each time after the whole busy timeout: whoever
        // is going to write waits once, here.
        self.wait_to_write(schema)?;
        self.look(schema, None)?;
        let place = self.database_place(schema)?;
        self.need_tables(place)?;
        self.absorb_first(place)?;
        Ok(place)
    }

    /// Absorbs what a look has left. A call that goes by what is known must not find less to do because a disk is full:
    /// it fails.
    ///
    /// # Errors
    /// What SQLite reports of the machine; what is about one piece is left for later.
    pub(super) fn absorb_first(&self, place: usize) -> Result<()> {
        let has_marks = self.databases()?[place].has_marks()?;
        if !has_marks || self.is_readonly(place)? {
            return Ok(());
        }
        match self.absorb(place) {
            Err(error) if error.is_fatal() => Err(error),
            _ => Ok(()),
        }
    }

    /// Sees that a file has all of this library's tables.
    ///
    /// # Errors
    /// [`Error::OlderFormat`] where they cannot be made, or what SQLite reports.
    pub fn need_tables(&self, place: usize) -> Result<()> {
        let (schema, found) = {
            let database = &self.databases()?[place];
            (database.schema.clone(), database.format)
        };
        if found < FORMAT && self.is_readonly(place)? {
            return Err(Error::OlderFormat { schema, found, needed: FORMAT });
        }
        self.upgrade(place)
    }

    fn tend(&self, place: usize) -> Result<()> {
        self.mend_softly(place)?;
        let has_marks = self.databases()?[place].has_marks()?;
        if has_marks && !self.is_readonly(place)? {
            self.softly(|| self.absorb(place).map(drop))?;
        }
        Ok(())
    }

    /// Upgrades Talon's tables and mends triggers unless that cannot be written now.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn mend_softly(&self, place: usize) -> Result<()> {
        if self.is_readonly(place)? {
            return Ok(());
        }
        self.softly(|| {
            self.upgrade(place)?;
            self.mend_triggers(place)
        })
    }

    /// Brings the tables of an older library up to date.
    ///
    /// # Errors
    /// What SQLite reports.
    fn upgrade(&self, place: usize) -> Result<()> {
        let schema = {
            let database = &self.databases()?[place];
            if database.format == FORMAT {
                return Ok(());
            }
            database.schema.clone()
        };
        self.declaring(&schema, || self.upgrade_tables(&mut self.databases()?[place]))?;
        self.databases()?[place].is_of_format(FORMAT);
        Ok(())
    }

    /// The same inside a savepoint. Another connection may have done it since the file was opened here.
    pub(super) fn upgrade_tables(&self, database: &mut Database) -> Result<()> {
        if database.format == FORMAT {
            return Ok(());
        }
        let format = facts(self.connection, &database.schema)?.map_or(0, |facts| facts.format);
        if format == FORMAT {
            return Ok(());
        }
        // Triggers that are whole are written anew as this format has them; others are left to be mended, and their kinds
        // to be looked at.
        let mut whole = Vec::new();
        for kind in database.guarded_kinds() {
            if !database.fits(kind)? {
                continue;
            }
            let guard = database.guard(kind)?;
            if missing_triggers(self, &guard, database)?.is_empty() {
                whole.push(guard);
            }
        }
        upgrade(self.connection, &database.schema, format)?;
        for guard in whole {
            self.drop_triggers(&database.schema, guard.id)?;
            self.create_triggers(&guard, &database.schema, database.number, FORMAT)?;
        }
        Ok(())
    }

    /// Leaves for later what fails, unless memory is short, or SQLite has ended the host's transaction over it (a full disk):
    /// that the host must hear.
    fn softly(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let was_open = !self.connection.is_autocommit();
        match work() {
            Err(error)
                if matches!(error, Error::Memory)
                    || was_open && self.connection.is_autocommit() =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn is_readonly(&self, place: usize) -> Result<bool> {
        let databases = self.databases()?;
        Ok(self.connection.is_readonly(&databases[place].schema))
    }

    /// Creates triggers that a migration has dropped with their table, and notes since when pieces may have changed
    /// unseen.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn mend_triggers(&self, place: usize) -> Result<()> {
        let is_stale = {
            let mut databases = self.databases()?;
            self.has_moved(&mut databases[place])?
        };
        if !is_stale {
            return Ok(());
        }
        let schema = self.databases()?[place].schema.clone();
        self.atomically(&schema, || self.mend(&mut self.databases()?[place]))
    }

    /// The same as part of a commit, where no savepoint can be opened: what is half done is done again by the next.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn mend_at_commit(&self, database: &mut Database) -> Result<()> {
        if self.has_moved(database)? { self.mend(database) } else { Ok(()) }
    }

    /// Whether the schema has changed since the triggers were last seen whole.
    fn has_moved(&self, database: &mut Database) -> Result<bool> {
        database.refresh()?;
        let version = database.schema_version;
        if database.whole_at == Some(version) {
            return Ok(false);
        }
        let stale = self.connection.value(
            &format!(
                "SELECT 1 FROM {}.talon_kind WHERE guarded = 1 AND schema_version <> ?1 LIMIT 1",
                quote_identifier(&database.schema)
            ),
            &[ValueRef::Integer(version)],
        )?;
        if stale.is_none() {
            database.whole_at = Some(version);
        }
        Ok(stale.is_some())
    }

    fn mend(&self, database: &mut Database) -> Result<()> {
        let (schema, number, format) = (database.schema.clone(), database.number, database.format);
        let mut mended = false;
        for kind in database.guarded_kinds() {
            // A guard that does not fit stays as it is until it is declared anew.
            if !database.fits(kind)? {
                continue;
            }
            let guard = database.guard(kind)?;
            let missing = missing_triggers(self, &guard, database)?;
            if missing.is_empty() {
                continue;
            }
            // One that was renamed or half dropped is made whole.
            let installed = trigger::installed(self.connection, &schema, guard.id)?;
            self.drop_triggers(&schema, guard.id)?;
            self.create_triggers(&guard, &schema, number, format)?;
            self.create_checking_triggers(&guard, &schema, number, &installed)?;
            let at = self.clock.now_ms();
            self.connection.run(
                &format!(
                    "UPDATE {}.talon_kind SET suspect_since = coalesce(suspect_since, ?2) WHERE id = ?1",
                    quote_identifier(&schema)
                ),
                &[ValueRef::Integer(guard.id), ValueRef::Integer(at)],
            )?;
            database.kinds[kind].suspect_since.get_or_insert(at);
            mended = true;
        }
        self.note_schema_version(&schema)?;
        if mended {
            database.refit()?;
        }
        Ok(())
    }
}

/// The triggers that a guard needs and that are not there, or not as they should be.
///
/// # Errors
/// What SQLite reports.
pub fn missing_triggers(talon: &Talon, guard: &Guard, database: &Database) -> Result<Vec<String>> {
    let (schema, number) = (&database.schema, database.number);
    let installed = trigger::installed(talon.connection, schema, guard.id)?;
    let checking = checking_triggers(talon.connection, schema, number, guard, &installed)?;
    Ok(trigger::triggers(guard, schema, number, database.format)
        .into_iter()
        .chain(checking)
        .filter(|trigger| {
            !installed.iter().any(|found| found.name == trigger.name && found.sql == trigger.kept)
        })
        .map(|trigger| trigger.name)
        .collect())
}

fn described(guard: &Guard, schema: &str) -> String {
    let parts: Vec<String> = guard
        .parts
        .iter()
        .map(|part| {
            let key = part.key.join(", ");
            let by = if part.link.is_empty() {
                format!("key {key}")
            } else {
                let of = &guard.parts[part.parent].name;
                format!("{} -> {of}, key {key}", part.link.join(", "))
            };
            format!("{} {} ({by})", part.name, quote_if_needed(&part.table.name))
        })
        .collect();
    let place =
        if schema.eq_ignore_ascii_case("main") { String::new() } else { format!(" in {schema}") };
    if guard.is_of_records() {
        let header = guard.header();
        let (table, key) = (quote_if_needed(&header.table.name), header.key.join(", "));
        return format!("{} is tracked{place}: {table} (key {key})", guard.kind);
    }
    format!("{} is guarded{place}: {}", guard.kind, parts.join("; "))
}

fn quote_if_needed(name: &str) -> String {
    let is_plain = name.chars().all(|character| character.is_alphanumeric() || character == '_');
    if is_plain { name.to_owned() } else { quote_identifier(name) }
}
