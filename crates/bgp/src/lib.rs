// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A BGP speaker for a host that announces anycast prefixes and never transits.
//!
//! The caller says which prefixes are wanted ([`SpeakerHandle::set_advertisements`]) and reads what became of them
//! ([`SpeakerHandle::status`]). What a prefix stands for is not known here; nor are services, health or packets.
//!
//! ```text
//!   SpeakerHandle ──commands──► speaker task ──wanted set──► one driver task per peer
//!        ▲                        │   ▲                          │  sockets, clock
//!        └── watch<SpeakerStatus> ┘   └── status of each peer ── session::Session   sans-IO: FSM, timers, Adj-RIB-Out
//!                                                                 │
//!                                                                 wire              octets <-> typed messages, or the
//!                                                                                   NOTIFICATION a mistake deserves
//! ```
//!
//! What is spoken: eBGP over IPv4 and IPv6 with numbered peers, with the neighbours on interfaces ([`discovery`]), and with
//! whoever connects from a range (RFC 4271, 4760, 5492, 6793, 7606, 2918, 7313, 9003,
//! 9072, 6286, 7607, 8212). Of what a peer tells only a default route is ever used: [`import`] selects, [`fib`] puts it into
//! the kernel's table. How sessions end, and what peers keep meanwhile (RFC 4724, 8538), is decided by the caller's
//! [`Ending`] and by what both sides agreed on.

#![deny(unsafe_code)]

mod advertise;
mod config;
pub mod discovery;
mod error;
pub mod fib;
pub mod import;
pub mod rib;
pub mod session;
mod sockopt;
pub mod speaker;
mod status;
pub mod wire;

pub use advertise::{Advertisement, ParsePrefixError, Prefix, PrefixError};
pub use config::{
    Ending, ExportPolicy, Families, Family, GracefulRestart, LinkBandwidth, PathDown, PeerConfig, Remote,
    RemoteAs, Secret, SpeakerConfig,
};
pub use error::{ConfigError, SpeakerGone, StartError};
pub use fib::{FibConfig, FibStatus};
pub use speaker::{Speaker, SpeakerHandle};
pub use status::{
    AdjRibOutView, AdvertisedRoute, CapabilityWords, Counters, DiscoveryStatus, FamilyCounts, MessageCounts,
    NegotiatedRestart, NegotiatedStatus, NotificationCounts, PeerState, PeerStatus, PeerWarning,
    ReceivedRoute, SessionTimers, SpeakerStatus, TimedNotification, TimedText,
};
