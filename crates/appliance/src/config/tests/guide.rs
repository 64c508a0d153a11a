// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The operating guide knows every code that status can show, and its examples are good.

use std::collections::BTreeSet;
use std::path::Path;

use weir_dataplane_core::Verdict;
use weir_dataplane_core::check::CheckVerdict;
use weir_dataplane_core::decap::AgentVerdict;
use weir_health::Failure;

use super::good;
use crate::bfd::{BFD_DOWN, BFD_NEVER_UP, BFD_NOT_REAL_TIME, BFD_NOT_STARTED};
use crate::paths::{LINK_MTU_LOW, PATH_MTU_LOW, PATH_REFUSED, PATHS_UNHEARD};
use crate::reconcile::status::{Condition, Reason};
use crate::state::{DOCUMENT_FILE_BAD, STATE_FILE_BAD, STATE_NOT_KEPT};

fn page(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The rows of the table under a heading: what stands in backticks in their first cell.
fn rows(page: &str, heading: &str) -> Vec<String> {
    let (_, rest) = page.split_once(&format!("### {heading}\n")).unwrap_or_else(|| panic!("no `{heading}`"));
    let section = rest.split("\n#").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.map(|(code, _)| code.to_owned()).collect()
}

#[test]
fn every_reason_of_a_vip_is_explained() {
    let mut codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    // What the API adds by itself: it knows the peers.
    codes.push("no-peer");
    assert_eq!(rows(&page("drain.md"), "Why a VIP is not announced"), codes);
}

#[test]
fn every_state_of_a_backend_is_explained() {
    use Condition::{Disabled, Draining, Failed, Unknown, Unresolved, Usable};
    let states = [Usable, Draining, Failed, Unknown, Unresolved, Disabled].map(Condition::name);
    assert_eq!(rows(&page("drain.md"), "What a backend's state means"), states);
}

#[test]
fn every_failure_of_a_check_is_explained() {
    let mut explained = rows(&page("drain.md"), "Why a check fails");
    explained.sort();
    let mut codes = Failure::CODES;
    codes.sort_unstable();
    assert_eq!(explained, codes);
}

/// Both programs', each in its own table; a row may explain several.
#[test]
fn every_verdict_is_explained() {
    let page = page("troubleshoot.md");
    let (_, section) = page.split_once("## <a name=\"packets\"></a>").expect("a section on packets");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut tables = section.split("| verdict | meaning |").skip(1).map(|table| {
        let rows = table.trim_start().lines().take_while(|line| line.starts_with('|')).skip(1);
        let cells = rows.filter_map(|row| row.strip_prefix("| ")?.split_once(" |"));
        let mut names: Vec<&str> =
            cells.flat_map(|(cell, _)| cell.split(", ")).map(|name| name.trim_matches('`')).collect();
        names.sort_unstable();
        names
    });
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    let appliance = sorted(Verdict::ALL.iter().map(|verdict| verdict.name()).collect());
    let agent = sorted(AgentVerdict::ALL.iter().map(|verdict| verdict.name()).collect());
    assert_eq!(tables.next(), Some(appliance), "of the appliance");
    assert_eq!(tables.next(), Some(agent), "of the agent");
}

#[test]
fn every_outcome_of_a_checks_packet_is_explained() {
    let mut explained = rows(&page("drain.md"), "What becomes of checks' packets");
    explained.sort();
    let mut outcomes = CheckVerdict::ALL.map(CheckVerdict::name);
    outcomes.sort_unstable();
    assert_eq!(explained, outcomes);
}

#[test]
fn every_condition_of_the_appliance_is_explained() {
    // Those that are raised by whoever sees the cause, and those that the API makes of what it reads.
    let mut codes = BTreeSet::from([DOCUMENT_FILE_BAD, STATE_FILE_BAD, STATE_NOT_KEPT]);
    codes.extend([BFD_NOT_STARTED, BFD_NEVER_UP, BFD_DOWN, BFD_NOT_REAL_TIME]);
    codes.extend([PATHS_UNHEARD, PATH_MTU_LOW, LINK_MTU_LOW, PATH_REFUSED]);
    let calls = include_str!("../../control/status.rs").split("raise(").skip(1);
    codes.extend(calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next()));
    assert!(codes.len() >= 7, "{codes:?}");
    let rows = rows(&page("drain.md"), "Conditions of the appliance");
    assert_eq!(rows.iter().map(String::as_str).collect::<BTreeSet<_>>(), codes);
    assert_eq!(rows.len(), codes.len());
}

#[test]
fn the_documents_of_the_guide_are_good() {
    let page = page("configure.md");
    let blocks: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    let (least, others) = blocks.split_first().expect("the smallest document");
    good(least);
    assert!(others.len() >= 2, "{others:?}");
    for other in others {
        good(&format!("{least}\n{other}"));
    }
    good(&format!("{least}\n{}", others.join("\n")));
}
