//! What a flow that is written has to do with a load: a remote asks for one, central answers with it, and each of central's
//! flows says how far its kinds are.

use super::emit::{Answer, Order};
use crate::domain::database::Database;
use crate::error::Result;
use crate::sqlite::Room;
use crate::storage::document::{Line, Load, TableLine};
use crate::storage::document_reader::read;
use crate::storage::flow_store::Flow;
use crate::storage::load_store::LoadStore;
use crate::storage::policy::Direction;
use crate::storage::site_store::{OwnSite, Role, Site};

/// The same, for one flow.
#[derive(Debug, Default)]
pub(super) struct Loading {
    /// The load that it asks for, or is.
    pub(super) load: Option<Load>,
    /// What its head lists.
    pub(super) tables: Vec<TableLine>,
    /// It is a load of changes, for a site that has this.
    stated: Option<Vec<TableLine>>,
    /// What there is here waits until the load has come: only then is it known which of it central has.
    pub(super) waits: bool,
    is_answer: bool,
}

impl Loading {
    /// Of a flow from `own` to `receiver` that answers another.
    pub(super) fn of(
        database: &mut Database,
        own: &OwnSite,
        receiver: &Site,
        order: &Order,
        answered: Option<&Flow>,
    ) -> Result<Loading> {
        let schema = database.schema.clone();
        let loads = LoadStore::new(database.connection, &schema);
        if own.role == Role::Remote {
            let asked = loads.asked()?.filter(|_| order.answer != Answer::None);
            let tables = match asked {
                Some(_) => tables(database, &loads.versions()?)?,
                None => Vec::new(),
            };
            let waits = loads.is_first()?;
            return Ok(Loading { load: asked, tables, waits, ..Loading::default() });
        }
        if receiver.role == Role::Central {
            return Ok(Loading::default());
        }
        let tables = tables(database, &loads.count_and_keep()?)?;
        let mut loading = Loading { tables, ..Loading::default() };
        if let Some(answered) = answered
            && let Line::Head(asks) = read(answered.head.as_bytes())?
            && let Some(load) = asks.load
        {
            (loading.load, loading.is_answer) = (Some(load), true);
            if load == Load::Changes {
                // Versions by the numbers of an earlier database of ours say nothing.
                let is_ours =
                    asks.acknowledges.is_some_and(|said| said.incarnation == own.incarnation);
                loading.stated = Some(if is_ours { asks.tables } else { Vec::new() });
            }
        }
        Ok(loading)
    }

    /// Whether all is to be sent, and what is not sent goes there.
    pub(super) fn is_full_answer(&self) -> bool {
        self.is_answer && self.load == Some(Load::Full)
    }

    /// Whether a site gets what it says that it has not, whatever was sent to it before.
    pub(super) fn heals(&self) -> bool {
        self.stated.is_some()
    }

    /// After which of our changes those of a kind are sent; None where that is for all kinds the same.
    pub(super) fn since_of(&self, kind: &str) -> Option<i64> {
        let stated = self.stated.as_ref()?;
        Some(stated.iter().find(|table| table.kind == kind).map_or(0, |table| table.version))
    }

    /// After which of our changes the flow begins.
    pub(super) fn since(&self, until: i64) -> Option<i64> {
        self.stated.as_ref()?;
        let since = self.tables.iter().filter_map(|table| self.since_of(&table.kind)).min();
        Some(since.unwrap_or(until).min(until))
    }
}

/// How far the kinds are that central sends: those that are not among `versions` have nothing yet.
fn tables(database: &mut Database, versions: &[TableLine]) -> Result<Vec<TableLine>> {
    let mut tables = Vec::new();
    for kind in kinds_that_come_down(database)? {
        let version = versions.iter().find(|table| table.kind == kind);
        tables.try_push(TableLine { version: version.map_or(0, |table| table.version), kind })?;
    }
    Ok(tables)
}

/// The kinds that travel from central to remotes and whose definition fits.
fn kinds_that_come_down(database: &mut Database) -> Result<Vec<String>> {
    let mut kinds = Vec::new();
    for place in database.guarded_kinds() {
        if database.kinds[place].definition.sync.is_none() || !database.fits(place)? {
            continue;
        }
        let guard = database.guard(place)?;
        if guard.sync.as_ref().is_some_and(|policy| policy.direction != Direction::Up) {
            kinds.try_push(guard.kind.clone())?;
        }
    }
    Ok(kinds)
}
