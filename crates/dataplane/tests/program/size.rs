// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the verifier has to walk: a program near its limit loads on one kernel and not on the next.

use aya::programs::loaded_programs;

use crate::support::bed::{PinDir, open};

/// Instructions visited of one program, about an eighth of what every supported kernel allows.
const VISITED_MAX: u32 = 131_072;

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
    assert!(seen.contains_key("weir_ingress") && seen.contains_key("weir_encap"), "{seen:?}");
    assert!(seen.values().all(|visited| *visited <= VISITED_MAX), "{seen:?}");
}
