// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about peers: eBGP, one session for each place, next hops for each family.

use std::net::IpAddr;

use super::{family, of_vip, own_source, parent};
use crate::config::limits;
use crate::config::read::{Draft, ImportDefault, PeerDraft};
use crate::config::report::Report;
use crate::model::{Families, Remote, RemoteAs};

pub(super) fn validate(report: &mut Report, draft: &Draft) {
    if draft.peers.len() > limits::PEERS_MAX {
        let message =
            format!("found {} peers, at most {} are supported", draft.peers.len(), limits::PEERS_MAX);
        report.at("peers", message, "peer with the switches next to the appliance, not with all of them");
    }
    // Two peers on one interface could not be told apart, whatever addresses they have.
    let places = draft.peers.iter().filter_map(|(name, peer)| {
        let remote = peer.remote.as_ref()?;
        let place = remote.interface().map_or_else(|| remote.to_string(), str::to_owned);
        Some(((key(remote), place), format!("peers.{name}.{}", key(remote))))
    });
    report.repeated(places, |(key, place), first| {
        let message = format!("`{place}` is already the {key} of `{}`", parent(first));
        let help = format!("one {key} makes one session: remove one, and use `families` for both families");
        (message, help)
    });
    for (name, peer) in &draft.peers {
        autonomous_system(report, draft, name, peer);
        addresses_of(report, draft, name, peer);
        next_hops(report, name, peer);
        import(report, name, peer);
        listener(report, draft, name, peer);
    }
}

/// The key that says where a peer is.
fn key(remote: &Remote) -> &'static str {
    match remote {
        Remote::Address(_) => "address",
        Remote::Interface { .. } => "interface",
        Remote::Range { .. } => "range",
    }
}

fn autonomous_system(report: &mut Report, draft: &Draft, name: &str, peer: &PeerDraft) {
    if let (Some(own), Some(RemoteAs::Number(remote))) = (draft.bgp.asn, peer.remote_as)
        && own == remote
    {
        report.at(
            &format!("peers.{name}.remote_as"),
            format!("found {remote}, which is `bgp.asn`: iBGP is not supported by this version"),
            "give appliances an AS number of their own",
        );
    }
}

fn addresses_of(report: &mut Report, draft: &Draft, name: &str, peer: &PeerDraft) {
    let Some(remote) = &peer.remote else { return };
    if let Remote::Address(address) = *remote {
        let path = format!("peers.{name}.address");
        let help = "give the switch's own address on the shared link";
        if let Some(what) = of_vip(draft, address) {
            report.at(&path, format!("`{address}` {what}"), help);
        } else if let Some(source) = own_source(draft, address) {
            let message = format!("`{address}` is the appliance's own address (`{source}`)");
            report.at(&path, message, help);
        }
    }
    if let Some(Some(source)) = peer.source {
        own_address(report, draft, name, (remote, source));
    }
}

fn own_address(report: &mut Report, draft: &Draft, name: &str, (remote, source): (&Remote, IpAddr)) {
    const HELP: &str = "use this appliance's address on the link to the peer";
    let path = format!("peers.{name}.source");
    if remote.interface().is_some() {
        let message = "stands beside `interface`: such a session runs between link-local addresses";
        report.at(&path, message, "remove it");
    } else if source.is_ipv4() != remote.is_ipv4() {
        let wanted = if remote.is_ipv4() { "IPv4" } else { "IPv6" };
        let message =
            format!("found `{source}`, expected an {wanted} address like that of the peer (`{remote}`)");
        report.at(&path, message, HELP);
    } else if remote.address() == Some(source) {
        report.at(&path, "is the peer's own address", HELP);
    } else if let Some(what) = of_vip(draft, source) {
        report.at(&path, format!("`{source}` {what}"), HELP);
    }
}

/// Of a session over IPv4 no IPv6 next hop follows; the other way round RFC 8950 helps.
fn next_hops(report: &mut Report, name: &str, peer: &PeerDraft) {
    let (Some(remote), Some(families)) = (&peer.remote, peer.families()) else { return };
    if remote.is_ipv4() && families.ipv6 && peer.next_hop_v6 == Some(None) {
        report.at(
            &format!("peers.{name}.next_hop_v6"),
            "missing: `families` asks for IPv6 on a session over IPv4",
            "add `next_hop_v6 = …`, this appliance's IPv6 address on the link, or peer over IPv6 too",
        );
    }
}

fn import(report: &mut Report, name: &str, peer: &PeerDraft) {
    let (Some(ImportDefault::Families(wanted)), Some(families)) = (peer.import_default, peer.families())
    else {
        return;
    };
    let Families { ipv4, ipv6 } = wanted;
    let missing = [("ipv4", ipv4 && !families.ipv4), ("ipv6", ipv6 && !families.ipv6)];
    for (family, _) in missing.into_iter().filter(|(_, is_missing)| *is_missing) {
        let message = format!("asks for `{family}`, which is not one of the session's `families`");
        report.at(&format!("peers.{name}.import_default"), message, "add it to `families`, or leave it out");
    }
}

fn listener(report: &mut Report, draft: &Draft, name: &str, peer: &PeerDraft) {
    let Some(listen) = &draft.bgp.listen else { return };
    if peer.passive == Some(true) && listen.is_empty() {
        let message = "is passive, but `bgp.listen` is empty: no session can come up";
        report.at(&format!("peers.{name}.passive"), message, "remove `passive`, or listen");
    }
    if let Some(Remote::Range { prefix, .. }) = &peer.remote {
        let is_heard = listen.iter().any(|socket| socket.is_ipv4() == prefix.address().is_ipv4());
        if !is_heard {
            let wanted = family(prefix.address());
            let message = format!("has only sessions that come in, but `bgp.listen` has no {wanted} address");
            report.at(&format!("peers.{name}.range"), message, "listen, or name the peers by `address`");
        }
    }
}
