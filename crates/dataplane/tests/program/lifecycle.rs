// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Opening, adopting, refusing.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use weir_dataplane::{Dataplane, OpenError};
use weir_dataplane_core::flow::TICK_MASK;

use crate::support::bed::{self, PinDir, config, open, usual};
use crate::support::build::{ACK, Frame, SYN};

fn destination(frame: &[u8]) -> IpAddr {
    <[u8; 4]>::try_from(&frame[30..34]).unwrap().into()
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_flow_keeps_its_backend_when_another_process_adopts_the_tables() {
    let pins = PinDir::new();
    let mut first = open(&pins);
    assert!(!first.adopted());
    usual().apply(&mut first);
    let syn = Frame::tcp("203.0.113.7", 40_001, "198.51.100.10", 80, SYN).octets();
    let ack = Frame::tcp("203.0.113.7", 40_001, "198.51.100.10", 80, ACK).octets();
    let chosen = destination(&first.run(&syn).unwrap().frame);
    drop(first);

    let mut second = open(&pins);
    assert!(second.adopted());
    assert_eq!(destination(&second.run(&ack).unwrap().frame), chosen, "before anything is applied");
    let applied = usual().apply(&mut second);
    assert_eq!(applied.writes, 0, "the same state again writes nothing: {applied:?}");
    // Without the chosen backend new flows go elsewhere, and this one as well: it was removed.
    let name = bed::usual().forwarding.pools["web4"]
        .backends
        .iter()
        .find(|(_, b)| b.address == chosen)
        .unwrap()
        .0
        .clone();
    usual()
        .edit_pool("web4", |pool| {
            pool.backends.remove(&name).unwrap();
        })
        .apply(&mut second);
    assert_ne!(destination(&second.run(&ack).unwrap().frame), chosen);
    second.detach().unwrap();
    assert!(!pins.path().exists(), "nothing is left of the pins");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn pins_of_another_layout_version_are_refused() {
    let pins = PinDir::new();
    std::fs::create_dir_all(pins.path().join("v999")).unwrap();
    let error = Dataplane::open(config(&pins, bed::capacity())).err().expect("refused");
    assert!(matches!(error, OpenError::Pins(_)), "{error:?}");
    assert!(error.to_string().contains("another layout version"), "{error}");
    assert!(!pins.folder().exists(), "and nothing was made beside them");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn a_pin_directory_elsewhere_is_refused_and_not_made() {
    let pins = PinDir::new();
    let mut config = config(&pins, bed::capacity());
    config.instance_dir = std::env::temp_dir().join("weir-not-bpffs/lb1");
    let error = Dataplane::open(config).err().expect("refused");
    assert!(error.to_string().contains("is not on a bpf file system"), "{error}");
    assert!(!std::env::temp_dir().join("weir-not-bpffs").exists());
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn pinned_maps_of_another_size_are_refused() {
    let pins = PinDir::new();
    drop(open(&pins));
    let mut capacity = bed::capacity();
    capacity.flow_slots *= 2;
    let error = Dataplane::open(config(&pins, capacity)).err().expect("refused");
    assert!(error.to_string().contains("FLOWS has 512 entries of 4 to 64 bytes"), "{error}");
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn the_tick_is_a_second_long() {
    let pins = PinDir::new();
    let mut dataplane = open(&pins);
    assert!([100, 250, 300, 1000].contains(&dataplane.hz()), "HZ {}", dataplane.hz());
    // Two ticks, from edge to edge.
    let edge = |dataplane: &mut Dataplane, until: u16| {
        let started = Instant::now();
        while dataplane.tick().unwrap() != until {
            assert!(started.elapsed() < Duration::from_secs(10), "the tick does not come to {until}");
            std::thread::sleep(Duration::from_millis(1));
        }
        Instant::now()
    };
    let next = |tick: u16, later: u16| tick.wrapping_add(later) & TICK_MASK;
    let first = next(dataplane.tick().unwrap(), 1);
    let begin = edge(&mut dataplane, first);
    let seconds = (edge(&mut dataplane, next(first, 2)) - begin).as_secs_f64();
    assert!((1.8..2.2).contains(&seconds), "two ticks took {seconds} s");
}
