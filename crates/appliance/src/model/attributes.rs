// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an announcement carries besides its prefix: preference and communities.

use std::collections::BTreeSet;
use std::fmt;

/// A community of either kind, told apart by its number of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Community {
    /// `65010:100` (RFC 1997), the high half is the AS number.
    Standard(u32),
    /// `65010:1:2` (RFC 8092).
    Large([u32; 3]),
}

impl Community {
    /// Asks peers to prefer any other path (RFC 8326 §3.2).
    pub const GRACEFUL_SHUTDOWN: Community = Self::Standard(0xffff_0000);

    /// Those that have a name everywhere: RFC 8326, 7999, 1997, 3765.
    pub const WELL_KNOWN: [(&'static str, Community); 6] = [
        ("graceful-shutdown", Self::GRACEFUL_SHUTDOWN),
        ("blackhole", Self::Standard(0xffff_029a)),
        ("no-export", Self::Standard(0xffff_ff01)),
        ("no-advertise", Self::Standard(0xffff_ff02)),
        ("no-export-subconfed", Self::Standard(0xffff_ff03)),
        ("no-peer", Self::Standard(0xffff_ff04)),
    ];
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(value) => write!(f, "{}:{}", value >> 16, value & 0xffff),
            Self::Large([global, first, second]) => write!(f, "{global}:{first}:{second}"),
        }
    }
}

/// What is added to an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// MULTI_EXIT_DISC: lower is preferred among paths of one AS.
    pub med: Option<u32>,
    /// How many more times the own AS number is put in the path.
    pub prepend: u8,
    /// Communities.
    pub communities: BTreeSet<Community>,
}

impl Attributes {
    /// The standard communities, in order.
    pub fn standard(&self) -> Vec<u32> {
        let standard = |community: &Community| match community {
            Community::Standard(value) => Some(*value),
            Community::Large(_) => None,
        };
        self.communities.iter().filter_map(standard).collect()
    }

    /// The large communities, in order.
    pub fn large(&self) -> Vec<[u32; 3]> {
        let large = |community: &Community| match community {
            Community::Standard(_) => None,
            Community::Large(parts) => Some(*parts),
        };
        self.communities.iter().filter_map(large).collect()
    }
}
