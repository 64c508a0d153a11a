// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given clients with an MTU of 1,500 and a fabric with room for the outer header,
//! When a client sends full-sized packets and receives a large answer,
//! Then all of it arrives, in both families.

use std::time::Duration;

use weir_lab::{BIG_BYTES, document, get};

use crate::small_fabric;

/// Fits the web server's header buffer, and does not fit five packets of 1,500.
const QUERY_BYTES: usize = 7500;

#[test]
#[ignore = "needs root and netns"]
fn full_sized_packets_pass_both_ways() {
    let fabric = small_fabric();
    let timeout = Duration::from_secs(5);
    for target in document::targets() {
        let long = format!("/?{}", "q".repeat(QUERY_BYTES));
        let reply = fabric.client.enter(|| get(target, &long, timeout)).expect("in the namespace");
        let reply = reply.unwrap_or_else(|error| panic!("a large request to {target}: {error:#}"));
        assert_eq!(reply.status, 200);
        let reply = fabric.client.enter(|| get(target, "/big", timeout)).expect("in the namespace");
        let reply = reply.unwrap_or_else(|error| panic!("a large answer from {target}: {error:#}"));
        assert_eq!(reply.body.len(), BIG_BYTES);
    }
}
