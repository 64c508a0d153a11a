// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One network namespace with a name, made and removed by its value.
//!
//! Entered in two ways: child processes by `nsenter --net` (never `ip netns exec`, which mounts a fresh /sys over bpffs),
//! own code by a thread that changes its namespace and then ends (threads have their own).

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::command::{feed, run};

/// Numbers the namespaces of this process, so that scenarios in one set never collide.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace; removed when dropped, which also removes its interfaces.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: Arc<File>,
}

impl Netns {
    /// Makes a namespace named after its role, with `lo` up. Refused outside `scripts/isolated.sh`.
    pub fn create(role: &str) -> Result<Netns> {
        if std::env::var_os("WEIR_ISOLATED").is_none() {
            bail!("labs run inside scripts/isolated.sh only");
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("w{}-{number}-{role}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let file = File::open(format!("/run/netns/{name}")).with_context(|| format!("open netns {name}"))?;
        let netns = Netns { name, file: Arc::new(file) };
        // No waiting for duplicate address detection, no surprises from router advertisements or source filters.
        for (key, value) in [
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/default/dad_transmits", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
            // A link that flaps keeps its addresses, as IPv4 does.
            ("ipv6/conf/all/keep_addr_on_down", "1"),
            ("ipv6/conf/default/keep_addr_on_down", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
        ] {
            netns.sysctl(key, value)?;
        }
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// The name; also the name of its FRR instance.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run in this namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(program);
        command
    }

    /// Runs lines of `ip` in this namespace, as one batch; the first that fails is the error.
    pub fn ip(&self, lines: &str) -> Result<()> {
        feed(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), &format!("{}\n", lines.trim()))
    }

    /// Writes `/proc/sys/net/KEY` of this namespace.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        self.enter(|| std::fs::write(&path, value))?.with_context(|| format!("set {path} to {value}"))
    }

    /// Runs `f` on a thread inside this namespace and gives its result.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| self.key().switch().map(|()| f()));
            thread.join().map_err(|_| anyhow::anyhow!("the thread in netns {} panicked", self.name))?
        })
    }

    /// What a long-lived thread needs to move into this namespace.
    pub(crate) fn key(&self) -> NetnsKey {
        NetnsKey(Arc::clone(&self.file))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("ip").args(["netns", "del", &self.name])) {
            eprintln!("lab: {error:#}");
        }
    }
}

/// Right to enter a namespace, also after its name is gone.
#[derive(Debug, Clone)]
pub(crate) struct NetnsKey(Arc<File>);

impl NetnsKey {
    /// Moves the calling thread into the namespace for the rest of its life.
    pub(crate) fn switch(&self) -> Result<()> {
        // SAFETY: `setns` takes a descriptor, which the `Arc` keeps open, and touches no memory of ours.
        if unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(std::io::Error::last_os_error()).context("enter a network namespace");
        }
        Ok(())
    }
}
