// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is timed, on which bed, and what must come of it.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use weir_dataplane::kernel::test_run::Ran;
use weir_dataplane_core::{Protocol, Verdict};

use crate::bed::{Bed, PORT_TCP, PORT_UDP, VIP_V4, VIP_V6, port};
use crate::frames::{self, ACK, Family, Kind, SYN};
use crate::layout::{self, Harness, floor};

const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// Packets of a batch of a case in which flows are known.
const BATCH: u32 = 262_144;
/// Packets of a batch of a case in which every packet is a new flow.
const BATCH_NEW: u32 = 98_304;
/// Of a batch's packets, at least so many in a thousand must end as the case says. The others are flows whose set was full
/// of established ones (a million flows over half a million sets of eight) or whose LRU entry had been evicted.
const AS_EXPECTED_PERMILLE: u64 = 998;

/// Beds. Each has a flow table of its own, so that a million established flows of one case are not in another's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BedName {
    /// A million IPv4 TCP flows established, the rest of the table full of others that sent one packet; LRU map the same
    /// with 131,072 flows.
    Tcp4,
    /// The same, IPv4 UDP; LRU map unused.
    Udp4,
    /// The same, IPv6 TCP.
    Tcp6,
    /// The same, IPv6 UDP.
    Udp6,
    /// Every slot holds an established live flow; LRU map full.
    Taken,
}

impl BedName {
    /// All beds.
    pub const ALL: [Self; 5] = [Self::Tcp4, Self::Udp4, Self::Tcp6, Self::Udp6, Self::Taken];

    /// Name of the pin directory.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp4 => "tcp4",
            Self::Udp4 => "udp4",
            Self::Tcp6 => "tcp6",
            Self::Udp6 => "udp6",
            Self::Taken => "taken",
        }
    }
}

/// What must come of every packet of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// What the floor of this program's name does.
    Floor,
    /// Encapsulated to a backend as the appliance does it, with this verdict.
    Forwarded(Verdict),
    /// Sent to a flow's backend as the appliance does it in a mode that makes the frame longer by so many octets.
    Carried(usize),
    /// Handed to the host as it was, not for a VIP.
    NotVip,
    /// The inner packet, handed to the host.
    Decapsulated,
}

/// One line of the table.
pub struct Case {
    /// Name in reports.
    pub name: String,
    /// Where it runs.
    pub bed: BedName,
    /// Program of the bench's object.
    pub program: &'static str,
    /// Its packets.
    pub kind: Kind,
    /// What must come of them.
    pub expect: Expect,
    /// Packets of a batch.
    pub repeat: u32,
    /// Packet and flows; moves on from batch to batch.
    harness: Harness,
}

const TCP4: Kind = Kind {
    family: Family::V4,
    protocol: Protocol::Tcp,
    flags: ACK,
    destination: mapped(VIP_V4),
    port: PORT_TCP,
};
const UDP4: Kind = Kind { protocol: Protocol::Udp, port: PORT_UDP, ..TCP4 };
const TCP6: Kind = Kind { family: Family::V6, destination: VIP_V6, ..TCP4 };
const UDP6: Kind = Kind { protocol: Protocol::Udp, port: PORT_UDP, ..TCP6 };

/// Flow numbers below this are the established ones.
const KNOWN: u32 = 1 << 20;
/// Of those, below this the ones that the LRU map knows.
const LRU_KNOWN: u32 = 1 << 17;
/// Flow numbers of packets that are all new: so many that none comes again.
const NEW: u32 = (1 << 29) - 1;

const fn mapped(v4: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]]
}

/// Floors, in the order of the report.
pub fn floors() -> Vec<Case> {
    [
        ("empty", "floor_empty_v4", TCP4),
        ("empty_v6", "floor_empty_v6", TCP6),
        ("adjust_head", "floor_adjust", TCP4),
        ("mac_swap", "floor_mac_swap", TCP4),
        ("encap_v4", "floor_encap_v4", TCP4),
        ("encap_v6", "floor_encap_v6", TCP6),
        ("encap_gue", "floor_encap_gue", TCP4),
    ]
    .into_iter()
    .map(|(name, program, kind)| Case::new(name, BedName::Tcp4, program, kind, (0, 0), Expect::Floor))
    .collect()
}

/// Cases, in the order of the report.
pub fn cases() -> Vec<Case> {
    const WEIR4: &str = "case_weir_v4";
    const WEIR6: &str = "case_weir_v6";
    const LRU: &str = "case_lru_v4";
    let hit = Expect::Forwarded(Verdict::ForwardFlow);
    let new = Expect::Forwarded(Verdict::ForwardNew);
    let mut cases = Vec::new();
    for (prefix, bed, program, kind) in [
        ("ipip/v4/tcp", BedName::Tcp4, WEIR4, TCP4),
        ("ipip/v4/udp", BedName::Udp4, WEIR4, UDP4),
        ("ipip/v6/tcp", BedName::Tcp6, WEIR6, TCP6),
        ("ipip/v6/udp", BedName::Udp6, WEIR6, UDP6),
    ] {
        for (label, flows) in [("1", 1), ("1k", 1 << 10), ("131k", 1 << 17), ("1m", KNOWN)] {
            cases.push(Case::new(&format!("{prefix}/hit/{label}"), bed, program, kind, (flows - 1, 0), hit));
        }
    }
    let syn = Kind { flags: SYN, ..TCP4 };
    let uncached = Expect::Forwarded(Verdict::ForwardUncached);
    let unlearned = Expect::Forwarded(Verdict::ForwardUnlearned);
    cases.extend([
        Case::new("ipip/v4/tcp/insert/1m", BedName::Tcp4, WEIR4, TCP4, (NEW, 1 << 31), new),
        Case::new("ipip/v6/tcp/insert/1m", BedName::Tcp6, WEIR6, TCP6, (NEW, 1 << 31), new),
        Case::new("ipip/v4/tcp/synflood/1m", BedName::Tcp4, WEIR4, syn, (NEW, 1 << 30), unlearned),
        Case::new("ipip/v4/tcp/ackflood/1m", BedName::Taken, WEIR4, TCP4, (NEW, 1 << 31), unlearned),
        Case::new("ipip/v4/tcp/synflood-learned/1m", BedName::Tcp4, WEIR4, syn, (NEW, 1 << 30), new),
        Case::new("ipip/v4/tcp/ackflood-full/1m", BedName::Taken, WEIR4, TCP4, (NEW, 1 << 31), uncached),
        Case::new("lru/v4/tcp/hit/1", BedName::Tcp4, LRU, TCP4, (0, 0), hit),
        Case::new("lru/v4/tcp/hit/131k", BedName::Tcp4, LRU, TCP4, (LRU_KNOWN - 1, 0), hit),
        Case::new("lru/v4/tcp/insert/1m", BedName::Taken, LRU, TCP4, (NEW, 1 << 31), new),
    ]);
    for (kind, bed, program) in [(TCP4, BedName::Tcp4, WEIR4), (TCP6, BedName::Tcp6, WEIR6)] {
        let (family, ip, other) = match kind.family {
            Family::V4 => ("v4", 20, 40),
            Family::V6 => ("v6", 40, 20),
        };
        let hops = if kind.family == Family::V4 { 3 * 4 } else { 3 * 16 };
        for (name, port, added) in [
            ("gue", port::GUE, ip + 12),
            ("gue-candidates", port::GUE_CANDIDATES, ip + 12 + 12 + hops),
            ("gue-direct", port::GUE_DIRECT, ip + 8),
            ("gue-sum", port::GUE_SUM, ip + 12),
            ("ipip-cross", port::CROSS, other),
            ("l2", port::L2, 0),
            ("ipip-affinity", port::AFFINITY, ip),
        ] {
            let kind = Kind { port, ..kind };
            let name = format!("{name}/{family}/tcp/hit/1");
            cases.push(Case::new(&name, bed, program, kind, (0, 0), Expect::Carried(added)));
        }
    }
    let stranger = Kind { destination: mapped([203, 0, 113, 1]), ..TCP4 };
    cases.push(Case::new("pass/not-vip", BedName::Tcp4, WEIR4, stranger, (0, 0), Expect::NotVip));
    cases.push(Case::new(
        "agent/decap/plain",
        BedName::Tcp4,
        "case_decap",
        TCP4,
        (0, 0),
        Expect::Decapsulated,
    ));
    cases
}

/// Brings `bed` into the state that its name says.
pub fn prepare(name: BedName, bed: &mut Bed, slots: u32, lru_entries: u32) -> Result<()> {
    let (program, kind) = match name {
        BedName::Tcp4 | BedName::Taken => ("case_weir_v4", TCP4),
        BedName::Udp4 => ("case_weir_v4", UDP4),
        BedName::Tcp6 => ("case_weir_v6", TCP6),
        BedName::Udp6 => ("case_weir_v6", UDP6),
    };
    // Number spaces that no case uses: cold flows never come again.
    const COLD: (u32, u32) = (NEW, 3 << 30);
    let mut send = |program: &'static str, (mask, base), packets: u32| -> Result<()> {
        let frame = kind.frame(base);
        let mut harness = frames::harness(&frame, mask, base, 0);
        bed.load(program)?;
        bed.run(program, &mut harness, &frame, packets).map(drop)
    };
    if name == BedName::Taken {
        // One entry, from which the others are modelled.
        send(program, (0, 0), 1)?;
        send("case_lru_v4", COLD, lru_entries * 5 / 4)?;
        return bed.take_all_slots();
    }
    // Three packets establish a flow; twice as many new flows as slots leave none empty.
    send(program, (KNOWN - 1, 0), 3 * KNOWN)?;
    send(program, COLD, 2 * slots)?;
    if name == BedName::Tcp4 {
        send("case_lru_v4", COLD, lru_entries * 5 / 4)?;
        learn_lru(bed)?;
        bed.fill_agent()?;
    }
    Ok(())
}

/// Makes the LRU map remember the flows of its largest hit case, one by one in an order that has nothing to do with that in
/// which they come later: the map takes its elements one behind the other, so in the same order the prefetcher would bring
/// them (which took 40 % off a hit).
fn learn_lru(bed: &mut Bed) -> Result<()> {
    let mut numbers: Vec<u32> = (0..LRU_KNOWN).collect();
    let mut random = 1_u64;
    for last in (1..numbers.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let other = usize::try_from(random >> 33)? % (last + 1);
        numbers.swap(last, other);
    }
    for number in numbers {
        let frame = TCP4.frame(number);
        let mut harness = frames::harness(&frame, 0, number, 0);
        bed.run("case_lru_v4", &mut harness, &frame, 1)?;
    }
    Ok(())
}

impl Case {
    fn new(
        name: &str,
        bed: BedName,
        program: &'static str,
        kind: Kind,
        (mask, base): (u32, u32),
        expect: Expect,
    ) -> Self {
        let mut frame = kind.frame(base);
        if expect == Expect::Decapsulated {
            frame = frames::tunnelled(&frame);
        }
        let repeat = match expect {
            Expect::Forwarded(Verdict::ForwardFlow)
            | Expect::Carried(_)
            | Expect::Floor
            | Expect::NotVip
            | Expect::Decapsulated => BATCH,
            Expect::Forwarded(_) => BATCH_NEW,
        };
        let harness = frames::harness(&frame, mask, base, 0);
        Self { name: name.to_owned(), bed, program, kind, expect, repeat, harness }
    }

    /// Whether the program makes the frame longer or shorter, so that the harness has to undo it.
    pub fn resizes(&self) -> bool {
        match self.expect {
            Expect::Floor => !matches!(self.program, "floor_empty_v4" | "floor_empty_v6" | "floor_mac_swap"),
            Expect::Forwarded(_) | Expect::Decapsulated => true,
            Expect::Carried(added) => added != 0,
            Expect::NotVip => false,
        }
    }

    /// Runs one batch, checks what came of it, and gives nanoseconds per packet.
    pub fn batch(&mut self, bed: &mut Bed) -> Result<f64> {
        let before = bed.verdicts()?;
        bed.let_learn(self.expect != Expect::Forwarded(Verdict::ForwardUnlearned));
        let frame = self.input();
        let last = match self.expect {
            Expect::Decapsulated => self.harness.state,
            _ => (0..self.repeat).fold(self.harness.state, |state, _| layout::advance(state)),
        };
        let started = crate::machine::cpu_time()?;
        let ran = bed.run(self.program, &mut self.harness, &frame, self.repeat)?;
        let taken = crate::machine::cpu_time()? - started;
        ensure!(self.harness.state == last, "{}: not as many packets as the batch has", self.name);
        let verdict = match self.expect {
            Expect::Forwarded(verdict) => Some(verdict),
            Expect::Carried(_) => Some(Verdict::ForwardFlow),
            Expect::Floor | Expect::NotVip | Expect::Decapsulated => None,
        };
        if let Some(verdict) = verdict {
            let count = bed.verdicts()?[&verdict] - before[&verdict];
            let enough = u64::from(self.repeat) * AS_EXPECTED_PERMILLE / 1000;
            ensure!(
                (enough..=u64::from(self.repeat)).contains(&count),
                "{}: {count} of {} packets ended as {}",
                self.name,
                self.repeat,
                verdict.name()
            );
        }
        self.check(bed, &ran).with_context(|| self.name.clone())?;
        Ok(taken.as_secs_f64() * 1e9 / f64::from(self.repeat))
    }

    /// The frame that the last packet of the last batch was, or the first of the first.
    fn input(&self) -> Vec<u8> {
        let number = self.harness.state & self.harness.mask | self.harness.base;
        let frame = self.kind.frame(number);
        if self.expect == Expect::Decapsulated { frames::tunnelled(&frame) } else { frame }
    }

    fn check(&self, bed: &mut Bed, ran: &Ran) -> Result<()> {
        let input = self.input();
        let action = match (self.expect, self.program) {
            (Expect::Floor, "floor_empty_v4" | "floor_empty_v6")
            | (Expect::NotVip | Expect::Decapsulated, _) => XDP_PASS,
            (Expect::Floor | Expect::Forwarded(_) | Expect::Carried(_), _) => XDP_TX,
        };
        ensure!(ran.action == action, "XDP action {} where {action} is right", ran.action);
        match self.expect {
            Expect::Floor => frames::check_floor(self.program, &input, &ran.frame),
            Expect::NotVip => frames::compare(&[&input], &ran.frame),
            // Octet by octet this is for the fixtures; here it shows that harness and tail calls changed nothing.
            Expect::Carried(added) => {
                let grown = ran.frame.len() - input.len();
                ensure!(grown == added, "{grown} octets more where {added} are right");
                frames::compare(&[&bed.reference(&input)?.frame], &ran.frame)
            }
            Expect::Decapsulated => frames::compare(&[&input[..14], &input[34..]], &ran.frame),
            Expect::Forwarded(_) => {
                let to: IpAddr = match self.kind.family {
                    Family::V4 => frames::check_ipip_v4(&input, &ran.frame, floor::SOURCE_V4)?.into(),
                    Family::V6 => frames::check_ipip_v6(&input, &ran.frame, floor::SOURCE_V6)?.into(),
                };
                ensure!(bed.is_backend(to), "{to} is no backend");
                // The same flow through the appliance's own program: harness and variant change nothing.
                frames::compare(&[&bed.reference(&input)?.frame], &ran.frame)
            }
        }
    }
}
