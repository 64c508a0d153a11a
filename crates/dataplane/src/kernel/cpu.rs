// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The processor that the calling thread runs on: test runs happen there, and so use that one's per-CPU values.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps the calling thread on the last processor that it may use (the first one takes most interrupts), and gives its number.
///
/// # Errors
/// What the kernel said.
pub fn keep_to_one() -> io::Result<usize> {
    let allowed = sched_getaffinity(None)?;
    let cpu = (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu));
    let cpu = cpu.ok_or_else(|| io::Error::other("no processor is allowed"))?;
    let mut one = CpuSet::new();
    one.set(cpu);
    sched_setaffinity(None, &one)?;
    Ok(cpu)
}
