// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A table, the part `tcp` of `live.json`, and goal 12.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::chain::{Load, Sample};
use crate::figures::{self, Goal, Spread, hundredths};
use crate::machine::Machine;
use crate::network::Way;

/// Measurements by load and way.
#[derive(Default)]
pub struct Samples(BTreeMap<(Load, Way), Vec<Sample>>);

impl Samples {
    /// One more.
    pub fn add(&mut self, way: Way, load: Load, sample: Sample) {
        self.0.entry((load, way)).or_default().push(sample);
    }

    /// Prints and writes.
    pub fn report(&self, machine: &Machine, rounds: usize, seconds: u32) -> Result<()> {
        println!(
            "kernel {}, {}, {rounds} rounds of {seconds} s; client, server and what is between them\n",
            machine.kernel, machine.cpu
        );
        println!(
            "{:<26} {:<9} {:>7} {:>7} {:>7} {:>9} {:>9} {:>10} {:>10}",
            "us of CPU per request",
            "through",
            "min",
            "median",
            "max",
            "between",
            "requests/s",
            "x straight",
            "x haproxy"
        );
        let mut cases = Vec::new();
        let (mut worst, mut beside) = (0.0, 0.0);
        for load in Load::ALL {
            let least = |way| Ok::<f64, anyhow::Error>(self.cpu(load, way)?.min);
            let (straight, haproxy) = (least(Way::Straight)?, least(Way::Haproxy)?);
            let ratio = least(Way::Weir)? / haproxy;
            if ratio > worst {
                (worst, beside) =
                    (ratio, figures::paired(&self.cpus(load, Way::Weir)?, &self.cpus(load, Way::Haproxy)?));
            }
            for way in Way::ALL {
                let cpu = self.cpu(load, way)?;
                let between = self.spread(load, way, |sample| sample.between_us)?;
                let rate = self.spread(load, way, |sample| sample.rate)?;
                println!(
                    "{:<26} {:<9} {:>7.1} {:>7.1} {:>7.1} {:>9.1} {:>10.0} {:>10.2} {:>10.2}",
                    load.name(),
                    way.name(),
                    cpu.min,
                    cpu.median,
                    cpu.max,
                    between.min,
                    rate.median,
                    cpu.min / straight,
                    cpu.min / haproxy
                );
                cases.push(json!({
                    "load": load.name(),
                    "through": way.name(),
                    "cpu_us": cpu.json(),
                    "between_us": between.json(),
                    "requests_per_s": rate.json(),
                    "vs_straight": hundredths(cpu.min / straight),
                    "vs_haproxy": hundredths(cpu.min / haproxy),
                }));
            }
        }
        let goal = Goal::told(
            "12",
            "real TCP, CPU per request / haproxy, worse of two loads",
            worst,
            [0.75, 0.65, 0.6],
        )
        .beside(beside);
        println!();
        figures::print_goals([&goal]);
        write(machine, json!({"rounds": rounds, "seconds": seconds, "mode": "l2", "cases": cases}), &goal)
    }

    fn cpu(&self, load: Load, way: Way) -> Result<Spread> {
        Ok(Spread::of(&self.cpus(load, way)?))
    }

    /// In order of the rounds.
    fn cpus(&self, load: Load, way: Way) -> Result<Vec<f64>> {
        Ok(self.samples(load, way)?.iter().map(|sample| sample.cpu_us).collect())
    }

    fn samples(&self, load: Load, way: Way) -> Result<&[Sample]> {
        self.0.get(&(load, way)).map(Vec::as_slice).context("measurements of every way under every load")
    }

    fn spread(&self, load: Load, way: Way, of: impl Fn(&Sample) -> f64) -> Result<Spread> {
        Ok(Spread::of(&self.samples(load, way)?.iter().map(of).collect::<Vec<_>>()))
    }
}

/// Adds to what the bench of live frames has written.
fn write(machine: &Machine, tcp: Value, goal: &Goal) -> Result<()> {
    let mut report = figures::read("live.json")?.unwrap_or_else(|| json!({"goals": []}));
    report["machine"] = json!({"kernel": machine.kernel, "cpu": machine.cpu});
    report["tcp"] = tcp;
    let goals = report["goals"].as_array_mut().context("goals of live.json")?;
    goals.retain(|other| other["number"] != goal.number.as_str());
    goals.push(goal.json());
    figures::write("live.json", &report)?;
    println!("\nwrote target/bench/live.json");
    Ok(())
}
