// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a valid document fits the host it is for: interfaces, own addresses, the hash seed file and keys.
//!
//! [`Host::observe`] looks, [`check`] judges and is pure but for reading those files. Next hops are not judged here:
//! they come and go while the appliance runs.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::net::IpAddr;
use std::path::Path;
use std::{fs, io};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::md5::{KeyError, read_md5_key};
use super::nearest::nearest;
use super::report::Report;
use super::seed::{SeedError, read_hash_seed};
use crate::model::Document;

/// What to make of an uplink that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownLinks {
    /// A problem: someone is asking whether all is well.
    Refuse,
    /// No problem: it may come up later, and the daemon waits for it.
    Accept,
}

/// What a host looks like from here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Host {
    /// Interfaces by name, and whether each is up.
    pub(super) interfaces: BTreeMap<String, bool>,
    /// Own addresses and the interface of each.
    pub(super) addresses: BTreeMap<IpAddr, String>,
    /// Interfaces on which the kernel takes default routes from router advertisements.
    pub(super) advertised: BTreeSet<String>,
    /// Metrics of the IPv4 default routes of the table `main`.
    pub(super) defaults_v4: BTreeSet<u32>,
    /// The same for IPv6.
    pub(super) defaults_v6: BTreeSet<u32>,
}

impl Host {
    /// Looks at the network namespace of this process.
    pub(super) fn observe() -> io::Result<Self> {
        let mut host = Self::default();
        for entry in getifaddrs()? {
            let is_up = entry.flags.contains(InterfaceFlags::IFF_UP);
            host.interfaces.insert(entry.interface_name.clone(), is_up);
            let Some(address) = entry.address else { continue };
            if let Some(v4) = address.as_sockaddr_in() {
                host.addresses.insert(IpAddr::V4(v4.ip()), entry.interface_name);
            } else if let Some(v6) = address.as_sockaddr_in6() {
                host.addresses.insert(IpAddr::V6(v6.ip()), entry.interface_name);
            }
        }
        let interfaces = host.interfaces.keys();
        host.advertised = interfaces.filter(|name| takes_advertisements(name)).cloned().collect();
        // What cannot be read is not there: these are for warnings alone.
        host.defaults_v4 = defaults_v4(&fs::read_to_string("/proc/net/route").unwrap_or_default());
        host.defaults_v6 = defaults_v6(&fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default());
        Ok(host)
    }
}

/// Whether the kernel takes a default route from router advertisements on an interface.
fn takes_advertisements(interface: &str) -> bool {
    let setting = |name: &str| -> Option<u32> {
        let file = Path::new("/proc/sys/net/ipv6/conf").join(interface).join(name);
        fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    let is_accepting = match setting("accept_ra") {
        // Not where packets are forwarded, or even there.
        Some(1) => setting("forwarding") == Some(0),
        Some(2) => true,
        Some(_) | None => false,
    };
    is_accepting && setting("accept_ra_defrtr") != Some(0)
}

/// Metrics of the default routes of `/proc/net/route`: interface, destination, gateway, flags, two counters, metric, mask.
fn defaults_v4(text: &str) -> BTreeSet<u32> {
    let metric = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, "00000000", _, _, _, _, metric, "00000000", ..] => metric.parse().ok(),
            _ => None,
        }
    };
    text.lines().filter_map(metric).collect()
}

/// Metrics of the default routes of `/proc/net/ipv6_route`, which is hexadecimal: destination and length, source and length,
/// next hop, metric, two counters, flags, interface. Those that reject packets are the kernel's own.
fn defaults_v6(text: &str) -> BTreeSet<u32> {
    const REJECT: u32 = 0x0200;
    let number = |word: &str| u32::from_str_radix(word, 16).ok();
    let metric = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [destination, "00", _, _, _, metric, _, _, flags, _]
                if destination.bytes().all(|b| b == b'0') =>
            {
                number(metric).filter(|_| number(flags).is_some_and(|flags| flags & REJECT == 0))
            }
            _ => None,
        }
    };
    text.lines().filter_map(metric).collect()
}

/// Checks a document against a host.
pub(super) fn check(report: &mut Report, document: &Document, host: &Host, down_links: DownLinks) {
    uplinks(report, document, host, down_links);
    vips(report, document, host);
    own_addresses(report, document, host);
    if let Err(error) = read_hash_seed(&document.appliance.hash_seed_file) {
        seed(report, &error);
    }
    peers(report, document, host);
}

fn uplinks(report: &mut Report, document: &Document, host: &Host, down_links: DownLinks) {
    for name in document.uplinks.keys() {
        let path = format!("uplinks.{name}");
        match host.interfaces.get(name) {
            Some(true) => {}
            Some(false) if down_links == DownLinks::Accept => {}
            Some(false) => {
                report.at(&path, format!("interface `{name}` is down"), format!("`ip link set {name} up`"));
            }
            None => {
                let help = match nearest(name, host.interfaces.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`ip link` lists the interfaces of this host".to_owned(),
                };
                report.at(&path, format!("this host has no interface `{name}`"), help);
            }
        }
    }
}

fn vips(report: &mut Report, document: &Document, host: &Host) {
    for (name, vip) in &document.vips {
        if let Some((address, interface)) = host.addresses.iter().find(|(own, _)| vip.contains(**own)) {
            report.at(
                &format!("vips.{name}.address"),
                format!("`{address}` is an own address of this host (interface `{interface}`)"),
                "a VIP belongs to the backends: remove it from the interface or choose another",
            );
        }
    }
}

/// Addresses that this host must have for tunnels and sessions to work.
fn own_addresses(report: &mut Report, document: &Document, host: &Host) {
    let appliance = &document.appliance;
    let sources = [
        ("appliance.source_v4".to_owned(), appliance.source_v4.map(IpAddr::V4)),
        ("appliance.source_v6".to_owned(), appliance.source_v6.map(IpAddr::V6)),
    ];
    let peers = document.peers.iter().map(|(name, peer)| (format!("peers.{name}.source"), peer.source));
    let listeners = document.bgp.listen.iter().filter(|listen| !listen.ip().is_unspecified());
    let listeners = listeners.map(|listen| ("bgp.listen".to_owned(), Some(listen.ip())));
    for (path, address) in sources.into_iter().chain(peers).chain(listeners) {
        let Some(address) = address.filter(|address| !host.addresses.contains_key(address)) else { continue };
        // A loopback interface answers for all of 127.0.0.0/8.
        if address.is_loopback() {
            continue;
        }
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let help = match path.starts_with("appliance") {
            true => format!("`ip address add {address}/{prefix} dev lo`"),
            false => "give an address of this host".to_owned(),
        };
        report.at(&path, format!("`{address}` is not an address of this host"), help);
    }
}

/// Interfaces of unnumbered peers, and keys. An interface may come later; that nobody has it now is worth a word to who asks.
fn peers(report: &mut Report, document: &Document, host: &Host) {
    for (name, peer) in &document.peers {
        if let Some(interface) = peer.remote.interface()
            && !host.interfaces.contains_key(interface)
        {
            let help = match nearest(interface, host.interfaces.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`ip link` lists the interfaces of this host".to_owned(),
            };
            let message = format!("this host has no interface `{interface}`");
            report.at(&format!("peers.{name}.interface"), message, help);
        }
        let Some(file) = &peer.md5_file else { continue };
        if let Err(error) = read_md5_key(file) {
            key(report, name, &error);
        }
    }
}

fn key(report: &mut Report, peer: &str, error: &KeyError) {
    let message = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let help = match error {
        KeyError::Read(_) | KeyError::Content => "write the key that the peer has, on one line, mode 0600",
        KeyError::Mode { .. } => "`chmod o= FILE`, and agree on a new key if others may have read it",
    };
    report.at(&format!("peers.{peer}.md5_file"), message, help);
}

fn seed(report: &mut Report, error: &SeedError) {
    let message = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let help = match error {
        SeedError::Read(_) | SeedError::Content => {
            "make it once for the fleet: `openssl rand -hex 32`, mode 0600, and copy it to every appliance"
        }
        SeedError::Mode { .. } => "`chmod o= FILE`, and make a new seed if others may have read it",
    };
    report.at("appliance.hash_seed_file", message, help);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../tests/check/good/least.toml");

    /// A host that fits the document but for its seed file, whose problem is left out of the answer.
    fn problems(change: impl FnOnce(&mut Host), down_links: DownLinks) -> Vec<(String, String)> {
        let mut host = Host::default();
        host.interfaces.insert("eth0".to_owned(), true);
        host.addresses.insert("192.0.2.1".parse().unwrap(), "lo".to_owned());
        change(&mut host);
        let text = TEXT.replace("/etc/weir", "/nonexistent");
        let (document, mut report) = super::super::parse_text("weir.toml", &text).unwrap();
        check(&mut report, &document, &host, down_links);
        let errors = report.into_result().unwrap_err();
        let problems = errors.problems.into_iter().map(|problem| (problem.path, problem.message));
        problems.filter(|(path, _)| path != "appliance.hash_seed_file").collect()
    }

    fn paths(change: impl FnOnce(&mut Host)) -> Vec<String> {
        problems(change, DownLinks::Refuse).into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn a_host_that_fits_has_no_problem() {
        assert!(paths(|_| {}).is_empty());
    }

    #[test]
    fn what_the_host_lacks_is_said_where_the_document_asks_for_it() {
        assert_eq!(paths(|host| host.interfaces.clear()), ["uplinks.eth0"]);
        assert_eq!(paths(|host| host.addresses.clear()), ["appliance.source_v4"]);
        let own_vip = |host: &mut Host| {
            host.addresses.insert("198.51.100.10".parse().unwrap(), "eth0".to_owned());
        };
        assert_eq!(paths(own_vip), ["vips.www.address"]);
    }

    #[test]
    fn a_link_that_is_down_matters_to_check_and_not_to_run() {
        let down = |host: &mut Host| {
            host.interfaces.insert("eth0".to_owned(), false);
        };
        assert_eq!(problems(down, DownLinks::Refuse).len(), 1);
        assert!(problems(down, DownLinks::Accept).is_empty());
    }

    #[test]
    fn default_routes_are_read_with_their_metrics() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                  eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(defaults_v4(v4), BTreeSet::from([100]));
        let zero = "0".repeat(32);
        let v6 = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n\
             fe800000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n"
        );
        assert_eq!(defaults_v6(&v6), BTreeSet::from([1024]));
    }

    #[test]
    fn a_mistyped_interface_is_guessed() {
        let mut report = Report::new("weir.toml", TEXT);
        let (document, _) = super::super::parse_text("weir.toml", TEXT).unwrap();
        let host = Host { interfaces: [("eth1".to_owned(), true)].into(), ..Host::default() };
        uplinks(&mut report, &document, &host, DownLinks::Refuse);
        assert_eq!(report.into_result().unwrap_err().problems[0].help, "did you mean `eth1`?");
    }
}
