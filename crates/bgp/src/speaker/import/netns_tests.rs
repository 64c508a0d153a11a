// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a switch's UPDATE to the kernel's table and back, with speakers on both sides.
//!
//! ```text
//!  this thread's namespace                        namespace of the switches' thread
//!  host (AS 65010)  up0 10.7.0.2/24, fd07::2/64   ═ veth ═  far0 10.7.0.1, fd07::1     tor0 (AS 65000)
//!                   up1 10.7.1.2/24, fd07:1::2/64 ═ veth ═  far1 10.7.1.1, fd07:1::1   tor1 (AS 65001)
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};

use crate::advertise::Advertisement;
use crate::config::{Ending, Families, Family, GracefulRestart, PeerConfig, RemoteAs, SpeakerConfig};
use crate::fib::{FibConfig, FibStatus};
use crate::speaker::{Speaker, SpeakerHandle};
use crate::status::PeerState;

const PATIENCE: Duration = Duration::from_secs(30);
/// What "at once" may mean on a machine that compiles something else at the same time.
const PROMPT: Duration = Duration::from_millis(500);

fn ip(line: &str) -> String {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[expect(unsafe_code, reason = "the standard library has no namespaces")]
fn own_namespace() {
    // SAFETY: `unshare` takes no pointers; it gives this test's own thread an empty network namespace.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "needs root");
    ip("link set lo up");
}

/// What the switches' thread is told.
enum Order {
    Start(usize, Box<SpeakerConfig>, oneshot::Sender<()>),
    /// Sends back every datagram that comes to this address.
    Echo(SocketAddr, oneshot::Sender<()>),
    Tell(usize, &'static [&'static str], oneshot::Sender<SystemTime>),
    /// A stop for good, with a Cease.
    Stop(usize, oneshot::Sender<SystemTime>),
    /// The end of a process that is followed by another: the connection closes and nothing is said.
    Restart(usize, oneshot::Sender<SystemTime>),
}

/// Two switches in a namespace of their own.
struct Switches {
    orders: mpsc::Sender<Order>,
    thread_id: String,
}

impl Switches {
    fn new() -> Self {
        let (orders, mut incoming) = mpsc::channel(1);
        let (thread_id, its_id) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            own_namespace();
            let path = std::fs::read_link("/proc/thread-self").unwrap();
            let id = path.file_name().unwrap().to_str().unwrap().to_owned();
            thread_id.send(id).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut running: [Option<SpeakerHandle>; 2] = [None, None];
                while let Some(order) = incoming.recv().await {
                    match order {
                        Order::Start(n, config, done) => {
                            running[n] = Some(Speaker::start(*config).await.unwrap());
                            done.send(()).unwrap();
                        }
                        Order::Echo(address, done) => {
                            let socket = tokio::net::UdpSocket::bind(address).await.unwrap();
                            tokio::spawn(async move {
                                let mut buffer = [0; 64];
                                while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                                    socket.send_to(&buffer[..length], from).await.unwrap();
                                }
                            });
                            done.send(()).unwrap();
                        }
                        Order::Tell(n, prefixes, done) => {
                            let since = SystemTime::now();
                            let told = advertisements(prefixes);
                            let switch = running[n].as_ref().unwrap();
                            switch.set_advertisements(told).await.unwrap();
                            switch.release_end_of_rib();
                            done.send(since).unwrap();
                        }
                        Order::Stop(n, done) => {
                            let since = SystemTime::now();
                            running[n].take().unwrap().shutdown("gone").await;
                            done.send(since).unwrap();
                        }
                        Order::Restart(n, done) => {
                            let since = SystemTime::now();
                            let ending = Ending::Restart { text: String::new() };
                            running[n].take().unwrap().end(ending).await;
                            done.send(since).unwrap();
                        }
                    }
                }
            });
        });
        let switches = Self { orders, thread_id: its_id.recv().unwrap() };
        for n in 0..2 {
            ip(&format!("link add up{n} type veth peer name far{n} netns {}", switches.thread_id));
            // One link-local address of each side on both links: an address alone says nothing there.
            ip(&format!("link set up{n} addrgenmode none"));
            ip(&format!("link set up{n} up"));
            ip(&format!("addr add fe80::2/64 dev up{n} nodad"));
            ip(&format!("addr add 10.7.{n}.2/24 dev up{n}"));
            ip(&format!("addr add fd07:{n}::2/64 dev up{n} nodad"));
            switches.ip(&format!("link set far{n} addrgenmode none"));
            switches.ip(&format!("link set far{n} up"));
            switches.ip(&format!("addr add fe80::1/64 dev far{n} nodad"));
            switches.ip(&format!("addr add 10.7.{n}.1/24 dev far{n}"));
            switches.ip(&format!("addr add fd07:{n}::1/64 dev far{n} nodad"));
        }
        switches
    }

    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> T {
        let (done, is_done) = oneshot::channel();
        assert!(self.orders.send(order(done)).await.is_ok());
        is_done.await.unwrap()
    }

    async fn start(&self, n: usize, config: SpeakerConfig) {
        self.order(|done| Order::Start(n, Box::new(config), done)).await;
    }

    /// `ip` in their namespace.
    fn ip(&self, line: &str) {
        let mut words = vec!["--net", "--target", &self.thread_id, "ip"];
        words.extend(line.split(' '));
        let output = Command::new("nsenter").args(&words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// When it began to tell.
    async fn tell(&self, n: usize, prefixes: &'static [&'static str]) -> SystemTime {
        self.order(|done| Order::Tell(n, prefixes, done)).await
    }
}

const DEFAULTS: &[&str] = &["0.0.0.0/0", "::/0"];

fn advertisements(prefixes: &[&str]) -> BTreeSet<Advertisement> {
    prefixes.iter().map(|text| Advertisement::plain(text.parse().unwrap())).collect()
}

fn speaker(asn: u32, listen: Vec<SocketAddr>, peers: Vec<PeerConfig>) -> SpeakerConfig {
    SpeakerConfig {
        asn,
        router_id: asn.into(),
        listen,
        hostname: String::new(),
        software: String::new(),
        graceful_restart: None,
        fib: None,
        peers,
    }
}

fn switch(n: usize, is_restarting: bool) -> SpeakerConfig {
    let address = |host: u8| -> std::net::IpAddr { format!("10.7.{n}.{host}").parse().unwrap() };
    let peer = PeerConfig {
        families: Families::BOTH,
        passive: true,
        next_hop_v6: Some(format!("fd07:{n}::1").parse().unwrap()),
        ..PeerConfig::new("host", address(2), RemoteAs::Exact(65010))
    };
    let asn = 65000 + u32::try_from(n).unwrap();
    // Long enough to start again on a busy machine, short enough to wait for.
    let restart_time = Duration::from_secs(4);
    let restart = GracefulRestart { restart_time, is_restarting, ..GracefulRestart::default() };
    SpeakerConfig {
        graceful_restart: Some(restart),
        ..speaker(asn, vec![(address(1), 179).into()], vec![peer])
    }
}

fn host() -> SpeakerConfig {
    let peers = (0u32..2).map(|n| PeerConfig {
        families: Families::BOTH,
        import_default: Families::BOTH,
        next_hop_v6: Some(format!("fd07:{n}::2").parse().unwrap()),
        connect_retry: Duration::from_secs(1),
        ..PeerConfig::new(
            format!("tor{n}"),
            format!("10.7.{n}.1").parse().unwrap(),
            RemoteAs::Exact(65000 + n),
        )
    });
    SpeakerConfig {
        fib: Some(FibConfig::default()),
        graceful_restart: Some(GracefulRestart::default()),
        ..speaker(65010, Vec::new(), peers.collect())
    }
}

fn in_lab(test: impl AsyncFnOnce(&Switches)) {
    own_namespace();
    let switches = Switches::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(&switches));
}

async fn until(host: &SpeakerHandle, what: impl Fn(&FibStatus) -> bool) {
    let mut status = host.status();
    let found = status.wait_for(|status| status.fib.as_ref().is_some_and(|fib| what(fib)));
    if tokio::time::timeout(PATIENCE, found).await.is_err() {
        panic!("last {:#?}; routes: {} {}", host.status().borrow(), ip("-4 route"), ip("-6 route"));
    }
}

async fn until_established(host: &SpeakerHandle, peer: &str) {
    let mut status = host.status();
    let found = status.wait_for(|status| status.peers[peer].state == PeerState::Established);
    if tokio::time::timeout(PATIENCE, found).await.is_err() {
        panic!("last {:#?}", host.status().borrow());
    }
}

fn next_hops(fib: &FibStatus) -> [usize; 2] {
    Family::ALL.map(|family| fib.families.get(&family).map_or(0, |family| family.next_hops.len()))
}

/// How long after `since` the table last changed; the status says so some milliseconds later.
fn changed_after(host: &SpeakerHandle, since: SystemTime) -> Duration {
    let fib = host.status().borrow().fib.clone().unwrap();
    let last = fib.families.values().filter_map(|family| family.changed).max();
    last.unwrap().duration_since(since).unwrap()
}

fn ours(family: &str) -> String {
    ip(&format!("-o {family} route show default proto 87"))
}

/// Lowest, middle and highest of some durations, for people.
fn told(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |n: usize| took[n].as_secs_f64() * 1000.0;
    println!("{what}: min {:.2}, median {:.2}, max {:.2} ms", at(0), at(took.len() / 2), at(took.len() - 1));
    assert!(took[took.len() / 2] < PROMPT);
}

#[test]
#[ignore = "needs root and netns"]
fn a_default_route_follows_what_the_switches_tell() {
    const TURNS: usize = 20;
    in_lab(async |switches| {
        let host = Speaker::start(host()).await.unwrap();
        for (n, peer) in ["tor0", "tor1"].into_iter().enumerate() {
            switches.start(n, switch(n, false)).await;
            until_established(&host, peer).await;
        }
        let mut learnt = Vec::new();
        let mut lost = Vec::new();
        for _ in 0..TURNS {
            let since = switches.tell(0, DEFAULTS).await;
            until(&host, |fib| next_hops(fib) == [1, 1]).await;
            learnt.push(changed_after(&host, since));
            let since = switches.tell(0, &[]).await;
            until(&host, |fib| next_hops(fib) == [0, 0]).await;
            lost.push(changed_after(&host, since));
        }
        told("UPDATE to route installed, both families", learnt);
        told("withdraw of the last one to route gone, both families", lost);
        // Both: spread over two switches of different AS; one leaves, one stays.
        switches.tell(0, DEFAULTS).await;
        switches.tell(1, DEFAULTS).await;
        until(&host, |fib| next_hops(fib) == [2, 2]).await;
        let (v4, v6) = (ours("-4"), ours("-6"));
        assert!(v4.contains("via 10.7.0.1 dev up0") && v4.contains("via 10.7.1.1 dev up1"), "{v4}");
        assert!(v6.contains("via fd07::1 dev up0") && v6.contains("via fd07:1::1 dev up1"), "{v6}");
        let since = switches.order(|done| Order::Stop(0, done)).await;
        until(&host, |fib| next_hops(fib) == [1, 1]).await;
        println!(
            "session of one of two ended to next hop gone: {:.2} ms",
            changed_after(&host, since).as_secs_f64() * 1e3
        );
        let since = switches.order(|done| Order::Stop(1, done)).await;
        until(&host, |fib| next_hops(fib) == [0, 0]).await;
        let took = changed_after(&host, since);
        println!("last session ended to route gone: {:.2} ms", took.as_secs_f64() * 1e3);
        host.end(Ending::Stop { text: String::new() }).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn a_restart_keeps_the_route_and_a_stop_takes_it() {
    in_lab(async |switches| {
        let first = Speaker::start(host()).await.unwrap();
        for n in 0..2 {
            switches.start(n, switch(n, false)).await;
            until_established(&first, ["tor0", "tor1"][n]).await;
            switches.tell(n, DEFAULTS).await;
        }
        until(&first, |fib| next_hops(fib) == [2, 2]).await;
        let before = (ours("-4"), ours("-6"));
        first.end(Ending::Restart { text: String::new() }).await;
        assert_eq!((ours("-4"), ours("-6")), before, "nothing changes with the process");
        // One switch tells another story meanwhile.
        switches.tell(1, &["0.0.0.0/0"]).await;
        let second = Speaker::start(host()).await.unwrap();
        until(&second, |fib| !fib.is_adopting && fib.adopted == 4).await;
        until(&second, |fib| next_hops(fib) == [2, 1]).await;
        let fib = second.status().borrow().fib.clone().unwrap();
        assert_eq!((fib.purged, fib.mended, fib.problem.as_ref()), (1, 0, None), "{fib:?}");
        assert_eq!(ours("-4"), before.0);
        let since = Instant::now();
        second.end(Ending::Stop { text: "maintenance".into() }).await;
        println!("stop with two sessions and three next hops: {:.2} ms", since.elapsed().as_secs_f64() * 1e3);
        assert_eq!((ours("-4"), ours("-6")), (String::new(), String::new()));
    });
}

#[test]
#[ignore = "needs root and netns"]
fn a_switch_that_restarts_keeps_its_traffic_while_no_other_is_fresh() {
    in_lab(async |switches| {
        let host = Speaker::start(host()).await.unwrap();
        switches.start(0, switch(0, false)).await;
        until_established(&host, "tor0").await;
        switches.tell(0, DEFAULTS).await;
        until(&host, |fib| next_hops(fib) == [1, 1]).await;
        let changed = |host: &SpeakerHandle| {
            let fib = host.status().borrow().fib.clone().unwrap();
            fib.families.values().map(|family| (family.since, family.changed)).collect::<Vec<_>>()
        };
        let before = changed(&host);
        let stale = |host: &SpeakerHandle| {
            let status = host.status();
            let status = status.borrow();
            status.peers["tor0"].adj_rib_in.iter().filter(|route| route.is_stale).count()
        };
        switches.order(|done| Order::Restart(0, done)).await;
        let mut status = host.status();
        let lost = status.wait_for(|status| status.peers["tor0"].state != PeerState::Established);
        tokio::time::timeout(PATIENCE, lost).await.unwrap().unwrap();
        assert_eq!(stale(&host), 2);
        assert_eq!(next_hops(host.status().borrow().fib.as_ref().unwrap()), [1, 1]);
        // It is back and tells the same: nothing has changed in the table all the while.
        switches.start(0, switch(0, true)).await;
        switches.tell(0, DEFAULTS).await;
        let fresh = status.wait_for(|status| {
            let routes = &status.peers["tor0"].adj_rib_in;
            routes.len() == 2 && routes.iter().all(|route| !route.is_stale)
        });
        tokio::time::timeout(PATIENCE, fresh).await.unwrap().unwrap();
        assert_eq!(changed(&host), before, "the table was touched");
        // With a fresh one beside it a stale one is not used.
        switches.start(1, switch(1, false)).await;
        until_established(&host, "tor1").await;
        switches.tell(1, DEFAULTS).await;
        until(&host, |fib| next_hops(fib) == [2, 2]).await;
        switches.order(|done| Order::Restart(0, done)).await;
        until(&host, |fib| next_hops(fib) == [1, 1]).await;
        assert!(ours("-4").contains("via 10.7.1.1 dev up1"), "{}", ours("-4"));
        // The fresh one goes: the stale one is better than nothing, until its time is over.
        switches.order(|done| Order::Stop(1, done)).await;
        let is_over = |fib: &FibStatus, gateway: &str| {
            let hops = fib.families.get(&Family::Ipv4Unicast).map(|family| &family.next_hops);
            hops.is_some_and(|hops| hops.iter().all(|hop| hop.next_hop.gateway.to_string() == gateway))
        };
        until(&host, |fib| next_hops(fib) == [1, 1] && is_over(fib, "10.7.0.1")).await;
        until(&host, |fib| next_hops(fib) == [0, 0]).await;
        assert_eq!(stale(&host), 0);
        host.end(Ending::Stop { text: String::new() }).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn ipv4_packets_leave_over_unnumbered_links() {
    const SERVER: &str = "198.51.100.1:7007";
    in_lab(async |switches| {
        for n in 0..2 {
            ip(&format!("addr flush dev up{n} scope global"));
            switches.ip(&format!("addr flush dev far{n} scope global"));
        }
        ip("addr add 192.0.2.1/32 dev lo");
        switches.ip("addr add 198.51.100.1/32 dev lo");
        let back = "nexthop via inet6 fe80::2 dev far0 nexthop via inet6 fe80::2 dev far1";
        switches.ip(&format!("route add 192.0.2.1/32 {back}"));
        switches.order(|done| Order::Echo(SERVER.parse().unwrap(), done)).await;
        let link = |name: &str, interface: &str, asn| PeerConfig {
            import_default: Families::BOTH,
            connect_retry: Duration::from_secs(1),
            ..PeerConfig::unnumbered(name, interface, RemoteAs::Exact(asn))
        };
        let listen: Vec<SocketAddr> = vec!["[::]:179".parse().unwrap()];
        let of_switch = vec![link("host0", "far0", 65010), link("host1", "far1", 65010)];
        switches.start(0, speaker(65000, listen.clone(), of_switch)).await;
        let peers = vec![link("tor0", "up0", 65000), link("tor1", "up1", 65000)];
        let host = SpeakerConfig { fib: Some(FibConfig::default()), ..speaker(65010, listen, peers) };
        let since = Instant::now();
        let host = Speaker::start(host).await.unwrap();
        until_established(&host, "tor0").await;
        until_established(&host, "tor1").await;
        println!("two unnumbered sessions up: {:.0} ms", since.elapsed().as_secs_f64() * 1e3);
        let since = switches.tell(0, DEFAULTS).await;
        until(&host, |fib| next_hops(fib) == [2, 2]).await;
        println!("UPDATE to both routes: {:.2} ms", changed_after(&host, since).as_secs_f64() * 1e3);
        let (v4, v6) = (ours("-4"), ours("-6"));
        for n in 0..2 {
            assert!(v4.contains(&format!("nexthop via inet6 fe80::1 dev up{n}")), "{v4}");
            assert!(v6.contains(&format!("via fe80::1 dev up{n}")), "{v6}");
        }
        let answered = || async {
            let socket = tokio::net::UdpSocket::bind("192.0.2.1:0").await.unwrap();
            socket.send_to(b"hello", SERVER).await.unwrap();
            let mut buffer = [0; 64];
            let answer =
                tokio::time::timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(&buffer[..answer.0], b"hello");
        };
        answered().await;
        // One link goes: its next hop goes with the session, the other carries on.
        ip("link set up0 down");
        until(&host, |fib| next_hops(fib) == [1, 1]).await;
        switches.ip("route replace 192.0.2.1/32 via inet6 fe80::2 dev far1");
        assert!(ours("-4").contains("via inet6 fe80::1 dev up1"), "{}", ours("-4"));
        answered().await;
        host.end(Ending::Stop { text: String::new() }).await;
        assert_eq!((ours("-4"), ours("-6")), (String::new(), String::new()));
    });
}
