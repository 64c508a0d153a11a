// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Published vectors, and what the hash is relied on for.

use super::*;
use std::format;
use std::vec;
use std::vec::Vec;

const SEED: [u8; 32] = *b"0123456789abcdef0123456789abcdef";

fn v4(a: [u8; 4]) -> u32 {
    u32::from_ne_bytes(a)
}

fn ports(source: u16, destination: u16) -> u32 {
    let (s, d) = (source.to_be_bytes(), destination.to_be_bytes());
    u32::from_ne_bytes([s[0], s[1], d[0], d[1]])
}

#[test]
fn published_vectors() {
    // Every appliance of a fleet, of any version of one layout, must compute these.
    let keys = HashKeys::from_seed(&SEED);
    let a = flow_v4(&keys.v4, v4([192, 0, 2, 1]), v4([198, 51, 100, 10]), ports(40_000, 80), 6);
    let b = flow_v4(&keys.v4, v4([192, 0, 2, 1]), v4([198, 51, 100, 10]), ports(40_000, 80), 17);
    let s = Address::from_octets("2001:db8::1".parse::<core::net::Ipv6Addr>().unwrap().octets());
    let d = Address::from_octets("2001:db8:100::10".parse::<core::net::Ipv6Addr>().unwrap().octets());
    let c = flow_v6(&keys.v6, &s, &d, ports(40_000, 443), 6);
    assert_eq!([a, b, c], VECTORS);
    assert_eq!(VECTORS.map(|hash| row_index(hash, 65_536)), ROWS);
}

/// Computed by a second, independent implementation of the module head's text.
const VECTORS: [u64; 3] = [0xbeeb_201c_9ff3_aaf3, 0x14bf_9e51_3b6e_85e6, 0xc0b2_88df_d2a5_dd22];
const ROWS: [u32; 3] = [26_794, 40_594, 55_089];

#[test]
fn another_seed_gives_another_hash() {
    let (mut other, keys) = (SEED, HashKeys::from_seed(&SEED));
    for octet in 0..32 {
        other[octet] ^= 1;
        let changed = HashKeys::from_seed(&other);
        assert!(changed.v4.words != keys.v4.words && changed.v6.words != keys.v6.words, "octet {octet}");
        other[octet] ^= 1;
    }
}

/// A hundred thousand flows fall evenly on rows, sets and entropy of outer headers, and their tags on both halves. Katran makes
/// the entropy of IPv6 of octets 12 and 13 of the client's address alone: here clients differ in two octets, any two.
#[test]
fn flows_spread_evenly() {
    let keys = HashKeys::from_seed(&SEED);
    for at in [0, 2] {
        spread_evenly(&format!("v4, octets {at} and {}", at + 1), |client, port| {
            let mut source = [10, 0, 0, 0];
            source[at..at + 2].copy_from_slice(&client.to_be_bytes());
            flow_v4(&keys.v4, v4(source), v4([198, 51, 100, 10]), ports(port, 443), 6)
        });
    }
    let vip = Address::from_octets("2001:db8:100::10".parse::<core::net::Ipv6Addr>().unwrap().octets());
    for at in (0..16).step_by(2) {
        spread_evenly(&format!("v6, octets {at} and {}", at + 1), |client, port| {
            let mut source = "2001:db8:c::7".parse::<core::net::Ipv6Addr>().unwrap().octets();
            source[at..at + 2].copy_from_slice(&client.to_be_bytes());
            flow_v6(&keys.v6, &Address::from_octets(source), &vip, ports(port, 443), 6)
        });
    }
}

/// The flows of 64 ports of each of some clients.
fn spread_evenly(name: &str, hash_of: impl Fn(u16, u16) -> u64) {
    const BINS: usize = 64;
    let mut by_row = vec![0_u32; BINS];
    let mut by_set = vec![0_u32; BINS];
    // The lowest bits of an outer source port, and those of an outer flow label, whose last bit is always set.
    let mut by_port = vec![0_u32; BINS];
    let mut by_label = vec![0_u32; BINS];
    let mut tag_bits = [0_u32; 31];
    let flows = 100_000_u32;
    for flow in 0..flows {
        let port = u16::try_from(1024 + (flow & 63)).unwrap();
        let hash = hash_of(u16::try_from(flow >> 6).unwrap(), port);
        by_row[row_index(hash, 64) as usize] += 1;
        by_set[(hash & 63) as usize] += 1;
        by_port[(hash >> 32 & 63) as usize] += 1;
        by_label[(hash >> 41 & 63) as usize] += 1;
        for (bit, count) in tag_bits.iter_mut().enumerate() {
            *count += u32::try_from(hash >> (33 + bit) & 1).unwrap();
        }
    }
    let mean = f64::from(flows) / BINS as f64;
    for bins in [&by_row, &by_set, &by_port, &by_label] {
        // Chi-squared with 63 degrees of freedom: above 120 in one of 100,000 cases.
        let chi: f64 = bins.iter().map(|&n| (f64::from(n) - mean).powi(2) / mean).sum();
        assert!(chi < 120.0, "{name}: chi-squared {chi}: {bins:?}");
    }
    let even = f64::from(flows) / 2.0;
    let worst = tag_bits.iter().map(|&n| (f64::from(n) - even).abs() / even).fold(0.0, f64::max);
    assert!(worst < 0.02, "{name}: a tag bit is off by {worst}");
}

/// The row of a flow is not told by its tag alone: flows with one tag fall on many rows.
#[test]
fn the_row_uses_bits_beside_the_tag() {
    let tag = 0x1234_5678_u64 << 33;
    let rows: std::collections::BTreeSet<u32> = (0..1_000_u64)
        .map(|low| row_index(tag | low.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 31, 65_536))
        .collect();
    assert!(rows.len() > 900, "{} rows", rows.len());
}

#[test]
fn row_index_stays_below_the_number_of_rows() {
    for rows in [1, 4_096, 65_536, 1_048_576] {
        let hashes: Vec<u64> = vec![0, u64::MAX, 1, 0xffff_ffff, 0xffff_ffff_0000_0000];
        for hash in hashes {
            assert!(row_index(hash, rows) < rows);
        }
    }
}
