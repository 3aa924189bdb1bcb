//! The text of an image: JSON that a person can read with `json_each`, exact to the bit.
//!
//! `{"header":[…],"lines":[[…],[…]],"taxes":[[…]]}`: an array a row, values in the order of the shape's columns.
//!
//! | SQLite | JSON |
//! |---|---|
//! | NULL | `null` |
//! | integer | a number without point or exponent |
//! | real | a number with one (shortest text that reads back to the same bits); infinities `{"real":"inf"}`, `{"real":"-inf"}` |
//! | text | a string; text that is not UTF-8 `{"text":"hex"}` |
//! | blob | `{"blob":"hex"}` |

use crate::error::{Error, Result};
use crate::sqlite::ValueRef;
use std::io::Write;

/// Makes room, or reports that memory is short instead of aborting the host.
#[inline]
pub fn reserve(buffer: &mut Vec<u8>, bytes: usize) -> Result<()> {
    if buffer.capacity() - buffer.len() < bytes {
        buffer.try_reserve(bytes).map_err(|_| Error::Memory)?;
    }
    Ok(())
}

/// Appends.
///
/// # Errors
/// [`Error::Memory`].
#[inline]
pub fn put(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    reserve(buffer, bytes.len())?;
    buffer.extend_from_slice(bytes);
    Ok(())
}

/// Room for any number and what stands around it.
const NUMBER: usize = 40;

/// Appends one value.
///
/// # Errors
/// [`Error::Memory`].
#[inline]
pub fn write_value(buffer: &mut Vec<u8>, value: ValueRef<'_>) -> Result<()> {
    reserve(buffer, NUMBER)?;
    match value {
        ValueRef::Null => buffer.extend_from_slice(b"null"),
        ValueRef::Integer(integer) => {
            buffer.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
        }
        ValueRef::Real(real) => write_real(buffer, real),
        ValueRef::Text(text) => return write_text(buffer, text),
        ValueRef::Blob(blob) => return write_hex(buffer, "blob", blob),
    }
    Ok(())
}

/// Appends a real where there is room for it. Quantities and amounts are mostly whole hundredths: where dividing the
/// hundredths by 100 gives the very same bits, their digits are the number's shortest decimal text, and writing two
/// integers takes a third of the time of looking for it.
#[inline]
fn write_real(buffer: &mut Vec<u8>, real: f64) {
    let hundredths = (real * 100.0).round_ties_even();
    // Below 2^53 every whole number is a double.
    let is_whole = hundredths.abs() < 9e15 && (hundredths / 100.0).to_bits() == real.to_bits();
    if is_whole {
        let whole = (hundredths as i64).unsigned_abs();
        if real.is_sign_negative() {
            buffer.push(b'-');
        }
        buffer.extend_from_slice(itoa::Buffer::new().format(whole / 100).as_bytes());
        let rest = (whole % 100) as u8;
        buffer.push(b'.');
        buffer.push(b'0' + rest / 10);
        if !rest.is_multiple_of(10) {
            buffer.push(b'0' + rest % 10);
        }
    } else if real.is_finite() {
        buffer.extend_from_slice(zmij::Buffer::new().format_finite(real).as_bytes());
    } else {
        let tagged: &[u8] = if real > 0.0 { br#"{"real":"inf"}"# } else { br#"{"real":"-inf"}"# };
        buffer.extend_from_slice(tagged);
    }
}

#[inline]
fn write_text(buffer: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    let shape = look_over(text);
    if !shape.is_ascii && std::str::from_utf8(text).is_err() {
        return write_hex(buffer, "text", text);
    }
    if shape.is_plain {
        reserve(buffer, text.len() + 2)?;
        buffer.push(b'"');
        buffer.extend_from_slice(text);
        buffer.push(b'"');
        return Ok(());
    }
    // Escaping makes six characters of one at most.
    reserve(buffer, 6 * text.len() + 2)?;
    let utf8 = String::from_utf8_lossy(text);
    serde_json::to_writer(buffer.by_ref(), &*utf8).map_err(|_| Error::Memory)
}

struct Shape {
    /// No byte above 0x7f.
    is_ascii: bool,
    /// Nothing that JSON escapes.
    is_plain: bool,
}

/// Looks at every byte without leaving early, which the compiler turns into a few wide comparisons.
#[inline]
fn look_over(text: &[u8]) -> Shape {
    let (mut all, mut special) = (0u8, false);
    for byte in text {
        all |= byte;
        special |= (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
    }
    Shape { is_ascii: all < 0x80, is_plain: !special }
}

fn write_hex(buffer: &mut Vec<u8>, tag: &str, bytes: &[u8]) -> Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    reserve(buffer, 2 * bytes.len() + tag.len() + 8)?;
    put(buffer, b"{\"")?;
    put(buffer, tag.as_bytes())?;
    put(buffer, b"\":\"")?;
    for byte in bytes {
        buffer.push(DIGITS[usize::from(byte >> 4)]);
        buffer.push(DIGITS[usize::from(byte & 0xf)]);
    }
    put(buffer, b"\"}")
}

/// Appends a row as an array.
///
/// # Errors
/// [`Error::Memory`].
pub fn write_row<'a>(
    buffer: &mut Vec<u8>,
    values: impl IntoIterator<Item = ValueRef<'a>>,
) -> Result<()> {
    put(buffer, b"[")?;
    for (place, value) in values.into_iter().enumerate() {
        if place > 0 {
            put(buffer, b",")?;
        }
        write_value(buffer, value)?;
    }
    put(buffer, b"]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{Bytes, Value};
    use crate::storage::payload_reader::read_row;

    #[test]
    fn every_value_reads_back_with_its_storage_class_and_bits() {
        let values = [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Integer(i64::MAX),
            Value::Real(1.0),
            Value::Real(-0.0),
            Value::Real(5e-324),
            Value::Real(1e16),
            Value::Real(0.1 + 0.2),
            Value::Real(1.797_693_134_862_315_7e308),
            Value::Real(f64::INFINITY),
            Value::Real(f64::NEG_INFINITY),
            Value::text(""),
            Value::text("a\0b \u{1} \"\\ é \u{10ffff}"),
            Value::Text(Bytes::from(vec![0xff, 0x00, b'a'])),
            Value::Blob(Bytes::from(vec![])),
            Value::Blob(Bytes::from(vec![0, 1, 0xfe])),
        ];
        let mut json = Vec::new();
        write_row(&mut json, values.iter().map(Value::as_ref)).unwrap();
        assert_eq!(read_row(&json).unwrap(), values);
    }

    #[test]
    fn hundredths_are_written_as_any_other_real_would_be() {
        let written = |real: f64| {
            let mut text = Vec::new();
            write_value(&mut text, ValueRef::Real(real)).unwrap();
            String::from_utf8(text).unwrap()
        };
        let whole = (-5_000..5_000).map(|n| f64::from(n) / 100.0);
        let large =
            [9e13, 90_071_992_547_409.9, 12_345_678_901_234.56, 1e15, 1e16, 0.005, -0.0, 0.1 + 0.2];
        for real in whole.chain(large) {
            let shortest = zmij::Buffer::new().format_finite(real).to_owned();
            let text = written(real);
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), real.to_bits(), "{text}");
            assert!(text.contains('.') || text.contains('e'), "{text}");
            assert!(
                text.len() <= shortest.len() || text.parse::<f64>() == shortest.parse::<f64>(),
                "{text} {shortest}"
            );
        }
        assert_eq!(written(-12.5), "-12.5");
        assert_eq!(written(3.0), "3.0");
        assert_eq!(written(0.07), "0.07");
    }
}
