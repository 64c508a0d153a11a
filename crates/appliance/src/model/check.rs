// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the backends of a pool are checked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::{Document, Protocol, Service};

/// What is tried against every backend of a pool, through the tunnel, once per address and port that the pool serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolCheck {
    /// What one attempt does.
    pub kind: CheckKind,
    /// Port to connect to on each VIP of the pool; `None`: the port of each TCP service that uses the pool.
    pub port: Option<u16>,
    /// Time between two attempts while nothing is wrong.
    pub interval: Duration,
    /// Longest time of one attempt; shorter than `interval`.
    pub timeout: Duration,
    /// Wait between attempts while a change is being decided.
    pub fast_interval: Duration,
    /// Wait between attempts of a backend that is down.
    pub down_interval: Duration,
    /// Successes in a row that bring a backend up.
    pub rise: u32,
    /// Failures in a row that take a backend down.
    pub fall: u32,
}

/// What one attempt does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// Connect, then reset.
    Tcp,
    /// One HTTP/1.1 request.
    Http(HttpCheck),
}

/// One request and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Method.
    pub method: HttpMethod,
    /// Path with its query.
    pub path: String,
    /// `Host` of the request; `None`: the VIP's address.
    pub host: Option<String>,
    /// Statuses that count as success, inclusive ranges within 100 to 599.
    pub status: Vec<(u16, u16)>,
    /// Text that must be within the first 64 KiB of the body.
    pub body: Option<String>,
}

/// Methods that change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `OPTIONS`.
    Options,
}

impl Document {
    /// Where a service is checked: its VIP's address, the first one of a prefix, with the port of its pool's check or else its own TCP port. `None` when
    /// its pool has no check, or when neither says a port.
    pub fn check_target(&self, service: &Service) -> Option<SocketAddr> {
        let check = self.pools.get(&service.pool)?.check.as_ref()?;
        let own = match service.protocol {
            Protocol::Tcp => service.port,
            Protocol::Udp => None,
        };
        Some(SocketAddr::new(self.vips.get(&service.vip)?.prefix.address(), check.port.or(own)?))
    }

    /// Where each backend of a pool is checked: the targets of all services that use it.
    pub fn check_targets(&self, pool: &str) -> BTreeSet<SocketAddr> {
        self.all_check_targets().remove(pool).unwrap_or_default()
    }

    /// [`Self::check_targets`] of every pool that has some, in one walk over the services.
    pub fn all_check_targets(&self) -> BTreeMap<&str, BTreeSet<SocketAddr>> {
        let mut targets: BTreeMap<&str, BTreeSet<SocketAddr>> = BTreeMap::new();
        for service in self.services.values() {
            if let Some(target) = self.check_target(service) {
                targets.entry(&service.pool).or_default().insert(target);
            }
        }
        targets
    }
}
