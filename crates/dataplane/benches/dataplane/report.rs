// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Figures from samples: net times, ratios, the goals, a table for people and `dataplane.json` for machines.
//!
//! ```text
//! net      raw - empty program - one `adjust_head` where the frame is resized, which is the harness's undo
//! minimum  minima only; median: of the rounds' differences; maximum: of the case, less the others' minima
//! ```

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::bed::ProgramFigures;
use crate::figures::{self, Goal, Spread, hundredths};
use crate::machine::Machine;

/// Net time of Katran's hit path in multiples of the encapsulation floor, 8.3 to 8.7 (measured by this method, elsewhere).
const KATRAN_HIT: f64 = 8.5;

/// Samples of one case, one a round, in nanoseconds per packet.
pub struct Samples {
    /// Name of the case or floor.
    pub name: String,
    /// Whether the IPv6 harness was around it.
    pub is_v6: bool,
    /// Whether the frame was resized.
    pub resizes: bool,
    /// What the kernel says of the program.
    pub figures: ProgramFigures,
    /// In order of the rounds.
    pub raw: Vec<f64>,
}

/// One line of the report.
pub struct Line {
    name: String,
    raw: Spread,
    net: Spread,
    /// In order of the rounds.
    raw_rounds: Vec<f64>,
    net_rounds: Vec<f64>,
    vs_encap: f64,
    figures: ProgramFigures,
}

impl Line {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "raw_ns": self.raw.json(),
            "net_ns": self.net.json(),
            "vs_encap": hundredths(self.vs_encap),
            "verified_insns": self.figures.verified_insns,
            "jited_bytes": self.figures.jited_bytes,
        })
    }
}

/// Everything that was found out.
pub struct Report {
    machine: Machine,
    rounds: usize,
    floors: Vec<Line>,
    cases: Vec<Line>,
    goals: Vec<Goal>,
    /// Of the benches that ran before this one.
    elsewhere: Vec<Goal>,
    appliance: ProgramFigures,
}

impl Report {
    /// Works out the report. The floors must be there by their names.
    pub fn new(
        machine: Machine,
        floors: &[Samples],
        cases: &[Samples],
        appliance: ProgramFigures,
    ) -> Result<Self> {
        let by_name: BTreeMap<&str, &Samples> =
            floors.iter().map(|floor| (floor.name.as_str(), floor)).collect();
        let floor = |name: &str| by_name.get(name).copied().with_context(|| format!("no floor {name}"));
        let base = Base {
            empty_v4: floor("empty")?,
            empty_v6: floor("empty_v6")?,
            adjust: floor("adjust_head")?,
            encap_v4: Spread::of(&floor("encap_v4")?.raw).min,
            encap_v6: Spread::of(&floor("encap_v6")?.raw).min,
        };
        let floors: Vec<Line> = floors.iter().map(|samples| base.line(samples)).collect();
        let cases: Vec<Line> = cases.iter().map(|samples| base.line(samples)).collect();
        let rounds = base.empty_v4.raw.len();
        let goals = goals(&floors, &cases, appliance)?;
        let mut elsewhere = figures::goals_in("live.json")?;
        elsewhere.extend(figures::goals_in("apply.json")?);
        Ok(Self { machine, rounds, floors, cases, goals, elsewhere, appliance })
    }

    /// Goals that were missed and must not be.
    pub fn missed(&self) -> impl Iterator<Item = &Goal> {
        self.goals.iter().filter(|goal| goal.gates && !goal.held())
    }

    /// The table for people.
    pub fn print(&self) {
        println!(
            "kernel {}, {}, {} rounds, ns per packet\n",
            self.machine.kernel, self.machine.cpu, self.rounds
        );
        println!(
            "{:<26} {:>7} {:>7} {:>7}  {:>7} {:>7} {:>7} {:>8} {:>9} {:>7}",
            "", "raw min", "median", "max", "net min", "median", "max", "x encap", "verified", "jited"
        );
        for line in self.floors.iter().chain(&self.cases) {
            println!(
                "{:<26} {:>7.1} {:>7.1} {:>7.1}  {:>7.1} {:>7.1} {:>7.1} {:>8.2} {:>9} {:>7}",
                line.name,
                line.raw.min,
                line.raw.median,
                line.raw.max,
                line.net.min,
                line.net.median,
                line.net.max,
                line.vs_encap,
                line.figures.verified_insns,
                line.figures.jited_bytes
            );
        }
        println!(
            "\nweir_ingress: {} instructions visited by the verifier, {} octets of machine code\n",
            self.appliance.verified_insns, self.appliance.jited_bytes
        );
        figures::print_goals(self.goals.iter().chain(&self.elsewhere));
    }

    /// Writes `target/bench/dataplane.json`.
    pub fn write(&self) -> Result<()> {
        let floors: serde_json::Map<String, Value> =
            self.floors.iter().map(|line| (line.name.clone(), line.json())).collect();
        let report = json!({
            "machine": {"kernel": self.machine.kernel, "cpu": self.machine.cpu},
            "rounds": self.rounds,
            "floors": floors,
            "cases": self.cases.iter().map(Line::json).collect::<Vec<_>>(),
            "appliance": {
                "verified_insns": self.appliance.verified_insns,
                "jited_bytes": self.appliance.jited_bytes,
            },
            "goals": self.goals.iter().chain(&self.elsewhere).map(Goal::json).collect::<Vec<_>>(),
        });
        figures::write("dataplane.json", &report)
    }
}

/// What is taken off, and what is compared with.
struct Base<'s> {
    empty_v4: &'s Samples,
    empty_v6: &'s Samples,
    adjust: &'s Samples,
    encap_v4: f64,
    encap_v6: f64,
}

impl Base<'_> {
    fn line(&self, samples: &Samples) -> Line {
        let empty = if samples.is_v6 { self.empty_v6 } else { self.empty_v4 };
        // The floor of `adjust_head` is two of them, its own and the undo.
        let undo = |adjust: f64, empty: f64| if samples.resizes { (adjust - empty) / 2.0 } else { 0.0 };
        let raw = Spread::of(&samples.raw);
        let least = Spread::of(&empty.raw).min
            + undo(Spread::of(&self.adjust.raw).min, Spread::of(&self.empty_v4.raw).min);
        let paired: Vec<f64> = (0..samples.raw.len())
            .map(|r| samples.raw[r] - empty.raw[r] - undo(self.adjust.raw[r], self.empty_v4.raw[r]))
            .collect();
        let net = Spread { min: raw.min - least, median: Spread::of(&paired).median, max: raw.max - least };
        let encap = if samples.is_v6 { self.encap_v6 } else { self.encap_v4 };
        Line {
            name: samples.name.clone(),
            raw,
            net,
            raw_rounds: samples.raw.clone(),
            net_rounds: paired,
            vs_encap: raw.min / encap,
            figures: samples.figures,
        }
    }
}

fn goals(floors: &[Line], cases: &[Line], appliance: ProgramFigures) -> Result<Vec<Goal>> {
    let line = |name: &str| {
        let found = floors.iter().chain(cases).find(|line| line.name == name);
        found.with_context(|| format!("no case {name}"))
    };
    let raw = |above: &str, below: &str| -> Result<Ratio> {
        let (above, below) = (line(above)?, line(below)?);
        let paired = figures::paired(&above.raw_rounds, &below.raw_rounds);
        Ok(Ratio { least: above.raw.min / below.raw.min, paired })
    };
    let net = |above: &str, below: &str| -> Result<Ratio> {
        let (above, below) = (line(above)?, line(below)?);
        let paired = figures::paired(&above.net_rounds, &below.net_rounds);
        Ok(Ratio { least: above.net.min / below.net.min, paired })
    };
    let (hit, hit_131k) = ("ipip/v4/tcp/hit/1", "ipip/v4/tcp/hit/131k");
    let (syn, ack) = (net("ipip/v4/tcp/synflood/1m", hit_131k)?, net("ipip/v4/tcp/ackflood/1m", hit_131k)?);
    let flood = if syn.least > ack.least { syn } else { ack };
    let goal = |number, measure, ratio: Ratio, limits| {
        Goal::told(number, measure, ratio.least, limits).beside(ratio.paired)
    };
    let gate = |number, measure, ratio: Ratio, limits| {
        Goal::gate(number, measure, ratio.least, limits).beside(ratio.paired)
    };
    Ok(vec![
        gate("1", "v4 TCP hit, 1 flow / encapsulation floor, raw", raw(hit, "encap_v4")?, [2.3, 2.1, 1.8]),
        goal(
            "2",
            "v4 TCP hit, 1 flow / Katran hit (8.5 x floor), net",
            net(hit, "encap_v4")?.of(KATRAN_HIT),
            [1.0, 0.6, 0.45],
        ),
        gate(
            "3",
            "v4 TCP hit, 131k flows / kernel LRU, net",
            net(hit_131k, "lru/v4/tcp/hit/131k")?,
            [0.8, 0.6, 0.5],
        ),
        gate(
            "4",
            "v4 TCP insert / kernel LRU, net",
            net("ipip/v4/tcp/insert/1m", "lru/v4/tcp/insert/1m")?,
            [0.6, 0.4, 0.3],
        ),
        goal("5", "worst of SYN and ACK flood / own hit, 131k flows, net", flood, [1.3, 1.1, 1.0]),
        goal(
            "6",
            "not for a VIP / encapsulation floor, raw",
            raw("pass/not-vip", "encap_v4")?,
            [1.6, 1.3, 1.1],
        ),
        goal("7", "v6 TCP hit / v4 TCP hit, 1 flow, net", net("ipip/v6/tcp/hit/1", hit)?, [1.15, 1.05, 1.0]),
        goal("8", "v4 UDP hit / v4 TCP hit, 1 flow, net", net("ipip/v4/udp/hit/1", hit)?, [1.15, 1.05, 1.0]),
        goal(
            "9",
            "GUE hit / IP in IP hit, v4, 1 flow, net",
            net("gue/v4/tcp/hit/1", hit)?,
            [1.3, 1.15, 1.05],
        ),
        goal(
            "9b",
            "GUE with three candidates / IP in IP hit, v4, 1 flow, net",
            net("gue-candidates/v4/tcp/hit/1", hit)?,
            [1.6, 1.4, 1.25],
        ),
        Goal::told(
            "10",
            "instructions visited by the verifier",
            f64::from(appliance.verified_insns),
            [64e3, 32e3, 16e3],
        ),
    ])
}

/// One measure in multiples of another.
#[derive(Clone, Copy)]
struct Ratio {
    /// Minimum over minimum.
    least: f64,
    /// Median of the rounds' ratios.
    paired: f64,
}

impl Ratio {
    /// In multiples of `times` the other measure.
    fn of(self, times: f64) -> Self {
        Self { least: self.least / times, paired: self.paired / times }
    }
}
