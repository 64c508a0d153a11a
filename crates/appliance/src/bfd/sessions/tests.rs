// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sessions of each kind of peer, through what the speaker learns and forgets.

use std::net::SocketAddr;
use std::time::Duration;

use weir_bgp::{DiscoveryStatus, PeerConfig, RemoteAs};

use super::*;
use crate::config;

const TOR: &str = "10.0.0.1";

fn document(keys: &str) -> BTreeMap<String, Peer> {
    let text = include_str!("../../../tests/check/good/least.toml");
    let asked = text.replacen("[peers.tor1]\n", &format!("[peers.tor1]\n{keys}\n"), 1);
    assert_ne!(text, asked);
    config::parse("weir.toml", &asked).expect("a good document").peers
}

fn status(name: &str, change: impl FnOnce(&mut PeerStatus)) -> SpeakerStatus {
    let mut peer =
        PeerStatus::new(&PeerConfig::new(name, TOR.parse().expect("an address"), RemoteAs::External));
    change(&mut peer);
    SpeakerStatus { peers: [(name.to_owned(), peer)].into(), ..SpeakerStatus::default() }
}

fn unnumbered(learnt: Option<&str>, own: Option<&str>) -> SpeakerStatus {
    let config = PeerConfig::unnumbered("tor1", "eth1", RemoteAs::External);
    let mut peer = PeerStatus::new(&config);
    peer.address = learnt.map(|address| address.parse().expect("an address"));
    let own = own.map(|own| own.parse().expect("an address"));
    peer.discovery = Some(DiscoveryStatus { own, ..DiscoveryStatus::default() });
    SpeakerStatus { peers: [("tor1".to_owned(), peer)].into(), ..SpeakerStatus::default() }
}

fn connected(address: &str) -> impl FnOnce(&mut PeerStatus) {
    let address: SocketAddr = address.parse().expect("an address");
    move |peer| peer.local_address = Some(address)
}

type Sessions = BTreeMap<String, SessionConfig>;

fn after(peers: &BTreeMap<String, Peer>, status: &SpeakerStatus, before: &Sessions) -> Sessions {
    let sessions = wanted(peers, status, before, Wanted::Up);
    for session in sessions.values() {
        session.validate().expect("a session that can be");
    }
    sessions
}

#[test]
fn who_does_not_ask_gets_none() {
    let status = status("tor1", connected("10.0.0.9:179"));
    assert_eq!(after(&document("bfd = false"), &status, &Sessions::new()), Sessions::new());
    assert_eq!(after(&BTreeMap::new(), &status, &Sessions::new()), Sessions::new());
}

#[test]
fn a_numbered_session_begins_with_the_first_connection_and_outlives_it() {
    let peers = document("bfd = { interval = \"50ms\", multiplier = 4 }");
    let unknown = status("tor1", |_| {});
    assert_eq!(after(&peers, &unknown, &Sessions::new()), Sessions::new());
    let up = after(&peers, &status("tor1", connected("10.0.0.9:40000")), &Sessions::new());
    let session = &up["tor1"];
    assert_eq!((session.remote.to_string(), session.interface.as_deref()), (TOR.to_owned(), None));
    assert_eq!(session.local.map(|local| local.to_string()).as_deref(), Some("10.0.0.9"));
    let interval = Duration::from_millis(50);
    let timing = Timing { desired_min_tx: interval, required_min_rx: interval, detect_mult: 4 };
    assert_eq!(session.timing, timing);
    // The connection is gone, the path is watched on; another address of ours is another session.
    assert_eq!(after(&peers, &unknown, &up), up);
    let moved = after(&peers, &status("tor1", connected("10.0.0.8:40000")), &up);
    assert_eq!(moved["tor1"].local.map(|local| local.to_string()).as_deref(), Some("10.0.0.8"));
}

#[test]
fn a_source_in_the_document_waits_for_nothing() {
    let peers = document("bfd = true\nsource = \"10.0.0.7\"");
    let sessions = after(&peers, &status("tor1", |_| {}), &Sessions::new());
    assert_eq!(sessions["tor1"].local.map(|local| local.to_string()).as_deref(), Some("10.0.0.7"));
}

#[test]
fn a_learnt_neighbour_is_watched_on_its_interface() {
    let peers = document("bfd = true");
    for incomplete in [unnumbered(None, Some("fe80::9")), unnumbered(Some("fe80::1"), None)] {
        assert_eq!(after(&peers, &incomplete, &Sessions::new()), Sessions::new());
    }
    let up = after(&peers, &unnumbered(Some("fe80::1"), Some("fe80::9")), &Sessions::new());
    let session = &up["tor1"];
    assert_eq!(
        (session.remote.to_string(), session.interface.as_deref()),
        ("fe80::1".to_owned(), Some("eth1"))
    );
    assert_eq!(session.local.map(|local| local.to_string()).as_deref(), Some("fe80::9"));
    // Discovery that forgets for a moment changes nothing; one that finds another neighbour does.
    assert_eq!(after(&peers, &unnumbered(None, None), &up), up);
    let other = after(&peers, &unnumbered(Some("fe80::2"), Some("fe80::9")), &up);
    assert_eq!(other["tor1"].remote.to_string(), "fe80::2");
    let renamed = after(&peers, &unnumbered(Some("fe80::1"), Some("fe80::a")), &up);
    assert_eq!(renamed["tor1"].local.map(|local| local.to_string()).as_deref(), Some("fe80::a"));
}

#[test]
fn a_range_has_a_session_for_each_of_its_peers() {
    let peers = document("bfd = true");
    let remote = Remote::Range { prefix: "10.0.0.0/24".parse().expect("a prefix"), sessions_max: 8 };
    let mut speaker = status("tor1", |peer| {
        peer.remote = remote.clone();
        peer.address = None;
    });
    for host in ["10.0.0.21", "10.0.0.22"] {
        let mut one = status("x", connected("10.0.0.9:179")).peers["x"].clone();
        (one.remote, one.address) = (remote.clone(), Some(host.parse().expect("an address")));
        speaker.peers.insert(format!("tor1/{host}"), one);
    }
    let up = after(&peers, &speaker, &Sessions::new());
    assert_eq!(up.keys().collect::<Vec<_>>(), ["tor1/10.0.0.21", "tor1/10.0.0.22"]);
    speaker.peers.remove("tor1/10.0.0.21");
    assert_eq!(after(&peers, &speaker, &up).len(), 1, "it ends with its BGP session");
}

#[test]
fn two_peers_that_turn_out_to_be_one_share_its_session() {
    let peers = document("bfd = true");
    let mut speaker = status("tor1", connected("10.0.0.9:179"));
    let twin = speaker.peers["tor1"].clone();
    speaker.peers.insert("tor1/10.0.0.1".to_owned(), twin);
    let sessions = after(&peers, &speaker, &Sessions::new());
    assert_eq!(sessions.keys().collect::<Vec<_>>(), ["tor1"]);
}

#[test]
fn no_more_than_there_can_be() {
    let peers = document("bfd = true");
    let mut speaker = SpeakerStatus::default();
    for number in 0..SESSIONS_MAX + 10 {
        let host = format!("10.1.{}.{}", number / 250, number % 250 + 1);
        let mut one = status("x", connected("10.0.0.9:179")).peers["x"].clone();
        one.address = Some(host.parse().expect("an address"));
        speaker.peers.insert(format!("tor1/{host}"), one);
    }
    assert_eq!(after(&peers, &speaker, &Sessions::new()).len(), SESSIONS_MAX);
}

#[test]
fn the_purpose_is_that_of_all() {
    let peers = document("bfd = true");
    let speaker = status("tor1", connected("10.0.0.9:179"));
    for purpose in [Wanted::Up, Wanted::AdminDown, Wanted::ForwardingLost] {
        let sessions = wanted(&peers, &speaker, &Sessions::new(), purpose);
        assert_eq!(sessions["tor1"].wanted, purpose);
    }
}
