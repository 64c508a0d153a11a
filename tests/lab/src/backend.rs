// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A backend of the lab: a web server that holds the VIPs on its loopback, and `weir agent`, which decapsulates.
//!
//! It can fail in the ways that checks have to find: no server, a server that misbehaves, no VIP on its loopback, no
//! decapsulation, no link.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::api::Metrics;
use crate::appliance::xdp_program;
use crate::bpf::{PinDir, pinned};
use crate::document;
use crate::http::get;
use crate::link::addresses;
use crate::logs::LogDir;
use crate::netns::Netns;
use crate::nginx::Nginx;
use crate::process::Process;
use crate::rogue::{Misbehaviour, Rogue};
use crate::wait::wait_until;

/// Start of the agent until its program is attached.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Where the agent's document puts its metrics.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9181);

/// One backend; its daemons end when this is dropped.
#[derive(Debug)]
pub struct Backend {
    agent: Option<Process>,
    nginx: Option<Nginx>,
    rogue: Option<Rogue>,
    name: String,
    document: PathBuf,
    pin_dir: PathBuf,
    log: PathBuf,
    weir: PathBuf,
    lab: PathBuf,
    netns: Netns,
}

impl Backend {
    /// Starts the web server in a namespace that has its links and addresses.
    pub(crate) fn prepare(
        netns: Netns,
        number: u8,
        weir: &Path,
        logs: &LogDir,
        pins: &PinDir,
    ) -> Result<Backend> {
        let name = &format!("b{number}");
        let document = logs.folder(name)?.join("agent.toml");
        let text = document::agent(number, pins.path());
        std::fs::write(&document, text).context("write the agent's document")?;
        Ok(Backend {
            agent: None,
            nginx: Some(Nginx::start(&netns, logs.path(), name)?),
            rogue: None,
            lab: logs.path().to_path_buf(),
            name: name.to_owned(),
            document,
            pin_dir: pins.path().join(name),
            log: logs.file(&format!("{name}-agent.log")),
            weir: weir.to_path_buf(),
            netns,
        })
    }

    /// Name: what its web server answers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Kills its web server outright: its port refuses from now on, and its connections are reset.
    pub fn kill_web(&mut self) -> Result<()> {
        self.rogue = None;
        // Dropped, it is killed and waited for.
        self.nginx.take().map(drop).context("no web server runs")
    }

    /// Starts its web server, in place of whatever is on the port.
    pub fn start_web(&mut self) -> Result<()> {
        self.rogue = None;
        if self.nginx.is_none() {
            self.nginx = Some(Nginx::start(&self.netns, &self.lab, &self.name)?);
        }
        Ok(())
    }

    /// Puts a server that misbehaves in the place of its web server.
    pub fn misbehave(&mut self, how: Misbehaviour) -> Result<()> {
        self.nginx = None;
        self.rogue = None;
        self.rogue = Some(Rogue::start(&self.netns, how)?);
        Ok(())
    }

    /// The server that misbehaves, if one does.
    pub fn rogue(&self) -> Option<&Rogue> {
        self.rogue.as_ref()
    }

    /// Takes the VIPs off its loopback: what is decapsulated is for nobody.
    pub fn lose_vips(&self) -> Result<()> {
        let [v4, v6] = document::vip_prefixes();
        self.netns.ip(&format!("address del {v4} dev lo\naddress del {v6} dev lo"))
    }

    /// Puts the VIPs back on its loopback.
    pub fn regain_vips(&self) -> Result<()> {
        addresses((&self.netns, "lo"), &document::vip_prefixes())
    }

    /// Stops its agent in an orderly way, after which nothing decapsulates.
    pub fn stop_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("no agent was started")?;
        agent.signal(libc::SIGTERM)?;
        let status = agent.wait(START_LIMIT)?;
        if !status.success() || self.has_program()? {
            bail!("the agent of {} ended with {status} and may have left its program", self.name);
        }
        Ok(())
    }

    /// Starts the agent and returns at once.
    pub fn spawn_agent(&mut self) -> Result<()> {
        let mut command = self.netns.command(&self.weir);
        command.args(["agent", "--config"]).arg(&self.document);
        self.agent = Some(Process::spawn(&format!("agent of {}", self.name), &mut command, &self.log)?);
        Ok(())
    }

    /// Waits until the agent's program is attached and its metrics are served.
    pub fn wait_agent(&mut self) -> Result<()> {
        wait_until(&format!("the agent of {}", self.name), START_LIMIT, || {
            self.agent.as_mut().context("no agent was started")?.check_running()?;
            if !self.has_program()? {
                bail!("no XDP program on eth0");
            }
            self.agent_metrics().map(drop)
        })
    }

    /// What its agent has pinned, by path below its instance's folder.
    pub fn pins(&self) -> Result<BTreeMap<PathBuf, String>> {
        pinned(&self.pin_dir)
    }

    /// Whether an XDP program is on its interface.
    pub fn has_program(&self) -> Result<bool> {
        Ok(xdp_program(&self.netns, "eth0")?.is_some())
    }

    /// The agent's process, if one was started.
    pub fn agent(&mut self) -> Option<&mut Process> {
        self.agent.as_mut()
    }

    /// The agent's metrics now.
    pub fn agent_metrics(&self) -> Result<Metrics> {
        let reply = self.netns.enter(|| get(METRICS, "/metrics", Duration::from_secs(2)))??;
        if reply.status != 200 {
            bail!("/metrics of the agent of {}: {}", self.name, reply.status);
        }
        Ok(Metrics(reply.body))
    }
}
