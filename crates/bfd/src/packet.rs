// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control packet: 24 octets, version 1, without authentication.
//!
//! ```text
//!    0                   1                   2                   3
//!   |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
//!   |                       My Discriminator                        |
//!   |                      Your Discriminator                       |
//!   |              Desired Min TX Interval, microseconds            |
//!   |             Required Min RX Interval, microseconds            |
//!   |          Required Min Echo RX Interval, microseconds          |
//! ```
//! Decoding refuses what a look at the packet alone can refuse (RFC 5880 §6.8.6); what needs a session is refused in
//! [`crate::sessions`]. Authentication and demand mode are not spoken, so packets that ask for them are refused here.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// Length of a control packet without authentication.
pub const PACKET_LEN: usize = 24;

/// The version of RFC 5880.
const VERSION: u8 = 1;
/// Least length with the A bit set: the authentication section has at least a type and a length.
const AUTHENTICATED_LEN_MIN: usize = 26;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// State of a session, in the order of its numbers on the wire (RFC 5880 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Held down on purpose; says nothing about the path.
    AdminDown,
    /// Nothing is known of the other end, or it is gone.
    Down,
    /// The other end is heard, and does not hear us yet.
    Init,
    /// Both ends hear each other.
    Up,
}

impl State {
    /// All of them, in the order of their numbers.
    pub const ALL: [State; 4] = [State::AdminDown, State::Down, State::Init, State::Up];

    /// The two bits of the wire; higher bits are ignored.
    fn from_bits(bits: u8) -> State {
        match bits & 3 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        }
    }

    const fn to_bits(self) -> u8 {
        match self {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::AdminDown => "AdminDown",
            State::Down => "Down",
            State::Init => "Init",
            State::Up => "Up",
        })
    }
}

/// Reason of a session's last change, 0 to 31 (RFC 5880 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// Nothing to say.
    pub const NONE: Diagnostic = Diagnostic(0);
    /// No packet came for the detection time.
    pub const DETECTION_EXPIRED: Diagnostic = Diagnostic(1);
    /// The other end said that it is down.
    pub const NEIGHBOUR_SIGNALED_DOWN: Diagnostic = Diagnostic(3);
    /// The forwarding behind this end is lost.
    pub const FORWARDING_PLANE_RESET: Diagnostic = Diagnostic(4);
    /// Held down on purpose.
    pub const ADMINISTRATIVELY_DOWN: Diagnostic = Diagnostic(7);

    /// The five bits of the wire; higher bits are ignored.
    pub const fn from_bits(bits: u8) -> Diagnostic {
        Diagnostic(bits & 31)
    }

    /// Its number.
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "no diagnostic",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbour signaled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            other => return write!(f, "diagnostic {other}"),
        })
    }
}

/// One control packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender's session last changed.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// P: the sender wants an answer with F.
    pub poll: bool,
    /// F: this answers a packet with P.
    pub is_final: bool,
    /// C: the sender's BFD outlives its control plane.
    pub control_plane_independent: bool,
    /// Packets missed in a row that the receiver shall take for the end; never zero when decoded.
    pub detect_mult: u8,
    /// The sender's name for the session.
    pub my_discriminator: NonZeroU32,
    /// The receiver's name for the session, if the sender knows it.
    pub your_discriminator: Option<NonZeroU32>,
    /// The sender wants to send no faster than this.
    pub desired_min_tx: Duration,
    /// The sender can receive no faster than this; zero: it wants no periodic packets.
    pub required_min_rx: Duration,
    /// Echo packets that the sender would reflect; zero: none.
    pub required_min_echo_rx: Duration,
}

/// Why octets are no packet for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Fewer octets than a packet has.
    #[error("{length} octets, a control packet has 24")]
    TooShort {
        /// Octets that came.
        length: usize,
    },
    /// Another version than 1.
    #[error("version {version}, not 1")]
    Version {
        /// The version that it says.
        version: u8,
    },
    /// The length field is too small for a packet, or says more than came.
    #[error("length field {field} in {length} octets")]
    Length {
        /// What the field says.
        field: u8,
        /// Octets that came.
        length: usize,
    },
    /// Detect Mult is zero.
    #[error("the detection multiplier is zero")]
    DetectMultZero,
    /// The M bit is set.
    #[error("the multipoint bit is set")]
    Multipoint,
    /// My Discriminator is zero.
    #[error("the sender's discriminator is zero")]
    MyDiscriminatorZero,
    /// Your Discriminator is zero in a state in which the sender must know it.
    #[error("our discriminator is zero in state {state}")]
    YourDiscriminatorZero {
        /// The sender's state.
        state: State,
    },
    /// The A bit is set; no session uses authentication.
    #[error("the packet is authenticated, which is not configured")]
    Authentication,
    /// The D bit is set; demand mode is refused (docs/adr/0019).
    #[error("the sender asks for demand mode")]
    Demand,
}

impl Packet {
    /// Reads a packet; octets behind the length that it says are ignored.
    pub fn decode(octets: &[u8]) -> Result<Packet, PacketError> {
        let length = octets.len();
        let Some((fixed, _)) = octets.split_first_chunk::<PACKET_LEN>() else {
            return Err(PacketError::TooShort { length });
        };
        let [first, flags, detect_mult, field, words @ ..] = *fixed;
        let version = first >> 5;
        if version != VERSION {
            return Err(PacketError::Version { version });
        }
        let is_authenticated = flags & AUTHENTICATION != 0;
        let length_min = if is_authenticated { AUTHENTICATED_LEN_MIN } else { PACKET_LEN };
        if usize::from(field) < length_min || usize::from(field) > length {
            return Err(PacketError::Length { field, length });
        }
        if detect_mult == 0 {
            return Err(PacketError::DetectMultZero);
        }
        if flags & MULTIPOINT != 0 {
            return Err(PacketError::Multipoint);
        }
        let word = |n: usize| {
            let at = 4 * n;
            u32::from_be_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]])
        };
        let microseconds = |n: usize| Duration::from_micros(word(n).into());
        let my_discriminator = NonZeroU32::new(word(0)).ok_or(PacketError::MyDiscriminatorZero)?;
        let your_discriminator = NonZeroU32::new(word(1));
        let state = State::from_bits(flags >> 6);
        if your_discriminator.is_none() && !matches!(state, State::AdminDown | State::Down) {
            return Err(PacketError::YourDiscriminatorZero { state });
        }
        if is_authenticated {
            return Err(PacketError::Authentication);
        }
        if flags & DEMAND != 0 {
            return Err(PacketError::Demand);
        }
        Ok(Packet {
            diagnostic: Diagnostic::from_bits(first),
            state,
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
            detect_mult,
            my_discriminator,
            your_discriminator,
            desired_min_tx: microseconds(2),
            required_min_rx: microseconds(3),
            required_min_echo_rx: microseconds(4),
        })
    }

    /// Writes it; times above 71 minutes are written as the most that fits.
    pub fn encode(&self) -> [u8; PACKET_LEN] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut octets = [0; PACKET_LEN];
        octets[0] = VERSION << 5 | self.diagnostic.code();
        octets[1] = self.state.to_bits() << 6
            | flag(self.poll, POLL)
            | flag(self.is_final, FINAL)
            | flag(self.control_plane_independent, CONTROL_PLANE_INDEPENDENT);
        octets[2] = self.detect_mult;
        octets[3] = 24;
        let words = [
            self.my_discriminator.get(),
            self.your_discriminator.map_or(0, NonZeroU32::get),
            microseconds(self.desired_min_tx),
            microseconds(self.required_min_rx),
            microseconds(self.required_min_echo_rx),
        ];
        for (place, word) in octets[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        octets
    }
}

fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> [u8; PACKET_LEN] {
        Packet {
            diagnostic: Diagnostic::NONE,
            state: State::Up,
            poll: false,
            is_final: false,
            control_plane_independent: false,
            detect_mult: 3,
            my_discriminator: NonZeroU32::MIN,
            your_discriminator: Some(NonZeroU32::MIN),
            desired_min_tx: Duration::from_millis(100),
            required_min_rx: Duration::from_millis(100),
            required_min_echo_rx: Duration::ZERO,
        }
        .encode()
    }

    fn refused(change: impl FnOnce(&mut Vec<u8>)) -> PacketError {
        let mut octets = packet().to_vec();
        Packet::decode(&octets).expect("good before the change");
        change(&mut octets);
        Packet::decode(&octets).expect_err("refused")
    }

    /// Every rule of RFC 5880 §6.8.6 that needs no session.
    #[test]
    fn each_rule_refuses_by_its_name() {
        assert_eq!(refused(|o| o.truncate(23)), PacketError::TooShort { length: 23 });
        assert_eq!(refused(Vec::clear), PacketError::TooShort { length: 0 });
        assert_eq!(refused(|o| o[0] = 0x40), PacketError::Version { version: 2 });
        assert_eq!(refused(|o| o[0] = 0), PacketError::Version { version: 0 });
        assert_eq!(refused(|o| o[3] = 23), PacketError::Length { field: 23, length: 24 });
        assert_eq!(refused(|o| o[3] = 25), PacketError::Length { field: 25, length: 24 });
        assert_eq!(refused(|o| o[1] |= AUTHENTICATION), PacketError::Length { field: 24, length: 24 });
        assert_eq!(refused(|o| o[2] = 0), PacketError::DetectMultZero);
        assert_eq!(refused(|o| o[1] |= MULTIPOINT), PacketError::Multipoint);
        assert_eq!(refused(|o| o[4..8].fill(0)), PacketError::MyDiscriminatorZero);
        for (bits, state) in [(0x80, State::Init), (0xc0, State::Up)] {
            let error = refused(|o| {
                o[1] = bits;
                o[8..12].fill(0);
            });
            assert_eq!(error, PacketError::YourDiscriminatorZero { state });
        }
        let authenticated = refused(|o| {
            o[1] |= AUTHENTICATION;
            o[3] = 26;
            o.extend([1, 2]);
        });
        assert_eq!(authenticated, PacketError::Authentication);
        assert_eq!(refused(|o| o[1] |= DEMAND), PacketError::Demand);
    }

    #[test]
    fn octets_behind_the_length_are_ignored() {
        let mut octets = packet().to_vec();
        octets.extend([0xff; 40]);
        assert_eq!(Packet::decode(&octets), Packet::decode(&packet()));
    }

    #[test]
    fn times_that_do_not_fit_are_the_most_that_fits() {
        let mut packet = Packet::decode(&packet()).expect("good");
        packet.desired_min_tx = Duration::from_secs(100_000);
        let again = Packet::decode(&packet.encode()).expect("good");
        assert_eq!(again.desired_min_tx, Duration::from_micros(u32::MAX.into()));
    }
}
