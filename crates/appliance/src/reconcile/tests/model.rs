// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small documents, next hops, and a reconciler's bookkeeping joined to a fake world.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use weir_bgp::Prefix;
use weir_dataplane::next_hop::{NextHop, NextHops, Unresolved};
use weir_health::{CheckHealth, CheckKey, Failure, HealthSnapshot, Verdict};

use crate::model::{
    AdminState, Affinity, Algorithm, AnnouncePolicy, Appliance, Asn, Backend, Bgp, Bootstrap, Capacity,
    CheckKind, CheckPath, Document, DocumentHash, Drain, Fragments, Generation, Import, Limits, Log,
    LogFormat, LogLevel, Mode, OnFailed, OuterHeader, Owner, Percent, Pool, PoolCheck, Protocol, Service,
    Uplink, Vip, XdpMode,
};
use crate::overrides::{self, Override, OverrideState, Overrides};
use crate::reconcile::desired::{Admin, Desired, Snapshot, desired};
use crate::reconcile::fake::Shared;
use crate::reconcile::first_results::FirstResults;
use crate::reconcile::gate::{Gates, Outcome};
use crate::reconcile::memory::{Made, Memory, World};
use crate::reconcile::plan::{self, Observed, StepKind};
use crate::reconcile::ports::PortError;
use crate::reconcile::{apply, checks};
use crate::store::Accepted;

pub(super) const DRAIN_WAIT: Duration = Duration::from_secs(3);

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The address of VIP number `n`, named `v<n>`.
pub(super) fn vip_address(n: u8) -> IpAddr {
    IpAddr::from([198, 51, 100, n])
}

/// The same as it is announced.
pub(super) fn vip_prefix(n: u8) -> Prefix {
    Prefix::host(vip_address(n))
}

/// The address of backend `backend` of pool `pool`, named `b<backend>` of `p<pool>`.
pub(super) fn backend_address(pool: u8, backend: u8) -> IpAddr {
    IpAddr::from([10, pool, 0, backend])
}

/// One that differs in nothing but its destination MAC.
pub(super) fn hop(n: u8) -> Vec<NextHop> {
    let (source_mac, destination_mac) = ([2; 6], [n; 6]);
    vec![NextHop { ifindex: 2, source_mac, destination_mac, mtu: 1500, vlan: None, is_on_link: false }]
}

pub(super) fn no_route() -> Unresolved {
    Unresolved::NoRoute
}

pub(super) fn link_down() -> Unresolved {
    Unresolved::LinkDown { interface: "eth0".into() }
}

/// A document with no VIP, one own address and a drain of [`DRAIN_WAIT`].
pub(super) fn empty_document() -> Document {
    Document {
        bootstrap: Bootstrap {
            owner: Owner::File,
            api_socket: PathBuf::from("/run/weir/api.sock"),
            api_listen: None,
            state_dir: PathBuf::from("/var/lib/weir"),
            instance: "default".into(),
            pin_dir: PathBuf::from("/sys/fs/bpf/weir"),
            capacity: Capacity { services: 16, backends: 16, flow_slots: 1024, rows: 65_536 },
            checks: CheckPath::default(),
            log: Log { level: LogLevel::Info, format: LogFormat::Auto },
        },
        appliance: Appliance {
            name: "lb1".into(),
            router_id: [192, 0, 2, 1].into(),
            source_v4: Some([192, 0, 2, 1].into()),
            source_v6: None,
            hash_seed_file: PathBuf::from("/etc/weir/hash-seed"),
            drain_wait: DRAIN_WAIT,
        },
        uplinks: BTreeMap::from([("eth0".into(), Uplink { xdp: XdpMode::Native, capacity: None })]),
        limits: Limits::default(),
        bgp: Bgp {
            asn: Asn(65_010),
            listen: vec![],
            graceful_restart: None,
            helper_time: Duration::ZERO,
            import: Import { table: 254, protocol: 87, metric: 20 },
            drain: Drain { time: Duration::ZERO, prepend: 0, med: None },
            communities: BTreeMap::new(),
        },
        peers: BTreeMap::new(),
        vips: BTreeMap::new(),
        services: BTreeMap::new(),
        pools: BTreeMap::new(),
        hash: DocumentHash([0; 32]),
    }
}

pub(super) fn with_vip(mut document: Document, n: u8) -> Document {
    document.vips.insert(
        format!("v{n}"),
        Vip { prefix: vip_prefix(n), echo: false, announce: AnnouncePolicy::default() },
    );
    document
}

/// Adds service `v<vip>-<port>` on pool `p<pool>`.
pub(super) fn with_service(mut document: Document, vip: u8, port: u16, pool: u8) -> Document {
    let service = Service {
        vip: format!("v{vip}"),
        protocol: Protocol::Tcp,
        port: Some(port),
        pool: format!("p{pool}"),
        idle: Duration::from_secs(300),
        flow_table: true,
        affinity: Affinity::Flow,
        fragments: Fragments::Drop,
        new_flows_per_second: None,
    };
    document.services.insert(format!("v{vip}-{port}"), service);
    document
}

/// Adds pool `p<pool>` with backends `b0`, `b1` … of these states.
pub(super) fn with_pool(mut document: Document, pool: u8, states: &[AdminState]) -> Document {
    let backends = states.iter().zip(0..).map(|(state, n)| {
        let backend = Backend {
            address: backend_address(pool, n),
            weight: 100,
            cap: Percent::ALL,
            state: *state,
            zone: None,
        };
        (format!("b{n}"), backend)
    });
    let backends = backends.collect();
    document.pools.insert(
        format!("p{pool}"),
        Pool {
            mode: Mode::Ipip,
            outer: OuterHeader::default(),
            algorithm: Algorithm::Rendezvous,
            max_backends: 8,
            on_failed: OnFailed::Keep,
            check: None,
            backends,
        },
    );
    document
}

/// VIP `v1`, port 80, pool `p1` with two active backends.
pub(super) fn one_vip() -> Document {
    let document = with_vip(empty_document(), 1);
    with_service(with_pool(document, 1, &[AdminState::Active, AdminState::Active]), 1, 80, 1)
}

/// Gives pool `p<pool>` a check with the usual times.
pub(super) fn with_check(mut document: Document, pool: u8) -> Document {
    let of_pool = document.pools.get_mut(&format!("p{pool}")).expect("the pool is there");
    of_pool.check = Some(PoolCheck {
        kind: CheckKind::Tcp,
        port: None,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        fast_interval: Duration::from_millis(500),
        down_interval: Duration::from_secs(5),
        rise: 2,
        fall: 3,
    });
    document
}

/// Every backend of `document` behind [`hop`] 1.
pub(super) fn all_resolved(document: &Document) -> NextHops {
    crate::reconcile::desired::destinations(document)
        .into_iter()
        .map(|address| (address, Ok(hop(1))))
        .collect()
}

/// What shall be by a document and next hops alone, all gates open.
pub(super) fn desired_by(document: &Document, hops: &NextHops) -> Desired {
    let mut bench = Bench::new(document.clone());
    bench.hops.clone_from(hops);
    bench.desired()
}

/// A reconciler's bookkeeping over a fake world, with a clock of its own.
pub(super) struct Bench {
    pub(super) shared: Shared,
    pub(super) observed: Observed,
    pub(super) document: Document,
    pub(super) hops: NextHops,
    pub(super) health: HealthSnapshot,
    pub(super) overrides: Overrides,
    pub(super) admin: Admin,
    pub(super) gates: Gates,
    pub(super) first_results: FirstResults,
    pub(super) now: Instant,
    /// What was made anew by the last [`Self::desired`].
    pub(super) made: Option<Made>,
    wake_at: Option<Instant>,
    world: Option<World>,
    memory: Memory,
}

impl Bench {
    pub(super) fn new(document: Document) -> Self {
        Self {
            shared: Shared::default(),
            observed: Observed::default(),
            hops: all_resolved(&document),
            document,
            health: HealthSnapshot::default(),
            overrides: Overrides::default(),
            admin: Admin::default(),
            gates: Gates::default(),
            first_results: FirstResults::default(),
            now: Instant::now(),
            made: None,
            wake_at: None,
            world: None,
            memory: Memory::default(),
        }
    }

    /// All that decides, the same as before as long as it is equal.
    fn world(&mut self) -> World {
        let is_new = self.world.as_ref().is_none_or(|world| world.accepted.document != self.document);
        let targets = || Arc::new(checks::targets(&self.document).expect("good checks"));
        let accepted = || Accepted {
            document: self.document.clone(),
            generation: Generation(1),
            at: SystemTime::UNIX_EPOCH,
        };
        let (accepted, targets) = match &self.world {
            Some(world) if !is_new => (Arc::clone(&world.accepted), Arc::clone(&world.targets)),
            Some(_) | None => (Arc::new(accepted()), targets()),
        };
        let world = World {
            accepted,
            next_hops: Arc::new(self.hops.clone()),
            overrides: Arc::new(self.overrides.clone()),
            admin: self.admin,
            targets,
        };
        self.world.insert(world).clone()
    }

    /// What shall be now; time passes for gates and first results. What is remembered of the last time makes no difference.
    pub(super) fn desired(&mut self) -> Desired {
        let world = self.world();
        let readings = checks::read(&self.document, &world.targets, &self.health);
        self.first_results.handle_readings(&readings, self.now);
        let mut from_nothing = desired(&Snapshot {
            document: &self.document,
            generation: Generation(1),
            next_hops: &self.hops,
            targets: &world.targets,
            readings: &readings,
            first_results: &self.first_results,
            overrides: &self.overrides,
            admin: self.admin,
        });
        from_nothing.decide(&mut self.gates.clone(), self.now);
        let (mut desired, made) = self.memory.desired(world, readings, &self.first_results);
        self.made = Some(made);
        let gates = desired.decide(&mut self.gates, self.now);
        self.wake_at = [gates, self.first_results.wake_at()].into_iter().flatten().min();
        assert_eq!(desired, from_nothing);
        self.memory.keep(desired.clone());
        desired
    }

    fn told(&self) -> BTreeSet<Prefix> {
        self.observed.advertised.iter().map(|one| one.prefix).collect()
    }

    /// The monitor runs every check of the document, all with this verdict.
    pub(super) fn all_checks(&mut self, verdict: Verdict) {
        let targets = checks::targets(&self.document).expect("good checks");
        for (pool, targets) in &targets {
            let backends: Vec<String> = self.document.pools[pool].backends.keys().cloned().collect();
            for backend in &backends {
                for target in targets {
                    self.one_check(pool, backend, &target.name, verdict);
                }
            }
        }
    }

    /// The monitor's verdicts on the checks that it runs, by the bits of two numbers; what it does not run it does not know.
    pub(super) fn random_health(&mut self, mut known: u64, mut up: u64) {
        self.health.checks.clear();
        let keys: Vec<CheckKey> = self.shared.world().checks.keys().cloned().collect();
        for key in keys {
            (known, up) = (known.rotate_left(1), up.rotate_left(1));
            let verdict = match (known & 1 == 1, up & 1 == 1) {
                (false, _) => Verdict::Unknown,
                (true, true) => Verdict::Up,
                (true, false) => Verdict::Down,
            };
            self.one_check(&key.pool, &key.backend, &key.check, verdict);
        }
    }

    /// The monitor finds every backend up that it runs a check of and has said nothing about.
    pub(super) fn answer_checks(&mut self) {
        let checks = self.shared.world().checks.clone();
        // A verdict about another address is none about this one.
        self.health
            .checks
            .retain(|key, health| checks.get(&**key).is_some_and(|check| check.address == health.address));
        for key in checks.keys().filter(|key| !self.health.checks.contains_key(*key)).collect::<Vec<_>>() {
            self.one_check(&key.pool, &key.backend, &key.check, Verdict::Up);
        }
    }

    /// The monitor's verdict on one check, as of now.
    pub(super) fn one_check(&mut self, pool: &str, backend: &str, check: &str, verdict: Verdict) {
        let cause = (verdict == Verdict::Down).then_some(Failure::Refused);
        // A check that the document does not have any more is about some address or other.
        let of_document = self.document.pools.get(pool).and_then(|pool| pool.backends.get(backend));
        let address = of_document.map_or(backend_address(9, 9), |backend| backend.address);
        let health = CheckHealth { address, verdict, since: self.now, cause };
        self.health.checks.insert(Arc::new(CheckKey::new(pool, backend, check)), health);
    }

    /// An operator sets or clears an override.
    pub(super) fn set_override(&mut self, target: overrides::Target, state: Option<OverrideState>) {
        let one = |state| Override {
            state,
            author: "eve".into(),
            reason: String::new(),
            created: SystemTime::UNIX_EPOCH,
            until: None,
        };
        match state {
            Some(state) => self.overrides.by_target.insert(target, one(state)),
            None => self.overrides.by_target.remove(&target),
        };
    }

    /// The condition of one backend, in a word.
    pub(super) fn condition(&mut self, pool: &str, backend: &str) -> &'static str {
        self.desired().backends[&(pool.to_owned(), backend.to_owned())].condition.name()
    }

    /// One pass; what failed in it.
    pub(super) async fn pass(&mut self) -> Vec<(StepKind, PortError)> {
        let desired = self.desired();
        let before = self.told();
        self.shared.prepare(&desired, self.now);
        let (mut forwarder, mut checker, mut announcer) =
            (self.shared.clone(), self.shared.clone(), self.shared.clone());
        let ports = apply::Ports {
            forwarder: &mut forwarder,
            checker: &mut checker,
            announcer: Some(&mut announcer),
        };
        let now = self.now;
        let pass = apply::pass(&desired, &mut self.observed, ports, &|| now).await;
        let after = self.told();
        for (name, against) in plan::against(&desired, &self.observed) {
            let prefix = desired.vips[&name].prefix;
            let outcome = Outcome {
                was_told: before.contains(&prefix),
                is_told: after.contains(&prefix),
                is_in_place: against.obstacle.is_none(),
            };
            self.gates.handle_outcome(prefix, outcome, now);
        }
        pass.failed
    }

    /// One pass in which nothing fails; the calls it made.
    pub(super) async fn calls(&mut self) -> Vec<String> {
        self.shared.world().log.clear();
        assert_eq!(self.pass().await, []);
        std::mem::take(&mut self.shared.world().log)
    }

    /// When time alone brings more to do, from now.
    pub(super) fn wake_in(&mut self) -> Option<Duration> {
        let drained = plan::wake_at(&self.desired(), &self.observed, self.now);
        [drained, self.wake_at].into_iter().flatten().min().map(|at| at.duration_since(self.now))
    }

    /// The reasons against each VIP, in words.
    pub(super) fn withheld(&mut self, vip: &str) -> Vec<&'static str> {
        let all = plan::against(&self.desired(), &self.observed);
        all[vip].reasons.iter().map(|reason| reason.name()).collect()
    }
}
