// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What two codecs make of the same octets, and why they may differ.

use netgauze_bgp_pkt::BgpMessage;
use weir_bgp::Prefix;
use weir_bgp::wire::iana::attribute_code as code;
use weir_bgp::wire::{DecodeContext, HeaderError, Message, Update, UpdateError, WireError, decode_message};

use super::meaning::{Meaning, Said, ours, ours_said, read_theirs, theirs};

/// Each class of outcomes, with the reason why it is no mistake of ours.
pub(crate) const CLASSES: &[(&str, &str)] = &[
    ("the same meaning", "both read it, with the same prefixes and attributes"),
    ("refused by both", "the session ends either way; which mistake is named first is free"),
    (
        "a mistake we forgive",
        "RFC 7606: they refuse the message, we withdraw its prefixes or drop an attribute",
    ),
    (
        "a mistake they do not see",
        "we have a finding, they read it on; prefixes and what we kept are the same",
    ),
    ("a family we do not speak", "they look into it and refuse, we skip it (RFC 4760 §6)"),
    (
        "a Partial flag",
        "they refuse it where it should not be, RFC 7606 §3 c asks for Optional and Transitive only",
    ),
    ("an attribute we do not read", "they look into an optional attribute that we drop unread (RFC 4271 §5)"),
    (
        "a prefix that is not unicast",
        "they refuse multicast prefixes as NLRI, we leave that to the policy of import",
    ),
    ("an unknown well-known attribute", "reset 3/2 (RFC 4271 §6.3); they read on"),
    ("a multiprotocol attribute twice", "reset 3/1 (RFC 7606 §3 g); they read on"),
    (
        "a next hop of another length",
        "reset 3/9 (RFC 4760 §7); they check it for IPv4 alone, and look into no family that is foreign to them",
    ),
    ("a capability of another shape", "they refuse the OPEN, we keep the capability raw (RFC 5492 §3)"),
    ("OPEN with long parameters", "RFC 9072, which they do not know"),
    ("an identifier that is no unicast address", "RFC 6286 §2.1 asks for non-zero only"),
    ("an error code of no registry", "they refuse the NOTIFICATION, we show its numbers"),
    ("a refresh we ignore", "of another family or kind (RFC 7313 §5); they refuse it"),
    ("longer than negotiated", "reset 1/2 (RFC 8654 §4); they take long messages always"),
];

/// The class of a message's reading by both; an error describes a difference that has none.
pub(crate) fn class_of(octets: &[u8], four_octet_as: bool) -> Result<&'static str, String> {
    let context = DecodeContext { four_octet_as, local_address: None };
    let own = decode_message(octets, &context);
    let other = read_theirs(octets, four_octet_as);
    match (own, other) {
        (Err(_), Err(_)) => Ok("refused by both"),
        (Ok(own), Ok(other)) => both_read(&own, &other),
        (Ok(own), Err(other)) => we_alone_read(&own, octets, &other)
            .ok_or_else(|| format!("we read {:?}\nthey refuse: {other}", ours(&own))),
        (Err(own), Ok(other)) => they_alone_read(&own, octets.len())
            .ok_or_else(|| format!("we refuse: {own}\nthey read {:?}", theirs(&other))),
    }
}

fn both_read(own: &Message, other: &BgpMessage) -> Result<&'static str, String> {
    let difference = || format!("we read {own:?}\nthey read {:?}", theirs(other));
    let (Message::Update(update), Meaning::Update(other_said)) = (own, theirs(other)) else {
        return if ours(own) == theirs(other) { Ok("the same meaning") } else { Err(difference()) };
    };
    let (mut said, mut other_said) = (ours_said(update), *other_said);
    // A default route said again is one (ADR 0020).
    for field in
        [&mut other_said.withdrawn, &mut other_said.announced, &mut other_said.unreach, &mut other_said.reach]
    {
        one_default(field);
    }
    if update.treatment.is_none() {
        return if said == other_said { Ok("the same meaning") } else { Err(difference()) };
    }
    // What a finding cost is gone on our side; the rest is the same, the prefixes whatever was found.
    forget(update, &mut said, &mut other_said);
    if said == other_said { Ok("a mistake they do not see") } else { Err(difference()) }
}

fn one_default(field: &mut Vec<Prefix>) {
    let mut has_default = false;
    field.retain(|p| p.length() != 0 || !std::mem::replace(&mut has_default, true));
}

/// Takes the attributes with a finding out of both.
fn forget(update: &Update, said: &mut Said, other: &mut Said) {
    for finding in &update.findings {
        for side in [&mut *said, &mut *other] {
            match finding.code {
                code::ORIGIN => side.origin = None,
                code::AS_PATH => side.as_path = None,
                code::NEXT_HOP => side.next_hop = None,
                code::MED => side.med = None,
                code::COMMUNITIES => side.communities.clear(),
                code::EXTENDED_COMMUNITIES => side.extended_communities.clear(),
                code::LARGE_COMMUNITIES => side.large_communities.clear(),
                code::AS4_PATH => side.as4_path = None,
                _ => {}
            }
        }
    }
}

fn we_alone_read(own: &Message, octets: &[u8], error: &str) -> Option<&'static str> {
    Some(match own {
        Message::Update(update) => return we_alone_read_update(update, error),
        // The extended form: a first parameter of type 255.
        Message::Open(_) if octets.get(29) == Some(&255) => "OPEN with long parameters",
        Message::Open(_) if error.contains("CapabilityError") => "a capability of another shape",
        Message::Open(_) if error.contains("InvalidBgpId") => "an identifier that is no unicast address",
        Message::Notification(_) if error.contains("Undefined") => "an error code of no registry",
        Message::Refresh(_) if error.contains("Undefined") || error.contains("AddressTypeError") => {
            "a refresh we ignore"
        }
        Message::Open(_) | Message::Notification(_) | Message::Keepalive | Message::Refresh(_) => {
            return None;
        }
    })
}

fn we_alone_read_update(update: &Update, error: &str) -> Option<&'static str> {
    let attributes = &update.attributes;
    let families = [
        attributes.mp_reach.as_ref().map(|reach| reach.family),
        attributes.mp_unreach.as_ref().map(|unreach| unreach.family),
    ];
    let is_foreign = families.into_iter().flatten().any(|family| family.family().is_none());
    let is_multiprotocol = error.contains("MpReachError") || error.contains("MpUnreachError");
    Some(match () {
        () if update.treatment.is_some() => "a mistake we forgive",
        () if is_foreign && is_multiprotocol => "a family we do not speak",
        () if error.contains("InvalidPartialFlagValue") => "a Partial flag",
        () if error.contains("InvalidUnicastNetwork") || error.contains("UnicastNetwork {") => {
            "a prefix that is not unicast"
        }
        // We check the flags of every type that we read.
        () if UNREAD.iter().any(|unread| error.contains(unread)) => "an attribute we do not read",
        () => return None,
    })
}

/// Their words for attributes that we drop unread, and for wrong flags.
const UNREAD: [&str; 7] = [
    "InvalidPathAttribute",
    "OnlyToCustomer",
    "Aigp",
    "BgpLs",
    "SegmentIdentifier",
    "ExtendedCommunitiesErrorIpv6",
    "UnknownAttribute",
];

fn they_alone_read(own: &WireError, length: usize) -> Option<&'static str> {
    match own {
        WireError::Header(HeaderError::Length { .. }) if length > 4096 => Some("longer than negotiated"),
        WireError::Update(UpdateError::UnknownWellKnown { .. }) => Some("an unknown well-known attribute"),
        WireError::Update(UpdateError::MultiprotocolTwice { .. }) => Some("a multiprotocol attribute twice"),
        WireError::Update(UpdateError::Multiprotocol { code: code::MP_REACH, attribute, .. }) => {
            let head = if attribute.first()? & 0x10 == 0 { 3 } else { 4 };
            let [a, b, safi, length] = *attribute.get(head..)?.first_chunk()?;
            let is_unchecked = match [a, b, safi] {
                [0, 1, 1] => false,
                [0, 2, 1] => !matches!(length, 16 | 32),
                _ => true,
            };
            is_unchecked.then_some("a next hop of another length")
        }
        WireError::Header(_)
        | WireError::Open(_)
        | WireError::Update(_)
        | WireError::Refresh(_)
        | WireError::Notification(_) => None,
    }
}
