//! Makes a scenario of a log: what a real host ran, as `.trace FILE --expanded` of SQLite's shell writes it, or any script.

use crate::guarded::{Guarded, guarded};
use crate::model;
use crate::scenario::{Journaled, Purge, Runs, Scenario, Setting, Step};
use crate::session::{Script, Session};
use crate::sql;
use crate::vfs::{Disk, Failure, is_complete, split_script};
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
    /// Lines left out: commands of the shell and what it does for them, and settings that the runs have.
    pub commands: usize,
    /// Statements of the schema left out: Talon's own tables and triggers.
    pub talons: usize,
    /// Statements that fail as the host had it, with their errors.
    pub failing: Vec<String>,
    /// Statements that ask for the time or for chance: their values differ from run to run.
    pub changing: Vec<String>,
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

/// The log's statements without what the shell runs for its commands and what is a setting of the runs; how many lines and
/// statements those are.
fn of_host(log: &str) -> Result<(Vec<Logged>, usize), String> {
    let (mut logged, commands) = read_log(log);
    if let Some(Logged { sql, .. }) = logged.iter().find(|one| sql::is_of_talon(&one.sql)) {
        return Err(format!(
            "trace the host without Talon: the log has what Talon does of itself, such as {sql}"
        ));
    }
    let count = logged.len();
    logged.retain(|one| !sql::is_of_shell(&one.sql) && !sql::is_setting(&one.sql));
    let commands = commands + count - logged.len();
    Ok((logged, commands))
}

/// Takes statements out of a log, as a script.
fn taken_out(logged: &mut Vec<Logged>, is_taken: impl Fn(&Logged) -> bool) -> String {
    let (taken, left): (Vec<_>, Vec<_>) = logged.drain(..).partition(is_taken);
    *logged = left;
    taken.into_iter().map(|one| one.sql).collect::<Vec<_>>().join("\n")
}

/// Takes the definitions out that a log begins with, between looks at what is there.
fn definitions(logged: &mut Vec<Logged>) -> String {
    let is_first = |one: &Logged| sql::is_definition(&one.sql) || sql::is_looking(&one.sql);
    let end = logged.iter().position(|one| !is_first(one)).unwrap_or(logged.len());
    let rest = logged.split_off(end);
    let schema = taken_out(logged, |one| sql::is_definition(&one.sql));
    logged.extend(rest);
    schema
}

/// A schema without Talon's own tables and triggers, and how many statements those are.
fn without_talon(schema: &str) -> (String, usize) {
    let statements = split_script(schema);
    let count = statements.len();
    let own: Vec<String> = statements.into_iter().filter(|sql| !sql::is_talons(sql)).collect();
    (own.join("\n"), count - own.len())
}

/// Makes the scenario.
///
/// # Errors
/// What is missing, or does not fit.
pub fn record(source: &Source, library: &Path) -> Result<Recorded, String> {
    let (mut logged, commands) = of_host(&source.log)?;
    let guard = match &source.guard {
        Some(guard) => guard.clone(),
        None => taken_out(&mut logged, |one| sql::is_declaration(&one.sql)),
    };
    if guard.trim().is_empty() {
        return Err("the log calls no talon_guard: give the guards with --guard FILE".to_owned());
    }
    let (schema, talons) = match &source.schema {
        Some(schema) => without_talon(schema),
        None => (definitions(&mut logged), 0),
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
    let setting = scenario.settings()[0];
    let mut records = Vec::new();
    for (kind, found) in guarded(&scenario, setting, library)? {
        match found {
            Guarded::Pieces(pieces) => scenario.pieces.push(pieces),
            Guarded::Record => records.push(kind),
            Guarded::Beyond(problem) => return Err(problem),
        }
    }
    let statements = logged.len();
    let changing = logged.iter().map(|one| &one.sql).filter(|sql| sql::is_changing(sql));
    let changing = changing.cloned().collect();
    let (steps, failing) =
        steps(&scenario, setting, logged).map_err(|failure| failure.to_string())?;
    (scenario.before, scenario.steps) = parted(steps, source.last);
    let text = toml::to_string_pretty(&scenario).map_err(|error| error.to_string())?;
    // What reads back is looked over as any scenario's file is.
    let scenario = Scenario::parse(&source.name, &text).map_err(|error| error.to_string())?;
    Ok(Recorded { scenario, statements, commands, talons, failing, changing, records })
}

/// Steps before the faults, and those with them: at least so many statements of the last.
fn parted(steps: Vec<(Step, bool)>, last: usize) -> (Vec<Step>, Vec<Step>) {
    let mut left = last.max(1);
    let mut from = steps.len();
    // Where a transaction is open, its beginning is tried, too.
    while from > 0 && (left > 0 || steps[from - 1].1) {
        from -= 1;
        left = left.saturating_sub(split_script(&steps[from].0.sql).len());
    }
    let mut before: Vec<Step> = steps.into_iter().map(|(step, _)| step).collect();
    let steps = before.split_off(from);
    (before, steps)
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
        if !sql::is_talons(&one.sql) {
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
            Some((last, open_after))
                if goes_on && last.on == one.on && !sql::is_talons(&one.sql) =>
            {
                last.sql = format!("{}\n{}", last.sql, one.sql);
                *open_after = is_any_open;
            }
            _ => steps.push((step_of(one), is_any_open)),
        }
        goes_on = is_open && !sql::is_talons(&one.sql);
    }
    session.close_all()?;
    Ok((steps, failing))
}

fn step_of(one: &Logged) -> Step {
    let mut step = Step { on: one.on.clone(), sql: one.sql.clone(), ..Step::default() };
    let sql = one.sql.to_ascii_lowercase();
    if sql::is_talons(&sql) {
        let is_whole = sql.contains("talon_restore") && sql.contains("snapshot");
        step.journaled = Some(if is_whole { Journaled::Whole } else { Journaled::Lost });
        let purges = sql.contains("talon_daily") || sql.contains("into talon_purge");
        step.purges = purges.then_some(Purge::All);
    }
    step
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
