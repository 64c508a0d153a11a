// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold of BFD, whatever comes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use weir_bfd::packet::{PACKET_LEN, Packet, State};
use weir_bfd::session::SLOW_INTERVAL;
use weir_bfd::sessions::{Datagram, Sessions};
use weir_bfd::{SessionConfig, Timing, Wanted};

/// One datagram: what can be read is written back the same, and what is refused has a reason that can be printed.
pub fn packet(octets: &[u8]) {
    match Packet::decode(octets) {
        Ok(packet) => {
            let written = packet.encode();
            assert_eq!(Packet::decode(&written), Ok(packet));
            assert_eq!(written[..3], octets[..3]);
            assert_eq!(written[4..], octets[4..PACKET_LEN]);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

/// Each octet is a command, with what follows as its argument: a datagram, a wait, other timing, another purpose, a removal.
pub fn sessions(octets: &[u8]) {
    let mut input = octets.iter().copied();
    let mut now = Instant::now();
    let mut sessions = Sessions::new(1);
    let mut config = SessionConfig::new(PEER);
    set(&mut sessions, Some(&config), now);
    while let Some(command) = input.next() {
        let argument = input.next().unwrap_or_default();
        match command % 8 {
            0..=2 => {
                let ours = sessions.iter().next().map(|(ours, _)| ours.get());
                let mut octets: Vec<u8> = input.by_ref().take(PACKET_LEN).collect();
                // Half of them are made to fit, or hardly any would get past the first checks.
                if argument & 1 == 0 && octets.len() == PACKET_LEN {
                    octets[0] = octets[0] & 0x1f | 0x20;
                    octets[1] &= 0xf8;
                    octets[3] = 24;
                    octets[8..12].copy_from_slice(&ours.unwrap_or_default().to_be_bytes());
                }
                let hop_limit = if argument == 255 { Some(254) } else { Some(255) };
                let datagram = Datagram { source: PEER, interface: 1, hop_limit, payload: &octets };
                let before = sessions.discards().total();
                let taken = sessions.handle_datagram(&datagram, now);
                assert_eq!(sessions.discards().total() - before, u64::from(taken.is_err()));
            }
            3 => now += Duration::from_millis(u64::from(argument) * 20),
            4 => now = sessions.poll_timeout().map_or(now, |at| at.max(now)),
            5 => {
                let desired_min_tx = Duration::from_millis(10 + u64::from(argument) * 10);
                let required_min_rx = Duration::from_millis(10 + u64::from(argument ^ 0x55) * 10);
                config.timing = Timing { desired_min_tx, required_min_rx, detect_mult: argument.max(1) };
                set(&mut sessions, Some(&config), now);
            }
            6 => {
                config.wanted = match argument % 3 {
                    0 => Wanted::Up,
                    1 => Wanted::AdminDown,
                    _ => Wanted::ForwardingLost,
                };
                set(&mut sessions, Some(&config), now);
            }
            _ => {
                set(&mut sessions, None, now);
                if argument & 1 == 0 {
                    set(&mut sessions, Some(&config), now);
                }
            }
        }
        settle(&mut sessions, now);
    }
}

fn set(sessions: &mut Sessions, config: Option<&SessionConfig>, now: Instant) {
    let wanted = config.map(|config| ("peer".to_owned(), config.clone()));
    sessions.set(wanted.into_iter().collect::<BTreeMap<_, _>>(), now).expect("a good set");
}

fn settle(sessions: &mut Sessions, now: Instant) {
    sessions.handle_timeout(now);
    let mut packets = 0;
    sessions.transmit(|_, _, packet| {
        packets += 1;
        assert!(!(packet.poll && packet.is_final));
        assert!(packet.state == State::Up || packet.desired_min_tx >= SLOW_INTERVAL);
        assert_eq!(Packet::decode(&packet.encode()), Ok(*packet));
    });
    sessions.handle_timeout(now);
    // One session, and one that says goodbye; each sends news and an answer.
    assert!(packets <= 4 && sessions.iter().count() <= 2);
    assert!(sessions.transitions().len() <= 2);
    assert!(sessions.poll_timeout().is_none_or(|at| at > now), "a timer that has fired lies in the future");
    for (_, entry) in sessions.iter() {
        let session = &entry.session;
        if session.state() == State::Up {
            assert!(session.was_up() && session.remote().discriminator.is_some());
            assert!(session.detection_time().is_some() && entry.config.wanted == Wanted::Up);
        }
    }
}
