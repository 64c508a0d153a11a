// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A desired state as the document that makes an appliance want it, with what an appliance would find out in `[replay]`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use weir_dataplane::forwarding::{
    Affinity, Algorithm, BackendState, ForwardingState, Fragments, GueVariant, Limits, Mode, OnFailed, Pool,
    Protocol, Service, VipPrefix,
};
use weir_dataplane::next_hop::NextHop;

use super::bed::{LOOPBACK, SEED, SOURCE_V4, SOURCE_V6, State, capacity};

/// The document, in TOML.
pub fn document(state: &State) -> String {
    let capacity = capacity();
    let mut text = format!(
        "[bootstrap.capacity]\nservices = {}\nbackends = {}\nflow_slots = {}\nrows = {}\n\
         [appliance]\nsource_v4 = \"{SOURCE_V4}\"\nsource_v6 = \"{SOURCE_V6}\"\n",
        capacity.services, capacity.backends, capacity.flow_slots, capacity.rows
    );
    limits(&mut text, &state.forwarding.limits);
    let vips = vips(&state.forwarding);
    for (prefix, name) in &vips {
        let VipPrefix { address, length } = prefix;
        let written = if prefix.is_host() { address.to_string() } else { format!("{address}/{length}") };
        let echo = state.forwarding.vips.get(prefix).is_some_and(|vip| vip.answers_echo);
        writeln!(text, "[vips.{name}]\naddress = \"{written}\"\necho = {echo}").unwrap();
    }
    for (name, one) in &state.forwarding.services {
        service(&mut text, name, one, &vips[&one.vip()]);
    }
    for (name, one) in &state.forwarding.pools {
        pool(&mut text, name, one);
    }
    replay(&mut text, state);
    text
}

fn vips(state: &ForwardingState) -> BTreeMap<VipPrefix, String> {
    let prefixes = state.vips.keys().copied().chain(state.services.values().map(Service::vip));
    let mut vips: BTreeMap<VipPrefix, String> = prefixes.map(|prefix| (prefix, String::new())).collect();
    for (number, name) in vips.values_mut().enumerate() {
        *name = format!("vip{number}");
    }
    vips
}

fn limits(text: &mut String, limits: &Limits) {
    let Limits {
        echo_per_second,
        icmp_errors_per_second,
        too_big_per_second,
        new_flows_per_cpu,
        fragments_per_second,
        min_mtu_v4,
        entropy_v4,
        entropy_v6,
    } = limits;
    writeln!(
        text,
        "[dataplane.limits]\necho_per_second = {echo_per_second}\nicmp_errors_per_second = {icmp_errors_per_second}\n\
         too_big_per_second = {too_big_per_second}\nfragments_per_second = {fragments_per_second}\nmin_mtu_v4 = {min_mtu_v4}"
    )
    .unwrap();
    // A document has no word for "no bound".
    let new_flows_per_cpu = new_flows_per_cpu.map_or(1_000_000_000, u32::from);
    writeln!(text, "new_flows_per_cpu = {new_flows_per_cpu}").unwrap();
    if let Some(prefix) = entropy_v4 {
        writeln!(text, "entropy_v4 = \"{prefix}/16\"").unwrap();
    }
    if let Some(prefix) = entropy_v6 {
        writeln!(text, "entropy_v6 = \"{prefix}/64\"").unwrap();
    }
}

fn service(text: &mut String, name: &str, service: &Service, vip: &str) {
    let protocol = match service.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let port = if service.port == 0 { "\"any\"".to_owned() } else { service.port.to_string() };
    let affinity = match service.affinity {
        Affinity::Flow => "flow",
        Affinity::Source => "source",
        Affinity::SourcePort => "source-port",
    };
    let fragments = match service.fragments {
        Fragments::Drop => "drop",
        Fragments::BySource => "by-source",
        Fragments::FirstFragment => "first-fragment",
    };
    writeln!(
        text,
        "[services.{name}]\nvip = \"{vip}\"\nprotocol = \"{protocol}\"\nport = {port}\npool = \"{}\"\nidle = \"{}s\"\n\
         flow_table = {}\naffinity = \"{affinity}\"\nfragments = \"{fragments}\"",
        service.pool,
        service.idle.as_secs(),
        service.flow_table
    )
    .unwrap();
    if let Some(limit) = service.new_flows_per_second {
        writeln!(text, "new_flows_per_second = {limit}").unwrap();
    }
}

fn pool(text: &mut String, name: &str, pool: &Pool) {
    let mode = match pool.mode {
        Mode::Ipip => "ipip",
        Mode::Gue { .. } => "gue",
        Mode::L2 => "l2",
    };
    let on_failed = match pool.on_failed {
        OnFailed::Keep => "keep",
        OnFailed::Reset => "reset",
    };
    writeln!(
        text,
        "[pools.{name}]\nmode = \"{mode}\"\nmax_backends = {}\non_failed = \"{on_failed}\"",
        pool.max_backends
    )
    .unwrap();
    if pool.algorithm != Algorithm::default() {
        text.push_str("algorithm = \"maglev\"\n");
    }
    let outer = &pool.outer;
    if let Mode::Gue { port, variant } = pool.mode {
        let variant = match variant {
            GueVariant::Header => "header",
            GueVariant::Candidates => "candidates",
            GueVariant::Direct => "direct",
        };
        writeln!(
            text,
            "[pools.{name}.gue]\nport = {port}\nvariant = \"{variant}\"\nudp_checksum = {}\nport_entropy = {}",
            outer.udp_checksum, outer.port_entropy
        )
        .unwrap();
    }
    if pool.mode != Mode::L2 {
        writeln!(
            text,
            "[pools.{name}.outer]\nsource_entropy = {}\ncopy_dscp = {}\nflow_label = {}",
            outer.source_entropy, outer.copies_dscp, outer.flow_label
        )
        .unwrap();
    }
    for (backend, one) in &pool.backends {
        writeln!(
            text,
            "[pools.{name}.backends.{backend}]\naddress = \"{}\"\nweight = {}",
            one.address, one.weight
        )
        .unwrap();
    }
}

fn replay(text: &mut String, state: &State) {
    let seed: String = SEED.iter().map(|octet| format!("{octet:02x}")).collect();
    let ifindexes: std::collections::BTreeSet<u32> =
        state.next_hops.values().flatten().map(|hop| hop.ifindex).chain([LOOPBACK]).collect();
    writeln!(text, "[replay]\nhash_seed = \"{seed}\"\ningress = \"if{LOOPBACK}\"").unwrap();
    for ifindex in ifindexes {
        let mac = state.next_hops.values().flatten().find(|hop| hop.ifindex == ifindex);
        let mac = mac.map_or_else(String::new, |hop| format!("mac = \"{}\"", mac_text(hop.source_mac)));
        writeln!(text, "[replay.uplinks.if{ifindex}]\n{mac}").unwrap();
    }
    text.push_str("[replay.next_hops]\n");
    for (address, hops) in &state.next_hops {
        let hops: Vec<String> = hops.iter().map(next_hop).collect();
        writeln!(text, "\"{address}\" = [{}]", hops.join(", ")).unwrap();
    }
    for (pool, one) in &state.forwarding.pools {
        writeln!(text, "[replay.backends.{pool}]").unwrap();
        for (backend, one) in &one.backends {
            let word = match one.state {
                BackendState::Usable => "usable",
                BackendState::Draining => "draining",
                BackendState::Failed => "failed",
                BackendState::Disabled => "disabled",
            };
            writeln!(text, "{backend} = \"{word}\"").unwrap();
        }
        writeln!(text, "[replay.caps.{pool}]").unwrap();
        for (backend, one) in &one.backends {
            writeln!(text, "{backend} = {}", one.cap_permille).unwrap();
        }
    }
}

fn next_hop(hop: &NextHop) -> String {
    let vlan = hop.vlan.map_or_else(String::new, |vlan| format!(", vlan = {vlan}"));
    format!(
        "{{ mac = \"{}\", uplink = \"if{}\", mtu = {}, on_link = {}{vlan} }}",
        mac_text(hop.destination_mac),
        hop.ifindex,
        hop.mtu,
        hop.is_on_link
    )
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
