//! Rows found by their key: a piece may have tens of thousands of lines.

use crate::error::Result;
use crate::sqlite::{Failure, Value};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// Rows, and where each key is among them. No key is copied.
pub struct KeyedRows<'r> {
    rows: &'r [Vec<Value>],
    /// Where the key's columns are in a row.
    key_places: Vec<usize>,
    index: HashTable<usize>,
    hasher: RandomState,
}

/// The key of a row, in place: the values at `places`.
fn key<'k>(row: &'k [Value], places: &'k [usize]) -> impl Iterator<Item = Option<&'k Value>> {
    places.iter().map(|place| row.get(*place))
}

impl<'r> KeyedRows<'r> {
    /// Rows by the columns at `key_places`; of several with one key, the first.
    ///
    /// # Errors
    /// When memory is short.
    pub fn new(rows: &'r [Vec<Value>], key_places: Vec<usize>) -> Result<KeyedRows<'r>> {
        let mut keyed =
            KeyedRows { rows, key_places, index: HashTable::new(), hasher: RandomState::new() };
        let KeyedRows { key_places, index, hasher, .. } = &mut keyed;
        let hash_of = |at: &usize| hash(hasher, &rows[*at], key_places);
        index.try_reserve(rows.len(), hash_of).map_err(|_| Failure::no_memory())?;
        for at in 0..rows.len() {
            let is_same =
                |known: &usize| key(&rows[*known], key_places).eq(key(&rows[at], key_places));
            if index.find(hash_of(&at), is_same).is_none() {
                index.insert_unique(hash_of(&at), at, hash_of);
            }
        }
        Ok(keyed)
    }

    /// The row whose key is that of `row`, which has it at `places`.
    pub fn find(&self, row: &[Value], places: &[usize]) -> Option<&'r Vec<Value>> {
        let is_it = |at: &usize| key(&self.rows[*at], &self.key_places).eq(key(row, places));
        self.index.find(hash(&self.hasher, row, places), is_it).map(|at| &self.rows[*at])
    }
}

fn hash(hasher: &RandomState, row: &[Value], places: &[usize]) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut state = hasher.build_hasher();
    key(row, places).for_each(|value| value.hash(&mut state));
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_key_wherever_that_stands_in_either_row() {
        let row = |number: i64| vec![Value::text("x"), Value::Integer(number), Value::Null];
        let rows: Vec<Vec<Value>> = (0..2000).map(row).collect();
        let keyed = KeyedRows::new(&rows, vec![1, 2]).unwrap();
        let wanted = |number: i64| vec![Value::Null, Value::Integer(number)];
        assert_eq!(keyed.find(&wanted(1999), &[1, 0]), Some(&rows[1999]));
        assert_eq!(keyed.find(&wanted(2000), &[1, 0]), None);
        assert_eq!(keyed.find(&[Value::Real(7.0), Value::Null], &[0, 1]), None);
    }
}
