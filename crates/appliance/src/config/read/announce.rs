// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[vips.*.announce]`: when a VIP is announced and when it is withdrawn.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toml::de::DeValue;

use super::attributes::{self, AttributesDraft};
use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::Section;
use crate::config::shape::{Change, Key, Shape, Values, words};
use crate::config::value::{self, Wrong, found};
use crate::model::{AnnouncePolicy, Community, High, Mark, OnAllDown, Require};

pub(super) const ANNOUNCE: Shape = Shape {
    path: "vips.NAME.announce",
    title: "when a VIP is announced and when withdrawn",
    about: "Two marks and two times keep a VIP from flapping. A mark is a number of usable backends, or a share of the pool's \
            weight (backends that operators took out do not count as part of the pool), and each service of `require` must reach \
            it. With no usable backend at all a VIP goes at once, as `on_all_down` says.",
    change: Change::Reload,
    keys: &[
        Key::or("low", Values::Text(MARK), "1", "Less than this for `down_hold` withdraws the VIP"),
        Key::optional(
            "high",
            Values::Text(MARK),
            "2 backends or 30 % of the weight, whichever comes first",
            "As much as this for `up_hold` announces a withdrawn VIP again; never below `low`",
        ),
        Key::or(
            "up_hold",
            Values::Span(limits::ANNOUNCE_HOLD),
            "\"5s\"",
            "How long a withdrawn VIP must be well again; doubles with each withdrawal of the last minutes, up to 5 min. Not at the \
             first announcement after a start",
        ),
        Key::or(
            "down_hold",
            Values::Span(limits::ANNOUNCE_HOLD),
            "\"3s\"",
            "How long too few usable backends, but not none, are borne",
        ),
        Key::or(
            "on_all_down",
            Values::Words(|| words(ON_ALL_DOWN)),
            "\"withdraw\"",
            "With no usable backend, or less than `low` for `down_hold`: other sites take over, or the VIP stays with the least preference \
             (GRACEFUL_SHUTDOWN, RFC 8326), or it stays as it is. None of them announces a VIP that was not announced",
        ),
        Key::or(
            "require",
            Values::Text("`\"all\"`, `\"any\"` or a list of services of this VIP"),
            "\"all\"",
            "Which services must be served for the VIP to be announced",
        ),
        attributes::MED,
        attributes::PREPEND,
        attributes::COMMUNITIES,
    ],
    later: &["capacity", "flap_brake", "strategy"],
};
const MARK: &str = "1 to 2,048 backends, or `\"1%\"` to `\"100%\"`";

const ON_ALL_DOWN: &[(&str, OnAllDown)] = &[
    ("withdraw", OnAllDown::Withdraw),
    ("deprioritise", OnAllDown::Deprioritise),
    ("keep", OnAllDown::Keep),
];

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
    pub(in crate::config) attributes: AttributesDraft,
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
        attributes: attributes::read(report, &section),
    }
}

impl AnnounceDraft {
    pub(super) fn finish(self, names: &BTreeMap<String, Community>) -> Option<AnnouncePolicy> {
        Some(AnnouncePolicy {
            low: self.low?,
            high: self.high?.map_or(High::Usual, High::Mark),
            up_hold: self.up_hold?,
            down_hold: self.down_hold?,
            on_all_down: self.on_all_down?,
            require: self.require?,
            attributes: self.attributes.finish(names)?,
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
    value::percent(value).map(|percent| Mark::Percent(percent.get())).ok_or_else(wrong)
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
