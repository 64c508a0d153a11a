// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine: what it is, one core of it, and the time spent there.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

/// What figures were measured on.
pub struct Machine {
    /// Release of the running kernel.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
}

/// Reads what machine this is.
pub fn machine() -> Result<Machine> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's release")?;
    let cpus = std::fs::read_to_string("/proc/cpuinfo").context("the processor's model")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    Ok(Machine {
        kernel: kernel.trim().to_owned(),
        cpu: model.trim_start_matches([' ', '\t', ':']).to_owned(),
    })
}

/// Processor time of this thread, that of system calls included and that of other processes not. The kernel's own figure
/// of a test run is whole nanoseconds, which is 2 % of a floor; the system call around it adds a hundredth of one.
pub fn cpu_time() -> Result<Duration> {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Ok(Duration::new(u64::try_from(now.tv_sec)?, u32::try_from(now.tv_nsec)?))
}
