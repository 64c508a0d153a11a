// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line as a whole, and every page it shows, held to the files in `tests/cli`. `UPDATE_EXPECT=1` writes them
//! anew; read the difference before keeping it. Exit codes and errors are tested with the binary, in `tests/cli.rs`.

#[path = "../../tests/cli/objects.rs"]
mod objects;

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use weir_api::v1::{Status, WithheldReason};

use super::output::Look;
use super::{command, status, time, views};

fn now() -> SystemTime {
    time::parse_moment("2026-03-01T12:00:00Z").expect("a moment")
}

/// What the API answers to a GET, as its own type.
pub(super) fn answer<T: DeserializeOwned>(path: &str) -> T {
    let body = objects::get(path).expect("there is such an object");
    serde_json::from_value(body).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares with a file, or writes it when asked.
pub(super) fn expect(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(name).with_extension("expected");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, actual).expect("written");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{name} differs from its file");
}

#[test]
fn the_command_line_is_sound() {
    command().debug_assert();
}

#[test]
fn the_status_page_is_as_expected() {
    let status: Status = answer("/v1/status");
    expect("status", &status::page(&status, now(), Look::default()));
    let narrow = status::page(&status, now(), Look { columns: Some(80), has_colour: false });
    expect("status_narrow", &narrow);
    expect("status_colour", &status::page(&status, now(), Look { columns: None, has_colour: true }));
}

#[test]
fn a_quiet_appliance_says_so() {
    let mut status: Status = answer("/v1/status");
    status.problems.clear();
    status.conditions.clear();
    status.overrides.clear();
    status.document.last_rejected = None;
    let page = status::page(&status, now(), Look::default());
    assert!(page.contains("\nNo problems.\n"), "{page}");
    assert!(!page.contains("Overrides"), "{page}");
}

#[test]
fn foreign_words_reach_no_terminal_unescaped() {
    let status: Status = answer("/v1/status");
    let page = status::page(&status, now(), Look::default());
    assert!(page.contains("maintenance\\u{1b}[2J"), "{page}");
    assert!(!page.contains('\u{1b}'));
}

#[test]
fn what_a_condition_says_of_a_session_is_not_said_twice() {
    let mut status: Status = answer("/v1/status");
    let peer = status.peers.get_mut("tor2").expect("it is there");
    let mut condition = status.conditions[0].clone();
    condition.message = "transport: connect: Connection refused".to_owned();
    peer.conditions.push(condition);
    let page = status::page(&status, now(), Look::default());
    assert_eq!(page.matches("Connection refused").count(), 1, "{page}");
    assert_eq!(page.matches("administrative shutdown").count(), 1, "{page}");
}

#[test]
fn a_document_on_its_way_is_said_to_be() {
    let mut status: Status = answer("/v1/status");
    status.document.accepted_generation = 5;
    let page = status::page(&status, now(), Look::default());
    assert!(page.contains("generation 5 accepted, 4 in force"), "{page}");
    status.document.applied_generation = 0;
    let page = status::page(&status, now(), Look::default());
    assert!(page.contains("generation 5 accepted, none in force yet"), "{page}");
}

#[test]
fn every_reason_is_named_with_its_sentence_and_its_times() {
    let status: Status = answer("/v1/status");
    for reason in WithheldReason::ALL {
        let mut vip = status.vips["dns"].clone();
        vip.withheld = vec![reason];
        vip.conditions.truncate(1);
        vip.conditions[0].code = reason.name().to_owned();
        vip.conditions[0].message = "what is missing".to_owned();
        vip.conditions[0].until = vip.conditions[0].since;
        let lines = views::why_not_announced(&vip, now());
        assert_eq!(lines, [format!("{}: what is missing (for 3m10s, until 11:56:50Z (now))", reason.name())]);
        vip.conditions.clear();
        assert_eq!(views::why_not_announced(&vip, now()), [reason.name()], "a reason without a sentence");
    }
}
