//! What lost against another site's change: kept with both values, and brought back as a new change when somebody asks.

use super::arrival::Arrivals;
use super::displaced::is_of_nobody;
use super::localize::LocalRows;
use super::write_rows::Present;
use crate::domain::database::Database;
use crate::domain::restore::TriggersOff;
use crate::domain::settle::{Circumstances, Reason};
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Value, ValueRef};
use crate::storage::document::Shape;
use crate::storage::guard::HEADER;
use crate::storage::json_reader::Unread;
use crate::storage::key::Key;
use crate::storage::payload_reader::read;
use crate::storage::shape::quote_identifier;
use crate::storage::store::PieceState;
use std::borrow::Cow;

/// A conflict that is to be listed: values with the site and the stamp of the change that made them.
pub(super) struct Conflict<'a> {
    pub(super) at: i64,
    pub(super) kind: usize,
    pub(super) key: &'a Value,
    /// None where whole pieces or records were at odds.
    pub(super) field: Option<&'a str>,
    pub(super) lost: (Value, i64, i64),
    pub(super) won: (Value, i64, i64),
    pub(super) flow: Option<i64>,
    /// The columns of the lost image.
    pub(super) shape: Option<i64>,
}

/// A conflict as it is listed.
struct Listed {
    kind: i64,
    key: Value,
    field: Option<String>,
    value: Value,
    columns: Option<String>,
    is_reinstated: bool,
}

impl Database {
    /// Lists a conflict, once however often the same change arrives.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn list_conflict(&mut self, conflict: &Conflict<'_>) -> Result<()> {
        let kind = self.kinds[conflict.kind].id;
        let field = conflict.field.map_or(ValueRef::Null, |field| ValueRef::Text(field.as_bytes()));
        let optional = |value: Option<i64>| value.map_or(ValueRef::Null, ValueRef::Integer);
        let list = self.own_statement(
            "INSERT INTO {s}.talon_conflict(at, kind, key, field, lost_value, lost_site, lost_stamp,
               won_value, won_site, won_stamp, flow, shape)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
             WHERE NOT EXISTS (SELECT 1 FROM {s}.talon_conflict WHERE kind = ?2 AND key = ?3 AND field IS ?4
               AND lost_site = ?6 AND lost_stamp = ?7)",
        )?;
        Ok(list.run(&[
            ValueRef::Integer(conflict.at),
            ValueRef::Integer(kind),
            conflict.key.as_ref(),
            field,
            conflict.lost.0.as_ref(),
            ValueRef::Integer(conflict.lost.1),
            ValueRef::Integer(conflict.lost.2),
            conflict.won.0.as_ref(),
            ValueRef::Integer(conflict.won.1),
            ValueRef::Integer(conflict.won.2),
            optional(conflict.flow),
            optional(conflict.shape),
        ])?)
    }

    fn listed_conflict(&mut self, id: i64) -> Result<Option<Listed>> {
        let asked = self.own_statement(
            "SELECT f.kind, f.key, f.field, f.lost_value, c.columns, f.reinstated_at IS NOT NULL
             FROM {s}.talon_conflict AS f LEFT JOIN {s}.talon_shape AS c ON c.id = f.shape WHERE f.id = ?1",
        )?;
        Ok(asked.first(&[ValueRef::Integer(id)], |row| {
            let text = |at: usize| row.column(at).as_str().map(str::to_owned);
            Ok(Listed {
                kind: row.column(0).as_integer().unwrap_or(0),
                key: row.column(1).to_value()?,
                field: text(2),
                value: row.column(3).to_value()?,
                columns: text(4),
                is_reinstated: row.column(5).as_integer() == Some(1),
            })
        })?)
    }
}

impl Talon {
    /// Brings back what lost a conflict, as a new change of this site; says which piece or record it was.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such conflict, or what it would write does not fit any more;
    /// [`Error::NotEditable`] where this site may not write it.
    pub fn reinstate(&self, schema: &str, id: i64) -> Result<String> {
        let place = self.database_to_write(schema)?;
        let triggers = TriggersOff::begin(self.connection);
        let done = self.atomically(schema, || {
            self.enlist()?;
            self.reinstate_at(place, id)
        });
        drop(triggers);
        self.course.borrow_mut().forget_states();
        done
    }

    fn reinstate_at(&self, place: usize, id: i64) -> Result<String> {
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        let listed = database
            .listed_conflict(id)?
            .ok_or_else(|| Error::Argument(format!("there is no conflict {id}")))?;
        if listed.is_reinstated {
            return Err(Error::Argument(format!("conflict {id} was reinstated already")));
        }
        let Some(kind) = database.place_of(listed.kind) else {
            return Err(Error::Argument(format!("the kind of conflict {id} is guarded no longer")));
        };
        let Some(key) = database.key_of(kind, &listed.key)? else {
            return Err(Error::Argument(format!("{} is no key any more", listed.key)));
        };
        let name = format!("{} {}", database.kinds[kind].name, key);
        let refused = |reason: String| Error::Argument(format!("{name}: {reason}"));
        if let Some(edit) = self.edit_of_another(database, kind, &key)? {
            return Err(refused(format!("being edited {}", edit.describe(&self.clock))));
        }
        // It is a write like a host's. One that was deleted is the same piece if it comes back this way.
        let was = database.store()?.piece(listed.kind, &listed.key)?;
        let was = was.map(|was| PieceState { gone_at: None, ..was });
        self.check_owner(database, kind, &key, was.as_ref())?;
        let is_there = database.own_key(kind, &key)?.is_some();
        if !is_there && is_of_nobody(&listed.key) {
            let problem = "its number was given to another one: enter anew what it lost";
            return Err(refused(problem.to_owned()));
        }
        let pending = self.connection.has_pending_foreign_keys();
        self.connection.compile_only("PRAGMA defer_foreign_keys = 1")?;
        match (&listed.field, &listed.value) {
            (Some(field), value) => database.put_field(kind, &key, field, value)?,
            (None, Value::Null) => database.delete_piece(kind, &key)?.map_err(&refused)?,
            (None, Value::Text(payload)) => {
                let columns = listed.columns.as_deref().unwrap_or("{}");
                database.put_image(kind, &key, payload, columns, is_there)?.map_err(&refused)?;
            }
            (None, _) => return Err(refused("what it lost cannot be read".to_owned())),
        }
        if !pending && self.connection.has_pending_foreign_keys() {
            return Err(refused(
                "rows that it refers to, or that refer to it, are in its way".to_owned(),
            ));
        }
        let about = Circumstances {
            created: !is_there,
            deleted: listed.field.is_none() && matches!(listed.value, Value::Null),
            reason: Reason::Restore,
            at: self.clock.now_ms(),
        };
        let who = self.station().clone();
        database.settle(&self.clock, who.as_ref(), kind, &key, None, about)?;
        database
            .own_statement("UPDATE {s}.talon_conflict SET reinstated_at = ?2 WHERE id = ?1")?
            .run(&[ValueRef::Integer(id), ValueRef::Integer(about.at)])?;
        Ok(name)
    }
}

impl Database {
    fn put_field(&mut self, kind: usize, key: &Key, field: &str, value: &Value) -> Result<()> {
        let guard = self.guard(kind)?;
        let header = guard.header();
        if !header.columns.iter().any(|column| column == field) {
            let table = &header.table.name;
            return Err(Error::Argument(format!("{table} has no column {field} any more")));
        }
        let matches: Vec<String> = (2..2 + header.key.len()).map(|at| format!("?{at}")).collect();
        let sql = format!(
            "UPDATE OR ABORT {} SET {} = ?1 WHERE {}",
            header.from_clause(&self.schema),
            quote_identifier(field),
            guard.header_matches(&matches)
        );
        let values: Vec<ValueRef<'_>> =
            std::iter::once(value.as_ref()).chain(key.values().iter().map(Value::as_ref)).collect();
        self.statement(kind, &sql)?.run(&values)?;
        match self.connection.changes() {
            0 => Err(Error::Argument(format!("{} {key} is not here", guard.kind))),
            _ => Ok(()),
        }
    }

    /// Writes an image that has this database's numbers.
    fn put_image(
        &mut self,
        kind: usize,
        key: &Key,
        payload: &[u8],
        columns: &str,
        is_there: bool,
    ) -> super::localize::Attempt<()> {
        let shape = Shape {
            number: 0,
            kind: Cow::Owned(self.kinds[kind].name.clone()),
            columns: Cow::Borrowed(columns),
            types: Cow::Borrowed("{}"),
            references: Vec::new(),
        };
        let mut arrivals = Arrivals::begin(self, 0, 0)?;
        let fitting = match arrivals.identities.fit(self, &shape)? {
            Ok(fitting) => fitting,
            Err(misfit) => return Ok(Err(misfit)),
        };
        let mut parts = match read(payload) {
            Ok(parts) => parts,
            Err(Unread::Memory) => return Err(Error::Memory),
            Err(Unread::Damaged(problem)) => return Ok(Err(problem)),
        };
        let mut rows = LocalRows {
            parts: Vec::new(),
            is_verbatim: false,
            aliases: Vec::new(),
            gone: Vec::new(),
        };
        for part in &fitting.parts {
            let found = parts.iter_mut().find(|(name, _)| *name == part.name);
            rows.parts.push(found.map(|(_, rows)| std::mem::take(rows)).unwrap_or_default());
        }
        if fitting.parts.first().is_none_or(|part| part.part != HEADER) {
            return Ok(Err("it has no header".to_owned()));
        }
        let present = match is_there {
            true => self.present(&fitting, key)?,
            false => Present::none(&fitting),
        };
        self.write_rows(&fitting, key, &mut rows, present)
    }
}
