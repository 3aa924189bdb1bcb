//! The triggers on the host's tables: what each says, and whether they are all there.

use super::guard::{Guard, HEADER, Part};
use super::schema::FORMAT;
use super::shape::{quote_identifier, quote_text};
use crate::error::Result;
use crate::sqlite::{Connection, ValueRef};
use std::borrow::Cow;

const CREATE_TRIGGER: &str = include_str!("../../../sql/create_trigger.sql");

/// Numbers of arguments at which `date` is Talon's: so many that no host calls it so, few enough to be cheap.
pub const ARITIES: [usize; 4] = [6, 8, 16, 32];
/// The least that triggers of format 1 had.
const FIRST_ARITY: usize = 8;
/// Values that a mark in `talon_mark` has room for.
pub const NARROW: usize = 2;
/// Arguments before the values: the word `talon`, the database's number, the code.
pub const FIXED_ARGUMENTS: usize = 3;

/// What a trigger has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A row changes. Values: its link, or the header's key; for an UPDATE of a child the old one, then the new one.
    Touch = 0,
    /// A header is about to be inserted. Values: its key, then the columns of each further unique index.
    Inserting = 1,
    /// A header was inserted, or a row beside it. Values: its key.
    Inserted = 2,
    /// A header's unique columns are about to be updated. Values: its new key, then each further unique index.
    Replacing = 3,
    /// A header's key was updated. Values: the old key, the new one.
    Renamed = 4,
    /// A header is about to be deleted. Values: its key.
    Deleting = 5,
    /// A header was updated in a way that a check may forbid. Values: its key, then the check's row.
    Checked = 6,
}

impl Event {
    fn from_number(number: i64) -> Option<Event> {
        [
            Event::Touch,
            Event::Inserting,
            Event::Inserted,
            Event::Replacing,
            Event::Renamed,
            Event::Deleting,
            Event::Checked,
        ]
        .into_iter()
        .find(|event| *event as i64 == number)
    }
}

/// Who speaks and of what: one integer in a trigger's text and in a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The kind's row.
    pub kind: i64,
    /// The part whose table it is.
    pub part: usize,
    /// What happened.
    pub event: Event,
}

impl Code {
    /// As an integer.
    pub fn number(self) -> i64 {
        self.kind << 12 | (self.part as i64) << 4 | self.event as i64
    }

    /// From an integer; None when it says nothing.
    pub fn from_number(number: i64) -> Option<Code> {
        Some(Code {
            kind: number >> 12,
            part: (number >> 4 & 0xff) as usize,
            event: Event::from_number(number & 0xf)?,
        })
    }
}

/// A trigger as it should be.
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// The whole statement.
    pub sql: String,
    /// The statement as SQLite keeps it: without the schema's name.
    pub kept: String,
}

struct Draft {
    suffix: Cow<'static, str>,
    moment: String,
    event: Event,
    condition: String,
    values: Vec<String>,
    /// How many of the values a mark keeps.
    marked: usize,
}

/// The triggers that a guard needs, in a file of this number whose tables are of this format.
pub fn triggers(guard: &Guard, schema: &str, database: i64, format: i64) -> Vec<Trigger> {
    let mut triggers = Vec::new();
    for (place, part) in guard.parts.iter().enumerate() {
        let drafts = if place == HEADER { header_drafts(part) } else { child_drafts(part) };
        for draft in drafts {
            triggers.push(finish(guard, place, schema, (database, format), draft));
        }
    }
    triggers
}

/// The trigger that asks a check about each UPDATE of a header for which `condition` is true.
pub fn checking(
    guard: &Guard,
    schema: &str,
    database: i64,
    check: i64,
    condition: &str,
) -> Trigger {
    let key = prefixed("NEW", &guard.header().key);
    let draft = Draft {
        suffix: Cow::Owned(checking_suffix(check)),
        moment: "AFTER UPDATE".to_owned(),
        event: Event::Checked,
        condition: format!("({condition}{CONDITION_END}"),
        marked: key.len(),
        values: [key, vec![check.to_string()]].concat(),
    };
    finish(guard, HEADER, schema, (database, FORMAT), draft)
}

/// What ends the condition of such a trigger; the newline ends a comment in it.
const CONDITION_END: &str = "\n) AND ";

/// How the names of such a check's triggers end.
pub fn checking_suffix(check: i64) -> String {
    format!("check_{check}")
}

/// The condition of such a trigger that is there, with columns by their present names.
pub fn checking_condition(sql: &str) -> Option<&str> {
    // The table's name, always in quotes, may hold anything.
    let table = sql.find(" ON \"")? + " ON \"".len();
    let mut quotes = sql.get(table..)?.match_indices('"').map(|(at, _)| table + at).peekable();
    let name_end = loop {
        let quote = quotes.next()?;
        if quotes.next_if_eq(&(quote + 1)).is_none() {
            break quote;
        }
    };
    let start = name_end + sql.get(name_end..)?.find("WHEN (")? + "WHEN (".len();
    let end = sql.rfind(&format!("{CONDITION_END}date('talon', "))?;
    sql.get(start..end)
}

fn prefixed(prefix: &str, columns: &[String]) -> Vec<String> {
    columns.iter().map(|column| format!("{prefix}.{}", quote_identifier(column))).collect()
}

fn header_drafts(header: &Part) -> Vec<Draft> {
    let key = header.key.len();
    let new_key = prefixed("NEW", &header.key);
    let old_key = prefixed("OLD", &header.key);
    // A header that REPLACE takes away may collide on any unique index.
    let mut unique = new_key.clone();
    for columns in further_unique(header) {
        unique.extend(prefixed("NEW", columns));
    }
    let most = ARITIES[ARITIES.len() - 1] - FIXED_ARGUMENTS;
    unique.truncate(most);
    let mut unique_columns: Vec<String> = header.key.clone();
    for columns in further_unique(header) {
        for column in columns {
            if !unique_columns.contains(column) {
                unique_columns.push(column.clone());
            }
        }
    }
    let of = |columns: &[String]| {
        let quoted: Vec<String> = columns.iter().map(|column| quote_identifier(column)).collect();
        quoted.join(", ")
    };
    let draft = |suffix, moment: &str, event, values: Vec<String>, marked| Draft {
        suffix: Cow::Borrowed(suffix),
        moment: moment.to_owned(),
        event,
        condition: String::new(),
        values,
        marked,
    };
    let both = [old_key.clone(), new_key.clone()].concat();
    vec![
        draft("inserting", "BEFORE INSERT", Event::Inserting, unique.clone(), key),
        draft("inserted", "AFTER INSERT", Event::Inserted, new_key, key),
        draft("updating", "BEFORE UPDATE", Event::Touch, old_key.clone(), key),
        draft(
            "replacing",
            &format!("BEFORE UPDATE OF {}", of(&unique_columns)),
            Event::Replacing,
            unique,
            key,
        ),
        draft(
            "renamed",
            &format!("AFTER UPDATE OF {}", of(&header.key)),
            Event::Renamed,
            both,
            2 * key,
        ),
        draft("deleting", "BEFORE DELETE", Event::Deleting, old_key, key),
    ]
}

/// The unique indexes of the header besides its key.
pub fn further_unique(header: &Part) -> impl Iterator<Item = &Vec<String>> {
    header.table.unique.iter().map(|index| &index.columns).filter(|columns| {
        columns.len() != header.key.len()
            || !columns.iter().all(|column| header.key.contains(column))
    })
}

fn child_drafts(part: &Part) -> Vec<Draft> {
    let new = prefixed("NEW", &part.link);
    let old = prefixed("OLD", &part.link);
    // Rows that refer to nothing here (another kind's lines in the same table) are passed over without a call.
    let nullable =
        part.link.iter().any(|link| part.table.column(link).is_some_and(|column| !column.not_null));
    let present = |values: &[String]| {
        let terms: Vec<String> =
            values.iter().map(|value| format!("{value} IS NOT NULL")).collect();
        format!("({})", terms.join(" AND "))
    };
    let condition = |of: &[&Vec<String>]| {
        if nullable {
            let terms: Vec<String> = of.iter().map(|values| present(values)).collect();
            format!("({}) AND ", terms.join(" OR "))
        } else {
            String::new()
        }
    };
    let draft = |suffix, moment: &str, condition, values: Vec<String>| Draft {
        suffix: Cow::Borrowed(suffix),
        moment: moment.to_owned(),
        event: Event::Touch,
        condition,
        marked: values.len(),
        values,
    };
    let mut drafts = vec![
        draft("inserting", "BEFORE INSERT", condition(&[&new]), new.clone()),
        draft(
            "updating",
            "BEFORE UPDATE",
            condition(&[&old, &new]),
            [old.clone(), new.clone()].concat(),
        ),
        draft("deleting", "BEFORE DELETE", condition(&[&old]), old),
    ];
    if part.parent == HEADER && part.table.key_is_rowid && part.table.key() == part.link {
        // A row beside the header may have its key, and so its piece, assigned by SQLite: before that it says -1.
        drafts.push(Draft {
            event: Event::Inserted,
            ..draft("inserted", "AFTER INSERT", String::new(), new)
        });
    }
    drafts
}

fn finish(
    guard: &Guard,
    place: usize,
    schema: &str,
    (database, format): (i64, i64),
    draft: Draft,
) -> Trigger {
    let part = &guard.parts[place];
    let name = format!("talon_{}_{}_{}", guard.id, place, draft.suffix);
    let code = Code { kind: guard.id, part: place, event: draft.event }.number();
    let marked = &draft.values[..draft.marked];
    // All marks of a kind's headers lie in one table, so that their order is known.
    let is_narrow =
        marked.len() <= NARROW && (place != HEADER || 2 * guard.header().key.len() <= NARROW);
    let body = if guard.refuses_unloaded {
        let text = format!(
            "talon: {} is guarded, load libtalon to write to {}",
            guard.kind, part.table.name
        );
        format!("SELECT RAISE(ABORT, {})", quote_text(&text))
    } else if format > 1 && is_narrow {
        // Few columns, because a trigger has a register for each: SQLite compiles them at every prepare and clears them
        // at every row, and up to about twenty it takes their memory from its lookaside.
        let mut values = marked.to_vec();
        values.resize(NARROW, "NULL".to_owned());
        format!("INSERT INTO talon_mark VALUES ({code}, {})", values.join(", "))
    } else {
        let columns: Vec<String> = (1..=marked.len()).map(|place| format!("k{place}")).collect();
        format!(
            "INSERT INTO talon_touched(code, {}) VALUES ({code}, {})",
            columns.join(", "),
            marked.join(", ")
        )
    };
    let needed = FIXED_ARGUMENTS + draft.values.len();
    let needed = if format > 1 { needed } else { needed.max(FIRST_ARITY) };
    let arity = ARITIES.into_iter().find(|arity| *arity >= needed).unwrap_or(needed);
    let mut values = draft.values;
    values.resize(arity - FIXED_ARGUMENTS, "NULL".to_owned());
    let sql = fill(&[
        ("schema", &quote_identifier(schema)),
        ("name", &quote_identifier(&name)),
        ("moment", &draft.moment),
        ("table", &quote_identifier(&part.table.name)),
        ("condition", &draft.condition),
        ("database", &database.to_string()),
        ("code", &code.to_string()),
        ("values", &values.join(", ")),
        ("body", &body),
    ]);
    let kept = sql.replacen(&format!("{}.", quote_identifier(schema)), "", 1);
    Trigger { name, sql, kept }
}

/// Fills the template in one pass, so that nothing inside a value is taken for a placeholder.
fn fill(values: &[(&str, &str)]) -> String {
    let mut rest: String = CREATE_TRIGGER
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut filled = String::new();
    while let Some(start) = rest.find('{') {
        let Some(length) = rest[start..].find('}') else {
            break;
        };
        let name = &rest[start + 1..start + length];
        let value = values.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
        filled.push_str(&rest[..start]);
        filled.push_str(value);
        rest = rest[start + length + 1..].to_owned();
    }
    filled + &rest
}

/// A trigger that is there: its name, the table it is on, its text as SQLite keeps it.
pub struct Installed {
    /// Its name.
    pub name: String,
    /// The table, by its present name.
    pub table: String,
    /// The text, with columns by their present names.
    pub sql: String,
}

/// The triggers of a kind that are there.
///
/// # Errors
/// What SQLite reports.
pub fn installed(connection: Connection, schema: &str, kind: i64) -> Result<Vec<Installed>> {
    let mut statement = connection.prepare(&format!(
        "SELECT name, tbl_name, sql FROM {}.sqlite_schema WHERE type = 'trigger' AND name GLOB ?1",
        quote_identifier(schema)
    ))?;
    let pattern = format!("talon_{kind}_*");
    let mut rows = statement.query(&[ValueRef::Text(pattern.as_bytes())])?;
    let mut found = Vec::new();
    while rows.next()? {
        let text = |index: usize| rows.column(index).as_str().unwrap_or_default().to_owned();
        found.push(Installed { name: text(0), table: text(1), sql: text(2) });
    }
    Ok(found)
}

/// The columns that a trigger's WHEN clause names, in order: SQLite keeps them true when a column is renamed.
pub fn named_columns(sql: &str) -> Vec<String> {
    let mut names = Vec::new();
    let Some(start) = sql.find("date('talon'") else {
        return names;
    };
    let mut rest = &sql[start..];
    let end = rest.find(" IS NULL").unwrap_or(rest.len());
    rest = &rest[..end];
    while let Some(found) = rest.find("NEW.").into_iter().chain(rest.find("OLD.")).min() {
        rest = &rest[found + 4..];
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut characters = quoted.char_indices().peekable();
            let mut length = quoted.len();
            while let Some((place, character)) = characters.next() {
                if character == '"' {
                    if characters.peek().is_some_and(|(_, next)| *next == '"') {
                        characters.next();
                    } else {
                        length = place + 1;
                        break;
                    }
                }
                name.push(character);
            }
            rest = &quoted[length..];
            names.push(name);
        } else {
            let length = rest
                .find(|character: char| {
                    !character.is_alphanumeric() && character != '_' && character != '$'
                })
                .unwrap_or(rest.len());
            names.push(rest[..length].to_owned());
            rest = &rest[length..];
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back() {
        let code = Code { kind: 7, part: 3, event: Event::Renamed };
        assert_eq!(Code::from_number(code.number()), Some(code));
        assert_eq!(Code::from_number(0xf), None);
    }

    #[test]
    fn a_condition_is_found_behind_any_name_of_a_table() {
        let sql = "CREATE TRIGGER \"x\" AFTER UPDATE ON \"a\"\" WHEN (b\"\"\"\nWHEN (NEW.\"c\" = 1 -- )\n) AND date('talon', 1) IS NULL BEGIN SELECT 1; END";
        assert_eq!(checking_condition(sql), Some("NEW.\"c\" = 1 -- )"));
    }

    #[test]
    fn columns_are_read_from_a_triggers_text_as_sqlite_keeps_it() {
        let sql = r#"CREATE TRIGGER x BEFORE UPDATE ON "t" WHEN (OLD."a" IS NOT NULL) AND date('talon', 1, 2, OLD."a""b", NEW.plain, NULL) IS NULL BEGIN SELECT NEW."z"; END"#;
        assert_eq!(named_columns(sql), ["a\"b", "plain"]);
    }
}
