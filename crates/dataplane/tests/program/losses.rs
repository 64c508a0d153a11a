// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames that are lost behind the program are counted by their reason: two uplinks, and one that does not take frames.

use std::process::Command;
use std::time::{Duration, Instant};

use weir_dataplane::kernel::features::{Transmits, transmits};
use weir_dataplane::kernel::link::{Mode, ifindex};
use weir_dataplane::next_hop::NextHop;
use weir_dataplane::{Dataplane, Uplink};
use weir_dataplane_core::loss::Loss;

use super::check_lab::{in_own_namespace, ip, run, send};
use crate::support::bed::{PinDir, capacity, config, hop, open, usual};
use crate::support::build::{Frame, SYN};

/// Longest wait for a count.
const PATIENCE: Duration = Duration::from_secs(20);

/// Uplinks: `in0`, a veth in native mode, whose peer is `client`, and `out0`, to which everything goes.
fn bed(pins: &PinDir, out_mode: Mode) -> Dataplane {
    ip("link add in0 type veth peer name client");
    for interface in ["in0", "client"] {
        ip(&format!("link set {interface} up"));
    }
    let mut config = config(pins, capacity());
    config.uplinks = [("in0", Mode::Native), ("out0", out_mode)]
        .map(|(name, mode)| Uplink { name: name.to_owned(), mode })
        .to_vec();
    let mut dataplane = Dataplane::open(config).unwrap_or_else(|error| panic!("{error:?}"));
    dataplane.attach().unwrap();
    let there = NextHop { ifindex: ifindex("out0").unwrap(), ..hop(1500) };
    let state = ["10.1.0.1", "10.1.0.2", "10.1.0.3"].iter().fold(usual(), |s, a| s.next_hop(a, Some(there)));
    state.apply(&mut dataplane);
    dataplane
}

fn lost(dataplane: &Dataplane) -> Vec<(&'static str, u64)> {
    dataplane.loss_counters().unwrap().into_iter().map(|one| (one.loss.name(), one.frames)).collect()
}

/// Reasons that the kernel does not tell the map of: frames of other programs of the machine count as well.
const OF_THE_MACHINE: [Loss; 2] = [Loss::Driver, Loss::Exception];

/// Sends a packet for a VIP until a frame is counted for one of these reasons, and demands that none of ours was for another.
fn is_counted_as(dataplane: &Dataplane, reasons: &[Loss], frame: &[u8]) {
    let named = |among: &[Loss], name: &str| among.iter().any(|loss| loss.name() == name);
    let before = lost(dataplane);
    assert_eq!(before.len(), Loss::ALL.len(), "all are counted");
    let deadline = Instant::now() + PATIENCE;
    loop {
        send("client", &[frame]);
        let counted = lost(dataplane);
        let more = before.iter().zip(&counted).filter(|(was, is)| is.1 > was.1).map(|(_, is)| is.0);
        let (expected, others): (Vec<_>, Vec<_>) = more.partition(|name| named(reasons, name));
        assert!(others.iter().all(|name| named(&OF_THE_MACHINE, name)), "{before:?} {counted:?}");
        if !expected.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "nothing was counted: {counted:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn a_syn() -> Vec<u8> {
    Frame::tcp("203.0.113.7", 1, "198.51.100.10", 80, SYN).octets()
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_driver_that_takes_no_frames_is_counted() {
    in_own_namespace(|| {
        let pins = PinDir::new();
        ip("link add out0 type bridge");
        ip("link set out0 up");
        let told = transmits(ifindex("out0").unwrap()).unwrap();
        assert!(
            told.is_none_or(|told| told == Transmits { frames: false, several_buffers: false }),
            "{told:?}"
        );
        let dataplane = bed(&pins, Mode::Generic);
        is_counted_as(&dataplane, &[Loss::Unsupported], &a_syn());
        dataplane.detach().unwrap();
    });
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn an_uplink_that_is_down_is_counted() {
    in_own_namespace(|| {
        let pins = PinDir::new();
        ip("link add out0 type veth peer name switch");
        // So that the peer takes frames at all.
        run(Command::new("ethtool").args(["-K", "switch", "gro", "on"]));
        for interface in ["out0", "switch"] {
            ip(&format!("link set {interface} up"));
        }
        let dataplane = bed(&pins, Mode::Native);
        ip("link set out0 down");
        is_counted_as(&dataplane, &[Loss::Down], &a_syn());
        dataplane.detach().unwrap();
    });
}

/// A veth whose peer neither runs a program nor merges what it receives: younger kernels know it beforehand.
#[test]
#[ignore = "needs root and a private bpffs"]
fn frames_that_a_driver_throws_away_are_counted() {
    in_own_namespace(|| {
        let pins = PinDir::new();
        ip("link add out0 type veth peer name switch");
        for interface in ["out0", "switch"] {
            ip(&format!("link set {interface} up"));
        }
        let dataplane = bed(&pins, Mode::Native);
        is_counted_as(&dataplane, &[Loss::Unsupported, Loss::Driver], &a_syn());
        dataplane.detach().unwrap();
    });
}

/// A copy that frames never reach counts none: it says nothing instead of "none was lost".
#[test]
#[ignore = "needs root and a private bpffs"]
fn what_is_not_counted_is_not_told() {
    let pins = PinDir::new();
    let private = Dataplane::open_private(config(&pins, capacity())).unwrap();
    assert_eq!(private.loss_counters().unwrap(), []);
    assert_eq!(open(&pins).loss_counters().unwrap().len(), Loss::ALL.len());
}

/// The device map holds the uplinks of the document in force and no other interface: not one of a former document, and not one
/// that is gone.
#[test]
#[ignore = "needs root and a private bpffs"]
fn interfaces_that_are_no_uplinks_any_more_take_no_frames() {
    in_own_namespace(|| {
        let pins = PinDir::new();
        ip("link add out0 type veth peer name switch");
        ip("link set out0 up");
        let both = bed(&pins, Mode::Native);
        let mut uplinks = ["in0", "out0"].map(|name| ifindex(name).unwrap());
        let first = uplinks[0];
        uplinks.sort_unstable();
        assert_eq!(both.egress_interfaces(), uplinks);
        drop(both);
        let mut config = config(&pins, capacity());
        config.uplinks = vec![Uplink { name: "in0".to_owned(), mode: Mode::Native }];
        let mut one = Dataplane::open(config).unwrap();
        one.attach().unwrap();
        assert_eq!(one.egress_interfaces(), [first]);
        ip("link del in0");
        assert_eq!(one.egress_interfaces(), [0_u32; 0]);
        one.detach().unwrap();
    });
}
