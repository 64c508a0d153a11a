// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a pool or a backend is, as a number that the kernel's tables can hold.
//!
//! A daemon that adopts the tables finds its objects again by it, so it must not change between versions that share an
//! `ABI_VERSION`: SipHash-2-4 with a fixed key over length-prefixed fields.

use std::net::IpAddr;

use weir_dataplane_core::ServiceKey;
use weir_dataplane_core::siphash::siphash24;

use crate::forwarding::Mode;
use crate::ids::Identity;

const KEY: [u8; 16] = *b"weir identity v1";

/// Identity of the pool called `name`.
pub(crate) fn pool(name: &str) -> Identity {
    hash(b'p', &[name.as_bytes()])
}

/// Identity of a backend: another address or mode is another backend, as is another port of the same mode, since the
/// outer header of an entry in use never changes.
pub(crate) fn backend(pool: &str, name: &str, address: IpAddr, mode: Mode) -> Identity {
    let octets = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let mut carriage = vec![mode.number()];
    if let Mode::Gue { port, .. } = mode {
        carriage.extend(port.to_be_bytes());
    }
    hash(b'b', &[pool.as_bytes(), name.as_bytes(), &octets, &carriage])
}

/// Identity of the service with this key.
pub(crate) fn service(key: &ServiceKey) -> Identity {
    let port = key.port_be.to_ne_bytes();
    match key.prefix_len {
        0 => hash(b's', &[&octets(key), &port, &[key.protocol]]),
        length => hash(b's', &[&octets(key), &port, &[key.protocol, length]]),
    }
}

/// Identity of the VIP with this marker.
pub(crate) fn vip(marker: &ServiceKey) -> Identity {
    hash(b'v', &[&octets(marker), &[marker.prefix_len]])
}

fn octets(key: &ServiceKey) -> Vec<u8> {
    key.address.0.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn hash(kind: u8, fields: &[&[u8]]) -> Identity {
    let mut message = vec![kind];
    for field in fields {
        message.extend(u32::try_from(field.len()).expect("names are short").to_be_bytes());
        message.extend_from_slice(field);
    }
    siphash24(&KEY, &message).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forwarding::GueVariant;
    use weir_dataplane_core::Protocol;

    #[test]
    fn identities_are_what_former_versions_wrote() {
        // Recorded with layout version 1; a change here orphans every adopted table.
        let a = backend("web", "b1", IpAddr::from([10, 1, 0, 1]), Mode::Ipip);
        let v6 = backend("web", "b1", "2001:db8:1::1".parse().unwrap(), Mode::Ipip);
        let http = service(&ServiceKey::new(IpAddr::from([198, 51, 100, 10]), Protocol::Tcp, 80));
        assert_eq!(
            [pool("web"), a, v6, http],
            [0xdad5_bb80_db7a_9b2a, 0xb045_2398_cae9_0801, 0x53fa_c89d_48e2_5530, 0x23e9_e5c8_bd63_aad7]
        );
        let b = backend("web", "b1", IpAddr::from([10, 1, 0, 2]), Mode::Ipip);
        assert_ne!(a, b);
        let gue =
            |port, variant| backend("web", "b1", IpAddr::from([10, 1, 0, 1]), Mode::Gue { port, variant });
        let of_modes = [
            a,
            gue(6080, GueVariant::Header),
            gue(6081, GueVariant::Header),
            gue(6080, GueVariant::Candidates),
            gue(6080, GueVariant::Direct),
            backend("web", "b1", IpAddr::from([10, 1, 0, 1]), Mode::L2),
        ];
        assert_eq!(std::collections::BTreeSet::from(of_modes).len(), of_modes.len());
        assert_ne!(
            backend("a", "bc", IpAddr::from([10, 1, 0, 1]), Mode::Ipip),
            backend("ab", "c", IpAddr::from([10, 1, 0, 1]), Mode::Ipip)
        );
    }
}
