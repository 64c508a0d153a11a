// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Seeds of the packet logic: the random frames of the differential test in random tables, and what comes of them.

use std::io;

use crate::build::Frame;
use crate::frames::any_frame;
use crate::random::Random;

/// Frames enough that every verdict is among their ends.
const SEEDS: u64 = 1_000;
/// Octets of a state, without the length of the first frame and what follows it.
const CHOSEN: usize = 9;

/// An MTU, as a state says it and in octets.
const EDGE_STEP: u8 = 40;
const EDGE: usize = 68 + 36 * EDGE_STEP as usize;
/// What each mode adds to a packet in IPv4 and IPv6; with the three other candidates of a row.
const OVERHEADS: [[usize; 2]; 5] = [[20, 40], [32, 52], [56, 112], [28, 48], [0, 0]];

/// Gives each seed to `put` with its target and its name.
pub fn seeds(put: impl Fn(&str, &str, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut random = Random(1);
    for number in 0..SEEDS {
        let seed = seed(&mut random);
        let name = format!("frames-{number:04}");
        put("dataplane_frame", &name, &seed)?;
        put("dataplane_check", &name, &seed)?;
        for (frame, left) in ["first", "second"].iter().zip(weir_fuzz::dataplane::left(&seed)) {
            put("dataplane_agent", &format!("{name}-{frame}"), &[&[100], &left[..]].concat())?;
            // One octet of the headers differs.
            let mut off = left.clone();
            let at = 14 + usize::try_from(random.below(off.len().min(80) as u64 - 14)).expect("short");
            off[at] = random.octet();
            put("dataplane_agent", &format!("{name}-{frame}-off"), &[&[100], &off[..]].concat())?;
            // A control message, over IPv4.
            if left.len() > 42 && left[23] == 17 {
                let mut control = left.clone();
                control[42] |= 0x20;
                put("dataplane_agent", &format!("{name}-{frame}-control"), &[&[100], &control[..]].concat())?;
            }
            put("dataplane_path", &format!("{name}-{frame}"), &error_about(&left[14..]))?;
        }
    }
    // First and later fragment of one datagram, for a service that follows the first.
    let piece = |fragment| {
        let edit = |frame: &mut Frame| (frame.fragment, frame.payload) = (fragment, vec![7; 8]);
        Frame::udp("203.0.113.7", 1000, "198.51.100.10", 53).with(edit).octets()
    };
    let (first, later) = (piece(0x2000), piece(2));
    let length = [0, u8::try_from(first.len()).expect("a short one")];
    // Whose backend is there as before, or one of them gone meanwhile.
    for (number, gone) in [0, 0xc0 | 5 << 3, 0xc0 | 6 << 3].into_iter().enumerate() {
        let state = [&[0x3d, 0x22, 0, 0, 40, 0, 0, gone, 0x80][..], &length, &[0]].concat();
        let seed = [state, first.clone(), later.clone()].concat();
        put("dataplane_frame", &format!("fragments-{number}"), &seed)?;
    }
    // An IPv4 address in IPv6 form is nobody's VIP.
    let mapped = Frame::tcp("2001:db8:c::7", 1000, "::ffff:198.51.100.10", 80, 16).octets();
    let state = [0x3d, 0, 0, 0, 40, 0, 0, 0, 0x80, 0, 0, 0];
    put("dataplane_frame", "mapped", &[&state[..], &mapped].concat())?;
    let tagged = [&mapped[..12], &[0x81, 0, 0, 5], &mapped[12..]].concat();
    put("dataplane_frame", "mapped-tagged", &[&state[..], &tagged].concat())?;
    for (mode, overheads) in (0..).zip(OVERHEADS) {
        for (family, overhead) in (0..).zip(overheads) {
            for beyond in 0..=1 {
                let name = format!("edge-{mode}-{family}-{beyond}");
                put("dataplane_frame", &name, &at_the_edge(mode, family, EDGE - overhead + beyond))?;
            }
        }
    }
    // What a VIP's server says to a client's SYN: its MSS in one word, across two, and beyond the header; and a SYN of its own.
    for (name, flags, options) in [
        ("even", 0x12, [2, 4, 0x05, 0xb4, 1, 1, 4, 2]),
        ("odd", 0x12, [1, 2, 4, 0x05, 0xb4, 1, 4, 2]),
        ("cut", 0x12, [4, 2, 1, 1, 1, 1, 2, 4]),
        ("syn", 0x02, [2, 4, 0x05, 0xb4, 1, 1, 4, 2]),
    ] {
        let mut octets = Frame::tcp("198.51.100.10", 80, "203.0.113.7", 1000, flags).octets();
        // Data offset.
        octets[46] = 0x70;
        octets.extend(options);
        octets.extend([0x05, 0xb4]);
        put("dataplane_agent", &format!("mss-{name}"), &[&[100], &octets[..]].concat())?;
    }
    Ok(())
}

/// A TCP packet of `len` octets in a tunnel of `mode` over its own family, 0 being IPv4, by a path of [`EDGE`] octets.
fn at_the_edge(mode: u8, family: usize, len: usize) -> Vec<u8> {
    let (client, vip, header) =
        [("203.0.113.7", "198.51.100.10", 40), ("2001:db8:c::7", "2001:db8:100::10", 60)][family];
    let families = if family == 0 { 0 } else { 0x3f };
    let edit = |frame: &mut Frame| frame.payload = vec![7; len - header];
    let frame = Frame::tcp(client, 1000, vip, 80, 16).with(edit).octets();
    [&[0x3d, 0, mode, 0, EDGE_STEP, 0, families, 0, 0x80, 0, 0, 0][..], &frame].concat()
}

/// "Too big", about a tunnel's packet.
fn error_about(packet: &[u8]) -> Vec<u8> {
    let quote = &packet[..packet.len().min(100)];
    if packet[0] >> 4 == 6 {
        return [&[9, 2, 0, 0, 0, 0, 0, 5, 0xa0][..], quote].concat();
    }
    let length = u16::try_from(28 + quote.len()).expect("a short one").to_be_bytes();
    let header = [0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, 1, 0, 0, 192, 0, 2, 77, 192, 0, 2, 1];
    [&[10][..], &header, &[3, 4, 0, 0, 0, 0, 5, 0xa0], quote].concat()
}

fn seed(random: &mut Random) -> Vec<u8> {
    let mut seed: Vec<u8> = (0..CHOSEN).map(|_| random.octet()).collect();
    // Mostly all backends are there, packets fit, and nothing is limited: the tables of the other inputs differ in that.
    if !random.one_in(4) {
        (seed[0], seed[4], seed[5], seed[8]) = (seed[0] | 0x3d, seed[4] | 0x20, 0, seed[8] & 0x80);
    }
    if random.one_in(3) {
        (seed[1], seed[3], seed[7]) = (seed[1] & 0xc1, 0, 0);
    }
    let (first, second) = (any_frame(random), any_frame(random));
    let (length, second) = if random.one_in(2) { (0, Vec::new()) } else { (first.len(), second) };
    seed.extend(u16::try_from(length).expect("a frame").to_be_bytes());
    // Mostly as much room in front as XDP promises.
    seed.push(if random.one_in(6) { random.octet() } else { random.octet() & 0xf });
    [seed, first, second].concat()
}
