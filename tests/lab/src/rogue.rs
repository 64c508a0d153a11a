// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A web server that misbehaves in one particular way, in place of the good one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::netns::Netns;

/// Between two looks for a connection or for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Connections at once; those beyond it are closed without a word.
const CONNECTIONS_MAX: usize = 64;

/// No connection is held longer, whatever the client does.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(30);

/// What the server does to everyone who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Answers bytes that are no HTTP, and closes.
    Garbage,
    /// Ends its direction after half of an answer's head, and keeps the other open.
    HalfClose,
    /// Sends a sound answer, one byte every 200 ms.
    Stall,
    /// Resets the connection once the request has come.
    Reset,
    /// Takes the connection and never says anything.
    Mute,
    /// Says that it is not well: status 503.
    Unwell,
    /// Sends header lines without end.
    Endless,
}

/// A running server on port 80 of every address of its namespace; it and its connections end when dropped.
#[derive(Debug)]
pub struct Rogue {
    stop: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    server: Option<JoinHandle<()>>,
}

impl Rogue {
    /// Starts it; it accepts connections when this returns.
    pub fn start(netns: &Netns, how: Misbehaviour) -> Result<Rogue> {
        // Both families by one socket.
        let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 80);
        let listener = netns.enter(|| TcpListener::bind(address))?.context("listen on port 80")?;
        listener.set_nonblocking(true)?;
        let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (is_over, count) = (Arc::clone(&stop), Arc::clone(&taken));
        let server = std::thread::spawn(move || serve(&listener, how, &is_over, &count));
        Ok(Rogue { stop, taken, server: Some(server) })
    }

    /// Connections taken so far.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.server.take().is_some_and(|server| server.join().is_err()) {
            eprintln!("lab: a misbehaving server panicked");
        }
    }
}

fn serve(listener: &TcpListener, how: Misbehaviour, stop: &Arc<AtomicBool>, taken: &AtomicUsize) {
    let mut open: Vec<JoinHandle<()>> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        open.retain(|connection| !connection.is_finished());
        match listener.accept() {
            Ok((stream, _)) => {
                taken.fetch_add(1, Ordering::Relaxed);
                if open.len() < CONNECTIONS_MAX {
                    let stop = Arc::clone(stop);
                    // What becomes of the stream is the client's business: every error here is one it asked for.
                    open.push(std::thread::spawn(move || drop(misbehave(stream, how, &stop))));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(POLL_INTERVAL),
            Err(error) => {
                eprintln!("lab: accept: {error}");
                std::thread::sleep(POLL_INTERVAL);
            }
        }
    }
    for connection in open {
        if connection.join().is_err() {
            eprintln!("lab: a misbehaving connection panicked");
        }
    }
}

fn misbehave(mut stream: TcpStream, how: Misbehaviour, stop: &AtomicBool) -> std::io::Result<()> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(POLL_INTERVAL))?;
    stream.set_write_timeout(Some(POLL_INTERVAL))?;
    let deadline = Instant::now() + CONNECTION_TIME_MAX;
    let goes_on = || !stop.load(Ordering::Relaxed) && Instant::now() < deadline;
    match how {
        Misbehaviour::Garbage => {
            stream.write_all(b"\x00\xff\x16\x03SSH-2.0-not-what-you-think\n\n\x80\x80")?;
            linger(stream, &goes_on)
        }
        Misbehaviour::HalfClose => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le")?;
            stream.shutdown(Shutdown::Write)?;
            linger(stream, &goes_on)
        }
        Misbehaviour::Stall => {
            for byte in ANSWER {
                let next = Instant::now() + Duration::from_millis(200);
                stream.write_all(std::slice::from_ref(byte))?;
                while Instant::now() < next && goes_on() {
                    std::thread::sleep(POLL_INTERVAL);
                }
            }
            linger(stream, &goes_on)
        }
        Misbehaviour::Reset => {
            while goes_on() && matches!(stream.read(&mut [0; 1024]), Err(error) if is_timeout(&error)) {}
            reset_on_close(&stream)
        }
        Misbehaviour::Mute => linger(stream, &goes_on),
        Misbehaviour::Unwell => {
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")?;
            linger(stream, &goes_on)
        }
        Misbehaviour::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            while goes_on() {
                match stream.write_all(b"X-More: and more, and more, and more, and more\r\n") {
                    Err(error) if !is_timeout(&error) => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        }
    }
}

/// Keeps the connection open until the client closes it.
fn linger(mut stream: TcpStream, goes_on: &impl Fn() -> bool) -> std::io::Result<()> {
    while goes_on() {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return Ok(()),
            Err(error) if !is_timeout(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Makes the close a reset.
fn reset_on_close(stream: &TcpStream) -> std::io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap_or_default();
    // SAFETY: the option's value is a `linger` of the given size that lives through the call; the descriptor is open.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            std::ptr::from_ref(&linger).cast(),
            size,
        )
    };
    if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
