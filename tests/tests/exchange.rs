//! Central and its tills work, each by itself; flows are lost, doubled, late, cut off; clocks go wrong. Once all have met often
//! enough, all have the same, and nothing is gone that nobody deleted, unless it is listed why.
//!
//! Everything is made from a seed, which a failure names. `TALON_SEEDS=1..10000 cargo test -p talon-tests --release --test
//! exchange` runs as many as one likes, `TALON_SECONDS=60` as long as one likes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use talon_tests::Db;
use talon_tests::tills::{Tills, receive};

const SCHEMA: &str = "
    CREATE TABLE customer(id INTEGER PRIMARY KEY, tag TEXT, name TEXT, address TEXT, phone TEXT);
    CREATE TABLE article(id INTEGER PRIMARY KEY, tag TEXT UNIQUE, label TEXT, price REAL);
    CREATE TABLE sale(id INTEGER PRIMARY KEY, tag TEXT, customer_id INTEGER REFERENCES customer(id), total REAL);
    CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale(id), tag TEXT,
      article_id INTEGER REFERENCES article(id), quantity REAL, upstream_line_id INTEGER REFERENCES sale_line(id));
    CREATE INDEX sale_line_sale ON sale_line(sale_id);
    CREATE INDEX sale_line_upstream ON sale_line(upstream_line_id);
    CREATE INDEX sale_line_article ON sale_line(article_id);
    CREATE TABLE payment(id INTEGER PRIMARY KEY, line_id INTEGER NOT NULL REFERENCES sale_line(id), amount REAL);
    CREATE INDEX payment_line ON payment(line_id);
    CREATE TABLE till_closing(id INTEGER PRIMARY KEY, tag TEXT, total REAL);
";

const DECLARE: &str = r#"
    SELECT talon_track('customer', '{"record": {"table": "customer"}, "sync": "customer"}');
    SELECT talon_track('article', '{"record": {"table": "article"}, "sync": "article"}');
    SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line", "piece": "sale_id"},
      "details": [{"table": "payment", "name": "payments", "of": "lines"}], "sync": "piece"}');
    SELECT talon_track('till_closing', '{"record": {"table": "till_closing"}, "sync": "till"}');
"#;

/// Each kind's rows by who they are: kind, origin, key there, then what all sites must agree on.
const DOCUMENTS: &str = "
    WITH who AS (
      SELECT k.kind AS kind, p.key AS key, coalesce(s.code, (SELECT code FROM talon_site WHERE id = (SELECT value FROM talon_meta
        WHERE name = 'site'))) AS origin, coalesce(p.origin_key, p.key) AS origin_key
      FROM talon_piece AS p JOIN talon_kind AS k ON k.id = p.kind LEFT JOIN talon_site AS s ON s.id = p.origin WHERE p.gone_at IS NULL)
    SELECT w.kind || ' ' || w.origin || ' ' || w.origin_key, c.tag, c.name, c.address, c.phone
      FROM customer AS c JOIN who AS w ON w.kind = 'customer' AND w.key = c.id
    UNION ALL SELECT w.kind || ' ASOC ' || w.origin_key, a.tag, a.label, a.price, NULL
      FROM article AS a JOIN who AS w ON w.kind = 'article' AND w.key = a.id
    UNION ALL SELECT w.kind || ' ' || w.origin || ' ' || w.origin_key, t.tag, t.total, NULL, NULL
      FROM till_closing AS t JOIN who AS w ON w.kind = 'till_closing' AND w.key = t.id
    UNION ALL SELECT w.kind || ' ' || w.origin || ' ' || w.origin_key, s.tag, s.total, (SELECT tag FROM customer WHERE id = s.customer_id),
        (SELECT group_concat(printf('%s %s %s %s %s', l.tag, l.quantity, a.tag, u.tag,
           (SELECT total(amount) || ' of ' || count(*) FROM payment WHERE line_id = l.id)), ', ')
         FROM (SELECT * FROM sale_line WHERE sale_id = s.id ORDER BY tag) AS l LEFT JOIN article AS a ON a.id = l.article_id
         LEFT JOIN sale_line AS u ON u.id = l.upstream_line_id)
      FROM sale AS s JOIN who AS w ON w.kind = 'sale' AND w.key = s.id
    ORDER BY 1";

/// Numbers from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// A flow on its way.
struct OnItsWay {
    to: char,
    chunks: Vec<Vec<u8>>,
}

struct World {
    sites: Tills,
    numbers: Numbers,
    on_their_way: Vec<OnItsWay>,
    tags: usize,
    minutes: BTreeMap<char, i64>,
    /// Tags of what was created, and of what somebody deleted.
    created: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let sites = Tills::with(SCHEMA, DECLARE, 3);
        let letters = sites.letters();
        for letter in &letters {
            sites.at(*letter).run("PRAGMA foreign_keys = ON");
        }
        World {
            minutes: letters.iter().map(|letter| (*letter, 0)).collect(),
            sites,
            numbers: Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            on_their_way: Vec::new(),
            tags: 0,
            created: BTreeSet::new(),
            deleted: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        let letter = *self.numbers.of(&self.sites.letters());
        self.tick(letter);
        match self.numbers.below(10) {
            0..6 => self.work(letter),
            6..8 => self.write(letter),
            _ => self.arrive(),
        }
    }

    /// Clocks go on, mostly; now and then one goes back, or a day ahead.
    fn tick(&mut self, letter: char) {
        let by = match self.numbers.below(20) {
            0 => -90,
            1 => 24 * 60,
            _ => self.numbers.below(30) as i64,
        };
        let minutes = self.minutes.entry(letter).or_default();
        *minutes += by;
        let query = format!(
            "SELECT talon_clock(strftime('%Y-%m-%dT%H:%M:%SZ', '2026-11-20 08:00:00', '{minutes} minutes'))"
        );
        self.sites.at(letter).run(&query);
    }

    fn tag(&mut self, letter: char) -> String {
        self.tags += 1;
        format!("{letter}{}", self.tags)
    }

    /// Somebody's work, which a rule or a reference may forbid: then it did not happen.
    fn work(&mut self, letter: char) {
        let tag = self.tag(letter);
        let value = self.tags;
        let some = |db: &Db, numbers: &mut Numbers, table: &str| {
            let rows = db.rows(&format!("SELECT id FROM {table} ORDER BY id"));
            if rows.is_empty() { "NULL".to_owned() } else { numbers.of(&rows).clone() }
        };
        let db = self.sites.at(letter);
        let numbers = &mut self.numbers;
        let mut creates = false;
        let script = match numbers.below(14) {
            0 | 1 => {
                creates = true;
                format!("INSERT INTO customer(tag, name) VALUES ('{tag}', 'name {value}')")
            }
            2 => {
                creates = letter == 'A';
                format!("INSERT INTO article(tag, price) VALUES ('{tag}', {value})")
            }
            3 => {
                let id = some(db, numbers, "article");
                format!("UPDATE article SET price = {value} WHERE id = {id}")
            }
            4..7 => {
                creates = true;
                let customer = some(db, numbers, "customer");
                let mut script = format!(
                    "BEGIN; INSERT INTO sale(tag, customer_id, total) VALUES ('{tag}', {customer}, {value});"
                );
                for line in 0..1 + numbers.below(3) {
                    let (article, upstream) =
                        (some(db, numbers, "article"), some(db, numbers, "sale_line"));
                    script.push_str(&format!(
                        "INSERT INTO sale_line(sale_id, tag, article_id, quantity, upstream_line_id)
                         VALUES ((SELECT id FROM sale WHERE tag = '{tag}'), '{tag}-{line}', {article}, {value}, {upstream});"
                    ));
                    if numbers.below(2) == 0 {
                        script.push_str(&format!(
                            "INSERT INTO payment(line_id, amount) VALUES ((SELECT id FROM sale_line WHERE tag = '{tag}-{line}'), {value});"
                        ));
                    }
                }
                script + "COMMIT"
            }
            7 | 8 => {
                let id = some(db, numbers, "customer");
                let field = *numbers.of(&["name", "address", "phone"]);
                format!("UPDATE customer SET {field} = '{field} {value}' WHERE id = {id}")
            }
            9 => {
                let id = some(db, numbers, "sale");
                format!("UPDATE sale SET total = {value} WHERE id = {id}")
            }
            10 => {
                let id = some(db, numbers, "sale");
                let article = some(db, numbers, "article");
                format!(
                    "INSERT INTO sale_line(sale_id, tag, article_id, quantity) SELECT {id}, '{tag}', {article}, {value} WHERE {id} IS NOT NULL"
                )
            }
            11 => {
                let id = some(db, numbers, "sale_line");
                match numbers.below(2) {
                    0 => format!("UPDATE sale_line SET quantity = {value} WHERE id = {id}"),
                    _ => format!(
                        "BEGIN; DELETE FROM payment WHERE line_id = {id}; DELETE FROM sale_line WHERE id = {id}
                           AND 1 < (SELECT count(*) FROM sale_line WHERE sale_id = (SELECT sale_id FROM sale_line WHERE id = {id})); COMMIT"
                    ),
                }
            }
            12 => {
                creates = true;
                format!("INSERT INTO till_closing(tag, total) VALUES ('{tag}', {value})")
            }
            _ => return self.delete(letter),
        };
        let done = db.try_run(&script).is_ok();
        if !db.connection.is_autocommit() {
            db.run("ROLLBACK");
        }
        if creates && done {
            self.created.insert(tag);
        }
    }

    fn delete(&mut self, letter: char) {
        let db = self.sites.at(letter);
        let (table, tags) = match self.numbers.below(3) {
            0 => ("customer", db.rows("SELECT tag FROM customer ORDER BY id")),
            _ => ("sale", db.rows("SELECT tag FROM sale ORDER BY id")),
        };
        if tags.is_empty() {
            return;
        }
        let tag = self.numbers.of(&tags).clone();
        let script = match table {
            "sale" => format!(
                "BEGIN; DELETE FROM payment WHERE line_id IN (SELECT id FROM sale_line WHERE sale_id = (SELECT id FROM sale WHERE tag = '{tag}'));
                 DELETE FROM sale_line WHERE sale_id = (SELECT id FROM sale WHERE tag = '{tag}'); DELETE FROM sale WHERE tag = '{tag}'; COMMIT"
            ),
            _ => format!("DELETE FROM customer WHERE tag = '{tag}'"),
        };
        let done = db.try_run(&script).is_ok();
        if !db.connection.is_autocommit() {
            db.run("ROLLBACK");
        }
        if done {
            self.deleted.insert(tag);
        }
    }

    /// A flow is written: a till's for central, or central's for a till.
    fn write(&mut self, letter: char) {
        let to = match letter {
            'A' => *self.numbers.of(&self.sites.letters()[1..]),
            _ => 'A',
        };
        let mode = if self.numbers.below(8) == 0 { "full" } else { "changes" };
        let answer = if self.numbers.below(4) == 0 { "now" } else { "none" };
        let chunks = self.sites.emit(letter, to, mode, answer);
        self.on_their_way.push(OnItsWay { to, chunks });
    }

    /// Something of what is on its way arrives, in any order; it may be lost, come twice, or be cut off.
    fn arrive(&mut self) {
        if self.on_their_way.is_empty() {
            return;
        }
        let place = self.numbers.below(self.on_their_way.len());
        let db = self.sites.at(self.on_their_way[place].to);
        match self.numbers.below(8) {
            0 => drop(self.on_their_way.remove(place)),
            1 => {
                let chunk = &self.on_their_way[place].chunks[0];
                let cut = &chunk[..self.numbers.below(chunk.len())];
                assert!(receive(db, cut).is_err(), "a chunk cut off was taken");
            }
            2 => self.deliver(place),
            _ => {
                self.deliver(place);
                self.on_their_way.remove(place);
            }
        }
    }

    fn deliver(&self, place: usize) {
        let flow = &self.on_their_way[place];
        let db = self.sites.at(flow.to);
        for chunk in &flow.chunks {
            // One that comes after a newer one may be refused by name; that is no fault.
            let _ = receive(db, chunk);
        }
        db.run("SELECT talon_process()");
    }

    /// All meet until nobody has anything new.
    fn come_to_rest(&self) -> Vec<BTreeMap<String, String>> {
        let mut before = Vec::new();
        for _ in 0..12 {
            self.sites.settle(1);
            let now: Vec<_> =
                self.sites.letters().iter().map(|letter| self.documents(*letter)).collect();
            if now == before {
                break;
            }
            before = now;
        }
        before
    }

    /// What a site has, by who it is.
    fn documents(&self, letter: char) -> BTreeMap<String, String> {
        let rows = self.sites.at(letter).rows(DOCUMENTS);
        let split = |row: String| {
            let (who, rest) = row.split_once('|').expect("several columns");
            (who.to_owned(), rest.to_owned())
        };
        rows.into_iter().map(split).collect()
    }

    /// What somebody has set aside, by who it is.
    fn set_aside(&self) -> BTreeSet<String> {
        let query = "SELECT kind || ' ' || origin || ' ' || origin_key FROM talon_quarantine";
        let all =
            self.sites.letters().into_iter().flat_map(|letter| self.sites.at(letter).rows(query));
        all.collect()
    }
}

/// What sites know of a document, for whoever looks for the cause of a failure.
fn known_of(world: &World, who: &str) -> String {
    let mut words = who.split(' ');
    let (kind, origin, key) = (words.next(), words.next(), words.next());
    let (kind, origin, key) = (kind.unwrap_or(""), origin.unwrap_or(""), key.unwrap_or(""));
    let mut told = String::new();
    for letter in world.sites.letters() {
        let db = world.sites.at(letter);
        told.push_str(&format!("at {letter}\n"));
        for query in [
            format!(
                "SELECT 'change', c.seq, c.key, c.version, c.stamp, s.code, c.previous, v.code, c.flow, c.fields, p.change, p.gone_at
                 FROM talon_change AS c LEFT JOIN talon_site AS s ON s.id = c.site LEFT JOIN talon_site AS v ON v.id = c.via
                 JOIN talon_kind AS k ON k.id = c.kind JOIN talon_piece AS p ON p.kind = c.kind AND p.key = c.key
                 WHERE k.kind = '{kind}' AND coalesce(p.origin_key, p.key) = {key} AND coalesce((SELECT code FROM talon_site WHERE id = p.origin),
                   (SELECT code FROM talon_site WHERE id = (SELECT value FROM talon_meta WHERE name = 'site'))) = '{origin}'"
            ),
            format!(
                "SELECT 'aside', direction, flow, stamp, site, tries, reason FROM talon_quarantine
                 WHERE kind = '{kind}' AND origin = '{origin}' AND origin_key = {key}"
            ),
            "SELECT 'conflict', kind, piece, field, lost_stamp, lost_site, won_stamp, won_site, flow FROM talon_conflicts"
                .to_owned(),
            "SELECT 'flow', id, sender, receiver, number, mode, since, until, ended IS NOT NULL, refused IS NOT NULL,
               superseded IS NOT NULL, acknowledged IS NOT NULL, error FROM talon_flow"
                .to_owned(),
            "SELECT 'site', code, acknowledged, applied FROM talon_site".to_owned(),
        ] {
            for row in db.rows(&query) {
                told.push_str(&format!("  {row}\n"));
            }
        }
    }
    told
}

fn judge(world: &World, seed: u64) {
    let held = world.come_to_rest();
    let aside = world.set_aside();
    let letters = world.sites.letters();
    for (letter, documents) in letters.iter().zip(&held) {
        let db = world.sites.at(*letter);
        assert_eq!(db.rows("PRAGMA foreign_key_check"), [""; 0], "seed {seed}: {letter}");
        assert_eq!(
            db.rows("SELECT kind, piece, finding, detail FROM talon_audit"),
            [""; 0],
            "seed {seed}: {letter}"
        );
        for (who, what) in documents {
            if aside.contains(who) {
                continue;
            }
            let central = held[0].get(who);
            if Some(what) != central {
                panic!(
                    "seed {seed}: {who} is {what:?} at {letter}, {central:?} at A\n{}",
                    known_of(world, who)
                );
            }
        }
        for who in held[0].keys().filter(|who| !aside.contains(*who)) {
            assert!(documents.contains_key(who), "seed {seed}: {who} is not at {letter}");
        }
    }
    // Nothing that somebody made is gone unless somebody deleted it, or it is said where it is.
    let tags: BTreeSet<&str> = held[0].values().filter_map(|what| what.split('|').next()).collect();
    let listed = world.sites.letters().into_iter().flat_map(|letter| {
        let db = world.sites.at(letter);
        let mut listed = db.rows("SELECT document FROM talon_quarantine");
        listed.extend(db.rows("SELECT lost_value FROM talon_conflicts"));
        listed
    });
    let listed: Vec<String> = listed.collect();
    for tag in world.created.difference(&world.deleted) {
        let is_listed = || listed.iter().any(|text| text.contains(&format!("\"{tag}\"")));
        assert!(tags.contains(tag.as_str()) || is_listed(), "seed {seed}: {tag} has vanished");
    }
}

/// Plays a seed; gives how many documents there were in the end, how many were set aside, how many conflicts were listed.
fn play(seed: u64) -> [usize; 3] {
    let mut world = World::new(seed);
    for _ in 0..100 {
        world.step();
    }
    judge(&world, seed);
    let conflicts = world
        .sites
        .letters()
        .into_iter()
        .map(|letter| world.sites.at(letter).rows("SELECT id FROM talon_conflicts").len());
    [world.documents('A').len(), world.set_aside().len(), conflicts.sum()]
}

#[test]
fn all_sites_end_with_the_same_and_nothing_vanishes() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = std::env::var("TALON_SEEDS").ok().and_then(|range| {
        let (from, to) = range.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let limit = number("TALON_SECONDS").map(Duration::from_secs);
    let begun = Instant::now();
    let seeds = seeds.unwrap_or(if limit.is_some() { 0..u64::MAX } else { 0..5 });
    let (mut played, mut met) = (0, [0; 3]);
    for seed in seeds {
        if limit.is_some_and(|limit| begun.elapsed() >= limit) {
            break;
        }
        let outcome = std::panic::catch_unwind(|| play(seed));
        match outcome {
            Ok(counts) => met.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count),
            Err(panic) => {
                eprintln!("seed {seed} failed: TALON_SEEDS={seed}..{} repeats it", seed + 1);
                std::panic::resume_unwind(panic);
            }
        }
        played += 1;
    }
    let [documents, aside, conflicts] = met;
    println!("{played} seeds: {documents} documents, {aside} set aside, {conflicts} conflicts");
    assert!(played == 0 || documents > 0);
}
