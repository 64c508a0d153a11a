// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What advertisements get on their way to one peer.

/// Added to every advertisement to one peer. Nothing is ever taken away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportPolicy {
    /// MULTI_EXIT_DISC of advertisements that have none of their own.
    pub med: Option<u32>,
    /// How many more times our AS number is put in the AS_PATH; 255 times in all is the most.
    pub prepend: u8,
    /// Communities (RFC 1997). At most [`ExportPolicy::MAX_COMMUNITIES`].
    pub communities: Vec<u32>,
    /// Large communities (RFC 8092). At most [`ExportPolicy::MAX_COMMUNITIES`].
    pub large_communities: Vec<[u32; 3]>,
    /// Whether and in which form the link bandwidth of an advertisement is told.
    pub link_bandwidth: LinkBandwidth,
}

impl ExportPolicy {
    /// Bound of each community list: with the most an advertisement may have the attributes still fit one message of 4096
    /// octets.
    pub const MAX_COMMUNITIES: usize = 16;
}

/// Form of the link bandwidth extended community (draft-ietf-idr-link-bandwidth).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkBandwidth {
    /// Not told.
    Off,
    /// Type 0x00, which speakers keep on eBGP sessions.
    #[default]
    Transitive,
    /// Type 0x40, the standard form, which some speakers drop on eBGP sessions.
    NonTransitive,
}
