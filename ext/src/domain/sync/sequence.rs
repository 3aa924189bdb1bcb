//! Whether a flow that comes in is the next of its sender's: pure, from what is known of the sender and what the flow says.
//!
//! A flow covers all that its sender has changed since the receiver last acknowledged, so one that is lost is made good by
//! the next, and one that comes late has nothing new. What does not fit together means that a database was copied, went
//! back to a backup, or was begun anew: that is refused with what to do.

use crate::storage::document::{Acknowledged, Head};
use crate::storage::stamp;

/// A clock that is off by more than this is reported.
pub const MOST_OFF_MS: i64 = 86_400_000;

/// What is known of the sender.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    /// Its database; None before its first flow.
    pub incarnation: Option<i64>,
    /// Its newest flow that came in whole.
    pub number: i64,
    /// Its clock when it wrote that one.
    pub stamp: i64,
    /// Its changes up to here are here.
    pub applied: i64,
    /// A flow that it says it wrote before, where another one of that number came here.
    pub other: Option<i64>,
    /// The flow is of a database that was its before the one that is known, and was written before that took its place.
    pub was_former: bool,
}

/// What is known of this database, where the sender says what it has of it.
#[derive(Debug, Clone, Copy)]
pub struct Receiver {
    /// This database.
    pub incarnation: i64,
    /// The newest flow written to the sender.
    pub number: i64,
    /// Its newest change.
    pub newest: i64,
    /// The stamp of the flow that the sender acknowledges; None where no such flow was written.
    pub stamp: Option<i64>,
}

/// A flow of the sender's that has the same number and is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// There is none.
    No,
    /// It says the same.
    Same,
    /// It says something else.
    Other,
}

/// What becomes of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is new.
    Next,
    /// It is the first of a database that takes part anew.
    Anew,
    /// It is here: nothing is to be done.
    Duplicate,
    /// A newer one that has all of it is here, or it was for an earlier database: it is listed, and not applied.
    Late,
    /// It is not to be taken.
    Refused(Refusal),
}

/// Why a flow is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The sender's database is not the one it was.
    OtherDatabase,
    /// The sender's database was begun anew after it had written the flow.
    BeforeAnew,
    /// Two flows of one number: the sender is there twice, or went back.
    TwoOfOneNumber,
    /// The sender's numbers went back while its clock went on.
    SenderWentBack,
    /// A flow before it is not the one of that number that is here.
    OtherBefore(i64),
    /// Flows before it are missing here that the sender believes applied.
    Gap,
    /// The sender has flows of this database that this database does not know.
    ReceiverWentBack,
}

/// Decides.
pub fn judge(sender: Sender, receiver: Receiver, known: Known, head: &Head) -> Verdict {
    if sender.incarnation.is_some_and(|incarnation| incarnation != head.flow.incarnation) {
        return match (known, head.rejoins) {
            (Known::Same, _) => Verdict::Duplicate,
            _ if sender.was_former => Verdict::Refused(Refusal::BeforeAnew),
            (Known::Other, _) => Verdict::Refused(Refusal::TwoOfOneNumber),
            (Known::No, true) => Verdict::Anew,
            (Known::No, false) => Verdict::Refused(Refusal::OtherDatabase),
        };
    }
    match known {
        Known::Same => return Verdict::Duplicate,
        Known::Other => return Verdict::Refused(Refusal::TwoOfOneNumber),
        Known::No => {}
    }
    if head.flow.number <= sender.number {
        return match head.stamp > sender.stamp {
            true => Verdict::Refused(Refusal::SenderWentBack),
            false => Verdict::Late,
        };
    }
    if head.until < sender.applied {
        return Verdict::Refused(Refusal::SenderWentBack);
    }
    if let Some(number) = sender.other {
        return Verdict::Refused(Refusal::OtherBefore(number));
    }
    if head.acknowledges.is_some_and(|said| !is_ours(receiver, said)) {
        return Verdict::Refused(Refusal::ReceiverWentBack);
    }
    let is_full = head.mode == "full";
    // Written for what this database was before it was begun anew: what came from that is not in it, and this may lack it.
    let is_for_earlier =
        head.acknowledges.is_some_and(|said| said.incarnation != receiver.incarnation);
    if is_for_earlier && !is_full {
        return Verdict::Late;
    }
    match head.since <= sender.applied || is_full {
        true => Verdict::Next,
        false => Verdict::Refused(Refusal::Gap),
    }
}

/// Whether what the sender says it has is what this database wrote. Of an earlier one that was begun anew it may have
/// anything.
fn is_ours(receiver: Receiver, said: Acknowledged) -> bool {
    said.incarnation != receiver.incarnation
        || said.number <= receiver.number
            && said.until <= receiver.newest
            && receiver.stamp.is_none_or(|stamp| stamp == said.stamp)
}

impl Refusal {
    /// What an SQL user reads: what happened, and what to do where.
    pub fn text(self, head: &Head, sender_is_central: bool, own: &str) -> String {
        let flow = &head.flow;
        let from = &flow.from;
        let anew = |site: &str| {
            let is_central = (site == from) == sender_is_central;
            let whom = if is_central { "every site" } else { "central" };
            format!("at {site}, SELECT talon_rejoin(), then exchange full flows with {whom}")
        };
        match self {
            Refusal::OtherDatabase => format!(
                "{flow} comes from another database of {from} than flows before it did: either it was begun anew, and \
                 takes part again after this: {}; or two databases are called {from}, and one is to be another site",
                anew(from)
            ),
            Refusal::BeforeAnew => format!(
                "{flow} was written before {from} began anew, and did not come here then: what it alone has is not taken. \
                 What {from} lacks of it has to be entered there again; then it can be removed"
            ),
            Refusal::TwoOfOneNumber => format!(
                "{flow} was here before with other content: {from} went back to an older state, or its database was copied \
                 and both are in use. A copy that stays in use needs a code of its own; for the other: {}",
                anew(from)
            ),
            Refusal::SenderWentBack => format!(
                "{flow} was written after flows with higher numbers: {from} went back to an older state, or is a copy of a \
                 database that is in use too. If it is the one to go on with: {}",
                anew(from)
            ),
            Refusal::OtherBefore(number) => format!(
                "{flow} follows a flow {number} that is another one than the one that came here: {from} went back to an \
                 older state, or its database was copied and both are in use. A copy that stays in use needs a code of its \
                 own; for the other: {}",
                anew(from)
            ),
            Refusal::Gap => format!(
                "{flow} begins after change {}, and changes of {from} are here up to an earlier one only: this database \
                 went back to an older state. To go on: {}",
                head.since,
                anew(own)
            ),
            Refusal::ReceiverWentBack => format!(
                "{flow} speaks of flows from {own} that this database has not written: it went back to an older state, or \
                 is a copy of one that is in use too. If it is the one to go on with: {}",
                anew(own)
            ),
        }
    }
}

/// By how much the sender's clock is off, in ms: ahead is positive. A flow that lay somewhere for long is no slow clock, so
/// only what is ahead, or behind what was heard before, counts.
pub fn clock_off_ms(head: &Head, now_ms: i64) -> i64 {
    stamp::ms(head.stamp).saturating_sub(now_ms)
}

/// What is said of a clock that is off by more than a day; None where it is not.
pub fn clock_warning(from: &str, off_ms: i64) -> Option<String> {
    let hours = off_ms / 3_600_000;
    (off_ms > MOST_OFF_MS)
        .then(|| format!("the clock of {from} is {hours} hours ahead of this one"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::frame::FlowName;

    const SENDER: Sender = Sender {
        incarnation: Some(7),
        number: 5,
        stamp: 500,
        applied: 50,
        other: None,
        was_former: false,
    };
    const RECEIVER: Receiver = Receiver { incarnation: 9, number: 3, newest: 30, stamp: None };

    fn head(number: i64, stamp: i64, since: i64, until: i64) -> Head {
        Head {
            flow: FlowName { from: "BSOC".into(), to: "ASOC".into(), incarnation: 7, number },
            mode: "changes".into(),
            answer: "none".into(),
            answers: None,
            after: Vec::new(),
            stamp,
            since,
            until,
            rejoins: false,
            program: String::new(),
            acknowledges: None,
            refuses: Vec::new(),
            sites: Vec::new(),
            load: None,
            tables: Vec::new(),
        }
    }

    fn refused(refusal: Refusal) -> Verdict {
        Verdict::Refused(refusal)
    }

    #[test]
    fn the_next_flow_is_taken_and_so_is_one_after_some_that_were_lost() {
        for number in [6, 9] {
            assert_eq!(
                judge(SENDER, RECEIVER, Known::No, &head(number, 600, 50, 60)),
                Verdict::Next
            );
        }
        let first = Sender { incarnation: None, number: 0, stamp: 0, applied: 0, ..SENDER };
        assert_eq!(judge(first, RECEIVER, Known::No, &head(1, 600, 0, 60)), Verdict::Next);
        // Nothing new is a flow too, and so is what covers more than is missing.
        assert_eq!(judge(SENDER, RECEIVER, Known::No, &head(6, 600, 20, 50)), Verdict::Next);
    }

    #[test]
    fn a_flow_that_comes_twice_does_nothing_and_one_that_comes_late_is_only_listed() {
        assert_eq!(judge(SENDER, RECEIVER, Known::Same, &head(5, 500, 40, 50)), Verdict::Duplicate);
        assert_eq!(judge(SENDER, RECEIVER, Known::No, &head(4, 400, 40, 45)), Verdict::Late);
    }

    #[test]
    fn a_copy_and_a_backup_are_told_by_their_numbers() {
        let two = judge(SENDER, RECEIVER, Known::Other, &head(5, 510, 40, 50));
        assert_eq!(two, refused(Refusal::TwoOfOneNumber));
        let back = judge(SENDER, RECEIVER, Known::No, &head(4, 600, 40, 60));
        assert_eq!(back, refused(Refusal::SenderWentBack));
        let fewer = judge(SENDER, RECEIVER, Known::No, &head(6, 600, 40, 49));
        assert_eq!(fewer, refused(Refusal::SenderWentBack));
    }

    #[test]
    fn a_flow_that_follows_another_one_than_the_one_that_came_is_of_a_copy() {
        let judged =
            |other| judge(Sender { other, ..SENDER }, RECEIVER, Known::No, &head(6, 600, 50, 60));
        assert_eq!(judged(None), Verdict::Next);
        assert_eq!(judged(Some(4)), refused(Refusal::OtherBefore(4)));
    }

    #[test]
    fn another_database_is_taken_only_if_it_says_that_it_begins_anew() {
        let mut other = head(1, 600, 0, 10);
        other.flow.incarnation = 8;
        assert_eq!(judge(SENDER, RECEIVER, Known::No, &other), refused(Refusal::OtherDatabase));
        assert_eq!(judge(SENDER, RECEIVER, Known::Same, &other), Verdict::Duplicate);
        let former = Sender { was_former: true, ..SENDER };
        let before_anew = refused(Refusal::BeforeAnew);
        assert_eq!(judge(former, RECEIVER, Known::No, &other), before_anew);
        assert_eq!(judge(former, RECEIVER, Known::Other, &other), before_anew);
        assert_eq!(judge(former, RECEIVER, Known::Same, &other), Verdict::Duplicate);
        other.rejoins = true;
        assert_eq!(judge(SENDER, RECEIVER, Known::No, &other), Verdict::Anew);
    }

    #[test]
    fn a_gap_is_refused_unless_all_is_sent() {
        let mut gap = head(7, 600, 55, 60);
        assert_eq!(judge(SENDER, RECEIVER, Known::No, &gap), refused(Refusal::Gap));
        // It was written for an earlier database of this code.
        gap.acknowledges = Some(Acknowledged {
            incarnation: 1,
            number: 9,
            until: 90,
            stamp: 1,
            begun: None,
            ended: None,
            runs: 1,
        });
        assert_eq!(judge(SENDER, RECEIVER, Known::No, &gap), Verdict::Late);
        gap.acknowledges = None;
        gap.mode = "full".into();
        assert_eq!(judge(SENDER, RECEIVER, Known::No, &gap), Verdict::Next);
    }

    #[test]
    fn this_database_notices_that_it_went_back_itself() {
        let said = Acknowledged {
            incarnation: 9,
            number: 3,
            until: 30,
            stamp: 300,
            ..Acknowledged::default()
        };
        let judged = |said, stamp| {
            let head = Head { acknowledges: Some(said), ..head(6, 600, 50, 60) };
            judge(SENDER, Receiver { stamp, ..RECEIVER }, Known::No, &head)
        };
        assert_eq!(judged(said, Some(300)), Verdict::Next);
        let back = refused(Refusal::ReceiverWentBack);
        assert_eq!(judged(Acknowledged { number: 4, ..said }, None), back);
        assert_eq!(judged(Acknowledged { until: 31, ..said }, Some(300)), back);
        assert_eq!(judged(said, Some(299)), back);
        // It speaks of what was here before this database was begun anew.
        let earlier = Acknowledged {
            incarnation: 1,
            number: 77,
            until: 700,
            stamp: 1,
            ..Acknowledged::default()
        };
        assert_eq!(judged(earlier, None), Verdict::Late);
        let full = Head { mode: "full".into(), acknowledges: Some(earlier), ..head(6, 600, 0, 60) };
        assert_eq!(judge(SENDER, RECEIVER, Known::No, &full), Verdict::Next);
    }

    #[test]
    fn what_is_refused_says_what_to_do_and_where() {
        let head = head(4, 600, 55, 60);
        let text = |refusal: Refusal, central| refusal.text(&head, central, "ASOC");
        assert_eq!(
            text(Refusal::SenderWentBack, false),
            "flow 4 from BSOC to ASOC was written after flows with higher numbers: BSOC went back to an older state, or is \
             a copy of a database that is in use too. If it is the one to go on with: at BSOC, SELECT talon_rejoin(), \
             then exchange full flows with central"
        );
        assert!(
            text(Refusal::SenderWentBack, true).ends_with(
                "at BSOC, SELECT talon_rejoin(), then exchange full flows with every site"
            )
        );
        assert!(
            text(Refusal::Gap, true)
                .ends_with("at ASOC, SELECT talon_rejoin(), then exchange full flows with central")
        );
        assert!(text(Refusal::Gap, false).contains("begins after change 55"));
        assert!(text(Refusal::ReceiverWentBack, false).contains("at ASOC, SELECT talon_rejoin()"));
    }

    #[test]
    fn a_clock_ahead_by_more_than_a_day_is_reported() {
        let ahead = |ms| Head { stamp: stamp::of_ms(1_000_000_000 + ms), ..head(6, 0, 0, 0) };
        let off = |ms| clock_off_ms(&ahead(ms), 1_000_000_000);
        assert_eq!(clock_warning("BSOC", off(MOST_OFF_MS)), None);
        assert_eq!(
            clock_warning("BSOC", off(26 * 3_600_000)).unwrap(),
            "the clock of BSOC is 26 hours ahead of this one"
        );
        assert_eq!(clock_warning("BSOC", off(-900_000_000)), None);
    }
}
