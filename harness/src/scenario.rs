//! A scenario's file: a schema and its guard, what the host does, under which settings, and what must hold after.

use crate::fault::Kind;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A scenario as its file says it. The harness's README explains each entry.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// The file.
    #[serde(skip)]
    pub path: Option<PathBuf>,
    /// What is replayed, in a sentence.
    pub about: String,
    /// A schema that the harness brings along: `sales`, `shop` or `sites`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// The host's tables, made after the sample's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub schema: String,
    /// What declares the guards, run after the sample's by a connection with Talon.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub guard: String,
    /// Which tables hold the pieces: what the judge compares images with. The samples bring theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<Pieces>,
    /// Connections by name: all but `till`, which loads Talon where it is not listed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connections: BTreeMap<String, Host>,
    /// What happened before: no faults yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Step>,
    /// What faults are tried on.
    pub steps: Vec<Step>,
    /// Faults strike while connections open and load Talon, too; otherwise they are open already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cold: bool,
    /// What must hold when every step was done, judged where no fault stopped one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Check>,
    /// What is done after a fault, when it is over, and after the steps where there was none: all must end alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<Step>,
    /// What holds of whatever a fault leaves, before anything is done again: asked without Talon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub always: Vec<Check>,
    /// The settings to run in, each with each.
    #[serde(default)]
    pub runs: Runs,
    /// Families of faults: `power`, `full`, `io`, `memory`, `interrupt`, `kill`; where left out all, but
    /// interrupts only with `again`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<Vec<String>>,
}

/// The tables that hold a kind of piece.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pieces {
    /// The kind's name.
    pub kind: String,
    /// The headers' table.
    pub header: String,
    /// The columns that identify a header.
    pub key: Vec<String>,
    /// The lines' table.
    pub lines: String,
    /// The lines' columns that refer to the header's key.
    pub piece: Vec<String>,
    /// Which headers are meant: a condition over `h`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub header_where: Option<String>,
    /// Which lines are meant: a condition over `l`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines_where: Option<String>,
    /// Further tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
}

/// A further table of a kind's pieces.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// What images call it.
    pub name: String,
    /// The table.
    pub table: String,
    /// Its columns that refer to the parent's key.
    pub piece: Vec<String>,
    /// Where it hangs on lines: the lines' key. Otherwise it hangs on the header.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub line_key: Vec<String>,
}

/// A connection of the host.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Whether it loads Talon.
    #[serde(default = "yes")]
    pub talon: bool,
    /// Whether it has triggers switched on.
    #[serde(default = "yes")]
    pub triggers: bool,
    /// How long it waits for locks. Nobody sleeps: the wait passes at once.
    #[serde(default)]
    pub busy_timeout_ms: i32,
    /// What it runs when it opens, such as pragmas.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub opens_with: String,
    /// Its database on the disk: where a scenario says what is done `again`, there may be several.
    #[serde(default = "database")]
    pub file: String,
}

impl Default for Host {
    fn default() -> Self {
        Host {
            talon: true,
            triggers: true,
            busy_timeout_ms: 0,
            opens_with: String::new(),
            file: database(),
        }
    }
}

/// The database of connections that name no other.
pub const DATABASE: &str = "shop.db";

fn database() -> String {
    DATABASE.to_owned()
}

fn yes() -> bool {
    true
}

/// One thing that the host does.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The connection.
    #[serde(default = "till")]
    pub on: String,
    /// What it runs, statement by statement.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sql: String,
    /// What the run without Talon does in its place, where `sql` needs Talon: what the step comes to in the host's tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// A part of the error that its last statement must end with. Errors that the run without Talon has too need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it purges: `all` but what is lost, or with `keep_last` all but that and each piece's newest image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purges: Option<Purge>,
    /// In place of `instead`: what the step comes to is what Talon's journal says, by the images in its snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journaled: Option<Journaled>,
    /// A transaction that is still open at the end is rolled back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rolls_back: bool,
    /// The connection is closed at the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closes: bool,
    /// Under which name the last statement's first column is kept, for `:name` in later statements: one value, or the
    /// bytes of several rows in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps: Option<String>,
    /// In place of `sql`: takes Talon's tables back to a format of an older library, on a connection without Talon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<usize>,
}

fn till() -> String {
    "till".to_owned()
}

/// What a step restores that is known by Talon's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Journaled {
    /// Pieces that have lost their lines: no row that is there goes.
    Lost,
    /// Pieces as they once were: rows that they did not have then go.
    Whole,
}

/// What a purge leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purge {
    /// The images of pieces that are lost.
    All,
    /// Those, and the newest of every piece.
    KeepLast,
}

/// A query and its rows.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// In whose database: that of connections that name none where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Run by a connection with Talon, but for those that hold `always`.
    pub sql: String,
    /// Values joined by `|`, as SQL spells them.
    pub rows: Vec<String>,
}

/// A rollback journal's fate, or the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Journal {
    /// `PRAGMA journal_mode = WAL`.
    Wal,
    /// `… DELETE`.
    Delete,
    /// `… TRUNCATE`.
    Truncate,
    /// `… PERSIST`.
    Persist,
}

/// How often a file is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// `PRAGMA synchronous = NORMAL`.
    Normal,
    /// `… FULL`.
    Full,
}

/// Settings to run in.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    /// Journal modes.
    #[serde(default = "journals")]
    pub journal: Vec<Journal>,
    /// Levels of `synchronous`.
    #[serde(default = "levels")]
    pub synchronous: Vec<Synchronous>,
    /// In bytes.
    #[serde(default = "page_sizes")]
    pub page_size: Vec<u32>,
}

fn journals() -> Vec<Journal> {
    vec![Journal::Wal, Journal::Delete, Journal::Truncate, Journal::Persist]
}

fn levels() -> Vec<Synchronous> {
    vec![Synchronous::Normal, Synchronous::Full]
}

fn page_sizes() -> Vec<u32> {
    vec![4096, 1024, 65536]
}

impl Default for Runs {
    fn default() -> Self {
        Runs { journal: journals(), synchronous: levels(), page_size: page_sizes() }
    }
}

/// One combination of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Setting {
    /// The journal mode.
    pub journal: Journal,
    /// How often a file is synced.
    pub synchronous: Synchronous,
    /// In bytes.
    pub page_size: u32,
}

impl std::fmt::Display for Setting {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            to,
            "{}-{}-{}",
            self.journal_name(),
            match self.synchronous {
                Synchronous::Normal => "normal",
                Synchronous::Full => "full",
            },
            self.page_size
        )
    }
}

impl Setting {
    /// As `PRAGMA journal_mode` spells it.
    pub fn journal_name(&self) -> &'static str {
        match self.journal {
            Journal::Wal => "wal",
            Journal::Delete => "delete",
            Journal::Truncate => "truncate",
            Journal::Persist => "persist",
        }
    }
}

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The file is no scenario.
    #[error("{path}: {error}")]
    Format {
        /// Which.
        path: String,
        /// Why.
        error: Box<toml::de::Error>,
    },
    /// It says something that there is not.
    #[error("{path}: {problem}")]
    Content {
        /// Which.
        path: String,
        /// What.
        problem: String,
    },
}

impl Scenario {
    /// Reads a scenario's file and puts its sample in.
    ///
    /// # Errors
    /// A text that names the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Scenario, ScenarioError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ScenarioError::File { path: shown.clone(), error })?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let parsed = Scenario::parse(&name.unwrap_or_default(), &text);
        let known = parsed.map(|scenario| Scenario { path: Some(path.to_owned()), ..scenario });
        known.map_err(|error| match error {
            ScenarioError::Format { error, .. } => ScenarioError::Format { path: shown, error },
            ScenarioError::Content { problem, .. } => {
                ScenarioError::Content { path: shown, problem }
            }
            other @ ScenarioError::File { .. } => other,
        })
    }

    /// Reads a scenario from its file's text.
    ///
    /// # Errors
    /// As [`Scenario::read`].
    pub fn parse(name: &str, text: &str) -> Result<Scenario, ScenarioError> {
        let path = name.to_owned();
        let mut scenario: Scenario = toml::from_str(text).map_err(|error| {
            ScenarioError::Format { path: path.clone(), error: Box::new(error) }
        })?;
        scenario.name = name.to_owned();
        scenario
            .add_sample()
            .and_then(|()| scenario.look_over())
            .map_err(|problem| ScenarioError::Content { path, problem })?;
        Ok(scenario)
    }

    fn add_sample(&mut self) -> Result<(), String> {
        let Some(sample) = &self.sample else { return Ok(()) };
        let (schema, guard, pieces) = match sample.as_str() {
            "sales" => (SALES_SCHEMA, SALES_GUARD, vec![pieces("sale", "sale_id")]),
            "shop" => {
                let mut sale = pieces("sale", "piece_id");
                sale.header_where = Some("h.stage <> 'subscription'".to_owned());
                (
                    include_str!("../../sql/sample/schema.sql"),
                    include_str!("../../sql/sample/guard.sql"),
                    vec![sale, pieces("purchase", "piece_id")],
                )
            }
            "sites" => (SITES_SCHEMA, SITES_GUARD, Vec::new()),
            other => {
                return Err(format!("there is no sample {other:?}; there are sales, shop, sites"));
            }
        };
        self.schema = format!("{schema}\n{}", self.schema);
        self.guard = format!("{guard}\n{}", self.guard);
        self.pieces.splice(0..0, pieces);
        self.sample = None;
        Ok(())
    }

    /// The databases that its connections work in, each once.
    pub fn databases(&self) -> BTreeSet<String> {
        let files = self.connections.values().map(|host| host.file.clone());
        files.chain([database()]).collect()
    }

    /// Every combination of settings.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for page_size in &self.runs.page_size {
            for journal in &self.runs.journal {
                for synchronous in &self.runs.synchronous {
                    settings.push(Setting {
                        journal: *journal,
                        synchronous: *synchronous,
                        page_size: *page_size,
                    });
                }
            }
        }
        settings
    }

    /// The connection of a name.
    pub fn host(&self, name: &str) -> Host {
        self.connections.get(name).cloned().unwrap_or_default()
    }

    /// Whether faults of a kind are tried.
    pub fn tries(&self, kind: Kind) -> bool {
        self.tries_family(kind.family())
    }

    /// Whether faults of a family are tried.
    pub fn tries_family(&self, family: &str) -> bool {
        match &self.faults {
            Some(families) => families.iter().any(|name| name == family),
            // An interrupted commit keeps the host's work and lists the piece: what is then stored differs from a run without.
            None => family != "interrupt" || !self.again.is_empty(),
        }
    }
}

fn pieces(kind: &str, piece: &str) -> Pieces {
    Pieces {
        kind: kind.to_owned(),
        header: format!("{kind}_piece"),
        key: vec!["id".to_owned()],
        lines: format!("{kind}_line"),
        piece: vec![piece.to_owned()],
        header_where: None,
        lines_where: None,
        details: Vec::new(),
    }
}

const SALES_SCHEMA: &str = "
CREATE TABLE sale_piece(id INTEGER PRIMARY KEY, number TEXT UNIQUE, total REAL);
CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale_piece(id),
  position INTEGER, label TEXT, quantity REAL);
CREATE INDEX sale_line_sale ON sale_line(sale_id);
";

const SALES_GUARD: &str = "SELECT talon_guard('sale', 'sale_piece', 'sale_line');";

const SITES_SCHEMA: &str = "
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, address TEXT);
CREATE TABLE article(id INTEGER PRIMARY KEY, code TEXT UNIQUE, label TEXT);
CREATE TABLE sale(id INTEGER PRIMARY KEY, number TEXT, customer_id INTEGER REFERENCES customer(id), lines INTEGER);
CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale(id),
  article_id INTEGER REFERENCES article(id), quantity REAL, upstream_id INTEGER REFERENCES sale_line(id));
CREATE INDEX sale_line_sale ON sale_line(sale_id);
CREATE INDEX sale_line_upstream ON sale_line(upstream_id);
";

/// Which of the sites a database is, it says itself: `talon_origin`.
const SITES_GUARD: &str = r#"
SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote');
SELECT talon_track('customer', '{"record": {"table": "customer"}, "sync": "customer"}');
SELECT talon_track('article', '{"record": {"table": "article"}, "sync": "article"}');
SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line"}, "sync": "piece"}');
"#;
