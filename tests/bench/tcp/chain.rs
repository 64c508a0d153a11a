// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The programs: server, proxy, appliance, and the client that loads them; and the processor time they took.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use weir_lab::{LogDir, Nginx, Process, get, get_over_socket, output, run, wait_until};

use crate::network::{BACKEND, Network, PORT, PROXY, SERVER, VIP, Way};

/// Until a program answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that the client keeps open, or open at a time.
const CONNECTIONS: &str = "-c50";
/// Of so many requests one may have been late by the client's two seconds: the machine may be busy, and a segment lost.
const LATE_ONE_IN: u64 = 1_000;
/// Of so many requests that do not go by the appliance, one packet may: fewer than four a connection of the measurement before.
const STRAGGLERS_ONE_IN: u64 = 50;
/// Clock ticks of `/proc/PID/stat` in a second, on every machine that Linux has (USER_HZ).
const TICKS: f64 = 100.0;
/// Packets of a request on a connection that is kept, at least: the request, and an acknowledgement now and then.
const PACKETS_A_REQUEST: u64 = 1;

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// Requests on connections that stay open.
    Kept,
    /// A connection for each request.
    Fresh,
}

impl Load {
    /// Both, in the order of the table.
    pub const ALL: [Load; 2] = [Load::Kept, Load::Fresh];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Load::Kept => "keep-alive",
            Load::Fresh => "1 connection per request",
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Microseconds of processor time for a request, of client, server and what is between them.
    pub cpu_us: f64,
    /// Of which the process between them took so much.
    pub between_us: f64,
    /// Requests in a second.
    pub rate: f64,
}

/// Says which of the programs are missing.
pub fn require_tools() -> Result<()> {
    let missing: Vec<&str> = ["haproxy", "nginx", "wrk", "ethtool"]
        .into_iter()
        .filter(|tool| {
            let look = format!("command -v {tool}");
            run(Command::new("sh").args(["-c", &look])).is_err()
        })
        .collect();
    ensure!(missing.is_empty(), "{} not installed: scripts/setup.sh bench", missing.join(", "));
    Ok(())
}

/// Everything that runs through all rounds.
pub struct Chain<'n> {
    network: &'n Network,
    nginx: Nginx,
    haproxy: Process,
    weir: Process,
    socket: PathBuf,
    /// The last to go, when the daemons have ended.
    _logs: LogDir,
}

impl<'n> Chain<'n> {
    /// Starts all of them and waits until each way answers.
    pub fn start(network: &'n Network) -> Result<Self> {
        let logs = LogDir::create(None)?;
        let nginx = Nginx::start(&network.server, logs.path(), "b1")?;

        let config = logs.file("haproxy.cfg");
        std::fs::write(&config, haproxy())?;
        let mut command = network.lb.command("haproxy");
        command.args(["-db", "-f"]).arg(&config);
        let haproxy = Process::spawn("haproxy", &mut command, &logs.file("haproxy.log"))?;

        let dir = logs.folder("weir")?;
        let mut seed = std::fs::OpenOptions::new();
        let mut seed = seed.write(true).create_new(true).mode(0o600).open(dir.join("hash-seed"))?;
        std::io::Write::write_all(&mut seed, format!("{:064x}\n", 0x5eed).as_bytes())?;
        let config = dir.join("weir.toml");
        std::fs::write(&config, document(&dir))?;
        let mut command = network.lb.command(env!("CARGO_BIN_EXE_weir"));
        command.args(["run", "--config"]).arg(&config);
        let weir = Process::spawn("weir", &mut command, &logs.file("weir.log"))?;

        let mut chain = Self { network, nginx, haproxy, weir, socket: dir.join("api.sock"), _logs: logs };
        for way in Way::ALL {
            wait_until(&format!("an answer through {}", way.name()), PATIENCE, || {
                chain.haproxy.check_running()?;
                chain.weir.check_running()?;
                let reply =
                    chain.network.client.enter(|| get(way.target(), "/", Duration::from_secs(1)))??;
                ensure!(reply.status == 200 && reply.body == "b1", "{reply:?}");
                Ok(())
            })?;
        }
        Ok(chain)
    }

    /// Loads one way for some seconds.
    pub fn measure(&mut self, way: Way, load: Load, seconds: u32) -> Result<Sample> {
        let between = match way {
            Way::Straight => None,
            Way::Weir => Some(self.weir.pid()),
            Way::Haproxy => Some(self.haproxy.pid()),
        };
        let packets = self.appliance_packets()?;
        let before = Times::read(self.nginx.pid(), between)?;
        let said = self.wrk(way, load, seconds)?;
        let after = Times::read(self.nginx.pid(), between)?;
        let packets = self.appliance_packets()? - packets;

        let requests = requests(&said).with_context(|| said.clone())?;
        let [failed, late] = failures(&said).with_context(|| said.clone())?;
        ensure!(failed == 0 && late <= requests / LATE_ONE_IN, "requests failed:\n{said}");
        let least = if way == Way::Weir { requests * PACKETS_A_REQUEST } else { 0 };
        ensure!(packets >= least, "{packets} packets went by the appliance for {requests} requests");
        // Connections of the measurement before may still be ending, with some packets each.
        let most = if way == Way::Weir { u64::MAX } else { requests / STRAGGLERS_ONE_IN };
        ensure!(packets <= most, "{packets} packets went by the appliance for requests that should not");
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let requests = requests as f64;
        Ok(Sample {
            cpu_us: (after.all() - before.all()) * 1e6 / requests,
            between_us: (after.between - before.between) * 1e6 / requests,
            rate: requests / f64::from(seconds),
        })
    }

    /// Runs the client to its end and gives what it said.
    fn wrk(&self, way: Way, load: Load, seconds: u32) -> Result<String> {
        let mut command = self.network.client.command("wrk");
        command.args(["-t1", CONNECTIONS, &format!("-d{seconds}s")]);
        if load == Load::Fresh {
            command.args(["-H", "Connection: close"]);
        }
        let said = output(command.arg(format!("http://{}/", way.target())))?;
        ensure!(!said.contains("Non-2xx"), "refused:\n{said}");
        Ok(said)
    }

    /// Packets that the appliance has sent to its backend.
    fn appliance_packets(&self) -> Result<u64> {
        let reply = get_over_socket(&self.socket, "/metrics")?;
        let count = |line: &str| -> Option<u64> {
            line.strip_prefix("weir_service_packets_total")?.rsplit(' ').next()?.parse().ok()
        };
        let counts: Vec<u64> = reply.body.lines().filter_map(count).collect();
        ensure!(!counts.is_empty(), "the daemon tells no packets of a service");
        Ok(counts.iter().sum())
    }
}

/// Seconds of processor time so far, softirqs included that ran in the process.
struct Times {
    /// Of the client's processes that have ended.
    client: f64,
    server: f64,
    between: f64,
}

impl Times {
    fn read(server: u32, between: Option<u32>) -> Result<Self> {
        let of = |pid: u32| ticks(Path::new(&format!("/proc/{pid}/stat")), OWN);
        Ok(Self {
            client: ticks(Path::new("/proc/self/stat"), CHILDREN)?,
            server: of(server)?,
            between: between.map_or(Ok(0.0), of)?,
        })
    }

    fn all(&self) -> f64 {
        self.client + self.server + self.between
    }
}

/// Where user time is in what follows the process's name; system time is next to it (proc_pid_stat(5)).
const OWN: usize = 11;
/// The same for children that were waited for.
const CHILDREN: usize = 13;

/// User and system time in seconds.
fn ticks(path: &Path, at: usize) -> Result<f64> {
    let stat = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    // The name may hold spaces, and ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(')').context("a process's name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| -> Result<f64> { Ok(fields.get(at).context("a field")?.parse()?) };
    Ok((field(at)? + field(at + 1)?) / TICKS)
}

/// Requests that wrk says it has made.
fn requests(said: &str) -> Result<u64> {
    let line = said.lines().find(|line| line.contains(" requests in ")).context("no line of requests")?;
    let count = line.split_whitespace().next().context("a number")?.parse()?;
    ensure!(count > 0, "no request");
    Ok(count)
}

/// Requests that failed, and requests that were late, as wrk says.
fn failures(said: &str) -> Result<[u64; 2]> {
    let Some((_, errors)) = said.split_once("Socket errors: ") else { return Ok([0, 0]) };
    let mut counts = [0, 0];
    for error in errors.lines().next().unwrap_or_default().split(", ") {
        let (kind, count) = error.split_once(' ').context("a kind of error and a number")?;
        let count: u64 = count.trim().parse()?;
        counts[usize::from(kind == "timeout")] += count;
    }
    Ok(counts)
}

/// What everybody would write who wants TCP mode.
fn haproxy() -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4096\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         frontend clients\n  bind {PROXY}:{PORT}\n  default_backend servers\n\
         backend servers\n  server b1 {SERVER}:{PORT}\n"
    )
}

/// The appliance's document: one service, one backend on the link, no peer.
fn document(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "[bootstrap]\ninstance = \"bench\"\napi_socket = \"{dir}/api.sock\"\nstate_dir = \"{dir}/state\"\n\
         pin_dir = \"/sys/fs/bpf/weir-bench-tcp\"\n\
         [appliance]\nname = \"lb1\"\nrouter_id = \"192.0.2.1\"\nsource_v4 = \"192.0.2.1\"\n\
         hash_seed_file = \"{dir}/hash-seed\"\ndrain_wait = \"1s\"\n\
         [uplinks.w-client]\nxdp = \"native\"\n[uplinks.w-server]\nxdp = \"native\"\n\
         [bgp]\nasn = 65010\n\
         [vips.www]\naddress = \"{VIP}\"\n\
         [services.http]\nvip = \"www\"\nprotocol = \"tcp\"\nport = {PORT}\npool = \"web\"\n\
         [pools.web]\nmode = \"l2\"\nmax_backends = 8\n\
         [pools.web.backends.b1]\naddress = \"{BACKEND}\"\n"
    )
}
