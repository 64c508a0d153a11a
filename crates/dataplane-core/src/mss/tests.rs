// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Clamping over frames written out here, with the change made as a host does it.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::encap::checksum;

struct Frame(Vec<u8>);

impl Packet for Frame {
    fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap()
    }

    fn total_len(&self) -> u32 {
        self.len()
    }

    fn read<T: Copy>(&self, off: usize) -> Option<T> {
        let octets = self.0.get(off..off + size_of::<T>())?;
        // SAFETY: the slice holds the whole of `T`, which is valid for any bytes; alignment is not assumed.
        Some(unsafe { octets.as_ptr().cast::<T>().read_unaligned() })
    }

    fn write<T: Copy>(&mut self, _off: usize, _value: T) -> Option<()> {
        unreachable!("whoever calls writes")
    }

    fn grow_front(&mut self, _bytes: usize) -> bool {
        false
    }

    fn shrink_front(&mut self, _bytes: usize) -> bool {
        false
    }

    fn truncate(&mut self, _len: u32) -> bool {
        false
    }

    fn ingress_ifindex(&self) -> u32 {
        0
    }
}

/// VIPs are what ends in 10.
struct Known;

impl MssTables for Known {
    fn is_vip(&self, source: &Address) -> bool {
        source.0[3].to_ne_bytes()[3] == 10
    }

    fn largest(&self, is_v6: bool) -> u16 {
        if is_v6 { 1_384 } else { 1_404 }
    }
}

const FLAGS: u8 = 0x12;

fn segment(flags: u8, options: &[u8]) -> Vec<u8> {
    let offset = u8::try_from(5 + options.len() / 4).unwrap() << 4;
    let mut segment =
        std::vec![0, 80, 0x9c, 0x40, 1, 2, 3, 4, 5, 6, 7, 8, offset, flags, 0xff, 0xff, 0, 0, 0, 0];
    segment.extend(options);
    segment
}

fn v4(last: u8, flags: u8, options: &[u8]) -> Frame {
    let mut frame = std::vec![0; 12];
    frame.extend([8, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend([198, 51, 100, last, 203, 0, 113, 7]);
    frame.extend(segment(flags, options));
    sealed(frame, 34)
}

fn v6(last: u8, flags: u8, options: &[u8]) -> Frame {
    let mut frame = std::vec![0; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 6, 64]);
    let address = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    frame.extend(address(last));
    frame.extend(address(7));
    frame.extend(segment(flags, options));
    sealed(frame, 54)
}

/// The frame with a right checksum over the segment at `l4`; the pseudo header does not change, so it may stay out.
fn sealed(mut frame: Vec<u8>, l4: usize) -> Frame {
    frame[l4 + 16..l4 + 18].fill(0);
    let sum = !sum(&frame[l4..]);
    frame[l4 + 16..l4 + 18].copy_from_slice(&sum.to_be_bytes());
    Frame(frame)
}

fn sum(octets: &[u8]) -> u16 {
    octets.chunks(2).fold(0, |sum, pair| {
        let word = u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        checksum::fold(u32::from(sum) + word)
    })
}

/// The frame after the change, made as the kernel's helper does.
fn changed(frame: &Frame, change: &Change) -> Vec<u8> {
    let mut octets = frame.0.clone();
    assert_eq!(octets[change.at..change.at + 2], change.old.to_be_bytes());
    octets[change.at..change.at + 2].copy_from_slice(&change.new.to_be_bytes());
    let at = change.checksum;
    let old = u16::from_be_bytes([octets[at], octets[at + 1]]);
    let (from, to) = change.words();
    let new = checksum::update(old, u16::from_be(from), u16::from_be(to));
    octets[at..at + 2].copy_from_slice(&new.to_be_bytes());
    octets
}

/// As [`super::clamp`], the change only where there is one.
fn clamp(frame: &Frame, known: &Known) -> Option<(MssVerdict, Option<Change>)> {
    let (verdict, change) = super::clamp(frame, known)?;
    Some((verdict, (verdict == MssVerdict::Clamped).then_some(change)))
}

#[test]
fn numbers_are_indexes() {
    for (index, verdict) in MssVerdict::ALL.iter().enumerate() {
        assert_eq!(*verdict as usize, index);
    }
}

#[test]
fn what_is_no_syn_ack_of_a_vip_is_left_alone() {
    let mss = [2, 4, 0x05, 0xb4];
    let mut udp = v4(10, FLAGS, &mss);
    udp.0[23] = 17;
    let mut later = v4(10, FLAGS, &mss);
    later.0[21] = 1;
    let mut extension = v6(10, FLAGS, &mss);
    extension.0[20] = 0;
    let mut arp = v4(10, FLAGS, &mss);
    arp.0[13] = 6;
    for (name, frame) in [
        ("another address", v4(11, FLAGS, &mss)),
        ("another address, v6", v6(11, FLAGS, &mss)),
        ("syn", v4(10, 2, &mss)),
        ("ack", v4(10, 0x10, &mss)),
        ("reset", v4(10, 0x16, &mss)),
        ("udp", udp),
        ("later fragment", later),
        ("extension header", extension),
        ("arp", arp),
        ("cut in the ip header", Frame(v4(10, FLAGS, &mss).0[..30].to_vec())),
        ("cut in the tcp header", Frame(v4(10, FLAGS, &mss).0[..46].to_vec())),
        ("nothing", Frame(Vec::new())),
    ] {
        assert_eq!(clamp(&frame, &Known), None, "{name}");
    }
}

#[test]
fn options_are_walked_as_far_as_they_can_be() {
    use MssVerdict::*;
    let cases: [(&str, &[u8], MssVerdict); 14] = [
        ("mss alone", &[2, 4, 0x05, 0xb4], Clamped),
        ("mss last", &[4, 2, 1, 3, 3, 7, 1, 1, 2, 4, 0x05, 0xb4], Clamped),
        ("mss at an odd octet", &[1, 2, 4, 0x05, 0xb4, 0, 0, 0], Clamped),
        ("small enough", &[2, 4, 0x02, 0x18], Fits),
        ("just small enough", &[2, 4, 0x05, 0x68], Fits),
        ("none", &[1, 1, 4, 2], NoMss),
        ("no options", &[], NoMss),
        ("end before it", &[0, 0, 0, 0, 2, 4, 0x05, 0xb4], NoMss),
        ("length 0", &[3, 0, 0, 0], Unreadable),
        ("length 1", &[3, 1, 0, 0], Unreadable),
        ("length beyond the header", &[3, 5, 0, 0], Unreadable),
        ("mss of another length", &[2, 3, 0x05, 0], Unreadable),
        (
            "fifteen before it",
            &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 0x05, 0xb4, 0],
            Unreadable,
        ),
        ("fourteen before it", &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 0x05, 0xb4, 0, 0], Clamped),
    ];
    for (name, options, verdict) in cases {
        let (found, change) = clamp(&v4(10, FLAGS, options), &Known).unwrap();
        assert_eq!((found, change.is_some()), (verdict, verdict == Clamped), "{name}");
    }
    // The header says more than the frame holds.
    let mut short = v4(10, FLAGS, &[]);
    short.0[34 + 12] = 0x60;
    assert_eq!(clamp(&short, &Known), Some((Unreadable, None)));
    // ECN's flags do not hide a SYN-ACK.
    assert_eq!(clamp(&v6(10, FLAGS | 0x40, &[2, 4, 0x05, 0xb4]), &Known).unwrap().0, Clamped);
    // 1,400 fits IPv4 and not IPv6.
    assert_eq!(clamp(&v4(10, FLAGS, &[2, 4, 0x05, 0x78]), &Known).unwrap().0, Fits);
    assert_eq!(clamp(&v6(10, FLAGS, &[2, 4, 0x05, 0x78]), &Known).unwrap().0, Clamped);
}

proptest! {
    #[test]
    fn a_change_keeps_the_checksum_right_and_never_raises(
        is_v6: bool, before in 0_usize..9, mss: u16, rest in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut options = std::vec![1; before];
        options.extend([2, 4]);
        options.extend(mss.to_be_bytes());
        options.extend(rest);
        options.resize(options.len().next_multiple_of(4), 0);
        let (frame, l4) = if is_v6 { (v6(10, FLAGS, &options), 54) } else { (v4(10, FLAGS, &options), 34) };
        let largest = Known.largest(is_v6);
        match clamp(&frame, &Known).unwrap() {
            (MssVerdict::Clamped, Some(change)) => {
                prop_assert!(mss > largest && change.new == largest);
                let after = changed(&frame, &change);
                prop_assert_eq!(sum(&after[l4..]), 0xffff);
            }
            (verdict, change) => {
                prop_assert!(mss <= largest && verdict == MssVerdict::Fits && change.is_none());
            }
        }
    }

    #[test]
    fn any_octets_do_no_harm(octets in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Some((_, Some(change))) = clamp(&Frame(octets.clone()), &Known) {
            prop_assert!(change.at + 2 <= octets.len() && change.new < change.old);
        }
    }
}
