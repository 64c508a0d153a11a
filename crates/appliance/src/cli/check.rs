// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir check`: everything that is wrong with a document, without changing anything.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;

use super::Exit;
use crate::config::{self, DownLinks, LoadErrors};
use crate::model::Document;

/// Arguments of `weir check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Compare with this host too: interfaces, own addresses, the hash seed file
    #[arg(long)]
    host: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// The document
    file: PathBuf,
}

/// Form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people: errors go to standard error
    Text,
    /// For machines: one JSON object on standard output
    Json,
}

/// Runs `weir check`.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    let checked = match args.host {
        true => config::load_on_host(&args.file, DownLinks::Refuse),
        false => config::load(&args.file),
    };
    let file = args.file.display().to_string();
    let exit = if checked.is_ok() { Exit::Ok } else { Exit::Failed };
    match (args.output, checked) {
        (Output::Text, Ok(document)) => writeln!(io::stdout(), "{}", accepted(&file, &document))?,
        (Output::Text, Err(errors)) => writeln!(io::stderr(), "{errors}")?,
        (Output::Json, checked) => writeln!(io::stdout(), "{:#}", json_answer(&file, checked))?,
    }
    Ok(exit)
}

fn accepted(file: &str, document: &Document) -> String {
    let backends: usize = document.pools.values().map(|pool| pool.backends.len()).sum();
    let counts = [
        (document.peers.len(), "peer"),
        (document.vips.len(), "VIP"),
        (document.services.len(), "service"),
        (document.pools.len(), "pool"),
        (backends, "backend"),
    ];
    let counts = counts.map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
    format!("{file}: ok, {}\nhash {}", counts.join(", "), document.hash)
}

fn json_answer(file: &str, checked: Result<Document, LoadErrors>) -> serde_json::Value {
    match checked {
        Ok(document) => {
            json!({ "file": file, "ok": true, "hash": document.hash.to_string(), "errors": [], "more": 0 })
        }
        Err(errors) => errors.to_json(),
    }
}
