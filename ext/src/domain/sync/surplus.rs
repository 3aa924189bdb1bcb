//! What a full load leaves over: rows here that central has not named, of the kinds that it brings. They go without being
//! deleted anywhere else, children first; what central does not know yet stays, and what is in use waits in quarantine.

use super::arrival::{Arrivals, Subject};
use crate::domain::database::Database;
use crate::domain::talon::Talon;
use crate::error::Result;
use crate::sqlite::{Room, Value, ValueRef};
use crate::storage::document::{Body, Document, Head};
use crate::storage::key::Key;
use crate::storage::policy::{Direction, Owner};
use crate::storage::shape::{quote_identifier, quote_list};
use crate::storage::store::PieceState;
use crate::storage::waiting::IS_HELD;
use std::borrow::Cow;

/// Rows that are looked at in one transaction.
const MOST_SEEN: i64 = 2000;
/// Rows that are removed in one transaction.
const MOST_REMOVED: i64 = 500;

const LIST: &str = "INSERT OR IGNORE INTO {s}.talon_listed(flow, kind, key) VALUES (?1, ?2, ?3)";
const IS_LISTED: &str = "SELECT 1 FROM {s}.talon_listed WHERE flow = ?1 AND kind = ?2 AND key = ?3";
/// Where a change came from, and in which flow of which site.
const CAME: &str = "SELECT c.via, f.sender, f.number FROM {s}.talon_change AS c LEFT JOIN {s}.talon_flow AS f ON f.id = c.flow
    WHERE c.seq = ?1";

/// What is left over, as far as it was looked for.
pub(super) struct Surplus {
    flow: i64,
    /// The flow's number at central.
    number: i64,
    /// Kinds still to be gone through, the next one last.
    kinds: Vec<usize>,
    /// The last key seen of the next one.
    after: Option<Vec<Value>>,
    /// How many were removed.
    pub(super) removed: i64,
}

impl Surplus {
    /// Of a full load.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn begin(
        database: &mut Database,
        arrivals: &mut Arrivals,
        flow: i64,
        head: &Head,
    ) -> Result<Surplus> {
        let mut kinds = Vec::new();
        for kind in database.guarded_kinds() {
            let is_brought =
                head.tables.iter().any(|table| table.kind == database.kinds[kind].name);
            if !is_brought || !database.fits(kind)? {
                continue;
            }
            let layout = arrivals.identities.layout(database, kind)?;
            if layout.is_some_and(|layout| layout.policy.direction != Direction::Up) {
                kinds.try_push(kind)?;
            }
        }
        let ranks = arrivals.identities.ranks(database, &kinds)?;
        let mut kinds: Vec<(usize, usize)> = ranks.into_iter().zip(kinds).collect();
        kinds.sort_unstable();
        Ok(Surplus {
            flow,
            number: head.flow.number,
            kinds: kinds.into_iter().map(|(_, kind)| kind).collect(),
            after: None,
            removed: 0,
        })
    }

    /// Notes that central has named a document: what is here of it stays.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn list(
        &self,
        database: &mut Database,
        arrivals: &mut Arrivals,
        document: &Document<'_>,
    ) -> Result<()> {
        if matches!(document.body, Body::Gone(_) | Body::Left) {
            return Ok(());
        }
        let kind = database.place_of_name(&document.kind);
        let (Some(kind), Some(origin)) = (kind, arrivals.identities.site(&document.origin)) else {
            return Ok(());
        };
        if !database.fits(kind)? {
            return Ok(());
        }
        let found = arrivals.identities.find(database, kind, origin, &document.key)?;
        let layout = arrivals.identities.layout(database, kind)?;
        let is_of_central = layout.is_some_and(|layout| layout.policy.owner == Owner::Central);
        let key = match found {
            Some((key, _)) => key,
            // What could not be applied may stand here without anything known of it.
            None if is_of_central => document.key.clone(),
            None => return Ok(()),
        };
        let [flow, kind] = [self.flow, database.kinds[kind].id].map(ValueRef::Integer);
        Ok(database.own_statement(LIST)?.run(&[flow, kind, key.as_ref()])?)
    }

    /// Removes what is left over among the next rows; true when there are no more.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn remove(
        &mut self,
        talon: &Talon,
        database: &mut Database,
        arrivals: &mut Arrivals,
    ) -> Result<bool> {
        let Some(kind) = self.kinds.last().copied() else { return Ok(true) };
        let keys = self.page(database, kind)?;
        if keys.is_empty() {
            self.kinds.pop();
            self.after = None;
            return Ok(self.kinds.is_empty());
        }
        let mut removed = 0;
        for key in keys {
            self.after = Some(key.clone());
            removed += i64::from(self.look_at(talon, database, arrivals, kind, &Key::of(key))?);
            if removed >= MOST_REMOVED {
                break;
            }
        }
        self.removed += removed;
        Ok(false)
    }

    /// The next keys of a kind, in their own order.
    fn page(&self, database: &mut Database, kind: usize) -> Result<Vec<Vec<Value>>> {
        let guard = database.guard(kind)?;
        let header = guard.header();
        let columns = quote_list("h.", &header.key);
        let is_known: Vec<String> = header
            .key
            .iter()
            .map(|column| format!("h.{} IS NOT NULL", quote_identifier(column)))
            .collect();
        let after = match &self.after {
            Some(after) => {
                let places: Vec<String> = (1..=after.len()).map(|at| format!("?{at}")).collect();
                format!(" AND ({columns}) > ({})", places.join(", "))
            }
            None => String::new(),
        };
        let sql = format!(
            "SELECT {columns} FROM {} WHERE {}{after}{} ORDER BY {columns} LIMIT {MOST_SEEN}",
            header.from_clause(&database.schema),
            is_known.join(" AND "),
            header.and_condition()
        );
        let values: Vec<ValueRef<'_>> = self.after.iter().flatten().map(Value::as_ref).collect();
        let mut keys = Vec::new();
        let mut rows = database.statement(kind, &sql)?.query(&values)?;
        while rows.next()? {
            keys.try_push(rows.values(0..header.key.len())?)?;
        }
        Ok(keys)
    }

    /// Removes a row unless it stays; true when it was removed.
    fn look_at(
        &self,
        talon: &Talon,
        database: &mut Database,
        arrivals: &mut Arrivals,
        kind: usize,
        key: &Key,
    ) -> Result<bool> {
        let (id, shown) = (database.kinds[kind].id, key.shown()?);
        let values = [ValueRef::Integer(self.flow), ValueRef::Integer(id), shown.as_ref()];
        if database.own_statement(IS_LISTED)?.first(&values, |_| Ok(()))?.is_some() {
            return Ok(false);
        }
        let Some(layout) = arrivals.identities.layout(database, kind)? else { return Ok(false) };
        let state = database.store()?.piece(id, &shown)?;
        let is_of_central = layout.policy.owner == Owner::Central;
        if self.stays(database, arrivals, kind, &shown, state.as_ref(), is_of_central)? {
            return Ok(false);
        }
        let state = match state {
            Some(state) if state.saved => Some(state),
            state => database.image_unknown(talon, kind, &shown, state)?,
        };
        let Some(state) = state else { return Ok(false) };
        let origin = arrivals.identities.origin(&layout, &state);
        let code = arrivals.identities.code(origin);
        let document = Document {
            kind: Cow::Borrowed(&layout.guard.kind),
            key: state.origin_key().map_or_else(|| shown.clone(), Value::Integer),
            origin: Cow::Borrowed(&code),
            body: Body::Left,
        };
        let mut line = Vec::new();
        document.write(&mut line)?;
        let standing = arrivals.stand(database, shown, state, false)?;
        arrivals.attempt(database, &document, &line, |arrivals, database| {
            let subject = Subject { kind, origin, document: &document, fitting: None };
            arrivals.leave(talon, database, &subject, Some(standing))
        })
    }

    /// Whether a row that central has not named stays: central does not have what it is, or has named it since.
    fn stays(
        &self,
        database: &mut Database,
        arrivals: &Arrivals,
        kind: usize,
        key: &Value,
        state: Option<&PieceState>,
        is_of_central: bool,
    ) -> Result<bool> {
        let id = database.kinds[kind].id;
        let site = ValueRef::Integer(arrivals.sender);
        let held = [site, ValueRef::Integer(id), key.as_ref()];
        if database.own_statement(IS_HELD)?.first(&held, |_| Ok(()))?.is_some() {
            return Ok(true);
        }
        if database.is_held_back(kind, key, state)? {
            return Ok(true);
        }
        // What was never told is somebody's work here, unless only central can have made it.
        let Some(change) = state.and_then(PieceState::change) else { return Ok(!is_of_central) };
        let came = database.own_statement(CAME)?.first(&[ValueRef::Integer(change)], |row| {
            Ok([0, 1, 2].map(|place| row.column(place).as_integer()))
        })?;
        let [via, flow_of, number] = came.unwrap_or_default();
        let is_later = flow_of == Some(arrivals.sender) && number > Some(self.number);
        Ok(is_later || !arrivals.is_from_sender(via, change) && change > arrivals.seen)
    }
}
