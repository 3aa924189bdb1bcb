//! What is counted, and how it is shown.

use crate::fault::Fault;
use crate::judge::Verdict;
use crate::replay::{Event, Listener};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Figures of a scenario.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    /// Runs with a fault that happened.
    pub injected: u64,
    /// These by family.
    pub families: BTreeMap<&'static str, u64>,
    /// Different faults among them, whatever the settings.
    pub distinct: BTreeSet<Fault>,
    /// Databases judged.
    pub states: u64,
    /// Images compared.
    pub images: u64,
    /// Committed states lost.
    pub lost: u64,
    /// What else did not hold.
    pub wrong: u64,
    /// Faults that never happened.
    pub unfired: u64,
}

impl Figures {
    /// Counts what does not hold even without a fault, and tells it.
    pub fn problem(&mut self, name: &str, problem: String, listen: &mut Listener<'_>) {
        self.wrong += 1;
        let verdict = Verdict { wrong: vec![problem], ..Verdict::default() };
        listen(Event::Problem(name, &verdict));
    }

    /// Whether nothing was lost and all held.
    pub fn is_clean(&self) -> bool {
        self.lost + self.wrong == 0
    }

    /// What the last line sums up.
    pub fn total(&self) -> Total {
        Total {
            faults: self.distinct.len() as u64,
            states: self.states,
            lost: self.lost,
            wrong: self.wrong,
            unfired: self.unfired,
        }
    }

    /// A scenario's line.
    pub fn line(&self, name: &str, took: Duration) -> String {
        let families: Vec<String> =
            self.families.iter().map(|(family, count)| format!("{family} {count}")).collect();
        format!(
            "{} {name}: runs={} ({}) faults={} states={} images={} lost={} wrong={} unfired={} {:.1}s",
            match self.is_clean() {
                true if self.injected == 0 => "none",
                true => "ok  ",
                false => "FAIL",
            },
            self.injected,
            families.join(", "),
            self.distinct.len(),
            self.states,
            self.images,
            self.lost,
            self.wrong,
            self.unfired,
            took.as_secs_f64()
        )
    }
}

/// Figures of several scenarios.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Distinct faults that happened: scenario, kind, number of the call, once or from then on.
    pub faults: u64,
    /// Databases judged.
    pub states: u64,
    /// Committed states lost.
    pub lost: u64,
    /// What else did not hold.
    pub wrong: u64,
    /// Faults that never happened.
    pub unfired: u64,
}

impl Total {
    /// Adds another scenario's.
    pub fn add(&mut self, other: Total) {
        self.faults += other.faults;
        self.states += other.states;
        self.lost += other.lost;
        self.wrong += other.wrong;
        self.unfired += other.unfired;
    }

    /// Reads back what Display wrote.
    pub fn parse(text: &str) -> Option<Total> {
        let mut numbers = text.split(' ').map(|part| part.split_once('=')?.1.parse().ok());
        let mut next = || numbers.next()?;
        Some(Total {
            faults: next()?,
            states: next()?,
            lost: next()?,
            wrong: next()?,
            unfired: next()?,
        })
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Total { faults, states, lost, wrong, unfired } = self;
        write!(to, "faults={faults} states={states} lost={lost} wrong={wrong} unfired={unfired}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_reads_back() {
        let total = Total { faults: 1, states: 2, lost: 3, wrong: 4, unfired: 5 };
        assert_eq!(Total::parse(&total.to_string()), Some(total));
        assert_eq!(Total::parse("faults=1 states=2"), None);
    }
}
