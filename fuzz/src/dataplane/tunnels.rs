// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames that leave for a backend: outer headers field by field, the packet inside octet for octet.

use weir_dataplane::host::{HostPacket, HostTables};
use weir_dataplane_core::bytes::{BackendMode, OuterOptions};
use weir_dataplane_core::decap::{AgentVerdict, decapsulate};
use weir_dataplane_core::{BackendFlags, BackendValue, NextHopValue};

use super::RECEIVES;
use super::agent::{self, Agent};
use super::octets::{self, Ip, address, word};
use super::state::{ENTROPY_V4, ENTROPY_V6, GUE_PORT, INGRESS, SOURCE_V4, SOURCE_V6, has};

const UDP: u8 = 17;
/// Octets that a frame may become longer by: a tag, IPv6, UDP, GUE, private data with four hops.
const GROWTH_MAX: usize = 4 + 40 + 8 + 4 + 12 + 4 * 16;

/// A frame on its way to a backend.
pub(super) struct Leaving<'a> {
    pub(super) tables: &'a HostTables,
    /// As it came.
    pub(super) frame: &'a [u8],
    /// Octets of it in the first buffer.
    pub(super) readable: usize,
    /// The backend.
    pub(super) id: u16,
    /// Row whose other candidates are carried, if any are.
    pub(super) row: Option<u32>,
    /// The frame has the tag of its way; else somebody else puts it on.
    pub(super) is_tagged: bool,
}

/// What is between the outer IP header and the packet.
struct Shim<'l> {
    outer: Ip<'l>,
    inner: &'l [u8],
    options: [bool; 2],
}

impl Leaving<'_> {
    /// Checks the frame that leaves by `ifindex`.
    pub(super) fn check(&self, left: &[u8], ifindex: u32, name: &str) {
        assert!(
            left.len() <= self.frame.len() + GROWTH_MAX,
            "{name}: {} of {}",
            left.len(),
            self.frame.len()
        );
        let backend = &self.tables.backends[usize::from(self.id)];
        let before = Ip::read(self.frame).expect("what is forwarded was an IP packet");
        assert!(before.ttl() > 1, "{name}: it ended here");
        let next_hop = self.next_hop(backend, left);
        assert_eq!(next_hop.ifindex, ifindex, "{name}");
        // As an untagged frame from here on.
        let left = if self.is_tagged && next_hop.vlan != 0 {
            assert_eq!((word(left, 12), word(left, 14)), (Some(0x8100), Some(next_hop.vlan)), "{name}");
            [&left[..12], &left[16..]].concat()
        } else {
            left.to_vec()
        };
        let outer = Ip::read(&left).unwrap_or_else(|| panic!("{name}: {left:02x?}"));
        assert_eq!(outer.at, 14, "{name}: tags of the link it came by");
        assert!(
            outer.len() <= outer.octets.len(),
            "{name}: {} octets of {}",
            outer.len(),
            outer.octets.len()
        );
        assert!(outer.len() <= usize::from(next_hop.mtu), "{name}: {} octets, {}", outer.len(), next_hop.mtu);
        if backend.mode == BackendMode::L2 {
            return octets::differs_in_ttl(before, outer.octets, 1, name);
        }
        let inner = self.inner(backend, before, outer, name);
        octets::differs_in_ttl(before, inner, before.ttl() - 1, name);
        assert_eq!(outer.octets.len() - inner.len() + before.len(), outer.len(), "{name}: lengths");
        self.comes_out(&left, inner, name);
    }

    /// The way that the frame's addresses are of.
    fn next_hop(&self, backend: &BackendValue, left: &[u8]) -> NextHopValue {
        let ways = backend.next_hops.map(|id| self.tables.next_hops[usize::from(id)]);
        let macs = |way: &NextHopValue| way.macs.map(u32::to_ne_bytes).concat();
        *ways.iter().find(|way| macs(way) == left[..12]).expect("a way to this backend")
    }

    /// The packet in the tunnel, whose headers are what they shall be.
    fn inner<'l>(&self, backend: &BackendValue, before: Ip<'_>, outer: Ip<'l>, name: &str) -> &'l [u8] {
        let is_v6 = backend.has(BackendFlags::OUTER_V6);
        assert_eq!(outer.is_v6(), is_v6, "{name}");
        assert!(
            outer.is_sound() && outer.header_len() == if is_v6 { 40 } else { 20 },
            "{name}: {outer:02x?}"
        );
        assert_eq!(outer.ttl(), 64, "{name}");
        let kept = if has(backend, OuterOptions::NO_DSCP) { 3 } else { 0xff };
        assert_eq!(outer.traffic_class(), before.traffic_class() & kept, "{name}: RFC 6040 §4.1");
        let label = outer.octets[1] & 0xf | outer.octets[2] | outer.octets[3];
        if is_v6 {
            assert_eq!(label == 0, has(backend, OuterOptions::NO_FLOW_LABEL), "{name}: flow label");
        } else {
            assert_eq!(outer.octets[4..8], [0, 0, 0x40, 0], "{name}: id 0, DF");
        }
        self.addresses(backend, outer, name);
        let protocol = if before.is_v6() { 41 } else { 4 };
        let carried = &outer.octets[outer.header_len()..];
        if backend.mode == BackendMode::IPIP {
            assert_eq!(outer.protocol(), protocol, "{name}");
            return carried;
        }
        assert_eq!(outer.protocol(), UDP, "{name}");
        let length = outer.len() - outer.header_len();
        assert_eq!(word(carried, 4).map(usize::from), Some(length), "{name}: UDP length");
        assert_eq!(word(carried, 2), Some(GUE_PORT), "{name}");
        let port = word(carried, 0).expect("a port");
        let is_fixed = has(backend, OuterOptions::NO_PORT_ENTROPY);
        assert!(if is_fixed { port == 0xc000 } else { port >= 0xc000 }, "{name}: source port {port}");
        let gue = self.gue(backend, protocol, name);
        assert_eq!(carried[8..8 + gue.len()], gue, "{name}: GUE");
        let inner = &carried[8 + gue.len()..];
        // What cannot be read cannot be made use of.
        let can_be = before.is_summed() && before.at + before.header_len() + 8 <= self.readable;
        let options = [has(backend, OuterOptions::UDP_CHECKSUM), can_be];
        Shim { outer, inner, options }.is_summed(before, name);
        inner
    }

    fn addresses(&self, backend: &BackendValue, outer: Ip<'_>, name: &str) {
        let to = backend.outer.destination.map(u32::to_ne_bytes).concat();
        let (from, length) =
            if outer.is_v6() { (SOURCE_V6.octets().to_vec(), 16) } else { (SOURCE_V4.octets().to_vec(), 4) };
        assert_eq!(outer.destination(), address(&to[..length]), "{name}");
        let found = &outer.addresses()[..length];
        if has(backend, OuterOptions::SOURCE_ENTROPY) && self.tables.knobs.entropy_v4 != 0 {
            let prefix =
                if outer.is_v6() { [&ENTROPY_V6[..], &[0; 4]].concat() } else { ENTROPY_V4.to_vec() };
            assert!(found.starts_with(&prefix), "{name}: {found:?}");
        } else {
            assert_eq!(found, from, "{name}");
        }
    }

    /// What stands between UDP and the packet (draft-ietf-intarea-gue, and our private data).
    fn gue(&self, backend: &BackendValue, protocol: u8, name: &str) -> Vec<u8> {
        match backend.mode {
            BackendMode::GUE => vec![0, protocol, 0, 0],
            BackendMode::GUE_DIRECT => vec![],
            BackendMode::GUE_CANDIDATES => {
                let is_v6 = backend.has(BackendFlags::OUTER_V6);
                let size = if is_v6 { 16 } else { 4 };
                let hops = self.hops(backend);
                let count = u8::try_from(hops.len()).expect("a row");
                let length = 3 + count * if is_v6 { 4 } else { 1 };
                let mut gue = vec![length, protocol, 0, 0, 0x57, 0x52, 1, u8::from(is_v6), 0, count];
                gue.extend([0; 6]);
                for hop in hops {
                    gue.extend(&hop.outer.destination.map(u32::to_ne_bytes).concat()[..size]);
                }
                gue
            }
            mode => panic!("{name}: mode {mode}"),
        }
    }

    /// The other candidates of the row, up to the first that may not have the packet.
    fn hops(&self, backend: &BackendValue) -> Vec<BackendValue> {
        let Some(row) = self.row else { return Vec::new() };
        let mut ids = self.tables.rows[row as usize].ids().to_vec();
        if let Some(own) = ids.iter().position(|id| *id == self.id) {
            ids.remove(own);
        }
        let records = ids.iter().map(|id| self.tables.backends[usize::from(*id)]);
        let may = |hop: &BackendValue| {
            let is_alike =
                hop.pool == backend.pool && (hop.flags ^ backend.flags) & BackendFlags::OUTER_V6 == 0;
            is_alike && hop.flags & RECEIVES != 0
        };
        records.take_while(may).collect()
    }

    /// The agent takes it out again; unless it is a health check of something that is no VIP.
    fn comes_out(&self, left: &[u8], inner: &[u8], name: &str) {
        let mut packet = HostPacket::new(left, INGRESS);
        let verdict = decapsulate(&mut packet, &Agent).verdict;
        let before = Ip::read(self.frame).expect("an IP packet");
        if !agent::is_vip(before.destination()) {
            assert_eq!(verdict, AgentVerdict::PassNotVip, "{name}: {left:02x?}");
            return;
        }
        assert_eq!(verdict, AgentVerdict::Decapsulated, "{name}: {left:02x?}");
        let ethertype = if inner[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
        assert_eq!(packet.frame(), [&left[..12], &ethertype, inner].concat(), "{name}: at the backend");
    }
}

impl Shim<'_> {
    /// The UDP checksum is none where none is wanted, is there where it can be made, and is right where that inside is.
    fn is_summed(&self, before: Ip<'_>, name: &str) {
        let [is_wanted, can_be] = self.options;
        let field = word(self.outer.octets, self.outer.header_len() + 6);
        if !is_wanted || before.is_fragment() {
            assert_eq!(field, Some(0), "{name}: no checksum");
            return;
        }
        if !can_be {
            return;
        }
        assert_ne!(field, Some(0), "{name}: a checksum");
        if before.is_sound() && before.transport_sum() == Some(0xffff) {
            assert_eq!(self.outer.transport_sum(), Some(0xffff), "{name}: {:02x?}", self.inner);
        }
    }
}
