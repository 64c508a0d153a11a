// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why an attempt failed: a closed set, each with the code that status pages and metrics print.

use std::fmt;

/// What an attempt came to: success, or why not.
pub type Outcome = Result<(), Failure>;

/// Why one attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The port answered the connect with a reset.
    Refused,
    /// The connection was reset after it stood.
    Reset,
    /// No answer to the connect within the timeout.
    TimeoutConnect,
    /// Connected, but no complete answer within the timeout.
    TimeoutRead,
    /// The network said that the target cannot be reached (ICMP).
    Unreachable,
    /// An HTTP status outside the expected set.
    Status(u16),
    /// The expected text was not within the bounded body.
    Body,
    /// What came is not the protocol: garbage, too large, or cut off.
    Protocol,
    /// The caller knows no next hop towards the backend, nothing was sent.
    NoNextHop,
    /// Our own side: no socket, no port, no route, or this process stood still. Never counts against the backend.
    Local,
}

impl Failure {
    /// Every code, in the order of [`Failure::index`].
    pub const CODES: [&'static str; 10] = [
        "refused",
        "reset",
        "timeout-connect",
        "timeout-read",
        "unreachable",
        "status",
        "body",
        "protocol",
        "no-nexthop",
        "local",
    ];

    /// Place of this failure in [`Failure::CODES`].
    pub const fn index(self) -> usize {
        match self {
            Self::Refused => 0,
            Self::Reset => 1,
            Self::TimeoutConnect => 2,
            Self::TimeoutRead => 3,
            Self::Unreachable => 4,
            Self::Status(_) => 5,
            Self::Body => 6,
            Self::Protocol => 7,
            Self::NoNextHop => 8,
            Self::Local => 9,
        }
    }

    /// The code, the same for every status.
    pub const fn code(self) -> &'static str {
        Self::CODES[self.index()]
    }
}

/// The code, with the status where there is one: `status 503`.
impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(out, "{} {status}", self.code()),
            Self::Refused
            | Self::Reset
            | Self::TimeoutConnect
            | Self::TimeoutRead
            | Self::Unreachable
            | Self::Body
            | Self::Protocol
            | Self::NoNextHop
            | Self::Local => out.write_str(self.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_operating_guide() {
        assert_eq!(Failure::Refused.code(), "refused");
        assert_eq!(Failure::TimeoutConnect.code(), "timeout-connect");
        assert_eq!(Failure::NoNextHop.code(), "no-nexthop");
        assert_eq!(Failure::Status(503).code(), "status");
        assert_eq!(Failure::Status(503).to_string(), "status 503");
        assert_eq!(Failure::Local.to_string(), "local");
    }
}
