// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An appliance of the lab: a namespace, a document, and `weir run` in it, started and ended as a test wants.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::api::{Api, Metrics, get_over_socket};
use crate::bpf::{PinDir, pinned};
use crate::command::output;
use crate::logs::LogDir;
use crate::netns::Netns;
use crate::process::Process;
use crate::wait::wait_until;

/// Start until every part is up.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// A clean stop: withdraw, the document's drain wait, detach.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// The fleet's hash seed, equal on every appliance.
const HASH_SEED: &str = "5ee1d0c0ffee5ee1d0c0ffee5ee1d0c0ffee5ee1d0c0ffee5ee1d0c0ffee0001";

/// One appliance; its daemon, if any runs, is killed when this is dropped.
#[derive(Debug)]
pub struct Appliance {
    process: Option<Process>,
    name: String,
    dir: PathBuf,
    log: PathBuf,
    weir: PathBuf,
    pin_dir: PathBuf,
    netns: Netns,
}

impl Appliance {
    /// Prepares the files of an appliance in a namespace that has its links; starts nothing.
    pub(crate) fn prepare(
        netns: Netns,
        name: &str,
        weir: &Path,
        logs: &LogDir,
        pins: &PinDir,
    ) -> Result<Appliance> {
        let dir = logs.folder(name)?;
        let mut seed = std::fs::OpenOptions::new();
        let mut seed =
            seed.write(true).create(true).truncate(true).mode(0o600).open(dir.join("hash-seed"))?;
        std::io::Write::write_all(&mut seed, format!("{HASH_SEED}\n").as_bytes())?;
        Ok(Appliance {
            process: None,
            name: name.to_owned(),
            log: logs.file(&format!("{name}-weir.log")),
            dir,
            weir: weir.to_path_buf(),
            pin_dir: pins.path().join(name),
            netns,
        })
    }

    /// Name, also of its instance: `lb1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Folder of its document, seed, socket and state.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Path of its document.
    pub fn document_path(&self) -> PathBuf {
        self.dir.join("weir.toml")
    }

    /// Replaces its document; the daemon is not told.
    pub fn write_document(&self, text: &str) -> Result<()> {
        std::fs::write(self.document_path(), text).context("write the document")
    }

    /// Replaces a piece of its document. An error if the piece is not there.
    pub fn edit_document(&self, from: &str, to: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.document_path())?;
        if !text.contains(from) {
            bail!("the document of {} does not contain `{from}`", self.name);
        }
        self.write_document(&text.replace(from, to))
    }

    /// A `weir` command in its namespace.
    pub fn weir(&self, arguments: &[&str]) -> Command {
        let mut command = self.netns.command(&self.weir);
        command.args(arguments);
        command
    }

    /// Starts the daemon and returns at once.
    pub fn spawn(&mut self) -> Result<()> {
        if let Some(process) = &mut self.process
            && process.check_running().is_ok()
        {
            bail!("{} is running already", self.name);
        }
        let mut command = self.weir(&["run", "--config"]);
        command.arg(self.document_path());
        self.process = Some(Process::spawn(&format!("weir of {}", self.name), &mut command, &self.log)?);
        Ok(())
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Waits until the daemon says that every part is up.
    pub fn wait_ready(&mut self) -> Result<()> {
        let socket = self.socket();
        let process = self.process.as_mut().context("no daemon was started")?;
        wait_until(&format!("{} to be ready", self.name), READY_LIMIT, || {
            process.check_running()?;
            let reply = get_over_socket(&socket, "/readyz")?;
            if reply.status == 200 { Ok(()) } else { bail!("/readyz: {} {}", reply.status, reply.body) }
        })
    }

    /// Asks the daemon to end and waits for it: withdraw, wait, detach.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        self.wait_end(STOP_LIMIT)
    }

    /// Kills the daemon outright; what it pinned stays.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("no daemon was started")?.kill()
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.process.as_ref().context("no daemon was started")?.signal(signal)
    }

    /// Waits for the daemon's end.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.as_mut().context("no daemon was started")?.wait(limit)
    }

    /// Everything its daemons printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its metrics now.
    pub fn metrics(&self) -> Result<Metrics> {
        let reply = get_over_socket(&self.socket(), "/metrics")?;
        if reply.status != 200 {
            bail!("/metrics of {}: {}", self.name, reply.status);
        }
        Ok(Metrics(reply.body))
    }

    /// Its status now.
    pub fn status(&self) -> Result<Value> {
        self.api().get("/v1/status").with_context(|| format!("status of {}", self.name))
    }

    /// Its API.
    pub fn api(&self) -> Api {
        Api::new(&self.socket())
    }

    /// Runs a client command, such as `status`, against its daemon, to its end.
    pub fn ask(&self, arguments: &[&str]) -> Result<Answer> {
        let server = format!("unix:{}", self.socket().display());
        let mut command = self.weir(arguments);
        command.env("WEIR_SERVER", server).stdin(Stdio::null());
        let output = command.output().with_context(|| format!("start weir {arguments:?}"))?;
        Ok(Answer {
            code: output.status.code(),
            said: String::from_utf8_lossy(&output.stdout).into_owned(),
            complained: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Sockets that its daemon holds open.
    pub fn open_sockets(&self) -> Result<usize> {
        let process = self.process.as_ref().context("no daemon was started")?;
        let dir = format!("/proc/{}/fd", process.pid());
        let mut count = 0;
        for entry in std::fs::read_dir(&dir).with_context(|| format!("read {dir}"))? {
            // One that is closed meanwhile is none.
            let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
            count += usize::from(target.to_string_lossy().starts_with("socket:"));
        }
        Ok(count)
    }

    /// Packets that its program sent to backends, as its metrics say.
    pub fn forwarded(&self) -> Result<f64> {
        Ok(self.metrics()?.count("weir_service_packets_total", &[]))
    }

    /// What it has pinned, by path below its instance's folder.
    pub fn pins(&self) -> Result<std::collections::BTreeMap<PathBuf, String>> {
        pinned(&self.pin_dir)
    }

    /// Folder of its pins.
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// Number of the XDP program on its uplink, if there is one.
    pub fn xdp_program(&self) -> Result<Option<u64>> {
        xdp_program(&self.netns, "eth0")
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("api.sock")
    }
}

/// What a client command said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Exit code; none if it died of a signal.
    pub code: Option<i32>,
    /// Its standard output.
    pub said: String,
    /// Its standard error.
    pub complained: String,
}

/// Number of the XDP program on an interface, if there is one.
pub(crate) fn xdp_program(netns: &Netns, interface: &str) -> Result<Option<u64>> {
    let text = output(Command::new("ip").args([
        "-n",
        netns.name(),
        "-json",
        "-details",
        "link",
        "show",
        "dev",
        interface,
    ]))?;
    let links: Value = serde_json::from_str(&text).context("read `ip link`")?;
    Ok(links[0]["xdp"]["prog"]["id"].as_u64())
}
