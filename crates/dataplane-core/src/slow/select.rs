// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which words of a packet decide where it goes.
//!
//! | service | address, VIP | protocol | destination port | source port |
//! |---|---|---|---|---|
//! | plain | x | x | x | x |
//! | affinity source-port | x | x | x | |
//! | fragments by source | x | x | | |
//! | affinity source | x | | | |
//!
//! Of two options the one lower in the table wins. In a prefix VIP the address is the packet's own destination, so that an
//! address keeps its clients' backends when it becomes a VIP by itself.

use crate::bytes::{Address, ServiceFlags, ServiceValue};
use crate::hash;
use crate::steer::Part;
use crate::tables::Tables;

/// The words that a flow hash is made of, as they lie in the packet.
#[derive(Debug, Clone, Copy)]
pub struct Tuple {
    /// The client's address.
    pub source: Address,
    /// The address it sends to.
    pub destination: Address,
    /// Source port, then destination port; 0 where there are none.
    pub ports_be: u32,
    /// IANA protocol number.
    pub protocol: u8,
    /// IPv6; otherwise IPv4.
    pub is_v6: bool,
}

/// Flags of a service that make several flows share one hash.
const SHARES: u32 =
    ServiceFlags::AFFINITY_SOURCE | ServiceFlags::AFFINITY_SOURCE_PORT | ServiceFlags::FRAGMENTS_BY_SOURCE;

impl Tuple {
    /// The keyed hash of all its words.
    #[inline(always)]
    pub fn hash<T: Tables>(&self, tables: &T) -> u64 {
        let (s, d) = (&self.source, &self.destination);
        if self.is_v6 {
            hash::flow_v6(&tables.key_v6(), s, d, self.ports_be, self.protocol)
        } else {
            hash::flow_v4(&tables.key_v4(), s.0[3], d.0[3], self.ports_be, self.protocol)
        }
    }

    /// What of it a service with `flags` chooses by.
    #[inline(always)]
    pub fn reduced(&self, flags: u32) -> Self {
        let mut tuple = *self;
        if flags & (ServiceFlags::AFFINITY_SOURCE | ServiceFlags::FRAGMENTS_BY_SOURCE) != 0 {
            tuple.ports_be = 0;
        } else if flags & ServiceFlags::AFFINITY_SOURCE_PORT != 0 {
            let p = self.ports_be.to_ne_bytes();
            tuple.ports_be = u32::from_ne_bytes([0, 0, p[2], p[3]]);
        }
        if flags & ServiceFlags::AFFINITY_SOURCE != 0 {
            tuple.protocol = 0;
        }
        tuple
    }
}

/// Whether flows of a service with `flags` share slots of the flow table.
#[inline(always)]
pub const fn part(flags: u32) -> Part {
    if flags & SHARES != 0 { Part::Shared } else { Part::Own }
}

/// What the slot of a packet of `service` with hash `hash` is found by.
///
/// A client with one hash for two services of different pools (HTTP and HTTPS of a VIP, each with affinity to the source) has a
/// slot for each pool: of one for both, each service would take the other's backend for a stranger's, and one of the two
/// would never be remembered. Ids of pools are this appliance's own, as the flow table is; rows are the fleet's.
#[inline(always)]
pub const fn slot_hash(service: &ServiceValue, hash: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    if service.flags & SHARES != 0 { hash ^ (service.pool as u64).wrapping_mul(ODD) } else { hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_leave_of_the_tuple_what_they_say() {
        let tuple = Tuple {
            source: Address([1, 2, 3, 4]),
            destination: Address([5, 6, 7, 8]),
            ports_be: u32::from_ne_bytes([0x9c, 0x40, 0x01, 0xbb]),
            protocol: 6,
            is_v6: true,
        };
        let port = u32::from_ne_bytes([0, 0, 0x01, 0xbb]);
        use ServiceFlags as F;
        for (flags, ports_be, protocol, shares) in [
            (0, tuple.ports_be, 6, Part::Own),
            (F::STATELESS | F::SLOW | F::FRAGMENTS_TABLE, tuple.ports_be, 6, Part::Own),
            (F::AFFINITY_SOURCE_PORT, port, 6, Part::Shared),
            (F::FRAGMENTS_BY_SOURCE, 0, 6, Part::Shared),
            (F::AFFINITY_SOURCE, 0, 0, Part::Shared),
            (F::FRAGMENTS_BY_SOURCE | F::AFFINITY_SOURCE_PORT, 0, 6, Part::Shared),
            (F::FRAGMENTS_BY_SOURCE | F::AFFINITY_SOURCE, 0, 0, Part::Shared),
        ] {
            let reduced = tuple.reduced(flags);
            assert_eq!((reduced.ports_be, reduced.protocol), (ports_be, protocol), "flags {flags}");
            assert_eq!((reduced.source, reduced.destination), (tuple.source, tuple.destination));
            assert_eq!(part(flags), shares, "flags {flags}");
        }
    }
}
