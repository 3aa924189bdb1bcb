//! What a host declares beside its guards: values that are derived, and checks. Their JSON, and their rows.

use super::definition::Columns;
use crate::error::{Error, Result};
use crate::sqlite::{Statement, ValueRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A stored column that must equal a query.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DerivedDefinition {
    /// The table that holds it.
    pub table: String,
    /// The column.
    pub column: String,
    /// What it must be: an SQL expression, or a SELECT of one value, over the row `t`.
    pub value: String,
    /// The columns that identify a row; the primary key where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Columns>,
    /// Which rows to look at once a piece was restored: a SELECT over `:piece` of their keys, by the piece's kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_restore: Option<AfterRestore>,
    /// When it is corrected.
    #[serde(default)]
    pub correct: Correct,
}

/// A SELECT a kind, or one where there is only one kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "after_restore is a SELECT, or an object with a SELECT for each kind"
)]
pub enum AfterRestore {
    /// For the only kind there is.
    Only(String),
    /// By kind.
    Kinds(BTreeMap<String, String>),
}

/// When a derived value is corrected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Correct {
    /// At once after a restore, and by `talon_repair`.
    #[default]
    Restore,
    /// By `talon_repair` only; a restore says where it differs.
    Repair,
}

impl Correct {
    /// As definitions say it.
    pub fn text(self) -> &'static str {
        match self {
            Correct::Restore => "restore",
            Correct::Repair => "repair",
        }
    }
}

/// A query that must give no row for any piece of a kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckDefinition {
    /// The kind.
    pub kind: String,
    /// A SELECT over `:piece`: each row that it gives is a violation.
    pub query: String,
    /// What is wrong then, in words.
    pub text: String,
    /// A condition over OLD and NEW of the header: an UPDATE for which it is true fails while the check is violated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<String>,
}

/// The query that says which till a user has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TillDefinition {
    /// A SELECT over `:user` of the code of a site.
    pub query: String,
}

/// What a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleType {
    /// A derived value.
    Derived,
    /// A check.
    Check,
    /// Which till a user has.
    Till,
}

impl RuleType {
    /// As `talon_rule` keeps it.
    pub fn text(self) -> &'static str {
        match self {
            RuleType::Derived => "derived",
            RuleType::Check => "check",
            RuleType::Till => "till",
        }
    }

    /// As a person says it.
    pub fn described(self) -> &'static str {
        match self {
            RuleType::Derived => "a derived value",
            RuleType::Check => "a check",
            RuleType::Till => "the query of the tills",
        }
    }
}

/// Reads a definition from JSON.
///
/// # Errors
/// [`Error::Definition`] with what JSON or a misspelt key has to say, and where.
pub fn from_json<'a, T: Deserialize<'a>>(name: &str, json: &'a str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| Error::Definition {
        kind: name.to_owned(),
        problem: format!("the definition cannot be read: {error}"),
    })
}

/// A row of `talon_rule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRow {
    /// Its place in the order declared.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// `derived`, `check` or `till`.
    pub rule_type: String,
    /// The JSON.
    pub definition: String,
}

/// The format of Talon's tables that brought `talon_rule`.
pub const SINCE_FORMAT: i64 = 2;

/// Asks for all rules, in the order declared; `{s}` stands for the schema.
pub const SELECT_RULES: &str = "SELECT id, name, type, definition FROM {s}.talon_rule ORDER BY id";

/// Runs [`SELECT_RULES`].
///
/// # Errors
/// What SQLite reports.
pub fn read_rules(statement: &mut Statement) -> Result<Vec<RuleRow>> {
    let mut rows = statement.query(&[])?;
    let mut found = Vec::new();
    while rows.next()? {
        let text = |index: usize| rows.column(index).as_str().unwrap_or_default().to_owned();
        found.push(RuleRow {
            id: rows.column(0).as_integer().unwrap_or(0),
            name: text(1),
            rule_type: text(2),
            definition: text(3),
        });
    }
    Ok(found)
}

/// Writes a rule; one of this name and type keeps its place. Values are those of [`put_values`].
pub const PUT_RULE: &str = "INSERT INTO {s}.talon_rule(name, type, definition) VALUES (?1, ?2, ?3)
     ON CONFLICT (name) DO UPDATE SET definition = excluded.definition";

/// Takes a rule away, by its name.
pub const DELETE_RULE: &str = "DELETE FROM {s}.talon_rule WHERE name = ?1";

/// The values of [`PUT_RULE`].
pub fn put_values<'a>(
    name: &'a str,
    rule_type: RuleType,
    definition: &'a str,
) -> [ValueRef<'a>; 3] {
    [name, rule_type.text(), definition].map(|text| ValueRef::Text(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_named_with_what_would_fit() {
        let json = r#"{"table":"t","colum":"c","value":"1"}"#;
        let error = from_json::<DerivedDefinition>("x", json).unwrap_err().to_string();
        assert!(error.contains("colum") && error.contains("`column`"), "{error}");
    }

    #[test]
    fn after_restore_is_one_select_or_one_a_kind() {
        let json = r#"{"table":"t","column":"c","value":"1","after_restore":"SELECT 1"}"#;
        let one: DerivedDefinition = from_json("x", json).unwrap();
        assert!(matches!(one.after_restore, Some(AfterRestore::Only(_))));
        let json = json.replace("\"SELECT 1\"", r#"{"sale":"SELECT 1"}"#);
        let kinds: DerivedDefinition = from_json("x", &json).unwrap();
        assert!(matches!(kinds.after_restore, Some(AfterRestore::Kinds(_))));
        let json = json.replace(r#"{"sale":"SELECT 1"}"#, "7");
        let error = from_json::<DerivedDefinition>("x", &json).unwrap_err().to_string();
        assert!(error.contains("after_restore is a SELECT"), "{error}");
    }
}
