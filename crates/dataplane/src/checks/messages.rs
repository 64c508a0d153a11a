// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Orders to the kernel, and what of its lists is ours: pure.

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use weir_dataplane_core::check::MARK_MASK;

use super::OwnLink;
use crate::config::CheckPath;
use crate::next_hop::NEIGHBOUR_PROTOCOL;

/// Flags of an order that makes something which must not be there yet.
pub(super) const EXCLUSIVE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// What our routes and rules are marked with, as are our neighbours.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(NEIGHBOUR_PROTOCOL);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    const fn number(self) -> AddressFamily {
        match self {
            Self::V4 => AddressFamily::Inet,
            Self::V6 => AddressFamily::Inet6,
        }
    }
}

/// What distinguishes a rule of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) priority: u32,
    pub(super) mark: u32,
    pub(super) table: u32,
}

impl Rule {
    pub(super) fn of(path: &CheckPath) -> Self {
        Self { priority: path.priority, mark: path.mark, table: path.table }
    }
}

/// A pair of interfaces, down. One segment at a time: what is larger than a path is not made in the first place.
pub(super) fn make_pair(name: &str, peer: &str, mtu: u32) -> RouteNetlinkMessage {
    let end = |name: &str| {
        let mut end = LinkMessage::default();
        end.attributes.push(LinkAttribute::IfName(name.to_owned()));
        end.attributes.push(LinkAttribute::Mtu(mtu));
        end.attributes.push(LinkAttribute::GsoMaxSegs(1));
        end
    };
    let mut message = end(name);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(end(peer)))),
    ]));
    RouteNetlinkMessage::NewLink(message)
}

fn change(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

/// Marks the interface as ours, and switches ARP off.
pub(super) fn own(index: u32, alias: &str) -> RouteNetlinkMessage {
    let mut message = change(index);
    message.header.flags = LinkFlags::Noarp;
    message.header.change_mask = LinkFlags::Noarp;
    message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
    RouteNetlinkMessage::SetLink(message)
}

/// No link-local address, so no duplicate address detection and no router solicitations either.
pub(super) fn no_addresses(index: u32) -> RouteNetlinkMessage {
    let mut message = change(index);
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])]));
    RouteNetlinkMessage::SetLink(message)
}

pub(super) fn up(index: u32) -> RouteNetlinkMessage {
    let mut message = change(index);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(message)
}

pub(super) fn delete_link(index: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelLink(change(index))
}

pub(super) fn all_links() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(LinkMessage::default())
}

/// The interface, if it carries our alias.
pub(super) fn own_link(message: &RouteNetlinkMessage, alias: &str) -> Option<OwnLink> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let is_ours = link
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, LinkAttribute::IfAlias(found) if found == alias));
    let is_up = link.header.flags.contains(LinkFlags::Up);
    is_ours.then_some(OwnLink { index: link.header.index, is_up })
}

/// Everything that asks `table` leaves by interface `index`.
pub(super) fn default_route(family: Family, table: u32, index: u32) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family.number();
    message.header.protocol = PROTOCOL;
    message.header.kind = RouteType::Unicast;
    message.header.scope = match family {
        // There is no router to ask: every destination is taken to be on the link.
        Family::V4 => RouteScope::Link,
        Family::V6 => RouteScope::Universe,
    };
    message.attributes.push(RouteAttribute::Table(table));
    message.attributes.push(RouteAttribute::Oif(index));
    RouteNetlinkMessage::NewRoute(message)
}

pub(super) fn routes_by(family: Family, index: u32) -> RouteNetlinkMessage {
    routes(family, RouteAttribute::Oif(index))
}

pub(super) fn routes_of(family: Family, table: u32) -> RouteNetlinkMessage {
    routes(family, RouteAttribute::Table(table))
}

fn routes(family: Family, filter: RouteAttribute) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family.number();
    message.attributes.push(filter);
    RouteNetlinkMessage::GetRoute(message)
}

/// The table of the route, if it is ours and leaves by interface `index`.
pub(super) fn own_table(message: &RouteNetlinkMessage, index: u32) -> Option<u32> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let mut table = u32::from(route.header.table);
    let mut is_there = false;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Oif(number) => is_there = *number == index,
            _ => {}
        }
    }
    (is_there && route.header.protocol == PROTOCOL).then_some(table)
}

fn rule(family: Family, rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family.number();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::FwMark(rule.mark),
        RuleAttribute::FwMask(MARK_MASK),
        RuleAttribute::Table(rule.table),
        RuleAttribute::Protocol(PROTOCOL),
    ];
    message
}

pub(super) fn make_rule(family: Family, wanted: &Rule) -> RouteNetlinkMessage {
    RouteNetlinkMessage::NewRule(rule(family, wanted))
}

pub(super) fn delete_rule(family: Family, gone: &Rule) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelRule(rule(family, gone))
}

pub(super) fn all_rules(family: Family) -> RouteNetlinkMessage {
    let mut message = RuleMessage::default();
    message.header.family = family.number();
    RouteNetlinkMessage::GetRule(message)
}

/// The rule, if it is of the kind that is made here.
pub(super) fn own_rule(message: &RouteNetlinkMessage) -> Option<Rule> {
    let RouteNetlinkMessage::NewRule(found) = message else { return None };
    let mut rule = Rule { priority: 0, mark: 0, table: u32::from(found.header.table) };
    let (mut is_ours, mut mask) = (false, 0);
    for attribute in &found.attributes {
        match attribute {
            RuleAttribute::Priority(number) => rule.priority = *number,
            RuleAttribute::FwMark(number) => rule.mark = *number,
            RuleAttribute::FwMask(number) => mask = *number,
            RuleAttribute::Table(number) => rule.table = *number,
            RuleAttribute::Protocol(protocol) => is_ours = *protocol == PROTOCOL,
            _ => {}
        }
    }
    (is_ours && mask == MARK_MASK && found.header.action == RuleAction::ToTable).then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Rule = Rule { priority: 5765, mark: 0x5765_0000, table: 5765 };

    #[test]
    fn rules_and_routes_are_known_again() {
        assert_eq!(own_rule(&make_rule(Family::V6, &OURS)), Some(OURS));
        let route = default_route(Family::V4, 5765, 7);
        assert_eq!(own_table(&route, 7), Some(5765));
        assert_eq!(own_table(&route, 8), None, "another interface");
        let RouteNetlinkMessage::NewRoute(mut foreign) = route else { panic!() };
        foreign.header.protocol = RouteProtocol::Static;
        assert_eq!(own_table(&RouteNetlinkMessage::NewRoute(foreign), 7), None, "somebody else's");
    }

    #[test]
    fn rules_of_others_are_let_alone() {
        let RouteNetlinkMessage::NewRule(ours) = make_rule(Family::V4, &OURS) else { panic!() };
        let without = |skip: usize| {
            let mut rule = ours.clone();
            rule.attributes.remove(skip);
            own_rule(&RouteNetlinkMessage::NewRule(rule))
        };
        assert_eq!(without(4), None, "no protocol number");
        assert_eq!(without(2), None, "another mask");
        let mut action = ours.clone();
        action.header.action = RuleAction::Blackhole;
        assert_eq!(own_rule(&RouteNetlinkMessage::NewRule(action)), None);
    }

    #[test]
    fn links_are_ours_by_alias_and_not_by_name() {
        let mut link = LinkMessage::default();
        link.header.index = 7;
        link.attributes.push(LinkAttribute::IfName("hc0".to_owned()));
        assert_eq!(own_link(&RouteNetlinkMessage::NewLink(link.clone()), "weir a"), None);
        link.attributes.push(LinkAttribute::IfAlias("weir a".to_owned()));
        let link = RouteNetlinkMessage::NewLink(link);
        assert_eq!(own_link(&link, "weir a"), Some(OwnLink { index: 7, is_up: false }));
        assert_eq!(own_link(&link, "weir b"), None);
    }
}
