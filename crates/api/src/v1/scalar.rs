// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Numbers and times as JSON carries them.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{RefOr, schema};
use utoipa::{PartialSchema, ToSchema};

/// The largest integer that every JSON reader keeps exactly.
const EXACT_MAX: u64 = 1 << 53;
/// Digits of a second's fraction that are read; more are cut off.
const FRACTION_DIGITS: usize = 9;
/// The last year that is written with four digits.
const YEAR_MAX: u64 = 9_999;

/// A count that only grows. A JSON number up to 2^53, a string above, so that no reader rounds it silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Counter(pub u64);

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 <= EXACT_MAX { serializer.serialize_u64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Counter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Counter;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count, as a number or as a string")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Counter, E> {
                Ok(Counter(value))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Counter, E> {
                value.parse().map(Counter).map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl PartialSchema for Counter {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9]+$"));
        let words = "A count that only grows: a number up to 2^53, a string of digits above.";
        OneOfBuilder::new().item(number).item(text).description(Some(words)).into()
    }
}

impl ToSchema for Counter {}

impl From<u64> for Counter {
    fn from(value: u64) -> Self {
        Self(value)
    }
}

impl From<Counter> for u64 {
    fn from(counter: Counter) -> Self {
        counter.0
    }
}

/// A moment, written as RFC 3339 in UTC with milliseconds: `2026-03-01T12:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub SystemTime);

/// A moment that others are subtracted from: as [`Timestamp`], with microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PreciseTime(pub SystemTime);

/// The text is not a moment of RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a time like `2026-03-01T12:00:00Z` (RFC 3339)")]
pub struct NotATime;

impl Timestamp {
    /// Time since 1970, zero for a clock before that.
    pub fn since_epoch(self) -> Duration {
        self.0.duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        Self(at)
    }
}

impl From<SystemTime> for PreciseTime {
    fn from(at: SystemTime) -> Self {
        Self(at)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        whole_seconds(f, self.0)?;
        write!(f, ".{:03}Z", self.since_epoch().subsec_millis())
    }
}

impl fmt::Display for PreciseTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        whole_seconds(f, self.0)?;
        write!(f, ".{:06}Z", Timestamp(self.0).since_epoch().subsec_micros())
    }
}

fn whole_seconds(f: &mut fmt::Formatter<'_>, at: SystemTime) -> fmt::Result {
    let since = Timestamp(at).since_epoch();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        moment(text).map(Self).ok_or(NotATime)
    }
}

impl FromStr for PreciseTime {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        moment(text).map(Self).ok_or(NotATime)
    }
}

macro_rules! as_text {
    ($($type:ident $words:literal;)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(schema::Type::String)
                    .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
                    .description(Some($words))
                    .into()
            }
        }

        impl ToSchema for $type {}
    )*};
}

as_text! {
    Timestamp "A moment: RFC 3339 in UTC with milliseconds.";
    PreciseTime "A moment: RFC 3339 in UTC with microseconds.";
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Counts from 0000-03-01, so that a leap day is the last day of its year, in periods of 400 years (146,097 days).
fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to a date; the inverse of [`civil`]. Years from 1970 on.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// `2026-03-01T12:00:00[.123][Z|+01:00]`, from 1970 on; `None` for anything else.
fn moment(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then(|| text.get(from..to)?.parse().ok())?
    };
    let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_date = (1970..=YEAR_MAX).contains(&year) && (1..=12).contains(&month) && day >= 1;
    // A leap second is the last of its minute, as every clock of this system has it.
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_since_1970(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanoseconds = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let read = fraction.get(..digits.min(FRACTION_DIGITS)).filter(|read| !read.is_empty())?;
        nanoseconds = format!("{read:0<9}").parse().ok()?;
        rest = fraction.get(digits..)?;
    }
    let local = days * 86_400 + hour * 3600 + minute * 60 + second.min(59);
    let seconds = match rest.as_bytes() {
        b"Z" | b"z" => local,
        [sign @ (b'+' | b'-'), offset @ ..] if offset.len() == 5 && offset.get(2) == Some(&b':') => {
            let at = text.len() - offset.len();
            let (hours, minutes) = (number(at, at + 2)?, number(at + 3, at + 5)?);
            let offset = (hours <= 23 && minutes <= 59).then_some(hours * 3600 + minutes * 60)?;
            if *sign == b'+' { local.checked_sub(offset)? } else { local + offset }
        }
        _ => return None,
    };
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        let at = |seconds, millis: u32| {
            Timestamp(UNIX_EPOCH + Duration::new(seconds, millis * 1_000_000)).to_string()
        };
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399, 999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(951_868_800, 1), "2000-03-01T00:00:00.001Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
        assert_eq!(at(1_798_761_599, 500), "2026-12-31T23:59:59.500Z");
        let precise = PreciseTime(UNIX_EPOCH + Duration::new(0, 1_234_999));
        assert_eq!(precise.to_string(), "1970-01-01T00:00:00.001234Z");
    }

    #[test]
    fn times_are_read_back() {
        for text in ["1970-01-01T00:00:00.000Z", "2000-02-29T23:59:59.999Z", "2100-03-01T00:00:00.000Z"] {
            assert_eq!(text.parse::<Timestamp>().expect(text).to_string(), text);
        }
        for day in (0..80_000).step_by(13) {
            let at = Timestamp(UNIX_EPOCH + Duration::from_secs(day * 86_400 + 3_661));
            assert_eq!(at.to_string().parse(), Ok(at));
        }
        for (text, same) in [
            ("2026-03-01T12:00:00+01:30", "2026-03-01T10:30:00.000Z"),
            ("2026-03-01t12:00:00.1239999999-00:30", "2026-03-01T12:30:00.123Z"),
            ("2026-12-31 23:59:60z", "2026-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().expect(text).to_string(), same);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-03-01",
            "2026-03-01T12:00:00",
            "2026-13-01T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-03-00T12:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:60:00Z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:00+1:30",
            "2026-03-01T12:00:00+25:00",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2026-03-01T12:00:00ZZ",
            "٢026-03-01T12:00:00Z",
            "2026-03-01T12:00:00+0\u{e9}:00",
            "+026-03-01T12:00:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn large_counters_become_strings() {
        for (value, text) in [
            (0, "0"),
            (1 << 53, "9007199254740992"),
            ((1 << 53) + 1, "\"9007199254740993\""),
            (u64::MAX, "\"18446744073709551615\""),
        ] {
            assert_eq!(serde_json::to_string(&Counter(value)).expect("a counter is JSON"), text);
            assert_eq!(serde_json::from_str::<Counter>(text).expect("read back"), Counter(value));
        }
        assert!(serde_json::from_str::<Counter>("\"many\"").is_err());
    }
}
