// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bidirectional forwarding detection on single hops: says within a few packets' time that a neighbour is gone.
//!
//! The caller says with whom ([`BfdHandle::set_sessions`]) and reads what became of it ([`BfdHandle::subscribe`]). What a
//! verdict leads to is not known here; nor are BGP, routes or services.
//!
//! ```text
//!   BfdHandle ──mailbox, latest wins──► thread weir-bfd            poll(2), sockets, clock; real-time if allowed
//!      ▲                                  │    └── sessions::Sessions      sans-IO: demultiplexing, discards
//!      │                                  │           └── session::Session      RFC 5880: states, timers, polls
//!      │                                  │                  └── packet            24 octets
//!      └──watch<Arc<Snapshot>>── thread weir-bfd-tell ◄── bounded queue
//! ```
//! The packet thread takes no lock that a reader could hold, writes no log and allocates no more than a snapshot: whatever
//! can be slow happens on the second thread. Both are plain threads, since the executor of asynchronous tasks is what must
//! not be able to starve them.
//!
//! Spoken: RFC 5880 without authentication, demand mode and Echo; RFC 5881 over IPv4, IPv6 and link-local addresses; the
//! meaning of AdminDown of RFC 5882.

pub mod config;
mod driver;
mod error;
pub mod packet;
mod random;
pub mod session;
pub mod sessions;
mod status;
pub mod transition;

pub use config::{SessionConfig, Timing, Wanted};
pub use driver::{Bfd, BfdConfig, BfdHandle};
pub use error::{ConfigError, SetError, StartError};
pub use packet::{Diagnostic, State};
pub use session::Failure;
pub use sessions::{Discard, Discards};
pub use status::{Scheduling, SessionStatus, Snapshot};
