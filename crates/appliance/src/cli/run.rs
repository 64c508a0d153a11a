// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir run`: the appliance.

use std::path::PathBuf;

use anyhow::Context as _;

use super::Exit;
use crate::config::{self, DownLinks};
use crate::{logging, supervisor};

/// Arguments of `weir run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The document
    #[arg(long, value_name = "PATH", default_value = "/etc/weir/weir.toml")]
    config: PathBuf,
}

/// Runs `weir run`.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    let document = match config::load_on_host(&args.config, DownLinks::Accept) {
        Ok(document) => document,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(Exit::Failed);
        }
    };
    logging::install(document.bootstrap.log)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(supervisor::run(args.config.clone(), document))?;
    Ok(Exit::Ok)
}
