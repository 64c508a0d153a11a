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
        command.args(["-l", "-n", "-v", "-tt", "--immediate-mode", "-Z", "root", "-i", interface, filter]);
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

    /// When BGP updates that withdraw `prefix` passed, in seconds since 1970 to the microsecond.
    pub fn withdrawals(&self, prefix: &str) -> Vec<f64> {
        withdrawals(&self.text(), prefix)
    }
}

/// Finds the withdrawals of a prefix among the lines of tcpdump: a line with the time begins a packet, a line with the kind
/// of routes begins a list of prefixes.
fn withdrawals(text: &str, prefix: &str) -> Vec<f64> {
    let (mut time, mut is_withdrawal, mut found) = (None::<f64>, false, Vec::new());
    for line in text.lines() {
        if !line.starts_with([' ', '\t']) {
            time = line.split_once(' ').and_then(|(stamp, _)| stamp.parse().ok());
            is_withdrawal = false;
        } else if line.contains("Withdrawn routes") || line.contains("Multi-Protocol Unreach NLRI") {
            is_withdrawal = true;
        } else if line.contains("Updated routes") || line.contains("Multi-Protocol Reach NLRI") {
            is_withdrawal = false;
        }
        if is_withdrawal && line.split_whitespace().any(|word| word == prefix) {
            found.extend(time);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn withdrawals_are_told_from_announcements() {
        let text = "listening on eth0\n\
            1700000000.250001 IP (tos 0x0, ttl 1)\n    10.0.1.2.179 > 10.0.1.1.5: Flags [P.], length 27: BGP\n\
            \tUpdate Message (2), length: 28\n\t  Withdrawn routes:\n\t    198.51.100.10/32\n\
            1700000001.5 IP6 (hlim 1)\n\tUpdate Message (2), length: 90\n\t  Multi-Protocol Reach NLRI (14), length: 38\n\
            \t      2001:db8::1/128\n\t  Multi-Protocol Unreach NLRI (15), length: 20\n\t      2001:db8::2/128\n\
            1700000002.5 IP (tos 0x0)\n\t  Updated routes:\n\t    198.51.100.10/32\n";
        assert_eq!(withdrawals(text, "198.51.100.10/32"), [1_700_000_000.250_001]);
        assert_eq!(withdrawals(text, "2001:db8::1/128"), [] as [f64; 0]);
        assert_eq!(withdrawals(text, "2001:db8::2/128"), [1_700_000_001.5]);
    }
}
