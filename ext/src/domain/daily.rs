//! The daily routine: at the first call of a calendar day, pieces that have lost their lines are found and the snapshots
//! of the days before go. Whoever calls later that day is told what came of it.

use super::database::Database;
use super::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::ValueRef;
use crate::storage::schema::EDITS_SINCE;

/// What the daily routine says.
#[derive(Debug, Default)]
pub struct Daily {
    /// This call did it.
    ran: bool,
    /// The day it was done for.
    day: String,
    /// Pieces without their lines, now.
    lost: i64,
    /// Snapshots that the purge of that day removed and kept.
    purged: i64,
    kept_lost: i64,
    kept_edited: i64,
    notes: Vec<String>,
}

impl Daily {
    /// As `talon_daily` answers.
    pub fn to_json(&self) -> String {
        let Daily { day, lost, purged, kept_lost, kept_edited, .. } = self;
        let ran = i64::from(self.ran);
        let note = if self.notes.is_empty() {
            String::new()
        } else {
            format!(",\"note\":{}", serde_json::Value::from(self.notes.join("; ")))
        };
        format!(
            "{{\"ran\":{ran},\"day\":\"{day}\",\"lost\":{lost},\"purged\":{purged},\"kept_lost\":{kept_lost},\
             \"kept_edited\":{kept_edited}{note}}}"
        )
    }
}

impl Talon {
    /// Does the daily routine, or reports what came of it where it was done today already.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::OlderFormat`], or what SQLite reports.
    pub fn daily(&self, schema: &str) -> Result<Daily> {
        let today = self.clock.day(self.clock.now_ms());
        let place = self.database_place(schema)?;
        if self.databases()?[place].is_done(&today)? {
            self.look(schema, None)?;
            return self.report(self.database_place(schema)?, &today);
        }
        let place = self.database_to_write(schema)?;
        let ran = self.atomically(schema, || self.do_daily(place, &today));
        self.course.borrow_mut().forget_states();
        match ran? {
            Some(daily) => Ok(daily),
            None => self.report(place, &today),
        }
    }

    /// None when another station was faster.
    fn do_daily(&self, place: usize, today: &str) -> Result<Option<Daily>> {
        if self.databases()?[place].is_done(today)? {
            return Ok(None);
        }
        let (journal, purged) = self.purge_database(place, today, false)?;
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        database.prune_changes()?;
        let station = database.station(self.station().as_ref())?;
        database
            .own_statement(
                "INSERT INTO {s}.talon_day(day, at, station, lost, purge) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .run(&[
                ValueRef::Text(today.as_bytes()),
                ValueRef::Integer(self.clock.now_ms()),
                station.map_or(ValueRef::Null, ValueRef::Integer),
                ValueRef::Integer(purged.lost),
                ValueRef::Integer(journal),
            ])?;
        Ok(Some(Daily {
            ran: true,
            day: today.to_owned(),
            lost: purged.lost,
            purged: purged.purged,
            kept_lost: purged.kept_lost,
            kept_edited: purged.kept_edited,
            notes: purged.notes,
        }))
    }

    /// What the routine that was done last has come to, and what is lost now.
    fn report(&self, place: usize, today: &str) -> Result<Daily> {
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        let mut daily = database.last_daily()?;
        if daily.day.as_str() > today {
            daily.notes.push(format!(
                "the clock says {today}, and {} is done already: nothing is done before the day after that",
                daily.day
            ));
        }
        for kind in database.guarded_kinds() {
            match self.lost(database, kind, None) {
                Ok(lost) => daily.lost += lost.len() as i64,
                Err(Error::Definition { problem, .. }) => {
                    let name = &database.kinds[kind].name;
                    daily.notes.push(format!("{name} is not checked: {problem}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(daily)
    }
}

impl Database {
    /// Whether the routine was done on a day, or on a later one: the clock may have gone back.
    fn is_done(&mut self, day: &str) -> Result<bool> {
        if self.format < EDITS_SINCE {
            return Ok(false);
        }
        let statement =
            self.own_statement("SELECT 1 FROM {s}.talon_day WHERE day >= ?1 LIMIT 1")?;
        Ok(statement.first(&[ValueRef::Text(day.as_bytes())], |_| Ok(()))?.is_some())
    }

    fn last_daily(&mut self) -> Result<Daily> {
        let statement = self.own_statement(
            "SELECT d.day, p.purged, p.kept_lost, p.kept_edited, p.note FROM {s}.talon_day AS d
             LEFT JOIN {s}.talon_purged AS p ON p.id = d.purge ORDER BY d.day DESC LIMIT 1",
        )?;
        let found = statement.first(&[], |row| {
            let integer = |index: usize| row.column(index).as_integer().unwrap_or(0);
            Ok(Daily {
                day: row.column(0).as_str().unwrap_or_default().to_owned(),
                purged: integer(1),
                kept_lost: integer(2),
                kept_edited: integer(3),
                notes: row.column(4).as_str().map(str::to_owned).into_iter().collect(),
                ..Daily::default()
            })
        })?;
        Ok(found.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_quoted_and_stands_last() {
        let mut daily =
            Daily { ran: true, day: "2026-11-21".to_owned(), lost: 2, ..Daily::default() };
        let plain =
            r#"{"ran":1,"day":"2026-11-21","lost":2,"purged":0,"kept_lost":0,"kept_edited":0}"#;
        assert_eq!(daily.to_json(), plain);
        daily.notes.push("kept all of \"x\"".to_owned());
        let noted = plain.replace("0}", r#"0,"note":"kept all of \"x\""}"#);
        assert_eq!(daily.to_json(), noted);
    }
}
