// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attaching to real (virtual) interfaces, inside the throw-away set of namespaces.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use aya::programs::ProgramInfo;
use weir_dataplane::kernel::link::{Mode, ifindex, pin_name};
use weir_dataplane::{AttachError, Dataplane, Uplink};

use weir_dataplane::next_hop::NextHop;
use weir_dataplane_core::Verdict;
use weir_dataplane_core::names::PROGRAM_INGRESS;

use crate::support::bed::{PinDir, capacity, config, hop, usual};
use crate::support::build::{Frame, SYN};

/// A pair of virtual interfaces, gone with the value.
struct Veth {
    name: String,
    peer: String,
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Veth {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let veth = Self { name: format!("wt{number}a"), peer: format!("wt{number}b") };
        veth.make();
        veth
    }

    fn make(&self) {
        ip(&format!("link add {} type veth peer name {}", self.name, self.peer));
        ip(&format!("link set {} up", self.name));
        ip(&format!("link set {} up", self.peer));
    }

    fn delete(&self) {
        ip(&format!("link delete {}", self.name));
    }

    /// Mode and id of the program on it, as the kernel shows them.
    fn xdp(&self) -> Option<String> {
        let output = Command::new("ip").args(["-details", "link", "show", &self.name]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.trim_start().starts_with("prog/xdp"))?;
        let mode = if text.contains("xdpgeneric") { "generic" } else { "native" };
        Some(format!("{mode} {}", line.trim()))
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        if ifindex(&self.name).is_some() {
            self.delete();
        }
    }
}

fn open(pins: &PinDir, uplink: &str, mode: Mode) -> Dataplane {
    let mut config = config(pins, capacity());
    config.uplinks = vec![Uplink { name: uplink.to_owned(), mode }];
    Dataplane::open(config).unwrap_or_else(|error| panic!("{error:?}"))
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_program_that_was_taken_off_is_missed_and_comes_back() {
    let (pins, veth) = (PinDir::new(), Veth::new());
    let mut dataplane = open(&pins, &veth.name, Mode::Native);
    assert!(!dataplane.is_attached());
    dataplane.attach().unwrap();
    assert!(dataplane.is_attached());
    let pin = pins.folder().join(pin_name(&veth.name, Mode::Native));

    // With the pin goes the last reference, which the kernel drops from a work queue.
    std::fs::remove_file(&pin).unwrap();
    assert!(!dataplane.is_attached());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while veth.xdp().is_some() {
        assert!(std::time::Instant::now() < deadline, "the program is still on");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    dataplane.attach().unwrap();
    assert!(dataplane.is_attached() && veth.xdp().is_some());

    // Another interface under the same name is not the one it is on.
    veth.delete();
    assert!(!dataplane.is_attached());
    veth.make();
    assert!(!dataplane.is_attached());
    dataplane.attach().unwrap();
    assert!(dataplane.is_attached() && veth.xdp().is_some());
    dataplane.detach().unwrap();
    assert_eq!(veth.xdp(), None);
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn the_program_outlives_its_process_and_is_replaced_on_the_same_link() {
    let (pins, veth) = (PinDir::new(), Veth::new());
    let mut first = open(&pins, &veth.name, Mode::Native);
    assert_eq!(veth.xdp(), None, "opening attaches nothing");
    first.attach().unwrap();
    first.attach().unwrap();
    let before = veth.xdp().expect("attached");
    assert!(before.starts_with("native"), "{before}");
    drop(first);
    assert_eq!(veth.xdp(), Some(before.clone()), "no process holds it, and it runs on");

    let mut second = open(&pins, &veth.name, Mode::Native);
    second.attach().unwrap();
    let after = veth.xdp().expect("still attached");
    assert_ne!(after, before, "the new process's program took over");
    let pinned = ProgramInfo::from_pin(pins.folder().join(PROGRAM_INGRESS)).unwrap();
    assert_eq!(pinned.id(), second.program_facts().unwrap().id, "and is the one that is pinned");
    second.detach().unwrap();
    assert_eq!(veth.xdp(), None, "off at once");
    assert!(!pins.path().exists());
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_mode_changed_in_the_document_is_changed_on_the_link() {
    let (pins, veth) = (PinDir::new(), Veth::new());
    let mut native = open(&pins, &veth.name, Mode::Native);
    native.attach().unwrap();
    drop(native);
    let mut generic = open(&pins, &veth.name, Mode::Generic);
    generic.attach().unwrap();
    assert!(veth.xdp().expect("attached").starts_with("generic"));
    assert_eq!(generic.attached().unwrap(), vec![(veth.name.clone(), Mode::Generic)]);
    generic.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn an_interface_that_is_no_uplink_any_more_is_let_go() {
    let (pins, old, new) = (PinDir::new(), Veth::new(), Veth::new());
    let mut dataplane = open(&pins, &old.name, Mode::Native);
    dataplane.attach().unwrap();
    drop(dataplane);
    let mut dataplane = open(&pins, &new.name, Mode::Native);
    dataplane.attach().unwrap();
    assert_eq!((old.xdp(), new.xdp().is_some()), (None, true));
    dataplane.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn an_interface_that_went_and_came_back_is_attached_anew() {
    let (pins, veth) = (PinDir::new(), Veth::new());
    let mut dataplane = open(&pins, &veth.name, Mode::Native);
    dataplane.attach().unwrap();
    veth.delete();
    veth.make();
    assert_eq!(veth.xdp(), None);
    dataplane.attach().unwrap();
    assert!(veth.xdp().is_some());
    dataplane.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_next_hop_by_another_uplink_is_redirected_there() {
    let (pins, veth) = (PinDir::new(), Veth::new());
    let mut dataplane = open(&pins, &veth.name, Mode::Native);
    dataplane.attach().unwrap();
    let there = NextHop { ifindex: ifindex(&veth.name).unwrap(), ..hop(1500) };
    let state = ["10.1.0.1", "10.1.0.2", "10.1.0.3"].iter().fold(usual(), |s, a| s.next_hop(a, Some(there)));
    state.apply(&mut dataplane);
    // A test run comes in by the loopback device, so the uplink is another interface.
    let ran = dataplane.run(&Frame::tcp("203.0.113.7", 1, "198.51.100.10", 80, SYN).octets()).unwrap();
    assert_eq!(ran.action, 4, "XDP_REDIRECT");
    let counters = dataplane.counters().unwrap();
    // The interface itself may have passed a packet of its own, such as a router solicitation.
    let new = counters.verdicts.iter().find(|v| v.verdict == Verdict::ForwardNew).unwrap();
    assert_eq!(new.packets, 1);
    dataplane.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn refusals_name_the_interface_and_the_remedy() {
    let (pins, veth) = (PinDir::new(), Veth::new());
    let mut dataplane = open(&pins, "nosuch0", Mode::Native);
    let error = dataplane.attach().expect_err("no such interface");
    assert_eq!(error.to_string(), "interface `nosuch0` does not exist");
    dataplane.detach().unwrap();

    let pins_of_somebody = PinDir::new();
    let mut somebody = open(&pins_of_somebody, &veth.name, Mode::Native);
    somebody.attach().unwrap();
    let mut dataplane = open(&pins, &veth.name, Mode::Native);
    let error = dataplane.attach().expect_err("somebody else's program");
    assert!(matches!(error, AttachError::Busy { .. }), "{error:?}");
    assert!(error.to_string().contains("xdp off"), "{error}");
    somebody.detach().unwrap();

    assert_eq!(veth.xdp(), None, "and no fall back to the generic mode");
    dataplane.detach().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_driver_without_native_xdp_is_named() {
    let pins = PinDir::new();
    ip("link add wtbr0 type bridge");
    let mut dataplane = open(&pins, "wtbr0", Mode::Native);
    let error = dataplane.attach().expect_err("a bridge has none").to_string();
    ip("link delete wtbr0");
    dataplane.detach().unwrap();
    assert!(error.contains("its driver (`bridge`) has no native XDP"), "{error}");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn too_few_queues_are_counted() {
    let pins = PinDir::new();
    ip("link add wtq0 numrxqueues 1 numtxqueues 1 type veth peer name wtq1 numtxqueues 4 numrxqueues 4");
    ip("link set wtq0 up");
    ip("link set wtq1 up");
    let mut dataplane = open(&pins, "wtq0", Mode::Native);
    let error = dataplane.attach().expect_err("the peer sends by four queues").to_string();
    ip("link delete wtq0");
    dataplane.detach().unwrap();
    assert!(error.contains("too few queues (1 ") && error.contains("ethtool -L"), "{error}");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_link_with_frames_larger_than_a_page_is_taken() {
    let (pins, veth) = (PinDir::new(), Veth::new());
    ip(&format!("link set {} mtu 9000", veth.name));
    ip(&format!("link set {} mtu 9000", veth.peer));
    let mut dataplane = open(&pins, &veth.name, Mode::Native);
    dataplane.attach().unwrap();
    assert!(veth.xdp().is_some());
    dataplane.detach().unwrap();
}
