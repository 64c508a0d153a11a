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

/// A slot whose state stays the same is written again only when its age has reached this many ticks: a locked write for each
/// flow and second would keep the CPU from overlapping one packet's cache miss with the next one's (measured: at 131,072
/// flows it cost as much as the miss). A flow so lives up to this much longer than its idle time, never shorter.
pub const REFRESH: u16 = 8;
/// Ticks are 14 bits wide.
pub const TICK_MASK: u16 = 0x3fff;
const TAG_SHIFT: u32 = 33;
const STATE_SHIFT: u32 = 30;
const AGE_SHIFT: u32 = 16;

/// What the flow table must know of a packet: whether it opens or ends a connection.
///
/// The TCP flags as they are, judged where they are needed; a packet of another protocol counts as a plain ACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(u8);

impl Kind {
    /// A TCP SYN.
    pub const OPENS: Self = Self(Self::SYN);
    /// A TCP FIN or RST.
    pub const ENDS: Self = Self(Self::FIN | Self::ACK);
    /// Anything else.
    pub const GOES_ON: Self = Self(Self::ACK);
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;

    /// Kind of a TCP segment with these flags (RFC 9293 §3.1, the octet with CWR to FIN).
    #[inline(always)]
    pub const fn of_tcp(flags: u8) -> Self {
        Self(flags)
    }

    /// The flags.
    #[inline(always)]
    pub const fn flags(self) -> u8 {
        self.0
    }

    /// SYN without ACK, FIN or RST.
    #[inline(always)]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::FIN | Self::RST) == Self::SYN
    }

    /// What the packet is to a slot that several connections share: the end of one is only another packet.
    #[inline(always)]
    pub const fn of_shared(self) -> Self {
        if self.ends() { Self::GOES_ON } else { self }
    }

    /// FIN or RST.
    #[inline(always)]
    pub const fn ends(self) -> bool {
        self.0 & (Self::FIN | Self::RST) != 0
    }
}

/// Idle times in ticks, packed by state so that a lookup needs no branch: the search over eight slots is straight-line
/// code, which the verifier walks once (with branches it met a million instructions, kernel 6.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle(u64);

impl Idle {
    /// `established`: of an established flow; `new`: of one that is not established yet.
    pub const fn new(established: u16, new: u16) -> Self {
        Self((established as u64) << 48 | (new as u64) << 32 | (new as u64) << 16 | CLOSING_IDLE_S as u64)
    }

    /// As it lies in a service's record.
    #[inline(always)]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// As it lies in a service's record: [`CLOSING_IDLE_S`], new, new, established, 16 bits each from the lowest.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Idle time of an established flow in ticks.
    pub const fn established(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// Of a slot in `state`; *closing* has the place that *empty* needs none of.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "one field of the packed word is wanted")]
    const fn limit(self, state: u8) -> u32 {
        (self.0 >> (16 * (state & 3) as u32)) as u32 & 0xffff
    }
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

    /// Whether the tag is that of `hash`. An empty slot has tag 0.
    #[inline(always)]
    pub const fn has_tag_of(self, hash: u64) -> bool {
        (self.0 ^ hash) >> TAG_SHIFT == 0
    }

    /// State bits, see [`state`].
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "masked to 3 bits")]
    pub const fn state(self) -> u8 {
        (self.0 >> STATE_SHIFT) as u8 & 7
    }

    /// Tick of the last packet.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "masked to 14 bits")]
    pub const fn tick(self) -> u16 {
        (self.0 >> AGE_SHIFT) as u16 & TICK_MASK
    }

    /// The slot as if its last packet had come at `tick`, of which the low 14 bits count.
    pub const fn seen_at(self, tick: u16) -> Self {
        Self(self.0 & !((TICK_MASK as u64) << AGE_SHIFT) | ((tick & TICK_MASK) as u64) << AGE_SHIFT)
    }

    /// Backend id.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are the id")]
    pub const fn backend(self) -> u16 {
        self.0 as u16
    }

    /// Ticks since the last packet, plus [`TICK_SKEW`]. CPUs read the clock at slightly different times; a slot "from the
    /// future" so comes out below the skew instead of as long dead.
    #[inline(always)]
    const fn skewed_age(self, now: u16) -> u32 {
        (now.wrapping_sub(self.tick()).wrapping_add(TICK_SKEW) & TICK_MASK) as u32
    }

    /// 1 if it has outlived the idle time of its state (and [`REFRESH`]), else 0; any of the two for an empty slot.
    #[inline(always)]
    const fn expired(self, now: u16, idle: Idle) -> u32 {
        (idle.limit(self.state()) + (TICK_SKEW + REFRESH) as u32).wrapping_sub(self.skewed_age(now)) >> 31
    }

    /// Whether it has outlived the idle time of its state. False for an empty slot.
    #[inline(always)]
    pub const fn is_expired(self, now: u16, idle: Idle) -> bool {
        self.state() != state::EMPTY && self.expired(now, idle) != 0
    }

    /// Whether it is an established flow that was heard of within [`REFRESH`]: it is live, and a packet that does not end it
    /// leaves it as it is.
    #[inline(always)]
    pub const fn is_settled(self, now: u16) -> bool {
        self.state() == state::ESTABLISHED && self.skewed_age(now) < (TICK_SKEW + REFRESH) as u32
    }

    /// What the slot becomes when another packet of its flow arrives and goes to the same backend.
    #[inline(always)]
    pub const fn touched(self, kind: Kind, now: u16) -> Self {
        let next = if kind.ends() {
            state::CLOSING
        } else if kind.opens() {
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
        if next == self.state() && self.skewed_age(now) < (TICK_SKEW + REFRESH) as u32 {
            return self;
        }
        const CLEAR: u64 = !(7 << STATE_SHIFT | (TICK_MASK as u64) << AGE_SHIFT);
        Self(self.0 & CLEAR | (next as u64) << STATE_SHIFT | (now as u64) << AGE_SHIFT)
    }
}

/// State in which a flow is first remembered.
#[inline(always)]
pub const fn first_state(kind: Kind) -> u8 {
    if kind.opens() { state::NEW_UNANSWERED } else { state::NEW_ANSWERED }
}

/// The slot that a flow takes if it may: bits of the hash between set index and tag. In a table with room most flows lie
/// there, so that the first look finds them, which the CPU can predict; which of eight slots matches it cannot.
#[inline(always)]
const fn preferred(hash: u64) -> usize {
    const PREFERRED_SHIFT: u32 = 30;
    (hash >> PREFERRED_SHIFT) as usize & (SLOTS_PER_SET - 1)
}

/// The slot of `hash` in its set, [`Slot::EMPTY`] if it has none; whether it has expired is for the caller to ask.
///
/// Not an `Option`: in the kernel the register of a slot that is not there would be spilled unwritten (6.18: `!read_ok`).
#[inline(always)]
pub fn find<S: Slots>(slots: &S, hash: u64) -> (usize, Slot) {
    let likely = preferred(hash);
    let slot = Slot(slots.load(likely));
    if slot.has_tag_of(hash) && slot.state() != state::EMPTY { (likely, slot) } else { search(slots, hash) }
}

/// The first slot with the tag of `hash`.
#[inline(always)]
fn search<S: Slots>(slots: &S, hash: u64) -> (usize, Slot) {
    let mut index = 0;
    while index < SLOTS_PER_SET {
        let slot = Slot(slots.load(index));
        if slot.has_tag_of(hash) && slot.state() != state::EMPTY {
            return (slots.launder(index, hash), slot);
        }
        index += 1;
    }
    (0, Slot::EMPTY)
}

/// The slot that a flow without one may take: an empty, an expired or a closing one, else the oldest that is not
/// established yet; among equals the `preferred` one or the next to it. `None`: all are established and live, and stay.
#[inline(always)]
pub fn victim<S: Slots>(slots: &S, hash: u64, now: u16, idle: Idle) -> Option<(usize, Slot)> {
    let likely = preferred(hash);
    // In a table with room it mostly is; ranking all eight costs as much as the rest of the packet's way.
    if slots.load(likely) == Slot::EMPTY.0 {
        return Some((likely, Slot::EMPTY));
    }
    let mut best = 0;
    let mut index = 0;
    while index < SLOTS_PER_SET {
        let rank = preference(Slot(slots.load(index)), now, idle);
        let nearness = SLOTS_PER_SET - 1 - (index ^ likely);
        best = slots.larger(best, (rank << 3) as u64 | nearness as u64);
        index += 1;
    }
    if best >> 3 == 0 {
        return None;
    }
    let index = (SLOTS_PER_SET - 1 - (best & 7) as usize) ^ likely;
    // Loaded again: should it have changed meanwhile, it must still be one that may go.
    let slot = Slot(slots.load(index));
    if preference(slot, now, idle) == 0 { None } else { Some((index, slot)) }
}

/// How gladly a slot is given up; 0 = never. Among the expired, and among *new*, the longer silent goes first. Without
/// branches, see [`Idle`].
#[inline(always)]
const fn preference(slot: Slot, now: u16, idle: Idle) -> u32 {
    /// Class by state, four bits each: empty 8, closing 2, new 1, established 0. 4 more if it has expired.
    const CLASSES: u32 = 0x2_0118;
    const EXPIRED_SHIFT: u32 = 17;
    const CLASS_SHIFT: u32 = 15;
    let class = CLASSES >> (4 * slot.state() as u32) & 0xf;
    (class << CLASS_SHIFT) | slot.expired(now, idle) << EXPIRED_SHIFT | (slot.skewed_age(now) * (class & 1))
}

#[cfg(test)]
mod tests;
