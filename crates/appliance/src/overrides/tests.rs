// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What may be set, what ends, what holds.

use std::time::{Duration, UNIX_EPOCH};

use super::*;

const NOW: SystemTime = UNIX_EPOCH;

fn drain() -> Override {
    Override {
        state: OverrideState::Drain,
        author: "ana".to_owned(),
        reason: String::new(),
        created: NOW,
        until: None,
    }
}

fn backend() -> Target {
    Target::Backend { pool: "web".to_owned(), backend: "b1".to_owned() }
}

#[test]
fn each_target_takes_what_means_something_for_it() {
    let targets = [Target::Appliance, Target::Vip("www".into()), Target::Pool("web".into()), backend()];
    let taken = targets.map(|target| {
        let states = OverrideState::ALL.into_iter();
        let one = |state| Override { state, ..drain() };
        let taken = states.filter(|state| Overrides::default().check(&target, &one(*state), NOW).is_ok());
        taken.map(OverrideState::name).collect::<Vec<_>>().join(" ")
    });
    assert_eq!(taken, ["withhold", "withhold", "drain disable", "drain disable"]);
    let withhold = Override { state: OverrideState::Withhold, ..drain() };
    let error = Overrides::default().check(&backend(), &withhold, NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`withhold` means nothing for `backend/web/b1`; allowed: `drain`, `disable`"
    );
}

#[test]
fn texts_and_times_are_bounded() {
    let field = |one: Override| {
        let checked = Overrides::default().check(&backend(), &one, NOW);
        checked.err().map(|error| error.field().unwrap_or("none"))
    };
    let text = |len: usize| "ä".repeat(len / 2);
    assert_eq!(field(drain()), None);
    assert_eq!(field(Override { author: text(AUTHOR_MAX), reason: text(REASON_MAX), ..drain() }), None);
    assert_eq!(field(Override { author: text(AUTHOR_MAX + 2), ..drain() }), Some("author"));
    assert_eq!(field(Override { author: " ".to_owned(), ..drain() }), Some("author"));
    assert_eq!(field(Override { reason: text(REASON_MAX + 2), ..drain() }), Some("reason"));
    assert_eq!(field(Override { reason: "a\nb".to_owned(), ..drain() }), Some("reason"));
    assert_eq!(field(Override { reason: "\u{1b}[2J".to_owned(), ..drain() }), Some("reason"));
    assert_eq!(field(Override { until: Some(NOW), ..drain() }), Some("until"));
    assert_eq!(field(Override { until: Some(NOW + Duration::from_millis(1)), ..drain() }), None);
}

#[test]
fn beyond_the_limit_only_what_is_there_can_be_changed() {
    let vips = (0..OVERRIDES_MAX).map(|n| (Target::Vip(n.to_string()), drain()));
    let full = Overrides { by_target: vips.collect() };
    let withhold = Override { state: OverrideState::Withhold, ..drain() };
    assert_eq!(full.check(&Target::Vip("new".into()), &withhold, NOW), Err(OverrideError::Full));
    assert_eq!(full.check(&Target::Vip("7".into()), &withhold, NOW), Ok(()));
}

#[test]
fn only_those_whose_end_has_come_are_taken_out() {
    let until = |seconds| Some(NOW + Duration::from_secs(seconds));
    let ends = [("a", None), ("b", until(5)), ("c", until(6))];
    let vips = ends.map(|(name, until)| (Target::Vip(name.into()), Override { until, ..drain() }));
    let mut overrides = Overrides { by_target: vips.into() };
    assert!(overrides.take_expired(NOW + Duration::from_secs(4)).is_empty());
    assert_eq!(overrides.next_expiry(), until(5));
    let over = overrides.take_expired(NOW + Duration::from_secs(5));
    assert_eq!(over.keys().map(ToString::to_string).collect::<Vec<_>>(), ["vip/b"]);
    assert_eq!(overrides.by_target.len(), 2);
}

#[test]
fn the_stronger_of_two_holds_for_a_backend() {
    let disable = Override { state: OverrideState::Disable, ..drain() };
    let held = |own: &Override, of_pool: &Override| {
        let by_target = [(backend(), own.clone()), (Target::Pool("web".into()), of_pool.clone())].into();
        let overrides = Overrides { by_target };
        overrides.backend("web", "b1").map(|(one, by)| (one.state, by.to_string()))
    };
    let by = |state, target: &str| Some((state, target.to_owned()));
    assert_eq!(held(&drain(), &disable), by(OverrideState::Disable, "pool/web"));
    assert_eq!(held(&disable, &drain()), by(OverrideState::Disable, "backend/web/b1"));
}

#[test]
fn a_target_is_read_as_it_is_written() {
    for text in ["appliance", "vip/www", "pool/web", "backend/web/b1"] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
    }
    for text in ["", "vip", "vip/", "vip/a/b", "backend/web", "backend//b1", "peer/tor1", "Appliance"] {
        text.parse::<Target>().unwrap_err();
    }
}
