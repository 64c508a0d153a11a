// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counting frames that the kernel lost behind the program, by the object's programs at its tracepoints.
//!
//! Whoever cannot have it (a kernel without tracepoints, a process without CAP_PERFMON) goes without: packets flow the same.
//! Nothing of it is pinned; it counts from the start of the process to its end.

use aya::Ebpf;
use aya::maps::{Array, Map, MapError, PerCpuArray};
use aya::programs::{ProgramError, RawTracePoint};
use weir_dataplane_core::loss::Loss;
use weir_dataplane_core::names;

use super::Dataplane;

/// Frames lost behind the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossCounter {
    /// Why.
    pub loss: Loss,
    /// Frames since the dataplane was opened.
    pub frames: u64,
}

impl Dataplane {
    /// Frames that the program sent and the kernel lost, in the order of [`Loss::ALL`].
    ///
    /// # Errors
    /// When the counter map cannot be read.
    pub fn loss_counters(&self) -> Result<Vec<LossCounter>, MapError> {
        let map = self
            .object
            .map(names::MAP_LOSS_COUNTS)
            .ok_or_else(|| MapError::InvalidName { name: names::MAP_LOSS_COUNTS.to_owned() })?;
        let counts = PerCpuArray::<_, u64>::try_from(map)?;
        let count = |loss| {
            let frames = counts.get(&(loss as u32), 0)?.iter().sum();
            Ok(LossCounter { loss, frames })
        };
        Loss::ALL.into_iter().map(count).collect()
    }
}

/// Why losses are not counted.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("the kernel object has no `{name}`")]
    Missing { name: &'static str },
    #[error("map {name}")]
    Map {
        name: &'static str,
        #[source]
        source: MapError,
    },
    #[error("attach program `{name}` to tracepoint `{tracepoint}`")]
    Program {
        name: &'static str,
        tracepoint: &'static str,
        #[source]
        source: Box<ProgramError>,
    },
}

/// Loads and attaches the programs, while the object still has all its maps. They stay on for as long as the object lives.
pub(super) fn watch(object: &mut Ebpf) {
    if let Err(error) = try_watch(object) {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(%error, cause, "frames that the kernel loses behind the program are not counted");
    }
}

fn try_watch(object: &mut Ebpf) -> Result<(), WatchError> {
    let name = names::MAP_EGRESS;
    let Some(Map::DevMapHash(egress)) = object.map(name) else { return Err(WatchError::Missing { name }) };
    let egress = egress.info().map_err(|source| WatchError::Map { name, source })?.id();
    let name = names::MAP_LOSS_OF_MAP;
    let map = object.map_mut(name).ok_or(WatchError::Missing { name })?;
    let mut of_map = Array::<_, u32>::try_from(map).map_err(|source| WatchError::Map { name, source })?;
    of_map.set(0, egress, 0).map_err(|source| WatchError::Map { name, source })?;
    for (name, tracepoint) in names::LOSS_PROGRAMS {
        let failed = |source| WatchError::Program { name, tracepoint, source: Box::new(source) };
        let program = object.program_mut(name).ok_or(WatchError::Missing { name })?;
        let program: &mut RawTracePoint = program.try_into().map_err(failed)?;
        program.load().map_err(failed)?;
        // The library keeps the link beside the program.
        program.attach(tracepoint).map_err(failed)?;
    }
    Ok(())
}
