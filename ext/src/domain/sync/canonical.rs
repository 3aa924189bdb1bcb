//! The canonical image of a stored one: keys and references as their origins number them. It is the same, byte for byte, at
//! all sites that hold the same document; where nothing is translated it is what is stored.

use super::identity::{Identities, Identity};
use super::layout::{Layout, Target};
use crate::domain::database::Database;
use crate::error::{Error, Result};
use crate::sqlite::{Room, Value};
use crate::storage::cells::{Cell, Cells, Wanted, find};
use crate::storage::document::{Reference, ShapeReference};
use crate::storage::document_reader::names_by_part;
use crate::storage::guard::HEADER;
use crate::storage::json_reader::Unread;
use crate::storage::store::PieceState;
use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

/// A piece or record as other sites know it.
#[derive(Debug)]
pub struct Canonical<'a> {
    /// The site that created it.
    pub origin: i64,
    /// The key that it has there.
    pub key: Value,
    /// Its rows.
    pub image: Cow<'a, [u8]>,
    /// References that mean something else than the shape says.
    pub references: Vec<Reference<'static>>,
}

/// Where images of one shape have cells that may have to be translated. Made once for all images of the shape.
#[derive(Debug)]
pub struct Lens {
    layout: Rc<Layout>,
    wanted: Vec<Wanted>,
    /// By part wanted and place among its columns.
    roles: Vec<Vec<Role>>,
}

/// What a cell is to its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The row's own number.
    Number { part: usize },
    /// The number of what the row belongs to.
    Link { parent: usize },
    /// Who somebody else is: the first of the targets that the column has.
    Reference { target: usize },
    /// It only says where the row stands among the others.
    Order,
}

impl Identities {
    /// What a shape line says of a kind's references.
    ///
    /// # Errors
    /// What SQLite reports; [`Error::Definition`].
    pub fn shape_references(
        &mut self,
        database: &mut Database,
        kind: usize,
    ) -> Result<Vec<ShapeReference>> {
        let Some(layout) = self.layout(database, kind)? else { return Ok(Vec::new()) };
        let mut references = Vec::new();
        for target in &layout.targets {
            references.push(ShapeReference {
                part: layout.guard.parts[target.part].name.clone(),
                column: target.column.clone(),
                kind: target.called.clone(),
                origin: self.default_origin(target).map(|site| self.code(site).to_string()),
            });
        }
        Ok(references)
    }

    /// Whose numbers stand in a column unless the document says otherwise; None for the document's own origin.
    fn default_origin(&self, target: &Target) -> Option<i64> {
        if target.is_of_central { self.central } else { None }
    }

    /// Finds the cells of a shape that may have to be translated.
    ///
    /// # Errors
    /// What SQLite reports; [`Error::Definition`]; [`Error::Flow`] where the shape is none.
    pub fn lens(
        &mut self,
        database: &mut Database,
        kind: usize,
        columns: &str,
    ) -> Result<Option<Lens>> {
        let Some(layout) = self.layout(database, kind)? else { return Ok(None) };
        let mut lens = Lens { layout: Rc::clone(&layout), wanted: Vec::new(), roles: Vec::new() };
        for (name, columns) in names_by_part(columns)? {
            let Some(place) = layout.guard.parts.iter().position(|part| part.name == name) else {
                continue;
            };
            let part = &layout.guard.parts[place];
            let (mut wanted, mut roles) = (Vec::new(), Vec::new());
            for (at, column) in columns.iter().enumerate() {
                let target = layout.targets.iter().position(|target| target.is_in(place, column));
                let role = if layout.is_numbered[place] && part.key == [column.as_str()] {
                    Role::Number { part: place }
                } else if place != HEADER
                    && part.link == [column.as_str()]
                    && layout.is_numbered[part.parent]
                {
                    Role::Link { parent: part.parent }
                } else if let Some(target) = target {
                    Role::Reference { target }
                } else if part.key.contains(column) {
                    Role::Order
                } else {
                    continue;
                };
                wanted.push(at);
                roles.push(role);
            }
            let key = part.key.iter().filter_map(|key| columns.iter().position(|name| name == key));
            lens.wanted.push(Wanted { part: name, columns: wanted, key: key.collect() });
            lens.roles.push(roles);
        }
        Ok(Some(lens))
    }

    /// The canonical image of a stored one, `payload`, whose shape `lens` was made for.
    ///
    /// # Errors
    /// What SQLite reports; [`Error::Argument`] where the payload is none.
    pub fn canonical<'a>(
        &mut self,
        database: &mut Database,
        kind: usize,
        key: &Value,
        state: &PieceState,
        lens: &Lens,
        payload: &'a [u8],
    ) -> Result<Canonical<'a>> {
        let layout = &lens.layout;
        let mut canonical = Canonical {
            origin: self.origin(layout, state),
            key: state.origin_key().map_or_else(|| key.clone(), Value::Integer),
            image: Cow::Borrowed(payload),
            references: Vec::new(),
        };
        let mut aliases = Aliases::read(database, kind, key, layout)?;
        let is_translated = state.origin_key().is_some() || !aliases.is_empty();
        if layout.targets.is_empty() && !is_translated {
            return Ok(canonical);
        }
        let mut found = Cells::default();
        find(payload, &lens.wanted, &mut found).map_err(unread)?;
        let mut values = Vec::new();
        values.make_room(found.cells.len())?;
        let mut named: Vec<Named> = Vec::new();
        if is_translated {
            aliases.name_new_rows(database, kind, key, lens, &found)?;
        }
        for cell in &found.cells {
            let number = cell.value.as_ref().as_integer();
            let value = match (lens.role(cell), number) {
                (Role::Number { part: HEADER } | Role::Link { parent: HEADER }, Some(_)) => {
                    canonical.key.clone()
                }
                (Role::Number { part } | Role::Link { parent: part }, Some(number)) => {
                    Value::Integer(aliases.outward(part, number))
                }
                (Role::Reference { target }, _) => {
                    match layout.refers(target, cell.value.as_ref()) {
                        Some((target, number)) => {
                            let to = &layout.targets[target];
                            let of = (kind, canonical.origin, &canonical.key);
                            let mut name = self.name(database, to, of, number)?;
                            (name.target, name.part, name.row) = (target, cell.part, cell.row);
                            let value = to.value(name.wire_key())?;
                            named.try_push(name)?;
                            value
                        }
                        None => cell.value.clone(),
                    }
                }
                _ => cell.value.clone(),
            };
            values.push(value);
        }
        let is_same = values.iter().zip(&found.cells).all(|(value, cell)| *value == cell.value);
        if !is_same {
            let mut image = Vec::new();
            image.make_room(payload.len())?;
            found.put_in(payload, &lens.wanted, &values, &mut image)?;
            canonical.image = Cow::Owned(image);
        }
        if named.iter().any(|name| !name.is_understood) {
            if is_translated {
                let places = found.places(&lens.wanted, &values)?;
                for name in &mut named {
                    name.row = places.get(&(name.part, name.row)).copied().unwrap_or(name.row);
                }
            }
            canonical.references = self.references(layout, named)?;
        }
        Ok(canonical)
    }

    /// Who a number in a document means, and whether that goes without saying; `of` is the document: its kind, and who it is.
    fn name(
        &mut self,
        database: &mut Database,
        target: &Target,
        of: (usize, i64, &Value),
        number: i64,
    ) -> Result<Named> {
        let (own_kind, own_origin, own_key) = of;
        let mut found = None;
        for (kind, part) in &target.to {
            if let Some(identity) = self.identity(database, (*kind, *part, number))? {
                found = Some((*kind, identity));
                break;
            }
        }
        let is_understood = found.as_ref().is_some_and(|(kind, who)| {
            who.origin == self.default_origin(target).unwrap_or(own_origin)
                // A line, if it is of the very piece.
                && who.piece.as_ref().is_none_or(|piece| piece == own_key && *kind == own_kind)
        });
        let identity = found.map(|(_, identity)| identity);
        Ok(Named { target: 0, part: 0, row: 0, number, identity, is_understood })
    }

    /// What has to be said of references: once for all rows where all mean the same by a number, else row by row.
    fn references(&self, layout: &Layout, named: Vec<Named>) -> Result<Vec<Reference<'static>>> {
        let mut groups: Vec<Vec<Named>> = Vec::new();
        let mut places: HashMap<(usize, i64), usize> = HashMap::new();
        for name in named {
            let place = *places.entry((name.target, name.wire_key())).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.try_push(name)?,
                None => groups.try_push(vec![name])?,
            }
        }
        let mut references = Vec::new();
        for mut group in groups {
            group.sort_by_key(|name| name.row);
            let Some(first) = group.first() else { continue };
            if group.iter().all(|name| name.identity == first.identity) {
                if !first.is_understood {
                    references.try_push(self.said(layout, first, Vec::new())?)?;
                }
                continue;
            }
            let mut said: Vec<Option<Identity>> = Vec::new();
            for name in &group {
                if said.contains(&name.identity) {
                    continue;
                }
                let rows = group.iter().filter(|other| other.identity == name.identity);
                let rows = rows.map(|other| other.row as i64).collect();
                references.try_push(self.said(layout, name, rows)?)?;
                said.push(name.identity.clone());
            }
        }
        Ok(references)
    }

    fn said(&self, layout: &Layout, name: &Named, rows: Vec<i64>) -> Result<Reference<'static>> {
        let target = &layout.targets[name.target];
        Ok(Reference {
            part: Cow::Owned(layout.guard.parts[target.part].name.clone()),
            column: Cow::Owned(target.column.clone()),
            key: target.value(name.wire_key())?,
            origin: name.identity.as_ref().map(|who| Cow::Owned(self.code(who.origin).to_string())),
            piece: name.identity.as_ref().and_then(|who| who.piece.clone()),
            rows,
        })
    }
}

/// A reference that was looked up.
struct Named {
    target: usize,
    /// Where it stands: the part among those wanted, and the row.
    part: usize,
    row: usize,
    /// What stands there.
    number: i64,
    identity: Option<Identity>,
    is_understood: bool,
}

impl Named {
    fn wire_key(&self) -> i64 {
        self.identity.as_ref().map_or(self.number, |who| who.key)
    }
}

impl Lens {
    fn role(&self, cell: &Cell) -> Role {
        let places = &self.wanted[cell.part].columns;
        let place = places.iter().position(|column| *column == cell.column);
        place.map_or(Role::Order, |place| self.roles[cell.part][place])
    }
}

/// The lines and details of a piece that are called otherwise elsewhere, by part.
struct Aliases(Vec<HashMap<i64, i64>>);

impl Aliases {
    fn read(database: &mut Database, kind: usize, key: &Value, layout: &Layout) -> Result<Aliases> {
        let mut aliases = Vec::new();
        if layout.is_numbered.iter().skip(1).any(|numbered| *numbered)
            && database.has_aliases(kind)?
        {
            for (part, numbered) in layout.is_numbered.iter().enumerate() {
                let mut known = HashMap::new();
                if *numbered && part != HEADER {
                    for (wire, here) in database.aliases(kind, part, key)? {
                        known.insert(here, wire);
                    }
                }
                aliases.push(known);
            }
        }
        Ok(Aliases(aliases))
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(HashMap::is_empty)
    }

    fn outward(&self, part: usize, number: i64) -> i64 {
        self.0.get(part).and_then(|known| known.get(&number)).copied().unwrap_or(number)
    }

    /// A row added here may have the number that another row of the piece has elsewhere: it gets a free one there.
    fn name_new_rows(
        &mut self,
        database: &mut Database,
        kind: usize,
        key: &Value,
        lens: &Lens,
        found: &Cells,
    ) -> Result<()> {
        for (part, known) in self.0.iter_mut().enumerate() {
            if known.is_empty() {
                continue;
            }
            let numbers =
                found.cells.iter().filter(|cell| lens.role(cell) == Role::Number { part });
            let numbers: Vec<i64> =
                numbers.filter_map(|cell| cell.value.as_ref().as_integer()).collect();
            for number in &numbers {
                if known.contains_key(number) || !known.values().any(|wire| wire == number) {
                    continue;
                }
                let highest = known.values().chain(&numbers).max().copied().unwrap_or(0);
                let wire = highest.checked_add(1).ok_or_else(|| {
                    Error::Argument("there is no number left for a line".to_owned())
                })?;
                database.put_alias(kind, part, key, wire, *number)?;
                known.insert(*number, wire);
            }
        }
        Ok(())
    }
}

fn unread(unread: Unread) -> Error {
    match unread {
        Unread::Memory => Error::Memory,
        Unread::Damaged(problem) => Error::Argument(format!("an image cannot be read: {problem}")),
    }
}
