// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An appliance and two backends with the same VIPs, each in a network namespace of its own.
//!
//! ```text
//!   thread's namespace                               b1's namespace
//!   lo  192.0.2.1, 2001:db8:ffff::1                  lo  198.51.100.10, 2001:db8:100::10 (the VIPs)
//!   up1 10.1.1.254, 2001:db8:1::fe ═════ veth ═════ eth0 10.1.1.1, 2001:db8:1::1, agent's program
//!   up2 10.1.2.254, 2001:db8:2::fe ═════ veth ═════ eth0 of b2: 10.1.2.1, 2001:db8:2::1
//! ```
//!
//! On each VIP, port 80, a backend answers a whole request with its name and the request's length.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, PerCpuArray};
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use aya::{Ebpf, EbpfLoader};
use socket2::{Domain, Socket, Type};
use weir_dataplane::next_hop::NextHop;
use weir_dataplane::object;
use weir_dataplane_core::bytes::{Address, PacketCounter};
use weir_dataplane_core::decap::{AgentVerdict, names};
use weir_dataplane_core::names::PROGRAM_AGENT;

use crate::support::bed::{SOURCE_V4, SOURCE_V6, State, hop};
use weir_dataplane::forwarding::Protocol;

pub const VIP4: &str = "198.51.100.10";
pub const VIP6: &str = "2001:db8:100::10";

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait of one check: on one machine an answer takes microseconds.
const CHECK_TIMEOUT: Duration = Duration::from_millis(700);

pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `ip` in the namespace of the calling thread.
pub fn ip(line: &str) -> String {
    run(Command::new("ip").args(line.split(' ')))
}

/// Runs `test` in a namespace of its own, on a thread of its own: it leaves no other test there.
pub fn in_own_namespace(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: `unshare` takes no pointers; it gives this thread an empty network namespace.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "needs root");
            ip("link set lo up");
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

pub struct Lab {
    pub b1: Backend,
    pub b2: Backend,
}

pub struct Backend {
    holder: Child,
    agent: Ebpf,
}

impl Lab {
    /// In the namespace of the calling thread.
    pub fn new() -> Self {
        no_duplicate_address_detection();
        ip(&format!("addr add {SOURCE_V4}/32 dev lo"));
        ip(&format!("addr add {SOURCE_V6}/128 dev lo nodad"));
        let lab = Self { b1: Backend::new(1), b2: Backend::new(2) };
        // A way back to the VIPs, so that no source check objects to the answers.
        ip("route add default via 10.1.1.1 src 192.0.2.1");
        ip("-6 route add default via 2001:db8:1::1 src 2001:db8:ffff::1");
        lab
    }

    /// Pools of both backends for both families. Next hops name the interface and nothing else that is true.
    pub fn state() -> State {
        let by = |number: u32| {
            let name = format!("up{number}");
            NextHop { ifindex: weir_dataplane::kernel::link::ifindex(&name).unwrap(), ..hop(1500) }
        };
        State::default()
            .pool("web4", &[("b1", "10.1.1.1"), ("b2", "10.1.2.1")])
            .pool("web6", &[("b1", "2001:db8:1::1"), ("b2", "2001:db8:2::1")])
            .service("http4", VIP4, Protocol::Tcp, 80, "web4")
            .service("http6", VIP6, Protocol::Tcp, 80, "web6")
            .next_hop("10.1.1.1", Some(by(1)))
            .next_hop("10.1.2.1", Some(by(2)))
            .next_hop("2001:db8:1::1", Some(by(1)))
            .next_hop("2001:db8:2::1", Some(by(2)))
    }
}

/// Puts frames onto the link that the interface is one end of.
pub fn send(interface: &str, frames: &[impl AsRef<[u8]>]) {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
    // SAFETY: all zeros is an address of this kind.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = weir_dataplane::kernel::link::ifindex(interface).unwrap() as i32;
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    for frame in frames.iter().map(AsRef::as_ref) {
        // SAFETY: plain system call; frame and address live through it and their lengths are given.
        let sent = unsafe {
            let (octets, at) = (frame.as_ptr().cast(), (&raw const to).cast());
            libc::sendto(socket.as_raw_fd(), octets, frame.len(), 0, at, size)
        };
        assert_eq!(sent, frame.len() as isize, "{}", std::io::Error::last_os_error());
    }
}

impl Backend {
    fn new(number: u8) -> Self {
        // The namespace lives as long as this process, which waits for the end of its input.
        let holder = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = holder.id().to_string();
        let here = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let deadline = Instant::now() + PATIENCE;
        while std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap() == here {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        within(&holder, no_duplicate_address_detection);
        ip(&format!("link add up{number} type veth peer name eth0 netns {pid}"));
        ip(&format!("addr add 10.1.{number}.254/24 dev up{number}"));
        ip(&format!("addr add 2001:db8:{number}::fe/64 dev up{number} nodad"));
        ip(&format!("link set up{number} up"));
        let inside = |line: &str| run(nsenter(&holder).arg("ip").args(line.split(' ')));
        for line in [
            "link set lo up",
            "link set eth0 up",
            &format!("addr add 10.1.{number}.1/24 dev eth0"),
            &format!("addr add 2001:db8:{number}::1/64 dev eth0 nodad"),
            &format!("addr add {VIP4}/32 dev lo"),
            &format!("addr add {VIP6}/128 dev lo nodad"),
            &format!("route add default via 10.1.{number}.254"),
            &format!("-6 route add default via 2001:db8:{number}::fe"),
        ] {
            inside(line);
        }
        let own = [format!("10.1.{number}.1"), format!("2001:db8:{number}::1")];
        let own = own.map(|address| address.parse().unwrap());
        let agent = within(&holder, || {
            for vip in [VIP4, VIP6] {
                serve(format!("b{number}"), vip);
            }
            agent(&own)
        });
        Self { holder, agent }
    }

    /// Sends frames by its interface to the appliance's, from the namespace of the backend.
    pub fn send(&self, frames: &[Vec<u8>]) {
        within(&self.holder, || send("eth0", frames));
    }

    /// `ip` on the backend.
    pub fn ip(&self, line: &str) -> String {
        run(nsenter(&self.holder).arg("ip").args(line.split(' ')))
    }

    /// Packets that its agent took out of a tunnel.
    pub fn decapsulated(&self) -> u64 {
        let verdicts =
            PerCpuArray::<_, PacketCounter>::try_from(self.agent.map(names::MAP_VERDICTS).unwrap()).unwrap();
        verdicts.get(&(AgentVerdict::Decapsulated as u32), 0).unwrap().iter().map(|cpu| cpu.packets).sum()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        self.holder.wait().unwrap();
    }
}

/// For interfaces made from now on in the namespace of the calling thread: with it, the first seconds of their link-local
/// addresses, and so of neighbour discovery, are lost.
fn no_duplicate_address_detection() {
    std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
}

fn nsenter(holder: &Child) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--net", "--target", &holder.id().to_string()]);
    command
}

/// Runs `inside` in the namespace of `holder`.
fn within<T: Send>(holder: &Child, inside: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/proc/{}/ns/net", holder.id())).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: a descriptor that is open for the call; this thread alone changes its namespace.
            assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
            inside()
        });
        thread.join().unwrap()
    })
}

/// Answers on `vip`, port 80, in the namespace of the calling thread, until the process ends.
fn serve(name: String, vip: &str) {
    let vip: IpAddr = vip.parse().unwrap();
    let listener = TcpListener::bind(SocketAddr::new(vip, 80)).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { continue };
            let mut request = Vec::new();
            // A check that gives up half-way is of no interest.
            if connection.read_to_end(&mut request).is_ok() {
                drop(connection.write_all(format!("{name} {}", request.len()).as_bytes()));
            }
        }
    });
}

/// The agent's program on `eth0` of the calling thread's namespace.
fn agent(own: &[IpAddr]) -> Ebpf {
    let mut object = EbpfLoader::new().load(object::AGENT).unwrap();
    let words = |address: &IpAddr| Address::from(*address).0;
    let mut own_addresses: HashMap<_, [u32; 4], u32> =
        object.map_mut(names::MAP_ADDRESSES).unwrap().try_into().unwrap();
    for address in own {
        own_addresses.insert(words(address), 1, 0).unwrap();
    }
    for (map, addresses) in [(names::MAP_APPLIANCES, [SOURCE_V4, SOURCE_V6]), (names::MAP_VIPS, [VIP4, VIP6])]
    {
        let mut prefixes: LpmTrie<_, [u32; 4], u32> = object.map_mut(map).unwrap().try_into().unwrap();
        for address in addresses {
            prefixes.insert(&Key::new(128, words(&address.parse().unwrap())), 1, 0).unwrap();
        }
    }
    let program: &mut Xdp = object.program_mut(PROGRAM_AGENT).unwrap().try_into().unwrap();
    program.load().unwrap();
    program.attach("eth0", XdpMode::Driver).unwrap();
    object
}

/// Connects to port 80 of `vip` with `mark`, sends `octets` octets, and gives the answer.
pub fn ask(vip: &str, mark: u32, octets: usize) -> std::io::Result<String> {
    let vip: IpAddr = vip.parse().unwrap();
    let source: IpAddr = if vip.is_ipv4() { SOURCE_V4 } else { SOURCE_V6 }.parse().unwrap();
    let domain = if vip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_mark(mark)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&SocketAddr::new(vip, 80).into(), CHECK_TIMEOUT)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(CHECK_TIMEOUT))?;
    stream.write_all(&vec![b'x'; octets])?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Hears every frame that leaves by any interface of the namespace it was made in.
pub struct Sniffer(Socket);

impl Sniffer {
    pub fn new() -> Self {
        const ALL: i32 = (libc::ETH_P_ALL as u16).to_be() as i32;
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(ALL.into())).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// IP packets of the frames that left since the last call, with the interface's index.
    pub fn sent(&mut self) -> Vec<(u32, Vec<u8>)> {
        let frames = self.frames().into_iter();
        frames.map(|(by, frame)| (by, frame[14..].to_vec())).collect()
    }

    /// The same frames from their Ethernet header on.
    pub fn frames(&mut self) -> Vec<(u32, Vec<u8>)> {
        let mut sent = Vec::new();
        let mut frame = vec![0_u8; 65_536];
        loop {
            // SAFETY: plain system call; buffer and address live through it and their lengths are given.
            let (length, address) = unsafe {
                let mut address: libc::sockaddr_ll = std::mem::zeroed();
                let mut size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                let (to, at) = (frame.as_mut_ptr().cast(), (&raw mut address).cast());
                (libc::recvfrom(self.0.as_raw_fd(), to, frame.len(), 0, at, &raw mut size), address)
            };
            let Ok(length) = usize::try_from(length) else { return sent };
            if address.sll_pkttype == libc::PACKET_OUTGOING && length > 14 {
                sent.push((address.sll_ifindex as u32, frame[..length].to_vec()));
            }
        }
    }
}
