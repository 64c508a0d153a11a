// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ids of distinct next hops: pure bookkeeping. An entry is written once and reused only after a grace time.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use weir_dataplane_core::NextHopValue;
use weir_dataplane_core::limits::{NEXT_HOPS_MAX, NEXT_HOPS_PER_BACKEND};

use crate::next_hop::NextHop;
use crate::regions::GRACE;

/// More distinct next hops than the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {NEXT_HOPS_MAX} distinct next hops: reach backends by routers instead of directly, or spread them over more appliances"
)]
pub struct TooMany;

/// What lies in the next-hop table.
#[derive(Debug)]
pub(crate) struct NextHopIds {
    by_value: HashMap<NextHopValue, u16>,
    /// By id: the entry, and until when it is in grace if nothing names it any more.
    held: BTreeMap<u16, (NextHopValue, Option<Instant>)>,
    /// Ids in grace in the order in which their times end, and some that were wanted again meanwhile.
    leaving: VecDeque<(Instant, u16)>,
    free: BTreeSet<u16>,
}

impl Default for NextHopIds {
    fn default() -> Self {
        let last = u16::try_from(NEXT_HOPS_MAX - 1).unwrap_or(u16::MAX);
        Self {
            by_value: HashMap::new(),
            held: BTreeMap::new(),
            leaving: VecDeque::new(),
            free: (1..=last).collect(),
        }
    }
}

/// The table entry of a next hop.
pub(crate) fn value(next_hop: &NextHop) -> NextHopValue {
    NextHopValue {
        ifindex: next_hop.ifindex,
        // The plain path pushes no tag: to it nothing fits, so such packets go on to the step that does.
        plain_mtu: if next_hop.vlan.is_some() { 0 } else { next_hop.mtu },
        vlan: next_hop.vlan.unwrap_or(0),
        macs: NextHopValue::macs(next_hop.destination_mac, next_hop.source_mac),
        mtu: next_hop.mtu,
        zero: 0,
    }
}

/// The four entries of a backend whose next hops have `ids`, chosen by two bits of a flow's hash. Three next hops cannot
/// share four entries evenly, so which of them has two depends on the backend. Those beyond the fourth are left out.
pub(crate) fn slots(ids: &[u16], backend: u32) -> [u16; NEXT_HOPS_PER_BACKEND] {
    match *ids {
        [] => [0; 4],
        [a] => [a; 4],
        [a, b] => [a, b, a, b],
        [a, b, c] => [a, b, c, [a, b, c][backend as usize % 3]],
        [a, b, c, d, ..] => [a, b, c, d],
    }
}

impl NextHopIds {
    /// Takes over an entry that a former process left.
    pub(crate) fn adopt(&mut self, id: u16, value: NextHopValue) {
        self.free.remove(&id);
        self.by_value.insert(value, id);
        self.held.insert(id, (value, None));
    }

    /// The id of `value`, a new one if need be. The flag tells whether the entry must be written.
    ///
    /// # Errors
    /// [`TooMany`].
    pub(crate) fn want(&mut self, value: NextHopValue, now: Instant) -> Result<(u16, bool), TooMany> {
        self.expire(|until| until <= now);
        if let Some(&id) = self.by_value.get(&value) {
            self.held.insert(id, (value, None));
            return Ok((id, false));
        }
        let id = self.free.pop_first().ok_or(TooMany)?;
        self.by_value.insert(value, id);
        self.held.insert(id, (value, None));
        Ok((id, true))
    }

    /// Lets go of every entry that is not `wanted`.
    pub(crate) fn retain(&mut self, wanted: impl Fn(u16) -> bool, now: Instant) {
        let until = now + GRACE;
        for (id, (_, in_grace)) in &mut self.held {
            if !wanted(*id) && in_grace.is_none() {
                *in_grace = Some(until);
                self.leaving.push_back((until, *id));
            }
        }
    }

    /// Ends every grace time: the caller knows that no packet reads by an entry that was let go of.
    pub(crate) fn end_grace(&mut self) {
        self.expire(|_| true);
    }

    /// Frees the entries whose grace has ended.
    fn expire(&mut self, is_over: impl Fn(Instant) -> bool) {
        while let Some(&(until, id)) = self.leaving.front().filter(|(until, _)| is_over(*until)) {
            self.leaving.pop_front();
            // Wanted again meanwhile, it is in use, or in another grace that ends later.
            if self.held.get(&id).is_some_and(|(_, in_grace)| *in_grace == Some(until))
                && let Some((value, _)) = self.held.remove(&id)
            {
                // Two entries of one value may have been adopted; the other is found by it then.
                if self.by_value.get(&value) == Some(&id) {
                    self.by_value.remove(&value);
                }
                self.free.insert(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(last: u8) -> NextHopValue {
        NextHopValue {
            ifindex: 3,
            mtu: 1500,
            macs: NextHopValue::macs([2, 0, 0, 0, 0, last], [2; 6]),
            ..Default::default()
        }
    }

    #[test]
    fn flows_are_spread_over_next_hops_as_evenly_as_four_entries_can() {
        assert_eq!(slots(&[], 1), [0; 4]);
        assert_eq!(slots(&[7], 1), [7; 4]);
        assert_eq!(slots(&[7, 8], 1), [7, 8, 7, 8]);
        assert_eq!(slots(&[7, 8, 9, 10], 1), [7, 8, 9, 10]);
        assert_eq!(slots(&[7, 8, 9, 10, 11], 1), [7, 8, 9, 10]);
        let of_three: Vec<u16> = (0..300).flat_map(|backend| slots(&[7, 8, 9], backend)).collect();
        for id in 7..=9 {
            assert_eq!(of_three.iter().filter(|slot| **slot == id).count(), 400);
        }
    }

    #[test]
    fn a_tag_keeps_frames_off_the_plain_path() {
        let untagged = NextHop {
            ifindex: 3,
            source_mac: [2; 6],
            destination_mac: [4; 6],
            mtu: 1500,
            vlan: None,
            is_on_link: false,
        };
        let tagged = value(&NextHop { vlan: Some(100), ..untagged });
        assert_eq!((tagged.plain_mtu, tagged.mtu, tagged.vlan), (0, 1500, 100));
        let plain = value(&untagged);
        assert_eq!((plain.plain_mtu, plain.mtu, plain.vlan), (1500, 1500, 0));
    }

    #[test]
    fn an_id_is_not_given_to_another_next_hop_before_its_grace_time() {
        let start = Instant::now();
        let mut ids = NextHopIds::default();
        assert_eq!(ids.want(hop(1), start), Ok((1, true)));
        assert_eq!(ids.want(hop(1), start), Ok((1, false)));
        ids.retain(|_| false, start);
        assert_eq!(ids.want(hop(2), start), Ok((2, true)), "1 is in grace");
        assert_eq!(ids.want(hop(1), start), Ok((1, false)), "and comes back as it was");
        ids.retain(|id| id == 2, start);
        assert_eq!(ids.want(hop(3), start + GRACE), Ok((1, true)));
    }

    #[test]
    fn a_churn_of_values_finds_the_table_full_only_while_packets_may_read_it() {
        let start = Instant::now();
        let mut ids = NextHopIds::default();
        let of = |number: u32| NextHopValue { ifindex: 1 + number, ..hop(1) };
        let keep = ids.want(of(0), start).unwrap().0;
        for number in 1..NEXT_HOPS_MAX - 1 {
            ids.want(of(number), start).unwrap();
        }
        ids.retain(|id| id == keep, start);
        assert_eq!(ids.want(of(99_999), start), Err(TooMany), "all the others are in grace");
        assert_eq!(ids.want(of(7), start), Ok((8, false)), "but this one is still there");
        ids.end_grace();
        assert_eq!(ids.want(of(99_999), start), Ok((2, true)), "1 is in use");
        assert_eq!(ids.want(of(7), start), Ok((8, false)), "wanted again, it was not in grace");
        assert_eq!(ids.want(of(0), start), Ok((keep, false)));
    }

    #[test]
    fn a_value_that_two_adopted_entries_have_outlives_one_of_them() {
        let start = Instant::now();
        let mut ids = NextHopIds::default();
        ids.adopt(5, hop(1));
        ids.adopt(9, hop(1));
        assert_eq!(ids.want(hop(1), start), Ok((9, false)));
        ids.retain(|id| id == 9, start);
        assert_eq!(ids.want(hop(1), start + GRACE), Ok((9, false)));
        assert_eq!(ids.want(hop(2), start + GRACE), Ok((1, true)));
    }
}
