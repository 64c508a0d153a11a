// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counting frames that the kernel lost behind the program, by the object's programs at its tracepoints.
//!
//! Whoever cannot have it (a kernel without tracepoints, a process without CAP_PERFMON) goes without: packets flow the same, and
//! no counter is told, since a zero would say that nothing was lost. Either all of it counts or nothing does. Nothing of it is
//! pinned; it counts from the start of the process to its end.

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
    /// Frames that the program sent and the kernel lost, in the order of [`Loss::ALL`]; empty where they are not counted.
    ///
    /// # Errors
    /// When the counter map cannot be read.
    pub fn loss_counters(&self) -> Result<Vec<LossCounter>, MapError> {
        if !self.counts_losses {
            return Ok(Vec::new());
        }
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
/// Whether they count.
pub(super) fn watch(object: &mut Ebpf) -> bool {
    let Err(error) = try_watch(object, &names::LOSS_PROGRAMS) else { return true };
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    tracing::warn!(%error, cause, "frames that the kernel loses behind the program are not counted");
    unwatch(object);
    false
}

/// Takes off what was attached before another could not be: it would cost every frame, and nobody reads it.
fn unwatch(object: &mut Ebpf) {
    for (name, _) in names::LOSS_PROGRAMS {
        let Some(program) = object.program_mut(name) else { continue };
        match <&mut RawTracePoint>::try_from(program).and_then(|program| program.unload()) {
            Ok(()) | Err(ProgramError::NotLoaded) => {}
            Err(error) => tracing::warn!(name, %error, "program at a tracepoint not taken off"),
        }
    }
}

fn try_watch(object: &mut Ebpf, programs: &[(&'static str, &'static str)]) -> Result<(), WatchError> {
    let name = names::MAP_EGRESS;
    let Some(Map::DevMapHash(egress)) = object.map(name) else { return Err(WatchError::Missing { name }) };
    let egress = egress.info().map_err(|source| WatchError::Map { name, source })?.id();
    let name = names::MAP_LOSS_OF_MAP;
    let map = object.map_mut(name).ok_or(WatchError::Missing { name })?;
    let mut of_map = Array::<_, u32>::try_from(map).map_err(|source| WatchError::Map { name, source })?;
    of_map.set(0, egress, 0).map_err(|source| WatchError::Map { name, source })?;
    for &(name, tracepoint) in programs {
        let failed = |source| WatchError::Program { name, tracepoint, source: Box::new(source) };
        let program = object.program_mut(name).ok_or(WatchError::Missing { name })?;
        let program: &mut RawTracePoint = program.try_into().map_err(failed)?;
        program.load().map_err(failed)?;
        // The library keeps the link beside the program.
        program.attach(tracepoint).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aya::programs::loaded_links;

    use super::*;
    use crate::{Capacity, DataplaneConfig};

    fn object() -> Ebpf {
        let config = DataplaneConfig {
            instance_dir: std::path::PathBuf::new(),
            uplinks: Vec::new(),
            hash_seed: [7; 32],
            source_v4: None,
            source_v6: None,
            capacity: Capacity { services: 64, backends: 256, flow_slots: 4_096, rows: 65_536 },
            checks: None,
        };
        super::super::load(&config, 1, None).unwrap()
    }

    /// Ids of the programs that are loaded.
    fn loaded(object: &mut Ebpf) -> Vec<u32> {
        let id = |name| {
            let program: &RawTracePoint = object.program(name).unwrap().try_into().unwrap();
            program.info().ok().map(|info| info.id())
        };
        names::LOSS_PROGRAMS.into_iter().filter_map(|(name, _)| id(name)).collect()
    }

    #[test]
    #[ignore = "needs root"]
    fn where_one_cannot_be_attached_none_stays() {
        let mut object = object();
        let mut programs = names::LOSS_PROGRAMS;
        programs[2].1 = "no_such_tracepoint";
        let error = try_watch(&mut object, &programs).unwrap_err();
        assert!(error.to_string().contains("no_such_tracepoint"), "{error}");
        let ids = loaded(&mut object);
        assert_eq!(ids.len(), 3, "the others were on");
        let attached = |id| loaded_links().filter_map(Result::ok).any(|link| link.program_id() == id);
        assert!(attached(ids[0]) && attached(ids[1]));
        unwatch(&mut object);
        assert!(loaded(&mut object).is_empty());
        assert!(!ids.into_iter().any(attached), "their links are gone as well");
    }
}
