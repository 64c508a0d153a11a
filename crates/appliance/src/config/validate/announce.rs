// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about announce policies: marks in order, and services that belong to the VIP.

use super::Draft;
use crate::config::nearest::nearest;
use crate::config::report::Report;
use crate::model::{Mark, Require};

pub(super) fn validate(report: &mut Report, draft: &Draft) {
    for (name, vip) in &draft.vips {
        let path = format!("vips.{name}.announce");
        if let (Some(low), Some(Some(high))) = (vip.announce.low, vip.announce.high) {
            marks(report, &path, low, high);
        }
        if let Some(Require::Services(services)) = &vip.announce.require {
            for service in services {
                require(report, draft, (name, &path), service);
            }
        }
    }
}

/// Two marks of one kind can be compared; of two kinds, the later one to be reached counts.
fn marks(report: &mut Report, path: &str, low: Mark, high: Mark) {
    let (low, high) = match (low, high) {
        (Mark::Backends(low), Mark::Backends(high)) if high < low => (low.to_string(), high.to_string()),
        (Mark::Percent(low), Mark::Percent(high)) if high < low => (format!("{low}%"), format!("{high}%")),
        (Mark::Backends(_) | Mark::Percent(_), Mark::Backends(_) | Mark::Percent(_)) => return,
    };
    report.at(
        &format!("{path}.high"),
        format!("`{high}` is below `low`, which is `{low}`"),
        "a VIP comes back at `high` and goes at `low`: write `high` at least as large, or leave it out",
    );
}

fn require(report: &mut Report, draft: &Draft, (vip, path): (&str, &str), service: &str) {
    let path = format!("{path}.require");
    let owner = match draft.services.get(service) {
        Some(found) => found.vip.as_deref(),
        None => {
            let of_vip = draft.services.iter().filter(|(_, s)| s.vip.as_deref() == Some(vip));
            let help = match nearest(service, of_vip.map(|(name, _)| name.as_str())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name services whose `vip` is this one".to_owned(),
            };
            report.at(&path, format!("found `{service}`, no service has this name"), help);
            return;
        }
    };
    // A service whose VIP was refused may have meant this one.
    if let Some(owner) = owner.filter(|owner| *owner != vip) {
        let message = format!("service `{service}` is on VIP `{owner}`, not on this one");
        report.at(&path, message, "name services whose `vip` is this one");
    }
}
