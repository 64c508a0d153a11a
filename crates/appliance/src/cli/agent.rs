// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir agent`: what runs on a backend.

use std::path::PathBuf;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use weir_agent::AgentConfig;

use super::Exit;
use crate::instance::InstanceLock;
use crate::logging;
use crate::model::{Log, LogFormat, LogLevel};

/// Arguments of `weir agent`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's own document
    #[arg(long, value_name = "PATH", default_value = "/etc/weir/agent.toml")]
    config: PathBuf,
}

/// Runs `weir agent` until SIGTERM or SIGINT; decapsulation ends last.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    let config = match AgentConfig::load(&args.config) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(Exit::Failed);
        }
    };
    // Two agents of one instance would undo each other's tables.
    let _lock = InstanceLock::acquire(&config.pin_dir.join(&config.instance))?;
    logging::install(Log { level: LogLevel::Info, format: LogFormat::Auto })?;
    // One thread: it waits, fills tables when addresses change, and answers a scrape now and then.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("take over SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("take over SIGINT")?;
        let shutdown = async {
            tokio::select! {
                // CANCEL: either signal ends the wait, the other has nothing to add.
                _ = terminate.recv() => {}
                // CANCEL: as above.
                _ = interrupt.recv() => {}
            }
        };
        weir_agent::run(config, shutdown).await?;
        Ok(Exit::Ok)
    })
}
