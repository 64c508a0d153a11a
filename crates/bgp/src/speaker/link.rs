// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One TCP connection of a peer: octets out with a bound, octets in, and a close that lets the last word arrive.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

/// Octets taken from the session ahead of the socket. A peer that does not read holds this much and no more; the rest
/// stays in its Adj-RIB-Out as prefixes.
const OUT_MAX: usize = 64 * 1024;
/// Longest time a closed connection is kept for its last NOTIFICATION to get through.
const CLOSE_MAX: Duration = Duration::from_millis(500);
/// Octets read and thrown away while closing: unread ones would make the kernel reset the connection, and the reset
/// overtakes the NOTIFICATION.
const CLOSE_READ_MAX: usize = 1 << 20;

/// How far writing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Everything.
    All,
    /// The socket takes no more for now; `true` if it took something.
    Blocked(bool),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    remote: Option<SocketAddr>,
    out: Vec<u8>,
    written: usize,
}

impl Link {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { remote: stream.peer_addr().ok(), stream, out: Vec::new(), written: 0 }
    }

    /// Our end of it; `None` if it is gone already.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// The peer's end of it; `None` if it was gone when it came.
    pub(super) fn remote_address(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Whether another message may be taken from the session.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() - self.written < OUT_MAX
    }

    /// Whether everything was handed to the socket.
    pub(super) fn is_flushed(&self) -> bool {
        self.out.is_empty()
    }

    pub(super) fn push(&mut self, message: &[u8]) {
        self.out.extend_from_slice(message);
    }

    /// Writes what the socket takes.
    pub(super) fn write(&mut self) -> io::Result<Written> {
        let mut has_progress = false;
        while self.written < self.out.len() {
            match self.stream.try_write(&self.out[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    has_progress = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A peer that is always a little behind must not make what was written pile up.
                    self.out.drain(..self.written);
                    self.written = 0;
                    return Ok(Written::Blocked(has_progress));
                }
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(Written::All)
    }

    /// Waits until there is something to read, or room for what is to be written.
    pub(super) async fn ready(&self) -> io::Result<()> {
        let write = if self.is_flushed() { None } else { Some(Interest::WRITABLE) };
        let interest = write.map_or(Interest::READABLE, |w| w | Interest::READABLE);
        self.stream.ready(interest).await.map(|_| ())
    }

    /// Reads what is there; `None` if nothing is, `Some(0)` at the end.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.try_read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes what is left, says that nothing follows, and waits for the peer to do the same; all within [`CLOSE_MAX`].
    pub(super) async fn close(mut self) {
        let work = async {
            self.stream.write_all(&self.out[self.written..]).await?;
            self.stream.shutdown().await?;
            let mut rest = vec![0; 4096];
            let mut read = 0;
            while read < CLOSE_READ_MAX {
                match self.stream.read(&mut rest).await? {
                    0 => break,
                    count => read += count,
                }
            }
            io::Result::Ok(())
        };
        match tokio::time::timeout(CLOSE_MAX, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "close"),
            Err(_) => tracing::debug!("closed without the peer's consent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_slow_reader_holds_no_more_than_the_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut reader, _) = listener.accept().await.unwrap();
        let mut link = Link::new(stream);
        let message = vec![7; 4096];
        let mut taken = vec![0; 32 * 1024];
        let mut sent = 0;
        // Always something more to say, and a reader that is always a little behind.
        while sent < 64 << 20 {
            while link.has_room() {
                link.push(&message);
                sent += message.len();
            }
            link.write().unwrap();
            assert!(link.out.len() <= OUT_MAX + message.len(), "{} octets kept", link.out.len());
            tokio::select! {
                // CANCEL: a read that lost has taken nothing.
                read = reader.read(&mut taken) => assert_ne!(read.unwrap(), 0),
                // CANCEL: only a wait is lost.
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
    }
}
