// SPDX-License-Identifier: Apache-2.0 OR MIT
//! That nexthop objects changed (`ip nexthop`, RTNLGRP_NEXTHOP, kernel 5.3), and no more than that.
//!
//! Routing daemons give routes a group of nexthop objects. When a member leaves its group, the kernel tells of the group
//! and not of the routes that use it; route dumps show the group's members, so all that is needed is a reason to read again.
//! The netlink library cannot decode these messages, hence a socket of its own with a decoder that takes everything.

use std::convert::Infallible;

use futures_util::{Stream, StreamExt as _};
use rtnetlink::packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use rtnetlink::sys::{AsyncSocket as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};

/// The group's bit in a socket's address: RTNLGRP_NEXTHOP is 32.
const GROUP_NEXTHOP: u32 = 1 << (32 - 1);

/// Type of a message that says nothing (RFC 3549 §2.3.2); none is ever sent here.
const NLMSG_NOOP: u16 = 1;

/// A message that was not looked at.
#[derive(Debug)]
struct Notice;

impl NetlinkDeserializable for Notice {
    type Error = Infallible;

    fn deserialize(_: &NetlinkHeader, _: &[u8]) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

impl NetlinkSerializable for Notice {
    fn message_type(&self) -> u16 {
        NLMSG_NOOP
    }

    fn buffer_len(&self) -> usize {
        0
    }

    fn serialize(&self, _: &mut [u8]) {}
}

/// An item for each change, and the task that reads the socket. Needs a runtime.
pub(super) fn open() -> std::io::Result<(impl Stream<Item = ()> + Send + 'static, tokio::task::JoinHandle<()>)>
{
    let (mut connection, _, notices) =
        rtnetlink::proto::new_connection_with_socket::<Notice, TokioSocket>(NETLINK_ROUTE)?;
    connection.socket_mut().socket_mut().bind(&SocketAddr::new(0, GROUP_NEXTHOP))?;
    Ok((notices.map(drop), tokio::spawn(connection)))
}
