// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Path attributes: walked once as (flags, code, value), then valued, each mistake with its RFC 7606 treatment.
//!
//! ```text
//!   flags(1) code(1) length(1 or 2 by flag 0x10) value …
//! ```
//!
//! The walk comes first and keeps only slices: a bad attribute in front never hides an MP_REACH behind it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::as_path::AsPath;
use super::cursor::Cursor;
use super::error::UpdateError;
use super::iana::{attribute_code as code, attribute_flag as flag};
use super::leaf::{self, Origin};
use super::message::DecodeContext;
use super::mp::{MpError, MpReach, MpUnreach};

/// Most findings kept of one UPDATE; further ones are only counted, one message may hold over a thousand attributes.
pub const FINDINGS_MAX: usize = 8;

/// What RFC 7606 says to do about a malformed attribute, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// As if the attribute had not been sent.
    AttributeDiscard,
    /// As if every prefix of the message had been withdrawn.
    TreatAsWithdraw,
}

/// Something wrong with an UPDATE that does not end the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Type code of the attribute, 0 for the attribute block itself.
    pub code: u8,
    /// What is wrong.
    pub what: &'static str,
    /// What is done about it.
    pub treatment: Treatment,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let treatment = match self.treatment {
            Treatment::AttributeDiscard => "discarded",
            Treatment::TreatAsWithdraw => "treated as withdraw",
        };
        write!(f, "attribute {}: {}, {treatment}", self.code, self.what)
    }
}

/// The attributes that were readable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathAttributes {
    /// ORIGIN.
    pub origin: Option<Origin>,
    /// AS_PATH.
    pub as_path: Option<AsPath>,
    /// AS4_PATH, from a peer of two-octet numbers only.
    pub as4_path: Option<AsPath>,
    /// NEXT_HOP.
    pub next_hop: Option<Ipv4Addr>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// COMMUNITIES in the order sent.
    pub communities: Vec<u32>,
    /// Extended communities as on the wire.
    pub extended_communities: Vec<[u8; 8]>,
    /// Large communities in the order sent.
    pub large_communities: Vec<[u32; 3]>,
    /// MP_REACH_NLRI.
    pub mp_reach: Option<MpReach>,
    /// MP_UNREACH_NLRI.
    pub mp_unreach: Option<MpUnreach>,
}

impl PathAttributes {
    /// The path in four octets: of a two-octet speaker, AS_PATH's front and AS4_PATH behind it (RFC 6793 §4.2.3).
    pub fn full_path(&self) -> Option<AsPath> {
        let path = self.as_path.as_ref()?;
        Some(match &self.as4_path {
            Some(wide) => path.merged(wide),
            None => path.clone(),
        })
    }
}

/// Collects findings, never more than [`FINDINGS_MAX`], the gravest among them.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) kept: Vec<Finding>,
    pub(super) worst: Option<Treatment>,
}

impl Findings {
    pub(super) fn add(&mut self, code: u8, what: &'static str, treatment: Treatment) {
        // The gravest is always among those kept: it is the one that is shown.
        let is_graver = Some(treatment) > self.worst;
        if is_graver && self.kept.len() == FINDINGS_MAX {
            self.kept.pop();
        }
        self.worst = self.worst.max(Some(treatment));
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(Finding { code, what, treatment });
        }
    }

    pub(super) fn withdraw(&mut self, code: u8, what: &'static str) {
        self.add(code, what, Treatment::TreatAsWithdraw);
    }

    fn discard(&mut self, code: u8, what: &'static str) {
        self.add(code, what, Treatment::AttributeDiscard);
    }
}

/// One attribute, unread: `whole` is it with its header.
#[derive(Debug, Clone, Copy)]
struct Raw<'a> {
    flags: u8,
    code: u8,
    value: &'a [u8],
    whole: &'a [u8],
}

/// Reads a whole attribute block.
pub(super) fn decode(
    block: &[u8],
    context: &DecodeContext,
    findings: &mut Findings,
) -> Result<PathAttributes, UpdateError> {
    let raws = walk(block, findings)?;
    let mut attributes = PathAttributes::default();
    for raw in raws {
        if check_flags(&raw, findings) {
            read(&raw, context, &mut attributes, findings)?;
        }
    }
    Ok(attributes)
}

/// Cuts the block into attributes, each code at most once.
fn walk<'a>(block: &'a [u8], findings: &mut Findings) -> Result<Vec<Raw<'a>>, UpdateError> {
    let mut cursor = Cursor::new(block);
    let mut raws: Vec<Raw<'a>> = Vec::new();
    let mut seen = [false; 256];
    while !cursor.is_empty() {
        let start = cursor;
        let (Some(flags), Some(code)) = (cursor.u8(), cursor.u8()) else {
            findings.withdraw(0, "attribute header beyond the block");
            break;
        };
        let is_multiprotocol = matches!(code, code::MP_REACH | code::MP_UNREACH);
        let length =
            if flags & flag::EXTENDED_LENGTH == 0 { cursor.u8().map(u16::from) } else { cursor.u16() };
        let Some(value) = length.and_then(|l| cursor.take(usize::from(l))) else {
            if is_multiprotocol {
                let attribute = start.rest().to_vec();
                return Err(UpdateError::Multiprotocol { code, what: "beyond the block", attribute });
            }
            findings.withdraw(code, "beyond the block");
            break;
        };
        let whole = &start.rest()[..start.len() - cursor.len()];
        if std::mem::replace(&mut seen[usize::from(code)], true) {
            if is_multiprotocol {
                return Err(UpdateError::MultiprotocolTwice { code });
            }
            findings.discard(code, "occurs twice, the first is kept");
            continue;
        }
        raws.push(Raw { flags, code, value, whole });
    }
    Ok(raws)
}

/// Whether Optional and Transitive are as the attribute's RFC wants; unknown codes have nothing to compare with.
fn check_flags(raw: &Raw<'_>, findings: &mut Findings) -> bool {
    let wanted = match raw.code {
        code::ORIGIN | code::AS_PATH | code::NEXT_HOP | code::LOCAL_PREF | code::ATOMIC_AGGREGATE => {
            flag::TRANSITIVE
        }
        code::MED | code::ORIGINATOR_ID | code::CLUSTER_LIST | code::MP_REACH | code::MP_UNREACH => {
            flag::OPTIONAL
        }
        code::AGGREGATOR
        | code::COMMUNITIES
        | code::EXTENDED_COMMUNITIES
        | code::AS4_PATH
        | code::AS4_AGGREGATOR
        | code::LARGE_COMMUNITIES => flag::OPTIONAL | flag::TRANSITIVE,
        _ => return true,
    };
    if raw.flags & (flag::OPTIONAL | flag::TRANSITIVE) == wanted {
        return true;
    }
    findings.withdraw(raw.code, "flags are not the attribute's");
    // The prefixes of a multiprotocol attribute are wanted even so: they are what gets withdrawn.
    matches!(raw.code, code::MP_REACH | code::MP_UNREACH)
}

fn read(
    raw: &Raw<'_>,
    context: &DecodeContext,
    attributes: &mut PathAttributes,
    findings: &mut Findings,
) -> Result<(), UpdateError> {
    let Raw { code, value, whole, flags } = *raw;
    let multiprotocol = |error| match error {
        MpError::Attribute(what) => UpdateError::Multiprotocol { code, what, attribute: whole.to_vec() },
        MpError::Network(bad) => UpdateError::Network { what: "a multiprotocol field", length: bad.length },
    };
    match code {
        code::ORIGIN => {
            attributes.origin = leaf::decode_origin(value);
            if attributes.origin.is_none() {
                findings.withdraw(code, "length or value");
            }
        }
        code::AS_PATH => match AsPath::decode(value, context.four_octet_as) {
            Ok(path) => attributes.as_path = Some(path),
            Err(what) => findings.withdraw(code, what),
        },
        code::NEXT_HOP => match value.first_chunk::<4>().filter(|_| value.len() == 4) {
            // Whose it is matters only to classic prefixes; the framing knows whether there are any.
            Some(octets) => attributes.next_hop = Some(Ipv4Addr::from(*octets)),
            None => findings.withdraw(code, "length"),
        },
        code::MED => {
            attributes.med = leaf::decode_med(value);
            if attributes.med.is_none() {
                findings.withdraw(code, "length");
            }
        }
        code::COMMUNITIES => {
            attributes.communities = list(code, value, findings, leaf::decode_community);
        }
        code::EXTENDED_COMMUNITIES => {
            attributes.extended_communities = list(code, value, findings, leaf::decode_extended_community);
        }
        code::LARGE_COMMUNITIES => {
            attributes.large_communities = list(code, value, findings, leaf::decode_large_community);
        }
        code::MP_REACH => {
            let reach = MpReach::decode(value).map_err(multiprotocol)?;
            if reach.family.family().is_some() {
                match reach.usable_next_hops().next() {
                    None => findings.withdraw(code, "no usable next hop"),
                    Some(_) => {
                        reach.usable_next_hops().for_each(|a| check_next_hop(code, a, context, findings));
                    }
                }
            }
            attributes.mp_reach = Some(reach);
        }
        code::MP_UNREACH => attributes.mp_unreach = Some(MpUnreach::decode(value).map_err(multiprotocol)?),
        // From a peer of four-octet numbers it must be ignored (RFC 6793 §4.1).
        code::AS4_PATH if context.four_octet_as => findings.discard(code, "from a four-octet speaker"),
        code::AS4_PATH => match AsPath::decode(value, true) {
            Ok(path) => attributes.as4_path = Some(path),
            Err(what) => findings.discard(code, what),
        },
        code::ATOMIC_AGGREGATE if !value.is_empty() => findings.discard(code, "length"),
        code::AGGREGATOR | code::AS4_AGGREGATOR => {
            let width = if context.four_octet_as || code == code::AS4_AGGREGATOR { 4 } else { 2 };
            match value.split_at_checked(width) {
                Some((asn, address)) if address.len() == 4 => {
                    if asn.iter().all(|octet| *octet == 0) {
                        findings.discard(code, "AS 0"); // RFC 7607
                    }
                }
                _ => findings.discard(code, "length"),
            }
        }
        // Nobody outside our AS has a say in these (RFC 7606 §7.5, §7.9, §7.10).
        code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST => {
            findings.discard(code, "from an external peer");
        }
        code::ATOMIC_AGGREGATE => {}
        _ if flags & flag::OPTIONAL == 0 => {
            return Err(UpdateError::UnknownWellKnown { code, attribute: whole.to_vec() });
        }
        // Unknown optional: we do not transit, so nothing of it is kept.
        _ => {}
    }
    Ok(())
}

/// A next hop must be somebody else's unicast address (RFC 4271 §6.3); anything else withdraws.
pub(super) fn check_next_hop(code: u8, address: IpAddr, context: &DecodeContext, findings: &mut Findings) {
    let is_everybody = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || is_everybody {
        findings.withdraw(code, "next hop is no unicast address");
    } else if Some(address) == context.local_address {
        findings.withdraw(code, "next hop is our own address");
    }
}

/// A list of values of `N` octets, which must not be empty (RFC 7606 §7.8, §7.14, RFC 8092 §5).
fn list<const N: usize, T>(
    code: u8,
    value: &[u8],
    findings: &mut Findings,
    read: impl Fn(&[u8; N]) -> Option<T>,
) -> Vec<T> {
    let (values, rest) = value.as_chunks::<N>();
    if values.is_empty() || !rest.is_empty() {
        findings.withdraw(code, "length");
        return Vec::new();
    }
    values.iter().filter_map(read).collect()
}
