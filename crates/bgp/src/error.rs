// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong before a session exists; mistakes of peers are in [`crate::wire`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::Family;

/// One fault of a [`crate::SpeakerConfig`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says what its fields are")]
pub enum ConfigError {
    #[error("AS number {asn} cannot be used")]
    Asn { asn: u32 },
    #[error("router id 0.0.0.0 cannot be used")]
    RouterId,
    #[error("{count} peers are more than the {max} supported")]
    TooManyPeers { count: usize, max: usize },
    #[error("peer `{peer}`: the name is used twice")]
    PeerName { peer: String },
    #[error("restart time {restart_time:?} is not 1 to 4095 whole seconds")]
    RestartTime { restart_time: Duration },
    #[error("peer `{peer}`: {remote} is neither a unicast address, nor an interface, nor a range")]
    PeerAddress { peer: String, remote: String },
    #[error("peer `{peer}`: address {remote} is already that of peer `{other}`")]
    PeerAddressTwice { peer: String, other: String, remote: String },
    #[error(
        "peer `{peer}`: interface {interface} is already that of peer `{other}`, and only one neighbour can be learnt"
    )]
    InterfaceTwice { peer: String, other: String, interface: String },
    #[error(
        "peer `{peer}`: it has no MD5 key, but {range} of peer `{other}` has, and the kernel would require that"
    )]
    KeyOfRange { peer: String, other: String, range: String },
    #[error("peer `{peer}`: it may announce no prefix at all")]
    PrefixesMax { peer: String },
    #[error("peer `{peer}`: port 0 cannot be connected to")]
    PeerPort { peer: String },
    #[error("peer `{peer}`: AS {asn} is our own, internal sessions are not spoken")]
    SameAs { peer: String, asn: u32 },
    #[error("peer `{peer}`: AS number {asn} cannot be used")]
    RemoteAs { peer: String, asn: u32 },
    #[error("peer `{peer}`: local address {local} is of another family than {remote}")]
    LocalAddress { peer: String, local: IpAddr, remote: String },
    #[error("peer `{peer}`: hold time {hold_time:?} is neither 0 nor 3 to 65535 whole seconds")]
    HoldTime { peer: String, hold_time: Duration },
    #[error("peer `{peer}`: connect retry {connect_retry:?} is not within 1 to 65535 seconds")]
    ConnectRetry { peer: String, connect_retry: Duration },
    #[error("peer `{peer}`: no address family is wanted")]
    NoFamily { peer: String },
    #[error("peer `{peer}`: {family} needs a next hop, the session's own address is of the other family")]
    NextHopMissing { peer: String, family: Family },
    #[error("peer `{peer}`: more than {max} communities of one kind are added to every advertisement")]
    ExportCommunities { peer: String, max: usize },
    #[error("peer `{peer}`: the next hop is not a usable unicast address")]
    NextHop { peer: String },
    #[error("imported default routes: {0}")]
    Fib(crate::fib::FibConfigError),
}

/// Why a speaker did not start; nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration has faults, all of them listed.
    #[error("speaker configuration: {}", Joined(.0))]
    Config(Vec<ConfigError>),
    /// A listening socket could not be had.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// Default routes cannot be kept.
    #[error(transparent)]
    Fib(crate::fib::FibError),
}

/// The speaker has ended: it was shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the speaker has ended")]
pub struct SpeakerGone;

struct Joined<'a>(&'a [ConfigError]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
