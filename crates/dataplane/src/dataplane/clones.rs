// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The program that sends copies of ICMP errors (`weir_dataplane_core::clone`): on the ingress of every uplink that has the
//! XDP program, for as long as a pool needs it.
//!
//! XDP hands over only while [`Knobs::CLONES`] is set, and this file alone sets it: when the program is on every uplink there
//! is. Where it cannot be put on one, errors about unknown flows go to their row's first candidate, which is logged.

use aya::Ebpf;
use aya::programs::{ProgramError, SchedClassifier};
use weir_dataplane_core::Knobs;
use weir_dataplane_core::names::{PROGRAM_CLONE, PROGRAM_COPY};

use super::{Dataplane, OpenError};
use crate::forwarding::{ForwardingState, GueVariant, Mode};
use crate::kernel::egress::Hook;
use crate::kernel::link;
use crate::kernel::maps::Maps;
use crate::kernel::standing::{self, Place, StandingError};
use crate::kernel::test_run::{Ran, test_run};

/// What is known of the program on the uplinks.
#[derive(Debug, Default)]
pub(super) struct Clones {
    /// A pool of the state in force needs it.
    wanted: bool,
    /// Whether this kernel took the programs.
    loaded: bool,
    /// Uplinks, by name and index, that have this process's program.
    held: Vec<(String, u32)>,
    /// Whether the last attempt failed and was told of.
    failed: bool,
    /// Whether it could not be taken off an interface, which was told of.
    left: bool,
    /// How it is to be attached; the first way that the kernel has, if left open.
    hook: Option<Hook>,
}

impl Clones {
    /// At the start.
    pub(super) fn new(loaded: bool) -> Self {
        Self { loaded, ..Self::default() }
    }
}

impl Dataplane {
    /// Whether errors about unknown flows are copied to all candidates now.
    pub fn clones(&self) -> bool {
        self.maps.knobs.read(0).flags & Knobs::CLONES != 0
    }

    /// Has the copying program be attached in one certain way.
    pub fn clone_by(&mut self, hook: Hook) {
        self.clones.hook = Some(hook);
    }

    /// Runs the copying program over one frame as XDP hands it over. The copies are really sent, by interfaces of the calling
    /// thread's network namespace; action 2 means that the frame was taken.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn run_clone(&mut self, frame: &[u8]) -> Result<Ran, ProgramError> {
        test_run(program(&mut self.object, PROGRAM_CLONE).expect("loaded when opened"), frame, 1)
    }

    /// Notes whether `state` needs copies.
    pub(super) fn want_clones(&mut self, state: &ForwardingState) {
        self.clones.wanted = state.pools.values().any(|pool| {
            let passes_on = matches!(pool.mode, Mode::Gue { variant: GueVariant::Candidates, .. });
            !passes_on && pool.backends.len() > 1
        });
    }

    /// Looks whether the program still is where it was put, and puts it back: nobody is told when somebody takes it off, and
    /// what XDP hands over meanwhile is lost. Tries again what failed. To be called every few seconds.
    pub fn keep_clones(&mut self) {
        if self.clones.wanted || self.clones.left {
            self.settle_clones();
        }
    }

    /// Brings the program on the uplinks, or takes it off, and has XDP hand over or not. Does nothing to what is as it shall be.
    pub(super) fn settle_clones(&mut self) {
        if self.pins.is_nowhere() {
            // A private copy has no uplinks: whoever runs it takes what it hands over.
            self.set_clones(self.clones.wanted && self.clones.loaded);
            return;
        }
        let is_wanted = self.clones.wanted && self.clones.loaded;
        let uplinks: Vec<(String, u32)> = self
            .config
            .uplinks
            .iter()
            .filter(|uplink| link::is_attached(&uplink.name, uplink.mode, &self.pins))
            .filter_map(|uplink| Some((uplink.name.clone(), link::ifindex(&uplink.name)?)))
            .collect();
        let outcome = if is_wanted { self.attach_clones(&uplinks) } else { Ok(()) };
        let is_ready = outcome.is_ok() && is_wanted && !uplinks.is_empty();
        self.set_clones(is_ready);
        if let Err(error) = &outcome {
            if !self.clones.failed {
                let cause = std::error::Error::source(error);
                tracing::warn!(%error, ?cause, "ICMP errors of unknown flows go to one backend only");
            }
        } else if self.clones.failed {
            tracing::info!("ICMP errors of unknown flows go to all candidates again");
        }
        self.clones.failed = outcome.is_err();
        // Last: until then frames may be handed over.
        let wanted: Vec<&str> =
            if is_ready { uplinks.iter().map(|(name, _)| name.as_str()).collect() } else { Vec::new() };
        self.clones.held.retain(|(name, _)| wanted.contains(&name.as_str()));
        match standing::detach_others(&Place::CLONES, &self.pins, &wanted) {
            Ok(gone) => {
                self.clones.left = false;
                for interface in gone {
                    tracing::info!(interface, "copying program taken off");
                }
            }
            // It takes nothing, since nothing is handed over.
            Err(error) => {
                if !std::mem::replace(&mut self.clones.left, true) {
                    let cause = std::error::Error::source(&error);
                    tracing::warn!(%error, ?cause, "copying program left on an interface");
                }
            }
        }
    }

    fn attach_clones(&mut self, uplinks: &[(String, u32)]) -> Result<(), StandingError> {
        for uplink in uplinks {
            let (name, _) = uplink;
            let program = program(&mut self.object, PROGRAM_CLONE).expect("loaded when opened");
            if self.clones.held.contains(uplink) && standing::stays(program, &Place::CLONES, name, &self.pins)
            {
                continue;
            }
            let adopted = standing::attach(program, &Place::CLONES, name, self.clones.hook, &self.pins)?;
            tracing::info!(interface = name, adopted, "copying program attached");
            self.clones.held.retain(|(held, _)| held != name);
            self.clones.held.push(uplink.clone());
        }
        Ok(())
    }

    /// Takes the program off every uplink.
    pub(super) fn detach_clones(&mut self) {
        self.set_clones(false);
        self.clones.held.clear();
        if let Err(error) = standing::detach_others(&Place::CLONES, &self.pins, &[]) {
            tracing::warn!(%error, "copying program left on an interface");
        }
    }

    fn set_clones(&mut self, is_on: bool) {
        let mut knobs = self.maps.knobs.read(0);
        let flags = if is_on { knobs.flags | Knobs::CLONES } else { knobs.flags & !Knobs::CLONES };
        if flags != knobs.flags {
            knobs.flags = flags;
            self.maps.knobs.write(0, &knobs);
        }
    }
}

/// Loads the programs, while the object still has all its maps. `false`: this kernel does not take them, which is told of; all
/// else works without.
pub(super) fn load(object: &mut Ebpf) -> bool {
    for name in [PROGRAM_CLONE, PROGRAM_COPY] {
        let outcome = program(object, name).ok_or(OpenError::NoProgram { name }).and_then(|program| {
            program.load().map_err(|source| OpenError::Program { name, source: Box::new(source) })
        });
        if let Err(error) = outcome {
            let cause = std::error::Error::source(&error);
            tracing::warn!(%error, ?cause, "ICMP errors of unknown flows go to one backend only");
            return false;
        }
    }
    true
}

/// Writes the second program into its table; one of a former process that is attached goes on to it from then on.
///
/// # Errors
/// [`OpenError::Program`], [`OpenError::Step`].
pub(super) fn fill(object: &mut Ebpf, maps: &mut Maps) -> Result<(), OpenError> {
    let name = PROGRAM_COPY;
    let program = program(object, name).ok_or(OpenError::NoProgram { name })?;
    let fd = program.fd().map_err(|source| OpenError::Program { name, source: Box::new(source) })?;
    maps.copies.set(0, fd, 0).map_err(|source| OpenError::Step { name, source: Box::new(source) })
}

fn program<'o>(object: &'o mut Ebpf, name: &str) -> Option<&'o mut SchedClassifier> {
    object.program_mut(name).and_then(|program| program.try_into().ok())
}
