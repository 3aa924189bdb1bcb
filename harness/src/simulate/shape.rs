//! Schemas made up from a seed: every shape that a guard takes.

use super::pick;
use crate::scenario::{Detail, Pieces};
use crate::tables::quote;
use fastrand::Rng;
use serde_json::json;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// `INTEGER`: alone as a primary key it is the rowid.
    Integer,
    /// `bigint`, which is not.
    Bigint,
    /// Texts.
    Text,
    /// Texts of 36 characters.
    Uuid,
    /// Blobs.
    Blob,
}

impl Sort {
    fn declared(self, is_strict: bool) -> &'static str {
        match (self, is_strict) {
            (Sort::Integer, _) => "INTEGER",
            (Sort::Bigint, false) => "bigint",
            (Sort::Bigint, true) => "INT",
            (Sort::Text, _) => "TEXT",
            (Sort::Uuid, false) => "char(36)",
            (Sort::Uuid, true) => "TEXT",
            (Sort::Blob, _) => "BLOB",
        }
    }

    /// The value of a key by its number, as SQL.
    pub fn key(self, number: u64) -> String {
        match self {
            Sort::Integer => number.to_string(),
            Sort::Bigint => (9_007_199_254_740_990 + number).to_string(),
            Sort::Text => format!("'Nº {number} d''été'"),
            Sort::Uuid => format!("'6f9619ff-8b86-4011-b42d-{number:012x}'"),
            Sort::Blob => format!("x'00ff{number:02x}'"),
        }
    }
}

/// A column that is part of a key.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub sort: Sort,
}

/// A further table of a kind.
#[derive(Debug, Clone)]
pub struct DetailTable {
    /// Its name.
    pub table: String,
    /// The columns that refer to its parent, in the order of the parent's key.
    pub reference: Vec<String>,
    /// Its own key; none where the reference is the key, so that there is one row at most.
    pub key: Option<Column>,
    /// It hangs on lines, otherwise on the header.
    pub is_of_lines: bool,
}

/// A kind of pieces and its tables.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Its name.
    pub name: String,
    /// The headers' table.
    pub header: String,
    /// Their key.
    pub key: Vec<Column>,
    /// Its letter in the column `type`, where several kinds share the table.
    pub letter: Option<&'static str>,
    /// The lines' table.
    pub lines: String,
    /// The lines' columns that refer to the header's key.
    pub reference: Vec<String>,
    /// The lines' own key; none where reference and rank are the key.
    pub line_key: Option<Column>,
    /// Lines have a flag `gone` that takes them away.
    pub is_soft: bool,
    /// Header and lines lie in one table.
    pub is_one_table: bool,
    /// Further tables.
    pub details: Vec<DetailTable>,
}

/// A schema, its guards, and what the judge compares.
#[derive(Debug)]
pub struct Shape {
    /// The kinds.
    pub kinds: Vec<Kind>,
    /// CREATE statements.
    pub schema: String,
    /// Calls of `talon_guard`.
    pub guard: String,
    /// For the judge.
    pub pieces: Vec<Pieces>,
}

struct Style {
    is_strict: bool,
    without_rowid: bool,
    has_foreign_keys: bool,
    on_delete: &'static str,
    has_generated: bool,
    is_unique: bool,
    is_soft: bool,
    names: &'static [&'static str; 4],
}

const NAMES: [[&str; 4]; 5] = [
    ["sale", "sale_line", "payment", "tax"],
    ["order", "order line", "select", "1:1"],
    ["a\"b", "x;--", "it's", "[d]"],
    ["зака́з", "订单行", "Règlement", "NEW.x"],
    ["Quotation Item", "Quotation 'Item' Line", "h", "l"],
];
const SORTS: [Sort; 5] = [Sort::Integer, Sort::Bigint, Sort::Text, Sort::Uuid, Sort::Blob];

impl Style {
    fn any(random: &mut Rng) -> Style {
        Style {
            is_strict: random.u8(..4) == 0,
            without_rowid: random.u8(..3) == 0,
            has_foreign_keys: random.bool(),
            on_delete: pick(
                random,
                &[
                    "",
                    " ON DELETE CASCADE",
                    " ON DELETE CASCADE ON UPDATE CASCADE",
                    " DEFERRABLE INITIALLY DEFERRED",
                ],
            ),
            has_generated: random.u8(..3) == 0,
            is_unique: random.u8(..3) == 0,
            is_soft: random.u8(..4) == 0,
            names: &NAMES[random.usize(..NAMES.len())],
        }
    }

    fn options(&self, has_rowid: bool) -> String {
        let mut options = Vec::new();
        if self.without_rowid && !has_rowid {
            options.push("WITHOUT ROWID");
        }
        if self.is_strict {
            options.push("STRICT");
        }
        options.join(", ")
    }

    fn references(&self, columns: &[String], table: &str, key: &[Column]) -> String {
        if !self.has_foreign_keys {
            return String::new();
        }
        let key: Vec<String> = key.iter().map(|column| column.name.clone()).collect();
        format!(
            ", FOREIGN KEY ({}) REFERENCES {}({}){}",
            quoted(columns),
            quote(table),
            quoted(&key),
            self.on_delete
        )
    }

    /// Columns that no key has: what a line or a header says.
    fn rest(&self) -> String {
        let (amount, any) = if self.is_strict { ("REAL", "ANY") } else { ("REAL", "") };
        let mut text = format!(", label TEXT, amount {amount}, \"any thing\" {any}");
        if self.has_generated {
            text.push_str(
                ", twice REAL AS (amount * 2) STORED, shout TEXT AS (label || '!') VIRTUAL",
            );
        }
        text
    }
}

/// Names as SQL lists them.
pub fn quoted(names: &[String]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

/// A text as SQL spells it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn names_of(columns: &[Column]) -> Vec<String> {
    columns.iter().map(|column| column.name.clone()).collect()
}

fn declared(columns: &[Column], is_strict: bool) -> String {
    let declared =
        columns.iter().map(|one| format!("{} {}", quote(&one.name), one.sort.declared(is_strict)));
    declared.collect::<Vec<_>>().join(", ")
}

impl Shape {
    /// A shape of any sort.
    pub fn any(random: &mut Rng) -> Shape {
        let style = Style::any(random);
        let mut shape = Shape {
            kinds: Vec::new(),
            schema: String::new(),
            guard: String::new(),
            pieces: Vec::new(),
        };
        let kinds = match random.u8(..8) {
            0 => vec![shape.one_table(&style, random)],
            1 => shape.one_header_table(&style, random),
            2 => shape.shared_lines(&style, random),
            _ => vec![shape.plain(&style, random)],
        };
        for kind in kinds {
            shape.declare(kind);
        }
        shape
    }

    fn key(style: &Style, random: &mut Rng) -> Vec<Column> {
        let column = |name: &str, sort| Column { name: name.to_owned(), sort };
        match random.u8(..4) {
            0 => vec![column("shop", Sort::Text), column("no", Sort::Integer)],
            _ => vec![column(
                if style.names[0] == "sale" { "id" } else { "the \"key\"" },
                *pick_sort(random),
            )],
        }
    }

    fn create_header(&mut self, style: &Style, table: &str, key: &[Column], extra: &str) {
        let is_rowid = key.len() == 1 && key[0].sort == Sort::Integer;
        let unique = if style.is_unique { ", number TEXT UNIQUE" } else { ", number TEXT" };
        self.schema.push_str(&format!(
            "CREATE TABLE {}({}{unique}{extra}{}, PRIMARY KEY ({})) {};\n",
            quote(table),
            declared(key, style.is_strict),
            style.rest(),
            quoted(&names_of(key)),
            style.options(is_rowid && !style.without_rowid)
        ));
    }

    /// One header table, one lines table, and details.
    fn plain(&mut self, style: &Style, random: &mut Rng) -> Kind {
        let [header, lines, ..] = *style.names;
        let key = Shape::key(style, random);
        self.create_header(style, header, &key, "");
        let mut kind = self.lines(style, random, header, lines, key, "of");
        self.details(style, random, &mut kind);
        kind
    }

    /// A lines table for a header table.
    fn lines(
        &mut self,
        style: &Style,
        random: &mut Rng,
        header: &str,
        lines: &str,
        key: Vec<Column>,
        prefix: &str,
    ) -> Kind {
        let reference: Vec<String> =
            key.iter().map(|column| format!("{prefix} {}", column.name)).collect();
        let columns: Vec<Column> = key
            .iter()
            .zip(&reference)
            .map(|(column, name)| Column { name: name.clone(), sort: column.sort })
            .collect();
        let line_key = (random.u8(..4) > 0)
            .then(|| Column { name: "line \"key\"".to_owned(), sort: *pick_sort(random) });
        let own = line_key.as_ref().map_or_else(String::new, |key| {
            format!("{}, ", declared(std::slice::from_ref(key), style.is_strict))
        });
        let primary = match &line_key {
            Some(key) => quote(&key.name),
            None => format!("{}, rank", quoted(&reference)),
        };
        let is_rowid = line_key.as_ref().is_some_and(|key| key.sort == Sort::Integer);
        let soft = if style.is_soft { ", gone INTEGER NOT NULL DEFAULT 0" } else { "" };
        self.schema.push_str(&format!(
            "CREATE TABLE {}({own}{}, rank INTEGER{soft}{}, PRIMARY KEY ({primary}){}) {};\n",
            quote(lines),
            declared(&columns, style.is_strict),
            style.rest(),
            style.references(&reference, header, &key),
            style.options(is_rowid && !style.without_rowid)
        ));
        if random.bool() {
            self.schema.push_str(&format!(
                "CREATE INDEX {} ON {}({});\n",
                quote(&format!("{lines} index")),
                quote(lines),
                quoted(&reference)
            ));
        }
        Kind {
            name: header.to_owned(),
            header: header.to_owned(),
            key,
            letter: None,
            lines: lines.to_owned(),
            reference,
            line_key,
            is_soft: style.is_soft,
            is_one_table: false,
            details: Vec::new(),
        }
    }

    fn details(&mut self, style: &Style, random: &mut Rng, kind: &mut Kind) {
        for table in &style.names[2..] {
            if random.bool() {
                continue;
            }
            // A line without a key of its own is known by reference and rank.
            let is_of_lines = random.bool();
            let parent = match (&kind.line_key, is_of_lines) {
                (_, false) => kind.key.clone(),
                (Some(key), true) => vec![key.clone()],
                (None, true) => kind.line_columns(),
            };
            let reference: Vec<String> =
                (0..parent.len()).map(|place| format!("parent_{place}")).collect();
            let columns: Vec<Column> = parent
                .iter()
                .zip(&reference)
                .map(|(column, name)| Column { name: name.clone(), sort: column.sort })
                .collect();
            let key =
                random.bool().then(|| Column { name: "own".to_owned(), sort: *pick_sort(random) });
            let own = key.as_ref().map_or_else(String::new, |key| {
                format!("{}, ", declared(std::slice::from_ref(key), style.is_strict))
            });
            let primary = key.as_ref().map_or_else(|| quoted(&reference), |key| quote(&key.name));
            let parent_table = if is_of_lines { &kind.lines } else { &kind.header };
            self.schema.push_str(&format!(
                "CREATE TABLE {}({own}{}{}, PRIMARY KEY ({primary}){}) {};\n",
                quote(table),
                declared(&columns, style.is_strict),
                style.rest(),
                style.references(&reference, parent_table, &parent),
                style.options(true)
            ));
            let table = (*table).to_owned();
            kind.details.push(DetailTable { table, reference, key, is_of_lines });
        }
    }

    /// Headers and lines in one table.
    fn one_table(&mut self, style: &Style, random: &mut Rng) -> Kind {
        let [table, ..] = *style.names;
        let key = vec![Column { name: "id".to_owned(), sort: *pick_sort(random) }];
        let reference = vec!["parent".to_owned()];
        let parent = Column { name: "parent".to_owned(), sort: key[0].sort };
        let is_rowid = key[0].sort == Sort::Integer;
        self.schema.push_str(&format!(
            "CREATE TABLE {}({}, {}, number TEXT, rank INTEGER{}, PRIMARY KEY (id){}) {};\n",
            quote(table),
            declared(&key, style.is_strict),
            declared(&[parent], style.is_strict),
            style.rest(),
            style.references(&reference, table, &key),
            style.options(is_rowid && !style.without_rowid)
        ));
        Kind {
            name: table.to_owned(),
            header: table.to_owned(),
            line_key: Some(key[0].clone()),
            key,
            letter: None,
            lines: table.to_owned(),
            reference,
            is_soft: false,
            is_one_table: true,
            details: Vec::new(),
        }
    }

    /// Two kinds in one header table, told apart by a column, each with lines of its own or all in one table.
    fn one_header_table(&mut self, style: &Style, random: &mut Rng) -> Vec<Kind> {
        let [header, lines, other, ..] = *style.names;
        let key = Shape::key(style, random);
        self.create_header(style, header, &key, ", type TEXT NOT NULL");
        let mut first = self.lines(style, random, header, lines, key.clone(), "of");
        let mut second = match random.bool() {
            true => first.clone(),
            false => self.lines(style, random, header, other, key, "of"),
        };
        (first.letter, second.letter) = (Some("F"), Some("A"));
        second.name = format!("{header} A");
        vec![first, second]
    }

    /// Two header tables whose pieces share lines.
    fn shared_lines(&mut self, style: &Style, random: &mut Rng) -> Vec<Kind> {
        let [header, lines, other, ..] = *style.names;
        let key = Shape::key(style, random);
        self.create_header(style, header, &key, "");
        self.create_header(style, other, &key, "");
        let of = |prefix: &str| -> Vec<String> {
            key.iter().map(|column| format!("{prefix} {}", column.name)).collect()
        };
        let columns = |names: &[String]| -> Vec<Column> {
            let pairs = key.iter().zip(names);
            pairs.map(|(one, name)| Column { name: name.clone(), sort: one.sort }).collect()
        };
        let (first, second) = (of("of"), of("for"));
        let line_key = Column { name: "line".to_owned(), sort: *pick_sort(random) };
        self.schema.push_str(&format!(
            "CREATE TABLE {}({}, {}, {}, rank INTEGER{}, PRIMARY KEY (line){}{}) {};\n",
            quote(lines),
            declared(std::slice::from_ref(&line_key), style.is_strict),
            declared(&columns(&first), style.is_strict),
            declared(&columns(&second), style.is_strict),
            style.rest(),
            style.references(&first, header, &key),
            style.references(&second, other, &key),
            style.options(line_key.sort == Sort::Integer)
        ));
        let kind = |name: &str, reference| Kind {
            name: name.to_owned(),
            header: name.to_owned(),
            key: key.clone(),
            letter: None,
            lines: lines.to_owned(),
            reference,
            line_key: Some(line_key.clone()),
            is_soft: false,
            is_one_table: false,
            details: Vec::new(),
        };
        vec![kind(header, first), kind(other, second)]
    }

    /// The guard of a kind, and what the judge is told of it.
    fn declare(&mut self, kind: Kind) {
        let header_where = match kind.letter {
            _ if kind.is_one_table => Some("h.parent IS NULL".to_owned()),
            Some(letter) => Some(format!("h.type = '{letter}'")),
            None => None,
        };
        let lines_where = kind.is_soft.then(|| "l.gone = 0".to_owned());
        let mut definition = json!({
            "header": {"table": kind.header},
            "lines": {"table": kind.lines, "piece": kind.reference},
        });
        if let Some(condition) = &header_where {
            definition["header"]["where"] = json!(condition);
        }
        if let Some(condition) = &lines_where {
            definition["lines"]["where"] = json!(condition);
        }
        let details: Vec<_> = kind
            .details
            .iter()
            .map(|detail| {
                let of = if detail.is_of_lines { "lines" } else { "header" };
                json!({"table": detail.table, "piece": detail.reference, "of": of})
            })
            .collect();
        if !details.is_empty() {
            definition["details"] = json!(details);
        }
        self.guard.push_str(&format!(
            "SELECT talon_guard({}, {});\n",
            literal(&kind.name),
            literal(&definition.to_string())
        ));
        self.pieces.push(Pieces {
            kind: kind.name.clone(),
            header: kind.header.clone(),
            key: names_of(&kind.key),
            lines: kind.lines.clone(),
            piece: kind.reference.clone(),
            header_where,
            lines_where,
            details: kind
                .details
                .iter()
                .map(|detail| Detail {
                    name: detail.table.clone(),
                    table: detail.table.clone(),
                    piece: detail.reference.clone(),
                    line_key: match (detail.is_of_lines, &kind.line_key) {
                        (false, _) => Vec::new(),
                        (true, Some(key)) => vec![key.name.clone()],
                        (true, None) => names_of(&kind.line_columns()),
                    },
                })
                .collect(),
        });
        self.kinds.push(kind);
    }
}

impl Kind {
    /// Reference and rank, the key of lines that have none of their own.
    fn line_columns(&self) -> Vec<Column> {
        let references = self.key.iter().zip(&self.reference);
        references
            .map(|(column, name)| Column { name: name.clone(), sort: column.sort })
            .chain([Column { name: "rank".to_owned(), sort: Sort::Integer }])
            .collect()
    }
}

fn pick_sort(random: &mut Rng) -> &'static Sort {
    &SORTS[random.usize(..SORTS.len())]
}
