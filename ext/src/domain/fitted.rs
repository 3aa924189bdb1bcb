//! A guard fitted to today's schema, with the statements that capture runs for it.

use super::database::Kind;
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Statement};
use crate::storage::definition::{Columns, Definition};
use crate::storage::fit;
use crate::storage::guard::{self, Guard, HEADER};
use crate::storage::image::{Collector, ImageReader};
use crate::storage::shape::{quote_equal, quote_list};
use crate::storage::trigger::{self, further_unique};
use std::collections::HashMap;
use std::rc::Rc;

/// A foreign key to a part's table.
#[derive(Clone)]
pub struct Reference {
    /// The table that refers.
    pub table: String,
    /// Its columns.
    pub from: Vec<String>,
    /// The columns they refer to.
    pub to: Vec<String>,
    /// Deleting what is referred to deletes or changes the row.
    pub acts_on_delete: bool,
}

/// What is asked of a part's rows, or done to them, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Read those of a piece.
    Read,
    /// Find what one belongs to.
    FindOwner,
    /// Find out whether there is one.
    Find,
    /// Delete one.
    Delete,
}

/// A guard with the statements that capture runs for it.
pub struct Fitted {
    /// The guard.
    pub guard: Rc<Guard>,
    pub(super) reader: ImageReader,
    pub(super) shape: Option<i64>,
    pub(super) own_key: Statement,
    pub(super) unique: Vec<(usize, Statement)>,
    /// For parts below the lines: from a row's link to its parent's link.
    pub(super) upward: Vec<Option<Statement>>,
    /// What restores run over and over, by its text.
    pub(super) statements: HashMap<String, Statement>,
    /// And what is run for row after row.
    pub(super) part_statements: HashMap<(usize, Purpose), Statement>,
    /// Which tables refer to a part's, by the part.
    pub(super) references: HashMap<usize, Vec<Reference>>,
}

/// Fits a definition; where a table or a key column has another name by now, follows the triggers, which SQLite keeps
/// true when it renames.
pub fn fit_followed(
    connection: Connection,
    schema: &str,
    kind: &mut Kind,
    collector: &Rc<Collector>,
) -> Result<Fitted> {
    let fit =
        |definition: &Definition| fit::fit(connection, schema, kind.id, &kind.name, definition);
    let mut reduced = None;
    let guard = match fit(&kind.definition) {
        Err(Error::Definition { .. }) => {
            let definition = followed(connection, schema, kind)?;
            match fit(&definition) {
                // Labels and order are for people: pieces are captured without them.
                Err(Error::Definition { problem, .. }) => {
                    reduced = Some(problem);
                    fit(&definition.without_display())?
                }
                other => other?,
            }
        }
        other => other?,
    };
    kind.reduced = reduced;
    prepare(connection, schema, guard, collector)
}

/// The definition with the names that the triggers know.
fn followed(connection: Connection, schema: &str, kind: &Kind) -> Result<Definition> {
    let mut definition = kind.definition.clone();
    for installed in trigger::installed(connection, schema, kind.id)? {
        let mut words = installed.name.rsplit('_');
        let (Some("deleting"), Some(part)) = (words.next(), words.next()) else {
            continue;
        };
        let Ok(part) = part.parse::<usize>() else {
            continue;
        };
        let columns = Columns::Several(trigger::named_columns(&installed.sql));
        let (table, link) = match part {
            guard::HEADER => (&mut definition.header.table, &mut definition.header.key),
            guard::LINES => match &mut definition.lines {
                Some(lines) => (&mut lines.table, &mut lines.piece),
                None => continue,
            },
            part => match definition.details.get_mut(part - 2) {
                Some(detail) => (&mut detail.table, &mut detail.piece),
                None => continue,
            },
        };
        *table = installed.table;
        *link = Some(columns);
    }
    Ok(definition)
}

fn prepare(
    connection: Connection,
    schema: &str,
    guard: Guard,
    collector: &Rc<Collector>,
) -> Result<Fitted> {
    let header = guard.header();
    let key = quote_list("h.", &header.key);
    let from = header.from_clause(schema);
    let own_key = connection
        .prepare_kept(&format!("SELECT {key} FROM {from} WHERE {}", guard.header_is()))?;
    let mut unique = Vec::new();
    for columns in further_unique(header) {
        let condition = quote_equal("h.", columns, 1);
        let sql = format!("SELECT {key} FROM {from} WHERE {condition}");
        unique.push((columns.len(), connection.prepare_kept(&sql)?));
    }
    let mut upward = Vec::new();
    for part in &guard.parts {
        if part.parent == HEADER {
            upward.push(None);
            continue;
        }
        let parent = &guard.parts[part.parent];
        let prefix = format!("{}.", parent.alias);
        let sql = format!(
            "SELECT {} FROM {} WHERE {}",
            quote_list(&prefix, &parent.link),
            parent.from_clause(schema),
            quote_equal(&prefix, &parent.key, 1)
        );
        upward.push(Some(connection.prepare_kept(&sql)?));
    }
    Ok(Fitted {
        reader: ImageReader::prepare(connection, schema, &guard, collector)?,
        guard: Rc::new(guard),
        shape: None,
        own_key,
        unique,
        upward,
        statements: HashMap::new(),
        part_statements: HashMap::new(),
        references: HashMap::new(),
    })
}
