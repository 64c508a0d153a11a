// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the parts publish, as the status document tells it.

mod recorder;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};
use weir_api::events::Next;
use weir_api::metrics::Telemetry;
use weir_api::v1::{self, BackendState, Lifecycle, SessionState, Severity, Status, WithheldReason};
use weir_api::{
    ControlPlane, OverrideRefused, OverrideTarget, OverrideWish, Readiness, ReloadRefused, Unavailable,
};
use weir_bgp::rib::{Export, Wanted};
use weir_bgp::wire::{NextHop as RouteNextHop, UpdateEncoder};
use weir_bgp::{Advertisement, Prefix, SpeakerStatus};
use weir_dataplane::next_hop::{NextHop, Unresolved};
use weir_health::{CheckerConfig, HealthSnapshot, Monitor, SocketProber};

use super::status::{Parts, status};
use super::{Control, STUCK_AFTER, Sources};
use crate::config;
use crate::model::Generation;
use crate::overrides::Overrides;
use crate::reconcile::Command;
use crate::reconcile::plan::StepKind;
use crate::reconcile::ports::{Count, PortError, Traffic};
use crate::reconcile::status::{
    BackendOutcome, CheckSummary, Condition, Reason, ReconcileStatus, VipOutcome, Why,
};
use crate::state::{self, Conditions, OverrideStore, StateDir};
use crate::store::{Accepted, Rejected, ReloadError};
use crate::supervisor;

const DOCUMENT: &str = r#"
[appliance]
name = "lb1"
router_id = "192.0.2.1"
source_v4 = "192.0.2.1"
hash_seed_file = "/etc/weir/hash-seed"
[uplinks.eth0]
xdp = "native"
[bgp]
asn = 65010
[peers.tor1]
address = "10.0.0.1"
remote_as = 65000
[vips.www]
address = "198.51.100.10"
[services.www-http]
vip = "www"
protocol = "tcp"
port = 80
pool = "web"
[pools.web]
mode = "ipip"
[pools.web.backends.b1]
address = "10.1.0.1"
[pools.web.backends.b2]
address = "10.1.0.2"
"#;

fn accepted() -> Accepted {
    let document = config::parse("weir.toml", DOCUMENT).expect("a good document");
    Accepted { document, generation: Generation(4), at: UNIX_EPOCH }
}

/// `b1` has a next hop, `b2` has none; the VIP is announced.
fn reconciled(accepted: &Accepted) -> ReconcileStatus {
    let hop = NextHop {
        ifindex: 3,
        source_mac: [2; 6],
        destination_mac: [0xab; 6],
        mtu: 1500,
        vlan: None,
        is_on_link: false,
    };
    let address = |text: &str| text.parse().expect("an address");
    let backend = |condition, next_hop| BackendOutcome {
        condition,
        next_hop: Some(next_hop),
        check: CheckSummary::None,
        since: UNIX_EPOCH,
        verdict_at: None,
        in_force_at: None,
        by: None,
    };
    let backends = [
        (
            ("web".to_owned(), "b1".to_owned()),
            backend(Condition::Usable, Ok(vec![hop, NextHop { ifindex: 4, vlan: Some(7), ..hop }])),
        ),
        (("web".to_owned(), "b2".to_owned()), backend(Condition::Unresolved, Err(Unresolved::NoRoute))),
    ];
    let www = VipOutcome {
        prefix: weir_bgp::Prefix::host(address("198.51.100.10")),
        is_told: true,
        wanted: true,
        is_deprioritised: false,
        withheld: [].into(),
        conditions: vec![],
        announced: 2,
        withdrawn: 1,
        decided_at: None,
        told_at: None,
    };
    ReconcileStatus {
        applied: Some(accepted.generation).map(|generation| Generation(generation.0 - 1)),
        passes: 9,
        is_attached: true,
        vips: BTreeMap::from([("www".into(), www)]).into(),
        backends: BTreeMap::from(backends).into(),
        ..ReconcileStatus::default()
    }
}

fn traffic() -> Traffic {
    let count = Count { packets: 5, bytes: 500, new_flows: 1 };
    Traffic {
        checks: vec![("encapsulated", 7)],
        losses: vec![("driver", 3)],
        verdicts: vec![("forwarded", 5), ("not_a_vip", 0)],
        services: BTreeMap::from([("www-http".into(), count)]),
        backends: BTreeMap::from([(("web".into(), "b1".into()), count)]),
    }
}

fn seen(accepted: &Accepted, reconcile: &ReconcileStatus, speaker: Option<&SpeakerStatus>) -> Status {
    status(&Parts {
        accepted,
        rejected: None,
        reconcile,
        speaker,
        bfd: None,
        traffic: &traffic(),
        health: &HealthSnapshot::default(),
        overrides: &Overrides::default(),
        conditions: &BTreeMap::new(),
        waiting_for: vec![],
        is_stopping: false,
        started_at: UNIX_EPOCH,
        kernel: "6.18.0",
        now: Instant::now(),
    })
}

#[test]
fn objects_are_told_by_name() {
    let accepted = accepted();
    let told = seen(&accepted, &reconciled(&accepted), None);
    assert_eq!((told.document.accepted_generation, told.document.applied_generation), (4, 3));
    assert_eq!(told.appliance.state, Lifecycle::Running);
    assert_eq!((told.services["www-http"].packets_total.0, told.services["www-http"].port), (5, 80));
    let backends = &told.pools["web"].backends;
    assert_eq!((backends["b1"].state, backends["b1"].bytes_total.0), (BackendState::Usable, 500));
    assert_eq!(
        backends["b1"].next_hop.detail,
        "interface 3, ab:ab:ab:ab:ab:ab, mtu 1500; interface 4, vlan 7, ab:ab:ab:ab:ab:ab, mtu 1500"
    );
    assert_eq!((backends["b2"].state, backends["b2"].packets_total.0), (BackendState::Unresolved, 0));
    assert_eq!(told.dataplane.uplinks["eth0"].verdicts["forwarded"].0, 5);
    assert_eq!(told.vips["www"].transitions["announced"].0, 2);
}

#[test]
fn a_vip_is_announced_once_an_established_peer_was_told() {
    let accepted = accepted();
    let reconcile = reconciled(&accepted);
    let told = seen(&accepted, &reconcile, None);
    assert!(told.vips["www"].announce_desired && !told.vips["www"].announced);
    assert_eq!(told.peers["tor1"].state, SessionState::Idle);
    assert_eq!(
        told.problems,
        [
            "peer tor1: idle: the speaker does not know it yet",
            "vip www: withheld: no-peer: wanted, but no peer is Established: tor1 is idle",
            "backend web.b2: unresolved: no next hop: no route",
        ]
    );
    let prefix: Prefix = "198.51.100.10/32".parse().expect("a prefix");
    for (state, is_announced) in
        [(weir_bgp::PeerState::Established, true), (weir_bgp::PeerState::OpenConfirm, false)]
    {
        let speaker = speaker(state, prefix);
        let told = seen(&accepted, &reconcile, Some(&speaker));
        assert_eq!(told.vips["www"].announced, is_announced);
    }
}

/// How the session of [`speaker`] exports.
pub(super) fn export() -> Export {
    Export {
        asn: 65_010,
        families: weir_bgp::Families::BOTH,
        next_hop_v4: Some(RouteNextHop::V4("10.0.0.2".parse().expect("an address"))),
        next_hop_v6: None,
        encoder: UpdateEncoder { four_octet_as: true, message_max: 4096 },
        has_enhanced_refresh: false,
        policy: Arc::default(),
    }
}

fn speaker(state: weir_bgp::PeerState, prefix: Prefix) -> SpeakerStatus {
    let config = weir_bgp::PeerConfig::new(
        "tor1",
        "10.0.0.1".parse().expect("an address"),
        weir_bgp::RemoteAs::Exact(65_000),
    );
    let wanted = Wanted::new(&BTreeSet::from([Advertisement::plain(prefix)]));
    let peer = weir_bgp::PeerStatus {
        state,
        remote_as: Some(65_000),
        adj_rib_out: weir_bgp::AdjRibOutView::new(Arc::new(wanted), Some(export())),
        ..weir_bgp::PeerStatus::new(&config)
    };
    SpeakerStatus { peers: BTreeMap::from([("tor1".into(), peer)]), ..SpeakerStatus::default() }
}

#[test]
fn before_the_first_pass_everything_is_withheld() {
    let told = seen(&accepted(), &ReconcileStatus::default(), None);
    assert_eq!(told.vips["www"].withheld, [WithheldReason::Dataplane]);
    assert_eq!(told.document.applied_generation, 0);
    assert_eq!(told.vips["www"].conditions[0].code, "dataplane");
    let attach = "dataplane-not-attached: XDP is not attached: eth0 (native)".to_owned();
    assert!(told.problems.contains(&attach), "{:?}", told.problems);
}

#[test]
fn failures_and_refusals_are_problems() {
    let accepted = accepted();
    let mut reconcile = reconciled(&accepted);
    reconcile.failed = vec![(StepKind::Forward, PortError::Failed { cause: "no room".into() })];
    let rejected = Rejected { at: UNIX_EPOCH, errors: vec!["weir.toml:1:1: bad".into()] };
    let message = "no space left".to_owned();
    let full = state::Condition { severity: state::Severity::Warning, message, since: UNIX_EPOCH };
    let conditions = BTreeMap::from([(state::STATE_NOT_KEPT, full)]);
    let told = status(&Parts {
        accepted: &accepted,
        rejected: Some(&rejected),
        reconcile: &reconcile,
        speaker: None,
        bfd: None,
        traffic: &traffic(),
        health: &HealthSnapshot { is_overloaded: true, ..HealthSnapshot::default() },
        overrides: &Overrides::default(),
        conditions: &conditions,
        waiting_for: vec!["speaker"],
        is_stopping: true,
        started_at: SystemTime::now(),
        kernel: "6.18.0",
        now: Instant::now(),
    });
    assert_eq!(
        told.problems[..4],
        [
            "reconcile-failed: forward: no room",
            "checker-overloaded: health checks start late: no backend goes down meanwhile",
            "document-refused: the last document read was refused: weir.toml:1:1: bad",
            "state-not-kept: no space left",
        ]
    );
    let codes: Vec<_> = told.conditions.iter().map(|one| (one.code.as_str(), one.severity)).collect();
    assert_eq!(codes[0], ("reconcile-failed", Some(Severity::Critical)));
    assert_eq!(codes[3], ("state-not-kept", Some(Severity::Warning)));
    assert_eq!(told.document.last_rejected.expect("refused").errors, ["weir.toml:1:1: bad"]);
    assert_eq!(told.appliance.state, Lifecycle::Stopping);
}

/// A control plane, the end of its command queue, and the other ends that keep its sources alive.
fn control(depth: usize) -> (Control, mpsc::Receiver<Command>, Readiness, watch::Sender<Instant>) {
    let accepted = Arc::new(accepted());
    let (commands, received) = mpsc::channel(depth);
    let heartbeat = watch::Sender::new(Instant::now());
    let readiness = Readiness::new();
    let conditions = Conditions::new();
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::open(folder.path(), &conditions).expect("nobody else has it");
    let control = Control::new(Sources {
        reconcile: watch::Sender::new(Arc::new(reconciled(&accepted))).subscribe(),
        accepted: watch::Sender::new(accepted).subscribe(),
        rejected: watch::Sender::new(None).subscribe(),
        heartbeat: heartbeat.subscribe(),
        commands,
        reloads: mpsc::channel(1).0,
        overrides: Arc::new(OverrideStore::open(&state)),
        monitor: Monitor::spawn(CheckerConfig::default(), SocketProber).0,
        conditions,
        readiness: readiness.clone(),
    });
    (control, received, readiness, heartbeat)
}

#[tokio::test]
async fn counters_come_from_the_reconciler() {
    let (control, mut commands, _readiness, _heartbeat) = control(1);
    let answering = async {
        match commands.recv().await {
            Some(Command::Traffic(reply)) => reply.send(Ok(traffic())).expect("awaited"),
            other => panic!("{other:?}"),
        }
    };
    let (told, ()) = tokio::join!(control.view(), answering);
    assert_eq!(told.expect("answered").status.services["www-http"].packets_total.0, 5);
}

#[tokio::test]
async fn a_full_queue_is_busy_and_a_closed_one_stopped() {
    let (control, commands, _readiness, _heartbeat) = control(1);
    let (reply, _answer) = oneshot::channel();
    control.sources.commands.try_send(Command::Traffic(reply)).expect("one fits");
    assert_eq!(control.view().await, Err(Unavailable::Busy));
    drop(commands);
    assert_eq!(control.view().await, Err(Unavailable::Stopped));
}

#[tokio::test]
async fn probes_follow_latches_and_heartbeat() {
    let (mut control, _commands, readiness, heartbeat) = control(1);
    let latch = readiness.latch("speaker");
    assert_eq!(control.probes().not_ready, ["speaker"]);
    drop(latch);
    assert_eq!(control.probes(), Default::default());
    let lost = ReconcileStatus { is_attached: false, ..reconciled(&accepted()) };
    control.sources.reconcile = watch::Sender::new(Arc::new(lost)).subscribe();
    assert_eq!(control.probes().not_ready, ["dataplane"]);
    control.sources.reconcile = watch::Sender::new(Arc::new(reconciled(&accepted()))).subscribe();
    control.stopping();
    assert_eq!(control.probes().not_ready, ["stopping"]);
    if let Some(long_ago) = Instant::now().checked_sub(STUCK_AFTER + Duration::from_secs(1)) {
        heartbeat.send_replace(long_ago);
        assert_eq!(control.probes().stuck, ["reconcile"]);
    }
}

fn why(reason: Reason, message: &str) -> Why {
    Why { reason, message: message.to_owned(), since: UNIX_EPOCH, until: None }
}

#[test]
fn every_reason_has_its_code_and_its_sentence() {
    let accepted = accepted();
    for reason in Reason::ALL {
        let mut reconcile = reconciled(&accepted);
        let www = Arc::make_mut(&mut reconcile.vips).get_mut("www").expect("in the document");
        (www.is_told, www.wanted) = (false, false);
        www.withheld = [reason].into();
        let until = UNIX_EPOCH + Duration::from_secs(60);
        www.conditions = vec![Why { until: Some(until), ..why(reason, "what is missing") }];
        let told = seen(&accepted, &reconcile, None);
        let vip = &told.vips["www"];
        assert!(!vip.announce_desired && !vip.announced);
        let codes: Vec<_> = vip.withheld.iter().map(|reason| reason.name()).collect();
        assert_eq!(codes, [reason.name()], "no-peer is said only of what is wanted");
        let one = &vip.conditions[0];
        assert_eq!((one.kind.as_str(), one.code.as_str()), ("withheld", reason.name()));
        assert_eq!((one.message.as_str(), one.until.map(|until| until.0)), ("what is missing", Some(until)));
        let line = format!("vip www: withheld: {}: what is missing", reason.name());
        assert!(told.problems.contains(&line), "{:?}", told.problems);
    }
}

#[test]
fn a_wanted_vip_that_nobody_was_told_says_so() {
    let accepted = accepted();
    let reconcile = reconciled(&accepted);
    let other: Prefix = "192.0.2.1/32".parse().expect("a prefix");
    for (state, sentence) in [
        (weir_bgp::PeerState::Active, "wanted, but no peer is Established: tor1 is active"),
        (weir_bgp::PeerState::Established, "wanted, but not told yet to any Established peer: tor1"),
    ] {
        let told = seen(&accepted, &reconcile, Some(&speaker(state, other)));
        let vip = &told.vips["www"];
        assert_eq!(vip.withheld, [WithheldReason::NoPeer]);
        assert_eq!(
            (vip.conditions[0].code.as_str(), vip.conditions[0].message.as_str()),
            ("no-peer", sentence)
        );
        assert_eq!(vip.peers, BTreeMap::from([("tor1".to_owned(), false)]));
        assert!(vip.announce_desired);
    }
}

#[test]
fn a_warning_of_an_announced_vip_is_no_reason() {
    let accepted = accepted();
    let mut reconcile = reconciled(&accepted);
    let www = Arc::make_mut(&mut reconcile.vips).get_mut("www").expect("in the document");
    www.conditions =
        vec![why(Reason::Backends, "service `www-http`: 0 of 2 usable; tolerated until 12:00:00 UTC")];
    let prefix: Prefix = "198.51.100.10/32".parse().expect("a prefix");
    let told = seen(&accepted, &reconcile, Some(&speaker(weir_bgp::PeerState::Established, prefix)));
    let vip = &told.vips["www"];
    assert!(vip.announced && vip.withheld.is_empty());
    assert_eq!(vip.conditions[0].kind, "warning");
}

#[test]
fn a_backend_says_why_it_takes_no_flows() {
    let accepted = accepted();
    let mut reconcile = reconciled(&accepted);
    let b1 = ("web".to_owned(), "b1".to_owned());
    let target = crate::overrides::Target::Pool("web".into());
    for (condition, check, by, code, sentence) in [
        (
            Condition::Failed,
            CheckSummary::Down { cause: "status 503".into() },
            None,
            "status",
            "its checks fail: status 503",
        ),
        (
            Condition::Unknown,
            CheckSummary::Unknown,
            None,
            "first-results",
            "its checks have not answered yet",
        ),
        (
            Condition::Draining,
            CheckSummary::Up,
            Some(target.clone()),
            "override",
            "by the override `pool/web`",
        ),
        (Condition::Disabled, CheckSummary::None, None, "document", "by the document"),
    ] {
        let outcome = Arc::make_mut(&mut reconcile.backends).get_mut(&b1).expect("in the document");
        (outcome.condition, outcome.check, outcome.by) = (condition, check, by);
        let told = seen(&accepted, &reconcile, None);
        let backend = &told.pools["web"].backends["b1"];
        let one = &backend.conditions[0];
        assert_eq!(
            (one.kind.as_str(), one.code.as_str(), one.message.as_str()),
            (condition.name(), code, sentence)
        );
        assert_eq!(backend.state.name(), condition.name());
    }
}

#[tokio::test]
async fn overrides_go_to_their_store_and_come_back_as_events() {
    let (control, _commands, _readiness, _heartbeat) = control(1);
    let target = || OverrideTarget::Backend { pool: "web".into(), backend: "b1".into() };
    let wish = |state, reason: &str| OverrideWish {
        state,
        author: "ada".into(),
        reason: reason.into(),
        until: Some(SystemTime::now() + Duration::from_secs(3_600)),
    };
    let done = control.set_override(target(), wish(v1::OverrideState::Drain, "disk")).await.expect("set");
    assert!(done.is_new && done.set.persisted);
    assert_eq!((done.set.id.as_str(), done.set.reason.as_str()), ("backend/web/b1", "disk"));
    assert_eq!(control.overrides(), [done.set]);
    control.look();
    match control.events().after(0, 10) {
        Next::Events(events) => assert_eq!(events[0].1.object, "backend/web/b1"),
        Next::Lost => panic!("lost"),
    }
    let refused = control.set_override(target(), wish(v1::OverrideState::Withhold, "")).await;
    match refused.expect_err("a backend is not withheld") {
        OverrideRefused::Invalid(error) => assert_eq!(error.path, "state"),
        other => panic!("{other:?}"),
    }
    let refused = control.set_override(target(), wish(v1::OverrideState::Drain, "a\nb")).await;
    assert!(matches!(refused, Err(OverrideRefused::Invalid(error)) if error.path == "reason"));
    assert_eq!(control.clear_override(target()).await, Ok(true));
    assert_eq!(control.clear_override(target()).await, Ok(false));
}

#[tokio::test]
async fn a_reload_goes_to_the_supervisor() {
    let (mut control, _commands, _readiness, _heartbeat) = control(1);
    let (reloads, mut asked) = mpsc::channel(1);
    control.sources.reloads = reloads;
    let bad = config::parse("weir.toml", "[appliance]\nname = 7\n").expect_err("a bad document");
    let outcomes = [
        Ok(supervisor::Reloaded { generation: Generation(5), is_changed: true }),
        Err(ReloadError::Invalid(bad)),
        Err(ReloadError::NeedsRestart { sections: vec!["bgp"] }),
    ];
    let answering = tokio::spawn(async move {
        for outcome in outcomes {
            let request = asked.recv().await.expect("asked");
            request.reply.send(outcome).expect("awaited");
        }
    });
    assert_eq!(control.reload().await, Ok(v1::Reloaded { generation: 5, changed: true }));
    match control.reload().await.expect_err("refused") {
        ReloadRefused::Invalid { errors } => {
            let name = errors.iter().find(|error| error.path == "appliance.name").expect("told");
            assert_eq!((name.line, name.file.as_deref()), (Some(2), Some("weir.toml")));
            assert!(name.hint.is_some());
        }
        other => panic!("{other:?}"),
    }
    let refused = control.reload().await.expect_err("refused");
    assert_eq!(refused, ReloadRefused::NeedsRestart { sections: vec!["bgp".into()] });
    answering.await.expect("no panic");
    assert_eq!(control.reload().await, Err(ReloadRefused::Unavailable(Unavailable::Stopped)));
}

/// All that must be asked for counters.
async fn scrape(control: &Control, commands: &mut mpsc::Receiver<Command>) -> (Status, Telemetry) {
    let answering = async {
        match commands.recv().await {
            Some(Command::Traffic(reply)) => reply.send(Ok(traffic())).expect("awaited"),
            other => panic!("{other:?}"),
        }
    };
    tokio::join!(control.scrape(), answering).0.expect("answered")
}

#[tokio::test]
async fn telemetry_is_gathered_from_all_parts() {
    let (control, mut commands, _readiness, _heartbeat) = control(1);
    let (status, telemetry) = scrape(&control, &mut commands).await;
    assert_eq!(status.services["www-http"].packets_total.0, 5);
    assert_eq!(telemetry.check_path, [("encapsulated".to_owned(), 7)]);
    assert_eq!(telemetry.losses, [("driver".to_owned(), 3)]);
    assert_eq!(telemetry.documents[0], ("applied".to_owned(), 1));
    assert_eq!(telemetry.lateness.expect("the checker runs").count(), 0);
}

#[tokio::test]
async fn edges_are_told_as_they_are_published() {
    let (mut control, _commands, _readiness, _heartbeat) = control(1);
    let reconcile = watch::Sender::new(Arc::new(reconciled(&accepted())));
    control.sources.reconcile = reconcile.subscribe();
    let control = Arc::new(control);
    let following = tokio::spawn(Arc::clone(&control).follow());
    let mut latest = control.events().subscribe();
    let speaker_status = speaker(weir_bgp::PeerState::Connect, "198.51.100.10/32".parse().expect("a prefix"));
    let speaker_status = watch::Sender::new(Arc::new(speaker_status));
    control.speaker_runs(speaker_status.subscribe());
    reconcile.send_modify(|status| {
        Arc::make_mut(&mut Arc::make_mut(status).vips).get_mut("www").expect("in the document").is_told =
            false;
    });
    let wait = Duration::from_secs(10);
    tokio::time::timeout(wait, latest.changed()).await.expect("in time").expect("the log lives");
    speaker_status.send_modify(|status| {
        let peers = &mut Arc::make_mut(status).peers;
        peers.get_mut("tor1").expect("in the document").state = weir_bgp::PeerState::Established;
    });
    let told = async { latest.wait_for(|latest| *latest == 2).await.map(|latest| *latest) };
    tokio::time::timeout(wait, told).await.expect("in time").expect("the log lives");
    match control.events().after(0, 10) {
        Next::Events(events) => {
            let objects: Vec<_> = events.iter().map(|(_, event)| event.object.as_str()).collect();
            assert_eq!(objects, ["vip/www", "peer/tor1"]);
        }
        Next::Lost => panic!("lost"),
    }
    drop(reconcile);
    tokio::time::timeout(wait, following).await.expect("ends with the reconciler").expect("no panic");
}
