// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Announces prefixes to peers until standard input closes; for labs and for trying a switch.
//!
//! ```text
//! speak ASN ROUTER_ID [--listen ADDRESS:PORT]… --peer ADDRESS[=ASN]… [--local ADDRESS] [--hold SECONDS]
//!       [--next-hop ADDRESS]… PREFIX…
//! ```
//!
//! Lines on standard input: `+PREFIX` announces one more, `-PREFIX` withdraws one, `status` prints; at the end of input
//! everything is withdrawn and the peers are told so. Changes of state are printed as they happen.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use weir_bgp::{
    Advertisement, Families, PeerConfig, PeerState, Prefix, RemoteAs, Speaker, SpeakerConfig, SpeakerStatus,
};

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (config, prefixes) = parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(speak(config, prefixes))
}

fn parse(arguments: impl Iterator<Item = String>) -> anyhow::Result<(SpeakerConfig, BTreeSet<Prefix>)> {
    let mut arguments = arguments.peekable();
    let mut next = |what: &str| arguments.next().with_context(|| format!("{what} is missing"));
    let asn = next("ASN")?.parse().context("ASN")?;
    let router_id = next("ROUTER_ID")?.parse().context("ROUTER_ID")?;
    let (mut listen, mut peers, mut prefixes) = (vec![], vec![], BTreeSet::new());
    let (mut local, mut hold, mut next_hops) = (None::<IpAddr>, PeerConfig::HOLD_TIME_DEFAULT, vec![]);
    while let Ok(word) = next("") {
        match word.as_str() {
            "--listen" => listen.push(next("--listen ADDRESS:PORT")?.parse::<SocketAddr>()?),
            "--local" => local = Some(next("--local ADDRESS")?.parse()?),
            "--hold" => hold = Duration::from_secs(next("--hold SECONDS")?.parse()?),
            "--next-hop" => next_hops.push(next("--next-hop ADDRESS")?.parse::<IpAddr>()?),
            "--peer" => {
                let peer = next("--peer ADDRESS[=ASN]")?;
                let (address, asn) = match peer.split_once('=') {
                    Some((address, asn)) => (address, RemoteAs::Exact(asn.parse()?)),
                    None => (peer.as_str(), RemoteAs::External),
                };
                peers.push(PeerConfig::new(peer.clone(), address.parse()?, asn));
            }
            word if word.starts_with('-') => bail!("{word} is not known"),
            prefix => {
                prefixes.insert(prefix.parse::<Prefix>()?);
            }
        }
    }
    for peer in &mut peers {
        peer.hold_time = hold;
        peer.local_address = local.filter(|l| l.is_ipv4() == peer.remote.is_ipv4());
        for next_hop in &next_hops {
            match next_hop {
                IpAddr::V4(v4) => (peer.next_hop_v4, peer.families.ipv4) = (Some(*v4), true),
                IpAddr::V6(v6) => (peer.next_hop_v6, peer.families.ipv6) = (Some(*v6), true),
            }
        }
        if peer.families == Families::default() {
            bail!("peer {} has no family", peer.name);
        }
    }
    let (hostname, software) = ("speak".to_owned(), "weir-bgp example".to_owned());
    Ok((
        SpeakerConfig {
            asn,
            router_id,
            listen,
            hostname,
            software,
            graceful_restart: None,
            fib: None,
            peers,
        },
        prefixes,
    ))
}

async fn speak(config: SpeakerConfig, mut prefixes: BTreeSet<Prefix>) -> anyhow::Result<()> {
    let started = Instant::now();
    let handle = Speaker::start(config).await?;
    let advertise =
        |prefixes: &BTreeSet<Prefix>| prefixes.iter().copied().map(Advertisement::plain).collect();
    handle.set_advertisements(advertise(&prefixes)).await?;
    let mut status = handle.status();
    let mut told: BTreeMap<String, PeerState> = BTreeMap::new();
    let mut lines = lines();
    loop {
        // CANCEL: both channels keep what an arm that lost did not take.
        tokio::select! {
            changed = status.changed() => {
                changed?;
                tell_changes(&status.borrow_and_update(), &mut told, started);
            }
            line = lines.recv() => match line.as_deref().map(str::trim) {
                None => break,
                Some("status") => println!("{:#?}", status.borrow()),
                Some(line) => {
                    let change = |text: &str| text.parse::<Prefix>().map_err(anyhow::Error::from);
                    match (line.strip_prefix('+'), line.strip_prefix('-')) {
                        (Some(prefix), _) => prefixes.insert(change(prefix)?),
                        (_, Some(prefix)) => prefixes.remove(&change(prefix)?),
                        _ => bail!("`{line}` is neither +PREFIX nor -PREFIX nor status"),
                    };
                    let asked = Instant::now();
                    handle.set_advertisements(advertise(&prefixes)).await?;
                    println!("{line} handed over in {:?}", asked.elapsed());
                }
            }
        }
    }
    handle.shutdown("end of the example").await;
    println!("ended after {:?}", started.elapsed());
    Ok(())
}

/// Lines of standard input, read by a thread that waits when one line is not yet taken.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn tell_changes(status: &SpeakerStatus, told: &mut BTreeMap<String, PeerState>, started: Instant) {
    for (name, peer) in &status.peers {
        if told.insert(name.clone(), peer.state) != Some(peer.state) {
            println!("{:.3} s: {name} is {}", started.elapsed().as_secs_f64(), peer.state);
        }
    }
}
