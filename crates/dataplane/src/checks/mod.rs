// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The way that packets of health checks take to one certain backend: interface, routes and rules.
//!
//! ```text
//!  socket: mark = base | backend id ──► rule: fwmark base/0xffff0000 lookup TABLE
//!                                        └► default dev hc0 ──► hc0, egress: weir_checks
//!                                              encapsulate as XDP does, clear the mark, redirect to the uplink
//! ```
//!
//! `hc0` is a veth without ARP and without addresses, so that no packet waits for a neighbour before the program sees it; its
//! other end, `hc0-p`, hears nothing, since the program redirects or drops all there is. Everything is found again after a
//! crash: both ends carry the alias `weir <pin directory>`, routes and rules the protocol number of this crate's neighbours.
//! What carries another alias, or none, is somebody else's and refused.
//!
//! `netlink` is the socket, `messages` makes and reads what goes over it, this file is the order of things. It does not know
//! BPF: the caller puts the program on the interface, through a closure, before anything leads there.

mod messages;
mod netlink;

use std::collections::BTreeSet;
use std::io;

use crate::config::CheckPath;
use messages::{FAMILIES, Family, Rule};
use netlink::Netlink;

/// MTU of the interface: the least that IPv6 allows (RFC 8200 §5). So the segments of a check are small enough to fit every
/// path with an outer header, and the backend is asked for small ones.
const MTU: u32 = 1280;
/// Longest interface name (`IFNAMSIZ` less its end), with the other end's suffix.
const NAME_MAX: usize = 15 - PEER_SUFFIX.len();
/// What the other end's name has behind the interface's.
const PEER_SUFFIX: &str = "-p";

/// Why packets of health checks have no path.
#[derive(Debug, thiserror::Error)]
pub enum CheckPathError {
    /// The dataplane was opened without one.
    #[error("no check path is configured")]
    NotConfigured,
    /// The mark leaves no room for ids, or cannot be told from "no mark".
    #[error("mark {mark:#010x} of health checks: the upper 16 bits must not all be 0, the lower 16 must be")]
    Mark {
        /// What was asked for.
        mark: u32,
    },
    /// The name is too long for the kernel.
    #[error("interface name `{interface}` of health checks: 1 to {NAME_MAX} characters are possible")]
    Name {
        /// What was asked for.
        interface: String,
    },
    /// An interface of that name is there, and not this instance's.
    #[error(
        "interface `{interface}` exists and was not made by this instance: remove it (`ip link delete {interface}`) or name \
         another one for health checks"
    )]
    InterfaceTaken {
        /// Its name.
        interface: String,
    },
    /// The table has a default route already.
    #[error(
        "routing table {table} has an {family} default route of somebody else: name another table for health checks"
    )]
    TableTaken {
        /// Its number.
        table: u32,
        /// The address family.
        family: &'static str,
    },
    /// The rule is there already, and not this instance's.
    #[error(
        "{family} rule `fwmark {mark:#010x}/0xffff0000 lookup {table}` is somebody else's: give health checks another mark"
    )]
    RuleTaken {
        /// The address family.
        family: &'static str,
        /// The mark.
        mark: u32,
        /// The table.
        table: u32,
    },
    /// IPv6 is off on new interfaces.
    #[error(
        "IPv6 is off on interface `{interface}`: health checks of IPv6 services need it \
         (`sysctl net.ipv6.conf.default.disable_ipv6=0`)"
    )]
    NoIpv6 {
        /// The interface.
        interface: String,
    },
    /// The kernel refused.
    #[error("{action}")]
    Kernel {
        /// What was attempted, and on what.
        action: String,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The program could not be put on the interface.
    #[error("program of health checks on `{interface}`")]
    Program {
        /// The interface.
        interface: String,
        /// Why not.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
}

/// Address families that checks are made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Families {
    /// There is an IPv4 source address.
    pub(crate) v4: bool,
    /// There is an IPv6 source address.
    pub(crate) v6: bool,
}

impl Families {
    fn wanted(self) -> impl Iterator<Item = Family> {
        FAMILIES.into_iter().filter(move |family| match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        })
    }
}

/// Makes interface, routes and rules; `attach` is called in between, when the interface is there and nothing leads to it.
/// What a former process of the same `alias` left is removed before. Gives the interface's index.
///
/// # Errors
/// [`CheckPathError`]; nothing is left of the attempt then.
pub(crate) fn open(
    path: &CheckPath,
    alias: &str,
    families: Families,
    attach: impl FnOnce(&str) -> Result<(), CheckPathError>,
) -> Result<u32, CheckPathError> {
    check(path)?;
    let mut kernel = Kernel::new()?;
    kernel.remove(alias)?;
    kernel.remove_orphans(path)?;
    let made = kernel.make(path, alias, families, attach);
    if made.is_err()
        && let Err(error) = kernel.remove(alias)
    {
        tracing::warn!(%error, "what is left of the check path could not be removed");
    }
    made
}

/// Removes what carries `alias`, and the rules that lead there, also those of `path` whose interface somebody removed. Nothing
/// there is fine.
///
/// # Errors
/// [`CheckPathError::Kernel`].
pub(crate) fn close(path: Option<&CheckPath>, alias: &str) -> Result<(), CheckPathError> {
    let mut kernel = Kernel::new()?;
    kernel.remove(alias)?;
    path.map_or(Ok(()), |path| kernel.remove_orphans(path))
}

/// Whether interface `index` with its routes and rules is still there as [`open`] made it.
///
/// # Errors
/// [`CheckPathError::Kernel`].
pub(crate) fn is_whole(
    path: &CheckPath,
    alias: &str,
    families: Families,
    index: u32,
) -> Result<bool, CheckPathError> {
    let mut kernel = Kernel::new()?;
    let is_up = kernel.links(alias)?.iter().any(|link| link.index == index && link.is_up);
    if !is_up {
        return Ok(false);
    }
    for family in families.wanted() {
        let is_routed = kernel.tables_to(family, index)?.contains(&path.table);
        let is_ruled = kernel.rules(family)?.iter().filter(|rule| **rule == Rule::of(path)).count() == 1;
        if !is_routed || !is_ruled {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The other end's name.
pub(crate) fn peer_of(interface: &str) -> String {
    format!("{interface}{PEER_SUFFIX}")
}

fn check(path: &CheckPath) -> Result<(), CheckPathError> {
    let mask = weir_dataplane_core::check::MARK_MASK;
    if path.mark & mask == 0 || path.mark & !mask != 0 {
        return Err(CheckPathError::Mark { mark: path.mark });
    }
    if path.interface.is_empty() || path.interface.len() > NAME_MAX {
        return Err(CheckPathError::Name { interface: path.interface.clone() });
    }
    Ok(())
}

/// An interface of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OwnLink {
    index: u32,
    is_up: bool,
}

/// The kernel, asked one question at a time.
struct Kernel(Netlink);

impl Kernel {
    fn new() -> Result<Self, CheckPathError> {
        Netlink::open().map(Self).map_err(failed("open a netlink socket"))
    }

    fn links(&mut self, alias: &str) -> Result<Vec<OwnLink>, CheckPathError> {
        let all = self.0.dump(messages::all_links()).map_err(failed("list interfaces"))?;
        Ok(all.iter().filter_map(|message| messages::own_link(message, alias)).collect())
    }

    /// Tables with a route of ours by interface `index`.
    fn tables_to(&mut self, family: Family, index: u32) -> Result<BTreeSet<u32>, CheckPathError> {
        let all = self.0.dump(messages::routes_by(family, index)).map_err(failed("list routes"))?;
        Ok(all.iter().filter_map(|message| messages::own_table(message, index)).collect())
    }

    /// Rules of ours.
    fn rules(&mut self, family: Family) -> Result<Vec<Rule>, CheckPathError> {
        let all = self.0.dump(messages::all_rules(family)).map_err(failed("list rules"))?;
        Ok(all.iter().filter_map(messages::own_rule).collect())
    }

    /// Rules first, so that nothing is led to an interface that is going; routes go with it.
    fn remove(&mut self, alias: &str) -> Result<(), CheckPathError> {
        let links = self.links(alias)?;
        for family in FAMILIES {
            let mut tables = BTreeSet::new();
            for link in &links {
                tables.append(&mut self.tables_to(family, link.index)?);
            }
            if tables.is_empty() {
                continue;
            }
            for rule in self.rules(family)?.iter().filter(|rule| tables.contains(&rule.table)) {
                self.tell(messages::delete_rule(family, rule), "remove a rule", &[libc::ENOENT])?;
            }
        }
        for link in &links {
            // The second end is gone with the first.
            self.tell(messages::delete_link(link.index), "remove an interface", &[libc::ENODEV])?;
        }
        Ok(())
    }

    /// The rules of `path`, if their table leads nowhere: what the table's routes went by is gone, or the process died before
    /// it made them.
    fn remove_orphans(&mut self, path: &CheckPath) -> Result<(), CheckPathError> {
        for family in FAMILIES {
            if !self.rules(family)?.contains(&Rule::of(path)) {
                continue;
            }
            let routes = match self.0.dump(messages::routes_of(family, path.table)) {
                // A table exists for as long as it has routes.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Vec::new(),
                other => other.map_err(failed("list routes"))?,
            };
            if routes.is_empty() {
                let order = messages::delete_rule(family, &Rule::of(path));
                self.tell(order, "remove a rule", &[libc::ENOENT])?;
            }
        }
        Ok(())
    }

    fn make(
        &mut self,
        path: &CheckPath,
        alias: &str,
        families: Families,
        attach: impl FnOnce(&str) -> Result<(), CheckPathError>,
    ) -> Result<u32, CheckPathError> {
        let name = &path.interface;
        let peer = peer_of(name);
        self.make_link(name, &peer)?;
        let index = |name: &str| {
            crate::kernel::link::ifindex(name)
                .ok_or_else(|| failed(&format!("find interface `{name}`"))(io::ErrorKind::NotFound.into()))
        };
        let (hc, other) = (index(name)?, index(&peer)?);
        for index in [hc, other] {
            self.tell(messages::own(index, alias), &format!("name `{name}` as ours"), &[])?;
            // Without IPv6 in the kernel there is nothing to switch off.
            self.tell(messages::no_addresses(index), &format!("keep `{name}` without addresses"), NO_IPV6)?;
        }
        attach(name)?;
        // The other end first: then the carrier is there from the beginning.
        for index in [other, hc] {
            self.tell(messages::up(index), &format!("bring up `{name}`"), &[])?;
        }
        for family in families.wanted() {
            self.make_route(family, path, hc)?;
            self.make_rule(family, path)?;
        }
        Ok(hc)
    }

    fn make_link(&mut self, name: &str, peer: &str) -> Result<(), CheckPathError> {
        match self.0.tell(messages::make_pair(name, peer, MTU), messages::EXCLUSIVE) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                let taken = if crate::kernel::link::ifindex(name).is_some() { name } else { peer };
                Err(CheckPathError::InterfaceTaken { interface: taken.to_owned() })
            }
            other => other.map_err(failed(&format!("make interface `{name}`"))),
        }
    }

    fn make_route(&mut self, family: Family, path: &CheckPath, index: u32) -> Result<(), CheckPathError> {
        let table = path.table;
        match self.0.tell(messages::default_route(family, table, index), messages::EXCLUSIVE) {
            Err(error) => Err(match error.raw_os_error() {
                Some(libc::EEXIST) => CheckPathError::TableTaken { table, family: family.name() },
                Some(libc::EACCES | libc::EAFNOSUPPORT | libc::EOPNOTSUPP) if family == Family::V6 => {
                    CheckPathError::NoIpv6 { interface: path.interface.clone() }
                }
                _ => failed(&format!("make the {} route of table {table}", family.name()))(error),
            }),
            Ok(()) => Ok(()),
        }
    }

    fn make_rule(&mut self, family: Family, path: &CheckPath) -> Result<(), CheckPathError> {
        match self.0.tell(messages::make_rule(family, &Rule::of(path)), messages::EXCLUSIVE) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                Err(CheckPathError::RuleTaken { family: family.name(), mark: path.mark, table: path.table })
            }
            other => other.map_err(failed(&format!("make the {} rule", family.name()))),
        }
    }

    /// Sends one order; errors in `fine` mean that there was nothing to do.
    fn tell(
        &mut self,
        message: rtnetlink::packet_route::RouteNetlinkMessage,
        action: &str,
        fine: &[i32],
    ) -> Result<(), CheckPathError> {
        match self.0.tell(message, 0) {
            Err(error) if error.raw_os_error().is_some_and(|number| fine.contains(&number)) => Ok(()),
            other => other.map_err(failed(action)),
        }
    }
}

/// What the kernel says when it has no IPv6 at all.
const NO_IPV6: &[i32] = &[libc::EAFNOSUPPORT, libc::EOPNOTSUPP];

fn failed(action: &str) -> impl FnOnce(io::Error) -> CheckPathError {
    let action = action.to_owned();
    move |source| CheckPathError::Kernel { action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(interface: &str, mark: u32) -> CheckPath {
        CheckPath { interface: interface.to_owned(), mark, table: 5765, priority: 5765 }
    }

    #[test]
    fn marks_have_an_upper_half_and_no_lower_one() {
        assert!(check(&path("hc0", 0x5765_0000)).is_ok());
        assert!(check(&path("hc0", 0x0001_0000)).is_ok());
        for mark in [0, 1, 0x5765_0001, 0xffff, u32::MAX] {
            let error = check(&path("hc0", mark)).unwrap_err();
            assert!(matches!(error, CheckPathError::Mark { .. }), "{mark:#x}: {error}");
        }
    }

    #[test]
    fn names_leave_room_for_the_other_end() {
        assert!(check(&path("abcdefghijklm", 0x5765_0000)).is_ok());
        assert!(check(&path("abcdefghijklmn", 0x5765_0000)).is_err());
        assert!(check(&path("", 0x5765_0000)).is_err());
        assert_eq!(peer_of("hc0"), "hc0-p");
    }
}
