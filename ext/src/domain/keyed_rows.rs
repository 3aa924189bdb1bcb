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
    /// None where there are few rows, which are looked through.
    index: Option<HashTable<usize>>,
    hasher: RandomState,
}

/// Rows that are sooner looked through than put in an index.
const FEW: usize = 16;

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
        let hasher = RandomState::new();
        let mut keyed = KeyedRows { rows, key_places, index: None, hasher };
        if rows.len() <= FEW {
            return Ok(keyed);
        }
        let KeyedRows { key_places, index, hasher, .. } = &mut keyed;
        let index = index.insert(HashTable::new());
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
        let is_it = |known: &Vec<Value>| key(known, &self.key_places).eq(key(row, places));
        match &self.index {
            None => self.rows.iter().find(|known| is_it(known)),
            Some(index) => {
                let found =
                    index.find(hash(&self.hasher, row, places), |at| is_it(&self.rows[*at]));
                found.map(|at| &self.rows[*at])
            }
        }
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
        for count in [3, 2000] {
            let rows: Vec<Vec<Value>> = (0..count).map(row).collect();
            let keyed = KeyedRows::new(&rows, vec![1, 2]).unwrap();
            let wanted = |number: i64| vec![Value::Null, Value::Integer(number)];
            assert_eq!(keyed.find(&wanted(count - 1), &[1, 0]), rows.last());
            assert_eq!(keyed.find(&wanted(count), &[1, 0]), None);
            assert_eq!(keyed.find(&[Value::Real(1.0), Value::Null], &[0, 1]), None);
        }
    }
}
