// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packets recorded from FRR and BIRD mean what they say, and are written back octet by octet.

use std::num::NonZeroU32;
use std::time::Duration;

use weir_bfd::packet::{Diagnostic, PACKET_LEN, Packet, State};

fn octets(text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits");
    (0..digits.len()).step_by(2).map(pair).collect()
}

const FRR: u32 = 3_274_095_982;
const BIRD: u32 = 2_198_886_536;

/// What all of them have in common, so that a case says what is its own.
fn packet(state: State, mine: u32, yours: u32) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        detect_mult: 3,
        my_discriminator: NonZeroU32::new(mine).expect("not zero"),
        your_discriminator: NonZeroU32::new(yours),
        desired_min_tx: Duration::from_millis(100),
        required_min_rx: Duration::from_millis(100),
        required_min_echo_rx: if mine == FRR { Duration::from_millis(50) } else { Duration::ZERO },
    }
}

#[test]
fn recorded_packets_mean_what_they_say() {
    let second = Duration::from_secs(1);
    let cases = [
        (
            include_str!("fixtures/bird-down.hex"),
            Packet { desired_min_tx: second, ..packet(State::Down, BIRD, 0) },
        ),
        (
            include_str!("fixtures/frr-init.hex"),
            Packet { desired_min_tx: second, required_min_rx: second, ..packet(State::Init, FRR, BIRD) },
        ),
        (include_str!("fixtures/bird-up-poll.hex"), Packet { poll: true, ..packet(State::Up, BIRD, FRR) }),
        (
            include_str!("fixtures/frr-up-final.hex"),
            Packet { is_final: true, ..packet(State::Up, FRR, BIRD) },
        ),
        (include_str!("fixtures/frr-up.hex"), packet(State::Up, FRR, BIRD)),
        (
            include_str!("fixtures/frr-down-detect-expired.hex"),
            Packet { diagnostic: Diagnostic::DETECTION_EXPIRED, ..packet(State::Down, FRR, 0) },
        ),
    ];
    for (text, expected) in cases {
        let octets = octets(text);
        assert_eq!(octets.len(), PACKET_LEN);
        assert_eq!(Packet::decode(&octets), Ok(expected));
        assert_eq!(expected.encode()[..], octets[..]);
    }
}
