// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The routes that an earlier run left, until it is known which of them are still wanted. Pure.
//!
//! ```text
//!   before the first reading ──► kept ──► over: every peer has told all it has, time is up, or nothing is left
//! ```

use std::collections::BTreeSet;
use std::time::Instant;

use super::plan::{ObservedRoute, is_same};
use super::{Completeness, Wish};
use crate::import::Defaults;

/// How far the adoption is.
#[derive(Debug)]
pub(super) enum Adoption {
    /// The table was not read yet.
    Before {
        /// When it ends whatever is known by then.
        until: Instant,
    },
    /// Next hops that stay only because they were there.
    Kept {
        /// A next hop leaves for good when it is wanted (then the wish counts alone), and when the kernel dropped it.
        hops: Defaults,
        /// As above.
        until: Instant,
    },
    /// The wish counts alone.
    Over,
}

/// What a reading meant for the adoption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It has begun with this many next hops.
    Begun(usize),
    /// Nothing to tell.
    Going,
    /// It ends here, and this many next hops that nobody claimed have to go.
    Ended(usize),
}

impl Adoption {
    /// When it ends by itself. Changes with [`Adoption::handle_reading`].
    pub(super) fn ends_at(&self) -> Option<Instant> {
        match self {
            Self::Before { until } | Self::Kept { until, .. } => Some(*until),
            Self::Over => None,
        }
    }

    /// Whether the wish counts alone.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Takes over what is in the table now. To be called until it says [`Step::Going`].
    pub(super) fn handle_reading(&mut self, wish: &Wish, observed: &[ObservedRoute], now: Instant) -> Step {
        match self {
            Self::Over => Step::Going,
            Self::Before { until } => {
                let hops = all(observed);
                let begun = count(&hops);
                *self = Self::Kept { hops, until: *until };
                Step::Begun(begun)
            }
            Self::Kept { hops, until } => {
                let_go(hops, &wish.defaults, observed);
                let left = count(hops);
                if wish.completeness == Completeness::Partial && left > 0 && now < *until {
                    return Step::Going;
                }
                *self = Self::Over;
                Step::Ended(left)
            }
        }
    }

    /// What shall be in the table: the wish, and what is kept besides.
    pub(super) fn merged(&self, wish: &Defaults) -> Defaults {
        let mut merged = wish.clone();
        if let Self::Kept { hops, .. } = self {
            for (family, hops) in hops {
                merged.entry(*family).or_default().extend(hops.iter().copied());
            }
        }
        merged
    }
}

/// Every next hop of ours, whatever its metric.
fn all(observed: &[ObservedRoute]) -> Defaults {
    let mut hops = Defaults::new();
    for route in observed.iter().map(|o| &o.route) {
        hops.entry(route.family).or_default().extend(route.hops.iter().copied());
    }
    hops
}

fn count(hops: &Defaults) -> usize {
    hops.values().map(BTreeSet::len).sum()
}

fn let_go(kept: &mut Defaults, wish: &Defaults, observed: &[ObservedRoute]) {
    for (family, hops) in kept {
        let wanted = wish.get(family);
        hops.retain(|hop| {
            let is_wanted = wanted.is_some_and(|wanted| wanted.iter().any(|w| is_same(w, hop)));
            let of_family = observed.iter().map(|o| &o.route).filter(|route| route.family == *family);
            !is_wanted && of_family.flat_map(|route| &route.hops).any(|present| is_same(hop, present))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Family;
    use crate::fib::plan::{Route, plan};
    use crate::import::DefaultNextHop;

    const V4: Family = Family::Ipv4Unicast;

    fn hop(gateway: &str, interface: Option<u32>) -> DefaultNextHop {
        DefaultNextHop { gateway: gateway.parse().unwrap(), interface, weight: 1 }
    }

    fn observed(metric: u32, hops: &[DefaultNextHop]) -> ObservedRoute {
        let route = Route { family: V4, metric, hops: hops.to_vec() };
        ObservedRoute { route, dead: vec![false; hops.len()] }
    }

    fn wish(hops: &[DefaultNextHop], completeness: Completeness) -> Wish {
        Wish { defaults: Defaults::from([(V4, hops.iter().copied().collect())]), completeness }
    }

    fn begun(observed: &[ObservedRoute]) -> (Adoption, Instant) {
        let now = Instant::now();
        let mut adoption = Adoption::Before { until: now + Duration::from_secs(60) };
        let hops = observed.iter().map(|o| o.route.hops.len()).sum();
        let step = adoption.handle_reading(&wish(&[], Completeness::Partial), observed, now);
        assert_eq!(step, Step::Begun(hops));
        (adoption, now)
    }

    #[test]
    fn routes_stay_until_their_peer_speaks_or_the_kernel_drops_them() {
        let (a, b) = (hop("10.0.0.1", Some(3)), hop("10.0.1.1", Some(4)));
        let present = [observed(20, &[a, b])];
        let (mut adoption, now) = begun(&present);
        let none = wish(&[], Completeness::Partial);
        assert_eq!(adoption.handle_reading(&none, &present, now), Step::Going);
        assert_eq!(plan(&adoption.merged(&none.defaults), 20, &present), [], "nobody has spoken yet");
        // The first peer is back: it and the one not heard of stay.
        let back = wish(&[hop("10.0.0.1", None)], Completeness::Partial);
        assert_eq!(adoption.handle_reading(&back, &present, now), Step::Going);
        assert_eq!(plan(&adoption.merged(&back.defaults), 20, &present), []);
        // It goes again: its next hop is its own affair now.
        assert_eq!(adoption.handle_reading(&none, &present, now), Step::Going);
        assert_eq!(adoption.merged(&none.defaults), wish(&[b], Completeness::Partial).defaults);
        assert_eq!(adoption.handle_reading(&none, &[observed(20, &[a])], now), Step::Ended(0), "dropped");
        assert!(adoption.is_over());
    }

    #[test]
    fn what_nobody_claimed_goes_when_all_have_spoken_or_at_the_deadline() {
        let present = [observed(20, &[hop("10.0.0.1", Some(3))])];
        let (mut adoption, now) = begun(&present);
        let whole = wish(&[], Completeness::Whole);
        assert_eq!(adoption.handle_reading(&whole, &present, now), Step::Ended(1));
        assert_eq!(adoption.merged(&whole.defaults), whole.defaults);
        let (mut adoption, _) = begun(&present);
        let late = adoption.ends_at().unwrap();
        let none = wish(&[], Completeness::Partial);
        assert_eq!(adoption.handle_reading(&none, &present, late), Step::Ended(1));
        assert_eq!(adoption.ends_at(), None);
    }

    #[test]
    fn a_route_of_another_metric_is_adopted_and_moves() {
        let present = [observed(30, &[hop("10.0.0.1", Some(3))])];
        let (adoption, _) = begun(&present);
        let changes = plan(&adoption.merged(&Defaults::new()), 20, &present);
        assert_eq!(changes.len(), 2, "added with ours, then removed: {changes:?}");
    }
}
