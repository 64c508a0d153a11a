// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Drivers that leave little room in front of a frame: what needs just as much is done, what needs more is dropped by name.
//!
//! On the host to the octet; in the kernel in steps of four, by metadata that takes the room (Linux 6.1 takes too little of
//! it to leave none, and is not asked).

use weir_dataplane::forwarding::{GueVariant, Mode};
use weir_dataplane::host::HostPacket;
use weir_dataplane::next_hop::NextHop;
use weir_dataplane_core::Verdict::{self, *};
use weir_dataplane_core::clone::TAG_LEN;
use weir_dataplane_core::process;

use super::modes::{BACKEND4, BACKEND6, MODES, VIP4, clients, framed, gue, state};
use crate::support::bed::{LOOPBACK, hop, usual};
use crate::support::build::{ACK, Frame};
use crate::support::carried::with_checksum;
use crate::support::headers::tagged;
use crate::support::message::Message;
use crate::support::pair::Pair;

/// What the host makes of `frame` with so much room in front.
fn on_the_host(pair: &Pair, frame: &[u8], room: usize) -> (Verdict, Vec<u8>) {
    let mut packet = HostPacket::with_room(frame, LOOPBACK, room);
    let outcome = process(&mut packet, &pair.host);
    (outcome.verdict, packet.frame().to_vec())
}

/// `frame` becomes what it becomes with plenty of room where `needed` octets are left, and is dropped where fewer are.
fn needs(pair: &mut Pair, name: &str, frame: &[u8], needed: usize) {
    let plenty = pair.compare(frame).unwrap_or_else(|difference| panic!("{name}: {difference}")).0;
    assert_ne!(plenty.verdict.name()[..5], *"drop_", "{name}: {:?}", plenty.verdict);
    if let Some(just) = pair.run_in(frame, needed) {
        assert_eq!(just.frame, plenty.frame, "{name}: just enough room");
    }
    assert_eq!(on_the_host(pair, frame, needed).1, plenty.frame, "{name}: just enough room, on the host");
    let Some(fewer) = needed.checked_sub(1) else { return };
    assert_eq!(on_the_host(pair, frame, fewer).0, DropNoRoom, "{name}: an octet less");
    if let Some(less) = pair.run_in(frame, fewer / 4 * 4) {
        assert_eq!(less.verdict, DropNoRoom, "{name}: four octets less");
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn each_outer_header_needs_its_length_and_no_more() {
    let mut pair = Pair::unrecorded();
    let overheads = [[20, 40], [32, 52], [44, 64], [28, 48], [0, 0]];
    for ((mode_name, mode), overheads) in MODES.into_iter().zip(overheads) {
        for (to, overhead) in [BACKEND4, BACKEND6].into_iter().zip(overheads) {
            for vlan in [None, Some(0x123)] {
                let next = NextHop { vlan, is_on_link: true, ..hop(1500) };
                pair.apply(&state(mode, &[to]).next_hop(to, Some(next)));
                for (client, frame) in clients() {
                    let ip = with_checksum(&frame.ip());
                    let needed = overhead + if vlan.is_some() { 4 } else { 0 };
                    let name = format!("{mode_name} of {client} to {to}, tag {vlan:?}");
                    needs(&mut pair, &name, &framed(&ip), needed);
                    // A tag that came makes room.
                    let came = tagged(&[(0x8100, 5)], &ip);
                    needs(&mut pair, &format!("{name}, with one"), &came, needed.saturating_sub(4));
                }
            }
        }
    }
    let mode = gue(GueVariant::Candidates);
    for (prefix, needed) in [("10.1.0.", 56), ("2001:db8:1::", 112)] {
        let backends: Vec<String> = (1..=4).map(|n| format!("{prefix}{n}")).collect();
        let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
        pair.apply(&state(mode, &backends));
        for (client, frame) in clients() {
            let name = format!("{client} with three candidates");
            needs(&mut pair, &name, &framed(&with_checksum(&frame.ip())), needed);
        }
    }
}

/// Nobody remembers what did not leave any differently than what did: the next packet of the flow may come by another driver.
#[test]
#[ignore = "needs root and a private bpffs"]
fn host_and_kernel_remember_the_same_of_a_flow_without_room() {
    let mut pair = Pair::unrecorded();
    pair.apply(&state(Mode::Ipip, &[BACKEND4]));
    pair.compare(&[0; 60]).unwrap();
    for (client, frame) in clients() {
        if let Some(dropped) = pair.run_in(&frame.octets(), 16) {
            assert_eq!(dropped.verdict, DropNoRoom, "{client}");
        }
        assert!(pair.same_flows(), "{client}");
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn what_a_client_is_told_needs_room_too() {
    let mut pair = Pair::unrecorded();
    pair.apply(&usual());
    let clients = [("203.0.113.7", VIP4, 28), ("2001:db8:c::7", "2001:db8:100::10", 48)];
    for (client, vip, needed) in clients {
        let large = Frame::tcp(client, 40_000, vip, 80, ACK)
            .with(|f| f.payload = vec![7; 1_500 - if vip == VIP4 { 40 } else { 60 }]);
        pair.pass(1);
        needs(&mut pair, &format!("too big, {client}"), &large.octets(), needed);
        // Tags are put back in front.
        needs(&mut pair, &format!("too big, {client}"), &tagged(&[(0x8100, 5)], &large.ip()), needed);
    }
}

/// The tag that an error is handed over with. Copies are made in the room that it leaves, which is more than they need.
#[test]
#[ignore = "needs root and a private bpffs"]
fn what_is_handed_over_for_copies_needs_room_for_its_tag() {
    super::check_lab::in_own_namespace(|| {
        let mut pair = Pair::unrecorded();
        pair.apply(&usual());
        let quote = Frame::tcp(VIP4, 80, "203.0.113.7", 40_000, ACK).ip();
        let error = Message::new("192.0.2.77", VIP4, 3, 1, 0, &quote[..28]);
        needs(&mut pair, "an error about an unknown flow", &error.octets(), TAG_LEN);
    });
}
