//! Stored snapshots, read back.

use super::database::Database;
use crate::error::Result;
use crate::sqlite::{Room, RoomForKeys, Value, ValueRef, gather};
use crate::storage::guard::{Guard, HEADER};
use crate::storage::json_reader::Unread;
use crate::storage::key::Key;
use crate::storage::payload_reader::read;
use std::collections::{HashMap, HashSet};

/// A snapshot's rows by part, with the names that their columns had.
#[derive(Debug)]
pub struct Stored {
    /// Its id.
    pub id: i64,
    /// Each part's name, columns and rows.
    pub parts: Vec<StoredPart>,
}

/// One part of a stored image.
#[derive(Debug)]
pub struct StoredPart {
    /// `header`, `lines`, or a detail's name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// Its rows, values in the order of the columns.
    pub rows: Vec<Vec<Value>>,
}

/// What is asked of a snapshot without reading its image.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its id.
    pub id: i64,
    /// How many lines it has.
    pub lines: i64,
    /// When it was taken, in ms since 1970.
    pub taken_at: i64,
    /// Why it was taken.
    pub reason: String,
}

impl Stored {
    /// The part of this name.
    pub fn part(&self, name: &str) -> Option<&StoredPart> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// The keys of a part's rows; none where the image has not all of these columns.
    ///
    /// # Errors
    /// When memory is short.
    pub fn keys(&self, part: &str, columns: &[String]) -> Result<HashSet<Vec<Value>>> {
        let Some(part) = self.part(part) else { return Ok(HashSet::new()) };
        let at: Option<Vec<usize>> = part.places(columns).into_iter().collect();
        let Some(at) = at else { return Ok(HashSet::new()) };
        let mut keys = HashSet::new();
        keys.make_room(part.rows.len())?;
        for row in &part.rows {
            keys.insert(gather(at.iter().filter_map(|at| row.get(*at)).cloned())?);
        }
        Ok(keys)
    }

    /// Gives an image that was taken while the piece had another key the present one: in its header, in the rows below that, and
    /// below rows whose own keys hold it.
    ///
    /// # Errors
    /// When memory is short.
    pub fn belong_to(&mut self, key: &Key, guard: &Guard) -> Result<()> {
        // By part: the keys of rows that have another one now, as they were.
        let mut moved: Vec<HashMap<Vec<Value>, Vec<Value>>> = Vec::new();
        for (place, today) in guard.parts.iter().enumerate() {
            let mut of_part = HashMap::new();
            let stored = self.parts.iter_mut().find(|part| part.name == today.name);
            let Some(stored) = stored else {
                moved.try_push(of_part)?;
                continue;
            };
            let own = stored.places(&today.key);
            let owner = if place == HEADER { own.clone() } else { stored.places(&today.link) };
            for row in &mut stored.rows {
                let was = loosely(row, &own)?;
                let now = match today.parent {
                    HEADER => Some(key.values()),
                    parent => {
                        let above = loosely(row, &owner)?;
                        moved.get(parent).and_then(|moved| moved.get(&above)).map(Vec::as_slice)
                    }
                };
                for (at, value) in owner.iter().zip(now.unwrap_or_default()) {
                    if let Some(cell) = at.and_then(|at| row.get_mut(at)) {
                        *cell = value.clone();
                    }
                }
                if loosely(row, &own)? != was {
                    of_part.make_room(1)?;
                    let is = gather(own.iter().map(|at| cell(row, *at).clone()))?;
                    of_part.insert(was, is);
                }
            }
            if place == HEADER && of_part.is_empty() {
                return Ok(());
            }
            moved.try_push(of_part)?;
        }
        Ok(())
    }

    /// Gives the columns that identify and link rows their present names, where they were renamed since. Such a column
    /// stands where it stood; where anything else went too, places prove nothing and all names stay.
    pub fn follow_renames(&mut self, guard: &Guard) {
        for part in &mut self.parts {
            let Some(today) = guard.parts.iter().find(|today| today.name == part.name) else {
                continue;
            };
            let is_gone = |name: &String| !today.columns.contains(name);
            let renamed: Option<Vec<Option<String>>> = part
                .columns
                .iter()
                .enumerate()
                .map(|(place, name)| match today.columns.get(place) {
                    _ if !is_gone(name) => Some(None),
                    Some(now)
                        if !part.columns.contains(now)
                            && (today.key.contains(now) || today.link.contains(now)) =>
                    {
                        Some(Some(now.clone()))
                    }
                    _ => None,
                })
                .collect();
            for (name, now) in part.columns.iter_mut().zip(renamed.unwrap_or_default()) {
                if let Some(now) = now {
                    *name = now;
                }
            }
        }
    }
}

impl StoredPart {
    /// Where columns stand in a row; None for one that the image has not.
    fn places(&self, names: &[String]) -> Vec<Option<usize>> {
        names.iter().map(|name| self.columns.iter().position(|own| own == name)).collect()
    }
}

fn cell(row: &[Value], at: Option<usize>) -> &Value {
    at.and_then(|at| row.get(at)).unwrap_or(&Value::Null)
}

/// Values of a row as a reference finds them: a column that holds text refers to a number by its digits.
fn loosely(row: &[Value], places: &[Option<usize>]) -> Result<Vec<Value>> {
    let loose = |value: &Value| match value.as_ref() {
        ValueRef::Text(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok().filter(|number: &i64| number.to_string() == text))
            .map_or_else(|| value.clone(), Value::Integer),
        ValueRef::Real(real) if real.fract() == 0.0 && real.abs() < 9e15 => {
            Value::Integer(real as i64)
        }
        _ => value.clone(),
    };
    Ok(gather(places.iter().map(|at| loose(cell(row, *at))))?)
}

/// Puts a payload and the columns of its shape together.
///
/// # Errors
/// [`Unread`]: what does not fit.
pub fn assemble(id: i64, payload: &[u8], columns: &str) -> std::result::Result<Stored, Unread> {
    let damaged = |problem| Err(Unread::Damaged(problem));
    let mut names: HashMap<String, Vec<String>> = match serde_json::from_str(columns) {
        Ok(names) => names,
        Err(error) => return damaged(format!("its shape: {error}")),
    };
    let mut parts = Vec::new();
    for (name, rows) in read(payload)? {
        let Some(columns) = names.remove(&name) else {
            return damaged(format!("its shape has no columns for {name:?}"));
        };
        if let Some(row) = rows.iter().find(|row| row.len() != columns.len()) {
            return damaged(format!(
                "a row of {name:?} has {} values for {} columns",
                row.len(),
                columns.len()
            ));
        }
        parts.push(StoredPart { name, columns, rows });
    }
    Ok(Stored { id, parts })
}

impl Database {
    /// Reads a snapshot back, its hash checked first.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it is not what was stored.
    pub fn stored(&mut self, id: i64) -> Result<Stored> {
        let statement = self.own_statement(
            "SELECT s.payload, s.hash, c.columns, c.hash
             FROM {s}.talon_snapshot AS s LEFT JOIN {s}.talon_shape AS c ON c.id = s.shape WHERE s.id = ?1",
        )?;
        let found = statement.first(&[ValueRef::Integer(id)], |row| {
            let bytes = |index: usize| match row.column(index) {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
                _ => &[],
            };
            if blake3::hash(bytes(0)).as_bytes() != bytes(1) {
                return Ok(Err(Unread::Damaged("its hash does not match".to_owned())));
            }
            let columns = bytes(2);
            if blake3::hash(columns).as_bytes() != bytes(3) {
                let problem = "the hash of its shape does not match".to_owned();
                return Ok(Err(Unread::Damaged(problem)));
            }
            Ok(assemble(id, bytes(0), &String::from_utf8_lossy(columns)))
        })?;
        match found {
            Some(stored) => stored.map_err(|unread| unread.of_snapshot(id)),
            None => Err(Unread::Damaged("it is not there".to_owned()).of_snapshot(id)),
        }
    }

    /// What a snapshot's row says beside its image.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn head(&mut self, id: i64) -> Result<Option<Head>> {
        let statement = self.own_statement(
            "SELECT lines, taken_at, reason FROM {s}.talon_snapshot WHERE id = ?1",
        )?;
        Ok(statement.first(&[ValueRef::Integer(id)], |row| {
            Ok(Head {
                id,
                lines: row.column(0).as_integer().unwrap_or(0),
                taken_at: row.column(1).as_integer().unwrap_or(0),
                reason: row.column(2).as_str().unwrap_or_default().to_owned(),
            })
        })?)
    }

    /// What is asked of a snapshot, where it is stored under this key.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn head_under(&mut self, kind: usize, key: &Key, id: i64) -> Result<Option<Head>> {
        let (kind, key) = (self.kinds[kind].id, key.shown()?);
        let statement = self.own_statement(
            "SELECT 1 FROM {s}.talon_snapshot WHERE id = ?1 AND kind = ?2 AND key = ?3",
        )?;
        let values = [ValueRef::Integer(id), ValueRef::Integer(kind), key.as_ref()];
        let is_its = statement.first(&values, |_| Ok(()))?.is_some();
        if is_its { self.head(id) } else { Ok(None) }
    }

    /// The snapshots that a lost piece can be restored from without naming one, newest first: those with lines, of a record
    /// all, back to its own beginning (an older one may have had its key).
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn candidates(&mut self, kind: usize, last: Option<i64>) -> Result<Vec<Head>> {
        let is_record = self.kinds[kind].definition.is_of_records();
        let mut found = Vec::new();
        for id in self.chain(last)? {
            let Some(head) = self.head(id)? else { break };
            let is_first = matches!(head.reason.as_str(), "create" | "stage");
            if is_record || head.lines > 0 {
                found.try_push(head)?;
            }
            if is_first {
                break;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_do_not_fit_their_shape_are_refused() {
        let payload = br#"{"header":[1,"A"],"lines":[[1,2]]}"#;
        let fits = r#"{"header":["id","number"],"lines":["id","sale"]}"#;
        assert_eq!(assemble(1, payload, fits).unwrap().parts.len(), 2);
        let short = r#"{"header":["id"],"lines":["id","sale"]}"#;
        assert!(matches!(
            assemble(1, payload, short),
            Err(Unread::Damaged(problem)) if problem.contains("2 values for 1 columns")
        ));
        assert!(assemble(1, payload, r#"{"header":["id","number"]}"#).is_err());
    }
}
