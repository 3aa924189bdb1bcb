//! The hybrid logical clock: when a change was made, as one number that sorts.
//!
//! A stamp is milliseconds since 1970, times 65536, plus a counter. It follows the machine's clock while that goes forward, and
//! goes on by itself while that stands still, goes back or was wrong: no change ever gets a stamp below one that its site had
//! seen before (Kulkarni et al., "Logical Physical Clocks", 2014).

/// Bits of the counter.
const COUNTER_BITS: u32 = 16;

/// The beginning of the year 3000, in ms since 1970: no clock is taken to be later.
const LATEST_MS: i64 = 32_503_680_000_000;

/// The highest stamp that another site's change may have. Nothing sorts behind the last of all numbers, so that a site which
/// had seen it could change nothing any more; what lies between is room for all that clocks beyond [`LATEST_MS`] count.
pub const MOST: i64 = i64::MAX / 2;

/// The stamp of a moment, in ms since 1970, as the least of its millisecond.
pub fn of_ms(ms: i64) -> i64 {
    ms.clamp(0, LATEST_MS) << COUNTER_BITS
}

/// The moment of a stamp, in ms since 1970.
pub fn ms(stamp: i64) -> i64 {
    stamp >> COUNTER_BITS
}

/// The stamp of what is done now, after everything up to `last` was seen.
pub fn tick(last: i64, now_ms: i64) -> i64 {
    of_ms(now_ms).max(last.saturating_add(1))
}

/// A stamp as text that sorts as stamps do: the moment in UTC and the counter, `2026-11-20T07:00:00.000Z/00000`.
pub fn shown(stamp: i64) -> String {
    let at = chrono::DateTime::<chrono::Utc>::from_timestamp_millis(ms(stamp));
    let at = at.unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC);
    let counter = stamp & ((1 << COUNTER_BITS) - 1);
    format!("{}/{counter:05}", at.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_795_158_000_000;

    #[test]
    fn a_stamp_is_never_below_what_was_seen() {
        let first = tick(0, NOW_MS);
        assert_eq!((ms(first), first), (NOW_MS, of_ms(NOW_MS)));
        let same_moment = tick(first, NOW_MS);
        let clock_went_back = tick(same_moment, NOW_MS - 86_400_000);
        let later = tick(clock_went_back, NOW_MS + 1);
        assert!(first < same_moment && same_moment < clock_went_back && clock_went_back < later);
        assert_eq!(ms(clock_went_back), NOW_MS);
    }

    #[test]
    fn a_counter_that_is_full_goes_on_in_the_next_millisecond() {
        let full = of_ms(NOW_MS) + 0xFFFF;
        assert_eq!(ms(tick(full, NOW_MS)), NOW_MS + 1);
    }

    #[test]
    fn clocks_beyond_all_bounds_do_not_overflow() {
        assert_eq!(of_ms(-5), 0);
        assert_eq!(tick(i64::MAX, 5), i64::MAX);
        assert!(of_ms(i64::MAX) > 0 && tick(of_ms(i64::MAX), i64::MAX) < MOST);
        assert!(shown(i64::MAX).len() > 20);
    }

    #[test]
    fn the_text_of_stamps_sorts_as_they_do() {
        let stamps = [of_ms(NOW_MS), of_ms(NOW_MS) + 9, of_ms(NOW_MS) + 10, of_ms(NOW_MS + 1)];
        let texts = stamps.map(shown);
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(texts[1], "2026-11-20T07:00:00.000Z/00009");
    }
}
