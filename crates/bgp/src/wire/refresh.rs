// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ROUTE-REFRESH (RFC 2918) and its borders (RFC 7313).

use super::error::{HeaderError, RefreshError, WireError};
use super::iana::{HEADER_LEN, message_type};
use super::leaf;
use super::message::encode_message;
use super::mp::AfiSafi;
use crate::config::Family;

/// Octets of a body: AFI, subtype, SAFI.
const BODY_LEN: usize = 4;

/// What a ROUTE-REFRESH means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshKind {
    /// "Send me everything of this family again."
    Request,
    /// What follows is everything (BoRR).
    Begin,
    /// That was everything (EoRR).
    End,
    /// Unknown: to be ignored (RFC 7313 §5).
    Other(u8),
}

impl RefreshKind {
    /// Its subtype octet.
    pub fn to_raw(self) -> u8 {
        match self {
            Self::Request => 0,
            Self::Begin => 1,
            Self::End => 2,
            Self::Other(value) => value,
        }
    }

    fn from_raw(value: u8) -> Self {
        match value {
            0 => Self::Request,
            1 => Self::Begin,
            2 => Self::End,
            other => Self::Other(other),
        }
    }
}

/// A ROUTE-REFRESH message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// What it means.
    pub kind: RefreshKind,
    /// The family it is about.
    pub family: AfiSafi,
}

impl Refresh {
    /// The message of this kind about a family we speak.
    pub fn new(kind: RefreshKind, family: Family) -> Self {
        Self { kind, family: family.into() }
    }

    /// Reads a body of at least four octets.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        if body.len() != BODY_LEN {
            let length = u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX);
            // A longer request carries an outbound route filter, which nobody offered.
            return Err(match body.get(2).copied().map(RefreshKind::from_raw) {
                Some(RefreshKind::Begin | RefreshKind::End) => RefreshError {
                    message: encode_message(message_type::ROUTE_REFRESH, |out| out.extend_from_slice(body)),
                }
                .into(),
                Some(RefreshKind::Request | RefreshKind::Other(_)) | None => {
                    HeaderError::Length { length }.into()
                }
            });
        }
        let (afi, subtype, safi) = leaf::decode_refresh(body).ok_or(HeaderError::Length { length: 0 })?;
        Ok(Self { kind: RefreshKind::from_raw(subtype), family: AfiSafi { afi, safi } })
    }

    /// The whole message.
    pub fn encode(&self) -> Vec<u8> {
        encode_message(message_type::ROUTE_REFRESH, |out| {
            out.extend_from_slice(&self.family.afi.to_be_bytes());
            out.extend_from_slice(&[self.kind.to_raw(), self.family.safi]);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_lengths_get_their_own_answers() {
        let answer = |body: &[u8]| Refresh::decode(body).unwrap_err().answer().unwrap();
        let of_border = answer(&[0, 1, 1, 1, 9]);
        assert_eq!((of_border.code(), of_border.subcode(), of_border.data().len()), (7, 1, 24));
        let of_request = answer(&[0, 1, 0, 1, 9]);
        assert_eq!((of_request.code(), of_request.subcode()), (1, 2));
        assert_eq!(of_request.data(), 24u16.to_be_bytes());
    }
}
