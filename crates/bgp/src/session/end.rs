// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a session ends when it is we who want it: for good, before a restart, or because the path is dead.
//!
//! ```text
//!                 peer keeps our routes (RFC 4724)     any other peer
//!   Stop          withdraws, Hard Reset of Cease/2     withdraws, Cease/2        Hard Reset where both sent N (RFC 8538):
//!   Restart       what is unsaid, then just closed     withdraws, Cease/4        a plain Cease would be survived by our
//!   path dead     Hard Reset of Cease/10               Cease/10                  routes
//! ```
//!
//! The reasons are in ADR 0021.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::{Input, State};
use super::{Carried, Session, SessionEvent, Slot};
use crate::config::{Ending, PathDown};
use crate::rib::Wanted;
use crate::wire::Notification;
use crate::wire::iana::{cease, error_code};

/// Longest time to get the withdraws of a clean end out before the last word follows anyway.
pub(super) const WITHDRAW_MAX: Duration = Duration::from_secs(1);

/// A clean end under way.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) reason: Notification,
    /// The connection is closed without the reason: the peer is to keep our routes.
    is_silent: bool,
    /// What the peer told stays for the next process.
    pub(super) keeps_received: bool,
    /// When the end comes at the latest.
    pub(super) deadline: Instant,
    /// [`SessionEvent::Stopped`] was told.
    is_done: bool,
}

impl Session {
    /// Ends for good or before a restart, then [`SessionEvent::Stopped`]. Nothing starts it again.
    pub fn handle_ending(&mut self, now: Instant, ending: &Ending) {
        if self.stopping.is_some() {
            return;
        }
        self.is_running = false;
        self.idle_hold = None;
        let is_silent = matches!(ending, Ending::Restart { .. }) && self.is_kept_by_peer();
        if !is_silent {
            self.rib.set_wanted(Arc::new(Wanted::default()));
        }
        let (reason, keeps_received) = match ending {
            Ending::Stop { text } => (Notification::shutdown(text), false),
            Ending::Restart { text } => (Notification::reset(text), true),
        };
        let deadline = now + WITHDRAW_MAX;
        self.stopping = Some(Stopping { reason, is_silent, keeps_received, deadline, is_done: false });
        for slot in Slot::ALL {
            if self.link(slot).state != State::Established {
                self.stop_link(now, slot);
            }
        }
        if !keeps_received {
            self.forget_received();
        }
        self.tend(now);
    }

    /// Sends the last word once everything was said or the time for it is over.
    pub(super) fn finish_stop(&mut self, now: Instant) {
        let Some(stopping) = &self.stopping else { return };
        if let Some(slot) = self.established_slot() {
            let is_settled = self.rib.is_settled();
            if !is_settled && now < stopping.deadline {
                return;
            }
            // A peer that still lacks a withdraw must not keep what it has.
            if stopping.is_silent && is_settled {
                self.input(now, slot, Input::TcpFailed, Carried::Nothing);
            } else {
                self.stop_link(now, slot);
            }
        }
        if let Some(stopping) = &mut self.stopping
            && !std::mem::replace(&mut stopping.is_done, true)
        {
            self.events.push_back(SessionEvent::Stopped);
        }
    }

    pub(super) fn stop_link(&mut self, now: Instant, slot: Slot) {
        let reason = match &self.stopping {
            Some(stopping) => stopping.reason.clone(),
            None => Notification::cease(cease::COLLISION),
        };
        self.input(now, slot, Input::Stop, Carried::Reason(reason));
    }

    pub(super) fn path_down(&mut self, now: Instant, why: PathDown) {
        let mut was_connected = false;
        for slot in Slot::ALL {
            if !self.link(slot).state.is_connected() {
                continue;
            }
            was_connected = true;
            match why {
                PathDown::Bfd => {
                    let reason = Carried::Reason(Notification::cease(cease::BFD_DOWN));
                    self.input(now, slot, Input::Stop, reason);
                }
                // No word would get through.
                PathDown::Link => self.input(now, slot, Input::TcpFailed, Carried::Nothing),
            }
        }
        if self.stopping.as_ref().is_none_or(|stopping| !stopping.keeps_received) {
            self.forget_received();
        }
        if was_connected && self.idle_hold.is_none() {
            self.rest_after_failure(now);
        }
    }

    /// What is really sent for `reason`: wrapped, where the peer would keep our routes over it and is not to (RFC 8538 §3):
    /// because the session is meant to end, or because the peer still holds what we could not withdraw.
    pub(super) fn last_word(&self, slot: Slot, reason: Notification) -> Notification {
        let is_meant = reason.code() == error_code::CEASE
            && matches!(
                reason.subcode(),
                cease::MAX_PREFIXES
                    | cease::ADMIN_SHUTDOWN
                    | cease::PEER_DECONFIGURED
                    | cease::ADMIN_RESET
                    | cease::BFD_DOWN
            );
        let connection = self.link(slot).connection.as_ref();
        let restart = connection.and_then(|c| c.negotiated.as_ref()).and_then(|n| n.restart.as_ref());
        if (is_meant || self.owes_withdraws) && restart.is_some_and(|restart| restart.has_notification) {
            Notification::hard_reset_of(&reason)
        } else {
            reason
        }
    }
}
