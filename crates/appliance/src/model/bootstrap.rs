// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a process learns once, at start: where it keeps things, whom it listens to, how large it may grow.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The bootstrap section: a change needs a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// Which source may change the document.
    pub owner: Owner,
    /// Unix socket of the API.
    pub api_socket: PathBuf,
    /// Loopback TCP address of the API besides the socket, if any.
    pub api_listen: Option<SocketAddr>,
    /// Document history, overrides, snapshots.
    pub state_dir: PathBuf,
    /// Name of this instance: the folder of its pins below [`Self::pin_dir`].
    pub instance: String,
    /// Folder in a BPF file system that holds the instances.
    pub pin_dir: PathBuf,
    /// Sizes of the kernel's tables.
    pub capacity: Capacity,
    /// How health checks get into their tunnels.
    pub checks: CheckPath,
    /// What is logged and how.
    pub log: Log,
}

/// How health checks get into their tunnels; to be changed only where something else on the host uses the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckPath {
    /// Interface that is made for them, 1 to 13 characters; its other end has a `-p` behind the name.
    pub interface: String,
    /// Upper 16 bits of the socket marks, the lower 16 are zero here and carry the backend.
    pub mark: u32,
    /// Routing table that sends marked packets to the interface.
    pub table: u32,
    /// Priority of the rule that chooses the table.
    pub priority: u32,
}

impl Default for CheckPath {
    fn default() -> Self {
        Self { interface: "hc0".to_owned(), mark: 0x5765_0000, table: 5765, priority: 5765 }
    }
}

/// The one source that may change the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The file, read at start and on reload.
    File,
}

/// Sizes of the kernel's tables; memory is taken when the dataplane opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Services, at most.
    pub services: u32,
    /// Backends over all pools, at most 65,535.
    pub backends: u32,
    /// Slots of the flow table, a power of two; 8 bytes each.
    pub flow_slots: u32,
    /// Rows over all pools, 8 bytes each, including the room that a switch of tables needs.
    pub rows: u32,
}

/// What is logged and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Least severe level that is written.
    pub level: LogLevel,
    /// Shape of a line.
    pub format: LogFormat,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Someone must act.
    Error,
    /// Degraded or refused.
    Warn,
    /// State changes, one line each.
    Info,
    /// Decisions.
    Debug,
    /// The wire.
    Trace,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON lines otherwise.
    Auto,
    /// Always text.
    Text,
    /// Always JSON lines.
    Json,
}
