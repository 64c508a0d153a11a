// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Mistakes that end a session, each knowing the NOTIFICATION that answers it.

use std::net::Ipv4Addr;

use super::iana::{self, error_code};
use super::notification::Notification;

/// Any mistake that ends the session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// In the header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// In an OPEN.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// In an UPDATE, beyond what RFC 7606 forgives.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// In a ROUTE-REFRESH.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// In a NOTIFICATION, which must not be answered (RFC 4271 §6.4).
    #[error(transparent)]
    Notification(#[from] NotificationError),
}

impl WireError {
    /// What to send before closing, `None` if nothing may be sent.
    pub fn answer(&self) -> Option<Notification> {
        Some(match self {
            WireError::Header(e) => e.answer(),
            WireError::Open(e) => e.answer(),
            WireError::Update(e) => e.answer(),
            WireError::Refresh(e) => e.answer(),
            WireError::Notification(_) => return None,
        })
    }
}

/// A header that cannot be trusted (RFC 4271 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The marker is not all ones.
    #[error("marker is not all ones")]
    Marker,
    /// Below the header's or the type's minimum, above the maximum, or wrong for the type.
    #[error("message length {length} is not possible")]
    Length {
        /// The length field.
        length: u16,
    },
    /// A type nobody assigned.
    #[error("message type {value} is unknown")]
    Type {
        /// The type field.
        value: u8,
    },
}

impl HeaderError {
    fn answer(&self) -> Notification {
        let (subcode, data) = match self {
            HeaderError::Marker => (1, vec![]),
            HeaderError::Length { length } => (2, length.to_be_bytes().to_vec()),
            HeaderError::Type { value } => (3, vec![*value]),
        };
        Notification::new(error_code::HEADER, subcode, data)
    }
}

/// An OPEN that cannot be accepted (RFC 4271 §6.2). The last four are found by the session, which knows what it wants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Fields do not fit the message.
    #[error("open message is malformed: {what}")]
    Malformed {
        /// Which field.
        what: &'static str,
    },
    /// Not version 4.
    #[error("BGP version {version} is not spoken")]
    Version {
        /// What the peer speaks.
        version: u8,
    },
    /// Neither capabilities nor the extended form.
    #[error("optional parameter {kind} is not known")]
    Parameter {
        /// Its type.
        kind: u8,
    },
    /// One or two seconds.
    #[error("hold time of {seconds} s is not acceptable")]
    HoldTime {
        /// What the peer proposed.
        seconds: u16,
    },
    /// 0.0.0.0, or our own within our AS.
    #[error("BGP identifier {router_id} is not acceptable")]
    Identifier {
        /// What the peer says.
        router_id: Ipv4Addr,
    },
    /// Another AS than configured, or 0.
    #[error("AS {asn} is not the expected one")]
    PeerAs {
        /// What the peer says.
        asn: u32,
    },
    /// No family in common; the data holds the capabilities we miss.
    #[error("no address family in common")]
    NoCommonFamily {
        /// The multiprotocol capabilities we would need, encoded.
        wanted: Vec<u8>,
    },
}

impl OpenError {
    fn answer(&self) -> Notification {
        let (subcode, data) = match self {
            OpenError::Malformed { .. } => (0, vec![]),
            // The data is the largest version we speak, in two octets.
            OpenError::Version { .. } => (1, vec![0, iana::VERSION]),
            OpenError::PeerAs { .. } => (2, vec![]),
            OpenError::Identifier { .. } => (3, vec![]),
            OpenError::Parameter { .. } => (4, vec![]),
            OpenError::HoldTime { .. } => (6, vec![]),
            OpenError::NoCommonFamily { wanted } => (7, wanted.clone()),
        };
        Notification::new(error_code::OPEN, subcode, data)
    }
}

/// An UPDATE from which the prefixes cannot be told, so that treating them as withdrawn is impossible (RFC 7606 §3, §5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The withdrawn or attribute length goes beyond the message.
    #[error("update message is malformed: {what} beyond the message")]
    Length {
        /// Which field.
        what: &'static str,
    },
    /// MP_REACH or MP_UNREACH occurs twice.
    #[error("attribute {code} occurs twice")]
    MultiprotocolTwice {
        /// 14 or 15.
        code: u8,
    },
    /// A prefix in a classic field is longer than its family or its field.
    #[error("prefix of {length} bits in {what} is not possible")]
    Network {
        /// Which field.
        what: &'static str,
        /// The length octet.
        length: u8,
    },
    /// MP_REACH or MP_UNREACH cannot be read.
    #[error("attribute {code} is malformed: {what}")]
    Multiprotocol {
        /// 14 or 15.
        code: u8,
        /// What is wrong with it.
        what: &'static str,
        /// The attribute, header included.
        attribute: Vec<u8>,
    },
    /// A well-known attribute that we do not know.
    #[error("well-known attribute {code} is unknown")]
    UnknownWellKnown {
        /// Its type code.
        code: u8,
        /// The attribute, header included.
        attribute: Vec<u8>,
    },
}

impl UpdateError {
    fn answer(&self) -> Notification {
        let (subcode, data) = match self {
            UpdateError::Length { .. } | UpdateError::MultiprotocolTwice { .. } => (1, vec![]),
            UpdateError::UnknownWellKnown { attribute, .. } => (2, attribute.clone()),
            UpdateError::Multiprotocol { attribute, .. } => (9, attribute.clone()),
            UpdateError::Network { .. } => (10, vec![]),
        };
        Notification::new(error_code::UPDATE, subcode, data)
    }
}

/// A ROUTE-REFRESH of wrong length (RFC 7313 §5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route-refresh message of {} octets is malformed", .message.len())]
pub struct RefreshError {
    /// The whole message, which goes into the data.
    pub message: Vec<u8>,
}

impl RefreshError {
    fn answer(&self) -> Notification {
        Notification::new(error_code::ROUTE_REFRESH, 1, self.message.clone())
    }
}

/// A NOTIFICATION of less than two octets: logged, never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("notification message of {length} octets is malformed")]
pub struct NotificationError {
    /// Octets of the body.
    pub length: usize,
}
