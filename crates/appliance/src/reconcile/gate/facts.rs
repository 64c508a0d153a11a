// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a gate goes by: the policy, the services' backends, and what operators say.

use std::time::{Duration, Instant, SystemTime};

use super::why::{self, Why};
use crate::model::{AnnouncePolicy, High, Mark, Require};
use crate::overrides;

/// Everything about one VIP at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// What the document asks for.
    pub policy: AnnouncePolicy,
    /// Its services, by name.
    pub services: Vec<ServiceFacts>,
    /// Who withholds it, if anybody does.
    pub withheld_by: Option<WithheldBy>,
    /// How long it is announced with the least preference before somebody who withholds it is obeyed; zero: not at all.
    pub drain_time: Duration,
}

/// The backends of one service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceFacts {
    /// Name of the service.
    pub name: String,
    /// Backends that may get new flows.
    pub usable: u32,
    /// Backends that operators have not taken out.
    pub backends: u32,
    /// Backends of the pool, all of them.
    pub all: u32,
    /// Weight of the usable ones.
    pub usable_weight: u64,
    /// Weight of those not taken out.
    pub weight: u64,
    /// The interface to every one of them is down or gone.
    pub is_link_down: bool,
    /// The health checks of this service have been made once.
    pub has_first_results: bool,
}

/// Who withholds a VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WithheldBy {
    /// The appliance is going down.
    Stopping,
    /// An operator.
    Override {
        /// What the override is about: the VIP or the appliance.
        target: overrides::Target,
        /// Who set it.
        author: String,
        /// Why; may be empty.
        reason: String,
        /// When it ends by itself.
        until: Option<SystemTime>,
    },
}

/// How good the backends are, from the point of view of a VIP that is announced. The worse the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// There is nothing to serve.
    NoService,
    /// Behind an interface that is down: our own fault.
    LinkDown,
    /// No usable backend.
    Nothing,
    /// Below the lower mark.
    Short,
    /// At least the lower mark.
    Enough,
}

impl Facts {
    /// Where an announced VIP stands. Missing first results are no reason to withdraw, so they do not show here.
    pub(super) fn level(&self) -> Level {
        let levels = self.critical().map(|service| service.level(self.policy.low));
        let joined = if self.policy.require == Require::Any { levels.max() } else { levels.min() };
        joined.unwrap_or(Level::NoService)
    }

    /// Whether a VIP that is not announced may be.
    pub(super) fn is_fit(&self) -> bool {
        let mut critical = self.critical().peekable();
        let is_fit = |service: &ServiceFacts| self.missing(service).is_none();
        critical.peek().is_some()
            && if self.policy.require == Require::Any { critical.any(is_fit) } else { critical.all(is_fit) }
    }

    /// Whether a VIP that was announced would stay so, as far as is known for sure: no service that counts is unchecked.
    pub(super) fn is_borne(&self) -> bool {
        self.level() == Level::Enough && self.critical().all(|service| service.has_first_results)
    }

    /// One sentence for each service that keeps it from being announced.
    pub(super) fn unfitness(&self) -> Vec<Why> {
        if self.critical().next().is_none() {
            return vec![why::no_service()];
        }
        if self.is_fit() { Vec::new() } else { self.critical().filter_map(|one| self.missing(one)).collect() }
    }

    /// One sentence for each service below the lower mark, with the time at which that has consequences.
    pub(super) fn shortages(&self, until: Option<Instant>) -> Vec<Why> {
        let is_short = |service: &&ServiceFacts| service.level(self.policy.low) < Level::Enough;
        let short = self.critical().filter(is_short);
        short.map(|service| why::short(service, self.policy.low, until)).collect()
    }

    /// The services that count: with `any` all of them, one of which is enough.
    fn critical(&self) -> impl Iterator<Item = &ServiceFacts> {
        self.services.iter().filter(|service| match &self.policy.require {
            Require::All | Require::Any => true,
            Require::Services(named) => named.contains(&service.name),
        })
    }

    /// What one service lacks before a VIP may come (back).
    fn missing(&self, service: &ServiceFacts) -> Option<Why> {
        let AnnouncePolicy { low, high, .. } = self.policy;
        if service.is_link_down {
            Some(why::link_down(service))
        } else if service.usable == 0 || !service.reaches(high, low) {
            Some(why::too_few(service, high, low))
        } else if !service.has_first_results {
            Some(why::first_results(service))
        } else {
            None
        }
    }
}

impl ServiceFacts {
    fn level(&self, low: Mark) -> Level {
        if self.is_link_down {
            Level::LinkDown
        } else if self.usable == 0 {
            Level::Nothing
        } else if self.has(low) {
            Level::Enough
        } else {
            Level::Short
        }
    }

    /// Whether it has what `mark` asks for.
    pub(super) fn has(&self, mark: Mark) -> bool {
        match mark {
            Mark::Backends(least) => self.usable >= least,
            Mark::Percent(least) => {
                u128::from(self.usable_weight) * 100 >= u128::from(self.weight) * u128::from(least)
            }
        }
    }

    fn reaches(&self, high: High, low: Mark) -> bool {
        let is_high = match high {
            High::Usual => self.has(Mark::Backends(2)) || self.has(Mark::Percent(30)),
            High::Mark(mark) => self.has(mark),
        };
        is_high && self.has(low)
    }
}
