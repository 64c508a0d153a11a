// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Long downloads in the background: each one connection, each byte of it compared with what the server has.

use std::io::{BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::http::Connection;
use crate::netns::Netns;
use crate::nginx::{SLOW_BYTES, slow_byte};

/// Silence that ends a download; the server sends a piece every second at least.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Connections opened for each one that is wanted, at most; the others went to other backends.
const TRIES_PER_DOWNLOAD: usize = 40;

/// Downloads that run, all from one backend.
#[derive(Debug)]
pub struct Downloads {
    workers: Vec<JoinHandle<Result<()>>>,
}

impl Downloads {
    /// Begins `count` downloads of `/slow`, about four seconds each, that `backend` serves; targets take turns. Returns when
    /// the head of each answer is there; connections that other backends answered are closed again.
    pub fn start(client: &Netns, targets: &[SocketAddr], backend: &str, count: usize) -> Result<Downloads> {
        let streams = client.enter(|| open(targets, backend, count))??;
        let workers = streams.into_iter().map(|stream| std::thread::spawn(move || compare(stream))).collect();
        Ok(Downloads { workers })
    }

    /// Downloads begun.
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// Whether none has ended yet: only then does a change happen to all of them.
    pub fn all_running(&self) -> bool {
        self.workers.iter().all(|worker| !worker.is_finished())
    }

    /// Waits for all to end, which the silence limit bounds; an error says how many broke, and how the first did.
    pub fn finish(self) -> Result<usize> {
        let count = self.count();
        let mut broken = Vec::new();
        for worker in self.workers {
            let ended = worker.join().map_err(|_| anyhow::anyhow!("a download panicked"))?;
            broken.extend(ended.err());
        }
        match broken.first() {
            None => Ok(count),
            Some(first) => bail!("{} of {count} downloads broke: {first:#}", broken.len()),
        }
    }
}

fn open(targets: &[SocketAddr], backend: &str, count: usize) -> Result<Vec<BufReader<TcpStream>>> {
    ensure!(!targets.is_empty(), "downloads need a target");
    let mut streams = Vec::new();
    for target in targets.iter().cycle().take(count * TRIES_PER_DOWNLOAD) {
        if streams.len() == count {
            break;
        }
        let (head, stream) = Connection::open(*target, TIMEOUT)?.begin("/slow")?;
        ensure!(head.status == 200, "/slow: {}", head.status);
        ensure!(head.length == Some(SLOW_BYTES as u64), "/slow has {:?} bytes", head.length);
        if head.backend.context("a backend without a name")? == backend {
            streams.push(stream);
        }
    }
    ensure!(streams.len() == count, "{backend} took only {} of {count} downloads", streams.len());
    Ok(streams)
}

fn compare(mut stream: BufReader<TcpStream>) -> Result<()> {
    let mut at = 0;
    let mut piece = [0; 4096];
    while at < SLOW_BYTES {
        let got = stream.read(&mut piece).with_context(|| format!("after {at} bytes"))?;
        ensure!(got > 0, "ended after {at} of {SLOW_BYTES} bytes");
        for byte in &piece[..got] {
            ensure!(*byte == slow_byte(at), "byte {at} is not the server's");
            at += 1;
        }
    }
    Ok(())
}
