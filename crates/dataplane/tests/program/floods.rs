// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Floods against the loaded program and a table that is nearly full of established flows: none of them is evicted.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aya::maps::MapData;
use weir_dataplane::Capacity;
use weir_dataplane::Dataplane;
use weir_dataplane::kernel::mapped::Mapped;
use weir_dataplane_core::flow::{Slot, TICK_MASK, state};
use weir_dataplane_core::limits::SLOTS_PER_SET;
use weir_dataplane_core::names::MAP_FLOWS;

use crate::support::bed::{PinDir, capacity, config, usual};
use crate::support::build::{ACK, Frame, SYN};

const SLOTS: u32 = 131_072;
const SETS: u32 = SLOTS / 8;
/// As many as it takes until the table holds [`ESTABLISHED_MIN`]: some sets overflow, and what they cannot hold goes by its row.
const OFFERED: u32 = 125_000;
/// At most 1.3 slots for each established flow.
const ESTABLISHED_MIN: usize = 100_825;
/// Packets of a flood.
const FLOOD: u32 = 240_000;
const HOUR_S: u16 = 3_600;

type Flows = Mapped<[u64; SLOTS_PER_SET]>;

/// One frame that is made another flow's by writing source address and port into it.
struct Tuples(Vec<u8>);

impl Tuples {
    fn new(flags: u8) -> Self {
        Self(Frame::tcp("203.0.113.7", 1, "198.51.100.10", 80, flags).octets())
    }

    /// The packet of flow `number`, below 2^24, of the clients that begin with `100 + network`.
    fn packet(&mut self, network: u8, number: u32) -> &[u8] {
        let [_, a, b, c] = number.to_be_bytes();
        self.0[26..30].copy_from_slice(&Ipv4Addr::new(100 + network, a, b, 1).octets());
        self.0[34..36].copy_from_slice(&(1_024 + u16::from(c)).to_be_bytes());
        &self.0
    }
}

fn slots(flows: &Flows) -> Vec<Slot> {
    let word = |set, index| Slot(flows.word(set, index).load(Ordering::Relaxed));
    (0..SETS).flat_map(|set| (0..SLOTS_PER_SET).map(move |index| word(set, index))).collect()
}

/// Lets every fourth established flow have been silent for an hour.
fn age_some(flows: &Flows) -> u32 {
    let mut aged = 0;
    for (set, index) in (0..SETS).flat_map(|set| (0..SLOTS_PER_SET).map(move |index| (set, index))) {
        let word = flows.word(set, index);
        let slot = Slot(word.load(Ordering::Relaxed));
        if slot.state() == state::ESTABLISHED && (set + index as u32).is_multiple_of(4) {
            let tick = slot.tick().wrapping_sub(HOUR_S) & TICK_MASK;
            word.store(slot.0 & !(u64::from(TICK_MASK) << 16) | u64::from(tick) << 16, Ordering::Relaxed);
            aged += 1;
        }
    }
    aged
}

/// Sends `packets` of each of a flood's tuples, whose flags they are.
fn flood(dataplane: &mut Dataplane, network: u8, packets: &[u8]) {
    let mut kinds: Vec<Tuples> = packets.iter().map(|&flags| Tuples::new(flags)).collect();
    for number in 0..FLOOD / kinds.len() as u32 {
        for kind in &mut kinds {
            dataplane.run(kind.packet(network, number)).unwrap();
        }
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn no_flood_evicts_an_established_flow() {
    let pins = PinDir::new();
    let sizes = Capacity { flow_slots: SLOTS, ..capacity() };
    let mut dataplane = Dataplane::open(config(&pins, sizes)).unwrap();
    usual()
        // What must hold when nothing keeps a flood from the table.
        .edit_limits(|limits| limits.new_flows_per_cpu = None)
        .edit_service("http4", |s| s.idle = Duration::from_secs(2 * u64::from(HOUR_S)))
        .apply(&mut dataplane);
    let map = MapData::from_pin(pins.folder().join(MAP_FLOWS)).unwrap();
    let flows = Flows::new(&map, SETS).unwrap();

    let (mut syn, mut ack) = (Tuples::new(SYN), Tuples::new(ACK));
    for number in 0..OFFERED {
        dataplane.run(syn.packet(0, number)).unwrap();
        dataplane.run(ack.packet(0, number)).unwrap();
        dataplane.run(ack.packet(0, number)).unwrap();
    }
    let aged = age_some(&flows);
    let before = slots(&flows);
    let live = before.iter().filter(|slot| slot.state() == state::ESTABLISHED).count();
    assert!(live >= ESTABLISHED_MIN, "{live} established flows in {SLOTS} slots");
    assert!(aged > 20_000, "{aged} are idle");

    for (network, (name, packets)) in
        (1..).zip([("SYN", &[SYN][..]), ("random ACK", &[ACK]), ("three packets a tuple", &[SYN, ACK, ACK])])
    {
        let taken = dataplane.counters().unwrap();
        flood(&mut dataplane, network, packets);
        let now = dataplane.counters().unwrap();
        let sent: u64 = now.verdicts.iter().zip(&taken.verdicts).map(|(b, a)| b.packets - a.packets).sum();
        assert_eq!(sent, u64::from(FLOOD), "{name}");
        let after = slots(&flows);
        let lost = before.iter().zip(&after).filter(|(old, new)| {
            old.state() == state::ESTABLISHED
                && (new.state() != state::ESTABLISHED
                    || new.backend() != old.backend()
                    || !new.has_tag_of(old.0))
        });
        assert_eq!(lost.count(), 0, "established flows lost to the {name} flood");
        let full = after.iter().filter(|slot| slot.state() != state::EMPTY).count();
        println!("{name}: {live} established flows of {SLOTS} slots kept, {full} slots taken");
    }
    dataplane.detach().unwrap();
}
