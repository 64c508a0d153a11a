// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Events: one line for each change of state.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PreciseTime;

/// One change, the data of a server-sent event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// When.
    pub at: PreciseTime,
    /// Of what kind; also the event's name.
    pub kind: EventKind,
    /// Which object: `backend/web/b1`, `vip/www`, `peer/tor1`, `document`; for an override its id.
    pub object: String,
    /// State before, if there was one.
    pub from: Option<String>,
    /// State now, if there is one.
    pub to: Option<String>,
    /// Why, as a word; empty when the change says it all.
    pub code: String,
    /// Why, as a sentence.
    pub message: String,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A backend's state changed.
    Backend,
    /// A VIP was announced, withdrawn, or is withheld for other reasons.
    Vip,
    /// A session came up or went down.
    Peer,
    /// A document was accepted, refused, or is in force.
    Document,
    /// An override was set, cleared, or has expired.
    Override,
    /// What was asked for is gone: read the state anew, then follow from here. Sent to one reader only.
    Resync,
    /// The reader was too slow, and the stream ends here. Sent to one reader only.
    Overflow,
}

impl EventKind {
    /// The kinds that can be asked for.
    pub const ALL: [Self; 5] = [Self::Backend, Self::Vip, Self::Peer, Self::Document, Self::Override];

    /// The word in the stream.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Vip => "vip",
            Self::Peer => "peer",
            Self::Document => "document",
            Self::Override => "override",
            Self::Resync => "resync",
            Self::Overflow => "overflow",
        }
    }
}
