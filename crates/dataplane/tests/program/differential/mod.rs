// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The same random packets and states through the loaded program and through the host: verdict, action, whole frame, counters
//! and flow tables must agree.
//!
//! `WEIR_DIFF_PACKETS` sets how many packets (default 1,000,000), `WEIR_DIFF_SEED` where the sequence starts. A run consists of
//! epochs that share nothing; a difference names the seed that repeats its epoch alone.
//!
//! Not compared: the bytes counted for frames in several buffers that were passed or dropped, since the first step counts what
//! lies in the first one (asking for more would cost every packet); what a dropped frame looks like; and which first fragment the kernel's table forgets when it is full, which is why there are fewer
//! fragmented datagrams than it has room for. Time stands still and passes on both sides at once.

mod frames;
mod random;
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use weir_dataplane::{Counters, ServiceCounters};
use weir_dataplane_core::{Action, Count, Verdict};

use self::frames::any_frame;
use self::random::Random;
use self::states::{OTHER_UPLINK, any_state};
use crate::support::pair::Pair;

const PACKETS_DEFAULT: u64 = 1_000_000;
const PACKETS_PER_STATE: u64 = 5_000;
const STATES_PER_EPOCH: u64 = 50;
const PACKETS_PER_EPOCH: u64 = PACKETS_PER_STATE * STATES_PER_EPOCH;
/// Frames up to this length lie in one buffer: a page less what the kernel keeps of it.
const ONE_BUFFER: usize = 3_400;
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
    for verdict in [
        "forward_flow",
        "forward_new",
        "forward_rechosen",
        "forward_ending",
        "forward_stateless",
        "drop_ttl",
        "drop_truncated",
        "drop_no_service",
        "drop_no_backend",
        "drop_no_next_hop",
    ] {
        assert!(seen.get(verdict).is_some_and(|&n| n > packets / 100_000), "hardly any {verdict}: {seen:?}");
    }
}

fn run_epoch(seed: u64, packets: u64, seen: &mut BTreeMap<&'static str, u64>) {
    let mut random = Random(seed);
    let mut pair = Pair::unrecorded();
    pair.kernel.pretend_uplink(OTHER_UPLINK).unwrap();
    let repeat = format!("WEIR_DIFF_SEED={seed} WEIR_DIFF_PACKETS={packets} repeats it");
    let mut block = None;
    for packet in 0..packets {
        if packet.is_multiple_of(PACKETS_PER_STATE) {
            if let Some(block) = block.take() {
                end_block(&mut pair, block, &repeat);
            }
            block = Some(begin_block(&mut pair, &mut random, seed));
        }
        if random.one_in(700) {
            pair.pass(*random.pick(&[1, 1, 10, 40, 70, 400, 11_000]));
        }
        let frame = any_frame(&mut random);
        match pair.compare(&frame) {
            Ok((result, count)) => {
                *seen.entry(result.verdict.name()).or_default() += 1;
                let block = block.as_mut().expect("begun with the first packet");
                block.add(result.verdict, frame.len(), count);
            }
            Err(difference) => panic!("packet {packet}: {difference}\n{repeat}"),
        }
    }
    end_block(&mut pair, block.expect("an epoch has packets"), &repeat);
}

/// What was counted on the host since a state came into force, and what the kernel had counted before.
struct Block {
    before: Counters,
    verdicts: BTreeMap<&'static str, (u64, u64)>,
    /// Verdicts of frames in several buffers that went no further.
    of_several: BTreeSet<&'static str>,
    services: BTreeMap<u32, ServiceCounters>,
    backends: BTreeMap<u16, ServiceCounters>,
}

impl Block {
    fn add(&mut self, verdict: Verdict, length: usize, count: Option<Count>) {
        let goes_on = matches!(verdict.action(), Action::Forward | Action::Answer);
        let verdict = verdict.name();
        if length > ONE_BUFFER && !goes_on {
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

fn begin_block(pair: &mut Pair, random: &mut Random, seed: u64) -> Block {
    for _ in 0..REFUSED_MAX {
        let state = any_state(random);
        // Some combinations are refused, and rightly; what a refused one wrote, the next one mends.
        if pair.try_apply(&state).is_ok() {
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
