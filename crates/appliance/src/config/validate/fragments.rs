// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about fragments: all services of a VIP and protocol that take them by source must take them alike, since those behind
//! the first one have no port that would tell whose they are.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::read::{Draft, ServiceDraft};
use crate::config::report::Report;
use crate::model::{Affinity, Fragments, Protocol};

pub(super) fn validate(report: &mut Report, draft: &Draft) {
    let mut groups: BTreeMap<(&str, Protocol), Vec<Taking<'_>>> = BTreeMap::new();
    for (name, service) in &draft.services {
        if let (Some(vip), Some(protocol), Some(taking)) =
            (service.vip.as_deref(), service.protocol, Taking::of(report, name, service))
        {
            groups.entry((vip, protocol)).or_default().push(taking);
        }
    }
    for ((vip, _), mut services) in groups {
        services.sort_by_key(|service| service.line);
        let Some((first, others)) = services.split_first() else { continue };
        for service in others {
            let unlike = service.unlike(first);
            if unlike.is_empty() {
                continue;
            }
            let message = format!(
                "fragments to VIP `{vip}` already go by source for `services.{}` (line {}), with another {}",
                first.name,
                first.line,
                unlike.join(", another ")
            );
            let help = format!(
                "later fragments have no port that tells the two apart: give both the same {}, or write `fragments = \"first-fragment\"`",
                unlike.join(", the same ")
            );
            report.at(&path(service.name), message, help);
        }
    }
}

/// How a service takes fragments by source.
struct Taking<'d> {
    name: &'d str,
    line: usize,
    pool: &'d str,
    affinity: Affinity,
    idle: Duration,
    flow_table: bool,
}

impl<'d> Taking<'d> {
    /// `None`: it does not, or a value of it was refused.
    fn of(report: &Report, name: &'d str, service: &'d ServiceDraft) -> Option<Self> {
        (service.fragments? == Fragments::BySource).then_some(Self {
            name,
            line: report.line_of(&path(name)),
            pool: service.pool.as_deref()?,
            affinity: service.affinity?,
            idle: service.idle()?,
            flow_table: service.flow_table?,
        })
    }

    /// The keys in which it is not as another one.
    fn unlike(&self, other: &Self) -> Vec<&'static str> {
        let keys = [
            ("`pool`", self.pool != other.pool),
            ("`affinity`", self.affinity != other.affinity),
            ("`idle`", self.idle != other.idle),
            ("`flow_table`", self.flow_table != other.flow_table),
        ];
        keys.into_iter().filter(|(_, is_unlike)| *is_unlike).map(|(key, _)| key).collect()
    }
}

fn path(service: &str) -> String {
    format!("services.{service}.fragments")
}
