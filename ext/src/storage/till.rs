//! The query that says which till a user has, fitted to the schema.

use super::rule::{RuleType, TillDefinition};
use super::rule_fitting::RuleFitting;
use crate::error::Result;
use crate::sqlite::Connection;

/// What the query calls the user.
pub const USER: &str = ":user";
/// The name of its row among the rules.
pub const NAME: &str = "talon_till";

/// The query, with names that hold wherever its file is attached.
#[derive(Debug, Clone)]
pub struct Till {
    /// As it was said.
    pub query: String,
    /// As it is run.
    pub composed: String,
}

/// Fits the query to the schema.
///
/// # Errors
/// [`crate::error::Error::Definition`] naming what does not fit and what would.
pub fn fit_till(connection: Connection, schema: &str, definition: &TillDefinition) -> Result<Till> {
    let fitting = RuleFitting { connection, schema, name: RuleType::Till.text() };
    let query = &definition.query;
    let (composed, given) = fitting.select_over(query, "query", (USER, "the user who loads"))?;
    if given != 1 {
        return Err(fitting.problem(format!(
            "query: it gives {given} columns, and is to give one, the code of the user's till"
        )));
    }
    Ok(Till { query: query.clone(), composed })
}
