// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Weir, BIRD and GoBGP side by side as speakers: how soon prefixes are on the wire, how soon a withdraw is, what it costs
//! in memory, how soon a ToR's kernel forgets a speaker that froze or died.
//!
//! ```text
//!   main ─┬─ plan ──► announce, withdraw: a fresh speaker each, four measuring peers over plain TCP
//!         │           (`subject`: this program again, bird, gobgpd; `receiver`: the same code for all)
//!         ├─ deaths:  the whole appliance, bird, gobgpd before FRR with its kernel routes
//!         └─ report:  medians of the rounds, a table and target/bench/bgp.json
//! ```
//! Rounds are interleaved: each round measures all three speakers. Needs root: `make bench-bgp`, inside
//! `scripts/isolated.sh`. `--rounds N` says how many; `--quick` leaves the deaths out. With `--speaker` the program is the
//! speaker under test itself.

#![expect(unreachable_pub, reason = "modules of one program")]
#![expect(clippy::print_stdout, reason = "the table for people")]

mod clock;
mod deaths;
mod mrt;
mod own;
mod receiver;
mod report;
mod subject;

use anyhow::{Context, Result, bail};
use weir_lab::BgpBed;

use receiver::Receivers;
use report::Samples;
use subject::{Kind, Subject};

/// Medians of five rounds do not jump with one of them.
const ROUNDS_DEFAULT: usize = 5;
/// A run of more is a mistake.
const ROUNDS_MAX: usize = 100;

/// Prefixes of the large table.
const MANY: u32 = 100_000;
/// Prefixes of the table in which withdraws are timed, and of the small announcement.
const SOME: u32 = 10_000;
/// Peers of memory and withdraws.
const PEERS: u8 = 4;
/// Withdraws timed in each round.
pub(crate) const WITHDRAWS: u32 = 200;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "--speaker") {
        return own::speak(&arguments[1..]);
    }
    let Some(options) = options(&arguments)? else { return Ok(()) };
    let mut samples = Samples::default();
    for round in 1..=options.rounds {
        for kind in Kind::ALL {
            eprintln!("round {round}: {}", kind.name());
            measure(kind, &mut samples).with_context(|| format!("{} in round {round}", kind.name()))?;
        }
    }
    if !options.is_quick {
        for round in 1..=options.rounds.min(deaths::ROUNDS_MAX) {
            eprintln!("round {round}: deaths");
            deaths::measure(&mut samples).with_context(|| format!("deaths in round {round}"))?;
        }
    }
    let report = samples.report();
    report.print();
    report.write()?;
    println!("\nwrote target/bench/bgp.json");
    match report.missed() {
        missed if missed.is_empty() => Ok(()),
        missed => bail!("missed: {}", missed.join(", ")),
    }
}

/// One round of one speaker, on a network of its own.
fn measure(kind: Kind, samples: &mut Samples) -> Result<()> {
    let bed = BgpBed::create(1, 1)?;
    // The large table to one peer for time, then to four for memory; both from the same process.
    let subject = Subject::start(kind, &bed, MANY, PEERS)?;
    let mut one = Receivers::establish(&bed, 1, MANY)?;
    let announced = one.wait_announced()?;
    samples.add(kind, "announce_100k_s", announced.all.as_secs_f64());
    drop(one);
    let mut all = Receivers::establish(&bed, PEERS, MANY)?;
    let announced = all.wait_announced()?;
    samples.add(kind, "announce_100k_4_peers_s", announced.all.as_secs_f64());
    samples.add(kind, "rss_mib_100k", subject.resident_mib()?);
    drop(all);
    drop(subject);

    let mut subject = Subject::start(kind, &bed, SOME, PEERS)?;
    let mut all = Receivers::establish(&bed, PEERS, SOME)?;
    let announced = all.wait_announced()?;
    samples.add(kind, "announce_10k_s", announced.all.as_secs_f64());
    samples.add(kind, "first_update_ms", announced.first.as_secs_f64() * 1e3);
    for number in 0..WITHDRAWS {
        let decided = subject.withdraw(number)?;
        let arrived = all.wait_withdrawn(number)?;
        samples.add_withdraw(kind, arrived.saturating_sub(decided.at));
        if let Some(handed_over) = decided.handed_over {
            samples.add_handed_over(kind, handed_over);
        }
    }
    Ok(())
}

struct Options {
    rounds: usize,
    is_quick: bool,
}

/// `None` if cargo only asks what there is to run.
fn options(arguments: &[String]) -> Result<Option<Options>> {
    let mut options = Options { rounds: ROUNDS_DEFAULT, is_quick: false };
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--rounds" => {
                let rounds = words.next().context("--rounds N")?.parse().context("--rounds N")?;
                if !(1..=ROUNDS_MAX).contains(&rounds) {
                    bail!("1 to {ROUNDS_MAX} rounds");
                }
                options.rounds = rounds;
            }
            "--quick" => options.is_quick = true,
            // cargo's own.
            "--bench" => {}
            "--list" | "--test" => return Ok(None),
            other => bail!("{other} is not known: --rounds N, --quick"),
        }
    }
    Ok(Some(options))
}
