//! SQLite's five storage classes, borrowed and owned.

use super::Failure;
use super::memory::Bytes;
use sqlite3ext_sys as sys;
use std::hash::{Hash, Hasher};

/// A value that SQLite holds, seen in place. Text is bytes: SQLite does not promise UTF-8.
#[derive(Debug, Clone, Copy)]
pub enum ValueRef<'a> {
    /// NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A double; never NaN.
    Real(f64),
    /// Text in the encoding of the connection's interface, UTF-8 unless the host stored something else.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

/// One argument of an SQL function, or one value of a row given to a virtual table.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Argument(*mut sys::sqlite3_value);

impl Argument {
    /// The value converted to an integer, as CAST does; exact where it is one.
    #[inline]
    pub fn cast_to_integer(&self) -> i64 {
        // SAFETY: as in `get`; the conversion leaves the value as it is.
        unsafe { sys::sqlite3_value_int64(self.0) }
    }

    /// The value, valid as long as the call it belongs to.
    #[inline]
    pub fn get(&self) -> ValueRef<'_> {
        // SAFETY: SQLite keeps the arguments of a call alive until the call returns, and an Argument is only ever
        // lent to callbacks for that time.
        unsafe { value_ref(self.0) }
    }
}

/// Reads a value once by its type, without conversion.
///
/// # Safety
/// `value` is a live value, and stays unchanged as long as the result is used.
#[inline]
pub(super) unsafe fn value_ref<'a>(value: *mut sys::sqlite3_value) -> ValueRef<'a> {
    // SAFETY: the caller's promise; the pointer is asked for before the length, as SQLite wants it.
    unsafe {
        match sys::sqlite3_value_type(value) as u32 {
            sys::SQLITE_INTEGER => ValueRef::Integer(sys::sqlite3_value_int64(value)),
            sys::SQLITE_FLOAT => ValueRef::Real(sys::sqlite3_value_double(value)),
            sys::SQLITE_TEXT => {
                let start = sys::sqlite3_value_text(value);
                ValueRef::Text(bytes(start, sys::sqlite3_value_bytes(value)))
            }
            sys::SQLITE_BLOB => {
                let start = sys::sqlite3_value_blob(value).cast();
                ValueRef::Blob(bytes(start, sys::sqlite3_value_bytes(value)))
            }
            _ => ValueRef::Null,
        }
    }
}

/// # Safety
/// `start` is null or points to `length` bytes that live for `'a`.
#[inline]
unsafe fn bytes<'a>(start: *const u8, length: i32) -> &'a [u8] {
    if start.is_null() || length <= 0 {
        &[]
    } else {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(start, length as usize) }
    }
}

impl<'a> ValueRef<'a> {
    /// The value as UTF-8 text, where it is such.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            ValueRef::Text(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The value as an integer, where it is one.
    pub fn as_integer(self) -> Option<i64> {
        match self {
            ValueRef::Integer(integer) => Some(integer),
            _ => None,
        }
    }

    /// Whether the value is NULL.
    pub fn is_null(self) -> bool {
        matches!(self, ValueRef::Null)
    }

    /// A copy that outlives the statement.
    ///
    /// # Errors
    /// [`Failure::no_memory`].
    #[inline]
    pub fn to_value(self) -> Result<Value, Failure> {
        Ok(match self {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(integer) => Value::Integer(integer),
            ValueRef::Real(real) => Value::Real(real),
            ValueRef::Text(text) => Value::Text(Bytes::copy(text)?),
            ValueRef::Blob(blob) => Value::Blob(Bytes::copy(blob)?),
        })
    }
}

/// A value of one's own, cheap to clone. Two are equal when storage class and bytes are.
#[derive(Debug, Clone)]
pub enum Value {
    /// NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// Text, as its bytes.
    Text(Bytes),
    /// Bytes.
    Blob(Bytes),
}

impl Value {
    /// Borrows the value.
    #[inline]
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Null => ValueRef::Null,
            Value::Integer(integer) => ValueRef::Integer(*integer),
            Value::Real(real) => ValueRef::Real(*real),
            Value::Text(text) => ValueRef::Text(text),
            Value::Blob(blob) => ValueRef::Blob(blob),
        }
    }

    /// A text of our own, which is short.
    pub fn text(text: &str) -> Self {
        Value::Text(text.as_bytes().to_vec().into())
    }
}

impl ValueRef<'_> {
    /// Same storage class, same bytes.
    #[inline]
    pub fn same(self, other: ValueRef<'_>) -> bool {
        match (self, other) {
            (ValueRef::Null, ValueRef::Null) => true,
            (ValueRef::Integer(a), ValueRef::Integer(b)) => a == b,
            (ValueRef::Real(a), ValueRef::Real(b)) => a.to_bits() == b.to_bits(),
            (ValueRef::Text(a), ValueRef::Text(b)) => a == b,
            (ValueRef::Blob(a), ValueRef::Blob(b)) => a == b,
            _ => false,
        }
    }
}

impl ValueRef<'_> {
    /// As SQL's `=` says under BINARY: an integer equals the real of the same value.
    pub fn equals(self, other: ValueRef<'_>) -> bool {
        match (self, other) {
            (ValueRef::Integer(integer), ValueRef::Real(real))
            | (ValueRef::Real(real), ValueRef::Integer(integer)) => {
                integer as f64 == real && real as i64 == integer
            }
            (ValueRef::Real(a), ValueRef::Real(b)) => a == b,
            (a, b) => a.same(b),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref().same(other.as_ref())
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Value::Null => state.write_u8(0),
            Value::Integer(integer) => state.write_i64(*integer),
            Value::Real(real) => state.write_u64(real.to_bits()),
            Value::Text(bytes) | Value::Blob(bytes) => bytes.hash(state),
        }
    }
}

/// Characters that a person is shown of a value at most.
const MOST_SHOWN: usize = 200;

/// As a person reads it: text as it is, blobs as `x'…'`; cut where it is long.
impl std::fmt::Display for ValueRef<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ValueRef::Null => formatter.write_str("NULL"),
            ValueRef::Integer(integer) => write!(formatter, "{integer}"),
            ValueRef::Real(real) => write!(formatter, "{real:?}"),
            ValueRef::Text(text) => {
                // A character has four bytes at most.
                let text = String::from_utf8_lossy(&text[..text.len().min(4 * MOST_SHOWN + 4)]);
                match text.char_indices().nth(MOST_SHOWN) {
                    Some((end, _)) => write!(formatter, "{}…", &text[..end]),
                    None => formatter.write_str(&text),
                }
            }
            ValueRef::Blob(blob) => {
                formatter.write_str("x'")?;
                for byte in blob.iter().take(MOST_SHOWN / 2) {
                    write!(formatter, "{byte:02x}")?;
                }
                formatter.write_str(if blob.len() > MOST_SHOWN / 2 { "…'" } else { "'" })
            }
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_ref().fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_shown_in_part() {
        let text = "é".repeat(10_000);
        assert_eq!(ValueRef::Text(text.as_bytes()).to_string(), format!("{}…", "é".repeat(200)));
        assert_eq!(ValueRef::Blob(&[7; 101]).to_string(), format!("x'{}…'", "07".repeat(100)));
        assert_eq!(ValueRef::Text(b"a\xff").to_string(), "a\u{fffd}");
    }
}
