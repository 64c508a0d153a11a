// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Services and VIPs as the records that the packet logic looks up: pure.
//!
//! | record | key | says |
//! |---|---|---|
//! | service | VIP, protocol, port (0: any) | pool, options, counters |
//! | marker of the VIP | VIP | that it is one, and what concerns all of it |
//! | later fragments | VIP, protocol | what becomes of fragments, which have no port; none: dropped, or by the prefix around the VIP |
//!
//! The VIP in a key is an address, or the first of a prefix with its length.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_dataplane_core::bytes::{PrefixValue, VipFlags};
use weir_dataplane_core::flow::Idle;
use weir_dataplane_core::limits::NEW_IDLE_S_MAX;
use weir_dataplane_core::{Protocol, ServiceFlags, ServiceKey, ServiceValue};

use crate::forwarding::{Affinity, Fragments, Service, VipPrefix};

/// A service, and the ids it was given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    pub(crate) service: &'a Service,
    /// Of its counters.
    pub(crate) id: u32,
    /// Of its pool.
    pub(crate) pool: u32,
    /// Idle time of established flows in seconds.
    pub(crate) idle: u16,
}

/// A VIP's id and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VipRecord {
    /// Of its budgets.
    pub(crate) id: u32,
    /// Whether echo requests are answered.
    pub(crate) answers_echo: bool,
}

/// Two services of one VIP and protocol both take fragments by source, and a fragment without a port cannot tell which of
/// them it is for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "services `{first}` and `{second}` both send fragments to {vip} by source, but not alike: give them one pool, affinity, idle time and `flow_table`"
)]
pub struct AmbiguousFragments {
    /// The VIP.
    pub vip: IpAddr,
    /// One of them.
    pub first: String,
    /// The other.
    pub second: String,
}

/// Key of the service.
pub(crate) fn service_key(service: &Service) -> ServiceKey {
    let marker = marker_key(service.vip());
    ServiceKey { port_be: service.port.to_be(), protocol: service.protocol as u8, ..marker }
}

/// Key of the VIP's marker.
pub(crate) fn marker_key(vip: VipPrefix) -> ServiceKey {
    let (network, bits) = match vip.address {
        IpAddr::V4(address) => {
            let length = u32::from(vip.length.min(32));
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            (IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask)), length + 96)
        }
        IpAddr::V6(address) => {
            let length = u32::from(vip.length.min(128));
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            (IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)), length)
        }
    };
    let prefix_len = u8::try_from(bits).expect("at most 128") % 128;
    ServiceKey { prefix_len, ..ServiceKey::marker(network.into()) }
}

/// The entry of the prefix table for the VIP of this marker, if that is a prefix.
pub(crate) fn prefix(marker: &ServiceKey) -> Option<PrefixValue> {
    let length = u32::from(marker.prefix_len);
    (length != 0).then_some(PrefixValue { network: marker.address, length })
}

/// The records of `services` and of their VIPs, whose ids and flags `vips` gives by marker.
///
/// # Errors
/// [`AmbiguousFragments`].
pub(crate) fn records(
    services: &[Named<'_>],
    vips: &BTreeMap<VipPrefix, VipRecord>,
) -> Result<HashMap<ServiceKey, ServiceValue>, AmbiguousFragments> {
    let mut records = HashMap::new();
    let mut by_source: HashMap<ServiceKey, Named<'_>> = HashMap::new();
    for named in services {
        let key = service_key(named.service);
        let value = record(named);
        records.insert(key, value);
        mark(&mut records, named, vips);
        let fragments = key.fragments(named.service.protocol);
        match named.service.fragments {
            Fragments::Drop => {}
            Fragments::FirstFragment => {
                // Counted for nobody: which service a fragment without a first was for is not known.
                let found = records
                    .entry(fragments)
                    .or_insert(ServiceValue { pool: value.pool, ..ServiceValue::default() });
                found.flags |= ServiceFlags::FRAGMENTS_TABLE;
            }
            Fragments::BySource => match by_source.get(&fragments) {
                Some(first) if !are_alike(first, named) => {
                    return Err(AmbiguousFragments {
                        vip: named.service.vip,
                        first: first.name.to_owned(),
                        second: named.name.to_owned(),
                    });
                }
                Some(_) => {}
                None => {
                    let found = records.entry(fragments).or_default();
                    let table = found.flags & ServiceFlags::FRAGMENTS_TABLE;
                    *found = ServiceValue { flags: value.flags | table, ..value };
                    by_source.insert(fragments, *named);
                }
            },
        }
    }
    keep_apart(&mut records, services);
    Ok(records)
}

/// Sees to it that a later fragment to an address that is a VIP by itself is not taken by the prefix VIP around it, when the
/// address has services of the protocol: whether the datagram is for one of those cannot be told from a later fragment. Where the
/// first fragment of a datagram went is asked for in either case, since only those are found that a service wanted remembered.
fn keep_apart(records: &mut HashMap<ServiceKey, ServiceValue>, services: &[Named<'_>]) {
    let vips = services.iter().map(|named| named.service.vip());
    let lengths: BTreeSet<u8> = vips.filter(|vip| !vip.is_host()).map(|prefix| prefix.length).collect();
    if lengths.is_empty() {
        return;
    }
    for named in services.iter().filter(|named| named.service.vip().is_host()) {
        let protocol = named.service.protocol;
        let around = around(records, named.service.vip(), lengths.iter().copied());
        let around = around.map(|prefix| prefix.fragments(protocol));
        if let Some(around) = around.and_then(|key| records.get(&key)).copied() {
            let own = records.entry(service_key(named.service).fragments(protocol)).or_default();
            own.flags |= around.flags & ServiceFlags::FRAGMENTS_TABLE;
        }
    }
}

/// Marker of the longest prefix VIP around an address, of these lengths, shortest first.
fn around(
    records: &HashMap<ServiceKey, ServiceValue>,
    host: VipPrefix,
    lengths: impl DoubleEndedIterator<Item = u8>,
) -> Option<ServiceKey> {
    lengths
        .rev()
        .filter(|length| *length < host.length)
        .map(|length| marker_key(VipPrefix { length, ..host }))
        .find(|marker| records.contains_key(marker))
}

/// Whether both treat a packet without ports alike, but for the counters.
fn are_alike(a: &Named<'_>, b: &Named<'_>) -> bool {
    let without_id = |named| ServiceValue { id: 0, new_flows_max: 0, ..record(named) };
    without_id(a) == without_id(b)
}

/// Adds the marker of the service's VIP, the same for all its services.
fn mark(
    records: &mut HashMap<ServiceKey, ServiceValue>,
    named: &Named<'_>,
    vips: &BTreeMap<VipPrefix, VipRecord>,
) {
    let vip = named.service.vip();
    let of_vip = vips.get(&vip).expect("every VIP of a service has an id");
    let echo = if of_vip.answers_echo { VipFlags::ECHO } else { 0 };
    records.insert(marker_key(vip), ServiceValue { id: of_vip.id, flags: echo, ..ServiceValue::default() });
}

/// The service's own record.
fn record(named: &Named<'_>) -> ServiceValue {
    let service = named.service;
    let stateless = if service.flow_table { 0 } else { ServiceFlags::STATELESS };
    // What chooses by less than the 5-tuple is not plain. A table of first fragments is not asked for whole packets, and
    // ports and prefixes only decide which record is found.
    let affinity = match service.affinity {
        Affinity::Flow => 0,
        Affinity::Source => ServiceFlags::AFFINITY_SOURCE | ServiceFlags::SLOW,
        Affinity::SourcePort => ServiceFlags::AFFINITY_SOURCE_PORT | ServiceFlags::SLOW,
    };
    let fragments = match service.fragments {
        Fragments::Drop => 0,
        Fragments::BySource => ServiceFlags::FRAGMENTS_BY_SOURCE | ServiceFlags::SLOW,
        Fragments::FirstFragment => ServiceFlags::FRAGMENTS_TABLE,
    };
    ServiceValue {
        id: named.id,
        pool: named.pool,
        flags: stateless | affinity | fragments,
        new_flows_max: service.new_flows_per_second.map_or(0, |limit| limit.get()),
        idle: Idle::new(named.idle, named.idle.min(NEW_IDLE_S_MAX)).raw(),
    }
}

/// The service that a packet to `address` would belong to, among `records`: the packet logic's order, for whoever makes
/// packets up.
pub(crate) fn service_of(
    records: &HashMap<ServiceKey, ServiceValue>,
    address: IpAddr,
    protocol: Protocol,
    port: u16,
) -> Option<ServiceKey> {
    let host = VipPrefix::from(address);
    let longest = around(records, host, 1..host.length);
    [port, 0].into_iter().find_map(|port| {
        [Some(marker_key(host)), longest].into_iter().flatten().find_map(|marker| {
            let key = ServiceKey { port_be: port.to_be(), protocol: protocol as u8, ..marker };
            records.contains_key(&key).then_some(key)
        })
    })
}

#[cfg(test)]
mod tests;
