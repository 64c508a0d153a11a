// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir drain`, `weir disable`, `weir undrain`: overrides, set and cleared. What would cost a VIP or break flows is
//! refused unless `--yes` is given.

use std::time::{Duration, SystemTime};

use weir_api::v1::{
    Backend, Override, OverrideList, OverrideRequest, OverrideState, Pool, Status, Timestamp, VipList,
};

use super::client::{Call, Client, path};
use super::disrupt;
use super::failure::Failure;
use super::output::{self, Output, plain};
use super::{Exit, Remote, target, time, wait};
use crate::overrides::Target;

/// How a target is typed, for the help.
const TARGET_HELP: &str = "POOL/BACKEND, POOL, vip/NAME or appliance";

/// Arguments of `weir drain`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A VIP or the appliance is withheld: withdrawn from every peer, while flows go on. The long forms \
                        pool/NAME and backend/POOL/NAME reach pools that are named like something else."
)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Wait until no flow is left; for a VIP or the appliance, until it is withdrawn and packets cease
    #[arg(long)]
    wait: bool,
    /// Longest wait; when it ends the drain stays, and the exit code is 6
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = time::parse_span, requires = "wait")]
    timeout: Duration,
}

/// Arguments of `weir disable`.
#[derive(Debug, clap::Args)]
pub(super) struct DisableArgs {
    #[command(flatten)]
    set: SetArgs,
}

/// What sets an override.
#[derive(Debug, clap::Args)]
struct SetArgs {
    /// POOL/BACKEND, POOL, vip/NAME or appliance
    #[arg(value_name = "TARGET", value_parser = target::parse)]
    target: Target,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// End it by itself after this long: 90s, 10m, 2h or 3d
    #[arg(long = "for", value_name = "SPAN", value_parser = time::parse_span, conflicts_with = "until")]
    lasting: Option<Duration>,
    /// End it by itself at this time, like 2026-03-01T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time::parse_moment)]
    until: Option<SystemTime>,
    /// Who; left out, the user (before sudo) and the host
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// Do it even if a VIP is withdrawn or flows break
    #[arg(long, short)]
    yes: bool,
}

/// Arguments of `weir undrain`.
#[derive(Debug, clap::Args)]
pub(super) struct UndrainArgs {
    #[arg(value_name = "TARGET", value_parser = target::parse, help = TARGET_HELP)]
    target: Target,
}

/// Runs `weir drain`.
pub(super) async fn drain(remote: &Remote, args: &DrainArgs) -> anyhow::Result<Exit> {
    let client = remote.client();
    let target = &args.set.target;
    let (state, verb) = match target {
        Target::Appliance | Target::Vip(_) => (OverrideState::Withhold, "withhold"),
        Target::Pool(_) | Target::Backend { .. } => (OverrideState::Drain, "drain"),
    };
    let purpose = format!("{verb} `{}`", target::shown(target));
    if !args.set.yes {
        refuse_losses(&client, &purpose, target).await?;
    }
    set(remote, &client, &purpose, &args.set, state).await?;
    match args.wait {
        true => wait::wait(remote, &client, target, args.timeout).await,
        false => Ok(Exit::Ok),
    }
}

/// Runs `weir disable`.
pub(super) async fn disable(remote: &Remote, args: &DisableArgs) -> anyhow::Result<Exit> {
    let client = remote.client();
    let target = &args.set.target;
    let purpose = format!("disable `{}`", target::shown(target));
    if matches!(target, Target::Appliance | Target::Vip(_)) {
        let withheld = Failure {
            what: format!("cannot {purpose}"),
            why: vec!["VIPs and the appliance are withheld, not disabled".to_owned()],
            remedy: format!("weir drain {}", target::shown(target)),
            slug: "invalid-field".to_owned(),
            exit: Exit::Failed,
            body: None,
        };
        return Err(withheld.into());
    }
    if !args.set.yes {
        refuse_losses(&client, &purpose, target).await?;
        refuse_breaks(&client, &purpose, target).await?;
    }
    set(remote, &client, &purpose, &args.set, OverrideState::Disable).await?;
    Ok(Exit::Ok)
}

/// Runs `weir undrain`.
pub(super) async fn undrain(remote: &Remote, args: &UndrainArgs) -> anyhow::Result<Exit> {
    let shown = target::shown(&args.target);
    let purpose = format!("undrain `{shown}`");
    let client = remote.client();
    let answer = client.call(&Call::delete(&purpose, target::override_path(&args.target))).await?;
    match remote.output {
        Output::Json => output::print_body(&answer.body)?,
        Output::Table => {
            output::print(&format!("{shown}: the override is cleared\n"))?;
            let all: OverrideList = client.call(&Call::get(&purpose, path(&["overrides"]))).await?.read()?;
            output::print(&still(&args.target, &all.items))?;
        }
    }
    Ok(Exit::Ok)
}

/// What still takes the target out: an override of the pool it is in, or of the appliance.
fn still(target: &Target, overrides: &[Override]) -> String {
    let around = match target {
        Target::Backend { pool, .. } => Target::Pool(pool.clone()),
        Target::Vip(_) => Target::Appliance,
        Target::Pool(_) | Target::Appliance => return String::new(),
    };
    let id = around.to_string();
    let holds = overrides.iter().find(|one| one.target == id);
    let around = target::shown(&around);
    holds.map_or_else(String::new, |one| {
        format!(
            "`{around}` has one still ({}, by {}): `weir undrain {around}`\n",
            one.state.name(),
            plain(&one.author)
        )
    })
}

/// Sets the override and says what now holds.
async fn set(
    remote: &Remote,
    client: &Client,
    purpose: &str,
    args: &SetArgs,
    state: OverrideState,
) -> anyhow::Result<()> {
    let request = OverrideRequest {
        state,
        reason: args.reason.clone().unwrap_or_default(),
        author: Some(args.author.clone().unwrap_or_else(author)),
        until: args.until.map(Timestamp),
        lasting: args.lasting.map(|span| format!("{}s", span.as_secs())),
    };
    let body = serde_json::to_value(&request)?;
    let answer = client.call(&Call::put(purpose, target::override_path(&args.target), body)).await?;
    match remote.output {
        Output::Json => output::print_body(&answer.body)?,
        Output::Table => output::print(&said(&args.target, &answer.read()?, time::now()))?,
    }
    Ok(())
}

/// What an override means, in words.
fn said(target: &Target, one: &Override, now: SystemTime) -> String {
    let meaning = match (one.state, target) {
        (OverrideState::Drain, _) => "draining: keeps its flows, takes no new ones",
        (OverrideState::Disable, _) => "disabled: gets nothing any more",
        (OverrideState::Withhold, Target::Appliance) => {
            "withheld: nothing is announced any more, flows go on"
        }
        (OverrideState::Withhold, _) => "withheld: not announced any more, flows go on",
    };
    let shown = target::shown(target);
    let until = match one.until {
        Some(until) => format!("until {}", time::deadline(until.0, now)),
        None => format!("until `weir undrain {shown}`"),
    };
    let mut text = format!("{shown}: {meaning}\n{until}, by {}\n", plain(&one.author));
    if !one.persisted {
        text.push_str(
            "warning: it could not be written down and does not survive a restart; see `weir status`\n",
        );
    }
    text
}

/// Refuses what would cost a VIP (exit 6).
async fn refuse_losses(client: &Client, purpose: &str, target: &Target) -> anyhow::Result<()> {
    if matches!(target, Target::Appliance | Target::Vip(_)) {
        // That is what was asked for by name.
        return Ok(());
    }
    let status: Status = client.call(&Call::get(purpose, path(&["status"]))).await?.read()?;
    let vips: VipList = client.call(&Call::get(purpose, path(&["vips"]))).await?.read()?;
    let losses = disrupt::losses(target, &status, &vips.items);
    if losses.is_empty() {
        return Ok(());
    }
    let why = losses.iter().map(|loss| {
        let services = loss.services.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        format!("VIP `{}` {}: too few usable backends left for {services}", loss.vip, loss.effect)
    });
    let failure = Failure {
        what: format!("did not {purpose}"),
        why: why.collect(),
        remedy: "run it again with --yes if that is wanted".to_owned(),
        slug: "would-withdraw-last".to_owned(),
        exit: Exit::WouldDisrupt,
        body: None,
    };
    Err(failure.into())
}

/// Refuses what would break live flows (exit 6).
async fn refuse_breaks(client: &Client, purpose: &str, target: &Target) -> anyhow::Result<()> {
    let flows = flows(client, purpose, target).await?;
    let Some(flows) = flows.filter(|flows| *flows > 0) else { return Ok(()) };
    let shown = target::shown(target);
    let failure = Failure {
        what: format!("did not {purpose}"),
        why: vec![match flows {
            1 => "1 flow would lose its backend".to_owned(),
            _ => format!("{flows} flows would lose their backend"),
        }],
        remedy: format!("drain it first: weir drain {shown} --wait; or run it again with --yes"),
        slug: "would-break-flows".to_owned(),
        exit: Exit::WouldDisrupt,
        body: None,
    };
    Err(failure.into())
}

/// Live flows of a pool or backend as of the last sweep; `None` before the first.
pub(super) async fn flows(client: &Client, purpose: &str, target: &Target) -> Result<Option<u64>, Failure> {
    let answer = client.call(&Call::get(purpose, target::object_path(target))).await?;
    match target {
        Target::Backend { .. } => Ok(answer.read::<Backend>()?.status.flows),
        Target::Pool(_) => {
            let pool: Pool = answer.read()?;
            Ok(pool.status.backends.values().map(|backend| backend.flows).sum())
        }
        Target::Appliance | Target::Vip(_) => Ok(None),
    }
}

/// Who types: the user before `sudo`, and the host.
fn author() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let user = variable("SUDO_USER").or_else(|| variable("USER"));
    let user = user.unwrap_or_else(|| match rustix::process::getuid() {
        uid if uid.is_root() => "root".to_owned(),
        uid => format!("uid {}", uid.as_raw()),
    });
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => user,
        host => format!("{user}@{host}"),
    }
}
