// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Edges between what was seen and what is seen.

use std::time::Duration;

use weir_api::events::Change;
use weir_api::v1::EventKind;

use super::*;
use crate::control::recorder::{Recorder, Seen};
use crate::overrides::{Override, OverrideState, Target};

fn first() -> Seen {
    let accepted = accepted();
    Seen {
        reconcile: Arc::new(reconciled(&accepted)),
        accepted: Arc::new(accepted),
        rejected: None,
        overrides: Arc::default(),
        speaker: None,
    }
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

/// Kind, object, state before and now, code.
type Words<'a> = (EventKind, &'a str, Option<&'a str>, Option<&'a str>, &'a str);

fn words(changes: &[Change]) -> Vec<Words<'_>> {
    changes
        .iter()
        .map(|one| (one.kind, one.object.as_str(), one.from.as_deref(), one.to.as_deref(), one.code.as_str()))
        .collect()
}

#[test]
fn nothing_new_is_nothing_told() {
    let mut recorder = Recorder::new(first());
    assert_eq!(recorder.look(first(), at(0)), []);
    assert_eq!(recorder.counted().applied, 1);
}

#[test]
fn a_backend_that_fails_is_told_counted_and_timed() {
    let mut seen = first();
    let mut recorder = Recorder::new(seen.clone());
    let mut status = (*seen.reconcile).clone();
    let b1 = Arc::make_mut(&mut status.backends)
        .get_mut(&("web".to_owned(), "b1".to_owned()))
        .expect("in the document");
    b1.condition = Condition::Failed;
    b1.check = CheckSummary::Down { cause: "status 503".into() };
    (b1.verdict_at, b1.in_force_at) = (Some(at(1_000)), Some(at(1_020)));
    seen.reconcile = Arc::new(status);
    let changes = recorder.look(seen.clone(), at(1_030));
    let object = "backend/web/b1";
    assert_eq!(words(&changes), [(EventKind::Backend, object, Some("usable"), Some("failed"), "")]);
    assert_eq!((changes[0].message.as_str(), changes[0].at), ("status 503", at(1_030)));
    assert_eq!(recorder.counted().backends[&("web".into(), "b1".into())]["failed"], 1);
    // The backend leaves the document: the edge is told, the counters go.
    let mut status = (*seen.reconcile).clone();
    Arc::make_mut(&mut status.backends).clear();
    seen.reconcile = Arc::new(status);
    let changes = recorder.look(seen, at(2_000));
    assert_eq!(words(&changes)[0], (EventKind::Backend, object, Some("failed"), None, ""));
    assert!(recorder.counted().backends.is_empty());
}

#[test]
fn a_vip_that_is_withdrawn_is_told_and_timed() {
    let mut seen = first();
    let mut recorder = Recorder::new(seen.clone());
    let mut status = (*seen.reconcile).clone();
    let www = Arc::make_mut(&mut status.vips).get_mut("www").expect("in the document");
    (www.is_told, www.wanted) = (false, false);
    www.withheld = [Reason::Backends].into();
    www.conditions = vec![why(Reason::Backends, "service `www-http`: 0 of 2 backends usable, 1 needed")];
    (www.decided_at, www.told_at) = (Some(at(5_000)), Some(at(5_004)));
    status.applied = Some(Generation(4));
    seen.reconcile = Arc::new(status);
    let changes = recorder.look(seen, at(5_010));
    assert_eq!(
        words(&changes),
        [
            (EventKind::Vip, "vip/www", Some("announced"), Some("withheld"), "backends"),
            (EventKind::Document, "document", None, Some("4"), "in-force"),
        ]
    );
    assert_eq!(changes[0].message, "service `www-http`: 0 of 2 backends usable, 1 needed");
    let delay = &recorder.counted().update_delay;
    assert_eq!((delay.count(), delay.buckets[2]), (1, 1), "4 ms are within the bucket of 5 ms");
}

#[test]
fn thousands_of_new_backends_are_no_events() {
    let seen = first();
    let mut empty = seen.clone();
    empty.reconcile = Arc::default();
    let mut recorder = Recorder::new(empty);
    let changes = recorder.look(seen, at(0));
    let objects: Vec<_> = changes.iter().map(|one| one.object.as_str()).collect();
    assert_eq!(
        objects,
        ["vip/www", "backend/web/b2", "document"],
        "b2 has no next hop, b1 is as it should be"
    );
}

#[test]
fn documents_are_told_accepted_and_refused() {
    let mut seen = first();
    let mut recorder = Recorder::new(seen.clone());
    let rejected = Rejected { at: at(1), errors: vec!["weir.toml:1:1: bad".into(), "more".into()] };
    seen.rejected = Some(Arc::new(rejected));
    let changes = recorder.look(seen.clone(), at(2));
    assert_eq!(words(&changes), [(EventKind::Document, "document", Some("4"), Some("4"), "rejected")]);
    assert_eq!(changes[0].message, "weir.toml:1:1: bad\nmore");
    assert_eq!(recorder.look(seen.clone(), at(3)), [], "told once");
    seen.rejected = None;
    seen.accepted = Arc::new(Accepted { generation: Generation(5), ..(*seen.accepted).clone() });
    let changes = recorder.look(seen, at(4));
    assert_eq!(words(&changes), [(EventKind::Document, "document", Some("4"), Some("5"), "accepted")]);
    assert_eq!((recorder.counted().applied, recorder.counted().rejected), (2, 1));
}

#[test]
fn overrides_are_set_cleared_or_expired() {
    let mut seen = first();
    let mut recorder = Recorder::new(seen.clone());
    let drain = Override {
        state: OverrideState::Drain,
        author: "ada".into(),
        reason: "disk".into(),
        created: at(0),
        until: Some(at(60_000)),
    };
    let target = Target::Pool("web".into());
    let with = |one: Override| Arc::new(Overrides { by_target: [(target.clone(), one)].into() });
    seen.overrides = with(drain.clone());
    let changes = recorder.look(seen.clone(), at(1));
    assert_eq!(words(&changes), [(EventKind::Override, "pool/web", None, Some("drain"), "set")]);
    assert_eq!(changes[0].message, "set by ada: disk");
    seen.overrides = with(Override { state: OverrideState::Disable, ..drain.clone() });
    let changes = recorder.look(seen.clone(), at(2));
    assert_eq!(words(&changes), [(EventKind::Override, "pool/web", Some("drain"), Some("disable"), "set")]);
    seen.overrides = Arc::default();
    let changes = recorder.look(seen.clone(), at(3));
    assert_eq!(words(&changes)[0].4, "cleared");
    seen.overrides = with(drain);
    recorder.look(seen.clone(), at(4));
    seen.overrides = Arc::default();
    assert_eq!(words(&recorder.look(seen, at(60_000)))[0].4, "expired");
}

#[test]
fn sessions_are_told_when_they_come_and_go() {
    let mut seen = first();
    let mut recorder = Recorder::new(seen.clone());
    let prefix: Prefix = "198.51.100.10/32".parse().expect("a prefix");
    let mut look = |state, remark: Option<&str>| {
        let mut speaker = speaker(state, prefix);
        let peer = speaker.peers.get_mut("tor1").expect("in the document");
        peer.last_received = remark.map(|text| weir_bgp::TimedNotification {
            at: at(9),
            code: 6,
            subcode: 2,
            text: text.into(),
        });
        seen.speaker = Some(Arc::new(speaker));
        recorder.look(seen.clone(), at(10))
    };
    use weir_bgp::PeerState::{Active, Connect, Established};
    assert_eq!(look(Connect, None), [], "not up yet");
    let up = look(Established, None);
    assert_eq!(words(&up), [(EventKind::Peer, "peer/tor1", Some("down"), Some("established"), "")]);
    let down = look(Active, Some("cease: administrative shutdown"));
    assert_eq!(words(&down), [(EventKind::Peer, "peer/tor1", Some("established"), Some("down"), "")]);
    assert_eq!(down[0].message, "cease: administrative shutdown");
    assert_eq!(look(Connect, None), [], "still down");
}

#[test]
fn only_rows_that_follow_a_new_verdict_tell_a_delay() {
    let mut seen = first();
    let mut recorder = Recorder::new(seen.clone());
    let mut look = |condition, verdict_at: Option<u64>, in_force_at: Option<u64>| {
        let mut status = (*seen.reconcile).clone();
        let b1 = Arc::make_mut(&mut status.backends)
            .get_mut(&("web".to_owned(), "b1".to_owned()))
            .expect("in the document");
        b1.condition = condition;
        (b1.verdict_at, b1.in_force_at) = (verdict_at.map(at), in_force_at.map(at));
        seen.reconcile = Arc::new(status);
        recorder.look(seen.clone(), at(0));
        let delays = &recorder.counted().rows_delay;
        // The sum of 10 ms and 20 ms may be a hair below 30 ms.
        (delays.count(), Duration::from_secs_f64(delays.sum + 1e-6).as_millis())
    };
    assert_eq!(look(Condition::Unknown, None, Some(500)), (0, 0));
    assert_eq!(look(Condition::Usable, Some(1_000), Some(1_010)), (1, 10), "its first verdict");
    assert_eq!(look(Condition::Failed, Some(2_000), None), (1, 10), "not in force yet");
    assert_eq!(look(Condition::Failed, Some(2_000), Some(2_020)), (2, 30));
    assert_eq!(look(Condition::Draining, Some(2_000), Some(3_000)), (2, 30), "an operator's");
    assert_eq!(look(Condition::Draining, Some(4_000), Some(3_000)), (2, 30), "up again, and still drained");
    assert_eq!(look(Condition::Usable, Some(4_000), None), (2, 30));
    assert_eq!(look(Condition::Usable, Some(4_000), Some(9_000)), (2, 30), "it follows the operator");
}
