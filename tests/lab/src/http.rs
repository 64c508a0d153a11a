// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A small blocking HTTP/1.1 client. It works in the network namespace of the calling thread.
//!
//! `get` opens one TCP connection per request, so each request is one flow; `Connection` keeps one open, to see whether it
//! survives. Every wait has a timeout and a body has a limit.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Largest body read; the largest file of a lab backend is 1 MiB.
const BODY_MAX: u64 = 4 << 20;

/// Header lines read before an answer is refused.
const HEADER_LINES_MAX: usize = 64;

/// The header in which a lab's web server names itself.
pub(crate) const BACKEND_HEADER: &str = "x-backend";

/// An answer that never has a body (RFC 9110 §15.3.5).
const NO_CONTENT: u16 = 204;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Body, without white space around it.
    pub body: String,
}

/// One request on a connection of its own. `timeout` holds for connecting and for each read.
pub fn get(to: SocketAddr, path: &str, timeout: Duration) -> Result<Reply> {
    let mut connection = Connection::open(to, timeout)?;
    connection.request(path, "close")
}

/// A connection that stays open between requests.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects from the namespace of the calling thread.
    pub fn open(to: SocketAddr, timeout: Duration) -> Result<Connection> {
        let stream = TcpStream::connect_timeout(&to, timeout).with_context(|| format!("connect to {to}"))?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// One more request on this connection.
    pub fn get(&mut self, path: &str) -> Result<Reply> {
        self.request(path, "keep-alive")
    }

    /// Own address of the connection.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.stream.get_ref().local_addr()?)
    }

    fn request(&mut self, path: &str, connection: &str) -> Result<Reply> {
        self.send(path, connection)?;
        read_reply(&mut self.stream)
    }

    /// Asks for a file and gives the head of the answer with the stream from which its body comes.
    pub(crate) fn begin(mut self, path: &str) -> Result<(Head, BufReader<TcpStream>)> {
        self.send(path, "close")?;
        Ok((read_head(&mut self.stream)?, self.stream))
    }

    fn send(&mut self, path: &str, connection: &str) -> Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: vip\r\nConnection: {connection}\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).context("send the request")
    }
}

/// What comes before a body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    /// Status code.
    pub(crate) status: u16,
    /// Bytes of the body, if the answer says so.
    pub(crate) length: Option<u64>,
    /// Name of the backend that answers, as the lab's web servers say it.
    pub(crate) backend: Option<String>,
    is_chunked: bool,
}

/// Reads the head of one answer, with the empty line that ends it.
pub(crate) fn read_head(stream: &mut impl BufRead) -> Result<Head> {
    let status_line = read_line(stream)?;
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .with_context(|| format!("not an answer: `{status_line}`"))?;
    let mut head = Head { status, ..Head::default() };
    for number in 0.. {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        if number == HEADER_LINES_MAX {
            bail!("more than {HEADER_LINES_MAX} header lines");
        }
        let Some((name, value)) = line.split_once(':') else { bail!("not a header: `{line}`") };
        if name.eq_ignore_ascii_case("content-length") {
            head.length = Some(value.trim().parse::<u64>().context("content-length")?);
        } else if name.eq_ignore_ascii_case(BACKEND_HEADER) {
            head.backend = Some(value.trim().to_owned());
        }
        head.is_chunked |= name.eq_ignore_ascii_case("transfer-encoding") && value.trim() == "chunked";
    }
    if status == NO_CONTENT {
        head.length = Some(0);
    }
    Ok(head)
}

/// Reads one answer: with a length, or to the end of the stream.
pub(crate) fn read_reply(stream: &mut impl BufRead) -> Result<Reply> {
    let Head { status, length, is_chunked, .. } = read_head(stream)?;
    if is_chunked {
        bail!("a chunked answer, which this client does not read");
    }
    let mut body = Vec::new();
    let got = stream.take(length.unwrap_or(BODY_MAX).min(BODY_MAX)).read_to_end(&mut body)? as u64;
    if length.is_some_and(|length| length != got) {
        bail!("{got} of {} body bytes", length.unwrap_or_default());
    }
    Ok(Reply { status, body: String::from_utf8_lossy(&body).trim().to_owned() })
}

fn read_line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).context("read the answer")? == 0 {
        bail!("connection closed before the answer");
    }
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Result<Reply> {
        read_reply(&mut text.as_bytes())
    }

    #[test]
    fn an_answer_ends_by_length_or_by_close() {
        let want = Reply { status: 200, body: "b1".into() };
        let with_length = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nb1\nHTTP/1.1 next";
        assert_eq!(reply(with_length).expect("an answer"), want);
        assert_eq!(reply("HTTP/1.1 200 OK\r\n\r\nb1").expect("an answer"), want);
    }

    #[test]
    fn half_an_answer_is_an_error() {
        assert!(reply("").is_err());
        assert!(reply("HTTP/1.1 200 OK\r\n").is_err());
        assert!(reply("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nb1").is_err());
        assert!(reply("SSH-2.0-x\r\n").is_err());
    }
}
