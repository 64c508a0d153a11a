// SPDX-License-Identifier: Apache-2.0 OR MIT
//! AS_PATH and AS4_PATH: segments of AS numbers, two or four octets wide (RFC 4271 §4.3, RFC 6793).

use std::fmt;

use super::cursor::Cursor;
use super::iana::{AS_TRANS, segment_type};

/// Whether a segment has an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    /// Type 1. Read, never written (RFC 9774).
    Set,
    /// Type 2.
    Sequence,
}

/// A run of AS numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Set or sequence.
    pub kind: SegmentKind,
    /// At least one.
    pub asns: Vec<u32>,
}

/// The value of AS_PATH.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AsPath {
    /// Nearest AS first.
    pub segments: Vec<Segment>,
}

impl AsPath {
    /// Reads a value whose numbers have four or two octets.
    ///
    /// Refused are a segment type other than set and sequence, a count of zero, a segment beyond the value (RFC 7606
    /// §7.2) and AS 0 (RFC 7607).
    pub fn decode(value: &[u8], four_octet_as: bool) -> Result<Self, &'static str> {
        let mut cursor = Cursor::new(value);
        let mut segments = Vec::new();
        while !cursor.is_empty() {
            let kind = match cursor.u8() {
                Some(segment_type::AS_SET) => SegmentKind::Set,
                Some(segment_type::AS_SEQUENCE) => SegmentKind::Sequence,
                _ => return Err("unknown segment type"),
            };
            let count = usize::from(cursor.u8().ok_or("segment without a count")?);
            if count == 0 {
                return Err("empty segment");
            }
            // Room is taken only for what is there: the count is checked against the octets first.
            let width = if four_octet_as { 4 } else { 2 };
            let octets = cursor.take(count * width).ok_or("segment beyond the attribute")?;
            let asns: Vec<u32> =
                octets.chunks_exact(width).map(|c| c.iter().fold(0, |n, o| n << 8 | u32::from(*o))).collect();
            if asns.contains(&0) {
                return Err("AS 0 in the path");
            }
            segments.push(Segment { kind, asns });
        }
        Ok(Self { segments })
    }

    /// A path of one AS, repeated `count` times, in sequences of at most 255.
    pub fn own(asn: u32, count: usize) -> Self {
        let asns = vec![asn; count];
        let segment = |c: &[u32]| Segment { kind: SegmentKind::Sequence, asns: c.to_vec() };
        Self { segments: asns.chunks(255).map(segment).collect() }
    }

    /// Whether `asn` occurs anywhere.
    pub fn contains(&self, asn: u32) -> bool {
        self.segments.iter().any(|s| s.asns.contains(&asn))
    }

    /// Length as RFC 4271 §9.1.2.2 a counts it: a set is one.
    fn hops(&self) -> usize {
        self.segments.iter().map(Segment::hops).sum()
    }

    /// As many hops of the front of this path as it is longer, then `wide`; this path if it is the shorter one.
    pub(super) fn merged(&self, wide: &AsPath) -> AsPath {
        let Some(mut missing) = self.hops().checked_sub(wide.hops()) else { return self.clone() };
        let mut segments = Vec::new();
        for segment in &self.segments {
            if missing == 0 {
                break;
            }
            let taken = match segment.kind {
                SegmentKind::Set => segment.clone(),
                SegmentKind::Sequence => {
                    let count = missing.min(segment.asns.len());
                    Segment { kind: segment.kind, asns: segment.asns[..count].to_vec() }
                }
            };
            missing = missing.saturating_sub(taken.hops());
            segments.push(taken);
        }
        segments.extend(wide.segments.iter().cloned());
        AsPath { segments }
    }

    /// Whether a set is in it, which is never sent (RFC 9774).
    pub(super) fn has_set(&self) -> bool {
        self.segments.iter().any(|s| s.kind == SegmentKind::Set)
    }

    /// Whether a number needs four octets.
    pub(super) fn is_wide(&self) -> bool {
        self.segments.iter().flat_map(|s| &s.asns).any(|asn| u16::try_from(*asn).is_err())
    }

    /// Appends the value; numbers that do not fit two octets become AS_TRANS. Segments hold at most 255 numbers.
    pub(super) fn encode(&self, four_octet_as: bool, out: &mut Vec<u8>) {
        for segment in &self.segments {
            for asns in segment.asns.chunks(255) {
                let kind = match segment.kind {
                    SegmentKind::Set => segment_type::AS_SET,
                    SegmentKind::Sequence => segment_type::AS_SEQUENCE,
                };
                out.extend_from_slice(&[kind, u8::try_from(asns.len()).unwrap_or(u8::MAX)]);
                for asn in asns {
                    if four_octet_as {
                        out.extend_from_slice(&asn.to_be_bytes());
                    } else {
                        out.extend_from_slice(&u16::try_from(*asn).unwrap_or(AS_TRANS).to_be_bytes());
                    }
                }
            }
        }
    }
}

impl fmt::Display for AsPath {
    /// `65000 65001 {65002,65003}`, as most speakers print it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.segments.iter().enumerate() {
            let (open, between, close) = match segment.kind {
                SegmentKind::Set => ("{", ",", "}"),
                SegmentKind::Sequence => ("", " ", ""),
            };
            let asns: Vec<String> = segment.asns.iter().map(ToString::to_string).collect();
            write!(f, "{}{open}{}{close}", if i == 0 { "" } else { " " }, asns.join(between))?;
        }
        Ok(())
    }
}

impl Segment {
    fn hops(&self) -> usize {
        match self.kind {
            SegmentKind::Set => 1,
            SegmentKind::Sequence => self.asns.len(),
        }
    }
}

impl fmt::Display for Segment {
    /// `SEQ 65001 65001` or `SET 65001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SegmentKind::Set => "SET",
            SegmentKind::Sequence => "SEQ",
        })?;
        self.asns.iter().try_for_each(|asn| write!(f, " {asn}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_written_as_type_two() {
        let mut out = vec![];
        AsPath::own(65001, 1).encode(true, &mut out);
        assert_eq!(out, [2, 1, 0, 0, 0xfd, 0xe9]);
        out.clear();
        AsPath::own(4_200_000_001, 2).encode(false, &mut out);
        assert_eq!(out, [2, 2, 0x5b, 0xa0, 0x5b, 0xa0]);
    }

    #[test]
    fn long_paths_take_more_segments() {
        let path = AsPath::own(65001, 256);
        assert_eq!(path.segments.iter().map(|s| s.asns.len()).collect::<Vec<_>>(), [255, 1]);
        let mut out = vec![];
        path.encode(true, &mut out);
        assert_eq!(AsPath::decode(&out, true), Ok(path));
    }

    #[test]
    fn a_two_octet_path_is_filled_from_the_wide_one() {
        let path = |text: &str| {
            let segment = |part: &str| {
                let mut words = part.split(' ');
                let kind = if words.next() == Some("SET") { SegmentKind::Set } else { SegmentKind::Sequence };
                Segment { kind, asns: words.map(|w| w.parse().unwrap()).collect() }
            };
            AsPath { segments: text.split(", ").map(segment).collect() }
        };
        let merge = |narrow: &str, wide: &str| {
            let merged = path(narrow).merged(&path(wide));
            merged.segments.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            merge("SEQ 10 23456 23456", "SEQ 4200000001 4200000002"),
            "SEQ 10, SEQ 4200000001 4200000002"
        );
        assert_eq!(merge("SEQ 23456", "SEQ 4200000001"), "SEQ 4200000001");
        assert_eq!(merge("SEQ 10", "SEQ 4200000001 4200000002"), "SEQ 10", "a longer AS4_PATH is ignored");
        assert_eq!(merge("SET 10 20, SEQ 23456", "SEQ 4200000001"), "SET 10 20, SEQ 4200000001");
    }

    #[test]
    fn malformed_paths_are_refused() {
        let why = |value: &[u8]| AsPath::decode(value, true).unwrap_err();
        assert_eq!(why(&[2, 1, 0, 0, 0xfd, 0xe9, 2]), "segment without a count");
        assert_eq!(why(&[2, 1, 0, 0, 0xfd]), "segment beyond the attribute");
        assert_eq!(why(&[2, 0]), "empty segment");
        assert_eq!(why(&[3, 1, 0, 0, 0, 1]), "unknown segment type");
        assert_eq!(why(&[2, 1, 0, 0, 0, 0]), "AS 0 in the path");
        assert_eq!(AsPath::decode(&[], true), Ok(AsPath::default()));
    }
}
