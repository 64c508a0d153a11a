// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading the fixtures, for every test that feeds on them.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};

use weir_bgp::wire::DecodeContext;

/// What the fixtures were recorded under.
pub(crate) const CONTEXT: DecodeContext = DecodeContext { four_octet_as: true, local_address: None };

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The octets of one fixture, by its name in the index.
pub(crate) fn load(file: &str) -> Vec<u8> {
    let path = fixtures().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let digits: String = text.lines().filter(|l| !l.starts_with('#')).collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

/// Every entry of the index.
pub(crate) fn index() -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(fixtures().join("index.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A small generator, so that a run can be repeated from its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    pub(crate) fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
