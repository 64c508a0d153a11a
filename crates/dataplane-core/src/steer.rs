// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which backend a packet goes to: flow table, else row.

use crate::bytes::{BackendFlags, BackendValue, PoolValue, ServiceFlags, ServiceValue, budget};
use crate::flow::{self, Idle, Kind, Slot, first_state, state};
use crate::hash::{self, row_index};
use crate::parse::Segment;
use crate::row::Row;
use crate::tables::{Slots, Tables};
use crate::verdict::Verdict;

/// Attempts at a slot that another CPU changed meanwhile. Slots of one flow change about once a second, so a second
/// attempt is rare and need of a third means that many packets of one flow are in flight; one of them has done the work.
const ATTEMPTS: usize = 2;

/// A backend for the packet.
#[derive(Clone, Copy)]
pub struct Decision<'t> {
    /// Its id.
    pub id: u16,
    /// Its record.
    pub backend: &'t BackendValue,
    /// How it was chosen.
    pub verdict: Verdict,
}

/// A way to choose backends: the appliance's, and the one the bench compares it with.
pub trait Steer {
    /// The backend for `segment`, and the flow's hash.
    ///
    /// # Errors
    /// The verdict to drop with.
    fn steer<'t, T: Tables, const V6: bool>(
        tables: &'t T,
        service: &ServiceValue,
        segment: &Segment,
    ) -> Result<(Decision<'t>, u64), Verdict>;
}

/// Flow table, else row.
pub struct FlowTable;

impl Steer for FlowTable {
    #[inline(always)]
    fn steer<'t, T: Tables, const V6: bool>(
        tables: &'t T,
        service: &ServiceValue,
        segment: &Segment,
    ) -> Result<(Decision<'t>, u64), Verdict> {
        let hash = flow_hash::<T, V6>(tables, segment);
        Ok((steer(tables, service, hash, segment.kind)?, hash))
    }
}

/// The keyed hash of a packet's flow.
#[inline(always)]
pub fn flow_hash<T: Tables, const V6: bool>(tables: &T, segment: &Segment) -> u64 {
    let (s, d) = (&segment.source, &segment.destination);
    if V6 {
        hash::flow_v6(&tables.key_v6(), s, d, segment.ports_be, segment.protocol)
    } else {
        hash::flow_v4(&tables.key_v4(), s.0[3], d.0[3], segment.ports_be, segment.protocol)
    }
}

/// What a packet is to the slot of the flow table that its hash leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The slot is its flow's alone.
    Own,
    /// The slot is that of all flows with one reduced tuple (affinity, or fragments by source).
    ///
    /// One connection's SYN or FIN says nothing about the others: an end only refreshes the slot, and a SYN goes where the
    /// slot says as long as that backend still takes what comes late, a draining one too; only a failed one loses the slot.
    /// Otherwise the SYN of a client's next connection would carry its open ones over to another backend, which drain is
    /// there to avoid. The slot goes when nothing was heard of the client for the idle time.
    Shared,
    /// It is no packet of the flow, but tells something about it: it goes where the flow goes, and the slot stays as it is.
    Told,
}

/// Chooses the backend for a packet of `service` with flow hash `hash`, and remembers the choice.
///
/// # Errors
/// The verdict to drop with, when no candidate of the row may receive the packet or none has a next hop.
#[inline(always)]
pub fn steer<'t, T: Tables>(
    tables: &'t T,
    service: &ServiceValue,
    hash: u64,
    kind: Kind,
) -> Result<Decision<'t>, Verdict> {
    steer_as(tables, service, Hashes { row: hash, slot: hash }, kind, Part::Own)
}

/// What a packet's row and slot are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashes {
    /// Chooses the row: the same on every appliance.
    pub row: u64,
    /// Chooses the set and tags the slot of the flow table; mostly the same.
    pub slot: u64,
}

/// As [`steer`], for hashes that other flows may have as well.
///
/// # Errors
/// As [`steer`].
#[inline(always)]
pub fn steer_as<'t, T: Tables>(
    tables: &'t T,
    service: &ServiceValue,
    Hashes { row, slot: hash }: Hashes,
    kind: Kind,
    part: Part,
) -> Result<Decision<'t>, Verdict> {
    let is_stateless = service.flags & ServiceFlags::STATELESS != 0;
    let idle = Idle::from_raw(service.idle);
    let slots = if is_stateless { None } else { tables.flow_set(hash) };
    let mut now = 0;
    // The flow's own slot; empty when it has none.
    let mut own = (0, Slot::EMPTY);
    if let Some(slots) = &slots {
        now = tables.tick();
        own = flow::find(slots, hash);
        let (index, slot) = own;
        // A look that most packets end at comes first.
        let is_settled = slot.is_settled(now);
        if slot != Slot::EMPTY
            && (is_settled || !slot.is_expired(now, idle))
            && let Some(backend) = keeps(tables, service, slot, kind, part)
        {
            let kind = if part == Part::Shared { kind.of_shared() } else { kind };
            if part != Part::Told && (kind.ends() || !is_settled) {
                touch(slots, index, slot, kind, now);
            }
            let verdict = if part == Part::Told { Verdict::ForwardIcmp } else { Verdict::ForwardFlow };
            return Ok(Decision { id: slot.backend(), backend, verdict });
        }
        own.0 = slots.launder(index, hash);
    }
    // One place for all that go by their row, whatever brought them here: the verifier walks it once for each.
    let (id, backend) = by_row(tables, service, row)?;
    let verdict = match &slots {
        // Nobody here knows the flow; whoever asked says what becomes of it.
        _ if part == Part::Told => Verdict::PassToClone,
        Some(_) if is_strangers(tables, service, own.1, now, idle) => Verdict::ForwardUncached,
        Some(slots) => remember(tables, service, slots, own, &Fresh { id, hash, kind, now, idle }),
        None if is_stateless => Verdict::ForwardStateless,
        None => Verdict::ForwardUncached,
    };
    Ok(Decision { id, backend, verdict })
}

/// Whether the slot has not outlived its idle time.
#[inline(always)]
fn is_live(slot: Slot, now: u16, idle: Idle) -> bool {
    !slot.is_expired(now, idle)
}

/// The slot's backend, if this packet may go there (DESIGN §5.2, hit rules).
#[inline(always)]
fn keeps<'t, T: Tables>(
    tables: &'t T,
    service: &ServiceValue,
    slot: Slot,
    kind: Kind,
    part: Part,
) -> Option<&'t BackendValue> {
    let backend = tables.backend(slot.backend())?;
    // Another pool's backend: the tag of a stranger's flow, which must not cross to this service.
    if backend.pool != service.pool || !backend.is_resolved() {
        return None;
    }
    let needed = if backend.has(BackendFlags::USABLE) {
        return Some(backend);
    } else if kind.opens() {
        if part == Part::Own {
            return None;
        }
        BackendFlags::KEEPS_NEW
    } else if slot.state() == state::ESTABLISHED || slot.state() == state::CLOSING {
        BackendFlags::KEEPS_ESTABLISHED
    } else {
        BackendFlags::KEEPS_NEW
    };
    if backend.has(needed) { Some(backend) } else { None }
}

/// Whether the slot is another pool's live established flow that has the same tag by chance: that flow keeps it, and this
/// one goes by its row (DESIGN §5.2: a false match affects only the new flow).
#[inline(always)]
fn is_strangers<T: Tables>(tables: &T, service: &ServiceValue, slot: Slot, now: u16, idle: Idle) -> bool {
    slot.state() == state::ESTABLISHED
        && is_live(slot, now, idle)
        && tables.backend(slot.backend()).is_some_and(|backend| backend.pool != service.pool)
}

/// Writes the slot's new age and state, if they differ. A lost race is retried from what the other CPU wrote, as long as
/// it still is this flow with this backend: so neither a promotion nor an end is lost.
#[inline(always)]
fn touch<S: Slots>(slots: &S, index: usize, slot: Slot, kind: Kind, now: u16) {
    let mut seen = slot;
    let mut attempt = 0;
    while attempt < ATTEMPTS {
        let touched = seen.touched(kind, now);
        if touched == seen || slots.swap(index, seen.0, touched.0) {
            return;
        }
        let fresh = Slot(slots.load(index));
        if !fresh.has_tag_of(slot.0) || fresh.backend() != slot.backend() || fresh.state() == state::EMPTY {
            return;
        }
        seen = fresh;
        attempt += 1;
    }
}

/// The first candidate of the flow's row that may receive new flows and has a next hop.
#[inline(always)]
fn by_row<'t, T: Tables>(
    tables: &'t T,
    service: &ServiceValue,
    hash: u64,
) -> Result<(u16, &'t BackendValue), Verdict> {
    let rows = tables.pool_rows(service.pool).ok_or(Verdict::DropNoBackend)?;
    let (first, count) = PoolValue::region(rows);
    if count == 0 {
        return Err(Verdict::DropNoBackend);
    }
    let row: Row = tables.row(first.wrapping_add(row_index(hash, count))).ok_or(Verdict::DropNoBackend)?;
    let mut why = Verdict::DropNoBackend;
    let mut position = 0;
    while position < Row::CANDIDATES {
        let id = row.candidate(position);
        position += 1;
        let Some(backend) = tables.backend(id) else { continue };
        // A row switched a moment ago may still name an id that now belongs to another pool.
        if backend.pool != service.pool || !backend.has(BackendFlags::USABLE) {
            continue;
        }
        if backend.is_resolved() {
            return Ok((id, backend));
        }
        why = Verdict::DropNoNextHop;
    }
    Err(why)
}

/// What is to be remembered.
struct Fresh {
    id: u16,
    hash: u64,
    kind: Kind,
    now: u16,
    idle: Idle,
}

/// Stores the choice: over the flow's own slot `old` when it had one, else in the slot that may go, as long as neither CPU nor
/// service has had its new flows of this second.
#[inline(always)]
fn remember<T: Tables>(
    tables: &T,
    service: &ServiceValue,
    slots: &T::Slots,
    (index, old): (usize, Slot),
    fresh: &Fresh,
) -> Verdict {
    // Nobody knows the flow and it is ending: an entry would only push out somebody else.
    if fresh.kind.ends() {
        return Verdict::ForwardEnding;
    }
    let slot = Slot::new(fresh.hash, first_state(fresh.kind), fresh.now, fresh.id);
    if old != Slot::EMPTY {
        // On a lost race another packet of this flow has just chosen; the next packet follows it.
        return if !slots.swap(index, old.0, slot.0) {
            Verdict::ForwardUncached
        } else if is_live(old, fresh.now, fresh.idle) {
            Verdict::ForwardRechosen
        } else {
            Verdict::ForwardNew
        };
    }
    // The second line against floods, behind "no established flow is evicted": what it turns away goes by its row, which
    // is right for every flow whose row has not changed, and is spared the search for a slot and the write, half of its cost.
    // The service's budget is asked first, so that what a flooded one is refused takes nothing from the others on this CPU.
    if service.new_flows_max != 0 && !tables.take(budget::new_flows(service.id), service.new_flows_max) {
        return Verdict::ForwardLimited;
    }
    match tables.knobs() {
        Some(knobs) if knobs.learn_max != 0 && !tables.learn(knobs.learn_max) => {
            return Verdict::ForwardUnlearned;
        }
        _ => {}
    }
    let mut attempt = 0;
    while attempt < ATTEMPTS {
        let Some((index, old)) = flow::victim(slots, fresh.hash, fresh.now, fresh.idle) else {
            return Verdict::ForwardUncached;
        };
        if slots.swap(index, old.0, slot.0) {
            return Verdict::ForwardNew;
        }
        attempt += 1;
    }
    Verdict::ForwardUncached
}
