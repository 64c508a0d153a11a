// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Numbers from registries, each with its RFC, and their words.
#![expect(missing_docs, reason = "the names are the registry's own")]

/// Octets of the message header (RFC 4271 §4.1).
pub const HEADER_LEN: usize = 19;
/// Longest message unless extended messages are negotiated (RFC 4271 §4.1).
pub const MESSAGE_LEN_MAX: usize = 4096;
/// Longest message with extended messages (RFC 8654).
pub const MESSAGE_LEN_MAX_EXTENDED: usize = 65535;
/// The only version (RFC 4271).
pub const VERSION: u8 = 4;
/// Stands for a four-octet AS number in a two-octet field (RFC 6793).
pub const AS_TRANS: u16 = 23456;

/// Message types (RFC 4271 §4.1, RFC 2918).
pub mod message_type {
    pub const OPEN: u8 = 1;
    pub const UPDATE: u8 = 2;
    pub const NOTIFICATION: u8 = 3;
    pub const KEEPALIVE: u8 = 4;
    pub const ROUTE_REFRESH: u8 = 5;
}

/// Optional parameters of OPEN.
pub mod open_parameter {
    /// RFC 5492.
    pub const CAPABILITIES: u8 = 2;
    /// Marks the extended length form in both octets (RFC 9072).
    pub const EXTENDED_LENGTH: u8 = 255;
}

/// Capability codes.
pub mod capability_code {
    pub const MULTIPROTOCOL: u8 = 1; // RFC 4760
    pub const ROUTE_REFRESH: u8 = 2; // RFC 2918
    pub const EXTENDED_NEXT_HOP: u8 = 5; // RFC 8950
    pub const EXTENDED_MESSAGE: u8 = 6; // RFC 8654
    pub const ROLE: u8 = 9; // RFC 9234
    pub const GRACEFUL_RESTART: u8 = 64; // RFC 4724
    pub const FOUR_OCTET_AS: u8 = 65; // RFC 6793
    pub const ADD_PATH: u8 = 69; // RFC 7911
    pub const ENHANCED_ROUTE_REFRESH: u8 = 70; // RFC 7313
    pub const LONG_LIVED_GRACEFUL_RESTART: u8 = 71; // RFC 9494
    pub const FQDN: u8 = 73; // draft-walton-bgp-hostname-capability
    pub const SOFTWARE_VERSION: u8 = 75; // draft-ietf-idr-bgp-sw-version
    pub const ROUTE_REFRESH_CISCO: u8 = 128; // before RFC 2918
}

/// Path attribute type codes.
pub mod attribute_code {
    pub const ORIGIN: u8 = 1; // RFC 4271
    pub const AS_PATH: u8 = 2; // RFC 4271
    pub const NEXT_HOP: u8 = 3; // RFC 4271
    pub const MED: u8 = 4; // RFC 4271
    pub const LOCAL_PREF: u8 = 5; // RFC 4271
    pub const ATOMIC_AGGREGATE: u8 = 6; // RFC 4271
    pub const AGGREGATOR: u8 = 7; // RFC 4271
    pub const COMMUNITIES: u8 = 8; // RFC 1997
    pub const ORIGINATOR_ID: u8 = 9; // RFC 4456
    pub const CLUSTER_LIST: u8 = 10; // RFC 4456
    pub const MP_REACH: u8 = 14; // RFC 4760
    pub const MP_UNREACH: u8 = 15; // RFC 4760
    pub const EXTENDED_COMMUNITIES: u8 = 16; // RFC 4360
    pub const AS4_PATH: u8 = 17; // RFC 6793
    pub const AS4_AGGREGATOR: u8 = 18; // RFC 6793
    pub const LARGE_COMMUNITIES: u8 = 32; // RFC 8092
}

/// Attribute flags (RFC 4271 §4.3).
pub mod attribute_flag {
    pub const OPTIONAL: u8 = 0x80;
    pub const TRANSITIVE: u8 = 0x40;
    pub const PARTIAL: u8 = 0x20;
    pub const EXTENDED_LENGTH: u8 = 0x10;
}

/// Types and subtypes of extended communities (RFC 4360, RFC 7153).
pub mod extended_community {
    pub const TWO_OCTET_AS: u8 = 0x00;
    pub const TWO_OCTET_AS_NON_TRANSITIVE: u8 = 0x40;
    pub const LINK_BANDWIDTH: u8 = 0x04; // draft-ietf-idr-link-bandwidth
}

/// AS_PATH segment types (RFC 4271 §4.3).
pub mod segment_type {
    pub const AS_SET: u8 = 1;
    pub const AS_SEQUENCE: u8 = 2;
}

/// NOTIFICATION error codes.
pub mod error_code {
    pub const HEADER: u8 = 1; // RFC 4271
    pub const OPEN: u8 = 2; // RFC 4271
    pub const UPDATE: u8 = 3; // RFC 4271
    pub const HOLD_TIMER: u8 = 4; // RFC 4271
    pub const FSM: u8 = 5; // RFC 4271, RFC 6608
    pub const CEASE: u8 = 6; // RFC 4271, RFC 4486
    pub const ROUTE_REFRESH: u8 = 7; // RFC 7313
    pub const SEND_HOLD_TIMER: u8 = 8; // RFC 9687
}

/// Subcodes of Cease (RFC 4486, 8538, 9384).
pub mod cease {
    pub const MAX_PREFIXES: u8 = 1;
    pub const ADMIN_SHUTDOWN: u8 = 2;
    pub const PEER_DECONFIGURED: u8 = 3;
    pub const ADMIN_RESET: u8 = 4;
    pub const CONNECTION_REJECTED: u8 = 5;
    pub const CONFIG_CHANGE: u8 = 6;
    pub const COLLISION: u8 = 7;
    pub const OUT_OF_RESOURCES: u8 = 8;
    pub const HARD_RESET: u8 = 9;
    pub const BFD_DOWN: u8 = 10;
}

/// The registry's words of an error code and subcode, lower case; `None` where nothing is registered.
pub fn error_words(code: u8, subcode: u8) -> (Option<&'static str>, Option<&'static str>) {
    let name = match code {
        error_code::HEADER => "message header error",
        error_code::OPEN => "open message error",
        error_code::UPDATE => "update message error",
        error_code::HOLD_TIMER => "hold timer expired",
        error_code::FSM => "finite state machine error",
        error_code::CEASE => "cease",
        error_code::ROUTE_REFRESH => "route-refresh message error",
        error_code::SEND_HOLD_TIMER => "send hold timer expired",
        _ => return (None, None),
    };
    let detail = match (code, subcode) {
        (1, 1) => "connection not synchronized",
        (1, 2) => "bad message length",
        (1, 3) => "bad message type",
        (2, 1) => "unsupported version number",
        (2, 2) => "bad peer AS",
        (2, 3) => "bad BGP identifier",
        (2, 4) => "unsupported optional parameter",
        (2, 6) => "unacceptable hold time",
        (2, 7) => "unsupported capability",
        (2, 11) => "role mismatch",
        (3, 1) => "malformed attribute list",
        (3, 2) => "unrecognized well-known attribute",
        (3, 3) => "missing well-known attribute",
        (3, 4) => "attribute flags error",
        (3, 5) => "attribute length error",
        (3, 6) => "invalid ORIGIN attribute",
        (3, 8) => "invalid NEXT_HOP attribute",
        (3, 9) => "optional attribute error",
        (3, 10) => "invalid network field",
        (3, 11) => "malformed AS_PATH",
        (5, 1) => "unexpected message in OpenSent",
        (5, 2) => "unexpected message in OpenConfirm",
        (5, 3) => "unexpected message in Established",
        (6, cease::MAX_PREFIXES) => "maximum number of prefixes reached",
        (6, cease::ADMIN_SHUTDOWN) => "administrative shutdown",
        (6, cease::PEER_DECONFIGURED) => "peer de-configured",
        (6, cease::ADMIN_RESET) => "administrative reset",
        (6, cease::CONNECTION_REJECTED) => "connection rejected",
        (6, cease::CONFIG_CHANGE) => "other configuration change",
        (6, cease::COLLISION) => "connection collision resolution",
        (6, cease::OUT_OF_RESOURCES) => "out of resources",
        (6, cease::HARD_RESET) => "hard reset",
        (6, cease::BFD_DOWN) => "BFD down",
        (7, 1) => "invalid message length",
        _ => return (Some(name), None),
    };
    (Some(name), Some(detail))
}
