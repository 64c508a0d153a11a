// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An echo request and its answer, by the kernel's unprivileged ICMP socket: no program needed.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::netns::Netns;
use crate::tunnel::socket;

/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// Pings an address from a namespace once.
pub fn ping(from: &Netns, to: IpAddr) -> Result<()> {
    from.sysctl("ipv4/ping_group_range", "0 2147483647")?;
    from.enter(|| echo(to))?.with_context(|| format!("ping {to}"))
}

fn echo(to: IpAddr) -> Result<()> {
    let (protocol, request, reply) = match to {
        IpAddr::V4(_) => (libc::IPPROTO_ICMP, ECHO_REQUEST, ECHO_REPLY),
        IpAddr::V6(_) => (libc::IPPROTO_ICMPV6, ECHO_REQUEST_V6, ECHO_REPLY_V6),
    };
    let socket = socket(to, libc::SOCK_DGRAM, protocol)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    // Type, code; the kernel fills checksum and identifier.
    socket.send_to(&[request, 0, 0, 0, 0, 0, 0, 1], (to, 0))?;
    let mut answer = [0_u8; 64];
    let length = socket.recv(&mut answer).context("no answer")?;
    ensure!(length >= 8 && answer[0] == reply, "an ICMP message of type {}", answer[0]);
    Ok(())
}
