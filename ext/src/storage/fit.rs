//! Fits a definition to the schema, or says what does not fit and what would.

use super::definition::{Columns, Definition, Labels, LinesDefinition, Unloaded};
use super::expression::is_one_expression;
use super::guard::{Guard, HEADER, LABELS, MOST_KEY_COLUMNS, Part};
use super::policy::Policy;
use super::shape::{Column, Found, HostTable, quote_identifier, read_table};
use crate::error::{Error, Result};
use crate::sqlite::Connection;

struct Fitting<'a> {
    connection: Connection,
    schema: &'a str,
    kind: &'a str,
}

/// Fits a definition to the schema.
///
/// # Errors
/// [`Error::Definition`] naming what does not fit and what would.
pub fn fit(
    connection: Connection,
    schema: &str,
    id: i64,
    kind: &str,
    definition: &Definition,
) -> Result<Guard> {
    let fitting = Fitting { connection, schema, kind };
    let header_table = fitting.table(&definition.header.table)?;
    let lines = match &definition.lines {
        Some(lines) => Some((fitting.table(&lines.table)?, lines)),
        None => None,
    };
    let header_key = fitting.header_key(definition, &header_table, lines.as_ref())?;
    fitting.check_width(&header_table, &header_key)?;
    let header = Part {
        name: "header".to_owned(),
        alias: "h",
        columns: stored_columns(&header_table),
        key: header_key,
        parent: HEADER,
        link: Vec::new(),
        condition: definition.header.condition.clone(),
        order: Vec::new(),
        table: header_table,
    };
    let mut parts = vec![header];
    if let Some((table, lines)) = lines {
        let lines = fitting.child(
            &parts,
            Child {
                name: "lines",
                alias: "l",
                table,
                parent: HEADER,
                link: lines.piece.as_ref(),
                key: lines.key.as_ref(),
                order: lines.order.as_ref(),
                condition: lines.condition.as_ref(),
                setting: "lines.piece",
            },
        )?;
        parts.push(lines);
    }
    for detail in &definition.details {
        let name = detail.name.as_deref().unwrap_or(&detail.table);
        if parts.iter().any(|part| part.name == name) {
            return Err(fitting.problem(format!(
                "two parts are called {name:?}: give the detail another \"name\""
            )));
        }
        let of = detail.of.as_deref().unwrap_or("header");
        let parent = parts.iter().position(|part| part.name == of).ok_or_else(|| {
            let known: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
            fitting.problem(format!(
                "detail {name:?} is \"of\" {of:?}, which is none of: {}",
                known.join(", ")
            ))
        })?;
        let part = fitting.child(
            &parts,
            Child {
                name,
                alias: "d",
                table: fitting.table(&detail.table)?,
                parent,
                link: detail.piece.as_ref(),
                key: detail.key.as_ref(),
                order: detail.order.as_ref(),
                condition: detail.condition.as_ref(),
                setting: "the detail's \"piece\"",
            },
        )?;
        parts.push(part);
    }
    if parts.len() > 200 {
        return Err(fitting.problem("more than 198 details".to_owned()));
    }
    let labels = fitting.labels(&definition.header.labels, &parts[HEADER].table);
    let guard = Guard {
        id,
        kind: kind.to_owned(),
        parts,
        labels,
        refuses_unloaded: definition.unloaded == Unloaded::Refuse,
        sync: None,
    };
    fitting.check_expressions(&guard)?;
    let sync = fitting.policy(definition, &guard)?;
    Ok(Guard { sync, ..guard })
}

struct Child<'a> {
    name: &'a str,
    alias: &'static str,
    table: HostTable,
    parent: usize,
    link: Option<&'a Columns>,
    key: Option<&'a Columns>,
    order: Option<&'a Columns>,
    condition: Option<&'a String>,
    setting: &'a str,
}

fn stored_columns(table: &HostTable) -> Vec<String> {
    table
        .columns
        .iter()
        .filter(|column| !column.generated)
        .map(|column| column.name.clone())
        .collect()
}

impl Fitting<'_> {
    fn problem(&self, problem: String) -> Error {
        Error::Definition { kind: self.kind.to_owned(), problem }
    }

    fn table(&self, name: &str) -> Result<HostTable> {
        let otherwise = "only tables can be guarded, name the table behind it";
        host_table(self.connection, self.schema, name, otherwise)?
            .map_err(|problem| self.problem(problem))
    }

    /// Resolves column names given in a definition to the schema's spelling.
    fn columns(&self, table: &HostTable, given: &Columns, setting: &str) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        for name in given.names() {
            let column = table.column(name).ok_or_else(|| {
                self.problem(format!(
                    "{setting}: {:?} has no column {name:?}; it has: {}",
                    table.name,
                    table.column_names()
                ))
            })?;
            if column.generated {
                return Err(self.problem(format!(
                    "{setting}: {:?}.{name:?} is a generated column: name a stored one",
                    table.name
                )));
            }
            if names.contains(&column.name) {
                return Err(self.problem(format!("{setting}: {name:?} is named twice")));
            }
            names.push(column.name.clone());
        }
        if names.is_empty() {
            return Err(self.problem(format!("{setting}: no column is named")));
        }
        Ok(names)
    }

    fn key(
        &self,
        table: &HostTable,
        given: Option<&Columns>,
        setting: &str,
    ) -> Result<Vec<String>> {
        let key = match given {
            Some(given) => self.columns(table, given, setting)?,
            None => table.key(),
        };
        match table.why_no_key(&key, setting, setting) {
            Some(problem) => Err(self.problem(problem)),
            None => Ok(key),
        }
    }

    /// The header's key: as given, or what the lines' one foreign key refers to, or the primary key.
    fn header_key(
        &self,
        definition: &Definition,
        header: &HostTable,
        lines: Option<&(HostTable, &LinesDefinition)>,
    ) -> Result<Vec<String>> {
        if let Some((lines, said)) = lines
            && definition.header.key.is_none()
            && said.piece.is_none()
        {
            let mut referred = lines.foreign_keys.iter().filter(|foreign_key| {
                foreign_key.parent.eq_ignore_ascii_case(&header.name) && !foreign_key.to.is_empty()
            });
            if let (Some(foreign_key), None) = (referred.next(), referred.next())
                && header.is_unique(&foreign_key.to)
                && !is_same_set(&foreign_key.to, &header.key())
            {
                let columns = Columns::Several(foreign_key.to.clone());
                return self.key(header, Some(&columns), "header.key");
            }
        }
        self.key(header, definition.header.key.as_ref(), "header.key")
    }

    /// A piece's key, and a key that further rows refer to, has to fit into a mark, twice.
    fn check_width(&self, table: &HostTable, key: &[String]) -> Result<()> {
        if key.len() > MOST_KEY_COLUMNS {
            return Err(self.problem(format!(
                "the key of {:?} has {} columns; one that other tables refer to has at most {MOST_KEY_COLUMNS}",
                table.name,
                key.len()
            )));
        }
        Ok(())
    }

    fn child(&self, parts: &[Part], child: Child<'_>) -> Result<Part> {
        let parent = &parts[child.parent];
        self.check_width(&parent.table, &parent.key)?;
        let table = child.table;
        let setting = child.setting;
        let link = match child.link {
            Some(given) => self.columns(&table, given, setting)?,
            None => self.foreign_key(&table, parent, setting)?,
        };
        if link.len() != parent.key.len() {
            return Err(self.problem(format!(
                "{setting} names {} column{}, the key of {:?} has {}: {}",
                link.len(),
                if link.len() == 1 { "" } else { "s" },
                parent.table.name,
                parent.key.len(),
                parent.key.join(", ")
            )));
        }
        let (key_setting, order_setting) = match child.alias {
            "l" => ("lines.key", "lines.order"),
            _ => ("the detail's \"key\"", "the detail's \"order\""),
        };
        let key = self.key(&table, child.key, key_setting)?;
        let order = match child.order {
            Some(given) => self.columns(&table, given, order_setting)?,
            None => schema_order(&table, &link, &key),
        };
        Ok(Part {
            name: child.name.to_owned(),
            alias: child.alias,
            columns: stored_columns(&table),
            key,
            parent: child.parent,
            link,
            condition: child.condition.cloned(),
            order,
            table,
        })
    }

    /// The one foreign key of `table` to the parent's key, in the key's order.
    fn foreign_key(&self, table: &HostTable, parent: &Part, setting: &str) -> Result<Vec<String>> {
        let mut links: Vec<Vec<String>> = Vec::new();
        for foreign_key in &table.foreign_keys {
            if !foreign_key.parent.eq_ignore_ascii_case(&parent.table.name) {
                continue;
            }
            let implied = parent.table.key();
            let to = if foreign_key.to.is_empty() { &implied } else { &foreign_key.to };
            if !is_same_set(to, &parent.key) || to.len() != foreign_key.from.len() {
                continue;
            }
            let ordered = parent.key.iter().filter_map(|key| {
                let place = to.iter().position(|column| column.eq_ignore_ascii_case(key))?;
                table.column(&foreign_key.from[place]).map(|column| column.name.clone())
            });
            links.push(ordered.collect());
        }
        match links.len() {
            1 => Ok(links.remove(0)),
            0 => Err(self.problem(format!(
                "{:?} has no foreign key to {:?}({}): name the columns that refer to it with {setting}; {:?} has: {}",
                table.name,
                parent.table.name,
                parent.key.join(", "),
                table.name,
                table.column_names()
            ))),
            _ => {
                let each: Vec<String> = links.iter().map(|link| link.join(", ")).collect();
                Err(self.problem(format!(
                    "{:?} refers to {:?} more than once ({}): say which with {setting}",
                    table.name,
                    parent.table.name,
                    each.join("; ")
                )))
            }
        }
    }

    fn labels(&self, given: &Labels, header: &HostTable) -> [Option<String>; 5] {
        let given = [&given.number, &given.date, &given.party, &given.piece_type, &given.validated];
        let mut labels = [const { None }; 5];
        for ((label, given), name) in labels.iter_mut().zip(given).zip(LABELS) {
            let column = || {
                header.column(name).map(|column| format!("h.{}", quote_identifier(&column.name)))
            };
            *label = given.clone().or_else(column);
        }
        labels
    }

    /// Compiles every expression that came as text, alone, so that an error names it.
    fn check_expressions(&self, guard: &Guard) -> Result<()> {
        for part in &guard.parts {
            if let Some(condition) = &part.condition {
                self.check_expression(part, condition, &format!("{}.where", part.name))?;
            }
        }
        for (label, name) in guard.labels.iter().zip(LABELS) {
            if let Some(label) = label {
                self.check_expression(&guard.parts[HEADER], label, &format!("label {name:?}"))?;
            }
        }
        Ok(())
    }

    /// What the definition says of other sites, held against the schema.
    fn policy(&self, definition: &Definition, guard: &Guard) -> Result<Option<Policy>> {
        let Some(sync) = &definition.sync else { return Ok(None) };
        let header = guard.header();
        let translates = match header.key.as_slice() {
            [key] => header.table.column(key).is_some_and(Column::holds_integers),
            _ => false,
        };
        let policy = sync
            .policy(guard.is_of_records(), translates)
            .map_err(|problem| self.problem(problem))?;
        if let Some(when) = &policy.when {
            self.check_expression(header, when, "sync.when")?;
        }
        if let Some(filter) = &policy.filter {
            self.check_expression_with(header, filter, "sync.filter", &[":site"])?;
        }
        for declared in &policy.references {
            let setting = format!("sync.references: {}.{}", declared.part, declared.column);
            let part = guard.parts.iter().find(|part| part.name == declared.part);
            let part = part.ok_or_else(|| {
                let known: Vec<&str> = guard.parts.iter().map(|part| part.name.as_str()).collect();
                self.problem(format!(
                    "{setting}: no part of that name; there are: {}",
                    known.join(", ")
                ))
            })?;
            self.columns(&part.table, &Columns::One(declared.column.clone()), &setting)?;
            if declared.kind.is_empty() || declared.to_part.is_empty() {
                return Err(self.problem(format!("{setting}: it names no kind")));
            }
        }
        Ok(Some(policy))
    }

    fn check_expression(&self, part: &Part, expression: &str, setting: &str) -> Result<()> {
        self.check_expression_with(part, expression, setting, &[])
    }

    /// Compiles an expression that may have these parameters.
    fn check_expression_with(
        &self,
        part: &Part,
        expression: &str,
        setting: &str,
        parameters: &[&str],
    ) -> Result<()> {
        if !is_one_expression(expression) {
            return Err(self.problem(format!(
                "{setting}: {expression:?} is not one SQL expression (unbalanced quotes or parentheses, or a semicolon)"
            )));
        }
        let sql = format!(
            // In a WHERE, because what counts or ranks rows belongs nowhere here.
            "SELECT 1 FROM {}.{} AS {} WHERE ({expression}\n)",
            quote_identifier(self.schema),
            quote_identifier(&part.table.name),
            part.alias
        );
        let checked = self.connection.prepare(&sql).and_then(|statement| {
            // A parameter that nobody binds would stay NULL for ever.
            let has = statement.parameters();
            match has.iter().find(|name| !parameters.contains(&name.as_str())) {
                None => Ok(()),
                Some(_) if parameters.is_empty() => {
                    Err(crate::sqlite::Failure::new("it has a parameter"))
                }
                Some(name) => Err(crate::sqlite::Failure::new(format!(
                    "it has a parameter {name}; there is {} only",
                    parameters.join(", ")
                ))),
            }
        });
        checked.map_err(|failure| {
            let error = Error::Sqlite(failure);
            if error.is_fatal() {
                return error;
            }
            self.problem(format!("{setting}: {error} in {expression:?}"))
        })
    }
}

/// A table of the application by its name, or why there is none to declare; `otherwise` says so of what is no table.
///
/// # Errors
/// What SQLite reports.
pub(super) fn host_table(
    connection: Connection,
    schema: &str,
    name: &str,
    otherwise: &str,
) -> Result<std::result::Result<HostTable, String>> {
    Ok(Err(match read_table(connection, schema, name)? {
        Found::Table(table) if is_own_table(&table.name) => {
            format!("{name:?} is Talon's own table: name a table of the application")
        }
        Found::Table(table) => return Ok(Ok(table)),
        Found::Other(what) => format!("{name:?} is {what}: {otherwise}"),
        Found::Nothing => {
            let known = host_tables(connection, schema)?;
            format!("no table {name:?} in {schema:?}; there are: {known}")
        }
    }))
}

/// The host's tables in a schema, for error texts.
///
/// # Errors
/// What SQLite reports.
fn host_tables(connection: Connection, schema: &str) -> Result<String> {
    let mut statement = connection.prepare(&format!(
        "SELECT name FROM {}.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         AND name NOT LIKE 'talon\\_%' ESCAPE '\\' ORDER BY name LIMIT 40",
        quote_identifier(schema)
    ))?;
    let mut rows = statement.query(&[])?;
    let mut names = Vec::new();
    while rows.next()? {
        names.push(rows.column(0).as_str().unwrap_or_default().to_owned());
    }
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}

fn is_own_table(name: &str) -> bool {
    name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("talon_"))
}

fn is_same_set(a: &[String], b: &[String]) -> bool {
    a.len() == b.len()
        && a.iter().all(|column| b.iter().any(|other| other.eq_ignore_ascii_case(column)))
}

/// The order that the schema states: the rest of a unique index that begins with the link, else the key.
fn schema_order(table: &HostTable, link: &[String], key: &[String]) -> Vec<String> {
    table
        .unique
        .iter()
        .find(|index| {
            index.columns.len() > link.len() && is_same_set(&index.columns[..link.len()], link)
        })
        .map_or_else(|| key.to_vec(), |index| index.columns[link.len()..].to_vec())
}
