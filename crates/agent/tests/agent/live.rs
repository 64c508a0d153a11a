// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The whole agent on a live link: frames put on one end of a veth pair, a UDP socket on the VIP behind the other.
//!
//! ```text
//!  raw socket ─► wire0 ═════ veth ═════ host0 ─► weir agent (XDP) ─► stack ─► UDP socket on the VIP (lo)
//! ```

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use weir_agent::{AgentConfig, AgentError, Kernel};
use weir_dataplane::kernel::egress::Hook;

use crate::packet::{ethernet, ip, sum, tunnel, udp};
use crate::setup::{APPLIANCE, CLIENT, HOST, VIP, addr, pin_dir};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing must arrive to count as nothing.
const SILENCE: Duration = Duration::from_millis(200);
const METRICS: &str = "127.0.0.1:9181";

fn run(line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A network namespace of this thread's own with the picture above in it.
fn network() {
    // SAFETY: `unshare` takes no pointers; it gives this test's own thread an empty network namespace.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "needs root");
    for line in [
        "ip link set lo up",
        "ip link add host0 address 02:00:00:00:00:01 type veth peer name wire0 address 02:00:00:00:00:02",
        "ip link set host0 up",
        "ip link set wire0 up",
        &format!("ip addr add {}/24 dev host0", HOST[0]),
        &format!("ip addr add {}/64 dev host0 nodad", HOST[1]),
        &format!("ip addr add {}/32 dev lo", VIP[0]),
        &format!("ip addr add {}/128 dev lo", VIP[1]),
        // The way back to the client, so that no source check objects.
        "ip route add 203.0.113.0/24 dev host0",
        "ip route add 2001:db8:9::/64 dev host0",
    ] {
        run(line);
    }
}

/// Puts a frame on the wire.
fn send(frame: &[u8]) {
    // SAFETY: plain system calls; the address lives through the call and its length is given; the descriptor is closed.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        assert!(socket >= 0, "{}", std::io::Error::last_os_error());
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_ifindex = i32::try_from(libc::if_nametoindex(c"wire0".as_ptr())).unwrap();
        let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
        let sent =
            libc::sendto(socket, frame.as_ptr().cast(), frame.len(), 0, (&raw const address).cast(), length);
        assert_eq!(usize::try_from(sent).ok(), Some(frame.len()), "{}", std::io::Error::last_os_error());
        libc::close(socket);
    }
}

/// What a client sent through an appliance.
fn through_appliance(family: usize, host: IpAddr, text: &str) -> Vec<u8> {
    let inner = udp(addr(CLIENT[family]), addr(VIP[family]), 0, 5353, text.as_bytes());
    ethernet(&tunnel(addr(APPLIANCE[family]), host, 0, &inner))
}

struct Service(UdpSocket);

impl Service {
    fn on(family: usize) -> Self {
        let socket = UdpSocket::bind(SocketAddr::new(addr(VIP[family]), 5353)).unwrap();
        Self(socket)
    }

    fn heard(&self, patience: Duration) -> Option<String> {
        let mut buffer = [0; 9_000];
        self.0.set_read_timeout(Some(patience)).unwrap();
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }
}

fn config(pins: &Path) -> AgentConfig {
    let text = format!(
        r#"
        interfaces = {{ host0 = {{ xdp = "native" }} }}
        appliances = ["192.0.2.0/24", "2001:db8:ffff::/48"]
        vips = ["198.51.100.0/24", "2001:db8:100::/48"]
        metrics_listen = "{METRICS}"
        pin_dir = "{}"
        "#,
        pins.display()
    );
    AgentConfig::parse(&text, Path::new("live")).unwrap()
}

fn scrape() -> Option<String> {
    let mut stream = TcpStream::connect(METRICS).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then_some(text)
}

/// The value of one line of the metrics.
fn metric(line: &str) -> Option<f64> {
    let text = scrape()?;
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    found.map(|value| value.parse().unwrap())
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + weir_lab::fair(PATIENCE);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The agent in a thread of its own in this thread's network namespace.
struct Agent {
    stop: oneshot::Sender<bool>,
    thread: std::thread::JoinHandle<Option<Result<(), AgentError>>>,
}

impl Agent {
    fn start(config: AgentConfig) -> Self {
        let (stop, stopped) = oneshot::channel();
        // A new thread is in the network namespace of the one that starts it.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (terminate, terminated) = oneshot::channel::<()>();
                tokio::select! {
                    ended = weir_agent::run(config, async { terminated.await.unwrap_or(()) }) => Some(ended),
                    // Dropped in the middle, as a kill would: nothing is cleaned up.
                    polite = stopped => {
                        drop(terminate);
                        assert_eq!(polite, Ok(false));
                        None
                    }
                }
            })
        });
        until("the agent serves metrics", || scrape().is_some());
        Self { stop, thread }
    }

    fn kill(self) {
        self.stop.send(false).unwrap();
        assert!(self.thread.join().unwrap().is_none());
    }
}

/// As [`Agent`], ended by its shutdown future.
fn start_polite(
    config: AgentConfig,
) -> (oneshot::Sender<()>, std::thread::JoinHandle<Result<(), AgentError>>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(weir_agent::run(config, async { stopped.await.unwrap_or(()) }))
    });
    until("the agent serves metrics", || scrape().is_some());
    (stop, thread)
}

fn attached() -> bool {
    run("ip -details link show host0").contains("xdp")
}

#[test]
#[ignore = "needs root and netns"]
fn packets_reach_the_service_also_after_a_kill_and_stop_at_a_stop() {
    network();
    let pins: PathBuf = pin_dir("live");
    let services = [Service::on(0), Service::on(1)];
    let decapsulated = "weir_agent_packets_total{verdict=\"decapsulated\"}";

    let agent = Agent::start(config(&pins));
    assert!(attached());
    for family in [0, 1] {
        send(&through_appliance(family, addr(HOST[family]), "first"));
        assert_eq!(services[family].heard(PATIENCE).as_deref(), Some("first"), "family {family}");
    }
    assert_eq!(metric(decapsulated), Some(2.0));
    assert_eq!(metric("weir_agent_vip_packets_total{vip=\"198.51.100.0/24\"}"), Some(1.0));

    // An address that the host does not have: not ours, until it is added.
    let later = addr("10.1.0.77");
    send(&through_appliance(0, later, "too early"));
    until("counted", || metric("weir_agent_packets_total{verdict=\"pass_foreign_address\"}") == Some(1.0));
    let known = metric("weir_agent_addresses").unwrap();
    run("ip addr add 10.1.0.77/24 dev host0");
    until("the new address is known", || metric("weir_agent_addresses") == Some(known + 1.0));
    send(&through_appliance(0, later, "in time"));
    assert_eq!(services[0].heard(PATIENCE).as_deref(), Some("in time"));

    agent.kill();
    assert!(attached() && scrape().is_none());
    send(&through_appliance(0, addr(HOST[0]), "nobody watches"));
    assert_eq!(services[0].heard(PATIENCE).as_deref(), Some("nobody watches"));

    let (stop, thread) = start_polite(config(&pins));
    assert_eq!(metric(decapsulated), Some(4.0), "the former agent's counters go on");
    send(&through_appliance(1, addr(HOST[1]), "adopted"));
    assert_eq!(services[1].heard(PATIENCE).as_deref(), Some("adopted"));
    stop.send(()).unwrap();
    thread.join().unwrap().unwrap();
    assert!(!attached() && !pins.join("agent").exists());
    send(&through_appliance(0, addr(HOST[0]), "stopped"));
    assert_eq!(services[0].heard(SILENCE), None);
}

#[test]
#[ignore = "needs root and netns"]
fn start_that_fails_leaves_nothing_attached() {
    network();
    let pins = pin_dir("failing");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = |config: AgentConfig| runtime.block_on(weir_agent::run(config, std::future::pending()));

    let mut unknown = config(&pins);
    unknown.interfaces.insert("nosuch0".to_owned(), weir_agent::config::XdpMode::Native);
    let error = start(unknown).unwrap_err().to_string();
    assert!(error.contains("`nosuch0` does not exist"), "{error}");
    assert!(!attached() && !pins.join("agent").exists());

    let taken = std::net::TcpListener::bind(METRICS).unwrap();
    let error = start(config(&pins)).unwrap_err().to_string();
    assert_eq!(error, format!("serve metrics on {METRICS}"));
    drop(taken);

    // Too large for XDP without fragments on the veth's other end: host0 would take it, lo cannot run native XDP.
    let mut refused = config(&pins);
    refused.interfaces.insert("lo".to_owned(), weir_agent::config::XdpMode::Native);
    let error = start(refused).unwrap_err().to_string();
    assert!(error.contains("attach to `lo` in native mode"), "{error}");
    assert!(!attached() && !pins.join("agent").exists());
}

#[test]
#[ignore = "needs root and netns"]
fn jumbo_frames_reach_the_service() {
    network();
    for end in ["host0", "wire0"] {
        run(&format!("ip link set {end} mtu 9000"));
    }
    let services = [Service::on(0), Service::on(1)];
    let agent = Agent::start(config(&pin_dir("jumbo")));
    for (family, headers) in [(0, 20 + 20 + 8), (1, 40 + 40 + 8)] {
        let text: String = ('a'..='z').cycle().take(9_000 - headers).collect();
        send(&through_appliance(family, addr(HOST[family]), &text));
        assert_eq!(services[family].heard(PATIENCE).as_deref(), Some(&*text), "family {family}");
    }
    assert_eq!(metric("weir_agent_packets_total{verdict=\"decapsulated\"}"), Some(2.0));
    assert_eq!(metric("weir_agent_bytes_total{verdict=\"decapsulated\"}"), Some(2.0 * 9_014.0));
    agent.kill();
}

/// A SYN from the client to port 80 of the VIP, through an appliance, announcing an MSS of 1,460.
fn syn(family: usize, port: u16) -> Vec<u8> {
    let port = port.to_be_bytes();
    let mut segment = vec![port[0], port[1], 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0];
    segment.extend([2, 4, 0x05, 0xb4]);
    let (client, vip) = (addr(CLIENT[family]), addr(VIP[family]));
    let mut pseudo = match (client, vip) {
        (IpAddr::V4(s), IpAddr::V4(d)) => [s.octets(), d.octets()].concat(),
        (IpAddr::V6(s), IpAddr::V6(d)) => [s.octets(), d.octets()].concat(),
        _ => panic!("two families"),
    };
    pseudo.extend([0, 6, 0, 24]);
    pseudo.extend(&segment);
    let check = (!sum(&pseudo)).to_be_bytes();
    segment[16..18].copy_from_slice(&check);
    ethernet(&tunnel(addr(APPLIANCE[family]), addr(HOST[family]), 0, &ip(client, vip, 0, 6, &segment)))
}

/// What leaves the host, as the other end of the wire sees it.
struct Wire(std::os::fd::OwnedFd);

impl Wire {
    fn new() -> Self {
        use std::os::fd::{AsRawFd as _, FromRawFd as _};
        const ALL: i32 = 0x0300;
        // SAFETY: plain system calls; the address lives through the call and its length is given; the descriptor is ours.
        unsafe {
            let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, ALL);
            assert!(socket >= 0, "{}", std::io::Error::last_os_error());
            let socket = std::os::fd::OwnedFd::from_raw_fd(socket);
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
            address.sll_protocol = u16::try_from(ALL).unwrap();
            address.sll_ifindex = i32::try_from(libc::if_nametoindex(c"wire0".as_ptr())).unwrap();
            let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
            assert_eq!(libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length), 0);
            Self(socket)
        }
    }

    /// The MSS of the next SYN-ACK to `port` of the client, whose checksum must be right.
    fn mss(&self, family: usize, port: u16) -> u16 {
        use std::os::fd::AsRawFd as _;
        let l4 = 14 + [20, 40][family];
        let mut found = None;
        until("a SYN-ACK", || {
            let mut frame = [0_u8; 2_000];
            // SAFETY: the buffer lives through the call and its length is given.
            let got = unsafe { libc::recv(self.0.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
            let Some(frame) = usize::try_from(got).ok().and_then(|got| frame.get(..got)) else {
                return false;
            };
            if frame.len() < l4 + 24 || frame[l4 + 2..l4 + 4] != port.to_be_bytes() || frame[l4 + 13] != 0x12
            {
                return false;
            }
            let addresses = if family == 0 { 26..34 } else { 22..54 };
            let length = u16::try_from(frame.len() - l4).unwrap().to_be_bytes();
            let pseudo = [&frame[addresses], &[0, 6], &length, &frame[l4..]].concat();
            assert_eq!(sum(&pseudo), 0xffff, "the checksum is right: {frame:02x?}");
            assert_eq!(frame[l4 + 20..l4 + 22], [2, 4], "MSS comes first");
            found = Some(u16::from_be_bytes([frame[l4 + 22], frame[l4 + 23]]));
            true
        });
        found.unwrap()
    }
}

/// [`network`] with a TCP service on each VIP whose SYN-ACKs reach the wire.
fn answering_network() -> [std::net::TcpListener; 2] {
    network();
    // The neighbours of the way back, and a device that completes no checksum for the test to look at.
    run("ip neigh add 203.0.113.9 lladdr 02:00:00:00:00:02 dev host0");
    run("ip -6 neigh add 2001:db8:9::9 lladdr 02:00:00:00:00:02 dev host0");
    run("ethtool -K host0 tx off");
    [0, 1].map(|family| std::net::TcpListener::bind(SocketAddr::new(addr(VIP[family]), 80)).unwrap())
}

fn clamping(pins: &Path) -> AgentConfig {
    let mss = Some(weir_agent::config::Mss { path_mtu: 1_500, overhead: 56 });
    AgentConfig { mss, ..config(pins) }
}

#[test]
#[ignore = "needs root and netns"]
fn syn_acks_of_vips_announce_what_fits_also_after_a_kill() {
    let _listeners = answering_network();
    let pins = pin_dir("mss");
    let clamping = || clamping(&pins);
    let wire = Wire::new();
    let announced = |family: usize, port: u16| {
        send(&syn(family, port));
        wire.mss(family, port)
    };
    let clamped = "weir_agent_mss_packets_total{result=\"clamped\"}";

    let agent = Agent::start(clamping());
    assert_eq!((announced(0, 4_001), announced(1, 4_002)), (1_404, 1_384));
    // At least: nobody acknowledges, so after a second the kernel sends each SYN-ACK again.
    let counted = |line: &str, least: f64| metric(line).is_some_and(|count| count >= least);
    until("counted", || counted(clamped, 2.0));
    agent.kill();
    assert_eq!(announced(0, 4_003), 1_404, "goes on without a process");

    let agent = Agent::start(clamping());
    until("counted on", || counted(clamped, 3.0));
    assert_eq!(announced(1, 4_004), 1_384, "adopted");
    agent.kill();

    // Not in the document any more.
    let agent = Agent::start(config(&pins));
    assert_eq!((announced(0, 4_005), announced(1, 4_006)), (1_460, 1_440));
    agent.kill();

    // What fits is not raised.
    let wide =
        AgentConfig { mss: Some(weir_agent::config::Mss { path_mtu: 9_000, overhead: 56 }), ..config(&pins) };
    let (stop, thread) = start_polite(wide);
    assert_eq!(announced(0, 4_007), 1_460);
    until("counted", || counted("weir_agent_mss_packets_total{result=\"fits\"}", 1.0));
    stop.send(()).unwrap();
    thread.join().unwrap().unwrap();
    assert!(!pins.join("agent").exists(), "nothing is left");
}

/// In the environment of the process that is to be killed: where it pins.
const TO_BE_KILLED: &str = "WEIR_TEST_TO_BE_KILLED";

/// Decapsulates, lowers the MSS by a filter as kernels without links do, and waits until its standard input ends.
fn be_killed(pins: &Path) {
    let config = clamping(pins);
    let mut kernel = Kernel::open(&config).unwrap();
    kernel.set_prefixes(&config.appliances, &config.vips).unwrap();
    kernel.set_addresses(&HOST.map(addr).into()).unwrap();
    kernel.attach(&config.interfaces).unwrap();
    kernel.set_mss(config.mss, config.interfaces.keys(), Some(Hook::Clsact)).unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// How many filters are on the egress of host0.
fn filters() -> usize {
    run("tc filter show dev host0 egress").matches("handle 0x5752").count()
}

#[test]
#[ignore = "needs root and netns"]
fn a_filter_that_a_killed_agent_left_is_taken_over_and_taken_off() {
    if let Some(pins) = std::env::var_os(TO_BE_KILLED) {
        return be_killed(Path::new(&pins));
    }
    let _listeners = answering_network();
    let pins = pin_dir("killed");
    let wire = Wire::new();
    let announced = |family: usize, port: u16| {
        send(&syn(family, port));
        wire.mss(family, port)
    };
    let leave_filter = || {
        let name = "live::a_filter_that_a_killed_agent_left_is_taken_over_and_taken_off";
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", name])
            .env(TO_BE_KILLED, &pins)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        until("the filter is there", || filters() == 1);
        until("its pin is there", || {
            let folders = std::fs::read_dir(pins.join("agent")).unwrap();
            folders.flatten().any(|folder| {
                let pins = std::fs::read_dir(folder.path()).unwrap();
                pins.flatten().any(|pin| pin.file_name().to_string_lossy().starts_with("mssfilter_"))
            })
        });
        process.kill().unwrap();
        assert!(!process.wait().unwrap().success(), "it was killed");
        assert_eq!(filters(), 1, "a filter needs no process");
    };

    leave_filter();
    assert_eq!((announced(0, 5_001), announced(1, 5_002)), (1_404, 1_384), "goes on without a process");

    // The next start finds the queueing discipline and the filter there.
    let (stop, thread) = start_polite(clamping(&pins));
    assert_eq!(filters(), 1, "replaced, not added");
    assert_eq!((announced(0, 5_003), announced(1, 5_004)), (1_404, 1_384), "taken over");
    stop.send(()).unwrap();
    thread.join().unwrap().unwrap();
    assert_eq!(filters(), 0, "a stop takes it off");
    assert!(!pins.join("agent").exists(), "nothing is left");

    // With the queueing discipline of somebody else there, and without `mss` in the document of the next start.
    leave_filter();
    let agent = Agent::start(config(&pins));
    assert_eq!(filters(), 0, "not in the document any more");
    assert_eq!((announced(0, 5_005), announced(1, 5_006)), (1_460, 1_440));
    agent.kill();
}
