// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The configuration of a ToR in the language of each daemon. What looks odd was needed by one of them and says why.

use std::fmt::Write;

use crate::document::TOR_AS;
use crate::tor::{TorSession, Transport};

/// Restart time that a ToR offers.
const RESTART_TIME_S: u32 = 30;

macro_rules! line {
    ($text:expr, $($argument:tt)*) => {
        // Writing to a string cannot fail.
        writeln!($text, $($argument)*).ok()
    };
}

/// FRR's, for zebra, bgpd and bfdd together.
pub(crate) fn frr(number: u8, sessions: &[TorSession]) -> String {
    let mut text = String::new();
    for session in sessions {
        let Some(interval) = session.bfd else { continue };
        let milliseconds = interval.as_millis();
        line!(text, "bfd\n profile {}\n  transmit-interval {milliseconds}", session.name());
        line!(text, "  receive-interval {milliseconds}\n  detect-multiplier 3\n exit\nexit");
    }
    line!(
        text,
        "router bgp {TOR_AS}\n bgp router-id 10.255.0.{number}\n bgp bestpath as-path multipath-relax"
    );
    line!(text, " no bgp default ipv4-unicast\n no bgp ebgp-requires-policy");
    // One second of its own before the first UPDATE is nothing that a scenario should wait for.
    line!(text, " coalesce-time 10");
    if sessions.iter().any(|session| session.has_graceful_restart) {
        line!(text, " bgp graceful-restart\n bgp graceful-restart preserve-fw-state");
        line!(text, " bgp graceful-restart restart-time {RESTART_TIME_S}");
    }
    for session in sessions {
        let neighbour = session.neighbour(crate::tor::Daemon::Frr);
        if session.transport == Transport::Unnumbered {
            line!(text, " neighbor {neighbour} interface remote-as {}", session.host_as);
        } else {
            line!(text, " neighbor {neighbour} remote-as {}", session.host_as);
        }
        line!(text, " neighbor {neighbour} timers 3 9\n neighbor {neighbour} timers connect 1");
        if session.transport == Transport::V6 && session.has_ipv4 {
            line!(text, " neighbor {neighbour} capability extended-nexthop");
        }
        if let Some(key) = &session.md5 {
            line!(text, " neighbor {neighbour} password {key}");
        }
        if session.has_gtsm {
            line!(text, " neighbor {neighbour} ttl-security hops 1");
        }
        if session.bfd.is_some() {
            line!(text, " neighbor {neighbour} bfd\n neighbor {neighbour} bfd profile {}", session.name());
        }
    }
    for family in ["ipv4", "ipv6"] {
        line!(text, " address-family {family} unicast\n  maximum-paths 64");
        for session in sessions {
            let is_spoken = if family == "ipv4" { session.has_ipv4 } else { session.has_ipv6 };
            if !is_spoken {
                continue;
            }
            let neighbour = session.neighbour(crate::tor::Daemon::Frr);
            line!(text, "  neighbor {neighbour} activate");
            if let Some(max) = session.prefixes_max {
                line!(text, "  neighbor {neighbour} maximum-prefix {max}");
            }
            if session.originates_default {
                line!(text, "  neighbor {neighbour} default-originate");
            }
        }
        line!(text, " exit-address-family");
    }
    text + "exit\n"
}

/// BIRD's.
pub(crate) fn bird(number: u8, sessions: &[TorSession]) -> String {
    let mut text = String::new();
    line!(text, "router id 10.255.0.{number};\nprotocol device {{ scan time 1; }}");
    for family in ["4", "6"] {
        line!(text, "protocol kernel k{family} {{ ipv{family} {{ export where source = RTS_BGP; }};");
        line!(text, "  merge paths yes limit 64; }}");
    }
    if sessions.iter().any(|session| session.transport == Transport::Unnumbered) {
        line!(text, "protocol radv {{ interface \"h*\" {{ min ra interval 3; max ra interval 10;");
        line!(text, "  default lifetime 0; }}; }}");
    }
    let bfd: Vec<&TorSession> = sessions.iter().filter(|session| session.bfd.is_some()).collect();
    if !bfd.is_empty() {
        line!(text, "protocol bfd {{");
        for session in bfd {
            let milliseconds = session.bfd.unwrap_or_default().as_millis();
            line!(
                text,
                " interface \"{}\" {{ min rx interval {milliseconds} ms;",
                session.link.tor_interface()
            );
            line!(text, "  min tx interval {milliseconds} ms; multiplier 3; }};");
        }
        line!(text, "}}");
    }
    if sessions.iter().any(|session| session.originates_default) {
        line!(text, "protocol static d4 {{ ipv4; route 0.0.0.0/0 blackhole; }}");
        line!(text, "protocol static d6 {{ ipv6; route ::/0 blackhole; }}");
    }
    for session in sessions {
        bird_session(&mut text, session);
    }
    text
}

fn bird_session(text: &mut String, session: &TorSession) {
    let (host, tor) = (session.link.host_addresses(), session.link.tor_addresses());
    line!(text, "protocol bgp {} {{ local as {TOR_AS}; hold time 9; connect delay time 1;", session.name());
    line!(text, "  connect retry time 1; error wait time 1, 4;");
    let ends = match session.transport {
        Transport::V4 => format!("neighbor {} as {}; source address {};", host.0, session.host_as, tor.0),
        Transport::V6 => format!("neighbor {} as {}; source address {};", host.1, session.host_as, tor.1),
        Transport::Unnumbered => format!(
            "neighbor {}%{} as {}; direct;",
            session.link.host_link_local(),
            session.link.tor_interface(),
            session.host_as
        ),
    };
    line!(text, "  {ends}");
    if let Some(key) = &session.md5 {
        line!(text, "  password \"{key}\";");
    }
    if session.has_gtsm {
        line!(text, "  ttl security on;");
    }
    if session.bfd.is_some() {
        line!(text, "  bfd on;");
    }
    if session.has_graceful_restart {
        line!(text, "  graceful restart on; graceful restart time {RESTART_TIME_S};");
    }
    for family in ["ipv4", "ipv6"] {
        let is_spoken = if family == "ipv4" { session.has_ipv4 } else { session.has_ipv6 };
        if !is_spoken {
            continue;
        }
        let export = if session.originates_default { "where source = RTS_STATIC" } else { "none" };
        line!(text, "  {family} {{ import all; export {export};");
        if family == "ipv4" && session.transport != Transport::V4 {
            // This is what offers RFC 8950.
            line!(text, "    extended next hop on;");
        }
        if let Some(max) = session.prefixes_max {
            line!(text, "    import limit {max} action disable;");
        }
        line!(text, "  }};");
    }
    line!(text, "}}");
}

/// gobgpd's, in TOML.
pub(crate) fn gobgp(number: u8, sessions: &[TorSession]) -> String {
    let mut text = String::new();
    line!(text, "[global.config]\nas = {TOR_AS}\nrouter-id = \"10.255.0.{number}\"");
    for session in sessions {
        gobgp_session(&mut text, session);
    }
    text
}

fn gobgp_session(text: &mut String, session: &TorSession) {
    let (v4, v6) = session.link.host_addresses();
    line!(text, "[[neighbors]]\n[neighbors.config]\npeer-as = {}", session.host_as);
    match session.transport {
        Transport::V4 => line!(text, "neighbor-address = \"{v4}\""),
        Transport::V6 => line!(text, "neighbor-address = \"{v6}\""),
        Transport::Unnumbered => line!(text, "neighbor-interface = \"{}\"", session.link.tor_interface()),
    };
    if let Some(key) = &session.md5 {
        line!(text, "auth-password = \"{key}\"");
    }
    line!(text, "[neighbors.timers.config]\nhold-time = 9\nkeepalive-interval = 3\nconnect-retry = 1");
    line!(text, "idle-hold-time-after-reset = 1");
    if session.has_gtsm {
        line!(text, "[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255");
    }
    if session.has_graceful_restart {
        line!(text, "[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = {RESTART_TIME_S}");
        line!(text, "notification-enabled = true");
    }
    for (name, is_spoken) in [("ipv4-unicast", session.has_ipv4), ("ipv6-unicast", session.has_ipv6)] {
        if !is_spoken {
            continue;
        }
        line!(text, "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{name}\"");
        if session.has_graceful_restart {
            line!(text, "[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true");
        }
        if let Some(max) = session.prefixes_max {
            line!(text, "[neighbors.afi-safis.prefix-limit.config]\nmax-prefixes = {max}");
        }
    }
}
