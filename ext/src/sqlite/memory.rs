//! Memory whose size data decides: reserved before it is used, so that want of it is an error and no end of the host.

use super::Failure;
use super::reserve::is_memory_short;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::rc::Rc;

/// A list that says so when it cannot grow.
pub trait Room<T> {
    /// Makes room for more.
    ///
    /// # Errors
    /// [`Failure::no_memory`].
    fn make_room(&mut self, more: usize) -> Result<(), Failure>;

    /// Appends one.
    ///
    /// # Errors
    /// [`Failure::no_memory`].
    fn try_push(&mut self, item: T) -> Result<(), Failure>;
}

impl<T> Room<T> for Vec<T> {
    #[inline]
    fn make_room(&mut self, more: usize) -> Result<(), Failure> {
        if self.capacity() - self.len() < more {
            spare_the_reserve()?;
        }
        self.try_reserve(more).map_err(|_| Failure::no_memory())
    }

    #[inline]
    fn try_push(&mut self, item: T) -> Result<(), Failure> {
        if self.len() == self.capacity() {
            self.make_room(1)?;
        }
        self.push(item);
        Ok(())
    }
}

/// A set that says so when it cannot grow.
pub trait RoomForKeys {
    /// Makes room for more.
    ///
    /// # Errors
    /// [`Failure::no_memory`].
    fn make_room(&mut self, more: usize) -> Result<(), Failure>;
}

impl<T: Eq + Hash> RoomForKeys for HashSet<T> {
    fn make_room(&mut self, more: usize) -> Result<(), Failure> {
        spare_the_reserve()?;
        self.try_reserve(more).map_err(|_| Failure::no_memory())
    }
}

impl<K: Eq + Hash, V> RoomForKeys for HashMap<K, V> {
    fn make_room(&mut self, more: usize) -> Result<(), Failure> {
        spare_the_reserve()?;
        self.try_reserve(more).map_err(|_| Failure::no_memory())
    }
}

/// The reserve is for what cannot be asked for.
#[inline]
fn spare_the_reserve() -> Result<(), Failure> {
    if is_memory_short() { Err(Failure::no_memory()) } else { Ok(()) }
}

/// Collects, as `collect` does.
///
/// # Errors
/// [`Failure::no_memory`].
pub fn gather<T>(items: impl IntoIterator<Item = T>) -> Result<Vec<T>, Failure> {
    try_gather(items.into_iter().map(Ok))
}

/// Collects into a set.
///
/// # Errors
/// [`Failure::no_memory`].
pub fn gather_set<T: Eq + Hash>(items: impl IntoIterator<Item = T>) -> Result<HashSet<T>, Failure> {
    let mut gathered = HashSet::new();
    for item in items {
        gathered.make_room(1)?;
        gathered.insert(item);
    }
    Ok(gathered)
}

/// Collects what may fail, up to the first failure.
///
/// # Errors
/// That failure, or [`Failure::no_memory`].
pub fn try_gather<T, E: From<Failure>>(
    items: impl IntoIterator<Item = Result<T, E>>,
) -> Result<Vec<T>, E> {
    let items = items.into_iter();
    spare_the_reserve()?;
    let mut gathered = Vec::new();
    gathered.try_reserve_exact(items.size_hint().0).map_err(|_| Failure::no_memory())?;
    for item in items {
        gathered.try_push(item?)?;
    }
    Ok(gathered)
}

/// The bytes of a text or a blob, shared by all copies of the value: a copy takes no memory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(Rc<Vec<u8>>);

impl Bytes {
    /// So many may be idle.
    const FEW: usize = 64;

    /// A copy of what somebody else holds.
    ///
    /// # Errors
    /// [`Failure::no_memory`].
    pub fn copy(bytes: &[u8]) -> Result<Bytes, Failure> {
        spare_the_reserve()?;
        let mut copied = Vec::new();
        copied.try_reserve_exact(bytes.len()).map_err(|_| Failure::no_memory())?;
        copied.extend_from_slice(bytes);
        Ok(Bytes::from(copied))
    }

    /// Becomes a copy of something else in the same memory; false where others share that, or most of it would be idle.
    ///
    /// # Errors
    /// [`Failure::no_memory`].
    #[inline]
    pub fn copy_over(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        let most = bytes.len().saturating_mul(2).max(Bytes::FEW);
        let Some(own) = Rc::get_mut(&mut self.0).filter(|own| own.capacity() <= most) else {
            return Ok(false);
        };
        own.clear();
        own.make_room(bytes.len())?;
        own.extend_from_slice(bytes);
        Ok(true)
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Rc::new(bytes))
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::code;

    #[test]
    fn what_cannot_be_reserved_is_an_error() {
        let mut list: Vec<u64> = Vec::new();
        assert_eq!(list.make_room(usize::MAX / 16).unwrap_err().code, code::NOMEM);
        let mut set: HashSet<u64> = HashSet::new();
        assert_eq!(set.make_room(usize::MAX / 64).unwrap_err().code, code::NOMEM);
        let endless = (0..usize::MAX / 16).map(|number| number as u64);
        assert_eq!(gather(endless).unwrap_err().code, code::NOMEM);
    }

    #[test]
    fn collecting_ends_at_the_first_failure() {
        let items = [Ok(1), Err(Failure::new("two")), Ok(3)];
        assert_eq!(try_gather(items).unwrap_err().message, "two");
        assert_eq!(gather([1, 2]).unwrap(), [1, 2]);
    }

    #[test]
    fn a_copy_of_a_value_shares_its_bytes() {
        let bytes = Bytes::copy(b"abc").unwrap();
        assert_eq!(bytes.as_ptr(), bytes.clone().as_ptr());
    }

    #[test]
    fn what_others_share_is_not_written_over() {
        let mut bytes = Bytes::copy(b"abc").unwrap();
        let copy = bytes.clone();
        assert!(!bytes.copy_over(b"de").unwrap());
        assert_eq!((&*bytes, &*copy), (&b"abc"[..], &b"abc"[..]));
        drop(copy);
        let at = bytes.as_ptr();
        assert!(bytes.copy_over(b"de").unwrap());
        assert_eq!((&*bytes, bytes.as_ptr()), (&b"de"[..], at));
        assert!(!Bytes::copy(&[b'a'; 1000]).unwrap().copy_over(b"de").unwrap());
    }
}
