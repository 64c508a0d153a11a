// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ICMP errors about flows that nobody here knows: handed over by XDP, copied in traffic control to each candidate.
//!
//! Every case runs on the host and in the kernel. There the copies are really sent, by the loopback device of a namespace of
//! the test's own, and heard as they leave.

use std::net::IpAddr;

use weir_dataplane::forwarding::{BackendState, GueVariant, Mode, OnFailed};
use weir_dataplane::host::{HostCarrier, Left};
use weir_dataplane_core::Verdict::{self, *};
use weir_dataplane_core::clone::{self, TAG_LEN};

use super::check_lab::{Sniffer, in_own_namespace, ip};
use crate::support::bed::{State, hop, usual};
use crate::support::build::{ACK, CLIENT_MAC, Frame, OWN_MAC, SYN, ethernet};
use crate::support::message::{Message, outer, tagged, tunnelled};
use crate::support::pair::Pair;

const CLIENT: [&str; 2] = ["203.0.113.7", "2001:db8:c::7"];
const VIP: [&str; 2] = ["198.51.100.10", "2001:db8:100::10"];
const ROUTER: [&str; 2] = ["192.0.2.77", "2001:db8:77::1"];
const BACKENDS: [[&str; 3]; 2] =
    [["10.1.0.1", "10.1.0.2", "10.1.0.3"], ["2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::3"]];

/// "Host unreachable" about the flow from port `port` of the client, in IPv4 (0) or IPv6 (1).
fn error(family: usize, port: u16) -> Message {
    let quote = Frame::tcp(VIP[family], 80, CLIENT[family], port, ACK).ip();
    let (kind, code, header) = if family == 0 { (3, 1, 20) } else { (1, 3, 40) };
    Message::new(ROUTER[family], VIP[family], kind, code, 0, &quote[..header + 8])
}

/// What became of a frame: XDP's verdict, and the copies.
struct Copied {
    verdict: Verdict,
    frame: Vec<u8>,
    left: Vec<Left>,
}

impl Copied {
    /// Where the copies went, sorted; all of them have `verdict`.
    fn destinations(&self) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = self.left.iter().map(|left| outer(&left.frame).0).collect();
        all.sort_unstable();
        all
    }
}

/// Runs `octets` through XDP and what that hands over through the copying program, on host and kernel: the same copies,
/// and counters that say so.
fn copied(pair: &mut Pair, name: &str, octets: &[u8]) -> Copied {
    let result = pair.run(octets);
    let mut carrier = HostCarrier::new(&result.frame);
    let is_handed = clone::copies(&mut carrier, &pair.host);
    assert_eq!(is_handed, result.verdict == PassToClone, "{name}: {:?}", result.verdict);
    let mut sniffer = Sniffer::new();
    let before = pair.kernel.counters().unwrap();
    let ran = pair.kernel.run_clone(&result.frame).unwrap();
    let after = pair.kernel.counters().unwrap();
    let (taken, not_taken) = (2, u32::MAX);
    assert_eq!(ran.action, if is_handed { taken } else { not_taken }, "{name}");
    let sent: Vec<Vec<u8>> = sniffer.frames().into_iter().map(|(_, frame)| frame).collect();
    let leaving = carrier.left.iter().filter(|left| left.outcome.egress_ifindex != 0);
    let expected: Vec<Vec<u8>> = leaving.map(|left| left.frame.clone()).collect();
    assert_eq!(sent, expected, "{name}: by the kernel, and by the host");
    for (old, new) in before.verdicts.iter().zip(&after.verdicts) {
        let ended = carrier.left.iter().filter(|left| left.outcome.verdict == new.verdict).count() as u64;
        assert_eq!(new.packets - old.packets, ended, "{name}: {}", new.verdict.name());
        assert_eq!(new.bytes - old.bytes, ended * octets.len() as u64, "{name}: {}", new.verdict.name());
    }
    let by_backends: u64 =
        after.backends.iter().map(|(name, new)| new.packets - before.backends[name].packets).sum();
    assert_eq!(by_backends, expected.len() as u64, "{name}: a copy for each backend");
    assert_eq!(before.services, after.services, "{name}: XDP has counted it for the service");
    Copied { verdict: result.verdict, frame: result.frame, left: carrier.left }
}

/// All backends of `family` have a copy of `message`, by IP in IP.
fn all_have(pair: &mut Pair, name: &str, family: usize, message: &Message) {
    let copied = copied(pair, name, &message.octets());
    assert_eq!(copied.verdict, PassToClone, "{name}");
    let backends: Vec<IpAddr> = BACKENDS[family].iter().map(|address| address.parse().unwrap()).collect();
    assert_eq!(copied.destinations(), backends, "{name}");
    for left in &copied.left {
        assert_eq!(left.outcome.verdict, ForwardIcmpCopy, "{name}");
        let (backend, label) = outer(&left.frame);
        assert_eq!(left.frame, tunnelled(&message.ip(), backend, label), "{name}");
    }
}

fn isolated(test: impl FnOnce() + Send) {
    in_own_namespace(|| {
        // Nothing but copies is to be heard.
        std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        ip("link set lo arp off");
        test();
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn every_candidate_of_an_unknown_flow_has_a_copy() {
    isolated(|| {
        let mut pair = Pair::new(&usual());
        for family in 0..2 {
            let plain = error(family, 40_000);
            all_have(&mut pair, "plain", family, &plain);
            for port in 40_001..40_009 {
                all_have(&mut pair, "another row", family, &error(family, port));
            }
            let class = plain.clone().with(|m| m.traffic_class = 0xb9);
            all_have(&mut pair, "traffic class", family, &class);
            for tags in [vec![(0x8100, 0x6005)], vec![(0x88a8, 7), (0x8100, 0x6005)]] {
                all_have(&mut pair, "tags", family, &plain.clone().with(|m| m.tags = tags.clone()));
            }
            all_have(&mut pair, "ttl 2", family, &plain.clone().with(|m| m.ttl = 2));
        }
        all_have(&mut pair, "options", 0, &error(0, 40_000).with(|m| m.between = vec![1; 40]));
        let extension = vec![58, 0, 1, 4, 0, 0, 0, 0];
        let extended = error(1, 40_000).with(|m| (m.first_extension, m.between) = (60, extension));
        all_have(&mut pair, "extension header", 1, &extended);
        assert!(pair.same_flows());
        let empty = pair.kernel.snapshot().unwrap();
        let is_empty = |set: &[std::sync::atomic::AtomicU64; 8]| {
            set.iter().all(|slot| slot.load(std::sync::atomic::Ordering::Relaxed) == 0)
        };
        assert!(empty.flows.iter().all(|set| is_empty(set)), "nothing was remembered");
    });
}

/// What XDP passes is no packet to the host's stack: no version of IP that it knows.
#[test]
#[ignore = "needs root and a private bpffs"]
fn what_is_handed_over_is_nothing_to_the_host() {
    isolated(|| {
        let mut pair = Pair::new(&usual());
        for (family, ethertype) in [(0, 0x0800), (1, 0x86dd)] {
            let message = error(family, 40_000).with(|m| m.tags = vec![(0x8100, 5)]);
            let handed = copied(&mut pair, "handed", &message.octets());
            assert_eq!(handed.frame[..14], ethernet(OWN_MAC, CLIENT_MAC, ethertype));
            assert_eq!(handed.frame[14] >> 4, 0, "version");
            assert_eq!(handed.frame[14 + 6], 59, "no next header");
            assert_eq!(handed.frame[14 + TAG_LEN..], message.ip(), "unchanged behind the tag");

            // Nobody but this appliance can make such a frame: each octet of the seal and what it covers counts.
            for at in (22..30).chain([30, 37]) {
                let mut forged = handed.frame.clone();
                forged[at] ^= 0x40;
                let mut carrier = HostCarrier::new(&forged);
                assert!(!clone::copies(&mut carrier, &pair.host), "octet {at}");
                assert!(carrier.left.is_empty());
                let (mut sniffer, ran) = (Sniffer::new(), pair.kernel.run_clone(&forged).unwrap());
                assert_eq!(ran.action, u32::MAX, "octet {at}");
                assert_eq!(ran.frame, forged, "octet {at}");
                assert!(sniffer.frames().is_empty());
            }
            // From the wire, XDP leaves it to the host as it is.
            assert_eq!(pair.run(&handed.frame).verdict, PassMalformed);
        }
        for other in [
            Frame::tcp(CLIENT[0], 1, "192.0.2.1", 179, SYN).octets(),
            Frame::udp(CLIENT[1], 1, "2001:db8:ffff::1", 53).octets(),
            ethernet(OWN_MAC, CLIENT_MAC, 0x0806),
            vec![0; 22],
        ] {
            let ran = pair.kernel.run_clone(&other).unwrap();
            assert_eq!((ran.action, ran.frame), (u32::MAX, other), "the host's own");
        }
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn known_flows_pools_of_one_and_pools_with_agents_need_no_copies() {
    isolated(|| {
        let mut pair = Pair::new(&usual());
        let open = Frame::tcp(CLIENT[0], 40_000, VIP[0], 80, SYN).octets();
        assert_eq!(pair.run(&open).verdict, ForwardNew);
        assert_eq!(pair.run(&error(0, 40_000).octets()).verdict, ForwardIcmp);
        assert_eq!(pair.run(&error(0, 40_001).octets()).verdict, PassToClone);
        let ttl = error(0, 40_001).with(|m| m.ttl = 1);
        assert_eq!(pair.run(&ttl.octets()).verdict, DropTtl);

        let agents = |state: State, pool: &str| {
            state
                .edit_pool(pool, |pool| pool.mode = Mode::Gue { port: 6080, variant: GueVariant::Candidates })
        };
        let mut pair = Pair::new(&agents(usual(), "web4"));
        assert_eq!(pair.run(&error(0, 40_000).octets()).verdict, ForwardIcmp, "agents pass it on");
        assert_eq!(pair.run(&error(1, 40_000).octets()).verdict, PassToClone, "the other pool has none");

        let one = |state: State, pool: &str| {
            state.edit_pool(pool, |pool| pool.backends.retain(|name, _| name == "b1"))
        };
        let mut pair = Pair::new(&one(one(usual(), "web4"), "web6"));
        assert!(!pair.kernel.clones());
        for family in 0..2 {
            let (message, result) = (error(family, 40_000), pair.run(&error(family, 40_000).octets()));
            assert_eq!(result.verdict, ForwardIcmp, "one backend");
            let (backend, label) = outer(&result.frame);
            assert_eq!(result.frame, tunnelled(&message.ip(), backend, label));
        }
        pair.apply(&usual());
        assert_eq!(pair.run(&error(0, 40_000).octets()).verdict, PassToClone, "two more came");
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn an_error_costs_its_vip_one_however_many_copies_there_are() {
    isolated(|| {
        let mut pair = Pair::new(&usual().edit_limits(|limits| limits.icmp_errors_per_second = 2));
        let open = Frame::tcp(CLIENT[0], 40_000, VIP[0], 80, SYN).octets();
        assert_eq!(pair.run(&open).verdict, ForwardNew);
        all_have(&mut pair, "unknown", 0, &error(0, 41_000));
        assert_eq!(pair.run(&error(0, 40_000).octets()).verdict, ForwardIcmp, "of the same budget");
        assert_eq!(pair.run(&error(0, 41_000).octets()).verdict, DropIcmpLimited);
        all_have(&mut pair, "the other VIP", 1, &error(1, 41_000));
        pair.pass(1);
        all_have(&mut pair, "the next second", 0, &error(0, 41_000));
    });
}

/// The copies in other modes are what XDP sends to the same backends: of an error about a known flow of each.
#[test]
#[ignore = "needs root and a private bpffs"]
fn copies_are_carried_in_the_pools_mode() {
    isolated(|| {
        let gue = |variant| Mode::Gue { port: 6080, variant };
        let modes = [
            ("ipip", Mode::Ipip, false),
            ("gue", gue(GueVariant::Header), false),
            ("gue with a checksum", gue(GueVariant::Header), true),
            ("gue variant 1", gue(GueVariant::Direct), false),
            ("l2", Mode::L2, false),
        ];
        for (name, mode, udp_checksum) in modes {
            for vlan in [None, Some(7)] {
                for family in 0..2 {
                    let pool = ["web4", "web6"][family];
                    let state = BACKENDS[family].iter().fold(usual(), |state, address| {
                        let mut macs = hop(1500);
                        macs.destination_mac[4] = address.bytes().last().unwrap();
                        state.next_hop(
                            address,
                            Some(weir_dataplane::next_hop::NextHop { vlan, is_on_link: true, ..macs }),
                        )
                    });
                    let state = state.edit_pool(pool, |pool| {
                        pool.mode = mode;
                        pool.outer.udp_checksum = udp_checksum;
                    });
                    as_xdp_sends_them(&format!("{name}, {vlan:?}, {pool}"), &state, family);
                }
            }
        }
    });
}

/// Each copy is the frame that XDP makes of the error while that backend is the only one of the pool.
fn as_xdp_sends_them(name: &str, state: &State, family: usize) {
    let message = error(family, 40_000);
    let mut pair = Pair::new(state);
    let copied = copied(&mut pair, name, &message.octets());
    assert_eq!((copied.verdict, copied.left.len()), (PassToClone, 3), "{name}");
    let mut frames: Vec<&Vec<u8>> = copied.left.iter().map(|left| &left.frame).collect();
    frames.sort_unstable();
    let mut alone: Vec<Vec<u8>> = ["b1", "b2", "b3"]
        .iter()
        .map(|only| {
            let keep = |state: State, pool: &str| {
                state.edit_pool(pool, |pool| pool.backends.retain(|name, _| name == only))
            };
            pair.apply(&keep(keep(state.clone(), "web4"), "web6"));
            let result = pair.run(&message.octets());
            assert_eq!(result.verdict, ForwardIcmp, "{name}, {only} alone");
            result.frame
        })
        .collect();
    alone.sort_unstable();
    assert_eq!(frames, alone.iter().collect::<Vec<_>>(), "{name}");
    assert!(frames.windows(2).all(|pair| pair[0] != pair[1]), "{name}: three different ones");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn candidates_that_cannot_have_one_are_named_and_the_others_have_theirs() {
    isolated(|| {
        // One that drains keeps its flows: this may be one of them.
        let mut pair = Pair::new(&usual().backend_state("web4", "b2", BackendState::Draining));
        all_have(&mut pair, "draining", 0, &error(0, 40_000));
        let mut pair = Pair::new(&usual().backend_state("web4", "b2", BackendState::Failed));
        all_have(&mut pair, "failed, and keeps its flows", 0, &error(0, 40_000));

        let without_b2 = |name: &str, state: State| {
            let mut pair = Pair::new(&state);
            let copied = copied(&mut pair, name, &error(0, 40_000).octets());
            let mut verdicts: Vec<Verdict> = copied.left.iter().map(|left| left.outcome.verdict).collect();
            verdicts.retain(|verdict| *verdict != ForwardIcmpCopy);
            let sent = copied.left.iter().filter(|left| left.outcome.verdict == ForwardIcmpCopy);
            let mut to: Vec<IpAddr> = sent.map(|left| outer(&left.frame).0).collect();
            to.sort_unstable();
            assert_eq!(to, ["10.1.0.1", "10.1.0.3"].map(|a| a.parse::<IpAddr>().unwrap()), "{name}");
            verdicts
        };
        let reset = usual().edit_pool("web4", |pool| pool.on_failed = OnFailed::Reset).backend_state(
            "web4",
            "b2",
            BackendState::Failed,
        );
        assert_eq!(without_b2("failed, and its flows are reset", reset), []);
        let disabled = usual().backend_state("web4", "b2", BackendState::Disabled);
        assert_eq!(without_b2("disabled", disabled), []);
        // A path that is too short for this one: the message is not answered by another.
        let narrow = usual().next_hop("10.1.0.2", Some(hop(75)));
        assert_eq!(without_b2("too big", narrow), [DropTooBig]);
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn large_errors_in_several_buffers_are_copied_whole() {
    isolated(|| {
        ip("link set lo mtu 65000");
        let addresses = BACKENDS[0];
        let state =
            addresses.iter().fold(usual(), |state, address| state.next_hop(address, Some(hop(9_000))));
        let mut pair = Pair::new(&state);
        let quote = Frame::tcp(VIP[0], 80, CLIENT[0], 40_000, ACK).with(|frame| {
            frame.payload = (0..8_000).map(|at| (at * 7 % 251) as u8).collect();
        });
        let message = Message::new(ROUTER[0], VIP[0], 3, 1, 0, &quote.ip());
        let octets = tagged(&message.ip(), &[]);
        let result = pair.run(&octets);
        assert_eq!(result.verdict, PassToClone);
        let mut carrier = HostCarrier::new(&result.frame);
        assert!(clone::copies(&mut carrier, &pair.host));
        assert_eq!(carrier.left.len(), 3);
        for left in &carrier.left {
            let (backend, label) = outer(&left.frame);
            assert_eq!(left.frame, tunnelled(&message.ip(), backend, label));
        }
    });
}
