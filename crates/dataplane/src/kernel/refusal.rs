// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why a driver refused the program, and what to do about it. Pure: an error number and what the interface says of itself in,
//! a cause and its remedy out.
//!
//! Drivers answer with a handful of numbers and put their reasons into the kernel log at best. What they mean by them, as
//! far as is known:
//!
//! | cause | drivers say |
//! |---|---|
//! | no native XDP at all | EOPNOTSUPP |
//! | a bond: its mode or hash policy, a member without XDP or with a program of its own | EOPNOTSUPP |
//! | a bond: what a member's driver says | as that driver |
//! | too few queues: a transmit queue for each CPU | ENOMEM, EINVAL, ENOSPC (veth) |
//! | MTU beyond one buffer | ERANGE (veth), EINVAL, EOPNOTSUPP, E2BIG |
//! | LRO on | EINVAL, EOPNOTSUPP |
//! | another program there | EBUSY, EEXIST |
//!
//! The order of the questions goes from the certain to the likely: a number that only one cause has, then what the
//! interface says of itself.

use super::facts::{Facts, Queues};
use super::link::Mode;

/// The largest MTU that every driver takes: a page less head room and the kernel's own data behind the frame.
pub const MTU_ONE_BUFFER: u32 = 3_498;

/// The driver of bonds, as it calls itself.
const BONDING: &str = "bonding";

/// Why the program is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody else's program is there, or one of the other mode.
    Busy,
    /// This process may not.
    NotPermitted,
    /// An 802.1Q device: the program belongs on the interface below.
    TaggedDevice,
    /// A bond, for its own sake or for one of its members.
    Bond,
    /// The driver has no native XDP.
    NoNativeXdp {
        /// The driver.
        driver: String,
    },
    /// The MTU is larger than what the driver takes.
    MtuTooLarge {
        /// As it is, if it could be read.
        mtu: Option<u32>,
    },
    /// The hardware merges packets.
    Lro,
    /// No transmit queues are left for the program.
    Queues {
        /// In words, for the operator.
        found: String,
        /// Pairs of queues to go down to; `None` when no number helps.
        combined: Option<u32>,
    },
    /// None of these.
    Unknown,
}

/// The cause behind `errno`.
pub fn refusal(errno: i32, mode: Mode, facts: &Facts) -> Refusal {
    let is_tagged = facts.driver.as_deref() == Some("802.1Q VLAN Support");
    match errno {
        libc::EBUSY | libc::EEXIST => Refusal::Busy,
        libc::EPERM | libc::EACCES => Refusal::NotPermitted,
        libc::ERANGE | libc::E2BIG => Refusal::MtuTooLarge { mtu: facts.mtu },
        libc::EOPNOTSUPP if is_tagged => Refusal::TaggedDevice,
        libc::EOPNOTSUPP | libc::EINVAL | libc::ENOMEM | libc::ENOSPC => {
            refused_by_driver(errno, mode, facts)
        }
        _ => Refusal::Unknown,
    }
}

fn refused_by_driver(errno: i32, mode: Mode, facts: &Facts) -> Refusal {
    // A bond has no queues of its own to count, and where it says "not supported" it means its mode or its members.
    let is_bond = mode == Mode::Native && facts.driver.as_deref() == Some(BONDING);
    // Its LRO is that of its members, and on without any.
    if is_bond && errno == libc::EOPNOTSUPP {
        return Refusal::Bond;
    }
    let is_about_setup = matches!(errno, libc::EINVAL | libc::EOPNOTSUPP);
    if is_about_setup && facts.is_lro_on == Some(true) {
        return Refusal::Lro;
    }
    if is_about_setup && facts.mtu.is_some_and(|mtu| mtu > MTU_ONE_BUFFER) {
        return Refusal::MtuTooLarge { mtu: facts.mtu };
    }
    match facts.queues {
        _ if is_bond => Refusal::Bond,
        Some(queues) if errno != libc::EOPNOTSUPP && is_short(queues, facts.cpus, errno) => {
            too_few_queues(queues, facts.cpus)
        }
        _ if errno == libc::EOPNOTSUPP && mode == Mode::Native => {
            Refusal::NoNativeXdp { driver: facts.driver.clone().unwrap_or_else(|| "unknown".to_owned()) }
        }
        _ => Refusal::Unknown,
    }
}

/// Whether there are not as many queues to spare as there are CPUs. ENOMEM and ENOSPC mean that anyway.
fn is_short(queues: Queues, cpus: u32, errno: i32) -> bool {
    errno != libc::EINVAL || queues.combined.saturating_add(cpus) > queues.combined_max
}

fn too_few_queues(queues: Queues, cpus: u32) -> Refusal {
    let Queues { combined_max, combined, receive, transmit } = queues;
    let found = if combined > 0 {
        format!("{combined} of {combined_max} combined queues in use, {cpus} CPUs")
    } else {
        format!("{receive} receive and {transmit} transmit queues, {cpus} CPUs")
    };
    // Half is what each known driver leaves room for, and more than all spare queues is never needed.
    let half = combined_max / 2;
    let combined = (half >= 1 && half < combined).then_some(half);
    Refusal::Queues { found, combined }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(name: &str) -> Facts {
        Facts {
            driver: Some(name.to_owned()),
            mtu: Some(1500),
            queues: None,
            is_lro_on: Some(false),
            cpus: 8,
        }
    }

    fn queues(combined: u32, combined_max: u32) -> Option<Queues> {
        Some(Queues { combined_max, combined, ..Queues::default() })
    }

    #[test]
    fn each_cause_is_found_by_number_and_facts() {
        let short = |found: &str, combined| Refusal::Queues { found: found.to_owned(), combined };
        let no_native = |driver: &str| Refusal::NoNativeXdp { driver: driver.to_owned() };
        let jumbo = |name| Facts { mtu: Some(9000), ..driver(name) };
        let full = |name| Facts { queues: queues(8, 8), ..driver(name) };
        let with_lro = |name| Facts { is_lro_on: Some(true), ..driver(name) };
        let (native, generic) = (Mode::Native, Mode::Generic);
        let eight = "8 of 8 combined queues in use, 8 CPUs";
        let cases = [
            ("another program", libc::EBUSY, native, driver("ixgbe"), Refusal::Busy),
            ("another program, by a link", libc::EEXIST, native, driver("veth"), Refusal::Busy),
            ("no right", libc::EPERM, native, driver("ixgbe"), Refusal::NotPermitted),
            (
                "veth, peer's MTU",
                libc::ERANGE,
                native,
                driver("veth"),
                Refusal::MtuTooLarge { mtu: Some(1500) },
            ),
            ("frame size", libc::E2BIG, native, jumbo("ixgbevf"), Refusal::MtuTooLarge { mtu: Some(9000) }),
            (
                "jumbo, EINVAL",
                libc::EINVAL,
                native,
                jumbo("mlx5_core"),
                Refusal::MtuTooLarge { mtu: Some(9000) },
            ),
            (
                "jumbo, EOPNOTSUPP",
                libc::EOPNOTSUPP,
                native,
                jumbo("bnxt_en"),
                Refusal::MtuTooLarge { mtu: Some(9000) },
            ),
            ("LRO", libc::EINVAL, native, with_lro("qede"), Refusal::Lro),
            ("LRO, EOPNOTSUPP", libc::EOPNOTSUPP, native, with_lro("bnxt_en"), Refusal::Lro),
            ("queues, ENOMEM", libc::ENOMEM, native, full("virtio_net"), short(eight, Some(4))),
            ("queues, EINVAL", libc::EINVAL, native, full("ena"), short(eight, Some(4))),
            (
                "one queue only",
                libc::ENOMEM,
                native,
                Facts { queues: queues(1, 1), ..driver("virtio_net") },
                short("1 of 1 combined queues in use, 8 CPUs", None),
            ),
            (
                "queues to spare",
                libc::EINVAL,
                native,
                Facts { queues: queues(8, 63), ..driver("ixgbe") },
                Refusal::Unknown,
            ),
            ("ENOMEM, queues unread", libc::ENOMEM, native, driver("ixgbe"), Refusal::Unknown),
            (
                "veth queues",
                libc::ENOSPC,
                native,
                Facts {
                    queues: Some(Queues { receive: 1, transmit: 1, ..Queues::default() }),
                    ..driver("veth")
                },
                short("1 receive and 1 transmit queues, 8 CPUs", None),
            ),
            ("no native XDP", libc::EOPNOTSUPP, native, driver("bridge"), no_native("bridge")),
            ("no native XDP, queues full", libc::EOPNOTSUPP, native, full("tg3"), no_native("tg3")),
            ("nobody knows the driver", libc::EOPNOTSUPP, native, Facts::default(), no_native("unknown")),
            (
                "a tagged device",
                libc::EOPNOTSUPP,
                native,
                driver("802.1Q VLAN Support"),
                Refusal::TaggedDevice,
            ),
            (
                "a bond's mode, or a member without XDP",
                libc::EOPNOTSUPP,
                native,
                driver("bonding"),
                Refusal::Bond,
            ),
            ("a bond's member short of queues", libc::ENOMEM, native, driver("bonding"), Refusal::Bond),
            ("a bond's member, whatever else", libc::EINVAL, native, driver("bonding"), Refusal::Bond),
            (
                "a bond with jumbo frames",
                libc::EINVAL,
                native,
                jumbo("bonding"),
                Refusal::MtuTooLarge { mtu: Some(9000) },
            ),
            (
                "a bond with jumbo frames refuses for its mode",
                libc::EOPNOTSUPP,
                native,
                jumbo("bonding"),
                Refusal::Bond,
            ),
            ("a bond with LRO", libc::EINVAL, native, with_lro("bonding"), Refusal::Lro),
            ("a bond of a mode without XDP", libc::EOPNOTSUPP, native, with_lro("bonding"), Refusal::Bond),
            ("a bond, generic", libc::EOPNOTSUPP, generic, driver("bonding"), Refusal::Unknown),
            ("generic refused", libc::EOPNOTSUPP, generic, driver("dummy"), Refusal::Unknown),
            ("something else", libc::EIO, native, driver("ixgbe"), Refusal::Unknown),
        ];
        for (name, errno, mode, facts, expected) in cases {
            assert_eq!(refusal(errno, mode, &facts), expected, "{name}");
        }
    }
}
