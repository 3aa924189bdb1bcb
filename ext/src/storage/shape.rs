//! The host's tables as SQLite describes them, and the only place where identifiers are quoted.

use crate::sqlite::{Connection, Failure, Value};

/// Quotes an identifier for SQL: `"` doubled, all of it in `"`.
pub fn quote_identifier(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quote_onto(&mut quoted, name);
    quoted
}

/// Texts of statements are put together for every piece of a restore: without a detour over the formatter.
fn quote_onto(text: &mut String, name: &str) {
    text.push('"');
    for (place, part) in name.split('"').enumerate() {
        if place > 0 {
            text.push_str("\"\"");
        }
        text.push_str(part);
    }
    text.push('"');
}

/// Quotes identifiers and joins them with `, `, each behind `prefix` (such as `h.`).
pub fn quote_list<'a>(prefix: &str, names: impl IntoIterator<Item = &'a String>) -> String {
    let mut list = String::new();
    for name in names {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(prefix);
        quote_onto(&mut list, name);
    }
    list
}

/// A condition that each of these columns, behind `prefix`, equals a parameter: the first that of number `first`, and so on.
pub fn quote_equal(
    prefix: &str,
    names: impl IntoIterator<Item: AsRef<str>>,
    first: usize,
) -> String {
    equal(prefix, names, first, " AND ")
}

/// Assignments of the parameters from 1 on to these columns, as after SET.
pub fn quote_assign(names: impl IntoIterator<Item: AsRef<str>>) -> String {
    equal("", names, 1, ", ")
}

fn equal(
    prefix: &str,
    names: impl IntoIterator<Item: AsRef<str>>,
    first: usize,
    between: &str,
) -> String {
    let mut terms = String::new();
    for (place, name) in names.into_iter().enumerate() {
        if place > 0 {
            terms.push_str(between);
        }
        terms.push_str(prefix);
        quote_onto(&mut terms, name.as_ref());
        terms.push_str(" = ?");
        terms.push_str(&(first + place).to_string());
    }
    terms
}

/// Quotes a text for SQL.
pub fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A column of a host's table.
#[derive(Debug, Clone)]
pub struct Column {
    /// As declared.
    pub name: String,
    /// The declared type.
    pub declared_type: String,
    /// NOT NULL was declared.
    pub not_null: bool,
    /// The declared default, as SQL text.
    pub default: Option<String>,
    /// Its place in the primary key, from 1; 0 when it is not part of it.
    pub key_place: i64,
    /// Computed by SQLite: read, never written.
    pub generated: bool,
}

/// A foreign key of a host's table.
#[derive(Debug, Clone)]
pub struct ForeignKey {
    /// The table referred to.
    pub parent: String,
    /// The columns here.
    pub from: Vec<String>,
    /// The columns there; empty when the parent's primary key is meant.
    pub to: Vec<String>,
    /// Deleting what is referred to deletes or changes the row here.
    pub acts_on_delete: bool,
}

/// A unique index (or key) of a host's table, over plain columns only.
#[derive(Debug, Clone)]
pub struct UniqueIndex {
    /// Its columns in order.
    pub columns: Vec<String>,
    /// The collation of each.
    pub collations: Vec<String>,
    /// It is the primary key.
    pub is_key: bool,
    /// It holds some rows only: others may repeat its values.
    pub is_partial: bool,
}

/// A table of the host.
#[derive(Debug, Clone)]
pub struct HostTable {
    /// As the schema spells it.
    pub name: String,
    /// All columns, in order.
    pub columns: Vec<Column>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Unique indexes without expressions.
    pub unique: Vec<UniqueIndex>,
    /// First columns of every index.
    pub leading_columns: Vec<String>,
    /// The single key column is the rowid.
    pub key_is_rowid: bool,
}

/// What a name stands for in a schema.
pub enum Found {
    /// A table that can be guarded.
    Table(HostTable),
    /// Something else, in a word or two.
    Other(&'static str),
    /// Nothing.
    Nothing,
}

/// Reads a table of the host.
///
/// # Errors
/// What SQLite reports.
pub fn read_table(connection: Connection, schema: &str, name: &str) -> Result<Found, Failure> {
    let quoted_schema = quote_identifier(schema);
    let entry = connection
        .prepare(&format!(
            "SELECT name, type, sql FROM {quoted_schema}.sqlite_schema
             WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')"
        ))?
        .first(&[crate::sqlite::ValueRef::Text(name.as_bytes())], |row| {
            Ok((text(row.column(0)), text(row.column(1)), text(row.column(2))))
        })?;
    let Some((name, kind, sql)) = entry else {
        return Ok(Found::Nothing);
    };
    if kind == "view" {
        return Ok(Found::Other("a view"));
    }
    if sql.get(..14).is_some_and(|start| start.eq_ignore_ascii_case("create virtual")) {
        return Ok(Found::Other("a virtual table"));
    }
    let columns = read_columns(connection, &quoted_schema, &name)?;
    let (unique, leading_columns) = read_indexes(connection, &quoted_schema, &name)?;
    let keys: Vec<&Column> = columns.iter().filter(|column| column.key_place > 0).collect();
    let key_is_rowid = matches!(keys.as_slice(), [key] if key.declared_type.eq_ignore_ascii_case("INTEGER"))
        && !unique.iter().any(|index| index.is_key);
    Ok(Found::Table(HostTable {
        foreign_keys: read_foreign_keys(connection, &quoted_schema, &name)?,
        name,
        columns,
        unique,
        leading_columns,
        key_is_rowid,
    }))
}

fn text(value: crate::sqlite::ValueRef<'_>) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn read_columns(connection: Connection, schema: &str, table: &str) -> Result<Vec<Column>, Failure> {
    let sql = format!("PRAGMA {schema}.table_xinfo({})", quote_identifier(table));
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(&[])?;
    let mut columns = Vec::new();
    while rows.next()? {
        columns.push(Column {
            name: text(rows.column(1)),
            declared_type: text(rows.column(2)),
            not_null: rows.column(3).as_integer() == Some(1),
            default: rows.column(4).as_str().map(str::to_owned),
            key_place: rows.column(5).as_integer().unwrap_or(0),
            generated: rows.column(6).as_integer() != Some(0),
        });
    }
    Ok(columns)
}

fn read_foreign_keys(
    connection: Connection,
    schema: &str,
    table: &str,
) -> Result<Vec<ForeignKey>, Failure> {
    let sql = format!("PRAGMA {schema}.foreign_key_list({})", quote_identifier(table));
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(&[])?;
    let mut keys: Vec<(i64, ForeignKey)> = Vec::new();
    while rows.next()? {
        let id = rows.column(0).as_integer().unwrap_or(0);
        if keys.last().is_none_or(|(last, _)| *last != id) {
            let parent = text(rows.column(2));
            let action = text(rows.column(6));
            let acts_on_delete = !["NO ACTION", "RESTRICT"].contains(&action.as_str());
            let key = ForeignKey { parent, from: Vec::new(), to: Vec::new(), acts_on_delete };
            keys.push((id, key));
        }
        if let Some((_, key)) = keys.last_mut() {
            key.from.push(text(rows.column(3)));
            if let Some(to) = rows.column(4).as_str() {
                key.to.push(to.to_owned());
            }
        }
    }
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

fn read_indexes(
    connection: Connection,
    schema: &str,
    table: &str,
) -> Result<(Vec<UniqueIndex>, Vec<String>), Failure> {
    let sql = format!("PRAGMA {schema}.index_list({})", quote_identifier(table));
    let mut list = connection.prepare(&sql)?;
    let mut indexes = list.query(&[])?;
    let (mut unique, mut leading) = (Vec::new(), Vec::new());
    while indexes.next()? {
        let name = text(indexes.column(1));
        let is_unique = indexes.column(2).as_integer() == Some(1);
        let is_key = indexes.column(3).as_str() == Some("pk");
        let is_partial = indexes.column(4).as_integer() == Some(1);
        let sql = format!("PRAGMA {schema}.index_xinfo({})", quote_identifier(&name));
        let mut described = connection.prepare(&sql)?;
        let mut rows = described.query(&[])?;
        let mut index =
            UniqueIndex { columns: Vec::new(), collations: Vec::new(), is_key, is_partial };
        let mut has_expression = false;
        while rows.next()? {
            if rows.column(5).as_integer() != Some(1) {
                continue;
            }
            match rows.column(2).as_str() {
                Some(column) => index.columns.push(column.to_owned()),
                None => has_expression = true,
            }
            index.collations.push(text(rows.column(4)));
        }
        if !is_partial && let Some(first) = index.columns.first() {
            leading.push(first.clone());
        }
        if is_unique && !has_expression {
            unique.push(index);
        }
    }
    Ok((unique, leading))
}

impl HostTable {
    /// The column of this name, whatever its case.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The primary key's columns in order; empty when none is declared.
    pub fn key(&self) -> Vec<String> {
        let mut keys: Vec<&Column> =
            self.columns.iter().filter(|column| column.key_place > 0).collect();
        keys.sort_by_key(|column| column.key_place);
        keys.into_iter().map(|column| column.name.clone()).collect()
    }

    /// The columns' names, for error texts.
    pub fn column_names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        names.join(", ")
    }

    /// Whether these columns are the primary key or a unique index.
    pub fn is_unique(&self, columns: &[String]) -> bool {
        let same = |other: &[String]| {
            other.len() == columns.len()
                && columns
                    .iter()
                    .all(|column| other.iter().any(|name| name.eq_ignore_ascii_case(column)))
        };
        let mut whole = self.unique.iter().filter(|index| !index.is_partial);
        same(&self.key()) || whole.any(|index| same(&index.columns))
    }

    /// Why these columns cannot identify a row, if they cannot: in words that name the setting they come from, and the one
    /// that says which they are.
    pub fn why_no_key(&self, key: &[String], from: &str, given_by: &str) -> Option<String> {
        if key.is_empty() {
            Some(format!(
                "{:?} has no primary key: name columns that identify a row with {given_by} (a unique index over them is needed)",
                self.name
            ))
        } else if !self.is_unique(key) {
            Some(format!(
                "{from}: {} of {:?} is not unique: a key needs a primary key or a unique index over exactly these columns",
                key.join(", "),
                self.name
            ))
        } else {
            None
        }
    }

    /// The collation that a key column is compared under, where it is not BINARY.
    pub fn collation(&self, column: &str) -> Option<&str> {
        self.unique.iter().find_map(|index| {
            let place = index.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?;
            let collation = index.collations.get(place)?;
            (!collation.eq_ignore_ascii_case("BINARY")).then_some(collation.as_str())
        })
    }
}

/// Type affinity, as <https://sqlite.org/datatype3.html#determination_of_column_affinity> derives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    /// Text.
    Text,
    /// Integer, real and numeric compare alike.
    Numeric,
    /// None: values are compared as they are.
    Blob,
}

impl Column {
    /// The column's affinity, as far as comparisons go.
    pub fn affinity(&self) -> Affinity {
        let declared = self.declared_type.to_ascii_uppercase();
        let has = |part: &str| declared.contains(part);
        if has("INT") {
            Affinity::Numeric
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Affinity::Text
        } else if has("BLOB") || declared.is_empty() {
            Affinity::Blob
        } else {
            Affinity::Numeric
        }
    }
}

impl Column {
    /// Whether it is declared as a column of integers.
    pub fn holds_integers(&self) -> bool {
        self.declared_type.to_ascii_uppercase().contains("INT")
    }

    /// A value as the column keeps it when it is written there, where that can be said without loss; SQLite does the same to
    /// whatever is left. See <https://sqlite.org/datatype3.html#type_affinity>.
    pub fn kept(&self, value: Value) -> Value {
        let declared = self.declared_type.to_ascii_uppercase();
        let is_real = !declared.contains("INT")
            && ["REAL", "FLOA", "DOUB"].iter().any(|part| declared.contains(part));
        match (self.affinity(), value) {
            // Kept as it is in a STRICT table; elsewhere SQLite sees to it.
            (_, value) if declared == "ANY" => value,
            (Affinity::Text, Value::Integer(integer)) => Value::text(&integer.to_string()),
            (Affinity::Numeric, Value::Text(text)) => match number(&text) {
                Some(number) => self.kept(number),
                None => Value::Text(text),
            },
            (Affinity::Numeric, Value::Integer(integer)) if is_real => Value::Real(integer as f64),
            (Affinity::Numeric, Value::Real(real))
                if !is_real && real.abs() < 9e15 && real.fract() == 0.0 =>
            {
                Value::Integer(real as i64)
            }
            (_, value) => value,
        }
    }
}

/// The number that a text is.
fn number(text: &[u8]) -> Option<Value> {
    let text =
        std::str::from_utf8(text).ok()?.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    let integer = text.parse().ok().map(Value::Integer);
    integer.or_else(|| text.parse().ok().filter(|real: &f64| real.is_finite()).map(Value::Real))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_and_texts_are_quoted() {
        assert_eq!(quote_identifier(r#"a"b c"#), r#""a""b c""#);
        assert_eq!(quote_text("d'or"), "'d''or'");
        assert_eq!(quote_equal("h.", ["a", "b\""], 3), r#"h."a" = ?3 AND h."b""" = ?4"#);
        assert_eq!(quote_assign(["a", "b"]), r#""a" = ?1, "b" = ?2"#);
    }

    #[test]
    fn affinity_follows_the_declared_type() {
        let column = |declared: &str| Column {
            name: String::new(),
            declared_type: declared.to_owned(),
            not_null: false,
            default: None,
            key_place: 0,
            generated: false,
        };
        assert_eq!(column("bigint").affinity(), Affinity::Numeric);
        assert_eq!(column("CHAR(36)").affinity(), Affinity::Text);
        assert_eq!(column("").affinity(), Affinity::Blob);
        assert_eq!(column("DECIMAL(10,2)").affinity(), Affinity::Numeric);
    }

    #[test]
    fn a_value_is_kept_as_its_column_says() {
        let kept = |declared: &str, value: Value| {
            let column = Column {
                name: String::new(),
                declared_type: declared.to_owned(),
                not_null: false,
                default: None,
                key_place: 0,
                generated: false,
            };
            column.kept(value)
        };
        for declared in ["INTEGER", "NUMERIC(10,2)", "BOOLEAN"] {
            assert_eq!(kept(declared, Value::text(" 42 ")), Value::Integer(42));
            assert_eq!(kept(declared, Value::text("1e3")), Value::Integer(1000));
            assert_eq!(kept(declared, Value::Real(2.0)), Value::Integer(2));
            assert_eq!(kept(declared, Value::text("1.5")), Value::Real(1.5));
            assert_eq!(kept(declared, Value::text("inf")), Value::text("inf"));
            assert_eq!(kept(declared, Value::text("")), Value::text(""));
        }
        assert_eq!(kept("REAL", Value::Integer(2)), Value::Real(2.0));
        assert_eq!(kept("DOUBLE", Value::text("2")), Value::Real(2.0));
        assert_eq!(kept("VARCHAR(9)", Value::Integer(7)), Value::text("7"));
        for declared in ["", "BLOB", "ANY"] {
            assert_eq!(kept(declared, Value::text("7")), Value::text("7"));
        }
    }
}
