// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir replay`: what becomes of the packets of a capture, without an interface.
//!
//! ```text
//! FILE ── document, [replay] ──► Setting ─┐
//! IN ──── packets, in order ──────────────┴─► weir_dataplane::replay ─► OUT: frames that would leave
//!                                                                    └► standard output: a line a packet, and a sum
//! ```
//!
//! The kernel's program runs, a private copy of it: nothing is attached or pinned, and no table of a running appliance is
//! looked at. Packets carry the clock. A packet that the capture cut short is passed over: what it was nobody can say.

mod lines;
mod section;
mod setting;

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use weir_dataplane::replay::{Decision, Replay, RunError};

use self::lines::{Lines, Passed};
use self::setting::Given;
use super::Exit;
use super::failure::Failure;
use super::output::Output;
use crate::capture::{Format, Packet, Reader, Writer};
use crate::config::LoadErrors;

/// Most documents that follow the first.
const THEN_MAX: usize = 1_024;

/// Arguments of `weir replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The document, with a section `[replay]` for what an appliance would find out
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Another document, put in force as by a reload so many seconds after the first packet; may be repeated
    #[arg(long, value_name = "SECONDS=FILE")]
    then: Vec<Then>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Capture to read: pcap or pcapng, Ethernet
    #[arg(value_name = "IN")]
    from: PathBuf,
    /// Capture to write: pcapng if its name ends so, else pcap
    #[arg(value_name = "OUT")]
    to: PathBuf,
}

/// A document and when it comes into force.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Then {
    after: Duration,
    file: PathBuf,
}

impl FromStr for Then {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write it as SECONDS=FILE, like 2.5=later.toml".to_owned();
        let (seconds, file) = text.split_once('=').ok_or_else(wrong)?;
        let seconds: f64 = seconds.parse().map_err(|_| wrong())?;
        let after = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        Ok(Self { after, file: file.into() })
    }
}

/// Runs `weir replay`.
pub(super) fn main(args: &Args, form: Output) -> Result<Exit> {
    match replay(args, form) {
        Err(error) if error.is::<LoadErrors>() => {
            eprintln!("{}", error.downcast::<LoadErrors>()?);
            Ok(Exit::Failed)
        }
        outcome => outcome,
    }
}

fn replay(args: &Args, form: Output) -> Result<Exit> {
    ensure!(args.then.len() <= THEN_MAX, "more than {THEN_MAX} documents");
    // All documents are looked at before anything is written.
    let given = Given::load(&args.config)?;
    let mut then = Vec::new();
    for one in &args.then {
        then.push((one.after, Given::load(&one.file)?.setting()?));
    }
    then.sort_by_key(|(after, _)| *after);
    let setting = given.setting()?;
    let uplinks = given.uplinks();
    let open = |path: &Path| File::open(path).with_context(|| format!("open {}", path.display()));
    let mut input = Reader::new(BufReader::new(open(&args.from)?)).with_context(|| shown(&args.from))?;
    ensure!(!is_same_file(&args.from, &args.to), "IN and OUT are the same file");
    let mut replay = Replay::open(given.open_with()?).map_err(|error| refused(error.into()))?;
    replay.set(&setting).with_context(|| format!("put {} in force", args.config.display()))?;

    let names: Vec<&str> = uplinks.iter().map(|(_, name)| name.as_str()).collect();
    let create = || File::create(&args.to).with_context(|| format!("make {}", args.to.display()));
    let writing = || format!("write {}", args.to.display());
    let output = BufWriter::new(create()?);
    let mut output = Writer::new(output, Format::of(&args.to), &names).with_context(writing)?;
    let is_json = args.json || form == Output::Json;
    let mut lines = Lines::new(BufWriter::new(io::stdout().lock()), is_json, &uplinks);
    let mut then = then.into_iter().peekable();
    let mut first_ns = None;
    while let Some(packet) = input.next_packet().with_context(|| shown(&args.from))? {
        let since =
            Duration::from_nanos(packet.time_ns.saturating_sub(*first_ns.get_or_insert(packet.time_ns)));
        replay.set_time(Duration::from_nanos(packet.time_ns));
        while let Some((after, setting)) = then.next_if(|(after, _)| *after <= since) {
            replay.set(&setting).with_context(|| format!("put the document of {after:?} in force"))?;
        }
        match decide(&mut replay, &packet)? {
            Ok(decision) => {
                lines.packet(&packet, since, &decision)?;
                let copies = decision.copies.iter().map(|copy| (&copy.frame, copy.egress, copy.verdict));
                let itself = (&decision.frame, decision.egress, decision.verdict);
                for (frame, egress, verdict) in std::iter::once(itself).chain(copies) {
                    let Some(frame) = frame else { continue };
                    let left = Packet {
                        time_ns: packet.time_ns,
                        wire_len: u32::try_from(frame.len()).context("a frame of 4 GiB")?,
                        octets: frame.clone(),
                    };
                    let index = uplinks.iter().position(|(index, _)| *index == egress);
                    let interface = u32::try_from(index.unwrap_or(0)).expect("a few uplinks");
                    output.packet(&left, interface, verdict.name()).with_context(writing)?;
                }
            }
            Err(why) => lines.passed_over(&packet, since, why)?,
        }
    }
    output.finish().with_context(writing)?;
    Ok(lines.finish()?)
}

/// Runs one packet, unless it cannot be.
fn decide(replay: &mut Replay, packet: &Packet) -> Result<std::result::Result<Decision, Passed>> {
    if packet.is_cut() {
        return Ok(Err(Passed::Cut));
    }
    match replay.run(&packet.octets) {
        Ok(decision) => Ok(Ok(decision)),
        Err(RunError::Length { .. }) => Ok(Err(Passed::Length)),
        Err(error) => Err(error.into()),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Whether both are one file, so that writing would destroy what is read.
fn is_same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// An error of opening, with the remedy when it is for want of rights.
fn refused(error: anyhow::Error) -> anyhow::Error {
    let denied = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied)
    };
    if !error.chain().any(denied) {
        return error;
    }
    let failure = Failure {
        what: "cannot load a private copy of the program".to_owned(),
        why: vec![format!("{error:#}")],
        remedy: "run it as root: the kernel runs programs for nobody else".to_owned(),
        slug: "no-rights".to_owned(),
        exit: Exit::Failed,
        body: None,
    };
    failure.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_documents_name_their_time() {
        let then: Then = "2.5=a=b.toml".parse().unwrap();
        assert_eq!(then, Then { after: Duration::from_millis(2_500), file: "a=b.toml".into() });
        for wrong in ["a.toml", "=a.toml", "-1=a.toml", "x=a.toml", "nan=a.toml", "inf=a"] {
            assert!(wrong.parse::<Then>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn want_of_rights_is_said_with_its_remedy() {
        let error = anyhow::Error::from(io::Error::from_raw_os_error(1)).context("create map FLOWS");
        let said = refused(error).to_string();
        assert!(said.contains("run it as root") && said.contains("create map FLOWS"), "{said}");
        assert_eq!(refused(anyhow::anyhow!("else")).to_string(), "else");
    }
}
