//! What Talon says of a file, and what it has stored there.

use crate::scenario::Scenario;
use crate::tables::{self, Rows};
use crate::vfs::{Connection, Failure, Value};
use std::collections::HashMap;

/// What Talon says, without times and numbers of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// `talon_audit`.
    pub findings: Vec<String>,
    /// `talon_lost`.
    pub lost: Vec<String>,
    /// `talon_edits`.
    pub edits: Vec<String>,
    /// `talon_restore` and `talon_purge`.
    pub journals: Vec<String>,
    /// `talon_guards`.
    pub guards: Vec<String>,
    /// Kind, key, reason and image of every snapshot.
    pub snapshots: Vec<String>,
}

impl Observed {
    /// In which words two differ; none where they do not.
    pub fn difference(&self, expected: &Observed) -> Option<String> {
        let pairs = [
            ("findings", &self.findings, &expected.findings),
            ("lost pieces", &self.lost, &expected.lost),
            ("edits", &self.edits, &expected.edits),
            ("journals", &self.journals, &expected.journals),
            ("guards", &self.guards, &expected.guards),
            ("snapshots", &self.snapshots, &expected.snapshots),
        ];
        let (name, found, expected) = pairs.into_iter().find(|(_, a, b)| a != b)?;
        Some(format!(
            "{name}: found {:?}, expected {:?}",
            only(found, expected),
            only(expected, found)
        ))
    }
}

/// What the first lines have and the second have not, as often as they have it more.
pub fn only(these: &[String], those: &[String]) -> Vec<String> {
    let mut rest = those.to_vec();
    let mut found = Vec::new();
    for one in these {
        match rest.iter().position(|other| other == one) {
            Some(place) => {
                rest.swap_remove(place);
            }
            None => found.push(one.clone()),
        }
    }
    found
}

/// A stored snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its number.
    pub id: i64,
    /// Place of its kind in the scenario.
    pub kind: usize,
    /// Its piece, as `talon_restore` names it.
    pub piece: Value,
    /// Lines in it.
    pub lines: i64,
    /// Why it was taken.
    pub reason: String,
    /// What it holds.
    pub image: String,
}

/// Payloads read before: most runs store the same ones.
#[derive(Default)]
pub struct Reader {
    known: HashMap<(Vec<u8>, Vec<u8>), String>,
}

impl Reader {
    /// The snapshots in a file, oldest first, read as the README says anybody can.
    ///
    /// # Errors
    /// What SQLite reports, or what a payload that cannot be read is like.
    pub fn snapshots(
        &mut self,
        connection: &Connection,
        scenario: &Scenario,
    ) -> Result<Vec<Snapshot>, String> {
        let rows = connection
            .query(
                "SELECT s.id, k.kind, s.key, s.lines, s.reason, s.payload, c.columns
                   FROM talon_snapshot AS s LEFT JOIN talon_kind AS k ON k.id = s.kind
                   LEFT JOIN talon_shape AS c ON c.id = s.shape WHERE s.kind <> 0 ORDER BY s.id",
            )
            .map_err(|failure| failure.to_string())?;
        let mut found = Vec::new();
        for row in rows {
            let [id, kind, piece, lines, reason, payload, columns] = row.as_slice() else {
                continue;
            };
            let bad = || format!("snapshot {id} of {kind} {piece}: {payload} with {columns}");
            let id_number = id.integer().ok_or_else(bad)?;
            let kind_name = kind.text().ok_or_else(bad)?;
            let kind = scenario
                .pieces
                .iter()
                .position(|pieces| pieces.kind == kind_name)
                .ok_or_else(bad)?;
            let (Value::Text(payload), Value::Text(columns)) = (payload, columns) else {
                return Err(bad());
            };
            let known = (payload.clone(), columns.clone());
            let image = match self.known.get(&known) {
                Some(image) => image.clone(),
                None => {
                    let image = tables::image(&parts(payload, columns).ok_or_else(bad)?);
                    self.known.insert(known, image.clone());
                    image
                }
            };
            found.push(Snapshot {
                id: id_number,
                kind,
                piece: piece.clone(),
                lines: lines.integer().ok_or_else(bad)?,
                reason: reason.text().ok_or_else(bad)?.to_owned(),
                image,
            });
        }
        Ok(found)
    }

    /// Has Talon absorb what it did not see, and reads all that it says.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn observe(
        &mut self,
        connection: &Connection,
        scenario: &Scenario,
    ) -> Result<Observed, String> {
        let read =
            |sql: &str| lines_of(connection, sql).map_err(|failure| format!("{sql}: {failure}"));
        read("SELECT talon_absorb()")?;
        let mut observed = Observed {
            findings: read("SELECT kind, piece, finding FROM talon_audit")?,
            lost: read("SELECT kind, piece, saved_lines, restorable FROM talon_lost")?,
            edits: read("SELECT kind, piece, station, user FROM talon_edits")?,
            journals: read(
                "SELECT 'restored', kind, piece, lines, outcome, note, dry_run FROM talon_restore",
            )?,
            guards: read("SELECT kind, triggers, marks, suspect_since IS NULL FROM talon_guards")?,
            snapshots: Vec::new(),
        };
        observed.journals.extend(read(
            "SELECT 'purged', before, purged, kept_lost, kept_edited, kept_last, note FROM talon_purge",
        )?);
        for snapshot in self.snapshots(connection, scenario)? {
            let Snapshot { kind, piece, reason, image, .. } = snapshot;
            observed.snapshots.push(format!("{kind} {piece} {reason} {image}"));
        }
        observed.snapshots.sort_unstable();
        Ok(observed)
    }
}

/// The rows of a query as text, sorted.
///
/// # Errors
/// What SQLite reports.
pub fn lines_of(connection: &Connection, sql: &str) -> Result<Vec<String>, Failure> {
    let mut found: Vec<String> = connection.query(sql)?.iter().map(|row| line(row)).collect();
    found.sort_unstable();
    Ok(found)
}

/// A row as text: its values as SQL spells them, joined by `|`.
pub fn line(row: &[Value]) -> String {
    row.iter().map(Value::to_string).collect::<Vec<_>>().join("|")
}

/// A payload with its shape's columns as the parts of an image; none where it is no such.
pub fn parts(payload: &[u8], columns: &[u8]) -> Option<Vec<Rows>> {
    let payload: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let columns: serde_json::Value = serde_json::from_slice(columns).ok()?;
    let (payload, columns) = (payload.as_object()?, columns.as_object()?);
    let mut parts = Vec::new();
    for (name, rows) in payload {
        let names = columns.get(name)?.as_array()?;
        let names = names.iter().map(|name| name.as_str().map(str::to_owned));
        // The header is one row, the others are rows.
        let rows = match name.as_str() {
            "header" => std::slice::from_ref(rows),
            _ => rows.as_array()?.as_slice(),
        };
        let rows = rows.iter().map(|row| row.as_array()?.iter().map(value).collect());
        parts.push((
            name.clone(),
            names.collect::<Option<Vec<_>>>()?,
            rows.collect::<Option<Vec<_>>>()?,
        ));
    }
    Some(parts)
}

/// A value as payloads and keys spell it; none where it is no such.
pub fn value(json: &serde_json::Value) -> Option<Value> {
    Some(match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Real(number.as_f64()?.to_bits()),
        },
        serde_json::Value::String(text) => Value::Text(text.as_bytes().to_vec()),
        serde_json::Value::Object(tagged) => {
            let (tag, text) = tagged.iter().next()?;
            let text = text.as_str()?;
            match tag.as_str() {
                "real" if text == "inf" => Value::Real(f64::INFINITY.to_bits()),
                "real" => Value::Real(f64::NEG_INFINITY.to_bits()),
                "text" => Value::Text(bytes(text)?),
                "blob" => Value::Blob(bytes(text)?),
                _ => return None,
            }
        }
        _ => return None,
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
