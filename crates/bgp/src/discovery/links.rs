// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the kernel says of interfaces: whether they are there and up, their index, their link-local addresses.
//!
//! Events of netlink only wake: both tables are then read whole, so that a lost or strange message costs a reading and
//! never correctness. Read at most fifty times a second, however much happens.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::watch;

/// Least time between two readings.
const READ_INTERVAL: Duration = Duration::from_millis(20);
/// Longest wait for the next part of an answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Wait before everything is opened anew after netlink failed.
const RETRY: Duration = Duration::from_secs(1);
/// A reading without an event, in case one was lost.
const RESYNC: Duration = Duration::from_secs(30);
/// Entries of one table; more than a host has, and the bound of what is read.
const ENTRIES_MAX: usize = 100_000;
/// Readings in a row of a table that changes meanwhile, before the last one is taken as it is.
const ATTEMPTS_MAX: usize = 4;

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LinkState {
    pub(crate) index: u32,
    /// Switched on and with a carrier.
    pub(crate) is_up: bool,
    /// Address, if it is one of Ethernet.
    pub(crate) link_layer: Option<[u8; 6]>,
    /// Link-local addresses that may be used, in the kernel's order.
    pub(crate) link_locals: Vec<Ipv6Addr>,
}

/// All interfaces by name; `None` until they were read.
pub(crate) type Links = Option<Arc<BTreeMap<String, LinkState>>>;

/// Publishes what it reads until nobody listens.
pub(crate) async fn run(links: watch::Sender<Links>) {
    // CANCEL: netlink is opened anew by the next one; nothing is half-done.
    tokio::select! {
        () = links.closed() => {}
        () = follow(&links) => {}
    }
}

async fn follow(links: &watch::Sender<Links>) {
    loop {
        if let Err(error) = follow_once(links).await {
            // What was known last stands: our own trouble is no reason to end sessions.
            tracing::warn!(%error, "interfaces cannot be read");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_once(links: &watch::Sender<Links>) -> io::Result<()> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv6Ifaddr];
    let (listening, _, mut events) = rtnetlink::new_multicast_connection(&groups)?;
    let (asking, handle, _) = rtnetlink::new_connection()?;
    let serve = async {
        loop {
            let read = Arc::new(read(&handle).await?);
            links.send_if_modified(|links| {
                let is_other = links.as_ref() != Some(&read);
                *links = Some(read);
                is_other
            });
            tokio::time::sleep(READ_INTERVAL).await;
            if let Ok(None) = tokio::time::timeout(RESYNC, events.next()).await {
                return Err(io::Error::other("the netlink socket is closed"));
            }
            // All that is there already is in the next reading.
            while let Some(Some(_)) = events.next().now_or_never() {}
        }
    };
    // CANCEL: all three live and end together.
    tokio::select! {
        result = serve => result,
        () = listening => Err(io::Error::other("the netlink socket for events is closed")),
        () = asking => Err(io::Error::other("the netlink socket for questions is closed")),
    }
}

async fn read(handle: &Handle) -> io::Result<BTreeMap<String, LinkState>> {
    let links = dump(handle, RouteNetlinkMessage::GetLink(LinkMessage::default())).await?;
    let mut request = AddressMessage::default();
    request.header.family = AddressFamily::Inet6;
    let addresses = dump(handle, RouteNetlinkMessage::GetAddress(request)).await?;
    Ok(collect(&links, &addresses))
}

async fn dump(handle: &Handle, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut entries = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        entries.clear();
        let mut is_interrupted = false;
        let mut request = NetlinkMessage::from(message.clone());
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut handle = handle.clone();
        let mut answers = handle.request(request).map_err(io::Error::other)?;
        while let Some(answer) = tokio::time::timeout(ANSWER_MAX, answers.next()).await? {
            is_interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(_) if entries.len() == ENTRIES_MAX => {
                    return Err(io::Error::other("too many entries"));
                }
                NetlinkPayload::InnerMessage(inner) => entries.push(inner),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::Overrun(_) => is_interrupted = true,
                _ => {}
            }
        }
        if !is_interrupted {
            break;
        }
    }
    Ok(entries)
}

/// Both tables to the map of interfaces. Pure.
fn collect(links: &[RouteNetlinkMessage], addresses: &[RouteNetlinkMessage]) -> BTreeMap<String, LinkState> {
    let mut by_index: BTreeMap<u32, Vec<Ipv6Addr>> = BTreeMap::new();
    for message in addresses {
        if let RouteNetlinkMessage::NewAddress(message) = message
            && let Some(address) = usable_link_local(message)
        {
            by_index.entry(message.header.index).or_default().push(address);
        }
    }
    let mut all = BTreeMap::new();
    for message in links {
        let RouteNetlinkMessage::NewLink(message) = message else { continue };
        let mut state = LinkState {
            index: message.header.index,
            is_up: message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            link_locals: by_index.remove(&message.header.index).unwrap_or_default(),
            link_layer: None,
        };
        let is_ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        let mut name = None;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text.clone()),
                LinkAttribute::Address(octets) if is_ethernet => {
                    state.link_layer = octets.as_slice().try_into().ok();
                }
                _ => {}
            }
        }
        all.extend(name.map(|name| (name, state)));
    }
    all
}

/// Its address if it is link-local and past duplicate address detection: a tentative one receives nothing.
fn usable_link_local(message: &AddressMessage) -> Option<Ipv6Addr> {
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Flags(all) => flags = *all,
            // Of a point-to-point address `Local` is ours.
            AddressAttribute::Local(IpAddr::V6(local)) => address = Some(*local),
            AddressAttribute::Address(IpAddr::V6(prefix)) if address.is_none() => address = Some(*prefix),
            _ => {}
        }
    }
    let is_tentative = flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic);
    let is_unusable = is_tentative || flags.contains(AddressFlags::Dadfailed);
    address.filter(|address| address.is_unicast_link_local() && !is_unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, flags: LinkFlags) -> RouteNetlinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = flags;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.attributes =
            vec![LinkAttribute::IfName(name.into()), LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1])];
        RouteNetlinkMessage::NewLink(message)
    }

    fn address(index: u32, text: &str, flags: AddressFlags) -> RouteNetlinkMessage {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.attributes =
            vec![AddressAttribute::Address(text.parse().unwrap()), AddressAttribute::Flags(flags)];
        RouteNetlinkMessage::NewAddress(message)
    }

    #[test]
    fn only_usable_link_locals_of_the_right_interface_count() {
        let up = LinkFlags::Up | LinkFlags::LowerUp;
        let links = [link(2, "eth0", up), link(3, "eth1", LinkFlags::Up), link(4, "eth2", up)];
        let addresses = [
            address(2, "2001:db8::1", AddressFlags::Permanent),
            address(2, "fe80::1", AddressFlags::Permanent),
            address(2, "fe80::2", AddressFlags::Permanent | AddressFlags::Tentative),
            address(
                2,
                "fe80::3",
                AddressFlags::Permanent | AddressFlags::Tentative | AddressFlags::Dadfailed,
            ),
            address(3, "fe80::1", AddressFlags::Permanent),
            address(9, "fe80::9", AddressFlags::Permanent),
        ];
        let all = collect(&links, &addresses);
        let eth0 = LinkState {
            index: 2,
            is_up: true,
            link_layer: Some([2, 0, 0, 0, 0, 1]),
            link_locals: vec!["fe80::1".parse().unwrap()],
        };
        assert_eq!(all["eth0"], eth0);
        assert!(!all["eth1"].is_up, "no carrier");
        assert_eq!(all["eth1"].link_locals.len(), 1);
        assert!(all["eth2"].is_up && all["eth2"].link_locals.is_empty());
        assert_eq!(all.len(), 3);
    }
}
