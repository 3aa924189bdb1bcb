//! Compares every piece with its last committed image.

use super::check::CheckSearch;
use super::database::Database;
use super::keyed_rows::KeyedRows;
use super::lost::LostSearch;
use super::snapshot::{Stored, StoredPart};
use super::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Statement, Value, ValueRef};
use crate::storage::guard::{Guard, Part, parameters};
use crate::storage::json_reader::Unread;
use crate::storage::key::Key;
use crate::storage::payload_reader::{Parts, read};
use crate::storage::shape::{quote_identifier, quote_list};
use std::collections::VecDeque;
use std::rc::Rc;

/// What is wrong with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its header is there, its lines are not, and a snapshot has lines.
    Lost,
    /// It has fewer or other lines than its last image.
    Partial,
    /// The same lines, other values.
    Drifted,
    /// Its header is gone, and no DELETE is recorded.
    Vanished,
    /// It was deposited, and none of it was written.
    Staged,
    /// Lines whose header is gone.
    Orphaned,
    /// It was changed where nobody watched.
    Unguarded,
    /// It has no snapshot.
    Unprotected,
    /// It violates a check.
    Check,
}

impl Kind {
    /// All, in the order they are looked for.
    pub const ALL: [Kind; 9] = [
        Kind::Lost,
        Kind::Partial,
        Kind::Drifted,
        Kind::Vanished,
        Kind::Staged,
        Kind::Orphaned,
        Kind::Unguarded,
        Kind::Unprotected,
        Kind::Check,
    ];

    /// As the audit shows it.
    pub fn text(self) -> &'static str {
        match self {
            Kind::Lost => "lost",
            Kind::Partial => "partial",
            Kind::Drifted => "drifted",
            Kind::Vanished => "vanished",
            Kind::Staged => "staged",
            Kind::Orphaned => "orphaned",
            Kind::Unguarded => "unguarded",
            Kind::Unprotected => "unprotected",
            Kind::Check => "check",
        }
    }
}

/// One finding.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The kind's name.
    pub kind: String,
    /// The piece.
    pub piece: Value,
    /// What is wrong.
    pub finding: Kind,
    /// In words.
    pub detail: String,
}

/// A scan over one kind, one sort of question after the other.
enum Scan {
    Lost(Box<LostSearch>),
    /// Saved pieces against their images.
    Images(Statement),
    Orphaned(Statement),
    Unguarded(Statement),
    Unprotected(Statement),
    Checks(Box<CheckSearch>),
    /// The guard does not fit any more.
    NotChecked(Option<String>),
}

/// An audit under way.
pub struct Audit {
    database: usize,
    /// Kinds and questions still to come.
    ahead: VecDeque<(usize, Kind)>,
    wanted: Option<Kind>,
    piece: Option<Value>,
    scan: Option<(usize, Scan)>,
}

impl Audit {
    /// Begins an audit of some kinds, for one sort of finding or all, of one piece or all.
    pub fn begin(
        database: usize,
        kinds: &[usize],
        wanted: Option<Kind>,
        piece: Option<Value>,
    ) -> Audit {
        let mut ahead = VecDeque::new();
        for kind in kinds {
            // Partial, drifted, vanished and staged are found in one go, under the first of them.
            let questions = [
                Kind::Lost,
                Kind::Partial,
                Kind::Orphaned,
                Kind::Unguarded,
                Kind::Unprotected,
                Kind::Check,
            ];
            for question in questions {
                let is_wanted = wanted.is_none_or(|wanted| {
                    wanted == question
                        || question == Kind::Partial
                            && matches!(wanted, Kind::Drifted | Kind::Vanished | Kind::Staged)
                });
                if is_wanted {
                    ahead.push_back((*kind, question));
                }
            }
        }
        Audit { database, ahead, wanted, piece, scan: None }
    }

    /// The next finding.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn find_next(&mut self, talon: &Talon) -> Result<Option<Finding>> {
        let mut databases = talon.databases()?;
        let database = databases
            .get_mut(self.database)
            .ok_or_else(|| Error::Argument("the database was detached".to_owned()))?;
        loop {
            if self.scan.is_none() {
                let Some((kind, question)) = self.ahead.pop_front() else {
                    return Ok(None);
                };
                self.scan = self.start(database, kind, question)?.map(|scan| (kind, scan));
                continue;
            }
            let Some((kind, scan)) = &mut self.scan else {
                continue;
            };
            let kind = *kind;
            let name = &database.kinds[kind].name.clone();
            let finding = |piece: Value, finding: Kind, detail: String| Finding {
                kind: name.clone(),
                piece,
                finding,
                detail,
            };
            let found = match scan {
                Scan::NotChecked(problem) => problem.take().map(|problem| {
                    self.ahead.retain(|(ahead, question)| *ahead != kind || *question == Kind::Unguarded);
                    let detail = format!("no piece of {name} is watched or checked: {problem}; declare the guard anew");
                    Some(finding(Value::Null, Kind::Unprotected, detail))
                }),
                Scan::Lost(search) => match search.find_next()? {
                    None => None,
                    Some(lost) => {
                    let lines = lost.lines;
                    let detail = format!(
                        "its last image has {lines} line{}",
                        if lines == 1 { "" } else { "s" }
                    );
                    Some(Some(finding(lost.key.shown()?, Kind::Lost, detail)))
                    }
                },
                Scan::Checks(search) => search.find_next()?.map(|found| {
                    Some(finding(found.piece, Kind::Check, found.detail))
                }),
                Scan::Images(statement) => {
                    if statement.step()? {
                        let piece = statement.column(0).to_value()?;
                        let (last, lines) =
                            (statement.column(1).as_integer(), statement.column(2).as_integer());
                        let staged = statement.column(3).as_integer() == Some(1);
                        let compared = database.compare(kind, &piece, last, lines.unwrap_or(0))?;
                        let compared = match (compared, last) {
                            (Some((Kind::Vanished, _)), Some(last)) if staged => {
                                let deposit = database.deposit(last)?;
                                deposit.map(|deposit| (Kind::Staged, deposit.describe(talon)))
                            }
                            (compared, _) => compared,
                        };
                        let compared = compared
                            .filter(|(found, _)| self.wanted.is_none_or(|wanted| wanted == *found));
                        Some(compared.map(|(found, detail)| finding(piece, found, detail)))
                    } else {
                        None
                    }
                }
                Scan::Orphaned(statement) => {
                    if statement.step()? {
                        let columns = database.guard(kind)?.header().key.len();
                        let key = Key::of(statement.values(0..columns)?);
                        let lines = statement.column(columns).as_integer().unwrap_or(0);
                        let detail = format!(
                            "{lines} line{} whose header is gone",
                            if lines == 1 { "" } else { "s" }
                        );
                        Some(Some(finding(key.shown()?, Kind::Orphaned, detail)))
                    } else {
                        None
                    }
                }
                Scan::Unguarded(statement) => {
                    if statement.step()? {
                        let at = statement.column(1).as_integer().unwrap_or(0);
                        let detail = statement.column(2).as_str().unwrap_or_default();
                        let detail = format!("{detail}, seen {}", talon.clock.shown(at));
                        let piece = statement.column(0).to_value()?;
                        Some(Some(finding(piece, Kind::Unguarded, detail)))
                    } else {
                        None
                    }
                }
                Scan::Unprotected(statement) => {
                    if statement.step()? {
                        let columns = database.guard(kind)?.header().key.len();
                        let key = Key::of(statement.values(0..columns)?);
                        let shown = key.shown()?;
                        let id = database.kinds[kind].id;
                        let is_saved = columns > 1
                            && database
                                .store()?
                                .piece(id, &shown)?
                                .is_some_and(|state| state.saved);
                        let found =
                            finding(shown, Kind::Unprotected, "it has no snapshot".to_owned());
                        Some((!is_saved).then_some(found))
                    } else {
                        None
                    }
                }
            };
            match found {
                None => self.scan = None,
                Some(None) => {}
                Some(Some(finding)) => {
                    let is_wanted = self
                        .piece
                        .as_ref()
                        .is_none_or(|piece| piece.as_ref().equals(finding.piece.as_ref()));
                    if is_wanted {
                        return Ok(Some(finding));
                    }
                }
            }
        }
    }

    fn start(&self, database: &mut Database, kind: usize, question: Kind) -> Result<Option<Scan>> {
        let schema = quote_identifier(&database.schema);
        let id = [ValueRef::Integer(database.kinds[kind].id)];
        let piece = self.piece.as_ref().map(Value::as_ref);
        let connection = database.connection;
        let one_piece = if piece.is_some() { " AND key = ?2" } else { "" };
        let only_staged = if self.wanted == Some(Kind::Staged) { " AND version < 0" } else { "" };
        let values: Vec<ValueRef<'_>> = id.into_iter().chain(piece).collect();
        if question == Kind::Unguarded {
            let mut statement = connection.prepare(&format!(
                "SELECT key, at, detail FROM {schema}.talon_unguarded WHERE kind = ?1{one_piece} ORDER BY id"
            ))?;
            statement.start(&values)?;
            return Ok(Some(Scan::Unguarded(statement)));
        }
        let guard = match database.guard(kind) {
            Ok(guard) => guard,
            // A kind that cannot be looked at must not pass for one with nothing wrong.
            Err(Error::Definition { problem, .. }) if self.wanted != Some(Kind::Lost) => {
                return Ok(Some(Scan::NotChecked(Some(problem))));
            }
            Err(error) => return Err(error),
        };
        if question == Kind::Check {
            let search = CheckSearch::begin(database, kind, self.piece.as_ref())?;
            return Ok(search.map(|search| Scan::Checks(Box::new(search))));
        }
        Ok(Some(match question {
            Kind::Lost => {
                let columns = guard.header().key.len();
                let key = match piece {
                    Some(piece) => Key::from_shown(piece, columns)?,
                    None => None,
                };
                let search = LostSearch::begin(database, kind, key.as_ref())?;
                return Ok(search.map(|search| Scan::Lost(Box::new(search))));
            }
            Kind::Orphaned => {
                let Some(lines) = guard.lines() else { return Ok(None) };
                let mut statement =
                    connection.prepare(&orphans(&guard, lines, &database.schema))?;
                statement.start(&[])?;
                Scan::Orphaned(statement)
            }
            Kind::Unprotected => {
                let mut statement =
                    connection.prepare(&without_snapshot(&guard, &database.schema))?;
                statement.start(&id)?;
                Scan::Unprotected(statement)
            }
            _ => {
                let mut statement = connection.prepare(&format!(
                    "SELECT key, last, lines, version < 0 FROM {schema}.talon_piece
                     WHERE kind = ?1 AND saved = 1 AND gone_at IS NULL{one_piece}{only_staged}"
                ))?;
                statement.start(&values)?;
                Scan::Images(statement)
            }
        }))
    }
}

/// Lines that refer to a header that is not there, by what they refer to.
fn orphans(guard: &Guard, lines: &Part, schema: &str) -> String {
    let header = guard.header();
    let links = quote_list("l.", &lines.link);
    let present: Vec<String> =
        lines.link.iter().map(|link| format!("l.{} IS NOT NULL", quote_identifier(link))).collect();
    let link_values: Vec<String> =
        lines.link.iter().map(|link| format!("l.{}", quote_identifier(link))).collect();
    format!(
        "SELECT {links}, count(*) FROM {} WHERE {}{} AND NOT EXISTS (SELECT 1 FROM {} WHERE {}) GROUP BY {}",
        lines.from_clause(schema),
        present.join(" AND "),
        lines.and_condition(),
        header.from_clause(schema),
        guard.header_matches(&link_values),
        parameters(lines.link.len())
            .iter()
            .map(|place| place.replace('?', ""))
            .collect::<Vec<_>>()
            .join(", "),
    )
}

/// Headers that no snapshot is stored of; those with composite keys are sifted by the caller.
fn without_snapshot(guard: &Guard, schema: &str) -> String {
    let header = guard.header();
    let saved = if let [key] = header.key.as_slice() {
        // The unary plus takes the column's affinity off, so that the index over the keys can be used.
        format!(
            " AND NOT EXISTS (SELECT 1 FROM {}.talon_piece AS p WHERE p.kind = ?1 AND p.saved = 1 AND p.key = +h.{})",
            quote_identifier(schema),
            quote_identifier(key)
        )
    } else {
        " AND ?1 IS NOT NULL".to_owned()
    };
    let present: Vec<String> =
        header.key.iter().map(|key| format!("h.{} IS NOT NULL", quote_identifier(key))).collect();
    format!(
        "SELECT {} FROM {} WHERE {}{}{saved}",
        quote_list("h.", &header.key),
        header.from_clause(schema),
        present.join(" AND "),
        header.and_condition()
    )
}

impl Database {
    /// Compares a piece with its last image.
    fn compare(
        &mut self,
        kind: usize,
        piece: &Value,
        last: Option<i64>,
        lines: i64,
    ) -> Result<Option<(Kind, String)>> {
        let guard = self.guard(kind)?;
        let columns = guard.header().key.len();
        let (Some(key), Some(last)) = (Key::from_shown(piece.as_ref(), columns)?, last) else {
            return Ok(None);
        };
        if !self.read(kind, &key)? {
            return Ok(match self.own_key(kind, &key)? {
                // It is of another kind by now.
                Some(_) => None,
                None => {
                    let what = if guard.is_of_records() { "it" } else { "its header" };
                    Some((Kind::Vanished, format!("{what} is gone, and no DELETE was seen")))
                }
            });
        }
        if self.image.lines == 0 && lines > 0 {
            return Ok(None);
        }
        let sql = format!(
            "SELECT hash FROM {}.talon_snapshot WHERE id = ?1",
            quote_identifier(&self.schema)
        );
        let hash = self
            .statement(kind, &sql)?
            .first(&[ValueRef::Integer(last)], |row| row.column(0).to_value())?;
        let now = blake3::hash(&self.image.payload);
        if hash.is_some_and(|hash| hash.as_ref().same(ValueRef::Blob(now.as_bytes()))) {
            return Ok(None);
        }
        let mut stored = match self.stored(last) {
            Ok(stored) => stored,
            Err(Error::Unreadable { problem, .. }) => {
                return Ok(Some((
                    Kind::Drifted,
                    format!("its last image, snapshot {last}, is damaged: {problem}"),
                )));
            }
            Err(error) => return Err(error),
        };
        stored.follow_renames(&guard);
        let present = read(&self.image.payload).map_err(|unread| unread.of_snapshot(last))?;
        differences(&guard, &stored, &present)
    }

    /// Whether the piece just read differs from a snapshot of it in nothing but columns or parts that came or went.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn has_same_values(&mut self, kind: usize, snapshot: Option<i64>) -> Result<bool> {
        let guard = self.guard(kind)?;
        let Some(snapshot) = snapshot else {
            return Ok(false);
        };
        let mut stored = match self.stored(snapshot) {
            Ok(stored) => stored,
            Err(Error::Unreadable { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        stored.follow_renames(&guard);
        match read(&self.image.payload) {
            Ok(present) => Ok(differences(&guard, &stored, &present)?.is_none()),
            Err(Unread::Memory) => Err(Error::Memory),
            Err(Unread::Damaged(_)) => Ok(false),
        }
    }
}

/// Says how a piece differs from its image: pure.
fn differences(
    guard: &Rc<Guard>,
    stored: &Stored,
    present: &Parts,
) -> Result<Option<(Kind, String)>> {
    let mut rows_differ = Vec::new();
    let mut values_differ = Listed::default();
    let mut is_partial = false;
    for part in &guard.parts {
        let Some(before) = stored.part(&part.name) else {
            continue;
        };
        let rows: &[Vec<Value>] = present
            .iter()
            .find(|(name, _)| *name == part.name)
            .map_or(&[], |(_, rows)| rows.as_slice());
        let key_now = part.places(&part.key);
        let Some(key_before) = places(before, &part.key) else {
            continue;
        };
        let key_of = |row: &[Value], at: &[usize]| -> Key {
            Key::of(at.iter().map(|at| row[*at].clone()).collect())
        };
        let both: Vec<(usize, usize)> = part
            .columns
            .iter()
            .enumerate()
            .filter_map(|(now, column)| {
                before.columns.iter().position(|name| name == column).map(|was| (was, now))
            })
            .collect();
        let now_by_key = KeyedRows::new(rows, key_now.clone())?;
        let mut missing = Listed::default();
        for row in &before.rows {
            let Some(now) = now_by_key.find(row, &key_before) else {
                missing.add(|| key_of(row, &key_before).to_string());
                continue;
            };
            for (was, is) in both.iter().filter(|(was, is)| row[*was] != now[*is]) {
                values_differ.add(|| {
                    format!(
                        "{} {}: {} was {}, is {}",
                        part.name,
                        key_of(row, &key_before),
                        part.columns[*is],
                        brief(&row[*was]),
                        brief(&now[*is])
                    )
                });
            }
        }
        let before_by_key = KeyedRows::new(&before.rows, key_before)?;
        let mut added = Listed::default();
        for row in rows.iter().filter(|row| before_by_key.find(row, &key_now).is_none()) {
            added.add(|| key_of(row, &key_now).to_string());
        }
        for (keys, what) in [(missing, "missing"), (added, "added")] {
            if keys.count > 0 {
                is_partial |= part.name == "lines";
                rows_differ.insert(0, format!("{} {what}: {}", part.name, keys.cut()));
            }
        }
    }
    if rows_differ.is_empty() && values_differ.count == 0 {
        // Only columns that came or went since; the values are the same.
        return Ok(None);
    }
    let mut found = Listed::default();
    for text in rows_differ {
        found.add(|| text);
    }
    found.append(values_differ);
    let finding = if is_partial { Kind::Partial } else { Kind::Drifted };
    Ok(Some((finding, found.cut())))
}

fn places(part: &StoredPart, columns: &[String]) -> Option<Vec<usize>> {
    columns.iter().map(|name| part.columns.iter().position(|column| column == name)).collect()
}

/// Texts of a list that a person is shown at most.
const MOST_LISTED: usize = 10;

/// The first texts of a list, and how many there are in all.
#[derive(Default)]
struct Listed {
    texts: Vec<String>,
    count: usize,
}

impl Listed {
    fn add(&mut self, text: impl FnOnce() -> String) {
        if self.texts.len() < MOST_LISTED {
            self.texts.push(text());
        }
        self.count += 1;
    }

    fn append(&mut self, other: Listed) {
        let untold = other.count - other.texts.len();
        for text in other.texts {
            self.add(|| text);
        }
        self.count += untold;
    }

    /// The first ten, and how many more there are.
    fn cut(&self) -> String {
        let shown = self.texts.join("; ");
        match self.count - self.texts.len() {
            0 => shown,
            more => format!("{shown}; and {more} more"),
        }
    }
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
