//! The identity of a piece.

use super::payload;
use crate::sqlite::{Value, ValueRef};

/// A piece's key: the header's own value, or several for a composite key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// One column.
    Single(Value),
    /// Several columns, in the order of the guard's key.
    Composite(Box<[Value]>),
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
    pub fn shown(&self) -> Value {
        match self {
            Key::Single(value) => value.clone(),
            Key::Composite(values) => {
                let mut json = Vec::new();
                // An array of four values: memory for it is not what decides.
                let _ = payload::write_row(&mut json, values.iter().map(Value::as_ref));
                Value::Text(json.into())
            }
        }
    }

    /// Reads what [`Key::shown`] gives, for a key of `columns` columns.
    pub fn from_shown(shown: ValueRef<'_>, columns: usize) -> Option<Key> {
        if columns == 1 {
            return Some(Key::Single(shown.to_value()));
        }
        let ValueRef::Text(json) = shown else {
            return None;
        };
        let values = payload::read_row(json).ok()?;
        (values.len() == columns).then(|| Key::Composite(values.into()))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_composite_key_is_shown_as_a_json_array_and_read_back() {
        let key = Key::of(vec![Value::text("A\"1"), Value::Integer(7), Value::Blob([0xff].into())]);
        assert_eq!(key.to_string(), r#"["A\"1",7,{"blob":"ff"}]"#);
        assert_eq!(Key::from_shown(key.shown().as_ref(), 3), Some(key));
        assert_eq!(Key::from_shown(ValueRef::Integer(1), 2), None);
    }
}
