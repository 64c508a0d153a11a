// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An appliance that answers what a test wants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use crate::control::{
    ControlPlane, DocumentView, OverrideRefused, OverrideSet, OverrideTarget, OverrideWish, Page, Probes,
    ReloadRefused, Unavailable, View,
};
use crate::events::EventLog;
use crate::metrics::{Histogram, PoolChecks, Telemetry};
use crate::v1::*;

/// Answers `status` after `delay`, and `probes` as set.
pub(crate) struct FakeAppliance {
    pub(crate) status: Mutex<Result<Status, Unavailable>>,
    pub(crate) probes: Mutex<Probes>,
    pub(crate) delay: Duration,
    pub(crate) overrides: Mutex<BTreeMap<OverrideTarget, Override>>,
    pub(crate) reload: Mutex<Result<Reloaded, ReloadRefused>>,
    pub(crate) events: Arc<EventLog>,
}

impl Default for FakeAppliance {
    fn default() -> Self {
        Self {
            status: Mutex::new(Ok(sample())),
            probes: Mutex::default(),
            delay: Duration::ZERO,
            overrides: Mutex::default(),
            reload: Mutex::new(Ok(Reloaded { generation: 4, changed: true })),
            events: Arc::new(EventLog::new(UNIX_EPOCH)),
        }
    }
}

impl ControlPlane for FakeAppliance {
    async fn view(&self) -> Result<View, Unavailable> {
        tokio::time::sleep(self.delay).await;
        let status = self.status.lock().expect("no test panics with the lock").clone()?;
        Ok(View { status, document: self.document() })
    }

    async fn scrape(&self) -> Result<(Status, Telemetry), Unavailable> {
        Ok((self.view().await?.status, telemetry()))
    }

    fn document(&self) -> Arc<DocumentView> {
        Arc::new(document())
    }

    async fn checks(&self, pool: &str) -> Result<BTreeMap<String, Vec<CheckDetail>>, Unavailable> {
        let at = Timestamp(UNIX_EPOCH);
        let results = vec![CheckResult { at, seconds: 0.001, outcome: "refused".into() }];
        let detail = CheckDetail {
            target: "198.51.100.10:443".into(),
            verdict: CheckVerdict::Down,
            since: at,
            results,
        };
        Ok((pool == "web").then(|| ("b1".to_owned(), vec![detail])).into_iter().collect())
    }

    fn advertised(&self, peer: &str, page: Page) -> Option<AdvertisedRouteList> {
        (peer == "tor1").then(|| advertised(page))
    }

    fn received(&self, peer: &str, page: Page) -> Option<ReceivedRouteList> {
        let one = ReceivedRoute {
            prefix: "0.0.0.0/0".into(),
            next_hops: vec!["10.0.0.1".parse().expect("an address")],
            as_path: "65000".into(),
            origin: "igp".into(),
            med: None,
            communities: vec![],
            large_communities: vec![],
            is_stale: false,
            received_at: Timestamp(UNIX_EPOCH),
        };
        let items = if page.after.is_none() { vec![one] } else { vec![] };
        (peer == "tor1").then_some(ReceivedRouteList { items, total: 1, next: None })
    }

    fn overrides(&self) -> Vec<Override> {
        self.overrides.lock().expect("no test panics with the lock").values().cloned().collect()
    }

    async fn set_override(
        &self,
        target: OverrideTarget,
        wish: OverrideWish,
    ) -> Result<OverrideSet, OverrideRefused> {
        if wish.reason == "refuse" {
            return Err(OverrideRefused::TooMany { max: 4_096 });
        }
        let OverrideWish { state, author, reason, until } = wish;
        let set = Override {
            id: target.id(),
            target: target.id(),
            state,
            author,
            reason,
            created: Timestamp(UNIX_EPOCH),
            until: until.map(Timestamp),
            persisted: true,
        };
        let mut overrides = self.overrides.lock().expect("no test panics with the lock");
        let before = overrides.insert(target, set.clone());
        Ok(OverrideSet { set, is_new: before.is_none() })
    }

    async fn clear_override(&self, target: OverrideTarget) -> Result<bool, OverrideRefused> {
        Ok(self.overrides.lock().expect("no test panics with the lock").remove(&target).is_some())
    }

    async fn reload(&self) -> Result<Reloaded, ReloadRefused> {
        self.reload.lock().expect("no test panics with the lock").clone()
    }

    fn events(&self) -> &Arc<EventLog> {
        &self.events
    }

    fn probes(&self) -> Probes {
        self.probes.lock().expect("no test panics with the lock").clone()
    }
}

/// One of everything: a VIP announced, one withheld, a usable and an unresolved backend, one Established peer.
pub(crate) fn sample() -> Status {
    let at = Timestamp(UNIX_EPOCH + Duration::from_millis(1_767_225_600_250));
    let vip = |address: &str, desired: bool, withheld: &[WithheldReason]| VipStatus {
        address: address.to_owned(),
        echo: true,
        announce_desired: desired,
        announced: desired,
        withheld: withheld.to_vec(),
        conditions: withheld
            .iter()
            .map(|reason| Condition {
                kind: "withheld".into(),
                state: true,
                code: reason.name().into(),
                message: "service `other-https`: 0 of 2 backends usable, 1 needed".into(),
                since: Some(at),
                until: None,
                severity: None,
            })
            .collect(),
        peers: BTreeMap::from([("tor1".into(), desired)]),
        decided_at: Some(PreciseTime(at.0)),
        told_at: Some(PreciseTime(at.0)),
        transitions: BTreeMap::from([
            ("announced".into(), Counter(u64::from(desired))),
            ("withdrawn".into(), Counter(0)),
        ]),
    };
    let backend = |address: &str, state: BackendState, detail: &str| BackendStatus {
        address: address.parse().expect("an address"),
        weight: 100,
        cap_ratio: 1.0,
        state,
        since: Some(at),
        check: CheckStatus { verdict: CheckVerdict::Up, ..CheckStatus::default() },
        by: None,
        conditions: vec![],
        flows: Some(4),
        verdict_at: Some(PreciseTime(at.0)),
        in_force_at: Some(PreciseTime(at.0)),
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
            owner: "file".into(),
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
                address: "198.51.100.10".to_owned(),
                affinity: "flow".to_owned(),
                fragments: "drop".to_owned(),
                protocol: "tcp".into(),
                port: 443,
                pool: "web".into(),
                conditions: vec![],
                packets_total: Counter(80),
                bytes_total: Counter(8_000),
                flows_created_total: Counter(8),
            },
        )]),
        pools: BTreeMap::from([(
            "web".into(),
            PoolStatus {
                algorithm: "rendezvous".to_owned(),
                mode: "ipip".into(),
                max_backends: 64,
                usable: 1,
                total: 2,
                usable_weight_ratio: 0.5,
                conditions: vec![],
                backends: BTreeMap::from([
                    ("b1".into(), backend("10.1.0.1", BackendState::Usable, "eth0")),
                    ("b2".into(), backend("10.1.0.2", BackendState::Unresolved, "no route")),
                ]),
            },
        )]),
        bgp: speaker(),
        peers: BTreeMap::from([
            ("edge".into(), unnumbered()),
            ("racks".into(), range()),
            ("tor1".into(), peer(at)),
        ]),
        dataplane: DataplaneStatus {
            uplinks: BTreeMap::from([(
                "eth0".into(),
                UplinkStatus {
                    mode: XdpMode::Native,
                    attached: true,
                    verdicts: BTreeMap::from([
                        ("forwarded".into(), Counter(80)),
                        ("not_a_vip".into(), Counter(5)),
                    ]),
                },
            )]),
            flow_slots: 4_194_304,
            flow_slots_used: 8,
        },
        conditions: vec![Condition {
            kind: "problem".into(),
            state: true,
            code: "state-not-kept".into(),
            message: "the state directory cannot be written".into(),
            since: Some(at),
            until: None,
            severity: Some(Severity::Warning),
        }],
        health: HealthStatus { checks: 2, unknown: 0, up: 1, down: 1, is_overloaded: false },
        overrides: vec![],
    }
}

fn peer(at: Timestamp) -> PeerStatus {
    let capability = |code, text: &str| Capability { code, text: text.to_owned() };
    PeerStatus {
        remote: "10.0.0.1".into(),
        address: Some("10.0.0.1".parse().expect("an address")),
        interface: None,
        sessions: None,
        state: SessionState::Established,
        conditions: vec![],
        remote_as: 65_000,
        remote_router_id: Some("10.0.0.1".into()),
        local_address: Some("10.0.0.2".parse().expect("an address")),
        established_at: Some(at),
        down_since: None,
        timers: SessionTimers {
            hold_seconds: Some(8.5),
            keepalive_seconds: Some(2.5),
            ..SessionTimers::default()
        },
        negotiated: Some(Negotiated {
            hold_time_seconds: Some(9.0),
            families: vec!["ipv4".into()],
            four_octet_as: true,
            graceful_restart: Some(GracefulRestart {
                peer_time_seconds: 120,
                kept_by_peer: vec!["ipv4".into()],
                ..GracefulRestart::default()
            }),
            offered: vec![capability(2, "route-refresh")],
            received: vec![capability(65, "AS4 65000")],
            ..Negotiated::default()
        }),
        prefixes: BTreeMap::from([(
            "ipv4".into(),
            FamilyPrefixes {
                advertised: 2,
                received: 1,
                limit: 16,
                announced_to_us_total: Counter(6),
                withdrawn_from_us_total: Counter(2),
                ..FamilyPrefixes::default()
            },
        )]),
        messages: BTreeMap::from([
            ("keepalive".into(), MessageCounts { sent: Counter(11), received: Counter(12) }),
            ("notification".into(), MessageCounts { sent: Counter(1), received: Counter(0) }),
        ]),
        notifications: vec![
            NotificationCount { direction: Direction::Sent, code: 4, subcode: 0, total: Counter(1) },
            NotificationCount { direction: Direction::Received, code: 6, subcode: 1, total: Counter(3) },
        ],
        last_sent: Some(Notification { at, code: 4, subcode: 0, text: "hold timer expired (4)".into() }),
        last_received: None,
        last_transport: None,
        established_total: Counter(2),
        down_total: Counter(1),
        treat_as_withdraw_total: Counter(0),
        attributes_discarded_total: Counter(5),
        last_finding: None,
        bfd: Some(bfd(at)),
        discovery: None,
    }
}

fn bfd(at: Timestamp) -> BfdStatus {
    BfdStatus {
        state: BfdState::Up,
        since: Some(at),
        diagnostic: "no diagnostic".into(),
        remote_state: Some(BfdState::Up),
        remote_diagnostic: "no diagnostic".into(),
        is_never_up: false,
        up_total: Counter(2),
        down_total: Counter(1),
        transmit_interval_seconds: Some(0.1),
        receive_interval_seconds: Some(0.1),
        detection_time_seconds: Some(0.3),
    }
}

/// Another peer: unnumbered, and looking for its neighbour.
fn unnumbered() -> PeerStatus {
    PeerStatus {
        remote: "eth1".into(),
        address: None,
        interface: Some("eth1".into()),
        sessions: None,
        state: SessionState::Idle,
        conditions: vec![],
        remote_as: 0,
        remote_router_id: None,
        local_address: None,
        established_at: None,
        down_since: None,
        timers: SessionTimers::default(),
        negotiated: None,
        prefixes: BTreeMap::new(),
        messages: BTreeMap::new(),
        notifications: vec![],
        last_sent: None,
        last_received: None,
        last_transport: None,
        established_total: Counter(0),
        down_total: Counter(0),
        treat_as_withdraw_total: Counter(0),
        attributes_discarded_total: Counter(0),
        last_finding: None,
        bfd: None,
        discovery: Some(Discovery {
            link_up: true,
            own: Some("fe80::2".parse().expect("an address")),
            sent_total: Counter(3),
            ..Discovery::default()
        }),
    }
}

/// A range, which has no session of its own.
fn range() -> PeerStatus {
    PeerStatus {
        remote: "10.0.5.0/24".into(),
        interface: None,
        sessions: Some(0),
        discovery: None,
        ..unnumbered()
    }
}

fn speaker() -> BgpStatus {
    let ways = vec![ImportedNextHop {
        gateway: "10.0.0.1".parse().expect("an address"),
        interface: Some("eth0".into()),
        in_use: true,
    }];
    BgpStatus {
        asn: 65_010,
        router_id: "192.0.2.1".into(),
        listen: vec!["0.0.0.0:179".into()],
        families: vec!["ipv4".into()],
        established: 1,
        sessions: 2,
        strangers_total: Counter(4),
        refused_total: Counter(1),
        rejected: vec![],
        imported: BTreeMap::from([(
            "ipv4".into(),
            ImportedRoute { installed: true, since: None, next_hops: ways },
        )]),
        faults: vec![],
    }
}

/// Prefixes of [`advertised`], in order.
const PREFIXES: [(&str, u8); 4] =
    [("192.0.2.1", 32), ("198.51.100.10", 32), ("2001:db8::", 32), ("2001:db8::10", 128)];

/// A page of [`PREFIXES`], as a control plane cuts it.
fn advertised(page: Page) -> AdvertisedRouteList {
    let one = |(address, length): &(&str, u8)| (address.parse().expect("an address"), *length);
    let prefixes = PREFIXES.iter().map(one).filter(|prefix| page.after.is_none_or(|after| *prefix > after));
    let items: Vec<_> = prefixes
        .map(|(address, length): (std::net::IpAddr, u8)| AdvertisedRoute {
            prefix: format!("{address}/{length}"),
            next_hop: "10.0.0.2".parse().expect("an address"),
            as_path: "65010".into(),
            med: None,
            communities: vec!["no-export".into()],
            large_communities: vec![],
            link_bandwidth: None,
        })
        .collect();
    let next = (items.len() > page.limit).then(|| items[page.limit - 1].prefix.clone());
    AdvertisedRouteList { items: items.into_iter().take(page.limit).collect(), total: 4, next }
}

/// What is not in the status, one of each.
pub(crate) fn telemetry() -> Telemetry {
    let mut histogram = Histogram::new(&[0.001, 0.01]);
    histogram.observe(0.0005);
    histogram.observe(0.5);
    Telemetry {
        checks: vec![PoolChecks {
            pool: "web".into(),
            kind: "http".into(),
            results: vec![("ok".into(), 9), ("refused".into(), 1)],
            durations: histogram.clone(),
        }],
        lateness: Some(histogram.clone()),
        in_flight: 1,
        update_delay: Some(histogram.clone()),
        rows_delay: Some(histogram),
        check_path: vec![("sent".into(), 10)],
        losses: vec![("unsupported".into(), 2)],
        documents: vec![("applied".into(), 1), ("rejected".into(), 0), ("unchanged".into(), 0)],
        backend_transitions: vec![("web".into(), "b1".into(), "failed".into(), 2)],
    }
}

/// The document that [`sample`] is the status of.
pub(crate) fn document() -> DocumentView {
    let json = serde_json::json!({
        "bootstrap": { "owner": "file" },
        "appliance": { "name": "lb1" },
        "bgp": { "asn": 65_010 },
        "uplinks": { "eth0": { "xdp": "native" } },
        "peers": { "tor1": { "address": "10.0.0.1" } },
        "vips": { "www": { "address": "198.51.100.10" }, "other": { "address": "2001:db8::10" } },
        "services": { "www-https": { "vip": "www", "pool": "web" } },
        "pools": { "web": { "mode": "ipip", "backends": { "b1": { "weight": 100 }, "b2": { "weight": 100 } } } },
    });
    DocumentView { json, hash: "00ff".into(), generation: 3 }
}
