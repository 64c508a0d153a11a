// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Connections that stay open while something changes, to see whether they survive it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::http::Connection;
use crate::netns::Netns;

/// An answer that takes longer counts as a break.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Open connections, each with the backend that answers on it.
#[derive(Debug)]
pub struct Kept {
    connections: Vec<(Connection, String)>,
}

impl Kept {
    /// Opens `count` connections from `client`, spread evenly over `targets`, and makes one request on each.
    pub fn open(client: &Netns, targets: &[SocketAddr], count: usize) -> Result<Kept> {
        let opened: Result<Vec<_>> = client.enter(|| {
            let targets = targets.iter().cycle().take(count);
            targets
                .map(|target| {
                    let mut connection = Connection::open(*target, TIMEOUT)?;
                    let backend = connection.get("/")?.body;
                    Ok((connection, backend))
                })
                .collect()
        })?;
        Ok(Kept { connections: opened.context("open connections to keep")? })
    }

    /// Connections opened.
    pub fn count(&self) -> usize {
        self.connections.len()
    }

    /// Makes one more request on each; an error names those that broke, and what is wrong with the first of them.
    pub fn check(&mut self) -> Result<()> {
        let mut broken = Vec::new();
        for (connection, backend) in &mut self.connections {
            match connection.get("/") {
                Ok(reply) if reply.body == *backend => {}
                Ok(reply) => broken.push(format!("{} answered instead of {backend}", reply.body)),
                Err(error) => broken.push(format!("to {backend}: {error:#}")),
            }
        }
        match broken.first() {
            None => Ok(()),
            Some(first) => bail!("{} of {} connections broke; {first}", broken.len(), self.connections.len()),
        }
    }
}
