// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given a backend whose agent decapsulates,
//! When the agent is killed outright, then started again, then asked to stop (SIGTERM),
//! Then tunnels are opened while it is dead, the next one adopts the same link and maps and goes on counting where the
//! last one ended, and after the stop nothing is attached or pinned and tunnels stay closed.

use weir_lab::document::{Subnet, VIP_V4, own_addresses};
use weir_lab::{Capture, Fabric, TunnelSyn, wait_until};

use crate::{PATIENCE, quiet_fabric};

#[test]
#[ignore = "needs root and netns"]
fn decapsulation_outlives_the_process_and_ends_with_a_stop() {
    let mut fabric = quiet_fabric();
    fabric.start_agents().expect("agents");
    let log = fabric.logs.file("answers.log");
    let answers =
        Capture::start(fabric.backends[0].netns(), "eth0", "tcp src port 80", &log).expect("tcpdump");
    let is_opened = |fabric: &Fabric, port: u16| {
        syn(port).send(fabric.appliances[0].netns()).expect("sent");
        wait_until("an answer", PATIENCE, || {
            anyhow::ensure!(answers.text().contains(&format!(".{port}: Flags [S.]")), "none to {port}");
            Ok(())
        })
        .expect("the tunnel is opened");
    };
    is_opened(&fabric, 2001);
    let before = fabric.backends[0].pins().expect("pins");
    assert!(before.values().any(|number| number.starts_with("link_id")), "{before:?}");

    fabric.backends[0].agent().expect("an agent").kill().expect("it dies");
    is_opened(&fabric, 2002);
    fabric.backends[0].spawn_agent().expect("it starts");
    fabric.backends[0].wait_agent().expect("it runs");
    is_opened(&fabric, 2003);
    assert_eq!(fabric.backends[0].pins().expect("pins"), before);
    let metrics = fabric.backends[0].agent_metrics().expect("metrics");
    assert_eq!(metrics.count("weir_agent_packets_total", &["verdict=\"decapsulated\""]), 3.0);

    let agent = fabric.backends[0].agent().expect("an agent");
    agent.signal(libc::SIGTERM).expect("a signal");
    assert_eq!(agent.wait(PATIENCE).expect("it ends").code(), Some(0));
    assert!(!fabric.backends[0].has_program().expect("ip link"));
    assert!(fabric.backends[0].pins().expect("pins").is_empty());
    // The ping's answer comes behind where the SYN's would be, so that silence is not just slowness.
    syn(2004).send(fabric.appliances[0].netns()).expect("sent");
    weir_lab::ping(&fabric.client, Subnet::Backend(1).host().0.into()).expect("the host still answers");
    assert!(!answers.text().contains(".2004: Flags [S.]"));
}

fn syn(source_port: u16) -> TunnelSyn {
    TunnelSyn {
        outer_source: own_addresses(1).0.into(),
        outer_destination: Subnet::Backend(1).host().0.into(),
        inner_source: Subnet::Client.host().0.into(),
        inner_destination: VIP_V4.into(),
        source_port,
    }
}
