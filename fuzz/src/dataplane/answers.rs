// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames that go back to their sender.

use super::octets::{self, Ip, word};

/// Largest messages (RFC 1812 §4.3.2.3, RFC 4443 §3.2).
const TOTAL_V4: usize = 576;
const TOTAL_V6: usize = 1_280;
/// Least MTUs that may be told (RFC 791 §3.2, RFC 8201 §4).
const MTU_MIN_V4: u16 = 68;
const MTU_MIN_V6: u16 = 1_280;

/// An echo reply: the request with its addresses turned round, and what follows from that.
pub(super) fn echo(frame: &[u8], left: &[u8]) {
    let (before, after) = turned(frame, left);
    assert_eq!(left.len(), frame.len());
    assert!(!before.is_fragment() && after.ttl() == 64);
    let l4 = before.header_len();
    let mut expected = before.octets.to_vec();
    expected[before.ttl_at()] = 64;
    let addresses = if before.is_v6() { 8..40 } else { 12..20 };
    let half = addresses.len() / 2;
    expected[addresses].rotate_left(half);
    expected[l4] = if before.is_v6() { 129 } else { 0 };
    // Checksums by themselves: as right or wrong as they were.
    let sums = if before.is_v6() { vec![l4 + 2..l4 + 4] } else { vec![10..12, l4 + 2..l4 + 4] };
    for sum in sums {
        expected[sum.clone()].copy_from_slice(&after.octets[sum]);
    }
    assert_eq!(after.octets, expected);
    assert_eq!(after.is_sound(), before.is_sound());
    assert_eq!(after.transport_sum() == Some(0xffff), before.transport_sum() == Some(0xffff));
}

/// "Too big": from whom it was for, to whom it came from, an MTU that it is above of, its first octets.
pub(super) fn too_big(frame: &[u8], left: &[u8]) {
    let (before, after) = turned(frame, left);
    let is_v6 = before.is_v6();
    assert!(after.is_sound() && after.transport_sum() == Some(0xffff), "{left:02x?}");
    assert_eq!((after.ttl(), after.traffic_class(), after.len()), (64, 0xc0, after.octets.len()));
    let message = &after.octets[after.header_len()..];
    let mtu = word(message, 6).expect("an MTU");
    let (protocol, kind, total, least) = if is_v6 {
        (58, [2, 0], TOTAL_V6, MTU_MIN_V6)
    } else {
        assert_eq!(before.fragment() & 0x4000, 0x4000, "it may not be fragmented");
        (octets::ICMP, [3, 4], TOTAL_V4, MTU_MIN_V4)
    };
    assert_eq!((after.protocol(), &message[..2], &message[4..6]), (protocol, &kind[..], &[0, 0][..]));
    assert!(
        mtu >= least && usize::from(mtu) < before.len() && after.len() <= total,
        "{mtu} for {}",
        before.len()
    );
    assert!(message.len() - 8 >= before.header_len() + 8, "a quote that can be told a flow from");
    assert!(
        before.octets.starts_with(&message[8..]) && message.len() - 8 <= before.len(),
        "the packet as it came"
    );
}

/// Both packets; of the second the link's addresses, the tags and the packet's addresses are turned round.
fn turned<'f>(frame: &'f [u8], left: &'f [u8]) -> (Ip<'f>, Ip<'f>) {
    let before = Ip::read(frame).expect("what is answered was an IP packet");
    let after = Ip::read(left).expect("an IP packet");
    assert_eq!(frame[0] & 1, 0, "what came to many is not answered");
    assert_eq!(left[..12], [&frame[6..12], &frame[..6]].concat());
    assert_eq!(left[12..after.at], frame[12..before.at], "tags and EtherType");
    assert_eq!((after.source(), after.destination()), (before.destination(), before.source()));
    (before, after)
}
