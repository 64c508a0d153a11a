// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames by the hundred thousand: a stream of clients' packets onto an interface, and who the tunnelled ones were sent to.
//!
//! By packet sockets, so that no host in between has an opinion. Times are the kernel's, of when it got the frame.

#![expect(clippy::cast_possible_truncation, reason = "constants and sizes that fit, halves of sums")]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::document::{PORT, VIP_V4, VIP_V6};
use crate::netns::Netns;

/// Asks for the time at which the kernel got the frame that was read last.
const SIOCGSTAMPNS: libc::c_ulong = 0x8907;

/// Between two looks whether it shall end.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Source ports in turn: as many flows of each family.
const FLOWS: u16 = 2048;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// A running stream of SYNs to both VIPs, one frame at a time; ended when dropped.
#[derive(Debug)]
pub struct Stream(Worker);

impl Stream {
    /// Sends a frame each `interval` out of an interface, to the Ethernet address at its other end.
    pub fn start(from: (&Netns, &str), to: Mac, interval: Duration) -> Result<Stream> {
        let socket = open(from)?;
        let worker = Worker::start(move |stop| {
            let mut due = Instant::now();
            for number in 0_u32.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                send(&socket, &syn(to, number))?;
                due += interval;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            Ok(())
        });
        Ok(Stream(worker))
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        self.0.stop()
    }
}

/// Tunnelled packets sent to one Ethernet address.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sent {
    /// To IPv4 backends.
    pub v4: u64,
    /// To IPv6 backends.
    pub v6: u64,
    /// When the last of them came, in seconds since 1970.
    pub last_at: f64,
}

/// By destination address of the frame.
pub type Tallies = BTreeMap<Mac, Sent>;

/// A running count of the tunnelled packets that come in on an interface; ended when dropped.
#[derive(Debug)]
pub struct Watch {
    tallies: Arc<Mutex<Tallies>>,
    _worker: Worker,
}

impl Watch {
    /// Starts to count.
    pub fn start(on: (&Netns, &str)) -> Result<Watch> {
        let socket = open(on)?;
        let tallies = Arc::new(Mutex::new(Tallies::new()));
        let shared = Arc::clone(&tallies);
        let worker = Worker::start(move |stop| {
            let mut frame = [0; 128];
            while !stop.load(Ordering::Relaxed) {
                let Some(len) = receive(&socket, &mut frame)? else { continue };
                let Some((to, is_v6)) = tunnelled(&frame[..len.min(frame.len())]) else { continue };
                let at = stamp(&socket)?;
                let mut tallies = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let sent = tallies.entry(to).or_default();
                *(if is_v6 { &mut sent.v6 } else { &mut sent.v4 }) += 1;
                sent.last_at = at;
            }
            Ok(())
        });
        Ok(Watch { tallies, _worker: worker })
    }

    /// What came so far.
    pub fn tallies(&self) -> Tallies {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A thread that ends when it is told to.
#[derive(Debug)]
pub(crate) struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Worker {
    pub(crate) fn start(work: impl FnOnce(&AtomicBool) -> Result<()> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        Self { stop, thread: Some(std::thread::spawn(move || work(&is_over))) }
    }

    fn stop(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => anyhow::bail!("a thread of the lab panicked"),
            None => Ok(()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("lab: {error:#}");
        }
    }
}

/// A packet socket on an interface, of all protocols.
pub(crate) fn open((netns, interface): (&Netns, &str)) -> Result<OwnedFd> {
    let opened = netns.enter(|| open_here(interface))?;
    opened.with_context(|| format!("open a packet socket on {interface} in {}", netns.name()))
}

fn open_here(interface: &str) -> io::Result<OwnedFd> {
    const ALL: u16 = (libc::ETH_P_ALL as u16).to_be();
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: the pointer is to a string that ends with zero and lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let index = i32::try_from(index).map_err(io::Error::other)?;
    // SAFETY: no pointers; a descriptor that comes back is new and nobody else's.
    let fd: RawFd =
        unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(ALL)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as said.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all zero is a valid address of this kind.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ALL;
    address.sll_ifindex = index;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address lives through the call and its size is given.
    if unsafe { libc::bind(fd, std::ptr::from_ref(&address).cast(), length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let wait = libc::timeval { tv_sec: 0, tv_usec: LOOK_INTERVAL.as_micros() as libc::suseconds_t };
    option(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &wait)?;
    option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(16_i32 << 20))?;
    // The first question turns the times on; there is none to tell yet.
    stamp(&socket).ok();
    Ok(socket)
}

pub(crate) fn option<T>(socket: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value lives through the call and its size is given.
    let status = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends; an interface that is down or full loses the frame, as a link would.
fn send(socket: &OwnedFd, frame: &[u8]) -> Result<()> {
    // SAFETY: the frame lives through the call and its length is given.
    let sent = unsafe { libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    if sent >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENETDOWN | libc::ENXIO | libc::ENOBUFS) => Ok(()),
        _ => Err(error).context("send a frame"),
    }
}

fn receive(socket: &OwnedFd, frame: &mut [u8]) -> Result<Option<usize>> {
    // SAFETY: the buffer lives through the call and its length is given.
    let len = unsafe { libc::recv(socket.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
    if let Ok(len) = usize::try_from(len) {
        return Ok(Some(len));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN) => Ok(None),
        _ => Err(error).context("receive a frame"),
    }
}

/// When the kernel got the frame read last.
fn stamp(socket: &OwnedFd) -> Result<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the request writes one `timespec`, which lives through the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSTAMPNS, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error()).context("ask for a frame's time");
    }
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

/// Where an outgoing tunnelled frame goes, and whether its outer header is IPv6.
pub(crate) fn tunnelled(frame: &[u8]) -> Option<(Mac, bool)> {
    let to = *frame.first_chunk::<6>()?;
    match (frame.get(12..14)?, frame.get(14 + 9)?, frame.get(14 + 6)?) {
        ([0x08, 0x00], 4, _) => Some((to, false)),
        ([0x86, 0xdd], _, 41) => Some((to, true)),
        _ => None,
    }
}

/// Puts one frame onto the link that an interface is an end of.
pub fn inject(from: (&Netns, &str), frame: &[u8]) -> Result<()> {
    send(&open(from)?, frame)
}

/// SYN `number` of a [`Stream`]: families take turns, IPv4 first, and source ports within them.
pub fn syn(to: Mac, number: u32) -> Vec<u8> {
    let source_port = 10_000 + (number / 2 % u32::from(FLOWS)) as u16;
    let mut frame = Vec::with_capacity(80);
    frame.extend(to);
    frame.extend([2, 0, 0, 0, 0, 1]);
    if number.is_multiple_of(2) {
        let mut header = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 203, 0, 113, 7, 0, 0, 0, 0];
        header[16..].copy_from_slice(&VIP_V4.octets());
        let sum = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
        let folded = (sum & 0xffff) + (sum >> 16);
        header[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
        frame.extend([0x08, 0x00]);
        frame.extend(header);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
        frame.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        frame.extend(VIP_V6.octets());
    }
    frame.extend(source_port.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tunnelled_frames_are_counted() {
        let to = [2, 0, 0, 0, 0, 9];
        assert_eq!((syn(to, 0).len(), syn(to, 1).len()), (54, 74));
        assert_eq!((tunnelled(&syn(to, 0)), tunnelled(&syn(to, 1))), (None, None));
        let mut outer = syn(to, 0);
        outer[23] = 4;
        assert_eq!(tunnelled(&outer), Some((to, false)));
        let mut outer = syn(to, 1);
        outer[20] = 41;
        assert_eq!(tunnelled(&outer), Some((to, true)));
        assert_eq!(tunnelled(&outer[..20]), None);
    }
}
