// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames through a private copy of the program, one after the other: what becomes of each, and the frame that would leave.
//!
//! ```text
//! frame, time ─► Replay::run ─┬─► loaded program, own tables (test run) ─► action, frame, counters ─┐
//!                             └─► the same logic on the host, a copy of the tables ─► names, row ───┴─► Decision
//! ```
//!
//! The kernel's answer counts. The host adds what no counter tells (which service, which row), and where the two disagree
//! that is said: they are one source compiled twice, so a difference is a defect. Nothing is attached, pinned or sent, and
//! nothing here knows documents or capture files. Time is the frames' own; see [`Dataplane::open_private`].

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aya::maps::MapError;
use aya::programs::ProgramError;
use weir_dataplane_core::bytes::PoolValue;
use weir_dataplane_core::{Action, Count, Outcome, Row, Verdict, clone, process};

use crate::config::DataplaneConfig;
use crate::dataplane::{Applied, ApplyError, Dataplane, FixRowsError, NextHops, OpenError};
use crate::forwarding::ForwardingState;
use crate::host::{HostCarrier, HostPacket, HostTables};
use crate::kernel::clock::ClockError;
use crate::kernel::cpu;
use crate::kernel::link::AttachError;

/// Interface index of the loopback device, in every network namespace: what the kernel says test frames come in by.
pub const INGRESS: u32 = 1;
/// Shortest frame that the kernel takes in a test run: an Ethernet header.
pub const FRAME_MIN: usize = 14;
/// Longest one that is tried: beyond a page the kernel makes buffers of a page each, at most seventeen.
pub const FRAME_MAX: usize = 65_536;

/// Why a frame was not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No program can be run over it.
    #[error("a frame of {found} octets; {FRAME_MIN} to {FRAME_MAX} can be run")]
    Length {
        /// Its length.
        found: usize,
    },
    /// The kernel refused the run.
    #[error("run the program over a frame of {length} octets")]
    Run {
        /// Its length.
        length: usize,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// The counters could not be read.
    #[error("read the counters of verdicts")]
    Counters(#[source] Box<MapError>),
}

/// Why a state is not in force.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// It cannot be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Rows could not be fixed.
    #[error(transparent)]
    Rows(#[from] FixRowsError),
    /// An uplink could not be pretended.
    #[error(transparent)]
    Uplink(#[from] AttachError),
    /// The clock could not be read.
    #[error(transparent)]
    Clock(#[from] ClockError),
}

/// A desired state, and what of the world is given instead of found out.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// What the dataplane shall do.
    pub state: ForwardingState,
    /// Next hops by backend address. [`INGRESS`] is the interface that frames come in by; any other number, one that they
    /// may leave by.
    pub next_hops: NextHops,
    /// Pools whose every row holds certain backends, best first.
    pub rows: Vec<(String, Vec<String>)>,
    /// Interfaces that frames may leave by, beside [`INGRESS`].
    pub uplinks: Vec<u32>,
}

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// How it ended, by the kernel's counters.
    pub verdict: Verdict,
    /// The frame that would leave, when it is forwarded or answered.
    pub frame: Option<Vec<u8>>,
    /// What became of each candidate's copy, of a frame that was handed over for copies.
    pub copies: Vec<Copied>,
    /// The interface it would leave by: [`INGRESS`] or one of [`Setting::uplinks`]; 0 when it does not leave.
    pub egress: u32,
    /// The service it belongs to.
    pub service: Option<String>,
    /// Pool and name of the backend it goes to.
    pub backend: Option<(String, String)>,
    /// Whether its flow was remembered by it.
    pub is_new_flow: bool,
    /// The row that was asked, when one was.
    pub row: Option<RowAsked>,
    /// What the host made of it, if that is something else: a defect.
    pub difference: Option<String>,
}

/// A copy of a frame for one candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// How it ended.
    pub verdict: Verdict,
    /// Pool and name of the backend it goes to; `None` when it goes nowhere.
    pub backend: Option<(String, String)>,
    /// The interface it would leave by, 0 when it does not leave.
    pub egress: u32,
    /// The frame that would leave.
    pub frame: Option<Vec<u8>>,
}

/// A row of a pool, and where in it the backend stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowAsked {
    /// Its index in the pool's table.
    pub index: u32,
    /// Place of the backend, from 0; `None` if it is not in the row.
    pub position: Option<u8>,
}

/// A private copy that frames are fed to.
pub struct Replay {
    dataplane: Dataplane,
    host: HostTables,
    services: HashMap<u32, String>,
    backends: HashMap<u16, (String, String)>,
    /// Packets by verdict, as counted so far.
    counted: Vec<u64>,
    /// The whole second that the clock stands at.
    second: Option<u64>,
}

impl Replay {
    /// Loads the private copy, with nothing in its tables, and keeps the calling thread on one processor.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: DataplaneConfig) -> Result<Self, OpenError> {
        cpu::keep_to_one().map_err(OpenError::Processor)?;
        let mut dataplane = Dataplane::open_private(config)?;
        let host = dataplane.snapshot()?;
        Ok(Self {
            dataplane,
            host,
            services: HashMap::new(),
            backends: HashMap::new(),
            counted: vec![0; Verdict::ALL.len()],
            second: None,
        })
    }

    /// Puts a state in force; flows of the state before go on, as in a reload.
    ///
    /// # Errors
    /// [`SetError`].
    pub fn set(&mut self, setting: &Setting) -> Result<Applied, SetError> {
        for &ifindex in &setting.uplinks {
            self.dataplane.pretend_uplink(ifindex)?;
        }
        let applied = self.dataplane.set_forwarding(&setting.state, &setting.next_hops)?;
        for (pool, backends) in &setting.rows {
            self.dataplane.fix_rows(pool, backends)?;
        }
        let names = self.dataplane.service_ids();
        self.services = names.into_iter().map(|(name, id)| (id, name)).collect();
        let names = self.dataplane.backend_ids();
        self.backends = names.iter().map(|(name, &id)| (id, name.clone())).collect();
        // What the last second spent, and where first fragments went, is not in a fresh copy.
        let fresh = self.dataplane.snapshot()?;
        let before = std::mem::replace(&mut self.host, fresh);
        self.host.budgets = before.budgets;
        self.host.fragments = before.fragments;
        self.host.learned = before.learned;
        Ok(applied)
    }

    /// Brings the clock to `time`, whole seconds of which count; it is never turned back.
    pub fn set_time(&mut self, time: Duration) {
        let second = time.as_secs();
        let passed = self.second.map_or(0, |before| second.saturating_sub(before));
        self.second = Some(self.second.map_or(second, |before| before.max(second)));
        self.pass(passed);
    }

    /// Lets `seconds` pass.
    pub fn pass(&mut self, seconds: u64) {
        if seconds > 0 {
            self.dataplane.pass(seconds);
            self.dataplane.copy_flows(&self.host);
            self.host.budgets.lock().expect("nobody panics while holding it").clear();
            self.host.learned.store(0, Ordering::Relaxed);
        }
    }

    /// Runs one frame.
    ///
    /// # Errors
    /// [`RunError`]; the frame had no effect then, unless only the counters could not be read.
    pub fn run(&mut self, frame: &[u8]) -> Result<Decision, RunError> {
        if !(FRAME_MIN..=FRAME_MAX).contains(&frame.len()) {
            return Err(RunError::Length { found: frame.len() });
        }
        let failed = |source| RunError::Run { length: frame.len(), source: Box::new(source) };
        let ran = self.dataplane.run(frame).map_err(failed)?;
        let (outcome, packet, count) = self.on_host(frame);
        let verdict = self.counted(outcome.verdict)?;
        let leaves = matches!(verdict.action(), Action::Forward | Action::Answer);
        let difference = (verdict != outcome.verdict
            || ran.action != xdp_action(outcome)
            || (ran.action != XDP_DROP && ran.frame != packet.frame()))
        .then(|| {
            format!(
                "the program gave {} (action {}), the host {} (action {})",
                verdict.name(),
                ran.action,
                outcome.verdict.name(),
                xdp_action(outcome)
            )
        });
        if difference.is_some() {
            self.dataplane.copy_flows(&self.host);
        }
        let backend = count.map_or(0, |count| count.backend);
        let row = self.row_asked(backend);
        let copies = if verdict == Verdict::PassToClone { self.copies(&ran.frame) } else { Vec::new() };
        Ok(Decision {
            verdict,
            frame: leaves.then_some(ran.frame),
            copies,
            egress: match verdict.action() {
                Action::Forward => outcome.egress_ifindex,
                Action::Answer => INGRESS,
                Action::Pass | Action::Drop => 0,
            },
            service: count.and_then(|count| self.services.get(&count.service).cloned()),
            backend: self.backends.get(&backend).cloned(),
            is_new_flow: count.is_some_and(|count| count.is_new_flow),
            row,
            difference,
        })
    }

    /// The private copy itself, to look at.
    pub fn dataplane(&mut self) -> &mut Dataplane {
        &mut self.dataplane
    }

    fn on_host(&mut self, frame: &[u8]) -> (Outcome, HostPacket, Option<Count>) {
        const UNPOISONED: &str = "nobody panics while holding it";
        *self.host.counted.lock().expect(UNPOISONED) = None;
        *self.host.row_asked.lock().expect(UNPOISONED) = None;
        let mut packet = HostPacket::new(frame, INGRESS);
        let outcome = process(&mut packet, &self.host);
        let counted = *self.host.counted.lock().expect(UNPOISONED);
        (outcome, packet, counted)
    }

    /// The copies of a frame that was handed over. The host makes them: the kernel's program would send them.
    fn copies(&mut self, handed: &[u8]) -> Vec<Copied> {
        const UNPOISONED: &str = "nobody panics while holding it";
        let mut carrier = HostCarrier::new(handed);
        if !clone::receive(&mut carrier, &self.host) {
            return Vec::new();
        }
        let mut copies = Vec::new();
        for position in 0..Row::CANDIDATES {
            *self.host.counted.lock().expect(UNPOISONED) = None;
            clone::copy_to(&mut carrier, &self.host, position);
            let to = self.host.counted.lock().expect(UNPOISONED).map_or(0, |count| count.backend);
            copies.extend(carrier.left.drain(..).map(|left| {
                let leaves = left.outcome.egress_ifindex != 0;
                Copied {
                    verdict: left.outcome.verdict,
                    backend: self.backends.get(&to).cloned(),
                    egress: left.outcome.egress_ifindex,
                    frame: leaves.then_some(left.frame),
                }
            }));
        }
        copies
    }

    /// The verdict whose counter went up; most likely `expected`.
    fn counted(&mut self, expected: Verdict) -> Result<Verdict, RunError> {
        let failed = |source| RunError::Counters(Box::new(source));
        let others = Verdict::ALL.iter().copied().filter(|verdict| *verdict != expected);
        for verdict in std::iter::once(expected).chain(others) {
            let packets = self.dataplane.packets(verdict).map_err(failed)?;
            let before = &mut self.counted[verdict as usize];
            if packets != *before {
                *before = packets;
                return Ok(verdict);
            }
        }
        // Aborted by the kernel: no verdict was counted.
        Ok(Verdict::DropInternal)
    }

    fn row_asked(&self, backend: u16) -> Option<RowAsked> {
        let asked = (*self.host.row_asked.lock().expect("nobody panics while holding it"))?;
        let region = |rows: &u64| {
            let (first, count) = PoolValue::region(*rows);
            (first..first.saturating_add(count)).contains(&asked).then_some(first)
        };
        let first = self.host.pools.iter().find_map(region)?;
        let row = self.host.rows.get(asked as usize)?;
        let position = row.ids().iter().position(|id| *id == backend && backend != 0);
        Some(RowAsked {
            index: asked - first,
            position: position.map(|position| u8::try_from(position).expect("one of four")),
        })
    }
}

/// XDP_DROP (include/uapi/linux/bpf.h).
const XDP_DROP: u32 = 1;

/// What the kernel program returns for `outcome`.
fn xdp_action(outcome: Outcome) -> u32 {
    match outcome.verdict.action() {
        Action::Drop => XDP_DROP,
        Action::Pass => 2,
        Action::Answer => 3,
        Action::Forward if outcome.egress_ifindex == INGRESS => 3,
        Action::Forward => 4,
    }
}
