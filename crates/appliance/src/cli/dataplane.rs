// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir dataplane`: what a daemon left pinned, without a daemon, and what this kernel has. For package scripts, and for the hour
//! when nothing else works; no command needs a document that is right, unless it is about the document.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use weir_agent::{AgentConfig, Kernel, KernelError};
use weir_dataplane::kernel::probe::{Answer, Report};
use weir_dataplane::{Dataplane, OpenError};

use super::Exit;
use crate::instance::InstanceLock;
use crate::{config, translate};

/// Instances that one folder of pins may hold before it is taken for something else.
const INSTANCES_MAX: usize = 64;
/// Where the appliance's document lies.
const DOCUMENT: &str = "/etc/weir/weir.toml";
/// Where the agent's document lies.
const AGENT_DOCUMENT: &str = "/etc/weir/agent.toml";

/// Arguments of `weir dataplane`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Take what a daemon left behind off the interfaces: programs, links, tables, the check tunnel
    ///
    /// Refuses an instance that a process runs. Flows that it carried are forgotten.
    Detach(Detach),
    /// Say whether a start of this version would take over what is pinned, as after an upgrade
    ///
    /// Exit code 0: it would, or nothing is pinned. 5: the tables have another layout or other sizes, so the old daemon must
    /// stop cleanly first. 1: the document is refused.
    Fits(Fits),
    /// Say whether this kernel has what Weir needs, by trying
    ///
    /// Small maps and programs are made and let go; nothing is attached. Needs the rights of the daemon, or root. Exit code 0:
    /// Weir can run here. 1: it cannot, and the last line says why.
    Probe,
}

#[derive(Debug, clap::Args)]
struct Detach {
    /// The folder of pins
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/bpf/weir")]
    pin_dir: PathBuf,
    /// One instance of it; left out, all of them
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Fits {
    /// The document is an agent's
    #[arg(long)]
    agent: bool,
    /// The document, by default /etc/weir/weir.toml or /etc/weir/agent.toml
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
}

/// Runs `weir dataplane`.
pub fn main(args: &Args) -> Result<Exit> {
    match &args.command {
        Command::Detach(args) => detach(args),
        Command::Fits(args) => fits(args),
        Command::Probe => probe(&Report::of_this_kernel()),
    }
}

fn probe(report: &Report) -> Result<Exit> {
    let mut out = io::stdout();
    writeln!(out, "kernel {}", report.kernel)?;
    for (feature, answer) in &report.answers {
        let remark = match answer {
            Answer::Present => String::new(),
            Answer::Absent | Answer::Forbidden | Answer::Unclear(_) if feature.is_optional() => {
                format!(" (Linux {}; Weir works without)", feature.since())
            }
            Answer::Absent | Answer::Forbidden | Answer::Unclear(_) => {
                format!(" (Linux {})", feature.since())
            }
        };
        writeln!(out, "  {:<48}{answer}{remark}", feature.name())?;
    }
    if report.is_below_floor() {
        writeln!(out, "older than any kernel that Weir was tried on")?;
    }
    match report.decide() {
        Ok(()) => writeln!(out, "Weir can run on this kernel")?,
        Err(error) => {
            eprintln!("weir: {error}");
            return Ok(Exit::Failed);
        }
    }
    Ok(Exit::Ok)
}

fn detach(args: &Detach) -> Result<Exit> {
    let instances = match &args.instance {
        Some(name) => vec![args.pin_dir.join(name)],
        None => instances(&args.pin_dir)?,
    };
    let mut exit = Exit::Ok;
    for instance in instances {
        match detach_one(&instance) {
            Ok(links) => {
                let interfaces = if links == 1 { "interface" } else { "interfaces" };
                writeln!(io::stdout(), "{}: off {links} {interfaces}, nothing pinned", instance.display())?;
            }
            // The others are taken down all the same.
            Err(error) => {
                eprintln!("weir: {error:#}");
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

/// Folders of instances in the folder of pins; none if it does not exist.
fn instances(pin_dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(pin_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("list {}", pin_dir.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", pin_dir.display()))?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    anyhow::ensure!(
        found.len() <= INSTANCES_MAX,
        "{} holds more than {INSTANCES_MAX} folders",
        pin_dir.display()
    );
    found.sort();
    Ok(found)
}

fn detach_one(instance: &Path) -> Result<usize> {
    if !instance.is_dir() {
        return Ok(0);
    }
    // The lock goes with this process, and takes the emptied folder along.
    let _lock = InstanceLock::acquire(instance)?;
    Ok(Dataplane::remove_left(instance)?)
}

/// Whether a start with this document would take over what is pinned.
pub(super) fn would_adopt(document: &Path) -> bool {
    let Ok(document) = config::load(document) else { return false };
    Dataplane::would_adopt(&translate::dataplane(&document, [0; 32])).unwrap_or(false)
}

fn fits(args: &Fits) -> Result<Exit> {
    let answer = if args.agent {
        let file = args.config.as_deref().unwrap_or(Path::new(AGENT_DOCUMENT));
        match AgentConfig::load(file) {
            Ok(config) => Kernel::would_adopt(&config).map_err(Misfit::from),
            Err(errors) => return refused(&errors),
        }
    } else {
        let file = args.config.as_deref().unwrap_or(Path::new(DOCUMENT));
        match config::load(file) {
            // The seed is in no table's shape; who asks may not be allowed to read it.
            Ok(document) => {
                Dataplane::would_adopt(&translate::dataplane(&document, [0; 32])).map_err(Misfit::from)
            }
            Err(errors) => return refused(&errors),
        }
    };
    match answer {
        Ok(true) => writeln!(io::stdout(), "what is pinned fits: a start takes it over")?,
        Ok(false) => writeln!(io::stdout(), "nothing is pinned")?,
        Err(Misfit::Other(error)) => return Err(error),
        Err(Misfit::Pins(error)) => {
            eprintln!("weir: {error:#}");
            return Ok(Exit::Conflict);
        }
    }
    Ok(Exit::Ok)
}

fn refused(errors: &impl std::fmt::Display) -> Result<Exit> {
    eprintln!("{errors}");
    Ok(Exit::Failed)
}

/// Why pins would not be taken over.
enum Misfit {
    /// They are of another kind.
    Pins(anyhow::Error),
    /// They could not be looked at.
    Other(anyhow::Error),
}

impl From<weir_dataplane::kernel::pins::PinsError> for Misfit {
    fn from(error: weir_dataplane::kernel::pins::PinsError) -> Self {
        use weir_dataplane::kernel::pins::PinsError;
        match error {
            PinsError::OtherVersion { .. } | PinsError::OtherShape { .. } => Self::Pins(error.into()),
            PinsError::NotBpffs { .. }
            | PinsError::Io { .. }
            | PinsError::Map { .. }
            | PinsError::Standing(_) => Self::Other(error.into()),
        }
    }
}

impl From<OpenError> for Misfit {
    fn from(error: OpenError) -> Self {
        if let OpenError::Pins(error) = error { error.into() } else { Self::Other(error.into()) }
    }
}

impl From<KernelError> for Misfit {
    fn from(error: KernelError) -> Self {
        if let KernelError::Pins(error) = error { error.into() } else { Self::Other(error.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_folders_in_order() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(instances(&root.path().join("missing")).unwrap(), Vec::<PathBuf>::new());
        for name in ["b", "a"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        fs::write(root.path().join("file"), "").unwrap();
        assert_eq!(instances(root.path()).unwrap(), [root.path().join("a"), root.path().join("b")]);
    }

    #[test]
    fn a_crowded_folder_is_not_ours() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..=INSTANCES_MAX {
            fs::create_dir(root.path().join(number.to_string())).unwrap();
        }
        assert!(instances(root.path()).is_err());
    }

    #[test]
    fn only_a_bpf_file_system_is_cleared() {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("default/v2");
        fs::create_dir_all(&inside).unwrap();
        fs::write(inside.join("precious"), "").unwrap();
        let args = Detach { pin_dir: root.path().to_owned(), instance: None };
        assert_eq!(detach(&args).unwrap(), Exit::Failed);
        assert!(inside.join("precious").exists());
    }

    #[test]
    fn an_instance_that_runs_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let _running = InstanceLock::acquire(&root.path().join("default")).unwrap();
        let args = Detach { pin_dir: root.path().to_owned(), instance: Some("default".to_owned()) };
        assert_eq!(detach(&args).unwrap(), Exit::Failed);
        let missing = Detach { pin_dir: root.path().to_owned(), instance: Some("other".to_owned()) };
        assert_eq!(detach(&missing).unwrap(), Exit::Ok);
    }
}
