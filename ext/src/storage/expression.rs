//! SQL that comes as text in a definition: what can be said of it before SQLite compiles it.

use super::shape::quote_identifier;
use crate::error::Result;
use crate::sqlite::{Connection, Value, ValueRef, code};

/// Marks functions that do more than compute (<https://sqlite.org/c3ref/c_deterministic.html#sqlitedirectonly>).
const DIRECT_ONLY: i64 = 0x80000;

/// The one PRAGMA that acts where a SELECT reads it as a table; SQLite calls such a SELECT read-only all the same.
const OPTIMIZE: &str = "pragma_optimize";

/// Whether a text can stand between parentheses without ending them.
pub fn is_one_expression(text: &str) -> bool {
    let mut depth = 0i32;
    let mut closed = true;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ';' | '\0' => return false,
            // A doubled quote closes and opens again, which comes to the same.
            '\'' | '"' | '`' | '[' => {
                let end = if character == '[' { ']' } else { character };
                closed = characters.by_ref().any(|next| next == end);
            }
            '-' if characters.peek() == Some(&'-') => {
                characters.by_ref().find(|next| *next == '\n');
            }
            '/' if characters.peek() == Some(&'*') => {
                characters.next();
                let mut last = ' ';
                closed = characters
                    .by_ref()
                    .any(|next| std::mem::replace(&mut last, next) == '*' && next == '/');
            }
            _ => {}
        }
        if depth < 0 || !closed {
            return false;
        }
    }
    depth == 0 && !text.trim().is_empty()
}

/// A name in a text: an identifier, a keyword, or what stands in quotes.
#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    /// As it reads, without its quotes.
    pub name: String,
    /// A parenthesis follows: it may be a function.
    pub is_called: bool,
}

/// The names in a text that [`is_one_expression`], comments left out. Texts count too: SQLite takes one for a table's name.
pub fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    // The last name, while nothing but space and comments has followed it.
    let mut last_is_open = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let name = match character {
            '\'' | '"' | '`' | '[' => {
                let end = if character == '[' { ']' } else { character };
                let mut name = String::new();
                while let Some(next) = characters.next() {
                    if next == end {
                        if end == ']' || characters.peek() != Some(&end) {
                            break;
                        }
                        characters.next();
                    }
                    name.push(next);
                }
                name
            }
            '-' if characters.peek() == Some(&'-') => {
                characters.by_ref().find(|next| *next == '\n');
                continue;
            }
            '/' if characters.peek() == Some(&'*') => {
                characters.next();
                let mut last = ' ';
                characters
                    .by_ref()
                    .any(|next| std::mem::replace(&mut last, next) == '*' && next == '/');
                continue;
            }
            '(' => {
                if let Some(word) = words.last_mut().filter(|_| last_is_open) {
                    word.is_called = true;
                }
                last_is_open = false;
                continue;
            }
            character if is_of_a_name(character) => {
                let mut name = String::from(character);
                while let Some(next) = characters.next_if(|next| is_of_a_name(*next)) {
                    name.push(next);
                }
                name
            }
            character => {
                last_is_open &= character.is_whitespace();
                continue;
            }
        };
        words.push(Word { name, is_called: false });
        last_is_open = true;
    }
    words
}

fn is_of_a_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

/// What in a text has no place in a definition, in words: Talon's own tables and functions, which are at work while it is
/// evaluated, and functions that do more than compute. None when there is no such thing.
///
/// # Errors
/// What SQLite reports.
pub fn forbidden(connection: Connection, text: &str) -> Result<Option<String>> {
    let words = words(text);
    let own = words
        .iter()
        .find(|word| word.name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("talon_")));
    if let Some(word) = own {
        return Ok(Some(format!(
            "{} is Talon's own and cannot be used in a definition",
            word.name
        )));
    }
    if words.iter().any(|word| word.name.eq_ignore_ascii_case(OPTIMIZE)) {
        return Ok(Some(format!(
            "{OPTIMIZE} runs ANALYZE, which writes, and cannot be used in a definition"
        )));
    }
    for word in words.iter().filter(|word| word.is_called) {
        if acts(connection, &word.name)? {
            return Ok(Some(format!(
                "{}() does more than compute a value and cannot be used in a definition",
                word.name
            )));
        }
    }
    Ok(None)
}

/// What in a condition cannot stand in a trigger that every connection runs, also without Talon, and that must not hinder
/// a change of any other table, in words: other tables, and functions and collations that SQLite does not bring along.
///
/// # Errors
/// What SQLite reports.
pub fn not_for_triggers(connection: Connection, text: &str) -> Result<Option<String>> {
    // A host that does not know a word of it cannot read the file's schema at all.
    if text.contains("->") {
        return Ok(Some("SQLite knows -> from 3.38 on only: use json_extract()".to_owned()));
    }
    let words = words(text);
    for (place, word) in words.iter().enumerate() {
        let name = word.name.to_ascii_lowercase();
        let problem = match name.as_str() {
            "distinct" => "SQLite knows it here from 3.39 on only: use IS or IS NOT",
            digits
                if digits.starts_with(|first: char| first.is_ascii_digit())
                    && digits.contains('_') =>
            {
                "SQLite knows such numbers from 3.46 on only: leave the _ out"
            }
            "select" | "values" => "it reads a table: it is about OLD and NEW of the header only",
            "in" if !word.is_called => {
                "it reads a table: it is about OLD and NEW of the header only"
            }
            "regexp" | "match" => "a connection without Talon may not have the function for it",
            "collate" => {
                let collation = words.get(place + 1).map_or("", |next| next.name.as_str());
                let own = ["binary", "nocase", "rtrim"];
                if own.iter().any(|own| collation.eq_ignore_ascii_case(own)) {
                    continue;
                }
                "a connection without Talon may not have the collation"
            }
            _ if word.is_called && is_of_the_host(connection, &name)? => {
                "a connection without Talon may not have the function"
            }
            _ => continue,
        };
        return Ok(Some(format!("{problem} ({})", word.name)));
    }
    Ok(None)
}

/// Whether a function of this name is none of SQLite's own.
fn is_of_the_host(connection: Connection, name: &str) -> Result<bool> {
    let asked = connection.value(
        "SELECT max(builtin) FROM pragma_function_list WHERE name = ?1 COLLATE NOCASE",
        &[ValueRef::Text(name.as_bytes())],
    );
    match asked {
        Ok(found) => Ok(matches!(found, Some(Value::Integer(0)))),
        Err(failure) if failure.primary() == code::ERROR => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

/// Whether a function of this name is one that only a statement of the application itself may call.
fn acts(connection: Connection, name: &str) -> Result<bool> {
    if name.eq_ignore_ascii_case("load_extension") {
        return Ok(true);
    }
    let asked = connection.value(
        "SELECT 1 FROM pragma_function_list WHERE name = ?1 COLLATE NOCASE AND flags & ?2 LIMIT 1",
        &[ValueRef::Text(name.as_bytes()), ValueRef::Integer(DIRECT_ONLY)],
    );
    match asked {
        Ok(found) => Ok(found.is_some()),
        // A host may leave such pragmas out; SQLite's own function of this sort is named above.
        Err(failure) if failure.primary() == code::ERROR => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

/// `WITH … ` that lets texts written for a file of its own find its tables by their plain names where the file is
/// attached beside others; nothing in `main`, whose names come first anyway.
///
/// # Errors
/// What SQLite reports.
pub fn names_of(connection: Connection, schema: &str, texts: &[&str]) -> Result<String> {
    if schema.eq_ignore_ascii_case("main") {
        return Ok(String::new());
    }
    let words: Vec<Word> = texts.iter().flat_map(|text| words(text)).collect();
    let schema = quote_identifier(schema);
    let mut statement = connection.prepare(&format!(
        "SELECT name FROM {schema}.sqlite_schema WHERE type IN ('table', 'view')"
    ))?;
    let mut rows = statement.query(&[])?;
    let mut seen = Vec::new();
    while rows.next()? {
        let name = rows.column(0).as_str().unwrap_or_default();
        if words.iter().any(|word| word.name.eq_ignore_ascii_case(name)) {
            let name = quote_identifier(name);
            seen.push(format!("{name} AS NOT MATERIALIZED (SELECT * FROM {schema}.{name})"));
        }
    }
    Ok(if seen.is_empty() { String::new() } else { format!("WITH {} ", seen.join(", ")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_cannot_end_the_parentheses_around_it() {
        assert!(is_one_expression("h.type = 'F' AND (h.total > 0)"));
        assert!(is_one_expression("h.\"a)b\" IS NULL -- why ("));
        assert!(is_one_expression("'it''s (' || /* ) */ x"));
        for hostile in ["1) OR (1", "1; DROP TABLE x", "'open", "", "(1", "1 /* open", "1\0) OR (1"]
        {
            assert!(!is_one_expression(hostile), "{hostile}");
        }
    }

    #[test]
    fn names_are_found_quoted_or_not_and_calls_are_told_from_columns() {
        let text = "sum (t.\"a\"\"b\") + [load x]/* ( */('c') -- d(\n + e$1";
        let found: Vec<(String, bool)> =
            words(text).into_iter().map(|word| (word.name, word.is_called)).collect();
        let expected = [
            ("sum", true),
            ("t", false),
            ("a\"b", false),
            ("load x", true),
            ("c", false),
            ("e$1", false),
        ];
        assert_eq!(found, expected.map(|(name, called)| (name.to_owned(), called)));
    }
}
