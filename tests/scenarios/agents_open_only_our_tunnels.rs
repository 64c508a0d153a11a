// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a backend with an agent,
//! When tunnel packets come from an appliance's source for a VIP, from a foreign source, and for something that is no VIP,
//! Then only the first are opened and answered; the others are left to the host, counted by their reason.

use std::net::IpAddr;
use std::time::Duration;

use weir_lab::document::{Subnet, VIP_V4, VIP_V6, own_addresses};
use weir_lab::{Backend, Capture, TunnelSyn, wait_until};

use crate::{PATIENCE, quiet_fabric};

const PACKETS: u16 = 10;

#[test]
#[ignore = "needs root and netns"]
fn foreign_tunnels_are_left_alone() {
    let mut fabric = quiet_fabric();
    fabric.start_agents().expect("agents");
    let (client, lb1) = (&fabric.client, fabric.appliances[0].netns());
    let backend = &fabric.backends[0];
    let log = fabric.logs.file("answers.log");
    // Answers of the web server: a SYN with ACK from the VIP.
    let answers = Capture::start(backend.netns(), "eth0", "tcp src port 80", &log).expect("tcpdump");
    for family in [4, 6] {
        let pick = |(v4, v6): (std::net::Ipv4Addr, std::net::Ipv6Addr)| -> IpAddr {
            if family == 4 { v4.into() } else { v6.into() }
        };
        let vip = pick((VIP_V4, VIP_V6));
        let host = pick(Subnet::Backend(1).host());
        let foreign = pick(Subnet::Client.host());
        let ours = TunnelSyn {
            outer_source: pick(own_addresses(1)),
            outer_destination: host,
            inner_source: foreign,
            inner_destination: vip,
            source_port: 1000 * family,
        };
        let cases = [
            ("decapsulated", lb1, ours),
            ("pass_foreign_source", client, TunnelSyn { outer_source: foreign, ..ours }),
            ("pass_not_vip", lb1, TunnelSyn { inner_destination: host, ..ours }),
        ];
        for (number, (verdict, from, syn)) in (1..).zip(cases) {
            let before = counted(backend, verdict);
            for packet in 0..PACKETS {
                let source_port = syn.source_port + 100 * number + packet;
                TunnelSyn { source_port, ..syn }.send(from).expect("sent");
            }
            wait_until(&format!("IPv{family} {verdict}"), PATIENCE, || {
                let now = counted(backend, verdict) - before;
                anyhow::ensure!(now == f64::from(PACKETS), "{now} counted");
                Ok(())
            })
            .expect("counted by its reason");
        }
        // The web server saw what was opened: its answers carry the ports of the first case.
        let port = 1000 * family + 100;
        wait_until("answers to the opened ones", Duration::from_secs(5), || {
            let text = answers.text();
            for packet in 0..PACKETS {
                anyhow::ensure!(text.contains(&format!(".{}: Flags [S.]", port + packet)), "{text}");
            }
            Ok(())
        })
        .expect("answered");
        for packet in 0..PACKETS {
            for number in [2, 3] {
                let port = 1000 * family + 100 * number + packet;
                assert!(
                    !answers.text().contains(&format!(".{port}: Flags [S.]")),
                    "port {port} was answered"
                );
            }
        }
    }
}

fn counted(backend: &Backend, verdict: &str) -> f64 {
    let label = format!("verdict=\"{verdict}\"");
    backend.agent_metrics().expect("metrics").count("weir_agent_packets_total", &[&label])
}
