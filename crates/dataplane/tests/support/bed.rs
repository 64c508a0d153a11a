// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A dataplane of small tables under a pin directory of its own, filled from a few words.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use weir_dataplane::forwarding::{
    Affinity, Algorithm, Backend, BackendState, ForwardingState, Fragments, Limits, Mode, OnFailed,
    OuterHeader, Pool, Protocol, Service, Vip,
};
use weir_dataplane::next_hop::NextHop;
use weir_dataplane::{Capacity, Dataplane, DataplaneConfig, NextHops};
use weir_dataplane_core::ABI_VERSION;

pub use super::build::OWN_MAC;

/// Interface index of the loopback device, which test runs come in by.
pub const LOOPBACK: u32 = 1;
pub const SEED: [u8; 32] = *b"a seed that only these tests use";
pub const SOURCE_V4: &str = "192.0.2.1";
pub const SOURCE_V6: &str = "2001:db8:ffff::1";
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xfe];

/// A pin directory that is removed with its content.
pub struct PinDir(PathBuf);

impl PinDir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(PathBuf::from(format!("/sys/fs/bpf/weir-test-{}-{number}", std::process::id())))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where pins of this build's layout version lie.
    pub fn folder(&self) -> PathBuf {
        self.0.join(format!("v{ABI_VERSION}"))
    }
}

impl Drop for PinDir {
    fn drop(&mut self) {
        // Gone already when the test detached; anything else shows as leftovers to the suite's last check.
        if self.0.exists() {
            std::fs::remove_dir_all(&self.0)
                .unwrap_or_else(|error| eprintln!("remove {}: {error}", self.0.display()));
        }
    }
}

/// Small tables: 4,096 flow slots and 64 Ki rows.
pub fn capacity() -> Capacity {
    Capacity { services: 64, backends: 256, flow_slots: 4_096, rows: 65_536 }
}

pub fn config(pins: &PinDir, capacity: Capacity) -> DataplaneConfig {
    DataplaneConfig {
        instance_dir: pins.path().to_owned(),
        uplinks: Vec::new(),
        hash_seed: SEED,
        source_v4: Some(SOURCE_V4.parse().unwrap()),
        source_v6: Some(SOURCE_V6.parse().unwrap()),
        capacity,
        checks: None,
    }
}

pub fn open(pins: &PinDir) -> Dataplane {
    Dataplane::open(config(pins, capacity())).unwrap_or_else(|error| panic!("open: {error:?}"))
}

/// A desired state under construction.
#[derive(Clone, Default)]
pub struct State {
    pub forwarding: ForwardingState,
    pub next_hops: NextHops,
}

impl State {
    pub fn pool(mut self, name: &str, backends: &[(&str, &str)]) -> Self {
        let backends = backends
            .iter()
            .map(|(name, address)| {
                let address: IpAddr = address.parse().unwrap();
                self.next_hops.insert(address, vec![hop(1500)]);
                let backend =
                    Backend { address, weight: 100, cap_permille: 1000, state: BackendState::Usable };
                ((*name).to_owned(), backend)
            })
            .collect();
        let pool = Pool {
            mode: Mode::Ipip,
            outer: OuterHeader::default(),
            algorithm: Algorithm::default(),
            max_backends: 8,
            on_failed: OnFailed::Keep,
            backends,
        };
        self.forwarding.pools.insert(name.to_owned(), pool);
        self
    }

    pub fn service(mut self, name: &str, vip: &str, protocol: Protocol, port: u16, pool: &str) -> Self {
        let service = Service {
            vip: vip.parse().unwrap(),
            prefix_length: None,
            protocol,
            port,
            pool: pool.to_owned(),
            idle: Duration::from_secs(300),
            flow_table: true,
            affinity: Affinity::Flow,
            fragments: Fragments::Drop,
            new_flows_per_second: None,
        };
        self.forwarding.services.insert(name.to_owned(), service);
        self
    }

    /// What concerns the VIP `address` as a whole: whether it answers echo requests.
    pub fn echo(mut self, address: &str, answers_echo: bool) -> Self {
        let address: IpAddr = address.parse().unwrap();
        self.forwarding.vips.insert(address.into(), Vip { answers_echo });
        self
    }

    pub fn edit_limits(mut self, edit: impl FnOnce(&mut Limits)) -> Self {
        edit(&mut self.forwarding.limits);
        self
    }

    pub fn edit_service(mut self, name: &str, edit: impl FnOnce(&mut Service)) -> Self {
        edit(self.forwarding.services.get_mut(name).expect("a service of this state"));
        self
    }

    pub fn edit_pool(mut self, name: &str, edit: impl FnOnce(&mut Pool)) -> Self {
        edit(self.forwarding.pools.get_mut(name).expect("a pool of this state"));
        self
    }

    pub fn backend_state(self, pool: &str, backend: &str, state: BackendState) -> Self {
        self.edit_pool(pool, |pool| {
            pool.backends.get_mut(backend).expect("a backend of this pool").state = state
        })
    }

    pub fn next_hop(mut self, address: &str, hop: Option<NextHop>) -> Self {
        let address = address.parse().unwrap();
        match hop {
            Some(hop) => self.next_hops.insert(address, vec![hop]),
            None => self.next_hops.remove(&address),
        };
        self
    }

    pub fn apply(&self, dataplane: &mut Dataplane) -> weir_dataplane::Applied {
        dataplane
            .set_forwarding(&self.forwarding, &self.next_hops)
            .unwrap_or_else(|error| panic!("apply: {error:?}"))
    }
}

/// A next hop back out of the loopback device.
pub fn hop(mtu: u16) -> NextHop {
    NextHop {
        ifindex: LOOPBACK,
        source_mac: OWN_MAC,
        destination_mac: GATEWAY_MAC,
        mtu,
        vlan: None,
        is_on_link: false,
    }
}

/// The state most tests start from: v4 and v6, TCP and UDP, three backends a pool.
pub fn usual() -> State {
    State::default()
        .pool("web4", &[("b1", "10.1.0.1"), ("b2", "10.1.0.2"), ("b3", "10.1.0.3")])
        .pool("web6", &[("b1", "2001:db8:1::1"), ("b2", "2001:db8:1::2"), ("b3", "2001:db8:1::3")])
        .service("http4", "198.51.100.10", Protocol::Tcp, 80, "web4")
        .service("dns4", "198.51.100.10", Protocol::Udp, 53, "web4")
        .service("http6", "2001:db8:100::10", Protocol::Tcp, 80, "web6")
        .service("dns6", "2001:db8:100::10", Protocol::Udp, 53, "web6")
}
