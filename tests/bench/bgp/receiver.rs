// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Measuring peers: they connect, agree to everything, and note when which octets came. One thread each, one `read` after
//! the other; what is noted is when a read that completes a message returned.
//!
//! Time begins when the KEEPALIVE that makes the speaker Established leaves here: no speaker can announce before.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketType, bind, socket};
use weir_lab::document::{APPLIANCE_AS, TOR_AS};
use weir_lab::{BgpBed, wait_until};

use crate::clock;
use crate::subject::{SPEAKER, number_of, peer_address};

/// A speaker that starts, or rests after a session, has this long.
const ESTABLISH_LIMIT: Duration = Duration::from_secs(40);
/// Everything announced, or one prefix withdrawn.
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any round: nobody needs to send a second KEEPALIVE.
const HOLD_TIME_S: u16 = 600;
const READ_BUFFER: usize = 1 << 20;
const HEADER: usize = 19;
const MESSAGE_MAX: usize = 4096;

const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;

/// What one peer noted, told as it happens.
#[derive(Debug)]
enum Noted {
    /// The first UPDATE came.
    First(Duration),
    /// The last of the awaited prefixes came.
    All(Duration),
    /// This prefix was withdrawn.
    Withdrawn(u32, Duration),
    /// The session is over.
    Ended(String),
}

/// Times since the sessions stood, of the slowest peer.
#[derive(Debug, Clone, Copy)]
pub struct Announced {
    /// To the first UPDATE.
    pub first: Duration,
    /// To the last prefix.
    pub all: Duration,
}

/// Sessions of measuring peers with the speaker; closed when dropped.
#[derive(Debug)]
pub struct Receivers {
    peers: Vec<Peer>,
    started: Duration,
}

#[derive(Debug)]
struct Peer {
    noted: Receiver<Noted>,
    socket: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Receivers {
    /// Establishes sessions of `count` peers, which all await prefixes 0 to `prefixes`.
    pub fn establish(bed: &BgpBed, count: u8, prefixes: u32) -> Result<Receivers> {
        let mut open = Vec::new();
        for number in 1..=count {
            let stream = wait_until(&format!("an OPEN for peer {number}"), ESTABLISH_LIMIT, || {
                bed.tor(1).enter(|| exchange_opens(number))?
            })?;
            open.push(stream);
        }
        // All at the same moment, so that no peer is served while another is still being met.
        let started = clock::now();
        let mut peers = Vec::new();
        for mut stream in open {
            stream.write_all(&message(KEEPALIVE, &[]))?;
            stream.set_read_timeout(None)?;
            let (tell, noted) = channel();
            let socket = stream.try_clone()?;
            let thread = std::thread::spawn(move || read(stream, prefixes, &tell));
            peers.push(Peer { noted, socket, thread: Some(thread) });
        }
        Ok(Receivers { peers, started })
    }

    /// Waits until every peer has every prefix.
    pub fn wait_announced(&mut self) -> Result<Announced> {
        let (mut first, mut all) = (self.started, self.started);
        for peer in &self.peers {
            loop {
                match peer.noted.recv_timeout(LIMIT).context("wait for all prefixes")? {
                    Noted::First(at) => first = first.max(at),
                    Noted::All(at) => {
                        all = all.max(at);
                        break;
                    }
                    Noted::Withdrawn(number, _) => bail!("prefix {number} was withdrawn"),
                    Noted::Ended(why) => bail!("the session ended: {why}"),
                }
            }
        }
        Ok(Announced { first: first - self.started, all: all - self.started })
    }

    /// Waits until every peer was told that a prefix is gone, and says when the last of them was.
    pub fn wait_withdrawn(&mut self, number: u32) -> Result<Duration> {
        let mut last = Duration::ZERO;
        for peer in &self.peers {
            match peer.noted.recv_timeout(LIMIT).context("wait for a withdraw")? {
                Noted::Withdrawn(gone, at) if gone == number => last = last.max(at),
                other => bail!("instead of the withdraw of {number}: {other:?}"),
            }
        }
        Ok(last)
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        for peer in &mut self.peers {
            // The speaker may have closed it; the thread ends either way.
            peer.socket.shutdown(std::net::Shutdown::Both).ok();
            if let Some(thread) = peer.thread.take()
                && thread.join().is_err()
            {
                eprintln!("a measuring peer panicked");
            }
        }
    }
}

/// Connects, sends an OPEN, takes the speaker's; the KEEPALIVE is left to the caller.
fn exchange_opens(number: u8) -> Result<TcpStream> {
    let IpAddr::V4(own) = peer_address(number) else { bail!("peers are numbered in IPv4") };
    let unbound = socket(AddressFamily::INET, SocketType::STREAM, None).context("make a socket")?;
    bind(&unbound, &SocketAddr::new(own.into(), 0)).context("bind to the peer's address")?;
    rustix::net::connect(&unbound, &SocketAddr::new(SPEAKER.into(), 179)).context("connect")?;
    let mut stream = TcpStream::from(unbound);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(&message(OPEN, &open(own)))?;
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).context("read the speaker's OPEN")?;
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    ensure!(header[18] == OPEN && (HEADER..=MESSAGE_MAX).contains(&length), "no OPEN but {header:?}");
    let mut body = vec![0; length - HEADER];
    stream.read_exact(&mut body)?;
    ensure!(body.get(1..3) == Some(&speaker_as()[..]), "an OPEN of another AS");
    Ok(stream)
}

fn speaker_as() -> [u8; 2] {
    u16::try_from(APPLIANCE_AS).unwrap_or(23456).to_be_bytes()
}

/// IPv4 unicast, route refresh, four-octet AS numbers.
fn open(id: Ipv4Addr) -> Vec<u8> {
    let asn = TOR_AS.to_be_bytes();
    let mut body = vec![4, asn[2], asn[3]];
    body.extend(HOLD_TIME_S.to_be_bytes());
    body.extend(id.octets());
    let capabilities = [1, 4, 0, 1, 0, 1, 2, 0, 65, 4, asn[0], asn[1], asn[2], asn[3]];
    body.extend([16, 2, 14]);
    body.extend(capabilities);
    body
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    let mut octets = vec![0xff; 16];
    octets.extend(length.to_be_bytes());
    octets.push(kind);
    octets.extend(body);
    octets
}

/// Reads until the session ends.
fn read(mut stream: TcpStream, prefixes: u32, tell: &Sender<Noted>) {
    let mut table = Table { is_here: vec![false; prefixes as usize], missing: prefixes, is_first: true };
    let mut buffer = vec![0; READ_BUFFER];
    let mut filled = 0;
    loop {
        let length = match stream.read(&mut buffer[filled..]) {
            Ok(0) => return end(tell, "closed"),
            Ok(length) => length,
            Err(error) => return end(tell, &error.to_string()),
        };
        let at = clock::now();
        filled += length;
        let mut used = 0;
        while let Some(message) = next_message(&buffer[used..filled]) {
            used += message.len();
            if let Err(why) = table.take(message, at, tell) {
                return end(tell, &format!("{why:#}"));
            }
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
}

/// Whoever measures may have gone already.
fn end(tell: &Sender<Noted>, why: &str) {
    tell.send(Noted::Ended(why.to_owned())).ok();
}

fn next_message(octets: &[u8]) -> Option<&[u8]> {
    let header = octets.get(..HEADER)?;
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    octets.get(..length.max(HEADER))
}

struct Table {
    is_here: Vec<bool>,
    missing: u32,
    is_first: bool,
}

impl Table {
    fn take(&mut self, message: &[u8], at: Duration, tell: &Sender<Noted>) -> Result<()> {
        let body = &message[HEADER..];
        match message[18] {
            UPDATE => {
                if std::mem::take(&mut self.is_first) {
                    tell.send(Noted::First(at)).ok();
                }
                self.update(body, at, tell).context("an UPDATE that is not understood")
            }
            NOTIFICATION => bail!("NOTIFICATION {:?}", body.get(..2)),
            _ => Ok(()),
        }
    }

    /// Classic fields only, which is all that IPv4 over IPv4 needs.
    fn update(&mut self, body: &[u8], at: Duration, tell: &Sender<Noted>) -> Option<()> {
        let (withdrawn, rest) = field(body)?;
        for prefix in host_routes(withdrawn) {
            let number = number_of(prefix)?;
            *self.is_here.get_mut(number as usize)? = false;
            tell.send(Noted::Withdrawn(number, at)).ok();
        }
        let (_attributes, announced) = field(rest)?;
        for prefix in host_routes(announced) {
            let number = number_of(prefix)?;
            let is_here = self.is_here.get_mut(number as usize)?;
            if !std::mem::replace(is_here, true) {
                self.missing -= 1;
                if self.missing == 0 {
                    tell.send(Noted::All(at)).ok();
                }
            }
        }
        Some(())
    }
}

/// A field behind its two octets of length, and what follows it.
fn field(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// The /32 in a list of NLRI; the rest of a list with anything else is left out.
fn host_routes(nlri: &[u8]) -> impl Iterator<Item = Ipv4Addr> {
    nlri.chunks_exact(5)
        .take_while(|route| route[0] == 32)
        .map(|route| Ipv4Addr::new(route[1], route[2], route[3], route[4]))
}
