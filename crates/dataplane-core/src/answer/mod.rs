// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packets that are answered to their sender instead of forwarded: echo replies and "too big" (ADR 0031).
//!
//! ```text
//! plan.answer:  ECHO ────► echo     in place: addresses swapped, type, TTL and checksums brought along
//!               CLONE ───► clone    handed to the program that sends copies: no answer, and the step with room for it
//!               TOO_BIG ─► too_big  budget of the VIP ─► cut to what is quoted ─► ICMP and IP header in front
//! ```
//!
//! The answer leaves by the interface the packet came in by, to the MAC address it came from, with the VLAN tags it had:
//! whoever brought the packet knows the way back. What came to many (a link-layer broadcast or multicast) or from nobody in
//! particular is never answered (RFC 1122 §3.2.2, RFC 4443 §2.4 e).

mod echo;
mod link;
mod too_big;

use crate::Packet;
use crate::bytes::Address;
use crate::clone;
use crate::plan::{Answer, Plan, PlanFlags};
use crate::process::{Count, Outcome, Step};
use crate::tables::Tables;
use crate::verdict::Verdict;

/// TTL or hop limit of answers.
const ANSWER_TTL: u8 = 64;

/// Turns the frame into the answer that the plan asks for.
#[inline(always)]
pub fn answer<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Step {
    let verdict = match tables.plan() {
        Some(plan) => answer_by(packet, tables, &plan),
        None => Verdict::DropInternal,
    };
    Step::Done(Outcome { verdict, egress_ifindex: 0 })
}

#[inline(always)]
fn answer_by<P: Packet, T: Tables>(packet: &mut P, tables: &T, plan: &Plan) -> Verdict {
    match plan.answer {
        Answer::ECHO => echo::echo(packet, plan).unwrap_or(Verdict::DropTruncated),
        Answer::TOO_BIG => {
            // A packet of its service, whether or not its sender is told.
            tables.count(&Count {
                service: plan.service,
                backend: 0,
                ip_len: plan.ip_len,
                is_new_flow: false,
            });
            let told = if plan.has(PlanFlags::V6) {
                too_big::v6(packet, tables, plan)
            } else {
                too_big::v4(packet, tables, plan)
            };
            match told {
                Ok(()) => Verdict::AnswerTooBig,
                Err(verdict) => verdict,
            }
        }
        Answer::CLONE => clone::hand_over(packet, tables, plan),
        _ => Verdict::DropInternal,
    }
}

/// Whether an answer may go to this IPv4 address: not to this network, the machine itself, many, or nobody.
#[inline(always)]
pub(crate) const fn is_host_v4(address_be: u32) -> bool {
    let [first, ..] = address_be.to_ne_bytes();
    first != 0 && first != 127 && first < 224
}

/// Whether an answer may go to this IPv6 address: as [`is_host_v4`].
#[inline(always)]
pub(crate) const fn is_host_v6(address: &Address) -> bool {
    let a = &address.0;
    let [first, ..] = a[0].to_ne_bytes();
    // The unspecified address, the loopback address and what stands for an IPv4 address begin with 64 bits of zero.
    first != 0xff && a[0] | a[1] != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    #[test]
    fn nobody_and_everybody_are_not_answered() {
        let may = |text: &str| match text.parse::<IpAddr>().unwrap() {
            IpAddr::V4(v4) => is_host_v4(u32::from_ne_bytes(v4.octets())),
            v6 @ IpAddr::V6(_) => is_host_v6(&v6.into()),
        };
        for host in ["1.1.1.1", "10.0.0.1", "203.0.113.7", "223.255.255.255", "2001:db8::1", "fe80::1"] {
            assert!(may(host), "{host}");
        }
        let none = [
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "::ffff:1.1.1.1",
        ];
        for address in none {
            assert!(!may(address), "{address}");
        }
    }
}
