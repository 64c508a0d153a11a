// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every fixture on the host and in the kernel: verdict, whole frame, counters.

use std::collections::BTreeMap;

use weir_agent::{Count, Kernel};
use weir_dataplane::host::HostPacket;
use weir_dataplane_core::decap::{AgentOutcome, AgentVerdict, decapsulate};
use weir_dataplane_core::{Action, Packet};

use crate::cases;
use crate::setup::{HostTables, config, pin_dir};

/// Frames up to this length lie in one buffer: a page less what the kernel keeps of it.
const ONE_BUFFER: usize = 3_400;

#[test]
fn host_does_what_the_fixtures_say() {
    let tables = HostTables::new(&config(&pin_dir("host")));
    for case in cases::all() {
        let mut packet = HostPacket::new(&case.frame, 1);
        let outcome = decapsulate(&mut packet, &tables);
        assert_eq!(outcome.verdict, case.verdict, "{}", case.name);
        assert_eq!(packet.frame(), case.left.as_ref().unwrap_or(&case.frame), "{}", case.name);
        let vip = (outcome.vip != AgentOutcome::NO_VIP).then(|| tables.vip_prefix(outcome.vip).to_string());
        assert_eq!(vip.as_deref(), case.vip, "{}", case.name);
    }
}

#[test]
fn fixtures_show_every_verdict_that_a_packet_can_have() {
    let shown: Vec<_> = cases::all().iter().map(|case| case.verdict).collect();
    let missing: Vec<_> = AgentVerdict::ALL.iter().filter(|verdict| !shown.contains(verdict)).collect();
    // No frame is too short to be shortened once its headers were read, so no frame shows it; see the next test.
    assert_eq!(missing, [&AgentVerdict::DropNoRoom]);
}

/// A frame that the kernel does not shorten, for whatever reason.
struct Stuck(HostPacket);

impl Packet for Stuck {
    fn len(&self) -> u32 {
        self.0.len()
    }

    fn total_len(&self) -> u32 {
        self.0.total_len()
    }

    fn read<T: Copy>(&self, off: usize) -> Option<T> {
        self.0.read(off)
    }

    fn write<T: Copy>(&mut self, off: usize, value: T) -> Option<()> {
        self.0.write(off, value)
    }

    fn grow_front(&mut self, bytes: usize) -> bool {
        self.0.grow_front(bytes)
    }

    fn shrink_front(&mut self, _bytes: usize) -> bool {
        false
    }

    fn truncate(&mut self, len: u32) -> bool {
        self.0.truncate(len)
    }

    fn ingress_ifindex(&self) -> u32 {
        self.0.ingress_ifindex()
    }
}

#[test]
fn a_frame_that_cannot_be_shortened_is_dropped_by_name() {
    let tables = HostTables::new(&config(&pin_dir("stuck")));
    let opened = cases::all().into_iter().filter(|case| case.verdict == AgentVerdict::Decapsulated);
    let mut count = 0;
    for case in opened {
        let outcome = decapsulate(&mut Stuck(HostPacket::new(&case.frame, 1)), &tables);
        assert_eq!(outcome.verdict, AgentVerdict::DropNoRoom, "{}", case.name);
        assert_eq!(outcome.vip, AgentOutcome::NO_VIP, "{}: counted for no VIP", case.name);
        count += 1;
    }
    assert!(count > 10, "{count} cases");
    assert_eq!(AgentVerdict::DropNoRoom.action(), Action::Drop);
}

#[test]
#[ignore = "needs root and netns"]
fn kernel_does_what_the_fixtures_say_and_counts_it() {
    let config = config(&pin_dir("fixtures"));
    let mut kernel = Kernel::open(&config).unwrap();
    kernel.set_prefixes(&config.appliances, &config.vips).unwrap();
    kernel.set_addresses(config.addresses.as_ref().unwrap()).unwrap();
    kernel.set_gue_ports(&config.gue_ports).unwrap();
    let mut verdicts: BTreeMap<AgentVerdict, Count> =
        AgentVerdict::ALL.iter().map(|&verdict| (verdict, Count::default())).collect();
    let mut vips: BTreeMap<_, Count> = config.vips.iter().map(|&vip| (vip, Count::default())).collect();
    for case in cases::all() {
        let ran = kernel.run(&case.frame).unwrap();
        let action = match case.verdict.action() {
            Action::Drop => 1,
            Action::Pass | Action::Forward | Action::Answer => 2,
        };
        assert_eq!(ran.action, action, "{}", case.name);
        assert_eq!(&ran.frame, case.left.as_ref().unwrap_or(&case.frame), "{}", case.name);

        let count = verdicts.get_mut(&case.verdict).unwrap();
        count.packets += 1;
        count.bytes += case.frame.len() as u64;
        if case.frame.len() > ONE_BUFFER && case.vip.is_none() {
            // What is not decapsulated is counted by its first buffer, whose size is the kernel's affair.
            let counted = kernel.counters().unwrap().verdicts[&case.verdict].bytes;
            let first = counted - (count.bytes - case.frame.len() as u64);
            assert!((1..case.frame.len() as u64).contains(&first), "{first} octets of: {}", case.name);
            count.bytes = counted;
        }
        if let Some(vip) = case.vip {
            let count = vips.get_mut(&vip.parse().unwrap()).unwrap();
            let ip = &case.left.as_ref().unwrap()[14..];
            let field = |at: usize| u64::from(u16::from_be_bytes([ip[at], ip[at + 1]]));
            count.packets += 1;
            count.bytes += if ip[0] >> 4 == 4 { field(2) } else { field(4) + 40 };
        }
        let counters = kernel.counters().unwrap();
        assert_eq!((&counters.verdicts, &counters.vips), (&verdicts, &vips), "after: {}", case.name);
    }
    kernel.detach().unwrap();
}

#[test]
#[ignore = "needs root and netns"]
fn tables_are_adopted_and_follow_the_document() {
    let mut config = config(&pin_dir("adopt"));
    let mut kernel = Kernel::open(&config).unwrap();
    kernel.set_prefixes(&config.appliances, &config.vips).unwrap();
    kernel.set_addresses(config.addresses.as_ref().unwrap()).unwrap();
    kernel.set_gue_ports(&config.gue_ports).unwrap();
    let case = cases::all().swap_remove(0);
    kernel.run(&case.frame).unwrap();
    drop(kernel);

    let mut kernel = Kernel::open(&config).unwrap();
    let vip = case.vip.unwrap().parse().unwrap();
    assert_eq!(kernel.counters().unwrap().vips[&vip].packets, 1, "counted by the former process");
    // One prefix goes, another takes its index and starts at zero; the others keep what they counted.
    let fresh = "192.88.99.0/24".parse().unwrap();
    config.vips.insert(fresh);
    config.vips.remove(&"198.51.0.0/16".parse().unwrap());
    kernel.set_prefixes(&config.appliances, &config.vips).unwrap();
    let counters = kernel.counters().unwrap();
    assert_eq!(
        counters.vips.keys().copied().collect::<Vec<_>>(),
        config.vips.iter().copied().collect::<Vec<_>>()
    );
    assert_eq!((counters.vips[&vip].packets, counters.vips[&fresh].packets), (1, 0));
    // The address goes: the packet is not for us any more.
    kernel.set_addresses(&["fd00::1".parse().unwrap()].into()).unwrap();
    assert_eq!(kernel.run(&case.frame).unwrap().frame, case.frame);
    assert_eq!(kernel.counters().unwrap().verdicts[&AgentVerdict::PassForeignAddress].packets, 1);
    kernel.detach().unwrap();
    assert!(!config.pin_dir.join(&config.instance).exists());
}
