// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong for a caller. What goes wrong on the wire is counted and shown, not returned.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// A set of sessions that is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Unspecified, multicast, broadcast or IPv4-mapped.
    #[error("{remote} is no address of a host")]
    NotAHost {
        /// The peer's address.
        remote: IpAddr,
    },
    /// Local and remote address are of two families.
    #[error("the local address and {remote} are of two families")]
    Families {
        /// The peer's address.
        remote: IpAddr,
    },
    /// A link-local address without its scope.
    #[error("the link-local peer {remote} needs an interface")]
    NoInterface {
        /// The peer's address.
        remote: IpAddr,
    },
    /// Not a name that an interface can have.
    #[error("`{interface}` is no name of an interface")]
    Interface {
        /// The name.
        interface: String,
    },
    /// Out of bounds.
    #[error("an interval of {interval:?}; 10 ms to 60 s are possible")]
    Interval {
        /// The interval.
        interval: Duration,
    },
    /// Zero.
    #[error("the detection multiplier is zero")]
    DetectMult,
    /// Too long a name.
    #[error("a session's name has {length} octets, at most 128 are possible")]
    Name {
        /// Its length.
        length: usize,
    },
    /// Two sessions would hear the same packets.
    #[error("sessions `{first}` and `{second}` have the same peer")]
    SamePeer {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
    /// Too many.
    #[error("{count} sessions, at most 256 are possible")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// What one session asks for is refused.
    #[error("session `{name}`")]
    Session {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<ConfigError>,
    },
}

/// BFD could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No socket on the port that peers send to.
    #[error("listen on UDP port 3784 of {family}")]
    Listen {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No means to wake the thread.
    #[error("make an event descriptor")]
    Wake {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No thread.
    #[error("start thread `{name}`")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A command that could not be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The set is refused; the one before stays.
    #[error("sessions refused")]
    Config(#[from] ConfigError),
    /// The thread has ended.
    #[error("the BFD thread has ended")]
    Gone,
}
