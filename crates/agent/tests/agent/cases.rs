// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The packet fixtures: a frame in, the verdict and the frame that must come out. One list for host and kernel.

use std::net::{IpAddr, Ipv4Addr};

use weir_dataplane_core::decap::AgentVerdict::{self, *};

use crate::packet::{IPV6, OUTER, ethernet, fix_ipv4_checksum, ip, tunnel, udp};
use crate::setup::{APPLIANCE, CLIENT, HOST, VIP, addr};

/// One packet fixture.
pub struct Case {
    /// A sentence.
    pub name: String,
    /// The frame that arrives.
    pub frame: Vec<u8>,
    /// How it must leave.
    pub verdict: AgentVerdict,
    /// The frame that must be left; `None`: the one that arrived.
    pub left: Option<Vec<u8>>,
    /// Longest VIP prefix of a decapsulated packet.
    pub vip: Option<&'static str>,
}

/// Everything that a family needs to build its cases.
struct Family {
    version: usize,
    client: IpAddr,
    appliance: IpAddr,
    host: IpAddr,
    vip: IpAddr,
    vip_prefix: &'static str,
    header: usize,
}

impl Family {
    fn both() -> [Self; 2] {
        let family = |index: usize, version, vip_prefix, header| Self {
            version,
            client: addr(CLIENT[index]),
            appliance: addr(APPLIANCE[index]),
            host: addr(HOST[index]),
            vip: addr(VIP[index]),
            vip_prefix,
            header,
        };
        [family(0, 4, "198.51.100.10/32", 20), family(1, 6, "2001:db8:100::/48", 40)]
    }

    fn inner(&self, class: u8) -> Vec<u8> {
        udp(self.client, self.vip, class, 53, b"what is in the packet")
    }

    fn outer(&self, class: u8, inner: &[u8]) -> Vec<u8> {
        tunnel(self.appliance, self.host, class, inner)
    }

    /// A case that leaves the frame as it is.
    fn kept(&self, name: &str, frame: Vec<u8>, verdict: AgentVerdict) -> Case {
        Case { name: format!("IPv{}: {name}", self.version), frame, verdict, left: None, vip: None }
    }

    /// A case whose inner packet is left in the frame.
    fn taken(&self, name: &str, frame: Vec<u8>, left: Vec<u8>) -> Case {
        let case = self.kept(name, frame, Decapsulated);
        Case { left: Some(left), vip: Some(self.vip_prefix), ..case }
    }

    /// Changes octets of a packet from `at` on; an IPv4 header in front gets its right checksum.
    fn patched(&self, packet: &[u8], at: usize, octets: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        packet[at..at + octets.len()].copy_from_slice(octets);
        if self.version == 4 {
            fix_ipv4_checksum(&mut packet);
        }
        packet
    }

    /// A packet whose header says that it has `len` octets.
    fn with_length(&self, packet: &[u8], len: usize) -> Vec<u8> {
        let (at, field) = if self.version == 4 { (2, len) } else { (4, len - 40) };
        self.patched(packet, at, &u16::try_from(field).unwrap().to_be_bytes())
    }

    fn with_class(&self, packet: &[u8], class: u8) -> Vec<u8> {
        match self.version {
            4 => self.patched(packet, 1, &[class]),
            _ => self.patched(packet, 0, &[0x60 | (class >> 4), (class << 4) | (packet[1] & 0xf)]),
        }
    }

    fn cases(&self) -> Vec<Case> {
        let inner = self.inner(0);
        let outer = self.outer(0, &inner);
        let mut cases = vec![
            self.taken("tunnel packet for a VIP is decapsulated", ethernet(&outer), ethernet(&inner)),
            self.kept("plain packet for the VIP passes", ethernet(&inner), PassNotTunnel),
            self.kept(
                "source that is no appliance passes",
                ethernet(&tunnel(self.client, self.host, 0, &inner)),
                PassForeignSource,
            ),
            self.kept(
                "outer destination that is not ours passes",
                ethernet(&tunnel(self.appliance, self.client, 0, &inner)),
                PassForeignAddress,
            ),
            self.kept(
                "inner destination that is no VIP passes",
                ethernet(&self.outer(0, &udp(self.client, self.host, 0, 53, b"no VIP"))),
                PassNotVip,
            ),
            self.kept(
                "inner packet of another IP version passes",
                ethernet(&self.patched(&outer, self.header, &[if self.version == 4 { 0x65 } else { 0x45 }])),
                PassInnerMalformed,
            ),
            self.kept(
                "another protocol from an appliance passes",
                ethernet(&ip(self.appliance, self.host, 0, 47, &inner)),
                PassNotTunnel,
            ),
        ];
        cases.extend(self.lengths(&inner, &outer));
        cases.extend(self.ecn());
        cases
    }

    fn lengths(&self, inner: &[u8], outer: &[u8]) -> Vec<Case> {
        let padded = |packet: &[u8]| ethernet(&[packet, &[0xee; 9]].concat());
        let short_inner = self.with_length(inner, inner.len() - 4);
        let mut truncated = ethernet(outer);
        truncated.pop();
        let whole = outer.len();
        vec![
            self.taken("Ethernet padding stays behind the packet", padded(outer), padded(inner)),
            self.taken(
                "octets behind the inner packet stay",
                ethernet(&self.outer(0, &short_inner)),
                ethernet(&short_inner),
            ),
            self.kept("truncated payload is dropped", truncated, DropTruncated),
            self.kept(
                "outer length beyond the frame is dropped",
                ethernet(&self.with_length(outer, whole + 1)),
                DropTruncated,
            ),
            self.kept(
                "outer length that cuts the inner packet is dropped",
                ethernet(&self.with_length(outer, whole - 1)),
                DropBadLength,
            ),
            self.kept(
                "inner length beyond the outer packet is dropped",
                ethernet(&self.outer(0, &self.with_length(inner, inner.len() + 1))),
                DropBadLength,
            ),
            self.kept(
                "frame that ends in the inner header passes",
                ethernet(outer)[..OUTER + 2 * self.header - 1].to_vec(),
                PassInnerMalformed,
            ),
            self.kept(
                "frame that ends in the outer header passes",
                ethernet(outer)[..OUTER + self.header - 1].to_vec(),
                PassMalformed,
            ),
            self.kept("frame without a packet passes", ethernet(outer)[..OUTER].to_vec(), PassMalformed),
        ]
    }

    /// The table of RFC 6040 figure 4, with a DSCP of its own in both headers.
    fn ecn(&self) -> Vec<Case> {
        const RESULT: [[Option<u8>; 4]; 4] = [
            [Some(0), Some(0), Some(0), None],
            [Some(1), Some(1), Some(1), Some(3)],
            [Some(2), Some(1), Some(2), Some(3)],
            [Some(3), Some(3), Some(3), Some(3)],
        ];
        let mut cases = Vec::new();
        for (inner_ecn, row) in (0_u8..).zip(RESULT) {
            for (outer_ecn, result) in (0_u8..).zip(row) {
                let inner = self.inner(0xb8 | inner_ecn);
                let frame = ethernet(&self.outer(0x28 | outer_ecn, &inner));
                let name = format!("ECN {inner_ecn:02b} in {outer_ecn:02b}");
                cases.push(match result {
                    Some(ecn) => self.taken(&name, frame, ethernet(&self.with_class(&inner, 0xb8 | ecn))),
                    None => self.kept(&name, frame, DropEcn),
                });
            }
        }
        cases
    }
}

/// Cases that only one family has, or none.
fn others() -> Vec<Case> {
    let [v4, v6] = Family::both();
    let inner = v4.inner(0);
    let outer = v4.outer(0, &inner);
    let mut options = outer.clone();
    options[0] = 0x46;
    let mut wrong_checksum = outer.clone();
    wrong_checksum[10] ^= 1;
    let mut short_header = outer.clone();
    short_header[0] = 0x44;
    let mut short_inner_header = outer.clone();
    short_inner_header[20] = 0x44;
    let mut inner_checksum = inner.clone();
    inner_checksum[10] ^= 1;
    let fragment_v6 = [&[IPV6, 0, 0, 1, 0, 0, 0, 7], v6.inner(0).as_slice()].concat();
    let mut vlan = ethernet(&outer);
    vlan.splice(12..12, [0x81, 0x00, 0x00, 0x64]);
    let mut arp = ethernet(&[0; 28]);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let wide = udp(v4.client, addr("198.51.7.7"), 0, 53, b"by the shortest prefix");
    let middle = udp(v4.client, addr("198.51.100.77"), 0, 53, b"by the middle prefix");
    let mut by_prefix = vec![
        v4.taken("VIP of the shortest prefix", ethernet(&v4.outer(0, &wide)), ethernet(&wide)),
        v4.taken("VIP of the middle prefix", ethernet(&v4.outer(0, &middle)), ethernet(&middle)),
    ];
    by_prefix[0].vip = Some("198.51.0.0/16");
    by_prefix[1].vip = Some("198.51.100.0/24");
    let mut cases = vec![
        v4.kept("first fragment passes", ethernet(&v4.patched(&outer, 6, &[0x20, 0])), PassFragment),
        v4.kept("last fragment passes", ethernet(&v4.patched(&outer, 6, &[0, 9])), PassFragment),
        v6.kept("fragment passes", ethernet(&ip(v6.appliance, v6.host, 0, 44, &fragment_v6)), PassFragment),
        v6.kept(
            "fragment of something else passes",
            ethernet(&ip(v6.appliance, v6.host, 0, 44, &[6; 48])),
            PassNotTunnel,
        ),
        v4.kept("outer options pass", ethernet(&options), PassOptions),
        v4.kept("wrong outer checksum is dropped", ethernet(&wrong_checksum), DropChecksum),
        v4.kept("outer header of 16 octets passes", ethernet(&short_header), PassMalformed),
        v4.kept("inner header of 16 octets passes", ethernet(&short_inner_header), PassInnerMalformed),
        v4.taken(
            "wrong inner checksum is the stack's to find",
            ethernet(&v4.outer(0, &inner_checksum)),
            ethernet(&inner_checksum),
        ),
        v4.kept("tagged frame passes", vlan, PassNotIp),
        v4.kept("ARP passes", arp, PassNotIp),
        v4.kept("IPv4 EtherType over something else passes", ethernet(&[0x12; 40]), PassMalformed),
    ];
    cases.extend(by_prefix);
    cases.extend(v4_in_v6_form(&v6));
    cases
}

/// IPv6 packets with IPv4 addresses in IPv6 form, which is how the tables write IPv4 addresses: nobody's.
fn v4_in_v6_form(v6: &Family) -> [Case; 3] {
    let form = |[v4, _]: [&str; 2]| IpAddr::V6(v4.parse::<Ipv4Addr>().unwrap().to_ipv6_mapped());
    let inner = v6.inner(0);
    let to_v4_vip = udp(v6.client, form(VIP), 0, 53, b"no VIP");
    [
        v6.kept(
            "IPv4 appliance in IPv6 form passes",
            ethernet(&tunnel(form(APPLIANCE), v6.host, 0, &inner)),
            PassForeignSource,
        ),
        v6.kept(
            "own IPv4 address in IPv6 form passes",
            ethernet(&tunnel(v6.appliance, form(HOST), 0, &inner)),
            PassForeignAddress,
        ),
        v6.kept("IPv4 VIP in IPv6 form passes", ethernet(&v6.outer(0, &to_v4_vip)), PassNotVip),
    ]
}

/// All of them.
pub fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = Family::both().iter().flat_map(Family::cases).collect();
    cases.extend(others());
    cases.extend(crate::gue::all());
    cases
}
