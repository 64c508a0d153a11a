// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many CPUs write one set at once: nothing that was gained is lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir_dataplane_core::Verdict;
use weir_dataplane_core::flow::{Slot, state};

use super::table::*;

/// How often two writers meet.
const MEETINGS: u64 = 100_000;
/// Longest wait of one writer for the other.
const DEADLINE: Duration = Duration::from_secs(30);
const WRITERS: usize = 4;

/// Two packets of one flow that arrive at once are two promotions: from *only a SYN seen* to *established*, every time. Were
/// a write not a compare-exchange, or not tried again when it loses, both would be the same promotion.
#[test]
fn concurrent_writers_lose_no_promotion() {
    let tables = tables(1);
    let (go, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let forwarded = |flow, kind| send(&tables, flow, kind).is_ok();
    let lost = std::thread::scope(|scope| {
        scope.spawn(|| {
            for meeting in 1..=MEETINGS {
                wait_for(&go, meeting);
                assert!(forwarded(nth(meeting), DATA));
                done.store(meeting, Ordering::Release);
            }
        });
        let is_lost = |&meeting: &u64| {
            tables.flows[0].iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
            assert!(forwarded(nth(meeting), SYN));
            go.store(meeting, Ordering::Release);
            // The other one hears of it a little later: meet it at different moments.
            (0..meeting % 32).for_each(|_| std::hint::spin_loop());
            assert!(forwarded(nth(meeting), DATA));
            wait_for(&done, meeting);
            slot_of(&tables, nth(meeting)).map(Slot::state) != Some(state::ESTABLISHED)
        };
        (1..=MEETINGS).filter(is_lost).count()
    });
    assert_eq!(lost, 0, "of {MEETINGS} flows");
}

/// Spins, so that both go at the same moment; with a deadline, so that a panic on the other side ends this one.
fn wait_for(counter: &AtomicU64, value: u64) {
    let start = Instant::now();
    for turn in 1_u64.. {
        if counter.load(Ordering::Acquire) == value {
            return;
        }
        std::hint::spin_loop();
        if turn % 4_096 == 0 {
            std::thread::yield_now();
            assert!(start.elapsed() < DEADLINE, "the other writer is gone");
        }
    }
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
