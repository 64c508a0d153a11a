// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `make demo`: the story of two appliances and three backends, told by a running network and written down as a report.
//!
//! ```text
//! weir-demo --weir PROGRAM --out FOLDER [--keep]
//! ```
//! Runs inside `scripts/isolated.sh`. Prints a timeline, writes `FOLDER/report.json` and the daemons' logs. Exit code 0 only
//! if every step held. With `--keep` the network stays up afterwards, until an interrupt.
#![expect(clippy::print_stdout, reason = "the timeline is the output")]

mod backends;
mod report;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use weir_lab::{Fabric, Layout};

use report::Report;

struct Arguments {
    weir: PathBuf,
    out: PathBuf,
    keep: bool,
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: weir-demo --weir PROGRAM --out FOLDER [--keep]");
        return ExitCode::from(2);
    };
    match demo(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<Arguments> {
    let (mut weir, mut out, mut keep) = (None, None, false);
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        match word.to_str()? {
            "--weir" => weir = words.next(),
            "--out" => out = words.next(),
            "--keep" => keep = true,
            _ => return None,
        }
    }
    Some(Arguments { weir: weir?.into(), out: out?.into(), keep })
}

/// Tells the story; whether everything held.
fn demo(arguments: &Arguments) -> Result<bool> {
    let logs = arguments.out.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("make {}", logs.display()))?;
    let mut report = Report::begin();
    let layout = Layout { keep_logs: Some(logs), ..Layout::demo(&arguments.weir) };
    let mut fabric = Fabric::build(&layout)?;
    let told = story::tell(&mut fabric, &mut report).and_then(|()| backends::tell(&mut fabric, &mut report));
    let held = told.is_ok() && report.all_held();
    let path = arguments.out.join("report.json");
    report.write(&path)?;
    if let Err(error) = told {
        fabric.logs.show();
        println!("\nstopped: {error:#}");
    }
    println!("\n{}", report.summary());
    if arguments.keep {
        keep(&fabric);
    }
    Ok(held)
}

/// Says how to look around, and waits for the signal that ends everything.
fn keep(fabric: &Fabric) -> ! {
    let (tor, client) = (fabric.tor.name(), fabric.client.name());
    let lb1 = fabric.appliances[0].netns().name();
    let socket = fabric.appliances[0].dir().join("api.sock");
    println!("\nThe lab stays up until Ctrl-C. From another terminal, as root:");
    println!("  nsenter -t $(pgrep -nx weir-demo) -a bash     enter it; there:");
    println!("  ip netns                                      its hosts");
    println!("  vtysh -N {tor} -c 'show bgp summary'");
    println!("  ip -n {tor} route");
    println!("  nsenter --net=/run/netns/{client} curl http://198.51.100.10/");
    println!("  nsenter --net=/run/netns/{lb1} ip -details link show eth0");
    println!("  curl --unix-socket {} http://weir/v1/status", socket.display());
    loop {
        std::thread::park();
    }
}
