//! A document's rows in the numbers of this database.

use super::identity::{Identities, Identity};
use super::incoming::{Fitting, FittingPart, Role};
use super::referrers::Gone;
use super::write_rows::Present;
use crate::domain::database::Database;
use crate::error::{Error, Result};
use crate::sqlite::{Room, RoomForKeys, Value, gather_set};
use crate::storage::document::Reference;
use crate::storage::guard::{HEADER, LINES};
use crate::storage::json_reader::Unread;
use crate::storage::payload_reader::{PartRows, read_over};
use std::collections::HashMap;

/// What succeeds, or why the document is set aside.
pub type Attempt<T> = Result<std::result::Result<T, String>>;

/// A document's rows, by the parts of its shape.
#[derive(Debug)]
pub struct LocalRows {
    /// Each part's rows, values in the order of the shape's columns.
    pub parts: Vec<PartRows>,
    /// Nothing was translated.
    pub is_verbatim: bool,
    /// Lines that have another number here than elsewhere: the part's place in the guard, the number there and here.
    pub aliases: Vec<(usize, i64, i64)>,
    /// Rows that the piece had and does not have with these.
    pub gone: Gone,
}

/// Where a document's rows go.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// The site that created it.
    pub origin: i64,
    /// Its key there.
    pub origin_key: &'a Value,
    /// Its key here.
    pub key: &'a Value,
    /// Numbers of lines are taken as they come: the piece is new, and they are probably free.
    pub is_optimistic: bool,
    /// What is here of it, where that was read.
    pub present: Option<&'a Present>,
}

/// The numbers that a document's rows have here, by their numbers there; by part.
type Numbers = Vec<HashMap<i64, i64>>;

impl Identities {
    /// Reads an image and puts this database's numbers in.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn localize(
        &mut self,
        database: &mut Database,
        fitting: &Fitting,
        target: &Target<'_>,
        image: &[u8],
        references: &[Reference<'_>],
    ) -> Attempt<LocalRows> {
        let mut local = LocalRows {
            parts: std::mem::take(&mut self.spare),
            is_verbatim: fitting.is_verbatim && target.key == target.origin_key,
            aliases: Vec::new(),
            gone: Gone::new(),
        };
        local.parts.make_room(fitting.parts.len())?;
        local.parts.resize_with(fitting.parts.len(), Vec::new);
        let place = |name: &str| fitting.parts.iter().position(|part| part.name == name);
        match read_over(image, &mut local.parts, place) {
            Ok(()) => {}
            Err(Unread::Memory) => return Err(Error::Memory),
            Err(Unread::Damaged(problem)) => {
                return Ok(Err(format!("its image cannot be read: {problem}")));
            }
        }
        for (part, rows) in fitting.parts.iter().zip(&local.parts) {
            if let Some(row) = rows.iter().find(|row| row.len() != part.columns.len()) {
                return Ok(Err(format!(
                    "a row of {} has {} values for {} columns",
                    part.name,
                    row.len(),
                    part.columns.len()
                )));
            }
        }
        if local.parts.first().is_none_or(|rows| rows.len() != 1) {
            return Ok(Err("its image has no header".to_owned()));
        }
        let numbers = match self.numbers(database, fitting, target, &mut local)? {
            Ok(numbers) => numbers,
            Err(reason) => return Ok(Err(reason)),
        };
        for (at, part) in fitting.parts.iter().enumerate() {
            if part.roles.is_empty() {
                continue;
            }
            for row in 0..local.parts[at].len() {
                let mut last = None;
                for (column, role) in &part.roles {
                    if last == Some(*column) {
                        // What a column of several targets refers to was found.
                        continue;
                    }
                    let cell = &local.parts[at][row][*column];
                    let target_of = match role {
                        Role::Reference { target, .. } => Some(&fitting.layout.targets[*target]),
                        _ => None,
                    };
                    let number = match target_of {
                        Some(to) => to.number(cell.as_ref()),
                        None => cell.as_ref().as_integer(),
                    };
                    let Some(wire) = number else { continue };
                    last = Some(*column);
                    let here = match role {
                        Role::Number if part.part == HEADER => Ok(None),
                        Role::Number => Ok(numbers[part.part].get(&wire).copied()),
                        Role::Link { parent: HEADER } => Ok(None),
                        Role::Link { parent } => match numbers[*parent].get(&wire) {
                            Some(number) => Ok(Some(*number)),
                            None if target.is_optimistic => Ok(None),
                            None => Err(Problem::Detached(wire)),
                        },
                        Role::Reference { target: to, origin } => {
                            let said = said(references, part, *column, cell, row);
                            let asked = Asked { to: *to, origin: *origin, wire, said };
                            self.reference(database, fitting, target, &numbers, &asked)?
                        }
                    };
                    let is_own = part.part == HEADER && *role == Role::Number
                        || *role == (Role::Link { parent: HEADER });
                    let value = match here {
                        Ok(_) if is_own => target.key.clone(),
                        Ok(Some(here)) => match target_of {
                            Some(to) => to.value(here)?,
                            None => Value::Integer(here),
                        },
                        Ok(None) => continue,
                        Err(problem) => {
                            let table = &fitting.layout.guard.parts[part.part].table.name;
                            let by = format!("{table}.{}", part.columns[*column]);
                            let kind = &fitting.layout.guard.kind;
                            let name =
                                document_name(kind, target.origin_key, &self.code(target.origin));
                            return Ok(Err(problem.text(&name, &by)));
                        }
                    };
                    let cell = &mut local.parts[at][row][*column];
                    if *cell != value {
                        local.is_verbatim = false;
                        *cell = value;
                    }
                }
            }
        }
        Ok(Ok(local))
    }

    /// Gives each numbered line or detail the number it has here, or is to have.
    fn numbers(
        &mut self,
        database: &mut Database,
        fitting: &Fitting,
        target: &Target<'_>,
        local: &mut LocalRows,
    ) -> Attempt<Numbers> {
        let mut numbers: Numbers = Vec::new();
        numbers.resize_with(fitting.layout.guard.parts.len(), HashMap::new);
        if target.is_optimistic {
            return Ok(Ok(numbers));
        }
        let kind = fitting.kind;
        for (at, part) in fitting.parts.iter().enumerate() {
            let number = part.roles.iter().find(|(_, role)| *role == Role::Number);
            let Some((column, _)) = number.filter(|_| part.part != HEADER) else { continue };
            let aliases = database.aliases(kind, part.part, target.key)?;
            let mut known = HashMap::new();
            known.make_room(aliases.len())?;
            known.extend(aliases);
            let own = target.present.map(|present| present.numbers(part, at)).transpose()?;
            let is_own = |number: i64| own.as_ref().is_some_and(|own| own.contains(&number));
            let mut wires = Vec::new();
            for row in &local.parts[at] {
                if let Some(wire) = row[*column].as_ref().as_integer() {
                    wires.try_push(wire)?;
                }
            }
            wires.sort_unstable();
            let here_already = gather_set(known.values().copied())?;
            let (mut highest, mut is_behind_all) = (i64::MIN, false);
            for wire in wires {
                let here = match known.get(&wire) {
                    Some(here) if is_own(*here) => Some(*here),
                    // The row may have gone and its number been used again by somebody else's.
                    Some(here) => {
                        let owner = database.piece_of_row(kind, part.part, *here)?;
                        owner.is_none_or(|owner| owner == *target.key).then_some(*here)
                    }
                    None if here_already.contains(&wire) => None,
                    None if is_own(wire) => Some(wire),
                    None => match database.whose(kind, part.part, wire, target.key)? {
                        Whose::Its => Some(wire),
                        // Hosts read lines in the order of their numbers: it stays the same.
                        Whose::Nobodys => (wire > highest).then_some(wire),
                        Whose::Others => None,
                    },
                };
                // Behind a number that was free are free ones only.
                let next = highest.checked_add(1).filter(|_| is_behind_all);
                let here = match (here, next) {
                    (Some(here), _) => here,
                    (None, Some(here)) => {
                        local.aliases.try_push((part.part, wire, here))?;
                        here
                    }
                    (None, None) => match database.free_number(kind, part.part, highest)? {
                        Ok(here) => {
                            is_behind_all = true;
                            local.aliases.try_push((part.part, wire, here))?;
                            here
                        }
                        Err(reason) => return Ok(Err(reason)),
                    },
                };
                numbers[part.part].make_room(1)?;
                numbers[part.part].insert(wire, here);
                highest = highest.max(here);
            }
        }
        Ok(Ok(numbers))
    }

    fn reference(
        &mut self,
        database: &mut Database,
        fitting: &Fitting,
        target: &Target<'_>,
        numbers: &Numbers,
        asked: &Asked<'_>,
    ) -> Result<std::result::Result<Option<i64>, Problem>> {
        let wire = asked.wire;
        let (origin, piece) = match asked.said {
            Some(Reference { origin: None, .. }) => return Ok(Ok(None)),
            Some(Reference { origin: Some(code), piece, .. }) => match self.site(code) {
                Some(site) => (site, piece.as_ref()),
                None => {
                    return Ok(Err(Problem::UnknownSite(wire, code.to_string())));
                }
            },
            None => (asked.origin.unwrap_or(target.origin), None),
        };
        let to = &fitting.layout.targets[asked.to];
        for (kind, part) in &to.to {
            if *kind == fitting.kind && origin == target.origin {
                if *part == HEADER && *target.origin_key == Value::Integer(wire) {
                    return Ok(Ok(target.key.as_ref().as_integer()));
                }
                if *part != HEADER && piece.is_none_or(|piece| piece == target.origin_key) {
                    // One of its own lines; where numbers are taken as they come, so is this.
                    return match numbers[*part].get(&wire) {
                        None if !target.is_optimistic => Ok(Err(Problem::NoneOfItsOwn(wire))),
                        here => Ok(Ok(here.copied())),
                    };
                }
            }
            let identity = Identity { origin, key: wire, piece: piece.cloned() };
            if let Some(here) = self.key_here(database, *kind, *part, identity)? {
                return Ok(Ok(Some(here)));
            }
        }
        if let Some(together) = &self.together {
            let identity = Identity { origin, key: wire, piece: piece.cloned() };
            if let Some(number) = together.borrow_mut().number(&to.to, &identity)? {
                return Ok(Ok(Some(number)));
            }
        }
        let names = to.to.iter().map(|(kind, _)| database.kinds[*kind].name.as_str());
        let names = names.collect::<Vec<_>>().join(" or ");
        let line = match to.to.first() {
            Some((_, LINES)) => "line".to_owned(),
            Some((kind, part)) => {
                format!("row of {}", database.guard(*kind)?.parts[*part].name)
            }
            None => String::new(),
        };
        let of = match piece {
            Some(piece) => format!("{line} {wire} of {names} {piece}"),
            None if to.to.iter().any(|(_, part)| *part != HEADER) => {
                format!("{line} {wire} of {names}")
            }
            None => format!("{names} {wire}"),
        };
        Ok(Err(Problem::Missing(format!("{of} of {}", self.code(origin)))))
    }
}

/// Why a number of a document means nothing here.
enum Problem {
    /// A row's link is to none of the document's rows.
    Detached(i64),
    /// It is a site's that is not known here.
    UnknownSite(i64, String),
    /// It is none of the document's own rows.
    NoneOfItsOwn(i64),
    /// What it is the number of, in words, is not here.
    Missing(String),
}

impl Problem {
    /// `sale 42 of BSOC refers to customer 7 of CSOC by sale.customer_id, which is not here`.
    fn text(&self, name: &str, by: &str) -> String {
        match self {
            Problem::Missing(what) => format!("{name} refers to {what} by {by}, which is not here"),
            Problem::UnknownSite(number, code) => {
                format!(
                    "{name} refers to {number} of {code} by {by}, and {code} is no site known here"
                )
            }
            Problem::NoneOfItsOwn(number) => {
                format!(
                    "{name} refers to a row {number} of its own by {by}, which it does not have"
                )
            }
            Problem::Detached(number) => {
                format!("{name} has a row of {number} by {by}, which it does not have")
            }
        }
    }
}

/// A document as a person is told of it: `sale 42 of BSOC`.
pub fn document_name(kind: &str, key: &Value, origin: &str) -> String {
    format!("{kind} {key} of {origin}")
}

/// A reference as it stands in a document.
struct Asked<'a> {
    to: usize,
    origin: Option<i64>,
    wire: i64,
    said: Option<&'a Reference<'a>>,
}

/// What a document says of a number in a column and row.
fn said<'a>(
    references: &'a [Reference<'a>],
    part: &FittingPart,
    column: usize,
    wire: &Value,
    row: usize,
) -> Option<&'a Reference<'a>> {
    references.iter().find(|said| {
        said.key == *wire
            && *said.column == part.columns[column]
            && *said.part == part.name
            && (said.rows.is_empty() || said.rows.contains(&(row as i64)))
    })
}

/// Who has a row of a number.
enum Whose {
    /// The piece in question.
    Its,
    /// There is no such row.
    Nobodys,
    /// Another piece, or a row that belongs to none.
    Others,
}

impl Database {
    /// Who has the row of a part that has this number.
    fn whose(&mut self, kind: usize, part: usize, number: i64, piece: &Value) -> Result<Whose> {
        Ok(match self.piece_of_row(kind, part, number)? {
            Some(owner) if owner == *piece => Whose::Its,
            Some(_) => Whose::Others,
            // Such a row may be there without belonging to anybody.
            None if self.has_number(kind, part, number)? => Whose::Others,
            None => Whose::Nobodys,
        })
    }
}
