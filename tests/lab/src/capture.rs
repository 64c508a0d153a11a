// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames seen on an interface while something happens, as text lines of tcpdump.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::netns::Netns;
use crate::process::Process;
use crate::wait::wait_until;

/// A running capture; ended when dropped.
#[derive(Debug)]
pub struct Capture {
    process: Process,
}

impl Capture {
    /// Starts tcpdump on an interface with a filter, and waits until it listens.
    pub fn start(netns: &Netns, interface: &str, filter: &str, log: &Path) -> Result<Capture> {
        let mut command = netns.command("tcpdump");
        command.args(["-l", "-n", "-v", "--immediate-mode", "-Z", "root", "-i", interface, filter]);
        let mut process = Process::spawn("tcpdump", &mut command, log)?;
        wait_until("tcpdump to listen", Duration::from_secs(5), || {
            process.check_running()?;
            if process.log().contains("listening on") { Ok(()) } else { bail!("not yet") }
        })?;
        Ok(Capture { process })
    }

    /// What was seen so far.
    pub fn text(&self) -> String {
        self.process.log()
    }
}
