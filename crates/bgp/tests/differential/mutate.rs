// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Mutations that stay close to a message: octets of any, and whole attributes of an UPDATE with every length put right.

use super::support::{Random, mutated};

/// One of the recordings, changed a little.
pub(crate) fn near(random: &mut Random, corpus: &[Vec<u8>], updates: &[Vec<u8>]) -> Vec<u8> {
    match random.below(10) {
        0 => mutated(random, corpus),
        1 | 2 => poked(random, corpus),
        _ => reshaped(random, updates),
    }
}

/// One octet behind the header is another one.
fn poked(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = corpus[random.below(corpus.len())].clone();
    if octets.len() > 19 {
        let at = 19 + random.below(octets.len() - 19);
        octets[at] = if random.below(2) == 0 { random.octet() } else { octets[at] ^ (1 << random.below(8)) };
    }
    octets
}

/// The fields of an UPDATE.
struct Parts {
    withdrawn: Vec<u8>,
    /// Flags, type and value.
    attributes: Vec<(u8, u8, Vec<u8>)>,
    nlri: Vec<u8>,
}

fn take(input: &mut &[u8], count: usize) -> Vec<u8> {
    let (taken, rest) = input.split_at(count);
    *input = rest;
    taken.to_vec()
}

fn take_length(input: &mut &[u8]) -> usize {
    let octets = take(input, 2);
    usize::from(u16::from_be_bytes([octets[0], octets[1]]))
}

/// Cuts a recorded UPDATE, which is whole.
fn cut(octets: &[u8]) -> Parts {
    let mut rest = &octets[19..];
    let length = take_length(&mut rest);
    let withdrawn = take(&mut rest, length);
    let length = take_length(&mut rest);
    let (mut block, nlri) = rest.split_at(length);
    let mut attributes = Vec::new();
    while !block.is_empty() {
        let head = take(&mut block, 2);
        let length =
            if head[0] & 0x10 == 0 { usize::from(take(&mut block, 1)[0]) } else { take_length(&mut block) };
        attributes.push((head[0] & 0xef, head[1], take(&mut block, length)));
    }
    Parts { withdrawn, attributes, nlri: nlri.to_vec() }
}

fn build(parts: &Parts) -> Vec<u8> {
    let mut block = Vec::new();
    for (flags, code, value) in &parts.attributes {
        let length = u16::try_from(value.len()).unwrap();
        block.extend_from_slice(&[flags | 0x10, *code]);
        block.extend_from_slice(&length.to_be_bytes());
        block.extend_from_slice(value);
    }
    let length = |field: &[u8]| u16::try_from(field.len()).unwrap().to_be_bytes();
    let body =
        [&length(&parts.withdrawn)[..], &parts.withdrawn, &length(&block), &block, &parts.nlri].concat();
    let total = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
    [&[0xff; 16], &total[..], &[2], &body].concat()
}

/// A recorded UPDATE with one to three things done to its parts.
fn reshaped(random: &mut Random, updates: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = cut(&updates[random.below(updates.len())]);
    for _ in 0..=random.below(3) {
        let donor = cut(&updates[random.below(updates.len())]);
        change(random, &mut parts, donor);
    }
    build(&parts)
}

fn change(random: &mut Random, parts: &mut Parts, donor: Parts) {
    let count = parts.attributes.len();
    let at = random.below(count);
    match random.below(12) {
        0 => parts.nlri.extend(donor.nlri),
        1 => parts.withdrawn.extend(donor.withdrawn),
        // Any prefix: length octet and what it needs.
        2 => {
            let bits = random.octet() % 34;
            parts.nlri.push(bits);
            parts.nlri.extend((0..bits.div_ceil(8)).map(|_| random.octet()));
        }
        3 => parts.attributes.push((
            [0x40, 0x80, 0xc0][random.below(3)],
            random.octet() % 40,
            (0..random.below(16)).map(|_| random.octet()).collect(),
        )),
        4 | 5 if !donor.attributes.is_empty() => {
            let chosen = donor.attributes[random.below(donor.attributes.len())].clone();
            parts.attributes.insert(random.below(count + 1), chosen);
        }
        _ if count == 0 => {}
        6 => drop(parts.attributes.remove(at)),
        7 => parts.attributes.swap(at, random.below(count)),
        8 => parts.attributes[at].0 ^= [0x80, 0x40, 0x20, 0x08][random.below(4)],
        9 => {
            let again = parts.attributes[at].clone();
            parts.attributes.push(again);
        }
        10 => drop(parts.attributes[at].2.pop()),
        _ => {
            let value = &mut parts.attributes[at].2;
            if !value.is_empty() {
                let place = random.below(value.len());
                value[place] = random.octet();
            }
        }
    }
}
