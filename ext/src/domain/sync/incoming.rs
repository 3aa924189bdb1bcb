//! The columns that a flow's images were written with, held against the tables here.

use super::identity::Identities;
use super::layout::Layout;
use super::localize::LocalRows;
use crate::domain::database::Database;
use crate::error::Result;
use crate::sqlite::Value;
use crate::storage::document::Shape;
use crate::storage::document_reader::names_by_part;
use crate::storage::guard::{Guard, HEADER, Part, parameters};
use crate::storage::image::shape_columns;
use crate::storage::payload::{put, write_row};
use crate::storage::shape::{quote_identifier, quote_list};
use std::rc::Rc;

/// A shape of a flow, fitted to the kind's tables here.
#[derive(Debug)]
pub struct Fitting {
    /// The kind's place.
    pub kind: usize,
    /// The kind here.
    pub layout: Rc<Layout>,
    /// The parts that images of this shape have, in the guard's order.
    pub parts: Vec<FittingPart>,
    /// Images are what would be stored here, byte for byte, where nothing is translated.
    pub is_verbatim: bool,
}

/// A part of a shape.
#[derive(Debug)]
pub struct FittingPart {
    /// Its place in the guard.
    pub part: usize,
    /// Its name.
    pub name: String,
    /// The columns of its rows.
    pub columns: Vec<String>,
    /// What they are, as far as they may have to be translated: place of the column, role.
    pub roles: Vec<(usize, Role)>,
    /// Places of the columns that identify a row.
    pub key: Vec<usize>,
    /// Where each column stands among those of the guard's part.
    pub own_places: Vec<usize>,
    /// The statement that inserts a row.
    pub insert: String,
}

/// What a column is to its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The row's own number.
    Number,
    /// The number of what it belongs to.
    Link {
        /// The part of that.
        parent: usize,
    },
    /// Another piece, record or line.
    Reference {
        /// Place among the layout's targets.
        target: usize,
        /// Whose number it is where the document does not say: a site; None for the document's origin.
        origin: Option<i64>,
    },
}

/// Why a document of a shape cannot be applied.
pub type Misfit = String;

impl Identities {
    /// Fits a shape to the tables here, or says why it does not fit.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn fit(
        &mut self,
        database: &mut Database,
        shape: &Shape<'_>,
    ) -> Result<std::result::Result<Fitting, Misfit>> {
        let Some(kind) = database.place_of_name(&shape.kind) else {
            return Ok(Err(format!("{} is not guarded or tracked here", shape.kind)));
        };
        let layout = match self.layout(database, kind) {
            Ok(Some(layout)) => layout,
            Ok(None) => return Ok(Err(format!("{} is not synchronised here", shape.kind))),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let types = names_by_part(&shape.types)?;
        let mut fitting =
            Fitting { kind, layout: Rc::clone(&layout), parts: Vec::new(), is_verbatim: true };
        let named = names_by_part(&shape.columns)?;
        fitting.is_verbatim = named.len() == layout.guard.parts.len();
        for (at, (name, columns)) in named.into_iter().enumerate() {
            let Some(place) = layout.guard.parts.iter().position(|part| part.name == name) else {
                return Ok(Err(format!("{} has no part {name} here", shape.kind)));
            };
            let part = &layout.guard.parts[place];
            if let Some(missing) = columns.iter().find(|column| !part.columns.contains(column)) {
                return Ok(Err(format!("{} has no column {missing} here", part.table.name)));
            }
            if let Some(twice) =
                columns.iter().enumerate().find(|(at, column)| columns[..*at].contains(column))
            {
                return Ok(Err(format!("its rows of {} have {} twice", part.table.name, twice.1)));
            }
            let mut needed = part.key.iter().chain(&part.link);
            if let Some(missing) = needed.find(|column| !columns.contains(column)) {
                return Ok(Err(format!("its rows of {} have no {missing}", part.table.name)));
            }
            let theirs = types.iter().find(|(part, _)| *part == name).map(|(_, types)| types);
            fitting.is_verbatim &= at == place
                && columns == part.columns
                && theirs.is_some_and(|types| has_types(part, types));
            fitting.parts.push(self.part(database, &layout, place, name, columns, shape));
        }
        if fitting.parts.first().is_none_or(|part| part.part != HEADER) {
            return Ok(Err("its shape has no header".to_owned()));
        }
        // Parents come before what belongs to them.
        fitting.parts.sort_by_key(|part| part.part);
        fitting.is_verbatim &= layout.guard.parts.iter().all(|part| part.condition.is_none());
        Ok(Ok(fitting))
    }

    fn part(
        &self,
        database: &Database,
        layout: &Layout,
        place: usize,
        name: String,
        columns: Vec<String>,
        shape: &Shape<'_>,
    ) -> FittingPart {
        let part = &layout.guard.parts[place];
        let mut roles = Vec::new();
        for (at, column) in columns.iter().enumerate() {
            if layout.is_numbered[place] && part.key == [column.as_str()] {
                roles.push((at, Role::Number));
            } else if place != HEADER
                && part.link == [column.as_str()]
                && layout.is_numbered[part.parent]
            {
                roles.push((at, Role::Link { parent: part.parent }));
            } else {
                let targets = layout.targets.iter().enumerate();
                for (target, to) in targets.filter(|(_, to)| to.is_in(place, column)) {
                    let said = shape.references.iter().filter(|said| {
                        let is_it = said.part == name && said.column == *column;
                        // A column of texts refers to several kinds.
                        is_it && (to.prefix.is_none() || said.kind == to.called)
                    });
                    let origin = said.filter_map(|said| said.origin.as_deref()).next();
                    let origin = origin.and_then(|code| self.site(code));
                    roles.push((at, Role::Reference { target, origin }));
                }
            }
        }
        let key = part.key.iter().filter_map(|key| columns.iter().position(|name| name == key));
        FittingPart {
            part: place,
            key: key.collect(),
            own_places: part.places(&columns),
            insert: insert_text(&database.schema, &layout.guard, place, &columns),
            name,
            roles,
            columns,
        }
    }
}

impl FittingPart {
    /// Places of the columns that identify a row, among those of the guard's part.
    pub fn own_key_places(&self) -> Vec<usize> {
        self.key.iter().filter_map(|place| self.own_places.get(*place).copied()).collect()
    }
}

impl Fitting {
    /// The columns of its parts, as `talon_shape` keeps them.
    pub fn columns(&self) -> String {
        shape_columns(self.parts.iter().map(|part| (part.name.as_str(), part.columns.as_slice())))
    }

    /// Rows as a payload of these columns.
    ///
    /// # Errors
    /// [`crate::error::Error::Memory`].
    pub fn payload(&self, rows: &LocalRows) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for (place, (part, rows)) in self.parts.iter().zip(&rows.parts).enumerate() {
            put(&mut text, if place == 0 { b"{" } else { b"," })?;
            put(&mut text, serde_json::to_string(&part.name).unwrap_or_default().as_bytes())?;
            put(&mut text, if part.part == HEADER { b":" } else { b":[" })?;
            for (place, row) in rows.iter().enumerate() {
                if place > 0 {
                    put(&mut text, b",")?;
                }
                write_row(&mut text, row.iter().map(Value::as_ref))?;
            }
            put(&mut text, if part.part == HEADER { b"" } else { b"]" })?;
        }
        put(&mut text, b"}")?;
        Ok(text)
    }
}

/// The statement that inserts rows of these columns. OR ABORT overrides a conflict clause of the schema, which might take
/// somebody else's row away.
pub fn insert_text(schema: &str, guard: &Guard, part: usize, columns: &[String]) -> String {
    format!(
        "INSERT OR ABORT INTO {}.{}({}) VALUES ({})",
        quote_identifier(schema),
        quote_identifier(&guard.parts[part].table.name),
        quote_list("", columns),
        parameters(columns.len()).join(", ")
    )
}

/// Whether values of columns of these types are kept here as they come.
fn has_types(part: &Part, types: &[String]) -> bool {
    let own = part.columns.iter().map(|column| part.table.column(column));
    types.len() == part.columns.len()
        && own.zip(types).all(|(own, theirs)| {
            own.is_some_and(|own| own.declared_type.eq_ignore_ascii_case(theirs))
        })
}
