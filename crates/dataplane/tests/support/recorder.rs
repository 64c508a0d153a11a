// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a pair was given and what it must give, told to `weir replay` in its own words: documents and a capture.
//!
//! Only in a test binary of the crate that has `weir`; elsewhere a recorder just counts.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_dataplane::host::Left;
use weir_dataplane_core::Action;

use super::bed::State;
use super::document::document;
use super::pair::Result;

/// The binary, known to test binaries of its crate alone.
const WEIR: Option<&str> = option_env!("CARGO_BIN_EXE_weir");
/// When the first frame comes, in seconds since 1970.
const START_S: u64 = 1_700_000_000;
/// Frames follow each other so fast.
const STEP_NS: u64 = 1_000;

/// Frames whose verdict, frame and counters were checked by pairs of this process.
pub static FIXTURES: AtomicU64 = AtomicU64::new(0);
/// Of these, those of which `weir replay` said the same.
pub static REPLAYED: AtomicU64 = AtomicU64::new(0);

/// A recording.
pub struct Recorder {
    second: u64,
    states: Vec<(u64, State)>,
    frames: Vec<(u64, Vec<u8>, Result, Vec<Left>)>,
}

impl Recorder {
    pub fn new() -> Self {
        Self { second: 0, states: Vec::new(), frames: Vec::new() }
    }

    /// The time of the next frame, in nanoseconds since the start.
    fn now_ns(&self) -> u64 {
        self.second * 1_000_000_000 + self.frames.len() as u64 * STEP_NS
    }

    pub fn state(&mut self, state: &State) {
        let now = self.now_ns();
        self.states.retain(|(at, _)| *at != now);
        self.states.push((now, state.clone()));
    }

    pub fn pass(&mut self, seconds: u64) {
        self.second += seconds;
    }

    /// What became of a frame, and of the copies of it.
    pub fn frame(&mut self, frame: &[u8], result: &Result, copies: Vec<Left>) {
        self.frames.push((self.now_ns(), frame.to_vec(), result.clone(), copies));
    }

    /// Replays all of it and demands what the pair saw.
    pub fn replay(self) {
        let count = self.frames.len() as u64;
        FIXTURES.fetch_add(count, Ordering::Relaxed);
        let Some(weir) = WEIR else { return };
        if count == 0 {
            return;
        }
        let folder = std::env::temp_dir().join(format!("replay-{}-{:p}", std::process::id(), &self));
        std::fs::create_dir_all(&folder).unwrap();
        let (input, output) = (folder.join("in.pcap"), folder.join("out.pcap"));
        let packets = self.frames.iter().map(|(at, frame, ..)| (START_S * 1_000_000_000 + at, &frame[..]));
        std::fs::write(&input, pcap(packets)).unwrap();
        let mut command = Command::new(weir);
        command.arg("replay").arg("--json");
        let begins = self.frames[0].0;
        for (index, (at, state)) in self.states.iter().enumerate() {
            let file = folder.join(format!("{index}.toml"));
            std::fs::write(&file, document(state)).unwrap();
            if index == 0 {
                command.arg("--config").arg(&file);
            } else {
                let since = at.saturating_sub(begins);
                let (seconds, nanos) = (since / 1_000_000_000, since % 1_000_000_000);
                command.arg("--then").arg(format!("{seconds}.{nanos:09}={}", file.display()));
            }
        }
        let ran = command.arg(&input).arg(&output).output().unwrap();
        let (lines, errors) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "weir replay: {errors}\n{lines}\nin {}", folder.display());
        self.compare(&lines, &read_pcap(&std::fs::read(&output).unwrap()));
        std::fs::remove_dir_all(&folder).unwrap();
        REPLAYED.fetch_add(count, Ordering::Relaxed);
    }

    fn compare(&self, lines: &str, left: &[Vec<u8>]) {
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), self.frames.len() + 1, "a line a frame, and the sum");
        let mut left = left.iter();
        for (line, (_, frame, expected, copies)) in lines.iter().zip(&self.frames) {
            let verdict = expected.verdict;
            assert_eq!(line["verdict"], verdict.name(), "{line} of {frame:02x?}");
            if matches!(verdict.action(), Action::Forward | Action::Answer) {
                assert_eq!(left.next(), Some(&expected.frame), "{line} of {frame:02x?}");
            }
            for copy in copies.iter().filter(|copy| copy.outcome.egress_ifindex != 0) {
                assert_eq!(left.next(), Some(&copy.frame), "a copy: {line} of {frame:02x?}");
            }
            let said: Vec<_> = line["copies"].as_array().into_iter().flatten().collect();
            assert_eq!(said.len(), copies.len(), "{line} of {frame:02x?}");
            for (said, copy) in said.into_iter().zip(copies) {
                assert_eq!(said["verdict"], copy.outcome.verdict.name(), "{line} of {frame:02x?}");
            }
        }
        assert_eq!(left.next(), None, "more frames left than should");
    }
}

/// A pcap of nanoseconds, written independently of the code under test.
fn pcap<'f>(packets: impl Iterator<Item = (u64, &'f [u8])>) -> Vec<u8> {
    let mut file = Vec::new();
    let word = |file: &mut Vec<u8>, word: u64| file.extend(u32::try_from(word).unwrap().to_be_bytes());
    for head in [0xa1b2_3c4d, 0x0002_0004, 0, 0, 262_144, 1] {
        word(&mut file, head);
    }
    for (at, frame) in packets {
        for field in [at / 1_000_000_000, at % 1_000_000_000, frame.len() as u64, frame.len() as u64] {
            word(&mut file, field);
        }
        file.extend(frame);
    }
    file
}

/// Frames of a pcap in little endian.
fn read_pcap(file: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(file[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    let (mut frames, mut rest) = (Vec::new(), &file[24..]);
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    frames
}
