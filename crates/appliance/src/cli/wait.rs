// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir drain --wait`: looks again each second until nothing is left, and says how it goes on.
//!
//! A backend or pool is done when the flow table has no flow of it. Flows are counted by sweeps, so that a count may be
//! older than the drain: zero is believed once a whole sweep has passed since. A VIP or the appliance is done when no peer
//! is told any more and its packets have ceased, or nearly: the internet never falls quite silent.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use weir_api::v1::{Backend, Override, OverrideList, Pool, Status};

use super::client::{Call, Client, path};
use super::failure::Failure;
use super::output::{self, Output};
use super::{Exit, Remote, target};
use crate::overrides::Target;
use crate::reconcile::SWEEP_INTERVAL;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Age of the drain from which a count of zero is one of afterwards: a sweep, and a second for it to be told.
const BELIEVED_AFTER: Duration = SWEEP_INTERVAL.saturating_add(Duration::from_secs(1));
/// Packets of a withdrawn VIP have ceased when they come at this part of the highest rate seen.
const CEASED_PART: f64 = 0.01;

/// Waits until `target`, whose override was just set, carries nothing any more.
pub(super) async fn wait(
    remote: &Remote,
    client: &Client,
    target: &Target,
    longest: Duration,
) -> anyhow::Result<Exit> {
    let shown = target::shown(target);
    let outcome = tokio::select! {
        // CANCEL: looking changes nothing; the override stays as it is set.
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("take over SIGINT")?;
            eprintln!("\nweir: interrupted; the drain stays in force until `weir undrain {shown}`");
            return Ok(Exit::Failed);
        }
        // CANCEL: as above.
        outcome = tokio::time::timeout(longest, watch(remote.output, client, target)) => outcome,
    };
    match outcome {
        Ok(done) => done,
        Err(_elapsed) => Err(Failure {
            what: format!("`{shown}` is not empty yet"),
            why: vec![format!("flows or packets are left after {} s", longest.as_secs())],
            remedy: format!(
                "the drain stays in force: wait on with the same command, or `weir undrain {shown}`"
            ),
            slug: "flows-remain".to_owned(),
            exit: Exit::WouldDisrupt,
            body: None,
        }
        .into()),
    }
}

async fn watch(form: Output, client: &Client, target: &Target) -> anyhow::Result<Exit> {
    let since = Instant::now();
    let mut said = String::new();
    let mut rate = Rate::default();
    loop {
        let looked = match target {
            Target::Pool(_) | Target::Backend { .. } => flows(client, target, since.elapsed()).await,
            Target::Appliance | Target::Vip(_) => announcement(client, target, &mut rate).await,
        };
        let (words, is_done) = match looked {
            Ok(looked) => looked,
            // Overrides survive a restart of the daemon, and so does the wait.
            Err(failure) if failure.is_passing() => ("the daemon does not answer".to_owned(), false),
            Err(failure) => return Err(failure.into()),
        };
        if words != said {
            progress(form, &format!("{}: {words}", target::shown(target)))?;
            said = words;
        }
        if is_done {
            return Ok(Exit::Ok);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// With JSON asked for, standard output is the answer's alone.
fn progress(form: Output, line: &str) -> anyhow::Result<()> {
    match form {
        Output::Table => output::print(&format!("{line}\n"))?,
        Output::Json => eprintln!("{line}"),
    }
    Ok(())
}

/// How many flows a backend or pool has, and whether that is the end.
async fn flows(client: &Client, target: &Target, drained_for: Duration) -> Result<(String, bool), Failure> {
    let purpose = format!("wait for `{}`", target::shown(target));
    let answer = client.call(&Call::get(&purpose, target::object_path(target))).await?;
    let (flows, overrides) = match target {
        Target::Backend { .. } => {
            let backend: Backend = answer.read()?;
            (backend.status.flows, backend.overrides)
        }
        Target::Pool(_) | Target::Appliance | Target::Vip(_) => {
            let pool: Pool = answer.read()?;
            (pool.status.backends.values().map(|backend| backend.flows).sum(), pool.overrides)
        }
    };
    still_set(target, &overrides)?;
    Ok(match flows {
        None => ("flows not counted yet".to_owned(), false),
        Some(0) if drained_for < BELIEVED_AFTER => ("no flow seen, counting once more".to_owned(), false),
        Some(0) => ("no flows left".to_owned(), true),
        Some(1) => ("1 flow left".to_owned(), false),
        Some(flows) => (format!("{flows} flows left"), false),
    })
}

/// Whether a VIP, or all of them, is withdrawn and at rest.
async fn announcement(client: &Client, target: &Target, rate: &mut Rate) -> Result<(String, bool), Failure> {
    let purpose = format!("wait for `{}`", target::shown(target));
    let status: Status = client.call(&Call::get(&purpose, path(&["status"]))).await?.read()?;
    let overrides: OverrideList = client.call(&Call::get(&purpose, path(&["overrides"]))).await?.read()?;
    still_set(target, &overrides.items)?;
    let is_meant = |name: &str| match target {
        Target::Vip(vip) => vip == name,
        Target::Appliance | Target::Pool(_) | Target::Backend { .. } => true,
    };
    let announced = status.vips.iter().filter(|(name, vip)| is_meant(name) && vip.announced).count();
    let packets =
        status.services.values().filter(|service| is_meant(&service.vip)).map(|one| one.packets_total.0);
    let state = rate.next(packets.fold(0, u64::saturating_add));
    Ok(match (announced, state) {
        (0, Flow::Ceased) => {
            let safe = if *target == Target::Appliance { "; safe to stop" } else { "" };
            (format!("withdrawn, packets have ceased{safe}"), true)
        }
        (0, Flow::Unknown) => ("withdrawn".to_owned(), false),
        (0, Flow::Comes(per_second)) => (format!("withdrawn, {per_second} packets/s still come"), false),
        (1, _) => ("1 VIP still announced".to_owned(), false),
        (vips, _) => (format!("{vips} VIPs still announced"), false),
    })
}

/// Somebody may have taken it back meanwhile, or it ended by itself.
fn still_set(target: &Target, overrides: &[Override]) -> Result<(), Failure> {
    let id = target.to_string();
    if overrides.iter().any(|one| one.target == id) {
        return Ok(());
    }
    Err(Failure {
        what: format!("`{}` is not drained any more", target::shown(target)),
        why: vec!["its override was cleared or has ended".to_owned()],
        remedy: "see `weir show events`, and drain it again if that is wanted".to_owned(),
        slug: "override-gone".to_owned(),
        exit: Exit::Conflict,
        body: None,
    })
}

/// Packets a second, by the totals of successive looks.
#[derive(Debug, Default)]
struct Rate {
    total: Option<u64>,
    highest: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Flow {
    Unknown,
    Comes(u64),
    Ceased,
}

impl Rate {
    /// What `total` says after the totals before it. A total that fell is one of a new process: counting begins anew.
    fn next(&mut self, total: u64) -> Flow {
        let Some(before) = self.total.replace(total).filter(|before| *before <= total) else {
            return Flow::Unknown;
        };
        let rate = total - before;
        self.highest = self.highest.max(rate);
        #[expect(clippy::cast_precision_loss, reason = "a part of a rate, not a count")]
        let is_little = rate as f64 <= self.highest as f64 * CEASED_PART;
        if rate == 0 || is_little { Flow::Ceased } else { Flow::Comes(rate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_cease_at_a_hundredth_of_the_highest_rate() {
        let mut rate = Rate::default();
        assert_eq!(rate.next(1_000), Flow::Unknown);
        assert_eq!(rate.next(2_000), Flow::Comes(1_000));
        assert_eq!(rate.next(2_011), Flow::Comes(11));
        assert_eq!(rate.next(2_021), Flow::Ceased);
        assert_eq!(rate.next(5), Flow::Unknown, "a new process");
        assert_eq!(rate.next(5), Flow::Ceased);
    }

    #[test]
    fn a_drain_that_somebody_took_back_is_a_conflict() {
        let target = Target::Pool("web".to_owned());
        assert_eq!(still_set(&target, &[]).expect_err("gone").exit, Exit::Conflict);
    }
}
