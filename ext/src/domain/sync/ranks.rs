//! Which kinds refer to which: what is referred to comes first and goes last.

use super::identity::Identities;
use crate::domain::database::Database;
use crate::error::Result;
use crate::storage::guard::Guard;

impl Identities {
    /// The ranks of kinds: higher than those of the kinds that they refer to; kinds that refer to each other end somewhere.
    ///
    /// # Errors
    /// What SQLite reports; [`crate::error::Error::Definition`].
    pub(super) fn ranks(
        &mut self,
        database: &mut Database,
        places: &[usize],
    ) -> Result<Vec<usize>> {
        let mut pairs = Vec::new();
        let at = |place: usize| places.iter().position(|known| *known == place);
        for (from, place) in places.iter().enumerate() {
            let Some(layout) = self.layout(database, *place)? else { continue };
            for target in &layout.targets {
                let to = target.to.iter().filter_map(|(to, _)| at(*to));
                pairs.extend(to.filter(|to| *to != from).map(|to| (from, to)));
            }
            for table in parents(&layout.guard) {
                for (to, parent) in places.iter().enumerate().filter(|(to, _)| *to != from) {
                    let guard = database.guard(*parent)?;
                    if guard.parts.iter().any(|part| part.table.name.eq_ignore_ascii_case(&table)) {
                        pairs.push((from, to));
                    }
                }
            }
        }
        let mut ranks = vec![0; places.len()];
        for _ in places {
            for (from, to) in &pairs {
                let above: usize = ranks[*to] + 1;
                ranks[*from] = above.max(ranks[*from]).min(places.len());
            }
        }
        Ok(ranks)
    }
}

/// Tables that a kind's tables refer to.
fn parents(guard: &Guard) -> Vec<String> {
    let keys = guard.parts.iter().flat_map(|part| &part.table.foreign_keys);
    keys.map(|key| key.parent.clone()).collect()
}
