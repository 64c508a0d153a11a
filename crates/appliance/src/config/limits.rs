// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Defaults and bounds of the document. What the kernel's tables and the rows fix comes from the dataplane's crates.

use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) use weir_dataplane::rows::row_count;
use weir_dataplane::rows::{ROWS_MAX, ROWS_MIN, SCORES_MAX};
pub(super) use weir_dataplane_core::limits::{
    BACKENDS_DEFAULT, BACKENDS_HARD_MAX, FLOW_SLOTS_DEFAULT, FLOW_SLOTS_HARD_MAX, IDLE_S_MAX,
    PREFIXES_MAX as VIP_PREFIXES_MAX, ROWS_DEFAULT, SERVICES_DEFAULT,
};
use weir_health::Timing;

/// Largest document that is read. 16,384 backends take about 1.5 MB.
pub(super) const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

/// Most services an operator can ask room for.
pub(super) const SERVICES_HARD_MAX: u32 = 65_536;
/// Fewest flow slots: eight cache lines.
pub(super) const FLOW_SLOTS_HARD_MIN: u32 = 64;
/// Fewest rows that make sense: one smallest pool and twice its size to switch.
pub(super) const ROWS_HARD_MIN: u32 = 3 * ROWS_MIN;
/// Most rows an operator can ask room for: 1 GiB.
pub(super) const ROWS_HARD_MAX: u32 = 1 << 27;
/// Base weights. One thousand steps are finer than any real difference; the top bounds the arithmetic of shares.
pub(super) const WEIGHT_MAX: u32 = 65_535;
/// Base weight of a backend that names none.
pub(super) const WEIGHT_DEFAULT: u32 = 100;
/// Largest `max_backends`: ranking more members in the most rows takes longer than an operator waits.
pub(super) const MAX_BACKENDS_MAX: u32 = 2_048;
const _: () =
    assert!(MAX_BACKENDS_MAX as u64 * ROWS_MAX as u64 <= SCORES_MAX, "the most members can be ranked");
/// `max_backends` of a pool that names none.
pub(super) const MAX_BACKENDS_DEFAULT: u32 = 64;
/// Longest text of a zone.
pub(super) const ZONE_CHARS_MAX: usize = 63;

/// Peers of one appliance: top-of-rack switches and route servers, not a mesh.
pub(super) const PEERS_MAX: usize = 64;
/// Addresses the speaker listens on.
pub(super) const LISTENERS_MAX: usize = 16;
/// TCP port of BGP (RFC 4271 §8).
pub(super) const BGP_PORT: u16 = 179;
/// Hold time offered when the document names none: three keepalives of 3 s.
pub(super) const HOLD_TIME_DEFAULT: Duration = Duration::from_secs(9);
/// Hold times; 1 s and 2 s are refused besides (RFC 4271 §4.2).
pub(super) const HOLD_TIME: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(65_535);
/// Shortest hold time that is not 0.
pub(super) const HOLD_TIME_MIN: Duration = Duration::from_secs(3);
/// Wait between two attempts to connect when the document names none.
pub(super) const CONNECT_RETRY_DEFAULT: Duration = Duration::from_secs(5);
/// Waits between two attempts to connect.
pub(super) const CONNECT_RETRY: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3_600);

/// Intervals of BFD; what every session asks for in both directions.
pub(super) const BFD_INTERVAL: RangeInclusive<Duration> =
    weir_bfd::config::INTERVAL_MIN..=weir_bfd::config::INTERVAL_MAX;
/// Detection multipliers of BFD: one octet, and a single lost packet must not end a session.
pub(super) const BFD_MULTIPLIER: RangeInclusive<u32> = 2..=255;
/// Times that peers are asked to keep our routes over a restart: 12 bits of seconds (RFC 4724 §3).
pub(super) const RESTART_TIME: RangeInclusive<Duration> =
    Duration::from_secs(1)..=weir_bgp::GracefulRestart::RESTART_TIME_MAX;
/// The one asked for when the document names none: several times what a start takes.
pub(super) const RESTART_TIME_DEFAULT: Duration = weir_bgp::GracefulRestart::RESTART_TIME_DEFAULT;
/// Bounds of the time that routes of a restarting peer are kept.
pub(super) const HELPER_TIME: RangeInclusive<Duration> =
    Duration::ZERO..=weir_bgp::GracefulRestart::RESTART_TIME_MAX;
/// Such a bound when the document names none.
pub(super) const HELPER_TIME_DEFAULT: Duration = weir_bgp::GracefulRestart::HELPER_MAX_DEFAULT;
/// Times that a VIP is announced with GRACEFUL_SHUTDOWN before it is withdrawn on purpose.
pub(super) const GRACEFUL_SHUTDOWN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
/// Such a time when the document names none: switches next door have turned away within it, and a stop stays quick.
pub(super) const GRACEFUL_SHUTDOWN_DEFAULT: Duration = Duration::from_millis(500);
/// Routing table of imported routes when the document names none: `main`.
pub(super) const IMPORT_TABLE_DEFAULT: u32 = weir_bgp::FibConfig::TABLE_DEFAULT;
/// Protocol number of imported routes when the document names none (docs/adr/0023).
pub(super) const IMPORT_PROTOCOL_DEFAULT: u8 = weir_bgp::FibConfig::PROTOCOL_DEFAULT;
/// Metric of imported routes when the document names none (docs/adr/0023).
pub(super) const IMPORT_METRIC_DEFAULT: u32 = weir_bgp::FibConfig::METRIC_DEFAULT;
/// The table that the kernel keeps for own addresses.
pub(super) const ROUTING_TABLE_LOCAL: u32 = 255;
/// Protocol numbers of routes: those up to 4 are the kernel's and the administrator's (rtnetlink(7)).
pub(super) const ROUTE_PROTOCOL: RangeInclusive<u32> = 5..=255;
/// Sessions of one range.
pub(super) const RANGE_SESSIONS: RangeInclusive<u32> = 1..=128;
/// Sessions of a range that names no number.
pub(super) const RANGE_SESSIONS_DEFAULT: u16 = 16;
/// Shortest IPv4 prefix that peers may come from.
pub(super) const RANGE_LENGTH_V4: u8 = 8;
/// Shortest IPv6 prefix that peers may come from.
pub(super) const RANGE_LENGTH_V6: u8 = 16;
/// Prefixes of one family that a peer may announce; each that is taken is kept for display.
pub(super) const PREFIXES: RangeInclusive<u32> = 1..=65_536;
/// Such a number when the document names none: a default route and room for mistakes.
pub(super) const PREFIXES_MAX_DEFAULT: u32 = weir_bgp::PeerConfig::PREFIXES_MAX_DEFAULT;
/// Own AS numbers added to a path: longer paths are cut or refused by some networks.
pub(super) const PREPEND_MAX: u32 = 16;
/// Communities of one list. A VIP's, a peer's and what the drain adds fit one advertisement together.
pub(super) const COMMUNITIES_MAX: usize = 32;
const _: () = assert!(2 * COMMUNITIES_MAX < weir_bgp::Advertisement::MAX_COMMUNITIES);
/// Bytes of the longest key of TCP MD5 signatures.
pub(super) const MD5_KEY_BYTES_MAX: usize = weir_bgp::Secret::LEN_MAX;
/// Capacities of a link, in bits per second.
pub(super) const LINK_CAPACITY: RangeInclusive<u64> = 1_000_000..=10_000_000_000_000;
/// Units of capacities, largest first.
pub(super) const CAPACITY_UNITS: [(&str, u64); 3] =
    [("Tbit", 1_000_000_000_000), ("Gbit", 1_000_000_000), ("Mbit", 1_000_000)];

/// Shortest IPv4 prefix of a VIP.
pub(super) const VIP_LENGTH_V4: u8 = 8;
/// Shortest IPv6 prefix of a VIP.
pub(super) const VIP_LENGTH_V6: u8 = 16;
/// UDP port of GUE (IANA).
pub(super) const GUE_PORT: u16 = 6_080;
/// Rates of what the packet path does besides forwarding: the top is what one core could do at all.
pub(super) const RATES: RangeInclusive<u32> = 0..=1_000_000;
/// New flows of a service in a second.
pub(super) const NEW_FLOWS: RangeInclusive<u32> = 1..=1_000_000_000;
/// Least MTU of ICMP errors over IPv4: from what every link carries (RFC 791) to Ethernet's.
pub(super) const MIN_MTU_V4: RangeInclusive<u32> = 68..=1_500;

/// Idle times of flows, whole seconds.
pub(super) const IDLE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(IDLE_S_MAX as u64);
/// Idle time of TCP flows when the service names none: longer than the keepalive of common clients and proxies.
pub(super) const IDLE_TCP_DEFAULT: Duration = Duration::from_secs(900);
/// Idle time of UDP flows when the service names none (RFC 4787 asks at least 2 min of a NAT).
pub(super) const IDLE_UDP_DEFAULT: Duration = Duration::from_secs(120);

/// Wait between the last withdraw and detaching when the document names none: what a fabric needs to converge.
pub(super) const DRAIN_WAIT_DEFAULT: Duration = Duration::from_secs(3);
/// Waits between the last withdraw and detaching.
pub(super) const DRAIN_WAIT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);

/// Checks of all pools together.
pub(super) const CHECKS_MAX: usize = weir_health::checker::CHECKS_MAX;
/// Attempts a second from one appliance that `weir check` warns of: half of what the checker starts, since backends in
/// doubt are tried more often than `interval` says.
pub(super) const CHECK_ATTEMPTS_WARN: f64 = 4_000.0;
/// Attempts a second to one backend that `weir check` warns of; each appliance of a fleet adds as many.
pub(super) const BACKEND_ATTEMPTS_WARN: f64 = 20.0;
/// Times between two attempts of a check while nothing is wrong.
pub(super) const CHECK_INTERVAL: RangeInclusive<Duration> = Timing::INTERVAL_RANGE;
/// Times of one attempt; shorter than the interval besides.
pub(super) const CHECK_TIMEOUT: RangeInclusive<Duration> = Timing::TIMEOUT_MIN..=CHECK_WAIT_MAX;
/// Waits between attempts while a change is being decided; at most the interval besides.
pub(super) const CHECK_FAST_INTERVAL: RangeInclusive<Duration> = Timing::FAST_INTERVAL_MIN..=CHECK_WAIT_MAX;
/// Waits between attempts of a backend that is down; at least the fast interval besides.
pub(super) const CHECK_DOWN_INTERVAL: RangeInclusive<Duration> = Timing::FAST_INTERVAL_MIN..=CHECK_WAIT_MAX;
/// Longest wait of any kind.
const CHECK_WAIT_MAX: Duration = *Timing::INTERVAL_RANGE.end();
/// Longest path of an HTTP check.
pub(super) const CHECK_PATH_BYTES_MAX: usize = weir_health::HttpCheck::PATH_MAX;
/// Path of an HTTP check that names none.
pub(super) const CHECK_PATH_DEFAULT: &str = "/";
/// Longest host of an HTTP check.
pub(super) const CHECK_HOST_BYTES_MAX: usize = weir_health::HttpCheck::HOST_MAX;
/// Longest text that an HTTP check looks for.
pub(super) const CHECK_BODY_BYTES_MAX: usize = weir_health::HttpCheck::BODY_TEXT_MAX;
/// Statuses that exist (RFC 9110 §15).
pub(super) const CHECK_STATUS: RangeInclusive<u16> = 100..=599;
/// Statuses that are a success when the document names none: a redirect is not followed and is none.
pub(super) const CHECK_STATUS_DEFAULT: (u16, u16) = (200, 299);
/// Statuses and ranges that one check can list: more are not told apart by anybody.
pub(super) const CHECK_STATUSES_MAX: usize = 32;

/// Holds of a VIP before it is withdrawn and before it comes back.
pub(super) const ANNOUNCE_HOLD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);

/// Longest name of the interface of checks: its other end has `-p` behind it.
pub(super) const CHECK_INTERFACE_BYTES_MAX: usize = 13;
/// Bits of a socket mark that carry the backend.
pub(super) const CHECK_MARK_BACKEND_BITS: u32 = 16;
/// Routing tables that every host has: default, main, local.
pub(super) const ROUTING_TABLES_RESERVED: RangeInclusive<u32> = 253..=255;
/// Priorities of rules that come before the main table's (32,766) and behind the local table's (0).
pub(super) const RULE_PRIORITY: RangeInclusive<u32> = 1..=32_765;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_the_design() {
        let of = [1, 8, 9, 64, 100, 2048].map(row_count);
        assert_eq!(of, [4096, 4096, 8192, 32_768, 65_536, 1_048_576]);
    }

    #[test]
    fn a_warning_comes_before_the_checker_is_full() {
        let most = f64::from(weir_health::Budgets::default().starts_per_second);
        assert!(CHECK_ATTEMPTS_WARN * 2.0 <= most);
    }

    #[test]
    fn the_dataplane_can_give_what_the_document_may_ask_for() {
        let most = weir_dataplane::Capacity {
            services: SERVICES_HARD_MAX,
            backends: BACKENDS_HARD_MAX,
            flow_slots: FLOW_SLOTS_HARD_MAX,
            rows: ROWS_HARD_MAX,
        };
        most.check().unwrap();
        let least = weir_dataplane::Capacity {
            services: 1,
            backends: 1,
            flow_slots: FLOW_SLOTS_HARD_MIN,
            rows: ROWS_HARD_MIN,
        };
        least.check().unwrap();
    }
}
