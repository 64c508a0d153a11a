// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Octets of BGP to typed messages and back.
//!
//! Owns every format on the wire and the reaction each mistake deserves; knows no session, no clock, no socket. A
//! decoder takes a slice of known length through a checked `cursor::Cursor`, advances or fails, and allocates no more
//! than the message is long. A mistake is a value: [`WireError`] (the session ends, with the NOTIFICATION it names) or
//! a [`Finding`] inside an [`Update`] (RFC 7606: the session lives).
//!
//! ```text
//!   header (19) │ type minimum │ body
//!   stream ──► FrameBuffer ──► (type, body) ──► Message::decode ──► Open │ Update │ Notification │ Keepalive │ Refresh
//! ```
//!
//! The crate `zettabgp` is used for leaf values only (`leaf`), on slices whose length was checked here; none of its
//! types leave that file.

pub mod as_path;
pub mod attribute;
pub mod capability;
pub(crate) mod cursor;
mod encode;
mod error;
pub mod iana;
mod leaf;
mod link_bandwidth;
mod message;
mod mp;
mod nlri;
mod notification;
mod open;
mod refresh;
mod update;

pub use as_path::{AsPath, Segment, SegmentKind};
pub use attribute::{Finding, PathAttributes, Treatment};
pub use capability::Capability;
pub use encode::{NextHop, PathToSend, UpdateEncoder};
pub use error::{HeaderError, NotificationError, OpenError, RefreshError, UpdateError, WireError};
pub use leaf::Origin;
pub use link_bandwidth::{LinkBandwidth, LinkBandwidthForm, link_bandwidth};
pub use message::{DecodeContext, FrameBuffer, Message, MessageType, decode_message, encode_keepalive};
pub use mp::{AfiSafi, MpReach, MpUnreach};
pub use notification::{Notification, SHUTDOWN_TEXT_MAX, sanitised};
pub use open::Open;
pub use refresh::{Refresh, RefreshKind};
pub use update::Update;
