// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages octet by octet.

use super::*;

/// An outer IPv4 header from the appliance to a backend, and eight octets behind it.
fn outer_v4(protocol: u8) -> Vec<u8> {
    let mut outer = vec![0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 60, protocol, 0xaa, 0xbb];
    outer.extend([192, 0, 2, 1, 10, 1, 0, 3]);
    outer.extend([0xc0, 0x01, 0x17, 0xc0, 5, 0xc8, 0, 0]);
    outer
}

fn packet_v4(kind: u8, code: u8, rest: u32, quote: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(quote);
    let sum: u32 = message.chunks(2).map(|p| u32::from(u16::from_be_bytes([p[0], p[1]]))).sum();
    let sum = weir_dataplane_core::encap::checksum::finish(sum);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x45, 0xc0, 0, 0, 0, 0, 0, 0, 62, 1, 0, 0, 172, 16, 0, 9, 192, 0, 2, 1];
    packet.extend(message);
    packet
}

fn message_v6(kind: u8, code: u8, rest: u32, next_header: u8) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend([0x60, 0, 0, 0, 5, 0xb4, next_header, 60]);
    message.extend("2001:db8:ffff::1".parse::<Ipv6Addr>().unwrap().octets());
    message.extend("2001:db8:1::3".parse::<Ipv6Addr>().unwrap().octets());
    message.extend([0xc0, 0x01, 0x17, 0xc0, 5, 0xb4, 0, 0]);
    message
}

#[test]
fn errors_about_tunnels_are_read() {
    use Refusal::*;
    let cases = [
        (3, 4, 1400, Told::Mtu(1400)),
        // Nothing told about a packet of 1,500.
        (3, 4, 0xffff_0000, Told::Mtu(1492)),
        (3, 0, 0, Told::Refused(Network)),
        (3, 1, 0, Told::Refused(Host)),
        (3, 2, 0, Told::Refused(Protocol)),
        (3, 3, 0, Told::Refused(Port)),
        (3, 13, 0, Told::Refused(Prohibited)),
        (3, 5, 0, Told::Refused(Other)),
        (11, 0, 0, Told::Refused(Loop)),
    ];
    for (kind, code, rest, told) in cases {
        let report = v4(&packet_v4(kind, code, rest, &outer_v4(4))).unwrap();
        let expected = Report {
            router: "172.16.0.9".parse().unwrap(),
            source: "192.0.2.1".parse().unwrap(),
            destination: "10.1.0.3".parse().unwrap(),
            tunnel: Tunnel::Ip,
            told,
        };
        assert_eq!(report, expected, "type {kind} code {code}");
    }
    assert_eq!(v4(&packet_v4(3, 4, 1400, &outer_v4(41))).unwrap().tunnel, Tunnel::Ip);
    assert_eq!(v4(&packet_v4(3, 4, 1400, &outer_v4(17))).unwrap().tunnel, Tunnel::Udp(6080));

    let router: Ipv6Addr = "2001:db8:77::1".parse().unwrap();
    let cases = [
        (2, 0, 1400, Told::Mtu(1400)),
        (2, 0, 0x0001_0000, Told::Mtu(65_536)),
        (1, 0, 0, Told::Refused(Network)),
        (1, 1, 0, Told::Refused(Prohibited)),
        (1, 3, 0, Told::Refused(Host)),
        (1, 4, 0, Told::Refused(Port)),
        (1, 2, 0, Told::Refused(Other)),
        (3, 0, 0, Told::Refused(Loop)),
        (4, 1, 6, Told::Refused(Protocol)),
    ];
    for (kind, code, rest, told) in cases {
        let report = v6(router, &message_v6(kind, code, rest, 41)).unwrap();
        assert_eq!((report.told, report.tunnel), (told, Tunnel::Ip), "type {kind} code {code}");
        assert_eq!(report.destination, "2001:db8:1::3".parse::<IpAddr>().unwrap());
        assert_eq!(report.source, "2001:db8:ffff::1".parse::<IpAddr>().unwrap());
    }
    assert_eq!(v6(router, &message_v6(2, 0, 1400, 17)).unwrap().tunnel, Tunnel::Udp(6080));
}

#[test]
fn what_is_not_about_a_tunnel_is_nothing() {
    let router: Ipv6Addr = "2001:db8:77::1".parse().unwrap();
    let mut damaged = packet_v4(3, 4, 1400, &outer_v4(4));
    damaged[27] ^= 1;
    let mut later = outer_v4(4);
    later[7] = 1;
    let mut not_v4 = outer_v4(4);
    not_v4[0] = 0x65;
    for (name, packet) in [
        ("an echo request", packet_v4(8, 0, 0, &outer_v4(4))),
        ("reassembly time exceeded", packet_v4(11, 1, 0, &outer_v4(4))),
        ("a redirect", packet_v4(5, 1, 0, &outer_v4(4))),
        ("our own tcp", packet_v4(3, 1, 0, &outer_v4(6))),
        ("a later fragment", packet_v4(3, 4, 1400, &later)),
        ("not ipv4", packet_v4(3, 4, 1400, &not_v4)),
        ("damaged", damaged),
    ] {
        assert_eq!(v4(&packet), None, "{name}");
    }
    assert_eq!(v6(router, &message_v6(128, 0, 0, 41)), None);
    assert_eq!(v6(router, &message_v6(2, 0, 1400, 6)), None);
}

#[test]
fn every_cut_is_read_or_nothing() {
    let packet = packet_v4(3, 4, 1400, &outer_v4(17));
    // Ports end at 52; the checksum and the zeros at the end are all that is right of a longer one.
    for cut in 0..52 {
        assert_eq!(v4(&packet[..cut]), None, "{cut} octets");
    }
    assert!(v4(&packet).is_some());
    let router: Ipv6Addr = "2001:db8:77::1".parse().unwrap();
    let message = message_v6(2, 0, 1400, 17);
    for cut in 0..=message.len() {
        // Ports end at 52.
        assert_eq!(v6(router, &message[..cut]).is_some(), cut >= 52, "{cut} octets");
    }
}

#[test]
fn old_routers_lower_the_mtu_step_by_step() {
    let of_length = |length: u16| {
        let mut outer = outer_v4(4);
        outer[2..4].copy_from_slice(&length.to_be_bytes());
        v4(&packet_v4(3, 4, 0, &outer)).unwrap().told
    };
    for (length, mtu) in [
        (u16::MAX, 32_000),
        (9_000, 8_166),
        (4_352, 2_002),
        (1_501, 1_492),
        (1_500, 1_492),
        (1_493, 1_492),
        (1_492, 1_006),
        (297, 296),
        (296, 68),
        (0, 68),
    ] {
        assert_eq!(of_length(length), Told::Mtu(mtu), "{length} octets did not pass");
    }
}
