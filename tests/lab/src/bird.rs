// SPDX-License-Identifier: Apache-2.0 OR MIT
//! BIRD 2 in a namespace, asked and ordered through its own control socket.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::{output, run};
use crate::logs::LogDir;
use crate::netns::Netns;
use crate::process::Process;
use crate::tor::{Learnt, Notice};
use crate::wait::wait_until;

/// Start until the control socket answers, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(15);

/// A running BIRD; it ends with this.
#[derive(Debug)]
pub struct Bird {
    process: Process,
    socket: PathBuf,
}

impl Bird {
    /// Starts `bird` in `netns` with this configuration; its log goes to the lab's.
    pub fn start(netns: &Netns, logs: &LogDir, role: &str, config: &str) -> Result<Bird> {
        let file = logs.file(&format!("{role}-bird.conf"));
        std::fs::write(&file, format!("log stderr all;\n{config}"))?;
        let socket = logs.file(&format!("{role}-bird.ctl"));
        let mut command = netns.command("bird");
        command.arg("-f").arg("-c").arg(&file).arg("-s").arg(&socket);
        let log = logs.file(&format!("{role}-bird.log"));
        let process = Process::spawn(&format!("bird of {role}"), &mut command, &log)?;
        let mut bird = Bird { process, socket };
        wait_until("bird to answer", START_LIMIT, || {
            bird.process.check_running()?;
            run(Command::new("birdc").arg("-s").arg(&bird.socket).args(["show", "status"]))
        })?;
        Ok(bird)
    }

    /// Answer of a `birdc` command.
    pub fn birdc(&self, command: &str) -> Result<String> {
        // Not `-r`: commands that change something are wanted too.
        output(Command::new("birdc").arg("-s").arg(&self.socket).arg(command))
    }

    /// Whether the session of this protocol is Established.
    pub fn is_established(&self, protocol: &str) -> Result<bool> {
        Ok(self.birdc(&format!("show protocols all {protocol}"))?.contains("BGP state:          Established"))
    }

    /// The paths to a prefix in the table of its family; the best one first.
    pub fn learnt(&self, prefix: &str) -> Result<Vec<Learnt>> {
        match self.birdc(&format!("show route {prefix} all")) {
            Ok(text) => Ok(paths(&text, prefix)),
            Err(error) if format!("{error:#}").contains("Network not found") => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    /// Number of prefixes that a protocol brought into the table of a family (`ipv4`, `ipv6`).
    pub fn count(&self, protocol: &str, family: &str) -> Result<u64> {
        let text = self.birdc(&format!("show route protocol {protocol} table {} count", table(family)))?;
        let number = text.lines().find_map(|line| {
            let (before, _) = line.split_once(" of ")?;
            before.trim().parse().ok()
        });
        number.with_context(|| format!("no count in: {text}"))
    }

    /// What BIRD logged last of a session, such as the NOTIFICATION that ended it with the peer's text.
    pub fn last_said(&self, protocol: &str) -> Notice {
        let log = self.process.log();
        let line = log.lines().rev().find_map(|line| line.split_once(&format!("{protocol}: ")));
        Notice(line.map(|(_, said)| said.to_owned()).unwrap_or_default())
    }

    /// Its control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.process.signal(signal)
    }

    /// Kills it outright.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

fn table(family: &str) -> &'static str {
    if family == "ipv4" { "master4" } else { "master6" }
}

/// Reads `show route PREFIX all`, in which each path is a heading, its way, and one line for each attribute:
///
/// ```text
/// 192.0.2.1/32         unicast [l1 03:45:01.123] * (100) [AS65010i]
///         via fe80::2 on h1
///         Type: BGP univ
///         BGP.origin: IGP
///         BGP.as_path: 65010
/// ```
fn paths(text: &str, prefix: &str) -> Vec<Learnt> {
    let mut found: Vec<Learnt> = Vec::new();
    let mut is_ours = false;
    for line in text.lines() {
        let Some(attribute) = line.strip_prefix('\t') else {
            // Paths behind the first begin with blanks in place of the prefix.
            if !line.starts_with(' ') {
                is_ours = line.split_whitespace().next() == Some(prefix);
            }
            if is_ours && line.contains('[') {
                let from = line.split_once('[').and_then(|(_, rest)| rest.split_whitespace().next());
                let from = from.unwrap_or_default().trim_end_matches(']').to_owned();
                found.push(Learnt { from, is_stale: line.contains("s)"), ..Learnt::default() });
            }
            continue;
        };
        let Some(path) = found.last_mut().filter(|_| is_ours) else { continue };
        let attribute = attribute.trim();
        if let Some(way) = attribute.strip_prefix("via ") {
            path.next_hop = way.split_whitespace().next().map(str::to_owned);
        }
        let Some((name, value)) = attribute.split_once(": ") else { continue };
        let value = value.trim();
        match name {
            "BGP.as_path" => path.as_path = numbers(value),
            "BGP.med" => path.med = value.parse().ok(),
            "BGP.local_pref" => path.local_preference = value.parse().ok(),
            "BGP.community" => path.communities = pairs(value),
            "BGP.large_community" => path.large_communities = triples(value),
            "BGP.ext_community" => path.extended_communities = Some(value.to_owned()),
            _ => {}
        }
    }
    found
}

/// Numbers between anything else.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
}

fn pairs(text: &str) -> Vec<String> {
    numbers(text).chunks_exact(2).map(|pair| format!("{}:{}", pair[0], pair[1])).collect()
}

fn triples(text: &str) -> Vec<String> {
    numbers(text).chunks_exact(3).map(|triple| format!("{}:{}:{}", triple[0], triple[1], triple[2])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_with_their_attributes() {
        let text = "BIRD 2.0.12 ready.\nTable master4:\n\
            192.0.2.1/32         unicast [l1 03:45:01.123] * (100) [AS65010i]\n\
            \tvia fe80::2 on h1\n\tType: BGP univ\n\tBGP.origin: IGP\n\tBGP.as_path: 65010 65010\n\
            \tBGP.next_hop: :: fe80::2\n\tBGP.med: 10\n\tBGP.local_pref: 100\n\
            \tBGP.community: (65000,100) (65535,0)\n\tBGP.large_community: (65001, 1, 2)\n\
            \x20                    unicast [l2 03:45:02.123] (100) [AS65010i]\n\tvia 10.9.11.2 on h1\n\
            0.0.0.0/0            unicast [k 03:45:02.123] (100)\n\tvia 10.9.11.7 on h1\n";
        let found = paths(text, "192.0.2.1/32");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].from, "l1");
        assert_eq!(found[0].as_path, [65010, 65010]);
        assert_eq!(found[0].med, Some(10));
        assert_eq!(found[0].communities, ["65000:100", "65535:0"]);
        assert_eq!(found[0].large_communities, ["65001:1:2"]);
        assert_eq!(found[1].next_hop.as_deref(), Some("10.9.11.2"));
    }
}
