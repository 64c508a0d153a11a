// SPDX-License-Identifier: Apache-2.0 OR MIT
//! UPDATE both ways: reactions of RFC 7606 one by one, and that what is sent is read.

use super::*;
use crate::wire::{AsPath, NextHop, Origin, PathToSend, UpdateEncoder, WireError, iana};
use proptest::prelude::*;

const CONTEXT: DecodeContext = DecodeContext { four_octet_as: true, local_address: None };

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 10, 0, 0, 1];
const NLRI: &[u8] = &[32, 192, 0, 2, 1];
const MP_REACH: &[u8] = &[
    0x80, 14, 26, 0, 2, 1, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32, 0x20, 1, 0xd,
    0xb8,
];

fn body(attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
    let block = attributes.concat();
    let length = u16::try_from(block.len()).unwrap();
    [&[0, 0], &length.to_be_bytes()[..], &block, nlri].concat()
}

fn decode(attributes: &[&[u8]], nlri: &[u8]) -> Result<Update, UpdateError> {
    Update::decode(&body(attributes, nlri), &CONTEXT)
}

/// Code and treatment of each finding of an UPDATE that is whole but for `extra`.
fn found(extra: &[u8]) -> Vec<(u8, Treatment)> {
    let update = decode(&[ORIGIN, AS_PATH, NEXT_HOP, extra], NLRI).unwrap();
    assert_eq!(update.nlri.len(), 1, "the prefix stays known");
    update.findings.iter().map(|f| (f.code, f.treatment)).collect()
}

fn answer(result: Result<Update, UpdateError>) -> (u8, u8, Vec<u8>) {
    let answer = WireError::from(result.unwrap_err()).answer().unwrap();
    (answer.code(), answer.subcode(), answer.data().to_vec())
}

#[test]
fn a_whole_update_has_no_findings() {
    let update = decode(&[ORIGIN, AS_PATH, NEXT_HOP], NLRI).unwrap();
    assert_eq!((update.findings.len(), update.treatment), (0, None));
    assert_eq!(update.announced().map(|p| p.to_string()).collect::<Vec<_>>(), ["192.0.2.1/32"]);
    let update = decode(&[MP_REACH, ORIGIN, AS_PATH], &[]).unwrap();
    assert_eq!((update.findings.len(), update.treatment), (0, None));
    assert_eq!(update.announced().map(|p| p.to_string()).collect::<Vec<_>>(), ["2001:db8::/32"]);
}

#[test]
fn values_of_known_attributes_withdraw_when_bad() {
    use Treatment::TreatAsWithdraw as Withdraw;
    let cases: &[(u8, &[u8])] = &[
        (4, &[0x80, 4, 3, 0, 0, 0]),
        (8, &[0xc0, 8, 3, 1, 2, 3]),
        (8, &[0xc0, 8, 0]),
        (16, &[0xc0, 16, 7, 0, 0, 0, 0, 0, 0, 0]),
        (32, &[0xc0, 32, 5, 0, 0, 0, 0, 0]),
        (8, &[0x40, 8, 4, 0, 0, 0, 0]),
        (4, &[0xc0, 4, 4, 0, 0, 0, 0]),
    ];
    for (code, extra) in cases {
        assert_eq!(found(extra), [(*code, Withdraw)], "{extra:?}");
    }
    for bad in [&[0x40u8, 1, 1, 3][..], &[0x40, 1, 2, 0, 0], &[0xc0, 1, 1, 0]] {
        let update = decode(&[bad, AS_PATH, NEXT_HOP], NLRI).unwrap();
        assert!(update.is_treated_as_withdraw() && update.findings[0].code == 1, "{bad:?}");
    }
    for bad in [[0, 0, 0, 0], [224, 0, 0, 1]] {
        let next_hop = [&[0x40, 3, 4], &bad[..]].concat();
        assert!(decode(&[ORIGIN, AS_PATH, &next_hop], NLRI).unwrap().is_treated_as_withdraw());
    }
}

#[test]
fn our_own_address_as_next_hop_withdraws() {
    let context = DecodeContext { local_address: Some("10.0.0.1".parse().unwrap()), ..CONTEXT };
    let update = Update::decode(&body(&[ORIGIN, AS_PATH, NEXT_HOP], NLRI), &context).unwrap();
    assert_eq!(
        update.findings[0].to_string(),
        "attribute 3: next hop is our own address, treated as withdraw"
    );
}

#[test]
fn missing_mandatory_attributes_withdraw_only_if_something_is_announced() {
    for (attributes, code) in [([AS_PATH, NEXT_HOP], 1), ([ORIGIN, NEXT_HOP], 2), ([ORIGIN, AS_PATH], 3)] {
        let update = decode(&attributes, NLRI).unwrap();
        assert_eq!((update.findings[0].code, update.findings[0].what), (code, "missing"));
        assert!(update.is_treated_as_withdraw());
        assert_eq!(decode(&attributes, &[]).unwrap().treatment, None);
    }
    assert!(decode(&[MP_REACH], &[]).unwrap().is_treated_as_withdraw());
    assert_eq!(
        decode(&[MP_REACH, ORIGIN, AS_PATH], &[]).unwrap().treatment,
        None,
        "NEXT_HOP is not for MP_REACH"
    );
}

#[test]
fn what_no_external_peer_may_say_is_discarded() {
    use Treatment::AttributeDiscard as Discard;
    let cases: &[(u8, &[u8])] = &[
        (5, &[0x40, 5, 4, 0, 0, 0, 100]),
        (9, &[0x80, 9, 4, 1, 2, 3, 4]),
        (10, &[0x80, 10, 4, 1, 2, 3, 4]),
        (6, &[0x40, 6, 1, 0]),
        (7, &[0xc0, 7, 6, 0, 0, 0, 0, 0, 0]),
        (17, &[0xc0, 17, 0]),
        (18, &[0xc0, 18, 7, 0, 0, 0, 0, 0, 0, 0]),
        (2, AS_PATH),
    ];
    for (code, extra) in cases {
        assert_eq!(found(extra), [(*code, Discard)], "{extra:?}");
    }
    for fine in
        [&[0x40u8, 6, 0][..], &[0xc0, 7, 8, 0, 0, 0, 1, 1, 2, 3, 4], &[0xc0, 99, 2, 1, 2], &[0x80, 99, 0]]
    {
        assert_eq!(found(fine), [], "{fine:?}");
    }
}

#[test]
fn the_first_of_two_is_kept() {
    let update = decode(&[ORIGIN, AS_PATH, NEXT_HOP, &[0x40, 1, 1, 9]], NLRI).unwrap();
    assert_eq!(update.attributes.origin, Some(Origin::Igp));
    assert_eq!(update.treatment, Some(Treatment::AttributeDiscard));
}

#[test]
fn a_bad_attribute_in_front_does_not_hide_mp_reach_behind() {
    let update = decode(&[&[0x40, 1, 1, 9], AS_PATH, MP_REACH], &[]).unwrap();
    assert!(update.is_treated_as_withdraw());
    assert_eq!(update.announced().count(), 1, "the prefix to withdraw is known");
}

#[test]
fn an_attribute_beyond_the_block_withdraws_what_is_known() {
    for cut in [&[0x40u8][..], &[0x40, 8], &[0xc0, 8, 9, 1], &[0xd0, 8, 0]] {
        let update = decode(&[ORIGIN, AS_PATH, NEXT_HOP, cut], NLRI).unwrap();
        assert!(update.is_treated_as_withdraw(), "{cut:?}");
    }
}

#[test]
fn what_hides_the_prefixes_resets() {
    assert_eq!(answer(Update::decode(&[0, 255, 0, 0], &CONTEXT)), (3, 1, vec![]));
    assert_eq!(answer(Update::decode(&[0, 0, 0, 1], &CONTEXT)), (3, 1, vec![]));
    assert_eq!(answer(Update::decode(&[0, 2, 33, 0, 0, 0], &CONTEXT)), (3, 10, vec![]));
    assert_eq!(answer(decode(&[ORIGIN, AS_PATH, NEXT_HOP], &[33, 1, 2, 3, 4, 5])), (3, 10, vec![]));
    assert_eq!(answer(decode(&[ORIGIN, AS_PATH, NEXT_HOP], &[32, 1, 2])), (3, 10, vec![]));
    assert_eq!(answer(decode(&[MP_REACH, MP_REACH], &[])), (3, 1, vec![]));
    for bad in [
        &[0x80u8, 14, 0][..],
        &[0x80, 14, 4, 0, 2, 1, 0],
        &[0x80, 14, 9, 0, 2, 1, 4, 1, 2, 3, 4, 0],
        &[0x80, 15, 2, 0, 2],
        &[0x80, 14, 9, 0],
    ] {
        assert_eq!(answer(decode(&[bad], &[])), (3, 9, bad.to_vec()));
    }
    for bad in [&[0x80u8, 14, 10, 0, 1, 1, 4, 10, 0, 0, 1, 0, 33][..], &[0x80, 15, 4, 0, 2, 1, 129]] {
        assert_eq!(answer(decode(&[bad], &[])), (3, 10, vec![]), "a prefix is a prefix wherever it stands");
    }
    let unknown: &[u8] = &[0x40, 99, 1, 7];
    assert_eq!(answer(decode(&[ORIGIN, unknown], &[])), (3, 2, unknown.to_vec()));
}

#[test]
fn families_we_do_not_speak_are_skipped() {
    let update =
        decode(&[&[0x80, 14, 9, 0, 25, 70, 4, 1, 2, 3, 4, 0], &[0x80, 15, 5, 0, 25, 70, 255, 255]], &[]);
    let update = update.unwrap();
    assert_eq!((update.announced().count(), update.withdrawals().count(), update.treatment), (0, 0, None));
    assert_eq!(update.end_of_rib(), None);
}

#[test]
fn findings_are_bounded_by_a_small_number() {
    let many: Vec<&[u8]> = vec![&[0x40, 1, 0]; 1000];
    let update = decode(&many, NLRI).unwrap();
    assert_eq!(update.findings.len(), super::attribute::FINDINGS_MAX);
    assert!(update.is_treated_as_withdraw());
    // Mild ones in front do not hide the grave one behind.
    let mild: Vec<&[u8]> = vec![ORIGIN; 20];
    let update = decode(&[&mild[..], &[AS_PATH, NEXT_HOP, &[0x80, 4, 0]]].concat(), NLRI).unwrap();
    assert_eq!(update.findings.len(), super::attribute::FINDINGS_MAX);
    assert_eq!(update.findings.last().map(|f| (f.code, f.treatment)), Some((4, Treatment::TreatAsWithdraw)));
}

#[test]
fn end_of_rib_is_an_update_that_says_nothing() {
    let family = |attributes: &[&[u8]], nlri: &[u8]| decode(attributes, nlri).unwrap().end_of_rib();
    assert_eq!(family(&[], &[]), Some(Family::Ipv4Unicast));
    assert_eq!(family(&[&[0x80, 15, 3, 0, 2, 1]], &[]), Some(Family::Ipv6Unicast));
    assert_eq!(family(&[&[0x80, 15, 3, 0, 25, 70]], &[]), None);
    assert_eq!(family(&[ORIGIN], &[]), None);
    assert_eq!(family(&[&[0xc0, 200, 1, 7]], &[]), None, "an attribute that nobody knows is not nothing");
    assert_eq!(family(&[&[0x40, 6, 0]], &[]), None);
    assert_eq!(family(&[ORIGIN, AS_PATH, NEXT_HOP], NLRI), None);
}

fn prefixes(count: u32, family: Family) -> Vec<Prefix> {
    let address = |n: u32| match family {
        Family::Ipv4Unicast => std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into(),
        Family::Ipv6Unicast => std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(n)).into(),
    };
    (0..count).map(|n| Prefix::host(address(n))).collect()
}

#[test]
fn a_message_is_filled_but_not_beyond_its_limit() {
    let encoder = UpdateEncoder { four_octet_as: true, message_max: iana::MESSAGE_LEN_MAX };
    let path = AsPath::own(65010, 1);
    let path = PathToSend {
        as_path: &path,
        origin: Origin::Igp,
        med: None,
        communities: &[],
        extended_communities: &[],
        large_communities: &[],
    };
    let v4 = prefixes(2000, Family::Ipv4Unicast);
    let next_hop = NextHop::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    let (message, count) = encoder.announce(path, next_hop, Family::Ipv4Unicast, &v4).unwrap();
    assert_eq!((count, message.len()), (810, 4093));
    let v6 = prefixes(2000, Family::Ipv6Unicast);
    let next_hop = NextHop::V6("2001:db8::2".parse().unwrap());
    let (message, count) = encoder.announce(path, next_hop, Family::Ipv6Unicast, &v6).unwrap();
    assert_eq!((count, message.len()), (237, 4090));
    assert_eq!(message[23..25], [0x90, 14], "MP_REACH stands first");
    let (message, count) = encoder.withdraw(Family::Ipv4Unicast, &v4).unwrap();
    assert_eq!((count, message.len()), (814, 4093));
    let (message, count) = encoder.withdraw(Family::Ipv6Unicast, &v6).unwrap();
    assert!(count == 239 && message.len() <= 4096);
    assert_eq!(encoder.withdraw(Family::Ipv4Unicast, &[]), None);
}

proptest! {
    #[test]
    fn what_is_sent_is_read(
        asn in 1u32.., prepend in 0usize..300, four_octet_as: bool, med: Option<u32>, count in 1u32..900,
        communities in prop::collection::vec(any::<u32>(), 0..128),
        large in prop::collection::vec(any::<[u32; 3]>(), 0..128),
        family in prop::sample::select(Family::ALL.to_vec()), over_v6: bool,
    ) {
        let encoder = UpdateEncoder { four_octet_as, message_max: iana::MESSAGE_LEN_MAX };
        let as_path = AsPath::own(asn, 1 + prepend % 256);
        let path = PathToSend {
            as_path: &as_path, origin: Origin::Igp, med, communities: &communities, extended_communities: &[],
            large_communities: &large,
        };
        let next_hop = if over_v6 || family == Family::Ipv6Unicast {
            NextHop::V6("2001:db8::2".parse().unwrap())
        } else {
            NextHop::V4(std::net::Ipv4Addr::new(10, 0, 0, 2))
        };
        let wanted = prefixes(count, family);
        let (message, taken) = encoder.announce(path, next_hop, family, &wanted).unwrap();
        prop_assert!(message.len() <= iana::MESSAGE_LEN_MAX);
        let context = DecodeContext { four_octet_as, local_address: None };
        let update = Update::decode(&message[19..], &context).unwrap();
        prop_assert_eq!(update.treatment, None);
        prop_assert_eq!(update.announced().collect::<Vec<_>>(), &wanted[..taken]);
        prop_assert_eq!(update.attributes.med, med);
        prop_assert_eq!(&update.attributes.communities, &communities);
        prop_assert_eq!(&update.attributes.large_communities, &large);
        prop_assert!(update.has_loop(asn));
        let is_wide = u16::try_from(asn).is_err();
        prop_assert_eq!(update.attributes.as4_path.is_some(), is_wide && !four_octet_as);

        let (message, taken) = encoder.withdraw(family, &wanted).unwrap();
        let update = Update::decode(&message[19..], &context).unwrap();
        prop_assert_eq!(update.withdrawals().collect::<Vec<_>>(), &wanted[..taken]);
        prop_assert_eq!(update.end_of_rib(), None);
    }
}
