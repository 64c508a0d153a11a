// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine at work: inputs through the table, actions carried out, and what a fall of one connection means for both.

use std::time::Instant;

use super::state::{Action, Input, Notify, State, Step, transition};
use super::timers::{self, Timers};
use super::{Carried, Connection, STABLE_AFTER, Session, SessionEvent, Slot};
use crate::rib::Export;
use crate::wire::iana::{MESSAGE_LEN_MAX, cease, error_code};
use crate::wire::{
    MessageType, NextHop, Notification, Refresh, RefreshKind, Treatment, Update, UpdateEncoder,
};

impl Session {
    pub(super) fn input(&mut self, now: Instant, slot: Slot, input: Input, carried: Carried) {
        let before = self.link(slot).state;
        let Step { next, actions } = transition(before, input);
        self.link_mut(slot).state = next;
        if next != before {
            self.counters.transitions += 1;
            tracing::debug!(peer = %self.config.peer.name, ?slot, ?input, from = %before, to = %next, "transition");
        }
        for action in actions {
            self.act(now, slot, *action, &carried);
        }
        let was_wanted = matches!(input, Input::Stop | Input::CollisionLost);
        let is_alone = !self.link(slot.other()).state.is_connected();
        if next == State::Idle && before != State::Idle && !was_wanted && is_alone {
            self.rest(now, &carried);
        }
    }

    fn act(&mut self, now: Instant, slot: Slot, action: Action, carried: &Carried) {
        match action {
            Action::Dial => self.events.push_back(SessionEvent::Dial),
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
            Action::ArmOpenHold => self.link_mut(slot).timers.hold = Some(now + timers::OPEN_HOLD),
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
                        c.capabilities.clone_from(&open.capabilities);
                        c.negotiated = Some((**negotiated).clone());
                    });
                }
            }
            Action::Up => self.up(now, slot),
            Action::Down => self.down(now),
            Action::ReadUpdate => {
                if let Carried::Update(update) = carried {
                    self.read_update(update);
                }
            }
            Action::ReadRefresh => {
                if let Carried::Refresh(Refresh { kind: RefreshKind::Request, family }) = carried
                    && let Some(family) = family.family()
                {
                    self.rib.refresh(family);
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
        let why = if let Carried::Error(error) = carried { Some(error.to_string()) } else { None };
        self.counters.messages_out.add(MessageType::Notification);
        self.link_mut(slot).farewell = Some(notification.clone());
        self.events.push_back(SessionEvent::NotificationSent { notification, why });
    }

    fn up(&mut self, now: Instant, slot: Slot) {
        let Some(connection) = &self.link(slot).connection else { return };
        let Some(negotiated) = &connection.negotiated else { return };
        let (peer, local) = (&self.config.peer, connection.local.ip());
        let own_v4 = local.is_ipv4().then(|| NextHop::from_address(local));
        let own_v6 = local.is_ipv6().then(|| NextHop::from_address(local));
        let export = Export {
            asn: self.config.asn,
            families: negotiated.families,
            next_hop_v4: peer.next_hop_v4.map(NextHop::V4).or(own_v4),
            next_hop_v6: peer.next_hop_v6.map(NextHop::V6).or(own_v6),
            encoder: UpdateEncoder { four_octet_as: negotiated.four_octet_as, message_max: MESSAGE_LEN_MAX },
            has_enhanced_refresh: negotiated.has_enhanced_refresh,
        };
        self.rib.session_up(export);
        self.counters.established += 1;
        self.up_since = Some(now);
        self.events.push_back(SessionEvent::Up);
        // An attempt that has no connection yet is pointless now; one that has is settled when its OPEN comes.
        if !self.link(slot.other()).state.is_connected() {
            self.stop_link(now, slot.other());
        }
    }

    fn down(&mut self, now: Instant) {
        let lived = self.up_since.take().map(|since| now.saturating_duration_since(since));
        if lived.is_some_and(|lived| lived >= STABLE_AFTER) {
            self.failures = 0;
        }
        self.rib.session_down();
        self.events.push_back(SessionEvent::Down);
    }

    fn read_update(&mut self, update: &Update) {
        if let Some(family) = update.end_of_rib() {
            self.counters.received(family).end_of_rib += 1;
            return;
        }
        if let (Some(treatment), Some(finding)) = (update.treatment, update.findings.last()) {
            match treatment {
                Treatment::TreatAsWithdraw => self.counters.treated_as_withdraw += 1,
                Treatment::AttributeDiscard => self.counters.attributes_discarded += 1,
            }
            let finding = update.findings.iter().find(|f| f.treatment == treatment).unwrap_or(finding);
            tracing::debug!(peer = %self.config.peer.name, %finding, "malformed attribute");
            self.counters.last_finding = Some(finding.to_string());
        }
        // Our own prefixes come back to us; they are nothing the peer has told.
        let is_looped = update.has_loop(self.config.asn);
        let is_withdrawn = update.is_treated_as_withdraw();
        for prefix in update.announced() {
            let counts = self.counters.received(prefix.family());
            *match (is_withdrawn, is_looped) {
                (true, _) => &mut counts.withdrawn,
                (false, true) => &mut counts.looped,
                (false, false) => &mut counts.announced,
            } += 1;
        }
        for prefix in update.withdrawals() {
            self.counters.received(prefix.family()).withdrawn += 1;
        }
    }

    pub(super) fn stop_link(&mut self, now: Instant, slot: Slot) {
        let reason = match &self.stopping {
            Some(stopping) => stopping.reason.clone(),
            None => Notification::cease(cease::COLLISION),
        };
        self.input(now, slot, Input::Stop, Carried::Reason(reason));
    }

    /// Sends the last NOTIFICATION once everything was withdrawn or the time for it is over.
    fn finish_stop(&mut self, now: Instant) {
        let Some(stopping) = &self.stopping else { return };
        if let Some(slot) = self.established_slot() {
            if !self.rib.is_settled() && now < stopping.deadline {
                return;
            }
            self.stop_link(now, slot);
        }
        if let Some(stopping) = &mut self.stopping
            && !std::mem::replace(&mut stopping.is_done, true)
        {
            self.events.push_back(SessionEvent::Stopped);
        }
    }

    /// No attempt of ours for a while after a failure.
    fn rest(&mut self, now: Instant, carried: &Carried) {
        if self.stopping.is_some() {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let was_refused = matches!(carried, Carried::Reason(n)
            if n.code() == error_code::CEASE && matches!(n.subcode(), cease::MAX_PREFIXES | cease::OUT_OF_RESOURCES));
        let wait = self.random.jittered(timers::idle_hold(self.failures, was_refused));
        self.idle_hold = Some(now + wait);
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
        let may_dial = !self.config.peer.passive && self.idle_hold.is_none();
        if may_dial && self.dialled.state == State::Idle && !self.accepted.state.is_connected() {
            self.input(now, Slot::Dialled, Input::Start, Carried::Nothing);
        }
    }
}
