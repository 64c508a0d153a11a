// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Copies of ICMP errors on real (virtual) interfaces: frames come in by an uplink, XDP hands over, copies leave by the uplinks.
//! What stays of the copying program over the life of processes, documents and interfaces.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use weir_dataplane::forwarding::{GueVariant, Mode as Carriage};
use weir_dataplane::kernel::egress::Hook;
use weir_dataplane::kernel::link::Mode;
use weir_dataplane::kernel::probe::{Feature, Report};
use weir_dataplane::{Dataplane, Uplink};
use weir_dataplane_core::{ABI_VERSION, Verdict};

use super::check_lab::{Lab, Sniffer, VIP4, VIP6, in_own_namespace, ip, run};
use crate::support::bed::{PinDir, State, capacity, config};
use crate::support::build::{ACK, Frame};
use crate::support::message::{Message, outer};

const PATIENCE: Duration = Duration::from_secs(10);

fn open(pins: &PinDir, mode: Mode, hook: Hook) -> Dataplane {
    let mut config = config(pins, capacity());
    config.uplinks = ["up1", "up2"].map(|name| Uplink { name: name.to_owned(), mode }).to_vec();
    let mut dataplane = Dataplane::open(config).unwrap_or_else(|error| panic!("{error:?}"));
    dataplane.clone_by(hook);
    dataplane
}

/// Frames with errors about flows that nobody knows, to the MAC address of `up1`.
fn errors(port: u16) -> Vec<Vec<u8>> {
    let link = ip("-o link show up1");
    let mac = link.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let mac: Vec<u8> = mac.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
    let quote4 = Frame::tcp(VIP4, 80, "203.0.113.7", port, ACK).ip();
    let quote6 = Frame::tcp(VIP6, 80, "2001:db8:c::7", port, ACK).ip();
    let messages = [
        Message::new("192.0.2.77", VIP4, 3, 1, 0, &quote4[..28]),
        Message::new("2001:db8:77::1", VIP6, 1, 3, 0, &quote6[..48]),
    ];
    let to = <[u8; 6]>::try_from(mac).unwrap();
    messages.map(|message| message.with(|m| m.destination_mac = to).octets()).to_vec()
}

fn counted(dataplane: &Dataplane, verdict: Verdict) -> u64 {
    let counters = dataplane.counters().unwrap();
    counters.verdicts.iter().find(|counter| counter.verdict == verdict).unwrap().packets
}

/// Outer destinations of what left, of the tunnels of either family, until there are `count`; and that there were no more.
fn tunnels(sniffer: &mut Sniffer, count: usize) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while found.len() < count {
        assert!(Instant::now() < deadline, "only {found:?}");
        for (_, frame) in sniffer.frames() {
            let protocol = if frame[12..14] == [8, 0] { frame[23] } else { frame[20] };
            match (&frame[12..14], protocol) {
                ([8, 0], 4) | ([0x86, 0xdd], 41) => found.push(outer(&frame).0),
                // Not an error of the host's, nor one that it routed.
                ([8, 0], 1) => panic!("the host's stack had it: {frame:02x?}"),
                _ => {}
            }
        }
        std::thread::yield_now();
    }
    found.sort_unstable();
    found
}

/// Both backends have a copy of each error.
fn copies_arrive(lab: &Lab, dataplane: Option<&Dataplane>, port: u16) {
    let mut sniffer = Sniffer::new();
    let before = dataplane.map(|d| [Verdict::PassToClone, Verdict::ForwardIcmpCopy].map(|v| counted(d, v)));
    lab.b1.send(&errors(port));
    let wanted =
        ["10.1.1.1", "10.1.2.1", "2001:db8:1::1", "2001:db8:2::1"].map(|a| a.parse::<IpAddr>().unwrap());
    assert_eq!(tunnels(&mut sniffer, 4), wanted);
    if let (Some(dataplane), Some([handed, copies])) = (dataplane, before) {
        assert_eq!(counted(dataplane, Verdict::PassToClone) - handed, 2);
        assert_eq!(counted(dataplane, Verdict::ForwardIcmpCopy) - copies, 4);
    }
}

/// What is on the ingress of the uplinks, as `tc` and the pins say.
fn remains(pins: &PinDir) -> String {
    let mut remains = String::new();
    for name in ["up1", "up2"] {
        remains += &run(Command::new("tc").args(["filter", "show", "dev", name, "ingress"]));
    }
    for folder in std::fs::read_dir(pins.path()).into_iter().flatten() {
        for pin in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let name = pin.unwrap().file_name().into_string().unwrap();
            if name.starts_with("tcx_") || name.starts_with("filter_") {
                remains += &format!("{name}\n");
            }
        }
    }
    remains
}

fn has_links() -> bool {
    Report::of_this_kernel().has(Feature::Tcx)
}

/// A host that would route what it is given.
fn lab() -> Lab {
    let lab = Lab::new();
    for name in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/{name}"), "1").unwrap();
    }
    lab
}

fn life(mode: Mode, hook: Hook) {
    in_own_namespace(|| {
        let (pins, lab) = (PinDir::new(), lab());
        let mut first = open(&pins, mode, hook);
        Lab::state().apply(&mut first);
        assert!(!first.clones(), "nothing is attached yet");
        assert_eq!(remains(&pins), "");
        first.attach().unwrap();
        assert!(first.clones());
        copies_arrive(&lab, Some(&first), 40_000);
        // The document again: nothing changes.
        let before = remains(&pins);
        Lab::state().apply(&mut first);
        assert_eq!(remains(&pins), before);
        copies_arrive(&lab, Some(&first), 40_001);

        // Its process goes, and the copies go on; the next takes over.
        drop(first);
        copies_arrive(&lab, None, 40_002);
        let mut second = open(&pins, mode, hook);
        assert!(second.clones(), "from before");
        copies_arrive(&lab, Some(&second), 40_003);
        assert_eq!(Lab::state().apply(&mut second).writes, 0);
        assert!(second.clones());
        second.attach().unwrap();
        copies_arrive(&lab, Some(&second), 40_004);

        // With agents in both pools nobody needs it, and it is gone.
        let agents = |state: State, pool: &str| {
            let mode = Carriage::Gue { port: 6080, variant: GueVariant::Candidates };
            state.edit_pool(pool, |pool| pool.mode = mode)
        };
        agents(agents(Lab::state(), "web4"), "web6").apply(&mut second);
        assert!(!second.clones());
        assert_eq!(remains(&pins), "");
        Lab::state().apply(&mut second);
        copies_arrive(&lab, Some(&second), 40_005);

        // Somebody took it off: found with the next change.
        if hook == Hook::Tcx {
            std::fs::remove_file(pins.folder().join("tcx_up1")).unwrap();
            // The kernel lets go of it a little later, and does not take the program twice.
            let deadline = Instant::now() + PATIENCE;
            Lab::state().apply(&mut second);
            while !second.clones() {
                assert!(Instant::now() < deadline, "it did not come back");
                Lab::state().apply(&mut second);
            }
            copies_arrive(&lab, Some(&second), 40_006);
        }
        second.detach().unwrap();
        assert_eq!(remains(&pins), "");
        assert!(!pins.path().exists());
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn copies_live_on_by_link() {
    // Before Linux 6.6 there are no such links, and the next test is what is used.
    if has_links() {
        life(Mode::Native, Hook::Tcx);

        life(Mode::Generic, Hook::Tcx);
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn copies_live_on_by_filter() {
    life(Mode::Native, Hook::Clsact);
    life(Mode::Generic, Hook::Clsact);
}

/// Somebody takes it off, nothing else changes: one look later the copies go on.
fn comes_back(hook: Hook, take_off: impl Fn(&PinDir) + Send + Sync) {
    in_own_namespace(|| {
        let (pins, lab) = (PinDir::new(), lab());
        let mut dataplane = open(&pins, Mode::Native, hook);
        Lab::state().apply(&mut dataplane);
        dataplane.attach().unwrap();
        copies_arrive(&lab, Some(&dataplane), 40_000);
        dataplane.keep_clones();
        copies_arrive(&lab, Some(&dataplane), 40_001);
        let before = remains(&pins);

        take_off(&pins);
        assert_ne!(remains(&pins), before);
        let deadline = Instant::now() + PATIENCE;
        dataplane.keep_clones();
        // The kernel lets go of a link a little later than of its pin, and does not take the program twice.
        while !dataplane.clones() {
            assert!(Instant::now() < deadline, "it did not come back");
            dataplane.keep_clones();
        }
        copies_arrive(&lab, Some(&dataplane), 40_002);
        dataplane.detach().unwrap();
        assert_eq!(remains(&pins), "");
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn clones_taken_off_behind_our_back_come_back() {
    comes_back(Hook::Clsact, |_| {
        run(Command::new("tc").args(["qdisc", "del", "dev", "up1", "clsact"]));
    });
    comes_back(Hook::Clsact, |_| {
        run(Command::new("tc").args(["filter", "del", "dev", "up2", "ingress"]));
    });
    if has_links() {
        comes_back(Hook::Tcx, |pins| {
            std::fs::remove_file(pins.path().join(format!("v{ABI_VERSION}")).join("tcx_up1")).unwrap();
        });
    }
}

/// The filter goes with the last name that its interface has.
#[test]
#[ignore = "needs root and a private bpffs"]
fn clones_leave_an_interface_that_was_renamed() {
    in_own_namespace(|| {
        let (pins, _lab) = (PinDir::new(), lab());
        let mut dataplane = open(&pins, Mode::Native, Hook::Clsact);
        Lab::state().apply(&mut dataplane);
        dataplane.attach().unwrap();
        ip("link set up2 down");
        ip("link set up2 name other");
        let filters = || run(Command::new("tc").args(["filter", "show", "dev", "other", "ingress"]));
        assert_ne!(filters(), "");
        dataplane.detach().unwrap();
        assert_eq!(filters(), "");
    });
}

/// Whether the next frame that the host's stack is given belongs to the link itself, and not to one of its VLANs. Sockets of
/// one protocol are behind traffic control, and a frame with a tag that nobody asked for is not the host's there.
fn is_the_links_own(socket: &Socket) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut frame = [std::mem::MaybeUninit::uninit(); 2_048];
        if let Ok((_, from)) = socket.recv_from(&mut frame) {
            // SAFETY: an address of a packet socket is of this kind, and at least as long.
            let from = unsafe { *from.as_ptr().cast::<libc::sockaddr_ll>() };
            return from.sll_pkttype == libc::PACKET_HOST;
        }
        assert!(Instant::now() < deadline, "the frame did not go on");
        std::thread::yield_now();
    }
}

/// Eight octets that anybody can send do not take a frame out of its VLAN.
#[test]
#[ignore = "needs root and a private bpffs"]
fn clones_leave_forged_frames_in_their_vlan() {
    for hook in [Hook::Tcx, Hook::Clsact] {
        if hook == Hook::Tcx && !has_links() {
            continue;
        }
        in_own_namespace(|| {
            let (pins, lab) = (PinDir::new(), lab());
            let mut dataplane = open(&pins, Mode::Native, hook);
            Lab::state().apply(&mut dataplane);
            dataplane.attach().unwrap();
            assert!(dataplane.clones());
            const IPV4: i32 = (libc::ETH_P_IP as u16).to_be() as i32;
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(IPV4.into())).unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut untagged = errors(40_000).swap_remove(0);
            untagged.splice(12.., [8, 0, 0, b'W', b'R', b'C', 0, 0, 59, 1]);
            untagged.resize(200, 0);
            let mut forged = untagged.clone();
            forged.splice(12..12, [0x81, 0, 0, 5]);
            lab.b1.send(&[untagged]);
            assert!(is_the_links_own(&socket));
            lab.b1.send(&[forged]);
            assert!(!is_the_links_own(&socket), "it left its VLAN");
            dataplane.detach().unwrap();
        });
    }
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn what_a_dead_process_left_is_removed() {
    for hook in [Hook::Tcx, Hook::Clsact] {
        if hook == Hook::Tcx && !has_links() {
            continue;
        }
        in_own_namespace(|| {
            let (pins, _lab) = (PinDir::new(), lab());
            let mut dataplane = open(&pins, Mode::Native, hook);
            Lab::state().apply(&mut dataplane);
            dataplane.attach().unwrap();
            drop(dataplane);
            assert_ne!(remains(&pins), "");
            assert_eq!(Dataplane::remove_left(pins.path()).unwrap(), 2);
            assert_eq!(remains(&pins), "");
        });
    }
}

/// Where the program cannot be put on the uplinks, an error goes to its row's first candidate, as if there were none.
#[test]
#[ignore = "needs root and a private bpffs"]
fn without_the_program_errors_go_to_the_first_candidate() {
    if !has_links() {
        return;
    }
    in_own_namespace(|| {
        let (pins, lab) = (PinDir::new(), lab());
        // A pin that is none of a link's is in the way.
        let mut dataplane = open(&pins, Mode::Native, Hook::Tcx);
        std::fs::create_dir(pins.folder().join("tcx_up2")).unwrap();
        Lab::state().apply(&mut dataplane);
        dataplane.attach().unwrap();
        assert!(!dataplane.clones());
        lab.b1.send(&errors(40_000));
        let deadline = Instant::now() + PATIENCE;
        while counted(&dataplane, Verdict::ForwardIcmp) < 2 {
            assert!(Instant::now() < deadline, "one each");
            std::thread::yield_now();
        }
        assert_eq!(counted(&dataplane, Verdict::PassToClone), 0);
        std::fs::remove_dir(pins.folder().join("tcx_up2")).unwrap();
        Lab::state().apply(&mut dataplane);
        assert!(dataplane.clones());
        copies_arrive(&lab, Some(&dataplane), 40_001);
        dataplane.detach().unwrap();
    });
}
