// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waiting until every program run that has begun is over.

use std::time::Duration;

/// `MEMBARRIER_CMD_GLOBAL` (include/uapi/linux/membarrier.h, kernel 4.3): returns after an RCU grace period.
const MEMBARRIER_CMD_GLOBAL: libc::c_long = 1;
/// What is waited instead where the call is refused (with isolated CPUs): program runs take microseconds.
const FALLBACK: Duration = Duration::from_millis(100);

/// Returns when every run of a program that began before the call has ended: programs run inside an RCU read section.
/// Takes milliseconds.
pub fn wait() {
    // SAFETY: no pointers; the call only waits.
    let status = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if status != 0 {
        std::thread::sleep(FALLBACK);
    }
}
