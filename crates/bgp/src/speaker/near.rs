// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A filter for listening sockets: segments of peers that must be near, and are not, are dropped. Pure.
//!
//! All peers of a family share a listening socket, so it cannot insist on near neighbours as a whole; and a connection that
//! is accepted may already have brought octets from afar before anything can be required of it. A classic BPF program on the
//! listening socket looks at the source (for an unnumbered peer at the interface) and the TTL of each segment that arrives
//! there, from the SYN on. Accepted connections are relieved of it: they have a socket option for the same.
//!
//! ```text
//!   TTL 255? keep   for each peer, the longest prefix first:  source within? drop, or keep if that peer need not be near
//! ```

use std::net::IpAddr;

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};

use crate::advertise::Prefix;

/// Most instructions that the kernel takes (`BPF_MAXINSNS`). 256 peers of IPv6 need 3334.
const INSTRUCTIONS_MAX: usize = 4096;
/// TTL or hop limit that no router has touched.
const NEAR: u32 = 255;
const KEEP: u32 = u32::MAX;
const DROP: u32 = 0;

/// fe80::/10 in the first word of an address.
const LINK_LOCAL: u32 = 0xfe80_0000;
const LINK_LOCAL_MASK: u32 = 0xffc0_0000;

/// Offsets in the header of the network layer: TTL or hop limit, source.
const V4_TTL_AT: u32 = 8;
const V4_SOURCE_AT: u32 = 12;
const V6_HOP_LIMIT_AT: u32 = 7;
const V6_SOURCE_AT: u32 = 8;

/// Whom a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whom {
    /// Everybody within a prefix.
    Prefix(Prefix),
    /// Link-local neighbours on the interface of this index.
    Interface(u32),
    /// Link-local neighbours on every other interface, also on those whose index is not known yet.
    LinkLocal,
}

/// Whether they must be near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rule {
    pub(super) whom: Whom,
    pub(super) must_be_near: bool,
}

/// One instruction of classic BPF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) operand: u32,
}

/// The program for listening sockets of a family; `None` if nobody must be near, or if there are too many rules, which the
/// number of peers does not allow.
pub(super) fn program(is_ipv4: bool, rules: &[Rule]) -> Option<Vec<Instruction>> {
    let mut rules: Vec<&Rule> = rules.iter().filter(|rule| rule.whom.is_ipv4() == is_ipv4).collect();
    if !rules.iter().any(|rule| rule.must_be_near) {
        return None;
    }
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.whom.length()));
    let (ttl_at, source_at) =
        if is_ipv4 { (V4_TTL_AT, V4_SOURCE_AT) } else { (V6_HOP_LIMIT_AT, V6_SOURCE_AT) };
    let mut program =
        vec![load(BPF_B, network(ttl_at)), jump_unless(NEAR, 1), Instruction { operand: KEEP, ..answer() }];
    for rule in rules {
        let verdict = Instruction { operand: if rule.must_be_near { DROP } else { KEEP }, ..answer() };
        rule_of(rule.whom, source_at, verdict, &mut program);
    }
    program.push(Instruction { operand: KEEP, ..answer() });
    (program.len() <= INSTRUCTIONS_MAX).then_some(program)
}

impl Whom {
    fn is_ipv4(&self) -> bool {
        match self {
            Whom::Prefix(prefix) => prefix.address().is_ipv4(),
            Whom::Interface(_) | Whom::LinkLocal => false,
        }
    }

    fn length(&self) -> u8 {
        match self {
            Whom::Prefix(prefix) => prefix.length(),
            // No prefix of a peer holds link-local addresses.
            Whom::Interface(_) => u8::MAX,
            Whom::LinkLocal => u8::MAX - 1,
        }
    }
}

/// Appends `verdict` behind all tests of one rule; each failed test jumps behind it.
fn rule_of(whom: Whom, source_at: u32, verdict: Instruction, program: &mut Vec<Instruction>) {
    let mut tests: Vec<(u32, u32, u32)> = Vec::new();
    match whom {
        Whom::Prefix(prefix) => {
            let mut length = u32::from(prefix.length());
            for (at, word) in (source_at..).step_by(4).zip(words(prefix.address())) {
                let bits = length.min(32);
                length -= bits;
                if bits > 0 {
                    tests.push((network(at), u32::MAX << (32 - bits), word));
                }
            }
        }
        Whom::Interface(index) => {
            tests.push((network(source_at), LINK_LOCAL_MASK, LINK_LOCAL));
            tests.push((ancillary(libc::SKF_AD_IFINDEX), u32::MAX, index));
        }
        Whom::LinkLocal => tests.push((network(source_at), LINK_LOCAL_MASK, LINK_LOCAL)),
    }
    let mut body: Vec<Instruction> = Vec::new();
    for (at, mask, value) in tests.into_iter().rev() {
        // Built from the end, because each jump counts what lies behind it: at most twelve instructions and the verdict.
        let behind = u8::try_from(body.len() + 1).unwrap_or(u8::MAX);
        let mut test = vec![load(BPF_W, at)];
        if mask != u32::MAX {
            test.push(Instruction { code: code(BPF_ALU | BPF_AND | BPF_K), operand: mask, ..answer() });
        }
        test.push(jump_unless(value, behind));
        test.append(&mut body);
        body = test;
    }
    program.append(&mut body);
    program.push(verdict);
}

fn words(address: IpAddr) -> Vec<u32> {
    let octets = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let word = |chunk: &[u8]| chunk.iter().fold(0, |word, octet| word << 8 | u32::from(*octet));
    octets.chunks_exact(4).map(word).collect()
}

/// Offset into the header of the network layer.
fn network(at: u32) -> u32 {
    libc::SKF_NET_OFF.cast_unsigned().wrapping_add(at)
}

/// Offset of something the kernel knows about the segment.
fn ancillary(what: i32) -> u32 {
    libc::SKF_AD_OFF.wrapping_add(what).cast_unsigned()
}

fn code(code: u32) -> u16 {
    // Codes of classic BPF have eight bits.
    u16::try_from(code).unwrap_or_default()
}

fn load(width: u32, at: u32) -> Instruction {
    Instruction { code: code(BPF_LD | width | BPF_ABS), if_true: 0, if_false: 0, operand: at }
}

fn jump_unless(value: u32, behind: u8) -> Instruction {
    Instruction { code: code(BPF_JMP | BPF_JEQ | BPF_K), if_true: 0, if_false: behind, operand: value }
}

fn answer() -> Instruction {
    Instruction { code: code(BPF_RET | BPF_K), if_true: 0, if_false: 0, operand: KEEP }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// Runs a program as the kernel would on a segment from `source`; `true` if it is kept.
    fn keeps(program: &[Instruction], source: IpAddr, ttl: u8, interface: u32) -> bool {
        let mut header = [0; 40];
        match source {
            IpAddr::V4(v4) => {
                header[8] = ttl;
                header[12..16].copy_from_slice(&v4.octets());
            }
            IpAddr::V6(v6) => {
                header[7] = ttl;
                header[8..24].copy_from_slice(&v6.octets());
            }
        }
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = program[at];
            at += 1;
            let offset = || instruction.operand.wrapping_sub(libc::SKF_NET_OFF.cast_unsigned()) as usize;
            match u32::from(instruction.code) {
                0x20 if instruction.operand == ancillary(libc::SKF_AD_IFINDEX) => accumulator = interface,
                0x20 => accumulator = u32::from_be_bytes(header[offset()..offset() + 4].try_into().unwrap()),
                0x30 => accumulator = u32::from(header[offset()]),
                0x54 => accumulator &= instruction.operand,
                0x15 => {
                    let is_equal = accumulator == instruction.operand;
                    at += usize::from(if is_equal { instruction.if_true } else { instruction.if_false });
                }
                0x06 => return instruction.operand != DROP,
                other => panic!("code {other:#x}"),
            }
        }
    }

    fn rule(text: &str, must_be_near: bool) -> Rule {
        Rule { whom: Whom::Prefix(text.parse().unwrap()), must_be_near }
    }

    fn v4(text: &str) -> IpAddr {
        text.parse::<Ipv4Addr>().unwrap().into()
    }

    fn v6(text: &str) -> IpAddr {
        text.parse::<Ipv6Addr>().unwrap().into()
    }

    #[test]
    fn nobody_who_must_be_near_means_no_filter() {
        let rules = [rule("10.0.0.1/32", false), rule("2001:db8::1/128", true)];
        assert_eq!(program(true, &rules), None);
        assert!(program(false, &rules).is_some());
        assert_eq!(program(false, &[]), None);
    }

    #[test]
    fn only_those_who_must_be_near_are_held_to_it() {
        let rules = [
            rule("10.0.0.0/8", true),
            rule("10.1.0.0/16", false),
            rule("10.1.0.1/32", true),
            rule("0.0.0.0/0", false),
        ];
        let program = program(true, &rules).unwrap();
        let from = |source, ttl| keeps(&program, v4(source), ttl, 0);
        assert!(!from("10.2.0.1", 254) && from("10.2.0.1", 255));
        assert!(from("10.1.0.2", 64), "the longer prefix need not be near");
        assert!(!from("10.1.0.1", 64) && from("10.1.0.1", 255));
        assert!(from("192.0.2.1", 1));
    }

    #[test]
    fn prefixes_of_ipv6_and_interfaces_are_told_apart() {
        let link = |whom, must_be_near| Rule { whom, must_be_near };
        let rules = [
            link(Whom::LinkLocal, true),
            link(Whom::Interface(3), false),
            rule("2001:db8:1::/48", true),
            rule("2001:db8:1::7/128", false),
        ];
        let program = program(false, &rules).unwrap();
        let from = |source, ttl, interface| keeps(&program, v6(source), ttl, interface);
        assert!(!from("fe80::1", 64, 2) && !from("febf::1", 64, 5) && from("fe80::1", 255, 2));
        assert!(from("fe80::1", 64, 3) && from("2001:db8::1", 64, 2));
        assert!(!from("2001:db8:1:2::1", 64, 9) && from("2001:db8:1::7", 64, 9));
    }

    #[test]
    fn as_many_peers_as_there_may_be_fit() {
        let host = |n: u32| Rule {
            whom: Whom::Prefix(Prefix::host(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n)).into())),
            must_be_near: true,
        };
        let rules: Vec<Rule> = (0..256).map(host).collect();
        let program = program(false, &rules).unwrap();
        assert!(!keeps(&program, v6("2001:db8::ff"), 64, 1) && keeps(&program, v6("2001:db8::1:0"), 64, 1));
    }
}
