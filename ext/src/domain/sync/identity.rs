//! Who is who: a piece is known everywhere by the site that created it and the key it has there; a line by its piece and
//! the number it has in that. Here both may have other keys, where theirs were taken.

use super::layout::Layout;
use super::together::Together;
use crate::domain::database::Database;
use crate::domain::fitted::Purpose;
use crate::error::{Error, Result};
use crate::sqlite::{RoomForKeys, Value, ValueRef};
use crate::storage::guard::HEADER;
use crate::storage::key::Key;
use crate::storage::payload_reader::PartRows;
use crate::storage::policy::Owner;
use crate::storage::shape::{quote_identifier, quote_list};
use crate::storage::store::PieceState;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// What is looked up again and again is kept up to so many rows.
const MOST_KEPT: usize = 100_000;

/// Who a row is, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The site that created it, or its piece.
    pub origin: i64,
    /// Its number there.
    pub key: i64,
    /// Of a line or a detail: its piece's key there.
    pub piece: Option<Value>,
}

/// A numbered row here: places of its kind and part, and its key.
type Here = (usize, usize, i64);

/// The sites, and what was looked up of rows, for as long as one emission or application takes.
pub struct Identities {
    /// This site.
    pub own: i64,
    /// The central one; None where none is known yet.
    pub central: Option<i64>,
    codes: Vec<(i64, Rc<str>)>,
    layouts: HashMap<usize, Option<Rc<Layout>>>,
    headers: Known,
    lines: Known,
    /// Documents that are written together with this one, because they refer to each other.
    pub(super) together: Option<Rc<RefCell<Together>>>,
    /// Rows of a document that was dealt with: the next one is read over them.
    pub(super) spare: Vec<PartRows>,
}

/// What was looked up: who rows here are, and which ones others are here.
#[derive(Default)]
struct Known {
    outward: HashMap<Here, Identity>,
    inward: HashMap<(usize, usize, Identity), i64>,
}

impl Identities {
    /// Reads who the sites are.
    ///
    /// # Errors
    /// [`Error::Argument`] where this database has not said which site it is; what SQLite reports.
    pub fn begin(database: &mut Database) -> Result<Identities> {
        let asked = database.own_statement(
            "SELECT id, code, role = 'central', id = (SELECT value FROM {s}.talon_meta WHERE name = 'site')
             FROM {s}.talon_site",
        )?;
        let (mut own, mut central, mut codes) = (None, None, Vec::new());
        let mut rows = asked.query(&[])?;
        while rows.next()? {
            let id = rows.column(0).as_integer().unwrap_or(0);
            codes.push((id, Rc::from(rows.column(1).as_str().unwrap_or_default())));
            if rows.column(2).as_integer() == Some(1) {
                central = Some(id);
            }
            if rows.column(3).as_integer() == Some(1) {
                own = Some(id);
            }
        }
        let own = own.ok_or_else(|| {
            Error::Argument(
                "this database has not said which site it is: SELECT talon_origin(code)".to_owned(),
            )
        })?;
        Ok(Identities {
            own,
            central,
            codes,
            layouts: HashMap::new(),
            headers: Known::default(),
            lines: Known::default(),
            together: None,
            spare: Vec::new(),
        })
    }

    /// Whether this is the central site.
    pub fn is_central(&self) -> bool {
        self.central == Some(self.own)
    }

    /// A site's code; empty for one that is not known.
    pub fn code(&self, site: i64) -> Rc<str> {
        let known = self.codes.iter().find(|(id, _)| *id == site);
        known.map_or_else(|| Rc::from(""), |(_, code)| Rc::clone(code))
    }

    /// The site of a code, whatever its case.
    pub fn site(&self, code: &str) -> Option<i64> {
        let known = self.codes.iter().find(|(_, known)| known.eq_ignore_ascii_case(code));
        known.map(|(id, _)| *id)
    }

    /// A kind's layout; None where it is not synchronised.
    ///
    /// # Errors
    /// What SQLite reports; [`Error::Definition`].
    pub fn layout(&mut self, database: &mut Database, kind: usize) -> Result<Option<Rc<Layout>>> {
        if let Some(layout) = self.layouts.get(&kind) {
            return Ok(layout.clone());
        }
        let layout = database.layout(kind)?.map(Rc::new);
        self.layouts.insert(kind, layout.clone());
        Ok(layout)
    }

    /// The site that created a piece.
    pub fn origin(&self, layout: &Layout, state: &PieceState) -> i64 {
        match state.origin() {
            Some(origin) => origin,
            // Whatever stands in such a table came from central, one way or another.
            None if layout.policy.owner == Owner::Central => self.central.unwrap_or(self.own),
            None => self.own,
        }
    }

    /// The site as `talon_piece` has it: none for this one.
    fn stored(&self, site: i64) -> ValueRef<'static> {
        if site == self.own { ValueRef::Null } else { ValueRef::Integer(site) }
    }

    /// Finds a piece by who it is: the key it has here, and what is known of it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn find(
        &mut self,
        database: &mut Database,
        kind: usize,
        origin: i64,
        key: &Value,
    ) -> Result<Option<(Value, PieceState)>> {
        let Some(layout) = self.layout(database, kind)? else { return Ok(None) };
        let id = database.kinds[kind].id;
        if layout.is_numbered[HEADER] {
            let stored = self.stored(origin);
            let translated = database
                .own_statement(
                    "SELECT key FROM {s}.talon_piece WHERE kind = ?1 AND origin IS ?2 AND origin_key = ?3",
                )?
                .first(&[ValueRef::Integer(id), stored, key.as_ref()], |row| {
                    row.column(0).to_value()
                })?;
            if let Some(here) = translated
                && let Some(state) = database.store()?.piece(id, &here)?
            {
                return Ok(Some((here, state)));
            }
        }
        let Some(state) = database.store()?.piece(id, key)? else { return Ok(None) };
        let is_it = !layout.is_numbered[HEADER]
            || state.origin_key().is_none() && self.origin(&layout, &state) == origin;
        Ok(is_it.then(|| (key.clone(), state)))
    }

    /// Who a numbered row is; None where nothing is known by that number here.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn identity(
        &mut self,
        database: &mut Database,
        (kind, part, key): Here,
    ) -> Result<Option<Identity>> {
        if let Some(known) = self.known(part).outward.get(&(kind, part, key)) {
            return Ok(Some(known.clone()));
        }
        let identity = self.look_up(database, (kind, part, key))?;
        // What is unknown may come.
        if let Some(identity) = &identity {
            let outward = &mut self.known(part).outward;
            if outward.len() >= MOST_KEPT {
                outward.clear();
            }
            outward.make_room(1)?;
            outward.insert((kind, part, key), identity.clone());
        }
        Ok(identity)
    }

    fn look_up(
        &mut self,
        database: &mut Database,
        (kind, part, key): Here,
    ) -> Result<Option<Identity>> {
        let Some(layout) = self.layout(database, kind)? else { return Ok(None) };
        let id = database.kinds[kind].id;
        if part == HEADER {
            let state = database.store()?.piece(id, &Value::Integer(key))?;
            return Ok(state.map(|state| Identity {
                origin: self.origin(&layout, &state),
                key: state.origin_key().unwrap_or(key),
                piece: None,
            }));
        }
        let Some(piece) = database.piece_of_row(kind, part, key)? else { return Ok(None) };
        let Some(state) = database.store()?.piece(id, &piece)? else { return Ok(None) };
        let name = layout.guard.parts[part].name.as_bytes();
        let alias = database
            .own_statement(
                "SELECT origin_key FROM {s}.talon_alias WHERE kind = ?1 AND part = ?2 AND key = ?3 AND piece = ?4",
            )?
            .first(
                &[
                    ValueRef::Integer(id),
                    ValueRef::Text(name),
                    ValueRef::Integer(key),
                    piece.as_ref(),
                ],
                |row| Ok(row.column(0).as_integer()),
            )?;
        Ok(Some(Identity {
            origin: self.origin(&layout, &state),
            key: alias.flatten().unwrap_or(key),
            piece: Some(state.origin_key().map_or(piece, Value::Integer)),
        }))
    }

    /// The key that a row has here, by who it is; None where it is not here.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn key_here(
        &mut self,
        database: &mut Database,
        kind: usize,
        part: usize,
        identity: Identity,
    ) -> Result<Option<i64>> {
        let asked = (kind, part, identity);
        if let Some(key) = self.known(part).inward.get(&asked) {
            return Ok(Some(*key));
        }
        let identity = &asked.2;
        let key = match (part, &identity.piece) {
            (HEADER, _) => {
                let wanted = Value::Integer(identity.key);
                let found = self.find(database, kind, identity.origin, &wanted)?;
                found.and_then(|(key, _)| key.as_ref().as_integer())
            }
            (_, Some(piece)) => match self.find(database, kind, identity.origin, piece)? {
                Some((piece, _)) => self.line_here(database, kind, part, &piece, identity.key)?,
                None => None,
            },
            (_, None) => None,
        };
        if let Some(key) = key {
            let inward = &mut self.known(part).inward;
            if inward.len() >= MOST_KEPT {
                inward.clear();
            }
            inward.make_room(1)?;
            inward.insert(asked, key);
        }
        Ok(key)
    }

    /// The key here of a line or detail of a piece that is here, where that has it.
    fn line_here(
        &mut self,
        database: &mut Database,
        kind: usize,
        part: usize,
        piece: &Value,
        wire_key: i64,
    ) -> Result<Option<i64>> {
        let alias = database.alias(kind, part, piece, wire_key)?;
        if alias.is_none()
            && database.aliases(kind, part, piece)?.iter().any(|(_, here)| *here == wire_key)
        {
            // The number is another line's of the piece here: the one that is meant has gone.
            return Ok(None);
        }
        let key = alias.unwrap_or(wire_key);
        let owner = database.piece_of_row(kind, part, key)?;
        Ok((owner.as_ref() == Some(piece)).then_some(key))
    }

    /// Rows have come, gone, or got other keys: what was looked up may be out of date.
    pub fn forget(&mut self) {
        (self.headers, self.lines) = (Known::default(), Known::default());
    }

    /// The same of lines and details.
    pub fn forget_lines(&mut self) {
        self.lines = Known::default();
    }

    fn known(&mut self, part: usize) -> &mut Known {
        if part == HEADER { &mut self.headers } else { &mut self.lines }
    }
}

impl Database {
    /// The key here of an aliased line or detail of a piece.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn alias(
        &mut self,
        kind: usize,
        part: usize,
        piece: &Value,
        wire_key: i64,
    ) -> Result<Option<i64>> {
        let (id, guard) = (self.kinds[kind].id, self.guard(kind)?);
        let values = [
            ValueRef::Integer(id),
            ValueRef::Text(guard.parts[part].name.as_bytes()),
            piece.as_ref(),
            ValueRef::Integer(wire_key),
        ];
        let asked = self.own_statement(
            "SELECT key FROM {s}.talon_alias WHERE kind = ?1 AND part = ?2 AND piece = ?3 AND origin_key = ?4",
        )?;
        Ok(asked.first(&values, |row| Ok(row.column(0).as_integer()))?.flatten())
    }

    /// Aliases of a piece's lines or details: what they are called elsewhere, and their keys here.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn aliases(
        &mut self,
        kind: usize,
        part: usize,
        piece: &Value,
    ) -> Result<Vec<(i64, i64)>> {
        let (id, guard) = (self.kinds[kind].id, self.guard(kind)?);
        let values = [
            ValueRef::Integer(id),
            ValueRef::Text(guard.parts[part].name.as_bytes()),
            piece.as_ref(),
        ];
        let asked = self.own_statement(
            "SELECT origin_key, key FROM {s}.talon_alias WHERE kind = ?1 AND part = ?2 AND piece = ?3",
        )?;
        let (mut rows, mut found) = (asked.query(&values)?, Vec::new());
        while rows.next()? {
            if let (Some(wire), Some(key)) =
                (rows.column(0).as_integer(), rows.column(1).as_integer())
            {
                crate::sqlite::Room::try_push(&mut found, (wire, key))?;
            }
        }
        Ok(found)
    }

    /// Writes down that a line has another key here. A number that is used again leaves what it stood for before.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn put_alias(
        &mut self,
        kind: usize,
        part: usize,
        piece: &Value,
        wire_key: i64,
        key: i64,
    ) -> Result<()> {
        let (id, guard) = (self.kinds[kind].id, self.guard(kind)?);
        let values = [
            ValueRef::Integer(id),
            ValueRef::Text(guard.parts[part].name.as_bytes()),
            piece.as_ref(),
            ValueRef::Integer(wire_key),
            ValueRef::Integer(key),
        ];
        let put = self.own_statement(
            "INSERT OR REPLACE INTO {s}.talon_alias(kind, part, piece, origin_key, key) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        Ok(put.run(&values)?)
    }

    /// Whether any line or detail of a kind has another key here than elsewhere.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn has_aliases(&mut self, kind: usize) -> Result<bool> {
        let id = self.kinds[kind].id;
        let asked = self.own_statement("SELECT 1 FROM {s}.talon_alias WHERE kind = ?1 LIMIT 1")?;
        Ok(asked.first(&[ValueRef::Integer(id)], |_| Ok(()))?.is_some())
    }

    /// The piece that a line or detail with this key belongs to, as it is shown; None where there is no such row, or it is
    /// nobody's.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn piece_of_row(
        &mut self,
        kind: usize,
        part: usize,
        key: i64,
    ) -> Result<Option<Value>> {
        let guard = self.guard(kind)?;
        let own = &guard.parts[part];
        let [column] = own.key.as_slice() else { return Ok(None) };
        let count = own.link.len();
        let link = self
            .part_statement(kind, part, Purpose::FindOwner, |_, schema| {
                let (links, from) = (quote_list("", &own.link), own.from_clause(schema));
                format!("SELECT {links} FROM {from} WHERE {} = ?1", quote_identifier(column))
            })?
            .first(&[ValueRef::Integer(key)], |row| row.values(0..count))?;
        let Some(link) = link else { return Ok(None) };
        match self.piece_of(kind, part, link)? {
            Some(piece) => Ok(Some(Key::of(piece).shown()?)),
            None => Ok(None),
        }
    }
}
