//! What of this database a site is to have: which documents, in which order, and what waits.
//!
//! Kinds that others refer to come first, so that what a document refers to is there when it is applied; deletions
//! come last, in the opposite order. Within that, the order is that of the changes.

use super::canonical::Lens;
use super::identity::Identities;
use super::loading::Loading;
use super::writing::Writing;
use crate::domain::database::Database;
use crate::error::{Error, Result};
use crate::sqlite::{Room, Rows, Statement, Value, ValueRef};
use crate::storage::document::{Body, Change, Document, Shape, Whole};
use crate::storage::document_reader::names_by_part;
use crate::storage::flow_store::FlowStore;
use crate::storage::guard::Guard;
use crate::storage::key::Key;
use crate::storage::payload::{put, write_value};
use crate::storage::policy::Direction;
use crate::storage::site_store::{Role, Site};
use crate::storage::store::{Hash, PieceState};
use crate::storage::waiting::Waiting;
use std::borrow::Cow;

/// A flow on its way out.
pub(super) struct Outgoing<'a> {
    pub(super) flows: FlowStore<'a>,
    pub(super) identities: Identities,
    pub(super) waiting: Waiting,
    pub(super) receiver: &'a Site,
    pub(super) flow: i64,
    /// All is sent, also what came from the receiver.
    pub(super) is_full: bool,
    /// Nothing of central's has come here yet.
    pub(super) is_first: bool,
    pub(super) loading: &'a Loading,
}

/// A kind that goes to the receiver.
struct Sent {
    place: usize,
    id: i64,
    name: String,
    key_columns: usize,
    /// Kinds that refer to it come after it.
    rank: usize,
    /// After which change its changes are sent.
    since: i64,
    filter: Option<Filter>,
    shapes: Vec<SentShape>,
}

/// Whether a header is one that the receiver is to have.
struct Filter {
    statement: Statement,
    names_site: bool,
}

/// A shape that the flow has a line of.
struct SentShape {
    id: i64,
    number: i64,
    lens: Option<Lens>,
}

/// What of a change is asked for, in this order.
const ASKED: &str = "c.kind, c.key, c.version, c.stamp, c.site, c.via, c.fields, p.gone_at IS NOT NULL, p.origin, p.origin_key,
    s.shape, s.lines, s.hash, s.payload,
    EXISTS (SELECT 1 FROM {s}.talon_edit AS e WHERE e.kind = c.kind AND e.key = c.key), c.flow";

/// Changes up to ?2 that nothing has followed, ?1 being after which the first of them is.
const CHANGED: &str = "{s}.talon_change AS c
    CROSS JOIN {s}.talon_piece AS p ON p.kind = c.kind AND p.saved IN (0, 1) AND p.key = c.key AND p.change = c.seq
    LEFT JOIN {s}.talon_snapshot AS s ON s.id = c.snapshot
    WHERE c.seq > ?1 AND c.seq <= ?2";

/// Those up to ?1 that wait for the site ?2.
const HELD: &str = "(SELECT q.change AS seq FROM {s}.talon_held AS w
      CROSS JOIN {s}.talon_piece AS q ON q.kind = w.kind AND q.saved IN (0, 1) AND q.key = w.key
      WHERE w.site = ?2 AND q.change <= ?1 ORDER BY q.change) AS h
    CROSS JOIN {s}.talon_change AS c ON c.seq = h.seq
    CROSS JOIN {s}.talon_piece AS p ON p.kind = c.kind AND p.saved IN (0, 1) AND p.key = c.key
    LEFT JOIN {s}.talon_snapshot AS s ON s.id = c.snapshot
    WHERE 1";

/// A change that may have to be sent.
struct Candidate<'r> {
    kind: i64,
    key: ValueRef<'r>,
    change: Change<'r>,
    via: Option<i64>,
    flow: Option<i64>,
    is_gone: bool,
    is_open: bool,
    state: PieceState,
    stored: Option<Stored<'r>>,
}

/// Its snapshot, where that is still there.
struct Stored<'r> {
    shape: i64,
    lines: i64,
    hash: Option<Hash>,
    payload: &'r [u8],
}

impl Outgoing<'_> {
    /// Writes the documents.
    pub(super) fn send(
        &mut self,
        database: &mut Database,
        writing: &mut Writing,
        since: i64,
        until: i64,
    ) -> Result<()> {
        let mut kinds = self.kinds(database, since, until)?;
        let mut ranks: Vec<usize> = kinds.iter().map(|kind| kind.rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let range = [since, until];
        let mut with_deletions = Vec::new();
        for rank in ranks {
            if self.send_rank(database, writing, &mut kinds, range, rank, false)? {
                with_deletions.push(rank);
            }
        }
        for rank in with_deletions.into_iter().rev() {
            self.send_rank(database, writing, &mut kinds, range, rank, true)?;
        }
        Ok(())
    }

    /// Writes the documents of the kinds of one rank, deletions or others; true where it came by deletions.
    fn send_rank(
        &mut self,
        database: &mut Database,
        writing: &mut Writing,
        kinds: &mut [Sent],
        [since, until]: [i64; 2],
        rank: usize,
        is_gone: bool,
    ) -> Result<bool> {
        // The plus keeps these bounds from being a plan of their own: the range of all is read once.
        let these = || kinds.iter().filter(|kind| kind.rank == rank);
        let bounded = |by: &str| -> Vec<String> {
            let bound =
                |kind: &Sent| format!("c.kind = {} AND +c.seq {by} {}", kind.id, kind.since);
            these().map(bound).collect()
        };
        let receiver = self.receiver.id;
        let mut condition = String::new();
        if is_gone {
            condition.push_str(" AND p.gone_at IS NOT NULL");
        }
        // Where nothing is noted of what came from the receiver, it is not even read.
        let skips_echoes = !self.is_full
            && !self.loading.heals()
            && !self.waiting.has_any()
            && kinds.iter().all(|kind| kind.filter.is_none());
        if skips_echoes {
            condition.push_str(&format!(" AND c.via IS NOT {receiver}"));
        }
        let highest = these().map(|kind| kind.since).max().unwrap_or(since);
        let held = Self::query(HELD, &bounded("<="), &condition);
        let changed = Self::query(CHANGED, &bounded(">"), &condition);
        let mut has_deletions = false;
        for (sql, bounds) in [(held, [highest, receiver]), (changed, [since, until])] {
            let mut scan = self.flows.prepare(&sql)?;
            let mut rows = scan.query(&bounds.map(ValueRef::Integer))?;
            while rows.next()? {
                let site = self.identities.code(rows.column(4).as_integer().unwrap_or(0));
                let candidate = candidate(&rows, &site)?;
                has_deletions |= candidate.is_gone;
                if candidate.is_gone != is_gone {
                    continue;
                }
                let Some(kind) = kinds.iter_mut().find(|kind| kind.id == candidate.kind) else {
                    continue;
                };
                self.consider(database, writing, kind, candidate)?;
            }
        }
        Ok(has_deletions)
    }

    /// What asks for the changes of some kinds.
    fn query(from: &str, kinds: &[String], condition: &str) -> String {
        format!("SELECT {ASKED} FROM {from} AND ({}){condition} ORDER BY c.seq", kinds.join(" OR "))
    }

    /// The kinds whose changes go to the receiver. What cannot be looked at waits.
    fn kinds(&mut self, database: &mut Database, since: i64, until: i64) -> Result<Vec<Sent>> {
        let down = self.receiver.role == Role::Remote;
        let against = if down { Direction::Up } else { Direction::Down };
        let mut found: Vec<Sent> = Vec::new();
        for place in database.guarded_kinds() {
            if database.kinds[place].definition.sync.is_none() {
                continue;
            }
            let id = database.kinds[place].id;
            if !database.fits(place)? {
                self.hold_all(id, since, until)?;
                continue;
            }
            let Some(layout) = self.identities.layout(database, place)? else { continue };
            if layout.policy.direction == against {
                continue;
            }
            let filter = match &layout.policy.filter {
                Some(filter) if down => {
                    Some(self.filter(&layout.guard, filter, &database.schema)?)
                }
                _ => None,
            };
            found.try_push(Sent {
                place,
                id,
                since: self.loading.since_of(&database.kinds[place].name).unwrap_or(since),
                name: database.kinds[place].name.clone(),
                key_columns: layout.guard.header().key.len(),
                rank: 0,
                filter,
                shapes: Vec::new(),
            })?;
        }
        let places: Vec<usize> = found.iter().map(|kind| kind.place).collect();
        let ranks = self.identities.ranks(database, &places)?;
        for (kind, rank) in found.iter_mut().zip(ranks) {
            kind.rank = rank;
        }
        Ok(found)
    }

    fn filter(&self, guard: &Guard, filter: &str, schema: &str) -> Result<Filter> {
        let header = guard.header();
        let statement = self.flows.prepare(&format!(
            "SELECT 1 FROM {} WHERE {} AND CASE WHEN ({filter}\n) THEN 1 ELSE 0 END",
            header.from_clause(schema),
            guard.header_is()
        ))?;
        let names_site = statement.parameters().len() > header.key.len();
        Ok(Filter { statement, names_site })
    }

    /// The changes of a kind whose definition does not fit its tables any more wait until it does.
    fn hold_all(&mut self, kind: i64, since: i64, until: i64) -> Result<()> {
        let mut changes = self.flows.prepare(
            "SELECT DISTINCT key FROM {s}.talon_change WHERE seq > ?1 AND seq <= ?2 AND kind = ?3",
        )?;
        let values = [since, until, kind].map(ValueRef::Integer);
        let mut rows = changes.query(&values)?;
        while rows.next()? {
            self.waiting.hold(kind, rows.column(0), None)?;
        }
        Ok(())
    }

    fn consider(
        &mut self,
        database: &mut Database,
        writing: &mut Writing,
        kind: &mut Sent,
        candidate: Candidate<'_>,
    ) -> Result<()> {
        let key = candidate.key;
        let is_echo = candidate.via == Some(self.receiver.id)
            && !self.is_full
            && (!self.loading.heals() || self.is_of_its_database(candidate.flow)?);
        if is_echo {
            if kind.filter.is_some() && !candidate.is_gone {
                self.waiting.reach(kind.id, key)?;
            }
            return self.waiting.release(kind.id, key, self.flow);
        }
        if self.is_first && self.waiting.is_found(kind.id, key)? {
            return Ok(());
        }
        if candidate.is_open || self.is_set_aside(kind, &candidate)? {
            self.waiting.hold(kind.id, key, None)?;
            return match self.loading.is_full_answer() && !candidate.is_gone {
                true => self.send_bodiless(database, writing, kind, &candidate, Body::Waits),
                false => Ok(()),
            };
        }
        let belongs = self.belongs(kind, &candidate)?;
        if kind.filter.is_some() && (candidate.is_gone || !belongs) {
            let had = self.waiting.reaches(kind.id, key)? || self.waiting.is_held(kind.id, key)?;
            if !had {
                return Ok(());
            }
            // Said until it was heard: by then nothing else tells that the site has it.
            self.waiting.leave(kind.id, key)?;
            self.waiting.hold(kind.id, key, Some(self.flow))?;
        } else {
            self.waiting.release(kind.id, key, self.flow)?;
            if kind.filter.is_some() {
                self.waiting.reach(kind.id, key)?;
            }
        }
        if !belongs && !candidate.is_gone {
            return self.send_bodiless(database, writing, kind, &candidate, Body::Left);
        }
        if candidate.is_gone {
            let body = Body::Gone(candidate.change.clone());
            return self.send_bodiless(database, writing, kind, &candidate, body);
        }
        self.send_whole(database, writing, kind, candidate)
    }

    /// Whether a change came from the database that the receiver still is, which has it therefore: one that went back to a
    /// backup may have lost it.
    fn is_of_its_database(&self, flow: Option<i64>) -> Result<bool> {
        let Some(flow) = flow else { return Ok(false) };
        let incarnation = self.flows.incarnation_of(flow)?;
        Ok(incarnation.is_some() && incarnation == self.receiver.incarnation)
    }

    /// Writes a document that has no image.
    fn send_bodiless(
        &mut self,
        database: &mut Database,
        writing: &mut Writing,
        kind: &Sent,
        candidate: &Candidate<'_>,
        body: Body<'_>,
    ) -> Result<()> {
        let (origin, key) = self.name(database, kind, candidate)?;
        let (kind, origin) = (Cow::Borrowed(kind.name.as_str()), origin.into());
        writing.document(&Document { kind, key, origin, body })
    }

    /// Whether the receiver is to have it: a site always has what it created.
    fn belongs(&self, kind: &mut Sent, candidate: &Candidate<'_>) -> Result<bool> {
        let Some(filter) = &mut kind.filter else { return Ok(true) };
        if candidate.is_gone || candidate.state.origin() == Some(self.receiver.id) {
            return Ok(true);
        }
        let Some(key) = Key::from_shown(candidate.key, kind.key_columns)? else { return Ok(false) };
        let mut values: Vec<ValueRef<'_>> = key.values().iter().map(Value::as_ref).collect();
        if filter.names_site {
            values.push(ValueRef::Text(self.receiver.code.as_bytes()));
        }
        Ok(filter.statement.first(&values, |_| Ok(()))?.is_some())
    }

    /// Whether a rule was broken by its last change, which therefore stays here.
    fn is_set_aside(&mut self, kind: &Sent, candidate: &Candidate<'_>) -> Result<bool> {
        let key = candidate.state.origin_key().map_or(candidate.key, ValueRef::Integer);
        self.waiting.is_set_aside(&kind.name, key)
    }

    /// Who it is everywhere: its origin's code and the key it has there.
    fn name(
        &mut self,
        database: &mut Database,
        kind: &Sent,
        candidate: &Candidate<'_>,
    ) -> Result<(String, Value)> {
        let own = self.identities.own;
        let origin = match self.identities.layout(database, kind.place)? {
            Some(layout) => self.identities.origin(&layout, &candidate.state),
            None => own,
        };
        let key = match candidate.state.origin_key() {
            Some(key) => Value::Integer(key),
            None => candidate.key.to_value()?,
        };
        Ok((self.identities.code(origin).to_string(), key))
    }

    fn send_whole(
        &mut self,
        database: &mut Database,
        writing: &mut Writing,
        kind: &mut Sent,
        candidate: Candidate<'_>,
    ) -> Result<()> {
        let key = candidate.key.to_value()?;
        let (shape, lines, hash, payload) = match candidate.stored {
            Some(stored) => {
                (stored.shape, stored.lines, stored.hash, Cow::Borrowed(stored.payload))
            }
            // Its snapshot was purged: then its tables hold what it showed.
            None => {
                let Some(wanted) = Key::from_shown(candidate.key, kind.key_columns)? else {
                    return Ok(());
                };
                if !database.read(kind.place, &wanted)? {
                    return Ok(());
                }
                let (payload, lines) =
                    (std::mem::take(&mut database.image.payload), database.image.lines);
                (database.shape(kind.place)?, lines, None, Cow::Owned(payload))
            }
        };
        let shape = self.shape(database, writing, kind, shape)?;
        let Some(SentShape { number, lens: Some(lens), .. }) = kind.shapes.get(shape) else {
            return Ok(());
        };
        let canonical = self.identities.canonical(
            database,
            kind.place,
            &key,
            &candidate.state,
            lens,
            &payload,
        )?;
        let hash = match (hash, &canonical.image) {
            (Some(hash), Cow::Borrowed(_)) => hash,
            (_, image) => *blake3::hash(image).as_bytes(),
        };
        let whole = Whole {
            shape: *number,
            lines,
            hash,
            references: canonical.references,
            image: &canonical.image,
        };
        let origin = self.identities.code(canonical.origin);
        writing.document(&Document {
            kind: Cow::Borrowed(&kind.name),
            key: canonical.key,
            origin: Cow::Borrowed(&origin),
            body: Body::Whole(candidate.change, whole),
        })
    }

    /// The place of a shape among those that the flow has a line of, which is written when it is the first time.
    fn shape(
        &mut self,
        database: &mut Database,
        writing: &mut Writing,
        kind: &mut Sent,
        id: i64,
    ) -> Result<usize> {
        if let Some(place) = kind.shapes.iter().position(|shape| shape.id == id) {
            return Ok(place);
        }
        let columns = self.flows.columns_of(id)?.ok_or_else(|| {
            Error::Argument(format!(
                "the columns of a snapshot of {} are not known any more",
                kind.name
            ))
        })?;
        let guard = database.guard(kind.place)?;
        let types = types(&guard, &columns)?;
        let references = self.identities.shape_references(database, kind.place)?;
        let number = writing.next_shape();
        let line = Shape {
            number,
            kind: Cow::Borrowed(&kind.name),
            columns: columns.as_str().into(),
            types: types.into(),
            references,
        };
        writing.line(|text| line.write(text))?;
        let lens = self.identities.lens(database, kind.place, &columns)?;
        kind.shapes.try_push(SentShape { id, number, lens })?;
        Ok(kind.shapes.len() - 1)
    }
}

fn candidate<'r>(rows: &'r Rows<'_>, site: &'r str) -> Result<Candidate<'r>> {
    let integer = |place: usize| rows.column(place).as_integer();
    let stored = match (integer(10), rows.column(13)) {
        (Some(shape), ValueRef::Text(payload)) => Some(Stored {
            shape,
            lines: integer(11).unwrap_or(0),
            hash: match rows.column(12) {
                ValueRef::Blob(hash) => Hash::try_from(hash).ok(),
                _ => None,
            },
            payload,
        }),
        _ => None,
    };
    Ok(Candidate {
        kind: integer(0).unwrap_or(0),
        key: rows.column(1),
        change: Change {
            version: integer(2).unwrap_or(0),
            stamp: integer(3).unwrap_or(0),
            site: Cow::Borrowed(site),
            fields: rows.column(6).as_str().map(Cow::Borrowed),
        },
        via: integer(5),
        flow: integer(15),
        is_gone: integer(7) == Some(1),
        is_open: integer(14) == Some(1),
        state: state_of(integer(8), integer(9)),
        stored,
    })
}

/// What a piece's state has to say of other sites.
fn state_of(origin: Option<i64>, origin_key: Option<i64>) -> PieceState {
    let mut state = PieceState::new();
    if origin.is_some() || origin_key.is_some() {
        let sync = state.sync_mut();
        (sync.origin, sync.origin_key) = (origin, origin_key);
    }
    state
}

/// The declared types of a shape's columns, part by part, as far as the tables still have them.
fn types(guard: &Guard, columns: &str) -> Result<String> {
    let mut json = Vec::new();
    put(&mut json, b"{")?;
    for (place, (part, names)) in names_by_part(columns)?.iter().enumerate() {
        if place > 0 {
            put(&mut json, b",")?;
        }
        write_value(&mut json, ValueRef::Text(part.as_bytes()))?;
        put(&mut json, b":[")?;
        let table = guard.parts.iter().find(|known| known.name == *part).map(|known| &known.table);
        for (place, name) in names.iter().enumerate() {
            if place > 0 {
                put(&mut json, b",")?;
            }
            let column = table.and_then(|table| table.column(name));
            let declared = column.map_or("", |column| column.declared_type.as_str());
            write_value(&mut json, ValueRef::Text(declared.as_bytes()))?;
        }
        put(&mut json, b"]")?;
    }
    put(&mut json, b"}")?;
    String::from_utf8(json).map_err(|_| Error::Memory)
}
