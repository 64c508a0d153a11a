// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One clock for several processes: the machine's monotonic one, as a duration since its start.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Now.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}
