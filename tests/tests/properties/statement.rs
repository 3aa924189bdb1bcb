//! What hosts do: drawn without a schema, told in SQL once there is one.

use super::cell::{Cell, any_cell, text};
use super::schema::{Role, Schema, Table, quote, quoted_list};
use super::shape::{KeyKind, LineKey, Sharing};
use proptest::prelude::*;
use proptest::sample::select;

/// One row's worth of choices: small ones that lead into pools, and values.
#[derive(Clone)]
pub struct Draw {
    picks: [u8; 8],
    values: [Cell; 2],
}

impl std::fmt::Debug for Draw {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{:?} {} {}",
            self.picks,
            self.values[0].literal(),
            self.values[1].literal()
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Every row.
    All,
    /// The rows of one piece.
    Owner,
    /// One row.
    Own,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Value,
    Key,
    /// Every key at once, so that some pass through each other.
    KeySigns,
    Link,
    Number,
    Tag,
    Deleted,
    RowKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upsert {
    No,
    Nothing,
    Update,
}

#[derive(Debug, Clone)]
pub enum Step {
    Insert { table: u8, conflict: &'static str, upsert: Upsert, returning: bool, rows: Vec<Draw> },
    Update { table: u8, conflict: &'static str, what: What, which: Which, to: Draw, from: Draw },
    Delete { table: u8, which: Which, row: Draw },
    Control(&'static str),
}

fn draw() -> impl Strategy<Value = Draw> {
    (any::<[u8; 8]>(), [any_cell(), any_cell()]).prop_map(|(picks, values)| Draw { picks, values })
}

fn conflict() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => Just(""),
        2 => Just(" OR REPLACE"),
        1 => select(vec![" OR IGNORE", " OR FAIL", " OR ROLLBACK"]),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    let upsert =
        prop_oneof![4 => Just(Upsert::No), 1 => Just(Upsert::Nothing), 1 => Just(Upsert::Update)];
    let insert =
        (any::<u8>(), conflict(), upsert, any::<bool>(), prop::collection::vec(draw(), 1..4))
            .prop_map(|(table, conflict, upsert, returning, rows)| Step::Insert {
                table,
                conflict,
                upsert,
                returning,
                rows,
            });
    let what = prop_oneof![
        6 => Just(What::Value),
        6 => select(vec![
            What::Key, What::KeySigns, What::Link, What::Link, What::Number, What::Tag, What::Deleted, What::RowKey
        ]),
    ];
    let which = || select(vec![Which::All, Which::Owner, Which::Owner, Which::Own]);
    let update = (any::<u8>(), conflict(), what, which(), draw(), draw()).prop_map(
        |(table, conflict, what, which, to, from)| Step::Update {
            table,
            conflict,
            what,
            which,
            to,
            from,
        },
    );
    let delete = (any::<u8>(), which(), draw()).prop_map(|(table, which, row)| Step::Delete {
        table,
        which,
        row,
    });
    let control = select(vec![
        "BEGIN",
        "BEGIN",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "COMMIT",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT a",
        "SAVEPOINT b",
        "SAVEPOINT a",
        "RELEASE a",
        "RELEASE b",
        "ROLLBACK TO a",
        "ROLLBACK TO a",
        "ROLLBACK TO b",
    ]);
    prop_oneof![
        9 => insert,
        5 => update,
        2 => delete,
        6 => control.prop_map(Step::Control),
    ]
}

/// A statement, and what a model has to know about it that its effect does not show.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    pub sql: String,
    /// REPLACE may take rows of child tables away without a trigger that tells.
    pub replaces_children: bool,
    /// Pieces may go, come or change their name otherwise than by a DELETE or an INSERT.
    pub moves_pieces: bool,
}

impl Statement {
    pub fn of(sql: &str) -> Statement {
        Statement { sql: sql.to_owned(), ..Statement::default() }
    }
}

impl Schema {
    pub fn statement(&self, step: &Step) -> Statement {
        let table_at = |table: u8| usize::from(table) % self.tables.len();
        let (table, sql) = match step {
            Step::Control(sql) => return Statement::of(sql),
            Step::Insert { table, conflict, upsert, returning, rows } => (
                table_at(*table),
                self.insert(table_at(*table), conflict, *upsert, *returning, rows),
            ),
            Step::Update { table, conflict, what, which, to, from } => {
                (table_at(*table), self.update(table_at(*table), conflict, *what, *which, to, from))
            }
            Step::Delete { table, which, row } => {
                let name = quote(&self.tables[table_at(*table)].name);
                let condition = self.condition(&self.tables[table_at(*table)], *which, row);
                (table_at(*table), format!("DELETE FROM {name} WHERE {condition}"))
            }
        };
        let is_delete = matches!(step, Step::Delete { .. });
        let is_header = self.kinds.iter().any(|kind| kind.header == table);
        let numbered = self.tables[table].column(Role::Number).is_some();
        let replaces = !is_delete
            && (sql.contains(" OR REPLACE INTO")
                || sql.starts_with("UPDATE OR REPLACE")
                || numbered && self.shape.number_replaces);
        // A header that is put back under another spelling of its key goes on as the same piece.
        let spells = self.shape.key == KeyKind::TextNoCase
            || self.shape.key == KeyKind::Blob && !self.shape.strict;
        let updates =
            matches!(step, Step::Update { .. } | Step::Insert { upsert: Upsert::Update, .. });
        Statement {
            replaces_children: replaces && (!is_header || self.shape.sharing == Sharing::OneTable),
            moves_pieces: is_header && (replaces || updates || spells),
            sql,
        }
    }

    fn insert(
        &self,
        at: usize,
        conflict: &str,
        upsert: Upsert,
        returning: bool,
        rows: &[Draw],
    ) -> String {
        let table = &self.tables[at];
        let rows: Vec<String> = rows
            .iter()
            .map(|row| {
                let cells: Vec<String> = table
                    .columns
                    .iter()
                    .enumerate()
                    .filter(|(_, column)| column.role != Role::Generated)
                    .map(|(place, column)| self.cell(column.role, row, place).literal())
                    .collect();
                format!("({})", cells.join(", "))
            })
            .collect();
        let columns = table.stored();
        let mut sql = format!(
            "INSERT{conflict} INTO {}({}) VALUES {}",
            quote(&table.name),
            quoted_list("", &columns),
            rows.join(", ")
        );
        let target = quoted_list("", &table.key);
        match upsert {
            Upsert::No => {}
            Upsert::Nothing => sql.push_str(" ON CONFLICT DO NOTHING"),
            Upsert::Update => {
                let set: Vec<String> = table
                    .columns
                    .iter()
                    .filter(|column| {
                        matches!(column.role, Role::Value | Role::Link(_) | Role::Number)
                    })
                    .map(|column| format!("{0} = excluded.{0}", quote(&column.name)))
                    .collect();
                sql.push_str(&format!(" ON CONFLICT ({target}) DO UPDATE SET {}", set.join(", ")));
            }
        }
        if returning {
            sql.push_str(" RETURNING *");
        }
        sql
    }

    fn update(
        &self,
        at: usize,
        conflict: &str,
        what: What,
        which: Which,
        to: &Draw,
        from: &Draw,
    ) -> String {
        let table = &self.tables[at];
        let conflict = if self.takes_itself_away() { "" } else { conflict };
        let is_set = |role: Role| match what {
            What::Value => role == Role::Value,
            What::Key | What::KeySigns => matches!(role, Role::Key(_)),
            What::Link => matches!(role, Role::Link(_) | Role::RowLink),
            What::Number => role == Role::Number,
            What::Tag => role == Role::Tag,
            What::Deleted => role == Role::Deleted,
            What::RowKey => role == Role::RowKey,
        };
        let mut set: Vec<String> = Vec::new();
        for (place, column) in
            table.columns.iter().enumerate().filter(|(_, column)| is_set(column.role))
        {
            let name = quote(&column.name);
            match what {
                What::KeySigns => set.push(format!("{name} = -{name}")),
                _ => set.push(format!("{name} = {}", self.cell(column.role, to, place).literal())),
            }
        }
        if set.is_empty() {
            // This table has no such column: a change that changes nothing.
            let name = quote(&table.key[0]);
            set.push(format!("{name} = {name}"));
        }
        let condition = self.condition(table, which, from);
        format!("UPDATE{conflict} {} SET {} WHERE {condition}", quote(&table.name), set.join(", "))
    }

    fn condition(&self, table: &Table, which: Which, row: &Draw) -> String {
        let is_asked = |role: Role| match which {
            Which::All => false,
            Which::Owner => matches!(role, Role::Key(_) | Role::Link(_) | Role::RowLink),
            Which::Own => matches!(role, Role::Key(_) | Role::RowKey),
        };
        let terms: Vec<String> = table
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| is_asked(column.role))
            .map(|(place, column)| {
                format!(
                    "{} IS {}",
                    quote(&column.name),
                    self.cell(column.role, row, place).literal()
                )
            })
            .collect();
        if terms.is_empty() { "1".to_owned() } else { terms.join(" AND ") }
    }

    /// The value that a draw has for a column.
    fn cell(&self, role: Role, row: &Draw, place: usize) -> Cell {
        let pick = usize::from(row.picks[place % row.picks.len()]);
        let of = |pool: &[Cell]| pool[pick / 8 % pool.len()].clone();
        let rarely = pick % 8 == 7;
        match role {
            Role::Key(_) | Role::Link(_) if rarely && self.assigns_keys() => Cell::Null,
            Role::Link(0) if self.shape.sharing == Sharing::OneTable && pick % 2 == 0 => Cell::Null,
            Role::Key(at) | Role::Link(at) => of(&self.key_pool(at)),
            Role::Number if pick % 2 == 0 => Cell::Null,
            Role::Number => of(&[text("n1"), text("n2"), text("n3")]),
            Role::Tag if rarely || pick % 8 == 6 => text("A"),
            Role::Tag => text("F"),
            Role::Deleted => Cell::Integer(i64::from(rarely)),
            Role::Position if pick % 32 == 31 => Cell::Integer(9),
            Role::Position => Cell::Integer(pick as i64 / 8 % 4),
            // SQLite assigns a rowid; a TEXT key would be NULL, and such a line cannot be told from another one.
            Role::RowKey if rarely && self.shape.line_key != LineKey::Text => Cell::Null,
            Role::RowKey | Role::RowLink => {
                let pool: Vec<Cell> = (1..9).map(Cell::Integer).collect();
                of(&pool)
            }
            Role::Value => row.values[place % row.values.len()].clone(),
            Role::Generated => Cell::Null,
        }
    }
}
