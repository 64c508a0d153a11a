// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[vips.*.announce]`: when a VIP is announced and when it is withdrawn.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::{Section, Shape};
use crate::config::value::{self, Wrong, found};
use crate::model::{AnnouncePolicy, High, Mark, OnAllDown, Require};

const ANNOUNCE: Shape = Shape {
    known: &["low", "high", "up_hold", "down_hold", "on_all_down", "require"],
    later: &["capacity", "flap_brake", "strategy"],
};

const ON_ALL_DOWN: &[(&str, OnAllDown)] = &[
    ("withdraw", OnAllDown::Withdraw),
    ("deprioritise", OnAllDown::Deprioritise),
    ("keep", OnAllDown::Keep),
];

#[cfg(test)]
pub(super) const SHAPES: &[Shape] = &[ANNOUNCE];

/// An announce policy as read.
#[derive(Debug)]
pub(in crate::config) struct AnnounceDraft {
    pub(in crate::config) low: Option<Mark>,
    /// `Some(None)`: the usual one.
    pub(in crate::config) high: Option<Option<Mark>>,
    up_hold: Option<Duration>,
    down_hold: Option<Duration>,
    on_all_down: Option<OnAllDown>,
    pub(in crate::config) require: Option<Require>,
}

/// Reads the announce policy of a VIP; all of it may be left out.
pub(super) fn read(report: &mut Report, vip: &Section<'_>) -> AnnounceDraft {
    let section = vip.section_or_default(report, "announce", ANNOUNCE);
    let usual = AnnouncePolicy::default();
    AnnounceDraft {
        low: section.or(report, "low", usual.low, mark),
        high: section.optional(report, "high", mark),
        up_hold: section.or(report, "up_hold", usual.up_hold, value::duration(limits::ANNOUNCE_HOLD)),
        down_hold: section.or(report, "down_hold", usual.down_hold, value::duration(limits::ANNOUNCE_HOLD)),
        on_all_down: section.or(report, "on_all_down", usual.on_all_down, value::choice(ON_ALL_DOWN, &[])),
        require: section.or(report, "require", usual.require, require),
    }
}

impl AnnounceDraft {
    pub(super) fn finish(self) -> Option<AnnouncePolicy> {
        Some(AnnouncePolicy {
            low: self.low?,
            high: self.high?.map_or(High::Usual, High::Mark),
            up_hold: self.up_hold?,
            down_hold: self.down_hold?,
            on_all_down: self.on_all_down?,
            require: self.require?,
        })
    }
}

/// A number of backends, or a share of the weight.
fn mark(value: &DeValue<'_>) -> Result<Mark, Wrong> {
    const HELP: &str = "write a number of backends like `2`, or a share of the weight like `\"30%\"`";
    let wrong = || {
        let most = limits::MAX_BACKENDS_MAX;
        let message =
            format!("found {}, expected 1 to {most} backends or `\"1%\"` to `\"100%\"`", found(value));
        Wrong::new(message, HELP)
    };
    if let Some(backends) = value::whole_number(value) {
        return match backends {
            1..=limits::MAX_BACKENDS_MAX => Ok(Mark::Backends(backends)),
            _ => Err(wrong()),
        };
    }
    let percent = value.as_str().and_then(|text| text.strip_suffix('%'));
    let percent = percent.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    match percent.and_then(|digits| digits.parse().ok()) {
        Some(percent @ 1..=100) => Ok(Mark::Percent(percent)),
        Some(_) | None => Err(wrong()),
    }
}

/// `"all"`, `"any"`, or a list of services.
fn require(value: &DeValue<'_>) -> Result<Require, Wrong> {
    const HELP: &str = "write `\"all\"`, `\"any\"` or a list of services like `[\"www-https\"]`";
    match value {
        DeValue::String(word) if word == "all" => Ok(Require::All),
        DeValue::String(word) if word == "any" => Ok(Require::Any),
        DeValue::Array(items) => services(items.iter().map(toml::Spanned::get_ref)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => {
            let message =
                format!("found {}, expected `\"all\"`, `\"any\"` or a list of services", found(value));
            Err(Wrong::new(message, HELP))
        }
    }
}

fn services<'v>(items: impl Iterator<Item = &'v DeValue<'v>>) -> Result<Require, Wrong> {
    let mut names = BTreeSet::new();
    for item in items {
        let name = value::name(item)?;
        if !names.insert(name.clone()) {
            return Err(Wrong::new(format!("found `{name}` twice"), "name each service once"));
        }
    }
    if names.is_empty() {
        return Err(Wrong::new("found an empty list", "name at least one service, or write `\"any\"`"));
    }
    Ok(Require::Services(names))
}
