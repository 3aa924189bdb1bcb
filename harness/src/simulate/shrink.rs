//! Makes a host that fails smaller: steps go, then statements, as long as it still fails in the same way.

use crate::bench::Bench;
use crate::fault::{Fault, Kind};
use crate::figures::Figures;
use crate::replay::{Event, Options, Trial, run_fault};
use crate::scenario::{Scenario, Step};
use crate::session::Script;
use crate::vfs::split_script;
use std::time::{Duration, Instant};

/// How long it tries. What is left then is what it gives.
const LENGTH: Duration = Duration::from_secs(60);
/// At most so many calls of a kind are failed to see whether a smaller host fails.
const CALLS: u64 = 400;

/// How a host fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// The settings and the fault, as a replay names them; the fault is left out where it fails without one.
    pub name: String,
    /// The kind of fault and whether it lasts.
    fault: Option<(Kind, bool)>,
    /// Something was lost; otherwise something is wrong.
    is_loss: bool,
    /// The first word of what is said of it.
    word: String,
}

impl Failing {
    fn is_like(&self, other: &Failing) -> bool {
        (self.fault, self.is_loss, &self.word) == (other.fault, other.is_loss, &other.word)
    }
}

fn first_word(problem: &str) -> String {
    problem.split_whitespace().next().unwrap_or_default().to_owned()
}

/// Chooses faults among the calls that were counted.
type Choice<'a> = &'a mut dyn FnMut(&[(Kind, u64)]) -> Vec<Fault>;

/// How a host fails with one of some faults; none where it does not.
fn fails(scenario: &Scenario, options: &Options, faults: Choice<'_>) -> Option<Failing> {
    let script = Script::of(scenario);
    for setting in scenario.settings() {
        let counted = Bench::new(scenario, &script, setting, options)
            .and_then(|mut bench| Ok((bench.count()?, bench)));
        let (counted, mut bench) = match counted {
            Ok(counted) => counted,
            Err(problem) => {
                let (name, word) = (setting.to_string(), first_word(&problem));
                return Some(Failing { name, fault: None, is_loss: false, word });
            }
        };
        for fault in faults(&counted) {
            let mut found = None;
            let name = format!("{setting} {fault}");
            run_fault(&mut bench, options, &name, fault, &mut Figures::default(), &mut |event| {
                if let Event::Problem(name, verdict) = event {
                    let first = verdict.lost.iter().chain(&verdict.wrong).next();
                    found = Some(Failing {
                        word: first.map(|problem| first_word(problem)).unwrap_or_default(),
                        name: name.to_owned(),
                        fault: Some((fault.kind, fault.lasting)),
                        is_loss: !verdict.lost.is_empty(),
                    });
                }
            });
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

/// The smallest host found that fails as this one does, and how; none where it does not fail.
pub fn shrunk(scenario: &Scenario, options: &Options) -> Option<(Scenario, Failing)> {
    let mut random = super::faults_random(options.seed);
    let failing = fails(scenario, options, &mut |counted| super::faults(counted, &mut random))?;
    let mut found = (scenario.clone(), failing);
    let end = Instant::now() + LENGTH;
    // Large pieces first, then what is left of the steps one by one, then their statements.
    let mut size = scenario.steps.len().max(scenario.before.len());
    while size > 0 {
        while pass(&mut found, options, end, |host| without_steps(host, size)) {}
        size /= 2;
    }
    while pass(&mut found, options, end, without_statements) {}
    Some(found)
}

/// Tries smaller hosts one after the other; true where one of them fails, too, and there is time to go on.
fn pass(
    found: &mut (Scenario, Failing),
    options: &Options,
    end: Instant,
    smaller: impl Fn(&Scenario) -> Vec<Scenario>,
) -> bool {
    let failing = found.1.clone();
    let same = &mut |counted: &[(Kind, u64)]| {
        let mut faults = Vec::new();
        for (kind, calls) in counted {
            let stride = calls.div_ceil(CALLS).max(1);
            if let Some((_, lasting)) = failing.fault.filter(|(one, _)| one == kind) {
                let calls = (1..=*calls).step_by(stride as usize);
                faults.extend(calls.map(|call| Fault { kind: *kind, call, lasting }));
            }
        }
        faults
    };
    for host in smaller(&found.0) {
        if Instant::now() > end {
            return false;
        }
        match fails(&host, options, same) {
            Some(other) if other.is_like(&found.1) => {
                *found = (host, other);
                return true;
            }
            _ => {}
        }
    }
    false
}

/// The hosts that leave out so many steps in a row, the last ones first.
fn without_steps(host: &Scenario, size: usize) -> Vec<Scenario> {
    let mut smaller = Vec::new();
    let mut drop_from = |steps: &Vec<Step>, take: &dyn Fn(Vec<Step>) -> Scenario| {
        for from in (0..(steps.len() + 1).saturating_sub(size)).rev().step_by(size) {
            let mut left = steps.clone();
            left.drain(from..from + size);
            smaller.push(take(left));
        }
    };
    drop_from(&host.steps, &|steps| Scenario { steps, ..host.clone() });
    drop_from(&host.before, &|before| Scenario { before, ..host.clone() });
    smaller.retain(|host| !host.steps.is_empty());
    smaller
}

/// The hosts that leave out one statement.
fn without_statements(host: &Scenario) -> Vec<Scenario> {
    let mut smaller = Vec::new();
    for is_before in [false, true] {
        let steps = if is_before { &host.before } else { &host.steps };
        for (place, step) in steps.iter().enumerate().rev() {
            let statements = split_script(&step.sql);
            if statements.len() < 2 {
                continue;
            }
            for left_out in (0..statements.len()).rev() {
                let mut statements = statements.clone();
                statements.remove(left_out);
                let mut one = host.clone();
                let steps = if is_before { &mut one.before } else { &mut one.steps };
                steps[place].sql = statements.join("\n");
                smaller.push(one);
            }
        }
    }
    smaller
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(before: usize, steps: usize) -> Scenario {
        let step = |sql: &str| Step { sql: sql.to_owned(), ..Step::default() };
        Scenario {
            before: vec![step("SELECT 1;"); before],
            steps: vec![step("SELECT 1; SELECT 2;"); steps],
            ..Scenario::default()
        }
    }

    #[test]
    fn every_step_and_statement_is_left_out_once_and_some_step_stays() {
        let sizes = |smaller: Vec<Scenario>| -> Vec<(usize, usize)> {
            smaller.iter().map(|host| (host.before.len(), host.steps.len())).collect()
        };
        assert_eq!(sizes(without_steps(&host(2, 2), 1)), [(2, 1), (2, 1), (1, 2), (1, 2)]);
        assert_eq!(sizes(without_steps(&host(3, 1), 2)), [(1, 1)]);
        assert_eq!(sizes(without_steps(&host(0, 1), 1)), []);
        let statements = without_statements(&host(1, 1));
        let left: Vec<&str> = statements.iter().map(|host| host.steps[0].sql.as_str()).collect();
        assert_eq!(left, ["SELECT 1;", "SELECT 2;"]);
    }
}
