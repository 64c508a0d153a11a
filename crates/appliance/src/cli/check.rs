// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir check`: everything that is wrong with a document, without changing anything.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::json;

use super::Exit;
use super::output::Output;
use crate::config::{self, DownLinks, Examined, LoadErrors, Warning};

/// Arguments of `weir check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Compare with this host too: interfaces, own addresses, the hash seed file
    #[arg(long)]
    host: bool,
    /// The document
    file: PathBuf,
}

/// Runs `weir check`.
pub(super) fn main(args: &Args, form: Output) -> anyhow::Result<Exit> {
    let checked = config::examine(&args.file, args.host.then_some(DownLinks::Refuse));
    let file = args.file.display().to_string();
    let exit = if checked.is_ok() { Exit::Ok } else { Exit::Failed };
    match (form, checked) {
        (Output::Table, Ok(examined)) => {
            for problem in &examined.warnings {
                writeln!(io::stderr(), "{}", Warning { file: &file, problem })?;
            }
            writeln!(io::stdout(), "{}", accepted(&file, &examined))?;
        }
        (Output::Table, Err(errors)) => writeln!(io::stderr(), "{errors}")?,
        (Output::Json, checked) => writeln!(io::stdout(), "{:#}", json_answer(&file, checked))?,
    }
    Ok(exit)
}

fn accepted(file: &str, examined: &Examined) -> String {
    let document = &examined.document;
    let backends: usize = document.pools.values().map(|pool| pool.backends.len()).sum();
    let counts = [
        (document.peers.len(), "peer"),
        (document.vips.len(), "VIP"),
        (document.services.len(), "service"),
        (document.pools.len(), "pool"),
        (backends, "backend"),
    ];
    let counts = counts.map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
    let mut answer = format!("{file}: ok, {}\n", counts.join(", "));
    if let (1.., Some((address, most))) = (examined.load.checks, examined.load.busiest) {
        let config::CheckLoad { checks, attempts_per_second, .. } = examined.load;
        answer += &format!(
            "checks {checks}, {attempts_per_second:.1} attempts a second from each appliance, \
             at most {most:.1} to one backend (`{address}`)\n"
        );
    }
    answer += &format!("hash {}", document.hash);
    answer
}

fn json_answer(file: &str, checked: Result<Examined, LoadErrors>) -> serde_json::Value {
    match checked {
        Ok(Examined { document, load, warnings }) => {
            let busiest = load.busiest.map(|(address, attempts_per_second)| {
                json!({ "address": address.to_string(), "attempts_per_second": attempts_per_second })
            });
            json!({
                "file": file,
                "ok": true,
                "hash": document.hash.to_string(),
                "checks": {
                    "count": load.checks,
                    "attempts_per_second": load.attempts_per_second,
                    "busiest": busiest,
                },
                "warnings": warnings.iter().map(config::Problem::to_json).collect::<Vec<_>>(),
                "errors": [],
                "more": 0,
            })
        }
        Err(errors) => errors.to_json(),
    }
}
