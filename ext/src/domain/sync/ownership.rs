//! Who may change what: pure, from a kind's policy and what is known of the piece or record.

use crate::storage::policy::{Direction, Owner, Policy};
use crate::storage::site_store::Role;

/// What is known when somebody writes.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What this site is.
    pub role: Role,
    /// The kind's policy.
    pub policy: &'a Policy,
    /// It was created here, or is just being created.
    pub is_own: bool,
    /// Central has its newest change.
    pub is_accepted: bool,
}

/// Why a write is not allowed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Central alone changes it, and it only comes down.
    OfCentral,
    /// The site that created it alone changes it.
    OfOrigin,
    /// The site that created it and central alone change it.
    OfOriginOrCentral,
    /// It came up from a remote, and central only reads it.
    ReadOnly,
    /// It was sent to central, which has it now.
    Sent,
}

/// Whether a host may write.
///
/// # Errors
/// Why not.
pub fn may_write(facts: Facts<'_>) -> Result<(), Refusal> {
    let Facts { role, policy, is_own, is_accepted } = facts;
    match role {
        Role::Central => match (policy.direction, policy.owner) {
            _ if is_own => Ok(()),
            (Direction::Up, _) => Err(Refusal::ReadOnly),
            (_, Owner::Origin) => Err(Refusal::OfOrigin),
            _ => Ok(()),
        },
        Role::Remote => match (policy.direction, policy.owner) {
            (Direction::Down, _) | (_, Owner::Central) => Err(Refusal::OfCentral),
            (_, Owner::Origin) if !is_own => Err(Refusal::OfOrigin),
            (_, Owner::Either) if !is_own => Err(Refusal::OfOriginOrCentral),
            _ if policy.freeze && is_own && is_accepted => Err(Refusal::Sent),
            _ => Ok(()),
        },
    }
}

/// Whether there is any write that the policy does not allow at a site of this role: otherwise nothing needs be known.
pub fn restricts(role: Role, policy: &Policy) -> bool {
    let whose = [(true, true), (true, false), (false, false)];
    whose.into_iter().any(|(is_own, is_accepted)| {
        may_write(Facts { role, policy, is_own, is_accepted }).is_err()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::policy::{PolicyDefinition, Preset};

    fn policy(preset: Preset) -> Policy {
        let definition = PolicyDefinition { preset: Some(preset), ..PolicyDefinition::default() };
        definition.policy(preset == Preset::Customer, true).unwrap()
    }

    /// What a site of this role may do with: its own, its own that central has, another's.
    fn rules(role: Role, policy: &Policy) -> [Option<Refusal>; 3] {
        [(true, false), (true, true), (false, false)].map(|(is_own, is_accepted)| {
            may_write(Facts { role, policy, is_own, is_accepted }).err()
        })
    }

    #[test]
    fn customers_are_everybodys() {
        let customer = policy(Preset::Customer);
        for role in [Role::Central, Role::Remote] {
            assert_eq!(rules(role, &customer), [None; 3]);
            assert!(!restricts(role, &customer));
        }
    }

    #[test]
    fn articles_are_centrals() {
        let article = policy(Preset::Article);
        assert_eq!(rules(Role::Central, &article), [None; 3]);
        assert_eq!(rules(Role::Remote, &article), [Some(Refusal::OfCentral); 3]);
    }

    #[test]
    fn pieces_are_their_emitters_until_central_has_them_and_centrals() {
        let piece = policy(Preset::Piece);
        assert_eq!(rules(Role::Central, &piece), [None; 3]);
        assert!(!restricts(Role::Central, &piece));
        assert_eq!(
            rules(Role::Remote, &piece),
            [None, Some(Refusal::Sent), Some(Refusal::OfOriginOrCentral)]
        );
    }

    #[test]
    fn closings_are_their_sites_alone() {
        let till = policy(Preset::Till);
        for role in [Role::Central, Role::Remote] {
            assert_eq!(rules(role, &till), [None, None, Some(Refusal::OfOrigin)]);
        }
    }

    #[test]
    fn what_only_goes_up_is_read_at_central() {
        let up = PolicyDefinition {
            direction: Some(Direction::Up),
            owner: Some(Owner::Anyone),
            ..PolicyDefinition::default()
        };
        let up = up.policy(false, true).unwrap();
        assert_eq!(rules(Role::Central, &up), [None, None, Some(Refusal::ReadOnly)]);
        assert_eq!(rules(Role::Remote, &up), [None; 3]);
    }
}
