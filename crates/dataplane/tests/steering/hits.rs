// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DESIGN §5.2, rule by rule.

use weir_dataplane_core::flow::{REFRESH, Slot, state};
use weir_dataplane_core::{PoolValue, Row, ServiceFlags, ServiceValue, Verdict};

use super::table::*;

const FLOW: u64 = 0x1234_5678_9abc_def0;

#[test]
fn a_flow_keeps_its_backend_when_its_row_changes() {
    let mut tables = tables(4);
    assert_eq!(establish(&tables, FLOW), 1);
    tables.rows[0] = Row::from_ids([2, 1, 3, 4]);
    assert_eq!(send(&tables, FLOW, DATA), Ok((1, Verdict::ForwardFlow)));
    assert_eq!(send(&tables, nth(1), SYN), Ok((2, Verdict::ForwardNew)));
}

#[test]
fn what_a_backends_state_does_to_its_flows() {
    use Verdict::{ForwardFlow as Hit, ForwardRechosen as Again};
    // (state of backend 1, kind, packet before it, verdict): `None` before = only a SYN was seen.
    let table = [
        (USABLE, SYN, true, Hit),
        (USABLE, DATA, true, Hit),
        (USABLE, SYN, false, Hit),
        (USABLE, DATA, false, Hit),
        (DRAINING, SYN, true, Again),
        (DRAINING, DATA, true, Hit),
        (DRAINING, FIN, true, Hit),
        (DRAINING, SYN, false, Again),
        (DRAINING, DATA, false, Hit),
        (FAILED, SYN, true, Again),
        (FAILED, DATA, true, Hit),
        (FAILED, FIN, true, Hit),
        (FAILED, SYN, false, Again),
        (FAILED, DATA, false, Again),
        (REMOVED, SYN, true, Again),
        (REMOVED, DATA, true, Again),
        (REMOVED, DATA, false, Again),
    ];
    for (flags, kind, established, verdict) in table {
        let mut tables = tables(4);
        if established {
            establish(&tables, FLOW);
        } else {
            assert_eq!(send(&tables, FLOW, SYN), Ok((1, Verdict::ForwardNew)));
        }
        tables.backends[1].flags = flags;
        let to = if verdict == Hit { 1 } else { 2 };
        let case = format!("flags {flags}, {kind:?}, established {established}");
        assert_eq!(send(&tables, FLOW, kind), Ok((to, verdict)), "{case}");
        if verdict == Again {
            // One slot, now the other backend's: no second entry for one flow.
            assert_eq!(slot_of(&tables, FLOW).map(Slot::backend), Some(2), "{case}");
            assert_eq!(send(&tables, FLOW, DATA), Ok((2, Verdict::ForwardFlow)), "{case}");
        }
    }
}

#[test]
fn a_backend_without_next_hop_is_a_miss_and_a_counted_drop_when_it_is_the_last() {
    let mut tables = tables(4);
    establish(&tables, FLOW);
    tables.backends[1].next_hops = [0; 4];
    assert_eq!(send(&tables, FLOW, DATA), Ok((2, Verdict::ForwardRechosen)));
    for id in 1..=4 {
        tables.backends[id].next_hops = [0; 4];
    }
    assert_eq!(send(&tables, FLOW, DATA), Err(Verdict::DropNoNextHop));
    for id in 1..=4 {
        tables.backends[id].flags = FAILED;
    }
    assert_eq!(send(&tables, nth(5), SYN), Err(Verdict::DropNoBackend));
}

#[test]
fn a_tag_of_another_pools_flow_never_crosses_over() {
    let mut tables = tables(4);
    establish(&tables, FLOW);
    // A second service on another pool meets the same set and tag.
    let other = tables.backends[1];
    tables.backends.push(weir_dataplane_core::BackendValue { pool: 0, ..other });
    tables.rows.push(Row::from_ids([5, 0, 0, 0]));
    tables.pools[0] = PoolValue::descriptor(1, 1);
    let service = ServiceValue { pool: 0, ..SERVICE };
    let decision =
        weir_dataplane_core::steer::steer(&tables, &service, FLOW, DATA).unwrap_or_else(|v| panic!("{v:?}"));
    assert_eq!((decision.id, decision.verdict), (5, Verdict::ForwardUncached));
    assert_eq!(send(&tables, FLOW, DATA), Ok((1, Verdict::ForwardFlow)), "whose slot it is keeps it");
}

#[test]
fn one_spoofed_syn_neither_moves_a_flow_nor_makes_it_evictable() {
    let mut tables = tables(4);
    establish(&tables, FLOW);
    tables.rows[0] = Row::from_ids([2, 1, 3, 4]);
    assert_eq!(send(&tables, FLOW, SYN), Ok((1, Verdict::ForwardFlow)));
    assert_eq!(slot_of(&tables, FLOW).map(Slot::state), Some(state::ESTABLISHED));
}

#[test]
fn a_new_connection_on_a_closing_slot_stays_with_its_backend() {
    let tables = tables(4);
    establish(&tables, FLOW);
    assert_eq!(send(&tables, FLOW, FIN), Ok((1, Verdict::ForwardFlow)));
    assert_eq!(slot_of(&tables, FLOW).map(Slot::state), Some(state::CLOSING));
    assert_eq!(send(&tables, FLOW, SYN), Ok((1, Verdict::ForwardFlow)));
    assert_eq!(slot_of(&tables, FLOW).map(Slot::state), Some(state::NEW_UNANSWERED));
}

#[test]
fn what_ends_an_unknown_flow_is_not_remembered() {
    let tables = tables(4);
    assert_eq!(send(&tables, FLOW, FIN), Ok((1, Verdict::ForwardEnding)));
    assert_eq!(slot_of(&tables, FLOW), None);
}

#[test]
fn an_expired_flow_is_chosen_anew_in_its_own_slot() {
    let mut tables = tables(4);
    establish(&tables, FLOW);
    pass(&tables, IDLE);
    assert_eq!(send(&tables, FLOW, DATA), Ok((1, Verdict::ForwardFlow)), "just in time");
    pass(&tables, IDLE + REFRESH + 1);
    tables.rows[0] = Row::from_ids([2, 1, 3, 4]);
    assert_eq!(send(&tables, FLOW, DATA), Ok((2, Verdict::ForwardNew)));
    assert_eq!(slot_of(&tables, FLOW).map(Slot::backend), Some(2));
    let used = tables
        .flows
        .iter()
        .flat_map(|set| set.iter())
        .filter(|slot| slot.load(std::sync::atomic::Ordering::Relaxed) != 0);
    assert_eq!(used.count(), 1, "one slot for one flow");
}

#[test]
fn a_stateless_service_goes_by_its_row_alone() {
    let mut tables = tables(4);
    let service = ServiceValue { flags: ServiceFlags::STATELESS, ..SERVICE };
    let send = |tables: &_| {
        weir_dataplane_core::steer::steer(tables, &service, FLOW, DATA).map(|d| (d.id, d.verdict)).ok()
    };
    assert_eq!(send(&tables), Some((1, Verdict::ForwardStateless)));
    tables.rows[0] = Row::from_ids([4, 1, 2, 3]);
    assert_eq!(send(&tables), Some((4, Verdict::ForwardStateless)));
    assert_eq!(slot_of(&tables, FLOW), None);
}

#[test]
fn a_row_is_served_by_its_first_usable_candidate() {
    let mut tables = tables(4);
    tables.backends[1].flags = DRAINING;
    tables.backends[2].flags = FAILED;
    tables.backends[3].next_hops = [0; 4];
    assert_eq!(send(&tables, FLOW, SYN), Ok((4, Verdict::ForwardNew)));
}

#[test]
fn a_pool_without_rows_drops_by_name() {
    let mut tables = tables(4);
    tables.pools[3] = 0;
    assert_eq!(send(&tables, FLOW, SYN), Err(Verdict::DropNoBackend));
}
