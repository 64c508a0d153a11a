// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir run`: the appliance.

use std::path::PathBuf;

use super::Exit;
use crate::config::{self, DownLinks};
use crate::logging;

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
    anyhow::bail!("the appliance is not part of this build")
}
