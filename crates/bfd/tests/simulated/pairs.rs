// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every state of a real session meets every received state (RFC 5880 §6.8.6).

use std::num::NonZeroU32;
use std::time::Instant;

use weir_bfd::packet::{Diagnostic, Packet, State};
use weir_bfd::session::{Heard, Session};
use weir_bfd::{Timing, Wanted};

use crate::world::ms;

const OURS: NonZeroU32 = NonZeroU32::MIN;

pub(crate) fn packet(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        detect_mult: 3,
        my_discriminator: NonZeroU32::new(77).expect("not zero"),
        your_discriminator: Some(OURS),
        desired_min_tx: ms(100),
        required_min_rx: ms(100),
        required_min_echo_rx: ms(0),
    }
}

/// A session that was led to a state.
pub(crate) fn session(state: State, now: Instant) -> Session {
    let mut session = Session::new(Timing::default(), Wanted::Up, OURS, 1, now);
    match state {
        State::AdminDown => session.set_wanted(Wanted::AdminDown, now),
        State::Down => {}
        State::Init => {
            session.handle_packet(&packet(State::Down), now);
        }
        State::Up => {
            session.handle_packet(&packet(State::Init), now);
        }
    }
    while session.poll_transmit().is_some() {}
    session.poll_transition();
    assert_eq!(session.state(), state);
    session
}

#[test]
fn every_pair_goes_where_it_should() {
    use State::{AdminDown, Down, Init, Up};
    let after = [
        // received: AdminDown, Down, Init, Up
        (AdminDown, [AdminDown, AdminDown, AdminDown, AdminDown]),
        (Down, [Down, Init, Up, Down]),
        (Init, [Down, Init, Up, Up]),
        (Up, [Down, Down, Up, Up]),
    ];
    let now = Instant::now();
    for (state, row) in after {
        for (received, to) in State::ALL.into_iter().zip(row) {
            let mut session = session(state, now);
            let heard = session.handle_packet(&packet(received), now);
            assert_eq!(session.state(), to, "{state} hears {received}");
            assert_eq!(heard == Heard::AdminDown, state == AdminDown);
            let transition = session.poll_transition();
            assert_eq!(transition.map(|t| (t.from, t.to)), (state != to).then_some((state, to)));
            // News leave at once, and only news.
            assert_eq!(session.poll_transmit().map(|p| p.state), (state != to).then_some(to));
            if state != to {
                let signaled = Diagnostic::NEIGHBOUR_SIGNALED_DOWN;
                let reason = if to == Down { signaled } else { Diagnostic::NONE };
                assert_eq!(session.diagnostic(), reason, "{state} hears {received}");
            }
        }
    }
}

#[test]
fn silence_ends_init_and_up_and_leaves_the_others() {
    let now = Instant::now();
    for (state, to) in [(State::Down, State::Down), (State::Init, State::Down), (State::Up, State::Down)] {
        let mut session = session(state, now);
        session.handle_packet(&packet(State::Up), now);
        let from = session.state();
        let detection = session.detection_time().expect("heard");
        session.handle_timeout(now + detection - ms(1));
        assert_eq!(session.state(), from);
        session.handle_timeout(now + detection);
        assert_eq!(session.state(), to);
        assert_eq!(session.remote().discriminator, None);
        assert_eq!(session.detection_time(), None);
    }
    let mut session = session(State::AdminDown, now);
    session.handle_packet(&packet(State::Up), now);
    assert!(!session.is_peer_down());
    session.handle_timeout(now + ms(10_000));
    assert_eq!((session.state(), session.is_peer_down()), (State::AdminDown, true));
}

/// A host that cannot forward stays Down whatever it hears, and says why; AdminDown says something else.
#[test]
fn lost_forwarding_holds_a_session_down() {
    let now = Instant::now();
    let mut session = session(State::Up, now);
    session.set_wanted(Wanted::ForwardingLost, now);
    for received in State::ALL {
        session.handle_packet(&packet(received), now);
        assert_eq!(session.state(), State::Down);
        assert_eq!(session.diagnostic(), Diagnostic::FORWARDING_PLANE_RESET);
    }
    session.set_wanted(Wanted::Up, now);
    session.handle_packet(&packet(State::Down), now);
    assert_eq!(session.state(), State::Init);
}
