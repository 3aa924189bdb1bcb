//! What the tests of the program share: a central database and two tills with a mailbox, and the program itself.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use talon_tests::{Db, extension_path, load};

pub const SCHEMA: &str = "
    CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, address TEXT, phone TEXT);
    CREATE TABLE article(id INTEGER PRIMARY KEY, code TEXT UNIQUE, label TEXT, price REAL);
    CREATE TABLE sale(id INTEGER PRIMARY KEY, number TEXT, customer_id INTEGER REFERENCES customer(id));
    CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale(id),
      article_id INTEGER REFERENCES article(id), quantity REAL, price REAL, note TEXT);
    CREATE INDEX sale_line_sale ON sale_line(sale_id);
";

const SITES: &str = "SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote'), talon_site('CSOC', 'remote')";

pub const GUARDS: &str = r#"
    SELECT talon_track('customer', '{"record": {"table": "customer"}, "sync": "customer"}');
    SELECT talon_track('article', '{"record": {"table": "article"}, "sync": "article"}');
    SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line"}, "sync": "piece"}');
"#;

/// The databases ASOC (central), BSOC and CSOC, and a folder as mailbox.
pub struct Shops {
    folder: tempfile::TempDir,
}

/// What a run of the program gave.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: &Output) -> Ran {
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Expects success without a warning, and gives what was said.
    pub fn well(self) -> String {
        assert!(self.code == Some(0) && self.err.is_empty(), "{self:?}");
        self.out
    }

    /// Expects an exit code and a text on standard error.
    pub fn ends(self, code: i32, text: &str) {
        assert!(self.code == Some(code) && self.err.contains(text), "{code}, {text}: {self:?}");
    }
}

impl Shops {
    pub fn new() -> Shops {
        let shops = Shops { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(shops.path("mailbox")).expect("a mailbox");
        for site in ["ASOC", "BSOC", "CSOC"] {
            let db = shops.db(site);
            db.run("PRAGMA journal_mode = WAL");
            db.run(SCHEMA);
            db.run(SITES);
            db.run(GUARDS);
            db.run(&format!("SELECT talon_origin('{site}')"));
        }
        shops
    }

    /// A path in the folder of all.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn file(&self, site: &str) -> PathBuf {
        self.path(&format!("{site}.db"))
    }

    /// A connection with Talon to a site's database.
    pub fn db(&self, site: &str) -> Db {
        let db = Db::open(&self.file(site));
        load(&db.connection);
        db.run("PRAGMA busy_timeout = 20000");
        db
    }

    /// The program, with this database.
    pub fn talon(&self, command: &str, site: &str) -> Command {
        let mut run = Command::new(env!("CARGO_BIN_EXE_talon"));
        run.arg(command).arg("--db").arg(self.file(site)).arg("--extension").arg(extension_path());
        run.stdin(Stdio::null());
        run
    }

    pub fn syncing(&self, site: &str) -> Command {
        let mut run = self.talon("sync", site);
        run.arg("--mailbox").arg(self.path("mailbox"));
        run
    }

    pub fn run(&self, command: &str, site: &str, more: &[&str]) -> Ran {
        Ran::of(&self.talon(command, site).args(more).output().expect("it runs"))
    }

    pub fn sync(&self, site: &str, more: &[&str]) -> Ran {
        Ran::of(&self.syncing(site).args(more).output().expect("it runs"))
    }

    /// Runs a program that waits for central, whose own runs every now and then meanwhile, for a minute at most.
    pub fn answered(&self, mut waiting: Command) -> Ran {
        let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut waiting = waiting.spawn().expect("it runs");
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until && waiting.try_wait().expect("its state").is_none() {
            self.sync("ASOC", &[]).well();
            std::thread::sleep(Duration::from_millis(200));
        }
        Ran::of(&waiting.wait_with_output().expect("it ends"))
    }

    /// A database is no more, with what SQLite keeps beside it.
    pub fn remove(&self, site: &str) {
        for end in ["", "-wal", "-shm"] {
            // Those beside it may be gone already.
            let _ = std::fs::remove_file(self.path(&format!("{site}.db{end}")));
        }
    }

    /// What lies in the mailbox for a site, by name, sorted.
    pub fn lying(&self, site: &str) -> Vec<PathBuf> {
        let folder = self.path("mailbox").join(format!("to-{site}"));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }

    /// A site makes so many sales, of two lines each, numbered on from the ones it has.
    pub fn sell(&self, site: &str, count: u32) {
        self.sell_with(site, count, "''");
    }

    /// Sales of about 40 KiB that do not compress: a chunk holds some dozens.
    pub fn sell_large(&self, site: &str, count: u32) {
        self.sell_with(site, count, "hex(randomblob(20000))");
    }

    fn sell_with(&self, site: &str, count: u32, note: &str) {
        self.db(site).run(&format!(
            "BEGIN;
             CREATE TEMP TABLE sold AS
               WITH RECURSIVE n(id) AS (SELECT coalesce(max(id), 0) + 1 FROM sale UNION ALL SELECT id + 1 FROM n LIMIT {count})
               SELECT id FROM n;
             INSERT INTO sale(id, number) SELECT id, '{site}-' || id FROM sold;
             INSERT INTO sale_line(sale_id, quantity, price, note)
               SELECT id, 1, id * 1.25, {note} FROM sold UNION ALL SELECT id, 2, 0.5, 'bag' FROM sold;
             DROP TABLE sold;
             COMMIT"
        ));
    }

    /// The sales of a site by what is printed on them, with their lines.
    pub fn sales(&self, site: &str) -> Vec<String> {
        self.db(site).rows(
            "SELECT s.number, (SELECT group_concat(quantity || ' x ' || price || ' ' || length(note), ', ')
                                 FROM (SELECT * FROM sale_line WHERE sale_id = s.id ORDER BY quantity))
               FROM sale AS s ORDER BY s.number",
        )
    }
}
