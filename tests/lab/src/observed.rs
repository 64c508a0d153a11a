// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an appliance says of its backends and VIPs, asked over its API and waited for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::appliance::Appliance;
use crate::wait::wait_until;

impl Appliance {
    /// Status of a backend of a pool.
    pub fn backend(&self, pool: &str, backend: &str) -> Result<Value> {
        Ok(self.api().get(&format!("/v1/pools/{pool}/backends/{backend}"))?["status"].take())
    }

    /// Status of a VIP.
    pub fn vip(&self, vip: &str) -> Result<Value> {
        Ok(self.api().get(&format!("/v1/vips/{vip}"))?["status"].take())
    }

    /// Waits until a backend is in one of the states of the API, such as `failed`; gives its status.
    pub fn wait_backend(&self, pool: &str, backend: &str, state: &str, limit: Duration) -> Result<Value> {
        wait_until(&format!("{pool}/{backend} to be {state}"), limit, || {
            let status = self.backend(pool, backend)?;
            ensure!(status["state"] == state, "{status}");
            Ok(status)
        })
    }

    /// Waits until a backend is in that state in both pools of the lab.
    pub fn wait_both(&self, backend: &str, state: &str, limit: Duration) -> Result<()> {
        for pool in ["web4", "web6"] {
            self.wait_backend(pool, backend, state, limit)?;
        }
        Ok(())
    }

    /// Waits until all backends of all pools are usable.
    pub fn wait_usable(&self, limit: Duration) -> Result<()> {
        wait_until(&format!("all backends of {} to be usable", self.name()), limit, || {
            let status = self.status()?;
            let pools = status["pools"].as_object().context("no pools")?;
            for backend in pools.values().filter_map(|pool| pool["backends"].as_object()).flatten() {
                ensure!(backend.1["state"] == "usable", "{}: {}", backend.0, backend.1);
            }
            Ok(())
        })
    }

    /// Waits until a VIP is announced to a peer at least; gives its status.
    pub fn wait_announced(&self, vip: &str, limit: Duration) -> Result<Value> {
        wait_until(&format!("{vip} to be announced"), limit, || {
            let status = self.vip(vip)?;
            ensure!(status["announced"] == true, "{status}");
            Ok(status)
        })
    }

    /// Waits until a VIP is not announced and says that this code is why; gives its status.
    pub fn wait_withheld(&self, vip: &str, code: &str, limit: Duration) -> Result<Value> {
        wait_until(&format!("{vip} to be withheld for `{code}`"), limit, || {
            let status = self.vip(vip)?;
            ensure!(status["announced"] == false && codes(&status).any(|found| found == code), "{status}");
            Ok(status)
        })
    }
}

/// Codes of the reasons for which a VIP is withheld.
fn codes(status: &Value) -> impl Iterator<Item = &str> {
    status["withheld"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The sentence that a status gives for a code.
pub fn sentence<'a>(status: &'a Value, code: &str) -> Option<&'a str> {
    let conditions = status["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["code"] == code)?["message"].as_str()
}

/// Seconds since 1970, for comparison with times that the API tells.
pub fn seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A time of the API (RFC 3339 in UTC, with a fraction or without) as seconds since 1970.
pub fn seconds(time: &Value) -> Result<f64> {
    let text = time.as_str().with_context(|| format!("not a time: {time}"))?;
    parse(text).with_context(|| format!("not a time in UTC: {text}"))
}

fn parse(text: &str) -> Option<f64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.splitn(3, ':');
    let (hour, minute) = (clock.next()?.parse::<u32>().ok()?, clock.next()?.parse::<u32>().ok()?);
    let second: f64 = clock.next()?.parse().ok()?;
    let is_leap =
        |year: u32| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let years: u32 = (1970..year).map(|year| 365 + u32::from(is_leap(year))).sum();
    let lengths = [31, 28 + u32::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months: u32 = lengths.iter().take(month.checked_sub(1)? as usize).sum();
    let days = years + months + day.checked_sub(1)?;
    Some(f64::from(days) * 86_400.0 + f64::from(hour * 3_600 + minute * 60) + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(parse("2024-02-29T12:00:00.250001Z"), Some(1_709_208_000.250_001));
        assert_eq!(parse("2026-11-22T00:41:30Z"), Some(1_795_308_090.0));
        assert_eq!(parse("2026-11-22T00:41:30+01:00"), None);
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn the_sentence_of_a_code_is_found() {
        let status = serde_json::json!({"conditions": [{"code": "settle", "message": "held"}]});
        assert_eq!(sentence(&status, "settle"), Some("held"));
        assert_eq!(sentence(&status, "admin"), None);
    }
}
