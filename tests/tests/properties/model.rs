//! The reference: pieces as plain joins over the host's tables show them, and what must have become of their states.

use super::cell::{Cell, Row, query};
use super::schema::{Kind, Part, Schema, Table, quote, quoted_list};
use super::statement::Statement;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The place of a kind, and a header's key.
pub type Piece = (usize, Row);
/// All rows of a piece by part, sorted.
pub type Image = BTreeMap<String, Vec<Row>>;
pub type Pieces = BTreeMap<Piece, Image>;

pub fn has_lines(image: &Image) -> bool {
    image.get("lines").is_some_and(|lines| !lines.is_empty())
}

/// Joins header and child as SQLite's foreign keys compare: what is referred to stands on the left.
fn joined(header: &Table, kind: &Kind, part: &Part, table: &Table, alias: &str) -> String {
    let terms: Vec<String> = header
        .key
        .iter()
        .zip(&part.link)
        .map(|(key, link)| format!("h.{} = {alias}.{}", quote(key), quote(link)))
        .collect();
    let conditions = kind.condition.iter().chain(&part.condition);
    let conditions: String = conditions.map(|condition| format!(" AND ({condition})")).collect();
    format!("JOIN {} AS {alias} ON {}{conditions}", quote(&table.name), terms.join(" AND "))
}

/// Every piece of every kind, as it is now.
pub fn read_pieces(connection: &Connection, schema: &Schema) -> Result<Pieces, String> {
    let mut pieces = Pieces::new();
    for (at, kind) in schema.kinds.iter().enumerate() {
        let header = &schema.tables[kind.header];
        let key = quoted_list("h.", &header.key);
        let from = format!("FROM {} AS h", quote(&header.name));
        let mut add = |name: &str, sql: &str| -> Result<(), String> {
            for mut row in query(connection, sql)? {
                let values = row.split_off(header.key.len());
                if !row.contains(&Cell::Null) {
                    let row = row.into_iter().map(Cell::identity).collect();
                    pieces
                        .entry((at, row))
                        .or_default()
                        .entry(name.to_owned())
                        .or_default()
                        .push(values);
                }
            }
            Ok(())
        };
        let condition = kind.condition.as_deref().unwrap_or("1");
        add(
            "header",
            &format!(
                "SELECT {key}, {} {from} WHERE {condition}",
                quoted_list("h.", &header.stored())
            ),
        )?;
        let lines = &kind.parts[0];
        let lines_table = &schema.tables[lines.table];
        let to_lines = joined(header, kind, lines, lines_table, "l");
        for part in &kind.parts {
            let table = &schema.tables[part.table];
            let (joins, alias) = if part.of_lines {
                let link = format!("l.{} = d.{}", quote(&lines_table.key[0]), quote(&part.link[0]));
                (format!("{to_lines} JOIN {} AS d ON {link}", quote(&table.name)), "d.")
            } else {
                (joined(header, kind, part, table, "l"), "l.")
            };
            let columns = quoted_list(alias, &table.stored());
            add(&part.name, &format!("SELECT {key}, {columns} {from} {joins}"))?;
        }
    }
    for image in pieces.values_mut() {
        image.values_mut().for_each(|rows| rows.sort());
    }
    Ok(pieces)
}

/// Which connection a transaction ran on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    Talon,
    /// One without the extension: nothing is imaged until Talon absorbs the marks.
    Bare,
}

/// What is known from the committed states alone.
#[derive(Default)]
pub struct Model {
    pub committed: Pieces,
    working: Pieces,
    /// Every state that was ever committed: a snapshot of anything else is wrong.
    pub history: HashSet<(usize, Image)>,
    /// States that must have a snapshot.
    pub due: Vec<(usize, Image)>,
    /// The newest state with lines of a piece.
    pub newest: BTreeMap<Piece, Image>,
    /// REPLACE on a child table changed them unseen, by the last commit that changed them.
    pub stolen: BTreeSet<Piece>,
    /// They changed on a bare connection since Talon last saw them; with the state that Talon knows.
    pub unseen: BTreeMap<Piece, Option<Image>>,
    /// They went, came or were renamed in a way that the committed states do not tell.
    pub ambiguous: BTreeSet<Piece>,
    pub ever_stolen: BTreeSet<Piece>,
    /// A commit changed them since they were guarded.
    pub changed: BTreeSet<Piece>,
    stolen_now: BTreeSet<Piece>,
    moves_now: bool,
}

impl Model {
    pub fn begin(pieces: Pieces) -> Model {
        let mut model = Model { working: pieces.clone(), committed: pieces, ..Model::default() };
        for (piece, image) in &model.committed {
            model.history.insert((piece.0, image.clone()));
            if has_lines(image) {
                model.newest.insert(piece.clone(), image.clone());
            }
        }
        model
    }

    /// A statement ran and left these pieces; `committed` when no transaction is open after it.
    pub fn ran(&mut self, hand: Hand, statement: &Statement, pieces: Pieces, committed: bool) {
        let changed = differing(&self.working, &pieces);
        if statement.replaces_children {
            self.stolen_now.extend(changed.iter().cloned());
        }
        self.moves_now |= statement.moves_pieces;
        self.working = pieces;
        if committed {
            self.commit(hand);
        }
    }

    fn commit(&mut self, hand: Hand) {
        for piece in differing(&self.committed, &self.working) {
            let before = self.committed.get(&piece).cloned();
            let now = self.working.get(&piece).cloned();
            if self.moves_now {
                self.ambiguous.insert(piece.clone());
            }
            if let Some(now) = &now {
                self.history.insert((piece.0, now.clone()));
            }
            let was_stolen = self.stolen.remove(&piece);
            match hand {
                Hand::Talon => {
                    let before = before.filter(|before| has_lines(before) && !was_stolen);
                    let now = now
                        .clone()
                        .filter(|now| has_lines(now) && !self.stolen_now.contains(&piece));
                    if !self.stolen_now.contains(&piece) {
                        self.due
                            .extend(before.into_iter().chain(now).map(|image| (piece.0, image)));
                    }
                    self.unseen.remove(&piece);
                }
                Hand::Bare => {
                    self.unseen.entry(piece.clone()).or_insert(before);
                }
            }
            if self.stolen_now.contains(&piece) {
                self.stolen.insert(piece.clone());
                self.ever_stolen.insert(piece.clone());
            }
            match now {
                Some(now) if has_lines(&now) => {
                    self.newest.insert(piece.clone(), now);
                }
                Some(_) => {}
                None => {
                    self.newest.remove(&piece);
                }
            }
            self.changed.insert(piece);
        }
        self.committed = self.working.clone();
        self.stolen_now.clear();
        self.moves_now = false;
    }

    /// Whether a piece is lost: None where the committed states do not say.
    pub fn is_lost(&self, piece: &Piece) -> Option<bool> {
        let Some(image) = self.committed.get(piece) else { return Some(false) };
        if has_lines(image) {
            return Some(false);
        }
        if self.ambiguous.contains(piece) || self.ever_stolen.contains(piece) {
            return None;
        }
        Some(self.newest.contains_key(piece))
    }
}

fn differing(before: &Pieces, after: &Pieces) -> Vec<Piece> {
    let keys: BTreeSet<&Piece> = before.keys().chain(after.keys()).collect();
    keys.into_iter().filter(|piece| before.get(*piece) != after.get(*piece)).cloned().collect()
}
