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

/// Every recorded message.
pub(crate) fn corpus() -> Vec<Vec<u8>> {
    index().iter().map(|entry| load(entry["file"].as_str().unwrap())).collect()
}

/// One of the corpus, changed in one to four places; the length field is put right as a rule, or nothing behind the
/// header would be reached.
pub(crate) fn mutated(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(octets.len().max(1)).max(if random.below(8) == 0 {
            0
        } else {
            19.min(octets.len())
        });
        match random.below(7) {
            0 if at < octets.len() => octets[at] ^= 1 << random.below(8),
            1 if at < octets.len() => {
                octets[at] = [0, 1, 2, 4, 16, 32, 33, 128, 129, 254, 255][random.below(11)]
            }
            2 if at < octets.len() => octets[at] = random.octet(),
            3 => octets.insert(at.min(octets.len()), random.octet()),
            4 if at < octets.len() => drop(octets.remove(at)),
            5 => octets.truncate(at),
            _ => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                let count = random.below(other.len() - from + 1);
                let at = at.min(octets.len());
                octets.splice(at..at, other[from..from + count].iter().copied());
            }
        }
    }
    octets.truncate(5000);
    if octets.len() >= 19 && random.below(10) != 0 {
        let length = u16::try_from(octets.len()).unwrap();
        octets[16..18].copy_from_slice(&length.to_be_bytes());
    }
    octets
}
