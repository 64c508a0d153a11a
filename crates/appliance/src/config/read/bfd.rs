// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `bfd` of a peer: whether its path is watched besides, and how fast.

use toml::de::DeValue;

use crate::config::limits;
use crate::config::nearest::nearest;
use crate::config::shape::{Key, Values};
use crate::config::value::{self, Wrong, found, key_text};
use crate::model::Bfd;

/// The key of a peer.
pub(super) const KEY: Key = Key::or(
    "bfd",
    Values::Text("boolean, or a table of `interval` (`10ms` to `1m`) and `multiplier` (2 to 255)"),
    "false",
    "Whether BFD (RFC 5880, single hop) watches the path; `true` is `{ interval = \"100ms\", multiplier = 3 }`. A session that left \
     Up ends the BGP session at once; one that never comes up does not hold it back",
);

const HELP: &str = "write `true`, or `{ interval = \"100ms\", multiplier = 3 }`";
const KEYS: [&str; 2] = ["interval", "multiplier"];

/// Reads it; `None`: no BFD.
pub(super) fn bfd(value: &DeValue<'_>) -> Result<Option<Bfd>, Wrong> {
    let table = match value {
        DeValue::Boolean(false) => return Ok(None),
        DeValue::Boolean(true) => return Ok(Some(Bfd::default())),
        DeValue::Table(table) => table,
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_) => {
            return Err(Wrong::new(format!("found {}, expected a boolean or a table", found(value)), HELP));
        }
    };
    let mut bfd = Bfd::default();
    for (key, value) in table {
        let (key, value): (&str, _) = (key.get_ref(), value.get_ref());
        let of_key = |wrong: Wrong| Wrong::new(format!("`{key}`: {}", wrong.message), wrong.help);
        match key {
            "interval" => bfd.interval = value::duration(limits::BFD_INTERVAL)(value).map_err(of_key)?,
            "multiplier" => {
                let number = value::number(limits::BFD_MULTIPLIER)(value).map_err(of_key)?;
                // The range is that of the octet on the wire.
                bfd.multiplier = u8::try_from(number).unwrap_or(u8::MAX);
            }
            _ => {
                let help = match nearest(key, KEYS) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("known here: {}", KEYS.join(", ")),
                };
                return Err(Wrong::new(format!("unknown key `{}`", key_text(key)), help));
            }
        }
    }
    Ok(Some(bfd))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(text: &str) -> Result<Option<Bfd>, String> {
        let text = format!("bfd = {text}");
        let table = toml::de::DeTable::parse(&text).expect("TOML");
        let (_, value) = table.get_ref().iter().next().expect("a key");
        bfd(value.get_ref()).map_err(|wrong| wrong.message)
    }

    #[test]
    fn on_off_and_how_fast() {
        let usual = Bfd { interval: Duration::from_millis(100), multiplier: 3 };
        assert_eq!(read("false"), Ok(None));
        for text in ["true", "{}", "{ interval = \"100ms\" }", "{ multiplier = 3, interval = \"100ms\" }"] {
            assert_eq!(read(text), Ok(Some(usual)), "{text}");
        }
        let fast = Bfd { interval: Duration::from_millis(50), multiplier: 5 };
        assert_eq!(read("{ interval = \"50ms\", multiplier = 5 }"), Ok(Some(fast)));
    }

    #[test]
    fn what_it_does_not_take_is_said() {
        assert_eq!(read("1").unwrap_err(), "found `1`, expected a boolean or a table");
        assert_eq!(read("{ multiplyer = 3 }").unwrap_err(), "unknown key `multiplyer`");
        let slow = read("{ interval = \"61s\" }").unwrap_err();
        assert_eq!(slow, "`interval`: found `\"61s\"`, expected a time span from `10ms` to `1m`");
        let once = read("{ multiplier = 1 }").unwrap_err();
        assert_eq!(once, "`multiplier`: found `1`, expected a whole number from 2 to 255");
    }

    #[test]
    fn what_it_takes_bfd_takes() {
        assert_eq!(limits::BFD_INTERVAL, weir_bfd::config::INTERVAL_MIN..=weir_bfd::config::INTERVAL_MAX);
        assert_eq!(*limits::BFD_MULTIPLIER.end(), u32::from(u8::MAX));
    }
}
