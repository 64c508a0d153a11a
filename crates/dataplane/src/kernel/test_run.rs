// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Running a loaded program over one packet (`BPF_PROG_TEST_RUN`), attached or not.

use aya::programs::{ProgramError, TestRun, TestRunOptions, TestRunResult};

/// Room for what a program puts in front of a frame: it can be no more than the headroom (XDP_PACKET_HEADROOM).
const GROWTH_MAX: usize = 256;

/// Content of metadata; see [`test_run_behind`].
const GARBAGE: u8 = 0xff;
/// `struct xdp_md` (include/uapi/linux/bpf.h): where frame, its end and metadata begin, then three words of interfaces.
const CONTEXT_LEN: usize = 24;

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

/// As [`test_run`] of an XDP program, once, behind `metadata` octets of 0xff: a multiple of 4, at most 32 on Linux 6.1.
///
/// Metadata moves along when a program makes room in front, and what it leaves is where the frame grows into. So the room is
/// filled, next to the frame, which is all zeros otherwise; and it is smaller by as much, which is how little room is tested.
///
/// # Errors
/// What the kernel says: EINVAL, and nothing ran, if it takes no such metadata.
pub fn test_run_behind<P>(program: &P, frame: &[u8], metadata: u8) -> Result<Ran, ProgramError>
where
    P: for<'o> TestRun<Opts<'o> = TestRunOptions<'o>, Result = TestRunResult>,
{
    let before = usize::from(metadata);
    let mut input = vec![GARBAGE; before];
    input.extend_from_slice(frame);
    let mut context = [0; CONTEXT_LEN];
    let end = u32::try_from(input.len()).unwrap_or(u32::MAX);
    context[..4].copy_from_slice(&u32::from(metadata).to_ne_bytes());
    context[4..8].copy_from_slice(&end.to_ne_bytes());
    let mut out = vec![0; input.len() + GROWTH_MAX];
    let options = TestRunOptions {
        data_in: Some(&input),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..Default::default()
    };
    let result = program.test_run(options)?;
    out.truncate(result.data_size_out as usize);
    out.drain(..before.min(out.len()));
    let duration_ns = u64::try_from(result.duration.as_nanos()).unwrap_or(u64::MAX);
    Ok(Ran { action: result.return_value, frame: out, duration_ns })
}
