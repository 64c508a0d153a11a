// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Running a loaded program over one packet (`BPF_PROG_TEST_RUN`), attached or not.

use aya::programs::{ProgramError, TestRun, TestRunOptions, TestRunResult};

/// Room for what a program puts in front of a frame: it can be no more than the headroom (XDP_PACKET_HEADROOM).
const GROWTH_MAX: usize = 256;

/// What a run gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// What it returned. XDP actions: 0 aborted, 1 drop, 2 pass, 3 tx, 4 redirect.
    pub action: u32,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// Nanoseconds of one run, the mean over all repeats.
    pub duration_ns: u64,
}

/// Runs `program` `repeat` times over `frame` (14 octets or more). The packet is *not* restored between repeats.
///
/// # Errors
/// What the kernel says.
pub fn test_run<P>(program: &P, frame: &[u8], repeat: u32) -> Result<Ran, ProgramError>
where
    P: for<'o> TestRun<Opts<'o> = TestRunOptions<'o>, Result = TestRunResult>,
{
    let mut out = vec![0; frame.len() + GROWTH_MAX];
    let result = {
        let mut options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..Default::default() };
        options.repeat = repeat;
        program.test_run(options)?
    };
    out.truncate(result.data_size_out as usize);
    let duration_ns = u64::try_from(result.duration.as_nanos()).unwrap_or(u64::MAX);
    Ok(Ran { action: result.return_value, frame: out, duration_ns })
}
