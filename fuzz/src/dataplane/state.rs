// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small tables, chosen by a few octets: VIPs and prefixes of both families with services of two pools.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering;

use weir_dataplane::host::{HostPacket, HostTables};
use weir_dataplane_core::bytes::{BackendMode, Outer, OuterOptions, VipFlags};
use weir_dataplane_core::flow::{Idle, Slot, state as slot};
use weir_dataplane_core::hash::HashKeys;
use weir_dataplane_core::limits::SLOTS_PER_SET;
use weir_dataplane_core::{
    BackendFlags, BackendValue, Knobs, NextHopValue, PoolValue, PrefixValue, Protocol, Row, ServiceFlags,
    ServiceKey, ServiceValue,
};

use super::buffers::Buffers;
use super::octets;

/// Interface that frames come in by.
pub(super) const INGRESS: u32 = 7;
/// Interfaces that they leave by.
pub(super) const UPLINKS: [u32; 2] = [INGRESS, 8];
/// Where GUE goes.
pub(super) const GUE_PORT: u16 = 6080;
/// Prefixes of outer sources made from flows.
pub(super) const ENTROPY_V4: [u8; 2] = [10, 77];
pub(super) const ENTROPY_V6: [u8; 8] = [0x20, 1, 0xd, 0xb8, 0, 0x77, 0, 0];
/// Outer sources otherwise.
pub(super) const SOURCE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);

/// Octets of a state.
const STATE_LEN: usize = 12;
/// Shortest and longest frame: the kernel takes no test frame below an Ethernet header, and jumbo frames end here.
const FRAME_LEN: std::ops::RangeInclusive<usize> = 14..=9_216;
/// VIPs by themselves.
const VIPS: [IpAddr; 4] = [
    v4([198, 51, 100, 10]),
    v4([198, 51, 100, 11]),
    v6([0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x10]),
    v6([0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x11]),
];
/// Prefix VIPs; the first holds VIPs that are VIPs by themselves.
const PREFIXES: [(IpAddr, u8); 3] = [
    (v4([198, 51, 100, 0]), 25),
    (v6([0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0]), 64),
    (v6([0x2001, 0xdb8, 0x200, 0, 0, 0, 0, 0]), 64),
];
/// Pool of the first backends.
const FIRST_POOL: [u16; 4] = [1, 2, 3, 4];
/// The others are of the second one.
const BACKENDS: u16 = 6;
/// Flow sets.
const SETS: usize = 2;
/// Whose flows are there before.
const OTHERS: u16 = 3;
/// Idle times in seconds: of an established flow, and of one that is not.
const IDLE_S: (u16, u16) = (300, 60);
/// What may pass between two frames, in seconds.
const WAITS_S: [u16; 8] = [0, 1, 29, 31, 61, 299, 301, 9_000];

/// What a target makes of its octets.
pub(super) struct Input {
    pub(super) state: State,
    pub(super) frames: [Vec<u8>; 2],
}

impl Input {
    /// State, then one frame that comes twice, or two frames. `None`: too short or too long.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let (state, rest) = octets.split_first_chunk::<STATE_LEN>()?;
        let state = State(*state);
        let first = usize::from(u16::from_be_bytes([state.0[9], state.0[10]]));
        let (first, second) = if first == 0 { (rest, rest) } else { rest.split_at_checked(first)? };
        let mut frames = [first.to_vec(), second.to_vec()];
        if !frames.iter().all(|frame| FRAME_LEN.contains(&frame.len())) {
            return None;
        }
        if state.0[8] & 0x80 != 0 {
            frames.iter_mut().for_each(|frame| octets::mend(frame));
        }
        Some(Self { state, frames })
    }

    /// The second frame is the first one again.
    pub(super) fn is_repeated(&self) -> bool {
        self.frames[0] == self.frames[1]
    }
}

/// ```text
/// 0 knobs │ 1 options of services │ 2 modes of both pools │ 3 options of outer headers, ways │ 4 MTU
/// 5 states of backends │ 6 families of backends, rows │ 7 what is different later │ 8 first buffer, checksums mended
/// 9, 10 octets of the first frame, 0: one frame comes twice │ 11 which backend is checked, flows of others, room in front
/// ```
#[derive(Debug, Clone, Copy)]
pub(super) struct State([u8; STATE_LEN]);

impl State {
    fn bit(&self, octet: usize, bit: u8) -> bool {
        self.0[octet] >> bit & 1 != 0
    }

    /// The tables.
    pub(super) fn tables(&self) -> HostTables {
        let mut tables = self.empty();
        self.add_services(&mut tables);
        tables
    }

    /// The same anew without anything plain, of those that were used.
    pub(super) fn slow_tables(&self, used: HostTables) -> HostTables {
        const PLAIN: u8 =
            BackendFlags::PLAIN_V4 | BackendFlags::PLAIN_V6 | BackendFlags::GUE_V4 | BackendFlags::GUE_V6;
        let (services, prefixes) = (used.services, used.prefixes);
        let mut tables = HostTables { services, prefixes, ..self.empty() };
        let services = tables.services.iter_mut().filter(|(key, _)| !key.is_marker());
        services.for_each(|(_, service)| service.flags |= ServiceFlags::SLOW);
        tables.backends.iter_mut().for_each(|backend| backend.flags &= !PLAIN);
        tables
    }

    /// All but services.
    fn empty(&self) -> HostTables {
        let mut tables = HostTables::new(SETS, HashKeys::from_seed(&[7; 32]));
        tables.knobs = self.knobs();
        self.add_backends(&mut tables);
        self.others(|set, index, slot| tables.flows[set][index].store(slot.0, Ordering::Relaxed));
        tables
    }

    /// The flows that are there before, if any are: all sets are full of established ones.
    fn others(&self, mut each: impl FnMut(usize, usize, Slot)) {
        if !self.bit(11, 3) {
            return;
        }
        for number in 0..SETS * SLOTS_PER_SET {
            // Any tag, in the upper half.
            let hash = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            each(
                number / SLOTS_PER_SET,
                number % SLOTS_PER_SET,
                Slot::new(hash, slot::ESTABLISHED, 0, OTHERS),
            );
        }
    }

    /// No live established flow has lost its place.
    pub(super) fn keeps_others(&self, tables: &HostTables) {
        if tables.tick.load(Ordering::Relaxed) > IDLE_S.0 {
            return;
        }
        self.others(|set, index, slot| {
            let now = Slot(tables.flows[set][index].load(Ordering::Relaxed));
            assert!(now.has_tag_of(slot.0), "slot {index} of set {set}: {now:?}");
        });
    }

    /// Nothing is different for the second frame.
    pub(super) fn stays(&self) -> bool {
        self.0[7] == 0
    }

    /// Time passes, and a backend is not what it was.
    pub(super) fn pass(&self, tables: &mut HostTables) {
        tables.tick.fetch_add(WAITS_S[usize::from(self.0[7] & 7)], Ordering::Relaxed);
        let changed = usize::from(self.0[7] >> 3 & 7);
        if let Some(backend) = tables.backends.get_mut(changed).filter(|_| changed != 0) {
            backend.flags = backend.flags & !condition(0) | condition(self.0[7] >> 6);
        }
    }

    /// `frame` as it comes in.
    pub(super) fn packet(&self, frame: &[u8]) -> Buffers {
        let room = match self.0[11] >> 4 {
            0 => HostPacket::ROOM,
            eighths => usize::from(eighths) * 8,
        };
        Buffers::new(frame, INGRESS, self.first_len(), room)
    }

    /// What of `frame` can be read.
    pub(super) fn first_buffer<'f>(&self, frame: &'f [u8]) -> &'f [u8] {
        &frame[..frame.len().min(self.first_len().max(14))]
    }

    fn first_len(&self) -> usize {
        match self.0[8] & 0x7f {
            0 => usize::MAX,
            eighths => usize::from(eighths) * 8,
        }
    }

    /// The backend whose health is checked, or none's id.
    pub(super) fn checked(&self) -> u16 {
        u16::from(self.0[11] & 7)
    }

    /// Whether anything for `address` is Weir's.
    pub(super) fn is_vip(&self, address: IpAddr) -> bool {
        let is_vip = VIPS.contains(&address);
        is_vip || self.bit(0, 0) && PREFIXES.iter().any(|(network, bits)| holds(*network, *bits, address))
    }

    fn knobs(&self) -> Knobs {
        let some = |bit| u32::from(self.bit(0, bit));
        let (entropy_v4, entropy_v6) = if self.bit(0, 7) {
            let [a, b, c, d, e, f, g, h] = ENTROPY_V6;
            let [high, low] = ENTROPY_V4;
            let words = [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes);
            (u32::from_ne_bytes([high, low, 0, 0]), words)
        } else {
            (0, [0, 0])
        };
        Knobs {
            flags: some(0) * Knobs::PREFIXES | some(1) * Knobs::CLONES,
            echo_max: some(2),
            too_big_max: some(3),
            icmp_errors_max: 2 * some(4),
            fragments_max: 2 * some(5),
            learn_max: some(6),
            mtu_min_v4: 552,
            entropy_v4,
            entropy_v6,
            ..Knobs::default()
        }
    }

    fn add_backends(&self, tables: &mut HostTables) {
        // No smaller than what IPv4 promises (RFC 791 §3.2), no larger than jumbo frames.
        let mtu = 68 + u16::from(self.0[4]) * 36;
        let mac = |last| NextHopValue::macs([2, 0, 0, 0, 1, last], [2, 0, 0, 0, 0, last]);
        let plain =
            NextHopValue { ifindex: INGRESS, plain_mtu: mtu, mtu, macs: mac(1), ..NextHopValue::default() };
        let tagged = NextHopValue { plain_mtu: 0, vlan: 5, macs: mac(2), ..plain };
        let other = NextHopValue { ifindex: UPLINKS[1], macs: mac(3), ..plain };
        tables.next_hops = vec![NextHopValue::default(), plain, tagged, other];
        let ways = match self.0[3] >> 5 & 3 {
            0 => [1; 4],
            1 => [2; 4],
            2 => [1, 3, 1, 3],
            _ => [1, 2, 3, 2],
        };
        tables.backends = vec![BackendValue::default()];
        for id in 1..=BACKENDS {
            let (pool, mode) = self.pool(id);
            let is_v6 = self.0[6] >> (id - 1) & 1 != 0;
            let octet = id.to_be_bytes()[1];
            let outer = match (is_v6, mode) {
                (false, BackendMode::L2) => Outer::v4(Ipv4Addr::UNSPECIFIED, [10, 1, 0, octet].into(), 0),
                (false, _) => Outer::v4(SOURCE_V4, [10, 1, 0, octet].into(), 4),
                (true, BackendMode::L2) => Outer::v6(Ipv6Addr::UNSPECIFIED, backend_v6(id)),
                (true, _) => Outer::v6(SOURCE_V6, backend_v6(id)),
            };
            let options = u16::from(self.0[3] & 0x1f);
            let is_unresolved = id == 2 && self.bit(3, 7);
            // The second pool's: two usable ones, of which the first may be anything.
            let state = if id < 5 { self.0[5] >> (2 * (id - 1)) } else { self.0[5] >> 4 & u8::from(id == 5) };
            tables.backends.push(BackendValue {
                pool,
                flags: condition(state) | carriage(mode, options, is_v6),
                mode,
                options,
                next_hops: if is_unresolved { [0; 4] } else { ways },
                outer: Outer { port: GUE_PORT.to_be(), ..outer },
                identity: u64::from(id),
            });
        }
        // Two rows each; the second pool's still name what was another's.
        let first = if self.bit(6, 6) { [2, 1, 0, 0] } else { [4, 3, 2, 1] };
        let second = if self.bit(6, 7) { [6, 6, 5, 5] } else { [5, 1, 6, 0] };
        tables.rows = [FIRST_POOL, first, [5, 6, 0, 0], second].map(Row::from_ids).to_vec();
        tables.pools = vec![PoolValue::descriptor(0, 2), PoolValue::descriptor(2, 2)];
    }

    /// Pool and mode of a backend.
    fn pool(&self, id: u16) -> (u32, u8) {
        if FIRST_POOL.contains(&id) { (0, 1 + self.0[2] % 5) } else { (1, 1 + self.0[2] / 5 % 5) }
    }

    fn add_services(&self, tables: &mut HostTables) {
        const NOT_PLAIN: u32 = !(ServiceFlags::STATELESS | ServiceFlags::SLOW);
        let flags = u32::from(self.0[1] & 0x3f);
        let flags = if flags & NOT_PLAIN != 0 { flags | ServiceFlags::SLOW } else { flags };
        let new_flows_max = u32::from(self.bit(1, 6));
        let idle = Idle::new(IDLE_S.0, IDLE_S.1).raw();
        let service = ServiceValue { flags, new_flows_max, idle, ..ServiceValue::default() };
        let mut id = 0;
        tables.services.reserve(64);
        let mut markers: Vec<_> = VIPS.iter().map(|vip| ServiceKey::marker((*vip).into())).collect();
        for (network, length) in PREFIXES {
            let prefix_len = if network.is_ipv4() { 96 + length } else { length };
            let marker = ServiceKey { prefix_len, ..ServiceKey::marker(network.into()) };
            tables.prefixes.push(PrefixValue { network: marker.address, length: u32::from(prefix_len) });
            markers.push(marker);
        }
        let echo = if self.bit(1, 7) { VipFlags::ECHO } else { 0 };
        for marker in markers {
            let mut add = |key: ServiceKey, value: ServiceValue| {
                id += 1;
                tables.services.insert(key, ServiceValue { id, ..value });
            };
            add(marker, ServiceValue { flags: echo, ..ServiceValue::default() });
            for (protocol, port, pool) in
                [(Protocol::Tcp, 80_u16, 0), (Protocol::Udp, 53, 1), (Protocol::Udp, 0, 0)]
            {
                let key = ServiceKey { port_be: port.to_be(), protocol: protocol as u8, ..marker };
                add(key, ServiceValue { pool, ..service });
            }
            add(marker.fragments(Protocol::Tcp), ServiceValue { pool: 0, ..service });
            add(marker.fragments(Protocol::Udp), ServiceValue { pool: 1, ..service });
        }
    }
}

/// What a backend may receive, of two bits: all, what it knows (draining), what is established (failed), nothing.
fn condition(bits: u8) -> u8 {
    let keeps = BackendFlags::KEEPS_ESTABLISHED;
    match bits & 3 {
        0 => BackendFlags::USABLE | BackendFlags::KEEPS_NEW | keeps,
        1 => BackendFlags::KEEPS_NEW | keeps,
        2 => keeps,
        _ => 0,
    }
}

/// Flags of a backend by how it is reached, as user space sets them.
fn carriage(mode: u8, options: u16, is_v6: bool) -> u8 {
    let family = if is_v6 { BackendFlags::OUTER_V6 } else { 0 };
    let plain = match (mode, is_v6) {
        _ if options != 0 => 0,
        (BackendMode::IPIP, false) => BackendFlags::PLAIN_V4,
        (BackendMode::IPIP, true) => BackendFlags::PLAIN_V6,
        (BackendMode::GUE, false) => BackendFlags::GUE_V4,
        (BackendMode::GUE, true) => BackendFlags::GUE_V6,
        _ => 0,
    };
    family | plain
}

/// Whether a backend that was given `option` has it.
pub(super) fn has(backend: &BackendValue, option: u16) -> bool {
    const ALL: u16 = OuterOptions::UDP_CHECKSUM
        | OuterOptions::SOURCE_ENTROPY
        | OuterOptions::NO_DSCP
        | OuterOptions::NO_FLOW_LABEL
        | OuterOptions::NO_PORT_ENTROPY;
    backend.options & ALL & option != 0
}

/// Whether the first `bits` of both are the same.
pub(super) fn holds(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()) >> (32 - bits) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) >> (128 - bits) == 0,
        _ => false,
    }
}

fn backend_v6(id: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, id)
}

pub(super) const fn v4([a, b, c, d]: [u8; 4]) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

pub(super) const fn v6([a, b, c, d, e, f, g, h]: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h))
}
