// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames with tags, extension headers and fragments, and the frame that a plain pool makes of an IP packet.

use std::net::IpAddr;

use super::bed::{GATEWAY_MAC, OWN_MAC, SOURCE_V4, SOURCE_V6};
use super::build::{CLIENT_MAC, checksum, ethernet, forwarded};

pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const DESTINATION: u8 = 60;

/// The frame of `ip` behind these tags, each an EtherType and what follows it.
pub fn tagged(tags: &[(u16, u16)], ip: &[u8]) -> Vec<u8> {
    let ethertype = if ip[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    let mut frame = ethernet(OWN_MAC, CLIENT_MAC, 0)[..12].to_vec();
    for (kind, tag) in tags {
        frame.extend(kind.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(u16::to_be_bytes(ethertype));
    frame.extend(ip);
    frame
}

/// The frame of `ip`.
pub fn framed(ip: &[u8]) -> Vec<u8> {
    tagged(&[], ip)
}

/// The IPv6 packet `ip` with these extension headers behind its fixed one: number and content without the first octet,
/// which names the next.
pub fn extended(ip: &[u8], headers: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = ip[..40].to_vec();
    let mut next_at = 6;
    let last = ip[6];
    for (number, content) in headers {
        out[next_at] = *number;
        next_at = out.len();
        out.push(0);
        out.extend(*content);
    }
    out[next_at] = last;
    out.extend(&ip[40..]);
    let length = u16::try_from(out.len() - 40).unwrap();
    out[4..6].copy_from_slice(&length.to_be_bytes());
    out
}

/// Content of an options header of `units` times eight octets: one PadN option (RFC 8200 §4.2).
pub fn padding(units: u8) -> Vec<u8> {
    let mut content = vec![0; usize::from(units) * 8 - 1];
    (content[0], content[1], content[2]) = (units - 1, 1, units * 8 - 4);
    content
}

/// The part of `ip` that starts at `offset` of what it carries and has `len` octets, as a fragment.
pub fn part(ip: &[u8], id: u16, offset: usize, len: usize, has_more: bool) -> Vec<u8> {
    let units = u16::try_from(offset / 8).unwrap();
    if ip[0] >> 4 == 4 {
        let header = usize::from(ip[0] & 0xf) * 4;
        let mut out = ip[..header].to_vec();
        out.extend(&ip[header + offset..header + offset + len]);
        let total = u16::try_from(out.len()).unwrap();
        out[2..4].copy_from_slice(&total.to_be_bytes());
        out[4..6].copy_from_slice(&id.to_be_bytes());
        let bits = units | if has_more { 0x2000 } else { 0 };
        out[6..8].copy_from_slice(&bits.to_be_bytes());
        out[10..12].fill(0);
        let sum = checksum(&out[..header]);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out
    } else {
        let bits = (units << 3 | u16::from(has_more)).to_be_bytes();
        let id = u32::from(id).to_be_bytes();
        let content = [0, bits[0], bits[1], id[0], id[1], id[2], id[3]];
        let piece = [&ip[..40], &ip[40 + offset..40 + offset + len]].concat();
        extended(&piece, &[(FRAGMENT, &content)])
    }
}

/// The backend that a frame of a plain pool goes to.
pub fn backend_of(frame: &[u8]) -> IpAddr {
    match frame[14] >> 4 {
        4 => <[u8; 4]>::try_from(&frame[30..34]).unwrap().into(),
        _ => <[u8; 16]>::try_from(&frame[38..54]).unwrap().into(),
    }
}

/// The frame that must leave for the packet `ip` of either family towards a backend of the same one, written out from RFC
/// 2003 and RFC 2473. Backend and flow label (any but 0) are taken from `seen`.
pub fn carried_as(ip: &[u8], seen: &[u8]) -> Vec<u8> {
    let inner = forwarded(ip);
    let backend = backend_of(seen);
    let mut out;
    match (backend, SOURCE_V4.parse(), SOURCE_V6.parse()) {
        (IpAddr::V4(backend), Ok(IpAddr::V4(source)), _) => {
            out = ethernet(GATEWAY_MAC, OWN_MAC, 0x0800);
            let mut header = vec![0x45, ip[1]];
            header.extend(u16::try_from(inner.len() + 20).unwrap().to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, 4, 0, 0]);
            header.extend(source.octets());
            header.extend(backend.octets());
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            out.extend(header);
        }
        (IpAddr::V6(backend), _, Ok(IpAddr::V6(source))) => {
            out = ethernet(GATEWAY_MAC, OWN_MAC, 0x86dd);
            let label = u32::from_be_bytes(seen[14..18].try_into().unwrap()) & 0xf_ffff;
            assert_ne!(label, 0, "no flow label");
            let class = u32::from_be_bytes(ip[..4].try_into().unwrap()) & 0x0ff0_0000;
            out.extend((6 << 28 | class | label).to_be_bytes());
            out.extend(u16::try_from(inner.len()).unwrap().to_be_bytes());
            out.extend([41, 64]);
            out.extend(source.octets());
            out.extend(backend.octets());
        }
        other => panic!("{other:?}"),
    }
    out.extend(inner);
    out
}
