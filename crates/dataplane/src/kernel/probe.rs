// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether the running kernel has what the programs need, found by trying: a small map or program of each kind is made and let
//! go. Nothing is attached or pinned, and no interface is asked for.
//!
//! ```text
//! Feature::ALL ─► attempt (bpf(2)) ─► Report ─► decide: go on, or a refusal that names everything that is missing
//! ```
//! Versions in this file only explain: distributions carry features back, and configurations leave them out. What cannot be
//! tried without touching an interface follows from another answer: pinned XDP links (5.9) are older than [`Feature::XdpFrags`].

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use super::unlink::bpf;

/// The oldest kernel that Weir is tried on. An older one that has every feature is not refused, but said.
pub const FLOOR: (u32, u32) = (6, 1);

/// Something that a kernel has or lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Hash maps: services.
    Hash,
    /// Arrays that user space maps into its memory: flows, rows, backends.
    MmapableArray,
    /// Arrays with a value for each CPU: counters.
    PerCpuArray,
    /// Tables of programs: the steps behind the first program.
    ProgramArray,
    /// Longest-prefix tries: prefix VIPs, and who may send to an agent.
    LpmTrie,
    /// Hash maps that evict: where first fragments went.
    LruHash,
    /// Tables of interfaces: packets that leave by another uplink.
    DeviceMap,
    /// XDP programs for frames in several buffers.
    XdpFrags,
    /// The length of such a frame.
    FrameLength,
    /// Compare-exchange in programs: flow slots.
    CompareExchange,
    /// The kernel's jiffies: ages of flows.
    Jiffies,
    /// Programs of traffic control that leave finding the neighbour to the kernel: health checks.
    RedirectNeighbour,
    /// Running a program over one packet: the clock, and verifying services.
    TestRun,
    /// Programs of traffic control by a link.
    Tcx,
    /// The kernel's types, for whoever looks at programs and maps.
    Btf,
}

impl Feature {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 15] = [
        Self::Hash,
        Self::MmapableArray,
        Self::PerCpuArray,
        Self::ProgramArray,
        Self::LpmTrie,
        Self::LruHash,
        Self::DeviceMap,
        Self::XdpFrags,
        Self::FrameLength,
        Self::CompareExchange,
        Self::Jiffies,
        Self::RedirectNeighbour,
        Self::TestRun,
        Self::Tcx,
        Self::Btf,
    ];

    /// What an operator would look for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash maps",
            Self::MmapableArray => "memory-mapped arrays",
            Self::PerCpuArray => "per-CPU arrays",
            Self::ProgramArray => "program arrays",
            Self::LpmTrie => "longest-prefix tries",
            Self::LruHash => "LRU hash maps",
            Self::DeviceMap => "device maps",
            Self::XdpFrags => "XDP for frames in several buffers (xdp.frags)",
            Self::FrameLength => "helper bpf_xdp_get_buff_len",
            Self::CompareExchange => "compare-exchange in programs",
            Self::Jiffies => "helper bpf_jiffies64",
            Self::RedirectNeighbour => "helper bpf_redirect_neigh",
            Self::TestRun => "test runs of XDP programs",
            Self::Tcx => "traffic control by links (tcx)",
            Self::Btf => "types of the kernel (BTF)",
        }
    }

    /// The mainline kernel that brought it.
    pub const fn since(self) -> &'static str {
        match self {
            Self::Hash => "3.19",
            Self::ProgramArray => "4.2",
            Self::PerCpuArray => "4.6",
            Self::LruHash => "4.10",
            Self::LpmTrie => "4.11",
            Self::TestRun => "4.12",
            Self::Btf => "5.2",
            Self::DeviceMap => "5.4",
            Self::MmapableArray => "5.5",
            Self::Jiffies => "5.6",
            Self::RedirectNeighbour => "5.10",
            Self::CompareExchange => "5.12",
            Self::XdpFrags | Self::FrameLength => "5.18",
            Self::Tcx => "6.6",
        }
    }

    /// Whether Weir works without it: then something else is used, or nothing is lost but a view.
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::Tcx | Self::Btf)
    }
}

/// What trying a feature said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The kernel has it.
    Present,
    /// The kernel lacks it, or it is left out of its configuration.
    Absent,
    /// The kernel did not let us try.
    Forbidden,
    /// Something else went wrong, by the number of the error; the real thing will tell.
    Unclear(i32),
}

impl Answer {
    /// The answer that the result of an attempt stands for.
    fn of(attempt: &io::Result<()>) -> Self {
        let Err(error) = attempt else { return Self::Present };
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden,
            // An unknown map type, program flag, command, helper or instruction.
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOENT) => Self::Absent,
            other => Self::Unclear(other.unwrap_or(0)),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("yes"),
            Self::Absent => f.write_str("no"),
            Self::Forbidden => f.write_str("not allowed to try"),
            Self::Unclear(code) => write!(f, "unclear: {}", io::Error::from_raw_os_error(*code)),
        }
    }
}

/// Why this kernel will not do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProbeError {
    /// The process may not use bpf(2).
    #[error(
        "the kernel ({kernel}) does not let this process use bpf(2): it needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON in the \
         machine's own user namespace, or root there"
    )]
    Rights {
        /// What `uname -r` says.
        kernel: String,
    },
    /// Features are missing.
    #[error(
        "the kernel ({kernel}) lacks what Weir needs: {}. Every kernel from {}.{} of Debian has all of it",
        named(missing), FLOOR.0, FLOOR.1
    )]
    Missing {
        /// What `uname -r` says.
        kernel: String,
        /// All that is missing.
        missing: Vec<Feature>,
    },
}

fn named(missing: &[Feature]) -> String {
    let named: Vec<String> =
        missing.iter().map(|feature| format!("{} (Linux {})", feature.name(), feature.since())).collect();
    named.join(", ")
}

/// What was found out about a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What `uname -r` says.
    pub kernel: String,
    /// Each feature with its answer, in the order of [`Feature::ALL`].
    pub answers: Vec<(Feature, Answer)>,
}

impl Report {
    /// Tries everything on the running kernel. Takes a few milliseconds.
    pub fn of_this_kernel() -> Self {
        Self::by(release(), attempt)
    }

    /// Tries everything by `attempt`.
    fn by(kernel: String, mut attempt: impl FnMut(Feature) -> io::Result<()>) -> Self {
        let answers =
            Feature::ALL.into_iter().map(|feature| (feature, Answer::of(&attempt(feature)))).collect();
        Self { kernel, answers }
    }

    /// Whether the kernel has `feature`.
    pub fn has(&self, feature: Feature) -> bool {
        self.answers.contains(&(feature, Answer::Present))
    }

    /// Whether the kernel is older than any that Weir is tried on; false if its name does not say.
    pub fn is_below_floor(&self) -> bool {
        let mut numbers =
            self.kernel.split(|c: char| !c.is_ascii_digit()).map_while(|word| word.parse().ok());
        match (numbers.next(), numbers.next()) {
            (Some(major), Some(minor)) => (major, minor) < FLOOR,
            _ => false,
        }
    }

    /// Whether Weir can run here. Unclear answers do not keep it from trying.
    ///
    /// # Errors
    /// [`ProbeError`], with everything that is missing.
    pub fn decide(&self) -> Result<(), ProbeError> {
        let needed = |answer: Answer| {
            let features = self.answers.iter().filter(move |(f, a)| !f.is_optional() && *a == answer);
            features.map(|(feature, _)| *feature)
        };
        if needed(Answer::Forbidden).next().is_some() {
            return Err(ProbeError::Rights { kernel: self.kernel.clone() });
        }
        let missing: Vec<Feature> = needed(Answer::Absent).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(ProbeError::Missing { kernel: self.kernel.clone(), missing })
        }
    }
}

/// Tries everything, says in the log what was found, and refuses a kernel that will not do. To be asked before anything is
/// touched.
///
/// # Errors
/// [`ProbeError`].
pub fn demand() -> Result<Report, ProbeError> {
    let report = Report::of_this_kernel();
    report.decide()?;
    let has_tcx = report.has(Feature::Tcx);
    tracing::info!(kernel = report.kernel, tcx = has_tcx, "kernel has what the dataplane needs");
    if report.is_below_floor() {
        let floor = format!("{}.{}", FLOOR.0, FLOOR.1);
        tracing::warn!(kernel = report.kernel, floor, "kernel is older than any that Weir was tried on");
    }
    for (feature, answer) in &report.answers {
        if let Answer::Unclear(_) = answer {
            tracing::warn!(feature = feature.name(), %answer, "feature of the kernel could not be tried");
        }
    }
    Ok(report)
}

/// What `uname -r` says.
fn release() -> String {
    // SAFETY: arrays of characters; zero octets are empty strings.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the call fills one `utsname`, which outlives it.
    if unsafe { libc::uname(&raw mut names) } != 0 {
        return String::from("unknown");
    }
    // SAFETY: the kernel ends every string with a NUL, inside its array.
    unsafe { std::ffi::CStr::from_ptr(names.release.as_ptr()) }.to_string_lossy().into_owned()
}

// Commands, map types, program types and flags of bpf(2): include/uapi/linux/bpf.h.
const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_LINK_CREATE: libc::c_long = 28;
const MAP_HASH: u32 = 1;
const MAP_ARRAY: u32 = 2;
const MAP_PROG_ARRAY: u32 = 3;
const MAP_PERCPU_ARRAY: u32 = 6;
const MAP_LRU_HASH: u32 = 9;
const MAP_LPM_TRIE: u32 = 11;
const MAP_DEVMAP_HASH: u32 = 25;
const NO_PREALLOC: u32 = 1;
const MMAPABLE: u32 = 1 << 10;
const PROG_SCHED_CLS: u32 = 3;
const PROG_XDP: u32 = 6;
const XDP_HAS_FRAGS: u32 = 1 << 5;
const TCX_EGRESS: u32 = 47;
const FN_JIFFIES64: u32 = 118;
const FN_REDIRECT_NEIGH: u32 = 152;
const FN_XDP_GET_BUFF_LEN: u32 = 188;

/// An interface that cannot be: indexes are positive.
const NO_INTERFACE: u32 = i32::MAX as u32;

#[repr(C)]
struct MapCreate {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
}

#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instructions: u32,
    code: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct TestRun {
    program: u32,
    result: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// Tries one feature on the running kernel.
fn attempt(feature: Feature) -> io::Result<()> {
    match feature {
        Feature::Hash => map(MAP_HASH, 8, 8, 0),
        Feature::MmapableArray => map(MAP_ARRAY, 4, 8, MMAPABLE),
        Feature::PerCpuArray => map(MAP_PERCPU_ARRAY, 4, 8, 0),
        Feature::ProgramArray => map(MAP_PROG_ARRAY, 4, 4, 0),
        Feature::LpmTrie => map(MAP_LPM_TRIE, 8, 8, NO_PREALLOC),
        Feature::LruHash => map(MAP_LRU_HASH, 8, 8, 0),
        Feature::DeviceMap => map(MAP_DEVMAP_HASH, 4, 8, 0),
        Feature::XdpFrags => program(PROG_XDP, XDP_HAS_FRAGS, &PASS).map(drop),
        Feature::FrameLength => program(PROG_XDP, 0, &calling(FN_XDP_GET_BUFF_LEN)).map(drop),
        Feature::CompareExchange => program(PROG_XDP, 0, &COMPARE_EXCHANGE).map(drop),
        Feature::Jiffies => program(PROG_XDP, 0, &calling(FN_JIFFIES64)).map(drop),
        Feature::RedirectNeighbour => program(PROG_SCHED_CLS, 0, &calling(FN_REDIRECT_NEIGH)).map(drop),
        Feature::TestRun => test_run(),
        Feature::Tcx => tcx(),
        Feature::Btf => std::fs::metadata("/sys/kernel/btf/vmlinux").map(drop),
    }
}

fn map(kind: u32, key: u32, value: u32, flags: u32) -> io::Result<()> {
    let made = bpf(BPF_MAP_CREATE, &mut MapCreate { kind, key, value, entries: 1, flags })?;
    owned(made).map(drop)
}

/// `r0 = 2` (XDP_PASS), `exit`.
const PASS: [u64; 2] = [set(0, 2), EXIT];

/// Swaps a word of the stack: `*(u64 *)(fp - 8) = 0; r0 = 0; r2 = 1; lock cmpxchg(fp - 8, r0, r2); r0 = 2; exit`.
const COMPARE_EXCHANGE: [u64; 6] = [
    // BPF_ST | BPF_MEM | BPF_DW, register 10, offset -8, value 0
    0x7a | 10 << 8 | 0xfff8 << 16,
    set(0, 0),
    set(2, 1),
    // BPF_STX | BPF_ATOMIC | BPF_DW, registers 10 and 2, offset -8, BPF_CMPXCHG
    0xdb | (10 | 2 << 4) << 8 | 0xfff8 << 16 | 0xf1 << 32,
    set(0, 2),
    EXIT,
];

const EXIT: u64 = 0x95;

/// `register = value`: BPF_ALU64 | BPF_MOV | BPF_K.
const fn set(register: u64, value: u64) -> u64 {
    0xb7 | register << 8 | value << 32
}

/// Calls a helper and returns 2. The context stays in `r1`, for helpers that want it; `r2` to `r4` are zero, as
/// `bpf_redirect_neigh` takes them, whose interface is a number.
fn calling(helper: u32) -> [u64; 7] {
    // `r1` of bpf_redirect_neigh is any number, and a pointer is no number to the verifier.
    let first = if helper == FN_REDIRECT_NEIGH { set(1, 1) } else { set(5, 0) };
    [first, set(2, 0), set(3, 0), set(4, 0), 0x85 | u64::from(helper) << 32, set(0, 2), EXIT]
}

fn program(kind: u32, flags: u32, code: &[u64]) -> io::Result<OwnedFd> {
    let mut argument = ProgramLoad {
        kind,
        instructions: u32::try_from(code.len()).map_err(io::Error::other)?,
        code: code.as_ptr() as u64,
        licence: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags,
    };
    owned(bpf(BPF_PROG_LOAD, &mut argument)?)
}

fn test_run() -> io::Result<()> {
    let program = program(PROG_XDP, 0, &PASS)?;
    let frame = [0_u8; 64];
    let mut run = TestRun {
        program: number(&program)?,
        result: 0,
        size_in: u32::try_from(frame.len()).map_err(io::Error::other)?,
        size_out: 0,
        data_in: frame.as_ptr() as u64,
        data_out: 0,
        repeat: 1,
        duration: 0,
    };
    bpf(BPF_PROG_TEST_RUN, &mut run).map(drop)
}

/// Asks for a link on an interface that cannot be. A kernel with such links looks for it in vain; another does not know the kind.
fn tcx() -> io::Result<()> {
    let program = program(PROG_SCHED_CLS, 0, &PASS)?;
    let mut argument =
        LinkCreate { program: number(&program)?, interface: NO_INTERFACE, attach_type: TCX_EGRESS, flags: 0 };
    match bpf(BPF_LINK_CREATE, &mut argument) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        Err(error) => Err(error),
        Ok(link) => owned(link).map(drop),
    }
}

fn owned(descriptor: libc::c_long) -> io::Result<OwnedFd> {
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel just gave this descriptor to us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn number(descriptor: &OwnedFd) -> io::Result<u32> {
    u32::try_from(descriptor.as_raw_fd()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kernel: &str, wrong: &[(Feature, i32)]) -> Report {
        Report::by(kernel.to_owned(), |feature| {
            let found = wrong.iter().find(|(other, _)| *other == feature);
            found.map_or(Ok(()), |(_, code)| Err(io::Error::from_raw_os_error(*code)))
        })
    }

    #[test]
    fn a_whole_kernel_will_do() {
        let report = report("6.1.0-50-cloud-amd64", &[]);
        assert_eq!(report.decide(), Ok(()));
        assert!(!report.is_below_floor() && report.has(Feature::Tcx));
    }

    #[test]
    fn a_refusal_names_kernel_and_all_that_is_missing() {
        let wrong = [
            (Feature::XdpFrags, libc::EINVAL),
            (Feature::FrameLength, libc::EINVAL),
            (Feature::Tcx, libc::EINVAL),
        ];
        let report = report("5.10.0-33-amd64", &wrong);
        let error = report.decide().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the kernel (5.10.0-33-amd64) lacks what Weir needs: XDP for frames in several buffers (xdp.frags) (Linux 5.18), \
             helper bpf_xdp_get_buff_len (Linux 5.18). Every kernel from 6.1 of Debian has all of it"
        );
        assert!(report.is_below_floor());
    }

    #[test]
    fn what_is_optional_is_not_missed() {
        let report = report("6.1.0", &[(Feature::Tcx, libc::EINVAL), (Feature::Btf, libc::ENOENT)]);
        assert_eq!(report.decide(), Ok(()));
        assert!(!report.has(Feature::Tcx));
    }

    #[test]
    fn missing_rights_are_not_taken_for_a_missing_feature() {
        let wrong = [(Feature::LpmTrie, libc::EPERM), (Feature::XdpFrags, libc::EINVAL)];
        let error = report("6.1.0", &wrong).decide().unwrap_err();
        assert_eq!(error, ProbeError::Rights { kernel: "6.1.0".to_owned() });
        assert!(error.to_string().contains("CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"));
    }

    #[test]
    fn what_is_unclear_is_left_to_the_real_thing() {
        let report = report("6.1.0", &[(Feature::Hash, libc::ENOMEM)]);
        assert_eq!(report.decide(), Ok(()));
        assert_eq!(report.answers[0].1, Answer::Unclear(libc::ENOMEM));
    }

    #[test]
    fn versions_are_compared_by_number() {
        let is_below = |kernel: &str| report(kernel, &[]).is_below_floor();
        assert!(is_below("5.19.0") && is_below("6.0.19-custom"));
        assert!(
            !is_below("6.1.0") && !is_below("6.12.117+deb12") && !is_below("10.0") && !is_below("mystery")
        );
    }

    #[test]
    fn features_are_listed_once_with_what_is_said_of_them() {
        for (number, feature) in Feature::ALL.into_iter().enumerate() {
            assert!(Feature::ALL[number + 1..].iter().all(|other| other.name() != feature.name()));
            assert!(feature.since().split('.').all(|word| word.parse::<u32>().is_ok()));
        }
    }
}
