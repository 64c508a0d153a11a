// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must survive a restart, kept in plain files of the state directory.
//!
//! ```text
//!  Store ─────────┐                       ┌─► document.toml   the last accepted document, with its generation
//!  OverrideStore ─┼─ bytes ─► StateDir ───┼─► history.json    the last accepted documents, a list
//!  HealthFile ────┘             │         ├─► overrides.json
//!                               ▼         └─► health.json     verdicts, some seconds old
//!                          Conditions ──► status
//! ```
//!
//! The disk is never needed to forward, to check or to announce. What cannot be written stays in memory, is tried again
//! every [`RETRY_INTERVAL`] and is said by a condition; what cannot be read is moved aside, said, and replaced by the file
//! before it. Only a state directory that another process uses ends the start: two writers would spoil both.
//!
//! Every file has the SHA-256 of its content and is replaced as a whole, so a reader finds the old or the new one, or
//! knows that it found neither (`docs/adr/0015-state-in-plain-files.md`).

mod conditions;
mod dir;
mod document;
mod envelope;
mod files;
mod health;
mod moment;
mod overrides;

pub use self::conditions::{
    Condition, Conditions, DOCUMENT_FILE_BAD, STATE_FILE_BAD, STATE_NOT_KEPT, Severity,
};
pub use self::dir::{Kept, NotKept, RETRY_INTERVAL, StateDir, StateDirError, peek};
pub use self::document::{Accepted, HISTORY_MAX, History, KeptDocument, Past};
pub(crate) use self::document::{DOCUMENT as KEPT_DOCUMENT_FILE, HISTORY as HISTORY_FILE, write_history};
pub use self::envelope::{FileError, seal, unseal};
pub use self::health::{HealthFile, WRITE_INTERVAL};
pub use self::overrides::{OverrideStore, Set};
