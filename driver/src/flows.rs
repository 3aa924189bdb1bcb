//! `talon flows`: the follow-up of what was sent and received.

use crate::arguments::Flows;
use crate::database::Database;
use crate::error::Result;
use crate::report::Report;
use crate::table::{Record, columns, records, shown};
use crate::taking::Findings;

/// What is shown, under which title.
const COLUMNS: [(&str, &str); 14] = [
    ("id", "id"),
    ("link", "link"),
    ("from_site", "from"),
    ("to_site", "to"),
    ("number", "number"),
    ("mode", "mode"),
    ("answer", "answer"),
    ("ready", "ready"),
    ("begun", "begun"),
    ("ended", "ended"),
    ("runs", "runs"),
    ("rows", "rows"),
    ("bytes", "bytes"),
    ("state", "state"),
];

/// Runs it.
///
/// # Errors
/// What the extension says.
pub fn run(options: &Flows, report: &mut dyn Report) -> Result<Findings> {
    let database = Database::open_to_look(&options.place)?;
    let query = "SELECT * FROM talon_flows ORDER BY id DESC LIMIT ?1";
    let flows = records(database.connection(), query, [options.most])?;
    if options.json {
        report.say(&serde_json::Value::from_iter(flows).to_string());
        return Ok(Findings::default());
    }
    let cells = |flow: &Record| {
        COLUMNS
            .iter()
            .map(|(column, _)| match *column {
                "ready" | "begun" | "ended" => minute(&shown(flow, column)),
                "state" => state(flow),
                column => shown(flow, column),
            })
            .collect()
    };
    let rows: Vec<Vec<String>> = flows.iter().map(cells).collect();
    for line in columns(&COLUMNS.map(|(_, title)| title), &rows) {
        report.say(&line);
    }
    Ok(Findings::default())
}

/// What became of a flow, in a few words.
fn state(flow: &Record) -> String {
    let error = shown(flow, "error");
    let is_set = |column| !shown(flow, column).is_empty();
    if is_set("refused") {
        return format!("refused {error}").trim_end().to_owned();
    }
    if !error.is_empty() {
        return error;
    }
    let state = match () {
        () if is_set("acknowledged") => "acknowledged",
        () if is_set("superseded") => "superseded",
        () => "",
    };
    state.to_owned()
}

/// A moment as Talon shows it, to the second: the screen is wide enough for that.
pub fn minute(moment: &str) -> String {
    moment.get(..19).unwrap_or(moment).replace('T', " ")
}
