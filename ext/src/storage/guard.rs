//! A guard: a definition fitted to the schema.

use super::policy::Policy;
use super::shape::{Column, HostTable, quote_identifier, quote_list};

/// A piece's key has at most this many columns: a mark has room for two keys.
pub const MOST_KEY_COLUMNS: usize = 4;

/// Place of the header among a guard's parts.
pub const HEADER: usize = 0;
/// Place of the lines among a guard's parts.
pub const LINES: usize = 1;

/// One of the tables that hold a kind.
#[derive(Debug)]
pub struct Part {
    /// `header`, `lines`, or a detail's name.
    pub name: String,
    /// What SQL calls its rows: `h`, `l`, `d`.
    pub alias: &'static str,
    /// The host's table.
    pub table: HostTable,
    /// The columns that an image holds: all that SQLite does not compute.
    pub columns: Vec<String>,
    /// The columns that identify a row.
    pub key: Vec<String>,
    /// The part it hangs below; itself for the header.
    pub parent: usize,
    /// The columns that refer to the parent's key, in its order.
    pub link: Vec<String>,
    /// Which rows count.
    pub condition: Option<String>,
    /// The columns that rows are shown in the order of.
    pub order: Vec<String>,
}

/// A kind, the tables that hold it, and how they hang together.
#[derive(Debug)]
pub struct Guard {
    /// Row of `talon_kind`.
    pub id: i64,
    /// Its name.
    pub kind: String,
    /// Header, lines, then details in the order declared; of a record its header only.
    pub parts: Vec<Part>,
    /// SQL expressions over the header `h`, by name.
    pub labels: [Option<String>; 5],
    /// Writes without Talon are refused.
    pub refuses_unloaded: bool,
    /// How it is synchronised with other sites, where it is.
    pub sync: Option<Policy>,
}

/// The names of the labels, in the order of [`Guard::labels`].
pub const LABELS: [&str; 5] = ["number", "date", "party", "type", "validated"];

/// `?1`, `?2` and so on.
pub fn parameters(count: usize) -> Vec<String> {
    (1..=count).map(|place| format!("?{place}")).collect()
}

impl Part {
    /// `schema."table" AS alias`.
    pub fn from_clause(&self, schema: &str) -> String {
        format!(
            "{}.{} AS {}",
            quote_identifier(schema),
            quote_identifier(&self.table.name),
            self.alias
        )
    }

    /// Reads the keys of all its rows that the condition lets in.
    pub fn select_keys(&self, schema: &str) -> String {
        let condition =
            self.condition.as_ref().map_or("1".to_owned(), |text| format!("({text}\n)"));
        let keys = quote_list(&format!("{}.", self.alias), &self.key);
        format!("SELECT {keys} FROM {} WHERE {condition}", self.from_clause(schema))
    }

    /// ` AND (condition)`, or nothing.
    pub fn and_condition(&self) -> String {
        self.condition
            .as_ref()
            .map_or_else(String::new, |condition| format!(" AND ({condition}\n)"))
    }

    /// Whether an index begins with the link, so that a piece's rows are found without reading the whole table.
    pub fn link_is_indexed(&self) -> bool {
        self.link.is_empty()
            || self.table.key_is_rowid && self.table.key() == self.link
            || self
                .table
                .leading_columns
                .iter()
                .any(|column| self.link.iter().any(|link| link.eq_ignore_ascii_case(column)))
    }

    /// Columns, behind the alias, for a SELECT.
    pub fn select_list(&self) -> String {
        quote_list(&format!("{}.", self.alias), &self.columns)
    }

    /// Places of the given columns among [`Part::columns`].
    pub fn places(&self, columns: &[String]) -> Vec<usize> {
        columns
            .iter()
            .filter_map(|name| self.columns.iter().position(|column| column == name))
            .collect()
    }
}

impl Guard {
    /// The header.
    pub fn header(&self) -> &Part {
        &self.parts[HEADER]
    }

    /// The lines; a record has none.
    pub fn lines(&self) -> Option<&Part> {
        self.parts.get(LINES)
    }

    /// Whether it is of records: rows of their own, without lines.
    #[inline]
    pub fn is_of_records(&self) -> bool {
        self.parts.len() == 1
    }

    /// Whether a piece's key is the header's rowid: then an integer that a line refers to is the key itself.
    pub fn key_is_rowid(&self) -> bool {
        let header = self.header();
        header.table.key_is_rowid && header.table.key() == header.key
    }

    /// `h.key = ?1 AND …`, under the key's own affinity and collation.
    pub fn header_is(&self) -> String {
        self.header_matches(&parameters(self.header().key.len()))
    }

    /// `h.key = value AND …`; the values are SQL texts.
    pub fn header_matches(&self, values: &[String]) -> String {
        let keys = self.header().key.iter().zip(values);
        let terms: Vec<String> =
            keys.map(|(key, value)| format!("h.{} = {value}", quote_identifier(key))).collect();
        terms.join(" AND ")
    }

    /// Condition that the rows of `part` belong to the piece whose key is bound from ?1 on, as SQLite's foreign keys
    /// compare: with the affinity and collation of what is referred to.
    pub fn belongs(&self, part: usize, schema: &str) -> String {
        let child = &self.parts[part];
        let parent = &self.parts[child.parent];
        if child.parent == HEADER {
            return self.linked(part, &parameters(child.link.len()), schema);
        }
        let links = quote_list(&format!("{}.", child.alias), &child.link);
        let links = if child.link.len() == 1 { links } else { format!("({links})") };
        format!(
            "{links} IN (SELECT {} FROM {} WHERE {}{})",
            quote_list(&format!("{}.", parent.alias), &parent.key),
            parent.from_clause(schema),
            self.belongs(child.parent, schema),
            parent.and_condition()
        )
    }

    /// `link = value AND …` for a part directly below the header; the values are SQL texts.
    pub fn linked(&self, part: usize, values: &[String], schema: &str) -> String {
        let child = &self.parts[part];
        let header = self.header();
        let mut terms = Vec::new();
        for ((link, key), value) in child.link.iter().zip(&header.key).zip(values) {
            let link_affinity = child.table.column(link).map(Column::affinity);
            let key_affinity = header.table.column(key).map(Column::affinity);
            let collation = header.table.collation(key);
            let quoted = format!("{}.{}", child.alias, quote_identifier(link));
            let value = if link_affinity == key_affinity {
                value.clone()
            } else {
                // The subquery lends the value the header's own form.
                let own = quote_identifier(key);
                format!(
                    "(SELECT k.{own} FROM {}.{} AS k WHERE k.{own} = {value})",
                    quote_identifier(schema),
                    quote_identifier(&header.table.name)
                )
            };
            terms.push(match collation {
                Some(collation) => {
                    format!("{quoted} = {value} COLLATE {}", quote_identifier(collation))
                }
                None => format!("{quoted} = {value}"),
            });
        }
        terms.join(" AND ")
    }
}
