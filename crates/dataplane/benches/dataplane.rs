// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the packet path costs: floors, the appliance's program, and the same pipeline with a kernel LRU map, by test run on
//! one core, interleaved round by round. How, and why one can believe it: `docs/performance.md`.
//!
//! Needs root and a bpffs of its own: `make bench`. `--rounds N` says how many rounds (15). Prints a table, writes
//! `target/bench/dataplane.json`, and fails when a frame that came out is wrong or a goal that gates is missed.

#![expect(unreachable_pub, reason = "modules of one program")]
#![expect(clippy::print_stdout, reason = "the table for people")]

#[path = "dataplane/bed.rs"]
mod bed;
#[path = "dataplane/cases.rs"]
mod cases;
#[path = "dataplane/figures.rs"]
mod figures;
#[path = "dataplane/frames.rs"]
mod frames;
#[path = "../../dataplane-ebpf/src/bench/layout.rs"]
mod layout;
#[path = "dataplane/machine.rs"]
mod machine;
#[path = "dataplane/report.rs"]
mod report;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use weir_dataplane::Capacity;
use weir_dataplane::kernel::cpu::keep_to_one;

use bed::{Bed, ProgramFigures};
use cases::{BedName, Case};
use frames::Family;
use report::{Report, Samples};

/// Fewer do not show the minimum of cases that are bound by memory.
const ROUNDS_DEFAULT: usize = 15;
/// A run of more is a mistake.
const ROUNDS_MAX: usize = 1_000;

fn main() -> Result<()> {
    let Some(rounds) = rounds()? else { return Ok(()) };
    let machine = machine::machine()?;
    let core = keep_to_one().context("keep to one core")?;
    eprintln!("core {core}, {rounds} rounds; filling tables");
    let mut beds = BTreeMap::new();
    for name in BedName::ALL {
        let mut bed = Bed::open(name.name())?;
        cases::prepare(name, &mut bed, Capacity::default().flow_slots, layout::LRU_ENTRIES)
            .with_context(|| format!("prepare bed {}", name.name()))?;
        beds.insert(name, bed);
    }
    let appliance = bed::appliance_figures()?;
    let mut floors = runs(cases::floors(), &mut beds)?;
    let mut cases = runs(cases::cases(), &mut beds)?;
    for round in 1..=rounds {
        eprintln!("round {round}");
        for run in floors.iter_mut().chain(&mut cases) {
            let bed = beds.get_mut(&run.case.bed).context("the case's bed")?;
            run.samples.raw.push(run.case.batch(bed)?);
        }
    }
    let samples = |runs: Vec<Run>| runs.into_iter().map(|run| run.samples).collect::<Vec<_>>();
    let report = Report::new(machine, &samples(floors), &samples(cases), appliance)?;
    report.print();
    report.write()?;
    println!("\nwrote target/bench/dataplane.json");
    for bed in beds.into_values() {
        bed.close()?;
    }
    match report.missed().count() {
        0 => Ok(()),
        missed => bail!("{missed} goals that must hold are missed"),
    }
}

/// A case and what was measured of it.
struct Run {
    case: Case,
    samples: Samples,
}

/// Loads the cases' programs and runs a first batch of each, which is checked and not counted.
fn runs(cases: Vec<Case>, beds: &mut BTreeMap<BedName, Bed>) -> Result<Vec<Run>> {
    let mut runs = Vec::with_capacity(cases.len());
    for mut case in cases {
        let bed = beds.get_mut(&case.bed).context("the case's bed")?;
        let figures: ProgramFigures = bed.load(case.program)?;
        case.batch(bed)?;
        let samples = Samples {
            name: case.name.clone(),
            is_v6: case.kind.family == Family::V6,
            resizes: case.resizes(),
            figures,
            raw: Vec::new(),
        };
        runs.push(Run { case, samples });
    }
    Ok(runs)
}

/// Rounds to run; `None` when this is only tried out by the test runner.
fn rounds() -> Result<Option<usize>> {
    let mut rounds = ROUNDS_DEFAULT;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--test" => return Ok(None),
            "--rounds" => {
                rounds = arguments.next().context("--rounds wants a number")?.parse().context("--rounds")?;
            }
            other => bail!("unknown argument `{other}`"),
        }
    }
    ensure!((1..=ROUNDS_MAX).contains(&rounds), "--rounds wants 1 to {ROUNDS_MAX}");
    Ok(Some(rounds))
}
