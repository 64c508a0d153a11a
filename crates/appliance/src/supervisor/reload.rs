// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reloads, whoever asks for them: all or nothing, one at a time.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use weir_dataplane::next_hop::{NextHops, Unresolved};

use crate::model::Generation;
use crate::paths::Ways;
use crate::reconcile::desired::destinations;
use crate::store::{ReloadError, Store};
use crate::systemd;

/// Reloads that wait for the one under way. Small on purpose: the askers are humans and one API; when full, it answers 503.
pub const RELOAD_QUEUE_DEPTH: usize = 4;
/// How long new backends may take to get a next hop before things go on without them: a neighbour answers within
/// milliseconds or not at all.
const NEXT_HOPS_WAIT_MAX: Duration = Duration::from_secs(1);
/// Asks for a reload.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Gets what came of it.
    pub reply: oneshot::Sender<Result<Reloaded, ReloadError>>,
}

/// A document that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloaded {
    /// Its number.
    pub generation: Generation,
    /// Whether it is another one than before.
    pub is_changed: bool,
}

/// All or nothing: reads the document, gets next hops for its backends, then makes it the wanted one. Logs what came of it.
pub(super) async fn reload(store: &Store, next_hops: &Ways) -> Result<Reloaded, ReloadError> {
    systemd::reloading();
    let outcome = try_reload(store, next_hops).await;
    systemd::ready();
    match &outcome {
        Ok(reloaded) => {
            let Reloaded { generation, is_changed } = *reloaded;
            tracing::info!(generation = generation.0, is_changed, "document accepted");
        }
        Err(error) => {
            for line in error.to_string().lines() {
                tracing::warn!(error = line, "document refused, the one before stays");
            }
        }
    }
    outcome
}

async fn try_reload(store: &Store, next_hops: &Ways) -> Result<Reloaded, ReloadError> {
    let candidate = store.load()?;
    let before = Arc::clone(&store.accepted().borrow());
    let (old, new) = (destinations(&before.document), destinations(candidate.document()));
    // New backends get their next hops before anything refers to them, else they would count as unreachable.
    next_hops.set_destinations(new.union(&old).copied().collect());
    resolved(&mut next_hops.watch(), &new).await;
    let generation = store.accept(candidate).await;
    next_hops.set_destinations(new);
    Ok(Reloaded { generation, is_changed: generation != before.generation })
}

/// Waits until each destination has an answer that only an event will change, or [`NEXT_HOPS_WAIT_MAX`].
pub(super) async fn resolved(next_hops: &mut watch::Receiver<Arc<NextHops>>, wanted: &BTreeSet<IpAddr>) {
    let is_pending = |answer: Option<&Result<_, Unresolved>>| {
        matches!(answer, None | Some(Err(Unresolved::NoNeighbour { .. })))
    };
    let settled = next_hops.wait_for(|hops| !wanted.iter().any(|address| is_pending(hops.get(address))));
    if tokio::time::timeout(NEXT_HOPS_WAIT_MAX, settled).await.is_err() {
        let hops = next_hops.borrow();
        let pending = wanted.iter().filter(|address| is_pending(hops.get(address))).count();
        tracing::warn!(pending, "going on without the next hops of some backends");
    }
}
