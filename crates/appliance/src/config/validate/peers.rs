// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about peers: eBGP, one session for each address, next hops for each family.

use std::net::IpAddr;

use super::{family, own_source, parent, vip_with};
use crate::config::limits;
use crate::config::read::{Draft, PeerDraft};
use crate::config::report::Report;
use crate::model::RemoteAs;

pub(super) fn validate(report: &mut Report, draft: &Draft) {
    if draft.peers.len() > limits::PEERS_MAX {
        let message =
            format!("found {} peers, at most {} are supported", draft.peers.len(), limits::PEERS_MAX);
        report.at("peers", message, "peer with the switches next to the appliance, not with all of them");
    }
    let addresses =
        draft.peers.iter().filter_map(|(name, p)| Some((p.address?, format!("peers.{name}.address"))));
    report.repeated(addresses, |address, first| {
        let message = format!("`{address}` is already the address of `{}`", parent(first));
        (
            message,
            "one address makes one session: remove one, and use `families` for both families".to_owned(),
        )
    });
    for (name, peer) in &draft.peers {
        autonomous_system(report, draft, name, peer);
        addresses_of(report, draft, name, peer);
        next_hops(report, name, peer);
        let listens_nowhere = draft.bgp.listen.as_ref().is_some_and(Vec::is_empty);
        if peer.passive == Some(true) && listens_nowhere {
            let message = "is passive, but `bgp.listen` is empty: no session can come up";
            report.at(&format!("peers.{name}.passive"), message, "remove `passive`, or listen");
        }
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
    let Some(address) = peer.address else { return };
    let path = format!("peers.{name}.address");
    if let Some(vip) = vip_with(draft, address) {
        let message = format!("`{address}` is the address of VIP `{vip}`");
        report.at(&path, message, "give the switch's own address on the shared link");
    } else if let Some(source) = own_source(draft, address) {
        let message = format!("`{address}` is the appliance's own address (`{source}`)");
        report.at(&path, message, "give the switch's own address on the shared link");
    }
    let Some(Some(source)) = peer.source else { return };
    let path = format!("peers.{name}.source");
    if source.is_ipv4() != address.is_ipv4() {
        let message = format!(
            "found `{source}`, expected an {} address like that of the peer (`{address}`)",
            family(address)
        );
        report.at(&path, message, "use this appliance's address on the link to the peer");
    } else if source == address {
        report.at(&path, "is the peer's own address", "use this appliance's address on the link to the peer");
    } else if let Some(vip) = vip_with(draft, source) {
        let message = format!("`{source}` is the address of VIP `{vip}`");
        report.at(&path, message, "use this appliance's address on the link to the peer");
    }
}

/// Prefixes of the family that the session does not run over have no next hop by themselves.
fn next_hops(report: &mut Report, name: &str, peer: &PeerDraft) {
    let (Some(address), Some(families)) = (peer.address, peer.families()) else { return };
    let missing = match address {
        IpAddr::V4(_) => families.ipv6 && peer.next_hop_v6 == Some(None),
        IpAddr::V6(_) => families.ipv4 && peer.next_hop_v4 == Some(None),
    };
    if missing {
        let (key, other) = if address.is_ipv4() { ("next_hop_v6", "IPv6") } else { ("next_hop_v4", "IPv4") };
        report.at(
            &format!("peers.{name}.{key}"),
            format!("missing: `families` asks for {other} on a session over {}", family(address)),
            format!(
                "add `{key} = …`, this appliance's {other} address on the link, or peer over {other} too"
            ),
        );
    }
}
