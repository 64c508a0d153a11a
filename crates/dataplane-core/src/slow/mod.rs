// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The slow path: packets for VIPs that are not plain, and services with options.
//!
//! ```text
//! full parser ─► VIP? ─no─► the host's                  (nothing is dropped before this question)
//!                 │ yes
//!                 ├─ something wrong with it ─► dropped by that name
//!                 ├─ ICMP ─► icmp: answered, the host's, or about a flow, whose way it goes
//!                 ├─ a later fragment ─► fragment: where its first went, or by source
//!                 └─ ports ─► service ─► flow table, else row, by what of the packet the service chooses by ─► Plan
//! ```
//!
//! One path for both families: two copies would be twice the program, and twice the verifier's work.

mod fragment;
pub mod icmp;
pub mod select;
pub mod vip;

use crate::Packet;
use crate::bytes::{ServiceFlags, ServiceValue};
use crate::clone;
use crate::flow::Kind;
use crate::parse::{self, View, full, protocol};
use crate::plan::{Answer, Plan, PlanFlags};
use crate::process::{Count, Exit, Step};
use crate::steer::{self, Hashes, Part};
use crate::tables::Tables;
use crate::verdict::Verdict;
use fragment::Later;
use icmp::Icmp;
use select::Tuple;
use vip::Vip;

/// Decides about a frame from its beginning, whatever is in it.
#[inline(always)]
pub fn slow<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Step {
    let exit = match decide(packet, tables) {
        Ok(exit) => exit,
        Err(verdict) => verdict.into(),
    };
    Err(exit).into()
}

#[inline(always)]
fn decide<P: Packet, T: Tables>(packet: &P, tables: &T) -> Result<Exit, Verdict> {
    let view = full(packet)?;
    let vip = Vip::of(tables, &view.destination).ok_or(Verdict::PassNotVip)?;
    if let Some(fault) = view.fault() {
        return Err(fault);
    }
    let (flow, kind, is_told) = match (view.protocol, view.is_v6) {
        (protocol::TCP | protocol::UDP, _) if view.is_later => (tuple(&view, 0), Kind::GOES_ON, false),
        (protocol::TCP | protocol::UDP, _) => {
            let (ports_be, kind) = parse::ports(packet, &view)?;
            (tuple(&view, ports_be), kind, false)
        }
        (protocol::ICMP, false) | (protocol::ICMPV6, true) => {
            match icmp::icmp(packet, tables, &view, &vip)? {
                Icmp::Error(flow) => (flow, Kind::GOES_ON, true),
                Icmp::Answer => return Ok(Exit::Answer),
            }
        }
        (protocol::ICMP | protocol::ICMPV6, _) => return Err(Verdict::DropIcmp),
        _ => return Err(Verdict::DropProtocol),
    };
    let service = if view.is_later {
        match fragment::later(tables, &view, &vip)? {
            Later::Follows(first) => return fragment::follow(packet, tables, &view, &first),
            Later::BySource(service) => service,
        }
    } else {
        let port = flow.ports_be.to_ne_bytes();
        let port_be = u16::from_ne_bytes([port[2], port[3]]);
        vip.service(tables, flow.protocol, port_be).ok_or(Verdict::DropNoService)?
    };
    let asked = Asked { vip: vip.record.id, service, flow, kind, is_told };
    send(packet, tables, &view, &asked).inspect_err(|_| tables.count(&dropped(asked.service.id, &view)))
}

/// What a packet asks for.
struct Asked {
    /// Whose budgets are spent.
    vip: u32,
    service: ServiceValue,
    /// The flow that it belongs to.
    flow: Tuple,
    kind: Kind,
    /// Somebody else tells something about the flow: an ICMP error.
    is_told: bool,
}

/// Chooses the backend for the packet, and leaves the plan to carry it there.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "eight flags")]
fn send<P: Packet, T: Tables>(packet: &P, tables: &T, view: &View, asked: &Asked) -> Result<Exit, Verdict> {
    let service = &asked.service;
    // The same to the verifier, whatever they were read from.
    let kind = Kind::of_tcp(packet.launder(asked.kind.flags() as usize) as u8);
    if view.is_fragment && service.flags & fragment::TAKES == 0 {
        return Err(Verdict::DropFragment);
    }
    let is_first = view.is_fragment && !view.is_later && service.flags & ServiceFlags::FRAGMENTS_TABLE != 0;
    // Before a flow is remembered for it.
    if is_first && !fragment::has_room(tables, asked.vip) {
        return Err(Verdict::DropFragmentLimited);
    }
    // The same to the verifier, whatever was asked.
    let is_first = packet.launder(is_first as usize) != 0;
    let hash = asked.flow.reduced(service.flags).hash(tables);
    let (part, flag) =
        if asked.is_told { (Part::Told, PlanFlags::ICMP_ERROR) } else { (select::part(service.flags), 0) };
    let hashes = Hashes { row: hash, slot: select::slot_hash(service, hash) };
    let decision = steer::steer_as(tables, service, hashes, kind, part)?;
    if is_first {
        fragment::remember(tables, view, service, decision.id);
    }
    let plan = plan(packet, tables, view, &asked.flow);
    let is_cloned = asked.is_told && clone::is_wanted(tables, service, &decision);
    let verdict = if asked.is_told { Verdict::ForwardIcmp } else { decision.verdict };
    let plan = Plan {
        hash,
        service: service.id,
        backend: decision.id,
        verdict: verdict.number(),
        flags: plan.flags | flag,
        answer: if is_cloned { Answer::CLONE } else { Answer::NONE },
        ..plan
    };
    let exit = carried(tables, &plan)?;
    Ok(if is_cloned { Exit::Answer } else { exit })
}

/// The words of a packet that hashes are made of.
#[inline(always)]
fn tuple(view: &View, ports_be: u32) -> Tuple {
    Tuple {
        source: view.source,
        destination: view.destination,
        ports_be,
        protocol: view.protocol,
        is_v6: view.is_v6,
    }
}

/// The plan for a packet of `flow` to no backend yet. All fragments of a datagram have one entropy, so that they take one path.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "halves of a word and small offsets")]
fn plan<P: Packet, T: Tables>(packet: &P, tables: &T, view: &View, flow: &Tuple) -> Plan {
    let spread = Tuple { ports_be: if view.is_fragment { 0 } else { flow.ports_be }, ..*flow };
    let family = if view.is_v6 { PlanFlags::V6 } else { 0 };
    let fragments = if view.may_fragment { PlanFlags::MAY_FRAGMENT } else { 0 };
    let fragment = if view.is_fragment { PlanFlags::FRAGMENT } else { 0 };
    Plan {
        entropy: (spread.hash(tables) >> 32) as u32,
        frame_len: packet.total_len(),
        ip_len: view.ip_len,
        l3: view.l3 as u16,
        l4: if view.is_later { 0 } else { view.l4 as u16 },
        flags: family | fragments | fragment,
        traffic_class: view.traffic_class,
        ttl: view.ttl,
        protocol: view.protocol,
        ..Plan::default()
    }
}

/// Leaves `plan` for the step that encapsulates.
#[inline(always)]
fn carried<T: Tables>(tables: &T, plan: &Plan) -> Result<Exit, Verdict> {
    if tables.set_plan(plan) { Ok(Exit::Encap) } else { Err(Verdict::DropInternal) }
}

/// What a packet of the service `service` that goes nowhere adds to the counters.
#[inline(always)]
fn dropped(service: u32, view: &View) -> Count {
    Count { service, backend: 0, ip_len: view.ip_len, is_new_flow: false }
}
