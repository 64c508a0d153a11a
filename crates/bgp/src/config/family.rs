// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Address families that are spoken, and sets of them.

use std::fmt;
use std::net::IpAddr;

/// An address family that is spoken: AFI and SAFI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// All of them, in the order they are offered.
    pub const ALL: [Family; 2] = [Family::Ipv4Unicast, Family::Ipv6Unicast];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4Unicast => "ipv4-unicast",
            Family::Ipv6Unicast => "ipv6-unicast",
        })
    }
}

/// A set of [`Family`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Families {
    /// IPv4 unicast is in it.
    pub ipv4: bool,
    /// IPv6 unicast is in it.
    pub ipv6: bool,
}

impl Families {
    /// Both families.
    pub const BOTH: Families = Families { ipv4: true, ipv6: true };

    /// The family of a transport address alone.
    pub fn of(address: IpAddr) -> Self {
        Self { ipv4: address.is_ipv4(), ipv6: address.is_ipv6() }
    }

    /// Whether `family` is in it.
    pub fn contains(&self, family: Family) -> bool {
        match family {
            Family::Ipv4Unicast => self.ipv4,
            Family::Ipv6Unicast => self.ipv6,
        }
    }

    /// Puts `family` in.
    pub fn insert(&mut self, family: Family) {
        match family {
            Family::Ipv4Unicast => self.ipv4 = true,
            Family::Ipv6Unicast => self.ipv6 = true,
        }
    }

    /// What both sets hold.
    pub fn intersection(&self, other: Families) -> Families {
        Families { ipv4: self.ipv4 && other.ipv4, ipv6: self.ipv6 && other.ipv6 }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        !self.ipv4 && !self.ipv6
    }

    /// Its members in offering order.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |f| self.contains(*f))
    }
}
