// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The speakers under test, each filled with the same prefixes before any peer comes, and told to withdraw one at a time.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_lab::document::{APPLIANCE_AS, TOR_AS};
use weir_lab::{BedLink, BgpBed, Bird, GoBgp, addresses, wait_until};

use crate::{WITHDRAWS, clock, mrt};

/// Where the prefixes begin: number N is this address plus N, a /32.
const BASE: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
/// More than the client of gobgpd keeps in its queue.
const CLIENT_QUEUE: u32 = 4096;
/// The speaker's address.
pub const SPEAKER: Ipv4Addr = Ipv4Addr::new(10, 9, 11, 2);

/// A prefix by its number.
pub fn prefix(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(BASE.to_bits() + number)
}

/// The number of a prefix.
pub fn number_of(prefix: Ipv4Addr) -> Option<u32> {
    prefix.to_bits().checked_sub(BASE.to_bits())
}

/// Address of a measuring peer, from 1.
pub fn peer_address(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 9, 11, 100 + number).into()
}

/// Which speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ours.
    Weir,
    /// BIRD 2.
    Bird,
    /// gobgpd.
    GoBgp,
}

impl Kind {
    /// All of them, in the order of the table.
    pub const ALL: [Kind; 3] = [Kind::Weir, Kind::Bird, Kind::GoBgp];

    /// Its key in the report.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Weir => "weir",
            Kind::Bird => "bird",
            Kind::GoBgp => "gobgp",
        }
    }
}

/// When a withdraw was decided.
#[derive(Debug, Clone, Copy)]
pub struct Decided {
    /// Just before the speaker was told.
    pub at: Duration,
    /// How long after that the sockets of all peers had it, where the speaker says so.
    pub handed_over: Option<Duration>,
}

/// A speaker that runs, with its prefixes in place.
pub struct Subject(Running);

enum Running {
    Weir { child: Child, orders: ChildStdin, answers: BufReader<ChildStdout> },
    Bird { bird: Bird, control: BufReader<UnixStream> },
    GoBgp(GoBgp),
}

impl Subject {
    /// Starts it with prefixes 0 to `count`, for `peers` measuring peers.
    pub fn start(kind: Kind, bed: &BgpBed, count: u32, peers: u8) -> Result<Subject> {
        let tor_end = BedLink { host: 1, tor: 1 }.tor_interface();
        for peer in 1..=peers {
            // A second speaker on the same network finds them there.
            addresses((bed.tor(1), &tor_end), &[format!("{}/24", peer_address(peer))]).ok();
        }
        let peers: Vec<IpAddr> = (1..=peers).map(peer_address).collect();
        Ok(Subject(match kind {
            Kind::Weir => weir(bed, count, &peers)?,
            Kind::Bird => bird(bed, count, &peers)?,
            Kind::GoBgp => gobgp(bed, count, &peers)?,
        }))
    }

    /// Memory in use now, MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        let pid = match &self.0 {
            Running::Weir { child, .. } => child.id(),
            Running::Bird { bird, .. } => bird.pid(),
            Running::GoBgp(gobgp) => gobgp.pid(),
        };
        let path = format!("/proc/{pid}/status");
        let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS")?;
        Ok(kib / 1024.0)
    }

    /// Has a prefix withdrawn; one of the first [`WITHDRAWS`].
    pub fn withdraw(&mut self, number: u32) -> Result<Decided> {
        match &mut self.0 {
            Running::Weir { orders, answers, .. } => {
                writeln!(orders, "{number}")?;
                let mut line = String::new();
                answers.read_line(&mut line)?;
                let mut times = line.split_whitespace().map(str::parse).map_while(Result::ok);
                let (at, done) = (times.next().context("no time")?, times.next().context("no second time")?);
                let (at, done) = (Duration::from_nanos(at), Duration::from_nanos(done));
                Ok(Decided { at, handed_over: Some(done - at) })
            }
            Running::Bird { control, .. } => {
                let at = clock::now();
                order(control, &format!("disable w{number}"))?;
                Ok(Decided { at, handed_over: None })
            }
            Running::GoBgp(gobgp) => {
                let at = clock::now();
                gobgp.gobgp(&format!("global rib del {}/32", prefix(number)))?;
                Ok(Decided { at, handed_over: None })
            }
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Running::Weir { child, .. } = &mut self.0 {
            // It may have ended by itself; either way it is waited for.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn weir(bed: &BgpBed, count: u32, peers: &[IpAddr]) -> Result<Running> {
    let mut command = bed.host(1).command(std::env::current_exe().context("this program's path")?);
    command.arg("--speaker").arg(SPEAKER.to_string()).arg(count.to_string());
    command.args(peers.iter().map(IpAddr::to_string)).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("start the speaker")?;
    let orders = child.stdin.take().context("the child's input is a pipe")?;
    let mut answers = BufReader::new(child.stdout.take().context("the child's output is a pipe")?);
    let mut line = String::new();
    answers.read_line(&mut line)?;
    ensure!(line == "ready\n", "the speaker said `{line}`");
    Ok(Running::Weir { child, orders, answers })
}

/// Static routes: those to be withdrawn in protocols of their own, so that one order withdraws one.
fn bird(bed: &BgpBed, count: u32, peers: &[IpAddr]) -> Result<Running> {
    let mut config = format!("router id {SPEAKER};\nprotocol device {{}}\n");
    let route = |number| format!("route {}/32 blackhole;", prefix(number));
    // Writing to a string cannot fail.
    for number in 0..WITHDRAWS.min(count) {
        writeln!(config, "protocol static w{number} {{ ipv4; {} }}", route(number)).ok();
    }
    config += "protocol static many { ipv4;\n";
    for number in WITHDRAWS.min(count)..count {
        writeln!(config, "{}", route(number)).ok();
    }
    config += "}\n";
    for (number, peer) in (1..).zip(peers) {
        writeln!(
            config,
            "protocol bgp p{number} {{ local {SPEAKER} as {APPLIANCE_AS}; neighbor {peer} as {TOR_AS}; passive on;\n\
             ipv4 {{ import none; export all; }}; error wait time 1, 2; connect delay time 1; hold time 600; }}"
        )
        .ok();
    }
    let bird = Bird::start(bed.host(1), &bed.logs, "speaker", &config)?;
    wait_until("bird's table", Duration::from_secs(30), || {
        let said = bird.birdc("show route count")?;
        ensure!(said.contains(&format!("{count} of {count} routes")), "{said}");
        Ok(())
    })?;
    let mut control = BufReader::new(UnixStream::connect(bird.socket()).context("bird's control socket")?);
    let mut greeting = String::new();
    control.read_line(&mut greeting)?;
    Ok(Running::Bird { bird, control })
}

/// One order on the control socket, to the line that ends its answer: a code and a blank.
fn order(control: &mut BufReader<UnixStream>, order: &str) -> Result<()> {
    control.get_mut().write_all(format!("{order}\n").as_bytes())?;
    loop {
        let mut line = String::new();
        ensure!(control.by_ref().read_line(&mut line)? > 0, "bird closed its control socket");
        match line.get(..5) {
            Some("0000 ") => return Ok(()),
            Some(code) if code.starts_with(['8', '9']) => anyhow::bail!("bird said {line}"),
            _ => {}
        }
    }
}

fn gobgp(bed: &BgpBed, count: u32, peers: &[IpAddr]) -> Result<Running> {
    let mut config = format!("[global.config]\nas = {APPLIANCE_AS}\nrouter-id = \"{SPEAKER}\"\n");
    for peer in peers {
        // Writing to a string cannot fail.
        writeln!(
            config,
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{peer}\"\npeer-as = {TOR_AS}\n\
             [neighbors.transport.config]\npassive-mode = true\n\
             [neighbors.timers.config]\nhold-time = 600\nkeepalive-interval = 200\nidle-hold-time-after-reset = 1"
        )
        .ok();
    }
    let gobgp = GoBgp::start(bed.host(1), &bed.logs, "speaker", &config)?;
    let file = bed.logs.file("table.mrt");
    // Its client ends before its own queue is empty, so the last ones are others that are there already.
    let first = WITHDRAWS.min(count);
    let all = (first..count).chain(first..(first + CLIENT_QUEUE).min(count)).map(prefix);
    std::fs::write(&file, mrt::dump(all, SPEAKER))?;
    gobgp.gobgp(&format!("mrt inject global {} --no-ipv6", file.display()))?;
    // What came from a dump counts as another's, which an order cannot withdraw.
    for number in 0..first {
        gobgp.gobgp(&format!("global rib add {}/32", prefix(number)))?;
    }
    wait_until("gobgpd's table", Duration::from_secs(60), || {
        let said = gobgp.gobgp("global rib summary")?;
        ensure!(said.contains(&format!("Destination: {count}")), "{said}");
        Ok(())
    })?;
    Ok(Running::GoBgp(gobgp))
}
