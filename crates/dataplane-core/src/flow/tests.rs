// SPDX-License-Identifier: Apache-2.0 OR MIT
//! States as data, ages around the wrap, victims against a plain model, and what no flood may do.

use core::cell::Cell;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

struct Memory([Cell<u64>; SLOTS_PER_SET]);

impl Memory {
    fn of(slots: [u64; SLOTS_PER_SET]) -> Self {
        Self(slots.map(Cell::new))
    }
}

impl Slots for Memory {
    fn load(&self, index: usize) -> u64 {
        self.0[index].get()
    }

    fn swap(&self, index: usize, old: u64, new: u64) -> bool {
        let same = self.0[index].get() == old;
        if same {
            self.0[index].set(new);
        }
        same
    }
}

const IDLE: Idle = Idle::new(300, 30);
const OPENS: Kind = Kind::OPENS;
const DATA: Kind = Kind::GOES_ON;
const ENDS: Kind = Kind::ENDS;

#[test]
fn fields_do_not_touch_each_other() {
    let slot = Slot::new(u64::MAX, 4, TICK_MASK, 0xffff);
    assert_eq!((slot.state(), slot.tick(), slot.backend()), (4, TICK_MASK, 0xffff));
    assert!(slot.has_tag_of(u64::MAX));
    let slot = Slot::new(1 << 33, 1, 0, 0);
    assert_eq!((slot.state(), slot.tick(), slot.backend()), (1, 0, 0));
    assert!(slot.has_tag_of(1 << 33 | 0x1_ffff_ffff), "only the tag counts");
    assert!(!slot.has_tag_of(1 << 34));
}

#[test]
fn transition_table() {
    use state::*;
    let table = [
        (NEW_UNANSWERED, OPENS, NEW_UNANSWERED),
        (NEW_UNANSWERED, DATA, NEW_ANSWERED),
        (NEW_UNANSWERED, ENDS, CLOSING),
        (NEW_ANSWERED, OPENS, NEW_ANSWERED),
        (NEW_ANSWERED, DATA, ESTABLISHED),
        (NEW_ANSWERED, ENDS, CLOSING),
        (ESTABLISHED, OPENS, ESTABLISHED),
        (ESTABLISHED, DATA, ESTABLISHED),
        (ESTABLISHED, ENDS, CLOSING),
        (CLOSING, OPENS, NEW_UNANSWERED),
        (CLOSING, DATA, CLOSING),
        (CLOSING, ENDS, CLOSING),
    ];
    for (before, kind, after) in table {
        let slot = Slot::new(7 << 40, before, 5, 9).touched(kind, 5 + REFRESH);
        assert_eq!(
            (slot.state(), slot.tick(), slot.backend()),
            (after, 5 + REFRESH, 9),
            "{before} on {kind:?}"
        );
        assert!(slot.has_tag_of(7 << 40));
    }
    assert_eq!((first_state(OPENS), first_state(DATA)), (NEW_UNANSWERED, NEW_ANSWERED));
}

#[test]
fn a_slot_expires_after_the_idle_time_of_its_state_and_not_before() {
    for (st, limit) in [
        (state::ESTABLISHED, 300),
        (state::NEW_ANSWERED, 30),
        (state::NEW_UNANSWERED, 30),
        (state::CLOSING, CLOSING_IDLE_S),
    ] {
        for written in [0, 5, 8_000, TICK_MASK - 3, TICK_MASK] {
            let slot = Slot::new(1 << 40, st, written, 1);
            for (later, expired) in [
                (0, false),
                (limit + REFRESH, false),
                (limit + REFRESH + 1, true),
                (TICK_MASK - TICK_SKEW, true),
            ] {
                let now = (written + later) & TICK_MASK;
                assert_eq!(slot.is_expired(now, IDLE), expired, "state {st} written {written} after {later}");
            }
            // Another CPU's clock may be behind the one that wrote.
            for behind in [1, TICK_SKEW - 1, TICK_SKEW] {
                assert!(
                    !slot.is_expired(written.wrapping_sub(behind) & TICK_MASK, IDLE),
                    "{behind} ticks behind"
                );
            }
        }
    }
    assert!(!Slot::EMPTY.is_expired(0, IDLE) && !Slot::EMPTY.is_expired(TICK_MASK, IDLE));
}

#[test]
fn flags_of_tcp() {
    for flags in 0..=255_u8 {
        let (fin, syn, rst, ack) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0, flags & 16 != 0);
        let kind = Kind::of_tcp(flags);
        assert_eq!(kind.opens(), syn && !ack && !fin && !rst, "{flags:#x}");
        assert_eq!(kind.ends(), fin || rst, "{flags:#x}");
    }
}

#[test]
fn a_settled_flow_is_written_once_in_a_while_only() {
    for written in [0, 100, TICK_MASK - 2] {
        let at = |later: u16| (written + later) & TICK_MASK;
        let slot = Slot::new(1 << 40, state::ESTABLISHED, written, 1);
        for later in 0..REFRESH {
            assert!(slot.is_settled(at(later)));
            assert_eq!(slot.touched(DATA, at(later)), slot);
            assert_eq!(slot.touched(ENDS, at(later)).state(), state::CLOSING, "an end is never put off");
        }
        assert!(!slot.is_settled(at(REFRESH)));
        assert_eq!(slot.touched(DATA, at(REFRESH)).tick(), at(REFRESH));
        assert!(!Slot::new(1 << 40, state::NEW_ANSWERED, written, 1).is_settled(written));
    }
}

/// A flow whose tag is 0 is found behind an empty slot, and an empty slot is never found.
#[test]
fn tag_zero_is_a_tag_like_others() {
    let mut slots = [0; SLOTS_PER_SET];
    assert_eq!(find(&Memory::of(slots), 5).1, Slot::EMPTY);
    slots[3] = Slot::new(5, state::ESTABLISHED, 0, 9).0;
    assert_eq!(find(&Memory::of(slots), 5), (3, Slot(slots[3])));
}

/// The rule of DESIGN §5.2 in plain words: empty, expired, closing, oldest new, nothing else.
fn plain_victim(slots: &[u64; SLOTS_PER_SET], hash: u64, now: u16) -> Option<usize> {
    // Nearest to the preferred slot first.
    let mut all: Vec<(usize, Slot)> = slots.iter().map(|&s| Slot(s)).enumerate().collect();
    all.sort_by_key(|(i, _)| i ^ preferred(hash));
    let first = |f: &dyn Fn(&Slot) -> bool| all.iter().find(|(_, s)| f(s)).map(|(i, _)| *i);
    let is_new = |s: &Slot| [state::NEW_ANSWERED, state::NEW_UNANSWERED].contains(&s.state());
    let age = |s: &Slot| (now.wrapping_sub(s.tick()).wrapping_add(TICK_SKEW)) & TICK_MASK;
    // `max_by_key` takes the last of equals, so go from the farthest to the nearest.
    let oldest = |f: &dyn Fn(&Slot) -> bool| {
        all.iter().rev().filter(|(_, s)| f(s)).max_by_key(|(_, s)| age(s)).map(|(i, _)| *i)
    };
    let expired = |s: &Slot| s.is_expired(now, IDLE);
    first(&|s| s.state() == state::EMPTY)
        .or_else(|| first(&|s| expired(s) && s.state() == state::CLOSING))
        .or_else(|| oldest(&|s| expired(s) && is_new(s)))
        .or_else(|| first(&expired))
        .or_else(|| first(&|s| s.state() == state::CLOSING))
        .or_else(|| oldest(&is_new))
}

fn any_slot() -> impl Strategy<Value = u64> {
    (0_u64..4, 0_u8..5, prop_oneof![0_u16..64, 0..=TICK_MASK], 0_u16..9).prop_map(|(tag, st, tick, id)| {
        if st == state::EMPTY { 0 } else { Slot::new((tag + 1) << 33, st, tick, id).0 }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_victim_is_the_one_the_rule_names(
        slots in proptest::array::uniform8(any_slot()), tag in 1_u64..6, now in prop_oneof![0_u16..64, 0..=TICK_MASK],
        likely in 0_u64..8,
    ) {
        let hash = tag << 33 | likely << 30;
        let found = victim(&Memory::of(slots), hash, now, IDLE).map(|(index, slot)| {
            assert_eq!(slot.0, slots[index]);
            index
        });
        prop_assert_eq!(found, plain_victim(&slots, hash, now));
    }

    #[test]
    fn the_flow_is_found_wherever_it_lies(
        mut slots in proptest::array::uniform8(any_slot()), at in 0_usize..8, now in 0..=TICK_MASK, likely in 0_u64..8,
    ) {
        let hash = 77 << 33 | likely << 30 | 5;
        slots[at] = Slot::new(hash, state::ESTABLISHED, now, 3).0;
        prop_assert_eq!(find(&Memory::of(slots), hash), (at, Slot(slots[at])));
    }
}
