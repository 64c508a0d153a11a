// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One meaning for what two codecs read, so that it can be compared.

use std::net::{IpAddr, Ipv4Addr};

use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::capabilities::BgpCapability;
use netgauze_bgp_pkt::notification::BgpNotificationMessage;
use netgauze_bgp_pkt::path_attribute::{
    As4PathSegment, AsPath, AsPathSegmentType, MpReach, MpUnreach, PathAttributeValue,
};
use netgauze_bgp_pkt::update::BgpUpdateMessage;
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use weir_bgp::Prefix;
use weir_bgp::wire::{AfiSafi, Message, Origin, SegmentKind, Update};

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Meaning {
    Open { two_octet_as: u16, hold_time_s: u16, router_id: Ipv4Addr, capabilities: Vec<u8> },
    Update(Box<Said>),
    Notification { code: u8, subcode: u8, data: Vec<u8> },
    Keepalive,
    Refresh { family: (u16, u8), subtype: u8 },
}

/// A segment: whether it is a set, and its numbers.
type Path = Vec<(bool, Vec<u32>)>;

/// What an UPDATE says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Said {
    pub(crate) withdrawn: Vec<Prefix>,
    pub(crate) announced: Vec<Prefix>,
    pub(crate) unreach: Vec<Prefix>,
    pub(crate) reach: Vec<Prefix>,
    pub(crate) next_hop: Option<Ipv4Addr>,
    pub(crate) reach_next_hops: Vec<IpAddr>,
    pub(crate) origin: Option<u8>,
    pub(crate) as_path: Option<Path>,
    pub(crate) as4_path: Option<Path>,
    pub(crate) med: Option<u32>,
    pub(crate) communities: Vec<u32>,
    pub(crate) extended_communities: Vec<[u8; 8]>,
    pub(crate) large_communities: Vec<[u32; 3]>,
}

/// What our decoder read.
pub(crate) fn ours(message: &Message) -> Meaning {
    match message {
        Message::Open(open) => Meaning::Open {
            two_octet_as: open.two_octet_as,
            hold_time_s: open.hold_time_s,
            router_id: open.router_id,
            capabilities: open.capabilities.iter().map(weir_bgp::wire::Capability::code).collect(),
        },
        Message::Update(update) => Meaning::Update(Box::new(ours_said(update))),
        Message::Notification(notification) => Meaning::Notification {
            code: notification.code(),
            subcode: notification.subcode(),
            data: notification.data().to_vec(),
        },
        Message::Keepalive => Meaning::Keepalive,
        Message::Refresh(refresh) => {
            let AfiSafi { afi, safi } = refresh.family;
            Meaning::Refresh { family: (afi, safi), subtype: refresh.kind.to_raw() }
        }
    }
}

pub(crate) fn ours_said(update: &Update) -> Said {
    let from = &update.attributes;
    let path = |path: &weir_bgp::wire::AsPath| {
        path.segments.iter().map(|s| (s.kind == SegmentKind::Set, s.asns.clone())).collect()
    };
    Said {
        withdrawn: update.withdrawn.clone(),
        announced: update.nlri.clone(),
        unreach: from.mp_unreach.as_ref().map(|u| u.nlri.clone()).unwrap_or_default(),
        reach: from.mp_reach.as_ref().map(|r| r.nlri.clone()).unwrap_or_default(),
        next_hop: from.next_hop,
        reach_next_hops: from.mp_reach.as_ref().map(|r| r.next_hops.clone()).unwrap_or_default(),
        origin: from.origin.map(|origin| match origin {
            Origin::Igp => 0,
            Origin::Egp => 1,
            Origin::Incomplete => 2,
        }),
        as_path: from.as_path.as_ref().map(path),
        as4_path: from.as4_path.as_ref().map(path),
        med: from.med,
        communities: from.communities.clone(),
        extended_communities: from.extended_communities.clone(),
        large_communities: from.large_communities.clone(),
    }
}

/// What the other decoder reads; a panic of it is an error like any other.
pub(crate) fn read_theirs(octets: &[u8], four_octet_as: bool) -> Result<BgpMessage, String> {
    let read = std::panic::catch_unwind(|| {
        let mut context = BgpParsingContext::default();
        context.set_asn4(four_octet_as);
        let mut reader = SliceReader::new(octets);
        let message = BgpMessage::parse(&mut reader, &mut context).map_err(|e| format!("{e:?}"))?;
        // They take a message from the front of a stream; what follows is another one.
        if reader.is_empty() { Ok(message) } else { Err("octets behind the message".to_owned()) }
    });
    read.unwrap_or_else(|_| Err("panic".to_owned()))
}

/// What the other decoder's message says; `None` for a family we do not speak.
pub(crate) fn theirs(message: &BgpMessage) -> Meaning {
    match message {
        BgpMessage::Open(open) => Meaning::Open {
            two_octet_as: open.my_as(),
            hold_time_s: open.hold_time(),
            router_id: open.bgp_id(),
            capabilities: open.capabilities().into_iter().map(code).collect(),
        },
        BgpMessage::Update(update) => Meaning::Update(Box::new(theirs_said(update))),
        BgpMessage::Notification(notification) => theirs_notification(notification),
        BgpMessage::KeepAlive => Meaning::Keepalive,
        BgpMessage::RouteRefresh(refresh) => {
            let family = refresh.address_type();
            Meaning::Refresh {
                family: (family.address_family().into(), family.subsequent_address_family().into()),
                subtype: refresh.operation_type().into(),
            }
        }
    }
}

fn code(capability: &BgpCapability) -> u8 {
    match capability.code() {
        Ok(code) => code.into(),
        Err(code) => code,
    }
}

/// Their enum of errors back to the octets it came from.
fn theirs_notification(notification: &BgpNotificationMessage) -> Meaning {
    let mut octets = Vec::new();
    notification.write(&mut octets).unwrap();
    Meaning::Notification { code: octets[0], subcode: octets[1], data: octets[2..].to_vec() }
}

fn theirs_said(update: &BgpUpdateMessage) -> Said {
    let mut said = Said {
        withdrawn: update.withdraw_routes().iter().map(|a| v4(a.network().address())).collect(),
        announced: update.nlri().iter().map(|a| v4(a.network().address())).collect(),
        ..Said::default()
    };
    for attribute in update.path_attributes() {
        match attribute.value() {
            PathAttributeValue::Origin(origin) => said.origin = said.origin.or(Some(*origin as u8)),
            PathAttributeValue::AsPath(path) => {
                said.as_path.get_or_insert_with(|| match path {
                    AsPath::As2PathSegments(segments) => segments
                        .iter()
                        .map(|s| {
                            (is_set(s.segment_type()), s.as_numbers().iter().map(|n| u32::from(*n)).collect())
                        })
                        .collect(),
                    AsPath::As4PathSegments(segments) => wide(segments),
                });
            }
            PathAttributeValue::As4Path(path) => {
                said.as4_path.get_or_insert_with(|| wide(path.segments()));
            }
            PathAttributeValue::NextHop(next_hop) => {
                said.next_hop = said.next_hop.or(Some(next_hop.next_hop()));
            }
            PathAttributeValue::MultiExitDiscriminator(med) => said.med = said.med.or(Some(med.metric())),
            PathAttributeValue::Communities(list) if said.communities.is_empty() => {
                said.communities = list.communities().iter().map(|c| c.value()).collect();
            }
            PathAttributeValue::ExtendedCommunities(list) if said.extended_communities.is_empty() => {
                let octets = |c: &netgauze_bgp_pkt::community::ExtendedCommunity| {
                    let mut octets = Vec::new();
                    c.write(&mut octets).unwrap();
                    octets.try_into().unwrap()
                };
                said.extended_communities = list.communities().iter().map(octets).collect();
            }
            PathAttributeValue::LargeCommunities(list) if said.large_communities.is_empty() => {
                said.large_communities = list
                    .communities()
                    .iter()
                    .map(|c| [c.global_admin(), c.local_data1(), c.local_data2()])
                    .collect();
            }
            PathAttributeValue::MpReach(reach) => theirs_reach(reach, &mut said),
            PathAttributeValue::MpUnreach(MpUnreach::Ipv4Unicast { nlri }) => {
                said.unreach = nlri.iter().map(|a| v4(a.network().address())).collect();
            }
            PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
                said.unreach = nlri.iter().map(|a| v6(a.network().address())).collect();
            }
            _ => {}
        }
    }
    said
}

fn theirs_reach(reach: &MpReach, said: &mut Said) {
    match reach {
        MpReach::Ipv4Unicast { next_hop, next_hop_local, nlri } => {
            said.reach_next_hops = [*next_hop].into_iter().chain(next_hop_local.map(IpAddr::V6)).collect();
            said.reach = nlri.iter().map(|a| v4(a.network().address())).collect();
        }
        MpReach::Ipv6Unicast { next_hop_global, next_hop_local, nlri } => {
            let both = [Some(*next_hop_global), *next_hop_local];
            said.reach_next_hops = both.into_iter().flatten().map(IpAddr::V6).collect();
            said.reach = nlri.iter().map(|a| v6(a.network().address())).collect();
        }
        _ => {}
    }
}

fn is_set(kind: AsPathSegmentType) -> bool {
    match kind {
        AsPathSegmentType::AsSet => true,
        AsPathSegmentType::AsSequence => false,
    }
}

fn wide(segments: &[As4PathSegment]) -> Path {
    segments.iter().map(|s| (is_set(s.segment_type()), s.as_numbers().to_vec())).collect()
}

fn v4(net: impl ToString) -> Prefix {
    net.to_string().parse::<Cut>().unwrap().0
}

fn v6(net: impl ToString) -> Prefix {
    net.to_string().parse::<Cut>().unwrap().0
}

/// A prefix whose host bits are cleared, as NLRI means it.
struct Cut(Prefix);

impl std::str::FromStr for Cut {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, length) = text.split_once('/').ok_or(())?;
        let (address, length) = (address.parse().map_err(drop)?, length.parse().map_err(drop)?);
        Prefix::truncated(address, length).map(Self).map_err(drop)
    }
}
