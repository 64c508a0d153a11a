// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random commands, packets and waits: the rules that hold of every session hold in every run.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_bfd::packet::{Diagnostic, Packet, State};
use weir_bfd::session::Session;
use weir_bfd::{Timing, Wanted};

use crate::world::check;

#[derive(Debug, Clone)]
enum Step {
    Hear(Packet),
    Wait(Duration),
    WaitForTimer,
    Timing(Timing),
    Wanted(Wanted),
}

fn packets() -> impl Strategy<Value = Packet> {
    let times = || (0..3_000_000_u64).prop_map(Duration::from_micros);
    (0..4_usize, any::<[bool; 2]>(), 1..=255_u8, 1..4_u32, times(), times()).prop_map(
        |(state, [poll, is_final], detect_mult, theirs, desired_min_tx, required_min_rx)| Packet {
            diagnostic: Diagnostic::NONE,
            state: State::ALL[state],
            poll,
            is_final,
            control_plane_independent: false,
            detect_mult,
            my_discriminator: NonZeroU32::new(theirs).expect("from 1"),
            your_discriminator: Some(NonZeroU32::MIN),
            desired_min_tx,
            required_min_rx,
            required_min_echo_rx: Duration::ZERO,
        },
    )
}

fn steps() -> impl Strategy<Value = Step> {
    let interval = || (10..2000_u64).prop_map(Duration::from_millis);
    prop_oneof![
        4 => packets().prop_map(Step::Hear),
        2 => (0..3000_u64).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        4 => Just(Step::WaitForTimer),
        1 => (interval(), interval(), 1..6_u8).prop_map(|(desired_min_tx, required_min_rx, detect_mult)| {
            Step::Timing(Timing { desired_min_tx, required_min_rx, detect_mult })
        }),
        1 => prop_oneof![Just(Wanted::Up), Just(Wanted::AdminDown), Just(Wanted::ForwardingLost)]
            .prop_map(Step::Wanted),
    ]
}

proptest! {
    #[test]
    fn the_rules_hold(seed: u64, steps in prop::collection::vec(steps(), 1..120)) {
        let mut now = Instant::now();
        let mut wanted = Wanted::Up;
        let mut session = Session::new(Timing::default(), wanted, NonZeroU32::MIN, seed, now);
        for step in steps {
            let before = (session.state(), session.transitions());
            match step {
                Step::Hear(packet) => {
                    session.handle_packet(&packet, now);
                }
                Step::Wait(time) => now += time,
                Step::WaitForTimer => now = session.poll_timeout().map_or(now, |at| at.max(now)),
                Step::Timing(timing) => session.set_timing(timing, now),
                Step::Wanted(to) => {
                    wanted = to;
                    session.set_wanted(wanted, now);
                }
            }
            session.handle_timeout(now);
            // A timer that has fired lies in the future again: the driver never spins.
            prop_assert!(session.poll_timeout().is_none_or(|at| at > now));
            let mut packets = 0;
            while let Some(packet) = session.poll_transmit() {
                check(&packet);
                prop_assert_eq!(packet.state, session.state());
                packets += 1;
            }
            prop_assert!(packets <= 2, "{packets} packets at once");
            if let Some(transition) = session.poll_transition() {
                prop_assert_eq!(transition.to, session.state());
                prop_assert!(session.transitions() > before.1);
            } else {
                prop_assert_eq!(session.state(), before.0);
            }
            match wanted {
                Wanted::Up => prop_assert_ne!(session.state(), State::AdminDown),
                Wanted::AdminDown => prop_assert_eq!(session.state(), State::AdminDown),
                Wanted::ForwardingLost => prop_assert_eq!(session.state(), State::Down),
            }
            if session.state() == State::Up {
                prop_assert!(session.was_up());
                prop_assert!(session.remote().discriminator.is_some() && session.detection_time().is_some());
            }
        }
    }
}
