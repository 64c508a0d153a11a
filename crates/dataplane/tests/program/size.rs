// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the verifier has to walk: a program near its limit loads on one kernel and not on the next.

use aya::programs::loaded_programs;
use weir_dataplane_core::names;

use crate::support::bed::{PinDir, open};

/// Instructions visited of one program, about an eighth of what every supported kernel allows.
const VISITED_MAX: u32 = 131_072;
/// Of the first one, which every packet runs through (goal 10 of `docs/performance.md`).
const INGRESS_VISITED_MAX: u32 = 64_000;
/// What the kernel keeps of a program's name (`BPF_OBJ_NAME_LEN`, less the zero at the end).
const NAME_MAX: usize = 15;

/// The kernel's name of every program that a dataplane loads.
fn every_program() -> impl Iterator<Item = &'static str> {
    [
        names::PROGRAM_INGRESS,
        names::PROGRAM_CLOCK,
        names::PROGRAM_DRY,
        names::PROGRAM_CLONE,
        names::PROGRAM_COPY,
    ]
    .into_iter()
    .chain(names::STEPS)
    .chain(names::LOSS_PROGRAMS.map(|(name, _)| name))
    .map(|name| &name[..name.len().min(NAME_MAX)])
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn every_program_is_small_for_the_verifier() {
    let pins = PinDir::new();
    // Other programs of the machine are nobody's business here: only those that came after this.
    let last = loaded_programs().filter_map(Result::ok).map(|program| program.id()).max().unwrap_or(0);
    let _dataplane = open(&pins);
    let mut seen = std::collections::BTreeMap::new();
    for program in loaded_programs() {
        let program = program.unwrap();
        let name = program.name_as_str().unwrap_or_default().to_owned();
        if program.id() > last
            && name.starts_with("weir_")
            && let Some(visited) = program.verified_instruction_count()
        {
            seen.insert(name, visited);
        }
    }
    println!("{seen:?}");
    let missing: Vec<_> = every_program().filter(|name| !seen.contains_key(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} of {seen:?}");
    assert!(seen[names::PROGRAM_INGRESS] <= INGRESS_VISITED_MAX, "{seen:?}");
    assert!(seen.values().all(|visited| *visited <= VISITED_MAX), "{seen:?}");
}
