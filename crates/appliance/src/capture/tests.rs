// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files written out as octets, files that lie, and what is written read back.

use super::*;

fn packets(file: &[u8]) -> Result<Vec<Packet>, CaptureError> {
    let mut reader = Reader::new(file)?;
    std::iter::from_fn(|| reader.next_packet().transpose()).collect()
}

fn words(order: fn(u32) -> [u8; 4], words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| order(*word)).collect()
}

#[test]
fn pcap_is_read_in_both_orders_and_resolutions() {
    for order in [u32::to_le_bytes, u32::to_be_bytes] {
        for (magic, fraction) in [(0xa1b2_c3d4, 500_000), (0xa1b2_3c4d, 500_000_000)] {
            // A snap length of 4: the second packet had 60 octets.
            let mut file = words(order, &[magic, 0, 0, 0, 4, 1]);
            file.extend(words(order, &[7, fraction, 3, 3]));
            file.extend([1, 2, 3]);
            file.extend(words(order, &[8, 0, 4, 60]));
            file.extend([1, 2, 3, 4]);
            let read = packets(&file).unwrap();
            let first = Packet { time_ns: 7_500_000_000, wire_len: 3, octets: vec![1, 2, 3] };
            let second = Packet { time_ns: 8_000_000_000, wire_len: 60, octets: vec![1, 2, 3, 4] };
            assert!(second.is_cut() && !first.is_cut());
            assert_eq!(read, [first, second]);
        }
    }
}

/// A pcapng block.
fn block(order: fn(u32) -> [u8; 4], kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap();
    [&order(kind)[..], &order(length), body, &order(length)].concat()
}

#[test]
fn pcapng_is_read_with_its_interfaces_times_and_strange_blocks() {
    let big = u32::to_be_bytes;
    let mut file = block(big, 0x0a0d_0d0a, &[&big(0x1a2b_3c4d)[..], &[0, 1, 0, 0], &[0xff; 8]].concat());
    // Microseconds, the default; then 2^-10 s, 100 s later.
    file.extend(block(big, 1, &[0, 1, 0, 0, 0, 0, 0, 0]));
    let options =
        [&[0, 9, 0, 1, 0x8a, 0, 0, 0][..], &[0, 14, 0, 8], &100_u64.to_be_bytes(), &[0; 4]].concat();
    file.extend(block(big, 1, &[&[0, 1, 0, 0, 0, 0, 0, 0][..], &options].concat()));
    file.extend(block(big, 0x0bad, &[0; 16]));
    file.extend(block(big, 6, &[&words(big, &[0, 0, 3_000_001, 2, 9])[..], &[5, 6, 0, 0]].concat()));
    file.extend(block(big, 6, &[&words(big, &[1, 0, 1024 + 512, 1, 1])[..], &[7, 0, 0, 0]].concat()));
    file.extend(block(big, 3, &[&words(big, &[3])[..], &[1, 2, 3, 0]].concat()));
    // A section of its own, in the other order, starts without interfaces.
    let little = u32::to_le_bytes;
    file.extend(block(little, 0x0a0d_0d0a, &[&little(0x1a2b_3c4d)[..], &[1, 0, 0, 0], &[0xff; 8]].concat()));
    file.extend(block(little, 1, &[1, 0, 0, 0, 0, 0, 0, 0]));
    file.extend(block(little, 2, &[&words(little, &[0, 0, 5, 1, 1])[..], &[9, 0, 0, 0]].concat()));
    let read = packets(&file).unwrap();
    let expected = [
        Packet { time_ns: 3_000_001_000, wire_len: 9, octets: vec![5, 6] },
        Packet { time_ns: 101_500_000_000, wire_len: 1, octets: vec![7] },
        Packet { time_ns: 0, wire_len: 3, octets: vec![1, 2, 3] },
        Packet { time_ns: 5_000, wire_len: 1, octets: vec![9] },
    ];
    assert_eq!(read, expected);
}

#[test]
fn what_is_written_is_read_back() {
    let sent = [
        Packet { time_ns: 1_700_000_000_123_456_789, wire_len: 5, octets: vec![1, 2, 3, 4, 5] },
        Packet { time_ns: 1_700_000_001_000_000_000, wire_len: 2, octets: vec![6, 7] },
    ];
    for format in [Format::Pcap, Format::Pcapng] {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, format, &["eth0", "eth1"]).unwrap();
        for (packet, interface) in sent.iter().zip(0..) {
            writer.packet(packet, interface, "forward_new").unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(Reader::new(&file[..]).unwrap().format(), format);
        assert_eq!(packets(&file).unwrap(), sent, "{format:?}");
    }
}

#[test]
fn other_link_layers_and_other_files_are_refused() {
    let little = u32::to_le_bytes;
    let raw_ip = words(little, &[0xa1b2_c3d4, 0, 0, 0, 65_535, 101]);
    assert!(matches!(packets(&raw_ip), Err(CaptureError::LinkType { found: 101 })));
    assert!(matches!(packets(b"\x7fELF..."), Err(CaptureError::Magic { .. })));
    assert!(matches!(packets(b""), Err(CaptureError::Io(_))));
    let mut huge = words(little, &[0xa1b2_c3d4, 0, 0, 0, 65_535, 1]);
    huge.extend(words(little, &[0, 0, u32::MAX, u32::MAX]));
    assert!(matches!(packets(&huge), Err(CaptureError::Field { .. })));
}

#[test]
fn a_file_that_ends_anywhere_is_an_error_and_no_panic() {
    for format in [Format::Pcap, Format::Pcapng] {
        let mut head = Vec::new();
        Writer::new(&mut head, format, &["eth0"]).unwrap().finish().unwrap();
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, format, &["eth0"]).unwrap();
        // Of pcapng, the section alone is a file without packets.
        let whole = if format == Format::Pcap { [head.len(); 2] } else { [28, head.len()] };
        let packet = Packet { time_ns: 1, wire_len: 5, octets: vec![1, 2, 3, 4, 5] };
        writer.packet(&packet, 0, "x").unwrap();
        writer.finish().unwrap();
        for cut in 0..file.len() {
            let read = packets(&file[..cut]);
            assert_eq!(read.is_ok(), whole.contains(&cut), "{format:?} cut at {cut}: {read:?}");
        }
        for at in 0..file.len() {
            for octet in [0, 1, 0x7f, 0xff] {
                let mut spoilt = file.clone();
                spoilt[at] = octet;
                // Anything may come out, but it comes out.
                drop(packets(&spoilt));
            }
        }
    }
}
