//! Makes a scenario of a log: what a real host ran, as `.trace --expanded FILE` of SQLite's shell writes it, or any script.

use crate::scenario::{Detail, Host, Journaled, Pieces, Purge, Runs, Scenario, Setting, Step};
use crate::session::{self, DATABASE, Script, Session};
use crate::vfs::{Connection, Disk, Failure, Files, is_complete, split_script};
use crate::{model, tables};
use serde_json::Value as Json;
use std::path::Path;

/// What a scenario is made from.
#[derive(Debug, Default)]
pub struct Source {
    /// The scenario's name.
    pub name: String,
    /// Statements; a line may begin with `[name]`, the connection of what follows.
    pub log: String,
    /// The host's tables, with or without rows; the CREATE statements that the log begins with where left out.
    pub schema: Option<String>,
    /// What declares the guards; the calls of `talon_guard` in the log where left out.
    pub guard: Option<String>,
    /// Faults are tried on so many of the last statements at least, from the start of a transaction on.
    pub last: usize,
}

/// What became of the log.
#[derive(Debug)]
pub struct Recorded {
    /// The scenario.
    pub scenario: Scenario,
    /// Statements in it.
    pub statements: usize,
    /// Lines left out: commands of the shell.
    pub commands: usize,
    /// Statements that fail as the host had it, with their errors.
    pub failing: Vec<String>,
    /// Guarded kinds without lines, which are not compared.
    pub records: Vec<String>,
}

/// A statement of the log.
struct Logged {
    on: String,
    sql: String,
}

const TILL: &str = "till";

/// The statements of a log, and how many lines were commands of the shell.
fn read_log(log: &str) -> (Vec<Logged>, usize) {
    let mut found = Vec::new();
    let (mut on, mut buffer, mut commands) = (TILL.to_owned(), String::new(), 0);
    let mut take = |on: &str, buffer: &mut String| {
        let statements = split_script(buffer).into_iter();
        found.extend(statements.map(|sql| Logged { on: on.to_owned(), sql }));
        buffer.clear();
    };
    for line in log.lines() {
        let mut line = line;
        if buffer.trim().is_empty() {
            if let Some((name, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']'))
            {
                name.clone_into(&mut on);
                line = rest.trim_start();
            }
            if line.starts_with('.') {
                commands += 1;
                continue;
            }
        }
        buffer.push_str(line);
        buffer.push('\n');
        if is_complete(&buffer) {
            take(&on, &mut buffer);
        }
    }
    take(&on, &mut buffer);
    (found, commands)
}

/// Whether a statement defines a part of the schema.
fn is_definition(sql: &str) -> bool {
    sql.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("create "))
}

/// Whether a statement needs Talon.
fn is_talons(sql: &str) -> bool {
    sql.to_ascii_lowercase().contains("talon_")
}

/// Makes the scenario.
///
/// # Errors
/// What is missing, or does not fit.
pub fn record(source: &Source, library: &Path) -> Result<Recorded, String> {
    let (mut logged, commands) = read_log(&source.log);
    let guard = match &source.guard {
        Some(guard) => guard.clone(),
        None => {
            let (guards, rest): (Vec<_>, Vec<_>) = logged
                .into_iter()
                .partition(|one| one.sql.to_ascii_lowercase().contains("talon_guard("));
            logged = rest;
            guards.into_iter().map(|one| one.sql).collect::<Vec<_>>().join("\n")
        }
    };
    if guard.trim().is_empty() {
        return Err("the log calls no talon_guard: give the guards with --guard FILE".to_owned());
    }
    let schema = match &source.schema {
        Some(schema) => schema.clone(),
        None => {
            let end = logged.iter().position(|one| !is_definition(&one.sql));
            let definitions = logged.drain(..end.unwrap_or(logged.len()));
            definitions.map(|one| one.sql).collect::<Vec<_>>().join("\n")
        }
    };
    if schema.trim().is_empty() {
        return Err(
            "the log does not begin with CREATE statements: give the tables with --schema FILE"
                .to_owned(),
        );
    }
    if logged.is_empty() {
        return Err("the log has no statements to replay".to_owned());
    }
    let mut scenario = Scenario {
        name: source.name.clone(),
        about: format!("What a host ran, from the log of {}.", source.name),
        schema,
        guard,
        runs: Runs::default(),
        ..Scenario::default()
    };
    for one in logged.iter().filter(|one| one.on != TILL) {
        scenario.connections.entry(one.on.clone()).or_default();
    }
    let plain = |failure: Failure| failure.to_string();
    let setting = scenario.settings()[0];
    let records = pieces(&mut scenario, setting, library)?;
    let statements = logged.len();
    let (steps, failing) = steps(&scenario, setting, logged).map_err(plain)?;
    let mut left = source.last.max(1);
    let mut from = steps.len();
    // Where a transaction is open, its beginning is tried, too.
    while from > 0 && (left > 0 || steps[from - 1].1) {
        from -= 1;
        left = left.saturating_sub(split_script(&steps[from].0.sql).len());
    }
    let mut steps: Vec<Step> = steps.into_iter().map(|(step, _)| step).collect();
    scenario.steps = steps.split_off(from);
    scenario.before = steps;
    let text = toml::to_string_pretty(&scenario).map_err(|error| error.to_string())?;
    // What reads back is looked over as any scenario's file is.
    let scenario = Scenario::parse(&source.name, &text).map_err(|error| error.to_string())?;
    Ok(Recorded { scenario, statements, commands, failing, records })
}

/// Steps, each with whether a transaction is still open somewhere after it; and the statements that fail.
type Steps = (Vec<(Step, bool)>, Vec<String>);

/// The log's statements as steps.
fn steps(scenario: &Scenario, setting: Setting, logged: Vec<Logged>) -> Result<Steps, Failure> {
    let disk = Disk::new(&model::schema_files(scenario, setting)?);
    // One step a statement, to see which of them end a transaction.
    let trial = Scenario { steps: logged.iter().map(step_of).collect(), ..scenario.clone() };
    let script = Script::of(&trial);
    let mut session = Session::new(&disk, setting, None, &script);
    let mut steps: Vec<(Step, bool)> = Vec::new();
    let mut failing = Vec::new();
    // Statements of one connection make a step until their transaction ends, or another connection's comes.
    let mut goes_on = false;
    for (act, one) in script.acts.iter().zip(&logged) {
        if !is_talons(&one.sql) {
            let parameters = session.connection(act.on)?.parameters(&one.sql);
            if parameters > 0 {
                let text =
                    format!("a parameter without its value in {}: trace with --expanded", one.sql);
                return Err(Failure { code: 1, text });
            }
            if let Some(failure) = session.execute(act).failure {
                failing.push(format!("{}: {failure}", one.sql));
            }
        }
        let is_open = !session.is_autocommit(act.on);
        let is_any_open = (0..script.hosts.len()).any(|host| !session.is_autocommit(host));
        match steps.last_mut() {
            Some((last, open_after)) if goes_on && last.on == one.on && !is_talons(&one.sql) => {
                last.sql = format!("{}\n{}", last.sql, one.sql);
                *open_after = is_any_open;
            }
            _ => steps.push((step_of(one), is_any_open)),
        }
        goes_on = is_open && !is_talons(&one.sql);
    }
    session.close_all()?;
    Ok((steps, failing))
}

fn step_of(one: &Logged) -> Step {
    let mut step = Step { on: one.on.clone(), sql: one.sql.clone(), ..Step::default() };
    let sql = one.sql.to_ascii_lowercase();
    if is_talons(&sql) {
        let is_whole = sql.contains("talon_restore") && sql.contains("snapshot");
        step.journaled = Some(if is_whole { Journaled::Whole } else { Journaled::Lost });
        let purges = sql.contains("talon_daily") || sql.contains("into talon_purge");
        step.purges = purges.then_some(Purge::All);
    }
    step
}

/// Fills in what the judge compares, from what Talon knows of the guards; gives the kinds that have no lines.
fn pieces(
    scenario: &mut Scenario,
    setting: Setting,
    library: &Path,
) -> Result<Vec<String>, String> {
    let plain = |failure: Failure| failure.to_string();
    let files: Files = model::schema_files(scenario, setting)
        .map_err(|failure| format!("the schema: {failure}"))?;
    let disk = Disk::new(&files);
    let connection =
        session::open(&disk, setting, Some(library), &Host::default()).map_err(plain)?;
    connection.run(&scenario.guard).map_err(|failure| format!("the guards: {failure}"))?;
    let rows = connection.query("SELECT kind, definition FROM talon_guards").map_err(plain)?;
    let mut records = Vec::new();
    for row in rows {
        let [kind, definition] = row.as_slice() else { continue };
        let kind = kind.text().unwrap_or_default().to_owned();
        let definition: Json = serde_json::from_str(definition.text().unwrap_or_default())
            .map_err(|error| format!("the guard of {kind}: {error}"))?;
        if definition["lines"].is_null() {
            records.push(kind);
            continue;
        }
        let bare = Connection::open(&disk.path(DATABASE)).map_err(plain)?;
        scenario.pieces.push(pieces_of(kind, &definition, &bare)?);
    }
    connection.close().map_err(plain)?;
    Ok(records)
}

fn columns(json: &Json) -> Option<Vec<String>> {
    match json {
        Json::String(one) => Some(vec![one.clone()]),
        Json::Array(several) => several.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn pieces_of(kind: String, definition: &Json, connection: &Connection) -> Result<Pieces, String> {
    let text = |json: &Json| json.as_str().map(str::to_owned);
    let plain = |failure: Failure| failure.to_string();
    let (header, lines) = (&definition["header"], &definition["lines"]);
    let table = |json: &Json| text(&json["table"]).unwrap_or_default();
    let key = |json: &Json| -> Result<Vec<String>, String> {
        match columns(&json["key"]) {
            Some(key) => Ok(key),
            None => tables::primary_key(connection, &table(json)).map_err(plain),
        }
    };
    let reference = |json: &Json, to: &Json, key: &[String]| -> Result<Vec<String>, String> {
        match columns(&json["piece"]) {
            Some(piece) => Ok(piece),
            None => tables::reference(connection, &table(json), &table(to), key).map_err(plain),
        }
    };
    let (header_key, line_key) = (key(header)?, key(lines)?);
    let mut found = Pieces {
        header: table(header),
        lines: table(lines),
        piece: reference(lines, header, &header_key)?,
        header_where: text(&header["where"]),
        lines_where: text(&lines["where"]),
        details: Vec::new(),
        key: header_key,
        kind,
    };
    for detail in definition["details"].as_array().into_iter().flatten() {
        let of = detail["of"].as_str().unwrap_or("header");
        let (parent, parent_key) = match of {
            "header" => (header, &found.key),
            "lines" => (lines, &line_key),
            other => {
                return Err(format!(
                    "kind {}: what the detail {} has below {other} cannot be compared",
                    found.kind,
                    table(detail)
                ));
            }
        };
        if !detail["where"].is_null() {
            return Err(format!(
                "kind {}: the condition of detail {} cannot be compared",
                found.kind,
                table(detail)
            ));
        }
        found.details.push(Detail {
            name: text(&detail["name"]).unwrap_or_else(|| table(detail)),
            table: table(detail),
            piece: reference(detail, parent, parent_key)?,
            line_key: if of == "lines" { line_key.clone() } else { Vec::new() },
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_by_connection_and_without_the_commands_of_the_shell() {
        let log = ".open shop.db\nBEGIN;\n[till 2] SELECT 1,\n [x];\n-- a comment; here\nSELECT 2; SELECT ';'\n;\n[till] COMMIT;\n";
        let (logged, commands) = read_log(log);
        assert_eq!(commands, 1);
        let found: Vec<(&str, &str)> =
            logged.iter().map(|one| (one.on.as_str(), one.sql.as_str())).collect();
        assert_eq!(
            found,
            [
                ("till", "BEGIN;"),
                ("till 2", "SELECT 1,\n [x];"),
                ("till 2", "-- a comment; here\nSELECT 2;"),
                ("till 2", "SELECT ';'\n;"),
                ("till", "COMMIT;"),
            ]
        );
    }
}
