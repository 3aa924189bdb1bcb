//! Checks: queries that must give no row for any piece of a kind. The audit lists what they give; one that blocks makes the
//! UPDATE fail that it forbids.

use super::database::Database;
use super::rules::Rule;
use super::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Statement, Value, ValueRef};
use crate::storage::check::{Check, checking_triggers, fit_check};
use crate::storage::key::Key;
use crate::storage::rule::{CheckDefinition, RuleType, from_json};
use crate::storage::shape::{quote_identifier, quote_list};
use crate::storage::trigger::checking_suffix;
use std::rc::Rc;

/// Characters of a violation's row at most.
const LONGEST_ROW: usize = 200;
/// Violations that the note of a restore shows at most.
const MOST_NOTED: usize = 10;

impl Talon {
    /// Declares a check, or replaces the one of this name; gives a line that says what is checked.
    ///
    /// # Errors
    /// [`Error::Definition`] when it does not fit the schema; nothing is changed then.
    pub fn declare_check(&self, schema: &str, name: &str, json: &str) -> Result<String> {
        super::rules::check_name(name)?;
        let definition: CheckDefinition = from_json(name, json)?;
        self.look(schema, None)?;
        let place = self.kind_place(schema, &definition.kind)?;
        let schema = self.databases()?[place.database].schema.clone();
        let check = self.declaring(&schema, || {
            let mut databases = self.databases()?;
            let database = &mut databases[place.database];
            self.upgrade_tables(database)?;
            let guard = database.guard(place.kind)?;
            let check = fit_check(self.connection, &schema, name, &definition, &guard)?;
            let json = serde_json::to_string(&definition).unwrap_or_default();
            database.put_rule(name, RuleType::Check, &json)?;
            let rule = database.rule(name, RuleType::Check)?;
            database.drop_checking(rule.row.id)?;
            let suffix = format!("_{}", checking_suffix(rule.row.id));
            let number = database.number;
            for trigger in checking_triggers(self.connection, &schema, number, &guard, &[])? {
                if trigger.name.ends_with(&suffix) {
                    self.connection.run(&trigger.sql, &[])?;
                }
            }
            self.note_schema_version(&schema)?;
            Ok(check)
        })?;
        let blocks = if check.blocks.is_some() { ", and blocks" } else { "" };
        Ok(format!("{name} is checked for every {}{blocks}", check.kind))
    }

    /// Takes a check back; gives a line that says so.
    ///
    /// # Errors
    /// [`Error::UnknownRule`].
    pub fn take_back_check(&self, schema: &str, name: &str) -> Result<String> {
        self.take_back_rule(schema, name, RuleType::Check, |database, id| {
            database.drop_checking(id)?;
            self.note_schema_version(&database.schema)
        })
    }

    /// An UPDATE of a header is done for which a check's condition is true: the piece as it is by now must not violate it.
    /// One that cannot be asked forbids nothing; the audit says so.
    ///
    /// # Errors
    /// [`Error::Forbidden`] with the check's text.
    pub(super) fn ask_check(&self, database: &mut Database, id: i64, piece: &Key) -> Result<()> {
        // Of two files with the same number (a copy beside its original) it is the one that is being written.
        if !self.connection.is_writing_to(&database.schema) {
            return Ok(());
        }
        let rules = database.rules()?;
        let Some(check) = rules.iter().find(|rule| rule.row.id == id).and_then(|rule| rule.check())
        else {
            return Ok(());
        };
        match database.violates(check, piece) {
            Ok(false) => Ok(()),
            Ok(true) => Err(Error::Forbidden(check.text.clone())),
            Err(error) if error.is_fatal() => Err(error),
            Err(_) => Ok(()),
        }
    }
}

impl Database {
    fn violates(&mut self, check: &Check, piece: &Key) -> Result<bool> {
        let shown = piece.shown()?;
        let statement = self.rule_statement(&check.query)?;
        let used = statement.parameters().len().min(1);
        Ok(statement.first(&[shown.as_ref()][..used], |_| Ok(()))?.is_some())
    }

    /// What the checks of a kind have to say about a piece, for a note.
    ///
    /// # Errors
    /// What SQLite cannot go on after.
    pub fn violations(&mut self, kind: usize, piece: &Key) -> Result<Vec<String>> {
        let name = self.kinds[kind].name.clone();
        let mut notes: Vec<String> = Vec::new();
        for rule in self.rules()? {
            let Some(check) = rule.check().filter(|check| check.kind == name) else { continue };
            let shown = piece.shown()?;
            let statement = self.rule_statement(&check.query)?;
            let used = statement.parameters().len().min(1);
            let found = note_rows(check, statement, &[shown.as_ref()][..used], &mut notes);
            match found {
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    notes.push(format!("check: {} could not be asked: {error}", check.name))
                }
                Ok(()) => {}
            }
        }
        Ok(notes)
    }

    /// Drops the triggers that ask a check.
    fn drop_checking(&mut self, id: i64) -> Result<()> {
        let schema = quote_identifier(&self.schema);
        let pattern = format!("talon_[0-9]*_{}", checking_suffix(id));
        let mut names: Vec<String> = Vec::new();
        {
            let mut statement = self.connection.prepare(&format!(
                "SELECT name FROM {schema}.sqlite_schema WHERE type = 'trigger' AND name GLOB ?1"
            ))?;
            let mut rows = statement.query(&[ValueRef::Text(pattern.as_bytes())])?;
            while rows.next()? {
                names.push(rows.column(0).as_str().unwrap_or_default().to_owned());
            }
        }
        for name in names {
            let sql = format!("DROP TRIGGER {schema}.{}", quote_identifier(&name));
            self.connection.run(&sql, &[])?;
        }
        Ok(())
    }
}

fn note_rows(
    check: &Check,
    statement: &mut Statement,
    values: &[ValueRef<'_>],
    notes: &mut Vec<String>,
) -> Result<()> {
    statement.start(values)?;
    let mut given = 0;
    while statement.step()? {
        given += 1;
        if given > MOST_NOTED {
            notes.push(format!("check: {}: and more", check.name));
            break;
        }
        notes.push(format!("check: {}", violation(check, statement)));
    }
    statement.stop();
    Ok(())
}

/// `lots: the lots of a line do not add up to its quantity (line 601, quantity 6.0, lots 4.0)`.
fn violation(check: &Check, row: &Statement) -> String {
    let cells: Vec<String> = (0..row.column_count())
        .map(|column| {
            let (name, value) = (row.column_name(column), row.column(column).to_string());
            if name == value { value } else { format!("{name} {value}") }
        })
        .collect();
    let row = cells.join(", ");
    let row = match row.char_indices().nth(LONGEST_ROW) {
        Some((end, _)) => format!("{}…", &row[..end]),
        None => row,
    };
    format!("{}: {} ({row})", check.name, check.text)
}

/// A violation, or a check that cannot be asked.
pub struct Violation {
    /// The piece.
    pub piece: Value,
    /// In words.
    pub detail: String,
}

/// Asks the checks of a kind about its pieces, one by one.
pub struct CheckSearch {
    pieces: Statement,
    columns: usize,
    checks: Vec<(Rc<Rule>, Statement)>,
    /// What cannot be asked, to be told first.
    problems: Vec<Violation>,
    /// The piece at hand, and the place of the check that is being asked about it.
    at: Option<(Value, usize)>,
    /// The check at that place is giving its rows.
    running: bool,
}

impl CheckSearch {
    /// Prepares the search over all pieces of a kind, or over one of them; None where no check is declared.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn begin(
        database: &mut Database,
        kind: usize,
        piece: Option<&Value>,
    ) -> Result<Option<CheckSearch>> {
        let name = database.kinds[kind].name.clone();
        let (mut checks, mut problems) = (Vec::new(), Vec::new());
        for rule in database.rules()?.into_iter().filter(|rule| rule.is(RuleType::Check)) {
            if rule.checked_kind().is_some_and(|kind| kind != name) {
                continue;
            }
            let prepared = match &rule.body {
                Err(problem) => Err(problem.clone()),
                Ok(_) => {
                    match rule.check().map(|check| database.connection.prepare(&check.query)) {
                        Some(Ok(statement)) => Ok(statement),
                        Some(Err(failure)) if Error::Sqlite(failure.clone()).is_fatal() => {
                            return Err(failure.into());
                        }
                        Some(Err(failure)) => Err(failure.to_string()),
                        None => continue,
                    }
                }
            };
            match prepared {
                Ok(statement) => checks.push((rule, statement)),
                Err(problem) => problems.push(Violation {
                    piece: piece.cloned().unwrap_or(Value::Null),
                    detail: format!("{}: it cannot be asked: {problem}", rule.row.name),
                }),
            }
        }
        if checks.is_empty() && problems.is_empty() {
            return Ok(None);
        }
        let guard = database.guard(kind)?;
        let header = guard.header();
        let columns = header.key.len();
        let key = match piece {
            Some(piece) => Key::from_shown(piece.as_ref(), columns)?,
            None => None,
        };
        let which = match (piece, &key) {
            (None, _) => "1".to_owned(),
            (Some(_), Some(_)) => guard.header_is(),
            // What cannot be a key of this kind is none of its pieces.
            (Some(_), None) => "0".to_owned(),
        };
        let mut pieces = database.connection.prepare(&format!(
            "SELECT {} FROM {} WHERE {which}{}",
            quote_list("h.", &header.key),
            header.from_clause(&database.schema),
            header.and_condition()
        ))?;
        let values: Vec<ValueRef<'_>> =
            key.iter().flat_map(|key| key.values()).map(Value::as_ref).collect();
        pieces.start(&values)?;
        problems.reverse();
        Ok(Some(CheckSearch { pieces, columns, checks, problems, at: None, running: false }))
    }

    /// The next violation.
    ///
    /// # Errors
    /// What SQLite cannot go on after.
    pub fn find_next(&mut self) -> Result<Option<Violation>> {
        if let Some(problem) = self.problems.pop() {
            return Ok(Some(problem));
        }
        loop {
            let Some((piece, place)) = &mut self.at else {
                if self.checks.is_empty() || !self.pieces.step()? {
                    return Ok(None);
                }
                let key = Key::of(self.pieces.values(0..self.columns)?);
                if !key.has_null() {
                    self.at = Some((key.shown()?, 0));
                }
                continue;
            };
            let Some((rule, statement)) = self.checks.get_mut(*place) else {
                self.at = None;
                continue;
            };
            let stepped = if self.running {
                statement.step()
            } else {
                let used = statement.parameters().len().min(1);
                statement.start(&[piece.as_ref()][..used]).and_then(|()| statement.step())
            };
            self.running = false;
            match stepped {
                Ok(true) => {
                    self.running = true;
                    let detail =
                        rule.check().map_or_else(String::new, |check| violation(check, statement));
                    return Ok(Some(Violation { piece: piece.clone(), detail }));
                }
                Ok(false) => *place += 1,
                Err(failure) => {
                    let error = Error::Sqlite(failure);
                    if error.is_fatal() {
                        return Err(error);
                    }
                    // Told once, for the piece it happened with.
                    let detail = format!("{}: it cannot be asked: {error}", rule.row.name);
                    let violation = Violation { piece: piece.clone(), detail };
                    self.checks.remove(*place);
                    return Ok(Some(violation));
                }
            }
        }
    }
}
