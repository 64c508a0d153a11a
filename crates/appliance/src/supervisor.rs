// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Start order, stop order, and what it means when a part ends.
//!
//! ```text
//!  up    signals ► instance lock ► hash seed ► store ► API listens ► next hops ► dataplane opens or adopts
//!        ► first pass: forward, attach ► speaker ► announce                          (the latches of /readyz in turn)
//!  down  ending.rs: a stop withdraws and detaches, a restart leaves all to the next process ► API    exit 0
//! ```
//!
//! A start that fails leaves nothing attached that was not before. A part that ends by itself ends the process with exit
//! code 1 and leaves links and pins in place: packets flow on, and the next start adopts them. A panic aborts the process
//! (`panic = "abort"`), which comes to the same; a service manager starts it again.

mod ending;
mod reload;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, block_in_place};
use weir_api::{BindError, Latch, Readiness, Server, ServerConfig};
use weir_bgp::{Secret, Speaker, SpeakerHandle, StartError as SpeakerError};
use weir_dataplane::kernel::probe::{self, ProbeError};
use weir_dataplane::next_hop::StartError as ResolverError;
use weir_dataplane::{Dataplane, OpenError};
use weir_health::{Adopted, Budgets, CheckKey, CheckerConfig, Monitor, MonitorHandle, SocketProber};

use crate::bfd::{self, BfdControl};
use crate::config::{HashSeed, PeerKeyError, SeedError, read_hash_seed, read_md5_keys};
use crate::control::{Control, DATAPLANE, Sources};
use crate::instance::{InstanceLock, LockError};
use crate::model::Document;
use crate::paths::Ways;
use crate::reconcile::adapters::{KernelForwarder, MonitorChecker, SpeakerAnnouncer};
use crate::reconcile::checks::believed;
use crate::reconcile::desired::{Admin, Reason, destinations};
use crate::reconcile::plan::StepKind;
use crate::reconcile::ports::PortError;
use crate::reconcile::status::ReconcileStatus;
use crate::reconcile::{COMMAND_QUEUE_DEPTH, Command, Inputs, Reconciler};
use crate::signals::{Request, Signals};
use crate::state::{Conditions, HealthFile, OverrideStore, StateDir, StateDirError};
use crate::store::{Start, Store};
use crate::{systemd, translate};

pub use reload::{RELOAD_QUEUE_DEPTH, ReloadRequest, Reloaded};
use reload::{reload, resolved};

/// Why the appliance did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Signals cannot be received.
    #[error("take over signals")]
    Signals(#[source] io::Error),
    /// The running kernel will not do.
    #[error(transparent)]
    Kernel(#[from] ProbeError),
    /// Another process runs this instance.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No usable hash seed.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// No usable key of a peer.
    #[error(transparent)]
    Key(#[from] PeerKeyError),
    /// Another process uses the state directory.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// The API cannot listen.
    #[error(transparent)]
    Api(#[from] BindError),
    /// The next-hop resolver did not start.
    #[error("start the next-hop resolver")]
    NextHops(#[from] ResolverError),
    /// The dataplane did not open.
    #[error("open the dataplane")]
    Open(#[from] OpenError),
    /// The first pass failed.
    #[error("the first pass failed to {}: {error}", step.name())]
    FirstPass {
        /// The step that failed.
        step: StepKind,
        /// Why.
        error: PortError,
    },
    /// The speaker did not start.
    #[error("start the speaker")]
    Speaker(#[from] SpeakerError),
    /// A part ended that should run as long as the process.
    #[error("{0}, pins and links stay in place")]
    Ended(PortError),
    /// The dataplane could not be taken down.
    #[error("detach: {0}")]
    Detach(PortError),
}

/// Runs the appliance until it is told to stop. It starts with the document of `first`, and reads `file` when it is told to.
pub async fn run(file: PathBuf, first: Start) -> Result<(), RunError> {
    let document = first.document.clone();
    let mut signals = Signals::install().map_err(RunError::Signals)?;
    probe::demand()?;
    let _lock = InstanceLock::acquire(&instance_dir(&document))?;
    let seed = read_hash_seed(&document.appliance.hash_seed_file)?;
    let keys = read_md5_keys(&document)?;
    let stores = Stores::open(file, first)?;
    let server = Server::bind(ServerConfig {
        socket: document.bootstrap.api_socket.clone(),
        tcp: document.bootstrap.api_listen,
    });
    let server = server.await?;
    let next_hops = Ways::start(stores.documents.accepted(), stores.state.conditions().clone())?;
    let outcome = match start(&stores, &next_hops, server, (seed, keys)).await {
        Ok(running) => running.until_stopped(&mut signals, &stores, &next_hops).await,
        Err(error) => Err(error),
    };
    // Without the shutdown the neighbours stay for the next start, as after a crash.
    if !matches!(outcome, Ok(End::Restarted)) {
        next_hops.shutdown().await;
    }
    outcome.map(drop)
}

/// How a process ended that was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// For good.
    Stopped,
    /// For another one that follows.
    Restarted,
}

/// What outlives the process.
struct Stores {
    state: StateDir,
    documents: Store,
    overrides: Arc<OverrideStore>,
}

impl Stores {
    fn open(file: PathBuf, first: Start) -> Result<Self, StateDirError> {
        let state = StateDir::open(&first.state_dir, &Conditions::new())?;
        let documents = Store::open(file, first, &state);
        let overrides = Arc::new(OverrideStore::open(&state));
        // Both only wait between turns: they end with the runtime.
        tokio::spawn(state.clone().run());
        tokio::spawn(Arc::clone(&overrides).run());
        Ok(Self { state, documents, overrides })
    }
}

/// Brings up the dataplane, makes the first pass, then starts the speaker. After an error nothing is attached that was
/// not before.
async fn start(
    stores: &Stores,
    next_hops: &Ways,
    server: Server,
    (seed, keys): (HashSeed, BTreeMap<String, Secret>),
) -> Result<Running, RunError> {
    let Stores { state, documents: store, overrides } = stores;
    let document = Arc::clone(&store.accepted().borrow());
    let document = &document.document;
    let latches = Latches::new();
    let wanted = destinations(document);
    next_hops.set_destinations(wanted.clone());
    let dataplane = block_in_place(|| Dataplane::open(translate::dataplane(document, seed.0)))?;
    let is_adopted = dataplane.adopted();
    let (admin, admin_seen) = watch::channel(Admin::default());
    let (monitor, _) = Monitor::spawn(checker(document, HealthFile::load(state)), SocketProber);
    let inputs = Inputs {
        documents: store.accepted(),
        next_hops: next_hops.watch(),
        health: monitor.subscribe(),
        overrides: overrides.subscribe(),
        admin: admin_seen,
    };
    let forwarder = KernelForwarder::new(dataplane);
    let mut reconciler = Reconciler::new(inputs, forwarder, MonitorChecker(monitor.clone()));
    if is_adopted {
        reconciler.resume();
    }
    let (commands, commands_seen) = mpsc::channel(COMMAND_QUEUE_DEPTH);
    let (reloads, reloads_seen) = mpsc::channel(RELOAD_QUEUE_DEPTH);
    let control = Arc::new(Control::new(Sources {
        accepted: store.accepted(),
        rejected: store.rejection(),
        reconcile: reconciler.status(),
        heartbeat: reconciler.heartbeat(),
        commands: commands.clone(),
        reloads,
        overrides: Arc::clone(overrides),
        monitor: monitor.clone(),
        conditions: state.conditions().clone(),
        readiness: latches.readiness.clone(),
    }));
    // Ends with the reconciler.
    tokio::spawn(Arc::clone(&control).follow());
    let (stop_api, api_stopped) = oneshot::channel::<()>();
    let api = tokio::spawn(server.serve(Arc::clone(&control), async {
        // Also when the sender is gone: then nobody is left to answer for.
        api_stopped.await.ok();
    }));

    // A live program goes by the tables of the process before; it must not meet an emptier state in between.
    resolved(&mut next_hops.watch(), &wanted).await;
    let started = match first_pass(&mut reconciler).await {
        Ok(()) => {
            Speaker::start(translate::speaker(document, keys, is_adopted)).await.map_err(RunError::from)
        }
        Err(error) => Err(error),
    };
    let speaker = match started {
        Ok(speaker) => speaker,
        Err(error) => {
            undo(&mut reconciler, is_adopted);
            return Err(error);
        }
    };
    drop(latches.dataplane);
    control.speaker_runs(speaker.status());
    let bfd = bfd::start(document, speaker.clone(), state.conditions().clone());
    control.bfd_runs(bfd.status());
    reconciler.announce_through(SpeakerAnnouncer(speaker.clone()));
    let (status, heartbeat) = (reconciler.status(), reconciler.heartbeat());
    let reconcile = tokio::spawn(reconciler.run(commands_seen));
    drop(latches.speaker);
    let mut verdicts = HealthFile::new(state, monitor.clone());
    let verdicts = tokio::spawn(async move { verdicts.run().await });
    systemd::ready();
    tokio::spawn(systemd::follow(heartbeat, status.clone()));
    tokio::spawn(watch_forwarding(status.clone(), bfd.clone()));
    tracing::info!(adopted = is_adopted, "running");
    let times = Times { leave: document.bgp.drain.time, drain_wait: document.appliance.drain_wait };
    Ok(Running {
        control,
        status,
        reconcile,
        speaker,
        bfd,
        monitor,
        verdicts,
        commands,
        reloads: reloads_seen,
        admin,
        api,
        stop_api,
        times,
    })
}

/// Lets BFD know whether the program is on its uplink, until the reconciler ends: without it no path through here works.
async fn watch_forwarding(mut status: watch::Receiver<Arc<ReconcileStatus>>, bfd: BfdControl) {
    loop {
        let is_attached = status.borrow_and_update().is_attached;
        bfd.forwarding_lost(!is_attached);
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// What the health monitor is started with.
fn checker(document: &Document, adopted: BTreeMap<CheckKey, Adopted>) -> CheckerConfig {
    CheckerConfig {
        appliance: document.appliance.name.clone(),
        budgets: Budgets::default(),
        // Any number will do: it only spreads the jitter.
        seed: RandomState::new().hash_one(0),
        // The first pass goes by them, before any check is set: what is pinned goes on as it was.
        adopted: believed(document, adopted),
    }
}

/// The parts of an appliance that is up.
struct Running {
    control: Arc<Control>,
    status: watch::Receiver<Arc<ReconcileStatus>>,
    reconcile: JoinHandle<Result<(), PortError>>,
    speaker: SpeakerHandle,
    bfd: BfdControl,
    monitor: MonitorHandle,
    verdicts: JoinHandle<()>,
    commands: mpsc::Sender<Command>,
    reloads: mpsc::Receiver<ReloadRequest>,
    admin: watch::Sender<Admin>,
    api: JoinHandle<()>,
    stop_api: oneshot::Sender<()>,
    times: Times,
}

/// What a clean stop takes its time for.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// VIPs are announced with the least preference.
    leave: Duration,
    /// Nothing is announced, and packets are still served.
    drain_wait: Duration,
}

impl Running {
    /// Runs until told to stop, then goes down in order.
    async fn until_stopped(
        mut self,
        signals: &mut Signals,
        stores: &Stores,
        next_hops: &Ways,
    ) -> Result<End, RunError> {
        let Stores { state, documents, .. } = stores;
        let served = serve(signals, &mut self.reconcile, &mut self.reloads, documents, next_hops).await;
        let end = match served {
            Ok(end) => end,
            Err(error) => {
                self.keep_verdicts(state).await;
                return Err(RunError::Ended(error));
            }
        };
        self.control.stopping();
        // Nobody reads a document any more: who asked hears so at once, and does not hold up the end of the API.
        self.reloads.close();
        while self.reloads.try_recv().is_ok() {}
        let outcome = match end {
            End::Stopped => self.stop(signals, state).await,
            End::Restarted => {
                self.restart(state).await;
                Ok(())
            }
        };
        drop(self.stop_api);
        if let Err(error) = self.api.await {
            tracing::error!(%error, "the API did not end well");
        }
        outcome.map(|()| end)
    }
}

/// The parts that `/readyz` waits for.
struct Latches {
    readiness: Readiness,
    dataplane: Latch,
    speaker: Latch,
}

impl Latches {
    fn new() -> Self {
        let readiness = Readiness::new();
        let [dataplane, speaker] = [DATAPLANE, "speaker"].map(|part| readiness.latch(part));
        Self { readiness, dataplane, speaker }
    }
}

type KernelReconciler = Reconciler<KernelForwarder, MonitorChecker, SpeakerAnnouncer>;

/// Forward and attach, before any peer can hear of it. What else failed is tried again, and withholds what needs it.
async fn first_pass(reconciler: &mut KernelReconciler) -> Result<(), RunError> {
    reconciler.pass().await;
    let status = reconciler.status();
    let status = status.borrow();
    let is_fatal = |step| matches!(step, StepKind::Forward | StepKind::Attach);
    match status.failed.iter().find(|(step, _)| is_fatal(*step)) {
        Some((step, error)) => Err(RunError::FirstPass { step: *step, error: error.clone() }),
        None => Ok(()),
    }
}

/// After a failed start: what this process made goes, what it adopted stays.
fn undo(reconciler: &mut KernelReconciler, is_adopted: bool) {
    if is_adopted {
        tracing::warn!("links and pins of the process before stay in place");
    } else if let Err(error) = reconciler.detach() {
        tracing::error!(%error, "the dataplane was not taken down after the failed start");
    }
}

/// Runs until told to end, or until the reconciler ends by itself.
async fn serve(
    signals: &mut Signals,
    reconcile: &mut JoinHandle<Result<(), PortError>>,
    reloads: &mut mpsc::Receiver<ReloadRequest>,
    store: &Store,
    next_hops: &Ways,
) -> Result<End, PortError> {
    loop {
        tokio::select! {
            // CANCEL: a signal not seen stays pending.
            request = signals.next() => match request {
                Request::Stop => return Ok(End::Stopped),
                Request::Restart => return Ok(End::Restarted),
                Request::Reload => drop(reload(store, next_hops).await),
            },
            // CANCEL: a request that was not received stays in the queue.
            Some(ReloadRequest { reply }) = reloads.recv() => {
                // An asker that went away does not want its answer any more.
                reply.send(reload(store, next_hops).await).ok();
            }
            // CANCEL: the handle is polled again in the next turn.
            ended = &mut *reconcile => {
                let gone = PortError::Gone { part: "the reconciler" };
                return Err(ended.map_or(gone.clone(), |outcome| outcome.err().unwrap_or(gone)));
            }
        }
    }
}

/// Folder of the instance's pins.
fn instance_dir(document: &Document) -> PathBuf {
    Path::new(&document.bootstrap.pin_dir).join(&document.bootstrap.instance)
}
