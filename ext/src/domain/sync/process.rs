//! What a site does again and again: apply what has come, try again what was set aside, answer those who asked.

use super::emit::{Answer, Mode, Order};
use crate::domain::restore::TriggersOff;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Room, ValueRef};
use crate::storage::flow_store::FlowStore;
use crate::storage::schema::{fact, forget_fact, set_fact};
use crate::storage::site_store::SiteStore;

/// The fact that says at which minute of the day answers asked for `later` are written.
const RETURN_AT: &str = "return_at";

impl Talon {
    /// Applies the flows that are ready, tries again what was set aside, writes the answers that are due; gives how many of
    /// each, as JSON. A flow that cannot be read is refused.
    ///
    /// # Errors
    /// [`Error::Argument`] where it could not commit; what SQLite reports.
    pub fn process(&self, schema: &str) -> Result<String> {
        let place = self.database_to_write(schema)?;
        let mut applied = 0;
        while let Some(flow) = self.next_ready(place)? {
            match self.apply(schema, flow) {
                Ok(_) => applied += 1,
                // It will never be read: the flows of others are not to wait for it, and its sender sends again.
                Err(error @ Error::Flow { .. }) => {
                    self.refuse_flow(schema, flow, &error.to_string())?;
                }
                Err(error) => return Err(error),
            }
        }
        let freed = if applied == 0 { self.retry_all(schema, place)? } else { 0 };
        let answered = self.answer_all(schema)?;
        Ok(format!("{{\"applied\":{applied},\"freed\":{freed},\"answered\":{answered}}}"))
    }

    /// The oldest flow that is here whole and was not applied; those of a database that its site no longer has are older.
    fn next_ready(&self, place: usize) -> Result<Option<i64>> {
        let mut databases = self.databases()?;
        let asked = databases[place].own_statement(
            "SELECT id FROM {s}.talon_flow
             WHERE ready IS NOT NULL AND ended IS NULL AND refused IS NULL AND superseded IS NULL
               AND receiver = (SELECT value FROM {s}.talon_meta WHERE name = 'site')
             ORDER BY sender, incarnation = (SELECT s.incarnation FROM {s}.talon_site AS s WHERE s.id = sender), number LIMIT 1",
        )?;
        Ok(asked.first(&[], |row| Ok(row.column(0).as_integer()))?.flatten())
    }

    fn retry_all(&self, schema: &str, place: usize) -> Result<usize> {
        let before = self.databases()?[place].quarantined()?.len();
        if before == 0 {
            return Ok(0);
        }
        let triggers = TriggersOff::begin(self.connection);
        let done = self.atomically(schema, || {
            self.enlist()?;
            let mut databases = self.databases()?;
            let database = &mut databases[place];
            database.refresh()?;
            self.retry(database, None)?;
            Ok(before.saturating_sub(database.quarantined()?.len()))
        });
        drop(triggers);
        done
    }

    /// Writes the answers that are due.
    fn answer_all(&self, schema: &str) -> Result<usize> {
        let sites = SiteStore::new(self.connection, schema);
        let flows = FlowStore::new(self.connection, schema);
        let Some(own) = sites.own()? else { return Ok(0) };
        let mut due = Vec::new();
        for site in sites.all()?.into_iter().filter(|site| site.id != own.id) {
            let Some(flow) = flows.waiting_for_answer(site.id, own.id)? else { continue };
            let is_due = flow.answer == Answer::Now.text() || self.is_hour(schema, flow.id)?;
            if is_due {
                due.try_push((site.code, flow.id))?;
            }
        }
        for (code, flow) in &due {
            let order = Order { mode: Mode::Return, answer: Answer::None, answers: Some(*flow) };
            self.emit(schema, code, &order)?;
        }
        Ok(due.len())
    }

    /// Whether the common hour has struck since a flow came; at once where none was said.
    fn is_hour(&self, schema: &str, flow: i64) -> Result<bool> {
        let Some(minute) = fact(self.connection, schema, RETURN_AT)? else { return Ok(true) };
        let sql = format!(
            "SELECT ready FROM {}.talon_flow WHERE id = ?1",
            crate::storage::shape::quote_identifier(schema)
        );
        let came = self.connection.value(&sql, &[ValueRef::Integer(flow)])?;
        let came = came.and_then(|came| came.as_ref().as_integer()).unwrap_or(0);
        Ok(self.clock.now_ms() >= self.clock.next_time_of_day(came, minute))
    }

    /// Says at which time of day answers asked for `later` are written (`23:00`), or, with None, that they are at once;
    /// gives it back.
    ///
    /// # Errors
    /// [`Error::Argument`] where it is no time of day.
    pub fn set_return_at(&self, schema: &str, time: Option<&str>) -> Result<Option<String>> {
        let minute = time.map(minute_of_day).transpose()?;
        self.database_to_write(schema)?;
        self.atomically(schema, || match minute {
            Some(minute) => set_fact(self.connection, schema, RETURN_AT, minute),
            None => forget_fact(self.connection, schema, RETURN_AT),
        })?;
        Ok(minute.map(|minute| format!("{:02}:{:02}", minute / 60, minute % 60)))
    }
}

/// `23:00` as minutes.
fn minute_of_day(time: &str) -> Result<i64> {
    let read = || {
        let (hours, minutes) = time.split_once(':')?;
        let number = |text: &str, below: i64| -> Option<i64> {
            let is_digits =
                (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| is_digits && *number < below)
        };
        Some(number(hours, 24)? * 60 + number(minutes, 60)?)
    };
    read().ok_or_else(|| Error::Argument(format!("{time:?} is no time of day: '23:00'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_hours_and_minutes() {
        assert_eq!(minute_of_day("23:00").unwrap(), 23 * 60);
        assert_eq!(minute_of_day("0:05").unwrap(), 5);
        for bad in ["", "24:00", "23:60", "23", "+1:00", "1:-1", "001:00"] {
            assert!(minute_of_day(bad).is_err(), "{bad}");
        }
    }
}
