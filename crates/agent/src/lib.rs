// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What runs on a backend: takes the outer headers off packets that appliances sent, in XDP, lowers the MSS that VIPs
//! announce to what fits those headers, in traffic control, and leaves all else alone.
//!
//! ```text
//!  document ──► config ──► run ──► kernel (program, tables, links; pinned)
//!                           ▲          │ counters
//!  netlink ──► addresses ───┘          └──► metrics ──► server (GET /metrics on the loopback)
//! ```
//!
//! The decisions themselves are `weir_dataplane_core::{decap, mss}`. This crate does not know services, pools or BGP; it knows prefixes.
//! Program, tables and links are pinned: when the process dies, decapsulation goes on, and the next start adopts it.
//! A stop on purpose detaches, as the last thing it does.

mod addresses;
pub mod config;
pub mod kernel;
mod metrics;
mod server;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::net::TcpListener;
use tokio::sync::watch;
use weir_dataplane::kernel::probe::{self, ProbeError};

pub use addresses::AddressError;
pub use config::{AgentConfig, ConfigErrors};
pub use kernel::{AgentCounters, Count, Kernel, KernelError};

use addresses::HostAddresses;
use metrics::SharedKernel;

/// The host's addresses are read again this often, whatever events said.
const RESYNC_INTERVAL: Duration = Duration::from_secs(30);
/// Longest wait for scrapes under way when stopping.
const SCRAPE_GRACE: Duration = Duration::from_secs(1);

/// Why the agent did not start or stop. When it did not start, nothing is attached that was not before.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The document was refused.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The metrics address is taken or not ours.
    #[error("serve metrics on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A metric could not be made.
    #[error("register metrics")]
    Metrics(#[from] prometheus::Error),
    /// The host's addresses could not be read.
    #[error(transparent)]
    Addresses(#[from] AddressError),
    /// The running kernel will not do.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The kernel's part.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Runs the agent until `shutdown` is done, then detaches.
///
/// # Errors
/// [`AgentError`]; at the start everything is checked before anything is attached.
pub async fn run(config: AgentConfig, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    probe::demand()?;
    let listen = config.metrics_listen;
    let listener = TcpListener::bind(listen).await.map_err(|source| AgentError::Listen { listen, source })?;
    let gauge = metrics::addresses_gauge()?;
    let mut own = match &config.addresses {
        Some(_) => None,
        None => Some(HostAddresses::open()?),
    };
    let kernel = start(&config, own.as_ref(), &gauge).await?;
    let kernel: SharedKernel = Arc::new(Mutex::new(Some(kernel)));

    let registry = metrics::registry(Arc::clone(&kernel), gauge.clone())?;
    let (stop_server, mut stopped) = watch::channel(());
    let server = tokio::spawn(server::serve(listener, registry, async move {
        // Either way the server is to stop.
        stopped.changed().await.unwrap_or(());
    }));
    tracing::info!(instance = config.instance, metrics = %listen, "agent runs");

    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            // CANCEL: polled by reference, so it goes on at the next round.
            () = &mut shutdown => break,
            // CANCEL: `addresses_changed` only waits; what it waits for is read below.
            () = addresses_changed(&mut own) => {}
        }
        if let Some(addresses) = &own {
            follow(&kernel, addresses, &gauge).await;
        }
    }

    tracing::info!("agent stops");
    let detached = lock(&kernel).take().map_or(Ok(()), Kernel::detach);
    drop(stop_server);
    match tokio::time::timeout(SCRAPE_GRACE, server).await {
        Ok(Ok(Ok(()))) => {}
        ended => tracing::warn!(?ended, "metrics server did not end by itself"),
    }
    Ok(detached?)
}

/// Everything up to the attached program.
async fn start(
    config: &AgentConfig,
    own: Option<&HostAddresses>,
    gauge: &IntGauge,
) -> Result<Kernel, AgentError> {
    let addresses = match (&config.addresses, own) {
        (Some(addresses), _) => addresses.clone(),
        (None, Some(own)) => own.read().await?,
        (None, None) => Default::default(),
    };
    let mut kernel = Kernel::open(config)?;
    let filled = kernel
        .set_prefixes(&config.appliances, &config.vips)
        .and_then(|()| kernel.set_addresses(&addresses))
        .and_then(|()| kernel.set_gue_ports(&config.gue_ports))
        .and_then(|()| kernel.set_mss(config.mss, config.interfaces.keys(), None))
        .and_then(|()| kernel.attach(&config.interfaces));
    if let Err(error) = filled {
        // What a former process left attached goes on; tables that nothing uses go away.
        if kernel.is_attached().is_ok_and(|attached| !attached)
            && let Err(error) = kernel.detach()
        {
            tracing::error!(%error, "pins left behind");
        }
        return Err(error.into());
    }
    gauge.set(i64::try_from(addresses.len()).unwrap_or(i64::MAX));
    Ok(kernel)
}

/// Waits until the host's addresses are to be read again; for ever when they are configured.
async fn addresses_changed(own: &mut Option<HostAddresses>) {
    let Some(addresses) = own else { return std::future::pending().await };
    match tokio::time::timeout(RESYNC_INTERVAL, addresses.changed()).await {
        Ok(true) | Err(_) => {}
        Ok(false) => {
            tracing::warn!("netlink socket closed, opening it again");
            match HostAddresses::open() {
                Ok(opened) => *addresses = opened,
                Err(error) => {
                    tracing::error!(%error, "the host's addresses are not followed");
                    tokio::time::sleep(RESYNC_INTERVAL).await;
                }
            }
        }
    }
}

/// Puts the host's addresses into the table. What could not be read or written is tried again at the next round.
async fn follow(kernel: &SharedKernel, addresses: &HostAddresses, gauge: &IntGauge) {
    let addresses = match addresses.read().await {
        Ok(addresses) => addresses,
        Err(error) => return tracing::warn!(%error, "the host's addresses were not read"),
    };
    let written = lock(kernel).as_mut().map_or(Ok(()), |kernel| kernel.set_addresses(&addresses));
    match written {
        Ok(()) => gauge.set(i64::try_from(addresses.len()).unwrap_or(i64::MAX)),
        Err(error) => tracing::error!(%error, "the host's addresses were not written"),
    }
}

/// A panic elsewhere leaves the tables as they are, and they must still be detached.
fn lock(kernel: &SharedKernel) -> MutexGuard<'_, Option<Kernel>> {
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}
