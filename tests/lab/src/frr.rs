// SPDX-License-Identifier: Apache-2.0 OR MIT
//! FRR in a namespace: zebra, bgpd and, if asked for, bfdd, without systemd, each instance with its own socket folder
//! (`-N NAME`).

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{output, run};
use crate::logs::LogDir;
use crate::netns::Netns;
use crate::process::Process;
use crate::wait::wait_until;

const DAEMONS: &str = "/usr/lib/frr";

/// Start of a daemon until its vty answers, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(15);

/// A running FRR; its daemons end with it.
#[derive(Debug)]
pub struct Frr {
    name: String,
    // bgpd first: it ends before the zebra it talks to.
    bgpd: Process,
    bfdd: Option<Process>,
    _zebra: Process,
}

impl Frr {
    /// Starts zebra and bgpd in `netns` and loads the configuration through vtysh.
    pub fn start(netns: &Netns, logs: &LogDir, role: &str, config: &str) -> Result<Frr> {
        let frr = Frr::start_daemons(netns, logs, role, config)?;
        frr.load()?;
        Ok(frr)
    }

    /// Starts bfdd beside the others, for a configuration with `bfd` in it.
    pub fn start_with_bfd(netns: &Netns, logs: &LogDir, role: &str, config: &str) -> Result<Frr> {
        let mut frr = Frr::start_daemons(netns, logs, role, config)?;
        frr.start_bfdd(netns, logs, role)?;
        Ok(frr)
    }

    /// Starts bfdd, first or again, and loads the configuration.
    pub fn start_bfdd(&mut self, netns: &Netns, logs: &LogDir, role: &str) -> Result<()> {
        self.bfdd = Some(daemon(netns, logs, role, "bfdd")?);
        self.load()
    }

    /// Kills bfdd outright: its peers hear nothing more.
    pub fn kill_bfdd(&mut self) -> Result<()> {
        self.bfdd.take().context("bfdd does not run")?.kill()
    }

    fn load(&self) -> Result<()> {
        run(Command::new("vtysh").args(["-N", &self.name, "-b"])).context("load FRR's configuration")
    }

    fn start_daemons(netns: &Netns, logs: &LogDir, role: &str, config: &str) -> Result<Frr> {
        let name = netns.name().to_owned();
        let folder = PathBuf::from("/etc/frr").join(&name);
        for path in [folder.clone(), PathBuf::from("/run/frr").join(&name)] {
            run(Command::new("install").args(["-d", "-o", "frr", "-g", "frr"]).arg(path))?;
        }
        std::fs::write(folder.join("vtysh.conf"), "service integrated-vtysh-config\n")?;
        std::fs::write(folder.join("frr.conf"), config)?;
        // One after the other: a bgpd that finds no zebra tries again ten seconds later.
        let zebra = daemon(netns, logs, role, "zebra")?;
        let bgpd = daemon(netns, logs, role, "bgpd")?;
        Ok(Frr { name, bgpd, bfdd: None, _zebra: zebra })
    }

    /// Answer of a vtysh command.
    pub fn vtysh(&self, command: &str) -> Result<String> {
        output(Command::new("vtysh").args(["-N", &self.name, "-c", command]))
    }

    /// Runs commands one after the other in one vtysh, each in the place that the ones before have led to.
    pub fn configure(&self, commands: &[&str]) -> Result<()> {
        let mut vtysh = Command::new("vtysh");
        vtysh.args(["-N", &self.name]);
        for command in commands {
            vtysh.args(["-c", command]);
        }
        run(&mut vtysh)
    }

    /// Answer of a vtysh command as JSON.
    pub fn json(&self, command: &str) -> Result<Value> {
        let text = self.vtysh(&format!("{command} json"))?;
        serde_json::from_str(&text).with_context(|| format!("read the answer of `{command}`: {text}"))
    }

    /// State of the session with a neighbour, such as `Established`.
    pub fn session_state(&self, neighbour: &str) -> Result<String> {
        let answer = self.json(&format!("show bgp neighbors {neighbour}"))?;
        let state = answer[neighbour]["bgpState"].as_str();
        Ok(state.with_context(|| format!("no neighbour {neighbour}"))?.to_owned())
    }

    /// Waits for a session to be Established.
    pub fn wait_established(&self, neighbour: &str, limit: Duration) -> Result<()> {
        wait_until(&format!("the session with {neighbour}"), limit, || {
            match self.session_state(neighbour)?.as_str() {
                "Established" => Ok(()),
                state => bail!("it is {state}"),
            }
        })
    }

    /// Kills bgpd outright; what it put into the kernel stays with zebra for a while.
    pub fn kill_bgpd(&mut self) -> Result<()> {
        self.bgpd.kill()
    }

    /// Process number of bgpd.
    pub fn bgpd_pid(&self) -> u32 {
        self.bgpd.pid()
    }
}

/// Starts a daemon and waits until its vty answers.
fn daemon(netns: &Netns, logs: &LogDir, role: &str, name: &str) -> Result<Process> {
    let mut command = netns.command(format!("{DAEMONS}/{name}"));
    // No port: the vty listens on its unix socket only.
    command.args(["-N", netns.name(), "--log", "stdout", "--log-level", "informational", "-P", "0"]);
    let log = logs.file(&format!("{role}-{name}.log"));
    let mut process = Process::spawn(&format!("{name} of {role}"), &mut command, &log)?;
    wait_until(&format!("{name} to answer"), START_LIMIT, || {
        process.check_running()?;
        run(Command::new("vtysh").args(["-N", netns.name(), "-d", name, "-c", "show version"]))
    })?;
    Ok(process)
}
