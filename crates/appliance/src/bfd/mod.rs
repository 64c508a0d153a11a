// SPDX-License-Identifier: Apache-2.0 OR MIT
//! BFD for the BGP sessions whose peers ask for it: carries addresses from the speaker to `weir_bfd`, and its verdicts back.
//!
//! ```text
//!   SpeakerStatus ──► sessions::wanted ──► BfdHandle::set_sessions          threads of `weir_bfd`
//!                                                                                │
//!   SpeakerHandle::path_down ◄── coupling::failed ◄──────── watch<Snapshot> ◄────┘
//!   Conditions, BfdStatus    ◄── coupling::protection ◄─────────┘
//! ```
//! [`BfdControl`] is the supervisor's end: forwarding that is lost, and the goodbye. What BFD does with a peer is decided
//! in `weir_bfd`, what the end of a path does to a session in `weir_bgp`; here is only what the one means for the other
//! (RFC 5882). Why it is so: `docs/adr/0026-bfd-and-bgp.md`.

mod coupling;
mod driver;
mod sessions;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir_bgp::SpeakerHandle;

use crate::model::{Document, Peer};
use crate::state::Conditions;
use driver::{Driver, Orders};

pub use status::{BfdPeer, BfdStatus, Protection};

/// BFD does not run: its port is taken, as a rule.
pub const BFD_NOT_STARTED: &str = "bfd-not-started";
/// BGP is Established and BFD, asked for, never came up.
pub const BFD_NEVER_UP: &str = "bfd-never-up";
/// BGP is Established and BFD, once up, is not.
pub const BFD_DOWN: &str = "bfd-down";
/// BFD's thread may be late on a loaded machine.
pub const BFD_NOT_REAL_TIME: &str = "bfd-not-real-time";

/// Longest wait for the goodbye: that of the library, and a moment to come back.
const GOODBYE_MAX: Duration = Duration::from_secs(3);

/// Runs BFD for the peers of `document` that ask for it; where none does, nothing is started and no port is taken.
///
/// What cannot be started is told by a condition and tried again: BGP does not wait for it.
pub fn start(document: &Document, speaker: SpeakerHandle, conditions: Conditions) -> BfdControl {
    let (orders, orders_seen) = watch::channel(Orders::default());
    let (publish, status) = watch::channel(Arc::default());
    let asking = |(name, peer): (&String, &Peer)| peer.bfd.map(|_| (name.clone(), peer.clone()));
    let peers: BTreeMap<String, Peer> = document.peers.iter().filter_map(asking).collect();
    if !peers.is_empty() {
        tokio::spawn(Driver::new(peers, speaker, conditions, orders_seen, publish).run());
    }
    BfdControl { orders, status }
}

/// The supervisor's end. When all clones are gone without [`BfdControl::admin_down`], BFD falls silent as after a crash.
#[derive(Debug, Clone)]
pub struct BfdControl {
    orders: watch::Sender<Orders>,
    status: watch::Receiver<Arc<BfdStatus>>,
}

impl BfdControl {
    /// What is known of it, latest wins.
    pub fn status(&self) -> watch::Receiver<Arc<BfdStatus>> {
        self.status.clone()
    }

    /// Says whether this host can forward. While it cannot, every session is held Down with that reason, and peers take our
    /// routes away; the sessions of BGP come back without it.
    pub fn forwarding_lost(&self, is_lost: bool) {
        self.orders
            .send_if_modified(|orders| std::mem::replace(&mut orders.is_forwarding_lost, is_lost) != is_lost);
    }

    /// Says AdminDown to every peer, so that none takes the silence that follows for a failure (RFC 5882 §3.2), and ends BFD.
    /// Resolves when all have heard it, within three seconds.
    ///
    /// To be called *after* the speaker has ended, within a detection time: FRR ends a standing session on AdminDown as on
    /// any Down and drops its routes, graceful restart or not (`docs/adr/0026-bfd-and-bgp.md`).
    pub async fn admin_down(&self) {
        self.orders.send_if_modified(|orders| !std::mem::replace(&mut orders.is_ending, true));
        let mut status = self.status.clone();
        // The driver's end drops the other side.
        let ended = async { while status.changed().await.is_ok() {} };
        if tokio::time::timeout(GOODBYE_MAX, ended).await.is_err() {
            tracing::warn!("not waiting for BFD's goodbye any longer");
        }
    }
}
