//! What was there before a kind was synchronised: every piece and record is told once.

use crate::domain::database::Database;
use crate::domain::settle::{Circumstances, Reason};
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Value, ValueRef};
use crate::storage::change_store::NewChange;
use crate::storage::key::Key;
use crate::storage::policy::{Direction, Owner};
use crate::storage::waiting::FOUND;

impl Talon {
    /// Tells every piece of a kind that no other site knows of yet, where this database has said which site it is. Run inside
    /// a savepoint.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(in crate::domain) fn tell_kind(&self, schema: &str, kind: &str) -> Result<()> {
        self.discover()?;
        let database = self.database_place(schema)?;
        self.databases()?[database].refresh()?;
        let place = self.kind_place(schema, kind)?;
        let mut databases = self.databases()?;
        let database = &mut databases[place.database];
        if database.own_site()?.is_none() {
            return Ok(());
        }
        let guard = database.guard(place.kind)?;
        let header = guard.header();
        let mut scan = self.connection.prepare(&header.select_keys(&database.schema))?;
        let mut rows = scan.query(&[])?;
        while rows.next()? {
            let key = Key::of(rows.values(0..header.key.len())?);
            if !key.has_null() {
                self.tell_piece(database, place.kind, &key)?;
            }
        }
        Ok(())
    }

    /// Tells every piece of every kind that is synchronised: this database has just said which site it is. Run inside a
    /// savepoint.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn tell_all(&self, schema: &str) -> Result<()> {
        let place = self.database_place(schema)?;
        let names: Vec<String> = {
            let mut databases = self.databases()?;
            let database = &mut databases[place];
            database.forget_site();
            database.refresh()?;
            let mut names = Vec::new();
            for kind in database.guarded_kinds() {
                let known = &database.kinds[kind];
                if known.definition.sync.is_none() {
                    continue;
                }
                let name = known.name.clone();
                match database.guard(kind) {
                    Ok(_) => names.push(name),
                    // It is told when it is declared anew.
                    Err(Error::Definition { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            names
        };
        names.iter().try_for_each(|kind| self.tell_kind(schema, kind))
    }

    fn tell_piece(&self, database: &mut Database, kind: usize, key: &Key) -> Result<()> {
        let Some(site) = database.own_site()? else { return Ok(()) };
        let id = database.kinds[kind].id;
        let shown = key.shown()?;
        let state = database.store()?.piece(id, &shown)?;
        if state.as_ref().is_some_and(|state| state.change().is_some())
            || database.refusal(&self.clock, &site, kind, key, state.as_ref())?.is_some()
            || database.not_to_be_created(&site, kind, key)?.is_some()
        {
            return Ok(());
        }
        let about = Circumstances::of(Reason::Baseline, self.clock.now_ms());
        let who = self.station();
        let settled = database.settle(&self.clock, who.as_ref(), kind, key, Some(state), about)?;
        let guard = database.guard(kind)?;
        let comes_down = guard.sync.as_ref().is_some_and(|policy| {
            policy.direction != Direction::Up && policy.owner != Owner::Central
        });
        if comes_down && settled.now.as_ref().is_some_and(|now| now.saved) {
            database.note_found(id, &settled.key.shown()?)?;
        }
        let Some(was) = settled.now.filter(|now| now.change().is_none() && now.saved) else {
            return Ok(());
        };
        // Its image is stored already: that is told.
        let shown = settled.key.shown()?;
        let change = NewChange {
            kind: id,
            key: &shown,
            version: was.version,
            stamp: database.stamp(&self.clock)?,
            site: site.id,
            snapshot: was.last,
            previous: None,
            via: None,
            flow: None,
            fields: None,
        };
        database.store()?.prepare_synchronised()?;
        database.together(|database| {
            let mut now = was.clone();
            now.sync_mut().change = Some(database.insert_change(&change)?);
            database.store()?.put_piece(id, &shown, Some(&was), Some(&now))
        })
    }
}

/// At a remote that has nothing of central's yet.
const FIND: &str = "INSERT OR IGNORE INTO {s}.talon_held(site, kind, key, reason)
    SELECT c.id, ?1, ?2, ?3 FROM {s}.talon_site AS c JOIN {s}.talon_meta AS m ON m.name = 'site' AND m.value <> c.id
    WHERE c.role = 'central' AND NOT EXISTS
      (SELECT 1 FROM {s}.talon_flow AS f WHERE f.sender = c.id AND f.receiver = m.value AND f.ended IS NOT NULL)";

impl Database {
    /// Notes that a piece was there before anything of central's came, which may be one that central has, too: it is not told
    /// before central has said what it has, where central says that of this kind.
    fn note_found(&mut self, kind: i64, key: &Value) -> Result<()> {
        let values = [ValueRef::Integer(kind), key.as_ref(), ValueRef::Text(FOUND.as_bytes())];
        Ok(self.own_statement(FIND)?.run(&values)?)
    }
}
