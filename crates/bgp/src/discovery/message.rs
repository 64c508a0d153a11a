// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Router advertisements and solicitations (RFC 4861 §4.1, §4.2): octets to values and back, from the type octet on.
//!
//! ```text
//!  advertisement:  134 | 0 | checksum | hop limit | flags | lifetime | reachable | retransmit | options
//!                   1    1      2           1         1        2          4           4
//!  solicitation:   133 | 0 | checksum | reserved 4 | options
//!  option:         type 1 | length 1, in units of 8 octets | ...
//! ```
//! The checksum covers addresses that are not known here: the kernel writes and verifies it.

use std::net::Ipv6Addr;

/// Type of a router solicitation.
pub(super) const SOLICITATION: u8 = 133;
/// Type of a router advertisement.
pub(super) const ADVERTISEMENT: u8 = 134;
/// Octets of an advertisement before its options.
const ADVERTISEMENT_LEN: usize = 16;
/// Octets of a solicitation before its options.
const SOLICITATION_LEN: usize = 8;
/// Option type of the sender's link-layer address.
const SOURCE_LINK_LAYER: u8 = 1;
/// Octets in which lengths of options count.
const OPTION_UNIT: usize = 8;
/// Hop limit that no router between could have left (RFC 4861 §6.1.2).
pub(super) const HOP_LIMIT: u8 = 255;
/// Cur Hop Limit that we tell, the usual default.
const CUR_HOP_LIMIT: u8 = 64;

/// A router advertisement. Prefixes and every other option are passed over: only who sends it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// Hop limit that hosts should send with, 0 for no word about it.
    pub cur_hop_limit: u8,
    /// M, O and further bits.
    pub flags: u8,
    /// Seconds for which the sender is a default router, 0 for not at all.
    pub lifetime_s: u16,
    /// Milliseconds for which a neighbour counts as reachable.
    pub reachable_ms: u32,
    /// Milliseconds between neighbour solicitations.
    pub retransmit_ms: u32,
    /// Link-layer address of the sender.
    pub source_link_layer: Option<[u8; 6]>,
}

/// What is understood of ICMPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Somebody asks for advertisements.
    Solicitation,
    /// A router is there.
    Advertisement(RouterAdvertisement),
}

/// Why a message is not taken (RFC 4861 §6.1.1, §6.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It may have come from afar.
    #[error("hop limit {hop_limit} is not 255")]
    HopLimit {
        /// What it came with; 0 if unknown.
        hop_limit: u8,
    },
    /// A router speaks with its link-local address only.
    #[error("source {source_address} is not link-local")]
    Source {
        /// Whence it came.
        source_address: Ipv6Addr,
    },
    /// Neither of both types.
    #[error("type {kind} is neither solicitation nor advertisement")]
    Type {
        /// The type, 0 without one.
        kind: u8,
    },
    /// The code is always 0.
    #[error("code {code} is not 0")]
    Code {
        /// The code.
        code: u8,
    },
    /// The fixed part is incomplete.
    #[error("{length} octets are too few")]
    Short {
        /// Octets there are.
        length: usize,
    },
    /// An option of no length, or of more than there is.
    #[error("an option has a bad length")]
    OptionLength,
}

impl RouterAdvertisement {
    /// What we say: nothing but that we are there. Lifetime 0: nobody shall route by us.
    pub fn ours(source_link_layer: Option<[u8; 6]>) -> Self {
        Self {
            cur_hop_limit: CUR_HOP_LIMIT,
            flags: 0,
            lifetime_s: 0,
            reachable_ms: 0,
            retransmit_ms: 0,
            source_link_layer,
        }
    }

    /// The octets, checksum left to the kernel.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = vec![ADVERTISEMENT, 0, 0, 0, self.cur_hop_limit, self.flags];
        octets.extend(self.lifetime_s.to_be_bytes());
        octets.extend(self.reachable_ms.to_be_bytes());
        octets.extend(self.retransmit_ms.to_be_bytes());
        push_source_link_layer(&mut octets, self.source_link_layer);
        octets
    }
}

/// The octets of a solicitation, checksum left to the kernel.
pub fn encode_solicitation(source_link_layer: Option<[u8; 6]>) -> Vec<u8> {
    let mut octets = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    push_source_link_layer(&mut octets, source_link_layer);
    octets
}

fn push_source_link_layer(octets: &mut Vec<u8>, address: Option<[u8; 6]>) {
    if let Some(address) = address {
        octets.extend([SOURCE_LINK_LAYER, 1]);
        octets.extend(address);
    }
}

impl Message {
    /// Reads what came from `source_address` with `hop_limit`. A solicitation may come from `::`, an advertisement may not.
    pub fn decode(octets: &[u8], source_address: Ipv6Addr, hop_limit: u8) -> Result<Self, MessageError> {
        let kind = octets.first().copied().unwrap_or(0);
        let fixed = match kind {
            SOLICITATION => SOLICITATION_LEN,
            ADVERTISEMENT => ADVERTISEMENT_LEN,
            kind => return Err(MessageError::Type { kind }),
        };
        if hop_limit != HOP_LIMIT {
            return Err(MessageError::HopLimit { hop_limit });
        }
        if kind == ADVERTISEMENT && !source_address.is_unicast_link_local() {
            return Err(MessageError::Source { source_address });
        }
        let Some((head, options)) = octets.split_at_checked(fixed) else {
            return Err(MessageError::Short { length: octets.len() });
        };
        if head[1] != 0 {
            return Err(MessageError::Code { code: head[1] });
        }
        let source_link_layer = source_link_layer(options)?;
        if kind == SOLICITATION {
            return Ok(Message::Solicitation);
        }
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        Ok(Message::Advertisement(RouterAdvertisement {
            cur_hop_limit: head[4],
            flags: head[5],
            lifetime_s: u16::from_be_bytes([head[6], head[7]]),
            reachable_ms: word(8),
            retransmit_ms: word(12),
            source_link_layer,
        }))
    }
}

/// Walks all options; each step goes on by at least eight octets.
fn source_link_layer(mut options: &[u8]) -> Result<Option<[u8; 6]>, MessageError> {
    let mut found = None;
    while let Some((kind, rest)) = options.split_first() {
        let length = rest.first().map_or(0, |units| usize::from(*units) * OPTION_UNIT);
        if length == 0 {
            return Err(MessageError::OptionLength);
        }
        let (option, rest) = options.split_at_checked(length).ok_or(MessageError::OptionLength)?;
        if *kind == SOURCE_LINK_LAYER && found.is_none() {
            // Longer link-layer addresses exist and are of no use here.
            found = option.get(2..).and_then(|address| address.try_into().ok());
        }
        options = rest;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const MAC: [u8; 6] = [2, 0, 0, 0, 1, 10];

    #[test]
    fn what_we_say_is_the_least_that_is_understood() {
        let octets = RouterAdvertisement::ours(Some(MAC)).encode();
        assert_eq!(octets, [134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 10]);
        assert_eq!(RouterAdvertisement::ours(None).encode().len(), 16);
        assert_eq!(encode_solicitation(Some(MAC)), [133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 10]);
    }

    #[test]
    fn what_rfc_4861_forbids_is_refused() {
        let good = RouterAdvertisement::ours(None).encode();
        let read = |octets: &[u8]| Message::decode(octets, ROUTER, 255);
        assert!(read(&good).is_ok());
        for hop_limit in [0, 64, 254] {
            let refused = Message::decode(&good, ROUTER, hop_limit);
            assert_eq!(refused, Err(MessageError::HopLimit { hop_limit }));
        }
        for source_address in ["2001:db8::1", "::", "::1", "ff02::1", "fec0::1"] {
            let source_address = source_address.parse().unwrap();
            let refused = Message::decode(&good, source_address, 255);
            assert_eq!(refused, Err(MessageError::Source { source_address }));
        }
        assert_eq!(read(&[&[134, 1], &good[2..]].concat()), Err(MessageError::Code { code: 1 }));
        for length in 1..16 {
            assert_eq!(read(&good[..length]), Err(MessageError::Short { length }));
        }
        assert_eq!(read(&[]), Err(MessageError::Type { kind: 0 }));
        assert_eq!(read(&[135; 24]), Err(MessageError::Type { kind: 135 }));
        for options in [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[1], &[1, 2, 0, 0, 0, 0, 0, 0], &[0; 8]] {
            assert_eq!(read(&[&good, options].concat()), Err(MessageError::OptionLength), "{options:?}");
        }
    }

    #[test]
    fn options_that_are_not_known_are_passed_over() {
        let mut octets = RouterAdvertisement::ours(None).encode();
        octets.extend([5, 1, 0, 0, 0, 0, 5, 220]);
        octets.extend([3, 4]);
        octets.extend([0; 30]);
        octets.extend([1, 2]);
        octets.extend([9; 14]);
        octets.extend([1, 1, 2, 0, 0, 0, 1, 10]);
        let read = Message::decode(&octets, ROUTER, 255);
        assert_eq!(read, Ok(Message::Advertisement(RouterAdvertisement::ours(Some(MAC)))));
    }

    #[test]
    fn a_solicitation_may_come_from_nobody() {
        let octets = encode_solicitation(None);
        assert_eq!(Message::decode(&octets, Ipv6Addr::UNSPECIFIED, 255), Ok(Message::Solicitation));
        assert_eq!(Message::decode(&octets[..7], ROUTER, 255), Err(MessageError::Short { length: 7 }));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            (cur_hop_limit, flags, lifetime_s, reachable_ms, retransmit_ms, source_link_layer) in
                any::<(u8, u8, u16, u32, u32, Option<[u8; 6]>)>()
        ) {
            let ra = RouterAdvertisement {
                cur_hop_limit, flags, lifetime_s, reachable_ms, retransmit_ms, source_link_layer
            };
            prop_assert_eq!(Message::decode(&ra.encode(), ROUTER, 255), Ok(Message::Advertisement(ra)));
        }

        #[test]
        fn no_octets_do_harm(octets in prop::collection::vec(any::<u8>(), 0..200), kind in 132u8..136) {
            let octets = [&[kind, 0], octets.as_slice()].concat();
            // Either answer is right; coming back is what is tested.
            drop(Message::decode(&octets, ROUTER, 255));
        }
    }
}
