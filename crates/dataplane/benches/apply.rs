// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long a change takes from the call of `set_forwarding` until the kernel's tables hold it: a backend fails and comes back, drains,
//! leaves and arrives, gets another weight. And what a verification of the service costs. The tables are an appliance's, the
//! capacities the defaults. Then what a sweep of the flow table takes, whole and in slices.
//!
//! `cargo bench -p weir-dataplane --bench apply -- full` is about full tables and sweeps alone.
//!
//! Needs root and a bpffs of its own (`make bench`). Prints a table, writes `target/bench/apply.json`, and fills in `live_ms` of the lines
//! of `target/bench/rows.json` that it has measured.

#![expect(unreachable_pub, reason = "modules of one program")]
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

#[path = "dataplane/figures.rs"]
#[expect(dead_code, reason = "the benches that share it need a part each")]
mod figures;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use aya::maps::MapData;
use figures::Goal;
use serde_json::{Value, json};
use weir_dataplane::forwarding::{
    Affinity, Algorithm, Backend, BackendState, ForwardingState, Fragments, Mode, OnFailed, OuterHeader,
    Pool, Protocol, Service,
};
use weir_dataplane::kernel::mapped::Mapped;
use weir_dataplane::next_hop::NextHop;
use weir_dataplane::{Capacity, Dataplane, DataplaneConfig, NextHops, Swept};
use weir_dataplane_core::flow::{Slot, state};
use weir_dataplane_core::limits::{FLOW_SLOTS_DEFAULT, SLOTS_PER_SET};
use weir_dataplane_core::{ABI_VERSION, names};

/// Changes of one kind that are timed; the least and the median are shown: others want the cores too.
const TRIALS: usize = 40;

/// Flow tables that are swept: the default, and one of 1 GiB.
const FLOW_SLOTS: [u32; 2] = [FLOW_SLOTS_DEFAULT, 1 << 27];
/// Sweeps of each, of which the fastest is shown.
const SWEEPS: usize = 5;

/// Sizes of one line of the table.
#[derive(Clone, Copy)]
struct Size {
    pools: u16,
    services_each: u16,
    backends_each: u16,
    max_backends: u32,
    algorithm: Algorithm,
}

impl Size {
    const fn one_pool(backends_each: u16, max_backends: u32, algorithm: Algorithm) -> Self {
        Self { pools: 1, services_each: 1, backends_each, max_backends, algorithm }
    }
}

const SIZES: [Size; 7] = [
    Size::one_pool(3, 64, Algorithm::BoundedRendezvous),
    Size::one_pool(100, 128, Algorithm::BoundedRendezvous),
    Size::one_pool(100, 128, Algorithm::Maglev),
    Size::one_pool(100, 1_000, Algorithm::BoundedRendezvous),
    Size::one_pool(1_000, 1_024, Algorithm::BoundedRendezvous),
    Size { pools: 100, ..Size::one_pool(10, 64, Algorithm::BoundedRendezvous) },
    Size { pools: 2_048, services_each: 8, ..Size::one_pool(8, 8, Algorithm::BoundedRendezvous) },
];

/// Changes by the names that the bench `rows` has for them.
const CHANGES: [&str; 7] =
    ["one fails", "it is back", "one drains", "it is back", "one removed", "one added", "one weight doubled"];

fn main() -> Result<()> {
    // Tried out by the test runner: nothing to do.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    println!(
        "| pools | services | backends | algorithm, rows each | fill, ms | fails | comes back | drains | comes back | \
         removed | added | weight doubled | nothing changed | verify, µs |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let is_full_only = std::env::args().any(|argument| argument == "full");
    let sizes = if is_full_only { &SIZES[SIZES.len() - 1..] } else { &SIZES };
    let lines = sizes.iter().copied().map(row).collect::<Result<Vec<_>>>()?;
    println!("\n| flow slots | of them used | sweep, ms | longest slice, ms |");
    println!("|--:|--:|--:|--:|");
    let cases = FLOW_SLOTS.into_iter().flat_map(|slots| [(slots, false), (slots, true)]);
    let sweeps = cases.map(|(slots, is_full)| sweep(slots, is_full)).collect::<Result<Vec<_>>>()?;
    if is_full_only {
        return Ok(());
    }
    let goal = goal(&lines)?;
    println!();
    figures::print_goals([&goal]);
    fill_in(&lines)?;
    figures::write("apply.json", &json!({"lines": lines, "sweeps": sweeps, "goals": [goal.json()]}))
}

/// The goal for a change of a pool as DESIGN and `performance.md` take it: the median of the kind of change that takes longest.
fn goal(lines: &[Value]) -> Result<Goal> {
    let is_the_pool = |line: &&Value| {
        line["pools"] == 1
            && line["backends"] == 100
            && line["rows"] == 65_536
            && line["algorithm"] == "rendezvous"
    };
    let line = lines.iter().find(is_the_pool).context("the pool of the goal")?;
    let times = line["live_ms"].as_object().context("times of changes")?.values().filter_map(Value::as_f64);
    let worst = times.fold(0.0, f64::max);
    Ok(Goal::told(
        "13",
        "slowest change live, 65,536 rows x 100 backends, median, ms",
        worst,
        [25.0, 5.0, 2.0],
    ))
}

/// Writes `live_ms` into the lines of the bench `rows` that are about the same pool and change.
fn fill_in(lines: &[Value]) -> Result<()> {
    let Some(mut rows) = figures::read("rows.json")? else { return Ok(()) };
    for row in rows.as_array_mut().context("lines of the bench `rows`")? {
        let same = |line: &&Value| {
            line["pools"] == 1 && ["algorithm", "rows", "backends"].iter().all(|key| line[key] == row[key])
        };
        if let Some(line) = lines.iter().find(same)
            && let Some(live) = row["case"].as_str().and_then(|case| line["live_ms"].get(case))
        {
            row["live_ms"] = live.clone();
        }
    }
    figures::write("rows.json", &rows)
}

/// What a sweep of `slots` flow slots takes, all empty or all live: the least of some.
fn sweep(slots: u32, is_full: bool) -> Result<Value> {
    let capacity = Capacity { flow_slots: slots, ..Capacity::default() };
    let config = config(capacity);
    let flows_at = config.instance_dir.join(format!("v{ABI_VERSION}")).join(names::MAP_FLOWS);
    let mut dataplane = Dataplane::open(config).context("open the dataplane")?;
    let (state, next_hops) = forwarding(SIZES[0]);
    dataplane.set_forwarding(&state, &next_hops)?;
    let mut best: Option<Swept> = None;
    for _ in 0..SWEEPS {
        if is_full {
            let sets = slots / u32::try_from(SLOTS_PER_SET)?;
            let flows = Mapped::<[u64; SLOTS_PER_SET]>::new(&MapData::from_pin(&flows_at)?, sets)?;
            let live = Slot::new(u64::MAX, state::ESTABLISHED, dataplane.tick()?, 1).0;
            for (set, index) in (0..sets).flat_map(|set| (0..SLOTS_PER_SET).map(move |index| (set, index))) {
                flows.word(set, index).store(live, Ordering::Relaxed);
            }
        }
        let swept = dataplane.sweep()?;
        if swept.used != if is_full { u64::from(slots) } else { 0 } {
            bail!("not what was put there: {swept:?}");
        }
        best = best.filter(|best| best.duration < swept.duration).or(Some(swept));
    }
    dataplane.detach().context("remove the pins")?;
    let swept = best.context("at least one sweep")?;
    let [whole, slice] = [swept.duration, swept.longest_slice].map(|time| time.as_secs_f64() * 1e3);
    println!("| {slots} | {} | {whole:.1} | {slice:.2} |", swept.used);
    Ok(json!({ "flow_slots": slots, "used": swept.used, "sweep_ms": whole, "longest_slice_ms": slice }))
}

/// A dataplane of this process, pinned in a place of its own.
fn config(capacity: Capacity) -> DataplaneConfig {
    DataplaneConfig {
        instance_dir: PathBuf::from(format!("/sys/fs/bpf/weir-bench-apply-{}", std::process::id())),
        uplinks: Vec::new(),
        hash_seed: [9; 32],
        source_v4: Some(Ipv4Addr::new(192, 0, 2, 1)),
        source_v6: None,
        capacity,
        checks: None,
    }
}

/// Opens, fills, measures, prints, removes.
fn row(size: Size) -> Result<Value> {
    let mut dataplane = Dataplane::open(config(Capacity::default())).context("open the dataplane")?;
    let (usable, next_hops) = forwarding(size);
    let started = Instant::now();
    dataplane.set_forwarding(&usable, &next_hops).context("fill the tables")?;
    let filled_ms = started.elapsed().as_secs_f64() * 1e3;
    let mut times = [const { Vec::new() }; CHANGES.len()];
    let [mut same, mut verified] = [const { Vec::new() }; 2];
    for trial in 0..TRIALS {
        let name = backend_name(u16::try_from(trial)? % size.backends_each);
        let with = |change: fn(&mut BTreeMap<String, Backend>, &str)| -> Result<ForwardingState> {
            let mut state = usable.clone();
            change(&mut state.pools.get_mut("p0").context("the pool")?.backends, &name);
            Ok(state)
        };
        let edited = |change: fn(&mut Backend)| -> Result<ForwardingState> {
            let mut state = usable.clone();
            let pool = state.pools.get_mut("p0").context("the pool")?;
            change(pool.backends.get_mut(&name).context("the backend")?);
            Ok(state)
        };
        let failed = edited(|backend| backend.state = BackendState::Failed)?;
        let draining = edited(|backend| backend.state = BackendState::Draining)?;
        let heavier = edited(|backend| backend.weight *= 2)?;
        let without = with(|backends, name| {
            backends.remove(name);
        })?;
        let states = [&failed, &usable, &draining, &usable, &without, &usable, &heavier];
        for (state, times) in states.into_iter().zip(&mut times) {
            let started = Instant::now();
            let applied = dataplane.set_forwarding(state, &next_hops)?;
            times.push(started.elapsed());
            if !applied.pools_rebuilt.contains_key("p0") {
                bail!("a change that should move rows: {applied:?}");
            }
        }
        let again = heavier.clone();
        let started = Instant::now();
        let applied = dataplane.set_forwarding(&again, &next_hops)?;
        same.push(started.elapsed());
        if !applied.pools_rebuilt.is_empty() {
            bail!("nothing changed, but {applied:?}");
        }
        dataplane.set_forwarding(&usable, &next_hops)?;
        let service = usable.services.values().next().context("a service")?;
        let started = Instant::now();
        dataplane.verify(service)?;
        verified.push(started.elapsed());
    }
    let rows = size.algorithm.row_count(size.max_backends);
    let (pools, services) = (u32::from(size.pools), u32::from(size.pools) * u32::from(size.services_each));
    print!(
        "| {pools} | {services} | {} | {}, {rows} | {filled_ms:.0} |",
        pools * u32::from(size.backends_each),
        size.algorithm.name()
    );
    times.iter_mut().for_each(|times| print!(" {} |", shown(times, 1e3)));
    println!(" {} | {} |", shown(&mut same, 1e3), shown(&mut verified, 1e6));
    dataplane.detach().context("remove the pins")?;
    let median = |times: &Vec<Duration>| times[times.len() / 2].as_secs_f64() * 1e3;
    let live: serde_json::Map<_, _> = CHANGES
        .iter()
        .zip(&times)
        .map(|(change, times)| ((*change).to_owned(), median(times).into()))
        .collect();
    Ok(json!({
        "pools": pools,
        "services": services,
        "backends": size.backends_each,
        "algorithm": size.algorithm.name(),
        "rows": rows,
        "fill_ms": filled_ms,
        "live_ms": live,
        "unchanged_ms": median(&same),
    }))
}

/// Least and median.
fn shown(times: &mut [Duration], per_second: f64) -> String {
    times.sort();
    let at = |index: usize| times[index].as_secs_f64() * per_second;
    format!("{:.2} / {:.2}", at(0), at(times.len() / 2))
}

fn backend_name(number: u16) -> String {
    format!("b{number:04}")
}

/// An address out of 2^16 from `network` on.
fn address(network: [u8; 2], number: u32) -> IpAddr {
    let [_, _, high, low] = number.to_be_bytes();
    IpAddr::from([network[0], network[1], high, low])
}

/// As many pools of as many backends, each with its services, each service with a VIP; the first pool is the one that changes.
fn forwarding(size: Size) -> (ForwardingState, NextHops) {
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
    for pool in 0..size.pools {
        let mut members = BTreeMap::new();
        for number in 0..size.backends_each {
            let address =
                address([10, 1], u32::from(pool) * u32::from(size.backends_each) + u32::from(number));
            next_hops.insert(address, vec![hop]);
            let backend = Backend { address, weight: 100, cap_permille: 1000, state: BackendState::Usable };
            members.insert(backend_name(number), backend);
        }
        for number in 0..size.services_each {
            let number = u32::from(pool) * u32::from(size.services_each) + u32::from(number);
            let service = Service {
                prefix_length: None,
                vip: address([198, 18], number),
                protocol: Protocol::Tcp,
                port: 443,
                pool: format!("p{pool}"),
                idle: Duration::from_secs(300),
                flow_table: true,
                affinity: Affinity::Flow,
                fragments: Fragments::Drop,
                new_flows_per_second: None,
            };
            forwarding.services.insert(format!("s{number}"), service);
        }
        let pool_of = Pool {
            mode: Mode::Ipip,
            outer: OuterHeader::default(),
            algorithm: size.algorithm,
            max_backends: size.max_backends,
            on_failed: OnFailed::Keep,
            backends: members,
        };
        forwarding.pools.insert(format!("p{pool}"), pool_of);
    }
    (forwarding, next_hops)
}
