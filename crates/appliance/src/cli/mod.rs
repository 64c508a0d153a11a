// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: one module a command, each with its arguments beside its body.

pub mod agent;
pub mod check;
mod exit;
pub mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use self::exit::Exit;

/// Anycast layer-4 load balancer appliance.
#[derive(Debug, Parser)]
#[command(name = "weir", version, disable_help_subcommand = true, after_help = exit::HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the appliance
    Run(run::Args),
    /// Run the agent on a backend
    Agent(agent::Args),
    /// Say everything that is wrong with a document
    Check(check::Args),
}

/// Parses the command line and runs one command. A bad command line ends with exit code 2 and help.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Agent(args) => agent::main(&args),
        Command::Check(args) => check::main(&args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("weir: {error:#}");
            Exit::Failed.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
