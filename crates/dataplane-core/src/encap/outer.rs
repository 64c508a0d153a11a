// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The outer IP header.
//!
//! IPv4: DF set, id 0 (RFC 6864), TTL 64. IPv6: hop limit 64, flow label from the flow (RFC 6437). ECN is always copied,
//! DSCP unless the pool says no (RFC 6040 §4.1, normal mode). The source address is the appliance's, or made from the flow
//! where the pool wants spreading by addresses and the fabric lets it.

use super::{OUTER_TTL, checksum};
use crate::Packet;
use crate::bytes::{BackendValue, Knobs, OuterOptions};
use crate::hash::flow_label;
use crate::plan::Plan;

const DONT_FRAGMENT: u32 = 0x4000;
const ECN: u8 = 3;

/// The outer header's own words, addresses as they lie in a packet.
#[derive(Clone, Copy)]
pub(super) struct Outer<'t> {
    /// Record of the backend.
    pub(super) backend: &'t BackendValue,
    /// Settings.
    pub(super) knobs: &'t Knobs,
    /// Hash of the flow, see [`Plan::entropy`].
    pub(super) entropy: u32,
    /// Type of service or traffic class of the inner packet.
    pub(super) traffic_class: u8,
}

impl<'t> Outer<'t> {
    #[inline(always)]
    pub(super) fn new(backend: &'t BackendValue, knobs: &'t Knobs, plan: &Plan) -> Self {
        Self { backend, knobs, entropy: plan.entropy, traffic_class: plan.traffic_class }
    }

    #[inline(always)]
    fn has(&self, option: u16) -> bool {
        self.backend.options & option != 0
    }

    #[inline(always)]
    fn traffic_class(&self) -> u32 {
        let kept = if self.has(OuterOptions::NO_DSCP) { ECN } else { u8::MAX };
        (self.traffic_class & kept) as u32
    }

    /// Writes the IPv4 header of a packet of `len` octets at `at`; gives the sum of its addresses.
    #[inline(always)]
    pub(super) fn write_v4<P: Packet>(
        &self,
        packet: &mut P,
        at: usize,
        protocol: u32,
        len: u32,
    ) -> Option<u64> {
        let outer = &self.backend.outer;
        let mut source = outer.source[0];
        if self.has(OuterOptions::SOURCE_ENTROPY) && self.knobs.entropy_v4 != 0 {
            source = self.knobs.entropy_v4 | (self.entropy & 0xffff).to_be();
        }
        let destination = outer.destination[0];
        let first = (0x45 << 24 | self.traffic_class() << 16 | len).to_be();
        let second = DONT_FRAGMENT.to_be();
        let third = (OUTER_TTL as u32) << 24 | protocol << 16;
        let addresses = source as u64 + destination as u64;
        let sum = first as u64 + second as u64 + third.to_be() as u64 + addresses;
        let third = third | u16::from_be(!checksum::fold_words(sum)) as u32;
        packet.write(at, [first, second, third.to_be(), source, destination])?;
        Some(addresses)
    }

    /// As [`Outer::write_v4`] for IPv6, with `len` octets behind the header.
    #[inline(always)]
    pub(super) fn write_v6<P: Packet>(
        &self,
        packet: &mut P,
        at: usize,
        next_header: u32,
        len: u32,
    ) -> Option<u64> {
        let (s, d) = (&self.backend.outer.source, &self.backend.outer.destination);
        let (mut s0, mut s1, mut s2, mut s3) = (s[0], s[1], s[2], s[3]);
        if self.has(OuterOptions::SOURCE_ENTROPY) && self.knobs.entropy_v6[0] != 0 {
            (s0, s1) = (self.knobs.entropy_v6[0], self.knobs.entropy_v6[1]);
            (s2, s3) = (0, self.entropy.to_be());
        }
        let mut first = 6 << 28 | self.traffic_class() << 20;
        if !self.has(OuterOptions::NO_FLOW_LABEL) {
            first |= flow_label((self.entropy as u64) << 32);
        }
        let second = len << 16 | next_header << 8 | OUTER_TTL as u32;
        let (d0, d1, d2, d3) = (d[0], d[1], d[2], d[3]);
        packet.write(at, [first.to_be(), second.to_be(), s0, s1, s2, s3, d0, d1, d2, d3])?;
        let source = s0 as u64 + s1 as u64 + s2 as u64 + s3 as u64;
        Some(source + d0 as u64 + d1 as u64 + d2 as u64 + d3 as u64)
    }
}
