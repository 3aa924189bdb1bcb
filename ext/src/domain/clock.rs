//! What time it is, and which day at this station.

use chrono::{DateTime, Local, Offset, TimeZone, Utc};
use std::cell::RefCell;

/// The connection's clock. The local day is asked of the system once a minute at most: that costs a look at a file.
#[derive(Default)]
pub struct Clock {
    today: RefCell<Option<Today>>,
}

struct Today {
    from_ms: i64,
    until_ms: i64,
    day: String,
}

impl Clock {
    /// Milliseconds since 1970, UTC.
    pub fn now_ms(&self) -> i64 {
        Utc::now().timestamp_millis()
    }

    /// Gives the station's local calendar day of a moment, as `2026-11-21`, to `use_day`.
    pub fn with_day<T>(&self, at_ms: i64, use_day: impl FnOnce(&str) -> T) -> T {
        let mut today = self.today.borrow_mut();
        match &*today {
            Some(known) if (known.from_ms..known.until_ms).contains(&at_ms) => use_day(&known.day),
            _ => {
                let local = local(at_ms);
                // The day may end, or the offset change, at a full minute only.
                let from_ms = at_ms - at_ms.rem_euclid(60_000);
                let known = Today {
                    from_ms,
                    until_ms: from_ms + 60_000,
                    day: local.format("%Y-%m-%d").to_string(),
                };
                use_day(&today.insert(known).day)
            }
        }
    }

    /// The station's local calendar day of a moment.
    pub fn day(&self, at_ms: i64) -> String {
        self.with_day(at_ms, str::to_owned)
    }
}

fn local(at_ms: i64) -> DateTime<chrono::FixedOffset> {
    let utc = DateTime::<Utc>::from_timestamp_millis(at_ms).unwrap_or(DateTime::UNIX_EPOCH);
    let offset = Local.offset_from_utc_datetime(&utc.naive_utc()).fix();
    utc.with_timezone(&offset)
}

/// A moment as a person at this station reads it: `2026-11-21T08:00:00.123+01:00`.
pub fn shown(at_ms: i64) -> String {
    local(at_ms).format("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_ten_characters_and_a_moment_reads_back() {
        let clock = Clock::default();
        let at = 1_795_248_000_123;
        assert_eq!(clock.day(at).len(), 10);
        assert!(shown(at).starts_with(&clock.day(at)));
        let read = DateTime::parse_from_rfc3339(&shown(at)).unwrap();
        assert_eq!(read.timestamp_millis(), at);
    }
}
