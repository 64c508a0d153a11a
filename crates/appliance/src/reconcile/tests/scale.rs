// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a pass costs over 100 pools of 100 checked backends, the siblings left out. Run by hand, optimised:
//! `cargo test --release -p weir-appliance --lib -- --ignored scale --nocapture`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use weir_bgp::Advertisement;
use weir_dataplane::forwarding::Service;
use weir_health::{Check, CheckHealth, CheckKey, Failure, HealthSnapshot, Verdict};

use super::model::{all_resolved, empty_document, with_check, with_pool, with_service, with_vip};
use crate::model::{AdminState, Backend, Document, Generation};
use crate::reconcile::desired::{Admin, Target};
use crate::reconcile::ports::{Announcer, Checker, Flows, Forwarder, PortError, Traffic};
use crate::reconcile::{Inputs, Reconciler};
use crate::store::Accepted;

const POOLS: u8 = 100;
const BACKENDS: u8 = 100;

/// Siblings that do nothing.
#[derive(Debug, Default)]
struct Nothing {
    ids: BTreeMap<(String, String), u16>,
    /// When the tables were last handed over.
    forwarded_at: Option<Instant>,
}

impl Forwarder for Nothing {
    fn set_forwarding(&mut self, target: &Target) -> Result<(), PortError> {
        self.forwarded_at = Some(Instant::now());
        let pools = target.state.pools.iter();
        let names = pools.flat_map(|(pool, of)| of.backends.keys().map(|one| (pool.clone(), one.clone())));
        self.ids = names.zip(1..).collect();
        Ok(())
    }

    fn attach(&mut self) -> Result<(), PortError> {
        Ok(())
    }

    fn is_attached(&mut self) -> bool {
        true
    }

    fn detach(&mut self) -> Result<(), PortError> {
        Ok(())
    }

    fn traffic(&mut self) -> Result<Traffic, PortError> {
        Ok(Traffic::default())
    }

    fn sweep(&mut self) -> Result<Flows, PortError> {
        Ok(Flows::default())
    }

    fn backend_ids(&mut self) -> BTreeMap<(String, String), u16> {
        self.ids.clone()
    }

    fn verify(&mut self, services: &BTreeMap<String, Service>) -> BTreeMap<String, Result<(), String>> {
        services.keys().map(|name| (name.clone(), Ok(()))).collect()
    }

    fn open_check_path(&mut self) -> Result<(), PortError> {
        Ok(())
    }
}

impl Checker for Nothing {
    async fn set_checks(&mut self, _: BTreeMap<CheckKey, Check>) -> Result<(), PortError> {
        Ok(())
    }
}

impl Announcer for Nothing {
    async fn set_advertisements(&mut self, _: &BTreeSet<Advertisement>) -> Result<(), PortError> {
        Ok(())
    }

    fn handle_complete(&mut self) {}

    fn set_forwarding(&mut self, _: bool) {}
}

fn document() -> Document {
    let mut document = empty_document();
    for pool in 0..POOLS {
        document =
            with_check(with_service(with_pool(with_vip(document, pool), pool, &[]), pool, 80, pool), pool);
        let of_pool = document.pools.get_mut(&format!("p{pool}")).expect("just put there");
        of_pool.max_backends = u32::from(BACKENDS);
        for n in 0..BACKENDS {
            let address = IpAddr::from([10, pool, 1, n]);
            let backend = Backend { address, weight: 100, state: AdminState::Active, zone: None };
            of_pool.backends.insert(format!("b{n}"), backend);
        }
    }
    document
}

/// Every check up but those of the first `down` backends of each pool.
fn health(down: u8) -> Arc<HealthSnapshot> {
    let since = Instant::now();
    let mut checks = BTreeMap::new();
    for (pool, n) in (0..POOLS).flat_map(|pool| (0..BACKENDS).map(move |n| (pool, n))) {
        let key = CheckKey::new(&format!("p{pool}"), &format!("b{n}"), &format!("198.51.100.{pool}:80"));
        let address = IpAddr::from([10, pool, 1, n]);
        let health = if n < down {
            CheckHealth { address, verdict: Verdict::Down, since, cause: Some(Failure::Refused) }
        } else {
            CheckHealth { address, verdict: Verdict::Up, since, cause: None }
        };
        checks.insert(Arc::new(key), health);
    }
    Arc::new(HealthSnapshot { set: 1, checks, is_overloaded: false })
}

#[tokio::test]
#[ignore = "a measurement"]
async fn scale() {
    let document = document();
    let next_hops = all_resolved(&document);
    let accepted = Accepted { document, generation: Generation(1), at: SystemTime::now() };
    let documents = watch::Sender::new(Arc::new(accepted));
    let (next_hops, health_now) = (watch::Sender::new(Arc::new(next_hops)), watch::Sender::new(health(0)));
    let (overrides, admin) = (watch::Sender::new(Arc::default()), watch::Sender::new(Admin::default()));
    let inputs = Inputs {
        documents: documents.subscribe(),
        next_hops: next_hops.subscribe(),
        health: health_now.subscribe(),
        overrides: overrides.subscribe(),
        admin: admin.subscribe(),
    };
    let mut reconciler = Reconciler::new(inputs, Nothing::default(), Nothing::default());
    reconciler.announce_through(Nothing::default());
    let started = Instant::now();
    reconciler.pass().await;
    println!("first pass: {:?}", started.elapsed());
    let mut unchanged = Vec::new();
    let mut failing = Vec::new();
    let mut to_rows = Vec::new();
    for round in 0..20 {
        let snapshot = health(if round % 2 == 0 { 10 } else { 0 });
        health_now.send_replace(snapshot);
        let started = Instant::now();
        reconciler.pass().await;
        failing.push(started.elapsed());
        let forwarded_at = reconciler.forwarder.forwarded_at.expect("the rows changed");
        to_rows.push(forwarded_at.duration_since(started));
        let started = Instant::now();
        reconciler.pass().await;
        unchanged.push(started.elapsed());
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    println!(
        "1,000 of 10,000 backends change: whole pass {:?}, rows handed over after {:?}",
        median(failing),
        median(to_rows)
    );
    println!("nothing changes: {:?}", median(unchanged));
    let status = reconciler.status().borrow().clone();
    assert!(status.vips.values().all(|vip| vip.is_told) && status.failed.is_empty());
}
