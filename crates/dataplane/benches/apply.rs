// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long a change takes from the call of `set_forwarding` until the kernel's tables hold it: a backend fails, and comes
//! back. And what a verification of the service costs. The tables are an appliance's, the capacities the defaults.
//!
//! Needs root and a bpffs of its own (`make bench`). Prints a table.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use weir_dataplane::forwarding::{
    Affinity, Algorithm, Backend, BackendState, ForwardingState, Fragments, Mode, OnFailed, OuterHeader,
    Pool, Protocol, Service,
};
use weir_dataplane::next_hop::NextHop;
use weir_dataplane::{Capacity, Dataplane, DataplaneConfig, NextHops};

/// Changes of one kind that are timed; the median and the worst are shown.
const TRIALS: usize = 40;

fn main() -> Result<()> {
    // Tried out by the test runner: nothing to do.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    println!(
        "| pools | backends each | rows each | fails, ms | comes back, ms | nothing changed, ms | verify, µs |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    for (pools, backends, max_backends) in [(1, 3, 64), (1, 100, 100), (1, 100, 1_000), (100, 10, 64)] {
        row(pools, backends, max_backends)?;
    }
    Ok(())
}

/// Opens, fills, measures, prints, removes.
fn row(pools: u8, backends: u8, max_backends: u32) -> Result<()> {
    let config = DataplaneConfig {
        instance_dir: PathBuf::from(format!("/sys/fs/bpf/weir-bench-apply-{}", std::process::id())),
        uplinks: Vec::new(),
        hash_seed: [9; 32],
        source_v4: Some(Ipv4Addr::new(192, 0, 2, 1)),
        source_v6: None,
        capacity: Capacity::default(),
        checks: None,
    };
    let mut dataplane = Dataplane::open(config).context("open the dataplane")?;
    let (usable, next_hops) = forwarding(pools, backends, max_backends);
    dataplane.set_forwarding(&usable, &next_hops).context("fill the tables")?;
    let [mut fails, mut back, mut same, mut verified] = [const { Vec::new() }; 4];
    let mut rows = 0;
    for trial in 0..TRIALS {
        let mut failed = usable.clone();
        let name = backend_name(u8::try_from(trial % usize::from(backends))?);
        let pool = failed.pools.get_mut("p0").context("the pool")?;
        pool.backends.get_mut(&name).context("the backend")?.state = BackendState::Failed;
        for (state, times, moves) in
            [(&failed, &mut fails, true), (&failed, &mut same, false), (&usable, &mut back, true)]
        {
            let started = Instant::now();
            let applied = dataplane.set_forwarding(state, &next_hops)?;
            times.push(started.elapsed());
            if applied.pools_rebuilt.contains_key("p0") != moves {
                bail!("a change that should {}move rows: {applied:?}", if moves { "" } else { "not " });
            }
            rows = rows.max(applied.pools_rebuilt.values().copied().max().unwrap_or(0));
        }
        let service = usable.services.values().next().context("a service")?;
        let started = Instant::now();
        dataplane.verify(service)?;
        verified.push(started.elapsed());
    }
    let total = weir_dataplane::rows::row_count(max_backends);
    println!(
        "| {pools} | {backends} | {total}, {rows} move | {} | {} | {} | {} |",
        shown(&mut fails, 1e3),
        shown(&mut back, 1e3),
        shown(&mut same, 1e3),
        shown(&mut verified, 1e6),
    );
    dataplane.detach().context("remove the pins")
}

/// Median and worst.
fn shown(times: &mut [Duration], per_second: f64) -> String {
    times.sort();
    let at = |index: usize| times[index].as_secs_f64() * per_second;
    format!("{:.2} / {:.2}", at(times.len() / 2), at(times.len() - 1))
}

fn backend_name(number: u8) -> String {
    format!("b{number:03}")
}

/// As many pools of as many backends, each with a service; the first is the one that changes.
fn forwarding(pools: u8, backends: u8, max_backends: u32) -> (ForwardingState, NextHops) {
    let mut next_hops = NextHops::new();
    let hop = NextHop {
        ifindex: 1,
        source_mac: [2; 6],
        destination_mac: [4; 6],
        mtu: 1500,
        vlan: None,
        is_on_link: false,
    };
    let mut forwarding = ForwardingState::default();
    for pool in 0..pools {
        let mut members = BTreeMap::new();
        for number in 0..backends {
            let address = IpAddr::from([10, 1, pool, number + 1]);
            next_hops.insert(address, vec![hop]);
            let backend = Backend { address, weight: 100, cap_permille: 1000, state: BackendState::Usable };
            members.insert(backend_name(number), backend);
        }
        let service = Service {
            prefix_length: None,
            vip: IpAddr::from([198, 51, 100, pool + 1]),
            protocol: Protocol::Tcp,
            port: 443,
            pool: format!("p{pool}"),
            idle: Duration::from_secs(300),
            flow_table: true,
            affinity: Affinity::Flow,
            fragments: Fragments::Drop,
            new_flows_per_second: None,
        };
        let pool_of = Pool {
            mode: Mode::Ipip,
            outer: OuterHeader::default(),
            algorithm: Algorithm::default(),
            max_backends,
            on_failed: OnFailed::Keep,
            backends: members,
        };
        forwarding.services.insert(format!("s{pool}"), service);
        forwarding.pools.insert(format!("p{pool}"), pool_of);
    }
    (forwarding, next_hops)
}
