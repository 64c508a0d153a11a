// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The document: which is wanted, which is in force, which was refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// Which document is wanted and which is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DocumentStatus {
    /// The one source that may change it.
    pub owner: String,
    /// SHA-256 of the accepted document's canonical form.
    pub hash: String,
    /// Generation accepted last.
    pub accepted_generation: u64,
    /// Generation in force, 0 when none is yet.
    pub applied_generation: u64,
    /// When the last document was accepted.
    pub accepted_at: Timestamp,
    /// The last document that was refused since then.
    pub last_rejected: Option<Rejection>,
}

/// A document that was refused; the one before stays in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rejection {
    /// When.
    pub at: Timestamp,
    /// Why, one line an error.
    pub errors: Vec<String>,
}

/// Answer of `POST /v1/document/reload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Generation of the accepted document.
    pub generation: u64,
    /// Whether it differs from the one before.
    pub changed: bool,
}
