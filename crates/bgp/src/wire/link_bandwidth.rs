// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The link bandwidth extended community (draft-ietf-idr-link-bandwidth): how much of a group's traffic a path can take.
//!
//! ```text
//!   0x40 or 0x00 │ 4 │ AS(2) │ octets per second, IEEE 754 single(4)
//! ```
//!
//! The draft's form is the non-transitive one; some speakers drop that on a session between two AS, so the transitive
//! form is there as well and is what they agree on in practice.

use std::fmt;

use super::iana::{AS_TRANS, extended_community as kind};

/// Which of the two types the community is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkBandwidthForm {
    /// Type 0x00.
    Transitive,
    /// Type 0x40, the draft's own.
    NonTransitive,
}

/// The value of a link bandwidth community.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkBandwidth {
    /// The AS that set it; AS_TRANS for one of four octets.
    pub asn: u16,
    /// Octets per second, finite and not negative.
    pub bytes_per_second: f32,
    /// Its type.
    pub form: LinkBandwidthForm,
}

/// The community of AS `asn` for `bytes_per_second`, which keeps 24 significant bits.
pub fn link_bandwidth(asn: u32, bytes_per_second: u64, form: LinkBandwidthForm) -> [u8; 8] {
    let asn = u16::try_from(asn).unwrap_or(AS_TRANS);
    LinkBandwidth { asn, bytes_per_second: bytes_per_second as f32, form }.to_octets()
}

impl LinkBandwidth {
    /// Reads an extended community; `None` if it is another one, or its number is no bandwidth.
    pub fn from_octets(octets: [u8; 8]) -> Option<Self> {
        let [kind, subtype, a, b, value @ ..] = octets;
        let form = match kind {
            kind::TWO_OCTET_AS => LinkBandwidthForm::Transitive,
            kind::TWO_OCTET_AS_NON_TRANSITIVE => LinkBandwidthForm::NonTransitive,
            _ => return None,
        };
        let bytes_per_second = f32::from_be_bytes(value);
        let is_bandwidth = bytes_per_second.is_finite() && bytes_per_second.is_sign_positive();
        (subtype == kind::LINK_BANDWIDTH && is_bandwidth).then_some(Self {
            asn: u16::from_be_bytes([a, b]),
            bytes_per_second,
            form,
        })
    }

    /// The extended community.
    pub fn to_octets(self) -> [u8; 8] {
        let kind = match self.form {
            LinkBandwidthForm::Transitive => kind::TWO_OCTET_AS,
            LinkBandwidthForm::NonTransitive => kind::TWO_OCTET_AS_NON_TRANSITIVE,
        };
        let [a, b] = self.asn.to_be_bytes();
        let [w, x, y, z] = self.bytes_per_second.to_be_bytes();
        [kind, kind::LINK_BANDWIDTH, a, b, w, x, y, z]
    }
}

impl fmt::Display for LinkBandwidth {
    /// `link-bandwidth 65001 100000000 B/s`, with `non-transitive` behind it where it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link-bandwidth {} {:.0} B/s", self.asn, self.bytes_per_second)?;
        match self.form {
            LinkBandwidthForm::Transitive => Ok(()),
            LinkBandwidthForm::NonTransitive => f.write_str(" non-transitive"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LinkBandwidthForm::{NonTransitive, Transitive};
    use super::*;

    #[test]
    fn it_is_written_as_others_read_it() {
        // Recorded: a switch displayed these octets as 65001, 100000000 B/s.
        assert_eq!(link_bandwidth(65001, 100_000_000, Transitive), *b"\x00\x04\xfd\xe9\x4c\xbe\xbc\x20");
        assert_eq!(link_bandwidth(65001, 100_000_000, NonTransitive)[0], 0x40);
        assert_eq!(link_bandwidth(4_200_000_001, 1, Transitive)[2..4], [0x5b, 0xa0], "AS_TRANS");
    }

    #[test]
    fn what_is_written_is_read() {
        for (bytes, form) in [(0, Transitive), (125_000_000, NonTransitive), (u64::MAX, Transitive)] {
            let read = LinkBandwidth::from_octets(link_bandwidth(65001, bytes, form)).unwrap();
            assert_eq!((read.asn, read.bytes_per_second, read.form), (65001, bytes as f32, form));
        }
        let show = |octets: &[u8; 8]| LinkBandwidth::from_octets(*octets).map(|l| l.to_string());
        assert_eq!(
            show(b"\x00\x04\xfd\xe9\x4c\xbe\xbc\x20").as_deref(),
            Some("link-bandwidth 65001 100000000 B/s")
        );
        assert_eq!(
            show(b"\x40\x04\xfd\xe9\x3f\x80\x00\x00").as_deref(),
            Some("link-bandwidth 65001 1 B/s non-transitive")
        );
    }

    #[test]
    fn what_is_no_bandwidth_is_not_read_as_one() {
        let read = |octets: &[u8; 8]| LinkBandwidth::from_octets(*octets);
        assert_eq!(read(b"\x00\x02\xfd\xe9\x4c\xbe\xbc\x20"), None, "a route target");
        assert_eq!(read(b"\x01\x04\xfd\xe9\x4c\xbe\xbc\x20"), None, "another type");
        assert_eq!(read(b"\x00\x04\xfd\xe9\x7f\x80\x00\x00"), None, "infinity");
        assert_eq!(read(b"\x00\x04\xfd\xe9\x7f\xc0\x00\x00"), None, "no number");
        assert_eq!(read(b"\x00\x04\xfd\xe9\xbf\x80\x00\x00"), None, "negative");
    }
}
