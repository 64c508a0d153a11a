// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A place before the others on a loaded machine: `SCHED_RR` if it may be had (CAP_SYS_NICE or RLIMIT_RTPRIO, and a cgroup
//! with real-time), else a low nice value.

#![expect(unsafe_code, reason = "the calls that change a thread's scheduling have no safe wrapper here")]

use crate::status::Scheduling;

/// Nice value in place of real-time.
const NICE: i32 = -15;

/// Raises the calling thread as far as it may be, and says how far that was.
pub(super) fn raise(priority: Option<i32>) -> Scheduling {
    let Some(priority) = priority else { return Scheduling::Ordinary };
    if set_round_robin(priority) {
        return Scheduling::RealTime { priority };
    }
    // Ordinary threads wake up to 50 µs late on purpose, so that the kernel can gather timers; real-time ones do not.
    // SAFETY: takes integers only and changes nothing but the calling thread's slack.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_usize, 0_usize, 0_usize, 0_usize) };
    // SAFETY: takes integers only; on Linux the process number 0 means the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } == 0 {
        return Scheduling::Nice { value: NICE };
    }
    Scheduling::Ordinary
}

fn set_round_robin(priority: i32) -> bool {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: `parameters` lives over the call, which only reads it; 0 means the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const parameters) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_priority_is_an_ordinary_thread() {
        assert_eq!(raise(None), Scheduling::Ordinary);
    }

    #[test]
    fn a_priority_that_no_kernel_has_falls_back() {
        let scheduling = std::thread::spawn(|| raise(Some(1000))).join().expect("the thread ends");
        assert!(!matches!(scheduling, Scheduling::RealTime { .. }), "{scheduling}");
    }
}
