// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An appliance that answers what a test wants.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use crate::control::{ControlPlane, Probes, Unavailable};
use crate::v1::{
    ApplianceStatus, BackendState, BackendStatus, Counter, DataplaneStatus, DocumentStatus, FamilyPrefixes,
    Lifecycle, MessageCounts, NextHopStatus, PeerStatus, PoolStatus, ReconcileStatus, Remark, ServiceStatus,
    SessionState, Status, Timestamp, UplinkStatus, VipStatus, WithheldReason, XdpMode,
};

/// Answers `status` after `delay`, and `probes` as set.
pub(crate) struct FakeAppliance {
    pub(crate) status: Mutex<Result<Status, Unavailable>>,
    pub(crate) probes: Mutex<Probes>,
    pub(crate) delay: Duration,
}

impl Default for FakeAppliance {
    fn default() -> Self {
        Self { status: Mutex::new(Ok(sample())), probes: Mutex::default(), delay: Duration::ZERO }
    }
}

impl ControlPlane for FakeAppliance {
    async fn status(&self) -> Result<Status, Unavailable> {
        tokio::time::sleep(self.delay).await;
        self.status.lock().expect("no test panics with the lock").clone()
    }

    fn probes(&self) -> Probes {
        self.probes.lock().expect("no test panics with the lock").clone()
    }
}

/// One of everything: a VIP announced, one withheld, a usable and an unresolved backend, one Established peer.
pub(crate) fn sample() -> Status {
    let at = Timestamp(UNIX_EPOCH + Duration::from_millis(1_767_225_600_250));
    let vip = |address: &str, desired: bool, withheld: &[WithheldReason]| VipStatus {
        address: address.parse().expect("an address"),
        announce_desired: desired,
        announced: desired,
        withheld: withheld.to_vec(),
        transitions: BTreeMap::from([("announced", Counter(u64::from(desired))), ("withdrawn", Counter(0))]),
    };
    let backend = |address: &str, state: BackendState, detail: &str| BackendStatus {
        address: address.parse().expect("an address"),
        weight: 100,
        state,
        next_hop: NextHopStatus { resolved: state == BackendState::Usable, detail: detail.to_owned() },
        packets_total: Counter(40),
        bytes_total: Counter(4_000),
        flows_created_total: Counter(4),
    };
    Status {
        appliance: ApplianceStatus {
            name: "lb1".into(),
            router_id: "192.0.2.1".into(),
            version: "0.1.0".into(),
            commit: "abc".into(),
            rustc: "1.95.0".into(),
            kernel: "6.18.0".into(),
            state: Lifecycle::Running,
            waiting_for: vec![],
            started_at: at,
        },
        problems: vec!["vip other: withheld: backends".into()],
        document: DocumentStatus {
            owner: "file",
            hash: "00ff".into(),
            accepted_generation: 3,
            applied_generation: 3,
            accepted_at: at,
            last_rejected: None,
        },
        reconcile: ReconcileStatus {
            passes_total: Counter(7),
            failed_passes_total: Counter(2),
            last_pass_at: Some(at),
            last_pass_seconds: 0.5,
            errors: vec![],
            retry_in_seconds: None,
        },
        vips: BTreeMap::from([
            ("other".into(), vip("2001:db8::10", false, &[WithheldReason::Backends])),
            ("www".into(), vip("198.51.100.10", true, &[])),
        ]),
        services: BTreeMap::from([(
            "www-https".into(),
            ServiceStatus {
                vip: "www".into(),
                address: "198.51.100.10".parse().expect("an address"),
                protocol: "tcp",
                port: 443,
                pool: "web".into(),
                packets_total: Counter(80),
                bytes_total: Counter(8_000),
                flows_created_total: Counter(8),
            },
        )]),
        pools: BTreeMap::from([(
            "web".into(),
            PoolStatus {
                mode: "ipip",
                max_backends: 64,
                backends: BTreeMap::from([
                    ("b1".into(), backend("10.1.0.1", BackendState::Usable, "eth0")),
                    ("b2".into(), backend("10.1.0.2", BackendState::Unresolved, "no route")),
                ]),
            },
        )]),
        peers: BTreeMap::from([("tor1".into(), peer(at))]),
        dataplane: DataplaneStatus {
            uplinks: BTreeMap::from([(
                "eth0".into(),
                UplinkStatus {
                    mode: XdpMode::Native,
                    attached: true,
                    verdicts: BTreeMap::from([("forwarded", Counter(80)), ("not_a_vip", Counter(5))]),
                },
            )]),
            flow_slots: 4_194_304,
            flow_slots_used: 8,
        },
    }
}

fn peer(at: Timestamp) -> PeerStatus {
    PeerStatus {
        address: "10.0.0.1".parse().expect("an address"),
        state: SessionState::Established,
        remote_as: 65_000,
        remote_router_id: Some("10.0.0.1".into()),
        local_address: Some("10.0.0.2".parse().expect("an address")),
        established_at: Some(at),
        hold_time_seconds: Some(9.0),
        capabilities: vec!["four-octet AS number".into()],
        prefixes: BTreeMap::from([(
            "ipv4",
            FamilyPrefixes {
                advertised: vec!["192.0.2.1/32".into(), "198.51.100.10/32".into()],
                announced_to_us_total: Counter(6),
                withdrawn_from_us_total: Counter(2),
            },
        )]),
        messages: BTreeMap::from([
            ("keepalive", MessageCounts { sent: Counter(11), received: Counter(12) }),
            ("notification", MessageCounts { sent: Counter(1), received: Counter(0) }),
        ]),
        last_sent: Some(Remark { at, text: "hold timer expired".into() }),
        last_received: None,
        last_transport: None,
        established_total: Counter(2),
        down_total: Counter(1),
        treat_as_withdraw_total: Counter(0),
    }
}
