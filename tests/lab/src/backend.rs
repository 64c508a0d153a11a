// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A backend of the lab: a web server that holds the VIPs on its loopback, and `weir agent`, which decapsulates.

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
use crate::logs::LogDir;
use crate::netns::Netns;
use crate::nginx::Nginx;
use crate::process::Process;
use crate::wait::wait_until;

/// Start of the agent until its program is attached.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Where the agent's document puts its metrics.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9181);

/// One backend; its daemons end when this is dropped.
#[derive(Debug)]
pub struct Backend {
    agent: Option<Process>,
    _nginx: Nginx,
    name: String,
    document: PathBuf,
    pin_dir: PathBuf,
    log: PathBuf,
    weir: PathBuf,
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
            _nginx: Nginx::start(&netns, logs, name)?,
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
