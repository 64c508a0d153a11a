// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a pass costs over 16,384 services, each with its own VIP, and 16,384 backends, the siblings left out, in processor time. Run by hand,
//! optimised:
//! `cargo test --release -p weir-appliance --lib -- --ignored scale --nocapture`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use weir_bgp::{Advertisement, Prefix};
use weir_dataplane::BackendIds;
use weir_dataplane::forwarding;
use weir_health::{Check, CheckHealth, CheckKey, Failure, HealthSnapshot, Verdict};

use super::model::{all_resolved, empty_document, one_vip, with_check};
use crate::model::{Backend, Document, Generation, Pool, Service, Vip};
use crate::reconcile::desired::{Admin, Target};
use crate::reconcile::ports::{Announcer, Checker, Flows, Forwarder, PortError, Traffic};
use crate::reconcile::{Inputs, Reconciler};
use crate::store::Accepted;

/// Pools of [`EACH`] backends and as many services, each with its own VIP.
const POOLS: u16 = 2_048;
/// Backends of a pool, and services.
const EACH: u16 = 8;
/// Pools that are checked: each backend at each VIP, 16,384 checks together.
const CHECKED: u16 = 256;

/// Processor time of this thread, on which everything here runs: others may want the cores too.
fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("no negative time")
}

/// Siblings that do nothing.
#[derive(Debug, Default)]
struct Nothing {
    ids: Arc<BackendIds>,
    /// When the tables were last handed over.
    forwarded_at: Option<Duration>,
}

impl Forwarder for Nothing {
    fn set_forwarding(&mut self, target: &Target) -> Result<(), PortError> {
        self.forwarded_at = Some(busy());
        let pools = target.state.pools.iter();
        let names = pools.flat_map(|(pool, of)| of.backends.keys().map(|one| (pool.clone(), one.clone())));
        self.ids = Arc::new(names.zip(1..).collect());
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

    fn sweep(&mut self) -> Result<Option<Flows>, PortError> {
        Ok(Some(Flows::default()))
    }

    fn backend_ids(&mut self) -> Arc<BackendIds> {
        Arc::clone(&self.ids)
    }

    fn verify(
        &mut self,
        services: &BTreeMap<String, forwarding::Service>,
    ) -> BTreeMap<String, Result<(), String>> {
        services.keys().map(|name| (name.clone(), Ok(()))).collect()
    }

    fn open_check_path(&mut self) -> Result<(), PortError> {
        Ok(())
    }

    fn keep_clones(&mut self) {}
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

fn address(network: [u8; 2], number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    IpAddr::from([network[0], network[1], high, low])
}

fn document() -> Document {
    let small = with_check(one_vip(), 1);
    let (vip, service, pool) = (&small.vips["v1"], &small.services["v1-80"], &small.pools["p1"]);
    let mut document = empty_document();
    for number in 0..POOLS {
        let members = (number * EACH..).take(usize::from(EACH));
        for n in members.clone() {
            let prefix = Prefix::host(address([198, 18], n));
            document.vips.insert(format!("v{n}"), Vip { prefix, ..vip.clone() });
            let service = Service { vip: format!("v{n}"), pool: format!("p{number}"), ..service.clone() };
            document.services.insert(format!("s{n}"), service);
        }
        let backend = |n| Backend { address: address([10, 1], n), ..pool.backends["b0"].clone() };
        let pool = Pool {
            check: pool.check.clone().filter(|_| number < CHECKED),
            backends: members.map(|n| (format!("b{n}"), backend(n))).collect(),
            ..pool.clone()
        };
        document.pools.insert(format!("p{number}"), pool);
    }
    document
}

/// Every check up but those of the first backend of the first `down` pools.
fn health(down: u16) -> Arc<HealthSnapshot> {
    let since = Instant::now();
    let mut checks = BTreeMap::new();
    for (pool, n) in
        (0..CHECKED).flat_map(|pool| (pool * EACH..).take(usize::from(EACH)).map(move |n| (pool, n)))
    {
        for vip in (pool * EACH..).take(usize::from(EACH)) {
            let at = format!("{}:80", address([198, 18], vip));
            let key = CheckKey::new(&format!("p{pool}"), &format!("b{n}"), &at);
            let is_down = n % EACH == 0 && pool < down;
            let (verdict, cause) =
                if is_down { (Verdict::Down, Some(Failure::Refused)) } else { (Verdict::Up, None) };
            let health = CheckHealth { address: address([10, 1], n), verdict, since, cause };
            checks.insert(Arc::new(key), health);
        }
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
    let started = busy();
    reconciler.pass().await;
    println!("first pass: {:?}", busy() - started);
    let [mut settled, mut unchanged] = [const { Vec::new() }; 2];
    let mut failing = Vec::new();
    let mut to_rows = Vec::new();
    for round in 0..20 {
        let snapshot = health(u16::from(round % 2 == 0));
        health_now.send_replace(snapshot);
        let started = busy();
        reconciler.pass().await;
        failing.push(busy() - started);
        let forwarded_at = reconciler.forwarder.forwarded_at.expect("the rows changed");
        to_rows.push(forwarded_at - started);
        let started = busy();
        reconciler.pass().await;
        settled.push(busy() - started);
        let started = busy();
        reconciler.pass().await;
        unchanged.push(busy() - started);
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    println!(
        "one backend changes: whole pass {:?}, rows handed over after {:?}",
        median(failing),
        median(to_rows)
    );
    println!(
        "the pass after it: {:?}, and one in which nothing is new: {:?}",
        median(settled),
        median(unchanged)
    );
    let status = reconciler.status().borrow().clone();
    assert!(status.vips.values().all(|vip| vip.is_told) && status.failed.is_empty());
}
