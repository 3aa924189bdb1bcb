//! What time it is, and which day at this station.

use chrono::{DateTime, FixedOffset, Local, Offset, TimeZone, Timelike, Utc};
use std::cell::{Cell, RefCell};

/// The connection's clock: the system's, or one that was set and stands still. The local day is asked of the system once
/// a minute at most: that costs a look at a file.
#[derive(Default)]
pub struct Clock {
    today: RefCell<Option<Today>>,
    set_to: Cell<Option<DateTime<FixedOffset>>>,
}

struct Today {
    from_ms: i64,
    until_ms: i64,
    day: String,
}

impl Clock {
    /// Milliseconds since 1970, UTC.
    pub fn now_ms(&self) -> i64 {
        self.set_to.get().map_or_else(|| Utc::now().timestamp_millis(), |at| at.timestamp_millis())
    }

    /// Sets the clock to a moment, where it stands still and whose offset decides which day it is; None lets the system's
    /// clock go on.
    pub fn set(&self, to: Option<DateTime<FixedOffset>>) {
        self.set_to.set(to);
        self.today.replace(None);
    }

    /// Gives the station's local calendar day of a moment, as `2026-11-21`, to `use_day`.
    pub fn with_day<T>(&self, at_ms: i64, use_day: impl FnOnce(&str) -> T) -> T {
        let mut today = self.today.borrow_mut();
        match &*today {
            Some(known) if (known.from_ms..known.until_ms).contains(&at_ms) => use_day(&known.day),
            _ => {
                let local = self.local(at_ms);
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

    /// The first moment after another at which it is this minute of the station's day, in ms since 1970.
    pub fn next_time_of_day(&self, after_ms: i64, minute: i64) -> i64 {
        let local = self.local(after_ms);
        let since_midnight_ms = i64::from(local.num_seconds_from_midnight()) * 1000
            + i64::from(local.timestamp_subsec_millis());
        let ahead_ms = minute * 60_000 - since_midnight_ms;
        after_ms + if ahead_ms > 0 { ahead_ms } else { ahead_ms + 24 * 3_600_000 }
    }

    /// A moment as a person at this station reads it: `2026-11-21T08:00:00.123+01:00`.
    pub fn shown(&self, at_ms: i64) -> String {
        self.local(at_ms).format("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
    }

    fn local(&self, at_ms: i64) -> DateTime<FixedOffset> {
        let utc = DateTime::<Utc>::from_timestamp_millis(at_ms).unwrap_or(DateTime::UNIX_EPOCH);
        let offset = match self.set_to.get() {
            Some(set) => *set.offset(),
            None => Local.offset_from_utc_datetime(&utc.naive_utc()).fix(),
        };
        utc.with_timezone(&offset)
    }
}

/// Reads a moment with its offset, such as `2026-11-21T08:00:00+01:00`.
pub fn read(text: &str) -> Option<DateTime<FixedOffset>> {
    let read = DateTime::parse_from_rfc3339(text).ok()?;
    // A day has ten characters, in whichever zone it is looked at: days are compared as texts.
    (1..=9998).contains(&chrono::Datelike::year(&read)).then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_ten_characters_and_a_moment_reads_back() {
        let clock = Clock::default();
        let at = 1_795_248_000_123;
        assert_eq!(clock.day(at).len(), 10);
        assert!(clock.shown(at).starts_with(&clock.day(at)));
        let read = DateTime::parse_from_rfc3339(&clock.shown(at)).unwrap();
        assert_eq!(read.timestamp_millis(), at);
    }

    #[test]
    fn a_clock_that_is_set_stands_still_in_its_own_zone() {
        let clock = Clock::default();
        clock.set(read("2026-11-21T23:30:00-05:00"));
        let at = clock.now_ms();
        assert_eq!(clock.shown(at), "2026-11-21T23:30:00.000-05:00");
        assert_eq!(clock.day(at), "2026-11-21");
        assert_eq!(clock.day(at + 30 * 60_000), "2026-11-22");
        clock.set(read("2026-11-22T05:30:00+01:00"));
        assert_eq!((clock.now_ms(), clock.day(at).as_str()), (at, "2026-11-22"));
        clock.set(None);
        assert_ne!(clock.now_ms(), at);
    }

    #[test]
    fn a_moment_needs_its_offset() {
        for bad in ["2026-11-21", "2026-11-21T08:00:00", "08:00", "2026-02-30T08:00:00Z", "now"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(read("2026-11-21T08:00:00Z").is_some());
    }
}
