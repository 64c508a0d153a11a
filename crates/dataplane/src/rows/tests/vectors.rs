// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rows as they are published: a version that builds others breaks flows between appliances of two versions.

use super::*;
use weir_dataplane_core::siphash::siphash24;

/// First rows of three pools and a digest (SipHash-2-4, key of zeros, little-endian words) of all of them. Made by a
/// separate program, written from the text of the module heads.
#[test]
fn published_rows_hold() {
    let plain = Pool::equal(10, 16);
    let mixed = plain.with(|members| {
        for (weight, member) in (1..).zip(members.iter_mut()) {
            member.weight = weight;
        }
        members[1].state = Draining;
        members[4].state = Failed;
        members[6].cap_permille = 500;
        members[9].state = Disabled;
    });
    let down = plain.with(|members| {
        members[..6].iter_mut().for_each(|member| member.state = Failed);
        members[2].state = Draining;
        members[7].cap_permille = 100;
    });
    for (pool, first, digest) in [
        (plain, [[6, 5, 7, 8], [10, 5, 1, 4], [3, 7, 6, 1], [7, 9, 6, 1]], 0x9ff1_b365_4258_ed7d),
        (mixed, [[6, 7, 8, 5], [9, 1, 4, 5], [7, 3, 6, 9], [7, 9, 6, 5]], 0x5e43_e851_588e_c116),
        (down, [[7, 8, 6, 5], [10, 9, 5, 1], [7, 3, 8, 6], [7, 9, 6, 1]], 0x4827_6bd9_f4da_8991),
    ] {
        let rows = pool.rows();
        let bytes: Vec<u8> = rows.as_slice().iter().flat_map(|row| row.raw().to_le_bytes()).collect();
        assert_eq!(rows.as_slice()[..4].iter().map(|row| row.ids()).collect::<Vec<_>>(), first);
        assert_eq!(siphash24(&[0; 16], &bytes), digest, "{:?}", pool.members);
    }
}
