//! Decoding what an SQL user passes.

use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Argument, Constraints, ValueRef};

/// Argument `index` as a text that is not empty.
///
/// # Errors
/// [`Error::Argument`] that names it.
pub fn text<'a>(arguments: &'a [Argument], index: usize, name: &str) -> Result<&'a str> {
    let value = arguments.get(index).map_or(ValueRef::Null, Argument::get);
    text_of(value, name)
}

/// A value as a text that is not empty.
///
/// # Errors
/// [`Error::Argument`] that names it.
pub fn text_of<'a>(value: ValueRef<'a>, name: &str) -> Result<&'a str> {
    match value.as_str() {
        Some("") => Err(Error::Argument(format!("{name} is empty"))),
        Some(text) if text.contains('\0') => {
            Err(Error::Argument(format!("{name} contains a NUL character")))
        }
        Some(text) => Ok(text),
        None => Err(Error::Argument(format!("{name} must be a text, not {}", shortened(value)))),
    }
}

/// Argument `index` as a piece: any value but NULL.
///
/// # Errors
/// [`Error::Argument`].
pub fn piece(arguments: &[Argument], index: usize) -> Result<ValueRef<'_>> {
    let value = arguments.get(index).map_or(ValueRef::Null, Argument::get);
    if value.is_null() { Err(Error::Argument("the piece is NULL".to_owned())) } else { Ok(value) }
}

/// A value for an error text, cut where it is long.
pub fn shortened(value: ValueRef<'_>) -> String {
    let described = value.to_string();
    match described.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &described[..end]),
        None => described,
    }
}

/// Argument `index` as a schema name; `main` where it is left out or NULL.
///
/// # Errors
/// [`Error::Argument`] when it is no text.
pub fn schema(arguments: &[Argument], index: usize) -> Result<String> {
    let value = arguments.get(index).map_or(ValueRef::Null, Argument::get);
    schema_of(value)
}

/// A value as a schema name; `main` where it is NULL.
///
/// # Errors
/// [`Error::Argument`] when it is no text.
pub fn schema_of(value: ValueRef<'_>) -> Result<String> {
    if value.is_null() {
        Ok("main".to_owned())
    } else {
        text_of(value, "the schema").map(str::to_owned)
    }
}

/// The schema that a query names; `main` where it names none.
///
/// # Errors
/// [`Error::Argument`] when it is no text.
pub fn schema_asked(constraints: &Constraints<'_>, column: usize) -> Result<String> {
    schema_of(constraints.equal(column).unwrap_or(ValueRef::Null))
}

/// The place of a schema's database, looked after as by every call that looks; None where nothing was ever guarded in it.
///
/// # Errors
/// [`Error::UnknownSchema`], and what SQLite reports.
pub fn place_asked(talon: &Talon, schema: &str) -> Result<Option<usize>> {
    match talon.look(schema, None) {
        Ok(_) => talon.database_place(schema).map(Some),
        Err(Error::NotInstalled(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The schemas and kinds that a query over a table of pieces is about: those it names, or all guarded in `main`.
///
/// # Errors
/// [`Error::UnknownSchema`]; a schema or kind that is not guarded gives no rows, not an error.
pub fn kinds_asked(
    talon: &Talon,
    constraints: &Constraints<'_>,
    kind_column: usize,
    schema_column: usize,
) -> Result<Asked> {
    let schema = schema_asked(constraints, schema_column)?;
    let wanted =
        constraints.equal(kind_column).map(|value| value.as_str().unwrap_or_default().to_owned());
    let Some(place) = place_asked(talon, &schema)? else {
        return Ok(Asked { place: None, kinds: Vec::new() });
    };
    let databases = talon.databases()?;
    let kinds = databases[place].kinds.iter().enumerate();
    let kinds = kinds
        .filter(|(_, kind)| kind.guarded)
        .filter(|(_, kind)| wanted.as_ref().is_none_or(|wanted| *wanted == kind.name))
        .map(|(place, _)| place)
        .collect();
    Ok(Asked { place: Some(place), kinds })
}

/// What a query is about.
pub struct Asked {
    /// Its place among the connection's databases; None when nothing was ever guarded there.
    pub place: Option<usize>,
    /// Places of the kinds.
    pub kinds: Vec<usize>,
}
