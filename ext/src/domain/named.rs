//! The piece that a person names.

use super::database::Database;
use crate::error::{Error, Result};
use crate::sqlite::{Value, ValueRef, gather};
use crate::storage::guard::Part;
use crate::storage::key::Key;

impl Database {
    /// The piece that a person names: the header's own spelling where there is one, otherwise as the header would keep it.
    ///
    /// # Errors
    /// [`Error::Argument`] when it cannot be a key of this kind.
    pub fn named_piece(&mut self, kind: usize, piece: ValueRef<'_>) -> Result<Key> {
        if let Some(key) = self.piece_asked(kind, piece)? {
            return Ok(key);
        }
        let guard = self.guard(kind)?;
        let columns = &guard.header().key;
        let wanted = if let [column] = columns.as_slice() {
            format!("a value of {column}")
        } else {
            format!("a JSON array of {}", columns.join(", "))
        };
        Err(Error::Argument(format!(
            "{} is no piece of {}: give {wanted}",
            piece, self.kinds[kind].name
        )))
    }

    /// The same for a piece that a query asks about; None when it cannot be a key of this kind, and nothing is found.
    ///
    /// # Errors
    /// What SQLite reports: a fault must not pass for a piece of which there is nothing.
    pub fn piece_asked(&mut self, kind: usize, piece: ValueRef<'_>) -> Result<Option<Key>> {
        let guard = self.guard(kind)?;
        let key = Key::from_shown(piece, guard.header().key.len())?;
        let Some(key) = key.filter(|key| !key.has_null()) else {
            return Ok(None);
        };
        match self.own_key(kind, &key)? {
            Some(own) => Ok(Some(own)),
            None => kept_key(guard.header(), &key).map(Some),
        }
    }
}

/// A key as the columns of a table keep it: `'42'` is 42 where they are integers.
fn kept_key(part: &Part, key: &Key) -> Result<Key> {
    let kept = part.key.iter().zip(key.values()).map(|(name, value)| kept(part, name, value));
    Ok(Key::of(gather(kept)?))
}

/// A value as a column of a part keeps it.
pub fn kept(part: &Part, column: &str, value: &Value) -> Value {
    match part.table.column(column) {
        Some(column) => column.kept(value.clone()),
        None => value.clone(),
    }
}
