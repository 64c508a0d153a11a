// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Announce or withdraw: one gate a VIP. Pure: facts and time are arguments, the decision is a value.
//!
//! ```text
//!            fit for the hold; the first time: fit
//!   ┌────┐ ──────────────────────────────────────────► ┌────┐
//!   │down│                                             │ up │ ◄── short of `low`: stays for `down_hold`
//!   └────┘ ◄────────────────────────────────────────── └────┘
//!     ▲     nothing usable · short for `down_hold` ·      │ the same two, `on_all_down = "deprioritise"`
//!     │     operator, uplink, dataplane: at once          ▼
//!     └───────────── operator, uplink, dataplane ── ┌─────────────┐ ── fit for the hold ──► up
//!                                                   │deprioritised│
//!                                                   └─────────────┘
//! ```
//! An operator who takes out a VIP that is up or deprioritised gets it by way of *leaving*: with the least preference for
//! `drain_time`, so that peers turn away while it still works, then down. Nothing usable, or forwarding lost, cuts that short.
//!
//! *Fit* means: every service that matters has its first results and reaches the upper mark. *Short* means: below the
//! lower mark, but not nothing. The hold is `up_hold`, doubled for each withdrawal of the last minutes (the brake); it
//! never delays going down. What operators do is no fault: it adds nothing to the brake, and a VIP that stayed fit meanwhile
//! comes back at once. `docs/adr/0016-announce-gates.md` argues the choices.
//!
//! Peers may still hold a VIP that the process before announced. Until they were told the whole set, the lower mark is
//! enough to go on with it: what was borne before a restart must not be lost by it.

mod brake;
mod facts;
mod why;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use weir_bgp::Prefix;

pub use brake::{HOLD_MAX, WINDOW};
pub use facts::{Facts, ServiceFacts, WithheldBy};
pub use why::{Reason, Why};

use crate::model::OnAllDown;
use brake::Brake;
use facts::Level;

/// What one gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Announce, and how, or not.
    pub verdict: Verdict,
    /// What speaks against it, the gravest first. Not empty when withheld; may hold warnings when announced.
    pub whys: Vec<Why>,
    /// When time alone may change the decision.
    pub wake_at: Option<Instant>,
}

/// Announce, and how, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As usual.
    Announce,
    /// With the least preference: nothing is usable, and the policy says so.
    Deprioritise,
    /// With the least preference for a moment: it is about to be withdrawn on purpose.
    Leave,
    /// Not at all.
    Withhold,
}

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the speaker was told to announce the VIP, before the pass and after it.
    pub was_told: bool,
    /// After it.
    pub is_told: bool,
    /// Whether its forwarding is in place and verified.
    pub is_in_place: bool,
}

/// The memory of one VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    state: State,
    /// Has been announced by this process: from then on coming back takes the hold.
    is_known_to_peers: bool,
    /// Is announced, as far as is known.
    is_told: bool,
    /// Since when it has been fit without a break, and how long that has to last.
    fit: Option<Fit>,
    brake: Brake,
    /// Peers may hold it from the process before, and were not told otherwise yet.
    is_resuming: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Down,
    /// Announced; short of the lower mark since then, if it is.
    Up {
        short_since: Option<Instant>,
    },
    Deprioritised,
    /// Announced with the least preference, to be withdrawn then.
    Leaving {
        until: Instant,
        short_since: Option<Instant>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fit {
    since: Instant,
    /// When the hold ends that the brake asked for when it became fit.
    held_until: Instant,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            state: State::Down,
            is_known_to_peers: false,
            is_told: false,
            fit: None,
            brake: Brake::default(),
            is_resuming: false,
        }
    }
}

impl Gate {
    /// Decides by the facts of this moment.
    pub fn decide(&mut self, facts: &Facts, now: Instant) -> Decision {
        self.note_fitness(facts, now);
        self.turn(facts, now);
        self.decision(facts, now)
    }

    /// Learns what came of the decision. Forwarding that is lost under an announced VIP counts as a withdrawal.
    pub fn handle_outcome(&mut self, outcome: Outcome, now: Instant) {
        let Outcome { was_told, is_told, is_in_place } = outcome;
        self.is_known_to_peers |= is_told;
        self.is_told = is_told;
        if is_in_place {
            return;
        }
        self.fit = None;
        match self.state {
            State::Up { .. } | State::Deprioritised => {
                if was_told && !is_told {
                    self.brake.handle_withdrawal(now);
                }
                if !is_told {
                    self.state = State::Down;
                }
            }
            // It was about to go anyway, so the brake hears nothing of it.
            State::Leaving { .. } if !is_told => self.state = State::Down,
            State::Leaving { .. } | State::Down => {}
        }
    }

    fn note_fitness(&mut self, facts: &Facts, now: Instant) {
        if !(facts.is_fit() || self.is_resuming && facts.is_borne()) {
            self.fit = None;
        } else if self.fit.is_none() {
            let held_until = now + self.brake.hold(facts.policy.up_hold, now);
            self.fit = Some(Fit { since: now, held_until });
        }
    }

    fn turn(&mut self, facts: &Facts, now: Instant) {
        if facts.withheld_by.is_some() {
            // What operators say is no withdrawal to the brake.
            self.state = self.leave(facts, now);
            return;
        }
        self.state = match self.state {
            State::Down => self.up_or(State::Down, now),
            State::Deprioritised if facts.level() <= Level::LinkDown => State::Down,
            State::Deprioritised if facts.is_fit() => self.up_or(State::Deprioritised, now),
            // The policy may be another one by now, which is no fault either.
            State::Deprioritised => match facts.policy.on_all_down {
                OnAllDown::Withdraw => State::Down,
                OnAllDown::Deprioritise => State::Deprioritised,
                OnAllDown::Keep => State::Up { short_since: Some(now) },
            },
            State::Up { short_since } => self.up(facts, short_since, now),
            // Taken back in time: as if nothing had been.
            State::Leaving { short_since, .. } => self.up(facts, short_since, now),
        };
    }

    /// Where a VIP stands that was announced as usual.
    fn up(&mut self, facts: &Facts, short_since: Option<Instant>, now: Instant) -> State {
        match facts.level() {
            Level::NoService | Level::LinkDown => self.withdraw(State::Down, now),
            Level::Nothing => self.all_down(facts, short_since, now),
            Level::Short => {
                let since = short_since.unwrap_or(now);
                if now >= since + facts.policy.down_hold {
                    self.all_down(facts, Some(since), now)
                } else {
                    State::Up { short_since: Some(since) }
                }
            }
            Level::Enough => State::Up { short_since: None },
        }
    }

    /// The way down that an operator asks for: by way of the least preference where it is announced and serves.
    fn leave(&self, facts: &Facts, now: Instant) -> State {
        let latest = now + facts.drain_time;
        let (until, short_since) = match self.state {
            State::Down => return State::Down,
            State::Leaving { until, short_since } => (until.min(latest), short_since),
            State::Up { short_since } => (latest, short_since),
            State::Deprioritised => (latest, None),
        };
        let short_since = (facts.level() == Level::Short).then(|| short_since.unwrap_or(now));
        let serves = self.is_told && facts.level() > Level::Nothing;
        if serves && now < until { State::Leaving { until, short_since } } else { State::Down }
    }

    /// Up when it has been fit for long enough, and at once the first time.
    fn up_or(&self, stays: State, now: Instant) -> State {
        let is_due = |fit: Fit| !self.is_known_to_peers || now >= fit.held_until;
        if self.fit.is_some_and(is_due) { State::Up { short_since: None } } else { stays }
    }

    /// What the policy wants when the backends do not suffice any more.
    fn all_down(&mut self, facts: &Facts, short_since: Option<Instant>, now: Instant) -> State {
        match facts.policy.on_all_down {
            OnAllDown::Withdraw => self.withdraw(State::Down, now),
            OnAllDown::Deprioritise => self.withdraw(State::Deprioritised, now),
            OnAllDown::Keep => State::Up { short_since: Some(short_since.unwrap_or(now)) },
        }
    }

    fn withdraw(&mut self, state: State, now: Instant) -> State {
        // What no peer ever heard of cannot flap.
        if self.is_known_to_peers {
            self.brake.handle_withdrawal(now);
        }
        state
    }

    fn decision(&self, facts: &Facts, now: Instant) -> Decision {
        match self.state {
            State::Up { short_since } => self.up_decision(facts, short_since, now),
            State::Deprioritised => {
                let (mut whys, wake_at) = self.against(facts, now);
                whys.insert(0, why::deprioritised());
                Decision { verdict: Verdict::Deprioritise, whys, wake_at }
            }
            State::Leaving { until, .. } => {
                let mut whys: Vec<Why> = facts.withheld_by.iter().map(why::withheld_by).collect();
                whys.push(why::leaving(until));
                Decision { verdict: Verdict::Leave, whys, wake_at: Some(until) }
            }
            State::Down => {
                let (whys, wake_at) = self.against(facts, now);
                Decision { verdict: Verdict::Withhold, whys, wake_at }
            }
        }
    }

    /// Announced, perhaps not for long.
    fn up_decision(&self, facts: &Facts, short_since: Option<Instant>, now: Instant) -> Decision {
        let mut whys = Vec::new();
        let mut wake_at = None;
        if let Some(since) = short_since {
            let end = since + facts.policy.down_hold;
            let is_held = facts.level() == Level::Short && now < end;
            wake_at = is_held.then_some(end);
            whys = facts.shortages(wake_at);
            if !is_held {
                whys.push(why::kept());
            }
        }
        Decision { verdict: Verdict::Announce, whys, wake_at }
    }

    /// What keeps it down, and until when if that is time alone.
    fn against(&self, facts: &Facts, now: Instant) -> (Vec<Why>, Option<Instant>) {
        let mut whys: Vec<Why> = facts.withheld_by.iter().map(why::withheld_by).collect();
        whys.extend(facts.unfitness());
        let mut wake_at = None;
        if let Some(fit) = self.fit
            && facts.withheld_by.is_none()
            && self.is_known_to_peers
            && now < fit.held_until
        {
            whys.push(why::settling(fit.held_until, self.brake.withdrawals(now)));
            wake_at = Some(fit.held_until);
        }
        (whys, wake_at)
    }
}

/// The gates of all VIPs, by prefix: peers know no names, so one that is renamed keeps its memory, and another address under
/// an old name has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gates {
    gates: BTreeMap<Prefix, Gate>,
    is_resuming: bool,
    /// How often one of them became another than it was.
    changes: u64,
}

impl Gates {
    /// From now on until [`Self::handle_complete`], peers may hold VIPs from the process before.
    pub fn resume(&mut self) {
        self.is_resuming = true;
    }

    /// Peers have been told the whole set: what they do not have now is down.
    pub fn handle_complete(&mut self) {
        self.changes += u64::from(self.is_resuming);
        self.is_resuming = false;
    }

    /// How often one of them became another than it was: as long as that stays the same, the same facts get the same answers
    /// until a decision's time is over.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Decides for every VIP, in the order given. A VIP that is not there any more is forgotten; one whose policy changed keeps
    /// its memory.
    pub fn decide<'a>(
        &mut self,
        vips: impl Iterator<Item = (Prefix, &'a Facts)>,
        now: Instant,
    ) -> Vec<(Prefix, Decision)> {
        let mut decisions = Vec::with_capacity(self.gates.len());
        for (vip, facts) in vips {
            let gate = self.gates.entry(vip).or_default();
            let before = gate.clone();
            gate.is_resuming = self.is_resuming;
            decisions.push((vip, gate.decide(facts, now)));
            self.changes += u64::from(*gate != before);
        }
        if self.gates.len() != decisions.len() {
            let here: BTreeSet<Prefix> = decisions.iter().map(|(vip, _)| *vip).collect();
            self.gates.retain(|vip, _| here.contains(vip));
        }
        decisions
    }

    /// Learns what came of the decision about one VIP.
    pub fn handle_outcome(&mut self, vip: Prefix, outcome: Outcome, now: Instant) {
        if let Some(gate) = self.gates.get_mut(&vip) {
            let before = gate.clone();
            gate.handle_outcome(outcome, now);
            self.changes += u64::from(*gate != before);
        }
    }
}
