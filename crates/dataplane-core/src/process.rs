// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A frame's way through the packet logic, in steps that the kernel runs as programs of their own.
//!
//! ```text
//!            ┌──────────────── a verdict ───────────────────────────────────────────────┐
//! frame ─► ingress ── plain packet of a plain service: IP in IP of one family ──────────┼─► Outcome
//!            │   └─ Plan ──────────────────────────────┐                                │
//!            └─ anything else for a VIP ─► slow ─ Plan ─┴─► encap ─────────────────────►│
//!                                           └─ Plan ────────┴─ too big ─► answer ──────►┘
//! ```
//!
//! [`Step::Slow`] starts from the frame again, which is unchanged. The later steps start from a [`Plan`] that the step
//! before left in the tables ([`Tables::set_plan`]), so that nothing is parsed or decided twice. What is not plain costs
//! the plain path nothing but the branch to here, and the verifier looks at each step by itself.
//!
//! The verdict is all that the many early exits carry: services and backends are counted where they are known
//! ([`Tables::count`]), not on the way out. With every exit also carrying "no service, no backend, no length", a tenth of
//! the program was constants being set before branches.

use crate::Packet;
use crate::steer::{FlowTable, Steer};
use crate::tables::Tables;
use crate::verdict::Verdict;
use crate::{answer, encap, ingress, slow};

/// What is to be done with the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How it leaves.
    pub verdict: Verdict,
    /// Interface it leaves by, when forwarded; else 0.
    pub egress_ifindex: u32,
}

/// How a step ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The packet is decided about.
    Done(Outcome),
    /// The slow path decides; the frame is unchanged.
    Slow,
    /// Encapsulated by the plan that was set.
    Encap,
    /// Answered to its sender by the plan that was set; the frame is unchanged.
    Answer,
}

/// Why a step's decision ends early: small, since every early exit carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The packet is decided about.
    Verdict(Verdict),
    /// See [`Step::Slow`].
    Slow,
    /// See [`Step::Encap`].
    Encap,
    /// See [`Step::Answer`].
    Answer,
}

impl From<Verdict> for Exit {
    #[inline(always)]
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl From<Result<(Verdict, u32), Exit>> for Step {
    #[inline(always)]
    fn from(decided: Result<(Verdict, u32), Exit>) -> Self {
        match decided {
            Ok((verdict, egress_ifindex)) => Self::Done(Outcome { verdict, egress_ifindex }),
            Err(Exit::Verdict(verdict)) => Self::Done(Outcome { verdict, egress_ifindex: 0 }),
            Err(Exit::Slow) => Self::Slow,
            Err(Exit::Encap) => Self::Encap,
            Err(Exit::Answer) => Self::Answer,
        }
    }
}

/// What a packet for a service adds to the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Counter index of the service.
    pub service: u32,
    /// Id of the backend it goes to, 0 when it is dropped.
    pub backend: u16,
    /// Octets of the IP packet from the client.
    pub ip_len: u32,
    /// Whether the flow table has a new entry.
    pub is_new_flow: bool,
}

impl Count {
    /// Index of no service: only the backend is counted.
    pub const NOBODY: u32 = u32::MAX;
}

/// Decides about a frame and turns it into the frame that leaves, all steps in one.
pub fn process<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Outcome {
    process_by::<P, T, FlowTable>(packet, tables)
}

/// As [`process`], with another way to choose backends on the plain path.
pub fn process_by<P: Packet, T: Tables, S: Steer>(packet: &mut P, tables: &T) -> Outcome {
    let mut step = ingress::ingress::<P, T, S>(packet, tables);
    // Each step only goes on to a later one.
    loop {
        step = match step {
            Step::Done(outcome) => return outcome,
            Step::Slow => slow::slow(packet, tables),
            Step::Encap => encap::encap(packet, tables),
            Step::Answer => answer::answer(packet, tables),
        };
    }
}
