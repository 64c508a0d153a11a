// SPDX-License-Identifier: Apache-2.0 OR MIT
//! No flood, whatever its packets, pushes a live established flow out.

use weir_dataplane_core::flow::Kind;
use weir_dataplane_core::{Row, Verdict};

use super::table::*;

/// 1,000 established flows in 1,280 slots, then fifty times as many packets of other tuples, `packets` of each.
fn flood(packets: &[Kind]) -> Vec<u64> {
    let mut tables = tables(256);
    let mut flows = Vec::new();
    let mut n = 0;
    // 256 sets of 8 slots: stop at five established flows a set on average; a few sets are nearly full.
    while flows.len() < 1_280 {
        n += 1;
        let (_, verdict) = send(&tables, nth(n), SYN).expect("a backend");
        if verdict == Verdict::ForwardNew {
            send(&tables, nth(n), DATA).expect("a backend");
            send(&tables, nth(n), DATA).expect("a backend");
            flows.push(nth(n));
        }
    }
    flows.retain(|&flow| slot_of(&tables, flow).is_some());
    // What would show that a flow was forgotten: its row now names another backend.
    tables.rows[0] = Row::from_ids([2, 1, 3, 4]);
    let mut uncached = 0;
    for tuple in 0..50_000 {
        if tuple % 500 == 0 {
            pass(&tables, 2);
        }
        for &kind in packets {
            let (_, verdict) = send(&tables, nth(1 << 32 | tuple), kind).expect("a backend");
            uncached += u64::from(verdict == Verdict::ForwardUncached);
        }
    }
    assert!(flows.len() > 1_200, "only {} flows to lose", flows.len());
    if packets.len() > 2 {
        assert!(uncached > 0, "the flood filled the table");
    }
    flows.into_iter().filter(|&flow| send(&tables, flow, DATA) != Ok((1, Verdict::ForwardFlow))).collect()
}

#[test]
fn a_syn_flood_evicts_no_live_established_flow() {
    assert_eq!(flood(&[SYN]), Vec::<u64>::new());
}

#[test]
fn an_ack_flood_evicts_no_live_established_flow() {
    assert_eq!(flood(&[DATA]), Vec::<u64>::new());
}

#[test]
fn a_flood_of_three_packets_a_tuple_evicts_no_live_established_flow() {
    assert_eq!(flood(&[SYN, DATA, DATA]), Vec::<u64>::new());
}

#[test]
fn a_fin_flood_evicts_no_live_established_flow() {
    assert_eq!(flood(&[FIN]), Vec::<u64>::new());
    assert_eq!(flood(&[SYN, FIN]), Vec::<u64>::new());
}
