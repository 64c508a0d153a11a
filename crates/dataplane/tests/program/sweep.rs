// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sweeping the flow table: what goes and what stays, in slices, and after hours in which nobody swept.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aya::maps::MapData;
use weir_dataplane::kernel::mapped::Mapped;
use weir_dataplane::{Capacity, Dataplane, SLICE_SLOTS};
use weir_dataplane_core::Verdict;
use weir_dataplane_core::flow::{REFRESH, Slot, TICK_MASK, state};
use weir_dataplane_core::limits::{IDLE_S_MAX, SLOTS_PER_SET, TICK_SKEW};
use weir_dataplane_core::names::MAP_FLOWS;

use crate::support::bed::{PinDir, capacity, config, open, usual};
use crate::support::build::{ACK, Frame};

/// Lets the flows in the pinned table of `slots` have been silent for `seconds` more.
fn make_older(pins: &PinDir, slots: u32, seconds: u16) {
    let map = MapData::from_pin(pins.folder().join(MAP_FLOWS)).unwrap();
    let sets = slots / 8;
    let flows = Mapped::<[u64; SLOTS_PER_SET]>::new(&map, sets).unwrap();
    for (set, index) in (0..sets).flat_map(|set| (0..SLOTS_PER_SET).map(move |index| (set, index))) {
        let word = flows.word(set, index);
        let slot = Slot(word.load(Ordering::Relaxed));
        if slot.state() != state::EMPTY {
            let tick = slot.tick().wrapping_sub(seconds) & TICK_MASK;
            word.store(slot.0 & !(u64::from(TICK_MASK) << 16) | u64::from(tick) << 16, Ordering::Relaxed);
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn the_sweeper_clears_what_outlived_its_idle_time() {
    let pins = PinDir::new();
    let mut dataplane = open(&pins);
    let state = usual().edit_service("dns4", |service| service.idle = Duration::from_secs(1));
    state.apply(&mut dataplane);
    // The longest idle time among a pool's services counts, so HTTP must be as short.
    let state = state.edit_service("http4", |service| service.idle = Duration::from_secs(1));
    state.apply(&mut dataplane);
    for port in 0..50 {
        dataplane.run(&Frame::udp("203.0.113.7", port, "198.51.100.10", 53).octets()).unwrap();
        dataplane.run(&Frame::udp("2001:db8:c::7", port, "2001:db8:100::10", 53).octets()).unwrap();
    }
    assert_eq!(dataplane.sweep().unwrap().used, 100);
    make_older(&pins, capacity().flow_slots, 1 + REFRESH);
    assert_eq!(dataplane.sweep().unwrap().cleared, 0, "not a second too early");
    make_older(&pins, capacity().flow_slots, 1);
    let swept = dataplane.sweep().unwrap();
    assert_eq!((swept.cleared, swept.used), (50, 50), "IPv6 flows idle longer");
    dataplane.detach().unwrap();
}

/// A sweep of a large table is made in slices. What changes between two of them holds for the next: an idle time that grew, an
/// id that retired.
#[test]
#[ignore = "needs root and a private bpffs"]
fn tables_may_change_between_two_slices_of_a_sweep() {
    let pins = PinDir::new();
    let slots = 2 * SLICE_SLOTS;
    let sizes = Capacity { flow_slots: slots, ..capacity() };
    let mut dataplane = Dataplane::open(config(&pins, sizes)).unwrap();
    let idle = |seconds| {
        usual()
            .edit_service("http4", |service| service.idle = Duration::from_secs(seconds))
            .edit_service("dns4", |service| service.idle = Duration::from_secs(seconds))
    };
    idle(1).apply(&mut dataplane);
    for port in 0..200 {
        for flags in [ACK, ACK] {
            dataplane.run(&Frame::tcp("203.0.113.7", port, "198.51.100.10", 80, flags).octets()).unwrap();
        }
    }
    make_older(&pins, slots, 100);
    assert_eq!(dataplane.sweep_slice().unwrap(), None, "half of it");
    idle(300).apply(&mut dataplane);
    let swept = dataplane.sweep_slice().unwrap().expect("the other half");
    assert!((50..150).contains(&swept.cleared), "by the idle time of then: {swept:?}");
    assert_eq!((swept.cleared + swept.used, swept.used), (200, swept.established));
    assert_eq!(dataplane.sweep().unwrap().used, swept.used, "the rest lives by that of now");

    let without = idle(300).edit_pool("web6", |pool| {
        pool.backends.remove("b1").unwrap();
    });
    assert_eq!(dataplane.sweep_slice().unwrap(), None);
    without.apply(&mut dataplane);
    assert_eq!(dataplane.sweep_slice().unwrap().expect("the rest").ids_freed, 0, "retired while it went on");
    assert_eq!(dataplane.sweep().unwrap().ids_freed, 1);
    dataplane.detach().unwrap();
}

/// Nobody sweeps for two hours, so that the ages of flows with the longest idle time wrap: no live flow is lost by that, and
/// one that had ended looks young once more and goes then.
#[test]
#[ignore = "needs root and a private bpffs"]
fn two_hours_without_a_sweeper_lose_no_live_flow_and_keep_no_dead_one() {
    const AWAY_S: u16 = 7_200;
    /// Real time that the test takes, at most.
    const SLACK_S: u16 = 120;
    let pins = PinDir::new();
    let slots = capacity().flow_slots;
    let mut dataplane = open(&pins);
    let state = usual()
        .edit_service("http4", |service| service.idle = Duration::from_secs(u64::from(IDLE_S_MAX)))
        .edit_service("dns4", |service| service.idle = Duration::from_secs(u64::from(IDLE_S_MAX)));
    state.apply(&mut dataplane);
    let run = |dataplane: &mut Dataplane, vip: &str, port: u16| {
        let before = dataplane.counters().unwrap();
        dataplane
            .run(
                &Frame::tcp(
                    if vip.contains(':') { "2001:db8:c::7" } else { "203.0.113.7" },
                    port,
                    vip,
                    80,
                    ACK,
                )
                .octets(),
            )
            .unwrap();
        let now = dataplane.counters().unwrap();
        let changed =
            now.verdicts.iter().zip(&before.verdicts).find(|(now, before)| now.packets != before.packets);
        changed.expect("one was counted").0.verdict
    };
    let (long, short) = ("198.51.100.10", "2001:db8:100::10");
    for vip in [long, short] {
        for port in 1..=2 {
            for _ in 0..3 {
                run(&mut dataplane, vip, port);
            }
        }
    }
    // All have been silent for as long as the longest of them may; those of the other pool (300 s) are over.
    make_older(&pins, slots, IDLE_S_MAX);
    drop(dataplane);

    // Away for two hours, in which one flow is heard of every hour, and the others are not.
    let mut dataplane = open(&pins);
    assert!(dataplane.adopted());
    assert_eq!(run(&mut dataplane, long, 1), Verdict::ForwardFlow, "not a second too old");
    for _ in 0..2 {
        make_older(&pins, slots, AWAY_S / 2);
        assert_eq!(run(&mut dataplane, long, 1), Verdict::ForwardFlow, "live, whoever sweeps");
    }
    state.apply(&mut dataplane);
    let swept = dataplane.sweep().unwrap();
    assert_eq!(
        (swept.used, swept.cleared),
        (2, 2),
        "of the long ones the dead one looks young, the short ones are over"
    );
    // It goes when its idle time is over once more.
    let age = IDLE_S_MAX + AWAY_S - (TICK_MASK + 1);
    make_older(&pins, slots, IDLE_S_MAX + REFRESH - age - SLACK_S);
    assert_eq!(run(&mut dataplane, long, 1), Verdict::ForwardFlow);
    assert_eq!(dataplane.sweep().unwrap().cleared, 0, "not yet");
    make_older(&pins, slots, SLACK_S + 1);
    let swept = dataplane.sweep().unwrap();
    assert_eq!((swept.used, swept.cleared), (1, 1));

    // The same without the sweep: another flow may have its slot while it is over, and the skew of clocks is no age.
    make_older(&pins, slots, TICK_MASK - TICK_SKEW - 2 * SLACK_S);
    assert_eq!(dataplane.sweep().unwrap().cleared, 1, "a flow nobody heard of for 4.5 hours");
    dataplane.detach().unwrap();
}
