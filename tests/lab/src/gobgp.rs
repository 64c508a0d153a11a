// SPDX-License-Identifier: Apache-2.0 OR MIT
//! GoBGP in a namespace: `gobgpd`, asked and ordered by its client over gRPC on the namespace's own loopback. It keeps routes
//! to itself: nothing reaches the kernel.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::{output, run};
use crate::logs::LogDir;
use crate::netns::Netns;
use crate::process::Process;
use crate::tor::{Learnt, Notice};
use crate::wait::wait_until;

/// Start until gRPC answers, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(15);

/// A running gobgpd; it ends with this.
#[derive(Debug)]
pub struct GoBgp {
    process: Process,
    // The name that `nsenter` takes; the namespace outlives the daemons in it.
    netns: String,
}

impl GoBgp {
    /// Starts `gobgpd` in `netns` with this configuration (TOML).
    pub fn start(netns: &Netns, logs: &LogDir, role: &str, config: &str) -> Result<GoBgp> {
        GoBgp::start_with(netns, logs, role, config, &[])
    }

    /// As [`GoBgp::start`], with further arguments.
    pub fn start_with(
        netns: &Netns,
        logs: &LogDir,
        role: &str,
        config: &str,
        more: &[&str],
    ) -> Result<GoBgp> {
        let file = logs.file(&format!("{role}-gobgp.toml"));
        std::fs::write(&file, config)?;
        let mut command = netns.command("gobgpd");
        command.arg("-f").arg(&file).args(["--api-hosts", "127.0.0.1:50051", "--pprof-disable", "-p"]);
        command.args(more);
        let log = logs.file(&format!("{role}-gobgpd.log"));
        let process = Process::spawn(&format!("gobgpd of {role}"), &mut command, &log)?;
        let mut gobgp = GoBgp { process, netns: netns.name().to_owned() };
        wait_until("gobgpd to answer", START_LIMIT, || {
            gobgp.process.check_running()?;
            run(gobgp.client().args(["global"]))
        })?;
        Ok(gobgp)
    }

    fn client(&self) -> std::process::Command {
        let mut command = std::process::Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns)).args(["--", "gobgp"]);
        command
    }

    /// Answer of a `gobgp` command.
    pub fn gobgp(&self, command: &str) -> Result<String> {
        output(self.client().args(command.split_whitespace()))
    }

    /// Answer of a `gobgp` command as JSON.
    pub fn json(&self, command: &str) -> Result<Value> {
        let text = self.gobgp(&format!("-j {command}"))?;
        serde_json::from_str(&text).with_context(|| format!("read the answer of `{command}`: {text}"))
    }

    /// Whether the session with a neighbour is Established.
    pub fn is_established(&self, neighbour: &str) -> Result<bool> {
        // 6 is ESTABLISHED of the enumeration that the client prints.
        Ok(self.json(&format!("neighbor {neighbour}"))?["state"]["session_state"] == 6)
    }

    /// The paths to a prefix of a family (`ipv4`, `ipv6`), the best one first.
    pub fn learnt(&self, family: &str, prefix: &str) -> Result<Vec<Learnt>> {
        // Of an unknown prefix the client says that it is not in the table, as an error.
        let Ok(answer) = self.json(&format!("global rib -a {family} {prefix}")) else { return Ok(vec![]) };
        Ok(paths(&answer, prefix))
    }

    /// The paths to a prefix as a neighbour sent them.
    pub fn received(&self, neighbour: &str, family: &str, prefix: &str) -> Result<Vec<Learnt>> {
        let answer = self.json(&format!("neighbor {neighbour} adj-in -a {family}"))?;
        Ok(paths(&answer, prefix))
    }

    /// Number of prefixes accepted of a neighbour.
    pub fn count(&self, neighbour: &str, family: &str) -> Result<u64> {
        let answer = self.json(&format!("neighbor {neighbour} adj-in -a {family}"))?;
        Ok(answer.as_object().map_or(0, serde_json::Map::len) as u64)
    }

    /// What gobgpd logged of the last NOTIFICATION of a neighbour.
    pub fn last_notification(&self, neighbour: &str) -> Notice {
        let log = self.process.log();
        let is_it = |line: &&str| line.contains("received notification") && line.contains(neighbour);
        Notice(log.lines().rev().find(is_it).unwrap_or_default().to_owned())
    }

    /// All that it printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Reads `gobgp -j global rib PREFIX`: an object of lists of paths by prefix; attributes by type code.
fn paths(answer: &Value, prefix: &str) -> Vec<Learnt> {
    answer.get(prefix).and_then(Value::as_array).into_iter().flatten().map(path).collect()
}

fn path(path: &Value) -> Learnt {
    let mut learnt = Learnt {
        from: path["source-id"].as_str().or(path["neighbor-ip"].as_str()).unwrap_or_default().to_owned(),
        is_stale: path["stale"] == true,
        ..Learnt::default()
    };
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    for attribute in path["attrs"].as_array().into_iter().flatten() {
        match attribute["type"].as_u64() {
            Some(2) => {
                let segments = attribute["as_paths"].as_array().into_iter().flatten();
                learnt.as_path = segments
                    .flat_map(|segment| segment["asns"].as_array().into_iter().flatten())
                    .filter_map(number)
                    .collect();
            }
            Some(3 | 14) => {
                learnt.next_hop = attribute["nexthop"].as_str().map(str::to_owned).or(learnt.next_hop);
            }
            Some(4) => learnt.med = number(&attribute["metric"]),
            Some(8) => {
                let list = attribute["communities"].as_array().into_iter().flatten().filter_map(number);
                learnt.communities = list.map(|c| format!("{}:{}", c >> 16, c & 0xffff)).collect();
            }
            Some(16) => learnt.extended_communities = Some(attribute["value"].to_string()),
            Some(32) => {
                let list = attribute["value"].as_array().into_iter().flatten();
                learnt.large_communities = list
                    .map(|c| {
                        let part = |name: &str| number(&c[name]).unwrap_or_default();
                        format!("{}:{}:{}", part("ASN"), part("LocalData1"), part("LocalData2"))
                    })
                    .collect();
            }
            _ => {}
        }
    }
    learnt
}
