//! Changes that nobody asks for any more go; images that other sites are yet to get stay.

use crate::domain::database::Database;
use crate::error::Result;
use crate::sqlite::ValueRef;
use crate::storage::schema::{fact, set_fact};

/// The fact that says up to where superseded changes are gone.
const PRUNED: &str = "pruned";

/// Up to here every other site has our changes; NULL where there is none.
const LEAST: &str = "SELECT min(acknowledged) FROM {s}.talon_site
    WHERE id <> (SELECT value FROM {s}.talon_meta WHERE name = 'site')
      AND (role = 'central' OR EXISTS (SELECT 1 FROM {s}.talon_site AS o JOIN {s}.talon_meta AS m ON m.name = 'site'
        AND o.id = m.value AND o.role = 'central'))";

/// Of those that a newer one has followed that everybody has.
const PRUNE: &str = "DELETE FROM {s}.talon_change
    WHERE seq IN (SELECT previous FROM {s}.talon_change WHERE seq > ?1 AND seq <= ?2 AND previous IS NOT NULL)
      AND NOT EXISTS (SELECT 1 FROM {s}.talon_piece AS p
        WHERE p.kind = talon_change.kind AND p.saved IN (0, 1) AND p.key = talon_change.key AND p.change = talon_change.seq)";

impl Database {
    /// The number of the newest of our changes that all sites have that are to get them: of a remote, central; of
    /// central, its remotes. None where this database exchanges flows with nobody.
    fn least_acknowledged(&mut self) -> Result<Option<i64>> {
        if self.own_site()?.is_none() {
            return Ok(None);
        }
        let least = self.own_statement(LEAST)?.first(&[], |row| Ok(row.column(0).as_integer()))?;
        Ok(least.flatten())
    }

    /// A condition over a snapshot `s`: it is the newest change of its piece, and another site is yet to get it. None where
    /// there is no such snapshot.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(in crate::domain) fn unsent_condition(&mut self) -> Result<Option<String>> {
        let Some(least) = self.least_acknowledged()? else { return Ok(None) };
        Ok(Some(format!(
            "s.id IN (SELECT c.snapshot FROM {{s}}.talon_change AS c
               JOIN {{s}}.talon_piece AS p ON p.kind = c.kind AND p.saved = 1 AND p.key = c.key AND p.change = c.seq
               WHERE c.seq > {least} OR EXISTS
                 (SELECT 1 FROM {{s}}.talon_held AS w WHERE w.kind = c.kind AND w.key = c.key))"
        )))
    }

    /// Removes the changes that newer ones have followed which all sites have.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(in crate::domain) fn prune_changes(&mut self) -> Result<()> {
        let Some(least) = self.least_acknowledged()? else { return Ok(()) };
        let schema = self.schema.clone();
        let pruned = fact(self.connection, &schema, PRUNED)?.unwrap_or(0);
        if least <= pruned {
            return Ok(());
        }
        self.own_statement(PRUNE)?.run(&[ValueRef::Integer(pruned), ValueRef::Integer(least)])?;
        set_fact(self.connection, &schema, PRUNED, least)
    }
}
