//! The JSON of `talon_guard(kind, definition)` and `talon_track(kind, definition)`.

use super::policy::{self, PolicyDefinition};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// What a host declares about a kind. Only its tables are required; the rest is read from the schema.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Where the headers are, or the records.
    #[serde(alias = "record")]
    pub header: HeaderDefinition,
    /// Where the lines are; records have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<LinesDefinition>,
    /// Further child tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<DetailDefinition>,
    /// What happens to a write on a connection without Talon.
    #[serde(default)]
    pub unloaded: Unloaded,
    /// Who may write to a piece that a station has open.
    #[serde(default, skip_serializing_if = "Edits::are_free")]
    pub edit: Edits,
    /// How it is synchronised with other sites; not at all where left out.
    #[serde(default, deserialize_with = "policy::read", skip_serializing_if = "Option::is_none")]
    pub sync: Option<PolicyDefinition>,
}

/// The header table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderDefinition {
    /// The table's name.
    pub table: String,
    /// The columns that identify a piece; the primary key where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Columns>,
    /// Which rows are of this kind: an SQL condition over the header `h`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What a person knows the piece by.
    #[serde(default)]
    pub labels: Labels,
}

/// SQL expressions over the header `h`; a header column of the same name where left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// The number printed on the piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The piece's own date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Customer or supplier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<String>,
    /// Invoice, credit note, return: F, A, R.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub piece_type: Option<String>,
    /// Whether it is validated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated: Option<String>,
}

/// The lines table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinesDefinition {
    /// The table's name.
    pub table: String,
    /// The columns that refer to the header's key; its foreign key where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub piece: Option<Columns>,
    /// The columns that identify a line; the primary key where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Columns>,
    /// The columns that lines are shown in the order of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Columns>,
    /// Which rows count as lines: an SQL condition over the line `l`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// A further child table, below the header or below another part.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailDefinition {
    /// The table's name.
    pub table: String,
    /// What images call it; the table's name where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose rows it belongs to: `header` (the default), `lines`, or the name of an earlier detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The columns that refer to the key of what it belongs to.
    #[serde(default, alias = "line", alias = "parent", skip_serializing_if = "Option::is_none")]
    pub piece: Option<Columns>,
    /// The columns that identify a row; the primary key where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Columns>,
    /// The columns that rows are shown in the order of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Columns>,
    /// Which rows count: an SQL condition over the row `d`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// What a connection without Talon may do to a guarded piece.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unloaded {
    /// Write; a mark is left and the piece is imaged later.
    #[default]
    Mark,
    /// Nothing: the write fails with a text that says to load libtalon.
    Refuse,
}

/// Who may write to a piece that a station has open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edits {
    /// Anybody: the host sees to it.
    #[default]
    Free,
    /// That station; for others the write fails with a text that names it.
    Enforced,
}

impl Edits {
    fn are_free(&self) -> bool {
        *self == Edits::Free
    }
}

/// One column or several.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "a column's name or an array of names")]
pub enum Columns {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Columns {
    /// The names.
    pub fn names(&self) -> &[String] {
        match self {
            Columns::One(name) => std::slice::from_ref(name),
            Columns::Several(names) => names,
        }
    }
}

impl Definition {
    /// The definition that names nothing but the two tables.
    pub fn of_tables(header: &str, lines: &str) -> Definition {
        let lines = LinesDefinition {
            table: lines.to_owned(),
            piece: None,
            key: None,
            order: None,
            condition: None,
        };
        Definition { lines: Some(lines), ..Definition::of_table(header) }
    }

    /// The definition of records that names nothing but their table.
    pub fn of_table(table: &str) -> Definition {
        Definition {
            header: HeaderDefinition {
                table: table.to_owned(),
                key: None,
                condition: None,
                labels: Labels::default(),
            },
            lines: None,
            details: Vec::new(),
            unloaded: Unloaded::Mark,
            edit: Edits::Free,
            sync: None,
        }
    }

    /// Reads the definition of a guard.
    ///
    /// # Errors
    /// As [`Definition::from_json`], and when it names no lines.
    pub fn of_pieces(kind: &str, json: &str) -> Result<Definition> {
        let definition = Definition::from_json(kind, json)?;
        if definition.is_of_records() {
            return Err(Error::Definition {
                kind: kind.to_owned(),
                problem: "it has no \"lines\": name their table, or track records without lines by talon_track"
                    .to_owned(),
            });
        }
        Ok(definition)
    }

    /// Reads the definition of records: JSON, or their table's name.
    ///
    /// # Errors
    /// As [`Definition::from_json`], and when it has lines or details.
    pub fn of_records(kind: &str, text: &str) -> Result<Definition> {
        if !text.trim_start().starts_with('{') {
            return Ok(Definition::of_table(text));
        }
        let definition = Definition::from_json(kind, text)?;
        if !definition.is_of_records() || !definition.details.is_empty() {
            return Err(Error::Definition {
                kind: kind.to_owned(),
                problem: "a record is a row of its own: what has lines or details is guarded by talon_guard"
                    .to_owned(),
            });
        }
        Ok(definition)
    }

    /// Whether it is of records: rows of their own, without lines.
    #[inline]
    pub fn is_of_records(&self) -> bool {
        self.lines.is_none()
    }

    /// Reads a definition.
    ///
    /// # Errors
    /// [`Error::Definition`] with what JSON or a misspelt key has to say, and where.
    pub fn from_json(kind: &str, json: &str) -> Result<Definition> {
        let refused = |problem| Error::Definition { kind: kind.to_owned(), problem };
        if !json.trim_start().starts_with('{') {
            return Err(refused(format!(
                "{json:?} is no definition: name the header table and the lines table, or give JSON: \
                 {{\"header\": {{\"table\": …}}, \"lines\": {{\"table\": …}}}}"
            )));
        }
        serde_json::from_str(json)
            .map_err(|error| refused(format!("the definition cannot be read: {error}")))
    }

    /// Whether only the station that has a piece open may write to it.
    #[inline]
    pub fn enforces_edits(&self) -> bool {
        self.edit == Edits::Enforced
    }

    /// The definition without what only people need: labels and order.
    pub fn without_display(&self) -> Definition {
        let mut definition = self.clone();
        definition.header.labels = Labels::default();
        if let Some(lines) = &mut definition.lines {
            lines.order = None;
        }
        for detail in &mut definition.details {
            detail.order = None;
        }
        definition
    }

    /// The definition as JSON, as it is stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_named_with_what_would_fit() {
        let error =
            Definition::from_json("sale", r#"{"header":{"tabel":"x"},"lines":{"table":"y"}}"#)
                .unwrap_err()
                .to_string();
        assert!(error.contains("tabel"), "{error}");
        assert!(error.contains("`table`"), "{error}");
    }

    #[test]
    fn columns_are_one_name_or_several() {
        let json = r#"{"header":{"table":"h","key":["a","b"]},"lines":{"table":"l","piece":"p"}}"#;
        let definition = Definition::from_json("k", json).unwrap();
        assert_eq!(definition.header.key.unwrap().names(), ["a", "b"]);
        assert_eq!(definition.lines.unwrap().piece.unwrap().names(), ["p"]);
    }

    #[test]
    fn what_is_stored_reads_back() {
        let json = Definition::of_tables("h", "l").to_json();
        assert_eq!(Definition::from_json("k", &json).unwrap().to_json(), json);
    }
}
