// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Answers as octets, and what they come to however they are cut.

use proptest::prelude::*;

use super::*;

/// Feeds pieces, then the end of the connection; the outcome, and whether it came before the end.
fn read(pieces: &[&[u8]], text: Option<&str>) -> (Outcome, bool) {
    let expected = StatusSet::default();
    let mut reader = ResponseReader::new(&expected, text.map(str::as_bytes));
    for piece in pieces {
        if let Some(outcome) = reader.handle_bytes(piece) {
            return (outcome, true);
        }
    }
    (reader.handle_end(), false)
}

const PROTOCOL: Outcome = Err(Failure::Protocol);
const BODY: Outcome = Err(Failure::Body);

/// Answer, text wanted, outcome, known before the end of the connection.
#[rustfmt::skip]
const TABLE: &[(&str, Option<&str>, Outcome, bool)] = &[
    ("HTTP/1.1 200 OK\r\n\r\n",                                        None, Ok(()), true),
    ("HTTP/1.0 200 OK\n\n",                                            None, Ok(()), true),
    ("HTTP/1.1 200\r\n\r\n",                                           None, Ok(()), true),
    ("HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",                   None, Ok(()), true),
    ("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nok",                 Some("ok"), Err(Failure::Status(503)), true),
    ("HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n",                      None, Err(Failure::Status(301)), true),
    ("HTTP/1.1 101 Switching\r\n\r\n",                                 None, Err(Failure::Status(101)), true),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", None, Ok(()), true),
    ("HTTP/1.1 100 Continue\r\n\r\nnonsense",                          None, PROTOCOL, true),
    ("HTTP/1.1 100 Continue\r\n\r\n",                                  None, PROTOCOL, false),
    // By length.
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nall ok",             Some("all o"), Ok(()), true),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nall ok",             Some("ok"), BODY, true),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",                   Some("ok"), BODY, true),
    ("HTTP/1.1 200 OK\r\ncontent-LENGTH:  9 \r\n\r\nall",              Some("ok"), PROTOCOL, false),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", Some("ok"), Ok(()), true),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", Some("ok"), PROTOCOL, true),
    ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",                Some("ok"), PROTOCOL, true),
    ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",                Some("ok"), PROTOCOL, true),
    ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", Some("ok"), PROTOCOL, true),
    ("HTTP/1.1 204 No Content\r\n\r\nok",                              Some("ok"), BODY, true),
    // To the end of the connection.
    ("HTTP/1.1 200 OK\r\n\r\nis it ok?",                               Some("ok"), Ok(()), true),
    ("HTTP/1.1 200 OK\r\n\r\nis it?",                                  Some("ok"), BODY, false),
    // By chunks; the text may lie across them.
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n3;x=y\r\n ok\r\n0\r\n\r\n", Some("l o"), Ok(()), true),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n", Some("ok"), BODY, true),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok",   Some("no"), PROTOCOL, false),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX",  Some("no"), PROTOCOL, true),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX",  Some("ok"), Ok(()), true),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",    Some("ok"), PROTOCOL, true),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",      Some("ok"), PROTOCOL, true),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok",  Some("ok"), PROTOCOL, true),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n", Some("ok"), PROTOCOL, true),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",    Some("ok"), PROTOCOL, true),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",           Some("ok"), PROTOCOL, true),
    // Not HTTP.
    ("",                                                               None, PROTOCOL, false),
    ("SSH-2.0-OpenSSH_9.2p1\r\n",                                      None, PROTOCOL, true),
    ("\r\nHTTP/1.1 200 OK\r\n\r\n",                                    None, PROTOCOL, true),
    ("HTTP/2 200\r\n\r\n",                                             None, PROTOCOL, true),
    ("HTTP/1.1 2x0 OK\r\n\r\n",                                        None, PROTOCOL, true),
    ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n",                            None, PROTOCOL, true),
    ("HTTP/1.1 200 OK\r\nServer: x\r\n",                               None, PROTOCOL, false),
];

#[test]
fn answers_come_to_what_the_table_says_whole_and_octet_by_octet() {
    for &(answer, text, outcome, is_early) in TABLE {
        let bytes = answer.as_bytes();
        assert_eq!(read(&[bytes], text), (outcome, is_early), "whole: {answer:?}");
        let octets: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&octets, text), (outcome, is_early), "octets: {answer:?}");
    }
}

#[test]
fn a_head_has_an_end() {
    let endless = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &vec![b'a'; HEAD_MAX]].concat();
    assert_eq!(read(&[&endless], None), (PROTOCOL, true));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
    assert_eq!(read(&[many.as_bytes()], None), (PROTOCOL, true));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(HEAD_MAX / 25 + 1);
    assert_eq!(read(&[interim.as_bytes()], None), (PROTOCOL, true));
    let large = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(HEAD_MAX - 24));
    assert_eq!(read(&[large.as_bytes()], None), (Ok(()), true));
}

#[test]
fn the_text_counts_within_the_first_64_kib_only() {
    let head = b"HTTP/1.1 200 OK\r\n\r\n";
    let filler = |count: usize| vec![b'.'; count];
    let inside = [head.as_slice(), &filler(BODY_MAX - 2), b"ok"].concat();
    assert_eq!(read(&[&inside], Some("ok")), (Ok(()), true));
    let across = [head.as_slice(), &filler(BODY_MAX - 1), b"ok"].concat();
    assert_eq!(read(&[&across], Some("ok")), (BODY, true));
}

#[test]
fn a_chunk_line_has_an_end() {
    let line = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}\r\nx\r\n0\r\n\r\n",
        "x".repeat(CHUNK_LINE_MAX)
    );
    assert_eq!(read(&[line.as_bytes()], Some("ok")), (PROTOCOL, true));
    let octets: Vec<&[u8]> = line.as_bytes().chunks(1).collect();
    assert_eq!(read(&octets, Some("ok")), (PROTOCOL, true));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, failure_persistence: None, ..ProptestConfig::default() })]

    /// The outcome is that of the octets, not of the segments they come in; and nothing panics.
    #[test]
    fn cuts_do_not_change_the_outcome(
        row in 0..TABLE.len(), change in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let (answer, text, ..) = TABLE[row];
        let mut bytes = answer.as_bytes().to_vec();
        if let (Some((place, octet)), false) = (change, bytes.is_empty()) {
            let place = place.index(bytes.len());
            bytes[place] = octet;
        }
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
        prop_assert_eq!(read(&pieces, text).0, read(&[&bytes], text).0);
    }

    /// Random octets behind a plausible beginning.
    #[test]
    fn garbage_never_panics_and_never_passes_with_a_text(tail in proptest::collection::vec(any::<u8>(), 0..512)) {
        for start in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] {
            let bytes = [start.as_bytes(), &tail].concat();
            let text = "a text that does not come up by chance";
            prop_assert!(read(&[&bytes], Some(text)).0.is_err());
        }
    }
}
