//! What every rule has to pass before it is used: its SQL is one expression or one SELECT, and only reads.

use super::expression::{forbidden, is_one_expression, names_of};
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Failure};

/// What a SELECT of a definition calls the piece.
pub const PIECE: &str = ":piece";

/// The parameter of a SELECT: its name, and what it is.
pub(super) type Parameter = (&'static str, &'static str);

/// A rule while it is fitted to the schema.
pub(super) struct RuleFitting<'a> {
    pub(super) connection: Connection,
    pub(super) schema: &'a str,
    pub(super) name: &'a str,
}

impl RuleFitting<'_> {
    pub(super) fn problem(&self, problem: String) -> Error {
        Error::Definition { kind: self.name.to_owned(), problem }
    }

    /// What no definition may hold, found before it is compiled.
    pub(super) fn screen(&self, text: &str, setting: &str, wanted: &str) -> Result<()> {
        if !is_one_expression(text) {
            return Err(self.problem(format!(
                "{setting}: {text:?} is not one SQL {wanted} (unbalanced quotes or parentheses, or a semicolon)"
            )));
        }
        match forbidden(self.connection, text)? {
            Some(problem) => Err(self.problem(format!("{setting}: {problem}"))),
            None => Ok(()),
        }
    }

    pub(super) fn refused(&self, setting: &str, text: &str, failure: Failure) -> Error {
        let error = Error::Sqlite(failure);
        if error.is_fatal() {
            return error;
        }
        self.problem(format!("{setting}: {error} in {text:?}"))
    }

    /// Compiles a SELECT over `:piece`, and gives it as it is to be run. `rows` are the columns that it must give, and the
    /// table that they are the key of; any columns where that is left out.
    pub(super) fn select(
        &self,
        text: &str,
        setting: &str,
        rows: Option<(&[String], &str)>,
    ) -> Result<String> {
        let piece = (PIECE, "the piece that was restored");
        let (composed, given) = self.select_over(text, setting, piece)?;
        if let Some((key, table)) = rows
            && given != key.len()
        {
            return Err(self.problem(format!(
                "{setting}: it gives {given} column{}, the key of {table:?} has {}: {}",
                if given == 1 { "" } else { "s" },
                key.len(),
                key.join(", ")
            )));
        }
        Ok(composed)
    }

    /// Compiles a SELECT over one parameter: as it is to be run, and how many columns it gives.
    pub(super) fn select_over(
        &self,
        text: &str,
        setting: &str,
        (parameter, meaning): Parameter,
    ) -> Result<(String, usize)> {
        self.screen(text, setting, "SELECT")?;
        let names = names_of(self.connection, self.schema, &[text])?;
        // Nothing but a SELECT can stand here: no write, no PRAGMA, no ATTACH.
        let fenced = format!("{names}SELECT * FROM (SELECT 1) WHERE EXISTS (\n{text}\n)");
        self.connection.prepare(&fenced).map_err(|failure| self.refused(setting, text, failure))?;
        let composed = if names.is_empty() {
            text.to_owned()
        } else {
            format!("{names}SELECT * FROM (\n{text}\n)")
        };
        let statement = self
            .connection
            .prepare(&composed)
            .map_err(|failure| self.refused(setting, text, failure))?;
        if !statement.is_readonly() {
            return Err(self.problem(format!("{setting}: {text:?} would write")));
        }
        if let Some(other) = statement.parameters().iter().find(|name| *name != parameter) {
            return Err(self.problem(format!(
                "{setting}: its only parameter is {parameter}, {meaning}, not {}",
                if other.is_empty() { "?" } else { other }
            )));
        }
        Ok((composed, statement.column_count()))
    }
}
