// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir agent`: what runs on a backend.

use std::path::PathBuf;

use super::Exit;

/// Arguments of `weir agent`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's own document
    #[arg(long, value_name = "PATH", default_value = "/etc/weir/agent.toml")]
    config: PathBuf,
}

/// Runs `weir agent`.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    anyhow::bail!("read {}: the agent is not part of this build", args.config.display())
}
