// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir run`: the appliance.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::Exit;
use crate::store::Start;
use crate::{logging, supervisor};

/// Arguments of `weir run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The document
    #[arg(long, value_name = "PATH", default_value = "/etc/weir/weir.toml")]
    config: PathBuf,
    /// Where to keep state, whatever the document says
    #[arg(long, value_name = "PATH")]
    state_dir: Option<PathBuf>,
}

/// How long a process that has done its work waits for a disk that does not answer.
const DISK_WAIT_MAX: Duration = Duration::from_secs(1);

/// Runs `weir run`.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    let first = match Start::find(&args.config, args.state_dir.as_deref()) {
        Ok(first) => first,
        Err(error) => {
            eprintln!("{error}");
            return Ok(Exit::Failed);
        }
    };
    logging::install(first.document.bootstrap.log)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let outcome = runtime.block_on(supervisor::run(args.config.clone(), first));
    runtime.shutdown_timeout(DISK_WAIT_MAX);
    outcome?;
    Ok(Exit::Ok)
}
