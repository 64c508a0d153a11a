// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The table as data, one session fed by a script, and two sessions joined by a simulated link.

mod excess;
mod extensions;
mod pair;
mod restart;
mod restarts;
mod script;
mod table;

use std::net::IpAddr;

use super::*;
use crate::advertise::Prefix;
use crate::config::{Families, RemoteAs};

/// A session of AS `asn` towards a peer of AS `remote`.
fn config(asn: u32, router_id: &str, address: &str, remote: u32) -> SessionConfig {
    let address: IpAddr = address.parse().unwrap();
    let mut peer = PeerConfig::new("peer", address, RemoteAs::Exact(remote));
    peer.families = Families::BOTH;
    peer.next_hop_v6 = Some("2001:db8::2".parse().unwrap());
    SessionConfig {
        asn,
        router_id: router_id.parse().unwrap(),
        hostname: "lb1".into(),
        software: String::new(),
        graceful_restart: None,
        restarting_until: None,
        peer,
    }
}
