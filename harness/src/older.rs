//! Takes Talon's tables back to what an older library made, as a host would find them that kept it for long.

use crate::scenario::Step;

/// What each format but the first has added.
const ADDED: [&str; 2] =
    [include_str!("../../sql/create_tables_2.sql"), include_str!("../../sql/create_tables_3.sql")];

/// The triggers of format 1 leave their marks in the only table that it has for them.
const TRIGGERS_OF_FORMAT_1: &str = "UPDATE sqlite_schema SET
  sql = replace(replace(replace(sql, ') IS NULL' || char(10), ', NULL, NULL) IS NULL' || char(10)), ', NULL); END', '); END'),
    'talon_mark VALUES', iif(sql GLOB '*, NULL); END', 'talon_touched(code, k1) VALUES', 'talon_touched(code, k1, k2) VALUES'))
WHERE type = 'trigger' AND name GLOB 'talon*'";

/// The formats that there have been before this library's.
pub const FORMATS: std::ops::RangeInclusive<usize> = 1..=ADDED.len();

/// The transaction that makes tables of an older format of today's; without Talon it does nothing.
pub fn steps(step: &Step, format: usize) -> Vec<Step> {
    let mut script = vec!["BEGIN".to_owned()];
    for added in ADDED.iter().skip(format - 1).rev() {
        script.extend(undone(added));
    }
    if format == 1 {
        let triggers =
            ["PRAGMA writable_schema = ON", TRIGGERS_OF_FORMAT_1, "PRAGMA writable_schema = OFF"];
        script.extend(triggers.map(str::to_owned));
    }
    script.push(format!("UPDATE talon_meta SET value = {format} WHERE name = 'format'"));
    script.push("COMMIT".to_owned());
    let last = script.len() - 1;
    let step_of = |(place, sql): (usize, String)| {
        let is_talons = place > 0 && place < last;
        let instead = is_talons.then(|| "SELECT 1".to_owned());
        let closes = step.closes && place == last;
        Step { on: step.on.clone(), sql, instead, closes, ..Step::default() }
    };
    script.into_iter().enumerate().map(step_of).collect()
}

/// Takes back what a script has created: indexes and columns before the tables.
fn undone(added: &str) -> Vec<String> {
    let named = |text: &str| -> Option<String> {
        let name = text.strip_prefix("{schema}.")?;
        Some(
            name.split(|letter: char| letter != '_' && !letter.is_alphanumeric())
                .next()?
                .to_owned(),
        )
    };
    let (mut indexes, mut columns, mut tables) = (Vec::new(), Vec::new(), Vec::new());
    for line in added.lines() {
        if let Some(name) = line.strip_prefix("CREATE TABLE ").and_then(named) {
            tables.push(format!("DROP TABLE {name}"));
        } else if let Some((_, index)) =
            line.split_once("INDEX ").filter(|_| line.starts_with("CREATE"))
        {
            indexes.extend(named(index).map(|name| format!("DROP INDEX {name}")));
        } else if let Some((table, column)) =
            line.strip_prefix("ALTER TABLE ").and_then(|rest| rest.split_once(" ADD COLUMN "))
        {
            let column = column.split([' ', ';']).next().unwrap_or_default();
            columns.extend(
                named(table).map(|table| format!("ALTER TABLE {table} DROP COLUMN {column}")),
            );
        }
    }
    [indexes, columns, tables].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_format_adds_is_taken_away_in_an_order_that_works() {
        let added = "ALTER TABLE {schema}.a ADD COLUMN b;\nCREATE TABLE {schema}.c(\n  d\n);\nCREATE UNIQUE INDEX {schema}.e ON a(b);";
        assert_eq!(undone(added), ["DROP INDEX e", "ALTER TABLE a DROP COLUMN b", "DROP TABLE c"]);
    }
}
