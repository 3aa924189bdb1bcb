//! What waits for the next flow to a site, and what a site has: statements on `talon_held` and `talon_reach`, and the question
//! whether a document is set aside.

use super::flow_store::{FlowStore, integers};
use crate::error::Result;
use crate::sqlite::{Statement, ValueRef};

/// The same for one site, prepared for as long as a flow is written.
pub struct Waiting {
    site: i64,
    hold: Statement,
    /// Where nothing waited when the flow was begun, nothing has to be released.
    release: Option<Statement>,
    is_held: Statement,
    /// Where nothing is set aside, nobody has to look.
    is_set_aside: Option<Statement>,
    /// Where nothing was found, nobody has to look.
    is_found: Option<Statement>,
    reach: Statement,
    reaches: Statement,
    leave: Statement,
}

/// The `reason` of a piece that was there before anything of central's came: it may be one that central has, too, and waits
/// until central has said what it has.
pub const FOUND: &str = "found";

/// A piece waits for the next flow to a site because that did not take it: the site, its kind, its key, why, and when that was
/// heard, in ms since 1970.
pub const HOLD_REFUSED: &str =
    "INSERT INTO {s}.talon_held(site, kind, key, reason, at) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO UPDATE SET flow = NULL, reason = excluded.reason, at = excluded.at";

/// Whether a piece waits for the next flow to a site: the site, its kind, its key.
pub const IS_HELD: &str = "SELECT 1 FROM {s}.talon_held WHERE site = ?1 AND kind = ?2 AND key = ?3";
/// Whether it does so because it was [`FOUND`], which is the fourth value.
pub const IS_FOUND: &str =
    "SELECT 1 FROM {s}.talon_held WHERE site = ?1 AND kind = ?2 AND key = ?3 AND reason = ?4";
/// Whether a document of ours is set aside here: its kind's name, its key at its origin.
pub const IS_SET_ASIDE: &str =
    "SELECT 1 FROM {s}.talon_quarantined WHERE direction = 'out' AND kind = ?1 AND key = ?2";

impl Waiting {
    /// Prepares the statements.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn prepare(store: &FlowStore<'_>, site: i64) -> Result<Waiting> {
        let any_held = store.integer(
            "SELECT EXISTS (SELECT 1 FROM {s}.talon_held WHERE site = ?1)",
            &integers([site]),
        )?;
        let any_set_aside = store.integer(
            "SELECT EXISTS (SELECT 1 FROM {s}.talon_quarantined WHERE direction = 'out')",
            &[],
        )?;
        let prepare_if = |wanted: Option<i64>, sql: &str| match wanted {
            Some(1) => store.prepare(sql).map(Some),
            _ => Ok(None),
        };
        Ok(Waiting {
            site,
            hold: store.prepare(
                "INSERT INTO {s}.talon_held(site, kind, key, flow) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET flow = excluded.flow",
            )?,
            release: prepare_if(
                any_held,
                "UPDATE {s}.talon_held SET flow = ?4 WHERE site = ?1 AND kind = ?2 AND key = ?3",
            )?,
            is_held: store.prepare(IS_HELD)?,
            is_set_aside: prepare_if(any_set_aside, IS_SET_ASIDE)?,
            is_found: prepare_if(any_held, IS_FOUND)?,
            reach: store.prepare(
                "INSERT OR IGNORE INTO {s}.talon_reach(site, kind, key) VALUES (?1, ?2, ?3)",
            )?,
            reaches: store.prepare(
                "SELECT 1 FROM {s}.talon_reach WHERE site = ?1 AND kind = ?2 AND key = ?3",
            )?,
            leave: store.prepare(
                "DELETE FROM {s}.talon_reach WHERE site = ?1 AND kind = ?2 AND key = ?3",
            )?,
        })
    }

    /// A piece waits: for the flow after this one, or until this flow of ours is acknowledged.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn hold(&mut self, kind: i64, key: ValueRef<'_>, until: Option<i64>) -> Result<()> {
        let [site, kind] = integers([self.site, kind]);
        let until = until.map_or(ValueRef::Null, ValueRef::Integer);
        Ok(self.hold.run(&[site, kind, key, until])?)
    }

    /// A piece that may have waited waits no longer once this flow of ours is acknowledged.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn release(&mut self, kind: i64, key: ValueRef<'_>, flow: i64) -> Result<()> {
        let [site, kind, flow] = integers([self.site, kind, flow]);
        match &mut self.release {
            Some(release) => Ok(release.run(&[site, kind, key, flow])?),
            None => Ok(()),
        }
    }

    /// Whether anything waited for the site when the flow was begun.
    pub fn has_any(&self) -> bool {
        self.release.is_some()
    }

    /// Whether a piece was there before anything of the site's came.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn is_found(&mut self, kind: i64, key: ValueRef<'_>) -> Result<bool> {
        let [site, kind] = integers([self.site, kind]);
        let found = ValueRef::Text(FOUND.as_bytes());
        match &mut self.is_found {
            Some(asked) => Ok(asked.first(&[site, kind, key, found], |_| Ok(()))?.is_some()),
            None => Ok(false),
        }
    }

    /// Whether a piece waits.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn is_held(&mut self, kind: i64, key: ValueRef<'_>) -> Result<bool> {
        let [site, kind] = integers([self.site, kind]);
        Ok(self.is_held.first(&[site, kind, key], |_| Ok(()))?.is_some())
    }

    /// Whether a document of ours, by its kind's name and the key at its origin, is set aside here.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn is_set_aside(&mut self, kind: &str, key: ValueRef<'_>) -> Result<bool> {
        let values = [ValueRef::Text(kind.as_bytes()), key];
        match &mut self.is_set_aside {
            Some(asked) => Ok(asked.first(&values, |_| Ok(()))?.is_some()),
            None => Ok(false),
        }
    }

    /// Whether the site has a piece of a kind that is filtered.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn reaches(&mut self, kind: i64, key: ValueRef<'_>) -> Result<bool> {
        let [site, kind] = integers([self.site, kind]);
        Ok(self.reaches.first(&[site, kind, key], |_| Ok(()))?.is_some())
    }

    /// The site has it, or gets it now.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn reach(&mut self, kind: i64, key: ValueRef<'_>) -> Result<()> {
        let [site, kind] = integers([self.site, kind]);
        Ok(self.reach.run(&[site, kind, key])?)
    }

    /// The site has it no longer.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn leave(&mut self, kind: i64, key: ValueRef<'_>) -> Result<()> {
        let [site, kind] = integers([self.site, kind]);
        Ok(self.leave.run(&[site, kind, key])?)
    }
}
