// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Peers that come by a range, come back, and make room for others.

use super::*;
use crate::config::Remote;

/// A speaker that takes `sessions_max` of 127.1.0.0/16.
async fn open_to(sessions_max: u16) -> (SpeakerHandle, SocketAddr) {
    let here = free("127.0.0.1");
    let prefix = "127.1.0.0/16".parse().unwrap();
    let remote = Remote::Range { prefix, sessions_max };
    let range = PeerConfig { name: "range".into(), remote, ..peer(here, 65000, here) };
    (Speaker::start(config(65010, here, range)).await.unwrap(), here)
}

fn host(n: u8) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(127, 1, 0, n).into(), 0)
}

/// Waits until the peers of the range are exactly these, each Established or not.
async fn settled(speaker: &SpeakerHandle, wanted: &[(u8, bool)]) {
    let wanted: Vec<_> = wanted.iter().map(|(n, is_up)| (format!("range/127.1.0.{n}"), *is_up)).collect();
    let of_range = |status: &SpeakerStatus| -> Vec<(String, bool)> {
        let sessions = status.peers.iter().filter(|(name, _)| *name != "range");
        sessions.map(|(name, peer)| (name.clone(), peer.state == State::Established)).collect()
    };
    let mut status = speaker.status();
    let found = tokio::time::timeout(PATIENCE, status.wait_for(|s| of_range(s) == wanted)).await;
    assert!(found.is_ok(), "never {wanted:?}: {:?}", of_range(&speaker.status().borrow()));
}

#[tokio::test]
async fn a_dead_peer_comes_back_or_makes_room() {
    let (speaker, here) = open_to(2).await;
    let first = Raw::established(here, host(1)).await;
    let second = Raw::established(here, host(2)).await;
    settled(&speaker, &[(1, true), (2, true)]).await;
    // Nobody makes room for a third while both live.
    assert_eq!(Raw::connect(here, host(3)).await.hear().await, None);
    drop((first, second));
    settled(&speaker, &[(1, false), (2, false)]).await;
    let _first = Raw::established(here, host(1)).await;
    let _third = Raw::established(here, host(3)).await;
    settled(&speaker, &[(1, true), (3, true)]).await;
    speaker.shutdown("").await;
}

#[tokio::test]
async fn who_changes_addresses_costs_little_and_advertising_goes_on() {
    let (speaker, here) = open_to(1).await;
    let started = Instant::now();
    let mut taken = 0;
    for round in 0..40u8 {
        let mut raw = Raw::connect(here, host(round + 1)).await;
        let told = speaker.set_advertisements(advertisements(&[&format!("192.0.2.{round}/32")]));
        let (told, heard) = tokio::join!(told, raw.hear());
        assert_eq!(told, Ok(()), "a peer that goes is no end of the speaker");
        taken += u64::from(heard.is_some());
        drop(raw);
        // The speaker notices.
        let mut status = speaker.status();
        let is_gone = |s: &Arc<SpeakerStatus>| !s.peers["range"].state.is_connected();
        tokio::time::timeout(PATIENCE, status.wait_for(is_gone)).await.unwrap().unwrap();
    }
    let most = 1 + 8 + 1 + started.elapsed().as_secs();
    assert!((1..=most).contains(&taken), "{taken} of 40, {most} at the most");
    speaker.shutdown("").await;
}

#[tokio::test]
async fn a_peer_that_has_gone_is_not_waited_for() {
    let (gone, dropped) = watch::channel(0);
    let (slow, waiting) = watch::channel(0);
    drop(gone);
    let waiting = tokio::spawn(handed_over(3, vec![dropped, waiting]));
    slow.send_replace(2);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "the other one is");
    slow.send_replace(3);
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
}
