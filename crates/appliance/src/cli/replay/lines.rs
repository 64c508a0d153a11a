// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What `weir replay` prints: a line a packet, and a sum at the end.
//!
//! ```text
//!      1  0.000000000  forward_new     http -> web/b2  row 27081[0]  by eth0  54 -> 74
//!      2  0.000012000  pass_not_vip                                           60
//! ```

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;
use weir_dataplane::replay::{Copied, Decision};

use crate::capture::Packet;
use crate::cli::Exit;

/// Why a packet was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Passed {
    /// The capture holds less of it than there was.
    Cut,
    /// It is shorter than an Ethernet header, or longer than any frame.
    Length,
}

impl Passed {
    /// The word in lines and sums, where a verdict would stand.
    const fn name(self) -> &'static str {
        match self {
            Self::Cut => "skipped_cut",
            Self::Length => "skipped_length",
        }
    }
}

/// The lines, as they are printed.
pub(super) struct Lines<'u, W> {
    output: W,
    is_json: bool,
    uplinks: &'u [(u32, String)],
    packets: u64,
    left: u64,
    differences: u64,
    verdicts: BTreeMap<&'static str, u64>,
}

impl<'u, W: Write> Lines<'u, W> {
    pub(super) fn new(output: W, is_json: bool, uplinks: &'u [(u32, String)]) -> Self {
        Self { output, is_json, uplinks, packets: 0, left: 0, differences: 0, verdicts: BTreeMap::new() }
    }

    /// A packet that was run, `since` the first.
    pub(super) fn packet(&mut self, packet: &Packet, since: Duration, decision: &Decision) -> io::Result<()> {
        let verdict = decision.verdict.name();
        self.packets += 1;
        let copies = decision.copies.iter().filter(|copy| copy.frame.is_some()).count() as u64;
        self.left += u64::from(decision.frame.is_some()) + copies;
        self.differences += u64::from(decision.difference.is_some());
        *self.verdicts.entry(verdict).or_default() += 1;
        let uplink = self.uplink(decision.egress);
        if self.is_json {
            let (pool, backend) = decision.backend.clone().unzip();
            let line = json!({
                "packet": self.packets,
                "time": seconds(Duration::from_nanos(packet.time_ns)),
                "verdict": verdict,
                "length": packet.octets.len(),
                "service": decision.service,
                "pool": pool,
                "backend": backend,
                "row": decision.row.map(|row| row.index),
                "position": decision.row.and_then(|row| row.position),
                "uplink": uplink,
                "length_out": decision.frame.as_ref().map(Vec::len),
                "difference": decision.difference,
            });
            let mut line = line;
            if !decision.copies.is_empty() {
                line["copies"] = decision.copies.iter().map(|copy| self.copy(copy)).collect();
            }
            return writeln!(self.output, "{line}");
        }
        let mut line = format!("{:>6}  {}  {verdict:<22}", self.packets, seconds(since));
        if let Some(service) = &decision.service {
            line += &format!("  {service}");
        }
        if let Some((pool, backend)) = &decision.backend {
            line += &format!(" -> {pool}/{backend}");
        }
        if let Some(row) = decision.row {
            let position = row.position.map_or_else(|| "-".to_owned(), |position| position.to_string());
            line += &format!("  row {}[{position}]", row.index);
        }
        if let Some(uplink) = uplink {
            line += &format!("  by {uplink}");
        }
        line += &format!("  {}", packet.octets.len());
        if let Some(frame) = &decision.frame {
            line += &format!(" -> {}", frame.len());
        }
        if !decision.copies.is_empty() {
            let to = decision.copies.iter().map(|copy| match &copy.backend {
                Some((_, backend)) => backend.as_str(),
                None => copy.verdict.name(),
            });
            line += &format!("  cloned to {copies}: {}", to.collect::<Vec<_>>().join(" "));
        }
        if let Some(difference) = &decision.difference {
            line += &format!("  DIFFERENCE: {difference}");
        }
        writeln!(self.output, "{line}")
    }

    /// A copy, as JSON.
    fn copy(&self, copy: &Copied) -> serde_json::Value {
        let (pool, backend) = copy.backend.clone().unzip();
        json!({
            "verdict": copy.verdict.name(),
            "pool": pool,
            "backend": backend,
            "uplink": self.uplink(copy.egress),
            "length_out": copy.frame.as_ref().map(Vec::len),
        })
    }

    fn uplink(&self, index: u32) -> Option<&str> {
        self.uplinks.iter().find(|(known, _)| *known == index).map(|(_, name)| name.as_str())
    }

    /// A packet that was not run.
    pub(super) fn passed_over(&mut self, packet: &Packet, since: Duration, why: Passed) -> io::Result<()> {
        self.packets += 1;
        *self.verdicts.entry(why.name()).or_default() += 1;
        let kept = packet.octets.len();
        if self.is_json {
            let line = json!({
                "packet": self.packets,
                "time": seconds(Duration::from_nanos(packet.time_ns)),
                "skipped": why.name(),
                "length": packet.wire_len,
                "kept": kept,
            });
            return writeln!(self.output, "{line}");
        }
        let (number, since, why) = (self.packets, seconds(since), why.name());
        writeln!(self.output, "{number:>6}  {since}  {why:<22}  {kept} of {} octets", packet.wire_len)
    }

    /// The sum. The exit code says whether program and host agreed on every packet: a tester whose exit code is always 0 tests
    /// nothing.
    pub(super) fn finish(mut self) -> io::Result<Exit> {
        let Self { packets, left, differences, verdicts, output, is_json, .. } = &mut self;
        if *is_json {
            let sum =
                json!({ "packets": packets, "left": left, "verdicts": verdicts, "differences": differences });
            writeln!(output, "{}", json!({ "sum": sum }))?;
        } else {
            let verdicts: Vec<String> =
                verdicts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            let kinds =
                if verdicts.is_empty() { String::new() } else { format!(": {}", verdicts.join(", ")) };
            writeln!(output, "{packets} packets, {left} leave{kinds}")?;
            if *differences > 0 {
                let words =
                    "the program and the host's copy of it disagree: a defect of Weir, please report it";
                writeln!(output, "{differences} differences: {words}")?;
            }
        }
        output.flush()?;
        Ok(if *differences == 0 { Exit::Ok } else { Exit::Failed })
    }
}

/// Seconds with nine places: exact, as a float is not.
fn seconds(time: Duration) -> String {
    format!("{}.{:09}", time.as_secs(), time.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use weir_dataplane_core::Verdict;

    use super::*;

    /// What is printed of three packets, the second of which program and host made `difference` of.
    fn printed(is_json: bool, difference: Option<&str>) -> (String, Exit) {
        let mut output = Vec::new();
        let mut lines = Lines::new(&mut output, is_json, &[]);
        let packet = Packet { time_ns: 0, wire_len: 60, octets: vec![0; 60] };
        for number in 0..3 {
            let decision = Decision {
                verdict: Verdict::DropNoService,
                frame: None,
                copies: Vec::new(),
                egress: 0,
                service: None,
                backend: None,
                is_new_flow: false,
                row: None,
                difference: difference.filter(|_| number == 1).map(str::to_owned),
            };
            lines.packet(&packet, Duration::ZERO, &decision).expect("memory");
        }
        let exit = lines.finish().expect("memory");
        (String::from_utf8(output).expect("text"), exit)
    }

    #[test]
    fn a_difference_is_said_and_fails_the_command() {
        let (text, exit) = printed(false, Some("the program gave a, the host b"));
        assert_eq!(exit, Exit::Failed);
        assert_eq!(text.matches("DIFFERENCE: the program gave a, the host b").count(), 1, "{text}");
        assert!(text.contains("\n1 differences: "), "{text}");
        let (text, exit) = printed(true, Some("the program gave a, the host b"));
        assert_eq!(exit, Exit::Failed);
        assert!(text.contains(r#""difference":"the program gave a, the host b""#), "{text}");
        assert!(text.contains(r#""differences":1"#), "{text}");
    }

    #[test]
    fn agreement_is_success() {
        for is_json in [false, true] {
            let (text, exit) = printed(is_json, None);
            assert_eq!(exit, Exit::Ok, "{text}");
            assert!(!text.contains("DIFFERENCE") && !text.contains("defect"), "{text}");
        }
    }
}
