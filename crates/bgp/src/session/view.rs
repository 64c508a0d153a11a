// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a session lets others see: its state, its tables, its timers, and what an operator should look at.

use std::net::SocketAddr;
use std::time::Instant;

use super::end::WITHDRAW_MAX;
use super::negotiate;
use super::{Connection, Link, Negotiated, Session, Slot, State};
use crate::config::Family;
use crate::rib::{AdjRibIn, AdjRibOut, TooMany};
use crate::status::{Counters, NegotiatedStatus, PeerWarning, SessionTimers};
use crate::wire::Capability;

impl Session {
    /// When to call [`Session::handle_timeout`]; may lie in the past. May change after every `handle_*` and
    /// [`Session::poll_transmit`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let stop = self.stopping.as_ref().filter(|_| self.established_slot().is_some()).map(|stopping| {
            // Everything was said: due at once.
            if self.rib.is_settled() { stopping.deadline - WITHDRAW_MAX } else { stopping.deadline }
        });
        let restart = self.restart.next_timeout();
        [self.dialled.timers.next(), self.accepted.timers.next(), self.idle_hold, stop, restart]
            .into_iter()
            .flatten()
            .min()
    }

    /// State of the further of the two connections; without any, what our own attempts are doing: Idle while resting.
    pub fn state(&self) -> State {
        let is_connected = self.accepted.state.is_connected() || self.dialled.state.is_connected();
        if self.idle_hold.is_some() && !is_connected {
            return State::Idle;
        }
        if self.accepted.state.is_connected() || self.dialled.state == State::Idle {
            self.accepted.state.max(self.dialled.state)
        } else {
            self.dialled.state
        }
    }

    /// What the OPENs agreed on and the peer's capabilities, of the further connection.
    pub fn negotiated(&self) -> Option<(&Negotiated, &[Capability])> {
        let connection = self.foremost()?;
        Some((connection.negotiated.as_ref()?, &connection.capabilities))
    }

    /// Our end of the further connection.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.foremost().map(|c| c.local)
    }

    /// The peer's end of the further connection.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.foremost().map(|c| c.remote)
    }

    /// Where the peer is connected to, if that is known.
    pub fn target(&self) -> Option<SocketAddr> {
        self.target
    }

    fn foremost(&self) -> Option<&Connection> {
        let (first, second) = self.ordered();
        first.connection.as_ref().or(second.connection.as_ref())
    }

    /// Both links, the further first.
    fn ordered(&self) -> (&Link, &Link) {
        let (dialled, accepted) = (&self.dialled, &self.accepted);
        if dialled.state >= accepted.state { (dialled, accepted) } else { (accepted, dialled) }
    }

    /// What the OPENs agreed on, in words; settled while Established, and long to make.
    pub fn negotiated_status(&self) -> Option<NegotiatedStatus> {
        let connection = self.foremost()?;
        let negotiated = connection.negotiated.as_ref()?;
        Some(negotiate::in_words(negotiated, &connection.ours, &connection.capabilities))
    }

    /// When the timers are due, of the further connection.
    pub fn timers(&self) -> SessionTimers {
        let (first, _) = self.ordered();
        SessionTimers {
            hold_at: first.timers.hold,
            keepalive_at: first.timers.keepalive,
            connect_at: self.dialled.timers.connect_retry,
            idle_until: self.idle_hold,
        }
    }

    /// Until when the routes of a peer that restarts are kept.
    pub fn stale_until(&self) -> Option<Instant> {
        self.restart.stale_until
    }

    /// What an operator should look at.
    pub fn warnings(&self) -> Vec<PeerWarning> {
        let mut warnings = Vec::new();
        if let Some(export) = self.rib.export() {
            let unsent = export.families.iter().filter(|family| !export.sends_family(*family));
            warnings.extend(unsent.map(PeerWarning::NoNextHop));
        }
        let max = self.config.peer.prefixes_max;
        for family in Family::ALL {
            let count = self.adj_rib_in.len(family);
            if u64::from(count) * 4 >= u64::from(max) * 3 {
                warnings.push(PeerWarning::PrefixesHigh { family, count, max });
            }
        }
        if let Some(TooMany { family, max }) = self.exceeded {
            warnings.push(PeerWarning::PrefixesExceeded { family, max });
        }
        if self.is_refused {
            warnings.push(PeerWarning::Refused);
        }
        warnings
    }

    /// What the peer has told.
    pub fn adj_rib_in(&self) -> &AdjRibIn {
        &self.adj_rib_in
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the peer is told.
    pub fn rib(&self) -> &AdjRibOut {
        &self.rib
    }

    /// Which connection is Established.
    pub fn established_slot(&self) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| self.link(*slot).state == State::Established)
    }
}
