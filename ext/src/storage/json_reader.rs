//! Reads JSON of Talon's own piece by piece. Its texts may be as long as the host's, so each is reserved before it is
//! copied: no reader at hand does that.

use crate::error::Error;
use crate::sqlite::{Bytes, Failure, Value};
use std::borrow::Cow;
use std::ops::Range;

/// Why a text could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Unread {
    /// Memory is short.
    Memory,
    /// It is not as Talon writes it: in words.
    Damaged(String),
}

impl Unread {
    /// As an error about a snapshot.
    pub fn of_snapshot(self, snapshot: i64) -> Error {
        match self {
            Unread::Memory => Error::Memory,
            Unread::Damaged(problem) => Error::Unreadable { snapshot, problem },
        }
    }
}

impl From<Failure> for Unread {
    fn from(_: Failure) -> Unread {
        // Nothing but memory can fail here.
        Unread::Memory
    }
}

pub(super) type Result<T> = std::result::Result<T, Unread>;

/// A string of one's own.
pub(super) fn owned(text: Cow<'_, str>) -> Result<String> {
    match text {
        Cow::Owned(text) => Ok(text),
        Cow::Borrowed(text) => {
            let mut copied = String::new();
            copied.try_reserve_exact(text.len()).map_err(|_| Unread::Memory)?;
            copied.push_str(text);
            Ok(copied)
        }
    }
}

/// A place in a JSON text.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    json: &'a [u8],
    /// The same, where all of it is UTF-8: found out once, not string by string.
    utf8: Option<&'a str>,
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the beginning of a text.
    pub(super) fn new(json: &'a [u8]) -> Reader<'a> {
        Reader { json, utf8: std::str::from_utf8(json).ok(), at: 0 }
    }

    /// A piece of it, where that is UTF-8.
    fn slice(&self, range: Range<usize>) -> Option<&'a str> {
        match self.utf8 {
            Some(utf8) => utf8.get(range),
            None => std::str::from_utf8(self.json.get(range)?).ok(),
        }
    }

    /// How far it has read.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    pub(super) fn damaged<T>(&self, wanted: &str) -> Result<T> {
        let found = self.json.get(self.at..).unwrap_or_default();
        let found = String::from_utf8_lossy(&found[..found.len().min(20)]).into_owned();
        let found = if found.is_empty() { "its end".to_owned() } else { format!("{found:?}") };
        Err(Unread::Damaged(format!("{wanted} is wanted at byte {}, not {found}", self.at)))
    }

    /// The next byte that is no space, which is left there.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while matches!(self.json.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }

    /// This byte must come next.
    pub(super) fn want(&mut self, byte: u8) -> Result<()> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.damaged(&format!("{:?}", char::from(byte)))
        }
    }

    /// Nothing may follow.
    pub(super) fn end(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { self.damaged("the end") }
    }

    /// What stands between `open` and `close`, separated by commas.
    pub(super) fn list(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.want(open)?;
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => return self.want(close),
            }
        }
    }

    /// The name of a member, and its colon.
    pub(super) fn name(&mut self) -> Result<Cow<'a, str>> {
        let name = self.string()?;
        self.want(b':')?;
        Ok(name)
    }

    /// A string; a copy only where it has escapes.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>> {
        if self.peek() == Some(b'"') {
            let begin = self.at + 1;
            let plain = self.json.get(begin..).unwrap_or_default();
            let end = begin + length_of_plain(plain);
            if self.json.get(end) == Some(&b'"')
                && let Some(text) = self.slice(begin..end)
            {
                self.at = end + 1;
                return Ok(Cow::Borrowed(text));
            }
        }
        Ok(Cow::Owned(String::from_utf8(self.text()?).unwrap_or_default()))
    }

    /// The text of the next value, whatever it is, looked at only as far as to find its end.
    pub(super) fn raw(&mut self) -> Result<&'a [u8]> {
        self.peek();
        let json = self.json;
        let rest = json.get(self.at..).unwrap_or_default();
        let (mut depth, mut length) = (0_usize, 0_usize);
        while let Some(byte) = rest.get(length) {
            match byte {
                _ if !IS_STRUCTURE[usize::from(*byte)] => {
                    length += 1;
                    continue;
                }
                b'"' => length += length_of_string(&rest[length..]),
                b'[' | b'{' => depth += 1,
                b',' if depth > 0 => {}
                b']' | b'}' if depth > 0 => depth -= 1,
                _ => break,
            }
            length += 1;
            if depth == 0 && matches!(byte, b'"' | b']' | b'}') {
                break;
            }
        }
        match rest.get(..length) {
            Some(value) if depth == 0 && !value.is_empty() => {
                self.at += length;
                Ok(value.trim_ascii_end())
            }
            _ => self.damaged("a value"),
        }
    }

    /// A value of SQLite.
    pub(super) fn value(&mut self) -> Result<Value> {
        match self.peek() {
            Some(b'n') if self.json[self.at..].starts_with(b"null") => {
                self.at += 4;
                Ok(Value::Null)
            }
            Some(b'"') => Ok(Value::Text(Bytes::from(self.text()?))),
            Some(b'{') => self.tagged(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.damaged("a value"),
        }
    }

    /// A value of SQLite, over another one, whose memory is used again.
    pub(super) fn value_over(&mut self, value: &mut Value) -> Result<()> {
        if let Value::Text(text) = value
            && self.peek() == Some(b'"')
        {
            let quoted = self.quoted()?;
            if quoted.has_escapes || !text.copy_over(quoted.text)? {
                *value = Value::Text(Bytes::from(self.unescape(&quoted)?));
            }
            return Ok(());
        }
        *value = self.value()?;
        Ok(())
    }

    fn number(&mut self) -> Result<Value> {
        let rest = &self.json[self.at..];
        let (mut length, mut is_real) = (0, false);
        while let Some(byte) = rest.get(length) {
            match byte {
                b'0'..=b'9' | b'-' | b'+' => {}
                b'.' | b'e' | b'E' => is_real = true,
                _ => break,
            }
            length += 1;
        }
        let text = self.slice(self.at..self.at + length).unwrap_or_default();
        let value = if is_real {
            text.parse().ok().filter(|real: &f64| real.is_finite()).map(Value::Real)
        } else {
            text.parse().ok().map(Value::Integer)
        };
        match value {
            Some(value) => {
                self.at += length;
                Ok(value)
            }
            None => self.damaged("a number of SQLite"),
        }
    }

    /// `{"blob":"hex"}` and its like.
    fn tagged(&mut self) -> Result<Value> {
        let begin = self.at;
        self.want(b'{')?;
        let tag = self.name()?;
        if self.peek() != Some(b'"') {
            return self.damaged("a text");
        }
        let text = self.text()?;
        self.want(b'}')?;
        let value = match (&*tag, text.as_slice()) {
            ("real", b"inf") => Some(Value::Real(f64::INFINITY)),
            ("real", b"-inf") => Some(Value::Real(f64::NEG_INFINITY)),
            ("blob", hex) => from_hex(hex)?.map(Value::Blob),
            ("text", hex) => from_hex(hex)?.map(Value::Text),
            _ => None,
        };
        match value {
            Some(value) => Ok(value),
            None => {
                self.at = begin;
                self.damaged("a tagged value")
            }
        }
    }

    /// A string, its escapes resolved.
    fn text(&mut self) -> Result<Vec<u8>> {
        let quoted = self.quoted()?;
        self.unescape(&quoted)
    }

    /// A string as it stands between its quotes.
    fn quoted(&mut self) -> Result<Quoted<'a>> {
        self.want(b'"')?;
        let (begin, mut has_escapes) = (self.at, false);
        let json = self.json;
        let text = loop {
            self.at += length_of_plain(&json[self.at..]);
            match json.get(self.at) {
                Some(b'"') => break &json[begin..self.at],
                Some(b'\\') if self.at + 2 < json.len() => {
                    has_escapes = true;
                    self.at += 2;
                }
                _ => return self.damaged("the end of a text"),
            }
        };
        if self.slice(begin..self.at).is_none() {
            self.at = begin;
            return self.damaged("text in UTF-8");
        }
        self.at += 1;
        Ok(Quoted { text, has_escapes })
    }

    /// A copy of the string that was read last, its escapes resolved.
    fn unescape(&mut self, quoted: &Quoted<'_>) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        // No escape is shorter than what it stands for.
        text.try_reserve_exact(quoted.text.len()).map_err(|_| Unread::Memory)?;
        if !quoted.has_escapes {
            text.extend_from_slice(quoted.text);
        } else if unescape(quoted.text, &mut text).is_none() {
            self.at -= quoted.text.len() + 1;
            return self.damaged("a text without unknown escapes");
        }
        Ok(text)
    }
}

/// What stands between quotes.
struct Quoted<'a> {
    text: &'a [u8],
    has_escapes: bool,
}

/// The bytes at which JSON begins or ends something.
static IS_STRUCTURE: [bool; 256] = {
    let mut is_structure = [false; 256];
    let mut bytes: &[u8] = b"\"[]{},";
    while let [byte, rest @ ..] = bytes {
        is_structure[*byte as usize] = true;
        bytes = rest;
    }
    is_structure
};

/// Bytes before the first quote, backslash or control character.
fn length_of_plain(json: &[u8]) -> usize {
    json.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).unwrap_or(json.len())
}

/// Bytes of the string that stands first, without its closing quote; more than there are where it has none.
fn length_of_string(json: &[u8]) -> usize {
    let mut length = 1;
    loop {
        match json.get(length) {
            Some(b'\\') => length += 2,
            Some(b'"') => return length,
            Some(_) => length += 1,
            None => return json.len(),
        }
    }
}

/// Resolves escapes into a list that has room for them; None at one that JSON does not know.
fn unescape(mut raw: &[u8], text: &mut Vec<u8>) -> Option<()> {
    while let Some(plain) = raw.iter().position(|byte| *byte == b'\\') {
        text.extend_from_slice(&raw[..plain]);
        let escape = *raw.get(plain + 1)?;
        raw = &raw[plain + 2..];
        text.push(match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = hex_digits(raw)?;
                raw = &raw[4..];
                if (0xd800..0xdc00).contains(&code) {
                    let low = hex_digits(raw.strip_prefix(b"\\u")?)?;
                    raw = &raw[6..];
                    if !(0xdc00..0xe000).contains(&low) {
                        return None;
                    }
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                }
                let mut utf8 = [0; 4];
                text.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut utf8).as_bytes());
                continue;
            }
            _ => return None,
        });
    }
    text.extend_from_slice(raw);
    Some(())
}

fn hex_digits(raw: &[u8]) -> Option<u32> {
    raw.get(..4)?.iter().try_fold(0, |code, byte| Some(code * 16 + char::from(*byte).to_digit(16)?))
}

/// The bytes that hexadecimal digits stand for; None when they are none.
fn from_hex(hex: &[u8]) -> Result<Option<Bytes>> {
    if !hex.len().is_multiple_of(2) {
        return Ok(None);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(hex.len() / 2).map_err(|_| Unread::Memory)?;
    for pair in hex.chunks_exact(2) {
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
            return Ok(None);
        };
        bytes.push((high * 16 + low) as u8);
    }
    Ok(Some(Bytes::from(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Result<Value> {
        let mut reader = Reader::new(json.as_bytes());
        let value = reader.value()?;
        reader.end()?;
        Ok(value)
    }

    #[test]
    fn a_value_is_passed_over_as_it_stands() {
        for (json, value) in [
            (r#" {"a": [1, "]}\"", {}]} , 7"#, r#"{"a": [1, "]}\"", {}]}"#),
            (r#" -1.5e3 ]"#, "-1.5e3"),
            (r#""x,y" "#, r#""x,y""#),
            ("null}", "null"),
        ] {
            assert_eq!(Reader::new(json.as_bytes()).raw().unwrap(), value.as_bytes(), "{json}");
        }
        for bad in ["", " ", ",", "]", "[1", r#"{"a":"b"#, r#""\"#, r#"["\"]"#] {
            assert!(Reader::new(bad.as_bytes()).raw().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_string_is_copied_only_where_it_has_escapes() {
        let read = |json: &'static str| Reader::new(json.as_bytes()).string();
        assert!(matches!(read(r#" "é" "#), Ok(Cow::Borrowed("é"))));
        assert_eq!(read(r#""a\nb""#).unwrap(), "a\nb");
        for bad in ["", "7", r#"""#.trim_end(), r#""a"#, "\"a\u{1}\""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn escapes_are_resolved_as_json_says() {
        let escaped = r#""\"\\\/\b\f\n\r\t\u0000\u00e9\ud83d\udcb6é""#;
        assert_eq!(value(escaped).unwrap(), Value::text("\"\\/\u{8}\u{c}\n\r\t\0é💶é"));
        for bad in
            [r#""\x""#, r#""\ud83d""#, r#""\ud83dA""#, r#""\udcb6""#, r#""\u12""#, "\"\u{1}\""]
        {
            assert!(value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_integers_unless_they_have_a_point_or_an_exponent() {
        assert_eq!(value("-9223372036854775808").unwrap(), Value::Integer(i64::MIN));
        assert_eq!(value("1.0").unwrap(), Value::Real(1.0));
        assert_eq!(value("5e-324").unwrap(), Value::Real(5e-324));
        for bad in ["9223372036854775808", "1e999", "--1", "+1", "1-1", "0x1", "-"] {
            assert!(value(bad).is_err(), "{bad}");
        }
    }
}
