// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Modes, outer headers, selection and prefix VIPs: what is written reaches the model, what is left out is the default, and
//! the canonical form is a document again.

use super::{LEAST, good};
use crate::config::{parse, to_json};
use crate::model::{
    Affinity, Algorithm, Document, Fragments, Gue, GueVariant, Limits, Mode, OuterHeader, address_text,
};

/// [`LEAST`] with everything said.
fn everything() -> Document {
    let text = LEAST
        .replace("address = \"198.51.100.10\"", "address = \"198.51.100.0/28\"\necho = false")
        .replace(
            "port = 443",
            "port = \"any\"\naffinity = \"source\"\nfragments = \"by-source\"\nnew_flows_per_second = 1000000000",
        )
        .replace("mode = \"ipip\"", "mode = \"gue\"\nalgorithm = \"maglev\"")
        + "[pools.web.gue]\nport = 7000\nvariant = \"direct\"\nudp_checksum = true\nport_entropy = false\n\
           [pools.web.outer]\nsource_entropy = true\ncopy_dscp = false\nflow_label = false\n\
           [dataplane.limits]\necho_per_second = 0\nicmp_errors_per_second = 1\ntoo_big_per_second = 2\n\
           new_flows_per_cpu = 3\n\
           fragments_per_second = 4\nmin_mtu_v4 = 1280\nentropy_v4 = \"172.16.0.0/16\"\nentropy_v6 = \"100::/64\"\n";
    good(&text)
}

#[test]
fn everything_written_reaches_the_model() {
    let document = everything();
    let vip = &document.vips["www"];
    assert_eq!((vip.address_text().as_str(), vip.echo), ("198.51.100.0/28", false));
    let inside = |address: &str| vip.contains(address.parse().unwrap());
    assert!(inside("198.51.100.0") && inside("198.51.100.15") && !inside("198.51.100.16") && !inside("::"));
    let service = &document.services["www-https"];
    assert_eq!(
        (service.port, service.affinity, service.fragments),
        (None, Affinity::Source, Fragments::BySource)
    );
    assert_eq!(service.new_flows_per_second.map(u32::from), Some(1_000_000_000));
    let pool = &document.pools["web"];
    let gue = Gue { port: 7000, variant: GueVariant::Direct, udp_checksum: true, port_entropy: false };
    assert_eq!((pool.mode, pool.algorithm), (Mode::Gue(gue), Algorithm::Maglev));
    assert_eq!(pool.outer, OuterHeader { source_entropy: true, copy_dscp: false, flow_label: false });
    let limits = Limits {
        echo_per_second: 0,
        icmp_errors_per_second: 1,
        too_big_per_second: 2,
        new_flows_per_cpu: 3.try_into().ok(),
        fragments_per_second: 4,
        min_mtu_v4: 1280,
        entropy_v4: Some([172, 16, 0, 0].into()),
        entropy_v6: Some("100::".parse().unwrap()),
    };
    assert_eq!(document.limits, limits);
}

#[test]
fn what_is_left_out_is_the_default() {
    let document = good(LEAST);
    assert_eq!(document.limits, Limits::default());
    assert!(document.vips["www"].echo);
    let service = &document.services["www-https"];
    assert_eq!(
        (service.port, service.affinity, service.fragments),
        (Some(443), Affinity::Flow, Fragments::Drop)
    );
    assert_eq!(service.new_flows_per_second, None);
    assert_eq!(document.pools["web"].outer, OuterHeader::default());
    let gue = good(&LEAST.replace("mode = \"ipip\"", "mode = \"gue\""));
    let usual = Gue { port: 6080, variant: GueVariant::Header, udp_checksum: false, port_entropy: true };
    assert_eq!(gue.pools["web"].mode, Mode::Gue(usual));
    assert_eq!(good(&LEAST.replace("mode = \"ipip\"", "mode = \"l2\"")).pools["web"].mode, Mode::L2);
}

#[test]
fn the_canonical_form_of_all_this_is_a_document() {
    let l2 = good(&LEAST.replace("mode = \"ipip\"", "mode = \"l2\""));
    for document in [everything(), l2] {
        let text = toml::to_string(&to_json(&document)).unwrap();
        assert_eq!(parse("weir.toml", &text).unwrap(), document, "{text}");
    }
}

#[test]
fn a_host_prefix_is_an_address() {
    for (written, shown) in [("198.51.100.10/32", "198.51.100.10"), ("2001:db8::1/128", "2001:db8::1")] {
        let text = LEAST.replace("198.51.100.10", written);
        assert_eq!(good(&text).vips["www"].address_text(), shown);
    }
    assert_eq!(good(&LEAST.replace("\"198.51.100.10\"", "\"198.51.100.10/32\"")).hash, good(LEAST).hash);
    assert_eq!(address_text("2001:db8:1::/64".parse().unwrap()), "2001:db8:1::/64");
}

#[test]
fn families_may_cross_where_there_is_a_source_of_the_backends_family() {
    let crossed = LEAST.replace("10.1.0.2", "2001:db8::2");
    let problems = parse("weir.toml", &crossed).unwrap_err().problems;
    assert_eq!(
        problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(),
        ["appliance.source_v6"]
    );
    good(&crossed.replace("source_v4 =", "source_v6 = \"2001:db8:ffff::1\"\nsource_v4 ="));
    // Without an outer header nothing needs a source.
    good(&crossed.replace("mode = \"ipip\"", "mode = \"l2\""));
}

#[test]
fn prefixes_beyond_their_table_are_refused() {
    let with = |count: u32| {
        let vip = |n| format!("[vips.v{n}]\naddress = \"100.{}.{}.0/24\"\n", n / 256, n % 256);
        LEAST.to_owned() + &(0..count).map(vip).collect::<String>()
    };
    // Its own VIP is an address, which takes no room there.
    good(&with(4_096));
    let problems = parse("weir.toml", &with(4_097)).unwrap_err().problems;
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(problem.path, "vips");
    assert_eq!(problem.message, "found 4097 VIPs that are prefixes, there is room for 4096");
}

#[test]
fn a_cap_is_a_share_of_the_weight_and_said_only_where_there_is_one() {
    let with = |cap: &str| {
        LEAST.replace("address = \"10.1.0.2\"", &format!("address = \"10.1.0.2\"\ncap = \"{cap}\""))
    };
    let document = good(&with("30%"));
    let caps: Vec<u16> = document.pools["web"].backends.values().map(|one| one.cap.permille()).collect();
    assert_eq!(caps, [1_000, 300]);
    assert_eq!(to_json(&document)["pools"]["web"]["backends"]["b2"]["cap"], "30%");
    assert_eq!(good(&toml::to_string(&to_json(&document)).unwrap()), document);
    assert_ne!(document.hash, good(LEAST).hash);
    assert_eq!(good(&with("100%")).hash, good(LEAST).hash);
}
