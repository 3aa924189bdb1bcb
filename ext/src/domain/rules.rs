//! What is declared beside the guards: derived values and checks, read anew whenever they are used, because another
//! connection may have declared one since without any sign but its row.

use super::database::Database;
use super::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Failure, Statement, ValueRef};
use crate::storage::check::{Check, checking_triggers, fit_check};
use crate::storage::derived::{Derived, fit_derived};
use crate::storage::rule::{
    AfterRestore, CheckDefinition, Correct, DELETE_RULE, DerivedDefinition, PUT_RULE, RuleRow,
    RuleType, SELECT_RULES, SINCE_FORMAT, TillDefinition, from_json, put_values, read_rules,
};
use crate::storage::till::{Till, fit_till};
use crate::storage::trigger::{checking_condition, checking_suffix, installed};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// A rule as it is in the file, fitted to today's schema.
pub struct Rule {
    /// Its row.
    pub row: RuleRow,
    /// What it says, or why it does not fit the schema.
    pub body: std::result::Result<Body, String>,
}

/// What a rule says.
pub enum Body {
    /// A column that must equal a query.
    Derived(Derived),
    /// A query that must give no row.
    Check(Check),
    /// Which till a user has.
    Till(Till),
}

/// A file's rules, as they were read last, and the statements that they need over and over.
#[derive(Default)]
pub struct Rules {
    fitted: Vec<Rc<Rule>>,
    schema_version: i64,
    statements: HashMap<String, Statement>,
}

impl Rules {
    /// Lets go of every statement.
    pub fn release(&mut self) {
        self.statements.clear();
    }
}

impl Rule {
    /// The derived value that it is, if it is one that fits.
    pub fn derived(&self) -> Option<&Derived> {
        match &self.body {
            Ok(Body::Derived(derived)) => Some(derived),
            _ => None,
        }
    }

    /// The check that it is, if it is one that fits.
    pub fn check(&self) -> Option<&Check> {
        match &self.body {
            Ok(Body::Check(check)) => Some(check),
            _ => None,
        }
    }

    /// The kind that it checks, where that can be said, even if it does not fit.
    pub fn checked_kind(&self) -> Option<String> {
        let read = || from_json::<CheckDefinition>(&self.row.name, &self.row.definition).ok();
        self.check().map(|check| check.kind.clone()).or_else(|| Some(read()?.kind))
    }

    /// A failure while it was evaluated, named after it; what SQLite cannot go on after stays what it is.
    pub fn failed(&self, failure: Failure) -> Error {
        let error = Error::Sqlite(failure.clone());
        if error.is_fatal() {
            return error;
        }
        let text = format!("{}: {failure}", self.row.name);
        Error::Sqlite(Failure::with_code(failure.code, text))
    }

    /// Whether it was declared as this.
    pub fn is(&self, rule_type: RuleType) -> bool {
        self.row.rule_type == rule_type.text()
    }
}

impl Database {
    /// All rules in the order declared.
    ///
    /// # Errors
    /// What SQLite reports; a rule that does not fit says so itself.
    pub fn rules(&mut self) -> Result<Vec<Rc<Rule>>> {
        if self.format < SINCE_FORMAT {
            // They are kept in a table that this file does not have yet.
            return Ok(Vec::new());
        }
        let rows = read_rules(self.own_statement(SELECT_RULES)?)?;
        let known = &self.rules.fitted;
        let is_known = self.rules.schema_version == self.schema_version
            && known.len() == rows.len()
            && known.iter().zip(&rows).all(|(known, row)| known.row == *row);
        if !is_known {
            self.rules.statements.clear();
            let mut fitted = Vec::new();
            for row in rows {
                let body = self.fit_rule(&row)?;
                fitted.push(Rc::new(Rule { row, body }));
            }
            self.rules.fitted = fitted;
            self.rules.schema_version = self.schema_version;
        }
        Ok(self.rules.fitted.clone())
    }

    fn fit_rule(&mut self, row: &RuleRow) -> Result<std::result::Result<Body, String>> {
        let fitted = if row.rule_type == RuleType::Derived.text() {
            from_json::<DerivedDefinition>(&row.name, &row.definition).and_then(|definition| {
                fit_derived(self.connection, &self.schema, &row.name, &definition)
                    .map(Body::Derived)
            })
        } else if row.rule_type == RuleType::Check.text() {
            from_json::<CheckDefinition>(&row.name, &row.definition)
                .and_then(|definition| self.fit_check(&row.name, row.id, definition))
        } else if row.rule_type == RuleType::Till.text() {
            from_json::<TillDefinition>(&row.name, &row.definition).and_then(|definition| {
                fit_till(self.connection, &self.schema, &definition).map(Body::Till)
            })
        } else {
            return Ok(Err("it is of a later version of Talon".to_owned()));
        };
        match fitted {
            Ok(body) => Ok(Ok(body)),
            Err(error) if error.is_fatal() => Err(error),
            Err(Error::Definition { problem, .. }) => Ok(Err(problem)),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn fit_check(&mut self, name: &str, id: i64, mut definition: CheckDefinition) -> Result<Body> {
        let place = self.kinds.iter().position(|kind| kind.guarded && kind.name == definition.kind);
        let place = place.ok_or_else(|| Error::Definition {
            kind: name.to_owned(),
            problem: format!("{:?} is not guarded", definition.kind),
        })?;
        let guard = self.guard(place)?;
        // After a renaming the trigger that asks the check knows the names of today.
        let installed = installed(self.connection, &self.schema, guard.id)?;
        let triggers =
            checking_triggers(self.connection, &self.schema, self.number, &guard, &installed)?;
        let suffix = format!("_{}", checking_suffix(id));
        let trigger = triggers.iter().find(|trigger| trigger.name.ends_with(&suffix));
        if let Some(condition) = trigger.and_then(|trigger| checking_condition(&trigger.sql)) {
            definition.blocks = Some(condition.to_owned());
        }
        fit_check(self.connection, &self.schema, name, &definition, &guard).map(Body::Check)
    }

    /// A statement of a rule, prepared once.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn rule_statement(&mut self, sql: &str) -> Result<&mut Statement> {
        let connection = self.connection;
        let statements = &mut self.rules.statements;
        if !statements.contains_key(sql) {
            statements.insert(sql.to_owned(), connection.prepare_kept(sql)?);
        }
        statements.get_mut(sql).ok_or(Error::Memory)
    }

    /// The SELECTs of `after_restore` by kind, where one was given for the only kind there is.
    fn by_kind(&self, name: &str, given: &AfterRestore) -> Result<BTreeMap<String, String>> {
        let refused = |problem| Error::Definition { kind: name.to_owned(), problem };
        let kinds: Vec<&str> =
            self.kinds.iter().filter(|kind| kind.guarded).map(|kind| kind.name.as_str()).collect();
        let known = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
        match given {
            AfterRestore::Only(select) => match kinds[..] {
                [kind] => Ok(BTreeMap::from([(kind.to_owned(), select.clone())])),
                _ => Err(refused(format!(
                    "after_restore: say after a restore of which kind: {{\"kind\": \"SELECT …\"}}; guarded: {known}"
                ))),
            },
            AfterRestore::Kinds(selects) => {
                match selects.keys().find(|kind| !kinds.contains(&kind.as_str())) {
                    Some(kind) => Err(refused(format!(
                        "after_restore: {kind:?} is not guarded; guarded: {known}"
                    ))),
                    None => Ok(selects.clone()),
                }
            }
        }
    }
}

impl Talon {
    /// Declares a derived value, or replaces the one of this name; gives a line that says what is derived.
    ///
    /// # Errors
    /// [`Error::Definition`] when it does not fit the schema; nothing is changed then.
    pub fn declare_derived(&self, schema: &str, name: &str, json: &str) -> Result<String> {
        check_name(name)?;
        let mut definition: DerivedDefinition = from_json(name, json)?;
        self.look(schema, None)?;
        let place = self.database_place(schema)?;
        let schema = self.databases()?[place].schema.clone();
        let derived = self.declaring(&schema, || {
            let mut databases = self.databases()?;
            let database = &mut databases[place];
            self.upgrade_tables(database)?;
            if let Some(given) = &definition.after_restore {
                definition.after_restore =
                    Some(AfterRestore::Kinds(database.by_kind(name, given)?));
            }
            let derived = fit_derived(self.connection, &database.schema, name, &definition)?;
            let json = serde_json::to_string(&definition).unwrap_or_default();
            database.put_rule(name, RuleType::Derived, &json)?;
            Ok(derived)
        })?;
        Ok(described(&derived))
    }

    /// Takes a rule back, and with it what `further` does about its row; gives a line that says so.
    ///
    /// # Errors
    /// [`Error::Definition`] when there is none of this name and type.
    pub fn take_back_rule(
        &self,
        schema: &str,
        name: &str,
        rule_type: RuleType,
        further: impl Fn(&mut Database, i64) -> Result<()>,
    ) -> Result<String> {
        self.look(schema, None)?;
        let place = self.database_place(schema)?;
        let schema = self.databases()?[place].schema.clone();
        self.declaring(&schema, || {
            let mut databases = self.databases()?;
            let database = &mut databases[place];
            let rule = database.rule(name, rule_type)?;
            further(database, rule.row.id)?;
            Ok(database.own_statement(DELETE_RULE)?.run(&[ValueRef::Text(name.as_bytes())])?)
        })?;
        Ok(format!("{name} is no longer {}", rule_type.described()))
    }
}

impl Database {
    /// The rule of a name and type.
    ///
    /// # Errors
    /// [`Error::Definition`] with those there are.
    pub fn rule(&mut self, name: &str, rule_type: RuleType) -> Result<Rc<Rule>> {
        let rules = self.rules()?;
        let of_type = rules.iter().filter(|rule| rule.is(rule_type));
        if let Some(rule) = of_type.clone().find(|rule| rule.row.name == name) {
            return Ok(Rc::clone(rule));
        }
        let known: Vec<&str> = of_type.map(|rule| rule.row.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(Error::UnknownRule { name: name.to_owned(), what: rule_type.described(), known })
    }

    /// Writes a rule over the one of the same name, which keeps its place.
    pub(super) fn put_rule(
        &mut self,
        name: &str,
        rule_type: RuleType,
        definition: &str,
    ) -> Result<()> {
        let rules = self.rules()?;
        if let Some(other) = rules.iter().find(|rule| rule.row.name == name && !rule.is(rule_type))
        {
            let types = [RuleType::Derived, RuleType::Check, RuleType::Till];
            let is = types.into_iter().find(|is| other.is(*is));
            let is = is.map_or("something of a later version", RuleType::described);
            return Err(Error::Definition {
                kind: name.to_owned(),
                problem: format!("{} is {is} already: give this another name", other.row.name),
            });
        }
        let values = put_values(name, rule_type, definition);
        Ok(self.own_statement(PUT_RULE)?.run(&values)?)
    }
}

/// Whether a name can be a rule's.
///
/// # Errors
/// [`Error::Argument`].
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(Error::Argument(format!(
            "{name:?} is no name for a rule: give it a word such as 'outstanding'"
        )));
    }
    Ok(())
}

fn described(derived: &Derived) -> String {
    let kinds: Vec<&str> = derived.after_restore.keys().map(String::as_str).collect();
    let after = match (kinds.as_slice(), derived.correct) {
        ([], _) => "corrected by talon_repair".to_owned(),
        (kinds, Correct::Restore) => {
            format!("corrected after a restore of {}", kinds.join(", "))
        }
        (kinds, Correct::Repair) => {
            format!("checked after a restore of {}, corrected by talon_repair", kinds.join(", "))
        }
    };
    format!("{} is derived: {}.{}, {after}", derived.name, derived.table.name, derived.column)
}
