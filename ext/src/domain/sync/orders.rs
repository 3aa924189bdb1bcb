//! Whatever the order in which changes arrive, they end in one state: all orders of many small sets, made from seeds.

use super::decide::{Action, Incoming, Local, Mark, decide};
use super::merge::{Field, Side, merge_field};

const SITES: [&str; 4] = ["ASOC", "BSOC", "CSOC", "DSOC"];
const FIELDS: usize = 3;

/// A record: each field's value is the change that gave it, as its stamp and site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    stamp: i64,
    site: usize,
    gone: bool,
    fields: [(i64, usize); FIELDS],
}

impl State {
    fn mark(&self) -> Mark<'static> {
        Mark { stamp: self.stamp, site: SITES[self.site] }
    }
}

fn side((stamp, site): (i64, usize)) -> Side<'static> {
    Side { mark: Mark { stamp, site: SITES[site] }, is_unseen: true }
}

/// Carries out what is decided, as applying a document does.
fn arrive(by_field: bool, here: Option<State>, comes: State, is_seen: bool) -> Option<State> {
    let local =
        here.map(|here| Local { mark: here.mark(), gone: here.gone, is_seen, is_open: false });
    let incoming = Incoming {
        mark: comes.mark(),
        gone: comes.gone,
        is_known: false,
        is_equal: here.is_some_and(|here| here.fields == comes.fields && here.gone == comes.gone),
        breaks_rule: false,
    };
    match (decide(by_field, local, incoming), here) {
        (Action::Skip | Action::Keep { .. }, here) => here,
        (Action::Take { .. }, _) => Some(comes),
        (Action::Merge, Some(mut here)) => {
            let is_newer = comes.mark().compare(&here.mark()).is_gt();
            for (ours, theirs) in here.fields.iter_mut().zip(comes.fields) {
                let field = Field {
                    ours: side(*ours),
                    theirs: side(theirs),
                    is_equal: *ours == theirs,
                    is_apart: false,
                };
                if merge_field(field, is_newer).takes_theirs {
                    *ours = theirs;
                }
            }
            if is_newer {
                (here.stamp, here.site) = (comes.stamp, comes.site);
            }
            Some(here)
        }
        (action, here) => {
            assert_eq!(action, Action::Skip, "{comes:?} at {here:?}");
            here
        }
    }
}

/// Numbers from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Changes made at several sites that did not know of each other; now and then two have the same stamp.
fn changes(numbers: &mut Numbers, deletions: bool) -> Vec<State> {
    (0..5)
        .map(|at| {
            let (stamp, site) = (1 + numbers.below(6) as i64, at % SITES.len());
            let gone = deletions && numbers.below(3) == 0;
            let mut fields = [(0, 0); FIELDS];
            if !gone {
                fields[numbers.below(FIELDS as u64) as usize] = (stamp, site);
            }
            State { stamp: stamp + i64::from(at == 4) * 6, site, gone, fields }
        })
        .collect()
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![Vec::new()] };
    let shorter = orders(last).into_iter();
    shorter
        .flat_map(|order| {
            (0..=order.len()).map(move |at| {
                let mut order = order.clone();
                order.insert(at, last);
                order
            })
        })
        .collect()
}

fn ends(by_field: bool, changes: &[State], seed: u64) -> Vec<State> {
    let mut numbers = Numbers(seed);
    let mut ends = Vec::new();
    for order in orders(changes.len()) {
        let mut here = None;
        for at in order {
            here = arrive(by_field, here, changes[at], numbers.below(2) == 0);
            if numbers.below(3) == 0 {
                // The flow came twice.
                here = arrive(by_field, here, changes[at], true);
            }
        }
        ends.extend(here);
    }
    ends
}

#[test]
fn pieces_end_as_the_newest_change_in_every_order() {
    for seed in 0..200 {
        let changes = changes(&mut Numbers(seed), true);
        let newest = changes.iter().copied().max_by(|a, b| a.mark().compare(&b.mark()));
        for end in ends(false, &changes, seed) {
            assert_eq!(Some(end), newest, "seed {seed}");
        }
    }
}

#[test]
fn records_merged_by_field_end_in_one_state_in_every_order() {
    for seed in 0..200 {
        let changes = changes(&mut Numbers(seed), false);
        let all = ends(true, &changes, seed);
        for end in &all {
            assert_eq!(end, &all[0], "seed {seed}: {changes:?}");
        }
        for field in 0..FIELDS {
            let newest = changes.iter().map(|change| change.fields[field]).max();
            assert_eq!(Some(all[0].fields[field]), newest, "seed {seed}");
        }
    }
}

#[test]
fn a_record_lives_or_not_whatever_the_order_of_its_deletion() {
    for seed in 0..200 {
        let changes = changes(&mut Numbers(seed), true);
        let newest = changes.iter().max_by(|a, b| a.mark().compare(&b.mark()));
        let newest = newest.map(|newest| (newest.gone, newest.stamp));
        for end in ends(true, &changes, seed) {
            assert_eq!(Some((end.gone, end.stamp)), newest, "seed {seed}");
        }
    }
}
