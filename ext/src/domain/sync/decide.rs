//! What becomes of a document that arrives: pure, from what stands here and what comes.

use std::cmp::Ordering;

/// When and where a change was made. All sites order the changes of one piece by it, in the same way.
#[derive(Debug, Clone, Copy)]
pub struct Mark<'a> {
    /// The hybrid logical clock's.
    pub stamp: i64,
    /// The code of the site.
    pub site: &'a str,
}

impl Mark<'_> {
    /// By the stamp, then by the site's code, whatever its case.
    pub fn compare(&self, other: &Mark<'_>) -> Ordering {
        self.stamp
            .cmp(&other.stamp)
            .then_with(|| in_capitals(self.site).cmp(in_capitals(other.site)))
    }

    /// Whether it is the same change.
    pub fn is(&self, other: &Mark<'_>) -> bool {
        self.stamp == other.stamp && self.site.eq_ignore_ascii_case(other.site)
    }
}

fn in_capitals(site: &str) -> impl Iterator<Item = u8> {
    site.bytes().map(|byte| byte.to_ascii_uppercase())
}

/// What stands here of the piece or record.
#[derive(Debug, Clone, Copy)]
pub struct Local<'a> {
    /// Its newest change.
    pub mark: Mark<'a>,
    /// That deleted it.
    pub gone: bool,
    /// The sender had that change when it wrote the flow: it acknowledged it, or it is where the change came from.
    pub is_seen: bool,
    /// A station has it open.
    pub is_open: bool,
}

/// What comes.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Its newest change.
    pub mark: Mark<'a>,
    /// That deleted it.
    pub gone: bool,
    /// That very change was here once: it is what the piece was before.
    pub is_known: bool,
    /// Its rows are what stands here.
    pub is_equal: bool,
    /// A rule of the kind forbids it.
    pub breaks_rule: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing: it is here, or was.
    Skip,
    /// What comes replaces what stands here; `conflict` when somebody's change is lost by that.
    Take {
        /// What stood here was not known to the sender.
        conflict: bool,
    },
    /// What stands here stays; `conflict` when what comes is lost by that.
    Keep {
        /// What comes was not known here.
        conflict: bool,
    },
    /// Field by field, each by its own mark.
    Merge,
    /// It is set aside, because of a rule.
    Refuse,
    /// It is set aside until the station that has it open is done.
    Wait,
}

/// Decides. `by_field` is the kind's way to merge.
pub fn decide(by_field: bool, local: Option<Local<'_>>, incoming: Incoming<'_>) -> Action {
    let Some(local) = local else {
        // A deletion of what is not here is remembered too: what it deleted may come later.
        return if incoming.breaks_rule {
            Action::Refuse
        } else {
            Action::Take { conflict: false }
        };
    };
    let both_stand = !local.gone && !incoming.gone;
    let (by_field, is_here) = (by_field && both_stand, incoming.mark.is(&local.mark));
    // What is merged by field bears the mark of its newest field only: others may be new here.
    let is_known = match by_field {
        true => is_here && incoming.is_equal,
        false => is_here || incoming.is_known,
    };
    if is_known {
        return Action::Skip;
    }
    if incoming.breaks_rule {
        return Action::Refuse;
    }
    let is_newer = incoming.mark.compare(&local.mark).is_gt();
    if by_field {
        return if local.is_open { Action::Wait } else { Action::Merge };
    }
    let is_same = incoming.is_equal || local.gone && incoming.gone;
    match is_newer {
        true if local.is_open => Action::Wait,
        true => Action::Take { conflict: !local.is_seen && !is_same },
        false => Action::Keep { conflict: !is_same },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(stamp: i64, site: &str) -> Mark<'_> {
        Mark { stamp, site }
    }

    const LOCAL: Local<'_> =
        Local { mark: Mark { stamp: 5, site: "BSOC" }, gone: false, is_seen: true, is_open: false };

    fn incoming(stamp: i64, site: &str) -> Incoming<'_> {
        Incoming {
            mark: mark(stamp, site),
            gone: false,
            is_known: false,
            is_equal: false,
            breaks_rule: false,
        }
    }

    #[test]
    fn marks_are_ordered_by_stamp_and_then_by_site_in_any_case() {
        assert!(mark(2, "A").compare(&mark(1, "B")).is_gt());
        assert!(mark(1, "a").compare(&mark(1, "B")).is_lt());
        assert!(mark(1, "b").compare(&mark(1, "B")).is_eq());
        assert!(mark(1, "b").is(&mark(1, "B")));
        assert!(!mark(1, "b").is(&mark(2, "B")));
    }

    #[test]
    fn what_nobody_has_here_is_taken_and_so_is_its_deletion() {
        let new = incoming(1, "BSOC");
        assert_eq!(decide(false, None, new), Action::Take { conflict: false });
        assert_eq!(decide(true, None, new), Action::Take { conflict: false });
        let deleted = Incoming { gone: true, ..new };
        assert_eq!(decide(false, None, deleted), Action::Take { conflict: false });
        assert_eq!(decide(false, None, Incoming { breaks_rule: true, ..new }), Action::Refuse);
    }

    #[test]
    fn the_same_change_does_nothing_twice() {
        for by_field in [false, true] {
            let same = Incoming { is_equal: true, ..incoming(5, "bsoc") };
            assert_eq!(decide(by_field, Some(LOCAL), same), Action::Skip);
            let open = Local { is_open: true, ..LOCAL };
            assert_eq!(decide(by_field, Some(open), same), Action::Skip);
            let broken = Incoming { breaks_rule: true, ..same };
            assert_eq!(decide(by_field, Some(LOCAL), broken), Action::Skip);
        }
        // Merged elsewhere with somebody else's fields: it bears the mark of the newest of them.
        let before = Incoming { is_known: true, ..incoming(4, "CSOC") };
        for merged in [incoming(5, "BSOC"), before] {
            assert_eq!(decide(true, Some(LOCAL), merged), Action::Merge);
            assert_eq!(decide(false, Some(LOCAL), merged), Action::Skip);
        }
    }

    #[test]
    fn the_newer_change_wins_and_the_other_one_is_lost_only_if_it_was_not_known() {
        let (newer, older) = (incoming(6, "ASOC"), incoming(5, "ASOC"));
        let unseen = Local { is_seen: false, ..LOCAL };
        assert_eq!(decide(false, Some(LOCAL), newer), Action::Take { conflict: false });
        assert_eq!(decide(false, Some(unseen), newer), Action::Take { conflict: true });
        assert_eq!(decide(false, Some(unseen), older), Action::Keep { conflict: true });
        assert_eq!(decide(false, Some(LOCAL), older), Action::Keep { conflict: true });
        let equal = |incoming| Incoming { is_equal: true, ..incoming };
        assert_eq!(decide(false, Some(unseen), equal(newer)), Action::Take { conflict: false });
        assert_eq!(decide(false, Some(unseen), equal(older)), Action::Keep { conflict: false });
    }

    #[test]
    fn deletions_are_changes_like_others() {
        let deleted = |stamp| Incoming { gone: true, ..incoming(stamp, "ASOC") };
        let unseen = Local { is_seen: false, ..LOCAL };
        for by_field in [false, true] {
            let decide = |local, incoming| decide(by_field, Some(local), incoming);
            assert_eq!(decide(LOCAL, deleted(6)), Action::Take { conflict: false });
            assert_eq!(decide(unseen, deleted(6)), Action::Take { conflict: true });
            assert_eq!(decide(unseen, deleted(4)), Action::Keep { conflict: true });
            let gone = Local { gone: true, ..unseen };
            assert_eq!(decide(gone, deleted(6)), Action::Take { conflict: false });
            assert_eq!(decide(gone, deleted(4)), Action::Keep { conflict: false });
            assert_eq!(decide(gone, incoming(4, "ASOC")), Action::Keep { conflict: true });
            assert_eq!(decide(gone, incoming(6, "ASOC")), Action::Take { conflict: true });
        }
    }

    #[test]
    fn what_a_station_has_open_is_not_written_to() {
        let open = Local { is_open: true, ..LOCAL };
        assert_eq!(decide(false, Some(open), incoming(6, "ASOC")), Action::Wait);
        assert_eq!(decide(true, Some(open), incoming(4, "ASOC")), Action::Wait);
        assert_eq!(decide(false, Some(open), incoming(4, "ASOC")), Action::Keep { conflict: true });
        let deleted = Incoming { gone: true, ..incoming(6, "ASOC") };
        assert_eq!(decide(true, Some(open), deleted), Action::Wait);
    }

    #[test]
    fn what_breaks_a_rule_is_refused_whichever_is_newer() {
        for stamp in [4, 6] {
            let broken = Incoming { breaks_rule: true, ..incoming(stamp, "ASOC") };
            assert_eq!(decide(false, Some(LOCAL), broken), Action::Refuse);
            assert_eq!(decide(true, Some(LOCAL), broken), Action::Refuse);
        }
    }
}
