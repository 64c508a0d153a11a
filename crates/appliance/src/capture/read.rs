// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading capture files, packet by packet.

use std::io::{self, Read};

use super::{
    BLOCK_OCTETS_MAX, CaptureError, Format, INTERFACES_MAX, LINKTYPE_ETHERNET, PACKET_OCTETS_MAX, Packet,
};

/// Blocks of pcapng (draft-ietf-opsawg-pcapng §4, §11.1).
mod block {
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE: u32 = 1;
    /// Obsolete; files of old tools have it.
    pub(super) const PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const ENHANCED_PACKET: u32 = 6;
}

/// Options of an interface description (§4.2).
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const TSRESOL: u16 = 9;
    pub(super) const TSOFFSET: u16 = 14;
}

/// Magic number of pcap times in microseconds.
const PCAP_MICROSECONDS: u32 = 0xa1b2_c3d4;
/// Magic number of pcap times in nanoseconds.
const PCAP_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Byte-order magic of a pcapng section.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const SECOND_NS: u64 = 1_000_000_000;

/// Byte order of what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, octets: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(octets),
            Self::Big => u16::from_be_bytes(octets),
        }
    }

    fn u32(self, octets: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(octets),
            Self::Big => u32::from_be_bytes(octets),
        }
    }

    fn u64(self, octets: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(octets),
            Self::Big => u64::from_be_bytes(octets),
        }
    }
}

/// An interface of a pcapng section.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link_type: u32,
    snap_len: u32,
    /// Units of time in a second.
    units: u64,
    /// Seconds to add.
    offset_s: i64,
}

#[derive(Debug)]
enum Kind {
    Pcap { nanos_per_unit: u64 },
    Pcapng { interfaces: Vec<Interface> },
}

/// A capture file that is being read.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    order: Order,
    kind: Kind,
}

impl<R: Read> Reader<R> {
    /// Reads the head of a file. Give it something buffered.
    ///
    /// # Errors
    /// [`CaptureError`].
    pub fn new(mut input: R) -> Result<Self, CaptureError> {
        let magic: [u8; 4] = octets(&mut input)?;
        let found = u32::from_le_bytes(magic);
        if found == block::SECTION {
            let mut reader =
                Self { input, order: Order::Little, kind: Kind::Pcapng { interfaces: Vec::new() } };
            reader.section()?;
            return Ok(reader);
        }
        let orders = [(Order::Little, found), (Order::Big, u32::from_be_bytes(magic))];
        let known = |(order, magic)| match magic {
            PCAP_MICROSECONDS => Some((order, 1_000)),
            PCAP_NANOSECONDS => Some((order, 1)),
            _ => None,
        };
        let (order, nanos_per_unit) =
            orders.into_iter().find_map(known).ok_or(CaptureError::Magic { found })?;
        // Version, two words that nobody uses, snap length: nothing that must be known.
        let _: [u8; 16] = octets(&mut input)?;
        // The upper bits say how long the frame check sequence is, if there is one.
        let link_type = order.u32(octets(&mut input)?) & 0xffff;
        ethernet(link_type)?;
        Ok(Self { input, order, kind: Kind::Pcap { nanos_per_unit } })
    }

    /// What kind of file it is.
    pub fn format(&self) -> Format {
        match self.kind {
            Kind::Pcap { .. } => Format::Pcap,
            Kind::Pcapng { .. } => Format::Pcapng,
        }
    }

    /// The next packet, or `None` at the end of the file.
    ///
    /// # Errors
    /// [`CaptureError`]; nothing can be read after it.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, CaptureError> {
        match self.kind {
            Kind::Pcap { nanos_per_unit } => self.pcap_packet(nanos_per_unit),
            Kind::Pcapng { .. } => self.pcapng_packet(),
        }
    }

    fn pcap_packet(&mut self, nanos_per_unit: u64) -> Result<Option<Packet>, CaptureError> {
        let Some(seconds) = first_octets(&mut self.input)? else { return Ok(None) };
        let seconds = u64::from(self.order.u32(seconds));
        let fraction = u64::from(self.u32()?);
        let (kept, wire_len) = (self.u32()?, self.u32()?);
        let time_ns = seconds * SECOND_NS + fraction.saturating_mul(nanos_per_unit);
        let octets = self.packet_octets(kept)?;
        Ok(Some(Packet { time_ns, wire_len: wire_len.max(kept), octets }))
    }

    fn pcapng_packet(&mut self) -> Result<Option<Packet>, CaptureError> {
        loop {
            let Some(kind) = first_octets(&mut self.input)? else { return Ok(None) };
            let kind = self.order.u32(kind);
            // Alike in both byte orders, because the new section's order is not known yet.
            if kind == block::SECTION {
                self.section()?;
                continue;
            }
            let body = self.body(8)?;
            let packet = match kind {
                block::INTERFACE => {
                    self.interface(&body)?;
                    None
                }
                block::ENHANCED_PACKET => self.enhanced(&body, false)?,
                block::PACKET => self.enhanced(&body, true)?,
                block::SIMPLE_PACKET => self.simple(&body)?,
                _ => None,
            };
            if packet.is_some() {
                return Ok(packet);
            }
        }
    }

    /// The rest of a section header, behind its type: sets the byte order and forgets the interfaces.
    fn section(&mut self) -> Result<(), CaptureError> {
        let length: [u8; 4] = octets(&mut self.input)?;
        let magic: [u8; 4] = octets(&mut self.input)?;
        self.order = match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
            (BYTE_ORDER, _) => Order::Little,
            (_, BYTE_ORDER) => Order::Big,
            (found, _) => return Err(CaptureError::Magic { found }),
        };
        self.skip(block_length(self.order.u32(length), 12)?)?;
        self.kind = Kind::Pcapng { interfaces: Vec::new() };
        Ok(())
    }

    /// What is left of a block's body of which `read` octets, type and length included, were read.
    fn body(&mut self, read: u32) -> Result<Vec<u8>, CaptureError> {
        let length = self.u32()?;
        let octets = self.take(block_length(length, read)?)?;
        let (body, again) = octets.split_at(octets.len() - 4);
        let again = self.order.u32(again.try_into().expect("four octets"));
        if again != length {
            let expected = "which is not what the block's head says";
            return Err(field("the length at the end of a block", again, expected));
        }
        Ok(body.to_vec())
    }

    fn interface(&mut self, body: &[u8]) -> Result<(), CaptureError> {
        let order = self.order;
        let Kind::Pcapng { interfaces } = &mut self.kind else { return Ok(()) };
        if interfaces.len() >= INTERFACES_MAX {
            let found = interfaces.len() as u64 + 1;
            let expected = "of which 4,096 at most are read";
            return Err(CaptureError::Field { what: "the number of interfaces", found, expected });
        }
        let mut fields = Fields { order, rest: body };
        let link_type = u32::from(fields.u16()?);
        fields.u16()?;
        let snap_len = fields.u32()?;
        let mut interface = Interface { link_type, snap_len, units: 1_000_000, offset_s: 0 };
        // Options that are cut short end the list: they say nothing that a packet needs.
        while let (Ok(code), Ok(length)) = (fields.u16(), fields.u16()) {
            if code == option::END {
                break;
            }
            let Ok(value) = fields.padded(u32::from(length)) else { break };
            match (code, value) {
                (option::TSRESOL, [exponent, ..]) => interface.units = units(*exponent)?,
                (option::TSOFFSET, value) => {
                    if let Some(value) = value.first_chunk() {
                        interface.offset_s = order.u64(*value).cast_signed();
                    }
                }
                _ => {}
            }
        }
        interfaces.push(interface);
        Ok(())
    }

    /// An enhanced packet block, or its obsolete predecessor.
    fn enhanced(&self, body: &[u8], is_obsolete: bool) -> Result<Option<Packet>, CaptureError> {
        let mut fields = Fields { order: self.order, rest: body };
        let interface = if is_obsolete {
            let number = fields.u16()?;
            fields.u16()?;
            u32::from(number)
        } else {
            fields.u32()?
        };
        let interface = self.interface_of(interface)?;
        let units = u64::from(fields.u32()?) << 32 | u64::from(fields.u32()?);
        let (kept, wire_len) = (fields.u32()?, fields.u32()?);
        let octets = fields.padded(packet_length(kept)?)?.to_vec();
        let time_ns = nanoseconds(units, interface);
        Ok(Some(Packet { time_ns, wire_len: wire_len.max(kept), octets }))
    }

    fn simple(&self, body: &[u8]) -> Result<Option<Packet>, CaptureError> {
        let mut fields = Fields { order: self.order, rest: body };
        let interface = self.interface_of(0)?;
        let wire_len = packet_length(fields.u32()?)?;
        let kept = if interface.snap_len == 0 { wire_len } else { wire_len.min(interface.snap_len) };
        let octets = fields.padded(kept)?.to_vec();
        Ok(Some(Packet { time_ns: 0, wire_len, octets }))
    }

    fn interface_of(&self, number: u32) -> Result<Interface, CaptureError> {
        let known = match &self.kind {
            Kind::Pcapng { interfaces } => interfaces.get(number as usize).copied(),
            Kind::Pcap { .. } => None,
        };
        let interface = known.ok_or_else(|| {
            field("the interface of a packet", number, "which the file does not describe before it")
        })?;
        ethernet(interface.link_type)?;
        Ok(interface)
    }

    fn packet_octets(&mut self, length: u32) -> Result<Vec<u8>, CaptureError> {
        self.take(packet_length(length)?)
    }

    fn take(&mut self, length: u32) -> Result<Vec<u8>, CaptureError> {
        // Grows with what is there: the length may be a lie.
        let mut taken = Vec::new();
        let read = (&mut self.input).take(u64::from(length)).read_to_end(&mut taken)?;
        if read < length as usize {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(taken)
    }

    fn skip(&mut self, length: u32) -> Result<(), CaptureError> {
        self.take(length).map(drop)
    }

    fn u32(&mut self) -> Result<u32, CaptureError> {
        Ok(self.order.u32(octets(&mut self.input)?))
    }
}

/// Fields of a block's body, one after the other.
struct Fields<'b> {
    order: Order,
    rest: &'b [u8],
}

impl<'b> Fields<'b> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CaptureError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(short)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, CaptureError> {
        Ok(self.order.u16(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, CaptureError> {
        Ok(self.order.u32(self.take()?))
    }

    /// `length` octets and what fills them up to a multiple of four.
    fn padded(&mut self, length: u32) -> Result<&'b [u8], CaptureError> {
        let length = length as usize;
        let taken = self.rest.get(..length).ok_or_else(short)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Ok(taken)
    }
}

fn short() -> CaptureError {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a block ends before its fields do").into()
}

fn field(what: &'static str, found: u32, expected: &'static str) -> CaptureError {
    CaptureError::Field { what, found: u64::from(found), expected }
}

fn ethernet(link_type: u32) -> Result<(), CaptureError> {
    if link_type == LINKTYPE_ETHERNET { Ok(()) } else { Err(CaptureError::LinkType { found: link_type }) }
}

fn packet_length(length: u32) -> Result<u32, CaptureError> {
    if length > PACKET_OCTETS_MAX {
        return Err(field("the length of a packet", length, "of which 262,144 at most is read"));
    }
    Ok(length)
}

/// Octets of a block of `length` that follow the first `read`, the final length included.
fn block_length(length: u32, read: u32) -> Result<u32, CaptureError> {
    match length.checked_sub(read) {
        Some(rest) if rest >= 4 && length.is_multiple_of(4) && length <= BLOCK_OCTETS_MAX => Ok(rest),
        _ => Err(field("the length of a block", length, "which no block can have")),
    }
}

/// Units of time in a second, from `if_tsresol`.
fn units(resolution: u8) -> Result<u64, CaptureError> {
    let exponent = u32::from(resolution & 0x7f);
    let units =
        if resolution & 0x80 == 0 { 10_u64.checked_pow(exponent) } else { 1_u64.checked_shl(exponent) };
    units.ok_or_else(|| field("the resolution of time", u32::from(resolution), "which is finer than 64 bits"))
}

fn nanoseconds(units: u64, interface: Interface) -> u64 {
    let seconds = (units / interface.units).saturating_add_signed(interface.offset_s);
    let rest = u128::from(units % interface.units) * u128::from(SECOND_NS) / u128::from(interface.units);
    let rest = u64::try_from(rest).expect("below a second");
    seconds.saturating_mul(SECOND_NS).saturating_add(rest)
}

fn octets<const N: usize>(input: &mut impl Read) -> Result<[u8; N], CaptureError> {
    let mut octets = [0; N];
    input.read_exact(&mut octets)?;
    Ok(octets)
}

/// The first octets of a record, or `None` if the file ends before them; ending among them is an error.
fn first_octets(input: &mut impl Read) -> Result<Option<[u8; 4]>, CaptureError> {
    let mut octets = [0; 4];
    let mut read = 0;
    while let Some(rest) = octets.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) if read == 0 => return Ok(None),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(octets))
}
