//! How a piece came to be what it is: whose it is, which rule holds, its versions, and the flows that carried them.

use super::identity::Identities;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Room, Value, ValueRef};
use crate::storage::policy::{Direction, Merge, Owner, Policy};

/// One version of a piece.
#[derive(Debug)]
pub struct Version {
    /// Which one.
    pub version: i64,
    /// When it was made.
    pub stamp: i64,
    /// Where.
    pub site: String,
    /// The site that it came from; None for what was made or put together here.
    pub via: Option<String>,
    /// The flow that brought it.
    pub flow: Option<i64>,
    /// The flows of this database that carried it on, as `12 to ASOC, 13 to CSOC`.
    pub sent_in: Option<String>,
    /// Who may change the piece.
    pub owner: &'static str,
    /// What holds for its kind.
    pub rule: String,
    /// The site that created it.
    pub origin: String,
    /// The key that it has there.
    pub origin_key: Value,
}

impl Talon {
    /// The versions of a piece or record, the newest first.
    ///
    /// # Errors
    /// [`Error::UnknownKind`]; [`Error::Argument`] for a kind that is not synchronised.
    pub fn why(&self, schema: &str, kind: &str, piece: ValueRef<'_>) -> Result<Vec<Version>> {
        let place =
            self.look(schema, Some(kind))?.ok_or_else(|| Error::NotInstalled(schema.to_owned()))?;
        let mut databases = self.databases()?;
        let database = &mut databases[place.database];
        let mut identities = Identities::begin(database)?;
        let Some(layout) = identities.layout(database, place.kind)? else {
            return Err(Error::Argument(format!(
                "{kind} is not synchronised: its guard has no \"sync\""
            )));
        };
        let id = database.kinds[place.kind].id;
        let key = piece.to_value()?;
        let Some(state) = database.store()?.piece(id, &key)? else { return Ok(Vec::new()) };
        let origin = identities.origin(&layout, &state);
        let asked = database.own_statement(
            "SELECT c.version, c.stamp, s.code, v.code, c.flow, c.previous,
               (SELECT group_concat(f.id || ' to ' || r.code, ', ') FROM {s}.talon_flow AS f JOIN {s}.talon_site AS r ON r.id = f.receiver
                WHERE f.sender = ?2 AND f.since < c.seq AND f.until >= c.seq AND (?3 IS NULL OR f.until < ?3)
                  AND f.receiver IS NOT c.via)
             FROM {s}.talon_change AS c LEFT JOIN {s}.talon_site AS s ON s.id = c.site
             LEFT JOIN {s}.talon_site AS v ON v.id = c.via WHERE c.seq = ?1",
        )?;
        let (mut versions, mut next, mut later) = (Vec::new(), state.change(), ValueRef::Null);
        while let Some(seq) = next {
            let values = [ValueRef::Integer(seq), ValueRef::Integer(identities.own), later];
            let found = asked.first(&values, |row| {
                let text = |at: usize| row.column(at).as_str().map(str::to_owned);
                let version = Version {
                    version: row.column(0).as_integer().unwrap_or(0),
                    stamp: row.column(1).as_integer().unwrap_or(0),
                    site: text(2).unwrap_or_default(),
                    via: text(3),
                    flow: row.column(4).as_integer(),
                    sent_in: text(6),
                    owner: owner(&layout.policy),
                    rule: rule(&layout.policy),
                    origin: identities.code(origin).to_string(),
                    origin_key: state.origin_key().map_or_else(|| key.clone(), Value::Integer),
                };
                Ok((version, row.column(5).as_integer()))
            })?;
            let Some((version, previous)) = found else { break };
            versions.try_push(version)?;
            later = ValueRef::Integer(seq);
            next = previous.filter(|previous| *previous < seq);
        }
        Ok(versions)
    }
}

fn owner(policy: &Policy) -> &'static str {
    match policy.owner {
        Owner::Origin => "its origin",
        Owner::Central => "central",
        Owner::Either => "its origin or central",
        Owner::Anyone => "anyone",
    }
}

fn rule(policy: &Policy) -> String {
    let direction = match policy.direction {
        Direction::Up => "goes up",
        Direction::Down => "comes down",
        Direction::Both => "goes both ways",
    };
    let merge = match policy.merge {
        Merge::Row => "the later change wins",
        Merge::Field => "the later change of each field wins",
    };
    let mut rule = format!("{direction}; {merge}");
    if policy.freeze {
        rule.push_str("; a remote no longer changes what central has");
    }
    if let Some(when) = &policy.when {
        rule.push_str(&format!("; a remote creates it when {when}"));
    }
    if let Some(filter) = &policy.filter {
        rule.push_str(&format!("; a site gets it when {filter}"));
    }
    rule
}
