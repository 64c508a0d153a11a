// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What reading one message may cost: nothing above 1 MiB, neither in one piece nor together, for any message of either
//! maximum. The allocator of this binary counts.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use support::{Random, index, load};
use weir_bgp::wire::iana::{MESSAGE_LEN_MAX, MESSAGE_LEN_MAX_EXTENDED};
use weir_bgp::wire::{DecodeContext, FrameBuffer, Message};

/// Most octets that reading a message may hold at any time, frame buffer and result included.
const LIVE_MAX: usize = 1 << 20;

/// Counts what the thread holds; tests run in threads of their own.
struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn taken(octets: usize) {
    LIVE.set(LIVE.get() + octets);
    PEAK.set(PEAK.get().max(LIVE.get()));
}

// SAFETY: every call goes to the system's allocator unchanged; only numbers are kept, in cells that need no allocation.
#[allow(unsafe_code, reason = "an allocator can be written no other way")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are held while the octets move.
        taken(size);
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that was held while `work` ran, above what was held before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (PEAK.get() - before, result)
}

/// Takes a stream through a frame buffer as a session does, shows and answers what comes out.
fn read(stream: &[u8], max: usize, four_octet_as: bool) -> usize {
    let context = DecodeContext { four_octet_as, local_address: None };
    let mut buffer = FrameBuffer::new(max);
    let mut messages = 0;
    for mut chunk in stream.chunks(1400) {
        while let Ok(true) = buffer.fill(&mut chunk) {
            let (kind, body) = buffer.message().unwrap();
            match Message::decode(kind, body, &context) {
                Ok(Message::Open(open)) => {
                    open.capabilities.iter().for_each(|c| assert!(c.to_string().len() < 2000));
                    assert!(open.encode().len() <= MESSAGE_LEN_MAX);
                }
                Ok(Message::Notification(notification)) => assert!(!notification.to_string().is_empty()),
                Ok(Message::Update(_) | Message::Keepalive | Message::Refresh(_)) => {}
                Err(error) => assert!(error.answer().is_none_or(|a| a.encode().len() <= MESSAGE_LEN_MAX)),
            }
            buffer.clear();
            messages += 1;
        }
    }
    messages
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
    [&[0xff; 16], &length[..], &[kind], body].concat()
}

/// `unit` as often as it fits `room`.
fn filled(unit: &[u8], room: usize) -> Vec<u8> {
    unit.repeat(room / unit.len())
}

/// An UPDATE of one attribute filled with `unit`.
fn attribute(flags: u8, code: u8, head: &[u8], unit: &[u8], max: usize) -> Vec<u8> {
    let value = [head, &filled(unit, max - 19 - 4 - 4 - head.len())].concat();
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let block = [&[flags | 0x10, code], &length[..], &value].concat();
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    message(2, &[&[0, 0], &length[..], &block].concat())
}

/// Messages that cost the most that their octets can buy.
fn worst(max: usize) -> Vec<(&'static str, Vec<u8>)> {
    let room = max - 19 - 4;
    let field = |unit: &[u8]| filled(unit, room);
    let withdrawn = |unit: &[u8]| {
        let field = field(unit);
        let length = u16::try_from(field.len()).unwrap().to_be_bytes();
        message(2, &[&length[..], &field, &[0, 0]].concat())
    };
    vec![
        ("NLRI of default routes", message(2, &[&[0; 4][..], &field(&[0])].concat())),
        ("NLRI of two octets each", message(2, &[&[0; 4][..], &field(&[1, 0x80])].concat())),
        ("default routes withdrawn", withdrawn(&[0])),
        ("prefixes of two octets withdrawn", withdrawn(&[8, 10])),
        ("MP_REACH of short prefixes", attribute(0x80, 14, &[0, 1, 1, 4, 10, 0, 0, 1, 0], &[1, 0x80], max)),
        ("MP_UNREACH of short prefixes", attribute(0x80, 15, &[0, 2, 1], &[1, 0x80], max)),
        ("AS_PATH of short segments", attribute(0x40, 2, &[], &[2, 1, 0, 9], max)),
        ("AS_PATH of short wide segments", attribute(0x40, 2, &[], &[2, 1, 0, 0, 0, 9], max)),
        ("AS4_PATH of short segments", attribute(0xc0, 17, &[], &[2, 1, 0, 0, 0, 9], max)),
        ("communities", attribute(0xc0, 8, &[], &[1, 2, 3, 4], max)),
        ("extended communities", attribute(0xc0, 16, &[], &[0, 4, 3, 4, 5, 6, 7, 8], max)),
        ("large communities", attribute(0xc0, 32, &[], &[7; 12], max)),
        ("unknown well-known attribute", attribute(0x40, 99, &[], &[7], max)),
        (
            "bad attributes",
            message(
                2,
                &[
                    &[0, 0],
                    &(u16::try_from(room).unwrap() / 3 * 3).to_be_bytes()[..],
                    &filled(&[0x40, 1, 0], room),
                ]
                .concat(),
            ),
        ),
        ("NOTIFICATION", message(3, &[&[6, 9, 6, 2, 255][..], &filled(&[0xff], max - 19 - 5)].concat())),
    ]
}

#[test]
fn no_message_costs_a_mebibyte_to_read() {
    let mut costs = Vec::new();
    for max in [MESSAGE_LEN_MAX, MESSAGE_LEN_MAX_EXTENDED] {
        for (name, octets) in worst(max) {
            for four_octet_as in [true, false] {
                let (peak, messages) = peak_of(|| read(&octets, max, four_octet_as));
                assert_eq!(messages, 1, "{name} of {max} was read");
                assert!(peak < LIVE_MAX, "{name} of {max}: {peak} octets");
                costs.push((peak, max, name));
            }
        }
    }
    let most = costs.iter().max().unwrap();
    assert!(most.0 > 500_000, "the worst messages are bad ones: {most:?}");
    let short = costs.iter().filter(|c| c.1 == MESSAGE_LEN_MAX).max().unwrap();
    assert!(short.0 < 70_000, "{short:?}");
}

#[test]
fn the_largest_open_costs_little() {
    for unit in [&[2u8, 0][..], &[200, 0], &[64, 6, 0, 1, 0, 1, 1, 0x80], &[69, 4, 0, 1, 1, 3]] {
        let capabilities = filled(unit, MESSAGE_LEN_MAX - 19 - 10 - 6);
        let length = u16::try_from(capabilities.len()).unwrap();
        let head = [4, 0xfd, 0xe9, 0, 9, 10, 0, 0, 1, 255, 255];
        let body =
            [&head[..], &(length + 3).to_be_bytes(), &[2], &length.to_be_bytes(), &capabilities].concat();
        let (peak, messages) = peak_of(|| read(&message(1, &body), MESSAGE_LEN_MAX, true));
        assert!(messages == 1 && peak < LIVE_MAX / 2, "{unit:?}: {peak} octets");
    }
}

#[test]
fn repeated_fixtures_cost_no_more_than_one() {
    let mut random = Random(3);
    let corpus: Vec<_> = index().iter().map(|entry| load(entry["file"].as_str().unwrap())).collect();
    for _ in 0..200 {
        let stream: Vec<u8> =
            (0..50).flat_map(|_| corpus[random.below(corpus.len())].iter().copied()).collect();
        let (peak, _) = peak_of(|| read(&stream, MESSAGE_LEN_MAX, true));
        assert!(peak < 20_000, "{peak} octets for {} octets of messages", stream.len());
    }
}
