//! Thirty days of it.

use super::history::History;
use super::judge;
use super::post::{Parcel, Post};
use super::schema::{NOT_WHOLE, SITES};
use super::site::Site;
use super::work::Work;
use crate::fault::{Fault, Kind, Survival};
use crate::observe::line;
use crate::vfs::{Executed, Failure, Value};
use fastrand::Rng;
use std::path::Path;

const DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;
/// 1 November 2026, eight in the morning.
const BEGINNING_MS: i64 = 1_793_520_000_000;
/// Rounds of exchange within which there must be nothing left to say once nothing goes wrong any more.
const ROUNDS: usize = 8;
/// What moves as long as there is: changes, and what is set aside.
const TOLD: &str = "SELECT max(seq), (SELECT count(*) FROM talon_quarantined) FROM talon_change";

/// What one month came to.
#[derive(Debug, Default)]
pub struct Month {
    /// Pieces of work, emissions, deliveries.
    pub events: u64,
    /// Values committed.
    pub writes: u64,
    /// Flows lost, doubled, reordered, spoilt; power cuts and full disks that struck.
    pub faults: u64,
    /// What did not hold.
    pub problems: Vec<String>,
    /// What happened, in order.
    pub log: Vec<String>,
}

/// Figures of several months.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sum {
    /// How many.
    pub months: u64,
    /// Pieces of work, emissions, deliveries.
    pub events: u64,
    /// Values committed.
    pub writes: u64,
    /// What went wrong on purpose.
    pub faults: u64,
    /// Months in which something did not hold.
    pub wrong: u64,
}

impl Sum {
    /// Adds one more: its events, writes and faults, and whether something did not hold.
    pub fn add(&mut self, [events, writes, faults, wrong]: [u64; 4]) {
        self.months += 1;
        self.events += events;
        self.writes += writes;
        self.faults += faults;
        self.wrong += wrong;
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Sum { months, events, writes, faults, wrong } = self;
        write!(to, "months={months} events={events} writes={writes} faults={faults} wrong={wrong}")
    }
}

/// Lives through the month of a seed.
pub fn live(seed: u64, library: &Path) -> Month {
    let mut month = Month::default();
    let outcome =
        World::new(seed, library).map_err(|failure| failure.to_string()).and_then(|mut world| {
            let outcome = world.live();
            month.faults = world.faults + world.post.mishaps;
            month.events = world.events;
            month.writes = world.history.len() as u64;
            month.log = std::mem::take(&mut world.log);
            outcome
        });
    match outcome {
        Ok(problems) => month.problems = problems,
        Err(problem) => month.problems.push(problem),
    }
    month
}

struct World {
    random: Rng,
    sites: Vec<Site>,
    post: Post,
    history: History,
    made: u64,
    now_ms: i64,
    events: u64,
    faults: u64,
    log: Vec<String>,
}

impl World {
    fn new(seed: u64, library: &Path) -> Result<World, Failure> {
        crate::vfs::seed(seed);
        let mut random = Rng::with_seed(seed);
        let sites =
            (0..SITES.len()).map(|place| Site::new(place, library)).collect::<Result<_, _>>()?;
        let mut world = World {
            sites,
            post: Post::default(),
            history: History::default(),
            made: 0,
            now_ms: BEGINNING_MS,
            events: 0,
            faults: 0,
            log: Vec::new(),
            random: random.fork(),
        };
        for place in 0..SITES.len() {
            world.sites[place].clock_off_ms = clock_off(&mut world.random);
            world.sites[place].set_clock(world.now_ms)?;
        }
        Ok(world)
    }

    fn live(&mut self) -> Result<Vec<String>, String> {
        for day in 1..=DAYS {
            for place in 0..self.sites.len() {
                for _ in 0..self.random.usize(..4) {
                    self.tick(place)?;
                    self.work(place)?;
                }
                if place > 0 && self.random.u8(..10) < 6 {
                    self.tick(place)?;
                    self.exchange(place)?;
                }
            }
            let late = self.random.usize(..self.sites.len());
            if self.random.u8(..12) == 0 {
                // Somebody sets a clock, forwards or backwards.
                self.sites[late].clock_off_ms = clock_off(&mut self.random);
            }
            self.now_ms = self.now_ms.max(BEGINNING_MS + day * DAY_MS);
        }
        self.settle()
    }

    fn tick(&mut self, place: usize) -> Result<(), String> {
        self.events += 1;
        self.now_ms += 1000 * self.random.i64(1..600);
        let now = self.now_ms;
        self.sites[place].set_clock(now).map_err(|failure| failure.to_string())
    }

    fn work(&mut self, place: usize) -> Result<(), String> {
        let mut work = Work {
            site: &self.sites[place],
            random: &mut self.random,
            history: &mut self.history,
            made: &mut self.made,
            log: &mut self.log,
        };
        work.one()
    }

    /// A remote meets central, as well as it can.
    fn exchange(&mut self, remote: usize) -> Result<(), String> {
        self.emit(remote, 0, true)?;
        if self.random.u8(..10) < 8 {
            self.receive(0, true)?;
        }
        if self.random.u8(..10) < 8 {
            self.receive(remote, true)?;
        }
        Ok(())
    }

    fn emit(&mut self, from: usize, to: usize, at_risk: bool) -> Result<(), String> {
        let answer = ["now", "now", "none"][self.random.usize(..3)];
        let mode = if self.random.u8(..30) == 0 { "full" } else { "changes" };
        let sql = format!("SELECT talon_emit('{}', '{mode}', '{answer}')", SITES[to]);
        self.step(from, &sql, at_risk)?;
        self.take_to_post(from, at_risk)
    }

    /// Runs one of Talon's own statements, sometimes with a fault that strikes in the middle.
    fn step(&mut self, place: usize, sql: &str, at_risk: bool) -> Result<(), String> {
        if at_risk && self.random.u8(..6) == 0 {
            let kinds = [
                Kind::Power(Survival::Kept),
                Kind::Power(Survival::Lost),
                Kind::Power(Survival::Torn),
                Kind::Full,
            ];
            let kind = kinds[self.random.usize(..kinds.len())];
            let fault = Fault { kind, call: self.random.u64(1..60), lasting: false };
            let seed = self.random.u64(..);
            let mut came_to = None;
            let struck = self.sites[place]
                .at_risk(fault, seed, |site| came_to = Some(site.execute(sql)))
                .map_err(|failure| format!("{} after {fault}: {failure}", SITES[place]))?;
            self.faults += u64::from(struck);
            let came_to = came_to.as_ref().map_or_else(String::new, said);
            self.log.push(format!(
                "{}: {sql} with {fault}, struck: {struck}, came to {came_to}",
                SITES[place]
            ));
        }
        let executed = self.sites[place].execute(sql);
        self.log.push(format!("{}: {sql} gave {}", SITES[place], said(&executed)));
        match executed.failure {
            Some(failure) => Err(format!("{}: {sql}: {failure}", SITES[place])),
            None => Ok(()),
        }
    }

    /// What a site has to send is put on its way.
    fn take_to_post(&mut self, from: usize, may_fail: bool) -> Result<(), String> {
        let site = &mut self.sites[from];
        let failed = |failure: Failure| failure.to_string();
        let flows = site
            .query(&format!(
                "SELECT id, to_site FROM talon_flows WHERE from_site = '{}' AND id > {} AND superseded IS NULL ORDER BY id",
                site.code(),
                site.posted
            ))
            .map_err(failed)?;
        for flow in flows {
            let id = flow[0].integer().unwrap_or(0);
            let to = SITES.iter().position(|code| Some(*code) == flow[1].text()).unwrap_or(0);
            let chunks = site
                .query(&format!("SELECT bytes FROM talon_chunks WHERE flow = {id} ORDER BY number"))
                .map_err(failed)?;
            let chunks: Vec<Vec<u8>> = chunks
                .into_iter()
                .filter_map(|row| match row.into_iter().next() {
                    Some(Value::Blob(bytes)) => Some(bytes),
                    _ => None,
                })
                .collect();
            site.posted = id;
            if chunks.is_empty() {
                continue;
            }
            let parcel = Parcel { to, chunks, is_spoilt: false };
            if may_fail {
                self.post.send(&mut self.random, parcel);
            } else {
                self.post.hand_over(parcel);
            }
        }
        Ok(())
    }

    /// A site receives what has come for it, applies it, and sends its answers.
    fn receive(&mut self, place: usize, at_risk: bool) -> Result<(), String> {
        let parcels = if at_risk {
            self.post.deliver(&mut self.random, place)
        } else {
            self.post.collect(place)
        };
        for parcel in parcels {
            self.events += 1;
            let mut is_noticed = false;
            for chunk in &parcel.chunks {
                let sql = format!("SELECT talon_receive({})", Value::Blob(chunk.clone()));
                let executed = self.sites[place].execute(&sql);
                if let Some(failure) = executed.failure {
                    is_noticed = true;
                    self.log.push(format!("{}: receiving: {failure}", SITES[place]));
                    if !parcel.is_spoilt && !is_stale(&failure) {
                        return Err(format!(
                            "{}: a sound flow was refused: {failure}",
                            SITES[place]
                        ));
                    }
                }
            }
            if parcel.is_spoilt && !is_noticed {
                return Err(format!("{}: a spoilt flow was taken", SITES[place]));
            }
        }
        self.step(place, "SELECT talon_process()", at_risk)?;
        let torn = self.sites[place].query(NOT_WHOLE).map_err(|failure| failure.to_string())?;
        if !torn.is_empty() {
            return Err(format!("{} holds documents that are not whole: {torn:?}", SITES[place]));
        }
        self.take_to_post(place, at_risk)
    }

    /// Nothing goes wrong any more: after some rounds there is nothing left to say, and all hold the same.
    fn settle(&mut self) -> Result<Vec<String>, String> {
        self.post.clear();
        let failed = |failure: Failure| failure.to_string();
        for site in &mut self.sites {
            site.clock_off_ms = 0;
            site.query("SELECT talon_edit_release(kind, piece) FROM talon_edits")
                .map_err(failed)?;
        }
        let told = |sites: &[Site]| -> Result<Vec<_>, Failure> {
            sites.iter().map(|site| site.query(TOLD)).collect()
        };
        let mut before = Vec::new();
        let (mut rounds, mut quiet) = (0, 0);
        // What one round has told (that a document was refused) may have something to say in the next.
        loop {
            let now = told(&self.sites).map_err(failed)?;
            quiet = if now == before { quiet + 1 } else { 0 };
            if rounds == ROUNDS && quiet == 0 {
                return Err(format!(
                    "after {ROUNDS} rounds there is still something to say: {now:?}"
                ));
            }
            if quiet == 2 {
                break;
            }
            (before, rounds) = (now, rounds + 1);
            for remote in 1..self.sites.len() {
                self.tick(remote)?;
                self.tick(0)?;
                self.emit(remote, 0, false)?;
                self.receive(0, false)?;
                self.emit(0, remote, false)?;
                self.receive(remote, false)?;
            }
        }
        judge::judge(&self.sites, &self.history).map_err(failed)
    }
}

/// What a statement came to, for whoever reads the log.
fn said(executed: &Executed) -> String {
    match (&executed.failure, executed.rows.first()) {
        (Some(failure), _) => failure.to_string(),
        (None, Some(row)) => line(row),
        (None, None) => "nothing".to_owned(),
    }
}

/// A flow that came too late: another one has taken its place.
fn is_stale(failure: &Failure) -> bool {
    failure.text.contains("superseded")
}

fn clock_off(random: &mut Rng) -> i64 {
    match random.u8(..10) {
        0 => DAY_MS,
        1 => -DAY_MS,
        // A machine that believes it is 2038.
        2 => 12 * 365 * DAY_MS,
        3 => -random.i64(0..3_600_000),
        4 => random.i64(0..3_600_000),
        _ => 0,
    }
}
