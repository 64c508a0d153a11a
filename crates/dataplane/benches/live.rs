// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a packet costs when it really comes in by a veth and leaves again: floors, and the appliance attached as it is in production,
//! processor time of the one thread in which everything happens, interleaved round by round. How: `docs/performance.md`.
//!
//! Needs root, and namespaces and a bpffs of its own: `make bench`. `--rounds N` says how many rounds (7), `--packets N` how many
//! packets a round of a case has (2,097,152). Prints a table, writes `target/bench/live.json`, and fails when a packet is lost, a
//! frame that came out is wrong or has not gone the way it should.

#![expect(unreachable_pub, reason = "modules of one program")]
#![expect(clippy::print_stdout, reason = "the table for people")]

#[path = "live/bed.rs"]
mod bed;
#[path = "dataplane/figures.rs"]
#[expect(dead_code, reason = "the benches that share it need a part each")]
mod figures;
#[path = "dataplane/frames.rs"]
#[expect(dead_code, reason = "the benches that share it need a part each")]
mod frames;
#[path = "../../dataplane-ebpf/src/bench/layout.rs"]
#[expect(dead_code, reason = "the benches that share it need a part each")]
mod layout;
#[path = "dataplane/machine.rs"]
mod machine;
#[path = "live/network.rs"]
mod network;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use weir_dataplane::kernel::cpu::keep_to_one;

use bed::{Bed, Case};
use figures::{Goal, Spread, hundredths};
use machine::Machine;

/// Minima of seven rounds repeat to some percent.
const ROUNDS_DEFAULT: usize = 7;
/// A run of more is a mistake.
const ROUNDS_MAX: usize = 1_000;
/// Packets of one round of one case.
const PACKETS_DEFAULT: u32 = 2 << 20;
/// Fewer do not fill a batch.
const PACKETS_MIN: u32 = 1_024;

fn main() -> Result<()> {
    let Some(options) = options()? else { return Ok(()) };
    let machine = machine::machine()?;
    let core = keep_to_one().context("keep to one core")?;
    eprintln!("core {core}, {} rounds of {} packets; filling tables", options.rounds, options.packets);
    let mut bed = Bed::open()?;
    bed.fill()?;
    let mut samples: Vec<(Case, Vec<f64>)> = bed::CASES.iter().map(|&case| (case, Vec::new())).collect();
    for round in 0..=options.rounds {
        for (case, times) in &mut samples {
            let time = bed.run(case, options.packets).with_context(|| case.name.to_owned())?;
            // The first round warms up.
            if round > 0 {
                times.push(time);
            }
        }
        eprintln!("round {round}");
    }
    bed.close()?;
    let rounds: Vec<(&str, &[f64])> =
        samples.iter().map(|(case, times)| (case.name, times.as_slice())).collect();
    report(&machine, &options, &rounds)
}

/// Prints the table, writes the file.
fn report(machine: &Machine, options: &Options, rounds: &[(&str, &[f64])]) -> Result<()> {
    let of = |name: &str| {
        let found = rounds.iter().find(|(found, _)| *found == name);
        found.map(|(_, times)| *times).with_context(|| format!("no case {name}"))
    };
    let (hit, encap) = (of("ipip/v4/tcp/hit/1")?, of("encap_v4")?);
    let floor = Spread::of(encap).min;
    println!(
        "kernel {}, {}, {} rounds of {} packets, processor time of the thread, ns per packet\n",
        machine.kernel, machine.cpu, options.rounds, options.packets
    );
    println!("{:<24} {:>7} {:>7} {:>7} {:>8} {:>14}", "", "min", "median", "max", "x encap", "M/s on a core");
    let mut cases = Vec::new();
    for (name, times) in rounds {
        let spread = Spread::of(times);
        let (ratio, rate) = (spread.min / floor, 1e3 / spread.min);
        println!(
            "{name:<24} {:>7.1} {:>7.1} {:>7.1} {ratio:>8.2} {rate:>14.2}",
            spread.min, spread.median, spread.max
        );
        cases.push(json!({"name": name, "cpu_ns": spread.json(), "vs_encap": hundredths(ratio)}));
    }
    println!();
    let goal = Goal::told(
        "11",
        "live veth, v4 TCP hit, 1 flow / encapsulation floor",
        Spread::of(hit).min / floor,
        [1.45, 1.35, 1.25],
    )
    .beside(figures::paired(hit, encap));
    figures::print_goals([&goal]);
    let report: Value = json!({
        "machine": {"kernel": machine.kernel, "cpu": machine.cpu},
        "veth": {"rounds": options.rounds, "packets": options.packets, "cases": cases},
        "goals": [goal.json()],
    });
    figures::write("live.json", &report)?;
    println!("\nwrote target/bench/live.json");
    Ok(())
}

struct Options {
    rounds: usize,
    packets: u32,
}

/// `None` when this is only tried out by the test runner.
fn options() -> Result<Option<Options>> {
    let mut options = Options { rounds: ROUNDS_DEFAULT, packets: PACKETS_DEFAULT };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().with_context(|| format!("{argument} wants a number"));
        match argument.as_str() {
            "--bench" => {}
            "--test" => return Ok(None),
            "--rounds" => options.rounds = number()?.parse().context("--rounds")?,
            "--packets" => options.packets = number()?.parse().context("--packets")?,
            other => bail!("unknown argument `{other}`"),
        }
    }
    ensure!((1..=ROUNDS_MAX).contains(&options.rounds), "--rounds wants 1 to {ROUNDS_MAX}");
    ensure!(options.packets >= PACKETS_MIN, "--packets wants {PACKETS_MIN} or more");
    Ok(Some(options))
}
