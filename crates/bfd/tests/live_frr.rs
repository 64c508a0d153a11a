// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The real thing against FRR's bfdd over a veth pair: IPv4, IPv6 and link-local, deaths, goodbyes, and a loaded machine.
//! Inside `scripts/isolated.sh` only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_bfd::{Bfd, BfdConfig, BfdHandle, SessionConfig, SessionStatus, State, Timing, Wanted};
use weir_lab::{Frr, LogDir, Netns, Veth, addresses, wait_until};

const LINK_LOCAL_OURS: &str = "fe80::a";
const LINK_LOCAL_THEIRS: &str = "fe80::b";

/// The three sessions: name, FRR's address, ours.
const PEERS: [(&str, &str, &str); 3] = [
    ("v4", "10.0.0.2", "10.0.0.1"),
    ("v6", "2001:db8::2", "2001:db8::1"),
    ("link-local", LINK_LOCAL_THEIRS, LINK_LOCAL_OURS),
];

const PATIENCE: Duration = Duration::from_secs(15);

struct Lab {
    bfd: Option<BfdHandle>,
    frr: Frr,
    theirs: Netns,
    ours: Netns,
    logs: LogDir,
    interval: Duration,
}

impl Lab {
    fn up(interval: Duration) -> Result<Lab> {
        let (ours, theirs) = (Netns::create("ours")?, Netns::create("theirs")?);
        Veth { a: (&ours, "eth0"), b: (&theirs, "eth0"), mtu: 1500 }.create()?;
        for (netns, host, link_local) in [(&ours, 1, LINK_LOCAL_OURS), (&theirs, 2, LINK_LOCAL_THEIRS)] {
            netns.ip("address flush dev eth0 scope link")?;
            let all =
                [format!("10.0.0.{host}/24"), format!("2001:db8::{host}/64"), format!("{link_local}/64")];
            addresses((netns, "eth0"), &all)?;
        }
        let logs = LogDir::create(None)?;
        let frr = Frr::start_with_bfd(&theirs, &logs, "theirs", &frr_config(interval))?;
        let bfd = ours.enter(|| Bfd::start(&BfdConfig::default()))??;
        Ok(Lab { bfd: Some(bfd), frr, theirs, ours, logs, interval })
    }

    fn bfd(&self) -> &BfdHandle {
        self.bfd.as_ref().expect("not stopped yet")
    }

    /// Our sessions with all three addresses.
    fn set(&self, wanted: Wanted) -> Result<()> {
        let timing = Timing { desired_min_tx: self.interval, required_min_rx: self.interval, detect_mult: 3 };
        let mut sessions = BTreeMap::new();
        for (name, remote, local) in PEERS {
            let session = SessionConfig {
                local: Some(local.parse()?),
                interface: Some("eth0".to_owned()),
                timing,
                wanted,
                ..SessionConfig::new(remote.parse()?)
            };
            sessions.insert(name.to_owned(), session);
        }
        Ok(self.bfd().set_sessions(sessions)?)
    }

    fn status(&self, name: &str) -> Result<SessionStatus> {
        let snapshot = self.bfd().subscribe().borrow().clone();
        snapshot.sessions.get(name).cloned().with_context(|| format!("no session {name}"))
    }

    fn wait(&self, name: &str, state: State) -> Result<()> {
        wait_until(&format!("{name} to be {state}"), PATIENCE, || {
            let status = self.status(name)?;
            ensure!(status.state == state, "it is {status:?}");
            Ok(())
        })
    }

    /// What FRR says of one of us.
    fn frr_says(&self, ours: &str, key: &str) -> Result<String> {
        let peers = self.frr.json("show bfd peers")?;
        let peers = peers.as_array().context("a list of peers")?;
        let peer = peers.iter().find(|p| p["peer"] == ours).with_context(|| format!("no {ours}"))?;
        Ok(peer[key].as_str().with_context(|| format!("no {key} in {peer}"))?.to_owned())
    }

    fn frr_wait(&self, key: &str, value: &str) -> Result<()> {
        for (name, _, ours) in PEERS {
            wait_until(&format!("FRR to say {value} of {name}"), PATIENCE, || {
                let said = self.frr_says(ours, key)?;
                ensure!(said == value, "it says {said}");
                Ok(())
            })?;
        }
        Ok(())
    }

    fn restart_frr(&mut self) -> Result<()> {
        self.frr.start_bfdd(&self.theirs, &self.logs, "theirs")
    }
}

fn frr_config(interval: Duration) -> String {
    let mut config = String::from("bfd\n");
    for (_, theirs, ours) in PEERS {
        let milliseconds = interval.as_millis();
        config.push_str(&format!(
            " peer {ours} local-address {theirs} interface eth0\n  detect-multiplier 3\n  \
             receive-interval {milliseconds}\n  transmit-interval {milliseconds}\n  no shutdown\n exit\n"
        ));
    }
    config + "exit\n"
}

/// Times in order, for the report.
fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    format!("n={} min={:?} p50={:?} p90={:?} max={:?}", times.len(), at(0), at(50), at(90), at(100))
}

/// All sessions come up, FRR and we agree on the times, and each end's goodbye is understood.
#[test]
#[ignore = "needs root and network namespaces"]
fn sessions_come_up_agree_and_say_goodbye() -> Result<()> {
    let mut lab = Lab::up(Duration::from_millis(100))?;
    let begun = Instant::now();
    lab.set(Wanted::Up)?;
    let mut times = Vec::new();
    for (name, ..) in PEERS {
        lab.wait(name, State::Up)?;
        times.push(begun.elapsed());
    }
    eprintln!("up: {}", spread(&mut times));
    ensure!(times.iter().all(|time| *time < Duration::from_secs(3)), "came up after {times:?}");
    for (name, ..) in PEERS {
        wait_until("the Poll Sequence to end", PATIENCE, || {
            let status = lab.status(name)?;
            ensure!(
                !status.is_polling && status.detection_time == Some(Duration::from_millis(300)),
                "{status:?}"
            );
            ensure!(status.transmit_interval == Some(Duration::from_millis(100)), "{status:?}");
            ensure!(!status.is_never_up && status.send_errors == 0, "{status:?}");
            Ok(())
        })?;
    }
    lab.frr_wait("status", "up")?;

    // Ours: FRR says whose wish it was.
    lab.set(Wanted::AdminDown)?;
    lab.frr_wait("diagnostic", "neighbor signaled session down")?;
    lab.frr_wait("remote-diagnostic", "administratively down")?;
    lab.set(Wanted::Up)?;
    lab.frr_wait("status", "up")?;

    // Theirs: we say so.
    lab.frr.configure(&[
        "configure terminal",
        "bfd",
        "peer 10.0.0.1 local-address 10.0.0.2 interface eth0",
        "shutdown",
    ])?;
    wait_until("their goodbye", PATIENCE, || {
        let status = lab.status("v4")?;
        ensure!(status.state == State::Down && status.remote_state == State::AdminDown, "{status:?}");
        ensure!(status.diagnostic.code() == 3, "{status:?}");
        Ok(())
    })?;
    lab.frr.configure(&[
        "configure terminal",
        "bfd",
        "peer 10.0.0.1 local-address 10.0.0.2 interface eth0",
        "no shutdown",
    ])?;
    lab.wait("v4", State::Up)?;
    lab.frr_wait("status", "up")?;

    // A clean stop is a goodbye to all, and ends as soon as they have heard it.
    let begun = Instant::now();
    let status = lab.bfd().subscribe();
    lab.bfd.take().context("running")?.stop();
    eprintln!("stop took {:?}", begun.elapsed());
    ensure!(status.borrow().is_stopped && begun.elapsed() < Duration::from_secs(2));
    lab.frr_wait("remote-diagnostic", "administratively down")?;
    Ok(())
}

fn kills(rounds: usize) -> Result<()> {
    let mut lab = Lab::up(Duration::from_millis(100))?;
    lab.set(Wanted::Up)?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        for (name, ..) in PEERS {
            lab.wait(name, State::Up)?;
            wait_until("the fast interval", PATIENCE, || {
                let status = lab.status(name)?;
                ensure!(status.detection_time == Some(Duration::from_millis(300)), "{status:?}");
                Ok(())
            })?;
        }
        let killed = Instant::now();
        lab.frr.kill_bfdd()?;
        for (name, ..) in PEERS {
            lab.wait(name, State::Down)?;
            times.push(killed.elapsed());
            ensure!(lab.status(name)?.diagnostic.code() == 1, "the detection time was the reason");
        }
        lab.restart_frr()?;
    }
    eprintln!("killed -> Down, 3 x 100 ms: {}", spread(&mut times));
    // The last packet may have come up to one jittered interval before the kill; the rest is our own lateness and the
    // 5 ms of polling.
    ensure!(times[0] >= Duration::from_millis(190), "too early: {:?}", times[0]);
    ensure!(times[times.len() - 1] < Duration::from_millis(400), "too late: {times:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_killed_peer_is_down_within_the_detection_time() -> Result<()> {
    kills(3)
}

#[test]
#[ignore = "measures: 20 kills, more than a minute"]
fn the_spread_of_detection_times() -> Result<()> {
    kills(20)
}

fn busy(time: Duration) -> Result<()> {
    let lab = Lab::up(Duration::from_millis(50))?;
    lab.set(Wanted::Up)?;
    for (name, ..) in PEERS {
        lab.wait(name, State::Up)?;
    }
    let before: Vec<u64> =
        PEERS.iter().map(|(name, ..)| Ok(lab.status(name)?.transitions)).collect::<Result<_>>()?;
    let end = Arc::new(AtomicBool::new(false));
    let loops: Vec<_> = (0..2)
        .map(|_| {
            let end = Arc::clone(&end);
            std::thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let mut snapshots = lab.bfd().subscribe();
    let deadline = Instant::now() + time;
    let mut late = Vec::new();
    while Instant::now() < deadline {
        wait_until("a snapshot", PATIENCE, || {
            ensure!(snapshots.has_changed()?, "nothing new");
            Ok(())
        })?;
        late.push(snapshots.borrow_and_update().late_recent);
    }
    end.store(true, Ordering::Relaxed);
    for one in loops {
        one.join().expect("the loop ends");
    }
    let scheduling = snapshots.borrow().scheduling;
    eprintln!(
        "3 x 50 ms under load for {time:?}, {scheduling}; worst lateness a second: {}",
        spread(&mut late)
    );
    for ((name, ..), before) in PEERS.iter().zip(before) {
        let status = lab.status(name)?;
        ensure!(status.state == State::Up && status.transitions == before, "{name} flapped: {status:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces"]
fn sessions_stay_up_on_a_busy_machine() -> Result<()> {
    busy(Duration::from_secs(5))
}

#[test]
#[ignore = "measures: half a minute under load"]
fn sessions_stay_up_on_a_machine_that_is_busy_for_long() -> Result<()> {
    busy(Duration::from_secs(30))
}

/// An interface that goes and comes back as another one is found again, and a peer that never answers is told as such.
#[test]
#[ignore = "needs root and network namespaces"]
fn a_new_interface_of_the_same_name_is_found() -> Result<()> {
    let lab = Lab::up(Duration::from_millis(100))?;
    lab.set(Wanted::Up)?;
    for (name, ..) in PEERS {
        lab.wait(name, State::Up)?;
    }
    lab.ours.ip("link del eth0")?;
    for (name, ..) in PEERS {
        lab.wait(name, State::Down)?;
    }
    wait_until("the reason", PATIENCE, || {
        let status = lab.status("link-local")?;
        ensure!(status.send_error.is_some() && status.send_errors > 0, "{status:?}");
        Ok(())
    })?;
    // Nobody at the other end this time.
    lab.ours.ip("link add eth0 type veth peer name other\nlink set eth0 up\nlink set other up")?;
    addresses((&lab.ours, "eth0"), &["10.0.0.1/24".into(), "2001:db8::1/64".into(), "fe80::a/64".into()])?;
    wait_until("packets on the new interface", PATIENCE, || {
        for (name, ..) in PEERS {
            let status = lab.status(name)?;
            ensure!(status.send_error.is_none() && status.state == State::Down, "{name}: {status:?}");
        }
        Ok(())
    })?;
    // A session that was up once is not `never up`; one whose peer is not there is.
    ensure!(!lab.status("v4")?.is_never_up);
    let mut nobody = SessionConfig::new("10.0.0.77".parse()?);
    nobody.interface = Some("eth0".to_owned());
    lab.bfd().set_sessions(BTreeMap::from([("nobody".to_owned(), nobody)]))?;
    wait_until("the flag", PATIENCE, || {
        let status = lab.status("nobody")?;
        ensure!(status.is_never_up && status.packets_sent > 0 && status.packets_received == 0, "{status:?}");
        Ok(())
    })
}
