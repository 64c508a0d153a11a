// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's clock as programs see it: jiffies, HZ and the 14-bit tick.

use std::time::{Duration, Instant};

use aya::programs::{ProgramError, Xdp};
use weir_dataplane_core::flow::TICK_MASK;

use super::test_run::test_run;

/// Rates that Linux can be built with (kernel/Kconfig.hz, and arm64's own).
const KNOWN_HZ: [u32; 6] = [100, 128, 250, 256, 300, 1000];
/// Jiffies that are counted to tell the rates apart: 25 tell 250 from 256 and 300 only roughly, see [`measure_hz`].
const JIFFIES_COUNTED: u64 = 50;
/// Longest time to wait for them: HZ 100 needs half a second.
const MEASURE_MAX: Duration = Duration::from_secs(2);

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
    /// Jiffies do not advance.
    #[error("the kernel's jiffies advanced by {jiffies} in {elapsed_ms} ms")]
    Stopped {
        /// Jiffies counted.
        jiffies: u64,
        /// Time taken.
        elapsed_ms: u128,
    },
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

/// HZ of the running kernel: counts jiffies over a stretch of time and takes the nearest rate a kernel can have.
///
/// It need not be exact: a tick that is 2 % short only makes idle times 2 % shorter.
///
/// # Errors
/// [`ClockError`]; [`ClockError::Stopped`] when jiffies stand still.
pub fn measure_hz(clock: &Xdp) -> Result<u32, ClockError> {
    // Begin and end on an edge, so that the error is one read and not one jiffy.
    let (first, started) = edge(clock)?;
    loop {
        let (now, at) = edge(clock)?;
        let (counted, elapsed) = (now.wrapping_sub(first), at - started);
        if counted >= JIFFIES_COUNTED {
            let rate = counted as f64 / elapsed.as_secs_f64();
            let nearest = KNOWN_HZ.into_iter().min_by(|a, b| {
                let distance = |hz: u32| (f64::from(hz) - rate).abs();
                distance(*a).total_cmp(&distance(*b))
            });
            return Ok(nearest.expect("the list is not empty"));
        }
        if elapsed > MEASURE_MAX {
            return Err(ClockError::Stopped { jiffies: counted, elapsed_ms: elapsed.as_millis() });
        }
    }
}

/// Waits until jiffies change, polling a tenth of a millisecond at a time.
fn edge(clock: &Xdp) -> Result<(u64, Instant), ClockError> {
    let before = jiffies(clock)?;
    let started = Instant::now();
    loop {
        let (now, at) = (jiffies(clock)?, Instant::now());
        if now != before {
            return Ok((now, at));
        }
        if at - started > MEASURE_MAX {
            return Err(ClockError::Stopped { jiffies: 0, elapsed_ms: (at - started).as_millis() });
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// The factor that programs multiply jiffies with: 2^32 / HZ.
pub fn tick_factor(hz: u32) -> u64 {
    (1 << 32) / u64::from(hz)
}

/// The tick of `jiffies`, as programs compute it.
pub fn tick(jiffies: u64, factor: u64) -> u16 {
    u16::try_from(jiffies.wrapping_mul(factor) >> 32 & u64::from(TICK_MASK)).expect("masked to 14 bits")
}
