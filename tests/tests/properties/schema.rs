//! Schemas of hosts, and the guards over them.

use super::cell::{Cell, real, text};
use super::shape::{KeyKind, LineKey, Reference, Shape, Sharing};
use serde_json::{Value, json};

/// What a column is for, and so which values a statement gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Key(usize),
    Link(usize),
    Number,
    Tag,
    Deleted,
    Position,
    RowKey,
    RowLink,
    Value,
    Generated,
}

pub struct Column {
    pub name: String,
    pub role: Role,
    declared: String,
}

pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    pub key: Vec<String>,
    constraints: Vec<String>,
    without_rowid: bool,
    strict: bool,
}

/// A child part of a kind; the first one is its lines.
pub struct Part {
    pub name: String,
    pub table: usize,
    pub link: Vec<String>,
    pub of_lines: bool,
    pub condition: Option<String>,
}

pub struct Kind {
    pub name: &'static str,
    pub header: usize,
    pub condition: Option<String>,
    pub parts: Vec<Part>,
}

pub struct Schema {
    pub shape: Shape,
    pub tables: Vec<Table>,
    pub kinds: Vec<Kind>,
}

pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn quoted_list(prefix: &str, names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{prefix}{}", quote(name))).collect();
    quoted.join(", ")
}

impl Table {
    /// The columns that a statement may write.
    pub fn stored(&self) -> Vec<String> {
        self.columns
            .iter()
            .filter(|column| column.role != Role::Generated)
            .map(|column| column.name.clone())
            .collect()
    }

    /// The name of the column with this role.
    pub fn column(&self, role: Role) -> Option<&str> {
        self.columns.iter().find(|column| column.role == role).map(|column| column.name.as_str())
    }

    fn sql(&self) -> String {
        let mut terms: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{} {}", quote(&column.name), column.declared))
            .collect();
        terms.push(format!("PRIMARY KEY ({})", quoted_list("", &self.key)));
        terms.extend(self.constraints.iter().cloned());
        let options = [(self.without_rowid, "WITHOUT ROWID"), (self.strict, "STRICT")];
        let options: Vec<&str> =
            options.iter().filter(|(on, _)| *on).map(|(_, text)| *text).collect();
        format!("CREATE TABLE {}({}) {}", quote(&self.name), terms.join(", "), options.join(", "))
    }
}

impl Schema {
    pub fn of(shape: &Shape) -> Schema {
        let mut schema = Schema { shape: shape.clone(), tables: Vec::new(), kinds: Vec::new() };
        match shape.sharing {
            Sharing::OneTable => schema.add_one_table(),
            sharing => {
                schema.add_header("sale");
                if matches!(sharing, Sharing::LinesByWhere | Sharing::LinesByTwoLinks) {
                    schema.add_header("purchase");
                }
                schema.add_lines();
            }
        }
        schema.add_kinds();
        schema.add_details();
        schema
    }

    /// A name that has to be quoted, and quoted right, where the shape asks for one.
    fn name(&self, name: &str) -> String {
        if self.shape.odd_names { format!("{name} {{values}}'\"é") } else { name.to_owned() }
    }

    fn column(&self, name: &str, role: Role, declared: &str) -> Column {
        Column { name: self.name(name), role, declared: declared.to_owned() }
    }

    fn key_types(&self) -> Vec<&'static str> {
        match self.shape.key {
            KeyKind::Rowid | KeyKind::RowidExtreme => vec!["INTEGER"],
            KeyKind::BigInt if self.shape.strict => vec!["INT"],
            KeyKind::BigInt => vec!["bigint"],
            KeyKind::Text | KeyKind::TextNoCase => vec!["TEXT"],
            KeyKind::Blob => vec!["BLOB"],
            KeyKind::Composite => vec!["TEXT", "INTEGER"],
        }
    }

    /// The columns of a table that refer to a header, and their foreign key.
    fn links(&self, prefix: &str, header: &Table, constraints: &mut Vec<String>) -> Vec<Column> {
        let columns: Vec<Column> = self
            .key_types()
            .into_iter()
            .enumerate()
            .map(|(at, declared)| self.column(&format!("{prefix}{at}"), Role::Link(at), declared))
            .collect();
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        constraints.extend(self.reference(&names, header));
        columns
    }

    fn reference(&self, from: &[String], to: &Table) -> Option<String> {
        let actions = match self.shape.reference {
            Reference::None => return None,
            Reference::Immediate => "",
            Reference::Cascade => "ON DELETE CASCADE ON UPDATE CASCADE",
            Reference::Deferred => "DEFERRABLE INITIALLY DEFERRED",
        };
        let (name, key) = (quote(&to.name), quoted_list("", &to.key));
        Some(format!("FOREIGN KEY ({}) REFERENCES {name}({key}) {actions}", quoted_list("", from)))
    }

    fn values(&self, columns: &mut Vec<Column>) {
        let (free, fixed) = if self.shape.strict { ("ANY", "ANY") } else { ("", "REAL") };
        columns.push(self.column("a", Role::Value, free));
        columns.push(self.column("b", Role::Value, fixed));
        if self.shape.generated {
            let a = quote(&self.name("a"));
            columns.insert(
                1,
                self.column("g", Role::Generated, &format!("INT AS (length({a})) VIRTUAL")),
            );
        }
    }

    fn add(
        &mut self,
        name: &str,
        columns: Vec<Column>,
        key: Vec<String>,
        constraints: Vec<String>,
        wide: bool,
    ) {
        self.tables.push(Table {
            name: self.name(name),
            columns,
            key,
            constraints,
            without_rowid: self.shape.without_rowid && wide,
            strict: self.shape.strict,
        });
    }

    fn number_declared(&self) -> &'static str {
        if self.shape.number_replaces { "TEXT UNIQUE ON CONFLICT REPLACE" } else { "TEXT UNIQUE" }
    }

    fn add_header(&mut self, name: &str) {
        let collation = if self.shape.key == KeyKind::TextNoCase { " COLLATE NOCASE" } else { "" };
        let mut columns: Vec<Column> = self
            .key_types()
            .into_iter()
            .enumerate()
            .map(|(at, declared)| {
                self.column(&format!("id{at}"), Role::Key(at), &format!("{declared}{collation}"))
            })
            .collect();
        let key = columns.iter().map(|column| column.name.clone()).collect();
        columns.push(self.column("number", Role::Number, self.number_declared()));
        columns.push(self.column("tag", Role::Tag, "TEXT"));
        self.values(&mut columns);
        self.add(name, columns, key, Vec::new(), true);
    }

    fn line_columns(&self) -> Vec<Column> {
        let position = quote(&self.name("position"));
        let mut columns = vec![
            self.column("position", Role::Position, &format!("INT CHECK ({position} < 9)")),
            self.column("kind", Role::Tag, "TEXT"),
            self.column("deleted", Role::Deleted, "INT"),
        ];
        self.values(&mut columns);
        columns
    }

    fn add_lines(&mut self) {
        let mut constraints = Vec::new();
        let mut columns = self.links("sale", &self.tables[0], &mut constraints);
        let mut key: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        if self.shape.sharing == Sharing::LinesByTwoLinks {
            columns.extend(self.links("purchase", &self.tables[1], &mut constraints));
        }
        columns.extend(self.line_columns());
        match self.shape.line_key {
            LineKey::Composite => key.push(self.name("position")),
            line_key => {
                let declared = if line_key == LineKey::Text { "TEXT" } else { "INTEGER" };
                columns.insert(0, self.column("id", Role::RowKey, declared));
                key = vec![self.name("id")];
            }
        }
        self.add("line", columns, key, constraints, self.shape.line_key != LineKey::Rowid);
    }

    fn add_one_table(&mut self) {
        let mut columns = vec![self.column("id", Role::RowKey, "INTEGER")];
        columns.push(self.column("sale0", Role::Link(0), "INTEGER"));
        columns.push(self.column("number", Role::Number, self.number_declared()));
        columns.extend(self.line_columns());
        self.add("sale", columns, vec![self.name("id")], Vec::new(), false);
        let constraint = self.reference(&[self.name("sale0")], &self.tables[0]);
        self.tables[0].constraints.extend(constraint);
    }

    fn add_kinds(&mut self) {
        let names = |prefix: &str| -> Vec<String> {
            (0..self.key_types().len()).map(|at| self.name(&format!("{prefix}{at}"))).collect()
        };
        let tag = |tag: &str| format!("h.{} = '{tag}'", quote(&self.name("tag")));
        let lines_table = self.tables.len() - 1;
        let kind = |name: &'static str, header, condition, link, line_condition: Option<String>| {
            let alive =
                self.shape.lines_where.then(|| format!("l.{} = 0", quote(&self.name("deleted"))));
            let conditions: Vec<String> = alive.into_iter().chain(line_condition).collect();
            let condition_of_lines = (!conditions.is_empty()).then(|| conditions.join(" AND "));
            let lines = Part {
                name: "lines".to_owned(),
                table: lines_table,
                link,
                of_lines: false,
                condition: condition_of_lines,
            };
            Kind { name, header, condition, parts: vec![lines] }
        };
        let of_kind = |name: &str| Some(format!("l.{} = '{name}'", quote(&self.name("kind"))));
        let header_tag = self.shape.header_where.then(|| tag("F"));
        let kinds = match self.shape.sharing {
            Sharing::None => vec![kind("sale", 0, header_tag, names("sale"), None)],
            Sharing::LinesByWhere => vec![
                kind("sale", 0, header_tag.clone(), names("sale"), of_kind("F")),
                kind("purchase", 1, header_tag, names("sale"), of_kind("A")),
            ],
            Sharing::LinesByTwoLinks => vec![
                kind("sale", 0, header_tag.clone(), names("sale"), None),
                kind("purchase", 1, header_tag, names("purchase"), None),
            ],
            Sharing::Header => vec![
                kind("sale", 0, Some(tag("F")), names("sale"), None),
                kind("credit", 0, Some(tag("A")), names("sale"), None),
            ],
            Sharing::OneTable => {
                let is_header = format!("h.{} IS NULL", quote(&self.name("sale0")));
                vec![kind("sale", 0, Some(is_header), names("sale"), None)]
            }
        };
        self.kinds = kinds;
    }

    fn add_details(&mut self) {
        let lines_table = self.kinds[0].parts[0].table;
        let names = |columns: &[Column]| -> Vec<String> {
            columns.iter().map(|column| column.name.clone()).collect()
        };
        if self.shape.payments {
            let mut constraints = Vec::new();
            let mut columns = self.links("sale", &self.tables[0], &mut constraints);
            let link = names(&columns);
            columns.insert(0, self.column("id", Role::RowKey, "INTEGER"));
            self.values(&mut columns);
            self.add("payment", columns, vec![self.name("id")], constraints, false);
            self.add_part("payment", link, false);
        }
        if self.shape.taxes_of_lines {
            let declared = if self.shape.line_key == LineKey::Text { "TEXT" } else { "INTEGER" };
            let link = vec![self.name("line")];
            let constraints =
                self.reference(&link, &self.tables[lines_table]).into_iter().collect();
            let mut columns = vec![
                self.column("id", Role::RowKey, "INTEGER"),
                self.column("line", Role::RowLink, declared),
            ];
            self.values(&mut columns);
            self.add("tax", columns, vec![self.name("id")], constraints, false);
            self.add_part("tax", link, true);
        }
        if self.shape.extra_beside {
            let mut constraints = Vec::new();
            let mut columns = self.links("sale", &self.tables[0], &mut constraints);
            let link = names(&columns);
            self.values(&mut columns);
            self.add("extra", columns, link.clone(), constraints, true);
            self.add_part("extra", link, false);
        }
    }

    fn add_part(&mut self, name: &str, link: Vec<String>, of_lines: bool) {
        let part = Part {
            name: name.to_owned(),
            table: self.tables.len() - 1,
            link,
            of_lines,
            condition: None,
        };
        self.kinds[0].parts.push(part);
    }

    /// The statements that make the tables.
    pub fn create(&self) -> Vec<String> {
        let recursive = format!("PRAGMA recursive_triggers = {}", self.shape.recursive_triggers);
        std::iter::once(recursive).chain(self.tables.iter().map(Table::sql)).collect()
    }

    /// The statements that declare the guards.
    pub fn guards(&self) -> Vec<String> {
        self.kinds.iter().map(|kind| self.guard(kind)).collect()
    }

    fn guard(&self, kind: &Kind) -> String {
        // What the schema says is left out, but where it says too much or nothing.
        let is_said = !matches!(self.shape.reference, Reference::None)
            && self.shape.sharing != Sharing::OneTable;
        let part = |part: &Part, more: Value| {
            let mut json = more;
            json["table"] = json!(self.tables[part.table].name);
            if !is_said {
                json["piece"] = json!(part.link);
            }
            if let Some(condition) = &part.condition {
                json["where"] = json!(condition);
            }
            json
        };
        let mut header = json!({ "table": self.tables[kind.header].name });
        if let Some(condition) = &kind.condition {
            header["where"] = json!(condition);
        }
        let details: Vec<Value> = kind.parts[1..]
            .iter()
            .map(|detail| {
                let of = if detail.of_lines { "lines" } else { "header" };
                part(detail, json!({ "name": detail.name, "of": of }))
            })
            .collect();
        let json = json!({ "header": header, "lines": part(&kind.parts[0], json!({})), "details": details });
        format!("SELECT talon_guard('{}', {})", kind.name, text(&json.to_string()).literal())
    }

    /// The keys that headers have and lines refer to: few, so that statements meet.
    pub fn key_pool(&self, at: usize) -> Vec<Cell> {
        let integers = |values: &[i64]| values.iter().copied().map(Cell::Integer).collect();
        match (self.shape.key, at) {
            (KeyKind::Rowid, _) => integers(&[1, 2, 3, 4]),
            (KeyKind::RowidExtreme, _) => integers(&[i64::MAX, i64::MIN, -2, 0]),
            (KeyKind::BigInt, _) if self.shape.strict => integers(&[i64::MAX, i64::MIN, -1, 7]),
            (KeyKind::BigInt, _) => {
                vec![Cell::Integer(i64::MAX), Cell::Integer(-1), text("x"), real(1.5)]
            }
            (KeyKind::Text, _) => vec![text("a"), text("A"), text("a\0b"), Cell::Text(vec![0xff])],
            (KeyKind::TextNoCase, _) => vec![text("a"), text("A"), text("b"), text("é")],
            (KeyKind::Blob, _) if self.shape.strict => {
                [vec![], vec![0], vec![0xff, b'"'], vec![b'a']].map(Cell::Blob).to_vec()
            }
            (KeyKind::Blob, _) => {
                vec![Cell::Blob(vec![0xff]), text("1"), Cell::Integer(1), real(1.0)]
            }
            (KeyKind::Composite, 0) => vec![text("A\"1"), Cell::Text(vec![0xff])],
            (KeyKind::Composite, _) => integers(&[1, i64::MIN]),
        }
    }

    /// Whether an UPDATE's own REPLACE may delete the row that it updates, by a cascade. Where the table has any trigger,
    /// SQLite refuses that (SQLITE_CONSTRAINT_PINNED).
    pub fn takes_itself_away(&self) -> bool {
        self.shape.sharing == Sharing::OneTable && self.shape.reference == Reference::Cascade
    }

    /// Whether SQLite may be asked to assign a header's key: at the end of the range it would draw a random one.
    pub fn assigns_keys(&self) -> bool {
        !matches!(self.shape.key, KeyKind::RowidExtreme)
    }
}
