// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance and the floors, attached, and a sender of live frames.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, MapData};
use aya::programs::xdp::XdpMode as AyaMode;
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use weir_dataplane::forwarding::{
    Affinity, Algorithm, Backend, BackendState, ForwardingState, Fragments, Mode, OnFailed, OuterHeader,
    Pool, Service,
};
use weir_dataplane::kernel::maps::shapes;
use weir_dataplane::kernel::test_run::test_run;
use weir_dataplane::next_hop::NextHop;
use weir_dataplane::{Capacity, Dataplane, DataplaneConfig, NextHops, Uplink, XdpMode, object};
use weir_dataplane_core::{Protocol, Verdict};

use crate::frames::{self, ACK, Family, Kind};
use crate::layout::{self, Harness, floor};
use crate::machine;
use crate::network::{Interface, Network, Place};

/// Frames that the sender makes before the interfaces are polled; what a driver polls at once (NAPI_POLL_WEIGHT).
const BATCH: u32 = 64;
/// Octets of the frames that are sent.
const FRAME: u64 = 64;
/// Octets of an outer IPv4 header.
const OUTER: u64 = 20;
/// Backends of each pool, as in the bench of test runs.
const BACKENDS: u8 = 100;
const VIP: [u8; 4] = [198, 51, 100, 10];
/// Port of the service whose backends are behind the interface that packets come in by.
const PORT_BACK: u16 = 80;
/// Port of the service whose backends are behind the other one.
const PORT_FAR: u16 = 81;
const SEED: [u8; 32] = *b"a seed that only this bench uses";
/// Longer than any run.
const IDLE: Duration = Duration::from_secs(10_800);
/// Flows that hit.
const MANY: u32 = 1 << 17;
/// Flow numbers that no case uses and that do not come again.
const COLD: (u32, u32) = ((1 << 29) - 1, 3 << 30);

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Name in reports.
    pub name: &'static str,
    /// Where frames are sent from.
    from: &'static str,
    /// Where they must end.
    to: Interface,
    /// Destination port.
    port: u16,
    /// Flows minus one.
    mask: u32,
    /// Octets that frames have gained there.
    added: u64,
    /// Whether the appliance must have found each packet's flow.
    is_weir: bool,
}

const BACK: Case = Case {
    name: "",
    from: "",
    to: (Place::Sender, ""),
    port: PORT_BACK,
    mask: 0,
    added: OUTER,
    is_weir: false,
};

/// Cases, in the order of the report and of a round.
pub const CASES: [Case; 8] = [
    Case { name: "drop", from: "s-drop", to: (Place::Lb, "l-drop"), added: 0, ..BACK },
    Case { name: "mac_swap", from: "s-swap", to: (Place::Sender, "s-swap"), added: 0, ..BACK },
    Case { name: "encap_v4", from: "s-encap", to: (Place::Sender, "s-encap"), ..BACK },
    Case { name: "ipip/v4/tcp/hit/1", is_weir: true, ..WEIR },
    Case { name: "ipip/v4/tcp/hit/131k", mask: MANY - 1, ..WEIR },
    Case { name: "redirect/encap_v4", from: "s-in", to: (Place::Sink, "k-out"), ..BACK },
    Case { name: "redirect/hit/1", ..FAR },
    Case { name: "redirect/hit/131k", mask: MANY - 1, ..FAR },
];
const WEIR: Case = Case { from: "s-weir", to: (Place::Sender, "s-weir"), is_weir: true, ..BACK };
const FAR: Case = Case { to: (Place::Sink, "k-far"), port: PORT_FAR, ..WEIR };

/// Which program of the bench's object is where; the appliance has `l-weir` and `l-far`.
const ATTACHED: [(&str, &[Interface]); 4] = [
    (
        "live_drop",
        &[
            (Place::Lb, "l-drop"),
            // Frames that come back are taken there, and XDP_TX on a veth wants a program on its peer.
            (Place::Sender, "s-swap"),
            (Place::Sender, "s-encap"),
            (Place::Sender, "s-weir"),
            (Place::Sink, "k-out"),
            (Place::Sink, "k-far"),
        ],
    ),
    ("live_mac_swap", &[(Place::Lb, "l-swap")]),
    ("live_encap_v4", &[(Place::Lb, "l-encap")]),
    ("live_redirect", &[(Place::Lb, "l-in")]),
];

/// Network, programs and tables.
pub struct Bed {
    dataplane: Dataplane,
    object: Ebpf,
    harness: Array<MapData, Harness>,
    /// Where the flows of a case have got to.
    states: BTreeMap<&'static str, u32>,
    network: Network,
}

impl Bed {
    /// Makes the network and attaches everything.
    pub fn open() -> Result<Self> {
        let network = Network::create()?;
        let mut object = load()?;
        for (program, interfaces) in ATTACHED {
            let program: &mut Xdp = object.program_mut(program).context("the program")?.try_into()?;
            program.load()?;
            for &(place, name) in interfaces {
                network
                    .at(place)
                    .enter(|| program.attach(name, AyaMode::Driver).map(drop))?
                    .with_context(|| format!("attach to {name}"))?;
            }
        }
        let sender: &mut Xdp = object.program_mut("live_send").context("the sender")?.try_into()?;
        sender.load()?;
        let harness = object.take_map(layout::MAP_HARNESS).context("the harness's map")?;
        let harness = Array::try_from(harness)?;
        let dataplane = appliance(&network)?;
        Ok(Self { dataplane, object, harness, states: BTreeMap::new(), network })
    }

    /// Makes the flow table what it is on a busy appliance, full, and the flows of the cases established; and looks at one frame of
    /// each program octet by octet.
    pub fn fill(&mut self) -> Result<()> {
        self.check_frames()?;
        for case in CASES.iter().filter(|case| case.is_weir && case.mask != 0) {
            // The first packet makes an entry, the second establishes it.
            self.send(case, (case.mask, 0), 3 * MANY)?;
        }
        let slots = Capacity::default().flow_slots;
        self.send(&WEIR, COLD, 2 * slots).map(drop)
    }

    /// Sends `packets` packets of `case` and gives nanoseconds of processor time for each.
    pub fn run(&mut self, case: &Case, packets: u32) -> Result<f64> {
        let before = (self.network.arrived(case.to)?, self.hits()?);
        let taken = self.send(case, (case.mask, 0), packets)?;
        let after = (self.network.arrived(case.to)?, self.hits()?);
        let arrived = after.0.packets - before.0.packets;
        ensure!(arrived == u64::from(packets), "{arrived} of {packets} packets arrived");
        let octets = (after.0.octets - before.0.octets) / arrived;
        ensure!(octets == FRAME + case.added, "frames of {octets} octets arrived");
        let hits = after.1 - before.1;
        let wanted = if case.is_weir { u64::from(packets) } else { 0 };
        ensure!(hits == wanted, "{hits} packets were found in the flow table where {wanted} are right");
        Ok(taken.as_secs_f64() * 1e9 / f64::from(packets))
    }

    /// Detaches the appliance and removes its pins.
    pub fn close(self) -> Result<()> {
        let Self { dataplane, network, .. } = self;
        Ok(network.at(Place::Lb).enter(|| dataplane.detach())??)
    }

    /// Sends packets and gives the time of the thread that did, which is that of all programs: everything happens on this core, in
    /// softirqs of this thread.
    fn send(&mut self, case: &Case, (mask, base): (u32, u32), packets: u32) -> Result<Duration> {
        let frame = kind(case.port).frame(base);
        let state = *self.states.get(case.name).unwrap_or(&0);
        let mut harness = frames::harness(&frame, mask, base, state);
        harness.send_by = self.network.index((Place::Sender, case.from))?;
        harness.hand_on_by = self.network.index((Place::Lb, "l-out"))?;
        self.harness.set(0, harness, 0)?;
        let program: &Xdp = self.object.program("live_send").context("the sender")?.try_into()?;
        let taken = self.network.at(Place::Sender).enter(|| -> Result<Duration> {
            let started = machine::cpu_time()?;
            program.test_run(TestRunOptions {
                data_in: Some(&frame),
                repeat: packets,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })?;
            Ok(machine::cpu_time()? - started)
        })??;
        let last = (0..packets).fold(state, |state, _| layout::advance(state));
        ensure!(self.harness.get(&0, 0)?.state == last, "not as many packets were sent as asked for");
        self.states.insert(case.name, last);
        Ok(taken)
    }

    /// Packets whose flow was found.
    fn hits(&self) -> Result<u64> {
        let counters = self.dataplane.counters()?;
        let found = counters.verdicts.iter().find(|counter| counter.verdict == Verdict::ForwardFlow);
        Ok(found.context("the verdict")?.packets)
    }

    /// What each attached program makes of a frame.
    fn check_frames(&mut self) -> Result<()> {
        let input = kind(PORT_BACK).frame(0);
        for (program, floor) in [("live_mac_swap", "floor_mac_swap"), ("live_encap_v4", "floor_encap_v4")] {
            let program: &Xdp = self.object.program(program).context("the program")?.try_into()?;
            frames::check_floor(floor, &input, &test_run(program, &input, 1)?.frame)?;
        }
        for port in [PORT_BACK, PORT_FAR] {
            let input = kind(port).frame(0);
            // Twice: then the flow is known and established.
            self.dataplane.run(&input)?;
            let ran = self.dataplane.run(&input)?;
            let to = frames::check_ipip_v4(&input, &ran.frame, floor::SOURCE_V4)?;
            ensure!(to[..3] == [10, if port == PORT_BACK { 1 } else { 2 }, 0], "{to:?} is no backend");
        }
        Ok(())
    }
}

// SAFETY: `repr(C)`, integers only, every byte is a named field (the size is asserted beside the type).
unsafe impl aya::Pod for Harness {}

/// Loads the bench's object, with tables as small as may be, since the programs here look into none.
fn load() -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    let smallest = Capacity { services: 1, backends: 1, flow_slots: 64, rows: 4_096 };
    for (name, shape) in shapes(&smallest) {
        loader.map_max_entries(name, shape.entries);
    }
    loader.load(object::BENCH).context("load the bench's object")
}

/// An appliance whose uplinks are `l-weir` and `l-far`.
fn appliance(network: &Network) -> Result<Dataplane> {
    let uplink = |name: &str| Uplink { name: name.to_owned(), mode: XdpMode::Native };
    let config = DataplaneConfig {
        instance_dir: PathBuf::from(format!("/sys/fs/bpf/weir-bench-live-{}", std::process::id())),
        uplinks: vec![uplink("l-weir"), uplink("l-far")],
        hash_seed: SEED,
        source_v4: Some(Ipv4Addr::from(floor::SOURCE_V4)),
        source_v6: None,
        capacity: Capacity { rows: 1 << 21, ..Capacity::default() },
        checks: None,
    };
    let (back, far) = (network.index((Place::Lb, "l-weir"))?, network.index((Place::Lb, "l-far"))?);
    network.at(Place::Lb).enter(|| -> Result<Dataplane> {
        let mut dataplane = Dataplane::open(config).context("open the dataplane")?;
        let (forwarding, next_hops) = forwarding(back, far);
        dataplane.set_forwarding(&forwarding, &next_hops).context("fill the tables")?;
        dataplane.attach().context("attach the appliance")?;
        Ok(dataplane)
    })?
}

/// Two services: the backends of one are behind the interface that packets come in by, those of the other behind another.
fn forwarding(back: u32, far: u32) -> (ForwardingState, NextHops) {
    let mut forwarding = ForwardingState::default();
    // The table is to be filled in seconds.
    forwarding.limits.new_flows_per_cpu = None;
    let mut next_hops = NextHops::new();
    for (name, network, ifindex, port) in [("back", 1, back, PORT_BACK), ("far", 2, far, PORT_FAR)] {
        let hop = NextHop {
            ifindex,
            destination_mac: *floor::MACS.first_chunk().expect("twelve octets"),
            source_mac: *floor::MACS.last_chunk().expect("twelve octets"),
            mtu: 1500,
            vlan: None,
            is_on_link: true,
        };
        let mut backends = BTreeMap::new();
        for number in 1..=BACKENDS {
            let address = IpAddr::from([10, network, 0, number]);
            next_hops.insert(address, vec![hop]);
            let state = BackendState::Usable;
            backends
                .insert(format!("b{number}"), Backend { address, weight: 100, cap_permille: 1000, state });
        }
        let pool = Pool {
            mode: Mode::Ipip,
            outer: OuterHeader::default(),
            algorithm: Algorithm::default(),
            max_backends: 128,
            on_failed: OnFailed::Keep,
            backends,
        };
        forwarding.pools.insert(name.to_owned(), pool);
        let service = Service {
            vip: IpAddr::from(VIP),
            prefix_length: None,
            protocol: Protocol::Tcp,
            port,
            pool: name.to_owned(),
            idle: IDLE,
            flow_table: true,
            affinity: Affinity::Flow,
            fragments: Fragments::Drop,
            new_flows_per_second: None,
        };
        forwarding.services.insert(name.to_owned(), service);
    }
    (forwarding, next_hops)
}

/// Packets of an established flow to `port` of the VIP.
fn kind(port: u16) -> Kind {
    let [a, b, c, d] = VIP;
    let destination = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d];
    Kind { family: Family::V4, protocol: Protocol::Tcp, flags: ACK, destination, port }
}
