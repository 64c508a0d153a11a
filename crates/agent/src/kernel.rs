// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent's side of its kernel object: load or adopt, fill the tables, attach, count, detach. The only file here that
//! names map types.
//!
//! Prefixes and addresses live in the tables in their IPv6 form (`::ffff:a.b.c.d`), one table for both families.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::programs::{ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use ipnet::IpNet;
use weir_dataplane::XdpMode;
use weir_dataplane::kernel::egress::Hook;
use weir_dataplane::kernel::link;
use weir_dataplane::kernel::pins::{MapShape, Pins, PinsError};
use weir_dataplane::kernel::standing::{self, Place, Side, StandingError};
use weir_dataplane::kernel::test_run::{Ran, test_run};
use weir_dataplane::{AttachError, object};
use weir_dataplane_core::bytes::{Address, PacketCounter};
use weir_dataplane_core::decap::{
    ADDRESSES_MAX, AGENT_VERDICTS, APPLIANCES_MAX, AgentVerdict, GUE_PORTS_MAX, VIPS_MAX, names,
};
use weir_dataplane_core::mss::{MSS_VERDICTS, MssVerdict};
use weir_dataplane_core::names::{PROGRAM_AGENT, PROGRAM_MSS};

use crate::AgentConfig;
use crate::config::Mss;
use weir_dataplane::kernel::unlink::unlink;

/// An address as the tables hold it.
type Octets = [u32; 4];
type Trie = LpmTrie<MapData, Octets, u32>;
type Counters = PerCpuArray<MapData, PacketCounter>;

/// Where the program for the MSS stands.
const MSS_PLACE: Place = Place { side: Side::Egress, links: "mss_", filters: "mssfilter_", priority: 49_200 };

/// `BPF_F_NO_PREALLOC`, which the kernel demands for tries.
const NO_PREALLOC: u32 = 1;

/// Why the kernel's part could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The pins cannot be adopted or made.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The kernel refused the object.
    #[error("load the kernel object")]
    Load(#[source] Box<aya::EbpfError>),
    /// The object lacks the program.
    #[error("the kernel object has no program `{name}` of its kind")]
    NoProgram {
        /// Its name.
        name: &'static str,
    },
    /// The verifier refused the program.
    #[error("load program `{name}`")]
    Program {
        /// Its name.
        name: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// The object lacks a map.
    #[error("the kernel object has no map {name}")]
    NoMap {
        /// Its name.
        name: &'static str,
    },
    /// A map could not be read or written.
    #[error("map {name}")]
    Map {
        /// Its name.
        name: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<MapError>,
    },
    /// The program could not be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The program for the MSS could not be attached, or taken off.
    #[error(transparent)]
    Standing(#[from] StandingError),
}

fn on(name: &'static str) -> impl Fn(MapError) -> KernelError {
    move |source| KernelError::Map { name, source: Box::new(source) }
}

/// The loaded program and the tables that user space writes.
pub struct Kernel {
    pins: Pins,
    object: Ebpf,
    appliances: Trie,
    vips: Trie,
    addresses: HashMap<MapData, Octets, u32>,
    ports: HashMap<MapData, u32, u32>,
    mss: Array<MapData, u32>,
    counters: CounterMaps,
}

/// The tables that the program writes.
struct CounterMaps {
    verdicts: Counters,
    vips: Counters,
    mss: Counters,
}

/// Packets and bytes, summed over CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes of frames (verdicts) or of inner packets (VIPs).
    pub bytes: u64,
}

/// Everything that was counted.
#[derive(Debug, Clone, Default)]
pub struct AgentCounters {
    /// By verdict, all of them.
    pub verdicts: BTreeMap<AgentVerdict, Count>,
    /// By VIP prefix.
    pub vips: BTreeMap<IpNet, Count>,
    /// SYN-ACKs of VIPs by what became of their MSS, all of them.
    pub mss: BTreeMap<MssVerdict, Count>,
}

impl Kernel {
    /// Loads the program and makes the tables, or adopts those that are pinned. Attaches nothing.
    ///
    /// # Errors
    /// [`KernelError`], among them pins of another layout version.
    pub fn open(config: &AgentConfig) -> Result<Self, KernelError> {
        let pins = Pins::open(&config.pin_dir.join(&config.instance))?;
        let mut loader = EbpfLoader::new();
        for (name, shape) in shapes() {
            pins.check_map(name, shape)?;
            loader.map_pin_path(name, pins.path(name));
        }
        let mut object = loader.load(object::AGENT).map_err(|source| KernelError::Load(Box::new(source)))?;
        program(&mut object)?.load().map_err(in_program(PROGRAM_AGENT))?;
        mss_program(&mut object)?.load().map_err(in_program(PROGRAM_MSS))?;
        Ok(Self {
            appliances: take(&mut object, names::MAP_APPLIANCES)?,
            vips: take(&mut object, names::MAP_VIPS)?,
            addresses: take(&mut object, names::MAP_ADDRESSES)?,
            ports: take(&mut object, names::MAP_GUE_PORTS)?,
            mss: take(&mut object, names::MAP_MSS)?,
            counters: CounterMaps {
                verdicts: take(&mut object, names::MAP_VERDICTS)?,
                vips: take(&mut object, names::MAP_VIP_COUNTERS)?,
                mss: take(&mut object, names::MAP_MSS_COUNTS)?,
            },
            pins,
            object,
        })
    }

    /// Whether [`Self::open`] would take pinned tables over; false when none are pinned. Changes nothing, also while another
    /// agent runs.
    ///
    /// # Errors
    /// [`KernelError::Pins`]: pins of another layout version.
    pub fn would_adopt(config: &AgentConfig) -> Result<bool, KernelError> {
        let pins = Pins::existing(&config.pin_dir.join(&config.instance))?;
        let mut adopts = false;
        for (name, shape) in shapes() {
            adopts |= pins.check_map(name, shape)?;
        }
        Ok(adopts)
    }

    /// Makes the tables hold exactly these prefixes. What stays is not touched, so that its packets see no change.
    ///
    /// # Errors
    /// [`KernelError::Map`].
    pub fn set_prefixes(
        &mut self,
        appliances: &BTreeSet<IpNet>,
        vips: &BTreeSet<IpNet>,
    ) -> Result<(), KernelError> {
        let appliances = appliances.iter().map(|&prefix| (key_of(prefix), 1)).collect();
        replace(&mut self.appliances, &appliances).map_err(on(names::MAP_APPLIANCES))?;

        let known = contents(&self.vips).map_err(on(names::MAP_VIPS))?;
        let ids = vip_ids(&known, vips);
        for (key, &id) in &ids {
            if !known.contains_key(key) {
                // Whoever had this index before: the new prefix starts at zero.
                self.counters.reset_vip(id).map_err(on(names::MAP_VIP_COUNTERS))?;
            }
        }
        replace(&mut self.vips, &ids).map_err(on(names::MAP_VIPS))
    }

    /// Makes the table of own addresses hold exactly these. Addresses beyond [`ADDRESSES_MAX`] are left out, which is logged.
    ///
    /// # Errors
    /// [`KernelError::Map`].
    pub fn set_addresses(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<(), KernelError> {
        let failed = on(names::MAP_ADDRESSES);
        if addresses.len() > ADDRESSES_MAX as usize {
            tracing::warn!(
                found = addresses.len(),
                used = ADDRESSES_MAX,
                "more addresses than the table holds"
            );
        }
        let wanted: BTreeSet<Octets> =
            addresses.iter().take(ADDRESSES_MAX as usize).map(|&address| Address::from(address).0).collect();
        let known: BTreeSet<Octets> = self.addresses.keys().collect::<Result<_, _>>().map_err(&failed)?;
        // Removed first: together the two sets may not fit.
        for octets in known.difference(&wanted) {
            self.addresses.remove(octets).map_err(&failed)?;
        }
        for octets in wanted.difference(&known) {
            self.addresses.insert(octets, 1, 0).map_err(&failed)?;
        }
        Ok(())
    }

    /// Makes the table of GUE's ports hold exactly these.
    ///
    /// # Errors
    /// [`KernelError::Map`].
    pub fn set_gue_ports(&mut self, ports: &BTreeSet<u16>) -> Result<(), KernelError> {
        let failed = on(names::MAP_GUE_PORTS);
        let wanted: BTreeSet<u32> = ports.iter().map(|port| u32::from(port.to_be())).collect();
        let known: BTreeSet<u32> = self.ports.keys().collect::<Result<_, _>>().map_err(&failed)?;
        // Removed first: together the two sets may not fit.
        for port in known.difference(&wanted) {
            self.ports.remove(port).map_err(&failed)?;
        }
        for port in wanted.difference(&known) {
            self.ports.insert(port, 1, 0).map_err(&failed)?;
        }
        Ok(())
    }

    /// Lowers the MSS in SYN-ACKs of VIPs that leave by these interfaces, and by no others; `None`: by none. The program is
    /// attached by `hook` or, if that is left open, by the first that the kernel has.
    ///
    /// # Errors
    /// [`KernelError::Standing`] for the first interface that refuses.
    pub fn set_mss<'i>(
        &mut self,
        mss: Option<Mss>,
        interfaces: impl Iterator<Item = &'i String>,
        hook: Option<Hook>,
    ) -> Result<(), KernelError> {
        let values = mss.map_or([0, 0], |mss| [mss.v4(), mss.v6()]);
        for (index, value) in (0..).zip(values) {
            self.mss.set(index, u32::from(value), 0).map_err(on(names::MAP_MSS))?;
        }
        let wanted: Vec<&str> =
            if mss.is_some() { interfaces.map(String::as_str).collect() } else { Vec::new() };
        for interface in standing::detach_others(&MSS_PLACE, &self.pins, &wanted)? {
            tracing::info!(interface, "MSS left alone: not in the document any more");
        }
        for interface in wanted {
            let program = mss_program(&mut self.object)?;
            let adopted = standing::attach(program, &MSS_PLACE, interface, hook, &self.pins)?;
            tracing::info!(interface, adopted, "MSS is lowered");
        }
        Ok(())
    }

    /// Puts the program on these interfaces, or on the links that are pinned there, and takes it off all others.
    ///
    /// # Errors
    /// [`KernelError::Attach`] for the first interface that refuses; nothing is attached then that was not before.
    pub fn attach(&mut self, interfaces: &BTreeMap<String, XdpMode>) -> Result<(), KernelError> {
        let unknown = interfaces.keys().find(|name| link::ifindex(name).is_none());
        if let Some(interface) = unknown {
            return Err(AttachError::UnknownInterface { interface: interface.clone() }.into());
        }
        let mut fresh = Vec::new();
        for (interface, &mode) in interfaces {
            match link::attach(program(&mut self.object)?, interface, mode, &self.pins) {
                Ok(adopted) => {
                    if !adopted {
                        fresh.push((interface, mode));
                    }
                    tracing::info!(interface, mode = mode.name(), adopted, "program attached");
                }
                Err(error) => {
                    for (interface, mode) in fresh {
                        if let Err(error) = remove_link(&self.pins, &link::pin_name(interface, mode)) {
                            tracing::error!(interface, %error, "program left attached");
                        }
                    }
                    return Err(error.into());
                }
            }
        }
        let wanted: BTreeSet<String> =
            interfaces.iter().map(|(interface, &mode)| link::pin_name(interface, mode)).collect();
        for name in self.pins.names("link_")? {
            if !wanted.contains(&name) {
                remove_link(&self.pins, &name)?;
                tracing::info!(link = name, "program detached: not in the document any more");
            }
        }
        Ok(())
    }

    /// Whether any interface has the program.
    ///
    /// # Errors
    /// When the pin directory cannot be read.
    pub fn is_attached(&self) -> Result<bool, KernelError> {
        Ok(!self.pins.names("link_")?.is_empty())
    }

    /// Takes the program off every interface, then removes the tables.
    ///
    /// # Errors
    /// When a pin could not be removed.
    pub fn detach(self) -> Result<(), KernelError> {
        for name in self.pins.names("link_")? {
            remove_link(&self.pins, &name)?;
        }
        standing::detach_others(&MSS_PLACE, &self.pins, &[])?;
        Ok(self.pins.remove()?)
    }

    /// What was counted since the tables were made.
    ///
    /// # Errors
    /// [`KernelError::Map`].
    pub fn counters(&self) -> Result<AgentCounters, KernelError> {
        let mut counters = AgentCounters::default();
        for &verdict in AgentVerdict::ALL {
            let count = sum(&self.counters.verdicts, verdict as u32).map_err(on(names::MAP_VERDICTS))?;
            counters.verdicts.insert(verdict, count);
        }
        for (key, id) in contents(&self.vips).map_err(on(names::MAP_VIPS))? {
            let count = sum(&self.counters.vips, id).map_err(on(names::MAP_VIP_COUNTERS))?;
            counters.vips.insert(prefix_of(key), count);
        }
        for verdict in MssVerdict::ALL {
            let count = sum(&self.counters.mss, verdict as u32).map_err(on(names::MAP_MSS_COUNTS))?;
            counters.mss.insert(verdict, count);
        }
        Ok(counters)
    }

    /// Runs the loaded program over one frame, on the live tables: it counts like a real packet.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn run(&mut self, frame: &[u8]) -> Result<Ran, KernelError> {
        test_run(program(&mut self.object)?, frame, 1).map_err(in_program(PROGRAM_AGENT))
    }
}

impl CounterMaps {
    fn reset_vip(&mut self, id: u32) -> Result<(), MapError> {
        let cpus = self.vips.get(&id, 0)?.len();
        let zeros = PerCpuValues::try_from(vec![PacketCounter::default(); cpus])?;
        self.vips.set(id, zeros, 0)
    }
}

/// Names and shapes of all pinned maps.
fn shapes() -> [(&'static str, MapShape); 8] {
    let trie = |entries| MapShape { key: 4 + 16, value: 4, entries, flags: NO_PREALLOC };
    let counters = |entries| MapShape { key: 4, value: 16, entries, flags: 0 };
    [
        (names::MAP_APPLIANCES, trie(APPLIANCES_MAX)),
        (names::MAP_VIPS, trie(VIPS_MAX)),
        (names::MAP_ADDRESSES, MapShape { key: 16, value: 4, entries: ADDRESSES_MAX, flags: 0 }),
        (names::MAP_GUE_PORTS, MapShape { key: 4, value: 4, entries: GUE_PORTS_MAX, flags: 0 }),
        (names::MAP_MSS, MapShape { key: 4, value: 4, entries: 2, flags: 0 }),
        (names::MAP_MSS_COUNTS, counters(MSS_VERDICTS)),
        (names::MAP_VERDICTS, counters(AGENT_VERDICTS)),
        (names::MAP_VIP_COUNTERS, counters(VIPS_MAX)),
    ]
}

fn take<M: TryFrom<Map, Error = MapError>>(object: &mut Ebpf, name: &'static str) -> Result<M, KernelError> {
    let map = object.take_map(name).ok_or(KernelError::NoMap { name })?;
    M::try_from(map).map_err(on(name))
}

fn program(object: &mut Ebpf) -> Result<&mut Xdp, KernelError> {
    object
        .program_mut(PROGRAM_AGENT)
        .and_then(|program| program.try_into().ok())
        .ok_or(KernelError::NoProgram { name: PROGRAM_AGENT })
}

fn mss_program(object: &mut Ebpf) -> Result<&mut SchedClassifier, KernelError> {
    object
        .program_mut(PROGRAM_MSS)
        .and_then(|program| program.try_into().ok())
        .ok_or(KernelError::NoProgram { name: PROGRAM_MSS })
}

fn in_program(name: &'static str) -> impl Fn(ProgramError) -> KernelError {
    move |source| KernelError::Program { name, source: Box::new(source) }
}

fn remove_link(pins: &Pins, name: &str) -> Result<(), PinsError> {
    let path = pins.path(name);
    unlink(&path).map_err(|source| PinsError::Io { action: "detach", path, source })
}

fn sum(counters: &Counters, index: u32) -> Result<Count, MapError> {
    let values = counters.get(&index, 0)?;
    Ok(values.iter().fold(Count::default(), |sum, value| Count {
        packets: sum.packets + value.packets,
        bytes: sum.bytes + value.bytes,
    }))
}

/// Length and octets of a prefix in the tables: what a trie is keyed by.
type TrieKey = (u32, Octets);

fn contents(trie: &Trie) -> Result<BTreeMap<TrieKey, u32>, MapError> {
    trie.iter().map(|entry| entry.map(|(key, value)| ((key.prefix_len(), key.data()), value))).collect()
}

/// Makes `trie` hold exactly `wanted`; entries that are right already are not touched.
fn replace(trie: &mut Trie, wanted: &BTreeMap<TrieKey, u32>) -> Result<(), MapError> {
    let known = contents(trie)?;
    // Removed first: together the two sets may not fit.
    for &(length, octets) in known.keys().filter(|key| !wanted.contains_key(key)) {
        trie.remove(&Key::new(length, octets))?;
    }
    for (&(length, octets), &value) in wanted.iter().filter(|&(key, value)| known.get(key) != Some(value)) {
        trie.insert(&Key::new(length, octets), value, 0)?;
    }
    Ok(())
}

/// Counter index of each prefix: the one it has, or the lowest that nobody has.
fn vip_ids(known: &BTreeMap<TrieKey, u32>, vips: &BTreeSet<IpNet>) -> BTreeMap<TrieKey, u32> {
    let keys: Vec<TrieKey> = vips.iter().map(|&prefix| key_of(prefix)).collect();
    let kept: BTreeMap<TrieKey, u32> =
        keys.iter().filter_map(|key| known.get(key).map(|&id| (*key, id))).collect();
    let used: BTreeSet<u32> = kept.values().copied().collect();
    let mut free = (0..VIPS_MAX).filter(|id| !used.contains(id));
    let mut ids = kept;
    for key in keys {
        if !ids.contains_key(&key)
            && let Some(id) = free.next()
        {
            ids.insert(key, id);
        }
    }
    ids
}

fn key_of(prefix: IpNet) -> TrieKey {
    let length = match prefix {
        IpNet::V4(v4) => 96 + u32::from(v4.prefix_len()),
        IpNet::V6(v6) => u32::from(v6.prefix_len()),
    };
    (length, Address::from(prefix.network()).0)
}

fn prefix_of((length, octets): TrieKey) -> IpNet {
    let mut bytes = [0; 16];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(octets) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    let address = IpAddr::from(bytes).to_canonical();
    let length = if address.is_ipv4() { length.saturating_sub(96) } else { length };
    let length = u8::try_from(length).unwrap_or(u8::MAX);
    IpNet::new(address, length).unwrap_or_else(|_| IpNet::from(address))
}

/// The keys and values of the tables are plain bytes.
const _: fn() = || {
    fn pod<T: Pod>() {}
    pod::<Octets>();
    pod::<PacketCounter>();
};

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_survive_the_way_into_the_tables_and_back() {
        for text in
            ["192.0.2.0/24", "198.51.100.7/32", "10.0.0.0/8", "2001:db8::/48", "2001:db8::1/128", "::1/128"]
        {
            assert_eq!(prefix_of(key_of(net(text))), net(text));
        }
        assert_eq!(key_of(net("192.0.2.0/24")).0, 120);
    }

    #[test]
    fn a_prefix_keeps_its_counters_and_a_new_one_takes_a_free_index() {
        let first =
            vip_ids(&BTreeMap::new(), &[net("10.0.0.0/8"), net("10.1.0.0/16"), net("2001:db8::/32")].into());
        assert_eq!(first.values().copied().collect::<BTreeSet<_>>(), [0, 1, 2].into());
        let second = vip_ids(&first, &[net("10.1.0.0/16"), net("10.2.0.0/16"), net("2001:db8::/32")].into());
        for kept in ["10.1.0.0/16", "2001:db8::/32"] {
            assert_eq!(second[&key_of(net(kept))], first[&key_of(net(kept))]);
        }
        assert_eq!(second[&key_of(net("10.2.0.0/16"))], first[&key_of(net("10.0.0.0/8"))]);
    }
}
