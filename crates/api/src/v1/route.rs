// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Prefixes of a session one by one, a page at a time: they can be a hundred thousand.
//!
//! A page is asked for by `limit` and `cursor`; the cursor is the last prefix of the page before, so that pages stay in
//! step while prefixes come and go.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// `GET /v1/peers/{peer}/adj-rib-out`: what the peer was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdvertisedRouteList {
    /// Prefixes of this page: IPv4 first, by address and length.
    pub items: Vec<AdvertisedRoute>,
    /// Prefixes on all pages.
    pub total: u64,
    /// Cursor of the next page; absent on the last one.
    pub next: Option<String>,
}

/// One prefix that a peer was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdvertisedRoute {
    /// The prefix.
    pub prefix: String,
    /// Its next hop.
    #[schema(value_type = String)]
    pub next_hop: IpAddr,
    /// AS_PATH.
    pub as_path: String,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Communities (RFC 1997), by name where they have one.
    pub communities: Vec<String>,
    /// Large communities (RFC 8092).
    pub large_communities: Vec<String>,
    /// Link bandwidth in bytes per second.
    pub link_bandwidth: Option<u64>,
}

/// `GET /v1/peers/{peer}/adj-rib-in`: what the peer told us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReceivedRouteList {
    /// Prefixes of this page: IPv4 first, by address and length.
    pub items: Vec<ReceivedRoute>,
    /// Prefixes on all pages.
    pub total: u64,
    /// Cursor of the next page; absent on the last one.
    pub next: Option<String>,
}

/// One prefix that a peer told us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReceivedRoute {
    /// The prefix.
    pub prefix: String,
    /// Its next hops as sent: an IPv6 one can be a global and a link-local address.
    #[schema(value_type = Vec<String>)]
    pub next_hops: Vec<IpAddr>,
    /// AS_PATH.
    pub as_path: String,
    /// ORIGIN: `igp`, `egp`, `incomplete`.
    pub origin: String,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Communities (RFC 1997), by name where they have one.
    pub communities: Vec<String>,
    /// Large communities (RFC 8092).
    pub large_communities: Vec<String>,
    /// The peer restarts, and has not told it again.
    pub is_stale: bool,
    /// When it was told last.
    pub received_at: Timestamp,
}
