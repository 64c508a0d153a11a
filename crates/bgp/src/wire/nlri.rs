// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lists of prefixes as they stand in UPDATE: one length octet, then as many octets as its bits need.

use super::leaf;
use crate::advertise::Prefix;
use crate::config::Family;

/// A length octet that is longer than its family, or than what is left of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPrefix {
    pub(crate) length: u8,
}

/// Reads a whole field. The default route said again is the same prefix and is kept once: every other prefix takes two
/// octets at least, so the list has at most half as many entries as the field has octets.
pub(crate) fn decode(family: Family, mut field: &[u8]) -> Result<Vec<Prefix>, BadPrefix> {
    let mut prefixes = Vec::with_capacity(count(field));
    let mut has_default = false;
    while let Some((&length, rest)) = field.split_first() {
        let octets = usize::from(length).div_ceil(8);
        let bad = BadPrefix { length };
        if length > max_length(family) {
            return Err(bad);
        }
        let (address, rest) = rest.split_at_checked(octets).ok_or(bad)?;
        field = rest;
        if length == 0 && std::mem::replace(&mut has_default, true) {
            continue;
        }
        prefixes.push(leaf::decode_prefix(family, length, address).ok_or(bad)?);
    }
    Ok(prefixes)
}

/// Entries that [`decode`] will find, as far as the field can be walked: room for these is taken at once.
fn count(mut field: &[u8]) -> usize {
    let (mut count, mut has_default) = (0, false);
    while let Some((&length, rest)) = field.split_first() {
        let Some((_, rest)) = rest.split_at_checked(usize::from(length).div_ceil(8)) else { break };
        field = rest;
        count += usize::from(length != 0 || !std::mem::replace(&mut has_default, true));
    }
    count
}

/// Appends one prefix.
pub(crate) fn encode(prefix: Prefix, out: &mut Vec<u8>) {
    let (octets, count) = leaf::encode_prefix(prefix);
    out.push(prefix.length());
    out.extend_from_slice(&octets[..count]);
}

/// Octets that [`encode`] appends.
pub(crate) fn encoded_len(prefix: Prefix) -> usize {
    1 + usize::from(prefix.length()).div_ceil(8)
}

fn max_length(family: Family) -> u8 {
    match family {
        Family::Ipv4Unicast => 32,
        Family::Ipv6Unicast => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_lengths_are_told() {
        let v4 = |field: &[u8]| decode(Family::Ipv4Unicast, field);
        assert_eq!(v4(&[33, 1, 2, 3, 4, 5]), Err(BadPrefix { length: 33 }));
        assert_eq!(v4(&[255]), Err(BadPrefix { length: 255 }));
        assert_eq!(v4(&[24, 1, 2]), Err(BadPrefix { length: 24 }));
        assert_eq!(decode(Family::Ipv6Unicast, &[129]), Err(BadPrefix { length: 129 }));
        assert_eq!(v4(&[]), Ok(vec![]));
    }

    #[test]
    fn bits_behind_the_length_do_not_count() {
        assert_eq!(decode(Family::Ipv4Unicast, &[12, 0x0a, 0xff]).unwrap()[0].to_string(), "10.240.0.0/12");
        assert_eq!(decode(Family::Ipv4Unicast, &[0]).unwrap()[0].to_string(), "0.0.0.0/0");
    }

    #[test]
    fn the_default_route_said_again_is_one() {
        let prefixes = decode(Family::Ipv4Unicast, &[0, 8, 10, 0, 0]).unwrap();
        assert_eq!(prefixes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0.0.0.0/0", "10.0.0.0/8"]);
        assert_eq!(prefixes.capacity(), 2);
        assert_eq!(decode(Family::Ipv6Unicast, &[0; 65000]).unwrap().capacity(), 1);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bits in any::<u128>(), length in 0u8..=128, is_v4: bool) {
            let address = if is_v4 {
                std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits((bits & 0xffff_ffff) as u32))
            } else {
                std::net::IpAddr::V6(std::net::Ipv6Addr::from_bits(bits))
            };
            let length = if is_v4 { length % 33 } else { length };
            let prefix = Prefix::truncated(address, length).unwrap();
            let mut out = vec![];
            encode(prefix, &mut out);
            prop_assert_eq!(out.len(), encoded_len(prefix));
            prop_assert_eq!(decode(prefix.family(), &out).unwrap(), vec![prefix]);
        }
    }
}
