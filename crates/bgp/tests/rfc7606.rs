// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What becomes of a message with a mistake in it, one test per line of the table in `docs/adr/0020-wire-reactions.md`.
//!
//! ```text
//!   reset      the session ends with this NOTIFICATION
//!   withdraw   the session lives, the message's prefixes are known and count as withdrawn
//!   discard    the session lives, the attribute is as if it had not been sent, the prefixes stand
//! ```
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

use weir_bgp::wire::iana::{MESSAGE_LEN_MAX, MESSAGE_LEN_MAX_EXTENDED};
use weir_bgp::wire::{
    DecodeContext, FrameBuffer, HeaderError, Message, Open, Origin, Treatment, Update, WireError,
    decode_message,
};

const CONTEXT: DecodeContext = DecodeContext { four_octet_as: true, local_address: None };

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 10, 0, 0, 1];
const NLRI: &[u8] = &[32, 192, 0, 2, 1];
/// 2001:db8::/32 by 2001:db8::1.
const MP_REACH: &[u8] = &[
    0x80, 14, 26, 0, 2, 1, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32, 0x20, 1, 0xd,
    0xb8,
];
const MP_UNREACH: &[u8] = &[0x80, 15, 8, 0, 2, 1, 32, 0x20, 1, 0xd, 0xb8];

/// An UPDATE of these attributes and classic prefixes.
fn update(attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
    let block = attributes.concat();
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    message(2, &[&[0, 0], &length[..], &block, nlri].concat())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
    [&[0xff; 16], &length[..], &[kind], body].concat()
}

/// Code, subcode and data of the answer to a message that ends the session.
fn reset(octets: &[u8]) -> (u8, u8, Vec<u8>) {
    let answer = decode_message(octets, &CONTEXT).expect_err("the session ends").answer().unwrap();
    (answer.code(), answer.subcode(), answer.data().to_vec())
}

fn read_as(octets: &[u8], context: &DecodeContext) -> Update {
    match decode_message(octets, context).expect("the session lives") {
        Message::Update(update) => *update,
        other => panic!("no UPDATE: {other:?}"),
    }
}

fn read(octets: &[u8]) -> Update {
    read_as(octets, &CONTEXT)
}

/// That the one announced prefix is known and counts as withdrawn, because of attribute `code`.
fn assert_withdraws(octets: &[u8], code: u8) {
    let update = read(octets);
    assert!(update.is_treated_as_withdraw(), "{octets:02x?}");
    assert_eq!(update.announced().count(), 1, "what is withdrawn is known: {octets:02x?}");
    let finding = update.findings.iter().find(|f| f.treatment == Treatment::TreatAsWithdraw).unwrap();
    assert_eq!(finding.code, code, "{finding}");
}

/// A whole announcement, with one more attribute.
fn with(extra: &[u8]) -> Vec<u8> {
    update(&[ORIGIN, AS_PATH, NEXT_HOP, extra], NLRI)
}

/// A whole announcement, with `replacement` in place of the mandatory attribute of the same code.
fn instead(replacement: &[u8]) -> Vec<u8> {
    let block = [ORIGIN, AS_PATH, NEXT_HOP].map(|a| if a[1] == replacement[1] { replacement } else { a });
    update(&block, NLRI)
}

/// That attribute `code` is gone and the rest of the announcement stands.
fn assert_discards(octets: &[u8], code: u8) {
    let found = read(octets);
    assert_eq!(found.treatment, Some(Treatment::AttributeDiscard), "{octets:02x?}");
    assert_eq!(found.findings.iter().map(|f| f.code).collect::<Vec<_>>(), [code]);
    let plain = read(&update(&[ORIGIN, AS_PATH, NEXT_HOP], NLRI));
    assert_eq!((found.attributes, found.nlri), (plain.attributes, plain.nlri), "as if never sent");
}

fn header(marker: u8, length: u16, kind: u8) -> Vec<u8> {
    [&[marker; 16][..], &length.to_be_bytes(), &[kind]].concat()
}

#[test]
fn a_marker_that_is_not_all_ones_resets_with_1_1() {
    assert_eq!(reset(&header(0xfe, 19, 4)), (1, 1, vec![]));
}

#[test]
fn a_length_outside_its_types_bounds_resets_with_1_2_and_the_length() {
    for (length, kind) in
        [(0u16, 4), (18, 4), (20, 4), (28, 1), (22, 2), (20, 3), (22, 5), (4097, 2), (4097, 3), (65535, 2)]
    {
        let octets = length.to_be_bytes().to_vec();
        assert_eq!(reset(&header(0xff, length, kind)), (1, 2, octets), "{length} of type {kind}");
    }
}

#[test]
fn with_extended_messages_only_open_and_keepalive_keep_the_old_bound() {
    let judge = |length, kind| {
        let mut buffer = FrameBuffer::new(MESSAGE_LEN_MAX);
        buffer.set_max(MESSAGE_LEN_MAX_EXTENDED);
        buffer.fill(&mut &header(0xff, length, kind)[..])
    };
    for kind in [2, 3, 5] {
        assert_eq!(judge(4097, kind), Ok(false), "type {kind}: its body is awaited");
    }
    for (length, kind) in [(4097, 1), (20, 4), (18, 2)] {
        assert_eq!(judge(length, kind), Err(HeaderError::Length { length }));
    }
}

#[test]
fn an_unknown_message_type_resets_with_1_3_and_the_type() {
    for kind in [0, 6, 255] {
        assert_eq!(reset(&header(0xff, 30, kind)), (1, 3, vec![kind]));
    }
}

#[test]
fn a_field_length_beyond_the_message_resets_with_3_1() {
    assert_eq!(reset(&message(2, &[0, 1, 0, 0])), (3, 1, vec![]), "withdrawn routes");
    assert_eq!(
        reset(&message(2, &[0, 2, 0, 0])),
        (3, 1, vec![]),
        "withdrawn routes leave no attribute length"
    );
    assert_eq!(reset(&message(2, &[0, 0, 0, 1])), (3, 1, vec![]), "path attributes");
    assert_eq!(reset(&message(2, &[0xff, 0xff, 0, 0])), (3, 1, vec![]));
}

#[test]
fn a_prefix_that_cannot_be_resets_with_3_10_in_every_field() {
    for bad in [&[33u8, 1, 2, 3, 4, 5][..], &[255], &[24, 1, 2], &[8, 10, 129]] {
        let length = u8::try_from(bad.len()).unwrap();
        assert_eq!(reset(&update(&[ORIGIN, AS_PATH, NEXT_HOP], bad)), (3, 10, vec![]), "NLRI {bad:?}");
        let withdrawn = [&[0, length][..], bad, &[0, 0]].concat();
        assert_eq!(reset(&message(2, &withdrawn)), (3, 10, vec![]), "withdrawn {bad:?}");
        let reach = [&[0x80, 14, 9 + length, 0, 1, 1, 4, 10, 0, 0, 1, 0][..], bad].concat();
        assert_eq!(reset(&update(&[&reach, ORIGIN, AS_PATH], &[])), (3, 10, vec![]), "MP_REACH {bad:?}");
        let unreach = [&[0x80, 15, 3 + length, 0, 1, 1][..], bad].concat();
        assert_eq!(reset(&update(&[&unreach], &[])), (3, 10, vec![]), "MP_UNREACH {bad:?}");
    }
    let v6 = [&[0x80, 15, 4, 0, 2, 1, 129][..]].concat();
    assert_eq!(reset(&update(&[&v6], &[])), (3, 10, vec![]), "129 bits of IPv6");
}

#[test]
fn an_unparsable_mp_reach_or_mp_unreach_resets_with_3_9_and_the_attribute() {
    let mut cases: Vec<Vec<u8>> = vec![
        vec![0x80, 14, 0],
        vec![0x80, 14, 3, 0, 1, 1],
        vec![0x80, 14, 4, 0, 2, 1, 16],
        vec![0x80, 14, 8, 0, 1, 1, 4, 10, 0, 0, 1],
        vec![0x80, 14, 9, 0],
        vec![0x80, 15, 0],
        vec![0x80, 15, 2, 0, 1],
        vec![0x80, 15, 9, 0],
    ];
    for (afi, lengths) in
        [(1, &[0u8, 3, 5, 12, 15, 17, 24, 31, 33, 48][..]), (2, &[0, 4, 15, 17, 24, 31, 48])]
    {
        for length in lengths {
            let value = [&[0, afi, 1, *length][..], &vec![1; usize::from(*length)], &[0]].concat();
            cases.push([&[0x80, 14, u8::try_from(value.len()).unwrap()][..], &value].concat());
        }
    }
    for bad in cases {
        assert_eq!(reset(&update(&[ORIGIN, &bad], &[])), (3, 9, bad.clone()), "{bad:?}");
    }
}

#[test]
fn every_lawful_next_hop_length_is_read() {
    for (afi, length) in [(1, 4), (1, 16), (1, 32), (2, 16), (2, 32)] {
        let value = [&[0, afi, 1, length][..], &vec![0x20; usize::from(length)], &[0, 0]].concat();
        let reach = [&[0x80, 14, u8::try_from(value.len()).unwrap()][..], &value].concat();
        let update = read(&update(&[&reach, ORIGIN, AS_PATH], &[]));
        assert_eq!((update.treatment, update.announced().count()), (None, 1), "{afi} with {length}");
    }
}

#[test]
fn a_second_mp_reach_or_mp_unreach_resets_with_3_1() {
    assert_eq!(reset(&update(&[MP_REACH, ORIGIN, AS_PATH, MP_REACH], &[])), (3, 1, vec![]));
    assert_eq!(reset(&update(&[MP_UNREACH, MP_UNREACH], &[])), (3, 1, vec![]));
    let both = read(&update(&[MP_REACH, MP_UNREACH, ORIGIN, AS_PATH], &[]));
    assert_eq!((both.treatment, both.announced().count(), both.withdrawals().count()), (None, 1, 1));
}

#[test]
fn an_attribute_beyond_the_block_withdraws_what_is_known() {
    for cut in [&[0x40u8][..], &[0x40, 8], &[0xd0, 8, 0], &[0xc0, 8, 9, 1], &[0xc0, 99, 1]] {
        let update = read(&with(cut));
        assert!(update.is_treated_as_withdraw() && update.nlri.len() == 1, "{cut:?}");
        let alone = read(&self::update(&[cut], &[]));
        assert!(
            alone.is_treated_as_withdraw() && alone.announced().count() == 0,
            "only to be logged: {cut:?}"
        );
    }
}

#[test]
fn wrong_flags_of_a_known_type_withdraw() {
    let cases: &[(u8, &[u8])] = &[
        (0x40, &[4, 4, 0, 0, 0, 1]),
        (0xc0, &[4, 4, 0, 0, 0, 1]),
        (0xc0, &[5, 4, 0, 0, 0, 1]),
        (0xc0, &[6, 0]),
        (0x80, &[7, 8, 0, 0, 0, 1, 1, 2, 3, 4]),
        (0x80, &[8, 4, 1, 2, 3, 4]),
        (0x40, &[8, 4, 1, 2, 3, 4]),
        (0xc0, &[9, 4, 1, 2, 3, 4]),
        (0x40, &[10, 4, 1, 2, 3, 4]),
        (0x80, &[16, 8, 0, 2, 0, 1, 0, 0, 0, 1]),
        (0x40, &[17, 6, 2, 1, 0, 0, 0, 1]),
        (0x80, &[18, 8, 0, 0, 0, 1, 1, 2, 3, 4]),
        (0x80, &[32, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]),
    ];
    for (flags, rest) in cases {
        assert_withdraws(&with(&[&[*flags], *rest].concat()), rest[0]);
    }
    for well_known in [ORIGIN, AS_PATH, NEXT_HOP] {
        for flags in [0x00, 0x80, 0xc0] {
            assert_withdraws(&instead(&[&[flags], &well_known[1..]].concat()), well_known[1]);
        }
    }
    let reach = [&[0xc0], &MP_REACH[1..]].concat();
    assert_withdraws(&update(&[&reach, ORIGIN, AS_PATH], &[]), 14);
    let unreach = [&[0x40], &MP_UNREACH[1..]].concat();
    let update = read(&update(&[&unreach], &[]));
    assert!(update.is_treated_as_withdraw() && update.withdrawals().count() == 1);
}

#[test]
fn partial_and_extended_length_are_nobodys_mistake() {
    for fine in [&[0xe0u8, 8, 4, 0, 0, 0, 1][..], &[0xd0, 8, 0, 4, 0, 0, 0, 1], &[0xcf, 8, 4, 0, 0, 0, 1]] {
        let update = read(&with(fine));
        assert_eq!((update.treatment, update.attributes.communities), (None, vec![1]), "{fine:?}");
    }
}

#[test]
fn a_bad_origin_withdraws() {
    for bad in [&[0x40u8, 1, 0][..], &[0x40, 1, 2, 0, 0], &[0x40, 1, 1, 3], &[0x40, 1, 1, 255]] {
        assert_withdraws(&instead(bad), 1);
    }
}

#[test]
fn a_bad_as_path_withdraws() {
    let cases: [&[u8]; 7] = [
        &[2, 1, 0, 0, 0xfd, 0xe9, 2],
        &[2, 1, 0, 0, 0xfd],
        &[2, 0],
        &[0, 1, 0, 0, 0, 1],
        &[3, 1, 0, 0, 0, 1],
        &[4, 1, 0, 0, 0, 1],
        &[2],
    ];
    for bad in cases {
        let attribute = [&[0x40, 2, u8::try_from(bad.len()).unwrap()][..], bad].concat();
        assert_withdraws(&instead(&attribute), 2);
    }
}

#[test]
fn as_zero_in_the_path_withdraws_and_in_an_aggregator_discards() {
    assert_withdraws(&instead(&[0x40, 2, 10, 2, 2, 0, 0, 0xfd, 0xe9, 0, 0, 0, 0]), 2);
    assert_discards(&with(&[0xc0, 7, 8, 0, 0, 0, 0, 192, 0, 2, 1]), 7);
    assert_discards(&with(&[0xc0, 18, 8, 0, 0, 0, 0, 192, 0, 2, 1]), 18);
    let two_octet = DecodeContext { four_octet_as: false, ..CONTEXT };
    let path = [0x40, 2, 4, 2, 1, 0xfd, 0xe9];
    let read = |extra: &[u8]| read_as(&update(&[ORIGIN, &path, NEXT_HOP, extra], NLRI), &two_octet);
    let wide = read(&[0xc0, 17, 6, 2, 1, 0, 0, 0, 0]);
    assert_eq!((wide.treatment, wide.attributes.as4_path), (Some(Treatment::AttributeDiscard), None));
    assert_eq!(read(&[0xc0, 7, 6, 0, 0, 1, 2, 3, 4]).treatment, Some(Treatment::AttributeDiscard));
    assert_eq!(read(&[0xc0, 7, 6, 0, 1, 1, 2, 3, 4]).treatment, None);
}

#[test]
fn an_as_set_from_others_is_accepted() {
    let update = read(&instead(&[0x40, 2, 12, 2, 1, 0, 0, 0xfd, 0xe8, 1, 1, 0, 0, 0xfd, 0xe9]));
    assert_eq!(update.treatment, None);
    let segments: Vec<_> =
        update.attributes.as_path.iter().flat_map(|p| &p.segments).map(ToString::to_string).collect();
    assert_eq!(segments, ["SEQ 65000", "SET 65001"]);
    assert!(update.has_loop(65001));
}

#[test]
fn a_bad_next_hop_withdraws() {
    for length in [0, 3, 5, 16] {
        let attribute = [&[0x40, 3, length][..], &vec![1; usize::from(length)]].concat();
        assert_withdraws(&instead(&attribute), 3);
    }
    for address in [[0, 0, 0, 0], [224, 0, 0, 5], [127, 0, 0, 1], [255, 255, 255, 255]] {
        assert_withdraws(&instead(&[&[0x40, 3, 4][..], &address].concat()), 3);
    }
    let mut reach = MP_REACH.to_vec();
    reach[7] = 0xff;
    assert_withdraws(&update(&[&reach, ORIGIN, AS_PATH], &[]), 14);
    reach[7..23].fill(0);
    assert_withdraws(&update(&[&reach, ORIGIN, AS_PATH], &[]), 14);
}

#[test]
fn our_own_address_as_next_hop_withdraws_in_either_field() {
    let context = |own: &str| DecodeContext { local_address: Some(own.parse().unwrap()), ..CONTEXT };
    let classic = update(&[ORIGIN, AS_PATH, NEXT_HOP], NLRI);
    assert!(read_as(&classic, &context("10.0.0.1")).is_treated_as_withdraw());
    assert!(!read_as(&classic, &context("10.0.0.2")).is_treated_as_withdraw());
    let reach = update(&[MP_REACH, ORIGIN, AS_PATH], &[]);
    assert!(read_as(&reach, &context("2001:db8::1")).is_treated_as_withdraw());
    assert!(!read_as(&reach, &context("2001:db8::2")).is_treated_as_withdraw());
}

#[test]
fn a_next_hop_beside_mp_reach_alone_is_nobodys_and_ignored() {
    for address in [[0, 0, 0, 0], [224, 0, 0, 5], [10, 0, 0, 1]] {
        let next_hop = [&[0x40, 3, 4][..], &address].concat();
        assert_eq!(read(&update(&[MP_REACH, ORIGIN, AS_PATH, &next_hop], &[])).treatment, None);
    }
}

#[test]
fn a_bad_med_withdraws() {
    for length in [0, 3, 5] {
        assert_withdraws(&with(&[&[0x80, 4, length][..], &vec![0; usize::from(length)]].concat()), 4);
    }
}

#[test]
fn bad_communities_of_all_three_kinds_withdraw() {
    for (code, lengths) in [(8, [0u8, 3, 5]), (16, [0, 7, 12]), (32, [0, 5, 13])] {
        for length in lengths {
            let attribute = [&[0xc0, code, length][..], &vec![0; usize::from(length)]].concat();
            assert_withdraws(&with(&attribute), code);
        }
    }
}

#[test]
fn a_missing_mandatory_attribute_withdraws() {
    assert_withdraws(&update(&[AS_PATH, NEXT_HOP], NLRI), 1);
    assert_withdraws(&update(&[ORIGIN, NEXT_HOP], NLRI), 2);
    assert_withdraws(&update(&[ORIGIN, AS_PATH], NLRI), 3);
    assert_withdraws(&update(&[MP_REACH, AS_PATH], &[]), 1);
    assert_withdraws(&update(&[MP_REACH, ORIGIN], &[]), 2);
    assert_eq!(read(&update(&[MP_UNREACH], &[])).treatment, None, "a withdraw needs none");
}

#[test]
fn optional_attributes_of_wrong_length_are_discarded() {
    assert_discards(&with(&[0x40, 6, 1, 0]), 6);
    assert_discards(&with(&[0xc0, 7, 6, 0, 1, 1, 2, 3, 4]), 7);
    assert_discards(&with(&[0xc0, 18, 7, 0, 0, 0, 1, 1, 2, 3]), 18);
    assert_discards(&with(&[0xc0, 17, 6, 2, 1, 0, 0, 0, 1]), 17);
}

#[test]
fn an_unknown_optional_attribute_leaves_nothing() {
    for unknown in [&[0xc0u8, 99, 2, 1, 2][..], &[0x80, 99, 0], &[0xe0, 128, 1, 7], &[0xc0, 11, 1, 7]] {
        let found = read(&with(unknown));
        assert_eq!(found, read(&update(&[ORIGIN, AS_PATH, NEXT_HOP], NLRI)), "{unknown:?}");
    }
}

#[test]
fn of_any_other_duplicate_the_first_is_kept() {
    let update = read(&with(&[0x40, 1, 1, 2]));
    assert_eq!(update.attributes.origin, Some(Origin::Igp));
    assert_eq!(update.treatment, Some(Treatment::AttributeDiscard));
    for again in [AS_PATH, NEXT_HOP, &[0x40, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]] {
        assert_discards(&with(again), again[1]);
    }
    let twice = [&[0xc0, 8, 4, 0, 0, 0, 1][..], &[0xc0, 8, 4, 0, 0, 0, 2]].concat();
    assert_eq!(read(&with(&twice)).attributes.communities, [1]);
    let unknown = [&[0xc0, 99, 1, 1][..], &[0xc0, 99, 1, 2]].concat();
    assert_discards(&with(&unknown), 99);
}

#[test]
fn an_unknown_well_known_attribute_resets_with_3_2_and_the_attribute() {
    for unknown in [&[0x40u8, 99, 1, 7][..], &[0x00, 0, 0], &[0x50, 200, 0, 2, 1, 2]] {
        assert_eq!(reset(&with(unknown)), (3, 2, unknown.to_vec()));
    }
}

#[test]
fn local_pref_originator_id_and_cluster_list_of_an_external_peer_are_discarded() {
    for extra in [
        &[0x40u8, 5, 4, 0, 0, 0, 100][..],
        &[0x40, 5, 3, 0, 0, 0],
        &[0x80, 9, 4, 1, 2, 3, 4],
        &[0x80, 9, 0],
        &[0x80, 10, 4, 1, 2, 3, 4],
        &[0x80, 10, 5, 1, 2, 3, 4, 5],
    ] {
        assert_discards(&with(extra), extra[1]);
    }
}

#[test]
fn the_gravest_of_several_mistakes_counts() {
    let found = read(&with(&[&[0x40, 5, 4, 0, 0, 0, 100][..], &[0x80, 4, 0]].concat()));
    assert!(found.is_treated_as_withdraw());
    assert_eq!(found.findings.len(), 2);
    let all = [&[0x80, 4, 0][..], &[0x40, 99, 0]].concat();
    assert_eq!(reset(&with(&all)), (3, 2, vec![0x40, 99, 0]), "a reset is graver than a withdraw");
}

#[test]
fn withdrawn_routes_stand_beside_a_message_treated_as_withdraw() {
    let block = [&[0x40, 1, 1, 9][..], AS_PATH, NEXT_HOP].concat();
    let length = u8::try_from(block.len()).unwrap();
    let update = read(&message(2, &[&[0, 4, 24, 10, 1, 2, 0, length][..], &block, NLRI].concat()));
    assert!(update.is_treated_as_withdraw());
    assert_eq!(update.withdrawals().map(|p| p.to_string()).collect::<Vec<_>>(), ["10.1.2.0/24"]);
}

#[test]
fn as_zero_in_an_open_is_the_sessions_to_refuse_with_2_2() {
    let open = [4, 0, 0, 0, 9, 10, 0, 0, 1, 0];
    let read = Open::decode(&open).unwrap();
    assert_eq!(read.asn(), 0);
    let refused = WireError::from(weir_bgp::wire::OpenError::PeerAs { asn: 0 }).answer().unwrap();
    assert_eq!((refused.code(), refused.subcode()), (2, 2));
}
