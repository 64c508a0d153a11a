// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writing capture files.

use std::io::{self, Write};

use super::{Format, LINKTYPE_ETHERNET, PACKET_OCTETS_MAX, Packet};

const SECOND_NS: u64 = 1_000_000_000;

/// A capture file that is being written.
#[derive(Debug)]
pub struct Writer<W: Write> {
    output: W,
    format: Format,
}

impl<W: Write> Writer<W> {
    /// Writes the head of a file; `interfaces` are the names that [`Self::packet`] counts, from 0. pcap has no room for them.
    ///
    /// # Errors
    /// What the output says.
    pub fn new(output: W, format: Format, interfaces: &[&str]) -> io::Result<Self> {
        let mut writer = Self { output, format };
        match format {
            Format::Pcap => {
                // Magic of nanoseconds, version 2.4, two words that are 0, snap length, link type.
                let words = [0xa1b2_3c4d, 2 | 4 << 16, 0, 0, PACKET_OCTETS_MAX, LINKTYPE_ETHERNET];
                for word in words {
                    writer.u32(word)?;
                }
            }
            Format::Pcapng => {
                // Byte order, version 1.0, length of the section not given.
                let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
                body.extend([1, 0, 0, 0]);
                body.extend([0xff; 8]);
                writer.block(0x0a0d_0d0a, &body)?;
                for name in interfaces {
                    let mut body = LINKTYPE_ETHERNET.to_le_bytes().to_vec();
                    body.extend([0; 4]);
                    option(&mut body, 2, name.as_bytes());
                    // Nanoseconds.
                    option(&mut body, 9, &[9]);
                    body.extend([0; 4]);
                    writer.block(1, &body)?;
                }
            }
        }
        Ok(writer)
    }

    /// Writes a packet that left by `interface`. A comment is left out where the format has no room for it.
    ///
    /// # Errors
    /// What the output says.
    pub fn packet(&mut self, packet: &Packet, interface: u32, comment: &str) -> io::Result<()> {
        let kept = u32::try_from(packet.octets.len()).map_err(io::Error::other)?;
        match self.format {
            Format::Pcap => {
                // 32 bits of seconds end in 2106.
                let seconds = u32::try_from(packet.time_ns / SECOND_NS).unwrap_or(u32::MAX);
                let fraction = u32::try_from(packet.time_ns % SECOND_NS).expect("below a second");
                for word in [seconds, fraction, kept, packet.wire_len] {
                    self.u32(word)?;
                }
                self.output.write_all(&packet.octets)
            }
            Format::Pcapng => {
                let mut body = interface.to_le_bytes().to_vec();
                let halves = [packet.time_ns >> 32, packet.time_ns & 0xffff_ffff];
                for half in halves {
                    body.extend(u32::try_from(half).expect("half of a word").to_le_bytes());
                }
                body.extend(kept.to_le_bytes());
                body.extend(packet.wire_len.to_le_bytes());
                body.extend(&packet.octets);
                body.resize(body.len().next_multiple_of(4), 0);
                option(&mut body, 1, comment.as_bytes());
                body.extend([0; 4]);
                self.block(6, &body)
            }
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// A block with this body, which has a multiple of four octets.
    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?;
        self.u32(kind)?;
        self.u32(length)?;
        self.output.write_all(body)?;
        self.u32(length)
    }

    fn u32(&mut self, word: u32) -> io::Result<()> {
        self.output.write_all(&word.to_le_bytes())
    }
}

/// Adds an option; none with an empty value. One that is too long for its length field is cut.
fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    if length == 0 {
        return;
    }
    body.extend(code.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(value.iter().take(usize::from(length)));
    body.resize(body.len().next_multiple_of(4), 0);
}
