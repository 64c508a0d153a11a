// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The same random packets and states through the loaded program and through the host: verdict, action, whole frame, counters
//! and flow tables must agree.
//!
//! `WEIR_DIFF_PACKETS` sets how many packets (default 1,000,000), `WEIR_DIFF_SEED` where the sequence starts. A run consists of
//! epochs that share nothing; a difference names the seed that repeats its epoch alone, and is shrunk to few packets, which
//! are printed. Every other epoch has a flow table so small that live flows fill its sets.
//!
//! A run that is long enough must have seen every verdict often, but for [`NEVER`].
//!
//! Not compared: the bytes counted for frames in several buffers that were passed or dropped, or of which only padding lies
//! behind the first, since the first step counts what lies there (asking for more would cost every packet); what a dropped frame looks like; and which first fragment the kernel's table forgets when it is full, which is why there are fewer
//! fragmented datagrams than it has room for. Time stands still and passes on both sides at once.

mod frames;
mod random;
mod shrink;
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use weir_dataplane::{Counters, ServiceCounters};
use weir_dataplane_core::{Action, Count, Verdict};

use self::frames::{CROWD, any_frame, of_a_crowd};
use self::random::Random;
use self::shrink::Shrinker;
use self::states::{OTHER_UPLINK, any_state};
use crate::support::bed::{State, capacity};
use crate::support::pair::Pair;

const PACKETS_DEFAULT: u64 = 1_000_000;
const PACKETS_PER_STATE: u64 = 5_000;
const STATES_PER_EPOCH: u64 = 50;
const PACKETS_PER_EPOCH: u64 = PACKETS_PER_STATE * STATES_PER_EPOCH;
/// Slots of the flow table in every other epoch: 32 sets.
const FEW_SLOTS: u32 = 256;
/// Verdicts that no packet of this test can have, and why.
const NEVER: [(Verdict, &str); 3] = [
    (Verdict::DropNoRoom, "a test run has the headroom of a page"),
    (Verdict::DropInternal, "all tables and programs are there"),
    (Verdict::ForwardIcmpCopy, "it is a copy's, counted beside the frame that was handed over"),
];
/// Every other verdict is that of one packet in so many, at least.
const RAREST: u64 = 10_000;
/// Runs of fewer packets prove agreement and nothing about how often.
const COUNTED_FROM: u64 = 500_000;
/// Frames up to this length lie in one buffer: a page less what the kernel keeps of it.
const ONE_BUFFER: usize = 3_400;
/// Frames beyond this length lie in several buffers, and so do their packets.
const TWO_BUFFERS: usize = 4_096;
/// Desired states in a row that may be refused before the generator is at fault.
const REFUSED_MAX: u32 = 1_000;

#[test]
#[ignore = "needs root and a private bpffs"]
fn host_and_kernel_agree_on_random_packets() {
    let number =
        |name: &str, default| std::env::var(name).ok().map_or(default, |v| v.parse().expect("a number"));
    let packets: u64 = number("WEIR_DIFF_PACKETS", PACKETS_DEFAULT);
    let seed: u64 = number("WEIR_DIFF_SEED", 1);
    let started = Instant::now();
    let mut seen = BTreeMap::<&str, u64>::new();
    let mut left = packets;
    for epoch in seed.. {
        if left == 0 {
            break;
        }
        let these = left.min(PACKETS_PER_EPOCH);
        run_epoch(epoch, these, &mut seen);
        left -= these;
    }
    let rate = packets as f64 / started.elapsed().as_secs_f64();
    println!("{packets} packets from seed {seed} on, no difference, {rate:.0} a second: {seen:?}");
    // Agreement on nothing but passes would prove little.
    if packets < COUNTED_FROM {
        return;
    }
    for &verdict in Verdict::ALL {
        let count = seen.get(verdict.name()).copied().unwrap_or_default();
        match NEVER.iter().find(|(never, _)| *never == verdict) {
            Some((_, reason)) => assert_eq!(count, 0, "{}, though {reason}", verdict.name()),
            None => assert!(count >= packets / RAREST, "hardly any {}: {count}", verdict.name()),
        }
    }
}

/// What happens to a pair.
#[derive(Clone)]
enum Event {
    State(Box<State>),
    Pass(u64),
    Frame(Vec<u8>),
}

/// Empty tables for the epoch of `seed`.
fn pair_of(seed: u64) -> Pair {
    let flow_slots = if seed.is_multiple_of(2) { FEW_SLOTS } else { capacity().flow_slots };
    let mut pair = Pair::sized(weir_dataplane::Capacity { flow_slots, ..capacity() });
    pair.kernel.pretend_uplink(OTHER_UPLINK).unwrap();
    pair
}

/// The first difference that these events show.
fn replayed(seed: u64, events: &[Event]) -> Option<String> {
    let mut pair = pair_of(seed);
    for event in events {
        match event {
            // One that is refused may have been written in part, as it was the first time.
            Event::State(state) => drop(pair.try_apply(state)),
            Event::Pass(seconds) => pair.pass(*seconds),
            Event::Frame(frame) => {
                if let Err(difference) = pair.compare(frame) {
                    return Some(difference);
                }
            }
        }
    }
    None
}

/// The difference that the last of `events` shows, by as few of them as are needed, in words.
fn shrunk(seed: u64, events: Vec<Event>) -> String {
    // States and time are few and stay; of frames only those that matter.
    let mut shrinker = Shrinker::new(|events: &[Event]| replayed(seed, events).is_some());
    let events = shrinker.events(events);
    let events = shrinker.frame(events, |event| match event {
        Event::Frame(frame) => Some(frame),
        Event::State(_) | Event::Pass(_) => None,
    });
    let Some(difference) = replayed(seed, &events) else {
        return "a replay of the epoch does not show it: what was counted, or time, had a part in it"
            .to_owned();
    };
    let lines = events.iter().map(|event| match event {
        Event::State(state) => format!("state {:?}\n  next hops {:?}", state.forwarding, state.next_hops),
        Event::Pass(seconds) => format!("{seconds} s pass"),
        Event::Frame(frame) => {
            let octets: Vec<String> = frame.iter().map(|octet| format!("{octet:02x}")).collect();
            format!("frame {}", octets.concat())
        }
    });
    format!("{difference}\nby these events:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

fn run_epoch(seed: u64, packets: u64, seen: &mut BTreeMap<&'static str, u64>) {
    let mut random = Random(seed);
    let mut pair = pair_of(seed);
    let repeat = format!("WEIR_DIFF_SEED={seed} WEIR_DIFF_PACKETS={packets} repeats it");
    let mut block = None;
    let mut events = Vec::new();
    // How much of a crowd is still to come, and of which family it is.
    let mut crowd = (0, true);
    for packet in 0..packets {
        if packet.is_multiple_of(PACKETS_PER_STATE) {
            if let Some(block) = block.take() {
                end_block(&mut pair, block, &repeat);
            }
            block = Some(begin_block(&mut pair, &mut random, seed, &mut events));
        }
        if random.one_in(700) {
            let seconds = *random.pick(&[1, 1, 10, 40, 70, 400, 11_000]);
            pair.pass(seconds);
            events.push(Event::Pass(seconds));
        }
        if crowd.0 == 0 && random.one_in(5 * CROWD) {
            crowd = (CROWD, random.one_in(2));
        }
        let frame = if crowd.0 > 0 {
            crowd.0 -= 1;
            of_a_crowd(crowd.0, crowd.1)
        } else {
            any_frame(&mut random)
        };
        match pair.compare(&frame) {
            Ok((result, count)) => {
                *seen.entry(result.verdict.name()).or_default() += 1;
                let block = block.as_mut().expect("begun with the first packet");
                block.add(result.verdict, frame.len(), count);
                events.push(Event::Frame(frame));
            }
            Err(difference) => {
                events.push(Event::Frame(frame));
                panic!("packet {packet}: {difference}\n{repeat}\nshrunk: {}", shrunk(seed, events));
            }
        }
    }
    end_block(&mut pair, block.expect("an epoch has packets"), &repeat);
}

/// What was counted on the host since a state came into force, and what the kernel had counted before.
struct Block {
    before: Counters,
    verdicts: BTreeMap<&'static str, (u64, u64)>,
    /// Verdicts of frames in several buffers that may have been counted by their first.
    of_several: BTreeSet<&'static str>,
    services: BTreeMap<u32, ServiceCounters>,
    backends: BTreeMap<u16, ServiceCounters>,
}

impl Block {
    fn add(&mut self, verdict: Verdict, length: usize, count: Option<Count>) {
        let goes_on = matches!(verdict.action(), Action::Forward | Action::Answer);
        let verdict = verdict.name();
        // Of one of the lower kind a plain packet may end in the first buffer, and only octets behind it lie in the second.
        if length > ONE_BUFFER && (!goes_on || length <= TWO_BUFFERS) {
            self.of_several.insert(verdict);
        }
        let entry = self.verdicts.entry(verdict).or_default();
        *entry = (entry.0 + 1, entry.1 + length as u64);
        let Some(count) = count else { return };
        let add = |counters: &mut ServiceCounters| {
            counters.packets += 1;
            counters.bytes += u64::from(count.ip_len);
            counters.new_flows += u64::from(count.is_new_flow);
        };
        add(self.services.entry(count.service).or_default());
        if count.backend != 0 {
            add(self.backends.entry(count.backend).or_default());
        }
    }
}

fn begin_block(pair: &mut Pair, random: &mut Random, seed: u64, events: &mut Vec<Event>) -> Block {
    for _ in 0..REFUSED_MAX {
        let state = any_state(random);
        // Some combinations are refused, and rightly; what a refused one wrote, the next one mends.
        let applied = pair.try_apply(&state);
        events.push(Event::State(Box::new(state)));
        if applied.is_ok() {
            return Block {
                before: pair.kernel.counters().unwrap(),
                verdicts: BTreeMap::new(),
                of_several: BTreeSet::new(),
                services: BTreeMap::new(),
                backends: BTreeMap::new(),
            };
        }
    }
    let error = pair.try_apply(&any_state(random)).expect_err("as all before it");
    panic!("{REFUSED_MAX} states in a row were refused, seed {seed}: {error:?}");
}

fn end_block(pair: &mut Pair, block: Block, repeat: &str) {
    assert!(pair.same_flows(), "flow tables differ\n{repeat}");
    let after = pair.kernel.counters().unwrap();
    for (old, new) in block.before.verdicts.iter().zip(&after.verdicts) {
        let name = new.verdict.name();
        let (packets, bytes) = block.verdicts.get(name).copied().unwrap_or_default();
        assert_eq!(new.packets - old.packets, packets, "packets of {name}\n{repeat}");
        if !block.of_several.contains(name) {
            assert_eq!(new.bytes - old.bytes, bytes, "bytes of {name}\n{repeat}");
        }
    }
    for (name, id) in pair.kernel.service_ids() {
        let expected = block.services.get(&id).cloned().unwrap_or_default();
        let found = difference(&block.before.services[&name], &after.services[&name]);
        assert_eq!(found, expected, "counters of service {name}\n{repeat}");
    }
    for (name, id) in pair.kernel.backend_ids().iter() {
        let expected = block.backends.get(id).cloned().unwrap_or_default();
        let found = difference(&block.before.backends[name], &after.backends[name]);
        assert_eq!(found, expected, "counters of backend {name:?}\n{repeat}");
    }
}

fn difference(before: &ServiceCounters, after: &ServiceCounters) -> ServiceCounters {
    ServiceCounters {
        packets: after.packets - before.packets,
        bytes: after.bytes - before.bytes,
        new_flows: after.new_flows - before.new_flows,
    }
}
