// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a pass could not have: which error of the kernel means what. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::FibConfig;
use super::netlink::NetlinkError;
use super::plan::Change;
use crate::config::Family;
use crate::import::{DefaultNextHop, Defaults};

/// What one pass could not have, and why.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Next hops that the kernel does not take, with its words.
    pub(super) refused: BTreeMap<(Family, DefaultNextHop), String>,
    /// Families whose place is another's.
    pub(super) blocked: BTreeSet<Family>,
    /// The kernel could not be read or told at all.
    pub(super) failure: Option<NetlinkError>,
    /// The kernel took every request, and has something else all the same.
    pub(super) is_unsettled: bool,
}

/// What a refused request means for the rest of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weighed {
    /// It was so already.
    Harmless,
    /// The rest of the plan does not hold any more: something is known now that was not when it was made.
    PlanAgain,
    /// One of several next hops is at fault, and it is not known which.
    Probe,
}

impl Outcome {
    /// Notes what the kernel has against `change`. Errors that no other plan would avoid come back.
    pub(super) fn weigh(&mut self, change: &Change, error: NetlinkError) -> Result<Weighed, NetlinkError> {
        match (change, error.code()) {
            (_, None | Some(libc::EPERM | libc::EACCES | libc::ENOMEM | libc::ENOBUFS)) => Err(error),
            // Removed by others in this very moment, or not ours after all.
            (Change::Remove(_), Some(libc::ESRCH | libc::ENOENT)) => Ok(Weighed::Harmless),
            (Change::Remove(_), Some(_)) => Err(error),
            (Change::Add { route, is_first: true }, Some(libc::EEXIST)) => {
                self.blocked.insert(route.family);
                Ok(Weighed::PlanAgain)
            }
            (Change::Add { is_first: false, .. }, Some(libc::EEXIST)) => Ok(Weighed::Harmless),
            (Change::Add { route, .. }, Some(_)) => match route.hops.as_slice() {
                [hop] => {
                    self.refused.insert((route.family, *hop), error.to_string());
                    Ok(Weighed::PlanAgain)
                }
                _ => Ok(Weighed::Probe),
            },
        }
    }

    /// `wanted` without what this pass has learnt that it cannot have.
    pub(super) fn possible(&self, mut wanted: Defaults) -> Defaults {
        wanted.retain(|family, _| !self.blocked.contains(family));
        for (family, hops) in &mut wanted {
            hops.retain(|hop| !self.refused.contains_key(&(*family, *hop)));
        }
        wanted
    }

    /// The gravest of it in words.
    pub(super) fn problem(&self, config: &FibConfig) -> Option<String> {
        if let Some(failure) = &self.failure {
            let right = match failure.code() {
                Some(libc::EPERM | libc::EACCES) => ", is CAP_NET_ADMIN missing?",
                _ => "",
            };
            return Some(format!("{failure}{right}"));
        }
        if let Some(family) = self.blocked.first() {
            let FibConfig { metric, table, .. } = config;
            let text = "another default route has this metric, ours is not installed";
            return Some(format!("{family}: metric {metric} in table {table}: {text}"));
        }
        if let Some(((family, hop), reason)) = self.refused.first_key_value() {
            return Some(format!("{family}: next hop {} is refused: {reason}", hop.gateway));
        }
        self.is_unsettled.then(|| {
            "the table stays different from what is wanted: another program changes it, or shares our metric".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::plan::Route;

    fn refused(code: i32) -> NetlinkError {
        NetlinkError::Refused {
            source: std::io::Error::from_raw_os_error(code),
            words: Some("Because".into()),
        }
    }

    fn add(gateways: &[&str], is_first: bool) -> Change {
        let hops = gateways.iter().map(|text| DefaultNextHop {
            gateway: text.parse().unwrap(),
            interface: None,
            weight: 1,
        });
        let route = Route { family: Family::Ipv4Unicast, metric: 20, hops: hops.collect() };
        Change::Add { route, is_first }
    }

    fn removal(add: Change) -> Change {
        match add {
            Change::Add { route, .. } | Change::Remove(route) => Change::Remove(route),
        }
    }

    #[test]
    fn each_error_of_the_kernel_means_one_thing() {
        let cases = [
            (add(&["10.0.0.1"], true), libc::ENETUNREACH, Some(Weighed::PlanAgain)),
            (add(&["10.0.0.1", "10.0.0.2"], true), libc::ENETUNREACH, Some(Weighed::Probe)),
            (add(&["10.0.0.1", "10.0.0.2"], true), libc::EEXIST, Some(Weighed::PlanAgain)),
            (add(&["10.0.0.1"], false), libc::EEXIST, Some(Weighed::Harmless)),
            (removal(add(&["10.0.0.1"], false)), libc::ESRCH, Some(Weighed::Harmless)),
            (removal(add(&["10.0.0.1"], false)), libc::EINVAL, None),
            (add(&["10.0.0.1"], true), libc::EPERM, None),
            (removal(add(&["10.0.0.1"], true)), libc::EPERM, None),
        ];
        for (change, code, weighed) in cases {
            assert_eq!(Outcome::default().weigh(&change, refused(code)).ok(), weighed, "{change:?}, {code}");
        }
        assert!(Outcome::default().weigh(&add(&["10.0.0.1"], true), NetlinkError::Timeout).is_err());
    }

    #[test]
    fn what_was_refused_is_left_aside_and_told() {
        let config = FibConfig::default();
        let mut outcome = Outcome::default();
        outcome.weigh(&add(&["10.0.0.1"], true), refused(libc::ENETUNREACH)).unwrap();
        let Change::Add { route, .. } = add(&["10.0.0.1", "10.0.0.2"], true) else { unreachable!() };
        let wanted = Defaults::from([(Family::Ipv4Unicast, route.hops.iter().copied().collect())]);
        let left = outcome.possible(wanted.clone());
        assert_eq!(left[&Family::Ipv4Unicast].iter().copied().collect::<Vec<_>>(), route.hops[1..]);
        let problem = outcome.problem(&config).unwrap();
        assert!(problem.starts_with("ipv4-unicast: next hop 10.0.0.1 is refused: Because: "), "{problem}");
        outcome.weigh(&add(&["10.0.0.1", "10.0.0.2"], true), refused(libc::EEXIST)).unwrap();
        assert_eq!(outcome.possible(wanted), Defaults::new());
        assert!(outcome.problem(&config).unwrap().contains("metric 20 in table 254"));
        outcome.failure = Some(refused(libc::EPERM));
        assert!(outcome.problem(&config).unwrap().ends_with("is CAP_NET_ADMIN missing?"));
        assert_eq!(Outcome::default().problem(&config), None);
    }
}
