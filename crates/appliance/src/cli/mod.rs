// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: one module a command, each with its arguments beside its body.
//!
//! ```text
//! run, agent              the daemons
//! check                   a document, without a daemon
//! replay                  a capture through a document, without a daemon
//! dataplane               what a daemon left pinned, without a daemon
//! status, show            what a daemon says        client ──► API
//! drain, undrain, reload  what a daemon shall do    client ──► API
//! completions, generate   files made from this very command line
//! ```
//! A command of the API asks with `client`, reads the API's own types, and shows them by pure functions in `views` and
//! beside the command. An error is three lines made by `failure`; the exit codes are in `exit`.

pub mod agent;
pub mod check;
mod client;
pub mod dataplane;
mod disrupt;
mod drain;
mod exit;
mod failure;
mod generate;
mod output;
mod reload;
mod replay;
pub mod run;
mod service_stop;
mod show;
mod status;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod time;
mod views;
mod wait;

use std::future::Future;
use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::client::{Client, SERVER_DEFAULT, Server};
pub use self::exit::Exit;
use self::failure::Failure;
use self::output::Output;

/// Anycast layer-4 load balancer appliance.
#[derive(Debug, Parser)]
#[command(name = "weir", version, disable_help_subcommand = true, after_help = exit::HELP)]
pub struct Cli {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

/// Which daemon is meant, and how to answer.
#[derive(Debug, Clone, clap::Args)]
struct Remote {
    /// The daemon: unix:PATH, or http://ADDRESS:PORT on loopback
    #[arg(long, global = true, value_name = "SERVER", env = "WEIR_SERVER", hide_env_values = true)]
    #[arg(default_value = SERVER_DEFAULT, help_heading = "Asking a daemon")]
    server: Server,
    /// How to answer: a table, or json, which is exactly the body that the API answers
    #[arg(short, long, global = true, value_name = "FORM", value_enum, default_value_t = Output::Table)]
    #[arg(hide_possible_values = true, help_heading = "Asking a daemon")]
    output: Output,
}

impl Remote {
    fn client(&self) -> Client {
        Client::new(self.server.clone())
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the appliance
    Run(run::Args),
    /// Run the agent on a backend
    Agent(agent::Args),
    /// Say everything that is wrong with a document
    Check(check::Args),
    /// Say what becomes of the packets of a capture, and write those that would leave; touches no interface
    Replay(replay::Args),
    /// Say what is announced, what is not, and why
    Status(status::Args),
    /// Show objects as the daemon sees them
    Show(show::Args),
    /// Send no new flows to a backend or pool, or announce a VIP no more
    Drain(drain::DrainArgs),
    /// Send nothing more to a backend or pool; its flows are moved
    Disable(drain::DisableArgs),
    /// Take a drain, disable or withhold back
    Undrain(drain::UndrainArgs),
    /// Make the daemon read its document again
    Reload(reload::Args),
    /// Look after what a daemon left pinned, without a daemon
    Dataplane(dataplane::Args),
    /// End the daemon of a unit: for its ExecStop
    #[command(hide = true)]
    ServiceStop(service_stop::Args),
    /// Write completions for a shell to standard output
    Completions(generate::CompletionsArgs),
    /// Write man pages, completions and the reference of this command line to a folder
    #[command(hide = true)]
    Generate(generate::Args),
}

/// Commands that talk to no daemon, with the options for talking to one that they do not need.
const LOCAL: [(&str, &[&str]); 8] = [
    ("run", &["server", "output"]),
    ("agent", &["server", "output"]),
    ("check", &["server"]),
    ("replay", &["server", "output"]),
    ("dataplane", &["server", "output"]),
    ("service-stop", &["server", "output"]),
    ("completions", &["server", "output"]),
    ("generate", &["server", "output"]),
];

/// The command line as it is parsed. Options that mean nothing to a command are accepted there and not shown.
fn command() -> clap::Command {
    let mut command = Cli::command();
    let options: Vec<clap::Arg> = command.get_arguments().cloned().collect();
    for (name, unneeded) in LOCAL {
        let hidden = options.iter().filter(|option| unneeded.contains(&option.get_id().as_str()));
        let hidden: Vec<clap::Arg> = hidden.map(|option| option.clone().hide(true)).collect();
        command = command.mut_subcommand(name, |command| command.args(hidden));
    }
    command
}

/// Parses the command line and runs one command. A bad command line ends with exit code 2 and help.
pub fn main() -> ExitCode {
    let Cli { remote, command: chosen } =
        Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    let outcome = match chosen {
        Command::Run(args) => run::main(&args),
        Command::Agent(args) => agent::main(&args),
        Command::Check(args) => check::main(&args, remote.output),
        Command::Replay(args) => replay::main(&args, remote.output),
        Command::Status(args) => over_api(status::main(&remote, &args)),
        Command::Show(args) => over_api(show::main(&remote, &args)),
        Command::Drain(args) => over_api(drain::drain(&remote, &args)),
        Command::Disable(args) => over_api(drain::disable(&remote, &args)),
        Command::Undrain(args) => over_api(drain::undrain(&remote, &args)),
        Command::Reload(args) => over_api(reload::main(&remote, &args)),
        Command::Completions(args) => generate::completions(&args, command()),
        Command::Generate(args) => generate::main(&args, command()),
        Command::Dataplane(args) => dataplane::main(&args),
        Command::ServiceStop(args) => service_stop::main(&args),
    };
    outcome.unwrap_or_else(|error| failed(&error, remote.output)).into()
}

/// Runs a command that talks to a daemon. One thread: it waits for one answer at a time.
fn over_api(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(command)
}

/// Says why a command failed, and gives its exit code.
fn failed(error: &anyhow::Error, form: Output) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        if let (Output::Json, Some(body)) = (form, &failure.body) {
            // If nobody reads the output, the words on standard error are what is left to say.
            output::print_body(body).ok();
        }
        eprintln!("{failure}");
        return failure.exit;
    }
    // The reader of a pipe has seen enough: `weir status | head`.
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return Exit::Ok;
    }
    eprintln!("weir: {error:#}");
    Exit::Failed
}
