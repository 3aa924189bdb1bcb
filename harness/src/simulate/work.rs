//! Work made up from a seed: what stations do to the pieces of a [`Shape`].

use super::pick;
use super::shape::{Column, DetailTable, Kind, Shape, quoted};
use crate::scenario::{Journaled, Purge, Step};
use crate::tables::quote;
use crate::vfs::Value;
use fastrand::Rng;

/// Headers and lines are numbered below these, so that statements meet the same rows again and again.
const HEADERS: u64 = 5;
const LINES: u64 = 14;
const RANKS: u64 = 4;

/// A station that works.
#[derive(Debug, Clone)]
pub struct Station {
    /// Its connection's name.
    pub name: &'static str,
    /// `recursive_triggers` is on there: only then does SQLite tell of lines that REPLACE takes from other pieces.
    pub is_recursive: bool,
    /// It loads Talon.
    pub has_talon: bool,
    /// Another one does not: what that changes is known once it is absorbed.
    pub is_overtaken: bool,
}

/// Makes up steps.
pub struct Work<'a> {
    shape: &'a Shape,
    random: &'a mut Rng,
}

impl<'a> Work<'a> {
    /// Work on a shape's tables.
    pub fn new(shape: &'a Shape, random: &'a mut Rng) -> Work<'a> {
        Work { shape, random }
    }

    /// A number in a range.
    pub fn count(&mut self, range: std::ops::Range<usize>) -> usize {
        self.random.usize(range)
    }

    fn step(station: &Station, sql: String) -> Step {
        Step { on: station.name.to_owned(), sql, ..Step::default() }
    }

    /// A step in which several pieces are made.
    pub fn beginnings(&mut self, station: &Station) -> Step {
        let mut sql = "BEGIN;\n".to_owned();
        let shape = self.shape;
        for kind in &shape.kinds {
            for _ in 0..3 {
                self.new_piece(kind, station, &mut sql);
            }
        }
        sql.push_str("COMMIT;");
        Work::ended(Work::step(station, sql))
    }

    /// A host that is refused the end of its transaction gives it up.
    fn ended(step: Step) -> Step {
        Step { rolls_back: true, ..step }
    }

    /// What a station does next: a statement alone, a transaction, or something that needs Talon.
    pub fn steps_of(&mut self, station: &Station) -> Vec<Step> {
        let shape = self.shape;
        let kind = &shape.kinds[self.random.usize(..shape.kinds.len())];
        let mut steps = match self.random.u8(..12) {
            0 if station.has_talon => {
                let call = self.call(station);
                Work::with_all_absorbed(station, call)
            }
            1 if station.has_talon => self.edit(kind, station),
            2 | 3 if station.has_talon => self.loss_and_restore(kind, station),
            0..=5 => {
                let mut sql = String::new();
                self.change(kind, station, &mut sql);
                vec![Work::step(station, sql)]
            }
            6 if station.has_talon => {
                let mut open = "BEGIN;\n".to_owned();
                self.change(kind, station, &mut open);
                let mut steps = vec![Work::step(station, open)];
                steps.extend(Work::absorbed(station));
                steps.push(self.restore(station));
                let mut end = String::new();
                self.change(kind, station, &mut end);
                end.push_str(pick(self.random, &["COMMIT;", "COMMIT;", "ROLLBACK;"]));
                steps.push(Work::ended(Work::step(station, end)));
                steps
            }
            _ => vec![self.transaction(station)],
        };
        if let Some(last) = steps.last_mut() {
            last.closes = self.random.u8(..12) == 0;
        }
        steps
    }

    /// Lines go, whoever is to blame, and come back.
    fn loss_and_restore(&mut self, kind: &Kind, station: &Station) -> Vec<Step> {
        let number = self.header_number();
        let loss =
            format!("DELETE FROM {} WHERE {};", quote(&kind.lines), Work::of_header(kind, number));
        let restore = self.restore(station);
        let mut steps = vec![Work::step(station, loss)];
        steps.extend(Work::with_all_absorbed(station, restore));
        steps
    }

    /// Where others change pieces without Talon: absorbs that, or fails.
    fn absorbed(station: &Station) -> Option<Step> {
        let absorb = "SELECT talon_absorb();".to_owned();
        station.is_overtaken.then(|| Work::journaled(station, Journaled::Lost, absorb))
    }

    /// A step that may go by what Talon lists. A list does without what cannot be absorbed just then, and there would be
    /// less to do: so both come to pass, or neither.
    fn with_all_absorbed(station: &Station, step: Step) -> Vec<Step> {
        let listings = ["(SELECT piece FROM", "SELECT kind, piece", "FROM talon_audit"];
        let is_listing = listings.iter().any(|listing| step.sql.contains(listing));
        match Work::absorbed(station).filter(|_| is_listing) {
            None => vec![step],
            Some(absorbed) => vec![
                Work::step(station, "BEGIN;".to_owned()),
                absorbed,
                step,
                Work::ended(Work::step(station, "COMMIT;".to_owned())),
            ],
        }
    }

    /// A step of Talon's.
    fn journaled(station: &Station, journaled: Journaled, sql: String) -> Step {
        Step { journaled: Some(journaled), ..Work::step(station, sql) }
    }

    /// Gives back what is lost, or a piece as it once was.
    fn restore(&mut self, station: &Station) -> Step {
        let (journaled, sql) = match self.random.u8(..6) {
            0 => {
                // Of one kind: it commits after each.
                let kind = &self.shape.kinds[self.random.usize(..self.shape.kinds.len())];
                let all = format!("SELECT talon_restore_all({});", Value::from(kind.name.as_str()));
                (Journaled::Lost, all)
            }
            1 => {
                let lost = "INSERT INTO talon_restore(kind, piece)
  SELECT kind, piece FROM talon_lost ORDER BY kind, piece LIMIT 1;";
                (Journaled::Lost, lost.to_owned())
            }
            2 | 3 => {
                let then = format!(
                    "INSERT INTO talon_restore(kind, piece, snapshot)
  SELECT kind, piece, id FROM talon_snapshots WHERE lines > 0 ORDER BY id LIMIT 1 OFFSET {};",
                    self.random.u8(..6)
                );
                (Journaled::Whole, then)
            }
            _ => {
                let lost =
                    "INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost;";
                (Journaled::Lost, lost.to_owned())
            }
        };
        Work::journaled(station, journaled, sql)
    }

    /// A station opens a piece, changes something, and closes it; or leaves that to another.
    fn edit(&mut self, kind: &Kind, station: &Station) -> Vec<Step> {
        let name = kind.name.replace('\'', "''");
        let said = format!("SELECT talon_station('{}', 'paul');\n", station.name);
        let open = format!(
            "{said}SELECT talon_edit_begin('{name}', (SELECT piece FROM talon_snapshots
  WHERE kind = '{name}' AND lines > 0 ORDER BY id LIMIT 1 OFFSET {}));",
            self.random.u8(..4)
        );
        let mut change = String::new();
        self.change(kind, station, &mut change);
        let end = pick(self.random, &["talon_edit_end", "talon_edit_end", "talon_edit_release"]);
        let which = pick(self.random, &["ORDER BY since", "ORDER BY piece DESC"]);
        let close = format!(
            "{said}SELECT {end}('{name}', (SELECT piece FROM talon_edits WHERE kind = '{name}' {which} LIMIT 1));"
        );
        let open = Work::journaled(station, Journaled::Lost, open);
        let mut steps = Work::with_all_absorbed(station, open);
        steps.push(Work::step(station, change));
        if self.random.bool() {
            steps.push(Work::journaled(station, Journaled::Lost, close));
        }
        steps
    }

    /// The halves of two stations' transactions, one in the other.
    pub fn interleaved(&mut self, first: &Station, second: &Station) -> Vec<Step> {
        let kind = &self.shape.kinds[0];
        let mut open = "BEGIN;\n".to_owned();
        self.change(kind, first, &mut open);
        let mut between = String::new();
        self.change(kind, second, &mut between);
        let mut end = String::new();
        self.change(kind, first, &mut end);
        end.push_str(pick(self.random, &["COMMIT;", "COMMIT;", "ROLLBACK;"]));
        let end = Work::ended(Work::step(first, end));
        vec![Work::step(first, open), Work::step(second, between), end]
    }

    /// A call of Talon's that changes nothing of the host's tables.
    fn call(&mut self, station: &Station) -> Step {
        let shape = self.shape;
        let kind = &shape.kinds[self.random.usize(..shape.kinds.len())];
        let name = kind.name.replace('\'', "''");
        let mut step = Work::journaled(station, Journaled::Lost, String::new());
        step.sql = match self.random.u8(..8) {
            0 => format!("SELECT talon_baseline('{name}');"),
            1 => "SELECT talon_absorb();".to_owned(),
            2 => "SELECT count(*) FROM talon_audit;".to_owned(),
            3 => "INSERT INTO talon_restore(kind, piece, dry_run) SELECT kind, piece, 1 FROM talon_lost;"
                .to_owned(),
            4 | 5 => {
                step.purges = Some(Purge::All);
                let day = self.random.u8(1..4);
                format!(
                    "SELECT talon_clock('2999-01-0{day}T08:00:00+01:00');\nSELECT talon_daily();"
                )
            }
            6 => {
                step.purges = Some(Purge::All);
                "INSERT INTO talon_purge(before) VALUES ('2999-01-01');".to_owned()
            }
            _ => {
                step.purges = Some(Purge::KeepLast);
                "INSERT INTO talon_purge(before, keep_last) VALUES ('2999-01-01', 1);".to_owned()
            }
        };
        step
    }

    fn transaction(&mut self, station: &Station) -> Step {
        let mut sql =
            pick(self.random, &["BEGIN;\n", "BEGIN IMMEDIATE;\n", "SAVEPOINT work;\n"]).to_owned();
        let end = match sql.starts_with("SAVEPOINT") {
            true => pick(
                self.random,
                &["RELEASE work;", "RELEASE work;", "ROLLBACK TO work; RELEASE work;"],
            ),
            false => pick(self.random, &["COMMIT;", "COMMIT;", "COMMIT;", "ROLLBACK;"]),
        };
        let shape = self.shape;
        let mut savepoints = 0;
        for _ in 0..self.random.u8(1..6) {
            match self.random.u8(..8) {
                0 => {
                    savepoints += 1;
                    sql.push_str(&format!("SAVEPOINT s{savepoints};\n"));
                }
                1 if savepoints > 0 => {
                    sql.push_str(&format!("ROLLBACK TO s{savepoints};\n"));
                }
                2 if savepoints > 0 => {
                    sql.push_str(&format!("RELEASE s{savepoints};\n"));
                    savepoints -= 1;
                }
                _ => {
                    let kind = &shape.kinds[self.random.usize(..shape.kinds.len())];
                    self.change(kind, station, &mut sql);
                }
            }
        }
        sql.push_str(end);
        Work::ended(Work::step(station, sql))
    }

    fn header_number(&mut self) -> u64 {
        self.random.u64(1..=HEADERS)
    }

    fn text(&mut self) -> &'static str {
        pick(self.random, &["'a'", "'été'", "NULL", "''", "'x''y'", "CAST(x'61006200ff' AS TEXT)"])
    }

    fn amount(&mut self) -> &'static str {
        pick(self.random, &["1", "2.5", "-0.0", "9e999", "NULL", "9007199254740993", "0.1"])
    }

    fn any(&mut self) -> &'static str {
        pick(
            self.random,
            &["7", "7.0", "'7'", "x'00ff'", "x''", "NULL", "-9223372036854775808", "1e-300"],
        )
    }

    fn rest(&mut self) -> String {
        format!("{}, {}, {}", self.text(), self.amount(), self.any())
    }

    fn values(columns: &[Column], number: u64) -> Vec<String> {
        match columns {
            [one] => vec![one.sort.key(number)],
            // Two shops number their pieces alike.
            _ => columns
                .iter()
                .enumerate()
                .map(|(place, column)| {
                    column.sort.key(if place == 0 { number % 2 } else { number / 2 })
                })
                .collect(),
        }
    }

    fn is(names: &[String], values: &[String]) -> String {
        let terms =
            names.iter().zip(values).map(|(name, value)| format!("{} = {value}", quote(name)));
        terms.collect::<Vec<_>>().join(" AND ")
    }

    fn header_is(kind: &Kind, number: u64) -> String {
        let names: Vec<String> = kind.key.iter().map(|column| column.name.clone()).collect();
        Work::is(&names, &Work::values(&kind.key, number))
    }

    fn of_header(kind: &Kind, number: u64) -> String {
        Work::is(&kind.reference, &Work::values(&kind.key, number))
    }

    /// A line by its own key, or by its piece and rank.
    fn line_is(&mut self, kind: &Kind) -> String {
        match &kind.line_key {
            Some(key) => format!("{} = {}", quote(&key.name), key.sort.key(self.line_number(kind))),
            None => {
                let of = Work::of_header(kind, self.header_number());
                format!("{of} AND rank = {}", self.random.u64(..RANKS))
            }
        }
    }

    /// Where headers lie in the same table, lines have numbers of their own.
    fn line_number(&mut self, kind: &Kind) -> u64 {
        let from = if kind.is_one_table { HEADERS + 1 } else { 1 };
        self.random.u64(from..from + LINES)
    }

    fn insert_header(&mut self, kind: &Kind, number: u64, verb: &str) -> String {
        let mut columns = kind.key.iter().map(|column| quote(&column.name)).collect::<Vec<_>>();
        let mut values = Work::values(&kind.key, number);
        if let Some(letter) = kind.letter {
            columns.push("type".to_owned());
            values.push(format!("'{letter}'"));
        }
        let document = self.random.u64(..HEADERS * 2);
        format!(
            "{verb} INTO {}({}, number, label, amount, \"any thing\") VALUES ({}, 'N{document}', {})",
            quote(&kind.header),
            columns.join(", "),
            values.join(", "),
            self.rest()
        )
    }

    fn insert_line(&mut self, kind: &Kind, header: u64, verb: &str) -> String {
        let mut columns = kind.reference.iter().map(|name| quote(name)).collect::<Vec<_>>();
        let mut values = Work::values(&kind.key, header);
        if let Some(key) = &kind.line_key {
            columns.push(quote(&key.name));
            values.push(key.sort.key(self.line_number(kind)));
        }
        format!(
            "{verb} INTO {}({}, rank, label, amount, \"any thing\") VALUES ({}, {}, {})",
            quote(&kind.lines),
            columns.join(", "),
            values.join(", "),
            self.random.u64(..RANKS),
            self.rest()
        )
    }

    fn insert_detail(&mut self, kind: &Kind, detail: &DetailTable, header: u64) -> String {
        let mut columns = detail.reference.iter().map(|name| quote(name)).collect::<Vec<_>>();
        let mut values = match (detail.is_of_lines, &kind.line_key) {
            (false, _) => Work::values(&kind.key, header),
            (true, Some(key)) => vec![key.sort.key(self.line_number(kind))],
            (true, None) => {
                let mut values = Work::values(&kind.key, header);
                values.push(self.random.u64(..RANKS).to_string());
                values
            }
        };
        if let Some(key) = &detail.key {
            columns.push(quote(&key.name));
            values.push(key.sort.key(self.random.u64(1..LINES)));
        }
        format!(
            "INSERT INTO {}({}, label, amount, \"any thing\") VALUES ({}, {});\n",
            quote(&detail.table),
            columns.join(", "),
            values.join(", "),
            self.rest()
        )
    }

    fn new_piece(&mut self, kind: &Kind, station: &Station, sql: &mut String) {
        let number = self.header_number();
        sql.push_str(&self.insert_header(kind, number, "INSERT OR IGNORE"));
        sql.push_str(";\n");
        for _ in 0..self.random.u8(1..5) {
            sql.push_str(&self.insert_line(kind, number, "INSERT OR IGNORE"));
            sql.push_str(";\n");
        }
        for detail in &kind.details {
            for _ in 0..self.random.u8(..3) {
                sql.push_str(&self.insert_detail(kind, detail, number));
            }
        }
        if self.random.u8(..4) == 0 {
            self.change(kind, station, sql);
        }
    }

    /// Something that a host does to a piece; one or more statements.
    fn change(&mut self, kind: &Kind, station: &Station, sql: &mut String) {
        let number = self.header_number();
        let (header, lines) = (quote(&kind.header), quote(&kind.lines));
        let verb = pick(
            self.random,
            &["INSERT", "INSERT", "INSERT OR IGNORE", "INSERT OR FAIL", "INSERT OR ROLLBACK"],
        );
        // A replaced line that belongs to another piece is seen where triggers run for it.
        let may_replace_lines = station.is_recursive || kind.line_key.is_none();
        let text = match self.random.u8(..20) {
            0 => self.insert_header(kind, number, verb),
            1 | 2 => self.insert_line(kind, number, verb),
            3 => {
                let key: Vec<String> = kind.key.iter().map(|column| column.name.clone()).collect();
                format!(
                    "{} ON CONFLICT({}) DO UPDATE SET amount = excluded.amount, label = 'again'",
                    self.insert_header(kind, number, "INSERT"),
                    quoted(&key)
                )
            }
            4 if !kind.is_one_table || station.is_recursive => {
                self.insert_header(kind, number, "REPLACE")
            }
            5 if may_replace_lines => self.insert_line(kind, number, "REPLACE"),
            6 => format!("DELETE FROM {lines} WHERE {}", self.line_is(kind)),
            7 => format!("DELETE FROM {lines} WHERE {}", Work::of_header(kind, number)),
            8 => format!("DELETE FROM {header} WHERE {}", Work::header_is(kind, number)),
            9 => {
                sql.push_str(&format!(
                    "DELETE FROM {lines} WHERE {};\n",
                    Work::of_header(kind, number)
                ));
                format!("DELETE FROM {header} WHERE {}", Work::header_is(kind, number))
            }
            10 => {
                let set = Work::is(&kind.reference, &Work::values(&kind.key, self.header_number()));
                format!(
                    "UPDATE OR IGNORE {lines} SET {} WHERE {}",
                    set.replace(" AND ", ", "),
                    self.line_is(kind)
                )
            }
            11 => {
                let (from, to) = (Work::header_is(kind, number), self.header_number() + HEADERS);
                let names: Vec<String> =
                    kind.key.iter().map(|column| column.name.clone()).collect();
                let set = Work::is(
                    &names,
                    &Work::values(&kind.key, if kind.is_one_table { to + LINES } else { to }),
                );
                format!("UPDATE {header} SET {} WHERE {from}", set.replace(" AND ", ", "))
            }
            12 if kind.is_soft => {
                format!("UPDATE {lines} SET gone = 1 - gone WHERE {}", self.line_is(kind))
            }
            13 if !kind.details.is_empty() => {
                let detail = &kind.details[self.random.usize(..kind.details.len())];
                sql.push_str(&self.insert_detail(kind, detail, number));
                format!("UPDATE {} SET amount = {}", quote(&detail.table), self.amount())
            }
            14 if !kind.details.is_empty() => {
                let detail = &kind.details[self.random.usize(..kind.details.len())];
                format!("DELETE FROM {} WHERE label IS NULL OR label = 'a'", quote(&detail.table))
            }
            15 => format!(
                "UPDATE {header} SET amount = {}, number = 'N{number}' WHERE {}",
                self.amount(),
                Work::header_is(kind, number)
            ),
            16 => format!("UPDATE {lines} SET rank = rank + 1"),
            17 => format!("INSERT INTO {lines}(no_such_column) VALUES (1)"),
            _ => format!(
                "UPDATE {lines} SET amount = {}, \"any thing\" = {} WHERE {}",
                self.amount(),
                self.any(),
                self.line_is(kind)
            ),
        };
        sql.push_str(&text);
        sql.push_str(";\n");
    }
}
