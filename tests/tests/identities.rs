//! Which piece a snapshot is of, as a property: every header carries a number of its own that never changes, and keys are
//! changed, swapped, left, deleted and used again, on connections with and without Talon.
//!
//! As in `properties.rs`, the default run is short and the same each time; `PROPTEST_CASES=5000` makes it long and new.

#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use std::collections::{BTreeMap, BTreeSet};
use talon_tests::{Db, Shop};

const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/identities.regressions");

/// Two kinds in one header table, details below the lines.
const SCHEMA: &str = "
    CREATE TABLE head(id INTEGER PRIMARY KEY, own INTEGER UNIQUE, tag TEXT);
    CREATE TABLE line(id INTEGER PRIMARY KEY, head INTEGER REFERENCES head ON UPDATE CASCADE ON DELETE CASCADE, what INTEGER);
    CREATE INDEX line_head ON line(head);
    CREATE TABLE tax(id INTEGER PRIMARY KEY, line INTEGER REFERENCES line ON DELETE CASCADE);";

#[derive(Debug, Clone, Copy)]
enum Step {
    Begin,
    Commit,
    Rollback,
    Savepoint,
    RollbackTo,
    Release,
    /// From here on the other connection writes, once no transaction is open.
    Switch,
    Look,
    Insert(i64),
    Delete(i64),
    Rename(i64, i64),
    Swap(i64, i64),
    AddLine(i64),
    ChangeLines(i64),
    AddTax(i64),
    LoseLines(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 1..6i64;
    prop_oneof![
        2 => Just(Step::Begin),
        3 => Just(Step::Commit),
        1 => Just(Step::Rollback),
        2 => Just(Step::Savepoint),
        2 => Just(Step::RollbackTo),
        1 => Just(Step::Release),
        2 => Just(Step::Switch),
        1 => Just(Step::Look),
        5 => key().prop_map(Step::Insert),
        2 => key().prop_map(Step::Delete),
        6 => (key(), key()).prop_map(|(old, new)| Step::Rename(old, new)),
        2 => (key(), key()).prop_map(|(one, other)| Step::Swap(one, other)),
        5 => key().prop_map(Step::AddLine),
        2 => key().prop_map(Step::ChangeLines),
        1 => key().prop_map(Step::AddTax),
        1 => key().prop_map(Step::LoseLines),
    ]
}

struct World {
    _shop: Shop,
    talon: Db,
    bare: Db,
    by_talon: bool,
    next: i64,
    /// Keys whose header was deleted where no commit is known to lie between that and now: another one under such a key
    /// goes on as the same piece, so none is inserted.
    just_deleted: BTreeSet<i64>,
    /// Headers that had lines in a commit that Talon saw.
    had_lines: BTreeSet<i64>,
    script: Vec<String>,
}

type Checked = Result<(), String>;

fn number(text: &str) -> i64 {
    text.parse().expect("a number")
}

impl World {
    fn begin() -> World {
        let shop = Shop::with(SCHEMA);
        let talon = shop.open();
        for (kind, tag) in [("sale", "F"), ("credit", "A")] {
            talon.run(&format!(
                r#"SELECT talon_guard('{kind}', '{{"header": {{"table": "head", "where": "h.tag = ''{tag}''"}}, "lines": {{"table": "line"}},
                    "details": [{{"table": "tax", "of": "lines"}}]}}')"#
            ));
        }
        let bare = shop.bare();
        for db in [&talon, &bare] {
            db.run("PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON; SELECT * FROM head");
        }
        World {
            _shop: shop,
            talon,
            bare,
            by_talon: true,
            next: 100,
            just_deleted: BTreeSet::new(),
            had_lines: BTreeSet::new(),
            script: Vec::new(),
        }
    }

    fn writer(&self) -> &Db {
        if self.by_talon { &self.talon } else { &self.bare }
    }

    fn is_idle(&self) -> bool {
        self.writer().connection.is_autocommit()
    }

    fn run(&mut self, sql: &str) -> Result<(), String> {
        let who = if self.by_talon { "" } else { "/* bare */ " };
        self.script.push(format!("{who}{sql}"));
        self.writer().try_run(sql)
    }

    fn is_there(&self, key: i64) -> bool {
        self.writer().one(&format!("SELECT count(*) FROM head WHERE id = {key}")) == "1"
    }

    fn step(&mut self, step: Step) -> Checked {
        self.next += 1;
        let next = self.next;
        let was_idle = self.is_idle();
        match step {
            Step::Begin if was_idle => self.run("BEGIN")?,
            Step::Commit if !was_idle => self.run("COMMIT")?,
            Step::Rollback if !was_idle => self.run("ROLLBACK")?,
            Step::Savepoint => self.run("SAVEPOINT a")?,
            // There may be none of that name.
            Step::RollbackTo => drop(self.run("ROLLBACK TO a")),
            Step::Release => drop(self.run("RELEASE a")),
            Step::Switch if was_idle => self.by_talon = !self.by_talon,
            Step::Look if was_idle => return self.check(),
            Step::Insert(key) if !self.is_there(key) && !self.just_deleted.contains(&key) => {
                let tag = if next % 3 == 0 { "A" } else { "F" };
                self.run(&format!("INSERT INTO head VALUES ({key}, {next}, '{tag}')"))?;
            }
            Step::Delete(key) if self.is_there(key) => {
                self.run(&format!("DELETE FROM head WHERE id = {key}"))?;
                self.just_deleted.insert(key);
            }
            Step::Rename(old, new) if self.is_there(old) && !self.is_there(new) => {
                self.run(&format!("UPDATE head SET id = {new} WHERE id = {old}"))?;
            }
            Step::Swap(one, other)
                if one != other && self.is_there(one) && self.is_there(other) =>
            {
                for (old, new) in [(one, 99), (other, one), (99, other)] {
                    self.run(&format!("UPDATE head SET id = {new} WHERE id = {old}"))?;
                }
            }
            Step::AddLine(key) if self.is_there(key) => {
                self.run(&format!("INSERT INTO line VALUES ({next}, {key}, 0)"))?;
            }
            Step::ChangeLines(key) => {
                self.run(&format!("UPDATE line SET what = {next} WHERE head = {key}"))?;
            }
            Step::AddTax(key) => {
                self.run(&format!(
                    "INSERT INTO tax SELECT {next}, min(id) FROM line WHERE head = {key}"
                ))?;
            }
            Step::LoseLines(key) => self.run(&format!("DELETE FROM line WHERE head = {key}"))?,
            _ => return Ok(()),
        }
        if self.is_idle() && self.by_talon {
            self.just_deleted.clear();
            return self.check();
        }
        Ok(())
    }

    /// What the snapshots say of whose they are, once all marks are absorbed.
    fn check(&mut self) -> Checked {
        self.script.push("SELECT talon_absorb()".to_owned());
        self.talon.run("SELECT talon_absorb()");
        self.just_deleted.clear();
        // Each header: its own number, kind and key, and its lines.
        let mut living: BTreeMap<i64, (String, i64, String)> = BTreeMap::new();
        for row in self.talon.rows(
            "SELECT h.own, CASE tag WHEN 'F' THEN 'sale' ELSE 'credit' END, h.id,
               ifnull((SELECT group_concat(l.id || '/' || l.what ORDER BY l.id) FROM line AS l WHERE l.head = h.id), '')
             FROM head AS h",
        ) {
            let cells: Vec<&str> = row.split('|').collect();
            let piece = (cells[1].to_owned(), number(cells[2]), cells[3].to_owned());
            living.insert(number(cells[0]), piece);
        }
        let mut newest: BTreeMap<(String, i64), (i64, String)> = BTreeMap::new();
        for row in self.talon.rows(
            "SELECT s.kind, s.piece,
               (SELECT json_extract(row, '$.own') FROM talon_image(s.id) WHERE part = 'header'),
               ifnull((SELECT group_concat(json_extract(row, '$.id') || '/' || json_extract(row, '$.what')
                 ORDER BY json_extract(row, '$.id')) FROM talon_image(s.id) WHERE part = 'lines'), '')
             FROM talon_snapshots AS s ORDER BY s.id",
        ) {
            let cells: Vec<&str> = row.split('|').collect();
            let (kind, key, own) = (cells[0].to_owned(), number(cells[1]), number(cells[2]));
            if let Some((_, now, _)) = living.get(&own)
                && *now != key
            {
                return Err(format!("a snapshot of {own}, which is {now}, is under {kind} {key}"));
            }
            newest.insert((kind, key), (own, cells[3].to_owned()));
        }
        for (own, (kind, key, lines)) in &living {
            if lines.is_empty() {
                continue;
            }
            self.had_lines.insert(*own);
            let found = newest.get(&(kind.clone(), *key));
            if found != Some(&(*own, lines.clone())) {
                return Err(format!(
                    "{kind} {key} is {own} with {lines}; its newest image: {found:?}"
                ));
            }
        }
        for row in self.talon.rows("SELECT kind, piece, finding, detail FROM talon_audit") {
            let cells: Vec<&str> = row.split('|').collect();
            let of = living
                .iter()
                .find(|(_, (kind, key, _))| kind == cells[0] && key.to_string() == cells[1]);
            let is_expected = match cells[2] {
                "unguarded" => true,
                "lost" => of.is_some_and(|(own, _)| self.had_lines.contains(own)),
                _ => false,
            };
            if !is_expected {
                return Err(format!("found: {row}; {of:?}"));
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Checked {
        if !self.is_idle() {
            self.run("COMMIT")?;
        }
        self.check()
    }
}

fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { default.cases } else { cases },
        rng_seed: if asked { default.rng_seed } else { RngSeed::Fixed(20_261_122) },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        max_shrink_time: 60_000,
        max_shrink_iters: 20_000,
        ..default
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn every_snapshot_stays_with_its_piece_whatever_becomes_of_keys(steps in prop::collection::vec(step(), 0..50)) {
        let mut world = World::begin();
        let mut run = || {
            steps.iter().try_for_each(|step| world.step(*step))?;
            world.settle()
        };
        let result: Checked = run();
        result.map_err(|problem| TestCaseError::fail(format!("{problem}\n\nscript:\n{};", world.script.join(";\n"))))?;
    }
}
