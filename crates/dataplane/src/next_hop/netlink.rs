// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's side: events that wake, dumps that are read whole, neighbour entries that are made and removed.
//!
//! Three sockets. Two only hear multicast (`super::notices` is the other): what they say is reduced to *which tables to
//! read again* ([`Dirty`]), so a lost or undecodable message costs a wake-up and never correctness. The third only asks, so
//! answers do not compete with bursts of events for its buffer.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourMessage, NeighbourState as Nud,
};
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup};

use super::{NEIGHBOUR_PROTOCOL, notices};

/// Longest wait for the next part of an answer: the kernel answers at once or lost the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Entries of one dump. Far above what a load balancer's host holds; more is refused rather than stored.
const DUMP_ENTRIES_MAX: usize = 1_000_000;
/// A dump that changed while it was read is read again this often before the last reading is taken as it is.
const DUMP_ATTEMPTS_MAX: usize = 4;

/// Which tables may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Dirty {
    pub(super) links: bool,
    pub(super) routes: bool,
    pub(super) neighbours: bool,
}

impl Dirty {
    pub(super) const ALL: Self = Self { links: true, routes: true, neighbours: true };

    /// Nexthop objects are shown by the routes that use them.
    const ROUTES: Self = Self { links: false, routes: true, neighbours: false };

    pub(super) fn any(self) -> bool {
        self.links || self.routes || self.neighbours
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.links |= other.links;
        self.routes |= other.routes;
        self.neighbours |= other.neighbours;
    }

    /// What `message` says may have changed.
    fn by(message: &NetlinkMessage<RouteNetlinkMessage>) -> Self {
        match &message.payload {
            NetlinkPayload::InnerMessage(inner) => match inner {
                // The kernel drops IPv4 routes silently when a link or an address goes.
                RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_) => Self::ALL,
                RouteNetlinkMessage::NewAddress(_)
                | RouteNetlinkMessage::DelAddress(_)
                | RouteNetlinkMessage::NewRoute(_)
                | RouteNetlinkMessage::DelRoute(_) => Self::ROUTES,
                RouteNetlinkMessage::NewNeighbour(_) | RouteNetlinkMessage::DelNeighbour(_) => {
                    Self { neighbours: true, ..Self::default() }
                }
                _ => Self::default(),
            },
            // Messages were lost, or something unknown came: read everything.
            _ => Self::ALL,
        }
    }
}

/// Why the kernel could not be read or told.
#[derive(Debug, thiserror::Error)]
pub(super) enum NetlinkError {
    #[error("the netlink socket is closed")]
    Closed,
    #[error("no answer from the kernel within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
    #[error("more than {DUMP_ENTRIES_MAX} entries in one table")]
    TooMany,
    #[error("the kernel refused")]
    Refused(#[source] std::io::Error),
}

/// The sockets.
pub(super) struct Netlink {
    handle: Handle,
    /// What each event says; `None` when a socket is closed.
    events: futures_util::stream::BoxStream<'static, Option<Dirty>>,
    connections: [tokio::task::JoinHandle<()>; 3],
}

impl Netlink {
    /// Opens the sockets in the network namespace of the calling thread. Needs a runtime.
    pub(super) fn open() -> std::io::Result<Self> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let (listening, _, events) = rtnetlink::new_multicast_connection(&groups)?;
        let (asking, handle, _) = rtnetlink::new_connection()?;
        let (notices, noticing) = notices::open()?;
        let connections = [tokio::spawn(listening), tokio::spawn(asking), noticing];
        let end = || futures_util::stream::once(std::future::ready(None));
        let events = events.map(|(message, _)| Some(Dirty::by(&message))).chain(end());
        let notices = notices.map(|()| Some(Dirty::ROUTES)).chain(end());
        let events = futures_util::stream::select(events, notices).boxed();
        Ok(Self { handle, events, connections })
    }

    /// Waits for an event and takes every other that is there already. `None` when the socket is closed.
    ///
    /// Cancelling loses nothing: an event is either taken and in the answer, or still waiting.
    pub(super) async fn changed(&mut self) -> Option<Dirty> {
        let mut dirty = self.events.next().await??;
        while let Some(Some(Some(more))) = futures_util::FutureExt::now_or_never(self.events.next()) {
            dirty.merge(more);
        }
        Some(dirty)
    }

    pub(super) async fn links(&mut self) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default())).await
    }

    pub(super) async fn routes(&mut self) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut all = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            all.append(&mut self.dump(RouteNetlinkMessage::GetRoute(request)).await?);
        }
        Ok(all)
    }

    pub(super) async fn neighbours(&mut self) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut all = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = NeighbourMessage::default();
            request.header.family = family;
            all.append(&mut self.dump(RouteNetlinkMessage::GetNeighbour(request)).await?);
        }
        Ok(all)
    }

    /// Makes the kernel resolve a neighbour and keep it so; an entry that is there keeps its state.
    pub(super) async fn manage_neighbour(
        &mut self,
        ifindex: u32,
        address: IpAddr,
    ) -> Result<(), NetlinkError> {
        let mut message = neighbour_message(ifindex, address);
        message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Other(NEIGHBOUR_PROTOCOL)));
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.tell(RouteNetlinkMessage::NewNeighbour(message), flags).await
    }

    /// Removes a neighbour entry; one that is gone already is fine.
    pub(super) async fn remove_neighbour(
        &mut self,
        ifindex: u32,
        address: IpAddr,
    ) -> Result<(), NetlinkError> {
        let message = neighbour_message(ifindex, address);
        match self.tell(RouteNetlinkMessage::DelNeighbour(message), NLM_F_REQUEST | NLM_F_ACK).await {
            Err(NetlinkError::Refused(e))
                if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    async fn tell(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), NetlinkError> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        let mut answers = self.handle.request(request).map_err(|_| NetlinkError::Closed)?;
        // An acknowledgement ends the stream without an item.
        while let Some(answer) = timed(answers.next()).await? {
            if let NetlinkPayload::Error(error) = answer.payload {
                return Err(NetlinkError::Refused(error.to_io()));
            }
        }
        Ok(())
    }

    async fn dump(&mut self, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut attempt = 1;
        loop {
            let (entries, is_interrupted) = self.dump_once(message.clone()).await?;
            // Whatever interrupted the last attempt also sent an event, which brings us back here.
            if !is_interrupted || attempt == DUMP_ATTEMPTS_MAX {
                return Ok(entries);
            }
            attempt += 1;
        }
    }

    async fn dump_once(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> Result<(Vec<RouteNetlinkMessage>, bool), NetlinkError> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut answers = self.handle.request(request).map_err(|_| NetlinkError::Closed)?;
        let mut entries = Vec::new();
        let mut is_interrupted = false;
        while let Some(answer) = timed(answers.next()).await? {
            is_interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(_) if entries.len() == DUMP_ENTRIES_MAX => {
                    return Err(NetlinkError::TooMany);
                }
                NetlinkPayload::InnerMessage(inner) => entries.push(inner),
                NetlinkPayload::Error(error) => return Err(NetlinkError::Refused(error.to_io())),
                // Answers of the asking socket were lost: this reading has a hole.
                NetlinkPayload::Overrun(_) => is_interrupted = true,
                _ => {}
            }
        }
        Ok((entries, is_interrupted))
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        for connection in &self.connections {
            connection.abort();
        }
    }
}

async fn timed<T>(answer: impl Future<Output = T>) -> Result<T, NetlinkError> {
    tokio::time::timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| NetlinkError::Timeout)
}

fn neighbour_message(ifindex: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = ifindex;
    message.header.state = Nud::None;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::from(address)));
    message
}
