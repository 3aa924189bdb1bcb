//! Documents that refer to each other: none of them can be the first. They are written once for trial, with numbers that mean
//! nothing where one refers to another, which shows the numbers that they get; then again with these, all or none.

use super::identity::{Identities, Identity};
use crate::domain::database::Database;
use crate::domain::talon::Talon;
use crate::error::Result;
use crate::sqlite::{Room, RoomForKeys, gather_set};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Kinds and parts that a reference may mean, and who the row is that it means.
type Wanted = (Vec<(usize, usize)>, Identity);

/// What documents that are written together know of each other.
#[derive(Default)]
pub struct Together {
    /// References to what is not here yet are noted, and get a number that means nothing.
    is_trial: bool,
    wanted: Vec<Wanted>,
    /// The numbers that rows will have.
    promised: HashMap<(usize, usize, Identity), i64>,
}

impl Together {
    /// The number of a row that is not here yet; None where it is not one of these documents'.
    ///
    /// # Errors
    /// [`crate::error::Error::Memory`].
    pub fn number(&mut self, to: &[(usize, usize)], identity: &Identity) -> Result<Option<i64>> {
        for (kind, part) in to {
            if let Some(number) = self.promised.get(&(*kind, *part, identity.clone())) {
                return Ok(Some(*number));
            }
        }
        if !self.is_trial {
            return Ok(None);
        }
        self.wanted.try_push((to.to_vec(), identity.clone()))?;
        // Each another one, as there may be a unique index; positive, as there may be a check.
        Ok(Some(i64::MAX - self.wanted.len() as i64))
    }
}

/// A document that waits for another one.
struct Waits {
    id: i64,
    flow: Option<i64>,
    /// What it is called in other documents' reasons, and what it waits for: `customer 7 of bsoc`, as codes of sites are the
    /// same in any case.
    name: String,
    wants: String,
}

impl Waits {
    /// A key that all sites share is named without its origin.
    fn names(&self) -> impl Iterator<Item = &str> {
        let shared = self.name.rsplit_once(" of ").map(|(name, _)| name);
        std::iter::once(self.name.as_str()).chain(shared)
    }

    /// What it waits for, or what that is a line of.
    fn wants(&self) -> impl Iterator<Item = &str> {
        let wants = Some(self.wants.as_str());
        std::iter::successors(wants, |wants| Some(wants.split_once(" of ")?.1))
    }

    fn is_beside(&self, other: &Waits) -> bool {
        let waits_for = |waits: &Waits, other: &Waits| {
            waits.wants().any(|wants| other.names().any(|name| name == wants))
        };
        waits_for(self, other) || waits_for(other, self)
    }
}

/// Documents in groups of which none waits for one of another group; nothing where all are in one.
fn apart(waiting: Vec<Waits>) -> Result<Vec<Vec<Waits>>> {
    let mut groups: Vec<Vec<Waits>> = Vec::new();
    for waits in waiting {
        let mut own = Vec::new();
        let is_of = |group: &mut Vec<Waits>| group.iter().any(|other| other.is_beside(&waits));
        for group in groups.extract_if(.., is_of) {
            own.make_room(group.len())?;
            own.extend(group);
        }
        own.try_push(waits)?;
        groups.try_push(own)?;
    }
    if groups.len() < 2 {
        groups.clear();
    }
    Ok(groups)
}

impl Talon {
    /// Applies documents that wait for each other; gives the flows that brought them.
    ///
    /// # Errors
    /// What concerns the machine, not the documents.
    pub(super) fn try_together(&self, database: &mut Database) -> Result<Vec<Option<i64>>> {
        let mut groups = vec![database.waiting_for_each_other()?];
        while let Some(mut waiting) = groups.pop() {
            if waiting.len() < 2 {
                continue;
            }
            database.own_statement("SAVEPOINT talon_together")?.run(&[])?;
            let attempt = self.attempt_together(database, &waiting)?;
            if attempt.is_err() {
                database.own_statement("ROLLBACK TO talon_together")?.run(&[])?;
                database.forget_rows();
            }
            database.own_statement("RELEASE talon_together")?.run(&[])?;
            match attempt {
                Ok(()) => return Ok(waiting.into_iter().map(|waits| waits.flow).collect()),
                // What concerns some of them is not to keep the others back.
                Err(out) if out.is_empty() => groups.extend(apart(waiting)?),
                Err(out) => {
                    waiting.retain(|waits| !out.contains(&waits.id));
                    groups.try_push(waiting)?;
                }
            }
        }
        Ok(Vec::new())
    }

    /// Writes them all, or says which ones cannot be: none where it is not known.
    fn attempt_together(
        &self,
        database: &mut Database,
        waiting: &[Waits],
    ) -> Result<std::result::Result<(), HashSet<i64>>> {
        let trial = Rc::new(RefCell::new(Together { is_trial: true, ..Together::default() }));
        let (mut out, mut ends) = (HashSet::new(), Vec::new());
        database.own_statement("SAVEPOINT talon_trial")?.run(&[])?;
        for waits in waiting {
            if !self.try_with(database, waits.id, Some(&trial))? {
                out.make_room(1)?;
                out.insert(waits.id);
            }
            ends.try_push(trial.borrow().wanted.len())?;
        }
        let wanted = std::mem::take(&mut trial.borrow_mut().wanted);
        let mut known = Together::default();
        let mut identities = Identities::begin(database)?;
        let mut begin = 0;
        for (waits, end) in waiting.iter().zip(ends) {
            for (to, identity) in wanted.get(begin..end).unwrap_or_default() {
                let mut is_here = false;
                for (kind, part) in to {
                    let here = identities.key_here(database, *kind, *part, identity.clone())?;
                    if let Some(here) = here {
                        known.promised.make_room(1)?;
                        known.promised.insert((*kind, *part, identity.clone()), here);
                        is_here = true;
                    }
                }
                if !is_here {
                    out.make_room(1)?;
                    out.insert(waits.id);
                }
            }
            begin = end;
        }
        database.own_statement("ROLLBACK TO talon_trial")?.run(&[])?;
        database.own_statement("RELEASE talon_trial")?.run(&[])?;
        database.forget_rows();
        if !out.is_empty() {
            return Ok(Err(out));
        }
        let known = Rc::new(RefCell::new(known));
        for waits in waiting {
            if !self.try_with(database, waits.id, Some(&known))? {
                return Ok(Err(gather_set(std::iter::once(waits.id))?));
            }
        }
        let mut identities = Identities::begin(database)?;
        for ((kind, part, identity), promised) in &known.borrow().promised {
            if identities.key_here(database, *kind, *part, identity.clone())? != Some(*promised) {
                return Ok(Err(HashSet::new()));
            }
        }
        let is_whole = !self.connection.has_pending_foreign_keys();
        Ok(if is_whole { Ok(()) } else { Err(HashSet::new()) })
    }
}

impl Database {
    /// Documents that wait for one another, as far as their reasons tell.
    fn waiting_for_each_other(&mut self) -> Result<Vec<Waits>> {
        let asked = self.own_statement(
            "SELECT id, flow, kind || ' ' || key || ' of ' || origin, reason FROM {s}.talon_quarantined
             WHERE direction = 'in' AND document IS NOT NULL AND reason LIKE '%, which is not here' ORDER BY id",
        )?;
        let (mut rows, mut waiting) = (asked.query(&[])?, Vec::new());
        while rows.next()? {
            let reason = rows.column(3).as_str().unwrap_or_default();
            let wants = reason.split_once(" refers to ").map_or("", |(_, wants)| wants);
            let wants = wants.rsplit_once(" by ").map_or("", |(wants, _)| wants);
            waiting.try_push(Waits {
                id: rows.column(0).as_integer().unwrap_or(0),
                flow: rows.column(1).as_integer(),
                name: rows.column(2).as_str().unwrap_or_default().to_ascii_lowercase(),
                wants: wants.to_ascii_lowercase(),
            })?;
        }
        loop {
            let names = gather_set(waiting.iter().flat_map(Waits::names))?;
            let is_there = |waits: &Waits| waits.wants().any(|wants| names.contains(wants));
            let kept = waiting.iter().filter(|waits| is_there(waits)).map(|waits| waits.id);
            let kept = gather_set(kept)?;
            if kept.len() == waiting.len() {
                return Ok(waiting);
            }
            waiting.retain(|waits| kept.contains(&waits.id));
        }
    }
}
