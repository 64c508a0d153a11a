// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine at work: inputs through the table, actions carried out, and what a fall of one connection means for both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::{Action, Input, Notify, State, Step, transition};
use super::timers::{self, Timers};
use super::{Carried, Connection, STABLE_AFTER, Session, SessionEvent, Slot};
use crate::config::Families;
use crate::rib::Export;
use crate::wire::iana::{MESSAGE_LEN_MAX, MESSAGE_LEN_MAX_EXTENDED, cease, error_code};
use crate::wire::{MessageType, NextHop, Notification, UpdateEncoder};

impl Session {
    pub(super) fn input(&mut self, now: Instant, slot: Slot, input: Input, carried: Carried) {
        let before = self.link(slot).state;
        let Step { next, actions } = transition(before, input);
        let kept = if before == State::Established {
            self.kept_over(slot, input, &carried)
        } else {
            Families::default()
        };
        self.link_mut(slot).state = next;
        if next != before {
            self.counters.transitions += 1;
            self.log_transition(slot, (before, next), input, &carried);
        }
        for action in actions {
            self.act(now, slot, *action, &carried, kept);
        }
        let was_wanted = matches!(input, Input::Stop | Input::CollisionLost);
        let is_alone = !self.link(slot.other()).state.is_connected();
        if next == State::Idle && before != State::Idle && !was_wanted && is_alone {
            self.rest(now, &carried);
        }
    }

    /// At `info` when the session comes or goes; attempts may go on for days, and are for those who look closer.
    fn log_transition(&self, slot: Slot, (from, to): (State, State), input: Input, carried: &Carried) {
        let peer = &self.config.peer.name;
        let reason = match carried {
            Carried::Error(error) => error.to_string(),
            Carried::Reason(notification) => notification.to_string(),
            Carried::Nothing | Carried::Open(..) | Carried::Update(_) | Carried::Refresh(_) => {
                format!("{input:?}")
            }
        };
        if from == State::Established || to == State::Established {
            tracing::info!(%peer, ?slot, %from, %to, %reason, "transition");
        } else {
            tracing::debug!(%peer, ?slot, %from, %to, %reason, "transition");
        }
    }

    fn act(&mut self, now: Instant, slot: Slot, action: Action, carried: &Carried, kept: Families) {
        match action {
            Action::Dial => self.events.extend(self.target.map(SessionEvent::Dial)),
            Action::AbortDial if slot == Slot::Dialled => self.events.push_back(SessionEvent::AbortDial),
            Action::AbortDial => {}
            // Only the machine that dials has something to retry.
            Action::ArmConnectRetry if slot == Slot::Dialled => {
                let wait = self.random.jittered(self.config.peer.connect_retry);
                self.dialled.timers.connect_retry = Some(now + wait);
            }
            Action::ArmConnectRetry => {}
            Action::StopConnectRetry => self.link_mut(slot).timers.connect_retry = None,
            Action::SendOpen => self.with_connection(slot, |c| c.is_open_due = true),
            Action::SendKeepalive => self.with_connection(slot, |c| c.is_keepalive_due = true),
            Action::ArmOpenHold => {
                let wait = match slot {
                    Slot::Dialled => timers::OPEN_HOLD,
                    Slot::Accepted => timers::OPEN_HOLD_ACCEPTED,
                };
                self.link_mut(slot).timers.hold = Some(now + wait);
            }
            Action::ArmHold => match self.hold_time(slot) {
                Some(hold) => self.link_mut(slot).timers.hold = Some(now + hold),
                // Without a hold time only an Established session waits for ever; before it the first wait runs on.
                None if self.link(slot).state == State::Established => self.link_mut(slot).timers.hold = None,
                None => {}
            },
            Action::ArmKeepalive => {
                let interval = self.hold_time(slot).map(|hold| self.random.jittered(hold / 3));
                self.link_mut(slot).timers.keepalive = interval.map(|interval| now + interval);
            }
            Action::AcceptOpen => {
                if let Carried::Open(open, negotiated) = carried {
                    self.with_connection(slot, |c| {
                        if negotiated.has_extended_message {
                            c.received.set_max(MESSAGE_LEN_MAX_EXTENDED);
                        }
                        c.capabilities.clone_from(&open.capabilities);
                        c.negotiated = Some((**negotiated).clone());
                    });
                }
            }
            Action::Up => self.up(now, slot),
            Action::Down => self.down(now, slot, kept),
            Action::ReadUpdate => {
                if let Carried::Update(update) = carried {
                    self.read_update(now, slot, update);
                }
            }
            Action::ReadRefresh => {
                if let Carried::Refresh(refresh) = carried {
                    self.read_refresh(slot, *refresh);
                }
            }
            Action::Notify(reason) => self.notify(slot, reason, carried),
            Action::Close => {
                let link = self.link_mut(slot);
                link.timers = Timers::default();
                link.connection = None;
                let farewell = link.farewell.take().map(|notification| notification.encode());
                self.events.push_back(SessionEvent::Close { slot, farewell });
            }
        }
    }

    fn with_connection(&mut self, slot: Slot, change: impl FnOnce(&mut Connection)) {
        if let Some(connection) = &mut self.link_mut(slot).connection {
            change(connection);
        }
    }

    fn notify(&mut self, slot: Slot, reason: Notify, carried: &Carried) {
        let notification = match (reason, carried) {
            (Notify::Error, Carried::Error(error)) => error.answer(),
            (Notify::Stop, Carried::Reason(reason)) => Some(reason.clone()),
            (Notify::Error | Notify::Stop, _) => Some(Notification::shutdown("")),
            (Notify::Collision, _) => Some(Notification::cease(cease::COLLISION)),
            (Notify::HoldTimer, _) => Some(Notification::new(error_code::HOLD_TIMER, 0, vec![])),
            (Notify::SendHoldTimer, _) => Some(Notification::new(error_code::SEND_HOLD_TIMER, 0, vec![])),
            (Notify::Fsm(subcode), _) => Some(Notification::new(error_code::FSM, subcode, vec![])),
        };
        let Some(notification) = notification else { return };
        let notification = self.last_word(slot, notification);
        let why = if let Carried::Error(error) = carried { Some(error.to_string()) } else { None };
        self.counters.messages_out.add(MessageType::Notification);
        self.link_mut(slot).farewell = Some(notification.clone());
        self.events.push_back(SessionEvent::NotificationSent { notification, why });
    }

    fn up(&mut self, now: Instant, slot: Slot) {
        let Some(export) = self.export(slot) else { return };
        self.rib.session_up(export);
        self.begin_restart(now, slot);
        (self.exceeded, self.is_refused, self.owes_withdraws) = (None, false, false);
        self.counters.established += 1;
        self.up_since = Some(now);
        self.events.push_back(SessionEvent::Up);
        // An attempt that has no connection yet is pointless now; one that has is settled when its OPEN comes.
        if !self.link(slot.other()).state.is_connected() {
            self.stop_link(now, slot.other());
        }
    }

    /// How the session exports. Our address is the next hop of its own family, and of IPv4 over IPv6 if the peer
    /// understands that (RFC 8950); on a link-local session that is the link-local address, in 16 octets.
    fn export(&self, slot: Slot) -> Option<Export> {
        let connection = self.link(slot).connection.as_ref()?;
        let negotiated = connection.negotiated.as_ref()?;
        let (peer, own) = (&self.config.peer, NextHop::from_address(connection.local.ip()));
        let is_v6 = connection.local.is_ipv6();
        let message_max =
            if negotiated.has_extended_message { MESSAGE_LEN_MAX_EXTENDED } else { MESSAGE_LEN_MAX };
        Some(Export {
            asn: self.config.asn,
            families: negotiated.families,
            next_hop_v4: peer
                .next_hop_v4
                .map(NextHop::V4)
                .or((!is_v6 || negotiated.has_extended_next_hop).then_some(own)),
            next_hop_v6: peer.next_hop_v6.map(NextHop::V6).or(is_v6.then_some(own)),
            encoder: UpdateEncoder { four_octet_as: negotiated.four_octet_as, message_max },
            has_enhanced_refresh: negotiated.has_enhanced_refresh,
            policy: Arc::clone(&self.policy),
        })
    }

    fn down(&mut self, now: Instant, slot: Slot, kept: Families) {
        let lived = self.up_since.take().map(|since| now.saturating_duration_since(since));
        if lived.is_some_and(|lived| lived >= STABLE_AFTER) {
            (self.failures, self.refusals) = (0, 0);
        }
        if self.stopping.is_none() {
            self.counters.flaps += 1;
        }
        self.owes_withdraws = self.rib.owes_withdraws();
        self.rib.session_down();
        self.lose_peer(now, kept, slot);
        self.events.push_back(SessionEvent::Down);
    }

    /// No attempt of ours for a while after a failure.
    fn rest(&mut self, now: Instant, carried: &Carried) {
        let reason =
            if let Carried::Reason(n) = carried { n.hard_reset().or_else(|| Some(n.clone())) } else { None };
        let was_refused = reason.is_some_and(|n| {
            n.code() == error_code::CEASE
                && matches!(n.subcode(), cease::MAX_PREFIXES | cease::OUT_OF_RESOURCES)
        });
        if was_refused {
            self.is_refused = true;
            self.rest_after_refusal(now);
        } else {
            self.rest_after_failure(now);
        }
    }

    pub(super) fn rest_after_failure(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.rest_for(now, timers::idle_hold(self.failures));
    }

    /// One side has too many prefixes, which will not be better in a second.
    pub(super) fn rest_after_refusal(&mut self, now: Instant) {
        self.refusals = self.refusals.saturating_add(1);
        self.rest_for(now, timers::idle_hold_refused(self.refusals));
    }

    fn rest_for(&mut self, now: Instant, wait: Duration) {
        if self.stopping.is_some() {
            return;
        }
        self.idle_hold = Some(now + self.random.jittered(wait));
        self.stop_link(now, Slot::Dialled);
    }

    /// Starts what should be running: attempts while nothing stands, and readiness to accept unless Established.
    pub(super) fn tend(&mut self, now: Instant) {
        self.finish_stop(now);
        if !self.is_running || self.established_slot().is_some() {
            return;
        }
        if self.accepted.state == State::Idle {
            self.input(now, Slot::Accepted, Input::StartPassive, Carried::Nothing);
        }
        let may_dial = !self.config.peer.passive && self.target.is_some() && self.idle_hold.is_none();
        if may_dial && self.dialled.state == State::Idle && !self.accepted.state.is_connected() {
            self.input(now, Slot::Dialled, Input::Start, Carried::Nothing);
        }
    }
}
