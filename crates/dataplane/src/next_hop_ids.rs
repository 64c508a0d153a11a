// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ids of distinct next hops: pure bookkeeping. An entry is written once and reused only after a grace time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use weir_dataplane_core::NextHopValue;
use weir_dataplane_core::limits::{NEXT_HOPS_MAX, NEXT_HOPS_PER_BACKEND};

use crate::next_hop::NextHop;
use crate::regions::GRACE;

/// More distinct next hops than the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {NEXT_HOPS_MAX} distinct next hops")]
pub struct TooMany;

/// What lies in the next-hop table.
#[derive(Debug, Default)]
pub(crate) struct NextHopIds {
    held: BTreeMap<u16, (NextHopValue, Option<Instant>)>,
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
        self.held.insert(id, (value, None));
    }

    /// The id of `value`, a new one if need be. The flag tells whether the entry must be written.
    ///
    /// # Errors
    /// [`TooMany`].
    pub(crate) fn want(&mut self, value: NextHopValue, now: Instant) -> Result<(u16, bool), TooMany> {
        self.held.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        for (id, (held, until)) in &mut self.held {
            if *held == value {
                *until = None;
                return Ok((*id, false));
            }
        }
        let last = u16::try_from(NEXT_HOPS_MAX - 1).unwrap_or(u16::MAX);
        let id = (1..=last).find(|id| !self.held.contains_key(id)).ok_or(TooMany)?;
        self.held.insert(id, (value, None));
        Ok((id, true))
    }

    /// Lets go of every entry that `wanted` does not hold.
    pub(crate) fn retain(&mut self, wanted: &BTreeSet<u16>, now: Instant) {
        for (id, (_, until)) in &mut self.held {
            if !wanted.contains(id) && until.is_none() {
                *until = Some(now + GRACE);
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
        ids.retain(&BTreeSet::new(), start);
        assert_eq!(ids.want(hop(2), start), Ok((2, true)), "1 is in grace");
        assert_eq!(ids.want(hop(1), start), Ok((1, false)), "and comes back as it was");
        ids.retain(&BTreeSet::from([2]), start);
        assert_eq!(ids.want(hop(3), start + GRACE), Ok((1, true)));
    }
}
