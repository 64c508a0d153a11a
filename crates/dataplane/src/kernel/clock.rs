// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's clock as programs see it: jiffies, HZ and the 14-bit tick.

use aya::programs::{ProgramError, Xdp};
use weir_dataplane_core::flow::TICK_MASK;

use super::test_run::test_run;

/// Why the clock could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// The clock program did not run.
    #[error("run the clock program")]
    Run(#[from] ProgramError),
    /// It gave no jiffies.
    #[error("the clock program gave action {action} and {octets} octets")]
    Answer {
        /// XDP action.
        action: u32,
        /// Length of the frame.
        octets: usize,
    },
    /// The length of a jiffy is not to be had.
    #[error("ask for the resolution of the kernel's coarse clock")]
    Resolution(#[source] std::io::Error),
}

/// The kernel's jiffies, by running `clock`.
///
/// # Errors
/// [`ClockError::Run`], [`ClockError::Answer`].
pub fn jiffies(clock: &Xdp) -> Result<u64, ClockError> {
    let ran = test_run(clock, &[0; 64], 1)?;
    match ran.frame.first_chunk::<8>() {
        Some(octets) if ran.action == 2 => Ok(u64::from_ne_bytes(*octets)),
        _ => Err(ClockError::Answer { action: ran.action, octets: ran.frame.len() }),
    }
}

/// HZ of the running kernel. The coarse clocks advance once a jiffy, and the kernel says so (`clock_getres(2)`): exact, so
/// that a daemon which adopts a flow table counts the same ticks as the one before it.
///
/// # Errors
/// [`ClockError::Resolution`].
pub fn hz() -> Result<u32, ClockError> {
    const SECOND_NS: libc::c_long = 1_000_000_000;
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, which outlives it.
    let status = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut resolution) };
    if status != 0 {
        return Err(ClockError::Resolution(std::io::Error::last_os_error()));
    }
    // Nanoseconds of a jiffy are rounded (HZ 300: 3,333,333), and so is this.
    let jiffy_ns = resolution.tv_nsec;
    let hz = if resolution.tv_sec == 0 { (SECOND_NS + jiffy_ns / 2).checked_div(jiffy_ns) } else { None };
    hz.and_then(|hz| u32::try_from(hz).ok())
        .ok_or_else(|| ClockError::Resolution(std::io::Error::from_raw_os_error(libc::ERANGE)))
}

/// The factor that programs multiply jiffies with: 2^32 / HZ.
pub fn tick_factor(hz: u32) -> u64 {
    (1 << 32) / u64::from(hz)
}

/// The tick of `jiffies`, as programs compute it.
pub fn tick(jiffies: u64, factor: u64) -> u16 {
    u16::try_from(jiffies.wrapping_mul(factor) >> 32 & u64::from(TICK_MASK)).expect("masked to 14 bits")
}
