// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host's own addresses: read whole at the start, and again whenever the kernel says that they changed.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

/// Longest wait for the kernel's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the addresses could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// A netlink socket could not be opened.
    #[error("open a netlink socket")]
    Socket(#[source] io::Error),
    /// The kernel refused or the socket closed.
    #[error("list the host's addresses")]
    Netlink(#[source] rtnetlink::Error),
    /// No answer.
    #[error("list the host's addresses: no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
}

/// A view of the host's addresses. One socket hears of changes, another asks.
pub(crate) struct HostAddresses {
    handle: Handle,
    changes: BoxStream<'static, ()>,
    connections: [JoinHandle<()>; 2],
}

impl HostAddresses {
    /// Opens the sockets; needs a runtime.
    pub(crate) fn open() -> Result<Self, AddressError> {
        let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (listening, _, events) =
            rtnetlink::new_multicast_connection(&groups).map_err(AddressError::Socket)?;
        let (asking, handle, _) = rtnetlink::new_connection().map_err(AddressError::Socket)?;
        let connections = [tokio::spawn(listening), tokio::spawn(asking)];
        Ok(Self { handle, changes: events.map(|_| ()).boxed(), connections })
    }

    /// Waits until the addresses may have changed; `false` when the socket closed. Cancelling loses nothing that a later
    /// [`Self::read`] would not find.
    pub(crate) async fn changed(&mut self) -> bool {
        let first = self.changes.next().await;
        // A burst is one change: take what is there.
        while let Some(Some(())) = self.changes.next().now_or_never() {}
        first.is_some()
    }

    /// All addresses that packets from elsewhere may be for.
    pub(crate) async fn read(&self) -> Result<BTreeSet<IpAddr>, AddressError> {
        let messages = self.handle.address().get().execute().try_collect::<Vec<_>>();
        let messages =
            tokio::time::timeout(ANSWER_TIMEOUT, messages).await.map_err(|_| AddressError::Timeout)?;
        let messages = messages.map_err(AddressError::Netlink)?;
        Ok(messages.iter().filter_map(own_address).filter(|address| !address.is_loopback()).collect())
    }
}

impl Drop for HostAddresses {
    fn drop(&mut self) {
        for connection in &self.connections {
            connection.abort();
        }
    }
}

/// The local end; on links with a peer address the attribute `Address` is the peer's.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    find(|attribute| if let AddressAttribute::Local(address) = attribute { Some(*address) } else { None })
        .or_else(|| {
            find(
                |attribute| {
                    if let AddressAttribute::Address(address) = attribute { Some(*address) } else { None }
                },
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_end_of_a_point_to_point_link_is_ours() {
        let (local, peer): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut message = AddressMessage::default();
        message.attributes = vec![AddressAttribute::Address(peer), AddressAttribute::Local(local)];
        assert_eq!(own_address(&message), Some(local));
        message.attributes.pop();
        assert_eq!(own_address(&message), Some(peer), "IPv6 names only this one");
    }
}
