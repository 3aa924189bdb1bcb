//! The identity of a piece.

use super::json_reader::Unread;
use super::payload;
use super::payload_reader::read_row;
use crate::error::{Error, Result};
use crate::sqlite::{Bytes, Value, ValueRef};
use std::rc::Rc;

/// A piece's key: the header's own value, or several for a composite key. A clone shares what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// One column.
    Single(Value),
    /// Several columns, in the order of the guard's key.
    Composite(Rc<[Value]>),
}

impl Key {
    /// From a key's columns.
    pub fn of(mut values: Vec<Value>) -> Key {
        if values.len() == 1 {
            Key::Single(values.remove(0))
        } else {
            Key::Composite(values.into())
        }
    }

    /// The columns.
    pub fn values(&self) -> &[Value] {
        match self {
            Key::Single(value) => std::slice::from_ref(value),
            Key::Composite(values) => values,
        }
    }

    /// Whether a column is NULL: such a header can be nobody's parent.
    pub fn has_null(&self) -> bool {
        self.values().iter().any(|value| value.as_ref().is_null())
    }

    /// As it is stored and shown: the value itself, or a JSON array.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn shown(&self) -> Result<Value> {
        match self {
            Key::Single(value) => Ok(value.clone()),
            Key::Composite(values) => {
                let mut json = Vec::new();
                payload::write_row(&mut json, values.iter().map(Value::as_ref))?;
                Ok(Value::Text(Bytes::from(json)))
            }
        }
    }

    /// Reads what [`Key::shown`] gives, for a key of `columns` columns; None when it is nothing of the kind.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn from_shown(shown: ValueRef<'_>, columns: usize) -> Result<Option<Key>> {
        if columns == 1 {
            return Ok(Some(Key::Single(shown.to_value()?)));
        }
        let ValueRef::Text(json) = shown else {
            return Ok(None);
        };
        match read_row(json) {
            Ok(values) => Ok((values.len() == columns).then(|| Key::Composite(values.into()))),
            Err(Unread::Memory) => Err(Error::Memory),
            Err(Unread::Damaged(_)) => Ok(None),
        }
    }
}

/// As a person reads it; cut where it is long.
impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.shown() {
            Ok(shown) => shown.fmt(formatter),
            Err(_) => formatter.write_str("…"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_composite_key_is_shown_as_a_json_array_and_read_back() {
        let key = Key::of(vec![
            Value::text("A\"1"),
            Value::Integer(7),
            Value::Blob(Bytes::from(vec![0xff])),
        ]);
        assert_eq!(key.to_string(), r#"["A\"1",7,{"blob":"ff"}]"#);
        assert_eq!(Key::from_shown(key.shown().unwrap().as_ref(), 3).unwrap(), Some(key));
        assert_eq!(Key::from_shown(ValueRef::Integer(1), 2).unwrap(), None);
    }
}
