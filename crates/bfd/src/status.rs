// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a reader may know: one snapshot of all sessions, latest wins.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use crate::config::{Timing, Wanted};
use crate::packet::{Diagnostic, State};
use crate::session::Failure;
use crate::sessions::Discards;

/// How the thread that sends and receives is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    /// `SCHED_RR`: before everything that is not real-time, whatever the load.
    RealTime {
        /// Its priority, 1 to 99.
        priority: i32,
    },
    /// Real-time was refused; a nice value helps, and promises nothing.
    Nice {
        /// The value, negative.
        value: i32,
    },
    /// Both were refused: under load packets leave late, and sessions can flap.
    Ordinary,
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scheduling::RealTime { priority } => write!(f, "real-time, priority {priority}"),
            Scheduling::Nice { value } => write!(f, "not real-time, nice {value}"),
            Scheduling::Ordinary => f.write_str("not real-time, packets can leave late under load"),
        }
    }
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// The peer.
    pub remote_address: IpAddr,
    /// Interface that it is bound to.
    pub interface: Option<String>,
    /// What it is for.
    pub wanted: Wanted,
    /// What was asked for; compare with the negotiated intervals.
    pub timing: Timing,
    /// Our state.
    pub state: State,
    /// Why it is so.
    pub diagnostic: Diagnostic,
    /// When it became so; the start of the session before its first change.
    pub since: SystemTime,
    /// Changes of state since the start.
    pub transitions: u64,
    /// How often it came Up.
    pub ups: u64,
    /// How often it left Up, for whatever reason.
    pub downs: u64,
    /// How often it left Up though both ends wanted it: each of them is a verdict on the path. A reader that is late sees
    /// from this number what it has missed.
    pub failures: u64,
    /// Why it failed last.
    pub last_failure: Option<Failure>,
    /// It shall be up and never was: the peer does not speak BFD here, speaks multihop (docs/adr/0019), or drops our packets.
    pub is_never_up: bool,
    /// What the peer says of its own state; Down before it said anything.
    pub remote_state: State,
    /// The peer's reason.
    pub remote_diagnostic: Diagnostic,
    /// Our name for the session.
    pub local_discriminator: NonZeroU32,
    /// The peer's; `None` while nothing is heard.
    pub remote_discriminator: Option<NonZeroU32>,
    /// The peer's detection multiplier; zero while nothing is heard.
    pub remote_detect_mult: u8,
    /// Time between our packets before jitter; `None`: the peer wants none.
    pub transmit_interval: Option<Duration>,
    /// Time between the peer's packets before jitter; `None` while nothing is heard.
    pub receive_interval: Option<Duration>,
    /// Silence that we take for the end; `None` while nothing is heard.
    pub detection_time: Option<Duration>,
    /// New timing waits for the peer's answer.
    pub is_polling: bool,
    /// Packets that we sent.
    pub packets_sent: u64,
    /// Packets that we used.
    pub packets_received: u64,
    /// Packets that the kernel did not take.
    pub send_errors: u64,
    /// Why the last packet could not be sent, if so.
    pub send_error: Option<String>,
}

/// Everything at one moment. Published on each change of state, and every second for the counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Sessions by name.
    pub sessions: BTreeMap<String, SessionStatus>,
    /// Dropped datagrams by reason.
    pub discards: Discards,
    /// How the thread is scheduled.
    pub scheduling: Scheduling,
    /// Most that a timer fired late since the start.
    pub late_max: Duration,
    /// Most that a timer fired late in the second before this snapshot.
    pub late_recent: Duration,
    /// Whether the thread has ended; the rest is then its last word.
    pub is_stopped: bool,
}

impl Snapshot {
    pub(crate) fn empty(scheduling: Scheduling) -> Snapshot {
        Snapshot {
            sessions: BTreeMap::new(),
            discards: Discards::default(),
            scheduling,
            late_max: Duration::ZERO,
            late_recent: Duration::ZERO,
            is_stopped: false,
        }
    }
}
