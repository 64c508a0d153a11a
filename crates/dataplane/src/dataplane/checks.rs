// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The path of health checks as part of the dataplane: the program of its object on the interface that `checks` makes.

use std::path::Path;

use aya::Ebpf;
use aya::maps::{MapError, PerCpuArray};
use aya::programs::tc::{SchedClassifier, SchedClassifierLink};
use weir_dataplane_core::check::CheckVerdict;
use weir_dataplane_core::names;

use super::{Dataplane, OpenError};
use crate::checks::{self, CheckPathError, Families};
use crate::config::CheckPath;
use crate::kernel::egress::{self, Hook};
use crate::kernel::pins::{self, PinsError};

/// A path that is open. Of no use without its process, so it goes with it; what a process that was killed leaves behind, the
/// next one replaces.
pub(super) struct OpenPath {
    path: CheckPath,
    alias: String,
    ifindex: u32,
    /// Holds the program on the interface.
    _link: SchedClassifierLink,
}

impl Drop for OpenPath {
    fn drop(&mut self) {
        if let Err(error) = checks::close(Some(&self.path), &self.alias) {
            // It leads nowhere without its program, and nobody sets its marks any more.
            tracing::warn!(%error, cause = ?std::error::Error::source(&error), "check path not removed");
        }
    }
}

/// What became of the packets of health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckCounter {
    /// How they ended.
    pub verdict: CheckVerdict,
    /// Packets since the dataplane was opened.
    pub packets: u64,
}

impl Dataplane {
    /// Opens the way by which a socket with the mark [`crate::CheckPath::mark`] `| backend id` reaches that backend: makes
    /// interface, routes and rules, and puts the program on it. What a former process left is replaced. Does nothing when all
    /// of it is in place. Works in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`CheckPathError`]; then there is no path, and marked packets go nowhere.
    pub fn open_check_path(&mut self) -> Result<(), CheckPathError> {
        self.open_check_path_by(None)
    }

    /// As [`Self::open_check_path`], with the program attached in one certain way.
    ///
    /// # Errors
    /// As [`Self::open_check_path`].
    pub fn open_check_path_by(&mut self, hook: Option<Hook>) -> Result<(), CheckPathError> {
        let path = self.config.checks.clone().ok_or(CheckPathError::NotConfigured)?;
        let (alias, families) = (self.alias(), self.families());
        if let Some(open) = &self.check_path
            && checks::is_whole(&path, &alias, families, open.ifindex)?
        {
            return Ok(());
        }
        self.check_path = None;
        let program = check_program(&mut self.object).expect("loaded when opened");
        let failed =
            |source| CheckPathError::Program { interface: path.interface.clone(), source: Box::new(source) };
        let mut link = None;
        let ifindex = checks::open(&path, &alias, families, |interface| {
            let (attached, by) = egress::attach(program, interface, hook).map_err(failed)?;
            tracing::info!(interface, hook = by.name(), "check path opened");
            link = Some(attached);
            Ok(())
        })?;
        self.check_path = link.map(|link| OpenPath { path, alias, ifindex, _link: link });
        Ok(())
    }

    /// Removes interface, routes and rules of health checks, also those that a former process left.
    ///
    /// # Errors
    /// [`CheckPathError::Kernel`]; what could be removed is.
    pub fn close_check_path(&mut self) -> Result<(), CheckPathError> {
        // Once more by the path itself, if there is one: by then it finds nothing to do.
        let closed = checks::close(self.config.checks.as_ref(), &self.alias());
        self.check_path = None;
        closed
    }

    /// Removes what the process that ran `instance_dir` left: interface, routes and rules of health checks, links, pins. Returns
    /// how many interfaces the program was on. For an instance that no process runs; the caller holds its lock.
    ///
    /// # Errors
    /// [`LeftError`]; what could be removed is.
    pub fn remove_left(instance_dir: &Path) -> Result<usize, LeftError> {
        let closed = checks::close(None, &alias(instance_dir));
        let links = pins::remove_instance(instance_dir)?;
        closed?;
        Ok(links)
    }

    /// What became of the packets of health checks, in the order of [`CheckVerdict::ALL`].
    ///
    /// # Errors
    /// When the counter map cannot be read.
    pub fn check_counters(&self) -> Result<Vec<CheckCounter>, MapError> {
        let map = self
            .object
            .map(names::MAP_CHECK_COUNTS)
            .ok_or_else(|| MapError::InvalidName { name: names::MAP_CHECK_COUNTS.to_owned() })?;
        let counts = PerCpuArray::<_, u64>::try_from(map)?;
        let count = |verdict| {
            let packets = counts.get(&(verdict as u32), 0)?.iter().sum();
            Ok(CheckCounter { verdict, packets })
        };
        CheckVerdict::ALL.into_iter().map(count).collect()
    }

    /// What the interfaces of this instance are recognised by.
    fn alias(&self) -> String {
        alias(&self.config.instance_dir)
    }

    /// Checks are made in the families that tunnels are.
    fn families(&self) -> Families {
        Families { v4: self.config.source_v4.is_some(), v6: self.config.source_v6.is_some() }
    }
}

/// What is left of an instance could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum LeftError {
    /// Its pins.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// Its check path.
    #[error(transparent)]
    Checks(#[from] CheckPathError),
}

fn alias(instance_dir: &Path) -> String {
    format!("weir {}", instance_dir.display())
}

/// Loads the program, while the object still has all its maps.
///
/// # Errors
/// [`OpenError::NoProgram`], [`OpenError::Program`].
pub(super) fn load(object: &mut Ebpf) -> Result<(), OpenError> {
    let name = names::PROGRAM_CHECKS;
    let program = check_program(object).ok_or(OpenError::NoProgram { name })?;
    program.load().map_err(|source| OpenError::Program { name, source: Box::new(source) })
}

fn check_program(object: &mut Ebpf) -> Option<&mut SchedClassifier> {
    object.program_mut(names::PROGRAM_CHECKS).and_then(|program| program.try_into().ok())
}
