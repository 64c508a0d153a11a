// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One frame through the loaded program and through the host's copy of the same tables.

use std::sync::atomic::{AtomicU64, Ordering};

use weir_dataplane::host::{HostPacket, HostTables};
use weir_dataplane::kernel::test_run::Ran;
use weir_dataplane::{Counters, Dataplane};
use weir_dataplane_core::{Action, Count, Verdict, process};

use super::bed::{LOOPBACK, PinDir, State, open};

/// The loaded program beside the host's copy of its tables.
pub struct Pair {
    pub kernel: Dataplane,
    pub host: HostTables,
    _pins: PinDir,
}

/// What both made of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Result {
    pub verdict: Verdict,
    pub frame: Vec<u8>,
}

impl Pair {
    pub fn new(state: &State) -> Self {
        let pins = PinDir::new();
        let mut kernel = open(&pins);
        state.apply(&mut kernel);
        let host = kernel.snapshot().unwrap();
        Self { kernel, host, _pins: pins }
    }

    /// Puts another state in force on both sides.
    pub fn apply(&mut self, state: &State) {
        state.apply(&mut self.kernel);
        self.host = self.kernel.snapshot().unwrap();
    }

    /// Runs `frame` on both and demands the same verdict, the same frame, and the counters that belong to them.
    pub fn run(&mut self, frame: &[u8]) -> Result {
        let before = self.kernel.counters().unwrap();
        let result = self.compare(frame).unwrap_or_else(|difference| panic!("{difference}"));
        let after = self.kernel.counters().unwrap();
        check_counters(&before, &after, result.0.verdict, result.1, frame.len());
        result.0
    }

    /// As [`Pair::run`] without counters; a difference comes back in words.
    pub fn compare(&mut self, frame: &[u8]) -> std::result::Result<(Result, Option<Count>), String> {
        let tick = self.kernel.tick().unwrap();
        let ran = self.kernel.run(frame).unwrap();
        let ended = self.kernel.tick().unwrap();
        if ended == tick {
            return self.on_host(tick, frame, ran);
        }
        // The kernel has acted, on one side of the tick's edge or the other: what it wrote into the flow table says which.
        let before: Vec<u64> = self.host_slots().map(|slot| slot.load(Ordering::Relaxed)).collect();
        let first = self.on_host(tick, frame, ran.clone());
        if first.is_ok() && self.same_flows() {
            return first;
        }
        for (slot, value) in self.host_slots().zip(before) {
            slot.store(value, Ordering::Relaxed);
        }
        self.on_host(ended, frame, ran)
    }

    fn host_slots(&self) -> impl Iterator<Item = &AtomicU64> {
        self.host.flows.iter().flat_map(|slots| slots.iter())
    }

    /// Decides on the host at `tick`, and compares with what the kernel `ran`.
    fn on_host(
        &mut self,
        tick: u16,
        frame: &[u8],
        ran: Ran,
    ) -> std::result::Result<(Result, Option<Count>), String> {
        self.host.tick.store(tick, Ordering::Relaxed);
        *self.host.counted.lock().unwrap() = None;
        let mut packet = HostPacket::new(frame, LOOPBACK);
        let outcome = process(&mut packet, &self.host);
        let action = match outcome.verdict.action() {
            Action::Drop => 1,
            Action::Pass => 2,
            Action::Answer => 3,
            Action::Forward if outcome.egress_ifindex == LOOPBACK => 3,
            Action::Forward => 4,
        };
        // What a dropped frame looks like is nobody's business.
        let same_frame = action == 1 || packet.frame() == ran.frame;
        if ran.action != action || !same_frame {
            return Err(format!(
                "host {:?} (action {action}) {:02x?}\nkernel action {} {:02x?}\nof {frame:02x?}",
                outcome.verdict,
                packet.frame(),
                ran.action,
                ran.frame
            ));
        }
        let counted = *self.host.counted.lock().unwrap();
        Ok((Result { verdict: outcome.verdict, frame: ran.frame }, counted))
    }

    /// Whether both flow tables hold the same.
    pub fn same_flows(&mut self) -> bool {
        let fresh = self.kernel.snapshot().unwrap();
        fresh.flows.iter().zip(&self.host.flows).all(|(a, b)| {
            a.iter().zip(b.iter()).all(|(a, b)| a.load(Ordering::Relaxed) == b.load(Ordering::Relaxed))
        })
    }
}

/// Exactly the counters of `verdict` and of what was `counted` went up by exactly one packet.
fn check_counters(
    before: &Counters,
    after: &Counters,
    verdict: Verdict,
    counted: Option<Count>,
    frame_len: usize,
) {
    for (old, new) in before.verdicts.iter().zip(&after.verdicts) {
        let hit = new.verdict == verdict;
        assert_eq!(new.packets - old.packets, u64::from(hit), "packets of {}", new.verdict.name());
        assert_eq!(
            new.bytes - old.bytes,
            if hit { frame_len as u64 } else { 0 },
            "bytes of {}",
            new.verdict.name()
        );
    }
    let diff = |a: &weir_dataplane::ServiceCounters, b: &weir_dataplane::ServiceCounters| {
        (b.packets - a.packets, b.bytes - a.bytes, b.new_flows - a.new_flows)
    };
    let expected = counted.map(|count| (1, u64::from(count.ip_len), u64::from(count.is_new_flow)));
    let services: Vec<_> = before
        .services
        .iter()
        .map(|(name, old)| diff(old, &after.services[name]))
        .filter(|d| *d != (0, 0, 0))
        .collect();
    assert_eq!(services, Vec::from_iter(expected), "service counters of {verdict:?}");
    let backends: Vec<_> = before
        .backends
        .iter()
        .map(|(name, old)| diff(old, &after.backends[name]))
        .filter(|d| *d != (0, 0, 0))
        .collect();
    let forwarded = expected.filter(|_| counted.is_some_and(|count| count.backend != 0));
    assert_eq!(backends, Vec::from_iter(forwarded), "backend counters of {verdict:?}");
}
