// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir reload`: the daemon reads its document again. All or nothing; a refusal says what `weir check` says.

use std::fmt::Write as _;
use std::time::Duration;

use weir_api::v1::{Reloaded, Status};

use super::client::{Call, path};
use super::failure::{Failure, ProblemBody};
use super::output::{self, Output, plain};
use super::{Exit, Remote, time};

/// Time between two looks at the generation in force. A pass of the reconciler takes milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Arguments of `weir reload`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A document that is refused, or that needs a restart, changes nothing and gives exit code 1."
)]
pub(super) struct Args {
    /// Wait until the document is in force: rows, services, announcements
    #[arg(long)]
    wait: bool,
    /// Longest wait; when it ends the exit code is 1 and the daemon goes on trying
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = time::parse_span, requires = "wait")]
    timeout: Duration,
}

/// Runs `weir reload`.
pub(super) async fn main(remote: &Remote, args: &Args) -> anyhow::Result<Exit> {
    let call = Call::post("reload the document", path(&["document", "reload"]));
    let answer = match remote.client().call(&call).await {
        Ok(answer) => answer,
        Err(failure) => return Err(refused(failure).into()),
    };
    match remote.output {
        Output::Json => output::print_body(&answer.body)?,
        Output::Table => output::print(&accepted(&answer.read()?, args.wait))?,
    }
    if args.wait {
        let generation = answer.read::<Reloaded>()?.generation;
        let in_force = tokio::time::timeout(args.timeout, in_force(remote, generation)).await;
        in_force.unwrap_or_else(|_elapsed| Err(not_in_force(generation, args.timeout).into()))?;
        if remote.output == Output::Table {
            output::print(&format!("generation {generation} is in force\n"))?;
        }
    }
    Ok(Exit::Ok)
}

/// Looks until a generation, or a later one, is in force.
async fn in_force(remote: &Remote, generation: u64) -> anyhow::Result<()> {
    let client = remote.client();
    loop {
        let call = Call::get("wait for the document", path(&["status"]));
        match client.call(&call).await {
            Ok(answer) if answer.read::<Status>()?.document.applied_generation >= generation => return Ok(()),
            Ok(_) => {}
            // A busy daemon is asked again, within the time that was given.
            Err(failure) if failure.is_passing() => {}
            Err(failure) => return Err(failure.into()),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn not_in_force(generation: u64, waited: Duration) -> Failure {
    Failure {
        what: format!("generation {generation} is accepted and not in force yet"),
        why: vec![format!("it took longer than {}", time::span(waited))],
        remedy: "`weir status` says which step fails; the daemon goes on trying".to_owned(),
        slug: "not-in-force".to_owned(),
        exit: Exit::Failed,
        body: None,
    }
}

fn accepted(reloaded: &Reloaded, is_waiting: bool) -> String {
    let hint = if is_waiting { "" } else { "; `weir status` says when it is in force" };
    match reloaded.changed {
        true => format!("accepted as generation {}{hint}\n", reloaded.generation),
        false => format!("no change, generation {} stays\n", reloaded.generation),
    }
}

/// A refusal changes nothing, whatever its reason: exit code 1. The daemon's errors come first, as `weir check` lists them.
fn refused(failure: Failure) -> Failure {
    let Some(body) = &failure.body else { return failure };
    let problem = ProblemBody::read(body);
    if problem.errors.is_empty() {
        return Failure {
            exit: if failure.slug == "needs-restart" { Exit::Failed } else { failure.exit },
            ..failure
        };
    }
    eprint!("{}", listed(&problem));
    let first = failure.why.first().cloned();
    Failure {
        why: first.into_iter().collect(),
        remedy:
            "mend the document, try it with `weir check`, reload again; until then the one before is in force"
                .to_owned(),
        exit: Exit::Failed,
        ..failure
    }
}

/// `weir.toml:12:11: path: message`, and the help below.
fn listed(problem: &ProblemBody) -> String {
    let mut text = String::new();
    for error in &problem.errors {
        text.push_str(&plain(error.file.as_deref().unwrap_or("document")));
        text.push(':');
        if let (Some(line), Some(column)) = (error.line, error.column) {
            // Writing to a string cannot fail.
            write!(text, "{line}:{column}:").ok();
        }
        if !error.path.is_empty() {
            text.push_str(&format!(" {}:", plain(&error.path)));
        }
        text.push_str(&format!(" {}\n", plain(&error.message)));
        if let Some(hint) = &error.hint {
            text.push_str(&format!("  help: {}\n", plain(hint)));
        }
    }
    text
}
