// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Capture files: pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), Ethernet only.
//!
//! Read in either byte order and any resolution of time; written in little endian and nanoseconds. Of pcapng, packets and
//! interfaces are read and other blocks passed over. Own code: the crate at hand refuses captures with a snap length,
//! whose packets are longer than what is kept of them, and takes pcapng times for nanoseconds, which they seldom are.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::path::Path;

pub use self::read::Reader;
pub use self::write::Writer;

/// Most octets of one packet: the largest IP packet, with its Ethernet header and two VLAN tags, and then some.
pub const PACKET_OCTETS_MAX: u32 = 262_144;
/// Most octets of one pcapng block; one of a packet with its options is far below.
const BLOCK_OCTETS_MAX: u32 = 16 << 20;
/// Most interfaces that one section of a pcapng file may describe.
const INTERFACES_MAX: usize = 4_096;
/// Ethernet, in the registry of link types.
const LINKTYPE_ETHERNET: u32 = 1;

/// Kind of a capture file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The classic format.
    Pcap,
    /// Its successor, with interfaces and comments.
    Pcapng,
}

impl Format {
    /// By the ending of a file's name: `.pcapng` and `.ntar` are pcapng, anything else is pcap.
    pub fn of(path: &Path) -> Self {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if ["pcapng", "ntar"].iter().any(|known| ending.eq_ignore_ascii_case(known)) {
            Self::Pcapng
        } else {
            Self::Pcap
        }
    }
}

/// One captured packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packet {
    /// When, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Octets that it had on the wire.
    pub wire_len: u32,
    /// What was kept of it, from its first octet.
    pub octets: Vec<u8>,
}

impl Packet {
    /// Whether less was kept than there was.
    pub fn is_cut(&self) -> bool {
        self.wire_len as usize > self.octets.len()
    }
}

/// Why a capture file cannot be read further.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Reading failed, or the file ends inside a record.
    #[error("read the capture")]
    Io(#[from] io::Error),
    /// It is neither pcap nor pcapng.
    #[error("the file begins with {found:#010x}, which is neither pcap nor pcapng")]
    Magic {
        /// Its first four octets.
        found: u32,
    },
    /// Packets of another link layer.
    #[error("the capture has link type {found}; only Ethernet (1) can be read")]
    LinkType {
        /// Number in the registry of link types.
        found: u32,
    },
    /// A length or a number that cannot be.
    #[error("{what} is {found}, {expected}")]
    Field {
        /// What was read.
        what: &'static str,
        /// What it says.
        found: u64,
        /// What it may say.
        expected: &'static str,
    },
}
