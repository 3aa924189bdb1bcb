//! Hosts made up from seeds: schemas, stations, work, and faults at random moments, replayed and judged as scenarios are.

pub mod runs;
mod shape;
pub mod shrink;
mod work;

use crate::bench::Bench;
use crate::fault::{Fault, Kind};
use crate::figures::Figures;
use crate::replay::{Listener, Options, Trial, run_fault};
use crate::scenario::{Host, Journal, Runs, Scenario, Synchronous};
use crate::session::Script;
use fastrand::Rng;
use shape::Shape;
use std::collections::BTreeMap;
use work::{Station, Work};

/// Faults that are tried on each host.
const FAULTS: usize = 12;

/// One of several.
fn pick<T: Copy>(random: &mut Rng, from: &[T]) -> T {
    from[random.usize(..from.len())]
}

fn named(seed: u64) -> String {
    format!("simulated_{seed}")
}

/// The host of a seed, in settings of its own.
pub fn scenario(seed: u64) -> Scenario {
    let mut random = Rng::with_seed(seed);
    let shape = Shape::any(&mut random);
    let (stations, connections) = stations(&mut random);
    let mut before = Vec::new();
    let mut steps = Vec::new();
    let work = &mut Work::new(&shape, &mut random);
    before.push(work.beginnings(&stations[0]));
    for place in 0..work.count(2..5) {
        before.extend(work.steps_of(&stations[place % stations.len()]));
    }
    for _ in 0..work.count(4..9) {
        let station = &stations[work.count(0..stations.len())];
        let other = &stations[work.count(0..stations.len())];
        match work.count(0..8) {
            0 if other.name != station.name => steps.extend(work.interleaved(station, other)),
            _ => steps.extend(work.steps_of(station)),
        }
    }
    let runs = Runs {
        journal: vec![pick(
            &mut random,
            &[Journal::Wal, Journal::Wal, Journal::Delete, Journal::Truncate, Journal::Persist],
        )],
        synchronous: vec![pick(&mut random, &[Synchronous::Normal, Synchronous::Full])],
        page_size: vec![pick(&mut random, &[1024, 4096, 4096, 65536])],
    };
    Scenario {
        name: named(seed),
        about: format!("A host made up from seed {seed}."),
        schema: shape.schema,
        guard: shape.guard,
        pieces: shape.pieces,
        connections,
        before,
        steps,
        cold: random.u8(..4) == 0,
        runs,
        ..Scenario::default()
    }
}

fn stations(random: &mut Rng) -> (Vec<Station>, BTreeMap<String, Host>) {
    let mut stations = Vec::new();
    let mut connections = BTreeMap::new();
    let names = ["till 1", "till 2", "office"];
    for name in &names[..random.usize(1..=names.len())] {
        let has_talon = *name != "office" || random.bool();
        let is_recursive = random.bool();
        let opens_with = match is_recursive {
            true => "PRAGMA recursive_triggers = ON;".to_owned(),
            false => String::new(),
        };
        let host = Host { talon: has_talon, opens_with, ..Host::default() };
        connections.insert((*name).to_owned(), host);
        stations.push(Station { name, is_recursive, has_talon, is_overtaken: false });
    }
    let is_overtaken = stations.iter().any(|station| !station.has_talon);
    stations.iter_mut().for_each(|station| station.is_overtaken = is_overtaken);
    (stations, connections)
}

/// Runs a scenario with some faults at random moments, in all its settings.
pub fn run(scenario: &Scenario, options: &Options, listen: &mut Listener<'_>) -> Figures {
    let mut figures = Figures::default();
    let script = Script::of(scenario);
    let mut random = faults_random(options.seed);
    for setting in scenario.settings() {
        let name = format!("{} {setting}", scenario.name);
        let counted = Bench::new(scenario, &script, setting, options)
            .and_then(|mut bench| Ok((bench.count()?, bench)));
        match counted {
            Ok((counted, mut bench)) => {
                figures.states += 1;
                for fault in faults(&counted, &mut random) {
                    let name = format!("{name} {fault}");
                    run_fault(&mut bench, options, &name, fault, &mut figures, listen);
                }
            }
            Err(problem) => figures.problem(&name, problem, listen),
        }
    }
    figures
}

/// What chooses the faults of a seed's host.
fn faults_random(seed: u64) -> Rng {
    Rng::with_seed(seed ^ 0x5eed)
}

/// Moments to fail at: each kind of fault is as likely as any other, and each of its calls.
fn faults(counted: &[(Kind, u64)], random: &mut Rng) -> Vec<Fault> {
    let counted: Vec<&(Kind, u64)> = counted.iter().filter(|(_, calls)| *calls > 0).collect();
    if counted.is_empty() {
        return Vec::new();
    }
    let one = |_| {
        let (kind, calls) = *pick(random, &counted);
        Fault { kind, call: random.u64(1..=calls), lasting: kind.can_last() && random.bool() }
    };
    (0..FAULTS).map(one).collect()
}
