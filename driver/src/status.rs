//! `talon status`: one screen for whoever looks after the shops at eight in the morning.

use crate::arguments::Status;
use crate::database::Database;
use crate::error::Result;
use crate::flows::minute;
use crate::report::Report;
use crate::table::{Record, columns, records, shown};
use crate::taking::{Findings, counted};
use serde_json::{Value, json};

/// So many of a list are shown; the rest is counted.
const MOST_SHOWN: usize = 8;

/// A clock that is off by less is nobody's concern.
const CLOCK_OFF_S: i64 = 120;

/// The sites, each with how many pieces and records have changed here since what it has acknowledged, and not by a flow of its
/// own. A remote site sends to central alone.
const SITES: &str = "SELECT s.*, CASE WHEN NOT s.this AND (s.role = 'central' OR EXISTS (
        SELECT 1 FROM talon_sites AS o WHERE o.this AND o.role = 'central')) THEN (
      SELECT count(*) FROM talon_change AS c
        CROSS JOIN talon_piece AS p ON p.kind = c.kind AND p.saved IN (0, 1) AND p.key = c.key AND p.change = c.seq
      WHERE c.seq > t.acknowledged AND c.via IS NOT t.id) END AS changed
    FROM talon_sites AS s JOIN talon_site AS t ON t.code = s.code";

/// What there is to know.
struct Standing {
    this: Record,
    sites: Vec<Record>,
    to_apply: Vec<Record>,
    to_send: Vec<Record>,
    open: Vec<Record>,
    quarantine: Vec<Record>,
    conflicts: Vec<Record>,
}

/// Runs it; exit code 3 where documents are in quarantine.
///
/// # Errors
/// What the extension says.
pub fn run(options: &Status, report: &mut dyn Report) -> Result<Findings> {
    let database = Database::open_to_look(&options.place)?;
    let standing = Standing::read(&database)?;
    if options.json {
        report.say(&standing.json(&database).to_string());
    } else {
        for line in standing.screen(&database) {
            report.say(&line);
        }
    }
    let quarantined = i64::try_from(standing.quarantine.len()).unwrap_or(i64::MAX);
    Ok(Findings { quarantined, ..Findings::default() })
}

impl Standing {
    fn read(database: &Database) -> Result<Standing> {
        let this = database.this()?.code;
        let all = |query: &str| records(database.connection(), query, []);
        let ours = |condition: &str| {
            let query = format!("SELECT * FROM talon_flows WHERE {condition} ORDER BY id");
            records(database.connection(), &query, [&this])
        };
        let mut sites = all(SITES)?;
        let here = sites.iter().position(|site| site.get("this") == Some(&json!(1)));
        Ok(Standing {
            this: here.map(|here| sites.remove(here)).unwrap_or_default(),
            sites,
            to_apply: ours(
                "to_site = ?1 AND ended IS NULL AND refused IS NULL AND superseded IS NULL",
            )?,
            to_send: ours(
                "from_site = ?1 AND acknowledged IS NULL AND superseded IS NULL AND refused IS NULL",
            )?,
            open: all("SELECT * FROM talon_edits")?,
            quarantine: all("SELECT * FROM talon_quarantine ORDER BY id DESC")?,
            conflicts: all(
                "SELECT * FROM talon_conflicts WHERE reinstated_at IS NULL ORDER BY id DESC",
            )?,
        })
    }

    fn json(&self, database: &Database) -> Value {
        json!({
            "database": database.path(),
            "library": version(database),
            "this": self.this,
            "sites": self.sites,
            "to_apply": self.to_apply,
            "to_send": self.to_send,
            "open": self.open,
            "quarantine": self.quarantine,
            "conflicts": self.conflicts,
        })
    }

    fn screen(&self, database: &Database) -> Vec<String> {
        let mut lines = vec![
            format!(
                "{}, {}: {}, libtalon {}",
                shown(&self.this, "code"),
                shown(&self.this, "role"),
                database.path().display(),
                version(database)
            ),
            String::new(),
        ];
        let rows: Vec<Vec<String>> = self.sites.iter().map(site_cells).collect();
        let titles =
            ["site", "role", "name", "sent", "received", "acknowledged", "changed", "clock"];
        lines.extend(columns(&titles, &rows));
        lines.push(String::new());
        list(&mut lines, "not applied", &self.to_apply, |flow| {
            let state = if shown(flow, "ready").is_empty() { "in part" } else { "ready" };
            let problem = shown(flow, "error");
            let colon = if problem.is_empty() { "" } else { ": " };
            format!(
                "flow {} of {}, {state}{colon}{problem}",
                shown(flow, "number"),
                shown(flow, "from_site")
            )
        });
        list(&mut lines, "not acknowledged", &self.to_send, |flow| {
            format!(
                "flow {} to {} of {}, {}",
                shown(flow, "number"),
                shown(flow, "to_site"),
                minute(&shown(flow, "ready")),
                counted(flow.get("rows").and_then(Value::as_i64).unwrap_or_default(), "row")
            )
        });
        list(&mut lines, "open, not sent", &self.open, |edit| {
            let (kind, piece) = (shown(edit, "kind"), shown(edit, "piece"));
            format!(
                "{kind} {piece} at {} since {}",
                shown(edit, "station"),
                minute(&shown(edit, "since"))
            )
        });
        list(&mut lines, "quarantine", &self.quarantine, |row| {
            let (kind, key) = (shown(row, "kind"), shown(row, "origin_key"));
            let by = match shown(row, "direction").as_str() {
                "refused" => format!("not taken by {}: ", shown(row, "site")),
                _ => String::new(),
            };
            format!("{kind} {key} of {}: {by}{}", shown(row, "origin"), shown(row, "reason"))
        });
        list(&mut lines, "conflicts", &self.conflicts, |row| {
            let (kind, piece) = (shown(row, "kind"), shown(row, "piece"));
            let field = shown(row, "field");
            let dot = if field.is_empty() { "" } else { "." };
            let (lost, won) = (shown(row, "lost_site"), shown(row, "won_site"));
            format!(
                "{} {kind} {piece}{dot}{field}: {lost} lost to {won}; SELECT talon_reinstate({})",
                minute(&shown(row, "at")),
                shown(row, "id")
            )
        });
        if !self.quarantine.is_empty() {
            let count = i64::try_from(self.quarantine.len()).unwrap_or(i64::MAX);
            lines.push(format!(
                "{} in quarantine: tried again with each sync",
                counted(count, "document")
            ));
        }
        lines
    }
}

fn site_cells(site: &Record) -> Vec<String> {
    let flow = |what: &str| {
        let (number, at) = (shown(site, what), minute(&shown(site, &format!("{what}_at"))));
        if number.is_empty() { "never".to_owned() } else { format!("{number}, {at}") }
    };
    let clock = match site.get("clock_off_s").and_then(Value::as_i64) {
        None => String::new(),
        Some(off) if off.abs() < CLOCK_OFF_S => "right".to_owned(),
        Some(off) => format!("{} s {}", off.abs(), if off > 0 { "ahead" } else { "behind" }),
    };
    vec![
        shown(site, "code"),
        shown(site, "role"),
        shown(site, "name"),
        flow("sent"),
        flow("received"),
        flow("acknowledged"),
        shown(site, "changed"),
        clock,
    ]
}

/// A title with how many there are, and the first of them.
fn list(lines: &mut Vec<String>, title: &str, rows: &[Record], line: impl Fn(&Record) -> String) {
    let count = if rows.is_empty() { "none".to_owned() } else { rows.len().to_string() };
    lines.push(format!("{title}: {count}"));
    lines.extend(rows.iter().take(MOST_SHOWN).map(|row| format!("  {}", line(row))));
    if rows.len() > MOST_SHOWN {
        lines.push(format!("  and {} more", rows.len() - MOST_SHOWN));
    }
}

fn version(database: &Database) -> String {
    let asked = database.connection().query_row("SELECT talon_version()", [], |row| row.get(0));
    asked.unwrap_or_default()
}
