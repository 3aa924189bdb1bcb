//! How far each kind is here and at central, as `talon_tables` shows it.

use crate::domain::talon::Talon;
use crate::error::Result;
use crate::sqlite::Room;
use crate::storage::definition::Definition;
use crate::storage::load_store::{LoadStore, TableRow};
use crate::storage::policy::Direction;
use crate::storage::schema::SYNC_SINCE;
use crate::storage::site_store::Role;
use crate::storage::stamp;

/// A kind that travels.
#[derive(Debug)]
pub struct LoadedTable {
    /// Its name.
    pub kind: String,
    /// The tables that hold it and the way it travels; None where this database does not have the kind.
    pub here: Option<(String, Direction)>,
    /// How far it is here, and when that was reached, in ms since 1970; `newest` is how far it is at central. None where it
    /// does not come down.
    pub row: Option<TableRow>,
}

impl Talon {
    /// The kinds that travel, by their names: those of this database, and those that central has told of.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn tables(&self, place: usize) -> Result<Vec<LoadedTable>> {
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        if database.format < SYNC_SINCE {
            return Ok(Vec::new());
        }
        database.refresh()?;
        let schema = database.schema.clone();
        let loads = LoadStore::new(self.connection, &schema);
        let is_central = database.own_site()?.is_some_and(|own| own.role == Role::Central);
        let mut known = match is_central {
            true => {
                let mut rows = Vec::new();
                for table in loads.count()?.0 {
                    let change = database.change(table.version)?;
                    rows.try_push(TableRow {
                        newest: Some(table.version),
                        version: table.version,
                        as_of: change.map(|change| stamp::ms(change.stamp)),
                        kind: table.kind,
                    })?;
                }
                rows
            }
            false => loads.tables()?,
        };
        let mut found = Vec::new();
        for kind in database.guarded_kinds() {
            let kind = &database.kinds[kind];
            let Some(direction) = direction(&kind.definition) else { continue };
            let row = known.iter().position(|row| row.kind == kind.name);
            let row = match row {
                Some(at) => known.swap_remove(at),
                None => TableRow {
                    kind: kind.name.clone(),
                    version: 0,
                    newest: is_central.then_some(0),
                    as_of: None,
                },
            };
            found.try_push(LoadedTable {
                kind: kind.name.clone(),
                here: Some((tables_of(&kind.definition), direction)),
                row: (direction != Direction::Up).then_some(row),
            })?;
        }
        for row in known.into_iter().filter(|row| !is_central && row.newest.is_some()) {
            found.try_push(LoadedTable { kind: row.kind.clone(), here: None, row: Some(row) })?;
        }
        found.sort_by(|one, other| one.kind.cmp(&other.kind));
        Ok(found)
    }
}

/// Which way a kind travels; None where it does not.
fn direction(definition: &Definition) -> Option<Direction> {
    let policy = definition.sync.as_ref()?.policy(definition.lines.is_none(), true);
    policy.ok().map(|policy| policy.direction)
}

fn tables_of(definition: &Definition) -> String {
    let lines = definition.lines.iter().map(|lines| lines.table.as_str());
    let details = definition.details.iter().map(|detail| detail.table.as_str());
    let tables: Vec<&str> =
        std::iter::once(definition.header.table.as_str()).chain(lines).chain(details).collect();
    tables.join(", ")
}
