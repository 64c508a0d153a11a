// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold of router advertisements, from any source.

use std::net::Ipv6Addr;

use weir_bgp::discovery::{Message, encode_solicitation};

use crate::allocation::bounded;

/// The first octet chooses source and hop limit, then the ICMPv6 message from its type octet on.
pub fn advertisement(octets: &[u8]) {
    let Some((choice, message)) = octets.split_first() else { return };
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0x10a);
    let source = match choice & 3 {
        0 | 1 => link_local,
        2 => Ipv6Addr::UNSPECIFIED,
        _ => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    };
    let hop_limit = if choice & 4 == 0 { 255 } else { 64 };
    match bounded(|| Message::decode(message, source, hop_limit)) {
        Ok(read) => {
            assert!(hop_limit == 255 && message.len() >= 8);
            let written = match &read {
                Message::Solicitation => encode_solicitation(None),
                Message::Advertisement(advertisement) => {
                    assert_eq!(source, link_local);
                    assert!(message.len() >= 16);
                    let written = advertisement.encode();
                    // The checksum is the kernel's; all else of the fixed part is as it came.
                    assert_eq!((&written[..2], &written[4..16]), (&message[..2], &message[4..16]));
                    written
                }
            };
            assert_eq!(Message::decode(&written, source, hop_limit), Ok(read));
        }
        Err(error) => assert!(error.to_string().len() < 100),
    }
}
