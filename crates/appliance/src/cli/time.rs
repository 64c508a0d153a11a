// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Times as people read and type them. Moments are UTC: several appliances are looked at side by side.

use std::time::{Duration, SystemTime};

use weir_api::v1::Timestamp;

/// Longest time that an override may be asked to last, as the API has it: one that shall last longer has no end.
const SPAN_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Reads `90s`, `10m`, `2h` or `3d`.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    const HELP: &str = "write a whole number and a unit: 90s, 10m, 2h or 3d";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at(digits);
    let amount: u64 = amount.parse().map_err(|_| HELP.to_owned())?;
    let seconds = match unit {
        "s" => Some(amount),
        "m" => amount.checked_mul(60),
        "h" => amount.checked_mul(3_600),
        "d" => amount.checked_mul(86_400),
        _ => return Err(HELP.to_owned()),
    };
    match seconds.map(Duration::from_secs) {
        Some(Duration::ZERO) => Err("it has to be longer than nothing".to_owned()),
        Some(span) if span <= SPAN_MAX => Ok(span),
        _ => Err("at most 366d".to_owned()),
    }
}

/// A span in its two largest units: `48s`, `3m10s`, `2h5m`, `4d3h`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (large, small) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => ((seconds / 60, "m"), (seconds % 60, "s")),
        3_600..86_400 => ((seconds / 3_600, "h"), (seconds % 3_600 / 60, "m")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3_600, "h")),
    };
    match small.0 {
        0 => format!("{}{}", large.0, large.1),
        _ => format!("{}{}{}{}", large.0, large.1, small.0, small.1),
    }
}

/// How long ago `at` was; a moment to come, by a clock that is off, is now.
pub(super) fn age(at: SystemTime, now: SystemTime) -> String {
    span(now.duration_since(at).unwrap_or(Duration::ZERO))
}

/// A moment to the second: `2026-03-01 12:00:00Z`, short enough for a table.
pub(super) fn moment(at: SystemTime) -> String {
    // Fractions are cut, not rounded: nothing seems to have happened later than it did.
    let text = Timestamp(at).to_string();
    let seconds = text.split('.').next().unwrap_or(&text).trim_end_matches('Z');
    format!("{}Z", seconds.replacen('T', " ", 1))
}

/// A moment to come and how far off it is: `12:03:20Z (in 2m)`, with the day when that is not today's.
pub(super) fn deadline(at: SystemTime, now: SystemTime) -> String {
    let (then, today) = (moment(at), moment(now));
    let shown = match (then.split_once(' '), today.split_once(' ')) {
        (Some((day, time)), Some((today, _))) if day == today => time.to_owned(),
        _ => then,
    };
    match at.duration_since(now) {
        // Begun seconds count: what was set for two hours a moment ago ends in two hours.
        Ok(left) => format!("{shown} (in {})", span(left + Duration::from_millis(999))),
        Err(_) => format!("{shown} (now)"),
    }
}

/// The present moment.
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// Reads `2026-03-01T12:00:00Z` (RFC 3339).
pub(super) fn parse_moment(text: &str) -> Result<SystemTime, String> {
    match text.parse::<Timestamp>() {
        Ok(at) => Ok(at.0),
        Err(_) => Err("write it like 2026-03-01T12:00:00Z, or use --for 2h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn spans_are_read() {
        for (text, seconds) in
            [("90s", 90), ("10m", 600), ("2h", 7_200), ("3d", 259_200), ("366d", 31_622_400)]
        {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "10", "m", "-1m", "0s", "1.5h", "2 h", "367d", "9999999d", "99999999999999999999h"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_shown_in_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (190, "3m10s"),
            (7_500, "2h5m"),
            (360_000, "4d4h"),
            (86_400, "1d"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(age(at(100), at(40)), "0s", "a clock that is off");
    }

    #[test]
    fn moments_are_read() {
        assert_eq!(parse_moment("2026-03-01T12:00:00Z"), Ok(at(1_772_366_400)));
        for text in ["", "tomorrow", "12:00", "2026-03-01", "2026-13-01T12:00:00Z"] {
            assert!(parse_moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_deadline_of_today_needs_no_day() {
        let now = parse_moment("2026-03-01T12:00:00Z").expect("a moment");
        assert_eq!(deadline(now + Duration::from_secs(200), now), "12:03:20Z (in 3m20s)");
        assert_eq!(deadline(now + Duration::from_secs(86_400), now), "2026-03-02 12:00:00Z (in 1d)");
        assert_eq!(deadline(now + Duration::from_millis(7_199_500), now), "13:59:59Z (in 2h)");
        assert_eq!(deadline(now - Duration::from_secs(1), now), "11:59:59Z (now)");
    }
}
