// SPDX-License-Identifier: Apache-2.0 OR MIT
//! OPEN (RFC 4271 §4.2), with optional parameters of either length form (RFC 9072).
//!
//! ```text
//!   version(1) my AS(2) hold time(2) identifier(4) length(1) parameter*      parameter = type(1) length(1) value
//!                                                  length(1) 255 length(2) parameter*    type(1) length(2) value
//! ```

use std::net::Ipv4Addr;

use super::capability::Capability;
use super::cursor::Cursor;
use super::error::OpenError;
use super::iana::{self, AS_TRANS, message_type, open_parameter};
use super::message::encode_message;
use super::mp::AfiSafi;

/// Octets of capabilities that fit one message: behind the header are ten octets of fixed fields, then three of the
/// extended length and three of the parameter.
const CAPABILITIES_MAX: usize = iana::MESSAGE_LEN_MAX - iana::HEADER_LEN - 10 - 3 - 3;

/// An OPEN message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The two-octet AS field; [`Open::asn`] is the sender's AS.
    pub two_octet_as: u16,
    /// Proposed hold time in seconds.
    pub hold_time_s: u16,
    /// BGP identifier.
    pub router_id: Ipv4Addr,
    /// Capabilities in the order sent, of all capability parameters.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// The sender's AS: that of capability 65, else the two-octet field.
    pub fn asn(&self) -> u32 {
        self.capability_asn().unwrap_or(u32::from(self.two_octet_as))
    }

    /// Whether the sender writes and reads four-octet AS numbers.
    pub fn has_four_octet_as(&self) -> bool {
        self.capability_asn().is_some()
    }

    fn capability_asn(&self) -> Option<u32> {
        self.capabilities
            .iter()
            .find_map(|c| if let Capability::FourOctetAs(asn) = c { Some(*asn) } else { None })
    }

    /// Families offered: those of capability 1, or IPv4 unicast if there is none (RFC 4760 §8).
    pub fn families(&self) -> impl Iterator<Item = AfiSafi> + '_ {
        let is_multiprotocol = |c: &Capability| matches!(c, Capability::Multiprotocol(_));
        let classic =
            (!self.capabilities.iter().any(is_multiprotocol)).then_some(AfiSafi { afi: 1, safi: 1 });
        let offered = self
            .capabilities
            .iter()
            .filter_map(|c| if let Capability::Multiprotocol(family) = c { Some(*family) } else { None });
        offered.chain(classic)
    }

    /// Reads a body. What depends on who the peer should be is for the session to judge.
    pub fn decode(body: &[u8]) -> Result<Self, OpenError> {
        let short = || OpenError::Malformed { what: "shorter than its fixed part" };
        let mut cursor = Cursor::new(body);
        let version = cursor.u8().ok_or_else(short)?;
        if version != iana::VERSION {
            return Err(OpenError::Version { version });
        }
        let two_octet_as = cursor.u16().ok_or_else(short)?;
        let hold_time_s = cursor.u16().ok_or_else(short)?;
        let router_id = Ipv4Addr::from_bits(cursor.u32().ok_or_else(short)?);
        let length = cursor.u8().ok_or_else(short)?;
        let capabilities = decode_parameters(length, cursor)?;
        if matches!(hold_time_s, 1 | 2) {
            return Err(OpenError::HoldTime { seconds: hold_time_s });
        }
        if router_id.is_unspecified() {
            return Err(OpenError::Identifier { router_id });
        }
        Ok(Self { two_octet_as, hold_time_s, router_id, capabilities })
    }

    /// The whole message: one capability parameter, in the extended form only if it does not fit otherwise.
    ///
    /// It never exceeds 4096 octets (RFC 8654 §4): capabilities from the first that would are left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut capabilities = Vec::new();
        for capability in &self.capabilities {
            let end = capabilities.len();
            capability.encode(&mut capabilities);
            if capabilities.len() > CAPABILITIES_MAX {
                capabilities.truncate(end);
                break;
            }
        }
        encode_message(message_type::OPEN, |out| {
            out.push(iana::VERSION);
            out.extend_from_slice(&self.two_octet_as.to_be_bytes());
            out.extend_from_slice(&self.hold_time_s.to_be_bytes());
            out.extend_from_slice(&self.router_id.octets());
            match (u8::try_from(capabilities.len()), u8::try_from(capabilities.len() + 2)) {
                (Ok(0), _) => out.push(0),
                (Ok(value), Ok(parameter)) => {
                    out.extend_from_slice(&[parameter, open_parameter::CAPABILITIES, value]);
                }
                _ => {
                    let value = u16::try_from(capabilities.len()).unwrap_or(u16::MAX);
                    out.extend_from_slice(&[255, open_parameter::EXTENDED_LENGTH]);
                    out.extend_from_slice(&value.saturating_add(3).to_be_bytes());
                    out.push(open_parameter::CAPABILITIES);
                    out.extend_from_slice(&value.to_be_bytes());
                }
            }
            out.extend_from_slice(&capabilities);
        })
    }

    /// The two-octet field for an AS number of either width.
    pub fn two_octet(asn: u32) -> u16 {
        u16::try_from(asn).unwrap_or(AS_TRANS)
    }
}

fn decode_parameters(length: u8, mut cursor: Cursor<'_>) -> Result<Vec<Capability>, OpenError> {
    let malformed = |what| OpenError::Malformed { what };
    // A first parameter of type 255 means the extended form, whatever non-zero length stands before it (RFC 9072 §2).
    let is_extended = length != 0 && cursor.rest().first() == Some(&open_parameter::EXTENDED_LENGTH);
    let length = if is_extended {
        let mut header = cursor;
        let _ = header.u8();
        let length = header.u16().ok_or(malformed("extended parameter length"))?;
        cursor = header;
        usize::from(length)
    } else {
        usize::from(length)
    };
    if cursor.len() != length {
        return Err(malformed("optional parameter length"));
    }
    let mut capabilities = Vec::new();
    while !cursor.is_empty() {
        let kind = cursor.u8().ok_or(malformed("optional parameter"))?;
        let length = if is_extended { cursor.u16() } else { cursor.u8().map(u16::from) };
        let value =
            length.and_then(|l| cursor.take(usize::from(l))).ok_or(malformed("optional parameter"))?;
        if kind != open_parameter::CAPABILITIES {
            return Err(OpenError::Parameter { kind });
        }
        let mut value = Cursor::new(value);
        while !value.is_empty() {
            let (code, length) = (value.u8(), value.u8());
            let (Some(code), Some(length)) = (code, length) else { return Err(malformed("capability")) };
            let octets = value.take(usize::from(length)).ok_or(malformed("capability"))?;
            capabilities.push(Capability::decode(code, octets));
        }
    }
    Ok(capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(parameters: &[u8]) -> Vec<u8> {
        let mut out = vec![4, 0xfd, 0xe9, 0, 9, 10, 0, 0, 1, u8::try_from(parameters.len()).unwrap()];
        out.extend_from_slice(parameters);
        out
    }

    #[test]
    fn each_mistake_has_its_subcode() {
        let subcode = |body: &[u8]| {
            let answer = super::super::WireError::from(Open::decode(body).unwrap_err()).answer().unwrap();
            (answer.subcode(), answer.data().to_vec())
        };
        let mut version = body(&[]);
        version[0] = 3;
        assert_eq!(subcode(&version), (1, vec![0, 4]));
        let mut identifier = body(&[]);
        identifier[5..9].fill(0);
        assert_eq!(subcode(&identifier).0, 3);
        for seconds in [1, 2] {
            let mut hold = body(&[]);
            hold[4] = seconds;
            assert_eq!(subcode(&hold).0, 6);
        }
        assert_eq!(subcode(&body(&[1, 0])).0, 4);
        assert_eq!(subcode(&body(&[2, 3, 65, 4, 0])).0, 0, "capability beyond its parameter");
        assert_eq!(subcode(&body(&[2, 3, 65])).0, 0, "parameter beyond the message");
        assert_eq!(subcode(&body(&[])[..9]).0, 0);
        let mut beyond = body(&[]);
        beyond[9] = 1;
        assert_eq!(subcode(&beyond).0, 0);
        assert_eq!(subcode(&body(&[255, 0])).0, 0, "extended form without its length");
    }

    #[test]
    fn many_capabilities_take_the_extended_form_and_come_back() {
        let capabilities =
            (0..100u8).map(|n| Capability::Unknown { code: 200, value: vec![n; 10] }).collect();
        let open =
            Open { two_octet_as: 65001, hold_time_s: 9, router_id: Ipv4Addr::new(10, 0, 0, 1), capabilities };
        let message = open.encode();
        assert_eq!(&message[28..30], [255, 255]);
        assert_eq!(Open::decode(&message[19..]).unwrap(), open);
    }

    #[test]
    fn no_open_exceeds_four_thousand_octets() {
        let capability = |length| Capability::Unknown { code: 200, value: vec![7; length] };
        let mut open = Open {
            two_octet_as: 65001,
            hold_time_s: 9,
            router_id: Ipv4Addr::new(10, 0, 0, 1),
            capabilities: vec![capability(254); 15],
        };
        open.capabilities.push(capability(CAPABILITIES_MAX - 15 * 256 - 2));
        let message = open.encode();
        assert_eq!(message.len(), iana::MESSAGE_LEN_MAX);
        assert_eq!(Open::decode(&message[19..]).unwrap(), open);
        open.capabilities.insert(15, Capability::RouteRefresh);
        let read = Open::decode(&open.encode()[19..]).unwrap();
        assert_eq!(read.capabilities[..], open.capabilities[..16], "the last did not fit any more");
    }

    #[test]
    fn parameters_beyond_one_octet_of_length_are_read() {
        // RFC 9072: one parameter of 300 octets, another of 2, whatever the classic length says.
        let long = [&[200, 148][..], &[1; 148], &[201, 148], &[2; 148]].concat();
        let parameters = [&[2, 1, 44][..], &long, &[2, 0, 2, 70, 0]].concat();
        for classic in [1, 4, 255] {
            let head = [4, 0xfd, 0xe9, 0, 9, 10, 0, 0, 1, classic, 255, 1, 52];
            let read = Open::decode(&[&head[..], &parameters].concat()).unwrap();
            let codes: Vec<_> = read.capabilities.iter().map(ToString::to_string).collect();
            assert_eq!(codes.len(), 3);
            assert!(codes[0].starts_with("unknown 200 0101") && codes[2] == "enhanced-route-refresh");
        }
    }
}
