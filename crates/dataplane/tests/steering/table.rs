// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tables of one service over a few backends, and a flow that speaks to it.

use std::sync::atomic::Ordering;

use weir_dataplane::host::HostTables;
use weir_dataplane_core::bytes::Outer;
use weir_dataplane_core::flow::{Idle, Kind, Slot, state};
use weir_dataplane_core::hash::HashKeys;
use weir_dataplane_core::steer::steer;
use weir_dataplane_core::{BackendFlags, BackendValue, PoolValue, Row, ServiceValue, Verdict};

pub const USABLE: u8 = BackendFlags::USABLE | BackendFlags::KEEPS_ESTABLISHED | BackendFlags::KEEPS_NEW;
pub const DRAINING: u8 = BackendFlags::KEEPS_ESTABLISHED | BackendFlags::KEEPS_NEW;
pub const FAILED: u8 = BackendFlags::KEEPS_ESTABLISHED;
pub const REMOVED: u8 = 0;

pub const SYN: Kind = Kind::OPENS;
pub const DATA: Kind = Kind::GOES_ON;
pub const FIN: Kind = Kind::ENDS;

/// Idle time of established flows.
pub const IDLE: u16 = 300;

pub const SERVICE: ServiceValue =
    ServiceValue { id: 0, pool: 3, flags: 0, new_flows_max: 0, idle: Idle::new(IDLE, 60).raw() };

/// `sets` flow sets; pool 3 with backends 1 to 4, whose single row is 1, 2, 3, 4.
pub fn tables(sets: usize) -> HostTables {
    let mut tables = HostTables::new(sets, HashKeys::from_seed(&[7; 32]));
    tables.pools = vec![0, 0, 0, PoolValue::descriptor(0, 1)];
    tables.rows = vec![Row::from_ids([1, 2, 3, 4])];
    let backend = BackendValue {
        pool: 3,
        flags: USABLE | BackendFlags::PLAIN_V4,
        mode: 1,
        next_hops: [1; 4],
        outer: Outer::v4([192, 0, 2, 1].into(), [10, 1, 0, 1].into(), 4),
        identity: 1,
        ..BackendValue::default()
    };
    tables.backends = vec![BackendValue::default(), backend, backend, backend, backend];
    tables
}

/// Where a packet goes, and how it was decided.
pub fn send(tables: &HostTables, hash: u64, kind: Kind) -> Result<(u16, Verdict), Verdict> {
    steer(tables, &SERVICE, hash, kind).map(|decision| (decision.id, decision.verdict))
}

/// Opens a connection and brings it to *established*.
pub fn establish(tables: &HostTables, hash: u64) -> u16 {
    let (id, _) = send(tables, hash, SYN).expect("a usable backend");
    for _ in 0..2 {
        assert_eq!(send(tables, hash, DATA), Ok((id, Verdict::ForwardFlow)));
    }
    assert_eq!(slot_of(tables, hash).map(Slot::state), Some(state::ESTABLISHED));
    id
}

/// The slot that holds `hash`.
pub fn slot_of(tables: &HostTables, hash: u64) -> Option<Slot> {
    let set = &tables.flows[usize::try_from(hash & (tables.flows.len() as u64 - 1)).unwrap()];
    set.iter()
        .map(|slot| Slot(slot.load(Ordering::Relaxed)))
        .find(|slot| slot.has_tag_of(hash) && slot.state() != state::EMPTY)
}

/// Lets `seconds` pass.
pub fn pass(tables: &HostTables, seconds: u16) {
    let now = tables.tick.load(Ordering::Relaxed);
    tables.tick.store(now.wrapping_add(seconds) & 0x3fff, Ordering::Relaxed);
}

/// The n-th of many different flows: an odd constant makes all bits differ.
pub fn nth(n: u64) -> u64 {
    (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
