// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance whose routes lead over a tagged device, over a bond of two links, or over a tagged device on a bond,
//! When clients' packets come in, with no tag, with one or with two,
//! Then every frame that leaves has the tag of the route's device and no other, and leaves by the bond's active member; and
//! when another member becomes the active one, or a member loses its link, frames follow within a tenth of a second.
//!
//! Kernels of test machines often have neither: these run in the guests of `make test-vm`.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_lab::document::{Subnet, own_addresses};
use weir_lab::{HOST_MAC, Layers, SWITCH_MAC, Stack, fair, syn, wait_until};

use crate::{PATIENCE, weir};

/// The longest that frames may leave by a member that is not the active one any more.
const STALE_MAX: Duration = Duration::from_millis(100);
/// So long nothing came there any more: nothing will.
const SILENCE: Duration = Duration::from_millis(400);
/// Between two frames of a stream.
const INTERVAL: Duration = Duration::from_millis(2);
/// The tag of the routes' device.
const TAG: u16 = 100;
/// Ethertypes of tags (IEEE 802.1Q, 802.1ad).
const CUSTOMER: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;
/// Number of an inner header's protocol in the outer one.
const IPV4: u8 = 4;
const IPV6: u8 = 41;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

fn running(stack: Stack) -> Layers {
    let mut layers = Layers::build(&weir(), stack).expect("the network");
    layers.appliance.start().unwrap_or_else(|error| {
        layers.logs.show();
        panic!("{error:#}");
    });
    layers
}

/// A frame with tags put into it, outermost first.
fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let tags = tags.iter().flat_map(|(kind, id)| [kind.to_be_bytes(), id.to_be_bytes()].concat());
    let mut tagged = frame.to_vec();
    tagged.splice(12..12, tags);
    tagged
}

/// The sum of the Internet checksum over an IPv4 header whose own sum is zero.
fn checksum(header: &[u8]) -> u16 {
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
}

/// The frame that leaves for `received`, which has no tag, by way of `backend`: RFC 2003 and RFC 2473, one hop further. The flow
/// label of an outer IPv6 header, which the flow's hash makes, is zero.
fn expected(received: &[u8], backend: u8, tag: Option<u16>) -> Vec<u8> {
    let mut inner = received[14..].to_vec();
    let (source, to) = (own_addresses(1), Subnet::Backend(backend).host());
    let (ethertype, outer) = if inner[0] >> 4 == 4 {
        inner[8] -= 1;
        inner[10..12].fill(0);
        let sum = checksum(&inner[..20]);
        inner[10..12].copy_from_slice(&sum.to_be_bytes());
        let len = u16::try_from(20 + inner.len()).expect("small").to_be_bytes();
        let mut outer = vec![0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, IPV4, 0, 0];
        outer.extend(source.0.octets());
        outer.extend(to.0.octets());
        let sum = checksum(&outer);
        outer[10..12].copy_from_slice(&sum.to_be_bytes());
        (0x0800_u16, outer)
    } else {
        inner[7] -= 1;
        let len = u16::try_from(inner.len()).expect("small").to_be_bytes();
        let mut outer = vec![0x60, 0, 0, 0, len[0], len[1], IPV6, 64];
        outer.extend(source.1.octets());
        outer.extend(to.1.octets());
        (0x86dd, outer)
    };
    let mut frame = [SWITCH_MAC, HOST_MAC].concat();
    if let Some(tag) = tag {
        frame.extend([CUSTOMER.to_be_bytes(), tag.to_be_bytes()].concat());
    }
    frame.extend(ethertype.to_be_bytes());
    [frame, outer, inner].concat()
}

/// The frame without the flow label of its outer header.
fn without_label(mut frame: Vec<u8>, tag: Option<u16>) -> Vec<u8> {
    let outer = if tag.is_some() { 18 } else { 14 };
    if frame[outer] >> 4 == 6 {
        frame[outer + 1] &= 0xf0;
        frame[outer + 2..outer + 4].fill(0);
    }
    frame
}

/// Source port of the packet in a frame's tunnel, which ends the frame: a TCP header without data.
fn flow(frame: &[u8]) -> &[u8] {
    &frame[frame.len() - 20..frame.len() - 18]
}

/// Sends packets of both families with these tags on link `on` until they leave, and demands that whatever leaves for them does so
/// by link `by`, octet for octet. Numbers of packets begin with `first`; no stream has run.
fn each_leaves(layers: &Layers, tag: Option<u16>, (on, by): (usize, usize), tags: &[(u16, u16)], first: u32) {
    for number in [first, first + 1] {
        let packet = syn(HOST_MAC, number);
        let is_v4 = number.is_multiple_of(2);
        let is_it = |frame: &[u8]| {
            let family = frame[if tag.is_some() { 18 } else { 14 }] >> 4;
            flow(frame) == flow(&packet) && (family == 4) == is_v4
        };
        let frames = wait_until("the frame to leave", PATIENCE, || {
            layers.inject(on, &tagged(&packet, tags))?;
            // Until the neighbour is known, packets are lost; then it takes microseconds.
            std::thread::sleep(Duration::from_millis(20));
            let frames = layers.taps[by].frames(is_it);
            anyhow::ensure!(!frames.is_empty(), "{}", layers.appliance.status()?["pools"]);
            Ok(frames)
        })
        .unwrap_or_else(|error| {
            layers.logs.show();
            panic!("{tags:x?}: {error:#}");
        });
        let possible = [1, 2].map(|backend| expected(&packet, backend, tag));
        for frame in frames {
            let frame = without_label(frame, tag);
            assert!(possible.contains(&frame), "{tags:x?}:\n{frame:02x?}\nis neither of\n{possible:02x?}");
        }
        for (number, tap) in layers.taps.iter().enumerate().filter(|(number, _)| *number != by) {
            assert_eq!(tap.frames(is_it), Vec::<Vec<u8>>::new(), "link {number}");
        }
    }
}

/// What came over a link so far, and when the last of it.
fn sent(layers: &Layers, link: usize) -> (u64, f64) {
    let tallies = layers.watches[link].tallies();
    assert!(tallies.keys().all(|mac| *mac == SWITCH_MAC), "{tallies:?}");
    tallies.get(&SWITCH_MAC).map_or((0, 0.0), |sent| (sent.v4 + sent.v6, sent.last_at))
}

/// Demands that frames leave by one link of the bond alone, at the latest a tenth of a second after `since`, when it was told so.
fn carries_alone(layers: &Layers, link: usize, since: f64) {
    let other = 1 - link;
    let limit = fair(STALE_MAX).as_secs_f64();
    let before = sent(layers, link).0;
    wait_until("frames by the active member", PATIENCE, || {
        let (count, _) = sent(layers, link);
        anyhow::ensure!(count > before + 50, "{count} frames, {before} before");
        Ok(())
    })
    .unwrap_or_else(|error| {
        layers.logs.show();
        panic!("{error:#}");
    });
    wait_until("silence on the other", PATIENCE, || {
        let (_, last) = sent(layers, other);
        anyhow::ensure!(now() - last.max(since) > SILENCE.as_secs_f64(), "still used");
        Ok(())
    })
    .expect("silence");
    let stale = sent(layers, other).1 - since;
    if stale > -60.0 {
        eprintln!("last frame by the other member {:.1} ms after the command ended", stale * 1000.0);
    }
    assert!(stale <= limit, "{stale} s");
}

/// Makes a member the active one. Gives when that was done.
fn activate(layers: &Layers, member: usize) -> f64 {
    let line = format!("link set bond0 type bond active_slave eth{member}");
    layers.appliance.netns().ip(&line).expect("it becomes the active member");
    now()
}

#[test]
#[ignore = "needs a kernel with VLANs and bonds: make test-vm"]
fn a_tagged_device_has_its_tag_pushed_whatever_came_in() {
    let stack = Stack { is_bond: false, tag: Some(TAG) };
    let layers = running(stack);
    let cases: [&[(u16, u16)]; 5] = [
        &[],
        &[(CUSTOMER, TAG)],
        &[(CUSTOMER, 7)],
        &[(SERVICE, 200), (CUSTOMER, TAG)],
        &[(CUSTOMER, 200), (CUSTOMER, 300)],
    ];
    for (number, tags) in (0..).zip(cases) {
        each_leaves(&layers, stack.tag, (0, 0), tags, number * 2);
    }
}

/// The program is on the bond: frames of both members are served, and leave by the one that is active.
#[test]
#[ignore = "needs a kernel with VLANs and bonds: make test-vm"]
fn a_bond_carries_by_its_active_member_and_follows_it() {
    let stack = Stack { is_bond: true, tag: None };
    let layers = running(stack);
    activate(&layers, 0);
    each_leaves(&layers, None, (0, 0), &[], 0);
    each_leaves(&layers, None, (1, 0), &[], 2);
    let streams = [0, 1].map(|link| layers.stream(link, INTERVAL).expect("a stream"));
    carries_alone(&layers, 0, now());
    for member in [1, 0, 1] {
        let since = activate(&layers, member);
        carries_alone(&layers, member, since);
    }
    // Loss of the link, as the bond itself finds it.
    layers.switch.ip("link set sw1 down").expect("the link goes");
    let since = now();
    let before = sent(&layers, 0).0;
    wait_until("frames by the member that is left", PATIENCE, || {
        let (count, last) = sent(&layers, 0);
        anyhow::ensure!(count > before || last > since, "none");
        let later = last - since;
        println!("frames by the member that is left, seen {:.1} ms after the command ended", later * 1000.0);
        assert!(later <= fair(STALE_MAX).as_secs_f64(), "only {later} s later");
        Ok(())
    })
    .expect("it takes over");
    carries_alone(&layers, 0, since);
    for stream in streams {
        stream.stop().expect("it ran");
    }
}

#[test]
#[ignore = "needs a kernel with VLANs and bonds: make test-vm"]
fn a_tagged_device_on_a_bond_has_both() {
    let stack = Stack { is_bond: true, tag: Some(TAG) };
    let layers = running(stack);
    activate(&layers, 0);
    each_leaves(&layers, stack.tag, (0, 0), &[(CUSTOMER, TAG)], 0);
    each_leaves(&layers, stack.tag, (1, 0), &[], 2);
    activate(&layers, 1);
    each_leaves(&layers, stack.tag, (0, 1), &[(SERVICE, 200), (CUSTOMER, TAG)], 4);
    let streams = [0, 1].map(|link| layers.stream(link, INTERVAL).expect("a stream"));
    carries_alone(&layers, 1, now());
    let since = activate(&layers, 0);
    carries_alone(&layers, 0, since);
    for stream in streams {
        stream.stop().expect("it ran");
    }
}

/// A tag on a tag would need two pushed, which the program does not do: the backends have no next hop, and the status says so.
#[test]
#[ignore = "needs a kernel with VLANs and bonds: make test-vm"]
fn a_tag_on_a_tag_is_no_way_out_and_the_status_says_so() {
    let layers = running(Stack { is_bond: false, tag: Some(TAG) });
    let host = layers.appliance.netns();
    host.ip("link add link eth0.100 name inner type vlan id 200\nlink set inner up").expect("a tag on a tag");
    host.ip("address add 10.9.0.2/24 dev inner\nroute replace 10.1.0.0/16 via 10.9.0.1 dev inner")
        .expect("a route");
    let address = IpAddr::from(Subnet::Backend(1).host().0);
    wait_until("the status to say so", PATIENCE, || {
        let said = layers.appliance.api().get("/v1/pools/web4/backends/b1")?.to_string();
        anyhow::ensure!(said.contains("inner") && said.contains("not an uplink"), "{address}: {said}");
        Ok(())
    })
    .expect("unresolved");
}

/// The kernel says "not supported", whatever the cause: the words must be about bonds, not about a driver.
#[test]
#[ignore = "needs a kernel with VLANs and bonds: make test-vm"]
fn a_bond_of_a_mode_without_xdp_is_refused_by_name() {
    let mut layers = Layers::build(&weir(), Stack { is_bond: true, tag: None }).expect("the network");
    let apart = "link set eth0 nomaster\nlink set eth1 nomaster\nlink set bond0 down\nlink set bond0 type bond mode broadcast";
    let again =
        "link set eth0 down\nlink set eth0 master bond0\nlink set eth1 down\nlink set eth1 master bond0";
    layers.appliance.netns().ip(&format!("{apart}\n{again}\nlink set bond0 up")).expect("another mode");
    layers.appliance.spawn().expect("it starts");
    let status = layers.appliance.wait_end(PATIENCE).expect("it ends by itself");
    let log = layers.appliance.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("attach to `bond0`") && log.contains("xmit_hash_policy"), "{log}");
}
