// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's side: what wakes, what reads our routes, what adds and removes them.
//!
//! Two sockets. One hears multicast and reduces it to [`Heard`], so a lost message costs a wake-up and never
//! correctness. The other asks; it has strict checking on, without which kernels ignore the filter of a dump.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST,
    NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{AsyncSocket as _, SocketAddr};
use rtnetlink::{Handle, MulticastGroup};

use super::FibConfig;
use super::message::{self, Found};
use super::plan::{Change, ObservedRoute};
use crate::config::Family;

/// Longest wait for the next part of an answer: the kernel answers at once or lost the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// A dump that changed while it was read is read again this often before the last reading is taken as it is.
const DUMP_ATTEMPTS_MAX: usize = 4;
/// Most routes with our protocol number that are read; we make two, and sixteen next hops of each.
const ROUTES_MAX: usize = 1024;
/// Of the events that are there already, so many are taken at once.
const EVENTS_MAX: usize = 4096;

/// What happened in the kernel, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Heard {
    /// A route that may be ours, or messages were lost.
    pub(super) is_route: bool,
    /// A link or an address: what could not be done may work now, and IPv4 routes may have gone without a word.
    pub(super) is_link: bool,
}

impl Heard {
    fn add(&mut self, message: &NetlinkMessage<RouteNetlinkMessage>, protocol: u8) {
        match &message.payload {
            NetlinkPayload::InnerMessage(inner) => match inner {
                RouteNetlinkMessage::NewLink(_)
                | RouteNetlinkMessage::DelLink(_)
                | RouteNetlinkMessage::NewAddress(_)
                | RouteNetlinkMessage::DelAddress(_) => self.is_link = true,
                RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                    self.is_route |= message::concerns(route, protocol);
                }
                _ => {}
            },
            // Messages were lost, or something unknown came.
            _ => self.is_route = true,
        }
    }

    /// Whether there is a reason to look.
    pub(super) fn any(self) -> bool {
        self.is_route || self.is_link
    }
}

/// Why the kernel could not be read or told.
#[derive(Debug, thiserror::Error)]
pub(super) enum NetlinkError {
    #[error("the netlink socket is closed")]
    Closed,
    #[error("no answer from the kernel within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
    #[error("more than {ROUTES_MAX} routes have our protocol number")]
    TooMany,
    /// The kernel's error and, if it has any, its words.
    #[error("{}{source}", words.as_ref().map_or(String::new(), |words| format!("{words}: ")))]
    Refused { source: io::Error, words: Option<String> },
}

impl NetlinkError {
    /// The kernel's error number.
    pub(super) fn code(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            Self::Closed | Self::Timeout | Self::TooMany => None,
        }
    }
}

/// Our routes.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Those in our table.
    pub(super) routes: Vec<ObservedRoute>,
    /// How many there are in other tables.
    pub(super) elsewhere: u64,
}

/// The two sockets.
pub(super) struct Netlink {
    config: FibConfig,
    handle: Handle,
    events: futures_util::stream::BoxStream<'static, (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    connections: [tokio::task::JoinHandle<()>; 2],
}

impl Netlink {
    /// Opens both sockets in the network namespace of the calling thread. Needs a runtime.
    pub(super) fn open(config: FibConfig) -> io::Result<Self> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let (listening, _, events) = rtnetlink::new_multicast_connection(&groups)?;
        let (mut asking, handle, _) = rtnetlink::new_connection_with_strict_check()?;
        let socket = asking.socket_mut().socket_mut();
        // Words instead of bare numbers, and no echo of the request before them.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        let connections = [tokio::spawn(listening), tokio::spawn(asking)];
        Ok(Self { config, handle, events: events.boxed(), connections })
    }

    /// Waits for something that concerns us and takes what else is there already. `None` when the socket is closed.
    ///
    /// Cancelling loses nothing: what was taken is either in the answer or was nothing.
    pub(super) async fn changed(&mut self) -> Option<Heard> {
        let mut heard = Heard::default();
        while !heard.any() {
            heard.add(&self.events.next().await?.0, self.config.protocol);
        }
        for _ in 0..EVENTS_MAX {
            match futures_util::FutureExt::now_or_never(self.events.next()) {
                Some(Some((message, _))) => heard.add(&message, self.config.protocol),
                Some(None) | None => break,
            }
        }
        Some(heard)
    }

    /// Reads our routes of both families.
    pub(super) async fn read(&mut self) -> Result<Reading, NetlinkError> {
        let mut reading = Reading::default();
        for family in Family::ALL {
            for found in self.found(family).await? {
                if found.table == self.config.table {
                    reading.routes.extend(found.routes);
                } else {
                    reading.elsewhere += 1;
                }
            }
        }
        Ok(reading)
    }

    /// Makes one change.
    pub(super) async fn apply(&mut self, change: &Change) -> Result<(), NetlinkError> {
        let (route, flags) = match change {
            Change::Add { route, is_first: true } => (route, NLM_F_CREATE | NLM_F_EXCL),
            Change::Add { route, is_first: false } => (route, NLM_F_CREATE | NLM_F_APPEND),
            Change::Remove(route) => (route, 0),
        };
        let message = message::encode(route, &self.config);
        let message = match change {
            Change::Add { .. } => RouteNetlinkMessage::NewRoute(message),
            Change::Remove(_) => RouteNetlinkMessage::DelRoute(message),
        };
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.request(request).map_err(|_| NetlinkError::Closed)?;
        // An acknowledgement ends the stream without an item.
        while let Some(answer) = timed(answers.next()).await? {
            if let NetlinkPayload::Error(error) = answer.payload {
                return Err(refused(&error));
            }
        }
        Ok(())
    }

    async fn found(&mut self, family: Family) -> Result<Vec<Found>, NetlinkError> {
        let mut attempt = 1;
        loop {
            let (found, is_interrupted) = self.found_once(family).await?;
            // Whatever interrupted the last attempt also sent an event, which brings us back here.
            if !is_interrupted || attempt == DUMP_ATTEMPTS_MAX {
                return Ok(found);
            }
            attempt += 1;
        }
    }

    async fn found_once(&mut self, family: Family) -> Result<(Vec<Found>, bool), NetlinkError> {
        let request = message::request(family, self.config.protocol);
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(request));
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut answers = self.handle.request(request).map_err(|_| NetlinkError::Closed)?;
        let mut found = Vec::new();
        let mut is_interrupted = false;
        while let Some(answer) = timed(answers.next()).await? {
            is_interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                    if found.len() == ROUTES_MAX {
                        return Err(NetlinkError::TooMany);
                    }
                    // A kernel without this family answers with the routes of all others.
                    found.extend(message::decode(&route, family, self.config.protocol));
                }
                NetlinkPayload::Error(error) => match refused(&error) {
                    error if matches!(error.code(), Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT)) => {}
                    error => return Err(error),
                },
                // Answers were lost: this reading has a hole.
                NetlinkPayload::Overrun(_) => is_interrupted = true,
                _ => {}
            }
        }
        Ok((found, is_interrupted))
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

fn refused(error: &rtnetlink::packet_core::ErrorMessage) -> NetlinkError {
    NetlinkError::Refused { source: error.to_io(), words: words(&error.header) }
}

/// The kernel's words (`NLMSGERR_ATTR_MSG`) behind the 16 octets of the request's header, if there are any.
fn words(answer: &[u8]) -> Option<String> {
    const HEADER: usize = 16;
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let mut rest = answer.get(HEADER..)?;
    while let [a, b, c, d, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([c, d]) == NLMSGERR_ATTR_MSG {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        // At least four octets further, for `length` is at least four.
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(attributes: &[u8]) -> Vec<u8> {
        [&[0; 16], attributes].concat()
    }

    #[test]
    fn the_kernels_words_are_found_behind_other_attributes() {
        let mut attributes = vec![8, 0, 2, 0, 1, 2, 3, 4];
        attributes.extend([9, 0, 1, 0]);
        attributes.extend(b"oops\0\0\0\0");
        assert_eq!(words(&answer(&attributes)).as_deref(), Some("oops"));
    }

    #[test]
    fn a_broken_answer_has_no_words_and_ends() {
        for attributes in [&[][..], &[0, 0, 1, 0], &[3, 0, 1, 0], &[200, 0, 1, 0], &[4, 0, 2, 0], &[1, 0]] {
            assert_eq!(words(&answer(attributes)), None);
        }
        assert_eq!(words(&[0; 7]), None);
    }
}
