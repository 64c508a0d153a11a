// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one file that names `zettabgp`: single values on slices of exactly valid length.
//!
//! The lengths are checked here once more, so that no caller can hand it what it would panic on. Its lists are not
//! used for decoding: they sort and drop what the peer sent twice.

use std::net::Ipv4Addr;

use zettabgp::BgpMessage;
use zettabgp::message::attributes::BgpAttr;
use zettabgp::message::attributes::community::{BgpCommunity, BgpLargeCommunity};
use zettabgp::message::attributes::extcommunity::BgpExtCommunity;
use zettabgp::message::attributes::med::BgpMED;
use zettabgp::message::attributes::origin::{BgpAttrOrigin, BgpOrigin};
use zettabgp::message::routerefresh::BgpRouterefreshMessage;
use zettabgp::prelude::{BgpAddrV4, BgpAddrV6, BgpSessionParams, BgpTransportMode};

use crate::advertise::Prefix;
use crate::config::Family;

/// ORIGIN (RFC 4271 §5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Interior to the originating AS; the only one we send.
    Igp,
    /// Learned by EGP.
    Egp,
    /// Learned some other way.
    Incomplete,
}

/// ORIGIN of a one-octet value; `None` for another length or value.
pub(super) fn decode_origin(value: &[u8]) -> Option<Origin> {
    if value.len() != 1 {
        return None;
    }
    Some(match BgpOrigin::decode_from(value).ok()?.value {
        BgpAttrOrigin::Igp => Origin::Igp,
        BgpAttrOrigin::Egp => Origin::Egp,
        BgpAttrOrigin::Incomplete => Origin::Incomplete,
    })
}

/// Value of ORIGIN.
pub(super) fn encode_origin(origin: Origin) -> [u8; 1] {
    let value = match origin {
        Origin::Igp => BgpAttrOrigin::Igp,
        Origin::Egp => BgpAttrOrigin::Egp,
        Origin::Incomplete => BgpAttrOrigin::Incomplete,
    };
    encode_value(&BgpOrigin::new(value))
}

/// MULTI_EXIT_DISC of a four-octet value.
pub(super) fn decode_med(value: &[u8]) -> Option<u32> {
    if value.len() != 4 {
        return None;
    }
    Some(BgpMED::decode_from(value).ok()?.value)
}

/// Value of MULTI_EXIT_DISC.
pub(super) fn encode_med(med: u32) -> [u8; 4] {
    encode_value(&BgpMED::new(med))
}

/// One community of four octets.
pub(super) fn decode_community(value: &[u8; 4]) -> Option<u32> {
    Some(BgpCommunity::decode_from(value).ok()?.value)
}

/// One extended community of eight octets, kept as it is on the wire.
pub(super) fn decode_extended_community(value: &[u8; 8]) -> Option<[u8; 8]> {
    let mut octets = [0; 8];
    BgpExtCommunity::decode_from(value).ok()?.encode_to(&mut octets).ok()?;
    Some(octets)
}

/// One large community of twelve octets.
pub(super) fn decode_large_community(value: &[u8; 12]) -> Option<[u32; 3]> {
    let community = BgpLargeCommunity::decode_from(value).ok()?;
    Some([community.ga, community.ldp1, community.ldp2])
}

/// One large community.
pub(super) fn encode_large_community([ga, ldp1, ldp2]: [u32; 3]) -> [u8; 12] {
    let mut octets = [0; 12];
    BgpLargeCommunity { ga, ldp1, ldp2 }
        .encode_to(&mut octets)
        .expect("twelve octets hold a large community");
    octets
}

/// A prefix from its length, within the family's bits, and as many octets as those need.
pub(super) fn decode_prefix(family: Family, length: u8, octets: &[u8]) -> Option<Prefix> {
    if octets.len() != usize::from(length).div_ceil(8) {
        return None;
    }
    let address = match family {
        Family::Ipv4Unicast if length <= 32 => BgpAddrV4::from_bits(length, octets).ok()?.0.addr.into(),
        Family::Ipv6Unicast if length <= 128 => BgpAddrV6::from_bits(length, octets).ok()?.0.addr.into(),
        Family::Ipv4Unicast | Family::Ipv6Unicast => return None,
    };
    Prefix::truncated(address, length).ok()
}

/// The address octets of a prefix, and how many of them go on the wire.
pub(super) fn encode_prefix(prefix: Prefix) -> ([u8; 16], usize) {
    let mut octets = [0; 16];
    let written = match prefix.address() {
        std::net::IpAddr::V4(v4) => BgpAddrV4::new(v4, prefix.length()).to_bits(&mut octets),
        std::net::IpAddr::V6(v6) => BgpAddrV6::new(v6, prefix.length()).to_bits(&mut octets),
    };
    let (_, count) = written.expect("sixteen octets hold any prefix");
    (octets, count)
}

/// AFI, subtype and SAFI of a ROUTE-REFRESH body of four octets.
pub(super) fn decode_refresh(body: &[u8]) -> Option<(u16, u8, u8)> {
    if body.len() != 4 {
        return None;
    }
    let mut message = BgpRouterefreshMessage::new();
    message.decode_from(&params(), body).ok()?;
    Some((message.afi, message.subtype, message.safi))
}

fn encode_value<const N: usize>(attribute: &impl BgpAttr) -> [u8; N] {
    let mut octets = [0; N];
    let written = attribute.encode_to(&params(), &mut octets);
    debug_assert!(matches!(written, Ok(n) if n == N), "the caller names the value's exact size");
    octets
}

/// Parameters that no function used here looks at.
fn params() -> BgpSessionParams {
    let mut params = BgpSessionParams::new(0, 0, BgpTransportMode::IPv4, Ipv4Addr::UNSPECIFIED, Vec::new());
    params.fuzzy_pathid = false;
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_octets() {
        for (origin, octet) in [(Origin::Igp, 0), (Origin::Egp, 1), (Origin::Incomplete, 2)] {
            assert_eq!(encode_origin(origin), [octet]);
            assert_eq!(decode_origin(&[octet]), Some(origin));
        }
        assert_eq!(decode_origin(&[3]), None);
        assert_eq!(decode_origin(&[0, 0]), None);
        assert_eq!(encode_med(0x0102_0304), [1, 2, 3, 4]);
        assert_eq!(decode_med(&[1, 2, 3, 4]), Some(0x0102_0304));
        assert_eq!(decode_med(&[1, 2, 3]), None);
        assert_eq!(decode_community(&[0xff, 0xff, 0, 0]), Some(0xffff_0000));
        assert_eq!(decode_extended_community(b"\x00\x04\xfd\xe9abcd"), Some(*b"\x00\x04\xfd\xe9abcd"));
        assert_eq!(encode_large_community([1, 2, 3]), [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(decode_large_community(&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]), Some([1, 2, 3]));
    }
}
