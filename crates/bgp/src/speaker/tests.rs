// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Speakers on loopback: with each other, and with a peer played by hand over a real socket.

mod ranges;

use super::*;
use crate::advertise::Prefix;
use crate::config::{Families, Family, PeerConfig, RemoteAs};
use crate::session::State;
use crate::status::PeerStatus;
use crate::wire::{
    AsPath, Capability, DecodeContext, FrameBuffer, Message, NextHop, Notification, Open, Origin, PathToSend,
    UpdateEncoder, encode_keepalive, iana,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const PATIENCE: Duration = Duration::from_secs(20);

/// A port that was free a moment ago.
fn free(address: &str) -> SocketAddr {
    let probe = std::net::TcpListener::bind((address.parse::<IpAddr>().unwrap(), 0)).unwrap();
    probe.local_addr().unwrap()
}

fn config(asn: u32, listen: SocketAddr, peer: PeerConfig) -> SpeakerConfig {
    SpeakerConfig {
        asn,
        router_id: Ipv4Addr::from_bits(asn),
        listen: vec![listen],
        hostname: format!("host-{asn}"),
        software: "weir/test".into(),
        graceful_restart: None,
        fib: None,
        peers: vec![peer],
    }
}

fn peer(remote: SocketAddr, asn: u32, local: SocketAddr) -> PeerConfig {
    PeerConfig {
        port: remote.port(),
        local_address: Some(local.ip()),
        families: Families::BOTH,
        next_hop_v4: Some(Ipv4Addr::new(10, 0, 0, 2)),
        next_hop_v6: Some("2001:db8::2".parse().unwrap()),
        connect_retry: Duration::from_secs(1),
        ..PeerConfig::new("peer", remote.ip(), RemoteAs::Exact(asn))
    }
}

fn advertisements(prefixes: &[&str]) -> BTreeSet<Advertisement> {
    prefixes.iter().map(|p| Advertisement::plain(p.parse().unwrap())).collect()
}

async fn until(handle: &SpeakerHandle, what: &str, holds: impl Fn(&PeerStatus) -> bool) -> PeerStatus {
    let mut status = handle.status();
    let found = tokio::time::timeout(PATIENCE, status.wait_for(|s| holds(&s.peers["peer"]))).await;
    match found {
        Ok(found) => found.unwrap().peers["peer"].clone(),
        Err(_) => panic!("never {what}: {:#?}", handle.status().borrow()),
    }
}

async fn two_speakers(a: SocketAddr, b: SocketAddr) -> (SpeakerHandle, SpeakerHandle) {
    let first = Speaker::start(config(65010, a, peer(b, 65000, a))).await.unwrap();
    let second = Speaker::start(config(65000, b, peer(a, 65010, b))).await.unwrap();
    (first, second)
}

#[tokio::test]
async fn two_speakers_meet_announce_withdraw_and_part() {
    for (a, b) in [(free("127.0.0.1"), free("127.0.0.2")), (free("::1"), free("::1"))] {
        let (first, second) = two_speakers(a, b).await;
        let up = until(&first, "up", |p| p.state == State::Established).await;
        assert_eq!((up.remote_as, up.remote_router_id), (Some(65000), Some(Ipv4Addr::from_bits(65000))));
        assert!(up.since.is_some() && up.uptime(Instant::now()).unwrap() < PATIENCE);
        let negotiated = up.negotiated.unwrap();
        assert_eq!(
            (negotiated.hold_time, negotiated.families),
            (Some(Duration::from_secs(9)), Families::BOTH)
        );
        assert!(negotiated.capabilities.iter().any(|one| one.text == "FQDN host='host-65000' domain=''"));
        until(&second, "up", |p| p.state == State::Established).await;

        first.set_advertisements(advertisements(&["192.0.2.1/32", "2001:db8:ffff::1/128"])).await.unwrap();
        until(&second, "announced", |p| {
            p.counters.received_ipv4.announced == 1 && p.counters.received_ipv6.announced == 1
        })
        .await;
        let told =
            until(&first, "told", |p| Family::ALL.iter().all(|family| p.adj_rib_out.len(*family) == 1)).await;
        let route = told.adj_rib_out.iter(Family::Ipv4Unicast).next().unwrap();
        assert_eq!((route.prefix.to_string(), route.as_path), ("192.0.2.1/32".into(), "65010".into()));
        first.set_advertisements(BTreeSet::new()).await.unwrap();
        until(&second, "withdrawn", |p| {
            p.counters.received_ipv4.withdrawn == 1 && p.counters.received_ipv6.withdrawn == 1
        })
        .await;

        first.shutdown("rack 12 power work").await;
        let down = until(&second, "down", |p| p.last_received.is_some()).await;
        assert_eq!(
            down.last_received.unwrap().text,
            "cease (6), administrative shutdown (2): rack 12 power work"
        );
        assert_eq!(first.set_advertisements(BTreeSet::new()).await, Err(SpeakerGone));
        first.shutdown("again").await;
        drop(std::net::TcpListener::bind(a).expect("the port is free again"));
        second.shutdown("").await;
    }
}

#[tokio::test]
async fn a_speaker_that_cannot_listen_says_where() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Speaker::start(config(65010, address, peer(address, 65000, address))).await.unwrap_err();
    assert_eq!(error.to_string(), format!("listen on {address}"));
    let error = Speaker::start(config(0, address, peer(address, 65000, address))).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "speaker configuration: AS number 0 cannot be used; router id 0.0.0.0 cannot be used"
    );
}

/// A peer played by hand that has connected from its configured address.
struct Raw {
    stream: TcpStream,
    buffer: FrameBuffer,
    /// Octets read and not yet looked at.
    rest: Vec<u8>,
}

impl Raw {
    async fn connect(to: SocketAddr, from: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind((from.ip(), 0).into()).unwrap();
        let stream = socket.connect(to).await.unwrap();
        Self { stream, buffer: FrameBuffer::new(4096), rest: vec![] }
    }

    /// Connected and Established, both End-of-RIB markers read.
    async fn established(to: SocketAddr, from: SocketAddr) -> Self {
        let mut raw = Self::connect(to, from).await;
        let capabilities = crate::Family::ALL.map(|f| Capability::Multiprotocol(f.into())).into_iter();
        let open = Open {
            two_octet_as: 65000,
            hold_time_s: 0,
            router_id: Ipv4Addr::new(1, 1, 1, 1),
            capabilities: capabilities.chain([Capability::FourOctetAs(65000)]).collect(),
        };
        raw.say(&open.encode()).await;
        raw.say(&encode_keepalive()).await;
        assert!(matches!(raw.hear().await, Some(Message::Open(_))));
        assert_eq!(raw.hear().await, Some(Message::Keepalive));
        for _ in 0..2 {
            assert!(matches!(raw.hear().await, Some(Message::Update(u)) if u.end_of_rib().is_some()));
        }
        raw
    }

    async fn say(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    /// The next message, `None` at the end of the stream.
    async fn hear(&mut self) -> Option<Message> {
        let context = DecodeContext { four_octet_as: true, local_address: None };
        let work = async {
            loop {
                let mut rest = self.rest.as_slice();
                let is_whole = self.buffer.fill(&mut rest).unwrap();
                self.rest = rest.to_vec();
                if is_whole {
                    let (kind, body) = self.buffer.message().unwrap();
                    let message = Message::decode(kind, body, &context).unwrap();
                    self.buffer.clear();
                    return Some(message);
                }
                let mut chunk = [0; 4096];
                match self.stream.read(&mut chunk).await.unwrap() {
                    0 => return None,
                    count => self.rest.extend_from_slice(&chunk[..count]),
                }
            }
        };
        tokio::time::timeout(PATIENCE, work).await.expect("the speaker says something")
    }
}

/// A speaker that waits for a hand-played peer, and their addresses.
async fn waiting() -> (SpeakerHandle, SocketAddr, SocketAddr) {
    let (here, there) = (free("127.0.0.1"), free("127.0.0.3"));
    let peer = PeerConfig { passive: true, ..peer(there, 65000, here) };
    (Speaker::start(config(65010, here, peer)).await.unwrap(), here, there)
}

#[tokio::test]
async fn withdraws_reach_the_socket_before_the_call_returns_and_before_announces() {
    let (speaker, here, there) = waiting().await;
    let mut raw = Raw::established(here, there).await;
    speaker.set_advertisements(advertisements(&["192.0.2.1/32"])).await.unwrap();
    speaker.set_advertisements(advertisements(&["192.0.2.2/32"])).await.unwrap();
    let mut heard = vec![];
    for _ in 0..3 {
        let Some(Message::Update(update)) = raw.hear().await else { panic!("no UPDATE") };
        heard.extend(update.withdrawals().map(|p| format!("-{p}")));
        heard.extend(update.announced().map(|p| format!("+{p}")));
    }
    assert_eq!(heard, ["+192.0.2.1/32", "-192.0.2.1/32", "+192.0.2.2/32"]);
    speaker.shutdown("bye").await;
    let Some(Message::Update(update)) = raw.hear().await else { panic!("no UPDATE") };
    assert_eq!(update.withdrawals().count(), 1, "withdrawn before the end");
    let Some(Message::Notification(last)) = raw.hear().await else { panic!("no NOTIFICATION") };
    assert_eq!(last, Notification::shutdown("bye"));
    assert_eq!(raw.hear().await, None);
}

#[tokio::test]
async fn a_notification_gets_through_although_the_peer_keeps_talking() {
    let (speaker, here, there) = waiting().await;
    for _ in 0..3 {
        let mut raw = Raw::established(here, there).await;
        // Everything behind the bad message is never read by the session, and must not make TCP reset the rest.
        let garbage = [vec![0xff; 16], vec![0, 19, 77], vec![0; 200_000]].concat();
        raw.say(&garbage).await;
        let Some(Message::Notification(answer)) = raw.hear().await else { panic!("no NOTIFICATION") };
        assert_eq!((answer.code(), answer.subcode(), answer.data()), (1, 3, &[77][..]));
        assert_eq!(raw.hear().await, None);
    }
    let status = until(&speaker, "noted", |p| p.last_sent.is_some()).await;
    assert_eq!(
        status.last_sent.unwrap().text,
        "message header error (1), bad message type (3): message type 77 is unknown"
    );
    speaker.shutdown("").await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_up_neither_the_caller_nor_the_end() {
    let (speaker, here, there) = waiting().await;
    let raw = Raw::established(here, there).await;
    until(&speaker, "up", |p| p.state == State::Established).await;
    // Distinct attributes make every prefix a message of its own: more than all buffers hold.
    let many = (0..200_000u32).map(|n| Advertisement {
        med: Some(n),
        ..Advertisement::plain(Prefix::host(Ipv4Addr::from_bits(0x0a00_0000 + n).into()))
    });
    let many: BTreeSet<_> = many.collect();
    let started = Instant::now();
    speaker.set_advertisements(many).await.unwrap();
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(2), "the socket was full: {waited:?}");
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    let status = until(&speaker, "up", |p| p.state == State::Established).await;
    assert!(status.counters.messages_out.update < 200_000);
    let started = Instant::now();
    speaker.shutdown("slow").await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(raw);
}

#[tokio::test]
async fn strangers_are_closed_without_a_word_and_counted() {
    let (speaker, here, _) = waiting().await;
    let mut raw = Raw::connect(here, free("127.0.0.4")).await;
    assert_eq!(raw.hear().await, None);
    let mut status = speaker.status();
    tokio::time::timeout(PATIENCE, status.wait_for(|s| s.strangers == 1)).await.unwrap().unwrap();
    speaker.shutdown("").await;
}

#[tokio::test]
async fn a_second_connection_is_refused_while_the_first_is_established() {
    let (speaker, here, there) = waiting().await;
    let _first = Raw::established(here, there).await;
    until(&speaker, "up", |p| p.state == State::Established).await;
    let mut second = Raw::connect(here, there).await;
    let Some(Message::Notification(answer)) = second.hear().await else { panic!("no NOTIFICATION") };
    assert_eq!((answer.code(), answer.subcode()), (6, iana::cease::COLLISION));
    assert_eq!(second.hear().await, None);
    speaker.shutdown("").await;
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_tried_again_and_met() {
    let (here, there) = (free("127.0.0.1"), free("127.0.0.5"));
    let speaker = Speaker::start(config(65010, here, peer(there, 65000, here))).await.unwrap();
    let failed = until(&speaker, "refused", |p| p.last_transport.is_some()).await;
    assert!(failed.last_transport.unwrap().text.starts_with(&format!("connect to {there}: ")));
    speaker.set_advertisements(advertisements(&["192.0.2.1/32"])).await.unwrap();
    let other = PeerConfig { passive: true, ..peer(here, 65010, there) };
    let other = Speaker::start(config(65000, there, other)).await.unwrap();
    until(&other, "announced", |p| p.counters.received_ipv4.announced == 1).await;
    other.shutdown("").await;
    speaker.shutdown("").await;
}

#[tokio::test]
async fn a_long_list_of_received_routes_is_shown_whole_and_follows_every_change() {
    let (here, there) = (free("127.0.0.1"), free("127.0.0.3"));
    let peer = PeerConfig { passive: true, prefixes_max: 10_000, ..peer(there, 65000, here) };
    let speaker = Speaker::start(config(65010, here, peer)).await.unwrap();
    let mut raw = Raw::established(here, there).await;
    let path = AsPath::own(65000, 1);
    let path = PathToSend {
        as_path: &path,
        origin: Origin::Igp,
        med: None,
        communities: &[],
        extended_communities: &[],
        large_communities: &[],
    };
    let encoder = UpdateEncoder { four_octet_as: true, message_max: 4096 };
    let next_hop = NextHop::V4(Ipv4Addr::new(10, 0, 0, 1));
    let all: Vec<_> =
        (0..10_000).map(|n| Prefix::host(Ipv4Addr::from_bits(0xc000_0000 + n).into())).collect();
    for prefix in &all {
        let (message, _) = encoder.announce(path, next_hop, Family::Ipv4Unicast, &[*prefix]).unwrap();
        raw.say(&message).await;
    }
    let shown = until(&speaker, "shown", |p| p.adj_rib_in.len() == all.len()).await;
    assert!(shown.adj_rib_in.iter().map(|route| route.prefix).eq(all.iter().copied()));
    raw.say(&encoder.withdraw(Family::Ipv4Unicast, &all[..1]).unwrap().0).await;
    until(&speaker, "one less", |p| p.adj_rib_in.len() == all.len() - 1).await;
    drop(raw);
    until(&speaker, "nothing", |p| p.adj_rib_in.is_empty()).await;
    speaker.shutdown("").await;
}

/// Figures of `reference`: run with `--release --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, needs a quiet machine"]
async fn figures() {
    for count in [10_000u32, 100_000] {
        let (speaker, here, there) = waiting().await;
        let mut raw = Raw::established(here, there).await;
        let prefix = |n: u32| Advertisement::plain(Prefix::host(Ipv4Addr::from_bits(0x0a00_0000 + n).into()));
        let all: BTreeSet<_> = (0..count).map(prefix).collect();
        let fewer: BTreeSet<_> = (1..count).map(prefix).collect();
        let reader = tokio::spawn(async move {
            let (mut announced, mut withdrawn_at) = (0, None);
            while let Some(message) = raw.hear().await {
                if let Message::Update(update) = message {
                    announced += update.announced().count();
                    if withdrawn_at.is_none() && update.withdrawals().next().is_some() {
                        withdrawn_at = Some(Instant::now());
                    }
                }
            }
            (announced, withdrawn_at)
        });
        let started = Instant::now();
        speaker.set_advertisements(all).await.unwrap();
        let announced_in = started.elapsed();
        let started = Instant::now();
        speaker.set_advertisements(fewer).await.unwrap();
        let withdrawn_in = started.elapsed();
        speaker.shutdown("").await;
        let (announced, withdrawn_at) = reader.await.unwrap();
        assert_eq!(announced, count as usize);
        println!(
            "{count} prefixes: announce handed over in {announced_in:?}, one withdraw in {withdrawn_in:?}, seen after {:?}",
            withdrawn_at.unwrap() - started
        );
    }
}

/// Plays a peer that comes up and then sends as fast as it can, never reading, for at most `long`.
fn flood(listener: &std::net::TcpListener, long: Duration) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let (mut stream, _) = listener.accept()?;
    let open = Open {
        two_octet_as: 65000,
        hold_time_s: 9,
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        capabilities: vec![Capability::FourOctetAs(65000)],
    };
    stream.write_all(&open.encode())?;
    stream.write_all(&encode_keepalive())?;
    // Their OPEN and KEEPALIVE may be cut anywhere; nothing depends on them.
    stream.read_exact(&mut [0; 48])?;
    let (octets, end) = (encode_keepalive().repeat(20_000), Instant::now() + long);
    while Instant::now() < end {
        stream.write_all(&octets)?;
    }
    Ok(())
}

// One thread for everything, as in a process whose other threads sleep: who does not yield is alone.
#[tokio::test]
async fn a_flood_of_messages_leaves_time_for_others() {
    const LONG: Duration = Duration::from_secs(4);
    let ours = free("127.0.0.1");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = listener.local_addr().unwrap();
    let flooding = std::thread::spawn(move || flood(&listener, LONG));
    let speaker = Speaker::start(config(65010, ours, peer(remote, 65000, ours))).await.unwrap();
    until(&speaker, "up", |p| p.state == State::Established).await;
    let started = Instant::now();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    speaker.shutdown("enough").await;
    assert!(started.elapsed() < LONG / 2, "others waited for {:?}", started.elapsed());
    // An error is as good: the speaker has closed on it.
    drop(flooding.join().unwrap());
}
