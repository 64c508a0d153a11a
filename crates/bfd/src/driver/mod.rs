// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shell around the sans-IO core: two threads, sockets, a clock.
//!
//! ```text
//!   BfdHandle ── Mailbox (latest wins) + eventfd ──► thread.rs    wait, receive, time, send, hand over
//!                                                      │ receive.rs  two sockets on port 3784, hop limit and interface
//!                                                      │ link.rs     one sending socket a session, its own source port
//!                                                      │ scheduling.rs  SCHED_RR, else nice
//!                                                      ▼
//!                                               bounded queue ──► tell.rs   watch, log
//! ```

mod link;
mod receive;
mod scheduling;
mod tell;
mod thread;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::watch;

use crate::config::SessionConfig;
use crate::error::{SetError, StartError};
use crate::sessions::validate;
use crate::status::{Scheduling, Snapshot};

use receive::Receivers;

/// What all sessions share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdConfig {
    /// Priority of the packet thread under `SCHED_RR`, 1 to 99; `None`: leave it an ordinary thread.
    pub priority: Option<i32>,
}

impl Default for BfdConfig {
    /// Above everything ordinary, below what kernels and other daemons give to their own real-time threads.
    fn default() -> Self {
        BfdConfig { priority: Some(10) }
    }
}

/// How the thread shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// AdminDown to all peers, and a short wait for their answers.
    Goodbye,
    /// At once.
    Silent,
}

/// Commands that the thread has not taken yet; the latest of each kind wins, so it cannot fill up.
#[derive(Debug, Default)]
struct Mailbox {
    sessions: Option<BTreeMap<String, SessionConfig>>,
    ending: Option<Ending>,
}

/// What handle and packet thread share.
#[derive(Debug)]
struct Shared {
    mailbox: Mutex<Mailbox>,
    wake: EventFd,
    is_stopped: AtomicBool,
}

impl Shared {
    fn put(&self, write: impl FnOnce(&mut Mailbox)) {
        write(&mut self.mailbox.lock().unwrap_or_else(PoisonError::into_inner));
        // Fails only when the counter would overflow, and then the thread is awake anyway.
        self.wake.write(1).unwrap_or_default();
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }
}

/// The entry.
#[derive(Debug)]
pub struct Bfd;

impl Bfd {
    /// Binds port 3784 of both families in the network namespace of the calling thread, and starts the threads.
    ///
    /// A host without IPv6 goes on with IPv4. Sessions come by [`BfdHandle::set_sessions`].
    pub fn start(config: &BfdConfig) -> Result<BfdHandle, StartError> {
        let receivers = Receivers::bind()?;
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|source| StartError::Wake { source: source.into() })?;
        let shared = Arc::new(Shared { mailbox: Mutex::default(), wake, is_stopped: AtomicBool::new(false) });
        let (tell, status, tell_thread) = tell::start(Snapshot::empty(Scheduling::Ordinary))?;
        let packets = thread::PacketThread::new(Arc::clone(&shared), receivers, tell, random_seed());
        let name = "weir-bfd";
        let priority = config.priority;
        let packet_thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || packets.run(priority))
            .map_err(|source| StartError::Thread { name, source })?;
        Ok(BfdHandle { shared, status, threads: vec![packet_thread, tell_thread] })
    }
}

/// Two runs of one host must not use the same discriminators.
fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// A running BFD. Dropped without [`BfdHandle::stop`] it falls silent like a crash, and peers find out by themselves.
#[derive(Debug)]
pub struct BfdHandle {
    shared: Arc<Shared>,
    status: watch::Receiver<Arc<Snapshot>>,
    threads: Vec<JoinHandle<()>>,
}

impl BfdHandle {
    /// Makes these the sessions, by name. Those that stay keep their state, other timing is negotiated with the peer, those
    /// that go say AdminDown first. A set that is refused changes nothing. Returns before it is in force.
    pub fn set_sessions(&self, sessions: BTreeMap<String, SessionConfig>) -> Result<(), SetError> {
        validate(&sessions)?;
        if self.shared.is_stopped() {
            return Err(SetError::Gone);
        }
        self.shared.put(|mailbox| mailbox.sessions = Some(sessions));
        Ok(())
    }

    /// The snapshots, latest wins.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.status.clone()
    }

    /// Says AdminDown to every peer, waits until they have heard it, for 2 s at most, and ends. Blocks as long.
    pub fn stop(mut self) {
        self.end(Ending::Goodbye);
    }

    fn end(&mut self, ending: Ending) {
        self.shared.put(|mailbox| mailbox.ending = Some(ending));
        for thread in self.threads.drain(..) {
            // A panic has been reported by the thread itself, and there is nothing left to end.
            drop(thread.join());
        }
    }
}

impl Drop for BfdHandle {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.end(Ending::Silent);
        }
    }
}
