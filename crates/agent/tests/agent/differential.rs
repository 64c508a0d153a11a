// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The same random frames on the host and in the kernel: same verdict, same frame. `WEIR_DIFF_PACKETS` sets how many.

use weir_agent::Kernel;
use weir_dataplane::host::HostPacket;
use weir_dataplane_core::decap::{AgentVerdict, decapsulate};

use crate::cases;
use crate::setup::{HostTables, config, pin_dir};

/// Frames that are compared, unless the environment says otherwise.
const FRAMES_DEFAULT: u64 = 1_000_000;

/// xorshift64*: the same frames at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % end
    }

    fn octet(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// A fixture with a few octets changed, and cut or grown at its end.
fn mutated(random: &mut Random, seeds: &[cases::Case]) -> Vec<u8> {
    let mut frame = seeds[random.below(seeds.len())].frame.clone();
    for _ in 0..random.below(4) {
        let at = random.below(frame.len());
        // Half of the changes flip one bit, so that lengths and versions stay near what they were.
        frame[at] = if random.below(2) == 0 { frame[at] ^ (1 << random.below(8)) } else { random.octet() };
    }
    match random.below(4) {
        0 => frame.truncate(14 + random.below(frame.len() - 13)),
        1 => (0..random.below(30)).for_each(|_| frame.push(random.octet())),
        _ => {}
    }
    frame
}

#[test]
#[ignore = "needs root and netns"]
fn host_and_kernel_agree_on_random_frames() {
    let frames =
        std::env::var("WEIR_DIFF_PACKETS").ok().map_or(FRAMES_DEFAULT, |v| v.parse().expect("a number"));
    let config = config(&pin_dir("differential"));
    let mut kernel = Kernel::open(&config).unwrap();
    kernel.set_prefixes(&config.appliances, &config.vips).unwrap();
    kernel.set_addresses(config.addresses.as_ref().unwrap()).unwrap();
    kernel.set_gue_ports(&config.gue_ports).unwrap();
    let tables = HostTables::new(&config);
    let seeds = cases::all();
    let mut random = Random(0x5eed_0002);
    let mut expected = vec![0_u64; AgentVerdict::ALL.len()];
    for round in 0..frames {
        let frame = mutated(&mut random, &seeds);
        let mut packet = HostPacket::new(&frame, 1);
        let outcome = decapsulate(&mut packet, &tables);
        let ran = kernel.run(&frame).unwrap();
        let action = if outcome.verdict.name().starts_with("drop_") { 1 } else { 2 };
        assert_eq!(ran.action, action, "round {round}, {:?}: {frame:02x?}", outcome.verdict);
        assert_eq!(ran.frame, packet.frame(), "round {round}, {:?}: {frame:02x?}", outcome.verdict);
        expected[outcome.verdict as usize] += 1;
    }
    let counted: Vec<u64> = kernel.counters().unwrap().verdicts.values().map(|count| count.packets).collect();
    assert_eq!(counted, expected);
    println!(
        "{frames} frames: {:?}",
        AgentVerdict::ALL.iter().map(|v| v.name()).zip(counted).collect::<Vec<_>>()
    );
    kernel.detach().unwrap();
}
