// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Warnings about the speaker and its peers: what works, but not as one may think.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Warnings;
use crate::config::host::Host;
use crate::config::value::duration_text;
use crate::model::{Document, Peer, Remote};

pub(super) fn warn(warnings: &mut Warnings<'_>, document: &Document, host: Option<&Host>) {
    hung_host(warnings, document);
    keys_of_link_local_peers(warnings, document);
    for (name, peer) in &document.peers {
        multihop_trap(warnings, name, peer);
        unheard(warnings, document, name, peer);
        unserved(warnings, document, name, peer);
    }
    if let Some(host) = host {
        advertised_routes(warnings, document, host);
        only_default(warnings, document, host);
    }
}

/// A peer that keeps routes over a lost session cannot tell a restart from a host that hangs; BFD can.
fn hung_host(warnings: &mut Warnings<'_>, document: &Document) {
    let Some(restart_time) = document.bgp.graceful_restart else { return };
    let is_unprotected = |(_, peer): &(&String, &Peer)| peer.graceful_restart && peer.bfd.is_none();
    let unprotected: Vec<(&String, &Peer)> = document.peers.iter().filter(is_unprotected).collect();
    let Some((name, peer)) = unprotected.first() else { return };
    let others = match unprotected.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    // A hold time of zero is the longest: nothing ever ends the session.
    let longest = unprotected.iter().map(|(_, peer)| peer.hold_time).max();
    let is_endless = unprotected.iter().any(|(_, peer)| peer.hold_time == Duration::ZERO);
    let how_long = match longest {
        Some(hold_time) if !is_endless => format!(
            "{} (hold time {} and restart time {})",
            duration_text(hold_time + restart_time),
            duration_text(hold_time),
            duration_text(restart_time)
        ),
        Some(_) | None => "ever, since its hold time is 0".to_owned(),
    };
    let at = if document.peers.len() == 1 { format!("peers.{name}") } else { "bgp".to_owned() };
    let path = format!("{at}.graceful_restart");
    let message = format!(
        "if this host hangs, peer `{name}`{others} without BFD keeps its routes for {how_long}: packets are lost as long"
    );
    // Which of the two it is about shows in the help.
    let help = match peer.bfd {
        None => "let peers use `bfd = true`, or write `graceful_restart = \"off\"` in `[bgp]`",
        Some(_) => "write `graceful_restart = \"off\"` in `[bgp]`",
    };
    warnings.at(&path, message, help);
}

/// FRR up to 8.4 makes BFD of a neighbour with `ttl-security` multihop, on another port.
fn multihop_trap(warnings: &mut Warnings<'_>, name: &str, peer: &Peer) {
    if peer.ttl_security && peer.bfd.is_some() {
        let message = "stands beside `bfd`: FRR up to 8.4 then speaks BFD over several hops (UDP 4784), which never meets ours, and \
                       BGP stays up without that protection";
        let help = "with such a switch use one of the two; `weir show peers` says whether BFD is up";
        warnings.at(&format!("peers.{name}.ttl_security"), message.to_owned(), help);
    }
}

/// The kernel finds the key of a connection by the address alone, and link-local addresses repeat.
fn keys_of_link_local_peers(warnings: &mut Warnings<'_>, document: &Document) {
    let mut first: Option<(&String, &Option<PathBuf>)> = None;
    let unnumbered: BTreeMap<&String, &Peer> =
        document.peers.iter().filter(|(_, peer)| peer.remote.interface().is_some()).collect();
    for (name, peer) in unnumbered {
        let Some((other, file)) = first else {
            first = Some((name, &peer.md5_file));
            continue;
        };
        if *file != peer.md5_file {
            let message = format!(
                "differs from that of `peers.{other}`: should both switches have the same link-local address, the kernel has one key \
                 for both"
            );
            let path = format!("peers.{name}.md5_file");
            warnings.at(&path, message, "give unnumbered peers one key, or switches addresses of their own");
        }
    }
}

/// Unnumbered peers come from link-local addresses.
fn unheard(warnings: &mut Warnings<'_>, document: &Document, name: &str, peer: &Peer) {
    let listens = document.bgp.listen.iter().any(|socket| socket.ip().is_unspecified() && socket.is_ipv6());
    if matches!(peer.remote, Remote::Interface { .. }) && !listens {
        let message =
            "the peer cannot connect: `bgp.listen` has no `[::]`, and link-local addresses are not listed";
        let help = "add `\"[::]:179\"` to `bgp.listen`; until then only Weir connects";
        warnings.at(&format!("peers.{name}.interface"), message.to_owned(), help);
    }
}

/// Over an unnumbered session the next hop of a VIP is on the link itself, so its packets come in there.
fn unserved(warnings: &mut Warnings<'_>, document: &Document, name: &str, peer: &Peer) {
    let Some(interface) = peer.remote.interface() else { return };
    if !document.vips.is_empty() && !document.uplinks.contains_key(interface) {
        let message = format!(
            "`{interface}` is no uplink: the peer is told VIPs as usual, but packets that it sends there are not served"
        );
        let help =
            "name an interface of `[uplinks]`; packets of VIPs are only served where they come in on one";
        warnings.at(&format!("peers.{name}.interface"), message, help);
    }
}

/// Advertisements of the switch are for Weir; the kernel makes routes of them.
fn advertised_routes(warnings: &mut Warnings<'_>, document: &Document, host: &Host) {
    for (name, peer) in &document.peers {
        let Some(interface) = peer.remote.interface().filter(|name| host.advertised.contains(*name)) else {
            continue;
        };
        let message = format!(
            "the kernel takes default routes from router advertisements on `{interface}`, beside what Weir imports"
        );
        let help =
            format!("`sysctl -w net.ipv6.conf.{interface}.accept_ra=0`, and the same in /etc/sysctl.d");
        warnings.at(&format!("peers.{name}.interface"), message, &help);
    }
}

/// A host whose only default route is imported cannot be reached from afar once the daemon has stopped.
fn only_default(warnings: &mut Warnings<'_>, document: &Document, host: &Host) {
    let metric = document.bgp.import.metric;
    let importing = document.peers.iter().filter(|(_, peer)| !peer.import_default.is_empty());
    let Some((name, _)) = importing.clone().next() else { return };
    let families = [
        ("IPv4", importing.clone().any(|(_, peer)| peer.import_default.ipv4), &host.defaults_v4),
        ("IPv6", importing.clone().any(|(_, peer)| peer.import_default.ipv6), &host.defaults_v6),
    ];
    for (family, is_imported, defaults) in families {
        if is_imported && defaults.iter().all(|other| *other == metric) {
            let message = format!(
                "this host has no other {family} default route: when the daemon stops, or the last peer goes, there is none"
            );
            let help = "keep one of a higher metric, such as by the management network";
            warnings.at(&format!("peers.{name}.import_default"), message, help);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::warnings;
    use super::*;
    use crate::config::parse_text;

    const LEAST: &str = include_str!("../../../tests/check/good/least.toml");

    fn warned(text: &str, host: Option<&Host>) -> Vec<(String, String)> {
        let (document, report) = parse_text("weir.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        warnings(&report, &document, host).into_iter().map(|w| (w.path, w.message)).collect()
    }

    fn paths(text: &str, host: Option<&Host>) -> Vec<String> {
        warned(text, host).into_iter().map(|(path, _)| path).collect()
    }

    fn with_peers(peers: &str) -> String {
        LEAST.replace("[peers.tor1]\naddress = \"10.0.0.1\"\nremote_as = 65000\n", peers)
    }

    #[test]
    fn a_host_that_hangs_without_bfd_is_told_in_seconds() {
        let found = warned(LEAST, None);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "peers.tor1.graceful_restart");
        assert!(found[0].1.contains("for 29s (hold time 9s and restart time 20s)"), "{found:?}");
        let more = LEAST.replace(
            "[vips.www]",
            "[peers.tor2]\naddress = \"10.0.0.2\"\nremote_as = 1\nhold_time = \"30s\"\n[vips.www]",
        );
        let found = warned(&more, None);
        assert_eq!(found[0].0, "bgp.graceful_restart");
        assert!(found[0].1.contains("peer `tor1` and 1 more") && found[0].1.contains("for 50s"), "{found:?}");
        let endless = LEAST.replace("remote_as = 65000", "remote_as = 65000\nhold_time = \"0s\"");
        assert!(warned(&endless, None)[0].1.contains("for ever"));
        for safe in [
            LEAST.replace("asn = 65010", "asn = 65010\ngraceful_restart = \"off\""),
            LEAST.replace("remote_as = 65000", "remote_as = 65000\nbfd = true"),
            LEAST.replace("remote_as = 65000", "remote_as = 65000\ngraceful_restart = false"),
        ] {
            assert!(warned(&safe, None).is_empty());
        }
    }

    #[test]
    fn traps_of_peers_are_named() {
        let both = LEAST.replace("remote_as = 65000", "remote_as = 65000\nbfd = true\nttl_security = true");
        assert_eq!(paths(&both, None), ["peers.tor1.ttl_security"]);
        let unnumbered = "[peers.a]\ninterface = \"eth0\"\nremote_as = \"external\"\nbfd = true\n";
        assert!(paths(&with_peers(unnumbered), None).is_empty());
        let deaf = with_peers(unnumbered).replace("asn = 65010", "asn = 65010\nlisten = [\"0.0.0.0:179\"]");
        assert_eq!(paths(&deaf, None), ["peers.a.interface"]);
    }

    #[test]
    fn a_peer_beside_the_uplinks_and_keys_that_differ_are_told() {
        let two = "[peers.a]\ninterface = \"eth0\"\nremote_as = \"external\"\nbfd = true\n\
                   [peers.b]\ninterface = \"eth2\"\nremote_as = \"external\"\nbfd = true\n";
        let found = warned(&with_peers(two), None);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "peers.b.interface");
        assert!(found[0].1.contains("`eth2` is no uplink"), "{found:?}");
        let keyed = two.replacen("bfd", "md5_file = \"/etc/weir/a.key\"\nbfd", 1);
        assert_eq!(paths(&with_peers(&keyed), None), ["peers.b.md5_file", "peers.b.interface"]);
    }

    #[test]
    fn a_host_that_makes_routes_of_its_own_is_told() {
        let unnumbered = with_peers(
            "[peers.a]\ninterface = \"eth0\"\nremote_as = \"external\"\nbfd = true\nimport_default = true\n",
        );
        let mut host = Host { defaults_v4: [0].into(), defaults_v6: [1024].into(), ..Host::default() };
        assert!(paths(&unnumbered, Some(&host)).is_empty());
        host.advertised.insert("eth0".to_owned());
        assert_eq!(paths(&unnumbered, Some(&host)), ["peers.a.interface"]);
        // Only what was imported by an earlier run.
        let alone = Host { defaults_v4: [20].into(), ..Host::default() };
        let found = warned(&unnumbered, Some(&alone));
        assert_eq!(found.len(), 2);
        assert!(found[0].1.contains("IPv4") && found[1].1.contains("IPv6"), "{found:?}");
    }
}
