// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Input words: which prefixes to advertise, and with which attributes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::config::Family;

/// An IP prefix whose host bits are zero.
///
/// Ordered by family (IPv4 first), address, length. Written `192.0.2.1/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// Why an address and a length are not a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The length exceeds the address's bits.
    #[error("prefix length {length} is beyond the {max} bits of {address}")]
    Length {
        /// The address given.
        address: IpAddr,
        /// The length given.
        length: u8,
        /// Bits of that family.
        max: u8,
    },
    /// Bits behind the length are set.
    #[error("{address}/{length} has host bits set, the prefix is {prefix}")]
    HostBits {
        /// The address given.
        address: IpAddr,
        /// The length given.
        length: u8,
        /// The same with host bits cleared.
        prefix: Prefix,
    },
}

/// Why a text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePrefixError {
    /// There is no `/length`, or it is no number.
    #[error("`{text}` is not written address/length")]
    Shape {
        /// What was given.
        text: String,
    },
    /// The part before the slash is no IP address.
    #[error("`{text}` does not start with an IP address")]
    Address {
        /// What was given.
        text: String,
    },
    /// The two parts do not fit.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
}

impl Prefix {
    /// The prefix of `address` and `length`; host bits must be zero.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let prefix = Self::truncated(address, length)?;
        if prefix.address != address {
            return Err(PrefixError::HostBits { address, length, prefix });
        }
        Ok(prefix)
    }

    /// The prefix of one address: /32 or /128.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: max_length(address) }
    }

    /// As [`Prefix::new`], with host bits cleared: what NLRI means, whose trailing bits are irrelevant (RFC 4271 §4.3).
    pub fn truncated(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let max = max_length(address);
        if length > max {
            return Err(PrefixError::Length { address, length, max });
        }
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(u32::from(128 - length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        };
        Ok(Self { address, length })
    }

    /// First address of the prefix.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Length in bits, 0 to 32 or 128.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The family it is announced in.
    pub fn family(&self) -> Family {
        match self.address {
            IpAddr::V4(_) => Family::Ipv4Unicast,
            IpAddr::V6(_) => Family::Ipv6Unicast,
        }
    }
}

fn max_length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || ParsePrefixError::Shape { text: text.to_owned() };
        let (address, length) = text.split_once('/').ok_or_else(shape)?;
        let address: IpAddr =
            address.parse().map_err(|_| ParsePrefixError::Address { text: text.to_owned() })?;
        // `u8::from_str` would take "+32".
        if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(shape());
        }
        Ok(Self::new(address, length.parse().map_err(|_| shape())?)?)
    }
}

/// One prefix to advertise and the attributes it carries; everything else about the path is the speaker's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Advertisement {
    /// What is announced.
    pub prefix: Prefix,
    /// MULTI_EXIT_DISC, lower is preferred by peers of one AS; absent if `None`.
    pub med: Option<u32>,
    /// Communities (RFC 1997), high half AS number. At most [`Advertisement::MAX_COMMUNITIES`].
    pub communities: Vec<u32>,
    /// Large communities (RFC 8092). At most [`Advertisement::MAX_COMMUNITIES`].
    pub large_communities: Vec<[u32; 3]>,
    /// How many more times our AS number is put in the AS_PATH, 0 for the usual single one.
    pub prepend: u8,
    /// Bandwidth towards what is announced, octets per second, for capacity-weighted ECMP; the session's policy says in
    /// which form it is told.
    pub link_bandwidth: Option<u64>,
}

impl Advertisement {
    /// Bound of each community list: with the longest path the attributes then still fit one message of 4096 octets.
    /// An advertisement beyond it is rejected and named in the status.
    pub const MAX_COMMUNITIES: usize = 128;

    /// The prefix with no further attributes.
    pub fn plain(prefix: Prefix) -> Self {
        Self {
            prefix,
            med: None,
            communities: Vec::new(),
            large_communities: Vec::new(),
            prepend: 0,
            link_bandwidth: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_print_and_parse() {
        for text in ["192.0.2.1/32", "0.0.0.0/0", "10.0.0.0/8", "2001:db8::1/128", "::/0", "2001:db8::/32"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        assert_eq!(Prefix::host("192.0.2.1".parse().unwrap()), "192.0.2.1/32".parse().unwrap());
        assert_eq!(Prefix::host("2001:db8::1".parse().unwrap()), "2001:db8::1/128".parse().unwrap());
    }

    #[test]
    fn what_is_not_a_prefix_says_why() {
        let why = |text: &str| text.parse::<Prefix>().unwrap_err().to_string();
        assert_eq!(why("192.0.2.1"), "`192.0.2.1` is not written address/length");
        assert_eq!(why("192.0.2.1/+32"), "`192.0.2.1/+32` is not written address/length");
        assert_eq!(why("192.0.2.1/999"), "`192.0.2.1/999` is not written address/length");
        assert_eq!(why("www/32"), "`www/32` does not start with an IP address");
        assert_eq!(why("192.0.2.1/33"), "prefix length 33 is beyond the 32 bits of 192.0.2.1");
        assert_eq!(why("192.0.2.1/24"), "192.0.2.1/24 has host bits set, the prefix is 192.0.2.0/24");
    }
}
