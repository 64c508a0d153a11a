// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the direct-mapped slots in front of the service table shall hold: pure.

use std::collections::{BTreeMap, HashMap};

use weir_dataplane_core::bytes::{ServiceSlot, SlotControl};
use weir_dataplane_core::limits::SERVICE_SLOTS;
use weir_dataplane_core::{ServiceKey, ServiceValue};

/// The slots for these services and markers, all [`SERVICE_SLOTS`] of them. Where several keys meet, the slot holds the
/// service with the lowest id and leaves the others to the map.
pub(crate) fn slots(services: &HashMap<ServiceKey, ServiceValue>) -> Vec<ServiceSlot> {
    let mut by_slot: BTreeMap<u32, Vec<(&ServiceKey, &ServiceValue)>> = BTreeMap::new();
    for (key, value) in services {
        by_slot.entry(key.slot()).or_default().push((key, value));
    }
    let empty = ServiceSlot { control: SlotControl::ALONE, ..ServiceSlot::default() };
    let mut slots = vec![empty; SERVICE_SLOTS as usize];
    for (index, mut keys) in by_slot {
        // Markers after services; the address makes the choice the same in every process.
        keys.sort_by_key(|(key, value)| (key.is_marker(), value.id, key.address.0));
        let (key, value) = keys[0];
        let alone = if keys.len() == 1 { SlotControl::ALONE } else { 0 };
        let control = SlotControl::HOLDS | alone;
        slots[index as usize] = ServiceSlot { control, key: *key, value: *value, ..ServiceSlot::default() };
    }
    slots
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use weir_dataplane_core::Protocol;

    /// As the program answers, with the map behind the slots.
    fn answer(
        slots: &[ServiceSlot],
        map: &HashMap<ServiceKey, ServiceValue>,
        key: &ServiceKey,
    ) -> Option<ServiceValue> {
        let slot = &slots[key.slot() as usize];
        if slot.control & SlotControl::HOLDS != 0 && slot.key == *key {
            Some(slot.value)
        } else if slot.control & SlotControl::ALONE != 0 {
            None
        } else {
            map.get(key).copied()
        }
    }

    #[test]
    fn slots_answer_as_the_map_does_however_many_keys_meet() {
        for services in [0_u32, 1, 300, 40_000] {
            let key = |n: u32| {
                ServiceKey::new(
                    Ipv4Addr::from(0xc633_6400 + n / 3).into(),
                    Protocol::Tcp,
                    80 + (n % 3) as u16,
                )
            };
            let mut map: HashMap<_, _> =
                (0..services).map(|n| (key(n), ServiceValue { id: n, ..ServiceValue::default() })).collect();
            for n in 0..services {
                map.insert(ServiceKey::marker(key(n).address), ServiceValue::default());
            }
            let slots = slots(&map);
            for n in 0..services + 1_000 {
                for key in [key(n), ServiceKey::marker(key(n).address)] {
                    assert_eq!(
                        answer(&slots, &map, &key),
                        map.get(&key).copied(),
                        "{services} services, key {n}"
                    );
                }
            }
            let alone = slots.iter().filter(|slot| slot.control & SlotControl::ALONE != 0).count();
            if services <= 300 {
                assert!(alone > slots.len() - 20, "{alone} of {} answer alone", slots.len());
            }
        }
    }
}
