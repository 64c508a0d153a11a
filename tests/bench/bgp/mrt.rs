// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A table of host routes as an MRT dump (RFC 6396, TABLE_DUMP_V2), which is how gobgpd takes many prefixes in at once.

use std::net::Ipv4Addr;

const TABLE_DUMP_V2: u16 = 13;
const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;

/// A dump with one path to each prefix, with no AS in its path.
pub fn dump(prefixes: impl Iterator<Item = Ipv4Addr>, next_hop: Ipv4Addr) -> Vec<u8> {
    // Collector, no name, one peer: IPv4 address, AS number of two octets.
    let mut octets = record(
        PEER_INDEX_TABLE,
        &[&[10, 255, 0, 99, 0, 0, 0, 1, 0, 10, 255, 0, 98], &next_hop.octets()[..], &[0xfd, 0xe8]].concat(),
    );
    // ORIGIN IGP, an empty AS_PATH, the next hop.
    let attributes = [&[0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4], &next_hop.octets()[..]].concat();
    let length = u16::try_from(attributes.len()).unwrap_or_default().to_be_bytes();
    for (number, prefix) in (0_u32..).zip(prefixes) {
        let body = [
            &number.to_be_bytes()[..],
            &[32],
            &prefix.octets(),
            // One entry: peer 0, originated at second 0.
            &[0, 1, 0, 0, 0, 0, 0, 0],
            &length,
            &attributes,
        ]
        .concat();
        octets.extend(record(RIB_IPV4_UNICAST, &body));
    }
    octets
}

fn record(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or_default().to_be_bytes();
    [&[0; 4], &TABLE_DUMP_V2.to_be_bytes()[..], &kind.to_be_bytes(), &length, body].concat()
}
