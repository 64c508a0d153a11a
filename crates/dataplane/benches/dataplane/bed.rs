// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An appliance's tables, filled as the appliance fills them, and the bench's programs on the very same maps.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, MapData};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use weir_dataplane::forwarding::{
    Affinity, Algorithm, Backend, BackendState, ForwardingState, Fragments, GueVariant, Mode, OnFailed,
    OuterHeader, Pool, Service,
};
use weir_dataplane::kernel::clock::tick_factor;
use weir_dataplane::kernel::mapped::Mapped;
use weir_dataplane::kernel::maps::shapes;
use weir_dataplane::kernel::test_run::{Ran, test_run};
use weir_dataplane::next_hop::NextHop;
use weir_dataplane::{Capacity, Dataplane, DataplaneConfig, NextHops, object};
use weir_dataplane_core::flow::{Slot, state};
use weir_dataplane_core::hash::HashKeys;
use weir_dataplane_core::limits::SLOTS_PER_SET;
use weir_dataplane_core::{ABI_VERSION, Knobs, Protocol, Verdict, decap, names};

use crate::layout::{self, Harness, floor};

/// Backends of each of the two pools; DESIGN §5.3 and `performance.md` measure with a hundred.
pub const BACKENDS: u8 = 100;
/// The VIP's IPv4 address.
pub const VIP_V4: [u8; 4] = [198, 51, 100, 10];
/// The VIP's IPv6 address.
pub const VIP_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
/// Port of the TCP services.
pub const PORT_TCP: u16 = 80;
/// Port of the UDP services.
pub const PORT_UDP: u16 = 53;
/// Ports of the TCP services whose pools have another mode, or that have an option.
pub mod port {
    /// GUE variant 0.
    pub const GUE: u16 = 8_001;
    /// The same, with the row's other candidates.
    pub const GUE_CANDIDATES: u16 = 8_002;
    /// GUE variant 1.
    pub const GUE_DIRECT: u16 = 8_003;
    /// GUE variant 0 with a UDP checksum.
    pub const GUE_SUM: u16 = 8_004;
    /// IP in IP of the other family.
    pub const CROSS: u16 = 8_005;
    /// MAC rewrite.
    pub const L2: u16 = 8_006;
    /// IP in IP, all flows of a client to one backend.
    pub const AFFINITY: u16 = 8_007;
}
/// UDP port of GUE.
const GUE_UDP: u16 = 6_080;
/// Interface that test runs come in by.
const LOOPBACK: u32 = 1;
const SEED: [u8; 32] = *b"a seed that only this bench uses";
/// Longer than any run, so that no flow dies of age while another case is timed.
const IDLE: Duration = Duration::from_secs(10_800);

/// What the kernel says of a loaded program.
#[derive(Debug, Clone, Copy)]
pub struct ProgramFigures {
    /// Instructions that the verifier visited.
    pub verified_insns: u32,
    /// Octets of machine code.
    pub jited_bytes: u32,
}

/// Tables and programs.
pub struct Bed {
    dataplane: Dataplane,
    object: Ebpf,
    harness: Array<MapData, Harness>,
    knobs: Mapped<Knobs>,
    pins: PathBuf,
    capacity: Capacity,
}

impl Bed {
    /// A bed of its own, with pins under `name`.
    pub fn open(name: &str) -> Result<Self> {
        let instance = PathBuf::from(format!("/sys/fs/bpf/weir-bench-{}-{name}", std::process::id()));
        // Everything as an appliance has it but the row table, of which all pools fill less than a million rows.
        let capacity = Capacity { rows: 1 << 21, ..Capacity::default() };
        let config = DataplaneConfig {
            instance_dir: instance.clone(),
            uplinks: Vec::new(),
            hash_seed: SEED,
            source_v4: Some(Ipv4Addr::from(floor::SOURCE_V4)),
            source_v6: Some(Ipv6Addr::from(floor::SOURCE_V6)),
            capacity,
            checks: None,
        };
        let mut dataplane = Dataplane::open(config).context("open the dataplane")?;
        let (forwarding, next_hops) = forwarding();
        dataplane.set_forwarding(&forwarding, &next_hops).context("fill the tables")?;
        let pins = instance.join(format!("v{ABI_VERSION}"));

        let mut loader = EbpfLoader::new();
        let keys = HashKeys::from_seed(&SEED);
        let set_mask = sets(&capacity) - 1;
        let factor = tick_factor(dataplane.hz());
        loader
            .override_global(names::CONST_HASH_KEYS, &keys, true)
            .override_global(names::CONST_FLOW_SET_MASK, &set_mask, true)
            .override_global(names::CONST_TICK_FACTOR, &factor, true);
        for (name, shape) in shapes(&capacity) {
            let path = pins.join(name);
            ensure!(path.exists(), "the dataplane pinned no {name}");
            loader.map_max_entries(name, shape.entries).map_pin_path(name, path);
        }
        let mut object = loader.load(object::BENCH).context("load the bench's object")?;
        let harness = object.take_map(layout::MAP_HARNESS).context("the harness's map")?;
        let knobs = MapData::from_pin(pins.join(names::MAP_KNOBS)).context("the knobs' pin")?;
        let knobs = Mapped::new(&knobs, 1).context("map the knobs")?;
        Ok(Self { dataplane, object, harness: Array::try_from(harness)?, knobs, pins, capacity })
    }

    /// Whether flows are remembered without bound, or hardly any since the processor has had its new flows of this second.
    pub fn let_learn(&self, any: bool) {
        let knobs = Knobs { learn_max: u32::from(!any), ..self.knobs.read(0) };
        self.knobs.write(0, &knobs);
    }

    /// Loads `program`, if it is not loaded yet.
    pub fn load(&mut self, program: &str) -> Result<ProgramFigures> {
        load(&mut self.object, program)
    }

    /// Runs `program` `repeat` times from where `harness` stands, and moves that on.
    pub fn run(&mut self, program: &str, harness: &mut Harness, frame: &[u8], repeat: u32) -> Result<Ran> {
        self.harness.set(0, *harness, 0)?;
        let loaded: &mut Xdp = self.object.program_mut(program).context("the program")?.try_into()?;
        let ran = test_run(loaded, frame, repeat).with_context(|| format!("run {program}"))?;
        *harness = self.harness.get(&0, 0)?;
        Ok(ran)
    }

    /// What the appliance's own program, from the appliance's object, makes of `frame`.
    pub fn reference(&mut self, frame: &[u8]) -> Result<Ran> {
        Ok(self.dataplane.run(frame)?)
    }

    /// Packets by verdict so far.
    pub fn verdicts(&self) -> Result<BTreeMap<Verdict, u64>> {
        Ok(self.dataplane.counters()?.verdicts.iter().map(|c| (c.verdict, c.packets)).collect())
    }

    /// Whether `address` is one of this bed's backends.
    pub fn is_backend(&self, address: IpAddr) -> bool {
        (1..=BACKENDS).any(|number| address == backend_v4(number) || address == backend_v6(number))
    }

    /// Puts an established, live flow of nobody into every slot that has none, as an ACK flood in three packets would.
    /// `frame` must have made an entry.
    pub fn take_all_slots(&mut self) -> Result<()> {
        let map = MapData::from_pin(self.pins.join(names::MAP_FLOWS)).context("the flow table's pin")?;
        let sets = sets(&self.capacity);
        let flows = Mapped::<[u64; SLOTS_PER_SET]>::new(&map, sets).context("map the flow table")?;
        let used = (0..sets)
            .flat_map(|set| (0..SLOTS_PER_SET).map(move |slot| (set, slot)))
            .map(|(set, slot)| Slot(flows.word(set, slot).load(Ordering::Acquire)))
            .find(|slot| *slot != Slot::EMPTY)
            .context("an entry to take clock and backend from")?;
        let mut random = 0_u64;
        for set in 0..sets {
            for slot in 0..SLOTS_PER_SET {
                random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (random ^ random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let hash = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                let stranger = Slot::new(hash, state::ESTABLISHED, used.tick(), used.backend());
                flows.word(set, slot).store(stranger.0, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Fills the agent's tables: one appliance, this backend, the VIP.
    pub fn fill_agent(&mut self) -> Result<()> {
        // Keys are addresses as they lie in packets, IPv4 mapped.
        let mapped = |address: [u8; 4]| Ipv4Addr::from(address).to_ipv6_mapped().octets();
        let mut sources: LpmTrie<_, [u8; 16], u32> = self.map(decap::names::MAP_APPLIANCES)?.try_into()?;
        sources.insert(&Key::new(128, mapped(floor::SOURCE_V4)), 1, 0)?;
        let mut vips: LpmTrie<_, [u8; 16], u32> = self.map(decap::names::MAP_VIPS)?.try_into()?;
        vips.insert(&Key::new(128, mapped(VIP_V4)), 0, 0)?;
        let mut own: HashMap<_, [u8; 16], u32> = self.map(decap::names::MAP_ADDRESSES)?.try_into()?;
        own.insert(mapped(floor::DESTINATION_V4), 1, 0)?;
        Ok(())
    }

    fn map(&mut self, name: &str) -> Result<&mut aya::maps::Map> {
        self.object.map_mut(name).with_context(|| format!("map {name}"))
    }

    /// Takes the pins away.
    pub fn close(self) -> Result<()> {
        Ok(self.dataplane.detach()?)
    }
}

// SAFETY: `repr(C)`, integers only, every byte is a named field (the size is asserted beside the type).
unsafe impl aya::Pod for Harness {}

/// Figures of the appliance's program as the appliance loads it.
pub fn appliance_figures() -> Result<ProgramFigures> {
    let mut loader = EbpfLoader::new();
    let smallest = Capacity { services: 1, backends: 1, flow_slots: 64, rows: 4_096 };
    for (name, shape) in shapes(&smallest) {
        loader.map_max_entries(name, shape.entries);
    }
    let mut object = loader.load(object::APPLIANCE).context("load the appliance's object")?;
    load(&mut object, names::PROGRAM_INGRESS)
}

fn load(object: &mut Ebpf, name: &str) -> Result<ProgramFigures> {
    let program: &mut Xdp =
        object.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
    if program.fd().is_err() {
        program.load().with_context(|| format!("load {name}"))?;
    }
    let info = program.info()?;
    let verified_insns =
        info.verified_instruction_count().context("the kernel tells no instructions visited")?;
    Ok(ProgramFigures { verified_insns, jited_bytes: info.size_jitted() })
}

fn sets(capacity: &Capacity) -> u32 {
    capacity.flow_slots / u32::try_from(SLOTS_PER_SET).expect("eight")
}

fn backend_v4(number: u8) -> IpAddr {
    IpAddr::from([10, 1, 0, number])
}

fn backend_v6(number: u8) -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, u16::from(number)])
}

/// Two pools and four services, and a pool and a service for each mode of each family.
fn forwarding() -> (ForwardingState, NextHops) {
    let mut forwarding = ForwardingState::default();
    forwarding.limits.new_flows_per_cpu = None;
    let mut next_hops = NextHops::new();
    let hop = NextHop {
        ifindex: LOOPBACK,
        destination_mac: *floor::MACS.first_chunk().expect("twelve octets"),
        source_mac: *floor::MACS.last_chunk().expect("twelve octets"),
        mtu: 1500,
        vlan: None,
        is_on_link: true,
    };
    let mut pool = |name: &str, address: fn(u8) -> IpAddr, mode: Mode, udp_checksum: bool| {
        let mut backends = BTreeMap::new();
        for number in 1..=BACKENDS {
            let address = address(number);
            next_hops.insert(address, vec![hop]);
            let state = BackendState::Usable;
            backends
                .insert(format!("b{number}"), Backend { address, weight: 100, cap_permille: 1000, state });
        }
        let pool = Pool {
            mode,
            outer: OuterHeader { udp_checksum, ..OuterHeader::default() },
            algorithm: Algorithm::default(),
            max_backends: 128,
            on_failed: OnFailed::Keep,
            backends,
        };
        forwarding.pools.insert(name.to_owned(), pool);
    };
    let gue = |variant| Mode::Gue { port: GUE_UDP, variant };
    for (family, own, other) in
        [("4", backend_v4 as fn(u8) -> IpAddr, backend_v6 as fn(u8) -> IpAddr), ("6", backend_v6, backend_v4)]
    {
        pool(&format!("v{family}"), own, Mode::Ipip, false);
        pool(&format!("gue{family}"), own, gue(GueVariant::Header), false);
        pool(&format!("gue-candidates{family}"), own, gue(GueVariant::Candidates), false);
        pool(&format!("gue-direct{family}"), own, gue(GueVariant::Direct), false);
        pool(&format!("gue-sum{family}"), own, gue(GueVariant::Header), true);
        pool(&format!("cross{family}"), other, Mode::Ipip, false);
        pool(&format!("l2{family}"), own, Mode::L2, false);
    }
    let mut service = |name: &str, vip: IpAddr, protocol, port, pool: &str, affinity| {
        let service = Service {
            vip,
            prefix_length: None,
            protocol,
            port,
            pool: pool.to_owned(),
            idle: IDLE,
            flow_table: true,
            affinity,
            fragments: Fragments::Drop,
            new_flows_per_second: None,
        };
        forwarding.services.insert(name.to_owned(), service);
    };
    for (family, vip) in [("4", IpAddr::from(VIP_V4)), ("6", IpAddr::from(VIP_V6))] {
        let mut service = |name: &str, protocol, port, pool: &str, affinity| {
            service(&format!("{name}{family}"), vip, protocol, port, &format!("{pool}{family}"), affinity);
        };
        service("tcp", Protocol::Tcp, PORT_TCP, "v", Affinity::Flow);
        service("udp", Protocol::Udp, PORT_UDP, "v", Affinity::Flow);
        service("affinity", Protocol::Tcp, port::AFFINITY, "v", Affinity::Source);
        for (pool, port) in [
            ("gue", port::GUE),
            ("gue-candidates", port::GUE_CANDIDATES),
            ("gue-direct", port::GUE_DIRECT),
            ("gue-sum", port::GUE_SUM),
            ("cross", port::CROSS),
            ("l2", port::L2),
        ] {
            service(pool, Protocol::Tcp, port, pool, Affinity::Flow);
        }
    }
    (forwarding, next_hops)
}
