// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which of two connections between the same speakers stays (RFC 4271 §6.8, RFC 6286 §2.3).

use std::net::Ipv4Addr;

use super::Slot;

/// A speaker as collision resolution sees it: identifiers are compared as unsigned numbers, then AS numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Contender {
    pub(super) router_id: Ipv4Addr,
    pub(super) asn: u32,
}

/// The connection that stays: the one dialled by the higher speaker.
pub(super) fn winner(local: Contender, remote: Contender) -> Slot {
    if local > remote { Slot::Dialled } else { Slot::Accepted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(router_id: &str, asn: u32) -> Contender {
        Contender { router_id: router_id.parse().unwrap(), asn }
    }

    #[test]
    fn the_higher_identifier_keeps_the_connection_it_dialled() {
        let (low, high) = (contender("9.255.255.255", 65010), contender("10.0.0.1", 65000));
        assert_eq!(winner(high, low), Slot::Dialled);
        assert_eq!(winner(low, high), Slot::Accepted);
    }

    #[test]
    fn equal_identifiers_are_told_apart_by_as() {
        let (low, high) = (contender("10.0.0.1", 65000), contender("10.0.0.1", 4_200_000_000));
        assert_eq!(winner(high, low), Slot::Dialled);
        assert_eq!(winner(low, high), Slot::Accepted);
    }
}
