// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A netlink socket that waits for each answer: orders here are few, one after the other, and their caller is not async.

use std::io;
use std::time::Duration;

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// Longest wait for the next part of an answer: the kernel answers at once or lost the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Octets of one part of an answer; the kernel never makes them larger (NLMSG_GOODSIZE, 8 KiB, or 32 KiB for dumps).
const PART_MAX: usize = 64 * 1024;
/// Entries of one list. Far above what a load balancer's host holds; more is refused rather than stored.
const ENTRIES_MAX: usize = 1_000_000;
/// A list that changed while it was read is read again, so often.
const DUMP_ATTEMPTS_MAX: usize = 8;
/// Octets of a message's header; the first four are its length.
const HEADER: usize = 16;

/// The socket, in the network namespace of the thread that opened it.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Lists are filtered by the kernel, and only then.
        socket.set_netlink_get_strict_chk(true)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends an order and waits until the kernel has carried it out. `flags` are added to the usual ones.
    pub(super) fn tell(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        self.answers(|_| ()).map(|_| ())
    }

    /// All entries of a list.
    pub(super) fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_ATTEMPTS_MAX {
            self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            let mut entries = Vec::new();
            let mut is_too_long = false;
            let is_whole = self.answers(|entry| {
                if entries.len() < ENTRIES_MAX {
                    entries.push(entry);
                } else {
                    is_too_long = true;
                }
            })?;
            if is_too_long {
                return Err(io::Error::from_raw_os_error(libc::E2BIG));
            }
            if is_whole {
                return Ok(entries);
            }
        }
        // Whoever asked tries again later: a list with holes would have it take its own things for missing.
        Err(io::Error::from_raw_os_error(libc::EAGAIN))
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut octets = vec![0; request.buffer_len()];
        request.serialize(&mut octets);
        self.socket.send(&octets, 0).map(|_| ())
    }

    /// Takes the parts of the answer to the last request, until its acknowledgement or the end of the list. Gives whether
    /// nothing changed in the list while it was read.
    fn answers(&mut self, mut entry: impl FnMut(RouteNetlinkMessage)) -> io::Result<bool> {
        let mut is_whole = true;
        loop {
            let mut part = Vec::with_capacity(PART_MAX);
            match self.socket.recv(&mut part, 0) {
                // A signal; with a time-out set the kernel does not go on by itself.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            let mut rest = part.as_slice();
            while let Some(length) = length(rest) {
                let (octets, next) = rest.split_at(length.min(rest.len()));
                // Behind each message there is room up to the next multiple of four.
                rest = next.get(length.next_multiple_of(4) - length..).unwrap_or_default();
                // What this library cannot read was not made by it.
                let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(octets) else {
                    continue;
                };
                // An answer to an order that was given up waiting for.
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                is_whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => entry(inner),
                    NetlinkPayload::Done(_) => return Ok(is_whole),
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok(is_whole),
                            Some(_) => Err(error.to_io()),
                        };
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Length of the message that `octets` begin with; `None` at the end.
fn length(octets: &[u8]) -> Option<usize> {
    let length = u32::from_ne_bytes(*octets.first_chunk::<4>()?);
    usize::try_from(length).ok().filter(|length| *length >= HEADER)
}
