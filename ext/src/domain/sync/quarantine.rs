//! Documents that could not be applied: kept as they travel, each with its reason, and tried again.

use super::arrival::Arrivals;
use super::localize::Attempt;
use super::together::Together;
use crate::domain::database::Database;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Room, Value, ValueRef};
use crate::storage::document::{Document, Line};
use crate::storage::document_reader::read;
use std::cell::RefCell;
use std::rc::Rc;

/// A document that was set aside.
struct SetAside {
    line: Vec<u8>,
    shape: Option<Vec<u8>>,
    flow: Option<i64>,
}

impl Database {
    /// Sets a document aside, in the place of an older state of the same that its site has made.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn set_aside(
        &mut self,
        document: &Document<'_>,
        line: &[u8],
        shape: Option<&[u8]>,
        flow: Option<i64>,
        at: i64,
        reason: &str,
    ) -> Result<()> {
        let (stamp, site) =
            document.change().map_or((0, ""), |change| (change.stamp, &change.site));
        let shape = shape.map_or(ValueRef::Null, ValueRef::Text);
        let put = self.own_statement(
            "INSERT INTO {s}.talon_quarantined(direction, kind, origin, key, stamp, site, flow, at, tries, reason, document, columns)
             VALUES ('in', ?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8, ?9, ?10)
             ON CONFLICT (direction, kind, origin, key, site) DO UPDATE SET
               (stamp, flow, tries, reason, document, columns) =
               (excluded.stamp, coalesce(excluded.flow, flow), tries + 1, excluded.reason, excluded.document,
                coalesce(excluded.columns, columns))
             WHERE excluded.stamp >= stamp",
        )?;
        Ok(put.run(&[
            ValueRef::Text(document.kind.as_bytes()),
            ValueRef::Text(document.origin.as_bytes()),
            document.key.as_ref(),
            ValueRef::Integer(stamp),
            ValueRef::Text(site.as_bytes()),
            flow.map_or(ValueRef::Null, ValueRef::Integer),
            ValueRef::Integer(at),
            ValueRef::Text(reason.as_bytes()),
            ValueRef::Blob(line),
            shape,
        ])?)
    }

    /// Older states of a document need no trying any more: those of its own site once it got `through`, those of `others` where
    /// it was made by who knew them.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn leave_quarantine(
        &mut self,
        document: &Document<'_>,
        through: bool,
        others: bool,
    ) -> Result<()> {
        let (stamp, site) =
            document.change().map_or((i64::MAX, ""), |change| (change.stamp, &change.site));
        let remove = self.own_statement(
            "DELETE FROM {s}.talon_quarantined
             WHERE direction = 'in' AND kind = ?1 AND origin = ?2 AND key = ?3
               AND (stamp, upper(site)) <= (?4, upper(?5)) AND CASE upper(site) WHEN upper(?5) THEN ?6 ELSE ?7 END",
        )?;
        Ok(remove.run(&[
            ValueRef::Text(document.kind.as_bytes()),
            ValueRef::Text(document.origin.as_bytes()),
            document.key.as_ref(),
            ValueRef::Integer(stamp),
            ValueRef::Text(site.as_bytes()),
            ValueRef::Integer(i64::from(through)),
            ValueRef::Integer(i64::from(others)),
        ])?)
    }

    /// The documents set aside, oldest first, and the flows that brought them.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn quarantined(&mut self) -> Result<Vec<(i64, Option<i64>)>> {
        let asked = self.own_statement(
            "SELECT id, flow FROM {s}.talon_quarantined WHERE direction = 'in' ORDER BY id",
        )?;
        let (mut rows, mut ids) = (asked.query(&[])?, Vec::new());
        while rows.next()? {
            let id = rows.column(0).as_integer().unwrap_or(0);
            ids.try_push((id, rows.column(1).as_integer()))?;
        }
        Ok(ids)
    }

    fn read_set_aside(&mut self, id: i64) -> Result<Option<SetAside>> {
        let asked = self.own_statement(
            "SELECT document, columns, flow FROM {s}.talon_quarantined WHERE id = ?1 AND direction = 'in'",
        )?;
        let found = asked.first(&[ValueRef::Integer(id)], |row| {
            Ok((row.column(0).to_value()?, row.column(1).to_value()?, row.column(2).as_integer()))
        })?;
        let bytes = |value: Value| match value {
            Value::Blob(bytes) | Value::Text(bytes) => Some(bytes.to_vec()),
            _ => None,
        };
        Ok(found.map(|(line, shape, flow)| SetAside {
            line: bytes(line).unwrap_or_default(),
            shape: bytes(shape),
            flow,
        }))
    }
}

impl Talon {
    /// Tries one document again; true when it got through.
    ///
    /// # Errors
    /// What concerns the machine, not the document.
    pub(super) fn try_again(&self, database: &mut Database, id: i64) -> Result<bool> {
        self.try_with(database, id, None)
    }

    /// The same together with others that it refers to, and they to it.
    ///
    /// # Errors
    /// What concerns the machine, not the document.
    pub(super) fn try_with(
        &self,
        database: &mut Database,
        id: i64,
        together: Option<&Rc<RefCell<Together>>>,
    ) -> Result<bool> {
        let Some(aside) = database.read_set_aside(id)? else { return Ok(true) };
        match self.try_aside(database, &aside, together) {
            Ok(Ok(is_applied)) => Ok(is_applied),
            Ok(Err(reason)) => database.note_try(id, &reason),
            // Damage to what lies here is no fault of the flow that is being applied.
            Err(error @ Error::Flow { .. }) => database.note_try(id, &error.to_string()),
            Err(error) => Err(error),
        }
    }

    fn try_aside(
        &self,
        database: &mut Database,
        aside: &SetAside,
        together: Option<&Rc<RefCell<Together>>>,
    ) -> Attempt<bool> {
        let mut arrivals = match self.arrivals_of(database, aside.flow)? {
            Ok(arrivals) => arrivals,
            Err(reason) => return Ok(Err(reason)),
        };
        arrivals.identities.together = together.cloned();
        if let Some(shape) = &aside.shape
            && let Line::Shape(shape_read) = read(shape)?
        {
            arrivals.shape(database, &shape_read, shape)?;
        }
        let Line::Document(document) = read(&aside.line)? else {
            return Ok(Err("what is kept of it is no document".to_owned()));
        };
        arrivals.has_quarantine = true;
        Ok(Ok(arrivals.document(self, database, &document, &aside.line)?))
    }

    /// What documents of a flow that came before have in common.
    fn arrivals_of(&self, database: &mut Database, flow: Option<i64>) -> Attempt<Arrivals> {
        let at = self.clock.now_ms();
        let Some(flow) = flow else { return Ok(Err("its flow is not known any more".to_owned())) };
        let Some((mut arrivals, head)) = Arrivals::of_flow(database, flow, at)? else {
            return Ok(Err(format!("its flow {flow} is not known any more")));
        };
        arrivals.known = head.since;
        Ok(Ok(arrivals))
    }
}

impl Database {
    fn note_try(&mut self, id: i64, reason: &str) -> Result<bool> {
        self.own_statement(
            "UPDATE {s}.talon_quarantined SET tries = tries + 1, reason = ?2 WHERE id = ?1",
        )?
        .run(&[ValueRef::Integer(id), ValueRef::Text(reason.as_bytes())])?;
        Ok(false)
    }

    /// Who sent a flow, and what its first line says.
    ///
    /// # Errors
    /// What SQLite reports; [`Error::Flow`].
    pub(super) fn flow_head(
        &mut self,
        flow: i64,
    ) -> Result<Option<(i64, crate::storage::document::Head)>> {
        let asked = self.own_statement("SELECT sender, head FROM {s}.talon_flow WHERE id = ?1")?;
        let found = asked.first(&[ValueRef::Integer(flow)], |row| {
            Ok((row.column(0).as_integer().unwrap_or(0), row.column(1).to_value()?))
        })?;
        let Some((sender, Value::Text(head))) = found else { return Ok(None) };
        match read(&head)? {
            Line::Head(head) => Ok(Some((sender, *head))),
            _ => Err(Error::Flow { problem: format!("the head of flow {flow} cannot be read") }),
        }
    }
}
