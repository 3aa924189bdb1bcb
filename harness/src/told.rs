//! Steps whose effect on the host's tables is known by Talon's journal alone, because it depends on what is lost: Talon
//! runs first, and the run without it writes the images that the journal names. Whether these are right is judged by what
//! was committed, as for all images.

use crate::bench::Bench;
use crate::model::{Excluded, Outcome};
use crate::observe::parts;
use crate::scenario::{Detail, Journaled, Pieces};
use crate::session::{Act, FOREIGN_KEYS_AT_ONCE, Session};
use crate::tables::{self, PieceKey, Rows, primary_key, quote, stored_columns};
use crate::vfs::{Connection, Executed, Failure, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What Talon said of a step.
#[derive(Debug, Default)]
pub struct Said {
    /// The error that the host was told of.
    failure: Option<Failure>,
    /// What the restores come to, as SQL.
    sql: Vec<String>,
    /// The pieces restored.
    pub restored: BTreeSet<PieceKey>,
}

/// What Talon said of the journaled statements, by their place.
pub type Told = BTreeMap<usize, Said>;

impl Said {
    /// The same without Talon.
    pub fn outcome(&self, session: &mut Session<'_>, act: &Act) -> Outcome {
        let act = Act { instead: Some(self.sql.clone()), journaled: None, ..act.clone() };
        let mut outcome = Outcome::of(session, &act);
        if let Some(failure) = &self.failure {
            outcome.executed = Executed { rows: Vec::new(), failure: Some(failure.clone()) };
            outcome.commits = false;
        }
        outcome
    }
}

const ERROR: i32 = 1;
const BUSY: i32 = 5;
const CONSTRAINT: i32 = 19;

/// Whether Talon may refuse a step so: what another station has, or is doing, and calls that say what would fit.
fn may_refuse(failure: &Failure, others_work: bool) -> bool {
    let calls =
        ["talon_edit_begin:", "talon_edit_end:", "talon_edit_release:", "talon_restore_all:"];
    match failure.primary() {
        BUSY => others_work,
        CONSTRAINT | ERROR => calls.iter().any(|call| failure.text.starts_with(call)),
        _ => false,
    }
}

impl Bench<'_> {
    /// Runs the script with Talon, without the excluded statements, and notes what the journaled ones come to.
    ///
    /// # Errors
    /// What should not fail, or is refused where it should not be.
    pub fn told(&self, excluded: &Excluded) -> Result<Told, String> {
        let mut told = Told::new();
        let script = self.script;
        if script.acts.iter().all(|act| act.journaled.is_none()) {
            return Ok(told);
        }
        let disk = self.guarded()?;
        let library = self.options.library.as_path();
        let mut session = Session::new(&disk, self.setting, Some(library), script);
        let plain = |failure: Failure| failure.to_string();
        for (place, act) in script.acts.iter().enumerate() {
            if place == script.setup {
                session.close_all().map_err(plain)?;
            }
            if excluded.contains(&place) {
                continue;
            }
            match act.journaled {
                Some(journaled) => {
                    let said = self.ask(&mut session, act, journaled)?;
                    told.insert(place, said);
                }
                None => drop(Outcome::of(&mut session, act)),
            }
            if act.closes {
                session.close(act.on).map_err(plain)?;
            }
        }
        session.close_all().map_err(plain)?;
        Ok(told)
    }

    fn ask(
        &self,
        session: &mut Session<'_>,
        act: &Act,
        journaled: Journaled,
    ) -> Result<Said, String> {
        let problem = |failure: Failure| format!("the journal at {}: {failure}", act.sql);
        let others_work = (0..self.script.hosts.len())
            .any(|other| other != act.on && !session.is_autocommit(other));
        let was_autocommit = session.is_autocommit(act.on);
        let connection = session.connection(act.on).map_err(problem)?;
        let newest = newest_restored(connection).map_err(problem)?;
        let executed = connection.execute(&act.sql);
        if let Some(failure) = &executed.failure
            && !may_refuse(failure, others_work)
        {
            return Err(format!("with Talon, {}: {failure}", act.sql));
        }
        let mut said = self.restored_since(connection, newest, journaled).map_err(problem)?;
        let sql = &mut said.sql;
        if !sql.is_empty() {
            // Rows refer to each other: keys are looked at when all are there.
            sql.insert(0, "PRAGMA defer_foreign_keys = ON".to_owned());
            sql.push(FOREIGN_KEYS_AT_ONCE.to_owned());
            if was_autocommit {
                sql.insert(0, "BEGIN".to_owned());
                sql.push("COMMIT".to_owned());
            }
        }
        if act.rolls_back {
            session.roll_back(act.on);
        }
        Ok(Said { failure: executed.failure, ..said })
    }

    /// What was restored since a row of the journal, as SQL, and which pieces.
    fn restored_since(
        &self,
        connection: &Connection,
        newest: i64,
        journaled: Journaled,
    ) -> Result<Said, Failure> {
        let rows = connection.query(&format!(
            "SELECT r.kind, r.piece, s.payload, c.columns FROM talon_restored AS r
               JOIN talon_snapshot AS s ON s.id = r.snapshot JOIN talon_shape AS c ON c.id = s.shape
              WHERE r.id > {newest} AND r.dry_run = 0 AND r.outcome LIKE 'restored%' ORDER BY r.id"
        ))?;
        let mut said = Said::default();
        for row in rows {
            let [kind, piece, Value::Text(payload), Value::Text(columns)] = row.as_slice() else {
                continue;
            };
            let kind = kind.text().unwrap_or_default();
            let place = self.scenario.pieces.iter().position(|pieces| pieces.kind == kind);
            if let (Some(place), Some(parts)) = (place, parts(payload, columns)) {
                let pieces = &self.scenario.pieces[place];
                let key = key_of(pieces, piece);
                said.restored.insert((place, key.clone()));
                Restoring { connection, pieces, key, parts }.add(journaled, &mut said.sql)?;
            }
        }
        Ok(said)
    }
}

fn newest_restored(connection: &Connection) -> Result<i64, Failure> {
    let rows = connection.query("SELECT ifnull(max(id), 0) FROM talon_restored")?;
    Ok(rows.first().and_then(|row| row.first()?.integer()).unwrap_or(0))
}

/// The values of a key as the journal shows it.
fn key_of(pieces: &Pieces, shown: &Value) -> Vec<Value> {
    let list = shown.text().filter(|_| pieces.key.len() > 1);
    match list.and_then(|list| serde_json::from_str::<Vec<serde_json::Value>>(list).ok()) {
        Some(values) => values.iter().filter_map(crate::observe::value).collect(),
        None => vec![shown.clone()],
    }
}

/// A piece that is given back.
struct Restoring<'a> {
    connection: &'a Connection,
    pieces: &'a Pieces,
    /// As it is now: a header may have got another key since.
    key: Vec<Value>,
    parts: Vec<Rows>,
}

fn is(columns: &[String], values: &[Value], alias: &str) -> String {
    let terms = columns.iter().zip(values);
    let terms: Vec<String> =
        terms.map(|(column, value)| format!("{alias}{} IS {value}", quote(column))).collect();
    terms.join(" AND ")
}

fn list(columns: &[String]) -> String {
    columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ")
}

impl Restoring<'_> {
    /// The rows of a part, with the key that the piece has now in place of the one that it had.
    fn rows(&self, name: &str, references: &[String], key: &[Value]) -> Option<Rows> {
        let mut part = self.parts.iter().find(|(part, ..)| part == name)?.clone();
        for (reference, value) in references.iter().zip(key) {
            let place = part.1.iter().position(|column| column.eq_ignore_ascii_case(reference));
            for row in &mut part.2 {
                if let Some(held) = place.and_then(|place| row.get_mut(place)) {
                    held.clone_from(value);
                }
            }
        }
        Some(part)
    }

    fn add(&self, journaled: Journaled, sql: &mut Vec<String>) -> Result<(), Failure> {
        let Pieces { header, lines, .. } = self.pieces;
        let mut writes = Vec::new();
        let header_rows = self.rows("header", &self.pieces.key, &self.key);
        let line_rows = self.rows("lines", &self.pieces.piece, &self.key);
        let lines_where = self.pieces.lines_where.as_deref().unwrap_or("1");
        let of_piece = format!("{} AND ({lines_where})", is(&self.pieces.piece, &self.key, "l."));
        for detail in &self.pieces.details {
            // What of a line's key is the piece's is the piece's of today.
            let (references, key): (Vec<String>, Vec<Value>) = match detail.line_key.is_empty() {
                true => (detail.piece.clone(), self.key.clone()),
                false => {
                    let pairs = detail.line_key.iter().zip(&detail.piece);
                    let pairs = pairs.filter_map(|(of_line, reference)| {
                        let place = self.pieces.piece.iter().position(|name| name == of_line)?;
                        Some((reference.clone(), self.key.get(place)?.clone()))
                    });
                    pairs.unzip()
                }
            };
            let Some(rows) = self.rows(&detail.name, &references, &key) else { continue };
            if journaled == Journaled::Whole {
                let of_parent = match detail.line_key.is_empty() {
                    true => is(&detail.piece, &self.key, "d."),
                    // Rows that were left behind by lines that come back are theirs again.
                    false => format!(
                        "(({}) IN (SELECT {} FROM {} AS l WHERE {of_piece}){})",
                        list(&detail.piece),
                        list(&detail.line_key),
                        quote(lines),
                        self.of_lines(detail, line_rows.as_ref())
                    ),
                };
                sql.push(self.removal(&detail.table, "d", &of_parent, &rows)?);
            }
            writes.extend(self.upserts(&detail.table, &rows)?);
        }
        if let Some(rows) = line_rows {
            if journaled == Journaled::Whole {
                sql.push(self.removal(lines, "l", &of_piece, &rows)?);
            }
            writes.splice(0..0, self.upserts(lines, &rows)?);
        }
        if let Some(rows) = header_rows {
            writes.splice(0..0, self.upserts(header, &rows)?);
        }
        sql.extend(writes);
        Ok(())
    }

    /// Or they hang on one of these lines.
    fn of_lines(&self, detail: &Detail, lines: Option<&Rows>) -> String {
        let rows =
            lines.iter().flat_map(|(_, columns, rows)| rows.iter().map(move |row| (columns, row)));
        let key = |(columns, row): (&Vec<String>, &Vec<Value>)| {
            tables::values_of(columns, &detail.line_key, row)
        };
        rows.map(|row| format!(" OR {}", is(&detail.piece, &key(row), "d."))).collect()
    }

    /// Takes away what the piece has and did not have then.
    fn removal(
        &self,
        table: &str,
        alias: &str,
        condition: &str,
        (_, columns, rows): &Rows,
    ) -> Result<String, Failure> {
        let key = primary_key(self.connection, table)?;
        let mut sql = format!("DELETE FROM {} AS {alias} WHERE {condition}", quote(table));
        let places: Vec<Option<usize>> =
            key.iter().map(|name| columns.iter().position(|column| column == name)).collect();
        for row in rows.iter().filter(|_| !key.is_empty()) {
            let values: Vec<Value> =
                places.iter().filter_map(|place| row.get((*place)?)).cloned().collect();
            sql.push_str(&format!(" AND NOT ({})", is(&key, &values, &format!("{alias}."))));
        }
        Ok(sql)
    }

    /// Writes rows, whether they are there or not.
    fn upserts(&self, table: &str, (_, columns, rows): &Rows) -> Result<Vec<String>, Failure> {
        let key = primary_key(self.connection, table)?;
        // Columns that are gone since are left out.
        let now = stored_columns(self.connection, table)?;
        let places: Vec<usize> =
            (0..columns.len()).filter(|place| now.contains(&columns[*place])).collect();
        let names: Vec<String> = places.iter().map(|place| columns[*place].clone()).collect();
        let set: Vec<String> = names
            .iter()
            .filter(|name| !key.contains(name))
            .map(|name| format!("{0} = excluded.{0}", quote(name)))
            .collect();
        let on_conflict = match (key.is_empty(), set.is_empty()) {
            (true, _) => String::new(),
            (false, true) => format!(" ON CONFLICT({}) DO NOTHING", list(&key)),
            (false, false) => {
                format!(" ON CONFLICT({}) DO UPDATE SET {}", list(&key), set.join(", "))
            }
        };
        let row_sql = |row: &Vec<Value>| {
            let values: Vec<String> =
                places.iter().filter_map(|place| row.get(*place)).map(Value::to_string).collect();
            format!(
                "INSERT INTO {}({}) VALUES ({}){on_conflict}",
                quote(table),
                list(&names),
                values.join(", ")
            )
        };
        Ok(rows.iter().map(row_sql).collect())
    }
}
