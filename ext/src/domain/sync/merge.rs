//! Two states of one record put together, field by field: pure.

use super::decide::Mark;

/// One side's value of a field.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The change that gave the field its value.
    pub mark: Mark<'a>,
    /// The other side did not know of that change.
    pub is_unseen: bool,
}

/// A field that both sides have.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// As it stands here.
    pub ours: Side<'a>,
    /// As it comes.
    pub theirs: Side<'a>,
    /// Both have the same value.
    pub is_equal: bool,
    /// The record was made on both sides, each by itself: a field that nobody changed since is at odds, too.
    pub is_apart: bool,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// What comes is the newer one.
    pub takes_theirs: bool,
    /// The other side's change is lost.
    pub is_conflict: bool,
}

/// What the fields together come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// What stands here.
    Ours,
    /// What comes.
    Theirs,
    /// Something that neither side has.
    Mixed,
}

/// Merges one field. Where marks do not tell (both sides made the record, each by itself), the newer record's does.
pub fn merge_field(field: Field<'_>, theirs_is_newer: bool) -> Merged {
    let order = field.theirs.mark.compare(&field.ours.mark);
    let takes_theirs = order.is_gt() || order.is_eq() && !field.is_equal && theirs_is_newer;
    let loser = if takes_theirs { field.ours } else { field.theirs };
    let is_same = field.is_equal || order.is_eq() && !field.is_apart;
    Merged { takes_theirs, is_conflict: !is_same && loser.is_unseen }
}

/// What the fields together come to: whose state it is, by their marks and values.
pub fn whole(fields: &[(Field<'_>, Merged)]) -> Whole {
    let differs = |field: &Field<'_>| !field.is_equal || !field.theirs.mark.is(&field.ours.mark);
    let mut moved = fields.iter().filter(|(field, _)| differs(field));
    let takes: Vec<bool> = moved.by_ref().map(|(_, merged)| merged.takes_theirs).collect();
    if takes.iter().all(|takes| !takes) {
        Whole::Ours
    } else if takes.iter().all(|takes| *takes) {
        Whole::Theirs
    } else {
        Whole::Mixed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(stamp: i64, site: &str) -> Side<'_> {
        Side { mark: Mark { stamp, site }, is_unseen: true }
    }

    fn field<'a>(ours: Side<'a>, theirs: Side<'a>, is_equal: bool) -> Field<'a> {
        Field { ours, theirs, is_equal, is_apart: false }
    }

    #[test]
    fn each_field_goes_to_the_newer_change() {
        let newer = merge_field(field(side(1, "A"), side(2, "B"), false), false);
        assert_eq!(newer, Merged { takes_theirs: true, is_conflict: true });
        let older = merge_field(field(side(2, "B"), side(1, "A"), false), true);
        assert_eq!(older, Merged { takes_theirs: false, is_conflict: true });
        let seen = Side { is_unseen: false, ..side(1, "A") };
        assert!(!merge_field(field(seen, side(2, "B"), false), true).is_conflict);
        assert!(!merge_field(field(side(2, "B"), seen, false), true).is_conflict);
    }

    #[test]
    fn the_same_value_written_twice_is_no_conflict() {
        let merged = merge_field(field(side(1, "A"), side(2, "B"), true), false);
        assert_eq!(merged, Merged { takes_theirs: true, is_conflict: false });
    }

    #[test]
    fn where_marks_do_not_tell_the_newer_record_does() {
        let same = field(side(0, ""), side(0, ""), false);
        assert!(merge_field(same, true).takes_theirs);
        assert!(!merge_field(same, false).takes_theirs);
    }

    #[test]
    fn fields_of_records_made_apart_are_at_odds_though_nobody_changed_them() {
        let apart = Field { is_apart: true, ..field(side(0, ""), side(0, ""), false) };
        assert_eq!(merge_field(apart, true), Merged { takes_theirs: true, is_conflict: true });
        assert_eq!(merge_field(apart, false), Merged { takes_theirs: false, is_conflict: true });
        assert!(!merge_field(Field { is_equal: true, ..apart }, true).is_conflict);
    }

    #[test]
    fn the_whole_is_one_side_s_or_neither_s() {
        let merged = |field: Field<'static>| (field, merge_field(field, false));
        let still = merged(field(side(0, ""), side(0, ""), true));
        let theirs = merged(field(side(1, "A"), side(2, "B"), false));
        let ours = merged(field(side(2, "A"), side(1, "B"), false));
        assert_eq!(whole(&[still]), Whole::Ours);
        assert_eq!(whole(&[still, theirs]), Whole::Theirs);
        assert_eq!(whole(&[still, ours]), Whole::Ours);
        assert_eq!(whole(&[ours, theirs]), Whole::Mixed);
        // The value is here already; that somebody else wrote it later must be known all the same.
        assert_eq!(whole(&[merged(field(side(1, "A"), side(2, "B"), true))]), Whole::Theirs);
    }
}
