// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random desired states: every option of services and pools, backends in every state, next hops of every kind.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use weir_dataplane::forwarding::{
    Affinity, BackendState, Fragments, GueVariant, Limits, Mode, OnFailed, OuterHeader, Protocol, Vip,
    VipPrefix,
};
use weir_dataplane::next_hop::NextHop;

use super::random::Random;
use crate::support::bed::{LOOPBACK, State, hop};

/// A second uplink.
pub const OTHER_UPLINK: u32 = 1_001;
/// Addresses that are VIPs in every state.
pub const VIPS_V4: [&str; 3] = ["198.51.100.10", "198.51.100.11", "198.51.100.64"];
pub const VIPS_V6: [&str; 3] = ["2001:db8:100::10", "2001:db8:100::11", "2001:db8:200::"];
/// Backends of every pool but those of one family alone.
const BACKENDS_V4: [(&str, &str); 3] = [("a1", "10.1.0.1"), ("a2", "10.1.0.2"), ("a3", "10.1.0.3")];
const BACKENDS_V6: [(&str, &str); 3] =
    [("c1", "2001:db8:1::1"), ("c2", "2001:db8:1::2"), ("c3", "2001:db8:1::3")];

pub fn any_state(random: &mut Random) -> State {
    let mixed: Vec<(&str, &str)> = [&BACKENDS_V4[..], &BACKENDS_V6].concat();
    let mut state = State::default()
        .pool("v4", &BACKENDS_V4)
        .pool("v6", &BACKENDS_V6)
        .pool("mixed", &mixed[1..5])
        .pool("empty", &[]);
    let pools: Vec<String> = state.forwarding.pools.keys().cloned().collect();
    for name in &pools {
        any_pool(random, &mut state, name);
    }
    state = any_services(random, state);
    for (address, length) in [(VIPS_V4[0], 32), (VIPS_V4[2], 26), (VIPS_V6[0], 128), (VIPS_V6[2], 64)] {
        let prefix = VipPrefix { address: address.parse().unwrap(), length };
        state.forwarding.vips.insert(prefix, Vip { answers_echo: !random.one_in(3) });
    }
    let rates = [0, 3, 50, 1_000_000];
    state.forwarding.limits = Limits {
        echo_per_second: *random.pick(&rates),
        icmp_errors_per_second: *random.pick(&rates),
        too_big_per_second: *random.pick(&rates),
        new_flows_per_cpu: *random.pick(&[None, None, NonZeroU32::new(3), NonZeroU32::new(1_000)]),
        fragments_per_second: *random.pick(&rates),
        min_mtu_v4: *random.pick(&[68, 552, 1280]),
        entropy_v4: Some([10, 77, 0, 0].into()),
        entropy_v6: Some("2001:db8:77::".parse().unwrap()),
    };
    for (_, address) in mixed {
        any_next_hops(random, &mut state, address.parse().unwrap());
    }
    state
}

fn any_pool(random: &mut Random, state: &mut State, name: &str) {
    let pool = state.forwarding.pools.get_mut(name).unwrap();
    let gue = |variant| Mode::Gue { port: 6080, variant };
    let modes = [
        Mode::Ipip,
        Mode::Ipip,
        gue(GueVariant::Header),
        gue(GueVariant::Candidates),
        gue(GueVariant::Direct),
        Mode::L2,
    ];
    pool.mode = *random.pick(&modes);
    if !random.one_in(3) {
        pool.outer = OuterHeader {
            udp_checksum: random.one_in(2),
            source_entropy: random.one_in(3),
            copies_dscp: random.one_in(2),
            flow_label: random.one_in(2),
            port_entropy: random.one_in(2),
        };
    }
    pool.on_failed = *random.pick(&[OnFailed::Keep, OnFailed::Reset]);
    for backend in pool.backends.values_mut() {
        backend.state = *random.pick(&[
            BackendState::Usable,
            BackendState::Usable,
            BackendState::Usable,
            BackendState::Draining,
            BackendState::Failed,
            BackendState::Disabled,
        ]);
        backend.weight = *random.pick(&[1, 100, 100, 300]);
        backend.cap_permille = *random.pick(&[1000, 1000, 500]);
    }
}

fn any_services(random: &mut Random, mut state: State) -> State {
    let list: [(&str, &str, Option<u8>, Protocol, u16); 12] = [
        ("http4", VIPS_V4[0], None, Protocol::Tcp, 80),
        ("dns4", VIPS_V4[0], None, Protocol::Udp, 53),
        ("any4", VIPS_V4[0], None, Protocol::Udp, 0),
        ("other4", VIPS_V4[1], None, Protocol::Tcp, 0),
        ("wide4", VIPS_V4[2], Some(26), Protocol::Tcp, 80),
        ("wide-any4", VIPS_V4[2], Some(26), Protocol::Udp, 0),
        ("http6", VIPS_V6[0], None, Protocol::Tcp, 80),
        ("dns6", VIPS_V6[0], None, Protocol::Udp, 53),
        ("any6", VIPS_V6[0], None, Protocol::Udp, 0),
        ("other6", VIPS_V6[1], None, Protocol::Tcp, 0),
        ("wide6", VIPS_V6[2], Some(64), Protocol::Tcp, 80),
        ("wide-any6", VIPS_V6[2], Some(64), Protocol::Udp, 0),
    ];
    for (name, vip, prefix_length, protocol, port) in list {
        if random.one_in(12) {
            continue;
        }
        let own = if name.ends_with('4') { "v4" } else { "v6" };
        let pool = *random.pick(&[own, own, own, "mixed", "mixed", "empty"]);
        // Plain services must stay frequent: theirs is the path that everybody takes.
        let is_plain = random.one_in(3);
        state = state.service(name, vip, protocol, port, pool).edit_service(name, |service| {
            service.prefix_length = prefix_length;
            service.idle = Duration::from_secs(*random.pick(&[1, 30, 300, 10_800]));
            if is_plain {
                return;
            }
            service.flow_table = !random.one_in(4);
            service.affinity = *random.pick(&[Affinity::Flow, Affinity::Source, Affinity::SourcePort]);
            service.fragments =
                *random.pick(&[Fragments::Drop, Fragments::BySource, Fragments::FirstFragment]);
            service.new_flows_per_second =
                *random.pick(&[None, NonZeroU32::new(5), NonZeroU32::new(100_000)]);
        });
    }
    state
}

fn any_next_hops(random: &mut Random, state: &mut State, address: IpAddr) {
    if random.one_in(8) {
        state.next_hops.remove(&address);
        return;
    }
    let count = *random.pick(&[1_u8, 1, 2, 3, 4, 5]);
    let any = |number: u8, random: &mut Random| NextHop {
        ifindex: if random.one_in(5) { OTHER_UPLINK } else { LOOPBACK },
        destination_mac: [2, 0, 0, 0, 1, number],
        vlan: if random.one_in(4) { Some(1 + random.u16() % 4094) } else { None },
        is_on_link: !random.one_in(4),
        ..hop(*random.pick(&[120, 600, 1300, 1500, 1500, 9000]))
    };
    let hops = (0..count).map(|number| any(number, random)).collect();
    state.next_hops.insert(address, hops);
}
