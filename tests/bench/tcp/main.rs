// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real TCP: processor time per request from the same client to the same server, straight, through the appliance and through HAProxy.
//!
//! ```text
//!   main ─┬─ network: three namespaces, and a way through `lb` for each of the three
//!         ├─ chain:   nginx, HAProxy and `weir run` with a document; wrk for some seconds, and the time that all of them took
//!         └─ report:  a table, the part `tcp` of target/bench/live.json, goal 12
//! ```
//! Rounds are interleaved: each round measures all ways under both loads. Needs root, HAProxy, nginx and wrk: `make bench`, inside
//! `scripts/isolated.sh`. `--rounds N` says how many (5), `--seconds N` how long each measurement is (3).

#![expect(unreachable_pub, reason = "modules of one program")]
#![expect(clippy::print_stdout, reason = "the table for people")]

mod chain;
#[path = "../../../crates/dataplane/benches/dataplane/figures.rs"]
#[expect(dead_code, reason = "the benches that share it need a part each")]
mod figures;
#[path = "../../../crates/dataplane/benches/dataplane/machine.rs"]
#[expect(dead_code, reason = "the benches that share it need a part each")]
mod machine;
mod network;
mod report;

use anyhow::{Context as _, Result, bail, ensure};

use chain::{Chain, Load};
use network::{Network, Way};
use report::Samples;

/// Minima of five rounds repeat to some percent.
const ROUNDS_DEFAULT: usize = 5;
/// A run of more is a mistake.
const ROUNDS_MAX: usize = 100;
/// Ticks of processor time are 10 ms, so that a second of it is known to one percent.
const SECONDS_DEFAULT: u32 = 3;
/// More say nothing more.
const SECONDS_MAX: u32 = 60;

fn main() -> Result<()> {
    let Some(options) = options()? else { return Ok(()) };
    chain::require_tools()?;
    let machine = machine::machine()?;
    let network = Network::create()?;
    let mut chain = Chain::start(&network)?;
    let mut samples = Samples::default();
    for round in 1..=options.rounds {
        for load in Load::ALL {
            for way in Way::ALL {
                let what = || format!("{} through {} in round {round}", load.name(), way.name());
                let sample = chain.measure(way, load, options.seconds).with_context(what)?;
                samples.add(way, load, sample);
            }
        }
        eprintln!("round {round}");
    }
    samples.report(&machine, options.rounds, options.seconds)
}

struct Options {
    rounds: usize,
    seconds: u32,
}

/// `None` if cargo only asks what there is to run.
fn options() -> Result<Option<Options>> {
    let mut options = Options { rounds: ROUNDS_DEFAULT, seconds: SECONDS_DEFAULT };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().with_context(|| format!("{word} wants a number"));
        match word.as_str() {
            "--rounds" => options.rounds = number()?.parse().context("--rounds")?,
            "--seconds" => options.seconds = number()?.parse().context("--seconds")?,
            // cargo's own.
            "--bench" => {}
            "--list" | "--test" => return Ok(None),
            other => bail!("{other} is not known: --rounds N, --seconds N"),
        }
    }
    ensure!((1..=ROUNDS_MAX).contains(&options.rounds), "--rounds wants 1 to {ROUNDS_MAX}");
    ensure!((1..=SECONDS_MAX).contains(&options.seconds), "--seconds wants 1 to {SECONDS_MAX}");
    Ok(Some(options))
}
