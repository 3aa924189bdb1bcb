//! A check fitted to the schema, and the triggers that ask it.

use super::expression::not_for_triggers;
use super::guard::Guard;
use super::rule::{CheckDefinition, RuleType, SELECT_RULES, from_json, read_rules};
use super::rule_fitting::RuleFitting;
use super::shape::quote_identifier;
use super::trigger::{Installed, Trigger, checking, checking_condition, checking_suffix};
use crate::error::{Error, Result};
use crate::sqlite::Connection;

/// A check, with the statement that finds its violations.
#[derive(Debug)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// The kind that it is about.
    pub kind: String,
    /// The SELECT over `:piece`.
    pub query: String,
    /// What is wrong where it gives a row, in words.
    pub text: String,
    /// Which UPDATEs of the header it forbids.
    pub blocks: Option<String>,
}

/// Fits a check to the schema; `guard` is that of its kind.
///
/// # Errors
/// [`Error::Definition`] naming what does not fit and what would.
pub fn fit_check(
    connection: Connection,
    schema: &str,
    name: &str,
    definition: &CheckDefinition,
    guard: &Guard,
) -> Result<Check> {
    let fitting = RuleFitting { connection, schema, name };
    if definition.text.trim().is_empty() || definition.text.contains('\0') {
        return Err(fitting.problem("text: say in a few words what is wrong".to_owned()));
    }
    let query = fitting.select(&definition.query, "query", None)?;
    if let Some(condition) = &definition.blocks {
        fitting.condition(condition, guard)?;
    }
    Ok(Check {
        name: name.to_owned(),
        kind: definition.kind.clone(),
        query,
        text: definition.text.clone(),
        blocks: definition.blocks.clone(),
    })
}

impl RuleFitting<'_> {
    /// Compiles the condition alone, over two rows of the header that are called as a trigger calls them.
    fn condition(&self, condition: &str, guard: &Guard) -> Result<()> {
        self.screen(condition, "blocks", "expression")?;
        if let Some(problem) = not_for_triggers(self.connection, condition)? {
            return Err(self.problem(format!("blocks: {problem}")));
        }
        let header = format!(
            "{}.{}",
            quote_identifier(self.schema),
            quote_identifier(&guard.header().table.name)
        );
        let sql = format!("SELECT 1 FROM {header} AS OLD, {header} AS NEW WHERE ({condition}\n)");
        let statement = self
            .connection
            .prepare(&sql)
            .map_err(|failure| self.refused("blocks", condition, failure))?;
        if statement.parameters().is_empty() {
            return Ok(());
        }
        Err(self.problem("blocks: it is about OLD and NEW, it has no parameter".to_owned()))
    }
}

/// The triggers that ask the checks of a kind about UPDATEs of its headers. Where a column of the condition has another
/// name by now, the trigger that is there knows it, because SQLite keeps triggers true when it renames; a condition that
/// fits neither way has none.
///
/// # Errors
/// What SQLite reports.
pub fn checking_triggers(
    connection: Connection,
    schema: &str,
    database: i64,
    guard: &Guard,
    installed: &[Installed],
) -> Result<Vec<Trigger>> {
    let quoted = quote_identifier(schema);
    let sql = format!(
        "SELECT 1 FROM {quoted}.sqlite_schema WHERE type = 'table' AND name = 'talon_rule'"
    );
    if connection.value(&sql, &[])?.is_none() {
        return Ok(Vec::new());
    }
    let mut triggers = Vec::new();
    for row in read_rules(&mut connection.prepare(&SELECT_RULES.replace("{s}", &quoted))?)? {
        if row.rule_type != RuleType::Check.text() {
            continue;
        }
        let Ok(definition) = from_json::<CheckDefinition>(&row.name, &row.definition) else {
            continue;
        };
        let Some(declared) = definition.blocks.filter(|_| definition.kind == guard.kind) else {
            continue;
        };
        let suffix = format!("_{}", checking_suffix(row.id));
        let there = installed.iter().find(|trigger| trigger.name.ends_with(&suffix));
        let there = there.and_then(|trigger| checking_condition(&trigger.sql));
        let fitting = RuleFitting { connection, schema, name: &row.name };
        for condition in [Some(declared.as_str()), there].into_iter().flatten() {
            match fitting.condition(condition, guard) {
                Ok(()) => {
                    triggers.push(checking(guard, schema, database, row.id, condition));
                    break;
                }
                Err(Error::Definition { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(triggers)
}
