// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What becomes of an UPDATE: loops dropped, prefixes counted, and as many routes kept as the peer may announce.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::state::Input;
use super::{Carried, Negotiated, Session, Slot};
use crate::advertise::Prefix;
use crate::config::{Families, Family};
use crate::rib::{ReceivedPath, TooMany};
use crate::wire::{Notification, Refresh, RefreshKind, Treatment, Update};

impl Session {
    /// Reads an UPDATE of the Established session; too many prefixes end it.
    pub(super) fn read_update(&mut self, now: Instant, slot: Slot, update: &Update) {
        if let Some(family) = update.end_of_rib() {
            self.counters.received(family).end_of_rib += 1;
            return self.end_of_rib_received(family);
        }
        // What went through us is dropped before anything of it is looked at: our own prefixes come back, at times with our own
        // address as next hop, and that is nobody's mistake.
        let is_looped = update.has_loop(self.config.asn);
        if !is_looped {
            self.note_findings(update);
        }
        for prefix in update.withdrawals() {
            self.counters.received(prefix.family()).withdrawn += 1;
            self.adj_rib_in.withdraw(&prefix);
        }
        if is_looped {
            self.drop_looped(update);
        } else if let Err(excess) = self.read_announced(now, slot, update) {
            self.exceed(now, slot, excess);
        }
        self.settle_stale();
    }

    /// Answers a request for everything, or takes note of where the peer is in its own answer (RFC 2918, RFC 7313).
    pub(super) fn read_refresh(&mut self, slot: Slot, refresh: Refresh) {
        let connection = self.link(slot).connection.as_ref();
        let has_borders =
            connection.and_then(|c| c.negotiated.as_ref()).is_some_and(|n| n.has_enhanced_refresh);
        match (refresh.kind, refresh.family.family()) {
            (RefreshKind::Request, Some(family)) => self.rib.refresh(family),
            (RefreshKind::Begin, Some(family)) if has_borders => self.adj_rib_in.begin_refresh(family),
            (RefreshKind::End, Some(family)) if has_borders => {
                self.adj_rib_in.end_refresh(family);
                self.settle_stale();
            }
            (RefreshKind::Begin | RefreshKind::End | RefreshKind::Other(_), _) | (_, None) => {}
        }
    }

    /// Such routes are nothing the peer has told, but they replace what it told before.
    fn drop_looped(&mut self, update: &Update) {
        for prefix in update.announced() {
            self.counters.received(prefix.family()).looped += 1;
            self.adj_rib_in.withdraw(&prefix);
        }
    }

    fn note_findings(&mut self, update: &Update) {
        let Some((treatment, last)) = update.treatment.zip(update.findings.last()) else { return };
        match treatment {
            Treatment::TreatAsWithdraw => self.counters.treated_as_withdraw += 1,
            Treatment::AttributeDiscard => self.counters.attributes_discarded += 1,
        }
        let finding = update.findings.iter().find(|f| f.treatment == treatment).unwrap_or(last);
        tracing::debug!(peer = %self.config.peer.name, %finding, "malformed attribute");
        self.counters.last_finding = Some(finding.to_string());
    }

    /// Prefixes of both forms; each has next hops of its own.
    fn read_announced(&mut self, now: Instant, slot: Slot, update: &Update) -> Result<(), TooMany> {
        let classic = update.attributes.next_hop.map(IpAddr::V4).into_iter().collect();
        self.announced(now, slot, update, &update.nlri, classic)?;
        if let Some(reach) = &update.attributes.mp_reach {
            self.announced(now, slot, update, &reach.nlri, reach.usable_next_hops().collect())?;
        }
        Ok(())
    }

    fn announced(
        &mut self,
        now: Instant,
        slot: Slot,
        update: &Update,
        prefixes: &[Prefix],
        next_hops: Vec<IpAddr>,
    ) -> Result<(), TooMany> {
        let Some(family) = prefixes.first().map(Prefix::family) else { return Ok(()) };
        let fault = if update.is_treated_as_withdraw() { None } else { self.fault(slot, family, &next_hops) };
        if let Some(fault) = fault {
            self.counters.treated_as_withdraw += 1;
            self.counters.last_finding = Some(format!("{fault}, treated as withdraw"));
            tracing::debug!(peer = %self.config.peer.name, %fault, "route not usable");
        }
        if update.is_treated_as_withdraw() || fault.is_some() {
            for prefix in prefixes {
                self.counters.received(family).withdrawn += 1;
                self.adj_rib_in.withdraw(prefix);
            }
            return Ok(());
        }
        let path = Arc::new(ReceivedPath::new(&update.attributes, next_hops));
        for prefix in prefixes {
            self.counters.received(family).announced += 1;
            self.adj_rib_in.announce(now, *prefix, &path)?;
        }
        Ok(())
    }

    /// What is wrong with routes of this family and these next hops on this session.
    fn fault(&self, slot: Slot, family: Family, next_hops: &[IpAddr]) -> Option<&'static str> {
        let negotiated = self.link(slot).connection.as_ref()?.negotiated.as_ref()?;
        let Negotiated { families, has_extended_next_hop, .. } = negotiated;
        let has_v6 = next_hops.iter().any(IpAddr::is_ipv6);
        if !families.contains(family) {
            Some("a family that was not negotiated")
        } else if family == Family::Ipv4Unicast && has_v6 && !has_extended_next_hop {
            Some("an IPv6 next hop of IPv4 prefixes that was not negotiated")
        } else {
            None
        }
    }

    fn exceed(&mut self, now: Instant, slot: Slot, excess: TooMany) {
        let TooMany { family, max } = excess;
        tracing::warn!(peer = %self.config.peer.name, %family, max, "peer announces too many prefixes");
        let reason = Notification::prefixes_exceeded(family.into(), max);
        self.input(now, slot, Input::Stop, Carried::Reason(reason));
        self.adj_rib_in.drop_families(Families::BOTH);
        self.exceeded = Some(excess);
        self.rest_after_refusal(now);
    }
}
