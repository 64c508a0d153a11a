// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The handle: opens or adopts, attaches, applies, counts, sweeps, detaches.
//!
//! Synchronous, and owned by one task. Times: applying takes milliseconds, and more for pools that need new rows; a sweep
//! reads the whole flow table.

mod adopt;
mod apply;
mod carriage;
mod checks;
mod clones;
mod in_force;
mod losses;
mod private;
mod rankings;
mod services;
mod snapshot;
mod sweep;
mod tables;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader};
use weir_dataplane_core::bytes::ServiceCounter;
use weir_dataplane_core::hash::HashKeys;
use weir_dataplane_core::{Verdict, names};

use crate::config::{CapacityError, DataplaneConfig, Uplink};
use crate::counters::{Counters, VerdictCounters, sum_packets, sum_services};
use crate::kernel::clock::{self, ClockError};
use crate::kernel::facts::{facts, tag_strippers};
use crate::kernel::features::{self, Transmits};
use crate::kernel::link::{self, AttachError, Mode};
use crate::kernel::maps::{Maps, MapsError, shapes};
use crate::kernel::pins::{Pins, PinsError};
use crate::kernel::probe::{ProbeError, Report};
use crate::kernel::refusal::MTU_ONE_BUFFER;
use crate::kernel::test_run::{Ran, test_run, test_run_behind};
use crate::kernel::unlink::unlink;
use crate::object;
use tables::Tables;

pub use apply::{Applied, ApplyError, NextHops};
pub use checks::{CheckCounter, LeftError};
pub use losses::LossCounter;
pub use private::FixRowsError;
pub use sweep::{BackendFlows, SLICE_SLOTS, SweepError, Swept};
pub use verify::VerifyError;

/// Why the dataplane could not be opened. Nothing is attached then that was not before.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The thread cannot be kept on one processor.
    #[error("keep to one processor")]
    Processor(#[source] std::io::Error),
    /// The running kernel will not do.
    #[error(transparent)]
    Kernel(#[from] ProbeError),
    /// A size is out of range.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// The pins cannot be adopted.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The kernel refused the object.
    #[error("load the kernel object")]
    Load(#[source] Box<aya::EbpfError>),
    /// The object lacks a program.
    #[error("the kernel object has no program `{name}`")]
    NoProgram {
        /// Its name.
        name: &'static str,
    },
    /// The verifier refused a program.
    #[error("load program `{name}`")]
    Program {
        /// Its name.
        name: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// The kernel refused a program in the table of steps.
    #[error("put program `{name}` into the table of steps")]
    Step {
        /// Its name.
        name: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// A map is not as expected.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// The clock cannot be read.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The adopted services could not be read.
    #[error("read the adopted service table")]
    Adopt(#[source] Box<aya::maps::MapError>),
}

/// What the kernel says of the loaded program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramFacts {
    /// The kernel's id of it.
    pub id: u32,
    /// Hash of its instructions.
    pub tag: u64,
    /// Instructions that the verifier visited (kernel 5.16); its limit is 1,000,000.
    pub verified_instructions: Option<u32>,
    /// Size of its machine code in bytes.
    pub jited_bytes: u32,
}

/// Ids of backends by pool and name.
pub type BackendIds = BTreeMap<(String, String), u16>;

/// With which clock, and on which tables, a dataplane starts.
struct Start {
    hz: u32,
    tick_factor: u64,
    adopted: bool,
}

/// The dataplane of one appliance.
pub struct Dataplane {
    config: DataplaneConfig,
    pins: Pins,
    object: Ebpf,
    maps: Maps,
    tables: Tables,
    tick_factor: u64,
    hz: u32,
    adopted: bool,
    /// Whether the last desired state is wholly in force: only then is what nobody wants really nobody's.
    settled: bool,
    is_program_pinned: bool,
    /// Uplinks that were warned of, because frames are lost behind them.
    warned: BTreeSet<String>,
    /// The same, because tags are taken off before the program.
    warned_of_tags: BTreeSet<String>,
    check_path: Option<checks::OpenPath>,
    clones: clones::Clones,
    /// Whether frames that the kernel loses behind the program are counted.
    counts_losses: bool,
    /// The sweep that has begun, if one has.
    sweep: Option<sweep::Begun>,
}

impl Dataplane {
    /// Loads the program and creates the tables, or adopts those that are pinned. Attaches nothing.
    ///
    /// # Errors
    /// [`OpenError`], among them pins of another layout version or of other capacities.
    pub fn open(config: DataplaneConfig) -> Result<Self, OpenError> {
        config.capacity.check()?;
        Report::of_this_kernel().decide()?;
        let pins = Pins::open(&config.instance_dir)?;
        let mut adopted = false;
        for (name, shape) in shapes(&config.capacity) {
            adopted |= pins.check_map(name, shape)?;
        }
        let hz = clock::hz()?;
        Self::load(config, pins, Start { hz, tick_factor: clock::tick_factor(hz), adopted })
    }

    fn load(config: DataplaneConfig, pins: Pins, start: Start) -> Result<Self, OpenError> {
        let Start { hz, tick_factor, adopted } = start;
        let mut object = load(&config, tick_factor, Some(&pins).filter(|pins| !pins.is_nowhere()))?;
        load_program(&mut object, names::PROGRAM_INGRESS)?;
        load_program(&mut object, names::PROGRAM_CLOCK)?;
        load_program(&mut object, names::PROGRAM_DRY)?;
        for name in names::STEPS {
            load_program(&mut object, name)?;
        }
        let has_clones = clones::load(&mut object);
        if config.checks.is_some() {
            checks::load(&mut object)?;
        }
        let counts_losses = !pins.is_nowhere() && losses::watch(&mut object);
        let mut maps = Maps::take(&mut object, &config.capacity)?;
        fill_steps(&mut object, &mut maps)?;
        if has_clones {
            clones::fill(&mut object, &mut maps)?;
        }
        let tables = adopt::tables(&maps, &config.capacity)?;
        tracing::info!(hz, adopted, pins = %config.instance_dir.display(), "dataplane opened");
        Ok(Self {
            config,
            pins,
            object,
            maps,
            tables,
            tick_factor,
            hz,
            adopted,
            settled: false,
            is_program_pinned: false,
            warned: BTreeSet::new(),
            warned_of_tags: BTreeSet::new(),
            check_path: None,
            clones: clones::Clones::new(has_clones),
            counts_losses,
            sweep: None,
        })
    }

    /// Whether [`Self::open`] with this configuration would take pinned tables over; false when none are pinned. Changes
    /// nothing, also while another process runs the instance.
    ///
    /// # Errors
    /// As those of [`Self::open`] that concern pins: another layout version, other capacities.
    pub fn would_adopt(config: &DataplaneConfig) -> Result<bool, OpenError> {
        config.capacity.check()?;
        let pins = Pins::existing(&config.instance_dir)?;
        let mut adopts = false;
        for (name, shape) in shapes(&config.capacity) {
            adopts |= pins.check_map(name, shape)?;
        }
        Ok(adopts)
    }

    /// Whether tables of a former process were taken over.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// HZ of the running kernel.
    pub fn hz(&self) -> u32 {
        self.hz
    }

    /// Puts the program on every uplink, or on the links that are pinned there. Does nothing to those already done. An uplink
    /// that has gone brings no packets, so while there is another it is passed over.
    ///
    /// # Errors
    /// [`AttachError`] for the first uplink that refuses; those before it stay attached.
    pub fn attach(&mut self) -> Result<(), AttachError> {
        if self.pins.is_nowhere() {
            return Ok(());
        }
        let uplinks = self.config.uplinks.clone();
        let is_one_there = uplinks.iter().any(|uplink| link::ifindex(&uplink.name).is_some());
        for uplink in uplinks {
            let Some(index) = link::ifindex(&uplink.name) else {
                if is_one_there {
                    tracing::warn!(interface = uplink.name, "uplink is missing, going on without it");
                    continue;
                }
                return Err(AttachError::UnknownInterface { interface: uplink.name });
            };
            // Before the link: the program may send by it as soon as it runs.
            self.maps.egress.insert(index, index, None, 0).map_err(|source| AttachError::Egress {
                interface: uplink.name.clone(),
                source: Box::new(source),
            })?;
            let program = program(&mut self.object, names::PROGRAM_INGRESS).expect("loaded when opened");
            let adopted = link::attach(program, &uplink.name, uplink.mode, &self.pins)?;
            tracing::info!(interface = uplink.name, mode = uplink.mode.name(), adopted, "program attached");
        }
        self.forget_egress();
        self.warn_of_losses();
        self.warn_of_tags();
        self.pin_program()?;
        self.detach_others()?;
        self.settle_clones();
        Ok(())
    }

    /// Takes interfaces out of the device map that are no uplinks. The kernel itself takes out those that vanish; what is left
    /// are uplinks of a former document.
    fn forget_egress(&mut self) {
        let mut is_uplink: BTreeSet<u32> = BTreeSet::new();
        is_uplink.extend(self.config.uplinks.iter().filter_map(|uplink| link::ifindex(&uplink.name)));
        for index in self.egress_interfaces().into_iter().filter(|index| !is_uplink.contains(index)) {
            // One that vanishes meanwhile is what was wanted, and no next hop leads to the others.
            if let Err(error) = self.maps.egress.remove(index) {
                tracing::debug!(index, %error, "interface not taken out of the device map");
            }
        }
    }

    /// Indexes of the interfaces that packets may leave by other than where they came in, in order.
    pub fn egress_interfaces(&self) -> Vec<u32> {
        // An entry that goes while the others are listed ends the list; the next pass looks again.
        let mut indexes: Vec<u32> = self.maps.egress.keys().filter_map(Result::ok).collect();
        indexes.sort_unstable();
        indexes
    }

    /// Says once which uplinks do not send what comes in by another one.
    fn warn_of_losses(&mut self) {
        let there: Vec<(&Uplink, u32)> = self
            .config
            .uplinks
            .iter()
            .filter_map(|uplink| Some((uplink, link::ifindex(&uplink.name)?)))
            .collect();
        // In generic mode the kernel's stack sends, which every driver can.
        if there.len() < 2 || there.iter().all(|(uplink, _)| uplink.mode == Mode::Generic) {
            return;
        }
        for (uplink, index) in there {
            let interface = uplink.name.as_str();
            match features::transmits(index) {
                Ok(Some(Transmits { frames: false, .. })) if self.warned.insert(uplink.name.clone()) => {
                    tracing::warn!(
                        interface,
                        "its driver sends no frames that come in by another uplink: they will be lost. On veth its peer needs an \
                         XDP program or GRO; otherwise let next hops lead over other uplinks, or set `xdp = \"generic\"` on all"
                    );
                }
                Ok(Some(Transmits { frames: true, several_buffers: false }))
                    if facts(interface).mtu.is_some_and(|mtu| mtu > MTU_ONE_BUFFER)
                        && self.warned.insert(uplink.name.clone()) =>
                {
                    tracing::warn!(
                        interface,
                        "its driver sends no frames larger than a page that come in by another uplink: they will be lost"
                    );
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(interface, %error, "features of the driver not told"),
            }
        }
    }

    /// Says once by which uplinks tagged frames come in that the program sees without their tags.
    fn warn_of_tags(&mut self) {
        for uplink in &self.config.uplinks {
            let by = tag_strippers(&uplink.name);
            if !by.is_empty() && self.warned_of_tags.insert(uplink.name.clone()) {
                tracing::warn!(
                    interface = uplink.name,
                    by = by.join(" "),
                    "tags are taken off frames before the program sees them: what it sends back to where they came from, answers to \
                     pings and \"too big\", leaves without a tag. For each interface in `by`: `ethtool -K DEV rxvlan off`"
                );
            }
        }
    }

    /// Whether the program is on every uplink that there is, and on one at least, as the kernel says: an interface that goes
    /// away takes it along, and somebody may detach it or remove its pin.
    pub fn is_attached(&self) -> bool {
        let mut there = self.config.uplinks.iter().filter(|uplink| link::ifindex(&uplink.name).is_some());
        there.clone().next().is_some()
            && there.all(|uplink| link::is_attached(&uplink.name, uplink.mode, &self.pins))
    }

    /// Whether the program is on one uplink at least.
    pub fn is_attached_somewhere(&self) -> bool {
        self.config.uplinks.iter().any(|uplink| link::is_attached(&uplink.name, uplink.mode, &self.pins))
    }

    /// Pins the program itself beside its links, over that of the process before: what runs can be looked at by name.
    fn pin_program(&mut self) -> Result<(), PinsError> {
        if self.is_program_pinned {
            return Ok(());
        }
        let path = self.pins.path(names::PROGRAM_INGRESS);
        let fresh = self.pins.path("fresh_program");
        let io =
            |action, path: &std::path::Path, source| PinsError::Io { action, path: path.to_owned(), source };
        // Left by a process that died between the two steps.
        match std::fs::remove_file(&fresh) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("remove", &fresh, source));
            }
            Ok(()) | Err(_) => {}
        }
        let program = program(&mut self.object, names::PROGRAM_INGRESS).expect("loaded when opened");
        program.pin(&fresh).map_err(|error| io("pin program at", &fresh, std::io::Error::other(error)))?;
        std::fs::rename(&fresh, &path).map_err(|source| io("rename pin to", &path, source))?;
        self.is_program_pinned = true;
        Ok(())
    }

    /// Interfaces and modes that the program is attached to, by its pins.
    ///
    /// # Errors
    /// When the pin directory cannot be read.
    pub fn attached(&self) -> Result<Vec<(String, Mode)>, PinsError> {
        let mut attached = Vec::new();
        for name in self.pins.names("link_")? {
            for mode in [Mode::Native, Mode::Generic] {
                let suffix = format!("_{}", mode.name());
                if let Some(interface) =
                    name.strip_prefix("link_").and_then(|rest| rest.strip_suffix(&suffix))
                {
                    attached.push((interface.to_owned(), mode));
                }
            }
        }
        Ok(attached)
    }

    /// Takes the program off interfaces that a former document named.
    fn detach_others(&self) -> Result<(), AttachError> {
        for (interface, mode) in self.attached()? {
            let wanted = self.config.uplinks.iter().any(|u| u.name == interface && u.mode == mode);
            if !wanted {
                link::detach(&interface, mode, &self.pins)?;
                tracing::info!(interface, mode = mode.name(), "program detached: no longer an uplink");
            }
        }
        Ok(())
    }

    /// Ids of the backends of the state in force, by pool and name; nothing before the first [`Self::set_forwarding`].
    pub fn backend_ids(&self) -> Arc<BackendIds> {
        Arc::clone(&self.tables.backend_ids)
    }

    /// What was counted so far.
    ///
    /// # Errors
    /// When a counter map cannot be read.
    pub fn counters(&self) -> Result<Counters, aya::maps::MapError> {
        let mut counters = Counters::default();
        for &verdict in Verdict::ALL {
            let values = self.maps.verdicts.get(&(verdict as u32), 0)?;
            let (packets, bytes) = sum_packets(values.iter());
            counters.verdicts.push(VerdictCounters { verdict, packets, bytes });
        }
        for (name, &id) in &self.tables.service_names {
            let values = self.maps.service_counters.get(&id, 0)?;
            counters.services.insert(name.clone(), sum_services(values.iter()));
        }
        for (name, &id) in self.tables.backend_ids.iter() {
            let values = self.maps.backend_counters.get(&u32::from(id), 0)?;
            counters.backends.insert(name.clone(), sum_services(values.iter()));
        }
        Ok(counters)
    }

    /// Runs the loaded program over one frame, on the live tables: it counts and remembers like a real packet.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn run(&mut self, frame: &[u8]) -> Result<Ran, ProgramError> {
        test_run(program(&mut self.object, names::PROGRAM_INGRESS).expect("loaded when opened"), frame, 1)
    }

    /// As [`Dataplane::run`], behind `metadata` octets of 0xff; see [`test_run_behind`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn run_behind(&mut self, frame: &[u8], metadata: u8) -> Result<Ran, ProgramError> {
        let ingress = program(&mut self.object, names::PROGRAM_INGRESS).expect("loaded when opened");
        test_run_behind(ingress, frame, metadata)
    }

    /// What the kernel says of the loaded program.
    ///
    /// # Errors
    /// When the kernel does not say it.
    pub fn program_facts(&mut self) -> Result<ProgramFacts, ProgramError> {
        program_facts(program(&mut self.object, names::PROGRAM_INGRESS).expect("loaded when opened"))
    }

    /// Takes the program off every interface and removes the pins. Packets pass to the host from then on.
    ///
    /// # Errors
    /// When a link could not be taken off: all others are, and the tables stay for the program that still runs. When a pin
    /// could not be removed: all others are.
    pub fn detach(mut self) -> Result<(), PinsError> {
        if self.pins.is_nowhere() {
            return Ok(());
        }
        // A leftover does no harm, since nobody sets its marks any more; the next start removes it.
        if let Err(error) = self.close_check_path() {
            tracing::warn!(%error, cause = ?std::error::Error::source(&error), "check path not removed");
        }
        // The links go first: they are pins like the others, and the program must stop before its tables vanish.
        self.detach_clones();
        let Self { pins, object, maps, .. } = self;
        let links = pins.names("link_")?;
        let mut failed = None;
        for name in &links {
            let path = pins.path(name);
            if let Err(source) = unlink(&path) {
                failed.get_or_insert(PinsError::Io { action: "detach", path, source });
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        drop((object, maps));
        pins.remove()?;
        tracing::info!(links = links.len(), "dataplane detached");
        Ok(())
    }

    fn reset_counter(
        map: &mut aya::maps::PerCpuArray<aya::maps::MapData, ServiceCounter>,
        id: u32,
    ) -> Result<(), aya::maps::MapError> {
        let cpus = map.get(&id, 0)?.len();
        let zeros = aya::maps::PerCpuValues::try_from(vec![ServiceCounter::default(); cpus])?;
        map.set(id, zeros, 0)
    }

    fn now() -> Instant {
        Instant::now()
    }
}

/// The object with its constants set, pinned when `pins` is given, private otherwise.
fn load(config: &DataplaneConfig, tick_factor: u64, pins: Option<&Pins>) -> Result<Ebpf, OpenError> {
    let keys = HashKeys::from_seed(&config.hash_seed);
    let set_mask = config.capacity.flow_sets() - 1;
    let check_mark = config.checks.as_ref().map_or(0, |path| path.mark);
    let mut loader = EbpfLoader::new();
    loader
        .override_global(names::CONST_HASH_KEYS, &keys, true)
        .override_global(names::CONST_FLOW_SET_MASK, &set_mask, true)
        .override_global(names::CONST_TICK_FACTOR, &tick_factor, true)
        .override_global(names::CONST_CHECK_MARK, &check_mark, true);
    for (name, shape) in shapes(&config.capacity) {
        loader.map_max_entries(name, shape.entries);
        if let Some(pins) = pins {
            loader.map_pin_path(name, pins.path(name));
        }
    }
    loader.load(object::APPLIANCE).map_err(|source| OpenError::Load(Box::new(source)))
}

/// Writes the programs of the later steps into their table. An attached program of a former process goes on to these from
/// then on, which is why a plan never changes its meaning within a layout version.
fn fill_steps(object: &mut Ebpf, maps: &mut Maps) -> Result<(), OpenError> {
    for (index, name) in (0..).zip(names::STEPS) {
        let program = program(object, name).ok_or(OpenError::NoProgram { name })?;
        let fd = program.fd().map_err(|source| OpenError::Program { name, source: Box::new(source) })?;
        maps.steps.set(index, fd, 0).map_err(|source| OpenError::Step { name, source: Box::new(source) })?;
    }
    Ok(())
}

fn program_facts(program: &Xdp) -> Result<ProgramFacts, ProgramError> {
    let info = program.info()?;
    Ok(ProgramFacts {
        id: info.id(),
        tag: info.tag(),
        verified_instructions: info.verified_instruction_count(),
        jited_bytes: info.size_jitted(),
    })
}

fn program<'o>(object: &'o mut Ebpf, name: &'static str) -> Option<&'o mut Xdp> {
    object.program_mut(name).and_then(|program| program.try_into().ok())
}

fn load_program<'o>(object: &'o mut Ebpf, name: &'static str) -> Result<&'o mut Xdp, OpenError> {
    let program = program(object, name).ok_or(OpenError::NoProgram { name })?;
    program.load().map_err(|source| OpenError::Program { name, source: Box::new(source) })?;
    Ok(program)
}
