// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The same random packets and states through the loaded program and through the host: verdict and frame must agree.
//!
//! `WEIR_DIFF_PACKETS` sets how many (default 1,000,000), `WEIR_DIFF_SEED` where the sequence starts.

use weir_dataplane::forwarding::{BackendState, OnFailed};

use crate::support::bed::{State, hop, usual};
use crate::support::build::{Frame, ethernet};
use crate::support::pair::Pair;

const PACKETS_DEFAULT: u64 = 1_000_000;
const PACKETS_PER_STATE: u64 = 20_000;

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough to choose packets.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn host_and_kernel_agree_on_random_packets() {
    let number =
        |name: &str, default| std::env::var(name).ok().map_or(default, |v| v.parse().expect("a number"));
    let packets: u64 = number("WEIR_DIFF_PACKETS", PACKETS_DEFAULT);
    let seed: u64 = number("WEIR_DIFF_SEED", 1);
    let mut random = Random(seed);
    let mut pair = Pair::new(&usual());
    let mut seen = std::collections::BTreeMap::<&str, u64>::new();
    for packet in 0..packets {
        if packet % PACKETS_PER_STATE == PACKETS_PER_STATE - 1 {
            assert!(pair.same_flows(), "flow tables differ after packet {packet} of seed {seed}");
            let state = any_state(&mut random);
            pair.apply(&state);
        }
        let frame = any_frame(&mut random);
        match pair.compare(&frame) {
            Ok((result, _)) => *seen.entry(result.verdict.name()).or_default() += 1,
            Err(difference) => panic!("packet {packet} of seed {seed}: {difference}"),
        }
    }
    println!("{packets} packets, no difference: {seen:?}");
    // Agreement on nothing but passes would prove little.
    for verdict in
        ["forward_flow", "forward_new", "forward_rechosen", "forward_ending", "drop_ttl", "drop_truncated"]
    {
        assert!(seen.get(verdict).is_some_and(|&n| n > packets / 100_000), "hardly any {verdict}: {seen:?}");
    }
}

fn any_state(random: &mut Random) -> State {
    let mut state = usual();
    for pool in ["web4", "web6"] {
        for backend in ["b1", "b2", "b3"] {
            let states = [
                BackendState::Usable,
                BackendState::Usable,
                BackendState::Draining,
                BackendState::Failed,
                BackendState::Disabled,
            ];
            state = state.backend_state(pool, backend, *random.pick(&states));
        }
        let on_failed = *random.pick(&[OnFailed::Keep, OnFailed::Reset]);
        state = state.edit_pool(pool, |pool| pool.on_failed = on_failed);
    }
    for address in ["10.1.0.1", "10.1.0.2", "10.1.0.3", "2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::3"] {
        state = match random.below(6) {
            0 => state.next_hop(address, None),
            1 => state.next_hop(address, Some(hop(120))),
            _ => state,
        };
    }
    for service in ["http4", "dns6"] {
        let flow_table = !random.one_in(4);
        state = state.edit_service(service, |service| service.flow_table = flow_table);
    }
    state
}

fn any_frame(random: &mut Random) -> Vec<u8> {
    let v4 = !random.one_in(2);
    let (clients, destinations): (&[&str], &[&str]) = if v4 {
        (
            &["203.0.113.7", "203.0.113.8", "10.9.8.7"],
            &["198.51.100.10", "198.51.100.10", "198.51.100.11", "192.0.2.1"],
        )
    } else {
        (
            &["2001:db8:c::7", "2001:db8:c::8", "fe80::1"],
            &["2001:db8:100::10", "2001:db8:100::10", "2001:db8:100::11"],
        )
    };
    let (source, destination) = (*random.pick(clients), *random.pick(destinations));
    let source_port = u16::try_from(random.below(700)).unwrap();
    let port = *random.pick(&[80, 80, 53, 53, 81]);
    let flags = if random.one_in(3) { random.octet() } else { *random.pick(&[2, 16, 16, 16, 24, 17]) };
    let mut frame = Frame::tcp(source, source_port, destination, port, flags);
    if random.one_in(3) {
        frame.tcp = None;
    }
    if random.one_in(2) {
        let length = if random.one_in(50) { random.below(1_600) } else { random.below(80) };
        frame.payload = (0..length).map(|_| random.octet()).collect();
    }
    if random.one_in(10) {
        frame.ttl = *random.pick(&[0, 1, 2, 255]);
    }
    if random.one_in(8) {
        frame.traffic_class = random.octet();
    }
    if v4 && random.one_in(10) {
        frame.options = vec![random.octet(); 4 * usize::try_from(random.below(11)).unwrap()];
    }
    if v4 && random.one_in(12) {
        frame.fragment = u16::from_le_bytes([random.octet(), random.octet()]);
    }
    if random.one_in(10) {
        let most = i64::try_from(frame.payload.len()).unwrap();
        frame.length_lie =
            i32::try_from(i64::try_from(random.below(200)).unwrap() - 50 - most).unwrap().max(-8);
    }
    if random.one_in(10) {
        frame.padding = usize::try_from(random.below(20)).unwrap();
    }
    let mut octets = frame.octets();
    if random.one_in(6) {
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(octets.len() as u64)).unwrap();
            octets[at] = random.octet();
        }
    }
    if random.one_in(10) {
        // The kernel takes no test frame below an Ethernet header.
        octets.truncate(14 + usize::try_from(random.below(octets.len() as u64 - 13)).unwrap());
    }
    if random.one_in(200) {
        octets = ethernet(
            [random.octet(); 6],
            [random.octet(); 6],
            u16::from_le_bytes([random.octet(), random.octet()]),
        );
        octets.extend((0..random.below(100)).map(|_| random.octet()));
    }
    octets
}
