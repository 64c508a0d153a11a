// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Graceful restart (RFC 4724, RFC 8538): what we ask of the peer for our own restarts, and what we do for its.
//!
//! ```text
//!   ours     process starts, forwarding adopted ── OPEN with R and F ── routes ── set whole, or restart time over ── End-of-RIB
//!   theirs   session lost ── routes stale ── OPEN with F ── told again, End-of-RIB, or time over: what is still stale goes
//! ```
//!
//! F is said for the families of a process that adopted its forwarding, and by every process once a session of it was up.
//! It is not said before forwarding has been there the whole time since.

use std::time::Instant;

use super::state::Input;
use super::{Carried, RESTART_AFTER, Session, SessionConfig, Slot};
use crate::config::{Families, Family};
use crate::rib::AdjRibOut;
use crate::status::NegotiatedRestart;
use crate::wire::iana::{cease, error_code};
use crate::wire::{Capability, Notification};

/// What a session knows about restarts.
#[derive(Debug)]
pub(super) struct Restart {
    /// We have restarted and this peer has not yet been told everything; no longer than this.
    until: Option<Instant>,
    /// The wanted set is whole.
    pub(super) is_complete: bool,
    /// Our forwarding would outlive us.
    is_forwarding: bool,
    /// It has been there since the peer last heard of it, or since it was adopted.
    is_preserved: bool,
    /// The peer's routes are kept until then.
    pub(super) stale_until: Option<Instant>,
}

impl Restart {
    pub(super) fn new(config: &SessionConfig) -> Self {
        let until = config.graceful_restart.and(config.restarting_until);
        Self {
            until,
            is_complete: false,
            is_forwarding: true,
            is_preserved: until.is_some(),
            stale_until: None,
        }
    }

    /// Forwarding that comes back under an Established session has been there since the peer heard of what needs it: the
    /// caller withdraws and announces it accordingly.
    pub(super) fn set_forwarding(&mut self, is_there: bool, is_established: bool) {
        if is_there != self.is_forwarding {
            self.is_forwarding = is_there;
            self.is_preserved = is_there && is_established;
        }
    }

    /// Something was told.
    pub(super) fn told(&mut self, rib: &AdjRibOut) {
        if rib.has_ended_rib() {
            self.until = None;
        }
    }

    /// Whether End-of-RIB waits.
    fn holds_end_of_rib(&self, now: Instant) -> bool {
        !self.is_complete && self.until.is_some_and(|until| now < until)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let end_of_rib = self.until.filter(|_| !self.is_complete);
        [end_of_rib, self.stale_until].into_iter().flatten().min()
    }
}

impl Session {
    /// What our OPEN says about restarts now. Without forwarding that outlives us, no family: the peer learns that we help it,
    /// and keeps nothing.
    pub(super) fn restart_offer(&self, now: Instant) -> Option<Capability> {
        let config = self.config.graceful_restart.filter(|_| self.config.peer.has_graceful_restart)?;
        let restart = &self.restart;
        let is_restarting = restart.is_forwarding && restart.until.is_some_and(|until| now < until);
        let families = if restart.is_forwarding { self.config.peer.families } else { Families::default() };
        Some(Capability::GracefulRestart {
            is_restarting,
            has_notification: true,
            time_s: u16::try_from(config.restart_time.as_secs()).unwrap_or(u16::MAX),
            families: families.iter().map(|family| (family.into(), restart.is_preserved)).collect(),
        })
    }

    fn restart_of(&self, slot: Slot) -> Option<&NegotiatedRestart> {
        self.link(slot).connection.as_ref()?.negotiated.as_ref()?.restart.as_ref()
    }

    /// Whether the peer keeps our routes if the session just closes, and may: our forwarding goes on.
    pub(super) fn is_kept_by_peer(&self) -> bool {
        let restart = self.established_slot().and_then(|slot| self.restart_of(slot));
        self.restart.is_forwarding && restart.is_some_and(|restart| !restart.kept_by_peer.is_empty())
    }

    /// Whether another connection of the peer means that the session it had is no more (RFC 4724 §4.2).
    pub(super) fn has_peer_restarted(&self, now: Instant) -> bool {
        let restart = self.established_slot().and_then(|slot| self.restart_of(slot));
        let is_old = self.up_since.is_some_and(|since| now.saturating_duration_since(since) >= RESTART_AFTER);
        is_old && restart.is_some_and(|restart| !restart.kept_for_peer.is_empty())
    }

    /// Families whose routes outlive the end of an Established session by `input`.
    pub(super) fn kept_over(&self, slot: Slot, input: Input, carried: &Carried) -> Families {
        let Some(restart) = self.restart_of(slot) else { return Families::default() };
        let is_kept = match input {
            Input::TcpFailed => true,
            // RFC 8538 §4: as a lost connection, whoever sends the NOTIFICATION, unless it is a Hard Reset.
            Input::NotificationReceived => {
                restart.has_notification && matches!(carried, Carried::Reason(n) if !is_hard_reset(n))
            }
            Input::HoldExpired
            | Input::SendHoldExpired
            | Input::BadMessage
            | Input::OpenReceived
            | Input::ConnectRetryExpired => restart.has_notification,
            Input::Stop | Input::CollisionLost => false,
            // None of these ends an Established session.
            Input::Start
            | Input::StartPassive
            | Input::KeepaliveExpired
            | Input::Connected
            | Input::KeepaliveReceived
            | Input::UpdateReceived
            | Input::RefreshReceived => false,
        };
        if is_kept { restart.kept_for_peer } else { Families::default() }
    }

    /// The session is up: routes go whose forwarding the peer did not preserve (RFC 4724 §4.2).
    pub(super) fn begin_restart(&mut self, now: Instant, slot: Slot) {
        self.rib.hold_end_of_rib(self.restart.holds_end_of_rib(now));
        self.restart.is_preserved = self.restart.is_forwarding;
        let negotiated = self.link(slot).connection.as_ref().and_then(|c| c.negotiated.as_ref());
        let kept = negotiated.map_or(Families::default(), |negotiated| {
            let kept = negotiated.restart.as_ref().map_or(Families::default(), |r| r.kept_for_peer);
            kept.intersection(negotiated.preserved_by_peer)
        });
        let lost = Families { ipv4: !kept.ipv4, ipv6: !kept.ipv6 };
        self.drop_stale(lost);
    }

    /// The session is down: routes of `kept` become stale for as long as the peer asked and we allow; the others go.
    pub(super) fn lose_peer(&mut self, now: Instant, kept: Families, slot: Slot) {
        if self.stopping.as_ref().is_some_and(|stopping| stopping.keeps_received) {
            return;
        }
        let helper_max = self.config.graceful_restart.map(|config| config.helper_max);
        let time = self.restart_of(slot).zip(helper_max).map(|(restart, max)| restart.peer_time.min(max));
        match time {
            Some(time) if !time.is_zero() && !kept.is_empty() => {
                self.adj_rib_in.peer_restarts(kept);
                let is_any = !self.adj_rib_in.stale().is_empty();
                self.restart.stale_until = is_any.then(|| now + time);
            }
            Some(_) | None => self.forget_received(),
        }
    }

    /// The peer has told everything of a family again.
    pub(super) fn end_of_rib_received(&mut self, family: Family) {
        let mut only = Families::default();
        only.insert(family);
        self.drop_stale(only);
    }

    pub(super) fn forget_received(&mut self) {
        self.adj_rib_in.drop_families(Families::BOTH);
        self.restart.stale_until = None;
    }

    fn drop_stale(&mut self, families: Families) {
        self.adj_rib_in.drop_stale(families);
        self.settle_stale();
    }

    /// Nothing is waited for once nothing is stale.
    pub(super) fn settle_stale(&mut self) {
        if self.adj_rib_in.stale().is_empty() {
            self.restart.stale_until = None;
        }
    }

    /// Does what time or completeness brings.
    pub(super) fn tend_restart(&mut self, now: Instant) {
        if self.restart.stale_until.is_some_and(|until| until <= now) {
            self.drop_stale(Families::BOTH);
        }
        if self.restart.until.is_some_and(|until| until <= now) {
            self.restart.until = None;
        }
        if !self.restart.holds_end_of_rib(now) {
            self.rib.hold_end_of_rib(false);
        }
    }
}

fn is_hard_reset(notification: &Notification) -> bool {
    notification.code() == error_code::CEASE && notification.subcode() == cease::HARD_RESET
}
