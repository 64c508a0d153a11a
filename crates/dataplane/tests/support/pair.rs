// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One frame through the loaded program and through the host's copy of the same tables.
//!
//! Both are a private copy on a clock that stands until a test lets time pass. Where the binary `weir` is at hand (the tests
//! of its crate), what a pair was given is also told to `weir replay`, which must say the same of every frame.

use std::sync::atomic::Ordering;

use weir_dataplane::host::{HostCarrier, HostPacket, HostTables, Left};
use weir_dataplane::kernel::cpu::keep_to_one;
use weir_dataplane::kernel::test_run::Ran;
use weir_dataplane::{ApplyError, Capacity, Counters, Dataplane};
use weir_dataplane_core::{Action, Count, Verdict, clone, process};

use super::bed::{LOOPBACK, PinDir, State, capacity, config};
use super::recorder::Recorder;

/// The loaded program beside the host's copy of its tables.
pub struct Pair {
    pub kernel: Dataplane,
    pub host: HostTables,
    /// The first of [`METADATA`] that the kernel takes.
    metadata: usize,
    recorder: Option<Recorder>,
}

/// Metadata in front of frames, so that their headers are written over garbage in the kernel as on the host. Leaves room for
/// the longest outer header; Linux 6.1 takes no more than the second.
const METADATA: [u8; 2] = [84, 32];

/// What both made of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Result {
    pub verdict: Verdict,
    pub frame: Vec<u8>,
}

impl Pair {
    pub fn new(state: &State) -> Self {
        let mut pair = Self::unrecorded();
        pair.recorder = Some(Recorder::new());
        pair.apply(state);
        pair
    }

    /// One with empty tables, of which `weir replay` hears nothing.
    pub fn unrecorded() -> Self {
        Self::sized(capacity())
    }

    /// As [`Pair::unrecorded`], with tables of these sizes.
    pub fn sized(capacity: Capacity) -> Self {
        keep_to_one().unwrap();
        let config = config(&PinDir::new(), capacity);
        let mut kernel = Dataplane::open_private(config).unwrap_or_else(|error| panic!("open: {error:?}"));
        let host = kernel.snapshot().unwrap();
        Self { kernel, host, metadata: 0, recorder: None }
    }

    /// Puts another state in force on both sides.
    pub fn apply(&mut self, state: &State) {
        self.try_apply(state).unwrap_or_else(|error| panic!("apply: {error:?}"));
    }

    /// As [`Pair::apply`], of a state that may be refused.
    pub fn try_apply(&mut self, state: &State) -> std::result::Result<(), ApplyError> {
        let applied = self.kernel.set_forwarding(&state.forwarding, &state.next_hops);
        // What this second spent, and where first fragments went, outlives a change of state.
        let before = std::mem::replace(&mut self.host, self.kernel.snapshot().unwrap());
        self.host.budgets = before.budgets;
        self.host.fragments = before.fragments;
        self.host.learned = before.learned;
        if let Some(recorder) = &mut self.recorder {
            recorder.state(state);
        }
        applied.map(drop)
    }

    /// Lets seconds pass on both sides.
    pub fn pass(&mut self, seconds: u64) {
        self.kernel.pass(seconds);
        self.kernel.copy_flows(&self.host);
        self.host.budgets.lock().unwrap().clear();
        self.host.learned.store(0, Ordering::Relaxed);
        if let Some(recorder) = &mut self.recorder {
            recorder.pass(seconds);
        }
    }

    /// Runs `frame` on both and demands the same verdict, the same frame, and the counters that belong to them.
    pub fn run(&mut self, frame: &[u8]) -> Result {
        let before = self.kernel.counters().unwrap();
        let result = self.compare(frame).unwrap_or_else(|difference| panic!("{difference}"));
        let after = self.kernel.counters().unwrap();
        check_counters(&before, &after, result.0.verdict, result.1, frame.len());
        let is_handed = result.0.verdict == Verdict::PassToClone;
        let copies = if is_handed { self.copies(&result.0.frame) } else { Vec::new() };
        if let Some(recorder) = &mut self.recorder {
            recorder.frame(frame, &result.0, copies);
        }
        result.0
    }

    /// As [`Pair::run`] with only `room` octets in front, a multiple of 4, and not recorded; of a pair that has run a frame.
    /// `None` where the kernel takes no metadata that leaves so little (6.1).
    pub fn run_in(&mut self, frame: &[u8], room: usize) -> Option<Result> {
        let metadata = u8::try_from(HostPacket::ROOM - room).unwrap();
        let before = self.kernel.counters().unwrap();
        let ran = match self.kernel.run_behind(frame, metadata) {
            Ok(ran) => ran,
            Err(error) if self.metadata == 0 => panic!("{metadata} octets of metadata: {error}"),
            Err(_) => return None,
        };
        let result = self.agree(frame, room, ran).unwrap_or_else(|difference| panic!("{difference}"));
        check_counters(&before, &self.kernel.counters().unwrap(), result.0.verdict, result.1, frame.len());
        Some(result.0)
    }

    /// As [`Pair::run`] without counters, and not recorded; a difference comes back in words.
    pub fn compare(&mut self, frame: &[u8]) -> std::result::Result<(Result, Option<Count>), String> {
        // Nothing ran where the kernel refuses so much.
        let (metadata, ran) = METADATA[self.metadata..]
            .iter()
            .find_map(|&metadata| Some((metadata, self.kernel.run_behind(frame, metadata).ok()?)))
            .unwrap_or_else(|| (0, self.kernel.run(frame).unwrap()));
        self.metadata = METADATA.iter().position(|&m| m == metadata).unwrap_or(self.metadata);
        self.agree(frame, HostPacket::ROOM - usize::from(metadata), ran)
    }

    /// What both made of `frame` with so much room, if the kernel made `ran` of it.
    fn agree(
        &mut self,
        frame: &[u8],
        room: usize,
        ran: Ran,
    ) -> std::result::Result<(Result, Option<Count>), String> {
        *self.host.counted.lock().unwrap() = None;
        let mut packet = HostPacket::with_room(frame, LOOPBACK, room);
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

    /// The copies that are made of a frame that was handed over, as the host makes them.
    pub fn copies(&self, handed: &[u8]) -> Vec<Left> {
        let mut carrier = HostCarrier::new(handed);
        assert!(clone::copies(&mut carrier, &self.host), "handed over");
        carrier.left
    }

    /// Whether both flow tables hold the same.
    pub fn same_flows(&mut self) -> bool {
        let fresh = self.kernel.snapshot().unwrap();
        fresh.flows.iter().zip(&self.host.flows).all(|(a, b)| {
            a.iter().zip(b.iter()).all(|(a, b)| a.load(Ordering::Relaxed) == b.load(Ordering::Relaxed))
        })
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if let Some(recorder) = self.recorder.take()
            && !std::thread::panicking()
        {
            recorder.replay();
        }
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
