// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Weir's speaker as a process of its own, with a caller as small as can be: what is measured is the speaker.
//!
//! `--speaker ROUTER_ID COUNT PEER…` announces prefixes 0 to COUNT to the peers, which connect. A number on standard input
//! withdraws that prefix; the answer is when that was decided and when the sockets of all peers had it, in nanoseconds.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use weir_bgp::{Advertisement, PeerConfig, Prefix, RemoteAs, Speaker, SpeakerConfig};
use weir_lab::document::{APPLIANCE_AS, TOR_AS};

use crate::clock;
use crate::subject::prefix;

/// Runs until standard input closes.
pub fn speak(arguments: &[String]) -> Result<()> {
    let [router_id, count, peers @ ..] = arguments else { anyhow::bail!("ROUTER_ID COUNT PEER…") };
    let peers: Vec<IpAddr> = peers.iter().map(|peer| peer.parse()).collect::<Result<_, _>>()?;
    let config = SpeakerConfig {
        asn: APPLIANCE_AS,
        router_id: router_id.parse().context("ROUTER_ID")?,
        listen: vec!["0.0.0.0:179".parse()?],
        hostname: "bench".to_owned(),
        software: "weir/bench".to_owned(),
        graceful_restart: None,
        fib: None,
        peers: peers
            .iter()
            .map(|peer| PeerConfig {
                passive: true,
                // The measuring peers send one KEEPALIVE, and no round is as long as this.
                hold_time: Duration::from_secs(600),
                ..PeerConfig::new(peer.to_string(), *peer, RemoteAs::Exact(TOR_AS))
            })
            .collect(),
    };
    // As the appliance runs it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config, count.parse().context("COUNT")?))
}

async fn serve(config: SpeakerConfig, count: u32) -> Result<()> {
    let handle = Speaker::start(config).await?;
    let mut withdrawn = BTreeSet::new();
    // The set is made anew for each change, as the reconciler does, and not kept meanwhile.
    let wanted = |withdrawn: &BTreeSet<u32>| -> BTreeSet<Advertisement> {
        let there = (0..count).filter(|number| !withdrawn.contains(number));
        there.map(|number| Advertisement::plain(Prefix::host(prefix(number).into()))).collect()
    };
    handle.set_advertisements(wanted(&withdrawn)).await?;
    println!("ready");
    let (numbers, mut orders) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(number) = line.trim().parse::<u32>() else { return };
            if numbers.blocking_send(number).is_err() {
                return;
            }
        }
    });
    while let Some(number) = orders.recv().await {
        withdrawn.insert(number);
        let wanted = wanted(&withdrawn);
        let decided = clock::now();
        handle.set_advertisements(wanted).await?;
        let handed_over = clock::now();
        println!("{} {}", decided.as_nanos(), handed_over.as_nanos());
    }
    handle.shutdown("").await;
    Ok(())
}
