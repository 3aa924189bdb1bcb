//! The touch taken last, to be recognized at a glance.

use crate::sqlite::{Argument, ValueRef};
use crate::storage::trigger::Event;

/// The piece touched last: lines of one piece mostly come one after another.
#[derive(Clone, Copy)]
pub struct Latest {
    /// The database's number.
    pub number: i64,
    /// The kind's row.
    pub kind: i64,
    /// Bit n: part n refers to the header directly.
    pub direct_parts: u64,
    /// The piece's key.
    pub key: i64,
}

impl Latest {
    /// Whether a trigger reports nothing but another touch of the same piece.
    #[inline]
    pub fn is_again(&self, arguments: &[Argument]) -> bool {
        let [_, number, code, key, further, ..] = arguments else {
            return false;
        };
        // In a trigger these two are literals; anybody else's arguments come to other numbers.
        let code = code.cast_to_integer();
        let part = code >> 4 & 0xff;
        if number.cast_to_integer() != self.number
            || code & 0xf != Event::Touch as i64
            || code >> 12 != self.kind
            || part > 63
            || self.direct_parts >> part & 1 == 0
        {
            return false;
        }
        let same = |value: ValueRef<'_>| matches!(value, ValueRef::Integer(key) if key == self.key);
        same(key.get()) && (further.get().is_null() || same(further.get()))
    }
}
