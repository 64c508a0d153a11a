// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What each path costs, and that nothing creeps into the plain one.

use weir_dataplane_core::bytes::{Address, BackendMode, Outer, ServiceSlot, SlotControl};
use weir_dataplane_core::decap;
use weir_dataplane_core::flow::{Idle, Slot, state};
use weir_dataplane_core::hash::{self, HashKeys};
use weir_dataplane_core::{
    BackendFlags, BackendValue, NextHopValue, PoolValue, Protocol, Row, ServiceKey, ServiceValue, limits,
    names,
};

use super::machine::{INGRESS, Machine, Run};
use crate::build::{ACK, Frame, checksum};

const SET_MASK: u32 = 63;
const XDP_PASS: u64 = 2;
const XDP_TX: u64 = 3;

/// One service on port 80 of an IPv4 and of an IPv6 VIP, backend 1 for IPv4, 2 for IPv6.
fn machine() -> Machine {
    let keys = HashKeys::from_seed(&[7; 32]);
    // SAFETY: plain integers without padding.
    let key_bytes =
        unsafe { std::slice::from_raw_parts((&raw const keys).cast::<u8>(), size_of::<HashKeys>()) };
    let mut machine = Machine::new(
        weir_dataplane::object::APPLIANCE,
        &[
            (names::CONST_HASH_KEYS, key_bytes),
            (names::CONST_FLOW_SET_MASK, &SET_MASK.to_ne_bytes()),
            (names::CONST_TICK_FACTOR, &0_u64.to_ne_bytes()),
        ],
    );
    for slot in 0..limits::SERVICE_SLOTS as usize {
        let nobody = ServiceSlot { control: SlotControl::ALONE, ..ServiceSlot::default() };
        machine.set(names::MAP_SERVICE_SLOTS, slot, nobody);
    }
    let usable = BackendFlags::USABLE | BackendFlags::KEEPS_ESTABLISHED | BackendFlags::KEEPS_NEW;
    let backend = BackendValue { mode: 1, next_hops: [1; 4], identity: 1, ..BackendValue::default() };
    let v4 = BackendValue {
        flags: usable | BackendFlags::PLAIN_V4,
        outer: Outer::v4([192, 0, 2, 1].into(), [10, 1, 0, 1].into(), 4),
        ..backend
    };
    let v6 = BackendValue {
        pool: 1,
        flags: usable | BackendFlags::PLAIN_V6 | BackendFlags::OUTER_V6,
        outer: Outer::v6("2001:db8::1".parse().unwrap(), "2001:db8:1::1".parse().unwrap()),
        ..backend
    };
    machine.set(names::MAP_BACKENDS, 1, v4);
    machine.set(names::MAP_BACKENDS, 2, v6);
    let hop = NextHopValue { ifindex: INGRESS, plain_mtu: 1500, mtu: 1500, ..NextHopValue::default() };
    machine.set(names::MAP_NEXT_HOPS, 1, hop);
    for (pool, vip) in [(0, "198.51.100.10"), (1, "2001:db8:100::10")] {
        machine.set(
            names::MAP_POOLS,
            pool,
            PoolValue { rows: PoolValue::descriptor(pool as u32, 1), identity: 1 },
        );
        machine.set(names::MAP_ROWS, pool, Row::from_ids([pool as u16 + 1, 0, 0, 0]));
        let value =
            ServiceValue { pool: pool as u32, idle: Idle::new(300, 60).raw(), ..ServiceValue::default() };
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let key = ServiceKey::new(vip.parse().unwrap(), protocol, 80);
            let control = SlotControl::HOLDS | SlotControl::ALONE;
            let slot = ServiceSlot { control, key, value, ..ServiceSlot::default() };
            machine.set(names::MAP_SERVICE_SLOTS, key.slot() as usize, slot);
        }
    }
    machine
}

/// Opens a flow and brings it to where hits are.
fn established(machine: &mut Machine, frame: &[u8], hash: u64, backend: u16) {
    let set = hash as usize & SET_MASK as usize;
    let mut slots = [0_u64; 8];
    slots[(hash >> 30) as usize & 7] = Slot::new(hash, state::ESTABLISHED, 0, backend).0;
    machine.set(names::MAP_FLOWS, set, slots);
    let before: [u64; 8] = machine.get(names::MAP_FLOWS, set);
    assert_eq!(machine.run(frame).action, XDP_TX);
    assert_eq!(machine.get::<[u64; 8]>(names::MAP_FLOWS, set), before, "a settled flow is not written");
}

fn hit(vip: &str, client: &str, backend: u16, udp: bool) -> Run {
    let run = hit_of(machine(), vip, client, backend, udp);
    assert_eq!(run.programs, [names::PROGRAM_INGRESS]);
    let outer = if vip.contains(':') { (54 + 40, 8 + 5) } else { (34 + 20, 8 + 5) };
    assert_eq!(run.frame.len(), outer.0 + if udp { outer.1 } else { 20 });
    run
}

fn hit_of(mut machine: Machine, vip: &str, client: &str, backend: u16, udp: bool) -> Run {
    let frame =
        if udp { Frame::udp(client, 40_000, vip, 80) } else { Frame::tcp(client, 40_000, vip, 80, ACK) };
    let octets = frame.octets();
    let keys = HashKeys::from_seed(&[7; 32]);
    let ports = u32::from_be_bytes([(40_000_u16 >> 8) as u8, 40_000_u16 as u8, 0, 80]).to_be();
    let (source, destination) = (frame.source.into(), frame.destination.into());
    let (source, destination): (Address, Address) = (source, destination);
    let protocol = if udp { 17 } else { 6 };
    let hash = if frame.source.is_ipv4() {
        hash::flow_v4(&keys.v4, source.0[3], destination.0[3], ports, protocol)
    } else {
        hash::flow_v6(&keys.v6, &source, &destination, ports, protocol)
    };
    established(&mut machine, &octets, hash, backend);
    let run = machine.run(&octets);
    assert_eq!(run.action, XDP_TX);
    run
}

/// The bounds are what was counted when they were last lowered or, with a reason in the commit, raised.
#[test]
fn the_plain_hit_path_stays_as_short_as_it_is() {
    for (name, run, most) in [
        ("IPv4, TCP", hit("198.51.100.10", "203.0.113.7", 1, false), 405),
        ("IPv4, UDP", hit("198.51.100.10", "203.0.113.7", 1, true), 404),
        ("IPv6, TCP", hit("2001:db8:100::10", "2001:db8:c::7", 2, false), 443),
        ("IPv6, UDP", hit("2001:db8:100::10", "2001:db8:c::7", 2, true), 442),
    ] {
        println!("{name}: {} instructions, helpers {:?}", run.instructions, run.helpers);
        assert!(run.instructions <= most, "{name}: {} instructions, at most {most}", run.instructions);
    }
}

#[test]
fn what_is_not_for_a_vip_leaves_soon() {
    let run = machine().run(&Frame::tcp("203.0.113.7", 40_000, "192.0.2.77", 80, ACK).octets());
    println!("not for a VIP: {} instructions, helpers {:?}", run.instructions, run.helpers);
    assert_eq!(run.action, XDP_PASS);
    assert!(run.instructions <= 146, "{} instructions", run.instructions);
}

/// Modes, some of them behind a tail call: what they cost over the plain way.
#[test]
fn modes_have_their_price() {
    for (name, mode, added, most) in [
        ("GUE", BackendMode::GUE, 32, 427),
        ("GUE with candidates", BackendMode::GUE_CANDIDATES, 56, 561),
        ("GUE variant 1", BackendMode::GUE_DIRECT, 28, 762),
        ("L2", BackendMode::L2, 0, 567),
    ] {
        let mut machine = machine();
        for id in [1, 3, 4, 5] {
            let usable = BackendFlags::USABLE | BackendFlags::KEEPS_ESTABLISHED | BackendFlags::KEEPS_NEW;
            let to = [10, 1, 0, id as u8].into();
            let outer = Outer { port: 6080_u16.to_be(), ..Outer::v4([192, 0, 2, 1].into(), to, 17) };
            let hops = [1; 4];
            let backend = BackendValue {
                mode,
                flags: if mode == BackendMode::GUE { usable | BackendFlags::GUE_V4 } else { usable },
                next_hops: hops,
                identity: 1,
                outer,
                ..BackendValue::default()
            };
            machine.set(names::MAP_BACKENDS, id, backend);
        }
        machine.set(names::MAP_ROWS, 0, Row::from_ids([1, 3, 4, 5]));
        let run = hit_of(machine, "198.51.100.10", "203.0.113.7", 1, false);
        let is_later = !matches!(mode, BackendMode::GUE | BackendMode::GUE_CANDIDATES);
        let programs = [names::PROGRAM_INGRESS, names::PROGRAM_ENCAP];
        assert_eq!(run.programs, programs[..1 + usize::from(is_later)], "{name}");
        assert_eq!(run.frame.len(), 64 - 10 + added, "{name}");
        println!("{name}: {} instructions, helpers {:?}", run.instructions, run.helpers);
        assert!(run.instructions <= most, "{name}: {} instructions, at most {most}", run.instructions);
    }
}

/// The agent takes the outer header of a plain packet off.
#[test]
fn decapsulation_stays_as_short_as_it_is() {
    for (name, family, most) in [("IPv4", 0, 292), ("IPv6", 1, 296)] {
        let appliance = ["192.0.2.1", "2001:db8:ffff::1"][family];
        let host = ["10.1.0.1", "2001:db8:1::1"][family];
        let vip = ["198.51.100.10", "2001:db8:100::10"][family];
        let client = ["203.0.113.7", "2001:db8:c::7"][family];
        let mut machine = Machine::new(weir_dataplane::object::AGENT, &[]);
        let octets = |text: &str| -> Vec<u8> {
            let address: Address = text.parse::<std::net::IpAddr>().unwrap().into();
            address.0.iter().flat_map(|word| word.to_ne_bytes()).collect()
        };
        let whole = |text: &str| [&128_u32.to_ne_bytes()[..], &octets(text)].concat();
        machine.insert(decap::names::MAP_APPLIANCES, &whole(appliance), 1);
        machine.insert(decap::names::MAP_VIPS, &whole(vip), 0);
        machine.insert(decap::names::MAP_ADDRESSES, &octets(host), 1);
        let inner = Frame::tcp(client, 40_000, vip, 80, ACK).octets();
        let frame = tunnelled(appliance, host, &inner);
        let run = machine.run_from(names::PROGRAM_AGENT, &frame);
        println!("{name}: {} instructions, helpers {:?}", run.instructions, run.helpers);
        assert_eq!((run.action, run.frame), (XDP_PASS, inner), "{name}");
        assert!(run.instructions <= most, "{name}: {} instructions, at most {most}", run.instructions);
    }
}

/// The packet of the frame `inner` in a packet of the same family.
fn tunnelled(source: &str, destination: &str, inner: &[u8]) -> Vec<u8> {
    let outer = Frame { payload: inner[14..].to_vec(), ..Frame::udp(source, 0, destination, 0) }.octets();
    // What stood for UDP goes, and the header says so.
    let (header, length_at, protocol_at) = if source.contains(':') { (40, 4, 6) } else { (20, 2, 9) };
    let mut frame = [&outer[..14 + header], &outer[14 + header + 8..]].concat();
    let length = u16::from_be_bytes([frame[14 + length_at], frame[14 + length_at + 1]]) - 8;
    frame[14 + length_at..14 + length_at + 2].copy_from_slice(&length.to_be_bytes());
    frame[14 + protocol_at] = if header == 40 { 41 } else { 4 };
    if header == 20 {
        frame[24..26].fill(0);
        let sum = checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}
