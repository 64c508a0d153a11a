// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many CPUs write one set at once: nothing that was gained is lost.

use std::sync::atomic::{AtomicBool, Ordering};

use weir_dataplane_core::Verdict;
use weir_dataplane_core::flow::{Slot, state};

use super::table::*;

const ROUNDS: u64 = 2_000;
const WRITERS: usize = 4;

/// While others insert into the same set and the clock runs, two packets after the SYN establish a flow, always.
#[test]
fn concurrent_writers_lose_no_promotion() {
    let mut lost = 0;
    for round in 0..ROUNDS {
        let tables = tables(1);
        let flow = nth(round);
        let start = AtomicBool::new(false);
        assert_eq!(send(&tables, flow, SYN), Ok((1, Verdict::ForwardNew)));
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (tables, start) = (&tables, &start);
                scope.spawn(move || {
                    while !start.load(Ordering::Acquire) {
                        std::hint::spin_loop();
                    }
                    // All writers speak for the same flow: each packet wants to promote it or refresh its age.
                    for packet in 0..2 {
                        if writer == 0 {
                            pass(tables, 1);
                        }
                        let result = send(tables, flow, DATA);
                        assert_eq!(result, Ok((1, Verdict::ForwardFlow)), "packet {packet}");
                    }
                });
            }
            start.store(true, Ordering::Release);
        });
        lost += u64::from(slot_of(&tables, flow).map(Slot::state) != Some(state::ESTABLISHED));
    }
    assert_eq!(lost, 0, "of {ROUNDS} flows with {WRITERS} writers");
}

/// Established flows of one set stay while several threads flood that set with new ones.
#[test]
fn concurrent_floods_touch_no_established_slot() {
    let tables = tables(1);
    let flows: Vec<u64> = (0..6).map(nth).collect();
    for &flow in &flows {
        establish(&tables, flow);
    }
    std::thread::scope(|scope| {
        for writer in 0..WRITERS as u64 {
            let tables = &tables;
            scope.spawn(move || {
                for tuple in 0..20_000 {
                    send(tables, nth(writer << 40 | tuple << 8 | 0xff), SYN).expect("a backend");
                }
            });
        }
    });
    for &flow in &flows {
        assert_eq!(slot_of(&tables, flow).map(Slot::state), Some(state::ESTABLISHED));
        assert_eq!(send(&tables, flow, DATA), Ok((1, Verdict::ForwardFlow)));
    }
}
