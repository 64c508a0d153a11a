// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Intervals, jitter, and changes of timing by Poll Sequences (RFC 5880 §6.5, §6.8.3, §6.8.7).

use std::time::{Duration, Instant};

use weir_bfd::packet::{Packet, State};

use crate::pairs::{packet, session};
use crate::world::{A, B, World, config, ms, timing};

fn range(gaps: &[Duration]) -> (Duration, Duration) {
    (*gaps.iter().min().expect("packets"), *gaps.iter().max().expect("packets"))
}

#[test]
fn the_slower_wish_wins_each_way() {
    // A sends fast and hears slowly, B the other way round.
    let mut world = World::new(1, [timing(50, 400, 3), timing(100, 200, 5)]);
    world.bring_up();
    assert_eq!(world.session(A).transmit_interval(), Some(ms(200)));
    assert_eq!(world.session(B).transmit_interval(), Some(ms(400)));
    // A hears every 400 ms with B's multiplier, B every 200 ms with A's.
    assert_eq!(world.session(A).detection_time(), Some(ms(2000)));
    assert_eq!(world.session(B).detection_time(), Some(ms(600)));
    let from = world.now;
    world.run(ms(60_000));
    for (host, interval) in [(A, 200), (B, 400)] {
        let (least, most) = range(&world.gaps(host, from));
        assert!(least >= ms(interval * 3 / 4) && most <= ms(interval), "{least:?} to {most:?}");
        assert!(most - least > ms(interval / 5), "jitter: {least:?} to {most:?}");
    }
}

#[test]
fn with_multiplier_one_a_tenth_is_left() {
    let mut world = World::new(1, [timing(100, 100, 1); 2]);
    world.bring_up();
    let from = world.now;
    world.run(ms(60_000));
    let (least, most) = range(&world.gaps(A, from));
    assert!(least >= ms(75) && most <= ms(90), "{least:?} to {most:?}");
    assert_eq!(world.transitions.len(), 4, "each Down, Init or Up once: {:?}", world.transitions);
}

#[test]
fn while_not_up_a_packet_a_second_is_enough() {
    let mut world = World::new(1, [timing(50, 50, 3); 2]);
    world.is_lost = |_, _| true;
    // What was on its way already is forgotten by then.
    world.run(ms(5_000));
    let from = world.now;
    world.run(ms(600_000));
    let (least, most) = range(&world.gaps(A, from));
    assert!(least >= ms(750) && most <= ms(1000), "{least:?} to {most:?}");
    assert!(world.sent.iter().all(|sent| !sent.packet.poll), "nobody there to answer a Poll");
}

/// Slower sending waits for the answer, faster detection too; in no moment somebody takes the change for a death.
#[test]
fn timing_changes_without_a_flap() {
    let timings = [timing(100, 100, 3), timing(1000, 50, 3), timing(50, 1000, 3), timing(300, 300, 4)];
    for seed in 0..50 {
        let mut world = World::new(seed, [timing(50, 50, 3); 2]);
        world.delay = ms(20);
        world.bring_up();
        let transitions = world.transitions.len();
        for (host, timing) in timings.iter().flat_map(|timing| [(A, timing), (B, timing)]) {
            world.set(host, &config(host, *timing));
            assert!(world.session(host).is_polling());
            world.run_until(ms(5000), |world| !world.session(host).is_polling());
            world.run(ms(3000 + seed));
        }
        assert_eq!(world.transitions.len(), transitions, "seed {seed}: {:?}", world.transitions);
    }
}

/// Both ends change at the same moment, packets get lost, answers cross: it still ends agreed.
#[test]
fn changes_from_both_ends_with_loss_end_agreed() {
    for seed in 0..50 {
        let mut world = World::new(seed, [timing(100, 100, 5); 2]);
        world.delay = ms(30);
        world.bring_up();
        world.is_lost = |_, n| n.is_multiple_of(3);
        for round in 0..20 {
            let interval = 60 + (round * 37 + seed * 11) % 200;
            world.set(A, &config(A, timing(interval, 100, 5)));
            world.run(ms(seed % 7 * 10));
            world.set(B, &config(B, timing(100, interval, 5)));
            world.run(ms(50));
        }
        world.is_lost = |_, _| false;
        world.run(ms(3000));
        for host in [A, B] {
            let (this, other) = (world.session(host), world.session(1 - host));
            assert!(!this.is_polling(), "seed {seed}");
            assert_eq!(this.transmit_interval(), other.receive_interval(), "seed {seed}");
        }
        assert!(world.transitions.iter().all(|(_, _, t)| t.from != State::Up), "seed {seed} flapped");
    }
}

#[test]
fn slower_sending_waits_for_the_answer() {
    let now = Instant::now();
    let mut session = session(State::Up, now);
    let answer = Packet { is_final: true, ..packet(State::Up) };
    session.handle_packet(&answer, now);
    assert!(!session.is_polling());
    assert_eq!(session.transmit_interval(), Some(ms(300)));
    session.set_timing(timing(2000, 50, 3), now);
    let poll = session.poll_transmit().expect("new values are told at once");
    assert!(poll.poll && poll.desired_min_tx == ms(2000) && poll.required_min_rx == ms(50));
    // Still the old interval, and the old detection time.
    assert_eq!(session.transmit_interval(), Some(ms(300)));
    assert_eq!(session.receive_interval(), Some(ms(300)));
    // A change meanwhile makes the next answer one to an old question.
    session.set_timing(timing(3000, 50, 3), now);
    session.handle_packet(&answer, now);
    assert!(session.is_polling());
    assert_eq!(session.transmit_interval(), Some(ms(300)));
    session.handle_packet(&answer, now);
    assert!(!session.is_polling());
    assert_eq!(session.transmit_interval(), Some(ms(3000)));
    assert_eq!(session.receive_interval(), Some(ms(100)));
}

#[test]
fn a_poll_is_answered_at_once_and_once() {
    let now = Instant::now();
    for state in [State::Down, State::Init, State::Up] {
        let mut session = session(state, now);
        session.handle_packet(&Packet { poll: true, ..packet(State::Up) }, now);
        let answer = session.poll_transmit().expect("an answer");
        assert!(answer.is_final && !answer.poll);
        let more: Vec<Packet> = std::iter::from_fn(|| session.poll_transmit()).collect();
        assert!(more.len() <= 1 && more.iter().all(|packet| !packet.is_final));
    }
    let mut session = session(State::AdminDown, now);
    session.handle_packet(&Packet { poll: true, ..packet(State::Up) }, now);
    assert_eq!(session.poll_transmit(), None);
}

/// Required Min RX zero: the peer wants no periodic packets (RFC 5880 §6.8.7); it still hears news and answers.
#[test]
fn a_peer_that_wants_no_packets_gets_none() {
    let now = Instant::now();
    let mut session = session(State::Up, now);
    session.handle_packet(&Packet { is_final: true, required_min_rx: ms(0), ..packet(State::Up) }, now);
    assert_eq!(session.transmit_interval(), None);
    session.handle_timeout(now + ms(290));
    assert_eq!(session.poll_transmit(), None);
    session.handle_packet(&packet(State::Up), now + ms(295));
    assert!(session.poll_timeout().expect("sends again") <= now + ms(595));
}
