// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Flow slots: layout, states, ages, and which slot a new flow may take (DESIGN §5.2).
//!
//! ```text
//!  63          33 32  30 29      16 15         0
//! |  tag 31      | st 3 |  age 14  | backend 16 |      one u64; 0 = empty
//! ```
//!
//! ```text
//!            SYN                 non-SYN             non-SYN
//! (nothing) ─────► NEW_UNANSWERED ─────► NEW_ANSWERED ─────► ESTABLISHED
//!     └────────────── non-SYN ──────────────▲                    │
//!                        any of them ── FIN, RST ──► CLOSING ◄───┘     SYN on CLOSING: NEW_UNANSWERED
//! ```
//!
//! All CPUs share the slots without locks: a read is one load, every write one compare-exchange against the value the
//! decision was made from, so a promotion is never overwritten by somebody who had not seen it.

use crate::limits::{CLOSING_IDLE_S, SLOTS_PER_SET, TICK_SKEW};
use crate::tables::Slots;

/// State bits of a slot. Numbers are part of the layout.
pub mod state {
    /// Nothing there.
    pub const EMPTY: u8 = 0;
    /// Only a SYN was seen.
    pub const NEW_UNANSWERED: u8 = 1;
    /// One packet that is not a SYN was seen.
    pub const NEW_ANSWERED: u8 = 2;
    /// Two or more packets that are not a SYN were seen.
    pub const ESTABLISHED: u8 = 3;
    /// FIN or RST was seen.
    pub const CLOSING: u8 = 4;
}

/// Ticks are 14 bits wide.
pub const TICK_MASK: u16 = 0x3fff;
const TAG_SHIFT: u32 = 33;
const STATE_SHIFT: u32 = 30;
const AGE_SHIFT: u32 = 16;

/// What the flow table must know of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// TCP SYN without ACK, FIN or RST: opens a connection.
    pub opens: bool,
    /// TCP FIN or RST: ends one.
    pub ends: bool,
}

/// Idle times in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// Of an established flow.
    pub established: u16,
    /// Of a flow that is not established yet.
    pub new: u16,
}

/// One slot's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub u64);

impl Slot {
    /// Nothing.
    pub const EMPTY: Self = Self(0);

    /// A slot of the flow with `hash`. `now` has 14 bits.
    #[inline(always)]
    pub const fn new(hash: u64, state: u8, now: u16, backend: u16) -> Self {
        Self(
            (hash >> TAG_SHIFT) << TAG_SHIFT
                | (state as u64) << STATE_SHIFT
                | (now as u64) << AGE_SHIFT
                | backend as u64,
        )
    }

    /// Whether the tag is that of `hash`. Says nothing for an empty slot.
    #[inline(always)]
    pub const fn has_tag_of(self, hash: u64) -> bool {
        (self.0 ^ hash) >> TAG_SHIFT == 0
    }

    /// State bits, see [`state`].
    #[inline(always)]
    pub const fn state(self) -> u8 {
        (self.0 >> STATE_SHIFT) as u8 & 7
    }

    /// Tick of the last packet.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "masked to 14 bits")]
    pub const fn tick(self) -> u16 {
        (self.0 >> AGE_SHIFT) as u16 & TICK_MASK
    }

    /// Backend id.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are the id")]
    pub const fn backend(self) -> u16 {
        self.0 as u16
    }

    /// Ticks since the last packet. CPUs read the clock at slightly different times, so an age just below the wrap is a
    /// slot "from the future" and counts as zero; otherwise a live flow could look long dead.
    #[inline(always)]
    pub const fn age(self, now: u16) -> u16 {
        let age = now.wrapping_sub(self.tick()) & TICK_MASK;
        if age > TICK_MASK - TICK_SKEW { 0 } else { age }
    }

    /// Whether it has outlived the idle time of its state. False for an empty slot.
    #[inline(always)]
    pub const fn is_expired(self, now: u16, idle: Idle) -> bool {
        let limit = match self.state() {
            state::EMPTY => return false,
            state::ESTABLISHED => idle.established,
            state::CLOSING => CLOSING_IDLE_S,
            _ => idle.new,
        };
        self.age(now) > limit
    }

    /// What the slot becomes when another packet of its flow arrives and goes to the same backend.
    #[inline(always)]
    pub const fn touched(self, kind: Kind, now: u16) -> Self {
        let next = if kind.ends {
            state::CLOSING
        } else if kind.opens {
            // A SYN alone never makes a live flow evictable; it revives one that was ending.
            match self.state() {
                state::CLOSING => state::NEW_UNANSWERED,
                other => other,
            }
        } else {
            match self.state() {
                state::NEW_UNANSWERED => state::NEW_ANSWERED,
                state::NEW_ANSWERED => state::ESTABLISHED,
                other => other,
            }
        };
        const CLEAR: u64 = !(7 << STATE_SHIFT | (TICK_MASK as u64) << AGE_SHIFT);
        Self(self.0 & CLEAR | (next as u64) << STATE_SHIFT | (now as u64) << AGE_SHIFT)
    }
}

/// State in which a flow is first remembered.
#[inline(always)]
pub const fn first_state(kind: Kind) -> u8 {
    if kind.opens { state::NEW_UNANSWERED } else { state::NEW_ANSWERED }
}

/// The live slot of `hash` in its set.
#[inline(always)]
pub fn find<S: Slots>(slots: &S, hash: u64, now: u16, idle: Idle) -> Option<(usize, Slot)> {
    let mut index = 0;
    while index < SLOTS_PER_SET {
        let slot = Slot(slots.load(index));
        if slot.has_tag_of(hash) && slot.state() != state::EMPTY {
            // An expired match is no match, but its slot is the first to be taken.
            return if slot.is_expired(now, idle) { None } else { Some((index, slot)) };
        }
        index += 1;
    }
    None
}

/// The slot that a new flow may take: an expired one of its own tag, else the first empty, expired or closing one, else
/// the oldest that is not established yet. `None`: all are established and live, and stay.
#[inline(always)]
pub fn victim<S: Slots>(slots: &S, hash: u64, now: u16, idle: Idle) -> Option<(usize, Slot)> {
    let mut best = 0_u32;
    let mut chosen = (0, Slot::EMPTY);
    let mut index = 0;
    while index < SLOTS_PER_SET {
        let slot = Slot(slots.load(index));
        let rank = preference(slot, hash, now, idle);
        if rank > best {
            best = rank;
            chosen = (index, slot);
        }
        index += 1;
    }
    if best == 0 { None } else { Some(chosen) }
}

/// How gladly a slot is given up; 0 = never. Within *new* the older goes first.
#[inline(always)]
const fn preference(slot: Slot, hash: u64, now: u16, idle: Idle) -> u32 {
    const CLASS: u32 = 1 << 16;
    let st = slot.state();
    if st == state::EMPTY {
        return 4 * CLASS;
    }
    if slot.is_expired(now, idle) {
        return if slot.has_tag_of(hash) { 5 * CLASS } else { 3 * CLASS };
    }
    match st {
        state::CLOSING => 2 * CLASS,
        state::NEW_UNANSWERED | state::NEW_ANSWERED => CLASS + slot.age(now) as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
