// SPDX-License-Identifier: Apache-2.0 OR MIT
//! UPDATEs that we send: one set of attributes with as many prefixes as fit, withdraws, End-of-RIB.
//!
//! MP_REACH and MP_UNREACH stand first among the attributes (RFC 7606 §5.1). IPv4 over an IPv4 next hop takes the
//! classic fields; any other pairing takes MP_REACH, so IPv4 over an IPv6 next hop (RFC 8950) is already one arm.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::as_path::AsPath;
use super::iana::{HEADER_LEN, attribute_code as code, attribute_flag as flag, message_type};
use super::leaf::{self, Origin};
use super::message::encode_message;
use super::mp::AfiSafi;
use super::nlri;
use crate::advertise::Prefix;
use crate::config::Family;

/// Octets of an UPDATE around its three variable fields: header and two lengths.
const FRAME_LEN: usize = HEADER_LEN + 4;
/// Octets of an attribute header with extended length.
const ATTRIBUTE_HEADER_MAX: usize = 4;

/// The next hop we name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHop {
    /// In NEXT_HOP, for IPv4 prefixes.
    V4(Ipv4Addr),
    /// In MP_REACH, 16 octets.
    V6(Ipv6Addr),
}

impl NextHop {
    /// The next hop of this address.
    pub fn from_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => Self::V6(v6),
        }
    }
}

/// The attributes of a path, before it is cut to the peer's measures.
#[derive(Debug, Clone, Copy)]
pub struct PathToSend<'a> {
    /// AS_PATH.
    pub as_path: &'a AsPath,
    /// ORIGIN.
    pub origin: Origin,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// COMMUNITIES.
    pub communities: &'a [u32],
    /// Extended communities.
    pub extended_communities: &'a [[u8; 8]],
    /// Large communities.
    pub large_communities: &'a [[u32; 3]],
}

impl PathToSend<'_> {
    /// Octets of its lists, which alone could exceed a message.
    fn value_octets(&self) -> usize {
        let asns: usize = self.as_path.segments.iter().map(|s| 2 + s.asns.len() * 4).sum();
        let large = self.large_communities.len() * 12;
        asns + self.communities.len() * 4 + self.extended_communities.len() * 8 + large
    }
}

/// Builds messages for one session.
#[derive(Debug, Clone, Copy)]
pub struct UpdateEncoder {
    /// Both sides speak four-octet AS numbers.
    pub four_octet_as: bool,
    /// Longest message.
    pub message_max: usize,
}

impl UpdateEncoder {
    /// A message announcing prefixes from the front of `prefixes`, all of `family`, and how many it took.
    ///
    /// `None` if `prefixes` is empty, the attributes leave no room for a single one, the next hop is IPv4 and the
    /// family IPv6, or the path holds a set (RFC 9774).
    pub fn announce(
        &self,
        path: PathToSend<'_>,
        next_hop: NextHop,
        family: Family,
        prefixes: &[Prefix],
    ) -> Option<(Vec<u8>, usize)> {
        // Checked before anything is built: behind this every length fits its field.
        if path.as_path.has_set() || path.value_octets() > self.message_max {
            return None;
        }
        let mut tail = Vec::with_capacity(128);
        push_attribute(&mut tail, flag::TRANSITIVE, code::ORIGIN, &leaf::encode_origin(path.origin));
        let classic = match (family, next_hop) {
            (Family::Ipv4Unicast, NextHop::V4(address)) => Some(address),
            (Family::Ipv4Unicast | Family::Ipv6Unicast, NextHop::V6(_))
            | (Family::Ipv6Unicast, NextHop::V4(_)) => None,
        };
        self.push_path(&mut tail, path, classic);
        if classic.is_some() {
            let room = self.message_max.checked_sub(FRAME_LEN + tail.len())?;
            let (nlri, count) = pack(prefixes, room)?;
            return Some((update(&[], &tail, &nlri), count));
        }
        // IPv6 prefixes cannot have an IPv4 next hop in any form a peer must accept.
        let NextHop::V6(address) = next_hop else { return None };
        let mut head = AfiSafi::from(family).to_octets().to_vec();
        head.push(16);
        head.extend_from_slice(&address.octets());
        head.push(0);
        let used = FRAME_LEN + tail.len() + ATTRIBUTE_HEADER_MAX + head.len();
        let (nlri, count) = pack(prefixes, self.message_max.checked_sub(used)?)?;
        head.extend_from_slice(&nlri);
        let mut block = Vec::with_capacity(tail.len() + head.len() + ATTRIBUTE_HEADER_MAX);
        push_attribute(&mut block, flag::OPTIONAL, code::MP_REACH, &head);
        block.extend_from_slice(&tail);
        Some((update(&[], &block, &[]), count))
    }

    fn push_path(&self, out: &mut Vec<u8>, path: PathToSend<'_>, classic: Option<Ipv4Addr>) {
        let mut value = Vec::new();
        path.as_path.encode(self.four_octet_as, &mut value);
        push_attribute(out, flag::TRANSITIVE, code::AS_PATH, &value);
        if let Some(next_hop) = classic {
            push_attribute(out, flag::TRANSITIVE, code::NEXT_HOP, &next_hop.octets());
        }
        if let Some(med) = path.med {
            push_attribute(out, flag::OPTIONAL, code::MED, &leaf::encode_med(med));
        }
        let optional_transitive = flag::OPTIONAL | flag::TRANSITIVE;
        let communities: Vec<u8> = path.communities.iter().flat_map(|c| c.to_be_bytes()).collect();
        let extended: Vec<u8> = path.extended_communities.iter().flatten().copied().collect();
        let large: Vec<u8> =
            path.large_communities.iter().flat_map(|c| leaf::encode_large_community(*c)).collect();
        for (code, value) in [(code::COMMUNITIES, communities), (code::EXTENDED_COMMUNITIES, extended)] {
            if !value.is_empty() {
                push_attribute(out, optional_transitive, code, &value);
            }
        }
        if !self.four_octet_as && path.as_path.is_wide() {
            value.clear();
            path.as_path.encode(true, &mut value);
            push_attribute(out, optional_transitive, code::AS4_PATH, &value);
        }
        if !large.is_empty() {
            push_attribute(out, optional_transitive, code::LARGE_COMMUNITIES, &large);
        }
    }

    /// A message withdrawing prefixes from the front of `prefixes`, all of `family`, and how many it took.
    ///
    /// IPv4 goes in the classic field: for prefixes announced with an IPv4 next hop. `None` if `prefixes` is empty.
    pub fn withdraw(&self, family: Family, prefixes: &[Prefix]) -> Option<(Vec<u8>, usize)> {
        match family {
            Family::Ipv4Unicast => {
                let (field, count) = pack(prefixes, self.message_max.checked_sub(FRAME_LEN)?)?;
                Some((update(&field, &[], &[]), count))
            }
            Family::Ipv6Unicast => self.withdraw_multiprotocol(family, prefixes),
        }
    }

    /// As [`UpdateEncoder::withdraw`], in MP_UNREACH: what was announced by MP_REACH goes the way it came (RFC 8950).
    pub fn withdraw_multiprotocol(&self, family: Family, prefixes: &[Prefix]) -> Option<(Vec<u8>, usize)> {
        let used = FRAME_LEN + ATTRIBUTE_HEADER_MAX + 3;
        let (field, count) = pack(prefixes, self.message_max.checked_sub(used)?)?;
        Some((unreach(family, &field), count))
    }

    /// The End-of-RIB marker of `family` (RFC 4724 §2).
    pub fn end_of_rib(&self, family: Family) -> Vec<u8> {
        match family {
            Family::Ipv4Unicast => update(&[], &[], &[]),
            Family::Ipv6Unicast => unreach(family, &[]),
        }
    }
}

fn unreach(family: Family, nlri: &[u8]) -> Vec<u8> {
    let mut value = AfiSafi::from(family).to_octets().to_vec();
    value.extend_from_slice(nlri);
    let mut block = Vec::with_capacity(value.len() + ATTRIBUTE_HEADER_MAX);
    push_attribute(&mut block, flag::OPTIONAL, code::MP_UNREACH, &value);
    update(&[], &block, &[])
}

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    encode_message(message_type::UPDATE, |out| {
        for field in [withdrawn, attributes] {
            let length = u16::try_from(field.len()).expect("fields are packed within the message limit");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(field);
        }
        out.extend_from_slice(nlri);
    })
}

fn push_attribute(out: &mut Vec<u8>, flags: u8, code: u8, value: &[u8]) {
    match u8::try_from(value.len()) {
        Ok(length) => out.extend_from_slice(&[flags, code, length]),
        Err(_) => {
            let length = u16::try_from(value.len()).expect("values are packed within the message limit");
            out.extend_from_slice(&[flags | flag::EXTENDED_LENGTH, code]);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(value);
}

/// As many of `prefixes` as `room` octets hold, and how many those are; `None` if not even one.
fn pack(prefixes: &[Prefix], room: usize) -> Option<(Vec<u8>, usize)> {
    let mut out = Vec::with_capacity(room.min(prefixes.len() * 5));
    let mut count = 0;
    for prefix in prefixes {
        if out.len() + nlri::encoded_len(*prefix) > room {
            break;
        }
        nlri::encode(*prefix, &mut out);
        count += 1;
    }
    (count > 0).then_some((out, count))
}
