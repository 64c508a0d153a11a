// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waiting for a condition: polled until it holds or the deadline passes, never slept for.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Between two looks. Short, because what is timed by polling is timed no better than this.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What one waits for will never come: a daemon has ended. Anywhere in an error it ends the wait at once.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) String);

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Ended {}

/// How much slower than the metal the machine says it is (`WEIR_SLOWNESS`, a factor): an emulated one.
///
/// # Panics
/// If it says something else than a whole number from 1: limits that fit nothing would be held to for hours.
pub fn slowness() -> u32 {
    std::env::var_os("WEIR_SLOWNESS").map_or(1, |text| {
        factor(&text)
            .unwrap_or_else(|| panic!("WEIR_SLOWNESS is a whole number from 1, found {}", text.display()))
    })
}

fn factor(text: &OsStr) -> Option<u32> {
    text.to_str()?.parse().ok().filter(|factor| *factor > 0)
}

/// `limit`, or more on a machine of some [`slowness`].
pub fn fair(limit: Duration) -> Duration {
    limit * slowness()
}

/// Asks until `look` succeeds; its error says why not yet. After `limit`, made [`fair`], the last such error is returned.
pub fn wait_until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let limit = fair(limit);
    let deadline = Instant::now() + limit;
    loop {
        let not_yet = match look() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if not_yet.downcast_ref::<Ended>().is_some() {
            return Err(not_yet).with_context(|| format!("waited for {what}"));
        }
        if Instant::now() >= deadline {
            return Err(not_yet).with_context(|| format!("waited {limit:?} for {what}"));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reason_is_told() {
        let mut looks = 0;
        let error = wait_until::<()>("it", Duration::from_millis(20), || {
            looks += 1;
            anyhow::bail!("look {looks}")
        })
        .expect_err("it never holds");
        assert_eq!(format!("{error:#}"), format!("waited 20ms for it: look {looks}"));
        assert!(looks > 1);
    }

    #[test]
    fn a_daemon_that_ended_ends_the_wait() {
        let begun = Instant::now();
        let error =
            wait_until::<()>("it", Duration::from_secs(60), || Err(Ended("weir ended".into()).into()));
        assert_eq!(format!("{:#}", error.expect_err("it never holds")), "waited for it: weir ended");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_factor_is_a_whole_number_from_1() {
        let factor = |text: &str| factor(OsStr::new(text));
        assert_eq!((factor("1"), factor("10")), (Some(1), Some(10)));
        for text in ["", "0", "-1", "1.5", "ten", "10 "] {
            assert_eq!(factor(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_value_is_given() {
        assert_eq!(wait_until("it", Duration::ZERO, || Ok(7)).expect("it holds"), 7);
    }
}
