// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Marked connections reach the backend that their mark names, through the tunnel and nowhere else.

use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use weir_dataplane::forwarding::{BackendState, OnFailed};
use weir_dataplane::host::{HostPacket, HostTables};
use weir_dataplane::kernel::egress::Hook;
use weir_dataplane::kernel::link::{Mode, ifindex};
use weir_dataplane::kernel::probe::{Feature, Report};
use weir_dataplane::{CheckPath, CheckPathError, Dataplane, Uplink};
use weir_dataplane_core::check::{CheckVerdict, direct};

use super::check_lab::{Lab, Sniffer, VIP4, VIP6, ask, in_own_namespace, ip, run};
use crate::support::bed::{PinDir, SOURCE_V4, SOURCE_V6, State, capacity, config};
use crate::support::build::{checksum, ethernet};

const MARK: u32 = 0x5765_0000;

fn path(interface: &str, mark: u32, table: u32) -> CheckPath {
    CheckPath { interface: interface.to_owned(), mark, table, priority: table }
}

fn opened(pins: &PinDir, checks: CheckPath) -> Dataplane {
    let mut config = config(pins, capacity());
    config.checks = Some(checks);
    config.uplinks = ["up1", "up2"].map(|name| Uplink { name: name.to_owned(), mode: Mode::Native }).to_vec();
    Dataplane::open(config).unwrap_or_else(|error| panic!("{error:?}"))
}

/// The dataplane with its path open, attached, and `state` in force.
fn running(pins: &PinDir, state: &State, hook: Option<Hook>) -> Dataplane {
    let mut dataplane = opened(pins, path("hc0", MARK, 5765));
    state.apply(&mut dataplane);
    dataplane.attach().unwrap();
    dataplane.open_check_path_by(hook).unwrap_or_else(|error| panic!("{error:?}"));
    dataplane
}

/// Whether this kernel has programs of traffic control by links.
fn has_links() -> bool {
    Report::of_this_kernel().has(Feature::Tcx)
}

fn mark(dataplane: &Dataplane, pool: &str, backend: &str) -> u32 {
    MARK | u32::from(dataplane.backend_ids()[&(pool.to_owned(), backend.to_owned())])
}

fn counted(dataplane: &Dataplane, verdict: CheckVerdict) -> u64 {
    let counters = dataplane.check_counters().unwrap();
    counters.iter().find(|counter| counter.verdict == verdict).unwrap().packets
}

/// What is there of any check path: interfaces, rules, routes.
fn remains() -> String {
    let links = ip("-o link show type veth");
    let links: Vec<&str> = links.lines().filter(|line| line.contains("alias weir")).collect();
    let others = ["rule show", "-6 rule show"].map(ip);
    let rules = others.iter().flat_map(|text| text.lines()).filter(|line| line.contains("fwmark"));
    links.into_iter().chain(rules).collect::<Vec<_>>().join("\n")
}

fn marks_choose_the_backend(hook: Hook) {
    in_own_namespace(|| {
        let (pins, lab) = (PinDir::new(), Lab::new());
        let mut dataplane = running(&pins, &Lab::state(), Some(hook));
        let mut sniffer = Sniffer::new();
        for (pool, vip) in [("web4", VIP4), ("web6", VIP6)] {
            for (name, backend) in [("b1", &lab.b1), ("b2", &lab.b2)] {
                let before = (backend.decapsulated(), counted(&dataplane, CheckVerdict::Encapsulated));
                assert_eq!(ask(vip, mark(&dataplane, pool, name), 5).unwrap(), format!("{name} 5"));
                let after = (backend.decapsulated(), counted(&dataplane, CheckVerdict::Encapsulated));
                // SYN, data, FIN at least, and every one of them through the tunnel.
                assert!(after.1 - before.1 >= 3, "{before:?} {after:?}");
                assert!(after.0 - before.0 >= 3, "{before:?} {after:?}");
            }
        }
        let (tables, ids) = (dataplane.snapshot().unwrap(), dataplane.backend_ids());
        for (outer, inner, to) in only_tunnels_left(&mut sniffer) {
            let addresses = Lab::state().forwarding.pools;
            let of = |(pool, name): &(String, String)| addresses[pool].backends[name].address == to;
            let id = ids.iter().find(|(name, _)| of(name)).unwrap().1;
            assert_eq!(on_the_host(&tables, &inner, *id), [outer, inner].concat());
        }
        // A service's real packets leave by an attached uplink, which a verification demands.
        for service in Lab::state().forwarding.services.values() {
            dataplane.verify(service).unwrap_or_else(|error| panic!("{error}"));
        }
        dataplane.close_check_path().unwrap();
        assert_eq!(remains(), "");
        dataplane.detach().unwrap();
    });
}

/// What the host's copy of the packet logic makes of the packet that became `inner` on its way to backend `id`.
fn on_the_host(tables: &HostTables, inner: &[u8], id: u16) -> Vec<u8> {
    let mut frame = ethernet([2; 6], [2; 6], if inner[0] >> 4 == 4 { 0x0800 } else { 0x86dd });
    frame.extend(inner);
    if inner[0] >> 4 == 4 {
        frame[14 + 8] += 1;
        frame[14 + 10..14 + 12].fill(0);
        let sum = checksum(&frame[14..34]);
        frame[14 + 10..14 + 12].copy_from_slice(&sum.to_be_bytes());
    } else {
        frame[14 + 7] += 1;
    }
    let mut packet = HostPacket::new(&frame, 0);
    direct(&mut packet, tables, MARK | u32::from(id), MARK).unwrap();
    packet.frame()[14..].to_vec()
}

/// Nothing for a VIP left without an outer header, and outer headers are as RFC 2003 and RFC 2473 say. Gives for each packet
/// of a tunnel the outer header, the packet inside, and the outer destination.
fn only_tunnels_left(sniffer: &mut Sniffer) -> Vec<(Vec<u8>, Vec<u8>, IpAddr)> {
    let ours: [IpAddr; 2] = [SOURCE_V4.parse().unwrap(), SOURCE_V6.parse().unwrap()];
    let vips: [IpAddr; 2] = [VIP4.parse().unwrap(), VIP6.parse().unwrap()];
    let mut tunnels = Vec::new();
    for (interface, packet) in sniffer.sent() {
        let (source, destination) = match packet[0] >> 4 {
            4 => (address::<4>(&packet[12..]), address::<4>(&packet[16..])),
            6 => (address::<16>(&packet[8..]), address::<16>(&packet[24..])),
            _ => continue, // ARP
        };
        assert!(!vips.contains(&destination), "by interface {interface}: {packet:02x?}");
        if !ours.contains(&source) {
            continue; // neighbour discovery
        }
        let header = if packet[0] == 0x45 {
            assert_eq!(packet[4..10], [0, 0, 0x40, 0, 64, 4], "id, DF, TTL, protocol");
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
            20
        } else {
            assert_eq!(packet[6..8], [41, 64], "next header, hop limit");
            assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet.len() - 40);
            assert_ne!(u32::from_be_bytes([0, packet[1] & 0xf, packet[2], packet[3]]), 0, "flow label");
            40
        };
        let inner = &packet[header..];
        let to = if inner[0] >> 4 == 4 { address::<4>(&inner[16..]) } else { address::<16>(&inner[24..]) };
        assert!(vips.contains(&to));
        assert!(packet.len() <= 1_320, "fits every path: {}", packet.len());
        tunnels.push((packet[..header].to_vec(), inner.to_vec(), destination));
    }
    assert!(!tunnels.is_empty());
    tunnels
}

fn address<const N: usize>(octets: &[u8]) -> IpAddr
where
    IpAddr: From<[u8; N]>,
{
    IpAddr::from(*octets.first_chunk::<N>().unwrap())
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn marks_choose_the_backend_by_link() {
    // Before Linux 6.6 there are no such links, and the next test is what is used.
    if !has_links() {
        return;
    }
    marks_choose_the_backend(Hook::Tcx);
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn marks_choose_the_backend_by_filter() {
    marks_choose_the_backend(Hook::Clsact);
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn requests_of_many_segments_arrive_whole() {
    in_own_namespace(|| {
        let (pins, _lab) = (PinDir::new(), Lab::new());
        let dataplane = running(&pins, &Lab::state(), None);
        let mut sniffer = Sniffer::new();
        // Once the inner checksum is left to the uplink, once the kernel completes it behind the new header.
        for offload in ["on", "off"] {
            run(Command::new("ethtool").args(["-K", "up1", "tx", offload]));
            for (pool, vip) in [("web4", VIP4), ("web6", VIP6)] {
                let answer = ask(vip, mark(&dataplane, pool, "b1"), 200_000);
                assert_eq!(answer.unwrap_or_else(|error| panic!("tx {offload}: {error}")), "b1 200000");
            }
        }
        only_tunnels_left(&mut sniffer);
        assert_eq!(counted(&dataplane, CheckVerdict::Failed), 0, "no segment was larger than a path");
        dataplane.detach().unwrap();
        assert_eq!(remains(), "");
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_backend_without_the_vip_fails_and_its_neighbour_does_not() {
    in_own_namespace(|| {
        let (pins, lab) = (PinDir::new(), Lab::new());
        let dataplane = running(&pins, &Lab::state(), None);
        let (b1, b2) = (mark(&dataplane, "web4", "b1"), mark(&dataplane, "web4", "b2"));
        assert_eq!(ask(VIP4, b1, 1).unwrap(), "b1 1");
        lab.b1.ip(&format!("addr del {VIP4}/32 dev lo"));
        let error = ask(VIP4, b1, 1).expect_err("decapsulated, and nobody's");
        println!("without VIP: {error}");
        assert_eq!(ask(VIP4, b2, 1).unwrap(), "b2 1");
        assert_eq!(ask(VIP6, mark(&dataplane, "web6", "b1"), 1).unwrap(), "b1 1", "the other VIP is there");
        lab.b1.ip(&format!("addr add {VIP4}/32 dev lo"));
        assert_eq!(ask(VIP4, b1, 1).unwrap(), "b1 1");
        dataplane.detach().unwrap();
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn every_state_is_checked_also_after_a_flush_of_neighbours() {
    in_own_namespace(|| {
        let (pins, _lab) = (PinDir::new(), Lab::new());
        let mut dataplane = running(&pins, &Lab::state(), None);
        for state in [BackendState::Draining, BackendState::Failed, BackendState::Disabled] {
            for pool in ["web4", "web6"] {
                Lab::state()
                    .edit_pool(pool, |pool| pool.on_failed = OnFailed::Reset)
                    .backend_state(pool, "b1", state)
                    .apply(&mut dataplane);
                ip("neigh flush dev up1");
                ip("-6 neigh flush dev up1");
                let vip = if pool == "web4" { VIP4 } else { VIP6 };
                let answer = ask(vip, mark(&dataplane, pool, "b1"), 1);
                assert_eq!(answer.unwrap_or_else(|error| panic!("{pool} {state:?}: {error}")), "b1 1");
            }
        }
        dataplane.detach().unwrap();
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn what_no_backend_stands_for_is_dropped_counted_and_leaves_nowhere() {
    in_own_namespace(|| {
        let (pins, _lab) = (PinDir::new(), Lab::new());
        let state = Lab::state().next_hop("10.1.2.1", None);
        let dataplane = running(&pins, &state, None);
        let mut sniffer = Sniffer::new();
        let cases = [
            (VIP4, MARK | 200, CheckVerdict::UnknownBackend),
            (VIP6, MARK | 0xffff, CheckVerdict::UnknownBackend),
            (VIP4, MARK, CheckVerdict::UnknownBackend),
            (VIP4, mark(&dataplane, "web4", "b2"), CheckVerdict::Unresolved),
        ];
        for (vip, mark, verdict) in cases {
            let before = counted(&dataplane, verdict);
            ask(vip, mark, 1).expect_err("dropped");
            assert!(counted(&dataplane, verdict) > before, "{vip} {mark:#x} {verdict:?}");
        }
        assert_eq!(counted(&dataplane, CheckVerdict::Encapsulated), 0);
        for (interface, packet) in sniffer.sent() {
            let text = format!("{packet:02x?}");
            assert!(!text.contains("c6, 33, 64, 0a"), "by {interface} left {text}");
            assert!(!text.contains("20, 01, 0d, b8, 01, 00"), "by {interface} left {text}");
        }
        // What somebody routes to the interface by hand has no mark of a check.
        ip("route add 203.0.113.0/24 dev hc0");
        let nowhere = std::net::UdpSocket::bind(SOURCE_V4.to_owned() + ":0").unwrap();
        nowhere.send_to(b"x", "203.0.113.9:9").ok();
        assert_eq!(counted(&dataplane, CheckVerdict::Stray), 1);
        dataplane.detach().unwrap();
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn opening_again_changes_nothing_and_mends_what_is_missing() {
    in_own_namespace(|| {
        let (pins, _lab) = (PinDir::new(), Lab::new());
        let mut dataplane = running(&pins, &Lab::state(), None);
        let first = ifindex("hc0").unwrap();
        dataplane.open_check_path().unwrap();
        assert_eq!(ifindex("hc0"), Some(first), "the same interface");
        let damages: [&dyn Fn(); 4] = [
            &|| drop(ip("link delete hc0")),
            &|| drop(ip("rule del priority 5765")),
            &|| drop(ip("-6 route flush table 5765")),
            &|| drop(ip("link set hc0 down")),
        ];
        for damage in damages {
            damage();
            ask(VIP6, mark(&dataplane, "web6", "b1"), 1)
                .map(|answer| assert_eq!(answer, "b1 1", "what remains is still right"))
                .ok();
            dataplane.open_check_path().unwrap();
            assert_eq!(ask(VIP4, mark(&dataplane, "web4", "b1"), 1).unwrap(), "b1 1");
            assert_eq!(ask(VIP6, mark(&dataplane, "web6", "b2"), 1).unwrap(), "b2 1");
            assert_eq!(remains().lines().count(), 4, "two ends, two rules:\n{}", remains());
        }
        dataplane.detach().unwrap();
        assert_eq!(remains(), "");
    });
}

/// Set for the process that is to be killed: its pin directory.
const HOLD: &str = "WEIR_TEST_HOLD";
const LEFTOVERS: &str = "program::checks::leftovers_of_a_killed_process_are_replaced_also_under_another_name";

/// Opens a path in another process in this namespace, which is this test again, and has it killed.
fn killed(pins: &PinDir) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", LEFTOVERS, "--nocapture"])
        .env(HOLD, pins.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains(HOLD)), "it opened the path");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What that process does.
#[expect(clippy::print_stdout, reason = "tells the first process that the path is open")]
fn hold(pins: PathBuf) {
    let mut config = config(&PinDir::new(), capacity());
    config.instance_dir = pins;
    config.checks = Some(path("hc0", MARK, 5765));
    let mut dataplane = Dataplane::open(config).unwrap();
    dataplane.open_check_path().unwrap();
    println!("{HOLD}");
    std::thread::sleep(Duration::from_secs(60));
    panic!("nobody killed it");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn leftovers_of_a_killed_process_are_replaced_also_under_another_name() {
    if let Some(pins) = std::env::var_os(HOLD) {
        hold(pins.into());
    }
    in_own_namespace(|| {
        let (pins, _lab) = (PinDir::new(), Lab::new());
        drop(running(&pins, &Lab::state(), None));
        assert_eq!(remains(), "", "goes with its process");
        killed(&pins);
        assert_eq!(remains().lines().count(), 4);
        let mut sniffer = Sniffer::new();
        // A link went with its process; a filter stays with its interface, and does what it did.
        assert_eq!(ask(VIP4, MARK | 1, 1).is_err(), has_links());
        if has_links() {
            let left = sniffer.sent();
            let up = ["up1", "up2"].map(|name| ifindex(name).unwrap());
            assert!(!left.iter().any(|(by, packet)| up.contains(by) && packet[0] >> 4 == 4), "{left:02x?}");
        } else {
            only_tunnels_left(&mut sniffer);
        }

        let mut dataplane = opened(&pins, path("checks", 0x6666_0000, 777));
        Lab::state().apply(&mut dataplane);
        dataplane.attach().unwrap();
        dataplane.open_check_path().unwrap();
        let there = remains();
        assert_eq!(there.lines().count(), 4, "{there}");
        assert!(!there.contains("hc0") && !there.contains("5765"), "{there}");
        let id = dataplane.backend_ids()[&("web4".to_owned(), "b2".to_owned())];
        assert_eq!(ask(VIP4, 0x6666_0000 | u32::from(id), 1).unwrap(), "b2 1");
        dataplane.detach().unwrap();
        assert_eq!(remains(), "");
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn instances_do_not_meet_and_strangers_are_refused() {
    in_own_namespace(|| {
        let (pins, other_pins, _lab) = (PinDir::new(), PinDir::new(), Lab::new());
        let dataplane = running(&pins, &Lab::state(), None);
        let mark = mark(&dataplane, "web4", "b1");

        let mut other = opened(&other_pins, path("hc0", 0x6666_0000, 777));
        let error = other.open_check_path().expect_err("the name is taken");
        assert!(matches!(error, CheckPathError::InterfaceTaken { .. }), "{error}");
        assert!(error.to_string().contains("ip link delete hc0"), "{error}");
        other.detach().unwrap();

        let mut other = opened(&other_pins, path("hc1", 0x6666_0000, 5765));
        let error = other.open_check_path().expect_err("the table is taken");
        assert!(matches!(error, CheckPathError::TableTaken { table: 5765, .. }), "{error}");
        assert!(ifindex("hc1").is_none(), "nothing is left of the attempt");
        other.detach().unwrap();

        let mut other = opened(&other_pins, path("hc1", 0x6666_0000, 777));
        other.open_check_path().unwrap();
        assert_eq!(remains().lines().count(), 8);
        assert_eq!(ask(VIP4, mark, 1).unwrap(), "b1 1");
        other.detach().unwrap();
        assert_eq!(remains().lines().count(), 4, "the other's is untouched");
        assert_eq!(ask(VIP4, mark, 1).unwrap(), "b1 1");
        dataplane.detach().unwrap();

        ip("link add hc0-p type veth peer name foreign");
        let mut dataplane = opened(&pins, path("hc0", MARK, 5765));
        let error = dataplane.open_check_path().expect_err("the other end's name is taken");
        assert!(error.to_string().contains("`hc0-p` exists"), "{error}");
        dataplane.detach().unwrap();
        assert!(ifindex("hc0-p").is_some(), "and left alone");

        let mut bad = config(&other_pins, capacity());
        bad.checks = Some(path("hc2", 0x0000_5765, 777));
        let mut bad = Dataplane::open(bad).unwrap();
        assert!(matches!(bad.open_check_path().unwrap_err(), CheckPathError::Mark { .. }));
        bad.detach().unwrap();
        let mut none = Dataplane::open(config(&other_pins, capacity())).unwrap();
        assert!(matches!(none.open_check_path().unwrap_err(), CheckPathError::NotConfigured));
        none.detach().unwrap();
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn without_ipv6_on_new_interfaces_the_error_says_so() {
    in_own_namespace(|| {
        let pins = PinDir::new();
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        let mut dataplane = opened(&pins, path("hc0", MARK, 5765));
        let error = dataplane.open_check_path().expect_err("no IPv6 route");
        assert!(matches!(error, CheckPathError::NoIpv6 { .. }), "{error:?}");
        assert_eq!(remains(), "");
        dataplane.detach().unwrap();
        let mut config = config(&pins, capacity());
        config.checks = Some(path("hc0", MARK, 5765));
        config.source_v6 = None;
        let mut dataplane = Dataplane::open(config).unwrap();
        dataplane.open_check_path().unwrap();
        assert_eq!(remains().lines().count(), 3, "two ends, one rule");
        dataplane.detach().unwrap();
    });
}
