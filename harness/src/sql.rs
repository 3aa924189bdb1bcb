//! What a statement's text says, whatever stands in its comments and strings.

/// A statement in small letters, without comments, with nothing in its strings.
fn code(sql: &str) -> String {
    let mut code = String::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (taken, shown) = match first {
            '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), " "),
            '/' if rest.starts_with("/*") => {
                (rest[2..].find("*/").map_or(rest.len(), |end| end + 4), " ")
            }
            '\'' => (quoted(rest, '\''), "''"),
            '"' | '`' => {
                let end = quoted(rest, first);
                (end, &rest[..end])
            }
            _ => (first.len_utf8(), &rest[..first.len_utf8()]),
        };
        code.push_str(shown);
        rest = &rest[taken..];
    }
    code.make_ascii_lowercase();
    code.trim().to_owned()
}

/// How long what is quoted is, from its first quote on; a doubled one is none.
fn quoted(text: &str, quote: char) -> usize {
    let mut end = 1;
    while let Some(place) = text[end..].find(quote) {
        end += place + 1;
        if !text[end..].starts_with(quote) {
            return end;
        }
        end += 1;
    }
    text.len()
}

fn says(sql: &str, texts: &[&str]) -> bool {
    let code = code(sql);
    texts.iter().any(|text| code.contains(text))
}

fn begins(sql: &str, texts: &[&str]) -> bool {
    let code = code(sql);
    texts.iter().any(|text| code.starts_with(text))
}

/// Whether it needs Talon.
pub(crate) fn is_talons(sql: &str) -> bool {
    says(sql, &["talon_"])
}

/// Whether it is what Talon runs of itself, by what only its own statements name.
pub(crate) fn is_of_talon(sql: &str) -> bool {
    says(sql, &["savepoint talon", ".talon_piece", ".talon_snapshot ", ".talon_tally"])
}

/// Whether it declares what Talon is to do.
pub(crate) fn is_declaration(sql: &str) -> bool {
    says(sql, &["talon_guard(", "talon_track(", "talon_derive(", "talon_check("])
}

/// Whether it is what a command of SQLite's shell runs.
pub(crate) fn is_of_shell(sql: &str) -> bool {
    says(sql, &["temp.sqlite_parameters"])
}

/// Whether it defines a part of the schema.
pub(crate) fn is_definition(sql: &str) -> bool {
    begins(sql, &["create "])
}

/// Whether it leaves everything as it is.
pub(crate) fn is_looking(sql: &str) -> bool {
    begins(sql, &["select ", "pragma "])
}

/// Whether it asks for the time or for chance: its values differ from run to run.
pub(crate) fn is_changing(sql: &str) -> bool {
    let asked = [
        "current_time",
        "current_date",
        "random(",
        "randomblob(",
        "date()",
        "time()",
        "julianday()",
        "unixepoch()",
        "strftime('')",
    ];
    sql.to_ascii_lowercase().contains("'now'") || says(sql, &asked)
}

/// Whether it sets what the settings of a run say.
pub(crate) fn is_setting(sql: &str) -> bool {
    let names = ["journal_mode", "synchronous", "page_size", "locking_mode"];
    begins(sql, &["pragma "]) && says(sql, &["=", "("]) && says(sql, &names)
}

/// Whether it works on files that are none of a run's.
pub(crate) fn is_outside(sql: &str) -> bool {
    let code = code(sql);
    let is_copy = code.starts_with("vacuum") && code.contains(" into ");
    is_copy || code.starts_with("attach") && !sql.contains(":memory:")
}

/// Whether it ends a transaction that is given up.
pub(crate) fn is_rollback(sql: &str) -> bool {
    begins(sql, &["rollback"]) && !says(sql, &[" to "])
}

/// Whether it makes the file anew.
pub(crate) fn is_vacuum(sql: &str) -> bool {
    begins(sql, &["vacuum"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_say_nothing() {
        let sql = "-- TRIGGER talon_1; here\n/* a;b */ INSERT INTO \"A 'b'\" VALUES ('it''s talon_x', 'é');";
        assert_eq!(code(sql), "insert into \"a 'b'\" values ('', '');");
        assert!(!is_talons(sql) && is_talons("select TALON_absorb()"));
        assert_eq!(code("SELECT 'open"), "select ''");
        assert_eq!(code("a /* open"), "a");
    }

    #[test]
    fn what_reaches_out_of_a_run_is_known() {
        assert!(is_outside("/* x */ ATTACH 'a.db' AS a") && is_outside("VACUUM main INTO 'b.db'"));
        assert!(!is_outside("VACUUM") && !is_outside("ATTACH ':memory:' AS m"));
        assert!(
            is_setting("PRAGMA synchronous = OFF") && is_setting("pragma main.journal_mode(wal)")
        );
        assert!(!is_setting("PRAGMA synchronous") && !is_setting("PRAGMA foreign_keys = ON"));
        assert!(is_changing("SELECT date('now')") && is_changing("SELECT strftime('%s')"));
        assert!(!is_changing("SELECT 'CURRENT_TIME', date(day)"));
    }
}
