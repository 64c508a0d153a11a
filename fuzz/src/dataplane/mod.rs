// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold of the packet logic on the host, whatever frames come and whatever the tables say.
//!
//! ```text
//! state (12 octets) │ frame, or two of which the second comes later and to backends that changed
//!   in plain tables     ─► process ─► left as it may be left ─► (handed over ─► copies)
//!   all by the slow way ─► process ─► the same
//! ```

mod agent;
mod answers;
mod buffers;
mod octets;
mod path;
mod state;
mod tunnels;

use weir_dataplane::host::{HostCarrier, HostTables};
use weir_dataplane_core::bytes::ServiceFlags;
use weir_dataplane_core::check::{MARK_MASK, direct};
use weir_dataplane_core::clone::{TAG_LEN, copies, is_sealed};
use weir_dataplane_core::{Action, BackendFlags, Count, Outcome, Verdict, process};

pub use agent::frame as agent;
use octets::Ip;
pub use path::message as path;
use state::{Input, State, UPLINKS};
use tunnels::Leaving;

/// Flags of a backend that may have anything.
const RECEIVES: u8 = BackendFlags::USABLE | BackendFlags::KEEPS_ESTABLISHED | BackendFlags::KEEPS_NEW;
/// Upper half of the marks of health checks.
const MARKS: u32 = 0x5745_0000;
const _: () = assert!(MARKS & !MARK_MASK == 0);

/// How a frame ended, what was counted for it, and how it left if it did.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    outcome: Outcome,
    counted: Option<Count>,
    left: Option<Vec<u8>>,
}

/// Frames from the wire.
pub fn frame(octets: &[u8]) {
    let Some(input) = Input::read(octets) else { return };
    let mut tables = input.state.tables();
    let ended = run(&input, &mut tables);
    // The plain way is a shorter one and not another one.
    let slow = run(&input, &mut input.state.slow_tables(tables));
    assert_eq!(slow, ended, "by the slow way, and by the plain one");
    let [first, second] = &ended;
    if !input.is_repeated() || first.outcome.verdict != Verdict::ForwardNew {
        return;
    }
    if input.state.stays() {
        assert_eq!(second.outcome.verdict, Verdict::ForwardFlow, "a remembered flow");
        assert_eq!(second.left, first.left, "goes where it went");
    } else {
        // It has its slot, whoever has it now.
        let is_unknown = matches!(
            second.outcome.verdict,
            Verdict::ForwardUncached | Verdict::ForwardLimited | Verdict::ForwardUnlearned
        );
        assert!(!is_unknown, "{}", second.outcome.verdict.name());
    }
}

/// The frames that leave for backends, of the input of [`frame`].
pub fn left(octets: &[u8]) -> Vec<Vec<u8>> {
    let Some(input) = Input::read(octets) else { return Vec::new() };
    let tables = input.state.tables();
    let mut left = Vec::new();
    for frame in &input.frames {
        let mut packet = input.state.packet(frame);
        if process(&mut packet, &tables).egress_ifindex != 0 {
            left.push(packet.frame().to_vec());
        }
    }
    left
}

/// A packet of a health check.
pub fn check(octets: &[u8]) {
    let Some(input) = Input::read(octets) else { return };
    let tables = input.state.tables();
    let frame = &input.frames[0];
    let id = input.state.checked();
    let mut packet = input.state.packet(frame);
    let Ok(directed) = direct(&mut packet, &tables, MARKS | u32::from(id), MARKS) else { return };
    let readable = input.state.first_buffer(frame).len();
    assert!(UPLINKS.contains(&directed.ifindex), "{directed:?}");
    let leaving = Leaving { tables: &tables, frame, readable, id, row: None, is_tagged: false };
    leaving.check(packet.frame(), directed.ifindex, "a health check");
}

fn run(input: &Input, tables: &mut HostTables) -> [Ended; 2] {
    let first = one(&input.state, tables, &input.frames[0]);
    input.state.pass(tables);
    let second = one(&input.state, tables, &input.frames[1]);
    input.state.keeps_others(tables);
    [first, second]
}

/// One frame, and what must hold of its end.
fn one(state: &State, tables: &HostTables, frame: &[u8]) -> Ended {
    *tables.counted.lock().expect("one thread") = None;
    *tables.row_asked.lock().expect("one thread") = None;
    let mut packet = state.packet(frame);
    let outcome = process(&mut packet, tables);
    let counted = *tables.counted.lock().expect("one thread");
    let (verdict, name, left) = (outcome.verdict, outcome.verdict.name(), packet.frame());
    is_due(state, frame, verdict);
    let mut ended = Ended { outcome, counted, left: None };
    match verdict.action() {
        Action::Pass if verdict == Verdict::PassToClone => {
            assert_eq!((outcome.egress_ifindex, counted.map(|count| count.backend)), (0, Some(0)), "{name}");
            handed_over(tables, frame, left);
        }
        Action::Pass => {
            assert_eq!((outcome.egress_ifindex, counted), (0, None), "{name} is nobody's");
            assert_eq!(left, frame, "{name} changes nothing");
        }
        Action::Drop => {
            assert_eq!(outcome.egress_ifindex, 0, "{name} leaves nowhere");
            assert_eq!(counted.map_or(0, |count| count.backend), 0, "{name} reaches nobody");
            return ended;
        }
        Action::Forward => {
            let count = counted.expect("what is forwarded is counted");
            may_have(tables, &count, verdict);
            assert!(UPLINKS.contains(&outcome.egress_ifindex), "{name}");
            let row = *tables.row_asked.lock().expect("one thread");
            let readable = state.first_buffer(frame).len();
            let leaving = Leaving { tables, frame, readable, id: count.backend, row, is_tagged: true };
            leaving.check(left, outcome.egress_ifindex, name);
        }
        Action::Answer => {
            assert_eq!(outcome.egress_ifindex, 0, "{name} leaves by where it came in");
            match verdict {
                Verdict::AnswerEcho => answers::echo(frame, left),
                Verdict::AnswerTooBig => answers::too_big(frame, left),
                _ => panic!("{name}"),
            }
        }
    }
    ended.left = Some(left.to_vec());
    ended
}

/// Nothing is dropped, answered or forwarded that is not for a VIP, and all that is for one is.
fn is_due(state: &State, frame: &[u8], verdict: Verdict) {
    let ip = Ip::read(state.first_buffer(frame));
    let is_vip = ip.is_some_and(|ip| state.is_vip(ip.destination()));
    let passes = match verdict {
        Verdict::PassControl | Verdict::PassToClone => !is_vip,
        _ => verdict.action() == Action::Pass,
    };
    assert_eq!(passes, !is_vip, "{} of {ip:?}", verdict.name());
}

/// The backend may have the packet, and belongs to its service's pool.
fn may_have(tables: &HostTables, count: &Count, verdict: Verdict) {
    let name = verdict.name();
    let backend = &tables.backends[usize::from(count.backend)];
    let service = tables.services.iter().find(|(key, value)| !key.is_marker() && value.id == count.service);
    let (_, service) = service.expect("one that there is");
    assert_eq!(backend.pool, service.pool, "{name}");
    let needed = match verdict {
        Verdict::ForwardFlow | Verdict::ForwardIcmp => RECEIVES,
        // The first fragment may have gone by its flow.
        Verdict::ForwardFragment => BackendFlags::KEEPS_ESTABLISHED,
        _ => BackendFlags::USABLE,
    };
    assert_ne!(backend.flags & needed, 0, "{name} to {}", count.backend);
    assert_eq!(verdict.is_new_flow(), count.is_new_flow, "{name}");
    let is_stateless = service.flags & ServiceFlags::STATELESS != 0;
    assert_eq!(verdict == Verdict::ForwardStateless, is_stateless && !is_told(verdict), "{name}");
}

/// What goes where something else went, without a look at its own.
fn is_told(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::ForwardIcmp | Verdict::ForwardFragment)
}

/// A frame that XDP made of `frame` for traffic control, and all that is sent of it.
fn handed_over(tables: &HostTables, frame: &[u8], left: &[u8]) {
    let before = Ip::read(frame).expect("an IP packet");
    assert_eq!(left[..12], frame[..12], "the link's addresses");
    assert_eq!(left[12..14], frame[before.at - 2..before.at], "the EtherType, and no tags");
    assert_eq!(&left[14 + TAG_LEN..], &frame[before.at..], "the packet");
    let mut carrier = HostCarrier::new(left);
    assert!(is_sealed(&carrier, tables, 14) && copies(&mut carrier, tables));
    let ids = candidates(tables);
    if ids.is_empty() {
        let verdicts: Vec<_> = carrier.left.iter().map(|copy| copy.outcome.verdict).collect();
        assert_eq!(verdicts, [Verdict::DropNoBackend], "nobody is there any more");
        return;
    }
    assert_eq!(carrier.left.len(), ids.len(), "one copy for each of {ids:?}");
    for (copy, id) in carrier.left.iter().zip(ids) {
        let name = copy.outcome.verdict.name();
        if copy.outcome.egress_ifindex == 0 {
            assert_eq!(copy.outcome.verdict.action(), Action::Drop, "{name}");
            continue;
        }
        assert_eq!(copy.outcome.verdict, Verdict::ForwardIcmpCopy);
        let leaving = Leaving { tables, frame, readable: frame.len(), id, row: None, is_tagged: true };
        leaving.check(&copy.frame, copy.outcome.egress_ifindex, name);
    }
}

/// Those of the row that was asked for last that may have a copy of what is about a flow.
fn candidates(tables: &HostTables) -> Vec<u16> {
    let row = tables.row_asked.lock().expect("one thread").expect("a row");
    let plan = tables.plan.lock().expect("one thread").expect("a plan");
    let pool = tables.backends[usize::from(plan.backend)].pool;
    let mut ids: Vec<u16> = Vec::new();
    for id in tables.rows[row as usize].ids() {
        let backend = &tables.backends[usize::from(id)];
        let may = id != 0 && backend.pool == pool && backend.flags & RECEIVES != 0;
        if may && !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}
