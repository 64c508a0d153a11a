// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Coming up, dying, restarting, loss and delay.

use weir_bfd::packet::{Diagnostic, State};
use weir_bfd::sessions::{Datagram, Discard};

use crate::world::{A, B, World, address, config, ms, timing};

/// How often it came up, went down, and failed.
fn counts(world: &World, host: usize) -> (u64, u64, u64) {
    let session = world.session(host);
    (session.ups(), session.downs(), session.failures())
}

const LOST: fn(usize, usize) -> bool = |_, _| true;

#[test]
fn both_come_up_within_two_slow_intervals() {
    for seed in 0..200 {
        let mut world = World::new(seed, [timing(100, 100, 3); 2]);
        let time = world.bring_up();
        assert!(time < ms(2000), "seed {seed}: {time:?}");
        for host in [A, B] {
            assert_eq!(world.session(host).detection_time(), Some(ms(300)));
            assert_eq!(world.session(host).diagnostic(), Diagnostic::NONE);
        }
        assert_eq!(world.hosts[A].discards().total() + world.hosts[B].discards().total(), 0);
    }
}

/// From the last packet that arrived, so between two and three intervals after the cut, jitter included.
#[test]
fn a_cut_is_seen_within_the_detection_time() {
    for seed in 0..200 {
        let mut world = World::new(seed, [timing(100, 100, 3); 2]);
        world.bring_up();
        world.run(ms(5000 + seed * 7));
        world.is_lost = LOST;
        let time = world.run_until(ms(400), |world| world.state(A) == State::Down);
        assert!(ms(199) <= time && time <= ms(301), "seed {seed}: {time:?}");
        assert_eq!(world.session(A).diagnostic(), Diagnostic::DETECTION_EXPIRED);
        assert_eq!(world.session(A).remote().discriminator, None);
        assert_eq!(counts(&world, A), (1, 1, 1));
        world.run(ms(2000));
        world.is_lost = |_, _| false;
        world.bring_up();
    }
}

/// Loss in one direction only: the deaf end finds out, and its word takes the other down.
#[test]
fn one_deaf_end_takes_both_down() {
    let mut world = World::new(7, [timing(100, 100, 3); 2]);
    world.bring_up();
    world.is_lost = |from, _| from == B;
    world.run_until(ms(400), |world| world.state(A) == State::Down);
    world.run_until(ms(10), |world| world.state(B) == State::Down);
    assert_eq!(world.session(B).diagnostic(), Diagnostic::NEIGHBOUR_SIGNALED_DOWN);
    assert_eq!(world.session(B).remote().diagnostic, Diagnostic::DETECTION_EXPIRED);
    assert_eq!([counts(&world, A), counts(&world, B)], [(1, 1, 1); 2], "the path failed for both");
    for host in [A, B] {
        let failure = world.session(host).last_failure().expect("one");
        assert!(!failure.is_peer_ending(), "{failure:?}");
    }
    // It hears, so it offers Init; it must never get further.
    world.run(ms(20_000));
    assert_eq!(world.state(A), State::Down);
    assert!(matches!(world.state(B), State::Init | State::Down));
    assert!(world.transitions.iter().filter(|(_, host, t)| *host == B && t.to == State::Up).count() == 1);
}

#[test]
fn two_of_three_packets_lost_are_survived() {
    let mut world = World::new(3, [timing(50, 50, 3); 2]);
    world.bring_up();
    let transitions = world.transitions.len();
    world.is_lost = |_, n| !n.is_multiple_of(3);
    // Jitter only makes packets earlier: of three in a row one arrives in time.
    world.run(ms(60_000));
    assert_eq!(world.transitions.len(), transitions);
}

#[test]
fn a_long_way_is_no_loss() {
    let mut world = World::new(4, [timing(100, 100, 3); 2]);
    world.delay = ms(900);
    world.bring_up();
    let transitions = world.transitions.len();
    world.run(ms(60_000));
    assert_eq!(world.transitions.len(), transitions);
}

/// The new process has another discriminator and knows none of ours: its first packet says Down, and that is the news.
#[test]
fn a_restart_is_seen_at_once_and_healed() {
    let mut world = World::new(5, [timing(100, 100, 3); 2]);
    world.bring_up();
    let before = world.session(A).remote().discriminator;
    world.restart(B, &config(B, timing(100, 100, 3)));
    let time = world.run_until(ms(1000), |world| world.state(A) == State::Down);
    assert!(time < ms(5), "{time:?}");
    assert_eq!(world.session(A).diagnostic(), Diagnostic::NEIGHBOUR_SIGNALED_DOWN);
    assert!(world.session(A).last_failure().is_some_and(|failure| failure.is_peer_ending()));
    world.bring_up();
    assert_ne!(world.session(A).remote().discriminator, before);
    // What was still on the way to the dead process.
    assert!(world.hosts[B].discards().of(Discard::UnknownDiscriminator) <= 2);
}

/// Our own stall: what waits in the queue is taken before the timers, so nothing happens.
#[test]
fn a_stall_of_ours_with_packets_waiting_is_no_death() {
    let mut world = World::new(6, [timing(100, 100, 3); 2]);
    world.bring_up();
    world.run(ms(1000));
    let theirs = world.sent.iter().rev().find(|sent| sent.from == B).expect("it sends").packet.encode();
    let waiting = Datagram { source: address(B), interface: 1, hop_limit: Some(255), payload: &theirs };
    let late = world.now + ms(2000);
    world.hosts[A].handle_datagram(&waiting, late).expect("used");
    world.hosts[A].handle_timeout(late);
    assert_eq!(world.state(A), State::Up);
    world.hosts[A].handle_timeout(late + ms(300));
    assert_eq!(world.state(A), State::Down);
}
