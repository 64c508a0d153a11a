// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which VIP an address belongs to, and which of its services a packet.
//!
//! An address may be a VIP by itself and lie in a prefix that is one; the longest prefix counts alone, as with routes. The
//! services of both are asked in this order (`service`):
//!
//! ```text
//! address and port ─► prefix and port ─► address, any port ─► prefix, any port
//! ```
//!
//! What concerns the VIP as a whole (echo, budgets) is the address's own if it has its own.

use crate::bytes::{Address, Knobs, PrefixValue, ServiceKey, ServiceValue};
use crate::tables::Tables;

/// A VIP, as a packet's destination names it.
#[derive(Debug, Clone, Copy)]
pub struct Vip {
    /// The marker's record.
    pub record: ServiceValue,
    /// The destination.
    address: Address,
    /// Whether the address is a VIP by itself.
    is_exact: bool,
    /// The prefix VIP that it lies in; length 0 = none.
    prefix: PrefixValue,
}

impl Vip {
    /// The VIP that `address` is, or lies in.
    #[inline(always)]
    pub fn of<T: Tables>(tables: &T, address: &Address) -> Option<Self> {
        // Zeros and no `Option`: of one without content the compiler leaves the content undefined, which the verifier
        // refuses to see spilled (6.18: `R1 !read_ok`).
        let (is_exact, own) = match tables.service(&ServiceKey::marker(*address)) {
            Some(record) => (true, record),
            None => (false, ServiceValue::default()),
        };
        let prefix = prefix(tables, address);
        let record = if is_exact {
            own
        } else if prefix.length == 0 {
            return None;
        } else {
            tables.service(&under(&prefix, 0, 0))?
        };
        Some(Self { record, address: *address, is_exact, prefix })
    }

    /// The service for `protocol` and destination port `port_be` (as it lies in the packet).
    #[inline(always)]
    pub fn service<T: Tables>(&self, tables: &T, protocol: u8, port_be: u16) -> Option<ServiceValue> {
        let mut port_be = port_be;
        let mut round = 0;
        while round < 2 {
            if let Some(service) = self.keyed(tables, protocol, port_be) {
                return Some(service);
            }
            port_be = 0;
            round += 1;
        }
        None
    }

    /// The record of what becomes of later fragments of `protocol`, which have no port ([`ServiceKey::fragments`]).
    #[inline(always)]
    pub fn fragments<T: Tables>(&self, tables: &T, protocol: u8) -> Option<ServiceValue> {
        self.keyed(tables, ServiceKey::FRAGMENTS, (protocol as u16).to_be())
    }

    /// What lies under the address with this protocol and port, else under the prefix.
    #[inline(always)]
    fn keyed<T: Tables>(&self, tables: &T, protocol: u8, port_be: u16) -> Option<ServiceValue> {
        if self.is_exact {
            let key = ServiceKey { address: self.address, port_be, protocol, prefix_len: 0 };
            if let Some(service) = tables.service(&key) {
                return Some(service);
            }
        }
        if self.prefix.length == 0 {
            return None;
        }
        tables.service(&under(&self.prefix, protocol, port_be))
    }
}

/// The longest prefix VIP that holds `address`, length 0 if none does.
#[inline(always)]
fn prefix<T: Tables>(tables: &T, address: &Address) -> PrefixValue {
    match tables.knobs() {
        Some(knobs) if knobs.flags & Knobs::PREFIXES != 0 => tables.prefix(address).unwrap_or_default(),
        _ => PrefixValue::default(),
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "at most 128")]
fn under(prefix: &PrefixValue, protocol: u8, port_be: u16) -> ServiceKey {
    ServiceKey { address: prefix.network, port_be, protocol, prefix_len: prefix.length as u8 }
}
