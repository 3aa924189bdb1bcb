//! A central database and its tills, and what passes between them.

use crate::{Db, Shop};

/// No rows.
pub const NONE: [&str; 0] = [];

/// What is in quarantine, in the order in which it came there.
pub const SET_ASIDE: &str =
    "SELECT kind, origin, origin_key, reason FROM talon_quarantine ORDER BY id";

/// What each site's application has.
pub const SCHEMA: &str = "
    CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, address TEXT, phone TEXT);
    CREATE TABLE article(id INTEGER PRIMARY KEY, code TEXT UNIQUE, label TEXT, price REAL);
    CREATE TABLE sale(id INTEGER PRIMARY KEY, number TEXT, customer_id INTEGER REFERENCES customer(id), total REAL);
    CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale(id),
      article_id INTEGER REFERENCES article(id), quantity REAL, price REAL, upstream_line_id INTEGER REFERENCES sale_line(id));
    CREATE INDEX sale_line_sale ON sale_line(sale_id);
    CREATE INDEX sale_line_upstream ON sale_line(upstream_line_id);
    CREATE INDEX sale_line_article ON sale_line(article_id);
    CREATE TABLE till_closing(id INTEGER PRIMARY KEY, till TEXT, day TEXT, total REAL);
";

/// How it is guarded and synchronised.
pub const DECLARE: &str = r#"
    SELECT talon_track('customer', '{"record": {"table": "customer"}, "sync": "customer"}');
    SELECT talon_track('article', '{"record": {"table": "article"}, "sync": "article"}');
    SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line"}, "sync": "piece"}');
    SELECT talon_track('till_closing', '{"record": {"table": "till_closing"}, "sync": "till"}');
"#;

/// Tables that say which tills there are, and which users have which.
pub const TILL_TABLES: &str = "
    CREATE TABLE till(code TEXT PRIMARY KEY, name TEXT);
    CREATE TABLE app_user(login TEXT PRIMARY KEY, till TEXT);
    INSERT INTO app_user VALUES ('anna', 'BSOC'), ('carl', 'CSOC'), ('dora', 'DSOC'), ('nobody', NULL);
";

/// How they are declared: a till gets its own row.
pub const DECLARE_TILLS: &str = r#"
    SELECT talon_track('till', '{"record": {"table": "till"}, "sync": {"direction": "down", "filter": "h.code = :site"}}');
    SELECT talon_till('SELECT till FROM app_user WHERE login = :user');
"#;

/// A database that is no site yet, but knows who is central: with this schema, declared so.
pub fn new_till(schema: &str, declare: &str) -> (Shop, Db) {
    let shop = Shop::with(schema);
    let db = shop.open();
    db.run("SELECT talon_clock('2026-11-21T08:00:00+01:00'), talon_site('ASOC', 'central')");
    db.run(declare);
    (shop, db)
}

/// Central ASOC and the tills BSOC and CSOC.
pub struct Tills {
    shops: Vec<Shop>,
    sites: Vec<(String, Db)>,
}

impl Default for Tills {
    fn default() -> Self {
        Tills::new()
    }
}

impl Tills {
    /// With the schema above.
    pub fn new() -> Tills {
        Tills::with(SCHEMA, DECLARE, 2)
    }

    /// With another schema, and so many tills: BSOC, CSOC and so on.
    pub fn with(schema: &str, declare: &str, tills: usize) -> Tills {
        let codes: Vec<String> =
            ('A'..).take(tills + 1).map(|letter| format!("{letter}SOC")).collect();
        let mut sites = Tills { shops: Vec::new(), sites: Vec::new() };
        for code in &codes {
            let shop = Shop::with(schema);
            let db = shop.open();
            db.run("SELECT talon_clock('2026-11-20T08:00:00+01:00')");
            for (place, site) in codes.iter().enumerate() {
                let role = if place == 0 { "central" } else { "remote" };
                db.run(&format!("SELECT talon_site('{site}', '{role}')"));
            }
            db.run(&format!("SELECT talon_origin('{code}')"));
            db.run(declare);
            sites.shops.push(shop);
            sites.sites.push((code.clone(), db));
        }
        sites
    }

    /// The connection of a site, by the first letter of its code.
    pub fn at(&self, letter: char) -> &Db {
        let found = self.sites.iter().find(|(code, _)| code.starts_with(letter));
        &found.expect("a site").1
    }

    /// Its shop.
    pub fn shop(&self, letter: char) -> &Shop {
        let place = self.sites.iter().position(|(code, _)| code.starts_with(letter));
        &self.shops[place.expect("a site")]
    }

    /// The letters of all sites, central first.
    pub fn letters(&self) -> Vec<char> {
        self.sites.iter().filter_map(|(code, _)| code.chars().next()).collect()
    }

    /// Sets all clocks.
    pub fn clock(&self, moment: &str) {
        for (_, db) in &self.sites {
            db.run(&format!("SELECT talon_clock('{moment}')"));
        }
    }

    /// Writes a flow; gives its chunks.
    pub fn emit(&self, from: char, to: char, mode: &str, answer: &str) -> Vec<Vec<u8>> {
        let db = self.at(from);
        let flow = db.one(&format!("SELECT talon_emit('{to}SOC', '{mode}', '{answer}')"));
        chunks(db, &flow)
    }

    /// Takes chunks in; gives the flow's id there.
    pub fn receive(&self, at: char, chunks: &[Vec<u8>]) -> String {
        let mut flow = String::new();
        for chunk in chunks {
            flow = receive(self.at(at), chunk).unwrap_or_else(|error| panic!("{error}"));
        }
        flow
    }

    /// Sends what there is from one site to another and has it applied there.
    pub fn send(&self, from: char, to: char) {
        self.exchange(from, to, "changes", "none");
    }

    /// The same with a mode and an answer.
    pub fn exchange(&self, from: char, to: char, mode: &str, answer: &str) {
        let chunks = self.emit(from, to, mode, answer);
        self.receive(to, &chunks);
        self.at(to).run("SELECT talon_process()");
    }

    /// Every site answers a query with these rows.
    #[track_caller]
    pub fn all_show(&self, query: &str, rows: &[&str]) {
        for (code, db) in &self.sites {
            assert_eq!(db.rows(query), rows, "{code}: {query}");
        }
    }

    /// Every till sends to central and gets what there is, until nobody has anything new: so many rounds.
    pub fn settle(&self, rounds: usize) {
        for _ in 0..rounds {
            for letter in self.letters().into_iter().skip(1) {
                self.send(letter, 'A');
            }
            for letter in self.letters().into_iter().skip(1) {
                self.send('A', letter);
            }
        }
    }
}

/// The chunks of a flow that was written.
pub fn chunks(db: &Db, flow: &str) -> Vec<Vec<u8>> {
    db.chunks(flow.parse().expect("an id"))
}

/// Takes a chunk in: the flow's id there, or the error's text.
pub fn receive(db: &Db, chunk: &[u8]) -> Result<String, String> {
    db.receive(chunk).map(|flow| flow.to_string())
}
