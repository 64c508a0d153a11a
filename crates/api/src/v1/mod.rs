// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Version 1 of the shapes on the wire. Additions are not breaking; clients ignore fields they do not know.

mod scalar;
mod status;

pub use scalar::{Counter, Timestamp};
pub use status::{
    ApplianceStatus, BackendState, BackendStatus, DataplaneStatus, DocumentStatus, FamilyPrefixes, Lifecycle,
    MessageCounts, NextHopStatus, PeerStatus, PoolStatus, ReconcileStatus, Rejection, Remark, ServiceStatus,
    SessionState, Status, UplinkStatus, VipStatus, WithheldReason, XdpMode,
};
