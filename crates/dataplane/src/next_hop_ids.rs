// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ids of distinct next hops: pure bookkeeping. An entry is written once and reused only after a grace time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use weir_dataplane_core::NextHopValue;
use weir_dataplane_core::limits::NEXT_HOPS_MAX;

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

/// The table entry of a next hop, or `None` if this layout cannot express it (a VLAN tag).
pub(crate) fn value(next_hop: &NextHop) -> Option<NextHopValue> {
    if next_hop.vlan.is_some() {
        return None;
    }
    Some(NextHopValue {
        ifindex: next_hop.ifindex,
        plain_mtu: next_hop.mtu,
        vlan: 0,
        macs: NextHopValue::macs(next_hop.destination_mac, next_hop.source_mac),
        mtu: next_hop.mtu,
        zero: 0,
    })
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
