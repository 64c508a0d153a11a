// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reasons and their sentences: each says what is missing, in the words that `weir status` prints.

use std::time::{Instant, SystemTime};

use super::brake::WINDOW;
use super::facts::{ServiceFacts, WithheldBy};
use crate::model::{High, Mark};
use crate::overrides;

/// Why a VIP is not announced: a closed set, the words of status, metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// An operator withholds it, or the appliance is stopping.
    Admin,
    /// XDP is not attached, the maps do not hold what its services need, or a packet made to try them did not come through.
    Dataplane,
    /// Every backend it lacks is behind an interface that is down or gone.
    Uplink,
    /// A service has too few usable backends, or the VIP has no service.
    Backends,
    /// The health checks have not been made once.
    FirstResults,
    /// All is well, but not for long enough yet.
    Settle,
}

impl Reason {
    /// All of them, the gravest first.
    pub const ALL: [Self; 6] =
        [Self::Admin, Self::Dataplane, Self::Uplink, Self::Backends, Self::FirstResults, Self::Settle];

    /// The word in logs, status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Dataplane => "dataplane",
            Self::Uplink => "uplink",
            Self::Backends => "backends",
            Self::FirstResults => "first-results",
            Self::Settle => "settle",
        }
    }
}

/// A reason in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Which.
    pub reason: Reason,
    /// The sentence, up to the time that it names if it names one.
    pub text: String,
    /// The time that it names: when this ends, or has consequences, by itself.
    pub until: Option<Instant>,
    /// The sentence behind the time.
    pub rest: String,
}

impl Why {
    pub(crate) fn plain(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), until: None, rest: String::new() }
    }

    /// The whole sentence, with the time of day where it names a time.
    pub fn message(&self, wall: impl Fn(Instant) -> SystemTime) -> String {
        let time = self.until.map(|until| time_of_day(wall(until))).unwrap_or_default();
        format!("{}{time}{}", self.text, self.rest)
    }
}

/// `12:03:20 UTC`.
fn time_of_day(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

pub(super) fn withheld_by(by: &WithheldBy) -> Why {
    let text = match by {
        WithheldBy::Stopping => "the appliance is stopping".to_owned(),
        WithheldBy::Override { target, author, reason, until } => {
            let what = match target {
                overrides::Target::Appliance => "the whole appliance is withheld",
                overrides::Target::Vip(_)
                | overrides::Target::Pool(_)
                | overrides::Target::Backend { .. } => "withheld",
            };
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let until = until.map(|until| format!(" until {}", time_of_day(until))).unwrap_or_default();
            format!("{what} by {author}{until}{why}")
        }
    };
    Why::plain(Reason::Admin, text)
}

pub(super) fn no_service() -> Why {
    Why::plain(Reason::Backends, "no service uses this VIP")
}

pub(super) fn link_down(service: &ServiceFacts) -> Why {
    let text =
        format!("service `{}`: every backend is behind an interface that is down or gone", service.name);
    Why::plain(Reason::Uplink, text)
}

pub(super) fn first_results(service: &ServiceFacts) -> Why {
    Why::plain(
        Reason::FirstResults,
        format!("service `{}`: waiting for the first health checks", service.name),
    )
}

pub(super) fn too_few(service: &ServiceFacts, high: High, low: Mark) -> Why {
    let needed = match high {
        High::Usual if service.backends == 1 => "1 needed".to_owned(),
        High::Usual => format!("2 (or 30 % of the weight) needed{}", at_least(service, low)),
        High::Mark(mark) => format!("{} needed{}", amount(mark), at_least(service, low)),
    };
    Why::plain(Reason::Backends, format!("{}, {needed} to be announced", standing(service)))
}

pub(super) fn short(service: &ServiceFacts, low: Mark, until: Option<Instant>) -> Why {
    let text = format!("{}, {} needed", standing(service), amount(low));
    match until {
        Some(_) => Why {
            reason: Reason::Backends,
            text: format!("{text}; tolerated until "),
            until,
            rest: String::new(),
        },
        None => Why::plain(Reason::Backends, text),
    }
}

pub(super) fn kept() -> Why {
    Why::plain(Reason::Backends, "announced all the same: `on_all_down` is `keep`")
}

pub(super) fn deprioritised() -> Why {
    Why::plain(
        Reason::Backends,
        "announced with the least preference (GRACEFUL_SHUTDOWN): `on_all_down` is `deprioritise`",
    )
}

pub(super) fn leaving(until: Instant) -> Why {
    Why {
        reason: Reason::Admin,
        text: "announced with the least preference (GRACEFUL_SHUTDOWN) until ".to_owned(),
        until: Some(until),
        rest: ", then withdrawn".to_owned(),
    }
}

pub(super) fn settling(until: Instant, withdrawals: usize) -> Why {
    let minutes = WINDOW.as_secs() / 60;
    let rest = match withdrawals {
        0 => String::new(),
        1 => format!(" after 1 withdrawal in {minutes} min"),
        more => format!(" after {more} withdrawals in {minutes} min"),
    };
    Why { reason: Reason::Settle, text: "held until ".to_owned(), until: Some(until), rest }
}

/// `service `www`: 1 of 3 backends usable`.
fn standing(service: &ServiceFacts) -> String {
    let ServiceFacts { name, usable, backends, all, usable_weight, weight, .. } = service;
    if *all == 0 {
        return format!("service `{name}`: its pool has no backends");
    }
    if *backends == 0 {
        return format!("service `{name}`: all {all} backends are drained or disabled");
    }
    let share = match usable_weight.saturating_mul(100).checked_div(*weight) {
        Some(percent) if *usable > 0 && usable < backends => format!(" ({percent} % of the weight)"),
        _ => String::new(),
    };
    format!("service `{name}`: {usable} of {backends} backends usable{share}")
}

fn amount(mark: Mark) -> String {
    match mark {
        Mark::Backends(least) => least.to_string(),
        Mark::Percent(least) => format!("{least} % of the weight"),
    }
}

/// The lower mark, where it is not reached either.
fn at_least(service: &ServiceFacts, low: Mark) -> String {
    if low == Mark::Backends(1) || service.has(low) {
        String::new()
    } else {
        format!(", and {}", amount(low))
    }
}
